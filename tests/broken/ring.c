/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ring.c - rings that are served wrongly.
 */
#include "core/ring/ring.h"

#include "tests/broken/broken.h"

/* ---- what comes back ---- */

static void touch(const struct viodma_piece *piece, uint64_t at)
{
	unsigned char *byte = (unsigned char *)piece->memory + at;

	*byte = (unsigned char)~*byte;
}

/* The last byte that was promised, and the one behind it. */
static void touch_wrongly(const struct viodma_request *request)
{
	const struct viodma_piece *readable = request->pieces, *writable = request->pieces + request->readable_pieces;

	if (BROKEN(writes_nothing_else) && request->writable_bytes && request->pinned)
		touch(writable, writable->len_bytes);
	if (BROKEN(leaves_readable) && request->readable_bytes && request->pinned)
		touch(readable, 0);
}

BETWEEN(void, viodma_queue_push, struct viodma_queue *queue, struct viodma_request *request, uint32_t written_bytes)
{
	static struct viodma_request *held;
	static uint32_t held_bytes;

	touch_wrongly(request);
	if (BROKEN(many_at_once) && queue->submitted > 8)
		return; /* one is lost */
	if (BROKEN(around_the_ring) && (queue->setup.packed ? queue->next_used == queue->setup.size - 1 : queue->next_used == UINT16_MAX))
		return; /* the last one, before it begins anew */
	if (BROKEN(in_order) && !held && queue->submitted > 1) {
		held = request;
		held_bytes = written_bytes;
		return;
	}
	__real_viodma_queue_push(queue, request, BROKEN(used_length) ? 0 : written_bytes);
	if (held) {
		__real_viodma_queue_push(queue, held, held_bytes);
		held = NULL;
	}
}

BETWEEN(bool, viodma_queue_call_needed, struct viodma_queue *queue)
{
	return __real_viodma_queue_call_needed(queue) && !BROKEN(call);
}

/* ---- what is taken ---- */

BETWEEN(enum viodma_result, viodma_queue_pop, struct viodma_queue *queue, struct viodma_request **request)
{
	if (BROKEN(two_queues) && queue->config.index)
		return VIODMA_EMPTY;
	return __real_viodma_queue_pop(queue, request);
}

/* One that waits holds back whatever comes behind it. */
BETWEEN(enum viodma_result, viodma_split_next_head, struct viodma_queue *queue, uint16_t *head)
{
	if (BROKEN(miss_others_go_on) && queue->parked)
		return VIODMA_EMPTY;
	return __real_viodma_split_next_head(queue, head);
}

BETWEEN(enum viodma_result, viodma_packed_next, struct viodma_queue *queue)
{
	if (BROKEN(miss_others_go_on) && queue->parked)
		return VIODMA_EMPTY;
	return __real_viodma_packed_next(queue);
}

/* The straight way walks tables by itself. */
BETWEEN(bool, viodma_queue_calm_down, struct viodma_queue *queue)
{
	return !BROKEN(tables_at_once) && __real_viodma_queue_calm_down(queue);
}

BETWEEN(enum viodma_result, viodma_walk_chain, struct viodma_request *request)
{
	const bool before = request->indirect;
	const enum viodma_result result = __real_viodma_walk_chain(request);

	if (BROKEN(table) && result == VIODMA_MISS && !before)
		request->table.v -= request->table.v % VIODMA_IOTLB_PAGE_BYTES + 64;
	if (BROKEN(tables_at_once) && request->indirect && request->queue->submitted > 4)
		request->result = VIODMA_E_LIMIT;
	return result;
}

/* Memory that adjoins on the bus is taken for memory that adjoins: from the `from`th piece on. */
static void merge(struct viodma_piece *pieces, uint32_t *count, uint32_t from)
{
	while (*count > from) {
		pieces[from - 1].len_bytes += pieces[*count - 1].len_bytes;
		--*count;
	}
}

BETWEEN(enum viodma_result, viodma_request_pieces, struct viodma_request *request, enum viodma_permission part, uint32_t offset,
	uint32_t len_bytes, struct viodma_piece *pieces, uint32_t capacity, uint32_t *count)
{
	const enum viodma_result result = __real_viodma_request_pieces(request, part, offset, len_bytes, pieces, capacity, count);

	if (result != VIODMA_OK || !*count)
		return result;
	if (BROKEN(buffer_unaligned))
		pieces->memory = (struct viodma_shared *)((uintptr_t)pieces->memory & ~(uintptr_t)511);
	if (part == VIODMA_WRITE ? BROKEN(buffer_over_two_mappings) : BROKEN(buffer_over_two_mappings_readable))
		merge(pieces, count, 1);
	if (part == VIODMA_WRITE ? BROKEN(buffer_over_many_mappings) : BROKEN(buffer_over_many_mappings_readable))
		merge(pieces, count, 4);
	return result;
}

/* Once it has work it never again asks for a kick. */
BETWEEN(enum viodma_result, viodma_ring_ask_for_kick, struct viodma_queue *queue)
{
	const bool polled = queue->polled;

	if ((BROKEN(kick_by_flags) || BROKEN(kick_by_events)) && queue->pushed_any) {
		queue->polled |= queue->setup.packed; /* an untouched word of a packed ring asks for all */
		viodma_ring_decline_kicks(queue);
		queue->polled = polled;
		return VIODMA_OK;
	}
	return __real_viodma_ring_ask_for_kick(queue);
}

/* ---- life ---- */

static _Atomic bool stopped_while_waiting;
static _Atomic uint32_t last_base;

BETWEEN(enum viodma_result, viodma_queue_start, struct viodma_queue *queue, const struct viodma_queue_setup *setup,
	uint32_t *dropped)
{
	struct viodma_queue_setup other = *setup;

	if (BROKEN(in_order))
		other.in_order = false;
	if (BROKEN(ring_of_four) && other.size < 8)
		other.size = 8;
	if (BROKEN(ring_of_1024) && other.size > 512)
		other.size = 512;
	if (BROKEN(reset_and_again) && queue->statistics.pushed)
		other.base = last_base; /* what a reset does not end */
	if (BROKEN(stop_and_go_on))
		other.base = other.packed ? VIODMA_QUEUE_PACKED_BASE : 0;
	if (BROKEN(connection_ends_while_waiting) && stopped_while_waiting)
		return VIODMA_E_INVALID;
	return __real_viodma_queue_start(queue, &other, dropped);
}

BETWEEN(enum viodma_result, viodma_queue_stop, struct viodma_queue *queue, uint32_t *base)
{
	const bool waits = queue->parked;
	const enum viodma_result result = __real_viodma_queue_stop(queue, base);

	if (BROKEN(stop_base) || (BROKEN(stop_while_waiting) && waits))
		++*base;
	last_base = *base;
	if (waits)
		stopped_while_waiting = true;
	return result;
}

/* A ring that was out of reach is given up. */
BETWEEN(void, viodma_queue_kicked, struct viodma_queue *queue)
{
	if (BROKEN(ring_unmapped) && (queue->ring_waits || queue->ring_faulted))
		queue->broken = VIODMA_PEER_UNREACHABLE;
	__real_viodma_queue_kicked(queue);
}
