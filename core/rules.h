/* Rules: a policy as it is enforced, in the hub and in brokers alike. Made from policy.yaml
 * (policy/policy.h), signed by the hub's policy key, read here without allocation: what is decided
 * by them depends on nothing but these bytes and the device that asks.
 *
 *   rules     = "HFRULES1" length{32} note body
 *   note      = a signed note (core/note.h) of `length` bytes, whose text is
 *                 holdfast-rules/v1
 *                 fleet FLEET
 *                 version 7                       counts up with each policy applied
 *                 made 2026-11-28T19:00:00Z
 *                 body LENGTH SHA256              decimal bytes, hexadecimal
 *
 * Numbers are big-endian. What the body looks like stands in rules_body.h. */
#ifndef CORE_RULES_H
#define CORE_RULES_H

#include "core/device_state.h"
#include "core/note.h"
#include "core/trust_bundle.h"

#define RULES_MAX             (256U << 10) /* bytes of a file: a policy of a thousand models */
#define RULES_BODY_MAX        (RULES_MAX - NOTE_MAX - 12U) /* bytes: the file has room for any note */
#define RULES_NAME_MAX        64  /* bytes of a model's, group's, device's or tenant's name */
#define RULES_FILTER_MAX      512 /* bytes of one filter as it is written, with its variables */
#define RULES_FILTERS_MAX     64  /* for one model or group, each way */
#define RULES_MODELS_MAX      4096
#define RULES_GROUPS_MAX      4096
#define RULES_TENANTS_MAX     1024
#define RULES_STANDARD_TENANT "default" /* the tenant that every policy has */

/* What a device may reach. */
enum rules_reach {
    RULES_REACH_ENROLMENT = 1, /* its own identity: renewal, trust bundle, who it is */
    RULES_REACH_API = 2,       /* /v1/device/...: check-ins, reports */
    RULES_REACH_MQTT = 4,      /* brokers */
};

/* What a broker does when a device is cut off. */
enum rules_cut {
    RULES_CUT_SEND_WILL = 1,      /* its last will goes out; else it is dropped */
    RULES_CUT_CLEAR_RETAINED = 2, /* what it published to be retained is taken back */
    RULES_CUT_KEEP_QUEUE = 4,     /* its subscriptions and queued messages stay for its return;
                                     never for one that is revoked */
};

/* 0 is no limit, where it is not said otherwise. */
struct rules_limits {
    uint32_t messages_per_minute; /* published; a burst of that many at once is fine */
    uint32_t bytes_per_minute;    /* of their payloads */
    uint32_t payload_max;         /* bytes of one */
    uint32_t subscriptions_max;   /* at a time */
    uint32_t connects_per_minute;
    uint32_t stale_seconds; /* how long a broker that can't reach a hub goes on admitting and
                               serving it by what it knows; 0: not at all */
};

struct rules_model {
    uint8_t reach[DEVICE_STATE_COUNT]; /* mask of enum rules_reach, by state; 0 for those that are
                                          final, whatever a policy would say */
    struct rules_limits limits;
    uint8_t cut;      /* mask of enum rules_cut */
    bool password_ok; /* its devices may hold a password in place of a certificate */

    struct slice publish, subscribe; /* private: its filters */
};

struct rules {
    char fleet[FLEET_NAME_MAX + 1];
    uint64_t version; /* 1, 2, ... */
    int64_t made_at;
    uint32_t models_len, groups_len, tenants_len;
    uint32_t cuts_per_hour; /* automatic ones; 0: each waits for a person */

    struct slice body; /* private; the caller's bytes, which must outlive this */
    uint32_t models_at, groups_at, tenants_at;
};

/* Checks signature, digest and every byte of the body; after that no decision can fail.
 * ERR_SYNTAX, ERR_LIMIT, ERR_BAD_SIGNATURE, ERR_NOT_FOUND (not by that key), ERR_UNSUPPORTED (a
 * version of the format that is not understood: what is not understood is not enforced). Whether
 * they are newer than those held, and of the right fleet, is for the caller. */
MUST_USE enum err rules_read(struct slice file, const struct note_key *key, sha256_fn *sha256,
                             ed25519_verify_fn *verify, struct rules *ret_rules);
/* The body alone: for rules that are not signed yet (tests of a policy). fleet, version and made_at
 * are left empty. */
MUST_USE enum err rules_read_body(struct slice body, struct rules *ret_rules);

/* The text to be signed, without signature; then the file, given the signed note. ERR_SYNTAX in
 * the writer for what is no fleet's name, ERR_LIMIT for version 0 or a body that is too long. */
