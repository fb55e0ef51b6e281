/* A broker is a device like any: it is expected, enrols with a claim code, renews, and can be cut
 * off. Here is how one comes to be expected when it is added, and what its certificate has besides.
 */
#include <stdio.h>

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
    return problem_set(
        &act->write.problem, 409, "model-differs", "",
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

/* ---- its certificate ---- */

static struct broker_row broker_row_of(const char *tenant, const char *device)
{
    struct broker_row row = {0};
    ROW_TEXT(row.tenant, tenant);
    ROW_TEXT(row.id, device);
    return row;
}

void broker_row_reads(struct keyset *keys, const char *tenant, const char *device)
{
    const struct broker_row row = broker_row_of(tenant, device);
    keyset_add(keys, &table_broker, &row);
}

/* A broker is of the model of brokers; so the others are spared the look. What its certificate will
 * name stands in its row alone, which people write: never in what it asks with. */
enum err broker_hosts(const struct row_source *rows, const struct device_row *device,
                      char ret_hosts[BROKER_HOSTS_MAX + 1])
{
    ret_hosts[0] = '\0';
    if (!slice_equal(slice_of_text(device->model), SLICE_LITERAL(IDENTITY_BROKER_MODEL)))
        return ERR_NONE;
    struct broker_row row = broker_row_of(device->tenant, device->id);
    enum err err = row_source_get(rows, &table_broker, &row);
    if (err == ERR_NONE && row.status == BROKER_ADDED)
        (void)snprintf(ret_hosts, BROKER_HOSTS_MAX + 1, "%s", row.hosts);
    return err == ERR_NOT_FOUND ? ERR_NONE : err;
}

enum err broker_request(const char *hosts, struct certificate_request *request)
{
    struct reader r = reader_over(slice_of_text(hosts));
    if (reader_left(&r) > 0)
        request->profile = PROFILE_BROKER;
    while (r.err == ERR_NONE && reader_left(&r) > 0) {
        size_t n = 0;
        while (n < reader_left(&r) && r.at[n] != ' ')
            n++;
        struct slice host = reader_take(&r, n);
        if (reader_left(&r) > 0)
            reader_expect(&r, SLICE_LITERAL(" "));
        if (request->names_len == SERVER_NAMES_MAX || host.len >= SERVER_NAME_SIZE || n == 0)
            return ERR_INTERNAL; /* no such row is written */
        memcpy(request->names[request->names_len], host.data, host.len);
        request->names[request->names_len++][host.len] = '\0';
    }
    return r.err;
}
