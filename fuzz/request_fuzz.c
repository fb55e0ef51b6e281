/* Every request and query reader on the same bytes. What is refused leaves the result untouched and
 * says why; what is taken keeps the contract's limits. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "api/requests.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_refusal(enum err err, const struct problem *p, const void *ret,
                          const void *before, size_t size)
{
    assert(err == ERR_REFUSED || err == ERR_SYNTAX || err == ERR_LIMIT);
    assert(p->status == 400 && p->code != NULL && p->detail[0] != '\0');
    assert(memcmp(ret, before, size) == 0);
}

static void check_name(const char *name)
{
    assert(text_form_check(&form_name, slice_of_text(name)) == ERR_NONE);
    assert(strlen(name) >= 1 && strlen(name) <= 64);
}

static void check_rows(const struct request_manifest_add_devices *r)
{
    assert(r->rows_len >= 1 && r->rows_len <= 1000);
    for (size_t i = 0; i < r->rows_len; i++) {
        const struct request_manifest_row *row = &r->rows[i];
        check_name(row->serial);
        assert(row->has_claim + row->has_key_sha256 + row->has_idevid_pem == 1);
        assert(row->has_idevid_pem == (row->idevid_pem != NULL));
    }
}

static void check_model(const struct request_model_create *m)
{
    check_name(m->id);
    check_name(m->maker);
    assert(m->proof < API_MODEL_PROOF_COUNT);
    assert(m->key_kinds != 0 && m->key_kinds >> API_KEY_KIND_COUNT == 0);
    assert(m->lifetime_seconds >= 3600 && m->lifetime_seconds <= 94608000);
    assert(m->enrolled_lifetime_seconds >= 300 && m->enrolled_lifetime_seconds <= 86400);
}

static void check_report(const struct request_device_report *r)
{
    assert(r->key_storage < API_KEY_STORAGE_COUNT && r->facts_len <= 32);
    for (size_t i = 0; i < r->facts_len; i++)
        check_name(r->facts[i].name);
}

static void check_list(const struct query_device_list *q)
{
    assert(q->limit >= 1 && q->limit <= 1000 && q->state < API_DEVICE_STATE_COUNT);
    if (q->has_model)
        check_name(q->model);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct arena *arena;
    if (arena == NULL)
        arena = arena_new((size_t)8 * 1024 * 1024);
    char *text = malloc(size + 1);
    assert(arena != NULL && text != NULL);
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    struct slice body = slice_of(data, size);

#define READ(name, from, check)                                                                    \
    {                                                                                              \
        struct problem p = {0};                                                                    \
        struct name ret, before;                                                                   \
        memset(&ret, 0x5a, sizeof ret);                                                            \
        memset(&before, 0x5a, sizeof before);                                                      \
        enum err err = name##_read(from, arena, &ret, &p);                                         \
        if (err != ERR_NONE)                                                                       \
            check_refusal(err, &p, &ret, &before, sizeof ret);                                     \
        else                                                                                       \
            check;                                                                                 \
        arena_reset(arena);                                                                        \
    }
#define READ_BODY(name)  READ(name, body, (void)0)
#define READ_QUERY(name) READ(name, text, (void)0)
    API_REQUEST_READERS(READ_BODY)
    API_QUERY_READERS(READ_QUERY)
    READ(request_manifest_add_devices, body, check_rows(&ret))
    READ(request_model_create, body, check_model(&ret))
    READ(request_device_report, body, check_report(&ret))
    READ(query_device_list, text, check_list(&ret))

    struct problem p = {0};
    assert((decode_no_query(text, &p) == ERR_NONE) == (text[0] == '\0'));
    free(text);
    return 0;
}
