/* Mosquitto's side: the callbacks of its plugin interface, version 5, for 2.0.11 and 2.1. Each
 * takes what the broker says apart, asks gate.h, and says what came out; none waits. */
#if defined(__has_include) && __has_include(<mosquitto/broker.h>)
#include <mosquitto.h>
#else
#include <mosquitto.h>
#include <mosquitto_broker.h>
#include <mosquitto_plugin.h>
#endif

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "broker/certificate.h"
#include "broker/gate.h"

#define ENDINGS_MAX 256  /* sessions ended in one go: some 10 ms of the broker's loop */
#define RECHECK_MS  5000 /* certificates that run out, and knowledge that gets stale */
#define LINES_MAX   64   /* of the log between two ticks */
#define TICK_MS     100  /* 2.1 may sleep for seconds where nobody says otherwise */

/* The same place in both: so a plugin that was built for 2.0 ticks in 2.1, too. */
#if LIBMOSQUITTO_VERSION_NUMBER >= 2001000
#define NEXT_MS next_ms
#else
#define NEXT_MS next_ns
#endif

struct line {
    char level;
    char text[512];
};

struct plugin {
    struct broker broker;
    pthread_t thread; /* the broker's own */
    pthread_mutex_t lines_lock;
    struct line lines[LINES_MAX]; /* that others have said */
    unsigned lines_len;
    mosquitto_plugin_id_t *id;
    int64_t rechecked_ms;
    bool started;
};

/* The broker's log may be a topic of its own, so it is the broker's thread's alone: what others say
 * waits for its next tick. Where they say too much, the last words are lost. */
static void write_line(const struct line *line)
{
    int to = line->level == 'e'   ? MOSQ_LOG_ERR
             : line->level == 'w' ? MOSQ_LOG_WARNING
                                  : MOSQ_LOG_NOTICE;
    mosquitto_log_printf(to, "holdfast: %s", line->text);
}

static void log_line(struct broker *b, char level, const char *text)
{
    struct plugin *p = CONTAINER_OF(b, struct plugin, broker);
    struct line line = {.level = level};
    (void)snprintf(line.text, sizeof line.text, "%s", text);
    if (pthread_equal(pthread_self(), p->thread)) {
        write_line(&line);
        return;
    }
    (void)pthread_mutex_lock(&p->lines_lock);
    if (p->lines_len < LINES_MAX)
        p->lines[p->lines_len++] = line;
    (void)pthread_mutex_unlock(&p->lines_lock);
}

static void write_lines(struct plugin *p)
{
    (void)pthread_mutex_lock(&p->lines_lock);
    for (unsigned i = 0; i < p->lines_len; i++)
        write_line(&p->lines[i]);
    p->lines_len = 0;
    (void)pthread_mutex_unlock(&p->lines_lock);
}

static struct slice text_or_nothing(const char *text)
{
    return text == NULL ? (struct slice){0} : slice_of_text(text);
}

/* ---- admission ---- */

static int on_basic_auth(int event, void *event_data, void *user)
{
    (void)event;
    struct plugin *p = user;
    struct mosquitto_evt_basic_auth *e = event_data;
    uint8_t digest[SHA256_SIZE];
    struct gate_peer peer = {
        .client = e->client,
        .client_id = text_or_nothing(mosquitto_client_id(e->client)),
        .address = text_or_nothing(mosquitto_client_address(e->client)),
        .username = e->username,
        .password = e->password,
    };
    void *x509 = mosquitto_client_certificate(e->client);
    if (x509 != NULL) {
        if (certificate_digest(x509, digest) != ERR_NONE)
            return MOSQ_ERR_AUTH;
        peer.certificate = digest;
    }
    char username[GATE_USERNAME_SIZE];
    switch (gate_admit(&p->broker, &peer, username)) {
    case GATE_OWN:
        return MOSQ_ERR_SUCCESS;
    case GATE_ADMIT:
        if (mosquitto_set_username(e->client, username) == MOSQ_ERR_SUCCESS)
            return MOSQ_ERR_SUCCESS;
        gate_left(&p->broker, e->client);
        return MOSQ_ERR_AUTH;
    case GATE_REFUSE:
        break;
    }
    return MOSQ_ERR_AUTH;
}

