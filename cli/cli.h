/* The holdfast command: what every part of it shares. Nouns are files, verbs are rows of their
 * tables (cli/command.h); help, completion and the parsing of arguments come from those tables. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stdio.h>

#include "base/problem.h"
#include "cli/command.h"

/* What the program ends with: part of its contract, listed in holdfast(1). */
enum cli_exit {
    CLI_OK = 0,
    CLI_REFUSED = 1,       /* the hub or a rule said no: nothing was changed */
    CLI_USAGE = 2,         /* the command line is not as the manual has it */
    CLI_UNREACHABLE = 3,   /* the hub does not answer */
    CLI_NOT_FOUND = 4,     /* there is no such thing */
    CLI_UNVERIFIED = 5,    /* signatures or hashes do not hold */
    CLI_FILE = 6,          /* a file cannot be read or written */
    CLI_UNSEEN = 7,        /* something could not be looked at, so it is not known to be right */
    CLI_UNCONFIRMED = 8,   /* the person who was asked said no */
    CLI_CONTRADICTED = 9,  /* the ledger is not a continuation of the checkpoint that was saved */
    CLI_INTERNAL = 10,     /* memory is out, or a bug */
    CLI_INTERRUPTED = 130, /* by a signal, at a point where it can be resumed */
};

struct http_client;

struct cli {
    /* global options; NULL where they are not given */
    const char *socket, *config, *state, *tenant;
    bool json, quiet, yes;

    const struct cli_command *command;
    const char *values[CLI_OPTIONS_MAX]; /* of the command's options, in their order */
    const char **operands;
    size_t operands_len;

    struct http_client *hub; /* opened by the first request */
};

/* ---- arguments ---- */

/* The value of an option of this command; "" for a switch that is set, NULL where not given. */
const char *cli_value(const struct cli *cli, const char *name);
static inline bool cli_has(const struct cli *cli, const char *name)
{
    return cli_value(cli, name) != NULL;
}

/* ---- messages: to standard error, and as a problem (RFC 9457) with --json ---- */

/* Says why it ends, and returns `code`. `word` is stable, for programs: "usage", "file", ... */
int cli_fail(struct cli *cli, int code, const char *word, const char *format, ...)
    PRINTF_LIKE(4, 5);
/* The same for a problem the hub sent. */
int cli_fail_problem(struct cli *cli, const struct problem *problem);
int cli_fail_memory(struct cli *cli);
/* Information for people: not with --quiet and not with --json. */
void cli_say(const struct cli *cli, const char *format, ...) PRINTF_LIKE(2, 3);
/* A warning: on standard error, not even --quiet keeps it away. */
void cli_warn(const struct cli *cli, const char *format, ...) PRINTF_LIKE(2, 3);
/* Which exit a problem has: CLI_NOT_FOUND for 404, else CLI_REFUSED. */
int cli_exit_of(const struct problem *problem);
/* What to exit with where a library returned this, and nothing more is known. */
int cli_exit_of_err(enum err err);

/* Asks on a terminal whether to go on; CLI_OK, CLI_UNCONFIRMED, or CLI_USAGE where there is no
 * terminal and no --yes. */
int cli_confirm(struct cli *cli, const char *format, ...) PRINTF_LIKE(2, 3);

/* ---- names, counts and times that a person typed ---- */

/* A name as the hub takes them. Fails with CLI_USAGE, `what` standing in the message. */
int cli_check_name(struct cli *cli, const char *what, const char *text);
int cli_read_count(struct cli *cli, const char *what, const char *text, uint64_t min, uint64_t max,
                   uint64_t *ret_count);
/* "30d" -> seconds. */
int cli_read_duration(struct cli *cli, const char *what, const char *text, int64_t *ret_seconds);
/* As when_read() takes them. */
int cli_read_time(struct cli *cli, const char *what, const char *text, bool past,
                  int64_t *ret_seconds);

#endif
