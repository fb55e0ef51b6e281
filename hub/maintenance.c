#include "hub/maintenance.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/sandbox.h"
#include "core/json_write.h"
#include "hub/config.h"
#include "hub/ledger/ledger.h"
#include "hub/store/copy.h"
#include "pki/envelope.h"

#define EXIT_CONFIG 78
#define OUTPUT_FD   3 /* the backup, opened by who started us */
#define SAY_MS      200
#define SAY_MAX     8192

struct maintenance {
    const char *recipient, *key, *from, *input;
    struct hub_config config;
    char explain[256];

    struct ledger_audit *audit;
    struct store_load *load; /* where rows go, or NULL */
    uint64_t rows, total;
    int64_t said_ms;
};

/* ---- what is said ---- */

static void say(const struct writer *w)
{
    if (w->err == ERR_NONE)
        (void)fwrite(w->start, 1, w->len, stdout);
    (void)fputc('\n', stdout);
    (void)fflush(stdout);
}

static void say_progress(struct maintenance *m)
{
    int64_t now = clock_monotonic_ms();
    if (now - m->said_ms < SAY_MS)
        return;
    m->said_ms = now;
    uint8_t bytes[128];
    struct writer w = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&w);
    json_open_object(&j);
    json_field_integer(&j, "rows", (int64_t)m->rows);
    json_field_integer(&j, "total", (int64_t)m->total);
    json_close_object(&j);
    say(&w);
}

static const char *problem_word(enum err err)
{
    switch (err) {
    case ERR_SYNTAX:
    case ERR_BAD_SIGNATURE:
    case ERR_CONFLICT:
        return "unverified";
    case ERR_NOT_FOUND:
        return "not-found";
    case ERR_EXISTS:
        return "exists";
    case ERR_IO:
    case ERR_DISK_FULL:
        return "file";
    case ERR_REFUSED:
    case ERR_UNSUPPORTED:
    case ERR_LIMIT:
        return "refused";
    case ERR_BUSY:
    case ERR_CLOSED:
    case ERR_UNAVAILABLE:
    case ERR_IN_DOUBT:
    case ERR_TIMEOUT:
        return "store";
    default:
        return "internal";
    }
}

static int say_problem(const struct maintenance *m, enum err err)
{
    uint8_t bytes[SAY_MAX];
    struct writer w = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&w);
    json_open_object(&j);
    json_field_text(&j, "problem", problem_word(err));
    json_field_text(&j, "detail", m->explain[0] != '\0' ? m->explain : err_text(err));
    json_close_object(&j);
    say(&w);
    return EXIT_FAILURE;
}

static void say_result(const struct copy_summary *s)
{
    uint8_t bytes[SAY_MAX];
    struct writer w = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&w);
    json_open_object(&j);
    json_key(&j, "result");
    json_open_object(&j);
    json_field_text(&j, "fleet", s->header.fleet);
    if (s->header.taken_at != 0)
        json_field_time(&j, "taken_at", s->header.taken_at);
    json_field_integer(&j, "schema", s->header.schema);
    json_field_integer(&j, "rows", (int64_t)s->rows);
    json_field_integer(&j, "ledger_size", (int64_t)s->header.ledger_size);
    json_field_hex(&j, "ledger_root", slice_of(s->header.ledger_root.bytes, SHA256_SIZE));
    json_field_hex(&j, "digest", slice_of(s->digest.bytes, SHA256_SIZE));
    json_key(&j, "tables");
    json_open_object(&j);
    for (size_t i = 0; i < TABLE_COUNT; i++)
        json_field_integer(&j, store_tables[i]->name, (int64_t)s->tables[i].rows);
    json_close_object(&j);
    json_close_object(&j);
    json_close_object(&j);
    say(&w);
}

static enum err explained(struct maintenance *m, enum err err, const char *what)
{
    if (err != ERR_NONE && m->explain[0] == '\0')
        (void)snprintf(m->explain, sizeof m->explain, "%.180s: %s", what, err_text(err));
    return err;
}

/* ---- rows that pass by ---- */

static enum err take_row(void *ctx, const struct table *table, const void *row)
{
    struct maintenance *m = ctx;
    enum err err = ledger_audit_row(m->audit, table, row, m->explain);
    if (err == ERR_NONE && m->load != NULL)
        err = explained(m, store_load_row(m->load, table, row), "the store");
    m->rows++;
    say_progress(m);
    return err;
}

