/* A ledger over a store of its own, and the tree computed the naive way. */
#ifndef TESTS_UNIT_LEDGER_FIXTURE_H
#define TESTS_UNIT_LEDGER_FIXTURE_H

#include "base/crypto.h"
#include "hub/ledger/ledger.h"
#include "store_fixture.h"
#include "tests/unit/naive_tree.h"

struct ledger_fixture {
    struct fixture f;
    struct ledger *ledger;
};

static inline enum err ledger_fixture_try(struct ledger_fixture *lf, char explain[256])
{
    fixture_open(&lf->f);
    return ledger_new(lf->f.store, "ledger.example/test", &lf->ledger, explain);
}

static inline void ledger_fixture_open(struct ledger_fixture *lf)
{
    char explain[256] = "";
    enum err err = ledger_fixture_try(lf, explain);
    if (err != ERR_NONE)
        print_error("ledger_new: %s: %s\n", err_text(err), explain);
    assert_int_equal(err, ERR_NONE);
    assert_int_equal(store_start(lf->f.store), ERR_NONE);
}

static inline void ledger_fixture_make(struct ledger_fixture *lf)
{
    lf->ledger = NULL;
    fixture_make(&lf->f);
    ledger_fixture_open(lf);
}

static inline void ledger_fixture_close(struct ledger_fixture *lf)
{
    fixture_close(&lf->f);
    ledger_free(lf->ledger);
    lf->ledger = NULL;
}

static inline void ledger_fixture_remove(struct ledger_fixture *lf)
{
    ledger_fixture_close(lf);
    fixture_remove(&lf->f);
}

/* ---- appending ---- */

struct appending {
    struct ledger *ledger;
    unsigned count;  /* entries in one write */
    const char *row; /* a row that goes with them; NULL: none */
    enum err result; /* what apply() gives back in the end */
};

static inline enum err run_append(struct step *step, struct tx *tx)
{
    struct appending *a = step->ctx;
    const struct ledger_act act = {
        .act = "test.append",
        .tenant = "default",
        .actor = "local:0",
        .subject = "device/a",
        .data = SLICE_LITERAL("{\"a\":1}"),
    };
    enum err err = a->row == NULL ? ERR_NONE : insert_seen(tx, a->row);
    for (unsigned i = 0; i < a->count && err == ERR_NONE; i++)
        err = ledger_append(a->ledger, tx, &act);
    return err != ERR_NONE ? err : a->result;
}

static inline enum err ledger_fixture_append(struct ledger_fixture *lf, unsigned count)
{
    struct appending a = {.ledger = lf->ledger, .count = count};
    return fixture_write(&lf->f, run_append, &a);
}

/* ---- the naive tree over what was appended ---- */

struct tree {
    struct hash *leaves;
    size_t len, max;
    struct arena *arena;
};

static inline enum err tree_take(void *ctx, uint64_t number, struct slice data)
{
    struct tree *t = ctx;
    if (number != t->len)
        return ERR_INTERNAL;
    if (t->len == t->max) {
        t->max = t->max == 0 ? 1024 : t->max * 2;
        t->leaves = realloc(t->leaves, t->max * sizeof *t->leaves);
        assert_non_null(t->leaves);
    }
    t->leaves[t->len++] = merkle_leaf_hash(crypto_sha256, data);
    arena_reset(t->arena);
    return ERR_NONE;
}

/* Reads the entries that were added since. */
static inline void tree_follow(struct tree *t, struct ledger_fixture *lf)
{
    t->arena = lf->f.arena;
    assert_int_equal(ledger_read_entries(lf->ledger, lf->f.reader, t->len, false, SIZE_MAX,
                                         t->arena, tree_take, t),
                     ERR_NONE);
}

static inline void assert_hashes_equal(const struct hash *a, const struct hash *b)
{
    assert_memory_equal(a->bytes, b->bytes, sizeof a->bytes);
}

#endif
