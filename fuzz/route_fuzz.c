/* A path that is found says, with its parameters put back into the template, what it was. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "api/routes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HANDLER(operation)                                                                         \
    void api_##operation(struct api_call *call)                                                    \
    {                                                                                              \
        (void)call;                                                                                \
    }
API_OPERATIONS(HANDLER)

static void check_template(const struct route_match *match, const char *path)
{
    size_t param = 0;
    for (const char *at = match->route->path; *at != '\0'; at++) {
        if (*at != '{') {
            assert(*path++ == *at);
            continue;
        }
        assert(param < match->params_len);
        size_t len = strlen(match->params[param]);
        assert(len > 0 && strncmp(path, match->params[param], len) == 0);
        assert(strchr(match->params[param], '%') == NULL);
        path += len;
        param++;
        at = strchr(at, '}');
    }
    assert(*path == '\0' && param == match->params_len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *path = malloc(size + 1);
    assert(path != NULL);
    if (size > 0)
        memcpy(path, data, size);
    path[size] = '\0';
    for (unsigned listener = 0; listener < LISTENER_COUNT; listener++)
        for (unsigned method = 0; method < HTTP_METHOD_COUNT; method++) {
            struct route_match match = {0};
            enum err err =
                route_find((enum http_method)method, path, (enum listener)listener, &match);
            if (err == ERR_NONE) {
                assert((match.allowed >> method & 1) == 1);
                assert(match.route->caller[listener] != CALLER_NOBODY);
                check_template(&match, path);
            } else if (err == ERR_UNSUPPORTED) {
                assert(match.allowed != 0 && (match.allowed >> method & 1) == 0);
            } else {
                assert(err == ERR_NOT_FOUND && match.allowed == 0);
            }
        }
    free(path);
    return 0;
}
