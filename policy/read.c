/* From the tree to a policy, by the schema. */
#include <stdlib.h>

#include "base/similar.h"
#include "policy/internal.h"

#define SHOWN(s) (int)((s).len < 80 ? (s).len : 80), (const char *)(s).data

struct run {
    struct arena *arena;
    struct policy_complaint *complaint;
};

#define REFUSE(...) policy_complain(r->complaint, node->line, node->column, __VA_ARGS__)

static enum err take(const struct run *r, const struct schema *s, const char *what,
                     const struct yaml_node *node, uint8_t *base);

/* ---- maps of known keys ---- */

static enum err unknown_key(const struct run *r, const struct schema *s,
                            const struct yaml_node *node)
{
    char all[160];
    struct writer w = writer_over(all, sizeof all - 1);
    struct similar similar = similar_to(node->key);
    for (size_t i = 0; i < s->keys_len; i++) {
        similar_offer(&similar, s->keys[i].name);
        writer_text(&w, i == 0 ? "" : i + 1 < s->keys_len ? ", " : " and ");
        writer_text(&w, s->keys[i].name);
    }
    all[w.len] = '\0';
    if (s->other_keys != NULL && similar.best == NULL)
        return policy_complain(r->complaint, node->key_line, node->key_column, ERR_SYNTAX,
                               "'%.*s' is not known here: %s", SHOWN(node->key), s->other_keys);
    if (similar.best == NULL)
        return policy_complain(r->complaint, node->key_line, node->key_column, ERR_SYNTAX,
                               "'%.*s' is not known here, where there are %s", SHOWN(node->key),
                               all);
    return policy_complain(r->complaint, node->key_line, node->key_column, ERR_SYNTAX,
                           "'%.*s' is not known here; did you mean '%s'?", SHOWN(node->key),
                           similar.best);
}

static const struct schema *find_key(const struct schema *s, struct slice name)
{
    for (size_t i = 0; i < s->keys_len; i++)
        if (slice_equal(slice_of_text(s->keys[i].name), name))
            return &s->keys[i];
    return NULL;
}

static enum err take_map(const struct run *r, const struct schema *s, const char *what,
                         const struct yaml_node *node, uint8_t *base)
{
    enum err err = ERR_NONE;
    if (node != NULL && node->kind != YAML_MAP)
        return REFUSE(ERR_SYNTAX, "'%s' must be a map: 'key: value' lines, or {key: value}", what);
    for (const struct yaml_node *n = node == NULL ? NULL : node->first; n != NULL; n = n->next)
        if (find_key(s, n->key) == NULL)
            return unknown_key(r, s, n);
    for (size_t i = 0; err == ERR_NONE && i < s->keys_len; i++) {
        const struct schema *key = &s->keys[i];
        const struct yaml_node *value = yaml_get(node, key->name);
        if (node != NULL && value == NULL && key->required)
            return REFUSE(ERR_SYNTAX, "'%s' is missing in this map: %s", key->name, key->help);
        err = take(r, key, key->name, value, base);
    }
    return err;
}

/* ---- lists and maps of names ---- */

static int compare_names(const void *a, const void *b)
{
    const struct schema_entry *x = a, *y = b;
    size_t n = x->name.len < y->name.len ? x->name.len : y->name.len;
    int order = memcmp(x->name.data, y->name.data, n);
    return order != 0 ? order : (x->name.len > y->name.len) - (x->name.len < y->name.len);
}

static enum err array_of(const struct run *r, const struct schema *s, const char *what,
                         const struct yaml_node *node, size_t len, struct schema_array *ret_array)
{
    if (len > (size_t)s->max)
        return REFUSE(ERR_LIMIT, "'%s' has more than %lld entries", what, (long long)s->max);
    if (len < (size_t)s->min)
        return REFUSE(ERR_SYNTAX, "'%s' is empty: leave it out, or say something", what);
    void *entries = len == 0 ? NULL : arena_alloc(r->arena, len * s->item_size);
    if (entries == NULL && len > 0)
        return ERR_NO_MEMORY;
    *ret_array = (struct schema_array){.entries = entries, .len = len};
    return ERR_NONE;
}

