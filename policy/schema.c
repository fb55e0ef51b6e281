#include "policy/schema.h"

#include "core/spki.h"

#define HOUR INT64_C(3600)
#define DAY  (24 * HOUR)
#define YEAR (365 * DAY)

#define WORDS(array) .words = (array), .words_len = ARRAY_LEN(array)
#define KEYS(array)  .keys = (array), .keys_len = ARRAY_LEN(array)
#define AT(type, field)                                                                            \
    .offset = offsetof(struct type, field), .size = sizeof(((struct type *)NULL)->field)

const char *const policy_variables[] = {"{tenant}", "{device}", "{model}", "{group}"};
const size_t policy_variables_len = ARRAY_LEN(policy_variables);

/* ---- words ---- */

static const struct schema_word reach_words[] = {
    {"enrolment", RULES_REACH_ENROLMENT}, {"api", RULES_REACH_API}, {"mqtt", RULES_REACH_MQTT}};
static const struct schema_word key_words[] = {{"P-256", 1U << KEY_P256},
                                               {"P-384", 1U << KEY_P384},
                                               {"Ed25519", 1U << KEY_ED25519},
                                               {"RSA", 1U << KEY_RSA}};
static const struct schema_word proof_words[] = {{"manifest", 1}, {"approval", 0}};
static const struct schema_word will_words[] = {{"drop", 0}, {"send", RULES_CUT_SEND_WILL}};
static const struct schema_word retained_words[] = {{"clear", RULES_CUT_CLEAR_RETAINED},
                                                    {"keep", 0}};
static const struct schema_word queue_words[] = {{"drop", 0}, {"keep", RULES_CUT_KEEP_QUEUE}};
static const struct schema_word state_words[] = {
    {"expected", DEVICE_EXPECTED}, {"enrolled", DEVICE_ENROLLED},
    {"trusted", DEVICE_TRUSTED},   {"quarantined", DEVICE_QUARANTINED},
    {"revoked", DEVICE_REVOKED},   {"retired", DEVICE_RETIRED}};

/* ---- models ---- */

static const struct schema filter_item = {
    .kind = SCHEMA_FILTER,
    .help = "An MQTT topic filter. {tenant}, {device}, {model} and {group} stand for the names of "
            "the device that asks."};

static const struct schema identity_keys[] = {
    {.name = "maker",
     .kind = SCHEMA_NAME,
     .required = true,
     .help = "Who makes these devices.",
     AT(schema_model, identity.maker)},
    {.name = "proof",
     .kind = SCHEMA_WORD,
     WORDS(proof_words),
     .standard = "manifest",
     .help = "What makes a device trusted once it has enrolled: that it stands in its maker's "
             "manifest, or that a person approves it.",
     AT(schema_model, identity.by_manifest)},
    {.name = "keys",
     .kind = SCHEMA_WORDS,
     WORDS(key_words),
     .standard = "P-256 P-384 Ed25519",
     .min = 1,
     .help = "Kinds of key that its devices may have.",
     AT(schema_model, identity.key_kinds)},
    {.name = "lifetime",
     .kind = SCHEMA_QUANTITY,
     .quantity = QUANTITY_DURATION,
     .min = HOUR,
     .max = 3 * YEAR,
     .standard = "30d",
     .help = "How long the certificate of a trusted device lives.",
     AT(schema_model, identity.lifetime)},
    {.name = "enrolled-lifetime",
     .kind = SCHEMA_QUANTITY,
     .quantity = QUANTITY_DURATION,
     .min = HOUR / 12,
     .max = DAY,
     .standard = "1h",
     .help = "How long a certificate lives while its device is only enrolled, and may only prove "
             "itself.",
     AT(schema_model, identity.enrolled_lifetime)},
    {.name = "renewal",
     .kind = SCHEMA_QUANTITY,
     .quantity = QUANTITY_DURATION,
     .min = HOUR / 12,
     .max = 3 * YEAR,
     .none = "two-thirds",
     .standard = "two-thirds",
     .help = "The age at which a device replaces its certificate, and with it its key; two-thirds: "
             "of the certificate's life, which is when it does so by itself.",
     AT(schema_model, identity.renewal)},
    {.name = "grace",
     .kind = SCHEMA_QUANTITY,
     .quantity = QUANTITY_DURATION,
     .min = 1,
     .max = 3 * YEAR,
     .none = "none",
     .standard = "30d",
     .help = "How long after its certificate's end a device comes back by itself.",
     AT(schema_model, identity.grace)},
};

#define REACH_HELP                                                                                 \
    " reaches: enrolment (its own identity), api (check-ins, reports), mqtt (brokers)."
