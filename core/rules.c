/* The file of rules and the text that is signed. */
#include "core/rules.h"

#include "core/calendar.h"

#define FILE_START SLICE_LITERAL("HFRULES1")
#define FIRST_LINE "holdfast-rules/v1\n"

static uint64_t read_number(struct reader *r, const char *key, uint64_t max)
{
    struct reader value = reader_over(note_read_line(r, key));
    uint64_t number = reader_decimal(&value, max);
    reader_fail(r, reader_finish(&value));
    return number;
}

static int64_t read_made(struct reader *r)
{
    int64_t made_at = 0;
    struct slice value = note_read_line(r, "made");
    if (r->err == ERR_NONE)
        reader_fail(r, calendar_read_rfc3339(value, &made_at));
    return made_at;
}

static size_t read_body_line(struct reader *r, uint8_t sha256[SHA256_SIZE])
{
    struct reader value = reader_over(note_read_line(r, "body"));
    size_t len = (size_t)reader_decimal(&value, RULES_BODY_MAX);
    reader_expect(&value, SLICE_LITERAL(" "));
    struct writer digest = writer_over(sha256, SHA256_SIZE);
    writer_unhex(&digest, reader_take(&value, (size_t)SHA256_SIZE * 2));
    reader_fail(&value, digest.err);
    reader_fail(r, reader_finish(&value));
    return len;
}

enum err rules_read_text(struct slice text, struct rules *ret_rules, size_t *ret_body_len,
                         uint8_t ret_body_sha256[SHA256_SIZE])
{
    struct rules rules = {.version = 0};
    uint8_t sha256[SHA256_SIZE];
    struct reader r = reader_over(text);
    reader_expect(&r, SLICE_LITERAL(FIRST_LINE));
    fleet_name_read_line(&r, rules.fleet);
    rules.version = read_number(&r, "version", UINT64_MAX);
    if (rules.version == 0)
        reader_fail(&r, ERR_SYNTAX);
    rules.made_at = read_made(&r);
    size_t body_len = read_body_line(&r, sha256);
    enum err err = reader_finish(&r);
    if (err != ERR_NONE)
        return err;
    *ret_rules = rules;
    *ret_body_len = body_len;
    memcpy(ret_body_sha256, sha256, SHA256_SIZE);
    return ERR_NONE;
}

void rules_write_text(struct writer *w, const char *fleet, uint64_t version, int64_t made_at,
                      size_t body_len, const uint8_t body_sha256[SHA256_SIZE])
{
    if (!fleet_name_ok(slice_of_text(fleet)))
        writer_fail(w, ERR_SYNTAX);
    if (version == 0 || body_len > RULES_BODY_MAX)
        writer_fail(w, ERR_LIMIT);
    writer_text(w, FIRST_LINE "fleet ");
    writer_text(w, fleet);
    writer_text(w, "\nversion ");
    writer_decimal(w, version);
    writer_text(w, "\nmade ");
    calendar_write_rfc3339(w, made_at);
    writer_text(w, "\nbody ");
    writer_decimal(w, body_len);
    writer_text(w, " ");
    writer_hex(w, slice_of(body_sha256, SHA256_SIZE));
    writer_text(w, "\n");
}

void rules_write_file(struct writer *w, struct slice note, struct slice body)
{
    if (note.len > NOTE_MAX || body.len > RULES_BODY_MAX)
        writer_fail(w, ERR_LIMIT);
    writer_put(w, FILE_START);
    writer_be32(w, (uint32_t)note.len);
    writer_put(w, note);
    writer_put(w, body);
}

/* The body that the note says, whose digest is as it says; what it means is not looked at before
 * that is known. */
static enum err check_body(struct slice body, size_t len, const uint8_t expected[SHA256_SIZE],
                           sha256_fn *sha256)
{
    if (body.len != len)
        return ERR_SYNTAX;
    uint8_t digest[SHA256_SIZE];
    sha256(&body, 1, digest);
    return mem_equal_constant_time(digest, expected, SHA256_SIZE) ? ERR_NONE : ERR_BAD_SIGNATURE;
}

enum err rules_read(struct slice file, const struct note_key *key, sha256_fn *sha256,
                    ed25519_verify_fn *verify, struct rules *ret_rules)
{
    if (file.len > RULES_MAX)
        return ERR_LIMIT;
    struct reader r = reader_over(file);
    reader_expect(&r, FILE_START);
    struct slice note = reader_take(&r, reader_be32(&r));
    struct slice body = reader_rest(&r);
    enum err err = reader_finish(&r);
    if (err != ERR_NONE)
        return err;

    struct slice text = {NULL, 0};
    struct rules said, rules;
    size_t body_len = 0;
    uint8_t body_sha256[SHA256_SIZE];
    err = note_verify(note, key, verify, &text);
    if (err == ERR_NONE)
        err = rules_read_text(text, &said, &body_len, body_sha256);
    if (err == ERR_NONE)
        err = check_body(body, body_len, body_sha256, sha256);
    if (err == ERR_NONE)
        err = rules_read_body(body, &rules);
    if (err != ERR_NONE)
        return err;
    memcpy(rules.fleet, said.fleet, sizeof rules.fleet);
    rules.version = said.version;
    rules.made_at = said.made_at;
    *ret_rules = rules;
    return ERR_NONE;
}
