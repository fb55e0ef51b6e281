/* The trust bundle that is served: signed off the hub, checked here against the one before it, so
 * that not even the hub can make devices follow another. */
#include "base/crypto.h"
#include "hub/identity/internal.h"

static struct setting_row bundle_row(void)
{
    return (struct setting_row){.name = "trust-bundle"};
}

void bundle_row_reads(struct keyset *keys)
{
    const struct setting_row row = bundle_row();
    keyset_add(keys, &table_setting, &row);
}

static enum err read_held(struct slice note, uint8_t *storage, struct trust_bundle *ret_bundle)
{
    enum err err = trust_bundle_read(note, NULL, crypto_sha256, crypto_ed25519_verify, storage,
                                     BUNDLE_STORAGE, ret_bundle);
    return err == ERR_NONE ? err : ERR_INTERNAL;
}

enum err bundle_row_get(struct tx *tx, uint8_t storage[BUNDLE_STORAGE],
                        struct trust_bundle *ret_bundle)
{
    struct setting_row row = bundle_row();
    enum err err = tx_get(tx, &table_setting, &row);
    return err == ERR_NONE ? read_held(row.value, storage, ret_bundle) : err;
}

static void bundle_reads(const struct write *w, struct keyset *keys)
{
    (void)w;
    bundle_row_reads(keys);
}

static enum err bundle_refuse(struct problem *p, enum err err)
{
    switch (err) {
    case ERR_CONFLICT:
        return problem_set(p, 409, "trust-bundle-not-newer", "version",
                           "the bundle that is served is as new or newer; there is no way back");
    case ERR_BAD_SIGNATURE:
    case ERR_NOT_FOUND:
        return problem_set(p, 403, "trust-bundle-refused", "",
                           "not signed with the bundle key of the one that is served");
    default:
        return problem_set(p, 400, "trust-bundle-malformed", "body", "not a trust bundle (%s)",
                           err_text(err));
    }
}

/* Reads `note` as what follows `held` (which may be empty: then it is the first). */
static enum err bundle_check(struct bundle_act *b, struct slice held, struct arena *arena)
{
    struct problem *p = &b->act.write.problem;
    struct trust_bundle before, after;
    uint8_t *storage = arena_alloc(arena, 2 * BUNDLE_STORAGE);
    if (storage == NULL)
        return ERR_NO_MEMORY;
    if (held.len > 0) {
        enum err err = read_held(held, storage, &before);
        if (err != ERR_NONE)
            return err;
    }
    enum err err =
        trust_bundle_read(b->note, held.len > 0 ? &before : NULL, crypto_sha256,
                          crypto_ed25519_verify, storage + BUNDLE_STORAGE, BUNDLE_STORAGE, &after);
    if (err != ERR_NONE)
        return bundle_refuse(p, err);
    if (!slice_equal(slice_of_text(after.fleet), slice_of_text(b->fleet)))
        return problem_set(p, 403, "trust-bundle-refused", "fleet", "it is for the fleet '%s'",
                           after.fleet);
    b->version = after.version;
    return ERR_NONE;
}

static enum err bundle_entry(struct bundle_act *b, struct tx *tx)
{
    uint8_t hash[SHA256_SIZE];
    crypto_sha256_one(b->note, hash);
    uint8_t bytes[256];
    struct writer out = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&out);
    json_open_object(&j);
    json_field_integer(&j, "version", (int64_t)b->version);
    json_field_hex(&j, "sha256", slice_of(hash, sizeof hash));
    json_close_object(&j);
    if (out.err != ERR_NONE)
        return out.err;
    return act_append(&b->act, tx, "trust-bundle.replace", "trust-bundle", b->fleet,
                      writer_bytes(&out));
}

static enum err bundle_apply(struct write *w, struct tx *tx)
{
    struct bundle_act *b = (struct bundle_act *)(void *)act_of(w);
    struct setting_row row = bundle_row();
    enum err err = tx_get(tx, &table_setting, &row);
    bool held = err == ERR_NONE;
    if (!held && err != ERR_NOT_FOUND)
        return err;
    err = bundle_check(b, held ? row.value : slice_of(NULL, 0), w->arena);
    if (err != ERR_NONE)
        return err;
    row.value = b->note;
    row.changed_at = tx_now_ms(tx) / 1000;
    err = held ? tx_update(tx, &table_setting, &row) : tx_insert(tx, &table_setting, &row);
    return err != ERR_NONE ? err : bundle_entry(b, tx);
}

static const struct write_kind bundle_kind = {
    .name = "trust-bundle.replace",
    .lane = STORE_LANE_NORMAL,
    .reads = bundle_reads,
    .apply = bundle_apply,
    .done = act_done,
};

void identity_replace_bundle(struct identity *identity, const struct act_origin *origin,
                             struct bundle_act *b)
{
    act_init(&b->act, &bundle_kind, identity->ledger, origin);
    act_submit(&b->act, identity->store);
}

enum err identity_bundle(struct store_reader *reader, struct arena *arena, struct slice *ret_note)
{
    struct setting_row row = bundle_row();
    enum err err = store_get(reader, &table_setting, arena, &row);
    if (err == ERR_NONE)
        *ret_note = row.value;
    return err;
}
