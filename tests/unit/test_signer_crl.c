#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/x509v3.h>

#include "hub/signer/crl_desk.h"
#include "hub/signer/requests.h"
#include "pki/ca_roll.h"
#include "tests/unit/signer_fixture.h"

#define URL "http://hub.acme.example"

static struct crl_request complete(uint16_t shard, uint64_t number)
{
    int64_t now = clock_seconds();
    return (struct crl_request){
        .shard = shard, .number = number, .this_update = now - 60, .next_update = now + DAY};
}

/* Of the shard that its last byte says. */
static struct crl_entry entry_of(uint8_t n, enum crl_reason reason)
{
    struct crl_entry e = {.serial_len = 16, .date = clock_seconds() - 5, .reason = reason};
    memset(e.serial, 0x2a, e.serial_len);
    e.serial[e.serial_len - 1] = n;
    return e;
}

static void start_with_shards(struct fixture *f, unsigned shards)
{
    f->options.public_url = shards > 0 ? URL : NULL;
    f->options.crl_shards = shards;
    start(f, 1);
}

static enum err begin(const struct fixture *f, const struct crl_request *request, struct answer *a)
{
    *a = (struct answer){.called = 0};
    signer_crl_begin(f->link, request, answered, a);
    wait_for(f, a);
    return a->err;
}

static enum err add(const struct fixture *f, const struct crl_entry *entries, size_t n,
                    struct answer *a)
{
    *a = (struct answer){.called = 0};
    signer_crl_add(f->link, entries, n, answered, a);
    wait_for(f, a);
    return a->err;
}

static enum err finish(const struct fixture *f, struct answer *a)
{
    *a = (struct answer){.called = 0};
    signer_crl_finish(f->link, answered, a);
    wait_for(f, a);
    return a->err;
}

static uint64_t bytes_of(const struct crl_entry *entries, size_t n)
{
    uint64_t len = 0;
    for (size_t i = 0; i < n; i++) {
        uint8_t bytes[CRL_ENTRY_MAX];
        struct writer w = writer_over(bytes, sizeof bytes);
        crl_entry_write(&w, &entries[i]);
        assert_int_equal(w.err, ERR_NONE);
        len += w.len;
    }
    return len;
}

/* The whole way; NULL with *ret_err where the signer does not go it. */
static X509_CRL *make(const struct fixture *f, struct crl_request request,
                      const struct crl_entry *entries, size_t n, enum err *ret_err)
{
    static uint8_t der[1 << 20];
    struct answer a;
    request.entries_len = bytes_of(entries, n);
    *ret_err = begin(f, &request, &a);
    if (*ret_err != ERR_NONE)
        return NULL;
    uint8_t list[1 << 16];
    struct writer body = writer_over(list, sizeof list);
    writer_put(&body, slice_of(a.bytes, a.len));
    uint64_t left = request.entries_len;
    for (size_t i = 0; i < n; i += SIGNER_CRL_ENTRIES) {
        size_t some = n - i < SIGNER_CRL_ENTRIES ? n - i : SIGNER_CRL_ENTRIES;
        *ret_err = add(f, entries + i, some, &a);
        if (*ret_err != ERR_NONE)
            return NULL;
        left -= bytes_of(entries + i, some);
        struct reader r = reader_over(slice_of(a.bytes, a.len));
        assert_int_equal(reader_be64(&r), left);
        assert_int_equal(reader_finish(&r), ERR_NONE);
        for (size_t j = i; j < i + some; j++)
            crl_entry_write(&body, &entries[j]);
    }
    *ret_err = finish(f, &a);
    if (*ret_err != ERR_NONE)
        return NULL;
    writer_put(&body, slice_of(a.bytes, a.len));
    struct writer w = writer_over(der, sizeof der);
    crl_header_write(&w, body.len);
    writer_put(&w, writer_bytes(&body));
    assert_int_equal(w.err, ERR_NONE);
    const uint8_t *at = der;
    X509_CRL *crl = d2i_X509_CRL(NULL, &at, (long)w.len);
    assert_non_null(crl);
    bool current = request.authority == AUTHORITY_CURRENT;
    at = current ? f->facts.chain : f->facts.previous;
    X509 *issuing =
        d2i_X509(NULL, &at, (long)(current ? f->facts.chain_len : f->facts.previous_len));
    assert_non_null(issuing);
    assert_int_equal(X509_CRL_verify(crl, X509_get0_pubkey(issuing)), 1);
    X509_free(issuing);
    return crl;
}

