#include "broker/reporter.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/http_client.h"
#include "broker/keeper.h"
#include "broker/link.h"
#include "broker/status.h"
#include "core/json_write.h"

#define BODY_MAX        (BROKER_REPORT_MAX * 1024U)
#define RESPONSE_MAX    4096 /* a problem's words */
#define TIMEOUT_MS      10000
#define REFUSALS_MS     10000 /* counted for so long before they are told */
#define SIGN_MS         60000 /* how it is, also where nothing happened */
#define CONTACT_MS      10000
#define KICKED          152 /* administrative action, MQTT 5.0 section 3.14.2.1 */
#define STALE_EVER_TOLD 2147483647

struct reporter {
    struct broker *b;
    struct http_client *client;
    struct report report;
    unsigned hub, attempt;
    int64_t refusals_ms, sign_ms, contact_ms, retry_ms;
    uint8_t *body;
};

static struct slice name_of(const struct broker *b, uint32_t device)
{
    struct device_record record;
    table_record(b->table, device, &record);
    return record.device;
}

static void write_salt(const struct report_connect *c, struct json_writer *j)
{
    char text[2 * DEVICE_SALT_SIZE + 1];
    struct writer w = writer_over(text, sizeof text);
    writer_hex(&w, slice_of(c->certificate, DEVICE_SALT_SIZE));
    json_field_slice(j, "password", writer_bytes(&w));
}

static void write_connects(const struct broker *b, const struct report *r, struct json_writer *j)
{
    json_key(j, "connects");
    json_open_array(j);
    for (uint32_t i = 0; i < r->connects_len; i++) {
        json_open_object(j);
        json_field_slice(j, "device", name_of(b, r->connects[i].device));
        json_field_time(j, "at", r->connects[i].at);
        json_field_bool(j, "first", true);
        if (r->connects[i].by_password)
            write_salt(&r->connects[i], j);
        json_close_object(j);
    }
    json_close_array(j);
}

/* Subscriptions and queue are empty: sessions that were kept were taken over until there was none.
 */
static void write_ended(const struct broker *b, const struct report *r, struct json_writer *j)
{
    json_key(j, "ended");
    json_open_array(j);
    for (uint32_t i = 0; i < r->cuts_len; i++) {
        const struct cut *cut = r->cuts[i];
        json_open_object(j);
        json_field_slice(j, "device", name_of(b, cut->device));
        json_field_integer(j, "entry", (int64_t)cut->at);
        json_field_integer(j, "reason_code", cut->sessions > 0 ? KICKED : 0);
        json_field_integer(j, "sessions", cut->sessions);
        json_field_integer(j, "subscriptions", 0);
        json_field_integer(j, "queued", 0);
        json_field_integer(j, "retained_cleared", cut->retained);
        json_field_integer(j, "latency_ms", cut->latency_ms);
        json_close_object(j);
    }
    json_close_array(j);
}

static void write_refusals(const struct report *r, struct json_writer *j)
{
    json_key(j, "refusals");
    json_open_array(j);
    for (uint32_t i = 0; i < r->refusals_len; i++) {
        const struct report_refusal *x = &r->refusals[i];
        json_open_object(j);
        json_field_text(j, "kind", refusal_text(x->kind));
        json_field_slice(j, "source", slice_of(x->source, x->source_len));
        json_field_integer(j, "count", x->count < UINT32_MAX ? (int64_t)x->count : UINT32_MAX);
        json_close_object(j);
    }
    json_close_array(j);
}

void report_write(const struct broker *b, const struct report *r, struct writer *w)
{
    struct json_writer j = json_writer_over(w);
    json_open_object(&j);
    json_field_integer(&j, "position", (int64_t)r->position);
    json_field_integer(&j, "rules", (int64_t)r->rules);
    json_field_integer(&j, "sessions", r->sessions);
    json_field_text(&j, "software", b->software);
    json_field_integer(&j, "stale_seconds",
                       r->stale > STALE_EVER_TOLD ? STALE_EVER_TOLD : r->stale);
    write_connects(b, r, &j);
    write_ended(b, r, &j);
    write_refusals(r, &j);
    json_close_object(&j);
}

/* True where there is something to tell. */
static bool collect(struct reporter *p, int64_t now_ms)
{
    struct broker *b = p->b;
    struct report *r = &p->report;
    struct contact_now now;
    contact_now(&now);
    r->position = b->position;
    r->rules = b->has_rules ? b->rules.version : 0;
    r->sessions = sessions_len(b->sessions);
    r->stale = contact_stale(&b->contact, &now);
    r->connects_len = reports_take_connects(&b->reports, r->connects, BROKER_REPORT_MAX);
    r->refusals_len = 0;
    if (now_ms >= p->refusals_ms) {
        r->refusals_len = reports_take_refusals(&b->reports, r->refusals, BROKER_REPORT_MAX);
        p->refusals_ms = now_ms + REFUSALS_MS;
    }
    r->cuts_len = 0;
    while (r->cuts_len < BROKER_REPORT_MAX) {
        struct cut *cut = cuts_take(&b->cuts, CUT_TO_REPORT);
        if (cut == NULL)
            break;
        r->cuts[r->cuts_len++] = cut;
    }
    return r->connects_len + r->refusals_len + r->cuts_len > 0 || now_ms >= p->sign_ms;
}

