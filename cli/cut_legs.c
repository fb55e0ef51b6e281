#include "cli/cut_legs.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/progress.h"

#define ROOM_FIRST 16

void cut_legs_free(struct cut_legs *l)
{
    for (size_t i = 0; i < l->len; i++)
        free(l->legs[i].latencies_ms);
    l->len = 0;
}

void cut_legs_begin(struct cut_legs *l)
{
    for (size_t i = 0; i < l->len; i++) {
        l->legs[i].due = l->legs[i].settled_due;
        l->legs[i].confirmed = l->legs[i].settled;
    }
}

static struct cut_leg *find_leg(struct cut_legs *l, const char *name)
{
    for (size_t i = 0; i < l->len; i++) {
        if (strcmp(l->legs[i].name, name) == 0)
            return &l->legs[i];
    }
    if (l->len == CUT_LEGS_MAX)
        return NULL;
    struct cut_leg *leg = &l->legs[l->len++];
    *leg = (struct cut_leg){.due = 0};
    (void)snprintf(leg->name, sizeof leg->name, "%s", name);
    return leg;
}

static enum err add_latency(struct cut_leg *leg, int64_t ms, bool settled)
{
    if (leg->confirmed == leg->room) {
        size_t room = leg->room == 0 ? ROOM_FIRST : leg->room * 2;
        int64_t *latencies = reallocarray(leg->latencies_ms, room, 2 * sizeof *latencies);
        if (latencies == NULL)
            return ERR_NO_MEMORY;
        leg->latencies_ms = latencies;
        leg->room = room;
    }
    leg->latencies_ms[leg->confirmed++] = ms;
    if (!settled)
        return ERR_NONE;
    leg->latencies_ms[leg->confirmed - 1] = leg->latencies_ms[leg->settled];
    leg->latencies_ms[leg->settled++] = ms;
    return ERR_NONE;
}

enum err cut_legs_add(struct cut_legs *l, const char *name, int64_t latency_ms, const char *detail,
                      bool settled)
{
    struct cut_leg *leg = find_leg(l, name);
    if (leg == NULL)
        return ERR_NONE;
    if (latency_ms >= 0) {
        enum err err = add_latency(leg, latency_ms, settled);
        if (err != ERR_NONE)
            return err;
    }
    leg->due++;
    leg->settled_due += settled;
    if (*detail != '\0')
        (void)snprintf(leg->detail, sizeof leg->detail, "%s", detail);
    return ERR_NONE;
}

void cut_legs_count(const struct cut_legs *l, uint64_t *ret_due, uint64_t *ret_confirmed)
{
    uint64_t due = 0, confirmed = 0;
    for (size_t i = 0; i < l->len; i++) {
        due += l->legs[i].due;
        confirmed += l->legs[i].confirmed;
    }
    *ret_due = due;
    *ret_confirmed = confirmed;
}

/* ---- how soon ---- */

