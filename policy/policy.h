/* policy.yaml: what it says, and what is made of it. Used by the hub, which decides whether it is
 * applied, and by the command, which checks one without a hub.
 *
 * The text is read by libyaml's events into a tree with places (policy/yaml.h); what stands there
 * is held against the one description of all keys (policy/schema.c), from which the JSON Schema for
 * editors is made, too. */
#ifndef POLICY_POLICY_H
#define POLICY_POLICY_H

#include "base/arena.h"
#include "core/rules.h"

#define POLICY_TEXT_MAX       (256U << 10) /* bytes of the file */
#define POLICY_ARENA_MAX      (64U << 20) /* bytes that reading, compiling and a diff take at most */
#define POLICY_TESTS_MAX      10000
#define POLICY_PAIRS_MAX      16384 /* models of all tenants: each is a row, written at once */
#define POLICY_WARNINGS_MAX   200
#define POLICY_LOCATED_MAX    256
#define POLICY_AUTOMATIC_CUTS 20 /* an hour, where the file does not say */

/* Where and why a policy is not taken: "policy.yaml:12:5: a lifetime ..." is made of these. */
struct policy_complaint {
    unsigned line, column; /* from 1; 0: of no one place */
    char text[POLICY_LOCATED_MAX];
};

struct policy_identity {
    char maker[RULES_NAME_MAX + 1];
    bool by_manifest;   /* proof: being in the manifest is enough; else a person approves */
    unsigned key_kinds; /* mask of 1 << enum key_kind (core/spki.h) */
    int64_t lifetime;   /* seconds, as in hub/store/rows.h */
    int64_t enrolled_lifetime;
    int64_t renewal; /* of a certificate's age; 0: when the device does it by itself */
    int64_t grace;
};

/* When the hub quarantines a device by itself. */
struct policy_respond {
    uint32_t topics; /* refused for their topic within a minute; 0: never, as with the next */
    uint32_t floods; /* refused as too much, within a minute */
    bool copies; /* a certificate that was replaced is shown again: two have had this identity */
};

struct policy_topics {
    const struct slice *publish, *subscribe;
    size_t publish_len, subscribe_len;
};

struct policy_model {
    struct slice name;
    unsigned line;
    struct policy_identity identity;
    struct rules_model rules; /* reach, limits, cut, password_ok */
    struct policy_topics topics;
    struct policy_respond respond;
};

struct policy_group {
    struct slice name;
    unsigned line;
    struct policy_topics topics;
};

struct policy_tenant {
    struct slice name;
    unsigned line;          /* 0: the file does not name it */
    bool all;               /* its devices may be of any model; else of these: */
    const uint16_t *models; /* numbers in the policy's models, the least first */
    size_t models_len;
};

/* "a quarantined thermo in floor-1 may not subscribe #" */
enum policy_question {
    POLICY_MAY_PUBLISH,
    POLICY_MAY_SUBSCRIBE,
    POLICY_MAY_RECEIVE,
    POLICY_REACHES, /* one of enum rules_reach */
};
struct policy_test {
    unsigned line;
    struct rules_subject subject; /* tenant is "default" where it does not say */
    enum policy_question question;
    bool expected;      /* may, or may not */
    struct slice topic; /* of the first three */
    uint8_t reach;
};

/* What this policy asks of whoever would change it: it counts while it is in force. */
struct policy_changes {
    unsigned approvals;                        /* people who must agree: 1 (who applies) or 2 */
    char loosening_key[NOTE_KEY_TEXT_MAX + 1]; /* a verifier key; empty: none is asked for */
};

struct policy {
    char fleet[FLEET_NAME_MAX + 1];
    struct policy_changes changes;
    uint32_t cuts_per_hour;
    struct policy_model *models; /* in the order of their names */
    size_t models_len;
    struct policy_group *groups; /* in the order of their names */
    size_t groups_len;
    struct policy_tenant
        *tenants; /* in the order of their names; RULES_STANDARD_TENANT is always there */
    size_t tenants_len;
    struct policy_test *tests;
    size_t tests_len;
};

/* All that it points at lives in `arena`, which must outlive it. ERR_SYNTAX and ERR_LIMIT with a
 * complaint; ERR_NO_MEMORY. */
MUST_USE enum err policy_read(struct slice text, struct arena *arena, struct policy *ret_policy,
                              struct policy_complaint *complaint);
/* The body of its rules, in the arena. */
MUST_USE enum err policy_compile(const struct policy *policy, struct arena *arena,
                                 struct slice *ret_body);

/* NULL where there is none of that name. */
const struct policy_model *policy_find_model(const struct policy *policy, struct slice name);
const struct policy_group *policy_find_group(const struct policy *policy, struct slice name);
const struct policy_tenant *policy_find_tenant(const struct policy *policy, struct slice name);
/* Whether its devices may be of the model of that number. */
bool policy_tenant_has(const struct policy_tenant *tenant, size_t model);

/* What is allowed, and yet as a rule a mistake: devices that read what others publish, reach
 * brokers from quarantine, have no limit. In the order of lines; lives in the arena. At most
 * POLICY_WARNINGS_MAX, the last of which says so. ERR_NO_MEMORY. */
MUST_USE enum err policy_warn(const struct policy *policy, struct arena *arena,
                              struct policy_complaint **ret_warnings, size_t *ret_len);

/* Runs one of its tests against rules; true where it holds. */
bool policy_test_holds(const struct policy_test *test, const struct rules *rules);
/* The test in words: "a quarantined thermo 'thermo-1' may not subscribe '#'". */
void policy_test_text(struct writer *w, const struct policy_test *test);
/* What the rules say to it: "it may: a filter of its model or group covers that". */
void policy_test_verdict(struct writer *w, const struct policy_test *test,
                         const struct rules *rules);

/* A JSON Schema (draft 7) of the file, for editors: at most POLICY_SCHEMA_MAX bytes. */
#define POLICY_SCHEMA_MAX (64U << 10)
void policy_write_schema(struct writer *w);

/* ---- what a change of policy means ---- */

enum policy_effect { POLICY_GAINS, POLICY_LOSES, POLICY_CHANGES };
/* One difference, in words of its own: "publish to fleet/{device}/up/#". */
struct policy_difference {
    enum policy_effect effect; /* GAINS: the new one is looser here, so a loosening key is asked */
    bool is_group;
    struct slice name; /* of the model or group; empty: of the fleet as a whole */
    struct slice what;
};
/* From `old` (NULL: there was none, and nothing was reached by it) to `new`, in the order of names.
 * Differences and their words live in the arena. ERR_NO_MEMORY. */
MUST_USE enum err policy_diff(const struct policy *old, const struct policy *new,
                              struct arena *arena, struct policy_difference **ret_differences,
                              size_t *ret_len);

#endif
