#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/config.h"
#include "tests/unit/failing_malloc.h"

struct settings {
    char listen[CONFIG_TEXT_MAX];
    char state[CONFIG_TEXT_MAX];
    int64_t loops;
    int64_t lifetime;
    bool debug;
    struct config_list origins;
};

#define FIELD(f) offsetof(struct settings, f)
static const struct config_key keys[] = {
    {.name = "listen", .kind = CONFIG_TEXT, .offset = FIELD(listen), .help = "address"},
    {.name = "state-folder", .kind = CONFIG_PATH, .offset = FIELD(state), .standard = "state"},
    {.name = "loops",
     .kind = CONFIG_INTEGER,
     .offset = FIELD(loops),
     .min = -4,
     .max = 64,
     .standard = "2"},
    {.name = "lifetime",
     .kind = CONFIG_DURATION,
     .offset = FIELD(lifetime),
     .min = 60,
     .max = 31536000,
     .standard = "90d"},
    {.name = "debug", .kind = CONFIG_BOOL, .offset = FIELD(debug), .standard = "false"},
    {.name = "origins", .kind = CONFIG_LIST, .offset = FIELD(origins), .standard = ""},
};

static struct settings got;
static struct config_error error;

static enum err read_text(struct slice text)
{
    memset(&got, 0, sizeof got);
    memset(&error, 0, sizeof error);
    return config_read(text, "hub.conf", "/etc/holdfast", keys, ARRAY_LEN(keys), &got, &error);
}

static void takes_standards(void **state)
{
    (void)state;
    assert_int_equal(read_text(SLICE_LITERAL("listen = [::]:8443")), ERR_NONE);
    assert_string_equal(got.listen, "[::]:8443");
    assert_string_equal(got.state, "/etc/holdfast/state");
    assert_int_equal(got.loops, 2);
    assert_int_equal(got.lifetime, 90 * 86400);
    assert_false(got.debug);
    assert_int_equal(got.origins.n, 0);
}

static void takes_what_is_written(void **state)
{
    (void)state;
    assert_int_equal(read_text(SLICE_LITERAL("# the hub\r\n\n"
                                             "\tlisten=a b# = \"c\xC3\xA4\" \r\n"
                                             "state-folder = /var/lib/holdfast\n"
                                             "loops = -4\n"
                                             "lifetime = 1y\n"
                                             "debug = true\n"
                                             "  # origins = x\n"
                                             "origins = https://a.example , b,c\n")),
                     ERR_NONE);
    assert_string_equal(got.listen, "a b# = \"c\xC3\xA4\"");
    assert_string_equal(got.state, "/var/lib/holdfast");
    assert_int_equal(got.loops, -4);
    assert_int_equal(got.lifetime, 31536000);
    assert_true(got.debug);
    assert_int_equal(got.origins.n, 3);
    assert_string_equal(got.origins.items[0], "https://a.example");
    assert_string_equal(got.origins.items[1], "b");
    assert_string_equal(got.origins.items[2], "c");
    assert_int_equal(read_text(SLICE_LITERAL("listen =\nstate-folder =\n")), ERR_NONE);
    assert_string_equal(got.listen, "");
    assert_string_equal(got.state, "");
}

