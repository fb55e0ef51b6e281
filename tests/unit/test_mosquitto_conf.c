#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/mosquitto_conf.h"
#include "core/cursor.h"

#define TLS                                                                                        \
    "certfile /c\nkeyfile /k\nrequire_certificate true\nuse_identity_as_username false\n"          \
    "max_connections 100\n"
#define GOOD_GLOBAL                                                                                \
    "per_listener_settings false\nallow_anonymous false\nset_tcp_nodelay true\n"                   \
    "plugin /usr/lib/holdfast_mosquitto.so\n"
#define GOOD GOOD_GLOBAL "listener 8883\n" TLS

static struct mosquitto_conf conf;

static enum err take(const char *text)
{
    char include[MOSQUITTO_VALUE_MAX];
    unsigned line = 0;
    mosquitto_conf_init(&conf);
    enum err err = ERR_NONE;
    for (struct slice left = slice_of_text(text); left.len > 0 && err == ERR_NONE;)
        err = mosquitto_conf_take(&conf, &left, include, &line);
    mosquitto_conf_end(&conf);
    return err;
}

/* The checks that are not good, with blanks between. */
static const char *wrong(const char *text, bool passwords)
{
    static char names[512];
    struct mosquitto_finding findings[MOSQUITTO_CHECKS];
    assert_int_equal(take(text), ERR_NONE);
    mosquitto_conf_judge(&conf, passwords, findings);
    names[0] = '\0';
    for (size_t i = 0; i < MOSQUITTO_CHECKS; i++) {
        assert_true(strlen(findings[i].saw) > 5);
        if (findings[i].verdict == MOSQUITTO_GOOD)
            continue;
        assert_non_null(findings[i].next);
        size_t len = strlen(names);
        (void)snprintf(names + len, sizeof names - len, "%s%s", len > 0 ? " " : "",
                       findings[i].check);
    }
    return names;
}

static void finds_what_leads_past_the_plugin(void **state)
{
    (void)state;
    static const struct {
        const char *text, *wrong;
    } cases[] = {
        {GOOD, ""},
        {"# a comment\r\n\n  " GOOD "tls_version tlsv1.2\n", ""},
        {"", "anonymous plaintext plugin nodelay"},
        {GOOD "allow_anonymous true\n", "anonymous"},
        /* Mosquitto takes 1 for true, and the first word of a line alone. */
        {GOOD "allow_anonymous 1\n", "anonymous"},
        {GOOD "allow_anonymous true or not\n", "anonymous"},
        {GOOD "use_identity_as_username 1\n", "username"},
        {GOOD "require_certificate 0\n", "certificate"},
        {GOOD "use_identity_as_username true\n", "username"},
        {GOOD "use_subject_as_username true\n", "username"},
        {GOOD "require_certificate false\n", "certificate"},
        {GOOD "listener 1883\nrequire_certificate true\nmax_connections 5\n", "plaintext"},
        {GOOD "listener 1883 127.0.0.1\nrequire_certificate true\nmax_connections 5\n",
         "plaintext"},
        {GOOD "listener 0 /run/m.sock\nrequire_certificate true\nmax_connections 5\n", "plaintext"},
        {GOOD "listener 9001\nprotocol websockets\nrequire_certificate true\nmax_connections 5\n",
         "plaintext"},
        {"port 1883\n" GOOD, "plaintext certificate connections"},
        {"allow_anonymous false\nset_tcp_nodelay true\nlistener 8883\n" TLS, "plugin"},
        {GOOD "plugin /usr/lib/other.so\n", "others"},
        {GOOD "auth_plugin /usr/lib/other.so\n", "others"},
        {GOOD "password_file /p\n", "others"},
        {GOOD "acl_file /a\n", "others"},
        {GOOD "psk_hint x\n", "psk"},
        {GOOD "psk_file /p\n", "psk"},
        {GOOD "tls_version tlsv1\n", "tls-version"},
        {GOOD "tls_version tlsv1.1\n", "tls-version"},
        {GOOD "connection up\naddress a:1883\n", "bridges"},
        {GOOD "connection up\nbridge_cafile /c\nconnection down\naddress b\n", "bridges"},
        {GOOD "connection up\nbridge_cafile /c\n", ""},
        {GOOD "max_connections -1\n", "connections"},
        /* only what is said behind a listener holds for it */
        {"per_listener_settings true\nset_tcp_nodelay true\nlistener 8883\n" TLS
         "plugin /x/holdfast_mosquitto.so\nallow_anonymous false\nlistener 8884\n" TLS,
         "plugin"},
        {"per_listener_settings true\nset_tcp_nodelay true\nlistener 8883\n" TLS
         "plugin /x/holdfast_mosquitto.so\nlistener 8884\n" TLS
         "plugin /x/holdfast_mosquitto.so\nallow_anonymous true\npassword_file /p\n",
         "anonymous others"},
        {GOOD "plugin_opt_config /x\nno_such_word at all\n", ""},
        {GOOD_GLOBAL "plugin /tmp/not_holdfast_mosquitto.so\nlistener 8883\n" TLS, "others"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (strcmp(wrong(cases[i].text, false), cases[i].wrong) != 0)
            fail_msg("case %zu: '%s', not '%s'", i, wrong(cases[i].text, false), cases[i].wrong);
    assert_string_equal(wrong(GOOD "require_certificate false\n", true), "");
}

static void is_bounded(void **state)
{
    (void)state;
    static char text[64 * 1024];
    struct writer w = writer_over(text, sizeof text - 1);
    for (unsigned i = 0; i <= MOSQUITTO_LISTENERS_MAX; i++)
        writer_text(&w, "listener 1\n");
    text[w.len] = '\0';
    assert_int_equal(take(text), ERR_LIMIT);
    memset(text, 'x', MOSQUITTO_VALUE_MAX + 20);
    memcpy(text, "listener ", 9);
    text[MOSQUITTO_VALUE_MAX + 20] = '\0';
    assert_int_equal(take(text), ERR_LIMIT);
    assert_int_equal(take("listener"), ERR_NONE);
    assert_int_equal(take("listener \n=\n\x01\n\n \t \n#"), ERR_NONE);
}

/* Whatever a file holds, it is read to its end or refused: each text with each of its bytes changed
 * and cut. */
static void survives_anything(void **state)
{
    (void)state;
    char text[] = GOOD "connection x\ninclude_dir /a\npid_file /b\n";
    size_t len = sizeof text - 1;
    for (size_t i = 0; i < len; i++) {
        char *copy = malloc(len + 1);
        assert_non_null(copy);
        for (unsigned c = 0; c < 256; c += 5) {
            char include[MOSQUITTO_VALUE_MAX];
            unsigned line = 0;
            struct mosquitto_finding findings[MOSQUITTO_CHECKS];
            memcpy(copy, text, len + 1);
            copy[i] = (char)c;
            mosquitto_conf_init(&conf);
            struct slice left = slice_of(copy, c % 2 == 0 ? len : i + 1);
            enum err err = mosquitto_conf_take(&conf, &left, include, &line);
            mosquitto_conf_end(&conf);
            assert_true(err == ERR_NONE || err == ERR_LIMIT);
            mosquitto_conf_judge(&conf, false, findings);
        }
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_leads_past_the_plugin),
        cmocka_unit_test(is_bounded),
        cmocka_unit_test(survives_anything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
