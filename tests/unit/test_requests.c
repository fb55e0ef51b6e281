#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/requests.h"
#include "base/json.h"
#include "failing_malloc.h"

#define ARENA_MAX ((size_t)8 * 1024 * 1024)

/* Each reader behind one signature; the result is looked at only to see that it is untouched. */
typedef enum err read_fn(struct slice text, struct arena *arena, struct problem *problem);
#define UNTOUCHED(name, call)                                                                      \
    static enum err read_##name(struct slice text, struct arena *arena, struct problem *problem)   \
    {                                                                                              \
        struct name ret, before;                                                                   \
        memset(&ret, 0x5a, sizeof ret);                                                            \
        memset(&before, 0x5a, sizeof before);                                                      \
        enum err err = call;                                                                       \
        if (err != ERR_NONE)                                                                       \
            assert_memory_equal(&ret, &before, sizeof ret);                                        \
        return err;                                                                                \
    }
#define READ_BODY(name)  UNTOUCHED(name, name##_read(text, arena, &ret, problem))
#define READ_QUERY(name) UNTOUCHED(name, name##_read((const char *)text.data, arena, &ret, problem))
API_REQUEST_READERS(READ_BODY)
API_QUERY_READERS(READ_QUERY)

static void takes_what_the_contract_shows(void **state)
{
    (void)state;
    struct arena *a = arena_new(ARENA_MAX);
    struct problem p = {0};

    struct request_device_checkin checkin;
    assert_int_equal(request_device_checkin_read(
                         SLICE_LITERAL("{\"agent_version\":\"0.1.0\",\"uptime_seconds\":86400,"
                                       "\"boot_id\":\"5d1c0f7e-8a61-4c52-9a1b-2f6f3e1c9d40\","
                                       "\"certificate_expires_at\":\"1970-01-02T00:00:00Z\"}"),
                         a, &checkin, &p),
                     ERR_NONE);
    assert_string_equal(checkin.agent_version, "0.1.0");
    assert_int_equal(checkin.uptime_seconds, 86400);
    assert_true(checkin.has_boot_id && checkin.has_certificate_expires_at);
    assert_string_equal(checkin.boot_id, "5d1c0f7e-8a61-4c52-9a1b-2f6f3e1c9d40");
    assert_int_equal(checkin.certificate_expires_at, 86400);

    assert_int_equal(
        request_device_checkin_read(
            SLICE_LITERAL("{\"agent_version\":\"0.1.0\",\"uptime_seconds\":9007199254740991}"), a,
            &checkin, &p),
        ERR_NONE);
    assert_true(checkin.uptime_seconds == INT64_C(9007199254740991));
    assert_false(checkin.has_boot_id || checkin.has_certificate_expires_at);
    assert_null(checkin.boot_id);
    assert_int_equal(checkin.certificate_expires_at, 0);

    struct request_device_report report;
    assert_int_equal(request_device_report_read(
                         SLICE_LITERAL("{\"agent_version\":\"0.1.0\",\"platform\":\"l\\u00efnux\","
                                       "\"key_storage\":\"secure-element\",\"boot_count\":0,"
                                       "\"facts\":{\"os\":\"Debian 12\",\"empty\":\"\"}}"),
                         a, &report, &p),
                     ERR_NONE);
    assert_string_equal(report.platform, "l\xC3\xAFnux");
    assert_int_equal(report.key_storage, API_KEY_STORAGE_SECURE_ELEMENT);
    assert_true(report.has_boot_count && report.boot_count == 0);
    assert_int_equal(report.facts_len, 2);
    assert_string_equal(report.facts[0].name, "os");
    assert_string_equal(report.facts[0].value, "Debian 12");
    assert_string_equal(report.facts[1].name, "empty");
    assert_string_equal(report.facts[1].value, "");

    struct request_model_create model;
    assert_int_equal(request_model_create_read(
                         SLICE_LITERAL("{\"id\":\"thermo\",\"maker\":\"acme\",\"proof\":"
                                       "\"approval\",\"key_kinds\":[\"RSA\",\"P-256\"],\"lifetime_"
                                       "seconds\":3600,\"enrolled_lifetime_seconds\":86400}"),
                         a, &model, &p),
                     ERR_NONE);
    assert_string_equal(model.id, "thermo");
    assert_int_equal(model.proof, API_MODEL_PROOF_APPROVAL);
    assert_int_equal(model.key_kinds, 1U << API_KEY_KIND_P_256 | 1U << API_KEY_KIND_RSA);
    assert_int_equal(model.lifetime_seconds, 3600);
    assert_int_equal(model.enrolled_lifetime_seconds, 86400);

    struct request_model_change change;
    assert_int_equal(
        request_model_change_read(SLICE_LITERAL("{\"key_kinds\":[\"Ed25519\"]}"), a, &change, &p),
        ERR_NONE);
    assert_true(change.has_key_kinds && !change.has_proof && !change.has_lifetime_seconds);
    assert_int_equal(change.key_kinds, 1U << API_KEY_KIND_ED25519);

    struct request_token_create token;
    assert_int_equal(request_token_create_read(
                         SLICE_LITERAL("{\"name\":\"auditor\",\"scopes\":[\"metrics\",\"ledger\"],"
                                       "\"expires_at\":\"2027-11-23T00:00:00Z\"}"),
                         a, &token, &p),
                     ERR_NONE);
    assert_int_equal(token.scopes, 3);
    arena_free(a);
}

