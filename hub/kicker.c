#include "hub/kicker.h"

#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "hub/emqx.h"
#include "hub/membership.h"

#define LOOK_MS      50  /* from one look at the ledger's size to the next */
#define RETRY_MIN_MS 200 /* after a failure; doubled with each */
#define RETRY_MAX_MS 30000
#define AGAIN_MS     5000 /* a look without any news: another hub's clock, a lost write */
#define TURN_DEVICES 64   /* read at once */
#define TURN_ARENA   ((size_t)4 << 20)
#define BAN_SECONDS  3600 /* EMQX asks us before it admits anybody: this is for when it can't */
#define BANNED_MAX   1024 /* remembered, to be taken back with a release */

static struct {
    struct hub *hub;
    struct emqx *emqx; /* NULL: none is configured */
    struct store_reader *reader;
    char leg[CUT_LEG_OF_HUB_MAX + 1];
    pthread_t thread;
    bool started;
    int wake_fd; /* readable: it is to end */
    struct metric *sessions, *failures;

    /* the thread's own */
    char banned[BANNED_MAX][NAME_MAX_BYTES + 1];
    size_t banned_len;
    bool failing;
    int64_t pause_ms;
} kicker;

/* ---- acts, waited for ---- */

static void ended(struct act *act)
{
    (void)sem_post(act->ctx);
}

/* Whose devices connect to that EMQX. */
static const char *tenant_of(void)
{
    return kicker.hub->config.hooks_emqx_tenant;
}

static struct device_cut_row row_of(const char *device)
{
    struct device_cut_row row = {0};
    (void)snprintf(row.tenant, sizeof row.tenant, "%s", tenant_of());
    (void)snprintf(row.device, sizeof row.device, "%s", device);
    return row;
}

static struct act_origin origin_of(struct arena *arena, sem_t *done)
{
    (void)sem_init(done, 0, 0);
    return (struct act_origin){
        .arena = arena, .tenant = tenant_of(), .actor = "hub", .then = ended, .ctx = done};
}

static enum err wait_for(sem_t *done, const struct act *act)
{
    while (sem_wait(done) != 0)
        ; /* interrupted */
    (void)sem_destroy(done);
    return act->write.err;
}

static enum err change_leg(const char *leg, bool removal, struct arena *arena)
{
    sem_t done;
    struct leg_act l = {.hub = membership_id(), .removal = removal};
    (void)snprintf(l.leg, sizeof l.leg, "%s", leg);
    const struct act_origin origin = origin_of(arena, &done);
    identity_change_leg(kicker.hub->identity, &origin, &l);
    return wait_for(&done, &l.act);
}

static enum err confirm(const struct device_cut_row *cut, unsigned sessions, struct arena *arena)
{
    sem_t done;
    char detail[REASON_MAX_BYTES + 1];
    struct cut_confirm_act c = {.seen_len = 1};
    struct cut_seen seen = {.device = cut->device, .position = cut->entry + 1, .detail = detail};
    (void)snprintf(detail, sizeof detail, "sessions ended: %u, none left", sessions);
    (void)snprintf(c.leg, sizeof c.leg, "%s", kicker.leg);
    c.seen = &seen;
    const struct act_origin origin = origin_of(arena, &done);
    identity_cut_confirm(kicker.hub->identity, &origin, kicker.reader, &c);
    return wait_for(&done, &c.act);
}

/* ---- one device ---- */

static void remember(const char *device)
{
    for (size_t i = 0; i < kicker.banned_len; i++) {
        if (strcmp(kicker.banned[i], device) == 0)
            return;
    }
    if (kicker.banned_len < BANNED_MAX) /* what is not remembered ends by itself */
        (void)snprintf(kicker.banned[kicker.banned_len++], sizeof kicker.banned[0], "%s", device);
}

static void tell(enum err err, const char *explain)
{
    if (err == ERR_NONE && kicker.failing)
        log_event(LOG_LEVEL_NOTICE, "emqx.reached", F_TEXT("leg", kicker.leg));
    if (err != ERR_NONE && !kicker.failing)
        log_event(LOG_LEVEL_WARNING, "emqx.failed", F_TEXT("leg", kicker.leg), F_ERR(err),
                  F_TEXT("detail", explain));
    if (err != ERR_NONE)
        metric_add(kicker.failures, err_text(err), 1);
    kicker.failing = err != ERR_NONE;
}

