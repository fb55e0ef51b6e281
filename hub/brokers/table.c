/* The table of all devices that a broker may have to admit, page by page. Most devices of a fleet
 * that was only just made are expected and have nothing to show: these are passed over, a chunk in
 * each turn of the loop, until the page is full. */
#include <stdio.h>
#include <string.h>

#include "hub/brokers/internal.h"
#include "hub/policy/policies.h"

#define ROW_TEXT(field, text) ((void)snprintf((field), sizeof(field), "%s", (text)))

struct chunk {
    struct arena *scratch;
    struct feed_device devices[FEED_TABLE_CHUNK];
    size_t devices_len;
    struct device_password_row passwords[FEED_TABLE_CHUNK]; /* in the order of the devices */
    uint8_t salts[FEED_TABLE_CHUNK][2][DEVICE_SALT_SIZE];   /* of the password, of the one before */
    size_t passwords_len;
};

static enum err take_device(void *ctx, const void *bytes)
{
    struct chunk *c = ctx;
    feed_device_of(bytes, &c->devices[c->devices_len++]);
    arena_reset(c->scratch);
    return ERR_NONE;
}

static struct slice keep_salt(struct slice salt, uint8_t kept[DEVICE_SALT_SIZE])
{
    if (salt.len != DEVICE_SALT_SIZE)
        return slice_of(NULL, 0);
    memcpy(kept, salt.data, DEVICE_SALT_SIZE);
    return slice_of(kept, DEVICE_SALT_SIZE);
}

static enum err take_password(void *ctx, const void *bytes)
{
    struct chunk *c = ctx;
    const struct device_password_row *row = bytes;
    struct device_password_row *held = &c->passwords[c->passwords_len];
    *held = *row;
    held->salt = keep_salt(row->salt, c->salts[c->passwords_len][0]);
    held->previous_salt = keep_salt(row->previous_salt, c->salts[c->passwords_len][1]);
    c->passwords_len++;
    arena_reset(c->scratch);
    return ERR_NONE;
}

static enum err read_devices(struct broker_ask *ask, struct chunk *c)
{
    struct device_row after = {0};
    ROW_TEXT(after.tenant, ask->tenant);
    ROW_TEXT(after.id, ask->after_device);
    const struct store_filter tenant = {.column = "tenant", .text = slice_of_text(ask->tenant)};
    const struct store_query query = {
        .table = &table_device,
        .filters = &tenant,
        .filters_len = 1,
        .after = &after,
        .limit = FEED_TABLE_CHUNK,
    };
    arena_reset(c->scratch);
    return store_list(ask->feed->reader, &query, c->scratch, take_device, c);
}

/* Few devices have one: so those of the whole chunk are looked for at once. */
static enum err read_passwords(struct broker_ask *ask, struct chunk *c)
{
    struct device_password_row after = {0}, until = {0};
    ROW_TEXT(after.tenant, ask->tenant);
    ROW_TEXT(after.device, ask->after_device);
    ROW_TEXT(until.tenant, ask->tenant);
    ROW_TEXT(until.device, c->devices[c->devices_len - 1].id);
    const struct store_query query = {
        .table = &table_device_password,
        .after = &after,
        .until = &until,
        .limit = FEED_TABLE_CHUNK,
    };
    arena_reset(c->scratch);
    return store_list(ask->feed->reader, &query, c->scratch, take_password, c);
}

static const struct device_password_row *password_of(const struct chunk *c, const char *device)
{
    for (size_t i = 0; i < c->passwords_len; i++)
        if (strcmp(c->passwords[i].device, device) == 0)
            return &c->passwords[i];
    return NULL;
}

static bool is_told(const struct feed_device *device, const struct device_password_row *password)
{
    return password != NULL || device->certificates[1][0] != '\0' ||
           (device->state != DEVICE_EXPECTED && device->state != DEVICE_ENROLLED &&
            device->state != DEVICE_TRUSTED);
}

static enum err add_chunk(struct broker_ask *ask, struct chunk *c)
{
    for (size_t i = 0; i < c->devices_len && ask->count < ask->limit; i++) {
        const struct feed_device *device = &c->devices[i];
        const struct device_password_row *password = password_of(c, device->id);
        ROW_TEXT(ask->after_device, device->id);
        if (!is_told(device, password))
            continue;
        enum err err = feed_add(ask->feed, ask, device, password);
        if (err != ERR_NONE)
            return err;
    }
    return ERR_NONE;
}

static enum err read_chunk(struct broker_ask *ask, struct chunk *c)
{
    enum err err = read_devices(ask, c);
    if (err == ERR_NONE && c->devices_len > 0)
        err = read_passwords(ask, c);
    return err != ERR_NONE ? err : add_chunk(ask, c);
}

static void walk(struct loop_task *task)
{
    struct broker_ask *ask = CONTAINER_OF(task, struct broker_ask, task);
    static _Thread_local struct chunk chunk; /* of the loop's thread; for the time of a call */
    chunk.scratch = ask->feed->scratch;
    chunk.devices_len = chunk.passwords_len = 0;
    enum err err = read_chunk(ask, &chunk);
    if (err != ERR_NONE || chunk.devices_len < FEED_TABLE_CHUNK || ask->count >= ask->limit)
        feed_end(ask, err);
    else
        loop_post(ask->feed->loop, &ask->task);
}

void broker_table(struct broker_feed *feed, struct broker_ask *ask)
{
    ask->feed = feed;
    ask->task.run = walk;
    /* Before the first row is read: whatever changes from here on is told as a change. */
    ask->at = ledger_head(feed->brokers->ledger).size;
    enum err err = policies_number(feed->reader, feed->scratch, &ask->rules_now);
    if (err == ERR_NONE)
        err = feed_begin(ask, ask->limit);
    if (err != ERR_NONE)
        feed_end(ask, err);
    else
        walk(&ask->task);
}
