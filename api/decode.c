#include "api/decode.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "core/calendar.h"

/* Where we are: a chain over the callers' stacks, written out only when something is refused. */
struct place {
    const struct place *in;
    const char *name; /* of a field; NULL: the item `index` of a list */
    size_t index;
};

struct decoder {
    struct arena *arena;
    struct problem *problem;
};

static enum err decode_object(struct decoder *d, const struct shape *shape, const json_t *object,
                              const struct place *place, uint8_t *ret);

static void place_write(struct writer *w, const struct place *place)
{
    if (place == NULL)
        return;
    place_write(w, place->in);
    if (place->name == NULL) {
        writer_text(w, "[");
        writer_decimal(w, place->index);
        writer_text(w, "]");
        return;
    }
    if (place->in != NULL && w->len > 0)
        writer_text(w, ".");
    /* A stranger's name may be of any length: as much as there is room for. */
    struct slice name = slice_of_text(place->name);
    size_t room = w->max - w->len;
    writer_put(w, slice_of(name.data, name.len < room ? name.len : room));
}

static enum err refuse(struct decoder *d, const struct place *place, const char *code,
                       const char *detail)
{
    char field[sizeof d->problem->field + 1] = "";
    struct writer w = writer_over(field, sizeof field - 1);
    place_write(&w, place);
    return problem_set(d->problem, 400, code, field, "%s", detail);
}

static enum err no_memory(struct decoder *d)
{
    problem_from_err(d->problem, ERR_NO_MEMORY);
    return ERR_NO_MEMORY;
}

/* ---- values that come as text, from JSON and from queries alike ---- */

static enum err check_form(struct decoder *d, const struct text_form *form,
                           const struct place *place, struct slice text)
{
    char detail[sizeof d->problem->detail];
    switch (text_form_check(form, text)) {
    case ERR_NONE:
        return ERR_NONE;
    case ERR_LIMIT:
        (void)snprintf(detail, sizeof detail, "It must have %u to %u characters, at most %u bytes.",
                       form->characters_min, form->characters_max, form->bytes_max);
        return refuse(d, place, "field-size", detail);
    default:
        (void)snprintf(detail, sizeof detail, "It must have the form %s.", form->pattern);
        return refuse(d, place, "field-value", detail);
    }
}

