/* How a further hub gets its certificate: request, card, and what neither lets pass. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/pem.h>

#include "base/crypto.h"
#include "base/file.h"
#include "pki/ca_files.h"
#include "pki/ca_hub.h"
#include "tests/unit/temporary_folder.h"

#define FLEET "acme.example"

struct fixture {
    char folder[PATH_MAX];
    char owner[PATH_MAX + 8], hub[PATH_MAX + 8], explain[256];
    uint8_t request[NOTE_MAX], card[NOTE_MAX], storage[HUB_CARD_STORAGE];
    struct writer request_w, card_w;
    struct ca_hub_answer answer;
};

static const char *in(const char *folder, const char *name)
{
    static char path[PATH_MAX + 64];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static enum err request(struct fixture *f, const char *state, const char *name)
{
    f->request_w = writer_over(f->request, sizeof f->request);
    return ca_hub_request(state, FLEET, name, NULL, &f->request_w, f->explain);
}

static enum err certify(struct fixture *f, const char *chain)
{
    f->card_w = writer_over(f->card, sizeof f->card);
    return ca_hub_card(f->owner, writer_bytes(&f->request_w), chain, &f->card_w, &f->answer,
                       f->explain);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    uint8_t bundle[TRUST_BUNDLE_MAX];
    struct writer w = writer_over(bundle, sizeof bundle);
    temporary_folder_make(f->folder);
    (void)snprintf(f->owner, sizeof f->owner, "%s/owner", f->folder);
    (void)snprintf(f->hub, sizeof f->hub, "%s/hub", f->folder);
    if (ca_init(f->owner, FLEET, NULL, f->explain) != ERR_NONE ||
        ca_bundle(f->owner, FLEET, &w, f->explain) != ERR_NONE ||
        request(f, f->hub, "hub-2") != ERR_NONE || certify(f, NULL) != ERR_NONE)
        fail_msg("%s", f->explain);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    temporary_folder_remove(f->folder);
    free(f);
    return 0;
}

static void assert_refused(struct fixture *f, enum err err, enum err expected, const char *because)
{
    if (err != expected || strstr(f->explain, because) == NULL)
        fail_msg("%s: '%s' instead of '%s'", err_text(err), f->explain, because);
}

static struct trust_bundle read_bundle(struct fixture *f)
{
    uint8_t *note;
    size_t len;
    struct trust_bundle b;
    assert_int_equal(file_read(in(f->owner, "bundle"), TRUST_BUNDLE_MAX, &note, &len), ERR_NONE);
    assert_int_equal(trust_bundle_read(slice_of(note, len), NULL, crypto_sha256,
                                       crypto_ed25519_verify, f->storage, sizeof f->storage, &b),
                     ERR_NONE);
    free(note);
    return b;
}

static void a_hub_is_certified(void **state)
{
    struct fixture *f = *state;
    struct hub_card card;
    struct ca_facts facts;
    struct note_key own, bundle_key;
    assert_string_equal(f->answer.name, "hub-2");
    assert_true(f->answer.bundle_changed);
    assert_int_equal(ca_vkey_read(in(f->hub, "ledger.vkey"), &own), ERR_NONE);
    assert_int_equal(ca_vkey_read(in(f->owner, "bundle.vkey"), &bundle_key), ERR_NONE);
    assert_int_equal(hub_card_read(writer_bytes(&f->card_w), &bundle_key, f->storage, &card),
                     ERR_NONE);
    assert_string_equal(card.fleet, FLEET);
    assert_string_equal(card.name, "hub-2");
    assert_true(note_key_equal(&card.ledger_key, &own));
    assert_int_equal(ca_vkey_read(in(f->hub, "policy.vkey"), &own), ERR_NONE);
    assert_true(note_key_equal(&card.policy_key, &own));
    assert_int_equal(card.chain_len, 2);
    assert_int_equal(ca_hub_check(&card, in(f->owner, "root.pem"), f->explain), ERR_NONE);
    assert_int_equal(ca_hub_check_chain(card.chain[0], in(f->owner, "root.pem"), f->explain),
                     ERR_NONE);

    assert_int_equal(ca_hub_install(f->hub, writer_bytes(&f->card_w), f->explain), ERR_NONE);
    assert_int_equal(ca_show(f->hub, &facts, f->explain), ERR_NONE);
    assert_string_equal(facts.issuing_subject, "CN=" FLEET " issuing,OU=hub-2");
    assert_string_equal(facts.root_subject, "CN=" FLEET " root");
    assert_true(note_key_equal(&facts.bundle_key, &bundle_key));
    assert_false(facts.root_key_present);
    assert_false(facts.bundle_key_present);
    /* and again, as when the certificate is made anew */
    assert_int_equal(ca_hub_install(f->hub, writer_bytes(&f->card_w), f->explain), ERR_NONE);
}

