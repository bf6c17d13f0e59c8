/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * queue_life.c - how it works: a queue's memory, how it starts, stops and is reset.
 *
 * A stop gives back the youngest requests that are still parked, by winding back over the entries they took; an older one
 * cannot be given back (a younger one has completed), so it is held for the next start. (= DEV-18)
 */
#include <viodma/port.h>

#include "../base/require.h"
#include "ring.h"

static size_t aligned(size_t bytes)
{
	return (bytes + 15) & ~(size_t)15;
}

static bool limits_hold(const struct viodma_queue_config *config)
{
	return config->size_max >= 1 && config->size_max <= VIRTQ_SIZE_MAX &&
	       !(config->size_max & (config->size_max - 1)) && config->segments_max >= 1 &&
	       config->segments_max <= VIRTQ_SIZE_MAX && config->pieces_max >= config->segments_max;
}

size_t viodma_queue_memory_bytes(const struct viodma_queue_config *config)
{
	size_t n;

	if (!limits_hold(config))
		return 0;
	n = config->size_max;
	if (config->pieces_max > SIZE_MAX / 4 / sizeof(struct viodma_piece) / n)
		return 0;
	return aligned((n + 1) * sizeof(struct viodma_request)) + aligned(n * sizeof(uint16_t)) +
	       aligned(n * sizeof(struct virtq_packed_desc)) +
	       aligned((n + 1) * config->segments_max * sizeof(struct viodma_segment)) +
	       aligned(n * config->pieces_max * sizeof(struct viodma_piece));
}

enum viodma_result viodma_queue_init(struct viodma_queue *queue, const struct viodma_queue_config *config)
{
	size_t bytes = viodma_queue_memory_bytes(config), n = config->size_max;
	unsigned char *memory = config->memory;
	struct viodma_segment *segments;
	struct viodma_piece *pieces;
	size_t i;

	if (!bytes || !config->space || !memory || config->memory_bytes < bytes ||
	    ((uintptr_t)memory & (_Alignof(struct viodma_request) - 1)))
		return VIODMA_E_INVALID;
	if (config->access == VIODMA_ACCESS_COPY && (!config->copy_alloc || !config->copy_free))
		return VIODMA_E_INVALID;
	memset(queue, 0, sizeof(*queue));
	queue->config = *config;
	queue->user.overlaps = viodma_queue_overlaps;
	queue->requests = (struct viodma_request *)(void *)memory;
	memory += aligned((n + 1) * sizeof(struct viodma_request));
	queue->order = (uint16_t *)(void *)memory;
	memory += aligned(n * sizeof(uint16_t));
	memset(queue->order, 0, n * sizeof(uint16_t));
	queue->raw = (struct virtq_packed_desc *)(void *)memory;
	memory += aligned(n * sizeof(struct virtq_packed_desc));
	segments = (struct viodma_segment *)(void *)memory;
	memory += aligned((n + 1) * config->segments_max * sizeof(struct viodma_segment));
	pieces = (struct viodma_piece *)(void *)memory;
	for (i = 0; i <= n; i++) {
		struct viodma_request *request = &queue->requests[i];

		memset(request, 0, sizeof(*request));
		request->queue = queue;
		request->head = (uint16_t)i;
		request->segments = segments + i * config->segments_max;
		request->pieces = i < n ? pieces + i * config->pieces_max : NULL;
	}
	return VIODMA_OK;
}

/* ---- start, stop, reset ---- */

static bool misaligned(viodma_bus bus, uint32_t alignment)
{
	return bus.v & (alignment - 1);
}

static bool part_wraps(viodma_bus bus, uint32_t bytes)
{
	return bus.v + (bytes - 1) < bus.v;
}

static bool goes_on(const struct viodma_queue *queue, const struct viodma_queue_setup *setup)
{
	return queue->stopped_valid && setup->base == queue->stopped_base && setup->size == queue->setup.size &&
	       setup->packed == queue->setup.packed && setup->in_order == queue->setup.in_order &&
	       setup->indirect_desc == queue->setup.indirect_desc && setup->event_idx == queue->setup.event_idx &&
	       queue->config.space->kind == queue->started_kind &&
	       setup->desc.v == queue->setup.desc.v && setup->avail.v == queue->setup.avail.v &&
	       setup->used.v == queue->setup.used.v;
}

