/* Devices that connected to a broker. That a device was there is an observation; the first time
 * that it comes to a broker with a certificate is an act. Which that was stands in a row, so that a
 * broker that says it again and again (it was set up anew, or is in other hands) makes no more
 * entries. */
#include <stdio.h>
#include <string.h>

#include "hub/brokers/internal.h"

#define ROW_TEXT(field, text) ((void)snprintf((field), sizeof(field), "%s", (text)))

static struct device_row device_of(const struct broker_connects_act *c, size_t i)
{
    struct device_row row = {0};
    ROW_TEXT(row.tenant, c->act.tenant);
    ROW_TEXT(row.id, c->connects[i].device);
    return row;
}

static struct device_seen_row seen_of(const struct broker_connects_act *c, size_t i)
{
    struct device_seen_row row = {0};
    ROW_TEXT(row.tenant, c->act.tenant);
    ROW_TEXT(row.device, c->connects[i].device);
    return row;
}

static struct broker_connect_row connect_of(const struct broker_connects_act *c, size_t i)
{
    struct broker_connect_row row = {0};
    ROW_TEXT(row.tenant, c->act.tenant);
    ROW_TEXT(row.broker, c->broker);
    ROW_TEXT(row.device, c->connects[i].device);
    return row;
}

static void connects_reads(const struct write *w, struct keyset *keys)
{
    const struct broker_connects_act *c = (const struct broker_connects_act *)(const void *)w;
    for (size_t i = 0; i < c->connects_len; i++) {
        const struct device_row device = device_of(c, i);
        const struct device_seen_row seen = seen_of(c, i);
        const struct broker_connect_row held = connect_of(c, i);
        keyset_add(keys, &table_device, &device);
        keyset_add(keys, &table_device_seen, &seen);
        if (c->connects[i].first)
            keyset_add(keys, &table_broker_connect, &held);
        if (c->connects[i].salt.len > 0)
            identity_password_reads(keys, c->act.tenant, c->connects[i].device);
    }
}

static enum err note_seen(struct broker_connects_act *c, struct tx *tx, size_t i, int64_t at)
{
    struct device_seen_row row = seen_of(c, i);
    enum err err = tx_get(tx, &table_device_seen, &row);
    if (err == ERR_NOT_FOUND) {
        row.seen_at = at;
        return tx_insert(tx, &table_device_seen, &row);
    }
    if (err != ERR_NONE || row.seen_at >= at)
        return err;
    row.seen_at = at;
    return tx_update(tx, &table_device_seen, &row);
}

static enum err note_first(struct broker_connects_act *c, struct tx *tx, size_t i,
                           const struct device_row *device, int64_t at)
{
    struct broker_connect_row row = connect_of(c, i);
    enum err err = tx_get(tx, &table_broker_connect, &row);
    if (err != ERR_NONE && err != ERR_NOT_FOUND)
        return err;
    bool known = err == ERR_NONE;
    if (known && strcmp(row.certificate, device->certificate) == 0)
        return ERR_NONE;
    ROW_TEXT(row.certificate, device->certificate);
    row.connected_at = at;
    err = known ? tx_update(tx, &table_broker_connect, &row)
                : tx_insert(tx, &table_broker_connect, &row);
    if (err != ERR_NONE)
        return err;
    uint8_t bytes[512];
    struct writer out = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&out);
    json_open_object(&j);
    json_field_text(&j, "broker", c->broker);
    json_field_time(&j, "at", at);
    json_close_object(&j);
    if (out.err != ERR_NONE)
        return out.err;
    return act_append(&c->act, tx, "broker.connect", "device", device->id, writer_bytes(&out));
}

static enum err connects_apply(struct write *w, struct tx *tx)
{
    struct broker_connects_act *c = (struct broker_connects_act *)(void *)act_of(w);
    int64_t now = tx_now_ms(tx) / 1000;
    for (size_t i = 0; i < c->connects_len; i++) {
        struct device_row device = device_of(c, i);
        int64_t at = c->connects[i].at > now ? now : c->connects[i].at;
        enum err err = tx_get(tx, &table_device, &device);
        if (err == ERR_NOT_FOUND)
            continue; /* nobody that is known here */
        if (err == ERR_NONE)
            err = note_seen(c, tx, i, at);
        if (err == ERR_NONE && c->connects[i].first)
            err = note_first(c, tx, i, &device, at);
        if (err == ERR_NONE && c->connects[i].salt.len > 0)
            err = identity_password_used(&c->act, tx, device.id, c->connects[i].salt);
        if (err != ERR_NONE)
            return err;
    }
    return ERR_NONE;
}

static const struct write_kind connects_kind = {
    .name = "broker.connect",
    .lane = STORE_LANE_BULK,
    .reads = connects_reads,
    .apply = connects_apply,
    .done = act_done,
};

void brokers_connected(struct brokers *brokers, const struct act_origin *origin,
                       struct broker_connects_act *c)
{
    act_init(&c->act, &connects_kind, brokers->ledger, origin);
    if (c->connects_len > BROKER_REPORTED_MAX)
        act_end(&c->act, ERR_LIMIT);
    else
        act_submit(&c->act, brokers->store);
}
