/* Factory manifests as files: one row for each device, with its serial number and exactly one way
 * to prove it the first time. Two forms:
 *
 *   CSV (RFC 4180, but no line ends inside a field): a first line that names the columns, in any
 *   order: "serial", and some of
 *     claim       "yes", or until when: a duration ("90d"), a date or a time in RFC 3339, in UTC
 *     key_sha256  64 hexadecimal digits: SHA-256 of the device's SubjectPublicKeyInfo
 *     idevid      the path of the manufacturer's certificate, PEM, seen from the file's folder
 *   Each row has one of them, the others are empty.
 *
 *   JSON lines: on each line an object as the hub takes them: "serial", and one of "claim"
 *   ({"expires_at": TIME}), "key_sha256" and "idevid_pem".
 *
 * Lines end with LF or CR LF; empty ones are skipped, and so is a byte order mark at the start.
 * Anything else is refused, with the line's number. The file is read in pieces: memory does not
 * grow with it. Whether rows repeat is the caller's to see (cli/seen.h). */
#ifndef CLI_MANIFEST_READER_H
#define CLI_MANIFEST_READER_H

#include "base/json.h"
#include "core/crypto.h"

#define MANIFEST_SERIAL_MAX 64
#define MANIFEST_PEM_MAX    4096        /* bytes of one certificate, as the hub takes it */
#define MANIFEST_LINE_MAX   (24 * 1024) /* a certificate with its line ends escaped, and room */
#define MANIFEST_COLUMNS    4
/* Bytes of a row in JSON at most: every byte of a certificate may be escaped as two. */
#define MANIFEST_ROW_JSON_MAX (2 * MANIFEST_PEM_MAX + 256)

enum manifest_format { MANIFEST_CSV, MANIFEST_JSON_LINES };

enum manifest_proof {
    MANIFEST_CLAIM,
    MANIFEST_KEY,
    MANIFEST_IDEVID_FILE, /* `idevid` is a path */
    MANIFEST_IDEVID,      /* `idevid` is PEM */
};

struct manifest_row {
    uint64_t line; /* the first is 1 */
    char serial[MANIFEST_SERIAL_MAX + 1];
    enum manifest_proof proof;
    int64_t claim_expires_at; /* seconds since 1970 */
    uint8_t key_sha256[SHA256_SIZE];
    struct slice idevid; /* valid until the next row is read */
};

struct manifest_error {
    uint64_t line;
    char text[200]; /* "line 17: serial: ..." */
};

/* Gives at most `max` bytes; none at the end. */
typedef enum err manifest_source_fn(void *ctx, uint8_t *buffer, size_t max, size_t *ret_len);

struct manifest_reader {
    enum manifest_format format;
    manifest_source_fn *source;
    void *ctx;
    int64_t now;      /* where claims that are durations count from */
    int64_t standard; /* "yes": this time */
    uint64_t line;
    bool ended;
    size_t start, end; /* of what is buffered */
    uint8_t buffer[2 * MANIFEST_LINE_MAX];
    int columns[MANIFEST_COLUMNS]; /* of CSV: what stands where */
    size_t columns_len;
    json_t *object; /* what the row's idevid lies in */
};

void manifest_reader_init(struct manifest_reader *r, enum manifest_format format,
                          manifest_source_fn *source, void *ctx, int64_t now, int64_t standard);
void manifest_reader_cleanup(struct manifest_reader *r);
/* The next row; *ret_end at the end. ERR_SYNTAX and ERR_LIMIT are explained in *error, other errors
 * are the source's. After an error there is no next. */
MUST_USE enum err manifest_reader_next(struct manifest_reader *r, struct manifest_row *ret_row,
                                       bool *ret_end, struct manifest_error *error);

/* A row as the hub takes it. Not for MANIFEST_IDEVID_FILE: the caller reads the file first. */
void manifest_row_write(struct json_writer *j, const struct manifest_row *row);

#endif
