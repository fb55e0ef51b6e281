/* Enrolment and renewal. One path for every way to prove oneself: decide on the loop (to answer
 * early), have the signer sign, decide again on the writer (because only that counts), commit, and
 * only then hand the certificate out.
 *
 * A device that asks again with the same proof and the same key, while its newest certificate has
 * not been used, lost our answer: it gets the same bytes. */
#include <stdio.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "hub/identity/internal.h"
#include "pki/csr_check.h"

/* What is known of the device when deciding. */
struct facts {
    struct device_row device;
    struct model_row model;
    struct certificate_row newest;    /* serial empty where there is none */
    bool key_known;                   /* the requested key is this device's already */
    bool key_foreign;                 /* it is another device's */
    char hosts[BROKER_HOSTS_MAX + 1]; /* of a broker; else empty */
};

enum verdict { VERDICT_ISSUE, VERDICT_REPEAT };

/* One answer to whoever is not what he claims to be: which part was wrong is not told. */
static enum err refuse_stranger(struct enrolment *e)
{
    return problem_set(&e->act.write.problem, 401, "enrolment-refused", "",
                       "these credentials do not enrol a device; check the serial number and the "
                       "claim code or certificate against the manifest");
}

/* ---- who is it? ---- */

/* By which key in device_key the device is found, where it does not name itself. */
static const struct hash *enrolment_key(const struct enrolment *e)
{
    return e->authenticator == AUTHENTICATOR_IDEVID ? &e->peer_spki : &e->spki;
}

static enum err find_device(const struct row_source *rows, struct enrolment *e)
{
    if (e->authenticator != AUTHENTICATOR_IDEVID && e->authenticator != AUTHENTICATOR_KEY)
        return ERR_NONE;
    struct device_key_row key = {.spki_sha256 = *enrolment_key(e)};
    enum err err = row_source_get(rows, &table_device_key, &key);
    if (err == ERR_NOT_FOUND)
        return refuse_stranger(e);
    if (err != ERR_NONE)
        return err;
    ROW_TEXT(e->act.tenant, key.tenant);
    ROW_TEXT(e->device, key.device);
    return ERR_NONE;
}

static enum err load_facts(const struct row_source *rows, struct enrolment *e,
                           struct facts *ret_facts)
{
    struct facts f = {.device = device_row_of(e->act.tenant, e->device)};
    enum err err = row_source_get(rows, &table_device, &f.device);
    if (err == ERR_NOT_FOUND)
        return refuse_stranger(e);
    if (err != ERR_NONE)
        return err;
    f.model = model_row_of(e->act.tenant, f.device.model);
    err = row_source_get(rows, &table_model, &f.model);
    if (err != ERR_NONE)
        return err == ERR_NOT_FOUND ? ERR_INTERNAL : err;
    err = broker_hosts(rows, &f.device, f.hosts);
    if (err != ERR_NONE)
        return err;
    if (f.device.certificate[0] != '\0') {
        f.newest = certificate_row_of(f.device.certificate);
        err = row_source_get(rows, &table_certificate, &f.newest);
        if (err != ERR_NONE)
            return err == ERR_NOT_FOUND ? ERR_INTERNAL : err;
    }

    struct device_key_row key = {.spki_sha256 = e->spki};
    err = row_source_get(rows, &table_device_key, &key);
    if (err == ERR_NONE) {
        struct slice ours = slice_of_text(f.device.id);
        if (!slice_equal(slice_of_text(key.device), ours) ||
            !slice_equal(slice_of_text(key.tenant), slice_of_text(f.device.tenant)))
            f.key_foreign = true;
        else
            f.key_known = true;
    } else if (err != ERR_NOT_FOUND) {
        return err;
    }
    *ret_facts = f;
    return ERR_NONE;
}

/* ---- may it? ---- */

static bool hash_equal(const struct hash *a, const struct hash *b)
{
    return mem_equal_constant_time(a->bytes, b->bytes, sizeof a->bytes);
}

