/* Rotations, over the local socket. */
#include <stdio.h>

#include "hub/api/views.h"

static void field_where_set(struct json_writer *j, const char *key, const char *text)
{
    if (text[0] != '\0')
        json_field_text(j, key, text);
}

static void view_rotation(struct api_call *call, struct json_writer *j, const void *row)
{
    const struct rotation_row *r = row;
    json_open_object(j);
    json_field_text(j, "id", r->id);
    json_field_text(j, "phase", rotation_phase_text(r->phase));
    json_field_text(j, "reason", r->reason);
    field_where_set(j, "model", r->model);
    field_where_set(j, "manifest", r->manifest);
    if (r->owner[0] != '\0')
        view_owner(call, j, r->owner);
    if (r->state != ROTATION_ANY_STATE)
        json_field_text(j, "state", device_state_text(r->state));
    json_field_integer(j, "over_seconds", r->spread);
    json_field_text(j, "keys",
                    api_incident_keys_words.texts[r->keys_touched ? API_INCIDENT_KEYS_TOUCHED
                                                                  : API_INCIDENT_KEYS_UNTOUCHED]);
    json_field_integer(j, "devices", r->devices);
    json_field_integer(j, "renewed", r->renewed);
    json_field_integer(j, "moved", r->moved);
    json_field_integer(j, "gone", r->gone);
    json_field_integer(j, "waiting", identity_rotation_waiting(r));
    json_field_time(j, "created_at", r->created_at);
    if (r->ended_at != 0)
        json_field_time(j, "ended_at", r->ended_at);
    json_close_object(j);
}

static void reply_rotation(struct api_call *call, unsigned status, const struct rotation_row *row)
{
    struct writer w = arena_writer(http_request_arena(call->request), 2048);
    struct json_writer j = json_writer_over(&w);
    view_rotation(call, &j, row);
    api_reply_json(call, status, &w);
}

static const char *rotation_name(const void *row)
{
    return ((const struct rotation_row *)row)->id;
}

void api_rotation_list(struct api_call *call)
{
    struct query_rotation_list in;
    if (!api_read_ok(call, query_rotation_list_read(http_request_query(call->request),
                                                    http_request_arena(call->request), &in,
                                                    &call->problem)))
        return;
    struct rotation_row after = {0};
    (void)snprintf(after.tenant, sizeof after.tenant, "%s", call->tenant);
    (void)snprintf(after.id, sizeof after.id, "%s", in.has_after ? in.after : "");
    const struct store_filter tenant = {.column = "tenant", .text = slice_of_text(call->tenant)};
    struct view_page page = {
        .name = "rotations",
        .query = {.table = &table_rotation,
                  .filters = &tenant,
                  .filters_len = 1,
                  .after = &after,
                  .limit = (size_t)in.limit},
        .view = view_rotation,
        .row_name = rotation_name,
    };
    view_reply_page(call, &page);
}

/* False after answering. */
static bool read_rotation(struct api_call *call, struct rotation_row *row)
{
    (void)snprintf(row->tenant, sizeof row->tenant, "%s", call->tenant);
    (void)snprintf(row->id, sizeof row->id, "%s", api_param(call, 0));
    enum err err =
        store_get(call->here->reader, &table_rotation, http_request_arena(call->request), row);
    if (err == ERR_NOT_FOUND)
        err = problem_set(&call->problem, 404, "rotation-not-found", "rotation",
                          "there is no rotation '%s'", row->id);
    return api_read_ok(call, err);
}

void api_rotation_show(struct api_call *call)
{
    struct rotation_row row = {0};
    if (read_rotation(call, &row))
        reply_rotation(call, 200, &row);
}

/* ---- a new one ---- */

static void create_ended(struct act *act)
{
    struct rotation_act *r = CONTAINER_OF(act, struct rotation_act, act);
    struct api_call *call = api_act_ended(act);
    if (call != NULL)
        reply_rotation(call, 201, &r->rotation);
}

static bool has_filter(const struct request_rotation_create *in)
{
    return in->has_model || in->has_manifest || in->has_owner || in->has_state;
}

/* False after answering: a name that nobody has is a mistake, and not an empty rotation. */
static bool find_owner(struct api_call *call, const char *name, struct rotation_row *row)
{
    char id[SUBJECT_ID_SIZE];
    enum err err = subjects_find(call->hub->subjects, call->here->reader,
                                 http_request_arena(call->request), call->tenant, name, id);
    if (err == ERR_NOT_FOUND)
        err = problem_set(&call->problem, 404, "subject-not-found", "owner",
                          "there is no owner '%s'", name);
    if (!api_read_ok(call, err))
        return false;
    (void)snprintf(row->owner, sizeof row->owner, "%s", id);
    return true;
}

