/* holdfast-verify: is this ledger whole, unchanged, and the one that its witnesses saw? It needs a
 * folder and keys, no network and no hub, and is small enough to be read before it is believed. */
#include <getopt.h>
#include <stdio.h>

#include <fcntl.h>

#include "verify/crypto.h"
#include "verify/folder.h"
#include "verify/verdict.h"

static const char usage[] =
    "usage: holdfast-verify --key KEY... [--witness KEY... [--quorum K]] [--saved FILE]\n"
    "                       [--checkpoint FILE] [--range FIRST-LAST] [--json] FOLDER\n"
    "       holdfast-verify --key KEY... [--witness KEY... [--quorum K]] [--json] --bundle FILE\n"
    "\n"
    "Checks a copy of a ledger, offline: FOLDER holds `checkpoint` and `tile/`, as they are "
    "served.\n"
    "\n"
    "  --key KEY          a verifier key of the ledger, or the file it is in; may be repeated\n"
    "  --witness KEY      a witness's verifier key, or the file it is in; may be repeated\n"
    "  --quorum K         how many witnesses must vouch; standard: all\n"
    "  --saved FILE       a checkpoint saved earlier: the ledger must continue it\n"
    "  --checkpoint FILE  the checkpoint to check against; standard: the folder's own\n"
    "  --range FIRST-LAST check these entries, for which a part of the ledger will do\n"
    "  --bundle FILE      check one entry with its proof, as `holdfast ledger prove` makes it\n"
    "  --json             tell the result as JSON\n"
    "\n"
    "Exits 0 where everything holds, 2 for a wrong command line, 5 where signatures or hashes do\n"
    "not hold or witnesses are missing, 6 for files, 9 where the saved checkpoint is "
    "contradicted.\n";

static int wrong(const char *what, const char *value)
{
    (void)fprintf(stderr, "holdfast-verify: %s%.200s; --help shows the options\n", what, value);
    return VERIFY_USAGE;
}

/* The one line of the file of that name. */
static enum err read_key_file(const char *path, char ret_text[NOTE_KEY_TEXT_MAX + 1])
{
    uint8_t bytes[NOTE_KEY_TEXT_MAX + 2];
    size_t len = 0;
    enum err err = folder_read(AT_FDCWD, path, bytes, sizeof bytes, &len);
    if (err != ERR_NONE)
        return err == ERR_UNSUPPORTED ? ERR_SYNTAX : err; /* that is said of a key's type */
    while (len > 0 && (bytes[len - 1] == '\n' || bytes[len - 1] == '\r'))
        len--;
    if (len > NOTE_KEY_TEXT_MAX)
        return ERR_LIMIT;
    memcpy(ret_text, bytes, len);
    ret_text[len] = '\0';
    return slice_of_text(ret_text).len == len ? ERR_NONE : ERR_SYNTAX;
}

/* `value` is a key or names a file with one. */
static enum err read_key(const char *value, enum note_key_type type, struct note_key *ret_key)
{
    char text[NOTE_KEY_TEXT_MAX + 1];
    enum err err = note_typed_key_read(slice_of_text(value), verify_sha256, type, ret_key);
    if (err == ERR_NONE || err == ERR_UNSUPPORTED)
        return err;
    err = read_key_file(value, text);
    return err == ERR_NONE ? note_typed_key_read(slice_of_text(text), verify_sha256, type, ret_key)
                           : err;
}

static int add_key(struct question *q, const char *value)
{
    if (q->keys_len == VERIFY_KEYS_MAX)
        return wrong("too many keys: ", value);
    enum err err = read_key(value, NOTE_KEY_ED25519, &q->keys[q->keys_len]);
    if (err == ERR_UNSUPPORTED)
        return wrong("--key is of another type than a ledger's, a witness's perhaps: ", value);
    if (err != ERR_NONE)
        return wrong("--key is neither a verifier key (NAME+HASH+KEY) nor a file with one: ",
                     value);
    q->keys_len++;
    return VERIFY_OK;
}

static int add_witness(struct question *q, const char *value)
{
    if (q->witnesses_len == WITNESSES_MAX)
        return wrong("too many witnesses: ", value);
    struct witness_key *k = &q->witnesses[q->witnesses_len];
    enum err err = read_key(value, NOTE_KEY_WITNESS, &k->note);
    if (err == ERR_UNSUPPORTED)
        return wrong("--witness is of another type than a witness's, a ledger's perhaps: ", value);
    if (err != ERR_NONE)
        return wrong("--witness is neither a verifier key (NAME+HASH+KEY) nor a file with one: ",
                     value);
    for (size_t i = 0; i < q->witnesses_len; i++)
        if (memcmp(q->witnesses[i].note.key, k->note.key, ED25519_KEY_SIZE) == 0)
            return wrong("--witness was given twice, and would count once: ", value);
    q->witnesses_len++;
    return VERIFY_OK;
}

