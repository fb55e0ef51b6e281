#include "base/metrics.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define METRICS_MAX 256 /* metrics in one program; the hub has some sixty */
#define VALUE_MAX   96  /* bytes of a label's value; a longer one counts as "other" */
#define SLOTS       ((size_t)METRIC_SERIES_MAX * 2)

enum kind { COUNTER, GAUGE, HISTOGRAM };

/* Upper bounds of the buckets, in microseconds and as the text of seconds. */
static const struct {
    int64_t us;
    const char *le;
} buckets[] = {
    {500, "0.0005"},  {1000, "0.001"},  {2500, "0.0025"}, {5000, "0.005"},  {10000, "0.01"},
    {25000, "0.025"}, {50000, "0.05"},  {100000, "0.1"},  {250000, "0.25"}, {500000, "0.5"},
    {1000000, "1"},   {2500000, "2.5"}, {5000000, "5"},   {10000000, "10"},
};

struct series {
    _Atomic bool used;
    _Atomic int64_t value; /* of a histogram: the sum in microseconds */
    _Atomic int64_t counts[ARRAY_LEN(buckets) + 1];
    char label[VALUE_MAX];
};

struct metric {
    const char *name, *help, *label;
    enum kind kind;
    struct series single; /* without labels: the only one; with labels: "other" */
    /* Open addressing; a slot is set once, by compare and exchange, and stays. */
    _Atomic(struct series *) slots[SLOTS];
    _Atomic size_t n;
};

static pthread_mutex_t registering = PTHREAD_MUTEX_INITIALIZER;
static struct metric *metrics[METRICS_MAX];
static _Atomic size_t metrics_n;

/* Where there is no room the answer is NULL, and counting into NULL does nothing: a program runs on
 * without the figure. */
static struct metric *register_metric(const char *name, const char *help, const char *label,
                                      enum kind kind)
{
    (void)pthread_mutex_lock(&registering);
    size_t n = atomic_load(&metrics_n);
    struct metric *m = NULL;
    for (size_t i = 0; i < n && m == NULL; i++)
        if (strcmp(metrics[i]->name, name) == 0)
            m = metrics[i];
    if (m == NULL && n < METRICS_MAX) {
        m = calloc(1, sizeof *m);
        if (m != NULL) {
            m->name = name;
            m->help = help;
            m->label = label;
            m->kind = kind;
            m->single.used = label == NULL;
            memcpy(m->single.label, "other", sizeof "other");
            metrics[n] = m;
            atomic_store(&metrics_n, n + 1);
        }
    }
    (void)pthread_mutex_unlock(&registering);
    return m;
}

struct metric *metric_counter(const char *name, const char *help, const char *label)
{
    return register_metric(name, help, label, COUNTER);
}

struct metric *metric_gauge(const char *name, const char *help, const char *label)
{
    return register_metric(name, help, label, GAUGE);
}

struct metric *metric_histogram(const char *name, const char *help, const char *label)
{
    return register_metric(name, help, label, HISTOGRAM);
}

/* FNV-1a */
static size_t slot_of(const char *value)
{
    uint32_t hash = 2166136261U;
    for (; *value != '\0'; value++)
        hash = (hash ^ (uint8_t)*value) * 16777619U;
    return hash % SLOTS;
}

static struct series *find(const struct metric *m, const char *value, size_t *ret_free)
{
    size_t at = slot_of(value);
    for (size_t i = 0; i < SLOTS; i++, at = (at + 1) % SLOTS) {
        struct series *s = atomic_load(&m->slots[at]);
        if (s == NULL) {
            *ret_free = at;
            return NULL;
        }
        if (strcmp(s->label, value) == 0)
            return s;
    }
    *ret_free = SLOTS;
    return NULL;
}

static struct series *add_series(struct metric *m, const char *value, size_t len)
{
    if (atomic_fetch_add(&m->n, 1) >= METRIC_SERIES_MAX) {
        atomic_fetch_sub(&m->n, 1);
        return &m->single;
    }
    struct series *fresh = calloc(1, sizeof *fresh);
    if (fresh == NULL) {
        atomic_fetch_sub(&m->n, 1);
        return &m->single;
    }
    memcpy(fresh->label, value, len + 1);
    fresh->used = true;
    for (;;) {
        size_t at;
        struct series *there = find(m, value, &at);
        struct series *nothing = NULL;
        if (there == NULL && at < SLOTS &&
            atomic_compare_exchange_strong(&m->slots[at], &nothing, fresh))
            return fresh;
        if (there == NULL && at < SLOTS)
            continue; /* somebody took that slot, perhaps for this very value */
        free(fresh);
        atomic_fetch_sub(&m->n, 1);
        return there == NULL ? &m->single : there;
    }
}

static struct series *series_of(struct metric *m, const char *value)
{
    if (m->label == NULL)
        return &m->single;
    if (value == NULL)
        value = "";
    size_t len = strlen(value);
    struct series *s = &m->single;
    if (len < VALUE_MAX && strcmp(value, "other") != 0) {
        size_t at;
        s = find(m, value, &at);
        if (s == NULL)
            s = atomic_load(&m->n) < METRIC_SERIES_MAX ? add_series(m, value, len) : &m->single;
    }
    if (!atomic_load_explicit(&s->used, memory_order_relaxed))
        atomic_store(&s->used, true);
    return s;
}

