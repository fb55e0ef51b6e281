#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "pki/crl.h"
#include "tests/unit/temporary_folder.h"

#define DAY  86400
#define URL  "http://hub.acme.example/crl/7.crl"
#define URL2 "http://hub.acme.example/crl/7-delta.crl"

static X509 *root, *issuing;
static EVP_PKEY *root_key, *issuing_key;
static struct issuer *issuer;

static int set_up(void **state)
{
    (void)state;
    char folder[PATH_MAX], path[PATH_MAX + 32], explain[256] = "";
    X509 *chain[CA_CHAIN_MAX];
    size_t n = 0;
    temporary_folder_make(folder);
    if (ca_init(folder, "acme.example", NULL, explain) != ERR_NONE)
        fail_msg("%s", explain);
    snprintf(path, sizeof path, "%s/root.pem", folder);
    assert_int_equal(ca_chain_read(path, chain, &n), ERR_NONE);
    root = chain[0];
    snprintf(path, sizeof path, "%s/signer/issuing.pem", folder);
    assert_int_equal(ca_chain_read(path, chain, &n), ERR_NONE);
    issuing = chain[0];
    snprintf(path, sizeof path, "%s/signer/issuing.key", folder);
    assert_int_equal(ca_key_read(path, &issuing_key), ERR_NONE);
    snprintf(path, sizeof path, "%s/offline/root.key", folder);
    assert_int_equal(ca_key_read(path, &root_key), ERR_NONE);
    temporary_folder_remove(folder);
    return issuer_new(issuing_key, issuing, &issuer) == ERR_NONE ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    issuer_free(issuer);
    EVP_PKEY_free(issuing_key);
    EVP_PKEY_free(root_key);
    X509_free(issuing);
    X509_free(root);
    return 0;
}

static struct crl_frame complete(void)
{
    int64_t now = clock_seconds();
    return (struct crl_frame){.this_update = now - 60, .next_update = now + DAY, .number = 41};
}

