#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "base/clock.h"
#include "pki/issue.h"
#include "tests/unit/temporary_folder.h"

#define DAY 86400

static X509 *root, *issuing;
static EVP_PKEY *issuing_key;
static struct issuer *issuer;

static void load_ca(const char *folder, X509 **ret_root, X509 **ret_issuing, EVP_PKEY **ret_key)
{
    char path[PATH_MAX + 32], explain[256] = "";
    X509 *chain[CA_CHAIN_MAX];
    size_t n = 0;
    if (ca_init(folder, "acme.example", NULL, explain) != ERR_NONE)
        fail_msg("%s", explain);
    snprintf(path, sizeof path, "%s/root.pem", folder);
    assert_int_equal(ca_chain_read(path, chain, &n), ERR_NONE);
    assert_int_equal(n, 1);
    *ret_root = chain[0];
    snprintf(path, sizeof path, "%s/signer/issuing.pem", folder);
    assert_int_equal(ca_chain_read(path, chain, &n), ERR_NONE);
    assert_int_equal(n, 1);
    *ret_issuing = chain[0];
    snprintf(path, sizeof path, "%s/signer/issuing.key", folder);
    assert_int_equal(ca_key_read(path, ret_key), ERR_NONE);
}

static int set_up(void **state)
{
    (void)state;
    char folder[PATH_MAX];
    temporary_folder_make(folder);
    load_ca(folder, &root, &issuing, &issuing_key);
    temporary_folder_remove(folder);
    return issuer_new(issuing_key, issuing, &issuer) == ERR_NONE ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    issuer_free(issuer);
    EVP_PKEY_free(issuing_key);
    X509_free(issuing);
    X509_free(root);
    return 0;
}

struct subject {
    EVP_PKEY *key;
    uint8_t spki[SPKI_MAX];
    size_t spki_len;
};

static void make_subject(enum key_kind kind, struct subject *s)
{
    if (kind == KEY_RSA)
        s->key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
    else
        assert_int_equal(ca_key_new(kind, &s->key), ERR_NONE);
    assert_non_null(s->key);
    assert_in_range(i2d_PUBKEY(s->key, NULL), 1, sizeof s->spki);
    uint8_t *at = s->spki;
    s->spki_len = (size_t)i2d_PUBKEY(s->key, &at);
}

static struct issue_request device_request(const struct subject *s)
{
    int64_t now = clock_seconds();
    return (struct issue_request){
        .common_name = SLICE_LITERAL("thermo-1"),
        .uri = SLICE_LITERAL("spiffe://acme.example/default/device/thermo-1"),
        .not_before = now - 60,
        .not_after = now + 30 * DAY,
        .spki = slice_of(s->spki, s->spki_len)};
}

static struct issue_request server_request(const struct subject *s, const struct slice *names,
                                           size_t n)
{
    int64_t now = clock_seconds();
    return (struct issue_request){.profile = ISSUE_SERVER,
                                  .common_name = SLICE_LITERAL("hub"),
                                  .names = names,
                                  .names_len = n,
                                  .not_before = now - 60,
                                  .not_after = now + 30 * DAY,
                                  .spki = slice_of(s->spki, s->spki_len)};
}

static X509 *issue(const struct issue_request *request, struct certificate *ret_fields)
{
    static uint8_t der[CERTIFICATE_MAX];
    size_t len = 0;
    assert_int_equal(issue_certificate(issuer, request, der, sizeof der, &len), ERR_NONE);
    assert_int_equal(certificate_read(slice_of(der, len), ret_fields), ERR_NONE);
    const uint8_t *at = der;
    X509 *c = d2i_X509(NULL, &at, (long)len);
    assert_non_null(c);
    assert_ptr_equal(at, der + len);
    /* OpenSSL writes the same bytes again */
    uint8_t *again = NULL;
    int again_len = i2d_re_X509_tbs(c, &again);
    assert_true(again_len > 0 && (size_t)again_len < len);
    assert_memory_equal(again, der + 4, (size_t)again_len);
    OPENSSL_free(again);
    return c;
}

