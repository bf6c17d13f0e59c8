/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * loop.c - how it works: one epoll descriptor, and rounds. A round is
 *
 *	wait     until a descriptor is ready, a timer is due, or nothing has to be waited for
 *	ready    callbacks of at most READY_MAX descriptors, level triggered
 *	timers   callbacks of the timers due when the round began
 *	deferred the calls scheduled before this step; what they schedule belongs to the next round, so that calls that
 *	         schedule each other do not starve descriptors
 *
 * Objects may go away inside any callback. A watch that is unwatched leaves epoll at once, but the batch in hand may
 * still name it: it is marked dead, skipped, and freed when the batch has been gone through. Timers and deferred calls
 * are unlinked before they are called, so they can be freed at any time.
 *
 * Timers round up to the millisecond epoll knows: late by up to one, never early. Other threads reach in through one
 * eventfd: they set `stop`, which is atomic so that a signal handler can, or append to `calls` under the lock.
 *
 * With a lock of the caller's (viodma_loop_share), everything but the wait itself is done under it. What is unwatched
 * by another thread during the wait may be in the batch that the wait brings, so it counts as part of the batch.
 */
#include <viodma/loop.h>

#include "hosted/loop/link.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define READY_MAX 64

struct viodma_loop_watch {
	struct link all; /* first: a link is its object */
	struct viodma_loop *loop;
	int fd;
	unsigned events;
	bool dead;
	void (*ready)(void *context, unsigned events);
	void *context;
};

struct viodma_loop_timer {
	struct link all;
	struct link armed; /* in loop->armed by deadline, or among those due in this round */
	struct viodma_loop *loop;
	uint64_t deadline_ns;
	void (*expired)(void *context);
	void *context;
};

struct viodma_loop_deferred {
	struct link all;
	struct link scheduled;
	struct viodma_loop *loop;
	void (*call)(void *context);
	void *context;
};

/* Belongs to the thread that waits for it; to the loop's once that has given up on a call that has begun. */
struct call {
	struct link link; /* alone: the loop's thread has taken it */
	void (*call)(void *context);
	void *context;
	bool done, abandoned;
};

struct viodma_loop {
	int epoll_fd;
	int wake_fd;
	struct link watches, dead_watches, timers, armed, deferred, scheduled;
	bool in_batch;
	bool waiting; /* with a lock: whoever schedules or arms something has to wake it */
	struct viodma_loop_lock share;
	atomic_bool stop; /* written by any thread, and by signal handlers */
	/* Everything below is shared between threads, under the lock. */
	pthread_mutex_t lock;
	pthread_cond_t call_done;
	struct link calls;
	bool running;
	pthread_t thread; /* valid while running */
};

uint64_t viodma_loop_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void wake(struct viodma_loop *loop)
{
	uint64_t one = 1;

	/* The one way this fails is a counter at its limit: then the loop is awake anyway. */
	while (write(loop->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

/* There is something to do that its wait does not know of. */
static void interrupt_wait(struct viodma_loop *loop)
{
	if (!loop->waiting)
		return;
	loop->waiting = false;
	wake(loop);
}

/* ---- making and freeing ---- */

static int init_monotonic(pthread_cond_t *condition)
{
	pthread_condattr_t attributes;
	int reason = pthread_condattr_init(&attributes);

	if (reason)
		return reason;
	reason = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	if (!reason)
		reason = pthread_cond_init(condition, &attributes);
	pthread_condattr_destroy(&attributes);
	return reason;
}

enum viodma_result viodma_loop_new(struct viodma_loop **out)
{
	struct viodma_loop *loop = calloc(1, sizeof(*loop));
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = NULL };
	int reason;

	if (!loop)
		return VIODMA_E_NO_MEMORY;
	link_init(&loop->watches);
	link_init(&loop->dead_watches);
	link_init(&loop->timers);
	link_init(&loop->armed);
	link_init(&loop->deferred);
	link_init(&loop->scheduled);
	link_init(&loop->calls);
	loop->wake_fd = -1;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0)
		goto fail;
	loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->wake_fd < 0 || epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->wake_fd, &event) < 0)
		goto fail;
	reason = pthread_mutex_init(&loop->lock, NULL);
	if (!reason)
		reason = init_monotonic(&loop->call_done);
	if (reason) {
		errno = reason;
		goto fail;
	}
	*out = loop;
	return VIODMA_OK;
fail:
	reason = errno;
	if (loop->wake_fd >= 0)
		close(loop->wake_fd);
	if (loop->epoll_fd >= 0)
		close(loop->epoll_fd);
	free(loop);
	errno = reason;
	return VIODMA_E_IO;
}

