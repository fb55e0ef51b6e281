/* Passwords: what a device shows that can hold no certificate. Each is made here, of 128 random
 * bits, told once, and kept as SCRAM-SHA-256 has it (RFC 5802 section 3), so that whoever reads the
 * database has nothing that opens a session. */
#include <string.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "core/device_feed.h"
#include "hub/identity/internal.h"

#define USE_ARENA (64 * 1024)

struct device_password_row password_row_of(const char *tenant, const char *device)
{
    struct device_password_row row = {0};
    ROW_TEXT(row.tenant, tenant);
    ROW_TEXT(row.device, device);
    return row;
}

enum err password_end(struct tx *tx, const char *tenant, const char *device)
{
    struct device_password_row row = password_row_of(tenant, device);
    enum err err = tx_get(tx, &table_device_password, &row);
    if (err == ERR_NONE)
        err = tx_delete(tx, &table_device_password, &row);
    return err == ERR_NOT_FOUND ? ERR_NONE : err;
}

/* ---- a new one ---- */

static enum err make(struct password_act *p)
{
    uint8_t secret[IDENTITY_CLAIM_BYTES];
    uint8_t *salt = arena_alloc(p->act.write.arena, DEVICE_SALT_SIZE);
    if (salt == NULL)
        return ERR_NO_MEMORY;
    enum err err = crypto_random(secret, sizeof secret);
    if (err == ERR_NONE)
        err = crypto_random(salt, DEVICE_SALT_SIZE);
    if (err != ERR_NONE)
        return err;
    claim_encode(secret, p->password);
    mem_wipe(secret, sizeof secret);
    p->row.salt = slice_of(salt, DEVICE_SALT_SIZE);
    p->row.iterations = IDENTITY_PASSWORD_ITERATIONS;
    return crypto_scram_stored_key(slice_of_text(p->password), p->row.salt,
                                   IDENTITY_PASSWORD_ITERATIONS, p->row.stored_key.bytes);
}

static void password_reads(const struct write *w, struct keyset *keys)
{
    const struct password_act *p = (const struct password_act *)(const void *)w;
    const struct device_row device = device_row_of(p->act.tenant, p->device);
    keyset_add(keys, &table_device, &device);
    const struct device_password_row row = password_row_of(p->act.tenant, p->device);
    keyset_add(keys, &table_device_password, &row);
}

static enum err refuse(struct password_act *p, const char *why)
{
    return problem_set(&p->act.write.problem, 409, "password-not-possible", "device", "'%s' %s",
                       p->device, why);
}

/* A password beside a certificate would be a second, weaker door. */
static enum err check_certificate(struct password_act *p, struct tx *tx,
                                  const struct device_row *device)
{
    if (device->certificate[0] == '\0')
        return ERR_NONE;
    struct certificate_row newest = certificate_row_of(device->certificate);
    enum err err = tx_get(tx, &table_certificate, &newest);
    if (err != ERR_NONE)
        return err == ERR_NOT_FOUND ? ERR_INTERNAL : err;
    bool current = newest.status == CERTIFICATE_ISSUED || newest.status == CERTIFICATE_ACTIVE;
    if (!current || newest.not_after <= tx_now_ms(tx) / 1000)
        return ERR_NONE;
    return refuse(p, "has a certificate, which is the stronger kind");
}

static enum err check_device(struct password_act *p, struct tx *tx, const struct device_row *device)
{
    if (device->credential == CREDENTIAL_KEY || device->credential == CREDENTIAL_IDEVID)
        return refuse(p, "proves itself by a key, with which it can enrol");
    switch (device->state) {
    case DEVICE_EXPECTED:
    case DEVICE_ENROLLED:
    case DEVICE_TRUSTED:
        return check_certificate(p, tx, device);
    case DEVICE_QUARANTINED:
        /* What was touched is gone, and this is how it gets another secret. */
        return device->credential == CREDENTIAL_PASSWORD
                   ? ERR_NONE
                   : refuse(p, "is in quarantine; `holdfast device release` comes first");
    case DEVICE_REVOKED:
        return refuse(p, "is revoked, and that is final");
    case DEVICE_RETIRED:
        return refuse(p, "is retired, and that is final");
    default:
        return ERR_INTERNAL;
    }
}

static enum err password_entry(struct password_act *p, struct tx *tx, int64_t state)
{
    uint8_t bytes[256];
    struct writer out = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&out);
    json_open_object(&j);
    json_field_text(&j, "state", device_state_text(state));
    if (!p->removal)
        json_field_time(&j, "expires_at", p->expires_at);
    if (p->previous_until != 0)
        json_field_time(&j, "previous_until", p->previous_until);
    json_close_object(&j);
    if (out.err != ERR_NONE)
        return out.err;
    return act_append(&p->act, tx, p->removal ? "device.password-remove" : "device.password-make",
                      "device", p->device, writer_bytes(&out));
}

