#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/file.h"
#include "device/agent/settings.h"
#include "device/port/posix/posix.h"

#define CLAIM_FILE_MAX 512
#define OS_RELEASE_MAX 16384

static enum err fail(struct config_error *error, const char *path, enum err err)
{
    (void)snprintf(error->text, sizeof error->text, "%s: %s", path,
                   err == ERR_IO ? strerror(errno) : err_text(err));
    return err;
}

/* ---- the files that the configuration names ---- */

static enum err read_claim(const char *path, struct agent_inputs *inputs,
                           struct config_error *error)
{
    enum err err = file_read(path, CLAIM_FILE_MAX, &inputs->claim, &inputs->claim_len);
    if (err == ERR_NOT_FOUND)
        return ERR_NONE;
    if (err != ERR_NONE)
        return fail(error, path, err);
    struct slice code = slice_of(inputs->claim, inputs->claim_len);
    while (code.len > 0 && code.data[code.len - 1] <= ' ')
        code.len--;
    while (code.len > 0 && code.data[0] <= ' ')
        code = slice_of(code.data + 1, code.len - 1);
    for (size_t i = 0; i < code.len; i++)
        if (code.data[i] <= ' ' || code.data[i] >= 0x7f)
            return fail(error, path, ERR_SYNTAX);
    if (code.len == 0 || code.len > DEVICE_CLAIM_MAX)
        return fail(error, path, code.len == 0 ? ERR_SYNTAX : ERR_LIMIT);
    inputs->options.claim = code;
    return ERR_NONE;
}

static enum err read_idevid(const char *path, struct agent_inputs *inputs,
                            struct config_error *error)
{
    size_t len = 0;
    inputs->idevid = malloc(DEVICE_CHAIN_MAX);
    enum err err = inputs->idevid == NULL
                       ? ERR_NO_MEMORY
                       : posix_read_certificates(path, inputs->idevid, DEVICE_CHAIN_MAX, &len);
    if (err != ERR_NONE)
        return fail(error, path, err);
    inputs->options.manufacturer_chain = slice_of(inputs->idevid, len);
    return ERR_NONE;
}

/* ---- the system ---- */

/* Short text that the hub takes: whole UTF-8 is not worth cutting right here, so other bytes than
 * printable ASCII are left out. */
static void put_text(char *to, size_t max, struct slice text)
{
    size_t n = 0;
    for (size_t i = 0; i < text.len && n + 1 < max; i++)
        if (text.data[i] >= ' ' && text.data[i] < 0x7f)
            to[n++] = (char)text.data[i];
    to[n] = '\0';
}

static struct slice os_release_name(struct slice file)
{
    struct slice key = SLICE_LITERAL("PRETTY_NAME=");
    struct reader r = reader_over(file);
    while (reader_left(&r) > 0) {
        struct slice line = reader_until(&r, '\n');
        if (r.err != ERR_NONE || !slice_starts_with(line, key))
            continue;
        struct slice value = slice_of(line.data + key.len, line.len - key.len);
        if (value.len >= 2 && value.data[0] == '"')
            value = slice_of(value.data + 1, value.len - 2);
        return value;
    }
    return slice_of(NULL, 0);
}

static void add_fact(struct agent_inputs *inputs, const char *name, struct slice value)
{
    size_t n = inputs->options.facts_len;
    if (value.len == 0 || n == AGENT_FACTS_MAX)
        return;
    put_text(inputs->values[n], sizeof inputs->values[n], value);
    inputs->facts[n] = (struct device_fact){name, inputs->values[n]};
    inputs->options.facts_len = n + 1;
}

