#include "hub/config.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/rules.h"
#include "hub/signer/signer.h"
#include "pki/fleet.h"

#define KEY(name_, kind_, field_, min_, max_, standard_, help_)                                    \
    {                                                                                              \
        .name = (name_), .kind = (kind_), .offset = offsetof(struct hub_config, field_),           \
        .min = (min_), .max = (max_), .standard = (standard_), .help = (help_)                     \
    }

#define HOUR 3600
#define MANY 1000000

const struct config_key hub_config_keys[] = {
    KEY("fleet", CONFIG_TEXT, fleet, 0, 0, NULL,
        "name of the fleet, in the form of a DNS name; it stands in every device's certificate"),
    KEY("state", CONFIG_PATH, state, 0, 0, NULL, "folder that holds everything the hub keeps"),
    KEY("store", CONFIG_TEXT, store, 0, 0, "", "database URL; standard: sqlite:<state>/hub.db"),
    KEY("socket", CONFIG_PATH, socket, 0, 0, NULL, "Unix socket for the holdfast command"),
    KEY("listen-device", CONFIG_TEXT, listen_device, 0, 0, "0.0.0.0:8443",
        "address:port for devices with a certificate"),
    KEY("listen-bootstrap", CONFIG_TEXT, listen_bootstrap, 0, 0, "0.0.0.0:8444",
        "address:port for enrolment"),
    KEY("listen-operator", CONFIG_TEXT, listen_operator, 0, 0, "127.0.0.1:8445",
        "address:port for readers of ledger and metrics"),
    KEY("listen-status", CONFIG_TEXT, listen_status, 0, 0, "",
        "address:port where anybody asks, in plain HTTP, whether a certificate is revoked"),
    KEY("public-url", CONFIG_TEXT, public_url, 0, 0, "",
        "http://host:port by which others reach listen-status; it stands in devices' certificates"),
    KEY("ports-file", CONFIG_PATH, ports_file, 0, 0, "",
        "where to write the ports listened on, for those given as 0"),
    KEY("names", CONFIG_LIST, names, 0, 0, "localhost,127.0.0.1",
        "DNS names and addresses by which devices reach the hub; they stand in its certificate"),
    KEY("operators", CONFIG_LIST, operators, 0, 0, "",
        "users who may use the Unix socket, beside root and the hub's own"),
    KEY("operator-certificate", CONFIG_PATH, operator_certificate, 0, 0, "",
        "PEM chain for the operator listener; standard: one of the fleet's own"),
    KEY("operator-key", CONFIG_PATH, operator_key, 0, 0, "", "its private key, PEM"),
    KEY("user", CONFIG_TEXT, user, 0, 0, "", "user to run as, where started as root"),
    KEY("signer-user", CONFIG_TEXT, signer_user, 0, 0, "",
        "user the signer runs as, where started as root"),
    KEY("loops", CONFIG_INTEGER, loops, 0, 128, "0", "event loops; 0: two for each processor"),
    KEY("lease", CONFIG_DURATION, lease, 2, HOUR, "5s",
        "over PostgreSQL: a hub that has not heard of the others for so long serves no device"),
    KEY("checkin-interval", CONFIG_DURATION, checkin_interval, 1, 24 * HOUR, "15m",
        "how often devices check in"),
    KEY("data", CONFIG_PATH, data, 0, 0, "",
        "where the hub keeps files of its own; standard: the database's folder"),
    KEY("crl-lifetime", CONFIG_DURATION, crl_lifetime, 60, 10 * 24 * HOUR, "1d",
        "until when others may go by a list of revoked certificates that they have"),
    KEY("crl-delta-lifetime", CONFIG_DURATION, crl_delta_lifetime, 60, 10 * 24 * HOUR, "1h",
        "the same for deltas"),
    KEY("crl-shards", CONFIG_INTEGER, crl_shards, 1, CRL_SHARDS_MAX, "16",
        "lists behind public-url, of which each device's certificate names one: a power of two"),
    KEY("connections", CONFIG_INTEGER, connections, 1, MANY, "50000",
        "open connections on each listener"),
    KEY("connections-per-address", CONFIG_INTEGER, connections_per_address, 1, MANY, "200",
        "open connections from one address (IPv6: one /64)"),
    KEY("request-timeout", CONFIG_DURATION, request_timeout, 1, HOUR, "10s",
        "from accept, or a request's first byte, to its last byte"),
    KEY("idle-timeout", CONFIG_DURATION, idle_timeout, 1, 24 * HOUR, "5m",
        "a kept connection without a request is closed after this"),
    KEY("enrolment-per-minute", CONFIG_INTEGER, enrolment_per_minute, 1, MANY, "10",
        "failed enrolments from one address"),
    KEY("device-reads-per-minute", CONFIG_INTEGER, device_reads_per_minute, 1, MANY, "120",
        "requests of one device that change nothing"),
    KEY("device-writes-per-minute", CONFIG_INTEGER, device_writes_per_minute, 1, MANY, "20",
        "requests of one device that are written down"),
    KEY("public-per-minute", CONFIG_INTEGER, public_per_minute, 1, MANY, "120",
        "requests from one address that need no credentials"),
    KEY("reader-per-minute", CONFIG_INTEGER, reader_per_minute, 1, MANY, "6000",
        "requests with one token"),
    KEY("status-per-minute", CONFIG_INTEGER, status_per_minute, 1, MANY, "6000",
        "questions from one address whether certificates are revoked"),
    KEY("hooks-per-minute", CONFIG_INTEGER, hooks_per_minute, 1, MANY, "600000",
        "questions of one broker about its clients"),
    KEY("hooks-emqx-url", CONFIG_TEXT, hooks_emqx_url, 0, 0, "",
        "https://host:port of EMQX's management, where sessions of devices that are cut are ended"),
    KEY("hooks-emqx-key-file", CONFIG_PATH, hooks_emqx_key_file, 0, 0, "",
        "file with its API key and secret key, a colon between"),
    KEY("hooks-emqx-roots", CONFIG_PATH, hooks_emqx_roots, 0, 0, "",
        "PEM file that its certificate must lead to; standard: the machine's"),
    KEY("hooks-emqx-tenant", CONFIG_TEXT, hooks_emqx_tenant, 0, 0, RULES_STANDARD_TENANT,
        "the tenant whose devices connect there"),
    KEY("ocsp-validity", CONFIG_DURATION, ocsp_validity, 60, OCSP_VALIDITY_MAX, "1h",
        "how long an OCSP answer may be used again"),
    KEY("rotation-per-minute", CONFIG_INTEGER, rotation_per_minute, 1, MANY, "6000",
        "devices that rotations ask to renew, all together"),
    KEY("log-target", CONFIG_TEXT, log_target, 0, 0, "stderr", "stderr, syslog or journal"),
    KEY("log-level", CONFIG_TEXT, log_level, 0, 0, "notice",
        "error, warning, notice, info or debug"),
};
const size_t hub_config_keys_len = ARRAY_LEN(hub_config_keys);

