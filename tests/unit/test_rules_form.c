/* The form of rules: written one way, and read only where every byte of it is right. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/openssl_crypto.h"
#include "tests/unit/rules_fixture.h"

#define MADE_AT 1795892400 /* 2026-11-28T19:00:00Z */

static const uint8_t seed[32] = {7}, other_seed[32] = {8};

static struct note_key key_of(const uint8_t of_seed[32])
{
    uint8_t public_key[ED25519_KEY_SIZE];
    struct note_key k;
    test_ed25519_public(of_seed, public_key);
    assert_int_equal(
        note_key_init(&k, test_sha256, SLICE_LITERAL("fleet.example/policy"), public_key),
        ERR_NONE);
    return k;
}

static uint8_t body_bytes[RULES_BODY_MAX + 1];
static uint8_t file_bytes[RULES_MAX];

static struct slice fixture_body(void)
{
    struct writer w = writer_over(body_bytes, sizeof body_bytes);
    fixture_write_body(&w);
    assert_int_equal(w.err, ERR_NONE);
    return writer_bytes(&w);
}

static struct slice sign_text(struct slice text, struct slice body, const uint8_t by_seed[32])
{
    static uint8_t note[NOTE_MAX];
    uint8_t signature[ED25519_SIGNATURE_SIZE];
    struct note_key key = key_of(by_seed);
    struct writer n = writer_over(note, sizeof note);
    writer_put(&n, text);
    test_ed25519_sign(by_seed, text, signature);
    note_write_signature(&n, &key, signature);
    struct writer w = writer_over(file_bytes, sizeof file_bytes);
    rules_write_file(&w, writer_bytes(&n), body);
    assert_int_equal(w.err, ERR_NONE);
    return writer_bytes(&w);
}

static struct slice text_of(struct slice body, uint64_t version)
{
    static uint8_t bytes[512];
    uint8_t digest[SHA256_SIZE];
    test_sha256(&body, 1, digest);
    struct writer w = writer_over(bytes, sizeof bytes);
    rules_write_text(&w, "fleet.example", version, MADE_AT, body.len, digest);
    assert_int_equal(w.err, ERR_NONE);
    return writer_bytes(&w);
}

static struct slice signed_fixture(void)
{
    struct slice body = fixture_body();
    return sign_text(text_of(body, 7), body, seed);
}

static enum err read_file(struct slice file, struct rules *ret_rules)
{
    struct note_key key = key_of(seed);
    return rules_read(file, &key, test_sha256, test_ed25519_verify, ret_rules);
}

static void test_file(void **state)
{
    (void)state;
    struct rules r;
    assert_int_equal(read_file(signed_fixture(), &r), ERR_NONE);
    assert_string_equal(r.fleet, "fleet.example");
    assert_int_equal(r.version, 7);
    assert_int_equal(r.made_at, MADE_AT);
    assert_int_equal(r.models_len, ARRAY_LEN(fixture_models));
    struct rules_subject s = {SLICE_LITERAL("acme"), SLICE_LITERAL("t-1"), SLICE_LITERAL("thermo"),
                              SLICE_LITERAL(""), DEVICE_TRUSTED};
    assert_int_equal(rules_decide(&r, &s, RULES_SUBSCRIBE, SLICE_LITERAL("fleet/acme/t-1/down/#")),
                     RULES_ALLOW);
}

static void test_text_is_as_documented(void **state)
{
    (void)state;
    static const char expected[] =
        "holdfast-rules/v1\nfleet fleet.example\nversion 7\nmade 2026-11-28T19:00:00Z\nbody 3 "
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n"; /* FIPS 180's "abc" */
    assert_true(slice_equal(text_of(SLICE_LITERAL("abc"), 7), slice_of_text(expected)));
}

