/* Cuts of many devices, and how far each has come; over the local socket. */
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "hub/api/views.h"
#include "hub/cutter.h"

#define FILTERS_MAX 6
#define PAGE_MAX    100 /* cuts, each with its legs */
#define COUNT_MAX                                                                                  \
    100000 /* devices; a count goes no further, so that it blocks no loop for long                 \
            */

_Static_assert((int)API_CUT_MOVE_COUNT == 4, "moves of a cut");

static const enum device_move moves[] = {
    [API_CUT_MOVE_QUARANTINE] = MOVE_QUARANTINE,
    [API_CUT_MOVE_RELEASE] = MOVE_RELEASE,
    [API_CUT_MOVE_REVOKE] = MOVE_REVOKE,
    [API_CUT_MOVE_RETIRE] = MOVE_RETIRE,
};

/* ---- one, and the list ---- */

void api_device_cut(struct api_call *call)
{
    struct view_cut cut;
    const char *device = api_param(call, 0);
    enum err err = view_read_cut(call, device, &cut);
    if (err == ERR_NOT_FOUND)
        err = problem_set(&call->problem, 404, "cut-not-found", "device",
                          "'%s' is not cut off: it never was, or was released since", device);
    if (!api_read_ok(call, err))
        return;
    struct writer w =
        arena_writer(http_request_arena(call->request), 512 + cut.legs_len * VIEW_LEG_MAX);
    struct json_writer j = json_writer_over(&w);
    view_cut(&j, &cut);
    api_reply_json(call, 200, &w);
}

struct page {
    struct view_cut cuts[PAGE_MAX + 1];
    size_t n, limit;
};

static enum err take_cut(void *ctx, const void *row)
{
    struct page *page = ctx;
    page->cuts[page->n++].row = *(const struct device_cut_row *)row;
    return ERR_NONE;
}

/* The reader lists one thing at a time: the cuts, and then the legs of each. */
static enum err read_page(struct api_call *call, struct store_query *query, struct page *page)
{
    struct arena *arena = http_request_arena(call->request);
    struct cut_legs legs;
    enum err err = store_list(call->here->reader, query, arena, take_cut, page);
    if (err == ERR_NONE)
        err = identity_cut_legs(call->here->reader, call->tenant, arena, &legs);
    for (size_t i = 0; err == ERR_NONE && i < page->n && i < page->limit; i++)
        err = identity_cut_read(call->here->reader, arena, &legs, &page->cuts[i].row,
                                &page->cuts[i].legs, &page->cuts[i].legs_len);
    return err;
}

static void reply_page(struct api_call *call, const struct page *page)
{
    struct writer w = arena_writer(http_request_arena(call->request), VIEW_PAGE_MAX);
    struct json_writer j = json_writer_over(&w);
    size_t n = page->n < page->limit ? page->n : page->limit;
    json_open_object(&j);
    json_key(&j, "cuts");
    json_open_array(&j);
    for (size_t i = 0; i < n; i++)
        view_cut(&j, &page->cuts[i]);
    json_close_array(&j);
    if (page->n > n)
        json_field_text(&j, "next", page->cuts[n - 1].row.device);
    json_close_object(&j);
    api_reply_json(call, 200, &w);
}

void api_cut_list(struct api_call *call)
{
    struct query_cut_list in;
    if (!api_read_ok(call,
                     query_cut_list_read(http_request_query(call->request),
                                         http_request_arena(call->request), &in, &call->problem)))
        return;
    struct page *page = API_NEW(call, struct page);
    if (page == NULL)
        return;
    page->limit = in.limit < PAGE_MAX ? (size_t)in.limit : PAGE_MAX;
    struct device_cut_row after = {0};
    (void)snprintf(after.tenant, sizeof after.tenant, "%s", call->tenant);
    (void)snprintf(after.device, sizeof after.device, "%s", in.has_after ? in.after : "");
    const struct store_filter filters[] = {
        {.column = "tenant", .text = slice_of_text(call->tenant)},
        {.column = "complete", .integer = in.status == API_CUT_STATUS_COMPLETE}};
    struct store_query query = {.table = &table_device_cut,
                                .filters = filters,
                                .filters_len = in.has_status ? 2 : 1,
                                .after = &after,
                                .limit = page->limit + 1};
    if (api_read_ok(call, read_page(call, &query, page)))
        reply_page(call, page);
}

