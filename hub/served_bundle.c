#include "hub/served_bundle.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/crypto.h"
#include "base/file.h"
#include "base/log.h"

#define BUNDLE_ARENA   (256 * 1024)
#define BUNDLE_STORAGE ((size_t)TRUST_ROOTS_MAX * CERTIFICATE_MAX)

struct first_bundle {
    struct bundle_act act;
    struct hub *hub;
    struct arena *arena; /* this stands in it */
};

static void first_then(struct act *act)
{
    struct first_bundle *first = CONTAINER_OF(act, struct first_bundle, act.act);
    if (act->write.err == ERR_NONE)
        atomic_store(&first->hub->bundle_version, first->act.version);
    else
        log_event(LOG_LEVEL_ERROR, "trust_bundle.refused",
                  F_TEXT("detail", act->write.problem.detail), F_ERR(act->write.err));
    arena_free(first->arena);
}

static enum err install_first(struct hub *hub, struct slice file)
{
    struct arena *arena = arena_new(BUNDLE_ARENA);
    struct first_bundle *first = arena == NULL ? NULL : arena_alloc(arena, sizeof *first);
    if (first == NULL || arena_copy(arena, file, &first->act.note) != ERR_NONE) {
        arena_free(arena);
        return ERR_NO_MEMORY;
    }
    first->hub = hub;
    first->arena = arena;
    first->act.fleet = hub->config.fleet;
    const struct act_origin origin = {.loop = hub->loops[0].loop,
                                      .arena = arena,
                                      .tenant = HUB_TENANT,
                                      .actor = "hub",
                                      .then = first_then};
    identity_replace_bundle(hub->identity, &origin, &first->act);
    return ERR_NONE;
}

static enum err load_file(struct hub *hub)
{
    char path[CONFIG_TEXT_MAX + 16];
    (void)snprintf(path, sizeof path, "%s/bundle", hub->config.state);
    uint8_t *bytes;
    size_t len;
    enum err err = file_read(path, TRUST_BUNDLE_MAX, &bytes, &len);
    if (err != ERR_NONE) {
        log_event(LOG_LEVEL_WARNING, "trust_bundle.missing", F_TEXT("path", path));
        return ERR_NONE;
    }
    err = install_first(hub, slice_of(bytes, len));
    free(bytes);
    return err;
}

enum err served_bundle_read(struct hub *hub, struct store_reader *reader)
{
    struct arena *arena = arena_new(BUNDLE_ARENA);
    struct slice note = {NULL, 0};
    struct trust_bundle bundle;
    uint8_t *storage = arena == NULL ? NULL : arena_alloc(arena, BUNDLE_STORAGE);
    enum err err = storage == NULL ? ERR_NO_MEMORY : identity_bundle(reader, arena, &note);
    if (err == ERR_NONE)
        err = trust_bundle_read(note, NULL, crypto_sha256, crypto_ed25519_verify, storage,
                                BUNDLE_STORAGE, &bundle);
    if (err == ERR_NONE)
        atomic_store(&hub->bundle_version, bundle.version);
    arena_free(arena);
    return err;
}

enum err served_bundle_load(struct hub *hub)
{
    struct store_reader *reader;
    enum err err = store_reader_new(hub->store, &reader); /* those of the loops are in use */
    if (err != ERR_NONE)
        return err;
    err = served_bundle_read(hub, reader);
    store_reader_free(reader);
    return err == ERR_NOT_FOUND ? load_file(hub) : err;
}
