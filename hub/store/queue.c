#include "hub/store/queue.h"

#include <stdlib.h>

void write_list_append(struct write_list *list, struct write *w)
{
    w->next = NULL;
    if (list->last == NULL)
        list->first = w;
    else
        list->last->next = w;
    list->last = w;
    list->len++;
}

struct write *write_list_take(struct write_list *list)
{
    struct write *w = list->first;
    if (w == NULL)
        return NULL;
    list->first = w->next;
    if (list->first == NULL)
        list->last = NULL;
    list->len--;
    w->next = NULL;
    return w;
}

void write_queue_init(struct write_queue *q)
{
    *q = (struct write_queue){.closed = false};
    if (pthread_mutex_init(&q->lock, NULL) != 0 || pthread_cond_init(&q->filled, NULL) != 0)
        abort(); /* these can't fail on Linux */
}

void write_queue_destroy(struct write_queue *q)
{
    (void)pthread_cond_destroy(&q->filled);
    (void)pthread_mutex_destroy(&q->lock);
}

enum err write_queue_put(struct write_queue *q, struct write *w)
{
    enum err err = ERR_NONE;
    bool wake = false;
    struct write_list *lane = &q->lanes[w->kind->lane];
    pthread_mutex_lock(&q->lock);
    if (q->closed) {
        err = ERR_CLOSED;
    } else if (lane->len >= STORE_QUEUE_MAX) {
        err = ERR_BUSY;
    } else {
        write_list_append(lane, w);
        wake = q->waiting;
        q->waiting = false; /* one signal is enough */
    }
    pthread_mutex_unlock(&q->lock);
    if (wake)
        pthread_cond_signal(&q->filled);
    return err;
}

void write_queue_close(struct write_queue *q)
{
    pthread_mutex_lock(&q->lock);
    q->closed = true;
    q->waiting = false;
    pthread_mutex_unlock(&q->lock);
    pthread_cond_signal(&q->filled);
}

static void move_writes(struct write_list *to, struct write_list *from)
{
    while (from->len > 0 && to->len < STORE_BATCH_MAX)
        write_list_append(to, write_list_take(from));
}

bool write_queue_take(struct write_queue *q, bool bulk, struct write_list *ret_batch)
{
    struct write_list batch = {0};
    struct write_list *lanes = q->lanes;
    pthread_mutex_lock(&q->lock);
    for (;;) {
        /* A cut goes before a chunk, even one whose turn it is. */
        bool others =
            lanes[STORE_LANE_PRIORITY].len > 0 || (!bulk && lanes[STORE_LANE_NORMAL].len > 0);
        if (!others && lanes[STORE_LANE_BULK].len > 0) {
            write_list_append(&batch, write_list_take(&lanes[STORE_LANE_BULK]));
            break;
        }
        move_writes(&batch, &lanes[STORE_LANE_PRIORITY]);
        move_writes(&batch, &lanes[STORE_LANE_NORMAL]);
        if (batch.len > 0 || q->closed)
            break;
        q->waiting = true;
        pthread_cond_wait(&q->filled, &q->lock);
    }
    pthread_mutex_unlock(&q->lock);
    if (batch.len > 0)
        *ret_batch = batch;
    return batch.len > 0;
}

void write_queue_lengths(struct write_queue *q, uint64_t ret_lengths[STORE_LANE_COUNT])
{
    pthread_mutex_lock(&q->lock);
    for (size_t i = 0; i < STORE_LANE_COUNT; i++)
        ret_lengths[i] = q->lanes[i].len;
    pthread_mutex_unlock(&q->lock);
}
