/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cases_revocation.c - what becomes of mappings (DEV-13, PLT-9, PLT-10): an acknowledgement is the truth. What was taken back
 * is asked for again; what is nonsense is refused, and grants nothing.
 */
#include "check/device/cases.h"

#include <viodma/loop.h>

static const struct check_setup usual = {0};

#define NEEDS (CHECK_NEEDS_RING | CHECK_NEEDS_PLATFORM)
#define ACK (NEEDS | CHECK_NEEDS_REPLY_ACK)
#define FROM (ACK | CHECK_NEEDS_FROM_DEVICE)

static struct check_place *data_of(struct check_request *request)
{
	return &request->parts[request->data].place;
}

static uint64_t page_of(uint64_t address)
{
	return address / CHECK_PAGE * CHECK_PAGE;
}

/* After an invalidation the device asks again. */
static enum check_verdict is_asked_for_again(struct check_session *session)
{
	struct check_request request;
	bool refused;
	uint32_t from;

	if (!check_session_start(session, &usual) || !check_request_make(session, &request, CHECK_FROM_DEVICE, 0) ||
	    !check_request_works(session, &request) ||
	    !check_withdraw(session, page_of(data_of(&request)->bus), CHECK_PAGE, &refused))
		return check_trouble(session);
	if (refused)
		return check_failed(session, "an INVALIDATE of a mapping that is there is acknowledged as failed");
	from = session->miss_count;
	if (!check_part_grant(session, &request.parts[request.data]) || !check_request_submit(session, &request) ||
	    !check_request_wait(session, &request, NULL, 0, session->options->timeout_ms) || !session->type->right(session, &request))
		return check_trouble(session);
	if (!check_miss_about(session, from, data_of(&request)->bus, data_of(&request)->bytes, CHECK_WRITE))
		return check_failed(session, "after the INVALIDATE of 0x%llx was acknowledged it was written without asking",
				    (unsigned long long)page_of(data_of(&request)->bus));
	return check_passed(session);
}

/* The same bus address leads elsewhere now. */
static enum check_verdict follows(struct check_session *session)
{
	struct check_request request;
	struct check_place other;
	bool refused;

	if (!check_session_start(session, &usual) || !check_request_make(session, &request, CHECK_FROM_DEVICE, 0) ||
	    !check_request_works(session, &request) ||
	    !check_place(session, data_of(&request)->bytes, (uint32_t)(data_of(&request)->bus % CHECK_PAGE), &other) ||
	    !check_withdraw(session, page_of(data_of(&request)->bus), CHECK_PAGE, &refused))
		return check_trouble(session);
	other.bus = data_of(&request)->bus;
	*data_of(&request) = other;
	check_memory_remember(&session->memory);
	check_rings_allow(session);
	check_request_allow(session, &request);
	if (!check_part_grant(session, &request.parts[request.data]) || !check_request_submit(session, &request) ||
	    !check_request_wait(session, &request, NULL, 0, session->options->timeout_ms) || !session->type->right(session, &request) ||
	    !check_untouched(session, "memory where a bus address led before it was taken back"))
		return check_trouble(session);
	return check_passed(session);
}

/* An UPDATE over another one replaces it. */
static enum check_verdict update_replaces(struct check_session *session)
{
	struct check_request request;
	struct check_place other;
	bool refused;

	if (!check_session_start(session, &usual) || !check_request_make(session, &request, CHECK_FROM_DEVICE, 0) ||
	    !check_request_works(session, &request) ||
	    !check_place(session, data_of(&request)->bytes, (uint32_t)(data_of(&request)->bus % CHECK_PAGE), &other))
		return check_trouble(session);
	check_forget(session, page_of(data_of(&request)->bus), CHECK_PAGE);
	other.bus = data_of(&request)->bus;
	if (!check_update(session, page_of(other.bus), page_of(other.user), CHECK_PAGE, CHECK_WRITE, &refused))
		return check_trouble(session);
	if (refused)
		return check_observed(session, "an UPDATE over a mapping that is there is refused");
	*data_of(&request) = other;
	check_memory_remember(&session->memory);
	check_rings_allow(session);
	check_request_allow(session, &request);
	if (!check_part_grant(session, &request.parts[request.data]) || !check_request_submit(session, &request) ||
	    !check_request_wait(session, &request, NULL, 0, session->options->timeout_ms) || !session->type->right(session, &request) ||
	    !check_untouched(session, "memory of a mapping that was replaced"))
		return check_trouble(session);
	return check_passed(session);
}

