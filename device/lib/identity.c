/* Which key and certificate the device is, and how it comes by the next. */
#include "core/base64.h"
#include "core/est.h"
#include "device/lib/internal.h"

#define SPKI_WRITTEN_MAX 128 /* of P-384, the longest we make, is 120 */
#define KEY_WRITTEN_MAX  97  /* a point of P-384 */
#define AUTHORIZATION    "Authorization: Basic "
#define BASIC_MAX        (DEVICE_SERIAL_MAX + 1 + DEVICE_SERIAL_MAX + 1 + DEVICE_CLAIM_MAX)

static enum err spki_hash(const struct port *port, enum key_kind kind, struct slice key,
                          uint8_t hash[SHA256_SIZE])
{
    uint8_t der[SPKI_WRITTEN_MAX];
    struct der_writer w = der_writer_over(der, sizeof der);
    spki_write(&w, kind, key);
    if (w.err != ERR_NONE)
        return w.err;
    struct slice bytes = der_writer_bytes(&w);
    port->sha256(&bytes, 1, hash);
    return ERR_NONE;
}

enum err identity_spki_sha256(const struct port *port, enum port_key key, enum key_kind *ret_kind,
                              uint8_t ret_hash[SHA256_SIZE])
{
    uint8_t bytes[KEY_WRITTEN_MAX];
    size_t len = 0;
    enum key_kind kind = KEY_P256;
    enum err err = port->key_public(port->ctx, key, &kind, bytes, sizeof bytes, &len);
    if (err == ERR_NONE)
        err = spki_hash(port, kind, slice_of(bytes, len), ret_hash);
    if (err == ERR_NONE)
        *ret_kind = kind;
    return err;
}

/* ---- at the start ---- */

enum err identity_load_chain(struct device *d, int slot)
{
    const struct slot_state *s = &d->state.slots[slot];
    uint8_t hash[SHA256_SIZE];
    size_t len = 0;
    enum err err = d->port->record_read(d->port->ctx, issued_record_name(slot), d->chain,
                                        sizeof d->chain, &len);
    if (err == ERR_NOT_FOUND || err == ERR_LIMIT)
        return ERR_CONFLICT;
    if (err != ERR_NONE)
        return err;
    struct slice bytes = slice_of(d->chain, len);
    d->port->sha256(&bytes, 1, hash);
    if (!s->issued || memcmp(hash, s->chain_sha256, sizeof hash) != 0)
        return ERR_CONFLICT;
    d->chain_len = len;
    return ERR_NONE;
}

static enum err check_key(const struct device *d, int slot)
{
    const struct slot_state *s = &d->state.slots[slot];
    enum key_kind kind = KEY_P256;
    uint8_t hash[SHA256_SIZE];
    enum err err = identity_spki_sha256(d->port, (enum port_key)slot, &kind, hash);
    if (err == ERR_NOT_FOUND)
        return ERR_CONFLICT;
    if (err != ERR_NONE)
        return err;
    return kind == s->kind && memcmp(hash, s->spki_sha256, sizeof hash) == 0 ? ERR_NONE
                                                                             : ERR_CONFLICT;
}

static enum err load_certificate(struct device *d, int slot, struct certificate *ret_certificate)
{
    enum err err = identity_load_chain(d, slot);
    if (err != ERR_NONE)
        return err;
    struct reader r = reader_over(slice_of(d->chain, d->chain_len));
    struct slice own = der_read_any(&r, NULL);
    err = r.err == ERR_NONE ? certificate_read(own, ret_certificate) : r.err;
    if (err == ERR_NONE)
        err = issued_check(d, ret_certificate, &d->state.slots[slot]);
    /* That it ran out is no fault of the state. */
    return err == ERR_NONE || err == ERR_EXPIRED ? ERR_NONE : ERR_CONFLICT;
}

enum err identity_load(struct device *d)
{
    struct certificate c;
    int active = state_slot(&d->state, SLOT_ACTIVE);
    if (active >= 0) {
        enum err err = check_key(d, active);
        if (err == ERR_NONE)
            err = load_certificate(d, active, &c);
        if (err != ERR_NONE)
            return err;
        issued_adopt(d, &c, d->state.slots[active].chain_sha256);
    }
    int pending = state_slot(&d->state, SLOT_PENDING);
    if (pending < 0)
        return ERR_NONE;
    /* What is only begun may be begun anew. */
    struct slot_state *s = &d->state.slots[pending];
    enum err err = check_key(d, pending);
    if (err == ERR_CONFLICT) {
        *s = (struct slot_state){.use = SLOT_FREE};
        return ERR_NONE;
    }
    if (err == ERR_NONE && s->issued) {
        err = load_certificate(d, pending, &c);
        if (err == ERR_CONFLICT) {
            s->issued = false; /* the hub answers the same key with the same bytes */
            err = ERR_NONE;
        } else if (err == ERR_NONE) {
            d->pending_not_after = c.not_after;
        }
    }
    return err;
}

