/* The hub itself: what it is, how it does, and the trust bundle it serves. */
#include <stdio.h>
#include <string.h>

#include "base/metrics.h"
#include "hub/api/views.h"
#include "hub/follower.h"
#include "hub/membership.h"

#define METRICS_MAX     (1024 * 1024)
#define WAITING_COUNTED 10000 /* cuts that wait; a count goes no further */

/* ---- the trust bundle ---- */

void api_trust_bundle_show(struct api_call *call)
{
    struct slice note;
    enum err err = identity_bundle(call->here->reader, http_request_arena(call->request), &note);
    if (err == ERR_NOT_FOUND)
        err = problem_set(&call->problem, 404, "trust-bundle-not-found", "",
                          "no trust bundle is installed; `holdfast ca bundle` makes one");
    if (api_read_ok(call, err))
        http_reply(call->request, 200, "text/plain; charset=utf-8", note);
}

static void bundle_ended(struct act *act)
{
    struct bundle_act *b = CONTAINER_OF(act, struct bundle_act, act);
    struct api_call *call = api_act_ended(act);
    if (call == NULL)
        return;
    atomic_store(&call->hub->bundle_version, b->version);
    api_reply_nothing(call);
}

void api_trust_bundle_replace(struct api_call *call)
{
    struct bundle_act *b = API_NEW(call, struct bundle_act);
    if (b == NULL)
        return;
    b->fleet = call->hub->config.fleet;
    b->note = http_request_body(call->request);
    const struct act_origin origin = api_origin(call, bundle_ended);
    identity_replace_bundle(call->hub->identity, &origin, b);
}

/* ---- what it is ---- */

static void write_listener(struct json_writer *j, const struct hub *hub, enum listener which,
                           const char *address)
{
    struct http_counters counters;
    http_listener_counters(hub->listeners[which], &counters);
    json_open_object(j);
    json_field_text(j, "name", listener_text(which));
    json_field_text(j, "address", address);
    json_field_integer(j, "connections", (int64_t)counters.open);
    json_field_integer(j, "requests", (int64_t)counters.requests);
    json_close_object(j);
}

static void write_listeners(struct json_writer *j, const struct hub *hub)
{
    const char *const addresses[LISTENER_COUNT] = {
        [LISTENER_DEVICE] = hub->config.listen_device,
        [LISTENER_BOOTSTRAP] = hub->config.listen_bootstrap,
        [LISTENER_OPERATOR] = hub->config.listen_operator,
        [LISTENER_STATUS] = hub->config.listen_status,
    };
    json_open_array(j);
    for (unsigned i = 0; i < LISTENER_COUNT; i++) {
        if (hub->listeners[i] == NULL)
            continue;
        char text[CONFIG_TEXT_MAX + 16];
        if (i == LISTENER_LOCAL) {
            (void)snprintf(text, sizeof text, "unix:%s", hub->config.socket);
        } else {
            /* The port that is listened on, which a configured 0 does not tell. */
            const char *colon = strrchr(addresses[i], ':');
            size_t host = colon != NULL ? (size_t)(colon - addresses[i]) : 0;
            (void)snprintf(text, sizeof text, "%.*s:%u", (int)host, addresses[i],
                           http_listener_port(hub->listeners[i]));
        }
        write_listener(j, hub, (enum listener)i, text);
    }
    json_close_array(j);
}

static void write_keys(struct json_writer *j, struct hub *hub, struct api_call *call)
{
    json_key(j, "ca");
    json_open_object(j);
    json_field_hex(j, "issuing_sha256", slice_of(hub->facts.issuing_sha256, SHA256_SIZE));
    json_field_time(j, "issuing_not_after", hub->facts.issuing_not_after);
    json_close_object(j);

    char text[NOTE_KEY_TEXT_MAX + 1];
    struct writer key = writer_over(text, sizeof text - 1);
    note_key_write(&key, &hub->facts.ledger_key);
    struct slice note;
    uint64_t signed_size = 0;
    if (ledger_checkpoint(hub->ledger, http_request_arena(call->request), &note, &signed_size) !=
        ERR_NONE)
        signed_size = 0;
    json_key(j, "ledger");
    json_open_object(j);
    json_field_text(j, "origin", hub->facts.ledger_key.name);
    json_field_slice(j, "key", writer_bytes(&key));
    json_field_integer(j, "size", (int64_t)ledger_head(hub->ledger).size);
    json_field_integer(j, "checkpoint_size", (int64_t)signed_size);
    json_close_object(j);
}

static void write_store(struct json_writer *j, struct hub *hub)
{
    struct store_stats stats;
    store_stats(hub->store, &stats);
    uint64_t queued = 0;
    for (size_t i = 0; i < STORE_LANE_COUNT; i++)
        queued += stats.queued[i];
    json_key(j, "store");
    json_open_object(j);
    json_field_text(j, "kind", store_kind(hub->store));
    json_field_text(j, "state", store_is_away(hub->store, NULL) ? "away" : "there");
    json_field_integer(j, "commits", (int64_t)stats.commits);
    json_field_integer(j, "writes", (int64_t)stats.writes);
    json_field_integer(j, "refused", (int64_t)stats.refused);
    json_field_integer(j, "abandoned", (int64_t)stats.abandoned);
    json_field_integer(j, "replayed", (int64_t)stats.replayed);
    json_field_integer(j, "connections_lost", (int64_t)stats.connections_lost);
    json_field_integer(j, "queued", (int64_t)queued);
    json_field_integer(j, "wal_bytes", (int64_t)stats.wal_bytes);
    json_close_object(j);
}