static enum err check_credential(struct enrolment *e, const struct facts *f)
{
    const struct device_row *device = &f->device;
    switch (e->authenticator) {
    case AUTHENTICATOR_CLAIM:
        if (device->credential != CREDENTIAL_CLAIM ||
            !hash_equal(&e->claim_hash, &device->credential_hash))
            return refuse_stranger(e);
        return ERR_NONE;
    case AUTHENTICATOR_IDEVID:
        /* A key from the manifest may also come in a certificate of its own making. */
        if ((device->credential == CREDENTIAL_IDEVID &&
             hash_equal(&e->peer_certificate, &device->credential_hash)) ||
            (device->credential == CREDENTIAL_KEY &&
             hash_equal(&e->peer_spki, &device->credential_hash)))
            return ERR_NONE;
        return refuse_stranger(e);
    case AUTHENTICATOR_KEY:
        if (device->credential != CREDENTIAL_KEY || !hash_equal(&e->spki, &device->credential_hash))
            return refuse_stranger(e);
        return ERR_NONE;
    case AUTHENTICATOR_CERTIFICATE:
    case AUTHENTICATOR_EXPIRED:
        return ERR_NONE; /* checked by check_renewal() and check_return() */
    }
    return ERR_INTERNAL;
}

static bool same_unused_key(const struct enrolment *e, const struct facts *f)
{
    struct certificate newest;
    struct hash spki;
    if (f->newest.serial[0] == '\0' || f->newest.status != CERTIFICATE_ISSUED ||
        certificate_read(f->newest.der, &newest) != ERR_NONE)
        return false;
    crypto_sha256_one(newest.spki.der, spki.bytes);
    return hash_equal(&spki, &e->spki);
}

static enum err check_state(struct enrolment *e, const struct row_source *rows,
                            const struct facts *f)
{
    struct problem *p = &e->act.write.problem;
    switch (f->device.state) {
    case DEVICE_EXPECTED:
    case DEVICE_ENROLLED:
    case DEVICE_TRUSTED:
        return ERR_NONE;
    case DEVICE_QUARANTINED:
        return incident_check_renewal(rows, e, &f->newest, f->key_known, same_unused_key(e, f));
    case DEVICE_REVOKED:
        return problem_set(p, 403, "device-revoked", "", "this device has been revoked for good");
    case DEVICE_RETIRED:
        return problem_set(p, 403, "device-retired", "", "this device has been retired for good");
    default:
        return ERR_INTERNAL;
    }
}

/* For whoever asks again: the same bytes, unless a clock was wrong and they are of no use. */
static enum verdict verdict_again(const struct facts *f)
{
    int64_t now = clock_seconds();
    bool in_date = f->newest.not_before <= now && now < f->newest.not_after;
    return in_date ? VERDICT_REPEAT : VERDICT_ISSUE;
}

static enum err check_claim(struct enrolment *e, const struct facts *f, enum verdict *ret_verdict)
{
    struct problem *p = &e->act.write.problem;
    if (f->device.claim_used_at != 0) {
        if (!same_unused_key(e, f))
            return problem_set(
                p, 403, "claim-used", "",
                "this claim code has been used; a device renews with its certificate. If "
                "it was not this device that used it, tell its operator");
        *ret_verdict = verdict_again(f);
        return ERR_NONE;
    }
    if (f->device.claim_expires_at != 0 && f->device.claim_expires_at <= clock_seconds())
        return problem_set(p, 403, "claim-expired", "",
                           "this claim code has expired; `holdfast device claim` makes a new one");
    *ret_verdict = VERDICT_ISSUE;
    return ERR_NONE;
}

/* A signed request proves that the key once made it, not that it is there now: whoever has a copy
 * can send it again. So it serves for the first certificate (and for the same bytes again); after
 * that the device shows its key in the handshake. */
static enum err check_first_use(struct enrolment *e, const struct facts *f,
                                enum verdict *ret_verdict)
{
    if (same_unused_key(e, f)) {
        *ret_verdict = verdict_again(f);
        return ERR_NONE;
    }
    if (f->device.state != DEVICE_EXPECTED)
        return problem_set(
            &e->act.write.problem, 403, "key-used", "",
            "this device has enrolled; renew with its certificate, or connect with one "
            "of the manifest's key");
    *ret_verdict = VERDICT_ISSUE;
    return ERR_NONE;
}

