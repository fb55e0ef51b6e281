#include "hub/store/rows.h"

#include <stddef.h>

#include "core/tile.h"

#define MEMBER_SIZE(type, member) sizeof(((struct type *)NULL)->member)

#define TEXT(type, member)                                                                         \
    {                                                                                              \
        .name = #member, .kind = COLUMN_TEXT, .offset = offsetof(struct type, member),             \
        .size = MEMBER_SIZE(type, member)                                                          \
    }
#define TENANT(type)                                                                               \
    {                                                                                              \
        .name = "tenant", .kind = COLUMN_TENANT, .offset = offsetof(struct type, tenant),          \
        .size = MEMBER_SIZE(type, tenant)                                                          \
    }
#define HEX(type, member)                                                                          \
    {                                                                                              \
        .name = #member, .kind = COLUMN_HEX, .offset = offsetof(struct type, member),              \
        .size = MEMBER_SIZE(type, member)                                                          \
    }
#define SEARCHABLE_TEXT(type, member)                                                              \
    {                                                                                              \
        .name = #member, .kind = COLUMN_TEXT, .offset = offsetof(struct type, member),             \
        .size = MEMBER_SIZE(type, member), .searchable = true                                      \
    }
#define SPARSE_TEXT(type, member)                                                                  \
    {                                                                                              \
        .name = #member, .kind = COLUMN_TEXT, .offset = offsetof(struct type, member),             \
        .size = MEMBER_SIZE(type, member), .searchable = true, .sparse = true                      \
    }
#define INTEGER(type, member)                                                                      \
    {                                                                                              \
        .name = #member, .kind = COLUMN_INTEGER, .offset = offsetof(struct type, member),          \
        .size = MEMBER_SIZE(type, member)                                                          \
    }
#define SEARCHABLE_INTEGER(type, member)                                                           \
    {                                                                                              \
        .name = #member, .kind = COLUMN_INTEGER, .offset = offsetof(struct type, member),          \
        .size = MEMBER_SIZE(type, member), .searchable = true                                      \
    }
#define FLEET_INTEGER(type, member)                                                                \
    {                                                                                              \
        .name = #member, .kind = COLUMN_INTEGER, .offset = offsetof(struct type, member),          \
        .size = MEMBER_SIZE(type, member), .searchable = true, .of_all = true                      \
    }
#define HASH(type, member)                                                                         \
    {                                                                                              \
        .name = #member, .kind = COLUMN_HASH, .offset = offsetof(struct type, member),             \
        .size = SHA256_SIZE                                                                        \
    }
#define BLOB(type, member, max)                                                                    \
    {                                                                                              \
        .name = #member, .kind = COLUMN_BLOB, .offset = offsetof(struct type, member),             \
        .size = (max)                                                                              \
    }

#define TABLE(table_id, table_name, type, keys, list)                                              \
    {                                                                                              \
        .name = (table_name), .columns = (list), .columns_len = ARRAY_LEN(list),                   \
        .key_len = (keys), .row_size = sizeof(struct type), .id = (table_id)                       \
    }

static const struct column model_columns[] = {
    TENANT(model_row),
    TEXT(model_row, id),
    TEXT(model_row, maker),
    INTEGER(model_row, proof),
    INTEGER(model_row, key_kinds),
    INTEGER(model_row, lifetime),
    INTEGER(model_row, enrolled_lifetime),
    INTEGER(model_row, grace),
    INTEGER(model_row, in_use),
    INTEGER(model_row, created_at),
    INTEGER(model_row, changed_at),
};
const struct table table_model = TABLE(0, "model", model_row, 2, model_columns);

