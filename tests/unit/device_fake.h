/* A platform in memory for device/lib: storage that fails or loses power where it is told to,
 * clocks that are moved, and a network whose other end is a function. For unit tests and fuzzers.
 */
#ifndef TESTS_UNIT_DEVICE_FAKE_H
#define TESTS_UNIT_DEVICE_FAKE_H

#include <stdlib.h>
#include <string.h>

#include "device/lib/device.h"

#define FAKE_ANSWER_MAX (64 * 1024)

/* What becomes of the write during which the power goes. */
enum fake_cut { FAKE_CUT_BEFORE, FAKE_CUT_AFTER, FAKE_CUT_DAMAGED, FAKE_CUT_COUNT };

struct fake_record {
    char name[16];
    uint8_t bytes[RECORD_MAX];
    size_t len;
};

struct fake_key {
    bool there;
    enum key_kind kind;
    uint8_t bytes[97];
};

struct fake {
    struct port port;

    struct fake_record records[RECORDS_MAX];
    size_t records_len;
    struct fake_key keys[3];
    uint8_t keys_made; /* so that no two are the same */

    int64_t wall, monotonic;
    int64_t part_ms; /* of a second of the wall clock */
    uint32_t dice;

    /* Every write to storage and every answer from the network is an operation; the first is 1. */
    unsigned operations;
    unsigned fail_at; /* this one fails and changes nothing; 0: none */
    bool fail_from;   /* and all after it */
    bool fail_late;   /* it is done, but reported as failed */
    enum err fail_with;
    unsigned cut_at; /* the power goes at this one */
    enum fake_cut cut_how;
    bool dead; /* until the next start */

    enum err connect_err; /* what connecting gives, if not ERR_NONE */
    unsigned connects;
    bool connected;
    uint16_t to_port;
    uint8_t client[CERTIFICATE_MAX]; /* the certificate of this connection; none: client_len 0 */
    size_t client_len;
    int64_t time; /* at which the server was verified */
    struct port_server proves;
    size_t chain_min; /* chains of fewer certificates lead nowhere */
    uint8_t request[DEVICE_MESSAGE_MAX + 1];
    size_t request_len;
    uint8_t answer[FAKE_ANSWER_MAX];
    size_t answer_len, answer_at;
    bool answered;
    /* Looks at request and client, and fills in answer and answer_len; false: no answer comes. */
    bool (*serve)(struct fake *f);
    void *server;
};

/* ---- faults ---- */

enum fake_fate { FAKE_DONE, FAKE_FAILS, FAKE_FAILS_DONE, FAKE_DAMAGED, FAKE_DIES, FAKE_DIES_DONE };

static inline enum fake_fate fake_operation(struct fake *f)
{
    if (f->dead)
        return FAKE_DIES;
    f->operations++;
    if (f->cut_at == f->operations) {
        f->dead = true;
        return f->cut_how == FAKE_CUT_BEFORE  ? FAKE_DIES
               : f->cut_how == FAKE_CUT_AFTER ? FAKE_DIES_DONE
                                              : FAKE_DAMAGED;
    }
    bool fails = f->fail_at != 0 &&
                 (f->fail_at == f->operations || (f->fail_from && f->operations > f->fail_at));
    return !fails ? FAKE_DONE : f->fail_late ? FAKE_FAILS_DONE : FAKE_FAILS;
}

static inline bool fake_happens(enum fake_fate fate)
{
    return fate == FAKE_DONE || fate == FAKE_FAILS_DONE || fate == FAKE_DIES_DONE;
}

static inline enum err fake_result(const struct fake *f, enum fake_fate fate)
{
    if (fate == FAKE_DONE)
        return ERR_NONE;
    return fate == FAKE_FAILS || fate == FAKE_FAILS_DONE ? f->fail_with : ERR_IO;
}

/* ---- records ---- */

static inline struct fake_record *fake_record(struct fake *f, const char *name)
{
    for (size_t i = 0; i < f->records_len; i++)
        if (strcmp(f->records[i].name, name) == 0)
            return &f->records[i];
    return NULL;
}

static inline enum err fake_record_read(void *ctx, const char *name, uint8_t *buffer, size_t max,
                                        size_t *ret_len)
{
    struct fake *f = ctx;
    const struct fake_record *r = fake_record(f, name);
    if (f->dead)
        return ERR_IO;
    if (r == NULL)
        return ERR_NOT_FOUND;
    if (r->len > max)
        return ERR_LIMIT;
    memcpy(buffer, r->bytes, r->len);
    *ret_len = r->len;
    return ERR_NONE;
}

