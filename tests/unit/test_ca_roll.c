/* A new root and issuing authority take over from the old, in three acts that may be cut short. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/x509v3.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/file.h"
#include "base/sandbox.h"
#include "pki/ca_roll.h"
#include "tests/unit/temporary_folder.h"

#define FLEET "acme.example"

struct fixture {
    char folder[PATH_MAX], state[PATH_MAX + 8], explain[256];
    uint64_t version; /* of the last bundle */
};

static const char *path_of(const struct fixture *f, const char *name)
{
    static char paths[2][PATH_MAX + 64];
    static unsigned turn;
    char *path = paths[turn++ % 2];
    (void)snprintf(path, sizeof paths[0], "%s/%s", f->state, name);
    return path;
}

static bool is_there(const struct fixture *f, const char *name)
{
    return access(path_of(f, name), F_OK) == 0;
}

static int set_up(void **state)
{
    static struct fixture f;
    memset(&f, 0, sizeof f);
    temporary_folder_make(f.folder);
    (void)snprintf(f.state, sizeof f.state, "%s/state", f.folder);
    const char *user = geteuid() == 0 ? "nobody" : NULL;
    if (ca_init(f.state, FLEET, user, f.explain) != ERR_NONE)
        fail_msg("%s", f.explain);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    const struct fixture *f = *state;
    temporary_folder_remove(f->folder);
    return 0;
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

static void chain_free(struct chain *c)
{
    for (size_t i = 0; i < c->n; i++)
        X509_free(c->all[i]);
}

/* As a device does that believes in these roots and is shown this chain by the hub. */
static bool leads_to(const struct chain *chain, X509 *root)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    STACK_OF(X509) *between = sk_X509_new_null();
    assert_int_equal(X509_STORE_add_cert(store, root), 1);
    for (size_t i = 1; i < chain->n; i++)
        assert_true(sk_X509_push(between, chain->all[i]) > 0);
    assert_int_equal(X509_STORE_CTX_init(ctx, store, chain->all[0], between), 1);
    X509_VERIFY_PARAM_set_flags(X509_STORE_CTX_get0_param(ctx), X509_V_FLAG_X509_STRICT);
    X509_VERIFY_PARAM_set_auth_level(X509_STORE_CTX_get0_param(ctx), 2);
    bool leads = X509_verify_cert(ctx) == 1;
    sk_X509_free(between);
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    return leads;
}

static bool is_key_of(const struct fixture *f, const char *name, X509 *certificate)
{
    EVP_PKEY *key = NULL;
    assert_int_equal(ca_key_read(path_of(f, name), &key), ERR_NONE);
    bool is = EVP_PKEY_eq(key, X509_get0_pubkey(certificate)) == 1;
    EVP_PKEY_free(key);
    return is;
}

/* The roots in the next bundle. */
static size_t roots_in_bundle(struct fixture *f)
{
    static uint8_t note[TRUST_BUNDLE_MAX], storage[TRUST_ROOTS_MAX * CERTIFICATE_MAX];
    struct writer w = writer_over(note, sizeof note);
    struct trust_bundle b;
    if (ca_bundle(f->state, FLEET, &w, f->explain) != ERR_NONE)
        fail_msg("%s", f->explain);
    assert_int_equal(trust_bundle_read(writer_bytes(&w), NULL, crypto_sha256, crypto_ed25519_verify,
                                       storage, sizeof storage, &b),
                     ERR_NONE);
    assert_true(b.version > f->version);
    f->version = b.version;
    return b.server_roots_len;
}

static void assert_private(const struct fixture *f, const char *name)
{
    struct stat file, folder;
    assert_int_equal(stat(path_of(f, name), &file), 0);
    assert_int_equal(stat(path_of(f, "signer"), &folder), 0);
    assert_int_equal(file.st_mode & 07777, 0400);
    assert_int_equal(file.st_uid, folder.st_uid);
}

#define ACT(f, call)                                                                               \
    {                                                                                              \
        if ((call) != ERR_NONE)                                                                    \
            fail_msg("%s", (f)->explain);                                                          \
    }

static void assert_says(const struct fixture *f, enum err got, enum err wanted, const char *text)
{
    assert_int_equal(got, wanted);
    if (strstr(f->explain, text) == NULL)
        fail_msg("'%s' is not in '%s'", text, f->explain);
}

