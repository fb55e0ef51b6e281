/* The hubs over this hub's database: who is at work, who is admitted, who is removed. */
#include <stdio.h>
#include <string.h>

#include "base/crypto.h"
#include "core/der.h"
#include "hub/api/views.h"
#include "hub/follower.h"
#include "hub/membership.h"
#include "pki/ca_hub.h"

#define HUB_JSON_MAX 2048 /* bytes of one hub as the API shows it */

static void write_hub(struct json_writer *j, const struct hub_row *row)
{
    struct reader r = reader_over(row->chain);
    struct certificate issuing;
    unsigned tag;
    json_open_object(j);
    json_field_text(j, "name", row->name);
    json_field_text(j, "status", hub_status_text(row->status));
    json_field_hex(j, "issuing_sha256", slice_of(row->issuing_sha256.bytes, SHA256_SIZE));
    if (certificate_read(der_read_any(&r, &tag), &issuing) == ERR_NONE)
        json_field_time(j, "issuing_not_after", issuing.not_after);
    json_field_text(j, "ledger_key", row->ledger_key);
    json_field_text(j, "policy_key", row->policy_key);
    json_field_time(j, "joined_at", row->joined_at);
    if (row->left_at != 0) {
        json_field_time(j, "left_at", row->left_at);
        json_field_text(j, "reason", row->reason);
    }
    json_close_object(j);
}

void api_hubs_list(struct api_call *call)
{
    struct arena *arena = http_request_arena(call->request);
    struct hub_row *rows = api_alloc(call, HUBS_MAX * sizeof *rows);
    if (rows == NULL)
        return;
    size_t n = 0;
    if (!api_read_ok(call, identity_hubs(call->here->reader, arena, rows, &n)))
        return;
    struct writer w = arena_writer(arena, 64 + HUBS_MAX * HUB_JSON_MAX);
    struct json_writer j = json_writer_over(&w);
    json_open_object(&j);
    json_key(&j, "hubs");
    json_open_array(&j);
    for (size_t i = 0; i < n; i++)
        write_hub(&j, &rows[i]);
    json_close_array(&j);
    json_close_object(&j);
    api_reply_json(call, 200, &w);
}

/* ---- changes ---- */

static void reply_hub(struct api_call *call, unsigned status, const struct hub_row *row)
{
    struct writer w = arena_writer(http_request_arena(call->request), HUB_JSON_MAX);
    struct json_writer j = json_writer_over(&w);
    write_hub(&j, row);
    api_reply_json(call, status, &w);
}

static void hub_ended(struct act *act)
{
    struct hub_act *h = CONTAINER_OF(act, struct hub_act, act);
    struct api_call *call = api_act_ended(act);
    if (call == NULL)
        return;
    follower_wake(); /* the other hubs are told by the database */
    reply_hub(call, h->change == HUB_ADMIT ? 201 : 200, &h->hub);
}

/* What the owner signed: under which key is for the writer to compare, who sees the bundle. */
static enum err take_card(struct api_call *call, struct hub_act *h)
{
    struct arena *arena = http_request_arena(call->request);
    char explain[256] = "", roots[CONFIG_TEXT_MAX + 16];
    struct hub_card card;
    uint8_t *storage = arena_alloc(arena, HUB_CARD_STORAGE);
    if (storage == NULL)
        return ERR_NO_MEMORY;
    enum err err = hub_card_read(http_request_body(call->request), NULL, storage, &card);
    if (err != ERR_NONE)
        return problem_set(&call->problem, 400, "hub-card-malformed", "body",
                           "not a card that `holdfast ca certify` made (%s)", err_text(err));
    if (strcmp(card.fleet, call->hub->config.fleet) != 0)
        return problem_set(&call->problem, 403, "hub-card-refused", "fleet",
                           "it is for the fleet '%s'", card.fleet);
    if (strcmp(card.ledger_key.name, call->hub->facts.ledger_key.name) != 0)
        return problem_set(&call->problem, 403, "hub-card-refused", "ledger_key",
                           "its ledger key is not called %s", call->hub->facts.ledger_key.name);
    if (strcmp(card.policy_key.name, call->hub->facts.policy_key.name) != 0)
        return problem_set(&call->problem, 403, "hub-card-refused", "policy_key",
                           "its policy key is not called %s", call->hub->facts.policy_key.name);
    (void)snprintf(roots, sizeof roots, "%s/root.pem", call->hub->config.state);
    err = ca_hub_check(&card, roots, explain);
    if (err != ERR_NONE)
        return problem_set(&call->problem, 403, "hub-card-refused", "certificate", "%s", explain);

    struct writer key = writer_over(h->hub.ledger_key, sizeof h->hub.ledger_key - 1);
    note_key_write(&key, &card.ledger_key);
    struct writer policy = writer_over(h->hub.policy_key, sizeof h->hub.policy_key - 1);
    note_key_write(&policy, &card.policy_key);
    struct writer chain = arena_writer(arena, HUB_CHAIN_MAX);
    for (size_t i = 0; i + 1 < card.chain_len; i++)
        writer_put(&chain, card.chain[i]);
    if (chain.err != ERR_NONE)
        return problem_set(&call->problem, 403, "hub-card-refused", "certificate",
                           "its certificates take more than %d bytes", HUB_CHAIN_MAX);
    crypto_sha256_one(card.chain[0], h->hub.issuing_sha256.bytes);
    h->hub.chain = writer_bytes(&chain);
    h->bundle_key = card.bundle_key;
    (void)snprintf(h->hub.name, sizeof h->hub.name, "%s", card.name);
    return key.err;
}

void api_hub_admit(struct api_call *call)
{
    struct hub_act *h = API_NEW(call, struct hub_act);
    if (h == NULL)
        return;
    h->change = HUB_ADMIT;
    if (!store_is_shared(call->hub->store)) {
        (void)problem_set(&call->problem, 409, "store-not-shared", "",
                          "over SQLite there is one hub; several need one over PostgreSQL");
        api_reply_problem(call, &call->problem);
        return;
    }
    if (!api_read_ok(call, take_card(call, h)))
        return;
    const struct act_origin origin = api_origin(call, hub_ended);
    identity_change_hub(call->hub->identity, &origin, h);
}

void api_hub_remove(struct api_call *call)
{
    struct request_device_move in;
    if (!api_read_ok(call, request_device_move_read(http_request_body(call->request),
                                                    http_request_arena(call->request), &in,
                                                    &call->problem)))
        return;
    struct hub_act *h = API_NEW(call, struct hub_act);
    if (h == NULL)
        return;
    h->change = HUB_REMOVE;
    h->own = membership_id();
    (void)snprintf(h->hub.name, sizeof h->hub.name, "%s", api_param(call, 0));
    (void)snprintf(h->hub.reason, sizeof h->hub.reason, "%s", in.reason);
    const struct act_origin origin = api_origin(call, hub_ended);
    identity_change_hub(call->hub->identity, &origin, h);
}