/* ---- those that wait for a person ---- */

static void waiting_view(struct api_call *call, struct json_writer *j, const void *row)
{
    (void)call;
    view_cut_waiting(j, row);
}

static const char *waiting_name(const void *row)
{
    return ((const struct cut_waiting_row *)row)->device;
}

void api_cut_waiting_list(struct api_call *call)
{
    struct query_cut_waiting_list in;
    if (!api_read_ok(call, query_cut_waiting_list_read(http_request_query(call->request),
                                                       http_request_arena(call->request), &in,
                                                       &call->problem)))
        return;
    struct cut_waiting_row after = {.since = 0};
    (void)snprintf(after.tenant, sizeof after.tenant, "%s", call->tenant);
    (void)snprintf(after.device, sizeof after.device, "%s", in.has_after ? in.after : "");
    const struct store_filter filter = {.column = "tenant", .text = slice_of_text(call->tenant)};
    struct view_page page = {
        .name = "waiting",
        .query = {.table = &table_cut_waiting,
                  .filters = &filter,
                  .filters_len = 1,
                  .after = &after,
                  .limit = (size_t)in.limit},
        .view = waiting_view,
        .row_name = waiting_name,
    };
    view_reply_page(call, &page);
}

static void dismissed(struct act *act)
{
    struct dismiss_act *d = CONTAINER_OF(act, struct dismiss_act, act);
    struct api_call *call = api_act_ended(act);
    if (call == NULL)
        return;
    log_event(LOG_LEVEL_NOTICE, "device.cut_dismissed", F_TEXT("device", d->device));
    view_reply_device(call, d->device, 0);
}

void api_device_dismiss(struct api_call *call)
{
    struct request_device_move in;
    if (!api_read_ok(call, request_device_move_read(http_request_body(call->request),
                                                    http_request_arena(call->request), &in,
                                                    &call->problem)))
        return;
    struct dismiss_act *d = API_NEW(call, struct dismiss_act);
    if (d == NULL)
        return;
    (void)snprintf(d->device, sizeof d->device, "%s", api_param(call, 0));
    (void)snprintf(d->reason, sizeof d->reason, "%s", in.reason);
    const struct act_origin origin = api_origin(call, dismissed);
    identity_dismiss_cut(call->hub->identity, &origin, d);
}

/* ---- which devices ---- */

struct selection {
    struct store_filter filters[FILTERS_MAX];
    size_t n;
    char owner[SUBJECT_ID_SIZE];
};

static void add_text(struct selection *s, const char *column, const char *text)
{
    s->filters[s->n++] = (struct store_filter){.column = column, .text = slice_of_text(text)};
}

/* False after answering: a name that nobody has is a mistake, and not a cut of nobody. */
static bool add_owner(struct api_call *call, struct selection *s, const char *name)
{
    enum err err = subjects_find(call->hub->subjects, call->here->reader,
                                 http_request_arena(call->request), call->tenant, name, s->owner);
    if (err == ERR_NOT_FOUND)
        err = problem_set(&call->problem, 404, "subject-not-found", "owner",
                          "there is no owner '%s'", name);
    if (!api_read_ok(call, err))
        return false;
    add_text(s, "owner", s->owner);
    return true;
}

/* ---- how many ---- */

/* Of each state from which the move is possible. */
static enum err count_devices(struct api_call *call, struct selection *s, enum device_move move,
                              bool has_state, int64_t only, uint64_t *ret_count)
{
    uint64_t count = 0;
    for (int64_t state = 0; state < DEVICE_STATE_COUNT && count < COUNT_MAX; state++) {
        if (!identity_can_move(move, state) || (has_state && state != only))
            continue;
        s->filters[s->n] = (struct store_filter){.column = "state", .integer = state};
        const struct store_query query = {.table = &table_device,
                                          .filters = s->filters,
                                          .filters_len = s->n + 1,
                                          .limit = (size_t)(COUNT_MAX - count)};
        uint64_t n = 0;
        enum err err = store_count(call->here->reader, &query, &n);
        if (err != ERR_NONE)
            return err;
        count += n;
    }
    *ret_count = count;
    return ERR_NONE;
}