static void free_dead_watches(struct viodma_loop *loop)
{
	while (!link_alone(&loop->dead_watches)) {
		struct link *first = loop->dead_watches.next;

		link_remove(first);
		free(OBJECT_OF(first, struct viodma_loop_watch, all));
	}
}

void viodma_loop_free(struct viodma_loop *loop)
{
	if (!loop)
		return;
	while (!link_alone(&loop->watches))
		viodma_loop_unwatch(OBJECT_OF(loop->watches.next, struct viodma_loop_watch, all));
	while (!link_alone(&loop->timers))
		viodma_loop_timer_free(OBJECT_OF(loop->timers.next, struct viodma_loop_timer, all));
	while (!link_alone(&loop->deferred))
		viodma_loop_deferred_free(OBJECT_OF(loop->deferred.next, struct viodma_loop_deferred, all));
	free_dead_watches(loop);
	pthread_cond_destroy(&loop->call_done);
	pthread_mutex_destroy(&loop->lock);
	close(loop->wake_fd);
	close(loop->epoll_fd);
	free(loop);
}

/* ---- descriptors ---- */

static enum viodma_result result_of_errno(void)
{
	switch (errno) {
	case ENOMEM:
	case ENOSPC:
		return VIODMA_E_NO_MEMORY;
	case EBADF:
	case EEXIST:
	case EINVAL:
	case EPERM: /* a file or a directory: always ready, cannot be waited for */
		return VIODMA_E_INVALID;
	default:
		return VIODMA_E_IO;
	}
}

/*
 * Tell epoll what a watch wants. One that wants nothing is taken out: epoll reports a hang-up whether it was asked for
 * or not, and a round that nobody answers would follow another.
 */
static enum viodma_result watch_apply(struct viodma_loop_watch *watch, unsigned old, unsigned wanted)
{
	struct epoll_event event = { .data.ptr = watch };
	int operation = !old ? EPOLL_CTL_ADD : !wanted ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;

	if (old == wanted)
		return VIODMA_OK;
	event.events = (wanted & VIODMA_LOOP_IN ? (uint32_t)EPOLLIN : 0u) |
		       (wanted & VIODMA_LOOP_OUT ? (uint32_t)EPOLLOUT : 0u);
	if (epoll_ctl(watch->loop->epoll_fd, operation, watch->fd, &event) < 0)
		return result_of_errno();
	return VIODMA_OK;
}

enum viodma_result viodma_loop_watch(struct viodma_loop *loop, int fd, unsigned events,
				     void (*ready)(void *context, unsigned events), void *context,
				     struct viodma_loop_watch **out)
{
	struct viodma_loop_watch *watch = calloc(1, sizeof(*watch));
	enum viodma_result result;

	if (!watch)
		return VIODMA_E_NO_MEMORY;
	watch->loop = loop;
	watch->fd = fd;
	watch->events = events & (VIODMA_LOOP_IN | VIODMA_LOOP_OUT);
	watch->ready = ready;
	watch->context = context;
	result = watch_apply(watch, 0, watch->events);
	if (result != VIODMA_OK) {
		free(watch);
		return result;
	}
	link_insert(&watch->all, &loop->watches);
	*out = watch;
	return VIODMA_OK;
}

enum viodma_result viodma_loop_change(struct viodma_loop_watch *watch, unsigned events)
{
	enum viodma_result result;

	events &= VIODMA_LOOP_IN | VIODMA_LOOP_OUT;
	result = watch_apply(watch, watch->events, events);
	if (result == VIODMA_OK)
		watch->events = events;
	return result;
}

void viodma_loop_unwatch(struct viodma_loop_watch *watch)
{
	if (!watch)
		return;
	(void)watch_apply(watch, watch->events, 0);
	link_remove(&watch->all);
	if (!watch->loop->in_batch) {
		free(watch);
		return;
	}
	watch->dead = true;
	link_insert(&watch->all, &watch->loop->dead_watches);
}

static void watch_ready(struct viodma_loop_watch *watch, uint32_t reported)
{
	const uint32_t trouble = (uint32_t)EPOLLHUP | (uint32_t)EPOLLERR;
	unsigned events = 0;

	if (reported & ((uint32_t)EPOLLIN | trouble))
		events |= VIODMA_LOOP_IN;
	if (reported & ((uint32_t)EPOLLOUT | trouble))
		events |= VIODMA_LOOP_OUT;
	events &= watch->events; /* an earlier callback of this batch may have changed its mind */
	if (!watch->dead && events)
		watch->ready(watch->context, events);
}

/* ---- timers ---- */

enum viodma_result viodma_loop_timer(struct viodma_loop *loop, void (*expired)(void *context), void *context,
				     struct viodma_loop_timer **out)
{
	struct viodma_loop_timer *timer = calloc(1, sizeof(*timer));

