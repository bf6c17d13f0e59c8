/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver_blk_parts.c - how it works: from requests to chains and back.
 *
 * A part is one chain: header, data, status. Header and status have a place each in ring memory, by the part's number;
 * the data is one mapping. How much of a request goes into one part is arithmetic done before anything is mapped:
 *
 *	segments   buffers * per_buffer + bytes / grain <= seg_max   (struct viodma_limits; longer than size_max: cut)
 *	bytes      <= part_bytes_max, and to the end of a logical block if a part holds one, else of a sector
 *
 * so that a map is not answered "too large", and a queue that has room before the map has room after it.
 *
 * No room (pool, address space, ring): the first request waits, the others behind it, until a part comes back. Nothing
 * in flight and no room: what still waits for its revocation is settled, then parts of half the size are tried, down to
 * a sector; then the request ends with VIODMA_E_EXHAUSTED. So nothing spins, and nothing waits for what cannot come.
 *
 * Back: the status, filled in advance with a value that no device answers, is copied once; of a read's data, what the
 * used length covers is taken (DEV-16), and only if the status is OK.
 */
#include "driver_blk_parts.h"

#include <viodma/dma_debug.h>
#include <viodma/port.h>
#include <viodma/wire/blk.h>

#include "../base/require.h"
#include "../base/shared.h"

#define SECTOR VIRTIO_BLK_SECTOR_BYTES

/* ---- how much ---- */

/* How many bytes `segments` can hold beyond those that buffers need by themselves. */
static uint64_t bytes_for(const struct viodma_driver_blk *blk, uint32_t segments)
{
	if (blk->grain_bytes > VIODMA_DRIVER_BLK_PART_BYTES_MAX)
		return VIODMA_DRIVER_BLK_PART_BYTES_MAX;
	return ((uint64_t)(blk->grain_twice ? segments / 2 : segments) + 1) * blk->grain_bytes - !blk->grain_whole;
}

/* The most segments that a mapping needs. Pre: it was cut. */
static uint32_t segments_for(const struct viodma_driver_blk *blk, uint32_t buffers, uint32_t bytes)
{
	uint32_t more = 0;

	if (bytes && blk->grain_bytes <= VIODMA_DRIVER_BLK_PART_BYTES_MAX)
		more = (bytes - blk->grain_whole) / (uint32_t)blk->grain_bytes * (blk->grain_twice ? 2 : 1);
	return buffers * blk->per_buffer + more;
}

enum viodma_result viodma_driver_blk_measure(struct viodma_driver_blk *blk, const struct viodma_limits *limits)
{
	uint64_t bytes = VIODMA_DRIVER_BLK_PART_BYTES_MAX;

	blk->per_buffer = limits->segments_per_buffer;
	blk->buffers_max = limits->buffers_max;
	blk->grain_bytes = limits->segment_grain_bytes;
	blk->grain_twice = blk->grain_whole = blk->cuts = false;
	if (blk->size_max < limits->segment_bytes_max) {
		blk->size_max &= ~(limits->alignment_bytes - 1); /* a cut is where a segment may start */
		if (!blk->size_max)
			return VIODMA_E_LIMIT;
		blk->cuts = true; /* a segment of the mapping becomes one more for each size_max in it */
		blk->grain_twice = blk->grain_bytes <= VIODMA_DRIVER_BLK_PART_BYTES_MAX;
		blk->grain_whole = !blk->grain_twice; /* our own cuts: exactly size_max need none */
		if (blk->size_max < blk->grain_bytes)
			blk->grain_bytes = blk->size_max;
	} else {
		blk->size_max = limits->segment_bytes_max;
	}
	if (!blk->grain_bytes || !blk->buffers_max || blk->per_buffer > blk->seg_max)
		return VIODMA_E_LIMIT;
	if (limits->mapping_bytes_max < bytes)
		bytes = limits->mapping_bytes_max;
	if (bytes_for(blk, blk->seg_max - blk->per_buffer) < bytes)
		bytes = bytes_for(blk, blk->seg_max - blk->per_buffer);
	blk->part_bytes_max = bytes & ~(uint64_t)(SECTOR - 1);
	return blk->part_bytes_max ? VIODMA_OK : VIODMA_E_LIMIT;
}

/* Of the pieces of a part, give up the last `bytes`. */
static void shorten(struct viodma_driver_blk_part *part, uint32_t *count, uint32_t bytes)
{
	part->len_bytes -= bytes;
	while (bytes && part->buffers[*count - 1].len_bytes <= bytes)
		bytes -= part->buffers[--*count].len_bytes;
	if (bytes)
		part->buffers[*count - 1].len_bytes -= bytes;
}

