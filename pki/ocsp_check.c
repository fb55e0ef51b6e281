#include "pki/ocsp_check.h"

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/x509.h>

#define SKEW_SECONDS 300 /* between the responder's clock and ours */

static X509 *read_certificate(struct slice der)
{
    const uint8_t *at = der.data;
    return der.len > CERTIFICATE_MAX ? NULL : d2i_X509(NULL, &at, (long)der.len);
}

/* Whose certificate is meant, as the request names it. */
static OCSP_CERTID *make_id(const X509 *issuer, struct slice serial)
{
    BIGNUM *number = serial.len > SERIAL_MAX ? NULL : BN_bin2bn(serial.data, (int)serial.len, NULL);
    ASN1_INTEGER *integer = number == NULL ? NULL : BN_to_ASN1_INTEGER(number, NULL);
    OCSP_CERTID *id = NULL;
    if (integer != NULL)
        id = OCSP_cert_id_new(EVP_sha256(), X509_get_subject_name(issuer),
                              X509_get0_pubkey_bitstr(issuer), integer);
    ASN1_INTEGER_free(integer);
    BN_free(number);
    return id;
}

enum err ocsp_ask_write(struct writer *w, struct slice issuer, struct slice serial)
{
    X509 *certificate = read_certificate(issuer);
    if (certificate == NULL || serial.len > SERIAL_MAX) {
        X509_free(certificate);
        ERR_clear_error();
        return ERR_SYNTAX;
    }
    uint8_t *der = NULL;
    OCSP_REQUEST *request = OCSP_REQUEST_new();
    OCSP_CERTID *id = make_id(certificate, serial);
    bool added = request != NULL && id != NULL && OCSP_request_add0_id(request, id) != NULL;
    if (!added)
        OCSP_CERTID_free(id);
    int len = added ? i2d_OCSP_REQUEST(request, &der) : -1;
    if (len > 0)
        writer_put(w, slice_of(der, (size_t)len));
    OPENSSL_free(der);
    OCSP_REQUEST_free(request);
    X509_free(certificate);
    ERR_clear_error();
    return len > 0 ? w->err : ERR_CRYPTO;
}

/* ---- the answer ---- */

static int64_t seconds_of(const ASN1_GENERALIZEDTIME *time)
{
    struct tm tm;
    return time != NULL && ASN1_TIME_to_tm(time, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

/* The issuer alone is trusted, and whom it made a responder. */
static bool is_signed(OCSP_BASICRESP *basic, X509 *issuer)
{
    X509_STORE *store = X509_STORE_new();
    bool good = store != NULL && X509_STORE_add_cert(store, issuer) == 1 &&
                X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN) == 1 &&
                OCSP_basic_verify(basic, NULL, store, 0) == 1;
    X509_STORE_free(store);
    return good;
}

static enum err read_status(OCSP_BASICRESP *basic, X509 *issuer, struct slice serial,
                            struct ocsp_said *said)
{
    int status = -1, reason = -1;
    ASN1_GENERALIZEDTIME *revoked = NULL, *this_update = NULL, *next_update = NULL;
    OCSP_CERTID *id = make_id(issuer, serial);
    if (id == NULL)
        return ERR_NO_MEMORY;
    int found =
        OCSP_resp_find_status(basic, id, &status, &reason, &revoked, &this_update, &next_update);
    OCSP_CERTID_free(id);
    if (found != 1)
        return ERR_CONFLICT;
    if (OCSP_check_validity(this_update, next_update, SKEW_SECONDS, -1) != 1)
        return ERR_EXPIRED;
    said->status = status == V_OCSP_CERTSTATUS_GOOD      ? OCSP_GOOD
                   : status == V_OCSP_CERTSTATUS_REVOKED ? OCSP_REVOKED
                                                         : OCSP_UNKNOWN;
    said->reason = reason < 0 ? REASON_UNSPECIFIED : (enum crl_reason)reason;
    said->this_update = seconds_of(this_update);
    said->next_update = seconds_of(next_update);
    return ERR_NONE;
}

static enum err check_basic(OCSP_RESPONSE *response, struct slice issuer, struct slice serial,
                            struct ocsp_said *said)
{
    X509 *certificate = read_certificate(issuer);
    OCSP_BASICRESP *basic = OCSP_response_get1_basic(response);
    enum err err = ERR_NONE;
    if (certificate == NULL || basic == NULL)
        err = ERR_SYNTAX;
    else if (!is_signed(basic, certificate))
        err = ERR_BAD_SIGNATURE;
    else
        err = read_status(basic, certificate, serial, said);
    OCSP_BASICRESP_free(basic);
    X509_free(certificate);
    return err;
}

enum err ocsp_answer_check(struct slice answer, struct slice issuer, struct slice serial,
                           struct ocsp_said *ret_said)
{
    const uint8_t *at = answer.data;
    if (answer.len == 0 || answer.len > OCSP_ANSWER_MAX)
        return ERR_SYNTAX;
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &at, (long)answer.len);
    bool whole = response != NULL && at == answer.data + answer.len;
    int status = whole ? OCSP_response_status(response) : -1;
    struct ocsp_said said = {.response_status = (enum ocsp_response_status)status};
    enum err err = whole && status >= 0 ? ERR_NONE : ERR_SYNTAX;
    if (err == ERR_NONE && status == OCSP_RESPONSE_STATUS_SUCCESSFUL)
        err = check_basic(response, issuer, serial, &said);
    OCSP_RESPONSE_free(response);
    ERR_clear_error();
    if (err == ERR_NONE)
        *ret_said = said;
    return err;
}