static inline void fake_put_record(struct fake *f, const char *name, struct slice bytes)
{
    struct fake_record *r = fake_record(f, name);
    if (r == NULL) {
        if (f->records_len == RECORDS_MAX || strlen(name) >= sizeof r->name ||
            bytes.len > RECORD_MAX)
            abort(); /* the promise of port.h */
        r = &f->records[f->records_len++];
        memcpy(r->name, name, strlen(name) + 1);
    }
    memcpy(r->bytes, bytes.data, bytes.len);
    r->len = bytes.len;
}

static inline enum err fake_record_replace(void *ctx, const char *name, struct slice bytes)
{
    struct fake *f = ctx;
    enum fake_fate fate = fake_operation(f);
    if (fake_happens(fate))
        fake_put_record(f, name, bytes);
    if (fate == FAKE_DAMAGED)
        fake_put_record(f, name, slice_of(bytes.data, bytes.len / 2));
    return fake_result(f, fate);
}

static inline enum err fake_record_delete(void *ctx, const char *name)
{
    struct fake *f = ctx;
    enum fake_fate fate = fake_operation(f);
    struct fake_record *r = fake_record(f, name);
    if (r != NULL && fake_happens(fate))
        *r = f->records[--f->records_len];
    if (r != NULL && fate == FAKE_DAMAGED)
        r->len /= 2;
    return fake_result(f, fate);
}

/* ---- keys: public keys of the right form; what they sign is not looked at ---- */

static inline size_t fake_key_size(enum key_kind kind)
{
    return kind == KEY_ED25519 ? 32 : kind == KEY_P384 ? 97 : 65;
}

static inline struct slice fake_key_bytes(const struct fake *f, enum port_key key)
{
    return slice_of(f->keys[key].bytes, fake_key_size(f->keys[key].kind));
}

static inline void fake_make_key(struct fake *f, enum port_key key, enum key_kind kind)
{
    struct fake_key *k = &f->keys[key];
    *k = (struct fake_key){.there = true, .kind = kind};
    memset(k->bytes, ++f->keys_made, sizeof k->bytes);
    if (kind != KEY_ED25519)
        k->bytes[0] = 0x04;
}

static inline enum err fake_key_generate(void *ctx, enum port_key key, enum key_kind kind)
{
    struct fake *f = ctx;
    enum fake_fate fate = fake_operation(f);
    if (fake_happens(fate))
        fake_make_key(f, key, kind);
    if (fate == FAKE_DAMAGED)
        f->keys[key].there = false;
    return fake_result(f, fate);
}

static inline enum err fake_key_public(void *ctx, enum port_key key, enum key_kind *ret_kind,
                                       uint8_t *buffer, size_t max, size_t *ret_len)
{
    struct fake *f = ctx;
    if (f->dead)
        return ERR_IO;
    if (!f->keys[key].there)
        return ERR_NOT_FOUND;
    struct slice bytes = fake_key_bytes(f, key);
    if (bytes.len > max)
        return ERR_LIMIT;
    memcpy(buffer, bytes.data, bytes.len);
    *ret_kind = f->keys[key].kind;
    *ret_len = bytes.len;
    return ERR_NONE;
}

static inline enum err fake_key_sign(void *ctx, enum port_key key, struct slice message,
                                     uint8_t *buffer, size_t max, size_t *ret_len)
{
    struct fake *f = ctx;
    (void)message;
    if (f->dead)
        return ERR_IO;
    if (!f->keys[key].there)
        return ERR_NOT_FOUND;
    size_t len = f->keys[key].kind == KEY_ED25519 ? 64 : 70;
    if (len > max)
        return ERR_LIMIT;
    memset(buffer, 0x5a, len);
    *ret_len = len;
    return ERR_NONE;
}

static inline enum err fake_key_delete(void *ctx, enum port_key key)
{
    struct fake *f = ctx;
    enum fake_fate fate = fake_operation(f);
    if (fake_happens(fate) || fate == FAKE_DAMAGED)
        f->keys[key].there = false;
    return fake_result(f, fate);
}

/* ---- network ---- */

static inline enum err fake_connect(void *ctx, const struct port_tls *tls,
                                    struct port_server *ret_server)
{
    struct fake *f = ctx;
    if (f->dead)
        return ERR_IO;
    if (tls->roots_len == 0 || f->connected)
        abort();
    f->connects++;
    if (f->connect_err != ERR_NONE)
        return f->connect_err;
    f->client_len = 0;
    if (tls->chain.len > 0) {
        struct reader r = reader_over(tls->chain);
        struct slice own = der_read_any(&r, NULL);
        if (r.err != ERR_NONE || !f->keys[tls->key].there)
            abort();
        memcpy(f->client, own.data, own.len);
        f->client_len = own.len;
    }
    f->connected = true;
    f->to_port = tls->port;
    f->time = tls->time;
    *ret_server = f->proves;
    f->request_len = 0;
    f->answered = false;
    return ERR_NONE;
}

/* By names alone, since nothing is signed here: each is the issuer of the one before it, and a root
 * of the last. */
