/* What the files of brokers/ share. */
#ifndef HUB_BROKERS_INTERNAL_H
#define HUB_BROKERS_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "hub/brokers/brokers.h"

#define FEED_CHANGES     512  /* devices in one answer to a question for changes */
#define FEED_NAME_SLOTS  1024 /* power of two, at most half full */
#define FEED_ENTRIES     1000 /* of the ledger that are read in one turn of the loop */
#define FEED_TABLE_CHUNK 128  /* devices that are read in one turn */
#define FEED_CUTS        256  /* open cuts that are looked for ahead of their turn */
#define FEED_WAITING_MAX 256  /* questions that wait on one loop */
/* One entry, or one device's row with its report, at a time; and what is gathered of a turn. */
#define FEED_ARENA_MAX ((size_t)1 << 20)

#define BROKERS_SEEN_MAX 256 /* brokers that one hub keeps in view */

struct broker_sight {
    struct broker_seen_row row; /* seen_at 0: it has not told of itself yet */
    int64_t stale;              /* seconds */
    int64_t contact_ms;         /* monotonic */
    bool changed;               /* since it was written */
};

struct brokers {
    struct store *store;
    struct ledger *ledger;
    struct identity *identity;
    struct broker_feed *feeds; /* of all loops; made before they run */
    atomic_bool draining;
    pthread_mutex_t lock; /* over the next two */
    struct broker_sight seen[BROKERS_SEEN_MAX];
    size_t seen_len;
};

struct broker_feed {
    struct brokers *brokers;
    struct loop *loop;
    struct store_reader *reader;
    struct arena *scratch;
    struct broker_ask *waiting; /* oldest first */
    size_t waiting_len;
    struct loop_task drain_task;
    struct broker_feed *next;
};

/* Of a device's row, what a record is made of. */
struct feed_device {
    char id[NAME_MAX_BYTES + 1], model[NAME_MAX_BYTES + 1], group[NAME_MAX_BYTES + 1];
    int64_t state;
    char certificates[2][SERIAL_TEXT_SIZE]; /* the one in use, the newest; may be empty, or equal */
};
void feed_device_of(const struct device_row *row, struct feed_device *ret_device);

/* Appends its record to the ask's. `password` may be NULL. */
MUST_USE enum err feed_add(struct broker_feed *feed, struct broker_ask *ask,
                           const struct feed_device *device,
                           const struct device_password_row *password);
/* The row of its password: ERR_NOT_FOUND. The salt lies in `arena`. */
MUST_USE enum err feed_password(struct broker_feed *feed, const char *tenant, const char *device,
                                struct arena *arena, struct device_password_row *ret_password);
/* Room for that many records. */
MUST_USE enum err feed_begin(struct broker_ask *ask, size_t records);
/* Ends the ask: with the page, or the error. */
void feed_end(struct broker_ask *ask, enum err err);
/* Whether the act of that name can change what a broker is told of the device it names. */
bool feed_act_matters(struct slice act);
/* Looks on for changes, in turns of the loop: answers, or waits. */
void feed_look(struct broker_ask *ask);

#endif
