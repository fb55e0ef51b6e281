#include "broker/gate.h"

#include <string.h>

#include "base/clock.h"
#include "broker/passwords.h"
#include "core/utf8.h"

/* What one has shown: a certificate, or one of its device's passwords. */
struct proof {
    bool by_password, is_new; /* the password that was made last */
    struct device_password password;
};

/* What there is to know of one who asks. */
struct asker {
    uint32_t device;
    struct rules_subject subject;
    struct rules_model model;
};

static enum gate_verdict refuse(struct broker *b, enum refusal kind, struct slice source)
{
    reports_refusal(&b->reports, kind, source);
    return GATE_REFUSE;
}

static bool know(struct broker *b, uint32_t device, struct asker *ret_asker)
{
    ret_asker->device = device;
    return device != TABLE_NONE && b->has_rules &&
           table_subject(b->table, device, &ret_asker->subject) &&
           rules_find_model(&b->rules, ret_asker->subject.tenant, ret_asker->subject.model,
                            &ret_asker->model);
}

/* Whether it reaches a broker at all, by its state, and by how stale what we know is. */
static bool may_be_here(const struct asker *a, int64_t stale)
{
    return (a->model.reach[a->subject.state] & RULES_REACH_MQTT) != 0 &&
           (stale == 0 || stale < (int64_t)a->model.limits.stale_seconds);
}

static int64_t stale_now(const struct broker *b, int64_t *ret_date)
{
    struct contact_now now;
    contact_now(&now);
    *ret_date = contact_date(&b->contact, &now);
    return contact_stale(&b->contact, &now);
}

/* ---- the form of names ---- */

static bool is_text(struct slice s)
{
    while (s.len > 0) {
        size_t n = utf8_sequence(s);
        if (n == 0 || s.data[0] < 0x20 || s.data[0] == 0x7f)
            return false;
        s = slice_of(s.data + n, s.len - n);
    }
    return true;
}

/* Its id, or its id, a colon, and anything. */
static bool is_client_id_of(struct slice client_id, struct slice device)
{
    return slice_starts_with(client_id, device) &&
           (client_id.len == device.len || client_id.data[device.len] == ':');
}

/* "a:b" is device a's, unless there is a device of that name: the longest name that fits is meant,
 * or one device could sit on another's client id. */
static bool is_claimed(const struct broker *b, const struct rules_subject *s,
                       struct slice client_id)
{
    for (size_t i = s->device.len + 1; i <= client_id.len; i++)
        if ((i == client_id.len || client_id.data[i] == ':') &&
            table_find(b->table, s->tenant, slice_of(client_id.data, i)) != TABLE_NONE)
            return true;
    return false;
}

static uint32_t find_by_username(const struct broker *b, struct slice name)
{
    const uint8_t *slash = name.len == 0 ? NULL : memchr(name.data, '/', name.len);
    if (slash == NULL)
        return table_find(b->table, slice_of_text(b->settings.tenant), name);
    size_t tenant = (size_t)(slash - name.data);
    return table_find(b->table, slice_of(name.data, tenant),
                      slice_of(slash + 1, name.len - tenant - 1));
}

/* ---- admission ---- */

static enum gate_verdict admit_own(struct broker *b, const struct gate_peer *peer)
{
    bool is_right = peer->certificate != NULL && settings_is_own(&b->settings, peer->certificate) &&
                    peer->password != NULL && strlen(peer->password) == sizeof b->secret - 1 &&
                    mem_equal_constant_time(peer->password, b->secret, sizeof b->secret - 1);
    if (!is_right)
        return refuse(b, REFUSAL_UNKNOWN_CERTIFICATE, peer->address);
    for (unsigned i = 0; i < BROKER_OWN_CLIENTS_MAX; i++) {
        if (b->own[i] != NULL)
            continue;
        b->own[i] = peer->client;
        return GATE_OWN;
    }
    return GATE_REFUSE;
}

