#include "hub/store/sql.h"

#include <string.h>

/* ---- statements over one row ---- */

static void put_columns(struct writer *w, const struct table *table)
{
    for (size_t i = 0; i < table->columns_len; i++) {
        if (i > 0)
            writer_text(w, ", ");
        writer_text(w, table->columns[i].name);
    }
}

static void put_parameter(struct writer *w, size_t number)
{
    writer_text(w, "$");
    writer_decimal(w, number);
}

static void bind_column(struct writer *w, struct sql_columns *binds, size_t column)
{
    if (binds->len == SQL_BINDS_MAX) {
        writer_fail(w, ERR_LIMIT);
        return;
    }
    binds->numbers[binds->len++] = (uint8_t)column;
    put_parameter(w, binds->len);
}

static void put_equal(struct writer *w, struct sql_columns *binds, const struct table *table,
                      size_t column)
{
    writer_text(w, table->columns[column].name);
    writer_text(w, " = ");
    bind_column(w, binds, column);
}

static void put_key_equal(struct writer *w, struct sql_columns *binds, const struct table *table)
{
    for (size_t i = 0; i < table->key_len; i++) {
        writer_text(w, i == 0 ? " WHERE " : " AND ");
        put_equal(w, binds, table, i);
    }
}

static void put_insert(struct writer *w, struct sql_columns *binds, const struct table *table)
{
    writer_text(w, "INSERT INTO ");
    writer_text(w, table->name);
    writer_text(w, " (");
    put_columns(w, table);
    writer_text(w, ") VALUES (");
    for (size_t i = 0; i < table->columns_len; i++) {
        if (i > 0)
            writer_text(w, ", ");
        bind_column(w, binds, i);
    }
    writer_text(w, ")");
}

static void put_update(struct writer *w, struct sql_columns *binds, const struct table *table,
                       bool quiet)
{
    writer_text(w, "UPDATE ");
    writer_text(w, table->name);
    const char *separator = " SET ";
    for (size_t i = table->key_len; i < table->columns_len; i++) {
        if (quiet && table->columns[i].searchable)
            continue;
        writer_text(w, separator);
        put_equal(w, binds, table, i);
        separator = ", ";
    }
    put_key_equal(w, binds, table);
    for (size_t i = table->key_len; quiet && i < table->columns_len; i++) {
        if (!table->columns[i].searchable)
            continue;
        writer_text(w, " AND ");
        put_equal(w, binds, table, i);
    }
}

void sql_row_write(struct writer *w, struct sql_columns *ret_binds, enum sql_kind kind,
                   const struct table *table)
{
    struct sql_columns binds = {.len = 0};
    switch (kind) {
    case SQL_GET:
        writer_text(w, "SELECT ");
        put_columns(w, table);
        writer_text(w, " FROM ");
        writer_text(w, table->name);
        put_key_equal(w, &binds, table);
        break;
    case SQL_INSERT:
        put_insert(w, &binds, table);
        break;
    case SQL_UPDATE:
    case SQL_UPDATE_QUIET:
        put_update(w, &binds, table, kind == SQL_UPDATE_QUIET);
        break;
    case SQL_DELETE:
        writer_text(w, "DELETE FROM ");
        writer_text(w, table->name);
        put_key_equal(w, &binds, table);
        break;
    case SQL_KIND_COUNT:
        writer_fail(w, ERR_INTERNAL);
        break;
    }
    *ret_binds = binds;
}

bool sql_table_is_searchable(const struct table *table)
{
    for (size_t i = 0; i < table->columns_len; i++)
        if (table->columns[i].searchable)
            return true;
    return false;
}

/* ---- queries over many rows ---- */

struct query_writer {
    struct writer w;
    struct sql_query *s;
    const struct store_query *q;
    /* For each key column the value that it has in every result, where there is one. */
    struct sql_bind fixed[SQL_BINDS_MAX];
    bool is_fixed[SQL_BINDS_MAX];
    const char *separator; /* " WHERE ", then " AND " */
};

static const struct column *find_column(const struct table *table, struct slice name)
{
    for (size_t i = 0; i < table->columns_len; i++)
        if (slice_equal(slice_of_text(table->columns[i].name), name))
            return &table->columns[i];
    return NULL;
}

static void add_bind(struct query_writer *qw, struct sql_bind bind)
{
    if (qw->s->binds_len == SQL_BINDS_MAX) {
        writer_fail(&qw->w, ERR_LIMIT);
        return;
    }
    qw->s->binds[qw->s->binds_len++] = bind;
    put_parameter(&qw->w, qw->s->binds_len);
}

int64_t sql_bind_integer(const struct sql_bind *b)
{
    if (b->filter != NULL)
        return b->filter->integer;
    int64_t v;
    memcpy(&v, (const char *)b->row + b->column->offset, sizeof v);
    return v;
}

