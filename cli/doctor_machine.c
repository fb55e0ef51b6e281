/* What the doctor sees without a hub: files, disk, clock. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/file.h"
#include "cli/doctor.h"
#include "cli/when.h"
#include "core/trust_bundle.h"

extern char **environ;

#define DISK_FAIL_BYTES (100ULL * 1000 * 1000)      /* less, and writes are about to be refused */
#define DISK_WARN_BYTES (2ULL * 1000 * 1000 * 1000) /* some millions of ledger entries */

/* ---- configuration ---- */

/* The hub itself judges its configuration. -1: it could not be asked. */
static int ask_hub_program(const char *path)
{
    static const char *const programs[] = {HOLDFAST_SBINDIR "/holdfast-hub", "holdfast-hub"};
    posix_spawn_file_actions_t quiet;
    if (posix_spawn_file_actions_init(&quiet) != 0)
        return -1;
    int status = -1;
    bool ok = posix_spawn_file_actions_addopen(&quiet, 1, "/dev/null", O_WRONLY, 0) == 0 &&
              posix_spawn_file_actions_addopen(&quiet, 2, "/dev/null", O_WRONLY, 0) == 0;
    for (size_t i = 0; ok && i < ARRAY_LEN(programs); i++) {
        char *const argv[] = {(char[]){"holdfast-hub"}, (char[]){"--config"},
                              (char *)(uintptr_t)path, (char[]){"--check"}, NULL};
        pid_t pid;
        int wait_status;
        if (posix_spawnp(&pid, programs[i], &quiet, NULL, argv, environ) != 0)
            continue;
        if (waitpid(pid, &wait_status, 0) == pid && WIFEXITED(wait_status) &&
            WEXITSTATUS(wait_status) != 127)
            status = WEXITSTATUS(wait_status);
        break;
    }
    (void)posix_spawn_file_actions_destroy(&quiet);
    return status;
}

void doctor_check_config(struct doctor *d)
{
    const char *path = d->cli->config != NULL ? d->cli->config : SETTINGS_CONFIG_PATH;
    struct config_error error = {""};
    struct stat st;
    if (!d->has_settings) {
        enum err err = settings_read(d->cli, &d->settings, &error);
        if (err == ERR_NOT_FOUND || err == ERR_IO) {
            doctor_saw(d, DOCTOR_UNKNOWN, "configuration", "%s", error.text);
            doctor_next(d, "say --config FILE, or run this as root");
        } else {
            doctor_saw(d, DOCTOR_FAIL, "configuration", "%s", error.text);
            doctor_next(d, "correct it; holdfast-hub.conf(5) explains each key");
        }
        return;
    }
    if (stat(path, &st) == 0 &&
        ((st.st_mode & 022) != 0 || (st.st_uid != 0 && st.st_uid != geteuid()))) {
        doctor_saw(d, DOCTOR_FAIL, "configuration",
                   "%s can be changed by others (mode %03o, user %u)", path,
                   (unsigned)st.st_mode & 0777, (unsigned)st.st_uid);
        doctor_next(d, "chown root %s; chmod go-w %s", path, path);
        return;
    }
    int status = ask_hub_program(path);
    if (status == 0) {
        doctor_saw(d, DOCTOR_PASS, "configuration", "%s is right", path);
    } else if (status < 0) {
        doctor_saw(d, DOCTOR_UNKNOWN, "configuration",
                   "%s can be read; holdfast-hub, which judges it, is not found", path);
        doctor_next(d, "holdfast-hub --config %s --check", path);
    } else {
        doctor_saw(d, DOCTOR_FAIL, "configuration", "holdfast-hub does not take %s", path);
        doctor_next(d, "holdfast-hub --config %s --check says why", path);
    }
}

/* ---- state ---- */

void doctor_database(const struct doctor *d, char ret_path[CONFIG_TEXT_MAX])
{
    static const char scheme[] = "sqlite:";
    const char *store = d->settings.store;
    if (strncmp(store, scheme, sizeof scheme - 1) == 0)
        (void)snprintf(ret_path, CONFIG_TEXT_MAX, "%s", store + sizeof scheme - 1);
    else
        (void)snprintf(ret_path, CONFIG_TEXT_MAX, "%.500s/hub.db", d->state);
}

/* What keeps others from reading or changing what the hub stands on. */
struct wanted {
    const char *name;
    mode_t forbidden; /* bits; of a folder that is closed, also for all in it */
    bool folder;
    bool optional; /* it may be absent */
};

static const struct wanted wanted_files[] = {
    {"", 022, true, false},
    {"offline", 077, true, true},
    {"signer", 077, true, false},
    {"root.pem", 022, false, false},
    {"bundle", 022, false, true},
    {"ledger.vkey", 022, false, false},
    {"policy.vkey", 022, false, false},
    {"bundle.vkey", 022, false, false},
};

