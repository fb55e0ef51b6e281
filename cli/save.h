/* Results that are files: to a path, or to standard output. */
#ifndef CLI_SAVE_H
#define CLI_SAVE_H

#include "cli/cli.h"

/* Writes `bytes` to `path`, replacing what is there in one step, or to standard output where path
 * is NULL or "-". `what` is for messages, `member` its name in the JSON document. */
int save_note(struct cli *cli, const char *path, struct slice bytes, const char *what,
              const char *member);
/* A secret: a new file with mode 0600; one that is there already is refused. */
int save_secret(struct cli *cli, const char *path, struct slice bytes);

#endif
