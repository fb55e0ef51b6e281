#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <semaphore.h>

#include "base/clock.h"
#include "core/calendar.h"
#include "hub/watch/refusals.h"
#include "tests/unit/failing_malloc.h"
#include "tests/unit/ledger_fixture.h"

#define PLACES (REFUSALS_SOURCES - REFUSALS_KEPT) /* for what is no alarm */
#define OTHERS (PLACES + 1)                       /* findings of a window that is full */

struct house {
    struct ledger_fixture lf;
    struct refusals *refusals;
    uint64_t read; /* entries seen so far */
};

static int set_up(void **state)
{
    struct house *h = calloc(1, sizeof *h);
    ledger_fixture_make(&h->lf);
    assert_int_equal(refusals_new(h->lf.f.store, h->lf.ledger, &h->refusals), ERR_NONE);
    *state = h;
    return 0;
}

static int tear_down(void **state)
{
    struct house *h = *state;
    store_drain(h->lf.f.store);
    refusals_free(h->refusals);
    ledger_fixture_remove(&h->lf);
    free(h);
    return 0;
}

/* ---- what came of it ---- */

static enum err run_nothing(struct step *step, struct tx *tx)
{
    (void)step;
    (void)tx;
    return ERR_NONE;
}

/* What was handed to the writer before has ended. */
static void settle(struct house *h)
{
    (void)fixture_write(&h->lf.f, run_nothing, NULL);
}

struct finding {
    char kind[64], source[192];
    int64_t count, first, last;
};

struct findings {
    struct finding items[2 * OTHERS];
    size_t n;
    int64_t total;
};

static int64_t time_of(const json_t *data, const char *key)
{
    int64_t seconds = 0;
    const char *text = json_string_value(json_object_get(data, key));
    assert_non_null(text);
    assert_int_equal(calendar_read_rfc3339(slice_of_text(text), &seconds), ERR_NONE);
    return seconds;
}

static enum err take_finding(void *ctx, uint64_t number, struct slice entry)
{
    struct findings *found = ctx;
    (void)number;
    json_t *j = json_loadb((const char *)entry.data, entry.len, 0, NULL);
    assert_non_null(j);
    assert_string_equal(json_string_value(json_object_get(j, "act")), "finding.refused");
    assert_string_equal(json_string_value(json_object_get(j, "actor")), "hub");
    assert_string_equal(json_string_value(json_object_get(j, "subject")), "hub/refusals");
    const json_t *data = json_object_get(j, "data");
    assert_true(found->n < ARRAY_LEN(found->items));
    struct finding *f = &found->items[found->n++];
    (void)snprintf(f->kind, sizeof f->kind, "%s", json_string_value(json_object_get(data, "kind")));
    (void)snprintf(f->source, sizeof f->source, "%s",
                   json_string_value(json_object_get(data, "source")));
    f->count = json_integer_value(json_object_get(data, "count"));
    f->first = time_of(data, "first");
    f->last = time_of(data, "last");
    found->total += f->count;
    json_decref(j);
    return ERR_NONE;
}

/* The findings that were added since. */
static void follow(struct house *h, struct findings *found)
{
    *found = (struct findings){.n = 0};
    arena_reset(h->lf.f.arena);
    assert_int_equal(ledger_read_entries(h->lf.ledger, h->lf.f.reader, h->read, false, SIZE_MAX,
                                         h->lf.f.arena, take_finding, found),
                     ERR_NONE);
    h->read += found->n;
}

static void flush_and_follow(struct house *h, struct findings *found)
{
    refusals_flush(h->refusals);
    settle(h);
    follow(h, found);
}

static const struct finding *find(const struct findings *found, const char *kind,
                                  const char *source)
{
    for (size_t i = 0; i < found->n; i++)
        if (strcmp(found->items[i].kind, kind) == 0 && strcmp(found->items[i].source, source) == 0)
            return &found->items[i];
    fail_msg("there is no finding '%s' of '%s'", kind, source);
    return NULL;
}

static void count_times(struct house *h, const char *kind, const char *source, unsigned times)
{
    for (unsigned i = 0; i < times; i++)
        refusals_count(h->refusals, kind, source);
}

/* So many sources, each once; they are called PREFIX0, PREFIX1, ... */
static void count_sources(struct house *h, const char *prefix, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        char source[64];
        (void)snprintf(source, sizeof source, "%s%u", prefix, i);
        refusals_count(h->refusals, "enrolment-refused", source);
    }
}

/* ---- windows ---- */

