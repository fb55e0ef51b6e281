/* Subjects: the persons whom rows and entries are about. Their names stand there sealed, each under
 * a key of its own, and everywhere else as a number ("~7"). The keys grow from one file beside the
 * database, in no backup of it (keytree.h); erasing somebody destroys the one key, and with it what
 * was sealed under it, wherever copies are: in the rows, in the ledger, whose hashes stay what they
 * are, and in every backup. This is the domain's one public header. */
#ifndef HUB_SUBJECTS_SUBJECTS_H
#define HUB_SUBJECTS_SUBJECTS_H

#include "hub/ledger/act.h"

struct subjects;

/* Reads the keys. Where there is no such file it is made, if no subject is known yet, or
 * `forget` says that those known are to be nameless from now on: else ERR_REFUSED. Keys of subjects
 * that are erased in the store are destroyed, should they be there (an older file was brought
 * back). `path` is kept. `shared`: other hubs are over this database; then the file must be a copy
 * of theirs, and none is made. */
MUST_USE enum err subjects_open(const char *path, struct store *store, struct ledger *ledger,
                                bool forget, bool shared, struct subjects **ret_subjects,
                                char explain[256]);
/* From now on there are other hubs, with copies of the file. */
void subjects_share(struct subjects *s);
/* Another hub has erased somebody: the key in this one's copy is destroyed, too. */
MUST_USE enum err subjects_erased_elsewhere(struct subjects *s, const char *id);
void subjects_free(struct subjects *s); /* NULL is fine */

/* ---- inside another domain's write ---- */

void subjects_reads(struct subjects *s, struct keyset *keys, const char *tenant, const char *name);
/* The subject of that name; made, with an entry of its own, where it is new. problems:
 * subject-keys-differ (this hub's file is no copy of the one that the others have) */
MUST_USE enum err subjects_named(struct subjects *s, struct act *act, struct tx *tx,
                                 const char *name, char ret_id[SUBJECT_ID_SIZE]);

/* ---- looking up, on any thread ---- */

/* ERR_NOT_FOUND: nobody has that name. */
MUST_USE enum err subjects_find(struct subjects *s, struct store_reader *reader,
                                struct arena *arena, const char *tenant, const char *name,
                                char ret_id[SUBJECT_ID_SIZE]);
/* The name in that row. ERR_NOT_FOUND: it can't be read any more. */
MUST_USE enum err subjects_name(struct subjects *s, const struct subject_row *row,
                                char ret_name[NAME_MAX_BYTES + 1]);

/* ---- what was said about them ---- */

/* `text`, of at most REASON_MAX_BYTES, sealed under the key of the subject `id` as "~7:HEX";
 * `about` stands outside, and must be the same when it is opened. Any thread. ERR_NOT_FOUND: that
 * subject is erased, or none: then nothing of the text is to be kept. */
MUST_USE enum err subjects_seal(struct subjects *s, const char *tenant, const char *id,
                                const char *about, const char *text,
                                char ret_sealed[SEALED_TEXT_SIZE]);
/* ERR_NOT_FOUND: it can't be read any more, or is no such text. */
MUST_USE enum err subjects_unseal(struct subjects *s, const char *tenant, const char *about,
                                  struct slice sealed, char ret_text[REASON_MAX_BYTES + 1]);

/* ---- erasing ---- */

struct subject_act {
    struct act act;
    char id[SUBJECT_ID_SIZE];
};
/* Destroys the key, for good, and then writes that down; asked again where the second step failed,
 * it does the second. problems: subject-not-found, subject-erased */
void subjects_erase(struct subjects *s, const struct act_origin *origin,
                    struct store_reader *reader, struct subject_act *e);

#endif
