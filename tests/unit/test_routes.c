#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "api/requests.h"
#include "api/routes.h"

/* Each handler leaves its own name. */
static const char *handled;
#define HANDLER(operation)                                                                         \
    void api_##operation(struct api_call *call)                                                    \
    {                                                                                              \
        (void)call;                                                                                \
        handled = #operation;                                                                      \
    }
API_OPERATIONS(HANDLER)

#define D LISTENER_DEVICE
#define B LISTENER_BOOTSTRAP
#define O LISTENER_OPERATOR
#define S LISTENER_STATUS
#define L LISTENER_LOCAL

static void finds(void **state)
{
    (void)state;
    static const struct {
        enum http_method method;
        const char *path;
        enum listener listener;
        const char *operation;
        enum caller caller;
        const char *param;
    } cases[] = {
        {HTTP_GET, "/.well-known/est/cacerts", D, "est_cacerts", CALLER_PUBLIC, NULL},
        {HTTP_GET, "/.well-known/est/cacerts", B, "est_cacerts", CALLER_PUBLIC, NULL},
        {HTTP_GET, "/.well-known/est/cacerts", L, "est_cacerts", CALLER_LOCAL, NULL},
        {HTTP_POST, "/.well-known/est/simpleenroll", B, "est_simpleenroll", CALLER_ENROLMENT, NULL},
        {HTTP_POST, "/.well-known/est/simplereenroll", D, "est_simplereenroll",
         CALLER_DEVICE_ENROLLED, NULL},
        {HTTP_POST, "/.well-known/est/simplereenroll", B, "est_simplereenroll",
         CALLER_DEVICE_EXPIRED, NULL},
        {HTTP_PUT, "/v1/device/report", D, "device_report", CALLER_DEVICE, NULL},
        {HTTP_GET, "/v1/ledger/checkpoint", D, "ledger_checkpoint", CALLER_DEVICE, NULL},
        {HTTP_GET, "/v1/ledger/checkpoint", O, "ledger_checkpoint", CALLER_TOKEN_LEDGER, NULL},
        {HTTP_GET, "/v1/ledger/checkpoint", L, "ledger_checkpoint", CALLER_LOCAL, NULL},
        {HTTP_GET, "/v1/ledger/tile/0/000", O, "ledger_tile", CALLER_TOKEN_LEDGER, "0/000"},
        {HTTP_GET, "/v1/ledger/tile/0/x001/234", D, "ledger_tile", CALLER_DEVICE, "0/x001/234"},
        {HTTP_GET, "/v1/ledger/tile/entries/000.p/12", L, "ledger_tile", CALLER_LOCAL,
         "entries/000.p/12"},
        {HTTP_GET, "/v1/models", L, "model_list", CALLER_LOCAL, NULL},
        {HTTP_POST, "/v1/models", L, "model_create", CALLER_LOCAL, NULL},
        {HTTP_GET, "/v1/models/thermo", L, "model_show", CALLER_LOCAL, "thermo"},
        {HTTP_PATCH, "/v1/models/a.B-c_9", L, "model_change", CALLER_LOCAL, "a.B-c_9"},
        {HTTP_DELETE, "/v1/models/thermo", L, "model_delete", CALLER_LOCAL, "thermo"},
        {HTTP_POST, "/v1/manifests/m/devices", L, "manifest_add_devices", CALLER_LOCAL, "m"},
        {HTTP_POST, "/v1/devices/claim/claim", L, "device_claim", CALLER_LOCAL, "claim"},
        {HTTP_GET, "/metrics", O, "metrics_show", CALLER_TOKEN_METRICS, NULL},
        {HTTP_GET, "/metrics", L, "metrics_show", CALLER_LOCAL, NULL},
        {HTTP_GET, "/v1/health", O, "health_show", CALLER_PUBLIC, NULL},
        {HTTP_POST, "/ocsp", S, "ocsp_ask", CALLER_PUBLIC, NULL},
        {HTTP_GET, "/ocsp/MFEw%2Bz//a=", S, "ocsp_get", CALLER_PUBLIC, "MFEw%2Bz//a="},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct route_match match = {0};
        assert_int_equal(route_find(cases[i].method, cases[i].path, cases[i].listener, &match),
                         ERR_NONE);
        assert_string_equal(match.route->operation, cases[i].operation);
        assert_int_equal(match.route->caller[cases[i].listener], cases[i].caller);
        assert_int_equal(match.params_len, cases[i].param == NULL ? 0 : 1);
        if (cases[i].param != NULL)
            assert_string_equal(match.params[0], cases[i].param);
        handled = NULL;
        match.route->handler(NULL);
        assert_string_equal(handled, cases[i].operation);
    }
}

#define NAME64 "a123456789012345678901234567890123456789012345678901234567890123"