static void assert_verifies(X509 *c, int purpose)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    STACK_OF(X509) *between = sk_X509_new_null();
    assert_int_equal(X509_STORE_add_cert(store, root), 1);
    assert_true(sk_X509_push(between, issuing) > 0);
    assert_int_equal(X509_STORE_CTX_init(ctx, store, c, between), 1);
    assert_int_equal(X509_STORE_CTX_set_purpose(ctx, purpose), 1);
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
    X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_X509_STRICT | X509_V_FLAG_CHECK_SS_SIGNATURE);
    X509_VERIFY_PARAM_set_auth_level(param, 2);
    X509_VERIFY_PARAM_set_time(param, (time_t)clock_seconds());
    if (X509_verify_cert(ctx) != 1)
        fail_msg("%s", X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
    sk_X509_free(between);
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
}

static void assert_end_entity(X509 *c, int extended_usage)
{
    assert_int_equal(X509_get_version(c), X509_VERSION_3);
    uint32_t flags = X509_get_extension_flags(c);
    assert_true((flags & EXFLAG_BCONS) != 0 && (flags & EXFLAG_CA) == 0);
    assert_true((flags & (EXFLAG_INVALID | EXFLAG_CRITICAL)) == 0);
    assert_int_equal(X509_get_key_usage(c), KU_DIGITAL_SIGNATURE);
    assert_int_equal(X509_get_extended_key_usage(c), extended_usage);
    static const int critical[] = {NID_basic_constraints, NID_key_usage};
    for (size_t i = 0; i < ARRAY_LEN(critical); i++) {
        int at = X509_get_ext_by_NID(c, critical[i], -1);
        assert_true(at >= 0);
        assert_int_equal(X509_EXTENSION_get_critical(X509_get_ext(c, at)), 1);
    }
    assert_non_null(X509_get0_subject_key_id(c));
    assert_int_equal(ASN1_STRING_length(X509_get0_subject_key_id(c)), 20);
    assert_int_equal(
        ASN1_OCTET_STRING_cmp(X509_get0_authority_key_id(c), X509_get0_subject_key_id(issuing)), 0);
    assert_int_equal(X509_get_ext_count(c), 6);
}

static GENERAL_NAMES *alt_names(X509 *c, bool critical)
{
    int found = -1;
    GENERAL_NAMES *names = X509_get_ext_d2i(c, NID_subject_alt_name, &found, NULL);
    assert_non_null(names);
    assert_int_equal(found, critical);
    return names;
}

static void issues_to_devices(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < KEY_KIND_COUNT; kind++) {
        struct subject s;
        make_subject((enum key_kind)kind, &s);
        struct issue_request request = device_request(&s);
        struct certificate fields;
        X509 *c = issue(&request, &fields);
        assert_verifies(c, X509_PURPOSE_SSL_CLIENT);
        assert_end_entity(c, XKU_SSL_CLIENT);
        assert_int_equal(EVP_PKEY_eq(X509_get0_pubkey(c), s.key), 1);
        assert_int_equal(X509_NAME_cmp(X509_get_issuer_name(c), X509_get_subject_name(issuing)), 0);

        GENERAL_NAMES *names = alt_names(c, false);
        assert_int_equal(sk_GENERAL_NAME_num(names), 1);
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, 0);
        assert_int_equal(name->type, GEN_URI);
        const ASN1_IA5STRING *uri = name->d.uniformResourceIdentifier;
        assert_true(slice_equal(
            slice_of(ASN1_STRING_get0_data(uri), (size_t)ASN1_STRING_length(uri)), request.uri));
        GENERAL_NAMES_free(names);
        char cn[64] = "";
        assert_int_equal(
            X509_NAME_get_text_by_NID(X509_get_subject_name(c), NID_commonName, cn, sizeof cn), 8);
        assert_string_equal(cn, "thermo-1");

        /* and as our own reader sees it */
        assert_true(slice_equal(fields.uri, request.uri));
        assert_true(slice_equal(fields.spki.der, request.spki));
        assert_int_equal(fields.spki.kind, kind);
        assert_int_equal(fields.not_before, request.not_before);
        assert_int_equal(fields.not_after, request.not_after);
        struct tm tm;
        assert_int_equal(ASN1_TIME_to_tm(X509_get0_notAfter(c), &tm), 1);
        assert_int_equal(timegm(&tm), request.not_after);
        X509_free(c);
        EVP_PKEY_free(s.key);
    }
}

