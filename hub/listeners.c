#include "hub/listeners.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "hub/api/call.h"
#include "hub/membership.h"
#include "hub/server_certificate.h"

#define SESSIONS          20000 /* TLS sessions kept for resumption, on each listener */
#define SESSION_SECONDS   (12 * 3600)
#define HEADER_MAX        (16 * 1024)
#define LOCAL_CONNECTIONS 32 /* of one user: each may have a body of some MiB under way */

enum err listeners_make_tls(struct hub *hub, char explain[256])
{
    static const struct {
        enum listener which;
        enum tls_client_auth auth;
    } servers[] = {
        {LISTENER_DEVICE, TLS_CLIENT_REQUIRED},
        {LISTENER_BOOTSTRAP, TLS_CLIENT_ANY},
        {LISTENER_OPERATOR, TLS_CLIENT_NONE},
    };
    for (size_t i = 0; i < ARRAY_LEN(servers); i++) {
        const struct tls_server_options options = {
            .name = listener_text(servers[i].which),
            .client_auth = servers[i].auth,
            /* Strangers' sessions are not kept: nobody enrols twice, and each would cost memory. */
            .sessions_max = servers[i].auth == TLS_CLIENT_ANY ? 0 : SESSIONS,
            .session_seconds = SESSION_SECONDS,
        };
        enum err err = tls_server_new(&options, &hub->tls[servers[i].which]);
        if (err != ERR_NONE)
            return err;
    }
    enum err err = membership_trust(hub, hub->loops[0].reader, explain);
    return err != ERR_NONE ? err : server_certificate_start(hub, explain);
}

static enum err listen_on(struct hub *hub, enum listener which, const char *address,
                          char explain[256])
{
    static const size_t body_max[LISTENER_COUNT] = {
        [LISTENER_DEVICE] = LISTENER_DEVICE_BODY_MAX,
        [LISTENER_BOOTSTRAP] = LISTENER_BOOTSTRAP_BODY_MAX,
        [LISTENER_OPERATOR] = LISTENER_OPERATOR_BODY_MAX,
        [LISTENER_STATUS] = LISTENER_STATUS_BODY_MAX,
        [LISTENER_LOCAL] = LISTENER_LOCAL_BODY_MAX,
    };
    const struct http_listener_options options = {
        .name = listener_text(which),
        .tag = (int)which,
        .address = address,
        .unix_mode = 0666, /* who may use it is asked of the kernel on every request */
        .tls = hub->tls[which],
        .plain = which == LISTENER_STATUS,
        .limits = {.header_max = HEADER_MAX,
                   .body_max = body_max[which],
                   .request_ms = hub->config.request_timeout * 1000,
                   .idle_ms = hub->config.idle_timeout * 1000,
                   .connections = (size_t)hub->config.connections,
                   .connections_per_address = which == LISTENER_LOCAL
                                                  ? LOCAL_CONNECTIONS
                                                  : (size_t)hub->config.connections_per_address},
        .handler = api_handle,
        .ctx = hub,
    };
    enum err err = http_server_listen(hub->http, &options, &hub->listeners[which]);
    if (err != ERR_NONE)
        (void)snprintf(explain, 256, "%s listener on '%s': %s", listener_text(which), address,
                       err == ERR_IO ? strerror(errno)
                                     : "say ADDRESS:PORT, as in 0.0.0.0:8443 or [::]:8443");
    return err;
}

enum err listeners_open(struct hub *hub, char explain[256])
{
    struct loop *loops[HUB_LOOPS_MAX];
    for (size_t i = 0; i < hub->loops_len; i++)
        loops[i] = hub->loops[i].loop;
    enum err err = http_server_new(loops, hub->loops_len, &hub->http);
    if (err != ERR_NONE)
        return err;
    api_start();
    http_server_on_reply(hub->http, api_replied, NULL);
    char local[CONFIG_TEXT_MAX + 8];
    (void)snprintf(local, sizeof local, "unix:%s", hub->config.socket);
    err = listen_on(hub, LISTENER_DEVICE, hub->config.listen_device, explain);
    if (err == ERR_NONE)
        err = listen_on(hub, LISTENER_BOOTSTRAP, hub->config.listen_bootstrap, explain);
    if (err == ERR_NONE)
        err = listen_on(hub, LISTENER_OPERATOR, hub->config.listen_operator, explain);
    if (err == ERR_NONE && hub->config.listen_status[0] != '\0')
        err = listen_on(hub, LISTENER_STATUS, hub->config.listen_status, explain);
    if (err == ERR_NONE)
        err = listen_on(hub, LISTENER_LOCAL, local, explain);
    return err;
}

enum err listeners_write_ports(const struct hub *hub)
{
    if (hub->config.ports_file[0] == '\0')
        return ERR_NONE;
    uint8_t bytes[256];
    struct writer w = writer_over(bytes, sizeof bytes);
    for (unsigned i = 0; i < LISTENER_LOCAL; i++) {
        if (hub->listeners[i] == NULL)
            continue;
        writer_text(&w, listener_text((enum listener)i));
        writer_text(&w, "=");
        writer_decimal(&w, http_listener_port(hub->listeners[i]));
        writer_text(&w, "\n");
    }
    return w.err != ERR_NONE ? w.err : file_replace(hub->config.ports_file, writer_bytes(&w), 0644);
}
