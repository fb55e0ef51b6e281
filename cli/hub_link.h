/* Requests to the hub, over its Unix socket. */
#ifndef CLI_HUB_LINK_H
#define CLI_HUB_LINK_H

#include "base/json.h"
#include "cli/cli.h"

#define HUB_TARGET_MAX 512 /* bytes of a request's path and query */

struct hub_answer {
    unsigned status;
    struct slice bytes; /* valid until the next request */
    json_t *json;       /* where it is a JSON object; the caller json_decref()s it */
    char code[65];
    struct problem problem; /* where status >= 400; its code points to the one above */
};

/* For CLEANUP(). */
void hub_answer_free(struct hub_answer *answer);
/* The same for one that holds a secret: the texts of its members are wiped. */
void hub_answer_wipe(struct hub_answer *answer);

/* Sends `body` (NULL data: none) and waits. CLI_OK for every answer, also one that is a problem;
 * otherwise the hub cannot be reached, and that has been told. */
int hub_ask(struct cli *cli, const char *method, const char *target, const char *content_type,
            struct slice body, struct hub_answer *ret_answer);
/* The same with a body in JSON, and problems told and turned into exits. */
int hub_call(struct cli *cli, const char *method, const char *target, struct slice body,
             struct hub_answer *ret_answer);
static inline int hub_get(struct cli *cli, const char *target, struct hub_answer *ret_answer)
{
    return hub_call(cli, "GET", target, slice_of(NULL, 0), ret_answer);
}
/* Where the hub is not there, nothing is told: for what has another way to its answer. */
bool hub_get_quietly(struct cli *cli, const char *target, struct hub_answer *ret_answer);
/* Reads an answer's bytes into code, problem and json. */
void hub_answer_read(struct hub_answer *answer);

/* A kept connection is closed and its memory given back. */
void hub_link_close(struct cli *cli);

/* Members of an answer; "" and 0 where absent or of another type. Never NULL. */
const char *json_text_of(const json_t *object, const char *name);
/* The name of a device's or manifest's owner; "(~7)" where nobody can read it any more. */
const char *json_owner_of(const json_t *object, char buffer[32]);
int64_t json_number_of(const json_t *object, const char *name);
/* NULL where absent. */
const char *json_text_or_null(const json_t *object, const char *name);
/* A time in RFC 3339 as seconds since 1970; 0 where absent. */
int64_t json_time_of(const json_t *object, const char *name);

/* Prints one JSON document. */
int json_print(struct cli *cli, const json_t *document);
/* With --json, "{}": for what has nothing to say but that it was done. */
int json_print_nothing(struct cli *cli);

#endif
