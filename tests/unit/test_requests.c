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
#include "tests/unit/request_refusals.h"
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
