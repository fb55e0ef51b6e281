/* A device to be fuzzed: as it is before it enrols, and as it is once it has an identity. */
#ifndef FUZZ_DEVICE_FUZZ_H
#define FUZZ_DEVICE_FUZZ_H

#include "fuzz/toy_crypto.h"
#include "tests/unit/device_hub.h"

#define FUZZ_TIME INT64_C(1800000000)

static inline void fuzz_sign(const uint8_t seed[32], struct slice message,
                             uint8_t ret_signature[ED25519_SIGNATURE_SIZE])
{
    (void)seed;
    (void)message;
    memset(ret_signature, 1, ED25519_SIGNATURE_SIZE);
}

static inline struct slice fuzz_bundle(uint64_t version, uint8_t *buffer)
{
    static const uint8_t seeds[1][32];
    static const uint8_t public[ED25519_KEY_SIZE] = {3};
    struct note_key key;
    if (note_key_init(&key, toy_hash, SLICE_LITERAL("fleet.example/bundle"), public) != ERR_NONE)
        abort();
    return test_write_bundle("fleet.example", version, FUZZ_TIME - 60, &key, &key, seeds, 1,
                             fuzz_sign, buffer, NOTE_MAX);
}

static inline struct device_options fuzz_options(void)
{
    static uint8_t bundle[NOTE_MAX];
    return (struct device_options){
        .bootstrap = "hub.example:8444",
        .hub = "hub.example:8443",
        .serial = TEST_SERIAL,
        .claim = SLICE_LITERAL(TEST_CLAIM),
        .trust_bundle = fuzz_bundle(1, bundle),
        .build_time = FUZZ_TIME - 86400,
        .agent_version = "0.1.0",
        .platform = "fuzz",
    };
}

/* Storage and keys of a device that the hub has let in. */
static inline void fuzz_enrol(struct fake *f)
{
    static struct test_hub hub;
    static struct device device;
    struct device_options options = fuzz_options();
    fake_init(f, toy_hash, toy_verify);
    hub_init(&hub, f, FUZZ_TIME, hub_serve);
    f->wall = FUZZ_TIME;
    int64_t delay = 0;
    if (device_open(&device, &options, &f->port) != ERR_NONE)
        abort();
    while (delay == 0)
        (void)device_step(&device, &delay);
    if (device_phase_of(&device) != DEVICE_ENROLLED)
        abort();
}

#endif
