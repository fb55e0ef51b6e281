#include "api/decode_internal.h"

#include <stdio.h>
#include <string.h>

#include "core/calendar.h"

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

enum err decoder_refuse(struct decoder *d, const struct place *place, const char *code,
                        const char *detail)
{
    char field[sizeof d->problem->field + 1] = "";
    struct writer w = writer_over(field, sizeof field - 1);
    place_write(&w, place);
    return problem_set(d->problem, 400, code, field, "%s", detail);
}

enum err decoder_no_memory(struct decoder *d)
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
        return decoder_refuse(d, place, "field-size", detail);
    default:
        (void)snprintf(detail, sizeof detail, "It must have the form %s.", form->pattern);
        return decoder_refuse(d, place, "field-value", detail);
    }
}

enum err decoder_copy_text(struct decoder *d, const struct text_form *form,
                           const struct place *place, struct slice text, const char **ret)
{
    enum err err = check_form(d, form, place, text);
    if (err != ERR_NONE)
        return err;
    const char *copy = arena_text(d->arena, text);
    if (copy == NULL)
        return decoder_no_memory(d);
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
        return decoder_refuse(d, place, "field-value", detail);
    }
    for (size_t i = 0; i < text.len; i += 2)
        ret[i / 2] = (uint8_t)(hex_digit(text.data[i]) << 4 | hex_digit(text.data[i + 1]));
    return ERR_NONE;
}

static enum err read_time(struct decoder *d, const struct place *place, struct slice text,
                          int64_t *ret)
{
    if (calendar_read_rfc3339(text, ret) != ERR_NONE)
        return decoder_refuse(d, place, "field-value",
                              "It must be a time in UTC with whole seconds: 2026-11-23T04:21:38Z.");
    return ERR_NONE;
}

enum err decoder_read_word(struct decoder *d, const struct words *words, const struct place *place,
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
    return decoder_refuse(d, place, "field-value", detail);
}

enum err decoder_check_range(struct decoder *d, const struct field *f, const struct place *place,
                             int64_t v, const char *code, const char *what)
{
    if (v >= f->min && v <= f->max)
        return ERR_NONE;
    char detail[120];
    (void)snprintf(detail, sizeof detail, "%s must be %lld to %lld.", what, (long long)f->min,
                   (long long)f->max);
    return decoder_refuse(d, place, code, detail);
}

enum err decoder_read_text(struct decoder *d, const struct field *f, const struct place *place,
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
        err = decoder_read_word(d, f->words, place, text, &word);
        if (err == ERR_NONE)
            memcpy(at, &word, sizeof word);
        return err;
    default:
        return decoder_copy_text(d, f->form, place, text, (const char **)(void *)at);
    }
}

/* ---- fields of an object or a query ---- */

const struct field *shape_find_field(const struct shape *shape, struct slice name)
{
    for (size_t i = 0; i < shape->fields_len; i++)
        if (slice_equal(name, slice_of_text(shape->fields[i].name)))
            return &shape->fields[i];
    return NULL;
}

void shape_set_standards(const struct shape *shape, uint8_t *base)
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

void shape_note_field(const struct shape *shape, const struct field *f, uint8_t *base,
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
    return decoder_refuse(d, place, code, detail);
}

enum err decoder_check_fields(struct decoder *d, const struct shape *shape,
                              const struct place *place, uint32_t seen)
{
    for (size_t i = 0; i < shape->fields_len; i++) {
        const struct place here = {.in = place, .name = shape->fields[i].name};
        if (shape->fields[i].required && (seen >> i & 1) == 0)
            return decoder_refuse(d, &here, "field-missing", "It is required.");
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
