#include "hub/follower.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "hub/cutter.h"
#include "hub/membership.h"
#include "hub/served_bundle.h"

#define TURN_ENTRIES 1000 /* read in one turn of the loop, which serves devices besides */
#define TURN_ARENA   ((size_t)32 << 20)

static struct {
    struct hub *hub;
    struct loop_task task;
    atomic_bool pending, lost;
    uint64_t cursor;                 /* the next entry to be read; loop 0's */
    atomic_int_least64_t failing_ms; /* since when it can't read; 0: it can */
} follower;

/* ---- what an entry asks for ---- */

/* Devices that were cut off elsewhere, as this turn finds them; closed together. */
static struct {
    char tenant[NAME_MAX_BYTES + 1];
    struct cutter_target targets[IDENTITY_CUT_MAX];
    char names[IDENTITY_CUT_MAX][NAME_MAX_BYTES + 1];
    size_t n;
} cuts;

static void closed(void *ctx, size_t connections, int64_t at_us)
{
    (void)ctx;
    (void)at_us;
    if (connections > 0)
        log_event(LOG_LEVEL_NOTICE, "device.cut_elsewhere",
                  F_INTEGER("connections_closed", (int64_t)connections));
}

static void close_cuts(struct hub *hub)
{
    if (cuts.n > 0)
        cutter_close(&hub->loops[0], cuts.tenant, cuts.targets, cuts.n, closed, NULL);
    cuts.n = 0;
}

static void cut(struct hub *hub, const struct ledger_entry *entry, uint64_t number)
{
    static const struct slice kind = SLICE_LITERAL("device/");
    struct slice id = entry->subject;
    if (!slice_starts_with(id, kind))
        return;
    id = slice_of(id.data + kind.len, id.len - kind.len);
    if (id.len > NAME_MAX_BYTES || entry->tenant.len > NAME_MAX_BYTES)
        return; /* no name of a device */
    if (cuts.n == IDENTITY_CUT_MAX ||
        (cuts.n > 0 && !slice_equal(entry->tenant, slice_of_text(cuts.tenant))))
        close_cuts(hub);
    char *name = cuts.names[cuts.n];
    memcpy(name, id.data, id.len);
    name[id.len] = '\0';
    memcpy(cuts.tenant, entry->tenant.data, entry->tenant.len);
    cuts.tenant[entry->tenant.len] = '\0';
    cuts.targets[cuts.n++] = (struct cutter_target){.device = name, .entry = (int64_t)number};
}

static void take_bundle(struct hub *hub, const struct ledger_entry *entry, uint64_t number)
{
    (void)number;
    (void)entry;
    enum err err = served_bundle_read(hub, hub->loops[0].reader);
    if (err != ERR_NONE)
        log_event(LOG_LEVEL_ERROR, "trust_bundle.unread", F_ERR(err));
}

static void take_hubs(struct hub *hub, const struct ledger_entry *entry, uint64_t number)
{
    (void)number;
    (void)entry;
    char explain[256] = "";
    enum err err = membership_trust(hub, hub->loops[0].reader, explain);
    if (err != ERR_NONE)
        log_event(LOG_LEVEL_ERROR, "hubs.unread", F_ERR(err), F_TEXT("detail", explain));
}

static void take_policy(struct hub *hub, const struct ledger_entry *entry, uint64_t number)
{
    (void)number;
    (void)entry;
    char explain[256] = "";
    enum err err = policies_reload(hub->policies, hub->loops[0].reader, explain);
    if (err != ERR_NONE)
        log_event(LOG_LEVEL_ERROR, "policy.unread", F_ERR(err), F_TEXT("detail", explain));
}

static void forget(struct hub *hub, const struct ledger_entry *entry, uint64_t number)
{
    (void)number;
    static const struct slice kind = SLICE_LITERAL("subject/");
    char id[SUBJECT_ID_SIZE] = "";
    struct slice s = entry->subject;
    if (slice_starts_with(s, kind) && s.len - kind.len < sizeof id)
        memcpy(id, s.data + kind.len, s.len - kind.len);
    enum err err = subjects_erased_elsewhere(hub->subjects, id);
    if (err != ERR_NONE) /* the next start destroys it */
        log_event(LOG_LEVEL_ERROR, "subject.key_stays", F_TEXT("subject", id), F_ERR(err));
}

