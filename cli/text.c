#include "cli/text.h"

#include <langinfo.h>
#include <locale.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "core/utf8.h"

#define LABEL_WIDTH 14
#define PAIR_MAX    1024 /* bytes of a formatted value */

static bool speaks_utf8;

void text_init(void)
{
    (void)setlocale(LC_CTYPE, "");
    speaks_utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

static bool is_terminal(FILE *to)
{
    return isatty(fileno(to)) == 1;
}

bool text_has_colour(FILE *to)
{
    const char *no_colour = getenv("NO_COLOR"), *term = getenv("TERM");
    return (no_colour == NULL || *no_colour == '\0') && is_terminal(to) && term != NULL &&
           strcmp(term, "dumb") != 0;
}

size_t text_columns(FILE *to)
{
    struct winsize size;
    if (!is_terminal(to))
        return 0;
    if (ioctl(fileno(to), TIOCGWINSZ, &size) != 0 || size.ws_col < 20)
        return 80;
    return size.ws_col;
}

/* One character: its bytes in the text, what is shown for it, and in how many columns. */
struct glyph {
    size_t len;
    struct slice shown;
    size_t width;
};

static uint32_t decode(const uint8_t *s, size_t n)
{
    uint32_t c = n == 1 ? s[0] : s[0] & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++)
        c = c << 6 | (s[i] & 0x3fu);
    return c;
}

/* C0 and C1 controls, and what turns the direction of writing or hides text (Unicode Bidi_Control,
 * line separators, zero width). */
static bool is_harmful(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x61c || (c >= 0x200b && c <= 0x200f) ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff;
}

static struct glyph next_glyph(const char *text, bool utf8)
{
    struct slice s = slice_of_text(text);
    size_t n = utf8_sequence(s);
    struct slice replacement = utf8 ? SLICE_LITERAL("\xef\xbf\xbd") : SLICE_LITERAL("?");
    if (n == 0)
        return (struct glyph){.len = 1, .shown = replacement, .width = 1};
    uint32_t c = decode(s.data, n);
    if (is_harmful(c) || (c >= 0x80 && !utf8))
        return (struct glyph){.len = n, .shown = replacement, .width = 1};
    int width = c < 0x80 ? 1 : wcwidth((wchar_t)c);
    return (struct glyph){
        .len = n, .shown = slice_of(s.data, n), .width = width < 0 ? 1 : (size_t)width};
}

static size_t width_of(const char *text, bool utf8)
{
    size_t width = 0;
    while (*text != '\0') {
        struct glyph g = next_glyph(text, utf8);
        width += g.width;
        text += g.len;
    }
    return width;
}

size_t text_width(const char *text)
{
    return width_of(text, true);
}

static void colour_on(FILE *to, enum text_colour colour)
{
    static const char *const codes[] = {
        [COLOUR_GOOD] = "\x1b[32m", [COLOUR_WARN] = "\x1b[33m", [COLOUR_BAD] = "\x1b[31m",
        [COLOUR_DIM] = "\x1b[2m",   [COLOUR_BOLD] = "\x1b[1m",
    };
    (void)fputs(codes[colour], to);
}

size_t text_show(FILE *to, const char *text, size_t max, enum text_colour colour)
{
    bool terminal = is_terminal(to);
    bool utf8 = speaks_utf8 || !terminal; /* files and pipes get UTF-8 whatever the locale */
    bool coloured = colour != COLOUR_NONE && text_has_colour(to);
    size_t width = width_of(text, utf8), shown = 0;
    size_t ellipsis = utf8 ? 1 : 3;
    bool cut = width > max;
    size_t room = cut ? (max > ellipsis ? max - ellipsis : 0) : max;
    if (coloured)
        colour_on(to, colour);
    while (*text != '\0') {
        struct glyph g = next_glyph(text, utf8);
        if (g.width > room - shown)
            break;
        (void)fwrite(g.shown.data, 1, g.shown.len, to);
        shown += g.width;
        text += g.len;
    }
    if (cut && max >= ellipsis) {
        (void)fputs(utf8 ? "\u2026" : "...", to);
        shown += ellipsis;
    }
    if (coloured)
        (void)fputs("\x1b[0m", to);
    return shown;
}

void text_put(FILE *to, const char *text)
{
    (void)text_show(to, text, SIZE_MAX, COLOUR_NONE);
}

void text_pair(const char *label, const char *text, enum text_colour colour)
{
    if (text == NULL)
        return;
    (void)text_show(stdout, label, SIZE_MAX, COLOUR_DIM);
    for (size_t n = text_width(label); n < LABEL_WIDTH; n++)
        (void)fputc(' ', stdout);
    (void)fputs("  ", stdout);
    (void)text_show(stdout, text, SIZE_MAX, colour);
    (void)fputc('\n', stdout);
}

void text_pair_format(const char *label, const char *format, ...)
{
    char text[PAIR_MAX];
    va_list values;
    va_start(values, format);
    int n = vsnprintf(text, sizeof text, format, values);
    va_end(values);
    text_pair(label, n < 0 ? "" : text, COLOUR_NONE);
}
