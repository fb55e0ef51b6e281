/* What a text would change, and what the policy in force asks of that. */
#include "hub/policy/internal.h"

#include <stdio.h>
#include <string.h>

#include "base/crypto.h"

static enum err refuse_text(struct problem *problem, const struct policy_complaint *c)
{
    if (c->line == 0)
        return problem_set(problem, 400, "policy-malformed", "text", "policy.yaml: %s", c->text);
    return problem_set(problem, 400, "policy-malformed", "text", "policy.yaml:%u:%u: %s", c->line,
                       c->column, c->text);
}

static enum err read_text(const struct policies *p, struct slice text, struct arena *arena,
                          struct policy_judgement *j, struct problem *problem)
{
    struct policy_complaint complaint = {.line = 0};
    enum err err = policy_read(text, arena, &j->policy, &complaint);
    if (err == ERR_SYNTAX || err == ERR_LIMIT)
        return refuse_text(problem, &complaint);
    if (err != ERR_NONE)
        return err;
    if (strcmp(j->policy.fleet, p->options.fleet) != 0)
        return problem_set(problem, 409, "policy-fleet", "fleet",
                           "it is the policy of the fleet '%s', and this hub's is '%s'",
                           j->policy.fleet, p->options.fleet);
    err = policy_compile(&j->policy, arena, &j->body);
    if (err == ERR_NONE)
        err = rules_read_body(j->body, &j->rules);
    if (err == ERR_LIMIT)
        return problem_set(problem, 400, "policy-too-large", "text",
                           "its rules take more than %u bytes, which is what a broker takes",
                           RULES_BODY_MAX);
    return err == ERR_NONE || err == ERR_NO_MEMORY ? err : ERR_INTERNAL;
}

static enum err run_tests(struct policy_judgement *j, struct arena *arena)
{
    const struct policy *policy = &j->policy;
    j->failing = arena_alloc(arena, (policy->tests_len + 1) * sizeof(const struct policy_test *));
    if (j->failing == NULL)
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < policy->tests_len; i++)
        if (!policy_test_holds(&policy->tests[i], &j->rules))
            j->failing[j->failing_len++] = &policy->tests[i];
    return ERR_NONE;
}

static const char *lock_out_all(const struct policies *p, const struct policy *policy)
{
    if (policy->changes.approvals > 1 && p->options.operators < 2)
        return "operators: it asks for two people, and this hub knows fewer (`operators` in its "
               "configuration)";
    for (size_t i = 0; i < policy->models_len; i++)
        for (size_t state = 0; state < DEVICE_STATE_COUNT; state++)
            if ((policy->models[i].rules.reach[state] & RULES_REACH_API) != 0)
                return NULL;
    return "devices: none of them would reach the hub's API in any state";
}

/* The first tenant that is to be no more: its devices reach nothing but their own enrolment then.
 */
static const struct policy_tenant *first_dropped(const struct policy *old, const struct policy *new)
{
    for (size_t i = 0; old != NULL && i < old->tenants_len; i++)
        if (policy_find_tenant(new, old->tenants[i].name) == NULL)
            return &old->tenants[i];
    return NULL;
}

/* In words; NULL: nobody. */
static enum err lock_out(const struct policies *p, const struct policy *old,
                         const struct policy *policy, struct arena *arena, const char **ret_whom)
{
    char words[RULES_NAME_MAX + 64];
    const struct policy_tenant *dropped = first_dropped(old, policy);
    *ret_whom = lock_out_all(p, policy);
    if (*ret_whom != NULL || dropped == NULL)
        return ERR_NONE;
    (void)snprintf(words, sizeof words, "devices of the tenant '%.*s', which is no more in it",
                   (int)dropped->name.len, (const char *)dropped->name.data);
    *ret_whom = arena_text(arena, slice_of_text(words));
    return *ret_whom == NULL ? ERR_NO_MEMORY : ERR_NONE;
}

enum err policies_judge(const struct policies *p, const struct policy_force *force,
                        struct slice text, struct arena *arena,
                        struct policy_judgement *ret_judgement, struct problem *problem)
{
    struct policy_judgement j = {.approvals = 1};
    crypto_sha256_one(text, j.text_sha256.bytes);
    enum err err = read_text(p, text, arena, &j, problem);
    if (err == ERR_NONE)
        err = run_tests(&j, arena);
    if (err == ERR_NONE)
        err = policy_diff(force != NULL ? &force->policy : NULL, &j.policy, arena, &j.differences,
                          &j.differences_len);
    if (err != ERR_NONE)
        return err;
    bool loosens = false;
    for (size_t i = 0; i < j.differences_len; i++)
        loosens = loosens || j.differences[i].effect == POLICY_GAINS;
    if (force != NULL) {
        j.approvals = force->policy.changes.approvals > 1 ? 2 : 1;
        j.needs_signature = loosens && force->policy.changes.loosening_key[0] != '\0';
    }
    err = lock_out(p, force != NULL ? &force->policy : NULL, &j.policy, arena, &j.lock_out);
    if (err == ERR_NONE)
        *ret_judgement = j;
    return err;
}