static void rolls_root_and_issuing_over(void **state)
{
    struct fixture *f = *state;
    struct chain old = read_chain(f, "signer/issuing.pem"), old_root = read_chain(f, "root.pem");
    assert_int_equal(roots_in_bundle(f), 1);
    ACT(f, ca_roll_prepare(f->state, FLEET, false, f->explain));

    /* nothing has changed for the hub; devices hear of both */
    struct chain still = read_chain(f, "signer/issuing.pem"), next = read_chain(f, "next-root.pem");
    assert_int_equal(X509_cmp(still.all[0], old.all[0]), 0);
    assert_int_equal(
        X509_NAME_cmp(X509_get_subject_name(next.all[0]), X509_get_subject_name(old_root.all[0])),
        0);
    assert_true(is_key_of(f, "offline/next-root.key", next.all[0]));
    assert_false(is_key_of(f, "offline/root.key", next.all[0]));
    assert_int_equal(roots_in_bundle(f), 2);
    assert_private(f, "signer/next-issuing.key");
    assert_private(f, "signer/next-issuing.pem");

    ACT(f, ca_roll_switch(f->state, f->explain));
    struct chain new = read_chain(f, "signer/issuing.pem");
    struct chain previous = read_chain(f, "signer/previous-issuing.pem");
    struct chain roots = read_chain(f, "root.pem");
    assert_int_equal(new.n, 2);
    assert_true(is_key_of(f, "signer/issuing.key", new.all[0]));
    assert_true(is_key_of(f, "signer/previous-issuing.key", old.all[0]));
    assert_int_equal(X509_cmp(previous.all[0], old.all[0]), 0);
    assert_int_equal(roots.n, 2);
    assert_int_equal(X509_cmp(roots.all[0], next.all[0]), 0);
    assert_int_equal(X509_cmp(roots.all[1], old_root.all[0]), 0);
    assert_true(leads_to(&new, next.all[0]));
    assert_true(leads_to(&new, old_root.all[0])); /* by the new root under the old */
    assert_true(leads_to(&previous, old_root.all[0]));
    assert_false(leads_to(&previous, next.all[0]));
    assert_false(is_there(f, "next-root.pem"));
    assert_false(is_there(f, "signer/next-issuing.key"));
    assert_int_equal(roots_in_bundle(f), 2);

    ACT(f, ca_roll_finish(f->state, f->explain));
    struct chain last = read_chain(f, "signer/issuing.pem"), only = read_chain(f, "root.pem");
    assert_int_equal(last.n, 1);
    assert_int_equal(X509_cmp(last.all[0], new.all[0]), 0);
    assert_int_equal(only.n, 1);
    assert_int_equal(X509_cmp(only.all[0], next.all[0]), 0);
    assert_true(leads_to(&last, only.all[0]));
    assert_false(leads_to(&last, old_root.all[0]));
    assert_false(is_there(f, "signer/previous-issuing.key"));
    assert_false(is_there(f, "signer/previous-issuing.pem"));
    assert_false(is_there(f, "offline/next-root.key"));
    assert_true(is_key_of(f, "offline/root.key", only.all[0]));
    assert_private(f, "signer/issuing.key");
    assert_private(f, "signer/issuing.pem");
    assert_int_equal(roots_in_bundle(f), 1);

    /* and again */
    ACT(f, ca_roll_prepare(f->state, FLEET, false, f->explain));
    ACT(f, ca_roll_switch(f->state, f->explain));
    ACT(f, ca_roll_finish(f->state, f->explain));
    struct chain *const all[] = {&old,      &old_root, &still, &next, &new,
                                 &previous, &roots,    &last,  &only};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        chain_free(all[i]);
}

static void keeps_the_root(void **state)
{
    struct fixture *f = *state;
    struct chain root = read_chain(f, "root.pem"), old = read_chain(f, "signer/issuing.pem");
    ACT(f, ca_roll_prepare(f->state, FLEET, true, f->explain));
    assert_int_equal(roots_in_bundle(f), 1);
    ACT(f, ca_roll_switch(f->state, f->explain));
    struct chain new = read_chain(f, "signer/issuing.pem");
    assert_int_equal(new.n, 1);
    assert_true(leads_to(&new, root.all[0]));
    assert_int_not_equal(X509_cmp(new.all[0], old.all[0]), 0);
    /* the medium is away, and nothing on it changes */
    assert_int_equal(rename(path_of(f, "offline"), path_of(f, "medium")), 0);
    ACT(f, ca_roll_finish(f->state, f->explain));
    assert_true(is_key_of(f, "medium/root.key", root.all[0]));
    struct chain same = read_chain(f, "root.pem");
    assert_int_equal(same.n, 1);
    assert_int_equal(X509_cmp(same.all[0], root.all[0]), 0);
    struct chain *const all[] = {&root, &old, &new, &same};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        chain_free(all[i]);
}

