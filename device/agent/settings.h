/* What holdfast-agent is told: its configuration file, the files that it names, and what can be
 * seen of the system it runs on. */
#ifndef DEVICE_AGENT_SETTINGS_H
#define DEVICE_AGENT_SETTINGS_H

#include <sys/types.h>

#include "base/config.h"
#include "device/lib/device.h"

struct agent_config {
    char bootstrap[CONFIG_TEXT_MAX];
    char hub[CONFIG_TEXT_MAX];
    char trust_bundle[CONFIG_TEXT_MAX];
    char state[CONFIG_TEXT_MAX];
    char serial[CONFIG_TEXT_MAX];
    char tenant[CONFIG_TEXT_MAX];
    char claim_file[CONFIG_TEXT_MAX];
    char idevid_certificate[CONFIG_TEXT_MAX];
    char idevid_key[CONFIG_TEXT_MAX];
    char key_kind[CONFIG_TEXT_MAX];
    char copies[CONFIG_TEXT_MAX];
    char mqtt[CONFIG_TEXT_MAX];
    char telemetry_socket[CONFIG_TEXT_MAX];
    char telemetry_socket_mode[CONFIG_TEXT_MAX];
    char telemetry_topic[CONFIG_TEXT_MAX];
    int64_t telemetry_interval;
    int64_t telemetry_rate; /* messages a minute */
    int64_t checkin_interval;
    int64_t retry_max;
    int64_t refused_retry;
    char log_target[CONFIG_TEXT_MAX];
    char log_level[CONFIG_TEXT_MAX];
};
extern const struct config_key agent_config_keys[];
extern const size_t agent_config_keys_len;

/* Reads the file and checks what one value means for another. Explained in *error. */
MUST_USE enum err settings_read(const char *path, struct agent_config *config,
                                struct config_error *error);
enum key_kind settings_key_kind(const struct agent_config *config);
mode_t settings_socket_mode(const struct agent_config *config);

#define AGENT_FACTS_MAX 4

/* The files' contents, and the options for device/lib that point to them and to the config. */
struct agent_inputs {
    struct device_options options;
    uint8_t *trust_bundle;
    size_t trust_bundle_len;
    uint8_t *claim;
    size_t claim_len;
    uint8_t *idevid;
    char platform[65];
    char boot_id[37];
    char values[AGENT_FACTS_MAX][129];
    struct device_fact facts[AGENT_FACTS_MAX];
};
/* A claim file that is not there is no error here: it goes when it has been used. Explained. */
MUST_USE enum err inputs_read(const struct agent_config *config, struct agent_inputs *inputs,
                              struct config_error *error);
/* Wipes the claim code and removes its file, durably. */
MUST_USE enum err inputs_drop_claim(const struct agent_config *config, struct agent_inputs *inputs);
void inputs_free(struct agent_inputs *inputs);

#endif
