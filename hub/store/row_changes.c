#include "hub/store/row_changes.h"

#include <string.h>

static uint64_t add_bytes(uint64_t h, const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        h = (h ^ bytes[i]) * 1099511628211U;
    return h;
}

/* FNV-1a over the key. Whoever makes keys collide has rows read that could have been spared. */
uint32_t row_place(const struct table *table, const void *row_with_key)
{
    uint64_t h = 14695981039346656037U ^ table->id;
    for (size_t i = 0; i < table->key_len; i++) {
        const struct column *column = &table->columns[i];
        const uint8_t *field = (const uint8_t *)row_with_key + column->offset;
        bool text = column->kind == COLUMN_TEXT || column->kind == COLUMN_TENANT ||
                    column->kind == COLUMN_HEX;
        h = add_bytes(h, field, text ? strnlen((const char *)field, column->size) : column->size);
        h = add_bytes(h, (const uint8_t *)"", 1);
    }
    return (uint32_t)((h ^ h >> 32) % ROW_PLACES);
}

void row_changes_note(struct row_changes *c, const struct table *table, const void *row_with_key)
{
    uint32_t place = row_place(table, row_with_key);
    c->noted[place / 64] |= (uint64_t)1 << place % 64;
}

void row_changes_tell(struct row_changes *c)
{
    for (uint32_t i = 0; i < ARRAY_LEN(c->noted); i++) {
        for (uint64_t left = c->noted[i]; left != 0; left &= left - 1)
            atomic_fetch_add(&c->counts[i * 64 + (uint32_t)__builtin_ctzll(left)], 1);
        c->noted[i] = 0;
    }
}
