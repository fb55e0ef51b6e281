#include "core/x509.h"

#include "core/oid.h"

#define VERSION_3 2
/* GeneralName, RFC 5280 section 4.2.1.6 */
#define GENERAL_NAME_URI DER_CONTEXT(6)

static void read_attribute(struct reader *rdn, struct x509_name *name)
{
    struct reader attribute = der_enter(rdn, DER_SEQUENCE);
    struct slice oid = der_read(&attribute, DER_OID);
    unsigned tag = (unsigned)reader_peek(&attribute);
    struct slice value = der_read(&attribute, tag);
    /* Every attribute of RFC 5280 is of a primitive universal type. */
    if (attribute.err == ERR_NONE && (tag & 0xe0) != 0)
        reader_fail(&attribute, ERR_UNSUPPORTED);
    der_leave(rdn, &attribute);
    if (rdn->err != ERR_NONE || !slice_equal(oid, OID_COMMON_NAME))
        return;
    if (name->common_names++ > 0)
        return;
    name->common_name = value;
    name->common_name_tag = tag;
}

struct x509_name x509_name_read(struct reader *r)
{
    const uint8_t *start = r->at;
    struct x509_name name = {0};
    struct reader rdns = der_enter(r, DER_SEQUENCE);
    while (reader_left(&rdns) > 0) {
        struct reader rdn = der_enter(&rdns, DER_SET);
        do
            read_attribute(&rdn, &name);
        while (reader_left(&rdn) > 0);
        der_leave(&rdns, &rdn);
    }
    der_leave(r, &rdns);
    name.der = slice_of(start, (size_t)(r->at - start));
    return name;
}

struct x509_extension x509_extension_read(struct reader *r)
{
    struct reader body = der_enter(r, DER_SEQUENCE);
    struct x509_extension extension = {.oid = der_read(&body, DER_OID)};
    if (der_next_is(&body, DER_BOOLEAN)) {
        /* DER leaves out a value that is the default, FALSE. */
        reader_expect(&body, SLICE_LITERAL("\x01\x01\xff"));
        extension.critical = true;
    }
    extension.value = der_read(&body, DER_OCTET_STRING);
    der_leave(r, &body);
    return extension;
}

/* The first URI among GeneralNames; they are walked to the end for their form. */
static enum err read_uri(struct slice value, struct slice *ret_uri)
{
    struct reader r = reader_over(value);
    struct reader names = der_enter(&r, DER_SEQUENCE);
    struct slice uri = {NULL, 0};
    do {
        if (!der_next_is(&names, GENERAL_NAME_URI)) {
            (void)der_read_any(&names, NULL);
            continue;
        }
        struct slice found = der_read(&names, GENERAL_NAME_URI);
        if (names.err == ERR_NONE && found.len == 0)
            reader_fail(&names, ERR_SYNTAX);
        for (size_t i = 0; i < found.len; i++)
            if (found.data[i] <= ' ' || found.data[i] >= 0x7f)
                reader_fail(&names, ERR_SYNTAX);
        if (uri.len == 0)
            uri = found;
    } while (reader_left(&names) > 0);
    der_leave(&r, &names);
    enum err err = reader_finish(&r);
    if (err == ERR_NONE)
        *ret_uri = uri;
    return err;
}

/* AuthorityKeyIdentifier: its keyIdentifier, and what else may be there to the end. */
static enum err read_authority_key(struct slice value, struct slice *ret_key)
{
    struct reader r = reader_over(value);
    struct reader fields = der_enter(&r, DER_SEQUENCE);
    struct slice key = {NULL, 0};
    if (der_next_is(&fields, DER_CONTEXT(0)))
        key = der_read(&fields, DER_CONTEXT(0));
    while (reader_left(&fields) > 0)
        (void)der_read_any(&fields, NULL);
    der_leave(&r, &fields);
    enum err err = reader_finish(&r);
    if (err == ERR_NONE)
        *ret_key = key;
    return err;
}

static enum err read_subject_key(struct slice value, struct slice *ret_key)
{
    struct reader r = reader_over(value);
    struct slice key = der_read(&r, DER_OCTET_STRING);
    enum err err = reader_finish(&r);
    if (err == ERR_NONE)
        *ret_key = key;
    return err;
}

/* One of those that are looked at, into its field; RFC 5280 section 4.2: not more than one instance
 * of each. */
