/* The `list` verbs: pages of the hub's answers as one table, or as one JSON document. */
#ifndef CLI_LIST_H
#define CLI_LIST_H

#include "cli/hub_link.h"
#include "cli/table.h"

/* Options that every `list` has. */
#define LIST_OPTIONS                                                                               \
    {.name = "limit", .letter = 'n', .value = "N", .help = "show at most N; standard: 100"},       \
        {.name = "after", .value = "NAME", .help = "only what comes after this name"},             \
    {                                                                                              \
        .name = "all", .letter = 'a', .help = "show all, however many"                             \
    }

struct list {
    const char *path;  /* "/v1/devices" */
    const char *query; /* "model=thermo&", or "" */
    const char *array; /* the member of the answer that holds the items: "devices" */
    const char *none;  /* what to say where there are none */
    const struct table_column *columns;
    size_t columns_len;
    /* Adds one item's cells. */
    enum err (*row)(struct table *t, const json_t *item, int64_t now);
};

int list_run(struct cli *cli, const struct list *list);
/* Calls `each` with every item of every page, up to `limit` items. */
typedef int list_item_fn(void *ctx, const json_t *item);
int list_walk(struct cli *cli, const struct list *list, const char *after, uint64_t limit,
              list_item_fn *each, void (*page_ends)(void *ctx), void *ctx, bool *ret_more,
              char ret_next[65]);

#endif
