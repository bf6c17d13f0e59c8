/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * queue.c - how it works: the state machine of requests.
 *
 *   pop:   finish completions that wait -> try parked requests if something changed -> fetch from the ring
 *   push:  copy out (COPY mode) -> used ring; what cannot be reached yet waits in the list of done ones
 *
 * A request lives in the slot of its head, so a head can be in flight once (DRV-16) and no allocator is needed. `order`
 * remembers which head stands at which position of the available ring; that is what gives requests back at a stop: the
 * youngest ones that are still parked go back by winding the index back; an older one cannot (a younger one has
 * completed), so it is held for the next start. (= DEV-18)
 */
#include <viodma/iotlb.h>
#include <viodma/port.h>
#include <viodma/wire/ring.h>

#include "../base/require.h"
#include "ring.h"

static size_t aligned(size_t bytes)
{
	return (bytes + 15) & ~(size_t)15;
}

static bool limits_hold(const struct viodma_queue_config *config)
{
	return config->size_max >= 1 && config->size_max <= VIRTQ_SIZE_MAX &&
	       !(config->size_max & (config->size_max - 1)) && config->segments_max >= 1 &&
	       config->segments_max <= VIRTQ_SIZE_MAX && config->pieces_max >= config->segments_max;
}

size_t viodma_queue_memory_bytes(const struct viodma_queue_config *config)
{
	size_t n;

	if (!limits_hold(config))
		return 0;
	n = config->size_max;
	if (config->pieces_max > SIZE_MAX / 4 / sizeof(struct viodma_piece) / n)
		return 0;
	return aligned(n * sizeof(struct viodma_request)) + aligned(n * sizeof(uint16_t)) +
	       aligned(n * config->segments_max * sizeof(struct viodma_segment)) +
	       aligned(n * config->pieces_max * sizeof(struct viodma_piece));
}

enum viodma_result viodma_queue_init(struct viodma_queue *queue, const struct viodma_queue_config *config)
{
	size_t bytes = viodma_queue_memory_bytes(config), n = config->size_max;
	unsigned char *memory = config->memory;
	struct viodma_segment *segments;
	struct viodma_piece *pieces;
	size_t i;

	if (!bytes || !config->space || !memory || config->memory_bytes < bytes ||
	    ((uintptr_t)memory & (_Alignof(struct viodma_request) - 1)))
		return VIODMA_E_INVALID;
	if (config->access == VIODMA_ACCESS_COPY && (!config->copy_alloc || !config->copy_free))
		return VIODMA_E_INVALID;
	memset(queue, 0, sizeof(*queue));
	queue->config = *config;
	queue->requests = (struct viodma_request *)(void *)memory;
	memory += aligned(n * sizeof(struct viodma_request));
	queue->order = (uint16_t *)(void *)memory;
	memory += aligned(n * sizeof(uint16_t));
	memset(queue->order, 0, n * sizeof(uint16_t));
	segments = (struct viodma_segment *)(void *)memory;
	memory += aligned(n * config->segments_max * sizeof(struct viodma_segment));
	pieces = (struct viodma_piece *)(void *)memory;
	for (i = 0; i < n; i++) {
		struct viodma_request *request = &queue->requests[i];

		memset(request, 0, sizeof(*request));
		request->queue = queue;
		request->head = (uint16_t)i;
		request->segments = segments + i * config->segments_max;
		request->pieces = pieces + i * config->pieces_max;
	}
	return VIODMA_OK;
}

/* ---- the two lists ---- */

static void append(struct viodma_request **first, struct viodma_request **last, struct viodma_request *request)
{
	request->next = NULL;
	request->previous = *last;
	if (*last)
		(*last)->next = request;
	else
		*first = request;
	*last = request;
}

static void take_out(struct viodma_request **first, struct viodma_request **last, struct viodma_request *request)
{
	if (request->previous)
		request->previous->next = request->next;
	else
		*first = request->next;
	if (request->next)
		request->next->previous = request->previous;
	else
		*last = request->previous;
	request->next = request->previous = NULL;
}

static void park(struct viodma_queue *queue, struct viodma_request *request)
{
	request->state = VIODMA_REQUEST_PARKED;
	append(&queue->parked_first, &queue->parked_last, request);
	queue->parked++;
	queue->statistics.parked++;
}