static void refuses(void **state)
{
    (void)state;
    static const struct {
        struct slice text;
        enum err err;
        const char *message;
    } cases[] = {
#define CASE(text, err, message) {SLICE_LITERAL(text), err, "hub.conf" message}
        CASE("", ERR_SYNTAX, ": 'listen' is missing"),
        CASE("lisen = x", ERR_SYNTAX, ":1: unknown key 'lisen'; did you mean 'listen'?"),
        CASE("\n\nstate_folder = x", ERR_SYNTAX,
             ":3: unknown key 'state_folder'; did you mean 'state-folder'?"),
        CASE("lifetme = x", ERR_SYNTAX, ":1: unknown key 'lifetme'; did you mean 'lifetime'?"),
        CASE("zzz = x", ERR_SYNTAX, ":1: unknown key 'zzz'"),
        CASE("LISTEN = x", ERR_SYNTAX, ":1: unknown key 'LISTEN'"),
        CASE("listen = a\ndebug = true\nlisten = b", ERR_SYNTAX,
             ":3: 'listen' is set twice, first on line 1"),
        CASE("listen", ERR_SYNTAX, ":1: expected \"name = value\""),
        CASE(" = x", ERR_SYNTAX, ":1: a name is missing before \"=\""),
        CASE("listen = a # why", ERR_SYNTAX, ":1: a comment needs a line of its own"),
        CASE("listen = # why", ERR_SYNTAX, ":1: a comment needs a line of its own"),
        CASE("listen = \xFF", ERR_SYNTAX, ":1: a byte that is not UTF-8 text"),
        CASE("listen = \xC0\xAF", ERR_SYNTAX, ":1: a byte that is not UTF-8 text"),
        CASE("listen = \xED\xA0\x80", ERR_SYNTAX, ":1: a byte that is not UTF-8 text"),
        CASE("listen = a\0b", ERR_SYNTAX, ":1: a byte that is not UTF-8 text"),
        CASE("# \x1b[2J", ERR_SYNTAX, ":1: a byte that is not UTF-8 text"),
        CASE("loops = 65", ERR_LIMIT, ":1: 'loops' is not within -4 and 64"),
        CASE("loops = -5", ERR_LIMIT, ":1: 'loops' is not within -4 and 64"),
        CASE("loops = 9223372036854775808", ERR_LIMIT, ":1: 'loops' is not within -4 and 64"),
        CASE("loops = 0x10", ERR_SYNTAX, ":1: 'loops' is not a whole number"),
        CASE("loops = 010", ERR_SYNTAX, ":1: 'loops' is not a whole number"),
        CASE("loops =", ERR_SYNTAX, ":1: 'loops' is not a whole number"),
        CASE("loops = -", ERR_SYNTAX, ":1: 'loops' is not a whole number"),
        CASE("lifetime = 59", ERR_LIMIT, ":1: 'lifetime' is not within 60 and 31536000 seconds"),
        CASE("lifetime = soon", ERR_SYNTAX,
             ":1: 'lifetime' is not a duration such as 90s, 15m, 2h or 30d"),
        CASE("debug = yes", ERR_SYNTAX, ":1: 'debug' is neither true nor false"),
        CASE("origins = a,,b", ERR_SYNTAX, ":1: 'origins' has an empty item"),
        CASE("origins = a,", ERR_SYNTAX, ":1: 'origins' has an empty item"),
        CASE("origins = ,", ERR_SYNTAX, ":1: 'origins' has an empty item"),
        CASE("origins = 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", ERR_LIMIT,
             ":1: 'origins' has more than 16 items"),
#undef CASE
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(read_text(cases[i].text), cases[i].err);
        assert_string_equal(error.text, cases[i].message);
        /* nothing was stored */
        for (size_t k = 0; k < sizeof got; k++)
            assert_int_equal(((const uint8_t *)&got)[k], 0);
    }
}

static void keeps_its_limits(void **state)
{
    (void)state;
    static char text[CONFIG_FILE_MAX + 1];
    memset(text, '#', sizeof text);
    assert_int_equal(read_text(slice_of(text, sizeof text)), ERR_LIMIT);
    assert_string_equal(error.text, "hub.conf: larger than 65536 bytes");

    static const struct {
        const char *key;
        size_t longest;
    } cases[] = {{"listen", CONFIG_TEXT_MAX - 1},
                 {"state-folder", CONFIG_TEXT_MAX - 1 - sizeof "/etc/holdfast"},
                 {"origins", 127}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int n = snprintf(text, sizeof text, "%s%s=", i == 0 ? "" : "listen=x\n", cases[i].key);
        memset(text + n, 'v', 1000);
        assert_int_equal(read_text(slice_of(text, (size_t)n + cases[i].longest)), ERR_NONE);
        assert_int_equal(read_text(slice_of(text, (size_t)n + cases[i].longest + 1)), ERR_LIMIT);
    }
    static const struct config_key many[200];
    assert_int_equal(config_read(SLICE_LITERAL(""), "x", ".", many, ARRAY_LEN(many), &got, &error),
                     ERR_INTERNAL);
}

