#include "cli/seen.h"

#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"

#define SLOTS_FIRST  1024
#define OFFSET_BITS  48
#define OFFSET_MASK  ((UINT64_C(1) << OFFSET_BITS) - 1)
#define RECORD_FIXED (sizeof(uint64_t) + 1) /* the value and the key's length */

/* Keys lie one after the other in `bytes`, behind their value and length; a slot holds 1 + where,
 * and above it 16 bits of the key's hash, so that few keys have to be compared. */
struct seen {
    uint8_t secret[16]; /* a file's author cannot choose keys that fall together */
    uint64_t *slots;
    size_t slots_len, used; /* slots_len is a power of two */
    uint8_t *bytes;
    size_t len, max;
};

enum err seen_new(struct seen **ret_seen)
{
    struct seen *s = calloc(1, sizeof *s);
    if (s == NULL)
        return ERR_NO_MEMORY;
    s->slots_len = SLOTS_FIRST;
    s->slots = calloc(s->slots_len, sizeof *s->slots);
    enum err err = s->slots == NULL ? ERR_NO_MEMORY : crypto_random(s->secret, sizeof s->secret);
    if (err != ERR_NONE) {
        seen_free(s);
        return err;
    }
    *ret_seen = s;
    return ERR_NONE;
}

void seen_free(struct seen *s)
{
    if (s == NULL)
        return;
    free(s->slots);
    free(s->bytes);
    free(s);
}

static uint64_t hash_of(const struct seen *s, struct slice key)
{
    const struct slice parts[] = {slice_of(s->secret, sizeof s->secret), key};
    uint8_t hash[SHA256_SIZE];
    uint64_t h;
    crypto_sha256(parts, ARRAY_LEN(parts), hash);
    memcpy(&h, hash, sizeof h);
    return h;
}

static struct slice key_at(const struct seen *s, uint64_t slot)
{
    const uint8_t *record = s->bytes + ((slot & OFFSET_MASK) - 1);
    return slice_of(record + RECORD_FIXED, record[sizeof(uint64_t)]);
}

/* The key's slot, or the free one it belongs into. */
static size_t slot_of(const struct seen *s, struct slice key, uint64_t hash)
{
    size_t mask = s->slots_len - 1, at = hash & mask;
    uint64_t tag = hash & ~OFFSET_MASK;
    while (s->slots[at] != 0) {
        if ((s->slots[at] & ~OFFSET_MASK) == tag && slice_equal(key_at(s, s->slots[at]), key))
            break;
        at = (at + 1) & mask;
    }
    return at;
}

static enum err grow_slots(struct seen *s)
{
    struct seen larger = *s;
    larger.slots_len *= 2;
    larger.slots = calloc(larger.slots_len, sizeof *larger.slots);
    if (larger.slots == NULL)
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < s->slots_len; i++) {
        if (s->slots[i] == 0)
            continue;
        struct slice key = key_at(s, s->slots[i]);
        larger.slots[slot_of(&larger, key, hash_of(s, key))] = s->slots[i];
    }
    free(s->slots);
    s->slots = larger.slots;
    s->slots_len = larger.slots_len;
    return ERR_NONE;
}

static enum err reserve(struct seen *s, size_t n)
{
    if (s->max - s->len >= n)
        return ERR_NONE;
    size_t max = s->max == 0 ? 64 * 1024 : s->max * 2;
    if (max > OFFSET_MASK / 2)
        return ERR_LIMIT;
    uint8_t *bytes = realloc(s->bytes, max);
    if (bytes == NULL)
        return ERR_NO_MEMORY;
    s->bytes = bytes;
    s->max = max;
    return ERR_NONE;
}

static uint64_t value_at(const struct seen *s, uint64_t slot)
{
    uint64_t value;
    memcpy(&value, s->bytes + ((slot & OFFSET_MASK) - 1), sizeof value);
    return value;
}

enum err seen_add(struct seen *s, struct slice key, uint64_t value, uint64_t *ret_value)
{
    if (key.len > SEEN_KEY_MAX)
        return ERR_LIMIT;
    enum err err = s->used >= s->slots_len / 4 * 3 ? grow_slots(s) : ERR_NONE;
    if (err == ERR_NONE)
        err = reserve(s, RECORD_FIXED + key.len);
    if (err != ERR_NONE)
        return err;
    uint64_t hash = hash_of(s, key);
    size_t at = slot_of(s, key, hash);
    if (s->slots[at] != 0) {
        *ret_value = value_at(s, s->slots[at]);
        return ERR_EXISTS;
    }
    uint8_t *record = s->bytes + s->len;
    memcpy(record, &value, sizeof value);
    record[sizeof value] = (uint8_t)key.len;
    if (key.len > 0)
        memcpy(record + RECORD_FIXED, key.data, key.len);
    s->slots[at] = (hash & ~OFFSET_MASK) | (s->len + 1);
    s->len += RECORD_FIXED + key.len;
    s->used++;
    return ERR_NONE;
}

enum err seen_find(const struct seen *s, struct slice key, uint64_t *ret_value)
{
    size_t at = slot_of(s, key, hash_of(s, key));
    if (s->slots[at] == 0)
        return ERR_NOT_FOUND;
    *ret_value = value_at(s, s->slots[at]);
    return ERR_NONE;
}
