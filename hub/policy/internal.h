/* What the files of policy/ share. */
#ifndef HUB_POLICY_INTERNAL_H
#define HUB_POLICY_INTERNAL_H

#include <pthread.h>

#include "hub/policy/policies.h"

struct policies {
    struct policies_options options;
    pthread_mutex_t lock; /* of taking and replacing `now` */
    _Atomic(struct policy_force *) now;
    atomic_uint_least64_t signed_version;
};

/* Which number is in force, and which was given last: one row, changed by every act. */
struct policy_head {
    int64_t in_force; /* 0: none */
    int64_t last;
};
/* ERR_NONE with zeros where there was never a policy. */
MUST_USE enum err policy_head_get(struct tx *tx, struct policy_head *ret_head, bool *ret_exists);
MUST_USE enum err policy_head_read(struct store_reader *reader, struct arena *arena,
                                   struct policy_head *ret_head);
MUST_USE enum err policy_head_put(struct tx *tx, const struct policy_head *head, bool exists);

/* The models that the policy defines, as rows of each tenant that may have them: those that are
 * there keep what is theirs. */
void policy_models_reads(const struct policy *policy, struct keyset *keys);
struct policy_models_changed {
    int64_t created, changed;
};
MUST_USE enum err policy_models_put(const struct policy *policy, struct tx *tx,
                                    struct policy_models_changed *ret_changed);

#endif
