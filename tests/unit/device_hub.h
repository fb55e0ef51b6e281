/* The hub as a device sees it, in memory, with the rules that the real one has for claims, retries
 * and rotation. Speaks through struct fake. */
#ifndef TESTS_UNIT_DEVICE_HUB_H
#define TESTS_UNIT_DEVICE_HUB_H

#include <stdio.h>

#include "core/base64.h"
#include "core/est.h"
#include "tests/unit/device_certificates.h"
#include "tests/unit/device_fake.h"

#define TEST_BOOTSTRAP_PORT 8444
#define TEST_HUB_PORT       8443
#define TEST_SERIAL         "thermo-1"
#define TEST_CLAIM          "ABCDE-FGHJK-MNPQR-STVWX-YZ0123"
#define TEST_NAME           "spiffe://fleet.example/default/device/thermo-1"
#define TEST_LIFE           3000 /* seconds a certificate lives */

struct test_issued {
    uint8_t der[CERTIFICATE_MAX];
    size_t len;
    uint8_t spki_sha256[SHA256_SIZE];
    int64_t not_after;
    bool used, ended;
};

struct test_hub {
    int64_t time; /* the hub's; moves with hub_pass() */
    struct test_issued issued[64];
    size_t issued_len;
    int newest, confirmed; /* index or -1 */
    bool claim_used;
    uint8_t idevid_sha256[SHA256_SIZE];
    uint8_t pinned_sha256[SHA256_SIZE];
    bool takes_pinned;

    /* what it does of its own will */
    unsigned status; /* answers everything with this, if not 0 */
    const char *code;
    const char *extra; /* header lines on every answer */
    bool revoked, not_trusted, forgets_new, loses_answers;
    int64_t grace;      /* seconds past its end in which a certificate brings a device back */
    int64_t life;       /* seconds that certificates live; 0: TEST_LIFE */
    bool asks_rotation; /* of whoever has the first certificate */
    bool pesters;       /* of everybody, always */
    bool refuses_renewals;
    const char *uri;       /* in certificates */
    const uint8_t *spki;   /* in certificates, instead of the requested; 44 bytes of Ed25519 */
    bool issuer_in_answer; /* simpleenroll answers with the chain */
    bool new_with_old;     /* /cacerts has a certificate of the root's own name, too */
    uint64_t bundle_version;
    struct slice bundle;
    int64_t next_checkin;
    /* Its ledger: how many entries, the first that is another one than before, and who writes what
     * a device is shown of it; nothing where it shows nothing. */
    uint64_t log_size, fork_at;
    void (*show)(const struct test_hub *h, uint64_t known, struct writer *w);

    /* what it has seen */
    uint64_t told_size; /* of the ledger, by the device */
    char told_finding[16];
    unsigned enrolments, renewals, repeats, checkins, reports, bundles, cacerts, refusals;
    unsigned returns, seen_keys;
    uint8_t report[1024];
    size_t report_len;
};

static inline void hub_init(struct test_hub *h, struct fake *f, int64_t time,
                            bool (*serve)(struct fake *))
{
    memset(h, 0, sizeof *h);
    h->time = time;
    h->newest = h->confirmed = -1;
    h->uri = TEST_NAME;
    h->next_checkin = 60;
    h->fork_at = UINT64_MAX;
    h->bundle_version = 1;
    f->serve = serve;
    f->server = h;
}

static inline void hub_reply(struct fake *f, unsigned status, const char *extra, struct slice body)
{
    int n = snprintf((char *)f->answer, sizeof f->answer, "HTTP/1.1 %u x\r\n%s", status, extra);
    size_t at = (size_t)n;
    if (status != 204)
        at += (size_t)snprintf((char *)f->answer + at, sizeof f->answer - at,
                               "Content-Length: %zu\r\n", body.len);
    memcpy(f->answer + at, "\r\n", 2);
    if (body.len > 0)
        memcpy(f->answer + at + 2, body.data, body.len);
    f->answer_len = at + 2 + body.len;
}

static inline void hub_problem(struct fake *f, unsigned status, const char *code)
{
    struct test_hub *h = f->server;
    char body[160];
    int n = snprintf(body, sizeof body, "{\"title\":\"x\",\"status\":%u,\"code\":\"%s\"}", status,
                     code);
    h->refusals += status == 401 || status == 403;
    hub_reply(f, status, h->extra == NULL ? "" : h->extra, slice_of(body, (size_t)n));
}

