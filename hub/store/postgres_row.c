/* How rows and PostgreSQL's binary results become each other. */
#include <string.h>

#include "core/utf8.h"
#include "hub/store/postgres_connection.h"

static enum err check_text(const struct column *column, const char *field)
{
    struct slice text;
    enum err err = sql_text_stored(column, field, &text);
    while (err == ERR_NONE && text.len > 0) {
        size_t n = utf8_sequence(text);
        if (n == 0)
            return ERR_INTERNAL;
        text = slice_of(text.data + n, text.len - n);
    }
    return err;
}

static enum err check_hex(const char *text, size_t size)
{
    uint8_t bytes[SQL_HEX_MAX];
    size_t len = strnlen(text, size);
    return len == size ? ERR_INTERNAL : sql_hex_bytes(slice_of(text, len), bytes, &len);
}

enum err pg_row_check(const struct table *table, size_t columns, const void *row)
{
    enum err err = ERR_NONE;
    for (size_t i = 0; i < columns && err == ERR_NONE; i++) {
        const struct column *column = &table->columns[i];
        const char *field = (const char *)row + column->offset;
        struct slice blob = {NULL, 0};
        if (column->kind == COLUMN_TEXT || column->kind == COLUMN_TENANT)
            err = check_text(column, field);
        if (column->kind == COLUMN_HEX)
            err = check_hex(field, column->size);
        if (column->kind == COLUMN_BLOB)
            memcpy(&blob, field, sizeof blob);
        if (blob.len > column->size)
            err = ERR_LIMIT;
    }
    return err;
}

static enum err read_field(const struct column *column, struct slice bytes, struct arena *arena,
                           uint8_t *field)
{
    switch (column->kind) {
    case COLUMN_INTEGER: {
        uint64_t v = 0;
        if (bytes.len != sizeof v)
            return ERR_IO;
        for (size_t i = 0; i < sizeof v; i++)
            v = v << 8 | bytes.data[i];
        memcpy(field, &v, sizeof v);
        return ERR_NONE;
    }
    case COLUMN_TEXT:
    case COLUMN_TENANT:
        return sql_text_read(column, bytes, field);
    case COLUMN_HEX:
        return sql_hex_read(column, bytes, field);
    case COLUMN_HASH:
        if (bytes.len != 0 && bytes.len != SHA256_SIZE)
            return ERR_IO;
        memset(field, 0, SHA256_SIZE);
        if (bytes.len > 0)
            memcpy(field, bytes.data, bytes.len);
        return ERR_NONE;
    case COLUMN_BLOB: {
        struct slice copy = {NULL, 0};
        if (bytes.len > column->size)
            return ERR_IO;
        if (bytes.len > 0 && arena == NULL)
            return ERR_INTERNAL;
        enum err err = bytes.len == 0 ? ERR_NONE : arena_copy(arena, bytes, &copy);
        if (err == ERR_NONE)
            memcpy(field, &copy, sizeof copy);
        return err;
    }
    }
    return ERR_INTERNAL;
}

enum err pg_row_read(const PGresult *result, int line, const struct table *table,
                     struct arena *arena, void *row)
{
    enum err err = (size_t)PQnfields(result) == table->columns_len ? ERR_NONE : ERR_IO;
    for (size_t i = 0; i < table->columns_len && err == ERR_NONE; i++) {
        const struct column *column = &table->columns[i];
        struct slice bytes =
            slice_of(PQgetvalue(result, line, (int)i), (size_t)PQgetlength(result, line, (int)i));
        err = read_field(column, bytes, arena, (uint8_t *)row + column->offset);
    }
    return err;
}