static void gathers_by_kind_and_source(void **state)
{
    struct house *h = *state;
    struct findings found;
    int64_t start = clock_seconds();
    count_times(h, "enrolment-refused", "192.0.2.1", 3);
    count_times(h, "enrolment-refused", "192.0.2.2", 1);
    clock_shift(40);
    count_times(h, "enrolment-refused", "192.0.2.1", 4);
    count_times(h, "claim-reused", "192.0.2.1", 2);
    count_times(h, "claim-reused", "default/\"\n\xff", 1); /* it is escaped, whatever it is */
    flush_and_follow(h, &found);
    clock_shift(-40);
    assert_int_equal(found.n, 4);
    assert_int_equal(found.total, 11);
    const struct finding *f = find(&found, "enrolment-refused", "192.0.2.1");
    assert_int_equal(f->count, 7);
    assert_in_range(f->first, start, start + 10);
    assert_in_range(f->last - f->first, 40, 50);
    f = find(&found, "enrolment-refused", "192.0.2.2");
    assert_int_equal(f->count, 1);
    assert_int_equal(f->first, f->last);
    assert_int_equal(find(&found, "claim-reused", "192.0.2.1")->count, 2);
    assert_int_equal(find(&found, "claim-reused", "default/\"\n\xef\xbf\xbd")->count, 1);

    /* a new window starts at nothing, and nothing is no finding */
    flush_and_follow(h, &found);
    assert_int_equal(found.n, 0);
    count_times(h, "enrolment-refused", "192.0.2.1", 1);
    flush_and_follow(h, &found);
    assert_int_equal(found.n, 1);
    assert_int_equal(found.total, 1);
}

static void tells_so_many_apart_and_no_more(void **state)
{
    struct house *h = *state;
    struct findings found;
    count_sources(h, "s", PLACES);
    flush_and_follow(h, &found);
    assert_int_equal(found.n, PLACES);
    for (size_t i = 0; i < found.n; i++)
        assert_string_not_equal(found.items[i].kind, "others");

    count_sources(h, "s", 5000);
    count_times(h, "enrolment-refused", "s0", 9); /* has its place already */
    count_times(h, "rate-limited", "s0", 5);      /* another kind has not */
    flush_and_follow(h, &found);
    assert_int_equal(found.n, OTHERS);
    assert_int_equal(found.total, 5000 + 9 + 5);
    assert_int_equal(find(&found, "enrolment-refused", "s0")->count, 10);
    const struct finding *others = find(&found, "others", "others");
    assert_int_equal(others->count, 5000 - PLACES + 5);
    assert_in_range(others->last - others->first, 0, 10);
}

static void keeps_places_for_alarms(void **state)
{
    struct house *h = *state;
    struct findings found;
    count_sources(h, "noise", 5000);
    for (unsigned i = 0; i < REFUSALS_KEPT; i++) {
        char device[32];
        (void)snprintf(device, sizeof device, "default/d%u", i);
        refusals_alarm(h->refusals, "claim-reused", device);
    }
    refusals_alarm(h->refusals, "claim-reused", "default/d0");
    flush_and_follow(h, &found);
    assert_int_equal(found.n, REFUSALS_SOURCES + 1);
    assert_int_equal(find(&found, "claim-reused", "default/d0")->count, 2);
    assert_int_equal(find(&found, "claim-reused", "default/d15")->count, 1);
}

/* ---- what the writer does not take is counted on ---- */

struct gate {
    sem_t entered, open;
};

static enum err run_gate(struct step *step, struct tx *tx)
{
    struct gate *gate = step->ctx;
    (void)tx;
    (void)sem_post(&gate->entered);
    while (sem_wait(&gate->open) != 0)
        ; /* interrupted */
    return ERR_NONE;
}

/* The writer stands still until gate_leave(). */
static void gate_enter(struct house *h, struct gate *gate, struct step *step)
{
    (void)sem_init(&gate->entered, 0, 0);
    (void)sem_init(&gate->open, 0, 0);
    *step = step_of(&h->lf.f, STORE_LANE_NORMAL, run_gate, gate);
    assert_int_equal(store_submit(h->lf.f.store, &step->write), ERR_NONE);
    while (sem_wait(&gate->entered) != 0)
        ; /* interrupted */
}

static void gate_leave(struct gate *gate, struct step *step)
{
    (void)sem_post(&gate->open);
    assert_int_equal(step_wait(step), ERR_NONE);
    (void)sem_destroy(&gate->entered);
    (void)sem_destroy(&gate->open);
}

