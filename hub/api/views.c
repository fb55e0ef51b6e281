#include "hub/api/views.h"

#include <stdio.h>
#include <string.h>

/* The contract's words and the rows' numbers are the same lists in the same order. */
_Static_assert((int)API_DEVICE_STATE_RETIRED == (int)DEVICE_RETIRED &&
                   (int)API_DEVICE_STATE_COUNT == (int)DEVICE_STATE_COUNT,
               "device states");
_Static_assert((int)API_KEY_KIND_RSA == (int)KEY_RSA && (int)API_KEY_KIND_COUNT == KEY_KIND_COUNT,
               "key kinds");
_Static_assert((int)API_MODEL_PROOF_APPROVAL == (int)PROOF_APPROVAL, "proofs");

static void field_time(struct json_writer *j, const char *key, int64_t seconds)
{
    if (seconds != 0)
        json_field_time(j, key, seconds);
}

/* Whose it is: the name where it can still be read, and who that is to the rows in any case. */
void view_owner(struct api_call *call, struct json_writer *j, const char *id)
{
    if (strcmp(call->owner.id, id) != 0) {
        struct subject_row row = {0};
        (void)snprintf(row.tenant, sizeof row.tenant, "%s", call->tenant);
        (void)snprintf(row.id, sizeof row.id, "%.15s", id);
        enum err err =
            store_get(call->here->reader, &table_subject, http_request_arena(call->request), &row);
        if (err != ERR_NONE ||
            subjects_name(call->hub->subjects, &row, call->owner_name) != ERR_NONE)
            call->owner_name[0] = '\0';
        call->owner = row;
        call->owner.name = (struct slice){0}; /* it lives as long as a row */
    }
    if (call->owner_name[0] != '\0')
        json_field_text(j, "owner", call->owner_name);
    json_field_text(j, "subject", id);
}

void view_certificate(struct json_writer *j, const struct certificate_row *row)
{
    json_open_object(j);
    json_field_text(j, "serial", row->serial);
    json_field_text(j, "status", certificate_status_text(row->status));
    json_field_hex(j, "sha256",
                   slice_of(row->certificate_sha256.bytes, sizeof row->certificate_sha256.bytes));
    json_field_time(j, "not_before", row->not_before);
    json_field_time(j, "not_after", row->not_after);
    json_field_time(j, "issued_at", row->issued_at);
    field_time(j, "first_used_at", row->first_used_at);
    field_time(j, "ended_at", row->ended_at);
    json_close_object(j);
}

void view_reason(struct api_call *call, struct json_writer *j, const char *tenant,
                 const char *device, struct slice kept)
{
    char text[REASON_MAX_BYTES + 1];
    if (subjects_unseal(call->hub->subjects, tenant, device, kept, text) == ERR_NONE)
        json_field_text(j, "reason", text);
}

static void view_grace(struct json_writer *j, const struct identity_grace *grace)
{
    static const char *const words[] = {
        [GRACE_STATE_OPEN] = "open",
        [GRACE_STATE_OVER] = "over",
        [GRACE_STATE_CLOSED] = "closed",
        [GRACE_STATE_READMITTED] = "readmitted",
    };
    json_open_object(j);
    json_field_text(j, "state", words[grace->state]);
    field_time(j, "until", grace->until);
    json_close_object(j);
}

static void view_password(struct json_writer *j, const struct device_password_row *row)
{
    json_open_object(j);
    json_field_time(j, "made_at", row->made_at);
    json_field_time(j, "expires_at", row->expires_at);
    field_time(j, "used_at", row->used_at);
    field_time(j, "previous_until", row->previous_until);
    json_close_object(j);
}

void view_cut(struct json_writer *j, const struct view_cut *cut)
{
    json_open_object(j);
    json_field_text(j, "device", cut->row.device);
    json_field_text(j, "state", device_state_text(cut->row.state));
    json_field_text(j, "status", cut->row.complete ? "complete" : "open");
    json_field_integer(j, "entry", cut->row.entry);
    json_field_time(j, "cut_at", cut->row.cut_at_ms / 1000);
    json_key(j, "legs");
    json_open_array(j);
    for (size_t i = 0; i < cut->legs_len; i++) {
        const struct cut_leg_state *leg = &cut->legs[i];
        json_open_object(j);
        json_field_text(j, "leg", leg->name);
        json_field_text(j, "status", leg->confirmed ? "confirmed" : "open");
        if (leg->confirmed)
            json_field_integer(j, "latency_ms", leg->latency_ms);
        if (leg->detail[0] != '\0')
            json_field_text(j, "detail", leg->detail);
        json_close_object(j);
    }
    json_close_array(j);
    json_close_object(j);
}

