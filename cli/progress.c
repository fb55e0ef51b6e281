#include "cli/progress.h"

#include <unistd.h>

#include "base/clock.h"
#include "cli/when.h"

#define DRAW_MS  200
#define SPEAK_MS 1000 /* before that a rate says nothing */

static bool drawn; /* there is one terminal, and so one line */

void progress_hide(void)
{
    if (drawn)
        (void)fputs("\r\x1b[K", stderr);
    drawn = false;
}

void progress_start(struct progress *p, const struct cli *cli, const char *what, uint64_t first,
                    uint64_t total)
{
    *p = (struct progress){
        .shown = !cli->quiet && !cli->json && isatty(STDERR_FILENO) == 1,
        .what = what,
        .total = total,
        .first = first,
        .started_ms = clock_monotonic_ms(),
    };
}

void progress_set(struct progress *p, uint64_t n)
{
    int64_t now = clock_monotonic_ms(), passed = now - p->started_ms;
    if (!p->shown || now - p->drawn_ms < DRAW_MS)
        return;
    p->drawn_ms = now;
    drawn = true;
    char count[WHEN_TEXT_MAX], total[WHEN_TEXT_MAX], rate_text[WHEN_TEXT_MAX], left[WHEN_TEXT_MAX];
    when_count(n, count);
    (void)fprintf(stderr, "\r\x1b[K%s", count);
    if (p->total != 0) {
        when_count(p->total, total);
        (void)fprintf(stderr, " of %s", total);
    }
    (void)fprintf(stderr, " %s", p->what);
    if (p->total != 0)
        (void)fprintf(stderr, ", %u %%", (unsigned)(n * 100 / p->total));
    uint64_t done = n - p->first;
    if (passed >= SPEAK_MS && done > 0) {
        uint64_t rate = done * 1000 / (uint64_t)passed;
        when_count(rate, rate_text);
        (void)fprintf(stderr, ", %s %s/s", rate_text, p->what);
        if (p->total > n && rate > 0) {
            when_about((int64_t)((p->total - n) / rate) + 1, left);
            (void)fprintf(stderr, ", %s left", left);
        }
    }
    (void)fflush(stderr);
}

void progress_end(struct progress *p)
{
    p->shown = false;
    progress_hide();
}
