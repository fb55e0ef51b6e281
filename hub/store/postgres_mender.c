#include "hub/store/postgres_mender.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"

#define CONNECT_MS 1000 /* for one connection, to a server that has just answered */

void pg_mender_init(struct pg_mender *m, const char *url, int wake_fd,
                    atomic_uint_least64_t *losses)
{
    *m = (struct pg_mender){.url = url, .wake_fd = wake_fd, .losses = losses};
    if (pthread_mutex_init(&m->lock, NULL) != 0)
        abort(); /* can't fail on Linux */
}

void pg_mender_destroy(struct pg_mender *m)
{
    (void)pthread_mutex_destroy(&m->lock);
}

static void connection_free(struct pg_connection *c)
{
    if (c == NULL)
        return;
    pg_disconnect(c);
    free(c);
}

static enum err connection_new(const struct pg_mender *m, int64_t until,
                               struct pg_connection **ret_connection)
{
    struct pg_connection *c = calloc(1, sizeof *c);
    if (c == NULL)
        return ERR_NO_MEMORY;
    c->url = m->url;
    c->losses = m->losses;
    enum err err = pg_connect(c, until);
    if (err == ERR_NONE)
        *ret_connection = c;
    else
        connection_free(c);
    return err;
}

/* ---- a reader's place ---- */

enum err pg_slot_open(struct pg_mender *m, struct pg_slot *slot, int64_t until)
{
    *slot = (struct pg_slot){.c = NULL};
    enum err err = connection_new(m, until, &slot->c);
    if (err != ERR_NONE)
        return err;
    pthread_mutex_lock(&m->lock);
    slot->next = m->slots;
    m->slots = slot;
    pthread_mutex_unlock(&m->lock);
    return ERR_NONE;
}

void pg_slot_close(struct pg_mender *m, struct pg_slot *slot)
{
    pthread_mutex_lock(&m->lock);
    struct pg_slot **at = &m->slots;
    while (*at != NULL && *at != slot)
        at = &(*at)->next;
    if (*at == slot)
        *at = slot->next;
    pthread_mutex_unlock(&m->lock);
    connection_free(slot->c);
    connection_free(atomic_exchange(&slot->fresh, NULL));
    slot->c = NULL;
}

static void want(struct pg_mender *m, struct pg_slot *slot)
{
    if (atomic_exchange(&slot->wanted, true))
        return;
    uint64_t one = 1;
    while (write(m->wake_fd, &one, sizeof one) != (ssize_t)sizeof one)
        ; /* interrupted */
}

struct pg_connection *pg_slot_take(struct pg_mender *m, struct pg_slot *slot)
{
    struct pg_connection *fresh = atomic_exchange(&slot->fresh, NULL);
    if (fresh != NULL) {
        connection_free(slot->c);
        slot->c = fresh;
    }
    if (slot->c != NULL && !slot->c->connected) {
        connection_free(slot->c);
        slot->c = NULL;
    }
    if (slot->c == NULL)
        want(m, slot);
    return slot->c;
}

/* ---- mending ---- */

void pg_mender_renew_all(struct pg_mender *m)
{
    pthread_mutex_lock(&m->lock);
    for (struct pg_slot *slot = m->slots; slot != NULL; slot = slot->next)
        atomic_store(&slot->wanted, true);
    pthread_mutex_unlock(&m->lock);
}

static bool is_wanted(struct pg_mender *m)
{
    bool wanted = false;
    pthread_mutex_lock(&m->lock);
    for (const struct pg_slot *slot = m->slots; slot != NULL && !wanted; slot = slot->next)
        wanted = atomic_load(&slot->wanted);
    pthread_mutex_unlock(&m->lock);
    return wanted;
}

/* To the first that wants it. Gives back what nobody will use. */
static struct pg_connection *hand_over(struct pg_mender *m, struct pg_connection *c)
{
    pthread_mutex_lock(&m->lock);
    for (struct pg_slot *slot = m->slots; slot != NULL; slot = slot->next) {
        if (!atomic_load(&slot->wanted))
            continue;
        /* first the connection: who then sees that nothing is wanted finds it */
        c = atomic_exchange(&slot->fresh, c);
        atomic_store(&slot->wanted, false);
        break;
    }
    pthread_mutex_unlock(&m->lock);
    return c;
}

void pg_mender_turn(struct pg_mender *m)
{
    int64_t until = clock_monotonic_ms() + PG_MEND_MS;
    while (is_wanted(m) && clock_monotonic_ms() < until) {
        struct pg_connection *c = NULL;
        if (connection_new(m, clock_monotonic_ms() + CONNECT_MS, &c) != ERR_NONE)
            return; /* the next turn tries again */
        connection_free(hand_over(m, c));
    }
}
