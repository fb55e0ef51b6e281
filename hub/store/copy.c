#include "hub/store/copy.h"

#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "hub/store/copy_format.h"
#include "hub/store/database.h"
#include "hub/store/migrations.h"

#define PAGE_ROWS  512
#define PAGE_ARENA (PAGE_ROWS * COPY_RECORD_MAX) /* a page of the largest rows */

/* ---- what a store holds ---- */

enum err copy_describe(struct store_reader *snapshot, const char *fleet,
                       struct copy_header *ret_header)
{
    struct copy_header header = {
        .schema = (uint32_t)migrations_len,
        .taken_at = clock_seconds(),
    };
    size_t fleet_len = strlen(fleet);
    if (fleet_len == 0 || fleet_len >= sizeof header.fleet)
        return ERR_LIMIT;
    memcpy(header.fleet, fleet, fleet_len);
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        const struct store_query all = {.table = store_tables[i], .limit = INT64_MAX};
        uint64_t count = 0;
        enum err err = store_count(snapshot, &all, &count);
        if (err != ERR_NONE)
            return err;
        header.rows += count;
    }
    struct arena *arena = arena_new(PAGE_ARENA);
    if (arena == NULL)
        return ERR_NO_MEMORY;
    enum err err = ERR_NONE;
    static const char *const marks[] = {COPY_MARK_FILLING, COPY_MARK_LEFT};
    for (size_t i = 0; i < ARRAY_LEN(marks) && (err == ERR_NONE || err == ERR_NOT_FOUND); i++) {
        struct setting_row mark;
        memset(&mark, 0, sizeof mark);
        (void)snprintf(mark.name, sizeof mark.name, "%s", marks[i]);
        err = store_get(snapshot, &table_setting, arena, &mark);
        if (err == ERR_NONE)
            header.rows--;
    }
    struct ledger_head_row head = {.id = 1};
    if (err == ERR_NONE || err == ERR_NOT_FOUND)
        err = store_get(snapshot, &table_ledger_head, arena, &head);
    if (err == ERR_NONE) {
        header.ledger_size = (uint64_t)head.size;
        header.ledger_root = head.root;
    }
    arena_free(arena);
    if (err != ERR_NONE && err != ERR_NOT_FOUND)
        return err;
    *ret_header = header;
    return ERR_NONE;
}

/* ---- walking, and writing ---- */

struct walk {
    const struct table *table;
    const struct copy_watch *watch;
    enum err (*put)(void *ctx, struct slice bytes); /* NULL: nothing is written */
    void *ctx;
    uint8_t *record; /* COPY_HEAD_SIZE + COPY_RECORD_MAX bytes */
    struct copy_summary summary;
    struct hash whole;
    alignas(max_align_t) uint8_t last[ROW_SIZE_MAX]; /* its key: where the next page starts */
    size_t in_page;
};

static enum err put_record(struct walk *w, enum copy_letter letter, struct slice fields)
{
    struct writer head = writer_over(w->record, COPY_HEAD_SIZE);
    writer_u8(&head, (uint8_t)letter);
    writer_be32(&head, (uint32_t)fields.len);
    if (w->put == NULL)
        return ERR_NONE;
    return w->put(w->ctx, slice_of(w->record, COPY_HEAD_SIZE + fields.len));
}

/* Fields are written behind the place of their head. */
static struct writer record_fields(struct walk *w)
{
    return writer_over(w->record + COPY_HEAD_SIZE, COPY_RECORD_MAX);
}

static enum err take_row(void *ctx, const void *row)
{
    struct walk *w = ctx;
    memcpy(w->last, row, w->table->row_size);
    w->in_page++;
    if (copy_is_mark(w->table, row))
        return ERR_NONE;
    struct writer fields = record_fields(w);
    copy_row_write(&fields, w->table, row);
    if (fields.err != ERR_NONE)
        return fields.err;
    struct copy_digest *digest = &w->summary.tables[w->table->id];
    digest->rows++;
    w->summary.rows++;
    copy_chain(&digest->digest, writer_bytes(&fields));
    enum err err = put_record(w, COPY_ROW, writer_bytes(&fields));
    if (err == ERR_NONE && w->watch != NULL && w->watch->row != NULL)
        err = w->watch->row(w->watch->ctx, w->table, row);
    return err;
}

