#include "cli/cut_wait.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "cli/cut_ocsp.h"
#include "cli/progress.h"
#include "core/calendar.h"

#define OCSP          "ocsp" /* the leg that this command looks at itself */
#define LEGS_MAX      289    /* 288 as the contract has it, and that */
#define LEG_TEXT_MAX  72
#define DETAIL_MAX    200
#define POLL_FIRST_MS 20
#define POLL_LAST_MS  500

struct leg {
    char name[LEG_TEXT_MAX + 1], detail[DETAIL_MAX + 1];
    uint64_t due, confirmed;
    int64_t slowest_ms;
    bool told;
};

struct cut_wait {
    struct cli *cli;
    int64_t until_ms, pause_ms; /* monotonic; to the next look */
    struct progress progress;
    json_t *cuts[CUT_DEVICES_MAX]; /* of named devices, as last seen; NULL: not yet */
    size_t devices;
    bool named, over;
    struct leg legs[LEGS_MAX];
    size_t legs_len;
    struct cut_ocsp *ocsp; /* NULL: not asked */
    enum cut_ocsp_outcome said[CUT_DEVICES_MAX];
    int64_t started_ms;
};

int64_t cut_time(const char *text)
{
    int64_t seconds = 0;
    return calendar_read_rfc3339(slice_of_text(text), &seconds) == ERR_NONE ? seconds : 0;
}

int cut_wait_new(struct cli *cli, int64_t started_ms, int64_t seconds, struct cut_wait **ret_wait)
{
    struct cut_wait *w = calloc(1, sizeof *w);
    if (w == NULL)
        return cli_fail_memory(cli);
    w->cli = cli;
    w->over = true; /* of nobody */
    w->until_ms = clock_monotonic_ms() + seconds * 1000;
    w->pause_ms = POLL_FIRST_MS;
    w->started_ms = started_ms;
    *ret_wait = w;
    return CLI_OK;
}