void api_cut_count(struct api_call *call)
{
    struct query_cut_count in;
    struct selection s = {.n = 0};
    uint64_t count = 0;
    if (!api_read_ok(call,
                     query_cut_count_read(http_request_query(call->request),
                                          http_request_arena(call->request), &in, &call->problem)))
        return;
    add_text(&s, "tenant", call->tenant);
    if (in.has_model)
        add_text(&s, "model", in.model);
    if (in.has_manifest)
        add_text(&s, "manifest", in.manifest);
    if (in.has_group)
        add_text(&s, "grp", in.group);
    if (in.has_owner && !add_owner(call, &s, in.owner))
        return;
    if (!api_read_ok(
            call, count_devices(call, &s, moves[in.move], in.has_state, (int64_t)in.state, &count)))
        return;
    struct writer w = arena_writer(http_request_arena(call->request), 64);
    struct json_writer j = json_writer_over(&w);
    json_open_object(&j);
    json_field_integer(&j, "devices", (int64_t)count);
    json_close_object(&j);
    api_reply_json(call, 200, &w);
}

/* ---- the cut ---- */

struct cut_call {
    struct moves_act act;
    struct api_call *call;
    char next[NAME_MAX_BYTES + 1]; /* behind which the next ones are; empty: there are none */
    size_t listed;                 /* devices of the filters, with those that were passed over */
    bool in_state[DEVICE_STATE_COUNT];
    size_t moved;
    int64_t durable_us; /* from the request to the commit */
};

static void write_outcome(struct json_writer *j, const struct moved_device *d)
{
    json_open_object(j);
    json_field_text(j, "id", d->id);
    json_field_text(j, "state", device_state_text(d->state));
    if (d->entry >= 0)
        json_field_integer(j, "entry", d->entry);
    if (d->problem != NULL)
        json_field_text(j, "problem", d->problem);
    json_close_object(j);
}

static void cut_closed(void *ctx, size_t closed, int64_t at_us)
{
    struct cut_call *c = ctx;
    struct api_call *call = c->call;
    const struct ocsp_service *ocsp = call->hub->ocsp;
    if (c->moved > 0)
        log_event(LOG_LEVEL_NOTICE, "devices.moved", F_INTEGER("devices", (int64_t)c->moved),
                  F_INTEGER("connections_closed", (int64_t)closed),
                  F_INTEGER("durable_us", c->durable_us),
                  F_INTEGER("closed_us", at_us - http_request_started_us(call->request)));
    struct writer w = arena_writer(http_request_arena(call->request), 256 * 1024);
    struct json_writer j = json_writer_over(&w);
    json_open_object(&j);
    json_key(&j, "devices");
    json_open_array(&j);
    for (size_t i = 0; i < c->act.devices_len; i++)
        write_outcome(&j, &c->act.devices[i]);
    json_close_array(&j);
    if (c->next[0] != '\0')
        json_field_text(&j, "next", c->next);
    if (c->moved > 0 && c->act.move != MOVE_RELEASE && ocsp != NULL)
        json_field_time(&j, "exposed_until", ocsp_exposed_until(ocsp));
    json_close_object(&j);
    api_reply_json(call, 200, &w);
}

static void cut_ended(struct act *act)
{
    struct cut_call *c = CONTAINER_OF(act, struct cut_call, act.act);
    if (api_act_ended(act) == NULL)
        return;
    struct cutter_target targets[IDENTITY_CUT_MAX];
    size_t n = 0;
    c->durable_us = clock_monotonic_us() - http_request_started_us(c->call->request);
    for (size_t i = 0; i < c->act.devices_len; i++) {
        const struct moved_device *d = &c->act.devices[i];
        if (d->entry >= 0)
            targets[n++] = (struct cutter_target){.device = d->id, .entry = d->entry};
    }
    c->moved = n;
    if (n == 0 || c->act.move == MOVE_RELEASE)
        cut_closed(c, 0, clock_monotonic_us());
    else
        cutter_close(c->call->here, act->tenant, targets, n, cut_closed, c);
}

