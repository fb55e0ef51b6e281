/* One hub's writes, without HTTP: for several processes over one database.
 *
 *   hub_writes URL NUMBER SECONDS WIDTH
 *
 * Fills in devices of its own, says "ready", and waits for a line. Then WIDTH closed loops write,
 * as the hub's requests do: each submits its next write when the last was durable. A write is an
 * enrolment: reads a device and a key, changes the one, inserts the other with a certificate, and
 * appends an entry. Prints one JSON object. NUMBER tells the processes apart. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "hub/ledger/ledger.h"

#define DEVICES    2000
#define CHUNK_ROWS 1000
#define LOOPS      2

struct bench {
    struct store *store;
    struct ledger *ledger;
    struct loop *loops[LOOPS];
    unsigned number;
    atomic_bool stop;
    atomic_uint running;
    atomic_ullong next_key;
    atomic_ullong slowest_us;
};

static struct bench bench;

static void must(const char *what, enum err err)
{
    if (err == ERR_NONE)
        return;
    (void)fprintf(stderr, "hub_writes: %s: %s\n", what, err_text(err));
    exit(1);
}

/* ---- writes ---- */

struct job {
    struct write write; /* first */
    struct arena *arena;
    uint64_t device; /* of DEVICES */
    struct hash key;
    int64_t submitted_us;
};

static struct device_row device_of(const struct job *job)
{
    struct device_row row = {
        .tenant = STORE_TENANT,
        .model = "thermo-2",
        .maker = "acme",
        .owner = "acme-heating",
        .manifest = "2026-11",
        .credential = CREDENTIAL_KEY,
        .created_at = 1795407698,
        .changed_at = 1795407698,
    };
    (void)snprintf(row.id, sizeof row.id, "hub%u-%08llu", bench.number,
                   (unsigned long long)job->device);
    crypto_sha256_one(slice_of_text(row.id), row.credential_hash.bytes);
    return row;
}

static enum err append(struct tx *tx, const char *verb, const char *device)
{
    char subject[96];
    (void)snprintf(subject, sizeof subject, "device/%s", device);
    const struct ledger_act act = {
        .act = verb,
        .tenant = STORE_TENANT,
        .actor = "local:1000",
        .subject = subject,
        .data = SLICE_LITERAL("{\"from\":\"enrolled\",\"to\":\"trusted\",\"reason\":\"approved\"}"),
    };
    return ledger_append(bench.ledger, tx, &act);
}

static void enrol_reads(const struct write *w, struct keyset *keys)
{
    const struct job *job = (const struct job *)(const void *)w;
    const struct device_row device = device_of(job);
    const struct device_key_row key = {.spki_sha256 = job->key};
    keyset_add(keys, &table_device, &device);
    keyset_add(keys, &table_device_key, &key);
}

static enum err apply_enrol(struct write *w, struct tx *tx)
{
    static const uint8_t der[700];
    struct job *job = (struct job *)(void *)w;
    struct device_row device = device_of(job);
    struct device_key_row key = {.spki_sha256 = job->key};
    struct certificate_row certificate = {
        .tenant = STORE_TENANT, .certificate_sha256 = job->key, .der = slice_of(der, sizeof der)};
    arena_reset(job->arena);
    enum err err = tx_get(tx, &table_device, &device);
    if (err != ERR_NONE)
        return err;
    err = tx_get(tx, &table_device_key, &key);
    if (err != ERR_NOT_FOUND)
        return err == ERR_NONE ? ERR_EXISTS : err;
    struct writer text = writer_over(certificate.serial, sizeof certificate.serial - 1);
    writer_hex(&text, slice_of(job->key.bytes, SERIAL_MAX));
    key = (struct device_key_row){.tenant = STORE_TENANT, .spki_sha256 = job->key};
    memcpy(certificate.device, device.id, sizeof device.id);
    memcpy(key.device, device.id, sizeof device.id);
    memcpy(device.certificate, certificate.serial, sizeof device.certificate);
    device.state = (device.state + 1) % DEVICE_STATE_COUNT;
    err = tx_insert(tx, &table_certificate, &certificate);
    if (err == ERR_NONE)
        err = tx_insert(tx, &table_device_key, &key);
    if (err == ERR_NONE)
        err = tx_update(tx, &table_device, &device);
    return err != ERR_NONE ? err : append(tx, "device.enrol", device.id);
}

static enum err apply_chunk(struct write *w, struct tx *tx)
{
    struct job at = *(struct job *)(void *)w;
    enum err err = ERR_NONE;
    for (unsigned i = 0; i < CHUNK_ROWS && err == ERR_NONE; i++, at.device++) {
        struct device_row row = device_of(&at);
        err = tx_insert(tx, &table_device, &row);
    }
    return err != ERR_NONE ? err : append(tx, "manifest.devices", "2026-11");
}

