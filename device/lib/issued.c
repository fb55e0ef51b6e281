/* The hub's answer to a certificate request: is it ours, whole, and durable? */
#include "core/est.h"
#include "device/lib/internal.h"

#define JITTER_PARTS 1000 /* the jitter's grain */

const char *issued_record_name(int slot)
{
    return slot == PORT_KEY_A ? "certificate-a" : "certificate-b";
}

/* spiffe://FLEET/TENANT/device/SERIAL, of our fleet and tenant and with our serial number. */
static bool is_our_name(const struct device *d, struct slice uri)
{
    struct reader r = reader_over(uri);
    reader_expect(&r, SLICE_LITERAL("spiffe://"));
    struct slice fleet = reader_until(&r, '/');
    struct slice tenant = reader_until(&r, '/');
    reader_expect(&r, SLICE_LITERAL("device/"));
    struct slice serial = reader_rest(&r);
    const char *own = d->options->tenant;
    return reader_finish(&r) == ERR_NONE && tenant.len > 0 &&
           (own == NULL || slice_equal(tenant, slice_of_text(own))) &&
           slice_equal(fleet, slice_of_text(d->bundle.fleet)) &&
           slice_equal(serial, slice_of_text(d->options->serial));
}

enum err issued_check(const struct device *d, const struct certificate *c,
                      const struct slot_state *slot)
{
    uint8_t hash[SHA256_SIZE];
    d->port->sha256(&c->spki.der, 1, hash);
    if (memcmp(hash, slot->spki_sha256, sizeof hash) != 0)
        return ERR_CONFLICT;
    if (c->uri.len > DEVICE_NAME_MAX || !is_our_name(d, c->uri))
        return ERR_CONFLICT;
    if (d->name[0] != '\0' && !slice_equal(c->uri, slice_of_text(d->name)))
        return ERR_CONFLICT;
    if (c->not_after <= c->not_before)
        return ERR_SYNTAX;
    return c->not_after <= device_time(d) ? ERR_EXPIRED : ERR_NONE;
}

/* At two thirds of its life, a tenth of that sooner or later. The certificate's own hash is the
 * dice: it differs between devices, and stays the same however often this one starts. */
static int64_t renewal_time(const struct certificate *c, const uint8_t sha256[SHA256_SIZE])
{
    int64_t wait = (c->not_after - c->not_before) / 3 * 2;
    int64_t dice = (int64_t)(sha256[0] << 8 | sha256[1]) % (2 * JITTER_PARTS + 1) - JITTER_PARTS;
    return c->not_before + wait + wait / 10 * dice / JITTER_PARTS;
}

void issued_adopt(struct device *d, const struct certificate *c, const uint8_t sha256[SHA256_SIZE])
{
    memcpy(d->name, c->uri.data, c->uri.len);
    d->name[c->uri.len] = '\0';
    d->not_before = c->not_before;
    d->not_after = c->not_after;
    d->in_date_by_hub = false;
    d->renew_at = renewal_time(c, sha256);
}

/* ---- the chain: our certificate, its issuer, and so on, without the root ---- */

struct chain {
    struct writer w;     /* over d->chain */
    struct slice issuer; /* of the last one put in; it stands in the writer's buffer */
    /* What was found of its issuer's own name above it; where those certificates were read. */
    struct slice self_issued;
};

/* False where it does not fit. */
static bool chain_put(struct chain *chain, const struct certificate *c)
{
    const uint8_t *at = chain->w.start + chain->w.len;
    struct slice issuer = slice_of(at + (c->issuer.data - c->der.data), c->issuer.len);
    writer_put(&chain->w, c->der);
    if (chain->w.err != ERR_NONE)
        return false;
    chain->issuer = issuer;
    return true;
}

/* Goes up as far as these certificates lead, and says whether they lead anywhere. They are only
 * passed on to the server, which checks them itself: so it is enough to go by names. */