/* The one that the device has: the newest that it used. */
static void keep_previous(struct device_password_row *row, const struct device_password_row *old,
                          int64_t now)
{
    int64_t until = now + IDENTITY_PASSWORD_OVERLAP;
    row->previous_salt = old->used_at != 0 ? old->salt : old->previous_salt;
    row->previous_iterations = old->used_at != 0 ? old->iterations : old->previous_iterations;
    row->previous_key = old->used_at != 0 ? old->stored_key : old->previous_key;
    int64_t end = old->used_at != 0 ? old->expires_at : old->previous_until;
    row->previous_until = end < until ? end : until;
    if (row->previous_until > row->expires_at) /* brokers know none without its successor */
        row->previous_until = row->expires_at;
    if (row->previous_until > now)
        return;
    row->previous_salt = (struct slice){0};
    row->previous_iterations = 0;
    row->previous_key = (struct hash){0};
    row->previous_until = 0;
}

static enum err password_make(struct password_act *p, struct tx *tx, struct device_row *device)
{
    int64_t now = tx_now_ms(tx) / 1000;
    struct model_row model = model_row_of(p->act.tenant, device->model);
    struct device_password_row old = password_row_of(p->act.tenant, p->device);
    enum err err = check_device(p, tx, device);
    if (err == ERR_NONE)
        err = tx_get(tx, &table_model, &model);
    if (err != ERR_NONE)
        return err == ERR_NOT_FOUND ? ERR_INTERNAL : err;
    err = tx_get(tx, &table_device_password, &old);
    if (err != ERR_NONE && err != ERR_NOT_FOUND)
        return err;
    bool there = err == ERR_NONE;
    ROW_TEXT(p->row.tenant, p->act.tenant);
    ROW_TEXT(p->row.device, p->device);
    p->row.made_at = now;
    p->row.expires_at = p->expires_at = now + model.lifetime;
    keep_previous(&p->row, &old, now);
    p->previous_until = p->row.previous_until;
    err = there ? tx_update(tx, &table_device_password, &p->row)
                : tx_insert(tx, &table_device_password, &p->row);
    /* An expired certificate would be a way back to a stronger identity, and to two of them. */
    if (err == ERR_NONE && device->confirmed[0] != '\0')
        err = grace_close(tx, p->act.tenant, p->device, GRACE_CLOSED);
    if (err != ERR_NONE)
        return err;

    device->credential = CREDENTIAL_PASSWORD;
    device->credential_hash = (struct hash){0}; /* a claim code that is left over opens nothing */
    device->claim_expires_at = 0;
    device->claim_used_at = 0;
    device->changed_at = now;
    if (device->state == DEVICE_EXPECTED)
        device->state = DEVICE_ENROLLED;
    if (device->state == DEVICE_ENROLLED && model.proof == PROOF_MANIFEST)
        device->state = DEVICE_TRUSTED;
    if (device->state == DEVICE_TRUSTED)
        device->was_trusted = 1;
    return tx_update(tx, &table_device, device);
}

static enum err password_remove(struct password_act *p, struct tx *tx, struct device_row *device)
{
    struct device_password_row row = password_row_of(p->act.tenant, p->device);
    enum err err = tx_get(tx, &table_device_password, &row);
    if (err == ERR_NOT_FOUND)
        return problem_set(&p->act.write.problem, 404, "password-not-found", "device",
                           "'%s' has no password", p->device);
    if (err == ERR_NONE)
        err = tx_delete(tx, &table_device_password, &row);
    if (err != ERR_NONE)
        return err;
    /* There is nothing left that it could prove itself by: a new claim code, or a new password. */
    device->credential = CREDENTIAL_CLAIM;
    device->changed_at = tx_now_ms(tx) / 1000;
    if (device->state != DEVICE_QUARANTINED) {
        device->state = DEVICE_EXPECTED;
        device->was_trusted = 0;
    }
    return tx_update(tx, &table_device, device);
}

static enum err password_apply(struct write *w, struct tx *tx)
{
    struct password_act *p = (struct password_act *)(void *)act_of(w);
    struct device_row device = device_row_of(p->act.tenant, p->device);
    enum err err = tx_get(tx, &table_device, &device);
    if (err == ERR_NOT_FOUND)
        return problem_set(&w->problem, 404, "device-not-found", "device",
                           "there is no device '%s'", p->device);
    if (err == ERR_NONE)
        err = p->removal ? password_remove(p, tx, &device) : password_make(p, tx, &device);
    return err != ERR_NONE ? err : password_entry(p, tx, device.state);
}

static const struct write_kind password_kind = {
    .name = "device.password",
    .lane = STORE_LANE_NORMAL,
    .reads = password_reads,
    .apply = password_apply,
    .done = act_done,
};

void identity_change_password(struct identity *identity, const struct act_origin *origin,
                              struct password_act *p)
{
    act_init(&p->act, &password_kind, identity->ledger, origin);
    enum err err = p->removal ? ERR_NONE : make(p);
    if (err != ERR_NONE) {
        act_end(&p->act, err);
        return;
    }
    act_submit(&p->act, identity->store);
}

/* ---- its first use ---- */

