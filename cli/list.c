#include "cli/list.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"

/* A page of devices with all their reports stays well below what one answer may hold. */
#define PAGE_SIZE      250
#define LIMIT_STANDARD 100

int list_walk(struct cli *cli, const struct list *list, const char *after, uint64_t limit,
              list_item_fn *each, void (*page_ends)(void *ctx), void *ctx, bool *ret_more,
              char ret_next[65])
{
    char next[65] = "";
    if (after != NULL)
        (void)snprintf(next, sizeof next, "%.64s", after);
    for (uint64_t shown = 0; shown < limit;) {
        uint64_t left = limit - shown;
        char target[HUB_TARGET_MAX];
        (void)snprintf(target, sizeof target, "%s?%slimit=%" PRIu64 "%s%s", list->path, list->query,
                       left < PAGE_SIZE ? left : PAGE_SIZE, *next == '\0' ? "" : "&after=", next);
        struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
        int code = hub_get(cli, target, &answer);
        if (code != CLI_OK)
            return code;
        const json_t *items = json_object_get(answer.json, list->array);
        if (!json_is_array(items))
            return cli_fail(cli, CLI_UNREACHABLE, "unreachable",
                            "what answers on the socket is not a hub: it sent no '%s'",
                            list->array);
        for (size_t i = 0; i < json_array_size(items); i++) {
            code = each(ctx, json_array_get(items, i));
            if (code != CLI_OK)
                return code;
        }
        shown += json_array_size(items);
        if (page_ends != NULL)
            page_ends(ctx);
        (void)snprintf(next, sizeof next, "%.64s", json_text_of(answer.json, "next"));
        if (*next == '\0' || json_array_size(items) == 0)
            break;
    }
    *ret_more = *next != '\0';
    (void)snprintf(ret_next, 65, "%s", next);
    return CLI_OK;
}

struct showing {
    struct cli *cli;
    const struct list *list;
    struct table table;
    int64_t now;
    uint64_t shown;
};

static int show_row(void *ctx, const json_t *item)
{
    struct showing *s = ctx;
    s->shown++;
    return s->list->row(&s->table, item, s->now) == ERR_NONE ? CLI_OK : cli_fail_memory(s->cli);
}

static void show_page(void *ctx)
{
    struct showing *s = ctx;
    if (s->shown > 0)
        table_print(&s->table);
}

static int show_json(void *ctx, const json_t *item)
{
    struct showing *s = ctx;
    if (s->shown == 0)
        (void)printf("{\n  \"%s\": [", s->list->array);
    (void)fputs(s->shown++ == 0 ? "\n    " : ",\n    ", stdout);
    if (json_dumpf(item, stdout, JSON_PRESERVE_ORDER) != 0)
        return cli_fail(s->cli, CLI_FILE, "file", "standard output: %m");
    return CLI_OK;
}

/* Items are printed as they come, so that a list may be of any length. One that breaks off is left
 * without its end, and so cannot be taken for a whole one. */
static int run_json(struct showing *s, const char *after, uint64_t limit)
{
    bool more = false;
    char next[65];
    int code = list_walk(s->cli, s->list, after, limit, show_json, NULL, s, &more, next);
    if (code != CLI_OK)
        return code;
    if (s->shown == 0)
        (void)printf("{\n  \"%s\": []", s->list->array);
    else
        (void)fputs("\n  ]", stdout);
    if (more)
        (void)printf(",\n  \"next\": \"%s\"", next);
    (void)fputs("\n}\n", stdout);
    return CLI_OK;
}

static int run_table(struct showing *s, const char *after, uint64_t limit)
{
    bool more = false;
    char next[65];
    s->table = table_of(s->list->columns, s->list->columns_len);
    int code = list_walk(s->cli, s->list, after, limit, show_row, show_page, s, &more, next);
    table_free(&s->table);
    if (code != CLI_OK)
        return code;
    if (s->shown == 0)
        cli_say(s->cli, "%s", s->list->none);
    else if (more)
        cli_say(s->cli, "There are more: --all shows all, --after %s the next.", next);
    return CLI_OK;
}

int list_run(struct cli *cli, const struct list *list)
{
    uint64_t limit = cli_has(cli, "all") ? UINT64_MAX : LIMIT_STANDARD;
    const char *wanted = cli_value(cli, "limit"), *after = cli_value(cli, "after");
    int code = CLI_OK;
    if (wanted != NULL && limit == UINT64_MAX)
        return cli_fail(cli, CLI_USAGE, "usage", "--limit and --all exclude each other");
    if (wanted != NULL)
        code = cli_read_count(cli, "--limit", wanted, 1, INT64_MAX, &limit);
    if (code == CLI_OK && after != NULL)
        code = cli_check_name(cli, "thing to start after", after);
    if (code != CLI_OK)
        return code;
    struct showing s = {.cli = cli, .list = list, .now = clock_seconds()};
    return cli->json ? run_json(&s, after, limit) : run_table(&s, after, limit);
}
