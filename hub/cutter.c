#include "hub/cutter.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "hub/membership.h"

#define JOB_ARENA    ((size_t)2 << 20) /* of which each device takes some hundred bytes */
#define DETAIL_MAX   40
#define LOOK_SECONDS 5  /* from one look at all open cuts to the next */
#define LOOK_DEVICES 32 /* in one turn of the loop, which serves devices besides */
#define LOOK_ARENA   ((size_t)1 << 20)

struct job;
struct part {
    struct job *job;
    char detail[DETAIL_MAX];
};
struct job {
    struct arena *arena; /* this stands in it */
    struct hub_loop *here;
    char tenant[NAME_MAX_BYTES + 1];
    size_t left, closed;
    int64_t closed_us;
    cutter_done_fn *done;
    void *ctx;
    struct part *parts;
    struct cut_confirm_act confirm;
};

/* What is open at this hub as far as the look has come; loop 0's. */
static struct {
    char tenant[NAME_MAX_BYTES + 1], position[NAME_MAX_BYTES + 1]; /* the last device looked at */
    bool closing;
    int64_t begun_ms; /* the look; monotonic, 0: never */
} look;

static void confirmed(struct act *act)
{
    struct job *job = CONTAINER_OF(act, struct job, confirm.act);
    /* A queue that is full or a database that is away: a later look finds the cut open. */
    if (act->write.err != ERR_NONE)
        log_event(LOG_LEVEL_WARNING, "cut.unconfirmed", F_TEXT("leg", job->confirm.leg),
                  F_ERR(act->write.err));
    if (job->done != NULL)
        job->done(job->ctx, job->closed, job->closed_us);
    arena_free(job->arena);
}

static void part_closed(void *ctx, size_t closed)
{
    struct part *part = ctx;
    struct job *job = part->job;
    (void)snprintf(part->detail, sizeof part->detail, "connections closed: %zu", closed);
    job->closed += closed;
    if (--job->left > 0)
        return;
    job->closed_us = clock_monotonic_us();
    const struct act_origin origin = {.loop = job->here->loop,
                                      .arena = job->arena,
                                      .tenant = job->tenant,
                                      .actor = "hub",
                                      .then = confirmed};
    identity_cut_confirm(job->here->hub->identity, &origin, job->here->reader, &job->confirm);
}

static struct job *job_new(struct hub_loop *here, const char *tenant,
                           const struct cutter_target *targets, size_t n)
{
    struct arena *arena = arena_new(JOB_ARENA);
    struct job *job = arena == NULL ? NULL : arena_alloc(arena, sizeof *job);
    struct cut_seen *seen = job == NULL ? NULL : arena_alloc(arena, n * sizeof *seen);
    bool whole = seen != NULL && (job->parts = arena_alloc(arena, n * sizeof *job->parts)) != NULL;
    for (size_t i = 0; whole && i < n; i++) {
        job->parts[i].job = job;
        seen[i] = (struct cut_seen){.device = arena_text(arena, slice_of_text(targets[i].device)),
                                    .position = targets[i].entry + 1,
                                    .detail = job->parts[i].detail};
        whole = seen[i].device != NULL;
    }
    if (!whole) {
        arena_free(arena);
        return NULL;
    }
    job->arena = arena;
    job->here = here;
    job->left = job->confirm.seen_len = n;
    job->confirm.seen = seen;
    (void)snprintf(job->tenant, sizeof job->tenant, "%s", tenant);
    cut_leg_of_hub(job->confirm.leg, membership_id());
    return job;
}

void cutter_close(struct hub_loop *here, const char *tenant, const struct cutter_target *targets,
                  size_t n, cutter_done_fn *done, void *ctx)
{
    char label[IDENTITY_LABEL_MAX];
    struct job *job = n == 0 ? NULL : job_new(here, tenant, targets, n);
    if (job != NULL) {
        job->done = done;
        job->ctx = ctx;
    }
    for (size_t i = 0; i < n; i++) {
        identity_label(label, tenant, targets[i].device);
        http_server_close_labelled(here->hub->http, label, job == NULL ? NULL : part_closed,
                                   job == NULL ? NULL : &job->parts[i]);
    }
    if (job == NULL && done != NULL) /* memory is out: closed they are, and confirmed later */
        done(ctx, 0, clock_monotonic_us());
}

