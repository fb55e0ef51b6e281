/* Which operation of the contract does a request mean? The table is made from api/openapi.yaml by
 * api/generate.py (api/routes.h); what is not in it does not exist. */
#ifndef API_ROUTE_H
#define API_ROUTE_H

#include "api/form.h"
#include "base/http.h"

#define ROUTE_PARAMS_MAX 2   /* no path of the contract has more */
#define ROUTE_PARAM_MAX  255 /* bytes: a name, a tile's path, or an OCSP request */

enum listener {
    LISTENER_DEVICE,
    LISTENER_BOOTSTRAP,
    LISTENER_OPERATOR,
    LISTENER_STATUS,
    LISTENER_LOCAL,
    LISTENER_COUNT
};

/* Who may call; what each means stands at the head of openapi.yaml. */
enum caller {
    CALLER_NOBODY, /* not served on that listener */
    CALLER_PUBLIC,
    CALLER_ENROLMENT,
    CALLER_DEVICE,
    CALLER_DEVICE_ENROLLED,
    CALLER_DEVICE_EXPIRED,
    CALLER_BROKER,
    CALLER_TOKEN_LEDGER,
    CALLER_TOKEN_METRICS,
    CALLER_TOKEN_HOOKS,
    CALLER_LOCAL,
    CALLER_COUNT
};

enum rate_class {
    RATE_PUBLIC,
    RATE_ENROLMENT,
    RATE_DEVICE_READ,
    RATE_DEVICE_WRITE,
    RATE_OPERATOR,
    RATE_LEDGER,
    RATE_STATUS,
    RATE_HOOKS,
    RATE_BROKER,
    RATE_CLASS_COUNT
};

struct api_call; /* hub/api/call.h */
typedef void route_handler_fn(struct api_call *call);

struct route {
    enum http_method method;
    const char *path;                   /* "/v1/models/{model}": for metrics and logs */
    const char *operation;              /* "model_show" */
    enum caller caller[LISTENER_COUNT]; /* by listener */
    unsigned listeners;                 /* mask of 1 << enum listener: those with a caller */
    enum rate_class rate;
    size_t body_max;       /* bytes; 0 where the operation takes no body */
    const char *body_type; /* media type of the body, without parameters; NULL where none */
    bool takes_query;      /* else any query is refused */
    bool fleet_wide;       /* about all tenants' things: for the tenant `default` alone */
    route_handler_fn *handler;
};

/* Segments of paths as a tree; the children of a node are either literals or one parameter. */
struct route_node {
    const char *segment;                /* NULL: a parameter */
    const struct text_form *form;       /* of the parameter */
    bool tail;                          /* the parameter takes the rest of the path */
    uint16_t first, children;           /* route_nodes[first .. first + children) */
    uint16_t routes[HTTP_METHOD_COUNT]; /* index into routes[] plus 1, or 0 */
};

struct route_match {
    const struct route *route;
    /* What stands for {...} in the path, in that order; it has the form its schema asks for. */
    char params[ROUTE_PARAMS_MAX][ROUTE_PARAM_MAX + 1];
    size_t params_len;
    unsigned allowed; /* after ERR_UNSUPPORTED: mask of 1 << enum http_method */
};

/* `path` without the query. ERR_NOT_FOUND: nothing of that path is served on this listener (404);
 * ERR_UNSUPPORTED: it is, with other methods (405, ret_match->allowed is set for the Allow field).
 * A parameter that does not have its form is ERR_NOT_FOUND: no such thing can be there. Nothing is
 * percent-decoded, for no path of the contract needs it. */
MUST_USE enum err route_find(enum http_method method, const char *path, enum listener listener,
                             struct route_match *ret_match);

/* "device", "token-ledger", "device-write": as they stand in the contract; never NULL. */
const char *listener_text(enum listener listener);
const char *caller_text(enum caller caller);
const char *rate_class_text(enum rate_class rate);

/* Made by generate.py. */
extern const struct route routes[];
extern const size_t routes_len;
extern const struct route_node route_nodes[]; /* route_nodes[0] is "/" */

#endif
