/* holdfast-hub: puts the parts together, in the order that makes it safe, and takes them apart. */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/file.h"
#include "base/log.h"
#include "base/log_journal.h"
#include "base/sandbox.h"
#include "hub/api/call.h"
#include "hub/checkpointer.h"
#include "hub/cutter.h"
#include "hub/database.h"
#include "hub/domains.h"
#include "hub/follower.h"
#include "hub/kicker.h"
#include "hub/listeners.h"
#include "hub/maintenance.h"
#include "hub/membership.h"
#include "hub/served_bundle.h"
#include "hub/server_certificate.h"

#define EXIT_CONFIG 78 /* EX_CONFIG: what systemd shows as "configuration error" */

#define DRAIN_MS          5000
#define TICK_MS           CHECKPOINTER_PAUSE_MS
#define SIGHTINGS_SECONDS 5

static struct hub hub;
static struct checkpointer checkpointer;
static bool accept_roll_back; /* --accept-roll-back */
static bool forget_subjects;
static int drained_fd = -1;
static sem_t flushed; /* at the end: posted by each loop */

static int fail(const char *event, enum err err, const char *detail)
{
    log_event(LOG_LEVEL_ERROR, event, F_ERR(err), F_TEXT("detail", detail));
    return EXIT_FAILURE;
}

/* ---- configuration and rights ---- */

static enum err open_log(const struct hub_config *config, struct config_error *error)
{
    enum log_target target;
    enum log_level level;
    enum err err = log_target_read(config->log_target, &target);
    if (err == ERR_NONE)
        err = log_level_read(config->log_level, &level);
    if (err == ERR_NONE && target == LOG_TARGET_JOURNAL)
        log_journal_enable();
    if (err == ERR_NONE)
        err = log_open(target, level, "holdfast-hub");
    if (err != ERR_NONE)
        (void)snprintf(error->text, sizeof error->text, "log-target or log-level: %s",
                       err_text(err));
    return err;
}

