/* A small policy as rules, for tests and benchmarks of what is decided by them. */
#ifndef TESTS_UNIT_RULES_FIXTURE_H
#define TESTS_UNIT_RULES_FIXTURE_H

#include "core/rules.h"

#define FIXTURE_ALL (RULES_REACH_ENROLMENT | RULES_REACH_API | RULES_REACH_MQTT)

static const struct slice fixture_thermo_publish[] = {
    SLICE_LITERAL("fleet/{tenant}/{device}/up/#"),
    SLICE_LITERAL("by-model/{model}/dev-{device}.state"),
    SLICE_LITERAL("floor/{group}/{device}"),
};
static const struct slice fixture_thermo_subscribe[] = {
    SLICE_LITERAL("fleet/{tenant}/{device}/down/#"),
    SLICE_LITERAL("announce/+"),
    SLICE_LITERAL("floor/{group}/all/#"),
};
static const struct slice fixture_root_subscribe[] = {SLICE_LITERAL("#")};
static const struct slice fixture_bare[] = {SLICE_LITERAL("{device}"), SLICE_LITERAL("{device}/#")};
static const struct slice fixture_floor_publish[] = {SLICE_LITERAL("alarm/{group}/{device}")};
static const struct slice fixture_floor_subscribe[] = {SLICE_LITERAL("alarm/{group}/#"),
                                                       SLICE_LITERAL("$share/{group}/jobs/+")};

#define FIXTURE_FILTERS(list)                                                                      \
    {                                                                                              \
        list, ARRAY_LEN(list)                                                                      \
    }

static const struct rules_model fixture_thermo = {
    .reach = {[DEVICE_EXPECTED] = RULES_REACH_ENROLMENT,
              [DEVICE_ENROLLED] = RULES_REACH_ENROLMENT,
              [DEVICE_TRUSTED] = FIXTURE_ALL,
              [DEVICE_QUARANTINED] = RULES_REACH_ENROLMENT},
    .limits = {.messages_per_minute = 600,
               .bytes_per_minute = 1U << 20,
               .payload_max = 4096,
               .subscriptions_max = 8,
               .connects_per_minute = 10,
               .stale_seconds = 86400},
    .cut = RULES_CUT_SEND_WILL | RULES_CUT_KEEP_QUEUE,
    .password_ok = true,
};
static const struct rules_model fixture_open = {.reach = {[DEVICE_TRUSTED] = FIXTURE_ALL}};

static const struct rules_entry fixture_models[] = {
    {SLICE_LITERAL("bare"), &fixture_open, FIXTURE_FILTERS(fixture_bare),
     FIXTURE_FILTERS(fixture_bare)},
    {SLICE_LITERAL("root"), &fixture_open, {NULL, 0}, FIXTURE_FILTERS(fixture_root_subscribe)},
    {SLICE_LITERAL("thermo"), &fixture_thermo, FIXTURE_FILTERS(fixture_thermo_publish),
     FIXTURE_FILTERS(fixture_thermo_subscribe)},
    {SLICE_LITERAL("thermo-2"), &fixture_thermo, FIXTURE_FILTERS(fixture_thermo_publish),
     FIXTURE_FILTERS(fixture_thermo_subscribe)},
};
static const struct rules_entry fixture_groups[] = {
    {SLICE_LITERAL("floor-1"), NULL, FIXTURE_FILTERS(fixture_floor_publish),
     FIXTURE_FILTERS(fixture_floor_subscribe)},
    {SLICE_LITERAL("floor-2"), NULL, {NULL, 0}, {NULL, 0}},
};

/* acme has all models, bare-ones some; RULES_STANDARD_TENANT, which is not here, has all. */
static const uint16_t fixture_some[] = {0, 3};
static const struct rules_tenant fixture_tenants[] = {
    {.name = SLICE_LITERAL("acme"), .all = true},
    {.name = SLICE_LITERAL("bare-ones"), .models = fixture_some, .models_len = 2},
};
static const struct rules_entries fixture_entries = {
    .models = fixture_models,
    .models_len = ARRAY_LEN(fixture_models),
    .groups = fixture_groups,
    .groups_len = ARRAY_LEN(fixture_groups),
    .tenants = fixture_tenants,
    .tenants_len = ARRAY_LEN(fixture_tenants),
};

static inline void fixture_write_body(struct writer *w)
{
    rules_write_body(w, 20, &fixture_entries);
}

#endif
