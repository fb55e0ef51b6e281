#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/loop.h"

#define POSTERS 4
#define EACH    20000

struct numbered {
    struct loop_task task;
    int poster;
    int number;
};

static struct loop *loop;
static int last_seen[POSTERS];
static atomic_int ran;
static atomic_int out_of_order;
static atomic_int wrong_thread;

static void check_order(struct loop_task *task)
{
    struct numbered *n = CONTAINER_OF(task, struct numbered, task);
    if (n->number != last_seen[n->poster] + 1)
        atomic_fetch_add(&out_of_order, 1);
    last_seen[n->poster] = n->number;
    if (loop_current() != loop)
        atomic_fetch_add(&wrong_thread, 1);
    atomic_fetch_add(&ran, 1);
    free(n);
}

static void *post_many(void *arg)
{
    int poster = (int)(intptr_t)arg;
    for (int i = 1; i <= EACH; i++) {
        struct numbered *n = malloc(sizeof *n);
        assert_non_null(n);
        *n = (struct numbered){.task.run = check_order, .poster = poster, .number = i};
        loop_post(loop, &n->task);
    }
    return NULL;
}

static void test_every_task_runs_once_in_order(void **state)
{
    pthread_t threads[POSTERS];
    (void)state;
    assert_int_equal(loop_new("test", &loop), ERR_NONE);
    assert_int_equal(loop_start(loop), ERR_NONE);
    for (int i = 0; i < POSTERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, post_many, (void *)(intptr_t)i), 0);
    for (int i = 0; i < POSTERS; i++)
        pthread_join(threads[i], NULL);
    /* What was posted before the stop is finished. */
    loop_stop(loop);
    loop_join(loop);
    assert_int_equal(atomic_load(&ran), POSTERS * EACH);
    assert_int_equal(atomic_load(&out_of_order), 0);
    assert_int_equal(atomic_load(&wrong_thread), 0);
    assert_null(loop_current());
    loop_free(loop);
}

struct chained {
    struct loop_task task;
    struct loop *other;
    int left;
};

static void hop(struct loop_task *task)
{
    struct chained *c = CONTAINER_OF(task, struct chained, task);
    struct loop *here = loop_current();
    struct loop *there = c->other;
    c->other = here;
    if (--c->left > 0)
        loop_post(there, task);
    else
        loop_stop(there);
}

static void test_tasks_hop_between_loops(void **state)
{
    struct loop *a;
    struct loop *b;
    (void)state;
    assert_int_equal(loop_new("a", &a), ERR_NONE);
    assert_int_equal(loop_new("b", &b), ERR_NONE);
    struct chained c = {.task.run = hop, .other = b, .left = 10001};
    loop_post(a, &c.task);
    assert_int_equal(loop_start(a), ERR_NONE);
    loop_run(b); /* the last hop is on a, and stops b */
    assert_int_equal(c.left, 0);
    loop_stop(a);
    loop_join(a);
    loop_free(a);
    loop_free(b);
}

static bool signals_blocked;

static void look_at_signals(struct loop_task *task)
{
    sigset_t set;
    (void)task;
    pthread_sigmask(SIG_SETMASK, NULL, &set);
    signals_blocked = sigismember(&set, SIGTERM) == 1 && sigismember(&set, SIGPIPE) == 1;
}

static void test_signals_are_blocked_on_loops_only(void **state)
{
    struct loop_task task = {.run = look_at_signals};
    sigset_t set;
    (void)state;
    assert_int_equal(loop_new("signals", &loop), ERR_NONE);
    assert_int_equal(loop_start(loop), ERR_NONE);
    loop_post(loop, &task);
    loop_stop(loop);
    loop_join(loop);
    loop_free(loop);
    assert_true(signals_blocked);
    pthread_sigmask(SIG_SETMASK, NULL, &set);
    assert_int_equal(sigismember(&set, SIGTERM), 0);
}

static void test_stopped_before_it_ran(void **state)
{
    (void)state;
    assert_int_equal(loop_new("early", &loop), ERR_NONE);
    loop_stop(loop);
    loop_run(loop);
    loop_join(loop); /* never started: nothing to wait for */
    loop_free(loop);
    loop_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_task_runs_once_in_order),
        cmocka_unit_test(test_tasks_hop_between_loops),
        cmocka_unit_test(test_signals_are_blocked_on_loops_only),
        cmocka_unit_test(test_stopped_before_it_ran),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
