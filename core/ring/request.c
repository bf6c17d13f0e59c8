/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * request.c - how it works: one request's memory.
 *
 * PIN mode: every segment is translated; if one misses, all that miss are asked for, and nothing is held. Once all
 * translate, the pieces are pinned together and used in place until the request is pushed.
 *
 * COPY mode: the same translation, but then the readable part is copied into private memory and nothing stays pinned.
 * The device works on the copy. What it wrote is remembered as extents; at completion their addresses are translated
 * again and just those bytes are copied out (= DEV-16), so a revocation never waits for the device.
 *
 * To the device both look alike: a list of pieces, readable ones first.
 */
#include "ring.h"

#include <viodma/iotlb.h>

#include "../base/require.h"
#include "../base/shared.h"
#include "../space/access.h"

/* Pages the request may span: what it needs of the IOTLB, at worst. */
static uint64_t pages_of(const struct viodma_request *request)
{
	return ((uint64_t)request->readable_bytes + request->writable_bytes) / VIODMA_IOTLB_PAGE_BYTES +
	       2 * (uint64_t)request->segment_count;
}

/*
 * Requests that wait must not evict each other's pages for ever. One that needs more than the IOTLB holds beside the
 * rings never fits and fails. The first that waits may always ask; the others only while all that wait fit into half of
 * the capacity, else they are not even looked at, so that their pages do not seem to be in use.
 */
static bool never_fits(const struct viodma_request *request)
{
	const struct viodma_iotlb *iotlb = request->queue->config.space->iotlb;

	return iotlb && pages_of(request) + viodma_iotlb_least_capacity(request->queue->setup.size, 0, 0) >
				iotlb->config.capacity;
}

static void stop_waiting(struct viodma_request *request)
{
	request->queue->config.space->waiting_pages -= request->waiting_pages;
	request->waiting_pages = 0;
}

bool viodma_request_may_ask(struct viodma_request *request)
{
	struct viodma_queue *queue = request->queue;
	struct viodma_space *space = queue->config.space;

	if (!space->iotlb || !queue->parked_first || queue->parked_first == request)
		return true;
	if (request->waiting_pages && space->waiting_pages <= space->iotlb->config.capacity / 2)
		return true;
	stop_waiting(request); /* the first may have come to need more than half: then this one asks later */
	if (space->waiting_pages + pages_of(request) <= space->iotlb->config.capacity / 2)
		return true;
	queue->room_wanted = true;
	return false;
}

static enum viodma_result map_segments(struct viodma_request *request, uint32_t *readable, uint32_t *total)
{
	struct viodma_queue *queue = request->queue;
	enum viodma_result outcome = VIODMA_OK;
	uint32_t i, count = 0, base = 0;

	for (i = 0; i < request->segment_count; i++) {
		enum viodma_result result;
		viodma_bus missed;

		if (i == request->readable_segments) {
			base += count;
			count = 0; /* readable and writable memory never share a piece */
		}
		result = viodma_space_bind(queue->config.space, &queue->buffer_cache, queue->config.index,
					   &request->segments[i], request->pieces + base,
					   queue->config.pieces_max - base, &count, &missed);
		if (result == VIODMA_MISS) {
			request->wait_bus = missed;
			request->wait_permission = request->segments[i].permission;
			outcome = VIODMA_MISS;
			if (never_fits(request))
				return VIODMA_MISS; /* it will fail: the rest need not be looked at */
		} else if (result != VIODMA_OK) {
			return result;
		}
		if (i + 1 == request->readable_segments)
			*readable = base + count;
	}
	*total = base + count;
	return outcome;
}

/* All of it, if all of it is known and nobody has to be asked, told or waited for; else false, and nothing was done. */
static bool map_at_once(struct viodma_request *request, uint32_t *readable, uint32_t *total)
{
	struct viodma_queue *queue = request->queue;
	struct viodma_space *space = queue->config.space;
	struct viodma_space_cache *cache = &queue->buffer_cache;
	uint32_t i, count = 0, base = 0, same = 0;

	if (queue->parked_first || queue->config.access != VIODMA_ACCESS_PIN || space->events.touch)
		return false;
	for (i = 0; i < request->segment_count; i++) {
		const struct viodma_segment *segment = &request->segments[i];
		struct viodma_shared *memory = viodma_space_hit(space, cache, segment->bus, segment->len_bytes,
								segment->permission);

		if (!memory)
			memory = viodma_space_find(space, cache, segment->bus, segment->len_bytes, segment->permission);
		if (i == request->readable_segments) {
			base = count;
			count = 0; /* readable and writable memory never share a piece */
		}
		if (!memory || !viodma_space_gather(request->pieces + base, queue->config.pieces_max - base, &count, memory,
						    segment->len_bytes))
			return false;
		same += viodma_space_is_identity(cache);
	}
	viodma_space_count(space, i, same);
	*total = base + count;
	*readable = request->readable_segments == request->segment_count ? *total : base;
	return true;
}

