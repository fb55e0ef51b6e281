/* The plugin's own connection to the broker that it lives in: a small MQTT 5 client over TLS, which
 * knows the broker by the digest of the certificate that both use, and is known by it and by a
 * secret that never leaves the process.
 *
 * It is written here because libmosquitto cannot be linked into its broker: both have functions of
 * the same names (mosquitto_*, packet__*, ...), and the broker's would be called. */
#ifndef BROKER_CONTROL_H
#define BROKER_CONTROL_H

#include "broker/settings.h"
#include "core/crypto.h"

#define CONTROL_TOPIC       "$CONTROL/holdfast/v1"
#define CONTROL_USERNAME    "$holdfast"
#define CONTROL_SECRET_SIZE 32

struct control;

/* `secret` is what the broker's side expects as password, in hexadecimal;
 * `cancel_fd` as in base/http_client.h. */
MUST_USE enum err control_new(const struct settings *settings, const char *secret, int cancel_fd,
                              struct control **ret_control, char explain[256]);
void control_free(struct control *c); /* NULL is fine */

/* Connects as `client_id`; *ret_session_present: there was a session under it. It ends with the
 * connection. ERR_REFUSED, ERR_BAD_SIGNATURE (that is not our broker), ERR_TIMEOUT, ERR_IO,
 * explained. */
MUST_USE enum err control_connect(struct control *c, struct slice client_id, bool clean_start,
                                  bool *ret_session_present, char explain[256]);
bool control_is_connected(const struct control *c);
/* Quality 0: sent, no more is known. */
MUST_USE enum err control_publish(struct control *c, struct slice topic, struct slice payload);
/* Takes back what is retained on `topic`; true in *ret_done where the broker has said it did. */
MUST_USE enum err control_clear_retained(struct control *c, struct slice topic, bool *ret_done);
/* Asks for a sign of life, and waits for it. */
MUST_USE enum err control_ping(struct control *c);
void control_disconnect(struct control *c);

#endif