static void must_make(const struct fixture *f, struct crl_request request)
{
    enum err err;
    X509_CRL *crl = make(f, request, NULL, 0, &err);
    assert_int_equal(err, ERR_NONE);
    X509_CRL_free(crl);
}

static void must_refuse(const struct fixture *f, struct crl_request request)
{
    enum err err;
    assert_null(make(f, request, NULL, 0, &err));
    assert_int_equal(err, ERR_REFUSED);
}

static void signs_a_list_of_many_messages(void **state)
{
    struct fixture *f = *state;
    static struct crl_entry entries[3 * SIGNER_CRL_ENTRIES + 7];
    start(f, 1);
    for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
        entries[i] =
            entry_of((uint8_t)i, i % 2 == 0 ? REASON_UNSPECIFIED : REASON_CERTIFICATE_HOLD);
        entries[i].serial[1] = (uint8_t)(i >> 8);
        entries[i].serial_len = i % 3 == 0 ? SERIAL_MAX : 16;
        if (i % 3 == 0)
            memset(entries[i].serial + 16, 1, SERIAL_MAX - 16);
    }
    enum err err;
    X509_CRL *crl = make(f, complete(SIGNER_CRL_ALL, 5), entries, ARRAY_LEN(entries), &err);
    assert_int_equal(err, ERR_NONE);
    assert_int_equal(sk_X509_REVOKED_num(X509_CRL_get_REVOKED(crl)), ARRAY_LEN(entries));
    /* without a public URL a list says of no other where it is */
    assert_int_equal(X509_CRL_get_ext_by_NID(crl, NID_freshest_crl, -1), -1);
    assert_int_equal(X509_CRL_get_ext_by_NID(crl, NID_issuing_distribution_point, -1), -1);
    X509_CRL_free(crl);
}

static uint32_t own_number(const struct fixture *f)
{
    struct certificate c;
    struct reader r = reader_over(slice_of(f->facts.chain, f->facts.chain_len));
    assert_int_equal(certificate_read(der_read_any(&r, NULL), &c), ERR_NONE);
    return authority_number(c.subject_key);
}

/* The signer writes the URLs itself, from what it was started with. */
static void names_shards_itself(void **state)
{
    struct fixture *f = *state;
    struct crl_entry e = entry_of(3, REASON_SUPERSEDED);
    enum err err;
    start_with_shards(f, 4);
    X509_CRL *crl = make(f, complete(3, 5), &e, 1, &err);
    assert_int_equal(err, ERR_NONE);
    ISSUING_DIST_POINT *point =
        X509_CRL_get_ext_d2i(crl, NID_issuing_distribution_point, NULL, NULL);
    char number[9], expected[80];
    (void)snprintf(number, sizeof number, "%08x", own_number(f));
    (void)snprintf(expected, sizeof expected, URL "/crl/%s/4/3.crl", number);
    const GENERAL_NAMES *names = point->distpoint->name.fullname;
    assert_int_equal(sk_GENERAL_NAME_num(names), 2);
    const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, 0);
    assert_string_equal((const char *)ASN1_STRING_get0_data(name->d.uniformResourceIdentifier),
                        expected);
    name = sk_GENERAL_NAME_value(names, 1);
    assert_string_equal((const char *)ASN1_STRING_get0_data(name->d.uniformResourceIdentifier),
                        URL "/crl/4/3.crl"); /* as certificates of earlier versions say */
    ISSUING_DIST_POINT_free(point);
    CRL_DIST_POINTS *freshest = X509_CRL_get_ext_d2i(crl, NID_freshest_crl, NULL, NULL);
    name = sk_GENERAL_NAME_value(sk_DIST_POINT_value(freshest, 0)->distpoint->name.fullname, 0);
    (void)snprintf(expected, sizeof expected, URL "/crl/%s/4/3-delta.crl", number);
    assert_string_equal((const char *)ASN1_STRING_get0_data(name->d.uniformResourceIdentifier),
                        expected);
    CRL_DIST_POINTS_free(freshest);
    X509_CRL_free(crl);

    e = entry_of(7, REASON_UNSPECIFIED); /* 7 is 3 in four shards */
    crl = make(f, complete(3, 6), &e, 1, &err);
    assert_int_equal(err, ERR_NONE);
    X509_CRL_free(crl);
    e = entry_of(6, REASON_UNSPECIFIED);
    assert_null(make(f, complete(3, 7), &e, 1, &err));
    assert_int_equal(err, ERR_REFUSED);
    must_refuse(f, complete(4, 8));
}

