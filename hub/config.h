/* The hub's configuration: one file, every key in one table (config.c), documented by
 * holdfast-hub.conf(5). */
#ifndef HUB_CONFIG_H
#define HUB_CONFIG_H

#include "base/config.h"

struct hub_config {
    char fleet[CONFIG_TEXT_MAX];
    char state[CONFIG_TEXT_MAX];
    char store[CONFIG_TEXT_MAX]; /* "sqlite:PATH" or "postgresql:..." */
    char socket[CONFIG_TEXT_MAX];
    char listen_device[CONFIG_TEXT_MAX];
    char listen_bootstrap[CONFIG_TEXT_MAX];
    char listen_operator[CONFIG_TEXT_MAX];
    char listen_status[CONFIG_TEXT_MAX]; /* empty: nowhere */
    char public_url[CONFIG_TEXT_MAX];    /* without a final slash; empty: in no certificate */
    char ports_file[CONFIG_TEXT_MAX];
    struct config_list names;
    struct config_list operators;
    char operator_certificate[CONFIG_TEXT_MAX];
    char operator_key[CONFIG_TEXT_MAX];
    char user[CONFIG_TEXT_MAX];
    char signer_user[CONFIG_TEXT_MAX];
    int64_t loops;
    int64_t lease;              /* seconds */
    int64_t checkin_interval;   /* seconds */
    char data[CONFIG_TEXT_MAX]; /* folder: subjects.keys, crl/ */
    int64_t crl_lifetime;       /* seconds */
    int64_t crl_delta_lifetime;
    int64_t crl_shards;
    int64_t connections;
    int64_t connections_per_address;
    int64_t request_timeout; /* seconds */
    int64_t idle_timeout;
    int64_t enrolment_per_minute;
    int64_t device_reads_per_minute;
    int64_t device_writes_per_minute;
    int64_t public_per_minute;
    int64_t reader_per_minute;
    int64_t status_per_minute;
    int64_t hooks_per_minute;
    char hooks_emqx_url[CONFIG_TEXT_MAX]; /* empty: none */
    char hooks_emqx_key_file[CONFIG_TEXT_MAX];
    char hooks_emqx_roots[CONFIG_TEXT_MAX];
    char hooks_emqx_tenant[CONFIG_TEXT_MAX]; /* whose devices connect there */
    int64_t ocsp_validity;                   /* seconds */
    int64_t rotation_per_minute;
    char log_target[CONFIG_TEXT_MAX];
    char log_level[CONFIG_TEXT_MAX];
};

extern const struct config_key hub_config_keys[];
extern const size_t hub_config_keys_len;

MUST_USE enum err hub_config_read(const char *path, struct hub_config *ret_config,
                                  struct config_error *error);

#endif
