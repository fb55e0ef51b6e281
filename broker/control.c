#include "broker/control.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/dial.h"
#include "base/tls_client.h"
#include "core/mqtt.h"

#define PATIENCE_MS 5000  /* a broker's loop that does not answer for so long has other troubles */
#define KEEP_ALIVE  60    /* seconds */
#define PACKET_MAX  65536 /* of what we let the broker send us */

struct control {
    struct tls_client *tls;
    const struct settings *settings;
    const char *secret;
    int fd, cancel_fd;
    uint16_t id;
    size_t len; /* bytes received that are no whole packet yet */
    uint8_t bytes[PACKET_MAX + 16];
    uint8_t body[PACKET_MAX]; /* of the packet that was waited for */
};

enum err control_new(const struct settings *settings, const char *secret, int cancel_fd,
                     struct control **ret_control, char explain[256])
{
    struct control *c = calloc(1, sizeof *c);
    if (c == NULL)
        return ERR_NO_MEMORY;
    c->settings = settings;
    c->secret = secret;
    c->fd = -1;
    c->cancel_fd = cancel_fd;
    enum err err = tls_client_new(settings->roots, &c->tls, explain);
    if (err == ERR_NONE) {
        tls_client_set_cancel(c->tls, cancel_fd);
        err = tls_client_set_certificate(c->tls, settings->certificate, settings->key, explain);
    }
    if (err != ERR_NONE) {
        control_free(c);
        return err;
    }
    *ret_control = c;
    return ERR_NONE;
}

static void drop(struct control *c)
{
    if (c->fd < 0)
        return;
    tls_client_disconnect(c->tls);
    (void)close(c->fd);
    c->fd = -1;
    c->len = 0;
}

void control_free(struct control *c)
{
    if (c == NULL)
        return;
    drop(c);
    tls_client_free(c->tls);
    free(c);
}

bool control_is_connected(const struct control *c)
{
    return c->fd >= 0;
}

static enum err send_packet(struct control *c, const struct writer *w, int64_t deadline_ms)
{
    enum err err = w->err;
    if (err == ERR_NONE)
        err = tls_client_write(c->tls, writer_bytes(w), deadline_ms);
    if (err != ERR_NONE)
        drop(c);
    return err;
}

/* Moves what follows the first `used` bytes down. */
static void consume(struct control *c, size_t used)
{
    memmove(c->bytes, c->bytes + used, c->len - used);
    c->len -= used;
}

static enum err receive_more(struct control *c, int64_t deadline_ms)
{
    size_t n = 0;
    if (c->len == sizeof c->bytes)
        return ERR_LIMIT;
    enum err err =
        tls_client_read(c->tls, c->bytes + c->len, sizeof c->bytes - c->len, deadline_ms, &n);
    if (err == ERR_NONE)
        c->len += n;
    return err;
}

/* The next packet of `type`, others skipped; its body is copied, and valid until the next call. */
static enum err await_packet(struct control *c, enum mqtt_type type, int64_t deadline_ms,
                             struct mqtt_packet *ret_packet)
{
    enum err err = ERR_NONE;
    while (err == ERR_NONE) {
        struct mqtt_packet packet = {0};
        size_t used = 0;
        err = mqtt_packet_read(slice_of(c->bytes, c->len), PACKET_MAX, &packet, &used);
        if (err != ERR_NONE)
            break;
        if (used == 0) {
            err = receive_more(c, deadline_ms);
            continue;
        }
        if (packet.body.len > 0)
            memcpy(c->body, packet.body.data, packet.body.len);
        consume(c, used);
        if (packet.type == (uint8_t)type) {
            packet.body = slice_of(c->body, packet.body.len);
            *ret_packet = packet;
            return ERR_NONE;
        }
        if (packet.type == MQTT_DISCONNECT)
            err = ERR_CLOSED;
    }
    drop(c);
    return err;
}

/* Whether who answers is our own broker: it shows the very certificate that we show. Between a
 * renewal and its reload it shows the one before. */
static enum err check_pin(struct control *c, char explain[256])
{
    uint8_t digest[SHA256_SIZE];
    enum err err = tls_client_peer_sha256(c->tls, digest);
    if (err == ERR_NONE && settings_is_own(c->settings, digest))
        return ERR_NONE;
    (void)snprintf(explain, 256,
                   "what answers at %.80s port %.10s is not this broker, for it shows another "
                   "certificate: set control-port to a listener whose certfile is %.100s",
                   c->settings->control_host, c->settings->control_port, c->settings->certificate);
    return ERR_BAD_SIGNATURE;
}

