/* `holdfast doctor broker`: does anything in Mosquitto's configuration lead past the plugin? */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/doctor.h"
#include "cli/mosquitto_conf.h"

#define MOSQUITTO_CONF      "/etc/mosquitto/mosquitto.conf"
#define DESCRIPTORS_BESIDES 100 /* its files, listeners, and the plugin's connections */
#define PLUGIN_CONF_MAX     65536

static void check_rights(struct doctor *d, const struct mosquitto_conf *conf)
{
    for (size_t i = 0; i < conf->files_len; i++) {
        struct stat st;
        const char *path = conf->files[i];
        if (stat(path, &st) == 0 && (st.st_mode & 022) == 0 &&
            (st.st_uid == 0 || st.st_uid == geteuid()))
            continue;
        doctor_saw(d, DOCTOR_FAIL, "rights", "%.200s can be changed by others", path);
        doctor_next(d, "chown root %.120s; chmod go-w %.120s", path, path);
        return;
    }
    doctor_saw(d, DOCTOR_PASS, "rights", "only root can change the %zu files", conf->files_len);
}

/* Does the plugin's own configuration say "passwords = true"? */
static bool takes_passwords(const struct mosquitto_conf *conf)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    bool found = false;
    if (conf->plugin_config[0] == '\0' ||
        file_read(conf->plugin_config, PLUGIN_CONF_MAX, &bytes, &len) != ERR_NONE)
        return false;
    char word[16], value[16];
    struct slice rest = slice_of(bytes, len);
    while (rest.len > 0 && !found) {
        const uint8_t *end = memchr(rest.data, '\n', rest.len);
        size_t n = end == NULL ? rest.len : (size_t)(end - rest.data);
        size_t w = 0, v = 0;
        bool behind = false;
        for (size_t i = 0; i < n; i++) {
            char c = (char)rest.data[i];
            if (c == ' ' || c == '\t' || c == '\r')
                continue;
            if (c == '=' && !behind)
                behind = true;
            else if (!behind && w < sizeof word - 1)
                word[w++] = c;
            else if (behind && v < sizeof value - 1)
                value[v++] = c;
        }
        word[w] = value[v] = '\0';
        found = strcmp(word, "passwords") == 0 && strcmp(value, "true") == 0;
        n += end == NULL ? 0 : 1;
        rest = slice_of(rest.data + n, rest.len - n);
    }
    free(bytes);
    return found;
}

/* The number that a small file holds behind `label` ("" : at its start). */
static bool read_number(const char *path, const char *label, uint64_t *ret_n)
{
    uint8_t bytes[4096];
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    size_t len = fread(bytes, 1, sizeof bytes, file);
    (void)fclose(file);
    const uint8_t *at = label[0] == '\0' ? bytes : memmem(bytes, len, label, strlen(label));
    if (at == NULL)
        return false;
    const uint8_t *digits = at + strlen(label), *end = bytes + len;
    while (digits < end && *digits == ' ')
        digits++;
    uint64_t n = 0;
    bool any = false;
    for (; digits < end && *digits >= '0' && *digits <= '9' && n < UINT32_MAX; digits++) {
        n = n * 10 + (uint64_t)(*digits - '0');
        any = true;
    }
    if (any)
        *ret_n = n;
    return any;
}

static void check_descriptors(struct doctor *d, const struct mosquitto_conf *conf)
{
    char limits[64];
    uint64_t pid = 0, files = 0;
    if (conf->max_connections == 0)
        return; /* "connections" has told */
    if (conf->pid_file[0] == '\0' || !read_number(conf->pid_file, "", &pid)) {
        doctor_saw(
            d, DOCTOR_UNKNOWN, "descriptors",
            "Mosquitto does not run, or has no pid_file: how many files it may open can't be "
            "seen");
        doctor_next(d, "start it; its service needs LimitNOFILE above %lld",
                    (long long)conf->max_connections + DESCRIPTORS_BESIDES);
        return;
    }
    (void)snprintf(limits, sizeof limits, "/proc/%llu/limits", (unsigned long long)pid);
    if (!read_number(limits, "Max open files", &files)) {
        doctor_saw(d, DOCTOR_UNKNOWN, "descriptors", "%s can't be read", limits);
        doctor_next(d, "run this as root");
    } else if ((int64_t)files < conf->max_connections + DESCRIPTORS_BESIDES) {
        doctor_saw(d, DOCTOR_FAIL, "descriptors",
                   "Mosquitto may open %llu files, and max_connections is %lld",
                   (unsigned long long)files, (long long)conf->max_connections);
        doctor_next(d, "systemctl edit mosquitto: [Service] LimitNOFILE=%lld",
                    (long long)conf->max_connections + DESCRIPTORS_BESIDES);
    } else {
        doctor_saw(d, DOCTOR_PASS, "descriptors", "it may open %llu files",
                   (unsigned long long)files);
    }
}

void doctor_check_broker(struct doctor *d)
{
    static const enum doctor_result results[] = {[MOSQUITTO_GOOD] = DOCTOR_PASS,
                                                 [MOSQUITTO_DOUBTFUL] = DOCTOR_WARN,
                                                 [MOSQUITTO_BAD] = DOCTOR_FAIL};
    const char *path = d->cli->config != NULL ? d->cli->config : MOSQUITTO_CONF;
    struct mosquitto_finding findings[MOSQUITTO_CHECKS];
    char explain[320];
    struct mosquitto_conf *conf = calloc(1, sizeof *conf);
    enum err err = conf == NULL ? ERR_NO_MEMORY : mosquitto_conf_read(conf, path, explain);
    if (err != ERR_NONE) {
        bool unseen = err == ERR_IO || err == ERR_NOT_FOUND || err == ERR_NO_MEMORY;
        doctor_saw(d, unseen ? DOCTOR_UNKNOWN : DOCTOR_FAIL, "mosquitto", "%s",
                   conf == NULL ? err_text(err) : explain);
        doctor_next(d, unseen ? "say --config FILE, or run this as root"
                              : "correct that line; mosquitto.conf(5) explains each");
        free(conf);
        return;
    }
    mosquitto_conf_judge(conf, takes_passwords(conf), findings);
    for (size_t i = 0; i < MOSQUITTO_CHECKS; i++) {
        const struct mosquitto_finding *f = &findings[i];
        doctor_saw(d, results[f->verdict], f->check, "%s", f->saw);
        if (f->next != NULL)
            doctor_next(d, "%s", f->next);
    }
    check_rights(d, conf);
    check_descriptors(d, conf);
    free(conf);
}
