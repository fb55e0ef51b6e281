/* Work that the hub's own program does, beside the hub or while it is stopped: run, watched, and
 * its result read. */
#ifndef CLI_HUB_PROGRAM_H
#define CLI_HUB_PROGRAM_H

#include <jansson.h>

#include "cli/cli.h"

/* Runs `holdfast-hub WORDS...` (ends with NULL), `output_fd` being its descriptor 3 where it is not
 * -1. Shows how far it has come; tells of a problem. On CLI_OK *ret_result is the caller's to
 * json_decref(). CLI_INTERRUPTED where a signal ended it. */
int hub_program_run(struct cli *cli, const char *const *words, int output_fd, json_t **ret_result);
/* Tells what a store holds, as that result says: on CLI_OK, and in the form that was asked for. */
int hub_program_told(struct cli *cli, json_t *result);
/* The configuration it is to use. */
const char *hub_program_config(const struct cli *cli);

#endif
