/* holdfast-agent: device/lib on a system with POSIX, as a process. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "device/agent/journal.h"
#include "device/agent/publish.h"
#include "device/agent/settings.h"
#include "device/agent/status.h"
#include "device/agent/telemetry.h"
#include "device/lib/internal.h"
#include "device/port/posix/posix.h"

#define PROGRAM "holdfast-agent"
/* No longer than this without a look at the clocks: poll() does not count the time asleep. */
#define NAP_MAX_MS 60000
#define STATUS_MAX 4096 /* of what the running agent says of telemetry */

/* What the process ends with; the man page names them. */
enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_REFUSED = 3, EXIT_MISLED = 4 };

static volatile sig_atomic_t stopping, renewing;
static int wake_pipe[2] = {-1, -1};

struct agent {
    struct agent_config config;
    struct agent_inputs inputs;
    struct posix_port port;
    struct device device;
    int lock_fd;
    struct telemetry telemetry;
    bool copies_due;   /* what other programs have is not the newest */
    bool identity_due; /* what telemetry has is not the newest */
    bool let_in;       /* a check-in was taken since the hub last kept the device waiting */
    bool heard;        /* the hub has answered a check-in since we started */
};

/* In its own right large, so not on the stack; and all zeroes, so not in the file. */
static struct agent agent;

static void on_stop(int signal)
{
    (void)signal;
    int saved = errno;
    stopping = 1;
    if (write(wake_pipe[1], "", 1) < 0)
        stopping = 1; /* full: it has been woken already */
    /* The resolver waits for name servers for up to half a minute and hears of nothing. What is on
     * storage is whole at every moment. */
    if (posix_resolving)
        _exit(EXIT_OK);
    errno = saved;
}

static void on_renew(int signal)
{
    (void)signal;
    renewing = 1;
}

static enum err catch_signals(void)
{
    if (pipe2(wake_pipe, O_CLOEXEC | O_NONBLOCK) != 0)
        return ERR_IO;
    struct sigaction stop = {.sa_handler = on_stop};
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    struct sigaction renew = {.sa_handler = on_renew};
    /* Taken in nap() alone, so that it does not cut an exchange short. */
    sigset_t held;
    (void)sigemptyset(&held);
    (void)sigaddset(&held, SIGUSR1);
    if (sigprocmask(SIG_BLOCK, &held, NULL) != 0 || sigaction(SIGUSR1, &renew, NULL) != 0 ||
        sigaction(SIGTERM, &stop, NULL) != 0 || sigaction(SIGINT, &stop, NULL) != 0 ||
        sigaction(SIGPIPE, &ignore, NULL) != 0)
        return ERR_IO;
    return ERR_NONE;
}

/* Two agents on one state would each undo what the other does. */
static enum err take_lock(struct agent *a)
{
    char path[CONFIG_TEXT_MAX + sizeof "/lock"];
    int n = snprintf(path, sizeof path, "%s/lock", a->config.state);
    if (n < 0 || (size_t)n >= sizeof path)
        return ERR_LIMIT;
    a->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (a->lock_fd < 0)
        return ERR_IO;
    return flock(a->lock_fd, LOCK_EX | LOCK_NB) == 0 ? ERR_NONE : ERR_BUSY;
}

static void drop_claim(struct agent *a)
{
    enum err err = inputs_drop_claim(&a->config, &a->inputs);
    if (err != ERR_NONE)
        log_event(LOG_LEVEL_WARNING, "agent.claim_file_stays", F_TEXT("file", a->config.claim_file),
                  F_TEXT("reason", strerror(errno)));
}

static void on_device_event(void *ctx, const struct device_event *e)
{
    struct agent *a = ctx;
    journal_device_event(e);
    if (e->kind == DEVICE_EVENT_ENROLLED || e->kind == DEVICE_EVENT_CONFIRMED)
        drop_claim(a);
    if (e->kind == DEVICE_EVENT_ENROLLED || e->kind == DEVICE_EVENT_CONFIRMED ||
        e->kind == DEVICE_EVENT_BUNDLE_FOLLOWED)
        a->copies_due = a->identity_due = true;
    if (e->kind == DEVICE_EVENT_WAITING || e->kind == DEVICE_EVENT_REFUSED)
        a->let_in = false;
    if (e->kind == DEVICE_EVENT_CHECKED_IN && !a->let_in) {
        a->let_in = true;
        telemetry_let_in(&a->telemetry);
    }
    a->heard = a->heard || e->kind == DEVICE_EVENT_CHECKED_IN || e->kind == DEVICE_EVENT_WAITING;
}