static enum err cut_one(const struct device_cut_row *cut, struct arena *arena)
{
    char explain[256] = "";
    unsigned sessions = 0;
    enum err err = emqx_ban(kicker.emqx, cut->device, clock_seconds() + BAN_SECONDS, explain);
    if (err == ERR_NONE) {
        remember(cut->device);
        err = emqx_end_sessions(kicker.emqx, cut->device, &sessions, explain);
    }
    if (err == ERR_NONE)
        err = confirm(cut, sessions, arena);
    tell(err, explain);
    if (err != ERR_NONE)
        return err;
    metric_add(kicker.sessions, "", sessions);
    log_event(LOG_LEVEL_NOTICE, "emqx.cut", F_TEXT("device", cut->device),
              F_INTEGER("sessions", sessions));
    return ERR_NONE;
}

/* Whoever was released meanwhile may come back. */
static enum err take_back(struct arena *arena)
{
    for (size_t i = 0; i < kicker.banned_len;) {
        char explain[256] = "";
        struct device_cut_row row = row_of(kicker.banned[i]);
        enum err err = store_get(kicker.reader, &table_device_cut, arena, &row);
        if (err == ERR_NONE) {
            i++;
            continue;
        }
        if (err == ERR_NOT_FOUND) {
            err = emqx_unban(kicker.emqx, row.device, explain);
            tell(err, explain);
        }
        if (err != ERR_NONE)
            return err;
        memmove(kicker.banned[i], kicker.banned[kicker.banned_len - 1], sizeof kicker.banned[0]);
        kicker.banned_len--;
    }
    return ERR_NONE;
}

/* ---- all that are open ---- */

struct found {
    struct device_cut_row cuts[TURN_DEVICES];
    size_t n;
};

static enum err take_cut(void *ctx, const void *row)
{
    struct found *found = ctx;
    found->cuts[found->n++] = *(const struct device_cut_row *)row;
    return ERR_NONE;
}

static enum err is_open(const struct device_cut_row *cut, const struct cut_legs *legs,
                        struct arena *arena, bool *ret_open)
{
    struct cut_leg_state *states;
    size_t n;
    enum err err = identity_cut_read(kicker.reader, arena, legs, cut, &states, &n);
    *ret_open = false;
    for (size_t i = 0; err == ERR_NONE && i < n; i++)
        *ret_open = *ret_open || (strcmp(states[i].name, kicker.leg) == 0 && !states[i].confirmed);
    return err;
}

static enum err cut_some(const char *after, struct arena *arena, struct found *found)
{
    struct cut_legs legs;
    const struct device_cut_row position = row_of(after);
    const struct store_filter filters[] = {{.column = "tenant", .text = slice_of_text(tenant_of())},
                                           {.column = "complete", .integer = 0}};
    const struct store_query query = {.table = &table_device_cut,
                                      .filters = filters,
                                      .filters_len = ARRAY_LEN(filters),
                                      .after = &position,
                                      .limit = TURN_DEVICES};
    found->n = 0;
    enum err err = store_list(kicker.reader, &query, arena, take_cut, found);
    if (err == ERR_NONE && found->n > 0)
        err = identity_cut_legs(kicker.reader, tenant_of(), arena, &legs);
    for (size_t i = 0; err == ERR_NONE && i < found->n; i++) {
        bool open;
        err = is_open(&found->cuts[i], &legs, arena, &open);
        if (err == ERR_NONE && open)
            err = cut_one(&found->cuts[i], arena);
    }
    return err;
}

static bool is_ending(int64_t wait_ms)
{
    struct pollfd fd = {.fd = kicker.wake_fd, .events = POLLIN};
    return poll(&fd, 1, (int)wait_ms) > 0;
}

static enum err turn(void)
{
    char after[NAME_MAX_BYTES + 1] = "";
    enum err err = ERR_NONE;
    bool more = true;
    while (err == ERR_NONE && more && !is_ending(0)) {
        struct arena *arena = arena_new(TURN_ARENA);
        struct found *found = arena == NULL ? NULL : arena_alloc(arena, sizeof *found);
        err = found == NULL ? ERR_NO_MEMORY : cut_some(after, arena, found);
        more = err == ERR_NONE && found->n == TURN_DEVICES;
        if (more)
            (void)snprintf(after, sizeof after, "%s", found->cuts[TURN_DEVICES - 1].device);
        if (err == ERR_NONE && !more)
            err = take_back(arena);
        arena_free(arena);
    }
    return err;
}

