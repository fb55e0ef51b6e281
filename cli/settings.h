/* Where the hub's socket, state folder and configuration are. */
#ifndef CLI_SETTINGS_H
#define CLI_SETTINGS_H

#include "base/config.h"
#include "cli/cli.h"

/* What the command reads of the hub's configuration (holdfast-hub.conf(5)). */
struct settings {
    char path[CONFIG_TEXT_MAX]; /* of the file, or empty where there is none */
    char fleet[CONFIG_TEXT_MAX];
    char state[CONFIG_TEXT_MAX];
    char store[CONFIG_TEXT_MAX];
    char socket[CONFIG_TEXT_MAX];
    char listen_device[CONFIG_TEXT_MAX];
    char listen_bootstrap[CONFIG_TEXT_MAX];
    char listen_operator[CONFIG_TEXT_MAX];
    char operator_certificate[CONFIG_TEXT_MAX];
    struct config_list names;
    char user[CONFIG_TEXT_MAX];
    char signer_user[CONFIG_TEXT_MAX];
    int64_t connections;
};

#define SETTINGS_CONFIG_PATH "/etc/holdfast/hub.conf"
#define SETTINGS_SOCKET_PATH "/run/holdfast/hub.sock"
#define SETTINGS_STATE_PATH  "/var/lib/holdfast"

/* From --config, else from the installed file where there is one. What the file does not say is
 * empty. ERR_NOT_FOUND where there is no file; others are explained in *error. */
MUST_USE enum err settings_read(const struct cli *cli, struct settings *ret_settings,
                                struct config_error *error);
/* --socket, else --config, else $HOLDFAST_SOCKET, else the installed configuration, else the
 * standard path. Fails only where --config was given and is not right. */
int settings_socket(struct cli *cli, char ret_path[CONFIG_TEXT_MAX]);
/* --state, else --config, else the installed configuration, else the standard path. */
int settings_state(struct cli *cli, char ret_path[CONFIG_TEXT_MAX]);
/* The fleet that a state folder belongs to: its ledger key is named after it. */
int settings_fleet(struct cli *cli, const char *state, char ret_fleet[CONFIG_TEXT_MAX]);

#endif
