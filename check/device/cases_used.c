/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cases_used.c - what a device gives back (DEV-16, DEV-19, DEV-20, DEV-23): every chain once, with a length that is true, in
 * memory that is its to write, as often and as many as a driver likes.
 */
#include "check/device/cases.h"

#include <viodma/loop.h>

#include <string.h>

static const struct check_setup usual = {0};

#define RING CHECK_NEEDS_RING

/* Whatever addresses are, each access is to the parts that are the device's, and as their descriptors say. */
static enum check_verdict keeps_to(struct check_session *session, enum check_direction direction, const char *what)
{
	struct check_request request;

	if (!check_session_start(session, &usual) || !check_device_works(session) ||
	    !check_request_make(session, &request, direction, 0) || !check_request_grant(session, &request))
		return check_trouble(session);
	check_memory_remember(&session->memory);
	check_rings_allow(session);
	check_request_allow(session, &request);
	if (!check_request_submit(session, &request) ||
	    !check_request_wait(session, &request, NULL, 0, session->options->timeout_ms))
		return check_trouble(session);
	return check_untouched(session, what) ? check_passed(session) : check_trouble(session);
}

static enum check_verdict writes_nothing_else(struct check_session *session)
{
	return keeps_to(session, CHECK_FROM_DEVICE, "memory beside the buffers that it may write");
}

static enum check_verdict leaves_readable(struct check_session *session)
{
	return keeps_to(session, CHECK_TO_DEVICE, "memory that it may only read");
}

static enum check_verdict length_is_true(struct check_session *session)
{
	struct check_request request;
	uint64_t writable = 0, at = 0;

	if (!check_session_start(session, &usual) || !check_request_make(session, &request, check_direction_of(session), 0))
		return check_trouble(session);
	for (uint32_t i = 0; i < request.count; i++)
		if (request.parts[i].writes) {
			writable += request.parts[i].place.bytes;
			memset(request.parts[i].place.at, 0x77, request.parts[i].place.bytes);
		}
	if (!check_request_grant(session, &request))
		return check_trouble(session);
	check_memory_remember(&session->memory);
	if (!check_request_submit(session, &request) ||
	    !check_request_wait(session, &request, NULL, 0, session->options->timeout_ms))
		return check_trouble(session);
	if (request.used.bytes > writable)
		return check_failed(session, "%u bytes were written, says the used element, into buffers of %llu", request.used.bytes,
				    (unsigned long long)writable);
	for (uint32_t i = 0; i < request.count; i++)
		for (uint64_t b = 0; request.parts[i].writes && b < request.parts[i].place.bytes; b++, at++)
			if (at >= request.used.bytes && request.parts[i].place.at[b] != 0x77)
				return check_failed(session, "byte %llu of the writable buffers was written, and the used length is %u",
						    (unsigned long long)at, request.used.bytes);
	return check_passed(session);
}

/* ---- many ---- */

#define MANY 16u

/* So many at once, for so many rounds; every answer is right. `in_order`: they come back as they went. */
static bool rounds(struct check_session *session, uint32_t many, uint32_t count, bool in_order, bool table)
{
	struct check_request requests[MANY];

	for (uint32_t i = 0; i < many; i++) {
		if (!check_request_make(session, &requests[i], check_direction_of(session), session->type->least_bytes))
			return false;
		requests[i].table = table;
		if (!check_request_grant(session, &requests[i]))
			return false;
	}
	for (uint32_t round = 0; round < count; round++) {
		for (uint32_t i = 0; i < many; i++)
			if (!check_request_add(session, &requests[i]))
				return false;
		check_ring_kick(&session->rings[0]);
		for (uint32_t i = 0; i < many; i++) {
			if (!check_request_wait(session, &requests[i], in_order ? NULL : requests, in_order ? 0 : many,
						session->options->timeout_ms))
				return false;
			if (requests[i].parts[requests[i].count - 1].role == CHECK_STATUS &&
			    *requests[i].parts[requests[i].count - 1].place.at)
				return check_wrong(session, "request %u of round %u failed with status %u", i, round,
						   *requests[i].parts[requests[i].count - 1].place.at);
		}
	}
	return true;
}

static enum check_verdict many_at_once(struct check_session *session)
{
	return check_session_start(session, &usual) && rounds(session, MANY, 20, false, false) ? check_passed(session)
											      : check_trouble(session);
}

/* Every position, many times; the indices of a split ring past their last value, too. */
static enum check_verdict around(struct check_session *session)
{
	const struct check_setup setup = {.size = 8, .index = UINT16_MAX - 2000};