/* End where a logical block ends, or at least a sector. */
static void round_part(const struct viodma_driver_blk *blk, const struct viodma_driver_blk_request *request,
		       struct viodma_driver_blk_part *part, uint32_t *count)
{
	uint64_t end = request->sector * SECTOR + request->next_byte + part->len_bytes;
	uint32_t over = (uint32_t)(end & (blk->blk_size - 1));

	if (request->operation > VIODMA_DRIVER_BLK_WRITE || /* a few bytes */
	    request->next_byte + part->len_bytes == request->len_bytes)
		return;
	if (over >= part->len_bytes)
		over = part->len_bytes & (SECTOR - 1);
	shorten(part, count, over);
}

/* Take up to bytes_max of what is still to be sent: the part's buffers and length. Their number; 0: no sector. */
static uint32_t cut(const struct viodma_driver_blk *blk, const struct viodma_driver_blk_request *request,
		    struct viodma_driver_blk_part *part, uint64_t bytes_max)
{
	uint64_t left = request->len_bytes - request->next_byte;
	uint32_t offset = request->next_offset, segments = blk->seg_max, count = 0;

	if (left > bytes_max)
		left = bytes_max;
	part->len_bytes = 0;
	while (part->len_bytes < left && count < blk->buffers_max && segments >= blk->per_buffer) {
		const struct viodma_buffer *buffer = &request->buffers[request->next_buffer + count];
		uint64_t most = bytes_for(blk, segments - blk->per_buffer);
		uint64_t here = buffer->len_bytes - offset;

		if (most <= part->len_bytes)
			break;
		if (here > left - part->len_bytes)
			here = left - part->len_bytes;
		if (here > most - part->len_bytes)
			here = most - part->len_bytes;
		part->buffers[count].phys.v = buffer->phys.v + offset;
		part->buffers[count++].len_bytes = (uint32_t)here;
		part->len_bytes += (uint32_t)here;
		segments -= blk->per_buffer;
		if (here != buffer->len_bytes - offset)
			break;
		offset = 0;
	}
	if (count)
		round_part(blk, request, part, &count);
	return part->len_bytes ? count : 0;
}

/* The request goes on behind the part. */
static void advance(struct viodma_driver_blk_request *request, const struct viodma_driver_blk_part *part)
{
	uint32_t left = part->len_bytes;

	request->next_sector += part->sectors;
	request->next_byte += left;
	while (left) {
		uint32_t here = request->buffers[request->next_buffer].len_bytes - request->next_offset;

		if (here > left) {
			request->next_offset += left;
			return;
		}
		left -= here;
		request->next_buffer++;
		request->next_offset = 0;
	}
}

/* ---- headers and statuses: in ring memory, by the part's number ---- */

static void put_header(struct viodma_driver_blk *blk, const struct viodma_driver_blk_part *part)
{
	static const uint32_t types[] = {
		[VIODMA_DRIVER_BLK_READ] = VIRTIO_BLK_T_IN,
		[VIODMA_DRIVER_BLK_WRITE] = VIRTIO_BLK_T_OUT,
		[VIODMA_DRIVER_BLK_FLUSH] = VIRTIO_BLK_T_FLUSH,
		[VIODMA_DRIVER_BLK_GET_ID] = VIRTIO_BLK_T_GET_ID,
		[VIODMA_DRIVER_BLK_DISCARD] = VIRTIO_BLK_T_DISCARD,
		[VIODMA_DRIVER_BLK_WRITE_ZEROES] = VIRTIO_BLK_T_WRITE_ZEROES,
		[VIODMA_DRIVER_BLK_SECURE_ERASE] = VIRTIO_BLK_T_SECURE_ERASE,
		[VIODMA_DRIVER_BLK_GET_LIFETIME] = VIRTIO_BLK_T_GET_LIFETIME,
	};
	const struct viodma_driver_blk_request *request = part->request;
	const uint64_t at = (uint64_t)part->number * blk->header_bytes;
	struct virtio_blk_request_header header = {.type = viodma_le32_of(types[request->operation])};

	if (request->operation == VIODMA_DRIVER_BLK_READ || request->operation == VIODMA_DRIVER_BLK_WRITE)
		header.sector = viodma_le64_of(request->sector + request->next_byte / SECTOR);
	viodma_shared_copy_out(viodma_shared_at(blk->headers.memory, at), &header, sizeof(header));
	part->segments[0].bus = viodma_dma_memory_bus(&blk->headers, at);
	part->segments[0].len_bytes = sizeof(header);
	part->segments[0].permission = VIODMA_READ;
}