void view_cut_waiting(struct json_writer *j, const struct cut_waiting_row *row)
{
    json_open_object(j);
    json_field_text(j, "device", row->device);
    json_field_text(j, "kind", row->kind);
    json_field_text(j, "reason", row->reason);
    json_field_time(j, "since", row->since);
    json_field_integer(j, "entry", row->entry);
    json_close_object(j);
}

void view_device(struct api_call *call, struct json_writer *j, const struct device_row *row,
                 const struct device_details *details)
{
    json_open_object(j);
    json_field_text(j, "tenant", row->tenant);
    json_field_text(j, "id", row->id);
    json_field_text(j, "model", row->model);
    json_field_text(j, "maker", row->maker);
    view_owner(call, j, row->owner);
    json_field_text(j, "manifest", row->manifest);
    if (row->grp[0] != '\0')
        json_field_text(j, "group", row->grp);
    json_field_text(j, "state", device_state_text(row->state));
    if (row->reason[0] == '~')
        view_reason(call, j, row->tenant, row->id, slice_of_text(row->reason));
    else if (row->reason[0] != '\0' || row->state != DEVICE_EXPECTED)
        json_field_text(j, "reason", row->reason[0] != '\0' ? row->reason : "enrolled");
    json_field_text(j, "credential", credential_kind_text(row->credential));
    field_time(j, "claim_expires_at", row->claim_expires_at);
    field_time(j, "claim_used_at", row->claim_used_at);
    if (details->certificate != NULL) {
        json_key(j, "certificate");
        view_certificate(j, details->certificate);
        field_time(j, "exposed_until", details->exposed_until);
    }
    if (details->password != NULL) {
        json_key(j, "password");
        view_password(j, details->password);
    }
    if (details->cut != NULL) {
        json_key(j, "cut");
        view_cut(j, details->cut);
    }
    if (details->waiting != NULL) {
        json_key(j, "cut_waiting");
        view_cut_waiting(j, details->waiting);
    }
    if (details->grace != NULL) {
        json_key(j, "grace");
        view_grace(j, details->grace);
    }
    if (row->report.len > 0) {
        json_key(j, "report");
        json_raw(j, row->report);
    }
    field_time(j, "reported_at", row->reported_at);
    if (details->seen != NULL) {
        json_field_time(j, "seen_at", details->seen->seen_at);
        json_field_integer(j, "checkins", details->seen->checkins);
    }
    json_field_time(j, "created_at", row->created_at);
    json_field_time(j, "changed_at", row->changed_at);
    json_close_object(j);
}

void view_model(struct json_writer *j, const struct model_row *row)
{
    json_open_object(j);
    json_field_text(j, "id", row->id);
    json_field_text(j, "maker", row->maker);
    json_field_text(j, "proof", model_proof_text(row->proof));
    json_key(j, "key_kinds");
    json_open_array(j);
    for (int kind = 0; kind < KEY_KIND_COUNT; kind++) {
        if ((row->key_kinds & (int64_t)1 << kind) != 0)
            json_text(j, key_kind_text((enum key_kind)kind));
    }
    json_close_array(j);
    json_field_integer(j, "lifetime_seconds", row->lifetime);
    json_field_integer(j, "enrolled_lifetime_seconds", row->enrolled_lifetime);
    json_field_integer(j, "grace_seconds", row->grace);
    json_field_time(j, "created_at", row->created_at);
    json_field_time(j, "changed_at", row->changed_at);
    json_close_object(j);
}

void view_manifest(struct api_call *call, struct json_writer *j, const struct manifest_row *row)
{
    json_open_object(j);
    json_field_text(j, "id", row->id);
    json_field_text(j, "model", row->model);
    view_owner(call, j, row->owner);
    json_field_integer(j, "devices", row->devices);
    json_field_time(j, "created_at", row->created_at);
    json_field_time(j, "changed_at", row->changed_at);
    json_close_object(j);
}

