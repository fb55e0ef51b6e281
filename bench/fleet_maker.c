/* Makes a fleet for the benchmarks: clones one device that has enrolled, as its hub wrote it,
 *
 *   fleet_maker STORE DEVICE N ENTRIES [DIGESTS]
 *
 * with everything about it: its row, its certificate's, its key's, and the entries in the ledger.
 * Each clone has a name, a key and a serial number of its own, as large as the originals. ENTRIES
 * is a file with a line for each entry, "ACT<tab>DATA", where {device}, {serial} and {key} stand
 * for the clone's. DIGESTS is a file with the SHA-256 of a certificate in each line: the clones
 * have these, and the names d-0, d-1, ... (bench/mqtt_load.c). The hub must not be running. */
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "base/file.h"
#include "hub/ledger/ledger.h"

#define CHUNK       1000
#define DIGEST_LINE (2 * SHA256_SIZE + 1)
#define ENTRIES_MAX 8
#define TENANT      STORE_TENANT

struct entry {
    const char *act, *data;
};

static struct {
    struct ledger *ledger;
    struct device_row device;
    struct certificate_row certificate;
    struct entry entries[ENTRIES_MAX];
    size_t entries_len;
    uint8_t *digests; /* hexadecimal, a line each; NULL: random ones */
    sem_t done;
} fleet;

struct chunk {
    struct write write;
    size_t first, len;
};

static void must(const char *what, enum err err)
{
    if (err == ERR_NONE)
        return;
    (void)fprintf(stderr, "fleet_maker: %s: %s\n", what, err_text(err));
    exit(EXIT_FAILURE);
}

static void put_replaced(struct writer *w, const char *text, const char *const pairs[][2])
{
    while (*text != '\0') {
        size_t skip = 1;
        for (size_t i = 0; pairs[i][0] != NULL; i++) {
            if (strncmp(text, pairs[i][0], strlen(pairs[i][0])) != 0)
                continue;
            writer_text(w, pairs[i][1]);
            skip = strlen(pairs[i][0]);
            break;
        }
        if (skip == 1)
            writer_u8(w, (uint8_t)*text);
        text += skip;
    }
}

static enum err append(struct tx *tx, const struct entry *entry, const struct device_row *device,
                       const char *key)
{
    const char *const pairs[][2] = {
        {"{device}", device->id}, {"{serial}", device->certificate}, {"{key}", key}, {NULL, NULL}};
    uint8_t bytes[LEDGER_DATA_MAX];
    char subject[96];
    char actor[LEDGER_ACTOR_MAX];
    struct writer data = writer_over(bytes, sizeof bytes);
    put_replaced(&data, entry->data, pairs);
    if (data.err != ERR_NONE)
        return data.err;
    (void)snprintf(subject, sizeof subject, "device/%s", device->id);
    (void)snprintf(actor, sizeof actor, "device:%s/%s", TENANT, device->id);
    const struct ledger_act act = {.act = entry->act,
                                   .tenant = TENANT,
                                   .actor = actor,
                                   .subject = subject,
                                   .data = writer_bytes(&data)};
    return ledger_append(fleet.ledger, tx, &act);
}

static void put_name(char *field, size_t size, size_t number)
{
    (void)snprintf(field, size, fleet.digests != NULL ? "d-%zu" : "dev-%07zu", number);
}

/* What the last bytes of a serial number are, and the hashes: random, so that they go anywhere in
 * their indexes. Its first bytes are the time, which stays in order. */
static enum err make_clone(struct tx *tx, size_t number)
{
    struct device_row device = fleet.device;
    struct certificate_row certificate = fleet.certificate;
    struct device_key_row key = {.tenant = TENANT};
    uint8_t random[12];
    enum err err = crypto_random(random, sizeof random);
    if (err == ERR_NONE)
        err = crypto_random(key.spki_sha256.bytes, SHA256_SIZE);
    if (err == ERR_NONE)
        err = crypto_random(certificate.certificate_sha256.bytes, SHA256_SIZE);
    if (err != ERR_NONE)
        return err;
    if (fleet.digests != NULL) {
        struct writer digest = writer_over(certificate.certificate_sha256.bytes, SHA256_SIZE);
        writer_unhex(&digest, slice_of(fleet.digests + number * DIGEST_LINE, DIGEST_LINE - 1));
        if (digest.err != ERR_NONE)
            return digest.err;
    }
    put_name(device.id, sizeof device.id, number);
    put_name(key.device, sizeof key.device, number);
    put_name(certificate.device, sizeof certificate.device, number);
    /* A hundred enrolments in each second. */
    struct writer serial = writer_over(certificate.serial, sizeof certificate.serial - 1);
    uint8_t time[4];
    struct writer seconds = writer_over(time, sizeof time);
    writer_be32(&seconds, (uint32_t)(certificate.not_before + (int64_t)number / 100));
    writer_hex(&serial, slice_of(time, sizeof time));
    writer_hex(&serial, slice_of(random, sizeof random));
    memcpy(device.certificate, certificate.serial, sizeof device.certificate);
    memcpy(device.confirmed, certificate.serial, sizeof device.confirmed);
    if (device.credential == CREDENTIAL_KEY)
        device.credential_hash = key.spki_sha256;

