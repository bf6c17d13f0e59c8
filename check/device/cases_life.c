/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cases_life.c - stops, resets and new connections (DEV-14, DEV-18, DEV-21): where a queue has come to is the truth, nothing
 * is touched afterwards, nothing is remembered that belonged to the life before.
 */
#include "check/device/cases.h"

#include <string.h>

static const struct check_setup usual = {0};

#define RING CHECK_NEEDS_RING
#define PLATFORM (CHECK_NEEDS_RING | CHECK_NEEDS_PLATFORM)

/* Some requests; then the base is where they have come to. */
static bool some(struct check_session *session, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (!check_device_works(session))
			return false;
	return true;
}

static enum check_verdict base_is_true(struct check_session *session)
{
	uint32_t base;

	if (!check_session_start(session, &usual) || !some(session, 5) || !check_session_ring_stop(session, 0, &base))
		return check_trouble(session);
	if (session->packed && base == (check_ring_base(&session->rings[0]) & 0xffff))
		return check_observed(session, "the queue stops at 0x%x: the half that says how far it is used is missing, as before the "
					       "protocol's document had it", base);
	if (base != check_ring_base(&session->rings[0]))
		return check_failed(session, "the queue stops at 0x%x after all is used up to 0x%x", base,
				    check_ring_base(&session->rings[0]));
	return check_passed(session);
}

static enum check_verdict goes_on(struct check_session *session)
{
	uint32_t base;

	if (!check_session_start(session, &usual))
		return check_trouble(session);
	for (unsigned i = 0; i < 4; i++)
		if (!some(session, 3) || !check_session_ring_stop(session, 0, &base) || !check_session_ring_start(session, 0))
			return check_trouble(session);
	return some(session, 3) ? check_passed(session) : check_trouble(session);
}

/* Made available while the queue is stopped: untouched until it starts, and then done. */
static enum check_verdict stopped_is_stopped(struct check_session *session)
{
	struct check_request request;
	uint32_t base;

	if (!check_session_start(session, &usual) || !some(session, 2) ||
	    !check_request_make(session, &request, check_direction_of(session), 0) || !check_request_grant(session, &request) ||
	    !check_session_ring_stop(session, 0, &base))
		return check_trouble(session);
	return check_request_stays(session, &request, "memory after GET_VRING_BASE was answered") ? check_passed(session)
												  : check_trouble(session);
}

/* GET_VRING_BASE with requests that wait for a miss: given back, or failed, not lost. */
static enum check_verdict stops_while_waiting(struct check_session *session)
{
	struct check_ring *ring = &session->rings[0];
	struct check_request request;
	uint32_t base, before;

	if (!check_session_start(session, &usual) || !some(session, 2) ||
	    !check_request_make(session, &request, check_direction_of(session), 0) || !check_request_grant(session, &request))
		return check_trouble(session);
	before = check_ring_base(ring);
	session->manner = CHECK_HELD;
	if (!check_request_submit(session, &request))
		return check_trouble(session);
	check_wait_ms(session, 30);
	if (!check_session_ring_stop(session, 0, &base))
		return check_trouble(session);
	if (check_ring_has_used(ring))
		return check_observed(session, "a request that waited for a miss was failed when its queue stopped");
	if (base != before)
		return check_failed(session, "a request waited for a miss, was not used, and the queue stops behind it (0x%x, not 0x%x)",
				    base, before);
	return check_passed(session);
}

/* The protocol's document has a disabled queue processed "without side effects", which is not said for each type. */
static enum check_verdict disabled_is_disabled(struct check_session *session)
{
	struct vhost_user_vring_state state = {0, 0};
	struct check_request request;
	uint64_t word;

	if (!(session->offered >> VHOST_USER_F_PROTOCOL_FEATURES_BIT & 1))
		return check_not_exercised(session, "queues cannot be disabled");
	if (!check_session_start(session, &usual) || !some(session, 2) ||
	    !check_request_make(session, &request, check_direction_of(session), 0) || !check_request_grant(session, &request))
		return check_trouble(session);
	state.index = session->rings[0].queue;
	if (!check_peer_send(&session->peer, VHOST_USER_SET_VRING_ENABLE, 0, &state, sizeof(state), NULL, 0) ||
	    check_peer_get(&session->peer, VHOST_USER_GET_FEATURES, &word) != CHECK_ANSWERED)
		return check_trouble(session);
	if (!check_request_stays(session, &request, "memory of a queue that is disabled"))
		return session->peer.state == CHECK_ANSWERED
			       ? check_observed(session, "a queue that is disabled is served: %.300s", session->why)
			       : check_trouble(session);
	state.num = 1;
	if (!check_peer_send(&session->peer, VHOST_USER_SET_VRING_ENABLE, 0, &state, sizeof(state), NULL, 0))
		return check_trouble(session);
	check_ring_kick(&session->rings[0]);
	return check_request_wait(session, &request, NULL, 0, session->options->timeout_ms) && session->type->right(session, &request)
		       ? check_passed(session)
		       : check_trouble(session);
}