static enum viodma_result check_split(const struct viodma_queue_setup *setup, uint32_t most)
{
	const uint32_t n = setup->size;

	if (!VIODMA_REQUIRE(DRV_17, n >= 1 && n <= most && !(n & (n - 1))))
		return VIODMA_PEER_RING_LAYOUT;
	if (!VIODMA_REQUIRE(DRV_17, !misaligned(setup->desc, VIRTQ_DESC_ALIGN) &&
					    !misaligned(setup->avail, VIRTQ_AVAIL_ALIGN) &&
					    !misaligned(setup->used, VIRTQ_USED_ALIGN)))
		return VIODMA_PEER_RING_LAYOUT;
	if (!VIODMA_REQUIRE(DRV_15, !part_wraps(setup->desc, VIRTQ_DESC_BYTES(n)) &&
					    !part_wraps(setup->avail, VIRTQ_AVAIL_BYTES(n)) &&
					    !part_wraps(setup->used, VIRTQ_USED_BYTES(n))))
		return VIODMA_PEER_ADDRESS_WRAP;
	return VIODMA_OK;
}

/* The event structures need no check for wraps: aligned to 4, they are 4 bytes. */
static enum viodma_result check_packed(const struct viodma_queue_setup *setup, uint32_t most)
{
	const uint32_t n = setup->size;

	if (!VIODMA_REQUIRE(DRV_17, n >= 1 && n <= most))
		return VIODMA_PEER_RING_LAYOUT;
	if (!VIODMA_REQUIRE(DRV_17, !misaligned(setup->desc, VIRTQ_PACKED_DESC_ALIGN) &&
					    !misaligned(setup->avail, VIRTQ_PACKED_EVENT_ALIGN) &&
					    !misaligned(setup->used, VIRTQ_PACKED_EVENT_ALIGN)))
		return VIODMA_PEER_RING_LAYOUT;
	if (!VIODMA_REQUIRE(DRV_15, !part_wraps(setup->desc, VIRTQ_PACKED_DESC_BYTES(n))))
		return VIODMA_PEER_ADDRESS_WRAP;
	if (!viodma_ring_base_holds(setup, setup->base))
		return VIODMA_PEER_RING_LAYOUT; /* it starts beyond its end */
	return VIODMA_OK;
}

/* Nothing is in flight. */
static uint32_t start_afresh(struct viodma_queue *queue, const struct viodma_queue_setup *setup)
{
	uint32_t dropped = viodma_queue_drop_held(queue);

	/* A split ring is not asked: the used index stands where the available one does. */
	queue->next_used = (uint16_t)(setup->packed ? setup->base >> 16 : setup->base);
	queue->pushed_any = false;
	return dropped;
}

