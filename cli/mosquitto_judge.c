/* What in Mosquitto's configuration lets somebody past the plugin. Each of these was seen to do so
 * on a real broker, or leaves passwords and payloads in clear. */
#include <stdio.h>
#include <string.h>

#include "cli/mosquitto_conf.h"

typedef const char *check_fn(const struct mosquitto_conf *conf, bool passwords);

static const struct mosquitto_access *access_of(const struct mosquitto_conf *conf, size_t i)
{
    return conf->per_listener ? &conf->listeners[i].access : &conf->access;
}

/* The first listener of which it holds; NULL: of none. */
static const char *any(const struct mosquitto_conf *conf,
                       bool (*holds)(const struct mosquitto_conf *conf, size_t i))
{
    for (size_t i = 0; i < conf->listeners_len; i++)
        if (holds(conf, i))
            return conf->listeners[i].name;
    return NULL;
}

static bool is_anonymous(const struct mosquitto_conf *conf, size_t i)
{
    return access_of(conf, i)->allow_anonymous == 1;
}

static const char *anonymous(const struct mosquitto_conf *conf, bool passwords)
{
    (void)passwords;
    if (conf->listeners_len == 0)
        return "no listener is named: Mosquitto lets everybody in on the loopback";
    if (conf->access.allow_anonymous == 1)
        return "allow_anonymous is true";
    return any(conf, is_anonymous);
}

static bool has_identity(const struct mosquitto_conf *conf, size_t i)
{
    return conf->listeners[i].identity_as_username || conf->listeners[i].subject_as_username;
}

static const char *identity(const struct mosquitto_conf *conf, bool passwords)
{
    (void)passwords;
    return any(conf, has_identity);
}

static bool is_plain(const struct mosquitto_conf *conf, size_t i)
{
    return !conf->listeners[i].certificate || !conf->listeners[i].key;
}

static const char *plaintext(const struct mosquitto_conf *conf, bool passwords)
{
    (void)passwords;
    if (conf->listeners_len == 0)
        return "the standard one, 1883";
    return any(conf, is_plain);
}

static bool takes_strangers(const struct mosquitto_conf *conf, size_t i)
{
    return !conf->listeners[i].require_certificate;
}

static const char *certificate(const struct mosquitto_conf *conf, bool passwords)
{
    return passwords ? NULL : any(conf, takes_strangers);
}

static bool lacks_plugin(const struct mosquitto_conf *conf, size_t i)
{
    return !access_of(conf, i)->ours;
}

static const char *plugin(const struct mosquitto_conf *conf, bool passwords)
{
    (void)passwords;
    if (conf->listeners_len == 0 && !conf->access.ours)
        return "no plugin line names holdfast_mosquitto.so";
    return any(conf, lacks_plugin);
}

static bool is_other(const struct mosquitto_access *a)
{
    return a->password_file || a->acl_file || a->plugins > (a->ours ? 1U : 0U);
}

static bool has_other(const struct mosquitto_conf *conf, size_t i)
{
    return is_other(access_of(conf, i));
}

static const char *others(const struct mosquitto_conf *conf, bool passwords)
{
    (void)passwords;
    if (is_other(&conf->access))
        return "password_file, acl_file or another plugin, for the whole broker";
    return any(conf, has_other);
}

static bool has_psk(const struct mosquitto_conf *conf, size_t i)
{
    return conf->listeners[i].psk_hint || access_of(conf, i)->psk_file;
}

static const char *psk(const struct mosquitto_conf *conf, bool passwords)
{
    (void)passwords;
    return conf->access.psk_file ? "psk_file" : any(conf, has_psk);
}

static bool has_old_tls(const struct mosquitto_conf *conf, size_t i)
{
    const char *version = conf->listeners[i].tls_version;
    return version[0] != '\0' && strcmp(version, "tlsv1.2") != 0 && strcmp(version, "tlsv1.3") != 0;
}

