#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/metrics.h"

static char page[1 << 20];

static const char *write_page(void)
{
    struct writer w = writer_over(page, sizeof page - 1);
    metrics_write(&w);
    assert_int_equal(w.err, ERR_NONE);
    page[w.len] = '\0';
    return page;
}

static void expect(const char *line)
{
    const char *at = strstr(write_page(), line);
    if (at == NULL || (at != page && at[-1] != '\n'))
        fail_msg("'%s' is not in\n%s", line, page);
}

static void counts(void **state)
{
    (void)state;
    struct metric *m = metric_counter("t_requests_total", "Requests answered.", NULL);
    expect("# HELP t_requests_total Requests answered.\n# TYPE t_requests_total counter\n"
           "t_requests_total 0\n");
    metric_add(m, NULL, 2);
    metric_add(m, NULL, 3);
    metric_add(m, NULL, -1); /* counters only go up */
    metric_observe_us(m, NULL, 1);
    expect("t_requests_total 5\n");
    assert_int_equal(metric_get(m, NULL), 5);
    assert_ptr_equal(metric_counter("t_requests_total", "again", NULL), m);
    metric_set(m, NULL, 99); /* one that is kept elsewhere */
    assert_int_equal(metric_get(m, NULL), 99);
    metric_add(NULL, NULL, 1);
    assert_int_equal(metric_get(NULL, NULL), 0);
}

static void gauges_go_both_ways(void **state)
{
    (void)state;
    struct metric *m = metric_gauge("t_open", "Open now.", "listener");
    metric_set(m, "device", 7);
    metric_add(m, "device", -9);
    metric_add(m, "operator", 1);
    expect("t_open{listener=\"device\"} -2\n");
    expect("t_open{listener=\"operator\"} 1\n");
    assert_int_equal(metric_get(m, "device"), -2);
    assert_int_equal(metric_get(m, "unheard of"), 0);
    assert_null(strstr(write_page(), "t_open{listener=\"other\"}"));
}

static void fills_buckets(void **state)
{
    (void)state;
    struct metric *m = metric_histogram("t_seconds", "Time taken.", "route");
    static const int64_t observed[] = {0, 500, 501, 1000000, 10000000, 10000001, -5};
    for (size_t i = 0; i < ARRAY_LEN(observed); i++)
        metric_observe_us(m, "enroll", observed[i]);
    expect("# TYPE t_seconds histogram\n");
    expect("t_seconds_bucket{route=\"enroll\",le=\"0.0005\"} 3\n"
           "t_seconds_bucket{route=\"enroll\",le=\"0.001\"} 4\n");
    expect("t_seconds_bucket{route=\"enroll\",le=\"0.5\"} 4\n"
           "t_seconds_bucket{route=\"enroll\",le=\"1\"} 5\n");
    expect("t_seconds_bucket{route=\"enroll\",le=\"10\"} 6\n"
           "t_seconds_bucket{route=\"enroll\",le=\"+Inf\"} 7\n"
           "t_seconds_sum{route=\"enroll\"} 21.001002\n"
           "t_seconds_count{route=\"enroll\"} 7\n");
    assert_int_equal(metric_get(m, "enroll"), 7);
    struct metric *bare = metric_histogram("t_bare_seconds", "Time taken.", NULL);
    metric_observe_us(bare, NULL, 2500);
    expect("t_bare_seconds_bucket{le=\"0.0025\"} 1\n");
    expect("t_bare_seconds_sum 0.002500\n");
}

static void escapes_labels(void **state)
{
    (void)state;
    struct metric *m = metric_counter("t_label_total", "Labels.", "model");
    metric_add(m, "a\"b\\c\nd\xFF%", 1);
    expect("t_label_total{model=\"a\\\"b\\\\c%0ad%ff%25\"} 1\n");
}

static void bounds_its_series(void **state)
{
    (void)state;
    struct metric *m = metric_counter("t_many_total", "Many.", "key");
    char value[200];
    for (unsigned i = 0; i < 1000; i++) {
        (void)snprintf(value, sizeof value, "key-%u", i);
        metric_add(m, value, 1);
    }
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    metric_add(m, value, 1);
    metric_add(m, "other", 1);
    assert_int_equal(metric_get(m, "key-0"), 1);
    assert_int_equal(metric_get(m, "key-255"), 1);
    assert_int_equal(metric_get(m, "key-256"), 0);
    assert_int_equal(metric_get(m, "other"), 1000 - METRIC_SERIES_MAX + 2);
    expect("t_many_total{key=\"other\"} 746\n");
    size_t lines = 0;
    for (const char *at = write_page(); (at = strstr(at, "\nt_many_total{")) != NULL; at++)
        lines++;
    assert_int_equal(lines, METRIC_SERIES_MAX + 1);
}

#define THREADS 4
#define ROUNDS  20000

static void *count_much(void *metric)
{
    struct metric *m = metric;
    char value[32];
    for (unsigned i = 0; i < ROUNDS; i++) {
        (void)snprintf(value, sizeof value, "r%u", i % 50);
        metric_add(m, value, 1);
    }
    return NULL;
}

static void loses_no_count_between_threads(void **state)
{
    (void)state;
    struct metric *m = metric_counter("t_threads_total", "Threads.", "r");
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_much, m), 0);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    int64_t total = 0;
    char value[32];
    for (unsigned i = 0; i < 50; i++) {
        (void)snprintf(value, sizeof value, "r%u", i);
        assert_int_equal(metric_get(m, value), THREADS * ROUNDS / 50);
        total += metric_get(m, value);
    }
    assert_int_equal(total, THREADS * ROUNDS);
    assert_int_equal(metric_get(m, "other"), 0);
}

static void stops_registering_when_full(void **state)
{
    (void)state;
    static char names[400][16];
    size_t n = 0;
    for (; n < ARRAY_LEN(names); n++) {
        (void)snprintf(names[n], sizeof names[n], "t_full_%zu", n);
        struct metric *m = metric_gauge(names[n], "Full.", NULL);
        metric_set(m, NULL, 1);
        if (m == NULL)
            break;
    }
    assert_in_range(n, 100, ARRAY_LEN(names) - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts),
        cmocka_unit_test(gauges_go_both_ways),
        cmocka_unit_test(fills_buckets),
        cmocka_unit_test(escapes_labels),
        cmocka_unit_test(bounds_its_series),
        cmocka_unit_test(loses_no_count_between_threads),
        cmocka_unit_test(stops_registering_when_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
