/* The trust bundle: the one the device was born with, and those that follow. */
#include "device/lib/internal.h"

static const char *const copy_names[STATE_COPIES] = {"bundle-0", "bundle-1"};

static enum err read_bundle(struct device *d, struct slice note, const struct trust_bundle *held,
                            uint8_t *storage, size_t max, struct trust_bundle *ret_bundle)
{
    return trust_bundle_read(note, held, d->port->sha256, d->port->ed25519_verify, storage, max,
                             ret_bundle);
}

/* Makes it durable beside the one in force and commits. The note is not in `decoded`. */
static enum err keep(struct device *d, struct slice note, const struct trust_bundle *bundle)
{
    struct state next = d->state;
    next.bundle_copy = d->state.has_bundle ? 1 - d->state.bundle_copy : 0;
    next.has_bundle = true;
    next.bundle_version = bundle->version;
    d->port->sha256(&note, 1, next.bundle_sha256);
    enum err err = d->port->record_replace(d->port->ctx, copy_names[next.bundle_copy], note);
    return err == ERR_NONE ? device_commit(d, &next) : err;
}

/* A bundle that we could not start with must not be followed: the next start would find no trust at
 * all. So it is signed by its own key, too. */
static enum err check_successor(struct device *d, struct slice note)
{
    struct trust_bundle bundle;
    enum err err = read_bundle(d, note, &d->bundle, d->decoded, sizeof d->decoded, &bundle);
    return err == ERR_NONE ? read_bundle(d, note, NULL, d->decoded, sizeof d->decoded, &bundle)
                           : err;
}

static enum err load_stored(struct device *d)
{
    uint8_t hash[SHA256_SIZE];
    size_t len = 0;
    enum err err = d->port->record_read(d->port->ctx, copy_names[d->state.bundle_copy], d->message,
                                        sizeof d->message, &len);
    if (err == ERR_NOT_FOUND || err == ERR_LIMIT)
        return ERR_CONFLICT;
    if (err != ERR_NONE)
        return err;
    struct slice note = slice_of(d->message, len);
    d->port->sha256(&note, 1, hash);
    if (memcmp(hash, d->state.bundle_sha256, sizeof hash) != 0)
        return ERR_CONFLICT;
    err = read_bundle(d, note, NULL, d->roots, sizeof d->roots, &d->bundle);
    return err == ERR_NONE && d->bundle.version != d->state.bundle_version ? ERR_CONFLICT : err;
}

static enum err load_first(struct device *d, struct slice born)
{
    enum err err = read_bundle(d, born, NULL, d->roots, sizeof d->roots, &d->bundle);
    if (err != ERR_NONE)
        return err;
    if (d->bundle.version < d->state.bundle_version)
        return ERR_CONFLICT;
    err = keep(d, born, &d->bundle);
    if (err != ERR_NONE) /* it is still there when we start again */
        device_tell(d, &(struct device_event){.kind = DEVICE_EVENT_STORAGE_FAILED, .err = err});
    return ERR_NONE;
}

/* A newer one may come with new software as well as from the hub, and by the same rules. */
static enum err replace_by(struct device *d, struct slice note)
{
    enum err err = check_successor(d, note);
    if (err == ERR_NONE) {
        struct trust_bundle bundle;
        struct ledger_view seen = d->ledger;
        bool forgot = false;
        err = read_bundle(d, note, NULL, d->decoded, sizeof d->decoded, &bundle);
        if (err == ERR_NONE) {
            forgot = ledger_forget(d, bundle.time_floor);
            err = keep(d, note, &bundle);
        }
        if (err != ERR_NONE) {
            d->ledger = seen;
            return err;
        }
        exchange_close(d);
        err = read_bundle(d, note, NULL, d->roots, sizeof d->roots, &d->bundle);
        timeline_raise(&d->timeline, d->bundle.time_floor, device_monotonic(d));
        device_tell(d, &(struct device_event){.kind = DEVICE_EVENT_BUNDLE_FOLLOWED,
                                              .number = d->bundle.version});
        if (forgot) {
            device_tell(d, &(struct device_event){.kind = DEVICE_EVENT_LEDGER_SOUND});
            device_due_now(d, TASK_CHECKIN);
        }
        return err;
    }
    return err;
}

static void tell_rejected(struct device *d, enum err err)
{
    device_tell(d, &(struct device_event){.kind = DEVICE_EVENT_BUNDLE_REJECTED, .err = err});
}

enum err bundle_load(struct device *d)
{
    struct slice born = d->options->trust_bundle;
    if (!d->state.has_bundle) {
        enum err err = load_first(d, born);
        if (err == ERR_NONE)
            timeline_raise(&d->timeline, d->bundle.time_floor, device_monotonic(d));
        return err;
    }
    enum err err = load_stored(d);
    if (err != ERR_NONE)
        return err;
    timeline_raise(&d->timeline, d->bundle.time_floor, device_monotonic(d));
    if (born.len == 0)
        return ERR_NONE;
    /* The one it was born with is an old one as a rule, and that is no fault. */
    err = replace_by(d, born);
    if (err != ERR_NONE && err != ERR_CONFLICT)
        tell_rejected(d, err);
    return ERR_NONE;
}

enum err bundle_fetch(struct device *d)
{
    int slot = identity_slot(d);
    if (slot < 0)
        return ERR_EXPIRED;
    const struct request q = {.endpoint = ENDPOINT_HUB,
                              .client = (enum client)slot,
                              .method = "GET",
                              .target = "/v1/device/trust-bundle"};
    enum err err = exchange(d, &q);
    if (err == ERR_NONE)
        err = exchange_outcome(d, 200);
    if (err != ERR_NONE)
        return err;
    err = replace_by(d, http1_response_body(&d->answer));
    if (err == ERR_NONE || err == ERR_DISK_FULL || err == ERR_IO)
        return err;
    tell_rejected(d, err);
    return ERR_UNSUPPORTED; /* refused by us, which is not the same as ERR_REFUSED */
}