static void refuses_what_is_out_of_turn(void **state)
{
    struct fixture *f = *state;
    assert_says(f, ca_roll_switch(f->state, f->explain), ERR_NOT_FOUND, "holdfast ca prepare");
    assert_says(f, ca_roll_finish(f->state, f->explain), ERR_NOT_FOUND, "no previous authority");
    assert_says(f, ca_roll_prepare(f->state, "No Fleet", false, f->explain), ERR_SYNTAX,
                "No Fleet");
    assert_int_equal(rename(path_of(f, "offline"), path_of(f, "medium")), 0);
    assert_says(f, ca_roll_prepare(f->state, FLEET, false, f->explain), ERR_NOT_FOUND,
                "put the offline medium in its place");
    assert_int_equal(rename(path_of(f, "medium"), path_of(f, "offline")), 0);
    assert_false(is_there(f, "signer/next-issuing.key"));

    ACT(f, ca_roll_prepare(f->state, FLEET, false, f->explain));
    assert_says(f, ca_roll_prepare(f->state, FLEET, false, f->explain), ERR_EXISTS,
                "holdfast ca switch");
    ACT(f, ca_roll_switch(f->state, f->explain));
    assert_says(f, ca_roll_switch(f->state, f->explain), ERR_NOT_FOUND, "holdfast ca prepare");
    assert_says(f, ca_roll_prepare(f->state, FLEET, false, f->explain), ERR_EXISTS,
                "holdfast ca finish");
    /* the old root's key must not be left on a medium that is away */
    assert_int_equal(rename(path_of(f, "offline"), path_of(f, "medium")), 0);
    assert_says(f, ca_roll_finish(f->state, f->explain), ERR_NOT_FOUND, "offline medium");
    assert_true(is_there(f, "signer/previous-issuing.key"));
    struct chain roots = read_chain(f, "root.pem");
    assert_int_equal(roots.n, 2);
    chain_free(&roots);
}

/* The renames of a switch, cut short after each of them. */
static void a_switch_that_was_cut_short_goes_on(void **state)
{
    static const struct {
        const char *from, *to;
        bool move;
    } steps[] = {
        {"signer/issuing.key", "signer/previous-issuing.key", false},
        {"signer/issuing.pem", "signer/previous-issuing.pem", false},
        {"signer/next-issuing.key", "signer/issuing.key", true},
    };
    for (size_t cut = 1; cut <= ARRAY_LEN(steps); cut++) {
        assert_int_equal(set_up(state), 0);
        struct fixture *f = *state;
        struct chain old = read_chain(f, "signer/issuing.pem");
        ACT(f, ca_roll_prepare(f->state, FLEET, false, f->explain));
        for (size_t i = 0; i < cut; i++) {
            const char *from = path_of(f, steps[i].from), *to = path_of(f, steps[i].to);
            assert_int_equal(steps[i].move ? rename(from, to) : link(from, to), 0);
        }
        if (cut >= 2)
            assert_says(f, ca_roll_finish(f->state, f->explain), ERR_REFUSED, "cut short");
        ACT(f, ca_roll_switch(f->state, f->explain));
        struct chain new = read_chain(f, "signer/issuing.pem");
        assert_true(is_key_of(f, "signer/issuing.key", new.all[0]));
        assert_true(is_key_of(f, "signer/previous-issuing.key", old.all[0]));
        ACT(f, ca_roll_finish(f->state, f->explain));
        chain_free(&old);
        chain_free(&new);
        assert_int_equal(tear_down(state), 0);
    }
}

/* Keys of an attempt that did not come to its end are replaced, not taken. */
static void a_prepare_that_was_cut_short_is_done_anew(void **state)
{
    struct fixture *f = *state;
    ACT(f, ca_roll_prepare(f->state, FLEET, false, f->explain));
    assert_int_equal(unlink(path_of(f, "signer/next-issuing.pem")), 0);
    ACT(f, ca_roll_prepare(f->state, FLEET, true, f->explain));
    assert_false(is_there(f, "next-root.pem"));
    assert_false(is_there(f, "offline/next-root.key"));
    struct chain next = read_chain(f, "signer/next-issuing.pem");
    assert_true(is_key_of(f, "signer/next-issuing.key", next.all[0]));
    assert_int_equal(roots_in_bundle(f), 1);
    chain_free(&next);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(rolls_root_and_issuing_over),
        TEST(keeps_the_root),
        TEST(refuses_what_is_out_of_turn),
        cmocka_unit_test(a_switch_that_was_cut_short_goes_on),
        TEST(a_prepare_that_was_cut_short_is_done_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
