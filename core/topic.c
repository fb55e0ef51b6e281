/* One walk decides all: a name is a filter that matches only itself, and a filter is a pattern
 * without variables. It never goes back, so its time is that of reading both once. */
#include "core/topic.h"

#include "core/utf8.h"

enum form { FORM_NAME, FORM_FILTER, FORM_PATTERN };

static bool is_variable(uint8_t c)
{
    return c >= TOPIC_VARIABLE && c < TOPIC_VARIABLE + TOPIC_VARIABLES_MAX;
}

/* Whether the byte at i is a level of its own. */
static bool is_whole_level(struct slice s, size_t i)
{
    return (i == 0 || s.data[i - 1] == '/') && (i + 1 == s.len || s.data[i + 1] == '/');
}

static bool is_wildcard_in_place(struct slice s, size_t i)
{
    return is_whole_level(s, i) && (s.data[i] == '+' || i + 1 == s.len);
}

/* Bytes of the character or variable at i; 0 where none may stand there. */
static size_t step(struct slice s, size_t i, enum form form)
{
    uint8_t c = s.data[i];
    if (c == '\0')
        return 0;
    if (c == '+' || c == '#')
        return form != FORM_NAME && is_wildcard_in_place(s, i) ? 1 : 0;
    if (is_variable(c))
        return form == FORM_PATTERN ? 1 : 0;
    return utf8_sequence(slice_of(s.data + i, s.len - i));
}

static enum err check(struct slice s, enum form form, unsigned *ret_variables)
{
    if (s.len == 0)
        return ERR_SYNTAX;
    if (s.len > TOPIC_MAX)
        return ERR_LIMIT;
    unsigned variables = 0;
    size_t levels = 1;
    bool level_has_variable = false;
    for (size_t i = 0, n = 1; i < s.len; i += n) {
        uint8_t c = s.data[i];
        n = 1;
        if (c == '/') {
            level_has_variable = false;
            if (++levels > TOPIC_LEVELS_MAX)
                return ERR_LIMIT;
        } else if (c <= '+' || c >= 0x80) { /* what few have */
            n = step(s, i, form);
            if (n == 0 || (is_variable(c) && level_has_variable))
                return ERR_SYNTAX;
            level_has_variable = level_has_variable || is_variable(c);
            if (is_variable(c))
                variables |= 1U << (c - TOPIC_VARIABLE);
        }
    }
    *ret_variables = variables;
    return ERR_NONE;
}

enum err topic_name_check(struct slice name)
{
    unsigned none;
    return check(name, FORM_NAME, &none);
}

enum err topic_filter_check(struct slice filter)
{
    unsigned none;
    return check(filter, FORM_FILTER, &none);
}

enum err topic_pattern_check(struct slice pattern, unsigned *ret_variables)
{
    return check(pattern, FORM_PATTERN, ret_variables);
}

bool topic_value_ok(struct slice value)
{
    if (value.len == 0 || value.data[0] == '$')
        return false;
    for (size_t i = 0; i < value.len; i++) {
        uint8_t c = value.data[i];
        if (c <= '/' && (c == '/' || c == '+' || c == '#' || c == '\0'))
            return false;
    }
    return true;
}

/* The end of the level that i is in. */
static size_t level_end(struct slice s, size_t i)
{
    while (i < s.len && s.data[i] != '/')
        i++;
    return i;
}

/* Filters that match the same names as what is given, written so that "#" follows as many levels
 * as each of those names has at least: names are not empty, so they have one level, and two where
 * the first is empty. */
static struct slice with_fewest_levels(struct slice filter)
{
    if (slice_equal(filter, SLICE_LITERAL("#")))
        return SLICE_LITERAL("+/#");
    if (slice_equal(filter, SLICE_LITERAL("/#")))
        return SLICE_LITERAL("/+/#");
    return filter;
}

bool topic_pattern_covers(struct slice pattern, const struct slice values[TOPIC_VARIABLES_MAX],
                          struct slice asked)
{
    if (asked.data[0] == '$' && (pattern.data[0] == '+' || pattern.data[0] == '#'))
        return false;
    if (asked.data[asked.len - 1] == '#' && asked.len <= 2)
        asked = with_fewest_levels(asked);
    size_t at = 0;
    for (size_t i = 0; i < pattern.len; i++) {
        uint8_t c = pattern.data[i];
        if (c == '#')
            return true;
        if (c == '+') {
            if (at < asked.len && asked.data[at] == '#')
                return false;
            at = level_end(asked, at);
        } else if (is_variable(c)) {
            struct slice rest = slice_of(asked.data + at, asked.len - at);
            if (values == NULL || !slice_starts_with(rest, values[c - TOPIC_VARIABLE]))
                return false;
            at += values[c - TOPIC_VARIABLE].len;
        } else if (at < asked.len && asked.data[at] == c) {
            at++;
        } else {
            /* "a/#" matches "a", too. */
            return at == asked.len && c == '/' && i + 2 == pattern.len &&
                   pattern.data[i + 1] == '#';
        }
    }
    return at == asked.len;
}

bool topic_matches(struct slice filter, struct slice name)
{
    return topic_pattern_covers(filter, NULL, name);
}

bool topic_filter_covers(struct slice allowed, struct slice asked)
{
    return topic_pattern_covers(allowed, NULL, asked);
}