/* ---- which one, and when the next ---- */

bool identity_in_date(const struct device *d)
{
    return d->name[0] != '\0' && (device_time(d) < d->not_after || d->in_date_by_hub);
}

/* Is there a certificate that was issued, not used yet, and is in date? */
static bool pending_in_date(const struct device *d, int pending)
{
    return pending >= 0 && d->state.slots[pending].issued && device_time(d) < d->pending_not_after;
}

int identity_slot(const struct device *d)
{
    int pending = state_slot(&d->state, SLOT_PENDING);
    if (pending_in_date(d, pending) && !d->doubt)
        return pending;
    return identity_in_date(d) ? state_slot(&d->state, SLOT_ACTIVE) : -1;
}

bool identity_wants(const struct device *d, int64_t *ret_ms)
{
    int64_t due = d->tasks[TASK_IDENTITY].due_ms;
    int pending = state_slot(&d->state, SLOT_PENDING);
    if (state_slot(&d->state, SLOT_RETIRING) < 0) {
        /* It waits for its first use. Where that was refused, and nothing else would be taken, it
         * is asked for again: the hub gives the same bytes as long as they were not used. */
        if (pending_in_date(d, pending) && (!d->doubt || identity_in_date(d)))
            return false;
        if (pending < 0 && d->name[0] != '\0') {
            int64_t wait = d->renew_at - device_time(d);
            int64_t renewal = device_monotonic(d) + (wait > 0 ? wait * 1000 : 0);
            due = due > renewal ? due : renewal;
        }
    }
    *ret_ms = due;
    return true;
}

/* ---- keys ---- */

static enum err destroy_key(struct device *d, int slot)
{
    enum err err = d->port->key_delete(d->port->ctx, (enum port_key)slot);
    if (err == ERR_NONE)
        err = d->port->record_delete(d->port->ctx, issued_record_name(slot));
    if (err != ERR_NONE)
        return err;
    struct state next = d->state;
    next.slots[slot] = (struct slot_state){.use = SLOT_FREE};
    err = device_commit(d, &next);
    if (err == ERR_NONE)
        device_tell(d, &(struct device_event){.kind = DEVICE_EVENT_KEY_RETIRED});
    return err;
}

/* The first key may be there already: from the factory, or made just before a power cut. */
static bool usable_first_key(const struct device *d, enum key_kind *ret_kind,
                             uint8_t ret_hash[SHA256_SIZE])
{
    enum key_kind kind;
    if (identity_spki_sha256(d->port, PORT_KEY_A, &kind, ret_hash) != ERR_NONE)
        return false;
    *ret_kind = kind;
    return kind == d->options->key_kind || d->options->proof == DEVICE_PROOF_KEY;
}

static enum err make_key(struct device *d)
{
    int active = state_slot(&d->state, SLOT_ACTIVE);
    int slot = active == PORT_KEY_A ? PORT_KEY_B : PORT_KEY_A;
    struct slot_state fresh = {.use = SLOT_PENDING, .kind = d->options->key_kind};
    bool there = active < 0 && usable_first_key(d, &fresh.kind, fresh.spki_sha256);
    if (!there) {
        fresh.kind = d->options->key_kind;
        enum err err = d->port->key_generate(d->port->ctx, (enum port_key)slot, fresh.kind);
        if (err == ERR_NONE)
            err =
                identity_spki_sha256(d->port, (enum port_key)slot, &fresh.kind, fresh.spki_sha256);
        if (err != ERR_NONE)
            return err;
    }
    struct state next = d->state;
    next.slots[slot] = fresh;
    enum err err = device_commit(d, &next);
    if (err == ERR_NONE)
        device_tell(d, &(struct device_event){.kind = DEVICE_EVENT_KEY_MADE,
                                              .hash = d->state.slots[slot].spki_sha256});
    return err;
}

/* ---- certificates ---- */

struct signing {
    const struct port *port;
    enum port_key key;
};

static enum err sign(void *ctx, struct slice message, uint8_t *buffer, size_t max, size_t *ret_len)
{
    const struct signing *s = ctx;
    return s->port->key_sign(s->port->ctx, s->key, message, buffer, max, ret_len);
}