static struct crl_entry entry_of(uint32_t n, enum crl_reason reason)
{
    struct crl_entry e = {.serial_len = 16, .date = 1700000000 + n, .reason = reason};
    uint8_t seed[4] = {(uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};
    uint8_t hash[SHA256_SIZE];
    crypto_sha256_one(slice_of(seed, sizeof seed), hash);
    memcpy(e.serial, hash, e.serial_len);
    e.serial[0] |= 1; /* half of them with a sign byte */
    return e;
}

/* What signer and hub do between them. malloc'd; *ret_len 0 where there is none. */
static enum err make(const struct crl_frame *frame, const struct crl_entry *entries, size_t n,
                     uint8_t **ret_der, size_t *ret_len)
{
    size_t max = CRL_HEADER_MAX + CRL_PREFIX_MAX + CRL_SUFFIX_MAX + n * CRL_ENTRY_MAX;
    uint8_t *list = malloc(max), *whole = malloc(max);
    uint8_t prefix_bytes[CRL_PREFIX_MAX], suffix_bytes[CRL_SUFFIX_MAX];
    struct writer entry_bytes = writer_over(list, max);
    struct writer prefix = writer_over(prefix_bytes, sizeof prefix_bytes);
    struct writer suffix = writer_over(suffix_bytes, sizeof suffix_bytes);
    struct writer w = writer_over(whole, max);
    struct crl_signing *c = NULL;
    for (size_t i = 0; i < n; i++)
        crl_entry_write(&entry_bytes, &entries[i]);
    enum err err = entry_bytes.err;
    if (err == ERR_NONE)
        err = crl_begin(issuer, frame, entry_bytes.len, &c, &prefix);
    for (size_t i = 0; err == ERR_NONE && i < n; i++)
        err = crl_add(c, &entries[i]);
    if (err == ERR_NONE)
        err = crl_finish(c, &suffix);
    crl_free(c);
    if (err == ERR_NONE) {
        crl_header_write(&w, prefix.len + entry_bytes.len + suffix.len);
        writer_put(&w, writer_bytes(&prefix));
        writer_put(&w, writer_bytes(&entry_bytes));
        writer_put(&w, writer_bytes(&suffix));
        assert_int_equal(w.err, ERR_NONE);
        *ret_der = whole;
        *ret_len = w.len;
    } else {
        free(whole);
    }
    free(list);
    return err;
}

/* OpenSSL reads all of it, writes the same bytes again, and finds the signature right. */
static X509_CRL *read_back(const uint8_t *der, size_t len)
{
    const uint8_t *at = der;
    X509_CRL *crl = d2i_X509_CRL(NULL, &at, (long)len);
    assert_non_null(crl);
    assert_ptr_equal(at, der + len);
    uint8_t *again = NULL;
    int again_len = i2d_re_X509_CRL_tbs(crl, &again);
    assert_true(again_len > 0);
    assert_non_null(memmem(der, len, again, (size_t)again_len));
    OPENSSL_free(again);
    assert_int_equal(X509_CRL_verify(crl, issuing_key), 1);
    assert_int_equal(X509_CRL_get_version(crl), X509_CRL_VERSION_2);
    assert_int_equal(X509_NAME_cmp(X509_CRL_get_issuer(crl), X509_get_subject_name(issuing)), 0);
    AUTHORITY_KEYID *akid = X509_CRL_get_ext_d2i(crl, NID_authority_key_identifier, NULL, NULL);
    assert_non_null(akid);
    assert_int_equal(ASN1_OCTET_STRING_cmp(akid->keyid, X509_get0_subject_key_id(issuing)), 0);
    AUTHORITY_KEYID_free(akid);
    return crl;
}

static X509_CRL *must_make(const struct crl_frame *frame, const struct crl_entry *entries, size_t n)
{
    uint8_t *der = NULL;
    size_t len = 0;
    struct crl_facts facts;
    assert_int_equal(make(frame, entries, n, &der, &len), ERR_NONE);
    X509_CRL *crl = read_back(der, len);
    assert_int_equal(crl_read(slice_of(der, len), &facts), ERR_NONE);
    assert_int_equal(facts.number, frame->number);
    assert_int_equal(facts.base, frame->base);
    assert_int_equal(facts.this_update, frame->this_update);
    assert_int_equal(facts.next_update, frame->next_update);
    assert_int_equal(facts.has_entries, n > 0);
    free(der);
    return crl;
}

static uint64_t number_in(X509_CRL *crl, int nid, int *ret_critical)
{
    uint64_t v = 0;
    ASN1_INTEGER *n = X509_CRL_get_ext_d2i(crl, nid, ret_critical, NULL);
    assert_non_null(n);
    assert_int_equal(ASN1_INTEGER_get_uint64(&v, n), 1);
    ASN1_INTEGER_free(n);
    return v;
}

static void assert_time(const ASN1_TIME *time, int64_t seconds)
{
    struct tm tm;
    assert_int_equal(ASN1_TIME_to_tm(time, &tm), 1);
    assert_int_equal(timegm(&tm), seconds);
}

static void is_empty_where_nothing_has_ended(void **state)
{
    (void)state;
    struct crl_frame frame = complete();
    X509_CRL *crl = must_make(&frame, NULL, 0);
    assert_null(X509_CRL_get_REVOKED(crl));
    int critical = -1;
    assert_int_equal(number_in(crl, NID_crl_number, &critical), 41);
    assert_int_equal(critical, 0);
    assert_time(X509_CRL_get0_lastUpdate(crl), frame.this_update);
    assert_time(X509_CRL_get0_nextUpdate(crl), frame.next_update);
    assert_int_equal(X509_CRL_get_ext_count(crl), 2);
    X509_CRL_free(crl);
}

static void holds_what_was_put_in(void **state)
{
    (void)state;
    static const enum crl_reason reasons[] = {REASON_UNSPECIFIED, REASON_SUPERSEDED,
                                              REASON_CESSATION_OF_OPERATION,
                                              REASON_CERTIFICATE_HOLD};
    static const size_t counts[] = {1, 2, 3, 4, 5, 400, 2000};
    for (size_t k = 0; k < ARRAY_LEN(counts); k++) { /* lengths of one to three octets */
        size_t n = counts[k];
        struct crl_entry *entries = calloc(n, sizeof *entries);
        for (size_t i = 0; i < n; i++)
            entries[i] = entry_of((uint32_t)i, reasons[i % ARRAY_LEN(reasons)]);
        struct crl_frame frame = complete();
        X509_CRL *crl = must_make(&frame, entries, n);
        assert_int_equal(sk_X509_REVOKED_num(X509_CRL_get_REVOKED(crl)), n);
        for (size_t i = 0; i < n; i++) {
            ASN1_INTEGER *serial = ASN1_INTEGER_new();
            BIGNUM *b = BN_bin2bn(entries[i].serial, (int)entries[i].serial_len, NULL);
            X509_REVOKED *found = NULL;
            assert_non_null(BN_to_ASN1_INTEGER(b, serial));
            assert_int_equal(X509_CRL_get0_by_serial(crl, &found, serial), 1);
            assert_time(X509_REVOKED_get0_revocationDate(found), entries[i].date);
            int critical = -1;
            ASN1_ENUMERATED *reason =
                X509_REVOKED_get_ext_d2i(found, NID_crl_reason, &critical, NULL);
            if (entries[i].reason == REASON_UNSPECIFIED) {
                assert_null(reason);
                assert_int_equal(critical, -1); /* absent, not broken */
            } else {
                assert_int_equal(ASN1_ENUMERATED_get(reason), entries[i].reason);
            }
            ASN1_ENUMERATED_free(reason);
            BN_free(b);
            ASN1_INTEGER_free(serial);
        }
        X509_CRL_free(crl);
        free(entries);
    }
}

static void names_its_distribution_point(void **state)
{
    (void)state;
    struct crl_frame frame = complete();
    frame.distribution_points[0] = SLICE_LITERAL(URL);
    frame.freshest = SLICE_LITERAL(URL2);
    struct crl_entry e = entry_of(1, REASON_CERTIFICATE_HOLD);
    X509_CRL *crl = must_make(&frame, &e, 1);
    int critical = -1;
    ISSUING_DIST_POINT *point =
        X509_CRL_get_ext_d2i(crl, NID_issuing_distribution_point, &critical, NULL);
    assert_non_null(point);
    assert_int_equal(critical, 1);
    assert_true(point->onlyuser > 0 && point->onlyCA <= 0 && point->onlyattr <= 0 &&
                point->indirectCRL <= 0 && point->onlysomereasons == NULL);
    const GENERAL_NAME *name = sk_GENERAL_NAME_value(point->distpoint->name.fullname, 0);
    assert_int_equal(name->type, GEN_URI);
    assert_memory_equal(ASN1_STRING_get0_data(name->d.uniformResourceIdentifier), URL,
                        sizeof URL - 1);
    ISSUING_DIST_POINT_free(point);
    CRL_DIST_POINTS *freshest = X509_CRL_get_ext_d2i(crl, NID_freshest_crl, &critical, NULL);
    assert_non_null(freshest);
    assert_int_equal(critical, 0);
    assert_int_equal(sk_DIST_POINT_num(freshest), 1);
    const DIST_POINT *d = sk_DIST_POINT_value(freshest, 0);
    name = sk_GENERAL_NAME_value(d->distpoint->name.fullname, 0);
    assert_memory_equal(ASN1_STRING_get0_data(name->d.uniformResourceIdentifier), URL2,
                        sizeof URL2 - 1);
    CRL_DIST_POINTS_free(freshest);
    X509_CRL_free(crl);
}

static void says_what_a_delta_is_based_on(void **state)
{
    (void)state;
    struct crl_frame frame = complete();
    frame.base = 17;
    struct crl_entry e = entry_of(1, REASON_REMOVE_FROM_CRL);
    X509_CRL *crl = must_make(&frame, &e, 1);
    int critical = -1;
    assert_int_equal(number_in(crl, NID_delta_crl, &critical), 17);
    assert_int_equal(critical, 1);
    assert_int_equal(number_in(crl, NID_crl_number, &critical), 41);
    X509_CRL_free(crl);
}

/* Frames that no list is made of. */
static void refuses_frames_that_contradict_themselves(void **state)
{
    (void)state;
    static char long_url[CRL_URL_MAX + 2];
    memset(long_url, 'x', sizeof long_url - 1);
    struct crl_frame good = complete(), bad[8];
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        bad[i] = good;
    bad[0].number = 0;
    bad[1].next_update = bad[1].this_update;
    bad[2].base = bad[2].number + 1;
    bad[3].base = 1;
    bad[3].freshest = SLICE_LITERAL(URL2); /* a delta has none */
    bad[4].distribution_points[0] = slice_of_text(long_url);
    bad[5].distribution_points[0] = SLICE_LITERAL("http://a b/");
    bad[6].freshest = SLICE_LITERAL("http://a\nb/");
    bad[7].this_update = INT64_MAX - 1;
    bad[7].next_update = INT64_MAX;
    uint8_t *der = NULL;
    size_t len = 0;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        enum err err = make(&bad[i], NULL, 0, &der, &len);
        assert_int_equal(err, i == 7 ? ERR_LIMIT : ERR_SYNTAX);
        assert_null(der);
    }
    uint8_t bytes[CRL_PREFIX_MAX];
    struct writer w = writer_over(bytes, sizeof bytes);
    struct crl_signing *c = NULL;
    assert_int_equal(crl_begin(issuer, &good, CRL_ENTRIES_MAX + 1, &c, &w), ERR_LIMIT);
    struct writer small = writer_over(bytes, 40);
    assert_int_equal(crl_begin(issuer, &good, 0, &c, &small), ERR_LIMIT);
    assert_null(c);
}

