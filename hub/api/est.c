/* EST (RFC 7030, clarified by RFC 8951). */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "api/requests.h"
#include "base/crypto.h"
#include "base/log.h"
#include "core/base64.h"
#include "core/est.h"
#include "core/oid.h"
#include "hub/api/caller.h"
#include "hub/membership.h"

#define CERTS_ONLY "application/pkcs7-mime; smime-type=certs-only"
#define BASIC_MAX  320 /* bytes of "tenant/serial:claim" */

/* ---- certificates out ---- */

static void reply_certificates(struct api_call *call, const struct slice *certificates, size_t n)
{
    struct arena *arena = http_request_arena(call->request);
    struct writer w = arena_writer(arena, EST_RESPONSE_MAX);
    uint8_t *scratch = arena_alloc(arena, EST_RESPONSE_MAX);
    enum err err = scratch == NULL ? ERR_NO_MEMORY : w.err;
    if (err == ERR_NONE)
        err = est_write_certificates(&w, certificates, n, scratch, EST_RESPONSE_MAX);
    if (err != ERR_NONE) {
        api_reply_err(call, err);
        return;
    }
    http_reply_header(call->request, "Content-Transfer-Encoding", "base64");
    http_reply(call->request, 200, CERTS_ONLY, writer_bytes(&w));
}

/* The issuing certificates and what leads from them to the root (RFC 7030 section 4.1.3): of all
 * hubs, for the next one to be asked may be another. */
void api_est_cacerts(struct api_call *call)
{
    struct slice chain[EST_CERTIFICATES_MAX];
    size_t n = 0;
    if (api_read_ok(call, membership_certificates(http_request_arena(call->request), chain,
                                                  EST_CERTIFICATES_MAX, &n)))
        reply_certificates(call, chain, n);
}

/* Nothing is asked of a request beyond a key we take: the certificate's contents are ours to say.
 * The one attribute named is the curve we recommend (RFC 7030 section 4.5.2, RFC 8951 section 3.5).
 */
void api_est_csrattrs(struct api_call *call)
{
    uint8_t der[64];
    struct der_writer d = der_writer_over(der, sizeof der);
    size_t whole = der_mark(&d);
    size_t attribute = der_mark(&d);
    size_t values = der_mark(&d);
    der_put(&d, DER_OID, OID_P256);
    der_wrap(&d, DER_SET, values);
    der_put(&d, DER_OID, OID_EC_PUBLIC_KEY);
    der_wrap(&d, DER_SEQUENCE, attribute);
    der_wrap(&d, DER_SEQUENCE, whole);
    uint8_t text[128];
    struct writer w = writer_over(text, sizeof text);
    base64_write_lines(&w, der_writer_bytes(&d));
    http_reply_header(call->request, "Content-Transfer-Encoding", "base64");
    http_reply(call->request, 200, "application/csrattrs", writer_bytes(&w));
}

static void reply_not_offered(struct api_call *call, const char *why)
{
    (void)problem_set(&call->problem, 501, "not-offered", "", "%s", why);
    api_reply_problem(call, &call->problem);
}

void api_est_serverkeygen(struct api_call *call)
{
    reply_not_offered(call, "keys are made on the device and never leave it; use simpleenroll");
}

void api_est_fullcmc(struct api_call *call)
{
    reply_not_offered(call, "full CMC is not offered; use simpleenroll and simplereenroll");
}

/* ---- credentials in ---- */

/* "SERIAL", or "TENANT/SERIAL" where it is another than HUB_TENANT. */
static enum err read_user(struct api_call *call, struct slice user, struct enrolment *e)
{
    const uint8_t *slash = user.len == 0 ? NULL : memchr(user.data, '/', user.len);
    struct slice tenant = SLICE_LITERAL(HUB_TENANT), serial = user;
    if (slash != NULL) {
        tenant = slice_of(user.data, (size_t)(slash - user.data));
        serial = slice_of(slash + 1, user.len - tenant.len - 1);
    }
    if (text_form_check(&form_name, tenant) != ERR_NONE ||
        text_form_check(&form_name, serial) != ERR_NONE)
        return ERR_SYNTAX;
    char *text = arena_text(http_request_arena(call->request), tenant);
    if (text == NULL)
        return ERR_NO_MEMORY;
    call->tenant = text;
    memcpy(e->device, serial.data, serial.len);
    e->device[serial.len] = '\0';
    return ERR_NONE;
}

/* "Basic BASE64(user:claim)" (RFC 7617; RFC 7030 section 3.2.3). */
static enum err read_basic(struct api_call *call, const char *value, struct enrolment *e)
{
    uint8_t text[BASIC_MAX];
    size_t len = 0;
    enum err err = base64_read(slice_of_text(value), text, sizeof text, &len);
    struct reader r = reader_over(slice_of(text, len));
    struct slice user = reader_until(&r, ':');
    struct slice code = reader_rest(&r);
    if (err == ERR_NONE)
        err = reader_finish(&r);
    if (err == ERR_NONE)
        err = read_user(call, user, e);
    /* A code of the wrong form takes the way of a wrong code, and costs as much. */
    if (err == ERR_NONE && identity_claim_hash(code, &e->claim_hash) != ERR_NONE)
        memset(e->claim_hash.bytes, 0, sizeof e->claim_hash.bytes);
    mem_wipe(text, sizeof text);
    if (err == ERR_NO_MEMORY)
        return err;
    if (err != ERR_NONE)
        return problem_set(
            &call->problem, 401, "enrolment-refused", "",
            "send Basic credentials: the serial number and the claim code; in front of "
            "it TENANT/ where that is not '" HUB_TENANT "'");
    e->authenticator = AUTHENTICATOR_CLAIM;
    return ERR_NONE;
}

