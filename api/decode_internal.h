/* What the readers of bodies (decode.c) and of queries (query.c) share. */
#ifndef API_DECODE_INTERNAL_H
#define API_DECODE_INTERNAL_H

#include "api/decode.h"

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

/* Always ERR_REFUSED. */
enum err decoder_refuse(struct decoder *d, const struct place *place, const char *code,
                        const char *detail);
/* Always ERR_NO_MEMORY. */
enum err decoder_no_memory(struct decoder *d);

/* ---- values (value.c) ---- */

/* A copy in the arena of a text that has the form. */
MUST_USE enum err decoder_copy_text(struct decoder *d, const struct text_form *form,
                                    const struct place *place, struct slice text,
                                    const char **ret_text);
MUST_USE enum err decoder_read_word(struct decoder *d, const struct words *words,
                                    const struct place *place, struct slice text,
                                    unsigned *ret_word);
/* `what` begins the sentence "... must be 1 to 9." */
MUST_USE enum err decoder_check_range(struct decoder *d, const struct field *f,
                                      const struct place *place, int64_t v, const char *code,
                                      const char *what);
/* The kinds that stand as a text in JSON and in queries: text, bytes, time, word. */
MUST_USE enum err decoder_read_text(struct decoder *d, const struct field *f,
                                    const struct place *place, struct slice text, uint8_t *at);

/* ---- fields of an object or a query ---- */

const struct field *shape_find_field(const struct shape *shape, struct slice name);
/* What absent fields are, where they have a default. */
void shape_set_standards(const struct shape *shape, uint8_t *base);
/* Field f is there: marks it in *seen and in the struct. */
void shape_note_field(const struct shape *shape, const struct field *f, uint8_t *base,
                      uint32_t *seen);
/* A value that stands in a query or a web form as text. */
MUST_USE enum err decoder_read_parameter(struct decoder *d, const struct field *f,
                                         const struct place *place, struct slice text,
                                         uint8_t *base);
/* Is everything there that must be? */
MUST_USE enum err decoder_check_fields(struct decoder *d, const struct shape *shape,
                                       const struct place *place, uint32_t seen);

#endif
