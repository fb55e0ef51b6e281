/* Factory manifests: the devices that are expected, and how each will prove itself the first time.
 */
#include <stdio.h>

#include "base/crypto.h"
#include "hub/identity/internal.h"

/* ---- a manifest of its own ---- */

static void create_reads(const struct write *w, struct keyset *keys)
{
    const struct manifest_act *m = (const struct manifest_act *)(const void *)w;
    keyset_add(keys, &table_manifest, &m->manifest);
    const struct model_row model = model_row_of(m->act.tenant, m->manifest.model);
    keyset_add(keys, &table_model, &model);
    subjects_reads(m->subjects, keys, m->act.tenant, m->owner);
}

enum err manifest_make(struct subjects *subjects, struct act *act, struct tx *tx, const char *owner,
                       struct manifest_row *manifest)
{
    struct problem *problem = &act->write.problem;
    struct model_row model = model_row_of(act->tenant, manifest->model);
    enum err err = tx_get(tx, &table_model, &model);
    if (err == ERR_NOT_FOUND)
        return problem_set(problem, 404, "model-not-found", "model",
                           "there is no model '%s'; create it first", manifest->model);
    if (err != ERR_NONE)
        return err;
    if (!model.in_use) {
        model.in_use = 1;
        err = tx_update(tx, &table_model, &model);
        if (err != ERR_NONE)
            return err;
    }
    err = subjects_named(subjects, act, tx, owner, manifest->owner);
    if (err != ERR_NONE)
        return err;
    manifest->devices = 0;
    manifest->created_at = manifest->changed_at = tx_now_ms(tx) / 1000;
    err = tx_insert(tx, &table_manifest, manifest);
    if (err == ERR_EXISTS)
        return problem_set(problem, 409, "manifest-exists", "id",
                           "there is a manifest '%s' already", manifest->id);
    if (err != ERR_NONE)
        return err;

    uint8_t bytes[512];
    struct writer out = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&out);
    json_open_object(&j);
    json_field_text(&j, "model", manifest->model);
    json_field_text(&j, "owner", manifest->owner);
    json_close_object(&j);
    if (out.err != ERR_NONE)
        return out.err;
    return act_append(act, tx, "manifest.create", "manifest", manifest->id, writer_bytes(&out));
}

static enum err create_apply(struct write *w, struct tx *tx)
{
    struct manifest_act *m = (struct manifest_act *)(void *)act_of(w);
    return manifest_make(m->subjects, &m->act, tx, m->owner, &m->manifest);
}

static const struct write_kind create_kind = {
    .name = "manifest.create",
    .lane = STORE_LANE_NORMAL,
    .reads = create_reads,
    .apply = create_apply,
    .done = act_done,
};

void identity_create_manifest(struct identity *identity, const struct act_origin *origin,
                              struct manifest_act *m)
{
    act_init(&m->act, &create_kind, identity->ledger, origin);
    m->subjects = identity->subjects;
    ROW_TEXT(m->manifest.tenant, m->act.tenant);
    act_submit(&m->act, identity->store);
}

/* ---- devices into a manifest ---- */

/* The key that a line pins, or NULL: a claim pins none. */
static const struct hash *line_key(const struct manifest_line *line)
{
    if (line->credential == CREDENTIAL_KEY)
        return &line->credential_hash;
    if (line->credential == CREDENTIAL_IDEVID)
        return &line->idevid_spki;
    return NULL;
}

static void devices_reads(const struct write *w, struct keyset *keys)
{
    const struct manifest_devices_act *m = (const struct manifest_devices_act *)(const void *)w;
    const struct manifest_row manifest = manifest_row_of(m->act.tenant, m->manifest);
    keyset_add(keys, &table_manifest, &manifest);
    for (size_t i = 0; i < m->lines_len; i++) {
        const struct hash *key = line_key(&m->lines[i]);
        if (key == NULL)
            continue;
        const struct device_key_row pinned = {.spki_sha256 = *key};
        keyset_add(keys, &table_device_key, &pinned);
    }
}

