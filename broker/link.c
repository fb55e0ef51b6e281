#include "broker/link.h"

#include <stdio.h>
#include <string.h>

#include "base/crypto.h"
#include "base/http_client.h"
#include "broker/keeper.h"

#define TABLE_LIMIT    2000 /* devices in a page: some 250 KB */
#define WAIT_MAX       20   /* seconds that a hub may hold the question for changes */
#define TIMEOUT_EXTRA  8    /* and that its answer may then take */
#define RESPONSE_MAX   (DEVICE_FEED_MAX + RULES_MAX)
#define BACKOFF_MIN_MS 250
#define BACKOFF_MAX_MS 30000

struct link {
    struct broker *b;
    struct http_client *client;
    unsigned hub, attempt;
    char explain[256];
};

int64_t link_backoff_ms(unsigned attempt)
{
    int64_t most = BACKOFF_MIN_MS << (attempt < 8 ? attempt : 8);
    if (most > BACKOFF_MAX_MS)
        most = BACKOFF_MAX_MS;
    uint16_t random = 0;
    if (crypto_random(&random, sizeof random) != ERR_NONE)
        random = 0;
    return most / 2 + most / 2 * random / UINT16_MAX;
}

enum err link_dial(const struct broker *b, unsigned hub, size_t response_max, int64_t timeout_ms,
                   struct http_client **ret_client, char explain[256])
{
    char host[128], port[16];
    const struct settings *settings = &b->settings;
    settings_hub(settings, hub, host, port);
    const struct http_client_options options = {
        .host = host,
        .port = port,
        .roots_path = settings->roots,
        .certificate_path = settings->certificate,
        .key_path = settings->key,
        .timeout_ms = timeout_ms,
        .response_max = response_max,
        .cancel_fd = b->stop_fd,
    };
    return http_client_new(&options, ret_client, explain);
}

static enum err fail(struct link *l, const char *what, unsigned status)
{
    char host[128], port[16];
    settings_hub(&l->b->settings, l->hub, host, port);
    (void)snprintf(l->explain, sizeof l->explain, "the hub at %.100s port %s answers %u for %s%s",
                   host, port, status, what,
                   status == 403 || status == 401
                       ? ": is this broker on its list (`holdfast broker add`), and not cut off?"
                       : "");
    return ERR_REFUSED;
}

/* ERR_NONE with *ret_status 200, 204 or 409; anything else is an error, explained. */
static enum err get(struct link *l, const char *what, const char *target, unsigned *ret_status,
                    struct slice *ret_body)
{
    enum err err = http_client_request(l->client, "GET", target, NULL, (struct slice){0},
                                       ret_status, ret_body, l->explain);
    if (err != ERR_NONE)
        return err;
    if (*ret_status == 200 || *ret_status == 204 || *ret_status == 409) {
        keeper_answered(l->b);
        return ERR_NONE;
    }
    return fail(l, what, *ret_status);
}

static enum err explain_bytes(struct link *l, enum err err, const char *what)
{
    if (err != ERR_NONE)
        (void)snprintf(l->explain, sizeof l->explain, "what the hub sent as %s is not taken: %s",
                       what, err_text(err));
    return err;
}

/* Names of devices come from the hub, and go back into a path: what is no plain letter is escaped.
 */
static void write_escaped(struct writer *w, const char *text)
{
    for (; *text != '\0'; text++) {
        uint8_t c = (uint8_t)*text;
        bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                     c == '-' || c == '_' || c == '.';
        if (plain) {
            writer_u8(w, c);
        } else {
            writer_u8(w, '%');
            writer_hex(w, slice_of(&c, 1));
        }
    }
}

static enum err take_table(struct link *l)
{
    char last[RULES_NAME_MAX + 1] = "";
    uint64_t at = 0;
    enum err err = keeper_begin_anew(l->b);
    for (bool first = true; err == ERR_NONE && !atomic_load(&l->b->stop); first = false) {
        char target[512];
        struct writer w = writer_over(target, sizeof target - 1);
        writer_text(&w, "/v1/broker/table?limit=");
        writer_decimal(&w, TABLE_LIMIT);
        writer_text(&w, first ? "" : "&after=");
        write_escaped(&w, last);
        target[w.len] = '\0';
        unsigned status = 0;
        struct slice body;
        struct device_feed feed;
        err = get(l, "the table", target, &status, &body);
        if (err == ERR_NONE && status != 200)
            err = fail(l, "the table", status);
        if (err != ERR_NONE)
            return err;
        err = explain_bytes(l, keeper_take_part(l->b, body, &feed, last), "a table");
        if (err == ERR_NONE && first)
            at = feed.at;
        if (err == ERR_NONE && feed.count == 0)
            return keeper_end_anew(l->b, at);
    }
    return err == ERR_NONE ? ERR_CLOSED : err;
}

