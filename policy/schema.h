/* The one description of policy.yaml: which keys there are, what each may hold, what holds where
 * the file is silent, and where it goes. policy/read.c reads by it, policy/json_schema.c writes it
 * down for editors. */
#ifndef POLICY_SCHEMA_H
#define POLICY_SCHEMA_H

#include "policy/policy.h"
#include "policy/quantity.h"

#define POLICY_FORMAT 1 /* what `holdfast:` says */

enum schema_kind {
    SCHEMA_MAP,      /* of the `keys`; `to` is a struct that they are offsets in */
    SCHEMA_NAMED,    /* a map of names to `item`s -> struct schema_array, in the order of names */
    SCHEMA_LIST,     /* of `item`s -> struct schema_array */
    SCHEMA_WORDS,    /* a list of words -> the mask of their bits */
    SCHEMA_WORD,     /* one of them -> its bits are set, the others left */
    SCHEMA_BOOL,     /* bool */
    SCHEMA_QUANTITY, /* in min..max -> an integer of `size` bytes */
    SCHEMA_NAME,     /* of a model, group, device, tenant, maker -> as all from here on: a slice, */
    SCHEMA_FLEET,    /* or text in char[size] where there is a size */
    SCHEMA_KEY,      /* a verifier key */
    SCHEMA_FILTER,   /* a topic filter with variables */
    SCHEMA_TOPIC,    /* a topic name without */
    SCHEMA_ASKED,    /* a topic filter without */
};

struct schema_word {
    const char *word;
    unsigned bits;
};

/* What a map of names or a list becomes. Entries of the first begin with a struct schema_entry. */
struct schema_array {
    void *entries;
    size_t len;
};
struct schema_entry {
    struct slice name;
    unsigned line, column;
};

struct schema {
    const char *name; /* the key; NULL for an item */
    enum schema_kind kind;
    bool required;
    const char *help;     /* a sentence or two */
    const char *standard; /* what holds where it is not said, as it would be written; words between
                             blanks; NULL: nothing */

    enum quantity quantity;
    int64_t min, max; /* of quantities; of lists and maps of names: how many */
    const char *none; /* the word that stands for 0, which is not written as a number then */

    const struct schema_word *words;
    size_t words_len;

    const struct schema *keys;
    size_t keys_len;
    const char *other_keys; /* what to say of keys that are not known, where there is something */

    const struct schema *item;
    size_t item_size; /* of an array's entry */
    bool or_one;      /* a list: its only item may stand there without the list */

    size_t offset, size;
};

/* One entry of `tests`: it asks several questions. */
struct schema_topics {
    struct schema_array publish, subscribe, receive; /* of struct slice */
};
struct schema_test {
    struct schema_entry at; /* without a name */
    struct slice device, model, group, tenant;
    unsigned state; /* enum device_state */
    struct schema_topics may, may_not;
    unsigned reaches, reaches_not; /* enum rules_reach */
};

struct schema_model {
    struct schema_entry entry;
    struct policy_identity identity;
    struct rules_model rules;
    struct policy_respond respond;
    struct schema_array publish, subscribe; /* of struct slice */
};

struct schema_tenant {
    struct schema_entry entry;
    struct schema_array models; /* of struct slice */
};

struct schema_group {
    struct schema_entry entry;
    struct schema_array publish, subscribe;
};

/* What the file says, before it becomes a policy. */
struct schema_file {
    int64_t format;
    char fleet[FLEET_NAME_MAX + 1];
    struct policy_changes changes;
    uint32_t cuts_per_hour;
    struct schema_array models, groups, tenants, tests;
};

extern const struct schema policy_schema; /* -> struct schema_file */
/* The variables of filters, in the order of enum policy_variable. */
enum policy_variable { VARIABLE_TENANT, VARIABLE_DEVICE, VARIABLE_MODEL, VARIABLE_GROUP };
extern const char *const policy_variables[];
extern const size_t policy_variables_len;

#endif
