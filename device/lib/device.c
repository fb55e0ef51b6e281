#include "device/lib/device.h"

#include "device/lib/internal.h"

static const char *const event_texts[DEVICE_EVENT_COUNT] = {
    [DEVICE_EVENT_KEY_MADE] = "device.key_made",
    [DEVICE_EVENT_ENROLLED] = "device.enrolled",
    [DEVICE_EVENT_RENEWED] = "device.renewed",
    [DEVICE_EVENT_CONFIRMED] = "device.confirmed",
    [DEVICE_EVENT_KEY_RETIRED] = "device.key_retired",
    [DEVICE_EVENT_ROTATION_ASKED] = "device.rotation_asked",
    [DEVICE_EVENT_CHECKED_IN] = "device.checked_in",
    [DEVICE_EVENT_REPORTED] = "device.reported",
    [DEVICE_EVENT_BUNDLE_FOLLOWED] = "device.bundle_followed",
    [DEVICE_EVENT_BUNDLE_REJECTED] = "device.bundle_rejected",
    [DEVICE_EVENT_CERTIFICATE_REJECTED] = "device.certificate_rejected",
    [DEVICE_EVENT_WAITING] = "device.waiting",
    [DEVICE_EVENT_REFUSED] = "device.refused",
    [DEVICE_EVENT_FAILED] = "device.failed",
    [DEVICE_EVENT_STORAGE_FAILED] = "device.storage_failed",
    [DEVICE_EVENT_LEDGER_REFUSED] = "device.ledger_refused",
    [DEVICE_EVENT_LEDGER_SOUND] = "device.ledger_sound",
};

const char *device_event_text(enum device_event_kind kind)
{
    return kind < DEVICE_EVENT_COUNT ? event_texts[kind] : "device.unknown";
}

static const char *const task_texts[TASK_COUNT] = {
    [TASK_IDENTITY] = "identity",
    [TASK_CHECKIN] = "checkin",
    [TASK_REPORT] = "report",
    [TASK_BUNDLE] = "bundle",
};

void device_tell(const struct device *d, const struct device_event *event)
{
    struct device_event e = *event;
    if (d->options->event == NULL)
        return;
    e.code = e.code == NULL ? "" : e.code;
    e.task = e.task == NULL ? "" : e.task;
    e.name = e.name == NULL ? d->name : e.name;
    d->options->event(d->options->event_ctx, &e);
}

/* ---- time and chance ---- */

int64_t device_monotonic(const struct device *d)
{
    return d->port->monotonic_ms(d->port->ctx);
}

int64_t device_time(const struct device *d)
{
    return timeline_now(&d->timeline, d->port->wall_seconds(d->port->ctx), device_monotonic(d));
}

int64_t device_random(const struct device *d, int64_t max)
{
    uint32_t dice;
    /* Without chance the longest wait: it is what spares the hub most. */
    if (d->port->random(d->port->ctx, &dice, sizeof dice) != ERR_NONE)
        return max;
    return (int64_t)(((uint64_t)max + 1) * dice >> 32);
}

int64_t device_certain_time(const struct device *d)
{
    return timeline_now(&d->timeline, INT64_MIN, device_monotonic(d));
}

enum err device_commit(struct device *d, const struct state *next)
{
    struct state s = *next;
    int64_t time = device_certain_time(d);
    s.time = time > s.time ? time : s.time;
    s.ledger = d->ledger;
    return state_commit(d->port, &d->state, &s);
}

/* ---- when ---- */

void device_due_now(struct device *d, enum device_task task)
{
    d->tasks[task].due_ms = device_monotonic(d);
    d->tasks[task].failures = 0;
}

static void due_in(struct device *d, enum device_task task, int64_t delay_ms)
{
    d->tasks[task].due_ms = device_monotonic(d) + delay_ms;
}