static struct viodma_shared *status_of(const struct viodma_driver_blk *blk, uint32_t number)
{
	return viodma_shared_at(blk->statuses.memory, (uint64_t)number * blk->status_bytes);
}

static void clear_status(struct viodma_driver_blk *blk, uint32_t number)
{
	const uint8_t none = VIODMA_DRIVER_BLK_NO_STATUS;

	viodma_shared_copy_out(status_of(blk, number), &none, sizeof(none));
}

static void put_status(struct viodma_driver_blk *blk, const struct viodma_driver_blk_part *part, uint32_t at)
{
	clear_status(blk, part->number);
	part->segments[at].bus = viodma_dma_memory_bus(&blk->statuses, (uint64_t)part->number * blk->status_bytes);
	part->segments[at].len_bytes = 1;
	part->segments[at].permission = VIODMA_WRITE;
}

/* Copied once; what it says as a result. */
static enum viodma_result take_status(const struct viodma_driver_blk *blk, const struct viodma_driver_blk_part *part)
{
	uint8_t status;

	viodma_shared_copy_in(&status, status_of(blk, part->number), sizeof(status));
	if (status == VIRTIO_BLK_S_IOERR)
		return VIODMA_E_IO;
	if (status == VIRTIO_BLK_S_UNSUPP)
		return VIODMA_E_UNSUPPORTED;
	return VIODMA_REQUIRE(DEV_22, status == VIRTIO_BLK_S_OK) ? VIODMA_OK : VIODMA_PEER_ANSWER;
}

void viodma_driver_blk_clear_statuses(struct viodma_driver_blk *blk)
{
	uint32_t i;

	for (i = 0; i < blk->config.parts; i++)
		clear_status(blk, i);
}

bool viodma_driver_blk_statuses_clear(const struct viodma_driver_blk *blk)
{
	bool clear = true;
	uint32_t i;

	for (i = 0; i < blk->config.parts; i++) {
		uint8_t status;

		viodma_shared_copy_in(&status, status_of(blk, i), sizeof(status));
		clear &= status == VIODMA_DRIVER_BLK_NO_STATUS;
	}
	return clear;
}

/* ---- sending ---- */

static struct viodma_driver_blk_part *take_part(struct viodma_driver_blk *blk)
{
	struct viodma_driver_blk_part *part = &blk->parts[blk->part_free];

	blk->part_free = part->next;
	return part;
}

static void give_part(struct viodma_driver_blk *blk, struct viodma_driver_blk_part *part)
{
	part->request = NULL;
	part->next = blk->part_free;
	blk->part_free = part->number;
}

/* The next queue, in turn, that has room for so many segments; NULL: none has. */
static struct viodma_driver_queue *queue_for(struct viodma_driver_blk *blk, uint32_t segments)
{
	uint32_t i;

	for (i = 0; i < blk->config.queue_count; i++) {
		struct viodma_driver_queue *queue = blk->config.queues[blk->next_queue];

		blk->next_queue = blk->next_queue + 1 < blk->config.queue_count ? blk->next_queue + 1 : 0;
		if (viodma_driver_queue_has_room(queue, segments))
			return queue;
	}
	return NULL;
}

/* Segments no longer than size_max, from those of the mapping: each is looked at as if it were all of it. */
static enum viodma_result cut_segments(const struct viodma_driver_blk *blk, const struct viodma_driver_blk_part *part,
				       uint32_t *count)
{
	struct viodma_mapping whole = part->mapping;
	uint32_t i, one;

	*count = 0;
	whole.segment_count = 1;
	for (i = 0; i < part->mapping.segment_count; i++) {
		const struct viodma_segment *segment = &part->mapping.segments[i];
		uint32_t offset, here;

		whole.segments = segment;
		whole.len_bytes = segment->len_bytes;
		for (offset = 0; offset < segment->len_bytes; offset += here) {
			enum viodma_result result;

			here = segment->len_bytes - offset;
			if (here > blk->size_max)
				here = blk->size_max;
			result = viodma_mapping_segments(&whole, offset, here, segment->permission,
							 part->segments + 1 + *count, 1, &one);
			if (result != VIODMA_OK)
				return result;
			(*count)++;
		}
	}
	return VIODMA_OK;
}

