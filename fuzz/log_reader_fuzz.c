/* A sound log is served with one of its tiles damaged as the input says: it must be found sound
 * exactly where nothing came out changed. */
#include "core/cursor.h"
#include "core/log_reader.h"
#include "fuzz/toy_crypto.h"

#include <assert.h>

#define ENTRIES 600 /* two full tiles and a partial one, and one of level 1 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct damage {
    unsigned fetch; /* the how-manieth tile; none where there are not as many */
    unsigned how;
    uint16_t at;
    uint8_t bits;
    unsigned fetched;
    bool done;
};

static struct hash leaves[ENTRIES];
static struct hash first_level[ENTRIES / TILE_WIDTH];
static uint64_t log_size;

static struct slice entry_of(uint64_t number)
{
    static uint8_t bytes[5];
    memset(bytes, (int)(number % 251), sizeof bytes);
    bytes[4] = (uint8_t)(number / 251);
    return slice_of(bytes + number % 4, sizeof bytes - number % 4);
}

static struct hash root_of(uint64_t from, uint64_t to)
{
    struct merkle_frontier f;
    merkle_frontier_init(&f);
    for (uint64_t i = from; i < to; i++)
        merkle_frontier_append(&f, toy_hash, &leaves[i]);
    return merkle_frontier_root(&f, toy_hash);
}

static void make_log(void)
{
    for (uint64_t i = 0; i < ENTRIES; i++)
        leaves[i] = merkle_leaf_hash(toy_hash, entry_of(i));
    for (uint64_t i = 0; i < ARRAY_LEN(first_level); i++)
        first_level[i] = root_of(i * TILE_WIDTH, (i + 1) * TILE_WIDTH);
}

static enum err fetch(void *ctx, struct slice path, uint8_t *buffer, size_t max, size_t *ret_len)
{
    struct damage *d = ctx;
    struct tile tile = {.level = 0};
    enum err err = tile_read_path(path, &tile);
    assert(err == ERR_NONE);
    assert(tile.width == tile_width(tile.level, tile.index, log_size));
    struct writer w = writer_over(buffer, max);
    for (uint64_t i = tile.index * TILE_WIDTH; i < tile.index * TILE_WIDTH + tile.width; i++) {
        if (tile.level == TILE_ENTRIES)
            tile_write_entry(&w, entry_of(i));
        else
            writer_put(&w,
                       slice_of((tile.level == 0 ? leaves : first_level)[i].bytes, SHA256_SIZE));
    }
    assert(w.err == ERR_NONE);
    if (d->fetched++ == d->fetch) {
        d->done = true;
        if (d->how == 0)
            w.len -= 1 + d->at % w.len;
        else if (d->how == 1 && w.len < max)
            buffer[w.len++] = d->bits;
        else if (d->bits != 0)
            buffer[d->at % w.len] ^= d->bits;
        else
            d->done = false;
    }
    *ret_len = w.len;
    return ERR_NONE;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct log_reader lr;
    static uint8_t bundle[TILE_WIDTH * 8];
    static bool is_made;
    if (!is_made)
        make_log();
    is_made = true;

    struct reader r = reader_over(slice_of(data, len));
    log_size = reader_be16(&r) % (ENTRIES + 1);
    uint64_t saved_size = reader_be16(&r) % (log_size + 1);
    struct damage d = {.fetch = reader_u8(&r), .how = reader_u8(&r) % 3};
    d.at = reader_be16(&r);
    d.bits = reader_u8(&r);
    uint8_t choices = reader_u8(&r);
    bool is_saved_damaged = (choices & 1) != 0, is_part = (choices & 2) != 0;
    if (reader_finish(&r) != ERR_NONE)
        return 0;

    struct checkpoint now = {.origin = "o", .size = log_size, .root = root_of(0, log_size)};
    struct checkpoint saved = {.origin = "o", .size = saved_size, .root = root_of(0, saved_size)};
    if (is_saved_damaged)
        saved.root.bytes[d.at % SHA256_SIZE] ^= 1;
    struct log_report report;
    log_reader_init(&lr, toy_hash, fetch, &d, bundle, sizeof bundle);
    enum err err = is_part ? log_reader_check_range(&lr, &now, &saved, saved_size / 2, saved_size,
                                                    NULL, NULL, &report)
                           : log_reader_check(&lr, &now, &saved, NULL, NULL, &report);
    assert((err == ERR_NONE) == (!d.done && !is_saved_damaged));
    assert((err == ERR_NONE) == (report.fault == LOG_SOUND));
    assert(report.first <= report.end && report.end <= log_size);
    return 0;
}
