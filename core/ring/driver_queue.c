/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver_queue.c - how it works: the life of a virtqueue, driver half.
 *
 * Ring memory comes from the domain, cleared and coherent, each part on granules of its own: descriptors and available
 * ring, which the device may only read; the used ring; and blocks of indirect tables, which it may only read. A block
 * holds a power of two of tables; how many is tried out, from all in one block downwards, for what a run of the pool
 * holds is the pool's business, and how far bus addresses go on the platform's. Descriptors and available ring come
 * apart for the same reasons.
 *
 *   init -> enable -> (driver_split.c: add, publish, get) -> the device is reset -> take_back -> free
 *
 * take_back goes over the heads once. At its end the used area is cleared, and free looks at it once more: what stands
 * there then was written by a device that had promised to touch memory no more (DEV-14).
 */
#include "driver_ring.h"

#include <viodma/dma_debug.h>
#include <viodma/port.h>
#include <viodma/wire/ring.h>

#include "../base/require.h"
#include "../base/shared.h"

#define LINE_BYTES 64u

static bool power_of_two(uint32_t number)
{
	return number && !(number & (number - 1));
}

static bool config_holds(const struct viodma_driver_queue_config *config)
{
	return config->domain && config->storage && power_of_two(config->size) && config->size <= VIRTQ_SIZE_MAX &&
	       config->storage_bytes >= VIODMA_DRIVER_QUEUE_STORAGE_BYTES(config->size) &&
	       !((uintptr_t)config->storage & (_Alignof(struct viodma_driver_chain) - 1)) &&
	       config->tables <= config->size && config->table_descriptors <= config->size &&
	       (!config->tables || config->table_descriptors);
}

/* ---- ring memory ---- */

static enum viodma_result release(struct viodma_driver_queue *queue)
{
	enum viodma_result result = VIODMA_OK;

	while (queue->table_block_count)
		if (viodma_domain_release(&queue->table_blocks[--queue->table_block_count]) != VIODMA_OK)
			result = VIODMA_E_QUARANTINED;
	if (queue->used && viodma_domain_release(&queue->device_area) != VIODMA_OK)
		result = VIODMA_E_QUARANTINED;
	if (queue->avail_area.len_bytes && viodma_domain_release(&queue->avail_area) != VIODMA_OK)
		result = VIODMA_E_QUARANTINED;
	if (queue->desc && viodma_domain_release(&queue->driver_area) != VIODMA_OK)
		result = VIODMA_E_QUARANTINED;
	queue->desc = queue->avail = queue->used = NULL;
	return result;
}

/* What parts of ring memory start at multiples of: more than the standard asks for (= DRV-17), and a line each. */
static uint32_t alignment(const struct viodma_driver_queue *queue)
{
	struct viodma_limits limits;

	viodma_domain_limits(queue->config.domain, &limits);
	return limits.alignment_bytes > LINE_BYTES ? limits.alignment_bytes : LINE_BYTES;
}

static uint32_t round_up(uint32_t number, uint32_t power)
{
	return (number + power - 1) & ~(power - 1);
}

/* Not in one piece; perhaps in smaller ones. */
static bool too_large(enum viodma_result result)
{
	return result == VIODMA_E_LIMIT || result == VIODMA_E_UNREACHABLE;
}

/* Descriptors and available ring: in one piece where that can be had. */
static enum viodma_result allocate_driver_area(struct viodma_driver_queue *queue, uint32_t align)
{
	const uint32_t n = queue->config.size, avail = round_up(VIRTQ_DESC_BYTES(n), align);
	struct viodma_domain *domain = queue->config.domain;
	enum viodma_result result;

	result = viodma_domain_alloc(domain, &queue->driver_area, avail + VIRTQ_AVAIL_BYTES(n), align,
				     VIODMA_TO_DEVICE);
	if (result == VIODMA_OK) {
		queue->desc = queue->driver_area.memory;
		queue->avail = viodma_shared_at(queue->desc, avail);
	}
	if (!too_large(result))
		return result;
	result = viodma_domain_alloc(domain, &queue->driver_area, VIRTQ_DESC_BYTES(n), align, VIODMA_TO_DEVICE);
	if (result != VIODMA_OK)
		return result;
	queue->desc = queue->driver_area.memory;
	result = viodma_domain_alloc(domain, &queue->avail_area, VIRTQ_AVAIL_BYTES(n), align, VIODMA_TO_DEVICE);
	if (result == VIODMA_OK)
		queue->avail = queue->avail_area.memory;
	return result;
}

static enum viodma_result allocate_rings(struct viodma_driver_queue *queue)
{
	const uint32_t n = queue->config.size, align = alignment(queue);
	enum viodma_result result = allocate_driver_area(queue, align);

