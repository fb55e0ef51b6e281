#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <signal.h>

#include <openssl/x509v3.h>

#include "hub/signer/handlers.h"
#include "tests/unit/signer_fixture.h"

static void assert_chains(const struct fixture *f, const struct answer *a, int purpose)
{
    char path[PATH_MAX + 16];
    X509 *chain[CA_CHAIN_MAX];
    size_t n = 0;
    (void)snprintf(path, sizeof path, "%s/root.pem", f->folder);
    assert_int_equal(ca_chain_read(path, chain, &n), ERR_NONE);
    const uint8_t *at = f->facts.chain;
    X509 *issuing = d2i_X509(NULL, &at, (long)f->facts.chain_len);
    at = a->bytes;
    X509 *leaf = d2i_X509(NULL, &at, (long)a->len);
    assert_true(issuing != NULL && leaf != NULL);
    STACK_OF(X509) *between = sk_X509_new_null();
    assert_true(sk_X509_push(between, issuing) > 0);
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    assert_int_equal(X509_STORE_add_cert(store, chain[0]), 1);
    assert_int_equal(X509_STORE_CTX_init(ctx, store, leaf, between), 1);
    assert_int_equal(X509_STORE_CTX_set_purpose(ctx, purpose), 1);
    X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_X509_STRICT);
    if (X509_verify_cert(ctx) != 1)
        fail_msg("%s", X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    sk_X509_free(between);
    X509_free(issuing);
    X509_free(leaf);
    X509_free(chain[0]);
}

static void issues(void **state)
{
    struct fixture *f = *state;
    struct answer a;
    struct certificate c;
    start(f, 1);
    assert_int_not_equal(f->facts.pid, getpid());
    assert_string_equal(f->facts.ledger_key.name, ORIGIN);
    uint8_t sha256[SHA256_SIZE];
    crypto_sha256_one(slice_of(f->facts.chain, f->facts.chain_len), sha256);
    assert_memory_equal(f->facts.issuing_sha256, sha256, sizeof sha256);
    struct ca_facts shown;
    char explain[256];
    assert_int_equal(ca_show(f->folder, &shown, explain), ERR_NONE);
    assert_memory_equal(&shown.ledger_key, &f->facts.ledger_key, sizeof shown.ledger_key);
    assert_memory_equal(&shown.policy_key, &f->facts.policy_key, sizeof shown.policy_key);
    assert_int_equal(shown.issuing_not_after, f->facts.issuing_not_after);

    struct certificate_request request = device_request(f);
    assert_int_equal(issue(f, &request, &a), ERR_NONE);
    assert_chains(f, &a, X509_PURPOSE_SSL_CLIENT);
    assert_int_equal(certificate_read(slice_of(a.bytes, a.len), &c), ERR_NONE);
    assert_true(slice_equal(c.uri, SLICE_LITERAL("spiffe://acme.example/default/device/thermo-1")));
    assert_int_equal(c.not_before, request.not_before);
    assert_int_equal(c.not_after, request.not_after);
    assert_true(slice_equal(c.spki.der, request.spki));

    request = server_request(f);
    assert_int_equal(issue(f, &request, &a), ERR_NONE);
    assert_chains(f, &a, X509_PURPOSE_SSL_SERVER);
}

static void refuse_device(struct certificate_request *r, unsigned which)
{
    int64_t now = clock_seconds();
    switch (which) {
    case 0:
        r->tenant[0] = '\0';
        break;
    case 1:
        r->device[0] = '\0';
        break;
    case 2:
        (void)snprintf(r->device, sizeof r->device, "a/b");
        break;
    case 3:
        (void)snprintf(r->device, sizeof r->device, "..");
        break;
    case 4:
        (void)snprintf(r->tenant, sizeof r->tenant, "a b");
        break;
    case 5:
        (void)snprintf(r->tenant, sizeof r->tenant, ".");
        break;
    case 6:
        (void)snprintf(r->device, sizeof r->device, "b\xc3\xbc");
        break;
    case 7:
        r->not_before = now - DAY - 60;
        break;
    case 8:
        r->not_before = now + 600;
        break;
    case 9:
        r->not_after = now - 1;
        break;
    case 10:
        r->not_after = r->not_before;
        break;
    case 11:
        r->not_after = r->not_before + SIGNER_DEVICE_LIFETIME_MAX + 1;
        break;
    case 12:
        r->not_after = INT64_MAX;
        break;
    case 13:
        r->not_before = INT64_MIN;
        break;
    case 14:
        (void)snprintf(r->names[0], sizeof r->names[0], "hub.acme.example");
        r->names_len = 1;
        break;
    case 15:
        r->not_before = INT64_MAX;
        r->not_after = INT64_MIN;
        break;
    default:
        fail();
    }
}