static void numbers_grow_in_each_scope(void **state)
{
    struct fixture *f = *state;
    start_with_shards(f, 2);
    must_make(f, complete(SIGNER_CRL_ALL, 10));
    must_refuse(f, complete(SIGNER_CRL_ALL, 10));
    must_refuse(f, complete(SIGNER_CRL_ALL, 9));
    must_make(f, complete(0, 1));
    must_make(f, complete(1, 1));
    must_refuse(f, complete(1, 1));
    must_make(f, complete(SIGNER_CRL_ALL, 11));
    struct crl_request delta = complete(SIGNER_CRL_ALL, 11);
    delta.base = 10;
    must_make(f, delta); /* the number of the complete one */
    must_refuse(f, delta);
    delta.number = 12;
    must_make(f, delta);
    must_make(f, complete(SIGNER_CRL_ALL, 20));
    delta.number = 19; /* grows, but a complete one is beyond it */
    must_refuse(f, delta);
    delta.number = 20;
    must_make(f, delta);
    /* one that was begun and not finished has used no number */
    struct answer a;
    struct crl_request begun = complete(SIGNER_CRL_ALL, 30);
    assert_int_equal(begin(f, &begun, &a), ERR_NONE);
    must_make(f, complete(SIGNER_CRL_ALL, 21));
}

/* From `ca switch` to `ca finish`; make() looks whose signature it is. */
static void signs_for_the_previous_authority(void **state)
{
    struct fixture *f = *state;
    char explain[256] = "", key[PATH_MAX + 32];
    start_with_shards(f, 2);
    struct crl_request previous = complete(SIGNER_CRL_ALL, 7);
    previous.authority = AUTHORITY_PREVIOUS;
    assert_false(f->facts.previous_signs);
    must_refuse(f, previous); /* there is none */
    stop(f);

    assert_int_equal(ca_roll_prepare(f->folder, FLEET, true, explain), ERR_NONE);
    assert_int_equal(ca_roll_switch(f->folder, explain), ERR_NONE);
    start(f, 1);
    assert_true(f->facts.previous_signs);
    must_make(f, complete(SIGNER_CRL_ALL, 7));
    must_make(f, previous); /* numbers are each one's own */
    must_refuse(f, previous);
    previous.shard = 1;
    must_make(f, previous);
    previous.base = 6;
    must_make(f, previous);
    stop(f);

    (void)snprintf(key, sizeof key, "%s/previous-issuing.key", f->signer_folder);
    assert_int_equal(unlink(key), 0);
    start(f, 1);
    assert_false(f->facts.previous_signs);
    assert_true(f->facts.previous_len > 0); /* what it issued is taken all the same */
    must_refuse(f, previous);
    must_make(f, complete(SIGNER_CRL_ALL, 8));
}

static void dates_are_of_now(void **state)
{
    struct fixture *f = *state;
    int64_t now = clock_seconds();
    start(f, 1);
    struct crl_request bad[6];
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        bad[i] = complete(SIGNER_CRL_ALL, i + 1);
    bad[0].this_update = now - SIGNER_CRL_BACKDATING_MAX - 60;
    bad[1].this_update = now + SIGNER_CRL_FUTURE_MAX + 60;
    bad[2].next_update = now - 1;
    bad[3].next_update = now + SIGNER_CRL_LIFETIME_MAX + 60;
    bad[4].this_update = INT64_MIN;
    bad[5].next_update = INT64_MAX;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        must_refuse(f, bad[i]);
    struct crl_entry e = entry_of(1, REASON_UNSPECIFIED);
    e.date = now + 2 * SIGNER_CRL_BACKDATING_MAX;
    enum err err;
    assert_null(make(f, complete(SIGNER_CRL_ALL, 50), &e, 1, &err));
    assert_int_equal(err, ERR_REFUSED);
}

