/* Models, manifests and devices over a real store, ledger and signer; all of it on one loop, which
 * the test turns. */
#ifndef TESTS_UNIT_IDENTITY_FIXTURE_H
#define TESTS_UNIT_IDENTITY_FIXTURE_H

#include "hub/identity/identity.h"
#include "tests/unit/signer_fixture.h"

#define TENANT "default"

struct house {
    struct fixture *s; /* CA, signer, loop */
    struct store *store;
    struct store_reader *reader;
    struct ledger *ledger;
    char keys[PATH_MAX + 32];
    struct subjects *subjects;
    struct identity *identity;
    struct arena *arena; /* for one act at a time, and for reading */
};

/* Says where else the store is, which is empty then: for tests that run over PostgreSQL, too. */
static void (*house_store)(char url[PATH_MAX + 32]);

static inline int house_set_up(void **state)
{
    void *signer = NULL;
    char url[PATH_MAX + 32], explain[256] = "";
    struct house *h = calloc(1, sizeof *h);
    assert_int_equal(set_up(&signer), 0);
    h->s = signer;
    start(h->s, 1); /* forks: before there are threads */
    (void)snprintf(url, sizeof url, "sqlite:%s/hub.db", h->s->folder);
    if (house_store != NULL)
        house_store(url);
    if (store_open(url, &h->store, explain) != ERR_NONE ||
        ledger_new(h->store, ORIGIN, &h->ledger, explain) != ERR_NONE)
        fail_msg("%s", explain);
    (void)snprintf(h->keys, sizeof h->keys, "%s/subjects.keys", h->s->folder);
    assert_int_equal(
        subjects_open(h->keys, h->store, h->ledger, false, false, &h->subjects, explain), ERR_NONE);
    assert_int_equal(identity_new(h->store, h->ledger, h->subjects, &h->identity), ERR_NONE);
    assert_int_equal(store_reader_new(h->store, &h->reader), ERR_NONE);
    assert_int_equal(store_start(h->store), ERR_NONE);
    h->arena = arena_new((size_t)8 << 20);
    assert_non_null(h->arena);
    *state = h;
    return 0;
}

static inline int house_tear_down(void **state)
{
    struct house *h = *state;
    void *signer = h->s;
    store_drain(h->store);
    identity_free(h->identity);
    subjects_free(h->subjects);
    (void)unlink(h->keys);
    store_reader_free(h->reader);
    ledger_free(h->ledger);
    store_close(h->store);
    arena_free(h->arena);
    assert_int_equal(tear_down(&signer), 0);
    free(h);
    return 0;
}

/* ---- acts ---- */

static inline void act_ended(struct act *act)
{
    unsigned *ended = act->ctx;
    (*ended)++;
}

static inline struct act_origin origin_of(struct house *h, struct arena *arena, unsigned *ended)
{
    *ended = 0;
    return (struct act_origin){.loop = h->s->loop,
                               .arena = arena,
                               .tenant = TENANT,
                               .actor = "local:0",
                               .then = act_ended,
                               .ctx = ended};
}

/* How it ended; it ends exactly once. */
static inline enum err wait_act(struct house *h, const struct act *act)
{
    const unsigned *ended = act->ctx;
    while (*ended == 0)
        assert_int_equal(event_base_loop(loop_event_base(h->s->loop), EVLOOP_ONCE), 0);
    assert_int_equal(*ended, 1);
    return act->write.err;
}

static inline void assert_problem(const struct act *act, unsigned status, const char *code,
                                  const char *field)
{
    assert_int_equal(act->write.err, ERR_REFUSED);
    assert_string_equal(act->write.problem.code, code);
    assert_int_equal(act->write.problem.status, status);
    assert_string_equal(act->write.problem.field, field);
    assert_true(act->write.problem.detail[0] != '\0');
}