static void takes_rows(void **state)
{
    (void)state;
    struct arena *a = arena_new(ARENA_MAX);
    struct problem p = {0};
    struct request_manifest_add_devices add;
    assert_int_equal(
        request_manifest_add_devices_read(
            SLICE_LITERAL(
                "{\"rows\":[{\"serial\":\"a\",\"claim\":{\"expires_at\":\"1970-01-01T00:00:01Z\"}},"
                "{\"key_sha256\":\"00ff10AbcdEF000000000000000000000000000000000000000000000000007f"
                "\",\"serial\":\"b\"},"
                "{\"serial\":\"c\",\"idevid_pem\":\"-----BEGIN\\r\\nx\\n\"}]}"),
            a, &add, &p),
        ERR_NONE);
    assert_int_equal(add.rows_len, 3);
    assert_string_equal(add.rows[0].serial, "a");
    assert_true(add.rows[0].has_claim && !add.rows[0].has_key_sha256 &&
                !add.rows[0].has_idevid_pem);
    assert_int_equal(add.rows[0].claim.expires_at, 1);
    assert_true(!add.rows[1].has_claim && add.rows[1].has_key_sha256);
    static const uint8_t key[32] = {0x00, 0xff, 0x10, 0xab, 0xcd, 0xef, [31] = 0x7f};
    assert_memory_equal(add.rows[1].key_sha256, key, sizeof key);
    assert_true(add.rows[2].has_idevid_pem);
    assert_string_equal(add.rows[2].idevid_pem, "-----BEGIN\r\nx\n");
    arena_free(a);
}

#define CHECKIN(more) "{\"agent_version\":\"1\",\"uptime_seconds\":1" more "}"
#define REPORT(facts)                                                                              \
    "{\"agent_version\":\"1\",\"platform\":\"p\",\"key_storage\":\"tpm\",\"facts\":" facts "}"
#define MODEL(maker, proof, kinds, life, enrolled)                                                 \
    "{\"id\":\"m\",\"maker\":" maker ",\"proof\":" proof ",\"key_kinds\":" kinds                   \
    ",\"lifetime_seconds\":" life ",\"enrolled_lifetime_seconds\":" enrolled "}"
#define HASH   "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
#define ROW(x) "{\"serial\":\"a\"," x "}"
#define ROWS(x)                                                                                    \
    "{\"rows\":[" ROW("\"key_sha256\":\"" HASH "\"") "," ROW("\"key_sha256\":\"" HASH "\"") "," x  \
                                                                                            "]}"
#define LONG65 "a1234567890123456789012345678901234567890123456789012345678901234"

