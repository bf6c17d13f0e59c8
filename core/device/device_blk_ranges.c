/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * device_blk_ranges.c - how it works: discard, write-zeroes and secure erase (virtio 1.2, section 5.2.6): the data is a
 * list of ranges, each an operation of its own. The list is copied, a range at a time, into the operations of the
 * request's head, and all of it is checked there before the first is submitted (= DEV-11): a request with one range
 * that breaks a rule does nothing. An unknown flag is answered with UNSUPP whatever else is wrong, all else with IOERR.
 *
 * A range of no sectors has nothing to be done. The request is answered when its last operation has ended.
 */
#include "device_blk_parts.h"

#define RANGE_BYTES ((uint32_t)sizeof(struct virtio_blk_range))

/* What was fetched, and what is wrong with it: NULL, or for the log. *unsupported: an unknown flag is. */
static const char *take_range(struct viodma_blk *blk, const struct virtio_blk_range *range, struct viodma_blk_io *io,
			      bool *unsupported)
{
	const uint32_t flags = viodma_le32_get(range->flags), count = viodma_le32_get(range->num_sectors);
	const uint64_t sector = viodma_le64_get(range->sector);

	*unsupported = !VIODMA_REQUIRE(DRV_18, !(flags & ~VIRTIO_BLK_RANGE_F_UNMAP));
	if (io->operation != VIODMA_BLK_WRITE_ZEROES && !VIODMA_REQUIRE(DRV_18, !(flags & VIRTIO_BLK_RANGE_F_UNMAP)))
		*unsupported = true;
	if (!VIODMA_REQUIRE(DRV_18, count <= viodma_blk_limits_of(&blk->config, io->operation)->max_sectors))
		return "a range longer than max_sectors";
	if (!VIODMA_REQUIRE(DRV_18, viodma_blk_on_disk(blk, sector, count)))
		return "a range beyond the end of the disk";
	io->unmap = flags & VIRTIO_BLK_RANGE_F_UNMAP;
	io->offset_bytes = sector * VIRTIO_BLK_SECTOR_BYTES;
	io->len_bytes = (uint64_t)count * VIRTIO_BLK_SECTOR_BYTES;
	return NULL;
}

/* All ranges into `ios`, those with something to do first; their number is `left` of the first. False: answered. */
static bool take_ranges(struct viodma_blk *blk, struct viodma_request *request, struct viodma_blk_io *ios,
			enum viodma_blk_operation operation, uint32_t count)
{
	const char *wrong = NULL;
	bool unknown = false;
	uint32_t i, used = 0;

	for (i = 0; i < count; i++) {
		struct viodma_blk_io *io = &ios[used];
		struct virtio_blk_range range;
		const char *what;
		bool unsupported;

		if (viodma_request_read(request, VIODMA_BLK_HEADER_BYTES + i * RANGE_BYTES, &range, RANGE_BYTES) !=
		    VIODMA_OK) {
			viodma_blk_fail(blk, request, VIODMA_PEER_REQUEST, "ranges");
			return false;
		}
		memset(io, 0, sizeof(*io));
		io->operation = operation;
		io->durable = operation == VIODMA_BLK_WRITE_ZEROES && !viodma_blk_writeback(blk);
		what = take_range(blk, &range, io, &unsupported);
		if (!wrong)
			wrong = what;
		unknown |= unsupported;
		if (!what && io->len_bytes)
			used++;
	}
	if (unknown) {
		blk->statistics.unsupported++;
		viodma_blk_answer(request, VIRTIO_BLK_S_UNSUPP);
		return false;
	}
	if (wrong) {
		viodma_blk_fail(blk, request, VIODMA_PEER_REQUEST, wrong);
		return false;
	}
	ios[0].left = used;
	return true;
}

void viodma_blk_ranges(struct viodma_blk *blk, struct viodma_request *request, enum viodma_blk_operation operation)
{
	struct viodma_blk_io *ios = viodma_blk_first_io(blk, request);
	const uint32_t bytes = request->readable_bytes - VIODMA_BLK_HEADER_BYTES;
	const uint32_t count = bytes / RANGE_BYTES;
	uint32_t i, used;

	if (!VIODMA_REQUIRE(DRV_18, request->writable_bytes == 1)) {
		viodma_blk_fail(blk, request, VIODMA_PEER_REQUEST, "writable data in a list of ranges");
		return;
	}
	if (!VIODMA_REQUIRE(DRV_18, bytes && bytes % RANGE_BYTES == 0)) {
		viodma_blk_fail(blk, request, VIODMA_PEER_REQUEST, "a list of ranges that is not a multiple of 16 bytes");
		return;
	}
	/* The first keeps a list within what is stated, the other within the memory there is. */
	if (!VIODMA_REQUIRE(DRV_18, count <= viodma_blk_limits_of(&blk->config, operation)->max_ranges) ||
	    count > blk->ranges) {
		viodma_blk_fail(blk, request, VIODMA_PEER_REQUEST, "more ranges than the device takes");
		return;
	}
	if (!take_ranges(blk, request, ios, operation, count))
		return;
	used = ios[0].left;
	if (!used) {
		viodma_blk_count(blk, operation, 0);
		viodma_blk_answer(request, VIRTIO_BLK_S_OK);
	}
	for (i = 0; i < used; i++)
		ios[i].request = request;
	for (i = 0; i < used; i++)
		blk->ops.submit(blk->ops.context, &ios[i]);
}
