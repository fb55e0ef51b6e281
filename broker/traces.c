#include "broker/traces.h"

#include <stdlib.h>
#include <sys/random.h>

#include "broker/table.h"

#define HEADS_BITS 10
#define HEADS_LEN  (1U << HEADS_BITS)
#define CHANGES_MAX                                                                                \
    ((size_t)1 << 20) /* bytes between two writings of the journal, a second apart */

struct trace {
    uint8_t *text; /* NULL: free */
    uint32_t device;
    uint32_t chain;        /* of its bucket, or of free ones; 1 + place */
    uint32_t older, newer; /* of the device, of its kind; 1 + place */
    uint16_t len;
    uint8_t kind;
};

struct heads {
    uint32_t newest[TRACE_KINDS]; /* 1 + place */
    uint8_t count[TRACE_KINDS];
};

struct traces {
    uint64_t seed;
    uint32_t devices_max, max, len, used, room, first_free;
    struct trace *all;
    uint32_t *buckets;
    uint32_t bucket_mask;
    struct heads **heads;
    uint8_t *changes;
    size_t changes_len;
    bool overflowed;
};

static const struct {
    uint32_t each;
    size_t len_max;
} bounds[TRACE_KINDS] = {
    [TRACE_CLIENT_ID] = {BROKER_CLIENT_IDS_MAX, BROKER_CLIENT_ID_MAX},
    [TRACE_RETAINED] = {BROKER_RETAINED_MAX, BROKER_TOPIC_MAX},
};

enum err traces_new(uint32_t devices_max, uint32_t traces_max, struct traces **ret_traces)
{
    struct traces *t = calloc(1, sizeof *t);
    if (t == NULL)
        return ERR_NO_MEMORY;
    t->devices_max = devices_max;
    t->max = traces_max;
    t->bucket_mask = 1;
    while (t->bucket_mask < traces_max / 4)
        t->bucket_mask *= 2;
    t->buckets = calloc(t->bucket_mask, sizeof *t->buckets);
    t->bucket_mask--;
    t->heads = calloc((devices_max >> HEADS_BITS) + 1, sizeof *t->heads);
    t->changes = malloc(CHANGES_MAX);
    if (t->buckets == NULL || t->heads == NULL || t->changes == NULL ||
        getrandom(&t->seed, sizeof t->seed, 0) != (ssize_t)sizeof t->seed) {
        traces_free(t);
        return ERR_NO_MEMORY;
    }
    *ret_traces = t;
    return ERR_NONE;
}

void traces_free(struct traces *t)
{
    if (t == NULL)
        return;
    for (uint32_t i = 0; i < t->used; i++)
        free(t->all[i].text);
    for (uint32_t i = 0; t->heads != NULL && i <= t->devices_max >> HEADS_BITS; i++)
        free(t->heads[i]);
    free(t->heads);
    free(t->buckets);
    free(t->all);
    free(t->changes);
    free(t);
}

/* FNV-1a, keyed: which topics there are is in devices' hands, which bucket they meet in is not. */
static uint32_t *bucket_of(const struct traces *t, enum trace_kind kind, struct slice text)
{
    uint64_t h = (UINT64_C(0xcbf29ce484222325) ^ t->seed) + (unsigned)kind;
    for (size_t i = 0; i < text.len; i++)
        h = (h ^ text.data[i]) * UINT64_C(0x100000001b3);
    h = (h ^ t->seed) * UINT64_C(0x9e3779b97f4a7c15);
    return &t->buckets[(h >> 32) & t->bucket_mask];
}

static uint32_t find(const struct traces *t, enum trace_kind kind, struct slice text)
{
    uint32_t at = *bucket_of(t, kind, text);
    while (at != 0) {
        const struct trace *x = &t->all[at - 1];
        if (x->kind == (uint8_t)kind && slice_equal(slice_of(x->text, x->len), text))
            return at;
        at = x->chain;
    }
    return 0;
}

static struct heads *heads_of(const struct traces *t, uint32_t device)
{
    struct heads *chunk = t->heads[device >> HEADS_BITS];
    return chunk == NULL ? NULL : &chunk[device & (HEADS_LEN - 1)];
}

static struct heads *heads_made(struct traces *t, uint32_t device)
{
    struct heads **chunk = &t->heads[device >> HEADS_BITS];
    if (*chunk == NULL)
        *chunk = calloc(HEADS_LEN, sizeof **chunk);
    return heads_of(t, device);
}

static void note_change(struct traces *t, enum trace_kind kind, uint32_t device, bool remembered,
                        struct slice text)
{
    struct writer w = writer_over(t->changes + t->changes_len, CHANGES_MAX - t->changes_len);
    writer_u8(&w, (uint8_t)kind);
    writer_u8(&w, remembered);
    writer_be32(&w, device);
    writer_be16(&w, (uint16_t)text.len);
    writer_put(&w, text);
    if (w.err != ERR_NONE)
        t->overflowed = true;
    else
        t->changes_len += w.len;
}

