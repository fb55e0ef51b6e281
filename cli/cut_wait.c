#include "cli/cut_wait.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "cli/cut_legs.h"
#include "cli/cut_ocsp.h"
#include "cli/progress.h"
#include "core/calendar.h"

#define DETAIL_SIZE   128
#define ROOM_FIRST    64
#define POLL_FIRST_MS 20
#define POLL_LAST_MS  500

struct one {
    char *id;
    json_t *cut;        /* as last seen, for --json; NULL: not yet */
    struct asked *ocsp; /* NULL: it is not asked for */
    bool gone;          /* no leg is open any more */
};

/* What is said of one device's certificates. */
struct asked {
    enum cut_ocsp_outcome said;
    int64_t ms;
    char detail[DETAIL_SIZE];
};

struct cut_wait {
    struct cli *cli;
    int64_t started_ms, until_ms, pause_ms; /* monotonic; to the next look */
    struct progress progress;
    struct one *devices;
    size_t len, room;
    bool over, unseen; /* the hub has not told of all of them, this time */
    struct cut_ocsp *ocsp;
    struct asked asked[CUT_OCSP_MAX];
    size_t asked_len;
    struct cut_legs legs;
};

int64_t cut_time(const char *text)
{
    int64_t seconds = 0;
    return calendar_read_rfc3339(slice_of_text(text), &seconds) == ERR_NONE ? seconds : 0;
}

int cut_wait_new(struct cli *cli, int64_t started_ms, struct cut_wait **ret_wait)
{
    struct cut_wait *w = calloc(1, sizeof *w);
    if (w == NULL)
        return cli_fail_memory(cli);
    w->cli = cli;
    w->over = true; /* of nobody */
    w->pause_ms = POLL_FIRST_MS;
    w->started_ms = started_ms;
    *ret_wait = w;
    return CLI_OK;
}

void cut_wait_free(struct cut_wait *w)
{
    if (w == NULL)
        return;
    for (size_t i = 0; i < w->len; i++) {
        free(w->devices[i].id);
        json_decref(w->devices[i].cut);
    }
    free(w->devices);
    cut_legs_free(&w->legs);
    cut_ocsp_free(w->ocsp);
    free(w);
}

int cut_wait_add(struct cut_wait *w, const char *device)
{
    if (w->len == w->room) {
        size_t room = w->room == 0 ? ROOM_FIRST : w->room * 2;
        struct one *devices = reallocarray(w->devices, room, sizeof *devices);
        if (devices == NULL)
            return cli_fail_memory(w->cli);
        w->devices = devices;
        w->room = room;
    }
    struct one *d = &w->devices[w->len];
    *d = (struct one){.id = strdup(device)};
    if (d->id == NULL)
        return cli_fail_memory(w->cli);
    w->len++;
    return CLI_OK;
}

bool cut_wait_is_over(const struct cut_wait *w)
{
    return w->over;
}

/* False where there is no time left. At first it is a matter of milliseconds; later of whoever is
 * away. */
static bool pause_a_while(struct cut_wait *w)
{
    int64_t left = w->until_ms - clock_monotonic_ms();
    if (left <= 0)
        return false;
    int64_t ms = w->pause_ms < left ? w->pause_ms : left;
    const struct timespec pause = {.tv_sec = (time_t)(ms / 1000),
                                   .tv_nsec = (long)(ms % 1000) * 1000000};
    (void)nanosleep(&pause, NULL);
    w->pause_ms = w->pause_ms * 3 / 2 < POLL_LAST_MS ? w->pause_ms * 3 / 2 : POLL_LAST_MS;
    return true;
}

static bool is_word(const json_t *object, const char *name, const char *word)
{
    return strcmp(json_text_of(object, name), word) == 0;
}

static bool is_shown(const struct cut_wait *w, const struct one *d)
{
    return w->len > 1 && (size_t)(d - w->devices) < CUT_SHOWN_MAX;
}

