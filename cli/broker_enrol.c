/* holdfast broker enrol: on the broker's machine. Writes what the agent, the plugin and Mosquitto
 * are told, and has the agent fetch the broker's certificate. */
#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/file.h"
#include "base/host.h"
#include "base/sandbox.h"
#include "cli/broker.h"
#include "cli/cli.h"
#include "cli/hub_link.h"
#include "cli/secret.h"
#include "core/trust_bundle.h"

#define FOLDER_STANDARD    "/etc/mosquitto/holdfast"
#define MOSQUITTO_STANDARD "/etc/mosquitto/conf.d/holdfast.conf"
#define PLUGIN_STANDARD    "/usr/lib/x86_64-linux-gnu/holdfast_mosquitto.so"
#define BROKER_USER        "mosquitto"
#define MARK               "# Written by holdfast broker enrol."
#define BUNDLE_MAX         65536
#define TEXT_MAX           8192
#define CLAIM_SIZE         130 /* of one in any form, and what ends its line */

struct enrolling {
    struct cli *cli;
    const char *name, *hub, *host, *folder, *mosquitto, *plugin;
    char claim[CLAIM_SIZE];
    char port[8];
    char bootstrap[256], device[256];
    struct trust_bundle bundle;
    uint8_t storage[TRUST_ROOTS_MAX * CERTIFICATE_MAX];
    uint8_t *note;
    size_t note_len;
    bool has_user; /* root, and there is the user that Mosquitto runs as */
    uid_t uid;
    gid_t gid;
};

static void path_of(const struct enrolling *e, const char *name, char ret_path[PATH_MAX])
{
    (void)snprintf(ret_path, PATH_MAX, "%s%s%s", e->folder, name[0] == '\0' ? "" : "/", name);
}

static int fail_file(struct cli *cli, const char *path, enum err err)
{
    return cli_fail(cli, CLI_FILE, "file", "%s: %s", path,
                    err == ERR_IO ? strerror(errno) : err_text(err));
}

/* ---- what is given ---- */

static int read_bundle(struct enrolling *e, const char *path)
{
    enum err err = file_read(path, BUNDLE_MAX, &e->note, &e->note_len);
    if (err != ERR_NONE)
        return fail_file(e->cli, path, err);
    err = trust_bundle_read(slice_of(e->note, e->note_len), NULL, crypto_sha256,
                            crypto_ed25519_verify, e->storage, sizeof e->storage, &e->bundle);
    if (err != ERR_NONE)
        return cli_fail(e->cli, CLI_UNVERIFIED, "trust-bundle", "%s: no sound trust bundle: %s",
                        path, err_text(err));
    if (e->bundle.policy_keys_len == 0)
        return cli_fail(e->cli, CLI_REFUSED, "trust-bundle",
                        "%s names no policy key, and without one no rules are taken; make a newer "
                        "one: holdfast ca bundle",
                        path);
    return CLI_OK;
}

/* "hub.example" -> its two listeners on the standard ports; "hub.example:8443,hub.example:8444". */
static int read_hub(struct enrolling *e)
{
    const char *comma = strchr(e->hub, ',');
    struct slice host = slice_of_text(e->hub);
    int n, m;
    if (comma == NULL && host_is_sound(host)) {
        n = snprintf(e->device, sizeof e->device, "%s:8443", e->hub);
        m = snprintf(e->bootstrap, sizeof e->bootstrap, "%s:8444", e->hub);
    } else if (comma != NULL) {
        n = snprintf(e->device, sizeof e->device, "%.*s", (int)(comma - e->hub), e->hub);
        m = snprintf(e->bootstrap, sizeof e->bootstrap, "%s", comma + 1);
    } else {
        return cli_fail(e->cli, CLI_USAGE, "usage",
                        "--hub is a host, or HOST:PORT,HOST:PORT of its listeners device and "
                        "bootstrap");
    }
    if (n <= 0 || m <= 0 || n >= (int)sizeof e->device || m >= (int)sizeof e->bootstrap)
        return cli_fail(e->cli, CLI_USAGE, "usage", "--hub is far too long");
    return CLI_OK;
}

/* ---- files ---- */

/* What a person wrote is not replaced without a word. */
static int check_ours(struct enrolling *e, const char *path)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    enum err err = file_read(path, TEXT_MAX, &bytes, &len);
    bool ours = err == ERR_NOT_FOUND ||
                (err == ERR_NONE && slice_starts_with(slice_of(bytes, len), SLICE_LITERAL(MARK)));
    free(bytes);
    if (ours || e->cli->yes)
        return CLI_OK;
    return cli_fail(e->cli, CLI_REFUSED, "foreign-file",
                    "%s was not written by this command; move it away, or say --yes to replace it",
                    path);
}

