/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dma_memory.c - how it works: memory that both halves use at once is a run of the ring pool (or the pool), whole
 * slots, entered in the IOMMU where there is one. It is coherent by the pool's contract, so nothing is copied or
 * maintained. Its bus addresses must go on without a break: where a fixed platform's do not, a run that begins at a
 * multiple of its own size is tried next.
 */
#include <viodma/port.h>

#include "../base/require.h"
#include "dma.h"

#define PAGE_BYTES 4096u

static struct viodma_pool *pool_for_rings(const struct viodma_domain *domain)
{
	return domain->config.ring_pool ? domain->config.ring_pool : domain->config.pool;
}

/* Where the device finds a run on a fixed platform. */
static enum viodma_result find_fixed(const struct viodma_domain *domain, viodma_phys phys, uint64_t len_bytes,
				     uint32_t align_bytes, viodma_bus *bus)
{
	uint64_t part;

	if (!viodma_fixed_bus(domain, phys, bus, &part) || part < len_bytes)
		return VIODMA_E_UNREACHABLE;
	return bus->v & (align_bytes - 1) ? VIODMA_E_LIMIT : VIODMA_OK;
}

static enum viodma_result enter(struct viodma_domain *domain, struct viodma_pool *pool, uint32_t align_bytes,
				struct viodma_dma_memory *memory)
{
	struct viodma_mapping *mapping = &memory->mapping;
	uint32_t run_bytes;
	enum viodma_result result;

	memory->memory = viodma_pool_memory(pool, mapping->runs, &memory->phys, &run_bytes);
	/* Nobody but this device was in the pool; still, no ring begins with what it left there. */
	memset(memory->memory, 0, run_bytes);
	mapping->iova_bytes = run_bytes;
	if (viodma_dma_is_iommu(domain))
		result = viodma_iommu_enter(domain, memory->phys, run_bytes, align_bytes,
					    (enum viodma_permission)memory->direction, &memory->bus);
	else
		result = find_fixed(domain, memory->phys, memory->len_bytes, align_bytes, &memory->bus);
	mapping->iova = memory->bus;
	return result;
}

/* The whole as one segment of one buffer, for whoever wants it as a mapping. */
static void describe(struct viodma_dma_memory *memory)
{
	struct viodma_mapping *mapping = &memory->mapping;

	memory->buffer.phys = memory->phys;
	memory->buffer.len_bytes = (uint32_t)memory->len_bytes;
	memory->segment.bus = memory->bus;
	memory->segment.len_bytes = (uint32_t)memory->len_bytes;
	memory->segment.permission = (enum viodma_permission)memory->direction;
	mapping->segments = &memory->segment;
	mapping->segment_count = 1;
	mapping->direction = memory->direction;
	mapping->len_bytes = memory->len_bytes;
	mapping->buffers = &memory->buffer;
	mapping->buffer_count = 1;
}

/* The least power of two not below len_bytes, which is at most 2^31. */
static uint32_t own_size(uint64_t len_bytes)
{
	uint32_t size = 1;

	while (size < len_bytes && size < (uint32_t)1 << 31)
		size <<= 1;
	return size;
}

static enum viodma_result take_and_enter(struct viodma_domain *domain, struct viodma_pool *pool, uint32_t place_bytes,
					 uint32_t align_bytes, struct viodma_dma_memory *memory)
{
	enum viodma_result result;

	memory->mapping.runs = viodma_pool_take_aligned(pool, (uint32_t)memory->len_bytes, place_bytes);
	if (memory->mapping.runs == VIODMA_POOL_NONE)
		return VIODMA_E_EXHAUSTED;
	result = enter(domain, pool, align_bytes, memory);
	if (result != VIODMA_OK)
		viodma_pool_give(pool, memory->mapping.runs);
	return result;
}

/* Ranges that wait for their invalidation are settled if it needs their slots, or their bus addresses. */
static enum viodma_result make(struct viodma_domain *domain, struct viodma_pool *pool, uint32_t place_bytes,
			       uint32_t align_bytes, struct viodma_dma_memory *memory)
{
	enum viodma_result result = take_and_enter(domain, pool, place_bytes, align_bytes, memory);

	while (result == VIODMA_E_EXHAUSTED && viodma_domain_make_room(domain))
		result = take_and_enter(domain, pool, place_bytes, align_bytes, memory);
	return result;
}

enum viodma_result viodma_domain_alloc(struct viodma_domain *domain, struct viodma_dma_memory *memory,
				       uint64_t len_bytes, uint32_t align_bytes, enum viodma_direction direction)
{
	struct viodma_pool *pool = pool_for_rings(domain);
	enum viodma_result result;
	uint32_t place_bytes;

	memset(memory, 0, sizeof(*memory));
	/* What lies in a cache, one half does not see of the other's. */
	if (!pool || !VIODMA_REQUIRE(DRV_20, domain->platform.coherent || pool->config.coherent))
		return VIODMA_E_UNSUPPORTED;
	if (!len_bytes || !align_bytes || (align_bytes & (align_bytes - 1)) || direction < VIODMA_TO_DEVICE ||
	    direction > VIODMA_BIDIRECTIONAL)
		return VIODMA_E_INVALID;
	if (len_bytes > (pool->config.grow ? pool->run_bytes : viodma_pool_largest_run(pool)) ||
	    align_bytes > (pool->slot_bytes > PAGE_BYTES ? pool->slot_bytes : PAGE_BYTES))
		return VIODMA_E_LIMIT;
	if (align_bytes < domain->platform.alignment_bytes)
		align_bytes = domain->platform.alignment_bytes;
	memory->len_bytes = len_bytes;
	memory->direction = direction;
	result = make(domain, pool, align_bytes, align_bytes, memory);
	place_bytes = own_size(len_bytes);
	if (result == VIODMA_E_UNREACHABLE && place_bytes > align_bytes) {
		result = make(domain, pool, place_bytes, align_bytes, memory);
		if (result == VIODMA_E_EXHAUSTED) /* no such place is free; but there is room */
			result = VIODMA_E_UNREACHABLE;
	}
	if (result != VIODMA_OK) {
		memset(memory, 0, sizeof(*memory));
		return result;
	}
	describe(memory);
	memory->mapping.domain = domain;
	domain->allocated++;
	domain->allocated_bytes += memory->mapping.iova_bytes;
	return VIODMA_OK;
}

enum viodma_result viodma_domain_release(struct viodma_dma_memory *memory)
{
	struct viodma_domain *domain = memory->mapping.domain;
	enum viodma_result result = VIODMA_OK;
	struct viodma_pool *pool;

	if (!domain)
		return VIODMA_E_MISUSE;
	pool = pool_for_rings(domain);
	if (viodma_dma_is_iommu(domain))
		result = viodma_iommu_take_out(domain, memory->mapping.iova, memory->mapping.iova_bytes);
	domain->allocated--;
	domain->allocated_bytes -= memory->mapping.iova_bytes;
	if (result == VIODMA_OK)
		viodma_pool_give(pool, memory->mapping.runs);
	else
		viodma_pool_quarantine(pool, memory->mapping.runs); /* = DRV-22 */
	memset(memory, 0, sizeof(*memory));
	return result;
}
