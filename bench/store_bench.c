/* What the store and the ledger take, without HTTP. Prints one JSON object:
 *
 *   store_bench FOLDER [SECONDS [ROWS]]
 *
 * Writers are closed loops on two event loops, as the hub's requests are: each submits its next
 * write when the last was durable. Two kinds: an "update" reads a device, changes it, appends an
 * entry; an "enrol" reads a device, moves it to another state, inserts a certificate and a key,
 * appends an entry. Then ROWS devices are imported in chunks while cuts come one by one. */
#include <dirent.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "hub/ledger/ledger.h"

#define DEVICES     20000
#define CHUNK_ROWS  1000
#define LOOPS       2
#define SAMPLES_MAX (1 << 22)
#define CUT_PAUSE   5000 /* microseconds between two cuts */

struct bench {
    struct store *store;
    struct ledger *ledger;
    struct loop *loops[LOOPS];
    atomic_bool stop;
    atomic_uint running;
    atomic_ullong next_serial;
    atomic_uint samples_len;
    uint32_t samples[SAMPLES_MAX]; /* microseconds from submit to done */
};

static struct bench bench;

static void die(const char *what, enum err err)
{
    (void)fprintf(stderr, "store_bench: %s: %s\n", what, err_text(err));
    exit(1);
}

static void must(const char *what, enum err err)
{
    if (err != ERR_NONE)
        die(what, err);
}

/* ---- writes ---- */

struct job {
    struct write write;
    struct arena *arena;
    uint64_t number;
    uint32_t random;
    int64_t submitted_us;
};

static struct device_row device_of(uint64_t number)
{
    struct device_row row = {
        .tenant = "default",
        .model = "thermo-2",
        .maker = "acme",
        .owner = "acme-heating",
        .manifest = "2026-11",
        .credential = CREDENTIAL_KEY,
        .created_at = 1795407698,
        .changed_at = 1795407698,
    };
    (void)snprintf(row.id, sizeof row.id, "TH2-%08llu", (unsigned long long)number);
    crypto_sha256_one(slice_of_text(row.id), row.credential_hash.bytes);
    return row;
}

static enum err append(struct tx *tx, const char *verb, const char *device)
{
    char subject[96];
    (void)snprintf(subject, sizeof subject, "device/%s", device);
    const struct ledger_act act = {
        .act = verb,
        .tenant = "default",
        .actor = "local:1000",
        .subject = subject,
        .data = SLICE_LITERAL("{\"from\":\"enrolled\",\"to\":\"trusted\",\"reason\":\"approved\"}"),
    };
    return ledger_append(bench.ledger, tx, &act);
}

static enum err apply_update(struct write *w, struct tx *tx)
{
    struct job *job = (struct job *)(void *)w;
    struct device_row row = device_of(job->number);
    arena_reset(job->arena);
    enum err err = tx_get(tx, &table_device, &row);
    row.reported_at = tx_now_ms(tx) / 1000;
    row.report_hash.bytes[0]++;
    if (err == ERR_NONE)
        err = tx_update(tx, &table_device, &row);
    return err != ERR_NONE ? err : append(tx, "device.report", row.id);
}

static enum err apply_enrol(struct write *w, struct tx *tx)
{
    static uint8_t der[700];
    struct job *job = (struct job *)(void *)w;
    struct device_row row = device_of(job->number);
    struct certificate_row certificate = {.tenant = "default", .der = slice_of(der, sizeof der)};
    struct device_key_row key = {.tenant = "default"};
    arena_reset(job->arena);
    enum err err = tx_get(tx, &table_device, &row);
    if (err != ERR_NONE)
        return err;
    /* Serial numbers are random, and so are hashes: they go anywhere in their indexes. */
    uint64_t number = atomic_fetch_add(&bench.next_serial, 1);
    crypto_sha256_one(slice_of(&number, sizeof number), key.spki_sha256.bytes);
    struct writer text = writer_over(certificate.serial, sizeof certificate.serial - 1);
    writer_hex(&text, slice_of(key.spki_sha256.bytes, SERIAL_MAX));
    memcpy(certificate.device, row.id, sizeof row.id);
    memcpy(key.device, row.id, sizeof row.id);
    memcpy(row.certificate, certificate.serial, sizeof row.certificate);
    certificate.certificate_sha256 = key.spki_sha256;
    row.state = (row.state + 1) % DEVICE_STATE_COUNT;
    err = tx_insert(tx, &table_certificate, &certificate);
    if (err == ERR_NONE)
        err = tx_insert(tx, &table_device_key, &key);
    if (err == ERR_NONE)
        err = tx_update(tx, &table_device, &row);
    return err != ERR_NONE ? err : append(tx, "device.enrol", row.id);
}

