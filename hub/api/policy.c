/* Policies, over the local socket. */
#include <stdio.h>

#include "hub/api/views.h"

#define POLICY_JSON_MAX (7U * POLICY_STORED_MAX) /* a text of control characters alone */
#define ROWS_ARENA      (4U << 20)               /* bytes: one row with its texts */

static void field_where_set(struct json_writer *j, const char *key, const char *text)
{
    if (text[0] != '\0')
        json_field_text(j, key, text);
}

static void write_policy(struct json_writer *j, const struct policy_row *row, bool with_text)
{
    json_open_object(j);
    json_field_integer(j, "number", row->number);
    json_field_text(j, "status", policy_status_text(row->status));
    json_field_hex(j, "text_sha256", slice_of(row->text_sha256.bytes, SHA256_SIZE));
    field_where_set(j, "comment", row->comment);
    json_field_text(j, "proposed_by", row->proposed_by);
    field_where_set(j, "approved_by", row->approved_by);
    if (row->restores != 0)
        json_field_integer(j, "restores", row->restores);
    if (row->signature.len > 0)
        json_field_text(j, "signature", "owner");
    json_field_time(j, "proposed_at", row->proposed_at);
    if (row->decided_at != 0)
        json_field_time(j, "decided_at", row->decided_at);
    json_field_integer(j, "rules_bytes", (int64_t)row->rules.len);
    if (with_text)
        json_field_slice(j, "text", row->text);
    json_close_object(j);
}

static void reply_policy(struct api_call *call, unsigned status, const struct policy_row *row)
{
    struct writer w = arena_writer(http_request_arena(call->request), POLICY_JSON_MAX);
    struct json_writer j = json_writer_over(&w);
    write_policy(&j, row, status == 200 && row->text.len > 0);
    api_reply_json(call, status, &w);
}

/* The path's number; 0 where it is none. */
static int64_t number_of(const char *text)
{
    struct reader r = reader_over(slice_of_text(text));
    uint64_t number = reader_decimal(&r, INT64_MAX);
    return reader_finish(&r) == ERR_NONE ? (int64_t)number : 0;
}

static void reply_number(struct api_call *call, int64_t number)
{
    struct policy_row row = {.number = number};
    enum err err =
        store_get(call->here->reader, &table_policy, http_request_arena(call->request), &row);
    if (err == ERR_NOT_FOUND)
        err = problem_set(&call->problem, 404, "policy-not-found", "policy",
                          "there is no policy %lld", (long long)number);
    if (api_read_ok(call, err))
        reply_policy(call, 200, &row);
}

void api_policy_get(struct api_call *call)
{
    reply_number(call, number_of(api_param(call, 0)));
}

void api_policy_show(struct api_call *call)
{
    const struct policy_force *force = policies_now(call->hub->policies, &call->here->policy);
    if (force != NULL) {
        reply_number(call, (int64_t)force->number);
        return;
    }
    (void)problem_set(&call->problem, 404, "policy-not-found", "",
                      "no policy is in force; `holdfast policy apply` puts one into force");
    api_reply_problem(call, &call->problem);
}

/* ---- the list ---- */

struct listing {
    struct json_writer *j;
    struct arena *rows; /* whose texts are in the way */
    size_t left;
    int64_t last; /* shown */
    bool more;
};

static enum err list_row(void *ctx, const void *row)
{
    struct listing *l = ctx;
    const struct policy_row *policy = row;
    if (l->left == 0) {
        l->more = true;
        return ERR_NONE;
    }
    l->left--;
    l->last = policy->number;
    write_policy(l->j, policy, false);
    arena_reset(l->rows);
    return ERR_NONE;
}