static void refuse_server(struct certificate_request *r, unsigned which)
{
    switch (which) {
    case 0:
        r->names_len = 0;
        break;
    case 1:
        (void)snprintf(r->names[1], sizeof r->names[1], "*.acme.example");
        break;
    case 2:
        (void)snprintf(r->names[1], sizeof r->names[1], "not a name");
        break;
    case 3:
        r->not_after = r->not_before + SIGNER_SERVER_LIFETIME_MAX + 1;
        break;
    case 4:
        (void)snprintf(r->device, sizeof r->device, "thermo-1");
        break;
    case 5:
        (void)snprintf(r->tenant, sizeof r->tenant, "default");
        break;
    case 6:
        r->names[0][0] = '\0';
        break;
    default:
        fail();
    }
}

static void refuses_what_is_not_allowed(void **state)
{
    struct fixture *f = *state;
    struct answer a;
    struct certificate_request request;
    start(f, 1);
    for (unsigned i = 0; i <= 15; i++) {
        request = device_request(f);
        refuse_device(&request, i);
        if (issue(f, &request, &a) != ERR_REFUSED)
            fail_msg("device %u: %s", i, err_text(a.err));
    }
    for (unsigned i = 0; i <= 6; i++) {
        request = server_request(f);
        refuse_server(&request, i);
        if (issue(f, &request, &a) != ERR_REFUSED)
            fail_msg("server %u: %s", i, err_text(a.err));
    }
    /* the longest lives that there are */
    request = device_request(f);
    request.not_after = request.not_before + SIGNER_DEVICE_LIFETIME_MAX;
    assert_int_equal(issue(f, &request, &a), ERR_NONE);
    request = server_request(f);
    request.not_after = request.not_before + SIGNER_SERVER_LIFETIME_MAX;
    assert_int_equal(issue(f, &request, &a), ERR_NONE);
    /* the longest names */
    request = device_request(f);
    memset(request.tenant, 't', 64);
    memset(request.device, 'd', 64);
    assert_int_equal(issue(f, &request, &a), ERR_NONE);
}

/* A hub that was taken over certifies no other server under the fleet's root. */
static void names_no_other_server(void **state)
{
    struct fixture *f = *state;
    struct answer a;
    start(f, 1);
    static const char *const foreign[] = {
        "login.acme.example",
        "hub.acme.exampl",
        "hub.acme.example.",
        "hub.acme.example.org",
        "ub.acme.example",
        "a.hub.acme.example",
        "hub-acme.example",
        " hub.acme.example",
        "127.0.0.2",
        "127.0.0.10",
        "127.0.0.01",
        "2001:db8::1",
        "2001:db8:0::1f",
        "localhost",
        "*.acme.example",
        "warm-up.invalid",
        "*",
        "",
    };
    for (size_t i = 0; i < ARRAY_LEN(foreign); i++) {
        /* alone, and behind one that is right */
        for (size_t at = 0; at < 2; at++) {
            struct certificate_request request = server_request(f);
            (void)snprintf(request.names[at], sizeof request.names[at], "%s", foreign[i]);
            request.names_len = at + 1;
            if (issue(f, &request, &a) != ERR_REFUSED)
                fail_msg("'%s' at %zu: %s", foreign[i], at, err_text(a.err));
        }
    }
    static const char *const own[] = {"hub.acme.example", "HUB.Acme.eXample", "127.0.0.1",
                                      "2001:db8::1f", "2001:DB8::1F"};
    for (size_t i = 0; i < ARRAY_LEN(own); i++) {
        struct certificate_request request = server_request(f);
        (void)snprintf(request.names[0], sizeof request.names[0], "%s", own[i]);
        request.names_len = 1;
        if (issue(f, &request, &a) != ERR_NONE)
            fail_msg("'%s': %s", own[i], err_text(a.err));
    }
}

