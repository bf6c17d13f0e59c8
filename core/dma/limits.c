/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * limits.c - how it works: what one mapping can hold, so that a driver splits right the first time, and the parts of a
 * mapping that stays.
 *
 * Where a map may go through the pool, the worst case counts: every buffer there, each with part of a slot left over at
 * either end; where runs keep nothing of the address, at its last end only. An eighth of the slots (a quarter) may be
 * buffers, a quarter bytes: eighth * 2 + quarter, or quarter + quarter, is half, so that it fits even where runs lie
 * badly, and a second mapping beside it. Pools below 16 slots take one buffer. Bus addresses of an
 * IOMMU are shared out likewise. Only the largest chunk is counted, since no run is in two.
 *
 * Segments: a buffer is one range, or several, where it takes several runs. A range has several extents, where its bus
 * addresses do not go on (at windows that adjoin physically only; at granules, where a function of the platform says).
 * An extent of L bytes has at most 1 + (1 + L / boundary) + L / longest segments. Sums of rounded quotients are at most
 * the rounded sum, so the bound over a buffer is one over the mapping.
 */
#include "dma.h"

#define FEW_SLOTS 16u

static uint64_t least(uint64_t one, uint64_t other)
{
	return one < other ? one : other;
}

/* How much of the address in its granule a run keeps. */
static uint32_t kept_bytes(const struct viodma_domain *domain)
{
	return (uint32_t)least(domain->platform.granule_bytes, domain->config.pool->slot_bytes);
}

/* Slots of the pool, or of the IOMMU's addresses if they are fewer, that one mapping can hope for. */
static uint64_t slots_for_mappings(const struct viodma_domain *domain)
{
	const struct viodma_pool *pool = domain->config.pool;
	uint64_t taken_bytes = pool->statistics.quarantined_bytes, slots = 0;
	uint32_t i;

	if (!domain->config.ring_pool || domain->config.ring_pool == pool)
		taken_bytes += domain->allocated_bytes;
	for (i = 0; i < pool->chunk_count; i++)
		if (pool->chunks[i].count > slots)
			slots = pool->chunks[i].count;
	taken_bytes = viodma_dma_slots(taken_bytes, pool->slot_bytes);
	slots = slots > taken_bytes ? slots - taken_bytes : 0;
	if (!slots && pool->config.grow)
		slots = viodma_dma_slots(pool->run_bytes, pool->slot_bytes);
	if (domain->kind == VIODMA_DOMAIN_BOUNCE_IOMMU)
		slots = least(slots, viodma_dma_slots(viodma_iommu_bytes_max(domain), pool->slot_bytes));
	return slots;
}

static void limit_by_pool(const struct viodma_domain *domain, struct viodma_limits *limits)
{
	uint32_t slot_bytes = domain->config.pool->slot_bytes;
	uint64_t slots = slots_for_mappings(domain), bytes = 0;

	if (slots >= FEW_SLOTS) {
		limits->buffers_max = (uint32_t)least(limits->buffers_max, slots >> (kept_bytes(domain) > 1 ? 3 : 2));
		bytes = slots / 4 * slot_bytes;
	} else {
		limits->buffers_max = slots ? 1 : 0;
		if (slots)
			bytes = slots * slot_bytes - (kept_bytes(domain) - 1);
	}
	/* Over an IOMMU alone, only a buffer's two ends take slots, unless the device could not begin where it does. */
	if (domain->kind != VIODMA_DOMAIN_IOMMU || domain->platform.alignment_bytes > 1)
		limits->mapping_bytes_max = least(limits->mapping_bytes_max, bytes);
	/* ... and a buffer that is no longer than a granule takes one. */
	if (domain->kind == VIODMA_DOMAIN_IOMMU && slots < 2)
		limits->mapping_bytes_max = least(limits->mapping_bytes_max,
						  least(bytes, domain->platform.granule_bytes));
}

static void limit_by_addresses(const struct viodma_domain *domain, struct viodma_limits *limits)
{
	uint32_t granule_bytes = domain->platform.granule_bytes;
	uint64_t bytes = viodma_iommu_bytes_max(domain), granules = viodma_dma_slots(bytes, granule_bytes);

	if (granules >= 4) {
		limits->buffers_max = (uint32_t)least(limits->buffers_max, granules / 4);
		bytes /= 2;
	} else {
		limits->buffers_max = 1;
		bytes -= granule_bytes - 1;
	}
	limits->mapping_bytes_max = least(limits->mapping_bytes_max, bytes);
}

