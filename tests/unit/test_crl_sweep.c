/* Rows that no list needs any more leave the table, and no others: lists made by the real service
 * and signed by the real signer, while the clock moves on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <time.h>

#include <openssl/x509.h>

#include "hub/revocation/crl.h"
#include "hub/store/store.h"
#include "pki/crl.h"
#include "tests/unit/signer_fixture.h"

/* The signer's clock stays: all that is moved must be within what it takes for one. */
#define LIFETIME 200
#define ROWS_MAX 8
#define THEIRS   0x05060708
#define OURS     0x01020304 /* the number that the service knows the signer's authority by */

struct lists {
    struct fixture *s; /* CA and signer */
    struct store *store;
    struct store_reader *reader;
    struct arena *arena;
    struct crl_service *service;
};

static int lists_set_up(void **state)
{
    void *signer = NULL;
    char url[PATH_MAX + 32], explain[256] = "";
    struct lists *l = calloc(1, sizeof *l);
    assert_non_null(l);
    assert_int_equal(set_up(&signer), 0);
    l->s = signer;
    start(l->s, 2); /* forks: before there are threads */
    (void)snprintf(url, sizeof url, "sqlite:%s/hub.db", l->s->folder);
    if (store_open(url, &l->store, explain) != ERR_NONE)
        fail_msg("%s", explain);
    assert_int_equal(store_reader_new(l->store, &l->reader), ERR_NONE);
    assert_int_equal(store_start(l->store), ERR_NONE);
    l->arena = arena_new(1 << 20);
    assert_non_null(l->arena);
    *state = l;
    return 0;
}

static int lists_tear_down(void **state)
{
    struct lists *l = *state;
    void *signer = l->s;
    crl_service_free(l->service);
    store_drain(l->store);
    store_reader_free(l->reader);
    store_close(l->store);
    arena_free(l->arena);
    assert_int_equal(tear_down(&signer), 0);
    free(l);
    return 0;
}

static void start_service(struct lists *l)
{
    char folder[PATH_MAX + 8], explain[256] = "";
    (void)snprintf(folder, sizeof folder, "%s/crl", l->s->folder);
    const struct crl_options options = {.folder = folder,
                                        .store = l->store,
                                        .signer = l->s->signer,
                                        .authorities = {OURS},
                                        .authorities_len = 1,
                                        .lifetime = LIFETIME};
    if (crl_service_new(&options, &l->service, explain) != ERR_NONE)
        fail_msg("%s", explain);
    assert_int_equal(crl_service_start(l->service), ERR_NONE);
}

static void pause_a_little(void)
{
    const struct timespec pause = {.tv_nsec = 20 * 1000000L};
    (void)nanosleep(&pause, NULL);
}

/* ---- the table ---- */

struct insertion {
    struct write write;
    struct crl_entry_row row;
    unsigned ended;
};

static enum err insertion_apply(struct write *w, struct tx *tx)
{
    return tx_insert(tx, &table_crl_entry, &CONTAINER_OF(w, struct insertion, write)->row);
}

static void insertion_done(struct write *w)
{
    CONTAINER_OF(w, struct insertion, write)->ended++;
}

static const struct write_kind insertion_kind = {.name = "test.insert",
                                                 .lane = STORE_LANE_NORMAL,
                                                 .apply = insertion_apply,
                                                 .done = insertion_done};

/* `entry` is the ledger's, and the serial number is made of it. */
static void insert(struct lists *l, int64_t entry, enum crl_reason reason, int64_t not_after,
                   int64_t authority)
{
    struct insertion i = {.write = {.kind = &insertion_kind, .loop = l->s->loop, .arena = l->arena},
                          .row = {.entry = entry,
                                  .reason = reason,
                                  .date = clock_seconds() - 60,
                                  .not_after = not_after,
                                  .authority = authority}};
    (void)snprintf(i.row.serial, sizeof i.row.serial, "6a%030llx", (unsigned long long)entry);
    assert_int_equal(store_submit(l->store, &i.write), ERR_NONE);
    while (i.ended == 0)
        assert_int_equal(event_base_loop(loop_event_base(l->s->loop), EVLOOP_ONCE), 0);
    assert_int_equal(i.write.err, ERR_NONE);
}

struct rows {
    size_t n;
    int64_t entries[ROWS_MAX];
};

static enum err keep_row(void *ctx, const void *row)
{
    struct rows *r = ctx;
    assert_true(r->n < ROWS_MAX);
    r->entries[r->n++] = ((const struct crl_entry_row *)row)->entry;
    return ERR_NONE;
}

