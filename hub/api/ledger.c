/* The ledger: checkpoint and tiles as C2SP tlog-tiles has them, entries for people. */
#include <stdio.h>

#include "hub/api/views.h"

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
    if (err == ERR_NONE)
        err = ledger_read_tile(call->hub->ledger, call->here->reader, &tile,
                               http_request_arena(call->request), &bytes);
    if (err == ERR_NOT_FOUND || err == ERR_SYNTAX || err == ERR_LIMIT)
        err = problem_set(&call->problem, 404, "tile-not-found", "tile",
                          "there is no such tile in a log of this size");
    if (!api_read_ok(call, err))
        return;
    if (tile.width == TILE_WIDTH) /* a full tile never changes */
        http_reply_header(call->request, "Cache-Control", "private, max-age=31536000, immutable");
    http_reply(call->request, 200, "application/octet-stream", bytes);
}

static enum err write_entry(void *ctx, uint64_t number, struct slice data)
{
    struct json_writer *j = ctx;
    json_open_object(j);
    json_field_integer(j, "number", (int64_t)number);
    json_key(j, "entry");
    json_raw(j, data);
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
    struct json_writer j = json_writer_over(&w);
    json_open_object(&j);
    json_field_integer(&j, "size", (int64_t)size);
    json_key(&j, "entries");
    json_open_array(&j);
    enum err err = w.err;
    if (err == ERR_NONE && size > 0)
        err = ledger_read_entries(call->hub->ledger, call->here->reader, first, descending,
                                  (size_t)in.limit, arena, write_entry, &j);
    json_close_array(&j);
    json_close_object(&j);
    if (api_read_ok(call, err))
        api_reply_json(call, 200, &w);
}
