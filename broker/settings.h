/* What the plugin is told: the file that `plugin_opt_config` names in Mosquitto's configuration.
 * `holdfast broker enrol` writes it; the keys stand in settings.c, each with a line on what it is.
 */
#ifndef BROKER_SETTINGS_H
#define BROKER_SETTINGS_H

#include <pthread.h>

#include "base/config.h"
#include "core/note.h"

#define SETTINGS_FILE     "/etc/holdfast/broker.conf"
#define SETTINGS_HUBS_MAX 16

struct settings {
    struct config_list hubs; /* host:port of their device listeners */
    char certificate[CONFIG_TEXT_MAX], key[CONFIG_TEXT_MAX], roots[CONFIG_TEXT_MAX];
    struct config_list policy_keys_text;
    char state[CONFIG_TEXT_MAX], status[CONFIG_TEXT_MAX];
    char control_host[CONFIG_TEXT_MAX], control_port[CONFIG_TEXT_MAX],
        control_name[CONFIG_TEXT_MAX];
    char tenant[CONFIG_TEXT_MAX]; /* the broker's own, and so that of all it serves */
    bool passwords;
    int64_t startup_wait, devices_max, sessions_max;

    struct note_key policy_keys[SETTINGS_HUBS_MAX]; /* each hub signs rules with its own */
    size_t policy_keys_len;

    pthread_mutex_t own_lock;    /* private, as are the next three: certificates of our own */
    uint8_t own[2][SHA256_SIZE]; /* the one in use, and the one before */
    unsigned own_len;
};

/* Explained in *error. To be freed by settings_free(). */
MUST_USE enum err settings_read(const char *path, struct settings *settings,
                                struct config_error *error);
void settings_free(struct settings *settings);

/* Whether that is the broker's own certificate. From any thread. */
bool settings_is_own(const struct settings *settings, const uint8_t digest[SHA256_SIZE]);
/* Looks whether the certificate's file has another one by now; *ret_changed. ERR_IO, ERR_SYNTAX. */
MUST_USE enum err settings_look_at_own(struct settings *settings, bool *ret_changed);
/* The n-th hub, modulo how many there are, as host and port. */
void settings_hub(const struct settings *settings, unsigned n, char ret_host[128],
                  char ret_port[16]);

#endif
