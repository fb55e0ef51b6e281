#include "hub/ledger/archive.h"

#include <stdio.h>
#include <string.h>

#include "core/json_write.h"
#include "hub/ledger/internal.h"

#define VALUE_MAX (ARCHIVE_WHERE_MAX + 48)

enum err ledger_archive_parse(struct slice value, struct ledger_archive *ret_archive)
{
    struct ledger_archive a = {.before = 0};
    struct reader r = reader_over(value);
    a.before = reader_decimal(&r, INT64_MAX);
    reader_expect(&r, SLICE_LITERAL(" "));
    a.cleared = reader_decimal(&r, a.before);
    reader_expect(&r, SLICE_LITERAL(" "));
    struct slice where = reader_rest(&r);
    if (reader_finish(&r) != ERR_NONE || where.len > ARCHIVE_WHERE_MAX ||
        a.before % TILE_WIDTH != 0 || a.cleared % TILE_WIDTH != 0)
        return ERR_SYNTAX;
    memcpy(a.where, where.data, where.len);
    *ret_archive = a;
    return ERR_NONE;
}

enum err ledger_archive_read(struct store_reader *reader, struct arena *arena,
                             struct ledger_archive *ret_archive)
{
    struct setting_row row = {.name = LEDGER_ARCHIVE_NAME};
    enum err err = store_get(reader, &table_setting, arena, &row);
    if (err == ERR_NOT_FOUND) {
        *ret_archive = (struct ledger_archive){.before = 0};
        return ERR_NONE;
    }
    return err == ERR_NONE ? ledger_archive_parse(row.value, ret_archive) : err;
}

/* ---- the write ---- */

static struct ledger_archive_act *archive_of(struct write *w)
{
    return CONTAINER_OF(act_of(w), struct ledger_archive_act, act);
}

static void archive_reads(const struct write *w, struct keyset *keys)
{
    const struct act *act = CONTAINER_OF(w, const struct act, write);
    const struct ledger_archive_act *a = CONTAINER_OF(act, const struct ledger_archive_act, act);
    const struct setting_row setting = {.name = LEDGER_ARCHIVE_NAME};
    keyset_add(keys, &table_setting, &setting);
    for (uint64_t i = 0; i < ARCHIVE_CHUNK && a->wanted.cleared + i < a->wanted.before; i++) {
        const struct ledger_entry_row row = {.number = (int64_t)(a->wanted.cleared + i)};
        keyset_add(keys, &table_ledger_entry, &row);
    }
}

static enum err append_entry(struct ledger_archive_act *a, struct tx *tx,
                             const struct ledger_archive *now)
{
    uint8_t bytes[ARCHIVE_WHERE_MAX * 6 + 64];
    struct writer w = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&w);
    json_open_object(&j);
    json_field_integer(&j, "before", (int64_t)now->before);
    json_field_text(&j, "where", now->where);
    json_close_object(&j);
    return w.err == ERR_NONE
               ? act_append(&a->act, tx, "ledger.archive", "ledger", "entries", writer_bytes(&w))
               : w.err;
}

/* The leaf hashes stay: they are what every proof stands on. */
static enum err clear_chunk(struct tx *tx, struct ledger_archive *now)
{
    for (unsigned i = 0; i < ARCHIVE_CHUNK && now->cleared < now->before; i++, now->cleared++) {
        struct ledger_entry_row row = {.number = (int64_t)now->cleared};
        enum err err = tx_get(tx, &table_ledger_entry, &row);
        if (err != ERR_NONE)
            return err == ERR_NOT_FOUND ? ERR_INTERNAL : err;
        row.data = slice_of("", 0);
        err = tx_update(tx, &table_ledger_entry, &row);
        if (err != ERR_NONE)
            return err;
    }
    return ERR_NONE;
}

static enum err keep(struct tx *tx, struct setting_row *row, bool is_new,
                     const struct ledger_archive *now)
{
    char value[VALUE_MAX];
    struct writer w = writer_over(value, sizeof value);
    writer_decimal(&w, now->before);
    writer_text(&w, " ");
    writer_decimal(&w, now->cleared);
    writer_text(&w, " ");
    writer_text(&w, now->where);
    if (w.err != ERR_NONE)
        return w.err;
    row->value = writer_bytes(&w);
    row->changed_at = tx_now_ms(tx) / 1000;
    return is_new ? tx_insert(tx, &table_setting, row) : tx_update(tx, &table_setting, row);
}

static enum err archive_apply(struct write *w, struct tx *tx)
{
    struct ledger_archive_act *a = archive_of(w);
    struct setting_row row = {.name = LEDGER_ARCHIVE_NAME};
    struct ledger_archive now = {.before = 0};
    enum err err = tx_get(tx, &table_setting, &row);
    bool is_new = err == ERR_NOT_FOUND;
    if (is_new)
        err = ERR_NONE;
    else if (err == ERR_NONE)
        err = ledger_archive_parse(row.value, &now);
    if (err != ERR_NONE)
        return err == ERR_SYNTAX ? ERR_INTERNAL : err;
    if (a->wanted.before < now.before)
        return problem_set(&w->problem, 409, "archive-conflict", "before",
                           "the entries below number %llu are archived already, in %s",
                           (unsigned long long)now.before, now.where);
    if (a->wanted.before > now.before) {
        now.before = a->wanted.before;
        memcpy(now.where, a->wanted.where, sizeof now.where);
        err = append_entry(a, tx, &now);
    }
    if (err == ERR_NONE)
        err = clear_chunk(tx, &now);
    if (err == ERR_NONE)
        err = keep(tx, &row, is_new, &now);
    if (err == ERR_NONE)
        a->now = now;
    return err;
}

static const struct write_kind archive_kind = {
    .name = "ledger.archive",
    .lane = STORE_LANE_BULK,
    .reads = archive_reads,
    .apply = archive_apply,
    .done = act_done,
};

void ledger_archive(struct store *store, struct ledger *ledger, const struct act_origin *origin,
                    struct ledger_archive_act *a)
{
    act_init(&a->act, &archive_kind, ledger, origin);
    act_submit(&a->act, store);
}
