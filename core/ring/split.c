/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * split.c - how it works: the words of a split ring, device half (virtio 1.2, section 2.7).
 *
 * The device only reads the descriptor table and the available ring, and only writes the used ring (= DEV-9); what it
 * needs to know of its own used index is private. The three parts are bus addresses: each access translates, through a
 * last-hit cache per part, so that a revoked ring is noticed at the next word. A part that misses parks the queue.
 *
 * Kicks: with EVENT_IDX the device says where it wants the next one, when it finds the ring empty; without, it sets
 * NO_NOTIFY while it works. Then it looks again, behind a full fence: the driver either sees the wish, or has been seen.
 */
#include "ring.h"

#include <viodma/wire/ring.h>

#include "../base/require.h"
#include "../base/shared.h"
#include "../space/access.h"

static viodma_bus at(viodma_bus base, uint32_t offset)
{
	return (viodma_bus){base.v + offset};
}

/*
 * The ring is out of reach and waits for a kick: the very next one is wanted. The used ring may be out of reach, too;
 * then there is no way to say it.
 */
static void ask_for_any_kick(struct viodma_queue *queue)
{
	const bool by_index = queue->setup.event_idx;
	struct viodma_shared *memory;
	struct viodma_extent extent;
	viodma_bus bus = at(queue->setup.used, by_index ? VIRTQ_USED_AVAIL_EVENT(queue->setup.size) : VIRTQ_USED_FLAGS);
	viodma_bus missed;

	if (viodma_space_translate(queue->config.space, &queue->used_cache, bus, VIODMA_WRITE, &extent) != VIODMA_OK ||
	    viodma_space_word(queue->config.space, &queue->used_cache, queue->config.index, bus, VIODMA_WRITE, &memory,
			      &missed) != VIODMA_OK)
		return;
	viodma_shared_store16(memory, by_index ? queue->seen_avail : 0);
	queue->no_notify = queue->armed_valid = false;
}

enum viodma_result viodma_split_park_ring(struct viodma_queue *queue, enum viodma_result result, viodma_bus bus,
					  enum viodma_permission permission)
{
	queue->ring_wait_bus = bus;
	queue->ring_wait_permission = permission;
	queue->ring_wait_epoch = queue->config.space->epoch;
	queue->ring_waits = true;
	queue->ring_faulted = result != VIODMA_MISS;
	if (queue->ring_faulted)
		ask_for_any_kick(queue);
	return result == VIODMA_MISS ? VIODMA_WAIT : result;
}

/* One ring word's memory. VIODMA_OK, or the queue is parked. */
static enum viodma_result word(struct viodma_queue *queue, struct viodma_space_cache *cache, viodma_bus bus,
			       enum viodma_permission permission, struct viodma_shared **memory)
{
	viodma_bus missed = bus;
	enum viodma_result result = viodma_space_word(queue->config.space, cache, queue->config.index, bus, permission,
						      memory, &missed);

	return result == VIODMA_OK ? VIODMA_OK : viodma_split_park_ring(queue, result, missed, permission);
}

static enum viodma_result load_avail_index(struct viodma_queue *queue, uint16_t *index)
{
	struct viodma_shared *memory;
	enum viodma_result result = word(queue, &queue->avail_cache, at(queue->setup.avail, VIRTQ_AVAIL_IDX),
					 VIODMA_READ, &memory);

	if (result == VIODMA_OK)
		*index = viodma_shared_load_acquire16(memory);
	return result;
}

/* Say from where on the next kick is wanted. */
static enum viodma_result ask_for_kick(struct viodma_queue *queue)
{
	struct viodma_shared *memory;
	enum viodma_result result;

	if (queue->setup.event_idx) {
		if (queue->armed_valid && queue->armed_at == queue->next_avail)
			return VIODMA_OK;
		result = word(queue, &queue->used_cache,
			      at(queue->setup.used, VIRTQ_USED_AVAIL_EVENT(queue->setup.size)), VIODMA_WRITE, &memory);
		if (result != VIODMA_OK)
			return result;
		viodma_shared_store16(memory, queue->next_avail);
		queue->armed_at = queue->next_avail;
		queue->armed_valid = true;
	} else if (queue->no_notify || !queue->armed_valid) {
		result = word(queue, &queue->used_cache, at(queue->setup.used, VIRTQ_USED_FLAGS), VIODMA_WRITE,
			      &memory);
		if (result != VIODMA_OK)
			return result;
		viodma_shared_store16(memory, 0);
		queue->no_notify = false;
		queue->armed_valid = true;
	}
	viodma_shared_fence();
	return VIODMA_OK;
}

