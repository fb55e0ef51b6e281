/* policy/policy.h: what is taken compiles to rules that can be read, the same each time; what is
 * refused has a complaint that a terminal can show; nothing differs from itself. */
#include <assert.h>
#include <string.h>

#include "core/utf8.h"
#include "policy/policy.h"

static void check_complaint(const struct policy_complaint *complaint)
{
    assert(memchr(complaint->text, '\0', sizeof complaint->text) != NULL);
    assert(complaint->text[0] != '\0');
    struct slice left = slice_of_text(complaint->text);
    while (left.len > 0) {
        size_t n = utf8_sequence(left);
        assert(n > 0 && left.data[0] >= 0x20 && left.data[0] != 0x7f);
        left = slice_of(left.data + n, left.len - n);
    }
}

static void run_tests(const struct policy *policy, struct slice body)
{
    struct rules rules;
    enum err err = rules_read_body(body, &rules);
    assert(err == ERR_NONE);
    assert(rules.models_len == policy->models_len && rules.groups_len == policy->groups_len);
    for (size_t i = 0; i < policy->tests_len; i++) {
        static uint8_t text[4096];
        struct writer w = writer_over(text, sizeof text);
        bool holds = policy_test_holds(&policy->tests[i], &rules);
        struct policy_test turned = policy->tests[i];
        turned.expected = !turned.expected;
        assert(policy_test_holds(&turned, &rules) != holds);
        policy_test_text(&w, &turned);
        policy_test_verdict(&w, &turned, &rules);
        assert(w.err == ERR_NONE);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct arena *arena;
    struct policy policy = {.fleet = ""};
    struct policy_complaint complaint, *warnings = NULL;
    struct slice first, second;
    size_t warnings_len = 0;
    if (arena == NULL)
        arena = arena_new(POLICY_ARENA_MAX);
    arena_reset(arena);
    enum err err = policy_read(slice_of(data, size), arena, &policy, &complaint);
    if (err != ERR_NONE) {
        assert(err == ERR_SYNTAX || err == ERR_LIMIT);
        check_complaint(&complaint);
        return 0;
    }
    err = policy_compile(&policy, arena, &first);
    if (err == ERR_LIMIT)
        return 0; /* more than rules may have */
    assert(err == ERR_NONE);
    err = policy_compile(&policy, arena, &second);
    assert(err == ERR_NONE && slice_equal(first, second));
    run_tests(&policy, first);
    struct policy_difference *differences = NULL;
    size_t differences_len = 0;
    err = policy_diff(&policy, &policy, arena, &differences, &differences_len);
    assert(err == ERR_NONE && differences_len == 0);
    err = policy_diff(NULL, &policy, arena, &differences, &differences_len);
    assert(err == ERR_NONE || err == ERR_LIMIT);
    err = policy_warn(&policy, arena, &warnings, &warnings_len);
    assert(err == ERR_NONE && warnings_len <= POLICY_WARNINGS_MAX);
    for (size_t i = 0; i < warnings_len; i++)
        check_complaint(&warnings[i]);
    return 0;
}
