/* The body of the rules that a policy.yaml (standard input) stands for, on standard output: for
 * tests that sign rules themselves. */
#include <stdio.h>
#include <stdlib.h>

#include "policy/policy.h"

int main(void)
{
    static uint8_t text[POLICY_TEXT_MAX];
    size_t n = fread(text, 1, sizeof text, stdin);
    struct arena *arena = arena_new((size_t)64 << 20);
    struct policy policy;
    struct policy_complaint complaint = {0};
    struct slice body;
    enum err err =
        arena == NULL ? ERR_NO_MEMORY : policy_read(slice_of(text, n), arena, &policy, &complaint);
    if (err == ERR_NONE)
        err = policy_compile(&policy, arena, &body);
    if (err != ERR_NONE)
        (void)fprintf(stderr, "policy:%u:%u: %s (%s)\n", complaint.line, complaint.column,
                      complaint.text, err_text(err));
    bool ok = err == ERR_NONE && fwrite(body.data, 1, body.len, stdout) == body.len &&
              fflush(stdout) == 0;
    arena_free(arena);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
