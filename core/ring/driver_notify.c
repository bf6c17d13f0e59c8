/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver_notify.c - how it works: who wants to hear of what (virtio 1.2, sections 2.7.7 to 2.7.10, 2.8.10, 2.9).
 *
 *   split    flags that say never; with EVENT_IDX, the index at which to be told
 *   packed   two words in each direction: always, never, or, with EVENT_IDX, when the descriptor at a place, in a lap,
 *            is made available or used. Both are written in one store, and read in one load
 *
 * A wish of the device that makes no sense gets a kick: one too many costs little, one too few hangs.
 */
#include "driver_ring.h"

/* Both words of struct virtq_packed_event, as one number. */
#define EVENT(flags, place, first_lap)                                                                                \
	((uint32_t)(flags) << 16 | (uint32_t)(place) | (uint32_t)((first_lap) ? 1u : 0u) << VIRTQ_PACKED_WRAP_BIT)

/* Between what we said and what we look at next. */
static inline void full_fence(const struct viodma_driver_queue *queue)
{
	if (queue->order_platform)
		viodma_shared_platform_fence(); /* = DRV-23 */
	viodma_shared_fence();
}

/* ---- kicks ---- */

static bool device_wants_split(const struct viodma_driver_queue *queue, uint32_t since)
{
	uint16_t word;

	if (!queue->event_idx) {
		word = viodma_shared_load16(viodma_shared_at(queue->used, VIRTQ_USED_FLAGS));
		return !(word & VIRTQ_USED_F_NO_NOTIFY);
	}
	word = viodma_shared_load16(viodma_shared_at(queue->used, VIRTQ_USED_AVAIL_EVENT(queue->size)));
	/* Did the index pass it? After a full turn of the index, certainly. */
	return since > UINT16_MAX || (uint16_t)(queue->published_idx - word - 1) < (uint16_t)since;
}

/* Counted over two laps: 0 to size - 1 are places with the wrap counter 1. */
static uint32_t position(uint32_t place, bool wrap, uint32_t size)
{
	return place + (wrap ? 0 : size);
}

static bool device_wants_packed(const struct viodma_driver_queue *queue, uint32_t since)
{
	uint32_t event = viodma_shared_load32(queue->used), flags = event >> 16 & VIRTQ_PACKED_EVENT_MASK;
	uint32_t place = event & 0x7fffu, now, wish;

	if (flags != VIRTQ_PACKED_EVENT_DESC || !queue->event_idx)
		return flags != VIRTQ_PACKED_EVENT_DISABLE;
	if (place >= queue->size || since >= 2 * queue->size)
		return true;
	now = position(queue->published_idx, queue->published_flags & VIRTQ_PACKED_DESC_F_AVAIL, queue->size);
	wish = position(place, event >> VIRTQ_PACKED_WRAP_BIT & 1, queue->size);
	if (now <= wish)
		now += 2 * queue->size;
	return now - wish <= since;
}

bool viodma_driver_queue_kick_needed(struct viodma_driver_queue *queue)
{
	uint32_t since = queue->unkicked;
	bool needed;

	if (!since)
		return false;
	queue->unkicked = 0;
	/*
	 * Pairs with the device's fence between its wish and its last look at what is available: either it sees what was
	 * published, or we see the wish.
	 */
	full_fence(queue);
	needed = queue->packed ? device_wants_packed(queue, since) : device_wants_split(queue, since);
	if (needed)
		queue->statistics.kicks++;
	else
		queue->statistics.kicks_suppressed++;
	return needed;
}

uint32_t viodma_driver_queue_notification_data(const struct viodma_driver_queue *queue)
{
	uint32_t next = queue->published_idx;

	if (queue->packed && queue->published_flags & VIRTQ_PACKED_DESC_F_AVAIL)
		next |= 1u << VIRTQ_PACKED_WRAP_BIT;
	return (queue->config.index & 0xffffu) | next << 16;
}

/* ---- calls ---- */

static void ask_split(const struct viodma_driver_queue *queue)
{
	if (queue->event_idx)
		viodma_shared_store16(viodma_shared_at(queue->avail, VIRTQ_AVAIL_USED_EVENT(queue->size)),
				      (uint16_t)queue->used_idx);
	else if (queue->calls_off)
		viodma_shared_store16(viodma_shared_at(queue->avail, VIRTQ_AVAIL_FLAGS), 0);
}

static void ask_packed(const struct viodma_driver_queue *queue)
{
	if (queue->event_idx)
		viodma_shared_store32(queue->avail, EVENT(VIRTQ_PACKED_EVENT_DESC, queue->used_idx, queue->used_flags));
	else if (queue->calls_off)
		viodma_shared_store32(queue->avail, EVENT(VIRTQ_PACKED_EVENT_ENABLE, 0, 0));
}

/* Is there something that was not there when last looked? A look only: what it is, get says. */
static bool something_split(const struct viodma_driver_queue *queue)
{
	uint16_t here = (uint16_t)queue->used_idx;

	return queue->seen_used != here ||
	       viodma_shared_load16(viodma_shared_at(queue->used, VIRTQ_USED_IDX)) != here;
}

static bool something_packed(const struct viodma_driver_queue *queue)
{
	uint16_t flags = viodma_shared_load16(
		viodma_shared_at(queue->desc, VIODMA_DRIVER_DESC(queue->used_idx) + VIODMA_DRIVER_PACKED_FLAGS));

	return queue->in_order_left || (flags & VIODMA_DRIVER_LAP) == queue->used_flags;
}

bool viodma_driver_queue_want_call(struct viodma_driver_queue *queue)
{
	if (queue->broken != VIODMA_OK)
		return false;
	if (queue->packed)
		ask_packed(queue);
	else
		ask_split(queue);
	queue->calls_off = false;
	/*
	 * Pairs with the device's fence between what it used and reading our wish: either it sees the wish, or we see what
	 * it used.
	 */
	full_fence(queue);
	return queue->packed ? something_packed(queue) : something_split(queue);
}

void viodma_driver_queue_want_no_call(struct viodma_driver_queue *queue)
{
	if (queue->broken != VIODMA_OK)
		return;
	if (queue->packed) {
		if (!queue->calls_off)
			viodma_shared_store32(queue->avail, EVENT(VIRTQ_PACKED_EVENT_DISABLE, 0, 0));
	} else if (queue->event_idx) {
		/* By index: where it does not come before we are asked again, half a turn away. */
		viodma_shared_store16(viodma_shared_at(queue->avail, VIRTQ_AVAIL_USED_EVENT(queue->size)),
				      (uint16_t)(queue->used_idx + 0x8000u));
	} else if (!queue->calls_off) {
		viodma_shared_store16(viodma_shared_at(queue->avail, VIRTQ_AVAIL_FLAGS), VIRTQ_AVAIL_F_NO_INTERRUPT);
	}
	if (!queue->calls_off)
		queue->statistics.calls_suppressed++;
	queue->calls_off = true;
}
