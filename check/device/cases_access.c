/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cases_access.c - what a device reaches (DEV-9, DEV-10): with a request that is sound but for one grant. It may fail the
 * request, or hold it; what it may not do shows in the memory. In half of the cases the device holds the mapping already,
 * when it cannot rely on the platform to refuse it.
 */
#include "check/device/cases.h"

static const struct check_setup usual = {0};

#define NEEDS (CHECK_NEEDS_RING | CHECK_NEEDS_PLATFORM)
#define FROM (NEEDS | CHECK_NEEDS_FROM_DEVICE)
#define TO (NEEDS | CHECK_NEEDS_TO_DEVICE)

/* The rings run, there is a request, and all of it is granted but its data. */
static bool begin(struct check_session *session, struct check_request *request, enum check_direction direction)
{
	if (!check_session_start(session, &usual) || !check_device_works(session) ||
	    !check_request_make(session, request, direction, 0))
		return false;
	return check_request_grant_but_data(session, request);
}

static struct check_place *data_of(struct check_request *request)
{
	return &request->parts[request->data].place;
}

/* The device is told of a mapping before it asks. */
static bool tell(struct check_session *session, const struct check_place *place, uint64_t bytes, unsigned permission)
{
	const uint64_t before = place->bus % CHECK_PAGE;
	bool refused;

	return check_update(session, place->bus - before, place->user - before, bytes, permission, &refused) &&
	       (!refused || check_wrong(session, "the device refuses a mapping of %llu bytes at 0x%llx, permission %u",
					(unsigned long long)bytes, (unsigned long long)(place->bus - before), permission));
}

/* The request is given its time; then memory must be as it was, but for `bytes` at the beginning of its data. */
static enum check_verdict little_is_touched(struct check_session *session, struct check_request *request, uint64_t bytes,
					    const char *what)
{
	check_request_expect_status(session, request);
	if (bytes)
		check_memory_allow(&session->memory, data_of(request), 0, bytes);
	if (!check_request_submit(session, request))
		return check_trouble(session);
	if (!check_request_wait(session, request, NULL, 0, session->options->timeout_ms / 4) &&
	    session->peer.state != CHECK_ANSWERED)
		return check_trouble(session);
	return check_untouched(session, what) ? check_passed(session) : check_trouble(session);
}

static enum check_verdict nothing_is_touched(struct check_session *session, struct check_request *request, const char *what)
{
	return little_is_touched(session, request, 0, what);
}

/* ---- writes ---- */

static enum check_verdict write_asks_to_read_only(struct check_session *session)
{
	struct check_request request;

	if (!begin(session, &request, CHECK_FROM_DEVICE) || !check_grant(session, data_of(&request), CHECK_READ))
		return check_trouble(session);
	return nothing_is_touched(session, &request, "a buffer that it may only read");
}

static enum check_verdict write_to_read_only(struct check_session *session)
{
	struct check_request request;

	if (!begin(session, &request, CHECK_FROM_DEVICE) || !tell(session, data_of(&request), CHECK_PAGE, CHECK_READ))
		return check_trouble(session);
	return nothing_is_touched(session, &request, "a buffer that it may only read");
}

static enum check_verdict write_to_unmapped(struct check_session *session)
{
	struct check_request request;

	if (!begin(session, &request, CHECK_FROM_DEVICE))
		return check_trouble(session);
	return nothing_is_touched(session, &request, "a buffer that is not mapped");
}

static enum check_verdict write_to_withdrawn(struct check_session *session)
{
	struct check_request request;
	bool refused;

	if (!begin(session, &request, CHECK_FROM_DEVICE) || !tell(session, data_of(&request), CHECK_PAGE, CHECK_WRITE) ||
	    !check_withdraw(session, data_of(&request)->bus / CHECK_PAGE * CHECK_PAGE, CHECK_PAGE, &refused))
		return check_trouble(session);
	return nothing_is_touched(session, &request, "a buffer that is not mapped any more");
}

/* Data of two pages; the device holds the mapping of the first one only. */
static enum check_verdict write_beyond_mapping(struct check_session *session)
{
	struct check_request request;
	struct check_place place;

	if (!check_session_start(session, &usual) || !check_device_works(session) ||
	    !check_place(session, session->type->usual_bytes, CHECK_PAGE - 16, &place) ||
	    !check_request_make_of(session, &request, CHECK_FROM_DEVICE, &place, 1) ||
	    !check_request_grant_but_data(session, &request) || !tell(session, &place, CHECK_PAGE, CHECK_WRITE))
		return check_trouble(session);
	return little_is_touched(session, &request, 16, "a page beyond the one that is mapped");
}

/* ---- reads: a hole shows who touched it ---- */

