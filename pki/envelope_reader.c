#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/cms.h>
#include <openssl/err.h>

#include "core/cms.h"
#include "pki/ca_files.h"
#include "pki/envelope.h"

#define WINDOW_SIZE (256 * 1024)

struct envelope_reader {
    int fd;
    uint64_t file_len;
    uint8_t window[WINDOW_SIZE]; /* bytes of the file from window_at on */
    uint64_t window_at;
    size_t window_len;

    uint64_t first;      /* where the first chunk starts */
    uint64_t at;         /* the next byte of the content, or of a chunk's head */
    uint32_t chunk_left; /* of the chunk we are in */
    bool ended;
    enum err err; /* of the file */

    CMS_ContentInfo *cms;
    BIO_METHOD *method;
    BIO *content; /* the chunks, one after the other */
    BIO *chain;   /* plaintext comes out here; ends in `content` */
};

/* ---- the file ---- */

/* The bytes at `at`: at least `want` of them, where the file has as many. */
static enum err look_at(struct envelope_reader *r, uint64_t at, size_t want,
                        struct slice *ret_bytes)
{
    bool inside = at >= r->window_at && at - r->window_at <= r->window_len &&
                  r->window_len - (at - r->window_at) >= want;
    if (!inside) {
        r->window_at = at;
        r->window_len = 0;
        while (r->window_len < WINDOW_SIZE) {
            ssize_t n = pread(r->fd, r->window + r->window_len, WINDOW_SIZE - r->window_len,
                              (off_t)(at + r->window_len));
            if (n < 0 && errno == EINTR)
                continue;
            if (n < 0)
                return ERR_IO;
            if (n == 0)
                break;
            r->window_len += (size_t)n;
        }
    }
    size_t skip = (size_t)(at - r->window_at);
    *ret_bytes = slice_of(r->window + skip, r->window_len - skip);
    return ERR_NONE;
}

static enum err next_chunk(struct envelope_reader *r)
{
    struct slice bytes;
    size_t head_len = 0;
    uint32_t len = 0;
    bool end = false;
    enum err err = look_at(r, r->at, CMS_CHUNK_HEAD, &bytes);
    if (err == ERR_NONE && bytes.len > CMS_CHUNK_HEAD)
        bytes.len = CMS_CHUNK_HEAD;
    if (err == ERR_NONE)
        err = cms_chunk_read(bytes, &head_len, &len, &end);
    if (err != ERR_NONE)
        return err;
    r->at += head_len;
    r->chunk_left = end ? 0 : len;
    r->ended = end;
    return r->at > r->file_len || r->chunk_left > r->file_len - r->at ? ERR_SYNTAX : ERR_NONE;
}

static void go_to_content(struct envelope_reader *r)
{
    r->at = r->first;
    r->chunk_left = 0;
    r->ended = false;
}

/* Finds the end of the content, and the MAC behind it. */
static enum err walk(struct envelope_reader *r, uint8_t ret_mac[CMS_MAC_SIZE])
{
    go_to_content(r);
    uint64_t content = 0;
    while (!r->ended) {
        enum err err = next_chunk(r);
        if (err != ERR_NONE)
            return err;
        r->at += r->chunk_left;
        content += r->chunk_left;
        if (content > ENVELOPE_CONTENT_MAX + WINDOW_SIZE)
            return ERR_LIMIT;
    }
    struct slice tail;
    struct slice mac;
    enum err err = look_at(r, r->at, CMS_TAIL_MAX, &tail);
    if (err == ERR_NONE)
        err = cms_tail_read(tail, &mac);
    if (err == ERR_NONE)
        memcpy(ret_mac, mac.data, CMS_MAC_SIZE);
    return err;
}

static int read_content(BIO *bio, char *buffer, int size)
{
    struct envelope_reader *r = BIO_get_data(bio);
    while (r->err == ERR_NONE && !r->ended && r->chunk_left == 0)
        r->err = next_chunk(r);
    if (r->err != ERR_NONE || r->ended)
        return 0;
    size_t n = r->chunk_left < (uint32_t)size ? r->chunk_left : (size_t)size;
    struct slice bytes;
    r->err = look_at(r, r->at, n, &bytes);
    if (r->err == ERR_NONE && bytes.len < n)
        r->err = ERR_SYNTAX;
    if (r->err != ERR_NONE)
        return 0;
    memcpy(buffer, bytes.data, n);
    r->at += n;
    r->chunk_left -= (uint32_t)n;
    return (int)n;
}

static long content_control(BIO *bio, int command, long number, void *pointer)
{
    struct envelope_reader *r = BIO_get_data(bio);
    (void)number;
    (void)pointer;
    if (command == BIO_CTRL_EOF)
        return r->ended ? 1 : 0;
    return command == BIO_CTRL_FLUSH || command == BIO_CTRL_DUP ? 1 : 0;
}

/* ---- opening ---- */

