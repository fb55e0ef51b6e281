/* A table on standard output: columns as wide as they need to be, and on a terminal no wider than
 * fits, the widest giving way first. Rows are collected and printed together, a page at a time;
 * columns do not become narrower from page to page. */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H

#include "cli/text.h"
#include "core/compiler.h"
#include "core/error.h"

#define TABLE_COLUMNS_MAX 10

struct table_column {
    const char *name; /* shown in capitals by convention */
    bool right;       /* numbers */
    bool fixed;       /* is never cut: names, that one wants to copy */
};

struct table_cell {
    char *text;
    enum text_colour colour;
};

struct table {
    const struct table_column *columns;
    size_t columns_len;
    size_t widths[TABLE_COLUMNS_MAX];
    struct table_cell *cells;
    size_t cells_len, cells_max;
    bool headed; /* the heading has been printed */
};

struct table table_of(const struct table_column *columns, size_t n);
void table_free(struct table *t);
/* The next cell, from left to right, row after row. The text is copied; NULL is shown as "-".
 * ERR_NO_MEMORY. */
MUST_USE enum err table_add(struct table *t, const char *text, enum text_colour colour);
/* Prints what has been added, under a heading the first time; and forgets it. */
void table_print(struct table *t);

#endif