static struct slice tenant_stored(struct slice name)
{
    return slice_equal(name, slice_of_text(STORE_TENANT)) ? slice_of("", 0) : name;
}

struct slice sql_bind_bytes(const struct sql_bind *b)
{
    const char *field = (const char *)b->row + b->column->offset;
    bool is_hash = b->column->kind == COLUMN_HASH;
    struct slice bytes = b->filter != NULL ? b->filter->text
                         : is_hash         ? slice_of(field, SHA256_SIZE)
                                           : slice_of(field, strnlen(field, b->column->size));
    return b->column->kind == COLUMN_TENANT ? tenant_stored(bytes) : bytes;
}

enum err sql_text_stored(const struct column *column, const void *field, struct slice *ret_stored)
{
    struct slice text = slice_of(field, strnlen(field, column->size));
    bool is_tenant = column->kind == COLUMN_TENANT;
    if (text.len == column->size || (is_tenant && text.len == 0))
        return ERR_INTERNAL;
    *ret_stored = is_tenant ? tenant_stored(text) : text;
    return ERR_NONE;
}

enum err sql_text_read(const struct column *column, struct slice stored, void *field)
{
    if (column->kind == COLUMN_TENANT && stored.len == 0)
        stored = slice_of_text(STORE_TENANT);
    if (stored.len >= column->size)
        return ERR_IO;
    memset(field, 0, column->size);
    if (stored.len > 0)
        memcpy(field, stored.data, stored.len);
    return ERR_NONE;
}

enum err sql_hex_bytes(struct slice text, uint8_t ret_bytes[SQL_HEX_MAX], size_t *ret_len)
{
    struct writer w = writer_over(ret_bytes, SQL_HEX_MAX);
    writer_unhex(&w, text);
    if (w.err != ERR_NONE)
        return ERR_INTERNAL;
    *ret_len = w.len;
    return ERR_NONE;
}

enum err sql_hex_read(const struct column *column, struct slice bytes, void *field)
{
    struct writer w = writer_over(field, column->size - 1);
    memset(field, 0, column->size);
    writer_hex(&w, bytes);
    return w.err == ERR_NONE ? ERR_NONE : ERR_IO;
}

