/* Requests that somebody else's program writes: what is taken of them. What is refused stands with
 * the others in test_requests.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/requests.h"

#define ARENA_MAX ((size_t)1 << 20)

static void takes_what_brokers_send(void **state)
{
    (void)state;
    struct arena *a = arena_new(ARENA_MAX);
    struct problem p = {0};
    struct request_hook_vernemq vernemq;
    assert_int_equal(
        request_hook_vernemq_read(
            SLICE_LITERAL("{\"peer_addr\":\"127.0.0.1\",\"peer_port\":8888,\"mountpoint\":\"\","
                          "\"client_id\":\"c\",\"username\":null,\"clean_start\":true,"
                          "\"properties\":{\"p_user_property\":[{\"key\":\"a\",\"val\":\"b\"}]},"
                          "\"topics\":[{\"topic\":\"a/b\",\"qos\":1,\"rap\":false}]}"),
            a, &vernemq, &p),
        ERR_NONE);
    assert_true(vernemq.has_client_id && !vernemq.has_username && !vernemq.has_password);
    assert_null(vernemq.username);
    assert_int_equal(vernemq.topics_len, 1);
    assert_string_equal(vernemq.topics[0].topic, "a/b");
    assert_int_equal(vernemq.topics[0].qos, 1);

    struct request_hook_emqx4_acl acl;
    assert_int_equal(
        request_hook_emqx4_acl_read(
            SLICE_LITERAL("access=2&username=t%2Fa+b&ipaddr=&topic=a%2fb%2C%C3%AF"), a, &acl, &p),
        ERR_NONE);
    assert_string_equal(acl.access, "2");
    assert_string_equal(acl.username, "t/a b");
    assert_string_equal(acl.topic, "a/b,\xC3\xAF");
    assert_false(acl.has_clientid);

    struct request_hook_go_auth_form_acl form;
    assert_int_equal(request_hook_go_auth_form_acl_read(
                         SLICE_LITERAL("acc=4&clientid=t&topic=a%2F%2B%2F%23&username=default%2Ft"),
                         a, &form, &p),
                     ERR_NONE);
    assert_int_equal(form.acc, 4);
    assert_string_equal(form.topic, "a/+/#");
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(takes_what_brokers_send)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
