/* What changed from an entry of the ledger on. The entries say which devices are meant; what is
 * told is how these stand now, so that an act that was overtaken by another is of no concern. Where
 * there is nothing, the question waits: a commit wakes it.
 *
 * A broker that is far behind is told of open cuts first, whatever stands between. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "hub/brokers/internal.h"
#include "hub/policy/policies.h"

#define ROW_TEXT(field, text) ((void)snprintf((field), sizeof(field), "%s", (text)))

/* ---- names, each once ---- */

struct names {
    char names[FEED_CHANGES][NAME_MAX_BYTES + 1];
    size_t n;
    uint16_t slots[FEED_NAME_SLOTS]; /* index into names plus one */
};

/* False where there is no room for one more. */
static bool names_add(struct names *names, struct slice name)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < name.len; i++)
        hash = (hash ^ name.data[i]) * 16777619u;
    size_t at = hash % FEED_NAME_SLOTS;
    for (; names->slots[at] != 0; at = (at + 1) % FEED_NAME_SLOTS)
        if (slice_equal(slice_of_text(names->names[names->slots[at] - 1]), name))
            return true;
    if (names->n == FEED_CHANGES)
        return false;
    memcpy(names->names[names->n], name.data, name.len);
    names->names[names->n][name.len] = '\0';
    names->slots[at] = (uint16_t)++names->n;
    return true;
}

/* ---- from the ledger ---- */

/* Acts that name a device and leave all that brokers know of it as it was. Whatever is not among
 * them is looked at. */
bool feed_act_matters(struct slice act)
{
    static const struct slice others[] = {
        SLICE_LITERAL("device.report"),  SLICE_LITERAL("device.claim"),
        SLICE_LITERAL("device.readmit"), SLICE_LITERAL("device.cut-leg"),
        SLICE_LITERAL("broker.connect"), SLICE_LITERAL("broker.ended"),
    };
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if (slice_equal(act, others[i]))
            return false;
    return true;
}

struct look {
    struct arena *scratch;
    struct slice tenant;
    uint64_t next; /* the first entry that was not taken in */
    struct names names;
    /* open cuts, before it is known which this broker has confirmed */
    struct {
        char device[NAME_MAX_BYTES + 1];
        int64_t entry;
    } cuts[FEED_CUTS];
    size_t cuts_len;
};

static enum err take_entry(void *ctx, uint64_t number, struct slice data)
{
    static const struct slice kind = SLICE_LITERAL("device/");
    struct look *l = ctx;
    struct ledger_entry entry;
    if (number != l->next || ledger_entry_read(data, &entry) != ERR_NONE)
        return ERR_CONFLICT;
    struct slice name = entry.subject;
    bool is_device = slice_starts_with(name, kind) && slice_equal(entry.tenant, l->tenant) &&
                     feed_act_matters(entry.act);
    if (is_device) {
        name = slice_of(name.data + kind.len, name.len - kind.len);
        if (name.len > 0 && name.len <= NAME_MAX_BYTES && !names_add(&l->names, name))
            return ERR_LIMIT; /* full: this entry is for the next page */
    }
    l->next++;
    arena_reset(l->scratch);
    return ERR_NONE;
}

static enum err read_entries(struct broker_ask *ask, struct look *l)
{
    struct broker_feed *feed = ask->feed;
    arena_reset(l->scratch);
    enum err err = ledger_read_entries(feed->brokers->ledger, feed->reader, l->next, false,
                                       FEED_ENTRIES, l->scratch, take_entry, l);
    return err == ERR_LIMIT && l->names.n == FEED_CHANGES ? ERR_NONE : err;
}

/* ---- cuts ahead of their turn ---- */

static enum err take_cut(void *ctx, const void *bytes)
{
    struct look *l = ctx;
    const struct device_cut_row *row = bytes;
    ROW_TEXT(l->cuts[l->cuts_len].device, row->device);
    l->cuts[l->cuts_len++].entry = row->entry;
    return ERR_NONE;
}

/* Those that are not complete, are still ahead of where this broker is, and were not confirmed by
 * it: so none is told twice. */
static enum err read_cuts(struct broker_ask *ask, struct look *l)
{
    const struct store_filter filters[] = {
        {.column = "tenant", .text = slice_of_text(ask->tenant)},
        {.column = "complete", .integer = 0},
    };
    const struct store_query query = {
        .table = &table_device_cut,
        .filters = filters,
        .filters_len = ARRAY_LEN(filters),
        .limit = FEED_CUTS,
    };
    arena_reset(l->scratch);
    enum err err = store_list(ask->feed->reader, &query, l->scratch, take_cut, l);
    for (size_t i = 0; err == ERR_NONE && i < l->cuts_len; i++) {
        struct cut_leg_row leg = {0};
        ROW_TEXT(leg.tenant, ask->tenant);
        ROW_TEXT(leg.device, l->cuts[i].device);
        (void)snprintf(leg.leg, sizeof leg.leg, "broker/%s", ask->broker);
        arena_reset(l->scratch);
        err = store_get(ask->feed->reader, &table_cut_leg, l->scratch, &leg);
        bool confirmed = err == ERR_NONE && leg.entry >= l->cuts[i].entry;
        if (err == ERR_NOT_FOUND)
            err = ERR_NONE;
        if (err == ERR_NONE && !confirmed && (uint64_t)l->cuts[i].entry >= ask->after)
            (void)names_add(&l->names, slice_of_text(l->cuts[i].device));
    }
    return err;
}

