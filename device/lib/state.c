#include "device/lib/state.h"

#define MAGIC        SLICE_LITERAL("HFDS")
#define VERSION      2
#define VERSION_AT   4
#define CHECKSUM_LEN SHA256_SIZE

static const char *const copy_names[STATE_COPIES] = {"state-0", "state-1"};

static void write_slot(struct writer *w, const struct slot_state *s)
{
    writer_u8(w, (uint8_t)s->use);
    writer_u8(w, (uint8_t)s->kind);
    writer_u8(w, s->issued);
    writer_put(w, slice_of(s->spki_sha256, sizeof s->spki_sha256));
    writer_put(w, slice_of(s->chain_sha256, sizeof s->chain_sha256));
}

static void write_ledger(struct writer *w, const struct ledger_view *v)
{
    writer_be64(w, v->size);
    writer_put(w, slice_of(v->root.bytes, sizeof v->root.bytes));
    writer_u8(w, (uint8_t)v->finding);
    writer_be64(w, (uint64_t)v->found_at);
    writer_u8(w, (uint8_t)v->owed);
}

void state_write(struct writer *w, const struct state *s, sha256_fn *sha256)
{
    size_t start = w->len;
    writer_put(w, MAGIC);
    writer_u8(w, VERSION);
    writer_be64(w, s->sequence);
    writer_be64(w, (uint64_t)s->time);
    for (size_t i = 0; i < STATE_SLOTS; i++)
        write_slot(w, &s->slots[i]);
    writer_u8(w, (uint8_t)(s->has_bundle ? 1 + s->bundle_copy : 0));
    writer_be64(w, s->bundle_version);
    writer_put(w, slice_of(s->bundle_sha256, sizeof s->bundle_sha256));
    writer_u8(w, s->reported);
    writer_put(w, slice_of(s->report_sha256, sizeof s->report_sha256));
    write_ledger(w, &s->ledger);
    if (w->err != ERR_NONE)
        return;
    uint8_t checksum[CHECKSUM_LEN];
    struct slice body = slice_of(w->start + start, w->len - start);
    sha256(&body, 1, checksum);
    writer_put(w, slice_of(checksum, sizeof checksum));
}

static bool read_bool(struct reader *r)
{
    uint8_t v = reader_u8(r);
    if (v > 1)
        reader_fail(r, ERR_SYNTAX);
    return v == 1;
}

static void read_hash(struct reader *r, uint8_t hash[SHA256_SIZE])
{
    struct slice bytes = reader_take(r, SHA256_SIZE);
    if (r->err == ERR_NONE)
        memcpy(hash, bytes.data, SHA256_SIZE);
}

static void read_slot(struct reader *r, struct slot_state *s)
{
    uint8_t use = reader_u8(r);
    uint8_t kind = reader_u8(r);
    if (use >= SLOT_USE_COUNT || kind >= KEY_KIND_COUNT || kind == KEY_RSA)
        reader_fail(r, ERR_SYNTAX);
    s->use = (enum slot_use)use;
    s->kind = (enum key_kind)kind;
    s->issued = read_bool(r);
    read_hash(r, s->spki_sha256);
    read_hash(r, s->chain_sha256);
}

static void read_ledger(struct reader *r, struct ledger_view *v)
{
    v->size = reader_be64(r);
    read_hash(r, v->root.bytes);
    uint8_t finding = reader_u8(r);
    v->found_at = (int64_t)reader_be64(r);
    v->owed = reader_u8(r);
    if (v->size > DEVICE_LEDGER_SIZE_MAX || finding >= LEDGER_FINDING_COUNT || v->found_at < 0 ||
        v->owed > DEVICE_LEDGER_GRACE)
        reader_fail(r, ERR_SYNTAX);
    v->finding = (enum ledger_finding)finding;
}

int state_slot(const struct state *s, enum slot_use use)
{
    for (int i = 0; i < STATE_SLOTS; i++)
        if (s->slots[i].use == use)
            return i;
    return -1;
}