/* What could not be told goes back to what is waiting. */
static void give_back(struct reporter *p)
{
    struct broker *b = p->b;
    struct report *r = &p->report;
    for (uint32_t i = 0; i < r->connects_len; i++)
        (void)!reports_connect(&b->reports, &r->connects[i]);
    for (uint32_t i = 0; i < r->refusals_len; i++)
        reports_put_refusal(&b->reports, &r->refusals[i]);
    for (uint32_t i = 0; i < r->cuts_len; i++)
        cuts_put(&b->cuts, r->cuts[i], CUT_TO_REPORT);
}

static void settle(struct reporter *p)
{
    struct broker *b = p->b;
    for (uint32_t i = 0; i < p->report.connects_len; i++)
        if (!p->report.connects[i]
                 .by_password) /* which is told again after a restart: the hub knows */
            keeper_seen(b, p->report.connects[i].certificate);
    for (uint32_t i = 0; i < p->report.cuts_len; i++) {
        struct cut *cut = p->report.cuts[i];
        uint32_t device = cut->device;
        broker_lock(b);
        bool again = table_noted(b->table, device, TABLE_AGAIN);
        table_note(b->table, device, TABLE_AGAIN, false);
        table_note(b->table, device, TABLE_PENDING, false);
        table_note(b->table, device, TABLE_SETTLED, !again);
        cuts_drop(&b->cuts, cut);
        if (again) /* it came once more: by what is known now */
            keeper_take_cut(b, device, b->position, true);
        broker_unlock(b);
        if (again)
            broker_wake(b);
        else
            keeper_settled(b, device);
    }
}

/* *ret_bad: the hub says that the report itself is wrong, so it will never take it. */
static enum err post(struct reporter *p, struct slice body, bool *ret_bad)
{
    char explain[256] = "";
    unsigned status = 0;
    struct slice answer;
    enum err err = ERR_NONE;
    if (p->client == NULL)
        err = link_dial(p->b, p->hub, RESPONSE_MAX, TIMEOUT_MS, &p->client, explain);
    if (err == ERR_NONE)
        err = http_client_request(p->client, "POST", "/v1/broker/reports", "application/json", body,
                                  &status, &answer, explain);
    if (err == ERR_NONE && status / 100 == 2)
        return ERR_NONE;
    *ret_bad = status == 400 || status == 413;
    if (p->attempt == 0)
        broker_log(p->b, 'w', "a report is not taken: %s (%u): %.*s; it will be sent again",
                   err != ERR_NONE ? explain : "the hub refuses it", status,
                   err != ERR_NONE ? 0 : (int)(answer.len < 160 ? answer.len : 160),
                   err != ERR_NONE ? "" : (const char *)answer.data);
    http_client_free(p->client); /* the next attempt reads certificate and key again */
    p->client = NULL;
    p->hub++;
    return err != ERR_NONE ? err : ERR_REFUSED;
}

static void report(struct reporter *p)
{
    struct broker *b = p->b;
    int64_t now_ms = clock_monotonic_ms();
    if (now_ms < p->retry_ms)
        return;
    struct writer w = writer_over(p->body, BODY_MAX);
    broker_lock(b);
    bool any = collect(p, now_ms), bad = false;
    if (any)
        report_write(b, &p->report, &w);
    broker_unlock(b);
    if (!any)
        return;
    enum err err = w.err != ERR_NONE ? w.err : post(p, writer_bytes(&w), &bad);
    if (err == ERR_NONE) {
        p->attempt = 0;
        p->sign_ms = now_ms + SIGN_MS;
        settle(p);
        return;
    }
    if (bad) /* refusals are observations: they must not keep what counts from being told */
        p->report.refusals_len = 0;
    broker_lock(b);
    give_back(p);
    broker_unlock(b);
    p->retry_ms = now_ms + (p->attempt < b->settings.hubs.n ? 100 : link_backoff_ms(p->attempt));
    p->attempt++;
}

/* What the hub waits for. Connects can wait for their likes: a storm is told in a few reports. */
static bool has_urgent(const struct broker *b)
{
    return b->cuts.count[CUT_TO_REPORT] > 0;
}

void *reporter_run(void *broker)
{
    struct broker *b = broker;
    struct reporter *p = calloc(1, sizeof *p);
    if (p != NULL)
        p->body = malloc(BODY_MAX);
    if (p == NULL || p->body == NULL) {
        broker_log(b, 'e', "no memory for reports: the hub is told nothing");
        free(p);
        return NULL;
    }
    p->b = b;
    while (!atomic_load(&b->stop)) {
        int64_t now_ms = clock_monotonic_ms();
        broker_lock(b);
        if (!has_urgent(b) || now_ms < p->retry_ms)
            broker_wait(b, has_urgent(b) ? p->retry_ms - now_ms : 1000);
        broker_unlock(b);
        report(p);
        now_ms = clock_monotonic_ms();
        bool contact = now_ms - p->contact_ms >= CONTACT_MS;
        keeper_flush(b, contact);
        if (contact)
            p->contact_ms = now_ms;
        status_write(b);
    }
    http_client_free(p->client);
    free(p->body);
    free(p);
    return NULL;
}