static const struct refusal {
    read_fn *read;
    struct slice text;
    const char *code;
    const char *field;
} refusals[] = {
#define CASE(name, text, code, field)                                                              \
    {                                                                                              \
        read_##name, SLICE_LITERAL(text), code, field                                              \
    }
    /* not JSON as it is taken */
    CASE(request_device_move, "", "json-malformed", ""),
    CASE(request_device_move, "[]", "json-not-object", ""),
    CASE(request_device_move, "{\"reason\":\"a\",\"reason\":\"a\"}", "json-duplicate-key", ""),
    CASE(request_device_move, "{\"reason\":\"a\"}x", "json-malformed", ""),
    CASE(request_device_move, "{\"reason\":\"a\\u0000\"}", "json-malformed", ""),
    CASE(request_device_move, "{\"reason\":[[[[[[[[[[]]]]]]]]]]}", "json-too-deep", ""),
    /* fields */
    CASE(request_device_move, "{}", "field-missing", "reason"),
    CASE(request_device_move, "{\"reason\":\"a\",\"x\":1}", "field-unknown", "x"),
    CASE(request_device_move, "{\"Reason\":\"a\"}", "field-unknown", "Reason"),
    CASE(request_device_move, "{\"\":\"a\"}", "field-unknown", ""),
    CASE(request_device_move, "{\"reason\":null}", "field-type", "reason"),
    CASE(request_device_move, "{\"reason\":1}", "field-type", "reason"),
    CASE(request_device_move, "{\"reason\":\"\"}", "field-size", "reason"),
    CASE(request_device_move, "{\"reason\":\"a\\nb\"}", "field-value", "reason"),
    CASE(request_device_move, "{\"reason\":\"\\u001b[2J\"}", "field-value", "reason"),
    CASE(request_device_move, "{\"reason\":\"a\",\"keys\":\"touched\"}", "field-unknown", "keys"),
    CASE(request_device_quarantine, "{\"keys\":\"touched\"}", "field-missing", "reason"),
    CASE(request_device_quarantine, "{\"reason\":\"a\",\"keys\":\"lost\"}", "field-value", "keys"),
    CASE(request_device_readmit, "{\"reason\":\"a\"}", "field-missing", "expires_at"),
    CASE(request_device_readmit, "{\"reason\":\"a\",\"expires_at\":\"soon\"}", "field-value",
         "expires_at"),
    /* integers */
    CASE(request_device_checkin, "{\"agent_version\":\"1\"}", "field-missing", "uptime_seconds"),
    CASE(request_device_checkin, "{\"agent_version\":\"1\",\"uptime_seconds\":-1}", "field-range",
         "uptime_seconds"),
    CASE(request_device_checkin, "{\"agent_version\":\"1\",\"uptime_seconds\":9007199254740992}",
         "field-range", "uptime_seconds"),
    CASE(request_device_checkin, "{\"agent_version\":\"1\",\"uptime_seconds\":1.0}", "field-type",
         "uptime_seconds"),
    CASE(request_device_checkin, "{\"agent_version\":\"1\",\"uptime_seconds\":\"1\"}", "field-type",
         "uptime_seconds"),
    CASE(request_device_checkin, "{\"agent_version\":\"1\",\"uptime_seconds\":true}", "field-type",
         "uptime_seconds"),
    CASE(request_device_checkin, "{\"agent_version\":\"1 2\",\"uptime_seconds\":1}", "field-value",
         "agent_version"),
    CASE(request_device_checkin, "{\"agent_version\":\"" LONG65 "\",\"uptime_seconds\":1}",
         "field-size", "agent_version"),
    CASE(request_device_checkin, CHECKIN(",\"boot_id\":\"5d1c\""), "field-value", "boot_id"),
    CASE(request_device_checkin, CHECKIN(",\"boot_id\":null"), "field-type", "boot_id"),
    /* times */
    CASE(request_device_checkin, CHECKIN(",\"certificate_expires_at\":0"), "field-type",
         "certificate_expires_at"),
    CASE(request_device_checkin,
         CHECKIN(",\"certificate_expires_at\":\"2026-11-23T04:21:38+01:00\""), "field-value",
         "certificate_expires_at"),
    CASE(request_device_checkin, CHECKIN(",\"certificate_expires_at\":\"2026-02-30T00:00:00Z\""),
         "field-value", "certificate_expires_at"),
    CASE(request_device_checkin, CHECKIN(",\"certificate_expires_at\":\"\""), "field-value",
         "certificate_expires_at"),
    CASE(request_claim, "{\"expires_at\":\"2026-11-23 04:21:38Z\"}", "field-value", "expires_at"),
    /* words */
    CASE(request_device_report,
         "{\"agent_version\":\"1\",\"platform\":\"p\",\"key_storage\":\"TPM\",\"facts\":{}}",
         "field-value", "key_storage"),
    CASE(request_device_report,
         "{\"agent_version\":\"1\",\"platform\":\"p\",\"key_storage\":\"\",\"facts\":{}}",
         "field-value", "key_storage"),
    CASE(request_device_report,
         "{\"agent_version\":\"1\",\"platform\":\"\",\"key_storage\":\"tpm\",\"facts\":{}}",
         "field-size", "platform"),
    /* maps */
    CASE(request_device_report, REPORT("[]"), "field-type", "facts"),
    CASE(request_device_report, REPORT("{\"a\":1}"), "field-type", "facts.a"),
    CASE(request_device_report, REPORT("{\"a b\":\"c\"}"), "field-value", "facts.a b"),
    CASE(request_device_report, REPORT("{\"" LONG65 "\":\"c\"}"), "field-size", "facts." LONG65),
    CASE(request_device_report, REPORT("{\"a\":\"b\\u0007\"}"), "field-value", "facts.a"),
    CASE(request_device_report, REPORT("{\"a\":{\"b\":\"c\"}}"), "field-type", "facts.a"),
    /* sets of words */
    CASE(request_model_create, MODEL("\"m\"", "\"manifest\"", "[]", "3600", "300"), "field-size",
         "key_kinds"),
    CASE(request_model_create,
         MODEL("\"m\"", "\"manifest\"", "[\"P-256\",\"P-384\",\"Ed25519\",\"RSA\",\"P-521\"]",
               "3600", "300"),
         "field-size", "key_kinds"),
    CASE(request_model_create, MODEL("\"m\"", "\"manifest\"", "[\"P-521\"]", "3600", "300"),
         "field-value", "key_kinds[0]"),
    CASE(request_model_create, MODEL("\"m\"", "\"manifest\"", "[\"RSA\",1]", "3600", "300"),
         "field-type", "key_kinds[1]"),
    CASE(request_model_create, MODEL("\"m\"", "\"manifest\"", "[\"RSA\",\"RSA\"]", "3600", "300"),
         "field-repeated", "key_kinds[1]"),
    CASE(request_model_create, MODEL("\"m\"", "\"manifest\"", "\"RSA\"", "3600", "300"),
         "field-type", "key_kinds"),
    CASE(request_model_create, MODEL("\"m\"", "\"manifest\"", "[\"RSA\"]", "3599", "300"),
         "field-range", "lifetime_seconds"),
    CASE(request_model_create, MODEL("\"m\"", "\"manifest\"", "[\"RSA\"]", "94608001", "300"),
         "field-range", "lifetime_seconds"),
    CASE(request_model_create, MODEL("\"m\"", "\"manifest\"", "[\"RSA\"]", "3600", "299"),
         "field-range", "enrolled_lifetime_seconds"),
    CASE(request_model_create, MODEL("\"m\"", "\"manifest\"", "[\"RSA\"]", "3600", "86401"),
         "field-range", "enrolled_lifetime_seconds"),
    CASE(request_model_create, MODEL("\"-m\"", "\"manifest\"", "[\"RSA\"]", "3600", "300"),
         "field-value", "maker"),
    CASE(request_model_create, MODEL("\"m\"", "\"trust me\"", "[\"RSA\"]", "3600", "300"),
         "field-value", "proof"),
    CASE(request_model_change, "{}", "field-missing", ""),
    CASE(request_model_change, "{\"id\":\"x\"}", "field-unknown", "id"),
    CASE(request_model_change, "{\"proof\":null}", "field-type", "proof"),
    CASE(request_manifest_create, "{\"id\":\"a\",\"model\":\"b\"}", "field-missing", "owner"),
    CASE(request_ledger_archive, "{\"before\":256}", "field-missing", "where"),
    CASE(request_ledger_archive, "{\"before\":-256,\"where\":\"x\"}", "field-range", "before"),
    CASE(request_ledger_archive, "{\"before\":256,\"where\":\"\\u00e4\"}", "field-value", "where"),
    CASE(request_token_create, "{\"name\":\"a\",\"scopes\":[\"admin\"],\"expires_at\":\"\"}",
         "field-value", "scopes[0]"),
    /* lists of objects */
    CASE(request_manifest_add_devices, "{}", "field-missing", "rows"),
    CASE(request_manifest_add_devices, "{\"rows\":{}}", "field-type", "rows"),
    CASE(request_manifest_add_devices, "{\"rows\":[]}", "field-size", "rows"),
    CASE(request_manifest_add_devices, ROWS("1"), "field-type", "rows[2]"),
    CASE(request_manifest_add_devices, ROWS("{}"), "field-missing", "rows[2].serial"),
    CASE(request_manifest_add_devices, ROWS("{\"serial\":\"a\"}"), "field-choice", "rows[2]"),
    CASE(request_manifest_add_devices,
         ROWS(ROW("\"key_sha256\":\"" HASH "\",\"idevid_pem\":\"x\"")), "field-choice", "rows[2]"),
    CASE(request_manifest_add_devices, ROWS(ROW("\"key_sha256\":\"" HASH "0\"")), "field-value",
         "rows[2].key_sha256"),
    CASE(request_manifest_add_devices, ROWS(ROW("\"key_sha256\":\"x" HASH "\"")), "field-value",
         "rows[2].key_sha256"),
    CASE(request_manifest_add_devices,
         ROWS(ROW("\"key_sha256\":\"zf86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a0"
                  "8\"")),
         "field-value", "rows[2].key_sha256"),
    CASE(request_manifest_add_devices, ROWS(ROW("\"claim\":null")), "field-type", "rows[2].claim"),
    CASE(request_manifest_add_devices, ROWS(ROW("\"claim\":{}")), "field-missing",
         "rows[2].claim.expires_at"),
    CASE(request_manifest_add_devices,
         ROWS(ROW("\"claim\":{\"expires_at\":\"2026-11-23T04:21:38Z\",\"code\":\"x\"}")),
         "field-unknown", "rows[2].claim.code"),
    CASE(request_manifest_add_devices, ROWS(ROW("\"idevid_pem\":\"\\u00e4\"")), "field-value",
         "rows[2].idevid_pem"),
    CASE(request_manifest_add_devices, ROWS(ROW("\"idevid_pem\":\"\"")), "field-size",
         "rows[2].idevid_pem"),
    /* queries */
    CASE(request_rotation_create, "{\"reason\":\"a\"}", "field-missing", "over_seconds"),
    CASE(request_rotation_create, "{\"reason\":\"a\",\"over_seconds\":-1}", "field-range",
         "over_seconds"),
    CASE(request_rotation_create, "{\"reason\":\"a\",\"over_seconds\":0,\"devices\":[]}",
         "field-size", "devices"),
    CASE(request_rotation_create,
         "{\"reason\":\"a\",\"over_seconds\":0,\"devices\":[{\"id\":\"-\"}]}", "field-value",
         "devices[0].id"),
    CASE(request_cut_create, "{\"reason\":\"a\"}", "field-missing", "move"),
    CASE(request_cut_create, "{\"reason\":\"a\",\"move\":\"approve\"}", "field-value", "move"),
    CASE(request_cut_create, "{\"reason\":\"a\",\"move\":\"revoke\",\"devices\":[]}", "field-size",
         "devices"),
    CASE(query_cut_list, "status=half", "field-value", "status"),
    CASE(query_cut_count, "model=a", "field-missing", "move"),
    CASE(query_rotation_list, "model=a", "field-unknown", "model"),
    CASE(query_rotation_stragglers, "limit=1001", "field-range", "limit"),
    CASE(query_device_list, "x=1", "field-unknown", "x"),
    CASE(query_device_list, "limit", "query-malformed", ""),
    CASE(query_device_list, "=1", "query-malformed", ""),
    CASE(query_device_list, "&", "query-malformed", ""),
    CASE(query_device_list, "limit=1&", "query-malformed", ""),
    CASE(query_device_list, "&limit=1", "query-malformed", ""),
    CASE(query_device_list, "limit=1&&after=a", "query-malformed", ""),
    CASE(query_device_list, "model=a%62", "query-malformed", ""),
    CASE(query_device_list, "mod%65l=a", "query-malformed", ""),
    CASE(query_device_list, "model=a+b", "query-malformed", ""),
    CASE(query_device_list, "limit=", "field-value", "limit"),
    CASE(query_device_list, "limit=0", "field-range", "limit"),
    CASE(query_device_list, "limit=1001", "field-range", "limit"),
    CASE(query_device_list, "limit=-1", "field-value", "limit"),
    CASE(query_device_list, "limit=01", "field-value", "limit"),
    CASE(query_device_list, "limit=1x", "field-value", "limit"),
    CASE(query_device_list, "limit=99999999999999999999", "field-value", "limit"),
    CASE(query_device_list, "limit=1&limit=1", "field-repeated", "limit"),
    CASE(query_device_list, "state=Trusted", "field-value", "state"),
    CASE(query_device_list, "state=", "field-value", "state"),
    CASE(query_device_list, "model=", "field-value", "model"),
    CASE(query_device_list, "model=a=b", "field-value", "model"),
    CASE(query_device_list, "after=" LONG65, "field-size", "after"),
    CASE(query_device_list, "model=\xC3\xA4", "field-value", "model"),
    CASE(query_ledger_entries, "order=up", "field-value", "order"),
    CASE(query_ledger_entries, "first=9007199254740992", "field-range", "first"),
    CASE(query_model_list, "state=trusted", "field-unknown", "state"),
    CASE(query_manifest_list, "x=", "field-unknown", "x"),
    CASE(query_token_list, "limit=0x10", "field-value", "limit"),
    CASE(query_subject_list, "after=~~", "field-value", "after"),
    CASE(query_device_certificates, "after=a", "field-unknown", "after"),
    /* Of brokers' programs: a field that nobody knows is passed over, one that is known is not. */
    CASE(request_hook_emqx_authn, "{\"peerhost\":1,\"username\":1}", "field-type", "username"),
    CASE(request_hook_emqx_authn, "{\"cert_pem\":\"a-b\"}", "field-value", "cert_pem"),
    CASE(request_hook_emqx_authz, "{\"topic\":\"a\",\"action\":null}", "field-missing", "action"),
    CASE(request_hook_vernemq, "{\"topics\":[{\"topic\":\"a\",\"qos\":256}]}", "field-range",
         "topics[0].qos"),
    CASE(request_hook_vernemq, "{\"topic\":\"a\\u0000b\"}", "json-malformed", ""),
    CASE(request_hook_go_auth_user, "{\"password\":[]}", "field-type", "password"),
    CASE(request_hook_go_auth_acl, "{\"topic\":\"a\",\"acc\":16}", "field-range", "acc"),
    CASE(request_hook_emqx4_auth, "username=a&username=b", "field-repeated", "username"),
    CASE(request_hook_emqx4_auth, "username", "form-malformed", ""),
    CASE(request_hook_emqx4_auth, "=a", "form-malformed", ""),
    CASE(request_hook_emqx4_auth, "username=a%2", "form-malformed", ""),
    CASE(request_hook_emqx4_auth, "username=a%2g", "form-malformed", ""),
    CASE(request_hook_emqx4_auth, "username=a%00b", "form-malformed", ""),
    CASE(request_hook_emqx4_auth, "username=%ff", "field-value", "username"),
    CASE(request_hook_emqx4_auth, "username=a&", "form-malformed", ""),
    CASE(request_hook_emqx4_acl, "topic=a&clientid=", "field-missing", "access"),
    CASE(request_broker_add, "{\"name\":\"a\",\"hosts\":[]}", "field-size", "hosts"),
    CASE(request_broker_report, "{\"connects\":[{\"first\":1}]}", "field-type",
         "connects[0].first"),
    CASE(query_broker_list, "limit=0", "field-range", "limit"),
    CASE(query_broker_table, "limit=4097", "field-range", "limit"),
    CASE(query_broker_changes, "wait=1", "field-missing", "after"),
    CASE(query_broker_changes, "after=1&wait=26", "field-range", "wait"),
    CASE(query_broker_rules, "version=-1", "field-value", "version"),
};