static const char *tls_version(const struct mosquitto_conf *conf, bool passwords)
{
    (void)passwords;
    return any(conf, has_old_tls);
}

static const char *bridges(const struct mosquitto_conf *conf, bool passwords)
{
    (void)passwords;
    return conf->bridges_plain > 0 ? conf->plain_bridge : NULL;
}

static const char *nodelay(const struct mosquitto_conf *conf, bool passwords)
{
    (void)passwords;
    return conf->nodelay ? NULL : "set_tcp_nodelay is not true";
}

static bool is_unbounded(const struct mosquitto_conf *conf, size_t i)
{
    return !conf->listeners[i].has_max_connections;
}

static const char *connections(const struct mosquitto_conf *conf, bool passwords)
{
    (void)passwords;
    return any(conf, is_unbounded);
}

static const struct {
    const char *check;
    check_fn *fails; /* gives where; NULL: nowhere */
    enum mosquitto_verdict verdict;
    const char *good, *bad, *next;
} checks[MOSQUITTO_CHECKS] = {
    {"anonymous", anonymous, MOSQUITTO_BAD, "nobody comes in without a name",
     "clients without a name come in", "allow_anonymous false, and a listener line"},
    {"username", identity, MOSQUITTO_BAD, "the plugin is asked about each client",
     "the certificate's name is the user name, and the plugin is never asked: a revoked device "
     "comes "
     "in",
     "use_identity_as_username false, use_subject_as_username false"},
    {"plaintext", plaintext, MOSQUITTO_BAD, "all listeners speak TLS",
     "a listener without TLS (also on the loopback: whoever is on the machine comes in by it)",
     "give it certfile and keyfile, or take it away"},
    {"certificate", certificate, MOSQUITTO_BAD,
     "all listeners ask for a certificate, or passwords "
     "were chosen",
     "a listener that asks for no certificate, and the plugin is not told of passwords",
     "require_certificate true"},
    {"plugin", plugin, MOSQUITTO_BAD, "holdfast_mosquitto.so guards all listeners",
     "a listener that holdfast_mosquitto.so does not guard",
     "per_listener_settings false, and one plugin line for all"},
    {"others", others, MOSQUITTO_BAD, "nothing else lets anybody in",
     "something else decides who comes in besides", "take it away: the policy says who may what"},
    {"psk", psk, MOSQUITTO_BAD, "no shared keys", "clients come in with pre-shared keys",
     "take psk_hint and psk_file away"},
    {"tls-version", tls_version, MOSQUITTO_BAD, "TLS 1.2 or newer", "an old version of TLS",
     "tls_version tlsv1.2"},
    {"bridges", bridges, MOSQUITTO_BAD, "no bridge in clear",
     "a bridge without TLS, and bridges skip all checks of topics", "give it bridge_cafile"},
    {"nodelay", nodelay, MOSQUITTO_DOUBTFUL, "answers go out at once",
     "each connection waits some 40 ms for nothing, and a cut does, too", "set_tcp_nodelay true"},
    {"connections", connections, MOSQUITTO_DOUBTFUL, "connections are bounded",
     "a listener without max_connections: a flood takes all descriptors",
     "max_connections, below the descriptors that the service may open"},
};

void mosquitto_conf_judge(const struct mosquitto_conf *conf, bool passwords,
                          struct mosquitto_finding ret_findings[MOSQUITTO_CHECKS])
{
    for (size_t i = 0; i < MOSQUITTO_CHECKS; i++) {
        struct mosquitto_finding *f = &ret_findings[i];
        const char *where = checks[i].fails(conf, passwords);
        *f = (struct mosquitto_finding){.check = checks[i].check};
        if (where == NULL) {
            (void)snprintf(f->saw, sizeof f->saw, "%s", checks[i].good);
            continue;
        }
        f->verdict = checks[i].verdict;
        f->next = checks[i].next;
        (void)snprintf(f->saw, sizeof f->saw, "%.90s: %s", where, checks[i].bad);
    }
}
