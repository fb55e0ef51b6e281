/* A ledger over a store of its own, and the tree computed the naive way. */
#ifndef TESTS_UNIT_LEDGER_FIXTURE_H
#define TESTS_UNIT_LEDGER_FIXTURE_H

#include "base/crypto.h"
#include "hub/ledger/ledger.h"
#include "store_fixture.h"

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

/* ---- the naive tree: RFC 6962 section 2.1 as it stands there ---- */

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

static inline size_t split(size_t n)
{
    size_t k = 1;
    while (k * 2 < n)
        k *= 2;
    return k;
}

static inline struct hash tree_root(const struct hash *leaves, size_t n)
{
    if (n == 0)
        return merkle_empty_root(crypto_sha256);
    if (n == 1)
        return leaves[0];
    size_t k = split(n);
    struct hash left = tree_root(leaves, k);
    struct hash right = tree_root(leaves + k, n - k);
    return merkle_node_hash(crypto_sha256, &left, &right);
}

/* PATH(m, D[n]) */
static inline size_t tree_path(const struct hash *leaves, size_t m, size_t n, struct hash *proof)
{
    if (n == 1)
        return 0;
    size_t k = split(n);
    size_t len =
        m < k ? tree_path(leaves, m, k, proof) : tree_path(leaves + k, m - k, n - k, proof);
    proof[len] = m < k ? tree_root(leaves + k, n - k) : tree_root(leaves, k);
    return len + 1;
}

/* SUBPROOF(m, D[n], b) */
static inline size_t tree_subproof(const struct hash *leaves, size_t m, size_t n, bool whole,
                                   struct hash *proof)
{
    if (m == n) {
        if (whole)
            return 0;
        proof[0] = tree_root(leaves, n);
        return 1;
    }
    size_t k = split(n);
    size_t len = m <= k ? tree_subproof(leaves, m, k, whole, proof)
                        : tree_subproof(leaves + k, m - k, n - k, false, proof);
    proof[len] = m <= k ? tree_root(leaves + k, n - k) : tree_root(leaves, k);
    return len + 1;
}

static inline void assert_hashes_equal(const struct hash *a, const struct hash *b)
{
    assert_memory_equal(a->bytes, b->bytes, sizeof a->bytes);
}

#endif