	return check_session_start(session, &setup) && rounds(session, 1, 4000, false, false) ? check_passed(session)
											     : check_trouble(session);
}

static enum check_verdict smallest_ring(struct check_session *session)
{
	const struct check_setup setup = {.size = 4};

	return check_session_start(session, &setup) && rounds(session, 1, 50, false, false) ? check_passed(session)
											   : check_trouble(session);
}

static enum check_verdict large_ring(struct check_session *session)
{
	enum check_verdict verdict;

	if (!check_session_start_large(session, &usual, &verdict))
		return verdict;
	return rounds(session, MANY, 200, false, false) ? check_passed(session) : check_trouble(session);
}

static enum check_verdict tables(struct check_session *session)
{
	return check_session_start(session, &usual) && rounds(session, MANY, 20, false, true) ? check_passed(session)
											     : check_trouble(session);
}

static enum check_verdict keeps_order(struct check_session *session)
{
	const struct check_setup setup = {.in_order = true};

	return check_session_start(session, &setup) && rounds(session, MANY, 20, true, false) ? check_passed(session)
											     : check_trouble(session);
}

static enum check_verdict two_queues(struct check_session *session)
{
	const struct check_setup setup = {.queues = 2};
	struct check_request requests[2];

	if (!check_session_start(session, &setup) || !check_device_works(session))
		return check_trouble(session);
	for (uint32_t i = 0; i < 2; i++) {
		if (!check_request_make(session, &requests[i], CHECK_FROM_DEVICE, 0) || !check_request_grant(session, &requests[i]))
			return check_trouble(session);
		requests[i].ring = i;
	}
	for (uint32_t round = 0; round < 20; round++) {
		for (uint32_t i = 0; i < 2; i++)
			if (!check_request_submit(session, &requests[i]))
				return check_trouble(session);
		for (uint32_t i = 0; i < 2; i++)
			if (!check_request_wait(session, &requests[i], NULL, 0, session->options->timeout_ms) ||
			    !session->type->right(session, &requests[i]))
				return check_trouble(session);
	}
	return check_passed(session);
}

/* ---- signals ---- */

static bool called(struct check_session *session, uint32_t ms)
{
	return check_peer_wait(&session->peer, session->rings[0].call_fd, viodma_loop_now_ns() + (uint64_t)ms * 1000000u);
}

/* With the event words as they are in a fresh ring every use is called for. */
static enum check_verdict calls(struct check_session *session)
{
	const struct check_setup setup = {.no_event_idx = true};
	struct check_request request;

	if (!check_session_start(session, &setup) || !check_request_make(session, &request, check_direction_of(session), 0) ||
	    !check_request_grant(session, &request) || !check_request_submit(session, &request) ||
	    !check_request_wait(session, &request, NULL, 0, session->options->timeout_ms))
		return check_trouble(session);
	if (!session->rings[0].calls && !called(session, session->options->timeout_ms))
		return session->peer.state == CHECK_ANSWERED ? check_failed(session, "a chain was used, and the driver was not called")
							     : check_trouble(session);
	return check_passed(session);
}

const struct check_case check_cases_used[] = {
	{"writes-nothing-else", "DEV-16", "writes to the buffers that are device-writable, and to nothing beside them",
	 RING | CHECK_NEEDS_FROM_DEVICE, writes_nothing_else},
	{"leaves-readable", "DEV-9", "leaves buffers alone that are device-readable", RING | CHECK_NEEDS_TO_DEVICE, leaves_readable},
	{"used-length", "DEV-16", "writes no more than the used length says", RING, length_is_true},
	{"many-at-once", "DEV-20", "completes each of many requests, once", RING, many_at_once},
	{"around-the-ring", "DEV-19", "goes around the ring, and its indices", RING, around},
	{"ring-of-four", "DEV-20", "works with a ring of 4", RING, smallest_ring},
	{"ring-of-1024", "DEV-20", "works with a ring of 1024", RING, large_ring},
	{"tables-at-once", "DEV-20", "completes each of many requests in indirect tables", RING | CHECK_NEEDS_INDIRECT, tables},
	{"in-order", "DEV-23", "uses chains in the order in which they were made available", RING | CHECK_NEEDS_IN_ORDER, keeps_order},
	{"two-queues", "DEV-20", "serves two queues", RING | CHECK_NEEDS_MQ | CHECK_NEEDS_FROM_DEVICE, two_queues},
	{"call", "DEV-20", "calls the driver when it has used a chain", RING, calls},
	{0},
};
