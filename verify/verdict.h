/* What is asked of a ledger folder, and what was found. */
#ifndef VERIFY_VERDICT_H
#define VERIFY_VERDICT_H

#include "core/cosignature.h"
#include "core/log_reader.h"

#define VERIFY_KEYS_MAX    NOTE_SIGNATURES_MAX
#define VERIFY_MESSAGE_MAX 512

/* The same as those of `holdfast ledger verify`. */
enum verify_exit {
    VERIFY_OK = 0,
    VERIFY_USAGE = 2,        /* the command line is not as the manual has it */
    VERIFY_UNVERIFIED = 5,   /* signatures or hashes do not hold, or too few witnesses vouch */
    VERIFY_FILE = 6,         /* a file cannot be read */
    VERIFY_CONTRADICTED = 9, /* the ledger does not continue the saved checkpoint */
    VERIFY_INTERNAL = 10,    /* memory is out, or a bug */
};

struct question {
    const char *folder;     /* NULL where a bundle is asked about */
    const char *bundle;     /* a file with one entry and its proof, or NULL */
    const char *checkpoint; /* a file; NULL for the folder's own */
    const char *saved;      /* a file, or NULL */
    struct note_key keys[VERIFY_KEYS_MAX];
    size_t keys_len;
    struct witness_key witnesses[WITNESSES_MAX];
    size_t witnesses_len;
    size_t quorum; /* how many of them must vouch; 0 where none were given */
    bool has_range;
    uint64_t first, last; /* the entries that are to be checked; otherwise all */
    bool json;
};

struct verdict {
    enum verify_exit exit;
    const char *code;                 /* of what is wrong, NULL where nothing is */
    char message[VERIFY_MESSAGE_MAX]; /* of what is wrong, and what to do */
    bool has_checkpoint;              /* it was read, and its signature holds */
    struct checkpoint checkpoint, saved;
    const struct note_key *signer; /* of the question's keys */
    struct cosignature_verdict witnesses[WITNESSES_MAX];
    size_t vouching;
    bool has_saved, has_report;
    struct log_report report;
    uint64_t tiles, bytes;
    bool has_entry; /* of a bundle, and it is proven */
    uint64_t number;
    struct slice entry; /* stays until the program ends */
};

/* Fill the verdict in, whatever comes of it. */
void verify_folder(const struct question *q, struct verdict *ret_verdict);
void verify_bundle(const struct question *q, struct verdict *ret_verdict);

/* Of both: the checkpoint's note, from `path`, must be signed with a key of the question's, and
 * cosigned by the quorum. False where it is not, and the verdict says so. */
bool verdict_take_checkpoint(const struct question *q, struct verdict *v, struct slice note,
                             const char *path);
void verdict_fail(struct verdict *v, enum verify_exit code, const char *name, const char *format,
                  ...) PRINTF_LIKE(4, 5);
/* `err` is folder_read()'s. */
void verdict_fail_file(struct verdict *v, const char *path, enum err err);

/* To standard output, and what is wrong to standard error; ERR_IO where that cannot be written. */
MUST_USE enum err verdict_print(const struct question *q, const struct verdict *v);

#endif
