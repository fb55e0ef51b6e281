/* The part of YAML that a policy is written in: one document of maps, lists and texts. Refused is
 * what lets a file say something else to a reader than to a program, or makes it grow as it is
 * read: anchors, aliases, tags, directives, a key twice, control characters, and those that change
 * the direction of writing. Every node knows where it stands. */
#ifndef POLICY_YAML_H
#define POLICY_YAML_H

#include "policy/policy.h"

#define YAML_DEPTH_MAX 10    /* a policy has 6 */
#define YAML_NODES_MAX 65536 /* a policy of a thousand models has half as many */
#define YAML_KEYS_MAX  4096  /* of one map: RULES_MODELS_MAX; each is compared with all before it */
#define YAML_TEXT_MAX  1024  /* bytes of one text: twice the longest filter */

enum yaml_kind { YAML_TEXT, YAML_LIST, YAML_MAP };

struct yaml_node {
    enum yaml_kind kind;
    unsigned line, column; /* from 1; columns count characters */
    bool plain;            /* a text without quotes, which YAML may take for a number or null */
    struct slice text;     /* of a text: one line */

    struct slice key; /* in a map */
    unsigned key_line, key_column;
    bool key_plain;

    struct yaml_node *first, *next; /* what stands in it; what follows in the same map or list */
    size_t len;                     /* how many stand in it */
};

/* Nodes and texts live in `arena`. ERR_SYNTAX, ERR_LIMIT with a complaint; ERR_NO_MEMORY. */
MUST_USE enum err yaml_read(struct slice text, struct arena *arena, struct yaml_node **ret_root,
                            struct policy_complaint *complaint);
/* What stands under that key of a map, or NULL. */
const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key);
/* Whether YAML takes a text without quotes for something else: null, a number, true, "no". */
bool yaml_is_word(struct slice plain);

/* Fills in a complaint and gives `err`; what others wrote is made harmless for a terminal. */
PRINTF_LIKE(5, 6)
enum err policy_complain(struct policy_complaint *complaint, unsigned line, unsigned column,
                         enum err err, const char *format, ...);

#endif
