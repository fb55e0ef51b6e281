#include "base/json.h"

#include <string.h>

/* jansson recurses with the text's depth and only stops at 2048, so depth is looked at first.
 * Inside a string, brackets mean nothing; whether the text is JSON at all is for jansson to say. */
static bool too_deep(struct slice text, unsigned *ret_line, unsigned *ret_column)
{
    size_t depth = 0;
    unsigned line = 1, column = 0;
    bool in_string = false;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        column++;
        if (in_string && c == '\\') {
            i++; /* whatever is escaped does not end the string */
            column++;
        } else if (c == '"') {
            in_string = !in_string;
        } else if (c == '\n') {
            line++;
            column = 0;
        } else if (!in_string && (c == '{' || c == '[')) {
            if (++depth > JSON_READ_DEPTH_MAX) {
                *ret_line = line;
                *ret_column = column;
                return true;
            }
        } else if (!in_string && (c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return false;
}

/* jansson quotes the text at the place of the error; it may be a secret, so it is left out. */
static void explain(const json_error_t *error, struct problem *problem)
{
    const char *near = strstr(error->text, " near ");
    int n = near == NULL ? (int)strlen(error->text) : (int)(near - error->text);
    bool repeated = json_error_code(error) == json_error_duplicate_key;
    (void)problem_set(problem, 400, repeated ? "json-duplicate-key" : "json-malformed", NULL,
                      "The body is not JSON as it is taken here: %.*s at line %d, column %d.", n,
                      error->text, error->line, error->column);
}

enum err json_read_object(struct slice text, json_t **ret_object, struct problem *problem)
{
    unsigned line = 0, column = 0;
    if (too_deep(text, &line, &column)) {
        (void)problem_set(problem, 400, "json-too-deep", NULL,
                          "The body is nested deeper than %d levels at line %u, column %u.",
                          JSON_READ_DEPTH_MAX, line, column);
        return ERR_LIMIT;
    }
    /* jansson says nothing where memory runs out halfway */
    json_error_t error = {.text = ""};
    json_t *object = json_loadb(text.len == 0 ? "" : (const char *)text.data, text.len,
                                JSON_REJECT_DUPLICATES, &error);
    if (object == NULL &&
        (error.text[0] == '\0' || json_error_code(&error) == json_error_out_of_memory)) {
        problem_from_err(problem, ERR_NO_MEMORY);
        return ERR_NO_MEMORY;
    }
    if (object == NULL) {
        explain(&error, problem);
        return ERR_SYNTAX;
    }
    if (!json_is_object(object)) {
        json_decref(object);
        (void)problem_set(problem, 400, "json-not-object", NULL,
                          "The body must be a JSON object, \"{...}\", at line 1, column 1.");
        return ERR_SYNTAX;
    }
    *ret_object = object;
    return ERR_NONE;
}

void json_cleanup(json_t **j)
{
    json_decref(*j);
    *j = NULL;
}
