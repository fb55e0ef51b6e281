#include "api/decode_internal.h"

#include <string.h>

enum err decoder_read_parameter(struct decoder *d, const struct field *f, const struct place *place,
                                struct slice text, uint8_t *base)
{
    if (f->kind != FIELD_INTEGER)
        return decoder_read_text(d, f, place, text, base + f->offset);
    struct reader r = reader_over(text);
    int64_t integer = (int64_t)reader_decimal(&r, INT64_MAX);
    if (reader_finish(&r) != ERR_NONE)
        return decoder_refuse(d, place, "field-value",
                              "It must be a whole number in decimal digits.");
    enum err err = decoder_check_range(d, f, place, integer, "field-range", "It");
    if (err == ERR_NONE)
        memcpy(base + f->offset, &integer, sizeof integer);
    return err;
}

/* Splits "name=value&rest"; what it leaves of *rest begins behind the "&". */
static enum err take_parameter(struct decoder *d, struct slice *rest, struct slice *ret_name,
                               struct slice *ret_value)
{
    size_t end = 0, equals = SIZE_MAX;
    for (; end < rest->len && rest->data[end] != '&'; end++) {
        if (rest->data[end] == '=' && equals == SIZE_MAX)
            equals = end;
        if (rest->data[end] == '%' || rest->data[end] == '+')
            return decoder_refuse(d, NULL, "query-malformed",
                                  "No parameter needs percent-encoding, so none is taken.");
    }
    bool ends_in_and = end + 1 == rest->len;
    if (equals == SIZE_MAX || equals == 0 || ends_in_and)
        return decoder_refuse(d, NULL, "query-malformed",
                              "A query is name=value, joined by \"&\".");
    *ret_name = slice_of(rest->data, equals);
    *ret_value = slice_of(rest->data + equals + 1, end - equals - 1);
    size_t used = end < rest->len ? end + 1 : end;
    *rest = slice_of(rest->data + used, rest->len - used);
    return ERR_NONE;
}

static enum err refuse_parameter(struct decoder *d, struct slice name)
{
    char text[sizeof d->problem->field];
    size_t n = name.len < sizeof text - 1 ? name.len : sizeof text - 1;
    memcpy(text, name.data, n);
    text[n] = '\0';
    const struct place here = {.name = text};
    return decoder_refuse(d, &here, "field-unknown", "There is no such parameter here.");
}

enum err decode_query(const struct shape *shape, const char *query, struct arena *arena, void *ret,
                      struct problem *problem)
{
    struct decoder d = {.arena = arena, .problem = problem};
    struct slice rest = slice_of_text(query);
    uint8_t *decoded = arena_alloc(arena, shape->size);
    if (decoded == NULL)
        return decoder_no_memory(&d);
    uint32_t seen = 0;
    shape_set_standards(shape, decoded);
    while (rest.len > 0) {
        struct slice name, value;
        enum err err = take_parameter(&d, &rest, &name, &value);
        if (err != ERR_NONE)
            return err;
        const struct field *f = shape_find_field(shape, name);
        if (f == NULL)
            return refuse_parameter(&d, name);
        const struct place here = {.name = f->name};
        if ((seen >> (f - shape->fields) & 1) != 0)
            return decoder_refuse(&d, &here, "field-repeated", "It stands in the query already.");
        err = decoder_read_parameter(&d, f, &here, value, decoded);
        if (err != ERR_NONE)
            return err;
        shape_note_field(shape, f, decoded, &seen);
    }
    enum err err = decoder_check_fields(&d, shape, NULL, seen);
    if (err == ERR_NONE)
        memcpy(ret, decoded, shape->size);
    return err;
}

enum err decode_no_query(const char *query, struct problem *problem)
{
    if (query[0] == '\0')
        return ERR_NONE;
    struct decoder d = {.problem = problem};
    struct slice rest = slice_of_text(query), name, value;
    enum err err = take_parameter(&d, &rest, &name, &value);
    return err != ERR_NONE ? err : refuse_parameter(&d, name);
}
