/* The signer: the one process that holds the issuing key, the ledger key and the policy key. It is
 * started before anything listens, has no network, opens nothing, and answers typed requests over
 * socket pairs; signer/requests.h is its whole vocabulary. This is the hub's side. */
#ifndef HUB_SIGNER_SIGNER_H
#define HUB_SIGNER_SIGNER_H

#include <sys/types.h>

#include "base/loop.h"
#include "core/note.h"
#include "core/spki.h"
#include "core/x509.h"
#include "pki/crl.h"
#include "pki/ocsp.h"

struct signer;      /* the process, as its parent sees it */
struct signer_link; /* one loop's way to it */

struct signer_options {
    const char *folder; /* <state>/signer: issuing.key, issuing.pem, ledger.key, policy.key, and
                           what was signed last: ledger.state, policy.state */
    const char *user;   /* its own: name or number; NULL: it stays who the hub is */
    const char *fleet;  /* the trust domain every certificate it signs must be in */
    const char *origin; /* of the ledger */
    /* DNS names and addresses of the hub, at most SERVER_NAMES_MAX: it signs no server's
     * certificate for any other; none given, none at all. */
    const char *const *server_names;
    size_t server_names_len;
    /* Base of the URLs that devices' certificates name for questions about their state, and that
     * lists of revoked ones name, without a final slash; NULL or empty: none. */
    const char *public_url;
    unsigned crl_shards; /* of the lists behind it: a power of two; 0: only the list of all */
    size_t links;        /* how many signer_link_new() will ask for */
    /* The owner knows that the database is not the one that was signed: the first tree that is
     * larger than it is signed without a proof. */
    bool accept_roll_back;
};

#define SERVER_NAMES_MAX 8
#define SERVER_NAME_SIZE 128 /* bytes, NUL included */
#define PUBLIC_URL_MAX   200 /* bytes; what is put behind it has the rest of a URI's 256 */

/* What the signer says of itself when it has started. */
struct signer_facts {
    struct note_key ledger_key;
    uint8_t issuing_sha256[SHA256_SIZE]; /* fingerprint of the issuing certificate */
    int64_t issuing_not_after;
    uint8_t
        chain[2 * CERTIFICATE_MAX]; /* issuing certificate, then what is between it and the root */
    size_t chain_len;               /* DER, one after the other */
    /* The authority before this one, where a roll-over is not finished: what it issued is good. */
    uint8_t previous[CERTIFICATE_MAX];
    size_t previous_len;
    bool previous_signs; /* its key is there: answers and lists can be had of it */
    /* The last tree it signed; size 0 before the first. A ledger that does not continue it was set
     * back or edited. */
    uint64_t signed_size;
    struct hash signed_root;
    struct note_key policy_key;
    uint64_t rules_version; /* of the last rules it signed; 0 before the first */
    pid_t pid;
};

/* Forks it. Call while the process has one thread, after clock_shift() if at all. The child sets
 * itself up (reads its keys, checks that they belong together, sheds its rights) and reports, or
 * says why not in `explain`. */
MUST_USE enum err signer_start(const struct signer_options *options, struct signer **ret_signer,
                               struct signer_facts *ret_facts, char explain[256]);
/* After every signer_link_free(). The signer ends by itself; waits for it. NULL is fine. */
void signer_stop(struct signer *s);
/* A descriptor that becomes readable when the signer has died: then the hub ends, too. */
int signer_death_fd(const struct signer *s);

#define SIGNER_IN_FLIGHT_MAX 1024 /* requests on one link without a reply; beyond: ERR_BUSY */

/* One for each loop; made, used and freed on that loop's thread, or while it does not run.
 * Callbacks run on that loop, exactly once each: ERR_CLOSED where the signer is gone or the link is
 * freed (which no callback may do). `done` may be called before the request function returns only
 * with an error. */
MUST_USE enum err signer_link_new(struct signer *s, struct loop *loop,
                                  struct signer_link **ret_link);
void signer_link_free(struct signer_link *l); /* NULL is fine */

enum certificate_profile {
    PROFILE_DEVICE, /* clientAuth; URI spiffe://FLEET/TENANT/device/ID */
    PROFILE_SERVER, /* serverAuth; of the names it was started with */
    PROFILE_BROKER, /* a device's, and serverAuth; of any names but those */
};