static inline enum err change_model(struct house *h, struct model_act *m, enum model_change change,
                                    const char *id, enum model_proof proof)
{
    unsigned ended;
    const struct act_origin origin = origin_of(h, h->arena, &ended);
    *m = (struct model_act){.change = change,
                            .model = {.maker = "acme",
                                      .proof = proof,
                                      .key_kinds = 1 << KEY_P256,
                                      .lifetime = 90 * DAY,
                                      .enrolled_lifetime = 3600,
                                      .grace = 30 * DAY}};
    (void)snprintf(m->model.id, sizeof m->model.id, "%s", id);
    identity_change_model(h->identity, &origin, m);
    return wait_act(h, &m->act);
}

static inline enum err create_manifest(struct house *h, struct manifest_act *m, const char *id,
                                       const char *model)
{
    unsigned ended;
    const struct act_origin origin = origin_of(h, h->arena, &ended);
    *m = (struct manifest_act){.owner = "city"};
    (void)snprintf(m->manifest.id, sizeof m->manifest.id, "%s", id);
    (void)snprintf(m->manifest.model, sizeof m->manifest.model, "%s", model);
    identity_create_manifest(h->identity, &origin, m);
    return wait_act(h, &m->act);
}

static inline enum err add_devices(struct house *h, struct manifest_devices_act *m,
                                   const char *manifest, struct manifest_line *lines, size_t n)
{
    unsigned ended;
    const struct act_origin origin = origin_of(h, h->arena, &ended);
    *m = (struct manifest_devices_act){.lines = lines, .lines_len = n};
    (void)snprintf(m->manifest, sizeof m->manifest, "%s", manifest);
    identity_add_devices(h->identity, &origin, m);
    return wait_act(h, &m->act);
}

static inline enum err move(struct house *h, struct move_act *m, const char *device,
                            enum device_move to)
{
    unsigned ended;
    const struct act_origin origin = origin_of(h, h->arena, &ended);
    *m = (struct move_act){.move = to, .reason = "a test"};
    (void)snprintf(m->device, sizeof m->device, "%s", device);
    identity_move(h->identity, &origin, m);
    return wait_act(h, &m->act);
}

/* Two kinds of device, each with a manifest of its name: "listed" ones are trusted when they
 * enrol, "approved" ones when somebody says so. */
static inline void make_models(struct house *h)
{
    struct model_act model;
    struct manifest_act manifest;
    assert_int_equal(change_model(h, &model, MODEL_CREATE, "listed", PROOF_MANIFEST), ERR_NONE);
    assert_int_equal(change_model(h, &model, MODEL_CREATE, "approved", PROOF_APPROVAL), ERR_NONE);
    assert_int_equal(create_manifest(h, &manifest, "listed", "listed"), ERR_NONE);
    assert_int_equal(create_manifest(h, &manifest, "approved", "approved"), ERR_NONE);
}

/* A device that is expected, with a claim code that does not expire during the test. */
static inline void expect_device(struct house *h, const char *manifest, const char *serial,
                                 char code[IDENTITY_CLAIM_TEXT])
{
    struct manifest_devices_act m;
    struct manifest_line line = {.serial = serial,
                                 .credential = CREDENTIAL_CLAIM,
                                 .claim_expires_at = clock_seconds() + DAY};
    assert_int_equal(add_devices(h, &m, manifest, &line, 1), ERR_NONE);
    memcpy(code, line.claim_code, IDENTITY_CLAIM_TEXT);
}

/* ---- enrolments, several at once ---- */

struct enrolling {
    struct enrolment e;
    struct arena *arena;
    unsigned ended;
};

/* A request signed with `key`, with no name in it. */
static inline struct slice make_csr(EVP_PKEY *key, struct arena *arena)
{
    X509_REQ *req = X509_REQ_new();
    assert_int_equal(X509_REQ_set_pubkey(req, key), 1);
    assert_true(X509_REQ_sign(req, key, EVP_sha256()) > 0);
    int n = i2d_X509_REQ(req, NULL);
    assert_true(n > 0);
    uint8_t *der = arena_alloc(arena, (size_t)n), *at = der;
    (void)i2d_X509_REQ(req, &at);
    X509_REQ_free(req);
    return slice_of(der, (size_t)n);
}

