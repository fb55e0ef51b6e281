#include "hub/watch/refusals.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"

#define KIND_MAX       48
#define SOURCE_MAX     160
#define REFUSALS_ARENA (64 * 1024)

struct refusal {
    char kind[KIND_MAX];
    char source[SOURCE_MAX];
    bool alarm;
    uint64_t count;
    int64_t first, last; /* seconds since 1970 */
};

struct window {
    struct refusal sources[REFUSALS_SOURCES];
    size_t sources_len;
    struct refusal others; /* what did not find a place */
};

struct refusals {
    struct store *store;
    struct ledger *ledger;
    pthread_mutex_t lock; /* over window */
    struct window window;
};

struct refusals_write {
    struct write write;
    struct refusals *refusals;
    struct ledger *ledger;
    struct arena *arena;
    struct window window;
};

enum err refusals_new(struct store *store, struct ledger *ledger, struct refusals **ret_refusals)
{
    struct refusals *r = calloc(1, sizeof *r);
    if (r == NULL)
        return ERR_NO_MEMORY;
    r->store = store;
    r->ledger = ledger;
    (void)pthread_mutex_init(&r->lock, NULL);
    *ret_refusals = r;
    return ERR_NONE;
}

void refusals_free(struct refusals *r)
{
    if (r == NULL)
        return;
    (void)pthread_mutex_destroy(&r->lock);
    free(r);
}

static bool same_text(const char *a, const char *b)
{
    return slice_equal(slice_of_text(a), slice_of_text(b));
}

static struct refusal *window_place(struct window *w, const char *kind, const char *source,
                                    bool alarm)
{
    size_t places = alarm ? REFUSALS_SOURCES : REFUSALS_SOURCES - REFUSALS_KEPT;
    for (size_t i = 0; i < w->sources_len; i++) {
        struct refusal *held = &w->sources[i];
        if (same_text(held->kind, kind) && same_text(held->source, source))
            return held;
    }
    struct refusal *fresh = &w->others;
    if (w->sources_len < places) {
        fresh = &w->sources[w->sources_len++];
        fresh->alarm = alarm;
        (void)snprintf(fresh->kind, sizeof fresh->kind, "%s", kind);
        (void)snprintf(fresh->source, sizeof fresh->source, "%s", source);
    }
    return fresh;
}

static void window_add(struct refusal *place, uint64_t count, int64_t first, int64_t last)
{
    if (place->count == 0 || first < place->first)
        place->first = first;
    if (last > place->last)
        place->last = last;
    place->count += count;
}

static void count(struct refusals *r, const char *kind, const char *source, bool alarm, uint64_t n)
{
    int64_t now = clock_seconds();
    (void)pthread_mutex_lock(&r->lock);
    window_add(window_place(&r->window, kind, source, alarm), n, now, now);
    (void)pthread_mutex_unlock(&r->lock);
}

void refusals_count(struct refusals *r, const char *kind, const char *source)
{
    count(r, kind, source, false, 1);
}

void refusals_add(struct refusals *r, const char *kind, const char *source, uint64_t n)
{
    count(r, kind, source, false, n);
}

void refusals_alarm(struct refusals *r, const char *kind, const char *source)
{
    count(r, kind, source, true, 1);
}

/* What could not be written is counted on. */
static void window_put_back(struct refusals *r, const struct window *w)
{
    (void)pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < w->sources_len; i++) {
        const struct refusal *held = &w->sources[i];
        window_add(window_place(&r->window, held->kind, held->source, held->alarm), held->count,
                   held->first, held->last);
    }
    if (w->others.count > 0)
        window_add(&r->window.others, w->others.count, w->others.first, w->others.last);
    (void)pthread_mutex_unlock(&r->lock);
}

static enum err append_finding(struct refusals_write *rw, struct tx *tx, const struct refusal *what,
                               const char *kind, const char *source)
{
    uint8_t bytes[1024];
    struct writer out = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&out);
    json_open_object(&j);
    json_field_text(&j, "kind", kind);
    json_field_text(&j, "source", source);
    json_field_integer(&j, "count", (int64_t)what->count);
    json_field_time(&j, "first", what->first);
    json_field_time(&j, "last", what->last);
    json_close_object(&j);
    if (out.err != ERR_NONE)
        return out.err;
    const struct ledger_act finding = {
        .act = "finding.refused",
        .tenant = STORE_TENANT,
        .actor = "hub",
        .subject = "hub/refusals",
        .data = writer_bytes(&out),
    };
    return ledger_append(rw->ledger, tx, &finding);
}

static enum err refusals_apply(struct write *w, struct tx *tx)
{
    struct refusals_write *rw = CONTAINER_OF(w, struct refusals_write, write);
    for (size_t i = 0; i < rw->window.sources_len; i++) {
        const struct refusal *what = &rw->window.sources[i];
        enum err err = append_finding(rw, tx, what, what->kind, what->source);
        if (err != ERR_NONE)
            return err;
    }
    if (rw->window.others.count == 0)
        return ERR_NONE;
    return append_finding(rw, tx, &rw->window.others, "others", "others");
}

static void refusals_done(struct write *w)
{
    struct refusals_write *rw = CONTAINER_OF(w, struct refusals_write, write);
    if (w->err != ERR_NONE)
        window_put_back(rw->refusals, &rw->window);
    arena_free(rw->arena);
    free(rw);
}

static const struct write_kind refusals_kind = {
    .name = "finding.refused",
    .lane = STORE_LANE_NORMAL,
    .apply = refusals_apply,
    .done = refusals_done,
};

void refusals_flush(struct refusals *r)
{
    struct refusals_write *rw = calloc(1, sizeof *rw);
    struct arena *arena = arena_new(REFUSALS_ARENA);
    if (rw == NULL || arena == NULL) {
        arena_free(arena);
        free(rw);
        return;
    }
    rw->refusals = r;
    rw->ledger = r->ledger;
    rw->arena = arena;
    rw->write = (struct write){.kind = &refusals_kind, .arena = arena};
    (void)pthread_mutex_lock(&r->lock);
    rw->window = r->window;
    r->window = (struct window){0};
    (void)pthread_mutex_unlock(&r->lock);
    enum err err = ERR_NONE;
    bool anything = rw->window.sources_len > 0;
    if (anything)
        err = store_submit(r->store, &rw->write); /* from here on the writer's, unless refused */
    if (!anything || err != ERR_NONE) {
        rw->write.err = err;
        refusals_done(&rw->write);
    }
}