static bool chain_climb(struct chain *chain, const struct slice *certificates, size_t n)
{
    bool climbed = false;
    for (size_t steps = 0; steps < n; steps++) {
        struct certificate c = {.der = {NULL, 0}};
        size_t i = 0;
        while (i < n && !(certificate_read(certificates[i], &c) == ERR_NONE &&
                          slice_equal(c.subject, chain->issuer)))
            i++;
        if (i == n)
            return climbed;
        climbed = true;
        if (slice_equal(c.subject, c.issuer)) {
            chain->self_issued = c.der;
            return true;
        }
        if (!chain_put(chain, &c))
            return true;
    }
    return climbed;
}

static bool is_root_of_bundle(const struct device *d, struct slice issuer)
{
    for (size_t i = 0; i < d->bundle.server_roots_len; i++) {
        struct certificate c;
        if (certificate_read(d->bundle.server_roots[i], &c) == ERR_NONE &&
            slice_equal(c.subject, issuer))
            return true;
    }
    return false;
}

/* As a rule the issuer is the same as last time. The answer in `message` has been decoded. */
static bool chain_reuse(struct device *d, struct chain *chain)
{
    struct slice certificates[EST_CERTIFICATES_MAX];
    size_t n = 0, len = 0;
    int active = state_slot(&d->state, SLOT_ACTIVE);
    if (active < 0 || d->port->record_read(d->port->ctx, issued_record_name(active), d->message,
                                           sizeof d->message, &len) != ERR_NONE)
        return false;
    struct reader r = reader_over(slice_of(d->message, len));
    while (reader_left(&r) > 0 && n < EST_CERTIFICATES_MAX)
        certificates[n++] = der_read_any(&r, NULL);
    return r.err == ERR_NONE && chain_climb(chain, certificates, n);
}

/* RFC 7030 section 4.2.3 lets the answer be our certificate alone; what lies between it and the
 * root is told by /cacerts. Anyone may ask for that, so the chain in the making is not disturbed by
 * loading another for the connection. */
static enum err chain_fetch(struct device *d, struct chain *chain)
{
    const struct request q = {.endpoint = ENDPOINT_BOOTSTRAP,
                              .client = CLIENT_NONE,
                              .method = "GET",
                              .target = "/.well-known/est/cacerts"};
    struct slice certificates[EST_CERTIFICATES_MAX];
    size_t n = 0;
    enum err err = exchange(d, &q);
    if (err == ERR_NONE)
        err = exchange_outcome(d, 200);
    if (err == ERR_NONE)
        err = est_read_certificates(http1_response_body(&d->answer), d->decoded, sizeof d->decoded,
                                    certificates, &n);
    if (err == ERR_NONE)
        (void)chain_climb(chain, certificates, n);
    d->retry_after = 0;
    d->waiting = false;
    return err == ERR_REFUSED ? ERR_UNSUPPORTED : err; /* it was not about us */
}

static enum err chain_verify(struct device *d, const struct chain *chain)
{
    return d->port->chain_verify(d->port->ctx, slice_of(d->chain, chain->w.len),
                                 d->bundle.server_roots, d->bundle.server_roots_len);
}

/* A root is not passed on. But the one we were told of may be a new one that the root we know has
 * signed (RFC 4210 section 4.4, NewWithOld), and then it belongs to the chain. */
static enum err chain_check(struct device *d, struct chain *chain)
{
    struct certificate c;
    enum err err = chain_verify(d, chain);
    if (err != ERR_BAD_SIGNATURE || certificate_read(chain->self_issued, &c) != ERR_NONE ||
        !chain_put(chain, &c))
        return err;
    return chain_verify(d, chain);
}

/* Goes on from our certificate, which is there, and says whether all of it leads to a root. An
 * issuer that was known by name may have a new key by now: so the hub is asked then, too. */
