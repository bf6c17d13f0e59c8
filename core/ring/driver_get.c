/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver_get.c - how it works: what the device says that it has used, checked against the private shadow.
 *
 *   split    look at the used index when the last one seen is used up; fetch one element
 *   packed   look at the flags of the next descriptor that will be used; if they are those of this lap, fetch the rest of
 *            it; go on by as many descriptors as that chain had, which is private
 *
 * The device is trusted with nothing: an index is at most as far ahead as chains were published and have not come back;
 * an id is in range, and names a chain that is out, and was published. A chain added since the last publication carries
 * the number of the one to come (`batch`), so that a device that guesses it is noticed. Flags are looked at once: what
 * they say later is no matter, since the place is passed.
 *
 * IN_ORDER: an element says that its chain was used, and all that went before it; those come back first, from the shadow
 * alone. In a split ring the index must have moved by as many (DEV-23); in a packed one it is the place that moves.
 */
#include "driver_ring.h"

/* What the device says of one chain. */
struct said {
	uint32_t id, bytes;
};

/* Look at the used index. VIODMA_OK: there is something; VIODMA_EMPTY; VIODMA_PEER_USED_INDEX. */
VIODMA_DRIVER_INLINE enum viodma_result look_at_index(struct viodma_driver_queue *queue)
{
	/* Pairs with the device's release of the used index: elements and buffers are seen as it left them. */
	uint16_t index = viodma_shared_load_acquire16(viodma_shared_at(queue->used, VIRTQ_USED_IDX));

	if (index == queue->used_idx)
		return VIODMA_EMPTY;
	if (queue->order_platform)
		viodma_shared_platform_read_fence(); /* = DRV-23; pairs with the device's, before it moves the index */
	if (!VIODMA_REQUIRE(DEV_19,
			    (uint16_t)(index - queue->used_idx) <= (uint16_t)(queue->published_idx - queue->used_idx)))
		return viodma_driver_queue_break(queue, VIODMA_PEER_USED_INDEX);
	queue->seen_used = index;
	return VIODMA_OK;
}

VIODMA_DRIVER_INLINE enum viodma_result fetch_split(struct viodma_driver_queue *queue, struct said *said)
{
	struct virtq_used_elem element;
	enum viodma_result result;

	if (queue->seen_used == queue->used_idx) {
		result = look_at_index(queue);
		if (result != VIODMA_OK)
			return result;
	}
	viodma_shared_copy_in(&element,
			      viodma_shared_at(queue->used, VIRTQ_USED_RING(queue->used_idx & (queue->size - 1))),
			      sizeof(element));
	said->id = viodma_le32_get(element.id);
	said->bytes = viodma_le32_get(element.len);
	return VIODMA_OK;
}

/*
 * The length is looked at whether or not WRITE is set: devices there are leave it out, and a length that is not meant is
 * no more than one that is false.
 */
VIODMA_DRIVER_INLINE enum viodma_result fetch_packed(struct viodma_driver_queue *queue, struct said *said)
{
	struct viodma_shared *descriptor = viodma_shared_at(queue->desc, VIODMA_DRIVER_DESC(queue->used_idx));
	/* Pairs with the device's release of these flags: the descriptor and buffers are seen as it left them. */
	uint16_t flags = viodma_shared_load_acquire16(viodma_shared_at(descriptor, VIODMA_DRIVER_PACKED_FLAGS));
	struct {
		viodma_le32 len;
		viodma_le16 id;
	} used;

	if ((flags & VIODMA_DRIVER_LAP) != queue->used_flags)
		return VIODMA_EMPTY;
	if (queue->order_platform)
		viodma_shared_platform_read_fence(); /* = DRV-23; pairs with the device's, before it writes the flags */
	viodma_shared_copy_in(&used, viodma_shared_at(descriptor, VIODMA_DRIVER_PACKED_LEN), 6);
	said->id = viodma_le16_get(used.id);
	said->bytes = viodma_le32_get(used.len);
	return VIODMA_OK;
}

/* A chain out of the shadow, the next of several that were used at once. */
VIODMA_DRIVER_INLINE void next_in_order(struct viodma_driver_queue *queue, struct said *said)
{
	said->id = queue->oldest;
	said->bytes = --queue->in_order_left ? queue->chains[said->id].writable_bytes : queue->in_order_bytes;
}

