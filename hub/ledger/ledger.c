#include "hub/ledger/ledger.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "hub/ledger/internal.h"

#define HEAD_ARENA_MAX (SETTING_VALUE_MAX + 16384)

/* The setting that says whose ledger it is; written with the first entry. */
#define ORIGIN_NAME "ledger.origin"

/* ---- the frontier ---- */

static size_t frontier_nodes(uint64_t size)
{
    return (size_t)__builtin_popcountll(size);
}

struct slice ledger_frontier_bytes(const struct merkle_frontier *f)
{
    return slice_of(f->nodes, frontier_nodes(f->size) * sizeof f->nodes[0]);
}

enum err ledger_frontier_read(uint64_t size, struct slice bytes,
                              struct merkle_frontier *ret_frontier)
{
    if (bytes.len != frontier_nodes(size) * SHA256_SIZE)
        return ERR_SYNTAX;
    ret_frontier->size = size;
    if (bytes.len > 0)
        memcpy(ret_frontier->nodes, bytes.data, bytes.len);
    return ERR_NONE;
}

/* ---- hooks ---- */

/* A head that somebody else left, if it is whole. */
static enum err read_head(const struct ledger_head_row *row, struct merkle_frontier *ret_frontier)
{
    struct merkle_frontier f;
    enum err err =
        row->size < 0 ? ERR_SYNTAX : ledger_frontier_read((uint64_t)row->size, row->frontier, &f);
    if (err != ERR_NONE)
        return ERR_CONFLICT;
    struct hash root = merkle_frontier_root(&f, crypto_sha256);
    if (memcmp(root.bytes, row->root.bytes, sizeof root.bytes) != 0)
        return ERR_CONFLICT;
    *ret_frontier = f;
    return ERR_NONE;
}

/* Somebody else wrote since our last commit: build on what they left. */
static enum err adopt(struct ledger *l, const struct ledger_head_row *row)
{
    struct merkle_frontier f;
    if (read_head(row, &f) != ERR_NONE || f.size < l->durable.size)
        return ERR_INTERNAL;
    l->durable = f;
    l->has_row = true;
    return ERR_NONE;
}

static enum err on_begin(void *ctx, struct tx *tx)
{
    struct ledger *l = ctx;
    struct ledger_head_row row = {.id = LEDGER_HEAD_ID};
    enum err err = tx_get(tx, &table_ledger_head, &row);
    if (err == ERR_NOT_FOUND)
        err = l->has_row ? ERR_INTERNAL : ERR_NONE;
    else if (err == ERR_NONE && (!l->has_row || (uint64_t)row.size != l->durable.size ||
                                 !slice_equal(row.frontier, ledger_frontier_bytes(&l->durable))))
        err = adopt(l, &row);
    if (err == ERR_NONE)
        l->current = l->durable; /* whatever an abandoned batch left there */
    l->is_saved = false;
    return err;
}

static void on_savepoint(void *ctx)
{
    struct ledger *l = ctx;
    l->is_saved = false;
}

static void on_rollback(void *ctx)
{
    struct ledger *l = ctx;
    if (l->is_saved)
        l->current = l->saved;
    l->is_saved = false;
}

static enum err on_commit(void *ctx, struct tx *tx)
{
    struct ledger *l = ctx;
    if (l->current.size == l->durable.size)
        return ERR_NONE;
    struct ledger_head_row row = {
        .id = LEDGER_HEAD_ID,
        .size = (int64_t)l->current.size,
        .root = merkle_frontier_root(&l->current, crypto_sha256),
        .frontier = ledger_frontier_bytes(&l->current),
        .changed_at = tx_now_ms(tx) / 1000,
    };
    if (l->has_row)
        return tx_update(tx, &table_ledger_head, &row);
    const struct setting_row origin = {
        .name = ORIGIN_NAME,
        .value = slice_of_text(l->origin),
        .changed_at = row.changed_at,
    };
    enum err err = tx_insert(tx, &table_setting, &origin);
    return err == ERR_NONE ? tx_insert(tx, &table_ledger_head, &row) : err;
}

static void run_listener(struct loop_task *task)
{
    struct listener *listener = CONTAINER_OF(task, struct listener, task);
    atomic_store(&listener->pending, false);
    listener->fn(listener->ctx);
}

/* Never back: what others committed after this may have been seen already. */
static void move_head(struct ledger *l, uint64_t size, const struct hash *root)
{
    size_t listeners = 0;
    pthread_mutex_lock(&l->lock);
    if (size > l->head.size) {
        l->head.size = size;
        l->head.root = *root;
        listeners = l->listeners_len;
    }
    pthread_mutex_unlock(&l->lock);
    for (size_t i = 0; i < listeners; i++)
        if (!atomic_exchange(&l->listeners[i].pending, true))
            loop_post(l->listeners[i].loop, &l->listeners[i].task);
}

static void on_committed(void *ctx)
{
    struct ledger *l = ctx;
    if (l->current.size == l->durable.size)
        return;
    l->durable = l->current;
    l->has_row = true;
    struct hash root = merkle_frontier_root(&l->durable, crypto_sha256);
    move_head(l, l->durable.size, &root);
}

