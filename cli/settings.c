#include "cli/settings.h"

#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "base/file.h"
#include "core/note.h"

#define KEY(name_, kind_, field_, max_, standard_)                                                 \
    {                                                                                              \
        .name = (name_), .kind = (kind_), .offset = offsetof(struct settings, field_),             \
        .max = (max_), .standard = (standard_), .help = ""                                         \
    }

static const struct config_key keys[] = {
    KEY("fleet", CONFIG_TEXT, fleet, 0, ""),
    KEY("state", CONFIG_PATH, state, 0, ""),
    KEY("store", CONFIG_TEXT, store, 0, ""),
    KEY("socket", CONFIG_PATH, socket, 0, ""),
    KEY("listen-device", CONFIG_TEXT, listen_device, 0, ""),
    KEY("listen-bootstrap", CONFIG_TEXT, listen_bootstrap, 0, ""),
    KEY("listen-operator", CONFIG_TEXT, listen_operator, 0, ""),
    KEY("operator-certificate", CONFIG_PATH, operator_certificate, 0, ""),
    KEY("names", CONFIG_LIST, names, 0, ""),
    KEY("user", CONFIG_TEXT, user, 0, ""),
    KEY("signer-user", CONFIG_TEXT, signer_user, 0, ""),
    KEY("connections", CONFIG_INTEGER, connections, INT64_MAX, "0"),
};

static bool is_wanted(struct slice line)
{
    while (line.len > 0 && (line.data[0] == ' ' || line.data[0] == '\t'))
        line = slice_of(line.data + 1, line.len - 1);
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        struct slice name = slice_of_text(keys[i].name);
        if (!slice_starts_with(line, name) || line.len == name.len)
            continue;
        uint8_t next = line.data[name.len];
        if (next == ' ' || next == '\t' || next == '=')
            return true;
    }
    return false;
}

/* The hub has more keys than are of interest here, and it is the one that judges them
 * (`holdfast-hub --check`): lines of others are blanked, so that lines keep their numbers. */
static void blank_others(uint8_t *text, size_t len)
{
    for (size_t at = 0; at < len;) {
        const uint8_t *end = memchr(text + at, '\n', len - at);
        size_t n = end == NULL ? len - at : (size_t)(end - text) - at;
        if (!is_wanted(slice_of(text + at, n)))
            memset(text + at, ' ', n);
        at += n + 1;
    }
}

static void folder_of(const char *path, char ret_folder[CONFIG_TEXT_MAX])
{
    const char *slash = strrchr(path, '/');
    size_t n = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    (void)snprintf(ret_folder, CONFIG_TEXT_MAX, "%.*s", n == 0 ? 1 : (int)n, n == 0 ? "." : path);
}

enum err settings_read(const struct cli *cli, struct settings *ret_settings,
                       struct config_error *error)
{
    const char *path = cli->config != NULL ? cli->config : SETTINGS_CONFIG_PATH;
    char folder[CONFIG_TEXT_MAX];
    uint8_t *text = NULL;
    size_t len = 0;
    struct settings s = {.path = ""};
    if (strlen(path) >= sizeof s.path) {
        (void)snprintf(error->text, sizeof error->text, "the path of --config is too long");
        return ERR_LIMIT;
    }
    enum err err = file_read(path, CONFIG_FILE_MAX, &text, &len);
    if (err != ERR_NONE) {
        (void)snprintf(error->text, sizeof error->text, "%.180s: %m", path);
        return err;
    }
    folder_of(path, folder);
    blank_others(text, len);
    err = config_read(slice_of(text, len), path, folder, keys, ARRAY_LEN(keys), &s, error);
    free(text);
    if (err != ERR_NONE)
        return err;
    (void)snprintf(s.path, sizeof s.path, "%s", path);
    *ret_settings = s;
    return ERR_NONE;
}

static int copy(struct cli *cli, const char *from, char to[CONFIG_TEXT_MAX])
{
    int n = snprintf(to, CONFIG_TEXT_MAX, "%s", from);
    if (n < 0 || n >= CONFIG_TEXT_MAX)
        return cli_fail(cli, CLI_USAGE, "usage", "the path '%.60s...' is too long", from);
    return CLI_OK;
}

/* *ret_path is left empty where the configuration does not say. */
static int from_config(struct cli *cli, bool socket, char ret_path[CONFIG_TEXT_MAX])
{
    struct settings s;
    struct config_error error = {""};
    ret_path[0] = '\0';
    enum err err = settings_read(cli, &s, &error);
    if (err == ERR_NONE)
        return copy(cli, socket ? s.socket : s.state, ret_path);
    if (cli->config == NULL)
        return CLI_OK; /* only the person's own word must be right here; `doctor` looks at the rest
                        */
    return cli_fail(cli, err == ERR_SYNTAX || err == ERR_LIMIT ? CLI_USAGE : CLI_FILE, "config",
                    "%s", error.text);
}

int settings_socket(struct cli *cli, char ret_path[CONFIG_TEXT_MAX])
{
    const char *environment = getenv("HOLDFAST_SOCKET");
    if (cli->socket != NULL)
        return copy(cli, cli->socket, ret_path);
    if (cli->config == NULL && environment != NULL && *environment != '\0')
        return copy(cli, environment, ret_path);
    int code = from_config(cli, true, ret_path);
    if (code == CLI_OK && ret_path[0] == '\0')
        code = copy(cli, SETTINGS_SOCKET_PATH, ret_path);
    return code;
}

int settings_state(struct cli *cli, char ret_path[CONFIG_TEXT_MAX])
{
    if (cli->state != NULL)
        return copy(cli, cli->state, ret_path);
    int code = from_config(cli, false, ret_path);
    if (code == CLI_OK && ret_path[0] == '\0')
        code = copy(cli, SETTINGS_STATE_PATH, ret_path);
    return code;
}

int settings_fleet(struct cli *cli, const char *state, char ret_fleet[CONFIG_TEXT_MAX])
{
    char path[CONFIG_TEXT_MAX + 16];
    uint8_t *text = NULL;
    size_t len = 0;
    struct note_key key;
    (void)snprintf(path, sizeof path, "%s/ledger.vkey", state);
    enum err err = file_read(path, NOTE_KEY_TEXT_MAX + 1, &text, &len);
    if (err == ERR_NOT_FOUND)
        return cli_fail(cli, CLI_NOT_FOUND, "ca-not-found",
                        "%s holds no CA; `holdfast ca init` makes one, and --state says where",
                        state);
    if (err != ERR_NONE)
        return cli_fail(cli, CLI_FILE, "file", "%s: %m", path);
    if (len > 0 && text[len - 1] == '\n')
        len--;
    err = note_key_read(slice_of(text, len), crypto_sha256, &key);
    free(text);
    size_t n = err == ERR_NONE ? strlen(key.name) : 0;
    static const char suffix[] = "/ledger";
    if (n < sizeof suffix || strcmp(key.name + n - (sizeof suffix - 1), suffix) != 0)
        return cli_fail(cli, CLI_FILE, "file", "%s is not a ledger's key", path);
    (void)snprintf(ret_fleet, CONFIG_TEXT_MAX, "%.*s", (int)(n - (sizeof suffix - 1)), key.name);
    return CLI_OK;
}
