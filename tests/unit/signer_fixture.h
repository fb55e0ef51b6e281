/* A CA, its signer, and one link to it, for the tests of hub/signer. */
#ifndef TESTS_UNIT_SIGNER_FIXTURE_H
#define TESTS_UNIT_SIGNER_FIXTURE_H

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "hub/signer/signer.h"
#include "pki/ca.h"
#include "tests/unit/naive_tree.h"
#include "tests/unit/temporary_folder.h"

#define FLEET       "acme.example"
#define ORIGIN      "acme.example/ledger"
#define DAY         86400
#define SIGNER_USER "nobody" /* where the test runs as root */

struct fixture {
    char folder[PATH_MAX], signer_folder[PATH_MAX];
    struct signer_options options;
    struct signer *signer;
    struct signer_facts facts;
    struct loop *loop;
    struct signer_link *link;
    uint8_t spki[SPKI_MAX];
    size_t spki_len;
};

static inline bool is_root(void)
{
    return geteuid() == 0;
}

static inline void start(struct fixture *f, size_t links)
{
    char explain[256] = "";
    f->options.links = links;
    if (signer_start(&f->options, &f->signer, &f->facts, explain) != ERR_NONE)
        fail_msg("%s", explain);
    assert_int_equal(loop_new("test", &f->loop), ERR_NONE);
    assert_int_equal(signer_link_new(f->signer, f->loop, &f->link), ERR_NONE);
}

static inline void stop(struct fixture *f)
{
    signer_link_free(f->link);
    loop_free(f->loop);
    signer_stop(f->signer);
    f->link = NULL;
    f->loop = NULL;
    f->signer = NULL;
}

static const char *const server_names[] = {"hub.acme.example", "127.0.0.1", "2001:db8::1f"};

static inline int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    char explain[256] = "";
    const char *user = is_root() ? SIGNER_USER : NULL;
    temporary_folder_make(f->folder);
    if (ca_init(f->folder, FLEET, user, explain) != ERR_NONE)
        fail_msg("%s", explain);
    (void)snprintf(f->signer_folder, sizeof f->signer_folder, "%.200s/signer", f->folder);
    f->options = (struct signer_options){.folder = f->signer_folder,
                                         .user = user,
                                         .fleet = FLEET,
                                         .origin = ORIGIN,
                                         .server_names = server_names,
                                         .server_names_len = ARRAY_LEN(server_names),
                                         .links = 1};
    EVP_PKEY *key = NULL;
    assert_int_equal(ca_key_new(KEY_P256, &key), ERR_NONE);
    uint8_t *at = f->spki;
    f->spki_len = (size_t)i2d_PUBKEY(key, &at);
    EVP_PKEY_free(key);
    *state = f;
    alarm(300); /* nothing here may hang for ever */
    return 0;
}

static inline int tear_down(void **state)
{
    struct fixture *f = *state;
    if (f->signer != NULL)
        stop(f);
    temporary_folder_remove(f->folder);
    free(f);
    return 0;
}

/* ---- asking and waiting ---- */

struct answer {
    unsigned called;
    enum err err;
    size_t len;
    uint8_t bytes[CERTIFICATE_MAX];
};

static inline void answered(void *ctx, enum err err, struct slice bytes)
{
    struct answer *a = ctx;
    a->called++;
    a->err = err;
    assert_true(bytes.len <= sizeof a->bytes);
    assert_true((err == ERR_NONE) == (bytes.len > 0));
    if (bytes.len > 0)
        memcpy(a->bytes, bytes.data, bytes.len);
    a->len = bytes.len;
}

static inline void wait_for(const struct fixture *f, const struct answer *a)
{
    while (a->called == 0)
        assert_int_equal(event_base_loop(loop_event_base(f->loop), EVLOOP_ONCE), 0);
    assert_int_equal(a->called, 1);
}

static inline struct certificate_request device_request(const struct fixture *f)
{
    int64_t now = clock_seconds();
    return (struct certificate_request){.profile = PROFILE_DEVICE,
                                        .tenant = "default",
                                        .device = "thermo-1",
                                        .not_before = now - 300,
                                        .not_after = now + 30 * DAY,
                                        .spki = slice_of(f->spki, f->spki_len)};
}

static inline struct certificate_request server_request(const struct fixture *f)
{
    int64_t now = clock_seconds();
    return (struct certificate_request){.profile = PROFILE_SERVER,
                                        .names = {"hub.acme.example", "127.0.0.1", "2001:db8::1f"},
                                        .names_len = 3,
                                        .not_before = now - 300,
                                        .not_after = now + 90 * DAY,
                                        .spki = slice_of(f->spki, f->spki_len)};
}

static inline enum err issue(const struct fixture *f, const struct certificate_request *request,
                             struct answer *a)
{
    *a = (struct answer){.called = 0};
    signer_issue(f->link, request, answered, a);
    wait_for(f, a);
    return a->err;
}

/* With the root of a log of `root` leaves, and a proof that it continues the one of `old`. */
static inline enum err checkpoint(const struct fixture *f, uint64_t old, uint64_t size,
                                  uint64_t root, struct answer *a)
{
    struct hash proof[MERKLE_PROOF_MAX];
    const struct checkpoint_request request = {.size = size,
                                               .root = counted_root(root),
                                               .proof = proof,
                                               .proof_len = counted_proof(old, size, proof)};
    *a = (struct answer){.called = 0};
    signer_sign_checkpoint(f->link, &request, answered, a);
    wait_for(f, a);
    return a->err;
}

#endif