struct look {
    struct doctor *d;
    char hidden[256]; /* what cannot be looked at */
};

static bool complain_mode(struct look *l, const char *path, mode_t mode, mode_t forbidden)
{
    doctor_saw(l->d, DOCTOR_FAIL, "state", "%s is open to others (mode %03o)", path,
               (unsigned)mode & 0777);
    doctor_next(l->d, "chmod %s %s", forbidden == 077 ? "go-rwx" : "go-w", path);
    return false;
}

static bool cannot_look(struct look *l, const char *path)
{
    size_t n = strlen(l->hidden);
    (void)snprintf(l->hidden + n, sizeof l->hidden - n, "%s%s", n == 0 ? "" : ", ", path);
    return true;
}

/* All secrets in it: certificates may be read by all where they are found, and are not here. */
static bool look_inside(struct look *l, const char *path, mode_t forbidden)
{
    DIR *folder = opendir(path);
    if (folder == NULL)
        return cannot_look(l, path);
    bool right = true;
    for (const struct dirent *e = readdir(folder); right && e != NULL; e = readdir(folder)) {
        char name[PATH_MAX];
        struct stat st;
        (void)snprintf(name, sizeof name, "%s/%s", path, e->d_name);
        bool is_key = strstr(e->d_name, ".key") != NULL;
        if (is_key && fstatat(dirfd(folder), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            (st.st_mode & forbidden) != 0)
            right = complain_mode(l, name, st.st_mode, forbidden);
    }
    (void)closedir(folder);
    return right;
}

static bool check_file(struct look *l, const struct wanted *w)
{
    char path[PATH_MAX];
    struct stat st;
    (void)snprintf(path, sizeof path, "%s%s%s", l->d->state, *w->name == '\0' ? "" : "/", w->name);
    if (lstat(path, &st) != 0) {
        if (errno == ENOENT && w->optional)
            return true;
        if (errno == EACCES)
            return cannot_look(l, path);
        doctor_saw(l->d, DOCTOR_FAIL, "state", "%s: %s", path, strerror(errno));
        doctor_next(l->d, "`holdfast ca init` makes it; --state says where it is");
        return false;
    }
    if (w->folder ? !S_ISDIR(st.st_mode) : !S_ISREG(st.st_mode)) {
        doctor_saw(l->d, DOCTOR_FAIL, "state", "%s is not a %s", path,
                   w->folder ? "folder" : "file");
        doctor_next(l->d, "find out who put it there");
        return false;
    }
    if ((st.st_mode & w->forbidden) != 0)
        return complain_mode(l, path, st.st_mode, w->forbidden);
    return w->forbidden == 077 ? look_inside(l, path, w->forbidden) : true;
}

/* The database holds no keys, but all that is known of the devices. */
static bool check_database(struct look *l)
{
    char path[CONFIG_TEXT_MAX];
    struct stat st;
    doctor_database(l->d, path);
    if (lstat(path, &st) == 0)
        return (st.st_mode & 077) == 0 || complain_mode(l, path, st.st_mode, 077);
    return errno == EACCES ? cannot_look(l, path) : true; /* there is none before the first start */
}

void doctor_check_state(struct doctor *d)
{
    struct look l = {.d = d};
    bool right = true;
    for (size_t i = 0; right && i < ARRAY_LEN(wanted_files); i++)
        right = check_file(&l, &wanted_files[i]);
    if (!right || !check_database(&l))
        return;
    if (l.hidden[0] != '\0') {
        doctor_saw(d, DOCTOR_UNKNOWN, "state", "cannot be looked at: %s", l.hidden);
        doctor_next(d, "run this as root");
        return;
    }
    doctor_saw(d, DOCTOR_PASS, "state", "%s and what it holds is closed to others", d->state);
}

/* ---- disk ---- */

static void check_space(struct doctor *d, const char *folder)
{
    struct statvfs v;
    if (statvfs(folder, &v) != 0) {
        doctor_saw(d, DOCTOR_UNKNOWN, "disk space", "%s: %s", folder, strerror(errno));
        return;
    }
    unsigned long long free_bytes = (unsigned long long)v.f_bavail * v.f_frsize;
    unsigned percent = v.f_blocks == 0 ? 0 : (unsigned)(100ULL * v.f_bavail / v.f_blocks);
    bool no_inodes = v.f_files != 0 && v.f_favail < 64;
    enum doctor_result result = free_bytes < DISK_FAIL_BYTES || no_inodes ? DOCTOR_FAIL
                                : free_bytes < DISK_WARN_BYTES            ? DOCTOR_WARN
                                                                          : DOCTOR_PASS;
    doctor_saw(d, result, "disk space", "%llu MB free (%u %%) for %s%s", free_bytes / 1000000,
               percent, folder, no_inodes ? ", and hardly an inode" : "");
    if (result != DOCTOR_PASS)
        doctor_next(d, "make room: when the disk is full, the hub refuses every write");
}

static void check_filesystem(struct doctor *d, const char *folder)
{
    static const struct {
        unsigned long magic;
        const char *name;
        enum doctor_result result;
    } kinds[] = {
        {0xef53, "ext4", DOCTOR_PASS},        {0x58465342, "XFS", DOCTOR_PASS},
        {0x9123683e, "Btrfs", DOCTOR_PASS},   {0x2fc12fc1, "ZFS", DOCTOR_PASS},
        {0xf2f52010, "F2FS", DOCTOR_PASS},    {0xca451a4e, "bcachefs", DOCTOR_PASS},
        {0x01021994, "tmpfs", DOCTOR_WARN},   {0x858458f6, "ramfs", DOCTOR_WARN},
        {0x794c7630, "overlay", DOCTOR_WARN}, {0x6969, "NFS", DOCTOR_FAIL},
        {0xff534d42, "CIFS", DOCTOR_FAIL},    {0xfe534d42, "SMB", DOCTOR_FAIL},
        {0x01021997, "9p", DOCTOR_FAIL},      {0x517b, "SMB", DOCTOR_FAIL},
        {0x4d44, "FAT", DOCTOR_FAIL},         {0x2011bab0, "exFAT", DOCTOR_FAIL},
    };
    struct statfs s;
    if (statfs(folder, &s) != 0) {
        doctor_saw(d, DOCTOR_UNKNOWN, "file system", "%s: %s", folder, strerror(errno));
        return;
    }
    unsigned long magic = (unsigned long)s.f_type & 0xffffffffUL;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (kinds[i].magic != magic)
            continue;
        doctor_saw(d, kinds[i].result, "file system", "%s lies on %s", folder, kinds[i].name);
        if (kinds[i].result == DOCTOR_WARN)
            doctor_next(d, "what lies there may be gone after a restart: use a disk's file system");
        else if (kinds[i].result == DOCTOR_FAIL)
            doctor_next(d,
                        "locks and flushes do not hold there as a database needs them: use a local "
                        "ext4 or XFS");
        return;
    }
    doctor_saw(d, DOCTOR_UNKNOWN, "file system",
               "%s lies on a file system that is not known (%#lx)", folder, magic);
    doctor_next(d, "make sure that it keeps what was flushed; ext4 and XFS on a local disk do");
}

