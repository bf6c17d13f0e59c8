/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * packed.c - how it works: the words of a packed ring, device half (virtio 1.2, section 2.8).
 *
 * One ring of descriptors is read for what the driver made available, and written with what was used: two kinds of access,
 * each with its own permission (= DEV-9), each with its own last hit. Whether the next descriptor is available its flags
 * say, and nothing else; they are read first, with acquire, then the rest of it. The rest of a chain was written before.
 *
 * A used descriptor takes the place of the first of as many as its chain took; the position moves over all of them. Its
 * flags are written last, with release. Positions, and the wrap counters in them, are private.
 */
#include "ring.h"

#include "../base/require.h"

#define FLAGS offsetof(struct virtq_packed_desc, flags)
#define LEN   ((uint32_t)offsetof(struct virtq_packed_desc, len))

/* From the start of the ring. */
static uint32_t descriptor_at(const struct viodma_queue *queue, uint16_t position)
{
	return viodma_ring_place(queue, position) * (uint32_t)sizeof(queue->first);
}

/* Is there one? Its flags go to queue->first. VIODMA_OK, VIODMA_EMPTY, or the queue is parked. */
static enum viodma_result look(struct viodma_queue *queue, uint32_t offset)
{
	struct viodma_shared *memory;
	uint16_t flags;
	enum viodma_result result = viodma_ring_part_word(queue, &queue->desc_part, &queue->desc_cache, queue->setup.desc,
							  offset + (uint32_t)FLAGS, sizeof(uint16_t), VIODMA_READ,
							  &memory);

	if (result != VIODMA_OK)
		return result;
	flags = viodma_shared_load_acquire16(memory);
	if (!viodma_packed_available(flags, queue->next_avail))
		return VIODMA_EMPTY;
	viodma_ring_read_fence(queue);
	queue->first.flags = viodma_le16_of(flags);
	return VIODMA_OK;
}

/* There was none, or nobody knows yet where the ring lies. */
static VIODMA_SELDOM enum viodma_result next_slowly(struct viodma_queue *queue, uint32_t offset)
{
	const viodma_bus bus = viodma_ring_at(queue->setup.desc, offset);
	viodma_bus missed = bus;
	enum viodma_result result = look(queue, offset);

	if (result == VIODMA_EMPTY) {
		result = viodma_ring_ask_for_kick(queue);
		if (result == VIODMA_OK)
			result = look(queue, offset);
	}
	if (result != VIODMA_OK)
		return result;
	viodma_ring_decline_kicks(queue);
	result = viodma_space_fetch(queue->config.space, &queue->desc_cache, queue->config.index, bus, &queue->first, FLAGS,
				    &missed);
	return result == VIODMA_OK ? VIODMA_OK : viodma_ring_park(queue, result, missed, VIODMA_READ);
}

enum viodma_result viodma_packed_next(struct viodma_queue *queue)
{
	const uint32_t offset = descriptor_at(queue, queue->next_avail);
	const struct viodma_space_part *part = &queue->desc_part;
	uint16_t flags;

	if (!viodma_space_part_holds(queue->config.space, part))
		return next_slowly(queue, offset);
	flags = viodma_shared_load_acquire16(viodma_space_part_at(part, queue->setup.desc, offset + FLAGS));
	if (!viodma_packed_available(flags, queue->next_avail))
		return next_slowly(queue, offset);
	viodma_ring_read_fence(queue);
	queue->first.flags = viodma_le16_of(flags);
	viodma_ring_decline_kicks(queue);
	viodma_shared_copy_in(&queue->first, viodma_space_part_at(part, queue->setup.desc, offset), FLAGS);
	return VIODMA_OK;
}

/* Write the used descriptor at this offset but for its flags, where the ring does not lie in one extent, or nobody looked. */
static VIODMA_SELDOM enum viodma_result put_descriptor(struct viodma_queue *queue, uint32_t offset, const void *used, uint32_t bytes,
					 struct viodma_shared **flags)
{
	const viodma_bus bus = viodma_ring_at(queue->setup.desc, offset + LEN);
	viodma_bus missed = bus;
	enum viodma_result result = viodma_ring_find_word(queue, &queue->used_desc_part, &queue->used_desc_cache,
							  viodma_ring_at(queue->setup.desc, offset + (uint32_t)FLAGS),
							  sizeof(uint16_t), VIODMA_WRITE, flags);

	if (result != VIODMA_OK)
		return result;
	result = viodma_space_put(queue->config.space, &queue->used_desc_cache, queue->config.index, bus, used, bytes,
				  &missed);
	return result == VIODMA_OK ? VIODMA_OK : viodma_ring_park(queue, result, missed, VIODMA_WRITE);
}

enum viodma_result viodma_packed_put_used(struct viodma_queue *queue, uint16_t id, uint32_t used_bytes)
{
	const struct virtq_packed_desc used = {.len = viodma_le32_of(used_bytes), .id = viodma_le16_of(id)};
	const uint32_t offset = descriptor_at(queue, queue->next_used);
	const struct viodma_space_part *part = &queue->used_desc_part;
	uint16_t flags = used_bytes ? VIRTQ_DESC_F_WRITE : 0;
	struct viodma_shared *memory, *found;

	if (viodma_space_part_holds(queue->config.space, part)) {
		viodma_shared_copy_out(viodma_space_part_at(part, queue->setup.desc, offset + LEN), &used.len, FLAGS - LEN);
		memory = viodma_space_part_at(part, queue->setup.desc, offset + FLAGS);
	} else {
		enum viodma_result result = put_descriptor(queue, offset, &used.len, FLAGS - LEN, &found);

		if (result != VIODMA_OK)
			return result;
		memory = found;
	}
	if (queue->next_used & VIODMA_RING_WRAP)
		flags |= VIRTQ_PACKED_DESC_F_AVAIL | VIRTQ_PACKED_DESC_F_USED;
	viodma_ring_write_fence(queue);
	viodma_shared_store_release16(memory, flags);
	return VIODMA_OK;
}

/* A position as a number that counts through the two laps that differ. */
static uint32_t counted(const struct viodma_queue *queue, uint32_t position)
{
	return (position & (VIODMA_RING_WRAP - 1u)) + (position & VIODMA_RING_WRAP ? 0 : queue->setup.size);
}

bool viodma_packed_call_wanted(struct viodma_queue *queue, uint32_t unsignalled)
{
	const uint32_t both_laps = 2 * queue->setup.size;
	struct viodma_shared *memory;
	uint32_t event, now, before_now;

	if (!viodma_ring_call_word(queue, 0, VIRTQ_PACKED_EVENT_BYTES, &memory))
		return true;
	event = viodma_shared_load32(memory);
	switch (event >> 16 & VIRTQ_PACKED_EVENT_MASK) {
	case VIRTQ_PACKED_EVENT_DISABLE:
		return false;
	case VIRTQ_PACKED_EVENT_DESC:
		break;
	default:
		return true;
	}
	if (!queue->setup.event_idx || (event & (VIODMA_RING_WRAP - 1u)) >= queue->setup.size)
		return true; /* it says nothing that it may: no harm either */
	now = counted(queue, queue->next_used);
	before_now = now + both_laps - 1 - counted(queue, event);
	if (before_now >= both_laps)
		before_now -= both_laps;
	return before_now < unsignalled;
}
