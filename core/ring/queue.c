/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * queue.c - how it works: the state machine of requests.
 *
 *   pop:   finish completions that wait -> try parked requests if something changed -> fetch from the ring
 *   push:  copy out (COPY mode) -> used ring; what cannot be reached yet waits in the list of done ones
 *
 * A request lives in the slot of its head, so a head can be in flight once (DRV-16) and no allocator is needed. `order`
 * remembers which head was fetched at which place of the ring: who is to be given back by a stop, or to complete next.
 */
#include <viodma/iotlb.h>

#include "../base/require.h"
#include "ring.h"

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
	viodma_queue_disturb(queue);
	append(&queue->parked_first, &queue->parked_last, request);
	queue->parked++;
	queue->statistics.parked++;
}

void viodma_queue_unpark(struct viodma_queue *queue, struct viodma_request *request)
{
	if (queue->cursor == request)
		queue->cursor = request->next;
	take_out(&queue->parked_first, &queue->parked_last, request);
	queue->parked--;
	queue->rescan |= queue->room_wanted;
}

void viodma_queue_free_request(struct viodma_queue *queue, struct viodma_request *request)
{
	if (request->pinned || request->copy || request->waiting_pages)
		viodma_request_release(request);
	request->state = VIODMA_REQUEST_FREE;
	queue->in_flight -= request->count;
	queue->rescan |= queue->room_wanted;
}

static enum viodma_result break_queue(struct viodma_queue *queue, enum viodma_result reason)
{
	viodma_queue_disturb(queue);
	if (queue->broken == VIODMA_OK)
		queue->broken = reason;
	return reason;
}

/* ---- completion ---- */

uint32_t viodma_queue_drop_held(struct viodma_queue *queue)
{
	uint32_t dropped = 0;

	while (queue->parked_first) {
		struct viodma_request *request = queue->parked_first;

		viodma_queue_unpark(queue, request);
		viodma_queue_free_request(queue, request);
		dropped++;
	}
	while (queue->done_first) {
		struct viodma_request *request = queue->done_first;

		take_out(&queue->done_first, &queue->done_last, request);
		queue->done--;
		viodma_queue_free_request(queue, request);
		dropped++;
	}
	queue->cursor = NULL;
	return dropped;
}

/* VIODMA_OK: in the used ring. VIODMA_MISS: its memory misses, others may go first. Else the ring is out of reach. */
static enum viodma_result finish(struct viodma_queue *queue, struct viodma_request *request)
{
	enum viodma_result result = request->copy ? viodma_request_copy_out(request) : VIODMA_OK;

	if (result == VIODMA_MISS)
		return VIODMA_MISS;
	if (result != VIODMA_OK) {
		/* The answer cannot be delivered: the driver must not take what lies there for one. */
		viodma_queue_free_request(queue, request);
		return break_queue(queue, VIODMA_PEER_UNREACHABLE);
	}
	if (queue->config.record)
		queue->config.record->returning(queue->config.record_context, request->head);
	result = queue->setup.packed ? viodma_packed_put_used(queue, request->head, request->used_bytes)
				     : viodma_split_put_used(queue, request->head, request->used_bytes);
	if (result != VIODMA_OK)
		return result;
	queue->next_used = viodma_ring_behind(queue, queue->next_used, request->count);
	if (queue->unsignalled <= UINT32_MAX / 2)
		queue->unsignalled += request->count;
	if (queue->config.record)
		queue->config.record->returned(queue->config.record_context, request->head, queue->next_used);
	queue->statistics.pushed++;
	queue->pushed_any = true;
	viodma_queue_free_request(queue, request);
	return VIODMA_OK;
}

/* The request whose turn it is to complete, if it is done. */
static struct viodma_request *due(const struct viodma_queue *queue)
{
	struct viodma_request *request = &queue->requests[queue->order[viodma_ring_place(queue, queue->next_used)]];

	return request->state == VIODMA_REQUEST_DONE && request->position == queue->next_used ? request : NULL;
}

