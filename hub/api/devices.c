/* Devices, over the local socket. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "hub/api/views.h"
#include "hub/cutter.h"

#define FILTERS_MAX          6
#define CERTIFICATE_JSON_MAX 512

static const char *device_name(const void *row)
{
    return ((const struct device_row *)row)->id;
}

static void device_view_row(struct api_call *call, struct json_writer *j, const void *row)
{
    static const struct device_details none;
    view_device(call, j, row, &none);
}

static void add_filter(struct store_query *query, struct store_filter filters[FILTERS_MAX],
                       const char *column, const char *text)
{
    filters[query->filters_len++] =
        (struct store_filter){.column = column, .text = slice_of_text(text)};
}

/* Nobody's, where nobody has that name. */
static bool find_owner(struct api_call *call, const char *name, char ret_id[SUBJECT_ID_SIZE])
{
    (void)snprintf(ret_id, SUBJECT_ID_SIZE, "%s", "~");
    enum err err = subjects_find(call->hub->subjects, call->here->reader,
                                 http_request_arena(call->request), call->tenant, name, ret_id);
    return api_read_ok(call, err == ERR_NOT_FOUND ? ERR_NONE : err);
}

void api_device_list(struct api_call *call)
{
    struct query_device_list in;
    if (!api_read_ok(call, query_device_list_read(http_request_query(call->request),
                                                  http_request_arena(call->request), &in,
                                                  &call->problem)))
        return;
    struct device_row after = {0};
    (void)snprintf(after.tenant, sizeof after.tenant, "%s", call->tenant);
    (void)snprintf(after.id, sizeof after.id, "%s", in.has_after ? in.after : "");
    char owner[SUBJECT_ID_SIZE];
    struct store_filter filters[FILTERS_MAX];
    struct view_page page = {
        .name = "devices",
        .query = {.table = &table_device,
                  .filters = filters,
                  .after = &after,
                  .limit = (size_t)in.limit},
        .view = device_view_row,
        .row_name = device_name,
    };
    add_filter(&page.query, filters, "tenant", call->tenant);
    if (in.has_model)
        add_filter(&page.query, filters, "model", in.model);
    if (in.has_manifest)
        add_filter(&page.query, filters, "manifest", in.manifest);
    if (in.has_group)
        add_filter(&page.query, filters, "grp", in.group);
    if (in.has_owner && !find_owner(call, in.owner, owner))
        return;
    if (in.has_owner)
        add_filter(&page.query, filters, "owner", owner);
    if (in.has_state)
        filters[page.query.filters_len++] =
            (struct store_filter){.column = "state", .integer = (int64_t)in.state};
    view_reply_page(call, &page);
}

void api_device_show(struct api_call *call)
{
    view_reply_device(call, api_param(call, 0), 0);
}

/* ---- moves ---- */

struct move_call {
    struct move_act act;
    struct api_call *call;
    int64_t durable_us; /* from the request to the commit */
    bool cuts;          /* live connections are closed before this is answered */
};

static void move_closed(void *ctx, size_t closed, int64_t at_us)
{
    struct move_call *m = ctx;
    int64_t us = at_us - http_request_started_us(m->call->request);
    log_event(LOG_LEVEL_NOTICE, "device.moved", F_TEXT("device", m->act.device),
              F_TEXT("state", device_state_text(m->act.state)),
              F_INTEGER("connections_closed", (int64_t)closed),
              F_INTEGER("durable_us", m->durable_us), F_INTEGER("closed_us", us));
    const struct ocsp_service *ocsp = m->call->hub->ocsp;
    view_reply_device(m->call, m->act.device,
                      m->cuts && ocsp != NULL ? ocsp_exposed_until(ocsp) : 0);
}