static inline struct hash spki_hash(EVP_PKEY *key)
{
    struct hash hash;
    uint8_t spki[SPKI_MAX], *at = spki;
    assert_in_range(i2d_PUBKEY(key, NULL), 1, sizeof spki);
    crypto_sha256_one(slice_of(spki, (size_t)i2d_PUBKEY(key, &at)), hash.bytes);
    return hash;
}

static inline void enrolling_start(struct house *h, struct enrolling *x, EVP_PKEY *key)
{
    const struct act_origin origin = origin_of(h, x->arena, &x->ended);
    x->e.csr_der = make_csr(key, x->arena);
    identity_enrol(h->identity, &origin, h->reader, h->s->link, &x->e);
}

static inline void enrol_by_claim(struct house *h, struct enrolling *x, const char *device,
                                  const char *code, EVP_PKEY *key)
{
    *x = (struct enrolling){.arena = arena_new(256 * 1024), .e.authenticator = AUTHENTICATOR_CLAIM};
    (void)snprintf(x->e.device, sizeof x->e.device, "%s", device);
    assert_int_equal(identity_claim_hash(slice_of_text(code), &x->e.claim_hash), ERR_NONE);
    enrolling_start(h, x, key);
}

/* AUTHENTICATOR_CERTIFICATE or _EXPIRED. */
static inline void enrol_by_certificate_as(struct house *h, struct enrolling *x,
                                           enum authenticator authenticator, const char *device,
                                           const char *serial, EVP_PKEY *key)
{
    *x = (struct enrolling){.arena = arena_new(256 * 1024), .e.authenticator = authenticator};
    (void)snprintf(x->e.device, sizeof x->e.device, "%s", device);
    (void)snprintf(x->e.serial, sizeof x->e.serial, "%s", serial);
    enrolling_start(h, x, key);
}

static inline void enrol_by_certificate(struct house *h, struct enrolling *x, const char *device,
                                        const char *serial, EVP_PKEY *key)
{
    enrol_by_certificate_as(h, x, AUTHENTICATOR_CERTIFICATE, device, serial, key);
}

static inline enum err enrolling_wait(struct house *h, struct enrolling *x)
{
    return wait_act(h, &x->e.act);
}

static inline void enrolling_free(struct enrolling *x)
{
    arena_free(x->arena);
    x->arena = NULL;
}

/* ---- rows ---- */

static inline struct device_row read_device(struct house *h, const char *id)
{
    struct device_row row = {.tenant = TENANT};
    (void)snprintf(row.id, sizeof row.id, "%s", id);
    assert_int_equal(store_get(h->reader, &table_device, h->arena, &row), ERR_NONE);
    return row;
}

static inline bool knows_device(struct house *h, const char *id)
{
    struct device_row row = {.tenant = TENANT};
    (void)snprintf(row.id, sizeof row.id, "%s", id);
    return store_get(h->reader, &table_device, h->arena, &row) == ERR_NONE;
}

static inline struct certificate_row read_certificate(struct house *h, const char *serial)
{
    struct certificate_row row = {.status = -1};
    (void)snprintf(row.serial, sizeof row.serial, "%s", serial);
    assert_int_equal(store_get(h->reader, &table_certificate, h->arena, &row), ERR_NONE);
    return row;
}

static inline bool knows_key(struct house *h, const struct hash *spki)
{
    struct device_key_row row = {.spki_sha256 = *spki};
    return store_get(h->reader, &table_device_key, h->arena, &row) == ERR_NONE;
}

static inline uint64_t count_certificates(struct house *h)
{
    uint64_t n = 0;
    const struct store_query query = {.table = &table_certificate, .limit = SIZE_MAX};
    assert_int_equal(store_count(h->reader, &query, &n), ERR_NONE);
    return n;
}

/* Entries so far: a refusal adds none. */
static inline uint64_t ledger_size(struct house *h)
{
    return ledger_head(h->ledger).size;
}

#endif