static enum err read_credentials(struct api_call *call, struct enrolment *e)
{
    const char *authorization = http_request_header(call->request, "Authorization");
    const struct tls_peer *peer = http_request_peer(call->request);
    if (authorization != NULL) {
        if (strncasecmp(authorization, "Basic ", 6) != 0)
            return problem_set(&call->problem, 401, "enrolment-refused", "",
                               "only Basic credentials are taken here");
        return read_basic(call, authorization + 6, e);
    }
    if (peer->present) {
        e->authenticator = AUTHENTICATOR_IDEVID;
        memcpy(e->peer_certificate.bytes, peer->certificate_sha256, SHA256_SIZE);
        memcpy(e->peer_spki.bytes, peer->spki_sha256, SHA256_SIZE);
        return caller_key_within_rate(call, &e->peer_spki);
    }
    e->authenticator = AUTHENTICATOR_KEY;
    return ERR_NONE;
}

static enum err read_csr(struct api_call *call, struct enrolment *e)
{
    uint8_t *buffer = arena_alloc(http_request_arena(call->request), CSR_MAX);
    if (buffer == NULL)
        return ERR_NO_MEMORY;
    enum err err = est_read_request(http_request_body(call->request), buffer, CSR_MAX, &e->csr_der);
    if (err == ERR_NONE)
        return ERR_NONE;
    return problem_set(&call->problem, 400, "csr-malformed", "body",
                       "the body is not one PKCS#10 request in base64 (%s)", err_text(err));
}

/* ---- enrol and renew ---- */

/* Somebody should look, and the device that is in is not disturbed. A code that was right, and has
 * been used, comes with another key: a photographed label, or a device that lost its key. Or a
 * device would come back with a certificate that was replaced: two have had this identity. */
static void tell_alarm(struct api_call *call, const struct enrolment *e, const char *kind,
                       const char *event)
{
    char label[IDENTITY_LABEL_MAX];
    identity_label(label, e->act.tenant, e->device);
    refusals_alarm(call->hub->refusals, kind, label);
    log_event(LOG_LEVEL_WARNING, event, F_TEXT("device", label),
              F_TEXT("address", http_request_address(call->request)));
}

static void tell_copy(struct api_call *call, const struct enrolment *e)
{
    const struct responder_site site = api_responder_site(call);
    tell_alarm(call, e, "retired-certificate-shown", "device.retired_certificate_shown");
    responder_tell_copy(call->hub->responder, &site, e->act.tenant, e->device);
}

static void count_refusal(struct api_call *call, const struct enrolment *e)
{
    switch (e->authenticator) {
    case AUTHENTICATOR_CLAIM:
        if (strcmp(e->act.write.problem.code, "claim-used") == 0)
            tell_alarm(call, e, "claim-reused", "device.claim_reused");
        caller_count_failure(call);
        break;
    case AUTHENTICATOR_IDEVID:
    case AUTHENTICATOR_KEY:
        caller_count_failure(call);
        break;
    case AUTHENTICATOR_EXPIRED:
        if (e->retired_shown)
            tell_copy(call, e);
        break;
    case AUTHENTICATOR_CERTIFICATE:
        break;
    }
}

static const char *ended_event(enum authenticator authenticator)
{
    switch (authenticator) {
    case AUTHENTICATOR_CERTIFICATE:
        return "device.renewed";
    case AUTHENTICATOR_EXPIRED:
        return "device.returned";
    default:
        return "device.enrolled";
    }
}

static void enrol_ended(struct act *act)
{
    struct enrolment *e = CONTAINER_OF(act, struct enrolment, act);
    struct api_call *call = act->ctx;
    if (act->write.err == ERR_REFUSED)
        count_refusal(call, e);
    if (api_act_ended(act) == NULL)
        return;
    log_event(LOG_LEVEL_INFO, ended_event(e->authenticator), F_TEXT("device", e->device),
              F_TEXT("address", http_request_address(call->request)),
              F_INTEGER("repeated", e->repeated));
    reply_certificates(call, &e->certificate, 1);
}

static void enrol(struct api_call *call, struct enrolment *e)
{
    const struct act_origin origin = api_origin(call, enrol_ended);
    identity_enrol(call->hub->identity, &origin, call->here->reader, call->here->signer, e);
}

void api_est_simpleenroll(struct api_call *call)
{
    struct enrolment *e = API_NEW(call, struct enrolment);
    if (e == NULL)
        return;
    enum err err = caller_may_try(call);
    if (err == ERR_NONE) {
        err = read_credentials(call, e);
        if (err == ERR_NONE)
            err = read_csr(call, e);
        if (err == ERR_REFUSED)
            caller_count_failure(call);
    }
    if (err != ERR_NONE) {
        api_reply_err(call, err);
        return;
    }
    (void)snprintf(call->actor, sizeof call->actor, "enrolment:%s",
                   http_request_address(call->request));
    enrol(call, e);
}

void api_est_simplereenroll(struct api_call *call)
{
    struct enrolment *e = API_NEW(call, struct enrolment);
    if (e == NULL)
        return;
    enum err err = read_csr(call, e);
    if (err != ERR_NONE) {
        api_reply_err(call, err);
        return;
    }
    e->authenticator =
        call->caller == CALLER_DEVICE_EXPIRED ? AUTHENTICATOR_EXPIRED : AUTHENTICATOR_CERTIFICATE;
    (void)snprintf(e->device, sizeof e->device, "%s", call->device.device);
    (void)snprintf(e->serial, sizeof e->serial, "%s", call->device.certificate.serial);
    enrol(call, e);
}
