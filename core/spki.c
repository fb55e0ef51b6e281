#include "core/spki.h"

#include "core/oid.h"

#define ED25519_SIZE 32
/* An exponent beyond 64 bits only costs the verifier time. */
#define RSA_EXPONENT_MAX 8

const char *key_kind_text(enum key_kind kind)
{
    static const char *const texts[KEY_KIND_COUNT] = {
        [KEY_P256] = "P-256",
        [KEY_P384] = "P-384",
        [KEY_ED25519] = "Ed25519",
        [KEY_RSA] = "RSA",
    };
    return (unsigned)kind < KEY_KIND_COUNT ? texts[kind] : "unknown";
}

/* RFC 5480 section 2.2: an uncompressed point; the compressed forms may be refused. */
static enum err check_point(struct slice point, unsigned field_bits)
{
    size_t field = field_bits / 8;
    if (point.len == 1 + field && (point.data[0] == 2 || point.data[0] == 3))
        return ERR_UNSUPPORTED;
    return point.len == 1 + 2 * field && point.data[0] == 4 ? ERR_NONE : ERR_SYNTAX;
}

static enum err read_ec(struct reader *algorithm, struct spki *spki)
{
    if (!der_next_is(algorithm, DER_OID))
        return reader_left(algorithm) > 0 ? ERR_UNSUPPORTED : ERR_SYNTAX;
    struct slice curve = der_read(algorithm, DER_OID);
    enum err err = reader_finish(algorithm);
    if (err != ERR_NONE)
        return err;
    if (slice_equal(curve, OID_P256)) {
        spki->kind = KEY_P256;
        spki->bits = 256;
    } else if (slice_equal(curve, OID_P384)) {
        spki->kind = KEY_P384;
        spki->bits = 384;
    } else {
        return ERR_UNSUPPORTED;
    }
    return check_point(spki->key, spki->bits);
}

/* RFC 8410 section 3: the parameters are absent. */
static enum err read_ed25519(struct reader *algorithm, struct spki *spki)
{
    spki->kind = KEY_ED25519;
    spki->bits = 256;
    return reader_left(algorithm) == 0 && spki->key.len == ED25519_SIZE ? ERR_NONE : ERR_SYNTAX;
}

/* RFC 3279 section 2.3.1: the parameters are NULL, the key is {modulus, publicExponent}. */
static enum err read_rsa(struct reader *algorithm, struct spki *spki)
{
    struct slice null = der_read(algorithm, DER_NULL);
    enum err err = reader_finish(algorithm);
    if (err != ERR_NONE || null.len != 0)
        return ERR_SYNTAX;
    struct reader outer = reader_over(spki->key);
    struct reader key = der_enter(&outer, DER_SEQUENCE);
    struct slice modulus = der_read_unsigned(&key);
    struct slice exponent = der_read_unsigned(&key);
    der_leave(&outer, &key);
    err = reader_finish(&outer);
    if (err != ERR_NONE)
        return err;

    if (modulus.len > RSA_BITS_MAX / 8 || exponent.len > RSA_EXPONENT_MAX)
        return ERR_UNSUPPORTED;
    unsigned bits = (unsigned)modulus.len * 8;
    for (uint8_t top = modulus.data[0]; bits > 0 && top < 0x80; top = (uint8_t)(top << 1 | 1))
        bits--;
    bool odd = (modulus.data[modulus.len - 1] & exponent.data[exponent.len - 1] & 1) != 0;
    bool one = exponent.len == 1 && exponent.data[0] == 1;
    if (bits < RSA_BITS_MIN || !odd || one)
        return ERR_UNSUPPORTED;
    spki->kind = KEY_RSA;
    spki->bits = bits;
    return ERR_NONE;
}

static enum err read_algorithm(struct reader *algorithm, struct spki *spki)
{
    struct slice oid = der_read(algorithm, DER_OID);
    if (algorithm->err != ERR_NONE)
        return algorithm->err;
    if (slice_equal(oid, OID_EC_PUBLIC_KEY))
        return read_ec(algorithm, spki);
    if (slice_equal(oid, OID_ED25519))
        return read_ed25519(algorithm, spki);
    if (slice_equal(oid, OID_RSA))
        return read_rsa(algorithm, spki);
    return ERR_UNSUPPORTED;
}

enum err spki_read(struct reader *r, struct spki *ret_spki)
{
    const uint8_t *start = r->at;
    struct spki spki = {0};
    struct reader body = der_enter(r, DER_SEQUENCE);
    struct reader algorithm = der_enter(&body, DER_SEQUENCE);
    spki.key = der_read_bit_string(&body);
    der_leave(r, &body);
    if (r->err == ERR_NONE)
        reader_fail(r, read_algorithm(&algorithm, &spki));
    if (r->err != ERR_NONE)
        return r->err;
    spki.der = slice_of(start, (size_t)(r->at - start));
    *ret_spki = spki;
    return ERR_NONE;
}

void spki_write(struct der_writer *w, enum key_kind kind, struct slice key)
{
    bool ec = kind == KEY_P256 || kind == KEY_P384;
    enum err err = ERR_NONE;
    if (ec)
        err = check_point(key, kind == KEY_P256 ? 256 : 384);
    else if (kind != KEY_ED25519)
        err = ERR_UNSUPPORTED;
    else if (key.len != ED25519_SIZE)
        err = ERR_SYNTAX;
    if (err != ERR_NONE) {
        der_writer_fail(w, err);
        return;
    }
    size_t whole = der_mark(w);
    der_put_raw(w, key);
    der_wrap_bit_string(w, whole);
    size_t algorithm = der_mark(w);
    if (ec)
        der_put(w, DER_OID, kind == KEY_P256 ? OID_P256 : OID_P384);
    der_put(w, DER_OID, ec ? OID_EC_PUBLIC_KEY : OID_ED25519);
    der_wrap(w, DER_SEQUENCE, algorithm);
    der_wrap(w, DER_SEQUENCE, whole);
}