static bool hole(struct check_session *session, struct check_request *request)
{
	struct check_place *data = data_of(request);
	const uint64_t bytes = data->bytes;

	return check_memory_hole(&session->memory, bytes, data) || check_wrong(session, "out of memory");
}

static enum check_verdict read_of_write_only(struct check_session *session)
{
	struct check_request request;

	if (!begin(session, &request, CHECK_TO_DEVICE) || !hole(session, &request) ||
	    !tell(session, data_of(&request), CHECK_PAGE, CHECK_WRITE))
		return check_trouble(session);
	return nothing_is_touched(session, &request, "a buffer that it may only write");
}

static enum check_verdict read_of_unmapped(struct check_session *session)
{
	struct check_request request;

	if (!begin(session, &request, CHECK_TO_DEVICE) || !hole(session, &request))
		return check_trouble(session);
	return nothing_is_touched(session, &request, "a buffer that is not mapped");
}

static enum check_verdict read_of_withdrawn(struct check_session *session)
{
	struct check_request request;
	bool refused;

	if (!begin(session, &request, CHECK_TO_DEVICE) || !hole(session, &request) ||
	    !tell(session, data_of(&request), CHECK_PAGE, CHECK_READ) ||
	    !check_withdraw(session, data_of(&request)->bus, CHECK_PAGE, &refused))
		return check_trouble(session);
	return nothing_is_touched(session, &request, "a buffer that is not mapped any more");
}

/* ---- addresses that are others' ---- */

static enum check_verdict physical_is_no_bus_address(struct check_session *session)
{
	struct check_request request;

	if (!begin(session, &request, CHECK_FROM_DEVICE))
		return check_trouble(session);
	data_of(&request)->bus = data_of(&request)->phys;
	return nothing_is_touched(session, &request, "memory whose physical address was in a descriptor");
}

static enum check_verdict user_is_no_bus_address(struct check_session *session)
{
	struct check_request request;

	if (!begin(session, &request, CHECK_FROM_DEVICE))
		return check_trouble(session);
	data_of(&request)->bus = data_of(&request)->user;
	return nothing_is_touched(session, &request, "memory whose user address was in a descriptor");
}

/* The buffer's bus address is the physical address of something else, which is a hole. */
static enum check_verdict bus_address_that_is_a_physical_one(struct check_session *session)
{
	struct check_request request;
	struct check_place other;

	if (!begin(session, &request, CHECK_FROM_DEVICE))
		return check_trouble(session);
	if (!check_memory_hole(&session->memory, CHECK_PAGE, &other))
		return check_wrong(session, "out of memory"), check_trouble(session);
	data_of(&request)->bus = other.phys + data_of(&request)->bus % CHECK_PAGE;
	if (!check_part_grant(session, &request.parts[request.data]))
		return check_trouble(session);
	check_memory_remember(&session->memory);
	check_rings_allow(session);
	check_request_allow(session, &request);
	if (!check_request_submit(session, &request) ||
	    !check_request_wait(session, &request, NULL, 0, session->options->timeout_ms) || !session->type->right(session, &request))
		return check_trouble(session);
	return check_untouched(session, "memory whose physical address equals a bus address") ? check_passed(session)
											       : check_trouble(session);
}

const struct check_case check_cases_access[] = {
	{"write-asks-to-read-only", "DEV-9", "does not write where its question for permission to write was refused", FROM,
	 write_asks_to_read_only},
	{"write-to-read-only", "DEV-9", "does not write to a buffer that it knows to be mapped for reading", FROM, write_to_read_only},
	{"read-of-write-only", "DEV-9", "does not read a buffer that it knows to be mapped for writing", TO, read_of_write_only},
	{"write-to-unmapped", "DEV-10", "does not write to a buffer that is not mapped", FROM, write_to_unmapped},
	{"read-of-unmapped", "DEV-10", "does not read a buffer that is not mapped", TO, read_of_unmapped},
	{"write-to-withdrawn", "DEV-10", "does not write to a buffer that is not mapped any more", FROM, write_to_withdrawn},
	{"read-of-withdrawn", "DEV-10", "does not read a buffer that is not mapped any more", TO, read_of_withdrawn},
	{"write-beyond-mapping", "DEV-10", "does not write to the part of a buffer that lies beyond a mapping", FROM,
	 write_beyond_mapping},
	{"physical-address", "DEV-10", "does not take a bus address that is not mapped for a physical one", FROM,
	 physical_is_no_bus_address},
	{"user-address", "DEV-10", "does not take a bus address that is not mapped for a user address", FROM,
	 user_is_no_bus_address},
	{"bus-is-physical", "DEV-3", "translates a bus address that equals somebody else's physical address", FROM,
	 bus_address_that_is_a_physical_one},
	{0},
};
