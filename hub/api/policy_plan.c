/* What a policy would change, before it does. */
#include <stdio.h>
#include <string.h>

#include "hub/api/views.h"

#define PLAN_JSON_MAX (2U << 20)
#define SHOWN_MAX     1000  /* differences, models and groups in one answer */
#define LOOKS_MAX     10000 /* counts of one tenant's devices: half a second */
#define FAILING_MAX   100
#define COUNTED_MAX   1000000 /* devices of one model: more are not told apart */
#define NAMED_MAX     10
#define WORDS_MAX     1024 /* bytes of a test, and of a verdict */

struct plan {
    struct api_call *call;
    const struct policy_force *force;
    struct arena *work;
    struct policy_judgement judgement;
    struct slice *tenants;
    size_t tenants_len;
    struct json_writer j;
};

/* ---- devices ---- */

/* "thermo-1", or "cafe/thermo-1" where it is not of the first tenant. */
static enum err name_device(void *ctx, const void *row)
{
    const struct device_row *device = row;
    char label[IDENTITY_LABEL_MAX];
    identity_label(label, device->tenant, device->id);
    json_text(ctx, strcmp(device->tenant, HUB_TENANT) == 0 ? device->id : label);
    return ERR_NONE;
}

/* The tenants there were and will be, each once, in order. */
static enum err list_tenants(struct plan *p)
{
    const struct policy *new = &p->judgement.policy, *old = p->force ? &p->force->policy : NULL;
    size_t old_len = old == NULL ? 0 : old->tenants_len;
    p->tenants = arena_alloc(p->work, (old_len + new->tenants_len) * sizeof *p->tenants);
    if (p->tenants == NULL)
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < new->tenants_len; i++)
        p->tenants[p->tenants_len++] = new->tenants[i].name;
    for (size_t i = 0; i < old_len; i++)
        if (policy_find_tenant(new, old->tenants[i].name) == NULL)
            p->tenants[p->tenants_len++] = old->tenants[i].name;
    return ERR_NONE;
}

struct concerned {
    struct store_filter filters[2]; /* the tenant, then what is concerned */
    struct store_query query;
};

static enum err count_devices(struct plan *p, struct concerned *c, uint64_t *ret_n)
{
    enum err err = ERR_NONE;
    *ret_n = 0;
    for (size_t i = 0; i < p->tenants_len && err == ERR_NONE; i++) {
        uint64_t n = 0;
        c->filters[0].text = p->tenants[i];
        err = store_count(p->call->here->reader, &c->query, &n);
        *ret_n += n;
    }
    return err;
}

static enum err name_devices(struct plan *p, struct concerned *c)
{
    enum err err = ERR_NONE;
    c->query.limit = NAMED_MAX;
    json_key(&p->j, "names");
    json_open_array(&p->j);
    for (size_t i = 0; i < p->tenants_len && err == ERR_NONE; i++) {
        c->filters[0].text = p->tenants[i];
        err = store_list(p->call->here->reader, &c->query, p->work, name_device, &p->j);
    }
    json_close_array(&p->j);
    return err;
}

static enum err write_concerned(struct plan *p, bool is_group, struct slice name)
{
    struct concerned c = {
        .filters = {{.column = "tenant"}, {.column = is_group ? "grp" : "model", .text = name}}};
    c.query = (struct store_query){.table = &table_device,
                                   .filters = c.filters,
                                   .filters_len = ARRAY_LEN(c.filters),
                                   .limit = COUNTED_MAX};
    uint64_t n = 0;
    enum err err = count_devices(p, &c, &n);
    if (err != ERR_NONE)
        return err;
    json_open_object(&p->j);
    json_field_text(&p->j, "scope", is_group ? "group" : "model");
    json_field_slice(&p->j, "name", name);
    json_field_integer(&p->j, "devices", (int64_t)n);
    if (n > 0 && n <= NAMED_MAX)
        err = name_devices(p, &c);
    json_close_object(&p->j);
    return err;
}

/* Differences come in the order of names: each model and group is counted once. */
static enum err write_all_concerned(struct plan *p)
{
    const struct policy_judgement *judged = &p->judgement;
    const struct policy_difference *last = NULL;
    enum err err = ERR_NONE;
    size_t n = 0,
           most = LOOKS_MAX / p->tenants_len < SHOWN_MAX ? LOOKS_MAX / p->tenants_len : SHOWN_MAX;
    json_key(&p->j, "concerned");
    json_open_array(&p->j);
    for (size_t i = 0; i < judged->differences_len && err == ERR_NONE && n < most; i++) {
        const struct policy_difference *d = &judged->differences[i];
        bool again =
            last != NULL && last->is_group == d->is_group && slice_equal(last->name, d->name);
        if (d->name.len == 0 || again)
            continue;
        last = d;
        n++;
        err = write_concerned(p, d->is_group, d->name);
    }
    json_close_array(&p->j);
    return err;
}

/* ---- models that the policy does not know ---- */

struct unlisted {
    struct plan *plan;
    struct slice names[SHOWN_MAX];
    size_t n;
};