static int on_disconnect(int event, void *event_data, void *user)
{
    (void)event;
    struct plugin *p = user;
    const struct mosquitto_evt_disconnect *e = event_data;
    gate_left(&p->broker, e->client);
    return MOSQ_ERR_SUCCESS;
}

static int on_acl_check(int event, void *event_data, void *user)
{
    (void)event;
    struct plugin *p = user;
    const struct mosquitto_evt_acl_check *e = event_data;
    struct gate_request request = {
        .client = e->client,
        .username = mosquitto_client_username(e->client),
        .topic = text_or_nothing(e->topic),
        .payload_len = e->payloadlen,
        .retain = e->retain,
    };
    switch (e->access) {
    case MOSQ_ACL_READ:
        request.access = GATE_RECEIVE;
        break;
    case MOSQ_ACL_WRITE:
        request.access = GATE_PUBLISH;
        break;
    case MOSQ_ACL_SUBSCRIBE:
        request.access = GATE_SUBSCRIBE;
        request.subscriptions = (uint32_t)mosquitto_client_sub_count(e->client);
        break;
    case MOSQ_ACL_UNSUBSCRIBE:
        request.access = GATE_UNSUBSCRIBE;
        break;
    default:
        return MOSQ_ERR_ACL_DENIED;
    }
    return gate_allows(&p->broker, &request) ? MOSQ_ERR_SUCCESS : MOSQ_ERR_ACL_DENIED;
}

/* ---- ending sessions ---- */

/* True where the broker said that it ended. */
static bool end_session(struct broker *b, const struct gate_ending *ending)
{
    gate_begin_ending(b, ending);
    int rc = mosquitto_kick_client_by_clientid(ending->client_id,
                                               (ending->cut & RULES_CUT_SEND_WILL) != 0);
    bool ended = gate_end_ending(b, ending);
    if (!ended)
        gate_left(b, ending->client); /* the broker has no such client (any more) */
    return ended && rc == MOSQ_ERR_SUCCESS;
}

static unsigned carry_out_cuts(struct broker *b)
{
    unsigned n = 0;
    while (n < ENDINGS_MAX) {
        broker_lock(b);
        struct cut *cut = cuts_take(&b->cuts, CUT_TO_END);
        broker_unlock(b);
        if (cut == NULL)
            break;
        struct gate_ending ending;
        while (gate_next_ending(b, cut, &ending)) {
            cut->sessions += end_session(b, &ending);
            n++;
        }
        cut->latency_ms = clock_monotonic_ms() - cut->taken_ms;
        broker_lock(b);
        cuts_put(&b->cuts, cut, CUT_TO_CLEAN);
        broker_work(b);
        broker_unlock(b);
        n++;
    }
    return n;
}

static void end_what_must_end(struct broker *b)
{
    unsigned n = carry_out_cuts(b);
    struct gate_ending ending;
    while (n++ < ENDINGS_MAX && gate_next_ending(b, NULL, &ending))
        (void)end_session(b, &ending);
}

/* Whatever is due on the broker's own thread. */
static void come_by(struct plugin *p)
{
    int64_t now_ms = clock_monotonic_ms();
    atomic_store(&p->broker.came_by_ms, now_ms);
    write_lines(p);
    if (now_ms - p->rechecked_ms >= RECHECK_MS) {
        p->rechecked_ms = now_ms;
        gate_recheck(&p->broker);
    }
    end_what_must_end(&p->broker);
}

static int on_control(int event, void *event_data, void *user)
{
    (void)event;
    struct plugin *p = user;
    const struct mosquitto_evt_control *e = event_data;
    if (!gate_is_own(&p->broker, e->client))
        return MOSQ_ERR_ACL_DENIED;
    come_by(p);
    return MOSQ_ERR_SUCCESS;
}

/* 2.0 ticks whenever its loop turns, which under load is once a message. */
static int on_tick(int event, void *event_data, void *user)
{
    (void)event;
    struct plugin *p = user;
    struct mosquitto_evt_tick *e = event_data;
    if (clock_monotonic_ms() != atomic_load(&p->broker.came_by_ms))
        come_by(p);
    e->NEXT_MS = TICK_MS; /* 2.0 does not look at it */
    return MOSQ_ERR_SUCCESS;
}

/* ---- coming and going ---- */

