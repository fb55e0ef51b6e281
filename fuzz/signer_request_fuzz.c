/* The signer's side of the socket: whatever comes in, one well-formed reply goes out; what is read
 * is written back as the same bytes; no tree gets smaller, and no rules older. */
#include <assert.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/mman.h>

#include <openssl/ocsp.h>
#include <openssl/x509v3.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "core/rules.h"
#include "hub/signer/handlers.h"
#include "hub/signer/requests.h"

#define RULES_SIGNED 7 /* the version signed last */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok)
{
    if (!ok)
        abort();
}

static X509 *make_certificate(EVP_PKEY *key)
{
    X509 *c = X509_new();
    X509V3_CTX ctx;
    require(c != NULL && X509_set_version(c, X509_VERSION_3) == 1 && X509_set_pubkey(c, key) == 1);
    require(ASN1_INTEGER_set(X509_get_serialNumber(c), 1) == 1);
    require(X509_NAME_add_entry_by_txt(X509_get_subject_name(c), "CN", MBSTRING_ASC,
                                       (const uint8_t *)"issuing", -1, -1, 0) == 1);
    require(X509_set_issuer_name(c, X509_get_subject_name(c)) == 1);
    require(X509_gmtime_adj(X509_getm_notBefore(c), -3600) != NULL);
    require(X509_gmtime_adj(X509_getm_notAfter(c), 365L * 86400) != NULL);
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, c, c, NULL, NULL, 0);
    static const struct {
        int nid;
        const char *value;
    } extensions[] = {{NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
                      {NID_key_usage, "critical,keyCertSign,cRLSign"},
                      {NID_subject_key_identifier, "hash"}};
    for (size_t i = 0; i < ARRAY_LEN(extensions); i++) {
        X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, extensions[i].nid, extensions[i].value);
        require(e != NULL && X509_add_ext(c, e, -1) == 1);
        X509_EXTENSION_free(e);
    }
    require(X509_sign(c, key, EVP_sha256()) > 0);
    return c;
}

static void make_note_key(struct slice name, struct note_signer *s)
{
    uint8_t public_key[ED25519_KEY_SIZE];
    size_t len = sizeof public_key;
    require(ca_key_new(KEY_ED25519, &s->key) == ERR_NONE);
    require(EVP_PKEY_get_raw_public_key(s->key, public_key, &len) == 1);
    require(note_key_init(&s->public_key, crypto_sha256, name, public_key) == ERR_NONE);
}

static struct signer_keys *make_keys(void)
{
    static struct signer_keys k = {.fleet = "acme.example",
                                   .server_names = {"hub.example", "127.0.0.1", "::1"},
                                   .server_names_len = 3};
    EVP_PKEY *issuing = NULL;
    require(ca_key_new(KEY_P256, &issuing) == ERR_NONE);
    make_note_key(SLICE_LITERAL("acme.example/ledger"), &k.ledger);
    make_note_key(SLICE_LITERAL("acme.example/policy"), &k.policy);
    X509 *certificate = make_certificate(issuing);
    for (size_t i = 0; i < AUTHORITY_COUNT; i++)
        require(issuer_new(issuing, certificate, &k.issuers[i]) == ERR_NONE);
    uint8_t *der = NULL;
    int der_len = i2d_X509(certificate, &der);
    require(der_len > 0 &&
            ocsp_responder_new(k.issuers[AUTHORITY_CURRENT], slice_of(der, (size_t)der_len),
                               "acme.example", &k.responders[AUTHORITY_CURRENT]) == ERR_NONE);
    OPENSSL_free(der);
    X509_free(certificate);
    EVP_PKEY_free(issuing);
    k.state.signed_last.fd = memfd_create("ledger.state", MFD_CLOEXEC);
    k.rules.signed_last.fd = memfd_create("policy.state", MFD_CLOEXEC);
    require(k.state.signed_last.fd >= 0 && k.rules.signed_last.fd >= 0);
    return &k;
}

static int64_t from_now(int64_t seconds)
{
    return (int64_t)((uint64_t)seconds + (uint64_t)clock_seconds());
}

static void freshen_answer(struct ocsp_answer *answer)
{
    answer->this_update = from_now(answer->this_update);
    answer->next_update = from_now(answer->next_update);
    if (answer->status == OCSP_REVOKED)
        answer->revoked_at = from_now(answer->revoked_at);
}

/* Dates of a corpus grow old: where it asks for it (the highest bit of the id), they count from
 * now. */