static void raise_limits(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static enum err find_operators(char explain[256])
{
    for (size_t i = 0; i < hub.config.operators.n; i++) {
        gid_t gid;
        const char *name = hub.config.operators.items[i];
        enum err err = sandbox_user(name, &hub.operator_uids[i], &gid);
        if (err != ERR_NONE) {
            (void)snprintf(explain, 256, "operators: there is no user '%s'", name);
            return err;
        }
        hub.operator_uids_len = i + 1;
    }
    return ERR_NONE;
}

static enum err shed_root(char explain[256])
{
    if (geteuid() != 0 || hub.config.user[0] == '\0')
        return ERR_NONE;
    uid_t uid;
    gid_t gid;
    enum err err = sandbox_user(hub.config.user, &uid, &gid);
    if (err == ERR_NONE)
        err = sandbox_become(uid, gid);
    if (err == ERR_NONE && unsetenv("HOME") != 0) /* libpq would look into root's */
        err = ERR_IO;
    if (err != ERR_NONE)
        (void)snprintf(explain, 256, "cannot become the user '%s'", hub.config.user);
    return err;
}

static enum err start_signer(char explain[256])
{
    static char folder[CONFIG_TEXT_MAX + 16];
    static char origin[FLEET_NAME_MAX + 16];
    (void)snprintf(folder, sizeof folder, "%s/signer", hub.config.state);
    (void)snprintf(origin, sizeof origin, "%s/ledger", hub.config.fleet);
    const char *names[SERVER_NAMES_MAX];
    size_t names_len = 0;
    while (names_len < SERVER_NAMES_MAX && names_len < hub.config.names.n) {
        names[names_len] = hub.config.names.items[names_len];
        names_len++;
    }
    bool apart = geteuid() == 0 && hub.config.signer_user[0] != '\0';
    const struct signer_options options = {
        .folder = folder,
        .user = apart ? hub.config.signer_user : NULL,
        .fleet = hub.config.fleet,
        .origin = origin,
        .server_names = names,
        .server_names_len = names_len,
        .public_url = hub.config.public_url,
        .crl_shards = domains_crl_shards(&hub),
        .links = hub.loops_len + 2, /* and the first server certificate, and revocation lists */
        .accept_roll_back = accept_roll_back,
    };
    return signer_start(&options, &hub.signer, &hub.facts, explain);
}

/* The keys say which fleet they were made for: under another name every device would be lost. */
static enum err check_fleet(char explain[256])
{
    char path[CONFIG_TEXT_MAX + 16];
    (void)snprintf(path, sizeof path, "%s/ledger.vkey", hub.config.state);
    uint8_t *bytes;
    size_t len;
    struct note_key made;
    enum err err = file_read(path, NOTE_KEY_TEXT_MAX + 2, &bytes, &len);
    if (err != ERR_NONE) {
        (void)snprintf(explain, 256, "%s: %s", path, err_text(err));
        return err;
    }
    while (len > 0 && bytes[len - 1] == '\n')
        len--;
    err = note_key_read(slice_of(bytes, len), crypto_sha256, &made);
    free(bytes);
    const struct note_key *held = &hub.facts.ledger_key;
    if (err == ERR_NONE && memcmp(made.key, held->key, sizeof made.key) == 0 &&
        strcmp(made.name, held->name) == 0)
        return ERR_NONE;
    (void)snprintf(explain, 256, "%s: the keys were made for '%s', and the configuration says '%s'",
                   path, err == ERR_NONE ? made.name : "?", held->name);
    return ERR_REFUSED;
}

/* ---- parts ---- */

static enum err open_store(int signals_fd, char explain[256])
{
    enum err err = database_open(&hub, signals_fd, explain);
    return err != ERR_NONE ? err
                           : ledger_new(hub.store, hub.facts.ledger_key.name, &hub.ledger, explain);
}

static bool is_due(int64_t *last_ms, int64_t seconds)
{
    int64_t now = clock_monotonic_ms();
    if (now - *last_ms < seconds * 1000)
        return false;
    *last_ms = now;
    return true;
}

static void loop_tick(struct loop_task *task)
{
    static int64_t refusals_ms, brokers_ms; /* loop 0 alone */
    struct hub_loop *here = CONTAINER_OF(task, struct hub_loop, tick);
    atomic_store(&here->tick_pending, false);
    if (is_due(&here->sightings_ms, SIGHTINGS_SECONDS))
        sightings_flush(here->sightings);
    broker_feed_turn(here->brokers);
    if (here != &hub.loops[0])
        return;
    checkpointer_turn(&checkpointer);
    follower_turn();
    if (is_due(&brokers_ms, SIGHTINGS_SECONDS))
        brokers_flush(hub.brokers);
    if (is_due(&refusals_ms, REFUSALS_WINDOW))
        domains_flush(&hub);
    server_certificate_turn(&hub);
    identity_select_turn(hub.identity, here->reader, here->loop);
    cutter_turn(here);
}

static enum err make_loops(void)
{
    for (size_t i = 0; i < hub.loops_len; i++) {
        struct hub_loop *here = &hub.loops[i];
        here->hub = &hub;
        here->tick.run = loop_tick;
        char name[16];
        (void)snprintf(name, sizeof name, "loop-%zu", i);
        enum err err = loop_new(name, &here->loop);
        if (err == ERR_NONE)
            err = store_reader_new(hub.store, &here->reader);
        if (err == ERR_NONE)
            err = signer_link_new(hub.signer, here->loop, &here->signer);
        if (err == ERR_NONE)
            err = sightings_new(hub.identity, here->loop, &here->sightings);
        if (err == ERR_NONE)
            err = broker_feed_new(hub.brokers, here->loop, here->reader, &here->brokers);
        if (err == ERR_NONE)
            err = ledger_shown_new(hub.ledger, here->reader, &here->shown);
        if (err != ERR_NONE)
            return err;
    }
    struct hub_loop *first = &hub.loops[0];
    checkpointer_init(&checkpointer, hub.ledger, first->loop, first->reader, first->signer,
                      &hub.facts);
    follower_init(&hub);
    return ERR_NONE;
}

/* ---- start, run, end ---- */

static int start(int signals_fd)
{
    char explain[256] = "";
    hub.started_at = clock_seconds();
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    hub.loops_len = hub.config.loops > 0 ? (size_t)hub.config.loops
                                         : 2 * (size_t)(processors > 0 ? processors : 1);
    if (hub.loops_len > HUB_LOOPS_MAX)
        hub.loops_len = HUB_LOOPS_MAX;

    enum err err = find_operators(explain);
    if (err != ERR_NONE)
        return fail("hub.config", err, explain);
    err = start_signer(explain);
    if (err != ERR_NONE)
        return fail("signer.start", err, explain);
    err = check_fleet(explain);
    if (err != ERR_NONE)
        return fail("hub.fleet", err, explain);
    err = shed_root(explain);
    if (err != ERR_NONE)
        return fail("hub.user", err, explain);
    err = open_store(signals_fd, explain);
    if (err != ERR_NONE)
        return fail("store.open", err, explain);
    err = checkpointer_check(hub.ledger, hub.store, &hub.facts, accept_roll_back, explain);
    if (err != ERR_NONE)
        return fail("ledger.roll_back", err, explain);
    err = membership_check(&hub, explain);
    if (err != ERR_NONE)
        return fail("hub.membership", err, explain);
    err = domains_open(&hub, forget_subjects, explain);
    if (err != ERR_NONE)
        return fail("store.open", err, explain);
    err = make_loops();
    if (err != ERR_NONE)
        return fail("loops.start", err, "");
    err = domains_open_crls(&hub, explain);
    if (err != ERR_NONE)
        return fail("crl.start", err, explain);
    err = kicker_open(&hub, explain);
    if (err != ERR_NONE)
        return fail("emqx.config", err, explain);
    err = listeners_make_tls(&hub, explain);
    if (err != ERR_NONE)
        return fail("tls.start", err, explain);
    err = listeners_open(&hub, explain);
    if (err != ERR_NONE)
        return fail("listen", err, explain);
    err = sandbox_harden();
    /* The signer dies with the hub; the hub itself may outlive the shell that started it. */
    if (err == ERR_NONE && prctl(PR_SET_PDEATHSIG, 0) != 0)
        err = ERR_IO;
    if (err == ERR_NONE)
        err = sandbox_server();
    if (err != ERR_NONE)
        return fail("sandbox", err, "");
    err = store_start(hub.store);
    if (err == ERR_NONE)
        err = membership_start(&hub, explain);
    if (err != ERR_NONE)
        return fail("hub.membership", err, explain);
    for (size_t i = 0; err == ERR_NONE && i < hub.loops_len; i++)
        err = loop_start(hub.loops[i].loop);
    if (err == ERR_NONE)
        err = crl_service_start(hub.crls);
    if (err == ERR_NONE)
        err = kicker_start(&hub);
    if (err == ERR_NONE)
        err = served_bundle_load(&hub);
    if (err == ERR_NONE)
        err = listeners_write_ports(&hub);
    if (err != ERR_NONE)
        return fail("hub.start", err, "");
    return EXIT_SUCCESS;
}

static void drained(void *ctx)
{
    (void)ctx;
    uint64_t one = 1;
    if (write(drained_fd, &one, sizeof one) != (ssize_t)sizeof one)
        abort(); /* an eventfd takes 2^64 - 1 of these */
}

/* Loop 0 has what is to be done soon; the others are woken once a second. */
static void tick(void)
{
    static unsigned turns;
    size_t n = turns++ % (1000 / TICK_MS) == 0 ? hub.loops_len : 1;
    for (size_t i = 0; i < n; i++) {
        if (!atomic_exchange(&hub.loops[i].tick_pending, true))
            loop_post(hub.loops[i].loop, &hub.loops[i].tick);
    }
}

static void drain(void)
{
    log_event(LOG_LEVEL_NOTICE, "hub.stopping");
    (void)sd_notify(0, "STOPPING=1");
    brokers_drain(hub.brokers);
    http_server_drain(hub.http, DRAIN_MS, drained, NULL);
}

/* What makes a hub end by itself: the fleet goes on without it. */
static bool is_out(void)
{
    if (membership_ended())
        log_event(LOG_LEVEL_ERROR, "hub.removed", F_TEXT("hub", membership_name()));
    return membership_ended() || follower_is_lost();
}

/* Waits for signals until the server has drained. */
static int run(int signals_fd)
{
    bool draining = false;
    int status = EXIT_SUCCESS;
    tick(); /* the head that is there wants a checkpoint */
    for (;;) {
        struct pollfd fds[] = {{.fd = signals_fd, .events = POLLIN},
                               {.fd = drained_fd, .events = POLLIN},
                               {.fd = signer_death_fd(hub.signer), .events = POLLIN}};
        int n = poll(fds, ARRAY_LEN(fds), TICK_MS);
        if (n == 0) {
            tick();
            database_turn(&hub);
        }
        if (n > 0 && fds[1].revents != 0)
            return status;
        if (!draining && is_out()) {
            draining = true;
            status = EXIT_FAILURE;
            drain();
        }
        if (n > 0 && fds[2].revents != 0 && !draining) {
            log_event(LOG_LEVEL_ERROR, "signer.died");
            return EXIT_FAILURE; /* a hub that cannot sign is started anew as a whole */
        }
        struct signalfd_siginfo info;
        if (n <= 0 || fds[0].revents == 0 ||
            read(signals_fd, &info, sizeof info) != (ssize_t)sizeof info)
            continue;
        if (info.ssi_signo == SIGHUP) {
            server_certificate_reload(&hub);
        } else if (!draining) {
            draining = true;
            drain();
        } else {
            return EXIT_FAILURE; /* asked twice: at once */
        }
    }
}

/* What a loop has gathered is its own: it hands it over itself. */
static void last_flush(struct loop_task *task)
{
    struct hub_loop *here = CONTAINER_OF(task, struct hub_loop, last);
    sightings_flush(here->sightings);
    (void)sem_post(&flushed);
}

static void stop(void)
{
    (void)sem_init(&flushed, 0, 0);
    for (size_t i = 0; i < hub.loops_len; i++) {
        hub.loops[i].last.run = last_flush;
        loop_post(hub.loops[i].loop, &hub.loops[i].last);
    }
    for (size_t i = 0; i < hub.loops_len; i++) {
        while (sem_wait(&flushed) != 0)
            ; /* interrupted */
    }
    brokers_flush(hub.brokers);
    domains_flush(&hub);
    crl_service_free(hub.crls);
    kicker_stop();
    store_drain(hub.store);
    for (size_t i = 0; i < hub.loops_len; i++)
        loop_stop(hub.loops[i].loop);
    for (size_t i = 0; i < hub.loops_len; i++)
        loop_join(hub.loops[i].loop);
    http_server_free(hub.http);
    for (size_t i = 0; i < hub.loops_len; i++) {
        signer_link_free(hub.loops[i].signer);
        sightings_free(hub.loops[i].sightings);
        broker_feed_free(hub.loops[i].brokers);
        ledger_shown_free(hub.loops[i].shown);
        policy_cache_drop(&hub.loops[i].policy);
        store_reader_free(hub.loops[i].reader);
        loop_free(hub.loops[i].loop);
    }
    for (size_t i = 0; i < LISTENER_COUNT; i++)
        tls_server_free(hub.tls[i]);
    domains_close(&hub);
    ledger_free(hub.ledger);
    store_close(hub.store);
    signer_stop(hub.signer);
    server_certificate_wipe();
}

static int signals_open(void)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGHUP);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int serve(void)
{
    raise_limits();
    (void)umask(0077);
    int signals_fd = signals_open();
    drained_fd = eventfd(0, EFD_CLOEXEC);
    if (signals_fd < 0 || drained_fd < 0)
        return fail("hub.start", ERR_IO, "");
    int status = start(signals_fd);
    if (status != EXIT_SUCCESS)
        return status;
    log_event(LOG_LEVEL_NOTICE, "hub.started", F_TEXT("version", HUB_VERSION),
              F_TEXT("fleet", hub.config.fleet),
              F_INTEGER("device_port", http_listener_port(hub.listeners[LISTENER_DEVICE])),
              F_INTEGER("bootstrap_port", http_listener_port(hub.listeners[LISTENER_BOOTSTRAP])),
              F_INTEGER("operator_port", http_listener_port(hub.listeners[LISTENER_OPERATOR])),
              F_INTEGER("loops", (int64_t)hub.loops_len));
    (void)sd_notify(0, "READY=1");
    status = run(signals_fd);
    if (status == EXIT_SUCCESS)
        stop();
    log_event(LOG_LEVEL_NOTICE, "hub.stopped");
    return status;
}