static void refuses_entries_that_are_none(void **state)
{
    (void)state;
    struct crl_entry good = entry_of(1, REASON_UNSPECIFIED), bad[6];
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        bad[i] = good;
    bad[0].serial_len = 0;
    bad[1].serial_len = SERIAL_MAX + 1;
    bad[2].serial[0] = 0; /* the same number would have two texts */
    bad[3].reason = (enum crl_reason)7;
    bad[4].reason = (enum crl_reason) - 1;
    bad[5].date = INT64_MIN;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        uint8_t bytes[CRL_ENTRY_MAX];
        struct writer w = writer_over(bytes, sizeof bytes);
        crl_entry_write(&w, &bad[i]);
        assert_int_equal(w.err, i == 5 ? ERR_LIMIT : ERR_SYNTAX);
        assert_int_equal(w.len, 0);
    }
    /* the largest there is has room */
    struct crl_entry largest = {.serial_len = SERIAL_MAX, .date = 253402300799, .reason = 6};
    memset(largest.serial, 0xff, sizeof largest.serial);
    uint8_t bytes[CRL_ENTRY_MAX];
    struct writer w = writer_over(bytes, sizeof bytes);
    crl_entry_write(&w, &largest);
    assert_int_equal(w.err, ERR_NONE);
}

/* The signer has put a length before what it has not seen yet: it signs nothing of another. */
static void signs_exactly_what_was_announced(void **state)
{
    (void)state;
    struct crl_frame frame = complete();
    struct crl_entry e = entry_of(1, REASON_UNSPECIFIED);
    uint8_t bytes[CRL_PREFIX_MAX];
    struct writer w = writer_over(bytes, sizeof bytes);
    crl_entry_write(&w, &e);
    size_t len = w.len;
    for (size_t announced = 0; announced < 3 * len; announced++) {
        struct crl_signing *c = NULL;
        struct writer prefix = writer_over(bytes, sizeof bytes);
        uint8_t suffix_bytes[CRL_SUFFIX_MAX];
        struct writer suffix = writer_over(suffix_bytes, sizeof suffix_bytes);
        assert_int_equal(crl_begin(issuer, &frame, announced, &c, &prefix), ERR_NONE);
        size_t added = 0;
        while (added + len <= announced) {
            assert_int_equal(crl_add(c, &e), ERR_NONE);
            added += len;
        }
        assert_int_equal(crl_add(c, &e), ERR_CONFLICT);
        assert_int_equal(crl_finish(c, &suffix), added == announced ? ERR_NONE : ERR_CONFLICT);
        crl_free(c);
    }
}

