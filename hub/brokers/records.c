/* A device's rows as brokers are told of them. */
#include <string.h>

#include <stdio.h>

#include "base/clock.h"
#include "hub/brokers/internal.h"

#define ROW_TEXT(field, text) ((void)snprintf((field), sizeof(field), "%s", (text)))
#define FEED_HEAD             28 /* bytes: core/device_feed.h */

void feed_device_of(const struct device_row *row, struct feed_device *ret_device)
{
    ROW_TEXT(ret_device->id, row->id);
    ROW_TEXT(ret_device->model, row->model);
    ROW_TEXT(ret_device->group, row->grp);
    ret_device->state = row->state;
    ROW_TEXT(ret_device->certificates[0], row->confirmed);
    ROW_TEXT(ret_device->certificates[1], row->certificate);
}

static bool is_final(int64_t state)
{
    return state == DEVICE_REVOKED || state == DEVICE_RETIRED;
}

/* Those that are good: of a newer one that was used already, the one before is retired. */
static enum err add_certificates(struct broker_feed *feed, const struct feed_device *device,
                                 struct device_record *record)
{
    for (size_t i = 0; i < ARRAY_LEN(device->certificates); i++) {
        struct certificate_row row = {0};
        ROW_TEXT(row.serial, device->certificates[i]);
        if (row.serial[0] == '\0' || (i > 0 && strcmp(row.serial, device->certificates[0]) == 0))
            continue;
        arena_reset(feed->scratch);
        enum err err = store_get(feed->reader, &table_certificate, feed->scratch, &row);
        if (err != ERR_NONE)
            return err == ERR_NOT_FOUND ? ERR_INTERNAL : err;
        if (row.status != CERTIFICATE_ISSUED && row.status != CERTIFICATE_ACTIVE)
            continue;
        struct device_certificate *c = &record->certificates[record->certificates_len++];
        memcpy(c->sha256, row.certificate_sha256.bytes, sizeof c->sha256);
        c->not_after = row.not_after;
    }
    return ERR_NONE;
}

static struct device_password password_of(struct slice salt, int64_t iterations,
                                          const struct hash *key, int64_t until)
{
    struct device_password password = {.present = false};
    if (until <= clock_seconds() || salt.len != DEVICE_SALT_SIZE || iterations <= 0 ||
        iterations > DEVICE_ITERATIONS_MAX)
        return password; /* what is not understood admits nobody */
    password.present = true;
    password.iterations = (uint32_t)iterations;
    password.until = until;
    memcpy(password.salt, salt.data, DEVICE_SALT_SIZE);
    memcpy(password.stored_key, key->bytes, SHA256_SIZE);
    return password;
}

static void add_passwords(const struct device_password_row *row, struct device_record *record)
{
    record->password = password_of(row->salt, row->iterations, &row->stored_key, row->expires_at);
    if (record->password.present)
        record->previous = password_of(row->previous_salt, row->previous_iterations,
                                       &row->previous_key, row->previous_until);
}

enum err feed_password(struct broker_feed *feed, const char *tenant, const char *device,
                       struct arena *arena, struct device_password_row *ret_password)
{
    struct device_password_row row = {0};
    ROW_TEXT(row.tenant, tenant);
    ROW_TEXT(row.device, device);
    enum err err = store_get(feed->reader, &table_device_password, arena, &row);
    if (err == ERR_NONE)
        *ret_password = row;
    return err;
}

enum err feed_add(struct broker_feed *feed, struct broker_ask *ask,
                  const struct feed_device *device, const struct device_password_row *password)
{
    if (device->state < 0 || device->state >= DEVICE_STATE_COUNT)
        return ERR_INTERNAL;
    struct device_record record = {
        .tenant = slice_of_text(ask->tenant),
        .device = slice_of_text(device->id),
        .model = slice_of_text(device->model),
        .group = slice_of_text(device->group),
        .state = (enum device_state)device->state,
        .cut = is_final(device->state) || device->state == DEVICE_QUARANTINED,
    };
    if (password != NULL && !is_final(device->state))
        add_passwords(password, &record);
    enum err err = is_final(device->state) ? ERR_NONE : add_certificates(feed, device, &record);
    if (err != ERR_NONE)
        return err;
    device_record_write(&ask->records, &record);
    if (ask->records.err == ERR_NONE)
        ask->count++;
    return ask->records.err;
}

enum err feed_begin(struct broker_ask *ask, size_t records)
{
    ask->records = arena_writer(ask->arena, FEED_HEAD + records * DEVICE_RECORD_MAX);
    ask->count = 0;
    (void)writer_reserve(&ask->records, FEED_HEAD);
    return ask->records.err;
}

void feed_end(struct broker_ask *ask, enum err err)
{
    uint8_t nothing[FEED_HEAD];
    struct writer head = writer_over(nothing, sizeof nothing);
    device_feed_write_head(&head, ask->at, ask->rules_now, ask->count);
    if (err == ERR_NONE && ask->count == 0)
        err = arena_copy(ask->arena, writer_bytes(&head), &ask->page);
    if (err == ERR_NONE && ask->count > 0) {
        memcpy(ask->records.start, nothing, FEED_HEAD);
        ask->page = writer_bytes(&ask->records);
    }
    ask->then(ask, err == ERR_NONE ? head.err : err);
}
