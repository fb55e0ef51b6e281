#include "hub/membership.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "hub/api/call.h"
#include "pki/ca_hub.h"
#include "pki/pem.h"

#define LISTING_ARENA ((size_t)1 << 20)
#define ROOTS_MAX     (32 * 1024) /* bytes of root.pem */
#define DER_MAX       (64 * 1024) /* of all hubs' certificates */
#define PEM_MAX       (ROOTS_MAX + 2 * DER_MAX + 2 * CERTIFICATE_MAX)

static struct {
    struct hub_row own;
    bool founding, certified_anew;
    atomic_bool ended, shared;
    pthread_mutex_t lock; /* of the rest */
    uint8_t der[DER_MAX]; /* the certificates that are taken, this hub's first */
    size_t der_len;
} membership = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- who this hub is ---- */

static void describe_own(const struct hub *hub, struct hub_row *row)
{
    struct writer w = writer_over(row->ledger_key, sizeof row->ledger_key - 1);
    note_key_write(&w, &hub->facts.ledger_key);
    row->ledger_key[w.len] = '\0';
    w = writer_over(row->policy_key, sizeof row->policy_key - 1);
    note_key_write(&w, &hub->facts.policy_key);
    row->policy_key[w.len] = '\0';
    memcpy(row->issuing_sha256.bytes, hub->facts.issuing_sha256, SHA256_SIZE);
    row->chain = slice_of(hub->facts.chain, hub->facts.chain_len);
}

static enum err find_own(const struct hub *hub, const struct hub_row *rows, size_t n,
                         char explain[256])
{
    struct hub_row own = {.id = 0};
    describe_own(hub, &own);
    size_t i = 0;
    while (i < n && strcmp(rows[i].ledger_key, own.ledger_key) != 0)
        i++;
    if (n == 0) {
        membership.founding = true;
        membership.own = own;
        return ERR_NONE;
    }
    if (i == n) {
        (void)snprintf(explain, 256,
                       "this database is of %zu hub%s, and this one has not been admitted: on "
                       "'%.64s', `holdfast hub admit` its card (docs/how-to/run-several-hubs.md)",
                       n, n == 1 ? "" : "s", rows[0].name);
        return ERR_REFUSED;
    }
    if (rows[i].status != HUB_JOINED) {
        (void)snprintf(explain, 256,
                       "this hub, '%.64s', was removed; to come back it makes new keys in an empty "
                       "state folder: `holdfast hub join`",
                       rows[i].name);
        return ERR_REFUSED;
    }
    membership.own = rows[i];
    membership.certified_anew =
        memcmp(rows[i].issuing_sha256.bytes, own.issuing_sha256.bytes, SHA256_SIZE) != 0;
    membership.own.issuing_sha256 = own.issuing_sha256;
    membership.own.chain = own.chain;
    return ERR_NONE;
}

static enum err read_hubs(struct store_reader *reader, struct arena **ret_arena,
                          struct hub_row **ret_rows, size_t *ret_n, char explain[256])
{
    struct arena *arena = arena_new(LISTING_ARENA);
    struct hub_row *rows = arena == NULL ? NULL : arena_alloc(arena, HUBS_MAX * sizeof *rows);
    enum err err = rows == NULL ? ERR_NO_MEMORY : identity_hubs(reader, arena, rows, ret_n);
    if (err != ERR_NONE) {
        (void)snprintf(explain, 256, "can't read the hubs: %s", err_text(err));
        arena_free(arena);
        return err;
    }
    *ret_arena = arena;
    *ret_rows = rows;
    return ERR_NONE;
}

enum err membership_check(struct hub *hub, char explain[256])
{
    struct store_reader *reader;
    struct arena *arena;
    struct hub_row *rows;
    size_t n = 0;
    enum err err = store_reader_new(hub->store, &reader);
    if (err != ERR_NONE) {
        (void)snprintf(explain, 256, "can't read the hubs: %s", err_text(err));
        return err;
    }
    err = read_hubs(reader, &arena, &rows, &n, explain);
    if (err == ERR_NONE) {
        atomic_store(&membership.shared, n > 1);
        err = find_own(hub, rows, n, explain);
        arena_free(arena);
    }
    store_reader_free(reader);
    return err;
}

bool membership_is_shared(void)
{
    return atomic_load(&membership.shared);
}

int64_t membership_id(void)
{
    return membership.own.id;
}

const char *membership_name(void)
{
    return membership.own.name;
}

bool membership_ended(void)
{
    return atomic_load(&membership.ended);
}

/* ---- whom it trusts ---- */

/* A row that somebody put into the database proves nothing: only what stands on the fleet's root is
 * taken. One whose certificate has expired is left out, too, as TLS would. */
static void add_chain(struct writer *der, const struct hub_row *row, const char *roots)
{
    char explain[256] = "";
    enum err err = ca_hub_check_chain(row->chain, roots, explain);
    if (err == ERR_NONE && der->max - der->len < row->chain.len)
        err = ERR_LIMIT;
    if (err == ERR_NONE)
        writer_put(der, row->chain);
    else
        log_event(LOG_LEVEL_WARNING, "hubs.not_trusted", F_TEXT("hub", row->name), F_ERR(err),
                  F_TEXT("detail", explain));
}

/* Those at work first, then what others left behind, the newest first. */
static void add_chains(struct writer *der, const struct hub_row *rows, size_t n, const char *roots)
{
    for (size_t i = 0; i < n; i++)
        if (rows[i].status == HUB_JOINED && rows[i].id != membership.own.id)
            add_chain(der, &rows[i], roots);
    for (size_t i = n; i-- > 0;)
        if (rows[i].status != HUB_JOINED)
            add_chain(der, &rows[i], roots);
}

