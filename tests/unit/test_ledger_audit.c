/* A whole ledger judged by its rows: trees of some sizes, and what is wrong with them found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/crypto.h"
#include "hub/ledger/ledger.h"

/* What is done to the rows before they are judged. */
enum fault {
    FAULT_NONE,
    FAULT_ENTRY_LEFT_OUT,
    FAULT_ENTRY_CHANGED,
    FAULT_LEAF_CHANGED,
    FAULT_ENTRIES_SWAPPED,
    FAULT_NODE_LEFT_OUT,
    FAULT_NODE_CHANGED,
    FAULT_NODE_TOO_MANY,
    FAULT_NODE_OF_NO_LEVEL,
    FAULT_NO_HEAD,
    FAULT_TWO_HEADS,
    FAULT_HEAD_SIZE,
    FAULT_HEAD_ROOT,
    FAULT_HEAD_FRONTIER,
    FAULT_TOLD_SIZE,
    FAULT_TOLD_ROOT,
    FAULT_COUNT
};

struct tree {
    size_t size;
    struct hash *leaves;
    struct merkle_frontier f;
    size_t cleared;      /* so many entries at the start are without data */
    size_t emptied;      /* and one more is, where not 0 */
    const char *archive; /* what the setting says; NULL where there is none */
};

static struct ledger_entry_row entry_of(size_t number, char text[32])
{
    int n = snprintf(text, 32, "{\"entry\":%zu}", number);
    struct ledger_entry_row row = {.number = (int64_t)number, .data = slice_of(text, (size_t)n)};
    row.leaf = merkle_leaf_hash(crypto_sha256, row.data);
    return row;
}

static void plant(struct tree *t, size_t size)
{
    char text[32];
    *t = (struct tree){.cleared = 0};
    t->size = size;
    t->leaves = calloc(size + 1, sizeof *t->leaves);
    assert_non_null(t->leaves);
    merkle_frontier_init(&t->f);
    for (size_t i = 0; i < size; i++) {
        t->leaves[i] = entry_of(i, text).leaf;
        merkle_frontier_append(&t->f, crypto_sha256, &t->leaves[i]);
    }
}

static enum err judge_entries(struct ledger_audit *a, const struct tree *t, enum fault fault,
                              char explain[256])
{
    size_t at = t->size / 2;
    enum err err = ERR_NONE;
    for (size_t i = 0; i < t->size && err == ERR_NONE; i++) {
        char text[32];
        size_t which = i;
        if (fault == FAULT_ENTRIES_SWAPPED && (i == at || i == at - 1))
            which = i == at ? at - 1 : at;
        struct ledger_entry_row row = entry_of(which, text);
        if (fault == FAULT_ENTRY_LEFT_OUT && i == at)
            continue;
        if (fault == FAULT_ENTRY_CHANGED && i == at)
            text[2] = 'E';
        if (i < t->cleared || (t->emptied != 0 && i == t->emptied))
            row.data = slice_of("", 0);
        if (fault == FAULT_LEAF_CHANGED && i == at)
            row.leaf.bytes[31] ^= 1;
        err = ledger_audit_row(a, &table_ledger_entry, &row, explain);
    }
    return err;
}

/* The node over the leaves from `first` on, by nothing but the definition. */
static struct hash node_over(const struct tree *t, size_t first, size_t width)
{
    struct merkle_frontier f;
    merkle_frontier_init(&f);
    for (size_t i = 0; i < width; i++)
        merkle_frontier_append(&f, crypto_sha256, &t->leaves[first + i]);
    return merkle_frontier_root(&f, crypto_sha256);
}

static enum err judge_nodes(struct ledger_audit *a, const struct tree *t, enum fault fault,
                            char explain[256])
{
    enum err err = ERR_NONE;
    struct ledger_node_row row = {.level = 1};
    for (size_t width = 256; width <= t->size; width *= 256, row.level++) {
        for (row.number = 0; (size_t)row.number < t->size / width && err == ERR_NONE;
             row.number++) {
            row.hash = node_over(t, (size_t)row.number * width, width);
            if (fault == FAULT_NODE_LEFT_OUT && (size_t)row.number == t->size / width - 1)
                continue;
            if (fault == FAULT_NODE_CHANGED)
                row.hash.bytes[0] ^= 1;
            err = ledger_audit_row(a, &table_ledger_node, &row, explain);
        }
        if (fault == FAULT_NODE_TOO_MANY && err == ERR_NONE)
            err = ledger_audit_row(a, &table_ledger_node, &row, explain);
    }
    row = (struct ledger_node_row){.level = TILE_LEVEL_MAX + 1};
    if (fault == FAULT_NODE_OF_NO_LEVEL && err == ERR_NONE)
        err = ledger_audit_row(a, &table_ledger_node, &row, explain);
    return err;
}