static enum err take_rules(struct link *l)
{
    char target[64], explain[256];
    (void)snprintf(target, sizeof target, "/v1/broker/rules?version=%llu",
                   (unsigned long long)(l->b->has_rules ? l->b->rules.version : 0));
    unsigned status = 0;
    struct slice body;
    enum err err = get(l, "the rules", target, &status, &body);
    if (err != ERR_NONE || status == 204)
        return err;
    if (status != 200)
        return fail(l, "the rules", status);
    err = keeper_take_rules(l->b, body, explain);
    if (err != ERR_NONE && err != ERR_EXISTS) {
        broker_log(l->b, 'e', "%s; the rules in force stay", explain);
        err = ERR_NONE;
    }
    return err == ERR_EXISTS ? ERR_NONE : err;
}

/* Short enough that a hub which went silent is noticed in time for the strictest model. */
static int64_t wait_seconds(struct broker *b)
{
    broker_lock(b);
    int64_t wait = WAIT_MAX, strictest = b->strictest;
    broker_unlock(b);
    if (strictest > 0 && strictest / 2 < wait)
        wait = strictest / 2;
    return wait < 1 ? 1 : wait;
}

/* *ret_news: rules newer than ours are in force at the hub. */
static enum err take_changes(struct link *l, int64_t wait, bool *ret_rules)
{
    struct broker *b = l->b;
    uint64_t version = b->has_rules ? b->rules.version : 0;
    char target[160];
    (void)snprintf(target, sizeof target, "/v1/broker/changes?after=%llu&wait=%lld&rules=%llu",
                   (unsigned long long)b->position, (long long)wait, (unsigned long long)version);
    unsigned status = 0;
    struct slice body;
    struct device_feed feed;
    enum err err = get(l, "changes", target, &status, &body);
    if (err != ERR_NONE)
        return err;
    if (status == 409) {
        broker_log(b, 'w', "the hub does not know this broker's position: the table is taken anew");
        return take_table(l);
    }
    if (status != 200)
        return fail(l, "changes", status);
    err = explain_bytes(l, keeper_take_changes(b, body, &feed), "changes");
    if (err == ERR_NONE)
        *ret_rules = feed.rules > version;
    return err;
}

static void be_caught_up(struct broker *b)
{
    broker_lock(b);
    bool was = b->caught_up;
    b->caught_up = true;
    uint32_t known = table_known(b->table);
    broker_unlock(b);
    if (!was)
        broker_log(b, 'n', "up to date with the hub: %u devices are known, position %llu", known,
                   (unsigned long long)b->position);
}

/* As long as this hub answers. */
static enum err follow(struct link *l)
{
    struct broker *b = l->b;
    enum err err = take_rules(l);
    if (err == ERR_NONE && b->position == 0)
        err = take_table(l);
    for (bool first = true; err == ERR_NONE && !atomic_load(&b->stop); first = false) {
        bool rules = false;
        uint64_t before = b->position;
        err = take_changes(l, first || !b->caught_up ? 0 : wait_seconds(b), &rules);
        if (err == ERR_NONE && rules)
            err = take_rules(l);
        if (err != ERR_NONE)
            break;
        l->attempt = 0;
        if (b->position == before)
            be_caught_up(b); /* nothing more is waiting */
        keeper_look_for_cuts(b);
        /* Rules that are offered again and again, and never good, must not make this spin. */
        if (rules && !broker_sleep(b, 1000))
            break;
    }
    return err;
}

void *link_run(void *broker)
{
    struct link l = {.b = broker};
    struct broker *b = broker;
    while (!atomic_load(&b->stop)) {
        l.explain[0] = '\0';
        enum err err = link_dial(b, l.hub, RESPONSE_MAX, (wait_seconds(b) + TIMEOUT_EXTRA) * 1000,
                                 &l.client, l.explain);
        if (err == ERR_NONE)
            err = follow(&l);
        http_client_free(l.client);
        l.client = NULL;
        if (atomic_load(&b->stop))
            break;
        keeper_lost(b, l.explain[0] != '\0' ? l.explain : err_text(err));
        broker_wake(b);
        l.hub++;
        /* All hubs once without a pause that matters, then ever more slowly. */
        int64_t pause_ms = l.attempt < b->settings.hubs.n ? 50 : link_backoff_ms(l.attempt);
        l.attempt++;
        if (!broker_sleep(b, pause_ms))
            break;
    }
    return NULL;
}