static enum err take_named(const struct run *r, const struct schema *s, const char *what,
                           const struct yaml_node *node, struct schema_array *array)
{
    static const struct schema name_schema = {.kind = SCHEMA_NAME};
    if (node->kind != YAML_MAP)
        return REFUSE(ERR_SYNTAX,
                      "'%s' must be a map of names: 'name:' lines, with what it says "
                      "indented below",
                      what);
    enum err err = array_of(r, s, what, node, node->len, array);
    uint8_t *entry = array->entries;
    for (const struct yaml_node *n = node->first; err == ERR_NONE && n != NULL; n = n->next) {
        const struct yaml_node name = {
            .line = n->key_line, .column = n->key_column, .plain = n->key_plain, .text = n->key};
        struct schema_entry *head = (struct schema_entry *)(void *)entry;
        *head = (struct schema_entry){.line = n->key_line, .column = n->key_column};
        /* "models" -> "model" */
        char one[32];
        struct slice many = slice_of_text(what);
        struct writer w = writer_over(one, sizeof one - 1);
        writer_put(&w, slice_of(many.data, many.len - 1));
        one[w.len] = '\0';
        err = policy_take_value(&name_schema, one, &name, &head->name, r->complaint);
        if (err == ERR_NONE)
            err = take(r, s->item, one, n, entry);
        entry += s->item_size;
    }
    if (err == ERR_NONE && array->len > 0)
        qsort(array->entries, array->len, s->item_size, compare_names);
    return err;
}

static enum err take_list(const struct run *r, const struct schema *s, const char *what,
                          const struct yaml_node *node, struct schema_array *array)
{
    bool is_one = s->or_one && node->kind == YAML_TEXT;
    if (node->kind != YAML_LIST && !is_one)
        return REFUSE(ERR_SYNTAX, "'%s' must be a list: '- entry' lines, or [entry, entry]", what);
    enum err err = array_of(r, s, what, node, is_one ? 1 : node->len, array);
    uint8_t *entry = array->entries;
    for (const struct yaml_node *n = is_one ? node : node->first; err == ERR_NONE && n != NULL;
         n = is_one ? NULL : n->next) {
        if (s->item->kind == SCHEMA_MAP)
            *(struct schema_entry *)(void *)entry =
                (struct schema_entry){.line = n->line, .column = n->column};
        err = take(r, s->item, what, n, entry);
        entry += s->item_size;
    }
    return err;
}

static enum err take_words(const struct run *r, const struct schema *s, const char *what,
                           const struct yaml_node *node, void *to)
{
    enum err err = ERR_NONE;
    if (node->kind != YAML_LIST)
        return REFUSE(ERR_SYNTAX, "'%s' must be a list, such as [%s]", what, s->words[0].word);
    if (node->len < (size_t)s->min)
        return REFUSE(ERR_SYNTAX, "'%s' is empty: name at least one, such as [%s]", what,
                      s->words[0].word);
    for (const struct yaml_node *n = node->first; err == ERR_NONE && n != NULL; n = n->next) {
        for (const struct yaml_node *b = node->first; b != n; b = b->next)
            if (slice_equal(b->text, n->text))
                return policy_complain(r->complaint, n->line, n->column, ERR_SYNTAX,
                                       "'%.*s' stands here twice", SHOWN(n->text));
        if (n->kind != YAML_TEXT)
            return policy_complain(r->complaint, n->line, n->column, ERR_SYNTAX,
                                   "'%s' must be a list of words", what);
        err = policy_take_word(s, what, n, to, r->complaint);
    }
    return err;
}

/* ---- anything; NULL: what holds where nothing is said ---- */

static bool is_empty(const struct yaml_node *node)
{
    return node->kind == YAML_TEXT && node->plain &&
           (node->text.len == 0 || slice_equal(node->text, SLICE_LITERAL("~")) ||
            slice_equal(node->text, SLICE_LITERAL("null")));
}

static enum err take(const struct run *r, const struct schema *s, const char *what,
                     const struct yaml_node *node, uint8_t *base)
{
    void *to = base + s->offset;
    if (node != NULL && is_empty(node))
        return REFUSE(ERR_SYNTAX, "'%s' is empty: leave it out, or say something", what);
    if (s->kind == SCHEMA_MAP)
        return take_map(r, s, what, node, to);
    if (node == NULL)
        return policy_take_standard(s, to);
    if (s->kind == SCHEMA_NAMED)
        return take_named(r, s, what, node, to);
    if (s->kind == SCHEMA_LIST)
        return take_list(r, s, what, node, to);
    if (s->kind == SCHEMA_WORDS)
        return take_words(r, s, what, node, to);
    return policy_take_value(s, what, node, to, r->complaint);
}

/* ---- from what stands there to a policy ---- */