static void *run(void *nothing)
{
    uint64_t seen = UINT64_MAX;
    int64_t next_ms = 0;
    while (!is_ending(LOOK_MS)) {
        uint64_t size = ledger_head(kicker.hub->ledger).size;
        int64_t now = clock_monotonic_ms();
        bool news = size != seen && kicker.pause_ms == 0;
        if (!news && now < next_ms)
            continue;
        seen = size;
        enum err err = turn();
        kicker.pause_ms = err == ERR_NONE                      ? 0
                          : kicker.pause_ms == 0               ? RETRY_MIN_MS
                          : kicker.pause_ms < RETRY_MAX_MS / 2 ? 2 * kicker.pause_ms
                                                               : RETRY_MAX_MS;
        next_ms = clock_monotonic_ms() + (err == ERR_NONE ? AGAIN_MS : kicker.pause_ms);
    }
    return nothing;
}

/* ---- life ---- */

enum err kicker_open(struct hub *hub, char explain[256])
{
    const struct hub_config *config = &hub->config;
    kicker.hub = hub;
    if (config->hooks_emqx_url[0] == '\0')
        return ERR_NONE;
    kicker.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (kicker.wake_fd < 0)
        return ERR_IO;
    const struct emqx_options options = {.url = config->hooks_emqx_url,
                                         .key_path = config->hooks_emqx_key_file,
                                         .roots = config->hooks_emqx_roots,
                                         .cancel_fd = kicker.wake_fd};
    enum err err = emqx_new(&options, &kicker.emqx, explain);
    if (err == ERR_NONE)
        (void)snprintf(kicker.leg, sizeof kicker.leg, "emqx/%s", emqx_host(kicker.emqx));
    kicker.sessions = metric_counter("holdfast_emqx_sessions_ended_total",
                                     "Sessions that were ended at EMQX for a cut", NULL);
    kicker.failures = metric_counter("holdfast_emqx_failures_total",
                                     "Tries at EMQX's management that came to nothing", "error");
    return err;
}

struct stale {
    char legs[16][CUT_LEG_OF_HUB_MAX + 1];
    size_t n;
};

static enum err take_stale(void *ctx, const char *leg, int64_t hub, const char *tenant,
                           int64_t since)
{
    (void)since;
    (void)tenant;
    struct stale *stale = ctx;
    if (hub == membership_id() && strcmp(leg, kicker.leg) != 0 && stale->n < ARRAY_LEN(stale->legs))
        (void)snprintf(stale->legs[stale->n++], sizeof stale->legs[0], "%s", leg);
    return ERR_NONE;
}

/* What the configuration does not name any more is waited for no longer. */
static enum err settle_legs(struct arena *arena)
{
    struct stale stale = {.n = 0};
    enum err err = identity_legs_of_hubs(kicker.reader, arena, take_stale, &stale);
    for (size_t i = 0; err == ERR_NONE && i < stale.n; i++)
        err = change_leg(stale.legs[i], true, arena);
    if (err == ERR_NONE && kicker.emqx != NULL)
        err = change_leg(kicker.leg, false, arena);
    return err;
}

enum err kicker_start(struct hub *hub)
{
    sigset_t all, before;
    enum err err = store_reader_new(hub->store, &kicker.reader);
    struct arena *arena = err != ERR_NONE ? NULL : arena_new(TURN_ARENA);
    if (err == ERR_NONE)
        err = arena == NULL ? ERR_NO_MEMORY : settle_legs(arena);
    arena_free(arena);
    if (err != ERR_NONE || kicker.emqx == NULL)
        return err;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    kicker.started = pthread_create(&kicker.thread, NULL, run, NULL) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return kicker.started ? ERR_NONE : ERR_NO_MEMORY;
}

void kicker_stop(void)
{
    uint64_t one = 1;
    if (kicker.started && write(kicker.wake_fd, &one, sizeof one) == (ssize_t)sizeof one)
        (void)pthread_join(kicker.thread, NULL);
    store_reader_free(kicker.reader);
    emqx_free(kicker.emqx);
}