_Static_assert(CA_FLEET_MAX == 56, "an error below says so");

/* The hub may have given up being root: the folder of an SQLite database is one that it can write
 * to; over PostgreSQL, the one where that would stand (the package makes it), or the state folder,
 * where the hub runs as whoever owns that. */
static enum err standard_data_folder(struct hub_config *config)
{
    static const char sqlite[] = "sqlite:";
    int n;
    if (strncmp(config->store, sqlite, strlen(sqlite)) == 0) {
        const char *file = config->store + strlen(sqlite);
        const char *end = strrchr(file, '/');
        n = snprintf(config->data, sizeof config->data, "%.*s", end == NULL ? 1 : (int)(end - file),
                     end == NULL ? "." : file);
    } else {
        n = snprintf(config->data, sizeof config->data, "%s/store", config->state);
        if (access(config->data, F_OK) != 0)
            n = snprintf(config->data, sizeof config->data, "%s", config->state);
    }
    return n < 0 || (size_t)n >= sizeof config->data ? ERR_LIMIT : ERR_NONE;
}

/* NULL, or what is wrong with it. What is signed is fetched without TLS: who checks a certificate
 * for TLS can't need TLS for that (RFC 5280 section 8). */
static const char *check_public_url(const struct hub_config *config)
{
    struct slice url = slice_of_text(config->public_url);
    if (url.len == 0)
        return NULL;
    if (config->listen_status[0] == '\0')
        return "public-url: give listen-status, too, or nobody answers there";
    if (url.len > PUBLIC_URL_MAX)
        return "public-url: at most 200 bytes are taken";
    if (!slice_starts_with(url, SLICE_LITERAL("http://")) || url.len == 7 || url.data[7] == '/')
        return "public-url: say http://HOST or http://HOST:PORT, perhaps with a path; what is "
               "fetched there is signed, and https would need itself to be checked";
    for (size_t i = 0; i < url.len; i++)
        if (url.data[i] <= ' ' || url.data[i] >= 0x7f || url.data[i] == '?' || url.data[i] == '#')
            return "public-url: blanks, '?', '#' and all beyond ASCII have no place in it";
    return url.data[url.len - 1] == '/' ? "public-url: leave the final slash away" : NULL;
}

enum err hub_config_read(const char *path, struct hub_config *ret_config,
                         struct config_error *error)
{
    struct hub_config config = {0};
    enum err err = config_read_file(path, hub_config_keys, hub_config_keys_len, &config, error);
    if (err != ERR_NONE)
        return err;
    const char *wrong = NULL;
    if (!ca_is_fleet_name(slice_of_text(config.fleet)))
        wrong = "fleet: use labels of lower-case letters, digits and inner hyphens, with dots "
                "between them, as in a DNS name; at most 56 characters";
    else if (config.names.n == 0 || config.names.n > 8)
        wrong = "names: give 1 to 8 DNS names or addresses";
    else if ((config.operator_certificate[0] == '\0') != (config.operator_key[0] == '\0'))
        wrong = "operator-certificate and operator-key go together";
    else if ((config.hooks_emqx_url[0] == '\0') != (config.hooks_emqx_key_file[0] == '\0'))
        wrong = "hooks-emqx-url and hooks-emqx-key-file go together";
    else if (!rules_name_ok(slice_of_text(config.hooks_emqx_tenant)))
        wrong = "hooks-emqx-tenant: give the name of a tenant, as it stands in the policy";
    else if ((config.crl_shards & (config.crl_shards - 1)) != 0)
        wrong = "crl-shards: give a power of two, from 1 to 256";
    else
        wrong = check_public_url(&config);
    if (wrong != NULL) {
        (void)snprintf(error->text, sizeof error->text, "%s: %s", path, wrong);
        return ERR_SYNTAX;
    }
    if (config.store[0] == '\0') {
        int n = snprintf(config.store, sizeof config.store, "sqlite:%s/hub.db", config.state);
        if (n < 0 || (size_t)n >= sizeof config.store)
            return ERR_LIMIT;
    }
    if (config.data[0] == '\0')
        err = standard_data_folder(&config);
    if (err == ERR_NONE)
        *ret_config = config;
    return err;
}