static void link_to_device(struct traces *t, uint32_t at, struct heads *h, uint32_t device)
{
    struct trace *x = &t->all[at - 1];
    x->device = device;
    x->newer = 0;
    x->older = h->newest[x->kind];
    if (x->older != 0)
        t->all[x->older - 1].newer = at;
    h->newest[x->kind] = at;
    h->count[x->kind]++;
}

static void unlink_from_device(struct traces *t, uint32_t at)
{
    struct trace *x = &t->all[at - 1];
    struct heads *h = heads_of(t, x->device);
    if (x->newer != 0)
        t->all[x->newer - 1].older = x->older;
    else
        h->newest[x->kind] = x->older;
    if (x->older != 0)
        t->all[x->older - 1].newer = x->newer;
    h->count[x->kind]--;
}

/* A free place, 1 + its number; 0 where there is none. */
static uint32_t place_new(struct traces *t)
{
    if (t->first_free != 0) {
        uint32_t at = t->first_free;
        t->first_free = t->all[at - 1].chain;
        return at;
    }
    if (t->used == t->max)
        return 0;
    if (t->used == t->room) {
        uint32_t room = t->room == 0 ? 256 : t->room * 2;
        struct trace *all = reallocarray(t->all, room, sizeof *all);
        if (all == NULL)
            return 0;
        t->all = all;
        t->room = room;
    }
    t->all[t->used] = (struct trace){0};
    return ++t->used;
}

enum traces_verdict traces_remember(struct traces *t, enum trace_kind kind, uint32_t device,
                                    struct slice text)
{
    if (device >= t->devices_max || text.len == 0 || text.len > bounds[kind].len_max)
        return TRACES_NO_ROOM;
    uint32_t at = find(t, kind, text);
    if (at != 0 && t->all[at - 1].device == device)
        return TRACES_KNOWN;
    if (at != 0 && kind == TRACE_CLIENT_ID)
        return TRACES_FOREIGN;
    struct heads *h = heads_made(t, device);
    if (h == NULL)
        return TRACES_NO_ROOM;
    if (h->count[kind] >= bounds[kind].each)
        return TRACES_FULL;
    if (at != 0) {
        unlink_from_device(t, at);
    } else {
        uint8_t *copy = malloc(text.len);
        at = copy == NULL ? 0 : place_new(t);
        if (at == 0) {
            free(copy);
            return TRACES_NO_ROOM;
        }
        memcpy(copy, text.data, text.len);
        uint32_t *bucket = bucket_of(t, kind, text);
        t->all[at - 1] = (struct trace){
            .text = copy, .len = (uint16_t)text.len, .kind = (uint8_t)kind, .chain = *bucket};
        *bucket = at;
        t->len++;
    }
    link_to_device(t, at, h, device);
    note_change(t, kind, device, true, text);
    return TRACES_ADDED;
}

bool traces_forget(struct traces *t, enum trace_kind kind, struct slice text)
{
    uint32_t at = find(t, kind, text);
    if (at == 0)
        return false;
    struct trace *x = &t->all[at - 1];
    note_change(t, kind, x->device, false, text);
    unlink_from_device(t, at);
    uint32_t *link = bucket_of(t, kind, text);
    while (*link != at)
        link = &t->all[*link - 1].chain;
    *link = x->chain;
    free(x->text);
    *x = (struct trace){.chain = t->first_free};
    t->first_free = at;
    t->len--;
    return true;
}

uint32_t traces_owner(const struct traces *t, enum trace_kind kind, struct slice text)
{
    uint32_t at = find(t, kind, text);
    return at == 0 ? TABLE_NONE : t->all[at - 1].device;
}

bool traces_next(const struct traces *t, enum trace_kind kind, uint32_t device, uint32_t *cursor,
                 struct slice *ret_text)
{
    const struct heads *h = device < t->devices_max ? heads_of(t, device) : NULL;
    uint32_t at = 0;
    if (h != NULL)
        at = *cursor == 0 ? h->newest[kind] : t->all[*cursor - 1].older;
    if (at == 0)
        return false;
    *cursor = at;
    *ret_text = slice_of(t->all[at - 1].text, t->all[at - 1].len);
    return true;
}

uint32_t traces_count(const struct traces *t, enum trace_kind kind, uint32_t device)
{
    const struct heads *h = device < t->devices_max ? heads_of(t, device) : NULL;
    return h == NULL ? 0 : h->count[kind];
}

uint32_t traces_len(const struct traces *t)
{
    return t->len;
}

bool traces_take_changes(struct traces *t, traces_change_fn *fn, void *context)
{
    struct reader r = reader_over(slice_of(t->changes, t->changes_len));
    while (reader_left(&r) > 0) {
        enum trace_kind kind = reader_u8(&r);
        bool remembered = reader_u8(&r) != 0;
        uint32_t device = reader_be32(&r);
        struct slice text = reader_take(&r, reader_be16(&r));
        fn(context, kind, device, remembered, text);
    }
    bool overflowed = t->overflowed;
    t->changes_len = 0;
    t->overflowed = false;
    return overflowed;
}