    char key_text[2 * SHA256_SIZE + 1] = "";
    struct writer text = writer_over(key_text, sizeof key_text - 1);
    writer_hex(&text, slice_of(key.spki_sha256.bytes, SHA256_SIZE));
    err = tx_insert(tx, &table_device, &device);
    if (err == ERR_NONE)
        err = tx_insert(tx, &table_certificate, &certificate);
    if (err == ERR_NONE)
        err = tx_insert(tx, &table_device_key, &key);
    for (size_t i = 0; i < fleet.entries_len && err == ERR_NONE; i++)
        err = append(tx, &fleet.entries[i], &device, key_text);
    return err;
}

static enum err apply(struct write *w, struct tx *tx)
{
    const struct chunk *chunk = (const struct chunk *)(const void *)w;
    enum err err = ERR_NONE;
    for (size_t i = 0; i < chunk->len && err == ERR_NONE; i++)
        err = make_clone(tx, chunk->first + i);
    return err;
}

static void done(struct write *w)
{
    must("write", w->err);
    (void)sem_post(&fleet.done);
}

static const struct write_kind kind = {
    .name = "fleet", .lane = STORE_LANE_BULK, .apply = apply, .done = done};

static void read_original(struct store *store, const char *name)
{
    struct arena *arena = arena_new(1 << 20);
    struct store_reader *reader = NULL;
    must("reader", arena == NULL ? ERR_NO_MEMORY : store_reader_new(store, &reader));
    fleet.device = (struct device_row){.tenant = TENANT};
    (void)snprintf(fleet.device.id, sizeof fleet.device.id, "%s", name);
    must(name, store_get(reader, &table_device, arena, &fleet.device));
    memcpy(fleet.certificate.serial, fleet.device.confirmed, sizeof fleet.certificate.serial);
    must("its confirmed certificate",
         store_get(reader, &table_certificate, arena, &fleet.certificate));
    store_reader_free(reader); /* the arena stays: rows point into it */
}

/* The texts stay until the end. */
static const char *take_text(struct reader *r, uint8_t delimiter)
{
    struct slice text = reader_until(r, delimiter);
    return r->err == ERR_NONE ? strndup((const char *)text.data, text.len) : NULL;
}

static void read_entries(const char *path)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    must(path, file_read(path, 1 << 20, &bytes, &len));
    struct reader r = reader_over(slice_of(bytes, len));
    while (reader_left(&r) > 0) {
        must(path, fleet.entries_len == ENTRIES_MAX ? ERR_LIMIT : ERR_NONE);
        struct entry *entry = &fleet.entries[fleet.entries_len++];
        entry->act = take_text(&r, '\t');
        entry->data = take_text(&r, '\n');
        must(path, entry->act == NULL || entry->data == NULL ? ERR_SYNTAX : ERR_NONE);
    }
    must(path, fleet.entries_len == 0 ? ERR_SYNTAX : ERR_NONE);
}

static void read_digests(const char *path, size_t n)
{
    size_t len = 0;
    must(path, file_read(path, n * DIGEST_LINE, &fleet.digests, &len));
    must(path, len == n * DIGEST_LINE ? ERR_NONE : ERR_SYNTAX);
}

int main(int argc, char **argv)
{
    char explain[256] = "";
    size_t n = argc == 5 || argc == 6 ? strtoul(argv[3], NULL, 10) : 0;
    if (n == 0) {
        (void)fprintf(stderr, "usage: fleet_maker STORE DEVICE N ENTRIES [DIGESTS]\n");
        return EXIT_FAILURE;
    }
    struct store *store = NULL;
    if (store_open(argv[1], &store, explain) != ERR_NONE ||
        ledger_new(store, "bench.example/ledger", &fleet.ledger, explain) != ERR_NONE) {
        (void)fprintf(stderr, "fleet_maker: %s\n", explain);
        return EXIT_FAILURE;
    }
    read_original(store, argv[2]);
    read_entries(argv[4]);
    if (argc == 6)
        read_digests(argv[5], n);
    must("start", store_start(store));
    (void)sem_init(&fleet.done, 0, 0);
    struct chunk chunk = {.write = {.kind = &kind, .arena = arena_new(1 << 20)}};
    must("memory", chunk.write.arena == NULL ? ERR_NO_MEMORY : ERR_NONE);
    for (chunk.first = 0; chunk.first < n; chunk.first += chunk.len) {
        chunk.len = n - chunk.first < CHUNK ? n - chunk.first : CHUNK;
        memset(chunk.write.request_id, 0, sizeof chunk.write.request_id);
        arena_reset(chunk.write.arena);
        must("submit", store_submit(store, &chunk.write));
        (void)sem_wait(&fleet.done);
    }
    store_drain(store);
    ledger_free(fleet.ledger);
    store_close(store);
    return EXIT_SUCCESS;
}
