#include "cli/manifest_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/progress.h"
#include "cli/seen.h"
#include "pki/pem.h"

static int fail(struct cli *cli, const struct manifest_file *f)
{
    return cli_fail(cli, CLI_FILE, "file", "%s: %m", f->path);
}

static enum err source(void *ctx, uint8_t *buffer, size_t max, size_t *ret_len)
{
    const struct manifest_file *f = ctx;
    ssize_t n;
    do {
        n = read(f->fd, buffer, max);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return ERR_IO;
    *ret_len = (size_t)n;
    return ERR_NONE;
}

/* ---- open ---- */

/* Twice read needs a file. It is nobody's but ours, and gone when this ends. */
static int copy_input(void)
{
    FILE *copy = tmpfile();
    int fd = copy == NULL ? -1 : fcntl(fileno(copy), F_DUPFD_CLOEXEC, 3);
    bool ok = fd >= 0;
    char bytes[64 * 1024];
    while (ok) {
        ssize_t n = read(STDIN_FILENO, bytes, sizeof bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            ok = n == 0;
            break;
        }
        for (ssize_t at = 0; ok && at < n;) {
            ssize_t written = write(fd, bytes + at, (size_t)(n - at));
            ok = written > 0;
            at += written;
        }
    }
    int saved = errno;
    if (copy != NULL)
        (void)fclose(copy);
    if (!ok && fd >= 0)
        (void)close(fd);
    errno = saved;
    return ok ? fd : -1;
}

static int open_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        return open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char *folder = strndup(path, slash == path ? 1 : (size_t)(slash - path));
    int fd = folder == NULL ? -1 : open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(folder);
    return fd;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static int choose_format(struct cli *cli, const char *path, const char *format,
                         enum manifest_format *ret_format)
{
    bool csv = format != NULL ? strcmp(format, "csv") == 0 : ends_with(path, ".csv");
    bool json = format != NULL ? strcmp(format, "jsonl") == 0
                               : ends_with(path, ".jsonl") || ends_with(path, ".ndjson");
    *ret_format = csv ? MANIFEST_CSV : MANIFEST_JSON_LINES;
    if (csv || json)
        return CLI_OK;
    return cli_fail(cli, CLI_USAGE, "usage",
                    format == NULL
                        ? "%s: is it CSV or JSON lines? Say --format csv or --format jsonl"
                        : "there is no format '%s': say --format csv or --format jsonl",
                    format == NULL ? path : format);
}

int manifest_file_open(struct cli *cli, struct manifest_file *f, const char *path,
                       const char *format, int64_t standard)
{
    enum manifest_format chosen;
    f->path = path;
    f->fd = f->folder_fd = -1;
    f->rows = f->claims = 0;
    manifest_reader_init(&f->reader, MANIFEST_CSV, source, f, clock_seconds(), standard);
    int code = choose_format(cli, path, format, &chosen);
    if (code != CLI_OK)
        return code;
    f->reader.format = chosen;
    f->fd = strcmp(path, "-") == 0 ? copy_input() : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (f->fd < 0)
        return fail(cli, f);
    struct stat st;
    if (fstat(f->fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        manifest_file_close(f);
        return cli_fail(cli, CLI_FILE, "file",
                        "%s is not a plain file; what comes from a pipe is read as -", path);
    }
    f->folder_fd = open_folder(path);
    if (f->folder_fd >= 0)
        return CLI_OK;
    code = fail(cli, f);
    manifest_file_close(f);
    return code;
}

void manifest_file_close(struct manifest_file *f)
{
    manifest_reader_cleanup(&f->reader);
    if (f->fd >= 0)
        (void)close(f->fd);
    if (f->folder_fd >= 0)
        (void)close(f->folder_fd);
    f->fd = f->folder_fd = -1;
}

/* ---- certificates ---- */

/* The file was written by somebody else: it may name what lies beside it, and nothing outside. */
static bool is_inside(const char *path)
{
    bool start = true;
    if (path[0] == '/')
        return false;
    for (const char *c = path; *c != '\0'; c++) {
        if (start && c[0] == '.' && c[1] == '.' && (c[2] == '/' || c[2] == '\0'))
            return false;
        start = *c == '/';
    }
    return true;
}

static int read_certificate(struct cli *cli, struct manifest_file *f, struct manifest_row *row)
{
    char path[1024];
    struct stat st;
    unsigned long long line = row->line;
    if (row->idevid.len >= sizeof path)
        return cli_fail(cli, CLI_REFUSED, "manifest", "%s: line %llu: idevid: the path is too long",
                        f->path, line);
    memcpy(path, row->idevid.data, row->idevid.len);
    path[row->idevid.len] = '\0';
    if (!is_inside(path))
        return cli_fail(cli, CLI_REFUSED, "manifest",
                        "%s: line %llu: idevid: only paths below the file's own folder are taken",
                        f->path, line);
    int fd = openat(f->folder_fd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    ssize_t n = -1;
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size <= MANIFEST_PEM_MAX)
        n = read(fd, f->pem, sizeof f->pem);
    int saved = errno;
    if (fd >= 0)
        (void)close(fd);
    errno = saved;
    if (fd < 0)
        return cli_fail(cli, CLI_FILE, "file", "%s: line %llu: %s: %m", f->path, line, path);
    if (n <= 0)
        return cli_fail(cli, CLI_REFUSED, "manifest",
                        "%s: line %llu: %s is not a certificate of at most %d bytes", f->path, line,
                        path, MANIFEST_PEM_MAX);
    row->proof = MANIFEST_IDEVID;
    row->idevid = slice_of(f->pem, (size_t)n);
    return CLI_OK;
}

/* ---- rows ---- */

int manifest_file_next(struct cli *cli, struct manifest_file *f, struct manifest_row *ret_row,
                       bool *ret_end)
{
    struct manifest_error error = {.text = ""};
    enum err err = manifest_reader_next(&f->reader, ret_row, ret_end, &error);
    if (err == ERR_NO_MEMORY)
        return cli_fail_memory(cli);
    if (err != ERR_NONE && error.text[0] == '\0')
        return fail(cli, f);
    if (err != ERR_NONE)
        return cli_fail(cli, CLI_REFUSED, "manifest", "%s: %s", f->path, error.text);
    if (!*ret_end && ret_row->proof == MANIFEST_IDEVID_FILE)
        return read_certificate(cli, f, ret_row);
    return CLI_OK;
}

/* ---- check ---- */

struct checking {
    struct seen *serials, *keys;
};

static int check_once(struct cli *cli, const struct manifest_file *f, struct seen *seen,
                      struct slice key, const struct manifest_row *row, const char *what)
{
    uint64_t line = 0;
    enum err err = seen_add(seen, key, row->line, &line);
    if (err == ERR_EXISTS)
        return cli_fail(cli, CLI_REFUSED, "manifest",
                        "%s: line %llu: %s stands in line %llu already", f->path,
                        (unsigned long long)row->line, what, (unsigned long long)line);
    return err == ERR_NONE ? CLI_OK : cli_fail_memory(cli);
}

static int check_row(struct cli *cli, struct manifest_file *f, const struct checking *c,
                     const struct manifest_row *row)
{
    char what[MANIFEST_SERIAL_MAX + 16];
    (void)snprintf(what, sizeof what, "serial %s", row->serial);
    int code = check_once(cli, f, c->serials, slice_of_text(row->serial), row, what);
    uint8_t certificate[SHA256_SIZE], key[SHA256_SIZE];
    if (code != CLI_OK || row->proof == MANIFEST_CLAIM)
        return code;
    if (row->proof == MANIFEST_KEY) {
        memcpy(key, row->key_sha256, sizeof key);
    } else {
        enum err err = pem_certificate_hashes(row->idevid, certificate, key);
        if (err != ERR_NONE)
            return cli_fail(
                cli, CLI_REFUSED, "manifest",
                "%s: line %llu: idevid: it is not one certificate in PEM, of a kind that "
                "is taken: %s",
                f->path, (unsigned long long)row->line, err_text(err));
    }
    return check_once(cli, f, c->keys, slice_of(key, sizeof key), row, "its key");
}

static int check_all(struct cli *cli, struct manifest_file *f, const struct checking *c)
{
    struct progress progress;
    progress_start(&progress, cli, "rows checked", 0, 0);
    int code;
    for (;;) {
        struct manifest_row row;
        bool end = false;
        code = manifest_file_next(cli, f, &row, &end);
        if (code == CLI_OK && !end)
            code = check_row(cli, f, c, &row);
        if (code != CLI_OK || end)
            break;
        f->rows++;
        f->claims += row.proof == MANIFEST_CLAIM ? 1 : 0;
        progress_set(&progress, f->rows);
    }
    progress_end(&progress);
    return code;
}

static int rewind_file(struct cli *cli, struct manifest_file *f)
{
    const struct manifest_reader *r = &f->reader;
    enum manifest_format format = r->format;
    int64_t now = r->now, standard = r->standard;
    if (lseek(f->fd, 0, SEEK_SET) < 0)
        return fail(cli, f);
    manifest_reader_cleanup(&f->reader);
    manifest_reader_init(&f->reader, format, source, f, now, standard);
    return CLI_OK;
}

int manifest_file_check(struct cli *cli, struct manifest_file *f)
{
    struct checking c = {NULL, NULL};
    int code = rewind_file(cli, f);
    if (code == CLI_OK && (seen_new(&c.serials) != ERR_NONE || seen_new(&c.keys) != ERR_NONE))
        code = cli_fail_memory(cli);
    if (code == CLI_OK)
        code = check_all(cli, f, &c);
    seen_free(c.serials);
    seen_free(c.keys);
    if (code == CLI_OK && f->rows == 0)
        code = cli_fail(cli, CLI_REFUSED, "manifest", "%s has no rows", f->path);
    return code == CLI_OK ? rewind_file(cli, f) : code;
}