static void test_body_is_as_documented(void **state)
{
    (void)state;
    static const struct slice filter = SLICE_LITERAL("a/{device}/#");
    static const struct rules_model m = {.reach = {1, 1, 7, 1, 0, 0},
                                         .limits = {1, 2, 3, 4, 5, 6},
                                         .cut = RULES_CUT_KEEP_QUEUE,
                                         .password_ok = true};
    static const struct rules_entry model = {SLICE_LITERAL("m"), &m, {&filter, 1}, {NULL, 0}};
    static const struct rules_entry group = {SLICE_LITERAL("g"), NULL, {NULL, 0}, {NULL, 0}};
    static const char expected[] = "\x01"
                                   "\x00\x00\x00\x14"
                                   "\x00\x01\x00\x01\x00\x03"
                                   "\x00\x00\x00\x1f\x00\x00\x00\x4d\x00\x00\x00\x53"
                                   "\x00\x00\x00\x57\x00\x00\x00\x61"
                                   "\x01m"
                                   "\x01\x01\x07\x01\x00\x00"
                                   "\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x03"
                                   "\x00\x00\x00\x04\x00\x00\x00\x05\x00\x00\x00\x06"
                                   "\x04\x01"
                                   "\x00\x08\x02\x00\x05"
                                   "a/\xf9/#"
                                   "\x00\x00"
                                   "\x01g\x00\x00\x00\x00"
                                   "\x01"
                                   "a\xff\xff"
                                   "\x07"
                                   "default\x00\x00"
                                   "\x01t\x00\x01\x00\x00";
    static const uint16_t first = 0;
    static const struct rules_tenant tenants[] = {
        {.name = SLICE_LITERAL("a"), .all = true},
        {.name = SLICE_LITERAL("default")},
        {.name = SLICE_LITERAL("t"), .models = &first, .models_len = 1}};
    const struct rules_entries all = {.models = &model,
                                      .models_len = 1,
                                      .groups = &group,
                                      .groups_len = 1,
                                      .tenants = tenants,
                                      .tenants_len = 3};
    struct writer w = writer_over(body_bytes, sizeof body_bytes);
    rules_write_body(&w, 20, &all);
    assert_int_equal(w.err, ERR_NONE);
    assert_int_equal(w.len, sizeof expected - 1);
    assert_memory_equal(body_bytes, expected, w.len);
}

static void test_text_refused(void **state)
{
    (void)state;
#define DIGEST "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define MADE   "made 2026-11-28T19:00:00Z\n"
    static const struct {
        const char *text;
        enum err err;
    } cases[] = {
        {"holdfast-rules/v1\nfleet a\nversion 1\n" MADE "body 3 " DIGEST "\n", ERR_NONE},
        {"holdfast-rules/v2\nfleet a\nversion 1\n" MADE "body 3 " DIGEST "\n", ERR_SYNTAX},
        {"holdfast-trust-bundle/v1\nfleet a\nversion 1\n" MADE "body 3 " DIGEST "\n", ERR_SYNTAX},
        {"holdfast-rules/v1\nfleet A\nversion 1\n" MADE "body 3 " DIGEST "\n", ERR_SYNTAX},
        {"holdfast-rules/v1\nfleet \nversion 1\n" MADE "body 3 " DIGEST "\n", ERR_SYNTAX},
        {"holdfast-rules/v1\nfleet a\nversion 0\n" MADE "body 3 " DIGEST "\n", ERR_SYNTAX},
        {"holdfast-rules/v1\nfleet a\nversion 01\n" MADE "body 3 " DIGEST "\n", ERR_SYNTAX},
        {"holdfast-rules/v1\nfleet a\nversion -1\n" MADE "body 3 " DIGEST "\n", ERR_SYNTAX},
        {"holdfast-rules/v1\nfleet a\nversion 18446744073709551616\n" MADE "body 3 " DIGEST "\n",
         ERR_LIMIT},
        {"holdfast-rules/v1\nfleet a\nversion 1\nmade 2026-11-28\nbody 3 " DIGEST "\n", ERR_SYNTAX},
        {"holdfast-rules/v1\nfleet a\nversion 1\n" MADE "body 1000000 " DIGEST "\n", ERR_LIMIT},
        {"holdfast-rules/v1\nfleet a\nversion 1\n" MADE "body 3 ba78\n", ERR_SYNTAX},
        {"holdfast-rules/v1\nfleet a\nversion 1\n" MADE "body 3 " DIGEST "00\n", ERR_SYNTAX},
        {"holdfast-rules/v1\nfleet a\nversion 1\n" MADE "body 3\n", ERR_SYNTAX},
        {"holdfast-rules/v1\nfleet a\nversion 1\n" MADE "body 3 " DIGEST "\nmore 1\n", ERR_SYNTAX},
        {"holdfast-rules/v1\nversion 1\nfleet a\n" MADE "body 3 " DIGEST "\n", ERR_SYNTAX},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct rules r = {.version = 99};
        size_t len = 99;
        uint8_t digest[SHA256_SIZE];
        assert_int_equal(rules_read_text(slice_of_text(cases[i].text), &r, &len, digest),
                         cases[i].err);
        assert_int_equal(r.version, cases[i].err == ERR_NONE ? 1 : 99);
        assert_int_equal(len, cases[i].err == ERR_NONE ? 3 : 99);
    }
}