static enum err devices_refuse(struct write *w, size_t line, const char *code, const char *name,
                               const char *detail)
{
    char field[64];
    (void)snprintf(field, sizeof field, "rows[%zu].%s", line, name);
    return problem_set(&w->problem, 409, code, field, "%s", detail);
}

static enum err devices_insert(struct act *act, struct tx *tx, const struct manifest_row *manifest,
                               const struct model_row *model, const struct manifest_line *lines,
                               size_t at)
{
    struct write *w = &act->write;
    const struct manifest_line *line = &lines[at];
    int64_t now = tx_now_ms(tx) / 1000;
    struct device_row device = device_row_of(act->tenant, line->serial);
    ROW_TEXT(device.model, model->id);
    ROW_TEXT(device.maker, model->maker);
    ROW_TEXT(device.owner, manifest->owner);
    ROW_TEXT(device.manifest, manifest->id);
    device.state = DEVICE_EXPECTED;
    device.credential = line->credential;
    device.credential_hash = line->credential_hash;
    device.claim_expires_at = line->claim_expires_at;
    device.created_at = device.changed_at = now;
    enum err err = tx_insert(tx, &table_device, &device);
    if (err == ERR_EXISTS)
        return devices_refuse(w, at, "device-exists", "serial",
                              "a device with this serial number is known already");
    const struct hash *key = line_key(line);
    if (err != ERR_NONE || key == NULL)
        return err;

    struct device_key_row pinned = {.spki_sha256 = *key};
    ROW_TEXT(pinned.tenant, act->tenant);
    ROW_TEXT(pinned.device, line->serial);
    err = tx_insert(tx, &table_device_key, &pinned);
    if (err == ERR_EXISTS)
        return devices_refuse(w, at, "key-in-use", "key",
                              "this key belongs to a device already: each device needs its own");
    return err;
}

/* One entry for the chunk: how many, and a digest over what each line said, so that the manifest
 * file can be held against the ledger. */
static enum err devices_entry(struct act *act, struct tx *tx, const char *manifest,
                              const struct manifest_line *lines, size_t n)
{
    struct hash digest = {{0}};
    for (size_t i = 0; i < n; i++) {
        const struct manifest_line *line = &lines[i];
        const struct slice parts[] = {
            slice_of(digest.bytes, sizeof digest.bytes),
            slice_of_text(line->serial),
            SLICE_LITERAL("\n"),
            slice_of(line->credential_hash.bytes, sizeof line->credential_hash.bytes),
        };
        crypto_sha256(parts, ARRAY_LEN(parts), digest.bytes);
    }
    uint8_t bytes[512];
    struct writer out = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&out);
    json_open_object(&j);
    json_field_integer(&j, "devices", (int64_t)n);
    json_field_text(&j, "first", lines[0].serial);
    json_field_text(&j, "last", lines[n - 1].serial);
    json_field_hex(&j, "digest", slice_of(digest.bytes, sizeof digest.bytes));
    json_close_object(&j);
    if (out.err != ERR_NONE)
        return out.err;
    return act_append(act, tx, "manifest.import", "manifest", manifest, writer_bytes(&out));
}

enum err manifest_take(struct act *act, struct tx *tx, const char *id,
                       const struct manifest_line *lines, size_t n)
{
    struct manifest_row manifest = manifest_row_of(act->tenant, id);
    enum err err = tx_get(tx, &table_manifest, &manifest);
    if (err == ERR_NOT_FOUND)
        return problem_set(&act->write.problem, 404, "manifest-not-found", "manifest",
                           "there is no manifest '%s'; create it first", id);
    if (err != ERR_NONE)
        return err;
    struct model_row model = model_row_of(act->tenant, manifest.model);
    err = tx_get(tx, &table_model, &model);
    if (err != ERR_NONE)
        return err == ERR_NOT_FOUND ? ERR_INTERNAL : err;

    for (size_t i = 0; i < n; i++) {
        err = devices_insert(act, tx, &manifest, &model, lines, i);
        if (err != ERR_NONE)
            return err;
    }
    manifest.devices += (int64_t)n;
    manifest.changed_at = tx_now_ms(tx) / 1000;
    err = tx_update(tx, &table_manifest, &manifest);
    return err != ERR_NONE ? err : devices_entry(act, tx, id, lines, n);
}

