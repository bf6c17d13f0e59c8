/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * queue_straight.c - how it works: the straight way of a request through a queue in which nothing is out of the ordinary.
 *
 * A queue is calm while it runs, nothing in it waits, nobody has to be told, and each part of its ring lies in one extent,
 * whose pointer it keeps. It is calm in one epoch of its space: whatever changes what addresses mean begins another, so
 * one comparison at each pop and push answers for everything that can have happened since the last one. Whatever disturbs
 * a queue from within ends it, too (viodma_queue_disturb).
 *
 * A chain of buffers each of which one mapping holds as a whole is taken: of one here, of more in
 * queue_chain.c. Both refuse nothing and require nothing: they take what is beyond doubt. What is not goes on in queue.c, from
 * the descriptor that was in doubt, with what was read from the ring so far, which is not read again (= DEV-11); what is
 * wrong with it, it says.
 */
#include "../base/require.h"
#include "straight.h"

/* ---- calm ---- */

/* Part of a ring as a whole; NULL: it does not lie in one extent, or not where it was granted so far. */
static struct viodma_shared *whole(struct viodma_queue *queue, struct viodma_space_part *part)
{
	struct viodma_space *space = queue->config.space;

	if (!viodma_space_part_holds(space, part)) {
		viodma_space_part_retry(part);
		viodma_ring_look(queue, part);
		if (!viodma_space_part_holds(space, part))
			return NULL;
	}
	return viodma_space_part_at(part, part == &queue->avail_part ? queue->setup.avail :
				    part == &queue->used_part	     ? queue->setup.used :
								       queue->setup.desc, 0);
}

static bool ordinary(const struct viodma_queue *queue)
{
	const struct viodma_queue_config *config = &queue->config;

	return queue->running && queue->broken == VIODMA_OK && !queue->parked_first && !queue->done_first &&
	       !queue->ring_waits && !queue->resume_due && queue->resume_next == queue->resume_count && !config->record &&
	       config->access == VIODMA_ACCESS_PIN && !config->space->events.touch && !queue->setup.in_order &&
	       !queue->setup.order_platform && viodma_ring_kicks_declined(queue);
}

bool viodma_queue_calm_down(struct viodma_queue *queue)
{
	struct viodma_space *space = queue->config.space;

	if (queue->calm_epoch == space->epoch || !ordinary(queue))
		return false;
	queue->desc = whole(queue, &queue->desc_part);
	if (!queue->desc)
		return false;
	if (queue->setup.packed) {
		queue->used = whole(queue, &queue->used_desc_part);
	} else {
		queue->used = whole(queue, &queue->used_part);
		queue->avail = whole(queue, &queue->avail_part);
		if (!queue->avail)
			return false;
	}
	if (!queue->used)
		return false;
	if (queue->windows_generation != space->generation) {
		viodma_space_window_empty(&queue->readable_window);
		viodma_space_window_empty(&queue->writable_window);
		viodma_space_view_empty(&queue->readable_view);
		viodma_space_view_empty(&queue->writable_view);
		viodma_space_view_empty(&queue->table_view);
		queue->windows_generation = space->generation;
	}
	queue->calm_epoch = space->epoch;
	return true;
}

/* ---- pop ---- */

/* A descriptor, private. Split: other is `next`; packed: the buffer id. */
struct descriptor {
	uint64_t address;
	uint32_t len;
	uint16_t flags, other;
};

enum viodma_result viodma_straight_doubtful(struct viodma_queue *queue, struct viodma_request **out, uint64_t address,
					    uint32_t len, uint32_t flags_other, uint32_t id)
{
	const viodma_le16 flags = viodma_le16_of((uint16_t)flags_other), other = viodma_le16_of((uint16_t)(flags_other >> 16));

	if (queue->setup.packed)
		queue->first = (struct virtq_packed_desc){viodma_le64_of(address), viodma_le32_of(len), other, flags};
	else
		viodma_straight_know(queue, address, len | (uint64_t)flags_other << 32);
	return viodma_queue_pop_known(queue, (uint16_t)id, !queue->setup.packed, out);
}

/* It is where the window is. */
static INLINE enum viodma_result take(struct viodma_queue *queue, struct viodma_request **out,
				      struct viodma_request *request, uint64_t address, uint32_t len, const bool writable,
				      bool packed)
{
	const struct viodma_space_window *window = writable ? &queue->writable_window : &queue->readable_window;
	const struct straight_sums sums = {writable ? 0 : len, writable ? len : 0, !writable, 1, !writable, 1};
	const uint16_t position = queue->next_avail;

	viodma_space_count(queue->config.space, 1, viodma_space_window_is_identity(window));
	straight_keep(request->segments, address, len, writable);
	request->pieces->memory = viodma_space_window_at(window, address);
	request->pieces->len_bytes = len;
	straight_fill(queue, request, sums, 1, false);
	queue->order[packed ? position & (VIODMA_RING_WRAP - 1u) : position & queue->mask] = request->head;
	queue->next_avail = packed ? viodma_ring_behind_one(queue, position) : (uint16_t)(position + 1);
	*out = request;
	return VIODMA_OK;
}