/* ---- start ---- */

static int complain(const char *what, const char *why)
{
    log_event(LOG_LEVEL_ERROR, "agent.not_started", F_TEXT("at", what), F_TEXT("reason", why));
    return EXIT_FAILED;
}

static int open_storage(struct agent *a)
{
    const struct posix_options options = {
        .folder = a->config.state,
        .manufacturer_key = a->config.idevid_key[0] == '\0' ? NULL : a->config.idevid_key,
        .wake_fd = wake_pipe[0],
    };
    enum err err = posix_port_open(&a->port, &options);
    if (err != ERR_NONE)
        return complain(a->config.state, err == ERR_IO ? strerror(errno) : err_text(err));
    err = take_lock(a);
    if (err == ERR_BUSY)
        return complain(a->config.state, "another agent works with this state");
    if (err != ERR_NONE)
        return complain(a->config.state, err == ERR_IO ? strerror(errno) : err_text(err));
    return EXIT_OK;
}

static const char *why_not_open(enum err err)
{
    switch (err) {
    case ERR_CONFLICT:
        return "the state is another serial number's or fleet's, or names a key, certificate or "
               "trust bundle that is gone";
    case ERR_SYNTAX:
        return "the state is damaged, or the serial number, an address or the trust bundle is "
               "malformed";
    case ERR_BAD_SIGNATURE:
    case ERR_NOT_FOUND:
        return "the trust bundle is not signed by its own key";
    case ERR_UNSUPPORTED:
        return "the state or the trust bundle is of a kind that this version does not know";
    default:
        return err_text(err);
    }
}

static int open_device(struct agent *a)
{
    struct config_error error;
    if (inputs_read(&a->config, &a->inputs, &error) != ERR_NONE) {
        (void)fprintf(stderr, PROGRAM ": %s\n", error.text);
        return EXIT_USAGE;
    }
    a->inputs.options.event = on_device_event;
    a->inputs.options.event_ctx = a;
    enum err err = device_open(&a->device, &a->inputs.options, &a->port.port);
    if (err != ERR_NONE)
        return complain(a->config.state, why_not_open(err));
    if (device_phase_of(&a->device) == DEVICE_ENROLLED)
        drop_claim(a); /* the power went between enrolling and this */
    else if (a->inputs.options.proof == DEVICE_PROOF_CLAIM && a->inputs.options.claim.len == 0 &&
             !device_has_certificate(&a->device))
        return complain(a->config.claim_file, "this device has no identity and no claim code");
    return EXIT_OK;
}

/* Also at each start: the power may have gone between a renewal and this. */
static void write_copies(struct agent *a)
{
    int slot = state_slot(&a->device.state, SLOT_ACTIVE);
    if (!a->copies_due || a->config.copies[0] == '\0' || slot < 0)
        return;
    enum err err = identity_load_chain(&a->device, slot);
    if (err == ERR_NONE)
        err = posix_write_copies(&a->port, a->config.copies, (enum port_key)slot,
                                 slice_of(a->device.chain, a->device.chain_len),
                                 a->device.bundle.server_roots, a->device.bundle.server_roots_len);
    if (err != ERR_NONE)
        log_event(LOG_LEVEL_ERROR, "agent.copies_failed", F_TEXT("folder", a->config.copies),
                  F_ERR(err));
    a->copies_due = err != ERR_NONE;
}

static void hand_identity_on(struct agent *a)
{
    int slot = state_slot(&a->device.state, SLOT_ACTIVE);
    if (!a->identity_due || slot < 0)
        return;
    enum err err = identity_load_chain(&a->device, slot);
    if (err == ERR_NONE)
        err = telemetry_identify(&a->telemetry, (enum port_key)slot,
                                 slice_of(a->device.chain, a->device.chain_len),
                                 a->device.bundle.server_roots, a->device.bundle.server_roots_len);
    if (err != ERR_NONE)
        log_event(LOG_LEVEL_ERROR, "mqtt.identity_failed", F_ERR(err));
    a->identity_due = err != ERR_NONE;
}

static int64_t time_of_device(void *ctx)
{
    const struct agent *a = ctx;
    return device_time(&a->device);
}

