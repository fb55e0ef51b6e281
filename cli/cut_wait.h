/* Waits until each leg of a cut has seen the devices gone, and says so as it comes. */
#ifndef CLI_CUT_WAIT_H
#define CLI_CUT_WAIT_H

#include "cli/hub_link.h"

#define CUT_DEVICES_MAX 256 /* that are named in one request; as the hub takes it */

struct cut_wait;

/* For at most `seconds`. `started_ms`: when the cut was sent off, monotonic. CLI_OK, or told. */
int cut_wait_new(struct cli *cli, int64_t started_ms, int64_t seconds, struct cut_wait **ret_wait);
void cut_wait_free(struct cut_wait *w); /* NULL is fine */
/* For the devices with these ids, at most CUT_DEVICES_MAX. */
int cut_wait_named(struct cut_wait *w, const json_t *devices);
/* Adds the leg "ocsp" for the same devices: what the hub answers others who ask for their
 * certificates. Not counted where it answers nobody. Before cut_wait_named(). */
int cut_wait_ocsp(struct cut_wait *w, const json_t *devices);
/* For all that were cut by these entries of the ledger. */
int cut_wait_entries(struct cut_wait *w, int64_t first, int64_t last);

/* Has every leg seen all of them gone? */
bool cut_wait_is_over(const struct cut_wait *w);
/* [{"leg", "status", "devices", "confirmed", "latency_ms": the slowest, "detail": of one device}],
 * for --json; of devices that were not named without the last three. */
json_t *cut_wait_legs(const struct cut_wait *w);
/* Says which legs are open, and how to look again; gives the exit. */
int cut_wait_fail(const struct cut_wait *w);

/* RFC 3339 as seconds since 1970; 0 where it is none. */
int64_t cut_time(const char *text);

#endif
