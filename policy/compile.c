/* From a policy to the body of its rules: the same meaning, the same bytes. So filters are put in
 * order, and those left out that another one covers. */
#include <stdlib.h>

#include "core/topic.h"
#include "policy/policy.h"

static int compare(const void *a, const void *b)
{
    const struct slice *x = a, *y = b;
    size_t n = x->len < y->len ? x->len : y->len;
    int order = n == 0 ? 0 : memcmp(x->data, y->data, n);
    return order != 0 ? order : (x->len > y->len) - (x->len < y->len);
}

/* Whether another of them says as much: of two that say the same, the first in order stays. */
static bool is_covered(const struct slice *all, size_t len, size_t i)
{
    for (size_t k = 0; k < len; k++)
        if (k != i && topic_filter_covers(all[k], all[i]) &&
            (k < i || !topic_filter_covers(all[i], all[k])))
            return true;
    return false;
}

static enum err put_in_order(const struct slice *filters, size_t len, struct arena *arena,
                             struct rules_filters *ret_filters)
{
    if (len == 0)
        return ERR_NONE;
    struct slice *all = arena_alloc(arena, 2 * len * sizeof *all), *kept = all + len;
    if (all == NULL)
        return ERR_NO_MEMORY;
    memcpy(all, filters, len * sizeof *all);
    qsort(all, len, sizeof *all, compare);
    size_t n = 0;
    for (size_t i = 0; i < len; i++)
        if (!is_covered(all, len, i))
            kept[n++] = all[i];
    *ret_filters = (struct rules_filters){.filters = kept, .len = n};
    return ERR_NONE;
}

static enum err put_topics(const struct policy_topics *topics, struct arena *arena,
                           struct rules_entry *entry)
{
    enum err err = put_in_order(topics->publish, topics->publish_len, arena, &entry->publish);
    if (err == ERR_NONE)
        err = put_in_order(topics->subscribe, topics->subscribe_len, arena, &entry->subscribe);
    return err;
}

/* The tenant that there is always stands there only where it may not have all models. */
static enum err put_tenants(const struct policy *policy, struct arena *arena,
                            struct rules_entries *all)
{
    struct rules_tenant *tenants = arena_alloc(arena, (policy->tenants_len + 1) * sizeof *tenants);
    if (tenants == NULL)
        return ERR_NO_MEMORY;
    all->tenants = tenants;
    for (size_t i = 0; i < policy->tenants_len; i++) {
        const struct policy_tenant *t = &policy->tenants[i];
        bool has_all = t->all || t->models_len == policy->models_len;
        if (has_all && slice_equal(t->name, SLICE_LITERAL(RULES_STANDARD_TENANT)))
            continue;
        tenants[all->tenants_len++] = (struct rules_tenant){
            .name = t->name, .all = has_all, .models = t->models, .models_len = t->models_len};
    }
    return ERR_NONE;
}

enum err policy_compile(const struct policy *policy, struct arena *arena, struct slice *ret_body)
{
    struct rules_entry *models =
        arena_alloc(arena, (policy->models_len + policy->groups_len + 1) * sizeof *models);
    struct rules_entry *groups = models + policy->models_len;
    struct rules_entries all = {.models = models,
                                .models_len = policy->models_len,
                                .groups = groups,
                                .groups_len = policy->groups_len};
    struct writer w = arena_writer(arena, RULES_MAX);
    enum err err = models == NULL ? ERR_NO_MEMORY : w.err;
    for (size_t i = 0; err == ERR_NONE && i < policy->models_len; i++) {
        models[i].name = policy->models[i].name;
        models[i].model = &policy->models[i].rules;
        err = put_topics(&policy->models[i].topics, arena, &models[i]);
    }
    for (size_t i = 0; err == ERR_NONE && i < policy->groups_len; i++) {
        groups[i].name = policy->groups[i].name;
        err = put_topics(&policy->groups[i].topics, arena, &groups[i]);
    }
    if (err == ERR_NONE)
        err = put_tenants(policy, arena, &all);
    if (err != ERR_NONE)
        return err;
    rules_write_body(&w, policy->cuts_per_hour, &all);
    if (w.err == ERR_NONE)
        *ret_body = writer_bytes(&w);
    return w.err;
}