static void finds_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        enum listener listener;
    } cases[] = {
        {"", L},
        {"/", L},
        {"*", L},
        {"v1/models", L},
        {"/v1", L},
        {"/v1/", L},
        {"/v1/model", L},
        {"/v1/modelss", L},
        {"/v1/models/", L},
        {"//v1/models", L},
        {"/v1//models", L},
        {"/v1/models//", L},
        {"/V1/models", L},
        {"/v1/models/thermo/", L},
        {"/v1/models/thermo/x", L},
        {"/v1/models/.", L},
        {"/v1/models/..", L},
        {"/v1/models/../models", L},
        {"/v1/models/-x", L},
        {"/v1/models/th%65rmo", L},
        {"/v1/models/th+rmo", L},
        {"/v1/models/thermo;v=1", L},
        {"/v1/models/th\xC3\xA4rmo", L},
        {"/v1/models/" NAME64 "x", L},
        {"/v1/devices/a/b", L},
        {"/v1/devices/a/revoke/b", L},
        {"/v1/ledger/tile", L},
        {"/v1/ledger/tile/", L},
        {"/v1/ledger/tile/0/00", L},
        {"/v1/ledger/tile/../../x", L},
        {"/v1/ledger/tile/0/000%2e", L},
        {"/v1/ledger/tile/0/x000/x000/x000/x000/x000/x000/x000/x000/x000/x000/x000/000", L},
        {"/v1/openapi.json", L},
        /* served, but not there */
        {"/v1/models", D},
        {"/v1/models", B},
        {"/v1/models", O},
        {"/v1/devices/a/revoke", O},
        {"/v1/tokens", O},
        {"/v1/hub", O},
        {"/v1/trust-bundle", D},
        {"/v1/device/checkin", B},
        {"/v1/device/checkin", O},
        {"/v1/device/checkin", L},
        {"/.well-known/est/simpleenroll", D},
        {"/.well-known/est/cacerts", O},
        {"/v1/ledger/entries", O},
        {"/v1/ledger/entries", D},
        {"/v1/ledger/checkpoint", B},
        {"/metrics", D},
        {"/metrics", B},
        {"/v1/health", D},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        for (unsigned method = 0; method < HTTP_METHOD_COUNT; method++) {
            struct route_match match = {.allowed = 77};
            assert_int_equal(
                route_find((enum http_method)method, cases[i].path, cases[i].listener, &match),
                ERR_NOT_FOUND);
            assert_int_equal(match.allowed, 77);
        }
    struct route_match match = {0};
    assert_int_equal(route_find(HTTP_GET, "/v1/models/" NAME64, L, &match), ERR_NONE);
    assert_string_equal(match.params[0], NAME64);
}

static void names_other_methods(void **state)
{
    (void)state;
    static const struct {
        enum http_method method;
        const char *path;
        enum listener listener;
        unsigned allowed;
    } cases[] = {
        {HTTP_DELETE, "/v1/models", L, 1U << HTTP_GET | 1U << HTTP_POST},
        {HTTP_HEAD, "/v1/models", L, 1U << HTTP_GET | 1U << HTTP_POST},
        {HTTP_POST, "/v1/models/m", L, 1U << HTTP_GET | 1U << HTTP_PATCH | 1U << HTTP_DELETE},
        {HTTP_GET, "/v1/devices/d/revoke", L, 1U << HTTP_POST},
        {HTTP_POST, "/v1/trust-bundle", L, 1U << HTTP_GET | 1U << HTTP_PUT},
        {HTTP_GET, "/.well-known/est/simpleenroll", B, 1U << HTTP_POST},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct route_match match = {0};
        assert_int_equal(route_find(cases[i].method, cases[i].path, cases[i].listener, &match),
                         ERR_UNSUPPORTED);
        assert_int_equal(match.allowed, cases[i].allowed);
        assert_null(match.route);
    }
}

/* Who may call what is the contract's to say; that nobody may change anything without being known
 * is for this test to say. */
static void table_holds_together(void **state)
{
    (void)state;
    static const size_t body_max[LISTENER_COUNT] = {
        [LISTENER_DEVICE] = LISTENER_DEVICE_BODY_MAX,
        [LISTENER_BOOTSTRAP] = LISTENER_BOOTSTRAP_BODY_MAX,
        [LISTENER_OPERATOR] = LISTENER_OPERATOR_BODY_MAX,
        [LISTENER_STATUS] = LISTENER_STATUS_BODY_MAX,
        [LISTENER_LOCAL] = LISTENER_LOCAL_BODY_MAX,
    };
    assert_int_equal(routes_len, ROUTE_COUNT);
    for (size_t i = 0; i < routes_len; i++) {
        const struct route *r = &routes[i];
        for (unsigned l = 0; l < LISTENER_COUNT; l++) {
            assert_int_equal((r->listeners >> l & 1) != 0, r->caller[l] != CALLER_NOBODY);
            if (r->caller[l] == CALLER_NOBODY)
                continue;
            assert_true(r->body_max <= body_max[l]);
            assert_true(r->caller[l] != CALLER_LOCAL || l == LISTENER_LOCAL);
            bool offered = strcmp(r->operation, "est_serverkeygen") != 0 &&
                           strcmp(r->operation, "est_fullcmc") != 0;
            bool asks = strcmp(r->operation, "ocsp_ask") == 0; /* by POST, and changes nothing */
            assert_true(r->method == HTTP_GET || asks || r->caller[l] != CALLER_PUBLIC || !offered);
        }
        assert_int_equal(r->body_max > 0, r->body_type != NULL);
        assert_true(r->rate < RATE_CLASS_COUNT);
        handled = NULL;
        r->handler(NULL);
        assert_string_equal(handled, r->operation);
    }
    assert_int_equal(LISTENER_LOCAL_BODY_MAX, 1024 * 1024);
    assert_int_equal(LISTENER_BOOTSTRAP_BODY_MAX, 16 * 1024);
}