static void unpark(struct viodma_queue *queue, struct viodma_request *request)
{
	if (queue->cursor == request)
		queue->cursor = request->next;
	take_out(&queue->parked_first, &queue->parked_last, request);
	queue->parked--;
	queue->rescan |= queue->room_wanted;
}

static void free_request(struct viodma_queue *queue, struct viodma_request *request)
{
	viodma_request_release(request);
	request->state = VIODMA_REQUEST_FREE;
	queue->rescan |= queue->room_wanted;
}

static enum viodma_result break_queue(struct viodma_queue *queue, enum viodma_result reason)
{
	if (queue->broken == VIODMA_OK)
		queue->broken = reason;
	return reason;
}

/* ---- start, stop, reset ---- */

static uint32_t drop_held(struct viodma_queue *queue)
{
	uint32_t dropped = 0;

	while (queue->parked_first) {
		struct viodma_request *request = queue->parked_first;

		unpark(queue, request);
		free_request(queue, request);
		dropped++;
	}
	while (queue->done_first) {
		struct viodma_request *request = queue->done_first;

		take_out(&queue->done_first, &queue->done_last, request);
		queue->done--;
		free_request(queue, request);
		dropped++;
	}
	queue->cursor = NULL;
	return dropped;
}

static bool misaligned(viodma_bus bus, uint32_t alignment)
{
	return bus.v & (alignment - 1);
}

static bool part_wraps(viodma_bus bus, uint32_t bytes)
{
	return bus.v + (bytes - 1) < bus.v;
}

static bool goes_on(const struct viodma_queue *queue, const struct viodma_queue_setup *setup)
{
	return queue->stopped_valid && setup->base == queue->stopped_base && setup->size == queue->setup.size &&
	       setup->indirect_desc == queue->setup.indirect_desc && setup->event_idx == queue->setup.event_idx &&
	       queue->config.space->kind == queue->started_kind &&
	       setup->desc.v == queue->setup.desc.v && setup->avail.v == queue->setup.avail.v &&
	       setup->used.v == queue->setup.used.v;
}

enum viodma_result viodma_queue_start(struct viodma_queue *queue, const struct viodma_queue_setup *setup,
				      uint32_t *dropped)
{
	struct viodma_request *request;
	uint32_t n = setup->size, gone = 0;

	if (queue->running || queue->submitted)
		return VIODMA_E_BUSY;
	if (!VIODMA_REQUIRE(DRV_17, n >= 1 && n <= queue->config.size_max && !(n & (n - 1))))
		return VIODMA_PEER_RING_LAYOUT;
	if (!VIODMA_REQUIRE(DRV_17, !misaligned(setup->desc, VIRTQ_DESC_ALIGN) &&
					    !misaligned(setup->avail, VIRTQ_AVAIL_ALIGN) &&
					    !misaligned(setup->used, VIRTQ_USED_ALIGN)))
		return VIODMA_PEER_RING_LAYOUT;
	if (!VIODMA_REQUIRE(DRV_15, !part_wraps(setup->desc, VIRTQ_DESC_BYTES(n)) &&
					    !part_wraps(setup->avail, VIRTQ_AVAIL_BYTES(n)) &&
					    !part_wraps(setup->used, VIRTQ_USED_BYTES(n))))
		return VIODMA_PEER_ADDRESS_WRAP;

	if (goes_on(queue, setup)) {
		for (request = queue->parked_first; request; request = request->next) {
			request->held = false;
			if (request->result == VIODMA_FAULT_STOPPED)
				request->result = VIODMA_OK;
		}
	} else {
		gone = drop_held(queue);
		/* Nothing is in flight, so the used index stands where the available one does; the ring is not asked. */
		queue->next_used = (uint16_t)setup->base;
		queue->pushed_any = false;
	}
	if (dropped)
		*dropped = gone;
	queue->setup = *setup;
	queue->started_kind = queue->config.space->kind;
	queue->next_avail = queue->seen_avail = (uint16_t)setup->base;
	queue->signalled_used = queue->next_used;
	queue->signalled_valid = queue->armed_valid = queue->no_notify = false;
	queue->stopped_valid = queue->ring_waits = queue->ring_faulted = false;
	queue->scanned_epoch = queue->done_epoch = queue->config.space->epoch - 1;
	memset(&queue->desc_cache, 0, sizeof(queue->desc_cache));
	memset(&queue->avail_cache, 0, sizeof(queue->avail_cache));
	memset(&queue->used_cache, 0, sizeof(queue->used_cache));
	memset(&queue->buffer_cache, 0, sizeof(queue->buffer_cache));
	queue->broken = VIODMA_OK;
	queue->running = true;
	return VIODMA_OK;
}

