/* The hubs over one database: which issuing authorities and ledger keys are the fleet's. The rows
 * are few and numbered, so each decision reads all of them by their keys. */
#include <string.h>

#include "hub/identity/internal.h"

#define FIRST_NAME "hub-1"

struct hubs {
    struct hub_row rows[HUBS_MAX];
    size_t n, joined;
};

static void hub_reads(const struct write *w, struct keyset *keys)
{
    (void)w;
    for (int64_t id = 1; id <= HUBS_MAX; id++) {
        const struct hub_row row = {.id = id};
        keyset_add(keys, &table_hub, &row);
    }
    bundle_row_reads(keys);
}

static enum err load(struct tx *tx, struct hubs *hubs)
{
    hubs->n = hubs->joined = 0;
    while (hubs->n < HUBS_MAX) {
        struct hub_row *row = &hubs->rows[hubs->n];
        *row = (struct hub_row){.id = (int64_t)hubs->n + 1};
        enum err err = tx_get(tx, &table_hub, row);
        if (err == ERR_NOT_FOUND)
            return ERR_NONE;
        if (err != ERR_NONE)
            return err;
        hubs->n++;
        hubs->joined += row->status == HUB_JOINED ? 1 : 0;
    }
    return ERR_NONE;
}

static enum err entry(struct hub_act *h, struct tx *tx, const char *verb)
{
    uint8_t bytes[1024];
    struct writer out = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&out);
    json_open_object(&j);
    if (h->change == HUB_REMOVE) {
        json_field_text(&j, "reason", h->hub.reason);
    } else {
        json_field_hex(&j, "issuing_sha256", slice_of(h->hub.issuing_sha256.bytes, SHA256_SIZE));
        json_field_text(&j, "ledger_key", h->hub.ledger_key);
        json_field_text(&j, "policy_key", h->hub.policy_key);
    }
    json_close_object(&j);
    if (out.err != ERR_NONE)
        return out.err;
    return act_append(&h->act, tx, verb, "hub", h->hub.name, writer_bytes(&out));
}

/* ---- joining ---- */

static bool is_named(const struct note_key *keys, size_t n, const char *key)
{
    for (size_t i = 0; i < n; i++) {
        char text[NOTE_KEY_TEXT_MAX + 1];
        struct writer w = writer_over(text, sizeof text - 1);
        note_key_write(&w, &keys[i]);
        if (w.err == ERR_NONE && slice_equal(writer_bytes(&w), slice_of_text(key)))
            return true;
    }
    return false;
}

/* Devices must know the key before the first checkpoint that it signs, and brokers before the first
 * rules: so the owner's bundle comes first. */
static enum err check_bundle(struct hub_act *h, struct tx *tx)
{
    struct problem *p = &h->act.write.problem;
    struct trust_bundle bundle;
    uint8_t *storage = arena_alloc(h->act.write.arena, BUNDLE_STORAGE);
    if (storage == NULL)
        return ERR_NO_MEMORY;
    enum err err = bundle_row_get(tx, storage, &bundle);
    if (err == ERR_NOT_FOUND)
        return problem_set(p, 409, "hub-key-not-in-bundle", "ledger_key",
                           "no trust bundle is served yet; `holdfast ca bundle --install` does it");
    if (err != ERR_NONE)
        return err;
    if (!note_key_equal(&bundle.bundle_key, &h->bundle_key))
        return problem_set(p, 403, "hub-card-refused", "",
                           "the card is not signed with the bundle key of this fleet");
    bool ledger = is_named(bundle.ledger_keys, bundle.ledger_keys_len, h->hub.ledger_key);
    if (ledger && is_named(bundle.policy_keys, bundle.policy_keys_len, h->hub.policy_key))
        return ERR_NONE;
    return problem_set(p, 409, "hub-key-not-in-bundle", ledger ? "policy_key" : "ledger_key",
                       "the trust bundle that is served does not name its %s key; install the "
                       "one that `holdfast ca certify` made: `holdfast ca bundle --install --from "
                       "STATE/bundle`",
                       ledger ? "policy" : "ledger");
}

static enum err check_new(struct hub_act *h, const struct hubs *hubs)
{
    struct problem *p = &h->act.write.problem;
    for (size_t i = 0; i < hubs->n; i++) {
        const struct hub_row *row = &hubs->rows[i];
        if (strcmp(row->name, h->hub.name) == 0)
            return problem_set(p, 409, "hub-exists", "name",
                               "there is or was a hub '%s'; names are not given twice", row->name);
        if (strcmp(row->ledger_key, h->hub.ledger_key) == 0 ||
            memcmp(row->issuing_sha256.bytes, h->hub.issuing_sha256.bytes, SHA256_SIZE) == 0)
            return problem_set(p, 409, "hub-key-in-use", "ledger_key",
                               "these keys are the hub '%s''s; each hub makes its own", row->name);
    }
    if (hubs->joined >= HUBS_JOINED_MAX || hubs->n >= HUBS_MAX)
        return problem_set(p, 409, "hubs-full", "",
                           "a fleet has at most %d hubs at a time, and %d names in all",
                           HUBS_JOINED_MAX, HUBS_MAX);
    return ERR_NONE;
}

