/* Reading from an SQLite file: a connection of its own, and its prepared queries. */
#ifndef HUB_STORE_SQLITE_READER_H
#define HUB_STORE_SQLITE_READER_H

#include "hub/store/database.h"

MUST_USE enum err sqlite_reader_open(const char *path, struct database_reader **ret_reader);
/* Sees what the file holds now for as long as it lives. */
MUST_USE enum err sqlite_snapshot_open(const char *path, struct database_reader **ret_reader,
                                       char explain[256]);
void sqlite_reader_free(struct database_reader *r);

enum err sqlite_reader_get(struct database_reader *r, const struct table *table,
                           struct arena *arena, void *row);
enum err sqlite_reader_list(struct database_reader *r, const struct store_query *query,
                            struct arena *arena, enum err (*row)(void *ctx, const void *row),
                            void *ctx);
enum err sqlite_reader_count(struct database_reader *r, const struct store_query *query,
                             uint64_t *ret_count);

#endif