/* The request at the position before `position`, if it is parked and was fetched there. */
static struct viodma_request *parked_before(const struct viodma_queue *queue, uint16_t position)
{
	uint16_t before = (uint16_t)(position - 1);
	struct viodma_request *request = &queue->requests[queue->order[before & (queue->setup.size - 1)]];

	return request->state == VIODMA_REQUEST_PARKED && request->position == before ? request : NULL;
}

static void flush_done(struct viodma_queue *queue);

enum viodma_result viodma_queue_stop(struct viodma_queue *queue, uint32_t *base)
{
	struct viodma_request *request;

	if (queue->submitted)
		return VIODMA_E_BUSY;
	if (queue->running) {
		flush_done(queue);
		while ((request = parked_before(queue, queue->next_avail)) != NULL) {
			unpark(queue, request);
			free_request(queue, request);
			queue->next_avail--;
		}
		queue->running = false; /* = DEV-14 */
		queue->stopped_base = queue->next_avail;
		queue->stopped_valid = true;
	}
	*base = queue->next_avail;
	return VIODMA_OK;
}

enum viodma_result viodma_queue_pop_held(struct viodma_queue *queue, struct viodma_request **request)
{
	struct viodma_request *candidate;
	uint16_t first = queue->next_avail, distance;

	while (parked_before(queue, first) && (uint16_t)(queue->next_avail - first) < queue->setup.size)
		first--;
	distance = (uint16_t)(queue->next_avail - first); /* so many at the end are given back */
	for (candidate = queue->parked_first; candidate; candidate = candidate->next) {
		if ((uint16_t)(queue->next_avail - 1 - candidate->position) < distance || candidate->held ||
		    !candidate->walked)
			continue;
		unpark(queue, candidate);
		candidate->held = true;
		candidate->result = VIODMA_FAULT_STOPPED;
		candidate->state = VIODMA_REQUEST_SUBMITTED;
		queue->submitted++;
		*request = candidate;
		return VIODMA_OK;
	}
	return VIODMA_EMPTY;
}

void viodma_queue_reset(struct viodma_queue *queue)
{
	drop_held(queue);
	queue->running = queue->stopped_valid = false;
	queue->broken = VIODMA_OK;
}

/* ---- completion ---- */

/* VIODMA_OK: in the used ring. VIODMA_MISS: its memory misses, others may go first. Else the ring is out of reach. */
static enum viodma_result finish(struct viodma_queue *queue, struct viodma_request *request)
{
	enum viodma_result result = viodma_request_copy_out(request);

	if (result == VIODMA_MISS)
		return VIODMA_MISS;
	if (result != VIODMA_OK) {
		/* The answer cannot be delivered: the driver must not take what lies there for one. */
		free_request(queue, request);
		return break_queue(queue, VIODMA_PEER_UNREACHABLE);
	}
	result = viodma_split_put_used(queue, request->head, request->used_bytes);
	if (result != VIODMA_OK)
		return result;
	queue->statistics.pushed++;
	queue->pushed_any = true;
	free_request(queue, request);
	return VIODMA_OK;
}

static void flush_done(struct viodma_queue *queue)
{
	struct viodma_request *request, *next;

	queue->done_epoch = queue->config.space->epoch;
	for (request = queue->done_first; request; request = next) {
		enum viodma_result result;

		next = request->next;
		take_out(&queue->done_first, &queue->done_last, request);
		result = finish(queue, request);
		if (request->state == VIODMA_REQUEST_FREE) {
			queue->done--;
			continue;
		}
		/* Back to where it was. */
		request->next = next;
		request->previous = next ? next->previous : queue->done_last;
		if (request->previous)
			request->previous->next = request;
		else
			queue->done_first = request;
		if (next)
			next->previous = request;
		else
			queue->done_last = request;
		if (result != VIODMA_MISS)
			break;
	}
}