static void refuses(void **state)
{
    (void)state;
    struct arena *a = arena_new(ARENA_MAX);
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        const struct refusal *r = &refusals[i];
        struct problem p = {0};
        enum err err = r->read(r->text, a, &p);
        if (err == ERR_NONE || strcmp(p.code, r->code) != 0 || strcmp(p.field, r->field) != 0)
            print_error("case %zu: %s\n  %s, field '%s': %s\n", i, (const char *)r->text.data,
                        p.code == NULL ? "taken" : p.code, p.field, p.detail);
        assert_true(err == ERR_REFUSED || strncmp(r->code, "json-", 5) == 0);
        assert_int_not_equal(err, ERR_NONE);
        assert_string_equal(p.code, r->code);
        assert_string_equal(p.field, r->field);
        assert_int_equal(p.status, 400);
        assert_true(strlen(p.detail) > 10);
        arena_reset(a);
    }
    arena_free(a);
}

static void every_reader_has_a_refusal(void **state)
{
    (void)state;
#define HAS_REFUSAL(name)                                                                          \
    {                                                                                              \
        bool found = false;                                                                        \
        for (size_t i = 0; i < ARRAY_LEN(refusals); i++)                                           \
            found = found || refusals[i].read == read_##name;                                      \
        assert_true(found);                                                                        \
    }
    API_REQUEST_READERS(HAS_REFUSAL)
    API_QUERY_READERS(HAS_REFUSAL)
}

