#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/log_backend.h"

static char line[LOG_LINE_MAX + 100];
static int saved_stderr, pipe_fds[2];

static void catch_stderr(void)
{
    saved_stderr = dup(STDERR_FILENO);
    assert_int_equal(pipe(pipe_fds), 0);
    assert_true(dup2(pipe_fds[1], STDERR_FILENO) >= 0);
}

static const char *caught(void)
{
    (void)dup2(saved_stderr, STDERR_FILENO);
    (void)close(saved_stderr);
    (void)close(pipe_fds[1]);
    ssize_t n = read(pipe_fds[0], line, sizeof line - 1);
    (void)close(pipe_fds[0]);
    line[n < 0 ? 0 : n] = '\0';
    return line;
}

static void writes_logfmt(void **state)
{
    (void)state;
    assert_int_equal(log_open(LOG_TARGET_STDERR, LOG_LEVEL_NOTICE, "test"), ERR_NONE);
    catch_stderr();
    log_event(LOG_LEVEL_NOTICE, "device.enrolled", F_TEXT("device", "thermo-1"),
              F_INTEGER("ms", 12));
    const char *got = caught();
    int year, month, day, hour, minute, second, ms;
    char *at = line;
    year = (int)strtol(at, &at, 10);
    month = (int)strtol(at + 1, &at, 10);
    day = (int)strtol(at + 1, &at, 10);
    assert_int_equal(*at, 'T');
    hour = (int)strtol(at + 1, &at, 10);
    minute = (int)strtol(at + 1, &at, 10);
    second = (int)strtol(at + 1, &at, 10);
    assert_int_equal(*at, '.');
    ms = (int)strtol(at + 1, &at, 10);
    assert_true(year > 2020 && month <= 12 && day <= 31 && hour < 24 && minute < 60 &&
                second <= 60 && ms < 1000);
    assert_int_equal(at - got, 23);
    assert_string_equal(at, "Z notice device.enrolled device=thermo-1 ms=12\n");
}

static void check_fields(const struct log_field *fields, const char *expected)
{
    char text[LOG_LINE_MAX + 1];
    struct writer w = writer_over(text, LOG_LINE_MAX);
    log_write_fields(&w, "e", fields);
    assert_int_equal(w.err, ERR_NONE);
    text[w.len] = '\0';
    assert_string_equal(text, expected);
}