/* The ring is taken away, and comes back elsewhere. */
static enum check_verdict ring_follows(struct check_session *session)
{
	struct check_ring *ring = &session->rings[0];
	struct check_request request;
	bool refused;
	uint32_t from;

	if (!check_session_start(session, &usual) || !check_request_make(session, &request, check_direction_of(session), 0) ||
	    !check_request_works(session, &request))
		return check_trouble(session);
	session->manner = CHECK_HELD;
	from = session->miss_count;
	if (!check_withdraw(session, page_of(ring->desc.bus), CHECK_PAGE * (1 + ring->desc.bytes / CHECK_PAGE), &refused) ||
	    !check_withdraw(session, page_of(ring->avail.bus), CHECK_PAGE, &refused) ||
	    !check_withdraw(session, page_of(ring->used.bus), CHECK_PAGE, &refused))
		return check_trouble(session);
	if (!check_request_stays(session, &request, "a ring that is not mapped any more"))
		return check_trouble(session);
	if (session->miss_count == from)
		return check_failed(session, "its ring was taken back, it was kicked, and it does not ask for the ring");
	session->manner = CHECK_TRUE;
	if (!check_session_ring_grant(session, ring))
		return check_trouble(session);
	for (; from < session->miss_count; from++)
		if (!check_miss_answer(session, from))
			return check_trouble(session);
	check_ring_kick(ring);
	return check_request_wait(session, &request, NULL, 0, session->options->timeout_ms) && session->type->right(session, &request)
		       ? check_passed(session)
		       : check_trouble(session);
}

/* ---- acknowledgements ---- */

/* An UPDATE that a device has to refuse. It may end the connection over it; else it must work afterwards. */
static enum check_verdict refuses(struct check_session *session, uint64_t bus, uint64_t user, uint64_t bytes, unsigned permission,
				  const char *what)
{
	bool refused;

	if (!check_session_start(session, &usual) || !check_device_works(session) ||
	    !check_update(session, bus, user, bytes, permission, &refused))
		return session->peer.state == CHECK_GONE ? check_passed(session) : check_trouble(session);
	if (!refused)
		return check_failed(session, "an UPDATE %s (bus 0x%llx, user 0x%llx, %llu bytes) is acknowledged as done", what,
				    (unsigned long long)bus, (unsigned long long)user, (unsigned long long)bytes);
	return check_device_works(session) || session->peer.state == CHECK_GONE ? check_passed(session) : check_trouble(session);
}

#define SOMEWHERE 0x330000000000u

static enum check_verdict outside_memory(struct check_session *session)
{
	return refuses(session, SOMEWHERE, 0x1234000, CHECK_PAGE, CHECK_READ_WRITE, "that leads to no memory");
}

static enum check_verdict beyond_region(struct check_session *session)
{
	const struct check_region *region = &session->memory.regions[0];

	return refuses(session, SOMEWHERE, region->user + CHECK_REGION_BYTES - CHECK_PAGE, 2 * CHECK_PAGE, CHECK_READ_WRITE,
		       "that leads beyond the end of a region");
}

static enum check_verdict user_wraps(struct check_session *session)
{
	return refuses(session, SOMEWHERE, 0 - (uint64_t)CHECK_PAGE, 2 * CHECK_PAGE, CHECK_READ_WRITE,
		       "whose user addresses wrap");
}

static enum check_verdict bus_wraps(struct check_session *session)
{
	return refuses(session, 0 - (uint64_t)CHECK_PAGE, session->memory.regions[0].user, 2 * CHECK_PAGE, CHECK_READ_WRITE,
		       "whose bus addresses wrap");
}

/* The protocol has such an UPDATE for "no access". A device may take it, if it grants nothing. */
static enum check_verdict no_permission(struct check_session *session)
{
	struct check_request request;
	uint64_t before;
	bool refused;

