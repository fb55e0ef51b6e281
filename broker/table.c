#include "broker/table.h"

#include <stdlib.h>
#include <sys/random.h>

#include "broker/index.h"

#define CHUNK_BITS 15
#define CHUNK_LEN  (1U << CHUNK_BITS)
#define TEXT_CHUNK ((size_t)1 << 20)
#define NAMES_MAX  8192       /* tenants, models and groups together */
#define MORE_MAX   (1U << 20) /* second certificates, and passwords: each a device's exception */
#define FIRST_BITS 10

/* What a decision asks for stands first: a million entries are in no cache, so what counts is how
 * many of a processor's cache lines are looked at. */
struct entry {
    union {
        uint8_t here[16];    /* a name as long as most are */
        const uint8_t *text; /* a longer one */
    } name;
    uint16_t tenant, model, group;
    uint8_t name_len, state, certificates;
    uint8_t notes;                     /* mask of enum table_note */
    bool known : 1, cut : 1, anew : 1; /* anew: taken since table_begin_anew() */
    uint8_t seen : 2;                  /* bit for each certificate */
    uint32_t more;                     /* 1 + place in t->more; 0: none */
};
_Static_assert(sizeof(struct entry) == 32, "two in a line, and none in two");

struct chunk {
    struct entry entries[CHUNK_LEN];
    struct device_certificate certificates[CHUNK_LEN]; /* the first one of each */
};

/* What few devices have. */
struct more {
    struct device_certificate second;
    struct device_password password, previous;
    bool password_seen;
    uint32_t next_free;
};

struct table {
    uint64_t seed;
    uint32_t max, len, known;
    struct chunk **chunks;
    uint8_t *text; /* of the names: the chunk in use */
    size_t text_left;
    void **texts; /* all of them */
    uint32_t texts_len, texts_max;
    struct slice names[NAMES_MAX];
    uint32_t names_len;
    uint16_t name_slots[2 * NAMES_MAX]; /* found by hash: number plus one */
    struct more *more;
    uint32_t more_len, more_room, more_free;
    struct index by_name, by_certificate;
    struct index next_by_name, next_by_certificate; /* prepared, not in use yet */
};

static struct entry *entry_at(const struct table *t, uint32_t device)
{
    return &t->chunks[device >> CHUNK_BITS]->entries[device & (CHUNK_LEN - 1)];
}

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * UINT64_C(0x9e3779b97f4a7c15);
    return h ^ h >> 29;
}

static uint64_t hash_bytes(uint64_t h, struct slice s)
{
    size_t at = 0;
    for (; at + 8 <= s.len; at += 8) {
        uint64_t v;
        memcpy(&v, s.data + at, 8);
        h = mix(h, v);
    }
    uint64_t rest = s.len;
    for (; at < s.len; at++)
        rest = rest << 8 | s.data[at];
    return mix(h, rest);
}

static uint64_t name_hash(const struct table *t, struct slice tenant, struct slice name)
{
    return hash_bytes(hash_bytes(t->seed, tenant), name);
}

static uint64_t certificate_hash(const struct table *t, const uint8_t sha256[SHA256_SIZE])
{
    return hash_bytes(t->seed, slice_of(sha256, 16));
}

static struct slice entry_name(const struct entry *e)
{
    bool is_here = e->name_len <= sizeof e->name.here;
    return slice_of(is_here ? e->name.here : e->name.text, e->name_len);
}

static struct device_certificate *certificate_at(const struct table *t, uint32_t device, unsigned i)
{
    return i == 0 ? &t->chunks[device >> CHUNK_BITS]->certificates[device & (CHUNK_LEN - 1)]
                  : &t->more[entry_at(t, device)->more - 1].second;
}