static const struct schema reach_keys[] = {
    {.name = "enrolled",
     .kind = SCHEMA_WORDS,
     WORDS(reach_words),
     .standard = "enrolment",
     .help = "What a device that has not proven itself" REACH_HELP,
     AT(schema_model, rules.reach[DEVICE_ENROLLED])},
    {.name = "trusted",
     .kind = SCHEMA_WORDS,
     WORDS(reach_words),
     .standard = "enrolment api mqtt",
     .help = "What a trusted device" REACH_HELP,
     AT(schema_model, rules.reach[DEVICE_TRUSTED])},
    {.name = "quarantined",
     .kind = SCHEMA_WORDS,
     WORDS(reach_words),
     .standard = "enrolment",
     .help = "What a device in quarantine" REACH_HELP,
     AT(schema_model, rules.reach[DEVICE_QUARANTINED])},
};

static const struct schema limits_keys[] = {
    {.name = "messages",
     .kind = SCHEMA_QUANTITY,
     .quantity = QUANTITY_RATE,
     .min = 1,
     .max = 1000000,
     .none = "unlimited",
     .standard = "60/min",
     .help = "Messages that a device may publish; those of a minute may come at once.",
     AT(schema_model, rules.limits.messages_per_minute)},
    {.name = "bytes",
     .kind = SCHEMA_QUANTITY,
     .quantity = QUANTITY_SIZE_RATE,
     .min = 1,
     .max = 1 << 30,
     .none = "unlimited",
     .standard = "1MiB/min",
     .help = "Bytes of all payloads that a device may publish.",
     AT(schema_model, rules.limits.bytes_per_minute)},
    {.name = "payload",
     .kind = SCHEMA_QUANTITY,
     .quantity = QUANTITY_SIZE,
     .min = 1,
     .max = 128 << 20,
     .none = "unlimited",
     .standard = "64KiB",
     .help = "The largest payload of one message.",
     AT(schema_model, rules.limits.payload_max)},
    {.name = "subscriptions",
     .kind = SCHEMA_QUANTITY,
     .quantity = QUANTITY_COUNT,
     .min = 1,
     .max = 10000,
     .none = "unlimited",
     .standard = "10",
     .help = "Subscriptions that a device may hold at a time.",
     AT(schema_model, rules.limits.subscriptions_max)},
    {.name = "connects",
     .kind = SCHEMA_QUANTITY,
     .quantity = QUANTITY_RATE,
     .min = 1,
     .max = 60000,
     .none = "unlimited",
     .standard = "10/min",
     .help = "How often a device may connect to a broker.",
     AT(schema_model, rules.limits.connects_per_minute)},
    {.name = "stale",
     .kind = SCHEMA_QUANTITY,
     .quantity = QUANTITY_DURATION,
     .min = 1,
     .max = 30 * DAY,
     .none = "none",
     .standard = "1h",
     .help = "How long a broker that can't reach a hub goes on serving these devices by what it "
             "knows; that long a cut may take while the line is down. none: not at all.",
     AT(schema_model, rules.limits.stale_seconds)},
};

static const struct schema cut_keys[] = {
    {.name = "will",
     .kind = SCHEMA_WORD,
     WORDS(will_words),
     .standard = "drop",
     .help = "Its last will.",
     AT(schema_model, rules.cut)},
    {.name = "retained",
     .kind = SCHEMA_WORD,
     WORDS(retained_words),
     .standard = "clear",
     .help = "What it published to be retained.",
     AT(schema_model, rules.cut)},
    {.name = "queue",
     .kind = SCHEMA_WORD,
     WORDS(queue_words),
     .standard = "drop",
     .help = "Its subscriptions and the messages that wait for it. One that is revoked never keeps "
             "them.",
     AT(schema_model, rules.cut)},
};

static const struct schema respond_keys[] = {
    {.name = "topics",
     .kind = SCHEMA_QUANTITY,
     .quantity = QUANTITY_RATE,
     .min = 1,
     .max = 1000000,
     .none = "none",
     .standard = "none",
     .help = "So many messages and subscriptions refused within a minute, as their topics are not "
             "the device's.",
     AT(schema_model, respond.topics)},
    {.name = "floods",
     .kind = SCHEMA_QUANTITY,
     .quantity = QUANTITY_RATE,
     .min = 1,
     .max = 60000000,
     .none = "none",
     .standard = "none",
     .help = "So many messages, connects and subscriptions refused within a minute, as they are "
             "beyond its limits.",
     AT(schema_model, respond.floods)},
    {.name = "copies",
     .kind = SCHEMA_BOOL,
     .standard = "false",
     .help = "Somebody shows a certificate of the device that was replaced: two have had its "
             "identity, so its keys count as touched.",
     AT(schema_model, respond.copies)},
};