void rules_write_text(struct writer *w, const char *fleet, uint64_t version, int64_t made_at,
                      size_t body_len, const uint8_t body_sha256[SHA256_SIZE]);
/* Reads such a text: fleet, version and made_at, the rest of the rules is left empty; *ret_body_len
 * and the digest as they stand in it. */
MUST_USE enum err rules_read_text(struct slice text, struct rules *ret_rules, size_t *ret_body_len,
                                  uint8_t ret_body_sha256[SHA256_SIZE]);
void rules_write_file(struct writer *w, struct slice note, struct slice body);

/* ---- writing a body: models, groups and tenants, each in the order of their names' bytes ---- */

/* A filter as it is written, with {tenant}, {device}, {model}, {group}, each a whole level or part
 * of one, one in a level at most, and no other braces. ERR_SYNTAX, ERR_LIMIT. */
MUST_USE enum err rules_filter_check(struct slice filter);
/* A name of a model, group or tenant: 1 to RULES_NAME_MAX bytes of UTF-8 that may stand for a
 * variable. */
bool rules_name_ok(struct slice name);

struct rules_filters {
    const struct slice *filters;
    size_t len;
};
struct rules_entry {
    struct slice name;
    const struct rules_model *model; /* NULL: a group */
    struct rules_filters publish, subscribe;
};
/* RULES_STANDARD_TENANT may have all models where it is not among them; it is not to be, unless it
 * may not.
 */
struct rules_tenant {
    struct slice name;
    bool all;               /* its devices may be of any model; else of these: */
    const uint16_t *models; /* numbers from 0 in the order of names, the least first */
    size_t models_len;
};
struct rules_entries {
    const struct rules_entry *models, *groups;
    const struct rules_tenant *tenants;
    size_t models_len, groups_len, tenants_len;
};
/* ERR_SYNTAX in the writer for filters in bad form, names that are not ok, out of order or given
 * twice, bits that no mask has, a final state that reaches anything, numbers of no model or out of
 * order, RULES_STANDARD_TENANT with all models; ERR_LIMIT. */
void rules_write_body(struct writer *w, uint32_t cuts_per_hour, const struct rules_entries *all);

/* ---- decisions ---- */

/* False where there is none of that name, where there is no such tenant, and where that tenant's
 * devices may not be of it. */
bool rules_find_model(const struct rules *r, struct slice tenant, struct slice name,
                      struct rules_model *ret_model);
bool rules_has_group(const struct rules *r, struct slice name);
bool rules_has_tenant(const struct rules *r, struct slice name);
/* The n-th by name; n is less than models_len or groups_len. */
struct slice rules_model_name(const struct rules *r, uint32_t n);
struct slice rules_group_name(const struct rules *r, uint32_t n);
/* The same of tenants; the models are written to `models`, which has room for models_len. */
struct rules_tenant rules_tenant_at(const struct rules *r, uint32_t n, uint16_t *models);

/* A device that asks; its names as slices of the caller's. */
struct rules_subject {
    struct slice tenant, device, model, group; /* group: empty where it is in none */
    enum device_state state;
};

enum rules_action {
    RULES_PUBLISH,   /* to a topic name */
    RULES_RECEIVE,   /* a message that was published to a topic name */
    RULES_SUBSCRIBE, /* with a topic filter */
};

enum rules_decision {
    RULES_ALLOW,
    RULES_DENY_MODEL, /* the rules do not know its model, or not for its tenant */
    RULES_DENY_STATE, /* in its state it reaches no broker */
    RULES_DENY_TOPIC, /* no filter of its model or group covers that */
    RULES_DENY_FORM,  /* that is no topic name, or no filter */
    RULES_DECISION_COUNT
};
const char *rules_decision_text(enum rules_decision decision); /* "allow", "unknown-model", ... */

/* A name that holds "/", "+" or "#", that starts with "$" or is empty, and that of a group which
 * the rules do not know, makes every filter with its variable match nothing: a name never widens
 * what it may reach. What may be subscribed to may be received.
 *
 * A shared subscription (MQTT 5.0 section 4.8.2) takes messages away from others, so it is covered
 * only by a filter that names it: "$share/NAME/FILTER". */
enum rules_decision rules_decide(const struct rules *r, const struct rules_subject *subject,
                                 enum rules_action action, struct slice topic);

/* The filters by which it may publish or subscribe, its names put in, for whoever matches topics
 * himself; none where it reaches no broker. Each is written to `buffer` and given to `take`; one
 * that does not fit is left out. */
void rules_list_filters(const struct rules *r, const struct rules_subject *subject,
                        enum rules_action action, uint8_t *buffer, size_t max,
                        void (*take)(void *ctx, struct slice filter), void *ctx);

#endif
