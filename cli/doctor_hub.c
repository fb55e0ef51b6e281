/* What the doctor sees of a running hub: its processes, keys, listeners and ledger. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/file.h"
#include "cli/doctor.h"
#include "cli/ledger_judge.h"
#include "cli/when.h"
#include "pki/ca.h"

#define DAY               86400
#define ISSUING_WARN      (90 * DAY)  /* time to have an owner's root sign anew */
#define WAL_WARN          (1LL << 30) /* bytes: something keeps the checkpoint from running */
#define SETTLE_SECONDS    2           /* a checkpoint is signed well within that */
#define DESCRIPTORS_SPARE 256         /* database, loops, logs */
#define PROC_TEXT_MAX     8192

/* ---- is it there ---- */

/* Who is at the other end of the socket. */
static void find_process(struct doctor *d)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    struct ucred peer;
    socklen_t size = sizeof peer;
    size_t n = strlen(d->socket);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || n >= sizeof to.sun_path) {
        if (fd >= 0)
            (void)close(fd);
        return;
    }
    memcpy(to.sun_path, d->socket, n);
    if (connect(fd, (const struct sockaddr *)&to, sizeof to) == 0 &&
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.pid > 0) {
        d->hub_pid = peer.pid;
        d->hub_uid = peer.uid;
    }
    (void)close(fd);
}

static void check_versions(struct doctor *d)
{
    const char *version = json_text_of(d->hub, "version");
    if (strcmp(version, HOLDFAST_VERSION) == 0) {
        doctor_saw(d, DOCTOR_PASS, "version", "hub and command are %s", version);
        return;
    }
    doctor_saw(d, DOCTOR_WARN, "version", "the hub is %s, this command %s", version,
               HOLDFAST_VERSION);
    doctor_next(d, "restart the hub, so that it runs what is installed");
}

void doctor_check_hub(struct doctor *d)
{
    struct hub_answer health CLEANUP(hub_answer_free) = {.status = 0};
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    if (!hub_get_quietly(d->cli, "/v1/health", &health)) {
        if (health.status != 0)
            doctor_saw(d, DOCTOR_FAIL, "hub", "it is not well: %s", health.problem.detail);
        else
            doctor_saw(d, DOCTOR_FAIL, "hub", "nothing answers at %s", d->socket);
        doctor_next(d, "is it running? systemctl status holdfast-hub; journalctl -u holdfast-hub");
        return;
    }
    doctor_saw(d, DOCTOR_PASS, "hub", "it answers at %s", d->socket);
    find_process(d);
    if (!hub_get_quietly(d->cli, "/v1/hub", &answer)) {
        doctor_saw(d, DOCTOR_UNKNOWN, "hub", "it does not tell about itself: %s",
                   answer.problem.detail);
        doctor_next(d, "run this as root, or as one of its operators");
        return;
    }
    d->hub = json_incref(answer.json);
    check_versions(d);
}

/* ---- processes ---- */

static bool read_proc(pid_t pid, const char *name, char ret_text[PROC_TEXT_MAX])
{
    char path[64];
    uint8_t *bytes = NULL;
    size_t len = 0;
    (void)snprintf(path, sizeof path, "/proc/%ld/%s", (long)pid, name);
    if (file_read(path, PROC_TEXT_MAX - 1, &bytes, &len) != ERR_NONE)
        return false;
    memcpy(ret_text, bytes, len);
    ret_text[len] = '\0';
    free(bytes);
    return true;
}

/* The first number behind "\nNAME:"; -1 where there is none. */
static long long proc_number(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    if (at == NULL)
        return -1;
    at += strlen(name);
    while (*at == ' ' || *at == '\t')
        at++;
    struct reader r = reader_over(slice_of(at, strspn(at, "0123456789")));
    uint64_t n = reader_decimal(&r, INT64_MAX);
    return reader_finish(&r) == ERR_NONE ? (long long)n : -1;
}

/* The hub's one child is its signer. 0: not seen. */
static pid_t find_child(pid_t parent)
{
    DIR *proc = opendir("/proc");
    char *text = malloc(PROC_TEXT_MAX);
    pid_t found = 0;
    for (const struct dirent *e; proc != NULL && text != NULL && found == 0;) {
        e = readdir(proc);
        if (e == NULL)
            break;
        struct reader r = reader_over(slice_of_text(e->d_name));
        uint64_t pid = reader_decimal(&r, INT_MAX);
        if (reader_finish(&r) == ERR_NONE && read_proc((pid_t)pid, "status", text) &&
            proc_number(text, "\nPPid:") == parent)
            found = (pid_t)pid;
    }
    free(text);
    if (proc != NULL)
        (void)closedir(proc);
    return found;
}