static size_t freshen(const uint8_t *data, size_t size, uint8_t *message)
{
    memcpy(message, data, size);
    struct reader r = reader_over(slice_of(data, size));
    struct signer_request_head head = signer_head_read(&r);
    struct ocsp_answer answer;
    if (r.err == ERR_NONE && (head.id & 0x80000000U) != 0 && head.kind == SIGNER_OCSP &&
        signer_ocsp_read(reader_rest(&r), &answer) == ERR_NONE) {
        freshen_answer(&answer);
        struct writer w = writer_over(message, SIGNER_REQUEST_MAX);
        signer_head_write(&w, head.id, SIGNER_OCSP);
        signer_ocsp_write(&w, &answer);
        return w.len;
    }
    struct certificate_request request;
    struct crl_request crl;
    if (r.err != ERR_NONE || (head.id & 0x80000000U) == 0)
        return size;
    struct slice body = reader_rest(&r);
    struct rules_request rules;
    if (head.kind == SIGNER_RULES && signer_rules_read(body, &rules) == ERR_NONE) {
        rules.made_at = from_now(rules.made_at);
        struct writer w = writer_over(message, SIGNER_REQUEST_MAX);
        signer_head_write(&w, head.id, SIGNER_RULES);
        signer_rules_write(&w, &rules);
        return w.len;
    }
    if (head.kind == SIGNER_CRL_BEGIN && signer_crl_begin_read(body, &crl) == ERR_NONE) {
        crl.this_update = (int64_t)((uint64_t)crl.this_update + (uint64_t)clock_seconds());
        crl.next_update = (int64_t)((uint64_t)crl.next_update + (uint64_t)clock_seconds());
        struct writer begin = writer_over(message, SIGNER_REQUEST_MAX);
        signer_head_write(&begin, head.id, SIGNER_CRL_BEGIN);
        signer_crl_begin_write(&begin, &crl);
        return begin.len;
    }
    if (head.kind != SIGNER_ISSUE || signer_issue_read(body, &request) != ERR_NONE)
        return size;
    request.not_before = from_now(request.not_before);
    request.not_after = from_now(request.not_after);
    struct writer w = writer_over(message, SIGNER_REQUEST_MAX);
    signer_head_write(&w, head.id, SIGNER_ISSUE);
    signer_issue_write(&w, &request);
    assert(w.err == ERR_NONE && w.len == size);
    return w.len;
}

static void check_round_trip(struct slice message)
{
    struct reader r = reader_over(message);
    struct signer_request_head head = signer_head_read(&r);
    struct slice body = reader_rest(&r);
    if (r.err != ERR_NONE)
        return;
    uint8_t bytes[SIGNER_REQUEST_MAX];
    struct writer w = writer_over(bytes, sizeof bytes);
    struct certificate_request request;
    struct ocsp_answer answer;
    struct checkpoint_request checkpoint;
    struct hash proof[MERKLE_PROOF_MAX];
    struct crl_request crl;
    struct crl_entry entries[SIGNER_CRL_ENTRIES];
    struct rules_request rules;
    size_t n;
    if (head.kind == SIGNER_ISSUE && signer_issue_read(body, &request) == ERR_NONE)
        signer_issue_write(&w, &request);
    else if (head.kind == SIGNER_CHECKPOINT &&
             signer_checkpoint_read(body, proof, &checkpoint) == ERR_NONE)
        signer_checkpoint_write(&w, &checkpoint);
    else if (head.kind == SIGNER_CRL_BEGIN && signer_crl_begin_read(body, &crl) == ERR_NONE)
        signer_crl_begin_write(&w, &crl);
    else if (head.kind == SIGNER_CRL_ADD && signer_crl_add_read(body, entries, &n) == ERR_NONE)
        signer_crl_add_write(&w, entries, n);
    else if (head.kind == SIGNER_RULES && signer_rules_read(body, &rules) == ERR_NONE)
        signer_rules_write(&w, &rules);
    else if (head.kind == SIGNER_OCSP && signer_ocsp_read(body, &answer) == ERR_NONE)
        signer_ocsp_write(&w, &answer);
    else
        return;
    assert(w.err == ERR_NONE && slice_equal(writer_bytes(&w), body));
}

/* Server certificates name the hub and nobody else. */
static void check_server_names(const struct signer_keys *k, struct slice body, struct slice der)
{
    struct certificate_request request;
    assert(signer_issue_read(body, &request) == ERR_NONE);
    const uint8_t *at = der.data;
    X509 *c = d2i_X509(NULL, &at, (long)der.len);
    assert(c != NULL);
    int own = 0;
    GENERAL_NAMES *names = X509_get_ext_d2i(c, NID_subject_alt_name, NULL, NULL);
    for (size_t i = 0; i < k->server_names_len; i++)
        for (size_t j = 0; j < request.names_len; j++)
            own += strcasecmp(k->server_names[i], request.names[j]) == 0;
    if (request.profile == PROFILE_SERVER)
        assert(own == sk_GENERAL_NAME_num(names));
    GENERAL_NAMES_free(names);
    X509_free(c);
}

