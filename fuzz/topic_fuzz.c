/* "FILTER NUL OTHER": what OTHER is, a name or a filter, shows. Mosquitto's own matcher is the
 * oracle where it is a name; where it is a filter, names made of it are. */
#include "core/topic.h"

#include <assert.h>
#include <mosquitto.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define INPUT_MAX 512

/* The C text of a slice, for the one matcher that wants such. */
static const char *text_of(struct slice s, char buffer[INPUT_MAX + 1])
{
    memcpy(buffer, s.data, s.len);
    buffer[s.len] = '\0';
    return buffer;
}

static void check_name(struct slice filter, struct slice name)
{
    char a[INPUT_MAX + 1], b[INPUT_MAX + 1];
    bool theirs = false;
    int rc = mosquitto_topic_matches_sub(text_of(filter, a), text_of(name, b), &theirs);
    assert(rc == MOSQ_ERR_SUCCESS);
    assert(topic_matches(filter, name) == theirs);
    assert(topic_filter_covers(filter, name) == theirs);
}

/* A name that `filter` matches: its wildcards replaced; "#" by so many levels. */
static struct slice name_of(struct slice filter, const char *level, unsigned levels,
                            uint8_t buffer[8 * INPUT_MAX])
{
    size_t len = 0;
    for (size_t i = 0; i < filter.len; i++) {
        uint8_t c = filter.data[i];
        unsigned times = c == '#' ? levels : (unsigned)(c == '+');
        if (c == '#' && levels == 0 && len > 1)
            len--; /* its parent */
        for (unsigned n = 0; n < times; n++) {
            if (n > 0)
                buffer[len++] = '/';
            memcpy(buffer + len, level, strlen(level));
            len += strlen(level);
        }
        if (times == 0 && c != '#')
            buffer[len++] = c;
    }
    return slice_of(buffer, len);
}

/* Names that `asked` matches, made so that few others do. */
static void check_filter(struct slice allowed, struct slice asked)
{
    static const char *const levels[] = {"", "fresh", "a"};
    uint8_t buffer[8 * INPUT_MAX];
    bool covers = topic_filter_covers(allowed, asked);
    for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
        for (unsigned n = 0; n < 4; n++) {
            struct slice name = name_of(asked, levels[i], n, buffer);
            if (topic_name_check(name) != ERR_NONE)
                continue;
            if (topic_matches(asked, name) && covers)
                assert(topic_matches(allowed, name));
        }
    }
    assert(topic_filter_covers(asked, asked));
    /* A filter that is not covered leaves out a name that is as strange as can be. */
    bool all = true;
    for (unsigned n = 0; n < 3; n++) {
        struct slice name = name_of(asked, "\xef\xbf\xbdstrange", n, buffer);
        if (topic_name_check(name) == ERR_NONE && topic_matches(asked, name))
            all = all && topic_matches(allowed, name);
    }
    assert(covers || !all || memmem(allowed.data, allowed.len, "strange", 7) != NULL);
}

/* The value of the one variable in its place: a pattern says what that filter says. */
static void check_pattern(struct slice pattern, struct slice asked)
{
    const struct slice values[TOPIC_VARIABLES_MAX] = {SLICE_LITERAL("a"), SLICE_LITERAL("bc"),
                                                      SLICE_LITERAL("$d"), SLICE_LITERAL("-")};
    uint8_t buffer[8 * INPUT_MAX];
    size_t len = 0;
    unsigned variables = 0;
    if (topic_pattern_check(pattern, &variables) != ERR_NONE)
        return;
    for (size_t i = 0; i < pattern.len; i++) {
        unsigned n = pattern.data[i] - TOPIC_VARIABLE;
        struct slice part = n < TOPIC_VARIABLES_MAX ? values[n] : slice_of(pattern.data + i, 1);
        memcpy(buffer + len, part.data, part.len);
        len += part.len;
    }
    struct slice filter = slice_of(buffer, len);
    assert(topic_filter_check(filter) == ERR_NONE);
    assert(topic_pattern_covers(pattern, values, asked) == topic_filter_covers(filter, asked));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const uint8_t *middle = len <= INPUT_MAX ? memchr(data, '\0', len) : NULL;
    if (middle == NULL)
        return 0;
    struct slice first = slice_of(data, (size_t)(middle - data));
    struct slice second = slice_of(middle + 1, len - first.len - 1);
    bool is_name = topic_name_check(second) == ERR_NONE;
    bool is_filter = topic_filter_check(second) == ERR_NONE;
    assert(is_filter || !is_name);
    if (is_filter)
        check_pattern(first, second);
    if (topic_filter_check(first) != ERR_NONE)
        return 0;
    if (is_name)
        check_name(first, second);
    if (is_filter)
        check_filter(first, second);
    return 0;
}