struct certificate_request {
    enum certificate_profile profile;
    char tenant[65]; /* PROFILE_DEVICE, PROFILE_BROKER */
    char device[65]; /* of these; also the CN */
    /* PROFILE_SERVER, PROFILE_BROKER: DNS names or addresses; the first is a server's CN where it
     * is short enough (64) */
    char names[SERVER_NAMES_MAX][SERVER_NAME_SIZE];
    size_t names_len;
    /* not_before: at most a day ago, at most minutes ahead. A life of at most three years (device)
     * or 398 days (server). The signer cuts it to the issuing certificate's own. */
    int64_t not_before, not_after;
    struct slice spki; /* DER; valid during the call only */
};
/* ERR_REFUSED: a request that the signer does not make a certificate of, whatever the hub thinks of
 * it (names, dates, a weak key). ERR_EXPIRED: the issuing certificate has no life left. `der` is
 * valid during the call. */
typedef void signer_certificate_fn(void *ctx, enum err err, struct slice der);
void signer_issue(struct signer_link *l, const struct certificate_request *request,
                  signer_certificate_fn *done, void *ctx);

struct checkpoint_request {
    uint64_t size;
    struct hash root;
    /* That it continues the last tree signed (facts.signed_size at the start, then what was signed
     * since): RFC 6962 section 2.1.2. None where it is the first, or the same. */
    const struct hash *proof;
    size_t proof_len; /* at most MERKLE_PROOF_MAX */
};
/* Signs the checkpoint of a tree that is proven to continue the last one signed: ERR_REFUSED
 * otherwise, across restarts, too. Gives the whole signed note. A larger tree costs the signer one
 * flush of its disk, during which it issues nothing: ask for the newest head now and then, not for
 * each. */
typedef void signer_note_fn(void *ctx, enum err err, struct slice note);
void signer_sign_checkpoint(struct signer_link *l, const struct checkpoint_request *request,
                            signer_note_fn *done, void *ctx);

struct rules_request {
    uint64_t version; /* 1, 2, ... */
    int64_t made_at;  /* now */
    size_t body_len;
    struct hash body_sha256;
};
/* Signs rules (core/rules.h), whose text it writes itself, of a newer version than the last it
 * signed: ERR_REFUSED for an older one, or the same with another body, across restarts, too.
 * ERR_BUSY: too many in a row. Gives the signed note. */
void signer_sign_rules(struct signer_link *l, const struct rules_request *request,
                       signer_note_fn *done, void *ctx);

/* Signs what it is told of a certificate: an answer that starts now and holds no longer than
 * OCSP_VALIDITY_MAX, for a serial that is its issuer's to speak of. ERR_REFUSED for anything else;
 * ERR_EXPIRED where the issuing certificate ends before the answer would. Gives the whole
 * OCSPResponse. */
#define OCSP_VALIDITY_MAX                                                                          \
    (86400LL) /* seconds: also how long a hub that was taken over can be quoted */
typedef void signer_ocsp_fn(void *ctx, enum err err, struct slice response);
void signer_ocsp(struct signer_link *l, const struct ocsp_answer *answer, signer_ocsp_fn *done,
                 void *ctx);

/* One revocation list at a time, over any link: begin, add until all entries are in, finish. Each
 * is answered before the next is sent; a new begin drops what was not finished. */
#define SIGNER_CRL_ALL     UINT16_MAX /* instead of a shard: the issuer's certificates, whole */
#define SIGNER_CRL_ENTRIES 256        /* in one message */
struct crl_request {
    enum authority authority; /* whose list it is */
    uint16_t shard;
    uint64_t
        number; /* more than that of the last of its authority, kind (complete, delta) and shard */
    uint64_t base;                    /* of a delta; 0: complete */
    int64_t this_update, next_update; /* at most an hour ago; at most ten days ahead */
    uint64_t entries_len;             /* bytes of what crl_entry_write() makes of all entries */
};
/* Gives the list's prefix (pki/crl.h); what has been written down of the entries; its suffix.
 * ERR_REFUSED: a list that the signer does not make, or an entry that is none of it. */
typedef void signer_crl_fn(void *ctx, enum err err, struct slice bytes);
void signer_crl_begin(struct signer_link *l, const struct crl_request *request, signer_crl_fn *done,
                      void *ctx);
/* At most SIGNER_CRL_ENTRIES. */
void signer_crl_add(struct signer_link *l, const struct crl_entry *entries, size_t n,
                    signer_crl_fn *done, void *ctx);
void signer_crl_finish(struct signer_link *l, signer_crl_fn *done, void *ctx);

#endif