/* Exponential back-off with full jitter; a Retry-After is the least to wait. */
static int64_t retry_delay(struct device *d, enum device_task task)
{
    int64_t cap = d->retry_max * 1000;
    int64_t most = DEVICE_RETRY_FIRST_MS;
    for (unsigned i = 0; i < d->tasks[task].failures && most < cap; i++)
        most *= 2;
    most = most < cap ? most : cap;
    if (d->tasks[task].failures < 32)
        d->tasks[task].failures++;
    int64_t delay = device_random(d, most);
    if (d->retry_after > 0)
        delay = d->retry_after * 1000 + device_random(d, d->retry_after * 250);
    return delay > DEVICE_RETRY_MIN_MS ? delay : DEVICE_RETRY_MIN_MS;
}

static int64_t refused_delay(struct device *d)
{
    int64_t delay = d->refused_retry;
    delay = d->retry_after > delay ? d->retry_after : delay;
    return delay * 1000 + device_random(d, delay * 250);
}

/* A twentieth sooner or later, so that devices that started together drift apart. */
static int64_t checkin_delay(struct device *d)
{
    int64_t ms = d->checkin_interval * 1000;
    return ms - ms / 20 + device_random(d, ms / 10);
}

/* Is there a reason to do this, and when at the earliest? */
static bool wants(const struct device *d, enum device_task task, int64_t *ret_due)
{
    if (task == TASK_IDENTITY)
        return identity_wants(d, ret_due);
    if (identity_slot(d) < 0)
        return false;
    if (task == TASK_REPORT && (!contact_report_differs(d) || d->ledger.finding != LEDGER_SOUND))
        return false;
    if (task == TASK_BUNDLE && d->offered_bundle <= d->bundle.version)
        return false;
    *ret_due = d->tasks[task].due_ms;
    return true;
}

/* What is due first; of several that are due now, the first in order. */
static enum device_task next_task(const struct device *d, int64_t now, int64_t *ret_due)
{
    enum device_task found = TASK_COUNT;
    int64_t found_due = now + DEVICE_CHECKIN_MAX * INT64_C(1000);
    for (enum device_task t = 0; t < TASK_COUNT; t++) {
        int64_t due = 0;
        if (!wants(d, t, &due))
            continue;
        due = due > now ? due : now;
        if (due < found_due) {
            found_due = due;
            found = t;
        }
    }
    *ret_due = found_due;
    return found;
}

/* ---- one step ---- */

static enum err run(struct device *d, enum device_task task)
{
    switch (task) {
    case TASK_IDENTITY:
        return identity_step(d);
    case TASK_CHECKIN:
        return contact_checkin(d);
    case TASK_REPORT:
        return contact_report(d);
    case TASK_BUNDLE:
        return bundle_fetch(d);
    case TASK_COUNT:
        break;
    }
    return ERR_INTERNAL;
}

static void tell_outcome(struct device *d, enum device_event_kind kind, enum device_task task,
                         enum err err, int64_t delay_ms)
{
    device_tell(d, &(struct device_event){.kind = kind,
                                          .task = task_texts[task],
                                          .err = err,
                                          .status = d->status,
                                          .code = d->code,
                                          .delay_ms = delay_ms});
}

static void succeeded(struct device *d, enum device_task task)
{
    d->tasks[task].failures = 0;
    if (d->status != 0)
        d->refused = false;
    if (task == TASK_CHECKIN)
        due_in(d, task, checkin_delay(d));
}

/* A certificate that was just issued is refused at its first use. Where the one before it is in
 * date, that is tried again. Where there is none, the certificate is asked for again: with the same
 * key, and with the same proof, which is not given up before. True where that may help; a second
 * time in a row it goes on, too, but as slowly as with all that are refused. */