static void touch_segments(struct viodma_request *request, uint32_t from, uint32_t to)
{
	struct viodma_queue *queue = request->queue;

	if (!queue->config.space->events.touch)
		return;
	for (; from < to; from++)
		viodma_space_touch(queue->config.space, &queue->buffer_cache, request->segments[from].bus,
				   request->segments[from].len_bytes, request->segments[from].permission);
}

/* Private memory in place of the driver's. VIODMA_WAIT: none at the moment. */
static enum viodma_result copy_in(struct viodma_request *request)
{
	struct viodma_queue *queue = request->queue;
	size_t bytes = (size_t)request->readable_bytes + request->writable_bytes;
	unsigned char *to;
	uint32_t i;

	if (bytes < request->readable_bytes || (queue->config.copy_bytes_max && bytes > queue->config.copy_bytes_max))
		return VIODMA_E_LIMIT;
	request->copy = queue->config.copy_alloc(queue->config.copy_context, bytes ? bytes : 1);
	if (!request->copy) {
		queue->room_wanted = true;
		return VIODMA_WAIT;
	}
	to = request->copy;
	for (i = 0; i < request->readable_pieces; i++) {
		viodma_shared_copy_in(to, request->pieces[i].memory, request->pieces[i].len_bytes);
		to += request->pieces[i].len_bytes;
	}
	memset(to, 0, request->writable_bytes);
	request->readable_pieces = 0;
	request->piece_count = 0;
	if (request->readable_bytes) {
		request->pieces[0].memory = (struct viodma_shared *)request->copy;
		request->pieces[0].len_bytes = request->readable_bytes;
		request->readable_pieces = request->piece_count = 1;
	}
	if (request->writable_bytes) {
		request->pieces[request->piece_count].memory = (struct viodma_shared *)to;
		request->pieces[request->piece_count].len_bytes = request->writable_bytes;
		request->piece_count++;
	}
	return VIODMA_OK;
}

/* It is the device's now, in place. */
static void pin(struct viodma_request *request, uint32_t readable, uint32_t total)
{
	request->readable_pieces = readable;
	request->piece_count = total;
	request->pinned = true;
}

static VIODMA_SELDOM enum viodma_result bind_slowly(struct viodma_request *request)
{
	struct viodma_queue *queue = request->queue;
	struct viodma_space *space = queue->config.space;
	const bool held = space->hold_misses, ask = viodma_request_may_ask(request);
	uint32_t readable = 0, total = 0;
	enum viodma_result result;

	space->hold_misses = held || !ask;
	result = map_segments(request, &readable, &total);
	space->hold_misses = held;
	if (result == VIODMA_MISS && !never_fits(request)) {
		if (ask && space->iotlb && !request->waiting_pages) {
			request->waiting_pages = pages_of(request);
			space->waiting_pages += request->waiting_pages;
		}
		return VIODMA_MISS;
	}
	stop_waiting(request);
	if (result != VIODMA_OK) {
		request->result = result == VIODMA_MISS ? VIODMA_E_LIMIT : result;
		return VIODMA_OK;
	}
	if (queue->config.access == VIODMA_ACCESS_COPY) {
		request->readable_pieces = readable;
		request->piece_count = total;
		result = copy_in(request);
		if (result == VIODMA_WAIT)
			return VIODMA_WAIT;
		request->result = result;
		touch_segments(request, 0, request->readable_segments);
		return VIODMA_OK;
	}
	touch_segments(request, 0, request->segment_count);
	pin(request, readable, total);
	return VIODMA_OK;
}

enum viodma_result viodma_request_bind(struct viodma_request *request)
{
	uint32_t readable, total;