static const struct column device_columns[] = {
    TENANT(device_row),
    TEXT(device_row, id),
    SEARCHABLE_TEXT(device_row, model),
    TEXT(device_row, maker),
    SEARCHABLE_TEXT(device_row, owner),
    SEARCHABLE_TEXT(device_row, manifest),
    SEARCHABLE_INTEGER(device_row, state),
    INTEGER(device_row, was_trusted),
    TEXT(device_row, reason),
    INTEGER(device_row, credential),
    HASH(device_row, credential_hash),
    INTEGER(device_row, claim_expires_at),
    INTEGER(device_row, claim_used_at),
    HEX(device_row, certificate),
    HEX(device_row, confirmed),
    HASH(device_row, report_hash),
    BLOB(device_row, report, DEVICE_REPORT_MAX),
    INTEGER(device_row, reported_at),
    INTEGER(device_row, created_at),
    INTEGER(device_row, changed_at),
    TEXT(device_row, rotation),
    INTEGER(device_row, renew_at),
    SPARSE_TEXT(device_row, grp),
};
const struct table table_device = TABLE(1, "device", device_row, 2, device_columns);

static const struct column certificate_columns[] = {
    HEX(certificate_row, serial),
    TENANT(certificate_row),
    TEXT(certificate_row, device),
    INTEGER(certificate_row, status),
    HASH(certificate_row, certificate_sha256),
    INTEGER(certificate_row, not_before),
    INTEGER(certificate_row, not_after),
    INTEGER(certificate_row, issued_at),
    INTEGER(certificate_row, first_used_at),
    INTEGER(certificate_row, ended_at),
    HEX(certificate_row, previous),
    INTEGER(certificate_row, listed),
    INTEGER(certificate_row, authority),
    BLOB(certificate_row, der, CERTIFICATE_MAX),
};
const struct table table_certificate =
    TABLE(2, "certificate", certificate_row, 1, certificate_columns);

static const struct column device_key_columns[] = {
    HASH(device_key_row, spki_sha256),
    TENANT(device_key_row),
    TEXT(device_key_row, device),
};
const struct table table_device_key = TABLE(3, "device_key", device_key_row, 1, device_key_columns);

static const struct column device_seen_columns[] = {
    TENANT(device_seen_row),
    TEXT(device_seen_row, device),
    INTEGER(device_seen_row, seen_at),
    INTEGER(device_seen_row, checkins),
};
const struct table table_device_seen =
    TABLE(4, "device_seen", device_seen_row, 2, device_seen_columns);

static const struct column manifest_columns[] = {
    TENANT(manifest_row),
    TEXT(manifest_row, id),
    SEARCHABLE_TEXT(manifest_row, model),
    TEXT(manifest_row, owner),
    INTEGER(manifest_row, devices),
    INTEGER(manifest_row, created_at),
    INTEGER(manifest_row, changed_at),
};
const struct table table_manifest = TABLE(5, "manifest", manifest_row, 2, manifest_columns);

static const struct column token_columns[] = {
    TENANT(token_row),          TEXT(token_row, name),          HASH(token_row, token_sha256),
    INTEGER(token_row, scopes), INTEGER(token_row, created_at), INTEGER(token_row, expires_at),
};
const struct table table_token = TABLE(6, "token", token_row, 2, token_columns);

static const struct column ledger_entry_columns[] = {
    INTEGER(ledger_entry_row, number),
    HASH(ledger_entry_row, leaf),
    BLOB(ledger_entry_row, data, ENTRY_MAX),
};
const struct table table_ledger_entry =
    TABLE(7, "ledger_entry", ledger_entry_row, 1, ledger_entry_columns);

static const struct column ledger_node_columns[] = {
    INTEGER(ledger_node_row, level),
    INTEGER(ledger_node_row, number),
    HASH(ledger_node_row, hash),
};
const struct table table_ledger_node =
    TABLE(8, "ledger_node", ledger_node_row, 2, ledger_node_columns);

static const struct column ledger_head_columns[] = {
    INTEGER(ledger_head_row, id),
    INTEGER(ledger_head_row, size),
    HASH(ledger_head_row, root),
    BLOB(ledger_head_row, frontier, sizeof(struct hash) * MERKLE_PROOF_MAX),
    INTEGER(ledger_head_row, changed_at),
};
const struct table table_ledger_head =
    TABLE(9, "ledger_head", ledger_head_row, 1, ledger_head_columns);

