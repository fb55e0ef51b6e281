/* Claim codes: 128 random bits in Crockford's base 32, which has no letters that look like digits.
 */
#include "base/crypto.h"
#include "hub/identity/internal.h"

#define CLAIM_CHARS 26 /* 26 x 5 = 130 bits: the last character carries two zero bits */
#define CLAIM_GROUP 5

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

void claim_encode(const uint8_t secret[IDENTITY_CLAIM_BYTES], char ret_code[IDENTITY_CLAIM_TEXT])
{
    uint32_t bits = 0;
    unsigned held = 0;
    size_t at = 0;
    size_t next = 0;
    for (size_t i = 0; i < CLAIM_CHARS; i++) {
        if (held < 5) {
            bits = bits << 8 | (next < IDENTITY_CLAIM_BYTES ? secret[next] : 0);
            next++;
            held += 8;
        }
        held -= 5;
        if (i > 0 && i % CLAIM_GROUP == 0 && i < 25)
            ret_code[at++] = '-';
        ret_code[at++] = alphabet[bits >> held & 31];
    }
    ret_code[at] = '\0';
    mem_wipe(&bits, sizeof bits);
}

/* -1 for a character that is not in the alphabet. O, I and L are read as the digits they look like.
 */
static int claim_digit(uint8_t c)
{
    if (c >= 'a' && c <= 'z')
        c = (uint8_t)(c - 'a' + 'A');
    if (c == 'O')
        c = '0';
    if (c == 'I' || c == 'L')
        c = '1';
    for (int v = 0; v < 32; v++) {
        if ((uint8_t)alphabet[v] == c)
            return v;
    }
    return -1;
}

static enum err claim_decode(struct slice code, uint8_t ret_secret[IDENTITY_CLAIM_BYTES])
{
    uint8_t bytes[IDENTITY_CLAIM_BYTES + 1] = {0};
    uint32_t bits = 0;
    unsigned held = 0;
    size_t chars = 0;
    size_t n = 0;
    enum err err = ERR_NONE;
    for (size_t i = 0; i < code.len; i++) {
        if (code.data[i] == '-')
            continue;
        int v = claim_digit(code.data[i]);
        if (v < 0 || ++chars > CLAIM_CHARS) {
            err = ERR_SYNTAX;
            break;
        }
        bits = bits << 5 | (uint32_t)v;
        held += 5;
        if (held >= 8) {
            held -= 8;
            bytes[n++] = (uint8_t)(bits >> held);
        }
    }
    bool spare_bits_zero = (bits & ((1u << held) - 1)) == 0;
    if (err == ERR_NONE && (chars != CLAIM_CHARS || !spare_bits_zero))
        err = ERR_SYNTAX;
    if (err == ERR_NONE)
        memcpy(ret_secret, bytes, IDENTITY_CLAIM_BYTES);
    mem_wipe(bytes, sizeof bytes);
    mem_wipe(&bits, sizeof bits);
    return err;
}

/* A plain hash will do: nobody guesses 128 random bits, so there is nothing to slow down. */
static void claim_digest(const uint8_t secret[IDENTITY_CLAIM_BYTES], struct hash *ret_hash)
{
    const struct slice parts[2] = {SLICE_LITERAL("holdfast-claim/v1\n"),
                                   slice_of(secret, IDENTITY_CLAIM_BYTES)};
    crypto_sha256(parts, ARRAY_LEN(parts), ret_hash->bytes);
}

enum err claim_make(char ret_code[IDENTITY_CLAIM_TEXT], struct hash *ret_hash)
{
    uint8_t secret[IDENTITY_CLAIM_BYTES];
    enum err err = crypto_random(secret, sizeof secret);
    if (err != ERR_NONE)
        return err;
    claim_encode(secret, ret_code);
    claim_digest(secret, ret_hash);
    mem_wipe(secret, sizeof secret);
    return ERR_NONE;
}

enum err identity_claim_hash(struct slice code, struct hash *ret_hash)
{
    uint8_t secret[IDENTITY_CLAIM_BYTES];
    enum err err = claim_decode(code, secret);
    if (err != ERR_NONE)
        return err;
    claim_digest(secret, ret_hash);
    mem_wipe(secret, sizeof secret);
    return ERR_NONE;
}