static void move_ended(struct act *act)
{
    struct move_call *m = CONTAINER_OF(act, struct move_call, act.act);
    if (api_act_ended(act) == NULL)
        return;
    m->durable_us = clock_monotonic_us() - http_request_started_us(m->call->request);
    if (!m->cuts) {
        move_closed(m, 0, clock_monotonic_us());
        return;
    }
    const struct cutter_target target = {.device = m->act.device, .entry = m->act.entry};
    cutter_close(m->call->here, act->tenant, &target, 1, move_closed, m);
}

static void submit_move(struct api_call *call, struct move_call *m, enum device_move what,
                        const char *reason)
{
    m->call = call;
    m->cuts = what != MOVE_APPROVE && what != MOVE_RELEASE;
    m->act.move = what;
    (void)snprintf(m->act.device, sizeof m->act.device, "%s", api_param(call, 0));
    (void)snprintf(m->act.reason, sizeof m->act.reason, "%s", reason);
    const struct act_origin origin = api_origin(call, move_ended);
    identity_move(call->hub->identity, &origin, &m->act);
}

static void move(struct api_call *call, enum device_move what)
{
    struct request_device_move in;
    if (!api_read_ok(call, request_device_move_read(http_request_body(call->request),
                                                    http_request_arena(call->request), &in,
                                                    &call->problem)))
        return;
    struct move_call *m = API_NEW(call, struct move_call);
    if (m != NULL)
        submit_move(call, m, what, in.reason);
}

void api_device_approve(struct api_call *call)
{
    move(call, MOVE_APPROVE);
}

void api_device_quarantine(struct api_call *call)
{
    struct request_device_quarantine in;
    if (!api_read_ok(call, request_device_quarantine_read(http_request_body(call->request),
                                                          http_request_arena(call->request), &in,
                                                          &call->problem)))
        return;
    struct move_call *m = API_NEW(call, struct move_call);
    if (m == NULL)
        return;
    m->act.keys_touched = in.keys == API_INCIDENT_KEYS_TOUCHED;
    submit_move(call, m, MOVE_QUARANTINE, in.reason);
}

void api_device_release(struct api_call *call)
{
    move(call, MOVE_RELEASE);
}

void api_device_revoke(struct api_call *call)
{
    move(call, MOVE_REVOKE);
}

void api_device_retire(struct api_call *call)
{
    move(call, MOVE_RETIRE);
}

/* ---- the way back ---- */

static void readmit_ended(struct act *act)
{
    struct readmit_act *r = CONTAINER_OF(act, struct readmit_act, act);
    struct api_call *call = api_act_ended(act);
    if (call == NULL)
        return;
    log_event(LOG_LEVEL_NOTICE, "device.readmitted", F_TEXT("device", r->device),
              F_INTEGER("expires_at", r->expires_at));
    view_reply_device(call, r->device, 0);
}

void api_device_readmit(struct api_call *call)
{
    struct request_device_readmit in;
    if (!api_read_ok(call, request_device_readmit_read(http_request_body(call->request),
                                                       http_request_arena(call->request), &in,
                                                       &call->problem)))
        return;
    struct readmit_act *r = API_NEW(call, struct readmit_act);
    if (r == NULL)
        return;
    (void)snprintf(r->device, sizeof r->device, "%s", api_param(call, 0));
    (void)snprintf(r->reason, sizeof r->reason, "%s", in.reason);
    r->expires_at = in.expires_at;
    const struct act_origin origin = api_origin(call, readmit_ended);
    identity_readmit(call->hub->identity, &origin, r);
}

/* ---- claim codes ---- */

static void claim_ended(struct act *act)
{
    struct claim_act *c = CONTAINER_OF(act, struct claim_act, act);
    struct api_call *call = api_act_ended(act);
    if (call == NULL)
        return;
    arena_mark_secret(http_request_arena(call->request));
    struct writer w = arena_writer(http_request_arena(call->request), 512);
    struct json_writer j = json_writer_over(&w);
    json_open_object(&j);
    json_field_text(&j, "serial", c->device);
    json_field_text(&j, "claim_code", c->claim_code);
    json_close_object(&j);
    api_reply_json(call, 201, &w);
}