/* A detail may say what is wrong with a value, never the value: it could be a secret. */
static void does_not_quote_values(void **state)
{
    (void)state;
    struct arena *a = arena_new(ARENA_MAX);
    struct problem p = {0};
    static const char *const bodies[] = {
        "{\"agent_version\":\"SECRET SECRET\",\"uptime_seconds\":1}",
        CHECKIN(",\"certificate_expires_at\":\"SECRET\""),
        CHECKIN(",\"boot_id\":\"SECRET\""),
    };
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        assert_int_equal(read_request_device_checkin(slice_of_text(bodies[i]), a, &p), ERR_REFUSED);
        assert_null(strstr(p.detail, "SECRET"));
        assert_null(strstr(p.field, "SECRET"));
    }
    arena_free(a);
}

static void cuts_long_names(void **state)
{
    (void)state;
    char body[1000], query[600];
    char name[401];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    (void)snprintf(body, sizeof body, "{\"rows\":[{\"%s\":1}]}", name);
    (void)snprintf(query, sizeof query, "%s=1", name);
    struct arena *a = arena_new(ARENA_MAX);
    struct problem p = {0};
    assert_int_equal(read_request_manifest_add_devices(slice_of_text(body), a, &p), ERR_REFUSED);
    assert_string_equal(p.code, "field-unknown");
    assert_int_equal(strlen(p.field), sizeof p.field - 1);
    assert_memory_equal(p.field, "rows[0].nnnn", 12);
    assert_int_equal(read_query_device_list(slice_of_text(query), a, &p), ERR_REFUSED);
    assert_string_equal(p.code, "field-unknown");
    assert_int_equal(strlen(p.field), sizeof p.field - 1);
    arena_free(a);
}

