/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * words.c - how it works: what split and packed rings have in common, device half.
 *
 * The parts of a ring are bus addresses: each access translates, through a last-hit cache per part, so that a revoked
 * ring is noticed at the next word. A part that lies in one extent as a whole, as most do, is translated as a whole; then
 * each access only asks whether the space still is as it was. A part that misses parks the queue.
 *
 * Kicks: with EVENT_IDX the device says where it wants the next one, when it finds the ring empty; without, it declines
 * them while it works. Then it looks again, behind a full fence: the driver either sees the wish, or has been seen. Split
 * rings say it in the used ring, in the flags or the event index; packed rings in the device event suppression structure,
 * which is one word, written in one go.
 */
#include "ring.h"

/* What the word about kicks says. */
enum wish { ANY_KICK, NO_KICK, KICK_AT_EVENT };

struct wish_word {
	viodma_bus bus;
	uint32_t bytes, number;
};

static struct wish_word word_of(const struct viodma_queue *queue, enum wish wish)
{
	struct wish_word word = {queue->setup.used, sizeof(uint16_t), 0};

	if (queue->setup.packed) {
		word.bytes = VIRTQ_PACKED_EVENT_BYTES;
		if (wish == KICK_AT_EVENT)
			word.number = VIRTQ_PACKED_EVENT_DESC << 16 | queue->next_avail;
		else
			word.number = (wish == ANY_KICK ? VIRTQ_PACKED_EVENT_ENABLE : VIRTQ_PACKED_EVENT_DISABLE) << 16;
	} else if (wish == KICK_AT_EVENT) {
		word.bus = viodma_ring_at(word.bus, VIRTQ_USED_AVAIL_EVENT(queue->setup.size));
		word.number = queue->next_avail;
	} else if (queue->setup.event_idx) { /* any kick: the entry seen last is the event; none: one half a turn away */
		word.bus = viodma_ring_at(word.bus, VIRTQ_USED_AVAIL_EVENT(queue->setup.size));
		word.number = wish == NO_KICK ? queue->next_avail + 0x8000u : queue->seen_avail;
	} else {
		word.bus = viodma_ring_at(word.bus, VIRTQ_USED_FLAGS);
		word.number = wish == NO_KICK ? VIRTQ_USED_F_NO_NOTIFY : 0;
	}
	return word;
}

static void store(struct viodma_shared *memory, const struct wish_word *word)
{
	if (word->bytes == sizeof(uint32_t))
		viodma_shared_store32(memory, word->number);
	else
		viodma_shared_store16(memory, (uint16_t)word->number);
}

/* A ring out of reach is not parked for it: it just gets more kicks, or fewer. */
static bool say_if_reachable(struct viodma_queue *queue, enum wish wish)
{
	const struct wish_word word = word_of(queue, wish);
	struct viodma_shared *memory;
	struct viodma_extent extent;
	viodma_bus missed;

	if (viodma_space_translate(queue->config.space, &queue->used_cache, word.bus, VIODMA_WRITE, &extent) != VIODMA_OK ||
	    viodma_space_word(queue->config.space, &queue->used_cache, queue->config.index, word.bus, word.bytes,
			      VIODMA_WRITE, &memory, &missed) != VIODMA_OK)
		return false;
	store(memory, &word);
	return true;
}

enum viodma_result viodma_ring_park(struct viodma_queue *queue, enum viodma_result result, viodma_bus bus,
				    enum viodma_permission permission)
{
	queue->ring_wait_bus = bus;
	queue->ring_wait_permission = permission;
	queue->ring_wait_epoch = queue->config.space->epoch;
	queue->ring_waits = true;
	viodma_queue_disturb(queue);
	queue->ring_faulted = result != VIODMA_MISS;
	/* It waits for a kick: the very next one is wanted. If that cannot be said, either, there is no way. */
	if (queue->ring_faulted && say_if_reachable(queue, ANY_KICK))
		queue->no_notify = queue->armed_valid = false;
	return result == VIODMA_MISS ? VIODMA_WAIT : result;
}

