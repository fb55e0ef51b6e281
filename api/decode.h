/* Reads a request's JSON body or query into a C struct, as a table of its fields says. The tables
 * and structs are made from api/openapi.yaml by api/generate.py (api/requests.h); use the typed
 * functions there.
 *
 * What a struct holds: a text is a NUL-terminated `const char *` in the arena, a time is int64_t
 * seconds since 1970, hexadecimal is an array of bytes, a word is an enum, a set of words a mask of
 * 1 << enum, a list or map is a pointer into the arena with NAME_len beside it. What may be absent
 * has a `bool has_NAME` in front and is zero then; what has a default needs none.
 *
 * Every refusal is a problem with status 400 that names the field: field-unknown, field-missing,
 * field-type, field-value, field-size, field-range, field-choice, field-repeated, query-malformed,
 * form-malformed;
 * and what base/json.h finds. Values are never quoted: they may be secrets. */
#ifndef API_DECODE_H
#define API_DECODE_H

#include "api/form.h"
#include "base/arena.h"
#include "base/problem.h"

enum field_kind {
    FIELD_TEXT,    /* const char * */
    FIELD_BYTES,   /* uint8_t[max], from twice as many hexadecimal digits */
    FIELD_TIME,    /* int64_t, from RFC 3339 */
    FIELD_INTEGER, /* int64_t in min..max */
    FIELD_TRUTH,   /* bool */
    FIELD_WORD,    /* an enum */
    FIELD_WORDS,   /* unsigned: mask of 1 << enum; min..max of them */
    FIELD_OBJECT,  /* a struct */
    FIELD_LIST,    /* pointer to structs and their number, min..max */
    FIELD_MAP,     /* pointer to struct text_pair and their number, min..max */
};

#define FIELD_NO_FLAG SIZE_MAX

struct words {
    const char *const *texts; /* by enum */
    size_t n;
};

struct text_pair {
    const char *name, *value;
};

struct shape;

struct field {
    const char *name;
    enum field_kind kind;
    bool required;
    size_t offset; /* of the value */
    size_t flag;   /* offset of has_NAME, or FIELD_NO_FLAG */
    size_t number; /* offset of NAME_len, for lists and maps */
    int64_t min, max;
    int64_t standard;             /* what an absent integer or word is, where there is no flag */
    const struct text_form *form; /* text; map: of each value */
    const struct text_form *name_form; /* map: of each name */
    const struct words *words;
    const struct shape *shape; /* object; list: of each item */
};

struct shape {
    size_t size; /* bytes of the struct */
    const struct field *fields;
    size_t fields_len; /* at most SHAPE_FIELDS_MAX */
    size_t fields_min; /* so many must be there, at least */
    uint32_t choice;   /* mask of fields of which exactly one must be there; 0 where none */
    bool foreign; /* written by somebody else's program: what is not described is passed over, and
                     null is as if it were not there */
};
#define SHAPE_FIELDS_MAX 32

/* On failure *problem is filled in, and `ret` (shape->size bytes) untouched. ERR_REFUSED for what
 * the contract does not allow, else as json_read_object(); ERR_NO_MEMORY. */
MUST_USE enum err decode_body(const struct shape *shape, struct slice body, struct arena *arena,
                              void *ret, struct problem *problem);
/* A body of application/x-www-form-urlencoded: names and values percent-encoded, "+" for a blank
 * (URL Standard, section 5.1). The problem form-malformed besides those above. */
MUST_USE enum err decode_web_form(const struct shape *shape, struct slice body, struct arena *arena,
                                  void *ret, struct problem *problem);
/* `query` as it stands behind "?"; may be empty. */
MUST_USE enum err decode_query(const struct shape *shape, const char *query, struct arena *arena,
                               void *ret, struct problem *problem);
/* For an operation without query parameters. */
MUST_USE enum err decode_no_query(const char *query, struct problem *problem);

#endif