static void issues_to_servers(void **state)
{
    (void)state;
    static const struct slice names[] = {
        {(const uint8_t *)"hub.acme.example", 16}, {(const uint8_t *)"localhost", 9},
        {(const uint8_t *)"192.0.2.7", 9},         {(const uint8_t *)"2001:db8::7", 11},
        {(const uint8_t *)"xn--bcher-kva.x1", 16},
    };
    struct subject s;
    make_subject(KEY_P256, &s);
    struct issue_request request = server_request(&s, names, ARRAY_LEN(names));
    struct certificate fields;
    X509 *c = issue(&request, &fields);
    assert_verifies(c, X509_PURPOSE_SSL_SERVER);
    assert_end_entity(c, XKU_SSL_SERVER);
    assert_int_equal(fields.uri.len, 0);
    GENERAL_NAMES *all = alt_names(c, false);
    assert_int_equal(sk_GENERAL_NAME_num(all), ARRAY_LEN(names));
    GENERAL_NAMES_free(all);
    assert_int_equal(X509_check_host(c, "hub.acme.example", 0, 0, NULL), 1);
    assert_int_equal(X509_check_host(c, "localhost", 0, 0, NULL), 1);
    assert_int_equal(X509_check_host(c, "xn--bcher-kva.x1", 0, 0, NULL), 1);
    assert_int_equal(X509_check_host(c, "hub", 0, 0, NULL), 0);
    assert_int_equal(X509_check_host(c, "192.0.2.7", 0, 0, NULL), 0);
    assert_int_equal(X509_check_ip_asc(c, "192.0.2.7", 0), 1);
    assert_int_equal(X509_check_ip_asc(c, "2001:db8::7", 0), 1);
    assert_int_equal(X509_check_ip_asc(c, "192.0.2.8", 0), 0);
    X509_free(c);
    EVP_PKEY_free(s.key);
}

static void issues_to_brokers(void **state)
{
    (void)state;
    static const struct slice names[] = {{(const uint8_t *)"mqtt.acme.example", 17},
                                         {(const uint8_t *)"192.0.2.7", 9}};
    struct subject s;
    make_subject(KEY_P256, &s);
    struct issue_request request = device_request(&s);
    request.profile = ISSUE_BROKER;
    assert_int_equal(issue_certificate(issuer, &request, (uint8_t[1]){0}, 1, &(size_t){0}),
                     ERR_SYNTAX); /* without a host */
    request.names = names;
    request.names_len = ARRAY_LEN(names);
    struct certificate fields;
    X509 *c = issue(&request, &fields);
    assert_verifies(c, X509_PURPOSE_SSL_SERVER);
    assert_verifies(c, X509_PURPOSE_SSL_CLIENT);
    assert_end_entity(c, XKU_SSL_SERVER | XKU_SSL_CLIENT);
    assert_true(slice_equal(fields.uri, request.uri));
    assert_int_equal(X509_check_host(c, "mqtt.acme.example", 0, 0, NULL), 1);
    assert_int_equal(X509_check_host(c, "acme.example", 0, 0, NULL), 0);
    assert_int_equal(X509_check_ip_asc(c, "192.0.2.7", 0), 1);
    X509_free(c);
    request.uri = slice_of(NULL, 0);
    assert_int_equal(issue_certificate(issuer, &request, (uint8_t[1]){0}, 1, &(size_t){0}),
                     ERR_SYNTAX);
    EVP_PKEY_free(s.key);
}

/* RFC 5280 section 4.1.2.6: then subjectAltName is critical. */
static void takes_an_empty_subject(void **state)
{
    (void)state;
    struct subject s;
    make_subject(KEY_P256, &s);
    struct issue_request request = device_request(&s);
    request.common_name = slice_of(NULL, 0);
    struct certificate fields;
    X509 *c = issue(&request, &fields);
    assert_verifies(c, X509_PURPOSE_SSL_CLIENT);
    assert_int_equal(X509_NAME_entry_count(X509_get_subject_name(c)), 0);
    GENERAL_NAMES_free(alt_names(c, true));
    X509_free(c);
    EVP_PKEY_free(s.key);
}

