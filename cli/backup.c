/* holdfast backup: the store in one encrypted file, and back. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/hub_link.h"
#include "cli/hub_program.h"

/* ---- create ---- */

static int write_file(struct cli *cli, const char *part, json_t **ret_result)
{
    const char *words[] = {
        "backup", "--config", hub_program_config(cli), "--recipient", cli_value(cli, "recipient"),
        NULL};
    int fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return cli_fail(cli, CLI_FILE, "file", "%s: %m", part);
    int code = hub_program_run(cli, words, fd, ret_result);
    if (code == CLI_OK && fsync(fd) != 0)
        code = cli_fail(cli, CLI_FILE, "file", "%s: %m", part);
    if (close(fd) != 0 && code == CLI_OK)
        code = cli_fail(cli, CLI_FILE, "file", "%s: %m", part);
    return code;
}

/* The file gets its name when it is whole and on the disk; a backup never replaces another. */
static int run_create(struct cli *cli)
{
    const char *output = cli_value(cli, "output");
    char part[PATH_MAX];
    json_t *result CLEANUP(json_cleanup) = NULL;
    int n = snprintf(part, sizeof part, "%s.part", output);
    if (n < 0 || (size_t)n >= sizeof part)
        return cli_fail(cli, CLI_USAGE, "usage", "the path of --output is too long");
    if (access(output, F_OK) == 0)
        return cli_fail(cli, CLI_REFUSED, "exists", "%s is there already: choose another name",
                        output);
    if (unlink(part) != 0 && errno != ENOENT) /* of one that was cut short */
        return cli_fail(cli, CLI_FILE, "file", "%s: %m", part);
    int code = write_file(cli, part, &result);
    if (code == CLI_OK && (rename(part, output) != 0 || file_flush_folder(output) != ERR_NONE))
        code = cli_fail(cli, CLI_FILE, "file", "%s: %m", output);
    if (code != CLI_OK) {
        (void)unlink(part);
        return code;
    }
    cli_say(cli, "%s: written, and encrypted", output);
    return hub_program_told(cli, result);
}

/* ---- verify, restore ---- */

static int run_verify(struct cli *cli)
{
    const char *words[] = {"check-backup", "--key", cli_value(cli, "key"), cli->operands[0], NULL};
    json_t *result CLEANUP(json_cleanup) = NULL;
    int code = hub_program_run(cli, words, -1, &result);
    if (code != CLI_OK)
        return code;
    cli_say(cli, "%s: whole and genuine; the ledger in it holds", cli->operands[0]);
    return hub_program_told(cli, result);
}

static int run_restore(struct cli *cli)
{
    const char *words[] = {
        "restore",        "--config", hub_program_config(cli), "--key", cli_value(cli, "key"),
        cli->operands[0], NULL};
    json_t *result CLEANUP(json_cleanup) = NULL;
    int code = hub_program_run(cli, words, -1, &result);
    if (code != CLI_OK)
        return code;
    cli_say(cli, "%s: restored, read back and compared; the ledger holds", cli->operands[0]);
    return hub_program_told(cli, result);
}

/* ---- table ---- */

static const struct cli_option create_options[] = {
    {.name = "recipient",
     .letter = 'r',
     .value = "CERTIFICATE",
     .required = true,
     .complete = COMPLETE_FILE,
     .help = "PEM certificate of whoever can open it; key on P-256 or P-384"},
    {.name = "output",
     .letter = 'o',
     .value = "FILE",
     .required = true,
     .complete = COMPLETE_FILE,
     .help = "write it there; a file that is there already stays"},
};

static const struct cli_option key_options[] = {
    {.name = "key",
     .letter = 'k',
     .value = "KEY",
     .required = true,
     .complete = COMPLETE_FILE,
     .help = "the recipient's private key, PEM without a password"},
};

static const struct cli_command commands[] = {
    {.verb = "create",
     CLI_OPTIONS(create_options),
     .summary = "copy the hub's store into an encrypted file; the hub may be at work",
     .help = "Keys are not in it: what is in signer/ and offline/ is kept elsewhere.\n",
     .run = run_create},
    {.verb = "verify",
     .operands = {{.name = "FILE", .complete = COMPLETE_FILE}},
     CLI_OPTIONS(key_options),
     .summary = "open a backup, read all of it, and check the ledger in it from its first entry on",
     .run = run_verify},
    {.verb = "restore",
     .operands = {{.name = "FILE", .complete = COMPLETE_FILE}},
     CLI_OPTIONS(key_options),
     .summary = "fill the hub's store, which must be empty, from a backup",
     .help = "The hub must not run. What was cut short goes on when it is run again.\n",
     .run = run_restore},
};

const struct cli_noun noun_backup = {
    .name = "backup",
    .summary = "the hub's store in one encrypted file",
    .commands = commands,
    .commands_len = ARRAY_LEN(commands),
};
