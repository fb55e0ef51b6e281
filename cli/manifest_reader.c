#include "cli/manifest_reader.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/when.h"
#include "core/calendar.h"

enum column { COLUMN_SERIAL, COLUMN_CLAIM, COLUMN_KEY, COLUMN_IDEVID };

static const char *const column_names[MANIFEST_COLUMNS] = {"serial", "claim", "key_sha256",
                                                           "idevid"};

PRINTF_LIKE(4, 5)
static enum err fail(const struct manifest_reader *r, struct manifest_error *error, enum err err,
                     const char *format, ...)
{
    char text[sizeof error->text];
    va_list values;
    va_start(values, format);
    int n = vsnprintf(text, sizeof text, format, values);
    va_end(values);
    error->line = r->line;
    (void)snprintf(error->text, sizeof error->text, "line %llu: %.160s",
                   (unsigned long long)r->line, n < 0 ? "" : text);
    return err;
}

void manifest_reader_init(struct manifest_reader *r, enum manifest_format format,
                          manifest_source_fn *source, void *ctx, int64_t now, int64_t standard)
{
    r->format = format;
    r->source = source;
    r->ctx = ctx;
    r->now = now;
    r->standard = standard;
    r->line = 0;
    r->ended = false;
    r->start = r->end = 0;
    r->columns_len = 0;
    r->object = NULL;
}

void manifest_reader_cleanup(struct manifest_reader *r)
{
    json_decref(r->object);
    r->object = NULL;
}

/* ---- lines ---- */

static enum err fill(struct manifest_reader *r)
{
    memmove(r->buffer, r->buffer + r->start, r->end - r->start);
    r->end -= r->start;
    r->start = 0;
    size_t n = 0;
    enum err err = r->source(r->ctx, r->buffer + r->end, sizeof r->buffer - r->end, &n);
    if (err != ERR_NONE)
        return err;
    r->ended = n == 0;
    r->end += n;
    return ERR_NONE;
}

/* The next line without its end, in the reader's buffer. *ret_end where there is none. */
static enum err next_line(struct manifest_reader *r, struct slice *ret_line, bool *ret_end,
                          struct manifest_error *error)
{
    r->line++;
    for (;;) {
        size_t len = r->end - r->start;
        uint8_t *start = r->buffer + r->start;
        const uint8_t *lf = len == 0 ? NULL : memchr(start, '\n', len);
        size_t n = lf == NULL ? len : (size_t)(lf - start);
        if (n > MANIFEST_LINE_MAX)
            return fail(r, error, ERR_LIMIT, "it is longer than %d bytes", MANIFEST_LINE_MAX);
        if (lf != NULL || r->ended) {
            *ret_end = lf == NULL && len == 0;
            r->start += lf == NULL ? n : n + 1;
            if (lf != NULL && n > 0 && start[n - 1] == '\r')
                n--;
            *ret_line = slice_of(start, n);
            return ERR_NONE;
        }
        enum err err = fill(r);
        if (err != ERR_NONE)
            return err;
    }
}

static enum err next_full_line(struct manifest_reader *r, struct slice *ret_line, bool *ret_end,
                               struct manifest_error *error)
{
    static const struct slice mark = SLICE_LITERAL("\xef\xbb\xbf");
    do {
        enum err err = next_line(r, ret_line, ret_end, error);
        if (err != ERR_NONE)
            return err;
        if (r->line == 1 && slice_starts_with(*ret_line, mark))
            *ret_line = slice_of(ret_line->data + mark.len, ret_line->len - mark.len);
    } while (!*ret_end && ret_line->len == 0);
    return ERR_NONE;
}

/* ---- values ---- */