static enum err try_issue(const struct issue_request *request)
{
    uint8_t der[CERTIFICATE_MAX];
    size_t len = 4711;
    enum err err = issue_certificate(issuer, request, der, sizeof der, &len);
    if (err != ERR_NONE)
        assert_int_equal(len, 4711);
    return err;
}

static void refuses_names_that_are_none(void **state)
{
    (void)state;
    static const char label_64[] =
        "a123456789012345678901234567890123456789012345678901234567890123.example";
    static const struct {
        const char *name;
        enum err err;
    } hosts[] = {
        {"a.example", ERR_NONE},
        {"1.example", ERR_NONE},
        {"A-b.eXample", ERR_NONE},
        {"::1", ERR_NONE},
        {"127.0.0.1", ERR_NONE},
        {"", ERR_SYNTAX},
        {".", ERR_SYNTAX},
        {"a..b", ERR_SYNTAX},
        {".a", ERR_SYNTAX},
        {"a.", ERR_SYNTAX},
        {"-a.b", ERR_SYNTAX},
        {"a-.b", ERR_SYNTAX},
        {"a.b-", ERR_SYNTAX},
        {"*.example", ERR_SYNTAX},
        {"a_b.example", ERR_SYNTAX},
        {"a b", ERR_SYNTAX},
        {"1.2.3", ERR_SYNTAX},
        {"1.2.3.256", ERR_SYNTAX},
        {"fe80::1%eth0", ERR_SYNTAX},
        {"a.1", ERR_SYNTAX},
        {"b\xc3\xbc.example", ERR_SYNTAX},
        {label_64 + 1, ERR_NONE},
        {label_64, ERR_SYNTAX},
    };
    struct subject s;
    make_subject(KEY_ED25519, &s);
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        struct slice name = slice_of_text(hosts[i].name);
        struct issue_request request = server_request(&s, &name, 1);
        assert_int_equal(try_issue(&request), hosts[i].err);
    }
    struct slice with_nul = slice_of("a.example\0.b", 12);
    struct issue_request request = server_request(&s, &with_nul, 1);
    assert_int_equal(try_issue(&request), ERR_SYNTAX);
    uint8_t long_name[256];
    for (size_t i = 0; i < sizeof long_name; i++)
        long_name[i] = i % 2 == 0 ? 'a' : '.';
    struct slice name = slice_of(long_name, 253);
    request = server_request(&s, &name, 1);
    assert_int_equal(try_issue(&request), ERR_NONE);
    name.len = 255;
    assert_int_equal(try_issue(&request), ERR_SYNTAX);
    request = server_request(&s, &name, 0);
    assert_int_equal(try_issue(&request), ERR_SYNTAX);
    struct slice many[33];
    for (size_t i = 0; i < ARRAY_LEN(many); i++)
        many[i] = SLICE_LITERAL("a.example");
    request = server_request(&s, many, ARRAY_LEN(many));
    assert_int_equal(try_issue(&request), ERR_LIMIT);

    static const struct {
        const char *uri;
        enum err err;
    } uris[] = {
        {"spiffe://a/b", ERR_NONE},
        {"", ERR_SYNTAX},
        {"spiffe:", ERR_SYNTAX},
        {"://a", ERR_SYNTAX},
        {"a b:c", ERR_SYNTAX},
        {"spiffe://a/\n", ERR_SYNTAX},
        {"spiffe://a/\xc3\xbc", ERR_SYNTAX},
    };
    for (size_t i = 0; i < ARRAY_LEN(uris); i++) {
        request = device_request(&s);
        request.uri = slice_of_text(uris[i].uri);
        assert_int_equal(try_issue(&request), uris[i].err);
    }
    request = device_request(&s);
    request.common_name = slice_of(long_name, 65);
    assert_int_equal(try_issue(&request), ERR_LIMIT);
    request.common_name = SLICE_LITERAL("a\nb");
    assert_int_equal(try_issue(&request), ERR_SYNTAX);
    request.common_name = SLICE_LITERAL("a\0b");
    assert_int_equal(try_issue(&request), ERR_SYNTAX);
    EVP_PKEY_free(s.key);
}

