#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/crypto.h"
#include "hub/signer/ledger_state.h"
#include "tests/unit/naive_tree.h"
#include "tests/unit/temporary_folder.h"

#define SLOT_STRIDE 4096
#define FILE_SIZE   (2 * SLOT_STRIDE)

struct fixture {
    char folder[PATH_MAX], path[PATH_MAX + 16];
};

static int set_up(void **state)
{
    static struct fixture f;
    temporary_folder_make(f.folder);
    (void)snprintf(f.path, sizeof f.path, "%s/ledger.state", f.folder);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    const struct fixture *f = *state;
    temporary_folder_remove(f->folder);
    return 0;
}

/* With the root of a log of `root` leaves, and the right proof where there is one. */
static enum err advance(struct ledger_state *s, uint64_t size, uint64_t root)
{
    struct hash h = counted_root(root);
    struct hash proof[MERKLE_PROOF_MAX];
    size_t len = s->signed_last.held ? counted_proof(s->signed_last.number, size, proof) : 0;
    return ledger_state_advance(s, size, &h, proof, len);
}

static void advance_afresh(const struct fixture *f, uint64_t size)
{
    struct ledger_state s;
    assert_int_equal(ledger_state_open(f->path, &s), ERR_NONE);
    assert_int_equal(advance(&s, size, size), ERR_NONE);
    ledger_state_close(&s);
}

/* The size that a new start goes on from. */
static uint64_t size_afresh(const struct fixture *f)
{
    struct ledger_state s;
    assert_int_equal(ledger_state_open(f->path, &s), ERR_NONE);
    struct hash root = counted_root(s.signed_last.number);
    assert_true(s.signed_last.held);
    assert_memory_equal(&s.signed_last.hash, &root, sizeof root);
    uint64_t size = s.signed_last.number;
    ledger_state_close(&s);
    return size;
}

static void read_file(const struct fixture *f, uint8_t bytes[FILE_SIZE])
{
    int fd = open(f->path, O_RDONLY);
    assert_int_equal(read(fd, bytes, FILE_SIZE), FILE_SIZE);
    close(fd);
}

static void write_file(const struct fixture *f, const uint8_t *bytes, size_t n)
{
    int fd = open(f->path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(write(fd, bytes, n), n);
    close(fd);
}

static void starts_empty(void **state)
{
    const struct fixture *f = *state;
    struct ledger_state s;
    struct stat st;
    assert_int_equal(ledger_state_open(f->path, &s), ERR_NONE);
    assert_false(s.signed_last.held);
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_size, FILE_SIZE);
    ledger_state_close(&s);
    assert_int_equal(s.signed_last.fd, -1);
    ledger_state_close(&s);
    assert_int_equal(ledger_state_open(f->path, &s), ERR_NONE);
    assert_false(s.signed_last.held);
    /* the empty tree can be the first */
    assert_int_equal(advance(&s, 0, 0), ERR_NONE);
    assert_int_equal(advance(&s, 0, 1), ERR_REFUSED);
    ledger_state_close(&s);
    assert_int_equal(size_afresh(f), 0);
    assert_int_equal(ledger_state_open("/nonexistent/ledger.state", &s), ERR_IO);
}

static void goes_forward_only(void **state)
{
    const struct fixture *f = *state;
    for (uint64_t size = 1; size < 40; size += size % 3 + 1) {
        struct ledger_state s;
        advance_afresh(f, size);
        assert_int_equal(size_afresh(f), size);
        assert_int_equal(ledger_state_open(f->path, &s), ERR_NONE);
        assert_int_equal(advance(&s, size - 1, size - 1), ERR_REFUSED);
        assert_int_equal(advance(&s, size, size + 1), ERR_REFUSED);
        assert_int_equal(advance(&s, size, size), ERR_NONE);
        assert_int_equal(s.signed_last.number, size);
        ledger_state_close(&s);
    }
}

