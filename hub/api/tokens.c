/* Tokens for readers, over the local socket. */
#include <stdio.h>

#include "base/clock.h"
#include "hub/api/views.h"

static const char *token_name(const void *row)
{
    return ((const struct token_row *)row)->name;
}

static void token_view(struct api_call *call, struct json_writer *j, const void *row)
{
    (void)call;
    view_token(j, row);
}

void api_token_list(struct api_call *call)
{
    struct query_token_list in;
    if (!api_read_ok(call,
                     query_token_list_read(http_request_query(call->request),
                                           http_request_arena(call->request), &in, &call->problem)))
        return;
    struct token_row after = {0};
    (void)snprintf(after.tenant, sizeof after.tenant, "%s", call->tenant);
    (void)snprintf(after.name, sizeof after.name, "%s", in.has_after ? in.after : "");
    const struct store_filter tenant = {.column = "tenant", .text = slice_of_text(call->tenant)};
    struct view_page page = {
        .name = "tokens",
        .query = {.table = &table_token,
                  .filters = &tenant,
                  .filters_len = 1,
                  .after = &after,
                  .limit = (size_t)in.limit},
        .view = token_view,
        .row_name = token_name,
    };
    view_reply_page(call, &page);
}

static void token_ended(struct act *act)
{
    struct token_act *t = CONTAINER_OF(act, struct token_act, act);
    struct api_call *call = api_act_ended(act);
    if (call == NULL)
        return;
    if (t->removal) {
        api_reply_nothing(call);
        return;
    }
    arena_mark_secret(http_request_arena(call->request));
    struct writer w = arena_writer(http_request_arena(call->request), 1024);
    struct json_writer j = json_writer_over(&w);
    json_open_object(&j);
    json_field_text(&j, "name", t->token.name);
    view_token_scopes(&j, t->token.scopes);
    json_field_time(&j, "expires_at", t->token.expires_at);
    json_field_text(&j, "token", t->text);
    json_close_object(&j);
    api_reply_json(call, 201, &w);
}

static void change(struct api_call *call, struct token_act *t)
{
    const struct act_origin origin = api_origin(call, token_ended);
    tokens_change(call->hub->tokens, &origin, t);
}

void api_token_create(struct api_call *call)
{
    struct request_token_create in;
    if (!api_read_ok(call, request_token_create_read(http_request_body(call->request),
                                                     http_request_arena(call->request), &in,
                                                     &call->problem)))
        return;
    struct token_act *t = API_NEW(call, struct token_act);
    if (t == NULL)
        return;
    if (in.expires_at <= clock_seconds()) {
        (void)problem_set(&call->problem, 400, "field-value", "expires_at", "it lies in the past");
        api_reply_problem(call, &call->problem);
        return;
    }
    (void)snprintf(t->token.name, sizeof t->token.name, "%s", in.name);
    t->token.expires_at = in.expires_at;
    t->token.scopes =
        ((in.scopes & 1u << API_TOKEN_SCOPE_LEDGER) != 0 ? READER_SCOPE_LEDGER : 0) |
        ((in.scopes & 1u << API_TOKEN_SCOPE_METRICS) != 0 ? READER_SCOPE_METRICS : 0) |
        ((in.scopes & 1u << API_TOKEN_SCOPE_HOOKS) != 0 ? READER_SCOPE_HOOKS : 0);
    change(call, t);
}

void api_token_delete(struct api_call *call)
{
    struct token_act *t = API_NEW(call, struct token_act);
    if (t == NULL)
        return;
    t->removal = true;
    (void)snprintf(t->token.name, sizeof t->token.name, "%s", api_param(call, 0));
    change(call, t);
}