/* `said` is used, and all before it: begin with the oldest. */
static enum viodma_result begin_in_order(struct viodma_driver_queue *queue, struct said *said)
{
	uint32_t more = queue->chains[said->id].sequence - queue->chains[queue->oldest].sequence;

	if (!queue->packed &&
	    !VIODMA_REQUIRE(DEV_23, more < (uint16_t)(queue->seen_used - queue->used_idx)))
		return viodma_driver_queue_break(queue, VIODMA_PEER_USED_ORDER);
	queue->in_order_left = more + 1;
	queue->in_order_bytes = said->bytes;
	next_in_order(queue, said);
	return VIODMA_OK;
}

/* The used length as far as it can be true (DEV-16). */
static enum viodma_result beyond(struct viodma_driver_queue *queue, struct said *said)
{
	uint32_t writable = queue->chains[said->id].writable_bytes;

	if (queue->config.strict)
		return viodma_driver_queue_break(queue, VIODMA_PEER_USED_LENGTH);
	queue->statistics.clamped++;
	if (queue->config.clamped)
		queue->config.clamped(queue->config.context, queue->config.index, said->bytes, writable);
	said->bytes = writable;
	return VIODMA_OK;
}

/* What comes next, fetched and checked. */
VIODMA_DRIVER_INLINE enum viodma_result next(struct viodma_driver_queue *queue, struct said *said, bool packed)
{
	const struct viodma_driver_chain *chain;
	enum viodma_result result;

	if (queue->in_order_left) {
		next_in_order(queue, said);
		return VIODMA_OK;
	}
	result = packed ? fetch_packed(queue, said) : fetch_split(queue, said);
	if (result != VIODMA_OK)
		return result;
	if (!VIODMA_REQUIRE(DEV_19, said->id < queue->size))
		return viodma_driver_queue_break(queue, VIODMA_PEER_USED_ID);
#ifdef VIODMA_TEST_BUILD
	said->id %= queue->size; /* holds already; keeps a mutant inside its own memory */
#endif
	chain = &queue->chains[said->id];
	if (!VIODMA_REQUIRE(DRV_21, chain->token && chain->batch != queue->batch))
		return viodma_driver_queue_break(queue, VIODMA_PEER_USED_TWICE);
	return queue->in_order ? begin_in_order(queue, said) : VIODMA_OK;
}

VIODMA_DRIVER_INLINE enum viodma_result get(struct viodma_driver_queue *queue,
					    struct viodma_driver_completion *completion, bool packed)
{
	enum viodma_result result;
	uint32_t descriptors;
	struct said said;

	if (queue->broken != VIODMA_OK)
		return queue->broken;
	result = next(queue, &said, packed);
	if (result != VIODMA_OK)
		return result;
	if (!VIODMA_REQUIRE(DEV_16, said.bytes <= queue->chains[said.id].writable_bytes)) {
		result = beyond(queue, &said);
		if (result != VIODMA_OK)
			return result;
	}
	completion->token = queue->chains[said.id].token;
	completion->written_bytes = said.bytes;
	descriptors = viodma_driver_chain_end(queue, said.id, packed);
	if (packed)
		viodma_driver_go_on(&queue->used_idx, &queue->used_flags, descriptors, queue->size);
	else
		queue->used_idx++;
	queue->statistics.got++;
	return VIODMA_OK;
}

VIODMA_DRIVER_INLINE enum viodma_result get_batch(struct viodma_driver_queue *queue,
						  struct viodma_driver_completion *completions, uint32_t capacity,
						  uint32_t *count, bool packed)
{
	enum viodma_result result = VIODMA_OK;
	uint32_t i;

	for (i = 0; i < capacity; i++) {
		result = get(queue, &completions[i], packed);
		if (result != VIODMA_OK)
			break;
	}
	*count = i;
	return i ? VIODMA_OK : result;
}

enum viodma_result viodma_driver_queue_get(struct viodma_driver_queue *queue,
					   struct viodma_driver_completion *completion)
{
	return queue->packed ? get(queue, completion, true) : get(queue, completion, false);
}

enum viodma_result viodma_driver_queue_get_batch(struct viodma_driver_queue *queue,
						 struct viodma_driver_completion *completions, uint32_t capacity,
						 uint32_t *count)
{
	return queue->packed ? get_batch(queue, completions, capacity, count, true)
			     : get_batch(queue, completions, capacity, count, false);
}
