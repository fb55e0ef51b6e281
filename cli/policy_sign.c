/* holdfast policy key and sign: the owner's word for what loosens, given without a hub. */
#include <string.h>

#include "base/crypto.h"
#include "cli/policy_change.h"
#include "cli/policy_file.h"
#include "cli/save.h"
#include "pki/owner_key.h"
#include "policy/change.h"

#define NAME_STANDARD "owner/policy"

int policy_run_key(struct cli *cli)
{
    const char *path = cli->operands[1], *name = cli_value(cli, "name");
    uint8_t text[NOTE_KEY_TEXT_MAX + 1];
    struct writer w = writer_over(text, sizeof text);
    struct note_key key;
    if (strcmp(cli->operands[0], "create") != 0)
        return cli_fail(cli, CLI_USAGE, "usage", "say `holdfast policy key create FILE`");
    name = name == NULL ? NAME_STANDARD : name;
    enum err err = owner_key_make(path, name, &key);
    if (err == ERR_EXISTS)
        return cli_fail(cli, CLI_REFUSED, "exists", "%s is there already; give another file", path);
    if (err == ERR_SYNTAX || err == ERR_LIMIT)
        return cli_fail(cli, CLI_USAGE, "usage",
                        "'%.100s' can't name a key: 1 to %d characters, no space and no '+'", name,
                        NOTE_NAME_MAX);
    if (err != ERR_NONE)
        return cli_fail(cli, CLI_FILE, "file", "%s: %s", path, err_text(err));
    note_key_write(&w, &key);
    writer_text(&w, "\n");
    cli_say(cli, "Keep %s off the hub. In policy.yaml, under `changes`, `loosening-key` is:", path);
    return save_note(cli, NULL, writer_bytes(&w), "verifier key", "key");
}

int policy_run_sign(struct cli *cli)
{
    struct policy_file file CLEANUP(policy_file_close);
    struct policy_change change = {.from = 0};
    uint8_t bytes[NOTE_MAX];
    struct writer note = writer_over(bytes, sizeof bytes);
    const char *key = cli_value(cli, "key");
    int code = policy_file_open(cli, policy_file_path(cli), &file);
    if (code == CLI_OK)
        code = cli_read_count(cli, "--from", cli_value(cli, "from"), 0, INT64_MAX, &change.from);
    if (code != CLI_OK)
        return code;
    memcpy(change.fleet, file.policy.fleet, sizeof change.fleet);
    crypto_sha256_one(slice_of(file.bytes, file.len), change.sha256);
    policy_change_write(&note, &change);
    enum err err = owner_key_sign(key, &note);
    if (err == ERR_SYNTAX)
        return cli_fail(cli, CLI_REFUSED, "malformed", "%s and %s.vkey are not one key", key, key);
    if (err != ERR_NONE)
        return cli_fail(cli, CLI_FILE, "file", "%s: %s", key, err_text(err));
    return save_note(cli, cli_value(cli, "output"), writer_bytes(&note), "signature", "signature");
}
