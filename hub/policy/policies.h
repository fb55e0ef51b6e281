/* The policy in force, and how another one comes into force. A policy's text is judged here, signed
 * rules are made of it by the signer, and both are written with their entry of the ledger in one
 * write, which also makes the models that it defines. This is the domain's one public header. */
#ifndef HUB_POLICY_POLICIES_H
#define HUB_POLICY_POLICIES_H

#include <stdatomic.h>

#include "hub/ledger/act.h"
#include "hub/signer/signer.h"
#include "policy/change.h"
#include "policy/policy.h"

struct policies;

struct policies_options {
    struct store *store;
    struct ledger *ledger;
    const char *fleet;          /* which policies have to be for */
    struct note_key policy_key; /* this hub's */
    uint64_t signed_version;    /* of the last rules that its signer signed */
    size_t operators;           /* people who may be one of two */
};
MUST_USE enum err policies_new(const struct policies_options *options,
                               struct policies **ret_policies);
void policies_free(struct policies *p); /* NULL is fine */

/* ---- what is in force ---- */

/* Never changes; whoever holds one gives it back. */
struct policy_force {
    uint64_t number; /* and its rules' version */
    struct hash text_sha256;
    struct slice text;    /* policy.yaml */
    struct slice file;    /* its signed rules (core/rules.h), as brokers get them */
    struct rules rules;   /* the same, read */
    struct policy policy; /* the text, read */

    atomic_uint holders; /* private, as is the next */
    struct arena *arena;
};

/* NULL where none is in force. From any thread; to be given back. */
struct policy_force *policies_hold(struct policies *p);
void policies_let_go(struct policy_force *force); /* NULL is fine */

/* One loop's hold on it: an atomic load and a comparison while nothing changes. Zeroed at first. */
struct policy_cache {
    struct policy_force *held;
};
/* NULL where none is in force. Good until the next call with this cache. */
const struct policy_force *policies_now(struct policies *p, struct policy_cache *cache);
void policy_cache_drop(struct policy_cache *cache);

/* Reads what is in force, where that is newer than what was: at the start, after an act, and when
 * another hub has told. ERR_CONFLICT, with an explanation, where it is not sound. */
MUST_USE enum err policies_reload(struct policies *p, struct store_reader *reader,
                                  char explain[256]);

/* The number in force as the database has it now; 0: none. */
MUST_USE enum err policies_number(struct store_reader *reader, struct arena *arena,
                                  uint64_t *ret_number);

/* Whether there is such a tenant; without a policy (NULL), RULES_STANDARD_TENANT alone. */
bool policy_has_tenant(const struct policy_force *force, struct slice tenant);
/* What a device reaches: a mask of enum rules_reach. One of a model that the policy does not know,
 * or not for its tenant, has its own enrolment alone. */
uint8_t policy_reach(const struct policy_force *force, struct slice tenant, struct slice model,
                     int64_t state);

/* The age in seconds at which a device of that model is asked to replace its certificate; 0: it is
 * not asked. */
int64_t policy_renewal(const struct policy_force *force, struct slice model);

/* Inside a write's apply(), for whoever keeps models and devices. */
void policies_reads(struct keyset *keys);
/* ERR_REFUSED with the problem where the policy in force defines that model: model-of-policy. */
MUST_USE enum err policies_check_model(struct policies *p, struct tx *tx, const char *model,
                                       struct problem *problem);
/* ERR_REFUSED with the problem where the policy in force has no such group: group-not-found. */
MUST_USE enum err policies_check_group(struct policies *p, struct tx *tx, const char *group,
                                       struct problem *problem);
/* How many devices an hour may be cut off by detections; 0 without a policy. ERR_REFUSED with the
 * problem policy-changed where another came into force a moment ago. */
MUST_USE enum err policies_automatic_cuts(struct policies *p, struct tx *tx, uint32_t *ret_per_hour,
                                          struct problem *problem);

/* ---- what a text would change ---- */

struct policy_judgement {
    struct policy policy;
    struct slice body; /* of its rules */
    struct hash text_sha256;
    struct policy_difference *differences; /* from what is in force */
    size_t differences_len;
    const struct policy_test **failing; /* of its own tests */
    size_t failing_len;
    struct rules rules; /* over the body */

    /* what the policy in force asks of this change */
    unsigned approvals;   /* people who must agree: 1 or 2 */
    bool needs_signature; /* it loosens, and that is to be signed */
    const char *lock_out; /* whom it would lock out, in words; NULL: nobody */
};
/* All of it lives in `arena` (POLICY_ARENA_MAX) or in the text; `force` may be NULL. ERR_REFUSED
 * with the problem: policy-malformed, policy-fleet, policy-too-large. Failing tests are no
 * refusal. */
MUST_USE enum err policies_judge(const struct policies *p, const struct policy_force *force,
                                 struct slice text, struct arena *arena,
                                 struct policy_judgement *ret_judgement, struct problem *problem);

/* ---- acts ---- */

enum policy_step {
    POLICY_SUBMIT, /* applies it, or proposes it where two people must agree */
    POLICY_APPROVE,
    POLICY_WITHDRAW,
};
struct policy_act {
    struct act act;
    enum policy_step step;
    int64_t from;           /* the number in force that the caller has seen; 0: none */
    int64_t number;         /* APPROVE, WITHDRAW: of which */
    struct slice text;      /* SUBMIT; in the act's arena, as is the next */
    struct slice signature; /* the owner's note (policy/change.h); empty: none */
    char comment[REASON_MAX_BYTES + 1];
    int64_t restores; /* SUBMIT: it is the text of that number; 0 */
    bool lock_out_ok; /* whoever asks knows whom it locks out */

    struct policy_row row; /* afterwards */

    /* private */
    struct policies *policies;
    struct store_reader *reader;
    struct policy_force *force;
    struct arena *work;
    struct policy_judgement judgement;
    struct slice file;
    bool proposes;
};
/* Judges on this loop, has the signer sign, decides on the writer, commits, and only then calls
 * then(). problems: policy-malformed, policy-fleet, policy-too-large, policy-test-failed,
 * policy-changed, policy-unchanged, policy-signature-needed, policy-signature-refused,
 * policy-lock-out, policy-not-found, policy-not-proposed, policy-not-restorable,
 * policy-same-person, policy-overtaken */
void policies_change(struct policies *p, const struct act_origin *origin,
                     struct store_reader *reader, struct signer_link *signer, struct policy_act *a);

#endif