/* Nor under a name of the hub, as a broker's: whoever trusts the hub would take it for the hub. */
static void gives_no_broker_a_name_of_the_hub(void **state)
{
    struct fixture *f = *state;
    struct answer a;
    start(f, 1);
    static const char *const refused[] = {
        "hub.acme.example", "HUB.Acme.eXample",
        "127.0.0.1",        "::ffff:127.0.0.1",
        "::FFFF:7f00:1",    "2001:db8::1f",
        "2001:0db8::1F",    "2001:db8:0:0::1f",
        "*.acme.example",   "mqtt.acme.example.",
        "mqtt acme",        "",
        "127.0.0.01",       "a..b",
        "10.0.0.5:8883",
    };
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        struct certificate_request request = device_request(f);
        request.profile = PROFILE_BROKER;
        (void)snprintf(request.names[0], sizeof request.names[0], "mqtt.acme.example");
        (void)snprintf(request.names[1], sizeof request.names[1], "%s", refused[i]);
        request.names_len = 2;
        if (issue(f, &request, &a) != ERR_REFUSED)
            fail_msg("'%s': %s", refused[i], err_text(a.err));
    }
    struct certificate_request request = device_request(f);
    request.profile = PROFILE_BROKER;
    assert_int_equal(issue(f, &request, &a), ERR_REFUSED); /* without a name it is a device */
    (void)snprintf(request.names[0], sizeof request.names[0], "mqtt.acme.example");
    (void)snprintf(request.names[1], sizeof request.names[1], "10.0.0.5");
    request.names_len = 2;
    assert_int_equal(issue(f, &request, &a), ERR_NONE);
    assert_chains(f, &a, X509_PURPOSE_SSL_SERVER);
    assert_chains(f, &a, X509_PURPOSE_SSL_CLIENT);
    request.device[0] = '\0';
    assert_int_equal(issue(f, &request, &a), ERR_REFUSED);
}

static void takes_many_and_long_names(void **state)
{
    struct fixture *f = *state;
    struct answer a;
    struct certificate_request request = server_request(f);
    char longest[SERVER_NAME_SIZE] = "";
    const char *names[SERVER_NAMES_MAX];
    memset(longest, 'x', sizeof longest - 1);
    longest[63] = '.';
    for (size_t i = 0; i < SERVER_NAMES_MAX; i++) {
        names[i] = i % 2 == 0 ? longest : "hub.acme.example";
        (void)snprintf(request.names[i], sizeof request.names[i], "%s", names[i]);
    }
    request.names_len = SERVER_NAMES_MAX;
    f->options.server_names = names;
    f->options.server_names_len = SERVER_NAMES_MAX;
    start(f, 1);
    assert_int_equal(issue(f, &request, &a), ERR_NONE);
    request.names[6][sizeof longest - 2] = 'y';
    assert_int_equal(issue(f, &request, &a), ERR_REFUSED);
}

static void signs_for_no_server_without_names(void **state)
{
    struct fixture *f = *state;
    struct answer a;
    f->options.server_names = NULL;
    f->options.server_names_len = 0;
    start(f, 1);
    struct certificate_request request = server_request(f);
    for (size_t n = 0; n <= 3; n++) {
        request.names_len = n;
        assert_int_equal(issue(f, &request, &a), ERR_REFUSED);
    }
    request = device_request(f);
    assert_int_equal(issue(f, &request, &a), ERR_NONE);
}

