#include "hub/revocation/crl.h"

#include <event2/event.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "hub/revocation/crl_internal.h"

#define LOOK_MS  1000  /* between two looks at the table */
#define RETRY_MS 10000 /* after a failure */
#define REST_FACTOR                                                                                \
    19 /* rests that many times as long as it worked: a twentieth of a processor                   \
        */
#define ARENA    4096
#define NICENESS 10 /* of its thread: whoever waits for an answer goes first */

static struct {
    struct metric *made, *failed, *entries, *bytes, *seconds, *next_update;
} counted;

static void count_from_now_on(void)
{
    if (counted.made != NULL)
        return;
    counted.made = metric_counter("holdfast_crl_made_total", "Revocation lists made", "kind");
    counted.failed =
        metric_counter("holdfast_crl_failed_total", "Runs that made none of theirs", "kind");
    counted.entries = metric_gauge("holdfast_crl_entries", "Entries of the list of all", "kind");
    counted.bytes = metric_gauge("holdfast_crl_bytes", "Size of the list of all", "kind");
    counted.seconds = metric_histogram("holdfast_crl_seconds", "Time a run took", "kind");
    counted.next_update = metric_gauge("holdfast_crl_next_update",
                                       "nextUpdate of the list of all, Unix time", "kind");
}

static const char *kind_text(bool delta)
{
    return delta ? "delta" : "complete";
}

/* ---- what is to be made ---- */

static enum err note_row(void *ctx, const void *row)
{
    *(int64_t *)ctx = ((const struct crl_entry_row *)row)->entry;
    return ERR_NONE;
}

/* The entry of the ledger that changed the table last; -1: none has. */
static enum err newest_change(struct crl_service *s, int64_t *ret_entry)
{
    const struct store_query query = {.table = &table_crl_entry, .descending = true, .limit = 1};
    int64_t entry = -1;
    struct arena *arena = arena_new(ARENA);
    if (arena == NULL)
        return ERR_NO_MEMORY;
    enum err err = store_list(s->reader, &query, arena, note_row, &entry);
    arena_free(arena);
    if (err == ERR_NONE)
        *ret_entry = entry;
    return err;
}

/* Half of a list's life is over; or a clock was set back, and its thisUpdate is to come. */
static bool is_old(int64_t made_at, int64_t lifetime)
{
    int64_t now = clock_seconds();
    return made_at == 0 || now >= made_at + lifetime / 2 || now < made_at - CRL_BACKDATE;
}

/* False where nothing is due. */
static bool find_job(struct crl_service *s, int64_t newest, struct crl_job *ret_job)
{
    if (is_old(s->refresh[0].made_at, s->lifetime)) {
        *ret_job = (struct crl_job){.all = true};
        return true;
    }
    int64_t now_ms = clock_monotonic_ms();
    if (newest >= s->covered[0] && now_ms >= s->rest_until_ms[0]) {
        *ret_job = (struct crl_job){.delta = false};
        return true;
    }
    if (s->shards == 0)
        return false;
    bool delta_old = is_old(s->deltas_made_at, s->delta_lifetime);
    if ((newest >= s->covered[1] && now_ms >= s->rest_until_ms[1]) || delta_old) {
        *ret_job = (struct crl_job){.delta = true, .all = delta_old};
        return true;
    }
    return false;
}

static void look(evutil_socket_t fd, short what, void *arg)
{
    struct crl_service *s = arg;
    struct crl_job job;
    int64_t newest;
    (void)fd;
    (void)what;
    if (s->build != NULL || atomic_load(&s->stopping) || clock_monotonic_ms() < s->retry_at_ms)
        return;
    if (newest_change(s, &newest) != ERR_NONE)
        return; /* a database that is away: what is there is served, and the next look will tell */
    if (find_job(s, newest, &job))
        crl_build_start(s, &job);
}

/* Of the lists of all; of both, where there are two authorities. */
static void tell(struct crl_service *s, const struct crl_outcome *o)
{
    const char *kind = kind_text(o->job.delta);
    uint64_t bytes = 0;
    int64_t next_update = INT64_MAX;
    for (size_t i = 0; i < s->authorities_len; i++) { /* this thread alone changes them */
        const struct crl_list *list = &s->lists[i][CRL_WHOLE][o->job.delta];
        bytes += list->size;
        if (list->facts.next_update < next_update)
            next_update = list->facts.next_update;
    }
    metric_add(counted.made, kind, (int64_t)o->lists);
    metric_set(counted.entries, kind, (int64_t)o->entries);
    metric_set(counted.bytes, kind, (int64_t)bytes);
    metric_observe_us(counted.seconds, kind, o->took_ms * 1000);
    metric_set(counted.next_update, kind, next_update);
    log_event(LOG_LEVEL_INFO, "crl.made", F_TEXT("kind", kind),
              F_INTEGER("number", (int64_t)o->number), F_INTEGER("entries", (int64_t)o->entries),
              F_INTEGER("bytes", (int64_t)bytes), F_INTEGER("lists", (int64_t)o->lists),
              F_INTEGER("ms", o->took_ms));
}