static enum err walk_table(struct walk *w, struct store_reader *snapshot, struct arena *arena)
{
    struct writer name = record_fields(w);
    writer_text(&name, w->table->name);
    enum err err = put_record(w, COPY_TABLE, writer_bytes(&name));
    bool first = true;
    do {
        const struct store_query page = {
            .table = w->table,
            .after = first ? NULL : w->last,
            .limit = PAGE_ROWS,
        };
        w->in_page = 0;
        first = false;
        if (err == ERR_NONE)
            err = store_list(snapshot, &page, arena, take_row, w);
        arena_reset(arena);
    } while (err == ERR_NONE && w->in_page == PAGE_ROWS);
    struct writer end = record_fields(w);
    copy_digest_write(&end, &w->summary.tables[w->table->id]);
    copy_chain(&w->whole, writer_bytes(&end));
    return err == ERR_NONE ? put_record(w, COPY_TABLE_END, writer_bytes(&end)) : err;
}

static enum err walk_all(struct walk *w, struct store_reader *snapshot, struct arena *arena)
{
    struct writer header = record_fields(w);
    copy_header_write(&header, &w->summary.header);
    copy_chain(&w->whole, writer_bytes(&header));
    enum err err =
        header.err == ERR_NONE ? put_record(w, COPY_HEADER, writer_bytes(&header)) : header.err;
    for (size_t i = 0; i < TABLE_COUNT && err == ERR_NONE; i++) {
        w->table = store_tables[i];
        err = walk_table(w, snapshot, arena);
    }
    if (err != ERR_NONE)
        return err;
    if (w->summary.rows != w->summary.header.rows)
        return ERR_CONFLICT;
    struct writer end = record_fields(w);
    const struct copy_digest whole = {.rows = w->summary.rows, .digest = w->whole};
    copy_digest_write(&end, &whole);
    w->summary.digest = w->whole;
    return put_record(w, COPY_END, writer_bytes(&end));
}

enum err copy_write(struct store_reader *snapshot, const struct copy_header *header,
                    enum err (*put)(void *ctx, struct slice bytes), void *ctx,
                    const struct copy_watch *watch, struct copy_summary *ret_summary)
{
    struct arena *arena = arena_new(PAGE_ARENA);
    struct walk *w = calloc(1, sizeof *w);
    uint8_t *record = malloc(COPY_HEAD_SIZE + COPY_RECORD_MAX);
    enum err err = ERR_NO_MEMORY;
    if (arena != NULL && w != NULL && record != NULL) {
        *w = (struct walk){.watch = watch, .put = put, .ctx = ctx, .record = record};
        w->summary.header = *header;
        err = walk_all(w, snapshot, arena);
    }
    if (err == ERR_NONE)
        *ret_summary = w->summary;
    free(record);
    free(w);
    arena_free(arena);
    return err;
}

enum err copy_walk(struct store_reader *snapshot, const struct copy_header *header,
                   const struct copy_watch *watch, struct copy_summary *ret_summary)
{
    return copy_write(snapshot, header, NULL, NULL, watch, ret_summary);
}

/* ---- reading ---- */

struct copy_reader {
    struct copy_source source;
    uint8_t buffer[COPY_HEAD_SIZE + COPY_RECORD_MAX];
    size_t start, len; /* what is unread in the buffer */
    struct slice fields;
    struct copy_summary summary;
    struct hash whole;
    alignas(max_align_t) uint8_t rows[2][ROW_SIZE_MAX]; /* this one and the one before */
};

/* Until `want` bytes are there. ERR_SYNTAX where they do not come. */
static enum err fill(struct copy_reader *r, size_t want)
{
    if (r->len >= want)
        return ERR_NONE;
    if (r->start > 0) {
        memmove(r->buffer, r->buffer + r->start, r->len);
        r->start = 0;
    }
    while (r->len < want) {
        size_t n = 0;
        enum err err =
            r->source.read(r->source.ctx, r->buffer + r->len, sizeof r->buffer - r->len, &n);
        if (err != ERR_NONE)
            return err;
        if (n == 0)
            return ERR_SYNTAX;
        r->len += n;
    }
    return ERR_NONE;
}

/* The next record; its fields are valid until the one after it. */
static enum err next_record(struct copy_reader *r, uint8_t *ret_letter)
{
    enum err err = fill(r, COPY_HEAD_SIZE);
    if (err != ERR_NONE)
        return err;
    struct reader head = reader_over(slice_of(r->buffer + r->start, COPY_HEAD_SIZE));
    uint8_t letter = reader_u8(&head);
    size_t len = reader_be32(&head);
    if (len > COPY_RECORD_MAX)
        return ERR_SYNTAX;
    err = fill(r, COPY_HEAD_SIZE + len);
    if (err != ERR_NONE)
        return err;
    r->fields = slice_of(r->buffer + r->start + COPY_HEAD_SIZE, len);
    r->start += COPY_HEAD_SIZE + len;
    r->len -= COPY_HEAD_SIZE + len;
    *ret_letter = letter;
    return ERR_NONE;
}