/* A new look at all rows, each ledger judged from its start. */
static enum err start_audit(struct maintenance *m, uint64_t total)
{
    ledger_audit_free(m->audit);
    m->audit = NULL;
    m->rows = 0;
    m->total = total;
    return explained(m, ledger_audit_new(&m->audit), "the ledger");
}

static enum err end_audit(struct maintenance *m, const struct copy_header *header)
{
    return ledger_audit_end(m->audit, header->ledger_size, &header->ledger_root, m->explain);
}

/* Whoever started this may be root, and the store the hub's user's: what is the person's own is
 * opened before that user is become, the store after. */
static enum err become_hub(struct maintenance *m)
{
    uid_t uid;
    gid_t gid;
    if (geteuid() != 0 || m->config.user[0] == '\0')
        return ERR_NONE;
    enum err err = sandbox_user(m->config.user, &uid, &gid);
    if (err == ERR_NONE)
        err = sandbox_become(uid, gid);
    return explained(m, err, "can't become the hub's user");
}

/* ---- backup ---- */

static enum err put(void *ctx, struct slice bytes)
{
    return envelope_write(ctx, bytes);
}

static enum err write_backup(struct maintenance *m, struct store_reader *snapshot,
                             struct envelope_writer *envelope, struct copy_summary *ret_summary)
{
    struct copy_header header;
    struct copy_summary summary;
    const struct copy_watch watch = {.row = take_row, .ctx = m};
    enum err err = explained(m, copy_describe(snapshot, m->config.fleet, &header), "the store");
    if (err == ERR_NONE)
        err = start_audit(m, header.rows);
    if (err == ERR_NONE)
        err = explained(m, copy_write(snapshot, &header, put, envelope, &watch, &summary),
                        "the copy");
    if (err == ERR_NONE)
        err = end_audit(m, &header);
    if (err == ERR_NONE)
        err = explained(m, envelope_finish(envelope), "the backup");
    if (err == ERR_NONE)
        *ret_summary = summary;
    return err;
}

static enum err run_backup(struct maintenance *m, struct copy_summary *ret_summary)
{
    struct envelope_writer *envelope = NULL;
    struct store_reader *snapshot = NULL;
    enum err err = envelope_writer_new(OUTPUT_FD, m->recipient, &envelope, m->explain);
    if (err == ERR_NONE)
        err = become_hub(m);
    if (err == ERR_NONE)
        err = store_snapshot_new(m->config.store, &snapshot, m->explain);
    if (err == ERR_NONE)
        err = write_backup(m, snapshot, envelope, ret_summary);
    store_reader_free(snapshot);
    envelope_writer_free(envelope);
    return err;
}

/* ---- check-backup, and restore ---- */

static enum err get(void *ctx, void *buffer, size_t size, size_t *ret_len)
{
    return envelope_read(ctx, buffer, size, ret_len);
}

/* The whole copy once, its rows handed to take_row(). What is wrong with it shows at its end only,
 * where it was forged. */
static enum err read_copy(struct maintenance *m, struct envelope_reader *envelope,
                          struct copy_summary *ret_summary)
{
    struct copy_reader *copy = NULL;
    struct copy_summary summary;
    uint32_t schema = 0;
    const struct copy_source source = {.read = get, .ctx = envelope};
    const struct copy_watch watch = {.row = take_row, .ctx = m};
    enum err err = copy_reader_new(&source, &copy, &schema);
    if (err == ERR_UNSUPPORTED)
        (void)snprintf(m->explain, sizeof m->explain,
                       "the backup is of another version of Holdfast (schema %" PRIu32
                       "): restore it with that one",
                       schema);
    if (err == ERR_NONE)
        err = start_audit(m, copy_reader_header(copy)->rows);
    if (err == ERR_NONE)
        err = copy_read(copy, &watch, &summary);
    if (err == ERR_NONE)
        err = end_audit(m, &summary.header);
    if (err == ERR_BAD_SIGNATURE)
        (void)snprintf(m->explain, sizeof m->explain,
                       "the backup was altered: nothing of it is used");
    copy_reader_free(copy);
    if (err == ERR_NONE)
        *ret_summary = summary;
    return explained(m, err, "the backup");
}

static enum err check_backup(struct maintenance *m, int fd, struct copy_summary *ret_summary)
{
    struct envelope_reader *envelope = NULL;
    enum err err = envelope_reader_new(fd, m->key, &envelope, m->explain);
    if (err == ERR_NONE)
        err = read_copy(m, envelope, ret_summary);
    envelope_reader_free(envelope);
    return err;
}