static int compare_bytes(struct slice a, struct slice b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int order = n == 0 ? 0 : memcmp(a.data, b.data, n);
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

/* The order in which the database sorts two values of one column. */
static int compare_binds(const struct sql_bind *a, const struct sql_bind *b)
{
    if (a->column->kind != COLUMN_INTEGER)
        return compare_bytes(sql_bind_bytes(a), sql_bind_bytes(b));
    int64_t x = sql_bind_integer(a);
    int64_t y = sql_bind_integer(b);
    return (x > y) - (x < y);
}

int sql_compare(const struct column *column, const void *row_a, const void *row_b)
{
    const struct sql_bind a = {.column = column, .row = row_a};
    const struct sql_bind b = {.column = column, .row = row_b};
    return compare_binds(&a, &b);
}

static void put_filter(struct query_writer *qw, const struct store_filter *filter)
{
    const struct table *table = qw->q->table;
    const struct column *column = find_column(table, slice_of_text(filter->column));
    if (column == NULL || column->kind == COLUMN_BLOB) {
        writer_fail(&qw->w, ERR_UNSUPPORTED);
        return;
    }
    struct sql_bind bind = {.column = column, .filter = filter};
    writer_text(&qw->w, qw->separator);
    qw->separator = " AND ";
    writer_text(&qw->w, column->name);
    writer_text(&qw->w, " = ");
    add_bind(qw, bind);
    if (column->sparse) { /* in these very words, or the index is not taken */
        writer_text(&qw->w, qw->separator);
        writer_text(&qw->w, column->name);
        writer_text(&qw->w, " <> ''");
    }
    size_t number = (size_t)(column - table->columns);
    if (number < table->key_len) {
        qw->is_fixed[number] = true;
        qw->fixed[number] = bind;
    }
}

/* Where both ends of the range agree on the first columns of the key, every result has these. */
static void put_common_prefix(struct query_writer *qw)
{
    const struct store_query *q = qw->q;
    if (q->after == NULL || q->until == NULL)
        return;
    for (size_t i = 0; i + 1 < q->table->key_len; i++) {
        const struct column *column = &q->table->columns[i];
        struct sql_bind first = {.column = column, .row = q->after};
        struct sql_bind last = {.column = column, .row = q->until};
        if (compare_binds(&first, &last) != 0)
            return;
        if (qw->is_fixed[i])
            continue;
        writer_text(&qw->w, qw->separator);
        qw->separator = " AND ";
        writer_text(&qw->w, column->name);
        writer_text(&qw->w, " = ");
        add_bind(qw, first);
        qw->is_fixed[i] = true;
        qw->fixed[i] = first;
    }
}

/* One end of the range, as a comparison of row values. Columns that are the same in every result
 * are decided here and left out, so that the database can look the rest up in an index. */
static void put_end(struct query_writer *qw, const void *row, bool greater, bool inclusive)
{
    if (row == NULL)
        return;
    const struct table *table = qw->q->table;
    size_t open[SQL_BINDS_MAX];
    size_t open_len = 0;
    for (size_t i = 0; i < table->key_len; i++) {
        if (!qw->is_fixed[i]) {
            open[open_len++] = i;
            continue;
        }
        struct sql_bind end = {.column = &table->columns[i], .row = row};
        int order = compare_binds(&qw->fixed[i], &end);
        if (order == 0)
            continue;
        inclusive = (order > 0) == greater;
        break;
    }
    if (open_len == 0) {
        qw->s->nothing = qw->s->nothing || !inclusive;
        return;
    }
    writer_text(&qw->w, qw->separator);
    qw->separator = " AND ";
    for (size_t i = 0; i < open_len; i++) {
        writer_text(&qw->w, i == 0 ? "(" : ", ");
        writer_text(&qw->w, table->columns[open[i]].name);
    }
    writer_text(&qw->w, greater ? ") >" : ") <");
    writer_text(&qw->w, inclusive ? "= " : " ");
    for (size_t i = 0; i < open_len; i++) {
        writer_text(&qw->w, i == 0 ? "(" : ", ");
        add_bind(qw, (struct sql_bind){.column = &table->columns[open[i]], .row = row});
    }
    writer_text(&qw->w, ")");
}

static bool finds(const struct column *c, bool tenant_fixed)
{
    return c->searchable && (tenant_fixed || c->of_all);
}

/* An index starts with (tenant, column) or (column, tenant), or is the key: a filter needs every
 * column before its own to be fixed, too. */
static bool is_indexed(const struct query_writer *qw)
{
    const struct store_query *q = qw->q;
    bool tenant_fixed = false;
    for (size_t i = 0; i < q->filters_len; i++)
        tenant_fixed = tenant_fixed || strcmp(q->filters[i].column, "tenant") == 0;
    if (strcmp(q->table->columns[0].name, "tenant") == 0)
        tenant_fixed = tenant_fixed || qw->is_fixed[0];

    bool by_column = false;
    for (size_t i = 0; i < q->filters_len; i++) {
        const struct column *c = find_column(q->table, slice_of_text(q->filters[i].column));
        by_column = by_column || (c != NULL && finds(c, tenant_fixed));
    }
    for (size_t i = 0; i < q->filters_len; i++) {
        const struct column *c = find_column(q->table, slice_of_text(q->filters[i].column));
        if (c == NULL)
            return false;
        if (finds(c, tenant_fixed))
            continue;
        if (by_column && strcmp(c->name, "tenant") == 0)
            continue;
        size_t number = (size_t)(c - q->table->columns);
        if (number >= q->table->key_len)
            return false;
        for (size_t before = 0; before < number; before++)
            if (!qw->is_fixed[before])
                return false;
    }
    return true;
}

enum err sql_query_write(struct sql_query *s, const struct store_query *query, bool count)
{
    struct query_writer qw = {.s = s, .q = query, .separator = " WHERE "};
    qw.w = writer_over(s->text, sizeof s->text);
    s->binds_len = 0;
    s->nothing = query->limit == 0;

    writer_text(&qw.w, count ? "SELECT count(*) FROM (SELECT 1 FROM " : "SELECT ");
    if (!count) {
        put_columns(&qw.w, query->table);
        writer_text(&qw.w, " FROM ");
    }
    writer_text(&qw.w, query->table->name);
    for (size_t i = 0; i < query->filters_len; i++)
        put_filter(&qw, &query->filters[i]);
    put_common_prefix(&qw);
    if (qw.w.err == ERR_NONE && !is_indexed(&qw))
        return ERR_UNSUPPORTED;
    put_end(&qw, query->after, !query->descending, false);
    put_end(&qw, query->until, query->descending, true);
    for (size_t i = 0; !count && i < query->table->key_len; i++) {
        writer_text(&qw.w, i == 0 ? " ORDER BY " : ", ");
        writer_text(&qw.w, query->table->columns[i].name);
        if (query->descending)
            writer_text(&qw.w, " DESC");
    }
    writer_text(&qw.w, " LIMIT ");
    put_parameter(&qw.w, s->binds_len + 1);
    if (count)
        writer_text(&qw.w, ") AS counted");
    s->len = qw.w.len;
    return qw.w.err;
}