static enum err check_renewal(struct enrolment *e, const struct row_source *rows,
                              const struct facts *f, enum verdict *ret_verdict)
{
    struct certificate_row used = certificate_row_of(e->serial);
    enum err err = row_source_get(rows, &table_certificate, &used);
    if (err != ERR_NONE && err != ERR_NOT_FOUND)
        return err;
    bool current = err == ERR_NONE &&
                   (used.status == CERTIFICATE_ISSUED || used.status == CERTIFICATE_ACTIVE) &&
                   used.not_after > clock_seconds();
    if (!current)
        return problem_set(&e->act.write.problem, 403, "certificate-not-current", "",
                           "the certificate of this connection has been replaced, revoked or has "
                           "expired; connect with the newest one");
    bool newest_is_another =
        !slice_equal(slice_of_text(f->newest.serial), slice_of_text(e->serial));
    *ret_verdict = newest_is_another && same_unused_key(e, f) ? verdict_again(f) : VERDICT_ISSUE;
    return ERR_NONE;
}

/* Only the certificate that was used last: one that was replaced may be in other hands, and one
 * that was never used is not what the device went to sleep with. */
static enum err check_last_used(struct enrolment *e, const struct facts *f,
                                const struct certificate_row *shown)
{
    bool last = slice_equal(slice_of_text(f->device.confirmed), slice_of_text(e->serial)) &&
                shown->status == CERTIFICATE_ACTIVE;
    if (last)
        return ERR_NONE;
    e->retired_shown = shown->status == CERTIFICATE_RETIRED && shown->first_used_at != 0;
    return problem_set(&e->act.write.problem, 403, "certificate-not-current", "",
                       "a device comes back with the last certificate it has used; this one was "
                       "replaced, or never used");
}

/* A device that slept past the end of its certificate. The handshake has shown that it has the old
 * key; that is as much as one may say of a key that nobody watched over, and so it ends with
 * another one, and has to prove itself anew. */
static enum err check_return(struct enrolment *e, const struct row_source *rows,
                             const struct facts *f, enum verdict *ret_verdict)
{
    struct problem *p = &e->act.write.problem;
    struct identity_grace grace;
    struct certificate_row shown = certificate_row_of(e->serial);
    enum err err = row_source_get(rows, &table_certificate, &shown);
    if (err != ERR_NONE)
        return err == ERR_NOT_FOUND ? ERR_INTERNAL : err;
    err = check_last_used(e, f, &shown);
    if (err != ERR_NONE)
        return err;
    if (shown.not_after > clock_seconds())
        return problem_set(
            p, 403, "certificate-in-date", "",
            "this certificate has not expired; renew with it on the device listener");
    err = grace_judge(rows, &f->model, &shown, &grace);
    if (err != ERR_NONE)
        return err;
    /* It lost the answer. After an incident even that is over. */
    if (same_unused_key(e, f) && f->newest.issued_at >= grace.closed_before &&
        verdict_again(f) == VERDICT_REPEAT) {
        *ret_verdict = VERDICT_REPEAT;
        return ERR_NONE;
    }
    if (f->key_known)
        return problem_set(p, 409, "key-not-fresh", "csr.key",
                           "this device has had a certificate for this key; make a new one");
    e->readmitted = grace.state == GRACE_STATE_READMITTED;
    if (grace.state != GRACE_STATE_OPEN && grace.state != GRACE_STATE_READMITTED)
        return problem_set(p, 403, "grace-over", "",
                           "the time to come back with this certificate is over; the device's "
                           "operator may let it in once: holdfast device readmit %s",
                           e->device);
    *ret_verdict = VERDICT_ISSUE;
    return ERR_NONE;
}

/* The whole decision, over a loop's reader or the writer's transaction alike. */
static enum err decide(const struct row_source *rows, struct enrolment *e, struct facts *f,
                       enum verdict *ret_verdict)
{
    e->readmitted = false;
    enum err err = find_device(rows, e);
    if (err == ERR_NONE)
        err = load_facts(rows, e, f);
    if (err == ERR_NONE)
        err = check_credential(e, f);
    if (err == ERR_NONE)
        err = check_state(e, rows, f);
    if (err != ERR_NONE)
        return err;

