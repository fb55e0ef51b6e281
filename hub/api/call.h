/* One request on its way through a handler: who calls, what was asked, and how to answer. */
#ifndef HUB_API_CALL_H
#define HUB_API_CALL_H

#include "api/routes.h"
#include "hub/hub.h"

struct api_call {
    struct hub *hub;
    struct hub_loop *here;
    struct http_request *request;
    const struct route *route;
    struct route_match match; /* its params: what was captured from the path, in its order */
    const char *operation;    /* for metrics; "none" where no route fits */
    enum caller caller; /* as identified; CALLER_NOBODY before, and for those without credentials */
    const char *tenant;
    char actor[LEDGER_ACTOR_MAX + 1];
    struct device_view device; /* of a device */
    struct problem problem;
    struct subject_row owner; /* looked up last, and its name; empty where it can't be read */
    char owner_name[NAME_MAX_BYTES + 1];
};

/* The n-th parameter of the path. */
const char *api_param(const struct api_call *call, size_t n);
/* Reads the body or the query; answers with the problem and gives false where it is refused. */
bool api_read_ok(struct api_call *call, enum err err);

/* Once, before the first request: registers what is counted. */
void api_start(void);
void api_ocsp_start(void);
void api_hooks_start(void);
/* What the server calls for every request (ctx is the struct hub). */
void api_handle(struct http_request *request, void *ctx);
/* What it calls for every answer. */
void api_replied(struct http_request *request, unsigned status, size_t bytes, void *ctx);

/* Answers. Each ends the call. */
void api_reply_problem(struct api_call *call, const struct problem *problem);
void api_reply_err(struct api_call *call, enum err err); /* call->problem, or what err means */
void api_reply_json(struct api_call *call, unsigned status, const struct writer *w);
void api_reply_nothing(struct api_call *call); /* 204 */

/* Who answers for an act of this call, and what runs when it has ended. act->ctx is the call. */
struct act_origin api_origin(struct api_call *call, void (*then)(struct act *act));
/* The call an act belongs to; answers with a problem and gives NULL where the act failed. */
struct api_call *api_act_ended(struct act *act);

/* Where this call tells of what a device does. */
struct responder_site api_responder_site(struct api_call *call);

/* Zeroed memory that lives as long as the request; NULL after answering 503. */
void *api_alloc(struct api_call *call, size_t n);
#define API_NEW(call, type) ((type *)api_alloc((call), sizeof(type)))

#endif