static void test_text_not_written(void **state)
{
    (void)state;
    static const struct {
        const char *fleet;
        uint64_t version;
        size_t body_len;
        enum err err;
    } cases[] = {
        {"a.b", 1, RULES_BODY_MAX, ERR_NONE},
        {"", 1, 3, ERR_SYNTAX},
        {"a b", 1, 3, ERR_SYNTAX},
        {"a\nversion 9", 1, 3, ERR_SYNTAX},
        {"a", 0, 3, ERR_LIMIT},
        {"a", 1, RULES_BODY_MAX + 1, ERR_LIMIT},
    };
    static const uint8_t digest[SHA256_SIZE];
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t bytes[512];
        struct writer w = writer_over(bytes, sizeof bytes);
        rules_write_text(&w, cases[i].fleet, cases[i].version, MADE_AT, cases[i].body_len, digest);
        assert_int_equal(w.err, cases[i].err);
    }
}

/* An attacker has the file, and keys of their own. */
static void test_forged(void **state)
{
    (void)state;
    struct rules r = {.version = 99};
    struct slice body = fixture_body();
    assert_int_equal(read_file(sign_text(text_of(body, 7), body, other_seed), &r), ERR_NOT_FOUND);

    struct slice other_body = {body.data, body.len - 1};
    assert_int_equal(read_file(sign_text(text_of(body, 7), other_body, seed), &r), ERR_SYNTAX);
    struct slice file = sign_text(text_of(body, 7), body, seed);
    file_bytes[file.len - 1] ^= 1;
    assert_int_equal(read_file(file, &r), ERR_BAD_SIGNATURE);

    /* Signed, but of a format that is not understood, or no format at all. */
    body_bytes[0] = 2;
    assert_int_equal(read_file(sign_text(text_of(body, 7), body, seed), &r), ERR_UNSUPPORTED);
    struct slice nothing = {NULL, 0};
    assert_int_equal(read_file(sign_text(text_of(nothing, 7), nothing, seed), &r), ERR_SYNTAX);
    assert_int_equal(read_file(slice_of(file_bytes, RULES_MAX + 1), &r), ERR_LIMIT);
    assert_int_equal(r.version, 99);
}

/* A copy that ends where its memory ends, so that a read beyond is seen. */
static uint8_t *copy_of(struct slice bytes)
{
    uint8_t *copy = malloc(bytes.len + (bytes.len == 0));
    test_require(copy != NULL);
    if (bytes.len > 0)
        memcpy(copy, bytes.data, bytes.len);
    return copy;
}

