/* The root's own revocation list: OpenSSL takes a whole chain with it, and none without. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/clock.h"
#include "pki/ca_crl.h"
#include "pki/ca_roll.h"
#include "tests/unit/temporary_folder.h"

#define FLEET "acme.example"
#define DAY   86400

struct fixture {
    char folder[PATH_MAX], state[PATH_MAX + 8], explain[256];
};

static const char *path_of(const struct fixture *f, const char *name)
{
    static char paths[2][PATH_MAX + 64];
    static unsigned turn;
    char *path = paths[turn++ % 2];
    (void)snprintf(path, sizeof paths[0], "%s/%s", f->state, name);
    return path;
}

static void init(struct fixture *f)
{
    if (ca_init(f->state, FLEET, geteuid() == 0 ? "nobody" : NULL, f->explain) != ERR_NONE)
        fail_msg("%s", f->explain);
}

static int set_up(void **state)
{
    static struct fixture f;
    memset(&f, 0, sizeof f);
    temporary_folder_make(f.folder);
    (void)snprintf(f.state, sizeof f.state, "%s/state", f.folder);
    init(&f);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    const struct fixture *f = *state;
    temporary_folder_remove(f->folder);
    return 0;
}

/* ---- what was made ---- */

struct lists {
    X509_CRL *all[CA_CRL_LISTS];
    size_t n;
    int64_t next_update;
};

static void lists_cleanup(struct lists *l)
{
    for (size_t i = 0; i < l->n; i++)
        X509_CRL_free(l->all[i]);
}

static struct lists must_make(struct fixture *f, int64_t lifetime)
{
    uint8_t bytes[CA_CRL_MAX];
    struct writer pem = writer_over(bytes, sizeof bytes);
    struct lists l = {.n = 0};
    if (ca_crl(f->state, lifetime, &pem, &l.next_update, f->explain) != ERR_NONE)
        fail_msg("%s", f->explain);
    BIO *bio = BIO_new_mem_buf(bytes, (int)pem.len);
    X509_CRL *crl;
    while ((crl = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL)) != NULL) {
        assert_true(l.n < CA_CRL_LISTS);
        l.all[l.n++] = crl;
    }
    assert_true(BIO_eof(bio));
    BIO_free(bio);
    return l;
}

static enum err make(struct fixture *f, size_t room)
{
    uint8_t bytes[CA_CRL_MAX];
    struct writer pem = writer_over(bytes, room);
    int64_t next_update = -1;
    f->explain[0] = '\0';
    enum err err = ca_crl(f->state, DAY, &pem, &next_update, f->explain);
    assert_int_equal(next_update == -1, err != ERR_NONE);
    assert_int_equal(f->explain[0] == '\0', err == ERR_NONE);
    return err;
}

struct chain {
    X509 *all[CA_CHAIN_MAX];
    size_t n;
};

static struct chain read_chain(const struct fixture *f, const char *name)
{
    struct chain c = {.n = 0};
    assert_int_equal(ca_chain_read(path_of(f, name), c.all, &c.n), ERR_NONE);
    return c;
}

static void chain_cleanup(struct chain *c)
{
    for (size_t i = 0; i < c->n; i++)
        X509_free(c->all[i]);
}

/* The issuing certificate, held against the root it leads to and a list for each link. */
static int verify(const struct fixture *f, const struct lists *l)
{
    struct chain roots CLEANUP(chain_cleanup) = read_chain(f, "root.pem");
    struct chain issuing CLEANUP(chain_cleanup) = read_chain(f, "signer/issuing.pem");
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    STACK_OF(X509) *between = sk_X509_new_null();
    for (size_t i = 0; i < roots.n; i++)
        assert_int_equal(X509_STORE_add_cert(store, roots.all[i]), 1);
    for (size_t i = 1; i < issuing.n; i++)
        assert_true(sk_X509_push(between, issuing.all[i]) > 0);
    for (size_t i = 0; i < l->n; i++)
        assert_int_equal(X509_STORE_add_crl(store, l->all[i]), 1);
    assert_int_equal(X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL),
                     1);
    assert_int_equal(X509_STORE_CTX_init(ctx, store, issuing.all[0], between), 1);
    bool good = X509_verify_cert(ctx) == 1;
    int error = X509_STORE_CTX_get_error(ctx);
    assert_int_equal(good, error == X509_V_OK);
    X509_STORE_CTX_free(ctx);
    sk_X509_free(between);
    X509_STORE_free(store);
    return error;
}

static int64_t seconds_of(const ASN1_TIME *time)
{
    struct tm tm;
    assert_int_equal(ASN1_TIME_to_tm(time, &tm), 1);
    return (int64_t)timegm(&tm);
}

static uint64_t number_of(X509_CRL *crl)
{
    ASN1_INTEGER *integer = X509_CRL_get_ext_d2i(crl, NID_crl_number, NULL, NULL);
    uint64_t number = 0;
    assert_non_null(integer);
    assert_int_equal(ASN1_INTEGER_get_uint64(&number, integer), 1);
    ASN1_INTEGER_free(integer);
    return number;
}

/* ---- cases ---- */