/* Without EVENT_IDX: no kicks while there is work. A ring out of reach just gets more of them. */
static void decline_kicks(struct viodma_queue *queue)
{
	struct viodma_shared *memory;
	viodma_bus missed;

	if (queue->setup.event_idx || queue->no_notify)
		return;
	if (viodma_space_word(queue->config.space, &queue->used_cache, queue->config.index,
			      at(queue->setup.used, VIRTQ_USED_FLAGS), VIODMA_WRITE, &memory, &missed) != VIODMA_OK)
		return;
	viodma_shared_store16(memory, VIRTQ_USED_F_NO_NOTIFY);
	queue->no_notify = true;
	queue->statistics.kicks_suppressed++;
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
		result = ask_for_kick(queue);
		if (result != VIODMA_OK)
			return result;
		result = ahead(queue, &distance);
		if (result != VIODMA_OK)
			return result;
		if (distance == 0)
			return VIODMA_EMPTY;
	}
	decline_kicks(queue);
	result = word(queue, &queue->avail_cache,
		      at(queue->setup.avail, VIRTQ_AVAIL_RING(queue->next_avail & (queue->setup.size - 1))),
		      VIODMA_READ, &memory);
	if (result != VIODMA_OK)
		return result;
	*head = viodma_shared_load16(memory);
	if (!VIODMA_REQUIRE(DRV_11, *head < queue->setup.size))
		return VIODMA_PEER_HEAD;
	*head &= (uint16_t)(queue->setup.size - 1); /* holds already; keeps a mutant inside its own memory */
	return VIODMA_OK;
}

enum viodma_result viodma_split_put_used(struct viodma_queue *queue, uint16_t head, uint32_t used_bytes)
{
	struct virtq_used_elem element = {viodma_le32_of(head), viodma_le32_of(used_bytes)};
	viodma_bus where = at(queue->setup.used, VIRTQ_USED_RING(queue->next_used & (queue->setup.size - 1)));
	viodma_bus missed = where;
	struct viodma_shared *index;
	enum viodma_result result;

	result = viodma_space_put(queue->config.space, &queue->used_cache, queue->config.index, where, &element,
				  sizeof(element), &missed);
	if (result != VIODMA_OK)
		return viodma_split_park_ring(queue, result, missed, VIODMA_WRITE);
	result = word(queue, &queue->used_cache, at(queue->setup.used, VIRTQ_USED_IDX), VIODMA_WRITE, &index);
	if (result != VIODMA_OK)
		return result;
	queue->next_used++;
	viodma_shared_store_release16(index, queue->next_used);
	return VIODMA_OK;
}

bool viodma_queue_call_needed(struct viodma_queue *queue)
{
	uint16_t before = queue->signalled_used, now = queue->next_used, event;
	bool first = !queue->signalled_valid, needed;
	struct viodma_shared *memory;
	viodma_bus bus, missed;

	if (!queue->running || (!first && before == now) || (first && !queue->pushed_any))
		return false;
	queue->signalled_used = now;
	queue->signalled_valid = true;
	bus = at(queue->setup.avail,
		 queue->setup.event_idx ? VIRTQ_AVAIL_USED_EVENT(queue->setup.size) : VIRTQ_AVAIL_FLAGS);
	viodma_shared_fence();
	if (viodma_space_word(queue->config.space, &queue->avail_cache, queue->config.index, bus, VIODMA_READ, &memory,
			      &missed) != VIODMA_OK)
		return true; /* the driver's wish is out of reach: one call too many does no harm */
	event = viodma_shared_load16(memory);
	if (queue->setup.event_idx)
		needed = first || (uint16_t)(now - event - 1) < (uint16_t)(now - before);
	else
		needed = !(event & VIRTQ_AVAIL_F_NO_INTERRUPT);
	if (!needed)
		queue->statistics.calls_suppressed++;
	return needed;
}