static const struct column setting_columns[] = {
    TEXT(setting_row, name),
    BLOB(setting_row, value, SETTING_VALUE_MAX),
    INTEGER(setting_row, changed_at),
};
const struct table table_setting = TABLE(10, "setting", setting_row, 1, setting_columns);

static const struct column subject_columns[] = {
    TENANT(subject_row),
    TEXT(subject_row, id),
    FLEET_INTEGER(subject_row, state),
    BLOB(subject_row, name, SUBJECT_NAME_SEALED_MAX),
    HASH(subject_row, name_mac),
    INTEGER(subject_row, created_at),
    INTEGER(subject_row, erased_at),
};
const struct table table_subject = TABLE(11, "subject", subject_row, 2, subject_columns);

static const struct column subject_name_columns[] = {
    TENANT(subject_name_row),
    HASH(subject_name_row, name_mac),
    TEXT(subject_name_row, id),
};
const struct table table_subject_name =
    TABLE(12, "subject_name", subject_name_row, 2, subject_name_columns);

static const struct column device_grace_columns[] = {
    TENANT(device_grace_row),
    TEXT(device_grace_row, device),
    INTEGER(device_grace_row, closed_before),
    INTEGER(device_grace_row, approved_until),
};
const struct table table_device_grace =
    TABLE(13, "device_grace", device_grace_row, 2, device_grace_columns);

static const struct column rotation_columns[] = {
    TENANT(rotation_row),
    TEXT(rotation_row, id),
    TEXT(rotation_row, reason),
    TEXT(rotation_row, actor),
    TEXT(rotation_row, model),
    TEXT(rotation_row, manifest),
    TEXT(rotation_row, owner),
    INTEGER(rotation_row, state),
    INTEGER(rotation_row, keys_touched),
    INTEGER(rotation_row, spread),
    INTEGER(rotation_row, phase),
    TEXT(rotation_row, position),
    INTEGER(rotation_row, devices),
    INTEGER(rotation_row, renewed),
    INTEGER(rotation_row, moved),
    INTEGER(rotation_row, gone),
    INTEGER(rotation_row, created_at),
    INTEGER(rotation_row, ended_at),
};
const struct table table_rotation = TABLE(14, "rotation", rotation_row, 2, rotation_columns);

static const struct column rotation_device_columns[] = {
    TENANT(rotation_device_row),       TEXT(rotation_device_row, rotation),
    TEXT(rotation_device_row, device), INTEGER(rotation_device_row, due_at),
    HEX(rotation_device_row, held),    TEXT(rotation_device_row, problem),
};
const struct table table_rotation_device =
    TABLE(15, "rotation_device", rotation_device_row, 3, rotation_device_columns);

static const struct column crl_entry_columns[] = {
    INTEGER(crl_entry_row, entry),     HEX(crl_entry_row, serial),
    INTEGER(crl_entry_row, reason),    INTEGER(crl_entry_row, date),
    INTEGER(crl_entry_row, not_after), INTEGER(crl_entry_row, authority),
};
const struct table table_crl_entry = TABLE(16, "crl_entry", crl_entry_row, 2, crl_entry_columns);

static const struct column hub_columns[] = {
    INTEGER(hub_row, id),          TEXT(hub_row, name),       INTEGER(hub_row, status),
    HASH(hub_row, issuing_sha256), TEXT(hub_row, ledger_key), TEXT(hub_row, reason),
    INTEGER(hub_row, joined_at),   INTEGER(hub_row, left_at), BLOB(hub_row, chain, HUB_CHAIN_MAX),
    TEXT(hub_row, policy_key),
};
const struct table table_hub = TABLE(17, "hub", hub_row, 1, hub_columns);