static enum err explain_form(enum err err, char explain[256])
{
    if (err == ERR_UNSUPPORTED)
        return ca_fail(err, explain, "this is not an encrypted backup, but CMS of another kind");
    if (err == ERR_SYNTAX)
        return ca_fail(err, explain,
                       "this is no encrypted backup, or one that was cut short or altered");
    return ca_fail(err, explain, "can't read the file: %s", err_text(err));
}

/* The message without its content, in one piece, for the library. */
static enum err read_message(struct envelope_reader *r, char explain[256])
{
    struct slice start;
    struct cms_head head;
    uint8_t copy[CMS_HEAD_MAX], mac[CMS_MAC_SIZE], detached[CMS_DETACHED_MAX];
    enum err err = look_at(r, 0, CMS_HEAD_MAX, &start);
    if (err != ERR_NONE)
        return explain_form(err, explain);
    size_t len = start.len < sizeof copy ? start.len : sizeof copy;
    if (len > 0)
        memcpy(copy, start.data, len); /* the walk takes the window */
    err = cms_head_read(slice_of(copy, len), &head);
    if (err == ERR_NONE) {
        r->first = head.len;
        err = walk(r, mac);
    }
    if (err != ERR_NONE)
        return explain_form(err, explain);
    struct der_writer w = der_writer_over(detached, sizeof detached);
    cms_write_detached(&w, &head, slice_of(mac, sizeof mac));
    if (w.err != ERR_NONE)
        return explain_form(w.err, explain);
    struct slice der = der_writer_bytes(&w);
    const uint8_t *at = der.data;
    r->cms = d2i_CMS_ContentInfo(NULL, &at, (long)der.len);
    return r->cms == NULL || at != der.data + der.len ? explain_form(ERR_SYNTAX, explain)
                                                      : ERR_NONE;
}

static bool open_chain(struct envelope_reader *r)
{
    go_to_content(r);
    int index = BIO_get_new_index();
    r->method = index < 0 ? NULL : BIO_meth_new(index | BIO_TYPE_SOURCE_SINK, "backup");
    if (r->method == NULL || BIO_meth_set_read(r->method, read_content) != 1 ||
        BIO_meth_set_ctrl(r->method, content_control) != 1)
        return false;
    r->content = BIO_new(r->method);
    if (r->content == NULL)
        return false;
    BIO_set_data(r->content, r);
    BIO_set_init(r->content, 1);
    r->chain = CMS_dataInit(r->cms, r->content);
    return r->chain != NULL;
}

static enum err open_reader(struct envelope_reader *r, const char *key_path, char explain[256])
{
    struct stat st;
    if (fstat(r->fd, &st) != 0 || !S_ISREG(st.st_mode))
        return ca_fail(ERR_IO, explain, "the backup must be a file");
    r->file_len = (uint64_t)st.st_size;
    enum err err = read_message(r, explain);
    if (err != ERR_NONE)
        return err;
    EVP_PKEY *key CLEANUP(ca_key_cleanup) = NULL;
    err = ca_key_read(key_path, &key);
    if (err != ERR_NONE)
        return ca_fail(err, explain, "%.180s: %s", key_path,
                       err == ERR_SYNTAX ? "not a private key in PEM without a password"
                                         : err_text(err));
    if (CMS_decrypt_set1_pkey(r->cms, key, NULL) != 1)
        return ca_fail(ERR_REFUSED, explain, "the backup is not encrypted to the key in %.150s",
                       key_path);
    return open_chain(r) ? ERR_NONE : ca_fail(ERR_CRYPTO, explain, "can't decrypt the backup");
}

enum err envelope_reader_new(int fd, const char *key, struct envelope_reader **ret_reader,
                             char explain[256])
{
    struct envelope_reader *r = calloc(1, sizeof *r);
    if (r == NULL)
        return ca_fail(ERR_NO_MEMORY, explain, "out of memory");
    r->fd = fd;
    enum err err = open_reader(r, key, explain);
    ERR_clear_error();
    if (err == ERR_NONE)
        *ret_reader = r;
    else
        envelope_reader_free(r);
    return err;
}

enum err envelope_read(struct envelope_reader *r, void *buffer, size_t size, size_t *ret_len)
{
    int n = BIO_read(r->chain, buffer, size > INT_MAX ? INT_MAX : (int)size);
    if (r->err != ERR_NONE)
        return r->err;
    if (n > 0) {
        *ret_len = (size_t)n;
        return ERR_NONE;
    }
    bool genuine = BIO_get_cipher_status(r->chain) == 1 && r->ended;
    ERR_clear_error();
    if (!genuine)
        return ERR_BAD_SIGNATURE;
    *ret_len = 0;
    return ERR_NONE;
}

void envelope_reader_free(struct envelope_reader *r)
{
    if (r == NULL)
        return;
    while (r->chain != NULL && r->chain != r->content) {
        BIO *next = BIO_pop(r->chain);
        BIO_free(r->chain);
        r->chain = next;
    }
    BIO_free(r->content);
    BIO_meth_free(r->method);
    CMS_ContentInfo_free(r->cms);
    mem_wipe(r, sizeof *r);
    free(r);
}
