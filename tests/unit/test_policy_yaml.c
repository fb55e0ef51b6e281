/* policy/yaml.h: what is taken, with places; and each refusal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/yaml.h"

static struct arena *arena;
static struct policy_complaint complaint;

static enum err read_text(const char *text, size_t len, struct yaml_node **ret_root)
{
    arena_reset(arena);
    complaint = (struct policy_complaint){.text = ""};
    return yaml_read(slice_of(text, len), arena, ret_root, &complaint);
}

static void assert_text(const struct yaml_node *node, const char *text)
{
    assert_non_null(node);
    assert_int_equal(node->kind, YAML_TEXT);
    assert_true(slice_equal(node->text, slice_of_text(text)));
}

static void takes_maps_lists_and_texts(void **state)
{
    (void)state;
    static const char text[] = "# comment\n"
                               "---\n"
                               "a: {b: [1, \"two\\tx\"], c: 'th''ree'}\r\n"
                               "\"k\":\n"
                               "  - plain text  # and a comment\n"
                               "  - \xc3\xa4\xf0\x9f\x8c\xa1: {}\n";
    struct yaml_node *root = NULL;
    /* a tab is no character of one line */
    assert_int_equal(read_text(text, sizeof text - 1, &root), ERR_SYNTAX);
    char clean[sizeof text];
    memcpy(clean, text, sizeof text);
    memcpy(strstr(clean, "\\t"), "\\\\", 2);
    assert_int_equal(read_text(clean, sizeof clean - 1, &root), ERR_NONE);
    assert_string_equal(complaint.text, "");
    assert_int_equal(root->kind, YAML_MAP);
    assert_int_equal(root->len, 2);
    const struct yaml_node *a = yaml_get(root, "a");
    assert_int_equal(a->kind, YAML_MAP);
    assert_int_equal(a->key_line, 3);
    assert_int_equal(a->key_column, 1);
    assert_int_equal(a->line, 3);
    assert_int_equal(a->column, 4);
    const struct yaml_node *b = yaml_get(a, "b");
    assert_int_equal(b->kind, YAML_LIST);
    assert_int_equal(b->len, 2);
    assert_text(b->first, "1");
    assert_true(b->first->plain);
    assert_text(b->first->next, "two\\x");
    assert_false(b->first->next->plain);
    assert_text(yaml_get(a, "c"), "th'ree");
    const struct yaml_node *k = yaml_get(root, "k");
    assert_false(k->key_plain);
    assert_int_equal(k->line, 5);
    assert_text(k->first, "plain text");
    const struct yaml_node *inner = k->first->next->first;
    assert_int_equal(inner->key_line, 6);
    assert_int_equal(inner->line, 6);
    assert_int_equal(inner->column, 9); /* characters, not bytes */
    assert_null(yaml_get(root, "b"));
    assert_null(yaml_get(b, "b"));
    assert_null(yaml_get(NULL, "b"));
}

struct refused {
    const char *text;
    size_t len;
    enum err err;
    unsigned line, column;
    const char *says; /* a part of the complaint */
};
#define REFUSED(text, ...)                                                                         \
    {                                                                                              \
        (text), sizeof(text) - 1, __VA_ARGS__                                                      \
    }

