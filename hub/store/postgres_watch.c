#include "hub/store/postgres_watch.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"

#define BEAT_MS    200  /* between two beats */
#define ANSWER_MS  1000 /* for one of them */
#define CONNECT_MS 300  /* for a look at whether it has connected; bounds how long a stop takes */

/* "xmin:xmax:list of those under way" (PostgreSQL's manual, section 9.26, on snapshots): any
 * transaction that ends changes it. */
#define ENDED_SQL "SELECT pg_current_snapshot()::text"

enum err pg_watch_init(struct pg_watch *w, const char *url)
{
    *w = (struct pg_watch){.c.url = url, .c.losses = &w->losses};
    w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->wake_fd < 0)
        return ERR_IO;
    atomic_init(&w->seen_ms, INT64_MIN / 2);
    if (pthread_mutex_init(&w->lock, NULL) != 0)
        abort(); /* can't fail on Linux */
    pg_mender_init(&w->mender, url, w->wake_fd, &w->losses);
    return ERR_NONE;
}

void pg_watch_destroy(struct pg_watch *w)
{
    pg_mender_destroy(&w->mender);
    (void)pthread_mutex_destroy(&w->lock);
    (void)close(w->wake_fd);
}

bool pg_watch_is_away(struct pg_watch *w, char explain[256])
{
    int64_t seen_ms = atomic_load(&w->seen_ms);
    if (!atomic_load(&w->started) ||
        clock_monotonic_ms() - (seen_ms > w->started_ms ? seen_ms : w->started_ms) < PG_AWAY_MS)
        return false;
    if (explain != NULL) {
        pthread_mutex_lock(&w->lock);
        explain_set(explain, "%s", w->reason);
        pthread_mutex_unlock(&w->lock);
    }
    return true;
}

static void tell(struct pg_watch *w)
{
    if (w->changed != NULL)
        w->changed(w->ctx);
}

/* ---- the heart ---- */

static enum err listen_anew(struct pg_watch *w)
{
    w->listening = false;
    enum err err = pg_connect(&w->c, clock_monotonic_ms() + CONNECT_MS);
    if (err == ERR_NONE)
        err = pg_exec(&w->c, "LISTEN holdfast", ANSWER_MS);
    if (err != ERR_NONE)
        return err;
    w->ended[0] = '\0'; /* what went by meanwhile was not heard */
    w->listening = true;
    if (atomic_load(&w->seen_ms) > 0)
        pg_mender_renew_all(&w->mender); /* what cut this connection has cut others, too */
    return ERR_NONE;
}

static bool has_news(struct pg_watch *w, const PGresult *result)
{
    char now[sizeof w->ended] = "";
    size_t len = (size_t)PQgetlength(result, 0, 0);
    if (len < sizeof now) /* a longer one is news each time */
        memcpy(now, PQgetvalue(result, 0, 0), len);
    bool same = now[0] != '\0' && strcmp(now, w->ended) == 0;
    memcpy(w->ended, now, sizeof now);
    return !same;
}

static enum err beat(struct pg_watch *w)
{
    enum err err = w->listening ? ERR_NONE : listen_anew(w);
    if (err != ERR_NONE)
        return err;
    PGresult *result = NULL;
    int64_t asked_ms = clock_monotonic_ms();
    err = pg_ask(&w->c, ENDED_SQL, ANSWER_MS, &result);
    if (err == ERR_NONE && PQntuples(result) != 1)
        err = ERR_IO;
    if (err == ERR_NONE && has_news(w, result))
        tell(w);
    if (err == ERR_NONE)
        atomic_store(&w->seen_ms, asked_ms);
    PQclear(result);
    return err;
}

/* ---- the ear ---- */

static bool hear(struct pg_watch *w)
{
    bool others = false;
    PGnotify *n;
    while ((n = PQnotifies(w->c.conn)) != NULL) {
        others = others || n->be_pid != atomic_load(&w->writer_pid);
        PQfreemem(n);
    }
    return others;
}

/* Listens until the next beat is due, or somebody waits for one. False: it is to stop. */
static bool rest(struct pg_watch *w)
{
    int64_t until = clock_monotonic_ms() + BEAT_MS;
    for (;;) {
        if (w->listening && hear(w))
            tell(w);
        int64_t left = until - clock_monotonic_ms();
        struct pollfd fds[] = {{.fd = w->wake_fd, .events = POLLIN},
                               {.fd = w->listening ? PQsocket(w->c.conn) : -1, .events = POLLIN}};
        int ready = poll(fds, ARRAY_LEN(fds), left < 0 ? 0 : (int)left);
        uint64_t wakes;
        if (ready > 0 && fds[0].revents != 0 &&
            read(w->wake_fd, &wakes, sizeof wakes) == (ssize_t)sizeof wakes)
            return !atomic_load(&w->stopping);
        if (ready <= 0 && left <= 0)
            return true;
        /* Cut: the next beat connects anew, at once. */
        if (ready > 0 && fds[1].revents != 0 && PQconsumeInput(w->c.conn) != 1)
            return true;
    }
}

/* A beat failed. */
static void deafen(struct pg_watch *w)
{
    w->listening = false;
    if (w->c.connected)
        pg_disconnect(&w->c);
    pthread_mutex_lock(&w->lock);
    memcpy(w->reason, w->c.message, sizeof w->reason);
    pthread_mutex_unlock(&w->lock);
}

static void *thread_main(void *arg)
{
    struct pg_watch *w = arg;
    pthread_setname_np(pthread_self(), "store-watch");
    do {
        bool cut = w->listening;
        enum err err = beat(w);
        if (err != ERR_NONE && cut) {
            deafen(w);
            err = beat(w); /* a server that only cut us off takes us back at once */
        }
        if (err == ERR_NONE)
            pg_mender_turn(&w->mender);
        else
            deafen(w);
    } while (rest(w));
    pg_disconnect(&w->c);
    return NULL;
}

enum err pg_watch_start(struct pg_watch *w)
{
    w->started_ms = clock_monotonic_ms();
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&w->thread, NULL, thread_main, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed != 0)
        return ERR_NO_MEMORY;
    atomic_store(&w->started, true);
    return ERR_NONE;
}

void pg_watch_stop(struct pg_watch *w)
{
    if (!atomic_load(&w->started))
        return;
    atomic_store(&w->stopping, true);
    uint64_t one = 1;
    while (write(w->wake_fd, &one, sizeof one) != (ssize_t)sizeof one)
        ; /* interrupted */
    pthread_join(w->thread, NULL);
    atomic_store(&w->started, false);
}
