#include "hub/server_certificate.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/file.h"
#include "base/log.h"
#include "pki/pem.h"
#include "pki/server_key.h"

#define CHAIN_PEM_MAX (4 * CERTIFICATE_MAX * 2)
#define FILE_MAX      (64 * 1024)
#define DAY           (24 * 3600)
#define RETRY_MS      60000 /* after a failure */

static struct {
    char key_pem[SERVER_KEY_PEM_MAX];
    uint8_t spki[SPKI_MAX];
    size_t spki_len;
    int64_t not_before, not_after;
    bool asked; /* a certificate is on its way */
    int64_t retry_at;
} server;

/* ---- into the listeners ---- */

static bool has_own(const struct hub *hub, enum listener which)
{
    return which == LISTENER_OPERATOR && hub->config.operator_certificate[0] != '\0';
}

static enum err install(struct hub *hub, struct slice certificate, char explain[256])
{
    struct certificate c;
    enum err err = certificate_read(certificate, &c);
    static uint8_t pem[CHAIN_PEM_MAX]; /* loop 0 and the start alone come here */
    struct writer w = writer_over(pem, sizeof pem);
    /* The certificate, then the issuing one and what leads to the root. */
    pem_write_certificate(&w, certificate);
    if (err == ERR_NONE)
        err = pem_write_certificates(&w, slice_of(hub->facts.chain, hub->facts.chain_len));
    for (unsigned i = 0; err == ERR_NONE && i < LISTENER_COUNT; i++) {
        if (hub->tls[i] == NULL || has_own(hub, (enum listener)i))
            continue;
        err = tls_server_set_certificate(hub->tls[i], writer_bytes(&w),
                                         slice_of_text(server.key_pem), explain);
    }
    if (err != ERR_NONE)
        return err;
    server.not_before = c.not_before;
    server.not_after = c.not_after;
    return ERR_NONE;
}

static enum err install_own(struct hub *hub, char explain[256])
{
    if (!has_own(hub, LISTENER_OPERATOR))
        return ERR_NONE;
    uint8_t *chain = NULL, *key = NULL;
    size_t chain_len = 0, key_len = 0;
    const char *failed = hub->config.operator_certificate;
    enum err err = file_read(failed, FILE_MAX, &chain, &chain_len);
    if (err == ERR_NONE) {
        failed = hub->config.operator_key;
        err = file_read(failed, FILE_MAX, &key, &key_len);
    }
    if (err != ERR_NONE)
        (void)snprintf(explain, 256, "%s: %s", failed, err_text(err));
    else
        err = tls_server_set_certificate(hub->tls[LISTENER_OPERATOR], slice_of(chain, chain_len),
                                         slice_of(key, key_len), explain);
    file_free_secret(chain, chain_len);
    file_free_secret(key, key_len);
    return err;
}

/* ---- asking for one ---- */

static void fill_request(const struct hub *hub, struct certificate_request *request)
{
    *request = (struct certificate_request){.profile = PROFILE_SERVER};
    for (size_t i = 0; i < hub->config.names.n && i < SERVER_NAMES_MAX; i++) {
        (void)snprintf(request->names[i], sizeof request->names[i], "%s",
                       hub->config.names.items[i]);
        request->names_len = i + 1;
    }
    int64_t now = clock_seconds();
    request->not_before = now - IDENTITY_BACKDATE;
    request->not_after = now + SERVER_CERTIFICATE_DAYS * DAY;
    request->spki = slice_of(server.spki, server.spki_len);
}

struct first {
    struct loop *loop;
    enum err err;
    uint8_t der[CERTIFICATE_MAX];
    size_t len;
};

static void first_issued(void *ctx, enum err err, struct slice der)
{
    struct first *first = ctx;
    first->err = err == ERR_NONE && der.len > sizeof first->der ? ERR_LIMIT : err;
    if (first->err == ERR_NONE) {
        memcpy(first->der, der.data, der.len);
        first->len = der.len;
    }
    loop_stop(first->loop);
}

/* A loop of its own for one request: those of the server are not running yet. */
static enum err issue_first(struct hub *hub, struct first *first)
{
    struct signer_link *link = NULL;
    enum err err = loop_new("start", &first->loop);
    if (err != ERR_NONE)
        return err;
    err = signer_link_new(hub->signer, first->loop, &link);
    if (err == ERR_NONE) {
        struct certificate_request request;
        fill_request(hub, &request);
        signer_issue(link, &request, first_issued, first);
        loop_run(first->loop);
        err = first->err;
    }
    signer_link_free(link);
    loop_free(first->loop);
    return err;
}

enum err server_certificate_start(struct hub *hub, char explain[256])
{
    enum err err =
        server_key_new(server.key_pem, server.spki, sizeof server.spki, &server.spki_len);
    static struct first first;
    if (err == ERR_NONE)
        err = issue_first(hub, &first);
    if (err != ERR_NONE) {
        (void)snprintf(explain, 256, "the hub's own TLS certificate could not be made: %s%s",
                       err == ERR_EXPIRED ? "by this machine's clock, the issuing CA is " : "",
                       err_text(err));
        return err;
    }
    err = install(hub, slice_of(first.der, first.len), explain);
    return err != ERR_NONE ? err : install_own(hub, explain);
}

/* ---- later ---- */

static void renewed(void *ctx, enum err err, struct slice der)
{
    struct hub *hub = ctx;
    char explain[256] = "";
    server.asked = false;
    if (err == ERR_NONE)
        err = install(hub, der, explain);
    if (err == ERR_NONE) {
        log_event(LOG_LEVEL_NOTICE, "tls.renewed", F_INTEGER("not_after", server.not_after));
        return;
    }
    server.retry_at = clock_monotonic_ms() + RETRY_MS;
    log_event(LOG_LEVEL_ERROR, "tls.renewal_failed", F_ERR(err), F_TEXT("detail", explain));
}

void server_certificate_turn(struct hub *hub)
{
    int64_t now = clock_seconds();
    int64_t life = server.not_after - server.not_before;
    /* A clock that was set right may make it one of the future: nobody would take that. */
    bool is_fresh = now >= server.not_before && now < server.not_before + life / 3 * 2;
    if (server.asked || is_fresh || clock_monotonic_ms() < server.retry_at)
        return;
    server.asked = true;
    struct certificate_request request;
    fill_request(hub, &request);
    signer_issue(hub->loops[0].signer, &request, renewed, hub);
}

void server_certificate_reload(struct hub *hub)
{
    char explain[256] = "";
    enum err err = install_own(hub, explain);
    if (err == ERR_NONE)
        log_event(LOG_LEVEL_NOTICE, "tls.reloaded");
    else
        log_event(LOG_LEVEL_ERROR, "tls.reload_failed", F_TEXT("detail", explain));
}

void server_certificate_wipe(void)
{
    mem_wipe(&server, sizeof server);
}