static enum err log_in(struct control *c, struct slice client_id, bool clean_start,
                       int64_t deadline_ms, struct mqtt_connack *ret_connack)
{
    uint8_t bytes[1024];
    struct writer w = writer_over(bytes, sizeof bytes);
    const struct mqtt_connect connect = {
        .client_id = client_id,
        .username = SLICE_LITERAL(CONTROL_USERNAME),
        .password = slice_of_text(c->secret),
        .clean_start = clean_start,
        .keep_alive = KEEP_ALIVE,
        .packet_max = PACKET_MAX,
    };
    mqtt_write_connect(&w, &connect);
    enum err err = send_packet(c, &w, deadline_ms);
    mem_wipe(bytes, sizeof bytes);
    struct mqtt_packet packet;
    if (err == ERR_NONE)
        err = await_packet(c, MQTT_CONNACK, deadline_ms, &packet);
    if (err == ERR_NONE)
        err = mqtt_connack_read(&packet, ret_connack);
    return err;
}

enum err control_connect(struct control *c, struct slice client_id, bool clean_start,
                         bool *ret_session_present, char explain[256])
{
    drop(c);
    int64_t deadline_ms = clock_monotonic_ms() + PATIENCE_MS;
    const char *host = c->settings->control_host, *fault = NULL;
    c->fd = dial_host(host, c->settings->control_port, deadline_ms, c->cancel_fd, &fault);
    if (c->fd < 0) {
        (void)snprintf(explain, 256,
                       "cannot reach the broker's own listener at %.80s port %.10s: %.60s: see "
                       "control-host and control-port",
                       host, c->settings->control_port, fault);
        return ERR_IO;
    }
    enum err err =
        tls_client_connect(c->tls, c->fd, c->settings->control_name, deadline_ms, explain);
    if (err == ERR_NONE)
        err = check_pin(c, explain);
    struct mqtt_connack connack = {0};
    if (err == ERR_NONE) {
        err = log_in(c, client_id, clean_start, deadline_ms, &connack);
        if (err != ERR_NONE)
            (void)snprintf(explain, 256, "the broker does not answer its own plugin: %s",
                           err_text(err));
        else if (connack.reason != 0)
            err = ERR_REFUSED;
        if (err == ERR_REFUSED)
            (void)snprintf(explain, 256,
                           "the broker refuses its own plugin with reason %u: its listener needs "
                           "require_certificate true and use_identity_as_username false",
                           connack.reason);
    }
    if (err != ERR_NONE) {
        drop(c);
        return err;
    }
    *ret_session_present = connack.session_present;
    return ERR_NONE;
}

enum err control_publish(struct control *c, struct slice topic, struct slice payload)
{
    uint8_t bytes[256];
    struct writer w = writer_over(bytes, sizeof bytes);
    mqtt_write_publish(&w, topic, 0, false, payload);
    return send_packet(c, &w, clock_monotonic_ms() + PATIENCE_MS);
}

enum err control_clear_retained(struct control *c, struct slice topic, bool *ret_done)
{
    uint8_t bytes[1024];
    struct writer w = writer_over(bytes, sizeof bytes);
    c->id = c->id == UINT16_MAX ? 1 : (uint16_t)(c->id + 1);
    mqtt_write_publish(&w, topic, c->id, true, (struct slice){0});
    int64_t deadline_ms = clock_monotonic_ms() + PATIENCE_MS;
    enum err err = send_packet(c, &w, deadline_ms);
    struct mqtt_puback puback = {0};
    while (err == ERR_NONE && puback.id != c->id) {
        struct mqtt_packet packet;
        err = await_packet(c, MQTT_PUBACK, deadline_ms, &packet);
        if (err == ERR_NONE)
            err = mqtt_puback_read(&packet, &puback);
    }
    if (err == ERR_NONE)
        *ret_done = puback.reason < 0x80;
    return err;
}

enum err control_ping(struct control *c)
{
    uint8_t bytes[2];
    struct writer w = writer_over(bytes, sizeof bytes);
    mqtt_write_ping(&w);
    int64_t deadline_ms = clock_monotonic_ms() + PATIENCE_MS;
    enum err err = send_packet(c, &w, deadline_ms);
    struct mqtt_packet packet;
    return err == ERR_NONE ? await_packet(c, MQTT_PINGRESP, deadline_ms, &packet) : err;
}

void control_disconnect(struct control *c)
{
    if (c->fd < 0)
        return;
    uint8_t bytes[2];
    struct writer w = writer_over(bytes, sizeof bytes);
    mqtt_write_disconnect(&w);
    (void)!send_packet(c, &w, clock_monotonic_ms() + PATIENCE_MS);
    drop(c);
}