static void check_signer(struct doctor *d)
{
    char *text = malloc(PROC_TEXT_MAX);
    pid_t signer = find_child(d->hub_pid);
    if (text == NULL || signer == 0 || !read_proc(signer, "status", text)) {
        doctor_saw(d, DOCTOR_UNKNOWN, "signer", "its process cannot be seen from here");
        doctor_next(d, "run this as root, on the machine and in the namespace of the hub");
    } else if (proc_number(text, "\nSeccomp:") != 2) {
        doctor_saw(d, DOCTOR_FAIL, "signer", "process %ld is not confined by seccomp",
                   (long)signer);
        doctor_next(d, "restart the hub; if it stays so, report it");
    } else if (proc_number(text, "\nUid:") == (long long)d->hub_uid) {
        doctor_saw(d, DOCTOR_WARN, "signer", "process %ld runs as the hub's own user (%lu)",
                   (long)signer, (unsigned long)d->hub_uid);
        doctor_next(d, "start the hub as root, with user and signer-user in its configuration");
    } else {
        doctor_saw(d, DOCTOR_PASS, "signer",
                   "process %ld has a user of its own (%lld), and seccomp", (long)signer,
                   proc_number(text, "\nUid:"));
    }
    free(text);
}

static void check_descriptors(struct doctor *d)
{
    char *text = malloc(PROC_TEXT_MAX);
    long long connections = d->settings.connections > 0 ? d->settings.connections : 50000;
    long long limit = text != NULL && read_proc(d->hub_pid, "limits", text)
                          ? proc_number(text, "\nMax open files")
                          : -1;
    long long needed = 3 * connections + DESCRIPTORS_SPARE;
    free(text);
    if (limit < 0) {
        doctor_saw(d, DOCTOR_UNKNOWN, "descriptors", "the hub's limit cannot be seen");
        doctor_next(d, "run this as root");
    } else if (limit < needed) {
        doctor_saw(d, DOCTOR_WARN, "descriptors",
                   "the hub may open %lld files, and %lld connections on each listener need %lld",
                   limit, connections, needed);
        doctor_next(d,
                    "raise LimitNOFILE= of its unit, or lower `connections` in its configuration");
    } else {
        doctor_saw(d, DOCTOR_PASS, "descriptors", "the hub may open %lld files", limit);
    }
}

void doctor_check_processes(struct doctor *d)
{
    if (d->hub_pid == 0) {
        doctor_saw(d, DOCTOR_UNKNOWN, "signer", "without a hub that answers it cannot be seen");
        doctor_saw(d, DOCTOR_UNKNOWN, "descriptors",
                   "without a hub that answers there is no limit "
                   "to see");
        return;
    }
    if (d->hub_uid == 0) {
        doctor_saw(d, DOCTOR_WARN, "user", "the hub runs as root");
        doctor_next(d, "say user and signer-user in its configuration");
    } else {
        doctor_saw(d, DOCTOR_PASS, "user", "the hub runs as user %lu", (unsigned long)d->hub_uid);
    }
    check_signer(d);
    check_descriptors(d);
}

/* ---- authority ---- */

static void check_expiry(struct doctor *d, const char *what, int64_t not_after)
{
    char when[WHEN_TEXT_MAX];
    when_full(not_after, d->now, when);
    if (not_after <= d->now) {
        doctor_saw(d, DOCTOR_FAIL, what, "expired: %s", when);
        doctor_next(d, "`holdfast ca csr`, have the root sign it, `holdfast ca install`");
    } else if (not_after - d->now < ISSUING_WARN) {
        doctor_saw(d, DOCTOR_WARN, what, "valid until %s", when);
        doctor_next(d, "`holdfast ca csr`, have the root sign it, `holdfast ca install`");
    } else {
        doctor_saw(d, DOCTOR_PASS, what, "valid until %s", when);
    }
}

static void check_offline(struct doctor *d, const char *check, bool present)
{
    if (!present) {
        doctor_saw(d, DOCTOR_PASS, check, "not on this machine");
        return;
    }
    doctor_saw(d, DOCTOR_WARN, check, "it is still on this machine, in %s/offline", d->state);
    doctor_next(d, "move it to media that are kept apart; the hub does not need it");
}

/* One that was begun is not to be forgotten: until its end, both authorities are believed. */
static void check_roll_over(struct doctor *d, const struct ca_facts *facts)
{
    if (facts->next.there) {
        doctor_saw(d, DOCTOR_WARN, "roll-over", "the next authority is prepared");
        doctor_next(d, "`holdfast ca bundle --install`, then `holdfast ca switch`");
    } else if (facts->previous.there) {
        doctor_saw(d, DOCTOR_WARN, "roll-over", "what the authority before this issued is taken");
        doctor_next(d, "`holdfast device rotate --all`; once it is complete, `holdfast ca finish`");
    }
}

