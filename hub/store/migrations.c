#include "hub/store/migrations.h"

/* No foreign keys between the tables: rows change through the writer alone, which decides over them
 * in C, and a check of the database's own would read each of them once more. */

const char *const migration_table_sql =
    "CREATE TABLE IF NOT EXISTS migration ("
    "number @integer PRIMARY KEY, applied_at @integer NOT NULL) @plain";

const struct migration migrations[] = {
    {{
        "CREATE TABLE tenant ("
        "id @text NOT NULL PRIMARY KEY, created_at @integer NOT NULL) @compact",
        "INSERT INTO tenant (id, created_at) VALUES ('', 0)",

        "CREATE TABLE model ("
        "tenant @text NOT NULL, id @text NOT NULL, maker @text NOT NULL, proof @integer NOT NULL, "
        "key_kinds @integer NOT NULL, lifetime @integer NOT NULL, "
        "enrolled_lifetime @integer NOT NULL, in_use @integer NOT NULL, "
        "created_at @integer NOT NULL, changed_at @integer NOT NULL, "
        "PRIMARY KEY (tenant, id)) @compact",

        "CREATE TABLE device ("
        "tenant @text NOT NULL, id @text NOT NULL, model @text NOT NULL, maker @text NOT NULL, "
        "owner @text NOT NULL, manifest @text NOT NULL, state @integer NOT NULL, "
        "was_trusted @integer NOT NULL, reason @text NOT NULL, credential @integer NOT NULL, "
        "credential_hash @bytes, "
        "claim_expires_at @integer NOT NULL, claim_used_at @integer NOT NULL, "
        "certificate @bytes NOT NULL, confirmed @bytes NOT NULL, report_hash @bytes, "
        "report @bytes NOT NULL, reported_at @integer NOT NULL, created_at @integer NOT NULL, "
        "changed_at @integer NOT NULL, PRIMARY KEY (tenant, id)) @compact",
        "CREATE INDEX device_model ON device (tenant, model, id)",
        "CREATE INDEX device_owner ON device (tenant, owner, id)",
        "CREATE INDEX device_manifest ON device (tenant, manifest, id)",
        "CREATE INDEX device_state ON device (tenant, state, id)",

        "CREATE TABLE certificate ("
        "serial @bytes NOT NULL PRIMARY KEY, tenant @text NOT NULL, device @text NOT NULL, "
        "status @integer NOT NULL, certificate_sha256 @bytes, "
        "not_before @integer NOT NULL, not_after @integer NOT NULL, issued_at @integer NOT NULL, "
        "first_used_at @integer NOT NULL, ended_at @integer NOT NULL, "
        "previous @bytes NOT NULL, der @bytes NOT NULL) @compact",

        "CREATE TABLE device_key ("
        "spki_sha256 @bytes NOT NULL PRIMARY KEY, tenant @text NOT NULL, device @text NOT NULL) "
        "@compact",

        "CREATE TABLE device_seen ("
        "tenant @text NOT NULL, device @text NOT NULL, seen_at @integer NOT NULL, "
        "checkins @integer NOT NULL, PRIMARY KEY (tenant, device)) @compact",

        "CREATE TABLE manifest ("
        "tenant @text NOT NULL, id @text NOT NULL, model @text NOT NULL, owner @text NOT NULL, "
        "devices @integer NOT NULL, created_at @integer NOT NULL, changed_at @integer NOT NULL, "
        "PRIMARY KEY (tenant, id)) @compact",
        "CREATE INDEX manifest_model ON manifest (tenant, model, id)",

        "CREATE TABLE token ("
        "tenant @text NOT NULL, name @text NOT NULL, token_sha256 @bytes NOT NULL, "
        "scopes @integer NOT NULL, created_at @integer NOT NULL, expires_at @integer NOT NULL, "
        "PRIMARY KEY (tenant, name)) @compact",

        "CREATE TABLE ledger_entry ("
        "number @integer PRIMARY KEY, leaf @bytes NOT NULL, data @bytes NOT NULL) @plain",
        "CREATE TABLE ledger_node ("
        "level @integer NOT NULL, number @integer NOT NULL, hash @bytes NOT NULL, "
        "PRIMARY KEY (level, number)) @compact",
        "CREATE TABLE ledger_head ("
        "id @integer PRIMARY KEY CHECK (id = 1), size @integer NOT NULL, root @bytes NOT NULL, "
        "frontier @bytes NOT NULL, changed_at @integer NOT NULL) @plain",

        "CREATE TABLE setting ("
        "name @text NOT NULL PRIMARY KEY, value @bytes NOT NULL, "
        "changed_at @integer NOT NULL) @plain",
    }},
    {{
        "CREATE TABLE subject ("
        "tenant @text NOT NULL, id @text NOT NULL, state @integer NOT NULL, name @bytes NOT NULL, "
        "name_mac @bytes, created_at @integer NOT NULL, erased_at @integer NOT NULL, "
        "PRIMARY KEY (tenant, id)) @compact",
        "CREATE INDEX subject_state ON subject (tenant, state, id)",
        "CREATE TABLE subject_name ("
        "tenant @text NOT NULL, name_mac @bytes NOT NULL, id @text NOT NULL, "
        "PRIMARY KEY (tenant, name_mac)) @compact",
    }},
    {{
        "ALTER TABLE model ADD COLUMN grace @integer NOT NULL DEFAULT 0",
        "CREATE TABLE device_grace ("
        "tenant @text NOT NULL, device @text NOT NULL, closed_before @integer NOT NULL, "
        "approved_until @integer NOT NULL, PRIMARY KEY (tenant, device)) @compact",
    }},
    {{
        "ALTER TABLE device ADD COLUMN rotation @text NOT NULL DEFAULT ''",
        "ALTER TABLE device ADD COLUMN renew_at @integer NOT NULL DEFAULT 0",
        "CREATE TABLE rotation ("
        "tenant @text NOT NULL, id @text NOT NULL, reason @text NOT NULL, actor @text NOT NULL, "
        "model @text NOT NULL, manifest @text NOT NULL, owner @text NOT NULL, "
        "state @integer NOT NULL, keys_touched @integer NOT NULL, spread @integer NOT NULL, "
        "phase @integer NOT NULL, position @text NOT NULL, devices @integer NOT NULL, "
        "renewed @integer NOT NULL, moved @integer NOT NULL, gone @integer NOT NULL, "
        "created_at @integer NOT NULL, ended_at @integer NOT NULL, "
        "PRIMARY KEY (tenant, id)) @compact",
        "CREATE TABLE rotation_device ("
        "tenant @text NOT NULL, rotation @text NOT NULL, device @text NOT NULL, "
        "due_at @integer NOT NULL, held @bytes NOT NULL, problem @text NOT NULL, "
        "PRIMARY KEY (tenant, rotation, device)) @compact",
    }},
    {{
        "CREATE TABLE crl_entry ("
        "entry @integer NOT NULL, serial @bytes NOT NULL, reason @integer NOT NULL, "
        "date @integer NOT NULL, not_after @integer NOT NULL, PRIMARY KEY (entry, serial)) "
        "@compact",
        "ALTER TABLE certificate ADD COLUMN listed @integer NOT NULL DEFAULT 0",
    }},
    {{
        "CREATE TABLE hub ("
        "id @integer PRIMARY KEY, name @text NOT NULL, status @integer NOT NULL, "
        "issuing_sha256 @bytes, ledger_key @text NOT NULL, reason @text NOT NULL, "
        "joined_at @integer NOT NULL, left_at @integer NOT NULL, chain @bytes NOT NULL) @plain",
    }},
    {{
        "ALTER TABLE device ADD COLUMN grp @text NOT NULL DEFAULT ''",
        "CREATE TABLE policy ("
        "number @integer PRIMARY KEY, status @integer NOT NULL, text_sha256 @bytes, "
        "text @bytes NOT NULL, rules @bytes NOT NULL, signature @bytes NOT NULL, "
        "comment @text NOT NULL, proposed_by @text NOT NULL, approved_by @text NOT NULL, "
        "restores @integer NOT NULL, proposed_at @integer NOT NULL, "
        "decided_at @integer NOT NULL) @plain",
        "CREATE TABLE broker ("
        "tenant @text NOT NULL, id @text NOT NULL, status @integer NOT NULL, hosts @text NOT NULL, "
        "added_at @integer NOT NULL, removed_at @integer NOT NULL, PRIMARY KEY (tenant, id)) "
        "@compact",
        "CREATE TABLE broker_seen ("
        "tenant @text NOT NULL, broker @text NOT NULL, seen_at @integer NOT NULL, "
        "position @integer NOT NULL, rules @integer NOT NULL, sessions @integer NOT NULL, "
        "software @text NOT NULL, PRIMARY KEY (tenant, broker)) @compact",
        "CREATE TABLE device_cut ("
        "tenant @text NOT NULL, device @text NOT NULL, state @integer NOT NULL, "
        "entry @integer NOT NULL, cut_at_ms @integer NOT NULL, complete @integer NOT NULL, "
        "PRIMARY KEY (tenant, device)) @compact",
        "CREATE INDEX device_cut_complete ON device_cut (tenant, complete, device)",
        "CREATE TABLE cut_leg ("
        "tenant @text NOT NULL, device @text NOT NULL, leg @text NOT NULL, "
        "entry @integer NOT NULL, confirmed_at_ms @integer NOT NULL, detail @text NOT NULL, "
        "PRIMARY KEY (tenant, device, leg)) @compact",
        "CREATE TABLE device_password ("
        "tenant @text NOT NULL, device @text NOT NULL, salt @bytes NOT NULL, "
        "iterations @integer NOT NULL, stored_key @bytes, made_at @integer NOT NULL, "
        "expires_at @integer NOT NULL, PRIMARY KEY (tenant, device)) @compact",
    }},
    {{
        "ALTER TABLE certificate ADD COLUMN authority @integer NOT NULL DEFAULT 0",
        "ALTER TABLE crl_entry ADD COLUMN authority @integer NOT NULL DEFAULT 0",
    }},
    {{
        "ALTER TABLE hub ADD COLUMN policy_key @text NOT NULL DEFAULT ''",
        "CREATE INDEX device_grp ON device (tenant, grp, id) WHERE grp <> ''",
    }},
    {{
        "ALTER TABLE device_password ADD COLUMN used_at @integer NOT NULL DEFAULT 0",
        "ALTER TABLE device_password ADD COLUMN previous_salt @bytes",
        "ALTER TABLE device_password ADD COLUMN previous_iterations @integer NOT NULL DEFAULT 0",
        "ALTER TABLE device_password ADD COLUMN previous_key @bytes",
        "ALTER TABLE device_password ADD COLUMN previous_until @integer NOT NULL DEFAULT 0",
    }},
    {{
        "CREATE TABLE broker_connect ("
        "tenant @text NOT NULL, broker @text NOT NULL, device @text NOT NULL, "
        "certificate @bytes NOT NULL, connected_at @integer NOT NULL, "
        "PRIMARY KEY (tenant, broker, device)) @compact",
    }},
    {{
        "CREATE TABLE automatic_cut ("
        "tenant @text NOT NULL, number @integer NOT NULL, device @text NOT NULL, "
        "entry @integer NOT NULL, cut_at_ms @integer NOT NULL, PRIMARY KEY (tenant, number)) "
        "@compact",
        "CREATE TABLE automatic_count ("
        "tenant @text NOT NULL PRIMARY KEY, first @integer NOT NULL, last @integer NOT NULL, "
        "waiting @integer NOT NULL) @compact",
        "CREATE TABLE cut_waiting ("
        "tenant @text NOT NULL, device @text NOT NULL, kind @text NOT NULL, "
        "reason @text NOT NULL, since @integer NOT NULL, entry @integer NOT NULL, "
        "PRIMARY KEY (tenant, device)) @compact",
    }},
    {{
        /* of all tenants at once, for whoever looks after what is open or erased */
        "DROP INDEX device_cut_complete",
        "CREATE INDEX device_cut_open ON device_cut (complete, tenant, device)",
        "DROP INDEX subject_state",
        "CREATE INDEX subject_of_state ON subject (state, tenant, id)",
    }},
};
const size_t migrations_len = ARRAY_LEN(migrations);

void migration_write(struct writer *w, const char *statement, const struct sql_dialect *dialect)
{
    const struct {
        struct slice token;
        const char *word;
    } words[] = {
        {SLICE_LITERAL("@text"), dialect->text},   {SLICE_LITERAL("@integer"), dialect->integer},
        {SLICE_LITERAL("@bytes"), dialect->bytes}, {SLICE_LITERAL("@compact"), dialect->compact},
        {SLICE_LITERAL("@plain"), dialect->plain},
    };
    struct slice rest = slice_of_text(statement);
    while (rest.len > 0) {
        size_t skip = 0;
        for (size_t i = 0; i < ARRAY_LEN(words) && skip == 0; i++) {
            if (!slice_starts_with(rest, words[i].token))
                continue;
            writer_text(w, words[i].word);
            skip = words[i].token.len;
        }
        if (skip == 0) {
            writer_u8(w, rest.data[0]);
            skip = 1;
        }
        rest = slice_of(rest.data + skip, rest.len - skip);
    }
}