static enum err apply_chunk(struct write *w, struct tx *tx)
{
    struct job *job = (struct job *)(void *)w;
    enum err err = ERR_NONE;
    for (uint64_t i = 0; i < CHUNK_ROWS && err == ERR_NONE; i++) {
        struct device_row row = device_of(job->number + i);
        err = tx_insert(tx, &table_device, &row);
    }
    return err != ERR_NONE ? err : append(tx, "manifest.devices", "2026-11");
}

static void submit(struct job *job)
{
    job->random = job->random * 1664525 + 1013904223;
    memset(job->write.request_id, 0, sizeof job->write.request_id);
    job->submitted_us = clock_monotonic_us();
    must("submit", store_submit(bench.store, &job->write));
}

static void sample(const struct job *job)
{
    unsigned at = atomic_fetch_add(&bench.samples_len, 1);
    if (at < SAMPLES_MAX)
        bench.samples[at] = (uint32_t)(clock_monotonic_us() - job->submitted_us);
}

static void done_again(struct write *w)
{
    struct job *job = (struct job *)(void *)w;
    must("write", w->err);
    sample(job);
    if (atomic_load(&bench.stop)) {
        atomic_fetch_sub(&bench.running, 1);
        return;
    }
    submit(job);
    job->number = (job->random >> 8) % DEVICES;
}

static void done_chunk(struct write *w)
{
    struct job *job = (struct job *)(void *)w;
    must("chunk", w->err);
    job->number += CHUNK_ROWS;
    if (job->number >= atomic_load(&bench.next_serial))
        atomic_fetch_sub(&bench.running, 1);
    else
        submit(job);
}

static void done_cut(struct write *w)
{
    struct job *job = (struct job *)(void *)w;
    must("cut", w->err);
    sample(job);
    atomic_fetch_sub(&bench.running, 1);
}

static const struct write_kind update_kind = {
    .name = "update", .lane = STORE_LANE_NORMAL, .apply = apply_update, .done = done_again};
static const struct write_kind enrol_kind = {
    .name = "enrol", .lane = STORE_LANE_NORMAL, .apply = apply_enrol, .done = done_again};
static const struct write_kind chunk_kind = {
    .name = "chunk", .lane = STORE_LANE_BULK, .apply = apply_chunk, .done = done_chunk};
static const struct write_kind cut_kind = {
    .name = "cut", .lane = STORE_LANE_PRIORITY, .apply = apply_update, .done = done_cut};

static void job_init(struct job *job, const struct write_kind *kind, unsigned i)
{
    *job = (struct job){.number = i, .random = i, .arena = arena_new(1 << 20)};
    if (job->arena == NULL)
        die("job", ERR_NO_MEMORY);
    job->write.kind = kind;
    job->write.arena = job->arena;
    job->write.loop = bench.loops[i % LOOPS];
}

/* ---- runs ---- */

/* Nanoseconds of processor time that a thread of ours has had: tells the cost of a write whatever
 * else the machine does. 0 where /proc does not say. */
