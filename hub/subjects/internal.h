/* What the files of subjects/ share. */
#ifndef HUB_SUBJECTS_INTERNAL_H
#define HUB_SUBJECTS_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "hub/subjects/keytree.h"
#include "hub/subjects/subjects.h"

struct subjects {
    struct store *store;
    struct ledger *ledger;
    const char *path;
    pthread_mutex_t lock; /* of the tree and its file */
    struct keytree tree;
    atomic_bool shared; /* other hubs have copies of the file */
};

/* The setting that has the last number given, and a mark of the tree that it was given from: two
 * hubs with different ones would lock each other out of the names.
 *
 *   value = number(4) mark(32) */
#define COUNTER_NAME "subjects.last"
#define COUNTER_SIZE (4 + SHA256_SIZE)
struct subject_counter {
    uint32_t last;
    struct hash mark;
};
void subject_counter_write(struct writer *w, const struct subject_counter *counter);
MUST_USE enum err subject_counter_read(struct slice value, struct subject_counter *ret_counter);
struct hash subject_mark(const struct subjects *s);

struct subject_row subject_row_of(const char *tenant, const char *id);
/* "~7" -> 7. ERR_SYNTAX. */
MUST_USE enum err subject_number(const char *id, uint32_t *ret_number);
/* Destroys the key, in memory and in the file. */
MUST_USE enum err subject_key_destroy(struct subjects *s, uint32_t number);
/* Writes the tree to its file and wipes the bytes that were there. */
MUST_USE enum err subject_keys_save(struct subjects *s);

#endif