/* Map a part's data; *count: of its segments. */
static enum viodma_result map_data(struct viodma_driver_blk *blk, struct viodma_driver_blk_part *part, uint32_t buffers,
				   uint32_t *count)
{
	const bool to_device = part->request->operation == VIODMA_DRIVER_BLK_WRITE;
	struct viodma_segment *segments = blk->cuts ? part->uncut : part->segments + 1;
	enum viodma_result result;

	/* = DRV-8 */
	result = viodma_domain_map(blk->config.domain, &part->mapping, part->buffers, buffers,
				   to_device ? VIODMA_TO_DEVICE : VIODMA_FROM_DEVICE, segments, blk->seg_max);
	if (result == VIODMA_E_LIMIT)
		return VIODMA_E_EXHAUSTED; /* within the limits there were: less is left of the pool since */
	if (result != VIODMA_OK)
		return result;
	(void)viodma_debug_hand_over(&part->mapping); /* reported */
	*count = part->mapping.segment_count;
	if (blk->cuts)
		result = cut_segments(blk, part, count);
	if (result != VIODMA_OK && viodma_domain_unmap(&part->mapping, 0) == VIODMA_E_QUARANTINED)
		result = VIODMA_E_QUARANTINED;
	return result;
}

/* One part of at most bytes_max. VIODMA_OK; VIODMA_E_NO_SPACE; VIODMA_E_LIMIT; others: of map and add. */
static enum viodma_result send_part(struct viodma_driver_blk *blk, struct viodma_driver_blk_request *request,
				    uint64_t bytes_max)
{
	const bool by_range = viodma_driver_blk_by_range(request->operation);
	struct viodma_driver_queue *queue;
	struct viodma_driver_blk_part *part;
	uint32_t buffers = 0, count = 0;
	enum viodma_result result = VIODMA_OK;

	if (blk->part_free == VIODMA_DRIVER_BLK_NO_PART)
		return VIODMA_E_NO_SPACE;
	part = take_part(blk);
	part->request = request;
	part->len_bytes = 0;
	part->sectors = 0;
	if (request->len_bytes) {
		buffers = cut(blk, request, part, bytes_max);
		if (!buffers)
			result = VIODMA_E_LIMIT;
	}
	queue = queue_for(blk, by_range ? 3 : segments_for(blk, buffers, part->len_bytes) + 2);
	if (result == VIODMA_OK && !queue)
		result = VIODMA_E_NO_SPACE;
	if (result == VIODMA_OK && buffers)
		result = map_data(blk, part, buffers, &count);
	if (result != VIODMA_OK) {
		give_part(blk, part);
		return result;
	}
	put_header(blk, part); /* = DRV-18 */
	if (by_range)
		count = viodma_driver_blk_put_ranges(blk, part);
	put_status(blk, part, count + 1);
	result = viodma_driver_queue_add(queue, part->segments, count + 2, part);
	if (result != VIODMA_OK) {
		if (buffers && viodma_domain_unmap(&part->mapping, 0) == VIODMA_E_QUARANTINED)
			result = VIODMA_E_QUARANTINED;
		give_part(blk, part);
		return result;
	}
	advance(request, part);
	request->parts_out++;
	blk->parts_out++;
	blk->statistics.parts++;
	return VIODMA_OK;
}

/* Nothing is in flight, and there is no room: what can still be done about it. */
static enum viodma_result send_small(struct viodma_driver_blk *blk, struct viodma_driver_blk_request *request)
{
	uint64_t bytes = request->len_bytes - request->next_byte;
	enum viodma_result result = viodma_domain_settle(blk->config.domain, true);

	(void)result; /* what cannot be settled makes no room, which is found out now */
	if (bytes > blk->part_bytes_max)
		bytes = blk->part_bytes_max;
	result = send_part(blk, request, bytes);
	while (result == VIODMA_E_EXHAUSTED && bytes > SECTOR) {
		bytes = bytes / 2 < SECTOR ? SECTOR : bytes / 2;
		result = send_part(blk, request, bytes);
	}
	return result;
}

/* Without a flush in the device, a flush has nothing to do. */
static bool nothing_to_do(const struct viodma_driver_blk *blk, const struct viodma_driver_blk_request *request)
{
	return request->operation == VIODMA_DRIVER_BLK_FLUSH && !blk->flush;
}

