/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cases_misses.c - what a device asks for, and what it makes of the answer (PLT-11, DEV-12): one question for each page and
 * permission, the permission that it needs, patience, and no more than it was given.
 */
#include "check/device/cases.h"

#include <viodma/loop.h>

static const struct check_setup usual = {0};

#define NEEDS (CHECK_NEEDS_RING | CHECK_NEEDS_PLATFORM)
#define FROM (NEEDS | CHECK_NEEDS_FROM_DEVICE)

/* The rings run, and a request that the device knows nothing of is with it; from here its questions are held. */
static bool held(struct check_session *session, struct check_request *request)
{
	if (!check_session_start(session, &usual) || !check_device_works(session) ||
	    !check_request_make(session, request, CHECK_FROM_DEVICE, 0) || !check_request_grant(session, request))
		return false;
	session->manner = CHECK_HELD;
	return check_request_submit(session, request);
}

static struct check_place *data_of(struct check_request *request)
{
	return &request->parts[request->data].place;
}

/* All that was held is answered, and from now on all is. */
static bool release(struct check_session *session)
{
	session->manner = CHECK_TRUE;
	for (uint32_t n = 0; n < session->miss_count; n++)
		if (!check_miss_answer(session, n))
			return false;
	return true;
}

static bool is_right(struct check_session *session, struct check_request *request)
{
	return check_request_wait(session, request, NULL, 0, session->options->timeout_ms) && session->type->right(session, request);
}

static enum check_verdict asks_for_what_it_needs(struct check_session *session)
{
	struct check_request request;
	const struct check_miss *miss;
	const uint32_t from = session->miss_count;

	if (!held(session, &request))
		return check_trouble(session);
	miss = check_miss_await(session, from, data_of(&request)->bus, data_of(&request)->bytes, CHECK_WRITE);
	if (session->peer.state != CHECK_ANSWERED || !release(session) || !is_right(session, &request))
		return check_trouble(session);
	if (!miss)
		return check_failed(session, "it wrote to 0x%llx, for which it has no mapping, without asking to write",
				    (unsigned long long)data_of(&request)->bus);
	if (miss->permission != CHECK_WRITE)
		return check_observed(session, "it asks to read and write 0x%llx, which it only writes", (unsigned long long)miss->bus);
	return check_passed(session);
}

/* It is given time, and asked about again and again. */
static enum check_verdict asks_once(struct check_session *session)
{
	struct check_request request;
	uint32_t asked = 0;

	if (!held(session, &request))
		return check_trouble(session);
	if (!check_miss_await(session, 0, data_of(&request)->bus, data_of(&request)->bytes, CHECK_WRITE))
		check_event(session, CHECK_US, 0, 0, "no question came");
	for (unsigned i = 0; i < 5; i++) {
		check_ring_kick(&session->rings[0]);
		check_wait_ms(session, 20);
	}
	for (uint32_t i = 0; i < session->miss_count && i < CHECK_MISSES_MAX; i++)
		asked += !session->misses[i].answered && session->misses[i].bus / CHECK_PAGE == data_of(&request)->bus / CHECK_PAGE;
	if (!release(session) || !is_right(session, &request))
		return check_trouble(session);
	if (asked > 1)
		return check_observed(session, "it asked %u times about the page of 0x%llx before it had an answer: late answers become "
					       "faults of an IOMMU", asked, (unsigned long long)data_of(&request)->bus);
	return check_passed(session);
}

/* Answered at last, it goes on. */
static enum check_verdict waits(struct check_session *session)
{
	struct check_request request;

	if (!held(session, &request))
		return check_trouble(session);
	check_wait_ms(session, session->options->timeout_ms / 5);
	if (!release(session) || !is_right(session, &request))
		return check_trouble(session);
	return check_passed(session);
}

/* The last question's update first; replies name no question, and go in their order. */
static enum check_verdict any_order(struct check_session *session)
{
	struct check_request request;

	if (!held(session, &request))
		return check_trouble(session);
	check_wait_ms(session, 50);
	for (uint32_t n = session->miss_count; n-- > 0;)
		if (!session->misses[n].answered && !check_miss_update(session, n))
			return check_trouble(session);
	if (!release(session))
		return check_trouble(session);
	return is_right(session, &request) ? check_passed(session) : check_trouble(session);
}

/* One that waits holds back nobody else (DEV-12). */
static enum check_verdict others_go_on(struct check_session *session)
{
	struct check_request requests[2];

	if (!check_session_start(session, &usual) || !check_device_works(session) ||
	    !check_request_make(session, &requests[0], CHECK_FROM_DEVICE, 0) ||
	    !check_request_make(session, &requests[1], CHECK_FROM_DEVICE, 0) || !check_request_grant(session, &requests[0]) ||
	    !check_request_grant(session, &requests[1]) || !check_request_tell(session, &requests[1]))
		return check_trouble(session);
	session->manner = CHECK_HELD;
	if (!check_request_add(session, &requests[0]) || !check_request_submit(session, &requests[1]))
		return check_trouble(session);
	if (!check_request_wait(session, &requests[1], requests, 1, session->options->timeout_ms)) {
		if (session->peer.state != CHECK_ANSWERED)
			return check_trouble(session);
		return release(session) ? check_failed(session, "a request whose buffers are mapped waits for another one's miss")
					: check_trouble(session);
	}
	if (!session->type->right(session, &requests[1]) || !release(session) ||
	    !check_request_wait(session, &requests[0], NULL, 0, session->options->timeout_ms) ||
	    !session->type->right(session, &requests[0]))
		return check_trouble(session);
	return check_passed(session);
}