void viodma_ring_look(struct viodma_queue *queue, struct viodma_space_part *part)
{
	const struct viodma_queue_setup *setup = &queue->setup;
	struct viodma_space *space = queue->config.space;
	const uint32_t n = setup->size;

	if (part == &queue->desc_part)
		viodma_space_part_look(space, part, &queue->desc_cache, setup->desc, VIRTQ_DESC_BYTES(n), VIODMA_READ, 2);
	else if (part == &queue->used_desc_part)
		viodma_space_part_look(space, part, &queue->used_desc_cache, setup->desc, VIRTQ_DESC_BYTES(n), VIODMA_WRITE,
				       2);
	else if (part == &queue->avail_part)
		viodma_space_part_look(space, part, &queue->avail_cache, setup->avail,
				       setup->packed ? VIRTQ_PACKED_EVENT_BYTES : VIRTQ_AVAIL_BYTES(n), VIODMA_READ,
				       setup->packed ? 4 : 2);
	else
		viodma_space_part_look(space, part, &queue->used_cache, setup->used,
				       setup->packed ? VIRTQ_PACKED_EVENT_BYTES : VIRTQ_USED_BYTES(n), VIODMA_WRITE,
				       setup->packed ? 4 : 2);
}

enum viodma_result viodma_ring_find_word(struct viodma_queue *queue, struct viodma_space_part *part,
					 struct viodma_space_cache *cache, viodma_bus bus, uint32_t bytes,
					 enum viodma_permission permission, struct viodma_shared **memory)
{
	enum viodma_result result = viodma_ring_word(queue, cache, bus, bytes, permission, memory);

	if (result == VIODMA_OK)
		viodma_ring_look(queue, part);
	return result;
}

enum viodma_result viodma_ring_ask_for_kick(struct viodma_queue *queue)
{
	const bool by_event = queue->setup.event_idx;

	if (queue->polled) {
		viodma_ring_decline_kicks(queue);
		return VIODMA_OK;
	}
	if (by_event ? !queue->armed_valid || queue->armed_at != queue->next_avail
		     : queue->no_notify || !queue->armed_valid) {
		const struct wish_word word = word_of(queue, by_event ? KICK_AT_EVENT : ANY_KICK);
		struct viodma_shared *memory;
		enum viodma_result result = viodma_ring_part_word(queue, &queue->used_part, &queue->used_cache,
								  queue->setup.used,
								  (uint32_t)(word.bus.v - queue->setup.used.v), word.bytes,
								  VIODMA_WRITE, &memory);

		if (result != VIODMA_OK)
			return result;
		store(memory, &word);
		queue->armed_at = queue->next_avail;
		queue->armed_valid = true;
		queue->no_notify = false;
		if (!viodma_ring_kicks_declined(queue))
			viodma_queue_disturb(queue); /* they are to be, with the next request */
	} else if (by_event) {
		return VIODMA_OK;
	}
	viodma_ring_fence(queue);
	return VIODMA_OK;
}

void viodma_ring_decline_kicks(struct viodma_queue *queue)
{
	if (viodma_ring_kicks_declined(queue) || !say_if_reachable(queue, NO_KICK))
		return;
	queue->no_notify = true;
	queue->armed_valid = false;
	queue->statistics.kicks_suppressed++;
}

void viodma_queue_set_polled(struct viodma_queue *queue, bool polled)
{
	if (queue->polled == polled)
		return;
	queue->polled = polled;
	viodma_queue_disturb(queue); /* what declines kicks is another */
}

void viodma_queue_kicked(struct viodma_queue *queue)
{
	if (!queue->ring_faulted)
		return;
	queue->ring_waits = queue->ring_faulted = false;
	queue->done_epoch = queue->config.space->epoch - 1;
}

bool viodma_queue_kicked_at(struct viodma_queue *queue, uint32_t data)
{
	viodma_queue_kicked(queue);
	return VIRTQ_NOTIFICATION_QUEUE(data) == queue->config.index &&
	       (!queue->setup.packed || (VIRTQ_NOTIFICATION_NEXT(data) & (VIODMA_RING_WRAP - 1u)) < queue->setup.size);
}

bool viodma_queue_call_needed(struct viodma_queue *queue)
{
	const uint32_t unsignalled = queue->unsignalled;
	const bool first = !queue->signalled_valid;
	bool needed;

	if (!queue->running || (first ? !queue->pushed_any : !unsignalled))
		return false;
	queue->unsignalled = 0;
	queue->signalled_valid = true;
	viodma_ring_fence(queue);
	/* The first time, what was pushed before this start is not counted: any event index may be meant. */
	needed = queue->setup.packed ? viodma_packed_call_wanted(queue, first ? UINT32_MAX : unsignalled)
				     : viodma_split_call_wanted(queue, first ? UINT32_MAX : unsignalled);
	if (!needed)
		queue->statistics.calls_suppressed++;
	return needed;
}