/* ---- what was left open ---- */

struct found {
    struct device_cut_row cuts[LOOK_DEVICES];
    size_t n;
    bool more;
};

static enum err take_cut(void *ctx, const void *row)
{
    struct found *found = ctx;
    found->cuts[found->n++] = *(const struct device_cut_row *)row;
    return ERR_NONE;
}

/* Open here; or nowhere, since what it waited for has left: then it is complete with the next word.
 */
static bool is_ours(const struct cut_leg_state *legs, size_t n)
{
    char own[CUT_LEG_MAX + 1];
    bool open_elsewhere = false;
    cut_leg_of_hub(own, membership_id());
    for (size_t i = 0; i < n; i++) {
        if (!legs[i].confirmed && strcmp(legs[i].name, own) == 0)
            return true;
        open_elsewhere = open_elsewhere || !legs[i].confirmed;
    }
    return !open_elsewhere;
}

/* The first so many of one tenant, in the order of tenants; what is left comes in the next turn. */
static void keep_one_tenant(struct found *found)
{
    size_t n = 0;
    while (n < found->n && strcmp(found->cuts[n].tenant, found->cuts[0].tenant) == 0)
        n++;
    found->more = found->n == LOOK_DEVICES || n < found->n;
    found->n = n;
}

static enum err look_on(struct hub_loop *here, struct arena *arena, struct found *found,
                        struct cutter_target targets[LOOK_DEVICES], size_t *ret_n)
{
    struct device_cut_row after = {0};
    (void)snprintf(after.tenant, sizeof after.tenant, "%s", look.tenant);
    (void)snprintf(after.device, sizeof after.device, "%s", look.position);
    const struct store_filter open = {.column = "complete", .integer = 0};
    const struct store_query query = {.table = &table_device_cut,
                                      .filters = &open,
                                      .filters_len = 1,
                                      .after = &after,
                                      .limit = LOOK_DEVICES};
    struct cut_legs legs;
    enum err err = store_list(here->reader, &query, arena, take_cut, found);
    keep_one_tenant(found);
    if (err == ERR_NONE && found->n > 0)
        err = identity_cut_legs(here->reader, found->cuts[0].tenant, arena, &legs);
    for (size_t i = 0; err == ERR_NONE && i < found->n; i++) {
        struct cut_leg_state *states;
        size_t n;
        err = identity_cut_read(here->reader, arena, &legs, &found->cuts[i], &states, &n);
        if (err == ERR_NONE && is_ours(states, n))
            targets[(*ret_n)++] =
                (struct cutter_target){found->cuts[i].device, found->cuts[i].entry};
    }
    return err;
}

static void look_closed(void *ctx, size_t closed, int64_t at_us)
{
    (void)ctx;
    (void)at_us;
    look.closing = false;
    if (closed > 0)
        log_event(LOG_LEVEL_NOTICE, "device.cut_late",
                  F_INTEGER("connections_closed", (int64_t)closed));
}

void cutter_turn(struct hub_loop *here)
{
    int64_t now = clock_monotonic_ms();
    bool begins = look.position[0] == '\0';
    if (look.closing || (begins && look.begun_ms != 0 && now - look.begun_ms < LOOK_SECONDS * 1000))
        return;
    if (begins)
        look.begun_ms = now;
    struct arena *arena = arena_new(LOOK_ARENA);
    struct found *found = arena == NULL ? NULL : arena_alloc(arena, sizeof *found);
    struct cutter_target targets[LOOK_DEVICES];
    size_t n = 0;
    enum err err = found == NULL ? ERR_NO_MEMORY : look_on(here, arena, found, targets, &n);
    const struct device_cut_row *last = err == ERR_NONE && found->more
                                            ? &found->cuts[found->n - 1]
                                            : NULL; /* else it begins anew */
    (void)snprintf(look.tenant, sizeof look.tenant, "%s", last != NULL ? last->tenant : "");
    (void)snprintf(look.position, sizeof look.position, "%s", last != NULL ? last->device : "");
    if (n > 0) {
        look.closing = true;
        cutter_close(here, found->cuts[0].tenant, targets, n, look_closed, NULL);
    }
    arena_free(arena);
}
