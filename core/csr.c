#include "core/csr.h"

#include "core/oid.h"
#include "core/utf8.h"
#include "core/x509.h"

#define CHALLENGE_PASSWORD_MAX 255 /* ub-challengePassword, RFC 2985 appendix A */
/* An ECDSA-Sig-Value over P-384: two INTEGERs of 49 bytes with their headers. */
#define WRITTEN_SIGNATURE_MAX 104

struct signature_algorithm {
    struct slice oid;
    enum signature_kind kind;
    bool fits[KEY_KIND_COUNT];
};

static const struct signature_algorithm *find_algorithm(struct slice oid)
{
    static const struct signature_algorithm algorithms[] = {
        {OID_ECDSA_SHA256, SIGNATURE_ECDSA_SHA256, {[KEY_P256] = true, [KEY_P384] = true}},
        {OID_ECDSA_SHA384, SIGNATURE_ECDSA_SHA384, {[KEY_P256] = true, [KEY_P384] = true}},
        {OID_ED25519, SIGNATURE_ED25519, {[KEY_ED25519] = true}},
        {OID_RSA_SHA256, SIGNATURE_RSA_SHA256, {[KEY_RSA] = true}},
        {OID_RSA_SHA384, SIGNATURE_RSA_SHA384, {[KEY_RSA] = true}},
        {OID_RSA_SHA512, SIGNATURE_RSA_SHA512, {[KEY_RSA] = true}},
    };
    for (size_t i = 0; i < ARRAY_LEN(algorithms); i++)
        if (slice_equal(oid, algorithms[i].oid))
            return &algorithms[i];
    return NULL;
}

/* Text without control characters: names are shown to people and compared. */
static enum err check_text(unsigned tag, struct slice text, size_t max)
{
    if (tag != DER_UTF8_STRING && tag != DER_PRINTABLE_STRING && tag != DER_IA5_STRING)
        return ERR_UNSUPPORTED;
    if (text.len > max)
        return ERR_LIMIT;
    if (text.len == 0)
        return ERR_SYNTAX;
    for (size_t i = 0; i < text.len;) {
        size_t n = utf8_sequence(slice_of(text.data + i, text.len - i));
        if (n == 0 || (n > 1 && tag != DER_UTF8_STRING))
            return ERR_SYNTAX;
        if (n == 1 && (text.data[i] < ' ' || text.data[i] == 0x7f))
            return ERR_SYNTAX;
        i += n;
    }
    return ERR_NONE;
}

static void read_subject(struct reader *info, struct csr *csr)
{
    struct x509_name name = x509_name_read(info);
    if (info->err != ERR_NONE || name.common_names == 0)
        return;
    if (name.common_names > 1)
        reader_fail(info, ERR_UNSUPPORTED);
    else
        reader_fail(info, check_text(name.common_name_tag, name.common_name, CSR_COMMON_NAME_MAX));
    csr->common_name = name.common_name;
}

static void read_challenge_password(struct reader *values, struct csr *csr)
{
    unsigned tag = (unsigned)reader_peek(values);
    struct slice password = der_read(values, tag);
    if (values->err != ERR_NONE)
        return;
    reader_fail(values, check_text(tag, password, CHALLENGE_PASSWORD_MAX));
    if (csr->challenge_password.len > 0)
        reader_fail(values, ERR_SYNTAX);
    csr->challenge_password = password;
}

static void check_extension_request(struct reader *values)
{
    struct reader extensions = der_enter(values, DER_SEQUENCE);
    do
        (void)x509_extension_read(&extensions);
    while (reader_left(&extensions) > 0);
    der_leave(values, &extensions);
}

/* RFC 2986 section 4.1 and, for the two kinds that are single-valued, RFC 2985 section 5.4. */
static void read_attribute(struct reader *attributes, struct csr *csr)
{
    struct reader attribute = der_enter(attributes, DER_SEQUENCE);
    struct slice oid = der_read(&attribute, DER_OID);
    struct reader values = der_enter(&attribute, DER_SET);
    if (slice_equal(oid, OID_CHALLENGE_PASSWORD)) {
        read_challenge_password(&values, csr);
    } else if (slice_equal(oid, OID_EXTENSION_REQUEST)) {
        check_extension_request(&values);
    } else {
        do
            (void)der_read_any(&values, NULL);
        while (reader_left(&values) > 0);
    }
    der_leave(&attribute, &values);
    der_leave(attributes, &attribute);
}

static void read_info(struct reader *outer, struct csr *csr)
{
    const uint8_t *start = outer->at;
    struct reader info = der_enter(outer, DER_SEQUENCE);
    csr->signed_part = slice_of(start, (size_t)(outer->at - start));
    uint64_t version = der_read_u64(&info);
    if (version != 0)
        reader_fail(&info, ERR_UNSUPPORTED);
    read_subject(&info, csr);
    reader_fail(&info, spki_read(&info, &csr->spki));
    struct reader attributes = der_enter(&info, DER_CONTEXT_CONSTRUCTED(0));
    for (size_t n = 0; reader_left(&attributes) > 0; n++) {
        if (n == CSR_ATTRIBUTES_MAX)
            reader_fail(&attributes, ERR_LIMIT);
        read_attribute(&attributes, csr);
    }
    der_leave(&info, &attributes);
    der_leave(outer, &info);
}