static void lets_whole_chains_be_checked(void **state)
{
    struct fixture *f = *state;
    const struct lists none = {.n = 0};
    assert_int_equal(verify(f, &none), X509_V_ERR_UNABLE_TO_GET_CRL);
    int64_t now = clock_seconds();
    struct lists l CLEANUP(lists_cleanup) = must_make(f, 30 * DAY);
    assert_int_equal(l.n, 1);
    assert_int_equal(verify(f, &l), X509_V_OK);
    assert_int_equal(sk_X509_REVOKED_num(X509_CRL_get_REVOKED(l.all[0])), -1);
    assert_in_range(seconds_of(X509_CRL_get0_lastUpdate(l.all[0])), now - 3600, now);
    assert_in_range(l.next_update, now + 30 * DAY, clock_seconds() + 30 * DAY);
    assert_int_equal(seconds_of(X509_CRL_get0_nextUpdate(l.all[0])), l.next_update);
}

static void numbers_grow(void **state)
{
    struct fixture *f = *state;
    struct lists first CLEANUP(lists_cleanup) = must_make(f, DAY);
    clock_shift(1);
    struct lists second CLEANUP(lists_cleanup) = must_make(f, DAY);
    clock_shift(-1);
    assert_true(number_of(second.all[0]) > number_of(first.all[0]));
}

static void ends_with_its_root(void **state)
{
    struct fixture *f = *state;
    struct chain root CLEANUP(chain_cleanup) = read_chain(f, "root.pem");
    int64_t end = seconds_of(X509_get0_notAfter(root.all[0]));
    struct lists l CLEANUP(lists_cleanup) = must_make(f, INT64_MAX);
    assert_int_equal(l.next_update, end);
    assert_int_equal(seconds_of(X509_CRL_get0_nextUpdate(l.all[0])), end);
    int64_t past = end - clock_seconds() + 1;
    clock_shift(past);
    enum err err = make(f, CA_CRL_MAX);
    clock_shift(-past);
    assert_int_equal(err, ERR_EXPIRED);
}

/* What is made beside the next root is enough until the end: the medium may be away in between. */
static void makes_one_for_each_root_of_a_roll_over(void **state)
{
    struct fixture *f = *state;
    struct lists old CLEANUP(lists_cleanup) = must_make(f, DAY);
    assert_int_equal(ca_roll_prepare(f->state, FLEET, false, f->explain), ERR_NONE);
    struct lists prepared CLEANUP(lists_cleanup) = must_make(f, DAY);
    assert_int_equal(prepared.n, 2);
    assert_int_equal(verify(f, &prepared), X509_V_OK);
    assert_int_equal(ca_roll_switch(f->state, f->explain), ERR_NONE);
    assert_int_not_equal(verify(f, &old), X509_V_OK);
    assert_int_equal(verify(f, &prepared), X509_V_OK);
    struct lists during CLEANUP(lists_cleanup) = must_make(f, DAY);
    struct chain roots CLEANUP(chain_cleanup) = read_chain(f, "root.pem");
    assert_int_equal(roots.n, 2);
    assert_int_equal(during.n, 2);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(X509_CRL_verify(during.all[i], X509_get0_pubkey(roots.all[i])), 1);
    assert_int_equal(verify(f, &during), X509_V_OK);
    assert_int_equal(ca_roll_finish(f->state, f->explain), ERR_NONE);
    assert_int_equal(verify(f, &prepared), X509_V_OK);
    struct lists after CLEANUP(lists_cleanup) = must_make(f, DAY);
    assert_int_equal(after.n, 1);
    assert_int_equal(verify(f, &after), X509_V_OK);
}

static void tells_what_is_missing(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(rename(path_of(f, "offline"), path_of(f, "away")), 0);
    assert_int_equal(make(f, CA_CRL_MAX), ERR_NOT_FOUND);
    assert_non_null(strstr(f->explain, "put the offline medium in its place"));
    assert_int_equal(rename(path_of(f, "away"), path_of(f, "offline")), 0);
    assert_int_equal(make(f, CA_CRL_MAX), ERR_NONE);
    assert_int_equal(make(f, 100), ERR_LIMIT);

    assert_int_equal(unlink(path_of(f, "offline/root.key")), 0);
    FILE *file = fopen(path_of(f, "offline/root.key"), "w");
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(make(f, CA_CRL_MAX), ERR_SYNTAX);
    assert_non_null(strstr(f->explain, "offline/root.key"));

    assert_int_equal(rename(path_of(f, "offline/root.key"), path_of(f, "next-root.pem")), 0);
    assert_int_equal(make(f, CA_CRL_MAX), ERR_SYNTAX);
    assert_non_null(strstr(f->explain, "next-root.pem"));

    assert_int_equal(unlink(path_of(f, "root.pem")), 0);
    assert_int_equal(make(f, CA_CRL_MAX), ERR_NOT_FOUND);
    assert_non_null(strstr(f->explain, "root.pem"));
}

/* An owner's own root has its key elsewhere; what signs with another key would be no list of it. */
static void signs_for_no_root_but_its_own(void **state)
{
    struct fixture *f = *state;
    struct fixture other = {.state = ""};
    (void)snprintf(other.state, sizeof other.state, "%.200s/other", f->folder);
    init(&other);
    assert_int_equal(rename(path_of(&other, "root.pem"), path_of(f, "root.pem")), 0);
    assert_int_equal(make(f, CA_CRL_MAX), ERR_NOT_FOUND);
    assert_non_null(strstr(f->explain, "openssl ca -gencrl"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lets_whole_chains_be_checked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(numbers_grow, set_up, tear_down),
        cmocka_unit_test_setup_teardown(ends_with_its_root, set_up, tear_down),
        cmocka_unit_test_setup_teardown(makes_one_for_each_root_of_a_roll_over, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tells_what_is_missing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(signs_for_no_root_but_its_own, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