void viodma_queue_push(struct viodma_queue *queue, struct viodma_request *request, uint32_t used_bytes)
{
	if (!VIODMA_REQUIRE(DEV_16, used_bytes <= request->writable_bytes))
		used_bytes = request->writable_bytes;
	request->used_bytes = used_bytes;
	if (!request->copy)
		viodma_request_release(request);
	request->state = VIODMA_REQUEST_DONE;
	queue->submitted--;
	queue->done++;
	append(&queue->done_first, &queue->done_last, request);
	if (queue->running)
		flush_done(queue);
}

enum viodma_result viodma_queue_reject(struct viodma_queue *queue, struct viodma_request *request, const void *tail,
				       uint32_t tail_bytes)
{
	enum viodma_result result = VIODMA_OK;

	if (tail_bytes)
		result = viodma_request_write_tail(request, tail, tail_bytes);
	if (result == VIODMA_OK) {
		request->extent_count = 0;
		queue->statistics.failed++;
		viodma_queue_push(queue, request, tail_bytes ? request->writable_bytes : 0);
		return VIODMA_OK;
	}
	queue->submitted--;
	viodma_request_release(request);
	if (result == VIODMA_MISS) {
		request->extent_count = 0; /* nothing the device wrote is delivered with a rejection */
		park(queue, request);
		return VIODMA_MISS;
	}
	free_request(queue, request);
	queue->statistics.failed++;
	return break_queue(queue, result == VIODMA_PEER_REQUEST ? VIODMA_PEER_REQUEST : VIODMA_PEER_UNREACHABLE);
}

/* ---- fetching ---- */

static enum viodma_result hand_out(struct viodma_queue *queue, struct viodma_request *request,
				   struct viodma_request **out)
{
	request->state = VIODMA_REQUEST_SUBMITTED;
	queue->submitted++;
	*out = request;
	return VIODMA_OK;
}

/*
 * Take a fetched request as far as it goes: walk the rest of its chain, translate. VIODMA_OK: it can be handed out.
 * VIODMA_MISS, VIODMA_WAIT: it has to wait. VIODMA_PEER_*: the ring is at fault.
 */
static enum viodma_result advance(struct viodma_request *request)
{
	if (!request->walked && !viodma_result_is_fault(request->result)) {
		enum viodma_result result = viodma_walk_chain(request);

		if (viodma_result_is_fault(result) && request->indirect)
			request->result = result; /* its table is out of reach: this request fails, not the ring */
		else if (result != VIODMA_OK)
			return result;
		else
			request->walked = true;
	}
	return viodma_request_bind(request);
}

/* Is what a parked request waits for still unknown? If so, make sure it is being asked for. */
static bool still_waits(struct viodma_queue *queue, struct viodma_request *request)
{
	struct viodma_space *space = queue->config.space;
	struct viodma_extent extent;

	if (request->walked && request->result == VIODMA_OK && !viodma_request_may_ask(request))
		return true;
	if (request->wait_permission == VIODMA_NO_ACCESS ||
	    viodma_space_translate(space, NULL, request->wait_bus, request->wait_permission, &extent) != VIODMA_MISS)
		return false;
	if (request->walked && request->result == VIODMA_OK) {
		if (space->iotlb && !request->waiting_pages)
			return false; /* there was no room to ask for its pages; perhaps there is now */
		if (!space->iotlb || space->iotlb->failed_count)
			return false; /* an answer may have been a refusal, of any of its pages */
	}
	viodma_space_want(space, request->wait_bus, request->wait_permission);
	return true;
}

/* VIODMA_EMPTY: no parked request can go on. */
static enum viodma_result pop_parked(struct viodma_queue *queue, struct viodma_request **out)
{
	if (queue->scanned_epoch != queue->config.space->epoch || queue->rescan) {
		queue->scanned_epoch = queue->config.space->epoch;
		queue->rescan = queue->room_wanted = false;
		queue->cursor = queue->parked_first;
	}
	while (queue->cursor) {
		struct viodma_request *request = queue->cursor;
		enum viodma_result result;

		queue->cursor = request->next;
		if (still_waits(queue, request))
			continue;
		result = advance(request);
		if (result == VIODMA_MISS)
			continue;
		if (result == VIODMA_WAIT) {
			request->wait_permission = VIODMA_NO_ACCESS; /* for memory: tried whenever some was freed */
			continue;
		}
		unpark(queue, request);
		if (result == VIODMA_OK)
			return hand_out(queue, request, out);
		free_request(queue, request);
		return break_queue(queue, result);
	}
	return VIODMA_EMPTY;
}