static enum err join(struct hub_act *h, struct tx *tx, const struct hubs *hubs)
{
    enum err err = check_new(h, hubs);
    if (err == ERR_NONE && h->change == HUB_ADMIT)
        err = check_bundle(h, tx);
    if (err != ERR_NONE)
        return err;
    h->hub.id = (int64_t)hubs->n + 1;
    h->hub.status = HUB_JOINED;
    h->hub.joined_at = tx_now_ms(tx) / 1000;
    err = tx_insert(tx, &table_hub, &h->hub);
    return err != ERR_NONE ? err : entry(h, tx, "hub.join");
}

static enum err found(struct hub_act *h, struct tx *tx, const struct hubs *hubs)
{
    if (hubs->n > 0)
        return problem_set(&h->act.write.problem, 409, "hub-exists", "",
                           "another hub, '%s', was first", hubs->rows[0].name);
    ROW_TEXT(h->hub.name, FIRST_NAME);
    return join(h, tx, hubs);
}

/* ---- certified anew, and leaving ---- */

static enum err certify(struct hub_act *h, struct tx *tx, const struct hubs *hubs)
{
    if (h->hub.id < 1 || (uint64_t)h->hub.id > hubs->n)
        return ERR_INTERNAL;
    struct hub_row row = hubs->rows[h->hub.id - 1];
    if (row.status != HUB_JOINED)
        return problem_set(&h->act.write.problem, 409, "hub-left", "name", "'%s' has left",
                           row.name);
    row.issuing_sha256 = h->hub.issuing_sha256;
    row.chain = h->hub.chain;
    h->hub = row;
    enum err err = tx_update(tx, &table_hub, &h->hub);
    return err != ERR_NONE ? err : entry(h, tx, "hub.certify");
}

static enum err leave(struct hub_act *h, struct tx *tx, const struct hubs *hubs)
{
    struct problem *p = &h->act.write.problem;
    size_t i = 0;
    while (i < hubs->n && strcmp(hubs->rows[i].name, h->hub.name) != 0)
        i++;
    if (i == hubs->n)
        return problem_set(p, 404, "hub-not-found", "hub", "there is no hub '%s'", h->hub.name);
    struct hub_row row = hubs->rows[i];
    if (row.status != HUB_JOINED)
        return problem_set(p, 409, "hub-left", "hub", "'%s' has left already", row.name);
    if (row.id == h->own)
        return problem_set(p, 409, "hub-is-own", "hub",
                           "'%s' is the hub that is asked; remove it on another one", row.name);
    row.status = HUB_LEFT;
    row.left_at = tx_now_ms(tx) / 1000;
    ROW_TEXT(row.reason, h->hub.reason);
    h->hub = row;
    enum err err = tx_update(tx, &table_hub, &h->hub);
    return err != ERR_NONE ? err : entry(h, tx, "hub.leave");
}

static enum err hub_apply(struct write *w, struct tx *tx)
{
    struct hub_act *h = (struct hub_act *)(void *)act_of(w);
    struct hubs *hubs = arena_alloc(w->arena, sizeof *hubs);
    enum err err = hubs == NULL ? ERR_NO_MEMORY : load(tx, hubs);
    if (err != ERR_NONE)
        return err;
    switch (h->change) {
    case HUB_FOUND:
        return found(h, tx, hubs);
    case HUB_ADMIT:
        return join(h, tx, hubs);
    case HUB_CERTIFY:
        return certify(h, tx, hubs);
    case HUB_REMOVE:
        return leave(h, tx, hubs);
    }
    return ERR_INTERNAL;
}

static const struct write_kind hub_kind = {
    .name = "hub",
    .lane = STORE_LANE_PRIORITY,
    .reads = hub_reads,
    .apply = hub_apply,
    .done = act_done,
};

void identity_change_hub(struct identity *identity, const struct act_origin *origin,
                         struct hub_act *h)
{
    act_init(&h->act, &hub_kind, identity->ledger, origin);
    act_submit(&h->act, identity->store);
}

/* ---- reading ---- */

struct listing {
    struct hub_row *rows;
    struct arena *arena;
    size_t n;
};

static enum err take_row(void *ctx, const void *row)
{
    struct listing *l = ctx;
    struct hub_row *to = &l->rows[l->n++];
    *to = *(const struct hub_row *)row;
    return arena_copy(l->arena, to->chain, &to->chain);
}

enum err identity_hubs(struct store_reader *reader, struct arena *arena,
                       struct hub_row ret_hubs[HUBS_MAX], size_t *ret_n)
{
    struct listing listing = {.rows = ret_hubs, .arena = arena};
    const struct store_query all = {.table = &table_hub, .limit = HUBS_MAX};
    enum err err = store_list(reader, &all, arena, take_row, &listing);
    if (err == ERR_NONE)
        *ret_n = listing.n;
    return err;
}
