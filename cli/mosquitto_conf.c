#include "cli/mosquitto_conf.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "core/cursor.h"

#define PLUGIN "holdfast_mosquitto.so"

static const struct mosquitto_access no_access = {.allow_anonymous = -1};

void mosquitto_conf_init(struct mosquitto_conf *conf)
{
    memset(conf, 0, sizeof *conf);
    conf->access = no_access;
    conf->max_connections = 0;
}

/* ---- one line ---- */

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static struct slice trimmed(struct slice s)
{
    while (s.len > 0 && is_blank(s.data[0]))
        s = slice_of(s.data + 1, s.len - 1);
    while (s.len > 0 && is_blank(s.data[s.len - 1]))
        s.len--;
    return s;
}

static struct slice first_word(struct slice s)
{
    size_t n = 0;
    while (n < s.len && !is_blank(s.data[n]))
        n++;
    return slice_of(s.data, n);
}

static bool is(struct slice s, const char *text)
{
    return slice_equal(s, slice_of_text(text));
}

/* As Mosquitto reads one: its first word. What is neither keeps the broker from starting. */
static bool is_true(struct slice value)
{
    struct slice word = first_word(value);
    return is(word, "true") || is(word, "1");
}

static bool ends_with(struct slice s, const char *text)
{
    struct slice end = slice_of_text(text);
    return s.len >= end.len && slice_equal(slice_of(s.data + s.len - end.len, end.len), end);
}

static void keep(char *field, size_t size, struct slice value)
{
    (void)snprintf(field, size, "%.*s", (int)value.len, (const char *)value.data);
}

/* What stands before the first `listener` is about the standard one: 1883. */
static struct mosquitto_listener *current(struct mosquitto_conf *conf)
{
    if (conf->here > 0)
        return &conf->listeners[conf->here - 1];
    if (conf->standard > 0)
        return &conf->listeners[conf->standard - 1];
    struct mosquitto_listener *l = &conf->listeners[conf->listeners_len++];
    *l = (struct mosquitto_listener){.name = "the standard one, 1883", .access = no_access};
    conf->standard = conf->listeners_len;
    return l;
}

static enum err take_listener(struct mosquitto_conf *conf, struct slice value)
{
    struct slice port = first_word(value);
    struct slice address = trimmed(slice_of(value.data + port.len, value.len - port.len));
    if (conf->listeners_len - (conf->standard > 0) == MOSQUITTO_LISTENERS_MAX)
        return ERR_LIMIT;
    struct mosquitto_listener *l = &conf->listeners[conf->listeners_len++];
    conf->here = conf->listeners_len;
    *l = (struct mosquitto_listener){.access = no_access};
    bool is_socket = is(port, "0");
    if (address.len == 0)
        keep(l->name, sizeof l->name, port);
    else
        (void)snprintf(l->name, sizeof l->name, is_socket ? "unix:%.*s" : "%.*s:%.*s",
                       (int)address.len, (const char *)address.data, (int)port.len,
                       (const char *)port.data);
    return ERR_NONE;
}

static void end_bridge(struct mosquitto_conf *conf)
{
    if (conf->in_bridge && !conf->bridge_tls) {
        conf->bridges_plain++;
        memcpy(conf->plain_bridge, conf->bridge, sizeof conf->plain_bridge);
    }
    conf->in_bridge = conf->bridge_tls = false;
}

void mosquitto_conf_end(struct mosquitto_conf *conf)
{
    end_bridge(conf);
}

size_t mosquitto_conf_enter(struct mosquitto_conf *conf)
{
    size_t before = conf->here;
    end_bridge(conf);
    conf->here = 0;
    return before;
}

void mosquitto_conf_leave(struct mosquitto_conf *conf, size_t before)
{
    end_bridge(conf);
    conf->here = before;
}

/* Who may come in. False where the line is about something else. */
static bool take_access(struct mosquitto_conf *conf, struct slice key, struct slice value)
{
    bool one = conf->per_listener && conf->here > 0;
    struct mosquitto_access *a = one ? &conf->listeners[conf->here - 1].access : &conf->access;
    if (is(key, "allow_anonymous"))
        a->allow_anonymous = is_true(value) ? 1 : 0;
    else if (is(key, "password_file"))
        a->password_file = true;
    else if (is(key, "acl_file"))
        a->acl_file = true;
    else if (is(key, "psk_file"))
        a->psk_file = true;
    else if (is(key, "plugin") || is(key, "auth_plugin")) {
        a->plugins++;
        a->ours = a->ours || ends_with(value, "/" PLUGIN) || is(value, PLUGIN);
    } else
        return false;
    return true;
}

