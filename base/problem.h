/* Why a request was refused, as RFC 9457 wants it told. One struct from the check that found it to
 * the response that says it; every code stands in docs/reference/problems.md. */
#ifndef BASE_PROBLEM_H
#define BASE_PROBLEM_H

#include "core/compiler.h"
#include "core/json_write.h"

struct problem {
    unsigned status;  /* HTTP status; 0 means: no problem */
    const char *code; /* a constant such as "claim-expired": stable, part of the contract */
    char field[96];   /* what it is about: "serial", "rows[3].key", or empty */
    char detail[240]; /* a sentence for people that says what to do next */
};

/* Fills in *p; always returns ERR_REFUSED, so that a check can say `return problem_set(...)`. */
enum err problem_set(struct problem *p, unsigned status, const char *code, const char *field,
                     const char *format, ...) PRINTF_LIKE(5, 6);
/* What an error means that nobody explained: ERR_BUSY 503, ERR_DISK_FULL 507, else 500, ... */
void problem_from_err(struct problem *p, enum err err);
/* application/problem+json */
void problem_write(struct writer *w, const struct problem *p);

#endif
