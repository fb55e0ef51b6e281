#include "cli/table.h"

#include <stdlib.h>
#include <string.h>

#define GAP 2 /* blanks between columns */

struct table table_of(const struct table_column *columns, size_t n)
{
    struct table t = {.columns = columns, .columns_len = n};
    for (size_t i = 0; i < n; i++)
        t.widths[i] = text_width(columns[i].name);
    return t;
}

static void forget(struct table *t)
{
    for (size_t i = 0; i < t->cells_len; i++)
        free(t->cells[i].text);
    t->cells_len = 0;
}

void table_free(struct table *t)
{
    forget(t);
    free(t->cells);
    t->cells = NULL;
    t->cells_max = 0;
}

enum err table_add(struct table *t, const char *text, enum text_colour colour)
{
    if (t->cells_len == t->cells_max) {
        size_t more = t->cells_max == 0 ? 256 : t->cells_max * 2;
        struct table_cell *cells = realloc(t->cells, more * sizeof *cells);
        if (cells == NULL)
            return ERR_NO_MEMORY;
        t->cells = cells;
        t->cells_max = more;
    }
    char *copy = strdup(text == NULL || *text == '\0' ? "-" : text);
    if (copy == NULL)
        return ERR_NO_MEMORY;
    size_t width = text_width(copy);
    size_t *widest = &t->widths[t->cells_len % t->columns_len];
    if (width > *widest)
        *widest = width;
    t->cells[t->cells_len++] = (struct table_cell){.text = copy, .colour = colour};
    return ERR_NONE;
}

/* Takes columns from the widest that may be cut, until all fit. */
static void fit(const struct table *t, size_t widths[TABLE_COLUMNS_MAX])
{
    size_t columns = text_columns(stdout), total = 0;
    for (size_t i = 0; i < t->columns_len; i++) {
        widths[i] = t->widths[i];
        total += widths[i] + (i + 1 < t->columns_len ? GAP : 0);
    }
    while (columns != 0 && total > columns) {
        size_t widest = SIZE_MAX;
        for (size_t i = 0; i < t->columns_len; i++) {
            bool may = !t->columns[i].fixed && widths[i] > text_width(t->columns[i].name);
            if (may && (widest == SIZE_MAX || widths[i] > widths[widest]))
                widest = i;
        }
        if (widest == SIZE_MAX)
            return; /* rather wrapped lines than half a name */
        widths[widest]--;
        total--;
    }
}

static void pad(size_t n)
{
    while (n-- > 0)
        (void)fputc(' ', stdout);
}

static void print_cell(const struct table *t, const size_t *widths, size_t column, const char *text,
                       enum text_colour colour)
{
    size_t width = text_width(text);
    bool last = column + 1 == t->columns_len;
    if (t->columns[column].right && width < widths[column])
        pad(widths[column] - width);
    size_t shown = text_show(stdout, text, widths[column], colour);
    if (!last && !t->columns[column].right && shown < widths[column])
        pad(widths[column] - shown);
    if (last)
        (void)fputc('\n', stdout);
    else
        pad(GAP);
}

void table_print(struct table *t)
{
    size_t widths[TABLE_COLUMNS_MAX];
    fit(t, widths);
    for (size_t i = 0; !t->headed && i < t->columns_len; i++)
        print_cell(t, widths, i, t->columns[i].name, COLOUR_BOLD);
    t->headed = true;
    for (size_t i = 0; i < t->cells_len;)
        for (size_t column = 0; column < t->columns_len && i < t->cells_len; column++, i++)
            print_cell(t, widths, column, t->cells[i].text, t->cells[i].colour);
    forget(t);
}
