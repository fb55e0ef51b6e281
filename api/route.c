#include "api/route.h"

/* The segment at the start of `path`, which stands behind a "/". */
static struct slice take_segment(struct slice path)
{
    size_t n = 0;
    while (n < path.len && path.data[n] != '/')
        n++;
    return slice_of(path.data, n);
}

static enum err take_param(struct route_match *match, const struct route_node *node,
                           struct slice text)
{
    if (match->params_len == ROUTE_PARAMS_MAX || text.len > ROUTE_PARAM_MAX)
        return ERR_NOT_FOUND;
    if (text_form_check(node->form, text) != ERR_NONE)
        return ERR_NOT_FOUND;
    char *param = match->params[match->params_len++];
    memcpy(param, text.data, text.len);
    param[text.len] = '\0';
    return ERR_NONE;
}

/* The child that takes the next segment of *rest, which it shortens; NULL where none does. */
static const struct route_node *descend(const struct route_node *node, struct slice *rest,
                                        struct route_match *match)
{
    struct slice segment = take_segment(*rest);
    for (uint16_t i = 0; i < node->children; i++) {
        const struct route_node *child = &route_nodes[node->first + i];
        if (child->segment != NULL && !slice_equal(segment, slice_of_text(child->segment)))
            continue;
        if (child->tail)
            segment = *rest;
        if (child->segment == NULL && take_param(match, child, segment) != ERR_NONE)
            return NULL;
        *rest = slice_of(rest->data + segment.len, rest->len - segment.len);
        return child;
    }
    return NULL;
}

enum err route_find(enum http_method method, const char *path, enum listener listener,
                    struct route_match *ret_match)
{
    struct slice rest = slice_of_text(path);
    struct route_match match = {0};
    const struct route_node *node = &route_nodes[0];
    while (rest.len > 0) {
        if (rest.data[0] != '/')
            return ERR_NOT_FOUND;
        rest = slice_of(rest.data + 1, rest.len - 1);
        node = descend(node, &rest, &match);
        if (node == NULL)
            return ERR_NOT_FOUND;
    }
    for (unsigned m = 0; m < HTTP_METHOD_COUNT; m++) {
        if (node->routes[m] == 0)
            continue;
        const struct route *route = &routes[node->routes[m] - 1];
        if (route->caller[listener] == CALLER_NOBODY)
            continue;
        match.allowed |= 1U << m;
        if (m == (unsigned)method)
            match.route = route;
    }
    if (match.allowed == 0)
        return ERR_NOT_FOUND;
    *ret_match = match;
    return match.route != NULL ? ERR_NONE : ERR_UNSUPPORTED;
}

const char *listener_text(enum listener listener)
{
    static const char *const texts[LISTENER_COUNT] = {
        [LISTENER_DEVICE] = "device",     [LISTENER_BOOTSTRAP] = "bootstrap",
        [LISTENER_OPERATOR] = "operator", [LISTENER_STATUS] = "status",
        [LISTENER_LOCAL] = "local",
    };
    return (unsigned)listener < LISTENER_COUNT ? texts[listener] : "unknown";
}

const char *caller_text(enum caller caller)
{
    static const char *const texts[CALLER_COUNT] = {
        [CALLER_NOBODY] = "nobody",
        [CALLER_PUBLIC] = "public",
        [CALLER_ENROLMENT] = "enrolment",
        [CALLER_DEVICE] = "device",
        [CALLER_DEVICE_ENROLLED] = "device-enrolled",
        [CALLER_DEVICE_EXPIRED] = "device-expired",
        [CALLER_BROKER] = "broker",
        [CALLER_TOKEN_LEDGER] = "token-ledger",
        [CALLER_TOKEN_METRICS] = "token-metrics",
        [CALLER_TOKEN_HOOKS] = "token-hooks",
        [CALLER_LOCAL] = "local",
    };
    return (unsigned)caller < CALLER_COUNT ? texts[caller] : "unknown";
}

const char *rate_class_text(enum rate_class rate)
{
    static const char *const texts[RATE_CLASS_COUNT] = {
        [RATE_PUBLIC] = "public",           [RATE_ENROLMENT] = "enrolment",
        [RATE_DEVICE_READ] = "device-read", [RATE_DEVICE_WRITE] = "device-write",
        [RATE_OPERATOR] = "operator",       [RATE_LEDGER] = "ledger",
        [RATE_STATUS] = "status",           [RATE_HOOKS] = "hooks",
        [RATE_BROKER] = "broker",
    };
    return (unsigned)rate < RATE_CLASS_COUNT ? texts[rate] : "unknown";
}