    /* Only now: before the credential is known to be right, nothing is told of any device. */
    if (f->key_foreign)
        return problem_set(&e->act.write.problem, 409, "key-in-use", "csr",
                           "this key belongs to another device; make one on this device");
    struct slice name = e->csr.common_name;
    if (name.len > 0 && !slice_equal(name, slice_of_text(f->device.id)))
        return problem_set(&e->act.write.problem, 400, "csr-name-mismatch", "csr.subject",
                           "the request is for another name; leave the subject empty or make it "
                           "CN=<serial number>");
    if ((f->model.key_kinds & (int64_t)1 << e->csr.spki.kind) == 0)
        return problem_set(&e->act.write.problem, 400, "csr-key-not-allowed", "csr.key",
                           "this model does not take %s keys", key_kind_text(e->csr.spki.kind));

    switch (e->authenticator) {
    case AUTHENTICATOR_CLAIM:
        return check_claim(e, f, ret_verdict);
    case AUTHENTICATOR_CERTIFICATE:
        return check_renewal(e, rows, f, ret_verdict);
    case AUTHENTICATOR_EXPIRED:
        return check_return(e, rows, f, ret_verdict);
    case AUTHENTICATOR_IDEVID:
        *ret_verdict = same_unused_key(e, f) ? verdict_again(f) : VERDICT_ISSUE;
        return ERR_NONE;
    case AUTHENTICATOR_KEY:
        return check_first_use(e, f, ret_verdict);
    }
    return ERR_INTERNAL;
}

/* ---- on the writer ---- */

static void enrol_reads(const struct write *w, struct keyset *keys)
{
    const struct enrolment *e = (const struct enrolment *)(const void *)w;
    const struct device_row device = device_row_of(e->act.tenant, e->device);
    keyset_add(keys, &table_device, &device);
    const struct device_key_row key = {.spki_sha256 = e->spki};
    keyset_add(keys, &table_device_key, &key);
    if (e->authenticator == AUTHENTICATOR_CERTIFICATE ||
        e->authenticator == AUTHENTICATOR_EXPIRED) {
        const struct certificate_row used = certificate_row_of(e->serial);
        keyset_add(keys, &table_certificate, &used);
        const struct device_grace_row grace = grace_row_of(e->act.tenant, e->device);
        keyset_add(keys, &table_device_grace, &grace);
    }
    if (e->hosts[0] != '\0')
        broker_row_reads(keys, e->act.tenant, e->device);
}

static int64_t next_state(const struct enrolment *e, const struct facts *f)
{
    if (e->authenticator == AUTHENTICATOR_EXPIRED && f->device.state != DEVICE_QUARANTINED)
        return DEVICE_ENROLLED;
    if (f->device.state != DEVICE_EXPECTED)
        return f->device.state;
    return f->model.proof == PROOF_MANIFEST ? DEVICE_TRUSTED : DEVICE_ENROLLED;
}

/* What the certificate names besides the device: only a trusted broker is one to those it serves.
 */
static const char *hosts_of(const struct enrolment *e, const struct facts *f)
{
    return next_state(e, f) == DEVICE_TRUSTED ? f->hosts : "";
}

static enum err write_certificate(struct enrolment *e, struct tx *tx,
                                  const struct device_row *device)
{
    struct certificate_row row = certificate_row_of(e->issued);
    ROW_TEXT(row.tenant, e->act.tenant);
    ROW_TEXT(row.device, e->device);
    row.status = CERTIFICATE_ISSUED;
    crypto_sha256_one(e->certificate, row.certificate_sha256.bytes);
    row.not_before = e->issued_not_before;
    row.not_after = e->issued_not_after;
    row.authority = e->issued_by;
    row.issued_at = tx_now_ms(tx) / 1000;
    ROW_TEXT(row.previous, device->certificate);
    row.der = e->certificate;
    enum err err = ERR_NONE;
    if (device->state == DEVICE_QUARANTINED) /* what it renews to is held with it */
        err = certificate_list(&e->act, tx, &row, REASON_CERTIFICATE_HOLD);
    if (err == ERR_NONE)
        err = tx_insert(tx, &table_certificate, &row);
    return err == ERR_EXISTS ? ERR_INTERNAL : err; /* 96 random bits do not collide */
}

