/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ring.h - what the files of this room's device half share.
 *
 *   queue_straight.c  pop and push of what is beyond doubt, while nothing is out of the ordinary
 *   queue_chain.c     the same of chains of several buffers; straight.h: what both need
 *   queue.c       all other ways of pop and push: the state machine of requests
 *   queue_life.c  its memory, start, stop, reset
 *   words.c       what split and packed rings have in common: reaching a ring's words, who wants to be notified
 *   split.c       a split ring's words: available index and entries, used elements
 *   packed.c      a packed ring's words: flags of descriptors, used descriptors, event suppression
 *   walk.c        THE walker: every chain of every queue, split and packed, direct and indirect
 *   record.c      the record of what is in flight: what is taken, returned, and resumed after a start
 *   request.c     one request's memory: translate, pin or copy, read, write, pieces
 */
#ifndef VIODMA_RING_RING_H
#define VIODMA_RING_RING_H

#include <viodma/queue.h>

#include "../base/shared.h"
#include "../space/access.h"

#define VIODMA_RING_WRAP (1u << VIRTQ_PACKED_WRAP_BIT)

/* ---- positions: split, an index that runs freely; packed, a place and its wrap counter ---- */

static inline uint32_t viodma_ring_place(const struct viodma_queue *queue, uint16_t position)
{
	return position & (queue->setup.packed ? VIODMA_RING_WRAP - 1u : queue->setup.size - 1u);
}

/* Pre: count is at most the ring's size. */
static inline uint16_t viodma_ring_behind(const struct viodma_queue *queue, uint16_t position, uint32_t count)
{
	uint32_t place;

	if (!queue->setup.packed)
		return (uint16_t)(position + count);
	place = (position & (VIODMA_RING_WRAP - 1u)) + count;
	if (place < queue->setup.size)
		return (uint16_t)((position & VIODMA_RING_WRAP) | place);
	return (uint16_t)(((position & VIODMA_RING_WRAP) ^ VIODMA_RING_WRAP) | (place - queue->setup.size));
}

/* Packed: the next one. */
static inline uint16_t viodma_ring_behind_one(const struct viodma_queue *queue, uint16_t position)
{
	const uint16_t next = (uint16_t)(position + 1);

	if ((next & (VIODMA_RING_WRAP - 1u)) != queue->last_place)
		return next;
	return (uint16_t)((position ^ VIODMA_RING_WRAP) & VIODMA_RING_WRAP);
}

static inline uint16_t viodma_ring_before(const struct viodma_queue *queue, uint16_t position, uint32_t count)
{
	uint32_t place;

	if (!queue->setup.packed)
		return (uint16_t)(position - count);
	place = position & (VIODMA_RING_WRAP - 1u);
	if (place >= count)
		return (uint16_t)(position - count);
	return (uint16_t)(((position & VIODMA_RING_WRAP) ^ VIODMA_RING_WRAP) | (place + queue->setup.size - count));
}

/* Where both positions stand. */
static inline uint32_t viodma_ring_base(const struct viodma_queue *queue)
{
	return queue->setup.packed ? (uint32_t)queue->next_used << 16 | queue->next_avail : queue->next_avail;
}

/* Do its positions exist? */
static inline bool viodma_ring_base_holds(const struct viodma_queue_setup *setup, uint32_t base)
{
	const uint32_t place = VIODMA_RING_WRAP - 1u;

	return !setup->packed || ((base & place) < setup->size && (base >> 16 & place) < setup->size);
}

/* Is a descriptor with these flags available to a device at this position? */
static inline bool viodma_packed_available(uint16_t flags, uint16_t position)
{
	const uint32_t both = VIRTQ_PACKED_DESC_F_AVAIL | VIRTQ_PACKED_DESC_F_USED;

	return (flags & both) == (position & VIODMA_RING_WRAP ? VIRTQ_PACKED_DESC_F_AVAIL : VIRTQ_PACKED_DESC_F_USED);
}

static inline viodma_bus viodma_ring_at(viodma_bus base, uint32_t offset)
{
	return (viodma_bus){base.v + offset};
}

/* Packed: the flags of the descriptor at a position. */
static inline viodma_bus viodma_packed_flags_at(const struct viodma_queue *queue, uint16_t position)
{
	return viodma_ring_at(queue->setup.desc,
			      viodma_ring_place(queue, position) * (uint32_t)sizeof(struct virtq_packed_desc) +
				      (uint32_t)offsetof(struct virtq_packed_desc, flags));
}

/* ---- words.c ---- */

/* The ring itself could not be reached: remember what for. Returns VIODMA_WAIT for a miss, else the fault. */
VIODMA_SELDOM enum viodma_result viodma_ring_park(struct viodma_queue *queue, enum viodma_result result, viodma_bus bus,
				    enum viodma_permission permission);