void api_hub_show(struct api_call *call)
{
    struct hub *hub = call->hub;
    struct writer w = arena_writer(http_request_arena(call->request), 16 * 1024);
    struct json_writer j = json_writer_over(&w);
    json_open_object(&j);
    json_field_text(&j, "version", HUB_VERSION);
    json_field_text(&j, "fleet", hub->config.fleet);
    json_field_text(&j, "name", membership_name());
    json_field_time(&j, "started_at", hub->started_at);
    json_key(&j, "listeners");
    write_listeners(&j, hub);
    write_keys(&j, hub, call);
    write_store(&j, hub);
    json_field_integer(&j, "trust_bundle_version", (int64_t)atomic_load(&hub->bundle_version));
    json_close_object(&j);
    api_reply_json(call, 200, &w);
}

/* ---- how it does ---- */

/* A read shows that the database answers; that writes are taken, the store tells. */
void api_health_show(struct api_call *call)
{
    struct ledger_head_row head = {.id = 1};
    enum err err =
        store_get(call->here->reader, &table_ledger_head, http_request_arena(call->request), &head);
    if (store_is_away(call->hub->store, NULL) || (err != ERR_NONE && err != ERR_NOT_FOUND))
        err = problem_set(&call->problem, 503, "unhealthy", "", "the database does not answer");
    else if (follower_is_behind(call->hub))
        err = problem_set(&call->problem, 503, "unhealthy", "",
                          "this hub does not hear of the others");
    else
        err = ERR_NONE;
    if (!api_read_ok(call, err))
        return;
    http_reply(call->request, 200, "application/json", SLICE_LITERAL("{\"status\":\"ok\"}"));
}

/* What others count is taken over when somebody asks. */
static void total(const char *name, const char *help, const char *label, const char *value,
                  uint64_t n)
{
    metric_set(metric_counter(name, help, label), value, (int64_t)n);
}

static void now(const char *name, const char *help, const char *label, const char *value,
                uint64_t n)
{
    metric_set(metric_gauge(name, help, label), value, (int64_t)n);
}

static void gather_listener(const struct hub *hub, enum listener which)
{
    static const char *const label = "listener";
    const char *name = listener_text(which);
    struct http_counters c;
    http_listener_counters(hub->listeners[which], &c);
    now("holdfast_connections", "Open connections", label, name, c.open);
    total("holdfast_connections_accepted_total", "Connections accepted", label, name, c.accepted);
    total("holdfast_connections_over_cap_total", "Refused: too many in all", label, name,
          c.refused_total);
    total("holdfast_connections_over_address_cap_total", "Refused: too many from one address",
          label, name, c.refused_address);
    total("holdfast_connections_timed_out_total", "Cut by a deadline", label, name, c.timed_out);
    total("holdfast_http_malformed_total", "Requests that are not HTTP", label, name, c.malformed);
    if (hub->tls[which] == NULL)
        return;
    struct tls_counters t;
    tls_server_counters(hub->tls[which], &t);
    total("holdfast_tls_handshakes_total", "TLS handshakes", label, name, t.handshakes);
    total("holdfast_tls_resumed_total", "TLS sessions resumed", label, name, t.resumed);
    total("holdfast_tls_failed_total", "TLS handshakes that failed", label, name, t.failed);
}

static void gather_store(struct hub *hub)
{
    static const char *const lanes[STORE_LANE_COUNT] = {"priority", "normal", "bulk"};
    struct store_stats s;
    store_stats(hub->store, &s);
    total("holdfast_store_commits_total", "Durable commits", NULL, NULL, s.commits);
    total("holdfast_store_writes_total", "Writes committed", NULL, NULL, s.writes);
    total("holdfast_store_refused_total", "Writes refused by their own check", NULL, NULL,
          s.refused);
    total("holdfast_store_abandoned_total", "Batches that came to nothing", NULL, NULL,
          s.abandoned);
    total("holdfast_store_replayed_total", "Batches run again: the database was out of reach", NULL,
          NULL, s.replayed);
    total("holdfast_store_connections_lost_total", "Connections to the database that broke", NULL,
          NULL, s.connections_lost);
    now("holdfast_store_away", "1 while the database does not answer", NULL, NULL,
        store_is_away(hub->store, NULL) ? 1 : 0);
    now("holdfast_store_wal_bytes", "Size of the write-ahead log", NULL, NULL, s.wal_bytes);
    for (size_t i = 0; i < STORE_LANE_COUNT; i++)
        now("holdfast_store_queued", "Writes waiting", "lane", lanes[i], s.queued[i]);
    total("holdfast_ledger_entries_total", "Entries in the ledger", NULL, NULL,
          ledger_head(hub->ledger).size);
}

/* A person is asked for each: an alarm belongs on it. */
static void gather_waiting(struct store_reader *reader)
{
    uint64_t n = 0;
    const struct store_query query = {.table = &table_cut_waiting, .limit = WAITING_COUNTED};
    if (store_count(reader, &query, &n) == ERR_NONE)
        now("holdfast_cuts_waiting", "Automatic cuts that wait for a person", NULL, NULL, n);
}

static void gather(struct hub *hub)
{
    for (unsigned i = 0; i < LISTENER_COUNT; i++)
        if (hub->listeners[i] != NULL)
            gather_listener(hub, (enum listener)i);
    gather_store(hub);
    brokers_gather(hub->brokers);
}

void api_metrics_show(struct api_call *call)
{
    gather(call->hub);
    gather_waiting(call->here->reader);
    struct writer w = arena_writer(http_request_arena(call->request), METRICS_MAX);
    if (w.err == ERR_NONE)
        metrics_write(&w);
    if (api_read_ok(call, w.err))
        http_reply(call->request, 200, "text/plain; version=0.0.4; charset=utf-8",
                   writer_bytes(&w));
}