static void takes_queries(void **state)
{
    (void)state;
    struct arena *a = arena_new(ARENA_MAX);
    struct problem p = {0};
    struct query_device_list q;
    assert_int_equal(query_device_list_read("", a, &q, &p), ERR_NONE);
    assert_int_equal(q.limit, 100);
    assert_false(q.has_model || q.has_state || q.has_manifest || q.has_owner || q.has_after);
    assert_int_equal(query_device_list_read("state=revoked&limit=1000&after=thermo-1&model=m&"
                                            "owner=o&manifest=b.1",
                                            a, &q, &p),
                     ERR_NONE);
    assert_true(q.has_model && q.has_state && q.has_manifest && q.has_owner && q.has_after);
    assert_int_equal(q.state, API_DEVICE_STATE_REVOKED);
    assert_int_equal(q.limit, 1000);
    assert_string_equal(q.after, "thermo-1");
    assert_string_equal(q.manifest, "b.1");

    struct query_ledger_entries e;
    assert_int_equal(query_ledger_entries_read("", a, &e, &p), ERR_NONE);
    assert_int_equal(e.order, API_ORDER_ASC);
    assert_false(e.has_first);
    assert_int_equal(query_ledger_entries_read("first=0&order=desc", a, &e, &p), ERR_NONE);
    assert_int_equal(e.order, API_ORDER_DESC);
    assert_true(e.has_first && e.first == 0);

    assert_int_equal(decode_no_query("", &p), ERR_NONE);
    assert_int_equal(decode_no_query("a=1", &p), ERR_REFUSED);
    assert_string_equal(p.code, "field-unknown");
    assert_string_equal(p.field, "a");
    assert_int_equal(decode_no_query("a", &p), ERR_REFUSED);
    assert_string_equal(p.code, "query-malformed");
    arena_free(a);
}