static enum err devices_apply(struct write *w, struct tx *tx)
{
    struct manifest_devices_act *m = (struct manifest_devices_act *)(void *)act_of(w);
    return manifest_take(&m->act, tx, m->manifest, m->lines, m->lines_len);
}

static const struct write_kind devices_kind = {
    .name = "manifest.import",
    .lane = STORE_LANE_BULK,
    .reads = devices_reads,
    .apply = devices_apply,
    .done = act_done,
};

void identity_add_devices(struct identity *identity, const struct act_origin *origin,
                          struct manifest_devices_act *m)
{
    act_init(&m->act, &devices_kind, identity->ledger, origin);
    for (size_t i = 0; i < m->lines_len; i++) {
        struct manifest_line *line = &m->lines[i];
        if (line->credential != CREDENTIAL_CLAIM)
            continue;
        enum err err = claim_make(line->claim_code, &line->credential_hash);
        if (err != ERR_NONE) {
            act_end(&m->act, err);
            return;
        }
    }
    if (m->lines_len == 0 || m->lines_len > IDENTITY_MANIFEST_CHUNK) {
        act_end(&m->act, ERR_LIMIT);
        return;
    }
    act_submit(&m->act, identity->store);
}

/* ---- a fresh claim code ---- */

static void claim_reads(const struct write *w, struct keyset *keys)
{
    const struct claim_act *c = (const struct claim_act *)(const void *)w;
    const struct device_row device = device_row_of(c->act.tenant, c->device);
    keyset_add(keys, &table_device, &device);
}

static enum err claim_apply(struct write *w, struct tx *tx)
{
    struct claim_act *c = (struct claim_act *)(void *)act_of(w);
    struct device_row device = device_row_of(c->act.tenant, c->device);
    enum err err = tx_get(tx, &table_device, &device);
    if (err == ERR_NOT_FOUND)
        return problem_set(&w->problem, 404, "device-not-found", "device",
                           "there is no device '%s'", c->device);
    if (err != ERR_NONE)
        return err;
    if (device.state != DEVICE_EXPECTED || device.credential != CREDENTIAL_CLAIM)
        return problem_set(&w->problem, 409, "device-not-expected", "device",
                           "'%s' is %s and proves itself by %s: a claim code is only for a device "
                           "that has yet to use one",
                           c->device, device_state_text(device.state),
                           credential_kind_text(device.credential));
    err = identity_claim_hash(slice_of_text(c->claim_code), &device.credential_hash);
    if (err != ERR_NONE)
        return ERR_INTERNAL;
    device.claim_expires_at = c->expires_at;
    device.changed_at = tx_now_ms(tx) / 1000;
    err = tx_update(tx, &table_device, &device);
    if (err != ERR_NONE)
        return err;

    uint8_t bytes[128];
    struct writer out = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&out);
    json_open_object(&j);
    json_field_time(&j, "expires_at", c->expires_at);
    json_close_object(&j);
    if (out.err != ERR_NONE)
        return out.err;
    return act_append(&c->act, tx, "device.claim", "device", c->device, writer_bytes(&out));
}

static const struct write_kind claim_kind = {
    .name = "device.claim",
    .lane = STORE_LANE_NORMAL,
    .reads = claim_reads,
    .apply = claim_apply,
    .done = act_done,
};

void identity_renew_claim(struct identity *identity, const struct act_origin *origin,
                          struct claim_act *c)
{
    act_init(&c->act, &claim_kind, identity->ledger, origin);
    struct hash unused;
    enum err err = claim_make(c->claim_code, &unused);
    if (err != ERR_NONE) {
        act_end(&c->act, err);
        return;
    }
    act_submit(&c->act, identity->store);
}
