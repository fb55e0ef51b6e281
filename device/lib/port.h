/* What device/lib asks of the platform it runs on: network with TLS, keys, random bytes, hash and
 * verify, storage and clocks. A port fills in this table; device/port/posix is the model, and
 * README.md says how to write another.
 *
 * Every function gets `ctx`. None is called from two threads at once, and none calls back into
 * device/lib. Errors are core/error.h's; those that device/lib tells apart are named below, all
 * others mean "try again later". */
#ifndef DEVICE_LIB_PORT_H
#define DEVICE_LIB_PORT_H

#include "core/crypto.h"
#include "core/csr.h"

/* Two slots for the device's own keys, used in turn, and the manufacturer's key, which is read
 * only. A slot may be a file, an object in a secure element, a handle of a TPM. */
enum port_key { PORT_KEY_A, PORT_KEY_B, PORT_KEY_MANUFACTURER };

struct port_tls {
    const char *host; /* DNS name, or an IP address in text, without brackets */
    uint16_t port;
    /* What the server must prove, always: its chain ends in one of these certificates (DER), names
     * `host`, and is valid at this moment. Nothing else is trusted, least of all the system's own
     * list or the system's own clock. */
    const struct slice *roots;
    size_t roots_len;
    int64_t time; /* seconds since 1970 */
    /* Client authentication, where `chain` is not empty: certificates in DER, one behind the other,
     * the device's own first. Its key is `key`. */
    struct slice chain;
    enum port_key key;
    int64_t deadline_ms; /* on the monotonic clock; ERR_TIMEOUT past it */
};

/* What the server proved: the dates of its own certificate, seconds since 1970. */
struct port_server {
    int64_t not_before, not_after;
};

struct port {
    void *ctx;

    /* One connection at a time, TLS 1.2 or 1.3. `connect` tries every address of the host and
     * returns after the handshake. ERR_BAD_SIGNATURE: the server did not prove who it is.
     * ERR_EXPIRED: it would have, at another time. ERR_REFUSED, here or from the next send or
     * receive (TLS 1.3 tells late): it does not take our certificate. `receive` gives what is there
     * and waits for the first byte; ERR_CLOSED at the end. `close` may be called twice. */
    enum err (*connect)(void *ctx, const struct port_tls *tls, struct port_server *ret_server);
    enum err (*send)(void *ctx, struct slice bytes, int64_t deadline_ms);
    enum err (*receive)(void *ctx, uint8_t *buffer, size_t max, int64_t deadline_ms,
                        size_t *ret_len);
    void (*close)(void *ctx);

    /* Do these certificates (DER, one behind the other, the device's own first, the root left out)
     * lead up to one of `roots` by their signatures, as RFC 5280 section 6 has it? Their dates are
     * not looked at: device/lib does that. ERR_BAD_SIGNATURE where they do not. */
    enum err (*chain_verify)(void *ctx, struct slice chain, const struct slice *roots,
                             size_t roots_len);

    /* Keys. A generated key replaces what was in the slot, and is durable when this returns.
     * `key_public` gives it as core/spki.h has it (an EC point or 32 bytes of Ed25519);
     * ERR_NOT_FOUND where the slot is empty or holds no whole key. `key_sign` gives the signature
     * as csr_sign_fn does. `key_delete` makes the key unrecoverable as well as the medium lets it;
     * an empty slot is no error. */
    enum err (*key_generate)(void *ctx, enum port_key key, enum key_kind kind);
    enum err (*key_public)(void *ctx, enum port_key key, enum key_kind *ret_kind, uint8_t *buffer,
                           size_t max, size_t *ret_len);
    enum err (*key_sign)(void *ctx, enum port_key key, struct slice message, uint8_t *buffer,
                         size_t max, size_t *ret_len);
    enum err (*key_delete)(void *ctx, enum port_key key);

    /* From a generator that is fit for keys. */
    enum err (*random)(void *ctx, void *bytes, size_t n);
    sha256_fn *sha256;
    ed25519_verify_fn *ed25519_verify;

    /* Small named records (names of at most 15 letters, digits and dashes; RECORDS_MAX of them,
     * each of at most RECORD_MAX bytes). `record_replace` returns when the new bytes are durable. A
     * power cut in it may leave the old bytes, the new ones, or a damaged record, but must not
     * touch any other record. ERR_DISK_FULL, ERR_IO; ERR_NOT_FOUND and ERR_LIMIT from reading.
     * Deleting what is not there is no error. */
    enum err (*record_read)(void *ctx, const char *name, uint8_t *buffer, size_t max,
                            size_t *ret_len);
    enum err (*record_replace)(void *ctx, const char *name, struct slice bytes);
    enum err (*record_delete)(void *ctx, const char *name);

    /* Seconds since 1970 as the system believes, which may be wrong: anything where there is no
     * clock. And milliseconds since some moment, never backwards. */
    int64_t (*wall_seconds)(void *ctx);
    int64_t (*monotonic_ms)(void *ctx);
};

#endif
