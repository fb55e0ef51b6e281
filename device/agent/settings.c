#include "device/agent/settings.h"

#include <stdio.h>
#include <string.h>

#include "device/agent/handover.h"
#include "device/lib/internal.h"

#define DAY INT64_C(86400)

#define TEXT(key, field, value, text)                                                              \
    {                                                                                              \
        .name = (key), .kind = CONFIG_TEXT, .offset = offsetof(struct agent_config, field),        \
        .standard = (value), .help = (text)                                                        \
    }
#define PATH(key, field, value, text)                                                              \
    {                                                                                              \
        .name = (key), .kind = CONFIG_PATH, .offset = offsetof(struct agent_config, field),        \
        .standard = (value), .help = (text)                                                        \
    }
#define DURATION(key, field, least, most, value, text)                                             \
    {                                                                                              \
        .name = (key), .kind = CONFIG_DURATION, .offset = offsetof(struct agent_config, field),    \
        .min = (least), .max = (most), .standard = (value), .help = (text)                         \
    }

#define INTEGER(key, field, least, most, value, text)                                              \
    {                                                                                              \
        .name = (key), .kind = CONFIG_INTEGER, .offset = offsetof(struct agent_config, field),     \
        .min = (least), .max = (most), .standard = (value), .help = (text)                         \
    }

const struct config_key agent_config_keys[] = {
    TEXT("hub-bootstrap", bootstrap, NULL, "host:port of the hub's bootstrap listener"),
    TEXT("hub-device", hub, NULL, "host:port of the hub's device listener"),
    PATH("trust-bundle", trust_bundle, NULL,
         "the trust bundle the device is born with (`holdfast device bundle`)"),
    PATH("state", state, "/var/lib/holdfast-agent",
         "folder for keys, certificates and state; made where it is missing"),
    TEXT("serial", serial, NULL, "serial number, as it stands in the manifest"),
    TEXT("tenant", tenant, "", "whose device it is, where that is not the tenant 'default'"),
    PATH("claim-file", claim_file, "",
         "file with the claim code; removed once the hub has taken the certificate"),
    PATH("idevid-certificate", idevid_certificate, "",
         "the manufacturer's certificate of this device (IDevID), PEM or DER"),
    PATH("idevid-key", idevid_key, "", "the key to it, PEM or DER without a passphrase"),
    TEXT("key-kind", key_kind, "P-256", "P-256, P-384 or Ed25519"),
    PATH("copies", copies, "",
         "folder for copies of key and certificates as PEM, for other programs; empty: none"),
    TEXT("mqtt", mqtt, "",
         "host:port of the MQTT broker that takes this device's telemetry; empty: none"),
    PATH("telemetry-socket", telemetry_socket, "",
         "socket through which programs on the device hand in messages; empty: none"),
    TEXT("telemetry-socket-mode", telemetry_socket_mode, "0660", "who may: 0600, 0660 or 0666"),
    TEXT("telemetry-topic", telemetry_topic, "",
         "topic for uptime, load and memory of the device; empty: they are not sent"),
    DURATION("telemetry-interval", telemetry_interval, 1, 7 * DAY, "1m",
             "time between two of those"),
    INTEGER("telemetry-rate", telemetry_rate, 0, 60000, "60",
            "messages a minute that are sent at most, as the policy has it; 0: no limit"),
    DURATION("checkin-interval", checkin_interval, 1, 7 * DAY, "15m",
             "time between two check-ins until the hub says otherwise"),
    DURATION("retry-max", retry_max, 1, DAY, "15m",
             "longest wait between two attempts while the hub cannot be reached"),
    DURATION("refused-retry", refused_retry, DEVICE_REFUSED_MIN, 7 * DAY, "1h",
             "wait between two attempts once the hub has refused this device"),
    TEXT("log-target", log_target, "stderr", "stderr or syslog"),
    TEXT("log-level", log_level, "notice", "error, warning, notice, info or debug"),
};
const size_t agent_config_keys_len = ARRAY_LEN(agent_config_keys);

static bool read_key_kind(const char *text, enum key_kind *ret_kind)
{
    static const enum key_kind kinds[] = {KEY_P256, KEY_P384, KEY_ED25519};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (strcmp(text, key_kind_text(kinds[i])) != 0)
            continue;
        *ret_kind = kinds[i];
        return true;
    }
    return false;
}

enum key_kind settings_key_kind(const struct agent_config *config)
{
    enum key_kind kind = KEY_P256;
    (void)read_key_kind(config->key_kind, &kind); /* settings_read() has looked at it */
    return kind;
}

mode_t settings_socket_mode(const struct agent_config *config)
{
    static const struct {
        const char *text;
        mode_t mode;
    } modes[] = {{"0600", 0600}, {"0660", 0660}, {"0666", 0666}};
    for (size_t i = 0; i < ARRAY_LEN(modes); i++)
        if (strcmp(config->telemetry_socket_mode, modes[i].text) == 0)
            return modes[i].mode;
    return 0;
}

static enum err fail(struct config_error *error, const char *path, const char *what)
{
    (void)snprintf(error->text, sizeof error->text, "%s: %s", path, what);
    return ERR_SYNTAX;
}

static enum err check_telemetry(const char *path, const struct agent_config *config,
                                struct config_error *error)
{
    char host[DEVICE_HOST_MAX + 1];
    uint16_t port;
    uint8_t buffer[PUBLISHER_TOPIC_MAX];
    struct slice topic;
    const char *why;
    if (settings_socket_mode(config) == 0)
        return fail(error, path, "'telemetry-socket-mode' is 0600, 0660 or 0666");
    if (config->mqtt[0] == '\0') {
        if (config->telemetry_socket[0] != '\0' || config->telemetry_topic[0] != '\0')
            return fail(error, path, "'telemetry-socket' and 'telemetry-topic' go with 'mqtt'");
        return ERR_NONE;
    }
    if (endpoint_read(config->mqtt, host, &port) != ERR_NONE)
        return fail(error, path, "'mqtt' is host:port");
    if (config->telemetry_topic[0] == '\0')
        return ERR_NONE;
    if (handover_expand(slice_of_text(config->telemetry_topic), slice_of_text(config->serial),
                        buffer, &topic, &why) == ERR_NONE)
        return ERR_NONE;
    (void)snprintf(error->text, sizeof error->text, "%s: 'telemetry-topic': %s", path, why);
    return ERR_SYNTAX;
}

enum err settings_read(const char *path, struct agent_config *config, struct config_error *error)
{
    enum err err = config_read_file(path, agent_config_keys, agent_config_keys_len, config, error);
    if (err != ERR_NONE)
        return err;
    enum key_kind kind;
    if (!read_key_kind(config->key_kind, &kind))
        return fail(error, path, "'key-kind' is P-256, P-384 or Ed25519");
    bool certificate = config->idevid_certificate[0] != '\0';
    bool key = config->idevid_key[0] != '\0';
    if (certificate != key)
        return fail(error, path, "'idevid-certificate' and 'idevid-key' go together");
    if (certificate && config->claim_file[0] != '\0')
        return fail(error, path, "'claim-file' and 'idevid-certificate' exclude each other");
    return check_telemetry(path, config, error);
}