static void usage(FILE *to)
{
    (void)fputs("usage: holdfast-hub --config FILE [--check | --accept-roll-back | "
                "--forget-subjects]\n\n"
                "  --config FILE       the configuration (see holdfast-hub.conf(5))\n"
                "  --check             read it, say whether it is right, and end\n"
                "  --accept-roll-back  start on a database that is older than what was signed\n"
                "  --forget-subjects   start without the keys of owners' names, which were lost\n"
                "  --version, --help\n",
                to);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"check", no_argument, NULL, 'k'},
        {"accept-roll-back", no_argument, NULL, 'r'},
        {"forget-subjects", no_argument, NULL, 'f'},
        {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    if (argc > 1 && maintenance_is_verb(argv[1]))
        return maintenance_run(argc - 1, argv + 1);
    const char *path = NULL;
    bool check = false;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'c':
            path = optarg;
            break;
        case 'k':
            check = true;
            break;
        case 'r':
            accept_roll_back = true;
            break;
        case 'f':
            forget_subjects = true;
            break;
        case 'v':
            (void)printf("holdfast-hub %s\n", HUB_VERSION);
            return EXIT_SUCCESS;
        case 'h':
            usage(stdout);
            return EXIT_SUCCESS;
        default:
            usage(stderr);
            return EXIT_CONFIG;
        }
    }
    if (path == NULL || optind != argc) {
        usage(stderr);
        return EXIT_CONFIG;
    }
    struct config_error error = {""};
    enum err err = hub_config_read(path, &hub.config, &error);
    if (err == ERR_NONE)
        err = open_log(&hub.config, &error);
    if (err != ERR_NONE) {
        (void)fprintf(stderr, "holdfast-hub: %s\n", error.text);
        return EXIT_CONFIG;
    }
    if (!check)
        return serve();
    (void)printf("%s: ok\n", path);
    return EXIT_SUCCESS;
}
