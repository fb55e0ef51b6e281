#include "hub/signer/rules_state.h"

#include <string.h>

#define MAGIC SLICE_LITERAL("HFRULST1")

enum err rules_state_open(const char *path, struct rules_state *ret_state)
{
    struct rules_state s = {.free_ms = 0};
    enum err err = slots_open(path, MAGIC, &s.signed_last);
    if (err == ERR_NONE)
        *ret_state = s;
    return err;
}

void rules_state_close(struct rules_state *s)
{
    slots_close(&s->signed_last);
}

enum err rules_state_advance(struct rules_state *s, uint64_t version, const struct hash *body,
                             int64_t now_ms)
{
    const struct slots *last = &s->signed_last;
    if (version == 0 || (last->held && version < last->number))
        return ERR_REFUSED;
    if (last->held && version == last->number)
        return memcmp(&last->hash, body, sizeof *body) == 0 ? ERR_NONE : ERR_REFUSED;
    int64_t free_ms = s->free_ms > now_ms ? s->free_ms : now_ms;
    if (free_ms - now_ms > (int64_t)(RULES_BURST - 1) * RULES_PAUSE_MS)
        return ERR_BUSY;
    enum err err = slots_write(&s->signed_last, version, body);
    if (err == ERR_NONE)
        s->free_ms = free_ms + RULES_PAUSE_MS;
    return err;
}