static const struct column policy_columns[] = {
    INTEGER(policy_row, number),
    INTEGER(policy_row, status),
    HASH(policy_row, text_sha256),
    BLOB(policy_row, text, POLICY_STORED_MAX),
    BLOB(policy_row, rules, POLICY_RULES_MAX),
    BLOB(policy_row, signature, NOTE_MAX),
    TEXT(policy_row, comment),
    TEXT(policy_row, proposed_by),
    TEXT(policy_row, approved_by),
    INTEGER(policy_row, restores),
    INTEGER(policy_row, proposed_at),
    INTEGER(policy_row, decided_at),
};
const struct table table_policy = TABLE(18, "policy", policy_row, 1, policy_columns);

static const struct column broker_columns[] = {
    TENANT(broker_row),      TEXT(broker_row, id),          INTEGER(broker_row, status),
    TEXT(broker_row, hosts), INTEGER(broker_row, added_at), INTEGER(broker_row, removed_at),
};
const struct table table_broker = TABLE(19, "broker", broker_row, 2, broker_columns);

static const struct column broker_seen_columns[] = {
    TENANT(broker_seen_row),           TEXT(broker_seen_row, broker),
    INTEGER(broker_seen_row, seen_at), INTEGER(broker_seen_row, position),
    INTEGER(broker_seen_row, rules),   INTEGER(broker_seen_row, sessions),
    TEXT(broker_seen_row, software),
};
const struct table table_broker_seen =
    TABLE(20, "broker_seen", broker_seen_row, 2, broker_seen_columns);

static const struct column device_cut_columns[] = {
    TENANT(device_cut_row),
    TEXT(device_cut_row, device),
    INTEGER(device_cut_row, state),
    INTEGER(device_cut_row, entry),
    INTEGER(device_cut_row, cut_at_ms),
    FLEET_INTEGER(device_cut_row, complete),
};
const struct table table_device_cut =
    TABLE(21, "device_cut", device_cut_row, 2, device_cut_columns);

static const struct column cut_leg_columns[] = {
    TENANT(cut_leg_row),
    TEXT(cut_leg_row, device),
    TEXT(cut_leg_row, leg),
    INTEGER(cut_leg_row, entry),
    INTEGER(cut_leg_row, confirmed_at_ms),
    TEXT(cut_leg_row, detail),
};
const struct table table_cut_leg = TABLE(22, "cut_leg", cut_leg_row, 3, cut_leg_columns);

static const struct column device_password_columns[] = {
    TENANT(device_password_row),
    TEXT(device_password_row, device),
    BLOB(device_password_row, salt, 16),
    INTEGER(device_password_row, iterations),
    HASH(device_password_row, stored_key),
    INTEGER(device_password_row, made_at),
    INTEGER(device_password_row, expires_at),
    INTEGER(device_password_row, used_at),
    BLOB(device_password_row, previous_salt, 16),
    INTEGER(device_password_row, previous_iterations),
    HASH(device_password_row, previous_key),
    INTEGER(device_password_row, previous_until),
};
const struct table table_device_password =
    TABLE(23, "device_password", device_password_row, 2, device_password_columns);

static const struct column broker_connect_columns[] = {
    TENANT(broker_connect_row),
    TEXT(broker_connect_row, broker),
    TEXT(broker_connect_row, device),
    HEX(broker_connect_row, certificate),
    INTEGER(broker_connect_row, connected_at),
};
const struct table table_broker_connect =
    TABLE(24, "broker_connect", broker_connect_row, 3, broker_connect_columns);

static const struct column automatic_cut_columns[] = {
    TENANT(automatic_cut_row),
    INTEGER(automatic_cut_row, number),
    TEXT(automatic_cut_row, device),
    INTEGER(automatic_cut_row, entry),
    INTEGER(automatic_cut_row, cut_at_ms),
};
const struct table table_automatic_cut =
    TABLE(25, "automatic_cut", automatic_cut_row, 2, automatic_cut_columns);

static const struct column automatic_count_columns[] = {
    TENANT(automatic_count_row),
    INTEGER(automatic_count_row, first),
    INTEGER(automatic_count_row, last),
    INTEGER(automatic_count_row, waiting),
};
const struct table table_automatic_count =
    TABLE(26, "automatic_count", automatic_count_row, 1, automatic_count_columns);

