#include "broker/cutter.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crypto.h"

#define RETRY_MS       1000  /* while the own broker does not answer */
#define PING_MS        20000 /* between two signs of life: well below control.c's keep-alive */
#define LOOK_MS        1000 /* that the broker's thread may not come by: it ticks ten times as often */
#define CERTIFICATE_MS 5000 /* between two looks whether the certificate was renewed */
#define DISCARDS_MAX   8    /* of one session in a row: its device comes back each time */

/* A client id that no device may have: theirs start with their names, and no name with "$". */
static enum err own_client_id(const char *what, char ret_id[64])
{
    uint8_t random[8];
    enum err err = crypto_random(random, sizeof random);
    struct writer w = writer_over(ret_id, 63);
    writer_text(&w, "$holdfast:");
    writer_text(&w, what);
    writer_u8(&w, ':');
    writer_hex(&w, slice_of(random, sizeof random));
    ret_id[w.len] = '\0';
    return err;
}

static enum err connect_as_itself(struct broker *b, struct control **control, const char *what,
                                  char explain[256])
{
    char id[64];
    bool present = false;
    /* A new one each time: certificate and key are read again, which may have been renewed. */
    control_free(*control);
    *control = NULL;
    enum err err = own_client_id(what, id);
    if (err == ERR_NONE)
        err = control_new(&b->settings, b->secret, b->stop_fd, control, explain);
    return err == ERR_NONE ? control_connect(*control, slice_of_text(id), true, &present, explain)
                           : err;
}

/* ---- waking the broker's thread ---- */

static void look_at_certificate(struct broker *b)
{
    bool changed = false;
    if (settings_look_at_own(&b->settings, &changed) != ERR_NONE || !changed)
        return;
    broker_log(b, 'n', "%s was renewed: the broker's listeners take it now",
               b->settings.certificate);
    broker_reload(b);
}

/* True where there is something for the broker's thread: news, or it has not come by for a while.
 * With per_listener_settings, Mosquitto 2.0 never ticks. */
static bool wait_for_wake(struct broker *b)
{
    uint64_t count = 0;
    struct pollfd p = {.fd = b->wake_fd, .events = POLLIN};
    if (poll(&p, 1, LOOK_MS) > 0)
        return read(b->wake_fd, &count, sizeof count) > 0;
    return clock_monotonic_ms() - atomic_load(&b->came_by_ms) >= LOOK_MS;
}

struct waker {
    struct broker *b;
    struct control *control;
    int64_t spoke_ms, certificate_ms;
    bool told;
};

static enum err wake(struct waker *w)
{
    struct broker *b = w->b;
    char explain[256] = "";
    if (w->control == NULL || !control_is_connected(w->control)) {
        enum err err = connect_as_itself(b, &w->control, "wake", explain);
        if (err != ERR_NONE && !w->told)
            broker_log(b, 'w', "%s; cuts take a little longer, and what they leave stays", explain);
        w->told = err != ERR_NONE;
        return err;
    }
    bool look = wait_for_wake(b);
    int64_t now_ms = clock_monotonic_ms();
    if (!look && now_ms - w->spoke_ms < PING_MS)
        return ERR_NONE;
    w->spoke_ms = now_ms;
    enum err err =
        look ? control_publish(w->control, SLICE_LITERAL(CONTROL_TOPIC), SLICE_LITERAL("look"))
             : control_ping(w->control);
    if (err != ERR_NONE && !atomic_load(&b->stop))
        broker_log(b, 'w', "the own connection to the broker ended: %s", err_text(err));
    return err;
}

void *waker_run(void *broker)
{
    struct waker w = {.b = broker};
    struct broker *b = broker;
    while (!atomic_load(&b->stop)) {
        int64_t now_ms = clock_monotonic_ms();
        if (now_ms - w.certificate_ms >= CERTIFICATE_MS) {
            w.certificate_ms = now_ms;
            look_at_certificate(b);
        }
        if (wake(&w) != ERR_NONE && !broker_sleep(b, RETRY_MS))
            break;
    }
    control_free(w.control);
    return NULL;
}

/* ---- discarding what is left ---- */

struct cutter {
    struct broker *b;
    struct control *guest; /* connects under the client ids of others */
    struct control *self;  /* clears what is retained */
    char explain[256];
};

/* Takes over the session under a client id, and so ends it, until there is none. *ret_found counts
 * those that there were. */
static enum err discard(struct cutter *c, struct slice client_id, uint32_t *ret_found)
{
    for (unsigned i = 0; i < DISCARDS_MAX; i++) {
        enum err err = ERR_NONE;
        bool present = false;
        if (c->guest == NULL)
            err = control_new(&c->b->settings, c->b->secret, c->b->stop_fd, &c->guest, c->explain);
        if (err == ERR_NONE)
            err = control_connect(c->guest, client_id, false, &present, c->explain);
        if (err != ERR_NONE) {
            control_free(c->guest);
            c->guest = NULL;
            return err;
        }
        control_disconnect(c->guest);
        if (!present)
            return ERR_NONE;
        ++*ret_found;
    }
    return ERR_BUSY;
}

/* The first text of a device's, copied; false where there is none. */
static bool first_trace(struct broker *b, enum trace_kind kind, uint32_t device,
                        char text[BROKER_TOPIC_MAX + 1])
{
    uint32_t cursor = 0;
    struct slice found;
    broker_lock(b);
    bool any = traces_next(b->traces, kind, device, &cursor, &found);
    if (any) {
        memcpy(text, found.data, found.len);
        text[found.len] = '\0';
    }
    broker_unlock(b);
    return any;
}