static enum err copy_text(struct decoder *d, const struct text_form *form,
                          const struct place *place, struct slice text, const char **ret)
{
    enum err err = check_form(d, form, place, text);
    if (err != ERR_NONE)
        return err;
    const char *copy = arena_text(d->arena, text);
    if (copy == NULL)
        return no_memory(d);
    *ret = copy;
    return ERR_NONE;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static enum err read_hex(struct decoder *d, const struct field *f, const struct place *place,
                         struct slice text, uint8_t *ret)
{
    bool good = text.len == 2 * (size_t)f->max;
    for (size_t i = 0; good && i < text.len; i++)
        good = hex_digit(text.data[i]) >= 0;
    if (!good) {
        char detail[64];
        (void)snprintf(detail, sizeof detail, "It must be %u hexadecimal digits.",
                       2 * (unsigned)f->max);
        return refuse(d, place, "field-value", detail);
    }
    for (size_t i = 0; i < text.len; i += 2)
        ret[i / 2] = (uint8_t)(hex_digit(text.data[i]) << 4 | hex_digit(text.data[i + 1]));
    return ERR_NONE;
}

static enum err read_time(struct decoder *d, const struct place *place, struct slice text,
                          int64_t *ret)
{
    if (calendar_read_rfc3339(text, ret) != ERR_NONE)
        return refuse(d, place, "field-value",
                      "It must be a time in UTC with whole seconds: 2026-11-23T04:21:38Z.");
    return ERR_NONE;
}

static enum err read_word(struct decoder *d, const struct words *words, const struct place *place,
                          struct slice text, unsigned *ret)
{
    for (size_t i = 0; i < words->n; i++)
        if (slice_equal(text, slice_of_text(words->texts[i]))) {
            *ret = (unsigned)i;
            return ERR_NONE;
        }
    char detail[sizeof d->problem->detail];
    struct writer w = writer_over(detail, sizeof detail - 2);
    writer_text(&w, "It must be one of");
    for (size_t i = 0; i < words->n; i++) {
        writer_text(&w, i == 0 ? " " : ", ");
        writer_text(&w, words->texts[i]);
    }
    detail[w.len] = '.';
    detail[w.len + 1] = '\0';
    return refuse(d, place, "field-value", detail);
}

static enum err check_range(struct decoder *d, const struct field *f, const struct place *place,
                            int64_t v, const char *code, const char *what)
{
    if (v >= f->min && v <= f->max)
        return ERR_NONE;
    char detail[120];
    (void)snprintf(detail, sizeof detail, "%s must be %lld to %lld.", what, (long long)f->min,
                   (long long)f->max);
    return refuse(d, place, code, detail);
}

static enum err read_text_value(struct decoder *d, const struct field *f, const struct place *place,
                                struct slice text, uint8_t *at)
{
    unsigned word = 0;
    enum err err;
    switch (f->kind) {
    case FIELD_BYTES:
        return read_hex(d, f, place, text, at);
    case FIELD_TIME:
        return read_time(d, place, text, (int64_t *)(void *)at);
    case FIELD_WORD:
        err = read_word(d, f->words, place, text, &word);
        if (err == ERR_NONE)
            memcpy(at, &word, sizeof word);
        return err;
    default:
        return copy_text(d, f->form, place, text, (const char **)(void *)at);
    }
}

/* ---- JSON ---- */

static struct slice text_of(const json_t *string)
{
    return slice_of(json_string_value(string), json_string_length(string));
}

static enum err decode_words(struct decoder *d, const struct field *f, const json_t *array,
                             const struct place *place, unsigned *ret)
{
    size_t n = json_array_size(array);
    enum err err = check_range(d, f, place, (int64_t)n, "field-size", "The number of items");
    unsigned mask = 0;
    for (size_t i = 0; err == ERR_NONE && i < n; i++) {
        const json_t *item = json_array_get(array, i);
        const struct place here = {.in = place, .index = i};
        if (!json_is_string(item))
            return refuse(d, &here, "field-type", "It must be a text.");
        unsigned word = 0;
        err = read_word(d, f->words, &here, text_of(item), &word);
        if (err == ERR_NONE && (mask >> word & 1) != 0)
            return refuse(d, &here, "field-repeated", "It stands here already.");
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
    enum err err = check_range(d, f, place, (int64_t)n, "field-size", "The number of items");
    if (err != ERR_NONE)
        return err;
    uint8_t *items = arena_alloc(d->arena, n * f->shape->size);
    if (items == NULL)
        return no_memory(d);
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(array, i);
        const struct place here = {.in = place, .index = i};
        if (!json_is_object(item))
            return refuse(d, &here, "field-type", "It must be an object.");
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
    enum err err = check_range(d, f, place, (int64_t)n, "field-size", "The number of items");
    if (err != ERR_NONE)
        return err;
    struct text_pair *pairs = arena_alloc(d->arena, n * sizeof *pairs);
    if (pairs == NULL)
        return no_memory(d);
    size_t i = 0;
    for (void *at = json_object_iter((json_t *)object); at != NULL;
         at = json_object_iter_next((json_t *)object, at), i++) {
        const char *name = json_object_iter_key(at);
        const json_t *value = json_object_iter_value(at);
        const struct place here = {.in = place, .name = name};
        err = copy_text(d, f->name_form, &here, slice_of_text(name), &pairs[i].name);
        if (err != ERR_NONE)
            return err;
        if (!json_is_string(value))
            return refuse(d, &here, "field-type", "It must be a text.");
        err = copy_text(d, f->form, &here, text_of(value), &pairs[i].value);
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
    return refuse(d, place, "field-type", types[f->kind].detail);
}

static enum err decode_value(struct decoder *d, const struct field *f, const json_t *value,
                             const struct place *place, uint8_t *base)
{
    enum err err = check_type(d, f, value, place);
    if (err != ERR_NONE)
        return err;
    uint8_t *at = base + f->offset;
    int64_t integer;
    switch (f->kind) {
    case FIELD_INTEGER:
        integer = json_integer_value(value);
        err = check_range(d, f, place, integer, "field-range", "It");
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
        return read_text_value(d, f, place, text_of(value), at);
    }
}

/* ---- fields of an object or a query ---- */

static const struct field *find_field(const struct shape *shape, struct slice name)
{
    for (size_t i = 0; i < shape->fields_len; i++)
        if (slice_equal(name, slice_of_text(shape->fields[i].name)))
            return &shape->fields[i];
    return NULL;
}

static void set_standards(const struct shape *shape, uint8_t *base)
{
    for (size_t i = 0; i < shape->fields_len; i++) {
        const struct field *f = &shape->fields[i];
        unsigned word = (unsigned)f->standard;
        if (f->required || f->flag != FIELD_NO_FLAG)
            continue;
        if (f->kind == FIELD_WORD)
            memcpy(base + f->offset, &word, sizeof word);
        else if (f->kind == FIELD_INTEGER)
            memcpy(base + f->offset, &f->standard, sizeof f->standard);
    }
}

static void note_field(const struct shape *shape, const struct field *f, uint8_t *base,
                       uint32_t *seen)
{
    *seen |= 1U << (f - shape->fields);
    if (f->flag != FIELD_NO_FLAG) {
        const bool present = true;
        memcpy(base + f->flag, &present, sizeof present);
    }
}

static void write_names(struct writer *w, const struct shape *shape, uint32_t mask)
{
    const char *before = "";
    for (size_t i = 0; i < shape->fields_len; i++) {
        if ((mask >> i & 1) == 0)
            continue;
        writer_text(w, before);
        writer_text(w, shape->fields[i].name);
        before = ", ";
    }
}

static enum err refuse_names(struct decoder *d, const struct shape *shape,
                             const struct place *place, const char *code, const char *before,
                             uint32_t mask)
{
    char detail[sizeof d->problem->detail];
    struct writer w = writer_over(detail, sizeof detail - 2);
    writer_text(&w, before);
    write_names(&w, shape, mask);
    detail[w.len] = '.';
    detail[w.len + 1] = '\0';
    return refuse(d, place, code, detail);
}

/* Is everything there that must be? */
static enum err check_fields(struct decoder *d, const struct shape *shape,
                             const struct place *place, uint32_t seen)
{
    for (size_t i = 0; i < shape->fields_len; i++) {
        const struct place here = {.in = place, .name = shape->fields[i].name};
        if (shape->fields[i].required && (seen >> i & 1) == 0)
            return refuse(d, &here, "field-missing", "It is required.");
    }
    uint32_t chosen = seen & shape->choice;
    bool one = chosen != 0 && (chosen & (chosen - 1)) == 0;
    if (shape->choice != 0 && !one)
        return refuse_names(d, shape, place, "field-choice", "Give exactly one of ", shape->choice);
    if ((size_t)__builtin_popcount(seen) < shape->fields_min)
        return refuse_names(d, shape, place, "field-missing", "Too little is given of ",
                            (uint32_t)((UINT64_C(1) << shape->fields_len) - 1));
    return ERR_NONE;
}

static enum err decode_object(struct decoder *d, const struct shape *shape, const json_t *object,
                              const struct place *place, uint8_t *ret)
{
    uint32_t seen = 0;
    set_standards(shape, ret);
    for (void *at = json_object_iter((json_t *)object); at != NULL;
         at = json_object_iter_next((json_t *)object, at)) {
        const char *name = json_object_iter_key(at);
        const struct place here = {.in = place, .name = name};
        const struct field *f = find_field(shape, slice_of_text(name));
        if (f == NULL)
            return refuse(d, &here, "field-unknown", "There is no such field here.");
        enum err err = decode_value(d, f, json_object_iter_value(at), &here, ret);
        if (err != ERR_NONE)
            return err;
        note_field(shape, f, ret, &seen);
    }
    return check_fields(d, shape, place, seen);
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
        return no_memory(&d);
    err = decode_object(&d, shape, object, NULL, decoded);
    if (err == ERR_NONE)
        memcpy(ret, decoded, shape->size);
    return err;
}

/* ---- queries ---- */

static enum err decode_parameter(struct decoder *d, const struct field *f,
                                 const struct place *place, struct slice text, uint8_t *base)
{
    if (f->kind != FIELD_INTEGER)
        return read_text_value(d, f, place, text, base + f->offset);
    struct reader r = reader_over(text);
    int64_t integer = (int64_t)reader_decimal(&r, INT64_MAX);
    if (reader_finish(&r) != ERR_NONE)
        return refuse(d, place, "field-value", "It must be a whole number in decimal digits.");
    enum err err = check_range(d, f, place, integer, "field-range", "It");
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
            return refuse(d, NULL, "query-malformed",
                          "No parameter needs percent-encoding, so none is taken.");
    }
    bool ends_in_and = end + 1 == rest->len;
    if (equals == SIZE_MAX || equals == 0 || ends_in_and)
        return refuse(d, NULL, "query-malformed", "A query is name=value, joined by \"&\".");
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
    return refuse(d, &here, "field-unknown", "There is no such parameter here.");
}

enum err decode_query(const struct shape *shape, const char *query, struct arena *arena, void *ret,
                      struct problem *problem)
{
    struct decoder d = {.arena = arena, .problem = problem};
    struct slice rest = slice_of_text(query);
    uint8_t *decoded = arena_alloc(arena, shape->size);
    if (decoded == NULL)
        return no_memory(&d);
    uint32_t seen = 0;
    set_standards(shape, decoded);
    while (rest.len > 0) {
        struct slice name, value;
        enum err err = take_parameter(&d, &rest, &name, &value);
        if (err != ERR_NONE)
            return err;
        const struct field *f = find_field(shape, name);
        if (f == NULL)
            return refuse_parameter(&d, name);
        const struct place here = {.name = f->name};
        if ((seen >> (f - shape->fields) & 1) != 0)
            return refuse(&d, &here, "field-repeated", "It stands in the query already.");
        err = decode_parameter(&d, f, &here, value, decoded);
        if (err != ERR_NONE)
            return err;
        note_field(shape, f, decoded, &seen);
    }
    enum err err = check_fields(&d, shape, NULL, seen);
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
