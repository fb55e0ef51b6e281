/* The verbs of `holdfast policy` that go to the hub, and those that sign for it; the noun's table
 * is in policy.c. */
#ifndef CLI_POLICY_CHANGE_H
#define CLI_POLICY_CHANGE_H

#include "cli/hub_link.h"

int policy_run_plan(struct cli *cli);
int policy_run_apply(struct cli *cli);
int policy_run_approve(struct cli *cli);
int policy_run_withdraw(struct cli *cli);
int policy_run_rollback(struct cli *cli);
int policy_run_show(struct cli *cli);
int policy_run_history(struct cli *cli);
int policy_run_diff(struct cli *cli);
int policy_run_key(struct cli *cli);
int policy_run_sign(struct cli *cli);

/* ---- what they share ---- */

/* "/v1/policies/7" and `suffix`. */
int policy_target(struct cli *cli, const char *number, const char *suffix,
                  char ret_target[HUB_TARGET_MAX]);
/* Asks the hub what that text would change. */
int policy_ask_plan(struct cli *cli, struct slice text, struct hub_answer *ret_answer);
/* Shows it to a person. */
void policy_show_plan(const json_t *plan, const char *path);

#endif