static void has_words(void **state)
{
    (void)state;
    assert_string_equal(listener_text(LISTENER_BOOTSTRAP), "bootstrap");
    assert_string_equal(caller_text(CALLER_DEVICE_ENROLLED), "device-enrolled");
    assert_string_equal(rate_class_text(RATE_DEVICE_WRITE), "device-write");
    for (unsigned i = 0; i < LISTENER_COUNT; i++)
        assert_non_null(listener_text((enum listener)i));
    for (unsigned i = 0; i < CALLER_COUNT; i++)
        assert_non_null(caller_text((enum caller)i));
    for (unsigned i = 0; i < RATE_CLASS_COUNT; i++)
        assert_non_null(rate_class_text((enum rate_class)i));
    assert_string_equal(listener_text((enum listener)99), "unknown");
    assert_string_equal(caller_text((enum caller)99), "unknown");
    assert_string_equal(rate_class_text((enum rate_class)99), "unknown");
}

static void forms(void **state)
{
    (void)state;
    static const struct {
        const struct text_form *form;
        struct slice text;
        enum err err;
    } cases[] = {
        {&form_name, SLICE_LITERAL("a"), ERR_NONE},
        {&form_name, SLICE_LITERAL(NAME64), ERR_NONE},
        {&form_name, SLICE_LITERAL(NAME64 "x"), ERR_LIMIT},
        {&form_name, SLICE_LITERAL(""), ERR_SYNTAX},
        {&form_name, SLICE_LITERAL("a b"), ERR_SYNTAX},
        {&form_name, SLICE_LITERAL("a\n"), ERR_SYNTAX},
        {&form_name, SLICE_LITERAL("a\0"), ERR_SYNTAX},
        {&form_name, SLICE_LITERAL("a\x80"), ERR_SYNTAX},
        {&form_device_move_reason, SLICE_LITERAL("verloren \xC3\xA4 \xF0\x9F\x94\x91"), ERR_NONE},
        {&form_device_move_reason, SLICE_LITERAL(""), ERR_LIMIT},
        {&form_device_move_reason, SLICE_LITERAL("a\x7F"), ERR_SYNTAX},
        {&form_device_move_reason, SLICE_LITERAL("a\tb"), ERR_SYNTAX},
        {&form_device_move_reason, SLICE_LITERAL("\xC0\x80"), ERR_SYNTAX},
        {&form_device_move_reason, SLICE_LITERAL("\xED\xA0\x80"), ERR_SYNTAX},
        {&form_device_move_reason, SLICE_LITERAL("\xF0\x9F\x94"), ERR_SYNTAX},
        {&form_device_checkin_boot_id, SLICE_LITERAL("5d1c0f7e-8a61-4c52-9a1b-2f6f3e1c9d40"),
         ERR_NONE},
        {&form_device_checkin_boot_id, SLICE_LITERAL("5d1c0f7e-8a61-4c52-9a1b-2f6f3e1c9d4"),
         ERR_SYNTAX},
        {&form_device_checkin_boot_id, SLICE_LITERAL("5d1c0f7e_8a61-4c52-9a1b-2f6f3e1c9d40"),
         ERR_SYNTAX},
        {&form_device_checkin_boot_id, SLICE_LITERAL("5D1c0f7e-8a61-4c52-9a1b-2f6f3e1c9d40"),
         ERR_SYNTAX},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(text_form_check(cases[i].form, cases[i].text), cases[i].err);
    /* 200 bytes are the limit, however few characters they are */
    uint8_t wide[202];
    for (size_t i = 0; i < sizeof wide; i++)
        wide[i] = i % 2 == 0 ? 0xC3 : 0xA4;
    assert_int_equal(text_form_check(&form_device_move_reason, slice_of(wide, 200)), ERR_NONE);
    assert_int_equal(text_form_check(&form_device_move_reason, slice_of(wide, 202)), ERR_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds),
        cmocka_unit_test(finds_nothing),
        cmocka_unit_test(names_other_methods),
        cmocka_unit_test(table_holds_together),
        cmocka_unit_test(has_words),
        cmocka_unit_test(forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