static int open_telemetry(struct agent *a)
{
    const char *why = "";
    enum err err = telemetry_open(&a->telemetry, &a->config, &a->port, time_of_device, a, &why);
    return err == ERR_NONE ? EXIT_OK : complain(a->config.telemetry_socket, why);
}

/* ---- commands ---- */

static void nap(struct agent *a, int64_t ms)
{
    /* What a handshake took from the system goes back before a long wait. */
    (void)malloc_trim(0);
    ms = ms > NAP_MAX_MS ? NAP_MAX_MS : ms;
    sigset_t none;
    (void)sigemptyset(&none);
    (void)!posix_rest(&a->port, a->port.port.monotonic_ms(a->port.port.ctx) + ms, &none);
}

static int run(struct agent *a, bool once)
{
    int status = open_storage(a);
    if (status == EXIT_OK)
        status = open_device(a);
    if (status == EXIT_OK && !once)
        status = open_telemetry(a);
    if (status != EXIT_OK)
        return status;
    log_event(LOG_LEVEL_NOTICE, "agent.started", F_TEXT("version", AGENT_VERSION),
              F_TEXT("serial", a->config.serial),
              F_INTEGER("trust_bundle", (int64_t)a->device.bundle.version));
    enum device_phase phase = device_phase_of(&a->device);
    a->copies_due = a->identity_due = a->let_in = true;
    while (!stopping) {
        int64_t delay_ms = 0;
        telemetry_expect_change(&a->telemetry, state_slot(&a->device.state, SLOT_PENDING) >= 0);
        phase = device_step(&a->device, &delay_ms);
        write_copies(a);
        hand_identity_on(a);
        if (delay_ms > 0 && once)
            break;
        if (delay_ms > 0 && !stopping)
            nap(a, delay_ms);
        if (renewing) {
            renewing = 0;
            device_renew(&a->device);
        }
    }
    device_close(&a->device);
    telemetry_close(&a->telemetry);
    log_event(LOG_LEVEL_NOTICE, "agent.stopped");
    if (!once || stopping)
        return EXIT_OK;
    if (phase == DEVICE_REFUSED)
        return EXIT_REFUSED;
    if (phase == DEVICE_MISLED)
        return EXIT_MISLED;
    return phase == DEVICE_ENROLLED && a->heard ? EXIT_OK : EXIT_FAILED;
}

static int make_key(struct agent *a)
{
    int status = open_storage(a);
    if (status != EXIT_OK)
        return status;
    uint8_t hash[SHA256_SIZE];
    enum err err = device_first_key(&a->port.port, settings_key_kind(&a->config), hash);
    if (err == ERR_EXISTS)
        return complain(a->config.state, "this device has an identity already");
    if (err != ERR_NONE)
        return complain(a->config.state, err_text(err));
    char text[2 * SHA256_SIZE + 2];
    struct writer w = writer_over(text, sizeof text);
    writer_hex(&w, slice_of(hash, sizeof hash));
    writer_u8(&w, '\n');
    return fwrite(text, 1, w.len, stdout) == w.len && fflush(stdout) == 0 ? EXIT_OK : EXIT_FAILED;
}

/* Beside an agent that works with this state, so without its lock: each record is replaced whole.
 */
static int show_status(struct agent *a, bool json)
{
    if (access(a->config.state, F_OK) != 0)
        return complain(a->config.state, strerror(errno));
    const struct posix_options options = {.folder = a->config.state, .wake_fd = wake_pipe[0]};
    struct state state = {.sequence = 0};
    enum err err = posix_port_open(&a->port, &options);
    if (err == ERR_NONE)
        err = state_load(&a->port.port, &state);
    if (err == ERR_NOT_FOUND) /* it has not begun */
        err = ERR_NONE;
    if (err != ERR_NONE)
        return complain(a->config.state, why_not_open(err));
    static uint8_t text[2 * STATUS_MAX], telemetry[STATUS_MAX];
    struct slice said = {NULL, 0};
    if (a->config.telemetry_socket[0] != '\0')
        (void)!publish_ask_status(a->config.telemetry_socket, json, telemetry, sizeof telemetry,
                                  &said);
    struct writer w = writer_over(text, sizeof text);
    status_write(&w, a->config.serial, &state, said, json);
    if (w.err != ERR_NONE || fwrite(text, 1, w.len, stdout) != w.len || fflush(stdout) != 0)
        return EXIT_FAILED;
    return state.ledger.finding == LEDGER_SOUND ? EXIT_OK : EXIT_MISLED;
}