/* ---- the answer ---- */

static enum err add_records(struct broker_ask *ask, struct look *l)
{
    struct broker_feed *feed = ask->feed;
    enum err err = feed_begin(ask, l->names.n);
    for (size_t i = 0; err == ERR_NONE && i < l->names.n; i++) {
        struct device_row row = {0};
        ROW_TEXT(row.tenant, ask->tenant);
        ROW_TEXT(row.id, l->names.names[i]);
        arena_reset(feed->scratch);
        err = store_get(feed->reader, &table_device, feed->scratch, &row);
        if (err == ERR_NOT_FOUND) { /* an act of a device that is none, or no more */
            err = ERR_NONE;
            continue;
        }
        if (err != ERR_NONE)
            return err;
        struct feed_device device;
        feed_device_of(&row, &device);
        struct device_password_row password;
        err = feed_password(feed, ask->tenant, device.id, ask->arena, &password);
        if (err == ERR_NONE)
            err = feed_add(feed, ask, &device, &password);
        else if (err == ERR_NOT_FOUND)
            err = feed_add(feed, ask, &device, NULL);
    }
    return err;
}

/* One turn's worth. ERR_NOT_FOUND: nothing so far. */
static enum err look_on(struct broker_ask *ask, struct look *l)
{
    struct checkpoint head = ledger_head(ask->feed->brokers->ledger);
    enum err err = policies_number(ask->feed->reader, ask->feed->scratch, &ask->rules_now);
    if (err != ERR_NONE)
        return err;
    if (head.size - ask->at > FEED_ENTRIES)
        err = read_cuts(ask, l);
    if (err == ERR_NONE)
        err = read_entries(ask, l);
    if (err != ERR_NONE)
        return err;
    ask->at = l->next;
    if (l->names.n > 0)
        err = add_records(ask, l);
    if (err != ERR_NONE)
        return err;
    return ask->count > 0 || ask->rules_now > ask->rules ? ERR_NONE : ERR_NOT_FOUND;
}

/* Who has waited may have been cut off meanwhile, and perhaps by the very act that wakes it: its
 * connection is being closed, and nothing is to be said over it. */
static enum err check_asker(struct broker_ask *ask)
{
    struct store_reader *reader = ask->feed->reader;
    struct device_row row = {0};
    ROW_TEXT(row.tenant, ask->tenant);
    ROW_TEXT(row.id, ask->broker);
    arena_reset(ask->feed->scratch);
    enum err err =
        brokers_check(reader, ask->feed->scratch, ask->tenant, ask->broker, &ask->problem);
    if (err == ERR_NONE)
        err = store_get(reader, &table_device, ask->feed->scratch, &row);
    if (err == ERR_NOT_FOUND) /* it was there when it asked */
        return ERR_INTERNAL;
    if (err == ERR_NONE && row.state != DEVICE_TRUSTED)
        err = problem_set(&ask->problem, 403, "broker-unknown", "", "this broker is cut off");
    return err;
}

static void wait_for_more(struct broker_ask *ask)
{
    struct broker_feed *feed = ask->feed;
    struct broker_ask **last = &feed->waiting;
    while (*last != NULL)
        last = &(*last)->next;
    ask->next = NULL;
    *last = ask;
    feed->waiting_len++;
}

void feed_look(struct broker_ask *ask)
{
    struct broker_feed *feed = ask->feed;
    static _Thread_local struct look look; /* of the loop's thread; for the time of a call */
    memset(&look, 0, sizeof look);
    look.scratch = feed->scratch;
    look.tenant = slice_of_text(ask->tenant);
    look.next = ask->at;
    enum err err = look_on(ask, &look);
    if (err == ERR_NONE)
        err = check_asker(ask);
    if (err == ERR_EXPIRED) /* archived meanwhile */
        err = problem_set(&ask->problem, 409, "position-unknown", "after",
                          "the entries from there on are in the archive; take the whole table");
    bool more = ask->at < ledger_head(feed->brokers->ledger).size;
    bool over = clock_monotonic_ms() >= ask->until_ms || atomic_load(&feed->brokers->draining);
    if (err != ERR_NOT_FOUND)
        feed_end(ask, err);
    else if (more && !atomic_load(&feed->brokers->draining))
        loop_post(feed->loop, &ask->task);
    else if (over)
        feed_end(ask, ERR_NONE);
    else
        wait_for_more(ask);
}
