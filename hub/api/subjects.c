/* Subjects, over the local socket. */
#include <stdio.h>

#include "hub/api/views.h"

static const char *subject_id(const void *row)
{
    return ((const struct subject_row *)row)->id;
}

static void subject_view(struct api_call *call, struct json_writer *j, const void *row)
{
    view_subject(call, j, row);
}

void api_subject_list(struct api_call *call)
{
    struct query_subject_list in;
    if (!api_read_ok(call, query_subject_list_read(http_request_query(call->request),
                                                   http_request_arena(call->request), &in,
                                                   &call->problem)))
        return;
    struct subject_row after = {0};
    (void)snprintf(after.tenant, sizeof after.tenant, "%s", call->tenant);
    (void)snprintf(after.id, sizeof after.id, "%.15s", in.has_after ? in.after : "");
    const struct store_filter tenant = {.column = "tenant", .text = slice_of_text(call->tenant)};
    struct view_page page = {
        .name = "subjects",
        .query = {.table = &table_subject,
                  .filters = &tenant,
                  .filters_len = 1,
                  .after = &after,
                  .limit = (size_t)in.limit},
        .view = subject_view,
        .row_name = subject_id,
    };
    view_reply_page(call, &page);
}

/* By what stands in the path: a name, or "~7". Answers, and gives false, where there is none. */
static bool find(struct api_call *call, struct subject_row *row)
{
    struct arena *arena = http_request_arena(call->request);
    const char *asked = api_param(call, 0);
    enum err err = ERR_NONE;
    (void)snprintf(row->tenant, sizeof row->tenant, "%s", call->tenant);
    (void)snprintf(row->id, sizeof row->id, "%.15s", asked);
    if (asked[0] != '~')
        err = subjects_find(call->hub->subjects, call->here->reader, arena, call->tenant, asked,
                            row->id);
    if (err == ERR_NONE)
        err = store_get(call->here->reader, &table_subject, arena, row);
    if (err == ERR_NOT_FOUND)
        err = problem_set(&call->problem, 404, "subject-not-found", "subject",
                          "there is no subject '%s'", asked);
    return api_read_ok(call, err);
}

static void reply(struct api_call *call, const struct subject_row *row)
{
    struct writer w = arena_writer(http_request_arena(call->request), 1024);
    struct json_writer j = json_writer_over(&w);
    view_subject(call, &j, row);
    api_reply_json(call, 200, &w);
}

void api_subject_show(struct api_call *call)
{
    struct subject_row row = {0};
    if (find(call, &row))
        reply(call, &row);
}

static void erase_ended(struct act *act)
{
    struct subject_act *e = CONTAINER_OF(act, struct subject_act, act);
    struct api_call *call = api_act_ended(act);
    if (call == NULL)
        return;
    struct subject_row row = {0};
    (void)snprintf(row.tenant, sizeof row.tenant, "%s", call->tenant);
    (void)snprintf(row.id, sizeof row.id, "%s", e->id);
    if (api_read_ok(call, store_get(call->here->reader, &table_subject,
                                    http_request_arena(call->request), &row)))
        reply(call, &row);
}

void api_subject_erase(struct api_call *call)
{
    struct subject_row row = {0};
    if (!find(call, &row))
        return;
    struct subject_act *e = API_NEW(call, struct subject_act);
    if (e == NULL)
        return;
    (void)snprintf(e->id, sizeof e->id, "%s", row.id);
    const struct act_origin origin = api_origin(call, erase_ended);
    subjects_erase(call->hub->subjects, &origin, call->here->reader, e);
}