static void reads_durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum err err;
        int64_t seconds;
    } cases[] = {
        {"0", ERR_NONE, 0},
        {"90", ERR_NONE, 90},
        {"90s", ERR_NONE, 90},
        {"15m", ERR_NONE, 900},
        {"2h", ERR_NONE, 7200},
        {"30d", ERR_NONE, 2592000},
        {"1y", ERR_NONE, 31536000},
        {"9223372036854775807", ERR_NONE, INT64_MAX},
        {"9223372036854775808", ERR_LIMIT, 0},
        {"9223372036854775807m", ERR_LIMIT, 0},
        {"", ERR_SYNTAX, 0},
        {"m", ERR_SYNTAX, 0},
        {"-1", ERR_SYNTAX, 0},
        {"1.5h", ERR_SYNTAX, 0},
        {"1h30m", ERR_SYNTAX, 0},
        {"1 h", ERR_SYNTAX, 0},
        {"1w", ERR_SYNTAX, 0},
        {"1sm", ERR_SYNTAX, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t seconds = -7;
        assert_int_equal(config_duration_read(slice_of_text(cases[i].text), &seconds),
                         cases[i].err);
        assert_int_equal(seconds, cases[i].err == ERR_NONE ? cases[i].seconds : -7);
    }
}

static char folder[] = "/tmp/holdfast-config-XXXXXX";
static char path[64];

static void reads_files(void **state)
{
    (void)state;
    char expected[600];
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs("listen = x\nstate-folder = var/state\n", f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(config_read_file(path, keys, ARRAY_LEN(keys), &got, &error), ERR_NONE);
    (void)snprintf(expected, sizeof expected, "%s/var/state", folder);
    assert_string_equal(got.state, expected);

    assert_int_equal(chdir(folder), 0);
    assert_int_equal(config_read_file("hub.conf", keys, ARRAY_LEN(keys), &got, &error), ERR_NONE);
    assert_string_equal(got.state, "./var/state");

    assert_int_equal(config_read_file("none.conf", keys, ARRAY_LEN(keys), &got, &error), ERR_IO);
    assert_string_equal(error.text, "none.conf: cannot be read: No such file or directory");
    assert_int_equal(config_read_file("/tmp", keys, ARRAY_LEN(keys), &got, &error), ERR_IO);
    assert_string_equal(error.text, "/tmp: cannot be read: Is a directory");
    assert_int_equal(config_read_file("/dev/zero", keys, ARRAY_LEN(keys), &got, &error), ERR_LIMIT);
    assert_string_equal(error.text, "/dev/zero: larger than 65536 bytes");
}

static void survives_every_failing_allocation(void **state)
{
    (void)state;
    long n = 0;
    enum err err = ERR_NO_MEMORY;
    for (; err != ERR_NONE; n++) {
        allocations_left = n;
        err = config_read_file(path, keys, ARRAY_LEN(keys), &got, &error);
        allocations_left = -1;
        if (err != ERR_NONE)
            assert_int_equal(err, ERR_NO_MEMORY);
        assert_in_range(n, 0, 100);
    }
    assert_in_range(n, 2, 100);
}

static int set_up(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    return snprintf(path, sizeof path, "%s/hub.conf", folder) > 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    (void)unlink(path);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_standards),
        cmocka_unit_test(takes_what_is_written),
        cmocka_unit_test(refuses),
        cmocka_unit_test(keeps_its_limits),
        cmocka_unit_test(reads_durations),
        cmocka_unit_test(reads_files),
        cmocka_unit_test(survives_every_failing_allocation),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