static void the_bundle_names_every_hubs_keys(void **state)
{
    struct fixture *f = *state;
    struct note_key first, second, policy;
    uint8_t note[TRUST_BUNDLE_MAX];
    struct writer w = writer_over(note, sizeof note);
    assert_int_equal(ca_vkey_read(in(f->owner, "ledger.vkey"), &first), ERR_NONE);
    assert_int_equal(ca_vkey_read(in(f->hub, "ledger.vkey"), &second), ERR_NONE);
    struct trust_bundle b = read_bundle(f);
    assert_int_equal(b.version, 2);
    assert_int_equal(b.ledger_keys_len, 2);
    assert_true(note_key_equal(&b.ledger_keys[0], &first));
    assert_true(note_key_equal(&b.ledger_keys[1], &second));
    assert_int_equal(b.policy_keys_len, 2);
    assert_int_equal(ca_vkey_read(in(f->hub, "policy.vkey"), &policy), ERR_NONE);
    assert_true(note_key_equal(&b.policy_keys[1], &policy));
    /* a card made once more asks for no further bundle */
    assert_int_equal(certify(f, NULL), ERR_NONE);
    assert_false(f->answer.bundle_changed);
    assert_int_equal(read_bundle(f).version, 2);
    /* the next keeps both, unless one is left out */
    assert_int_equal(ca_bundle(f->owner, FLEET, &w, f->explain), ERR_NONE);
    assert_int_equal(read_bundle(f).ledger_keys_len, 2);
    w = writer_over(note, sizeof note);
    assert_int_equal(ca_bundle_change(f->owner, FLEET, NULL, &second, &w, f->explain), ERR_NONE);
    b = read_bundle(f);
    assert_int_equal(b.version, 4);
    assert_int_equal(b.ledger_keys_len, 1);
    assert_true(note_key_equal(&b.ledger_keys[0], &first));
    w = writer_over(note, sizeof note);
    assert_int_equal(ca_bundle_change(f->owner, FLEET, NULL, &policy, &w, f->explain), ERR_NONE);
    assert_int_equal(read_bundle(f).policy_keys_len, 1);
    w = writer_over(note, sizeof note);
    assert_refused(f, ca_bundle_change(f->owner, FLEET, NULL, &second, &w, f->explain),
                   ERR_NOT_FOUND, "no such key");
}

static void an_owner_without_a_hub_makes_bundles(void **state)
{
    struct fixture *f = *state;
    uint8_t note[TRUST_BUNDLE_MAX];
    struct writer w = writer_over(note, sizeof note);
    assert_int_equal(unlink(in(f->owner, "ledger.vkey")), 0);
    assert_int_equal(unlink(in(f->owner, "policy.vkey")), 0);
    assert_int_equal(ca_bundle(f->owner, FLEET, &w, f->explain), ERR_NONE);
    assert_int_equal(read_bundle(f).ledger_keys_len, 2);
    assert_int_equal(unlink(in(f->owner, "bundle")), 0);
    assert_refused(f, ca_bundle(f->owner, FLEET, &w, f->explain), ERR_NOT_FOUND, "ledger.vkey");
}

static void ledger_keys_are_bounded(void **state)
{
    struct fixture *f = *state;
    enum err err = ERR_NONE;
    for (size_t i = 3; i <= TRUST_LEDGERS_MAX + 1; i++) {
        char path[PATH_MAX + 32], name[16];
        (void)snprintf(path, sizeof path, "%s/hub-%zu", f->folder, i);
        (void)snprintf(name, sizeof name, "hub-%zu", i);
        assert_int_equal(request(f, path, name), ERR_NONE);
        err = certify(f, NULL);
        assert_int_equal(err, i <= TRUST_LEDGERS_MAX ? ERR_NONE : ERR_LIMIT);
    }
    assert_refused(f, err, ERR_LIMIT, "--without");
    assert_int_equal(read_bundle(f).ledger_keys_len, TRUST_LEDGERS_MAX);
}

/* ---- requests ---- */

static void a_request_is_made_anew(void **state)
{
    struct fixture *f = *state;
    struct hub_request first, second;
    assert_int_equal(hub_request_read(writer_bytes(&f->request_w), f->storage, &first), ERR_NONE);
    assert_int_equal(request(f, f->hub, "hub-2"), ERR_NONE);
    assert_int_equal(hub_request_read(writer_bytes(&f->request_w), f->storage, &second), ERR_NONE);
    assert_true(note_key_equal(&first.ledger_key, &second.ledger_key));
}