static void needs_a_certificate_that_may_sign_lists(void **state)
{
    (void)state;
    X509 *lacking = X509_new();
    X509V3_CTX ctx;
    assert_int_equal(X509_set_version(lacking, X509_VERSION_3), 1);
    ASN1_INTEGER_set(X509_get_serialNumber(lacking), 1);
    X509_set_subject_name(lacking, X509_get_subject_name(issuing));
    X509_set_issuer_name(lacking, X509_get_subject_name(root));
    X509_gmtime_adj(X509_getm_notBefore(lacking), -60);
    X509_gmtime_adj(X509_getm_notAfter(lacking), 3600);
    X509_set_pubkey(lacking, issuing_key);
    X509V3_set_ctx(&ctx, root, lacking, NULL, NULL, 0);
    static const char *const extensions[][2] = {{"basicConstraints", "critical,CA:TRUE,pathlen:0"},
                                                {"keyUsage", "critical,keyCertSign"},
                                                {"subjectKeyIdentifier", "hash"}};
    for (size_t i = 0; i < ARRAY_LEN(extensions); i++) {
        X509_EXTENSION *e = X509V3_EXT_conf(NULL, &ctx, extensions[i][0], extensions[i][1]);
        assert_non_null(e);
        assert_int_equal(X509_add_ext(lacking, e, -1), 1);
        X509_EXTENSION_free(e);
    }
    assert_true(X509_sign(lacking, root_key, EVP_sha384()) > 0);
    struct issuer *other = NULL;
    assert_int_equal(issuer_new(issuing_key, lacking, &other), ERR_NONE);
    struct crl_frame frame = complete();
    struct crl_signing *c = NULL;
    uint8_t bytes[CRL_PREFIX_MAX];
    struct writer w = writer_over(bytes, sizeof bytes);
    assert_int_equal(crl_begin(other, &frame, 0, &c, &w), ERR_REFUSED);
    assert_null(c);
    issuer_free(other);
    X509_free(lacking);
}