static int put(struct enrolling *e, const char *path, const struct writer *w, mode_t mode)
{
    if (w->err != ERR_NONE)
        return cli_fail(e->cli, CLI_USAGE, "usage", "names and paths are far too long");
    enum err err = file_replace(path, writer_bytes(w), mode);
    if (err == ERR_NONE && e->has_user && chown(path, mode == 0600 ? e->uid : 0, e->gid) != 0)
        err = ERR_IO;
    return err == ERR_NONE ? CLI_OK : fail_file(e->cli, path, err);
}

static void line(struct writer *w, const char *key, const char *value)
{
    writer_text(w, key);
    writer_text(w, " = ");
    writer_text(w, value);
    writer_text(w, "\n");
}

static int make_folder(struct enrolling *e, const char *name)
{
    char path[PATH_MAX];
    path_of(e, name, path);
    if (mkdir(path, 0750) != 0 && errno != EEXIST)
        return fail_file(e->cli, path, ERR_IO);
    if (e->has_user && chown(path, name[0] == '\0' ? 0 : e->uid, e->gid) != 0)
        return fail_file(e->cli, path, ERR_IO);
    return CLI_OK;
}

static int write_agent(struct enrolling *e)
{
    uint8_t bytes[TEXT_MAX];
    char path[PATH_MAX], state[PATH_MAX], copies[PATH_MAX];
    struct writer w = writer_over(bytes, sizeof bytes);
    path_of(e, "bundle", path);
    writer_put(&w, slice_of(e->note, e->note_len < sizeof bytes ? e->note_len : 0));
    if (e->note_len >= sizeof bytes)
        writer_fail(&w, ERR_LIMIT);
    int code = put(e, path, &w, 0640);
    w = writer_over(bytes, sizeof bytes);
    writer_text(&w, e->claim);
    writer_text(&w, "\n");
    path_of(e, "agent/claim", path);
    if (code == CLI_OK)
        code = put(e, path, &w, 0600);
    mem_wipe(bytes, sizeof bytes);
    w = writer_over(bytes, sizeof bytes);
    path_of(e, "agent", state);
    path_of(e, "agent/copies", copies);
    writer_text(&w, MARK "\n");
    line(&w, "hub-bootstrap", e->bootstrap);
    line(&w, "hub-device", e->device);
    line(&w, "trust-bundle", "bundle");
    line(&w, "serial", e->name);
    if (e->cli->tenant != NULL)
        line(&w, "tenant", e->cli->tenant);
    line(&w, "state", state);
    line(&w, "claim-file", "agent/claim");
    line(&w, "copies", copies);
    path_of(e, "agent.conf", path);
    return code == CLI_OK ? put(e, path, &w, 0640) : code;
}

static int write_plugin(struct enrolling *e)
{
    uint8_t bytes[TEXT_MAX];
    char path[PATH_MAX], identity[PATH_MAX], roots[PATH_MAX], state[PATH_MAX];
    struct writer w = writer_over(bytes, sizeof bytes);
    path_of(e, "agent/copies/identity.pem", identity);
    path_of(e, "agent/copies/roots.pem", roots);
    path_of(e, "state", state);
    writer_text(&w, MARK "\n");
    line(&w, "hubs", e->device);
    line(&w, "certificate", identity);
    line(&w, "key", identity);
    line(&w, "roots", roots);
    writer_text(&w, "policy-key = ");
    note_key_write(&w, &e->bundle.policy_keys[0]);
    writer_text(&w, "\n");
    if (e->cli->tenant != NULL)
        line(&w, "tenant", e->cli->tenant);
    line(&w, "state", state);
    line(&w, "control-name", e->host);
    line(&w, "control-port", e->port);
    path_of(e, "broker.conf", path);
    return put(e, path, &w, 0640);
}

