/* Claim codes in a file of their own: CSV with the columns serial, claim_code, expires_at. A code
 * is shown by the hub this once, so what has been added is on the disk before the next is asked
 * for. */
#ifndef CLI_CLAIMS_FILE_H
#define CLI_CLAIMS_FILE_H

#include "cli/cli.h"
#include "cli/seen.h"

#define CLAIMS_LINE_MAX 160 /* bytes: serial, code, time, commas, LF */

struct claims_file {
    int fd; /* -1 while closed */
    const char *path;
    bool made; /* by this run */
};

/* A new file with mode 0600, with room reserved for `codes`; one that is there is refused, unless
 * `resume`: then it is continued, what it holds is added to `held`, and half a line at its end is
 * cut off. Tells what is wrong. */
int claims_file_open(struct cli *cli, struct claims_file *f, const char *path, bool resume,
                     uint64_t codes, struct seen *held);
/* `unused`: one that this run has made, and that holds no code, is taken away. */
void claims_file_close(struct claims_file *f, bool unused);
/* One line, to be given to claims_file_append() with others. */
void claims_line_write(struct writer *w, const char *serial, const char *code, int64_t expires_at);
/* Durable when it returns. */
int claims_file_append(struct cli *cli, struct claims_file *f, struct slice lines);

#endif
