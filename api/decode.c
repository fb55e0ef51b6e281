#include "api/decode_internal.h"

#include <string.h>

#include "base/json.h"

static enum err decode_object(struct decoder *d, const struct shape *shape, const json_t *object,
                              const struct place *place, uint8_t *ret);

static struct slice text_of(const json_t *string)
{
    return slice_of(json_string_value(string), json_string_length(string));
}

static enum err decode_words(struct decoder *d, const struct field *f, const json_t *array,
                             const struct place *place, unsigned *ret)
{
    size_t n = json_array_size(array);
    enum err err =
        decoder_check_range(d, f, place, (int64_t)n, "field-size", "The number of items");
    unsigned mask = 0;
    for (size_t i = 0; err == ERR_NONE && i < n; i++) {
        const json_t *item = json_array_get(array, i);
        const struct place here = {.in = place, .index = i};
        if (!json_is_string(item))
            return decoder_refuse(d, &here, "field-type", "It must be a text.");
        unsigned word = 0;
        err = decoder_read_word(d, f->words, &here, text_of(item), &word);
        if (err == ERR_NONE && (mask >> word & 1) != 0)
            return decoder_refuse(d, &here, "field-repeated", "It stands here already.");
        mask |= 1U << word;
    }
    if (err == ERR_NONE)
        *ret = mask;
    return err;
}

static enum err decode_list(struct decoder *d, const struct field *f, const json_t *array,
                            const struct place *place, uint8_t *base)
{
    size_t n = json_array_size(array);
    enum err err =
        decoder_check_range(d, f, place, (int64_t)n, "field-size", "The number of items");
    if (err != ERR_NONE)
        return err;
    uint8_t *items = arena_alloc(d->arena, n * f->shape->size);
    if (items == NULL)
        return decoder_no_memory(d);
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(array, i);
        const struct place here = {.in = place, .index = i};
        if (!json_is_object(item))
            return decoder_refuse(d, &here, "field-type", "It must be an object.");
        err = decode_object(d, f->shape, item, &here, items + i * f->shape->size);
        if (err != ERR_NONE)
            return err;
    }
    memcpy(base + f->offset, &items, sizeof items);
    memcpy(base + f->number, &n, sizeof n);
    return ERR_NONE;
}

static enum err decode_map(struct decoder *d, const struct field *f, const json_t *object,
                           const struct place *place, uint8_t *base)
{
    size_t n = json_object_size(object);
    enum err err =
        decoder_check_range(d, f, place, (int64_t)n, "field-size", "The number of items");
    if (err != ERR_NONE)
        return err;
    struct text_pair *pairs = arena_alloc(d->arena, n * sizeof *pairs);
    if (pairs == NULL)
        return decoder_no_memory(d);
    size_t i = 0;
    for (void *at = json_object_iter((json_t *)object); at != NULL;
         at = json_object_iter_next((json_t *)object, at), i++) {
        const char *name = json_object_iter_key(at);
        const json_t *value = json_object_iter_value(at);
        const struct place here = {.in = place, .name = name};
        err = decoder_copy_text(d, f->name_form, &here, slice_of_text(name), &pairs[i].name);
        if (err != ERR_NONE)
            return err;
        if (!json_is_string(value))
            return decoder_refuse(d, &here, "field-type", "It must be a text.");
        err = decoder_copy_text(d, f->form, &here, text_of(value), &pairs[i].value);
        if (err != ERR_NONE)
            return err;
    }
    memcpy(base + f->offset, &pairs, sizeof pairs);
    memcpy(base + f->number, &n, sizeof n);
    return ERR_NONE;
}

static enum err check_type(struct decoder *d, const struct field *f, const json_t *value,
                           const struct place *place)
{
    static const struct {
        json_type type;
        const char *detail;
    } types[] = {
        [FIELD_TEXT] = {JSON_STRING, "It must be a text."},
        [FIELD_BYTES] = {JSON_STRING, "It must be a text."},
        [FIELD_TIME] = {JSON_STRING, "It must be a text."},
        [FIELD_INTEGER] = {JSON_INTEGER, "It must be a whole number."},
        [FIELD_WORD] = {JSON_STRING, "It must be a text."},
        [FIELD_WORDS] = {JSON_ARRAY, "It must be an array."},
        [FIELD_OBJECT] = {JSON_OBJECT, "It must be an object."},
        [FIELD_LIST] = {JSON_ARRAY, "It must be an array."},
        [FIELD_MAP] = {JSON_OBJECT, "It must be an object."},
    };
    if (json_typeof(value) == types[f->kind].type)
        return ERR_NONE;
    return decoder_refuse(d, place, "field-type", types[f->kind].detail);
}

static enum err decode_value(struct decoder *d, const struct field *f, const json_t *value,
                             const struct place *place, uint8_t *base)
{
    uint8_t *at = base + f->offset;
    if (f->kind == FIELD_TRUTH) { /* two types of JSON's */
        bool truth = json_is_true(value);
        if (!json_is_boolean(value))
            return decoder_refuse(d, place, "field-type", "It must be true or false.");
        memcpy(at, &truth, sizeof truth);
        return ERR_NONE;
    }
    enum err err = check_type(d, f, value, place);
    if (err != ERR_NONE)
        return err;
    int64_t integer;
    switch (f->kind) {
    case FIELD_INTEGER:
        integer = json_integer_value(value);
        err = decoder_check_range(d, f, place, integer, "field-range", "It");
        if (err == ERR_NONE)
            memcpy(at, &integer, sizeof integer);
        return err;
    case FIELD_WORDS:
        return decode_words(d, f, value, place, (unsigned *)(void *)at);
    case FIELD_OBJECT:
        return decode_object(d, f->shape, value, place, at);
    case FIELD_LIST:
        return decode_list(d, f, value, place, base);
    case FIELD_MAP:
        return decode_map(d, f, value, place, base);
    default:
        return decoder_read_text(d, f, place, text_of(value), at);
    }
}

static enum err decode_object(struct decoder *d, const struct shape *shape, const json_t *object,
                              const struct place *place, uint8_t *ret)
{
    uint32_t seen = 0;
    shape_set_standards(shape, ret);
    for (void *at = json_object_iter((json_t *)object); at != NULL;
         at = json_object_iter_next((json_t *)object, at)) {
        const char *name = json_object_iter_key(at);
        const struct place here = {.in = place, .name = name};
        const struct field *f = shape_find_field(shape, slice_of_text(name));
        const json_t *value = json_object_iter_value(at);
        if (shape->foreign && (f == NULL || json_is_null(value)))
            continue;
        if (f == NULL)
            return decoder_refuse(d, &here, "field-unknown", "There is no such field here.");
        enum err err = decode_value(d, f, value, &here, ret);
        if (err != ERR_NONE)
            return err;
        shape_note_field(shape, f, ret, &seen);
    }
    return decoder_check_fields(d, shape, place, seen);
}

enum err decode_body(const struct shape *shape, struct slice body, struct arena *arena, void *ret,
                     struct problem *problem)
{
    CLEANUP(json_cleanup) json_t *object = NULL;
    enum err err = json_read_object(body, &object, problem);
    if (err != ERR_NONE)
        return err;
    struct decoder d = {.arena = arena, .problem = problem};
    uint8_t *decoded = arena_alloc(arena, shape->size);
    if (decoded == NULL)
        return decoder_no_memory(&d);
    err = decode_object(&d, shape, object, NULL, decoded);
    if (err == ERR_NONE)
        memcpy(ret, decoded, shape->size);
    return err;
}
