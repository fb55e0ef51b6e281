/* Messages that wait to be published, in the order they came, in memory of the caller's. It is
 * bounded: what is new pushes the oldest out. One that was sent stays until it is answered, so that
 * it can be sent again over another connection. */
#ifndef DEVICE_LIB_OUTBOX_H
#define DEVICE_LIB_OUTBOX_H

#include "core/compiler.h"
#include "core/error.h"
#include "core/slice.h"
#include "device/lib/limits.h"

struct message {
    struct slice topic, payload;
    uint8_t quality; /* 0: at most once, 1: at least once (MQTT 5.0 section 4.3) */
    bool retain;
    uint32_t ticket; /* of whoever waits for what becomes of it; 0: nobody does */
};

struct outbox {
    uint8_t *bytes;
    size_t max;
    size_t start, end; /* of the records in `bytes`, one behind the other */
    uint32_t waiting;  /* messages that are not sent yet */
    uint32_t sent;     /* and those that are not answered yet */
};

struct outbox outbox_over(uint8_t *bytes, size_t max);
/* Copies it in; gives how many older ones were dropped for it. ERR_LIMIT: larger than all the room.
 */
MUST_USE enum err outbox_put(struct outbox *o, const struct message *m, uint32_t *ret_dropped);
/* The oldest one that waits, and where it is for the calls below; false: none does. Its slices are
 * valid until the next call that changes the outbox. */
bool outbox_next(const struct outbox *o, struct message *ret_message, size_t *ret_place);
/* It is on its way, as `id`. */
void outbox_sent(struct outbox *o, size_t place, uint16_t id);
/* Nothing more is to be done about it. */
void outbox_done(struct outbox *o, size_t place);
/* The one that was sent as `id`; false: none was, or it was dropped meanwhile. */
bool outbox_find(const struct outbox *o, uint16_t id, struct message *ret_message,
                 size_t *ret_place);
/* The connection is gone: what was sent and not answered waits again. */
void outbox_rewind(struct outbox *o);

#endif