static inline void hub_certificates(struct fake *f, const struct slice *certificates, size_t n)
{
    uint8_t text[16384], scratch[8192];
    struct writer w = writer_over(text, sizeof text);
    if (est_write_certificates(&w, certificates, n, scratch, sizeof scratch) != ERR_NONE)
        abort();
    hub_reply(f, 200, "Content-Type: application/pkcs7-mime\r\n", writer_bytes(&w));
}

static inline struct slice hub_authority(const char *issuer, const char *subject, uint8_t *buffer,
                                         size_t max)
{
    const struct test_certificate c = {.issuer = issuer,
                                       .subject = subject,
                                       .serial = 9,
                                       .not_before = 0,
                                       .not_after = 4000000000};
    return test_write_certificate(&c, buffer, max);
}

static inline void hub_answer_issued(struct fake *f, const struct test_issued *issued)
{
    struct test_hub *h = f->server;
    uint8_t issuing[512], root[512];
    struct slice certificates[3] = {slice_of(issued->der, issued->len)};
    size_t n = 1;
    if (h->issuer_in_answer) {
        /* not in order, and with the root: both happen */
        certificates[2] = certificates[0];
        certificates[0] = hub_authority("root", "issuing", issuing, sizeof issuing);
        certificates[1] = hub_authority("root", "root", root, sizeof root);
        n = 3;
    }
    hub_certificates(f, certificates, n);
}

static inline struct slice hub_body(const struct fake *f)
{
    const char *end = strstr((const char *)f->request, "\r\n\r\n");
    if (end == NULL)
        abort();
    size_t head = (size_t)(end + 4 - (const char *)f->request);
    return slice_of(f->request + head, f->request_len - head);
}

static inline int hub_find(const struct test_hub *h, const uint8_t *der, size_t len)
{
    for (int i = 0; i < (int)h->issued_len; i++)
        if (h->issued[i].len == len && memcmp(h->issued[i].der, der, len) == 0)
            return i;
    return -1;
}

/* The certificate of the connection, if it is one that counts; answers otherwise. */
static inline bool hub_authenticate(struct fake *f, int *ret_issued)
{
    struct test_hub *h = f->server;
    int at = f->client_len == 0 ? -1 : hub_find(h, f->client, f->client_len);
    if (at >= 0 && h->forgets_new && at == h->newest && at != h->confirmed)
        at = -1;
    if (at < 0 || h->revoked || h->issued[at].ended || h->issued[at].not_after <= h->time) {
        hub_problem(f, 403, h->revoked ? "device-revoked" : "certificate-unknown");
        return false;
    }
    if (at != h->confirmed && !h->issued[at].used) {
        h->issued[at].used = true;
        h->log_size++;
        if (h->confirmed >= 0)
            h->issued[h->confirmed].ended = true;
        h->confirmed = at;
    }
    *ret_issued = at;
    return true;
}

static inline void hub_issue(struct fake *f, const struct csr *csr)
{
    struct test_hub *h = f->server;
    uint8_t buffer[CERTIFICATE_MAX];
    if (h->issued_len == ARRAY_LEN(h->issued))
        abort();
    struct test_issued *issued = &h->issued[h->issued_len];
    const struct test_certificate c = {
        .issuer = "issuing",
        .subject = TEST_SERIAL,
        .uri = h->uri,
        .serial = (uint8_t)(h->issued_len + 1),
        .not_before = h->time - 300,
        .not_after = h->time + (h->life != 0 ? h->life : TEST_LIFE),
        .spki = h->spki != NULL ? slice_of(h->spki, 44) : csr->spki.der,
    };
    struct slice der = test_write_certificate(&c, buffer, sizeof buffer);
    *issued = (struct test_issued){.len = der.len, .not_after = c.not_after};
    memcpy(issued->der, der.data, der.len);
    f->port.sha256(&csr->spki.der, 1, issued->spki_sha256);
    h->newest = (int)h->issued_len++;
    h->log_size++;
    hub_answer_issued(f, issued);
}

