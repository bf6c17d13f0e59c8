/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver_memory.c - how it works: ring memory comes from the domain, cleared and coherent, each part on granules of its
 * own:
 *
 *   split    descriptors and available ring, which the device may only read; the used ring, which it writes, and where a
 *            device that goes on in another one's place looks how far that one came
 *   packed   the descriptors, which it reads and writes; the driver's events, only to read; its own, only to write
 *   both     blocks of indirect tables, which it may only read
 *
 * A block holds a power of two of tables; how many is tried out, from all in one block downwards, for what a run of the
 * pool holds is the pool's business, and how far bus addresses go on the platform's. Descriptors and available ring come
 * apart for the same reasons.
 */
#include "driver_ring.h"

#include <viodma/port.h>

#define LINE_BYTES VIODMA_SHARED_LINE_BYTES

/* ---- ring memory ---- */

enum viodma_result viodma_driver_memory_release(struct viodma_driver_queue *queue)
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

static enum viodma_result allocate_device_area(struct viodma_driver_queue *queue, uint32_t len_bytes, uint32_t align,
					       enum viodma_direction direction)
{
	enum viodma_result result =
		viodma_domain_alloc(queue->config.domain, &queue->device_area, len_bytes, align, direction);

	if (result == VIODMA_OK)
		queue->used = queue->device_area.memory;
	return result;
}

static enum viodma_result allocate_split(struct viodma_driver_queue *queue, uint32_t align)
{
	enum viodma_result result = allocate_driver_area(queue, align);

	if (result != VIODMA_OK)
		return result;
	return allocate_device_area(queue, VIRTQ_USED_BYTES(queue->config.size), align, VIODMA_BIDIRECTIONAL);
}

static enum viodma_result allocate_packed(struct viodma_driver_queue *queue, uint32_t align)
{
	struct viodma_domain *domain = queue->config.domain;
	enum viodma_result result;

	result = viodma_domain_alloc(domain, &queue->driver_area, VIRTQ_PACKED_DESC_BYTES(queue->config.size), align,
				     VIODMA_BIDIRECTIONAL);
	if (result != VIODMA_OK)
		return result;
	queue->desc = queue->driver_area.memory;
	result = viodma_domain_alloc(domain, &queue->avail_area, VIRTQ_PACKED_EVENT_BYTES, align, VIODMA_TO_DEVICE);
	if (result != VIODMA_OK)
		return result;
	queue->avail = queue->avail_area.memory;
	return allocate_device_area(queue, VIRTQ_PACKED_EVENT_BYTES, align, VIODMA_FROM_DEVICE);
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

enum viodma_result viodma_driver_memory_make(struct viodma_driver_queue *queue)
{
	const uint32_t align = alignment(queue);
	enum viodma_result result;

	result = queue->config.packed ? allocate_packed(queue, align) : allocate_split(queue, align);
	return result == VIODMA_OK ? allocate_tables(queue) : result;
}

/* ---- after a reset ---- */

static void clear(const struct viodma_dma_memory *area)
{
	static const unsigned char zero[LINE_BYTES];
	uint64_t at;

	for (at = 0; at < area->len_bytes; at += LINE_BYTES) {
		uint64_t left = area->len_bytes - at;

		viodma_shared_copy_out(viodma_shared_at(area->memory, at), zero,
				       left < LINE_BYTES ? (size_t)left : LINE_BYTES);
	}
}

void viodma_driver_memory_clear(const struct viodma_driver_queue *queue, bool all)
{
	clear(&queue->device_area);
	if (queue->packed || all)
		clear(&queue->driver_area);
	if (all)
		clear(&queue->avail_area);
}

static bool is_clear(const struct viodma_dma_memory *area)
{
	unsigned char bytes[LINE_BYTES], any = 0;
	uint64_t at;
	size_t i;

	for (at = 0; at < area->len_bytes; at += LINE_BYTES) {
		uint64_t left = area->len_bytes - at;
		size_t here = left < LINE_BYTES ? (size_t)left : LINE_BYTES;

		viodma_shared_copy_in(bytes, viodma_shared_at(area->memory, at), here);
		for (i = 0; i < here; i++)
			any |= bytes[i];
	}
	return !any;
}

bool viodma_driver_memory_still_clear(const struct viodma_driver_queue *queue)
{
	return is_clear(&queue->device_area) && (!queue->packed || is_clear(&queue->driver_area));
}
