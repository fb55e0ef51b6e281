/* Waits until each leg of a cut has seen the devices gone, and says so as it comes. */
#ifndef CLI_CUT_WAIT_H
#define CLI_CUT_WAIT_H

#include "cli/hub_link.h"

#define CUT_SHOWN_MAX 10  /* devices whose legs are told one by one; of the others, the sums */
#define CUT_OCSP_MAX  256 /* devices that are asked for by OCSP, spread over all */

struct cut_wait;

/* `started_ms`: when the cut was sent off, monotonic. CLI_OK, or told. */
int cut_wait_new(struct cli *cli, int64_t started_ms, struct cut_wait **ret_wait);
void cut_wait_free(struct cut_wait *w); /* NULL is fine */
/* Another device that was cut. */
int cut_wait_add(struct cut_wait *w, const char *device);
/* Looks at all of them until they are gone, for at most `seconds`. The leg "ocsp" is added: what
 * the hub answers others who ask for their certificates, of at most CUT_OCSP_MAX of them. It is not
 * counted where it answers nobody. */
int cut_wait_run(struct cut_wait *w, int64_t seconds);

/* Has every leg seen all of them gone? */
bool cut_wait_is_over(const struct cut_wait *w);
/* For --json: sets "legs", the sums; "cuts", each device's; "ocsp_asked", where it was asked. */
int cut_wait_print(const struct cut_wait *w, json_t *document);
/* Says which legs are open, and how to look again; gives the exit. */
int cut_wait_fail(struct cut_wait *w);

/* RFC 3339 as seconds since 1970; 0 where it is none. */
int64_t cut_time(const char *text);

#endif
