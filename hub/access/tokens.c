#include "hub/access/tokens.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/crypto.h"

struct tokens {
    struct store *store;
    struct ledger *ledger;
};

enum err tokens_new(struct store *store, struct ledger *ledger, struct tokens **ret_tokens)
{
    struct tokens *tokens = calloc(1, sizeof *tokens);
    if (tokens == NULL)
        return ERR_NO_MEMORY;
    tokens->store = store;
    tokens->ledger = ledger;
    *ret_tokens = tokens;
    return ERR_NONE;
}

void tokens_free(struct tokens *tokens)
{
    free(tokens);
}

/* Over the whole text: the name in it is bound to the secret. */
static void token_hash(struct slice text, struct hash *ret_hash)
{
    const struct slice parts[2] = {SLICE_LITERAL("holdfast-token/v1\n"), text};
    crypto_sha256(parts, ARRAY_LEN(parts), ret_hash->bytes);
}

static enum err token_make(struct token_act *t)
{
    uint8_t secret[TOKEN_SECRET_BYTES];
    enum err err = crypto_random(secret, sizeof secret);
    if (err != ERR_NONE)
        return err;
    struct writer w = writer_over(t->text, sizeof t->text - 1);
    writer_text(&w, "hf~");
    writer_text(&w, t->token.tenant);
    writer_text(&w, "~");
    writer_text(&w, t->token.name);
    writer_text(&w, "~");
    writer_hex(&w, slice_of(secret, sizeof secret));
    mem_wipe(secret, sizeof secret);
    t->text[w.len] = '\0';
    token_hash(writer_bytes(&w), &t->token.token_sha256);
    return w.err;
}

static void token_reads(const struct write *w, struct keyset *keys)
{
    const struct token_act *t = (const struct token_act *)(const void *)w;
    keyset_add(keys, &table_token, &t->token);
}

static enum err token_remove(struct token_act *t, struct tx *tx)
{
    enum err err = tx_delete(tx, &table_token, &t->token);
    if (err == ERR_NOT_FOUND)
        return problem_set(&t->act.write.problem, 404, "token-not-found", "token",
                           "there is no token '%s'", t->token.name);
    if (err != ERR_NONE)
        return err;
    return act_append(&t->act, tx, "token.remove", "token", t->token.name, SLICE_LITERAL("{}"));
}

static enum err token_add(struct token_act *t, struct tx *tx)
{
    t->token.created_at = tx_now_ms(tx) / 1000;
    enum err err = tx_insert(tx, &table_token, &t->token);
    if (err == ERR_EXISTS)
        return problem_set(&t->act.write.problem, 409, "token-exists", "name",
                           "there is a token '%s' already; remove it first", t->token.name);
    if (err != ERR_NONE)
        return err;
    uint8_t bytes[256];
    struct writer out = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&out);
    json_open_object(&j);
    json_field_bool(&j, "ledger", (t->token.scopes & READER_SCOPE_LEDGER) != 0);
    json_field_bool(&j, "metrics", (t->token.scopes & READER_SCOPE_METRICS) != 0);
    if ((t->token.scopes & READER_SCOPE_HOOKS) != 0)
        json_field_bool(&j, "hooks", true);
    json_field_time(&j, "expires_at", t->token.expires_at);
    json_close_object(&j);
    if (out.err != ERR_NONE)
        return out.err;
    return act_append(&t->act, tx, "token.create", "token", t->token.name, writer_bytes(&out));
}

static enum err token_apply(struct write *w, struct tx *tx)
{
    struct token_act *t = (struct token_act *)(void *)act_of(w);
    return t->removal ? token_remove(t, tx) : token_add(t, tx);
}

static const struct write_kind token_kind = {
    .name = "token",
    .lane = STORE_LANE_NORMAL,
    .reads = token_reads,
    .apply = token_apply,
    .done = act_done,
};

void tokens_change(struct tokens *tokens, const struct act_origin *origin, struct token_act *t)
{
    act_init(&t->act, &token_kind, tokens->ledger, origin);
    (void)snprintf(t->token.tenant, sizeof t->token.tenant, "%s", t->act.tenant);
    enum err err = t->removal ? ERR_NONE : token_make(t);
    if (err != ERR_NONE) {
        act_end(&t->act, err);
        return;
    }
    act_submit(&t->act, tokens->store);
}

/* One name out of "hf~TENANT~NAME~SECRET". */
static void read_name(struct reader *r, char field[NAME_MAX_BYTES + 1])
{
    struct slice name = reader_until(r, '~');
    if (name.len == 0 || name.len > NAME_MAX_BYTES) {
        reader_fail(r, ERR_SYNTAX);
        return;
    }
    memcpy(field, name.data, name.len);
    field[name.len] = '\0';
}

enum err tokens_check(struct store_reader *reader, struct slice text, int64_t scope,
                      struct arena *arena, struct token_row *ret_token)
{
    struct token_row row = {0};
    struct reader r = reader_over(text);
    reader_expect(&r, SLICE_LITERAL("hf~"));
    read_name(&r, row.tenant);
    read_name(&r, row.name);
    struct slice secret = reader_rest(&r);
    if (reader_finish(&r) != ERR_NONE || secret.len != 2 * TOKEN_SECRET_BYTES)
        return ERR_REFUSED;

    enum err err = store_get(reader, &table_token, arena, &row);
    if (err != ERR_NONE && err != ERR_NOT_FOUND)
        return err;
    bool known = err == ERR_NONE;
    struct hash presented;
    token_hash(text, &presented);
    bool equal = mem_equal_constant_time(presented.bytes, row.token_sha256.bytes, SHA256_SIZE);
    if (!known || !equal || row.expires_at <= clock_seconds() || (row.scopes & scope) == 0)
        return ERR_REFUSED;
    *ret_token = row;
    return ERR_NONE;
}
