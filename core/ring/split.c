/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * split.c - how it works: the words of a split ring, device half (virtio 1.2, section 2.7).
 *
 * The device only reads the descriptor table and the available ring, and only writes the used ring (= DEV-9); what it
 * needs to know of its own used index is private.
 */
#include "ring.h"

#include "../base/require.h"

static VIODMA_SELDOM enum viodma_result load_avail_index(struct viodma_queue *queue, uint16_t *index)
{
	struct viodma_shared *memory;
	enum viodma_result result = viodma_ring_part_word(queue, &queue->avail_part, &queue->avail_cache,
							  queue->setup.avail, VIRTQ_AVAIL_IDX, sizeof(uint16_t),
							  VIODMA_READ, &memory);

	if (result != VIODMA_OK)
		return result;
	*index = viodma_shared_load_acquire16(memory);
	viodma_ring_read_fence(queue);
	return VIODMA_OK;
}

/* How far the driver is ahead, in descriptors; looks at the shared index only when the last one seen is used up. */
static enum viodma_result ahead(struct viodma_queue *queue, uint16_t *distance)
{
	uint16_t index;
	enum viodma_result result;

	if (queue->seen_avail == queue->next_avail) {
		result = load_avail_index(queue, &index);
		if (result != VIODMA_OK)
			return result;
		if ((uint16_t)(index - queue->next_avail) > queue->setup.size) {
			if (!VIODMA_REQUIRE(DRV_10, false))
				return VIODMA_PEER_AVAIL_INDEX;
			index = (uint16_t)(queue->next_avail + queue->setup.size);
		}
		queue->seen_avail = index;
	}
	*distance = (uint16_t)(queue->seen_avail - queue->next_avail);
	return VIODMA_OK;
}

enum viodma_result viodma_split_next_head(struct viodma_queue *queue, uint16_t *head)
{
	struct viodma_shared *memory;
	uint16_t distance;
	enum viodma_result result = ahead(queue, &distance);

	if (result != VIODMA_OK)
		return result;
	if (distance == 0) {
		result = viodma_ring_ask_for_kick(queue);
		if (result != VIODMA_OK)
			return result;
		result = ahead(queue, &distance);
		if (result != VIODMA_OK)
			return result;
		if (distance == 0)
			return VIODMA_EMPTY;
	}
	viodma_ring_decline_kicks(queue);
	result = viodma_ring_part_word(queue, &queue->avail_part, &queue->avail_cache, queue->setup.avail,
				       VIRTQ_AVAIL_RING(queue->next_avail & (queue->setup.size - 1)), sizeof(uint16_t),
				       VIODMA_READ, &memory);
	if (result != VIODMA_OK)
		return result;
	*head = viodma_shared_load16(memory);
	return VIODMA_OK;
}

/* Where the element and the index go, when the used ring does not lie in one extent, or nobody has looked yet. */
static VIODMA_SELDOM enum viodma_result put_element(struct viodma_queue *queue, uint32_t offset, const struct virtq_used_elem *element,
				      struct viodma_shared **index)
{
	const viodma_bus where = viodma_ring_at(queue->setup.used, offset);
	viodma_bus missed = where;
	enum viodma_result result = viodma_space_put(queue->config.space, &queue->used_cache, queue->config.index, where,
						     element, sizeof(*element), &missed);

	if (result != VIODMA_OK)
		return viodma_ring_park(queue, result, missed, VIODMA_WRITE);
	return viodma_ring_find_word(queue, &queue->used_part, &queue->used_cache,
				     viodma_ring_at(queue->setup.used, VIRTQ_USED_IDX), sizeof(uint16_t), VIODMA_WRITE,
				     index);
}

enum viodma_result viodma_split_put_used(struct viodma_queue *queue, uint16_t head, uint32_t used_bytes)
{
	const struct virtq_used_elem element = {viodma_le32_of(head), viodma_le32_of(used_bytes)};
	const uint32_t offset = VIRTQ_USED_RING(queue->next_used & (queue->setup.size - 1));
	const struct viodma_space_part *part = &queue->used_part;
	struct viodma_shared *index, *found;

	if (viodma_space_part_holds(queue->config.space, part)) {
		viodma_shared_copy_out(viodma_space_part_at(part, queue->setup.used, offset), &element, sizeof(element));
		index = viodma_space_part_at(part, queue->setup.used, VIRTQ_USED_IDX);
	} else {
		enum viodma_result result = put_element(queue, offset, &element, &found);

		if (result != VIODMA_OK)
			return result;
		index = found;
	}
	viodma_ring_write_fence(queue);
	viodma_shared_store_release16(index, (uint16_t)(queue->next_used + 1));
	return VIODMA_OK;
}

bool viodma_split_call_wanted(struct viodma_queue *queue, uint32_t unsignalled)
{
	const bool by_event = queue->setup.event_idx;
	struct viodma_shared *memory;
	uint16_t event;

	if (!viodma_ring_call_word(queue, by_event ? VIRTQ_AVAIL_USED_EVENT(queue->setup.size) : VIRTQ_AVAIL_FLAGS,
				   sizeof(uint16_t), &memory))
		return true;
	event = viodma_shared_load16(memory);
	if (by_event)
		return (uint16_t)(queue->next_used - event - 1) < unsignalled;
	return !(event & VIRTQ_AVAIL_F_NO_INTERRUPT);
}
