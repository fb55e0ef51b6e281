#include "hub/watch/responder.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"

#define MINUTE       60
#define DEVICE_ARENA (16U << 10) /* a device's row with its report */
#define ACT_ARENA    (256U << 10)

struct responder {
    struct identity *identity;
    responder_cut_fn *cut;
    pthread_mutex_t lock; /* over counts */
    struct counts *counts;
    atomic_uint acts; /* on their way */
    struct metric *cuts, *uncounted;
};

struct response {
    struct automatic_act act;
    struct responder *responder;
    struct arena *arena; /* this stands in it */
    void *ctx;
};

enum err responder_new(struct identity *identity, responder_cut_fn *cut,
                       struct responder **ret_responder)
{
    struct responder *r = calloc(1, sizeof *r);
    if (r == NULL)
        return ERR_NO_MEMORY;
    enum err err = counts_new(&r->counts);
    if (err != ERR_NONE) {
        free(r);
        return err;
    }
    r->identity = identity;
    r->cut = cut;
    (void)pthread_mutex_init(&r->lock, NULL);
    r->cuts = metric_counter("holdfast_automatic_cuts_total",
                             "Devices that the hub cut off by itself, or had a person asked about",
                             "outcome");
    r->uncounted =
        metric_counter("holdfast_automatic_cuts_uncounted_total",
                       "What was told of devices and could not be looked at or counted", NULL);
    *ret_responder = r;
    return ERR_NONE;
}

void responder_free(struct responder *r)
{
    if (r == NULL)
        return;
    counts_free(r->counts);
    (void)pthread_mutex_destroy(&r->lock);
    free(r);
}

/* ---- the act ---- */

static void response_ended(struct act *act)
{
    struct response *s = CONTAINER_OF(act, struct response, act.act);
    struct responder *r = s->responder;
    const struct automatic_act *a = &s->act;
    enum err err = act->write.err;
    if (err != ERR_NONE) {
        metric_add(r->cuts, "failed", 1);
        log_event(LOG_LEVEL_WARNING, "device.cut_failed", F_TEXT("device", a->device),
                  F_TEXT("kind", a->kind), F_ERR(err));
    } else if (a->outcome == AUTOMATIC_UNASKED) {
        metric_add(r->cuts, "unasked", 1);
    } else if (a->outcome != AUTOMATIC_NOTHING) {
        bool cut = a->outcome == AUTOMATIC_CUT;
        metric_add(r->cuts, cut ? "cut" : "waits", 1);
        log_event(LOG_LEVEL_WARNING, cut ? "device.cut_automatic" : "device.cut_waiting",
                  F_TEXT("device", a->device), F_TEXT("kind", a->kind),
                  F_TEXT("reason", a->reason));
        if (cut)
            r->cut(s->ctx, act->tenant, a->device, a->entry);
    }
    (void)atomic_fetch_sub(&r->acts, 1);
    arena_free(s->arena);
}

static struct response *response_new(struct responder *r, const char *device, const char *kind)
{
    struct arena *arena = NULL;
    struct response *s = NULL;
    if (atomic_fetch_add(&r->acts, 1) < RESPONDER_ACTS_MAX)
        arena = arena_new(ACT_ARENA);
    if (arena != NULL)
        s = arena_alloc(arena, sizeof *s);
    if (s == NULL) {
        (void)atomic_fetch_sub(&r->acts, 1);
        arena_free(arena);
        return NULL;
    }
    s->responder = r;
    s->arena = arena;
    (void)snprintf(s->act.device, sizeof s->act.device, "%s", device);
    (void)snprintf(s->act.kind, sizeof s->act.kind, "%s", kind);
    return s;
}

static void submit(struct response *s, const struct responder_site *site, const char *tenant)
{
    s->ctx = site->ctx;
    const struct act_origin origin = {.loop = site->loop,
                                      .arena = s->arena,
                                      .tenant = tenant,
                                      .actor = RESPONDER_ACTOR,
                                      .then = response_ended};
    identity_cut_automatically(s->responder->identity, &origin, &s->act);
}

/* ---- whom it is about ---- */

/* What its model's policy says; NULL where nothing is to be done about it. Only the act's own look
 * counts. */
