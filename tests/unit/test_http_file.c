/* Answers out of a file: sent as they are taken, for as long as they are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <sys/mman.h>

#include "tests/unit/http_fixture.h"

#define FILE_SIZE (24 * 1024 * 1024) /* more than all buffers between the two */
#define FILE_MS   1000               /* a request's deadline here */
#define H         "Host: h\r\n\r\n"

static int file_fd = -1;
static struct http_listener *listener;

static uint8_t byte_at(uint64_t i)
{
    return (uint8_t)(i * 2654435761u >> 13);
}

static void handle(struct http_request *r, void *ctx)
{
    (void)ctx;
    int fd = fcntl(file_fd, F_DUPFD_CLOEXEC, 0);
    assert_true(fd >= 0);
    http_reply_header(r, "ETag", "\"x\"");
    bool empty = strcmp(http_request_path(r), "/empty") == 0;
    http_reply_file(r, "application/octet-stream", fd, empty ? 0 : FILE_SIZE);
}

static int set_up(void **state)
{
    (void)state;
    file_fd = memfd_create("file", MFD_CLOEXEC);
    assert_int_equal(ftruncate(file_fd, FILE_SIZE), 0);
    uint8_t *bytes = mmap(NULL, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file_fd, 0);
    assert_true(bytes != MAP_FAILED);
    for (size_t i = 0; i < FILE_SIZE; i++)
        bytes[i] = byte_at(i);
    (void)munmap(bytes, FILE_SIZE);
    fixture_new();
    struct http_listener_options options = fixture_options(fixture.unix_address, NULL);
    options.handler = handle;
    options.limits.request_ms = FILE_MS;
    options.limits.idle_ms = WAIT_MS;
    assert_int_equal(http_server_listen(fixture.server, &options, &listener), ERR_NONE);
    fixture_start();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fixture_free();
    close(file_fd);
    return 0;
}

/* When nobody is connected. */
static size_t open_files(void)
{
    size_t n = 0;
    WAIT_FOR(open_connections(listener) == 0);
    DIR *folder = opendir("/proc/self/fd");
    assert_non_null(folder);
    while (readdir(folder) != NULL)
        n++;
    (void)closedir(folder);
    return n;
}

/* The head, up to the empty line. */
static void read_head(int fd, uint64_t length)
{
    char head[1024] = "", wanted[64];
    size_t n = 0;
    while (strstr(head, "\r\n\r\n") == NULL && n < sizeof head - 1) {
        if (receive_plain(&fd, head + n, 1) != 1)
            fail_msg("the connection was closed in the head: %s", head);
        n++;
    }
    (void)snprintf(wanted, sizeof wanted, "\r\nContent-Length: %llu\r\n",
                   (unsigned long long)length);
    assert_non_null(strstr(head, "HTTP/1.1 200 "));
    assert_non_null(strstr(head, wanted));
    assert_non_null(strstr(head, "\r\nETag: \"x\"\r\n"));
}

/* How much of the file came, every byte of it in its place. */
static uint64_t read_file(int fd, int64_t pause_ms)
{
    static uint8_t piece[1024 * 1024];
    uint64_t got = 0;
    while (got < FILE_SIZE) {
        size_t want = FILE_SIZE - got < sizeof piece ? (size_t)(FILE_SIZE - got) : sizeof piece;
        size_t have = 0;
        while (have < want) {
            ssize_t n = receive_plain(&fd, piece + have, want - have);
            if (n <= 0)
                return got + have;
            have += (size_t)n;
        }
        for (size_t i = 0; i < have; i++)
            if (piece[i] != byte_at(got + i))
                fail_msg("byte %llu is another", (unsigned long long)(got + i));
        got += have;
        sleep_ms(pause_ms);
    }
    return got;
}

static void comes_whole_and_the_connection_goes_on(void **state)
{
    (void)state;
    size_t before = open_files();
    int fd = connect_unix();
    for (unsigned i = 0; i < 2; i++) {
        send_text(fd, "GET /file HTTP/1.1\r\n" H);
        read_head(fd, FILE_SIZE);
        assert_int_equal(read_file(fd, 0), FILE_SIZE);
    }
    send_text(fd, "HEAD /file HTTP/1.1\r\n" H);
    read_head(fd, FILE_SIZE);
    send_text(fd, "GET /empty HTTP/1.1\r\n" H);
    read_head(fd, 0);
    send_text(fd, "GET /file HTTP/1.1\r\nConnection: close\r\n" H);
    read_head(fd, FILE_SIZE);
    assert_int_equal(read_file(fd, 0), FILE_SIZE);
    assert_true(wait_for_close(fd));
    close(fd);
    assert_int_equal(open_files(), before);
}

/* Longer in all than a request may take, but never without a step. */
static void waits_for_who_goes_on_reading(void **state)
{
    (void)state;
    int fd = connect_unix();
    send_text(fd, "GET /file HTTP/1.1\r\n" H);
    read_head(fd, FILE_SIZE);
    int64_t begun = clock_monotonic_ms();
    assert_int_equal(read_file(fd, 3 * FILE_MS / 24), FILE_SIZE);
    assert_true(clock_monotonic_ms() - begun > 2 * FILE_MS);
    close(fd);
}

static void leaves_who_does_not(void **state)
{
    (void)state;
    size_t before = open_files();
    int fd = connect_unix();
    send_text(fd, "GET /file HTTP/1.1\r\n" H);
    read_head(fd, FILE_SIZE);
    WAIT_FOR(open_connections(listener) == 0);
    assert_true(read_file(fd, 0) < FILE_SIZE);
    close(fd);
    assert_int_equal(open_files(), before);
}

static void closes_the_file_where_the_client_leaves(void **state)
{
    (void)state;
    size_t before = open_files();
    for (unsigned i = 0; i < 20; i++) {
        int fd = connect_unix();
        send_text(fd, "GET /file HTTP/1.1\r\n" H);
        if (i % 2 == 0)
            read_head(fd, FILE_SIZE);
        close(fd);
    }
    assert_int_equal(open_files(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_whole_and_the_connection_goes_on),
        cmocka_unit_test(waits_for_who_goes_on_reading),
        cmocka_unit_test(leaves_who_does_not),
        cmocka_unit_test(closes_the_file_where_the_client_leaves),
    };
    signal(SIGPIPE, SIG_IGN);
    alarm(120);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
