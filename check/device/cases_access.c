/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cases_access.c - what a device reaches (DEV-9, DEV-10): with a request that is sound but for one grant. It may fail the
 * request, or hold it; what it may not do shows in the memory.
 */
#include "check/device/cases.h"

#include <viodma/loop.h>

static const struct check_setup usual = {0};

/* The request is given its time; then memory must be as it was. Where it was answered at all, the device must still work. */
static enum check_verdict nothing_is_touched(struct check_session *session, struct check_request *request, const char *what)
{
	check_memory_remember(&session->memory);
	check_rings_allow(session);
	for (uint32_t i = 0; i < request->count; i++)
		if (request->parts[i].role == CHECK_STATUS)
			check_memory_allow(&session->memory, &request->parts[i].place, 0, request->parts[i].place.bytes);
	if (!check_request_submit(session, request))
		return check_trouble(session);
	if (!check_request_wait(session, request, NULL, 0, session->options->timeout_ms / 4) &&
	    session->peer.state != CHECK_ANSWERED)
		return check_trouble(session);
	if (!check_untouched(session, what))
		return check_trouble(session);
	if (!session->miss_count)
		return check_not_exercised(session, "the device never asked for a translation");
	return check_passed(session);
}

/* All but the data is granted. */
static bool grant_but_data(struct check_session *session, const struct check_request *request)
{
	for (uint32_t i = 0; i < request->count; i++)
		if (request->parts[i].role != CHECK_DATA && !check_part_grant(session, &request->parts[i]))
			return false;
	return true;
}

static enum check_verdict write_to_read_only(struct check_session *session)
{
	struct check_request request;

	if (!check_session_start(session, &usual) || !check_request_make(session, &request, CHECK_FROM_DEVICE, 0) ||
	    !grant_but_data(session, &request) || !check_grant(session, &request.parts[request.data].place, CHECK_READ))
		return check_trouble(session);
	return nothing_is_touched(session, &request, "a buffer that it may only read");
}

static enum check_verdict write_to_unmapped(struct check_session *session)
{
	struct check_request request;

	if (!check_session_start(session, &usual) || !check_request_make(session, &request, CHECK_FROM_DEVICE, 0) ||
	    !grant_but_data(session, &request))
		return check_trouble(session);
	return nothing_is_touched(session, &request, "a buffer that is not mapped");
}

/* What is at the physical address that equals the bus address is no business of the device's. */
static enum check_verdict physical_is_no_bus_address(struct check_session *session)
{
	struct check_request request;

	if (!check_session_start(session, &usual) || !check_request_make(session, &request, CHECK_FROM_DEVICE, 0) ||
	    !grant_but_data(session, &request))
		return check_trouble(session);
	request.parts[request.data].place.bus = request.parts[request.data].place.phys;
	return nothing_is_touched(session, &request, "memory whose physical address was in a descriptor");
}

static enum check_verdict user_is_no_bus_address(struct check_session *session)
{
	struct check_request request;

	if (!check_session_start(session, &usual) || !check_request_make(session, &request, CHECK_FROM_DEVICE, 0) ||
	    !grant_but_data(session, &request))
		return check_trouble(session);
	request.parts[request.data].place.bus = request.parts[request.data].place.user;
	return nothing_is_touched(session, &request, "memory whose user address was in a descriptor");
}

const struct check_case check_cases_access[] = {
	{"write-to-read-only", "DEV-9", "does not write to a buffer that is mapped for reading",
	 CHECK_NEEDS_RING | CHECK_NEEDS_PLATFORM | CHECK_NEEDS_FROM_DEVICE, write_to_read_only},
	{"write-to-unmapped", "DEV-10", "does not write to a buffer that is not mapped",
	 CHECK_NEEDS_RING | CHECK_NEEDS_PLATFORM | CHECK_NEEDS_FROM_DEVICE, write_to_unmapped},
	{"physical-address", "DEV-10", "does not take a bus address that is not mapped for a physical one",
	 CHECK_NEEDS_RING | CHECK_NEEDS_PLATFORM | CHECK_NEEDS_FROM_DEVICE, physical_is_no_bus_address},
	{"user-address", "DEV-10", "does not take a bus address that is not mapped for a user address",
	 CHECK_NEEDS_RING | CHECK_NEEDS_PLATFORM | CHECK_NEEDS_FROM_DEVICE, user_is_no_bus_address},
	{0},
};