struct first_use {
    struct act act;
    struct arena *arena;
    char device[NAME_MAX_BYTES + 1];
    uint8_t salt[DEVICE_SALT_SIZE]; /* of the one that was used */
};

void identity_password_reads(struct keyset *keys, const char *tenant, const char *device)
{
    const struct device_password_row row = password_row_of(tenant, device);
    keyset_add(keys, &table_device_password, &row);
}

enum err identity_password_used(struct act *act, struct tx *tx, const char *device,
                                struct slice salt)
{
    struct device_password_row row = password_row_of(act->tenant, device);
    enum err err = tx_get(tx, &table_device_password, &row);
    if (err == ERR_NOT_FOUND)
        return ERR_NONE; /* it was removed meanwhile */
    if (err != ERR_NONE)
        return err;
    if (row.used_at != 0 || !slice_equal(row.salt, salt))
        return ERR_NONE; /* noted by an earlier session, or replaced */
    row.used_at = tx_now_ms(tx) / 1000;
    row.previous_salt = (struct slice){0};
    row.previous_iterations = 0;
    row.previous_key = (struct hash){0};
    row.previous_until = 0;
    err = tx_update(tx, &table_device_password, &row);
    if (err != ERR_NONE)
        return err;
    return act_append(act, tx, "device.password-use", "device", device, SLICE_LITERAL("{}"));
}

static void use_reads(const struct write *w, struct keyset *keys)
{
    const struct first_use *u = (const struct first_use *)(const void *)w;
    identity_password_reads(keys, u->act.tenant, u->device);
}

static enum err use_apply(struct write *w, struct tx *tx)
{
    struct first_use *u = (struct first_use *)(void *)act_of(w);
    return identity_password_used(&u->act, tx, u->device, slice_of(u->salt, sizeof u->salt));
}

static const struct write_kind use_kind = {
    .name = "device.password-use",
    .lane = STORE_LANE_NORMAL,
    .reads = use_reads,
    .apply = use_apply,
    .done = act_done,
};

static void use_then(struct act *act)
{
    struct first_use *u = (struct first_use *)(void *)act;
    arena_free(u->arena); /* u stands in it */
}

/* Nobody waits for it, and where it fails the next session tries again. */
static void note_use(struct identity *identity, struct loop *loop,
                     const struct device_password_row *row)
{
    struct arena *arena = row->salt.len == DEVICE_SALT_SIZE ? arena_new(USE_ARENA) : NULL;
    struct first_use *u = arena == NULL ? NULL : arena_alloc(arena, sizeof *u);
    if (u == NULL) {
        arena_free(arena);
        return;
    }
    u->arena = arena;
    memcpy(u->salt, row->salt.data, DEVICE_SALT_SIZE);
    ROW_TEXT(u->device, row->device);
    char actor[LEDGER_ACTOR_MAX + 1] = "device:";
    identity_label(actor + sizeof "device:" - 1, row->tenant, row->device);
    const struct act_origin origin = {
        .loop = loop, .arena = arena, .tenant = row->tenant, .actor = actor, .then = use_then};
    act_init(&u->act, &use_kind, identity->ledger, &origin);
    act_submit(&u->act, identity->store);
}

/* ---- a session's ---- */

static enum err is_of(struct slice password, struct slice salt, int64_t iterations,
                      const struct hash *stored_key, bool *ret_is)
{
    struct hash shown;
    if (iterations <= 0 || iterations > UINT32_MAX)
        return ERR_INTERNAL;
    enum err err = crypto_scram_stored_key(password, salt, (uint32_t)iterations, shown.bytes);
    if (err == ERR_NONE)
        *ret_is = mem_equal_constant_time(shown.bytes, stored_key->bytes, SHA256_SIZE);
    return err;
}

enum err identity_check_password(struct identity *identity, struct store_reader *reader,
                                 struct loop *loop, struct arena *arena,
                                 const struct device_row *device, struct slice password,
                                 int64_t *ret_until)
{
    int64_t now = clock_seconds();
    bool is = false;
    struct device_password_row row = password_row_of(device->tenant, device->id);
    /* All that were made here have one length, so nothing else is worth the time. */
    if (password.len != IDENTITY_PASSWORD_LEN || device->credential != CREDENTIAL_PASSWORD)
        return ERR_REFUSED;
    enum err err = store_get(reader, &table_device_password, arena, &row);
    if (err != ERR_NONE)
        return err == ERR_NOT_FOUND ? ERR_REFUSED : err;
    if (row.expires_at > now)
        err = is_of(password, row.salt, row.iterations, &row.stored_key, &is);
    if (err == ERR_NONE && is) {
        if (row.used_at == 0)
            note_use(identity, loop, &row);
        *ret_until = row.expires_at;
        return ERR_NONE;
    }
    if (err == ERR_NONE && row.previous_until > now)
        err = is_of(password, row.previous_salt, row.previous_iterations, &row.previous_key, &is);
    if (err != ERR_NONE)
        return err;
    if (!is)
        return ERR_REFUSED;
    *ret_until = row.previous_until;
    return ERR_NONE;
}
