/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * record.c - how it works: a queue tells a record of what is in flight what it takes and returns, and, after a start, first
 * fetches what the record lists. Those chains go the way of all others: the same walker, the same states. What differs is
 * where a packed chain's descriptors come from, since the ring may have other ones at their places by now; and that a stop
 * does not wind back over them.
 *
 * The list is the record's word, and so the peer's: each chain of it is checked against the ring's size, against those
 * before it, and against what its descriptors say. (= PLT-12)
 */
#include "../base/require.h"
#include "ring.h"

_Static_assert(sizeof(struct viodma_queue_chain) <= sizeof(struct virtq_packed_desc), "chains stand where raw ones do");

enum viodma_result viodma_record_resume(struct viodma_queue *queue)
{
	const struct viodma_queue_record_ops *record = queue->config.record;
	uint32_t count = 0, base = queue->setup.base;
	enum viodma_result result;

	queue->resumed = (struct viodma_queue_chain *)(void *)queue->raw;
	result = record->resume(queue->config.record_context, queue, queue->resumed, &count, &base);
	if (result != VIODMA_OK)
		return result;
	if (!VIODMA_REQUIRE(PLT_12, count <= queue->setup.size && viodma_ring_base_holds(&queue->setup, base)))
		return VIODMA_PEER_RECORD;
	queue->next_avail = queue->seen_avail = (uint16_t)base;
	queue->next_used = (uint16_t)(queue->setup.packed ? base >> 16 : base - count);
	queue->resume_next = 0;
	queue->resume_count = count;
	queue->resume_due = false;
	return VIODMA_OK;
}

enum viodma_result viodma_record_next(struct viodma_queue *queue, struct viodma_request **slot)
{
	const struct viodma_queue_chain *chain = &queue->resumed[queue->resume_next];
	const uint32_t count = queue->setup.packed ? chain->count : 1;

	if (!VIODMA_REQUIRE(PLT_12, chain->id < queue->setup.size && count >= 1 &&
					    count <= queue->setup.size - queue->in_flight))
		return VIODMA_PEER_RECORD;
	*slot = &queue->requests[chain->id];
	if (!VIODMA_REQUIRE(PLT_12, (*slot)->state == VIODMA_REQUEST_FREE))
		return VIODMA_PEER_RECORD;
	queue->resuming = chain;
	return VIODMA_OK;
}

enum viodma_result viodma_record_fetch(struct viodma_request *request, struct virtq_packed_desc *wire)
{
	const struct viodma_queue_chain *chain = request->queue->resuming;

	if (!VIODMA_REQUIRE(PLT_12, request->count < chain->count))
		return VIODMA_PEER_RECORD;
	viodma_shared_copy_in(wire, (const struct viodma_shared *)(const void *)&chain->descriptors[request->count],
			      sizeof(*wire));
	return VIODMA_OK;
}

/* If all before it come back before it, it stands behind them: with IN_ORDER they do. */
void viodma_record_took(struct viodma_queue *queue, struct viodma_request *request)
{
	request->resumed = true;
	request->position = viodma_ring_behind(queue, queue->next_used, queue->in_flight);
	if (queue->setup.in_order)
		queue->order[viodma_ring_place(queue, request->position)] = request->head;
	queue->resume_next++;
}

void viodma_record_taken(struct viodma_queue *queue, const struct viodma_request *request)
{
	const struct viodma_queue_chain chain = {request->head, request->count, queue->setup.packed ? queue->raw : NULL};

	queue->config.record->taken(queue->config.record_context, &chain);
}

/* The device only writes the used ring, but for this. */
enum viodma_result viodma_queue_peek_index(struct viodma_queue *queue, uint16_t *index)
{
	struct viodma_shared *memory;
	enum viodma_result result = viodma_ring_word(queue, &queue->used_cache,
						     viodma_ring_at(queue->setup.used, VIRTQ_USED_IDX),
						     sizeof(uint16_t), VIODMA_READ, &memory);

	if (result == VIODMA_OK)
		*index = viodma_shared_load_acquire16(memory);
	return result;
}

enum viodma_result viodma_queue_peek_used(struct viodma_queue *queue, uint16_t position, bool wrap, bool *used)
{
	struct viodma_shared *memory;
	enum viodma_result result;

	if (!VIODMA_REQUIRE(PLT_12, position < queue->setup.size))
		return VIODMA_PEER_RECORD;
	position |= wrap ? VIODMA_RING_WRAP : 0;
	result = viodma_ring_word(queue, &queue->desc_cache, viodma_packed_flags_at(queue, position), sizeof(uint16_t),
				  VIODMA_READ, &memory);
	if (result == VIODMA_OK)
		*used = !viodma_packed_available(viodma_shared_load_acquire16(memory), position);
	return result;
}