static inline bool hub_is_repeat(const struct test_hub *h, const uint8_t spki_sha256[SHA256_SIZE])
{
    return h->newest >= 0 && !h->issued[h->newest].used && !h->issued[h->newest].ended &&
           memcmp(h->issued[h->newest].spki_sha256, spki_sha256, SHA256_SIZE) == 0;
}

static inline bool hub_has_seen(const struct test_hub *h, const uint8_t spki_sha256[SHA256_SIZE])
{
    for (size_t i = 0; i < h->issued_len; i++)
        if (memcmp(h->issued[i].spki_sha256, spki_sha256, SHA256_SIZE) == 0)
            return true;
    return false;
}

/* A device that slept past its certificate's end, on the bootstrap listener. */
static inline void hub_return(struct fake *f)
{
    struct test_hub *h = f->server;
    uint8_t der[CSR_MAX], hash[SHA256_SIZE];
    struct slice request;
    struct csr csr;
    int at = f->client_len == 0 ? -1 : hub_find(h, f->client, f->client_len);
    if (est_read_request(hub_body(f), der, sizeof der, &request) != ERR_NONE ||
        csr_read(request, &csr) != ERR_NONE) {
        hub_problem(f, 400, "csr-malformed");
        return;
    }
    f->port.sha256(&csr.spki.der, 1, hash);
    if (at < 0)
        hub_problem(f, 403, "certificate-unknown");
    else if (at != h->confirmed)
        hub_problem(f, 403, "certificate-not-current");
    else if (h->issued[at].not_after > h->time)
        hub_problem(f, 403, "certificate-in-date");
    else if (hub_is_repeat(h, hash) && h->issued[h->newest].not_after > h->time) {
        h->repeats++;
        hub_answer_issued(f, &h->issued[h->newest]);
    } else if (hub_has_seen(h, hash)) {
        h->seen_keys++;
        hub_problem(f, 409, "key-not-fresh");
    } else if (h->issued[at].not_after + h->grace <= h->time) {
        hub_problem(f, 403, "grace-over");
    } else {
        h->returns++;
        hub_issue(f, &csr);
    }
}

static inline bool hub_knows_claim(const struct fake *f)
{
    uint8_t expected[128];
    struct writer w = writer_over(expected, sizeof expected - 1);
    writer_text(&w, "\r\nAuthorization: Basic ");
    base64_write(&w, SLICE_LITERAL(TEST_SERIAL ":" TEST_CLAIM));
    writer_text(&w, "\r\n");
    expected[w.len] = '\0';
    return strstr((const char *)f->request, (const char *)expected) != NULL;
}

static inline void hub_enrol(struct fake *f, bool renewal)
{
    struct test_hub *h = f->server;
    uint8_t der[CSR_MAX], hash[SHA256_SIZE], client[SHA256_SIZE];
    struct slice request;
    struct csr csr;
    int by = -1;
    if (est_read_request(hub_body(f), der, sizeof der, &request) != ERR_NONE ||
        csr_read(request, &csr) != ERR_NONE ||
        !slice_equal(csr.common_name, SLICE_LITERAL(TEST_SERIAL))) {
        hub_problem(f, 400, "csr-malformed");
        return;
    }
    f->port.sha256(&csr.spki.der, 1, hash);
    if (renewal && !hub_authenticate(f, &by))
        return;
    if (renewal && h->refuses_renewals) {
        hub_problem(f, 403, "csr-key-not-allowed");
        return;
    }
    bool claim = !renewal && hub_knows_claim(f);
    struct slice peer = slice_of(f->client, f->client_len);
    f->port.sha256(&peer, 1, client);
    bool idevid = !renewal && f->client_len > 0 && memcmp(client, h->idevid_sha256, 32) == 0;
    bool pinned = !renewal && h->takes_pinned && memcmp(hash, h->pinned_sha256, 32) == 0;
    if (!renewal && !claim && !idevid && !pinned) {
        hub_problem(f, 401, "enrolment-refused");
        return;
    }
    if (h->revoked) {
        hub_problem(f, 403, "device-revoked");
        return;
    }
    if (hub_is_repeat(h, hash)) {
        h->repeats++;
        hub_answer_issued(f, &h->issued[h->newest]);
        return;
    }
    if (claim && h->claim_used) {
        hub_problem(f, 403, "claim-used");
        return;
    }
    h->claim_used = h->claim_used || claim;
    if (renewal)
        h->renewals++;
    else
        h->enrolments++;
    hub_issue(f, &csr);
}