static void test_cut_short(void **state)
{
    (void)state;
    struct slice file = signed_fixture();
    for (size_t len = 0; len < file.len; len++) {
        uint8_t *copy = copy_of(slice_of(file.data, len));
        struct rules r = {.version = 99};
        assert_int_not_equal(read_file(slice_of(copy, len), &r), ERR_NONE);
        assert_int_equal(r.version, 99);
        free(copy);
    }
    file_bytes[file.len] = 0;
    struct rules r;
    assert_int_not_equal(read_file(slice_of(file.data, file.len + 1), &r), ERR_NONE);

    struct slice body = fixture_body();
    for (size_t len = 0; len < body.len; len++) {
        uint8_t *copy = copy_of(slice_of(body.data, len));
        assert_int_not_equal(rules_read_body(slice_of(copy, len), &r), ERR_NONE);
        free(copy);
    }
    body_bytes[body.len] = 0;
    assert_int_equal(rules_read_body(slice_of(body.data, body.len + 1), &r), ERR_SYNTAX);
}

static void test_every_bit_of_the_file_counts(void **state)
{
    (void)state;
    struct slice file = signed_fixture();
    for (size_t bit = 0; bit < file.len * 8; bit++) {
        struct rules r;
        file_bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
        assert_int_not_equal(read_file(file, &r), ERR_NONE);
        file_bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
}

/* A body with one bit changed is refused, or it is one that could have been written: all of it can
 * be asked about. */
static void test_bits_of_the_body(void **state)
{
    (void)state;
    static const struct slice topics[] = {SLICE_LITERAL("fleet/acme/t-1/up/x"),
                                          SLICE_LITERAL("alarm/floor-1/#"), SLICE_LITERAL("#")};
    struct slice body = fixture_body();
    size_t taken = 0;
    for (size_t bit = 0; bit < body.len * 8; bit++) {
        uint8_t *copy = copy_of(body);
        struct rules r;
        copy[bit / 8] ^= (uint8_t)(1U << bit % 8);
        if (rules_read_body(slice_of(copy, body.len), &r) == ERR_NONE) {
            taken++;
            for (uint32_t m = 0; m < r.models_len; m++) {
                struct rules_subject s = {SLICE_LITERAL(RULES_STANDARD_TENANT),
                                          SLICE_LITERAL("t-1"), rules_model_name(&r, m),
                                          rules_group_name(&r, 0), DEVICE_TRUSTED};
                for (size_t t = 0; t < ARRAY_LEN(topics); t++)
                    for (int a = RULES_PUBLISH; a <= RULES_SUBSCRIBE; a++)
                        assert_int_not_equal(rules_decide(&r, &s, (enum rules_action)a, topics[t]),
                                             RULES_DENY_MODEL);
            }
        }
        free(copy);
    }
    assert_true(taken > 0 && taken < body.len * 8);
}

/* ---- the writer refuses what the reader would ---- */

static enum err write_one(struct slice name, const struct rules_model *model,
                          struct rules_filters filters)
{
    const struct rules_entry entry = {name, model, filters, {NULL, 0}};
    struct writer w = writer_over(body_bytes, sizeof body_bytes);
    if (model == NULL)
        rules_write_body(&w, 0, &(const struct rules_entries){.groups = &entry, .groups_len = 1});
    else
        rules_write_body(&w, 0, &(const struct rules_entries){.models = &entry, .models_len = 1});
    struct rules r;
    if (w.err == ERR_NONE)
        assert_int_equal(rules_read_body(writer_bytes(&w), &r), ERR_NONE);
    return w.err;
}

static void test_filters(void **state)
{
    (void)state;
    static const struct {
        const char *filter;
        enum err err;
    } cases[] = {
        {"a/{tenant}/{device}/{model}/{group}/+/#", ERR_NONE},
        {"dev-{device}.x/y", ERR_NONE},
        {"{device}", ERR_NONE},
        {"$share/{group}/jobs/#", ERR_NONE},
        {"", ERR_SYNTAX},
        {"{device", ERR_SYNTAX},
        {"device}", ERR_SYNTAX},
        {"{}", ERR_SYNTAX},
        {"{Device}", ERR_SYNTAX},
        {"{device }", ERR_SYNTAX},
        {"{serial}", ERR_SYNTAX},
        {"{{device}}", ERR_SYNTAX},
        {"{tenant}{device}", ERR_SYNTAX},
        {"{tenant}-{device}", ERR_SYNTAX},
        {"{device}+", ERR_SYNTAX},
        {"a/{device}#", ERR_SYNTAX},
        {"a/#/b", ERR_SYNTAX},
        {"a+", ERR_SYNTAX},
        {"a/\xf9", ERR_SYNTAX}, /* what the reader would take for a variable */
        {"a/\xff", ERR_SYNTAX},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct slice filter = slice_of_text(cases[i].filter);
        struct rules_filters filters = {&filter, 1};
        assert_int_equal(rules_filter_check(filter), cases[i].err);
        assert_int_equal(write_one(SLICE_LITERAL("m"), &fixture_open, filters), cases[i].err);
        assert_int_equal(write_one(SLICE_LITERAL("g"), NULL, filters), cases[i].err);
    }
    static char text[RULES_FILTER_MAX + 1];
    memset(text, 'x', sizeof text);
    memcpy(text, "{device}", 8);
    assert_int_equal(rules_filter_check(slice_of(text, RULES_FILTER_MAX)), ERR_NONE);
    assert_int_equal(rules_filter_check(slice_of(text, RULES_FILTER_MAX + 1)), ERR_LIMIT);

    static struct slice many[RULES_FILTERS_MAX + 1];
    for (size_t i = 0; i < ARRAY_LEN(many); i++)
        many[i] = slice_of(text, RULES_FILTER_MAX);
    struct rules_filters filters = {many, RULES_FILTERS_MAX};
    assert_int_equal(write_one(SLICE_LITERAL("m"), &fixture_open, filters), ERR_NONE);
    filters.len++;
    assert_int_equal(write_one(SLICE_LITERAL("m"), &fixture_open, filters), ERR_LIMIT);
}

static void test_names(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool ok;
    } cases[] = {
        {"a", true},
        {"thermo-2.x:y_z", true},
        {"gr\xc3\xbcn", true},
        {"", false},
        {"a/b", false},
        {"+", false},
        {"a#", false},
        {"$a", false},
        {"a\xff", false},
        {"a\xc3", false},
        {"0123456789012345678901234567890123456789012345678901234567890123", true},
        {"01234567890123456789012345678901234567890123456789012345678901234", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct slice name = slice_of_text(cases[i].name);
        struct rules_filters none = {NULL, 0};
        enum err err = cases[i].ok ? ERR_NONE : ERR_SYNTAX;
        assert_int_equal(rules_name_ok(name), cases[i].ok);
        assert_int_equal(write_one(name, &fixture_open, none), err);
        assert_int_equal(write_one(name, NULL, none), err);
    }
}

static enum err write_two(const char *first, const char *second, const struct rules_model *model)
{
    const struct rules_entry entries[] = {
        {slice_of_text(first), &fixture_open, {NULL, 0}, {NULL, 0}},
        {slice_of_text(second), model, {NULL, 0}, {NULL, 0}}};
    struct writer w = writer_over(body_bytes, sizeof body_bytes);
    rules_write_body(&w, 0, &(const struct rules_entries){.models = entries, .models_len = 2});
    return w.err;
}

static void test_order(void **state)
{
    (void)state;
    assert_int_equal(write_two("a", "b", &fixture_open), ERR_NONE);
    assert_int_equal(write_two("a", "ab", &fixture_open), ERR_NONE);
    assert_int_equal(write_two("b", "a", &fixture_open), ERR_SYNTAX);
    assert_int_equal(write_two("ab", "a", &fixture_open), ERR_SYNTAX);
    assert_int_equal(write_two("a", "a", &fixture_open), ERR_SYNTAX);
    assert_int_equal(write_two("a", "b", NULL), ERR_SYNTAX);
    /* Read, too: the same two names the other way round. */
    assert_int_equal(write_two("a", "b", &fixture_open), ERR_NONE);
    struct slice body = {body_bytes, 11 + 2 * (4 + 2 + 32 + 4)};
    struct rules r;
    assert_int_equal(rules_read_body(body, &r), ERR_NONE);
    body_bytes[11 + 8 + 1] = 'c';
    assert_int_equal(rules_read_body(body, &r), ERR_SYNTAX);
    body_bytes[11 + 8 + 1] = 'b';
    assert_int_equal(rules_read_body(body, &r), ERR_SYNTAX);
}

static void test_settings(void **state)
{
    (void)state;
    struct rules_filters none = {NULL, 0};
    for (unsigned s = 0; s < DEVICE_STATE_COUNT; s++) {
        for (unsigned mask = 0; mask < 256; mask++) {
            struct rules_model m = {.cut = 0};
            m.reach[s] = (uint8_t)mask;
            bool ok = mask <= FIXTURE_ALL && (mask == 0 || s < DEVICE_REVOKED);
            assert_int_equal(write_one(SLICE_LITERAL("m"), &m, none), ok ? ERR_NONE : ERR_SYNTAX);
        }
    }
    struct rules_model m = {.cut = 8};
    assert_int_equal(write_one(SLICE_LITERAL("m"), &m, none), ERR_SYNTAX);
}

static enum err write_tenants(const struct rules_tenant *tenants, size_t len)
{
    const struct rules_entries all = {.models = fixture_models,
                                      .models_len = ARRAY_LEN(fixture_models),
                                      .tenants = tenants,
                                      .tenants_len = len};
    struct writer w = writer_over(body_bytes, sizeof body_bytes);
    struct rules r;
    rules_write_body(&w, 0, &all);
    if (w.err == ERR_NONE)
        assert_int_equal(rules_read_body(writer_bytes(&w), &r), ERR_NONE);
    return w.err;
}

static void test_tenants(void **state)
{
    (void)state;
    static const uint16_t sound[] = {0, 1, 3}, turned[] = {1, 0}, twice[] = {2, 2}, foreign[] = {4};
    static const struct {
        struct rules_tenant tenant;
        enum err err;
    } cases[] = {
        {{.name = SLICE_LITERAL("t"), .models = sound, .models_len = 3}, ERR_NONE},
        {{.name = SLICE_LITERAL("t"), .models_len = 0}, ERR_NONE},
        {{.name = SLICE_LITERAL("t"), .all = true}, ERR_NONE},
        {{.name = SLICE_LITERAL("default"), .models = sound, .models_len = 1}, ERR_NONE},
        {{.name = SLICE_LITERAL("default"), .all = true}, ERR_SYNTAX},
        {{.name = SLICE_LITERAL("t"), .models = turned, .models_len = 2}, ERR_SYNTAX},
        {{.name = SLICE_LITERAL("t"), .models = twice, .models_len = 2}, ERR_SYNTAX},
        {{.name = SLICE_LITERAL("t"), .models = foreign, .models_len = 1}, ERR_SYNTAX},
        {{.name = SLICE_LITERAL(""), .all = true}, ERR_SYNTAX},
        {{.name = SLICE_LITERAL("a/b"), .all = true}, ERR_SYNTAX},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (write_tenants(&cases[i].tenant, 1) != cases[i].err)
            fail_msg("case %zu", i);
    struct rules_tenant two[] = {{.name = SLICE_LITERAL("b"), .all = true},
                                 {.name = SLICE_LITERAL("a"), .all = true}};
    assert_int_equal(write_tenants(two, 2), ERR_SYNTAX);
    two[1].name = SLICE_LITERAL("b");
    assert_int_equal(write_tenants(two, 2), ERR_SYNTAX);
    two[1].name = SLICE_LITERAL("c");
    assert_int_equal(write_tenants(two, 2), ERR_NONE);
    static struct rules_tenant many[RULES_TENANTS_MAX + 1];
    assert_int_equal(write_tenants(many, ARRAY_LEN(many)), ERR_LIMIT);

    /* What the writer refuses, the reader does: numbers of models, out of order or of none. */
    static const uint8_t bad[][4] = {{0, 1, 0, 0}, {0, 1, 0, 1}, {0, 0, 0, 4}, {0xff, 0xff, 0, 1}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        const struct rules_tenant tenant = {
            .name = SLICE_LITERAL("t"), .models = sound, .models_len = 2};
        const struct rules_entries all = {.models = fixture_models,
                                          .models_len = ARRAY_LEN(fixture_models),
                                          .tenants = &tenant,
                                          .tenants_len = 1};
        struct writer w = writer_over(body_bytes, sizeof body_bytes);
        struct rules r;
        rules_write_body(&w, 0, &all);
        memcpy(body_bytes + w.len - 4, bad[i], 4);
        assert_int_equal(rules_read_body(writer_bytes(&w), &r), ERR_SYNTAX);
    }
}

static void test_sizes(void **state)
{
    (void)state;
    static struct rules_entry models[RULES_MODELS_MAX + 1];
    struct writer w = writer_over(body_bytes, sizeof body_bytes);
    rules_write_body(
        &w, 0, &(const struct rules_entries){.models = models, .models_len = RULES_MODELS_MAX + 1});
    assert_int_equal(w.err, ERR_LIMIT);
    w = writer_over(body_bytes, sizeof body_bytes);
    rules_write_body(
        &w, 0, &(const struct rules_entries){.groups = models, .groups_len = RULES_GROUPS_MAX + 1});
    assert_int_equal(w.err, ERR_LIMIT);

    /* As many filters as fit, and one more. */
    static char text[RULES_FILTER_MAX];
    static struct slice filters[RULES_FILTERS_MAX];
    memset(text, 'x', sizeof text);
    for (size_t i = 0; i < ARRAY_LEN(filters); i++)
        filters[i] = slice_of(text, sizeof text);
    static const char names[] = "abcdefgh";
    for (size_t i = 0; i < 8; i++)
        models[i] = (struct rules_entry){
            slice_of(names + i, 1), &fixture_open, {filters, RULES_FILTERS_MAX}, {NULL, 0}};
    w = writer_over(body_bytes, sizeof body_bytes);
    rules_write_body(&w, 0, &(const struct rules_entries){.models = models, .models_len = 7});
    assert_int_equal(w.err, ERR_NONE);
    rules_write_body(&w, 0, &(const struct rules_entries){.models = models, .models_len = 8});
    assert_int_equal(w.err, ERR_LIMIT);
    struct rules r;
    assert_int_equal(rules_read_body(slice_of(body_bytes, RULES_BODY_MAX + 1), &r), ERR_LIMIT);
}

/* A buffer that is too small by any number of bytes gives an error and nothing beyond its end. */
static void test_small_buffers(void **state)
{
    (void)state;
    size_t whole = fixture_body().len;
    for (size_t max = 0; max < whole; max++) {
        uint8_t *small = malloc(max + (max == 0));
        test_require(small != NULL);
        struct writer w = writer_over(small, max);
        fixture_write_body(&w);
        assert_int_equal(w.err, ERR_LIMIT);
        free(small);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_text_is_as_documented),
        cmocka_unit_test(test_body_is_as_documented),
        cmocka_unit_test(test_text_refused),
        cmocka_unit_test(test_text_not_written),
        cmocka_unit_test(test_forged),
        cmocka_unit_test(test_cut_short),
        cmocka_unit_test(test_every_bit_of_the_file_counts),
        cmocka_unit_test(test_bits_of_the_body),
        cmocka_unit_test(test_filters),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_tenants),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_small_buffers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
