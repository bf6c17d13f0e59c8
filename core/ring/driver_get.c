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

/* How far it has come; in registers while several are fetched. */
struct place {
	uint32_t at, flags; /* flags: packed */
};

/* Look at the used index. VIODMA_OK: there is something; VIODMA_EMPTY; VIODMA_PEER_USED_INDEX. */
VIODMA_DRIVER_INLINE enum viodma_result look_at_index(struct viodma_driver_queue *queue, uint16_t here)
{
	/* Pairs with the device's release of the used index: elements and buffers are seen as it left them. */
	uint16_t index = viodma_shared_load_acquire16(viodma_shared_at(queue->used, VIRTQ_USED_IDX));

	if (index == here)
		return VIODMA_EMPTY;
	if (queue->order_platform)
		viodma_shared_platform_read_fence(); /* = DRV-23; pairs with the device's, before it moves the index */
	if (!VIODMA_REQUIRE(DEV_19,
			    (uint16_t)(index - here) <= (uint16_t)(queue->published_idx - here)))
		return viodma_driver_queue_break(queue, VIODMA_PEER_USED_INDEX);
	queue->seen_used = index;
	return VIODMA_OK;
}

/* What the device says of one chain: *id, and how many bytes it wrote. */
VIODMA_DRIVER_INLINE enum viodma_result fetch_split(struct viodma_driver_queue *queue, const struct place *place, uint32_t *id,
						    uint32_t *bytes)
{
	struct virtq_used_elem element;
	enum viodma_result result;

	if (queue->seen_used == (uint16_t)place->at) {
		result = look_at_index(queue, (uint16_t)place->at);
		if (result != VIODMA_OK)
			return result;
	}
	viodma_shared_copy_in(&element,
			      viodma_shared_at(queue->used, VIRTQ_USED_RING(place->at & (queue->size - 1))),
			      sizeof(element));
	*id = viodma_le32_get(element.id);
	*bytes = viodma_le32_get(element.len);
	return VIODMA_OK;
}

/*
 * The length is looked at whether or not WRITE is set: devices there are leave it out, and a length that is not meant is
 * no more than one that is false.
 */
VIODMA_DRIVER_INLINE enum viodma_result fetch_packed(struct viodma_driver_queue *queue, const struct place *place, uint32_t *id,
						     uint32_t *bytes)
{
	struct viodma_shared *descriptor = viodma_shared_at(queue->desc, VIODMA_DRIVER_DESC(place->at));
	/* Pairs with the device's release of these flags: the descriptor and buffers are seen as it left them. */
	uint16_t flags = viodma_shared_load_acquire16(viodma_shared_at(descriptor, VIODMA_DRIVER_PACKED_FLAGS));

	if ((flags & VIODMA_DRIVER_LAP) != place->flags)
		return VIODMA_EMPTY;
	if (queue->order_platform)
		viodma_shared_platform_read_fence(); /* = DRV-23; pairs with the device's, before it writes the flags */
	viodma_shared_expect(descriptor, VIODMA_SHARED_LINE_BYTES); /* to be got, and then added anew */
	*id = viodma_shared_load16(viodma_shared_at(descriptor, VIODMA_DRIVER_PACKED_ID));
	*bytes = viodma_shared_load32(viodma_shared_at(descriptor, VIODMA_DRIVER_PACKED_LEN));
	return VIODMA_OK;
}

/* Fetched, and checked: it is a chain that is out, and was published. */
VIODMA_DRIVER_INLINE enum viodma_result fetch(struct viodma_driver_queue *queue, const struct place *place,
					      uint32_t *id, uint32_t *bytes, bool packed)
{
	const struct viodma_driver_chain *chain;
	enum viodma_result result = packed ? fetch_packed(queue, place, id, bytes)
					   : fetch_split(queue, place, id, bytes);

	if (result != VIODMA_OK)
		return result;
	if (!VIODMA_REQUIRE(DEV_19, *id < queue->size))
		return viodma_driver_queue_break(queue, VIODMA_PEER_USED_ID);
#ifdef VIODMA_TEST_BUILD
	*id %= queue->size; /* holds already; keeps a mutant inside its own memory */
#endif
	chain = &queue->chains[*id];
	if (!VIODMA_REQUIRE(DRV_21, chain->token && chain->batch != queue->batch))
		return viodma_driver_queue_break(queue, VIODMA_PEER_USED_TWICE);
	return VIODMA_OK;
}

/* In order: the next chain of several that were used at once, out of the shadow; or fetch, and begin with the oldest. */
VIODMA_DRIVER_INLINE enum viodma_result fetch_in_order(struct viodma_driver_queue *queue, const struct place *place,
						       uint32_t *id, uint32_t *bytes, bool packed)
{
	enum viodma_result result;
	uint32_t before;

	if (!queue->in_order_left) {
		result = fetch(queue, place, id, bytes, packed);
		if (result != VIODMA_OK)
			return result;
		before = queue->chains[*id].sequence - queue->chains[queue->oldest].sequence;
		if (!packed && !VIODMA_REQUIRE(DEV_23, before < (uint16_t)(queue->seen_used - place->at)))
			return viodma_driver_queue_break(queue, VIODMA_PEER_USED_ORDER);
		queue->in_order_left = before + 1;
		queue->in_order_bytes = *bytes;
	}
	*id = queue->oldest;
	*bytes = --queue->in_order_left ? queue->chains[*id].writable_bytes : queue->in_order_bytes;
	return VIODMA_OK;
}

