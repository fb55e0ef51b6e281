/* What the legs of a cut say of many devices: how many have seen theirs gone, and how soon. */
#ifndef CLI_CUT_LEGS_H
#define CLI_CUT_LEGS_H

#include "cli/hub_link.h"

#define CUT_LEG_OCSP        "ocsp" /* the one that the command looks at itself */
#define CUT_LEGS_MAX        289    /* 288 as the contract has it, and that */
#define CUT_LEG_NAME_MAX    72
#define CUT_LEG_DETAIL_SIZE 200

struct cut_leg {
    char name[CUT_LEG_NAME_MAX + 1];
    char detail[CUT_LEG_DETAIL_SIZE]; /* of one device: the last that was told */
    uint64_t due, settled_due;
    int64_t *latencies_ms; /* of those that are confirmed, the settled ones first; twice `room` */
    size_t confirmed, settled, room;
    bool told;
};

struct cut_legs {
    struct cut_leg legs[CUT_LEGS_MAX];
    size_t len;
};

void cut_legs_free(struct cut_legs *l); /* what it holds */
/* Forgets all that is not settled: before the open ones are looked at anew. */
void cut_legs_begin(struct cut_legs *l);
/* One device's word; `settled` where it needs no further look. `latency_ms` below 0: not seen yet.
 * ERR_NO_MEMORY. A leg beyond CUT_LEGS_MAX is left out. */
MUST_USE enum err cut_legs_add(struct cut_legs *l, const char *name, int64_t latency_ms,
                               const char *detail, bool settled);
/* The sums of all legs. */
void cut_legs_count(const struct cut_legs *l, uint64_t *ret_due, uint64_t *ret_confirmed);

/* Says of each leg, once, that it has seen all of them gone; with `open`, also how far the others
 * are. */
void cut_legs_tell(struct cut_legs *l, const struct cli *cli, bool open);
/* One line of one device's leg, as cut_legs_tell() has it. */
void cut_leg_tell_one(const struct cli *cli, const char *device, const char *leg,
                      int64_t latency_ms, const char *detail);
/* [{"leg", "status", "devices", "confirmed", "p50_ms", "p99_ms", "latency_ms": the slowest,
 * "detail": of one device}], for --json; NULL: no memory. */
json_t *cut_legs_json(const struct cut_legs *l);
/* "broker/mqtt-1 (298 of 300), ocsp (it says good)" */
void cut_legs_open(const struct cut_legs *l, char *text, size_t size);

#endif