/* Which device it is; TABLE_NONE, refused and counted. */
static uint32_t identify(struct broker *b, const struct gate_peer *peer, int64_t date)
{
    int64_t not_after = 0;
    if (peer->certificate != NULL) {
        uint32_t device = table_find_certificate(b->table, peer->certificate, &not_after);
        if (device == TABLE_NONE || not_after < date) {
            (void)refuse(b, REFUSAL_UNKNOWN_CERTIFICATE, peer->address);
            return TABLE_NONE;
        }
        return device;
    }
    uint32_t device = TABLE_NONE;
    if (b->settings.passwords && peer->username != NULL && peer->password != NULL)
        device = find_by_username(b, slice_of_text(peer->username));
    if (device == TABLE_NONE)
        (void)refuse(b, REFUSAL_PASSWORD, peer->address);
    return device;
}

/* A client id that may leave a session behind is remembered; where the device has too many, the
 * oldest one that is not connected is discarded. */
static bool remember_client_id(struct broker *b, uint32_t device, struct slice client_id)
{
    enum traces_verdict verdict = traces_remember(b->traces, TRACE_CLIENT_ID, device, client_id);
    if (verdict != TRACES_FULL)
        return verdict == TRACES_KNOWN || verdict == TRACES_ADDED;
    struct slice text, oldest = {0};
    uint32_t cursor = 0;
    while (traces_next(b->traces, TRACE_CLIENT_ID, device, &cursor, &text))
        if (!sessions_has_client_id(b->sessions, device, text))
            oldest = text;
    if (oldest.len == 0 || b->tidy_len == BROKER_TIDY_MAX)
        return false;
    char *tidy = b->tidy[b->tidy_len++];
    memcpy(tidy, oldest.data, oldest.len);
    tidy[oldest.len] = '\0';
    (void)traces_forget(b->traces, TRACE_CLIENT_ID, slice_of_text(tidy));
    broker_work(b);
    return traces_remember(b->traces, TRACE_CLIENT_ID, device, client_id) == TRACES_ADDED;
}

/* The first time with a certificate, or with a new password: which ends the one before it. */
static void report_first(struct broker *b, const struct gate_peer *peer, const struct asker *a,
                         const struct proof *proof, int64_t date)
{
    struct report_connect connect = {
        .device = a->device, .at = date, .by_password = proof->by_password};
    bool seen = proof->by_password ? !proof->is_new || table_password_seen(b->table, a->device)
                                   : table_seen(b->table, peer->certificate);
    if (proof->by_password)
        memcpy(connect.certificate, proof->password.salt, DEVICE_SALT_SIZE);
    else
        memcpy(connect.certificate, peer->certificate, SHA256_SIZE);
    if (seen || !reports_connect(&b->reports, &connect))
        return;
    if (proof->by_password)
        table_note_password_seen(b->table, a->device);
    else
        (void)table_note_seen(b->table, peer->certificate);
}

static enum gate_verdict enter(struct broker *b, const struct gate_peer *peer,
                               const struct asker *a, const struct proof *proof, int64_t date)
{
    struct slice name = a->subject.device;
    struct limits_usage *usage = sessions_usage(b->sessions, a->device);
    if (usage == NULL || !limits_connect(usage, &a->model.limits, clock_monotonic_us()))
        return refuse(b, REFUSAL_CONNECTS, name);
    if (!remember_client_id(b, a->device, peer->client_id))
        return refuse(b, REFUSAL_CLIENT_ID, name);
    const uint8_t *key = proof->by_password ? proof->password.stored_key : peer->certificate;
    if (sessions_add(b->sessions, peer->client, a->device, peer->client_id, key,
                     proof->by_password) != ERR_NONE)
        return refuse(b, REFUSAL_CONNECTS, name);
    int64_t stale_limit = a->model.limits.stale_seconds;
    if (stale_limit > 0 && (b->strictest == 0 || stale_limit < b->strictest))
        b->strictest = stale_limit;
    report_first(b, peer, a, proof, date);
    return GATE_ADMIT;
}

static void write_username(const struct asker *a, char ret_username[GATE_USERNAME_SIZE])
{
    struct writer w = writer_over(ret_username, GATE_USERNAME_SIZE - 1);
    writer_put(&w, a->subject.tenant);
    writer_u8(&w, '/');
    writer_put(&w, a->subject.device);
    ret_username[w.len] = '\0';
}

