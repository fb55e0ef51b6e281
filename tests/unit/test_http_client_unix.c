#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/scripted_server.h"

static struct http_client *unix_client(const struct server *s, int64_t timeout_ms)
{
    struct http_client *c = NULL;
    const struct http_client_options options = {
        .unix_path = s->unix_path, .timeout_ms = timeout_ms, .response_max = 1000};
    assert_int_equal(http_client_new(&options, &c, explain), ERR_NONE);
    return c;
}

static enum err post(struct http_client *c, struct slice content)
{
    return http_client_request(c, "POST", "/v1/x", "application/json", content, &status, &body,
                               explain);
}

static void check_reply(unsigned expected_status, const char *expected_body)
{
    assert_int_equal(status, expected_status);
    assert_true(slice_equal(body, slice_of_text(expected_body)));
}

static void keeps_a_connection(void **state)
{
    (void)state;
    static const struct connection script[] = {{.replies = {OK, AGAIN, LAST}}, {.replies = {OK}}};
    struct server s;
    START(&s, script, NULL);
    struct http_client *c = unix_client(&s, 5000);
    assert_int_equal(get(c), ERR_NONE);
    check_reply(200, "ok");
    assert_string_equal(s.last_request, "GET /v1/x HTTP/1.1\r\nHost: localhost\r\n"
                                        "User-Agent: holdfast\r\nAccept: */*\r\n\r\n");
    assert_int_equal(post(c, SLICE_LITERAL("{}")), ERR_NONE);
    check_reply(201, "again");
    assert_non_null(strstr(s.last_request, "Content-Type: application/json\r\n"
                                           "Content-Length: 2\r\n\r\n{}"));
    assert_int_equal(get(c), ERR_NONE);
    check_reply(200, "last");
    assert_int_equal(s.accepted, 1);
    assert_int_equal(get(c), ERR_NONE);
    assert_int_equal(s.accepted, 2);
    http_client_free(c);
    http_client_free(NULL);
    stop(&s);
}

static void reconnects_once(void **state)
{
    (void)state;
    static const struct connection script[] = {
        {.replies = {OK}},         /* closed while idle */
        {.replies = {AGAIN, CUT}}, /* closed when the next request is there */
        {.replies = {OK, CUT}},    /* the same, but that request must not be repeated */
        {.replies = {CUT}},        /* a fresh one that ends is not tried again */
        {.replies = {OK}},
    };
    struct server s;
    START(&s, script, NULL);
    struct http_client *c = unix_client(&s, 5000);
    assert_int_equal(get(c), ERR_NONE);
    check_reply(200, "ok");
    /* a POST on its way when the connection ends could not be repeated */
    for (int i = 0; i < 5000 && s.ended == 0; i++)
        (void)usleep(1000);
    assert_int_equal(post(c, SLICE_LITERAL("x")), ERR_NONE);
    check_reply(201, "again");
    assert_int_equal(s.accepted, 2);
    assert_int_equal(get(c), ERR_NONE);
    check_reply(200, "ok");
    assert_int_equal(s.accepted, 3);
    status = 0;
    assert_int_equal(post(c, SLICE_LITERAL("x")), ERR_CLOSED);
    assert_non_null(strstr(explain, "may or may not have been carried out"));
    assert_int_equal(status, 0);
    assert_int_equal(get(c), ERR_CLOSED);
    assert_int_equal(get(c), ERR_NONE);
    assert_int_equal(s.accepted, 5);
    http_client_free(c);
    stop(&s);
}