/* ---- life ---- */

/* A database is one fleet's: a second one's entries would go on with the ledger of the first. */
static enum err check_origin(const struct ledger *l, struct store_reader *reader,
                             struct arena *arena, char explain[256])
{
    struct setting_row row = {.name = ORIGIN_NAME};
    enum err err = store_get(reader, &table_setting, arena, &row);
    if (err != ERR_NONE) {
        (void)snprintf(explain, 256, "can't read whose ledger it is: %s", err_text(err));
        return err;
    }
    if (slice_equal(row.value, slice_of_text(l->origin)))
        return ERR_NONE;
    (void)snprintf(explain, 256,
                   "the database holds the ledger of '%.*s', and this hub's is '%s': give each "
                   "fleet a database of its own (`store` in the configuration)",
                   row.value.len < 80 ? (int)row.value.len : 80, (const char *)row.value.data,
                   l->origin);
    return ERR_REFUSED;
}

static enum err load(struct ledger *l, struct store_reader *reader, struct arena *arena,
                     char explain[256])
{
    struct ledger_head_row row = {.id = LEDGER_HEAD_ID};
    enum err err = store_get(reader, &table_ledger_head, arena, &row);
    if (err == ERR_NOT_FOUND) {
        merkle_frontier_init(&l->durable);
        err = ledger_verify_empty(reader, explain);
    } else if (err == ERR_NONE) {
        l->has_row = true;
        err = check_origin(l, reader, arena, explain);
        if (err == ERR_NONE)
            err = ledger_verify(reader, &row, &l->durable, explain);
    } else {
        (void)snprintf(explain, 256, "can't read the ledger's head: %s", err_text(err));
    }
    if (err != ERR_NONE)
        return err;
    l->current = l->durable;
    l->head.size = l->durable.size;
    l->head.root = merkle_frontier_root(&l->durable, crypto_sha256);
    return ERR_NONE;
}

enum err ledger_new(struct store *store, const char *origin, struct ledger **ret_ledger,
                    char explain[256])
{
    size_t origin_len = strlen(origin);
    if (origin_len == 0 || origin_len > NOTE_NAME_MAX) {
        (void)snprintf(explain, 256, "the ledger's origin needs 1 to %d characters", NOTE_NAME_MAX);
        return ERR_LIMIT;
    }
    struct store_reader *reader = NULL;
    struct arena *arena = arena_new(HEAD_ARENA_MAX);
    struct ledger *l = calloc(1, sizeof *l);
    enum err err = l == NULL || arena == NULL ? ERR_NO_MEMORY : store_reader_new(store, &reader);
    if (err != ERR_NONE) {
        (void)snprintf(explain, 256, "can't open the ledger: %s", err_text(err));
        goto out;
    }
    memcpy(l->origin, origin, origin_len);
    memcpy(l->head.origin, origin, origin_len);
    if (pthread_mutex_init(&l->lock, NULL) != 0)
        abort(); /* can't fail on Linux */
    err = load(l, reader, arena, explain);
out:
    store_reader_free(reader);
    arena_free(arena);
    if (err != ERR_NONE) {
        free(l);
        return err;
    }
    const struct store_hooks hooks = {
        .ctx = l,
        .begin = on_begin,
        .savepoint = on_savepoint,
        .rollback = on_rollback,
        .commit = on_commit,
        .committed = on_committed,
    };
    store_set_hooks(store, &hooks);
    *ret_ledger = l;
    return ERR_NONE;
}

enum err ledger_check_continues(struct ledger *l, struct store *store, uint64_t size,
                                const struct hash *root, char explain[256])
{
    if (size > l->durable.size) {
        (void)snprintf(explain, 256,
                       "the ledger has %llu entries, and %llu were signed before: the database was "
                       "set back; see \"Restore\" in docs/how-to/set-up-a-hub.md",
                       (unsigned long long)l->durable.size, (unsigned long long)size);
        return ERR_CONFLICT;
    }
    struct store_reader *reader = NULL;
    struct hash found = {{0}};
    enum err err = store_reader_new(store, &reader);
    if (err != ERR_NONE)
        (void)snprintf(explain, 256, "can't read the ledger: %s", err_text(err));
    else
        err = ledger_root_at(reader, size, &found, explain);
    store_reader_free(reader);
    if (err != ERR_NONE || memcmp(found.bytes, root->bytes, sizeof found.bytes) == 0)
        return err;
    (void)snprintf(explain, 256,
                   "the first %llu entries of the ledger are not those that were signed: the "
                   "database was set back and has grown again, or was edited; see \"Restore\" in "
                   "docs/how-to/set-up-a-hub.md",
                   (unsigned long long)size);
    return ERR_CONFLICT;
}

void ledger_free(struct ledger *l)
{
    if (l == NULL)
        return;
    (void)pthread_mutex_destroy(&l->lock);
    free(l);
}

/* ---- appending ---- */