static uint64_t thread_cpu_ns(const char *thread)
{
    DIR *tasks = opendir("/proc/self/task");
    uint64_t ns = 0;
    for (struct dirent *e; tasks != NULL && (e = readdir(tasks)) != NULL;) {
        char path[320];
        char text[64] = "";
        (void)snprintf(path, sizeof path, "/proc/self/task/%s/comm", e->d_name);
        FILE *file = fopen(path, "re");
        if (file == NULL)
            continue;
        bool found =
            fgets(text, sizeof text, file) != NULL && strncmp(text, thread, strlen(thread)) == 0;
        (void)fclose(file);
        (void)snprintf(path, sizeof path, "/proc/self/task/%s/schedstat", e->d_name);
        file = found ? fopen(path, "re") : NULL;
        if (file == NULL)
            continue;
        if (fgets(text, sizeof text, file) != NULL)
            ns = strtoull(text, NULL, 10);
        (void)fclose(file);
    }
    if (tasks != NULL)
        (void)closedir(tasks);
    return ns;
}

static void wait_for_all(void)
{
    while (atomic_load(&bench.running) > 0)
        usleep(500);
}

static int compare_samples(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void print_latency(void)
{
    unsigned n = atomic_load(&bench.samples_len);
    n = n < SAMPLES_MAX ? n : SAMPLES_MAX;
    qsort(bench.samples, n, sizeof bench.samples[0], compare_samples);
    static const struct {
        const char *name;
        unsigned per_mille;
    } points[] = {{"p50_us", 500}, {"p99_us", 990}, {"p999_us", 999}};
    for (size_t i = 0; i < ARRAY_LEN(points) && n > 0; i++)
        printf("\"%s\": %u, ", points[i].name,
               bench.samples[(uint64_t)(n - 1) * points[i].per_mille / 1000]);
    printf("\"max_us\": %u", n > 0 ? bench.samples[n - 1] : 0);
}

static void run_width(const struct write_kind *kind, unsigned width, double seconds, bool last)
{
    struct job *jobs = calloc(width, sizeof *jobs);
    if (jobs == NULL)
        die("jobs", ERR_NO_MEMORY);
    struct store_stats before;
    struct store_stats after;
    store_stats(bench.store, &before);
    uint64_t writer_ns = thread_cpu_ns("store-writer");
    uint64_t moved_ns = thread_cpu_ns("checkpointer");
    atomic_store(&bench.stop, false);
    atomic_store(&bench.samples_len, 0);
    atomic_store(&bench.running, width);
    int64_t start = clock_monotonic_us();
    for (unsigned i = 0; i < width; i++) {
        job_init(&jobs[i], kind, i);
        submit(&jobs[i]);
    }
    usleep((useconds_t)(seconds * 1e6));
    atomic_store(&bench.stop, true);
    wait_for_all();
    double took = (double)(clock_monotonic_us() - start) / 1e6;
    store_stats(bench.store, &after);
    uint64_t writes = after.writes - before.writes;
    printf("    {\"kind\": \"%s\", \"width\": %u, \"writes_per_second\": %.0f, "
           "\"writes_per_commit\": %.1f, \"writer_cpu_us\": %.1f, \"checkpointer_cpu_us\": %.1f, ",
           kind->name, width, (double)writes / took,
           (double)writes / (double)(after.commits - before.commits),
           (double)(thread_cpu_ns("store-writer") - writer_ns) / 1000 / (double)writes,
           (double)(thread_cpu_ns("checkpointer") - moved_ns) / 1000 / (double)writes);
    print_latency();
    printf(", \"log_bytes\": %llu}%s\n", (unsigned long long)after.wal_bytes, last ? "" : ",");
    (void)fflush(stdout);
    for (unsigned i = 0; i < width; i++)
        arena_free(jobs[i].arena);
    free(jobs);
}

/* Imports devices first to end; with cuts in between where `cuts` says so. */
static double import(uint64_t first, uint64_t end, bool cuts)
{
    struct job chunk;
    struct job cut;
    job_init(&chunk, &chunk_kind, 0);
    job_init(&cut, &cut_kind, 1);
    chunk.number = first;
    atomic_store(&bench.next_serial, end);
    atomic_store(&bench.samples_len, 0);
    atomic_store(&bench.running, 1);
    int64_t start = clock_monotonic_us();
    submit(&chunk);
    for (uint64_t i = 0; cuts && atomic_load(&bench.running) > 0; i++) {
        cut.number = i % DEVICES;
        atomic_fetch_add(&bench.running, 1);
        submit(&cut);
        while (atomic_load(&bench.running) > 1)
            usleep(100);
        usleep(CUT_PAUSE);
    }
    wait_for_all();
    double took = (double)(clock_monotonic_us() - start) / 1e6;
    arena_free(chunk.arena);
    arena_free(cut.arena);
    return took;
}

static void run_import(const char *path, uint64_t rows)
{
    struct stat before = {0};
    struct stat after = {0};
    (void)stat(path, &before);
    double took = import(DEVICES, DEVICES + rows, true);
    unsigned cuts = atomic_load(&bench.samples_len);
    printf("  \"import\": {\"rows\": %llu, \"rows_per_second\": %.0f, \"cuts\": %u, \"cut\": {",
           (unsigned long long)rows, (double)rows / took, cuts);
    print_latency();
    struct store_stats stats;
    store_stats(bench.store, &stats);
    (void)stat(path, &after);
    printf("}, \"bytes_per_row\": %.0f, \"log_bytes\": %llu},\n",
           (double)(after.st_size - before.st_size) / (double)rows,
           (unsigned long long)stats.wal_bytes);
}

static void run_reads(double seconds)
{
    struct store_reader *reader = NULL;
    struct arena *arena = arena_new(1 << 20);
    must("reader", store_reader_new(bench.store, &reader));
    uint64_t reads = 0;
    uint32_t random = 1;
    int64_t start = clock_monotonic_us();
    while (clock_monotonic_us() - start < (int64_t)(seconds * 1e6)) {
        for (int i = 0; i < 100; i++, reads++) {
            random = random * 1664525 + 1013904223;
            struct device_row row = device_of((random >> 8) % DEVICES);
            arena_reset(arena);
            must("get", store_get(reader, &table_device, arena, &row));
        }
    }
    double took = (double)(clock_monotonic_us() - start) / 1e6;
    printf("  \"point_reads_per_second\": %.0f\n", (double)reads / took);
    store_reader_free(reader);
    arena_free(arena);
}

int main(int argc, char **argv)
{
    static const unsigned widths[] = {1, 64, 256, 1024};
    static const struct write_kind *const kinds[] = {&update_kind, &enrol_kind};
    if (argc < 2) {
        (void)fprintf(stderr, "usage: store_bench FOLDER [SECONDS [ROWS]]\n");
        return 2;
    }
    double seconds = argc > 2 ? strtod(argv[2], NULL) : 5;
    uint64_t rows = argc > 3 ? strtoull(argv[3], NULL, 10) : 1000000;
    char path[512];
    char url[600];
    char explain[256] = "";
    (void)snprintf(path, sizeof path, "%s/store_bench.db", argv[1]);
    (void)snprintf(url, sizeof url, "sqlite:%s", path);
    if (store_open(url, &bench.store, explain) != ERR_NONE ||
        ledger_new(bench.store, "bench.example", &bench.ledger, explain) != ERR_NONE) {
        (void)fprintf(stderr, "store_bench: %s\n", explain);
        return 1;
    }
    for (size_t i = 0; i < LOOPS; i++) {
        must("loop", loop_new("bench", &bench.loops[i]));
        must("loop", loop_start(bench.loops[i]));
    }
    must("start", store_start(bench.store));
    (void)import(0, DEVICES, false);

    printf("{\n  \"runs\": [\n");
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
        for (size_t i = 0; i < ARRAY_LEN(widths); i++)
            run_width(kinds[k], widths[i], seconds,
                      k + 1 == ARRAY_LEN(kinds) && i + 1 == ARRAY_LEN(widths));
    printf("  ],\n");
    if (rows > 0)
        run_import(path, rows);
    run_reads(seconds);
    printf("}\n");

    store_drain(bench.store);
    for (size_t i = 0; i < LOOPS; i++) {
        loop_stop(bench.loops[i]);
        loop_join(bench.loops[i]);
        loop_free(bench.loops[i]);
    }
    store_close(bench.store);
    ledger_free(bench.ledger);
    return 0;
}