static bool doubts(struct device *d, enum device_task task)
{
    int pending = state_slot(&d->state, SLOT_PENDING);
    if (task == TASK_IDENTITY || pending < 0 || identity_slot(d) != pending)
        return false;
    d->doubt = true;
    if (identity_in_date(d)) {
        due_in(d, TASK_CHECKIN, DEVICE_RETRY_MIN_MS);
        return true;
    }
    bool first_time = !d->refused_new;
    d->refused_new = true;
    due_in(d, TASK_IDENTITY, DEVICE_RETRY_MIN_MS);
    return first_time;
}

/* One refusal stands for all: what else is due would be refused as well. */
static void refused(struct device *d, enum device_task task)
{
    bool was_in_doubt = d->doubt;
    if (doubts(d, task)) {
        tell_outcome(d, DEVICE_EVENT_FAILED, task, ERR_REFUSED, DEVICE_RETRY_MIN_MS);
        return;
    }
    int64_t delay = refused_delay(d);
    if (task == TASK_IDENTITY && device_phase_of(d) == DEVICE_ENROLLED) {
        /* It may be about the renewal alone: the next check-in will tell. */
        due_in(d, task, delay);
        device_due_now(d, TASK_CHECKIN);
        tell_outcome(d, DEVICE_EVENT_FAILED, task, ERR_REFUSED, delay);
        return;
    }
    if (was_in_doubt)
        d->doubt = false;
    d->refused = true;
    for (enum device_task t = 0; t < TASK_COUNT; t++)
        due_in(d, t, delay);
    tell_outcome(d, DEVICE_EVENT_REFUSED, task, ERR_REFUSED, delay);
}

static void failed(struct device *d, enum device_task task, enum err err)
{
    if (err == ERR_REFUSED) {
        refused(d, task);
        return;
    }
    if (d->waiting) {
        int64_t delay = checkin_delay(d);
        d->refused = false;
        for (enum device_task t = TASK_CHECKIN; t < TASK_COUNT; t++)
            due_in(d, t, delay);
        tell_outcome(d, DEVICE_EVENT_WAITING, task, ERR_NONE, delay);
        return;
    }
    if (d->misled) {
        int64_t delay = refused_delay(d);
        due_in(d, task, delay);
        ledger_tell(d, delay);
        return;
    }
    int64_t delay = retry_delay(d, task);
    due_in(d, task, delay);
    if (task == TASK_IDENTITY && d->doubt && !identity_in_date(d)) {
        d->doubt = false; /* the certificate that is there may be taken by now */
        due_in(d, TASK_CHECKIN, delay);
    }
    /* exchange() sees to it that these two are about storage alone. */
    bool storage = err == ERR_DISK_FULL || err == ERR_IO;
    tell_outcome(d, storage ? DEVICE_EVENT_STORAGE_FAILED : DEVICE_EVENT_FAILED, task, err, delay);
}

static void save_time(struct device *d)
{
    if (device_certain_time(d) - d->state.time < DEVICE_TIME_SAVE || d->state.sequence == 0)
        return;
    struct state same = d->state;
    enum err err = device_commit(d, &same);
    if (err != ERR_NONE)
        device_tell(d, &(struct device_event){.kind = DEVICE_EVENT_STORAGE_FAILED, .err = err});
}

enum device_phase device_phase_of(const struct device *d)
{
    if (d->refused)
        return DEVICE_REFUSED;
    if (d->name[0] == '\0')
        return DEVICE_NEW;
    if (identity_slot(d) < 0)
        return DEVICE_EXPIRED;
    return d->ledger.finding != LEDGER_SOUND ? DEVICE_MISLED : DEVICE_ENROLLED;
}

enum device_phase device_step(struct device *d, int64_t *ret_delay_ms)
{
    int64_t due;
    int64_t now = device_monotonic(d);
    enum device_task task = next_task(d, now, &due);
    if (due <= now && task != TASK_COUNT) {
        d->status = 0;
        d->code[0] = '\0';
        d->retry_after = 0;
        d->waiting = d->misled = false;
        enum err err = run(d, task);
        if (err == ERR_NONE)
            succeeded(d, task);
        else
            failed(d, task, err);
        save_time(d);
        now = device_monotonic(d);
        (void)next_task(d, now, &due);
    }
    *ret_delay_ms = due - now;
    if (*ret_delay_ms > DEVICE_KEEP_MS)
        exchange_close(d);
    return device_phase_of(d);
}

