#include "api/decode_internal.h"

#include <string.h>

static int hex_digit(int c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static enum err refuse_form(struct decoder *d)
{
    return decoder_refuse(d, NULL, "form-malformed",
                          "A form is name=value, percent-encoded and joined by \"&\".");
}

/* Decoded into `buffer`, which has room for all of it. A decoded NUL is no text of ours. */
static enum err unescape(struct decoder *d, struct slice text, uint8_t *buffer,
                         struct slice *ret_text)
{
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        int c = text.data[i];
        if (c == '+')
            c = ' ';
        if (c == '%') {
            int high = text.len - i > 2 ? hex_digit(text.data[i + 1]) : -1;
            int low = text.len - i > 2 ? hex_digit(text.data[i + 2]) : -1;
            if (high < 0 || low < 0)
                return refuse_form(d);
            c = high << 4 | low;
            i += 2;
        }
        if (c == 0)
            return refuse_form(d);
        buffer[n++] = (uint8_t)c;
    }
    *ret_text = slice_of(buffer, n);
    return ERR_NONE;
}

static enum err take_pair(struct decoder *d, struct slice pair, const struct shape *shape,
                          uint8_t *base, uint32_t *seen)
{
    const uint8_t *equals = pair.len == 0 ? NULL : memchr(pair.data, '=', pair.len);
    uint8_t *buffer = arena_alloc(d->arena, pair.len);
    if (buffer == NULL)
        return decoder_no_memory(d);
    if (equals == NULL || equals == pair.data)
        return refuse_form(d);
    size_t name_len = (size_t)(equals - pair.data);
    struct slice name, value;
    enum err err = unescape(d, slice_of(pair.data, name_len), buffer, &name);
    if (err == ERR_NONE)
        err = unescape(d, slice_of(equals + 1, pair.len - name_len - 1), buffer + name_len, &value);
    if (err != ERR_NONE)
        return err;
    const struct field *f = shape_find_field(shape, name);
    if (f == NULL)
        return shape->foreign ? ERR_NONE
                              : decoder_refuse(d, NULL, "field-unknown",
                                               "There is a field that does not belong here.");
    const struct place here = {.name = f->name};
    if ((*seen >> (f - shape->fields) & 1) != 0)
        return decoder_refuse(d, &here, "field-repeated", "It stands in the form already.");
    err = decoder_read_parameter(d, f, &here, value, base);
    if (err == ERR_NONE)
        shape_note_field(shape, f, base, seen);
    return err;
}

enum err decode_web_form(const struct shape *shape, struct slice body, struct arena *arena,
                         void *ret, struct problem *problem)
{
    struct decoder d = {.arena = arena, .problem = problem};
    uint8_t *decoded = arena_alloc(arena, shape->size);
    if (decoded == NULL)
        return decoder_no_memory(&d);
    uint32_t seen = 0;
    shape_set_standards(shape, decoded);
    for (struct slice rest = body; rest.len > 0;) {
        const uint8_t *end = memchr(rest.data, '&', rest.len);
        size_t len = end == NULL ? rest.len : (size_t)(end - rest.data);
        enum err err = take_pair(&d, slice_of(rest.data, len), shape, decoded, &seen);
        if (err != ERR_NONE)
            return err;
        if (end != NULL && len + 1 == rest.len)
            return refuse_form(&d); /* it ends in "&" */
        size_t used = end == NULL ? len : len + 1;
        rest = slice_of(rest.data + used, rest.len - used);
    }
    enum err err = decoder_check_fields(&d, shape, NULL, seen);
    if (err == ERR_NONE)
        memcpy(ret, decoded, shape->size);
    return err;
}
