/* One device and one hub, for the tests of device/lib. */
#ifndef TESTS_UNIT_DEVICE_WORLD_H
#define TESTS_UNIT_DEVICE_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/checkpoint_update.h"
#include "tests/unit/device_hub.h"
#include "tests/unit/openssl_crypto.h"
#define NAIVE_SHA256 test_sha256
#include "tests/unit/naive_tree.h"

#define T0    INT64_C(1800000000) /* when the tests begin, for the hub and for a right clock */
#define BUILD (T0 - 86400)
#define FLEET "fleet.example"

struct world {
    struct fake fake;
    struct test_hub hub;
    struct device device;
    struct device_options options;
    uint8_t bundle[NOTE_MAX];
    uint8_t other_bundle[NOTE_MAX];
    unsigned events[DEVICE_EVENT_COUNT];
    struct device_event last[DEVICE_EVENT_COUNT];
    char last_code[DEVICE_EVENT_COUNT][DEVICE_CODE_MAX + 1];
};

static struct world world;
static const uint8_t seeds[2][32] = {{1}, {2}};

static inline struct note_key bundle_key(size_t i)
{
    struct note_key key;
    uint8_t public[ED25519_KEY_SIZE];
    test_ed25519_public(seeds[i], public);
    assert_int_equal(note_key_init(&key, test_sha256, SLICE_LITERAL(FLEET "/bundle"), public),
                     ERR_NONE);
    return key;
}

static inline struct slice make_bundle(uint64_t version, int64_t floor, uint8_t *buffer)
{
    struct note_key key = bundle_key(0);
    return test_write_bundle(FLEET, version, floor, &key, &key, seeds, 1, test_ed25519_sign, buffer,
                             NOTE_MAX);
}

/* ---- what the hub shows of its ledger ---- */

#define LOG_MAX 256

static inline const struct hash *log_leaves(const struct test_hub *h)
{
    static struct hash leaves[LOG_MAX];
    assert_true(h->log_size <= LOG_MAX);
    for (uint64_t i = 0; i < h->log_size; i++) {
        uint64_t entry = i < h->fork_at ? i : i + 1000000;
        leaves[i] = merkle_leaf_hash(test_sha256, slice_of(&entry, sizeof entry));
    }
    return leaves;
}

/* The checkpoint of the log as it is, signed with the key of seed `signer`. */
static inline void write_checkpoint(const struct test_hub *h, size_t signer, struct writer *w)
{
    struct note_key key = bundle_key(signer); /* the bundle's ledger key is its own */
    uint8_t signature[ED25519_SIGNATURE_SIZE];
    struct checkpoint c = {.size = h->log_size,
                           .root = tree_root(log_leaves(h), (size_t)h->log_size)};
    memcpy(c.origin, key.name, sizeof c.origin);
    checkpoint_write(w, &c);
    test_ed25519_sign(seeds[signer], writer_bytes(w), signature);
    note_write_signature(w, &key, signature);
}

static inline void write_update(const struct test_hub *h, uint64_t known, size_t signer,
                                struct writer *w)
{
    uint8_t note[1024];
    struct hash proof[MERKLE_PROOF_MAX];
    struct writer n = writer_over(note, sizeof note);
    write_checkpoint(h, signer, &n);
    bool provable = known > 0 && known < h->log_size;
    const struct checkpoint_update update = {
        .old_size = known,
        .proof = proof,
        .proof_len =
            provable ? tree_subproof(log_leaves(h), (size_t)known, (size_t)h->log_size, true, proof)
                     : 0,
        .note = writer_bytes(&n),
    };
    checkpoint_update_write(w, &update);
}

static inline void show_ledger(const struct test_hub *h, uint64_t known, struct writer *w)
{
    if (h->log_size > 0 && (known != h->log_size || h->told_finding[0] != '\0'))
        write_update(h, known, 0, w);
}

static inline void on_event(void *ctx, const struct device_event *e)
{
    struct world *w = ctx;
    w->events[e->kind]++;
    w->last[e->kind] = *e;
    (void)snprintf(w->last_code[e->kind], sizeof w->last_code[0], "%s", e->code);
    if (e->kind == DEVICE_EVENT_ENROLLED)
        w->options.claim = slice_of(NULL, 0); /* as the agent does */
}

static inline int set_up(void **state)
{
    struct world *w = &world;
    static const struct device_fact facts[] = {{"os", "test \"1\""}};
    memset(w, 0, sizeof *w);
    fake_init(&w->fake, test_sha256, test_ed25519_verify);
    hub_init(&w->hub, &w->fake, T0, hub_serve);
    w->hub.show = show_ledger;
    w->fake.wall = T0;
    w->options = (struct device_options){
        .bootstrap = "hub.example:8444",
        .hub = "hub.example:8443",
        .serial = TEST_SERIAL,
        .claim = SLICE_LITERAL(TEST_CLAIM),
        .trust_bundle = make_bundle(1, T0 - 3600, w->bundle),
        .build_time = BUILD,
        .agent_version = "0.1.0",
        .platform = "test",
        .key_storage = "file",
        .facts = facts,
        .facts_len = 1,
        .event = on_event,
        .event_ctx = w,
    };
    *state = w;
    return 0;
}

static inline enum err start(struct world *w)
{
    return device_open(&w->device, &w->options, &w->fake.port);
}

static inline void pass(struct world *w, int64_t ms)
{
    w->hub.time += fake_pass(&w->fake, ms);
}

/* Steps until there is nothing to do at this moment. */
static inline enum device_phase settle(struct world *w)
{
    enum device_phase phase = DEVICE_NEW;
    int64_t delay = 0;
    for (unsigned n = 0; delay == 0 && !w->fake.dead; n++) {
        phase = device_step(&w->device, &delay);
        assert_true(n < 100); /* it must not run hot */
        assert_true(delay >= 0);
    }
    return phase;
}

/* Steps and sleeps as the agent does for so many seconds. */
static inline enum device_phase live(struct world *w, int64_t seconds)
{
    int64_t end = w->fake.monotonic + seconds * 1000;
    enum device_phase phase = device_phase_of(&w->device);
    while (w->fake.monotonic < end && !w->fake.dead) {
        int64_t delay;
        phase = device_step(&w->device, &delay);
        pass(w, delay);
    }
    return phase;
}

static inline void enrol(struct world *w)
{
    assert_int_equal(start(w), ERR_NONE);
    assert_int_equal(settle(w), DEVICE_ENROLLED);
}

static inline unsigned keys_there(const struct world *w)
{
    return (unsigned)w->fake.keys[0].there + (unsigned)w->fake.keys[1].there;
}

#endif