static enum err open_input(struct maintenance *m, int *ret_fd)
{
    int fd = open(m->input, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        int error = errno;
        (void)snprintf(m->explain, sizeof m->explain, "%.180s: %s", m->input, strerror(error));
        return error == ENOENT ? ERR_NOT_FOUND : ERR_IO;
    }
    *ret_fd = fd;
    return ERR_NONE;
}

static enum err run_check_backup(struct maintenance *m, struct copy_summary *ret_summary)
{
    int fd = -1;
    enum err err = open_input(m, &fd);
    if (err == ERR_NONE)
        err = check_backup(m, fd, ret_summary);
    if (fd >= 0)
        (void)close(fd);
    return err;
}

/* What the store holds now, read back: it must be what the copy held. */
static enum err check_store(struct maintenance *m, const struct copy_summary *wanted)
{
    struct store_reader *reader = NULL;
    struct store_load *load = m->load;
    struct copy_summary found;
    const struct copy_watch watch = {.row = take_row, .ctx = m};
    enum err err = explained(m, store_load_flush(load, &reader), "the store");
    if (err == ERR_NONE)
        err = start_audit(m, wanted->header.rows);
    m->load = NULL; /* rows are looked at alone */
    if (err == ERR_NONE)
        err = explained(m, copy_walk(reader, &wanted->header, &watch, &found), "the store");
    m->load = load;
    if (err == ERR_NONE)
        err = end_audit(m, &wanted->header);
    store_reader_free(reader);
    if (err != ERR_NONE ||
        memcmp(found.digest.bytes, wanted->digest.bytes, sizeof found.digest.bytes) == 0)
        return err;
    (void)snprintf(m->explain, sizeof m->explain,
                   "the store does not hold what was written to it: look at its disk");
    return ERR_CONFLICT;
}

/* Rows are taken a second time, and this time they are kept. */
static enum err check_again(struct maintenance *m, enum err err, const struct copy_summary *again,
                            const struct copy_summary *wanted)
{
    if (err != ERR_NONE ||
        memcmp(again->digest.bytes, wanted->digest.bytes, sizeof again->digest.bytes) == 0)
        return err;
    (void)snprintf(m->explain, sizeof m->explain, "what is read changed meanwhile");
    return ERR_CONFLICT;
}

static enum err fill_store(struct maintenance *m, struct envelope_reader *envelope,
                           const struct copy_summary *wanted)
{
    struct copy_summary again;
    enum err err = store_load_new(m->config.store, &wanted->digest, &m->load, m->explain);
    if (err == ERR_NONE)
        err = check_again(m, read_copy(m, envelope, &again), &again, wanted);
    if (err == ERR_NONE)
        err = check_store(m, wanted);
    if (err == ERR_NONE)
        err = explained(m, store_load_end(m->load), "the store");
    store_load_free(m->load);
    m->load = NULL;
    return err;
}

/* Read twice: nothing of it is used before its end was seen to be genuine. */
static enum err run_restore(struct maintenance *m, struct copy_summary *ret_summary)
{
    int fd = -1;
    struct envelope_reader *envelope = NULL;
    struct copy_summary summary;
    enum err err = open_input(m, &fd);
    if (err == ERR_NONE)
        err = check_backup(m, fd, &summary);
    if (err == ERR_NONE && strcmp(summary.header.fleet, m->config.fleet) != 0) {
        (void)snprintf(m->explain, sizeof m->explain,
                       "the backup is of the fleet '%.64s', and the configuration says '%.64s'",
                       summary.header.fleet, m->config.fleet);
        err = ERR_REFUSED;
    }
    if (err == ERR_NONE)
        err = envelope_reader_new(fd, m->key, &envelope, m->explain);
    if (err == ERR_NONE)
        err = become_hub(m);
    if (err == ERR_NONE)
        err = fill_store(m, envelope, &summary);
    envelope_reader_free(envelope);
    if (fd >= 0)
        (void)close(fd);
    if (err == ERR_NONE)
        *ret_summary = summary;
    return err;
}

/* ---- move ---- */

static enum err walk_store(struct maintenance *m, struct store_reader *snapshot,
                           const struct copy_header *header, struct copy_summary *ret_summary)
{
    const struct copy_watch watch = {.row = take_row, .ctx = m};
    struct copy_summary summary;
    enum err err = start_audit(m, header->rows);
    if (err == ERR_NONE)
        err = explained(m, copy_walk(snapshot, header, &watch, &summary), "the store");
    if (err == ERR_NONE)
        err = end_audit(m, header);
    if (err == ERR_NONE)
        *ret_summary = summary;
    return err;
}

