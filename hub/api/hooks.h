/* What the handlers of brokers' hooks share: the question is put to hub/hooks, and who is refused
 * is counted by device. */
#ifndef HUB_API_HOOKS_H
#define HUB_API_HOOKS_H

#include "api/requests.h"
#include "hub/api/call.h"
#include "hub/hooks/hooks.h"

/* NULL: there is no policy, and nobody may do anything. */
const struct rules *hook_rules_in_force(struct api_call *call);

/* One name, password or certificate of a request; what EMQX makes of a value that is not there, an
 * empty text or in its older versions "undefined", is none. */
struct slice hook_text(const char *text);
/* The certificate, from base64; one that is none is HOOK_DENY_CERTIFICATE for hooks_connect(). */
struct slice hook_certificate(struct api_call *call, const char *base64);

struct hook_context hook_context(struct api_call *call);
/* May that client connect? Whatever goes wrong is a denial. */
enum hook_verdict hook_connect(struct api_call *call, const struct hook_client *client,
                               struct hook_device *ret_device);
/* May it do that with one topic? */
enum hook_verdict hook_may(struct api_call *call, const struct hook_client *client,
                           enum rules_action action, struct slice topic);
/* The same for several, for brokers that answer for all at once: ret_verdicts[i] each. What this
 * gives is the first that is not HOOK_ALLOW. */
enum hook_verdict hook_may_all(struct api_call *call, const struct hook_client *client,
                               enum rules_action action, const struct slice *topics, size_t n,
                               enum hook_verdict *ret_verdicts);
/* Reads a request into `in`: HOOK_READ(call, hook_emqx_authn, &in). False where it can't be read.
 */
#define HOOK_READ(call, what, in)                                                                  \
    (request_##what##_read(http_request_body((call)->request),                                     \
                           http_request_arena((call)->request), (in),                              \
                           &(call)->problem) == ERR_NONE)
/* What can't be read is refused by a decision, too. */
enum hook_verdict hook_unread(struct api_call *call);

/* For brokers that go by the status: 403 with the problem. */
void hook_reply_denied(struct api_call *call, enum hook_verdict verdict);
void hook_reply_no_superuser(struct api_call *call);

#endif
