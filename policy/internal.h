/* What the parts of policy/ share, and nobody else needs. */
#ifndef POLICY_INTERNAL_H
#define POLICY_INTERNAL_H

#include "policy/schema.h"
#include "policy/yaml.h"

/* ---- values.c: one text that stands in the file ---- */

/* Holds the text of `node` against the schema, and puts its value at `to` (the field itself).
 * `what` names it in complaints. */
MUST_USE enum err policy_take_value(const struct schema *s, const char *what,
                                    const struct yaml_node *node, void *to,
                                    struct policy_complaint *complaint);
/* What holds where the file is silent. */
MUST_USE enum err policy_take_standard(const struct schema *s, void *to);
/* Sets the bits of one word. */
MUST_USE enum err policy_take_word(const struct schema *s, const char *what,
                                   const struct yaml_node *node, void *to,
                                   struct policy_complaint *complaint);

/* ---- check.c: what single values cannot show ---- */

/* In the order of their bytes. */
int policy_compare_names(struct slice a, struct slice b);

MUST_USE enum err policy_cross_check(const struct policy *policy, const struct yaml_node *root,
                                     struct policy_complaint *complaint);

#endif
