/* An event loop on a thread of its own, on libevent. */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include "core/compiler.h"
#include "core/error.h"

struct event_base;
struct loop;

/* A piece of work for a loop. It lives in the struct of whoever posts it, so posting can't fail. */
struct loop_task {
    struct loop_task *next; /* private */
    void (*run)(struct loop_task *task);
};

MUST_USE enum err loop_new(const char *name, struct loop **ret_loop);
void loop_free(struct loop *l); /* after loop_stop(); NULL is fine */
/* Starts the thread; every signal is blocked on it. */
MUST_USE enum err loop_start(struct loop *l);
/* Runs the loop on the calling thread until loop_stop(). */
void loop_run(struct loop *l);
/* From any thread. The loop finishes what has been posted, then ends; loop_join() waits for it. */
void loop_stop(struct loop *l);
void loop_join(struct loop *l);

/* Runs the task on the loop's thread, in the order posted. From any thread, wakes the loop. */
void loop_post(struct loop *l, struct loop_task *task);
struct event_base *loop_event_base(struct loop *l);
/* The loop whose thread this is, or NULL. */
struct loop *loop_current(void);

#endif
