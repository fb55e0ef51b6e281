/* The rows that a policy changes besides its own: the head, and the models it defines. */
#include "hub/policy/internal.h"

#include <stdio.h>
#include <string.h>

#define HEAD_MAX 64 /* bytes: two numbers */

/* ---- the head: "IN_FORCE LAST" ---- */

static struct setting_row head_row(void)
{
    return (struct setting_row){.name = "policy"};
}

void policies_reads(struct keyset *keys)
{
    const struct setting_row row = head_row();
    keyset_add(keys, &table_setting, &row);
}

static enum err parse_head(struct slice value, struct policy_head *ret_head)
{
    struct reader r = reader_over(value);
    struct policy_head head;
    head.in_force = (int64_t)reader_decimal(&r, INT64_MAX);
    reader_expect(&r, SLICE_LITERAL(" "));
    head.last = (int64_t)reader_decimal(&r, INT64_MAX);
    if (reader_finish(&r) != ERR_NONE || head.in_force > head.last)
        return ERR_INTERNAL;
    *ret_head = head;
    return ERR_NONE;
}

enum err policy_head_get(struct tx *tx, struct policy_head *ret_head, bool *ret_exists)
{
    struct setting_row row = head_row();
    enum err err = tx_get(tx, &table_setting, &row);
    if (err == ERR_NOT_FOUND) {
        *ret_head = (struct policy_head){0};
        *ret_exists = false;
        return ERR_NONE;
    }
    *ret_exists = true;
    return err == ERR_NONE ? parse_head(row.value, ret_head) : err;
}

enum err policy_head_read(struct store_reader *reader, struct arena *arena,
                          struct policy_head *ret_head)
{
    struct setting_row row = head_row();
    enum err err = store_get(reader, &table_setting, arena, &row);
    if (err == ERR_NONE)
        return parse_head(row.value, ret_head);
    if (err == ERR_NOT_FOUND)
        *ret_head = (struct policy_head){0};
    return err == ERR_NOT_FOUND ? ERR_NONE : err;
}

enum err policy_head_put(struct tx *tx, const struct policy_head *head, bool exists)
{
    uint8_t bytes[HEAD_MAX];
    struct writer w = writer_over(bytes, sizeof bytes);
    writer_decimal(&w, (uint64_t)head->in_force);
    writer_text(&w, " ");
    writer_decimal(&w, (uint64_t)head->last);
    struct setting_row row = head_row();
    row.value = writer_bytes(&w);
    row.changed_at = tx_now_ms(tx) / 1000;
    if (w.err != ERR_NONE)
        return w.err;
    return exists ? tx_update(tx, &table_setting, &row) : tx_insert(tx, &table_setting, &row);
}

/* ---- models ---- */

static struct model_row row_of(struct slice tenant, const struct policy_model *m)
{
    struct model_row row = {.proof = PROOF_APPROVAL};
    (void)snprintf(row.tenant, sizeof row.tenant, "%.*s", (int)tenant.len,
                   (const char *)tenant.data);
    (void)snprintf(row.id, sizeof row.id, "%.*s", (int)m->name.len, (const char *)m->name.data);
    return row;
}

void policy_models_reads(const struct policy *policy, struct keyset *keys)
{
    for (size_t t = 0; t < policy->tenants_len; t++)
        for (size_t i = 0; i < policy->models_len; i++) {
            const struct model_row row = row_of(policy->tenants[t].name, &policy->models[i]);
            if (policy_tenant_has(&policy->tenants[t], i))
                keyset_add(keys, &table_model, &row);
        }
}

static bool takes_over(const struct policy_identity *identity, struct model_row *row)
{
    struct model_row before = *row;
    row->proof = identity->by_manifest ? PROOF_MANIFEST : PROOF_APPROVAL;
    row->key_kinds = identity->key_kinds;
    row->lifetime = identity->lifetime;
    row->enrolled_lifetime = identity->enrolled_lifetime;
    row->grace = identity->grace;
    bool same_maker = strcmp(row->maker, identity->maker) == 0;
    (void)snprintf(row->maker, sizeof row->maker, "%s", identity->maker);
    return !same_maker || row->proof != before.proof || row->key_kinds != before.key_kinds ||
           row->lifetime != before.lifetime || row->enrolled_lifetime != before.enrolled_lifetime ||
           row->grace != before.grace;
}

