/* Which brokers there are. */
#include "hub/brokers/internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/host.h"

#define ROW_TEXT(field, text) ((void)snprintf((field), sizeof(field), "%s", (text)))

enum err brokers_new(struct store *store, struct ledger *ledger, struct identity *identity,
                     struct brokers **ret_brokers)
{
    struct brokers *brokers = calloc(1, sizeof *brokers);
    if (brokers == NULL)
        return ERR_NO_MEMORY;
    brokers->store = store;
    brokers->ledger = ledger;
    brokers->identity = identity;
    (void)pthread_mutex_init(&brokers->lock, NULL);
    *ret_brokers = brokers;
    return ERR_NONE;
}

void brokers_free(struct brokers *brokers)
{
    if (brokers == NULL)
        return;
    (void)pthread_mutex_destroy(&brokers->lock);
    free(brokers);
}

/* ---- hosts ---- */

/* The next of "a b c"; false at the end. */
static bool next_host(struct reader *r, struct slice *ret_host)
{
    struct slice rest = slice_of(r->at, reader_left(r));
    size_t n = 0;
    while (n < rest.len && rest.data[n] != ' ')
        n++;
    *ret_host = reader_take(r, n);
    if (reader_left(r) > 0)
        reader_expect(r, SLICE_LITERAL(" "));
    return n > 0;
}

enum err broker_add_host(struct broker_row *broker, struct slice host)
{
    size_t n = 0;
    struct slice held;
    if (!host_is_sound(host) || host.len >= SERVER_NAME_SIZE)
        return ERR_SYNTAX;
    struct reader r = reader_over(slice_of_text(broker->hosts));
    for (; next_host(&r, &held); n++)
        if (host_is_same(held, host))
            return ERR_EXISTS;
    size_t len = slice_of_text(broker->hosts).len;
    if (n == BROKER_HOSTS)
        return ERR_LIMIT;
    struct writer w = writer_over(broker->hosts + len, sizeof broker->hosts - 1 - len);
    if (n > 0)
        writer_u8(&w, ' ');
    writer_put(&w, host);
    if (w.err == ERR_NONE)
        broker->hosts[len + w.len] = '\0';
    else
        broker->hosts[len] = '\0';
    return w.err;
}

static void write_hosts(struct json_writer *j, const char *hosts)
{
    struct slice host;
    struct reader r = reader_over(slice_of_text(hosts));
    json_key(j, "hosts");
    json_open_array(j);
    while (next_host(&r, &host))
        json_slice(j, host);
    json_close_array(j);
}

/* ---- adding and removing ---- */

static void change_reads(const struct write *w, struct keyset *keys)
{
    const struct broker_act *b = (const struct broker_act *)(const void *)w;
    keyset_add(keys, &table_broker, &b->broker);
    if (!b->removal)
        identity_broker_reads(b->brokers->identity, keys, b->act.tenant, b->broker.id);
}

static enum err add(struct broker_act *b, struct tx *tx)
{
    enum err err = identity_broker_expect(b->brokers->identity, &b->act, tx, b->broker.id,
                                          b->claim_code, b->claim_expires_at);
    if (err != ERR_NONE)
        return err;
    b->broker.status = BROKER_ADDED;
    b->broker.added_at = tx_now_ms(tx) / 1000;
    b->broker.removed_at = 0;
    err = tx_insert(tx, &table_broker, &b->broker);
    if (err != ERR_NONE) /* a row without a device: nothing makes one */
        return err == ERR_EXISTS ? ERR_INTERNAL : err;
    uint8_t bytes[BROKER_HOSTS_MAX + 256];
    struct writer out = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&out);
    json_open_object(&j);
    write_hosts(&j, b->broker.hosts);
    json_field_time(&j, "claim_expires_at", b->claim_expires_at);
    json_close_object(&j);
    if (out.err != ERR_NONE)
        return out.err;
    return act_append(&b->act, tx, "broker.add", "broker", b->broker.id, writer_bytes(&out));
}

static enum err take_away(struct broker_act *b, struct tx *tx)
{
    enum err err = tx_get(tx, &table_broker, &b->broker);
    if (err != ERR_NONE && err != ERR_NOT_FOUND)
        return err;
    if (err == ERR_NOT_FOUND || b->broker.status != BROKER_ADDED)
        return problem_set(&b->act.write.problem, 404, "broker-not-found", "broker",
                           "there is no broker '%s', or it was removed", b->broker.id);
    b->broker.status = BROKER_REMOVED;
    b->broker.removed_at = tx_now_ms(tx) / 1000;
    err = tx_update(tx, &table_broker, &b->broker);
    if (err != ERR_NONE)
        return err;
    return act_append(&b->act, tx, "broker.remove", "broker", b->broker.id, SLICE_LITERAL("{}"));
}

static enum err change_apply(struct write *w, struct tx *tx)
{
    struct broker_act *b = (struct broker_act *)(void *)act_of(w);
    return b->removal ? take_away(b, tx) : add(b, tx);
}

static const struct write_kind change_kind = {
    .name = "broker",
    .lane = STORE_LANE_NORMAL,
    .reads = change_reads,
    .apply = change_apply,
    .done = act_done,
};

void brokers_change(struct brokers *brokers, const struct act_origin *origin, struct broker_act *b)
{
    act_init(&b->act, &change_kind, brokers->ledger, origin);
    b->brokers = brokers;
    ROW_TEXT(b->broker.tenant, b->act.tenant);
    enum err err = b->removal ? ERR_NONE : identity_make_claim(b->claim_code);
    if (err != ERR_NONE) {
        act_end(&b->act, err);
        return;
    }
    act_submit(&b->act, brokers->store);
}

enum err brokers_check(struct store_reader *reader, struct arena *arena, const char *tenant,
                       const char *device, struct problem *problem)
{
    struct broker_row row = {0};
    ROW_TEXT(row.tenant, tenant);
    ROW_TEXT(row.id, device);
    enum err err = store_get(reader, &table_broker, arena, &row);
    if (err == ERR_NONE && row.status == BROKER_ADDED)
        return ERR_NONE;
    if (err != ERR_NONE && err != ERR_NOT_FOUND)
        return err;
    return problem_set(problem, 403, "broker-unknown", "",
                       "this is for brokers; `holdfast broker add` makes one");
}