/* One ring word's memory, of 2 or 4 bytes. VIODMA_OK, or the queue is parked. */
static inline enum viodma_result viodma_ring_word(struct viodma_queue *queue, struct viodma_space_cache *cache,
						  viodma_bus bus, uint32_t bytes, enum viodma_permission permission,
						  struct viodma_shared **memory)
{
	viodma_bus missed = bus;
	enum viodma_result result = viodma_space_word(queue->config.space, cache, queue->config.index, bus, bytes,
						      permission, memory, &missed);

	return result == VIODMA_OK ? VIODMA_OK : viodma_ring_park(queue, result, missed, permission);
}

/* An access to this part has succeeded: from now on it may be used without looking, if it lies in one extent. */
VIODMA_SELDOM void viodma_ring_look(struct viodma_queue *queue, struct viodma_space_part *part);

/* viodma_ring_word, then viodma_ring_look. */
VIODMA_SELDOM enum viodma_result viodma_ring_find_word(struct viodma_queue *queue, struct viodma_space_part *part,
						       struct viodma_space_cache *cache, viodma_bus bus, uint32_t bytes,
						       enum viodma_permission permission, struct viodma_shared **memory);

/* The same, of a part that lies in one extent, most likely; base is its first byte. */
static inline enum viodma_result viodma_ring_part_word(struct viodma_queue *queue, struct viodma_space_part *part,
						       struct viodma_space_cache *cache, viodma_bus base, uint32_t offset,
						       uint32_t bytes, enum viodma_permission permission,
						       struct viodma_shared **memory)
{
	if (!viodma_space_part_holds(queue->config.space, part)) {
		struct viodma_shared *found = NULL; /* on the stack, where *memory need not be */
		enum viodma_result result = viodma_ring_find_word(queue, part, cache, viodma_ring_at(base, offset), bytes,
								  permission, &found);

		*memory = found;
		return result;
	}
	*memory = viodma_space_part_at(part, base, offset);
	return VIODMA_OK;
}

/*
 * A word about calls in the available ring, or the driver event suppression; false: out of reach, which parks nothing: one
 * call too many does no harm.
 */
static inline bool viodma_ring_call_word(struct viodma_queue *queue, uint32_t offset, uint32_t bytes,
					 struct viodma_shared **memory)
{
	struct viodma_shared *found = NULL;
	viodma_bus missed;

	if (viodma_space_part_holds(queue->config.space, &queue->avail_part))
		found = viodma_space_part_at(&queue->avail_part, queue->setup.avail, offset);
	else if (viodma_space_word(queue->config.space, &queue->avail_cache, queue->config.index,
				   viodma_ring_at(queue->setup.avail, offset), bytes, VIODMA_READ, &found, &missed) != VIODMA_OK)
		return false;
	else
		viodma_ring_look(queue, &queue->avail_part);
	*memory = found;
	return true;
}

/* Say from where on the next kick is wanted; behind a full fence. */
enum viodma_result viodma_ring_ask_for_kick(struct viodma_queue *queue);

/*
 * Does the driver know, as well as it may, that no kick is wanted while there is work?
 *
 * An event index that is not moved on lies behind once its kick has come, so it declines by itself: the split ring's for
 * 2^16 entries. The packed ring's only for a lap, and the word a fresh ring begins with asks for each kick. A ring that is
 * polled says so, because nothing needs to have come since it asked.
 */
static inline bool viodma_ring_kicks_declined(const struct viodma_queue *queue)
{
	return queue->no_notify || (queue->setup.event_idx && !queue->polled);
}

/* Unless that is so: no kicks while there is work. */
void viodma_ring_decline_kicks(struct viodma_queue *queue);

/* Barriers as shared.h describes them, those of the platform with them where they were asked for (= DRV-23). */
static inline void viodma_ring_read_fence(const struct viodma_queue *queue)
{
	if (queue->setup.order_platform)
		viodma_shared_platform_read_fence();
}

static inline void viodma_ring_write_fence(const struct viodma_queue *queue)
{
	if (queue->setup.order_platform)
		viodma_shared_platform_write_fence();
}

static inline void viodma_ring_fence(const struct viodma_queue *queue)
{
	viodma_shared_fence();
	if (queue->setup.order_platform)
		viodma_shared_platform_fence();
}

/* ---- split.c, packed.c ---- */

/*
 * The head of the next available chain, unchecked; packed: queue->first, its first descriptor, private. VIODMA_OK, VIODMA_EMPTY
 * (kicks have been asked for), VIODMA_WAIT, VIODMA_FAULT_*, VIODMA_PEER_*. Does not advance next_avail.
 */
enum viodma_result viodma_split_next_head(struct viodma_queue *queue, uint16_t *head);
enum viodma_result viodma_packed_next(struct viodma_queue *queue);

/* Put one used element into the ring and publish it. VIODMA_OK, VIODMA_WAIT, VIODMA_FAULT_*. Repeatable until OK. */
enum viodma_result viodma_split_put_used(struct viodma_queue *queue, uint16_t head, uint32_t used_bytes);
enum viodma_result viodma_packed_put_used(struct viodma_queue *queue, uint16_t id, uint32_t used_bytes);