/* Cut anywhere, or with one byte behind it, it is no list. */
static void reads_whole_lists_alone(void **state)
{
    (void)state;
    struct crl_frame frame = complete();
    struct crl_entry e = entry_of(1, REASON_CERTIFICATE_HOLD);
    uint8_t *der = NULL;
    size_t len = 0;
    struct crl_facts facts = {0};
    assert_int_equal(make(&frame, &e, 1, &der, &len), ERR_NONE);
    for (size_t n = 0; n < len; n++)
        assert_int_equal(crl_read(slice_of(der, n), &facts), ERR_SYNTAX);
    uint8_t *longer = malloc(len + 1);
    memcpy(longer, der, len);
    longer[len] = 0;
    assert_int_equal(crl_read(slice_of(longer, len + 1), &facts), ERR_SYNTAX);
    assert_int_equal(facts.number, 0);
    free(longer);
    free(der);
    /* what others write, without number or nextUpdate */
    X509_CRL *other = X509_CRL_new();
    X509_CRL_set_version(other, X509_CRL_VERSION_2);
    X509_CRL_set_issuer_name(other, X509_get_subject_name(issuing));
    ASN1_TIME *now = ASN1_TIME_set(NULL, (time_t)clock_seconds());
    X509_CRL_set1_lastUpdate(other, now);
    assert_true(X509_CRL_sign(other, issuing_key, EVP_sha256()) > 0);
    uint8_t *bytes = NULL;
    int n = i2d_X509_CRL(other, &bytes);
    assert_int_equal(crl_read(slice_of(bytes, (size_t)n), &facts), ERR_UNSUPPORTED);
    OPENSSL_free(bytes);
    ASN1_TIME_free(now);
    X509_CRL_free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_empty_where_nothing_has_ended),
        cmocka_unit_test(holds_what_was_put_in),
        cmocka_unit_test(names_its_distribution_point),
        cmocka_unit_test(says_what_a_delta_is_based_on),
        cmocka_unit_test(refuses_frames_that_contradict_themselves),
        cmocka_unit_test(refuses_entries_that_are_none),
        cmocka_unit_test(signs_exactly_what_was_announced),
        cmocka_unit_test(needs_a_certificate_that_may_sign_lists),
        cmocka_unit_test(reads_whole_lists_alone),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