	if (result != VIODMA_OK)
		return result;
	result = viodma_domain_alloc(queue->config.domain, &queue->device_area, VIRTQ_USED_BYTES(n), align,
				     VIODMA_FROM_DEVICE);
	if (result != VIODMA_OK)
		return result;
	queue->used = queue->device_area.memory;
	return VIODMA_OK;
}

/* Tables in blocks of 2^shift. VIODMA_E_LIMIT, _UNREACHABLE: a block that large, or that many, cannot be had. */
static enum viodma_result allocate_blocks(struct viodma_driver_queue *queue, uint32_t shift)
{
	uint32_t left = queue->config.tables, most = 1u << shift;

	while (left) {
		uint32_t here = left < most ? left : most;
		enum viodma_result result;

		if (queue->table_block_count == VIODMA_DRIVER_QUEUE_TABLE_BLOCKS)
			return VIODMA_E_LIMIT;
		result = viodma_domain_alloc(queue->config.domain, &queue->table_blocks[queue->table_block_count],
					     (uint64_t)here * queue->table_bytes, alignment(queue), VIODMA_TO_DEVICE);
		if (result != VIODMA_OK)
			return result;
		queue->table_block_count++;
		left -= here;
	}
	queue->table_shift = shift;
	return VIODMA_OK;
}

static enum viodma_result allocate_tables(struct viodma_driver_queue *queue)
{
	enum viodma_result result;
	uint32_t shift = 0;

	queue->table_bytes =
		round_up(queue->config.table_descriptors * (uint32_t)sizeof(struct virtq_desc), alignment(queue));
	while (1u << shift < queue->config.tables)
		shift++;
	for (;; shift--) {
		result = allocate_blocks(queue, shift);
		if (!too_large(result) || !shift)
			return result;
		while (queue->table_block_count)
			(void)viodma_domain_release(&queue->table_blocks[--queue->table_block_count]);
	}
}

/* ---- what the device says ---- */

enum viodma_result viodma_driver_queue_size_max(const struct viodma_transport *transport, unsigned index,
						uint32_t *size)
{
	uint32_t most = 0;
	enum viodma_result result = transport->ops->queue_size_max(transport->context, index, &most);

	*size = 0;
	if (result != VIODMA_OK)
		return result;
	if (!most)
		return VIODMA_E_NOT_FOUND;
	for (*size = VIRTQ_SIZE_MAX; *size > most;) /* = DRV-17 */
		*size /= 2;
	return VIODMA_OK;
}

void viodma_driver_queue_features(struct viodma_driver_queue_config *config, const struct viodma_driver *driver)
{
	const struct viodma_driver_decision *decision = &driver->decision;

	config->indirect_desc = (decision->accepted & VIODMA_FEATURE(VIRTIO_F_INDIRECT_DESC_BIT)) != 0; /* = DRV-14 */
	config->event_idx = (decision->accepted & VIODMA_FEATURE(VIRTIO_F_EVENT_IDX_BIT)) != 0;
	config->order_platform = decision->order_platform; /* = DRV-23 */
}

/* ---- life ---- */

enum viodma_result viodma_driver_queue_init(struct viodma_driver_queue *queue,
					    const struct viodma_driver_queue_config *config)
{
	unsigned char *storage = config->storage;
	enum viodma_result result;

	if (!config_holds(config))
		return VIODMA_E_INVALID;
	memset(queue, 0, sizeof(*queue));
	queue->config = *config;
	if (!config->indirect_desc)
		queue->config.tables = 0; /* = DRV-14 */
	if (!queue->config.tables)
		queue->config.table_descriptors = 0;
	queue->chains = (struct viodma_driver_chain *)(void *)storage;
	storage += config->size * sizeof(struct viodma_driver_chain);
	queue->table_next = (uint32_t *)(void *)storage;
	storage += config->size * sizeof(uint32_t);
	queue->next = (uint16_t *)(void *)storage;
	viodma_driver_split_start(queue);
	result = allocate_rings(queue);
	if (result == VIODMA_OK)
		result = allocate_tables(queue);
	if (result != VIODMA_OK) {
		(void)release(queue);
		queue->broken = VIODMA_E_RESET;
	}
	return result;
}

enum viodma_result viodma_driver_queue_enable(struct viodma_driver_queue *queue,
					      const struct viodma_transport *transport)
{
	struct viodma_transport_queue where = {.size = queue->config.size};
	enum viodma_result result;
	uint32_t size_max;

	if (queue->broken != VIODMA_OK)
		return queue->broken;
	result = transport->ops->queue_size_max(transport->context, queue->config.index, &size_max);
	if (result != VIODMA_OK)
		return result;
	if (!VIODMA_REQUIRE(DRV_17, queue->config.size <= size_max))
		return VIODMA_E_LIMIT;
	where.desc = queue->driver_area.bus; /* = DRV-2 */
	where.avail = queue->avail_area.len_bytes ?
			      queue->avail_area.bus :
			      viodma_dma_memory_bus(&queue->driver_area,
						    (uint64_t)((uintptr_t)queue->avail - (uintptr_t)queue->desc));
	where.used = queue->device_area.bus;
	return transport->ops->queue_enable(transport->context, queue->config.index, &where);
}

