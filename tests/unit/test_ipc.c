#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ipc.h"

static uint8_t large[IPC_MESSAGE_MAX + 1];

static void keeps_bounds(void **state)
{
    (void)state;
    int fds[2];
    uint8_t got[IPC_MESSAGE_MAX];
    size_t len = 77;
    assert_int_equal(ipc_pair(fds), ERR_NONE);
    for (int i = 0; i < 2; i++) {
        assert_true(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
        assert_true(fcntl(fds[i], F_GETFL) & O_NONBLOCK);
    }
    assert_int_equal(ipc_receive(fds[1], got, sizeof got, &len), ERR_BUSY);
    assert_int_equal(len, 77);
    memset(large, 'L', sizeof large);
    assert_int_equal(ipc_send(fds[0], SLICE_LITERAL("one")), ERR_NONE);
    assert_int_equal(ipc_send(fds[0], SLICE_LITERAL("two more")), ERR_NONE);
    assert_int_equal(ipc_send(fds[0], slice_of(large, IPC_MESSAGE_MAX)), ERR_NONE);
    assert_int_equal(ipc_receive(fds[1], got, sizeof got, &len), ERR_NONE);
    assert_true(slice_equal(slice_of(got, len), SLICE_LITERAL("one")));
    assert_int_equal(ipc_receive(fds[1], got, sizeof got, &len), ERR_NONE);
    assert_true(slice_equal(slice_of(got, len), SLICE_LITERAL("two more")));
    assert_int_equal(ipc_receive(fds[1], got, sizeof got, &len), ERR_NONE);
    assert_int_equal(len, IPC_MESSAGE_MAX);
    close(fds[0]);
    close(fds[1]);
}

static void refuses(void **state)
{
    (void)state;
    int fds[2];
    uint8_t got[8];
    size_t len = 0;
    assert_int_equal(ipc_pair(fds), ERR_NONE);
    assert_int_equal(ipc_send(fds[0], slice_of(large, sizeof large)), ERR_LIMIT);
    assert_int_equal(ipc_send(fds[0], slice_of(NULL, 0)), ERR_LIMIT);
    /* one that is too long for the receiver is lost, the next is whole */
    assert_int_equal(ipc_send(fds[0], SLICE_LITERAL("123456789")), ERR_NONE);
    assert_int_equal(ipc_send(fds[0], SLICE_LITERAL("12345678")), ERR_NONE);
    assert_int_equal(ipc_receive(fds[1], got, sizeof got, &len), ERR_LIMIT);
    assert_int_equal(ipc_receive(fds[1], got, sizeof got, &len), ERR_NONE);
    assert_int_equal(len, 8);
    close(fds[0]);
    close(fds[1]);
    assert_int_equal(ipc_send(fds[0], SLICE_LITERAL("x")), ERR_IO);
    assert_int_equal(ipc_receive(fds[0], got, sizeof got, &len), ERR_IO);
}

static void says_busy_when_full(void **state)
{
    (void)state;
    int fds[2];
    uint8_t got[IPC_MESSAGE_MAX];
    size_t len = 0, n = 0;
    assert_int_equal(ipc_pair(fds), ERR_NONE);
    enum err err = ERR_NONE;
    while (n < 100000 && (err = ipc_send(fds[0], slice_of(large, 1000))) == ERR_NONE)
        n++;
    assert_int_equal(err, ERR_BUSY);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(ipc_receive(fds[1], got, sizeof got, &len), ERR_NONE);
    assert_int_equal(ipc_receive(fds[1], got, sizeof got, &len), ERR_BUSY);
    close(fds[0]);
    close(fds[1]);
}

static void notices_the_end(void **state)
{
    (void)state;
    int fds[2];
    uint8_t got[8];
    size_t len = 0;
    assert_int_equal(ipc_pair(fds), ERR_NONE);
    assert_int_equal(ipc_send(fds[0], SLICE_LITERAL("last")), ERR_NONE);
    close(fds[0]);
    assert_int_equal(ipc_wait(fds[1], 0), ERR_NONE);
    assert_int_equal(ipc_receive(fds[1], got, sizeof got, &len), ERR_NONE);
    assert_int_equal(ipc_wait(fds[1], -1), ERR_NONE);
    assert_int_equal(ipc_receive(fds[1], got, sizeof got, &len), ERR_CLOSED);
    assert_int_equal(ipc_send(fds[1], SLICE_LITERAL("x")), ERR_CLOSED); /* and no SIGPIPE */
    close(fds[1]);
}

static void on_signal(int number)
{
    (void)number;
}

static void *disturb(void *to)
{
    const pthread_t *waiting = to;
    for (int i = 0; i < 5; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 8000000}, NULL);
        pthread_kill(*waiting, SIGUSR1);
    }
    return NULL;
}

static void waits_in_spite_of_signals(void **state)
{
    (void)state;
    int fds[2];
    struct sigaction action = {.sa_handler = on_signal};
    pthread_t self = pthread_self(), other;
    assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
    assert_int_equal(ipc_pair(fds), ERR_NONE);
    int64_t start = clock_monotonic_ms();
    assert_int_equal(pthread_create(&other, NULL, disturb, &self), 0);
    assert_int_equal(ipc_wait(fds[1], 60), ERR_TIMEOUT);
    assert_in_range(clock_monotonic_ms() - start, 59, 5000);
    pthread_join(other, NULL);
    assert_int_equal(ipc_wait(fds[1], 0), ERR_TIMEOUT);
    assert_int_equal(ipc_send(fds[0], SLICE_LITERAL("x")), ERR_NONE);
    assert_int_equal(ipc_wait(fds[1], -1), ERR_NONE);
    close(fds[0]);
    close(fds[1]);
    assert_int_equal(ipc_wait(fds[1], 0), ERR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_bounds),
        cmocka_unit_test(refuses),
        cmocka_unit_test(says_busy_when_full),
        cmocka_unit_test(notices_the_end),
        cmocka_unit_test(waits_in_spite_of_signals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