/* Each use once at most; what is in use was issued; what retires was replaced. */
static bool is_consistent(const struct state *s)
{
    const struct slot_state *a = &s->slots[0];
    const struct slot_state *b = &s->slots[1];
    int active = state_slot(s, SLOT_ACTIVE);
    if (a->use == b->use && a->use != SLOT_FREE)
        return false;
    if (active >= 0 && !s->slots[active].issued)
        return false;
    if (state_slot(s, SLOT_RETIRING) >= 0 && active < 0)
        return false;
    return s->time >= 0 && s->sequence > 0;
}

enum err state_read(struct slice bytes, sha256_fn *sha256, struct state *ret_state)
{
    if (bytes.len <= VERSION_AT + CHECKSUM_LEN || !slice_starts_with(bytes, MAGIC))
        return ERR_SYNTAX;
    struct slice body = slice_of(bytes.data, bytes.len - CHECKSUM_LEN);
    uint8_t checksum[CHECKSUM_LEN];
    sha256(&body, 1, checksum);
    if (memcmp(checksum, body.data + body.len, CHECKSUM_LEN) != 0)
        return ERR_SYNTAX;
    if (body.data[VERSION_AT] != VERSION)
        return ERR_UNSUPPORTED;

    struct reader r = reader_over(slice_of(body.data + VERSION_AT + 1, body.len - VERSION_AT - 1));
    struct state s = {.sequence = reader_be64(&r)};
    s.time = (int64_t)reader_be64(&r);
    for (size_t i = 0; i < STATE_SLOTS; i++)
        read_slot(&r, &s.slots[i]);
    uint8_t bundle = reader_u8(&r);
    if (bundle > STATE_COPIES)
        reader_fail(&r, ERR_SYNTAX);
    s.has_bundle = bundle > 0;
    s.bundle_copy = bundle > 0 ? bundle - 1u : 0;
    s.bundle_version = reader_be64(&r);
    read_hash(&r, s.bundle_sha256);
    s.reported = read_bool(&r);
    read_hash(&r, s.report_sha256);
    read_ledger(&r, &s.ledger);
    enum err err = reader_finish(&r);
    if (err == ERR_NONE && !is_consistent(&s))
        err = ERR_SYNTAX;
    if (err == ERR_NONE)
        *ret_state = s;
    return err;
}

enum err state_load(const struct port *port, struct state *ret_state)
{
    struct state newest = {.sequence = 0};
    size_t damaged = 0;
    for (size_t i = 0; i < STATE_COPIES; i++) {
        uint8_t bytes[STATE_SIZE + 1];
        size_t len = 0;
        struct state s;
        enum err err = port->record_read(port->ctx, copy_names[i], bytes, sizeof bytes, &len);
        if (err == ERR_NOT_FOUND)
            continue;
        if (err == ERR_NONE)
            err = state_read(slice_of(bytes, len), port->sha256, &s);
        if (err == ERR_SYNTAX || err == ERR_LIMIT)
            damaged++;
        else if (err != ERR_NONE)
            return err;
        else if (s.sequence > newest.sequence)
            newest = s;
    }
    if (newest.sequence == 0)
        return damaged == STATE_COPIES ? ERR_SYNTAX : ERR_NOT_FOUND;
    *ret_state = newest;
    return ERR_NONE;
}

enum err state_commit(const struct port *port, struct state *current, const struct state *next)
{
    struct state s = *next;
    s.sequence = current->sequence + 1;
    uint8_t bytes[STATE_SIZE];
    struct writer w = writer_over(bytes, sizeof bytes);
    state_write(&w, &s, port->sha256);
    if (w.err != ERR_NONE)
        return ERR_INTERNAL;
    /* A write that failed and yet went through is written over, never stood beside: the number and
     * so the place stay the same until the port says that it is done. */
    enum err err =
        port->record_replace(port->ctx, copy_names[s.sequence % STATE_COPIES], writer_bytes(&w));
    if (err == ERR_NONE)
        *current = s;
    return err;
}