static enum err take_device(void *ctx, const void *row)
{
    struct cut_call *c = ctx;
    const struct device_row *device = row;
    struct arena *arena = http_request_arena(c->call->request);
    if (++c->listed > IDENTITY_CUT_MAX)
        return ERR_NONE; /* there is more */
    (void)snprintf(c->next, sizeof c->next, "%s", device->id);
    if (!c->in_state[device->state])
        return ERR_NONE;
    char *id = arena_text(arena, slice_of_text(device->id));
    c->act.devices[c->act.devices_len++] = (struct moved_device){.id = id};
    return id == NULL ? ERR_NO_MEMORY : ERR_NONE;
}

/* False after answering. */
static bool select_devices(struct api_call *call, struct cut_call *c,
                           const struct request_cut_create *in)
{
    struct selection s = {.n = 0};
    add_text(&s, "tenant", call->tenant);
    if (in->has_model)
        add_text(&s, "model", in->model);
    if (in->has_manifest)
        add_text(&s, "manifest", in->manifest);
    if (in->has_group)
        add_text(&s, "grp", in->group);
    if (in->has_owner && !add_owner(call, &s, in->owner))
        return false;
    if (in->has_state)
        s.filters[s.n++] = (struct store_filter){.column = "state", .integer = (int64_t)in->state};
    struct device_row after = {0};
    (void)snprintf(after.tenant, sizeof after.tenant, "%s", call->tenant);
    (void)snprintf(after.id, sizeof after.id, "%s", in->has_after ? in->after : "");
    const struct store_query query = {.table = &table_device,
                                      .filters = s.filters,
                                      .filters_len = s.n,
                                      .after = &after,
                                      .limit = IDENTITY_CUT_MAX + 1};
    for (int64_t state = 0; state < DEVICE_STATE_COUNT; state++)
        c->in_state[state] = identity_can_move(c->act.move, state) ||
                             (c->act.keys_touched && state == DEVICE_QUARANTINED);
    enum err err =
        store_list(call->here->reader, &query, http_request_arena(call->request), take_device, c);
    if (c->listed <= IDENTITY_CUT_MAX)
        c->next[0] = '\0';
    return api_read_ok(call, err);
}

static bool check_choice(struct api_call *call, const struct request_cut_create *in)
{
    bool filtered =
        in->has_model || in->has_manifest || in->has_owner || in->has_group || in->has_state;
    enum err err = ERR_NONE;
    if (in->devices_len > 0 && (filtered || in->has_after))
        err = problem_set(&call->problem, 400, "cut-both", "devices",
                          "name the devices, or give filters; not both");
    else if (in->devices_len == 0 && !filtered)
        err = problem_set(&call->problem, 400, "cut-nobody", "devices",
                          "name devices, or give a filter that says which");
    else if (in->keys == API_INCIDENT_KEYS_TOUCHED && in->move != API_CUT_MOVE_QUARANTINE)
        err = problem_set(&call->problem, 400, "field-value", "keys",
                          "that keys were touched is said of a quarantine");
    return api_read_ok(call, err);
}

void api_cut_create(struct api_call *call)
{
    struct request_cut_create in;
    if (!api_read_ok(call, request_cut_create_read(http_request_body(call->request),
                                                   http_request_arena(call->request), &in,
                                                   &call->problem)) ||
        !check_choice(call, &in))
        return;
    struct cut_call *c = API_NEW(call, struct cut_call);
    struct moved_device *devices =
        c == NULL ? NULL : api_alloc(call, IDENTITY_CUT_MAX * sizeof *devices);
    if (devices == NULL)
        return;
    c->call = call;
    c->act.devices = devices;
    c->act.move = moves[in.move];
    c->act.keys_touched = in.keys == API_INCIDENT_KEYS_TOUCHED;
    c->act.passes_over = in.devices_len == 0;
    (void)snprintf(c->act.reason, sizeof c->act.reason, "%s", in.reason);
    for (size_t i = 0; i < in.devices_len; i++)
        devices[c->act.devices_len++] = (struct moved_device){.id = in.devices[i].id};
    if (in.devices_len == 0 && !select_devices(call, c, &in))
        return;
    if (c->act.devices_len == 0) {
        cut_closed(c, 0, clock_monotonic_us());
        return;
    }
    const struct act_origin origin = api_origin(call, cut_ended);
    identity_move_all(call->hub->identity, &origin, &c->act);
}
