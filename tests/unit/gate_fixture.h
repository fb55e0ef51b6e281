/* A broker's gate without Mosquitto and without threads: two models, devices and their clients. */
#ifndef TESTS_UNIT_GATE_FIXTURE_H
#define TESTS_UNIT_GATE_FIXTURE_H

#include <string.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "broker/gate.h"

#define DEVICES 64
#define STALE   100 /* seconds: of the model thermo */
#define DAY     86400
#define ALL     (RULES_REACH_ENROLMENT | RULES_REACH_API | RULES_REACH_MQTT)

#define CONTROL "$CONTROL/holdfast/v1"

static struct broker b;
static uint8_t body[RULES_BODY_MAX];
static char username[GATE_USERNAME_SIZE];
static int64_t shifted;

/* ---- a broker without threads ---- */

static const struct slice up[] = {SLICE_LITERAL("up/{device}/#")};
static const struct slice down[] = {SLICE_LITERAL("down/{device}/#")};
static const struct rules_model thermo = {
    .reach = {[DEVICE_ENROLLED] = RULES_REACH_ENROLMENT,
              [DEVICE_TRUSTED] = ALL,
              [DEVICE_QUARANTINED] = RULES_REACH_ENROLMENT},
    .limits = {.messages_per_minute = 100,
               .payload_max = 64,
               .subscriptions_max = 2,
               .connects_per_minute = 12,
               .stale_seconds = STALE},
    .cut = RULES_CUT_SEND_WILL | RULES_CUT_CLEAR_RETAINED,
};
static const struct rules_model simple = {
    .reach = {[DEVICE_TRUSTED] = ALL, [DEVICE_QUARANTINED] = RULES_REACH_MQTT},
    .cut = RULES_CUT_KEEP_QUEUE,
    .password_ok = true,
};

static inline void take_rules(void)
{
    const struct rules_entry models[] = {
        {SLICE_LITERAL("simple"), &simple, {up, 1}, {down, 1}},
        {SLICE_LITERAL("thermo"), &thermo, {up, 1}, {down, 1}},
    };
    struct writer w = writer_over(body, sizeof body);
    rules_write_body(
        &w, 0, &(const struct rules_entries){.models = models, .models_len = ARRAY_LEN(models)});
    assert_int_equal(w.err, ERR_NONE);
    assert_int_equal(rules_read_body(writer_bytes(&w), &b.rules), ERR_NONE);
    b.has_rules = true;
}

static inline void in_touch(void)
{
    struct contact_now now;
    contact_now(&now);
    contact_answered(&b.contact, &now);
}

static inline void stale_for(int64_t seconds)
{
    struct contact_now now;
    contact_now(&now);
    contact_answered(&b.contact, &now);
    contact_lost(&b.contact);
    b.contact.stale = seconds;
}

static inline int start(void **state)
{
    (void)state;
    memset(&b, 0, sizeof b);
    b.settings.passwords = true;
    memcpy(b.settings.tenant, RULES_STANDARD_TENANT, sizeof RULES_STANDARD_TENANT);
    b.settings.own_len = 1;
    memset(b.settings.own[0], 0xee, SHA256_SIZE);
    memset(b.secret, 's', sizeof b.secret - 1);
    (void)pthread_mutex_init(&b.settings.own_lock, NULL);
    (void)pthread_mutex_init(&b.lock, NULL);
    (void)pthread_cond_init(&b.work, NULL);
    b.wake_fd = b.stop_fd = -1;
    b.ending = TABLE_NONE;
    b.epoch = 1;
    b.caught_up = true;
    assert_int_equal(table_new(DEVICES, &b.table), ERR_NONE);
    assert_int_equal(sessions_new(DEVICES, 64, &b.sessions), ERR_NONE);
    assert_int_equal(traces_new(DEVICES, 4096, &b.traces), ERR_NONE);
    assert_int_equal(cuts_init(&b.cuts), ERR_NONE);
    assert_int_equal(reports_init(&b.reports), ERR_NONE);
    assert_int_equal(rate_table_new(64, &b.sources), ERR_NONE);
    in_touch();
    take_rules();
    return 0;
}

static inline int end(void **state)
{
    (void)state;
    clock_shift(-shifted);
    shifted = 0;
    broker_stop(&b);
    (void)pthread_mutex_destroy(&b.settings.own_lock);
    return 0;
}

static inline void shift(int64_t seconds)
{
    clock_shift(seconds);
    shifted += seconds;
}

/* ---- devices and clients ---- */

static inline const uint8_t *digest_of(unsigned n)
{
    static uint8_t digests[8][SHA256_SIZE];
    memset(digests[n], (int)n + 1, SHA256_SIZE);
    return digests[n];
}

static inline struct device_record record_of(const char *device, const char *model,
                                             unsigned certificate)
{
    struct device_record d = {.tenant = SLICE_LITERAL("default"),
                              .device = slice_of_text(device),
                              .model = slice_of_text(model),
                              .state = DEVICE_TRUSTED,
                              .certificates_len = 1};
    memcpy(d.certificates[0].sha256, digest_of(certificate), SHA256_SIZE);
    d.certificates[0].not_after = clock_seconds() + DAY;
    return d;
}

/* As the link's thread takes it. */
static inline uint32_t take(const struct device_record *record)
{
    uint32_t device = TABLE_NONE;
    bool changed = false;
    assert_int_equal(table_prepare(b.table, 1), ERR_NONE);
    table_adopt(b.table);
    assert_int_equal(table_take(b.table, record, &device, &changed), ERR_NONE);
    b.epoch += changed;
    return device;
}

static inline struct gate_peer peer_of(const void *client, const char *id, unsigned certificate)
{
    return (struct gate_peer){.client = client,
                              .client_id = slice_of_text(id),
                              .address = SLICE_LITERAL("10.0.0.1"),
                              .certificate = digest_of(certificate)};
}

static inline enum gate_verdict admit(const void *client, const char *id, unsigned certificate)
{
    const struct gate_peer peer = peer_of(client, id, certificate);
    return gate_admit(&b, &peer, username);
}

static inline enum gate_verdict admit_by(const void *client, const char *name, const char *id,
                                         const char *password, const char *address)
{
    const struct gate_peer peer = {.client = client,
                                   .client_id = slice_of_text(id),
                                   .address = slice_of_text(address),
                                   .username = name,
                                   .password = password};
    return gate_admit(&b, &peer, username);
}

static inline bool may(const void *client, enum gate_access access, const char *topic)
{
    const struct gate_request q = {
        .client = client, .access = access, .topic = slice_of_text(topic), .payload_len = 8};
    return gate_allows(&b, &q);
}

#define assert_refused(kind, call)                                                                 \
    do {                                                                                           \
        uint64_t before_ = b.reports.total[kind];                                                  \
        assert_int_equal(call, GATE_REFUSE);                                                       \
        assert_int_equal(b.reports.total[kind], before_ + 1);                                      \
    } while (0)
#define assert_denied(kind, call)                                                                  \
    do {                                                                                           \
        uint64_t before_ = b.reports.total[kind];                                                  \
        assert_false(call);                                                                        \
        assert_int_equal(b.reports.total[kind], before_ + 1);                                      \
    } while (0)

#define GATE(test) cmocka_unit_test_setup_teardown(test, start, end)

#endif