/* ---- what others are told ---- */

/* They are spread evenly among all. */
static size_t asked_device(const struct cut_wait *w, size_t i)
{
    return i * w->len / w->asked_len;
}

static int ask_ocsp(struct cut_wait *w, const struct one *d)
{
    struct asked *a = d->ocsp;
    if (a->said == CUT_OCSP_NOT_YET) {
        int code = cut_ocsp_ask(w->ocsp, d->id, &a->said, a->detail);
        if (code != CLI_OK)
            return code;
        a->ms = clock_monotonic_ms() - w->started_ms;
        if (a->said == CUT_OCSP_REVOKED && is_shown(w, d))
            cut_leg_tell_one(w->cli, d->id, CUT_LEG_OCSP, a->ms, a->detail);
    }
    if (a->said == CUT_OCSP_NO_NEED)
        return CLI_OK;
    bool revoked = a->said == CUT_OCSP_REVOKED;
    w->over = w->over && revoked;
    enum err err = cut_legs_add(&w->legs, CUT_LEG_OCSP, revoked ? a->ms : -1, a->detail, false);
    return err == ERR_NONE ? CLI_OK : cli_fail_memory(w->cli);
}

static int ask_all_ocsp(struct cut_wait *w)
{
    int code = CLI_OK;
    for (size_t i = 0; code == CLI_OK && i < w->asked_len; i++)
        code = ask_ocsp(w, &w->devices[asked_device(w, i)]);
    return code;
}

static int begin_ocsp(struct cut_wait *w)
{
    int code = cut_ocsp_new(w->cli, &w->ocsp);
    if (code != CLI_OK)
        return code;
    if (!cut_ocsp_is_served(w->ocsp)) {
        cli_say(w->cli, "  %-16s not served: the hub has no listen-status", CUT_LEG_OCSP);
        return CLI_OK;
    }
    w->asked_len = w->len < CUT_OCSP_MAX ? w->len : CUT_OCSP_MAX;
    for (size_t i = 0; i < w->asked_len; i++) {
        w->asked[i].said = CUT_OCSP_NOT_YET;
        w->devices[asked_device(w, i)].ocsp = &w->asked[i];
    }
    if (w->asked_len < w->len)
        cli_say(w->cli, "  %-16s %zu of %zu devices are asked for", CUT_LEG_OCSP, w->asked_len,
                w->len);
    return CLI_OK;
}

/* ---- the legs that the hub knows of ---- */

static int count_legs(struct cut_wait *w, struct one *d, const json_t *cut)
{
    size_t i;
    const json_t *leg;
    d->gone = !is_word(cut, "status", "open");
    json_array_foreach(json_object_get(cut, "legs"), i, leg)
    {
        const char *name = json_text_of(leg, "leg"), *detail = json_text_of(leg, "detail");
        bool confirmed = is_word(leg, "status", "confirmed");
        int64_t ms = confirmed ? json_number_of(leg, "latency_ms") : -1;
        if (cut_legs_add(&w->legs, name, ms, detail, d->gone) != ERR_NONE)
            return cli_fail_memory(w->cli);
        if (d->gone && confirmed && is_shown(w, d))
            cut_leg_tell_one(w->cli, d->id, name, ms, detail);
    }
    return CLI_OK;
}

/* One look at a device; one that was released meanwhile is waited for no more. */
static int look_at(struct cut_wait *w, struct one *d)
{
    char target[HUB_TARGET_MAX];
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    (void)snprintf(target, sizeof target, "/v1/devices/%s/cut", d->id);
    int code = hub_ask(w->cli, "GET", target, NULL, slice_of(NULL, 0), &answer);
    if (code != CLI_OK)
        return code;
    if (answer.status >= 500) { /* it is busy: the next look tells */
        w->over = false;
        w->unseen = true;
        return CLI_OK;
    }
    d->gone = answer.status == 404;
    if (answer.status >= 400)
        return d->gone ? CLI_OK : cli_fail_problem(w->cli, &answer.problem);
    code = count_legs(w, d, answer.json);
    w->over = w->over && d->gone;
    if (w->cli->json) { /* where a million go, only one who wants each has the room */
        json_decref(d->cut);
        d->cut = json_incref(answer.json);
    }
    return code;
}

