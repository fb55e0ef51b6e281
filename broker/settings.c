#include "broker/settings.h"

#include <stdio.h>
#include <string.h>

#include "base/crypto.h"
#include "broker/certificate.h"
#include "broker/limits.h"
#include "core/rules.h"

#define KEY(word, type, field, value, text)                                                        \
    {                                                                                              \
        .name = (word), .kind = (type), .offset = offsetof(struct settings, field),                \
        .standard = (value), .help = (text)                                                        \
    }
#define NUMBER(word, type, field, least, most, value, text)                                        \
    {                                                                                              \
        .name = (word), .kind = (type), .offset = offsetof(struct settings, field),                \
        .min = (least), .max = (most), .standard = (value), .help = (text)                         \
    }

static const struct config_key keys[] = {
    KEY("hubs", CONFIG_LIST, hubs, NULL, "host:port of the hubs' device listeners, one or more"),
    KEY("certificate", CONFIG_PATH, certificate, NULL,
        "the broker's certificate with what it is issued by, PEM: Mosquitto's certfile, too"),
    KEY("key", CONFIG_PATH, key, NULL, "the key to it, PEM: Mosquitto's keyfile, too"),
    KEY("roots", CONFIG_PATH, roots, NULL,
        "what the hubs' certificates and the broker's own are issued by, PEM"),
    KEY("policy-key", CONFIG_LIST, policy_keys_text, NULL,
        "the verifier keys of the hubs, one or more, that rules are signed by"),
    KEY("state", CONFIG_PATH, state, "/var/lib/holdfast-broker",
        "folder for what the broker knows; belongs to the user it runs as"),
    KEY("status", CONFIG_PATH, status, "",
        "file that says how it is going; status.json in the state folder where empty"),
    KEY("control-host", CONFIG_TEXT, control_host, "127.0.0.1",
        "where the plugin reaches the broker that it lives in"),
    KEY("control-port", CONFIG_TEXT, control_port, "8883",
        "and the port of its listener for devices"),
    KEY("control-name", CONFIG_TEXT, control_name, NULL,
        "name or address that stands in the broker's certificate"),
    KEY("tenant", CONFIG_TEXT, tenant, RULES_STANDARD_TENANT,
        "the tenant that the broker was added in: whose devices it serves"),
    KEY("passwords", CONFIG_BOOL, passwords, "false",
        "true: devices without a certificate may show their password; every listener must have "
        "TLS"),
    NUMBER("startup-wait", CONFIG_DURATION, startup_wait, 0, 60, "5s",
           "how long nobody is admitted after a start while the hub is asked for news"),
    NUMBER("devices-max", CONFIG_INTEGER, devices_max, 1, BROKER_DEVICES_MAX, "2097152",
           "devices that are remembered"),
    NUMBER("sessions-max", CONFIG_INTEGER, sessions_max, 1, BROKER_SESSIONS_MAX, "131072",
           "sessions at a time"),
};

static enum err fail(struct config_error *error, const char *path, const char *what)
{
    (void)snprintf(error->text, sizeof error->text, "%.120s: %.130s", path, what);
    return ERR_SYNTAX;
}

static bool split_hub(const char *text, char ret_host[128], char ret_port[16])
{
    const char *colon = strrchr(text, ':');
    if (colon == NULL || colon == text || colon[1] == '\0' || strlen(colon + 1) >= 16)
        return false;
    size_t len = (size_t)(colon - text);
    if (text[0] == '[' && len > 2 && text[len - 1] == ']') {
        text++;
        len -= 2;
    } else if (memchr(text, ':', len) != NULL) {
        return false; /* an IPv6 address without brackets: where does its port start? */
    }
    (void)snprintf(ret_host, 128, "%.*s", (int)len, text);
    (void)snprintf(ret_port, 16, "%s", colon + 1);
    return true;
}

static enum err check(const char *path, struct settings *s, struct config_error *error)
{
    char host[128], port[16];
    if (s->hubs.n == 0)
        return fail(error, path, "hubs names no hub");
    for (size_t i = 0; i < s->hubs.n; i++)
        if (!split_hub(s->hubs.items[i], host, port))
            return fail(error, path, "hubs is a list of host:port; an IPv6 address stands in []");
    s->policy_keys_len = s->policy_keys_text.n;
    for (size_t i = 0; i < s->policy_keys_len; i++)
        if (note_key_read(slice_of_text(s->policy_keys_text.items[i]), crypto_sha256,
                          &s->policy_keys[i]) != ERR_NONE)
            return fail(error, path,
                        "policy-key is a list of verifier keys (NAME+HASH+BASE64): "
                        "copy them from `holdfast hub list`");
    if (s->policy_keys_len == 0)
        return fail(error, path, "policy-key names no key: without one no rules are taken");
    if (s->status[0] == '\0' && (size_t)snprintf(s->status, sizeof s->status, "%s/status.json",
                                                 s->state) >= sizeof s->status)
        return fail(error, path, "the name of the state folder is too long");
    return ERR_NONE;
}

enum err settings_read(const char *path, struct settings *s, struct config_error *error)
{
    *s = (struct settings){.own_len = 0};
    enum err err = config_read_file(path, keys, ARRAY_LEN(keys), s, error);
    if (err == ERR_NONE)
        err = check(path, s, error);
    if (err != ERR_NONE)
        return err;
    if (certificate_digest_of_file(s->certificate, s->own[0]) != ERR_NONE) {
        (void)snprintf(error->text, sizeof error->text,
                       "%.200s is no certificate in PEM that can be read", s->certificate);
        return ERR_IO;
    }
    s->own_len = 1;
    (void)pthread_mutex_init(&s->own_lock, NULL);
    return ERR_NONE;
}

void settings_free(struct settings *settings)
{
    (void)pthread_mutex_destroy(&settings->own_lock);
}

bool settings_is_own(const struct settings *settings, const uint8_t digest[SHA256_SIZE])
{
    struct settings *s = (struct settings *)(uintptr_t)settings; /* the lock alone is changed */
    bool found = false;
    (void)pthread_mutex_lock(&s->own_lock);
    for (unsigned i = 0; i < s->own_len; i++)
        found = found || memcmp(s->own[i], digest, SHA256_SIZE) == 0;
    (void)pthread_mutex_unlock(&s->own_lock);
    return found;
}

enum err settings_look_at_own(struct settings *s, bool *ret_changed)
{
    uint8_t digest[SHA256_SIZE];
    enum err err = certificate_digest_of_file(s->certificate, digest);
    if (err != ERR_NONE)
        return err;
    (void)pthread_mutex_lock(&s->own_lock);
    bool changed = memcmp(s->own[0], digest, SHA256_SIZE) != 0;
    if (changed) {
        memcpy(s->own[1], s->own[0], SHA256_SIZE);
        memcpy(s->own[0], digest, SHA256_SIZE);
        s->own_len = 2;
    }
    (void)pthread_mutex_unlock(&s->own_lock);
    *ret_changed = changed;
    return ERR_NONE;
}

void settings_hub(const struct settings *settings, unsigned n, char ret_host[128],
                  char ret_port[16])
{
    (void)split_hub(settings->hubs.items[n % settings->hubs.n], ret_host, ret_port);
}