static enum err read_known(const struct x509_extension *extension, struct certificate *certificate,
                           unsigned *seen)
{
    const struct {
        struct slice oid;
        enum err (*read)(struct slice value, struct slice *ret);
        struct slice *ret;
    } known[] = {
        {OID_SUBJECT_ALT_NAME, read_uri, &certificate->uri},
        {OID_AUTHORITY_KEY_IDENTIFIER, read_authority_key, &certificate->authority_key},
        {OID_SUBJECT_KEY_IDENTIFIER, read_subject_key, &certificate->subject_key},
    };
    for (unsigned i = 0; i < ARRAY_LEN(known); i++) {
        if (!slice_equal(extension->oid, known[i].oid))
            continue;
        if ((*seen & 1u << i) != 0)
            return ERR_SYNTAX;
        *seen |= 1u << i;
        return known[i].read(extension->value, known[i].ret);
    }
    return ERR_NONE;
}

static void read_extensions(struct reader *tbs, struct certificate *certificate)
{
    if (!der_next_is(tbs, DER_CONTEXT_CONSTRUCTED(3)))
        return;
    struct reader explicit = der_enter(tbs, DER_CONTEXT_CONSTRUCTED(3));
    struct reader extensions = der_enter(&explicit, DER_SEQUENCE);
    unsigned seen = 0;
    do {
        struct x509_extension extension = x509_extension_read(&extensions);
        if (extensions.err == ERR_NONE)
            reader_fail(&extensions, read_known(&extension, certificate, &seen));
    } while (reader_left(&extensions) > 0);
    der_leave(&explicit, &extensions);
    der_leave(tbs, &explicit);
}

static void read_validity(struct reader *tbs, struct certificate *certificate)
{
    struct reader validity = der_enter(tbs, DER_SEQUENCE);
    certificate->not_before = der_read_time(&validity);
    certificate->not_after = der_read_time(&validity);
    der_leave(tbs, &validity);
}

static void read_version(struct reader *tbs)
{
    if (!der_next_is(tbs, DER_CONTEXT_CONSTRUCTED(0))) {
        reader_fail(tbs, der_next_is(tbs, DER_INTEGER) ? ERR_UNSUPPORTED : ERR_SYNTAX);
        return;
    }
    struct reader explicit = der_enter(tbs, DER_CONTEXT_CONSTRUCTED(0));
    uint64_t version = der_read_u64(&explicit);
    der_leave(tbs, &explicit);
    if (tbs->err == ERR_NONE && version != VERSION_3)
        reader_fail(tbs, ERR_UNSUPPORTED);
}

/* TBSCertificate, RFC 5280 section 4.1; *ret_algorithm is its signature field. */
static void read_tbs(struct reader *outer, struct certificate *certificate,
                     struct slice *ret_algorithm)
{
    struct reader tbs = der_enter(outer, DER_SEQUENCE);
    read_version(&tbs);
    certificate->serial = der_read_unsigned(&tbs);
    if (certificate->serial.len > SERIAL_MAX)
        reader_fail(&tbs, ERR_LIMIT);
    const uint8_t *start = tbs.at;
    (void)der_read(&tbs, DER_SEQUENCE);
    *ret_algorithm = slice_of(start, (size_t)(tbs.at - start));
    certificate->issuer = x509_name_read(&tbs).der;
    read_validity(&tbs, certificate);
    certificate->subject = x509_name_read(&tbs).der;
    reader_fail(&tbs, spki_read(&tbs, &certificate->spki));
    /* issuerUniqueID and subjectUniqueID: nobody may write them, everybody must read over them. */
    for (unsigned n = 1; n <= 2; n++)
        if (der_next_is(&tbs, DER_CONTEXT(n)))
            (void)der_read(&tbs, DER_CONTEXT(n));
    read_extensions(&tbs, certificate);
    der_leave(outer, &tbs);
}

enum err certificate_read(struct slice der, struct certificate *ret_certificate)
{
    if (der.len > CERTIFICATE_MAX)
        return ERR_LIMIT;
    struct certificate certificate = {.der = der};
    struct slice algorithm = {NULL, 0};
    struct reader r = reader_over(der);
    struct reader outer = der_enter(&r, DER_SEQUENCE);
    /* Bytes after the certificate make it malformed, whatever else it is. */
    if (reader_left(&r) > 0)
        return ERR_SYNTAX;
    read_tbs(&outer, &certificate, &algorithm);
    /* RFC 5280 section 4.1.1.2: the same algorithm, inside and outside of what is signed. */
    reader_expect(&outer, algorithm);
    (void)der_read_bit_string(&outer);
    der_leave(&r, &outer);
    enum err err = reader_finish(&r);
    if (err == ERR_NONE)
        *ret_certificate = certificate;
    return err;
}

uint32_t authority_number(struct slice key_identifier)
{
    uint32_t number = 0;
    for (size_t i = 0; i < 4 && i < key_identifier.len; i++)
        number = number << 8 | key_identifier.data[i];
    return number;
}
