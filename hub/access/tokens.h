/* Tokens with which somebody may read over HTTPS: an auditor the ledger's tiles, a Prometheus the
 * metrics, a broker what it asks about its clients. A token is "hf~TENANT~NAME~SECRET" with 256
 * random bits of secret; it is shown once, kept as a hash, and has an end. */
#ifndef HUB_ACCESS_TOKENS_H
#define HUB_ACCESS_TOKENS_H

#include "hub/ledger/act.h"

#define TOKEN_SECRET_BYTES 32
#define TOKEN_TEXT_SIZE    (3 + 2 * (NAME_MAX_BYTES + 1) + 2 * TOKEN_SECRET_BYTES + 1)

struct tokens;

MUST_USE enum err tokens_new(struct store *store, struct ledger *ledger,
                             struct tokens **ret_tokens);
void tokens_free(struct tokens *tokens);

struct token_act {
    struct act act;
    bool removal;
    struct token_row token;     /* name, scopes, expires_at; for a removal the name alone */
    char text[TOKEN_TEXT_SIZE]; /* made by tokens_change(); wipe it once it is told */
};
/* problems: token-exists, token-not-found */
void tokens_change(struct tokens *tokens, const struct act_origin *origin, struct token_act *t);

/* The token from an Authorization header -> its row. ERR_REFUSED where it is unknown, expired or
 * lacks the scope: which of these is not told. */
MUST_USE enum err tokens_check(struct store_reader *reader, struct slice text, int64_t scope,
                               struct arena *arena, struct token_row *ret_token);

#endif