/* The roots of the complete subtrees of 256, 256^2, ... leaves that this leaf is the last of. */
static enum err insert_nodes(struct ledger *l, struct tx *tx, const struct hash *leaf)
{
    const struct merkle_frontier *f = &l->current;
    struct hash node = *leaf;
    size_t at = frontier_nodes(f->size);
    unsigned height = 0;
    for (uint64_t left = f->size; (left & 1) != 0; left >>= 1) {
        node = merkle_node_hash(crypto_sha256, &f->nodes[--at], &node);
        height++;
        unsigned level = height / 8;
        if (height % 8 != 0 || level > TILE_LEVEL_MAX)
            continue;
        struct ledger_node_row row = {
            .level = (int64_t)level,
            .number = (int64_t)(f->size >> height),
            .hash = node,
        };
        enum err err = tx_insert(tx, &table_ledger_node, &row);
        if (err != ERR_NONE)
            return err;
    }
    return ERR_NONE;
}

uint64_t ledger_next(const struct ledger *l)
{
    return l->current.size;
}

enum err ledger_append(struct ledger *l, struct tx *tx, const struct ledger_act *act)
{
    static const uint8_t no_request[STORE_REQUEST_ID] = {0};
    uint8_t bytes[LEDGER_ENTRY_MAX];
    struct writer w = writer_over(bytes, sizeof bytes);
    const struct write *write = tx_write(tx);
    enum err err =
        ledger_entry_write(&w, act, write != NULL ? write->request_id : no_request, tx_now_ms(tx));
    if (err != ERR_NONE)
        return err;

    struct ledger_entry_row row = {
        .number = (int64_t)l->current.size,
        .leaf = merkle_leaf_hash(crypto_sha256, writer_bytes(&w)),
        .data = writer_bytes(&w),
    };
    err = tx_insert(tx, &table_ledger_entry, &row);
    if (err == ERR_NONE && l->current.size % TILE_WIDTH == TILE_WIDTH - 1)
        err = insert_nodes(l, tx, &row.leaf);
    /* A row that is there already means a head that lags behind its entries: nothing to build on.
     */
    if (err != ERR_NONE)
        return err == ERR_EXISTS ? ERR_INTERNAL : err;

    if (!l->is_saved) {
        l->saved = l->current;
        l->is_saved = true;
    }
    merkle_frontier_append(&l->current, crypto_sha256, &row.leaf);
    return ERR_NONE;
}

/* ---- the head, and who follows it ---- */

struct checkpoint ledger_head(struct ledger *l)
{
    pthread_mutex_lock(&l->lock);
    struct checkpoint head = l->head;
    pthread_mutex_unlock(&l->lock);
    return head;
}

enum err ledger_follow(struct ledger *l, struct store_reader *reader, struct arena *arena)
{
    struct checkpoint before = ledger_head(l);
    struct ledger_head_row row = {.id = LEDGER_HEAD_ID};
    struct merkle_frontier f;
    enum err err = store_get(reader, &table_ledger_head, arena, &row);
    if (err == ERR_NOT_FOUND)
        return before.size == 0 ? ERR_NONE : ERR_CONFLICT;
    if (err == ERR_NONE)
        err = read_head(&row, &f);
    if (err != ERR_NONE)
        return err;
    if (f.size < before.size ||
        (f.size == before.size && memcmp(row.root.bytes, before.root.bytes, SHA256_SIZE) != 0))
        return ERR_CONFLICT;
    move_head(l, f.size, &row.root);
    return ERR_NONE;
}

void ledger_on_commit(struct ledger *l, struct loop *loop, void (*fn)(void *ctx), void *ctx)
{
    pthread_mutex_lock(&l->lock);
    if (l->listeners_len == LEDGER_LISTENERS_MAX)
        abort(); /* a listener for each of too many loops: a hub that is put together wrongly */
    struct listener *listener = &l->listeners[l->listeners_len++];
    listener->task.run = run_listener;
    listener->loop = loop;
    listener->fn = fn;
    listener->ctx = ctx;
    pthread_mutex_unlock(&l->lock);
}

enum err ledger_set_checkpoint(struct ledger *l, uint64_t size, struct slice note)
{
    if (note.len == 0 || note.len > sizeof l->note)
        return ERR_LIMIT;
    enum err err = ERR_NONE;
    pthread_mutex_lock(&l->lock);
    if ((l->note_len > 0 && size < l->note_size) || size > l->head.size) {
        err = ERR_REFUSED;
    } else {
        memcpy(l->note, note.data, note.len);
        l->note_len = note.len;
        l->note_size = size;
    }
    pthread_mutex_unlock(&l->lock);
    return err;
}

enum err ledger_checkpoint(struct ledger *l, struct arena *arena, struct slice *ret_note,
                           uint64_t *ret_size)
{
    pthread_mutex_lock(&l->lock);
    enum err err = l->note_len == 0 ? ERR_NOT_FOUND
                                    : arena_copy(arena, slice_of(l->note, l->note_len), ret_note);
    if (err == ERR_NONE && ret_size != NULL)
        *ret_size = l->note_size;
    pthread_mutex_unlock(&l->lock);
    return err;
}