static enum check_verdict resets(struct check_session *session)
{
	uint64_t status = 0;

	if (!check_session_start(session, &usual) || !some(session, 2) || !check_session_reset(session))
		return check_trouble(session);
	if (check_session_has(session, VHOST_USER_PROTOCOL_F_STATUS_BIT)) {
		if (check_peer_get(&session->peer, VHOST_USER_GET_STATUS, &status) != CHECK_ANSWERED)
			return check_trouble(session);
		if (status)
			return check_failed(session, "after a reset the status reads 0x%llx", (unsigned long long)status);
	}
	return check_passed(session);
}

/* After a reset, on the same connection, all is as at the beginning. */
static enum check_verdict works_after_reset(struct check_session *session)
{
	if (!check_session_start(session, &usual) || !some(session, 2) || !check_session_reset(session))
		return check_trouble(session);
	for (unsigned n = 0; n < session->ring_count; n++)
		check_ring_free(&session->rings[n]);
	session->ring_count = 0;
	session->grant_count = 0;
	return check_session_start(session, &usual) && some(session, 2) ? check_passed(session) : check_trouble(session);
}

/* A new driver, a new bus: the same bus address means nothing that it meant before. */
static enum check_verdict forgets(struct check_session *session, bool (*end)(struct check_session *session))
{
	struct check_request request;
	struct check_place place;
	uint32_t from;

	if (!check_session_start(session, &usual) || !check_request_make(session, &request, CHECK_FROM_DEVICE, 0) ||
	    !check_request_works(session, &request))
		return check_trouble(session);
	place = request.parts[request.data].place;
	if (!end(session) || !check_session_start(session, &usual) || !some(session, 1))
		return check_trouble(session);
	from = session->miss_count;
	if (!check_request_make_of(session, &request, CHECK_FROM_DEVICE, &place, 1) ||
	    !check_request_grant_but_data(session, &request))
		return check_trouble(session);
	check_request_expect_status(session, &request);
	if (!check_request_submit(session, &request))
		return check_trouble(session);
	if (!check_request_wait(session, &request, NULL, 0, session->options->timeout_ms / 4) &&
	    session->peer.state != CHECK_ANSWERED)
		return check_trouble(session);
	if (!check_untouched(session, "memory that was mapped in its last life"))
		return check_trouble(session);
	if (!check_miss_about(session, from, place.bus, place.bytes, CHECK_WRITE))
		return check_failed(session, "it neither wrote to 0x%llx nor asked for it", (unsigned long long)place.bus);
	return check_passed(session);
}

static bool by_connection(struct check_session *session)
{
	return check_session_again(session);
}

static enum check_verdict new_connection(struct check_session *session)
{
	return forgets(session, by_connection);
}

static enum check_verdict another_connection_works(struct check_session *session)
{
	for (unsigned i = 0; i < 5; i++)
		if (!check_session_start(session, &usual) || !some(session, 2) || !check_session_again(session))
			return check_trouble(session);
	return check_passed(session);
}

/* The connection ends with requests that wait: the next one works. */
static enum check_verdict ends_while_waiting(struct check_session *session)
{
	struct check_request request;

	if (!check_session_start(session, &usual) || !some(session, 1) ||
	    !check_request_make(session, &request, check_direction_of(session), 0) || !check_request_grant(session, &request))
		return check_trouble(session);
	session->manner = CHECK_HELD;
	if (!check_request_submit(session, &request))
		return check_trouble(session);
	check_wait_ms(session, 20);
	session->manner = CHECK_TRUE;
	return check_session_again(session) && check_session_start(session, &usual) && some(session, 2) ? check_passed(session)
													 : check_trouble(session);
}

const struct check_case check_cases_life[] = {
	{"stop-base", "DEV-18", "says truly where a queue has stopped", RING, base_is_true},
	{"stop-and-go-on", "DEV-18", "goes on where a queue was stopped", RING, goes_on},
	{"stopped", "DEV-14", "touches nothing of a queue that has stopped", RING, stopped_is_stopped},
	{"stop-while-waiting", "DEV-18", "gives back what waits when its queue stops", PLATFORM, stops_while_waiting},
	{"disabled", "DEV-14", "touches nothing of a queue that is disabled", RING, disabled_is_disabled},
	{"reset", "DEV-21", "completes a reset", RING, resets},
	{"reset-and-again", "DEV-21", "works after a reset", RING, works_after_reset},
	{"connection-forgotten", "DEV-10", "keeps no mapping from one connection to the next", PLATFORM | CHECK_NEEDS_FROM_DEVICE,
	 new_connection},
	{"connection-again", "DEV-21", "works over one connection after the other", RING, another_connection_works},
	{"connection-ends-while-waiting", "DEV-18", "works after a connection that ended while requests waited", PLATFORM,
	 ends_while_waiting},
	{0},
};
