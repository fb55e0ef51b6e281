/* Models, over the local socket. */
#include <stdio.h>

#include "hub/api/views.h"

static const char *model_name(const void *row)
{
    return ((const struct model_row *)row)->id;
}

static void model_view(struct api_call *call, struct json_writer *j, const void *row)
{
    (void)call;
    view_model(j, row);
}

void api_model_list(struct api_call *call)
{
    struct query_model_list in;
    if (!api_read_ok(call,
                     query_model_list_read(http_request_query(call->request),
                                           http_request_arena(call->request), &in, &call->problem)))
        return;
    struct model_row after = {0};
    (void)snprintf(after.tenant, sizeof after.tenant, "%s", call->tenant);
    (void)snprintf(after.id, sizeof after.id, "%s", in.has_after ? in.after : "");
    const struct store_filter tenant = {.column = "tenant", .text = slice_of_text(call->tenant)};
    struct view_page page = {
        .name = "models",
        .query = {.table = &table_model,
                  .filters = &tenant,
                  .filters_len = 1,
                  .after = &after,
                  .limit = (size_t)in.limit},
        .view = model_view,
        .row_name = model_name,
    };
    view_reply_page(call, &page);
}

/* ERR_REFUSED with the problem where there is none. */
static enum err model_load(struct api_call *call, struct model_row *model)
{
    (void)snprintf(model->tenant, sizeof model->tenant, "%s", call->tenant);
    (void)snprintf(model->id, sizeof model->id, "%s", api_param(call, 0));
    enum err err =
        store_get(call->here->reader, &table_model, http_request_arena(call->request), model);
    if (err == ERR_NOT_FOUND)
        return problem_set(&call->problem, 404, "model-not-found", "model",
                           "there is no model '%s'", model->id);
    return err;
}

static void reply_model(struct api_call *call, unsigned status, const struct model_row *model)
{
    struct writer w = arena_writer(http_request_arena(call->request), 2048);
    struct json_writer j = json_writer_over(&w);
    view_model(&j, model);
    api_reply_json(call, status, &w);
}

void api_model_show(struct api_call *call)
{
    struct model_row model = {0};
    if (api_read_ok(call, model_load(call, &model)))
        reply_model(call, 200, &model);
}

static void model_ended(struct act *act)
{
    struct model_act *m = CONTAINER_OF(act, struct model_act, act);
    struct api_call *call = api_act_ended(act);
    if (call == NULL)
        return;
    if (m->change == MODEL_DELETE)
        api_reply_nothing(call);
    else
        reply_model(call, m->change == MODEL_CREATE ? 201 : 200, &m->model);
}

static void change(struct api_call *call, struct model_act *m, enum model_change what)
{
    m->change = what;
    const struct act_origin origin = api_origin(call, model_ended);
    identity_change_model(call->hub->identity, &origin, m);
}

void api_model_create(struct api_call *call)
{
    struct request_model_create in;
    if (!api_read_ok(call, request_model_create_read(http_request_body(call->request),
                                                     http_request_arena(call->request), &in,
                                                     &call->problem)))
        return;
    struct model_act *m = API_NEW(call, struct model_act);
    if (m == NULL)
        return;
    (void)snprintf(m->model.id, sizeof m->model.id, "%s", in.id);
    (void)snprintf(m->model.maker, sizeof m->model.maker, "%s", in.maker);
    m->model.proof = (int64_t)in.proof;
    m->model.key_kinds = in.key_kinds;
    m->model.lifetime = in.lifetime_seconds;
    m->model.enrolled_lifetime = in.enrolled_lifetime_seconds;
    m->model.grace = in.grace_seconds;
    change(call, m, MODEL_CREATE);
}

void api_model_change(struct api_call *call)
{
    struct request_model_change in;
    if (!api_read_ok(call, request_model_change_read(http_request_body(call->request),
                                                     http_request_arena(call->request), &in,
                                                     &call->problem)))
        return;
    struct model_act *m = API_NEW(call, struct model_act);
    if (m == NULL || !api_read_ok(call, model_load(call, &m->model)))
        return;
    if (in.has_proof)
        m->model.proof = (int64_t)in.proof;
    if (in.has_key_kinds)
        m->model.key_kinds = in.key_kinds;
    if (in.has_lifetime_seconds)
        m->model.lifetime = in.lifetime_seconds;
    if (in.has_enrolled_lifetime_seconds)
        m->model.enrolled_lifetime = in.enrolled_lifetime_seconds;
    if (in.has_grace_seconds)
        m->model.grace = in.grace_seconds;
    change(call, m, MODEL_REPLACE);
}

void api_model_delete(struct api_call *call)
{
    struct model_act *m = API_NEW(call, struct model_act);
    if (m == NULL)
        return;
    (void)snprintf(m->model.id, sizeof m->model.id, "%s", api_param(call, 0));
    change(call, m, MODEL_DELETE);
}