enum err table_new(uint32_t devices_max, struct table **ret_table)
{
    struct table *t = calloc(1, sizeof *t);
    if (t == NULL)
        return ERR_NO_MEMORY;
    t->max = devices_max < BROKER_DEVICES_MAX ? devices_max : BROKER_DEVICES_MAX;
    t->chunks = calloc((t->max >> CHUNK_BITS) + 1, sizeof *t->chunks);
    if (getrandom(&t->seed, sizeof t->seed, 0) != (ssize_t)sizeof t->seed || t->chunks == NULL ||
        !index_new(&t->by_name, 1U << FIRST_BITS) ||
        !index_new(&t->by_certificate, 1U << FIRST_BITS)) {
        table_free(t);
        return ERR_NO_MEMORY;
    }
    *ret_table = t;
    return ERR_NONE;
}

void table_free(struct table *t)
{
    if (t == NULL)
        return;
    for (uint32_t i = 0; t->chunks != NULL && i <= t->max >> CHUNK_BITS; i++)
        free(t->chunks[i]);
    for (uint32_t i = 0; i < t->texts_len; i++)
        free(t->texts[i]);
    free(t->chunks);
    free(t->texts);
    free(t->more);
    free(t->by_name.slots);
    free(t->by_certificate.slots);
    free(t->next_by_name.slots);
    free(t->next_by_certificate.slots);
    free(t);
}

/* ---- names ---- */

static const uint8_t *keep_text(struct table *t, struct slice text)
{
    if (t->text_left < text.len) {
        if (t->texts_len == t->texts_max) {
            uint32_t max = t->texts_max == 0 ? 64 : t->texts_max * 2;
            void **texts = reallocarray(t->texts, max, sizeof *texts);
            if (texts == NULL)
                return NULL;
            t->texts = texts;
            t->texts_max = max;
        }
        uint8_t *chunk = malloc(TEXT_CHUNK);
        if (chunk == NULL)
            return NULL;
        t->texts[t->texts_len++] = chunk;
        t->text = chunk;
        t->text_left = TEXT_CHUNK;
    }
    uint8_t *kept = t->text;
    memcpy(kept, text.data, text.len);
    t->text += text.len;
    t->text_left -= text.len;
    return kept;
}

static bool keep_name(struct table *t, struct slice name, uint16_t *id)
{
    if (*id < t->names_len && slice_equal(t->names[*id], name))
        return true;
    uint32_t mask = ARRAY_LEN(t->name_slots) - 1;
    uint32_t at = (uint32_t)hash_bytes(t->seed, name) & mask;
    for (; t->name_slots[at] != INDEX_EMPTY; at = (at + 1) & mask) {
        uint16_t found = (uint16_t)(t->name_slots[at] - 1);
        if (slice_equal(t->names[found], name)) {
            *id = found;
            return true;
        }
    }
    if (t->names_len == NAMES_MAX)
        return false;
    const uint8_t *kept = name.len == 0 ? (const uint8_t *)"" : keep_text(t, name);
    if (kept == NULL)
        return false;
    t->names[t->names_len] = slice_of(kept, name.len);
    *id = (uint16_t)t->names_len++;
    t->name_slots[at] = (uint16_t)t->names_len;
    return true;
}

/* ---- finding ---- */

uint32_t table_find(const struct table *t, struct slice tenant, struct slice device)
{
    uint64_t slot;
    uint32_t hash = (uint32_t)name_hash(t, tenant, device), at = hash & t->by_name.mask;
    for (; (slot = t->by_name.slots[at]) != INDEX_EMPTY; at = (at + 1) & t->by_name.mask) {
        if (index_hash(slot) != hash)
            continue;
        uint32_t found = index_value(slot) - 1;
        const struct entry *e = entry_at(t, found);
        if (slice_equal(entry_name(e), device) && slice_equal(t->names[e->tenant], tenant))
            return found;
    }
    return TABLE_NONE;
}

/* The slot of a certificate, or of an empty one. */
static uint32_t certificate_slot(const struct table *t, const uint8_t sha256[SHA256_SIZE])
{
    uint64_t slot;
    uint32_t hash = (uint32_t)certificate_hash(t, sha256), at = hash & t->by_certificate.mask;
    for (; (slot = t->by_certificate.slots[at]) != INDEX_EMPTY;
         at = (at + 1) & t->by_certificate.mask) {
        if (index_hash(slot) != hash)
            continue;
        uint32_t value = index_value(slot) - 1;
        const struct device_certificate *c =
            certificate_at(t, value / DEVICE_CERTIFICATES_MAX, value % DEVICE_CERTIFICATES_MAX);
        if (memcmp(c->sha256, sha256, SHA256_SIZE) == 0)
            break;
    }
    return at;
}