/* ---- the command line ---- */

static void print_keys(FILE *to)
{
    for (size_t i = 0; i < agent_config_keys_len; i++) {
        const struct config_key *key = &agent_config_keys[i];
        (void)fprintf(to, "  %-22s %s", key->name, key->help);
        if (key->standard == NULL)
            (void)fprintf(to, " (required)");
        else if (key->standard[0] != '\0')
            (void)fprintf(to, " (%s)", key->standard);
        (void)fprintf(to, "\n");
    }
}

static void print_help(void)
{
    (void)printf(
        "usage: " PROGRAM " --config FILE [--once]\n"
        "       " PROGRAM " key --config FILE\n"
        "       " PROGRAM " status --config FILE [--json]\n"
        "       " PROGRAM " publish TOPIC --config FILE | --socket PATH [--file FILE]\n"
        "                              [--qos 0|1] [--retain] [--wait TIME]\n\n"
        "Keeps this device's identity with a Holdfast hub: enrols, renews, reports, checks in.\n"
        "\"key\" makes the device's first key and prints the SHA-256 of its public key, for a\n"
        "manifest that pins it. \"status\" shows what the device remembers; it ends with 4 where\n"
        "the hub's ledger is not the one it showed before. \"publish\" hands a message to the\n"
        "running agent, which sends it to the MQTT broker with the device's identity; {device} in\n"
        "TOPIC stands for the device's id. The payload is read from standard input.\n\n"
        "  --config FILE         the configuration\n"
        "  --once                do what is due and end: 0 done, 1 failed, 3 refused,\n"
        "                        4 the hub's ledger is not the one it showed before\n"
        "  --socket PATH         the agent's telemetry-socket, instead of its configuration\n"
        "  --file FILE           the payload; \"-\": standard input\n"
        "  --qos 0|1             0: at most once, 1: at least once (1)\n"
        "  --retain              the broker keeps it for those that subscribe later\n"
        "  --wait TIME           until the broker has taken it, at most so long: 10s\n"
        "  --print-config-keys   the names that may stand in the configuration\n"
        "  --help, --version\n\n"
        "In the configuration, one \"name = value\" a line:\n\n");
    print_keys(stdout);
}

static int usage(const char *why, const char *what)
{
    (void)fprintf(stderr, PROGRAM ": %s%s; see " PROGRAM " --help\n", why, what);
    return EXIT_USAGE;
}

static int open_log(const struct agent_config *config)
{
    enum log_target target;
    enum log_level level;
    if (log_target_read(config->log_target, &target) != ERR_NONE || target == LOG_TARGET_JOURNAL)
        return usage("'log-target' is stderr or syslog, not ", config->log_target);
    if (log_level_read(config->log_level, &level) != ERR_NONE)
        return usage("'log-level' is error, warning, notice, info or debug, not ",
                     config->log_level);
    if (log_open(target, level, PROGRAM) != ERR_NONE)
        return usage("cannot log to ", config->log_target);
    return EXIT_OK;
}

enum command { COMMAND_RUN, COMMAND_KEY, COMMAND_STATUS, COMMAND_PUBLISH, COMMAND_COUNT };
static const char *const command_words[COMMAND_COUNT] = {
    [COMMAND_KEY] = "key", [COMMAND_STATUS] = "status", [COMMAND_PUBLISH] = "publish"};

struct words {
    enum command command;
    const char *config;
    bool once, json;
    struct publish_request publish;
};

/* Moves *at past the word, where there is one. */
static enum command command_of(int argc, char **argv, int *at)
{
    for (enum command c = COMMAND_KEY; *at < argc && c < COMMAND_COUNT; c++) {
        if (strcmp(argv[*at], command_words[c]) != 0)
            continue;
        (*at)++;
        return c;
    }
    return COMMAND_RUN;
}

