#include "hub/store/sqlite_wal.h"

#include <signal.h>
#include <stdlib.h>

/* In pages of 4 KiB. A log that is overwritten in place is synced faster than one that grows, so it
 * need not be short; readers look things up in it, so it must not be long. */
#define MOVE_FRAMES    1024  /* move this much at a time */
#define RESTART_FRAMES 4096  /* then the log starts over, when little is left to be moved */
#define LONG_FRAMES    16384 /* then it starts over, however much that is */

/* While the log is made to start over the writer stands still: wait this long for readers that
 * still look into it, then try again later. */
#define RESTART_BUSY_MS 20

enum err sqlite_wal_init(struct sqlite_wal *c, const char *path)
{
    *c = (struct sqlite_wal){.restart_at = RESTART_FRAMES};
    enum err err = sqlite_connection_open(&c->connection, path, SQLITE_ROLE_CHECKPOINTER);
    if (err != ERR_NONE)
        return err;
    if (pthread_mutex_init(&c->lock, NULL) != 0 || pthread_cond_init(&c->changed, NULL) != 0)
        abort(); /* these can't fail on Linux */
    (void)sqlite3_busy_timeout(c->connection.db, RESTART_BUSY_MS);
    return ERR_NONE;
}

void sqlite_wal_free(struct sqlite_wal *c)
{
    if (c->connection.db == NULL)
        return;
    sqlite_connection_close(&c->connection);
    (void)pthread_cond_destroy(&c->changed);
    (void)pthread_mutex_destroy(&c->lock);
}

/* By what has come since the last try, not by what is left: a reader may keep the rest in place. */
static bool is_due(const struct sqlite_wal *c)
{
    return c->frames - c->tried >= MOVE_FRAMES;
}

/* Moves what can be moved. `lock` is held outside of the work itself. */
static void move(struct sqlite_wal *c, int mode)
{
    c->tried = c->frames;
    pthread_mutex_unlock(&c->lock);
    /* A failure (a full disk, say) shows in the log's size; the next try may do better. */
    (void)sqlite3_wal_checkpoint_v2(c->connection.db, NULL, mode, NULL, NULL);
    pthread_mutex_lock(&c->lock);
}

/* Under load a checkpoint never catches up: the writer has to stand still for the rest of it. */
static void restart(struct sqlite_wal *c)
{
    c->pausing = true;
    while (c->in_batch)
        pthread_cond_wait(&c->changed, &c->lock);
    move(c, SQLITE_CHECKPOINT_RESTART);
    c->pausing = false;
    pthread_cond_broadcast(&c->changed);
    /* Where it worked, the next commit tells a small number; where a reader was in the way, that
     * reader may stay for long. */
    c->restart_at = c->frames + RESTART_FRAMES;
}

static void *thread_main(void *arg)
{
    struct sqlite_wal *c = arg;
    pthread_setname_np(pthread_self(), "checkpointer");
    pthread_mutex_lock(&c->lock);
    for (;;) {
        while (!c->stopping && !is_due(c))
            pthread_cond_wait(&c->changed, &c->lock);
        if (c->stopping)
            break;
        move(c, SQLITE_CHECKPOINT_PASSIVE);
        if (c->frames >= c->restart_at && (!is_due(c) || c->frames >= LONG_FRAMES))
            restart(c);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

enum err sqlite_wal_start(struct sqlite_wal *c)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&c->thread, NULL, thread_main, c);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed != 0)
        return ERR_NO_MEMORY;
    c->started = true;
    return ERR_NONE;
}

void sqlite_wal_stop(struct sqlite_wal *c)
{
    if (!c->started)
        return;
    pthread_mutex_lock(&c->lock);
    c->stopping = true;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    pthread_join(c->thread, NULL);
    c->started = false;
}

void sqlite_wal_enter(struct sqlite_wal *c)
{
    pthread_mutex_lock(&c->lock);
    while (c->pausing)
        pthread_cond_wait(&c->changed, &c->lock);
    c->in_batch = true;
    pthread_mutex_unlock(&c->lock);
}

void sqlite_wal_leave(struct sqlite_wal *c)
{
    pthread_mutex_lock(&c->lock);
    c->in_batch = false;
    if (c->pausing || is_due(c))
        pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

void sqlite_wal_note(struct sqlite_wal *c, int frames)
{
    pthread_mutex_lock(&c->lock);
    if (frames < c->frames) { /* it has started over */
        c->tried = 0;
        c->restart_at = RESTART_FRAMES;
    }
    c->frames = frames;
    pthread_mutex_unlock(&c->lock);
}