	if (!timer)
		return VIODMA_E_NO_MEMORY;
	timer->loop = loop;
	timer->expired = expired;
	timer->context = context;
	link_init(&timer->armed);
	link_insert(&timer->all, &loop->timers);
	*out = timer;
	return VIODMA_OK;
}

void viodma_loop_arm(struct viodma_loop_timer *timer, uint64_t deadline_ns)
{
	struct link *position;

	link_remove(&timer->armed);
	timer->deadline_ns = deadline_ns;
	if (deadline_ns == UINT64_MAX)
		return;
	/* From the end: most deadlines lie behind those armed before. */
	for (position = timer->loop->armed.previous; position != &timer->loop->armed; position = position->previous)
		if (OBJECT_OF(position, struct viodma_loop_timer, armed)->deadline_ns <= deadline_ns)
			break;
	link_insert(&timer->armed, position->next);
	interrupt_wait(timer->loop);
}

void viodma_loop_timer_free(struct viodma_loop_timer *timer)
{
	if (!timer)
		return;
	link_remove(&timer->armed);
	link_remove(&timer->all);
	free(timer);
}

/* Milliseconds to wait, rounded up; -1: for ever. */
static int wait_ms(const struct viodma_loop *loop)
{
	uint64_t deadline, now, ms;

	if (!link_alone(&loop->scheduled))
		return 0;
	if (link_alone(&loop->armed))
		return -1;
	deadline = OBJECT_OF(loop->armed.next, struct viodma_loop_timer, armed)->deadline_ns;
	now = viodma_loop_now_ns();
	if (deadline <= now)
		return 0;
	ms = (deadline - now) / 1000000 + ((deadline - now) % 1000000 != 0);
	return ms > INT_MAX ? INT_MAX : (int)ms;
}

static void run_timers(struct viodma_loop *loop)
{
	struct link due;
	uint64_t now;

	if (link_alone(&loop->armed))
		return;
	link_init(&due);
	now = viodma_loop_now_ns();
	while (!link_alone(&loop->armed) &&
	       OBJECT_OF(loop->armed.next, struct viodma_loop_timer, armed)->deadline_ns <= now) {
		struct link *first = loop->armed.next;

		link_remove(first);
		link_insert(first, &due);
	}
	/* A callback may disarm or free another due timer: it then leaves `due`, whose head is the only fixed point. */
	while (!link_alone(&due)) {
		struct viodma_loop_timer *timer = OBJECT_OF(due.next, struct viodma_loop_timer, armed);

		link_remove(&timer->armed);
		timer->expired(timer->context);
	}
}

/* ---- deferred calls ---- */

enum viodma_result viodma_loop_deferred(struct viodma_loop *loop, void (*call)(void *context), void *context,
					struct viodma_loop_deferred **out)
{
	struct viodma_loop_deferred *deferred = calloc(1, sizeof(*deferred));

	if (!deferred)
		return VIODMA_E_NO_MEMORY;
	deferred->loop = loop;
	deferred->call = call;
	deferred->context = context;
	link_init(&deferred->scheduled);
	link_insert(&deferred->all, &loop->deferred);
	*out = deferred;
	return VIODMA_OK;
}

void viodma_loop_schedule(struct viodma_loop_deferred *deferred)
{
	if (link_alone(&deferred->scheduled))
		link_insert(&deferred->scheduled, &deferred->loop->scheduled);
	interrupt_wait(deferred->loop);
}

void viodma_loop_deferred_free(struct viodma_loop_deferred *deferred)
{
	if (!deferred)
		return;
	link_remove(&deferred->scheduled);
	link_remove(&deferred->all);
	free(deferred);
}

static void run_deferred(struct viodma_loop *loop)
{
	struct link now;

	link_move_all(&loop->scheduled, &now);
	while (!link_alone(&now)) {
		struct viodma_loop_deferred *deferred = OBJECT_OF(now.next, struct viodma_loop_deferred, scheduled);

		link_remove(&deferred->scheduled);
		deferred->call(deferred->context);
	}
}

/* ---- other threads ---- */

void viodma_loop_share(struct viodma_loop *loop, const struct viodma_loop_lock *lock)
{
	loop->share = *lock;
}

static void run_calls(struct viodma_loop *loop)
{
	pthread_mutex_lock(&loop->lock);
	while (!link_alone(&loop->calls)) {
		struct call *call = OBJECT_OF(loop->calls.next, struct call, link);

		link_remove(&call->link);
		pthread_mutex_unlock(&loop->lock);
		call->call(call->context);
		pthread_mutex_lock(&loop->lock);
		call->done = true;
		if (call->abandoned)
			free(call);
		else
			pthread_cond_broadcast(&loop->call_done);
	}
	pthread_mutex_unlock(&loop->lock);
}

