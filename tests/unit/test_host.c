#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/host.h"

static void knows_a_host_whatever_way_it_is_written(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        bool same;
    } pairs[] = {
        {"a.example", "A.Example", true},     {"a.example", "b.example", false},
        {"a.example", "a.exampl", false},     {"127.0.0.1", "127.0.0.1", true},
        {"127.0.0.1", "::ffff:7f00:1", true}, {"127.0.0.1", "::7f00:1", false},
        {"::1", "0:0:0:0:0:0:0:1", true},     {"::1", "127.0.0.1", false},
        {"127.0.0.1", "127.0.0.01", false},   {"", "", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
        if (host_is_same(slice_of_text(pairs[i].a), slice_of_text(pairs[i].b)) != pairs[i].same)
            fail_msg("%s, %s", pairs[i].a, pairs[i].b);
}

static void tells_hosts_from_other_text(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool sound;
        size_t address;
    } hosts[] = {
        {"mqtt.example.com", true, 0},
        {"localhost", true, 0},
        {"a-b.c1", true, 0},
        {"10.0.0.5", true, 4},
        {"2001:db8::1", true, 16},
        {"10.0.0.256", false, 0},
        {"10.0.0.5:8883", false, 0},
        {"[::1]", false, 0},
        {"*.example.com", false, 0},
        {"example.com.", false, 0},
        {"a..b", false, 0},
        {"", false, 0},
        {"a b", false, 0},
        {"1.2.3", false, 0},
        {"fe80::1%eth0", false, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        uint8_t address[16];
        if (host_is_sound(slice_of_text(hosts[i].text)) != hosts[i].sound ||
            host_address(slice_of_text(hosts[i].text), address) != hosts[i].address)
            fail_msg("'%s'", hosts[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_a_host_whatever_way_it_is_written),
        cmocka_unit_test(tells_hosts_from_other_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
