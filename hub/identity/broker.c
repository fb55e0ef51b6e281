/* A broker is a device like any: it is expected, enrols with a claim code, renews, and can be cut
 * off. Here is how one comes to be expected when it is added. */
#include "hub/identity/internal.h"

#define BROKER_LIFETIME          (30LL * 86400)
#define BROKER_ENROLLED_LIFETIME 3600
#define BROKER_GRACE             (30LL * 86400)

enum err identity_make_claim(char ret_code[IDENTITY_CLAIM_TEXT])
{
    struct hash unused;
    return claim_make(ret_code, &unused);
}

void identity_broker_reads(const struct identity *identity, struct keyset *keys, const char *tenant,
                           const char *device)
{
    const struct model_row model = model_row_of(tenant, IDENTITY_BROKER_MODEL);
    const struct manifest_row manifest = manifest_row_of(tenant, IDENTITY_BROKER_MANIFEST);
    const struct device_row row = device_row_of(tenant, device);
    keyset_add(keys, &table_model, &model);
    keyset_add(keys, &table_manifest, &manifest);
    keyset_add(keys, &table_device, &row);
    subjects_reads(identity->subjects, keys, tenant, IDENTITY_BROKER_OWNER);
}

/* Mosquitto takes any kind of key that its OpenSSL knows; Ed25519 is what old clients lack. */
static enum err make_model(struct act *act, struct tx *tx)
{
    struct model_row model = model_row_of(act->tenant, IDENTITY_BROKER_MODEL);
    enum err err = tx_get(tx, &table_model, &model);
    if (err != ERR_NOT_FOUND)
        return err;
    model = model_row_of(act->tenant, IDENTITY_BROKER_MODEL);
    ROW_TEXT(model.maker, "holdfast");
    model.proof = PROOF_MANIFEST;
    model.key_kinds = 1 << KEY_P256 | 1 << KEY_P384;
    model.lifetime = BROKER_LIFETIME;
    model.enrolled_lifetime = BROKER_ENROLLED_LIFETIME;
    model.grace = BROKER_GRACE;
    model.created_at = model.changed_at = tx_now_ms(tx) / 1000;
    err = tx_insert(tx, &table_model, &model);
    return err != ERR_NONE ? err : model_entry(act, tx, "model.create", &model);
}

static enum err make_manifest(const struct identity *identity, struct act *act, struct tx *tx)
{
    struct manifest_row manifest = manifest_row_of(act->tenant, IDENTITY_BROKER_MANIFEST);
    enum err err = tx_get(tx, &table_manifest, &manifest);
    if (err == ERR_NOT_FOUND) {
        manifest = manifest_row_of(act->tenant, IDENTITY_BROKER_MANIFEST);
        ROW_TEXT(manifest.model, IDENTITY_BROKER_MODEL);
        return manifest_make(identity->subjects, act, tx, IDENTITY_BROKER_OWNER, &manifest);
    }
    if (err != ERR_NONE)
        return err;
    if (slice_equal(slice_of_text(manifest.model), SLICE_LITERAL(IDENTITY_BROKER_MODEL)))
        return ERR_NONE;
    return problem_set(&act->write.problem, 409, "model-differs", "",
                       "the manifest '%s' is of the model '%s'; brokers are expected there, and are "
                       "of the model '%s'",
                       manifest.id, manifest.model, IDENTITY_BROKER_MODEL);
}

enum err identity_broker_expect(const struct identity *identity, struct act *act, struct tx *tx,
                                const char *device, const char *claim_code,
                                int64_t claim_expires_at)
{
    struct device_row known = device_row_of(act->tenant, device);
    enum err err = tx_get(tx, &table_device, &known);
    if (err == ERR_NONE)
        return problem_set(&act->write.problem, 409, "device-exists", "name",
                           "there is a device '%s' already, and names are not given twice; choose "
                           "another for the broker",
                           device);
    if (err != ERR_NOT_FOUND)
        return err;
    struct manifest_line line = {
        .serial = device, .credential = CREDENTIAL_CLAIM, .claim_expires_at = claim_expires_at};
    if (identity_claim_hash(slice_of_text(claim_code), &line.credential_hash) != ERR_NONE)
        return ERR_INTERNAL;
    err = make_model(act, tx);
    if (err == ERR_NONE)
        err = make_manifest(identity, act, tx);
    return err != ERR_NONE ? err : manifest_take(act, tx, IDENTITY_BROKER_MANIFEST, &line, 1);
}