uint32_t table_find_certificate(const struct table *t, const uint8_t sha256[SHA256_SIZE],
                                int64_t *ret_not_after)
{
    uint32_t value = index_value(t->by_certificate.slots[certificate_slot(t, sha256)]);
    if (value == INDEX_EMPTY)
        return TABLE_NONE;
    uint32_t device = (value - 1) / DEVICE_CERTIFICATES_MAX;
    *ret_not_after = certificate_at(t, device, (value - 1) % DEVICE_CERTIFICATES_MAX)->not_after;
    return device;
}

/* Backward-shift deletion (Knuth, volume 3, 6.4, algorithm R). What has become another device's
 * since stays. */
static void forget_certificate(struct table *t, uint32_t device, unsigned which)
{
    struct index *x = &t->by_certificate;
    uint32_t hole = certificate_slot(t, certificate_at(t, device, which)->sha256);
    if (x->slots[hole] == INDEX_EMPTY ||
        (index_value(x->slots[hole]) - 1) / DEVICE_CERTIFICATES_MAX != device)
        return;
    for (uint32_t at = hole;;) {
        at = (at + 1) & x->mask;
        if (x->slots[at] == INDEX_EMPTY)
            break;
        uint32_t home = index_hash(x->slots[at]) & x->mask;
        if (((at - home) & x->mask) < ((at - hole) & x->mask))
            continue;
        x->slots[hole] = x->slots[at];
        hole = at;
    }
    x->slots[hole] = INDEX_EMPTY;
    x->used--;
}

/* ---- growing ---- */

enum err table_prepare(struct table *t, uint32_t n)
{
    return index_grow(&t->by_name, n, &t->next_by_name) &&
                   index_grow(&t->by_certificate, (uint64_t)n * DEVICE_CERTIFICATES_MAX,
                              &t->next_by_certificate)
               ? ERR_NONE
               : ERR_NO_MEMORY;
}

void table_adopt(struct table *t)
{
    index_adopt(&t->by_name, &t->next_by_name);
    index_adopt(&t->by_certificate, &t->next_by_certificate);
}

/* ---- taking a record ---- */

static bool need_more(const struct device_record *record)
{
    return record->certificates_len > 1 || record->password.present;
}

/* A place in t->more, made where there is none. It may move: nobody keeps pointers into it. */
static struct more *more_of(struct table *t, struct entry *e)
{
    if (e->more != 0)
        return &t->more[e->more - 1];
    uint32_t place = t->more_free;
    if (place != 0) {
        t->more_free = t->more[place - 1].next_free;
    } else {
        if (t->more_len == MORE_MAX)
            return NULL;
        if (t->more_len == t->more_room) {
            uint32_t room = t->more_room == 0 ? 64 : t->more_room * 2;
            struct more *more = reallocarray(t->more, room, sizeof *more);
            if (more == NULL)
                return NULL;
            t->more = more;
            t->more_room = room;
        }
        place = ++t->more_len;
    }
    e->more = place;
    t->more[place - 1] = (struct more){0};
    return &t->more[place - 1];
}

static void drop_more(struct table *t, struct entry *e)
{
    if (e->more == 0)
        return;
    mem_wipe(&t->more[e->more - 1], sizeof t->more[0]);
    t->more[e->more - 1].next_free = t->more_free;
    t->more_free = e->more;
    e->more = 0;
}

static struct entry *entry_new(struct table *t, const struct device_record *record, uint16_t tenant)
{
    if (t->len == t->max)
        return NULL;
    struct chunk **chunk = &t->chunks[t->len >> CHUNK_BITS];
    if (*chunk == NULL)
        *chunk = index_calloc(1, sizeof **chunk);
    if (*chunk == NULL)
        return NULL;
    struct entry *e = entry_at(t, t->len);
    if (record->device.len <= sizeof e->name.here)
        memcpy(e->name.here, record->device.data, record->device.len);
    else if ((e->name.text = keep_text(t, record->device)) == NULL)
        return NULL;
    e->name_len = (uint8_t)record->device.len;
    e->tenant = tenant;
    return e;
}