/* It is somewhere else than the last one, and not behind it. */
static APART enum viodma_result pop_searching(struct viodma_queue *queue, struct viodma_request **out, uint64_t address,
					      uint32_t len, uint32_t flags_other, struct viodma_request *request)
{
	const bool writable = flags_other & VIRTQ_DESC_F_WRITE;

	if (!viodma_space_window_move(queue->config.space, writable ? &queue->writable_window : &queue->readable_window, address,
				      address + (len - 1), writable ? VIODMA_WRITE : VIODMA_READ))
		return viodma_straight_doubtful(queue, out, address, len, flags_other, request->head);
	return take(queue, out, request, address, len, writable, queue->setup.packed);
}

static APART enum viodma_result pop_jumping(struct viodma_queue *queue, struct viodma_request **out, uint64_t address,
					    uint32_t len, uint32_t flags_other, struct viodma_request *request)
{
	struct viodma_space *space = queue->config.space;
	const uint64_t last = address + (len - 1);

	if (flags_other & VIRTQ_DESC_F_WRITE) {
		if (viodma_space_window_jumps(space, &queue->writable_window, address, last, VIODMA_WRITE))
			return take(queue, out, request, address, len, true, queue->setup.packed);
	} else {
		if (viodma_space_window_jumps(space, &queue->readable_window, address, last, VIODMA_READ))
			return take(queue, out, request, address, len, false, queue->setup.packed);
	}
	return pop_searching(queue, out, address, len, flags_other, request);
}

static INLINE enum viodma_result pop_several(struct viodma_queue *queue, struct viodma_request **out,
					     struct viodma_request *request, const struct descriptor *descriptor,
					     const bool packed)
{
	const uint64_t flags = descriptor->flags, other = descriptor->other;
	const uint64_t rest = descriptor->len | (packed ? flags << 48 | other << 32 : flags << 32 | other << 48);

	if (packed)
		return descriptor->flags & VIRTQ_DESC_F_INDIRECT ?
			       viodma_straight_table_packed(queue, out, request, descriptor->address, rest) :
			       viodma_straight_chain_packed(queue, out, request, descriptor->address, rest);
	return descriptor->flags & VIRTQ_DESC_F_INDIRECT ?
		       viodma_straight_table_split(queue, out, request, descriptor->address, rest) :
		       viodma_straight_chain_split(queue, out, request, descriptor->address, rest);
}

/* Pre: id is below the ring's size. */
static INLINE enum viodma_result pop_one(struct viodma_queue *queue, struct viodma_request **out,
					 const struct descriptor *descriptor, uint32_t id, const bool packed)
{
	struct viodma_request *request = &queue->requests[id];
	const uint64_t first = descriptor->address, last = first + (descriptor->len - 1);

	if (DOUBT(request->state != VIODMA_REQUEST_FREE) || (packed && DOUBT(queue->in_flight >= queue->setup.size)))
		return viodma_straight_doubtful(queue, out, first, descriptor->len, descriptor->flags | (uint32_t)descriptor->other << 16,
				    id);
	if (descriptor->flags & (VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_INDIRECT))
		return pop_several(queue, out, request, descriptor, packed);
	if (DOUBT(!descriptor->len) || DOUBT(last < first))
		return viodma_straight_doubtful(queue, out, first, descriptor->len, descriptor->flags | (uint32_t)descriptor->other << 16,
				    id);
	if (descriptor->flags & VIRTQ_DESC_F_WRITE) {
		if (viodma_space_window_holds(&queue->writable_window, first, last) ||
		    viodma_space_window_steps(queue->config.space, &queue->writable_window, first, last, VIODMA_WRITE))
			return take(queue, out, request, first, descriptor->len, true, packed);
	} else {
		if (viodma_space_window_holds(&queue->readable_window, first, last) ||
		    viodma_space_window_steps(queue->config.space, &queue->readable_window, first, last, VIODMA_READ))
			return take(queue, out, request, first, descriptor->len, false, packed);
	}
	return pop_jumping(queue, out, first, descriptor->len, descriptor->flags | (uint32_t)descriptor->other << 16, request);
}

static APART enum viodma_result pop_split(struct viodma_queue *queue, struct viodma_request **out)
{
	struct descriptor descriptor;
	struct viodma_shared *at;
	viodma_le64 address, rest;
	uint32_t head;

	if (queue->seen_avail == queue->next_avail) {
		const uint16_t index = viodma_shared_load_acquire16(viodma_shared_at(queue->avail, VIRTQ_AVAIL_IDX));

		if ((uint16_t)(index - queue->next_avail) - 1u > queue->mask)
			return viodma_queue_pop_slowly(queue, out); /* none, or too many: it is looked at again */
		queue->seen_avail = index;
	}
	head = viodma_shared_load16(viodma_shared_at(queue->avail, VIRTQ_AVAIL_RING(queue->next_avail & queue->mask)));
	if (DOUBT(head > queue->mask))
		return viodma_queue_pop_known(queue, (uint16_t)head, false, out);
	at = viodma_shared_at(queue->desc, head * sizeof(struct virtq_desc));
	viodma_shared_copy_in(&address, at, sizeof(address));
	viodma_shared_copy_in(&rest, viodma_shared_at(at, sizeof(address)), sizeof(rest));
	descriptor.address = viodma_le64_get(address);
	descriptor.len = (uint32_t)viodma_le64_get(rest);
	descriptor.flags = (uint16_t)(viodma_le64_get(rest) >> 32);
	descriptor.other = (uint16_t)(viodma_le64_get(rest) >> 48);
	return pop_one(queue, out, &descriptor, head, false);
}