/* A hub that was taken over has a larger tree, and no proof that it continues the last one. */
static void takes_no_fork(void **state)
{
    const struct fixture *f = *state;
    struct hash proof[MERKLE_PROOF_MAX + 1] = {{{0}}};
    struct ledger_state s;
    advance_afresh(f, 100);
    assert_int_equal(ledger_state_open(f->path, &s), ERR_NONE);
    size_t len = counted_proof(100, 200, proof);
    struct hash root = counted_root(200);
    struct hash other = counted_root(201);
    assert_int_equal(ledger_state_advance(&s, 200, &root, NULL, 0), ERR_REFUSED);
    assert_int_equal(ledger_state_advance(&s, 200, &root, proof, len - 1), ERR_REFUSED);
    assert_int_equal(ledger_state_advance(&s, 200, &root, proof, len + 1), ERR_REFUSED);
    assert_int_equal(ledger_state_advance(&s, 200, &other, proof, len), ERR_REFUSED);
    assert_int_equal(ledger_state_advance(&s, UINT64_MAX, &other, proof, len), ERR_REFUSED);
    for (size_t i = 0; i < len; i++) {
        proof[i].bytes[31] ^= 1;
        assert_int_equal(ledger_state_advance(&s, 200, &root, proof, len), ERR_REFUSED);
        proof[i].bytes[31] ^= 1;
    }
    /* a proof from a tree that is not the last one signed */
    size_t other_len = counted_proof(99, 200, proof);
    assert_int_equal(ledger_state_advance(&s, 200, &root, proof, other_len), ERR_REFUSED);
    assert_int_equal(s.signed_last.number, 100);
    ledger_state_close(&s);
    assert_int_equal(size_afresh(f), 100);
    advance_afresh(f, 200);
    assert_int_equal(size_afresh(f), 200);
}

/* Its owner vouches for the next tree, if it is larger, and for no other. */
static void takes_one_tree_on_its_owners_word(void **state)
{
    const struct fixture *f = *state;
    struct hash other = counted_root(7);
    struct ledger_state s;
    advance_afresh(f, 100);
    assert_int_equal(ledger_state_open(f->path, &s), ERR_NONE);
    assert_false(s.accept_roll_back);
    s.accept_roll_back = true;
    assert_int_equal(ledger_state_advance(&s, 99, &other, NULL, 0), ERR_REFUSED);
    assert_int_equal(ledger_state_advance(&s, 100, &other, NULL, 0), ERR_REFUSED);
    assert_int_equal(ledger_state_advance(&s, UINT64_MAX - 1, &other, NULL, 0), ERR_NONE);
    assert_false(s.accept_roll_back);
    assert_int_equal(ledger_state_advance(&s, UINT64_MAX, &other, NULL, 0), ERR_REFUSED);
    ledger_state_close(&s);
    assert_int_equal(ledger_state_open(f->path, &s), ERR_NONE);
    assert_int_equal(s.signed_last.number, UINT64_MAX - 1);
    assert_memory_equal(&s.signed_last.hash, &other, sizeof other);
    assert_false(s.accept_roll_back);
    ledger_state_close(&s);
}

/* The power goes while the next slot is written: any number of its bytes is new. */
static void survives_any_torn_write(void **state)
{
    const struct fixture *f = *state;
    uint8_t before[FILE_SIZE], after[FILE_SIZE], torn[FILE_SIZE];
    for (uint64_t size = 10; size < 13; size++) {
        advance_afresh(f, size);
        read_file(f, before);
        advance_afresh(f, size + 100);
        read_file(f, after);
        unsigned old = 0, new = 0;
        for (size_t cut = 0; cut <= SLOT_STRIDE; cut += cut < 100 ? 1 : 97) {
            memcpy(torn, before, sizeof torn);
            for (size_t slot = 0; slot < FILE_SIZE; slot += SLOT_STRIDE)
                memcpy(torn + slot, after + slot, cut);
            write_file(f, torn, sizeof torn);
            uint64_t got = size_afresh(f);
            assert_true(got == size || got == size + 100);
            old += got == size;
            new += got == size + 100;
        }
        assert_true(old > 8 && new > 1);
        write_file(f, before, sizeof before);
    }
}