/* What goes with what. */
static int check_words(const struct words *w)
{
    const struct publish_request *p = &w->publish;
    bool publishes = w->command == COMMAND_PUBLISH;
    if (publishes && p->topic == NULL)
        return usage("the topic is missing", "");
    if (!publishes &&
        (p->file != NULL || p->retain || p->quality != 1 || p->socket != NULL || p->wait_s != 0))
        return usage("--file, --qos, --retain, --socket and --wait go with publish alone", "");
    if (publishes && p->socket != NULL && w->config != NULL)
        return usage("--socket is given instead of --config", "");
    if (w->config == NULL && p->socket == NULL)
        return usage("--config is missing", "");
    if (w->command != COMMAND_RUN && w->once)
        return usage("--once does not go with ", command_words[w->command]);
    if (w->command != COMMAND_STATUS && w->json)
        return usage("--json goes with status alone", "");
    return EXIT_OK;
}

static bool read_wait(const char *text, unsigned *ret_seconds)
{
    int64_t seconds;
    if (config_duration_read(slice_of_text(text), &seconds) != ERR_NONE || seconds < 1 ||
        seconds > 3600)
        return false;
    *ret_seconds = (unsigned)seconds;
    return true;
}

static int read_words(int argc, char **argv, struct words *w)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},      {"once", no_argument, NULL, 'o'},
        {"print-config-keys", no_argument, NULL, 'k'}, {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},           {"json", no_argument, NULL, 'j'},
        {"file", required_argument, NULL, 'f'},        {"socket", required_argument, NULL, 's'},
        {"qos", required_argument, NULL, 'q'},         {"retain", no_argument, NULL, 'r'},
        {"wait", required_argument, NULL, 'w'},        {NULL, 0, NULL, 0}};
    for (int c; (c = getopt_long(argc, argv, "c:h", options, NULL)) != -1;) {
        switch (c) {
        case 'c':
            w->config = optarg;
            break;
        case 'o':
            w->once = true;
            break;
        case 'j':
            w->json = true;
            break;
        case 'f':
            w->publish.file = optarg;
            break;
        case 's':
            w->publish.socket = optarg;
            break;
        case 'r':
            w->publish.retain = true;
            break;
        case 'q':
            if (strcmp(optarg, "0") != 0 && strcmp(optarg, "1") != 0)
                return usage("--qos is 0 or 1, not ", optarg);
            w->publish.quality = optarg[0] == '1';
            break;
        case 'w':
            if (!read_wait(optarg, &w->publish.wait_s))
                return usage("--wait is a time up to 1h, such as 10s, not ", optarg);
            break;
        case 'k':
            print_keys(stdout);
            exit(EXIT_OK);
        case 'h':
            print_help();
            exit(EXIT_OK);
        case 'v':
            (void)printf(PROGRAM " " AGENT_VERSION "\n");
            exit(EXIT_OK);
        default:
            return EXIT_USAGE;
        }
    }
    w->command = command_of(argc, argv, &optind);
    if (w->command == COMMAND_PUBLISH && optind < argc)
        w->publish.topic = argv[optind++];
    if (optind < argc)
        return usage("unexpected ", argv[optind]);
    return check_words(w);
}

/* By the configuration's socket, unless it was named. */
static int publish_by_config(struct words *w)
{
    if (w->publish.socket == NULL)
        w->publish.socket = agent.config.telemetry_socket;
    if (w->publish.socket[0] == '\0')
        return usage("the configuration names no telemetry-socket", "");
    return publish(&w->publish);
}

static int execute(struct words *w)
{
    if (w->command == COMMAND_PUBLISH)
        return publish_by_config(w);
    int status = open_log(&agent.config);
    if (status != EXIT_OK)
        return status;
    (void)umask(077);
    if (catch_signals() != ERR_NONE)
        return complain("signals", strerror(errno));
    agent.port.folder_fd = agent.port.socket_fd = agent.lock_fd = -1;
    if (w->command == COMMAND_KEY)
        status = make_key(&agent);
    else if (w->command == COMMAND_STATUS)
        status = show_status(&agent, w->json);
    else
        status = run(&agent, w->once);
    posix_port_close(&agent.port);
    inputs_free(&agent.inputs);
    return status;
}

int main(int argc, char **argv)
{
    struct words words = {.publish = {.quality = 1}};
    int status = read_words(argc, argv, &words);
    struct config_error error;
    if (status != EXIT_OK)
        return status;
    if (words.config != NULL && settings_read(words.config, &agent.config, &error) != ERR_NONE) {
        (void)fprintf(stderr, PROGRAM ": %s\n", error.text);
        return EXIT_USAGE;
    }
    return execute(&words);
}