/* The request's body, in base64 at the front of `decoded`; its DER meanwhile behind. */
static enum err write_csr(struct device *d, int slot, struct slice *ret_body)
{
    uint8_t key[KEY_WRITTEN_MAX];
    size_t key_len = 0;
    enum key_kind kind;
    enum err err =
        d->port->key_public(d->port->ctx, (enum port_key)slot, &kind, key, sizeof key, &key_len);
    if (err != ERR_NONE)
        return err;
    size_t half = sizeof d->decoded / 2;
    struct signing signing = {.port = d->port, .key = (enum port_key)slot};
    struct slice der;
    err = csr_write(kind, slice_of(key, key_len), slice_of_text(d->options->serial), sign, &signing,
                    d->decoded + half, half, &der);
    if (err != ERR_NONE)
        return err;
    struct writer w = writer_over(d->decoded, half);
    est_write_request(&w, der);
    if (w.err == ERR_NONE)
        *ret_body = writer_bytes(&w);
    return w.err;
}

/* RFC 7617; RFC 7030 section 3.2.3. */
static enum err write_basic(const struct device *d, struct writer *w)
{
    uint8_t text[BASIC_MAX];
    struct writer credentials = writer_over(text, sizeof text);
    if (d->options->tenant != NULL) {
        writer_text(&credentials, d->options->tenant);
        writer_u8(&credentials, '/');
    }
    writer_text(&credentials, d->options->serial);
    writer_u8(&credentials, ':');
    writer_put(&credentials, d->options->claim);
    if (credentials.err == ERR_NONE) {
        writer_text(w, AUTHORIZATION);
        base64_write(w, writer_bytes(&credentials));
        writer_text(w, "\r\n");
    }
    mem_wipe(text, sizeof text);
    return credentials.err != ERR_NONE ? credentials.err : w->err;
}

/* Who do we say we are, and where? The identity in use goes before all others, as long as it lasts;
 * behind it what the device was born with; at last the identity that ran out, by which a hub that
 * allows for it knows a device that slept too long. */
static enum err choose_proof(struct device *d, struct request *q, struct writer *extra)
{
    const struct device_options *o = d->options;
    int active = state_slot(&d->state, SLOT_ACTIVE);
    *q = (struct request){.endpoint = ENDPOINT_BOOTSTRAP,
                          .client = CLIENT_NONE,
                          .method = "POST",
                          .target = "/.well-known/est/simpleenroll",
                          .content_type = "application/pkcs10"};
    if (identity_in_date(d)) {
        q->endpoint = ENDPOINT_HUB;
        q->client = (enum client)active;
        q->target = "/.well-known/est/simplereenroll";
    } else if (o->proof == DEVICE_PROOF_MANUFACTURER) {
        q->client = CLIENT_MANUFACTURER;
    } else if (o->proof == DEVICE_PROOF_CLAIM && o->claim.len > 0) {
        enum err err = write_basic(d, extra);
        if (err != ERR_NONE)
            return err;
    } else if (active >= 0) {
        q->client = (enum client)active;
        q->target = "/.well-known/est/simplereenroll";
    } else if (o->proof == DEVICE_PROOF_CLAIM) {
        return ERR_NOT_FOUND;
    }
    q->extra = writer_bytes(extra);
    return ERR_NONE;
}

static enum err retire_pending(struct device *d, int pending)
{
    struct state next = d->state;
    next.slots[pending].use = SLOT_RETIRING;
    enum err err = device_commit(d, &next);
    if (err == ERR_NONE)
        d->doubt = false;
    return err;
}

/* Whoever comes back with an identity that ran out brings a key that the hub has never seen. This
 * one it has: the answer to a renewal was lost before the long sleep. The next attempt makes
 * another; where that does not help either, the device is as good as refused. */
static enum err give_up_key(struct device *d, int pending)
{
    enum err err = retire_pending(d, pending);
    if (err != ERR_NONE)
        return err;
    bool first_time = !d->refused_new;
    d->refused_new = true;
    return first_time ? ERR_CONFLICT : ERR_REFUSED;
}

/* A clock that is ahead takes an identity for over that is not. The hub has proven who it is, and
 * knows better; where its other door does not open after all, our own clock counts again. */
static enum err believe_hub(struct device *d, enum err err)
{
    bool told = err == ERR_REFUSED && !identity_in_date(d) &&
                slice_equal(slice_of_text(d->code), SLICE_LITERAL("certificate-in-date"));
    d->in_date_by_hub = told || (d->in_date_by_hub && err != ERR_REFUSED);
    return told ? ERR_CONFLICT : err;
}

