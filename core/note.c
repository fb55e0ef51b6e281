#include "core/note.h"

#include "core/base64.h"

#define KEY_ID_SIZE     4
#define KEY_ID_DIGITS   8
#define SIGNATURE_START "\xe2\x80\x94 " /* U+2014 and a space */

/* The next character of strict UTF-8 (RFC 3629): shortest form, no surrogates. */
static uint32_t read_character(struct reader *r)
{
    static const uint32_t smallest[] = {0, 0x80, 0x800, 0x10000};
    uint32_t lead = reader_u8(r);
    if (lead < 0x80)
        return lead;
    size_t more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    bool ok = lead >= 0xc0 && lead < 0xf8;
    uint32_t c = lead & (0x3fU >> more);
    for (size_t i = 0; i < more; i++) {
        uint32_t next = reader_u8(r);
        ok = ok && (next & 0xc0) == 0x80;
        c = c << 6 | (next & 0x3f);
    }
    if (!ok || c < smallest[more] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        reader_fail(r, ERR_SYNTAX);
    return c;
}

/* Unicode's White_Space, which the format keeps out of key names. */
static bool is_space(uint32_t c)
{
    return c == ' ' || (c >= 0x09 && c <= 0x0d) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
           c == 0x205f || c == 0x3000;
}

static bool is_name(struct slice name)
{
    struct reader r = reader_over(name);
    while (reader_left(&r) > 0) {
        uint32_t c = read_character(&r);
        if (c < 0x20 || c == '+' || is_space(c))
            return false;
    }
    return name.len > 0 && reader_finish(&r) == ERR_NONE;
}

/* UTF-8 without control characters other than line ends. */
static bool is_text(struct slice text)
{
    struct reader r = reader_over(text);
    while (reader_left(&r) > 0) {
        uint32_t c = read_character(&r);
        if (c < 0x20 && c != '\n')
            return false;
    }
    return reader_finish(&r) == ERR_NONE;
}

enum err note_typed_key_init(struct note_key *k, sha256_fn *sha256, enum note_key_type type,
                             struct slice name, const uint8_t key[ED25519_KEY_SIZE])
{
    if (name.len > NOTE_NAME_MAX)
        return ERR_LIMIT;
    if (!is_name(name))
        return ERR_SYNTAX;
    const uint8_t mark[] = {'\n', (uint8_t)type};
    struct slice parts[] = {name, slice_of(mark, sizeof mark), slice_of(key, ED25519_KEY_SIZE)};
    uint8_t hash[SHA256_SIZE];
    sha256(parts, ARRAY_LEN(parts), hash);
    struct reader r = reader_over(slice_of(hash, KEY_ID_SIZE));
    *k = (struct note_key){.id = reader_be32(&r)};
    memcpy(k->name, name.data, name.len);
    memcpy(k->key, key, ED25519_KEY_SIZE);
    return ERR_NONE;
}

enum err note_key_init(struct note_key *k, sha256_fn *sha256, struct slice name,
                       const uint8_t key[ED25519_KEY_SIZE])
{
    return note_typed_key_init(k, sha256, NOTE_KEY_ED25519, name, key);
}

static uint32_t read_key_id(struct reader *r)
{
    struct slice digits = reader_take(r, KEY_ID_DIGITS);
    uint32_t id = 0;
    for (size_t i = 0; i < digits.len; i++) {
        uint8_t c = digits.data[i];
        bool is_digit = c >= '0' && c <= '9';
        if (!is_digit && (c < 'a' || c > 'f'))
            reader_fail(r, ERR_SYNTAX);
        id = id << 4 | (uint32_t)((is_digit ? c - '0' : c - 'a' + 10) & 15);
    }
    return id;
}

enum err note_typed_key_read(struct slice text, sha256_fn *sha256, enum note_key_type type,
                             struct note_key *ret_key)
{
    if (text.len > NOTE_KEY_TEXT_MAX)
        return ERR_LIMIT;
    struct reader r = reader_over(text);
    struct slice name = reader_until(&r, '+');
    uint32_t id = read_key_id(&r);
    reader_expect(&r, SLICE_LITERAL("+"));
    struct slice base64 = reader_rest(&r);
    enum err err = reader_finish(&r);
    if (err != ERR_NONE)
        return err;

    uint8_t typed_key[NOTE_KEY_TEXT_MAX];
    size_t len = 0;
    err = base64_read(base64, typed_key, sizeof typed_key, &len);
    if (err != ERR_NONE)
        return err;
    if (len > 0 && typed_key[0] != type)
        return ERR_UNSUPPORTED;
    if (len != 1 + ED25519_KEY_SIZE)
        return ERR_SYNTAX;
    struct note_key k;
    err = note_typed_key_init(&k, sha256, type, name, typed_key + 1);
    if (err != ERR_NONE)
        return err;
    if (k.id != id)
        return ERR_SYNTAX;
    *ret_key = k;
    return ERR_NONE;
}

enum err note_key_read(struct slice text, sha256_fn *sha256, struct note_key *ret_key)
{
    return note_typed_key_read(text, sha256, NOTE_KEY_ED25519, ret_key);
}

void note_typed_key_write(struct writer *w, enum note_key_type type, const struct note_key *k)
{
    uint8_t id[KEY_ID_SIZE];
    struct writer id_writer = writer_over(id, sizeof id);
    writer_be32(&id_writer, k->id);
    uint8_t typed_key[1 + ED25519_KEY_SIZE] = {(uint8_t)type};
    memcpy(typed_key + 1, k->key, ED25519_KEY_SIZE);

    writer_text(w, k->name);
    writer_text(w, "+");
    writer_hex(w, slice_of(id, sizeof id));
    writer_text(w, "+");
    base64_write(w, slice_of(typed_key, sizeof typed_key));
}

void note_key_write(struct writer *w, const struct note_key *k)
{
    note_typed_key_write(w, NOTE_KEY_ED25519, k);
}

/* Base64 of any length, decoded a few bytes at a time: signatures by others can be long, and of
 * them nothing but the form counts. */
static void read_signature(struct reader *r, struct slice base64, struct note_signature *line)
{
    uint8_t bytes[KEY_ID_SIZE + NOTE_SIGNATURE_KEPT + 2]; /* whole groups of Base64 */
    uint8_t rest[48];
    uint8_t *to = bytes;
    size_t max = sizeof bytes;
    size_t total = 0;
    while (base64.len > 0) {
        size_t step = BASE64_SIZE(max);
        bool is_last = base64.len <= step;
        size_t len = 0;
        enum err err =
            base64_read(slice_of(base64.data, is_last ? base64.len : step), to, max, &len);
        if (err != ERR_NONE || (!is_last && len != max)) {
            reader_fail(r, ERR_SYNTAX);
            return;
        }
        total += len;
        base64 =
            is_last ? (struct slice){NULL, 0} : slice_of(base64.data + step, base64.len - step);
        to = rest;
        max = sizeof rest;
    }
    if (total <= KEY_ID_SIZE) {
        reader_fail(r, ERR_SYNTAX);
        return;
    }
    struct reader id = reader_over(slice_of(bytes, KEY_ID_SIZE));
    line->key_id = reader_be32(&id);
    line->len = total - KEY_ID_SIZE;
    size_t kept = line->len < sizeof line->bytes ? line->len : sizeof line->bytes;
    memcpy(line->bytes, bytes + KEY_ID_SIZE, kept);
}

struct note_signature note_read_signature(struct reader *r)
{
    struct note_signature line = {.key_id = 0};
    reader_expect(r, SLICE_LITERAL(SIGNATURE_START));
    line.name = reader_until(r, ' ');
    if (!is_name(line.name))
        reader_fail(r, ERR_SYNTAX);
    struct slice base64 = reader_until(r, '\n');
    read_signature(r, base64, &line);
    return line;
}

bool note_signature_is_by(const struct note_signature *s, const struct note_key *key)
{
    return s->key_id == key->id && slice_equal(s->name, slice_of_text(key->name));
}

enum err note_text_unverified(struct slice note, struct slice *ret_text)
{
    if (note.len > NOTE_MAX)
        return ERR_LIMIT;
    if (!is_text(note))
        return ERR_SYNTAX;
    for (size_t end = note.len; end >= 2; end--) {
        if (note.data[end - 1] == '\n' && note.data[end - 2] == '\n') {
            *ret_text = slice_of(note.data, end - 1);
            return ERR_NONE;
        }
    }
    return ERR_SYNTAX;
}

struct slice note_read_line(struct reader *r, const char *key)
{
    reader_expect(r, slice_of_text(key));
    reader_expect(r, SLICE_LITERAL(" "));
    return reader_until(r, '\n');
}

enum err note_verify(struct slice note, const struct note_key *key, ed25519_verify_fn *verify,
                     struct slice *ret_text)
{
    struct slice text = {NULL, 0};
    enum err err = note_text_unverified(note, &text);
    if (err != ERR_NONE)
        return err;

    struct reader r = reader_over(slice_of(note.data + text.len + 1, note.len - text.len - 1));
    enum err verdict = ERR_NOT_FOUND;
    size_t lines = 0;
    do {
        struct note_signature line = note_read_signature(&r);
        if (++lines > NOTE_SIGNATURES_MAX)
            reader_fail(&r, ERR_LIMIT);
        if (r.err != ERR_NONE)
            return r.err;
        if (!note_signature_is_by(&line, key))
            continue;
        err = line.len == ED25519_SIGNATURE_SIZE ? verify(key->key, text, line.bytes)
                                                 : ERR_BAD_SIGNATURE;
        /* One bad signature by a known key condemns the note, whatever others there are. */
        if (verdict == ERR_NOT_FOUND || err != ERR_NONE)
            verdict = err;
    } while (reader_left(&r) > 0);

    if (verdict == ERR_NONE)
        *ret_text = text;
    return verdict;
}

void note_write_signature_line(struct writer *w, const struct note_key *key, struct slice signature)
{
    uint8_t bytes[KEY_ID_SIZE + NOTE_SIGNATURE_KEPT];
    struct writer bytes_writer = writer_over(bytes, sizeof bytes);
    writer_be32(&bytes_writer, key->id);
    writer_put(&bytes_writer, signature);
    if (bytes_writer.err != ERR_NONE)
        writer_fail(w, bytes_writer.err);

    writer_text(w, SIGNATURE_START);
    writer_text(w, key->name);
    writer_text(w, " ");
    base64_write(w, writer_bytes(&bytes_writer));
    writer_text(w, "\n");
}

void note_write_further_signature(struct writer *w, const struct note_key *key,
                                  const uint8_t signature[ED25519_SIGNATURE_SIZE])
{
    note_write_signature_line(w, key, slice_of(signature, ED25519_SIGNATURE_SIZE));
}

void note_write_signature(struct writer *w, const struct note_key *key,
                          const uint8_t signature[ED25519_SIGNATURE_SIZE])
{
    if (w->err == ERR_NONE && (w->len == 0 || w->start[w->len - 1] != '\n'))
        writer_fail(w, ERR_SYNTAX);
    writer_text(w, "\n");
    note_write_further_signature(w, key, signature);
}

/* A checkpoint's origin is a line of text; unlike a key name it may hold spaces. */
static bool is_origin(struct slice origin)
{
    for (size_t i = 0; i < origin.len; i++)
        if (origin.data[i] == '\n')
            return false;
    return origin.len > 0 && is_text(origin);
}

void checkpoint_write(struct writer *w, const struct checkpoint *c)
{
    if (!is_origin(slice_of_text(c->origin)))
        writer_fail(w, ERR_SYNTAX);
    if (c->size > INT64_MAX)
        writer_fail(w, ERR_LIMIT);
    writer_text(w, c->origin);
    writer_text(w, "\n");
    writer_decimal(w, c->size);
    writer_text(w, "\n");
    base64_write(w, slice_of(c->root.bytes, SHA256_SIZE));
    writer_text(w, "\n");
}

enum err checkpoint_read(struct slice text, struct checkpoint *ret_checkpoint)
{
    struct checkpoint c = {.size = 0};
    struct reader r = reader_over(text);
    struct slice origin = reader_until(&r, '\n');
    c.size = reader_decimal(&r, INT64_MAX);
    reader_expect(&r, SLICE_LITERAL("\n"));
    struct slice root = reader_until(&r, '\n');
    while (reader_left(&r) > 0) {
        struct slice extension = reader_until(&r, '\n');
        if (extension.len == 0)
            reader_fail(&r, ERR_SYNTAX);
    }
    enum err err = reader_finish(&r);
    if (err != ERR_NONE)
        return err;
    if (!is_text(text) || !is_origin(origin))
        return ERR_SYNTAX;
    if (origin.len > NOTE_NAME_MAX)
        return ERR_LIMIT;

    uint8_t bytes[SHA256_SIZE + 1];
    size_t len = 0;
    if (base64_read(root, bytes, sizeof bytes, &len) != ERR_NONE || len != SHA256_SIZE)
        return ERR_SYNTAX;
    memcpy(c.root.bytes, bytes, SHA256_SIZE);
    memcpy(c.origin, origin.data, origin.len);
    *ret_checkpoint = c;
    return ERR_NONE;
}