#define TOPICS(type, whose)                                                                        \
    {.name = "publish",                                                                            \
     .kind = SCHEMA_LIST,                                                                          \
     .item = &filter_item,                                                                         \
     .item_size = sizeof(struct slice),                                                            \
     .max = RULES_FILTERS_MAX,                                                                     \
     .help = "Topics that " whose " may publish to, as filters.",                                  \
     AT(type, publish)},                                                                           \
    {                                                                                              \
        .name = "subscribe", .kind = SCHEMA_LIST, .item = &filter_item,                            \
        .item_size = sizeof(struct slice), .max = RULES_FILTERS_MAX,                               \
        .help = "Topics that " whose " may subscribe to and receive from, as filters.",            \
        AT(type, subscribe)                                                                        \
    }

static const struct schema model_keys[] = {
    {.name = "identity",
     .kind = SCHEMA_MAP,
     KEYS(identity_keys),
     .required = true,
     .help = "What its devices' identities look like."},
    {.name = "reach",
     .kind = SCHEMA_MAP,
     KEYS(reach_keys),
     .other_keys = "a device that is expected, revoked or retired reaches nothing, always",
     .help = "What a device reaches, by its state. Expected, revoked and retired ones reach "
             "nothing, always."},
    TOPICS(schema_model, "its devices"),
    {.name = "limits",
     .kind = SCHEMA_MAP,
     KEYS(limits_keys),
     .help = "How much one device may do at a broker."},
    {.name = "password",
     .kind = SCHEMA_BOOL,
     .standard = "false",
     .help = "Whether its devices may hold a password in place of a certificate: weaker, and shown "
             "to be.",
     AT(schema_model, rules.password_ok)},
    {.name = "cut",
     .kind = SCHEMA_MAP,
     KEYS(cut_keys),
     .help = "What a broker does with what is left of a device that is cut off."},
    {.name = "respond",
     .kind = SCHEMA_MAP,
     KEYS(respond_keys),
     .help = "When the hub quarantines a device by itself; as many in an hour as "
             "`automatic-per-hour` says, and further ones wait for a person."},
};
static const struct schema model_item = {.kind = SCHEMA_MAP, KEYS(model_keys), .help = "A model."};

static const struct schema group_keys[] = {TOPICS(schema_group, "its devices, of whatever model,")};
static const struct schema group_item = {.kind = SCHEMA_MAP,
                                         KEYS(group_keys),
                                         .help = "A group; its topics come to those of the model."};

static const struct schema model_name_item = {.kind = SCHEMA_NAME, .help = "One of `models`."};
static const struct schema tenant_keys[] = {
    {.name = "models",
     .kind = SCHEMA_LIST,
     .item = &model_name_item,
     .item_size = sizeof(struct slice),
     .min = 1,
     .max = RULES_MODELS_MAX,
     .help = "Which of the `models` its devices may be of. Without it: all.",
     AT(schema_tenant, models)},
};
static const struct schema tenant_item = {
    .kind = SCHEMA_MAP, KEYS(tenant_keys), .help = "A tenant: one whose devices are apart."};

/* ---- tests ---- */

static const struct schema topic_item = {.kind = SCHEMA_TOPIC,
                                         .help = "A topic, without wildcards."};
static const struct schema asked_item = {.kind = SCHEMA_ASKED, .help = "A topic filter."};

#define ASKED(key, what, text)                                                                     \
    {                                                                                              \
        .name = #key, .kind = SCHEMA_LIST, .item = &(what), .item_size = sizeof(struct slice),     \
        .min = 1, .max = POLICY_TESTS_MAX, .or_one = true, .help = (text), AT(schema_topics, key)  \
    }
static const struct schema may_keys[] = {
    ASKED(publish, topic_item, "Topics to publish to."),
    ASKED(subscribe, asked_item, "Filters to subscribe with."),
    ASKED(receive, topic_item, "Topics whose messages reach it."),
};

