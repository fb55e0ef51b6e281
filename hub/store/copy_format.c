#include "hub/store/copy_format.h"

#include <string.h>

#include "base/crypto.h"
#include "hub/store/migrations.h"
#include "hub/store/sql.h"

static const struct slice magic = SLICE_LITERAL("holdfast-store-1");

/* ---- header and digests ---- */

void copy_header_write(struct writer *w, const struct copy_header *header)
{
    writer_put(w, magic);
    writer_be32(w, header->schema);
    writer_be64(w, (uint64_t)header->taken_at);
    writer_be64(w, header->rows);
    writer_be64(w, header->ledger_size);
    writer_put(w, slice_of(header->ledger_root.bytes, SHA256_SIZE));
    writer_text(w, header->fleet);
}

enum err copy_header_read(struct slice fields, struct copy_header *ret_header)
{
    struct copy_header header = {0};
    struct reader r = reader_over(fields);
    reader_expect(&r, magic);
    header.schema = reader_be32(&r);
    if (r.err != ERR_NONE)
        return r.err;
    if (header.schema != migrations_len) {
        ret_header->schema = header.schema;
        return ERR_UNSUPPORTED;
    }
    header.taken_at = (int64_t)reader_be64(&r);
    header.rows = reader_be64(&r);
    header.ledger_size = reader_be64(&r);
    struct slice root = reader_take(&r, SHA256_SIZE);
    struct slice fleet = reader_rest(&r);
    if (fleet.len == 0 || fleet.len >= sizeof header.fleet ||
        memchr(fleet.data, '\0', fleet.len) != NULL)
        reader_fail(&r, ERR_SYNTAX);
    enum err err = reader_finish(&r);
    if (err != ERR_NONE)
        return err;
    memcpy(header.ledger_root.bytes, root.data, root.len);
    memcpy(header.fleet, fleet.data, fleet.len);
    *ret_header = header;
    return ERR_NONE;
}

void copy_digest_write(struct writer *w, const struct copy_digest *digest)
{
    writer_be64(w, digest->rows);
    writer_put(w, slice_of(digest->digest.bytes, SHA256_SIZE));
}

enum err copy_digest_read(struct slice fields, struct copy_digest *ret_digest)
{
    struct reader r = reader_over(fields);
    struct copy_digest digest = {.rows = reader_be64(&r)};
    struct slice bytes = reader_take(&r, SHA256_SIZE);
    enum err err = reader_finish(&r);
    if (err != ERR_NONE)
        return err;
    memcpy(digest.digest.bytes, bytes.data, bytes.len);
    *ret_digest = digest;
    return ERR_NONE;
}

void copy_chain(struct hash *digest, struct slice bytes)
{
    const struct slice parts[] = {slice_of(digest->bytes, SHA256_SIZE), bytes};
    struct hash next;
    crypto_sha256(parts, ARRAY_LEN(parts), next.bytes);
    *digest = next;
}

/* ---- rows ---- */

static void write_counted(struct writer *w, struct slice bytes)
{
    writer_be32(w, (uint32_t)bytes.len);
    writer_put(w, bytes);
}

static void write_field(struct writer *w, const struct column *column, const uint8_t *field)
{
    switch (column->kind) {
    case COLUMN_TEXT:
    case COLUMN_TENANT:
    case COLUMN_HEX: {
        size_t len = strnlen((const char *)field, column->size);
        if (len == column->size)
            writer_fail(w, ERR_INTERNAL);
        else
            write_counted(w, slice_of(field, len));
        break;
    }
    case COLUMN_INTEGER: {
        int64_t v;
        memcpy(&v, field, sizeof v);
        writer_be64(w, (uint64_t)v);
        break;
    }
    case COLUMN_HASH:
        writer_put(w, slice_of(field, SHA256_SIZE));
        break;
    case COLUMN_BLOB: {
        struct slice blob;
        memcpy(&blob, field, sizeof blob);
        write_counted(w, blob);
        break;
    }
    }
}

void copy_row_write(struct writer *w, const struct table *table, const void *row)
{
    for (size_t i = 0; i < table->columns_len; i++)
        write_field(w, &table->columns[i], (const uint8_t *)row + table->columns[i].offset);
}

/* Whoever has the recipient's certificate can make a copy: what no store would take is refused
 * before one is filled. */
static bool is_storable(const struct column *column, const uint8_t *field, struct slice text)
{
    uint8_t hex[SQL_HEX_MAX];
    size_t len = 0;
    if (column->kind == COLUMN_HEX)
        return sql_hex_bytes(text, hex, &len) == ERR_NONE;
    return sql_text_stored(column, field, &text) == ERR_NONE;
}

static void read_field(struct reader *r, const struct column *column, uint8_t *field)
{
    struct slice bytes = {NULL, 0};
    switch (column->kind) {
    case COLUMN_INTEGER: {
        int64_t v = (int64_t)reader_be64(r);
        memcpy(field, &v, sizeof v);
        break;
    }
    case COLUMN_HASH:
        bytes = reader_take(r, SHA256_SIZE);
        if (r->err == ERR_NONE)
            memcpy(field, bytes.data, bytes.len);
        break;
    case COLUMN_TEXT:
    case COLUMN_TENANT:
    case COLUMN_HEX:
        bytes = reader_take(r, reader_be32(r));
        if (bytes.len >= column->size ||
            (bytes.len > 0 && memchr(bytes.data, '\0', bytes.len) != NULL))
            reader_fail(r, ERR_SYNTAX);
        if (r->err != ERR_NONE)
            break;
        memset(field, 0, column->size);
        if (bytes.len > 0)
            memcpy(field, bytes.data, bytes.len);
        if (!is_storable(column, field, bytes))
            reader_fail(r, ERR_SYNTAX);
        break;
    case COLUMN_BLOB:
        bytes = reader_take(r, reader_be32(r));
        if (bytes.len > column->size)
            reader_fail(r, ERR_SYNTAX);
        if (r->err == ERR_NONE)
            memcpy(field, &bytes, sizeof bytes);
        break;
    }
}

enum err copy_row_read(struct slice fields, const struct table *table, void *row)
{
    struct reader r = reader_over(fields);
    for (size_t i = 0; i < table->columns_len; i++)
        read_field(&r, &table->columns[i], (uint8_t *)row + table->columns[i].offset);
    return reader_finish(&r);
}

int copy_compare_keys(const struct table *table, const void *a, const void *b)
{
    int order = 0;
    for (size_t i = 0; i < table->key_len && order == 0; i++)
        order = sql_compare(&table->columns[i], a, b);
    return order;
}

bool copy_is_mark(const struct table *table, const void *row)
{
    const struct setting_row *setting = row;
    return table == &table_setting && (strcmp(setting->name, COPY_MARK_FILLING) == 0 ||
                                       strcmp(setting->name, COPY_MARK_LEFT) == 0);
}
