#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/file.h"
#include "cli/settings.h"
#include "tests/unit/temporary_folder.h"

static char folder[PATH_MAX], path[PATH_MAX + 16];
static struct cli cli;

static int start(void **state)
{
    (void)state;
    temporary_folder_make(folder);
    (void)snprintf(path, sizeof path, "%s/hub.conf", folder);
    (void)unsetenv("HOLDFAST_SOCKET");
    cli = (struct cli){.config = path, .json = true};
    return 0;
}

static int end(void **state)
{
    (void)state;
    temporary_folder_remove(folder);
    return 0;
}

static void put(const char *text)
{
    assert_int_equal(file_replace(path, slice_of_text(text), 0644), ERR_NONE);
}

static void assert_inside(const char *value, const char *name)
{
    char expected[PATH_MAX + 64];
    (void)snprintf(expected, sizeof expected, "%s/%s", folder, name);
    assert_string_equal(value, expected);
}

static void reads_what_is_of_interest(void **state)
{
    (void)state;
    struct settings s;
    struct config_error error = {""};
    put("# fleet = not.this\n"
        "fleet = fleet.example\n"
        "a-key-of-tomorrow = 7 # with what would be an error\n"
        "  state\t=  state  \n"
        "socket-group = x\n"
        "sockets\n"
        "socket=run/hub.sock\n"
        "names = hub.example, 192.0.2.7\n"
        "connections = 10");
    assert_int_equal(settings_read(&cli, &s, &error), ERR_NONE);
    assert_string_equal(s.path, path);
    assert_string_equal(s.fleet, "fleet.example");
    assert_inside(s.state, "state");
    assert_inside(s.socket, "run/hub.sock");
    assert_int_equal(s.names.n, 2);
    assert_string_equal(s.names.items[1], "192.0.2.7");
    assert_int_equal(s.connections, 10);
    assert_string_equal(s.store, ""); /* what is not said is empty */
}

static void tells_what_is_wrong_with_its_line(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"x = 1\n\nsocket = a\nsocket = b\n", "hub.conf:4: 'socket' is set twice, first on line 3"},
        {"y\nconnections = many\n", "hub.conf:2: 'connections' is not a whole number"},
        {"state = \x01\n", "hub.conf:1: "},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct settings s = {.path = "untouched"};
        struct config_error error = {""};
        put(cases[i].text);
        assert_int_equal(settings_read(&cli, &s, &error), ERR_SYNTAX);
        if (strstr(error.text, cases[i].says) == NULL)
            fail_msg("\"%s\" is not in \"%s\"", cases[i].says, error.text);
        assert_string_equal(s.path, "untouched");
    }
}

static void looks_in_order(void **state)
{
    (void)state;
    char found[CONFIG_TEXT_MAX];
    put("socket = configured\nstate = configured\n");
    assert_int_equal(setenv("HOLDFAST_SOCKET", "/environment", 1), 0);
    assert_int_equal(settings_socket(&cli, found), CLI_OK);
    assert_inside(found, "configured");
    assert_int_equal(settings_state(&cli, found), CLI_OK);
    assert_inside(found, "configured");
    cli.socket = "/given";
    cli.state = "given";
    assert_int_equal(settings_socket(&cli, found), CLI_OK);
    assert_string_equal(found, "/given");
    assert_int_equal(settings_state(&cli, found), CLI_OK);
    assert_string_equal(found, "given");
    cli.socket = cli.config = NULL;
    assert_int_equal(settings_socket(&cli, found), CLI_OK);
    assert_string_equal(found, "/environment");
}

static void wants_the_configuration_it_is_given(void **state)
{
    (void)state;
    char found[CONFIG_TEXT_MAX];
    assert_int_equal(settings_socket(&cli, found), CLI_FILE);
    put("state = a\nstate = b\n");
    assert_int_equal(settings_state(&cli, found), CLI_USAGE);
    put("# nothing\n");
    assert_int_equal(settings_socket(&cli, found), CLI_OK);
    assert_string_equal(found, SETTINGS_SOCKET_PATH);
    assert_int_equal(settings_state(&cli, found), CLI_OK);
    assert_string_equal(found, SETTINGS_STATE_PATH);
}

static void finds_the_fleet_of_a_state(void **state)
{
    (void)state;
    static const char vkey[] =
        "fleet.example/ledger+c4442b66+AYFFhSwWrME66I34AXl7ICqaBY4ID9TKzVBUVXc/OoMZ\n";
    char fleet[CONFIG_TEXT_MAX];
    assert_int_equal(settings_fleet(&cli, folder, fleet), CLI_NOT_FOUND);
    (void)snprintf(path, sizeof path, "%s/ledger.vkey", folder);
    put(vkey);
    assert_int_equal(settings_fleet(&cli, folder, fleet), CLI_OK);
    assert_string_equal(fleet, "fleet.example");
    put("fleet.example/ledger+c4442b67+AYFFhSwWrME66I34AXl7ICqaBY4ID9TKzVBUVXc/OoMZ\n");
    assert_int_equal(settings_fleet(&cli, folder, fleet), CLI_FILE);
    put("");
    assert_int_equal(settings_fleet(&cli, folder, fleet), CLI_FILE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_what_is_of_interest, start, end),
        cmocka_unit_test_setup_teardown(tells_what_is_wrong_with_its_line, start, end),
        cmocka_unit_test_setup_teardown(looks_in_order, start, end),
        cmocka_unit_test_setup_teardown(wants_the_configuration_it_is_given, start, end),
        cmocka_unit_test_setup_teardown(finds_the_fleet_of_a_state, start, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
