#include "broker/broker.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "broker/cutter.h"
#include "broker/keeper.h"
#include "broker/link.h"
#include "broker/reporter.h"

#define SOURCES_MAX 16384 /* addresses that password attempts are counted for */

void broker_log(struct broker *b, char level, const char *format, ...)
{
    char text[512];
    va_list values;
    va_start(values, format);
    int n = vsnprintf(text, sizeof text, format, values);
    va_end(values);
    if (n >= 0)
        b->log(b, level, text);
}

void broker_lock(struct broker *b)
{
    (void)pthread_mutex_lock(&b->lock);
}

void broker_unlock(struct broker *b)
{
    (void)pthread_mutex_unlock(&b->lock);
}

void broker_wake(struct broker *b)
{
    const uint64_t one = 1;
    (void)!write(b->wake_fd, &one, sizeof one);
}

void broker_recheck_all(struct broker *b)
{
    b->recheck_all = true;
    b->recheck_cursor = 0;
}

void broker_work(struct broker *b)
{
    (void)pthread_cond_broadcast(&b->work);
}

void broker_wait(struct broker *b, int64_t ms)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    if (!atomic_load(&b->stop))
        (void)pthread_cond_timedwait(&b->work, &b->lock, &until);
}

bool broker_sleep(struct broker *b, int64_t ms)
{
    int64_t until_ms = clock_monotonic_ms() + ms, left;
    broker_lock(b);
    while ((left = until_ms - clock_monotonic_ms()) > 0 && !atomic_load(&b->stop))
        broker_wait(b, left);
    broker_unlock(b);
    return !atomic_load(&b->stop);
}

/* The signal goes to the process, whose own thread alone takes it: ours block all (start_threads).
 */
void broker_reload(struct broker *b)
{
    (void)b;
    (void)kill(getpid(), SIGHUP);
}

static enum err make_secret(struct broker *b)
{
    uint8_t random[CONTROL_SECRET_SIZE];
    enum err err = crypto_random(random, sizeof random);
    struct writer w = writer_over(b->secret, sizeof b->secret - 1);
    writer_hex(&w, slice_of(random, sizeof random));
    mem_wipe(random, sizeof random);
    return err == ERR_NONE ? w.err : err;
}

static enum err make_parts(struct broker *b)
{
    uint32_t devices = (uint32_t)b->settings.devices_max;
    pthread_condattr_t monotonic;
    (void)pthread_mutex_init(&b->lock, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&b->work, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    contact_init(&b->contact);
    b->ending = TABLE_NONE;
    b->epoch = 1;
    b->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    b->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    enum err err = b->wake_fd < 0 || b->stop_fd < 0 ? ERR_IO : make_secret(b);
    if (err == ERR_NONE)
        err = table_new(devices, &b->table);
    if (err == ERR_NONE)
        err = sessions_new(devices, (uint32_t)b->settings.sessions_max, &b->sessions);
    if (err == ERR_NONE)
        err = traces_new(devices, BROKER_TRACES_MAX, &b->traces);
    if (err == ERR_NONE)
        err = cuts_init(&b->cuts);
    if (err == ERR_NONE)
        err = reports_init(&b->reports);
    if (err == ERR_NONE)
        err = rate_table_new(SOURCES_MAX, &b->sources);
    return err;
}

/* All signals are the broker's own thread's. */
static enum err start_threads(struct broker *b)
{
    static void *(*const run[BROKER_THREADS])(void *) = {link_run, cutter_run, waker_run,
                                                         reporter_run};
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, &before);
    int failed = 0;
    while (b->threads_len < BROKER_THREADS && failed == 0) {
        failed = pthread_create(&b->threads[b->threads_len], NULL, run[b->threads_len], b);
        if (failed == 0)
            b->threads_len++;
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed == 0 ? ERR_NONE : ERR_NO_MEMORY;
}

enum err broker_start(struct broker *b, char explain[256])
{
    explain[0] = '\0';
    enum err err = make_parts(b);
    if (err == ERR_NONE)
        err = keeper_open(b, explain);
    b->admit_from_ms = clock_monotonic_ms() + b->settings.startup_wait * 1000;
    if (err == ERR_NONE)
        err = start_threads(b);
    if (err != ERR_NONE && explain[0] == '\0')
        (void)snprintf(explain, 256, "the plugin cannot start: %s", err_text(err));
    return err;
}

void broker_stop(struct broker *b)
{
    broker_lock(b);
    atomic_store(&b->stop, true);
    broker_work(b);
    broker_unlock(b);
    broker_wake(b);
    const uint64_t one = 1;
    (void)!write(b->stop_fd, &one, sizeof one);
    for (unsigned i = 0; i < b->threads_len; i++)
        (void)pthread_join(b->threads[i], NULL);
    if (b->journal != NULL)
        keeper_flush(b, true);
    journal_close(b->journal);
    rate_table_free(b->sources);
    reports_destroy(&b->reports);
    cuts_destroy(&b->cuts);
    traces_free(b->traces);
    sessions_free(b->sessions);
    table_free(b->table);
    free(b->rules_bytes);
    free(b->flush_bytes);
    if (b->wake_fd >= 0)
        (void)close(b->wake_fd);
    if (b->stop_fd >= 0)
        (void)close(b->stop_fd);
    (void)pthread_cond_destroy(&b->work);
    (void)pthread_mutex_destroy(&b->lock);
    mem_wipe(b->secret, sizeof b->secret);
}