/* What only the authority's files tell. */
static void check_files(struct doctor *d)
{
    static const char *const checks[] = {"root key", "bundle key", "root CA"};
    struct ca_facts facts;
    char explain[256] = "";
    if (ca_show(d->state, &facts, explain) == ERR_NONE) {
        check_offline(d, checks[0], facts.root_key_present);
        check_offline(d, checks[1], facts.bundle_key_present);
        check_expiry(d, checks[2], facts.root_not_after);
        if (d->hub == NULL)
            check_expiry(d, "issuing CA", facts.issuing_not_after);
        check_roll_over(d, &facts);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
        doctor_saw(d, DOCTOR_UNKNOWN, checks[i], "%s", explain);
        doctor_next(d, "run this as root; --state says where the authority's files are");
    }
}

void doctor_check_authority(struct doctor *d)
{
    if (d->hub != NULL)
        check_expiry(d, "issuing CA",
                     json_time_of(json_object_get(d->hub, "ca"), "issuing_not_after"));
    check_files(d);
}

/* ---- listeners and names ---- */

static bool is_loopback(const char *address)
{
    return strncmp(address, "127.", 4) == 0 || strncmp(address, "[::1]:", 6) == 0 ||
           strncmp(address, "localhost:", 10) == 0 || strncmp(address, "unix:", 5) == 0;
}

static const char *address_of(const struct doctor *d, const char *name)
{
    const json_t *listeners = json_object_get(d->hub, "listeners");
    for (size_t i = 0; i < json_array_size(listeners); i++) {
        const json_t *l = json_array_get(listeners, i);
        if (strcmp(json_text_of(l, "name"), name) == 0)
            return json_text_of(l, "address");
    }
    return "";
}

static void check_names(struct doctor *d, bool open)
{
    const struct config_list *names = &d->settings.names;
    bool only_local = true;
    for (size_t i = 0; i < names->n; i++)
        only_local = only_local && (strcmp(names->items[i], "localhost") == 0 ||
                                    strncmp(names->items[i], "127.", 4) == 0 ||
                                    strcmp(names->items[i], "::1") == 0);
    if (!d->has_settings) {
        doctor_saw(d, DOCTOR_UNKNOWN, "names", "the configuration cannot be read");
        doctor_next(d, "say --config FILE, or run this as root");
    } else if (only_local && open) {
        doctor_saw(d, DOCTOR_WARN, "names",
                   "devices can reach the hub from outside, and its certificate names this machine "
                   "only");
        doctor_next(d, "say `names` in %s: what devices call the hub", d->settings.path);
    } else {
        char text[256] = "";
        for (size_t i = 0; i < names->n; i++) {
            size_t n = strlen(text);
            (void)snprintf(text + n, sizeof text - n, "%s%s", i == 0 ? "" : ", ", names->items[i]);
        }
        doctor_saw(d, DOCTOR_PASS, "names", "%s", names->n == 0 ? "localhost, 127.0.0.1" : text);
    }
}

/* Without a hub that answers, by what its configuration says; it stands for 0.0.0.0 where silent.
 */
static void check_without_hub(struct doctor *d)
{
    doctor_saw(d, DOCTOR_UNKNOWN, "listeners", "without a hub that answers there are none to see");
    check_names(d, !is_loopback(d->settings.listen_device) ||
                       !is_loopback(d->settings.listen_bootstrap));
}

void doctor_check_listeners(struct doctor *d)
{
    const char *operators = address_of(d, "operator");
    const char *device = address_of(d, "device"), *bootstrap = address_of(d, "bootstrap");
    if (d->hub == NULL) {
        check_without_hub(d);
        return;
    }
    if (is_loopback(operators)) {
        doctor_saw(d, DOCTOR_PASS, "operators", "served on this machine only: %s", operators);
    } else {
        doctor_saw(d, DOCTOR_WARN, "operators", "readers of ledger and metrics are served at %s",
                   operators);
        doctor_next(d, "unless they read from elsewhere: listen-operator = 127.0.0.1:8445");
    }
    bool open = !is_loopback(device) || !is_loopback(bootstrap);
    doctor_saw(d, DOCTOR_PASS, "devices", "served at %s, enrolled at %s%s", device, bootstrap,
               open ? "" : ": from this machine only");
    check_names(d, open);
}

/* ---- trust bundle ---- */