static void refuses_bad_answers(void **state)
{
    (void)state;
    static const struct {
        const char *reply;
        enum err err;
        const char *explain;
    } cases[] = {
        {"SSH-2.0-OpenSSH_9.2\r\n\r\n", ERR_SYNTAX, "does not speak HTTP"},
        {HEAD "Content-Length: 2\r\nContent-Length: 3\r\n\r\nok", ERR_SYNTAX, "does not speak"},
        {HEAD "Content-Length: 100000\r\n\r\n", ERR_LIMIT, "larger than 1000 bytes"},
        {HEAD "Content-Length: 10\r\n\r\nshort", ERR_CLOSED, "ended the connection"},
        {"HTTP/1.1 20", ERR_CLOSED, "ended the connection"},
        {HEAD "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", ERR_CLOSED, "ended the connection"},
        {SILENCE, ERR_TIMEOUT, "did not answer within 100 ms"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct connection script[] = {{.replies = {cases[i].reply}}, {.replies = {OK}}};
        struct server s;
        START(&s, script, NULL);
        struct http_client *c = unix_client(&s, 100);
        status = 0;
        assert_int_equal(get(c), cases[i].err);
        if (strstr(explain, cases[i].explain) == NULL)
            fail_msg("'%s' is not in '%s'", cases[i].explain, explain);
        assert_int_equal(status, 0);
        assert_int_equal(get(c), ERR_NONE); /* the client is still good */
        http_client_free(c);
        stop(&s);
    }
}

static void keeps_its_limit(void **state)
{
    (void)state;
    char fits[1200], beyond[1200];
    const struct connection script[] = {{.replies = {fits, beyond}}};
    int n = snprintf(fits, sizeof fits, HEAD "Content-Length: 1000\r\n\r\n%01000d", 7);
    assert_in_range(n, 1000, sizeof fits - 1);
    n = snprintf(beyond, sizeof beyond, HEAD "Content-Length: 1001\r\n\r\n%01001d", 7);
    assert_in_range(n, 1001, sizeof beyond - 1);
    struct server s;
    START(&s, script, NULL);
    struct http_client *c = unix_client(&s, 5000);
    assert_int_equal(get(c), ERR_NONE);
    assert_int_equal(body.len, 1000);
    assert_int_equal(get(c), ERR_LIMIT);
    http_client_free(c);
    stop(&s);
}

static void reads_every_framing(void **state)
{
    (void)state;
    static const struct connection script[] = {
        {.replies = {HEAD "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
                     "HTTP/1.1 204 No Content\r\n\r\n", HEAD "\r\nuntil the end"}},
    };
    struct server s;
    START(&s, script, NULL);
    struct http_client *c = unix_client(&s, 5000);
    assert_int_equal(get(c), ERR_NONE);
    check_reply(200, "abcde");
    assert_int_equal(get(c), ERR_NONE);
    check_reply(204, "");
    assert_int_equal(get(c), ERR_NONE);
    check_reply(200, "until the end");
    http_client_free(c);
    stop(&s);
}

static void hears_an_early_refusal(void **state)
{
    (void)state;
    static const struct connection script[] = {
        {.replies = {"HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\n"
                     "Connection: close\r\n\r\nmuch"},
         .flags = EARLY},
    };
    static uint8_t content[8 << 20];
    struct server s;
    START(&s, script, NULL);
    struct http_client *c = unix_client(&s, 5000);
    memset(content, 'x', sizeof content);
    assert_int_equal(post(c, slice_of(content, sizeof content)), ERR_NONE);
    check_reply(413, "much");
    http_client_free(c);
    stop(&s);
}

static void explains_what_is_wrong(void **state)
{
    (void)state;
    struct http_client *c = NULL;
    char missing[96], expected[256];
    (void)snprintf(missing, sizeof missing, "%s/none", folder);
    struct http_client_options options = {
        .unix_path = missing, .timeout_ms = 1000, .response_max = 100};
    assert_int_equal(http_client_new(&options, &c, explain), ERR_NONE);
    assert_int_equal(get(c), ERR_IO);
    (void)snprintf(expected, sizeof expected, "cannot reach the hub at %s: is it running?",
                   missing);
    assert_string_equal(explain, expected);
    assert_int_equal(
        http_client_request(c, "GET", "/a b", NULL, slice_of(NULL, 0), &status, &body, explain),
        ERR_SYNTAX);
    assert_int_equal(http_client_request(c, "GET", "/\r\nX: y", NULL, slice_of(NULL, 0), &status,
                                         &body, explain),
                     ERR_SYNTAX);
    http_client_free(c);

    c = NULL;
    options = (struct http_client_options){.host = "localhost", .timeout_ms = 1000};
    assert_int_equal(http_client_new(&options, &c, explain), ERR_SYNTAX); /* no port */
    options.port = "1";
    options.roots_path = missing;
    assert_int_equal(http_client_new(&options, &c, explain), ERR_IO);
    assert_non_null(strstr(explain, "holds no certificate in PEM"));
    options = (struct http_client_options){.unix_path = missing, .response_max = SIZE_MAX};
    assert_int_equal(http_client_new(&options, &c, explain), ERR_LIMIT);
    assert_null(c);
}

static int set_up(void **state)
{
    (void)state;
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_a_connection),     cmocka_unit_test(reconnects_once),
        cmocka_unit_test(refuses_bad_answers),    cmocka_unit_test(keeps_its_limit),
        cmocka_unit_test(reads_every_framing),    cmocka_unit_test(hears_an_early_refusal),
        cmocka_unit_test(explains_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