static void takes_entries_as_announced_or_none(void **state)
{
    struct fixture *f = *state;
    struct answer a;
    struct crl_entry e = entry_of(1, REASON_UNSPECIFIED);
    struct crl_request request = complete(SIGNER_CRL_ALL, 5);
    start(f, 1);
    /* nothing was begun */
    assert_int_equal(add(f, &e, 1, &a), ERR_CONFLICT);
    assert_int_equal(finish(f, &a), ERR_CONFLICT);
    /* too few, and what was dropped does not come back */
    request.entries_len = 2 * bytes_of(&e, 1);
    assert_int_equal(begin(f, &request, &a), ERR_NONE);
    assert_int_equal(add(f, &e, 1, &a), ERR_NONE);
    assert_int_equal(finish(f, &a), ERR_CONFLICT);
    assert_int_equal(add(f, &e, 1, &a), ERR_CONFLICT);
    /* too many */
    request.entries_len = bytes_of(&e, 1);
    assert_int_equal(begin(f, &request, &a), ERR_NONE);
    assert_int_equal(add(f, &e, 1, &a), ERR_NONE);
    assert_int_equal(add(f, &e, 1, &a), ERR_CONFLICT);
    assert_int_equal(finish(f, &a), ERR_CONFLICT);
    /* what only a delta says */
    e.reason = REASON_REMOVE_FROM_CRL;
    request.entries_len = bytes_of(&e, 1);
    assert_int_equal(begin(f, &request, &a), ERR_NONE);
    assert_int_equal(add(f, &e, 1, &a), ERR_REFUSED);
    request.base = 4;
    assert_int_equal(begin(f, &request, &a), ERR_NONE);
    assert_int_equal(add(f, &e, 1, &a), ERR_NONE);
    assert_int_equal(finish(f, &a), ERR_NONE);
    /* reasons and serials that are none */
    request.number++;
    e.reason = (enum crl_reason)1;
    assert_int_equal(begin(f, &request, &a), ERR_NONE);
    assert_int_equal(add(f, &e, 1, &a), ERR_SYNTAX);
    e = entry_of(1, REASON_UNSPECIFIED);
    e.serial_len = 0;
    assert_int_equal(begin(f, &request, &a), ERR_NONE);
    assert_int_equal(add(f, &e, 1, &a), ERR_SYNTAX);
    /* longer than a message */
    static struct crl_entry many[SIGNER_REQUEST_MAX / 20];
    for (size_t i = 0; i < ARRAY_LEN(many); i++)
        many[i] = entry_of(1, REASON_UNSPECIFIED);
    assert_int_equal(add(f, many, ARRAY_LEN(many), &a), ERR_LIMIT);
    request.entries_len = CRL_ENTRIES_MAX + 1;
    assert_int_equal(begin(f, &request, &a), ERR_LIMIT);
}

/* A power of two, and only where they can be fetched. */
static void shards_are_a_power_of_two(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        unsigned shards;
        enum err err;
    } cases[] = {
        {NULL, 0, ERR_NONE}, {"", 0, ERR_NONE},    {URL, 1, ERR_NONE},     {URL, 256, ERR_NONE},
        {URL, 0, ERR_NONE},  {URL, 3, ERR_SYNTAX}, {URL, 512, ERR_SYNTAX}, {NULL, 2, ERR_SYNTAX},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct crl_desk d;
        assert_int_equal(crl_desk_open(&d, cases[i].url, cases[i].shards), cases[i].err);
    }
    char url[CRL_URL_MAX + 1];
    struct crl_desk d;
    memset(url, 'x', sizeof url - 1);
    url[sizeof url - 1] = '\0';
    assert_int_equal(crl_desk_open(&d, url, 2), ERR_LIMIT);
    static const unsigned counts[] = {1, 2, 16, 256};
    for (size_t i = 0; i < ARRAY_LEN(counts); i++)
        for (unsigned last = 0; last < 256; last++) {
            uint8_t serial[2] = {9, (uint8_t)last};
            assert_int_equal(crl_shard_of(slice_of(serial, 2), counts[i]), last % counts[i]);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(signs_a_list_of_many_messages, set_up, tear_down),
        cmocka_unit_test_setup_teardown(names_shards_itself, set_up, tear_down),
        cmocka_unit_test_setup_teardown(numbers_grow_in_each_scope, set_up, tear_down),
        cmocka_unit_test_setup_teardown(signs_for_the_previous_authority, set_up, tear_down),
        cmocka_unit_test_setup_teardown(dates_are_of_now, set_up, tear_down),
        cmocka_unit_test_setup_teardown(takes_entries_as_announced_or_none, set_up, tear_down),
        cmocka_unit_test(shards_are_a_power_of_two),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