static enum err judge_head(struct ledger_audit *a, const struct tree *t, enum fault fault,
                           char explain[256])
{
    struct hash root = merkle_frontier_root(&t->f, crypto_sha256);
    struct ledger_head_row head = {
        .id = 1,
        .size = (int64_t)t->size,
        .root = root,
        .frontier = slice_of(t->f.nodes, (size_t)__builtin_popcountll(t->size) * SHA256_SIZE),
    };
    if (fault == FAULT_HEAD_SIZE)
        head.size++;
    if (fault == FAULT_HEAD_ROOT)
        head.root.bytes[0] ^= 1;
    if (fault == FAULT_HEAD_FRONTIER)
        head.frontier.len -= SHA256_SIZE;
    enum err err = ERR_NONE;
    if (fault != FAULT_NO_HEAD)
        err = ledger_audit_row(a, &table_ledger_head, &head, explain);
    if (fault == FAULT_TWO_HEADS && err == ERR_NONE)
        err = ledger_audit_row(a, &table_ledger_head, &head, explain);
    root.bytes[5] ^= fault == FAULT_TOLD_ROOT;
    if (err == ERR_NONE)
        err = ledger_audit_end(a, t->size + (fault == FAULT_TOLD_SIZE), &root, explain);
    return err;
}

static enum err judge(const struct tree *t, enum fault fault, char explain[256])
{
    struct ledger_audit *a = NULL;
    assert_int_equal(ledger_audit_new(&a), ERR_NONE);
    const struct setting_row other = {.name = "passed over"};
    struct setting_row archive = {.name = "ledger.archive"};
    if (t->archive != NULL)
        archive.value = slice_of_text(t->archive);
    enum err err = judge_entries(a, t, fault, explain);
    if (err == ERR_NONE)
        err = judge_nodes(a, t, fault, explain);
    if (err == ERR_NONE)
        err = ledger_audit_row(a, &table_setting, &other, explain);
    if (err == ERR_NONE && t->archive != NULL)
        err = ledger_audit_row(a, &table_setting, &archive, explain);
    if (err == ERR_NONE)
        err = judge_head(a, t, fault, explain);
    ledger_audit_free(a);
    return err;
}

static void whole_ledgers_hold(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 2, 255, 256, 257, 511, 512, 1000, 65536, 65793};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct tree t;
        char explain[256] = "";
        plant(&t, sizes[i]);
        enum err err = judge(&t, FAULT_NONE, explain);
        if (err != ERR_NONE)
            fail_msg("%zu: %s", sizes[i], explain);
        free(t.leaves);
    }
}

static void every_fault_is_found(void **state)
{
    (void)state;
    struct tree t;
    plant(&t, 600);
    for (enum fault fault = FAULT_NONE + 1; fault < FAULT_COUNT; fault++) {
        char explain[256] = "";
        if (judge(&t, fault, explain) != ERR_CONFLICT)
            fail_msg("fault %d was not found", (int)fault);
        assert_string_not_equal(explain, "");
    }
    free(t.leaves);
}

static void a_ledger_without_entries_may_lack_a_head(void **state)
{
    (void)state;
    struct ledger_audit *a = NULL;
    char explain[256] = "";
    struct hash none = {{0}};
    assert_int_equal(ledger_audit_new(&a), ERR_NONE);
    assert_int_equal(ledger_audit_end(a, 0, &none, explain), ERR_NONE);
    assert_int_equal(ledger_audit_end(a, 1, &none, explain), ERR_CONFLICT);
    ledger_audit_free(a);
}

/* Nobody hides an entry by taking its data away. */
static void archived_entries_are_judged_by_their_leaves(void **state)
{
    (void)state;
    static const struct {
        size_t cleared, emptied;
        const char *archive;
        enum fault fault;
        enum err err;
    } cases[] = {
        {256, 0, "256 256 shelf 7", FAULT_NONE, ERR_NONE},
        {256, 0, "512 256 shelf 7", FAULT_NONE, ERR_NONE}, /* on its way */
        {512, 0, "512 512 ", FAULT_NONE, ERR_NONE},
        {0, 0, "256 0 shelf 7", FAULT_NONE, ERR_NONE},
        {0, 0, "256 256 shelf 7", FAULT_NONE, ERR_CONFLICT},
        {256, 0, NULL, FAULT_NONE, ERR_CONFLICT},
        {255, 0, "256 256 shelf 7", FAULT_NONE, ERR_CONFLICT},
        {257, 0, "256 256 shelf 7", FAULT_NONE, ERR_CONFLICT},
        {256, 400, "256 256 shelf 7", FAULT_NONE, ERR_CONFLICT},
        {0, 400, NULL, FAULT_NONE, ERR_CONFLICT},
        {512, 0, "512 512 shelf 7", FAULT_LEAF_CHANGED, ERR_CONFLICT},
        {512, 0, "512 512 shelf 7", FAULT_ENTRIES_SWAPPED, ERR_CONFLICT},
        {512, 0, "512 512 shelf 7", FAULT_ENTRY_LEFT_OUT, ERR_CONFLICT},
        {256, 0, "256 512 shelf 7", FAULT_NONE, ERR_CONFLICT},
        {255, 0, "255 255 shelf 7", FAULT_NONE, ERR_CONFLICT},
        {256, 0, "256", FAULT_NONE, ERR_CONFLICT},
        {256, 0, "", FAULT_NONE, ERR_CONFLICT},
    };
    struct tree t;
    plant(&t, 600);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char explain[256] = "";
        t.cleared = cases[i].cleared;
        t.emptied = cases[i].emptied;
        t.archive = cases[i].archive;
        if (judge(&t, cases[i].fault, explain) != cases[i].err)
            fail_msg("case %zu: %s", i, explain);
    }
    free(t.leaves);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_ledgers_hold),
        cmocka_unit_test(every_fault_is_found),
        cmocka_unit_test(archived_entries_are_judged_by_their_leaves),
        cmocka_unit_test(a_ledger_without_entries_may_lack_a_head),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
