/* What single values cannot show: that they fit each other, and that what is named is there. */
#include <stdlib.h>

#include "policy/internal.h"

#define SHOWN(s) (int)(s).len, (const char *)(s).data

int policy_compare_names(struct slice a, struct slice b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int order = n == 0 ? 0 : memcmp(a.data, b.data, n);
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare_model(const void *name, const void *model)
{
    return policy_compare_names(*(const struct slice *)name,
                                ((const struct policy_model *)model)->name);
}

static int compare_group(const void *name, const void *group)
{
    return policy_compare_names(*(const struct slice *)name,
                                ((const struct policy_group *)group)->name);
}

static int compare_tenant(const void *name, const void *tenant)
{
    return policy_compare_names(*(const struct slice *)name,
                                ((const struct policy_tenant *)tenant)->name);
}

const struct policy_model *policy_find_model(const struct policy *policy, struct slice name)
{
    return bsearch(&name, policy->models, policy->models_len, sizeof *policy->models,
                   compare_model);
}

const struct policy_group *policy_find_group(const struct policy *policy, struct slice name)
{
    return bsearch(&name, policy->groups, policy->groups_len, sizeof *policy->groups,
                   compare_group);
}

const struct policy_tenant *policy_find_tenant(const struct policy *policy, struct slice name)
{
    return bsearch(&name, policy->tenants, policy->tenants_len, sizeof *policy->tenants,
                   compare_tenant);
}

bool policy_tenant_has(const struct policy_tenant *tenant, size_t model)
{
    for (size_t i = 0; i < tenant->models_len; i++)
        if (tenant->models[i] == model)
            return true;
    return tenant->all;
}

/* Where a complaint about map.key belongs: there, or at the map's owner where it is silent. */
static enum err refuse(const struct yaml_node *owner, const char *map, const char *key,
                       struct policy_complaint *complaint, const char *text)
{
    const struct yaml_node *value = yaml_get(yaml_get(owner, map), key);
    return policy_complain(complaint, value == NULL ? owner->key_line : value->line,
                           value == NULL ? owner->key_column : value->column, ERR_SYNTAX, "%s",
                           text);
}

static enum err check_model(const struct policy_model *m, const struct yaml_node *node,
                            struct policy_complaint *complaint)
{
    const struct rules_limits *l = &m->rules.limits;
    if (m->identity.lifetime < m->identity.enrolled_lifetime)
        return refuse(node, "identity", "lifetime", complaint,
                      "'lifetime' is shorter than 'enrolled-lifetime': a device would lose by "
                      "being trusted");
    if (m->identity.renewal >= m->identity.lifetime)
        return refuse(node, "identity", "renewal", complaint,
                      "'renewal' is no less than 'lifetime': it would come when the certificate is "
                      "over");
    if (l->bytes_per_minute != 0 && (l->payload_max == 0 || l->payload_max > l->bytes_per_minute))
        return refuse(node, "limits", l->payload_max == 0 ? "payload" : "bytes", complaint,
                      "'payload' is more than the 'bytes' of a minute: messages of that size could "
                      "never be sent");
    return ERR_NONE;
}

/* A test of what is not there would say that it may do nothing, and hold. */
static enum err check_test(const struct policy *policy, const struct yaml_node *node,
                           struct policy_complaint *complaint)
{
    const struct yaml_node *model = yaml_get(node, "model"), *group = yaml_get(node, "group");
    const struct yaml_node *tenant = yaml_get(node, "tenant");
    const struct policy_model *found = policy_find_model(policy, model->text);
    struct slice owner = tenant == NULL ? SLICE_LITERAL(RULES_STANDARD_TENANT) : tenant->text;
    if (found == NULL)
        return policy_complain(complaint, model->line, model->column, ERR_SYNTAX,
                               "there is no model '%.*s' in this policy", SHOWN(model->text));
    if (group != NULL && policy_find_group(policy, group->text) == NULL)
        return policy_complain(complaint, group->line, group->column, ERR_SYNTAX,
                               "there is no group '%.*s' in this policy", SHOWN(group->text));
    const struct policy_tenant *t = policy_find_tenant(policy, owner);
    const struct yaml_node *at = tenant == NULL ? model : tenant;
    if (t == NULL)
        return policy_complain(complaint, at->line, at->column, ERR_SYNTAX,
                               "there is no tenant '%.*s' in this policy", SHOWN(owner));
    if (!policy_tenant_has(t, (size_t)(found - policy->models)))
        return policy_complain(complaint, model->line, model->column, ERR_SYNTAX,
                               "devices of the tenant '%.*s' can't be of the model '%.*s'",
                               SHOWN(owner), SHOWN(model->text));
    return ERR_NONE;
}

enum err policy_cross_check(const struct policy *policy, const struct yaml_node *root,
                            struct policy_complaint *complaint)
{
    const struct yaml_node *models = yaml_get(root, "models"), *tests = yaml_get(root, "tests");
    enum err err = ERR_NONE;
    for (const struct yaml_node *n = models->first; err == ERR_NONE && n != NULL; n = n->next)
        err = check_model(policy_find_model(policy, n->key), n, complaint);
    for (const struct yaml_node *n = tests == NULL ? NULL : tests->first;
         err == ERR_NONE && n != NULL; n = n->next)
        err = check_test(policy, n, complaint);
    return err;
}
