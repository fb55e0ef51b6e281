#include "api/form.h"

#include "core/utf8.h"

static bool step_takes(const struct text_step *step, uint8_t lead)
{
    if (lead >= 0x80)
        return step->other;
    return ((lead < 64 ? step->low >> lead : step->high >> (lead - 64)) & 1) != 0;
}

static bool steps_match(const struct text_form *form, struct slice text)
{
    size_t at = 0;
    for (size_t i = 0; i < form->steps_len; i++) {
        const struct text_step *step = &form->steps[i];
        uint32_t taken = 0;
        while (taken < step->max && at < text.len && step_takes(step, text.data[at])) {
            at += utf8_sequence(slice_of(text.data + at, text.len - at));
            taken++;
        }
        if (taken < step->min)
            return false;
    }
    return at == text.len;
}

enum err text_form_check(const struct text_form *form, struct slice text)
{
    if (text.len > form->bytes_max)
        return ERR_LIMIT;
    size_t characters = 0;
    for (size_t at = 0; at < text.len; characters++) {
        size_t n = utf8_sequence(slice_of(text.data + at, text.len - at));
        if (n == 0)
            return ERR_SYNTAX;
        at += n;
    }
    if (characters < form->characters_min || characters > form->characters_max)
        return ERR_LIMIT;
    return steps_match(form, text) ? ERR_NONE : ERR_SYNTAX;
}
