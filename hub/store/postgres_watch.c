#include "hub/store/postgres_watch.h"

#include <poll.h>
#include <signal.h>
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

void pg_watch_init(struct pg_watch *w, const char *url)
{
    *w = (struct pg_watch){.c.url = url, .stop_fd = -1};
    atomic_init(&w->seen_ms, INT64_MIN / 2);
    atomic_init(&w->writer_pid, 0);
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

/* Listens until the next beat is due. False: it is to stop. */
static bool rest(struct pg_watch *w)
{
    int64_t until = clock_monotonic_ms() + BEAT_MS;
    for (;;) {
        if (w->listening && hear(w))
            tell(w);
        int64_t left = until - clock_monotonic_ms();
        struct pollfd fds[] = {{.fd = w->stop_fd, .events = POLLIN},
                               {.fd = w->listening ? PQsocket(w->c.conn) : -1, .events = POLLIN}};
        int ready = poll(fds, ARRAY_LEN(fds), left < 0 ? 0 : (int)left);
        if (ready > 0 && fds[0].revents != 0)
            return false;
        if (ready <= 0 && left <= 0)
            return true;
        if (ready > 0 && fds[1].revents != 0 && PQconsumeInput(w->c.conn) != 1) {
            pg_disconnect(&w->c);
            w->listening = false;
        }
    }
}

static void *thread_main(void *arg)
{
    struct pg_watch *w = arg;
    pthread_setname_np(pthread_self(), "store-watch");
    do {
        if (beat(w) != ERR_NONE) {
            w->listening = false;
            if (w->c.connected)
                pg_disconnect(&w->c);
        }
    } while (rest(w));
    pg_disconnect(&w->c);
    return NULL;
}

enum err pg_watch_start(struct pg_watch *w)
{
    w->stop_fd = eventfd(0, EFD_CLOEXEC);
    if (w->stop_fd < 0)
        return ERR_IO;
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&w->thread, NULL, thread_main, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed != 0) {
        (void)close(w->stop_fd);
        return ERR_NO_MEMORY;
    }
    w->started = true;
    return ERR_NONE;
}

void pg_watch_stop(struct pg_watch *w)
{
    if (!w->started)
        return;
    w->started = false;
    uint64_t one = 1;
    while (write(w->stop_fd, &one, sizeof one) != (ssize_t)sizeof one)
        ; /* interrupted */
    pthread_join(w->thread, NULL);
    (void)close(w->stop_fd);
}