	if (!check_session_start(session, &usual) || !check_device_works(session) ||
	    !check_request_make(session, &request, CHECK_FROM_DEVICE, 0) || !check_request_grant(session, &request))
		return check_trouble(session);
	before = data_of(&request)->bus % CHECK_PAGE;
	check_forget(session, page_of(data_of(&request)->bus), CHECK_PAGE);
	if (!check_update(session, page_of(data_of(&request)->bus), data_of(&request)->user - before, CHECK_PAGE, 0, &refused))
		return session->peer.state == CHECK_GONE ? check_passed(session) : check_trouble(session);
	check_request_expect_status(session, &request);
	if (!check_request_submit(session, &request))
		return check_trouble(session);
	if (!check_request_wait(session, &request, NULL, 0, session->options->timeout_ms / 4) &&
	    session->peer.state != CHECK_ANSWERED && session->peer.state != CHECK_GONE)
		return check_trouble(session);
	session->peer.state = CHECK_ANSWERED; /* it may end the connection over it */
	return check_untouched(session, "a buffer whose mapping permits nothing") ? check_passed(session) : check_trouble(session);
}

static enum check_verdict no_bytes(struct check_session *session)
{
	bool refused;

	if (!check_session_start(session, &usual) || !check_device_works(session) ||
	    !check_update(session, SOMEWHERE, session->memory.regions[0].user, 0, CHECK_READ_WRITE, &refused))
		return session->peer.state == CHECK_GONE ? check_passed(session) : check_trouble(session);
	if (!check_device_works(session) && session->peer.state != CHECK_GONE)
		return check_trouble(session);
	return refused ? check_passed(session) : check_observed(session, "an UPDATE of no bytes is acknowledged as done");
}

/* Bit 33 is not there, and the message means nothing to it: it may refuse it, or end the connection. */
static enum check_verdict no_false_word(struct check_session *session)
{
	const struct check_setup clear = {.clear = true};
	bool refused;

	if (!check_session_start(session, &clear) || !check_device_works(session))
		return check_trouble(session);
	if (!check_update(session, SOMEWHERE, 0x1234000, CHECK_PAGE, CHECK_READ_WRITE, &refused))
		return session->peer.state == CHECK_GONE ? check_passed(session) : check_trouble(session);
	if (refused)
		return check_passed(session);
	return check_failed(session, "it has no bit 33, and acknowledges as done an UPDATE that leads to no memory (user 0x1234000)");
}

/* To take back what is not there is done at once. */
static enum check_verdict nothing_to_withdraw(struct check_session *session)
{
	bool refused;

	if (!check_session_start(session, &usual) || !check_device_works(session) ||
	    !check_withdraw(session, SOMEWHERE, 64 * CHECK_PAGE, &refused))
		return check_trouble(session);
	if (refused)
		return check_observed(session, "an INVALIDATE of what is not mapped is acknowledged as failed");
	return check_device_works(session) ? check_passed(session) : check_trouble(session);
}

const struct check_case check_cases_revocation[] = {
	{"invalidated", "DEV-13", "asks again for what was taken back", FROM, is_asked_for_again},
	{"invalidated-and-moved", "DEV-13", "follows a bus address that leads elsewhere", FROM, follows},
	{"update-replaces", "DEV-3", "follows an update over a mapping that it holds", FROM, update_replaces},
	{"ring-invalidated", "DEV-13", "does not touch a ring that was taken back, and asks for it", ACK, ring_follows},
	{"update-outside-memory", "PLT-10", "refuses an update that leads to no memory it was given", ACK, outside_memory},
	{"update-without-platform", "PLT-10", "does not acknowledge an update that it knows nothing of",
	 CHECK_NEEDS_RING | CHECK_NEEDS_NO_PLATFORM | CHECK_NEEDS_REPLY_ACK, no_false_word},
	{"update-beyond-region", "PLT-10", "refuses an update that leads beyond a region", ACK, beyond_region},
	{"update-user-wraps", "PLT-10", "refuses an update whose user addresses wrap", ACK, user_wraps},
	{"update-bus-wraps", "PLT-10", "refuses an update whose bus addresses wrap", ACK, bus_wraps},
	{"update-no-permission", "PLT-9", "takes an update that permits nothing for what it says", FROM, no_permission},
	{"update-no-bytes", "PLT-9", "answers an update of no bytes, and makes nothing of it", ACK, no_bytes},
	{"invalidate-nothing", "DEV-13", "acknowledges at once that what is not mapped is taken back", ACK, nothing_to_withdraw},
	{0},
};