enum viodma_result viodma_driver_queue_take_back(struct viodma_driver_queue *queue, void **token)
{
	static const unsigned char zero[LINE_BYTES];
	uint64_t at;

	if (!queue->used)
		return VIODMA_EMPTY;
	(void)viodma_driver_split_break(queue, VIODMA_E_RESET);
	for (; queue->taken_back < queue->config.size; queue->taken_back++)
		if (queue->chains[queue->taken_back].token) {
			*token = viodma_driver_split_end(queue, (uint16_t)queue->taken_back++);
			return VIODMA_OK;
		}
	if (queue->cleared)
		return VIODMA_EMPTY;
	for (at = 0; at < queue->device_area.len_bytes; at += LINE_BYTES) {
		uint64_t left = queue->device_area.len_bytes - at;

		viodma_shared_copy_out(viodma_shared_at(queue->used, at), zero,
				       left < LINE_BYTES ? (size_t)left : LINE_BYTES);
	}
	queue->cleared = true;
	return VIODMA_EMPTY;
}

/* Is the used area as take_back left it? */
static bool still_clear(const struct viodma_driver_queue *queue)
{
	unsigned char bytes[LINE_BYTES], any = 0;
	uint64_t at;
	size_t i;

	for (at = 0; at < queue->device_area.len_bytes; at += LINE_BYTES) {
		uint64_t left = queue->device_area.len_bytes - at;
		size_t here = left < LINE_BYTES ? (size_t)left : LINE_BYTES;

		viodma_shared_copy_in(bytes, viodma_shared_at(queue->used, at), here);
		for (i = 0; i < here; i++)
			any |= bytes[i];
	}
	return !any;
}

enum viodma_result viodma_driver_queue_free(struct viodma_driver_queue *queue)
{
	bool late;

	if (queue->out)
		return VIODMA_E_BUSY;
	if (!queue->used)
		return VIODMA_OK;
	late = queue->cleared && !VIODMA_REQUIRE(DEV_14, still_clear(queue));
	queue->broken = VIODMA_E_RESET;
	if (release(queue) != VIODMA_OK)
		return VIODMA_E_QUARANTINED; /* = DRV-22 */
	return late ? VIODMA_PEER_LATE_WRITE : VIODMA_OK;
}

/* ---- mappings ---- */

enum viodma_result viodma_driver_queue_add_mappings(struct viodma_driver_queue *queue,
						    const struct viodma_mapping *const *mappings, uint32_t count,
						    void *token)
{
	uint32_t i;

	for (i = 0; i < count; i++)
		(void)viodma_debug_hand_over(mappings[i]); /* reported; what is not live has no segments to speak of */
	return viodma_driver_split_add_mappings(queue, mappings, count, token);
}

enum viodma_result viodma_driver_queue_map_and_add(struct viodma_driver_queue *queue, struct viodma_mapping *readable,
						   const struct viodma_buffer *readable_buffers,
						   uint32_t readable_count, struct viodma_mapping *writable,
						   const struct viodma_buffer *writable_buffers,
						   uint32_t writable_count, struct viodma_segment *segments,
						   uint32_t capacity, void *token)
{
	const struct viodma_mapping *mappings[2] = {NULL, NULL};
	uint32_t count = 0, used = 0, i;
	enum viodma_result result = VIODMA_OK;

	if (readable) {
		result = viodma_domain_map(queue->config.domain, readable, readable_buffers, readable_count,
					   VIODMA_TO_DEVICE, segments, capacity); /* = DRV-8 */
		if (result != VIODMA_OK)
			return result;
		used = readable->segment_count;
		mappings[count++] = readable;
	}
	if (writable) {
		result = viodma_domain_map(queue->config.domain, writable, writable_buffers, writable_count,
					   VIODMA_FROM_DEVICE, segments + used, capacity - used);
		if (result == VIODMA_OK)
			mappings[count++] = writable;
	}
	if (result == VIODMA_OK)
		result = viodma_driver_queue_add_mappings(queue, mappings, count, token);
	if (result == VIODMA_OK)
		return VIODMA_OK;
	for (i = 0; i < count; i++)
		if (viodma_domain_unmap(mappings[i] == readable ? readable : writable, 0) == VIODMA_E_QUARANTINED)
			result = VIODMA_E_QUARANTINED;
	return result;
}