static enum err chain_complete(struct device *d, struct chain *chain,
                               const struct slice *certificates, size_t n)
{
    const struct chain own = *chain;
    if (chain_climb(chain, certificates, n) || is_root_of_bundle(d, chain->issuer))
        return chain_check(d, chain);
    if (chain_reuse(d, chain) && chain_check(d, chain) == ERR_NONE)
        return ERR_NONE;
    *chain = own;
    enum err err = chain_fetch(d, chain);
    return err == ERR_NONE ? chain_check(d, chain) : err;
}

/* ---- taking it ---- */

static enum err find_ours(struct device *d, int slot, const struct slice *certificates, size_t n,
                          struct certificate *ret_certificate)
{
    enum err err = ERR_NOT_FOUND;
    for (size_t i = 0; i < n; i++) {
        struct certificate c;
        uint8_t hash[SHA256_SIZE];
        enum err read = certificate_read(certificates[i], &c);
        if (read != ERR_NONE) {
            err = read;
            continue;
        }
        d->port->sha256(&c.spki.der, 1, hash);
        if (memcmp(hash, d->state.slots[slot].spki_sha256, sizeof hash) != 0)
            continue;
        *ret_certificate = c;
        return ERR_NONE;
    }
    return err == ERR_NOT_FOUND ? ERR_CONFLICT : err;
}

static enum err commit_chain(struct device *d, int slot)
{
    struct slice bytes = slice_of(d->chain, d->chain_len);
    struct state next = d->state;
    struct slot_state *s = &next.slots[slot];
    s->issued = true;
    d->port->sha256(&bytes, 1, s->chain_sha256);
    enum err err = d->port->record_replace(d->port->ctx, issued_record_name(slot), bytes);
    return err == ERR_NONE ? device_commit(d, &next) : err;
}

static void tell_renewed(const struct device *d, const struct certificate *c)
{
    char name[DEVICE_NAME_MAX + 1];
    memcpy(name, c->uri.data, c->uri.len);
    name[c->uri.len] = '\0';
    device_tell(d, &(struct device_event){
                       .kind = DEVICE_EVENT_RENEWED, .name = name, .time = c->not_after});
}

static enum err reject(const struct device *d, enum err err)
{
    device_tell(d, &(struct device_event){.kind = DEVICE_EVENT_CERTIFICATE_REJECTED, .err = err});
    return err;
}

enum err issued_take(struct device *d, int slot)
{
    struct slice certificates[EST_CERTIFICATES_MAX];
    struct certificate ours;
    size_t n = 0;
    enum err err = est_read_certificates(http1_response_body(&d->answer), d->decoded,
                                         sizeof d->decoded, certificates, &n);
    if (err == ERR_NONE)
        err = find_ours(d, slot, certificates, n, &ours);
    if (err == ERR_NONE)
        err = issued_check(d, &ours, &d->state.slots[slot]);
    /* The server is in date, so its certificate's end is yet to come: see timeline.h. */
    if (err == ERR_NONE && ours.not_before > d->server.not_after)
        err = ERR_CONFLICT;
    if (err != ERR_NONE)
        return reject(d, err);

    struct chain chain = {.w = writer_over(d->chain, sizeof d->chain)};
    if (!chain_put(&chain, &ours))
        return ERR_LIMIT;
    err = chain_complete(d, &chain, certificates, n);
    if (err == ERR_BAD_SIGNATURE)
        return reject(d, err);
    if (err != ERR_NONE)
        return err;
    d->chain_len = chain.w.len;

    /* `decoded` was used again: from now on ours is what stands in the chain. */
    struct reader r = reader_over(slice_of(d->chain, d->chain_len));
    err = certificate_read(der_read_any(&r, NULL), &ours);
    ledger_owe(d);
    if (err == ERR_NONE)
        err = commit_chain(d, slot);
    if (err != ERR_NONE)
        return err;
    d->pending_not_after = ours.not_after;
    d->doubt = false;
    if (state_slot(&d->state, SLOT_ACTIVE) >= 0)
        tell_renewed(d, &ours);
    device_due_now(d, TASK_CHECKIN);
    return ERR_NONE;
}