void view_token_scopes(struct json_writer *j, int64_t scopes)
{
    json_key(j, "scopes");
    json_open_array(j);
    if ((scopes & READER_SCOPE_LEDGER) != 0)
        json_text(j, "ledger");
    if ((scopes & READER_SCOPE_METRICS) != 0)
        json_text(j, "metrics");
    if ((scopes & READER_SCOPE_HOOKS) != 0)
        json_text(j, "hooks");
    json_close_array(j);
}

void view_token(struct json_writer *j, const struct token_row *row)
{
    json_open_object(j);
    json_field_text(j, "name", row->name);
    view_token_scopes(j, row->scopes);
    json_field_time(j, "created_at", row->created_at);
    json_field_time(j, "expires_at", row->expires_at);
    json_close_object(j);
}

void view_subject(struct api_call *call, struct json_writer *j, const struct subject_row *row)
{
    char name[NAME_MAX_BYTES + 1];
    bool readable = subjects_name(call->hub->subjects, row, name) == ERR_NONE;
    json_open_object(j);
    json_field_text(j, "subject", row->id);
    if (readable)
        json_field_text(j, "name", name);
    json_field_text(j, "state",
                    row->state == SUBJECT_ERASED ? "erased"
                    : readable                   ? "known"
                                                 : "unreadable");
    json_field_time(j, "created_at", row->created_at);
    field_time(j, "erased_at", row->erased_at);
    json_close_object(j);
}

/* ---- pages ---- */

struct page_state {
    struct api_call *call;
    struct view_page *page;
    struct json_writer json;
    size_t shown;
    size_t limit;
    bool more;
    char next[NAME_MAX_BYTES + 1];
};

static enum err page_row(void *ctx, const void *row)
{
    struct page_state *state = ctx;
    if (state->shown == state->limit) {
        state->more = true;
        return ERR_NONE;
    }
    state->page->view(state->call, &state->json, row);
    state->shown++;
    if (state->page->row_name != NULL)
        (void)snprintf(state->next, sizeof state->next, "%s", state->page->row_name(row));
    return state->json.w->err;
}

void view_reply_page(struct api_call *call, struct view_page *page)
{
    struct arena *arena = http_request_arena(call->request);
    struct writer w = arena_writer(arena, VIEW_PAGE_MAX);
    struct page_state state = {
        .call = call, .page = page, .json = json_writer_over(&w), .limit = page->query.limit};
    page->query.limit++; /* one more tells whether there is another page */
    json_open_object(&state.json);
    json_key(&state.json, page->name);
    json_open_array(&state.json);
    enum err err = w.err != ERR_NONE
                       ? w.err
                       : store_list(call->here->reader, &page->query, arena, page_row, &state);
    json_close_array(&state.json);
    if (state.more && page->row_name != NULL)
        json_field_text(&state.json, "next", state.next);
    json_close_object(&state.json);
    if (err != ERR_NONE)
        api_reply_err(call, err);
    else
        api_reply_json(call, 200, &w);
}

/* ---- one device ---- */

static enum err load_device(struct api_call *call, struct device_row *device,
                            struct certificate_row *certificate,
                            struct device_password_row *password, struct device_seen_row *seen)
{
    struct arena *arena = http_request_arena(call->request);
    enum err err = store_get(call->here->reader, &table_device, arena, device);
    if (err == ERR_NOT_FOUND)
        return problem_set(&call->problem, 404, "device-not-found", "device",
                           "there is no device '%s'", device->id);
    if (err == ERR_NONE && device->certificate[0] != '\0') {
        (void)snprintf(certificate->serial, sizeof certificate->serial, "%s", device->certificate);
        err = store_get(call->here->reader, &table_certificate, arena, certificate);
    }
    if (err == ERR_NONE && device->credential == CREDENTIAL_PASSWORD) {
        (void)snprintf(password->tenant, sizeof password->tenant, "%s", device->tenant);
        (void)snprintf(password->device, sizeof password->device, "%s", device->id);
        err = store_get(call->here->reader, &table_device_password, arena, password);
        err = err == ERR_NOT_FOUND ? ERR_NONE : err;
    }
    if (err != ERR_NONE)
        return err;
    (void)snprintf(seen->tenant, sizeof seen->tenant, "%s", device->tenant);
    (void)snprintf(seen->device, sizeof seen->device, "%s", device->id);
    err = store_get(call->here->reader, &table_device_seen, arena, seen);
    return err == ERR_NOT_FOUND ? ERR_NONE : err;
}

