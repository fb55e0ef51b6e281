/* The hubs over one database: who is let in, and who is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/identity_fixture.h"

static uint8_t chain_bytes[] = {1, 2, 3};

/* A hub with keys that nobody else has: `seed` makes them. */
static struct hub_act hub_of(const char *name, uint8_t seed)
{
    struct hub_act h = {.change = HUB_ADMIT,
                        .hub.chain = slice_of(chain_bytes, sizeof chain_bytes)};
    (void)snprintf(h.hub.name, sizeof h.hub.name, "%s", name);
    memset(h.hub.issuing_sha256.bytes, seed, SHA256_SIZE);
    (void)snprintf(h.hub.ledger_key, sizeof h.hub.ledger_key, "key-%u", seed);
    return h;
}

static enum err change(struct house *h, struct hub_act *act)
{
    unsigned ended;
    const struct act_origin origin = origin_of(h, h->arena, &ended);
    identity_change_hub(h->identity, &origin, act);
    return wait_act(h, &act->act);
}

static enum err found(struct house *h)
{
    struct hub_act act = hub_of("", 1);
    act.change = HUB_FOUND;
    return change(h, &act);
}

/* The same public key under the policy keys' name. */
static struct note_key policy_key(const struct note_key *ledger_key)
{
    struct note_key key;
    assert_int_equal(
        note_key_init(&key, crypto_sha256, SLICE_LITERAL(FLEET "/policy"), ledger_key->key),
        ERR_NONE);
    return key;
}

/* Serves a bundle that names the keys of the hubs with these ledger keys. */
static struct note_key serve_bundle(struct house *h, struct note_key keys[], size_t n)
{
    uint8_t *note = arena_alloc(h->arena, TRUST_BUNDLE_MAX);
    struct writer w = writer_over(note, TRUST_BUNDLE_MAX);
    char explain[256] = "";
    if (ca_bundle(h->s->folder, FLEET, &w, explain) != ERR_NONE)
        fail_msg("%s", explain);
    for (size_t i = 0; i < n; i++) {
        w = writer_over(note, TRUST_BUNDLE_MAX);
        struct note_key policy = policy_key(&keys[i]);
        const struct ca_bundle_keys added = {&keys[i], &policy};
        if (ca_bundle_change(h->s->folder, FLEET, &added, NULL, &w, explain) != ERR_NONE)
            fail_msg("%s", explain);
    }
    unsigned ended;
    const struct act_origin origin = origin_of(h, h->arena, &ended);
    struct bundle_act *b = arena_alloc(h->arena, sizeof *b);
    b->fleet = FLEET;
    b->note = writer_bytes(&w);
    identity_replace_bundle(h->identity, &origin, b);
    assert_int_equal(wait_act(h, &b->act), ERR_NONE);
    struct trust_bundle bundle;
    uint8_t *storage = arena_alloc(h->arena, TRUST_ROOTS_MAX * CERTIFICATE_MAX);
    assert_int_equal(trust_bundle_read(b->note, NULL, crypto_sha256, crypto_ed25519_verify, storage,
                                       TRUST_ROOTS_MAX * CERTIFICATE_MAX, &bundle),
                     ERR_NONE);
    return bundle.bundle_key;
}

static struct note_key ledger_key(uint8_t seed)
{
    struct note_key key;
    uint8_t bytes[ED25519_KEY_SIZE];
    memset(bytes, seed, sizeof bytes);
    assert_int_equal(note_key_init(&key, crypto_sha256, SLICE_LITERAL(ORIGIN), bytes), ERR_NONE);
    return key;
}

static void write_key(char text[NOTE_KEY_TEXT_MAX + 1], const struct note_key *key)
{
    struct writer w = writer_over(text, NOTE_KEY_TEXT_MAX);
    note_key_write(&w, key);
    text[w.len] = '\0';
}

/* One whose keys the bundle may name. */
static struct hub_act admissible(const char *name, uint8_t seed, const struct note_key *bundle_key)
{
    struct hub_act act = hub_of(name, seed);
    struct note_key key = ledger_key(seed);
    struct note_key policy = policy_key(&key);
    write_key(act.hub.ledger_key, &key);
    write_key(act.hub.policy_key, &policy);
    act.bundle_key = *bundle_key;
    return act;
}

static void the_first_founds(void **state)
{
    struct house *h = *state;
    struct hub_row rows[HUBS_MAX];
    size_t n = 9;
    assert_int_equal(identity_hubs(h->reader, h->arena, rows, &n), ERR_NONE);
    assert_int_equal(n, 0);
    assert_int_equal(found(h), ERR_NONE);
    struct hub_act second = hub_of("", 2);
    second.change = HUB_FOUND;
    (void)change(h, &second);
    assert_problem(&second.act, 409, "hub-exists", "");
    assert_int_equal(ledger_size(h), 1);
    assert_int_equal(identity_hubs(h->reader, h->arena, rows, &n), ERR_NONE);
    assert_int_equal(n, 1);
    assert_int_equal(rows[0].id, 1);
    assert_string_equal(rows[0].name, "hub-1");
    assert_int_equal(rows[0].status, HUB_JOINED);
    assert_true(slice_equal(rows[0].chain, slice_of(chain_bytes, sizeof chain_bytes)));
}