static struct rows read_rows(struct lists *l)
{
    struct rows r = {.n = 0};
    const struct store_query query = {.table = &table_crl_entry,
                                      .after = &(struct crl_entry_row){.entry = -1},
                                      .limit = ROWS_MAX};
    assert_int_equal(store_list(l->reader, &query, l->arena, keep_row, &r), ERR_NONE);
    arena_reset(l->arena);
    return r;
}

/* ---- the list ---- */

static X509_CRL *read_list(const struct crl_served *served)
{
    uint8_t bytes[4096];
    assert_true(served->size <= sizeof bytes);
    assert_int_equal(pread(served->fd, bytes, sizeof bytes, 0), (ssize_t)served->size);
    const uint8_t *at = bytes;
    X509_CRL *crl = d2i_X509_CRL(NULL, &at, (long)served->size);
    assert_non_null(crl);
    return crl;
}

/* The entries in the first list that is made from now on. */
static int entries_of_next_list(struct lists *l, uint64_t *number)
{
    struct crl_served served;
    for (;; pause_a_little()) {
        enum err err = crl_open(l->service, AUTHORITY_CURRENT, CRL_WHOLE, false, &served);
        if (err == ERR_NONE && served.facts.number > *number)
            break;
        assert_true(err == ERR_NONE || err == ERR_BUSY);
        if (err == ERR_NONE)
            (void)close(served.fd);
    }
    X509_CRL *crl = read_list(&served);
    (void)close(served.fd);
    int n = sk_X509_REVOKED_num(X509_CRL_get_REVOKED(crl));
    X509_CRL_free(crl);
    *number = served.facts.number;
    return n < 0 ? 0 : n;
}

static void sweeps_what_no_list_needs(void **state)
{
    struct lists *l = *state;
    uint64_t number = 0;
    const int64_t now = clock_seconds();
    insert(l, 1, REASON_PRIVILEGE_WITHDRAWN, now + LIFETIME / 2, OURS);
    insert(l, 2, REASON_PRIVILEGE_WITHDRAWN, now + 90 * DAY, 0);
    insert(l, 3, REASON_REMOVE_FROM_CRL, now + 90 * DAY, OURS);
    insert(l, 4, REASON_CERTIFICATE_HOLD, now + LIFETIME / 2, OURS);
    start_service(l);
    assert_int_equal(entries_of_next_list(l, &number), 3);
    assert_int_equal(read_rows(l).n, 4);

    /* The first and the last have expired: a list that is made afterwards still tells of them. */
    clock_shift(LIFETIME / 2 + 20);
    assert_int_equal(entries_of_next_list(l, &number), 3);
    assert_int_equal(read_rows(l).n, 4);

    /* Nobody goes by a list from before their end any more; and none goes back to the third. */
    clock_shift(LIFETIME);
    assert_int_equal(entries_of_next_list(l, &number), 1);
    struct rows rows = read_rows(l);
    for (; rows.n > 1; rows = read_rows(l))
        pause_a_little();
    assert_int_equal(rows.n, 1);
    assert_int_equal(rows.entries[0], 2);
    clock_shift(-(LIFETIME / 2 + 20) - LIFETIME);
}

/* Another hub's, or an authority's that was given up. */
static void leaves_to_others_what_is_theirs(void **state)
{
    struct lists *l = *state;
    uint64_t number = 0;
    const int64_t now = clock_seconds();
    insert(l, 1, REASON_PRIVILEGE_WITHDRAWN, now + 90 * DAY, THEIRS);
    insert(l, 2, REASON_REMOVE_FROM_CRL, now + 90 * DAY, THEIRS); /* their deltas may need it */
    insert(l, 3, REASON_CERTIFICATE_HOLD, now - 2 * LIFETIME, THEIRS); /* nobody needs that */
    insert(l, 4, REASON_PRIVILEGE_WITHDRAWN, now + 90 * DAY, OURS);
    start_service(l);
    assert_int_equal(entries_of_next_list(l, &number), 1);
    clock_shift(LIFETIME / 2 + 20);
    assert_int_equal(entries_of_next_list(l, &number), 1);
    clock_shift(LIFETIME);
    assert_int_equal(entries_of_next_list(l, &number), 1);
    clock_shift(-(LIFETIME / 2 + 20) - LIFETIME);
    struct rows rows = read_rows(l);
    for (; rows.n > 3; rows = read_rows(l))
        pause_a_little();
    assert_int_equal(rows.n, 3);
    assert_int_equal(rows.entries[1], 2);
    assert_int_equal(rows.entries[2], 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sweeps_what_no_list_needs, lists_set_up, lists_tear_down),
        cmocka_unit_test_setup_teardown(leaves_to_others_what_is_theirs, lists_set_up,
                                        lists_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
