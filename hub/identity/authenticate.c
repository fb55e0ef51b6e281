/* Who is behind a certificate: looked up on every request, because a resumed TLS session does not
 * run the chain again and a live connection outlasts a revocation. */
#include <stdlib.h>

#include "base/clock.h"
#include "hub/identity/internal.h"

/* ---- the first use of a certificate ---- */

struct confirmation {
    struct act act;
    struct arena *arena;
    char device[NAME_MAX_BYTES + 1];
    char serial[SERIAL_TEXT_SIZE];
};

#define CONFIRMATION_ARENA (64 * 1024)

static void confirm_reads(const struct write *w, struct keyset *keys)
{
    const struct confirmation *c = (const struct confirmation *)(const void *)w;
    const struct device_row device = device_row_of(c->act.tenant, c->device);
    keyset_add(keys, &table_device, &device);
    const struct certificate_row certificate = certificate_row_of(c->serial);
    keyset_add(keys, &table_certificate, &certificate);
}

static enum err confirm_entry(struct confirmation *c, struct tx *tx, const char *retired,
                              const char *rotation, bool trusted)
{
    uint8_t bytes[256];
    struct writer out = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&out);
    json_open_object(&j);
    json_field_text(&j, "serial", c->serial);
    if (retired[0] != '\0')
        json_field_text(&j, "retired", retired);
    if (rotation[0] != '\0')
        json_field_text(&j, "rotation", rotation);
    if (trusted)
        json_field_text(&j, "state", device_state_text(DEVICE_TRUSTED));
    json_close_object(&j);
    if (out.err != ERR_NONE)
        return out.err;
    return act_append(&c->act, tx, "device.confirm", "device", c->device, writer_bytes(&out));
}

/* A device that came back with an expired certificate is enrolled. Where its model takes the
 * manifest as proof, that it is in one still holds, and the fresh key has just been shown. */
static enum err prove_anew(struct tx *tx, struct device_row *device, bool *ret_trusted)
{
    *ret_trusted = false;
    if (device->state != DEVICE_ENROLLED)
        return ERR_NONE;
    struct model_row model = model_row_of(device->tenant, device->model);
    enum err err = tx_get(tx, &table_model, &model);
    if (err != ERR_NONE)
        return err == ERR_NOT_FOUND ? ERR_INTERNAL : err;
    if (model.proof != PROOF_MANIFEST)
        return ERR_NONE;
    device->state = DEVICE_TRUSTED;
    device->was_trusted = 1;
    device->changed_at = tx_now_ms(tx) / 1000;
    ROW_TEXT(device->reason, "proved itself anew");
    *ret_trusted = true;
    return ERR_NONE;
}

static enum err confirm_apply(struct write *w, struct tx *tx)
{
    struct confirmation *c = (struct confirmation *)(void *)act_of(w);
    int64_t now = tx_now_ms(tx) / 1000;
    struct device_row device = device_row_of(c->act.tenant, c->device);
    struct certificate_row certificate = certificate_row_of(c->serial);
    enum err err = tx_get(tx, &table_device, &device);
    if (err == ERR_NONE)
        err = tx_get(tx, &table_certificate, &certificate);
    if (err != ERR_NONE)
        return err;
    if (certificate.status != CERTIFICATE_ISSUED)
        return ERR_NONE; /* confirmed by an earlier request, or ended meanwhile */
    certificate.status = CERTIFICATE_ACTIVE;
    certificate.first_used_at = now;
    certificate.der = (struct slice){0}; /* the device has it: nobody asks for it again */
    err = tx_update(tx, &table_certificate, &certificate);
    if (err != ERR_NONE)
        return err;

    char before[SERIAL_TEXT_SIZE];
    ROW_TEXT(before, device.confirmed);
    if (before[0] != '\0') {
        struct certificate_row old = certificate_row_of(before);
        err = tx_get(tx, &table_certificate, &old);
        if (err == ERR_NONE && old.status == CERTIFICATE_ACTIVE)
            err = certificate_end(&c->act, tx, &old, CERTIFICATE_RETIRED, REASON_SUPERSEDED);
        if (err != ERR_NONE)
            return err == ERR_NOT_FOUND ? ERR_INTERNAL : err;
    }
    ROW_TEXT(device.confirmed, c->serial);
    bool trusted;
    char rotation[NAME_MAX_BYTES + 1];
    ROW_TEXT(rotation, device.rotation);
    err = prove_anew(tx, &device, &trusted);
    if (err == ERR_NONE)
        err = rotation_confirmed(tx, &device, c->serial);
    if (err == ERR_NONE)
        err = tx_update(tx, &table_device, &device);
    /* The entry names the rotation that this ends. */
    if (device.rotation[0] != '\0')
        rotation[0] = '\0';
    return err != ERR_NONE ? err : confirm_entry(c, tx, before, rotation, trusted);
}

static const struct write_kind confirm_kind = {
    .name = "device.confirm",
    .lane = STORE_LANE_NORMAL,
    .reads = confirm_reads,
    .apply = confirm_apply,
    .done = act_done,
};

static void confirm_then(struct act *act)
{
    struct confirmation *c = (struct confirmation *)(void *)act;
    arena_free(c->arena); /* c stands in it */
}

