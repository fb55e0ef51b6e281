#include "base/config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/similar.h"
#include "core/cursor.h"

#define KEYS_MAX  128 /* of one program; the hub has some forty */
#define SHOWN_MAX 48  /* bytes of a foreign name in a message */

struct run {
    const char *name;   /* of the file, in messages */
    const char *folder; /* of relative paths */
    const struct config_key *keys;
    size_t n;
    uint8_t *config; /* NULL while everything is only checked */
    struct config_error *error;
    unsigned line;            /* 0 for standard values */
    unsigned lines[KEYS_MAX]; /* where a key was set; 0: not yet */
};

PRINTF_LIKE(3, 4)
static enum err fail(const struct run *r, enum err err, const char *format, ...)
{
    char text[sizeof r->error->text * 2];
    va_list values;
    va_start(values, format);
    int n = vsnprintf(text, sizeof text, format, values);
    va_end(values);
    if (n < 0)
        text[0] = '\0';
    /* a long path must not push out what is wrong: its end says which file it is */
    size_t len = strlen(r->name);
    const char *name = len > 120 ? r->name + len - 120 : r->name;
    char *to = r->error->text;
    size_t size = sizeof r->error->text;
    n = r->line == 0 ? snprintf(to, size, "%s: %s", name, text)
                     : snprintf(to, size, "%s:%u: %s", name, r->line, text);
    if (n < 0)
        to[0] = '\0';
    return err;
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static struct slice trim(struct slice s)
{
    while (s.len > 0 && is_blank(s.data[0]))
        s = slice_of(s.data + 1, s.len - 1);
    while (s.len > 0 && is_blank(s.data[s.len - 1]))
        s.len--;
    return s;
}

/* RFC 3629 without control characters. */
static bool is_clean_utf8(struct slice s)
{
    for (size_t i = 0; i < s.len;) {
        uint8_t c = s.data[i];
        if ((c < 0x20 && c != '\t') || c == 0x7F)
            return false;
        size_t n = c < 0x80 ? 1 : c >= 0xC2 && c < 0xE0 ? 2 : (c & 0xF0) == 0xE0 ? 3 : 4;
        if (c >= 0xF5 || (c >= 0x80 && c < 0xC2) || s.len - i < n)
            return false;
        for (size_t k = 1; k < n; k++)
            if ((s.data[i + k] & 0xC0) != 0x80)
                return false;
        uint8_t second = n > 1 ? s.data[i + 1] : 0;
        if ((c == 0xE0 && second < 0xA0) || (c == 0xED && second > 0x9F) ||
            (c == 0xF0 && second < 0x90) || (c == 0xF4 && second > 0x8F))
            return false;
        i += n;
    }
    return true;
}

static enum err unknown_key(const struct run *r, struct slice name)
{
    struct similar similar = similar_to(name);
    for (size_t i = 0; i < r->n; i++)
        similar_offer(&similar, r->keys[i].name);
    const char *meant = similar.best;
    int shown = name.len < SHOWN_MAX ? (int)name.len : SHOWN_MAX;
    if (meant == NULL)
        return fail(r, ERR_SYNTAX, "unknown key '%.*s'", shown, (const char *)name.data);
    return fail(r, ERR_SYNTAX, "unknown key '%.*s'; did you mean '%s'?", shown,
                (const char *)name.data, meant);
}

static void *field_of(const struct run *r, const struct config_key *key)
{
    return r->config + key->offset;
}

static enum err set_text(const struct run *r, const struct config_key *key, struct slice value)
{
    struct slice folder = {NULL, 0};
    if (key->kind == CONFIG_PATH && value.len > 0 && value.data[0] != '/')
        folder = slice_of_text(r->folder);
    size_t prefix = folder.len == 0 ? 0 : folder.len + 1;
    if (value.len >= CONFIG_TEXT_MAX || prefix >= CONFIG_TEXT_MAX - value.len)
        return fail(r, ERR_LIMIT, "'%s' is longer than %d bytes", key->name, CONFIG_TEXT_MAX - 1);
    if (r->config == NULL)
        return ERR_NONE;
    struct writer w = writer_over(field_of(r, key), CONFIG_TEXT_MAX);
    writer_put(&w, folder);
    if (folder.len > 0 && folder.data[folder.len - 1] != '/')
        writer_u8(&w, '/');
    writer_put(&w, value);
    writer_u8(&w, '\0');
    return w.err == ERR_NONE ? ERR_NONE : ERR_INTERNAL;
}

static enum err integer_read(struct slice text, int64_t *ret_value)
{
    bool negative = text.len > 0 && text.data[0] == '-';
    struct reader in = reader_over(negative ? slice_of(text.data + 1, text.len - 1) : text);
    int64_t v = (int64_t)reader_decimal(&in, INT64_MAX);
    enum err err = reader_finish(&in);
    if (err == ERR_NONE)
        *ret_value = negative ? -v : v;
    return err;
}

enum err config_duration_read(struct slice text, int64_t *ret_seconds)
{
    static const struct {
        uint8_t unit;
        int64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'y', INT64_C(31536000)}};
    int64_t seconds = 1;
    for (size_t i = 0; i < ARRAY_LEN(units) && text.len > 0; i++) {
        if (text.data[text.len - 1] != units[i].unit)
            continue;
        seconds = units[i].seconds;
        text.len--;
        break;
    }
    struct reader in = reader_over(text);
    int64_t v = (int64_t)reader_decimal(&in, (uint64_t)(INT64_MAX / seconds));
    enum err err = reader_finish(&in);
    if (err == ERR_NONE)
        *ret_seconds = v * seconds;
    return err;
}

