/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver_blk_ranges.c - how it works: sectors to discard, zero or erase become lists of ranges (virtio 1.2, section
 * 5.2.6): each no longer than the device states, cut where it likes them cut, if a range can reach that far; as many in a
 * request as it takes, and as the list behind the part's header holds. All of a request's lists are in flight at once.
 */
#include "driver_blk_parts.h"

#include <viodma/port.h>
#include <viodma/wire/blk.h>

#include "../base/shared.h"

#define RANGES_MAX 4u /* of a list: 64 bytes of ring memory for each part */

static uint32_t lower(uint32_t one, uint32_t other)
{
	return one < other ? one : other;
}

uint32_t viodma_driver_blk_ranges_wanted(const struct viodma_driver_blk *blk)
{
	uint32_t most = blk->discard.max_ranges;

	if (blk->write_zeroes.max_ranges > most)
		most = blk->write_zeroes.max_ranges;
	if (blk->secure_erase.max_ranges > most)
		most = blk->secure_erase.max_ranges;
	return lower(most, RANGES_MAX);
}

/* value % by, by hand: the compiler would call for a library. */
static uint32_t remainder_of(uint64_t value, uint32_t by)
{
	uint64_t rest = 0;
	int bit;

	for (bit = 63; bit >= 0; bit--) {
		rest = rest << 1 | (value >> bit & 1);
		if (rest >= by)
			rest -= by;
	}
	return (uint32_t)rest;
}

/* How many of `left` sectors from `sector` on are the next range. */
static uint32_t next_range(const struct viodma_driver_blk_ranges *limits, uint64_t sector, uint64_t left)
{
	uint32_t over;

	if (left <= limits->max_sectors)
		return (uint32_t)left;
	if (limits->alignment_sectors < 2)
		return limits->max_sectors;
	over = remainder_of(sector + limits->max_sectors, limits->alignment_sectors);
	return over < limits->max_sectors ? limits->max_sectors - over : limits->max_sectors;
}

uint32_t viodma_driver_blk_put_ranges(struct viodma_driver_blk *blk, struct viodma_driver_blk_part *part)
{
	const struct viodma_driver_blk_request *request = part->request;
	const struct viodma_driver_blk_ranges *limits = viodma_driver_blk_ranges_of(blk, request->operation);
	const uint64_t at = (uint64_t)part->number * blk->header_bytes + blk->ranges_at;
	const bool unmap = request->operation == VIODMA_DRIVER_BLK_WRITE_ZEROES && request->unmap;
	const uint32_t most = lower(limits->max_ranges, blk->ranges_max);
	uint64_t sector = request->sector + request->next_sector, left = request->sectors - request->next_sector;
	uint32_t count;

	part->sectors = left;
	for (count = 0; count < most && left; count++) {
		uint32_t here = next_range(limits, sector, left);
		struct virtio_blk_range range = {
			.sector = viodma_le64_of(sector),
			.num_sectors = viodma_le32_of(here),
			.flags = viodma_le32_of(unmap ? VIRTIO_BLK_RANGE_F_UNMAP : 0),
		};

		viodma_shared_copy_out(viodma_shared_at(blk->headers.memory, at + count * sizeof(range)), &range,
				       sizeof(range));
		sector += here;
		left -= here;
	}
	part->sectors -= left;
	if (blk->ranges_joined) {
		part->segments[0].len_bytes += count * (uint32_t)sizeof(struct virtio_blk_range);
		return 0;
	}
	part->segments[1].bus = viodma_dma_memory_bus(&blk->headers, at);
	part->segments[1].len_bytes = count * (uint32_t)sizeof(struct virtio_blk_range);
	part->segments[1].permission = VIODMA_READ;
	return 1;
}