static bool same_password(const struct device_password *a, const struct device_password *b)
{
    return a->present == b->present &&
           (!a->present ||
            (a->iterations == b->iterations && memcmp(a->salt, b->salt, sizeof a->salt) == 0 &&
             memcmp(a->stored_key, b->stored_key, sizeof a->stored_key) == 0));
}

static bool is_same(const struct table *t, uint32_t device, const struct device_record *record)
{
    const struct entry *e = entry_at(t, device);
    static const struct more none = {0};
    const struct more *more = e->more == 0 ? &none : &t->more[e->more - 1];
    if (!e->known || e->state != record->state || e->cut != record->cut ||
        e->certificates != record->certificates_len ||
        !slice_equal(t->names[e->model], record->model) ||
        !slice_equal(t->names[e->group], record->group) ||
        !same_password(&more->password, &record->password) ||
        !same_password(&more->previous, &record->previous))
        return false;
    for (unsigned i = 0; i < e->certificates; i++)
        if (memcmp(certificate_at(t, device, i)->sha256, record->certificates[i].sha256,
                   SHA256_SIZE) != 0)
            return false;
    return true;
}

static bool seen_before(const struct table *t, uint32_t device, const uint8_t sha256[SHA256_SIZE])
{
    const struct entry *e = entry_at(t, device);
    for (unsigned i = 0; i < e->certificates; i++)
        if (memcmp(certificate_at(t, device, i)->sha256, sha256, SHA256_SIZE) == 0)
            return e->seen >> i & 1;
    return false;
}

static void take_certificates(struct table *t, uint32_t device, struct entry *e,
                              const struct device_record *record)
{
    unsigned seen = 0;
    for (unsigned i = 0; i < record->certificates_len; i++)
        if (seen_before(t, device, record->certificates[i].sha256))
            seen |= 1U << i;
    for (unsigned i = 0; i < e->certificates; i++)
        forget_certificate(t, device, i);
    e->certificates = (uint8_t)record->certificates_len;
    e->seen = (uint8_t)(seen & 3);
    for (unsigned i = 0; i < record->certificates_len; i++)
        *certificate_at(t, device, i) = record->certificates[i];
    for (unsigned i = 0; i < e->certificates; i++) {
        uint32_t value = device * DEVICE_CERTIFICATES_MAX + i + 1;
        const uint8_t *sha256 = certificate_at(t, device, i)->sha256;
        uint32_t slot = certificate_slot(t, sha256);
        /* One certificate is one device's: where a hub says otherwise, the later word counts. */
        if (t->by_certificate.slots[slot] == INDEX_EMPTY)
            t->by_certificate.used++;
        t->by_certificate.slots[slot] = index_slot(certificate_hash(t, sha256), value);
    }
}

static void take_passwords(struct more *more, const struct device_record *record)
{
    if (!same_password(&more->password, &record->password))
        more->password_seen = false;
    more->password = record->password;
    more->previous = record->previous;
}

enum err table_take(struct table *t, const struct device_record *record, uint32_t *ret_device,
                    bool *ret_changed)
{
    uint16_t tenant = 0;
    uint32_t device = table_find(t, record->tenant, record->device);
    struct entry *e = device == TABLE_NONE ? NULL : entry_at(t, device);
    if (e == NULL) {
        if (!keep_name(t, record->tenant, &tenant))
            return ERR_LIMIT;
        e = entry_new(t, record, tenant);
        if (e == NULL)
            return t->len == t->max ? ERR_LIMIT : ERR_NO_MEMORY;
        device = t->len++;
        index_put(&t->by_name,
                  index_slot(name_hash(t, record->tenant, record->device), device + 1));
    }
    bool changed = !is_same(t, device, record);
    uint16_t model = e->model, group = e->group;
    if (!keep_name(t, record->model, &model) || !keep_name(t, record->group, &group) ||
        (need_more(record) && more_of(t, e) == NULL))
        return ERR_LIMIT;
    if (!e->known)
        t->known++;
    take_certificates(t, device, e, record);
    if (!need_more(record))
        drop_more(t, e);
    else
        take_passwords(&t->more[e->more - 1], record);
    e->model = model;
    e->group = group;
    e->state = (uint8_t)record->state;
    e->cut = record->cut;
    e->known = true;
    e->anew = true;
    *ret_device = device;
    *ret_changed = changed;
    return ERR_NONE;
}