/* The same while the very first is written, and while the file is made. */
static void survives_a_torn_start(void **state)
{
    const struct fixture *f = *state;
    uint8_t bytes[FILE_SIZE];
    struct ledger_state s;
    advance_afresh(f, 5);
    read_file(f, bytes);
    for (size_t cut = 0; cut < 80; cut++) {
        uint8_t torn[FILE_SIZE] = {0};
        memcpy(torn, bytes, cut);
        write_file(f, torn, sizeof torn);
        assert_int_equal(ledger_state_open(f->path, &s), ERR_NONE);
        assert_false(s.signed_last.held);
        ledger_state_close(&s);
        memset(torn, 0, sizeof torn);
        write_file(f, torn, cut * 100);
        assert_int_equal(ledger_state_open(f->path, &s), ERR_NONE);
        assert_false(s.signed_last.held);
        ledger_state_close(&s);
        advance_afresh(f, 1);
    }
}

static void refuses_what_is_damaged_twice(void **state)
{
    const struct fixture *f = *state;
    uint8_t bytes[FILE_SIZE];
    struct ledger_state s = {.signed_last.fd = -7};
    advance_afresh(f, 5);
    advance_afresh(f, 6);
    read_file(f, bytes);
    for (size_t i = 0; i < 80; i += 9) {
        bytes[i] ^= 1;
        bytes[SLOT_STRIDE + i] ^= 1;
        write_file(f, bytes, sizeof bytes);
        assert_int_equal(ledger_state_open(f->path, &s), ERR_SYNTAX);
        assert_int_equal(s.signed_last.fd, -7);
        bytes[i] ^= 1;
        bytes[SLOT_STRIDE + i] ^= 1;
    }
    write_file(f, bytes, sizeof bytes);
    assert_int_equal(size_afresh(f), 6);
}

/* No write, no signature: a disk that fails leaves it where it was. */
static void stays_where_the_disk_fails(void **state)
{
    const struct fixture *f = *state;
    struct ledger_state s;
    advance_afresh(f, 5);
    assert_int_equal(ledger_state_open(f->path, &s), ERR_NONE);
    int good = s.signed_last.fd;
    s.signed_last.fd = open(f->path, O_RDONLY);
    assert_int_equal(advance(&s, 6, 6), ERR_IO);
    assert_int_equal(s.signed_last.number, 5);
    assert_int_equal(advance(&s, 5, 5), ERR_NONE);
    close(s.signed_last.fd);
    s.signed_last.fd = open("/dev/full", O_WRONLY);
    assert_int_equal(advance(&s, 6, 6), ERR_DISK_FULL);
    assert_int_equal(s.signed_last.number, 5);
    close(s.signed_last.fd);
    s.signed_last.fd = good;
    assert_int_equal(advance(&s, 6, 6), ERR_NONE);
    ledger_state_close(&s);
    assert_int_equal(size_afresh(f), 6);
}

static void follows_no_link(void **state)
{
    const struct fixture *f = *state;
    struct ledger_state s;
    assert_int_equal(symlink("elsewhere", f->path), 0);
    assert_int_equal(ledger_state_open(f->path, &s), ERR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(starts_empty, set_up, tear_down),
        cmocka_unit_test_setup_teardown(goes_forward_only, set_up, tear_down),
        cmocka_unit_test_setup_teardown(takes_no_fork, set_up, tear_down),
        cmocka_unit_test_setup_teardown(takes_one_tree_on_its_owners_word, set_up, tear_down),
        cmocka_unit_test_setup_teardown(survives_any_torn_write, set_up, tear_down),
        cmocka_unit_test_setup_teardown(survives_a_torn_start, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refuses_what_is_damaged_twice, set_up, tear_down),
        cmocka_unit_test_setup_teardown(stays_where_the_disk_fails, set_up, tear_down),
        cmocka_unit_test_setup_teardown(follows_no_link, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