static const struct schema test_keys[] = {
    {.name = "device",
     .kind = SCHEMA_NAME,
     .required = true,
     .help = "A device's name; there need not be one of that name.",
     .offset = offsetof(struct schema_test, device)},
    {.name = "model",
     .kind = SCHEMA_NAME,
     .required = true,
     .help = "Its model, one of `models`.",
     .offset = offsetof(struct schema_test, model)},
    {.name = "group",
     .kind = SCHEMA_NAME,
     .help = "Its group, one of `groups`; else it is in none.",
     .offset = offsetof(struct schema_test, group)},
    {.name = "tenant",
     .kind = SCHEMA_NAME,
     .standard = RULES_STANDARD_TENANT,
     .help = "Its tenant, one of `tenants`.",
     .offset = offsetof(struct schema_test, tenant)},
    {.name = "state",
     .kind = SCHEMA_WORD,
     WORDS(state_words),
     .standard = "trusted",
     .help = "Where it stands in its life.",
     AT(schema_test, state)},
    {.name = "may",
     .kind = SCHEMA_MAP,
     KEYS(may_keys),
     .help = "What must be allowed.",
     .offset = offsetof(struct schema_test, may)},
    {.name = "may-not",
     .kind = SCHEMA_MAP,
     KEYS(may_keys),
     .help = "What must be refused.",
     .offset = offsetof(struct schema_test, may_not)},
    {.name = "reaches",
     .kind = SCHEMA_WORDS,
     WORDS(reach_words),
     .min = 1,
     .help = "What it must reach.",
     AT(schema_test, reaches)},
    {.name = "reaches-not",
     .kind = SCHEMA_WORDS,
     WORDS(reach_words),
     .min = 1,
     .help = "What it must not reach.",
     AT(schema_test, reaches_not)},
};
static const struct schema test_item = {
    .kind = SCHEMA_MAP, KEYS(test_keys), .help = "One device, and what must be true of it."};

/* ---- the file ---- */

static const struct schema changes_keys[] = {
    {.name = "approvals",
     .kind = SCHEMA_QUANTITY,
     .quantity = QUANTITY_COUNT,
     .min = 1,
     .max = 2,
     .standard = "1",
     .help = "How many people must agree to the next policy, the one who applies it included.",
     AT(schema_file, changes.approvals)},
    {.name = "loosening-key",
     .kind = SCHEMA_KEY,
     .help = "The verifier key of an offline key that must sign a policy by which any device gains "
             "something.",
     AT(schema_file, changes.loosening_key)},
};

static const struct schema cuts_keys[] = {
    {.name = "automatic-per-hour",
     .kind = SCHEMA_QUANTITY,
     .quantity = QUANTITY_COUNT,
     .min = 0,
     .max = 100000,
     .standard = "20",
     .help = "How many devices of a tenant the hub quarantines by itself in any hour, as `respond` "
             "says; further ones wait for a person.",
     AT(schema_file, cuts_per_hour)},
};

static const struct schema file_keys[] = {
    {.name = "holdfast",
     .kind = SCHEMA_QUANTITY,
     .quantity = QUANTITY_COUNT,
     .required = true,
     .min = POLICY_FORMAT,
     .max = POLICY_FORMAT,
     .help = "The version of this format: 1.",
     AT(schema_file, format)},
    {.name = "fleet",
     .kind = SCHEMA_FLEET,
     .required = true,
     .help = "The fleet that this policy is of, as its certificates have it.",
     AT(schema_file, fleet)},
    {.name = "changes",
     .kind = SCHEMA_MAP,
     KEYS(changes_keys),
     .help = "What this policy asks of the next, while it is in force."},
    {.name = "cuts", .kind = SCHEMA_MAP, KEYS(cuts_keys), .help = "Cuts of the whole fleet."},
    {.name = "groups",
     .kind = SCHEMA_NAMED,
     .item = &group_item,
     .item_size = sizeof(struct schema_group),
     .max = RULES_GROUPS_MAX,
     .help = "Groups that devices are put into, such as places.",
     AT(schema_file, groups)},
    {.name = "models",
     .kind = SCHEMA_NAMED,
     .item = &model_item,
     .item_size = sizeof(struct schema_model),
     .max = RULES_MODELS_MAX,
     .required = true,
     .help = "Kinds of device. One whose model is not here reaches nothing.",
     AT(schema_file, models)},
    {.name = "tenants",
     .kind = SCHEMA_NAMED,
     .item = &tenant_item,
     .item_size = sizeof(struct schema_tenant),
     .max = RULES_TENANTS_MAX,
     .help = "Whose devices are kept apart from each other's. The tenant `default` exists always.",
     AT(schema_file, tenants)},
    {.name = "tests",
     .kind = SCHEMA_LIST,
     .item = &test_item,
     .item_size = sizeof(struct schema_test),
     .max = POLICY_TESTS_MAX,
     .help = "What must be true of this policy, or it is not applied.",
     AT(schema_file, tests)},
};

const struct schema policy_schema = {
    .kind = SCHEMA_MAP, KEYS(file_keys), .help = "A fleet's policy (holdfast-policy(5))."};