static void forget(struct broker *b, enum trace_kind kind, const char *text)
{
    broker_lock(b);
    (void)traces_forget(b->traces, kind, slice_of_text(text));
    broker_unlock(b);
}

static enum err discard_sessions(struct cutter *c, struct cut *cut)
{
    char text[BROKER_TOPIC_MAX + 1];
    enum err err = ERR_NONE;
    if (cut->is_news) { /* also where nothing is remembered: the broker is asked, not our memory */
        struct device_record record;
        broker_lock(c->b);
        table_record(c->b->table, cut->device, &record);
        broker_unlock(c->b);
        err = discard(c, record.device, &cut->kept);
        (void)snprintf(text, sizeof text, "%.*s", (int)record.device.len,
                       (const char *)record.device.data);
        if (err == ERR_NONE)
            forget(c->b, TRACE_CLIENT_ID, text);
    }
    while (err == ERR_NONE && first_trace(c->b, TRACE_CLIENT_ID, cut->device, text)) {
        err = discard(c, slice_of_text(text), &cut->kept);
        if (err == ERR_NONE)
            forget(c->b, TRACE_CLIENT_ID, text);
    }
    return err;
}

static enum err clear_retained(struct cutter *c, struct cut *cut)
{
    char text[BROKER_TOPIC_MAX + 1];
    enum err err = ERR_NONE;
    while (err == ERR_NONE && first_trace(c->b, TRACE_RETAINED, cut->device, text)) {
        if (c->self == NULL || !control_is_connected(c->self))
            err = connect_as_itself(c->b, &c->self, "clear", c->explain);
        bool done = false;
        if (err == ERR_NONE)
            err = control_clear_retained(c->self, slice_of_text(text), &done);
        if (err == ERR_NONE && done)
            cut->retained++;
        if (err == ERR_NONE)
            forget(c->b, TRACE_RETAINED, text);
    }
    if (c->self != NULL)
        control_disconnect(c->self);
    return err;
}

/* What the policy says is to go. Both false where the device is no longer cut. */
static void what_goes(struct broker *b, const struct cut *cut, bool *ret_sessions,
                      bool *ret_retained)
{
    struct rules_subject subject;
    struct rules_model model = {0};
    broker_lock(b);
    bool known =
        table_subject(b->table, cut->device, &subject) && table_is_cut(b->table, cut->device);
    bool final = known && (subject.state == DEVICE_REVOKED || subject.state == DEVICE_RETIRED);
    if (!known || !b->has_rules ||
        !rules_find_model(&b->rules, subject.tenant, subject.model, &model))
        model.cut = RULES_CUT_CLEAR_RETAINED; /* of an unknown model: all of it */
    broker_unlock(b);
    *ret_sessions = known && (final || (model.cut & RULES_CUT_KEEP_QUEUE) == 0);
    *ret_retained = known && (model.cut & RULES_CUT_CLEAR_RETAINED) != 0;
}

static enum err clean(struct cutter *c, struct cut *cut)
{
    bool sessions = false, retained = false;
    what_goes(c->b, cut, &sessions, &retained);
    enum err err = sessions ? discard_sessions(c, cut) : ERR_NONE;
    if (err == ERR_NONE && retained)
        err = clear_retained(c, cut);
    return err;
}

/* Client ids that made room for others. */
static enum err tidy(struct cutter *c)
{
    struct broker *b = c->b;
    enum err err = ERR_NONE;
    for (;;) {
        char id[BROKER_CLIENT_ID_MAX + 1];
        uint32_t found = 0;
        broker_lock(b);
        bool any = b->tidy_len > 0;
        if (any)
            memcpy(id, b->tidy[b->tidy_len - 1], sizeof id);
        broker_unlock(b);
        if (!any || err != ERR_NONE)
            return err;
        err = discard(c, slice_of_text(id), &found);
        broker_lock(b);
        /* it may stand elsewhere by now: more may have come meanwhile */
        for (uint32_t i = 0; err == ERR_NONE && i < b->tidy_len; i++) {
            if (strcmp(b->tidy[i], id) != 0)
                continue;
            memmove(b->tidy[i], b->tidy[--b->tidy_len], sizeof id);
            break;
        }
        broker_unlock(b);
    }
}

void *cutter_run(void *broker)
{
    struct broker *b = broker;
    struct cutter c = {.b = b};
    bool told = false;
    while (!atomic_load(&b->stop)) {
        broker_lock(b);
        struct cut *cut = cuts_take(&b->cuts, CUT_TO_CLEAN);
        if (cut == NULL && b->tidy_len == 0)
            broker_wait(b, 1000);
        broker_unlock(b);
        enum err err = cut == NULL ? tidy(&c) : clean(&c, cut);
        if (cut != NULL) {
            broker_lock(b);
            cuts_put(&b->cuts, cut, err == ERR_NONE ? CUT_TO_REPORT : CUT_TO_CLEAN);
            broker_work(b);
            broker_unlock(b);
        }
        if (err != ERR_NONE && !told)
            broker_log(b, 'w', "what cut devices left behind cannot be discarded yet: %s",
                       c.explain[0] != '\0' ? c.explain : err_text(err));
        told = err != ERR_NONE;
        if (err != ERR_NONE && !broker_sleep(b, RETRY_MS))
            break;
    }
    control_free(c.guest);
    control_free(c.self);
    return NULL;
}