static void look_at_system(struct agent_inputs *inputs)
{
    struct utsname names = {.sysname = "unknown"};
    (void)uname(&names);
    char platform[sizeof names.sysname + sizeof names.release + sizeof names.machine + 3];
    (void)snprintf(platform, sizeof platform, "%s %s %s", names.sysname, names.release,
                   names.machine);
    put_text(inputs->platform, sizeof inputs->platform, slice_of_text(platform));
    add_fact(inputs, "host", slice_of_text(names.nodename));
    add_fact(inputs, "kernel", slice_of_text(names.version));

    uint8_t *bytes;
    size_t len;
    if (file_read("/etc/os-release", OS_RELEASE_MAX, &bytes, &len) == ERR_NONE) {
        add_fact(inputs, "os", os_release_name(slice_of(bytes, len)));
        free(bytes);
    }
    if (file_read("/proc/sys/kernel/random/boot_id", sizeof inputs->boot_id, &bytes, &len) ==
        ERR_NONE) {
        if (len >= sizeof inputs->boot_id - 1)
            memcpy(inputs->boot_id, bytes, sizeof inputs->boot_id - 1);
        free(bytes);
    }
}

/* ---- all of it ---- */

enum err inputs_read(const struct agent_config *config, struct agent_inputs *inputs,
                     struct config_error *error)
{
    *inputs = (struct agent_inputs){.trust_bundle = NULL};
    look_at_system(inputs);
    struct device_options *o = &inputs->options;
    o->bootstrap = config->bootstrap;
    o->hub = config->hub;
    o->serial = config->serial;
    o->tenant = config->tenant[0] == '\0' ? NULL : config->tenant;
    o->proof = config->claim_file[0] != '\0'           ? DEVICE_PROOF_CLAIM
               : config->idevid_certificate[0] != '\0' ? DEVICE_PROOF_MANUFACTURER
                                                       : DEVICE_PROOF_KEY;
    o->key_kind = settings_key_kind(config);
    o->build_time = AGENT_BUILD_TIME;
    o->checkin_interval = config->checkin_interval;
    o->retry_max = config->retry_max;
    o->refused_retry = config->refused_retry;
    o->agent_version = AGENT_VERSION;
    o->platform = inputs->platform;
    o->key_storage = "file";
    o->boot_id = inputs->boot_id[0] == '\0' ? NULL : inputs->boot_id;
    o->facts = inputs->facts;

    enum err err =
        file_read(config->trust_bundle, NOTE_MAX, &inputs->trust_bundle, &inputs->trust_bundle_len);
    if (err != ERR_NONE)
        return fail(error, config->trust_bundle, err);
    o->trust_bundle = slice_of(inputs->trust_bundle, inputs->trust_bundle_len);
    if (o->proof == DEVICE_PROOF_CLAIM)
        return read_claim(config->claim_file, inputs, error);
    if (o->proof == DEVICE_PROOF_MANUFACTURER)
        return read_idevid(config->idevid_certificate, inputs, error);
    return ERR_NONE;
}

static enum err flush_folder_of(const char *path)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t n = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    memcpy(folder, n == 0 ? "." : path, n == 0 ? 1 : n);
    folder[n == 0 ? 1 : n] = '\0';
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return ERR_IO;
    enum err err = fsync(fd) == 0 || errno == EINVAL ? ERR_NONE : ERR_IO;
    (void)close(fd);
    return err;
}

enum err inputs_drop_claim(const struct agent_config *config, struct agent_inputs *inputs)
{
    inputs->options.claim = slice_of(NULL, 0);
    file_free_secret(inputs->claim, inputs->claim_len);
    inputs->claim = NULL;
    inputs->claim_len = 0;
    if (config->claim_file[0] == '\0')
        return ERR_NONE;
    if (unlink(config->claim_file) != 0)
        return errno == ENOENT ? ERR_NONE : ERR_IO;
    return flush_folder_of(config->claim_file);
}

void inputs_free(struct agent_inputs *inputs)
{
    file_free_secret(inputs->claim, inputs->claim_len);
    free(inputs->trust_bundle);
    free(inputs->idevid);
    *inputs = (struct agent_inputs){.trust_bundle = NULL};
}
