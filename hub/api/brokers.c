/* Brokers, over the local socket. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/host.h"
#include "base/log.h"
#include "hub/api/views.h"
#include "hub/cutter.h"

static void write_hosts(struct json_writer *j, const char *hosts)
{
    json_key(j, "hosts");
    json_open_array(j);
    for (struct slice left = slice_of_text(hosts); left.len > 0;) {
        const uint8_t *blank = memchr(left.data, ' ', left.len);
        size_t n = blank == NULL ? left.len : (size_t)(blank - left.data);
        json_slice(j, slice_of(left.data, n));
        size_t taken = blank == NULL ? n : n + 1;
        left = slice_of(left.data + taken, left.len - taken);
    }
    json_close_array(j);
}

/* ---- shown ---- */

/* False where there is none; errors stand in *err. */
static bool find(struct api_call *call, const struct table *table, void *row, enum err *err)
{
    *err = store_get(call->here->reader, table, http_request_arena(call->request), row);
    if (*err == ERR_NONE)
        return true;
    if (*err == ERR_NOT_FOUND)
        *err = ERR_NONE;
    return false;
}

static void write_seen(struct api_call *call, struct json_writer *j,
                       const struct broker_seen_row *seen)
{
    int64_t size = (int64_t)ledger_head(call->hub->ledger).size;
    json_key(j, "seen");
    json_open_object(j);
    json_field_time(j, "seen_at", seen->seen_at);
    json_field_integer(j, "position", seen->position);
    json_field_integer(j, "behind", size > seen->position ? size - seen->position : 0);
    json_field_integer(j, "rules", seen->rules);
    json_field_integer(j, "sessions", seen->sessions);
    json_field_text(j, "software", seen->software);
    json_close_object(j);
}

static enum err view_broker(struct api_call *call, struct json_writer *j,
                            const struct broker_row *row)
{
    struct device_row device = {0};
    struct broker_seen_row seen = {0};
    (void)snprintf(device.tenant, sizeof device.tenant, "%s", row->tenant);
    (void)snprintf(device.id, sizeof device.id, "%s", row->id);
    (void)snprintf(seen.tenant, sizeof seen.tenant, "%s", row->tenant);
    (void)snprintf(seen.broker, sizeof seen.broker, "%s", row->id);
    enum err err;
    bool has_device = find(call, &table_device, &device, &err);
    bool was_seen = err == ERR_NONE && find(call, &table_broker_seen, &seen, &err);
    json_open_object(j);
    json_field_text(j, "name", row->id);
    json_field_text(j, "status", broker_status_text(row->status));
    write_hosts(j, row->hosts);
    json_field_time(j, "added_at", row->added_at);
    if (row->removed_at != 0)
        json_field_time(j, "removed_at", row->removed_at);
    if (has_device)
        json_field_text(j, "state", device_state_text(device.state));
    if (was_seen)
        write_seen(call, j, &seen);
    json_close_object(j);
    return err;
}

struct listing {
    struct broker_row *rows;
    size_t n;
};

static enum err take_row(void *ctx, const void *row)
{
    struct listing *l = ctx;
    l->rows[l->n++] = *(const struct broker_row *)row;
    return ERR_NONE;
}

void api_broker_list(struct api_call *call)
{
    struct query_broker_list in;
    struct arena *arena = http_request_arena(call->request);
    if (!api_read_ok(call, query_broker_list_read(http_request_query(call->request), arena, &in,
                                                  &call->problem)))
        return;
    struct broker_row after = {0};
    (void)snprintf(after.tenant, sizeof after.tenant, "%s", call->tenant);
    (void)snprintf(after.id, sizeof after.id, "%s", in.has_after ? in.after : "");
    const struct store_filter tenant = {.column = "tenant", .text = slice_of_text(call->tenant)};
    const struct store_query query = {.table = &table_broker,
                                      .filters = &tenant,
                                      .filters_len = 1,
                                      .after = &after,
                                      .limit = (size_t)in.limit};
    struct listing l = {.rows = api_alloc(call, (size_t)in.limit * sizeof *l.rows)};
    if (l.rows == NULL ||
        !api_read_ok(call, store_list(call->here->reader, &query, arena, take_row, &l)))
        return;
    struct writer w = arena_writer(arena, VIEW_PAGE_MAX / 2);
    struct json_writer j = json_writer_over(&w);
    enum err err = ERR_NONE;
    json_open_object(&j);
    json_key(&j, "brokers");
    json_open_array(&j);
    for (size_t i = 0; i < l.n && err == ERR_NONE; i++)
        err = view_broker(call, &j, &l.rows[i]);
    json_close_array(&j);
    if (l.n == (size_t)in.limit)
        json_field_text(&j, "next", l.rows[l.n - 1].id);
    json_close_object(&j);
    if (api_read_ok(call, err))
        api_reply_json(call, 200, &w);
}

/* The row of the one that the path names; false after answering. */
static bool load(struct api_call *call, struct broker_row *row)
{
    enum err err;
    *row = (struct broker_row){0};
    (void)snprintf(row->tenant, sizeof row->tenant, "%s", call->tenant);
    (void)snprintf(row->id, sizeof row->id, "%s", api_param(call, 0));
    if (!find(call, &table_broker, row, &err) && err == ERR_NONE)
        err = problem_set(&call->problem, 404, "broker-not-found", "broker",
                          "there is no broker '%s'", row->id);
    return api_read_ok(call, err);
}

void api_broker_show(struct api_call *call)
{
    struct broker_row row;
    if (!load(call, &row))
        return;
    struct writer w = arena_writer(http_request_arena(call->request), 4096);
    struct json_writer j = json_writer_over(&w);
    if (api_read_ok(call, view_broker(call, &j, &row)))
        api_reply_json(call, 200, &w);
}

