#include "hub/database.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "base/clock.h"
#include "base/log.h"

#define WAIT_MS 500

/* Tells systemd that the start goes on, and until when not to lose patience: 15 s are some more
 * than an attempt takes. */
static void tell_waiting(const char *explain, char told[256])
{
    if (strcmp(explain, told) != 0)
        log_event(LOG_LEVEL_WARNING, "store.waiting", F_TEXT("detail", explain));
    (void)snprintf(told, 256, "%s", explain);
    (void)sd_notifyf(0, "STATUS=Waiting for the database: %s\nEXTEND_TIMEOUT_USEC=15000000",
                     explain);
}

enum err database_open(struct hub *hub, int signals_fd, char explain[256])
{
    char told[256] = "";
    for (;;) {
        enum err err = store_open(hub->config.store, &hub->store, explain);
        if (err != ERR_UNAVAILABLE) {
            if (told[0] != '\0' && err == ERR_NONE) {
                log_event(LOG_LEVEL_NOTICE, "store.came");
                (void)sd_notify(0, "STATUS=");
            }
            return err;
        }
        tell_waiting(explain, told);
        struct pollfd fds[] = {{.fd = signals_fd, .events = POLLIN},
                               {.fd = signer_death_fd(hub->signer), .events = POLLIN}};
        if (poll(fds, ARRAY_LEN(fds), WAIT_MS) > 0) {
            (void)snprintf(explain, 256, "ended while it waited for the database");
            return ERR_CLOSED;
        }
    }
}

void database_turn(const struct hub *hub)
{
    static bool away;
    static int64_t went_ms;
    char explain[256] = "";
    if (store_is_away(hub->store, explain) == away)
        return;
    away = !away;
    if (away) {
        went_ms = clock_monotonic_ms();
        log_event(LOG_LEVEL_ERROR, "store.away", F_TEXT("detail", explain));
        (void)sd_notifyf(0, "STATUS=The database does not answer: %s", explain);
    } else {
        log_event(LOG_LEVEL_NOTICE, "store.back",
                  F_INTEGER("seconds", (clock_monotonic_ms() - went_ms) / 1000));
        (void)sd_notify(0, "STATUS=");
    }
}