void api_policy_list(struct api_call *call)
{
    struct query_policy_list in;
    struct arena *arena = http_request_arena(call->request);
    if (!api_read_ok(call, query_policy_list_read(http_request_query(call->request), arena, &in,
                                                  &call->problem)))
        return;
    struct policy_row after = {.number = in.has_after ? number_of(in.after) : INT64_MAX};
    struct writer w = arena_writer(arena, 256 + (size_t)in.limit * 2048);
    struct json_writer j = json_writer_over(&w);
    struct arena *rows = arena_new(ROWS_ARENA);
    struct listing listing = {.j = &j, .rows = rows, .left = (size_t)in.limit};
    const struct store_query query = {
        .table = &table_policy, .after = &after, .descending = true, .limit = (size_t)in.limit + 1};
    json_open_object(&j);
    json_key(&j, "policies");
    json_open_array(&j);
    enum err err = rows == NULL ? ERR_NO_MEMORY
                                : store_list(call->here->reader, &query, rows, list_row, &listing);
    arena_free(rows);
    json_close_array(&j);
    if (listing.more) {
        char text[24];
        (void)snprintf(text, sizeof text, "%lld", (long long)listing.last);
        json_field_text(&j, "next", text);
    }
    json_close_object(&j);
    if (api_read_ok(call, err))
        api_reply_json(call, 200, &w);
}

/* ---- changes ---- */

static void change_ended(struct act *act)
{
    struct policy_act *a = CONTAINER_OF(act, struct policy_act, act);
    struct api_call *call = api_act_ended(act);
    if (call != NULL)
        reply_policy(call, a->step == POLICY_SUBMIT ? 201 : 200, &a->row);
}

static void change(struct api_call *call, struct policy_act *a)
{
    const struct act_origin origin = api_origin(call, change_ended);
    policies_change(call->hub->policies, &origin, call->here->reader, call->here->signer, a);
}

void api_policy_apply(struct api_call *call)
{
    struct request_policy_apply in;
    if (!api_read_ok(call, request_policy_apply_read(http_request_body(call->request),
                                                     http_request_arena(call->request), &in,
                                                     &call->problem)))
        return;
    if (in.has_text == in.has_restores) {
        (void)problem_set(&call->problem, 400, "policy-text", "text",
                          "give a text, or the number of a policy to go back to");
        api_reply_problem(call, &call->problem);
        return;
    }
    struct policy_act *a = API_NEW(call, struct policy_act);
    if (a == NULL)
        return;
    a->step = POLICY_SUBMIT;
    a->from = in.from;
    a->text = slice_of_text(in.has_text ? in.text : "");
    a->restores = in.has_restores ? in.restores : 0;
    a->signature = slice_of_text(in.has_signature ? in.signature : "");
    a->lock_out_ok = in.has_lock_out && in.lock_out == API_POLICY_LOCK_OUT_ACCEPTED;
    (void)snprintf(a->comment, sizeof a->comment, "%s", in.has_comment ? in.comment : "");
    change(call, a);
}

void api_policy_approve(struct api_call *call)
{
    struct request_policy_approve in;
    if (!api_read_ok(call, request_policy_approve_read(http_request_body(call->request),
                                                       http_request_arena(call->request), &in,
                                                       &call->problem)))
        return;
    struct policy_act *a = API_NEW(call, struct policy_act);
    if (a == NULL)
        return;
    a->step = POLICY_APPROVE;
    a->number = number_of(api_param(call, 0));
    a->from = in.from;
    a->signature = slice_of_text(in.has_signature ? in.signature : "");
    a->lock_out_ok = in.has_lock_out && in.lock_out == API_POLICY_LOCK_OUT_ACCEPTED;
    change(call, a);
}

void api_policy_withdraw(struct api_call *call)
{
    struct request_policy_withdraw in;
    if (!api_read_ok(call, request_policy_withdraw_read(http_request_body(call->request),
                                                        http_request_arena(call->request), &in,
                                                        &call->problem)))
        return;
    struct policy_act *a = API_NEW(call, struct policy_act);
    if (a == NULL)
        return;
    a->step = POLICY_WITHDRAW;
    a->number = number_of(api_param(call, 0));
    (void)snprintf(a->comment, sizeof a->comment, "%s", in.comment);
    change(call, a);
}
