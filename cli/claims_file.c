#include "cli/claims_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/calendar.h"

static const char heading[] = "serial,claim_code,expires_at\n";

void claims_file_close(struct claims_file *f, bool unused)
{
    if (f->fd < 0)
        return;
    if (unused && f->made)
        (void)unlink(f->path);
    (void)close(f->fd);
    f->fd = -1;
}

void claims_line_write(struct writer *w, const char *serial, const char *code, int64_t expires_at)
{
    writer_text(w, serial);
    writer_text(w, ",");
    writer_text(w, code);
    writer_text(w, ",");
    calendar_write_rfc3339(w, expires_at);
    writer_text(w, "\n");
}

static int fail(struct cli *cli, const struct claims_file *f)
{
    return cli_fail(cli, CLI_FILE, "file", "%s: %m", f->path);
}

/* ---- what is there already ---- */

static int add_held(struct cli *cli, const struct claims_file *f, struct slice line,
                    struct seen *held)
{
    const uint8_t *comma = line.len == 0 ? NULL : memchr(line.data, ',', line.len);
    uint64_t before;
    if (comma == NULL)
        return cli_fail(cli, CLI_FILE, "file", "%s is not a file of claim codes", f->path);
    enum err err = seen_add(held, slice_of(line.data, (size_t)(comma - line.data)), 1, &before);
    /* a code that was made anew for the same device stands behind the void one */
    return err == ERR_NONE || err == ERR_EXISTS ? CLI_OK : cli_fail_memory(cli);
}

static int read_held(struct cli *cli, const struct claims_file *f, struct seen *held,
                     off_t *ret_whole)
{
    int fd = dup(f->fd);
    FILE *in = fd < 0 ? NULL : fdopen(fd, "r");
    if (in == NULL)
        return fail(cli, f);
    char line[CLAIMS_LINE_MAX + 2];
    int code = CLI_OK;
    off_t whole = 0;
    for (uint64_t n = 0; code == CLI_OK && fgets(line, sizeof line, in) != NULL; n++) {
        size_t len = strlen(line);
        bool ended = len > 0 && line[len - 1] == '\n';
        if (!ended && len + 1 < sizeof line)
            break; /* a power cut: its code never reached anybody */
        if (!ended || (n == 0 && strcmp(line, heading) != 0))
            code = cli_fail(cli, CLI_FILE, "file", "%s is not a file of claim codes", f->path);
        else if (n > 0)
            code = add_held(cli, f, slice_of(line, len - 1), held);
        whole += (off_t)len;
    }
    mem_wipe(line, sizeof line);
    if (code == CLI_OK && ferror(in) != 0)
        code = fail(cli, f);
    (void)fclose(in);
    *ret_whole = whole;
    return code;
}

static int go_on(struct cli *cli, struct claims_file *f, struct seen *held)
{
    struct stat st;
    off_t whole = 0;
    if (fstat(f->fd, &st) != 0)
        return fail(cli, f);
    if (!S_ISREG(st.st_mode) || (st.st_mode & 077) != 0 || st.st_uid != geteuid())
        return cli_fail(cli, CLI_FILE, "file",
                        "%s is not a file that you alone can read: claim codes do not go there",
                        f->path);
    int code = read_held(cli, f, held, &whole);
    if (code != CLI_OK)
        return code;
    if (ftruncate(f->fd, whole) != 0 || lseek(f->fd, whole, SEEK_SET) < 0)
        return fail(cli, f);
    return whole == 0 ? claims_file_append(cli, f, slice_of_text(heading)) : CLI_OK;
}

/* ---- open and append ---- */

static int flush_folder(struct cli *cli, const struct claims_file *f)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(f->path, '/');
    size_t n = slash == NULL ? 0 : slash == f->path ? 1 : (size_t)(slash - f->path);
    (void)snprintf(folder, sizeof folder, "%.*s", n == 0 ? 1 : (int)n, n == 0 ? "." : f->path);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fail(cli, f);
    bool ok = fsync(fd) == 0 || errno == EINVAL;
    int saved = errno;
    (void)close(fd);
    errno = saved;
    return ok ? CLI_OK : fail(cli, f);
}

/* So that the disk is found full before codes are made, not after. */
static int reserve(struct cli *cli, const struct claims_file *f, uint64_t codes)
{
    if (codes > INT64_MAX / CLAIMS_LINE_MAX / 2)
        return CLI_OK;
    off_t size = (off_t)((codes + 1) * (CLAIMS_LINE_MAX / 2));
    if (fallocate(f->fd, FALLOC_FL_KEEP_SIZE, 0, size) == 0 || errno == EOPNOTSUPP ||
        errno == ENOSYS)
        return CLI_OK;
    return fail(cli, f);
}

int claims_file_open(struct cli *cli, struct claims_file *f, const char *path, bool resume,
                     uint64_t codes, struct seen *held)
{
    *f = (struct claims_file){.fd = -1, .path = path};
    int code = CLI_OK;
    if (resume)
        f->fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    bool there = f->fd >= 0;
    if (!there && (!resume || errno == ENOENT))
        f->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (f->fd < 0 && errno == EEXIST)
        return cli_fail(cli, CLI_FILE, "file",
                        "%s is there already, and is not overwritten; --resume continues it", path);
    if (f->fd < 0)
        return fail(cli, f);
    f->made = !there;
    if (there) {
        code = go_on(cli, f, held);
    } else {
        code = flush_folder(cli, f);
        if (code == CLI_OK)
            code = reserve(cli, f, codes);
        if (code == CLI_OK)
            code = claims_file_append(cli, f, slice_of_text(heading));
    }
    if (code != CLI_OK)
        claims_file_close(f, true);
    return code;
}

int claims_file_append(struct cli *cli, struct claims_file *f, struct slice lines)
{
    while (lines.len > 0) {
        ssize_t n = write(f->fd, lines.data, lines.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail(cli, f);
        lines = slice_of(lines.data + n, lines.len - (size_t)n);
    }
    return fdatasync(f->fd) == 0 ? CLI_OK : fail(cli, f);
}