static const struct column cut_waiting_columns[] = {
    TENANT(cut_waiting_row),       TEXT(cut_waiting_row, device),   TEXT(cut_waiting_row, kind),
    TEXT(cut_waiting_row, reason), INTEGER(cut_waiting_row, since), INTEGER(cut_waiting_row, entry),
};
const struct table table_cut_waiting =
    TABLE(27, "cut_waiting", cut_waiting_row, 2, cut_waiting_columns);

const struct table *const store_tables[TABLE_COUNT] = {
    &table_model,          &table_device,        &table_certificate,     &table_device_key,
    &table_device_seen,    &table_manifest,      &table_token,           &table_ledger_entry,
    &table_ledger_node,    &table_ledger_head,   &table_setting,         &table_subject,
    &table_subject_name,   &table_device_grace,  &table_rotation,        &table_rotation_device,
    &table_crl_entry,      &table_hub,           &table_policy,          &table_broker,
    &table_broker_seen,    &table_device_cut,    &table_cut_leg,         &table_device_password,
    &table_broker_connect, &table_automatic_cut, &table_automatic_count, &table_cut_waiting,
};

static const char *word(const char *const *words, size_t n, int64_t which)
{
    return which >= 0 && (uint64_t)which < n ? words[which] : "unknown";
}

const char *device_state_text(int64_t state)
{
    static const char *const words[] = {
        [DEVICE_EXPECTED] = "expected", [DEVICE_ENROLLED] = "enrolled",
        [DEVICE_TRUSTED] = "trusted",   [DEVICE_QUARANTINED] = "quarantined",
        [DEVICE_REVOKED] = "revoked",   [DEVICE_RETIRED] = "retired",
    };
    return word(words, ARRAY_LEN(words), state);
}

const char *credential_kind_text(int64_t kind)
{
    static const char *const words[] = {
        [CREDENTIAL_CLAIM] = "claim",
        [CREDENTIAL_KEY] = "key",
        [CREDENTIAL_IDEVID] = "idevid",
        [CREDENTIAL_PASSWORD] = "password",
    };
    return word(words, ARRAY_LEN(words), kind);
}

const char *certificate_status_text(int64_t status)
{
    static const char *const words[] = {
        [CERTIFICATE_ISSUED] = "issued",
        [CERTIFICATE_ACTIVE] = "active",
        [CERTIFICATE_RETIRED] = "retired",
        [CERTIFICATE_REVOKED] = "revoked",
    };
    return word(words, ARRAY_LEN(words), status);
}

const char *model_proof_text(int64_t proof)
{
    static const char *const words[] = {
        [PROOF_MANIFEST] = "manifest",
        [PROOF_APPROVAL] = "approval",
    };
    return word(words, ARRAY_LEN(words), proof);
}

const char *rotation_phase_text(int64_t phase)
{
    static const char *const words[] = {
        [ROTATION_SELECTING] = "selecting",
        [ROTATION_RUNNING] = "running",
        [ROTATION_COMPLETE] = "complete",
        [ROTATION_CANCELLED] = "cancelled",
    };
    return word(words, ARRAY_LEN(words), phase);
}

const char *hub_status_text(int64_t status)
{
    static const char *const words[] = {
        [HUB_JOINED] = "joined",
        [HUB_LEFT] = "left",
    };
    return word(words, ARRAY_LEN(words), status);
}

const char *policy_status_text(int64_t status)
{
    static const char *const words[] = {
        [POLICY_PROPOSED] = "proposed",
        [POLICY_IN_FORCE] = "in-force",
        [POLICY_REPLACED] = "replaced",
        [POLICY_WITHDRAWN] = "withdrawn",
    };
    return word(words, ARRAY_LEN(words), status);
}

const char *broker_status_text(int64_t status)
{
    static const char *const words[] = {
        [BROKER_ADDED] = "added",
        [BROKER_REMOVED] = "removed",
    };
    return word(words, ARRAY_LEN(words), status);
}
