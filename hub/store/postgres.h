/* What the parts of the store over PostgreSQL share. */
#ifndef HUB_STORE_POSTGRES_H
#define HUB_STORE_POSTGRES_H

#include "hub/store/postgres_connection.h"

MUST_USE enum err pg_migrate(struct pg_connection *c, char explain[256]);

MUST_USE enum err pg_reader_open(const char *url, struct database_reader **ret_reader);
void pg_reader_free(struct database_reader *r);
enum err pg_reader_get(struct database_reader *r, const struct table *table, struct arena *arena,
                       void *row);
enum err pg_reader_list(struct database_reader *r, const struct store_query *query,
                        struct arena *arena, enum err (*row)(void *ctx, const void *row),
                        void *ctx);
enum err pg_reader_count(struct database_reader *r, const struct store_query *query,
                         uint64_t *ret_count);

#endif
