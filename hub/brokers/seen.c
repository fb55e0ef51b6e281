/* What brokers said last of themselves, and when they were heard of: observations, gathered here
 * and written now and then in one go. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "hub/brokers/internal.h"

#define CONNECTED_MS                                                                               \
    60000 /* one that asks is heard of every BROKER_WAIT_MAX seconds at the least */
#define SEEN_ARENA (8 * 1024)

struct seen_write {
    struct write write;
    struct arena *arena;
    struct broker_seen_row *rows;
    size_t rows_len;
};

/* Its place; NULL where all are taken. Under the lock. */
static struct broker_sight *place_of(struct brokers *brokers, const char *tenant,
                                     const char *broker)
{
    for (size_t i = 0; i < brokers->seen_len; i++) {
        struct broker_sight *held = &brokers->seen[i];
        if (strcmp(held->row.broker, broker) == 0 && strcmp(held->row.tenant, tenant) == 0)
            return held;
    }
    if (brokers->seen_len == BROKERS_SEEN_MAX)
        return NULL;
    struct broker_sight *fresh = &brokers->seen[brokers->seen_len++];
    *fresh = (struct broker_sight){0};
    (void)snprintf(fresh->row.tenant, sizeof fresh->row.tenant, "%s", tenant);
    (void)snprintf(fresh->row.broker, sizeof fresh->row.broker, "%s", broker);
    return fresh;
}

void brokers_seen(struct brokers *brokers, const char *tenant, const char *broker, int64_t position,
                  int64_t rules)
{
    (void)pthread_mutex_lock(&brokers->lock);
    struct broker_sight *sight = place_of(brokers, tenant, broker);
    if (sight != NULL)
        sight->contact_ms = clock_monotonic_ms();
    if (sight != NULL && position >= 0) {
        sight->row.position = position;
        sight->row.rules = rules;
        sight->row.seen_at = clock_seconds();
        sight->changed = true;
    }
    (void)pthread_mutex_unlock(&brokers->lock);
}

void brokers_seen_reported(struct brokers *brokers, const struct broker_seen_row *row,
                           int64_t stale)
{
    (void)pthread_mutex_lock(&brokers->lock);
    struct broker_sight *sight = place_of(brokers, row->tenant, row->broker);
    if (sight != NULL) {
        sight->row = *row;
        sight->row.seen_at = clock_seconds();
        sight->stale = stale;
        sight->contact_ms = clock_monotonic_ms();
        sight->changed = true;
    }
    (void)pthread_mutex_unlock(&brokers->lock);
}

/* ---- written ---- */

static void seen_reads(const struct write *w, struct keyset *keys)
{
    const struct seen_write *sw = (const struct seen_write *)(const void *)w;
    for (size_t i = 0; i < sw->rows_len; i++)
        keyset_add(keys, &table_broker_seen, &sw->rows[i]);
}

static enum err seen_apply(struct write *w, struct tx *tx)
{
    struct seen_write *sw = CONTAINER_OF(w, struct seen_write, write);
    for (size_t i = 0; i < sw->rows_len; i++) {
        struct broker_seen_row held = sw->rows[i];
        enum err err = tx_get(tx, &table_broker_seen, &held);
        if (err == ERR_NOT_FOUND)
            err = tx_insert(tx, &table_broker_seen, &sw->rows[i]);
        else if (err == ERR_NONE && held.seen_at <= sw->rows[i].seen_at) {
            struct broker_seen_row row = sw->rows[i];
            if (row.software[0] == '\0') { /* it has told this hub nothing of itself yet */
                memcpy(row.software, held.software, sizeof row.software);
                row.sessions = held.sessions;
            }
            err = tx_update(tx, &table_broker_seen, &row);
        }
        if (err != ERR_NONE)
            return err;
    }
    return ERR_NONE;
}

static void seen_done(struct write *w)
{
    struct seen_write *sw = CONTAINER_OF(w, struct seen_write, write);
    arena_free(sw->arena);
    free(sw->rows);
    free(sw);
}

static const struct write_kind seen_kind = {
    .name = "broker.seen",
    .lane = STORE_LANE_BULK,
    .reads = seen_reads,
    .apply = seen_apply,
    .done = seen_done,
};

void brokers_flush(struct brokers *brokers)
{
    struct seen_write *sw = calloc(1, sizeof *sw);
    if (sw == NULL)
        return;
    sw->arena = arena_new(SEEN_ARENA);
    sw->rows = calloc(BROKERS_SEEN_MAX, sizeof *sw->rows);
    if (sw->arena != NULL && sw->rows != NULL) {
        (void)pthread_mutex_lock(&brokers->lock);
        for (size_t i = 0; i < brokers->seen_len; i++) {
            if (brokers->seen[i].changed)
                sw->rows[sw->rows_len++] = brokers->seen[i].row;
            brokers->seen[i].changed = false;
        }
        (void)pthread_mutex_unlock(&brokers->lock);
    }
    sw->write = (struct write){.kind = &seen_kind, .arena = sw->arena};
    /* An observation is not worth waiting for: a full queue drops it. */
    if (sw->rows_len == 0 || store_submit(brokers->store, &sw->write) != ERR_NONE)
        seen_done(&sw->write);
}

/* ---- counted ---- */

void brokers_gather(struct brokers *brokers)
{
    static const char *const label = "broker";
    struct metric *connected =
        metric_gauge("holdfast_brokers_connected", "Brokers heard of in the last minute", NULL);
    struct metric *contact = metric_gauge("holdfast_broker_contact_seconds",
                                          "Since the broker was heard of last", label);
    struct metric *behind = metric_gauge("holdfast_broker_behind_entries",
                                         "Entries that it had not taken in, as it said", label);
    struct metric *stale = metric_gauge("holdfast_broker_stale_seconds",
                                        "For how long it had not reached a hub, as it said", label);
    struct metric *sessions =
        metric_gauge("holdfast_broker_sessions", "Sessions it has, as it said", label);
    int64_t now_ms = clock_monotonic_ms(), size = (int64_t)ledger_head(brokers->ledger).size;
    int64_t n = 0;
    (void)pthread_mutex_lock(&brokers->lock);
    for (size_t i = 0; i < brokers->seen_len; i++) {
        const struct broker_sight *sight = &brokers->seen[i];
        const char *name = sight->row.broker;
        int64_t left = size - sight->row.position;
        n += now_ms - sight->contact_ms < CONNECTED_MS ? 1 : 0;
        metric_set(contact, name, (now_ms - sight->contact_ms) / 1000);
        if (sight->row.seen_at == 0)
            continue; /* it has asked, and not reported yet */
        metric_set(behind, name, left > 0 ? left : 0);
        metric_set(stale, name, sight->stale);
        metric_set(sessions, name, sight->row.sessions);
    }
    (void)pthread_mutex_unlock(&brokers->lock);
    metric_set(connected, NULL, n);
}