void crl_ended(struct crl_service *s, const struct crl_outcome *o)
{
    const char *kind = kind_text(o->job.delta);
    if (o->err == ERR_CLOSED)
        return; /* the hub is ending */
    if (o->err != ERR_NONE) {
        s->retry_at_ms = clock_monotonic_ms() + RETRY_MS;
        metric_add(counted.failed, kind, 1);
        log_event(LOG_LEVEL_ERROR, "crl.failed", F_TEXT("kind", kind), F_TEXT("step", o->step),
                  F_ERR(o->err));
        return;
    }
    s->covered[o->job.delta] = o->covered;
    s->rest_until_ms[o->job.delta] = clock_monotonic_ms() + REST_FACTOR * o->took_ms;
    if (o->job.delta && o->job.all)
        s->deltas_made_at = o->made_at;
    if (!o->job.delta && o->job.all) {
        s->refresh[1] = s->refresh[0];
        s->refresh[0] =
            (struct crl_refresh){.number = o->number, .covered = o->covered, .made_at = o->made_at};
        enum err err = crl_files_save(s);
        if (err != ERR_NONE)
            log_event(LOG_LEVEL_ERROR, "crl.not_noted", F_ERR(err));
    }
    if (o->lists > 0)
        tell(s, o);
}

/* ---- life ---- */

enum err crl_service_new(const struct crl_options *options, struct crl_service **ret_service,
                         char explain[256])
{
    struct crl_service *s = calloc(1, sizeof *s);
    if (s == NULL)
        return ERR_NO_MEMORY;
    count_from_now_on();
    (void)pthread_mutex_init(&s->lock, NULL);
    for (size_t i = 0; i < ARRAY_LEN(s->lists); i++)
        for (size_t j = 0; j < ARRAY_LEN(s->lists[i]); j++)
            s->lists[i][j][0].fd = s->lists[i][j][1].fd = -1;
    s->store = options->store;
    memcpy(s->authorities, options->authorities, sizeof s->authorities);
    s->authorities_len = options->authorities_len;
    s->shards = options->shards;
    s->lifetime = options->lifetime;
    s->delta_lifetime = options->delta_lifetime;
    s->folder = strdup(options->folder);
    enum err err = s->folder == NULL ? ERR_NO_MEMORY : crl_files_load(s, explain);
    if (err == ERR_NONE)
        err = loop_new("crl", &s->loop);
    if (err == ERR_NONE)
        err = store_reader_new(s->store, &s->reader);
    if (err == ERR_NONE)
        err = signer_link_new(options->signer, s->loop, &s->link);
    if (err == ERR_NONE) {
        s->timer = event_new(loop_event_base(s->loop), -1, EV_PERSIST, look, s);
        err = s->timer == NULL ? ERR_NO_MEMORY : ERR_NONE;
    }
    if (err == ERR_NONE)
        *ret_service = s;
    else
        crl_service_free(s);
    return err;
}

static void begin(evutil_socket_t fd, short what, void *arg)
{
    struct crl_service *s = arg;
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICENESS); /* of this thread alone */
    int64_t newest;
    /* A database that was set back knows nothing of what the lists go by. */
    if (newest_change(s, &newest) == ERR_NONE && newest + 1 < s->refresh[0].covered)
        memset(s->refresh, 0, sizeof s->refresh);
    look(fd, what, arg);
}

enum err crl_service_start(struct crl_service *s)
{
    const struct timeval pause = {.tv_sec = LOOK_MS / 1000, .tv_usec = LOOK_MS % 1000 * 1000L};
    if (event_add(s->timer, &pause) != 0 ||
        event_base_once(loop_event_base(s->loop), -1, EV_TIMEOUT, begin, s, NULL) != 0)
        return ERR_NO_MEMORY;
    enum err err = loop_start(s->loop);
    s->started = err == ERR_NONE;
    return err;
}

void crl_service_free(struct crl_service *s)
{
    if (s == NULL)
        return;
    atomic_store(&s->stopping, true);
    if (s->started) {
        loop_stop(s->loop);
        loop_join(s->loop);
    }
    signer_link_free(s->link); /* ends a build that waits for it */
    crl_build_free(s->build);
    if (s->timer != NULL)
        event_free(s->timer);
    store_reader_free(s->reader);
    loop_free(s->loop);
    crl_files_close(s);
    (void)pthread_mutex_destroy(&s->lock);
    free(s->folder);
    free(s);
}

/* ---- serving ---- */

unsigned crl_shards(const struct crl_service *s)
{
    return s->shards;
}

enum err crl_authority_find(const struct crl_service *s, uint32_t number,
                            enum authority *ret_authority)
{
    for (size_t i = 0; i < s->authorities_len; i++) {
        if (s->authorities[i] != number)
            continue;
        *ret_authority = (enum authority)i;
        return ERR_NONE;
    }
    return ERR_NOT_FOUND;
}

enum authority crl_authority_oldest(const struct crl_service *s)
{
    return (enum authority)(s->authorities_len - 1);
}

enum err crl_open(struct crl_service *s, enum authority authority, unsigned shard, bool delta,
                  struct crl_served *ret_served)
{
    if ((shard != CRL_WHOLE || delta) && (shard == CRL_WHOLE ? 0 : shard) >= s->shards)
        return ERR_NOT_FOUND;
    enum err err = ERR_BUSY;
    pthread_mutex_lock(&s->lock);
    const struct crl_list *list = &s->lists[authority][shard][delta];
    int fd = list->fd < 0 ? -1 : fcntl(list->fd, F_DUPFD_CLOEXEC, 0);
    if (fd >= 0) {
        *ret_served = (struct crl_served){.fd = fd, .size = list->size, .facts = list->facts};
        memcpy(ret_served->etag, list->etag, sizeof ret_served->etag);
        err = ERR_NONE;
    }
    pthread_mutex_unlock(&s->lock);
    return err;
}