static bool take_of_listener(struct mosquitto_conf *conf, struct slice key, struct slice value)
{
    static const struct {
        const char *key;
        size_t offset;
    } flags[] = {
        {"require_certificate", offsetof(struct mosquitto_listener, require_certificate)},
        {"use_identity_as_username", offsetof(struct mosquitto_listener, identity_as_username)},
        {"use_subject_as_username", offsetof(struct mosquitto_listener, subject_as_username)},
    };
    for (size_t i = 0; i < ARRAY_LEN(flags); i++)
        if (is(key, flags[i].key)) {
            bool truth = is_true(value);
            memcpy((uint8_t *)current(conf) + flags[i].offset, &truth, sizeof truth);
            return true;
        }
    if (is(key, "certfile"))
        current(conf)->certificate = true;
    else if (is(key, "keyfile"))
        current(conf)->key = true;
    else if (is(key, "psk_hint"))
        current(conf)->psk_hint = true;
    else if (is(key, "protocol"))
        current(conf)->websockets = is(value, "websockets");
    else if (is(key, "tls_version"))
        keep(current(conf)->tls_version, sizeof current(conf)->tls_version, value);
    else if (is(key, "port") || is(key, "bind_address"))
        (void)current(conf);
    else
        return false;
    return true;
}

static bool take_of_bridge(struct mosquitto_conf *conf, struct slice key, struct slice value)
{
    if (is(key, "connection")) {
        end_bridge(conf);
        conf->in_bridge = true;
        conf->bridges++;
        keep(conf->bridge, sizeof conf->bridge, value);
    } else if (is(key, "bridge_cafile") || is(key, "bridge_capath") ||
               is(key, "bridge_tls_use_os_certs")) {
        conf->bridge_tls = true;
    } else {
        return false;
    }
    return true;
}

static enum err take_line(struct mosquitto_conf *conf, struct slice key, struct slice value,
                          char ret_include[MOSQUITTO_VALUE_MAX])
{
    if (value.len >= MOSQUITTO_VALUE_MAX || memchr(value.data, '\0', value.len) != NULL)
        return ERR_LIMIT;
    if (is(key, "listener"))
        return take_listener(conf, value);
    if (is(key, "include_dir"))
        keep(ret_include, MOSQUITTO_VALUE_MAX, value);
    else if (is(key, "per_listener_settings"))
        conf->per_listener = is_true(value);
    else if (is(key, "set_tcp_nodelay"))
        conf->nodelay = is_true(value);
    else if (is(key, "plugin_opt_config"))
        keep(conf->plugin_config, sizeof conf->plugin_config, value);
    else if (is(key, "pid_file"))
        keep(conf->pid_file, sizeof conf->pid_file, value);
    else if (is(key, "max_connections")) {
        struct reader r = reader_over(value);
        uint64_t n = reader_decimal(&r, INT32_MAX);
        bool bounded = reader_finish(&r) == ERR_NONE;
        current(conf)->has_max_connections = bounded;
        if (bounded && (int64_t)n > conf->max_connections)
            conf->max_connections = (int64_t)n;
    } else if (!take_access(conf, key, value) && !take_of_listener(conf, key, value)) {
        (void)take_of_bridge(conf, key, value);
    }
    return ERR_NONE;
}

enum err mosquitto_conf_take(struct mosquitto_conf *conf, struct slice *text,
                             char ret_include[MOSQUITTO_VALUE_MAX], unsigned *line)
{
    ret_include[0] = '\0';
    while (text->len > 0 && ret_include[0] == '\0') {
        const uint8_t *end = memchr(text->data, '\n', text->len);
        size_t n = end == NULL ? text->len : (size_t)(end - text->data);
        struct slice all = trimmed(slice_of(text->data, n));
        n += end == NULL ? 0 : 1;
        *text = slice_of(text->data + n, text->len - n);
        ++*line;
        if (all.len == 0 || all.data[0] == '#')
            continue;
        struct slice key = first_word(all);
        struct slice value = trimmed(slice_of(all.data + key.len, all.len - key.len));
        enum err err = take_line(conf, key, value, ret_include);
        if (err != ERR_NONE)
            return err;
    }
    return ERR_NONE;
}