static enum err write_key(struct enrolment *e, struct tx *tx)
{
    struct device_key_row row = {.spki_sha256 = e->spki};
    ROW_TEXT(row.tenant, e->act.tenant);
    ROW_TEXT(row.device, e->device);
    enum err err = tx_insert(tx, &table_device_key, &row);
    return err == ERR_EXISTS ? ERR_INTERNAL : err; /* decide() has just looked */
}

static enum err enrol_entry(struct enrolment *e, struct tx *tx)
{
    static const char *const proofs[] = {
        [AUTHENTICATOR_CLAIM] = "claim",
        [AUTHENTICATOR_IDEVID] = "idevid",
        [AUTHENTICATOR_KEY] = "key",
        [AUTHENTICATOR_CERTIFICATE] = "certificate",
        [AUTHENTICATOR_EXPIRED] = "expired-certificate",
    };
    uint8_t bytes[512];
    struct writer out = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&out);
    json_open_object(&j);
    json_field_text(&j, "state", device_state_text(e->state));
    json_field_text(&j, "by", proofs[e->authenticator]);
    if (e->authenticator == AUTHENTICATOR_EXPIRED) {
        json_field_text(&j, "expired", e->serial);
        json_field_text(&j, "grace", e->readmitted ? "readmitted" : "open");
    } else if (e->readmitted) {
        json_field_text(&j, "grace", "readmitted");
    }
    json_field_text(&j, "serial", e->issued);
    json_field_hex(&j, "key", slice_of(e->spki.bytes, sizeof e->spki.bytes));
    json_field_time(&j, "not_after", e->issued_not_after);
    json_close_object(&j);
    if (out.err != ERR_NONE)
        return out.err;
    bool renewal = e->authenticator == AUTHENTICATOR_CERTIFICATE;
    return act_append(&e->act, tx, renewal ? "device.renew" : "device.enrol", "device", e->device,
                      writer_bytes(&out));
}

static enum err enrol_apply(struct write *w, struct tx *tx)
{
    struct enrolment *e = (struct enrolment *)(void *)act_of(w);
    const struct row_source rows = {.tx = tx};
    struct facts f;
    enum verdict verdict;
    enum err err = decide(&rows, e, &f, &verdict);
    if (err != ERR_NONE)
        return err;
    if (verdict == VERDICT_REPEAT) {
        /* The same request came twice at once and the other was first: its bytes are the answer. */
        e->certificate = f.newest.der;
        e->repeated = true;
        return ERR_NONE;
    }
    if (!slice_equal(slice_of_text(e->hosts), slice_of_text(hosts_of(e, &f))))
        return problem_set(&w->problem, 409, "broker-changed", "",
                           "this broker was changed meanwhile; ask again");

    int64_t now = tx_now_ms(tx) / 1000;
    /* A certificate that was never used is replaced, not kept beside the new one. */
    if (f.newest.serial[0] != '\0' && f.newest.status == CERTIFICATE_ISSUED &&
        !slice_equal(slice_of_text(f.newest.serial), slice_of_text(e->serial))) {
        err = certificate_end(&e->act, tx, &f.newest, CERTIFICATE_RETIRED, REASON_SUPERSEDED);
        if (err != ERR_NONE)
            return err;
    }
    err = write_certificate(e, tx, &f.device);
    if (err == ERR_NONE && !f.key_known)
        err = write_key(e, tx);
    if (err != ERR_NONE)
        return err;