enum viodma_result viodma_queue_start(struct viodma_queue *queue, const struct viodma_queue_setup *setup,
				      uint32_t *dropped)
{
	const uint32_t most = queue->config.size_max;
	struct viodma_request *request;
	enum viodma_result result;
	uint32_t gone = 0;

	if (queue->running || queue->submitted)
		return VIODMA_E_BUSY;
	result = setup->packed ? check_packed(setup, most) : check_split(setup, most);
	if (result != VIODMA_OK)
		return result;
	if (!queue->config.record && goes_on(queue, setup)) {
		for (request = queue->parked_first; request; request = request->next) {
			request->held = false;
			if (request->result == VIODMA_FAULT_STOPPED)
				request->result = VIODMA_OK;
		}
	} else {
		gone = start_afresh(queue, setup);
		if (queue->config.record)
			gone = 0; /* it lists them */
	}
	if (dropped)
		*dropped = gone;
	queue->setup = *setup;
	queue->mask = setup->size - 1;
	queue->last_place = setup->size & (VIODMA_RING_WRAP - 1u);
	queue->asked = 0;
	queue->windows_generation = 0;
	queue->is_known = false;
	viodma_queue_disturb(queue);
	viodma_space_enlist(queue->config.space, &queue->user);
	queue->started_kind = queue->config.space->kind;
	queue->next_avail = queue->seen_avail = (uint16_t)setup->base;
	queue->unsignalled = 0;
	queue->signalled_valid = queue->armed_valid = queue->no_notify = false;
	queue->stopped_valid = queue->ring_waits = queue->ring_faulted = false;
	queue->scanned_epoch = queue->done_epoch = queue->config.space->epoch - 1;
	memset(&queue->desc_part, 0, sizeof(queue->desc_part));
	memset(&queue->avail_part, 0, sizeof(queue->avail_part));
	memset(&queue->used_part, 0, sizeof(queue->used_part));
	memset(&queue->used_desc_part, 0, sizeof(queue->used_desc_part));
	memset(&queue->desc_cache, 0, sizeof(queue->desc_cache));
	memset(&queue->avail_cache, 0, sizeof(queue->avail_cache));
	memset(&queue->used_cache, 0, sizeof(queue->used_cache));
	memset(&queue->buffer_cache, 0, sizeof(queue->buffer_cache));
	memset(&queue->table_cache, 0, sizeof(queue->table_cache));
	memset(&queue->used_desc_cache, 0, sizeof(queue->used_desc_cache));
	queue->polled = false;
	queue->resume_due = queue->config.record != NULL;
	queue->resume_next = queue->resume_count = 0;
	queue->broken = VIODMA_OK;
	queue->running = true;
	return VIODMA_OK;
}

/* The request that took the entries right before `position`, if it is parked and they can be given back. */
static struct viodma_request *parked_before(const struct viodma_queue *queue, uint16_t position)
{
	const uint16_t last = viodma_ring_before(queue, position, 1);
	struct viodma_request *request = &queue->requests[queue->order[viodma_ring_place(queue, last)]];

	return request->state == VIODMA_REQUEST_PARKED && !request->resumed &&
			       viodma_ring_behind(queue, request->position, request->count) == position
		       ? request
		       : NULL;
}

enum viodma_result viodma_queue_stop(struct viodma_queue *queue, uint32_t *base)
{
	struct viodma_request *request;

	if (queue->submitted)
		return VIODMA_E_BUSY;
	if (queue->running) {
		viodma_queue_flush_done(queue);
		while ((request = parked_before(queue, queue->next_avail)) != NULL) {
			queue->next_avail = request->position;
			queue->sequence--;
			if (queue->config.record)
				queue->config.record->given_back(queue->config.record_context, request->head);
			viodma_queue_unpark(queue, request);
			viodma_queue_free_request(queue, request);
		}
		queue->running = false; /* = DEV-14 */
		viodma_queue_disturb(queue);
		viodma_space_dismiss(&queue->user);
		queue->stopped_base = viodma_ring_base(queue);
		/* What was to be resumed yet is the record's. */
		queue->stopped_valid = !queue->resume_due && queue->resume_next == queue->resume_count;
	}
	*base = viodma_ring_base(queue);
	return VIODMA_OK;
}

enum viodma_result viodma_queue_pop_held(struct viodma_queue *queue, struct viodma_request **request)
{
	struct viodma_request *candidate;
	uint16_t position = queue->next_avail;
	uint32_t youngest = 0; /* so many at the end are given back */

	while (youngest < queue->parked && (candidate = parked_before(queue, position)) != NULL) {
		position = candidate->position;
		youngest++;
	}
	for (candidate = queue->parked_first; candidate; candidate = candidate->next) {
		if (queue->sequence - 1 - candidate->sequence < youngest || candidate->held || !candidate->walked)
			continue;
		viodma_queue_unpark(queue, candidate);
		viodma_request_release(candidate);
		candidate->held = true;
		candidate->result = VIODMA_FAULT_STOPPED;
		candidate->state = VIODMA_REQUEST_SUBMITTED;
		queue->submitted++;
		*request = candidate;
		return VIODMA_OK;
	}
	return VIODMA_EMPTY;
}

void viodma_queue_reset(struct viodma_queue *queue)
{
	viodma_queue_drop_held(queue);
	queue->running = queue->stopped_valid = false;
	queue->broken = VIODMA_OK;
	viodma_queue_disturb(queue);
	viodma_space_dismiss(&queue->user);
}
