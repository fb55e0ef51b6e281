/* The plugin as a whole: what its threads share, under one lock that nobody holds while waiting for
 * anything. The broker's own thread asks (gate.h) and ends sessions (plugin.c); the link's thread
 * learns (link.h), the cutter's makes sure (cutter.h), the reporter's tells (reporter.h). */
#ifndef BROKER_BROKER_H
#define BROKER_BROKER_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/rate.h"
#include "broker/contact.h"
#include "broker/control.h"
#include "broker/cuts.h"
#include "broker/journal.h"
#include "broker/reports.h"
#include "broker/sessions.h"
#include "broker/settings.h"
#include "broker/table.h"
#include "broker/traces.h"

#define BROKER_OWN_CLIENTS_MAX 8
#define BROKER_RECHECKS_MAX    4096
#define BROKER_TIDY_MAX        256
#define BROKER_THREADS         4 /* link, cutter, waker, reporter */

struct broker {
    struct settings settings;
    char secret[CONTROL_SECRET_SIZE * 2 + 1];
    struct journal *journal;
    char software[64]; /* "mosquitto 2.0.11" */
    /* How the plugin speaks: to the broker's log. `level` as in base/log.h's words: 'e', 'w', 'n'.
     */
    void (*log)(struct broker *b, char level, const char *text);

    pthread_mutex_t lock; /* for all that follows */
    uint32_t
        epoch; /* counts up whenever rules or a device change: what was decided before is void */
    struct table *table;
    struct rules rules; /* where has_rules */
    bool has_rules;
    int64_t
        strictest; /* least limit of staleness of those that were admitted by them; 0: none yet */
    uint8_t *rules_bytes;
    uint64_t position; /* the ledger's size that the table reflects; 0: it is not whole */
    struct contact contact;
    bool caught_up;        /* a hub has told everything once since the start */
    int64_t admit_from_ms; /* monotonic: no longer waited for that */
    struct sessions *sessions;
    struct traces *traces;
    struct cuts cuts;
    struct reports reports;
    struct rate_table *sources;              /* password attempts, by address */
    int64_t passwords_us;                    /* of all */
    const void *own[BROKER_OWN_CLIENTS_MAX]; /* the plugin's own connections */
    uint32_t rechecks[BROKER_RECHECKS_MAX];  /* devices that changed, and have sessions */
    uint32_t rechecks_len;
    bool recheck_all;
    uint32_t recheck_cursor;                              /* how far that has come */
    char tidy[BROKER_TIDY_MAX][BROKER_CLIENT_ID_MAX + 1]; /* client ids to discard */
    uint32_t tidy_len;
    uint32_t ending;    /* the device whose session is being ended just now, TABLE_NONE: none */
    uint8_t ending_cut; /* mask of enum rules_cut that this goes by */
    char trouble[256];  /* why the hub, or the own broker, can't be reached; for the status */

    /* Each thread's sign to go on: cond for cutter and reporter, with `lock`. */
    pthread_cond_t work;
    _Atomic int64_t came_by_ms; /* when the broker's thread was here last; monotonic */
    int wake_fd;                /* an eventfd: there is something for the broker's thread */
    atomic_bool stop;
    int stop_fd; /* an eventfd: readable from then on */
    pthread_t threads[BROKER_THREADS];
    unsigned threads_len; /* how many were started */

    uint8_t *flush_bytes;   /* the reporter's own, too: what goes into the journal */
    char status_text[4096]; /* the reporter's own: what the status file says */
    size_t status_len;
    int64_t status_ms;
};

void broker_log(struct broker *b, char level, const char *format, ...) PRINTF_LIKE(3, 4);
void broker_lock(struct broker *b);
void broker_unlock(struct broker *b);
/* Something for the broker's thread: without delay where it can be, at its next tick else. */
void broker_wake(struct broker *b);
/* All sessions are to be held against what is known now. Under the lock. */
void broker_recheck_all(struct broker *b);
/* Something for cutter or reporter. Under the lock. */
void broker_work(struct broker *b);
/* Waits for that, at most so long; under the lock, which is given up meanwhile. */
void broker_wait(struct broker *b, int64_t ms);
/* The same without it: false once the plugin stops. */
bool broker_sleep(struct broker *b, int64_t ms);

/* The broker reads its configuration, and with it its certificate, again. */
void broker_reload(struct broker *b);

/* Opens what is on disk, then starts the threads. Explained. */
MUST_USE enum err broker_start(struct broker *b, char explain[256]);
void broker_stop(struct broker *b);

#endif
