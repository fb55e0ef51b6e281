#include "pki/hub_card.h"

#include "base/crypto.h"
#include "core/base64.h"

#define REQUEST_LINE "holdfast-hub-request/v1\n"
#define CARD_LINE    "holdfast-hub/v1\n"

bool hub_card_is_name(const char *name)
{
    struct slice s = slice_of_text(name);
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.data[i];
        bool is_alphanumeric =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!is_alphanumeric && (i == 0 || (c != '.' && c != '_' && c != '-')))
            return false;
    }
    return s.len > 0 && s.len <= HUB_NAME_MAX;
}

/* ---- lines ---- */

static void read_text(struct reader *r, const char *key, char *text, size_t size)
{
    struct slice value = note_read_line(r, key);
    if (value.len >= size)
        reader_fail(r, ERR_LIMIT);
    if (r->err != ERR_NONE)
        return;
    if (value.len > 0)
        memcpy(text, value.data, value.len);
    text[value.len] = '\0';
}

static void read_names(struct reader *r, char fleet[FLEET_NAME_MAX + 1],
                       char name[HUB_NAME_MAX + 1])
{
    read_text(r, "fleet", fleet, FLEET_NAME_MAX + 1);
    read_text(r, "name", name, HUB_NAME_MAX + 1);
    if (r->err == ERR_NONE && (!ca_is_fleet_name(slice_of_text(fleet)) || !hub_card_is_name(name)))
        reader_fail(r, ERR_SYNTAX);
}

static void read_key(struct reader *r, const char *line_key, struct note_key *key)
{
    struct slice value = note_read_line(r, line_key);
    if (r->err == ERR_NONE)
        reader_fail(r, note_key_read(value, crypto_sha256, key));
}

/* Behind what `storage` holds already. */
static struct slice read_base64(struct reader *r, const char *line_key, struct writer *storage)
{
    struct slice value = note_read_line(r, line_key);
    uint8_t *to = storage->start + storage->len;
    size_t len = 0;
    if (r->err == ERR_NONE)
        reader_fail(r, base64_read(value, to, storage->max - storage->len, &len));
    storage->len += len;
    return slice_of(to, len);
}

static void write_text(struct writer *w, const char *line_key, const char *value)
{
    writer_text(w, line_key);
    writer_text(w, " ");
    writer_text(w, value);
    writer_text(w, "\n");
}

static void write_key(struct writer *w, const char *line_key, const struct note_key *key)
{
    writer_text(w, line_key);
    writer_text(w, " ");
    note_key_write(w, key);
    writer_text(w, "\n");
}

static void write_base64(struct writer *w, const char *line_key, struct slice bytes)
{
    writer_text(w, line_key);
    writer_text(w, " ");
    base64_write(w, bytes);
    writer_text(w, "\n");
}

/* ---- the request ---- */

void hub_request_write(struct writer *w, const struct hub_request *request)
{
    writer_text(w, REQUEST_LINE);
    write_text(w, "fleet", request->fleet);
    write_text(w, "name", request->name);
    write_key(w, "ledger-key", &request->ledger_key);
    write_key(w, "policy-key", &request->policy_key);
    write_base64(w, "request", request->request);
}

enum err hub_request_read(struct slice note, uint8_t *storage, struct hub_request *ret_request)
{
    struct hub_request request = {.fleet = ""};
    struct slice text = {NULL, 0};
    enum err err = note_text_unverified(note, &text);
    if (err != ERR_NONE)
        return err;
    struct writer decoded = writer_over(storage, HUB_CARD_STORAGE);
    struct reader r = reader_over(text);
    reader_expect(&r, SLICE_LITERAL(REQUEST_LINE));
    read_names(&r, request.fleet, request.name);
    read_key(&r, "ledger-key", &request.ledger_key);
    read_key(&r, "policy-key", &request.policy_key);
    request.request = read_base64(&r, "request", &decoded);
    err = reader_finish(&r);
    if (err == ERR_NONE)
        err = note_verify(note, &request.ledger_key, crypto_ed25519_verify, &text);
    if (err == ERR_NONE)
        *ret_request = request;
    return err;
}

/* ---- the card ---- */

void hub_card_write(struct writer *w, const struct hub_card *card)
{
    if (card->chain_len < 2 || card->chain_len > CA_CHAIN_MAX)
        writer_fail(w, ERR_LIMIT);
    writer_text(w, CARD_LINE);
    write_text(w, "fleet", card->fleet);
    write_text(w, "name", card->name);
    write_key(w, "ledger-key", &card->ledger_key);
    write_key(w, "policy-key", &card->policy_key);
    write_key(w, "bundle-key", &card->bundle_key);
    for (size_t i = 0; i < card->chain_len; i++)
        write_base64(w, "certificate", card->chain[i]);
}

static enum err read_card(struct slice text, uint8_t *storage, struct hub_card *card)
{
    struct writer decoded = writer_over(storage, HUB_CARD_STORAGE);
    struct reader r = reader_over(text);
    reader_expect(&r, SLICE_LITERAL(CARD_LINE));
    read_names(&r, card->fleet, card->name);
    read_key(&r, "ledger-key", &card->ledger_key);
    read_key(&r, "policy-key", &card->policy_key);
    read_key(&r, "bundle-key", &card->bundle_key);
    while (r.err == ERR_NONE && reader_left(&r) > 0) {
        if (card->chain_len == CA_CHAIN_MAX)
            return ERR_LIMIT;
        struct slice der = read_base64(&r, "certificate", &decoded);
        struct certificate certificate;
        if (der.len > CERTIFICATE_MAX)
            reader_fail(&r, ERR_LIMIT);
        if (r.err == ERR_NONE)
            reader_fail(&r, certificate_read(der, &certificate));
        card->chain[card->chain_len++] = der;
    }
    if (card->chain_len < 2)
        reader_fail(&r, ERR_SYNTAX);
    return reader_finish(&r);
}

enum err hub_card_read(struct slice note, const struct note_key *bundle_key, uint8_t *storage,
                       struct hub_card *ret_card)
{
    struct hub_card card = {.chain_len = 0};
    struct slice text = {NULL, 0};
    enum err err;
    if (bundle_key != NULL) {
        err = note_verify(note, bundle_key, crypto_ed25519_verify, &text);
        if (err == ERR_NONE)
            err = read_card(text, storage, &card);
    } else {
        err = note_text_unverified(note, &text);
        if (err == ERR_NONE)
            err = read_card(text, storage, &card);
        if (err == ERR_NONE)
            err = note_verify(note, &card.bundle_key, crypto_ed25519_verify, &text);
    }
    if (err == ERR_NONE)
        *ret_card = card;
    return err;
}