static enum err put_model(const struct policy_model *m, struct slice tenant, struct tx *tx,
                          struct policy_models_changed *n)
{
    int64_t now = tx_now_ms(tx) / 1000;
    struct model_row row = row_of(tenant, m);
    enum err err = tx_get(tx, &table_model, &row);
    bool exists = err == ERR_NONE;
    if (!exists && err != ERR_NOT_FOUND)
        return err;
    bool differs = takes_over(&m->identity, &row);
    if (exists && !differs)
        return ERR_NONE;
    row.changed_at = now;
    row.created_at = exists ? row.created_at : now;
    n->created += exists ? 0 : 1;
    n->changed += exists ? 1 : 0;
    return exists ? tx_update(tx, &table_model, &row) : tx_insert(tx, &table_model, &row);
}

enum err policy_models_put(const struct policy *policy, struct tx *tx,
                           struct policy_models_changed *ret_changed)
{
    struct policy_models_changed n = {0};
    enum err err = ERR_NONE;
    for (size_t t = 0; t < policy->tenants_len; t++)
        for (size_t i = 0; i < policy->models_len && err == ERR_NONE; i++)
            if (policy_tenant_has(&policy->tenants[t], i))
                err = put_model(&policy->models[i], policy->tenants[t].name, tx, &n);
    if (err == ERR_NONE)
        *ret_changed = n;
    return err;
}

/* ---- for whoever keeps models and devices ---- */

/* The policy that is in force as this transaction sees it; NULL: none. What is in memory may be
 * older by the write just before this. */
static enum err force_in(struct policies *p, struct tx *tx, struct policy_force **ret_force,
                         struct problem *problem)
{
    struct policy_head head;
    bool exists;
    enum err err = policy_head_get(tx, &head, &exists);
    if (err != ERR_NONE)
        return err;
    struct policy_force *force = policies_hold(p);
    if (head.in_force == (force == NULL ? 0 : (int64_t)force->number)) {
        *ret_force = force;
        return ERR_NONE;
    }
    policies_let_go(force);
    return problem_set(problem, 409, "policy-changed", "",
                       "another policy came into force meanwhile; try again");
}

enum err policies_check_model(struct policies *p, struct tx *tx, const char *model,
                              struct problem *problem)
{
    struct policy_force *force = NULL;
    enum err err = force_in(p, tx, &force, problem);
    if (err == ERR_NONE && force != NULL &&
        policy_find_model(&force->policy, slice_of_text(model)) != NULL)
        err = problem_set(problem, 409, "model-of-policy", "model",
                          "policy.yaml defines it: change '%s' there, and `holdfast policy apply`",
                          model);
    policies_let_go(force);
    return err;
}

enum err policies_check_group(struct policies *p, struct tx *tx, const char *group,
                              struct problem *problem)
{
    struct policy_force *force = NULL;
    enum err err = force_in(p, tx, &force, problem);
    if (err == ERR_NONE &&
        (force == NULL || policy_find_group(&force->policy, slice_of_text(group)) == NULL))
        err =
            problem_set(problem, 404, "group-not-found", "group",
                        "the policy in force has no group '%s'; policy.yaml defines groups", group);
    policies_let_go(force);
    return err;
}

enum err policies_automatic_cuts(struct policies *p, struct tx *tx, uint32_t *ret_per_hour,
                                 struct problem *problem)
{
    struct policy_force *force = NULL;
    enum err err = force_in(p, tx, &force, problem);
    if (err == ERR_NONE)
        *ret_per_hour = force == NULL ? 0 : force->policy.cuts_per_hour;
    policies_let_go(force);
    return err;
}
