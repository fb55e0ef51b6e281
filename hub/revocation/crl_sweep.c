#include <stdlib.h>
#include <string.h>

#include "hub/revocation/crl_internal.h"

#define SWEEP_ARENA 4096

struct sweep {
    struct write write;
    struct arena *arena;
    size_t rows_len;
    struct crl_entry_row rows[STORE_BATCH_MAX];
};

static void sweep_reads(const struct write *w, struct keyset *keys)
{
    const struct sweep *s = (const struct sweep *)(const void *)w;
    for (size_t i = 0; i < s->rows_len; i++)
        keyset_add(keys, &table_crl_entry, &s->rows[i]);
}

static enum err sweep_apply(struct write *w, struct tx *tx)
{
    const struct sweep *s = CONTAINER_OF(w, struct sweep, write);
    enum err err = ERR_NONE;
    for (size_t i = 0; i < s->rows_len && err == ERR_NONE; i++) {
        err = tx_delete(tx, &table_crl_entry, &s->rows[i]);
        if (err == ERR_NOT_FOUND) /* another hub was faster, or it has moved */
            err = ERR_NONE;
    }
    return err;
}

static void sweep_free(struct sweep *s)
{
    arena_free(s->arena);
    free(s);
}

static void sweep_done(struct write *w)
{
    sweep_free(CONTAINER_OF(w, struct sweep, write));
}

/* An expired certificate is refused without any list: no act, and nothing for the ledger. */
static const struct write_kind sweep_kind = {
    .name = "crl.sweep",
    .lane = STORE_LANE_BULK,
    .reads = sweep_reads,
    .apply = sweep_apply,
    .done = sweep_done,
};

void crl_sweep(struct crl_service *service, const struct crl_entry_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i += STORE_BATCH_MAX) {
        struct sweep *s = calloc(1, sizeof *s);
        struct arena *arena = arena_new(SWEEP_ARENA);
        if (s == NULL || arena == NULL) {
            arena_free(arena);
            free(s);
            return;
        }
        s->arena = arena;
        s->write = (struct write){.kind = &sweep_kind, .arena = arena};
        s->rows_len = n - i < STORE_BATCH_MAX ? n - i : STORE_BATCH_MAX;
        memcpy(s->rows, rows + i, s->rows_len * sizeof *rows);
        if (store_submit(service->store, &s->write) != ERR_NONE) {
            sweep_free(s); /* the next refresh tries again */
            return;
        }
    }
}