static enum gate_verdict admit_device(struct broker *b, const struct gate_peer *peer,
                                      char ret_username[GATE_USERNAME_SIZE])
{
    /* Before a hub has told what happened while the broker was off, nobody is let in, for a while.
     */
    if (!b->caught_up && clock_monotonic_ms() < b->admit_from_ms)
        return GATE_REFUSE;
    int64_t date = 0, stale = stale_now(b, &date);
    struct asker a;
    struct proof proof = {.by_password = peer->certificate == NULL};
    uint32_t device = identify(b, peer, date);
    if (device == TABLE_NONE)
        return GATE_REFUSE;
    if (!know(b, device, &a) || !may_be_here(&a, stale))
        return refuse(b, REFUSAL_STATE, peer->address);
    /* Names with a slash would make usernames that say two things. */
    if (!rules_name_ok(a.subject.tenant) || !rules_name_ok(a.subject.device))
        return refuse(b, REFUSAL_FORM, peer->address);
    if (peer->client_id.len > BROKER_CLIENT_ID_MAX || !is_text(peer->client_id) ||
        !is_client_id_of(peer->client_id, a.subject.device) ||
        is_claimed(b, &a.subject, peer->client_id))
        return refuse(b, REFUSAL_CLIENT_ID, a.subject.device);
    if (proof.by_password && (!a.model.password_ok ||
                              !passwords_try(b, device, slice_of_text(peer->password),
                                             peer->address, date, &proof.password, &proof.is_new) ||
                              !know(b, device, &a) || !may_be_here(&a, stale)))
        return refuse(b, REFUSAL_PASSWORD, peer->address);
    enum gate_verdict verdict = enter(b, peer, &a, &proof, date);
    if (verdict == GATE_ADMIT)
        write_username(&a, ret_username);
    return verdict;
}

enum gate_verdict gate_admit(struct broker *b, const struct gate_peer *peer,
                             char ret_username[GATE_USERNAME_SIZE])
{
    broker_lock(b);
    enum gate_verdict verdict =
        peer->username != NULL && strcmp(peer->username, CONTROL_USERNAME) == 0
            ? admit_own(b, peer)
            : admit_device(b, peer, ret_username);
    broker_unlock(b);
    return verdict;
}

void gate_left(struct broker *b, const void *client)
{
    broker_lock(b);
    (void)sessions_remove(b->sessions, client);
    for (unsigned i = 0; i < BROKER_OWN_CLIENTS_MAX; i++)
        if (b->own[i] == client)
            b->own[i] = NULL;
    broker_unlock(b);
}

static bool is_own(const struct broker *b, const void *client)
{
    for (unsigned i = 0; client != NULL && i < BROKER_OWN_CLIENTS_MAX; i++)
        if (b->own[i] == client)
            return true;
    return false;
}

bool gate_is_own(struct broker *b, const void *client)
{
    broker_lock(b);
    bool own = is_own(b, client);
    broker_unlock(b);
    return own;
}

/* ---- what they may do ---- */

static bool deny(struct broker *b, enum refusal kind, const struct asker *a)
{
    reports_refusal(&b->reports, kind, a->subject.device);
    return false;
}

/* A message that is retained can be taken back only where it is remembered. */
static bool remember_retained(struct broker *b, const struct asker *a, const struct gate_request *q)
{
    if (!q->retain || (a->model.cut & RULES_CUT_CLEAR_RETAINED) == 0)
        return true;
    if (q->payload_len == 0) {
        if (traces_owner(b->traces, TRACE_RETAINED, q->topic) == a->device)
            (void)traces_forget(b->traces, TRACE_RETAINED, q->topic);
        return true;
    }
    enum traces_verdict verdict = traces_remember(b->traces, TRACE_RETAINED, a->device, q->topic);
    return verdict == TRACES_KNOWN || verdict == TRACES_ADDED;
}

static bool keeps_rate(struct broker *b, struct session *session, uint32_t device,
                       const struct rules_limits *limits, uint32_t payload_len)
{
    struct limits_usage *usage = sessions_usage(b->sessions, device);
    if (usage == NULL)
        return false;
    enum limits_verdict verdict = limits_message(usage, limits, payload_len, clock_monotonic_us());
    if (verdict == LIMITS_FLOOD && session != NULL && !session->to_end) {
        session->to_end = true;
        broker_recheck_all(b);
    }
    return verdict == LIMITS_FINE;
}

