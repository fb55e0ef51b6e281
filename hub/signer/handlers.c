#include "hub/signer/handlers.h"

#include <strings.h>

#include "base/clock.h"
#include "base/host.h"
#include "core/rules.h"
#include "hub/signer/requests.h"
#include "pki/public_key.h"

#define DEVICE_URI_MAX  256  /* fleet, tenant and device at full length take 208 */
#define CHECKPOINT_MAX  1024 /* bytes of a note: a checkpoint's, or rules' */
#define COMMON_NAME_MAX 64   /* ub-common-name */
#define NAME_MAX_LEN    64

/* Segments of a SPIFFE ID's path, section 2.2. */
bool signer_is_name(const char *name)
{
    struct slice s = slice_of_text(name);
    if (s.len == 0 || s.len > NAME_MAX_LEN)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.data[i];
        bool is_alphanumeric =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!is_alphanumeric && c != '.' && c != '_' && c != '-')
            return false;
    }
    return !slice_equal(s, SLICE_LITERAL(".")) && !slice_equal(s, SLICE_LITERAL(".."));
}

static enum err check_dates(const struct certificate_request *request, int64_t lifetime_max)
{
    int64_t now = clock_seconds();
    if (request->not_before < now - SIGNER_BACKDATING_MAX ||
        request->not_before > now + SIGNER_FUTURE_MAX)
        return ERR_REFUSED;
    if (request->not_after <= now || request->not_after <= request->not_before ||
        request->not_after > request->not_before + lifetime_max)
        return ERR_REFUSED;
    return ERR_NONE;
}

static enum err check_key(struct slice der)
{
    struct spki spki;
    struct reader r = reader_over(der);
    enum err err = spki_read(&r, &spki);
    if (err == ERR_NONE)
        err = reader_finish(&r);
    if (err != ERR_NONE)
        return err;
    EVP_PKEY *key = NULL;
    const char *reason;
    err = public_key_new(&spki, &key, &reason);
    EVP_PKEY_free(key);
    return err;
}

/* A broker serves others by names of its own. Under one of the hub's it could pose as the hub,
 * whatever it is that asks here. */
static enum err broker_names(const struct signer_keys *k, const struct certificate_request *request,
                             struct slice ret_names[SERVER_NAMES_MAX])
{
    if (request->names_len == 0)
        return ERR_REFUSED;
    for (size_t i = 0; i < request->names_len; i++) {
        ret_names[i] = slice_of_text(request->names[i]);
        if (!host_is_sound(ret_names[i]))
            return ERR_REFUSED;
        for (size_t j = 0; j < k->server_names_len; j++)
            if (host_is_same(ret_names[i], slice_of_text(k->server_names[j])))
                return ERR_REFUSED;
    }
    return ERR_NONE;
}

/* PROFILE_DEVICE and PROFILE_BROKER. */
static enum err issue_to_device(struct signer_keys *k, const struct certificate_request *request,
                                struct issue_request issue, uint8_t *buffer, size_t max,
                                size_t *ret_len)
{
    struct slice names[SERVER_NAMES_MAX];
    if (!signer_is_name(request->tenant) || !signer_is_name(request->device))
        return ERR_REFUSED;
    if (request->profile == PROFILE_BROKER) {
        if (broker_names(k, request, names) != ERR_NONE)
            return ERR_REFUSED;
        issue.profile = ISSUE_BROKER;
        issue.names = names;
        issue.names_len = request->names_len;
    } else if (request->names_len != 0) {
        return ERR_REFUSED;
    }
    enum err err = check_dates(request, SIGNER_DEVICE_LIFETIME_MAX);
    if (err != ERR_NONE)
        return err;
    uint8_t bytes[DEVICE_URI_MAX];
    struct writer uri = writer_over(bytes, sizeof bytes);
    writer_text(&uri, "spiffe://");
    writer_text(&uri, k->fleet);
    writer_text(&uri, "/");
    writer_text(&uri, request->tenant);
    writer_text(&uri, "/device/");
    writer_text(&uri, request->device);
    if (uri.err != ERR_NONE)
        return uri.err;
    issue.common_name = slice_of_text(request->device);
    issue.uri = writer_bytes(&uri);
    issue.ocsp_url = slice_of_text(k->ocsp_url);
    issue.public_url = slice_of_text(k->crl.public_url);
    issue.crl_shards = k->crl.shards;
    return issue_certificate(k->issuers[AUTHORITY_CURRENT], &issue, buffer, max, ret_len);
}

