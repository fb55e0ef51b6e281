/* The ledger: checkpoint and tiles as C2SP tlog-tiles has them, entries for people. */
#include <stdio.h>
#include <string.h>

#include "hub/api/views.h"
#include "hub/ledger/archive.h"

#define ENTRIES_ARENA_MAX (7 * 1024 * 1024)

void api_ledger_checkpoint(struct api_call *call)
{
    struct slice note;
    enum err err =
        ledger_checkpoint(call->hub->ledger, http_request_arena(call->request), &note, NULL);
    if (err == ERR_NOT_FOUND)
        err = problem_set(&call->problem, 404, "checkpoint-not-found", "",
                          "no checkpoint has been signed yet; try again in a moment");
    if (api_read_ok(call, err))
        http_reply(call->request, 200, "text/plain; charset=utf-8", note);
}

/* 410: it was here, and is kept elsewhere. */
static enum err archived(struct api_call *call)
{
    struct ledger_archive archive;
    enum err err =
        ledger_archive_read(call->here->reader, http_request_arena(call->request), &archive);
    return err == ERR_NONE
               ? problem_set(&call->problem, 410, "archived", "",
                             "the entries below number %llu were archived, and are kept in %s",
                             (unsigned long long)archive.cleared, archive.where)
               : err;
}

void api_ledger_tile(struct api_call *call)
{
    uint8_t path[TILE_PATH_MAX];
    struct writer w = writer_over(path, sizeof path);
    writer_text(&w, "tile/");
    writer_text(&w, api_param(call, 0));
    struct tile tile;
    enum err err = w.err;
    if (err == ERR_NONE)
        err = tile_read_path(writer_bytes(&w), &tile);
    struct slice bytes;
    /* Hashes tell nothing, and whoever checks the log needs them; entries tell of all tenants. */
    if (err == ERR_NONE && tile.level == TILE_ENTRIES && strcmp(call->tenant, HUB_TENANT) != 0)
        err = problem_set(&call->problem, 403, "fleet-wide", "tile",
                          "entries are of the whole fleet: the tenant '" HUB_TENANT
                          "' alone may see them");
    if (err == ERR_NONE)
        err = ledger_read_tile(call->hub->ledger, call->here->reader, &tile,
                               http_request_arena(call->request), &bytes);
    if (err == ERR_NOT_FOUND || err == ERR_SYNTAX || err == ERR_LIMIT)
        err = problem_set(&call->problem, 404, "tile-not-found", "tile",
                          "there is no such tile in a log of this size");
    if (err == ERR_EXPIRED)
        err = archived(call);
    if (!api_read_ok(call, err))
        return;
    if (tile.width == TILE_WIDTH) /* a full tile never changes */
        http_reply_header(call->request, "Cache-Control", "private, max-age=31536000, immutable");
    http_reply(call->request, 200, "application/octet-stream", bytes);
}

struct listing {
    struct api_call *call;
    struct json_writer json;
};

/* What stands between `mark` and the next quote; empty where it does not. Entries are written by
 * the ledger, in one form. */
static struct slice text_after(struct slice entry, const char *mark)
{
    const uint8_t *at = memmem(entry.data, entry.len, mark, strlen(mark));
    if (at == NULL)
        return slice_of(NULL, 0);
    at += strlen(mark);
    const uint8_t *end = memchr(at, '"', entry.len - (size_t)(at - entry.data));
    return end == NULL ? slice_of(NULL, 0) : slice_of(at, (size_t)(end - at));
}

/* As text; false where it is none. */
static bool read_name(struct slice name, char ret_text[NAME_MAX_BYTES + 1])
{
    if (name.len == 0 || name.len > NAME_MAX_BYTES)
        return false;
    memcpy(ret_text, name.data, name.len);
    ret_text[name.len] = '\0';
    return true;
}

/* The entry as it stands, and beside it the reason that is sealed in it, for who may read that. */
static enum err write_entry(void *ctx, uint64_t number, struct slice data)
{
    struct listing *l = ctx;
    struct json_writer *j = &l->json;
    char tenant[NAME_MAX_BYTES + 1], device[NAME_MAX_BYTES + 1];
    struct slice reason = text_after(data, "\"reason\":\"");
    json_open_object(j);
    json_field_integer(j, "number", (int64_t)number);
    json_key(j, "entry");
    json_raw(j, data);
    if (reason.len > 0 && reason.data[0] == '~' &&
        read_name(text_after(data, "\"tenant\":\""), tenant) &&
        read_name(text_after(data, "\"subject\":\"device/"), device))
        view_reason(l->call, j, tenant, device, reason);
    json_close_object(j);
    return j->w->err;
}