/* VIODMA_OK: all of it was sent, or it failed. VIODMA_WAIT: it waits. */
static enum viodma_result send_request(struct viodma_driver_blk *blk, struct viodma_driver_blk_request *request)
{
	enum viodma_result result;

	if (nothing_to_do(blk, request))
		return VIODMA_OK;
	do {
		result = send_part(blk, request, blk->part_bytes_max);
		if (result == VIODMA_E_EXHAUSTED || result == VIODMA_E_NO_SPACE) {
			blk->statistics.waited++;
			if (blk->parts_out)
				return VIODMA_WAIT;
			if (result == VIODMA_E_EXHAUSTED)
				result = send_small(blk, request);
		}
	} while (result == VIODMA_OK && (request->next_byte < request->len_bytes ||
					 (viodma_driver_blk_by_range(request->operation) &&
					  request->next_sector < request->sectors)));
	if (result != VIODMA_OK)
		request->result = result;
	return viodma_result_is_peer(result) ? result : VIODMA_OK;
}

enum viodma_result viodma_driver_blk_send(struct viodma_driver_blk *blk)
{
	const struct viodma_driver_blk_request *end = blk->last;
	bool at_end = !end;

	/* Up to what is there now: what `done` submits comes next time, so that this ends. */
	while (!at_end && blk->first && !blk->waiting) {
		struct viodma_driver_blk_request *request = blk->first;
		enum viodma_result result = send_request(blk, request);

		if (result == VIODMA_WAIT) {
			blk->waiting = true;
			return VIODMA_OK;
		}
		if (result != VIODMA_OK)
			return result;
		at_end = request == end;
		if (request->parts_out) {
			viodma_driver_blk_delist(blk, request);
			viodma_driver_blk_enlist(blk, request, false);
		} else {
			viodma_driver_blk_end(blk, request);
		}
	}
	return blk->first && !blk->waiting ? VIODMA_WAIT : VIODMA_OK;
}

/* ---- coming back ---- */

/* A part has ended; so has its request, perhaps. */
static void end_part(struct viodma_driver_blk *blk, struct viodma_driver_blk_part *part, enum viodma_result result)
{
	struct viodma_driver_blk_request *request = part->request;

	give_part(blk, part);
	blk->parts_out--;
	blk->waiting = false;
	request->parts_out--;
	if (request->result == VIODMA_OK || result == VIODMA_E_QUARANTINED)
		request->result = result;
	if (result != VIODMA_OK && request->sending) {
		/* What was not sent is not sent any more. */
		viodma_driver_blk_delist(blk, request);
		viodma_driver_blk_enlist(blk, request, false);
	}
	if (!request->parts_out && !request->sending)
		viodma_driver_blk_end(blk, request);
}

void viodma_driver_blk_part_used(struct viodma_driver_blk *blk, struct viodma_driver_blk_part *part,
				 uint64_t written_bytes)
{
	const enum viodma_driver_blk_operation operation = part->request->operation;
	const bool whole = operation == VIODMA_DRIVER_BLK_READ || operation == VIODMA_DRIVER_BLK_GET_LIFETIME;
	enum viodma_result result = take_status(blk, part);
	uint64_t data = written_bytes < part->len_bytes ? written_bytes : part->len_bytes;

	if (operation == VIODMA_DRIVER_BLK_WRITE || result != VIODMA_OK)
		data = 0;
	else if (whole && !VIODMA_REQUIRE(DEV_22, data == part->len_bytes))
		result = VIODMA_PEER_ANSWER;
	if (part->len_bytes && viodma_domain_unmap(&part->mapping, data) == VIODMA_E_QUARANTINED)
		result = VIODMA_E_QUARANTINED; /* = DRV-22 */
	if (result == VIODMA_OK && operation == VIODMA_DRIVER_BLK_READ)
		blk->statistics.read_bytes += part->len_bytes;
	if (result == VIODMA_OK && operation == VIODMA_DRIVER_BLK_WRITE)
		blk->statistics.written_bytes += part->len_bytes;
	end_part(blk, part, result);
}

enum viodma_result viodma_driver_blk_part_dropped(struct viodma_driver_blk *blk, struct viodma_driver_blk_part *part)
{
	enum viodma_result result = VIODMA_OK;

	if (part->len_bytes && viodma_domain_unmap(&part->mapping, 0) == VIODMA_E_QUARANTINED)
		result = VIODMA_E_QUARANTINED;
	part->request->parts_out--;
	blk->parts_out--;
	give_part(blk, part);
	return result;
}