static inline bool hub_is(const struct fake *f, uint16_t port, const char *line)
{
    return f->to_port == port && strncmp((const char *)f->request, line, strlen(line)) == 0;
}

static inline void hub_checkin(struct fake *f)
{
    struct test_hub *h = f->server;
    static const char size_key[] = "\"ledger_size\":", finding_key[] = "\"ledger_finding\":\"";
    char extra[192];
    uint8_t update[8192];
    struct writer w = writer_over(update, sizeof update);
    const char *size = strstr((const char *)f->request, size_key);
    const char *finding = strstr((const char *)f->request, finding_key);
    h->checkins++;
    h->told_size = size == NULL ? 0 : strtoull(size + sizeof size_key - 1, NULL, 10);
    size_t n = finding == NULL ? 0 : strcspn(finding + sizeof finding_key - 1, "\"");
    if (n >= sizeof h->told_finding)
        abort();
    if (n > 0)
        memcpy(h->told_finding, finding + sizeof finding_key - 1, n);
    h->told_finding[n] = '\0';
    if (h->show != NULL)
        h->show(h, h->told_size, &w);
    if (w.err != ERR_NONE)
        abort();
    bool asks = h->pesters || (h->asks_rotation && h->confirmed == 0);
    (void)snprintf(extra, sizeof extra,
                   "Holdfast-Next-Checkin: %lld\r\nHoldfast-Trust-Bundle: %llu\r\n%s",
                   (long long)h->next_checkin, (unsigned long long)h->bundle_version,
                   asks ? "Holdfast-Rotation: 20270115-00c0ffee\r\n" : "");
    hub_reply(f, w.len > 0 ? 200 : 204, extra, writer_bytes(&w));
}

static inline void hub_device_request(struct fake *f)
{
    struct test_hub *h = f->server;
    int by;
    if (hub_is(f, TEST_HUB_PORT, "POST /.well-known/est/simplereenroll ")) {
        hub_enrol(f, true);
        return;
    }
    if (!hub_authenticate(f, &by))
        return;
    if (hub_is(f, TEST_HUB_PORT, "GET /v1/device/trust-bundle ")) {
        h->bundles++;
        hub_reply(f, 200, "", h->bundle);
    } else if (h->not_trusted) {
        hub_problem(f, 403, "device-not-trusted");
    } else if (hub_is(f, TEST_HUB_PORT, "POST /v1/device/checkin ")) {
        hub_checkin(f);
    } else if (hub_is(f, TEST_HUB_PORT, "PUT /v1/device/report ")) {
        struct slice body = hub_body(f);
        h->reports++;
        h->report_len = body.len < sizeof h->report ? body.len : 0;
        memcpy(h->report, body.data, h->report_len);
        hub_reply(f, 204, "", slice_of(NULL, 0));
    } else {
        hub_problem(f, 404, "not-found");
    }
}

static inline bool hub_serve(struct fake *f)
{
    struct test_hub *h = f->server;
    if (h->status != 0) {
        hub_problem(f, h->status, h->code == NULL ? "x" : h->code);
    } else if (hub_is(f, TEST_BOOTSTRAP_PORT, "POST /.well-known/est/simpleenroll ")) {
        hub_enrol(f, false);
    } else if (hub_is(f, TEST_BOOTSTRAP_PORT, "POST /.well-known/est/simplereenroll ")) {
        hub_return(f);
    } else if (hub_is(f, TEST_BOOTSTRAP_PORT, "GET /.well-known/est/cacerts ")) {
        uint8_t issuing[512], root[512];
        h->cacerts++;
        const struct slice certificates[] = {
            hub_authority("root", "issuing", issuing, sizeof issuing),
            hub_authority("root", "root", root, sizeof root),
        };
        hub_certificates(f, certificates, h->new_with_old ? 2 : 1);
    } else if (f->to_port == TEST_HUB_PORT) {
        hub_device_request(f);
    } else {
        hub_problem(f, 404, "not-found");
    }
    return !h->loses_answers;
}

#endif
