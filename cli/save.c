#include "cli/save.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "cli/hub_link.h"

static int print(struct cli *cli, struct slice bytes, const char *member)
{
    if (!cli->json) {
        (void)fwrite(bytes.data, 1, bytes.len, stdout);
        return CLI_OK;
    }
    json_t *document CLEANUP(json_cleanup) =
        json_pack("{s:s%}", member, (const char *)bytes.data, bytes.len);
    if (document == NULL)
        return cli_fail(cli, CLI_INTERNAL, "internal", "it is not text, and cannot stand in JSON");
    return json_print(cli, document);
}

int save_note(struct cli *cli, const char *path, struct slice bytes, const char *what,
              const char *member)
{
    if (path == NULL || strcmp(path, "-") == 0)
        return print(cli, bytes, member);
    enum err err = file_replace(path, bytes, 0644);
    if (err != ERR_NONE)
        return cli_fail(cli, CLI_FILE, "file", "%s: %m", path);
    if (cli->json) {
        json_t *document CLEANUP(json_cleanup) = json_pack("{s:s}", "file", path);
        return document == NULL ? cli_fail_memory(cli) : json_print(cli, document);
    }
    cli_say(cli, "%s: the %s", path, what);
    return CLI_OK;
}

int save_secret(struct cli *cli, const char *path, struct slice bytes)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return cli_fail(cli, CLI_FILE, "file", "%s: %m", path);
    bool ok = write(fd, bytes.data, bytes.len) == (ssize_t)bytes.len && fsync(fd) == 0;
    int saved = errno;
    ok = close(fd) == 0 && ok;
    if (ok)
        return CLI_OK;
    (void)unlink(path);
    errno = saved;
    return cli_fail(cli, CLI_FILE, "file", "%s: %m", path);
}