/* ---- added ---- */

static void add_ended(struct act *act)
{
    struct broker_act *b = CONTAINER_OF(act, struct broker_act, act);
    struct api_call *call = api_act_ended(act);
    if (call == NULL)
        return;
    log_event(LOG_LEVEL_NOTICE, "broker.added", F_TEXT("broker", b->broker.id),
              F_TEXT("hosts", b->broker.hosts));
    arena_mark_secret(http_request_arena(call->request));
    struct writer w = arena_writer(http_request_arena(call->request), 4096);
    struct json_writer j = json_writer_over(&w);
    json_open_object(&j);
    json_field_text(&j, "name", b->broker.id);
    write_hosts(&j, b->broker.hosts);
    json_field_text(&j, "claim_code", b->claim_code);
    json_field_time(&j, "expires_at", b->claim_expires_at);
    json_close_object(&j);
    api_reply_json(call, 201, &w);
}

/* Under a name of the hub a broker could be taken for it. The signer refuses that by itself; here
 * it is said why. */
static bool is_hubs(const struct api_call *call, struct slice host)
{
    const struct config_list *names = &call->hub->config.names;
    for (size_t i = 0; i < names->n; i++)
        if (host_is_same(host, slice_of_text(names->items[i])))
            return true;
    return false;
}

static enum err take_host(struct api_call *call, struct broker_row *broker, size_t at,
                          const char *host)
{
    char field[32];
    (void)snprintf(field, sizeof field, "hosts[%zu].host", at);
    if (is_hubs(call, slice_of_text(host)))
        return problem_set(
            &call->problem, 409, "broker-host-taken", field,
            "'%s' is a name of the hub itself: a broker needs one of its own, also on "
            "the same machine",
            host);
    switch (broker_add_host(broker, slice_of_text(host))) {
    case ERR_NONE:
        return ERR_NONE;
    case ERR_EXISTS:
        return problem_set(&call->problem, 400, "field-value", field, "'%s' is there already",
                           host);
    case ERR_SYNTAX:
        return problem_set(&call->problem, 400, "field-value", field,
                           "'%s' is neither a DNS name (no wildcard, no final dot) nor an address",
                           host);
    default:
        return problem_set(&call->problem, 400, "field-value", field,
                           "too many hosts, or too long ones");
    }
}

void api_broker_add(struct api_call *call)
{
    struct request_broker_add in;
    if (!api_read_ok(call, request_broker_add_read(http_request_body(call->request),
                                                   http_request_arena(call->request), &in,
                                                   &call->problem)))
        return;
    struct broker_act *b = API_NEW(call, struct broker_act);
    if (b == NULL)
        return;
    (void)snprintf(b->broker.id, sizeof b->broker.id, "%s", in.name);
    enum err err = ERR_NONE;
    if (in.expires_at <= clock_seconds())
        err = problem_set(&call->problem, 400, "field-value", "expires_at", "it lies in the past");
    for (size_t i = 0; i < in.hosts_len && err == ERR_NONE; i++)
        err = take_host(call, &b->broker, i, in.hosts[i].host);
    if (!api_read_ok(call, err))
        return;
    b->claim_expires_at = in.expires_at;
    const struct act_origin origin = api_origin(call, add_ended);
    brokers_change(call->hub->brokers, &origin, b);
}

/* ---- removed ---- */

struct removal {
    struct move_act revoke;
    struct broker_act broker;
};

static void remove_ended(struct act *act)
{
    struct api_call *call = api_act_ended(act);
    if (call == NULL)
        return;
    log_event(LOG_LEVEL_NOTICE, "broker.removed", F_TEXT("broker", api_param(call, 0)));
    api_reply_nothing(call);
}

static void revoked(struct removal *r)
{
    struct api_call *call = r->revoke.act.ctx;
    const struct act_origin origin = api_origin(call, remove_ended);
    brokers_change(call->hub->brokers, &origin, &r->broker);
}

static void connections_closed(void *ctx, size_t closed, int64_t at_us)
{
    (void)closed;
    (void)at_us;
    revoked(ctx);
}

static bool has_ended(const struct act *act)
{
    return act->write.err == ERR_REFUSED &&
           strcmp(act->write.problem.code, "move-not-possible") == 0;
}

/* Revoked first: should this stop in between, it is no broker any more and can be removed again. A
 * device that was revoked or retired before is fine. */
static void revoke_ended(struct act *act)
{
    struct removal *r = CONTAINER_OF(act, struct removal, revoke.act);
    if (has_ended(act)) {
        revoked(r);
        return;
    }
    struct api_call *call = api_act_ended(act);
    if (call == NULL)
        return;
    const struct cutter_target target = {.device = r->revoke.device, .entry = r->revoke.entry};
    cutter_close(call->here, act->tenant, &target, 1, connections_closed, r);
}

void api_broker_remove(struct api_call *call)
{
    struct broker_row row;
    if (!load(call, &row))
        return;
    struct removal *r = API_NEW(call, struct removal);
    if (r == NULL)
        return;
    r->broker.removal = true;
    memcpy(r->broker.broker.id, row.id, sizeof row.id);
    memcpy(r->revoke.device, row.id, sizeof row.id);
    (void)snprintf(r->revoke.reason, sizeof r->revoke.reason, "the broker was removed");
    r->revoke.move = MOVE_REVOKE;
    const struct act_origin origin = api_origin(call, revoke_ended);
    identity_move(call->hub->identity, &origin, &r->revoke);
}