/* The device says that it wrote more than there is room for (DEV-16). VIODMA_OK: it counts as all of it. */
static VIODMA_DRIVER_APART enum viodma_result beyond(struct viodma_driver_queue *queue, uint32_t bytes, uint32_t writable)
{
	if (queue->config.strict)
		return viodma_driver_queue_break(queue, VIODMA_PEER_USED_LENGTH);
	queue->statistics.clamped++;
	if (queue->config.clamped)
		queue->config.clamped(queue->config.context, queue->config.index, bytes, writable);
	return VIODMA_OK;
}

/* So many descriptors further on. */
VIODMA_DRIVER_INLINE void go_on(const struct viodma_driver_queue *queue, struct place *place, uint32_t descriptors,
				bool packed)
{
	if (!packed) {
		place->at++;
	} else if (descriptors == 1 && place->at + 1 < queue->size) {
		/* Where it goes on is guessed while the shadow is still being read: the barrier keeps it a guess. */
		place->at++;
		__asm__ volatile("" : "+r"(place->at));
	} else {
		viodma_driver_go_on(&place->at, &place->flags, descriptors, queue->size);
	}
}

/* The next one. Place, `out` and statistics are the caller's to note. */
VIODMA_DRIVER_INLINE enum viodma_result get(struct viodma_driver_queue *queue, struct place *place,
					    struct viodma_driver_completion *completion, bool packed, bool in_order)
{
	struct viodma_driver_chain *chain;
	enum viodma_result result;
	uint32_t id, bytes;

	result = in_order ? fetch_in_order(queue, place, &id, &bytes, packed) : fetch(queue, place, &id, &bytes, packed);
	if (result != VIODMA_OK)
		return result;
	chain = &queue->chains[id];
	if (!VIODMA_REQUIRE(DEV_16, bytes <= chain->writable_bytes)) {
		result = beyond(queue, bytes, chain->writable_bytes);
		if (result != VIODMA_OK)
			return result;
		bytes = chain->writable_bytes;
	}
	completion->token = chain->token;
	completion->written_bytes = bytes;
	go_on(queue, place, viodma_driver_chain_end(queue, id, packed, in_order), packed);
	return VIODMA_OK;
}

VIODMA_DRIVER_INLINE enum viodma_result get_batch(struct viodma_driver_queue *queue,
						  struct viodma_driver_completion *completions, uint32_t capacity,
						  uint32_t *count, bool packed, bool in_order)
{
	struct place place = {queue->used_idx, queue->used_flags};
	enum viodma_result result = VIODMA_OK;
	uint32_t i;

	for (i = 0; i < capacity; i++) {
		result = get(queue, &place, &completions[i], packed, in_order);
		if (result != VIODMA_OK)
			break;
	}
	queue->used_idx = place.at;
	queue->used_flags = place.flags;
	queue->out -= i;
	queue->statistics.got += i;
	*count = i;
	return i ? VIODMA_OK : result;
}

/* Apart, for what it adds to the way of those that are not in order is too much. */
static VIODMA_DRIVER_APART enum viodma_result get_in_order(struct viodma_driver_queue *queue,
							   struct viodma_driver_completion *completions,
							   uint32_t capacity, uint32_t *count)
{
	return queue->packed ? get_batch(queue, completions, capacity, count, true, true)
			     : get_batch(queue, completions, capacity, count, false, true);
}

static VIODMA_DRIVER_APART enum viodma_result get_packed(struct viodma_driver_queue *queue,
							 struct viodma_driver_completion *completions,
							 uint32_t capacity, uint32_t *count)
{
	return get_batch(queue, completions, capacity, count, true, false);
}

static VIODMA_DRIVER_APART enum viodma_result get_split(struct viodma_driver_queue *queue,
							struct viodma_driver_completion *completions, uint32_t capacity,
							uint32_t *count)
{
	return get_batch(queue, completions, capacity, count, false, false);
}

enum viodma_result viodma_driver_queue_get_batch(struct viodma_driver_queue *queue,
						 struct viodma_driver_completion *completions, uint32_t capacity,
						 uint32_t *count)
{
	if (queue->broken != VIODMA_OK) {
		*count = 0;
		return queue->broken;
	}
	if (queue->in_order)
		return get_in_order(queue, completions, capacity, count);
	return queue->packed ? get_packed(queue, completions, capacity, count)
			     : get_split(queue, completions, capacity, count);
}

enum viodma_result viodma_driver_queue_get(struct viodma_driver_queue *queue,
					   struct viodma_driver_completion *completion)
{
	uint32_t count;

	return viodma_driver_queue_get_batch(queue, completion, 1, &count);
}