void api_rotation_create(struct api_call *call)
{
    struct request_rotation_create in;
    if (!api_read_ok(call, request_rotation_create_read(http_request_body(call->request),
                                                        http_request_arena(call->request), &in,
                                                        &call->problem)))
        return;
    if (in.devices_len > 0 && has_filter(&in)) {
        (void)problem_set(&call->problem, 400, "rotation-both", "devices",
                          "name the devices, or give filters; not both");
        api_reply_problem(call, &call->problem);
        return;
    }
    struct rotation_act *r = API_NEW(call, struct rotation_act);
    if (r == NULL)
        return;
    struct rotation_row *row = &r->rotation;
    const char **devices = api_alloc(call, (in.devices_len + 1) * sizeof *devices);
    if (devices == NULL)
        return;
    for (size_t i = 0; i < in.devices_len; i++)
        devices[i] = in.devices[i].id;
    r->devices = devices;
    r->devices_len = in.devices_len;
    (void)snprintf(row->reason, sizeof row->reason, "%s", in.reason);
    row->spread = in.over_seconds;
    (void)snprintf(row->model, sizeof row->model, "%s", in.has_model ? in.model : "");
    (void)snprintf(row->manifest, sizeof row->manifest, "%s", in.has_manifest ? in.manifest : "");
    if (in.has_owner && !find_owner(call, in.owner, row))
        return;
    row->keys_touched = in.keys == API_INCIDENT_KEYS_TOUCHED;
    row->state = in.has_state ? (int64_t)in.state : ROTATION_ANY_STATE;
    const struct act_origin origin = api_origin(call, create_ended);
    identity_rotate(call->hub->identity, &origin, r);
}

static void cancel_ended(struct act *act)
{
    struct rotation_cancel_act *c = CONTAINER_OF(act, struct rotation_cancel_act, act);
    struct api_call *call = api_act_ended(act);
    if (call != NULL)
        reply_rotation(call, 200, &c->rotation);
}

void api_rotation_cancel(struct api_call *call)
{
    struct request_device_move in;
    if (!api_read_ok(call, request_device_move_read(http_request_body(call->request),
                                                    http_request_arena(call->request), &in,
                                                    &call->problem)))
        return;
    struct rotation_cancel_act *c = API_NEW(call, struct rotation_cancel_act);
    if (c == NULL)
        return;
    (void)snprintf(c->rotation.id, sizeof c->rotation.id, "%s", api_param(call, 0));
    (void)snprintf(c->reason, sizeof c->reason, "%s", in.reason);
    const struct act_origin origin = api_origin(call, cancel_ended);
    identity_cancel_rotation(call->hub->identity, &origin, c);
}

/* ---- who is still waited for ---- */

#define STRAGGLER_JSON_MAX 512

struct waiting {
    struct rotation_device_row *rows;
    size_t len, max;
};

static enum err keep_row(void *ctx, const void *row)
{
    struct waiting *w = ctx;
    if (w->len == w->max)
        return ERR_INTERNAL;
    w->rows[w->len++] = *(const struct rotation_device_row *)row;
    return ERR_NONE;
}

static enum err list_waiting(struct api_call *call, const struct rotation_row *rotation,
                             const char *after, struct waiting *w)
{
    struct rotation_device_row from = {0};
    (void)snprintf(from.tenant, sizeof from.tenant, "%s", rotation->tenant);
    (void)snprintf(from.rotation, sizeof from.rotation, "%s", rotation->id);
    (void)snprintf(from.device, sizeof from.device, "%s", after);
    const struct store_filter filters[] = {
        {.column = "tenant", .text = slice_of_text(rotation->tenant)},
        {.column = "rotation", .text = slice_of_text(rotation->id)}};
    const struct store_query query = {.table = &table_rotation_device,
                                      .filters = filters,
                                      .filters_len = ARRAY_LEN(filters),
                                      .after = &from,
                                      .limit = w->max};
    return store_list(call->here->reader, &query, http_request_arena(call->request), keep_row, w);
}

static enum err write_straggler(struct api_call *call, const struct rotation_row *rotation,
                                const struct rotation_device_row *row, struct json_writer *j)
{
    struct straggler s;
    enum err err = identity_straggler(call->here->reader, http_request_arena(call->request),
                                      rotation, row, &s);
    if (err != ERR_NONE)
        return err;
    json_open_object(j);
    json_field_text(j, "device", row->device);
    json_field_text(j, "state", device_state_text(s.state));
    json_field_text(j, "reason", s.why);
    field_where_set(j, "problem", row->problem);
    json_field_time(j, "due_at", row->due_at);
    if (s.seen_at != 0)
        json_field_time(j, "seen_at", s.seen_at);
    json_close_object(j);
    return ERR_NONE;
}

void api_rotation_stragglers(struct api_call *call)
{
    struct query_rotation_stragglers in;
    struct rotation_row rotation = {0};
    if (!api_read_ok(call, query_rotation_stragglers_read(http_request_query(call->request),
                                                          http_request_arena(call->request), &in,
                                                          &call->problem)) ||
        !read_rotation(call, &rotation))
        return;
    size_t limit = (size_t)in.limit;
    struct waiting waiting = {.max = limit + 1}; /* one more tells whether there is another page */
    waiting.rows = api_alloc(call, waiting.max * sizeof *waiting.rows);
    if (waiting.rows == NULL)
        return;
    enum err err = list_waiting(call, &rotation, in.has_after ? in.after : "", &waiting);
    size_t shown = waiting.len < limit ? waiting.len : limit;
    struct writer w =
        arena_writer(http_request_arena(call->request), 256 + shown * STRAGGLER_JSON_MAX);
    struct json_writer j = json_writer_over(&w);
    json_open_object(&j);
    json_key(&j, "stragglers");
    json_open_array(&j);
    for (size_t i = 0; i < shown && err == ERR_NONE; i++)
        err = write_straggler(call, &rotation, &waiting.rows[i], &j);
    json_close_array(&j);
    if (err == ERR_NONE && waiting.len > limit)
        json_field_text(&j, "next", waiting.rows[shown - 1].device);
    json_close_object(&j);
    if (api_read_ok(call, err))
        api_reply_json(call, 200, &w);
}