static void puts_back_when_the_queue_is_full(void **state)
{
    struct house *h = *state;
    struct findings found;
    struct gate gate;
    struct step held, *steps = calloc(STORE_QUEUE_MAX, sizeof *steps);
    gate_enter(h, &gate, &held);
    for (size_t i = 0; i < STORE_QUEUE_MAX; i++) {
        steps[i] = step_of(&h->lf.f, STORE_LANE_NORMAL, run_nothing, NULL);
        assert_int_equal(store_submit(h->lf.f.store, &steps[i].write), ERR_NONE);
    }
    int64_t start = clock_seconds();
    count_times(h, "busy", "192.0.2.1", 3);
    count_sources(h, "s", 100);
    refusals_flush(h->refusals);
    clock_shift(60);
    count_times(h, "busy", "192.0.2.1", 2);
    count_times(h, "busy", "192.0.2.2", 2); /* its place is taken by now */
    refusals_flush(h->refusals);            /* twice in vain */
    gate_leave(&gate, &held);
    for (size_t i = 0; i < STORE_QUEUE_MAX; i++)
        assert_int_equal(step_wait(&steps[i]), ERR_NONE);
    follow(h, &found);
    assert_int_equal(found.n, 0);

    flush_and_follow(h, &found);
    clock_shift(-60);
    assert_int_equal(found.n, OTHERS);
    assert_int_equal(found.total, 107);
    const struct finding *f = find(&found, "busy", "192.0.2.1");
    assert_int_equal(f->count, 5);
    assert_in_range(f->first, start, start + 10);
    assert_in_range(f->last - f->first, 60, 70);
    assert_int_equal(find(&found, "enrolment-refused", "s46")->count, 1);
    assert_int_equal(find(&found, "others", "others")->count, 100 - (PLACES - 1) + 2);
    flush_and_follow(h, &found);
    assert_int_equal(found.n, 0);
    free(steps);
}

/* The next window has begun when it turns out that this one could not be written. */
static void puts_back_when_the_disk_is_full(void **state)
{
    struct house *h = *state;
    struct findings found;
    struct gate gate;
    struct step held;
    gate_enter(h, &gate, &held);
    count_sources(h, "old", 80);
    refusals_flush(h->refusals);
    count_sources(h, "new", 3);
    count_times(h, "enrolment-refused", "old0", 1);
    disk_fail_after(0, ENOSPC, true);
    gate_leave(&gate, &held);
    settle(h);
    disk_heal();
    follow(h, &found);
    assert_int_equal(found.n, 0);

    flush_and_follow(h, &found);
    assert_int_equal(found.n, OTHERS);
    assert_int_equal(found.total, 84);
    assert_int_equal(find(&found, "enrolment-refused", "new2")->count, 1);
    assert_int_equal(find(&found, "enrolment-refused", "old0")->count, 2);
    assert_int_equal(find(&found, "others", "others")->count, 84 - PLACES - 1);
}

static void keeps_them_where_memory_is_out(void **state)
{
    struct house *h = *state;
    struct findings found;
    count_times(h, "busy", "192.0.2.1", 3);
    for (long n = 0; n < 2; n++) {
        allocations_left = n;
        refusals_flush(h->refusals);
        allocations_left = -1;
    }
    settle(h);
    follow(h, &found);
    assert_int_equal(found.n, 0);
    flush_and_follow(h, &found);
    assert_int_equal(found.total, 3);

    struct refusals *none = NULL;
    allocations_left = 0;
    assert_int_equal(refusals_new(h->lf.f.store, h->lf.ledger, &none), ERR_NO_MEMORY);
    allocations_left = -1;
    assert_null(none);
    refusals_free(NULL);
}

/* As the hub ends: the last flush is written, one after the end is not, and nothing is lost of it
 * but that. */
static void is_written_before_the_end(void **state)
{
    struct house *h = *state;
    struct findings found;
    count_times(h, "busy", "192.0.2.1", 3);
    refusals_flush(h->refusals);
    store_drain(h->lf.f.store);
    count_times(h, "busy", "192.0.2.1", 1);
    refusals_flush(h->refusals);
    follow(h, &found);
    assert_int_equal(found.n, 1);
    assert_int_equal(found.total, 3);
}

/* ---- from every loop at once ---- */

#define THREADS 4
#define EACH    20000

static void *count_on_thread(void *arg)
{
    struct house *h = arg;
    static const char *const sources[] = {"192.0.2.1", "192.0.2.2", "192.0.2.3"};
    for (unsigned i = 0; i < EACH; i++)
        refusals_count(h->refusals, "busy", sources[i % ARRAY_LEN(sources)]);
    return NULL;
}

static void loses_none_between_threads(void **state)
{
    struct house *h = *state;
    pthread_t threads[THREADS];
    int64_t total = 0;
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_on_thread, h), 0);
    for (unsigned i = 0; i < 10; i++) {
        struct findings found;
        flush_and_follow(h, &found);
        assert_in_range(found.n, 0, 3);
        total += found.total;
    }
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    struct findings found;
    flush_and_follow(h, &found);
    assert_int_equal(total + found.total, THREADS * EACH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(gathers_by_kind_and_source, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tells_so_many_apart_and_no_more, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keeps_places_for_alarms, set_up, tear_down),
        cmocka_unit_test_setup_teardown(puts_back_when_the_queue_is_full, set_up, tear_down),
        cmocka_unit_test_setup_teardown(puts_back_when_the_disk_is_full, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keeps_them_where_memory_is_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(is_written_before_the_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(loses_none_between_threads, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, disk_install, NULL);
}