static void keeps_within_the_issuers_life(void **state)
{
    (void)state;
    struct subject s;
    struct certificate fields;
    make_subject(KEY_P256, &s);
    struct issue_request request = device_request(&s);
    request.not_before = 0;
    request.not_after = clock_seconds() + 50LL * 365 * DAY;
    X509 *c = issue(&request, &fields);
    assert_verifies(c, X509_PURPOSE_SSL_CLIENT);
    assert_int_equal(fields.not_after, issuer_not_after(issuer));
    assert_int_equal(ASN1_TIME_compare(X509_get0_notAfter(c), X509_get0_notAfter(issuing)), 0);
    assert_int_equal(ASN1_TIME_compare(X509_get0_notBefore(c), X509_get0_notBefore(issuing)), 0);
    X509_free(c);

    request.not_before = issuer_not_after(issuer);
    assert_int_equal(try_issue(&request), ERR_EXPIRED);
    request.not_before = issuer_not_after(issuer) - 1;
    assert_int_equal(try_issue(&request), ERR_NONE);
    request.not_before = 0;
    request.not_after = 1000; /* over before the issuer began */
    assert_int_equal(try_issue(&request), ERR_EXPIRED);
    request = device_request(&s);
    request.not_after = request.not_before;
    assert_int_equal(try_issue(&request), ERR_SYNTAX);
    EVP_PKEY_free(s.key);
}

static void refuses_keys_and_small_buffers(void **state)
{
    (void)state;
    struct subject s;
    make_subject(KEY_P256, &s);
    struct issue_request request = device_request(&s);
    uint8_t longer[SPKI_MAX + 1] = {0};
    memcpy(longer, s.spki, s.spki_len);
    request.spki = slice_of(longer, s.spki_len + 1);
    assert_int_equal(try_issue(&request), ERR_SYNTAX);
    request.spki = slice_of(s.spki, s.spki_len - 1);
    assert_int_equal(try_issue(&request), ERR_SYNTAX);
    request.spki = slice_of(NULL, 0);
    assert_int_equal(try_issue(&request), ERR_SYNTAX);

    request = device_request(&s);
    uint8_t der[CERTIFICATE_MAX];
    size_t len = 0, again = 0;
    assert_int_equal(issue_certificate(issuer, &request, der, sizeof der, &len), ERR_NONE);
    for (size_t max = 0; max < len - 8; max += 13)
        assert_int_equal(issue_certificate(issuer, &request, der, max, &again), ERR_LIMIT);
    assert_int_equal(again, 0);
    EVP_PKEY_free(s.key);
}

static int compare_serials(const void *a, const void *b)
{
    return memcmp(a, b, 16);
}

static void serials_are_random_and_in_order(void **state)
{
    (void)state;
    enum { COUNT = 2000 };
    static uint8_t serials[COUNT][16];
    struct subject s;
    make_subject(KEY_ED25519, &s);
    struct issue_request request = device_request(&s);
    unsigned ones[128] = {0};
    for (size_t n = 0; n < COUNT; n++) {
        uint8_t der[CERTIFICATE_MAX];
        size_t len = 0;
        struct certificate fields;
        assert_int_equal(issue_certificate(issuer, &request, der, sizeof der, &len), ERR_NONE);
        assert_int_equal(certificate_read(slice_of(der, len), &fields), ERR_NONE);
        assert_int_equal(fields.serial.len, 16);
        memcpy(serials[n], fields.serial.data, fields.serial.len);
        struct reader r = reader_over(fields.serial);
        assert_int_equal(reader_be32(&r), fields.not_before);
        for (size_t bit = 0; bit < 128; bit++)
            ones[bit] += serials[n][bit / 8] >> (7 - bit % 8) & 1;
        if (n % 100 != 0)
            continue;
        const uint8_t *at = der;
        X509 *c = d2i_X509(NULL, &at, (long)len);
        BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(c), NULL);
        assert_true(!BN_is_negative(number) && BN_num_bits(number) > 64);
        BN_free(number);
        X509_free(c);
    }
    qsort(serials, COUNT, 16, compare_serials);
    for (size_t n = 1; n < COUNT; n++)
        assert_int_not_equal(memcmp(serials[n - 1], serials[n], 16), 0);
    /* each of the last 96 bits is free: half ones, within nine standard deviations */
    for (size_t bit = 32; bit < 128; bit++)
        assert_in_range(ones[bit], COUNT / 2 - 200, COUNT / 2 + 200);
    EVP_PKEY_free(s.key);
}