static void memory_runs_out(void **state)
{
    (void)state;
    static const char body[] = "{\"rows\":[{\"serial\":\"a\",\"idevid_pem\":\"x\"},"
                               "{\"serial\":\"b\",\"key_sha256\":\"" HASH "\"}]}";
    json_set_alloc_funcs(malloc, free);
    long n = 0;
    enum err err = ERR_NO_MEMORY;
    for (; err != ERR_NONE; n++) {
        allocations_left = n;
        struct arena *a = arena_new(ARENA_MAX);
        struct problem p = {0};
        if (a != NULL)
            err = read_request_manifest_add_devices(slice_of_text(body), a, &p);
        allocations_left = -1;
        /* jansson takes some failures for malformed text */
        assert_true(err == ERR_NONE || err == ERR_NO_MEMORY || err == ERR_SYNTAX);
        if (a != NULL && err != ERR_NONE)
            assert_int_equal(p.status, err == ERR_NO_MEMORY ? 503 : 400);
        arena_free(a);
        assert_true(n < 1000);
    }
    assert_true(n > 5);
    /* and so does the arena */
    for (size_t max = 0; err != ERR_NONE || max == 0; max += 16) {
        struct arena *a = arena_new(max);
        struct problem p = {0};
        err = read_request_manifest_add_devices(slice_of_text(body), a, &p);
        assert_true(err == ERR_NONE || err == ERR_NO_MEMORY);
        arena_free(a);
    }
    for (size_t max = 0; max < 16 || err != ERR_NONE; max += 16) {
        struct arena *a = arena_new(max);
        struct problem p = {0};
        err = read_query_device_list(slice_of_text("model=a"), a, &p);
        assert_true(err == ERR_NONE || err == ERR_NO_MEMORY);
        arena_free(a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_what_the_contract_shows),
        cmocka_unit_test(takes_rows),
        cmocka_unit_test(refuses),
        cmocka_unit_test(every_reader_has_a_refusal),
        cmocka_unit_test(does_not_quote_values),
        cmocka_unit_test(cuts_long_names),
        cmocka_unit_test(takes_queries),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