/* Nobody waits for it, and where it fails the next request tries again. */
static void confirm(struct identity *identity, struct loop *loop, const struct device_view *view)
{
    struct arena *arena = arena_new(CONFIRMATION_ARENA);
    struct confirmation *c = arena == NULL ? NULL : arena_alloc(arena, sizeof *c);
    if (c == NULL) {
        arena_free(arena);
        return;
    }
    c->arena = arena;
    ROW_TEXT(c->device, view->device);
    ROW_TEXT(c->serial, view->certificate.serial);
    char actor[LEDGER_ACTOR_MAX + 1] = "device:";
    identity_label(actor + sizeof "device:" - 1, view->tenant, view->device);
    const struct act_origin origin = {
        .loop = loop, .arena = arena, .tenant = view->tenant, .actor = actor, .then = confirm_then};
    act_init(&c->act, &confirm_kind, identity->ledger, &origin);
    act_submit(&c->act, identity->store);
}

/* ---- every request ---- */

static enum err check_certificate(const struct certificate_row *row, struct problem *problem)
{
    if (row->not_after <= clock_seconds())
        return problem_set(problem, 403, "certificate-expired", "",
                           "this certificate has expired; renew before that next time");
    switch (row->status) {
    case CERTIFICATE_ISSUED:
    case CERTIFICATE_ACTIVE:
        return ERR_NONE;
    case CERTIFICATE_REVOKED:
        return problem_set(problem, 403, "device-revoked", "", "this device has been revoked");
    case CERTIFICATE_RETIRED:
        return problem_set(problem, 403, "certificate-retired", "",
                           "this certificate has been replaced by a newer one; use that");
    default:
        return ERR_INTERNAL;
    }
}

static enum err check_device(int64_t state, struct problem *problem)
{
    switch (state) {
    case DEVICE_ENROLLED:
    case DEVICE_TRUSTED:
    case DEVICE_QUARANTINED:
        return ERR_NONE;
    case DEVICE_REVOKED:
        return problem_set(problem, 403, "device-revoked", "", "this device has been revoked");
    case DEVICE_RETIRED:
        return problem_set(problem, 403, "device-retired", "", "this device has been retired");
    default:
        return ERR_INTERNAL;
    }
}

static struct certificate_row certificate_row_of_peer(const struct tls_peer *peer)
{
    struct certificate_row row = {0};
    struct writer w = writer_over(row.serial, sizeof row.serial - 1);
    writer_hex(&w, slice_of(peer->serial, peer->serial_len));
    return row;
}

enum err identity_recognise(struct store_reader *reader, const struct tls_peer *peer,
                            struct arena *arena, struct certificate_row *ret_certificate,
                            struct problem *problem)
{
    if (!peer->present)
        return problem_set(problem, 401, "certificate-required", "",
                           "connect with the device's certificate");
    struct certificate_row row = certificate_row_of_peer(peer);
    enum err err = store_get(reader, &table_certificate, arena, &row);
    if (err != ERR_NONE && err != ERR_NOT_FOUND)
        return err;
    /* The certificate itself is compared, never its name or number alone. */
    if (err == ERR_NOT_FOUND ||
        memcmp(row.certificate_sha256.bytes, peer->certificate_sha256, SHA256_SIZE) != 0)
        return problem_set(problem, 403, "certificate-unknown", "",
                           "this certificate was not issued by this hub");
    *ret_certificate = row;
    return ERR_NONE;
}

/* Reads who that is, and notes of which rows it was read. */
static enum err look_up(struct identity *identity, struct store_reader *reader,
                        const struct tls_peer *peer, struct arena *arena, struct device_memo *m,
                        struct problem *problem)
{
    const struct certificate_row sought = certificate_row_of_peer(peer);
    m->certificate = store_stamp(identity->store, &table_certificate, &sought);
    enum err err = identity_recognise(reader, peer, arena, &m->view.certificate, problem);
    if (err != ERR_NONE)
        return err;
    struct device_view *view = &m->view;
    ROW_TEXT(view->tenant, view->certificate.tenant);
    ROW_TEXT(view->device, view->certificate.device);
    struct device_row device = device_row_of(view->tenant, view->device);
    m->device = store_stamp(identity->store, &table_device, &device);
    err = store_get(reader, &table_device, arena, &device);
    if (err != ERR_NONE)
        return err == ERR_NOT_FOUND ? ERR_INTERNAL : err;
    view->state = device.state;
    ROW_TEXT(view->model, device.model);
    ROW_TEXT(view->group, device.grp);
    view->report_hash = device.report_hash;
    ROW_TEXT(view->rotation, device.rotation);
    view->renew_at = device.renew_at;
    return ERR_NONE;
}

static bool still_holds(const struct identity *identity, const struct device_memo *memo)
{
    return memo != NULL && memo->held && store_is_unchanged(identity->store, &memo->certificate) &&
           store_is_unchanged(identity->store, &memo->device);
}

enum err identity_authenticate(struct identity *identity, struct store_reader *reader,
                               struct loop *loop, const struct tls_peer *peer, struct arena *arena,
                               struct device_memo *memo, struct device_view *ret_view,
                               struct problem *problem)
{
    struct device_memo now = {0};
    enum err err = ERR_NONE;
    if (still_holds(identity, memo))
        now = *memo;
    else
        err = look_up(identity, reader, peer, arena, &now, problem);
    /* From here on it is known who asks, also where the answer is no. */
    ROW_TEXT(ret_view->tenant, now.view.tenant);
    ROW_TEXT(ret_view->device, now.view.device);
    if (err == ERR_NONE)
        err = check_device(now.view.state, problem);
    if (err == ERR_NONE)
        err = check_certificate(&now.view.certificate, problem);
    if (err != ERR_NONE)
        return err;
    if (now.view.certificate.status == CERTIFICATE_ISSUED)
        confirm(identity, loop, &now.view);
    *ret_view = now.view;
    /* Blobs of rows live in the request's arena. */
    now.view.certificate.der = (struct slice){0};
    now.held = true;
    if (memo != NULL)
        *memo = now;
    return ERR_NONE;
}