static inline enum err fake_chain_verify(void *ctx, struct slice chain, const struct slice *roots,
                                         size_t roots_len)
{
    struct fake *f = ctx;
    struct certificate c = {.der = {NULL, 0}}, root;
    struct slice issuer = {NULL, 0};
    struct reader r = reader_over(chain);
    if (f->dead)
        return ERR_IO;
    size_t n = 0;
    for (; reader_left(&r) > 0; n++) {
        if (certificate_read(der_read_any(&r, NULL), &c) != ERR_NONE ||
            (issuer.len > 0 && !slice_equal(c.subject, issuer)))
            return ERR_BAD_SIGNATURE;
        issuer = c.issuer;
    }
    if (n < f->chain_min)
        return ERR_BAD_SIGNATURE;
    for (size_t i = 0; i < roots_len; i++)
        if (certificate_read(roots[i], &root) == ERR_NONE && slice_equal(root.subject, issuer))
            return ERR_NONE;
    return ERR_BAD_SIGNATURE;
}

static inline enum err fake_send(void *ctx, struct slice bytes, int64_t deadline_ms)
{
    struct fake *f = ctx;
    (void)deadline_ms;
    if (f->dead || !f->connected)
        return ERR_CLOSED;
    if (f->answered) {
        f->answered = false;
        f->request_len = 0;
    }
    if (bytes.len > DEVICE_MESSAGE_MAX - f->request_len)
        return ERR_CLOSED;
    memcpy(f->request + f->request_len, bytes.data, bytes.len);
    f->request_len += bytes.len;
    f->request[f->request_len] = '\0';
    return ERR_NONE;
}

static inline enum err fake_receive(void *ctx, uint8_t *buffer, size_t max, int64_t deadline_ms,
                                    size_t *ret_len)
{
    struct fake *f = ctx;
    (void)deadline_ms;
    if (f->dead || !f->connected)
        return ERR_IO;
    if (!f->answered) {
        f->answered = true;
        f->answer_at = f->answer_len = 0;
        /* The other side has heard it, whatever becomes of us now. */
        bool comes = f->serve(f);
        if (f->dead)
            return ERR_IO;
        f->operations++;
        if (f->cut_at == f->operations)
            f->dead = true;
        if (!comes || f->dead || f->fail_at == f->operations)
            return ERR_IO;
    }
    size_t left = f->answer_len - f->answer_at;
    if (left == 0)
        return ERR_CLOSED;
    size_t n = left < max ? left : max;
    memcpy(buffer, f->answer + f->answer_at, n);
    f->answer_at += n;
    *ret_len = n;
    return ERR_NONE;
}

static inline void fake_close(void *ctx)
{
    struct fake *f = ctx;
    f->connected = false;
}

/* ---- the rest ---- */

static inline enum err fake_random(void *ctx, void *bytes, size_t n)
{
    struct fake *f = ctx;
    for (size_t i = 0; i < n; i++) {
        f->dice = f->dice * 1664525u + 1013904223u;
        ((uint8_t *)bytes)[i] = (uint8_t)(f->dice >> 24);
    }
    return ERR_NONE;
}

static inline int64_t fake_wall(void *ctx)
{
    const struct fake *f = ctx;
    return f->wall;
}

static inline int64_t fake_monotonic(void *ctx)
{
    const struct fake *f = ctx;
    return f->monotonic;
}

static inline void fake_init(struct fake *f, sha256_fn *sha256, ed25519_verify_fn *verify)
{
    memset(f, 0, sizeof *f);
    f->port = (struct port){
        .ctx = f,
        .connect = fake_connect,
        .send = fake_send,
        .receive = fake_receive,
        .close = fake_close,
        .chain_verify = fake_chain_verify,
        .key_generate = fake_key_generate,
        .key_public = fake_key_public,
        .key_sign = fake_key_sign,
        .key_delete = fake_key_delete,
        .random = fake_random,
        .sha256 = sha256,
        .ed25519_verify = verify,
        .record_read = fake_record_read,
        .record_replace = fake_record_replace,
        .record_delete = fake_record_delete,
        .wall_seconds = fake_wall,
        .monotonic_ms = fake_monotonic,
    };
    f->fail_with = ERR_DISK_FULL;
    f->proves = (struct port_server){.not_before = 0, .not_after = 4000000000};
    f->monotonic = 1000;
}

/* Gives the whole seconds that the wall clock went on by. */
static inline int64_t fake_pass(struct fake *f, int64_t ms)
{
    f->monotonic += ms;
    f->part_ms += ms;
    int64_t seconds = f->part_ms / 1000;
    f->part_ms %= 1000;
    f->wall += seconds;
    return seconds;
}

/* The power comes back. */
static inline void fake_restart(struct fake *f)
{
    f->dead = f->connected = false;
    f->cut_at = f->fail_at = 0;
    f->monotonic = 1000;
}

#endif