void metric_add(struct metric *m, const char *value, int64_t n)
{
    if (m == NULL || m->kind == HISTOGRAM || (m->kind == COUNTER && n < 0))
        return;
    atomic_fetch_add_explicit(&series_of(m, value)->value, n, memory_order_relaxed);
}

void metric_set(struct metric *m, const char *value, int64_t n)
{
    if (m == NULL || m->kind == HISTOGRAM)
        return;
    atomic_store_explicit(&series_of(m, value)->value, n, memory_order_relaxed);
}

void metric_observe_us(struct metric *m, const char *value, int64_t us)
{
    if (m == NULL || m->kind != HISTOGRAM)
        return;
    us = us < 0 ? 0 : us;
    size_t i = 0;
    while (i < ARRAY_LEN(buckets) && us > buckets[i].us)
        i++;
    struct series *s = series_of(m, value);
    atomic_fetch_add_explicit(&s->counts[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->value, us, memory_order_relaxed);
}

int64_t metric_get(const struct metric *m, const char *value)
{
    if (m == NULL)
        return 0;
    const struct series *s = &m->single;
    if (m->label != NULL && value != NULL && strcmp(value, "other") != 0) {
        size_t at;
        s = find(m, value, &at);
    }
    if (s == NULL)
        return 0;
    if (m->kind != HISTOGRAM)
        return atomic_load(&s->value);
    int64_t total = 0;
    for (size_t i = 0; i < ARRAY_LEN(s->counts); i++)
        total += atomic_load(&s->counts[i]);
    return total;
}

static void write_signed(struct writer *w, int64_t v)
{
    if (v < 0)
        writer_u8(w, '-');
    writer_decimal(w, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

static void write_seconds(struct writer *w, int64_t us)
{
    writer_decimal(w, (uint64_t)us / 1000000);
    writer_u8(w, '.');
    for (uint64_t digit = 100000; digit > 0; digit /= 10)
        writer_u8(w, (uint8_t)('0' + (uint64_t)us / digit % 10));
}

/* Prometheus refuses a whole page over one value that is not UTF-8, so what is not printable ASCII
 * is percent-encoded, and distinct values stay distinct. */
static void write_label_value(struct writer *w, const char *value)
{
    for (; *value != '\0'; value++) {
        uint8_t c = (uint8_t)*value;
        if (c < 0x20 || c > 0x7e || c == '%') {
            writer_u8(w, '%');
            writer_hex(w, slice_of(&c, 1));
            continue;
        }
        if (c == '"' || c == '\\')
            writer_u8(w, '\\');
        writer_u8(w, c);
    }
}

static void write_name(struct writer *w, const struct metric *m, const struct series *s,
                       const char *suffix, const char *le)
{
    writer_text(w, m->name);
    writer_text(w, suffix);
    if (m->label != NULL || le != NULL)
        writer_u8(w, '{');
    if (m->label != NULL) {
        writer_text(w, m->label);
        writer_text(w, "=\"");
        write_label_value(w, s->label);
        writer_text(w, le == NULL ? "\"" : "\",");
    }
    if (le != NULL) {
        writer_text(w, "le=\"");
        writer_text(w, le);
        writer_u8(w, '"');
    }
    if (m->label != NULL || le != NULL)
        writer_u8(w, '}');
    writer_u8(w, ' ');
}

static void write_histogram(struct writer *w, const struct metric *m, const struct series *s)
{
    int64_t total = 0;
    for (size_t i = 0; i < ARRAY_LEN(s->counts); i++) {
        total += atomic_load_explicit(&s->counts[i], memory_order_relaxed);
        write_name(w, m, s, "_bucket", i < ARRAY_LEN(buckets) ? buckets[i].le : "+Inf");
        write_signed(w, total);
        writer_u8(w, '\n');
    }
    write_name(w, m, s, "_sum", NULL);
    write_seconds(w, atomic_load_explicit(&s->value, memory_order_relaxed));
    writer_u8(w, '\n');
    write_name(w, m, s, "_count", NULL);
    write_signed(w, total);
    writer_u8(w, '\n');
}

static void write_series(struct writer *w, const struct metric *m, const struct series *s)
{
    if (!atomic_load(&s->used))
        return;
    if (m->kind == HISTOGRAM) {
        write_histogram(w, m, s);
        return;
    }
    write_name(w, m, s, "", NULL);
    write_signed(w, atomic_load_explicit(&s->value, memory_order_relaxed));
    writer_u8(w, '\n');
}

void metrics_write(struct writer *w)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    size_t n = atomic_load(&metrics_n);
    for (size_t i = 0; i < n; i++) {
        const struct metric *m = metrics[i];
        const char *const parts[] = {"# HELP ", m->name,        " ", m->help, "\n# TYPE ", m->name,
                                     " ",       kinds[m->kind], "\n"};
        for (size_t p = 0; p < ARRAY_LEN(parts); p++)
            writer_text(w, parts[p]);
        write_series(w, m, &m->single);
        for (size_t at = 0; m->label != NULL && at < SLOTS; at++) {
            const struct series *s = atomic_load(&m->slots[at]);
            if (s != NULL)
                write_series(w, m, s);
        }
    }
}
