/* Factory manifests, over the local socket. */
#include <stdio.h>

#include "base/clock.h"
#include "hub/api/views.h"
#include "pki/pem.h"

static const char *manifest_name(const void *row)
{
    return ((const struct manifest_row *)row)->id;
}

static void manifest_view(struct api_call *call, struct json_writer *j, const void *row)
{
    view_manifest(call, j, row);
}

void api_manifest_list(struct api_call *call)
{
    struct query_manifest_list in;
    if (!api_read_ok(call, query_manifest_list_read(http_request_query(call->request),
                                                    http_request_arena(call->request), &in,
                                                    &call->problem)))
        return;
    struct manifest_row after = {0};
    (void)snprintf(after.tenant, sizeof after.tenant, "%s", call->tenant);
    (void)snprintf(after.id, sizeof after.id, "%s", in.has_after ? in.after : "");
    const struct store_filter tenant = {.column = "tenant", .text = slice_of_text(call->tenant)};
    struct view_page page = {
        .name = "manifests",
        .query = {.table = &table_manifest,
                  .filters = &tenant,
                  .filters_len = 1,
                  .after = &after,
                  .limit = (size_t)in.limit},
        .view = manifest_view,
        .row_name = manifest_name,
    };
    view_reply_page(call, &page);
}

static void reply_manifest(struct api_call *call, unsigned status, const struct manifest_row *row)
{
    struct writer w = arena_writer(http_request_arena(call->request), 2048);
    struct json_writer j = json_writer_over(&w);
    view_manifest(call, &j, row);
    api_reply_json(call, status, &w);
}

void api_manifest_show(struct api_call *call)
{
    struct manifest_row row = {0};
    (void)snprintf(row.tenant, sizeof row.tenant, "%s", call->tenant);
    (void)snprintf(row.id, sizeof row.id, "%s", api_param(call, 0));
    enum err err =
        store_get(call->here->reader, &table_manifest, http_request_arena(call->request), &row);
    if (err == ERR_NOT_FOUND)
        err = problem_set(&call->problem, 404, "manifest-not-found", "manifest",
                          "there is no manifest '%s'", row.id);
    if (api_read_ok(call, err))
        reply_manifest(call, 200, &row);
}

static void create_ended(struct act *act)
{
    struct manifest_act *m = CONTAINER_OF(act, struct manifest_act, act);
    struct api_call *call = api_act_ended(act);
    if (call != NULL)
        reply_manifest(call, 201, &m->manifest);
}

void api_manifest_create(struct api_call *call)
{
    struct request_manifest_create in;
    if (!api_read_ok(call, request_manifest_create_read(http_request_body(call->request),
                                                        http_request_arena(call->request), &in,
                                                        &call->problem)))
        return;
    struct manifest_act *m = API_NEW(call, struct manifest_act);
    if (m == NULL)
        return;
    (void)snprintf(m->manifest.id, sizeof m->manifest.id, "%s", in.id);
    (void)snprintf(m->manifest.model, sizeof m->manifest.model, "%s", in.model);
    (void)snprintf(m->owner, sizeof m->owner, "%s", in.owner);
    const struct act_origin origin = api_origin(call, create_ended);
    identity_create_manifest(call->hub->identity, &origin, m);
}

/* ---- devices ---- */

static void devices_ended(struct act *act)
{
    struct manifest_devices_act *m = CONTAINER_OF(act, struct manifest_devices_act, act);
    struct api_call *call = api_act_ended(act);
    if (call == NULL)
        return;
    arena_mark_secret(http_request_arena(call->request));
    struct writer w = arena_writer(http_request_arena(call->request),
                                   64 + m->lines_len * (NAME_MAX_BYTES + IDENTITY_CLAIM_TEXT + 48));
    struct json_writer j = json_writer_over(&w);
    json_open_object(&j);
    json_key(&j, "devices");
    json_open_array(&j);
    for (size_t i = 0; i < m->lines_len; i++) {
        json_open_object(&j);
        json_field_text(&j, "serial", m->lines[i].serial);
        if (m->lines[i].credential == CREDENTIAL_CLAIM)
            json_field_text(&j, "claim_code", m->lines[i].claim_code);
        json_close_object(&j);
    }
    json_close_array(&j);
    json_close_object(&j);
    api_reply_json(call, 201, &w);
}

static enum err refuse_row(struct api_call *call, size_t row, const char *field, const char *why)
{
    char name[64];
    (void)snprintf(name, sizeof name, "rows[%zu].%s", row, field);
    return problem_set(&call->problem, 400, "field-value", name, "%s", why);
}

static enum err read_row(struct api_call *call, const struct request_manifest_row *in, size_t at,
                         struct manifest_line *line)
{
    line->serial = in->serial;
    if (in->has_claim) {
        if (in->claim.expires_at <= clock_seconds())
            return refuse_row(call, at, "claim.expires_at", "it lies in the past");
        line->credential = CREDENTIAL_CLAIM;
        line->claim_expires_at = in->claim.expires_at;
        return ERR_NONE;
    }
    if (in->has_key_sha256) {
        line->credential = CREDENTIAL_KEY;
        memcpy(line->credential_hash.bytes, in->key_sha256, SHA256_SIZE);
        return ERR_NONE;
    }
    line->credential = CREDENTIAL_IDEVID;
    enum err err = pem_certificate_hashes(slice_of_text(in->idevid_pem),
                                          line->credential_hash.bytes, line->idevid_spki.bytes);
    if (err != ERR_NONE)
        return refuse_row(call, at, "idevid_pem",
                          "it is not one certificate in PEM with a key of a "
                          "kind that is taken");
    return ERR_NONE;
}

void api_manifest_add_devices(struct api_call *call)
{
    struct arena *arena = http_request_arena(call->request);
    struct request_manifest_add_devices in;
    if (!api_read_ok(call, request_manifest_add_devices_read(http_request_body(call->request),
                                                             arena, &in, &call->problem)))
        return;
    struct manifest_devices_act *m = API_NEW(call, struct manifest_devices_act);
    if (m == NULL)
        return;
    m->lines = api_alloc(call, in.rows_len * sizeof *m->lines);
    if (m->lines == NULL)
        return;
    m->lines_len = in.rows_len;
    for (size_t i = 0; i < in.rows_len; i++) {
        if (!api_read_ok(call, read_row(call, &in.rows[i], i, &m->lines[i])))
            return;
    }
    (void)snprintf(m->manifest, sizeof m->manifest, "%s", api_param(call, 0));
    const struct act_origin origin = api_origin(call, devices_ended);
    identity_add_devices(call->hub->identity, &origin, m);
}