static void refuses_keys(void **state)
{
    struct fixture *f = *state;
    struct answer a;
    start(f, 1);
    struct certificate_request request = device_request(f);
    uint8_t spki[SPKI_MAX] = {0};
    memcpy(spki, f->spki, f->spki_len);
    spki[f->spki_len - 1] ^= 1; /* off the curve */
    request.spki = slice_of(spki, f->spki_len);
    assert_int_equal(issue(f, &request, &a), ERR_REFUSED);
    request.spki = slice_of(f->spki, f->spki_len - 1);
    assert_int_equal(issue(f, &request, &a), ERR_SYNTAX);
    request.spki = slice_of(NULL, 0);
    assert_int_equal(issue(f, &request, &a), ERR_SYNTAX);
    EVP_PKEY *weak = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)1024);
    uint8_t *at = spki;
    request.spki = slice_of(spki, (size_t)i2d_PUBKEY(weak, &at));
    EVP_PKEY_free(weak);
    assert_int_equal(issue(f, &request, &a), ERR_UNSUPPORTED);
    /* what the hub itself would not send */
    uint8_t large[SPKI_MAX + 1] = {0};
    request.spki = slice_of(large, sizeof large);
    assert_int_equal(issue(f, &request, &a), ERR_LIMIT);
    request = server_request(f);
    request.names_len = SERVER_NAMES_MAX + 1;
    assert_int_equal(issue(f, &request, &a), ERR_LIMIT);
}

static void assert_is_checkpoint(const struct fixture *f, const struct answer *a, uint64_t size,
                                 unsigned root)
{
    struct slice text;
    struct checkpoint c;
    struct hash expected = counted_root(root);
    assert_int_equal(
        note_verify(slice_of(a->bytes, a->len), &f->facts.ledger_key, crypto_ed25519_verify, &text),
        ERR_NONE);
    assert_int_equal(checkpoint_read(text, &c), ERR_NONE);
    assert_string_equal(c.origin, ORIGIN);
    assert_int_equal(c.size, size);
    assert_memory_equal(&c.root, &expected, sizeof expected);
}

static void never_signs_a_smaller_tree(void **state)
{
    struct fixture *f = *state;
    struct answer a;
    start(f, 1);
    assert_int_equal(checkpoint(f, 0, 5, 5, &a), ERR_NONE);
    assert_is_checkpoint(f, &a, 5, 5);
    assert_int_equal(checkpoint(f, 5, 5, 5, &a), ERR_NONE);
    assert_is_checkpoint(f, &a, 5, 5);
    assert_int_equal(checkpoint(f, 5, 5, 6, &a), ERR_REFUSED);
    assert_int_equal(checkpoint(f, 5, 4, 4, &a), ERR_REFUSED);
    assert_int_equal(checkpoint(f, 0, 0, 0, &a), ERR_REFUSED);
    assert_int_equal(checkpoint(f, 5, 1000, 1000, &a), ERR_NONE);
    assert_is_checkpoint(f, &a, 1000, 1000);
    assert_int_equal(checkpoint(f, 1000, 999, 999, &a), ERR_REFUSED);
    for (unsigned round = 0; round < 3; round++) {
        stop(f);
        start(f, 1);
        unsigned size = 1000 + round;
        assert_int_equal(checkpoint(f, size, size - 1, size - 1, &a), ERR_REFUSED);
        assert_int_equal(checkpoint(f, size, 5, 5, &a), ERR_REFUSED);
        assert_int_equal(checkpoint(f, size, size, 1, &a), ERR_REFUSED);
        assert_int_equal(checkpoint(f, size, size, size, &a), ERR_NONE);
        assert_int_equal(checkpoint(f, size, size + 1, size + 1, &a), ERR_NONE);
        assert_is_checkpoint(f, &a, size + 1, size + 1);
    }
}

