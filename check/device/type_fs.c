/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * type_fs.c - virtio-fs, virtio 1.2 section 5.11: a request is a FUSE message and room for its reply. FUSE_INIT, which opens a session,
 * is the one that changes nothing and needs nothing; a device has to take it at any time, since a guest that was reset
 * says no good-bye. The data is the reply: a header, and what the device settles for. FUSE's fields have the guest's byte order,
 * which is little endian where VERSION_1 was accepted.
 */
#include "check/device/types.h"

#include <viodma/types.h>

#include <string.h>

#define VIRTIO_ID_FS 26u

/* Queues, section 5.11.2; without a notification queue. */
#define VIRTIO_FS_HIGH_PRIORITY_QUEUE 0u
#define VIRTIO_FS_REQUEST_QUEUE(n) (1u + (n))

#define FUSE_INIT 26u
#define FUSE_KERNEL_VERSION 7u
#define FUSE_KERNEL_MINOR_VERSION 31u

/* Device-readable: header, arguments. Device-writable: header, results. */
struct fuse_in_header {
	viodma_le32 len, opcode;
	viodma_le64 unique, nodeid;
	viodma_le32 uid, gid, pid, padding;
};
struct fuse_init_in {
	viodma_le32 major, minor, max_readahead, flags;
};
struct fuse_out_header {
	viodma_le32 len, error; /* 0, or an errno negated */
	viodma_le64 unique;
};
struct fuse_init_out {
	viodma_le32 major, minor, max_readahead, flags;
	viodma_le16 max_background, congestion_threshold;
	viodma_le32 max_write, time_gran;
	viodma_le16 max_pages, map_alignment;
	viodma_le32 unused[8];
};
_Static_assert(sizeof(struct fuse_in_header) == 40 && sizeof(struct fuse_init_in) == 16, "a message");
_Static_assert(sizeof(struct fuse_out_header) == 16 && sizeof(struct fuse_init_out) == 64, "a reply");

#define REPLY_BYTES ((uint32_t)(sizeof(struct fuse_out_header) + sizeof(struct fuse_init_out)))

static unsigned queue(unsigned n, enum check_direction direction)
{
	(void)direction;
	return VIRTIO_FS_REQUEST_QUEUE(n);
}

static unsigned idle_queue(unsigned n)
{
	(void)n;
	return VIRTIO_FS_HIGH_PRIORITY_QUEUE;
}

static bool make(struct check_session *session, struct check_request *request)
{
	const struct fuse_in_header header = {
		.len = viodma_le32_of(sizeof(header) + sizeof(struct fuse_init_in)),
		.opcode = viodma_le32_of(FUSE_INIT),
		.unique = viodma_le64_of(request->salt),
	};
	const struct fuse_init_in init = {
		.major = viodma_le32_of(FUSE_KERNEL_VERSION),
		.minor = viodma_le32_of(FUSE_KERNEL_MINOR_VERSION),
		.max_readahead = viodma_le32_of(4096),
	};
	struct check_part first = {.role = CHECK_HEADER}, second = {.role = CHECK_HEADER};

	if (!check_place(session, sizeof(header), 0x6a8, &first.place) || !check_place(session, sizeof(init), 0x8f0, &second.place))
		return false;
	memcpy(first.place.at, &header, sizeof(header));
	memcpy(second.place.at, &init, sizeof(init));
	memmove(request->parts + 2, request->parts, request->count * sizeof(*request->parts));
	request->parts[0] = first;
	request->parts[1] = second;
	request->count += 2;
	request->data = 2;
	return true;
}

static bool right(struct check_session *session, const struct check_request *request)
{
	struct {
		struct fuse_out_header header;
		struct fuse_init_out init;
	} reply;
	size_t at = 0;

	for (uint32_t i = request->data; i < request->count; i++)
		for (uint64_t b = 0; b < request->parts[i].place.bytes && at < sizeof(reply); b++, at++)
			((unsigned char *)&reply)[at] = request->parts[i].place.at[b];
	if (viodma_le64_get(reply.header.unique) != request->salt)
		return check_wrong(session, "the reply is to message %llu, not to %u",
				   (unsigned long long)viodma_le64_get(reply.header.unique), request->salt);
	if (viodma_le32_get(reply.header.error))
		return check_wrong(session, "FUSE_INIT ended with error %d", (int)viodma_le32_get(reply.header.error));
	if (viodma_le32_get(reply.header.len) > request->used.bytes)
		return check_wrong(session, "a reply of %u bytes was written, and %u by the used length",
				   viodma_le32_get(reply.header.len), request->used.bytes);
	return viodma_le32_get(reply.init.major) == FUSE_KERNEL_VERSION ||
	       check_wrong(session, "the reply says FUSE version %u", viodma_le32_get(reply.init.major));
}

const struct check_type check_type_fs = {
	.name = "fs",
	.device_id = VIRTIO_ID_FS,
	.from_device = true,
	.usual_bytes = REPLY_BYTES,
	.least_bytes = REPLY_BYTES,
	.most_bytes = REPLY_BYTES,
	.step_bytes = 1,
	.queue = queue,
	.idle_queue = idle_queue,
	.make = make,
	.right = right,
};