static void read_signature_algorithm(struct reader *outer, struct csr *csr)
{
    struct reader algorithm = der_enter(outer, DER_SEQUENCE);
    struct slice oid = der_read(&algorithm, DER_OID);
    const struct signature_algorithm *found = find_algorithm(oid);
    if (found == NULL || !found->fits[csr->spki.kind]) {
        reader_fail(&algorithm, ERR_UNSUPPORTED);
    } else {
        csr->signature_kind = found->kind;
        /* RFC 4055 section 5: NULL for RSA, but absent must be taken too. The others have none. */
        if (csr->spki.kind == KEY_RSA && reader_left(&algorithm) > 0)
            reader_expect(&algorithm, SLICE_LITERAL("\x05\x00"));
    }
    der_leave(outer, &algorithm);
}

/* The sizes that an algorithm fixes; the rest is for the verifier. */
static enum err check_signature(const struct csr *csr)
{
    if (csr->signature.len > CSR_SIGNATURE_MAX)
        return ERR_LIMIT;
    if (csr->spki.kind == KEY_ED25519)
        return csr->signature.len == 64 ? ERR_NONE : ERR_SYNTAX;
    if (csr->spki.kind == KEY_RSA)
        return csr->signature.len == (csr->spki.bits + 7) / 8 ? ERR_NONE : ERR_SYNTAX;
    return csr->signature.len > 0 ? ERR_NONE : ERR_SYNTAX;
}

enum err csr_read(struct slice der, struct csr *ret_csr)
{
    if (der.len > CSR_MAX)
        return ERR_LIMIT;
    struct csr csr = {0};
    struct reader r = reader_over(der);
    struct reader outer = der_enter(&r, DER_SEQUENCE);
    /* Bytes after the request make it malformed, whatever else it is. */
    if (reader_left(&r) > 0)
        return ERR_SYNTAX;
    read_info(&outer, &csr);
    read_signature_algorithm(&outer, &csr);
    csr.signature = der_read_bit_string(&outer);
    if (outer.err == ERR_NONE)
        reader_fail(&outer, check_signature(&csr));
    der_leave(&r, &outer);
    enum err err = reader_finish(&r);
    if (err == ERR_NONE)
        *ret_csr = csr;
    return err;
}

static void write_subject(struct der_writer *w, struct slice common_name)
{
    size_t name = der_mark(w);
    if (common_name.len > 0) {
        der_put(w, DER_UTF8_STRING, common_name);
        der_put(w, DER_OID, OID_COMMON_NAME);
        der_wrap(w, DER_SEQUENCE, name);
        der_wrap(w, DER_SET, name);
    }
    der_wrap(w, DER_SEQUENCE, name);
}

static struct slice write_info(struct der_writer *w, enum key_kind kind, struct slice key,
                               struct slice common_name)
{
    size_t info = der_mark(w);
    der_put(w, DER_CONTEXT_CONSTRUCTED(0), slice_of(NULL, 0));
    spki_write(w, kind, key);
    write_subject(w, common_name);
    der_put_u64(w, 0);
    der_wrap(w, DER_SEQUENCE, info);
    return der_writer_bytes(w);
}

static struct slice signature_oid(enum key_kind kind)
{
    if (kind == KEY_ED25519)
        return OID_ED25519;
    return kind == KEY_P256 ? OID_ECDSA_SHA256 : OID_ECDSA_SHA384;
}

enum err csr_write(enum key_kind kind, struct slice key, struct slice common_name,
                   csr_sign_fn *sign, void *sign_ctx, uint8_t *buffer, size_t max,
                   struct slice *ret_der)
{
    if (common_name.len > 0) {
        enum err err = check_text(DER_UTF8_STRING, common_name, CSR_COMMON_NAME_MAX);
        if (err != ERR_NONE)
            return err;
    }
    struct der_writer draft = der_writer_over(buffer, max);
    struct slice info = write_info(&draft, kind, key, common_name);
    if (draft.err != ERR_NONE)
        return draft.err;

    uint8_t signature[WRITTEN_SIGNATURE_MAX];
    size_t signature_len = 0;
    enum err err = sign(sign_ctx, info, signature, sizeof signature, &signature_len);
    if (err != ERR_NONE)
        return err;
    if (signature_len == 0 || signature_len > sizeof signature)
        return ERR_INTERNAL;

    /* The signed part waits at the front while what follows it is written at the end. If the two
     * met, there would be no room left to put it in front, and the writer would say so. */
    memmove(buffer, info.data, info.len);
    struct der_writer w = der_writer_over(buffer, max);
    size_t whole = der_mark(&w);
    der_put_raw(&w, slice_of(signature, signature_len));
    der_wrap_bit_string(&w, whole);
    size_t algorithm = der_mark(&w);
    der_put(&w, DER_OID, signature_oid(kind));
    der_wrap(&w, DER_SEQUENCE, algorithm);
    der_put_raw(&w, slice_of(buffer, info.len));
    der_wrap(&w, DER_SEQUENCE, whole);
    if (w.err != ERR_NONE)
        return w.err;
    *ret_der = der_writer_bytes(&w);
    return ERR_NONE;
}