/* A larger tree that is not proven to continue the last one, before and after a start. */
static void never_signs_a_fork(void **state)
{
    struct fixture *f = *state;
    struct answer a;
    start(f, 1);
    assert_int_equal(checkpoint(f, 0, 300, 300, &a), ERR_NONE);
    for (unsigned round = 0; round < 2; round++) {
        assert_int_equal(checkpoint(f, 0, 400, 400, &a), ERR_REFUSED);   /* no proof */
        assert_int_equal(checkpoint(f, 299, 400, 400, &a), ERR_REFUSED); /* from another tree */
        assert_int_equal(checkpoint(f, 300, 400, 401, &a), ERR_REFUSED); /* to another tree */
        stop(f);
        start(f, 1);
        assert_int_equal(f->facts.signed_size, 300);
    }
    struct checkpoint_request request = {.size = 400, .proof_len = MERKLE_PROOF_MAX + 1};
    a = (struct answer){.called = 0};
    signer_sign_checkpoint(f->link, &request, answered, &a);
    assert_int_equal(a.err, ERR_LIMIT);
    assert_int_equal(checkpoint(f, 300, 400, 400, &a), ERR_NONE);
    assert_is_checkpoint(f, &a, 400, 400);
    assert_int_equal(checkpoint(f, 300, 500, 500, &a), ERR_REFUSED);
}

/* The option is for one tree: what continues that one must be proven again. */
static void signs_one_tree_on_its_owners_word(void **state)
{
    struct fixture *f = *state;
    struct answer a;
    start(f, 1);
    assert_int_equal(checkpoint(f, 0, 300, 300, &a), ERR_NONE);
    stop(f);
    f->options.accept_roll_back = true;
    start(f, 1);
    assert_int_equal(checkpoint(f, 0, 299, 299, &a), ERR_REFUSED);
    assert_int_equal(checkpoint(f, 0, 300, 299, &a), ERR_REFUSED);
    assert_int_equal(checkpoint(f, 0, 301, 7, &a), ERR_NONE);
    assert_is_checkpoint(f, &a, 301, 7);
    assert_int_equal(checkpoint(f, 0, 302, 8, &a), ERR_REFUSED);
    assert_int_equal(checkpoint(f, 301, 301, 7, &a), ERR_NONE);
}

/* It was killed, not stopped: what it gave out is on disk. */
static void remembers_after_a_kill(void **state)
{
    struct fixture *f = *state;
    struct answer a;
    start(f, 1);
    assert_int_equal(checkpoint(f, 0, 77, 77, &a), ERR_NONE);
    assert_int_equal(kill(f->facts.pid, SIGKILL), 0);
    stop(f);
    start(f, 1);
    assert_int_equal(checkpoint(f, 77, 76, 76, &a), ERR_REFUSED);
    assert_int_equal(checkpoint(f, 77, 77, 78, &a), ERR_REFUSED);
    assert_int_equal(checkpoint(f, 77, 77, 77, &a), ERR_NONE);
}

static void answers_many_at_once(void **state)
{
    struct fixture *f = *state;
    enum { ASKED = SIGNER_IN_FLIGHT_MAX + 500 };
    struct answer *answers = calloc(ASKED, sizeof *answers);
    start(f, 1);
    struct certificate_request request = device_request(f);
    size_t refused = 0, signed_now = 0;
    for (size_t i = 0; i < ASKED; i++) {
        (void)snprintf(request.device, sizeof request.device, "device-%zu", i);
        signer_issue(f->link, &request, answered, &answers[i]);
        if (answers[i].called == 1) {
            assert_int_equal(answers[i].err, ERR_BUSY);
            refused++;
        }
    }
    assert_int_equal(refused, ASKED - SIGNER_IN_FLIGHT_MAX);
    while (signed_now < SIGNER_IN_FLIGHT_MAX) {
        assert_int_equal(event_base_loop(loop_event_base(f->loop), EVLOOP_ONCE), 0);
        signed_now = 0;
        for (size_t i = 0; i < ASKED; i++)
            signed_now += answers[i].called == 1 && answers[i].err == ERR_NONE;
    }
    /* each got its own */
    for (size_t i = 0; i < ASKED; i++) {
        assert_int_equal(answers[i].called, 1);
        if (answers[i].err != ERR_NONE)
            continue;
        struct certificate c;
        char uri[128];
        (void)snprintf(uri, sizeof uri, "spiffe://acme.example/default/device/device-%zu", i);
        assert_int_equal(certificate_read(slice_of(answers[i].bytes, answers[i].len), &c),
                         ERR_NONE);
        assert_true(slice_equal(c.uri, slice_of_text(uri)));
    }
    /* and there is room again */
    assert_int_equal(issue(f, &request, &answers[0]), ERR_NONE);
    free(answers);
}