static int look(struct cut_wait *w)
{
    uint64_t due = 0, confirmed = 0;
    w->over = true;
    w->unseen = false;
    cut_legs_begin(&w->legs);
    int code = ask_all_ocsp(w);
    for (size_t i = 0; code == CLI_OK && i < w->len; i++) {
        if (!w->devices[i].gone)
            code = look_at(w, &w->devices[i]);
    }
    if (code == CLI_OK && !w->unseen)
        cut_legs_tell(&w->legs, w->cli, false);
    cut_legs_count(&w->legs, &due, &confirmed);
    w->progress.total = due;
    progress_set(&w->progress, confirmed);
    return code;
}

int cut_wait_run(struct cut_wait *w, int64_t seconds)
{
    int code = w->len == 0 ? CLI_OK : begin_ocsp(w);
    w->until_ms = clock_monotonic_ms() + seconds * 1000;
    progress_start(&w->progress, w->cli, "confirmations", 0, 0);
    do
        code = code == CLI_OK ? look(w) : code;
    while (code == CLI_OK && !w->over && pause_a_while(w));
    progress_end(&w->progress);
    return code;
}

/* ---- the end ---- */

static int add_ocsp(const struct asked *a, json_t *legs)
{
    if (a == NULL || a->said == CUT_OCSP_NO_NEED)
        return 0;
    bool revoked = a->said == CUT_OCSP_REVOKED;
    json_t *leg = json_pack("{s:s, s:s, s:s}", "leg", CUT_LEG_OCSP, "status",
                            revoked ? "confirmed" : "open", "detail", a->detail);
    int failed = revoked ? json_object_set_new(leg, "latency_ms", json_integer(a->ms)) : 0;
    return failed | json_array_insert_new(legs, 0, leg);
}

/* What the hub says of this cut, and what it tells others. One that was released since has none. */
static json_t *cut_json(const struct one *d)
{
    json_t *cut =
        d->cut == NULL ? json_pack("{s:s, s:[]}", "device", d->id, "legs") : json_copy(d->cut);
    json_t *legs = json_array();
    int failed = cut == NULL || legs == NULL;
    if (!failed)
        failed = json_array_extend(legs, json_object_get(cut, "legs")) | add_ocsp(d->ocsp, legs);
    failed |= json_object_set_new(cut, "legs", legs);
    if (!failed)
        return cut;
    json_decref(cut);
    return NULL;
}

int cut_wait_print(const struct cut_wait *w, json_t *document)
{
    json_t *cuts = json_array();
    int failed = json_object_set_new(document, "legs", cut_legs_json(&w->legs));
    for (size_t i = 0; !failed && i < w->len; i++)
        failed = json_array_append_new(cuts, cut_json(&w->devices[i]));
    failed |= json_object_set_new(document, "cuts", cuts);
    if (w->ocsp != NULL && cut_ocsp_is_served(w->ocsp))
        failed |=
            json_object_set_new(document, "ocsp_asked", json_integer((json_int_t)w->asked_len));
    return failed ? cli_fail_memory(w->cli) : CLI_OK;
}

int cut_wait_fail(struct cut_wait *w)
{
    char open[512] = "";
    cut_legs_tell(&w->legs, w->cli, true);
    cut_legs_open(&w->legs, open, sizeof open);
    return cli_fail(w->cli, CLI_UNSEEN, "unconfirmed",
                    "the cut is durable, and not seen yet by %s. Hubs and brokers are asked for "
                    "ever: `holdfast device cuts --open` tells",
                    *open == '\0' ? "all" : open);
}