static const struct {
    struct slice act;
    void (*react)(struct hub *hub, const struct ledger_entry *entry, uint64_t number);
} reactions[] = {
    {SLICE_LITERAL("device.revoke"), cut},
    {SLICE_LITERAL("device.retire"), cut},
    {SLICE_LITERAL("device.quarantine"), cut},
    {SLICE_LITERAL("subject.erase"), forget},
    {SLICE_LITERAL("trust-bundle.replace"), take_bundle},
    {SLICE_LITERAL("hub.join"), take_hubs},
    {SLICE_LITERAL("hub.certify"), take_hubs},
    {SLICE_LITERAL("hub.leave"), take_hubs},
    {SLICE_LITERAL("policy.apply"), take_policy},
};

/* ---- the cursor ---- */

struct turn {
    uint64_t next;
    struct ledger_entry found[TURN_ENTRIES];
    size_t reaction[TURN_ENTRIES];
    uint64_t number[TURN_ENTRIES];
    size_t n;
};

static enum err take_entry(void *ctx, uint64_t number, struct slice data)
{
    struct turn *t = ctx;
    struct ledger_entry entry;
    if (number != t->next)
        return ERR_CONFLICT;
    t->next++;
    if (ledger_entry_read(data, &entry) != ERR_NONE)
        return ERR_CONFLICT;
    for (size_t i = 0; i < ARRAY_LEN(reactions); i++) {
        if (!slice_equal(entry.act, reactions[i].act))
            continue;
        t->found[t->n] = entry;
        t->number[t->n] = number;
        t->reaction[t->n++] = i;
        break;
    }
    return ERR_NONE;
}

/* The reader is asked for nothing else while it lists: reactions come after. */
static enum err read_on(struct hub *hub, struct arena *arena)
{
    struct store_reader *reader = hub->loops[0].reader;
    struct turn *t = arena_alloc(arena, sizeof *t);
    if (t == NULL)
        return ERR_NO_MEMORY;
    t->next = follower.cursor;
    enum err err = ledger_follow(hub->ledger, reader, arena);
    if (err == ERR_NONE)
        err = ledger_read_entries(hub->ledger, reader, follower.cursor, false, TURN_ENTRIES, arena,
                                  take_entry, t);
    if (err != ERR_NONE)
        return err;
    for (size_t i = 0; i < t->n; i++)
        reactions[t->reaction[i]].react(hub, &t->found[i], t->number[i]);
    close_cuts(hub);
    follower.cursor = t->next;
    return ERR_NONE;
}

static void run(struct loop_task *task)
{
    (void)task;
    atomic_store(&follower.pending, false);
    struct arena *arena = arena_new(TURN_ARENA);
    enum err err = arena == NULL ? ERR_NO_MEMORY : read_on(follower.hub, arena);
    arena_free(arena);
    if (err == ERR_CONFLICT) {
        log_event(LOG_LEVEL_ERROR, "ledger.set_back",
                  F_INTEGER("size", (int64_t)ledger_head(follower.hub->ledger).size),
                  F_TEXT("detail", "the database was set back or edited under this hub"));
        atomic_store(&follower.lost, true);
        return;
    }
    if (err != ERR_NONE) { /* follower_turn() tries again, and the lease runs */
        int64_t none = 0;
        (void)atomic_compare_exchange_strong(&follower.failing_ms, &none, clock_monotonic_ms());
        return;
    }
    atomic_store(&follower.failing_ms, 0);
    if (follower.cursor < ledger_head(follower.hub->ledger).size)
        follower_wake();
}

void follower_turn(void)
{
    if (atomic_load(&follower.failing_ms) != 0)
        follower_wake();
}

void follower_wake(void)
{
    if (!atomic_exchange(&follower.pending, true))
        loop_post(follower.hub->loops[0].loop, &follower.task);
}

static void changed(void *ctx)
{
    (void)ctx;
    follower_wake();
}

void follower_init(struct hub *hub)
{
    follower.hub = hub;
    follower.task.run = run;
    follower.cursor = ledger_head(hub->ledger).size;
    store_set_watch(hub->store, changed, NULL);
}

bool follower_is_behind(const struct hub *hub)
{
    int64_t seen = store_seen_ms(hub->store), failing = atomic_load(&follower.failing_ms);
    if (failing != 0 && failing < seen)
        seen = failing;
    return seen != INT64_MAX && clock_monotonic_ms() - seen > hub->config.lease * 1000;
}

bool follower_is_lost(void)
{
    return atomic_load(&follower.lost);
}