/* It says what it was asked to say, and not for longer than a day. */
static void check_response(struct slice body, struct slice der)
{
    struct ocsp_answer answer;
    assert(signer_ocsp_read(body, &answer) == ERR_NONE);
    assert(answer.next_update - answer.this_update <= OCSP_VALIDITY_MAX);
    const uint8_t *at = der.data;
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &at, (long)der.len);
    OCSP_BASICRESP *basic = OCSP_response_get1_basic(response);
    assert(basic != NULL && at == der.data + der.len && OCSP_resp_count(basic) == 1);
    static const int statuses[] = {V_OCSP_CERTSTATUS_GOOD, V_OCSP_CERTSTATUS_REVOKED,
                                   V_OCSP_CERTSTATUS_UNKNOWN};
    int status = OCSP_single_get0_status(OCSP_resp_get0(basic, 0), NULL, NULL, NULL, NULL);
    assert(status == statuses[answer.status]);
    OCSP_BASICRESP_free(basic);
    OCSP_RESPONSE_free(response);
}

/* It says what it was asked to say, of a version that is not older than the last. */
static void check_rules(const struct signer_keys *k, struct slice body, struct slice note)
{
    struct rules_request request;
    struct slice text;
    struct rules rules;
    size_t len;
    struct hash digest;
    assert(signer_rules_read(body, &request) == ERR_NONE);
    assert(note_verify(note, &k->policy.public_key, crypto_ed25519_verify, &text) == ERR_NONE);
    assert(rules_read_text(text, &rules, &len, digest.bytes) == ERR_NONE);
    assert(rules.version == request.version && rules.version >= RULES_SIGNED);
    assert(len == request.body_len && rules.made_at == request.made_at);
    assert(memcmp(&digest, &request.body_sha256, sizeof digest) == 0);
}

static void check_reply(const struct signer_keys *k, struct slice message, struct slice bytes)
{
    struct signer_reply reply;
    assert(signer_reply_read(bytes, &reply) == ERR_NONE);
    struct reader r = reader_over(message);
    struct signer_request_head head = signer_head_read(&r);
    assert(reply.id == (r.err == ERR_NONE ? head.id : 0));
    if (reply.err != ERR_NONE)
        return;
    struct slice text;
    struct certificate c;
    if (reply.kind == SIGNER_RULES) {
        check_rules(k, reader_rest(&r), reply.body);
        return;
    }
    if (reply.kind >= SIGNER_CRL_BEGIN)
        return; /* what is signed of it is judged where it is finished */
    if (reply.kind == SIGNER_CHECKPOINT) {
        assert(note_verify(reply.body, &k->ledger.public_key, crypto_ed25519_verify, &text) ==
               ERR_NONE);
        return;
    }
    if (reply.kind == SIGNER_OCSP) {
        check_response(reader_rest(&r), reply.body);
        return;
    }
    assert(certificate_read(reply.body, &c) == ERR_NONE);
    assert(c.uri.len == 0 || slice_starts_with(c.uri, SLICE_LITERAL("spiffe://acme.example/")));
    assert(c.not_after <= issuer_not_after(k->issuers[AUTHORITY_CURRENT]));
    check_server_names(k, reader_rest(&r), reply.body);
}

/* So that entries have a list to go to. */
static void begin_list(struct signer_keys *k)
{
    crl_desk_close(&k->crl);
    require(crl_desk_open(&k->crl, "http://hub.example", 4) == ERR_NONE);
    int64_t now = clock_seconds();
    const struct crl_request request = {.shard = 1,
                                        .number = 7,
                                        .base = 6,
                                        .this_update = now,
                                        .next_update = now + 60,
                                        .entries_len = 36};
    uint8_t prefix[CRL_PREFIX_MAX];
    struct writer w = writer_over(prefix, sizeof prefix);
    require(crl_desk_begin(&k->crl, k->issuers, &request, &w) == ERR_NONE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct signer_keys *k;
    if (k == NULL)
        k = make_keys();
    if (size > SIGNER_REQUEST_MAX)
        return 0;
    uint8_t message[SIGNER_REQUEST_MAX], bytes[SIGNER_REPLY_MAX];
    struct slice asked = slice_of(message, freshen(data, size, message));
    check_round_trip(asked);
    /* each input on its own */
    k->state.signed_last.held = true;
    k->state.signed_last.number = 1024; /* complete: any root leads to some larger tree */
    k->state.signed_last.hash = (struct hash){{0}};
    k->rules.free_ms = 0;
    k->rules.signed_last.held = true;
    k->rules.signed_last.number = RULES_SIGNED;
    k->rules.signed_last.hash = (struct hash){{0}};
    begin_list(k);
    struct writer reply = writer_over(bytes, sizeof bytes);
    signer_handle(k, asked, &reply);
    assert(reply.err == ERR_NONE);
    check_reply(k, asked, writer_bytes(&reply));
    assert(k->state.signed_last.number >= 1024);
    struct signer_facts facts;
    char explain[256];
    struct signer_reply read;
    (void)!signer_report_read(slice_of(data, size), &facts, explain);
    (void)!signer_reply_read(slice_of(data, size), &read);
    return 0;
}
