/* A port that does nothing, around device/lib: tools/cortex-m3.sh links it to see that nothing is
 * missing, and how large it gets. */
#include "device/lib/device.h"

static enum err connect(void *ctx, const struct port_tls *tls, struct port_server *ret_server)
{
    (void)ctx;
    (void)tls;
    (void)ret_server;
    return ERR_UNSUPPORTED;
}

static enum err send(void *ctx, struct slice bytes, int64_t deadline_ms)
{
    (void)ctx;
    (void)bytes;
    (void)deadline_ms;
    return ERR_UNSUPPORTED;
}

static enum err receive(void *ctx, uint8_t *buffer, size_t max, int64_t deadline_ms,
                        size_t *ret_len)
{
    (void)ctx;
    (void)buffer;
    (void)max;
    (void)deadline_ms;
    (void)ret_len;
    return ERR_UNSUPPORTED;
}

static void close(void *ctx)
{
    (void)ctx;
}

static enum err chain_verify(void *ctx, struct slice chain, const struct slice *roots,
                             size_t roots_len)
{
    (void)ctx;
    (void)chain;
    (void)roots;
    (void)roots_len;
    return ERR_UNSUPPORTED;
}

static enum err key_generate(void *ctx, enum port_key key, enum key_kind kind)
{
    (void)ctx;
    (void)key;
    (void)kind;
    return ERR_UNSUPPORTED;
}

static enum err key_public(void *ctx, enum port_key key, enum key_kind *ret_kind, uint8_t *buffer,
                           size_t max, size_t *ret_len)
{
    (void)ctx;
    (void)key;
    (void)ret_kind;
    (void)buffer;
    (void)max;
    (void)ret_len;
    return ERR_NOT_FOUND;
}

static enum err key_sign(void *ctx, enum port_key key, struct slice message, uint8_t *buffer,
                         size_t max, size_t *ret_len)
{
    (void)ctx;
    (void)key;
    (void)message;
    (void)buffer;
    (void)max;
    (void)ret_len;
    return ERR_UNSUPPORTED;
}

static enum err key_delete(void *ctx, enum port_key key)
{
    (void)ctx;
    (void)key;
    return ERR_UNSUPPORTED;
}

static enum err random_bytes(void *ctx, void *bytes, size_t n)
{
    (void)ctx;
    (void)bytes;
    (void)n;
    return ERR_UNSUPPORTED;
}

static void sha256(const struct slice *parts, size_t n, uint8_t ret_hash[SHA256_SIZE])
{
    (void)parts;
    (void)n;
    memset(ret_hash, 0, SHA256_SIZE);
}

static enum err ed25519_verify(const uint8_t key[ED25519_KEY_SIZE], struct slice message,
                               const uint8_t signature[ED25519_SIGNATURE_SIZE])
{
    (void)key;
    (void)message;
    (void)signature;
    return ERR_BAD_SIGNATURE;
}

static enum err record_read(void *ctx, const char *name, uint8_t *buffer, size_t max,
                            size_t *ret_len)
{
    (void)ctx;
    (void)name;
    (void)buffer;
    (void)max;
    (void)ret_len;
    return ERR_NOT_FOUND;
}

static enum err record_replace(void *ctx, const char *name, struct slice bytes)
{
    (void)ctx;
    (void)name;
    (void)bytes;
    return ERR_DISK_FULL;
}

static enum err record_delete(void *ctx, const char *name)
{
    (void)ctx;
    (void)name;
    return ERR_NONE;
}

static int64_t zero(void *ctx)
{
    (void)ctx;
    return 0;
}

static const struct port port = {
    .connect = connect,
    .send = send,
    .receive = receive,
    .close = close,
    .chain_verify = chain_verify,
    .key_generate = key_generate,
    .key_public = key_public,
    .key_sign = key_sign,
    .key_delete = key_delete,
    .random = random_bytes,
    .sha256 = sha256,
    .ed25519_verify = ed25519_verify,
    .record_read = record_read,
    .record_replace = record_replace,
    .record_delete = record_delete,
    .wall_seconds = zero,
    .monotonic_ms = zero,
};

static const struct device_options options = {
    .bootstrap = "hub.example:8444",
    .hub = "hub.example:8443",
    .serial = "thermo-1",
    .agent_version = "0.1.0",
    .platform = "Cortex-M3",
};

static struct device device;

void reset(void);
void reset(void)
{
    if (device_open(&device, &options, &port) != ERR_NONE)
        return;
    for (int64_t delay_ms = 0; delay_ms == 0;)
        (void)device_step(&device, &delay_ms);
    device_close(&device);
}
