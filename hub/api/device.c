/* What a device says and asks over its own certificate. */
#include <stdio.h>

#include "api/requests.h"
#include "base/clock.h"
#include "hub/api/views.h"

#define BY_POLICY "policy" /* what asks, where it is no rotation */

/* Its certificate is older than its model's policy wants. */
static bool is_due_by_policy(struct api_call *call)
{
    const struct policy_force *force = policies_now(call->hub->policies, &call->here->policy);
    int64_t age = force == NULL ? 0 : policy_renewal(force, slice_of_text(call->device.model));
    return age > 0 && call->device.state == DEVICE_TRUSTED &&
           call->device.certificate.issued_at + age <= clock_seconds();
}

/* What asks this device to renew now; NULL: nothing does. All of them together are asked at a
 * bounded rate, however many are due: who is passed over now is asked at its next check-in. */
static const char *renewal_asked(struct api_call *call)
{
    int64_t per_minute = call->hub->config.rotation_per_minute;
    const struct rate rate = {.per_minute = (unsigned)per_minute,
                              .burst = (unsigned)(per_minute / 60 + 1)};
    int64_t wait_ms;
    bool asked = false;
    enum err err = identity_renewal_asked(call->here->reader, &call->device,
                                          http_request_arena(call->request), &asked);
    const char *by = err == ERR_NONE && asked ? call->device.rotation
                     : is_due_by_policy(call) ? BY_POLICY
                                              : NULL;
    if (by != NULL && !rate_allow(call->hub->rates, SLICE_LITERAL("rotation"), &rate,
                                  clock_monotonic_ms(), &wait_ms))
        return NULL;
    return by;
}

/* A device that was shown two ledgers does not do what we say any more: somebody must look at it.
 * It can say so falsely, and is named then. */
static void note_ledger_finding(struct api_call *call, enum api_ledger_finding finding)
{
    static const char *const kinds[] = {
        [API_LEDGER_FINDING_SHRUNK] = "ledger-shrunk",
        [API_LEDGER_FINDING_FORKED] = "ledger-forked",
        [API_LEDGER_FINDING_HIDDEN] = "ledger-hidden",
    };
    char source[HTTP_LABEL_MAX];
    (void)snprintf(source, sizeof source, "%s/%s", call->device.tenant, call->device.device);
    refusals_alarm(call->hub->refusals, kinds[finding], source);
}

/* Tells the device when to come again, which trust bundle is current, whether to renew, and what
 * has become of the ledger that it knows. */
static void reply_checkin(struct api_call *call, struct slice update)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%lld", (long long)call->hub->config.checkin_interval);
    http_reply_header(call->request, "Holdfast-Next-Checkin", text);
    (void)snprintf(text, sizeof text, "%llu",
                   (unsigned long long)atomic_load(&call->hub->bundle_version));
    http_reply_header(call->request, "Holdfast-Trust-Bundle", text);
    const char *asked_by = renewal_asked(call);
    if (asked_by != NULL)
        http_reply_header(call->request, "Holdfast-Rotation", asked_by);
    if (update.len == 0)
        api_reply_nothing(call);
    else
        http_reply(call->request, 200, "text/plain; charset=utf-8", update);
}

void api_device_checkin(struct api_call *call)
{
    struct request_device_checkin in;
    enum err err = request_device_checkin_read(
        http_request_body(call->request), http_request_arena(call->request), &in, &call->problem);
    if (err != ERR_NONE) {
        api_reply_err(call, err);
        return;
    }
    struct slice update = {NULL, 0};
    if (in.has_ledger_size)
        err = ledger_shown_to(call->here->shown, (uint64_t)in.ledger_size, in.has_ledger_finding,
                              http_request_arena(call->request), &update);
    if (!api_read_ok(call, err))
        return;
    if (in.has_ledger_finding)
        note_ledger_finding(call, in.ledger_finding);
    sightings_note(call->here->sightings, call->device.tenant, call->device.device);
    reply_checkin(call, update);
}

static void report_ended(struct act *act)
{
    struct api_call *call = api_act_ended(act);
    if (call != NULL)
        api_reply_nothing(call);
}

void api_device_report(struct api_call *call)
{
    struct request_device_report in;
    struct slice body = http_request_body(call->request);
    enum err err =
        request_device_report_read(body, http_request_arena(call->request), &in, &call->problem);
    if (err != ERR_NONE) {
        api_reply_err(call, err);
        return;
    }
    struct report_act *r = API_NEW(call, struct report_act);
    if (r == NULL)
        return;
    /* Written anew from what was understood: what is stored and logged has one form. */
    struct writer w = arena_writer(http_request_arena(call->request), LEDGER_DATA_MAX);
    view_write_report(&w, &in);
    if (w.err == ERR_LIMIT) {
        (void)problem_set(&call->problem, 413, "too-large", "facts",
                          "a report takes at most %d bytes as compact JSON", LEDGER_DATA_MAX);
        api_reply_problem(call, &call->problem);
        return;
    }
    if (w.err != ERR_NONE) {
        api_reply_err(call, w.err);
        return;
    }
    r->report = writer_bytes(&w);
    (void)snprintf(r->device, sizeof r->device, "%s", call->device.device);
    const struct act_origin origin = api_origin(call, report_ended);
    identity_report(call->hub->identity, &origin, r);
}

void api_device_trust_bundle(struct api_call *call)
{
    api_trust_bundle_show(call);
}

void api_device_self(struct api_call *call)
{
    struct arena *arena = http_request_arena(call->request);
    struct device_row device = {0};
    (void)snprintf(device.tenant, sizeof device.tenant, "%s", call->device.tenant);
    (void)snprintf(device.id, sizeof device.id, "%s", call->device.device);
    enum err err = store_get(call->here->reader, &table_device, arena, &device);
    if (err != ERR_NONE) {
        api_reply_err(call, err);
        return;
    }
    struct writer w = arena_writer(arena, 2048);
    struct json_writer j = json_writer_over(&w);
    json_open_object(&j);
    json_field_text(&j, "tenant", device.tenant);
    json_field_text(&j, "id", device.id);
    json_field_text(&j, "model", device.model);
    json_field_text(&j, "state", device_state_text(device.state));
    json_key(&j, "certificate");
    view_certificate(&j, &call->device.certificate);
    json_close_object(&j);
    api_reply_json(call, 200, &w);
}
