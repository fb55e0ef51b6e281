/* Mosquitto's configuration (mosquitto.conf(5)) as far as it decides who is admitted: what is read
 * here is what `holdfast doctor broker` judges. */
#ifndef CLI_MOSQUITTO_CONF_H
#define CLI_MOSQUITTO_CONF_H

#include "core/compiler.h"
#include "core/error.h"
#include "core/slice.h"

#define MOSQUITTO_FILE_MAX      (256U << 10) /* bytes of one file */
#define MOSQUITTO_FILES_MAX     64           /* with those that include_dir takes in */
#define MOSQUITTO_LISTENERS_MAX 32
#define MOSQUITTO_VALUE_MAX     512 /* bytes of one value; a longer one is refused */

/* Who may come in; for the whole broker, or with per_listener_settings for each listener. */
struct mosquitto_access {
    int allow_anonymous; /* 1, 0; -1: it does not say */
    bool password_file, acl_file, psk_file;
    unsigned plugins; /* all there are */
    bool ours;        /* holdfast_mosquitto.so is one of them */
};

struct mosquitto_listener {
    char name[96]; /* "8883", "127.0.0.1:1883", "unix:/run/mosquitto.sock", "the standard one" */
    bool certificate, key, psk_hint;
    bool require_certificate, identity_as_username, subject_as_username, websockets;
    bool has_max_connections;
    char tls_version[32];
    struct mosquitto_access access; /* where per_listener is set */
};

struct mosquitto_conf {
    bool per_listener, nodelay;
    struct mosquitto_access access;
    struct mosquitto_listener listeners[MOSQUITTO_LISTENERS_MAX + 1]; /* with the standard one */
    size_t listeners_len; /* 0: none is named, and Mosquitto opens 1883 on the loopback */
    unsigned bridges, bridges_plain;         /* all there are; those without TLS */
    char plain_bridge[96];                   /* one of the latter */
    char plugin_config[MOSQUITTO_VALUE_MAX]; /* plugin_opt_config of ours */
    char pid_file[MOSQUITTO_VALUE_MAX];
    int64_t max_connections; /* the most that one listener takes; -1: no limit */

    char files[MOSQUITTO_FILES_MAX][MOSQUITTO_VALUE_MAX]; /* that were read, in their order */
    size_t files_len;

    size_t here, standard;      /* private: 1 + number of the listener that the next line is about,
                                   and of the standard one; 0: none in this file, none */
    bool in_bridge, bridge_tls; /* the same of a bridge */
    char bridge[96];
};

void mosquitto_conf_init(struct mosquitto_conf *conf);
/* Lines of another file follow: as in Mosquitto, none of them is about a listener of the one
 * before. What to give mosquitto_conf_leave() when its lines go on. */
size_t mosquitto_conf_enter(struct mosquitto_conf *conf);
void mosquitto_conf_leave(struct mosquitto_conf *conf, size_t before);
/* Goes on with the lines of one file: to its end, or behind an include_dir, which Mosquitto follows
 * at once; then *ret_include says which folder, else it is empty. *text: what is left; *line: how
 * many lines were taken. ERR_LIMIT at that line. */
MUST_USE enum err mosquitto_conf_take(struct mosquitto_conf *conf, struct slice *text,
                                      char ret_include[MOSQUITTO_VALUE_MAX], unsigned *line);
void mosquitto_conf_end(struct mosquitto_conf *conf);
/* The file and what it includes. `explain` says where it fails. */
MUST_USE enum err mosquitto_conf_read(struct mosquitto_conf *conf, const char *path,
                                      char explain[320]);

/* ---- what is wrong with it ---- */

enum mosquitto_verdict { MOSQUITTO_GOOD, MOSQUITTO_DOUBTFUL, MOSQUITTO_BAD };
struct mosquitto_finding {
    const char *check; /* "anonymous", "plaintext", ... */
    enum mosquitto_verdict verdict;
    char saw[200];
    const char *next; /* what to do; NULL where it is good */
};
#define MOSQUITTO_CHECKS 11
/* `passwords`: the plugin is told that devices without certificates may show a password. */
void mosquitto_conf_judge(const struct mosquitto_conf *conf, bool passwords,
                          struct mosquitto_finding ret_findings[MOSQUITTO_CHECKS]);

#endif