static enum err set_number(const struct run *r, const struct config_key *key, struct slice value)
{
    bool is_duration = key->kind == CONFIG_DURATION;
    int64_t v = 0;
    enum err err = is_duration ? config_duration_read(value, &v) : integer_read(value, &v);
    if (err == ERR_SYNTAX)
        return fail(r, err, "'%s' is not %s", key->name,
                    is_duration ? "a duration such as 90s, 15m, 2h or 30d" : "a whole number");
    if (err != ERR_NONE || v < key->min || v > key->max)
        return fail(r, ERR_LIMIT, "'%s' is not within %lld and %lld%s", key->name,
                    (long long)key->min, (long long)key->max, is_duration ? " seconds" : "");
    if (r->config != NULL)
        memcpy(field_of(r, key), &v, sizeof v);
    return ERR_NONE;
}

static enum err set_bool(const struct run *r, const struct config_key *key, struct slice value)
{
    bool v = slice_equal(value, SLICE_LITERAL("true"));
    if (!v && !slice_equal(value, SLICE_LITERAL("false")))
        return fail(r, ERR_SYNTAX, "'%s' is neither true nor false", key->name);
    if (r->config != NULL)
        memcpy(field_of(r, key), &v, sizeof v);
    return ERR_NONE;
}

static enum err set_list(const struct run *r, const struct config_key *key, struct slice value)
{
    struct config_list list = {.n = 0};
    while (value.len > 0) {
        const uint8_t *comma = memchr(value.data, ',', value.len);
        size_t n = comma == NULL ? value.len : (size_t)(comma - value.data);
        struct slice item = trim(slice_of(value.data, n));
        if (item.len == 0 || n + 1 == value.len)
            return fail(r, ERR_SYNTAX, "'%s' has an empty item", key->name);
        if (list.n == ARRAY_LEN(list.items))
            return fail(r, ERR_LIMIT, "'%s' has more than %zu items", key->name,
                        ARRAY_LEN(list.items));
        if (item.len >= sizeof list.items[0])
            return fail(r, ERR_LIMIT, "an item of '%s' is longer than %zu bytes", key->name,
                        sizeof list.items[0] - 1);
        memcpy(list.items[list.n++], item.data, item.len);
        value = comma == NULL ? slice_of(NULL, 0) : slice_of(comma + 1, value.len - n - 1);
    }
    if (r->config != NULL)
        memcpy(field_of(r, key), &list, sizeof list);
    return ERR_NONE;
}

static enum err set_value(const struct run *r, const struct config_key *key, struct slice value)
{
    switch (key->kind) {
    case CONFIG_TEXT:
    case CONFIG_PATH:
        return set_text(r, key, value);
    case CONFIG_INTEGER:
    case CONFIG_DURATION:
        return set_number(r, key, value);
    case CONFIG_BOOL:
        return set_bool(r, key, value);
    case CONFIG_LIST:
        return set_list(r, key, value);
    }
    return ERR_INTERNAL;
}

/* "value # why" would silently make the comment part of the value. */
static bool holds_comment(struct slice value)
{
    for (size_t i = 1; i < value.len; i++)
        if (value.data[i] == '#' && is_blank(value.data[i - 1]))
            return true;
    return false;
}