void api_device_claim(struct api_call *call)
{
    struct request_claim in;
    if (!api_read_ok(call,
                     request_claim_read(http_request_body(call->request),
                                        http_request_arena(call->request), &in, &call->problem)))
        return;
    struct claim_act *c = API_NEW(call, struct claim_act);
    if (c == NULL)
        return;
    if (in.expires_at <= clock_seconds()) {
        (void)problem_set(&call->problem, 400, "field-value", "expires_at", "it lies in the past");
        api_reply_problem(call, &call->problem);
        return;
    }
    (void)snprintf(c->device, sizeof c->device, "%s", api_param(call, 0));
    c->expires_at = in.expires_at;
    const struct act_origin origin = api_origin(call, claim_ended);
    identity_renew_claim(call->hub->identity, &origin, c);
}

/* ---- certificates ---- */

/* From the newest on; each names the one before. */
static enum err write_certificates(struct api_call *call, const char *newest, size_t limit,
                                   struct json_writer *j)
{
    struct arena *arena = http_request_arena(call->request);
    struct certificate_row row = {0};
    (void)snprintf(row.serial, sizeof row.serial, "%s", newest);
    for (size_t i = 0; i < limit && row.serial[0] != '\0'; i++) {
        enum err err = store_get(call->here->reader, &table_certificate, arena, &row);
        if (err != ERR_NONE)
            return err == ERR_NOT_FOUND ? ERR_INTERNAL : err;
        view_certificate(j, &row);
        const struct certificate_row shown = row;
        row = (struct certificate_row){0};
        memcpy(row.serial, shown.previous, sizeof row.serial);
    }
    return ERR_NONE;
}

void api_device_certificates(struct api_call *call)
{
    struct query_device_certificates in;
    if (!api_read_ok(call, query_device_certificates_read(http_request_query(call->request),
                                                          http_request_arena(call->request), &in,
                                                          &call->problem)))
        return;
    struct device_row device = {0};
    (void)snprintf(device.tenant, sizeof device.tenant, "%s", call->tenant);
    (void)snprintf(device.id, sizeof device.id, "%s", api_param(call, 0));
    enum err err =
        store_get(call->here->reader, &table_device, http_request_arena(call->request), &device);
    if (err == ERR_NOT_FOUND)
        err = problem_set(&call->problem, 404, "device-not-found", "device",
                          "there is no device '%s'", device.id);
    if (!api_read_ok(call, err))
        return;
    struct writer w = arena_writer(http_request_arena(call->request),
                                   64 + (size_t)in.limit * CERTIFICATE_JSON_MAX);
    struct json_writer j = json_writer_over(&w);
    json_open_object(&j);
    json_key(&j, "certificates");
    json_open_array(&j);
    err = write_certificates(call, device.certificate, (size_t)in.limit, &j);
    json_close_array(&j);
    json_close_object(&j);
    if (api_read_ok(call, err))
        api_reply_json(call, 200, &w);
}

/* ---- groups ---- */

static void assign_ended(struct act *act)
{
    struct assign_act *a = CONTAINER_OF(act, struct assign_act, act);
    struct api_call *call = api_act_ended(act);
    if (call != NULL)
        view_reply_device(call, a->device, 0);
}

void api_device_assign(struct api_call *call)
{
    struct request_device_group in;
    if (!api_read_ok(call, request_device_group_read(http_request_body(call->request),
                                                     http_request_arena(call->request), &in,
                                                     &call->problem)))
        return;
    struct assign_act *a = API_NEW(call, struct assign_act);
    if (a == NULL)
        return;
    (void)snprintf(a->device, sizeof a->device, "%s", api_param(call, 0));
    (void)snprintf(a->group, sizeof a->group, "%s", in.has_group ? in.group : "");
    const struct act_origin origin = api_origin(call, assign_ended);
    identity_assign(call->hub->identity, &origin, a);
}