static void begin(struct viodma_queue *queue, struct viodma_request *request)
{
	request->readable_bytes = request->writable_bytes = request->used_bytes = 0;
	request->result = VIODMA_OK;
	request->user = NULL;
	request->state = VIODMA_REQUEST_FETCHED;
	request->indirect = request->extent_count = 0;
	request->pinned = request->walked = request->held = false;
	request->position = queue->next_avail;
	request->walk_next = request->head;
	request->walk_count = 0;
	request->walk_bytes = 0;
	request->readable_segments = 0;
	request->pin.segment_count = request->pin.piece_count = 0;
	request->readable_pieces = 0;
	request->copy = NULL;
	request->failure_bytes = 0;
	request->failing = false;
}

/* VIODMA_OK: *out, or NULL if the one fetched was parked. */
static enum viodma_result fetch(struct viodma_queue *queue, struct viodma_request **out)
{
	struct viodma_request *request;
	enum viodma_result result;
	uint16_t head;

	*out = NULL;
	result = viodma_split_next_head(queue, &head);
	if (result != VIODMA_OK)
		return viodma_result_is_peer(result) ? break_queue(queue, result) : result;
	request = &queue->requests[head];
	if (request->state != VIODMA_REQUEST_FREE) {
		if (!VIODMA_REQUIRE(DRV_16, false))
			return break_queue(queue, VIODMA_PEER_HEAD_IN_USE);
		queue->next_avail++;
		return VIODMA_OK;
	}
	begin(queue, request);
	result = advance(request);
	if (!request->indirect && (result == VIODMA_WAIT || viodma_result_is_fault(result)) && !request->walked) {
		request->state = VIODMA_REQUEST_FREE; /* the ring's own table: nothing was used, start over */
		return result;
	}
	if (viodma_result_is_peer(result)) {
		request->state = VIODMA_REQUEST_FREE;
		return break_queue(queue, result);
	}
	queue->order[queue->next_avail & (queue->setup.size - 1)] = head;
	queue->next_avail++;
	queue->statistics.fetched++;
	if (result == VIODMA_OK)
		return hand_out(queue, request, out);
	if (result == VIODMA_WAIT)
		request->wait_permission = VIODMA_NO_ACCESS;
	park(queue, request);
	return VIODMA_OK;
}

enum viodma_result viodma_queue_pop(struct viodma_queue *queue, struct viodma_request **request)
{
	uint32_t budget;
	enum viodma_result result;

	if (!queue->running)
		return VIODMA_FAULT_STOPPED;
	if (queue->done_first && queue->done_epoch != queue->config.space->epoch)
		flush_done(queue);
	if (queue->broken != VIODMA_OK)
		return queue->broken;
	result = pop_parked(queue, request);
	if (result != VIODMA_EMPTY)
		return result;
	/* = DEV-17: at most one queue-full is fetched and parked before the caller is heard again. */
	for (budget = queue->setup.size; budget; budget--) {
		if (queue->ring_waits) {
			if (queue->ring_wait_epoch == queue->config.space->epoch)
				return VIODMA_WAIT;
			queue->ring_waits = false;
		}
		result = fetch(queue, request);
		if (result != VIODMA_OK || *request)
			return result;
	}
	return VIODMA_WAIT;
}

void viodma_queue_kicked(struct viodma_queue *queue)
{
	if (!queue->ring_faulted)
		return;
	queue->ring_waits = queue->ring_faulted = false;
	queue->done_epoch = queue->config.space->epoch - 1;
}

bool viodma_queue_has_work(const struct viodma_queue *queue)
{
	uint64_t epoch = queue->config.space->epoch;

	if (!queue->running || queue->broken != VIODMA_OK)
		return false;
	return (queue->done_first && queue->done_epoch != epoch) ||
	       (queue->parked_first && (queue->scanned_epoch != epoch || queue->rescan || queue->cursor)) ||
	       (queue->ring_waits && queue->ring_wait_epoch != epoch);
}
