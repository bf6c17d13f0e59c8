/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * front_wait.c - how it works: one epoll descriptor watches the main socket, the channel, and every queue's call and error
 * descriptor. It is what viodma_front_fd gives out, so that a caller's own loop wakes for all of them.
 *
 * The main socket brings nothing unless something was asked (front_messages.c): here it can only have been closed, or
 * misused.
 *
 * Before it sleeps, whoever drives a queue may look at it for a while (viodma_front_look); the descriptors are looked at
 * now and then meanwhile, because the device may have questions that it cannot go on without.
 */
#include "hosted/front/front.h"

#include "core/base/require.h"

#include <viodma/loop.h>

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#define EVENTS 32
#define NS_PER_MS 1000000u
#define LOOKS_PER_WAIT 16u

enum viodma_result viodma_front_watch(struct viodma_front *front, int fd, enum viodma_front_event event, unsigned queue)
{
	struct epoll_event watched = {.events = EPOLLIN, .data.u64 = (uint64_t)event << 32 | queue};

	return epoll_ctl(front->epoll_fd, EPOLL_CTL_ADD, fd, &watched) < 0 ? VIODMA_E_IO : VIODMA_OK;
}

int viodma_front_fd(const struct viodma_front *front)
{
	return front->epoll_fd;
}

static enum viodma_result main_socket(struct viodma_front *front)
{
	unsigned char byte;
	unsigned fd_count = 0;
	ssize_t got = viodma_descriptors_receive(front->fd, &byte, 1, NULL, 0, &fd_count);

	if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return VIODMA_OK;
	if (got <= 0)
		return viodma_front_hung_up(front, "while nothing was asked of it");
	if (VIODMA_REQUIRE(PLT_9, false))
		return VIODMA_OK;
	return viodma_front_break(front, VIODMA_PEER_MESSAGE, "a message nobody asked for");
}

/* *called: a queue was, or says that something is wrong with it. */
static enum viodma_result one_event(struct viodma_front *front, uint64_t data, bool *called)
{
	const unsigned queue = (unsigned)(data & UINT32_MAX);

	switch ((enum viodma_front_event)(data >> 32)) {
	case VIODMA_FRONT_EVENT_CHANNEL:
		return viodma_front_channel_serve(front);
	case VIODMA_FRONT_EVENT_CALL:
		if (!viodma_eventfd_take(front->queues[queue].call_fd))
			return viodma_front_break(front, VIODMA_E_IO, "queue %u: its calls cannot be read: %s", queue,
						  strerror(errno));
		front->statistics.calls++;
		*called = true;
		return VIODMA_OK;
	case VIODMA_FRONT_EVENT_ERR:
		(void)viodma_eventfd_take(front->queues[queue].err_fd);
		viodma_front_log_some(front, "queue %u: the back end says that something is wrong with it", queue);
		*called = true; /* whoever looks at the queue or the status will find out */
		return VIODMA_OK;
	default:
		return main_socket(front);
	}
}

static enum viodma_result wait_until(struct viodma_front *front, uint64_t deadline_ns)
{
	for (;;) {
		const uint64_t now_ns = viodma_loop_now_ns();
		/* What came while something else was waited for is news, too. */
		uint64_t left_ms = now_ns < deadline_ns && !front->news ? (deadline_ns - now_ns + (NS_PER_MS - 1)) / NS_PER_MS : 0;
		struct epoll_event events[EVENTS];
		bool called = false;
		int count;

		if (front->broken != VIODMA_OK)
			return front->broken;
		count = epoll_wait(front->epoll_fd, events, EVENTS, left_ms < INT32_MAX ? (int)left_ms : INT32_MAX);
		if (count < 0 && errno != EINTR)
			return viodma_front_break(front, VIODMA_E_IO, "waiting: %s", strerror(errno));
		for (int i = 0; i < count; i++) {
			enum viodma_result result = one_event(front, events[i].data.u64, &called);

			if (result != VIODMA_OK)
				return result;
		}
		if (called || front->news)
			break;
		if (!left_ms)
			return VIODMA_E_TIMEOUT;
	}
	front->news = false;
	return VIODMA_OK;
}

uint64_t viodma_front_now_ns(void *context)
{
	(void)context;
	return viodma_loop_now_ns();
}

enum viodma_result viodma_front_look(struct viodma_front *front, struct viodma_poller *poller,
				     enum viodma_result (*look)(void *context, uint64_t now_ns, bool polled), void *context)
{
	bool polled = viodma_poller_looks(poller);
	uint64_t now_ns = viodma_loop_now_ns();
	enum viodma_result result = look(context, now_ns, polled);
	uint32_t looks = 0;

	if (result == VIODMA_EMPTY)
		viodma_poller_idle(poller, now_ns);
	while (result == VIODMA_EMPTY && viodma_poller_again(poller, now_ns)) {
		if (!(++looks % LOOKS_PER_WAIT)) {
			result = viodma_front_wait(front, 0);
			if (result != VIODMA_OK && result != VIODMA_E_TIMEOUT)
				return result;
		}
		now_ns = viodma_loop_now_ns();
		polled = true;
		result = look(context, now_ns, polled);
	}
	if (result == VIODMA_EMPTY && polled)
		result = look(context, now_ns, false);
	if (result == VIODMA_OK)
		viodma_poller_work(poller, now_ns);
	return result;
}

enum viodma_result viodma_front_wait(struct viodma_front *front, uint64_t deadline_ns)
{
	const enum viodma_result result = viodma_front_recover(front, wait_until(front, deadline_ns));

	/* A caller waits again when its deadline has passed; not for a back end that answers no more. */
	return result == VIODMA_E_TIMEOUT && front->broken != VIODMA_OK ? VIODMA_PEER_GONE : result;
}
