/* Secrets that a command is given: from a file or standard input, never from the command line,
 * which everybody on the machine can read. */
#ifndef CLI_SECRET_H
#define CLI_SECRET_H

#include "cli/cli.h"

/* The text in a file, or the first line of standard input for "-", without the end of its line.
 * `what` is for messages: "claim code". CLI_FILE, told: it can't be read, is empty, of more than
 * size - 1 bytes, or holds a NUL. Wipe it after use. */
int secret_read(struct cli *cli, const char *path, const char *what, char *ret_text, size_t size);

#endif