void cut_wait_free(struct cut_wait *w)
{
    if (w == NULL)
        return;
    for (size_t i = 0; i < CUT_DEVICES_MAX; i++)
        json_decref(w->cuts[i]);
    cut_ocsp_free(w->ocsp);
    free(w);
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

/* ---- legs ---- */

static bool is_word(const json_t *object, const char *name, const char *word)
{
    return strcmp(json_text_of(object, name), word) == 0;
}

static struct leg *find_leg(struct cut_wait *w, const char *name)
{
    for (size_t i = 0; i < w->legs_len; i++) {
        if (strcmp(w->legs[i].name, name) == 0)
            return &w->legs[i];
    }
    if (w->legs_len == LEGS_MAX)
        return NULL;
    struct leg *leg = &w->legs[w->legs_len++];
    (void)snprintf(leg->name, sizeof leg->name, "%s", name);
    return leg;
}

static void forget_counts(struct cut_wait *w)
{
    for (size_t i = 0; i < w->legs_len; i++) {
        if (strcmp(w->legs[i].name, OCSP) == 0)
            continue;
        w->legs[i].due = w->legs[i].confirmed = 0;
        w->legs[i].slowest_ms = 0;
    }
}

static void add_legs(struct cut_wait *w, const json_t *cut)
{
    size_t i;
    const json_t *l;
    json_array_foreach(json_object_get(cut, "legs"), i, l)
    {
        struct leg *leg = find_leg(w, json_text_of(l, "leg"));
        if (leg == NULL)
            continue;
        leg->due++;
        if (!is_word(l, "status", "confirmed"))
            continue;
        int64_t ms = json_number_of(l, "latency_ms");
        leg->confirmed++;
        leg->slowest_ms = ms > leg->slowest_ms ? ms : leg->slowest_ms;
        (void)snprintf(leg->detail, sizeof leg->detail, "%s", json_text_of(l, "detail"));
    }
}

/* ---- what others are told ---- */

static int ask_ocsp(struct cut_wait *w, const json_t *devices)
{
    struct leg *leg = find_leg(w, OCSP);
    int code = CLI_OK;
    if (leg == NULL || w->ocsp == NULL)
        return CLI_OK;
    leg->due = leg->confirmed = 0;
    for (size_t i = 0; code == CLI_OK && i < w->devices; i++) {
        char detail[128] = "";
        bool known = w->said[i] == CUT_OCSP_REVOKED || w->said[i] == CUT_OCSP_NO_NEED;
        if (!known)
            code = cut_ocsp_ask(w->ocsp, json_text_of(json_array_get(devices, i), "id"),
                                &w->said[i], detail);
        bool revoked = w->said[i] == CUT_OCSP_REVOKED;
        leg->due += revoked || w->said[i] == CUT_OCSP_NOT_YET;
        leg->confirmed += revoked;
        if (!known && detail[0] != '\0')
            (void)snprintf(leg->detail, sizeof leg->detail, "%s", detail);
        if (!known && revoked)
            leg->slowest_ms = clock_monotonic_ms() - w->started_ms;
    }
    w->over = w->over && leg->confirmed == leg->due;
    return code;
}

static void tell_ocsp(const struct cut_wait *w)
{
    bool served = false;
    for (size_t i = 0; i < w->devices; i++)
        served = served || w->said[i] != CUT_OCSP_NOT_SERVED;
    if (!served)
        cli_say(w->cli, "  %-16s not served: the hub has no listen-status", OCSP);
}

int cut_wait_ocsp(struct cut_wait *w, const json_t *devices)
{
    int code = cut_ocsp_new(w->cli, &w->ocsp);
    w->devices = json_array_size(devices);
    if (code == CLI_OK)
        code = ask_ocsp(w, devices);
    if (code == CLI_OK)
        tell_ocsp(w);
    return code;
}

/* ---- devices that are named ---- */

static void tell_legs(struct cut_wait *w)
{
    for (size_t i = 0; i < w->legs_len; i++) {
        struct leg *leg = &w->legs[i];
        if (leg->told || leg->due == 0 || leg->confirmed < leg->due)
            continue;
        leg->told = true;
        progress_hide();
        const char *what = strcmp(leg->name, OCSP) == 0 ? "revoked" : "gone";
        if (leg->due == 1)
            cli_say(w->cli, "  %-16s %s after %" PRId64 " ms%s%s", leg->name, what, leg->slowest_ms,
                    leg->detail[0] == '\0' ? "" : "; ", leg->detail);
        else
            cli_say(w->cli, "  %-16s all %" PRIu64 " %s within %" PRId64 " ms", leg->name, leg->due,
                    what, leg->slowest_ms);
    }
}

/* One look at a device; one that was released meanwhile is waited for no more. */
static int look_at(struct cut_wait *w, const char *id, json_t **cut)
{
    char target[HUB_TARGET_MAX];
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    (void)snprintf(target, sizeof target, "/v1/devices/%s/cut", id);
    int code = hub_ask(w->cli, "GET", target, NULL, slice_of(NULL, 0), &answer);
    if (code != CLI_OK)
        return code;
    if (answer.status == 404) {
        json_decref(*cut);
        *cut = json_pack("{s:s}", "status", "complete");
        return *cut == NULL ? cli_fail_memory(w->cli) : CLI_OK;
    }
    if (answer.status >= 500) /* it is busy: the next look tells */
        return CLI_OK;
    if (answer.status >= 400)
        return cli_fail_problem(w->cli, &answer.problem);
    json_decref(*cut);
    *cut = json_incref(answer.json);
    return CLI_OK;
}

static int look_at_named(struct cut_wait *w, const json_t *devices)
{
    int code = CLI_OK;
    uint64_t due = 0, confirmed = 0;
    w->over = true;
    forget_counts(w);
    for (size_t i = 0; code == CLI_OK && i < w->devices; i++) {
        if (w->cuts[i] == NULL || is_word(w->cuts[i], "status", "open"))
            code = look_at(w, json_text_of(json_array_get(devices, i), "id"), &w->cuts[i]);
        w->over = w->over && w->cuts[i] != NULL && !is_word(w->cuts[i], "status", "open");
        add_legs(w, w->cuts[i]);
    }
    if (code == CLI_OK)
        code = ask_ocsp(w, devices);
    for (size_t i = 0; i < w->legs_len; i++) {
        due += w->legs[i].due;
        confirmed += w->legs[i].confirmed;
    }
    if (code == CLI_OK)
        tell_legs(w);
    w->progress.total = due;
    progress_set(&w->progress, confirmed);
    return code;
}

int cut_wait_named(struct cut_wait *w, const json_t *devices)
{
    int code = CLI_OK;
    w->named = true;
    w->devices = json_array_size(devices);
    if (w->devices > CUT_DEVICES_MAX)
        w->devices = CUT_DEVICES_MAX;
    progress_start(&w->progress, w->cli, "confirmations", 0, 0);
    do
        code = look_at_named(w, devices);
    while (code == CLI_OK && !w->over && pause_a_while(w));
    progress_end(&w->progress);
    return code;
}

/* ---- all that certain entries have cut ---- */

/* From `after` on: the first page with cuts of these entries that are open still. */
static int find_open(struct cut_wait *w, int64_t first, int64_t last, char after[65])
{
    for (;;) {
        char target[HUB_TARGET_MAX];
        struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
        (void)snprintf(target, sizeof target, "/v1/cuts?status=open&limit=100%s%s",
                       *after == '\0' ? "" : "&after=", after);
        int code = hub_get(w->cli, target, &answer);
        if (code != CLI_OK)
            return code;
        size_t i;
        const json_t *cut;
        forget_counts(w);
        w->over = true;
        json_array_foreach(json_object_get(answer.json, "cuts"), i, cut)
        {
            int64_t entry = json_number_of(cut, "entry");
            if (entry < first || entry > last)
                continue;
            w->over = false;
            add_legs(w, cut);
        }
        const char *next = json_text_of(answer.json, "next");
        if (!w->over || *next == '\0')
            return CLI_OK;
        (void)snprintf(after, 65, "%.64s", next);
    }
}

int cut_wait_entries(struct cut_wait *w, int64_t first, int64_t last)
{
    char after[65] = "";
    int code;
    do
        code = find_open(w, first, last, after);
    while (code == CLI_OK && !w->over && pause_a_while(w));
    if (code == CLI_OK && w->over)
        cli_say(w->cli, "Every leg has seen them gone.");
    return code;
}

/* ---- the end ---- */

json_t *cut_wait_legs(const struct cut_wait *w)
{
    json_t *legs = json_array();
    for (size_t i = 0; legs != NULL && i < w->legs_len; i++) {
        const struct leg *leg = &w->legs[i];
        bool open = leg->confirmed < leg->due;
        if (leg->due == 0)
            continue;
        json_t *one =
            json_pack("{s:s, s:s}", "leg", leg->name, "status", open ? "open" : "confirmed");
        if (w->named) {
            (void)json_object_set_new(one, "devices", json_integer((json_int_t)leg->due));
            (void)json_object_set_new(one, "confirmed", json_integer((json_int_t)leg->confirmed));
        }
        if (w->named && leg->confirmed > 0)
            (void)json_object_set_new(one, "latency_ms", json_integer(leg->slowest_ms));
        if (w->named && leg->due == 1 && leg->detail[0] != '\0')
            (void)json_object_set_new(one, "detail", json_string(leg->detail));
        (void)json_array_append_new(legs, one);
    }
    return legs;
}

int cut_wait_fail(const struct cut_wait *w)
{
    char open[512] = "";
    struct writer names = writer_over(open, sizeof open - 1);
    for (size_t i = 0; i < w->legs_len; i++) {
        const struct leg *leg = &w->legs[i];
        if (leg->confirmed >= leg->due || names.len + sizeof *leg > sizeof open)
            continue;
        writer_text(&names, names.len > 0 ? ", " : "");
        writer_text(&names, leg->name);
        if (strcmp(leg->name, OCSP) == 0 && leg->detail[0] != '\0') {
            writer_text(&names, " (");
            writer_text(&names, leg->detail);
            writer_text(&names, ")");
        }
    }
    open[names.len] = '\0';
    return cli_fail(w->cli, CLI_UNSEEN, "unconfirmed",
                    "the cut is durable, and not seen yet by %s. Hubs and brokers are asked for "
                    "ever: `holdfast device cuts --open` tells",
                    open);
}