static const struct refused refusals[] = {
    REFUSED("", ERR_SYNTAX, 1, 1, "the file says nothing"),
    REFUSED("# nothing\n", ERR_SYNTAX, 1, 1, "the file says nothing"),
    REFUSED("a: &x 1", ERR_SYNTAX, 1, 4, "'&' begins an anchor"),
    REFUSED("a: &x [1]", ERR_SYNTAX, 1, 4, "'&' begins an anchor"),
    REFUSED("a: &x {b: 1}", ERR_SYNTAX, 1, 4, "'&' begins an anchor"),
    REFUSED("&x a: 1", ERR_SYNTAX, 1, 1, "'&' begins an anchor"),
    REFUSED("a: 1\nb: *a", ERR_SYNTAX, 2, 4, "'*' begins an alias"),
    REFUSED("*a : 1", ERR_SYNTAX, 1, 1, "'*' begins an alias"),
    REFUSED("a: !!str 1", ERR_SYNTAX, 1, 4, "'!' begins a tag"),
    REFUSED("a: ! 1", ERR_SYNTAX, 1, 4, "'!' begins a tag"),
    REFUSED("a: !x [1]", ERR_SYNTAX, 1, 4, "'!' begins a tag"),
    REFUSED("a: !!map {}", ERR_SYNTAX, 1, 4, "'!' begins a tag"),
    REFUSED("%YAML 1.1\n---\na: 1", ERR_SYNTAX, 1, 1, "'%' begins a directive"),
    REFUSED("%TAG ! x\n---\na: 1", ERR_SYNTAX, 1, 1, "'%' begins a directive"),
    REFUSED("a: 1\n---\nb: 1", ERR_SYNTAX, 2, 1, "a second document"),
    REFUSED("a: 1\n...\nb: 1", ERR_SYNTAX, 3, 1, "did not find expected"),
    REFUSED("a: 1\nb: 2\na: 3", ERR_SYNTAX, 3, 1, "'a' stands here twice; the first is in line 1"),
    REFUSED("a: 1\n\"\\u0061\": 3", ERR_SYNTAX, 2, 1, "'a' stands here twice"),
    REFUSED("{a: 1, 'a': 3}", ERR_SYNTAX, 1, 8, "'a' stands here twice"),
    REFUSED("? [a]\n: 1", ERR_SYNTAX, 1, 3, "a key must be a text"),
    REFUSED("? {a: b}\n: 1", ERR_SYNTAX, 1, 3, "a key must be a text"),
    REFUSED("a: [[[[[[[[[1]]]]]]]]]", ERR_SYNTAX, 0, 0, ""), /* ten: see below */
    REFUSED("a: [[[[[[[[[[1]]]]]]]]]]", ERR_LIMIT, 1, 13, "deeper than 10 levels"),
    REFUSED("a: \"x", ERR_SYNTAX, 1, 6, "unexpected end of stream"),
    REFUSED("a: [1", ERR_SYNTAX, 2, 1, "missing?"),
    REFUSED("a: 1\n\tb: 2", ERR_SYNTAX, 2, 1, "indented by spaces"),
    REFUSED("a: 1\n  b: 2", ERR_SYNTAX, 2, 4, "indented too far"),
    REFUSED("a: b: c", ERR_SYNTAX, 1, 5, "indented too far"),
    REFUSED("a: x\x01y", ERR_SYNTAX, 1, 5, "U+0001"),
    REFUSED("a: x\0y", ERR_SYNTAX, 1, 5, "U+0000"),
    REFUSED("a: 1\rb: 2", ERR_SYNTAX, 1, 5, "U+000D"),
    REFUSED("a: 1\nb: \xff", ERR_SYNTAX, 2, 4, "not UTF-8"),
    REFUSED("a: \xc0\x80", ERR_SYNTAX, 1, 4, "not UTF-8"),
    REFUSED("a: \xed\xa0\x80", ERR_SYNTAX, 1, 4, "not UTF-8"),
    REFUSED("\xef\xbb\xbf"
            "a: 1",
            ERR_SYNTAX, 1, 1, "U+FEFF"),
    REFUSED("a: x\xe2\x80\xae", ERR_SYNTAX, 1, 5, "U+202E"),
    REFUSED("# \xe2\x81\xa6 in a comment\na: 1", ERR_SYNTAX, 1, 3, "U+2066"),
    REFUSED("a: x\xe2\x80\xa8y", ERR_SYNTAX, 1, 5, "U+2028"),
    REFUSED("a: x\xc2\x85y", ERR_SYNTAX, 1, 5, "U+0085"),
    REFUSED("\xff\xfe"
            "a\0:\0 \0x\0",
            ERR_SYNTAX, 1, 1, "not UTF-8"), /* UTF-16 */
    REFUSED("a: \"x\\0y\"", ERR_SYNTAX, 1, 4, "in one line"),
    REFUSED("a: \"x\\u202ey\"", ERR_SYNTAX, 1, 4, "in one line"),
    REFUSED("a: \"x\\uD800y\"", ERR_SYNTAX, 1, 8, "invalid Unicode character escape code"),
    REFUSED("a: |\n  two\n  lines\n", ERR_SYNTAX, 1, 4, "in one line"),
    REFUSED("\"a\\nb\": 1", ERR_SYNTAX, 1, 1, "in one line"),
};

static void refuses(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        const struct refused *c = &refusals[i];
        struct yaml_node *root = NULL;
        enum err err = read_text(c->text, c->len, &root);
        if (c->line == 0) {
            assert_int_equal(err, ERR_NONE);
            continue;
        }
        bool right = err == c->err && complaint.line == c->line && complaint.column == c->column &&
                     strstr(complaint.text, c->says) != NULL && root == NULL;
        if (!right)
            fail_msg("%s\n-> %s, %u:%u: %s", c->text, err_text(err), complaint.line,
                     complaint.column, complaint.text);
    }
}

/* `n` times `each` between `before` and `after`. */
static enum err read_many(const char *before, const char *each, size_t n, const char *after)
{
    size_t max = strlen(before) + n * (strlen(each) + 8) + strlen(after) + 1, len = 0;
    char *text = malloc(max);
    struct yaml_node *root = NULL;
    assert_non_null(text);
    len += (size_t)snprintf(text, max, "%s", before);
    for (size_t i = 0; i < n; i++)
        len += (size_t)snprintf(text + len, max - len, each, i);
    len += (size_t)snprintf(text + len, max - len, "%s", after);
    enum err err = read_text(text, len, &root);
    free(text);
    return err;
}