/* DNS names are the same in either case (RFC 4343), and so are the digits of an address. */
static bool is_own_name(const struct signer_keys *k, const char *name)
{
    for (size_t i = 0; i < k->server_names_len; i++)
        if (strcasecmp(k->server_names[i], name) == 0)
            return true;
    return false;
}

static enum err issue_to_server(struct signer_keys *k, const struct certificate_request *request,
                                struct issue_request issue, uint8_t *buffer, size_t max,
                                size_t *ret_len)
{
    if (request->tenant[0] != '\0' || request->device[0] != '\0' || request->names_len == 0)
        return ERR_REFUSED;
    enum err err = check_dates(request, SIGNER_SERVER_LIFETIME_MAX);
    if (err != ERR_NONE)
        return err;
    struct slice names[SERVER_NAMES_MAX];
    for (size_t i = 0; i < request->names_len; i++) {
        if (!is_own_name(k, request->names[i]))
            return ERR_REFUSED;
        names[i] = slice_of_text(request->names[i]);
    }
    issue.profile = ISSUE_SERVER;
    issue.names = names;
    issue.names_len = request->names_len;
    if (names[0].len <= COMMON_NAME_MAX)
        issue.common_name = names[0];
    return issue_certificate(k->issuers[AUTHORITY_CURRENT], &issue, buffer, max, ret_len);
}

static enum err handle_issue(struct signer_keys *k, struct slice body, struct writer *result)
{
    struct certificate_request request;
    enum err err = signer_issue_read(body, &request);
    if (err == ERR_NONE)
        err = check_key(request.spki);
    if (err != ERR_NONE)
        return err;
    struct issue_request issue = {
        .not_before = request.not_before, .not_after = request.not_after, .spki = request.spki};
    uint8_t certificate[CERTIFICATE_MAX];
    size_t len = 0;
    if (request.profile != PROFILE_SERVER)
        err = issue_to_device(k, &request, issue, certificate, sizeof certificate, &len);
    else
        err = issue_to_server(k, &request, issue, certificate, sizeof certificate, &len);
    if (err == ERR_NONE)
        writer_put(result, slice_of(certificate, len));
    return err;
}

static enum err handle_checkpoint(struct signer_keys *k, struct slice body, struct writer *result)
{
    struct hash proof[MERKLE_PROOF_MAX];
    struct checkpoint_request request;
    enum err err = signer_checkpoint_read(body, proof, &request);
    if (err == ERR_NONE)
        err = ledger_state_advance(&k->state, request.size, &request.root, request.proof,
                                   request.proof_len);
    if (err != ERR_NONE)
        return err;
    struct checkpoint c = {.size = request.size, .root = request.root};
    memcpy(c.origin, k->ledger.public_key.name, sizeof c.origin);
    uint8_t bytes[CHECKPOINT_MAX];
    struct writer note = writer_over(bytes, sizeof bytes);
    checkpoint_write(&note, &c);
    err = note_signer_sign(&k->ledger, &note);
    if (err == ERR_NONE)
        writer_put(result, writer_bytes(&note));
    return err;
}

/* A version that is given out holds a policy that was applied: its text says so, in words of the
 * signer's own. */
static enum err handle_rules(struct signer_keys *k, struct slice body, struct writer *result)
{
    struct rules_request request;
    int64_t now = clock_seconds();
    enum err err = signer_rules_read(body, &request);
    if (err != ERR_NONE)
        return err;
    if (request.made_at < now - SIGNER_FUTURE_MAX || request.made_at > now + SIGNER_FUTURE_MAX ||
        request.body_len == 0 || request.body_len > RULES_BODY_MAX)
        return ERR_REFUSED;
    err =
        rules_state_advance(&k->rules, request.version, &request.body_sha256, clock_monotonic_ms());
    if (err != ERR_NONE)
        return err;
    uint8_t bytes[CHECKPOINT_MAX];
    struct writer note = writer_over(bytes, sizeof bytes);
    rules_write_text(&note, k->fleet, request.version, request.made_at, request.body_len,
                     request.body_sha256.bytes);
    err = note_signer_sign(&k->policy, &note);
    if (err == ERR_NONE)
        writer_put(result, writer_bytes(&note));
    return err;
}

static enum err handle_crl_begin(struct signer_keys *k, struct slice body, struct writer *result)
{
    struct crl_request request;
    enum err err = signer_crl_begin_read(body, &request);
    return err != ERR_NONE ? err : crl_desk_begin(&k->crl, k->issuers, &request, result);
}

static enum err handle_crl_add(struct signer_keys *k, struct slice body, struct writer *result)
{
    struct crl_entry entries[SIGNER_CRL_ENTRIES];
    size_t n = 0;
    enum err err = signer_crl_add_read(body, entries, &n);
    return err != ERR_NONE ? err : crl_desk_add(&k->crl, entries, n, result);
}

