/* What the parts of the store over PostgreSQL share. */
#ifndef HUB_STORE_POSTGRES_H
#define HUB_STORE_POSTGRES_H

#include "hub/store/postgres_mender.h"

#define PG_URL_MAX 1024
/* What libpq reads of what stands behind "postgresql:": a URL whole, else a connection string.
 * ERR_SYNTAX, explained. */
MUST_USE enum err pg_url(const char *location, char ret_url[PG_URL_MAX], char explain[256]);

MUST_USE enum err pg_migrate(struct pg_connection *c, char explain[256]);

MUST_USE enum err pg_reader_open(struct pg_mender *mender, struct database_reader **ret_reader);
MUST_USE enum err pg_snapshot_open(const char *location, struct database_reader **ret_reader,
                                   char explain[256]);
void pg_reader_free(struct database_reader *r);
enum err pg_reader_get(struct database_reader *r, const struct table *table, struct arena *arena,
                       void *row);
enum err pg_reader_list(struct database_reader *r, const struct store_query *query,
                        struct arena *arena, enum err (*row)(void *ctx, const void *row),
                        void *ctx);
enum err pg_reader_count(struct database_reader *r, const struct store_query *query,
                         uint64_t *ret_count);

#endif