static void keys_of_a_fleet_are_not_used_again(void **state)
{
    struct fixture *f = *state;
    assert_refused(f, request(f, f->owner, "hub-2"), ERR_EXISTS, "is in a fleet");
    assert_int_equal(ca_hub_install(f->hub, writer_bytes(&f->card_w), f->explain), ERR_NONE);
    assert_refused(f, request(f, f->hub, "hub-3"), ERR_EXISTS, "is in a fleet");
    f->request_w = writer_over(f->request, sizeof f->request);
    assert_refused(f, ca_hub_request(f->hub, "Other", "hub-2", NULL, &f->request_w, f->explain),
                   ERR_SYNTAX, "fleet's name");
    assert_refused(f, request(f, f->hub, "-a"), ERR_SYNTAX, "hub's name");
    assert_refused(f, request(f, f->hub, ""), ERR_SYNTAX, "hub's name");
    char other[PATH_MAX + 16];
    (void)snprintf(other, sizeof other, "%s/other", f->folder);
    assert_int_equal(request(f, other, "hub-3"), ERR_NONE);
    f->request_w = writer_over(f->request, sizeof f->request);
    assert_refused(f,
                   ca_hub_request(other, "other.example", "hub-3", NULL, &f->request_w, f->explain),
                   ERR_REFUSED, "were made for");
}

/* Signs `text` with the key in the file, under its own name. */
static void sign_text(struct writer *w, const char *key_path, const char *name)
{
    EVP_PKEY *key = NULL;
    struct note_key public_key;
    assert_int_equal(ca_key_read(key_path, &key), ERR_NONE);
    assert_int_equal(ca_note_key(key, name, &public_key), ERR_NONE);
    assert_int_equal(ca_sign_note(key, &public_key, w), ERR_NONE);
    EVP_PKEY_free(key);
}

static void bad_requests_are_refused(void **state)
{
    struct fixture *f = *state;
    static uint8_t good[NOTE_MAX], storage[HUB_CARD_STORAGE];
    size_t len = f->request_w.len;
    memcpy(good, f->request, len);
    struct hub_request r;
    /* no byte of it may change */
    for (size_t i = 0; i < len; i++) {
        f->request[i] ^= 1;
        assert_int_not_equal(hub_request_read(slice_of(f->request, len), f->storage, &r), ERR_NONE);
        f->request[i] ^= 1;
    }
    for (size_t n = 0; n < len; n++)
        assert_int_not_equal(hub_request_read(slice_of(good, n), f->storage, &r), ERR_NONE);

    /* signed soundly by the ledger key, and wrong all the same */
    assert_int_equal(hub_request_read(slice_of(good, len), storage, &r), ERR_NONE);
    char key[PATH_MAX + 64];
    (void)snprintf(key, sizeof key, "%s", in(f->hub, "signer/ledger.key"));
    struct hub_request other = r;
    (void)snprintf(other.fleet, sizeof other.fleet, "other.example");
    f->request_w = writer_over(f->request, sizeof f->request);
    hub_request_write(&f->request_w, &other);
    sign_text(&f->request_w, key, FLEET "/ledger");
    assert_refused(f, certify(f, NULL), ERR_REFUSED, "is for the fleet 'other.example'");

    other = r;
    storage[r.request.len - 1] ^= 1; /* the certification request's own signature */
    f->request_w = writer_over(f->request, sizeof f->request);
    hub_request_write(&f->request_w, &other);
    sign_text(&f->request_w, key, FLEET "/ledger");
    assert_refused(f, certify(f, NULL), ERR_REFUSED, "certification request");
    storage[r.request.len - 1] ^= 1;

    other = r;
    EVP_PKEY *ledger = NULL;
    assert_int_equal(ca_key_read(key, &ledger), ERR_NONE);
    assert_int_equal(ca_note_key(ledger, "elsewhere", &other.ledger_key), ERR_NONE);
    EVP_PKEY_free(ledger);
    f->request_w = writer_over(f->request, sizeof f->request);
    hub_request_write(&f->request_w, &other);
    sign_text(&f->request_w, key, "elsewhere");
    assert_refused(f, certify(f, NULL), ERR_REFUSED, "ledger key is not called");

    other = r; /* a ledger key that passes for a policy key */
    other.policy_key = r.ledger_key;
    f->request_w = writer_over(f->request, sizeof f->request);
    hub_request_write(&f->request_w, &other);
    sign_text(&f->request_w, key, FLEET "/ledger");
    assert_refused(f, certify(f, NULL), ERR_REFUSED, "policy key is not called");
}