static void submit(struct job *job)
{
    uint64_t parts[] = {bench.number, atomic_fetch_add(&bench.next_key, 1)};
    crypto_sha256_one(slice_of(parts, sizeof parts), job->key.bytes);
    memset(job->write.request_id, 0, sizeof job->write.request_id);
    job->submitted_us = clock_monotonic_us();
    must("submit", store_submit(bench.store, &job->write));
}

static void done_enrol(struct write *w)
{
    struct job *job = (struct job *)(void *)w;
    must("write", w->err);
    unsigned long long took = (unsigned long long)(clock_monotonic_us() - job->submitted_us);
    unsigned long long slowest = atomic_load(&bench.slowest_us);
    while (took > slowest && !atomic_compare_exchange_weak(&bench.slowest_us, &slowest, took))
        ;
    if (atomic_load(&bench.stop)) {
        atomic_fetch_sub(&bench.running, 1);
        return;
    }
    uint64_t random = 0;
    memcpy(&random, job->key.bytes, sizeof random);
    job->device = random % DEVICES;
    submit(job);
}

static void done_chunk(struct write *w)
{
    must("chunk", w->err);
    atomic_fetch_sub(&bench.running, 1);
}

static const struct write_kind enrol_kind = {.name = "enrol",
                                             .lane = STORE_LANE_NORMAL,
                                             .reads = enrol_reads,
                                             .apply = apply_enrol,
                                             .done = done_enrol};
static const struct write_kind chunk_kind = {
    .name = "chunk", .lane = STORE_LANE_BULK, .apply = apply_chunk, .done = done_chunk};

/* ---- the run ---- */

static void wait_for_all(void)
{
    while (atomic_load(&bench.running) > 0)
        usleep(500);
}

static void start_jobs(struct job *jobs, unsigned n, const struct write_kind *kind)
{
    atomic_store(&bench.running, n);
    for (unsigned i = 0; i < n; i++) {
        jobs[i] = (struct job){.arena = arena_new((size_t)1 << 20),
                               .device = kind == &chunk_kind ? (uint64_t)i * CHUNK_ROWS : i,
                               .write = {.kind = kind, .loop = bench.loops[i % LOOPS]}};
        must("arena", jobs[i].arena == NULL ? ERR_NO_MEMORY : ERR_NONE);
        jobs[i].write.arena = jobs[i].arena;
        submit(&jobs[i]);
    }
}

static void measure(struct job *jobs, unsigned width, double seconds)
{
    struct store_stats before;
    struct store_stats after;
    store_stats(bench.store, &before);
    int64_t began = clock_monotonic_us();
    start_jobs(jobs, width, &enrol_kind);
    usleep((useconds_t)(seconds * 1e6));
    store_stats(bench.store, &after); /* while all still run */
    double took = (double)(clock_monotonic_us() - began) / 1e6;
    atomic_store(&bench.stop, true);
    wait_for_all();
    uint64_t writes = after.writes - before.writes;
    uint64_t commits = after.commits - before.commits;
    printf("{\"writes_per_second\": %.0f, \"writes_per_commit\": %.1f, \"slowest_ms\": %.1f}\n",
           (double)writes / took, (double)writes / (double)(commits > 0 ? commits : 1),
           (double)atomic_load(&bench.slowest_us) / 1000);
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        (void)fprintf(stderr, "usage: hub_writes URL NUMBER SECONDS WIDTH\n");
        return 2;
    }
    bench.number = (unsigned)strtoul(argv[2], NULL, 10);
    double seconds = strtod(argv[3], NULL);
    unsigned width = (unsigned)strtoul(argv[4], NULL, 10);
    char explain[256] = "";
    if (store_open(argv[1], &bench.store, explain) != ERR_NONE ||
        ledger_new(bench.store, "bench.example", &bench.ledger, explain) != ERR_NONE) {
        (void)fprintf(stderr, "hub_writes: %s\n", explain);
        return 1;
    }
    for (size_t i = 0; i < LOOPS; i++) {
        must("loop", loop_new("bench", &bench.loops[i]));
        must("loop", loop_start(bench.loops[i]));
    }
    must("start", store_start(bench.store));
    static struct job chunks[DEVICES / CHUNK_ROWS];
    struct job *jobs = calloc(width, sizeof *jobs);
    must("jobs", jobs == NULL ? ERR_NO_MEMORY : ERR_NONE);
    start_jobs(chunks, ARRAY_LEN(chunks), &chunk_kind);
    wait_for_all();
    printf("ready\n");
    (void)fflush(stdout);
    if (getchar() != EOF)
        measure(jobs, width, seconds);

    store_drain(bench.store);
    for (size_t i = 0; i < LOOPS; i++) {
        loop_stop(bench.loops[i]);
        loop_join(bench.loops[i]);
        loop_free(bench.loops[i]);
    }
    store_close(bench.store);
    ledger_free(bench.ledger);
    for (size_t i = 0; i < ARRAY_LEN(chunks); i++)
        arena_free(chunks[i].arena);
    for (unsigned i = 0; i < width; i++)
        arena_free(jobs[i].arena);
    free(jobs);
    return 0;
}
