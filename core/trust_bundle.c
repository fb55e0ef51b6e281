#include "core/trust_bundle.h"

#include "core/base64.h"
#include "core/calendar.h"

#define FIRST_LINE "holdfast-trust-bundle/v1\n"

bool fleet_name_ok(struct slice name)
{
    uint8_t previous = '.';
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i];
        bool is_alphanumeric = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        bool is_inner =
            (c == '-' && previous != '.') || (c == '.' && previous != '.' && previous != '-');
        if (!is_alphanumeric && !is_inner)
            return false;
        previous = c;
    }
    return name.len <= FLEET_NAME_MAX && previous != '.' && previous != '-';
}

void fleet_name_read_line(struct reader *r, char fleet[FLEET_NAME_MAX + 1])
{
    struct slice name = note_read_line(r, "fleet");
    if (name.len > FLEET_NAME_MAX)
        reader_fail(r, ERR_LIMIT);
    if (!fleet_name_ok(name))
        reader_fail(r, ERR_SYNTAX);
    if (r->err != ERR_NONE)
        return;
    memcpy(fleet, name.data, name.len);
    fleet[name.len] = '\0';
}

static uint64_t read_version(struct reader *r)
{
    struct reader value = reader_over(note_read_line(r, "version"));
    uint64_t version = reader_decimal(&value, UINT64_MAX);
    reader_fail(r, reader_finish(&value));
    return version;
}

static void read_key(struct reader *r, const char *line_key, sha256_fn *sha256,
                     struct note_key *key)
{
    struct slice value = note_read_line(r, line_key);
    if (r->err == ERR_NONE)
        reader_fail(r, note_key_read(value, sha256, key));
}

/* Decodes one root to the front of `storage`, which it shortens. That it reads as a certificate is
 * checked here: a device that took a bundle without a usable root would be cut off for good. */
static struct slice read_root(struct reader *r, struct writer *storage)
{
    struct slice value = note_read_line(r, "server-root");
    uint8_t *to = storage->start + storage->len;
    size_t len = 0;
    if (r->err == ERR_NONE)
        reader_fail(r, base64_read(value, to, storage->max - storage->len, &len));
    if (len > CERTIFICATE_MAX)
        reader_fail(r, ERR_LIMIT);
    struct slice der = slice_of(to, len);
    struct certificate certificate;
    if (r->err == ERR_NONE)
        reader_fail(r, certificate_read(der, &certificate));
    storage->len += len;
    return der;
}

static enum err read_text(struct slice text, sha256_fn *sha256, uint8_t *storage,
                          size_t storage_max, struct trust_bundle *b)
{
    struct reader r = reader_over(text);
    reader_expect(&r, SLICE_LITERAL(FIRST_LINE));
    fleet_name_read_line(&r, b->fleet);
    b->version = read_version(&r);
    struct slice floor = note_read_line(&r, "time-floor");
    if (r.err == ERR_NONE)
        reader_fail(&r, calendar_read_rfc3339(floor, &b->time_floor));
    read_key(&r, "bundle-key", sha256, &b->bundle_key);
    do {
        if (b->ledger_keys_len == TRUST_LEDGERS_MAX)
            return ERR_LIMIT;
        read_key(&r, "ledger-key", sha256, &b->ledger_keys[b->ledger_keys_len++]);
    } while (reader_peek(&r) == 'l');
    while (reader_peek(&r) == 'p') {
        if (b->policy_keys_len == TRUST_POLICY_MAX)
            return ERR_LIMIT;
        read_key(&r, "policy-key", sha256, &b->policy_keys[b->policy_keys_len++]);
    }
    struct writer roots = writer_over(storage, storage_max);
    do {
        if (b->server_roots_len == TRUST_ROOTS_MAX)
            return ERR_LIMIT;
        b->server_roots[b->server_roots_len++] = read_root(&r, &roots);
    } while (reader_left(&r) > 0);
    return reader_finish(&r);
}

/* May a device that follows `held` go over to `b`? */
static enum err check_successor(const struct trust_bundle *held, const struct trust_bundle *b)
{
    if (!slice_equal(slice_of_text(held->fleet), slice_of_text(b->fleet)))
        return ERR_REFUSED;
    return b->version > held->version ? ERR_NONE : ERR_CONFLICT;
}

enum err trust_bundle_read(struct slice note, const struct trust_bundle *held, sha256_fn *sha256,
                           ed25519_verify_fn *verify, uint8_t *storage, size_t storage_max,
                           struct trust_bundle *ret_bundle)
{
    struct trust_bundle b = {.version = 0};
    struct slice text = {NULL, 0};
    enum err err;
    if (held != NULL) {
        err = note_verify(note, &held->bundle_key, verify, &text);
        if (err == ERR_NONE)
            err = read_text(text, sha256, storage, storage_max, &b);
        if (err == ERR_NONE)
            err = check_successor(held, &b);
    } else {
        err = note_text_unverified(note, &text);
        if (err == ERR_NONE)
            err = read_text(text, sha256, storage, storage_max, &b);
        if (err == ERR_NONE)
            err = note_verify(note, &b.bundle_key, verify, &text);
    }
    if (err == ERR_NONE)
        *ret_bundle = b;
    return err;
}

static void write_key_line(struct writer *w, const char *line_key, const struct note_key *key)
{
    writer_text(w, line_key);
    writer_text(w, " ");
    note_key_write(w, key);
    writer_text(w, "\n");
}

void trust_bundle_write(struct writer *w, const struct trust_bundle *bundle)
{
    if (!fleet_name_ok(slice_of_text(bundle->fleet)))
        writer_fail(w, ERR_SYNTAX);
    if (bundle->ledger_keys_len == 0 || bundle->ledger_keys_len > TRUST_LEDGERS_MAX ||
        bundle->policy_keys_len > TRUST_POLICY_MAX || bundle->server_roots_len == 0 ||
        bundle->server_roots_len > TRUST_ROOTS_MAX)
        writer_fail(w, ERR_LIMIT);
    if (w->err != ERR_NONE)
        return;
    writer_text(w, FIRST_LINE "fleet ");
    writer_text(w, bundle->fleet);
    writer_text(w, "\nversion ");
    writer_decimal(w, bundle->version);
    writer_text(w, "\ntime-floor ");
    calendar_write_rfc3339(w, bundle->time_floor);
    writer_text(w, "\n");
    write_key_line(w, "bundle-key", &bundle->bundle_key);
    for (size_t i = 0; i < bundle->ledger_keys_len; i++)
        write_key_line(w, "ledger-key", &bundle->ledger_keys[i]);
    for (size_t i = 0; i < bundle->policy_keys_len; i++)
        write_key_line(w, "policy-key", &bundle->policy_keys[i]);
    for (size_t i = 0; i < bundle->server_roots_len; i++) {
        writer_text(w, "server-root ");
        base64_write(w, bundle->server_roots[i]);
        writer_text(w, "\n");
    }
}