/* ---- files ---- */

static enum err read_bytes(struct mosquitto_conf *conf, const char *path, uint8_t **ret_bytes,
                           struct slice *ret_text, char explain[320])
{
    size_t len = 0;
    if (conf->files_len == MOSQUITTO_FILES_MAX || strlen(path) >= MOSQUITTO_VALUE_MAX) {
        (void)snprintf(explain, 320, "more than %d files", MOSQUITTO_FILES_MAX);
        return ERR_LIMIT;
    }
    enum err err = file_read(path, MOSQUITTO_FILE_MAX, ret_bytes, &len);
    if (err != ERR_NONE) {
        (void)snprintf(explain, 320, "%.200s: %s", path, err_text(err));
        return err;
    }
    (void)snprintf(conf->files[conf->files_len++], MOSQUITTO_VALUE_MAX, "%s", path);
    *ret_text = slice_of(*ret_bytes, len);
    return ERR_NONE;
}

static enum err take_lines(struct mosquitto_conf *conf, const char *path, struct slice *text,
                           char ret_include[MOSQUITTO_VALUE_MAX], unsigned *line, char explain[320])
{
    enum err err = mosquitto_conf_take(conf, text, ret_include, line);
    if (err != ERR_NONE)
        (void)snprintf(explain, 320, "%.200s: line %u can't be understood", path, *line);
    return err;
}

/* One that was included: Mosquitto follows no include_dir from there. */
static enum err read_included(struct mosquitto_conf *conf, const char *path, char explain[320])
{
    char include[MOSQUITTO_VALUE_MAX];
    uint8_t *bytes = NULL;
    struct slice text;
    unsigned line = 0;
    size_t before = mosquitto_conf_enter(conf);
    enum err err = read_bytes(conf, path, &bytes, &text, explain);
    while (err == ERR_NONE && text.len > 0)
        err = take_lines(conf, path, &text, include, &line, explain);
    mosquitto_conf_leave(conf, before);
    free(bytes);
    return err;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_included(const char *name)
{
    return name[0] != '.' && ends_with(slice_of_text(name), ".conf");
}

static enum err read_folder(struct mosquitto_conf *conf, const char *folder, char explain[320])
{
    char *names[MOSQUITTO_FILES_MAX] = {NULL};
    size_t n = 0;
    DIR *dir = opendir(folder);
    if (dir == NULL) {
        (void)snprintf(explain, 320, "%.200s: can't be read", folder);
        return ERR_IO;
    }
    enum err err = ERR_NONE;
    for (struct dirent *e; err == ERR_NONE && (e = readdir(dir)) != NULL;) {
        if (!is_included(e->d_name))
            continue;
        if (n == MOSQUITTO_FILES_MAX || (names[n] = strdup(e->d_name)) == NULL)
            err = ERR_LIMIT;
        else
            n++;
    }
    (void)closedir(dir);
    if (n > 0)
        qsort(names, n, sizeof names[0], by_name);
    for (size_t i = 0; i < n; i++) {
        char path[2 * MOSQUITTO_VALUE_MAX];
        (void)snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        if (err == ERR_NONE)
            err = read_included(conf, path, explain);
        free(names[i]);
    }
    return err;
}

enum err mosquitto_conf_read(struct mosquitto_conf *conf, const char *path, char explain[320])
{
    char include[MOSQUITTO_VALUE_MAX];
    uint8_t *bytes = NULL;
    struct slice text;
    unsigned line = 0;
    mosquitto_conf_init(conf);
    explain[0] = '\0';
    enum err err = read_bytes(conf, path, &bytes, &text, explain);
    while (err == ERR_NONE && text.len > 0) {
        err = take_lines(conf, path, &text, include, &line, explain);
        if (err == ERR_NONE && include[0] != '\0')
            err = read_folder(conf, include, explain);
    }
    free(bytes);
    mosquitto_conf_end(conf);
    if (err != ERR_NONE && explain[0] == '\0')
        (void)snprintf(explain, 320, "%.200s: %s", path, err_text(err));
    return err;
}