/* A loop that takes no replies does not keep the others waiting. */
static void serves_links_apart(void **state)
{
    struct fixture *f = *state;
    static struct answer answers[SIGNER_IN_FLIGHT_MAX];
    start(f, 2);
    struct loop *idle_loop;
    struct signer_link *idle, *none = NULL;
    assert_int_equal(loop_new("idle", &idle_loop), ERR_NONE);
    assert_int_equal(signer_link_new(f->signer, idle_loop, &idle), ERR_NONE);
    assert_int_equal(signer_link_new(f->signer, idle_loop, &none), ERR_LIMIT);
    assert_null(none);
    struct certificate_request request = device_request(f);
    for (size_t i = 0; i < SIGNER_IN_FLIGHT_MAX; i++)
        signer_issue(idle, &request, answered, &answers[i]);
    for (unsigned i = 0; i < 200; i++) {
        struct answer a;
        assert_int_equal(issue(f, &request, &a), ERR_NONE);
    }
    size_t called = 0;
    while (called < SIGNER_IN_FLIGHT_MAX / 2) {
        assert_int_equal(event_base_loop(loop_event_base(idle_loop), EVLOOP_ONCE), 0);
        called = 0;
        for (size_t i = 0; i < SIGNER_IN_FLIGHT_MAX; i++)
            called += answers[i].called;
    }
    /* freed with requests in flight: each hears of it */
    signer_link_free(idle);
    size_t closed = 0;
    for (size_t i = 0; i < SIGNER_IN_FLIGHT_MAX; i++) {
        assert_int_equal(answers[i].called, 1);
        closed += answers[i].err == ERR_CLOSED;
    }
    assert_in_range(closed, 1, SIGNER_IN_FLIGHT_MAX / 2);
    loop_free(idle_loop);
    struct answer a;
    assert_int_equal(issue(f, &request, &a), ERR_NONE);
}

static void tells_of_its_death(void **state)
{
    struct fixture *f = *state;
    static struct answer answers[300];
    start(f, 1);
    struct pollfd death = {.fd = signer_death_fd(f->signer), .events = POLLIN};
    assert_int_equal(poll(&death, 1, 0), 0);
    assert_int_equal(kill(f->facts.pid, SIGSTOP), 0);
    struct certificate_request request = device_request(f);
    for (size_t i = 0; i < ARRAY_LEN(answers); i++)
        signer_issue(f->link, &request, answered, &answers[i]);
    assert_int_equal(kill(f->facts.pid, SIGKILL), 0);
    wait_for(f, &answers[ARRAY_LEN(answers) - 1]);
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        assert_int_equal(answers[i].called, 1);
        assert_int_equal(answers[i].err, ERR_CLOSED);
    }
    assert_int_equal(poll(&death, 1, 10000), 1);
    struct answer late = {.called = 0};
    signer_issue(f->link, &request, answered, &late);
    assert_int_equal(late.called, 1);
    assert_int_equal(late.err, ERR_CLOSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(issues, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refuses_what_is_not_allowed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(names_no_other_server, set_up, tear_down),
        cmocka_unit_test_setup_teardown(gives_no_broker_a_name_of_the_hub, set_up, tear_down),
        cmocka_unit_test_setup_teardown(takes_many_and_long_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(signs_for_no_server_without_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refuses_keys, set_up, tear_down),
        cmocka_unit_test_setup_teardown(never_signs_a_smaller_tree, set_up, tear_down),
        cmocka_unit_test_setup_teardown(never_signs_a_fork, set_up, tear_down),
        cmocka_unit_test_setup_teardown(signs_one_tree_on_its_owners_word, set_up, tear_down),
        cmocka_unit_test_setup_teardown(remembers_after_a_kill, set_up, tear_down),
        cmocka_unit_test_setup_teardown(answers_many_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(serves_links_apart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tells_of_its_death, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