static const struct policy_respond *respond_of(struct responder *r,
                                               const struct responder_site *site,
                                               struct arena *arena, const char *tenant,
                                               const char *device)
{
    char name[NAME_MAX_BYTES + 1];
    enum err err = identity_can_cut_automatically(site->reader, arena, tenant, device, name);
    if (err != ERR_NONE && err != ERR_NOT_FOUND)
        metric_add(r->uncounted, NULL, 1);
    if (err != ERR_NONE)
        return NULL;
    const struct policy_model *model = policy_find_model(&site->force->policy, slice_of_text(name));
    return model == NULL ? NULL : &model->respond;
}

static bool responds(const struct policy_force *force)
{
    for (size_t i = 0; force != NULL && i < force->policy.models_len; i++) {
        const struct policy_respond *respond = &force->policy.models[i].respond;
        if (respond->topics > 0 || respond->floods > 0 || respond->copies)
            return true;
    }
    return false;
}

/* ---- refusals ---- */

static const struct {
    const char *name, *what;
} kinds[COUNT_KINDS] = {
    [COUNT_TOPICS] = {"topics", "refused for their topics"},
    [COUNT_FLOODS] = {"floods", "refused as too much"},
};

static uint64_t within_a_minute(uint64_t count, int64_t seconds)
{
    if (seconds <= MINUTE)
        return count;
    return count > UINT64_MAX / MINUTE ? count / (uint64_t)seconds * MINUTE
                                       : count * MINUTE / (uint64_t)seconds;
}

static void tell_one(struct responder *r, const struct responder_site *site, struct arena *arena,
                     const char *tenant, const char *broker, int64_t seconds,
                     const struct responder_told *told)
{
    uint64_t sum = 0;
    const struct policy_respond *respond = respond_of(r, site, arena, tenant, told->device);
    uint32_t figure = respond == NULL              ? 0
                      : told->kind == COUNT_TOPICS ? respond->topics
                                                   : respond->floods;
    if (figure == 0)
        return;
    (void)pthread_mutex_lock(&r->lock);
    enum err err = counts_add(r->counts, told->kind, tenant, told->device,
                              within_a_minute(told->count, seconds), clock_monotonic_ms(), &sum);
    (void)pthread_mutex_unlock(&r->lock);
    struct response *s = NULL;
    bool reached = err == ERR_NONE && sum >= figure;
    if (reached)
        s = response_new(r, told->device, kinds[told->kind].name);
    if (err != ERR_NONE || (reached && s == NULL))
        metric_add(r->uncounted, NULL, 1);
    if (s == NULL)
        return;
    (void)pthread_mutex_lock(&r->lock);
    counts_clear(r->counts, tenant, told->device); /* it takes as many again for the next */
    (void)pthread_mutex_unlock(&r->lock);
    (void)snprintf(s->act.reason, sizeof s->act.reason,
                   "%" PRIu64 " %s within a minute, last at broker %s; the policy cuts off at %u",
                   sum, kinds[told->kind].what, broker, figure);
    submit(s, site, tenant);
}

void responder_tell(struct responder *r, const struct responder_site *site, const char *tenant,
                    const char *broker, int64_t seconds, const struct responder_told *told,
                    size_t n)
{
    struct arena *arena = n > 0 && responds(site->force) ? arena_new(DEVICE_ARENA) : NULL;
    for (size_t i = 0; arena != NULL && i < n; i++) {
        tell_one(r, site, arena, tenant, broker, seconds, &told[i]);
        arena_reset(arena);
    }
    arena_free(arena);
}

/* ---- copies ---- */

void responder_tell_copy(struct responder *r, const struct responder_site *site, const char *tenant,
                         const char *device)
{
    struct arena *arena = responds(site->force) ? arena_new(DEVICE_ARENA) : NULL;
    const struct policy_respond *respond =
        arena == NULL ? NULL : respond_of(r, site, arena, tenant, device);
    struct response *s = NULL;
    if (respond != NULL && respond->copies) {
        s = response_new(r, device, "copies");
        if (s == NULL)
            metric_add(r->uncounted, NULL, 1);
    }
    arena_free(arena);
    if (s == NULL)
        return;
    s->act.keys_touched = true;
    (void)snprintf(s->act.reason, sizeof s->act.reason, "%s",
                   "a certificate of it that was replaced was shown again: two have had this "
                   "identity");
    submit(s, site, tenant);
}
