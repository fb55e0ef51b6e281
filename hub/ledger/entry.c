#include "base/crypto.h"
#include "core/base64.h"
#include "core/calendar.h"
#include "core/json_write.h"
#include "hub/ledger/internal.h"

#define NONCE_SIZE 16
#define NONCE_TEXT 22 /* its base64url without padding, RFC 4648 section 5 */

static enum err write_nonce(char ret_text[NONCE_TEXT])
{
    uint8_t nonce[NONCE_SIZE];
    char text[BASE64_SIZE(NONCE_SIZE)];
    enum err err = crypto_random(nonce, sizeof nonce);
    if (err != ERR_NONE)
        return err;
    struct writer w = writer_over(text, sizeof text);
    base64_write(&w, slice_of(nonce, sizeof nonce));
    for (size_t i = 0; i < NONCE_TEXT; i++)
        ret_text[i] = text[i] == '+' ? '-' : text[i] == '/' ? '_' : text[i];
    return w.err;
}

/* RFC 3339 with milliseconds. */
static void write_time(struct json_writer *j, int64_t ms)
{
    char text[32];
    struct writer w = writer_over(text, sizeof text);
    int64_t seconds = ms / 1000 - (ms % 1000 < 0 ? 1 : 0);
    unsigned rest = (unsigned)(ms - seconds * 1000);
    calendar_write_rfc3339(&w, seconds);
    if (w.err != ERR_NONE) {
        writer_fail(j->w, w.err);
        return;
    }
    w.len--; /* the Z */
    writer_u8(&w, '.');
    writer_u8(&w, (uint8_t)('0' + rest / 100));
    writer_u8(&w, (uint8_t)('0' + rest / 10 % 10));
    writer_u8(&w, (uint8_t)('0' + rest % 10));
    writer_u8(&w, 'Z');
    json_slice(j, writer_bytes(&w));
}

static bool is_object(struct slice data)
{
    return data.len >= 2 && data.data[0] == '{' && data.data[data.len - 1] == '}';
}

enum err ledger_entry_write(struct writer *w, const struct ledger_act *act,
                            const uint8_t request_id[STORE_REQUEST_ID], int64_t now_ms)
{
    char nonce[NONCE_TEXT];
    if (act->data.len > LEDGER_DATA_MAX)
        return ERR_LIMIT;
    if (!is_object(act->data))
        return ERR_INTERNAL;
    enum err err = write_nonce(nonce);
    if (err != ERR_NONE)
        return err;
    struct json_writer j = json_writer_over(w);
    json_open_object(&j);
    json_field_integer(&j, "v", 1);
    json_field_slice(&j, "n", slice_of(nonce, sizeof nonce));
    json_key(&j, "t");
    write_time(&j, now_ms);
    json_field_text(&j, "act", act->act);
    json_field_text(&j, "tenant", act->tenant);
    json_field_text(&j, "actor", act->actor);
    json_field_text(&j, "subject", act->subject);
    json_field_hex(&j, "request", slice_of(request_id, STORE_REQUEST_ID));
    json_key(&j, "data");
    json_raw(&j, act->data);
    json_close_object(&j);
    return w->err;
}

/* ---- and reading it ---- */

/* "key":"text" with what stands before; the text up to its closing quote, escapes included. */
static struct slice read_member(struct reader *r, const char *before)
{
    reader_expect(r, slice_of_text(before));
    struct slice all = slice_of(r->at, reader_left(r));
    size_t n = 0;
    while (n < all.len && all.data[n] != '"')
        n += all.data[n] == '\\' ? 2 : 1;
    struct slice text = reader_take(r, n);
    reader_expect(r, SLICE_LITERAL("\""));
    return text;
}

enum err ledger_entry_read(struct slice data, struct ledger_entry *ret_entry)
{
    struct ledger_entry e;
    struct reader r = reader_over(data);
    (void)read_member(&r, "{\"v\":1,\"n\":\"");
    (void)read_member(&r, ",\"t\":\"");
    e.act = read_member(&r, ",\"act\":\"");
    e.tenant = read_member(&r, ",\"tenant\":\"");
    e.actor = read_member(&r, ",\"actor\":\"");
    e.subject = read_member(&r, ",\"subject\":\"");
    if (r.err == ERR_NONE)
        *ret_entry = e;
    return r.err;
}
