/* A policy file, read without a hub: for all verbs of `holdfast policy` that take one. */
#ifndef CLI_POLICY_FILE_H
#define CLI_POLICY_FILE_H

#include "cli/cli.h"
#include "policy/policy.h"

#define POLICY_FILE_STANDARD "policy.yaml" /* in the current folder */

struct policy_file {
    const char *path;
    uint8_t *bytes;
    size_t len;
    struct arena *arena;
    struct policy policy;
    struct policy_complaint complaint; /* where it was refused */
};

/* The first operand, or the standard. */
const char *policy_file_path(const struct cli *cli);
/* Reads and checks it: gives an enum cli_exit, and has told of a failure, with the line where it
 * is. To be closed in any case. */
int policy_file_open(struct cli *cli, const char *path, struct policy_file *ret_file);
void policy_file_close(struct policy_file *file); /* for CLEANUP */
/* The rules that it compiles to; has told of a failure. */
int policy_file_rules(struct cli *cli, struct policy_file *file, struct rules *ret_rules);

/* Shows a line of the file on standard error, and below it where in it; nothing with --json, or
 * where the file has no such line. column 0: not where. */
void policy_file_show(const struct cli *cli, const struct policy_file *file, unsigned line,
                      unsigned column);

#endif