void api_ledger_entries(struct api_call *call)
{
    struct arena *arena = http_request_arena(call->request);
    struct query_ledger_entries in;
    if (!api_read_ok(call, query_ledger_entries_read(http_request_query(call->request), arena, &in,
                                                     &call->problem)))
        return;
    uint64_t size = ledger_head(call->hub->ledger).size;
    bool descending = in.order == API_ORDER_DESC;
    uint64_t first = in.has_first ? (uint64_t)in.first : descending && size > 0 ? size - 1 : 0;
    struct writer w = arena_writer(arena, ENTRIES_ARENA_MAX);
    struct listing listing = {.call = call, .json = json_writer_over(&w)};
    struct json_writer *j = &listing.json;
    json_open_object(j);
    json_field_integer(j, "size", (int64_t)size);
    json_key(j, "entries");
    json_open_array(j);
    enum err err = w.err;
    if (err == ERR_NONE && size > 0)
        err = ledger_read_entries(call->hub->ledger, call->here->reader, first, descending,
                                  (size_t)in.limit, arena, write_entry, &listing);
    if (err == ERR_EXPIRED)
        err = archived(call);
    json_close_array(j);
    json_close_object(j);
    if (api_read_ok(call, err))
        api_reply_json(call, 200, &w);
}

/* ---- archiving ---- */

static void archive_ended(struct act *act)
{
    const struct ledger_archive_act *a = CONTAINER_OF(act, struct ledger_archive_act, act);
    struct api_call *call = api_act_ended(act);
    if (call == NULL)
        return;
    struct writer w = arena_writer(http_request_arena(call->request), 2048);
    struct json_writer j = json_writer_over(&w);
    json_open_object(&j);
    json_field_integer(&j, "before", (int64_t)a->now.before);
    json_field_integer(&j, "cleared", (int64_t)a->now.cleared);
    json_field_text(&j, "where", a->now.where);
    json_close_object(&j);
    api_reply_json(call, 200, &w);
}

/* What is not yet under a signed checkpoint, and the newest tiles, which the hub looks at when it
 * starts, stay. */
static enum err check_before(struct api_call *call, uint64_t before)
{
    struct slice note;
    uint64_t size = 0, most = 0;
    enum err err =
        ledger_checkpoint(call->hub->ledger, http_request_arena(call->request), &note, &size);
    if (err != ERR_NONE && err != ERR_NOT_FOUND)
        return err;
    if (size / TILE_WIDTH * TILE_WIDTH >= ARCHIVE_KEPT)
        most = size / TILE_WIDTH * TILE_WIDTH - ARCHIVE_KEPT;
    if (before % TILE_WIDTH != 0 || before == 0)
        return problem_set(&call->problem, 400, "field-value", "before",
                           "it must be a multiple of 256, so that whole bundles go");
    if (before > most)
        return problem_set(&call->problem, 409, "archive-conflict", "before",
                           "%llu is the most now: the newest entries under the checkpoint stay",
                           (unsigned long long)most);
    return ERR_NONE;
}

void api_ledger_archive(struct api_call *call)
{
    struct arena *arena = http_request_arena(call->request);
    struct request_ledger_archive in;
    if (!api_read_ok(call, request_ledger_archive_read(http_request_body(call->request), arena, &in,
                                                       &call->problem)))
        return;
    struct ledger_archive_act *a = API_NEW(call, struct ledger_archive_act);
    if (a == NULL)
        return;
    enum err err = check_before(call, (uint64_t)in.before);
    if (err == ERR_NONE)
        err = ledger_archive_read(call->here->reader, arena, &a->now);
    if (!api_read_ok(call, err))
        return;
    a->wanted.before = (uint64_t)in.before;
    a->wanted.cleared = a->now.cleared;
    (void)snprintf(a->wanted.where, sizeof a->wanted.where, "%s", in.where);
    const struct act_origin origin = api_origin(call, archive_ended);
    ledger_archive(call->hub->store, call->hub->ledger, &origin, a);
}