void viodma_loop_stop(struct viodma_loop *loop)
{
	const int before = errno; /* a signal handler's caller wants it back */

	atomic_store(&loop->stop, true);
	wake(loop);
	errno = before;
}

/* Append it, unless it has to be made here and now: waiting for ourselves would take for ever. With the lock. */
static bool append_call(struct viodma_loop *loop, struct call *call)
{
	link_init(&call->link);
	if (loop->running && pthread_equal(loop->thread, pthread_self()))
		return false;
	link_insert(&call->link, &loop->calls);
	wake(loop);
	return true;
}

void viodma_loop_call(struct viodma_loop *loop, void (*call)(void *context), void *context)
{
	struct call entry = { .call = call, .context = context };
	bool waits;

	pthread_mutex_lock(&loop->lock);
	waits = append_call(loop, &entry);
	while (waits && !entry.done)
		pthread_cond_wait(&loop->call_done, &loop->lock);
	pthread_mutex_unlock(&loop->lock);
	if (!waits)
		call(context);
}

/* With the lock. Does the caller still own the entry? */
static bool wait_until(struct viodma_loop *loop, struct call *entry, uint64_t deadline_ns, enum viodma_result *result)
{
	const struct timespec deadline = {
		.tv_sec = (time_t)(deadline_ns / 1000000000u),
		.tv_nsec = (long)(deadline_ns % 1000000000u),
	};
	int reason = 0;

	while (!entry->done && !reason)
		reason = pthread_cond_timedwait(&loop->call_done, &loop->lock, &deadline);
	if (entry->done) {
		*result = VIODMA_OK;
	} else if (!link_alone(&entry->link)) {
		link_remove(&entry->link);
		*result = VIODMA_E_TIMEOUT;
	} else {
		entry->abandoned = true;
		*result = VIODMA_E_BUSY;
		return false;
	}
	return true;
}

enum viodma_result viodma_loop_call_until(struct viodma_loop *loop, void (*call)(void *context), void *context,
					  uint64_t deadline_ns)
{
	struct call *entry = calloc(1, sizeof(*entry));
	enum viodma_result result = VIODMA_OK;
	bool waits, own = true;

	if (!entry)
		return VIODMA_E_NO_MEMORY;
	entry->call = call;
	entry->context = context;
	pthread_mutex_lock(&loop->lock);
	waits = append_call(loop, entry);
	if (waits)
		own = wait_until(loop, entry, deadline_ns, &result);
	pthread_mutex_unlock(&loop->lock);
	if (!waits)
		call(context);
	if (own)
		free(entry);
	return result;
}

/* ---- the rounds ---- */

static void run_ready(struct viodma_loop *loop, const struct epoll_event *ready, int count)
{
	loop->in_batch = true;
	for (int i = 0; i < count; i++) {
		uint64_t counter;

		if (ready[i].data.ptr)
			watch_ready(ready[i].data.ptr, ready[i].events);
		else if (read(loop->wake_fd, &counter, sizeof(counter)) == (ssize_t)sizeof(counter))
			run_calls(loop);
	}
	loop->in_batch = false;
	free_dead_watches(loop);
}

/* Answers how many descriptors are ready. */
static int wait_for_any(struct viodma_loop *loop, struct epoll_event *ready)
{
	const int ms = wait_ms(loop);
	int count;

	if (!loop->share.take)
		return epoll_wait(loop->epoll_fd, ready, READY_MAX, ms);
	loop->in_batch = true;
	loop->waiting = ms != 0;
	loop->share.drop(loop->share.context);
	count = epoll_wait(loop->epoll_fd, ready, READY_MAX, ms);
	loop->share.take(loop->share.context);
	loop->waiting = false;
	return count;
}

void viodma_loop_run(struct viodma_loop *loop)
{
	struct epoll_event ready[READY_MAX];

	pthread_mutex_lock(&loop->lock);
	loop->running = true;
	loop->thread = pthread_self();
	pthread_mutex_unlock(&loop->lock);
	if (loop->share.take)
		loop->share.take(loop->share.context);
	while (!atomic_load(&loop->stop)) {
		run_ready(loop, ready, wait_for_any(loop, ready));
		run_timers(loop);
		run_deferred(loop);
	}
	run_calls(loop); /* whoever waits for an answer gets it */
	if (loop->share.take)
		loop->share.drop(loop->share.context);
	pthread_mutex_lock(&loop->lock);
	atomic_store(&loop->stop, false);
	loop->running = false;
	pthread_mutex_unlock(&loop->lock);
}