static enum err handle_crl_finish(struct signer_keys *k, struct slice body, struct writer *result)
{
    enum err err = signer_crl_finish_read(body);
    return err != ERR_NONE ? err : crl_desk_finish(&k->crl, result);
}

static bool is_reason(enum crl_reason reason)
{
    switch (reason) {
    case REASON_UNSPECIFIED:
    case REASON_SUPERSEDED:
    case REASON_CESSATION_OF_OPERATION:
    case REASON_CERTIFICATE_HOLD:
    case REASON_PRIVILEGE_WITHDRAWN:
        return true;
    default:
        return false;
    }
}

static enum err check_answer(const struct signer_keys *k, const struct ocsp_answer *answer)
{
    int64_t now = clock_seconds();
    if (k->responders[answer->authority] == NULL)
        return ERR_REFUSED;
    if (answer->this_update < now - SIGNER_FUTURE_MAX ||
        answer->this_update > now + SIGNER_FUTURE_MAX)
        return ERR_REFUSED;
    if (answer->next_update <= answer->this_update ||
        answer->next_update > answer->this_update + OCSP_VALIDITY_MAX)
        return ERR_REFUSED;
    if (answer->status != OCSP_REVOKED)
        return answer->reason == REASON_UNSPECIFIED && answer->revoked_at == 0 ? ERR_NONE
                                                                               : ERR_REFUSED;
    bool sane = is_reason(answer->reason) && answer->revoked_at > 0 &&
                answer->revoked_at <= answer->this_update + SIGNER_FUTURE_MAX;
    return sane ? ERR_NONE : ERR_REFUSED;
}

static enum err handle_ocsp(struct signer_keys *k, struct slice body, struct writer *result)
{
    struct ocsp_answer answer;
    enum err err = signer_ocsp_read(body, &answer);
    if (err == ERR_NONE)
        err = check_answer(k, &answer);
    if (err != ERR_NONE)
        return err;
    uint8_t response[OCSP_RESPONSE_MAX];
    size_t len = 0;
    err = ocsp_respond(k->responders[answer.authority], &answer, response, sizeof response, &len);
    if (err == ERR_NONE)
        writer_put(result, slice_of(response, len));
    return err;
}

static const struct {
    enum signer_request_kind kind;
    const char *checks;
    /* Puts what was made into `result`; after an error that is dropped. */
    enum err (*handle)(struct signer_keys *k, struct slice body, struct writer *result);
} requests[] = {
    {SIGNER_ISSUE,
     "a name in this fleet, or the hub's own (a broker's hosts are none of these); a sound key; a "
     "bounded life that starts now",
     handle_issue},
    {SIGNER_CHECKPOINT, "a tree that is proven to continue the last one signed", handle_checkpoint},
    {SIGNER_OCSP,
     "one serial; a state that exists; an answer that starts now and ends within a day",
     handle_ocsp},
    {SIGNER_CRL_BEGIN,
     "a list of an issuer there is, or a shard; dates of now; a number that grows",
     handle_crl_begin},
    {SIGNER_CRL_ADD, "serial numbers of that shard, as many as were announced", handle_crl_add},
    {SIGNER_CRL_FINISH, "all that was announced has come", handle_crl_finish},
    {SIGNER_RULES, "a version newer than the last signed; made now; not too often", handle_rules},
};

static enum err dispatch(struct signer_keys *k, uint8_t kind, struct slice body,
                         struct writer *result)
{
    for (size_t i = 0; i < ARRAY_LEN(requests); i++)
        if ((uint8_t)requests[i].kind == kind)
            return requests[i].handle(k, body, result);
    return ERR_UNSUPPORTED;
}

void signer_handle(struct signer_keys *k, struct slice message, struct writer *reply)
{
    struct reader r = reader_over(message);
    struct signer_request_head head = signer_head_read(&r);
    if (r.err != ERR_NONE) {
        signer_reply_write(reply, 0, 0, ERR_SYNTAX);
        return;
    }
    /* written as a success, and written anew where it is none */
    struct writer start = *reply;
    signer_reply_write(reply, head.id, head.kind, ERR_NONE);
    enum err err = dispatch(k, head.kind, reader_rest(&r), reply);
    if (err == ERR_NONE && reply->err != ERR_NONE)
        err = ERR_LIMIT;
    if (err != ERR_NONE) {
        *reply = start;
        signer_reply_write(reply, head.id, head.kind, err);
    }
}
