/* A database that is left for another: held against every hub while its rows are taken, and marked
 * when they are safe elsewhere. */
#include <stdlib.h>

#include "hub/store/copy_format.h"
#include "hub/store/database.h"

struct store_hold {
    const struct database_ops *ops;
    struct database *db;
};

enum err store_hold_new(const char *url, struct store_hold **ret_hold,
                        struct store_reader **ret_snapshot, char explain[256])
{
    const char *location = NULL;
    struct store_hold hold = {.ops = database_find(url, &location, explain)};
    struct store_reader *snapshot = NULL;
    if (hold.ops == NULL)
        return ERR_UNSUPPORTED;
    if (!hold.ops->one_hub) {
        explain_set(explain, "that database may have hubs we can't see: stop them, make a backup, "
                             "and restore it to where the store is to be");
        return ERR_UNSUPPORTED;
    }
    enum err err = store_snapshot_new(url, &snapshot, explain); /* opening would create one */
    store_reader_free(snapshot);
    if (err == ERR_NONE)
        err = hold.ops->open(location, &hold.db, explain);
    if (err != ERR_NONE)
        return err;
    struct store_hold *h = malloc(sizeof *h);
    err = h == NULL ? ERR_NO_MEMORY : store_snapshot_new(url, &snapshot, explain);
    if (err != ERR_NONE) {
        free(h);
        hold.ops->close(hold.db);
        return err;
    }
    *h = hold;
    *ret_hold = h;
    *ret_snapshot = snapshot;
    return ERR_NONE;
}

static enum err insert_mark(struct store_hold *h)
{
    const struct setting_row mark = {.name = COPY_MARK_LEFT};
    enum err err = h->ops->begin(h->db);
    if (err != ERR_NONE)
        return err;
    err = h->ops->insert(h->db, &table_setting, &mark);
    if (err == ERR_NONE)
        err = h->ops->commit(h->db);
    if (err != ERR_NONE)
        h->ops->abandon(h->db);
    return err == ERR_EXISTS ? ERR_NONE : err;
}

enum err store_hold_leave(struct store_hold *h)
{
    enum err err = h->ops->start(h->db);
    if (err != ERR_NONE)
        return err;
    err = insert_mark(h);
    h->ops->stop(h->db);
    return err;
}

void store_hold_free(struct store_hold *h)
{
    if (h == NULL)
        return;
    h->ops->close(h->db);
    free(h);
}
