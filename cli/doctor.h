/* `holdfast doctor`: looks at a hub from outside, and says of each thing whether it is right, what
 * it saw, and what to do next. What it cannot see is unknown, and unknown is never right. */
#ifndef CLI_DOCTOR_H
#define CLI_DOCTOR_H

#include <sys/types.h>

#include "cli/hub_link.h"
#include "cli/settings.h"
#include "core/trust_bundle.h"

#define DOCTOR_FINDINGS_MAX 48

enum doctor_result { DOCTOR_PASS, DOCTOR_WARN, DOCTOR_FAIL, DOCTOR_UNKNOWN, DOCTOR_RESULT_COUNT };

struct doctor_finding {
    enum doctor_result result;
    const char *check;
    char saw[320];
    char next[320]; /* what to do; empty where nothing is */
};

struct doctor {
    struct cli *cli;
    bool has_settings;
    struct settings settings; /* empty where there is no configuration */
    char state[CONFIG_TEXT_MAX];
    char socket[CONFIG_TEXT_MAX];
    int64_t now;
    json_t *hub;   /* the answer of /v1/hub; NULL where it does not answer */
    pid_t hub_pid; /* 0: not known */
    uid_t hub_uid;
    struct doctor_finding findings[DOCTOR_FINDINGS_MAX];
    size_t findings_len;
};

/* Notes a finding; what to do next is added by doctor_next(). */
void doctor_saw(struct doctor *d, enum doctor_result result, const char *check, const char *format,
                ...) PRINTF_LIKE(4, 5);
void doctor_next(struct doctor *d, const char *format, ...) PRINTF_LIKE(2, 3);

/* Where the database is. */
void doctor_database(const struct doctor *d, char ret_path[CONFIG_TEXT_MAX]);

/* The trust bundle in the state folder; its roots live until the next call. False where there is
 * none that can be read. */
bool doctor_bundle(const struct doctor *d, struct trust_bundle *ret_bundle);

/* Each notes one finding or more. */
void doctor_check_config(struct doctor *d);
void doctor_check_state(struct doctor *d);
void doctor_check_disk(struct doctor *d);
void doctor_check_clock(struct doctor *d);
void doctor_check_authority(struct doctor *d);
void doctor_check_hub(struct doctor *d); /* fills in hub, hub_pid and hub_uid */
void doctor_check_processes(struct doctor *d);
void doctor_check_listeners(struct doctor *d);
void doctor_check_ledger(struct doctor *d);
void doctor_check_bundle(struct doctor *d);
/* Of a machine with a broker on it, in place of all others: Mosquitto's configuration. */
void doctor_check_broker(struct doctor *d);

#endif