/* Does the driver's word about calls name one of the last queue->unsignalled entries used, of `unsignalled`? */
bool viodma_split_call_wanted(struct viodma_queue *queue, uint32_t unsignalled);
bool viodma_packed_call_wanted(struct viodma_queue *queue, uint32_t unsignalled);

/* ---- walk.c ---- */

/*
 * Fetch the chain of a request into its segments, from where it stood. VIODMA_OK: request->result is VIODMA_OK, or why
 * it cannot be served. VIODMA_WAIT: the ring's own table missed, start over later. VIODMA_MISS: an indirect table
 * missed; the request's wait address is set. VIODMA_PEER_*, VIODMA_FAULT_* (ring's own table): the ring is at fault.
 * Packed: walk_id is the buffer id once it is known, that is, in every case but those of the ring's own table.
 */
enum viodma_result viodma_walk_chain(struct viodma_request *request);

/* ---- record.c ---- */

/* What the record lists. VIODMA_OK, VIODMA_WAIT, VIODMA_FAULT_*, VIODMA_PEER_RECORD. */
enum viodma_result viodma_record_resume(struct viodma_queue *queue);

/* The slot of the next chain listed, which is queue->resuming from now on; its next descriptor. Or VIODMA_PEER_RECORD. */
enum viodma_result viodma_record_next(struct viodma_queue *queue, struct viodma_request **slot);
enum viodma_result viodma_record_fetch(struct viodma_request *request, struct virtq_packed_desc *wire);
/* It is fetched. */
void viodma_record_took(struct viodma_queue *queue, struct viodma_request *request);

/* A chain of the ring is fetched; packed: its descriptors are queue->raw. Pre: there is a record. */
void viodma_record_taken(struct viodma_queue *queue, const struct viodma_request *request);

/* ---- request.c ---- */

/* Translate all of a fetched request: VIODMA_OK (pinned or copied in, or result says why not), VIODMA_MISS, WAIT. */
enum viodma_result viodma_request_bind(struct viodma_request *request);

/* Is there room in the IOTLB for the pages of this request, beside those of the others that wait? */
bool viodma_request_may_ask(struct viodma_request *request);

/* COPY mode: write what the device wrote to the driver's memory. VIODMA_OK, VIODMA_MISS, VIODMA_FAULT_*. */
enum viodma_result viodma_request_copy_out(struct viodma_request *request);

/* Give up pins and private memory. */
void viodma_request_release(struct viodma_request *request);

/* Write the last bytes of the writable part, straight to the driver's memory. As viodma_space_write. */
enum viodma_result viodma_request_write_tail(struct viodma_request *request, const void *tail, uint32_t tail_bytes);

/* ---- queue_straight.c ---- */

/* Something is out of the ordinary, or will be: until the queue has looked at all of it again. */
static inline void viodma_queue_disturb(struct viodma_queue *queue)
{
	queue->calm_epoch = 0;
}

/* Is nothing out of the ordinary, which it was not known to be? Then the straight way is open. */
bool viodma_queue_calm_down(struct viodma_queue *queue);

/* ---- queue.c ---- */

/* viodma_queue_pop, viodma_queue_push, whatever the queue's state. used_bytes is what the request can have. */
VIODMA_SELDOM enum viodma_result viodma_queue_pop_slowly(struct viodma_queue *queue, struct viodma_request **request);
VIODMA_SELDOM void viodma_queue_push_slowly(struct viodma_queue *queue, struct viodma_request *request, uint32_t used_bytes);

/*
 * viodma_queue_pop, when the next chain's head (packed: buffer id in its first descriptor) was read, unchecked; and split,
 * if first_known, its first descriptor, which is queue->known; packed, always, queue->first.
 */
VIODMA_SELDOM enum viodma_result viodma_queue_pop_known(struct viodma_queue *queue, uint16_t head, bool first_known,
							struct viodma_request **request);

/* Begin a chain in this slot. Then its members may say how far it was walked. */
void viodma_queue_begin(struct viodma_queue *queue, struct viodma_request *request);

/* viodma_queue_pop of the chain that was begun there; if is_known, what comes next in it was read: queue->known. */
VIODMA_SELDOM enum viodma_result viodma_queue_pop_begun(struct viodma_queue *queue, struct viodma_request *request,
							bool is_known, struct viodma_request **out);

/* For the space: does a request that the device has overlap? */
bool viodma_queue_overlaps(struct viodma_space_user *user, uint64_t first, uint64_t last,
			   enum viodma_space_addresses which);

/* Take it out of the list of parked ones. Make it free. */
void viodma_queue_unpark(struct viodma_queue *queue, struct viodma_request *request);
void viodma_queue_free_request(struct viodma_queue *queue, struct viodma_request *request);

/* Forget those that are parked or done; how many there were. */
uint32_t viodma_queue_drop_held(struct viodma_queue *queue);

/* Finish what is DONE and can be finished now. */
void viodma_queue_flush_done(struct viodma_queue *queue);

#endif
