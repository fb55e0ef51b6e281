/* What MQTT brokers other than Mosquitto ask over HTTP about their clients: who is that, may it
 * connect, may it publish or subscribe there? Each broker asks in its own words
 * (hub/api/hooks_*.c); behind all of them are these two questions.
 *
 * The broker has seen the TLS handshake, so what it says of a client's certificate is taken from
 * it: whoever holds its token is trusted as far as that. */
#ifndef HUB_HOOKS_HOOKS_H
#define HUB_HOOKS_HOOKS_H

#include "core/rules.h"
#include "hub/identity/identity.h"

/* As the client gave it, or the broker saw it; empty where there is none. */
struct hook_client {
    struct slice user_name; /* "tenant/device", or the device alone */
    struct slice client_id; /* the device's id, perhaps with ":" and more behind it */
    struct slice password;
    struct slice certificate; /* DER */
    struct slice common_name; /* of a certificate that the broker does not pass on */
};

enum hook_verdict {
    HOOK_ALLOW,
    HOOK_DENY_FORM,        /* what is asked has no sense: a topic, a name, an action */
    HOOK_DENY_DEVICE,      /* nobody has that name */
    HOOK_DENY_NAME,        /* user name, client id and certificate do not name one device */
    HOOK_DENY_CREDENTIAL,  /* there is none */
    HOOK_DENY_CERTIFICATE, /* unknown, replaced, expired, or no such one is in date */
    HOOK_DENY_PASSWORD,    /* wrong, or none is allowed */
    HOOK_DENY_RATE,        /* too many passwords are being tried */
    HOOK_DENY_POLICY,      /* there is no policy in force */
    HOOK_DENY_MODEL,       /* which does not know its model */
    HOOK_DENY_STATE,       /* in which it reaches no broker */
    HOOK_DENY_TOPIC,       /* which it may not reach */
    HOOK_VERDICT_COUNT
};
const char *hook_verdict_code(enum hook_verdict verdict); /* "hook-topic": a stable word */
const char *hook_verdict_text(enum hook_verdict verdict); /* a sentence for people */

/* What is decided by, and where. */
struct hook_context {
    struct identity *identity;
    struct store_reader *reader;
    struct loop *loop;
    struct arena *arena;
    const struct rules *rules; /* in force; NULL: none are, and nobody gets in */
    const char *tenant;        /* the broker's: devices of others do not exist for it */
};

struct hook_device {
    char tenant[NAME_MAX_BYTES + 1];
    char device[NAME_MAX_BYTES + 1];
    char model[NAME_MAX_BYTES + 1];
    char group[NAME_MAX_BYTES + 1];
    int64_t state;
    int64_t until; /* when what it showed ends; 0: it has shown nothing */
    struct rules_model rules;
};

/* May it connect? Asks for a credential, and for a client id: with another's, it would take over
 * that one's session. What is found out of the device is in *ret_device also where the answer is
 * no. Errors are the store's; then nobody is let in. */
MUST_USE enum err hooks_connect(const struct hook_context *ctx, const struct hook_client *client,
                                struct hook_device *ret_device, enum hook_verdict *ret_verdict);
/* Who is it, of a session that is open? A certificate is held against what is known of it now;
 * without one, the user name is what hooks_connect() let in. */
MUST_USE enum err hooks_find(const struct hook_context *ctx, const struct hook_client *client,
                             struct hook_device *ret_device, enum hook_verdict *ret_verdict);
/* Where a broker decides by a list of rules that it got when the client connected: the filters that
 * are taken there for what they are here. EMQX holds a filter that is asked for against them as if
 * it were a name, so that "a/+" would let a client subscribe to "a/#"; such ones are left out, and
 * asked for one by one. */
void hooks_list_rules(const struct hook_context *ctx, const struct hook_device *device,
                      enum rules_action action, void (*rule)(void *out, struct slice filter),
                      void *out);
/* May a device that was found do that? */
enum hook_verdict hooks_may(const struct hook_context *ctx, const struct hook_device *device,
                            enum rules_action action, struct slice topic);

#endif
