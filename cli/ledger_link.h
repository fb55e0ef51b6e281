/* A hub whose ledger is read from outside, as C2SP tlog-tiles serves it: with --url over HTTPS,
 * with
 * --local over the Unix socket. */
#ifndef CLI_LEDGER_LINK_H
#define CLI_LEDGER_LINK_H

#include "cli/ledger_judge.h"

struct http_client;

struct ledger_link {
    struct cli *cli; /* the caller sets it; the rest starts as zeroes */
    struct http_client *client;
    uint64_t tiles, bytes; /* fetched */
    int code;              /* why fetching ended, which has been told */
};

/* The options that say which hub, and by which key its ledger is judged. */
#define LEDGER_LINK_OPTIONS                                                                        \
    {.name = "url", .value = "URL", .help = "the hub's operator listener: https://HOST:PORT"},     \
        {.name = "local", .help = "over the Unix socket instead"},                                 \
        {.name = "token-file",                                                                     \
         .value = "FILE",                                                                          \
         .complete = COMPLETE_FILE,                                                                \
         .help = "holds a token with the scope ledger"},                                           \
        {.name = "roots",                                                                          \
         .value = "FILE",                                                                          \
         .complete = COMPLETE_FILE,                                                                \
         .help = "what the hub's certificate must chain to, PEM; standard: the system's"},         \
    {                                                                                              \
        .name = "key", .value = "KEY", .complete = COMPLETE_FILE,                                  \
        .help = "the ledger's verifier key, or the file it is in"                                  \
    }

bool ledger_link_is_local(const struct ledger_link *l);
/* Is it said which hub? */
int ledger_link_check(const struct ledger_link *l);
int ledger_link_open(struct ledger_link *l);
/* Fetches the newest checkpoint, and checks its signature. */
int ledger_link_checkpoint(struct ledger_link *l, struct ledger_judge *judge);
/* A log_fetch_fn; ctx is the link. */
enum err ledger_link_fetch(void *ctx, struct slice path, uint8_t *buffer, size_t max,
                           size_t *ret_len);
void ledger_link_close(struct ledger_link *l);

#endif
