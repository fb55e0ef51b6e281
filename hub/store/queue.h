/* What waits to be written: a bounded queue for each lane. */
#ifndef HUB_STORE_QUEUE_H
#define HUB_STORE_QUEUE_H

#include <pthread.h>

#include "hub/store/store.h"

/* Writes in order, linked by their `next`. */
struct write_list {
    struct write *first;
    struct write *last;
    size_t len;
};
void write_list_append(struct write_list *list, struct write *w);
struct write *write_list_take(struct write_list *list); /* the first, or NULL */

struct write_queue {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    struct write_list lanes[STORE_LANE_COUNT];
    bool waiting; /* the writer is */
    bool closed;
};

void write_queue_init(struct write_queue *q);
void write_queue_destroy(struct write_queue *q);

/* ERR_BUSY where the write's lane is full, ERR_CLOSED after write_queue_close(). */
MUST_USE enum err write_queue_put(struct write_queue *q, struct write *w);
void write_queue_close(struct write_queue *q);
/* Everything that shares the next commit: up to STORE_BATCH_MAX writes, those of the priority lane
 * first; or one chunk of the bulk lane alone, where `bulk` allows it or nothing else is there.
 * Waits until there is something; false once the queue is closed and empty. */
bool write_queue_take(struct write_queue *q, bool bulk, struct write_list *ret_batch);
void write_queue_lengths(struct write_queue *q, uint64_t ret_lengths[STORE_LANE_COUNT]);

#endif