static bool key_was_seen(const struct device *d)
{
    return d->status == 409 && state_slot(&d->state, SLOT_ACTIVE) >= 0 && !identity_in_date(d) &&
           slice_equal(slice_of_text(d->code), SLICE_LITERAL("key-not-fresh"));
}

static enum err request_certificate(struct device *d, int slot)
{
    uint8_t extra[sizeof AUTHORIZATION + BASE64_SIZE(BASIC_MAX) + 2];
    struct writer w = writer_over(extra, sizeof extra);
    struct request q;
    enum err err = choose_proof(d, &q, &w);
    if (err == ERR_NONE)
        err = write_csr(d, slot, &q.body);
    if (err == ERR_NONE)
        err = exchange(d, &q);
    mem_wipe(extra, sizeof extra);
    if (err != ERR_NONE)
        return believe_hub(d, err);
    err = believe_hub(d, exchange_outcome(d, 200));
    if (key_was_seen(d))
        return give_up_key(d, slot);
    /* Whoever has no way in but an identity that ran out is as good as refused where the hub will
     * not hear of it. */
    if (err == ERR_UNSUPPORTED && d->status < 500 && d->name[0] != '\0' && !identity_in_date(d))
        err = ERR_REFUSED;
    return err == ERR_NONE ? issued_take(d, slot) : err;
}

enum err identity_step(struct device *d)
{
    int retiring = state_slot(&d->state, SLOT_RETIRING);
    if (retiring >= 0)
        return destroy_key(d, retiring);
    int pending = state_slot(&d->state, SLOT_PENDING);
    if (pending < 0)
        return make_key(d);
    /* It slept past the end of both: the hub has seen this key, too. */
    bool both_over = d->state.slots[pending].issued && !pending_in_date(d, pending) &&
                     state_slot(&d->state, SLOT_ACTIVE) >= 0 && !identity_in_date(d);
    return both_over ? retire_pending(d, pending) : request_certificate(d, pending);
}

/* The hub takes the old certificate and would not take the new one: it has forgotten it (it may
 * have been set back to a backup), and so do we. */
static enum err forget_pending(struct device *d)
{
    enum err err = retire_pending(d, state_slot(&d->state, SLOT_PENDING));
    if (err == ERR_NONE)
        d->tasks[TASK_IDENTITY].due_ms = device_monotonic(d) + d->retry_max * 1000;
    return err;
}

enum err identity_accepted(struct device *d, int slot)
{
    if (d->state.slots[slot].use != SLOT_PENDING) {
        enum err err = d->doubt ? forget_pending(d) : ERR_NONE;
        if (err == ERR_NONE)
            d->doubt = false;
        return err;
    }
    struct certificate c;
    enum err err = load_certificate(d, slot, &c);
    if (err != ERR_NONE)
        return err;
    struct state next = d->state;
    int old = state_slot(&next, SLOT_ACTIVE);
    exchange_raise_time(d, c.not_before);
    next.slots[slot].use = SLOT_ACTIVE;
    if (old >= 0)
        next.slots[old].use = SLOT_RETIRING;
    err = device_commit(d, &next);
    if (err != ERR_NONE)
        return err;
    issued_adopt(d, &c, d->state.slots[slot].chain_sha256);
    d->doubt = d->refused_new = false;
    device_due_now(d, TASK_IDENTITY);
    device_tell(
        d, &(struct device_event){.kind = old < 0 ? DEVICE_EVENT_ENROLLED : DEVICE_EVENT_CONFIRMED,
                                  .name = d->name,
                                  .time = d->not_after});
    return ERR_NONE;
}

enum err device_first_key(const struct port *port, enum key_kind kind,
                          uint8_t ret_spki_sha256[SHA256_SIZE])
{
    struct state s;
    enum err err = state_load(port, &s);
    if (err != ERR_NONE && err != ERR_NOT_FOUND)
        return err;
    if (err == ERR_NONE && state_slot(&s, SLOT_ACTIVE) >= 0)
        return ERR_EXISTS;
    enum key_kind found;
    err = identity_spki_sha256(port, PORT_KEY_A, &found, ret_spki_sha256);
    if (err != ERR_NOT_FOUND)
        return err;
    err = port->key_generate(port->ctx, PORT_KEY_A, kind);
    return err == ERR_NONE ? identity_spki_sha256(port, PORT_KEY_A, &found, ret_spki_sha256) : err;
}