static enum err expect_record(struct copy_reader *r, enum copy_letter letter)
{
    uint8_t found = 0;
    enum err err = next_record(r, &found);
    return err == ERR_NONE && found != (uint8_t)letter ? ERR_SYNTAX : err;
}

enum err copy_reader_new(const struct copy_source *source, struct copy_reader **ret_reader,
                         uint32_t *ret_schema)
{
    struct copy_reader *r = calloc(1, sizeof *r);
    if (r == NULL)
        return ERR_NO_MEMORY;
    r->source = *source;
    enum err err = expect_record(r, COPY_HEADER);
    if (err == ERR_NONE)
        err = copy_header_read(r->fields, &r->summary.header);
    if (err == ERR_UNSUPPORTED)
        *ret_schema = r->summary.header.schema;
    if (err != ERR_NONE) {
        copy_reader_free(r);
        return err;
    }
    copy_chain(&r->whole, r->fields);
    *ret_reader = r;
    return ERR_NONE;
}

const struct copy_header *copy_reader_header(const struct copy_reader *r)
{
    return &r->summary.header;
}

static enum err read_row(struct copy_reader *r, const struct table *table,
                         const struct copy_watch *watch)
{
    struct copy_digest *digest = &r->summary.tables[table->id];
    void *row = r->rows[digest->rows % 2];
    const void *before = r->rows[(digest->rows + 1) % 2];
    memset(row, 0, table->row_size);
    enum err err = copy_row_read(r->fields, table, row);
    if (err == ERR_NONE && digest->rows > 0 && copy_compare_keys(table, before, row) >= 0)
        err = ERR_SYNTAX;
    if (err == ERR_NONE && copy_is_mark(table, row))
        err = ERR_SYNTAX;
    if (err != ERR_NONE)
        return err;
    digest->rows++;
    r->summary.rows++;
    copy_chain(&digest->digest, r->fields);
    return watch != NULL && watch->row != NULL ? watch->row(watch->ctx, table, row) : ERR_NONE;
}

/* The digest that stands there must be the one that was found. */
static enum err expect_digest(struct copy_reader *r, const struct copy_digest *found)
{
    struct copy_digest told;
    enum err err = copy_digest_read(r->fields, &told);
    if (err != ERR_NONE)
        return err;
    bool same = told.rows == found->rows &&
                memcmp(told.digest.bytes, found->digest.bytes, SHA256_SIZE) == 0;
    return same ? ERR_NONE : ERR_SYNTAX;
}

static enum err read_table(struct copy_reader *r, const struct table *table,
                           const struct copy_watch *watch)
{
    enum err err = expect_record(r, COPY_TABLE);
    if (err == ERR_NONE && !slice_equal(r->fields, slice_of_text(table->name)))
        err = ERR_SYNTAX;
    uint8_t letter = 0;
    if (err == ERR_NONE)
        err = next_record(r, &letter);
    while (err == ERR_NONE && letter == COPY_ROW) {
        err = read_row(r, table, watch);
        if (err == ERR_NONE)
            err = next_record(r, &letter);
    }
    if (err == ERR_NONE && letter != COPY_TABLE_END)
        err = ERR_SYNTAX;
    if (err == ERR_NONE)
        err = expect_digest(r, &r->summary.tables[table->id]);
    if (err == ERR_NONE)
        copy_chain(&r->whole, r->fields);
    return err;
}

static enum err expect_end_of_source(struct copy_reader *r)
{
    uint8_t byte;
    size_t n = 0;
    if (r->len > 0)
        return ERR_SYNTAX;
    enum err err = r->source.read(r->source.ctx, &byte, sizeof byte, &n);
    return err == ERR_NONE && n > 0 ? ERR_SYNTAX : err;
}

enum err copy_read(struct copy_reader *r, const struct copy_watch *watch,
                   struct copy_summary *ret_summary)
{
    enum err err = ERR_NONE;
    for (size_t i = 0; i < TABLE_COUNT && err == ERR_NONE; i++)
        err = read_table(r, store_tables[i], watch);
    if (err == ERR_NONE)
        err = expect_record(r, COPY_END);
    const struct copy_digest whole = {.rows = r->summary.rows, .digest = r->whole};
    if (err == ERR_NONE)
        err = expect_digest(r, &whole);
    if (err == ERR_NONE && r->summary.rows != r->summary.header.rows)
        err = ERR_SYNTAX;
    if (err == ERR_NONE)
        err = expect_end_of_source(r);
    r->summary.digest = r->whole;
    if (err == ERR_NONE)
        *ret_summary = r->summary;
    return err;
}

void copy_reader_free(struct copy_reader *r)
{
    free(r);
}
