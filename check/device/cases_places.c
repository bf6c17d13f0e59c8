/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cases_places.c - where things may be (DEV-3): rings, tables and buffers anywhere on the bus, in several mappings whose memory
 * does not adjoin, in several regions. All of it is sound: each case passes if the requests work.
 */
#include "check/device/cases.h"

#include <string.h>

static const struct check_setup usual = {0};

#define NEEDS (CHECK_NEEDS_RING | CHECK_NEEDS_PLATFORM)

/* A request with such a place for its data works, in each direction the type has. */
static enum check_verdict works_at(struct check_session *session, struct check_place *place, enum check_direction direction)
{
	struct check_request request;

	if (!check_request_make_of(session, &request, direction, place, 1) || !check_request_works(session, &request))
		return check_trouble(session);
	return check_passed(session);
}

static enum check_verdict at_bus(struct check_session *session, uint64_t bus)
{
	struct check_place place;

	if (!check_session_start(session, &usual) || !check_place(session, session->type->usual_bytes, 0, &place))
		return check_trouble(session);
	place.bus = bus;
	return works_at(session, &place, check_direction_of(session));
}

static enum check_verdict at_zero(struct check_session *session)
{
	return at_bus(session, 0);
}

/* The last byte of the address space is one. */
static enum check_verdict at_the_end(struct check_session *session)
{
	struct check_place place;
	const uint64_t bytes = session->type->usual_bytes;

	if (!check_session_start(session, &usual) || !check_place(session, bytes, CHECK_PAGE - (uint32_t)bytes % CHECK_PAGE, &place))
		return check_trouble(session);
	place.bus = 0 - bytes;
	return works_at(session, &place, check_direction_of(session));
}

static enum check_verdict at_57_bits(struct check_session *session)
{
	return at_bus(session, (UINT64_C(1) << 56) + 0x7000);
}

static enum check_verdict at_odd(struct check_session *session)
{
	struct check_place place;

	if (!check_session_start(session, &usual) || !check_place(session, session->type->usual_bytes, 0x3a7, &place))
		return check_trouble(session);
	return works_at(session, &place, check_direction_of(session));
}

/* Neighbours on the bus, in different regions of memory. */
static enum check_verdict spread(struct check_session *session, uint64_t bytes, enum check_direction direction)
{
	const struct check_type *type = session->type;
	struct check_place place;

	if (bytes > type->most_bytes && type->most_bytes <= 2 * CHECK_PAGE)
		return check_not_exercised(session, "a request of this type has at most %u bytes of data", type->most_bytes);
	bytes = bytes < type->most_bytes ? bytes / type->step_bytes * type->step_bytes : type->most_bytes;
	if (!check_session_start(session, &usual))
		return check_trouble(session);
	if (!check_memory_spread(&session->memory, bytes, CHECK_PAGE - (uint32_t)bytes % CHECK_PAGE / 2 - 1, &place))
		return check_wrong(session, "out of memory"), check_trouble(session);
	return works_at(session, &place, direction);
}

static enum check_verdict over_two(struct check_session *session)
{
	return spread(session, session->type->usual_bytes, CHECK_FROM_DEVICE);
}

static enum check_verdict over_two_readable(struct check_session *session)
{
	return spread(session, session->type->usual_bytes, CHECK_TO_DEVICE);
}

static enum check_verdict over_many(struct check_session *session)
{
	return spread(session, 65536, CHECK_FROM_DEVICE);
}

static enum check_verdict over_many_readable(struct check_session *session)
{
	return spread(session, 65536, CHECK_TO_DEVICE);
}

/* More pages than one for each part of a ring. */
static enum check_verdict rings_over_many(struct check_session *session)
{
	const struct check_setup setup = {.rings_spread = true};
	struct check_request requests[20];
	enum check_verdict verdict;

	if (!check_session_start_large(session, &setup, &verdict))
		return verdict;
	for (uint32_t round = 0; round < 80; round++) {
		for (uint32_t i = 0; i < 20; i++)
			if (!round && !check_request_make(session, &requests[i], CHECK_FROM_DEVICE, 0))
				return check_trouble(session);
		for (uint32_t i = 0; i < 20; i++)
			if ((!round && !check_request_grant(session, &requests[i])) || !check_request_submit(session, &requests[i]))
				return check_trouble(session);
		for (uint32_t i = 0; i < 20; i++)
			if (!check_request_wait(session, &requests[i], requests, 20, session->options->timeout_ms) ||
			    !session->type->right(session, &requests[i]))
				return check_trouble(session);
	}
	return check_passed(session);
}

static enum check_verdict in_table(struct check_session *session, bool over_pages)
{
	const struct check_type *type = session->type;
	struct check_request request;
	struct check_place places[30];
	const uint32_t count = over_pages && type->most_bytes / type->step_bytes >= 30 ? 30 : 1;
	const uint32_t least = (type->least_bytes + count - 1) / count, step = type->step_bytes;

	if (!check_session_start(session, &usual))
		return check_trouble(session);
	for (uint32_t i = 0; i < count; i++)
		if (!check_place(session, count == 1 ? type->usual_bytes : (least + step - 1) / step * step, 0x100, &places[i]))
			return check_trouble(session);
	if (!check_request_make_of(session, &request, check_direction_of(session), places, count))
		return check_trouble(session);
	request.table = true;
	if (over_pages && !check_memory_spread(&session->memory, 16u * request.count, CHECK_PAGE - 16, &request.table_place))
		return check_wrong(session, "out of memory"), check_trouble(session);
	return check_request_works(session, &request) ? check_passed(session) : check_trouble(session);
}

static enum check_verdict table(struct check_session *session)
{
	return in_table(session, false);
}

static enum check_verdict table_over_two(struct check_session *session)
{
	return in_table(session, true);
}

const struct check_case check_cases_places[] = {
	{"buffer-at-zero", "DEV-3", "translates bus address 0", NEEDS, at_zero},
	{"buffer-at-the-end", "DEV-3", "translates the last bytes of the bus's address space", NEEDS, at_the_end},
	{"buffer-at-57-bits", "DEV-3", "translates bus addresses of 57 bits", NEEDS, at_57_bits},
	{"buffer-unaligned", "DEV-3", "translates a buffer that is not aligned", NEEDS, at_odd},
	{"buffer-over-two-mappings", "DEV-3", "writes to a buffer that lies in two mappings", NEEDS | CHECK_NEEDS_FROM_DEVICE, over_two},
	{"buffer-over-two-mappings-readable", "DEV-3", "reads a buffer that lies in two mappings", NEEDS | CHECK_NEEDS_TO_DEVICE,
	 over_two_readable},
	{"buffer-over-many-mappings", "DEV-3", "writes to a buffer that lies in many mappings", NEEDS | CHECK_NEEDS_FROM_DEVICE,
	 over_many},
	{"buffer-over-many-mappings-readable", "DEV-3", "reads a buffer that lies in many mappings", NEEDS | CHECK_NEEDS_TO_DEVICE,
	 over_many_readable},
	{"ring-over-many-mappings", "DEV-3", "translates each page of a ring", NEEDS | CHECK_NEEDS_FROM_DEVICE, rings_over_many},
	{"table", "DEV-3", "translates the address of an indirect table", NEEDS | CHECK_NEEDS_INDIRECT, table},
	{"table-over-two-mappings", "DEV-3", "translates each page of an indirect table", NEEDS | CHECK_NEEDS_INDIRECT, table_over_two},
	{0},
};
