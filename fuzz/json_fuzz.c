/* base/json.h: what is taken is an object that reads the same when written again; what is refused
 * is explained. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

static size_t depth_of(const json_t *j)
{
    size_t deepest = 0;
    if (json_is_object(j)) {
        for (void *at = json_object_iter((json_t *)j); at != NULL;
             at = json_object_iter_next((json_t *)j, at)) {
            size_t depth = depth_of(json_object_iter_value(at));
            deepest = depth > deepest ? depth : deepest;
        }
    }
    for (size_t i = 0; json_is_array(j) && i < json_array_size(j); i++) {
        size_t depth = depth_of(json_array_get(j, i));
        deepest = depth > deepest ? depth : deepest;
    }
    return json_is_object(j) || json_is_array(j) ? deepest + 1 : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *first = NULL, *second = NULL;
    struct problem problem = {0};
    if (json_read_object(slice_of(data, size), &first, &problem) != ERR_NONE) {
        assert(first == NULL && problem.status >= 400 && problem.detail[0] != '\0');
        char bytes[2048];
        struct writer w = writer_over(bytes, sizeof bytes);
        problem_write(&w, &problem);
        assert(w.err == ERR_NONE);
        /* what the client gets is JSON whatever it sent */
        assert(json_read_object(writer_bytes(&w), &second, &problem) == ERR_NONE);
        json_decref(second);
        return 0;
    }
    assert(json_is_object(first) && problem.status == 0);
    assert(depth_of(first) <= JSON_READ_DEPTH_MAX);
    char *text = json_dumps(first, JSON_COMPACT | JSON_REAL_PRECISION(17));
    assert(text != NULL);
    assert(json_read_object(slice_of_text(text), &second, &problem) == ERR_NONE);
    assert(json_equal(first, second));
    free(text);
    json_decref(first);
    json_decref(second);
    return 0;
}
