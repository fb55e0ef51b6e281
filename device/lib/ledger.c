/* What the hub shows of its ledger, held against what it has shown before. */
#include "core/checkpoint_update.h"
#include "device/lib/internal.h"

static const char *const finding_texts[LEDGER_FINDING_COUNT] = {
    [LEDGER_SOUND] = "",
    [LEDGER_SHRUNK] = "shrunk",
    [LEDGER_FORKED] = "forked",
    [LEDGER_HIDDEN] = "hidden",
};

const char *ledger_finding_text(enum ledger_finding finding)
{
    return finding < LEDGER_FINDING_COUNT ? finding_texts[finding] : "";
}

/* By whichever of the bundle's ledger keys: several hubs have one log and a key each. */
static enum err read_checkpoint(const struct device *d, struct slice note, struct checkpoint *c)
{
    for (size_t i = 0; i < d->bundle.ledger_keys_len; i++) {
        const struct note_key *key = &d->bundle.ledger_keys[i];
        struct slice text;
        enum err err = note_verify(note, key, d->port->ed25519_verify, &text);
        if (err == ERR_NOT_FOUND)
            continue;
        if (err == ERR_NONE)
            err = checkpoint_read(text, c);
        if (err == ERR_NONE && !slice_equal(slice_of_text(c->origin), slice_of_text(key->name)))
            err = ERR_BAD_SIGNATURE;
        return err != ERR_NONE || c->size <= DEVICE_LEDGER_SIZE_MAX ? err : ERR_LIMIT;
    }
    return ERR_NOT_FOUND;
}

/* What the answer says of the tree we know. It counts as evidence once it is signed; what is not is
 * no answer at all. */
static enum err judge(struct device *d, struct checkpoint *c, enum ledger_finding *ret_finding)
{
    /* `decoded` is free once the request is out. */
    _Static_assert(sizeof d->decoded >= UPDATE_PROOF_MAX * sizeof(struct hash), "room for a proof");
    struct hash *proof = (struct hash *)d->decoded;
    const struct ledger_view *known = &d->ledger;
    struct checkpoint_update update;
    enum err err = checkpoint_update_read(http1_response_body(&d->answer), proof, &update);
    if (err == ERR_NONE)
        err = read_checkpoint(d, update.note, c);
    if (err != ERR_NONE)
        return err;
    enum ledger_finding finding = LEDGER_SOUND;
    if (c->size < known->size)
        finding = LEDGER_SHRUNK;
    else if (update.old_size != known->size)
        return ERR_SYNTAX; /* it proves something, but not what was asked */
    else if (known->size == 0)
        finding = LEDGER_SOUND; /* the first one is taken as it is */
    else if (merkle_verify_consistency(d->port->sha256, known->size, &known->root, c->size,
                                       &c->root, update.proof, update.proof_len) != ERR_NONE)
        finding = LEDGER_FORKED;
    *ret_finding = finding;
    return ERR_NONE;
}

void ledger_tell(const struct device *d, int64_t delay_ms)
{
    device_tell(d, &(struct device_event){.kind = DEVICE_EVENT_LEDGER_REFUSED,
                                          .code = ledger_finding_text(d->ledger.finding),
                                          .number = d->ledger.size,
                                          .delay_ms = delay_ms});
}

static void tell_sound(const struct device *d)
{
    device_tell(
        d, &(struct device_event){.kind = DEVICE_EVENT_LEDGER_SOUND, .number = d->ledger.size});
}

static void find(struct device *d, struct ledger_view *next, enum ledger_finding finding)
{
    if (next->finding == LEDGER_SOUND)
        next->found_at = device_certain_time(d);
    if (next->finding != LEDGER_FORKED)
        next->finding = finding;
}

/* A proof from the tree we know: what was missing is there. Two signed histories stay two. */
static void follow(struct ledger_view *next, const struct checkpoint *c, bool grew)
{
    if (next->finding == LEDGER_FORKED)
        return;
    next->size = c->size;
    next->root = c->root;
    if (next->finding == LEDGER_SHRUNK || grew)
        next->finding = LEDGER_SOUND;
    if (next->finding == LEDGER_SOUND)
        next->found_at = 0;
}

static enum err commit(struct device *d, const struct ledger_view *next)
{
    struct ledger_view before = d->ledger;
    d->ledger = *next;
    /* A tree that has grown is kept with whatever is written next, at the latest in an hour: flash
     * wears, and an older checkpoint proves the same. */
    bool at_once = before.finding != next->finding || before.owed != next->owed ||
                   (d->state.ledger.size == 0 && next->size > 0);
    if (!at_once)
        return ERR_NONE;
    struct state same = d->state;
    return device_commit(d, &same);
}

void ledger_owe(struct device *d)
{
    d->ledger.owed = DEVICE_LEDGER_GRACE;
}

enum err ledger_take(struct device *d)
{
    struct ledger_view next = d->ledger;
    struct checkpoint c;
    enum ledger_finding finding = LEDGER_SOUND;
    bool grew = false;
    if (d->status == 200) {
        enum err err = judge(d, &c, &finding);
        if (err != ERR_NONE)
            return ERR_UNSUPPORTED;
        if (finding == LEDGER_SOUND) {
            grew = c.size > next.size;
            follow(&next, &c, grew);
        }
    }
    if (grew)
        next.owed = 0;
    else if (next.owed > 0 && --next.owed == 0 && finding == LEDGER_SOUND)
        finding = LEDGER_HIDDEN;
    if (finding != LEDGER_SOUND)
        find(d, &next, finding);
    bool was_found = d->ledger.finding != LEDGER_SOUND;
    enum err err = commit(d, &next);
    d->misled = d->ledger.finding != LEDGER_SOUND;
    if (was_found && !d->misled)
        tell_sound(d);
    return d->misled ? ERR_CONFLICT : err;
}

void ledger_keep(struct device *d)
{
    if (d->state.sequence == 0 || d->state.ledger.size == d->ledger.size)
        return;
    struct state same = d->state;
    enum err err = device_commit(d, &same);
    if (err != ERR_NONE)
        device_tell(d, &(struct device_event){.kind = DEVICE_EVENT_STORAGE_FAILED, .err = err});
}

bool ledger_forget(struct device *d, int64_t signed_at)
{
    if (d->ledger.finding == LEDGER_SOUND || signed_at < d->ledger.found_at)
        return false;
    d->ledger = (struct ledger_view){.size = 0};
    return true;
}