static void has_limits(void **state)
{
    (void)state;
    assert_int_equal(read_many("", "a%zu: 1\n", YAML_KEYS_MAX, ""), ERR_NONE);
    assert_int_equal(read_many("", "a%zu: 1\n", YAML_KEYS_MAX + 1, ""), ERR_LIMIT);
    assert_non_null(strstr(complaint.text, "more than 4096 keys"));
    assert_int_equal(complaint.line, YAML_KEYS_MAX + 1);
    assert_int_equal(read_many("[", "1,", YAML_NODES_MAX - 1, "]"), ERR_NONE);
    assert_int_equal(read_many("[", "1,", YAML_NODES_MAX, "]"), ERR_LIMIT);
    assert_non_null(strstr(complaint.text, "more than 65536 keys and values"));
    assert_int_equal(read_many("", "x", YAML_TEXT_MAX, ""), ERR_NONE);
    assert_int_equal(read_many("a: ", "x", YAML_TEXT_MAX + 1, ""), ERR_LIMIT);
    assert_non_null(strstr(complaint.text, "longer than 1024 bytes"));
    assert_int_equal(complaint.column, 4);
    assert_int_equal(read_many("a: 1", "#", POLICY_TEXT_MAX, ""), ERR_LIMIT);
    assert_non_null(strstr(complaint.text, "at most 262144 bytes"));
    /* what costs its reader: depth is refused as it is met, not when all is read */
    assert_int_equal(read_many("", "[", POLICY_TEXT_MAX, ""), ERR_LIMIT);
    assert_int_equal(read_many("", "{a: ", 60000, ""), ERR_LIMIT);
    assert_int_equal(read_many("", "- ", 100000, ""), ERR_LIMIT);
    assert_int_equal(read_many("", "? ", 100000, ""), ERR_SYNTAX);
}

static void stays_within_the_arena(void **state)
{
    (void)state;
    static const char text[] = "a: {b: [1, 2, 3], c: three}\nd: four\n";
    for (size_t max = 0;; max += 16) {
        struct arena *small = arena_new(max);
        struct yaml_node *root = NULL;
        enum err err = yaml_read(slice_of(text, sizeof text - 1), small, &root, &complaint);
        arena_free(small);
        if (err == ERR_NONE)
            break;
        assert_int_equal(err, ERR_NO_MEMORY);
        assert_null(root);
        assert_true(max < 8192);
    }
}

static void knows_what_needs_quotes(void **state)
{
    (void)state;
    static const char *const words[] = {
        "",   "~",  "null", "NULL",  "No",  "on",   "true", "123",   "1.5",       "-1",
        "+1", ".5", "0x1F", "1_000", "1e5", ".inf", "007",  "12:30", "2026-11-28"};
    static const char *const texts[] = {"thermo-1", "a",   "none", "note",   "x1",
                                        "floor-1",  "1st", "-",    "truely", "e5"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (!yaml_is_word(slice_of_text(words[i])))
            fail_msg("'%s' is no text to YAML", words[i]);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (yaml_is_word(slice_of_text(texts[i])))
            fail_msg("'%s' is a text to YAML", texts[i]);
}

static void complaints_are_harmless(void **state)
{
    (void)state;
    assert_int_equal(policy_complain(&complaint, 3, 4, ERR_LIMIT, "%s", "a\x1b[31m\xff\xc3\xa4"),
                     ERR_LIMIT);
    assert_string_equal(complaint.text, "a?[31m?\xc3\xa4");
    char text[2 * POLICY_LOCATED_MAX];
    memset(text, 'x', sizeof text);
    text[POLICY_LOCATED_MAX - 2] = '\xc3'; /* a character that would be cut in two */
    text[POLICY_LOCATED_MAX - 1] = '\xa4';
    text[sizeof text - 1] = '\0';
    (void)policy_complain(&complaint, 0, 0, ERR_LIMIT, "%s", text);
    assert_int_equal(strlen(complaint.text), POLICY_LOCATED_MAX - 2);
}

static int set_up(void **state)
{
    (void)state;
    arena = arena_new(POLICY_ARENA_MAX);
    return arena == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_maps_lists_and_texts),
        cmocka_unit_test(refuses),
        cmocka_unit_test(has_limits),
        cmocka_unit_test(stays_within_the_arena),
        cmocka_unit_test(knows_what_needs_quotes),
        cmocka_unit_test(complaints_are_harmless),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