int mosquitto_plugin_version(int supported_version_count, const int *supported_versions)
{
    for (int i = 0; i < supported_version_count; i++)
        if (supported_versions[i] == 5)
            return 5;
    return -1;
}

/* The version that this was built for: a broker of 2.0 does not tell its own. */
static void say_software(struct broker *b)
{
    (void)snprintf(b->software, sizeof b->software, "mosquitto %d.%d.%d", LIBMOSQUITTO_MAJOR,
                   LIBMOSQUITTO_MINOR, LIBMOSQUITTO_REVISION);
}

/* In 2.1 a client that leaves a session behind goes offline, in place of a disconnect; the event's
 * data are the same. 2.0 does not know it, and its headers don't. */
#define CLIENT_OFFLINE 28

static const struct {
    int event;
    MOSQ_FUNC_generic_callback callback;
    const char *topic;
} callbacks[] = {
    {MOSQ_EVT_BASIC_AUTH, on_basic_auth, NULL},    {MOSQ_EVT_ACL_CHECK, on_acl_check, NULL},
    {MOSQ_EVT_DISCONNECT, on_disconnect, NULL},    {MOSQ_EVT_TICK, on_tick, NULL},
    {MOSQ_EVT_CONTROL, on_control, CONTROL_TOPIC}, {CLIENT_OFFLINE, on_disconnect, NULL},
};

static int start(struct plugin *p, const char *path, char explain[256])
{
    struct config_error error;
    if (settings_read(path, &p->broker.settings, &error) != ERR_NONE) {
        (void)snprintf(explain, 256, "%s", error.text);
        return MOSQ_ERR_INVAL;
    }
    p->started = true;
    if (broker_start(&p->broker, explain) != ERR_NONE)
        return MOSQ_ERR_UNKNOWN;
    for (size_t i = 0; i < ARRAY_LEN(callbacks); i++) {
        if (mosquitto_callback_register(p->id, callbacks[i].event, callbacks[i].callback,
                                        callbacks[i].topic, p) == MOSQ_ERR_SUCCESS ||
            callbacks[i].event == CLIENT_OFFLINE)
            continue;
        (void)snprintf(explain, 256,
                       "this broker does not take the plugin's callbacks: it has to be Mosquitto "
                       "2.0 or later, and the plugin in it once (per_listener_settings false)");
        return MOSQ_ERR_NOT_SUPPORTED;
    }
    return MOSQ_ERR_SUCCESS;
}

static void stop(struct plugin *p)
{
    if (p->started) {
        broker_stop(&p->broker);
        settings_free(&p->broker.settings);
    }
    write_lines(p);
    (void)pthread_mutex_destroy(&p->lines_lock);
    free(p);
}

int mosquitto_plugin_init(mosquitto_plugin_id_t *identifier, void **userdata,
                          struct mosquitto_opt *options, int option_count)
{
    const char *path = SETTINGS_FILE;
    char explain[256] = "";
    for (int i = 0; i < option_count; i++) {
        if (strcmp(options[i].key, "config") != 0) {
            mosquitto_log_printf(MOSQ_LOG_ERR,
                                 "holdfast: plugin_opt_%s is not known; there is plugin_opt_config",
                                 options[i].key);
            return MOSQ_ERR_INVAL;
        }
        path = options[i].value;
    }
    struct plugin *p = calloc(1, sizeof *p);
    if (p == NULL)
        return MOSQ_ERR_NOMEM;
    p->id = identifier;
    p->broker.log = log_line;
    p->thread = pthread_self();
    (void)pthread_mutex_init(&p->lines_lock, NULL);
    say_software(&p->broker);
    int rc = start(p, path, explain);
    if (rc != MOSQ_ERR_SUCCESS) {
        mosquitto_log_printf(MOSQ_LOG_ERR, "holdfast: %s", explain);
        stop(p);
        return rc;
    }
    *userdata = p;
    return MOSQ_ERR_SUCCESS;
}

int mosquitto_plugin_cleanup(void *userdata, struct mosquitto_opt *options, int option_count)
{
    (void)options, (void)option_count;
    struct plugin *p = userdata;
    for (size_t i = 0; i < ARRAY_LEN(callbacks); i++)
        (void)mosquitto_callback_unregister(p->id, callbacks[i].event, callbacks[i].callback,
                                            callbacks[i].topic);
    stop(p);
    return MOSQ_ERR_SUCCESS;
}