static bool may_publish(struct broker *b, struct session *session, const struct asker *a,
                        const struct gate_request *q)
{
    if (a->model.limits.payload_max != 0 && q->payload_len > a->model.limits.payload_max)
        return deny(b, REFUSAL_PAYLOAD, a);
    if (!keeps_rate(b, session, a->device, &a->model.limits, q->payload_len))
        return deny(b, REFUSAL_RATE, a);
    return remember_retained(b, a, q) || deny(b, REFUSAL_TOPIC, a);
}

/* What was decided last for this session, while nothing has changed: only its rate is left to look
 * at. */
static bool was_granted(const struct broker *b, const struct session *s,
                        const struct gate_request *q)
{
    if (s == NULL || b->ending == s->device)
        return false;
    if (q->access == GATE_RECEIVE)
        return session_grant_holds(&s->received, b->epoch, q->topic);
    return q->access == GATE_PUBLISH && !q->retain &&
           session_grant_holds(&s->published, b->epoch, q->topic) &&
           (s->limits.payload_max == 0 || q->payload_len <= s->limits.payload_max);
}

static void grant(const struct broker *b, struct session *s, const struct asker *a,
                  const struct gate_request *q)
{
    if (s == NULL || b->ending == s->device)
        return;
    if (q->access == GATE_RECEIVE)
        session_grant_set(&s->received, b->epoch, q->topic);
    if (q->access == GATE_PUBLISH) {
        session_grant_set(&s->published, b->epoch, q->topic);
        s->limits = a->model.limits;
    }
}

/* While a session is being ended by us, its last will is asked for, and by 2.1 its subscriptions,
 * too: the policy says what becomes of them, whatever the device's state is by now. */
static bool is_last_word(const struct broker *b, const struct asker *a, enum gate_access access)
{
    if (b->ending == TABLE_NONE || b->ending != a->device)
        return false;
    return (access == GATE_PUBLISH && (b->ending_cut & RULES_CUT_SEND_WILL) != 0) ||
           (access == GATE_SUBSCRIBE && (b->ending_cut & RULES_CUT_KEEP_QUEUE) != 0);
}

static bool decide(struct broker *b, struct session *session, struct asker *a,
                   const struct gate_request *q)
{
    static const enum rules_action actions[] = {
        [GATE_PUBLISH] = RULES_PUBLISH,
        [GATE_RECEIVE] = RULES_RECEIVE,
        [GATE_SUBSCRIBE] = RULES_SUBSCRIBE,
    };
    if (is_last_word(b, a, q->access))
        a->subject.state = DEVICE_TRUSTED;
    switch (rules_decide(&b->rules, &a->subject, actions[q->access], q->topic)) {
    case RULES_ALLOW:
        break;
    case RULES_DENY_FORM:
        return deny(b, REFUSAL_FORM, a);
    case RULES_DENY_TOPIC:
        return deny(b, REFUSAL_TOPIC, a);
    default:
        return deny(b, REFUSAL_STATE, a);
    }
    if (q->access == GATE_PUBLISH)
        return may_publish(b, session, a, q);
    if (q->access == GATE_SUBSCRIBE && session != NULL &&
        !sessions_may_subscribe(session, q->topic, a->model.limits.subscriptions_max,
                                q->subscriptions))
        return deny(b, REFUSAL_SUBSCRIPTIONS, a);
    return true;
}

static bool keeps_granted_rate(struct broker *b, struct session *session, uint32_t payload_len)
{
    struct asker a;
    return keeps_rate(b, session, session->device, &session->limits, payload_len) ||
           (know(b, session->device, &a) && deny(b, REFUSAL_RATE, &a));
}

static bool ask(struct broker *b, struct session *session, const struct gate_request *q)
{
    struct asker a;
    if (slice_starts_with(q->topic, SLICE_LITERAL("$CONTROL/")))
        return false;
    uint32_t device = TABLE_NONE;
    if (session != NULL)
        device = session->device;
    else if (q->username != NULL)
        device = find_by_username(b, slice_of_text(q->username));
    bool allowed = know(b, device, &a) && decide(b, session, &a, q);
    if (allowed)
        grant(b, session, &a, q);
    return allowed;
}