static int set_quorum(struct question *q, const char *value)
{
    struct reader r = reader_over(slice_of_text(value));
    q->quorum = (size_t)reader_decimal(&r, WITNESSES_MAX);
    return reader_finish(&r) == ERR_NONE && q->quorum > 0
               ? VERIFY_OK
               : wrong("--quorum must be a number from 1 to 16, not ", value);
}

static int set_range(struct question *q, const char *value)
{
    struct reader r = reader_over(slice_of_text(value));
    q->first = reader_decimal(&r, LOG_SIZE_MAX - 1);
    reader_expect(&r, SLICE_LITERAL("-"));
    q->last = reader_decimal(&r, LOG_SIZE_MAX - 1);
    q->has_range = reader_finish(&r) == ERR_NONE && q->first <= q->last;
    return q->has_range
               ? VERIFY_OK
               : wrong("--range must be the numbers of two entries, FIRST-LAST, not ", value);
}

enum option_id {
    OPTION_KEY = 256,
    OPTION_WITNESS,
    OPTION_QUORUM,
    OPTION_SAVED,
    OPTION_CHECKPOINT,
    OPTION_RANGE,
    OPTION_BUNDLE,
    OPTION_JSON,
    OPTION_HELP,
    OPTION_VERSION
};

static const struct option options[] = {
    {"key", required_argument, NULL, OPTION_KEY},
    {"witness", required_argument, NULL, OPTION_WITNESS},
    {"quorum", required_argument, NULL, OPTION_QUORUM},
    {"saved", required_argument, NULL, OPTION_SAVED},
    {"checkpoint", required_argument, NULL, OPTION_CHECKPOINT},
    {"range", required_argument, NULL, OPTION_RANGE},
    {"bundle", required_argument, NULL, OPTION_BUNDLE},
    {"json", no_argument, NULL, OPTION_JSON},
    {"help", no_argument, NULL, OPTION_HELP},
    {"version", no_argument, NULL, OPTION_VERSION},
    {NULL, 0, NULL, 0},
};

static int take_option(struct question *q, int option)
{
    switch (option) {
    case OPTION_KEY:
        return add_key(q, optarg);
    case OPTION_WITNESS:
        return add_witness(q, optarg);
    case OPTION_QUORUM:
        return set_quorum(q, optarg);
    case OPTION_SAVED:
        q->saved = optarg;
        return VERIFY_OK;
    case OPTION_CHECKPOINT:
        q->checkpoint = optarg;
        return VERIFY_OK;
    case OPTION_RANGE:
        return set_range(q, optarg);
    case OPTION_BUNDLE:
        q->bundle = optarg;
        return VERIFY_OK;
    case OPTION_JSON:
        q->json = true;
        return VERIFY_OK;
    default:
        return wrong("that is no option, or its value is missing", "");
    }
}

static int check_question(struct question *q, int argc, char **argv)
{
    if (q->keys_len == 0)
        return wrong("--key is missing: the ledger's verifier key, kept since it was set up", "");
    if (optind + (q->bundle == NULL ? 1 : 0) != argc)
        return wrong("name one folder that holds the ledger, or one --bundle", "");
    if (q->bundle != NULL && (q->saved != NULL || q->checkpoint != NULL || q->has_range))
        return wrong("--bundle has its own checkpoint, and can't be had with --saved, --checkpoint "
                     "or --range",
                     "");
    q->folder = argv[optind];
    if (q->quorum == 0)
        q->quorum = q->witnesses_len;
    if (q->quorum > q->witnesses_len)
        return wrong("--quorum asks for more witnesses than keys were given by --witness", "");
    return VERIFY_OK;
}

static int run(int argc, char **argv)
{
    static struct question q;
    static struct verdict v;
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == OPTION_HELP || option == OPTION_VERSION) {
            (void)fputs(option == OPTION_HELP ? usage : "holdfast-verify " VERIFY_VERSION "\n",
                        stdout);
            return fflush(stdout) == 0 ? VERIFY_OK : VERIFY_FILE;
        }
        int code = take_option(&q, option);
        if (code != VERIFY_OK)
            return code;
    }
    int code = check_question(&q, argc, argv);
    if (code != VERIFY_OK)
        return code;
    if (q.bundle != NULL)
        verify_bundle(&q, &v);
    else
        verify_folder(&q, &v);
    if (verdict_print(&q, &v) != ERR_NONE) {
        (void)fprintf(stderr, "holdfast-verify: the result cannot be written\n");
        return v.exit == VERIFY_OK ? VERIFY_FILE : v.exit;
    }
    return v.exit;
}

int main(int argc, char **argv)
{
    enum err err = verify_crypto_init();
    if (err != ERR_NONE) {
        (void)fprintf(stderr, "holdfast-verify: libcrypto cannot be used: %s\n", err_text(err));
        verify_crypto_end();
        return VERIFY_INTERNAL;
    }
    int code = run(argc, argv);
    verify_crypto_end();
    return code;
}
