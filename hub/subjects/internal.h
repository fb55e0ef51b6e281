/* What the files of subjects/ share. */
#ifndef HUB_SUBJECTS_INTERNAL_H
#define HUB_SUBJECTS_INTERNAL_H

#include <pthread.h>

#include "hub/subjects/keytree.h"
#include "hub/subjects/subjects.h"

struct subjects {
    struct store *store;
    struct ledger *ledger;
    const char *path;
    pthread_mutex_t lock; /* of the tree and its file */
    struct keytree tree;
};

struct subject_row subject_row_of(const char *tenant, const char *id);
/* "~7" -> 7. ERR_SYNTAX. */
MUST_USE enum err subject_number(const char *id, uint32_t *ret_number);
/* Destroys the key, in memory and in the file. */
MUST_USE enum err subject_key_destroy(struct subjects *s, uint32_t number);
/* Writes the tree to its file and wipes the bytes that were there. */
MUST_USE enum err subject_keys_save(struct subjects *s);

#endif