static void issuers_need_their_own_key_and_authority(void **state)
{
    (void)state;
    struct subject s;
    struct issuer *i = NULL;
    make_subject(KEY_P256, &s);
    assert_int_equal(issuer_new(s.key, issuing, &i), ERR_CONFLICT);
    struct issue_request request = device_request(&s);
    struct certificate fields;
    X509 *leaf = issue(&request, &fields);
    assert_int_equal(issuer_new(s.key, leaf, &i), ERR_REFUSED);
    assert_null(i);
    issuer_free(NULL);
    X509_free(leaf);
    EVP_PKEY_free(s.key);
}

/* Dates from 2050 on have another form. */
static void lives_past_2050(void **state)
{
    (void)state;
    X509 *root_now = root, *issuing_now = issuing;
    struct issuer *issuer_now = issuer;
    EVP_PKEY *key;
    char folder[PATH_MAX];
    int64_t shift = 2524608000 - 90 * DAY - clock_seconds();
    clock_shift(shift);
    temporary_folder_make(folder);
    load_ca(folder, &root, &issuing, &key);
    temporary_folder_remove(folder);
    assert_int_equal(issuer_new(key, issuing, &issuer), ERR_NONE);
    struct subject s;
    make_subject(KEY_P384, &s);
    struct issue_request request = device_request(&s);
    request.not_after = clock_seconds() + 365 * DAY;
    struct certificate fields;
    X509 *c = issue(&request, &fields);
    assert_verifies(c, X509_PURPOSE_SSL_CLIENT);
    assert_int_equal(fields.not_after, request.not_after);
    assert_int_equal(ASN1_STRING_type(X509_get0_notAfter(c)), V_ASN1_GENERALIZEDTIME);
    assert_int_equal(ASN1_STRING_type(X509_get0_notBefore(c)), V_ASN1_UTCTIME);
    X509_free(c);
    EVP_PKEY_free(s.key);
    issuer_free(issuer);
    EVP_PKEY_free(key);
    X509_free(issuing);
    X509_free(root);
    clock_shift(-shift);
    root = root_now;
    issuing = issuing_now;
    issuer = issuer_now;
}

/* Each names the list of its own shard, and others none. */
static void names_its_distribution_point(void **state)
{
    (void)state;
    struct subject s;
    make_subject(KEY_P256, &s);
    struct issue_request request = device_request(&s);
    struct certificate c;
    X509 *without = issue(&request, &c);
    assert_int_equal(X509_get_ext_by_NID(without, NID_crl_distribution_points, -1), -1);
    X509_free(without);
    request.public_url = SLICE_LITERAL("http://hub.acme.example");
    request.crl_shards = 16;
    for (unsigned i = 0; i < 20; i++) {
        char wanted[72];
        X509 *made = issue(&request, &c);
        (void)snprintf(wanted, sizeof wanted, "http://hub.acme.example/crl/%08x/16/%u.crl",
                       authority_number(c.authority_key), c.serial.data[c.serial.len - 1] % 16U);
        CRL_DIST_POINTS *points = X509_get_ext_d2i(made, NID_crl_distribution_points, NULL, NULL);
        assert_non_null(points);
        assert_int_equal(sk_DIST_POINT_num(points), 1);
        const GENERAL_NAME *name =
            sk_GENERAL_NAME_value(sk_DIST_POINT_value(points, 0)->distpoint->name.fullname, 0);
        assert_string_equal((const char *)ASN1_STRING_get0_data(name->d.uniformResourceIdentifier),
                            wanted);
        CRL_DIST_POINTS_free(points);
        X509_free(made);
    }
    EVP_PKEY_free(s.key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(issues_to_devices),
        cmocka_unit_test(issues_to_servers),
        cmocka_unit_test(issues_to_brokers),
        cmocka_unit_test(takes_an_empty_subject),
        cmocka_unit_test(refuses_names_that_are_none),
        cmocka_unit_test(keeps_within_the_issuers_life),
        cmocka_unit_test(refuses_keys_and_small_buffers),
        cmocka_unit_test(serials_are_random_and_in_order),
        cmocka_unit_test(issuers_need_their_own_key_and_authority),
        cmocka_unit_test(lives_past_2050),
        cmocka_unit_test(names_its_distribution_point),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
