/* The device table as brokers get it from a hub and keep it on disk: who may be admitted, by the
 * digest of its certificate. A feed is a page of records:
 *
 *   feed   = "HFFEED01" at{64} rules{64} count{32} record*count
 *   record = length{16} state{8} flags{8} text8 tenant, device, model, group;
 *            certificates{8} (sha256{32B} not_after{64})*n
 *            [flags & 1: password] [flags & 4: password, the one before]
 *   password = salt{16B} iterations{32} stored_key{32B} until{64}
 *
 * `at` is the ledger's size whose acts all records reflect; they may reflect later ones, too. A
 * record says how a device stands, not what changed: taking one twice, or an older page again
 * before a newer, ends in the same table. One whose state is revoked or retired has no certificates
 * and stays for as long as the receiver wants to remember it. */
#ifndef CORE_DEVICE_FEED_H
#define CORE_DEVICE_FEED_H

#include "core/rules.h"

#define DEVICE_CERTIFICATES_MAX 2   /* the one in use, and its successor that was not seen yet */
#define DEVICE_RECORD_MAX       512 /* bytes, its length included */
#define DEVICE_FEED_RECORDS_MAX 4096
#define DEVICE_FEED_MAX         (28U + DEVICE_FEED_RECORDS_MAX * DEVICE_RECORD_MAX)

struct device_certificate {
    uint8_t sha256[SHA256_SIZE];
    int64_t not_after;
};

/* SCRAM-SHA-256's StoredKey (RFC 5802 section 3) of a password that was made for this device. */
#define DEVICE_SALT_SIZE      16
#define DEVICE_ITERATIONS_MAX (1U << 20) /* no record holds a broker up for seconds */
struct device_password {
    bool present;
    uint8_t salt[DEVICE_SALT_SIZE];
    uint32_t iterations; /* from 1 */
    uint8_t stored_key[SHA256_SIZE];
    int64_t until; /* seconds since 1970, from which on it opens nothing */
};

struct device_record {
    struct slice tenant, device, model, group;
    enum device_state state;
    bool cut; /* its last move was a cut: what is left of its sessions is to go */
    size_t certificates_len;
    struct device_certificate certificates[DEVICE_CERTIFICATES_MAX];
    struct device_password password;
    struct device_password previous; /* works until the one above is used; never without that */
};

/* ERR_SYNTAX in the writer for names that are empty (but for the group) or hold U+0000, no state,
 * a final one with certificates or a password, or a previous password alone; ERR_LIMIT. */
void device_record_write(struct writer *w, const struct device_record *record);
/* The next record; its names are slices of the reader's bytes. Errors stick in the reader; then the
 * record is left as it was. */
void device_record_read(struct reader *r, struct device_record *ret_record);

struct device_feed {
    uint64_t at;    /* the ledger's size */
    uint64_t rules; /* version of the rules in force; 0: none */
    uint32_t count;
    struct reader records; /* take `count` of them, then reader_finish() */
};
/* ERR_LIMIT in the writer for more than DEVICE_FEED_RECORDS_MAX records. */
void device_feed_write_head(struct writer *w, uint64_t at, uint64_t rules, uint32_t count);
/* ERR_SYNTAX, ERR_LIMIT. */
MUST_USE enum err device_feed_read_head(struct slice bytes, struct device_feed *ret_feed);

#endif