void doctor_check_disk(struct doctor *d)
{
    char folder[CONFIG_TEXT_MAX];
    struct stat st;
    doctor_database(d, folder);
    char *slash = strrchr(folder, '/');
    if (slash != NULL && slash != folder)
        *slash = '\0';
    if (stat(folder, &st) !=
        0) /* not made yet, or closed to us: the state's is most likely its own */
        (void)snprintf(folder, sizeof folder, "%s", d->state);
    check_space(d, folder);
    check_filesystem(d, folder);
}

/* ---- clock ---- */

bool doctor_bundle(const struct doctor *d, struct trust_bundle *ret_bundle)
{
    static uint8_t storage[TRUST_ROOTS_MAX * CERTIFICATE_MAX];
    char path[PATH_MAX];
    uint8_t *bytes = NULL;
    size_t len = 0;
    (void)snprintf(path, sizeof path, "%s/bundle", d->state);
    if (file_read(path, TRUST_BUNDLE_MAX, &bytes, &len) != ERR_NONE)
        return false;
    enum err err = trust_bundle_read(slice_of(bytes, len), NULL, crypto_sha256,
                                     crypto_ed25519_verify, storage, sizeof storage, ret_bundle);
    file_free_secret(bytes, len);
    return err == ERR_NONE;
}

void doctor_check_clock(struct doctor *d)
{
    char when[WHEN_TEXT_MAX];
    /* The time that something signed says it was: the clock cannot be before it. */
    struct trust_bundle bundle;
    int64_t floor = doctor_bundle(d, &bundle) ? bundle.time_floor : 0;
    struct timex t = {.modes = 0};
    if (d->now < floor) {
        when_full(floor, d->now, when);
        doctor_saw(d, DOCTOR_FAIL, "clock", "it is before the last trust bundle, of %s", when);
        doctor_next(d, "set the clock, and have it kept by NTP");
        return;
    }
    int state = adjtimex(&t);
    if (state < 0) {
        doctor_saw(d, DOCTOR_UNKNOWN, "clock", "whether it is kept by NTP cannot be asked: %s",
                   strerror(errno));
        doctor_next(d, "timedatectl status");
    } else if (state == TIME_ERROR || (t.status & STA_UNSYNC) != 0) {
        doctor_saw(d, DOCTOR_WARN, "clock", "nothing keeps it: it is not synchronised");
        doctor_next(d, "have it kept by NTP (systemd-timesyncd, chrony): certificates live by it");
    } else {
        doctor_saw(d, DOCTOR_PASS, "clock", "synchronised");
    }
}