static enum err take_model(void *ctx, const void *row)
{
    struct unlisted *u = ctx;
    struct slice name = slice_of_text(((const struct model_row *)row)->id);
    bool of_brokers = slice_equal(name, SLICE_LITERAL(IDENTITY_BROKER_MODEL));
    if (of_brokers || policy_find_model(&u->plan->judgement.policy, name) != NULL ||
        u->n == SHOWN_MAX)
        return ERR_NONE;
    return arena_copy(u->plan->work, name, &u->names[u->n++]);
}

static enum err write_unlisted(struct plan *p)
{
    struct api_call *call = p->call;
    struct unlisted *u = arena_alloc(p->work, sizeof *u);
    if (u == NULL)
        return ERR_NO_MEMORY;
    u->plan = p;
    const struct store_filter tenant = {.column = "tenant", .text = slice_of_text(call->tenant)};
    const struct store_query query = {
        .table = &table_model, .filters = &tenant, .filters_len = 1, .limit = RULES_MODELS_MAX};
    enum err err = store_list(call->here->reader, &query, p->work, take_model, u);
    json_key(&p->j, "unlisted");
    json_open_array(&p->j);
    for (size_t i = 0; i < u->n && err == ERR_NONE; i++)
        err = write_concerned(p, false, u->names[i]);
    json_close_array(&p->j);
    return err;
}

/* ---- the plan ---- */

static void write_differences(struct plan *p)
{
    static const char *const effects[] = {
        [POLICY_GAINS] = "gains", [POLICY_LOSES] = "loses", [POLICY_CHANGES] = "changes"};
    const struct policy_judgement *judged = &p->judgement;
    struct json_writer *j = &p->j;
    json_field_integer(j, "differences_total", (int64_t)judged->differences_len);
    json_key(j, "differences");
    json_open_array(j);
    for (size_t i = 0; i < judged->differences_len && i < SHOWN_MAX; i++) {
        const struct policy_difference *d = &judged->differences[i];
        json_open_object(j);
        json_field_text(j, "effect", effects[d->effect]);
        json_field_text(j, "scope", d->name.len == 0 ? "fleet" : d->is_group ? "group" : "model");
        if (d->name.len > 0)
            json_field_slice(j, "name", d->name);
        json_field_slice(j, "what", d->what);
        json_close_object(j);
    }
    json_close_array(j);
}

static void write_words(struct json_writer *j, const char *key, const struct writer *w)
{
    json_field_slice(j, key, slice_of(w->start, w->len));
}

static void write_failing(struct plan *p)
{
    const struct policy_judgement *judged = &p->judgement;
    struct json_writer *j = &p->j;
    json_field_integer(j, "tests", (int64_t)judged->policy.tests_len);
    json_key(j, "failing");
    json_open_array(j);
    for (size_t i = 0; i < judged->failing_len && i < FAILING_MAX; i++) {
        uint8_t words[WORDS_MAX];
        struct writer w = writer_over(words, sizeof words);
        json_open_object(j);
        json_field_integer(j, "line", judged->failing[i]->line);
        policy_test_text(&w, judged->failing[i]);
        write_words(j, "test", &w);
        w = writer_over(words, sizeof words);
        policy_test_verdict(&w, judged->failing[i], &judged->rules);
        write_words(j, "verdict", &w);
        json_close_object(j);
    }
    json_close_array(j);
}

static enum err write_plan(struct plan *p)
{
    const struct policy_judgement *judged = &p->judgement;
    struct json_writer *j = &p->j;
    json_open_object(j);
    json_field_integer(j, "from", p->force == NULL ? 0 : (int64_t)p->force->number);
    json_field_hex(j, "text_sha256", slice_of(judged->text_sha256.bytes, SHA256_SIZE));
    write_differences(p);
    enum err err = list_tenants(p);
    if (err == ERR_NONE)
        err = write_all_concerned(p);
    if (err == ERR_NONE)
        err = write_unlisted(p);
    write_failing(p);
    json_field_integer(j, "approvals", judged->approvals);
    json_field_text(j, "signature", judged->needs_signature ? "owner" : "none");
    if (judged->lock_out != NULL)
        json_field_text(j, "lock_out", judged->lock_out);
    json_close_object(j);
    return err;
}

static void plan(struct api_call *call, struct slice text, struct arena *work)
{
    struct plan p = {.call = call, .work = work};
    struct writer w = arena_writer(http_request_arena(call->request), PLAN_JSON_MAX);
    p.j = json_writer_over(&w);
    p.force = policies_now(call->hub->policies, &call->here->policy);
    enum err err =
        policies_judge(call->hub->policies, p.force, text, work, &p.judgement, &call->problem);
    if (err == ERR_NONE)
        err = write_plan(&p);
    if (api_read_ok(call, err))
        api_reply_json(call, 200, &w);
}

void api_policy_plan(struct api_call *call)
{
    struct request_policy_text in;
    if (!api_read_ok(call, request_policy_text_read(http_request_body(call->request),
                                                    http_request_arena(call->request), &in,
                                                    &call->problem)))
        return;
    struct arena *work = arena_new(POLICY_ARENA_MAX);
    if (work == NULL)
        api_reply_err(call, ERR_NO_MEMORY);
    else
        plan(call, slice_of_text(in.text), work);
    arena_free(work);
}