bool device_has_certificate(const struct device *d)
{
    return state_slot(&d->state, SLOT_ACTIVE) >= 0 || identity_slot(d) >= 0;
}

void device_renew(struct device *d)
{
    d->renew_at = d->not_before;
}

/* ---- from start to end ---- */

static bool is_name(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] <= ' ' || s.data[i] >= 0x7f || s.data[i] == ':' || s.data[i] == '/')
            return false;
    return s.len > 0 && s.len <= DEVICE_SERIAL_MAX;
}

static enum err check_options(struct device *d, const struct device_options *o)
{
    static const enum key_kind kinds[] = {KEY_P256, KEY_P384, KEY_ED25519};
    const char *const texts[ENDPOINT_COUNT] = {
        [ENDPOINT_BOOTSTRAP] = o->bootstrap, [ENDPOINT_HUB] = o->hub};
    for (size_t i = 0; i < ENDPOINT_COUNT; i++) {
        if (texts[i] == NULL)
            return ERR_SYNTAX;
        d->endpoints[i].text = texts[i];
        enum err err = endpoint_read(texts[i], d->endpoints[i].host, &d->endpoints[i].port);
        if (err != ERR_NONE)
            return err;
    }
    bool kind_known = false;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        kind_known = kind_known || o->key_kind == kinds[i];
    if (!kind_known || o->serial == NULL || !is_name(slice_of_text(o->serial)) ||
        (o->tenant != NULL && !is_name(slice_of_text(o->tenant))) || o->agent_version == NULL ||
        o->platform == NULL || o->build_time < 0)
        return ERR_SYNTAX;
    if (o->claim.len > DEVICE_CLAIM_MAX)
        return ERR_LIMIT;
    if (o->proof == DEVICE_PROOF_MANUFACTURER && o->manufacturer_chain.len == 0)
        return ERR_SYNTAX;
    return ERR_NONE;
}

static int64_t or_standard(int64_t seconds, int64_t standard)
{
    return seconds > 0 && seconds <= DEVICE_CHECKIN_MAX ? seconds : standard;
}

enum err device_open(struct device *d, const struct device_options *options,
                     const struct port *port)
{
    memset(d, 0, sizeof *d);
    d->options = options;
    d->port = port;
    enum err err = check_options(d, options);
    if (err != ERR_NONE)
        return err;
    int64_t now = device_monotonic(d);
    d->timeline = timeline_from_build(options->build_time, now);
    d->checkin_interval = or_standard(options->checkin_interval, DEVICE_CHECKIN_STANDARD);
    d->retry_max = or_standard(options->retry_max, DEVICE_RETRY_STANDARD);
    d->refused_retry = or_standard(options->refused_retry, DEVICE_REFUSED_STANDARD);
    for (size_t t = 0; t < TASK_COUNT; t++)
        d->tasks[t].due_ms = now;
    err = state_load(port, &d->state);
    if (err != ERR_NONE && err != ERR_NOT_FOUND)
        return err;
    timeline_raise(&d->timeline, d->state.time, now);
    d->ledger = d->state.ledger;
    err = bundle_load(d);
    if (err == ERR_NONE)
        err = identity_load(d);
    if (err == ERR_NONE && d->ledger.finding != LEDGER_SOUND)
        ledger_tell(d, 0);
    return err == ERR_NONE ? contact_prepare(d) : err;
}

void device_close(struct device *d)
{
    exchange_close(d);
    ledger_keep(d);
    mem_wipe(d->message, sizeof d->message);
}