static struct policy_topics topics_of(const struct schema_array *publish,
                                      const struct schema_array *subscribe)
{
    return (struct policy_topics){.publish = publish->entries,
                                  .publish_len = publish->len,
                                  .subscribe = subscribe->entries,
                                  .subscribe_len = subscribe->len};
}

static enum err make_models(const struct run *r, const struct schema_array *from, struct policy *p)
{
    const struct schema_model *m = from->entries;
    p->models = arena_alloc(r->arena, (from->len + 1) * sizeof *p->models);
    if (p->models == NULL)
        return ERR_NO_MEMORY;
    p->models_len = from->len;
    for (size_t i = 0; i < from->len; i++)
        if (slice_starts_with(m[i].entry.name, SLICE_LITERAL("holdfast-")))
            return policy_complain(r->complaint, m[i].entry.line, m[i].entry.column, ERR_SYNTAX,
                                   "models named 'holdfast-...' are the hub's own");
    for (size_t i = 0; i < from->len; i++)
        p->models[i] = (struct policy_model){.name = m[i].entry.name,
                                             .line = m[i].entry.line,
                                             .identity = m[i].identity,
                                             .rules = m[i].rules,
                                             .respond = m[i].respond,
                                             .topics = topics_of(&m[i].publish, &m[i].subscribe)};
    return ERR_NONE;
}

static enum err make_groups(const struct run *r, const struct schema_array *from, struct policy *p)
{
    const struct schema_group *g = from->entries;
    p->groups = arena_alloc(r->arena, (from->len + 1) * sizeof *p->groups);
    if (p->groups == NULL)
        return ERR_NO_MEMORY;
    p->groups_len = from->len;
    for (size_t i = 0; i < from->len; i++)
        p->groups[i] = (struct policy_group){.name = g[i].entry.name,
                                             .line = g[i].entry.line,
                                             .topics = topics_of(&g[i].publish, &g[i].subscribe)};
    return ERR_NONE;
}

/* ---- tenants ---- */

static int compare_numbers(const void *a, const void *b)
{
    uint16_t x = *(const uint16_t *)a, y = *(const uint16_t *)b;
    return (x > y) - (x < y);
}

static enum err make_tenant(const struct run *r, const struct schema_tenant *from,
                            const struct policy *p, struct policy_tenant *to)
{
    uint16_t *models = arena_alloc(r->arena, (from->models.len + 1) * sizeof *models);
    const struct slice *names = from->models.entries;
    if (models == NULL)
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < from->models.len; i++) {
        const struct policy_model *m = policy_find_model(p, names[i]);
        if (m == NULL)
            return policy_complain(r->complaint, from->entry.line, from->entry.column, ERR_SYNTAX,
                                   "there is no model '%.*s' in this policy", SHOWN(names[i]));
        models[i] = (uint16_t)(m - p->models);
    }
    qsort(models, from->models.len, sizeof *models, compare_numbers);
    for (size_t i = 1; i < from->models.len; i++)
        if (models[i] == models[i - 1])
            return policy_complain(r->complaint, from->entry.line, from->entry.column, ERR_SYNTAX,
                                   "the model '%.*s' stands twice among this tenant's",
                                   SHOWN(p->models[models[i]].name));
    *to = (struct policy_tenant){.name = from->entry.name,
                                 .line = from->entry.line,
                                 .all = from->models.len == 0,
                                 .models = models,
                                 .models_len = from->models.len};
    return ERR_NONE;
}

/* RULES_STANDARD_TENANT is put where it belongs in the order, if the file does not name it. */
static enum err make_tenants(const struct run *r, const struct schema_array *from, struct policy *p)
{
    static const struct slice standard = SLICE_LITERAL(RULES_STANDARD_TENANT);
    const struct schema_tenant *t = from->entries;
    size_t pairs = 0;
    p->tenants = arena_alloc(r->arena, (from->len + 1) * sizeof *p->tenants);
    if (p->tenants == NULL)
        return ERR_NO_MEMORY;
    for (size_t i = 0, named = 0; i <= from->len; i++) {
        int order = i == from->len ? 1 : policy_compare_names(t[i].entry.name, standard);
        named = named || order == 0;
        if (order > 0 && !named) {
            p->tenants[p->tenants_len++] = (struct policy_tenant){.name = standard, .all = true};
            named = 1;
        }
        if (i == from->len)
            break;
        if (slice_starts_with(t[i].entry.name, SLICE_LITERAL("holdfast-")))
            return policy_complain(r->complaint, t[i].entry.line, t[i].entry.column, ERR_SYNTAX,
                                   "tenants named 'holdfast-...' are the hub's own");
        struct policy_tenant *made = &p->tenants[p->tenants_len++];
        enum err err = make_tenant(r, &t[i], p, made);
        if (err != ERR_NONE)
            return err;
        pairs += made->all ? p->models_len : made->models_len;
        if (pairs > POLICY_PAIRS_MAX)
            return policy_complain(r->complaint, t[i].entry.line, t[i].entry.column, ERR_LIMIT,
                                   "these tenants have more than %d models together: name under "
                                   "'models' those that each needs",
                                   POLICY_PAIRS_MAX);
    }
    return ERR_NONE;
}