/* Whoever has a session is a device: the plugin's own connections have none. */
static bool allows(struct broker *b, struct session *session, const struct gate_request *q)
{
    if (session == NULL && is_own(b, q->client))
        /* It clears and wakes, and never receives: what is queued for a session that it takes over
         * is not for it. */
        return q->access == GATE_PUBLISH;
    if (q->access == GATE_UNSUBSCRIBE) {
        if (session != NULL)
            sessions_unsubscribed(session, q->topic);
        return true;
    }
    if (session != NULL && session->to_end)
        return false;
    if (was_granted(b, session, q))
        return q->access == GATE_RECEIVE || keeps_granted_rate(b, session, q->payload_len);
    return ask(b, session, q);
}

bool gate_allows(struct broker *b, const struct gate_request *q)
{
    broker_lock(b);
    bool allowed = allows(b, sessions_find(b->sessions, q->client), q);
    broker_unlock(b);
    return allowed;
}

/* ---- who must go ---- */

/* Whether a session that is here would be admitted now. */
static bool may_stay(struct broker *b, const struct session *s, int64_t date, int64_t stale)
{
    struct asker a;
    if (s->to_end || !know(b, s->device, &a) || !may_be_here(&a, stale))
        return false;
    if (s->by_password)
        return b->settings.passwords && a.model.password_ok &&
               passwords_hold(b, s->device, s->key, date);
    int64_t not_after = 0;
    return table_find_certificate(b->table, s->key, &not_after) == s->device && not_after >= date;
}

void gate_recheck(struct broker *b)
{
    broker_lock(b);
    broker_recheck_all(b);
    broker_unlock(b);
}

static void fill_ending(struct broker *b, const struct session *s, struct gate_ending *ret_ending)
{
    struct asker a;
    bool known = know(b, s->device, &a);
    memcpy(ret_ending->client_id, s->client_id, sizeof s->client_id);
    ret_ending->client = s->client;
    ret_ending->device = s->device;
    ret_ending->cut = known ? a.model.cut : 0;
    if (known && (a.subject.state == DEVICE_REVOKED || a.subject.state == DEVICE_RETIRED))
        ret_ending->cut &= (uint8_t)~RULES_CUT_KEEP_QUEUE;
}

static bool next_of_all(struct broker *b, struct gate_ending *ret_ending)
{
    int64_t date = 0, stale = stale_now(b, &date);
    for (const struct session *s; (s = sessions_next(b->sessions, &b->recheck_cursor)) != NULL;) {
        if (may_stay(b, s, date, stale))
            continue;
        fill_ending(b, s, ret_ending);
        return true;
    }
    b->recheck_all = false;
    return false;
}

static bool next_of_changed(struct broker *b, struct gate_ending *ret_ending)
{
    int64_t date = 0, stale = stale_now(b, &date);
    while (b->rechecks_len > 0) {
        uint32_t device = b->rechecks[b->rechecks_len - 1], cursor = 0;
        for (const struct session *s;
             (s = sessions_next_of(b->sessions, device, &cursor)) != NULL;) {
            if (may_stay(b, s, date, stale))
                continue;
            fill_ending(b, s, ret_ending);
            return true;
        }
        b->rechecks_len--;
    }
    return false;
}

bool gate_next_ending(struct broker *b, const struct cut *cut, struct gate_ending *ret_ending)
{
    broker_lock(b);
    uint32_t cursor = 0;
    bool found;
    if (cut != NULL) {
        const struct session *s = sessions_next_of(b->sessions, cut->device, &cursor);
        found = s != NULL;
        if (found)
            fill_ending(b, s, ret_ending);
    } else {
        found = next_of_changed(b, ret_ending) || (b->recheck_all && next_of_all(b, ret_ending));
    }
    broker_unlock(b);
    return found;
}

void gate_begin_ending(struct broker *b, const struct gate_ending *ending)
{
    broker_lock(b);
    b->ending = ending->device;
    b->ending_cut = ending->cut;
    broker_unlock(b);
}

bool gate_end_ending(struct broker *b, const struct gate_ending *ending)
{
    broker_lock(b);
    b->ending = TABLE_NONE;
    b->ending_cut = 0;
    bool ended = sessions_find(b->sessions, ending->client) == NULL;
    broker_unlock(b);
    return ended;
}
