/* What programs on the device hand in, and the socket it comes through. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "device/agent/handover.h"
#include "device/agent/inlet.h"
#include "tests/unit/temporary_folder.h"

#define DEVICE SLICE_LITERAL("thermo-1")

static void test_messages(void **state)
{
    (void)state;
    static const struct {
        const char *text, *topic, *payload;
        uint8_t quality;
        bool retain;
    } good[] = {
        {"1 a/b\nx", "a/b", "x", 1, false},
        {"0 a\n", "a", "", 0, false},
        {"1r a b\nx\ny\n", "a b", "x\ny\n", 1, true},
        {"0r fleet/{device}/up/{device}\n{device}", "fleet/thermo-1/up/thermo-1", "{device}", 0,
         true},
        {"1 }/device\n", "}/device", "", 1, false},
        {"1w a\nx", "a", "x", 1, false},
        {"0rw a\nx", "a", "x", 0, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        uint8_t topic[PUBLISHER_TOPIC_MAX], again[128];
        struct handover h;
        const char *why = NULL;
        enum err err = handover_read(slice_of_text(good[i].text), DEVICE, topic, &h, &why);
        if (err != ERR_NONE)
            fail_msg("%s: %s", good[i].text, why);
        assert_int_equal(h.kind, HANDOVER_MESSAGE);
        assert_true(slice_equal(h.message.topic, slice_of_text(good[i].topic)));
        assert_true(slice_equal(h.message.payload, slice_of_text(good[i].payload)));
        assert_int_equal(h.message.quality, good[i].quality);
        assert_int_equal(h.message.retain, good[i].retain);
        struct writer w = writer_over(again, sizeof again);
        struct message m = h.message;
        m.topic = slice_of_text(good[i].text);
        size_t start = 2U + good[i].retain + h.waits;
        const char *end = strchr(good[i].text, '\n');
        assert_non_null(end);
        m.topic = slice_of(good[i].text + start, (size_t)(end - good[i].text) - start);
        handover_write(&w, &m, h.waits);
        assert_true(slice_equal(writer_bytes(&w), slice_of_text(good[i].text)));
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "1",
        "1 ",
        "1 a",
        "2 a\n",
        "1ra\n",
        "r a\n",
        "1rr a\n",
        "1wr a\n",
        "1  \n" /* a topic of a space */,
        "1 \n",
        "1 a/+\n",
        "1 #\n",
        "1 {devices}\n",
        "1 {\n",
        "1 {device\n",
        "1 a\xff\n",
        "publish a\n",
        "status",
        "status json",
        "status  json\n",
        "\n",
    };
    uint8_t topic[PUBLISHER_TOPIC_MAX];
    struct handover h;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        const char *why = NULL;
        enum err err = handover_read(slice_of_text(wrong[i]), DEVICE, topic, &h, &why);
        if (strcmp(wrong[i], "1  \n") == 0)
            assert_int_equal(err, ERR_NONE); /* odd, and in good form */
        else if (err == ERR_NONE || why == NULL)
            fail_msg("taken: %s", wrong[i]);
    }
    const char *why = NULL;
    assert_int_equal(handover_read(SLICE_LITERAL("1 a\0b\n"), DEVICE, topic, &h, &why), ERR_SYNTAX);
    assert_int_equal(handover_read(SLICE_LITERAL("status\n"), DEVICE, topic, &h, &why), ERR_NONE);
    assert_int_equal(h.kind, HANDOVER_STATUS);
    assert_int_equal(handover_read(SLICE_LITERAL("status json\n"), DEVICE, topic, &h, &why),
                     ERR_NONE);
    assert_int_equal(h.kind, HANDOVER_STATUS_JSON);
}

static enum err read_sized(size_t topic_len, size_t payload_len, struct slice start)
{
    uint8_t topic[PUBLISHER_TOPIC_MAX];
    size_t all = start.len + topic_len + 1 + payload_len;
    uint8_t *bytes = malloc(all); /* at its exact size */
    assert_non_null(bytes);
    memset(bytes, 'a', all);
    memcpy(bytes, start.data, start.len);
    bytes[start.len + topic_len] = '\n';
    struct handover h;
    const char *why;
    enum err err = handover_read(slice_of(bytes, all), DEVICE, topic, &h, &why);
    free(bytes);
    return err;
}

static void test_sizes(void **state)
{
    (void)state;
    assert_int_equal(read_sized(PUBLISHER_TOPIC_MAX, PUBLISHER_PAYLOAD_MAX, SLICE_LITERAL("1r ")),
                     ERR_NONE);
    assert_int_equal(read_sized(PUBLISHER_TOPIC_MAX + 1, 0, SLICE_LITERAL("1r ")), ERR_LIMIT);
    assert_int_equal(read_sized(1, PUBLISHER_PAYLOAD_MAX + 1, SLICE_LITERAL("1r ")), ERR_LIMIT);
    /* what stands for the variable counts */
    assert_int_equal(read_sized(PUBLISHER_TOPIC_MAX - 8, 0, SLICE_LITERAL("1r {device}")),
                     ERR_NONE);
    assert_int_equal(read_sized(PUBLISHER_TOPIC_MAX - 7, 0, SLICE_LITERAL("1r {device}")),
                     ERR_LIMIT);
}

