/* What devices leave behind in a broker while they are away: the client ids whose sessions it may
 * keep, and the topics on which they have retained a message. Remembered, so that a cut finds them;
 * bounded, and what can't be remembered is not let happen. Each belongs to one device: the one that
 * used it last (topics), or first (client ids: nobody takes over another's session).
 *
 * Under the broker's lock. */
#ifndef BROKER_TRACES_H
#define BROKER_TRACES_H

#include "broker/limits.h"

enum trace_kind { TRACE_CLIENT_ID, TRACE_RETAINED, TRACE_KINDS };

struct traces;

MUST_USE enum err traces_new(uint32_t devices_max, uint32_t traces_max, struct traces **ret_traces);
void traces_free(struct traces *t); /* NULL is fine */

enum traces_verdict {
    TRACES_KNOWN,   /* it was remembered already */
    TRACES_ADDED,   /* it is from now on */
    TRACES_FOREIGN, /* another device has that client id */
    TRACES_FULL,    /* this device has as many as it may: forget one first */
    TRACES_NO_ROOM, /* or all have, or it is too long */
};
enum traces_verdict traces_remember(struct traces *t, enum trace_kind kind, uint32_t device,
                                    struct slice text);
bool traces_forget(struct traces *t, enum trace_kind kind, struct slice text);
/* TABLE_NONE where nobody has it. */
uint32_t traces_owner(const struct traces *t, enum trace_kind kind, struct slice text);

/* A device's, one after the other, the newest first: start with *cursor 0. Valid until the next
 * change. */
bool traces_next(const struct traces *t, enum trace_kind kind, uint32_t device, uint32_t *cursor,
                 struct slice *ret_text);
uint32_t traces_count(const struct traces *t, enum trace_kind kind, uint32_t device);
uint32_t traces_len(const struct traces *t);

/* What changed since the last call, for the journal: texts, and whether they are remembered or not.
 * True where more changed than could be noted: then all are to be written. */
typedef void traces_change_fn(void *context, enum trace_kind kind, uint32_t device, bool remembered,
                              struct slice text);
bool traces_take_changes(struct traces *t, traces_change_fn *fn, void *context);

#endif