	if (request->result != VIODMA_OK)
		return VIODMA_OK;
	if (!map_at_once(request, &readable, &total))
		return bind_slowly(request);
	pin(request, readable, total);
	return VIODMA_OK;
}

void viodma_request_release(struct viodma_request *request)
{
	struct viodma_queue *queue = request->queue;

	request->pinned = false;
	stop_waiting(request);
	if (request->copy)
		queue->config.copy_free(queue->config.copy_context, request->copy,
					(size_t)request->readable_bytes + request->writable_bytes
						? (size_t)request->readable_bytes + request->writable_bytes
						: 1);
	request->copy = NULL;
}

/* A range of one part of a request, piece by piece. */
struct range {
	const struct viodma_piece *piece;
	size_t offset; /* in that piece */
	uint32_t left;
};

/* Pre: the range is inside. */
static inline struct range range_of(const struct viodma_request *request, enum viodma_permission part, uint32_t offset,
				    uint32_t len)
{
	struct range range = {request->pieces + (part == VIODMA_READ ? 0 : request->readable_pieces), offset, len};

	while (range.left && range.offset >= range.piece->len_bytes)
		range.offset -= range.piece++->len_bytes;
	return range;
}

/* The next stretch of memory. Pre: something is left. */
static inline struct viodma_shared *next_stretch(struct range *range, size_t *bytes)
{
	const struct viodma_piece *piece = range->piece++;
	struct viodma_shared *memory = viodma_shared_at(piece->memory, range->offset);

	*bytes = piece->len_bytes - range->offset;
	if (*bytes > range->left)
		*bytes = range->left;
	range->left -= (uint32_t)*bytes;
	range->offset = 0;
	return memory;
}

static bool inside(const struct viodma_request *request, enum viodma_permission part, uint32_t offset, uint32_t len)
{
	uint32_t bytes = part == VIODMA_READ ? request->readable_bytes : request->writable_bytes;

	return request->state == VIODMA_REQUEST_SUBMITTED && request->result == VIODMA_OK && offset <= bytes &&
	       len <= bytes - offset;
}

enum viodma_result viodma_request_read(struct viodma_request *request, uint32_t offset, void *destination,
				       uint32_t len_bytes)
{
	unsigned char *to = destination;
	struct range range;
	size_t here;

	if (!inside(request, VIODMA_READ, offset, len_bytes))
		return VIODMA_E_INVALID;
	for (range = range_of(request, VIODMA_READ, offset, len_bytes); range.left; to += here) {
		const struct viodma_shared *memory = next_stretch(&range, &here);

		viodma_shared_copy_in(to, memory, here);
	}
	return VIODMA_OK;
}

enum viodma_result viodma_request_write(struct viodma_request *request, uint32_t offset, const void *source,
					uint32_t len_bytes)
{
	const unsigned char *from = source;
	enum viodma_result result;
	struct range range;
	size_t here;

	if (!inside(request, VIODMA_WRITE, offset, len_bytes))
		return VIODMA_E_INVALID;
	result = viodma_request_written(request, offset, len_bytes);
	if (result != VIODMA_OK)
		return result;
	for (range = range_of(request, VIODMA_WRITE, offset, len_bytes); range.left; from += here) {
		struct viodma_shared *memory = next_stretch(&range, &here);

		viodma_shared_copy_out(memory, from, here);
	}
	return VIODMA_OK;
}

enum viodma_result viodma_request_pieces(struct viodma_request *request, enum viodma_permission part, uint32_t offset,
					 uint32_t len_bytes, struct viodma_piece *pieces, uint32_t capacity,
					 uint32_t *count)
{
	struct range range;
	uint32_t found = 0;

	if ((part != VIODMA_READ && part != VIODMA_WRITE) || !inside(request, part, offset, len_bytes))
		return VIODMA_E_INVALID;
	for (range = range_of(request, part, offset, len_bytes); range.left; found++) {
		if (found == capacity)
			return VIODMA_E_LIMIT;
		pieces[found].memory = next_stretch(&range, &pieces[found].len_bytes);
	}
	*count = found;
	return VIODMA_OK;
}

enum viodma_result viodma_request_written(struct viodma_request *request, uint32_t offset, uint32_t len_bytes)
{
	unsigned i;