static enum err set_roots(struct hub *hub, const char *path, struct slice ders, char explain[256])
{
    uint8_t *roots;
    size_t len;
    enum err err = file_read(path, ROOTS_MAX, &roots, &len);
    if (err != ERR_NONE) {
        (void)snprintf(explain, 256, "%.160s: %s; `holdfast ca init` makes it", path,
                       err_text(err));
        return err;
    }
    static uint8_t pem[PEM_MAX]; /* the start and loop 0 alone come here */
    struct writer w = writer_over(pem, sizeof pem);
    writer_put(&w, slice_of(roots, len));
    free(roots);
    err = pem_write_certificates(&w, ders);
    if (err == ERR_NONE) /* of a roll-over: what this hub's last authority issued */
        err = pem_write_certificates(&w, slice_of(hub->facts.previous, hub->facts.previous_len));
    if (err != ERR_NONE)
        return err;
    return tls_server_set_client_roots(hub->tls[LISTENER_DEVICE], writer_bytes(&w), explain);
}

/* Devices send their own certificate alone, so what lies between it and the root comes from here.
 */
enum err membership_trust(struct hub *hub, struct store_reader *reader, char explain[256])
{
    char path[CONFIG_TEXT_MAX + 16];
    (void)snprintf(path, sizeof path, "%s/root.pem", hub->config.state);
    struct arena *arena;
    struct hub_row *rows;
    size_t n = 0;
    enum err err = read_hubs(reader, &arena, &rows, &n, explain);
    if (err != ERR_NONE)
        return err;
    if (n > 1) {
        atomic_store(&membership.shared, true);
        subjects_share(hub->subjects);
    }
    struct writer der = arena_writer(arena, DER_MAX);
    writer_put(&der, membership.own.chain);
    writer_put(&der, slice_of(hub->facts.previous, hub->facts.previous_len)); /* rolled over */
    add_chains(&der, rows, n, path);
    err = der.err != ERR_NONE ? der.err : set_roots(hub, path, writer_bytes(&der), explain);
    if (err == ERR_NONE) {
        pthread_mutex_lock(&membership.lock);
        memcpy(membership.der, der.start, der.len);
        membership.der_len = der.len;
        pthread_mutex_unlock(&membership.lock);
        for (size_t i = 0; i < n; i++)
            if (rows[i].id == membership.own.id && rows[i].status != HUB_JOINED)
                atomic_store(&membership.ended, true);
    }
    arena_free(arena);
    return err;
}

static bool is_among(const struct slice *ders, size_t n, struct slice der)
{
    for (size_t i = 0; i < n; i++)
        if (slice_equal(ders[i], der))
            return true;
    return false;
}

enum err membership_certificates(struct arena *arena, struct slice *ret_ders, size_t max,
                                 size_t *ret_n)
{
    struct slice all = {NULL, 0};
    pthread_mutex_lock(&membership.lock);
    enum err err = arena_copy(arena, slice_of(membership.der, membership.der_len), &all);
    pthread_mutex_unlock(&membership.lock);
    if (err != ERR_NONE)
        return err;
    struct reader r = reader_over(all);
    size_t n = 0;
    while (reader_left(&r) > 0 && n < max) {
        unsigned tag;
        struct slice der = der_read_any(&r, &tag);
        if (r.err == ERR_NONE && !is_among(ret_ders, n, der))
            ret_ders[n++] = der;
    }
    if (r.err != ERR_NONE)
        return ERR_INTERNAL;
    *ret_n = n;
    return ERR_NONE;
}

/* ---- what it writes at its start ---- */

struct starting {
    struct hub_act act;
    sem_t ended;
};

static void started(struct act *act)
{
    struct starting *s = CONTAINER_OF(act, struct starting, act.act);
    (void)sem_post(&s->ended);
}

static enum err write_own(struct hub *hub, enum hub_change change, char explain[256])
{
    struct arena *arena = arena_new(LISTING_ARENA);
    struct starting *s = arena == NULL ? NULL : arena_alloc(arena, sizeof *s);
    if (s == NULL) {
        arena_free(arena);
        return ERR_NO_MEMORY;
    }
    (void)sem_init(&s->ended, 0, 0);
    s->act.change = change;
    s->act.hub = membership.own;
    const struct act_origin origin = {.loop = NULL, /* they do not run yet */
                                      .arena = arena,
                                      .tenant = HUB_TENANT,
                                      .actor = "hub",
                                      .then = started};
    identity_change_hub(hub->identity, &origin, &s->act);
    while (sem_wait(&s->ended) != 0)
        ; /* interrupted */
    enum err err = s->act.act.write.err;
    if (err == ERR_NONE)
        membership.own = s->act.hub;
    else
        (void)snprintf(explain, 256, "%s",
                       err == ERR_REFUSED ? s->act.act.write.problem.detail : err_text(err));
    membership.own.chain = slice_of(hub->facts.chain, hub->facts.chain_len);
    (void)sem_destroy(&s->ended);
    arena_free(arena);
    return err;
}

enum err membership_start(struct hub *hub, char explain[256])
{
    if (membership.founding)
        return write_own(hub, HUB_FOUND, explain);
    if (membership.certified_anew)
        return write_own(hub, HUB_CERTIFY, explain);
    return ERR_NONE;
}