/* ---- tests ---- */

static const uint8_t reach_bits[] = {RULES_REACH_ENROLMENT, RULES_REACH_API, RULES_REACH_MQTT};

/* The questions of one entry: counted where `to` is NULL. */
static size_t ask(const struct schema_test *t, struct policy_test *to)
{
    size_t n = 0;
    struct policy_test q = {.line = t->at.line,
                            .subject = {.tenant = t->tenant,
                                        .device = t->device,
                                        .model = t->model,
                                        .group = t->group,
                                        .state = (enum device_state)t->state}};
    for (int expected = 1; expected >= 0; expected--) {
        const struct schema_topics *topics = expected ? &t->may : &t->may_not;
        const struct schema_array *const lists[] = {&topics->publish, &topics->subscribe,
                                                    &topics->receive};
        unsigned reach = expected ? t->reaches : t->reaches_not;
        q.expected = expected != 0;
        q.reach = 0;
        for (size_t k = 0; k < ARRAY_LEN(lists); k++) {
            q.question = (enum policy_question)k;
            for (size_t i = 0; i < lists[k]->len; i++, n++) {
                q.topic = ((const struct slice *)lists[k]->entries)[i];
                if (to != NULL)
                    to[n] = q;
            }
        }
        q.question = POLICY_REACHES;
        q.topic = slice_of(NULL, 0);
        for (size_t i = 0; i < ARRAY_LEN(reach_bits); i++) {
            if ((reach & reach_bits[i]) == 0)
                continue;
            q.reach = reach_bits[i];
            if (to != NULL)
                to[n] = q;
            n++;
        }
    }
    return n;
}

static enum err make_tests(const struct run *r, const struct schema_array *from, struct policy *p)
{
    const struct schema_test *t = from->entries;
    size_t len = 0;
    for (size_t i = 0; i < from->len; i++) {
        size_t n = ask(&t[i], NULL);
        if (n == 0)
            return policy_complain(r->complaint, t[i].at.line, t[i].at.column, ERR_SYNTAX,
                                   "this test asks nothing: give it may, may-not, reaches or "
                                   "reaches-not");
        len += n;
        if (len > POLICY_TESTS_MAX)
            return policy_complain(r->complaint, t[i].at.line, t[i].at.column, ERR_LIMIT,
                                   "these tests ask more than %d questions", POLICY_TESTS_MAX);
    }
    p->tests = arena_alloc(r->arena, (len + 1) * sizeof *p->tests);
    if (p->tests == NULL)
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < from->len; i++)
        p->tests_len += ask(&t[i], p->tests + p->tests_len);
    return ERR_NONE;
}

enum err policy_read(struct slice text, struct arena *arena, struct policy *ret_policy,
                     struct policy_complaint *complaint)
{
    const struct run r = {.arena = arena, .complaint = complaint};
    struct yaml_node *root = NULL;
    struct policy policy = {.fleet = ""};
    *complaint = (struct policy_complaint){.text = ""};
    struct schema_file *file = arena_alloc(arena, sizeof *file);
    if (file == NULL)
        return ERR_NO_MEMORY;
    enum err err = yaml_read(text, arena, &root, complaint);
    if (err == ERR_NONE)
        err = take(&r, &policy_schema, "policy", root, (uint8_t *)file);
    if (err != ERR_NONE)
        return err;
    memcpy(policy.fleet, file->fleet, sizeof policy.fleet);
    policy.changes = file->changes;
    policy.cuts_per_hour = file->cuts_per_hour;
    err = make_models(&r, &file->models, &policy);
    if (err == ERR_NONE)
        err = make_groups(&r, &file->groups, &policy);
    if (err == ERR_NONE)
        err = make_tenants(&r, &file->tenants, &policy);
    if (err == ERR_NONE)
        err = make_tests(&r, &file->tests, &policy);
    if (err == ERR_NONE)
        err = policy_cross_check(&policy, root, complaint);
    if (err == ERR_NONE)
        *ret_policy = policy;
    return err;
}