static int write_mosquitto(struct enrolling *e)
{
    uint8_t bytes[TEXT_MAX];
    char config[PATH_MAX], identity[PATH_MAX], roots[PATH_MAX];
    struct writer w = writer_over(bytes, sizeof bytes);
    path_of(e, "broker.conf", config);
    path_of(e, "agent/copies/identity.pem", identity);
    path_of(e, "agent/copies/roots.pem", roots);
    static const char head[] =
        MARK "\nper_listener_settings false\nallow_anonymous false\nset_tcp_nodelay true\n"
             "max_packet_size 1048576\nmax_queued_messages 1000\nplugin ";
    const char *const parts[] = {
        head,
        e->plugin,
        "\nplugin_opt_config ",
        config,
        "\nlistener ",
        e->port,
        "\nmax_connections 10000\ncertfile ",
        identity,
        "\nkeyfile ",
        identity,
        "\ncafile ",
        roots,
        "\nrequire_certificate true\nuse_identity_as_username false\ntls_version tlsv1.2\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        writer_text(&w, parts[i]);
    return put(e, e->mosquitto, &w, 0644);
}

/* ---- the agent ---- */

static int run_agent(struct enrolling *e)
{
    char path[PATH_MAX];
    path_of(e, "agent.conf", path);
    pid_t pid = fork();
    if (pid < 0)
        return cli_fail(e->cli, CLI_INTERNAL, "internal", "no process to be had: %s",
                        strerror(errno));
    if (pid == 0) {
        char *const argv[] = {(char[]){"holdfast-agent"}, (char[]){"--config"}, path,
                              (char[]){"--once"}, NULL};
        if (e->has_user && sandbox_become(e->uid, e->gid) != ERR_NONE)
            _exit(126);
        (void)execv(HOLDFAST_SBINDIR "/holdfast-agent", argv);
        (void)execvp("holdfast-agent", argv);
        _exit(127);
    }
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return CLI_OK;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        return cli_fail(e->cli, CLI_FILE, "file", "holdfast-agent is not installed");
    return cli_fail(e->cli, CLI_REFUSED, "not-enrolled",
                    "the hub gave no certificate; what the agent said stands above. Then: "
                    "holdfast-agent --config %s --once",
                    path);
}

static int read_port(struct enrolling *e, const char *text)
{
    uint64_t port = 8883;
    int code = text == NULL ? CLI_OK : cli_read_count(e->cli, "--port", text, 1, UINT16_MAX, &port);
    (void)snprintf(e->port, sizeof e->port, "%u", (unsigned)port);
    return code;
}

static int enrol(struct enrolling *e)
{
    static const char *const ours[] = {"agent.conf", "broker.conf"};
    char path[PATH_MAX];
    int code = check_ours(e, e->mosquitto);
    for (size_t i = 0; i < ARRAY_LEN(ours) && code == CLI_OK; i++) {
        path_of(e, ours[i], path);
        code = check_ours(e, path);
    }
    if (code == CLI_OK)
        code = make_folder(e, "");
    if (code == CLI_OK)
        code = make_folder(e, "agent");
    if (code == CLI_OK)
        code = make_folder(e, "state");
    if (code == CLI_OK)
        code = write_agent(e);
    if (code == CLI_OK)
        code = run_agent(e);
    if (code == CLI_OK)
        code = write_plugin(e);
    return code == CLI_OK ? write_mosquitto(e) : code;
}

static const char *value_or(struct cli *cli, const char *option, const char *standard)
{
    const char *value = cli_value(cli, option);
    return value == NULL ? standard : value;
}

int broker_run_enrol(struct cli *cli)
{
    struct enrolling *e = calloc(1, sizeof *e);
    if (e == NULL)
        return cli_fail_memory(cli);
    e->cli = cli;
    e->name = cli->operands[0];
    e->hub = cli_value(cli, "hub");
    e->host = cli_value(cli, "host");
    e->folder = value_or(cli, "folder", FOLDER_STANDARD);
    e->mosquitto = value_or(cli, "mosquitto", MOSQUITTO_STANDARD);
    e->plugin = value_or(cli, "plugin", PLUGIN_STANDARD);
    const char *user = value_or(cli, "user", BROKER_USER);
    e->has_user = geteuid() == 0 && sandbox_user(user, &e->uid, &e->gid) == ERR_NONE && e->uid != 0;
    int code = cli_check_name(cli, "broker", e->name);
    if (code == CLI_OK && (e->folder[0] != '/' || e->mosquitto[0] != '/' || e->plugin[0] != '/'))
        code =
            cli_fail(cli, CLI_USAGE, "usage", "--folder, --mosquitto and --plugin start with '/'");
    if (code == CLI_OK && !host_is_sound(slice_of_text(e->host)))
        code = cli_fail(cli, CLI_USAGE, "usage",
                        "--host is one of the hosts the broker was added with");
    if (code == CLI_OK)
        code = read_port(e, cli_value(cli, "port"));
    if (code == CLI_OK)
        code = read_hub(e);
    if (code == CLI_OK)
        code = read_bundle(e, cli_value(cli, "trust-bundle"));
    if (code == CLI_OK)
        code =
            secret_read(cli, cli_value(cli, "claim-file"), "claim code", e->claim, sizeof e->claim);
    if (code == CLI_OK)
        code = enrol(e);
    if (code == CLI_OK)
        cli_say(
            cli,
            "The broker %s is enrolled. Keep its certificate fresh with holdfast-agent --config "
            "%s/agent.conf, and start Mosquitto anew; `holdfast doctor broker` looks at it.",
            e->name, e->folder);
    free(e->note);
    mem_wipe(e, sizeof *e);
    free(e);
    return code == CLI_OK ? json_print_nothing(cli) : code;
}
