/* Text for a terminal. What comes from elsewhere is made harmless before it is shown: control
 * characters and those that change the direction of writing become U+FFFD. */
#ifndef CLI_TEXT_H
#define CLI_TEXT_H

#include <stdbool.h>
#include <stdio.h>

#include "core/slice.h"

enum text_colour {
    COLOUR_NONE,
    COLOUR_GOOD, /* green */
    COLOUR_WARN, /* yellow */
    COLOUR_BAD,  /* red */
    COLOUR_DIM,
    COLOUR_BOLD,
};

/* Once, at the start: looks at the locale and at NO_COLOR. */
void text_init(void);
/* Whether `to` is a terminal that shows colours, and the person wants them. */
bool text_has_colour(FILE *to);
/* Columns of the terminal; 0 where `to` is none, and then nothing is cut. */
size_t text_columns(FILE *to);

/* Columns that it takes when shown. */
size_t text_width(const char *text);
/* Shows at most `max` columns, with an ellipsis where it is cut. Returns the columns taken. */
size_t text_show(FILE *to, const char *text, size_t max, enum text_colour colour);
/* Shows all of it. */
void text_put(FILE *to, const char *text);
/* "  label      text\n"; nothing where text is NULL. For the `show` verbs. */
void text_pair(const char *label, const char *text, enum text_colour colour);
void text_pair_format(const char *label, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
