/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * type_blk.c - virtio-blk, virtio 1.2 section 5.2: a header, data, a status byte. What the disk's first sectors hold is known:
 * they are read once before the first case. A read is right if it brings that; a write, if a read then brings it back.
 */
#include "check/device/types.h"

#include <viodma/wire/blk.h>

#include <string.h>

static unsigned queue(unsigned n, enum check_direction direction)
{
	(void)direction;
	return n;
}

static bool make(struct check_session *session, struct check_request *request)
{
	struct virtio_blk_request_header header = {
		.type = viodma_le32_of(request->direction == CHECK_TO_DEVICE ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN),
		.sector = viodma_le64_of(0),
	};
	struct check_part first = {.role = CHECK_HEADER}, last = {.role = CHECK_STATUS, .writes = true};

	if (!check_place(session, sizeof(header), 0x7c0, &first.place) || !check_place(session, 1, 0x9a3, &last.place))
		return false;
	memcpy(first.place.at, &header, sizeof(header));
	*last.place.at = 0xff;
	memmove(request->parts + 1, request->parts, request->count * sizeof(*request->parts));
	request->parts[0] = first;
	request->parts[++request->count] = last;
	request->count++;
	request->data = 1;
	return true;
}

static bool status_is_ok(struct check_session *session, const struct check_request *request)
{
	const unsigned char status = *request->parts[request->count - 1].place.at;

	return status == VIRTIO_BLK_S_OK || check_wrong(session, "a %s of %llu bytes ended with status %u",
							request->direction == CHECK_TO_DEVICE ? "write" : "read",
							(unsigned long long)request->data_bytes, status);
}

/* Of what the disk's first sectors are. */
static bool same(struct check_session *session, const struct check_request *request)
{
	struct check_known *known = session->known;
	uint64_t at = 0;

	for (uint32_t i = 1; i + 1 < request->count; i++) {
		const struct check_place *place = &request->parts[i].place;

		for (uint64_t b = 0; b < place->bytes && at < CHECK_KNOWN_BYTES; b++, at++) {
			if (known->learning)
				known->bytes[at] = place->at[b];
			else if (at >= known->unsure && at < known->count && place->at[b] != known->bytes[at])
				return check_wrong(session, "byte %llu of a read is 0x%02x, but 0x%02x on the disk (address 0x%llx)",
						   (unsigned long long)at, place->at[b], known->bytes[at],
						   (unsigned long long)(check_address(session, place) + b));
		}
	}
	if (known->learning)
		known->count = (uint32_t)at;
	return true;
}

static bool right(struct check_session *session, const struct check_request *request)
{
	struct check_request back;

	if (!status_is_ok(session, request))
		return false;
	if (request->direction == CHECK_FROM_DEVICE) {
		if (request->used.bytes < request->data_bytes + 1)
			return check_wrong(session, "a read of %llu bytes wrote %u, by its used length",
					   (unsigned long long)request->data_bytes, request->used.bytes);
		return same(session, request);
	}
	for (uint64_t i = 0; i < request->data_bytes && i < session->known->count; i++)
		session->known->bytes[i] = check_data_byte(request->salt, i);
	if (session->known->unsure <= request->data_bytes)
		session->known->unsure = 0;
	return check_request_make(session, &back, CHECK_FROM_DEVICE, request->data_bytes) &&
	       check_request_works(session, &back);
}

const struct check_type check_type_blk = {
	.name = "blk",
	.device_id = VIRTIO_ID_BLOCK,
	.from_device = true,
	.to_device = true,
	.keeps = true,
	.features = 1u << VIRTIO_BLK_F_FLUSH_BIT,
	.usual_bytes = 1024,
	.least_bytes = VIRTIO_BLK_SECTOR_BYTES,
	.most_bytes = 65536,
	.step_bytes = VIRTIO_BLK_SECTOR_BYTES,
	.queue = queue,
	.make = make,
	.right = right,
};