static void quotes_and_escapes(void **state)
{
    (void)state;
    static const struct {
        struct slice value;
        const char *expected;
    } cases[] = {
        {SLICE_LITERAL("plain"), "e v=plain"},
        {SLICE_LITERAL(""), "e v=\"\""},
        {SLICE_LITERAL("two words"), "e v=\"two words\""},
        {SLICE_LITERAL("a=b"), "e v=\"a=b\""},
        {SLICE_LITERAL("say \"x\""), "e v=\"say \\\"x\\\"\""},
        {SLICE_LITERAL("back\\slash"), "e v=\"back\\\\slash\""},
        {SLICE_LITERAL("forged\n2026 error x"), "e v=\"forged\\x0a2026 error x\""},
        {SLICE_LITERAL("\x1b[2J"), "e v=\"\\x1b[2J\""},
        {SLICE_LITERAL("nul\0"), "e v=\"nul\\x00\""},
        {SLICE_LITERAL("del\x7f"), "e v=\"del\\x7f\""},
        {SLICE_LITERAL("K\xC3\xA4lte\xF0\x9F\x94\x91"), "e v=K\xC3\xA4lte\xF0\x9F\x94\x91"},
        {SLICE_LITERAL("\xFF\xC3"), "e v=\"\\xff\\xc3\""},
        {SLICE_LITERAL("\xC0\x80"), "e v=\"\\xc0\\x80\""},
        {SLICE_LITERAL("\xED\xA0\x80"), "e v=\"\\xed\\xa0\\x80\""},
        {SLICE_LITERAL("\xF4\x90\x80\x80"), "e v=\"\\xf4\\x90\\x80\\x80\""},
        {SLICE_LITERAL("\xC2\x9B"), "e v=\"\\xc2\\x9b\""},
        {SLICE_LITERAL("a\xE2\x80\xAE"
                       "b"),
         "e v=\"a\\xe2\\x80\\xaeb\""},
        {SLICE_LITERAL("\xEF\xBB\xBF"), "e v=\"\\xef\\xbb\\xbf\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct log_field fields[] = {F_SLICE("v", cases[i].value), {.name = NULL}};
        check_fields(fields, cases[i].expected);
    }
    const struct log_field fields[] = {F_TEXT("a", NULL),
                                       F_INTEGER("b", INT64_MIN),
                                       F_INTEGER("c", 0),
                                       F_ERR(ERR_BUSY),
                                       {.name = NULL}};
    check_fields(fields, "e a=\"\" b=-9223372036854775808 c=0 error=busy");
}

static void cuts_long_values(void **state)
{
    (void)state;
    static const char patterns[] = {'v', '\n', '"'};
    static char value[5000];
    for (size_t i = 0; i < ARRAY_LEN(patterns); i++) {
        memset(value, patterns[i], sizeof value);
        for (size_t fields_n = 1; fields_n < 8; fields_n++) {
            struct log_field fields[8] = {{.name = NULL}};
            for (size_t k = 0; k < fields_n; k++)
                fields[k] = F_SLICE("value", slice_of(value, sizeof value - k));
            catch_stderr();
            log_fields(LOG_LEVEL_ERROR, "e", fields);
            const char *got = caught();
            size_t n = strlen(got);
            assert_in_range(n, 1000, LOG_LINE_MAX);
            assert_int_equal(got[n - 1], '\n');
            assert_ptr_equal(strchr(got, '\n'), got + n - 1);
            assert_non_null(strstr(got, "...\""));
        }
    }
    /* what fits exactly is not cut */
    char text[LOG_LINE_MAX];
    struct writer w = writer_over(text, sizeof text);
    const struct log_field exact[] = {F_SLICE("v", slice_of(value, 20)), {.name = NULL}};
    memset(value, 'x', 20);
    log_write_fields(&w, "e", exact);
    assert_int_equal(w.len, 4 + 20);
}

static void filters_by_level(void **state)
{
    (void)state;
    assert_int_equal(log_open(LOG_TARGET_STDERR, LOG_LEVEL_WARNING, "test"), ERR_NONE);
    catch_stderr();
    log_event(LOG_LEVEL_NOTICE, "hidden");
    log_event(LOG_LEVEL_WARNING, "shown");
    assert_non_null(strstr(caught(), "Z warning shown\n"));
    assert_null(strstr(line, "hidden"));
}

static void reads_names(void **state)
{
    (void)state;
    enum log_level level = LOG_LEVEL_INFO;
    enum log_target target = LOG_TARGET_STDERR;
    assert_int_equal(log_level_read("debug", &level), ERR_NONE);
    assert_int_equal(level, LOG_LEVEL_DEBUG);
    assert_int_equal(log_level_read("error", &level), ERR_NONE);
    assert_int_equal(level, LOG_LEVEL_ERROR);
    assert_int_equal(log_level_read("Error", &level), ERR_SYNTAX);
    assert_int_equal(log_level_read("", &level), ERR_SYNTAX);
    assert_int_equal(level, LOG_LEVEL_ERROR);
    assert_int_equal(log_target_read("journal", &target), ERR_NONE);
    assert_int_equal(target, LOG_TARGET_JOURNAL);
    assert_int_equal(log_target_read("file", &target), ERR_SYNTAX);
}

static char socket_path[] = "/tmp/holdfast-log-XXXXXX";

static int bind_syslog(void)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    memcpy(at.sun_path, socket_path, sizeof socket_path);
    (void)unlink(socket_path);
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

static void check_syslog(int fd, const char *behind_pid)
{
    char got[LOG_LINE_MAX + 1], pid[32];
    ssize_t n = recv(fd, got, sizeof got - 1, MSG_DONTWAIT);
    assert_true(n > 0);
    got[n] = '\0';
    assert_memory_equal(got, "<29>1 20", 8);
    (void)snprintf(pid, sizeof pid, " test %ld ", (long)getpid());
    const char *at = strstr(got, pid);
    assert_non_null(at);
    assert_string_equal(at + strlen(pid), behind_pid);
}

static void speaks_syslog(void **state)
{
    (void)state;
    int name = mkstemp(socket_path);
    assert_true(name >= 0);
    (void)close(name);
    log_set_syslog_path(socket_path);
    assert_int_equal(log_open(LOG_TARGET_SYSLOG, LOG_LEVEL_NOTICE, "test"), ERR_IO);
    int fd = bind_syslog();
    assert_int_equal(log_open(LOG_TARGET_SYSLOG, LOG_LEVEL_NOTICE, "test"), ERR_NONE);
    log_event(LOG_LEVEL_NOTICE, "device.enrolled", F_TEXT("device", "a \"b\" [c] \\ \n"),
              F_INTEGER("ms", -3));
    check_syslog(fd, "device.enrolled [holdfast@32473 device=\"a \\\"b\\\" [c\\] \\\\ \\x0a\" "
                     "ms=\"-3\"] device.enrolled");
    log_event(LOG_LEVEL_NOTICE, "hub.started");
    check_syslog(fd, "hub.started - hub.started");

    /* a daemon that was started anew is found again */
    (void)close(fd);
    fd = bind_syslog();
    log_event(LOG_LEVEL_NOTICE, "again");
    check_syslog(fd, "again - again");

    /* and one that is gone does not swallow events */
    (void)close(fd);
    (void)unlink(socket_path);
    catch_stderr();
    log_event(LOG_LEVEL_NOTICE, "alone");
    assert_non_null(strstr(caught(), "Z notice alone\n"));

    /* nothing overruns a datagram */
    fd = bind_syslog();
    static char value[3000];
    memset(value, ']', sizeof value);
    char got[LOG_LINE_MAX + 1];
    log_event(LOG_LEVEL_NOTICE, "long", F_SLICE("a", slice_of(value, sizeof value)),
              F_SLICE("b", slice_of(value, sizeof value)),
              F_SLICE("c", slice_of(value, sizeof value)));
    ssize_t n = recv(fd, got, sizeof got, MSG_DONTWAIT);
    assert_in_range(n, 1500, LOG_LINE_MAX);
    assert_memory_equal(got + n - 7, "\"] long", 7);
    (void)close(fd);
    (void)unlink(socket_path);
    assert_int_equal(log_open(LOG_TARGET_STDERR, LOG_LEVEL_NOTICE, "test"), ERR_NONE);
}

static unsigned delivered;

static bool deliver(enum log_level level, const char *program, const char *event,
                    const struct log_field *fields)
{
    assert_int_equal(level, LOG_LEVEL_ERROR);
    assert_string_equal(program, "test");
    assert_string_equal(event, "x");
    assert_string_equal(fields[0].name, "f");
    return ++delivered == 1;
}

static void needs_the_journal_enabled(void **state)
{
    (void)state;
    assert_int_equal(log_open(LOG_TARGET_JOURNAL, LOG_LEVEL_NOTICE, "test"), ERR_UNSUPPORTED);
    log_set_journal(deliver);
    assert_int_equal(log_open(LOG_TARGET_JOURNAL, LOG_LEVEL_NOTICE, "test"), ERR_NONE);
    log_event(LOG_LEVEL_ERROR, "x", F_TEXT("f", "v"));
    assert_int_equal(delivered, 1);
    catch_stderr();
    log_event(LOG_LEVEL_ERROR, "x", F_TEXT("f", "v")); /* refused by the journal */
    assert_non_null(strstr(caught(), "Z error x f=v\n"));
    assert_int_equal(log_open(LOG_TARGET_STDERR, LOG_LEVEL_NOTICE, "test"), ERR_NONE);
    log_set_journal(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_logfmt),
        cmocka_unit_test(quotes_and_escapes),
        cmocka_unit_test(cuts_long_values),
        cmocka_unit_test(filters_by_level),
        cmocka_unit_test(reads_names),
        cmocka_unit_test(speaks_syslog),
        cmocka_unit_test(needs_the_journal_enabled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
