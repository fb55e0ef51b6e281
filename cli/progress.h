/* A line on a terminal that tells how far long work has come. Elsewhere nothing is shown. */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include "cli/cli.h"

struct progress {
    bool shown;
    const char *what; /* "rows" */
    uint64_t total;   /* 0: not known */
    uint64_t first;   /* where it started */
    int64_t started_ms, drawn_ms;
};

void progress_start(struct progress *p, const struct cli *cli, const char *what, uint64_t first,
                    uint64_t total);
/* Drawn at most some times a second. */
void progress_set(struct progress *p, uint64_t n);
/* Takes the line away. */
void progress_end(struct progress *p);
/* Takes the line away until it is drawn again: messages call it, so that they start on a line. */
void progress_hide(void);

#endif