/* At no moment would a hub start over both: the store that is left is closed to hubs before the
 * other one is opened to them. */
static enum err move_rows(struct maintenance *m, struct store_hold *from,
                          struct store_reader *snapshot, const struct copy_summary *wanted)
{
    struct copy_summary again;
    enum err err = store_load_new(m->input, &wanted->digest, &m->load, m->explain);
    if (err == ERR_NONE)
        err = check_again(m, walk_store(m, snapshot, &wanted->header, &again), &again, wanted);
    if (err == ERR_NONE)
        err = check_store(m, wanted);
    if (err == ERR_NONE)
        err = explained(m, store_hold_leave(from), "the store that is left");
    if (err == ERR_NONE)
        err = explained(m, store_load_end(m->load), "the store");
    store_load_free(m->load);
    m->load = NULL;
    return err;
}

static enum err run_move(struct maintenance *m, struct copy_summary *ret_summary)
{
    struct store_hold *from = NULL;
    struct store_reader *snapshot = NULL;
    struct copy_header header;
    struct copy_summary summary;
    enum err err = become_hub(m);
    if (err == ERR_NONE)
        err = store_hold_new(m->from, &from, &snapshot, m->explain);
    if (err == ERR_NONE)
        err = explained(m, copy_describe(snapshot, m->config.fleet, &header), "the store");
    if (err == ERR_NONE) {
        header.taken_at = 0; /* the same rows, the same digest: so what was cut short goes on */
        err = walk_store(m, snapshot, &header, &summary);
    }
    if (err == ERR_NONE)
        err = move_rows(m, from, snapshot, &summary);
    store_reader_free(snapshot);
    store_hold_free(from);
    if (err == ERR_NONE)
        *ret_summary = summary;
    return err;
}

/* ---- command line ---- */

static const struct verb {
    const char *name;
    bool config, recipient, key, from, input; /* what it needs */
    enum err (*run)(struct maintenance *m, struct copy_summary *ret_summary);
} verbs[] = {
    {.name = "backup", .config = true, .recipient = true, .run = run_backup},
    {.name = "check-backup", .key = true, .input = true, .run = run_check_backup},
    {.name = "restore", .config = true, .key = true, .input = true, .run = run_restore},
    {.name = "move", .config = true, .from = true, .input = true, .run = run_move},
};

static const struct verb *find_verb(const char *word)
{
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        if (strcmp(verbs[i].name, word) == 0)
            return &verbs[i];
    return NULL;
}

bool maintenance_is_verb(const char *word)
{
    return find_verb(word) != NULL;
}

static bool read_options(struct maintenance *m, int argc, char **argv, const char **ret_config)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"recipient", required_argument, NULL, 'r'},
        {"key", required_argument, NULL, 'k'},
        {"from", required_argument, NULL, 'f'},
        {NULL, 0, NULL, 0},
    };
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 'c')
            *ret_config = optarg;
        else if (c == 'r')
            m->recipient = optarg;
        else if (c == 'k')
            m->key = optarg;
        else if (c == 'f')
            m->from = optarg;
        else
            return false;
    }
    if (optind < argc)
        m->input = argv[optind++];
    return optind == argc;
}

int maintenance_run(int argc, char **argv)
{
    static struct maintenance m;
    struct config_error error = {""};
    struct copy_summary summary;
    const char *config = NULL;
    const struct verb *verb = find_verb(argv[0]);
    bool fits = verb != NULL && read_options(&m, argc, argv, &config) &&
                verb->config == (config != NULL) && verb->recipient == (m.recipient != NULL) &&
                verb->key == (m.key != NULL) && verb->from == (m.from != NULL) &&
                verb->input == (m.input != NULL);
    if (!fits) {
        (void)fputs("holdfast-hub: this is run by holdfast(1); see holdfast-backup(1), "
                    "holdfast-store(1)\n",
                    stderr);
        return EXIT_CONFIG;
    }
    (void)umask(0077);
    if (config != NULL && hub_config_read(config, &m.config, &error) != ERR_NONE) {
        (void)snprintf(m.explain, sizeof m.explain, "%s", error.text);
        return say_problem(&m, ERR_REFUSED);
    }
    enum err err = verb->run(&m, &summary);
    ledger_audit_free(m.audit);
    if (err != ERR_NONE)
        return say_problem(&m, err);
    say_result(&summary);
    return EXIT_SUCCESS;
}