static int compare(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

struct spread {
    int64_t p50, p99, slowest;
};

/* Nearest rank. Sorted is a copy, in the half that is kept free for it: the settled ones stay
 * first.
 */
static struct spread spread_of(const struct cut_leg *leg)
{
    const size_t n = leg->confirmed;
    if (n == 0)
        return (struct spread){0};
    int64_t *sorted = leg->latencies_ms + leg->room;
    memcpy(sorted, leg->latencies_ms, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, compare);
    return (struct spread){.p50 = sorted[(n * 50 + 99) / 100 - 1],
                           .p99 = sorted[(n * 99 + 99) / 100 - 1],
                           .slowest = sorted[n - 1]};
}

/* ---- told ---- */

static const char *seen_word(const char *leg)
{
    return strcmp(leg, CUT_LEG_OCSP) == 0 ? "revoked" : "gone";
}

void cut_leg_tell_one(const struct cli *cli, const char *device, const char *leg,
                      int64_t latency_ms, const char *detail)
{
    progress_hide();
    cli_say(cli, "  %s%s%-16s %s after %" PRId64 " ms%s%s", device, *device == '\0' ? "" : ": ",
            leg, seen_word(leg), latency_ms, *detail == '\0' ? "" : "; ", detail);
}

void cut_legs_tell(struct cut_legs *l, const struct cli *cli, bool open)
{
    for (size_t i = 0; i < l->len; i++) {
        struct cut_leg *leg = &l->legs[i];
        bool is_open = leg->confirmed < leg->due;
        if (leg->told || leg->due == 0 || (is_open && !open))
            continue;
        leg->told = !is_open;
        struct spread s = spread_of(leg);
        const char *what = seen_word(leg->name);
        if (leg->due == 1 && !is_open) {
            cut_leg_tell_one(cli, "", leg->name, s.slowest, leg->detail);
            continue;
        }
        progress_hide();
        if (leg->confirmed == 0)
            cli_say(cli, "  %-16s none of %" PRIu64 " %s", leg->name, leg->due, what);
        else if (is_open)
            cli_say(cli,
                    "  %-16s %zu of %" PRIu64 " %s: p50 %" PRId64 " ms, p99 %" PRId64
                    " ms, slowest %" PRId64 " ms",
                    leg->name, leg->confirmed, leg->due, what, s.p50, s.p99, s.slowest);
        else
            cli_say(cli,
                    "  %-16s all %" PRIu64 " %s: p50 %" PRId64 " ms, p99 %" PRId64
                    " ms, slowest %" PRId64 " ms",
                    leg->name, leg->due, what, s.p50, s.p99, s.slowest);
    }
}

static json_t *leg_json(const struct cut_leg *leg)
{
    json_t *one = json_pack("{s:s, s:s, s:I, s:I}", "leg", leg->name, "status",
                            leg->confirmed < leg->due ? "open" : "confirmed", "devices",
                            (json_int_t)leg->due, "confirmed", (json_int_t)leg->confirmed);
    int failed = one == NULL;
    if (leg->confirmed > 0) {
        struct spread s = spread_of(leg);
        failed |= json_object_set_new(one, "p50_ms", json_integer(s.p50)) |
                  json_object_set_new(one, "p99_ms", json_integer(s.p99)) |
                  json_object_set_new(one, "latency_ms", json_integer(s.slowest));
    }
    if (leg->due == 1 && leg->detail[0] != '\0')
        failed |= json_object_set_new(one, "detail", json_string(leg->detail));
    if (failed == 0)
        return one;
    json_decref(one);
    return NULL;
}

json_t *cut_legs_json(const struct cut_legs *l)
{
    json_t *legs = json_array();
    for (size_t i = 0; legs != NULL && i < l->len; i++) {
        if (l->legs[i].due == 0 || json_array_append_new(legs, leg_json(&l->legs[i])) == 0)
            continue;
        json_decref(legs);
        return NULL;
    }
    return legs;
}

void cut_legs_open(const struct cut_legs *l, char *text, size_t size)
{
    struct writer names = writer_over(text, size - 1);
    for (size_t i = 0; i < l->len; i++) {
        const struct cut_leg *leg = &l->legs[i];
        char one[CUT_LEG_NAME_MAX + CUT_LEG_DETAIL_SIZE + 64];
        if (leg->confirmed >= leg->due || names.len + sizeof one > size)
            continue;
        (void)snprintf(one, sizeof one, "%s%s", names.len > 0 ? ", " : "", leg->name);
        writer_text(&names, one);
        if (strcmp(leg->name, CUT_LEG_OCSP) == 0 && leg->detail[0] != '\0')
            (void)snprintf(one, sizeof one, " (%s)", leg->detail);
        else if (leg->due > 1)
            (void)snprintf(one, sizeof one, " (%zu of %" PRIu64 ")", leg->confirmed, leg->due);
        else
            continue;
        writer_text(&names, one);
    }
    text[names.len] = '\0';
}