/* A miss that is refused is an answer: the request ends, and the next one works. */
static enum check_verdict goes_on_when_refused(struct check_session *session)
{
	struct check_request request;

	if (!held(session, &request))
		return check_trouble(session);
	check_wait_ms(session, 20);
	check_forget(session, data_of(&request)->bus / CHECK_PAGE * CHECK_PAGE, CHECK_PAGE);
	check_request_expect_status(session, &request);
	if (!release(session))
		return check_trouble(session);
	if (!check_request_wait(session, &request, NULL, 0, session->options->timeout_ms / 4)) {
		if (session->peer.state != CHECK_ANSWERED)
			return check_trouble(session);
		/* It may wait for an update that never comes; what else it is given must be done. */
		if (!check_device_works(session))
			return check_trouble(session);
		return check_observed(session, "a request whose miss was refused stays with the device");
	}
	return check_untouched(session, "a buffer that is not mapped") && check_device_works(session) ? check_passed(session) : check_trouble(session);
}

/* The answer covers another page: the question is still open. */
static enum check_verdict takes_no_others_answer(struct check_session *session)
{
	struct check_request request;
	struct check_place other;
	bool refused;

	if (!held(session, &request) || !check_place(session, CHECK_PAGE, 0, &other))
		return check_trouble(session);
	check_wait_ms(session, 20);
	check_memory_remember(&session->memory);
	check_rings_allow(session);
	if (!check_update(session, other.bus, other.user, CHECK_PAGE, CHECK_READ_WRITE, &refused))
		return check_trouble(session);
	check_wait_ms(session, 50);
	if (!check_untouched(session, "memory of a mapping that it did not ask for") || !release(session) ||
	    !is_right(session, &request))
		return check_trouble(session);
	return check_passed(session);
}

/* Less than was asked for: to read, where it has to write. */
static enum check_verdict makes_no_more_of_it(struct check_session *session)
{
	struct check_request request;
	bool refused;

	if (!held(session, &request))
		return check_trouble(session);
	check_wait_ms(session, 20);
	check_request_expect_status(session, &request);
	if (!check_update(session, data_of(&request)->bus / CHECK_PAGE * CHECK_PAGE, data_of(&request)->user / CHECK_PAGE * CHECK_PAGE,
			  CHECK_PAGE, CHECK_READ, &refused))
		return check_trouble(session);
	check_forget(session, data_of(&request)->bus / CHECK_PAGE * CHECK_PAGE, CHECK_PAGE);
	if (!release(session))
		return check_trouble(session);
	if (!check_request_wait(session, &request, NULL, 0, session->options->timeout_ms / 4) &&
	    session->peer.state != CHECK_ANSWERED)
		return check_trouble(session);
	return check_untouched(session, "a buffer that it was allowed to read") ? check_passed(session) : check_trouble(session);
}

/* The ring itself is not mapped: nothing is done until it is, and then all. */
static enum check_verdict ring_waits(struct check_session *session)
{
	const struct check_setup setup = {.rings_unmapped = true};
	struct check_ring *ring = &session->rings[0];
	struct check_request request;

	/* From the beginning: one that was refused need not ask again. */
	session->manner = CHECK_HELD;
	if (!check_session_start(session, &setup) || !check_request_make(session, &request, check_direction_of(session), 0) ||
	    !check_request_grant(session, &request))
		return check_trouble(session);
	if (!check_request_stays(session, &request, "a ring that is not mapped"))
		return check_trouble(session);
	if (!check_session_ring_grant(session, ring) || !release(session))
		return check_trouble(session);
	check_ring_kick(ring);
	if (!is_right(session, &request))
		return check_trouble(session);
	if (check_miss_about(session, 0, ring->avail.bus, ring->avail.bytes, CHECK_WRITE))
		return check_observed(session, "it waits, and asks to write the driver area at 0x%llx, which it only reads",
				      (unsigned long long)ring->avail.bus);
	return check_passed(session);
}

const struct check_case check_cases_misses[] = {
	{"miss-permission", "DEV-3", "asks for the permission that it needs", FROM, asks_for_what_it_needs},
	{"miss-once", "DEV-3", "asks once about a page", FROM, asks_once},
	{"miss-late", "DEV-20", "goes on when a miss is answered late", FROM, waits},
	{"miss-any-order", "DEV-20", "goes on when updates come in another order than misses", FROM, any_order},
	{"miss-others-go-on", "DEV-12", "serves a request whose buffers are mapped while another one waits", FROM, others_go_on},
	{"miss-refused", "DEV-10", "goes on with other requests when a miss was refused", FROM, goes_on_when_refused},
	{"miss-other-page", "DEV-10", "takes an update of another page for no answer", FROM, takes_no_others_answer},
	{"miss-less-permission", "DEV-9", "makes no more of an update than it says", FROM, makes_no_more_of_it},
	{"ring-unmapped", "DEV-3", "waits until its ring is mapped", NEEDS, ring_waits},
	{0},
};