/* ---- the socket ---- */

static char folder[PATH_MAX], path[PATH_MAX + 16];
static struct inlet inlet;

static int set_up(void **state)
{
    (void)state;
    temporary_folder_make(folder);
    (void)snprintf(path, sizeof path, "%s/socket", folder);
    inlet = INLET_INITIAL;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    inlet_close(&inlet);
    temporary_folder_remove(folder);
    return 0;
}

/* Answers the one datagram that comes with its length. */
static void *agent(void *ctx)
{
    uint8_t buffer[64];
    struct inlet_sender from;
    size_t len = 0;
    (void)ctx;
    for (int i = 0; i < 5000; i++) {
        if (inlet_receive(&inlet, buffer, sizeof buffer, &len, &from) == ERR_NONE) {
            char text[16];
            (void)snprintf(text, sizeof text, "+%zu", len);
            inlet_answer(&inlet, &from, slice_of_text(text));
            return NULL;
        }
        (void)usleep(1000);
    }
    return NULL;
}

static void test_asking(void **state)
{
    (void)state;
    uint8_t answer[16];
    size_t len = 0;
    assert_int_equal(inlet_ask(path, SLICE_LITERAL("x"), 0, answer, sizeof answer, &len),
                     ERR_NOT_FOUND);
    assert_int_equal(inlet_open(&inlet, path, 0660), ERR_NONE);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0660);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, agent, NULL), 0);
    assert_int_equal(inlet_ask(path, SLICE_LITERAL("hello"), 0, answer, sizeof answer, &len),
                     ERR_NONE);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_memory_equal(answer, "+5", 2);
    inlet_close(&inlet);
    assert_int_equal(stat(path, &st), -1);
}

static int bound_socket(const struct sockaddr_un *address, socklen_t len)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    if (len > 0)
        assert_int_equal(bind(fd, (const struct sockaddr *)address, len), 0);
    return fd;
}

/* Without an address nobody is answered; nor at one with a path, where by now another may listen.
 */
static void test_who_is_answered(void **state)
{
    (void)state;
    assert_int_equal(inlet_open(&inlet, path, 0600), ERR_NONE);
    struct sockaddr_un named = {.sun_family = AF_UNIX};
    (void)snprintf(named.sun_path, sizeof named.sun_path, "%s/mine", folder);
    const socklen_t lengths[] = {0, sizeof named, sizeof named.sun_family};
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        int fd = bound_socket(&named, lengths[i]);
        uint8_t buffer[8];
        struct inlet_sender from;
        size_t len = 0;
        assert_int_equal(sendto(fd, "0123456789", 10, 0, (const struct sockaddr *)&inlet.address,
                                sizeof inlet.address),
                         10);
        assert_int_equal(inlet_receive(&inlet, buffer, sizeof buffer, &len, &from), ERR_NONE);
        assert_int_equal(len, sizeof buffer);
        assert_int_equal(from.len > 0, i == 2);
        inlet_answer(&inlet, &from, SLICE_LITERAL("+"));
        assert_int_equal(recv(fd, buffer, sizeof buffer, 0), i == 2 ? 1 : -1);
        (void)close(fd);
        assert_int_equal(inlet_receive(&inlet, buffer, sizeof buffer, &len, &from), ERR_BUSY);
    }
}

static void test_what_lies_there(void **state)
{
    (void)state;
    /* an agent that was killed leaves its socket; one that lives keeps it */
    struct inlet other = INLET_INITIAL;
    assert_int_equal(inlet_open(&other, path, 0600), ERR_NONE);
    assert_int_equal(inlet_open(&inlet, path, 0600), ERR_EXISTS);
    (void)close(other.fd);
    assert_int_equal(inlet_open(&inlet, path, 0600), ERR_NONE);
    inlet_close(&inlet);
    /* a file, and a link to anything, stay */
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(inlet_open(&inlet, path, 0600), ERR_EXISTS);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/dev/null", path), 0);
    assert_int_equal(inlet_open(&inlet, path, 0600), ERR_EXISTS);
    assert_int_equal(unlink(path), 0);
    char long_path[200];
    memset(long_path, 'a', sizeof long_path - 1);
    long_path[sizeof long_path - 1] = '\0';
    assert_int_equal(inlet_open(&inlet, long_path, 0600), ERR_LIMIT);
    assert_int_equal(inlet_open(&inlet, "/does/not/exist/x", 0600), ERR_IO);
    assert_int_equal(errno, ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test_setup_teardown(test_asking, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_who_is_answered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_lies_there, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