static void the_owner_admits(void **state)
{
    struct house *h = *state;
    assert_int_equal(found(h), ERR_NONE);
    struct note_key keys[] = {ledger_key(2)};
    struct note_key none = {.name = "x"};
    struct hub_act act = admissible("hub-2", 2, &none);
    (void)change(h, &act);
    assert_problem(&act.act, 409, "hub-key-not-in-bundle", "ledger_key");
    struct note_key bundle_key = serve_bundle(h, keys, 1);
    (void)change(h, &act);
    assert_problem(&act.act, 403, "hub-card-refused", "");
    struct hub_act unnamed = admissible("hub-3", 3, &bundle_key);
    (void)change(h, &unnamed);
    assert_problem(&unnamed.act, 409, "hub-key-not-in-bundle", "ledger_key");

    uint64_t size = ledger_size(h);
    act = admissible("hub-2", 2, &bundle_key);
    memcpy(act.hub.policy_key, unnamed.hub.policy_key, sizeof act.hub.policy_key);
    (void)change(h, &act);
    assert_problem(&act.act, 409, "hub-key-not-in-bundle", "policy_key");
    act = admissible("hub-2", 2, &bundle_key);
    assert_int_equal(change(h, &act), ERR_NONE);
    assert_int_equal(act.hub.id, 2);
    assert_int_equal(ledger_size(h), size + 1);
    (void)change(h, &act);
    assert_problem(&act.act, 409, "hub-exists", "name");
    struct hub_act again = admissible("hub-3", 2, &bundle_key);
    (void)change(h, &again);
    assert_problem(&again.act, 409, "hub-key-in-use", "ledger_key");
    again = admissible("hub-3", 3, &bundle_key); /* the first one's issuing key */
    memset(again.hub.issuing_sha256.bytes, 1, SHA256_SIZE);
    (void)change(h, &again);
    assert_problem(&again.act, 409, "hub-key-in-use", "ledger_key");
    assert_int_equal(ledger_size(h), size + 1);
}

static void hubs_are_bounded(void **state)
{
    struct house *h = *state;
    struct note_key keys[HUBS_JOINED_MAX];
    for (uint8_t i = 0; i < HUBS_JOINED_MAX; i++)
        keys[i] = ledger_key((uint8_t)(i + 2));
    assert_int_equal(found(h), ERR_NONE);
    struct note_key bundle_key = serve_bundle(h, keys, HUBS_JOINED_MAX);
    for (uint8_t i = 2; i <= HUBS_JOINED_MAX; i++) {
        char name[8];
        (void)snprintf(name, sizeof name, "hub-%u", i);
        struct hub_act act = admissible(name, i, &bundle_key);
        assert_int_equal(change(h, &act), ERR_NONE);
    }
    struct hub_act more = admissible("hub-7", HUBS_JOINED_MAX + 1, &bundle_key);
    (void)change(h, &more);
    assert_problem(&more.act, 409, "hubs-full", "");
    /* one that leaves makes room */
    struct hub_act leaving = {.change = HUB_REMOVE, .own = 1, .hub = {.name = "hub-3"}};
    assert_int_equal(change(h, &leaving), ERR_NONE);
    assert_int_equal(change(h, &more), ERR_NONE);
}

static void hubs_leave(void **state)
{
    struct house *h = *state;
    struct note_key keys[] = {ledger_key(2)};
    assert_int_equal(found(h), ERR_NONE);
    struct note_key bundle_key = serve_bundle(h, keys, 1);
    struct hub_act act = admissible("hub-2", 2, &bundle_key);
    assert_int_equal(change(h, &act), ERR_NONE);

    struct hub_act leaving = {.change = HUB_REMOVE, .own = 2, .hub.name = "hub-2"};
    (void)change(h, &leaving);
    assert_problem(&leaving.act, 409, "hub-is-own", "hub");
    leaving = (struct hub_act){
        .change = HUB_REMOVE, .own = 1, .hub = {.name = "hub-2", .reason = "sold"}};
    assert_int_equal(change(h, &leaving), ERR_NONE);
    assert_int_equal(leaving.hub.status, HUB_LEFT);
    assert_string_equal(leaving.hub.reason, "sold");
    assert_true(leaving.hub.left_at > 0);
    (void)change(h, &leaving);
    assert_problem(&leaving.act, 409, "hub-left", "hub");
    struct hub_act unknown = {.change = HUB_REMOVE, .own = 1, .hub.name = "hub-9"};
    (void)change(h, &unknown);
    assert_problem(&unknown.act, 404, "hub-not-found", "hub");
    /* neither its name nor its keys come back, and it is certified no more */
    (void)change(h, &act);
    assert_problem(&act.act, 409, "hub-exists", "name");
    struct hub_act anew = {.change = HUB_CERTIFY, .hub.id = 2};
    (void)change(h, &anew);
    assert_problem(&anew.act, 409, "hub-left", "name");
}

static void a_hub_is_certified_anew(void **state)
{
    struct house *h = *state;
    struct hub_row rows[HUBS_MAX];
    size_t n = 0;
    assert_int_equal(found(h), ERR_NONE);
    struct hub_act anew = hub_of("", 7);
    anew.change = HUB_CERTIFY;
    anew.hub.id = 1;
    assert_int_equal(change(h, &anew), ERR_NONE);
    assert_int_equal(identity_hubs(h->reader, h->arena, rows, &n), ERR_NONE);
    assert_int_equal(n, 1);
    assert_int_equal(rows[0].issuing_sha256.bytes[0], 7);
    assert_string_equal(rows[0].ledger_key, "key-1");
    assert_string_equal(rows[0].name, "hub-1");
    assert_int_equal(ledger_size(h), 2);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, house_set_up, house_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_first_founds), TEST(the_owner_admits),        TEST(hubs_are_bounded),
        TEST(hubs_leave),       TEST(a_hub_is_certified_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
