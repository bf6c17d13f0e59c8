/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * type_rng.c - entropy, virtio 1.2 section 5.4: a request is a device-writable buffer, of which the device fills as much as
 * it likes. Right is at least one byte, and bytes that are not all the same.
 */
#include "check/device/types.h"

static unsigned queue(unsigned n, enum check_direction direction)
{
	(void)direction;
	return n;
}

static bool make(struct check_session *session, struct check_request *request)
{
	(void)session;
	(void)request;
	return true;
}

static bool right(struct check_session *session, const struct check_request *request)
{
	uint64_t left = request->used.bytes, others = 0;
	const unsigned char *first = request->parts[0].place.at;

	if (!request->used.bytes || request->used.bytes > request->data_bytes)
		return check_wrong(session, "%u random bytes were given where there is room for %llu", request->used.bytes,
				   (unsigned long long)request->data_bytes);
	for (uint32_t i = 0; i < request->count && left; i++)
		for (uint64_t b = 0; b < request->parts[i].place.bytes && left; b++, left--)
			others += request->parts[i].place.at[b] != *first;
	return others || request->used.bytes < 16 || check_wrong(session, "%u random bytes that are all 0x%02x",
								 request->used.bytes, *first);
}

const struct check_type check_type_rng = {
	.name = "rng",
	.device_id = 4,
	.from_device = true,
	.usual_bytes = 512,
	.least_bytes = 1,
	.most_bytes = 65536,
	.step_bytes = 1,
	.queue = queue,
	.make = make,
	.right = right,
};