/* ---- cards ---- */

static void bad_cards_are_refused(void **state)
{
    struct fixture *f = *state;
    struct hub_card card;
    size_t len = f->card_w.len;
    for (size_t i = 0; i < len; i++) {
        f->card[i] ^= 1;
        assert_int_not_equal(ca_hub_install(f->hub, slice_of(f->card, len), f->explain), ERR_NONE);
        f->card[i] ^= 1;
    }
    assert_int_not_equal(access(in(f->hub, "root.pem"), F_OK), 0);
    struct note_key own;
    assert_int_equal(ca_vkey_read(in(f->hub, "ledger.vkey"), &own), ERR_NONE);
    assert_int_equal(hub_card_read(slice_of(f->card, len), &own, f->storage, &card), ERR_NOT_FOUND);
    /* for another hub */
    char other[PATH_MAX + 16];
    (void)snprintf(other, sizeof other, "%s/hub-3", f->folder);
    struct slice first = slice_of(f->card, len);
    static uint8_t kept[NOTE_MAX];
    memcpy(kept, first.data, len);
    assert_int_equal(request(f, other, "hub-3"), ERR_NONE);
    assert_refused(f, ca_hub_install(other, slice_of(kept, len), f->explain), ERR_REFUSED,
                   "other keys than");
}

static void another_root_is_refused(void **state)
{
    struct fixture *f = *state;
    struct hub_card card;
    char stranger[PATH_MAX + 16];
    (void)snprintf(stranger, sizeof stranger, "%s/stranger", f->folder);
    assert_int_equal(ca_init(stranger, FLEET, NULL, f->explain), ERR_NONE);
    assert_int_equal(hub_card_read(writer_bytes(&f->card_w), NULL, f->storage, &card), ERR_NONE);
    assert_refused(f, ca_hub_check(&card, in(stranger, "root.pem"), f->explain), ERR_REFUSED,
                   "does not lead to a root");
    assert_refused(f, ca_hub_check_chain(card.chain[0], in(stranger, "root.pem"), f->explain),
                   ERR_REFUSED, "not signed by");
    /* a root that was put among the certificates makes itself no root of the fleet */
    assert_refused(f, ca_hub_check_chain(card.chain[1], in(stranger, "root.pem"), f->explain),
                   ERR_REFUSED, "");
    assert_refused(f, ca_hub_check_chain(card.chain[1], in(f->owner, "root.pem"), f->explain),
                   ERR_REFUSED, "");
    assert_refused(f, ca_hub_check_chain(slice_of(NULL, 0), in(f->owner, "root.pem"), f->explain),
                   ERR_REFUSED, "can't be read");
}

static void an_own_root_certifies(void **state)
{
    struct fixture *f = *state;
    char chain[PATH_MAX + 64];
    (void)snprintf(chain, sizeof chain, "%s", in(f->folder, "chain.pem"));
    /* the owner's root by other means: what certify() made, handed in as a file */
    struct hub_card card;
    assert_int_equal(hub_card_read(writer_bytes(&f->card_w), NULL, f->storage, &card), ERR_NONE);
    FILE *file = fopen(chain, "w");
    assert_non_null(file);
    for (size_t i = 0; i < card.chain_len; i++) {
        const uint8_t *at = card.chain[i].data;
        X509 *c = d2i_X509(NULL, &at, (long)card.chain[i].len);
        assert_int_equal(PEM_write_X509(file, c), 1);
        X509_free(c);
    }
    assert_int_equal(fclose(file), 0);
    assert_int_equal(certify(f, chain), ERR_NONE);
    char other[PATH_MAX + 16];
    (void)snprintf(other, sizeof other, "%s/hub-3", f->folder);
    assert_int_equal(request(f, other, "hub-3"), ERR_NONE);
    assert_refused(f, certify(f, chain), ERR_REFUSED, "not for the issuing key");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_hub_is_certified),
        TEST(the_bundle_names_every_hubs_keys),
        TEST(an_owner_without_a_hub_makes_bundles),
        TEST(ledger_keys_are_bounded),
        TEST(a_request_is_made_anew),
        TEST(keys_of_a_fleet_are_not_used_again),
        TEST(bad_requests_are_refused),
        TEST(bad_cards_are_refused),
        TEST(another_root_is_refused),
        TEST(an_own_root_certifies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
