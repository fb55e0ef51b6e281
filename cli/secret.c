#include "cli/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "core/compiler.h"

static size_t without_line_end(const char *text, size_t n)
{
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r'))
        n--;
    return n;
}

/* Until its end, or until a line has come from somebody who types. False: errno says why. */
static bool read_text(int fd, bool line, char *text, size_t size, size_t *ret_len)
{
    size_t n = 0;
    while (n < size && !(line && memchr(text, '\n', n) != NULL)) {
        ssize_t got = read(fd, text + n, size - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return false;
        if (got == 0)
            break;
        n += (size_t)got;
    }
    const char *end = line ? memchr(text, '\n', n) : NULL;
    *ret_len = end == NULL ? n : (size_t)(end - text) + 1;
    return true;
}

int secret_read(struct cli *cli, const char *path, const char *what, char *ret_text, size_t size)
{
    bool input = strcmp(path, "-") == 0;
    const char *name = input ? "standard input" : path;
    size_t len = 0;
    int fd = input ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    bool ok = fd >= 0 && read_text(fd, input, ret_text, size, &len);
    int saved = errno;
    if (!input && fd >= 0)
        (void)close(fd);
    errno = saved;
    if (!ok)
        return cli_fail(cli, CLI_FILE, "file", "%s: %m", name);
    if (len == size)
        return cli_fail(cli, CLI_FILE, "file", "%s is too long for a %s", name, what);
    len = without_line_end(ret_text, len);
    ret_text[len] = '\0';
    return len > 0 && strlen(ret_text) == len
               ? CLI_OK
               : cli_fail(cli, CLI_FILE, "file", "%s holds no %s", name, what);
}
