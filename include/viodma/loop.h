/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * viodma/loop.h - the event loop a hosted device lives in: file descriptors, timers, deferred calls.
 *
 * One loop, one thread: the one in viodma_loop_run. All callbacks come from it, and only viodma_loop_stop and
 * viodma_loop_call(_until) may be called from others while it runs; a loop with a lock (viodma_loop_share) may be used
 * by whoever holds that. Times are nanoseconds of CLOCK_MONOTONIC.
 *
 * The loop goes in rounds: ready descriptors, then timers that are due, then deferred calls. A callback may watch, arm,
 * schedule and free anything, itself included; only the loop may not be freed from one.
 */
#ifndef VIODMA_LOOP_H
#define VIODMA_LOOP_H

#include <viodma/result.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A hang-up or an error counts as both; of the two, what is watched for is reported. */
#define VIODMA_LOOP_IN 1u  /* readable */
#define VIODMA_LOOP_OUT 2u /* writable */

struct viodma_loop;
struct viodma_loop_watch;
struct viodma_loop_timer;
struct viodma_loop_deferred;

/*
 * VIODMA_E_NO_MEMORY or VIODMA_E_IO (errno says why). Free when it does not run, after whatever lives in it (a back
 * end, viodma/vhost_user.h); watches, timers and deferred calls that are left go with it. NULL is allowed.
 */
VIODMA_MUST_USE enum viodma_result viodma_loop_new(struct viodma_loop **loop);
void viodma_loop_free(struct viodma_loop *loop);

/*
 * Call back while fd is ready for any of `events` (0: none, for now), once a round. The descriptor stays the caller's:
 * unwatch before closing it. VIODMA_E_INVALID: it is not open, is watched already, or is a file or directory, which is
 * always ready.
 */
VIODMA_MUST_USE enum viodma_result viodma_loop_watch(struct viodma_loop *loop, int fd, unsigned events,
						     void (*ready)(void *context, unsigned events), void *context,
						     struct viodma_loop_watch **watch);
VIODMA_MUST_USE enum viodma_result viodma_loop_change(struct viodma_loop_watch *watch, unsigned events);
/* No callback for it comes after this, not even one already due. NULL is allowed. */
void viodma_loop_unwatch(struct viodma_loop_watch *watch);

/* A timer, not armed. */
VIODMA_MUST_USE enum viodma_result viodma_loop_timer(struct viodma_loop *loop, void (*expired)(void *context),
						     void *context, struct viodma_loop_timer **timer);
/*
 * Expire once, at deadline_ns or up to a millisecond later; UINT64_MAX disarms. One that is armed already is moved. A
 * deadline that has passed expires in this round or the next. In its own callback a timer is not armed: arm it for
 * another time, or free it.
 */
void viodma_loop_arm(struct viodma_loop_timer *timer, uint64_t deadline_ns);
/* It does not expire any more, even if it is due already. NULL is allowed. */
void viodma_loop_timer_free(struct viodma_loop_timer *timer);

/*
 * A call to make once, after the callbacks due now, however often it was scheduled before. One that is scheduled by
 * itself, or by another deferred call, is made in the next round: descriptors and timers have their turn first.
 */
VIODMA_MUST_USE enum viodma_result viodma_loop_deferred(struct viodma_loop *loop, void (*call)(void *context),
							void *context, struct viodma_loop_deferred **deferred);
void viodma_loop_schedule(struct viodma_loop_deferred *deferred);
/* It is not made any more, even if it was scheduled. NULL is allowed. */
void viodma_loop_deferred_free(struct viodma_loop_deferred *deferred);

/*
 * A lock for this loop: its thread takes it before callbacks, and gives it back while it waits, at least once in each
 * round. Other threads that hold it may watch, change, unwatch, arm, schedule and free as the loop's own may; what they
 * freed or unwatched is not called any more. The structure is copied. Before the loop runs.
 */
struct viodma_loop_lock {
	void (*take)(void *context);
	void (*drop)(void *context);
	void *context;
};
void viodma_loop_share(struct viodma_loop *loop, const struct viodma_loop_lock *lock);

/* Run until stopped. May be run again afterwards, by any thread. */
void viodma_loop_run(struct viodma_loop *loop);

/*
 * Any thread, and signal handlers (it writes to an atomic and an eventfd, and keeps errno): make viodma_loop_run return
 * at the end of its round. Before the loop runs: the next run returns at once. Each run that returns uses it up.
 */
void viodma_loop_stop(struct viodma_loop *loop);

/* Another thread: have the loop's thread call this, and wait for it. The loop must be running. */
void viodma_loop_call(struct viodma_loop *loop, void (*call)(void *context), void *context);
/*
 * The same, waiting until deadline_ns at most. VIODMA_OK: the call was made. VIODMA_E_TIMEOUT: it was not, and never
 * will be. VIODMA_E_BUSY: it has begun and not ended, so `context` has to stay. VIODMA_E_NO_MEMORY: nothing was done.
 */
VIODMA_MUST_USE enum viodma_result viodma_loop_call_until(struct viodma_loop *loop, void (*call)(void *context),
							  void *context, uint64_t deadline_ns);

uint64_t viodma_loop_now_ns(void);

#ifdef __cplusplus
}
#endif

#endif