enum err view_read_cut(struct api_call *call, const char *device, struct view_cut *ret_cut)
{
    struct arena *arena = http_request_arena(call->request);
    struct cut_legs legs;
    struct view_cut cut = {.legs = NULL};
    (void)snprintf(cut.row.tenant, sizeof cut.row.tenant, "%s", call->tenant);
    (void)snprintf(cut.row.device, sizeof cut.row.device, "%s", device);
    enum err err = store_get(call->here->reader, &table_device_cut, arena, &cut.row);
    if (err == ERR_NONE)
        err = identity_cut_legs(call->here->reader, call->tenant, arena, &legs);
    if (err == ERR_NONE)
        err =
            identity_cut_read(call->here->reader, arena, &legs, &cut.row, &cut.legs, &cut.legs_len);
    if (err == ERR_NONE)
        *ret_cut = cut;
    return err;
}

/* ERR_NOT_FOUND: none waits. */
static enum err read_waiting(struct api_call *call, const char *device,
                             struct cut_waiting_row *ret_row)
{
    (void)snprintf(ret_row->tenant, sizeof ret_row->tenant, "%s", call->tenant);
    (void)snprintf(ret_row->device, sizeof ret_row->device, "%s", device);
    return store_get(call->here->reader, &table_cut_waiting, http_request_arena(call->request),
                     ret_row);
}

void view_reply_device(struct api_call *call, const char *id, int64_t exposed_until)
{
    struct device_row device = {0};
    struct certificate_row certificate = {0};
    struct device_password_row password = {0};
    struct device_seen_row seen = {0};
    (void)snprintf(device.tenant, sizeof device.tenant, "%s", call->tenant);
    (void)snprintf(device.id, sizeof device.id, "%s", id);
    struct identity_grace grace;
    enum err err = load_device(call, &device, &certificate, &password, &seen);
    enum err about_grace = ERR_NOT_FOUND;
    if (err == ERR_NONE)
        about_grace =
            identity_grace(call->here->reader, http_request_arena(call->request), &device, &grace);
    if (err == ERR_NONE && about_grace != ERR_NOT_FOUND)
        err = about_grace;
    struct view_cut cut;
    enum err about_cut = err == ERR_NONE ? view_read_cut(call, id, &cut) : ERR_NOT_FOUND;
    if (about_cut != ERR_NOT_FOUND)
        err = about_cut;
    struct cut_waiting_row waiting = {.since = 0};
    enum err about_waiting = err == ERR_NONE ? read_waiting(call, id, &waiting) : ERR_NOT_FOUND;
    if (about_waiting != ERR_NOT_FOUND)
        err = about_waiting;
    if (err != ERR_NONE) {
        api_reply_err(call, err);
        return;
    }
    const struct device_details details = {
        .certificate = certificate.serial[0] != '\0' ? &certificate : NULL,
        .password = password.made_at != 0 ? &password : NULL,
        .grace = about_grace == ERR_NONE ? &grace : NULL,
        .seen = seen.seen_at != 0 ? &seen : NULL,
        .cut = about_cut == ERR_NONE ? &cut : NULL,
        .waiting = about_waiting == ERR_NONE ? &waiting : NULL,
        .exposed_until = exposed_until,
    };
    struct writer w = arena_writer(http_request_arena(call->request),
                                   16 * 1024 + (size_t)CUT_LEGS_MAX * VIEW_LEG_MAX);
    struct json_writer j = json_writer_over(&w);
    view_device(call, &j, &device, &details);
    api_reply_json(call, 200, &w);
}

/* ---- reports ---- */

void view_write_report(struct writer *w, const struct request_device_report *in)
{
    struct json_writer j = json_writer_over(w);
    json_open_object(&j);
    json_field_text(&j, "agent_version", in->agent_version);
    json_field_text(&j, "platform", in->platform);
    json_field_text(&j, "key_storage", api_key_storage_words.texts[in->key_storage]);
    if (in->has_boot_count)
        json_field_integer(&j, "boot_count", in->boot_count);
    json_key(&j, "facts");
    json_open_object(&j);
    for (size_t i = 0; i < in->facts_len; i++)
        json_field_text(&j, in->facts[i].name, in->facts[i].value);
    json_close_object(&j);
    json_close_object(&j);
}