    e->state = next_state(e, &f);
    if (f.device.state != e->state) {
        f.device.state = e->state;
        f.device.was_trusted = e->state == DEVICE_TRUSTED;
        ROW_TEXT(f.device.reason, e->authenticator == AUTHENTICATOR_EXPIRED
                                      ? "came back with an expired certificate"
                                      : "");
    }
    if (e->readmitted) {
        err = grace_close(tx, e->act.tenant, e->device, now);
        if (err != ERR_NONE)
            return err;
    }
    if (e->authenticator == AUTHENTICATOR_CLAIM)
        f.device.claim_used_at = now;
    ROW_TEXT(f.device.certificate, e->issued);
    f.device.changed_at = now;
    err = tx_update(tx, &table_device, &f.device);
    if (err == ERR_NONE)
        err = rotation_issued(tx, &f.device, e->issued, f.key_known);
    return err != ERR_NONE ? err : enrol_entry(e, tx);
}

static const struct write_kind enrol_kind = {
    .name = "device.enrol",
    .lane = STORE_LANE_NORMAL,
    .reads = enrol_reads,
    .apply = enrol_apply,
    .done = act_done,
};

/* ---- on the loop ---- */

static enum err take_certificate(struct enrolment *e, struct slice der)
{
    enum err err = arena_copy(e->act.write.arena, der, &e->certificate);
    if (err != ERR_NONE)
        return err;
    struct certificate c;
    err = certificate_read(e->certificate, &c);
    if (err != ERR_NONE || c.serial.len > SERIAL_MAX)
        return ERR_INTERNAL;
    struct writer w = writer_over(e->issued, sizeof e->issued - 1);
    writer_hex(&w, c.serial);
    e->issued[w.len] = '\0';
    e->issued_not_before = c.not_before;
    e->issued_not_after = c.not_after;
    e->issued_by = authority_number(c.authority_key);
    return w.err;
}

static void enrol_signed(void *ctx, enum err err, struct slice der)
{
    struct enrolment *e = ctx;
    if (err == ERR_NONE)
        err = take_certificate(e, der);
    if (err != ERR_NONE) {
        act_end(&e->act, err);
        return;
    }
    act_submit(&e->act, e->identity->store);
}

static void request_signature(struct enrolment *e, const struct facts *f)
{
    struct certificate_request request = {.profile = PROFILE_DEVICE, .spki = e->csr.spki.der};
    ROW_TEXT(request.tenant, e->act.tenant);
    ROW_TEXT(request.device, e->device);
    ROW_TEXT(e->hosts, hosts_of(e, f));
    enum err err = broker_request(e->hosts, &request);
    if (err != ERR_NONE) {
        act_end(&e->act, err);
        return;
    }
    int64_t state = next_state(e, f);
    bool trusted =
        state == DEVICE_TRUSTED || (state == DEVICE_QUARANTINED && f->device.was_trusted);
    int64_t now = clock_seconds();
    request.not_before = now - IDENTITY_BACKDATE;
    request.not_after = now + (trusted ? f->model.lifetime : f->model.enrolled_lifetime);
    signer_issue(e->signer, &request, enrol_signed, e);
}

void identity_enrol(struct identity *identity, const struct act_origin *origin,
                    struct store_reader *reader, struct signer_link *signer, struct enrolment *e)
{
    act_init(&e->act, &enrol_kind, identity->ledger, origin);
    e->identity = identity;
    e->signer = signer;

    /* Form and proof of possession first: what fails here has told nothing about any device. */
    unsigned all_kinds = (1u << KEY_KIND_COUNT) - 1;
    enum err err = csr_check(e->csr_der, all_kinds, &e->csr, &e->act.write.problem);
    if (err != ERR_NONE) {
        rotation_refused(identity, e, reader);
        act_end(&e->act, err);
        return;
    }
    crypto_sha256_one(e->csr.spki.der, e->spki.bytes);

    const struct row_source rows = {.reader = reader, .arena = origin->arena};
    struct facts f;
    enum verdict verdict;
    err = decide(&rows, e, &f, &verdict);
    if (err == ERR_NONE && verdict == VERDICT_REPEAT) {
        e->certificate = f.newest.der;
        e->repeated = true;
    }
    if (err == ERR_REFUSED)
        rotation_refused(identity, e, reader);
    if (err != ERR_NONE || verdict == VERDICT_REPEAT) {
        act_end(&e->act, err);
        return;
    }
    (void)snprintf(e->act.actor, sizeof e->act.actor, "device:%s/%s", e->act.tenant, e->device);
    request_signature(e, &f);
}