static enum err set_serial(const struct manifest_reader *r, struct slice text,
                           struct manifest_row *row, struct manifest_error *error)
{
    bool ok = text.len > 0 && text.len <= MANIFEST_SERIAL_MAX;
    for (size_t i = 0; ok && i < text.len; i++) {
        uint8_t c = text.data[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        ok = plain || (i > 0 && (c == '.' || c == '-' || c == '_'));
    }
    if (!ok)
        return fail(r, error, ERR_SYNTAX,
                    "serial: it must be 1 to 64 letters, digits, dots, dashes and underscores, a "
                    "letter or digit first");
    memcpy(row->serial, text.data, text.len);
    row->serial[text.len] = '\0';
    return ERR_NONE;
}

static int digit_of(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static enum err set_key(const struct manifest_reader *r, struct slice text,
                        struct manifest_row *row, struct manifest_error *error)
{
    bool ok = text.len == (size_t)2 * SHA256_SIZE;
    for (size_t i = 0; ok && i < SHA256_SIZE; i++) {
        int high = digit_of(text.data[2 * i]), low = digit_of(text.data[2 * i + 1]);
        ok = high >= 0 && low >= 0;
        row->key_sha256[i] = (uint8_t)(high * 16 + low);
    }
    row->proof = MANIFEST_KEY;
    return ok ? ERR_NONE
              : fail(r, error, ERR_SYNTAX, "key_sha256: it must be 64 hexadecimal digits");
}

static enum err set_claim(const struct manifest_reader *r, struct slice text,
                          struct manifest_row *row, struct manifest_error *error)
{
    row->proof = MANIFEST_CLAIM;
    enum err err = ERR_NONE;
    if (slice_equal(text, SLICE_LITERAL("yes")))
        row->claim_expires_at = r->standard;
    else
        err = when_read(text, r->now, false, &row->claim_expires_at);
    if (err != ERR_NONE)
        return fail(
            r, error, ERR_SYNTAX,
            "claim: it must be yes, a duration such as 90d, a date such as 2026-11-23, or a "
            "time such as 2026-11-23T04:21:38Z");
    if (row->claim_expires_at <= r->now)
        return fail(r, error, ERR_SYNTAX, "claim: it ends in the past");
    return ERR_NONE;
}

static enum err one_proof(const struct manifest_reader *r, unsigned proofs,
                          struct manifest_error *error)
{
    if (proofs == 1)
        return ERR_NONE;
    return fail(r, error, ERR_SYNTAX, "%s",
                proofs == 0 ? "there is no way for the device to prove itself"
                            : "only one way to prove itself is taken for a device");
}

/* ---- CSV ---- */

/* Splits in place: what was quoted loses its quotes. */
static enum err split(const struct manifest_reader *r, struct slice line,
                      struct slice ret_fields[MANIFEST_COLUMNS], size_t *ret_n,
                      struct manifest_error *error)
{
    uint8_t *at = (uint8_t *)(uintptr_t)line.data; /* it lies in the reader's buffer */
    const uint8_t *end = line.data + line.len;
    size_t n = 0;
    for (;;) {
        if (n == MANIFEST_COLUMNS)
            return fail(r, error, ERR_SYNTAX, "it has more than %d fields", MANIFEST_COLUMNS);
        uint8_t *field = at, *to = at;
        bool quoted = at < end && *at == '"', closed = !quoted;
        if (quoted)
            at++;
        while (at < end && (quoted && !closed ? true : *at != ',')) {
            uint8_t c = *at++;
            if (c < 0x20 || c == 0x7f)
                return fail(r, error, ERR_SYNTAX, "a control character");
            if (c == '"' && quoted && !closed && (at == end || *at != '"')) {
                closed = true;
                continue;
            }
            if (quoted ? closed : c == '"')
                return fail(r, error, ERR_SYNTAX, "a quote in the middle of a field");
            if (c == '"')
                at++; /* two stand for one */
            *to++ = c;
        }
        if (!closed)
            return fail(r, error, ERR_SYNTAX, "a quoted field does not end on its line");
        ret_fields[n++] = slice_of(field, (size_t)(to - field));
        if (at == end)
            break;
        at++; /* the comma */
    }
    *ret_n = n;
    return ERR_NONE;
}

static enum err read_heading(struct manifest_reader *r, struct slice line,
                             struct manifest_error *error)
{
    struct slice names[MANIFEST_COLUMNS];
    size_t n = 0;
    unsigned seen = 0;
    enum err err = split(r, line, names, &n, error);
    if (err != ERR_NONE)
        return err;
    for (size_t i = 0; i < n; i++) {
        int column = 0;
        while (column < MANIFEST_COLUMNS &&
               !slice_equal(names[i], slice_of_text(column_names[column])))
            column++;
        if (column == MANIFEST_COLUMNS)
            return fail(r, error, ERR_SYNTAX,
                        "the heading names a column that is not known: there are serial, claim, "
                        "key_sha256 and idevid");
        if ((seen & 1u << column) != 0)
            return fail(r, error, ERR_SYNTAX, "the heading names %s twice", column_names[column]);
        seen |= 1u << column;
        r->columns[i] = column;
    }
    if ((seen & 1u << COLUMN_SERIAL) == 0)
        return fail(r, error, ERR_SYNTAX, "the heading does not name serial");
    if (seen == 1u << COLUMN_SERIAL)
        return fail(r, error, ERR_SYNTAX, "the heading names none of claim, key_sha256 and idevid");
    r->columns_len = n;
    return ERR_NONE;
}

static enum err set_field(const struct manifest_reader *r, int column, struct slice text,
                          struct manifest_row *row, unsigned *proofs, struct manifest_error *error)
{
    if (column == COLUMN_SERIAL)
        return set_serial(r, text, row, error);
    if (text.len == 0)
        return ERR_NONE;
    (*proofs)++;
    if (column == COLUMN_CLAIM)
        return set_claim(r, text, row, error);
    if (column == COLUMN_KEY)
        return set_key(r, text, row, error);
    row->proof = MANIFEST_IDEVID_FILE;
    row->idevid = text;
    return ERR_NONE;
}

static enum err read_csv(struct manifest_reader *r, struct slice line, struct manifest_row *row,
                         struct manifest_error *error)
{
    struct slice fields[MANIFEST_COLUMNS];
    size_t n = 0;
    unsigned proofs = 0;
    enum err err = split(r, line, fields, &n, error);
    if (err == ERR_NONE && n != r->columns_len)
        err =
            fail(r, error, ERR_SYNTAX, "it has %zu fields, and the heading %zu", n, r->columns_len);
    for (size_t i = 0; err == ERR_NONE && i < n; i++)
        err = set_field(r, r->columns[i], fields[i], row, &proofs, error);
    return err == ERR_NONE ? one_proof(r, proofs, error) : err;
}

/* ---- JSON lines ---- */

static enum err read_json_claim(const struct manifest_reader *r, const json_t *claim,
                                struct manifest_row *row, struct manifest_error *error)
{
    const char *text = json_string_value(json_object_get(claim, "expires_at"));
    row->proof = MANIFEST_CLAIM;
    if (text == NULL || json_object_size(claim) != 1 ||
        calendar_read_rfc3339(slice_of_text(text), &row->claim_expires_at) != ERR_NONE)
        return fail(r, error, ERR_SYNTAX,
                    "claim: it must be {\"expires_at\": TIME}, a time such as "
                    "2026-11-23T04:21:38Z");
    if (row->claim_expires_at <= r->now)
        return fail(r, error, ERR_SYNTAX, "claim: it ends in the past");
    return ERR_NONE;
}

static enum err read_json_idevid(const struct manifest_reader *r, struct slice pem,
                                 struct manifest_row *row, struct manifest_error *error)
{
    bool ok = pem.len > 0 && pem.len <= MANIFEST_PEM_MAX;
    for (size_t i = 0; ok && i < pem.len; i++) {
        uint8_t c = pem.data[i];
        ok = c == '\n' || c == '\r' || (c >= 0x20 && c < 0x7f);
    }
    if (!ok)
        return fail(r, error, ERR_SYNTAX,
                    "idevid_pem: it must be a certificate in PEM, at most %d "
                    "bytes",
                    MANIFEST_PEM_MAX);
    row->proof = MANIFEST_IDEVID;
    row->idevid = pem;
    return ERR_NONE;
}

static enum err read_member(const struct manifest_reader *r, const char *name, const json_t *value,
                            struct manifest_row *row, unsigned *proofs,
                            struct manifest_error *error)
{
    struct slice text = slice_of(json_string_value(value), json_string_length(value));
    if (strcmp(name, "serial") == 0)
        return set_serial(r, text, row, error);
    (*proofs)++;
    if (strcmp(name, "claim") == 0)
        return read_json_claim(r, value, row, error);
    if (strcmp(name, "key_sha256") == 0)
        return set_key(r, text, row, error);
    if (strcmp(name, "idevid_pem") == 0)
        return read_json_idevid(r, text, row, error);
    return fail(r, error, ERR_SYNTAX,
                "it has a member that is not known: there are serial, claim, key_sha256 and "
                "idevid_pem");
}

static enum err read_json(struct manifest_reader *r, struct slice line, struct manifest_row *row,
                          struct manifest_error *error)
{
    struct problem problem = {0};
    unsigned proofs = 0;
    manifest_reader_cleanup(r);
    enum err err = json_read_object(line, &r->object, &problem);
    if (err == ERR_NO_MEMORY)
        return err;
    if (err != ERR_NONE)
        return fail(r, error, ERR_SYNTAX, "%s",
                    strcmp(problem.code, "json-duplicate-key") == 0 ? "it names a member twice"
                                                                    : "it is not one JSON object");
    const char *name;
    json_t *value;
    json_object_foreach(r->object, name, value)
    {
        err = read_member(r, name, value, row, &proofs, error);
        if (err != ERR_NONE)
            return err;
    }
    if (row->serial[0] == '\0')
        return fail(r, error, ERR_SYNTAX, "serial: it is missing");
    return one_proof(r, proofs, error);
}

/* ---- rows ---- */

enum err manifest_reader_next(struct manifest_reader *r, struct manifest_row *ret_row,
                              bool *ret_end, struct manifest_error *error)
{
    struct manifest_row row = {.serial = ""};
    struct slice line = {NULL, 0};
    bool end = false;
    enum err err = next_full_line(r, &line, &end, error);
    if (err == ERR_NONE && !end && r->format == MANIFEST_CSV && r->columns_len == 0) {
        err = read_heading(r, line, error);
        if (err == ERR_NONE)
            err = next_full_line(r, &line, &end, error);
    }
    if (err == ERR_NONE && !end)
        err = r->format == MANIFEST_CSV ? read_csv(r, line, &row, error)
                                        : read_json(r, line, &row, error);
    if (err != ERR_NONE)
        return err;
    row.line = r->line;
    *ret_end = end;
    if (!end)
        *ret_row = row;
    return ERR_NONE;
}

void manifest_row_write(struct json_writer *j, const struct manifest_row *row)
{
    json_open_object(j);
    json_field_text(j, "serial", row->serial);
    switch (row->proof) {
    case MANIFEST_CLAIM:
        json_key(j, "claim");
        json_open_object(j);
        json_field_time(j, "expires_at", row->claim_expires_at);
        json_close_object(j);
        break;
    case MANIFEST_KEY:
        json_field_hex(j, "key_sha256", slice_of(row->key_sha256, SHA256_SIZE));
        break;
    case MANIFEST_IDEVID:
        json_field_slice(j, "idevid_pem", row->idevid);
        break;
    case MANIFEST_IDEVID_FILE:
        writer_fail(j->w, ERR_INTERNAL);
        break;
    }
    json_close_object(j);
}
