/* Questions for changes, from when they come until they are answered. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "hub/brokers/internal.h"

static void run_look(struct loop_task *task)
{
    feed_look(CONTAINER_OF(task, struct broker_ask, task));
}

/* All that wait are asked again; those for which there is still nothing wait on. */
static void wake(struct broker_feed *feed)
{
    struct broker_ask *ask = feed->waiting, *next;
    feed->waiting = NULL;
    feed->waiting_len = 0;
    for (; ask != NULL; ask = next) {
        next = ask->next;
        feed_look(ask);
    }
}

static void on_commit(void *ctx)
{
    struct broker_feed *feed = ctx;
    if (feed->waiting != NULL)
        wake(feed);
}

static void run_drain(struct loop_task *task)
{
    wake(CONTAINER_OF(task, struct broker_feed, drain_task));
}

void brokers_drain(struct brokers *brokers)
{
    atomic_store(&brokers->draining, true);
    for (struct broker_feed *feed = brokers->feeds; feed != NULL; feed = feed->next)
        loop_post(feed->loop, &feed->drain_task);
}

/* Takes those out for which end() is true, and answers them with what there is: nothing. */
static void end_waits(struct broker_feed *feed,
                      bool (*end)(const struct broker_ask *ask, const void *ctx), const void *ctx)
{
    struct broker_ask **at = &feed->waiting;
    while (*at != NULL) {
        struct broker_ask *ask = *at;
        if (!end(ask, ctx)) {
            at = &ask->next;
            continue;
        }
        *at = ask->next;
        feed->waiting_len--;
        feed_end(ask, ERR_NONE);
    }
}

static bool is_over(const struct broker_ask *ask, const void *now_ms)
{
    return ask->until_ms <= *(const int64_t *)now_ms;
}

void broker_feed_turn(struct broker_feed *feed)
{
    int64_t now_ms = clock_monotonic_ms();
    end_waits(feed, is_over, &now_ms);
}

static bool is_same_broker(const struct broker_ask *ask, const void *other)
{
    const struct broker_ask *newer = other;
    return strcmp(ask->broker, newer->broker) == 0 && strcmp(ask->tenant, newer->tenant) == 0;
}

/* A position that this hub does not know of may be one that another hub has told. */
static enum err check_position(struct broker_ask *ask)
{
    struct broker_feed *feed = ask->feed;
    struct ledger *ledger = feed->brokers->ledger;
    if (ask->after <= ledger_head(ledger).size)
        return ERR_NONE;
    arena_reset(feed->scratch);
    enum err err = ledger_follow(ledger, feed->reader, feed->scratch);
    if (err != ERR_NONE && err != ERR_CONFLICT)
        return err;
    if (err == ERR_NONE && ask->after <= ledger_head(ledger).size)
        return ERR_NONE;
    return problem_set(&ask->problem, 409, "position-unknown", "after",
                       "the ledger has no such entry: it may have been set back; take the whole "
                       "table");
}

void broker_changes(struct broker_feed *feed, struct broker_ask *ask)
{
    ask->feed = feed;
    ask->task.run = run_look;
    ask->at = ask->after;
    ask->until_ms = clock_monotonic_ms() + ask->wait * 1000;
    /* Its connection was lost, or it would not ask again: nobody reads that answer any more. */
    end_waits(feed, is_same_broker, ask);
    enum err err = check_position(ask);
    if (err == ERR_NONE && feed->waiting_len >= FEED_WAITING_MAX)
        err = problem_set(&ask->problem, 503, "brokers-waiting", "",
                          "more brokers wait on this hub than it has room for; try another hub");
    if (err != ERR_NONE)
        feed_end(ask, err);
    else
        feed_look(ask);
}

enum err broker_feed_new(struct brokers *brokers, struct loop *loop, struct store_reader *reader,
                         struct broker_feed **ret_feed)
{
    struct broker_feed *feed = calloc(1, sizeof *feed);
    if (feed == NULL)
        return ERR_NO_MEMORY;
    feed->scratch = arena_new(FEED_ARENA_MAX);
    if (feed->scratch == NULL) {
        free(feed);
        return ERR_NO_MEMORY;
    }
    feed->brokers = brokers;
    feed->loop = loop;
    feed->reader = reader;
    feed->drain_task.run = run_drain;
    feed->next = brokers->feeds;
    brokers->feeds = feed;
    ledger_on_commit(brokers->ledger, loop, on_commit, feed);
    *ret_feed = feed;
    return ERR_NONE;
}

void broker_feed_free(struct broker_feed *feed)
{
    if (feed == NULL)
        return;
    arena_free(feed->scratch);
    free(feed);
}