void table_begin_anew(struct table *t)
{
    for (uint32_t i = 0; i < t->len; i++)
        entry_at(t, i)->anew = false;
}

bool table_sweep(struct table *t, uint32_t device)
{
    struct entry *e = entry_at(t, device);
    if (e->anew || !e->known)
        return false;
    for (unsigned i = 0; i < e->certificates; i++)
        forget_certificate(t, device, i);
    e->certificates = 0;
    drop_more(t, e);
    e->known = false;
    e->cut = false;
    t->known--;
    return true;
}

/* ---- reading ---- */

uint32_t table_len(const struct table *t)
{
    return t->len;
}

uint32_t table_known(const struct table *t)
{
    return t->known;
}

bool table_subject(const struct table *t, uint32_t device, struct rules_subject *ret_subject)
{
    const struct entry *e = entry_at(t, device);
    if (!e->known)
        return false;
    *ret_subject = (struct rules_subject){
        .tenant = t->names[e->tenant],
        .device = entry_name(e),
        .model = t->names[e->model],
        .group = t->names[e->group],
        .state = e->state,
    };
    return true;
}

void table_record(const struct table *t, uint32_t device, struct device_record *ret_record)
{
    const struct entry *e = entry_at(t, device);
    *ret_record = (struct device_record){
        .tenant = t->names[e->tenant],
        .device = entry_name(e),
        .model = t->names[e->model],
        .group = t->names[e->group],
        .state = e->state,
        .cut = e->cut,
        .certificates_len = e->certificates,
    };
    for (unsigned i = 0; i < e->certificates; i++)
        ret_record->certificates[i] = *certificate_at(t, device, i);
    if (e->more == 0)
        return;
    ret_record->password = t->more[e->more - 1].password;
    ret_record->previous = t->more[e->more - 1].previous;
}

bool table_is_cut(const struct table *t, uint32_t device)
{
    return entry_at(t, device)->cut;
}

bool table_noted(const struct table *t, uint32_t device, enum table_note note)
{
    return (entry_at(t, device)->notes & (unsigned)note) != 0;
}

void table_note(struct table *t, uint32_t device, enum table_note note, bool on)
{
    struct entry *e = entry_at(t, device);
    e->notes = (uint8_t)(on ? e->notes | (unsigned)note : e->notes & ~(unsigned)note);
}

bool table_note_seen(struct table *t, const uint8_t sha256[SHA256_SIZE])
{
    uint32_t value = index_value(t->by_certificate.slots[certificate_slot(t, sha256)]);
    if (value == INDEX_EMPTY)
        return false;
    struct entry *e = entry_at(t, (value - 1) / DEVICE_CERTIFICATES_MAX);
    e->seen = (uint8_t)((e->seen | 1U << ((value - 1) % DEVICE_CERTIFICATES_MAX)) & 3);
    return true;
}

bool table_seen(const struct table *t, const uint8_t sha256[SHA256_SIZE])
{
    uint32_t value = index_value(t->by_certificate.slots[certificate_slot(t, sha256)]);
    return value != INDEX_EMPTY && (entry_at(t, (value - 1) / DEVICE_CERTIFICATES_MAX)->seen >>
                                        ((value - 1) % DEVICE_CERTIFICATES_MAX) &
                                    1);
}

void table_note_password_seen(struct table *t, uint32_t device)
{
    const struct entry *e = entry_at(t, device);
    if (e->more != 0)
        t->more[e->more - 1].password_seen = true;
}

bool table_password_seen(const struct table *t, uint32_t device)
{
    const struct entry *e = entry_at(t, device);
    return e->more != 0 && t->more[e->more - 1].password_seen;
}