/* Of one range, at most, whatever its length. */
static uint32_t extents_of_range(const struct viodma_domain *domain)
{
	const struct viodma_platform *platform = &domain->platform;
	uint32_t i, k, extents = 1;

	if (domain->addressing != VIODMA_ADDRESSING_PLATFORM || platform->kind != VIODMA_PLATFORM_OFFSET)
		return 1;
	if (!platform->window_count)
		return 2;
	for (i = 0; i < platform->window_count; i++)
		for (k = 0; k < platform->window_count; k++) {
			const struct viodma_window *one = &platform->windows[i], *next = &platform->windows[k];

			if (i != k && one->phys.v + one->len_bytes == next->phys.v &&
			    one->bus.v + one->len_bytes != next->bus.v)
				extents++;
		}
	return extents;
}

/*
 * "and `weight` more for every so many bytes", added up as rates, in 2^-31 of a segment per byte and rounded up: a sum of
 * rounded quotients is at most the quotient of the sum. One alone stays exact.
 */
#define RATE_ONE ((uint32_t)1 << 31)

struct grain {
	uint64_t bytes, rate;
	uint32_t count;
};

static void each(struct grain *grain, uint64_t bytes, uint32_t weight)
{
	uint32_t here = (uint32_t)least(bytes, RATE_ONE);

	grain->rate += (uint64_t)weight * (RATE_ONE / here + 1);
	grain->bytes = bytes;
	grain->count += weight;
}

static uint64_t together(const struct grain *grain)
{
	if (grain->count <= 1)
		return grain->bytes;
	return grain->rate < RATE_ONE ? RATE_ONE / (uint32_t)grain->rate : 1; /* no segment is empty */
}

static void limit_segments(const struct viodma_domain *domain, struct viodma_limits *limits)
{
	const struct viodma_platform *platform = &domain->platform;
	uint32_t cuts = platform->boundary_bytes ? 2 : 1, extents = extents_of_range(domain), ranges = 1;
	bool by_function = domain->bus_of.bus_of && extents == 2 && !platform->window_count;
	struct grain grain = {.bytes = UINT64_MAX};

	if (domain->bounces && domain->kind != VIODMA_DOMAIN_IOMMU) {
		uint32_t run_bytes = viodma_pool_largest_run(domain->config.pool), kept = kept_bytes(domain);

		if (limits->mapping_bytes_max > run_bytes - (kept - 1)) {
			ranges = kept > 1 ? 2 : 1;
			each(&grain, run_bytes, cuts * extents);
		}
	}
	if (by_function)
		each(&grain, platform->granule_bytes, cuts);
	if (platform->boundary_bytes)
		each(&grain, platform->boundary_bytes, 1);
	if (limits->segment_bytes_max < UINT32_MAX &&
	    (!platform->boundary_bytes || limits->segment_bytes_max < platform->boundary_bytes))
		each(&grain, limits->segment_bytes_max, 1);
	limits->segments_per_buffer = ranges * cuts * extents;
	limits->segment_grain_bytes = together(&grain);
}

void viodma_domain_limits(const struct viodma_domain *domain, struct viodma_limits *limits)
{
	const struct viodma_platform *platform = &domain->platform;

	limits->mapping_bytes_max = platform->mapping_bytes_max ? platform->mapping_bytes_max : UINT64_MAX;
	limits->buffers_max = UINT32_MAX;
	limits->alignment_bytes = platform->alignment_bytes;
	limits->segment_bytes_max = viodma_dma_longest_segment(platform);
	limits->boundary_bytes = platform->boundary_bytes;
	if (domain->kind == VIODMA_DOMAIN_IOMMU)
		limit_by_addresses(domain, limits);
	if (domain->bounces)
		limit_by_pool(domain, limits);
	limit_segments(domain, limits);
}

enum viodma_result viodma_mapping_segments(const struct viodma_mapping *mapping, uint64_t offset, uint64_t len_bytes,
					   enum viodma_permission permission, struct viodma_segment *segments,
					   uint32_t capacity, uint32_t *count)
{
	uint32_t i, made = 0;

	if (!mapping->domain || !len_bytes || offset >= mapping->len_bytes || len_bytes > mapping->len_bytes - offset ||
	    !permission || ((unsigned)permission & ~(unsigned)mapping->direction))
		return VIODMA_E_INVALID;
	for (i = 0; offset >= mapping->segments[i].len_bytes; i++)
		offset -= mapping->segments[i].len_bytes;
	for (; len_bytes; i++, offset = 0) {
		const struct viodma_segment *whole = &mapping->segments[i];
		struct viodma_segment *part = &segments[made];

		if (made++ == capacity)
			return VIODMA_E_LIMIT;
		part->bus.v = whole->bus.v + offset;
		part->len_bytes = (uint32_t)least(whole->len_bytes - offset, len_bytes);
		part->permission = permission;
		len_bytes -= part->len_bytes;
		if (part->bus.v & (mapping->domain->platform.alignment_bytes - 1))
			return VIODMA_E_INVALID;
	}
	*count = made;
	return VIODMA_OK;
}
