/* The records of a copy (copy.h) as bytes. Private to hub/store. */
#ifndef HUB_STORE_COPY_FORMAT_H
#define HUB_STORE_COPY_FORMAT_H

#include "hub/store/copy.h"

#define COPY_HEAD_SIZE 5 /* the letter and the length */
#define COPY_ROW_ARENA ((size_t)1 << 20)

enum copy_letter {
    COPY_HEADER = 'H',
    COPY_TABLE = 'T',
    COPY_ROW = 'R',
    COPY_TABLE_END = 'E',
    COPY_END = 'Z',
};

void copy_header_write(struct writer *w, const struct copy_header *header);
/* ERR_SYNTAX; ERR_UNSUPPORTED where the schema is another, with that alone filled in. */
MUST_USE enum err copy_header_read(struct slice fields, struct copy_header *ret_header);
void copy_digest_write(struct writer *w, const struct copy_digest *digest);
MUST_USE enum err copy_digest_read(struct slice fields, struct copy_digest *ret_digest);
/* ERR_INTERNAL in the writer for a text without an end. */
void copy_row_write(struct writer *w, const struct table *table, const void *row);
/* Into a row's struct of table->row_size bytes; its blobs point into `fields`. */
MUST_USE enum err copy_row_read(struct slice fields, const struct table *table, void *row);
/* As keys are ordered: < 0, 0, > 0. */
int copy_compare_keys(const struct table *table, const void *a, const void *b);

void copy_chain(struct hash *digest, struct slice bytes);

/* The rows of table_setting that keep hubs from a store, and are in no copy: it is being filled, or
 * was left for another. */
#define COPY_MARK_FILLING "store.filling"
#define COPY_MARK_LEFT    "store.left"
bool copy_is_mark(const struct table *table, const void *row);

#endif
