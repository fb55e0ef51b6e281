#include "core/json_write.h"

#include "core/calendar.h"
#include "core/utf8.h"

struct json_writer json_writer_over(struct writer *w)
{
    return (struct json_writer){.w = w, .first = 1};
}

static uint32_t here(const struct json_writer *j)
{
    return UINT32_C(1) << j->depth;
}

/* What stands before a value: a comma, or nothing. */
static void begin_value(struct json_writer *j)
{
    if (j->after_key) {
        j->after_key = false;
        return;
    }
    bool first = (j->first & here(j)) != 0;
    if ((j->objects & here(j)) != 0 || (j->depth == 0 && !first))
        writer_fail(j->w, ERR_INTERNAL);
    if (!first)
        writer_u8(j->w, ',');
    j->first &= ~here(j);
}

static void open_with(struct json_writer *j, uint8_t bracket)
{
    begin_value(j);
    if (j->depth == JSON_DEPTH_MAX) {
        writer_fail(j->w, ERR_LIMIT);
        return;
    }
    writer_u8(j->w, bracket);
    j->depth++;
    j->first |= here(j);
    if (bracket == '{')
        j->objects |= here(j);
    else
        j->objects &= ~here(j);
}

static void close_with(struct json_writer *j, uint8_t bracket)
{
    bool object = (j->objects & here(j)) != 0;
    if (j->depth == 0 || j->after_key || object != (bracket == '}')) {
        writer_fail(j->w, ERR_INTERNAL);
        return;
    }
    writer_u8(j->w, bracket);
    j->depth--;
}

void json_open_object(struct json_writer *j)
{
    open_with(j, '{');
}

void json_close_object(struct json_writer *j)
{
    close_with(j, '}');
}

void json_open_array(struct json_writer *j)
{
    open_with(j, '[');
}

void json_close_array(struct json_writer *j)
{
    close_with(j, ']');
}

static void put_escaped(struct writer *w, uint8_t c)
{
    static const char names[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    for (size_t i = 0; i < sizeof names - 1; i += 2) {
        if (c != (uint8_t)names[i])
            continue;
        writer_u8(w, '\\');
        writer_u8(w, (uint8_t)names[i + 1]);
        return;
    }
    writer_text(w, "\\u00");
    writer_hex(w, slice_of(&c, 1));
}

static void put_string(struct writer *w, struct slice text)
{
    writer_u8(w, '"');
    size_t plain = 0; /* where the run that needs no change begins */
    for (size_t i = 0; i < text.len;) {
        uint8_t c = text.data[i];
        size_t n = c < 0x80 ? 1 : utf8_sequence(slice_of(text.data + i, text.len - i));
        if (n > 0 && c >= ' ' && c != '"' && c != '\\') {
            i += n;
            continue;
        }
        writer_put(w, slice_of(text.data + plain, i - plain));
        if (n == 0)
            writer_text(w, "\xef\xbf\xbd");
        else
            put_escaped(w, c);
        plain = ++i;
    }
    if (text.len > plain)
        writer_put(w, slice_of(text.data + plain, text.len - plain));
    writer_u8(w, '"');
}

void json_key(struct json_writer *j, const char *key)
{
    if (j->after_key || (j->objects & here(j)) == 0) {
        writer_fail(j->w, ERR_INTERNAL);
        return;
    }
    if ((j->first & here(j)) == 0)
        writer_u8(j->w, ',');
    j->first &= ~here(j);
    put_string(j->w, slice_of_text(key));
    writer_u8(j->w, ':');
    j->after_key = true;
}

void json_slice(struct json_writer *j, struct slice text)
{
    begin_value(j);
    put_string(j->w, text);
}

void json_text(struct json_writer *j, const char *text)
{
    json_slice(j, slice_of_text(text));
}

void json_number(struct json_writer *j, int64_t v)
{
    begin_value(j);
    if (v < 0)
        writer_u8(j->w, '-');
    writer_decimal(j->w, v < 0 ? UINT64_C(0) - (uint64_t)v : (uint64_t)v);
}

void json_bool(struct json_writer *j, bool v)
{
    begin_value(j);
    writer_text(j->w, v ? "true" : "false");
}

void json_none(struct json_writer *j)
{
    begin_value(j);
    writer_text(j->w, "null");
}

void json_hex(struct json_writer *j, struct slice bytes)
{
    begin_value(j);
    writer_u8(j->w, '"');
    writer_hex(j->w, bytes);
    writer_u8(j->w, '"');
}

void json_time(struct json_writer *j, int64_t seconds)
{
    begin_value(j);
    writer_u8(j->w, '"');
    calendar_write_rfc3339(j->w, seconds);
    writer_u8(j->w, '"');
}

void json_raw(struct json_writer *j, struct slice json)
{
    begin_value(j);
    writer_put(j->w, json);
}

void json_field_text(struct json_writer *j, const char *key, const char *text)
{
    json_key(j, key);
    json_text(j, text);
}

void json_field_slice(struct json_writer *j, const char *key, struct slice text)
{
    json_key(j, key);
    json_slice(j, text);
}

void json_field_integer(struct json_writer *j, const char *key, int64_t v)
{
    json_key(j, key);
    json_number(j, v);
}

void json_field_bool(struct json_writer *j, const char *key, bool v)
{
    json_key(j, key);
    json_bool(j, v);
}

void json_field_hex(struct json_writer *j, const char *key, struct slice bytes)
{
    json_key(j, key);
    json_hex(j, bytes);
}

void json_field_time(struct json_writer *j, const char *key, int64_t seconds)
{
    json_key(j, key);
    json_time(j, seconds);
}