static void flush_in_order(struct viodma_queue *queue)
{
	struct viodma_request *request;

	while ((request = due(queue)) != NULL) {
		take_out(&queue->done_first, &queue->done_last, request);
		(void)finish(queue, request);
		if (request->state != VIODMA_REQUEST_FREE) {
			append(&queue->done_first, &queue->done_last, request);
			return;
		}
		queue->done--;
	}
}

void viodma_queue_flush_done(struct viodma_queue *queue)
{
	struct viodma_request *request, *next;

	queue->done_epoch = queue->config.space->epoch;
	if (queue->setup.in_order) {
		if (!VIODMA_REQUIRE(DEV_23, false)) {
			flush_in_order(queue);
			return;
		}
	}
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

void viodma_queue_push_slowly(struct viodma_queue *queue, struct viodma_request *request, uint32_t used_bytes)
{
	const bool at_once = queue->running && !queue->done_first && !queue->setup.in_order;

	request->used_bytes = used_bytes;
	if (!request->copy)
		viodma_request_release(request);
	request->state = VIODMA_REQUEST_DONE;
	queue->submitted--;
	if (at_once) { /* as it most often is */
		queue->done_epoch = queue->config.space->epoch;
		(void)finish(queue, request);
		if (request->state == VIODMA_REQUEST_FREE)
			return;
	}
	queue->done++;
	viodma_queue_disturb(queue);
	append(&queue->done_first, &queue->done_last, request);
	if (queue->running && !at_once)
		viodma_queue_flush_done(queue);
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
	viodma_queue_free_request(queue, request);
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
 * Walk the rest of its chain. VIODMA_OK: it is known, or fails. VIODMA_MISS: its indirect table is not translated yet.
 * VIODMA_WAIT, VIODMA_FAULT_*: the ring's own table. VIODMA_PEER_*: the ring is at fault.
 */
static enum viodma_result walk(struct viodma_request *request)
{
	enum viodma_result result;

	if (request->walked || viodma_result_is_fault(request->result))
		return VIODMA_OK;
	result = viodma_walk_chain(request);
	if (viodma_result_is_fault(result) && request->indirect) {
		request->result = result; /* its table is out of reach: this request fails, not the ring */
		return VIODMA_OK;
	}
	request->walked = result == VIODMA_OK;
	return result;
}

/* Take a parked request as far as it goes. As walk; VIODMA_OK: it can be handed out; VIODMA_WAIT: for private memory. */
static enum viodma_result advance(struct viodma_request *request)
{
	enum viodma_result result = walk(request);

	return result == VIODMA_OK ? viodma_request_bind(request) : result;
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
		viodma_queue_unpark(queue, request);
		if (result == VIODMA_OK)
			return hand_out(queue, request, out);
		viodma_queue_free_request(queue, request);
		return break_queue(queue, result);
	}
	return VIODMA_EMPTY;
}

void viodma_queue_begin(struct viodma_queue *queue, struct viodma_request *request)
{
	request->readable_bytes = request->writable_bytes = request->used_bytes = 0;
	request->user = NULL;
	request->result = VIODMA_OK;
	request->state = VIODMA_REQUEST_FETCHED;
	request->pinned = false;
	request->position = queue->next_avail;
	request->count = queue->setup.packed ? 0 : 1;
	request->segment_count = request->readable_segments = 0;
	request->indirect = request->extent_count = 0;
	request->walked = request->held = request->resumed = request->failing = false;
	request->piece_count = request->readable_pieces = 0;
	request->failure_bytes = 0;
	request->walk_next = queue->setup.packed ? queue->next_avail : request->head;
	request->walk_count = 0;
	request->walk_bytes = 0;
	request->copy = NULL;
}

/*
 * Where to walk the chain whose head this is. Split: in the slot of its head. Packed: its buffer id is in its last
 * descriptor, and most often in the first, too; the slot behind all others will do until it is known.
 */
static enum viodma_result slot_of(struct viodma_queue *queue, uint16_t id, struct viodma_request **slot)
{
	if (!queue->setup.packed) {
		if (!VIODMA_REQUIRE(DRV_11, id < queue->setup.size))
			return VIODMA_PEER_HEAD;
		id &= (uint16_t)(queue->setup.size - 1); /* holds already; keeps a mutant inside its own memory */
	}
	*slot = &queue->requests[id < queue->setup.size ? id : queue->config.size_max];
	if ((*slot)->state == VIODMA_REQUEST_FREE)
		return VIODMA_OK;
	if (!queue->setup.packed && !VIODMA_REQUIRE(DRV_16, false))
		return VIODMA_PEER_HEAD_IN_USE;
	*slot = &queue->requests[queue->config.size_max];
	return VIODMA_OK;
}

static enum viodma_result next_slot(struct viodma_queue *queue, struct viodma_request **slot)
{
	uint16_t id = 0;
	enum viodma_result result = queue->setup.packed ? viodma_packed_next(queue) : viodma_split_next_head(queue, &id);

	if (result != VIODMA_OK)
		return result;
	return slot_of(queue, queue->setup.packed ? viodma_le16_get(queue->first.id) : id, slot);
}

/* The chain is known, and so is its place: its head's, or its buffer id's. */
static enum viodma_result settle(struct viodma_queue *queue, struct viodma_request **request)
{
	struct viodma_request *from = *request, *to;
	const uint16_t id = queue->setup.packed ? from->walk_id : from->head;
	struct viodma_segment *segments;
	struct viodma_piece *pieces;

	if (queue->resuming && queue->setup.packed) {
		if (!VIODMA_REQUIRE(PLT_12, from->count == queue->resuming->count))
			return VIODMA_PEER_RECORD;
	}
	if (!VIODMA_REQUIRE(DRV_24, id < queue->setup.size))
		return VIODMA_PEER_DESCRIPTOR;
	to = &queue->requests[id];
	if (to == from)
		return VIODMA_OK;
	if (!VIODMA_REQUIRE(DRV_16, to->state == VIODMA_REQUEST_FREE))
		return VIODMA_PEER_HEAD_IN_USE;
	segments = to->segments;
	pieces = to->pieces;
	*to = *from;
	to->head = id;
	to->pieces = pieces;
	from->segments = segments;
	from->state = VIODMA_REQUEST_FREE;
	*request = to;
	return VIODMA_OK;
}

/* From now on it is in flight. */
static void take(struct viodma_queue *queue, struct viodma_request *request)
{
	if (queue->resuming) {
		viodma_record_took(queue, request);
	} else {
		const uint16_t behind = viodma_ring_behind(queue, queue->next_avail, request->count);

		queue->order[viodma_ring_place(queue, queue->next_avail)] = request->head;
		queue->order[viodma_ring_place(queue, viodma_ring_before(queue, behind, 1))] = request->head;
		queue->next_avail = behind;
		if (queue->config.record)
			viodma_record_taken(queue, request);
	}
	queue->in_flight += request->count;
	request->sequence = queue->sequence++;
	queue->statistics.fetched++;
}

/* The chain that belongs into this slot, where it was begun. VIODMA_OK: *out, or NULL if it was parked. */
static enum viodma_result fetch_into(struct viodma_queue *queue, struct viodma_request *request,
				     struct viodma_request **out)
{
	enum viodma_result result = walk(request), settled;

	if (result == VIODMA_WAIT || viodma_result_is_fault(result)) {
		request->state = VIODMA_REQUEST_FREE; /* the ring's own table: nothing was used, start over */
		return result;
	}
	settled = viodma_result_is_peer(result) ? result : settle(queue, &request);
	if (settled != VIODMA_OK) {
		request->state = VIODMA_REQUEST_FREE;
		return break_queue(queue, settled);
	}
	if (result == VIODMA_OK)
		result = viodma_request_bind(request);
	take(queue, request);
	if (result == VIODMA_OK)
		return hand_out(queue, request, out);
	if (result == VIODMA_WAIT)
		request->wait_permission = VIODMA_NO_ACCESS;
	park(queue, request);
	return VIODMA_OK;
}

/* The same of the next one there is. */
static enum viodma_result fetch(struct viodma_queue *queue, struct viodma_request **out)
{
	struct viodma_request *request;
	enum viodma_result result;

	*out = NULL;
	queue->resuming = NULL;
	if (queue->resume_next < queue->resume_count)
		result = viodma_record_next(queue, &request);
	else
		result = next_slot(queue, &request);
	if (result != VIODMA_OK)
		return viodma_result_is_peer(result) ? break_queue(queue, result) : result;
	viodma_queue_begin(queue, request);
	return fetch_into(queue, request, out);
}

enum viodma_result viodma_queue_pop_begun(struct viodma_queue *queue, struct viodma_request *request, bool is_known,
					  struct viodma_request **out)
{
	enum viodma_result result;

	*out = NULL;
	queue->resuming = NULL;
	queue->is_known = is_known;
	result = fetch_into(queue, request, out);
	queue->is_known = false;
	return result != VIODMA_OK || *out ? result : viodma_queue_pop_slowly(queue, out); /* it was parked */
}

enum viodma_result viodma_queue_pop_known(struct viodma_queue *queue, uint16_t head, bool first_known,
					  struct viodma_request **out)
{
	struct viodma_request *request;
	enum viodma_result result = slot_of(queue, head, &request);

	if (result != VIODMA_OK) {
		*out = NULL;
		return break_queue(queue, result);
	}
	viodma_queue_begin(queue, request);
	return viodma_queue_pop_begun(queue, request, first_known, out);
}

/* Has nothing changed since the ring was out of reach? */
static bool ring_still_waits(struct viodma_queue *queue)
{
	if (!queue->ring_waits)
		return false;
	if (queue->ring_wait_epoch == queue->config.space->epoch)
		return true;
	queue->ring_waits = false;
	return false;
}

void viodma_queue_settle(struct viodma_queue *queue)
{
	if (queue->running && queue->done_first && queue->done_epoch != queue->config.space->epoch)
		viodma_queue_flush_done(queue);
}

enum viodma_result viodma_queue_pop_slowly(struct viodma_queue *queue, struct viodma_request **request)
{
	uint32_t budget;
	enum viodma_result result;

	if (!queue->running)
		return VIODMA_FAULT_STOPPED;
	viodma_queue_settle(queue);
	if (queue->broken != VIODMA_OK)
		return queue->broken;
	if (queue->resume_due) {
		if (ring_still_waits(queue))
			return VIODMA_WAIT;
		result = viodma_record_resume(queue);
		if (result != VIODMA_OK)
			return viodma_result_is_peer(result) ? break_queue(queue, result) : result;
	}
	result = pop_parked(queue, request);
	if (result != VIODMA_EMPTY)
		return result;
	if (viodma_queue_calm_down(queue))
		return viodma_queue_pop(queue, request);
	/* = DEV-17: at most one queue-full is fetched and parked before the caller is heard again. */
	for (budget = queue->setup.size; budget; budget--) {
		if (ring_still_waits(queue))
			return VIODMA_WAIT;
		result = fetch(queue, request);
		if (result != VIODMA_OK || *request)
			return result;
	}
	return VIODMA_WAIT;
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

bool viodma_queue_overlaps(struct viodma_space_user *user, uint64_t first, uint64_t last,
			   enum viodma_space_addresses which)
{
	struct viodma_queue *queue = (struct viodma_queue *)(void *)((unsigned char *)user - offsetof(struct viodma_queue, user));
	uint32_t left = queue->submitted, head, seen;

	/* From the one found last on: while it is still there, asking again is one comparison. */
	for (seen = 0, head = queue->asked; left && seen < queue->setup.size; seen++, head++) {
		const struct viodma_request *request;

		if (head >= queue->setup.size)
			head = 0;
		request = &queue->requests[head];
		if (request->state != VIODMA_REQUEST_SUBMITTED)
			continue;
		left--;
		if (!request->pinned ||
		    (which == VIODMA_SPACE_BUS ?
			     !viodma_space_segments_overlap(request->segments, request->segment_count, first, last) :
			     !viodma_space_pieces_overlap(request->pieces, request->piece_count, first, last)))
			continue;
		queue->asked = head;
		return true;
	}
	return false;
}
