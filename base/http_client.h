/* A small blocking HTTP client for the CLI and the broker's plugin: over the hub's Unix socket, or
 * over HTTPS with the server's certificate checked against roots the caller holds. Plain HTTP is
 * for answers that are signed themselves. */
#ifndef BASE_HTTP_CLIENT_H
#define BASE_HTTP_CLIENT_H

#include "core/http1.h"

struct http_client;

struct http_client_options {
    const char *unix_path; /* or NULL, and then the three below */
    const char *host;
    const char *port;
    const char *roots_path;                  /* PEM; NULL: the system's */
    const char *certificate_path, *key_path; /* PEM, both, for mutual TLS; or NULL */
    bool plain;                              /* no TLS: for what is signed itself, and no secret */
    const char *bearer;                      /* token for Authorization, or NULL */
    const char *basic;                       /* or "user:password" for it (RFC 7617) */
    const char *field;                       /* a further "Name: value", or NULL */
    int64_t timeout_ms;                      /* for each request */
    size_t response_max;
    int cancel_fd; /* where > 0: once there is something to read from it, nothing is waited for */
};

/* `explain` says what to do next: "cannot reach the hub at ...: is it running?" */
MUST_USE enum err http_client_new(const struct http_client_options *options,
                                  struct http_client **ret_client, char explain[256]);
void http_client_free(struct http_client *c);
/* Sends and waits; connects, and reconnects once where a kept connection had been closed. The body
 * of the answer is valid until the next call. ERR_TIMEOUT, ERR_CLOSED, ERR_IO, ERR_BAD_SIGNATURE
 * (the server's certificate), ERR_SYNTAX, ERR_LIMIT. */
MUST_USE enum err http_client_request(struct http_client *c, const char *method, const char *target,
                                      const char *content_type, struct slice body,
                                      unsigned *ret_status, struct slice *ret_body,
                                      char explain[256]);

#endif