static APART enum viodma_result pop_packed(struct viodma_queue *queue, struct viodma_request **out)
{
	struct viodma_shared *at = viodma_shared_at(queue->desc, (size_t)(queue->next_avail & (VIODMA_RING_WRAP - 1u)) *
									 sizeof(struct virtq_packed_desc));
	const uint16_t flags = viodma_shared_load_acquire16(viodma_shared_at(at, offsetof(struct virtq_packed_desc, flags)));
	struct descriptor descriptor = {.flags = flags};
	viodma_le64 address;
	viodma_le32 len;
	viodma_le16 id;

	if (!viodma_packed_available(flags, queue->next_avail))
		return viodma_queue_pop_slowly(queue, out);
	viodma_shared_copy_in(&address, at, sizeof(address));
	viodma_shared_copy_in(&len, viodma_shared_at(at, offsetof(struct virtq_packed_desc, len)), sizeof(len));
	viodma_shared_copy_in(&id, viodma_shared_at(at, offsetof(struct virtq_packed_desc, id)), sizeof(id));
	descriptor.address = viodma_le64_get(address);
	descriptor.len = viodma_le32_get(len);
	descriptor.other = viodma_le16_get(id);
	if (DOUBT(descriptor.other >= queue->setup.size))
		return viodma_straight_doubtful(queue, out, descriptor.address, descriptor.len, flags | (uint32_t)descriptor.other << 16,
				    descriptor.other);
	return pop_one(queue, out, &descriptor, descriptor.other, true);
}

enum viodma_result viodma_queue_pop(struct viodma_queue *queue, struct viodma_request **request)
{
	if (DOUBT(queue->calm_epoch != queue->config.space->epoch))
		return viodma_queue_pop_slowly(queue, request);
	return queue->setup.packed ? pop_packed(queue, request) : pop_split(queue, request);
}

/* ---- push ---- */

static INLINE void put_split(struct viodma_queue *queue, const struct viodma_request *request, uint32_t used_bytes)
{
	const uint32_t place = queue->next_used & queue->mask;

	viodma_shared_put64(viodma_shared_at(queue->used, VIRTQ_USED_RING(place)), request->head | (uint64_t)used_bytes << 32);
	viodma_shared_store_release16(viodma_shared_at(queue->used, VIRTQ_USED_IDX), ++queue->next_used);
}

static INLINE void put_packed(struct viodma_queue *queue, const struct viodma_request *request, uint32_t used_bytes)
{
	struct viodma_shared *at = viodma_shared_at(queue->used, (size_t)(queue->next_used & (VIODMA_RING_WRAP - 1u)) *
									 sizeof(struct virtq_packed_desc));
	uint16_t flags = used_bytes ? VIRTQ_DESC_F_WRITE : 0;

	if (queue->next_used & VIODMA_RING_WRAP)
		flags |= VIRTQ_PACKED_DESC_F_AVAIL | VIRTQ_PACKED_DESC_F_USED;
	viodma_shared_put32(viodma_shared_at(at, offsetof(struct virtq_packed_desc, len)), used_bytes);
	viodma_shared_put16(viodma_shared_at(at, offsetof(struct virtq_packed_desc, id)), request->head);
	viodma_shared_store_release16(viodma_shared_at(at, offsetof(struct virtq_packed_desc, flags)), flags);
	queue->next_used = request->count == 1 ? viodma_ring_behind_one(queue, queue->next_used) :
						 viodma_ring_behind(queue, queue->next_used, request->count);
}

void viodma_queue_push(struct viodma_queue *queue, struct viodma_request *request, uint32_t used_bytes)
{
	if (!VIODMA_REQUIRE(DEV_16, used_bytes <= request->writable_bytes))
		used_bytes = request->writable_bytes;
	if (DOUBT(queue->calm_epoch != queue->config.space->epoch)) {
		viodma_queue_push_slowly(queue, request, used_bytes);
		return;
	}
	/* Nothing is private of it, nothing of it waits: that it is in the used ring is all there is to it. */
	request->state = VIODMA_REQUEST_FREE;
	queue->submitted--;
	queue->in_flight -= request->count;
	queue->statistics.pushed++;
	queue->pushed_any = true;
	if (queue->unsignalled <= UINT32_MAX / 2)
		queue->unsignalled += request->count;
	if (queue->setup.packed)
		put_packed(queue, request, used_bytes);
	else
		put_split(queue, request, used_bytes);
}