	if (!inside(request, VIODMA_WRITE, offset, len_bytes))
		return VIODMA_E_INVALID;
	if (!request->copy || !len_bytes)
		return VIODMA_OK;
	for (i = 0; i < request->extent_count; i++) {
		uint32_t first = request->extents[i].offset, end = first + request->extents[i].bytes;

		if (offset > end || offset + len_bytes < first)
			continue;
		if (offset < first)
			request->extents[i].offset = offset;
		if (offset + len_bytes > end)
			end = offset + len_bytes;
		request->extents[i].bytes = end - request->extents[i].offset;
		return VIODMA_OK;
	}
	if (request->extent_count == VIODMA_REQUEST_EXTENTS)
		return VIODMA_E_LIMIT;
	request->extents[i].offset = offset;
	request->extents[i].bytes = len_bytes;
	request->extent_count++;
	return VIODMA_OK;
}

/* Write private bytes to `offset` of the writable part, by the segments' bus addresses. */
static enum viodma_result write_segments(struct viodma_request *request, uint64_t offset, const unsigned char *from,
					 uint32_t len)
{
	struct viodma_queue *queue = request->queue;
	uint32_t i = request->readable_segments;

	for (; len && i < request->segment_count; i++) {
		const struct viodma_segment *segment = &request->segments[i];
		enum viodma_result result;
		viodma_bus missed;
		uint32_t here;

		if (offset >= segment->len_bytes) {
			offset -= segment->len_bytes;
			continue;
		}
		here = segment->len_bytes - (uint32_t)offset;
		if (here > len)
			here = len;
		result = viodma_space_write(queue->config.space, &queue->buffer_cache, queue->config.index,
					    (viodma_bus){segment->bus.v + offset}, from, here, &missed);
		if (result == VIODMA_MISS) {
			request->wait_bus = missed;
			request->wait_permission = VIODMA_WRITE;
		}
		if (result != VIODMA_OK)
			return result;
		from += here;
		len -= here;
		offset = 0;
	}
	return VIODMA_OK;
}

void viodma_request_set_failure(struct viodma_request *request, const void *tail, uint32_t tail_bytes)
{
	if (tail_bytes > VIODMA_REQUEST_TAIL_BYTES)
		return;
	memcpy(request->failure, tail, tail_bytes);
	request->failure_bytes = (uint8_t)tail_bytes;
}

static enum viodma_result deliver(struct viodma_request *request)
{
	const unsigned char *from;

	from = request->copy + request->readable_bytes;
	while (request->extent_count) {
		unsigned i = request->extent_count - 1u;
		enum viodma_result result = write_segments(request, request->extents[i].offset,
							   from + request->extents[i].offset,
							   request->extents[i].bytes);

		if (result != VIODMA_OK)
			return result;
		request->extent_count--;
	}
	return VIODMA_OK;
}

enum viodma_result viodma_request_copy_out(struct viodma_request *request)
{
	enum viodma_result result;

	if (!request->copy)
		return VIODMA_OK;
	if (!request->failing) {
		result = deliver(request);
		if (result == VIODMA_OK || result == VIODMA_MISS || !request->failure_bytes)
			return result;
		request->failing = true; /* withdrawn while the device worked: say so, if that much can be reached */
		request->queue->statistics.failed++;
	}
	result = viodma_request_write_tail(request, request->failure, request->failure_bytes);
	if (result == VIODMA_OK)
		request->failure_bytes = 0; /* written; what is left is the used ring */
	return result;
}

enum viodma_result viodma_request_write_tail(struct viodma_request *request, const void *tail, uint32_t tail_bytes)
{
	/* Counted in what was kept: of a chain with more segments than there is room for, the last one is at the end. */
	uint64_t kept = 0;
	uint32_t i;

	for (i = request->readable_segments; i < request->segment_count; i++)
		if (request->segments[i].permission == VIODMA_WRITE)
			kept += request->segments[i].len_bytes;
		else
			kept = 0; /* readable segments beyond the room: no writable one followed yet */
	if (!tail_bytes)
		return VIODMA_OK;
	if (!request->walked)
		return VIODMA_FAULT_UNMAPPED; /* its table ends out of reach: nobody knows where the end is */
	if (tail_bytes > kept)
		return VIODMA_PEER_REQUEST;
	if (request->result == VIODMA_E_LIMIT && tail_bytes > request->segments[request->segment_count - 1].len_bytes)
		return VIODMA_E_LIMIT; /* segments before the last one may be missing */
	return write_segments(request, kept - tail_bytes, tail, tail_bytes);
}