void doctor_check_bundle(struct doctor *d)
{
    if (d->hub == NULL) {
        doctor_saw(d, DOCTOR_UNKNOWN, "trust bundle",
                   "without a hub that answers it is not known "
                   "which one is served");
        return;
    }
    int64_t served = json_number_of(d->hub, "trust_bundle_version");
    struct trust_bundle in_state;
    uint64_t made = doctor_bundle(d, &in_state) ? in_state.version : 0;
    if (served == 0) {
        doctor_saw(d, DOCTOR_FAIL, "trust bundle",
                   "none is served: devices have nothing to follow");
        doctor_next(d, "`holdfast ca bundle --install`, where the bundle key is");
    } else if (made > (uint64_t)served) {
        doctor_saw(d, DOCTOR_WARN, "trust bundle",
                   "version %" PRId64 " is served, and version %" PRIu64 " was signed", served,
                   made);
        doctor_next(d, "holdfast ca bundle --install --from %s/bundle", d->state);
    } else {
        doctor_saw(d, DOCTOR_PASS, "trust bundle", "version %" PRId64 " is served", served);
    }
}

/* ---- ledger and store ---- */

/* The checkpoint, checked against the key in the state folder. 0: it does not verify. */
static bool checkpoint_size(struct doctor *d, uint64_t *ret_size, const char **ret_why)
{
    char path[PATH_MAX];
    uint8_t *text = NULL;
    size_t len = 0;
    struct note_key key;
    struct slice signed_text;
    struct checkpoint checkpoint;
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    (void)snprintf(path, sizeof path, "%s/ledger.vkey", d->state);
    *ret_why = "the ledger's key cannot be read";
    enum err err = file_read(path, NOTE_KEY_TEXT_MAX + 1, &text, &len);
    if (err == ERR_NONE)
        err = note_key_read(slice_of(text, len > 0 && text[len - 1] == '\n' ? len - 1 : len),
                            crypto_sha256, &key);
    free(text);
    if (err != ERR_NONE)
        return false;
    *ret_why = "there is no checkpoint";
    if (!hub_get_quietly(d->cli, "/v1/ledger/checkpoint", &answer))
        return false;
    *ret_why = "its signature does not verify with the ledger's key";
    err = note_verify(answer.bytes, &key, crypto_ed25519_verify, &signed_text);
    if (err == ERR_NONE)
        err = checkpoint_read(signed_text, &checkpoint);
    if (err == ERR_NONE)
        *ret_size = checkpoint.size;
    return err == ERR_NONE;
}

static uint64_t ledger_size(struct doctor *d)
{
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    if (!hub_get_quietly(d->cli, "/v1/hub", &answer))
        return 0;
    return (uint64_t)json_number_of(json_object_get(answer.json, "ledger"), "size");
}

static void check_checkpoint(struct doctor *d)
{
    uint64_t size = ledger_size(d), signed_size = 0;
    const char *why = "";
    bool verified = checkpoint_size(d, &signed_size, &why);
    if (verified && signed_size < size) {
        (void)nanosleep(&(struct timespec){.tv_sec = SETTLE_SECONDS}, NULL);
        verified = checkpoint_size(d, &signed_size, &why);
    }
    if (!verified) {
        doctor_saw(d, DOCTOR_FAIL, "checkpoint", "%s", why);
        doctor_next(d, "look into the hub's log; `holdfast ledger verify --local` says more");
    } else if (signed_size < size) {
        doctor_saw(d, DOCTOR_FAIL, "checkpoint",
                   "%" PRIu64 " of %" PRIu64 " entries are signed for, and no more are being",
                   signed_size, size);
        doctor_next(d, "look into the hub's log: its signer does not sign");
    } else {
        doctor_saw(d, DOCTOR_PASS, "checkpoint", "signed for all %" PRIu64 " entries", signed_size);
    }
}

static void check_store(struct doctor *d)
{
    const json_t *store = json_object_get(d->hub, "store");
    int64_t abandoned = json_number_of(store, "abandoned"),
            wal = json_number_of(store, "wal_bytes");
    if (abandoned > 0) {
        doctor_saw(d, DOCTOR_WARN, "store", "%" PRId64 " writes were abandoned since the start",
                   abandoned);
        doctor_next(d, "look into the hub's log: a full disk, or one that fails");
    } else if (wal > WAL_WARN) {
        doctor_saw(d, DOCTOR_WARN, "store", "the write-ahead log is %" PRId64 " MB", wal / 1000000);
        doctor_next(d, "something keeps the database open: a backup, a shell?");
    } else {
        doctor_saw(d, DOCTOR_PASS, "store", "no write was abandoned");
    }
}

void doctor_check_ledger(struct doctor *d)
{
    if (d->hub == NULL) {
        doctor_saw(d, DOCTOR_UNKNOWN, "checkpoint",
                   "without a hub that answers there is none to see");
        doctor_saw(d, DOCTOR_UNKNOWN, "store", "without a hub that answers it tells nothing");
        return;
    }
    check_checkpoint(d);
    check_store(d);
}