static enum err read_line(struct run *r, struct slice line)
{
    if (!is_clean_utf8(line))
        return fail(r, ERR_SYNTAX, "a byte that is not UTF-8 text");
    if (line.len == 0 || line.data[0] == '#')
        return ERR_NONE;
    const uint8_t *equals = memchr(line.data, '=', line.len);
    if (equals == NULL)
        return fail(r, ERR_SYNTAX, "expected \"name = value\"");
    size_t at = (size_t)(equals - line.data);
    struct slice name = trim(slice_of(line.data, at));
    struct slice value = trim(slice_of(equals + 1, line.len - at - 1));
    if (name.len == 0)
        return fail(r, ERR_SYNTAX, "a name is missing before \"=\"");
    size_t i = 0;
    while (i < r->n && !slice_equal(name, slice_of_text(r->keys[i].name)))
        i++;
    if (i == r->n)
        return unknown_key(r, name);
    if (r->lines[i] != 0)
        return fail(r, ERR_SYNTAX, "'%s' is set twice, first on line %u", r->keys[i].name,
                    r->lines[i]);
    r->lines[i] = r->line;
    if (holds_comment(value) || (value.len > 0 && value.data[0] == '#'))
        return fail(r, ERR_SYNTAX, "a comment needs a line of its own");
    return set_value(r, &r->keys[i], value);
}

static enum err run(struct run *r, struct slice text)
{
    while (text.len > 0) {
        const uint8_t *end = memchr(text.data, '\n', text.len);
        size_t n = end == NULL ? text.len : (size_t)(end - text.data);
        r->line++;
        enum err err = read_line(r, trim(slice_of(text.data, n)));
        if (err != ERR_NONE)
            return err;
        text = end == NULL ? slice_of(NULL, 0) : slice_of(end + 1, text.len - n - 1);
    }
    r->line = 0;
    for (size_t i = 0; i < r->n; i++) {
        if (r->lines[i] != 0)
            continue;
        if (r->keys[i].standard == NULL)
            return fail(r, ERR_SYNTAX, "'%s' is missing", r->keys[i].name);
        enum err err = set_value(r, &r->keys[i], slice_of_text(r->keys[i].standard));
        if (err != ERR_NONE)
            return err;
    }
    return ERR_NONE;
}

enum err config_read(struct slice text, const char *name, const char *folder,
                     const struct config_key *keys, size_t n, void *config,
                     struct config_error *error)
{
    struct run check = {.name = name, .folder = folder, .keys = keys, .n = n, .error = error};
    struct run store = check;
    if (n > KEYS_MAX)
        return fail(&check, ERR_INTERNAL, "more than %d keys are declared", KEYS_MAX);
    if (text.len > (size_t)CONFIG_FILE_MAX)
        return fail(&check, ERR_LIMIT, "larger than %d bytes", CONFIG_FILE_MAX);
    enum err err = run(&check, text);
    if (err != ERR_NONE)
        return err;
    store.config = config;
    return run(&store, text);
}

enum err config_read_file(const char *path, const struct config_key *keys, size_t n, void *config,
                          struct config_error *error)
{
    struct run r = {.name = path, .error = error};
    uint8_t *bytes = NULL;
    size_t len = 0;
    enum err err = file_read(path, (size_t)CONFIG_FILE_MAX, &bytes, &len);
    if (err == ERR_LIMIT)
        return fail(&r, err, "larger than %d bytes", CONFIG_FILE_MAX);
    if (err == ERR_NO_MEMORY)
        return fail(&r, err, "%s", err_text(err));
    if (err != ERR_NONE)
        return fail(&r, ERR_IO, "cannot be read: %s", strerror(errno));
    char folder[CONFIG_TEXT_MAX] = ".";
    const char *slash = strrchr(path, '/');
    size_t folder_len = slash == NULL ? 1 : slash == path ? 1 : (size_t)(slash - path);
    if (folder_len >= sizeof folder) {
        err = fail(&r, ERR_LIMIT, "its path is longer than %d bytes", CONFIG_TEXT_MAX - 1);
    } else {
        if (slash != NULL)
            memcpy(folder, path, folder_len);
        err = config_read(slice_of(bytes, len), path, folder, keys, n, config, error);
    }
    file_free_secret(bytes, len);
    return err;
}
