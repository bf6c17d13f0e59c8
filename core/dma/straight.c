/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * straight.c - how it works: where a mapping bounces, and nothing limits its segments, all that there is to do for a
 * buffer is to take a run, to copy, and to write one segment. Whether a domain is of that kind is known when it is made
 * (viodma_straight_possible); whether a buffer is, one look at it tells. Whatever is not (buffers in the pool, or in
 * several objects, or larger than a run, and wrong ones), and any shortage, is left to the general way, which decides
 * and answers.
 *
 * A run is found by its number, and so is its bus address: each piece of the pool has one bus address at which it
 * begins. On fixed platforms that is so for ever. Behind an IOMMU it is made so, in deferred mode and where the rings
 * have a pool of their own: each piece is entered as a whole, once for each direction that is asked for, at bus
 * addresses of its own, and stays. A direction's permission holds at its bus addresses as ever. What the device reaches
 * beyond what is mapped is what was bounced for it before, or is bounced for it now (DRV-19). If bus addresses become
 * short these are given back as soon as nothing is live, and there is no short way from then on.
 *
 * A run keeps the low bits of the address as far as that needs no slot more: copies go faster between places that are
 * alike, and buffers that lie in different lines of the cache go on doing so.
 */
#include <viodma/port.h>

#include "../base/require.h"
#include "dma.h"

bool viodma_straight_possible(const struct viodma_domain *domain)
{
	const struct viodma_platform *platform = &domain->platform;
	const struct viodma_domain_config *config = &domain->config;

	if (!domain->bounces || config->debug || !platform->coherent || platform->alignment_bytes > 1 ||
	    platform->mapping_bytes_max || platform->segment_bytes_max || platform->boundary_bytes)
		return false;
	if (!viodma_dma_is_iommu(domain))
		return platform->restricted;
	return domain->iommu.mode == VIODMA_IOMMU_DEFERRED && config->ring_pool && config->ring_pool != config->pool;
}

/* ---- where the device finds the pool ---- */

/* At most half of all bus addresses stay taken. */
static bool enter(struct viodma_domain *domain, const struct viodma_object *memory, enum viodma_direction direction,
		  viodma_bus *bus)
{
	uint64_t used_bytes = (uint64_t)domain->iova_used << domain->granule_shift;

	/* Rounded up to a power of two it is less than twice as much. */
	if (used_bytes + 2 * memory->len_bytes > viodma_iommu_bytes_max(domain) / 2)
		return false;
	return viodma_iommu_enter(domain, memory->phys, memory->len_bytes, domain->platform.granule_bytes,
				  (enum viodma_permission)direction, bus) == VIODMA_OK; /* = DRV-8 */
}

/* A piece of the pool gets its bus address for a direction. */
static bool find(struct viodma_domain *domain, uint32_t chunk, enum viodma_direction direction)
{
	const struct viodma_object *memory = &domain->config.pool->chunks[chunk].memory;
	viodma_bus *bus = &domain->pool_bus[direction - 1][chunk];
	uint64_t len_bytes;

	if (viodma_dma_is_iommu(domain) ? !enter(domain, memory, direction, bus) :
		    !viodma_fixed_bus(domain, memory->phys, bus, &len_bytes) || len_bytes < memory->len_bytes) {
		domain->straight = false;
		return false;
	}
	domain->pool_found[direction - 1] |= (uint8_t)(1u << chunk);
	return true;
}

bool viodma_straight_end(struct viodma_domain *domain)
{
	struct viodma_pool *pool = domain->config.pool;
	uint32_t chunk, k;
	bool any = false;

	if (!viodma_dma_is_iommu(domain))
		return false;
	domain->straight = false;
	for (chunk = 0; pool && chunk < pool->chunk_count; chunk++) {
		bool gone = true;

		for (k = 0; k < 3; k++) {
			if (!(domain->pool_found[k] >> chunk & 1))
				continue;
			any = true;
			domain->pool_found[k] &= (uint8_t)~(1u << chunk);
			gone &= viodma_iommu_take_out(domain, domain->pool_bus[k][chunk],
						      pool->chunks[chunk].memory.len_bytes) == VIODMA_OK;
		}
		if (!gone)
			viodma_pool_quarantine_chunk(pool, chunk); /* = DRV-22 */
	}
	return any;
}

/* ---- one buffer ---- */

static inline void *bytes_in(const struct viodma_memory *memory, uint32_t number, viodma_phys phys, uint32_t len_bytes)
{
	const struct viodma_object *object = &memory->objects[number];
	uint64_t offset = phys.v - object->phys.v;

	if (offset >= object->len_bytes || len_bytes > object->len_bytes - offset)
		return NULL;
	return (unsigned char *)object->memory + offset;
}

/* Nothing of an object lies in the pool. (If the pool grows into it, later, that is bounced, and nobody is worse off.) */
static bool is_apart(const struct viodma_object *object, const struct viodma_pool *pool)
{
	uint32_t i;

	for (i = 0; pool && i < pool->chunk_count; i++) {
		const struct viodma_object *chunk = &pool->chunks[i].memory;

		if (chunk->phys.v - object->phys.v < object->len_bytes || object->phys.v - chunk->phys.v < chunk->len_bytes)
			return false;
	}
	return true;
}

static void *look_for(struct viodma_domain *domain, viodma_phys phys, uint32_t len_bytes)
{
	const struct viodma_memory *memory = domain->config.memory;
	uint32_t behind = viodma_memory_behind(memory, phys);

	if (!behind)
		return NULL;
	domain->last_object = behind - 1;
	domain->last_is_apart = is_apart(&memory->objects[behind - 1], domain->config.pool) &&
				is_apart(&memory->objects[behind - 1], domain->config.ring_pool);
	return bytes_in(memory, behind - 1, phys, len_bytes);
}

/* The bytes at phys, if all lie in one object; where the last ones lay is looked at first. */
static inline void *bytes_at(struct viodma_domain *domain, viodma_phys phys, uint32_t len_bytes)
{
	const struct viodma_memory *memory = domain->config.memory;
	void *bytes = NULL;

	if (domain->last_object < memory->count)
		bytes = bytes_in(memory, domain->last_object, phys, len_bytes);
	return bytes ? bytes : look_for(domain, phys, len_bytes);
}

/*
 * Behind an IOMMU what fills a granule is entered in place; on a restricted platform what lies in the pool is. The buffer
 * is in the object that was found last.
 */
static inline bool bounces(const struct viodma_domain *domain, const struct viodma_buffer *buffer)
{
	const struct viodma_domain_config *config = &domain->config;
	uint32_t granule_bytes = domain->platform.granule_bytes;

	if (domain->kind == VIODMA_DOMAIN_IOMMU)
		return buffer->len_bytes < (uint64_t)granule_bytes + (-(uint32_t)buffer->phys.v & (granule_bytes - 1));
	if (domain->last_is_apart)
		return true;
	return !viodma_pool_holds(config->pool, buffer->phys, buffer->len_bytes) &&
	       !(config->ring_pool && viodma_pool_holds(config->ring_pool, buffer->phys, buffer->len_bytes));
}

/* A run with its record, and what the device may read copied; its bus address; or VIODMA_POOL_NONE. */
static inline uint32_t bounce(struct viodma_domain *domain, const struct viodma_buffer *buffer,
			      enum viodma_direction direction, uint64_t position, uint32_t next, viodma_bus *bus)
{
	struct viodma_pool *pool = domain->config.pool;
	const uint32_t within = pool->slot_bytes - 1, len_bytes = buffer->len_bytes;
	void *origin = bytes_at(domain, buffer->phys, len_bytes);
	uint32_t offset = (uint32_t)buffer->phys.v & within, run = VIODMA_POOL_NONE, chunk = 0;
	struct viodma_pool_chunk *piece = pool->chunks;
	struct viodma_pool_slot *record;
	uint64_t at;

	if (!len_bytes || !origin || !bounces(domain, buffer))
		return VIODMA_POOL_NONE;
	if (((len_bytes - 1) & within) + offset > within)
		offset = 0;
	if (len_bytes <= pool->slot_bytes)
		run = viodma_pool_take_one(pool);
	if (run == VIODMA_POOL_NONE) {
		run = viodma_pool_try(pool, (uint64_t)offset + len_bytes);
		if (run == VIODMA_POOL_NONE)
			return run;
		piece = viodma_pool_chunk(pool, run);
		chunk = (uint32_t)(piece - pool->chunks);
	}
	if (!(domain->pool_found[direction - 1] >> chunk & 1) && !find(domain, chunk, direction)) {
		viodma_pool_give(pool, run);
		return VIODMA_POOL_NONE;
	}
	record = &piece->slots[run - piece->first];
	record->next = next;
	record->offset = offset;
	record->len = len_bytes;
	record->position = position;
	record->origin = buffer->phys;
	at = ((uint64_t)(run - piece->first) << pool->slot_shift) + offset;
	if (direction & VIODMA_TO_DEVICE) {
		memcpy((unsigned char *)piece->memory.memory + at, origin, len_bytes);
		pool->statistics.copied_in_bytes += len_bytes;
	}
	bus->v = domain->pool_bus[direction - 1][chunk].v + at;
	return run;
}

/* ---- mappings ---- */

/* How many segments there are then. */
static inline uint32_t put(struct viodma_segment *segments, uint32_t made, viodma_bus bus, uint32_t len_bytes,
			   enum viodma_direction direction)
{
	struct viodma_segment *segment = &segments[made];

	if (made && segment[-1].bus.v + segment[-1].len_bytes == bus.v &&
	    segment[-1].len_bytes <= UINT32_MAX - len_bytes) {
		segment[-1].len_bytes += len_bytes;
		return made;
	}
	segment->bus = bus;
	segment->len_bytes = len_bytes;
	segment->permission = (enum viodma_permission)direction;
	return made + 1;
}

static inline void count_mapping(struct viodma_domain *domain, uint64_t len_bytes)
{
	struct viodma_domain_statistics *statistics = &domain->statistics;

	statistics->bounced += len_bytes;
	statistics->maps++;
	statistics->live++;
	if (statistics->live > statistics->live_peak)
		statistics->live_peak = statistics->live;
}

/* What was done of a mapping is undone. */
static void undo(struct viodma_domain *domain, uint32_t runs, uint64_t len_bytes, enum viodma_direction direction)
{
	viodma_bounce_give(domain, runs);
	if (direction & VIODMA_TO_DEVICE)
		domain->config.pool->statistics.copied_in_bytes -= len_bytes;
}

enum viodma_result viodma_straight_map(struct viodma_domain *domain, struct viodma_mapping *mapping,
				       const struct viodma_buffer *buffers, uint32_t count,
				       enum viodma_direction direction, struct viodma_segment *segments,
				       uint32_t capacity)
{
	uint32_t i, runs = VIODMA_POOL_NONE, made = 0;
	uint64_t len_bytes = 0;

	if (!count || count > capacity || direction < VIODMA_TO_DEVICE || direction > VIODMA_BIDIRECTIONAL)
		return viodma_domain_map_long(domain, mapping, buffers, count, direction, segments, capacity);
	if (domain->waiting_count)
		(void)viodma_deferred_settle(domain, false);
	for (i = 0; i < count; i++) {
		viodma_bus bus;
		uint32_t run = bounce(domain, &buffers[i], direction, len_bytes, runs, &bus);

		if (run == VIODMA_POOL_NONE) {
			undo(domain, runs, len_bytes, direction);
			return viodma_domain_map_long(domain, mapping, buffers, count, direction, segments, capacity);
		}
		made = put(segments, made, bus, buffers[i].len_bytes, direction);
		runs = run;
		len_bytes += buffers[i].len_bytes;
	}
	mapping->domain = domain;
	mapping->segments = segments;
	mapping->segment_count = made;
	mapping->len_bytes = len_bytes;
	mapping->runs = runs;
	mapping->direction = direction;
	mapping->checked_by = NULL;
	mapping->quiet = false;
	mapping->straight = true;
	count_mapping(domain, len_bytes);
	return VIODMA_OK;
}

/* What the device wrote of a run, as far as written_bytes say so, goes back to where it came from. */
static inline void copy_out(struct viodma_domain *domain, const struct viodma_pool_chunk *chunk,
			    const struct viodma_pool_slot *record, uint64_t written_bytes)
{
	struct viodma_pool *pool = domain->config.pool;
	uint64_t len_bytes = written_bytes - record->position, at = (uint64_t)(record - chunk->slots) << pool->slot_shift;
	void *origin = bytes_at(domain, record->origin, record->len);

	if (len_bytes > record->len)
		len_bytes = record->len;
	if (!origin) /* the registered memory was changed since the map */
		return;
	pool->statistics.copied_out_bytes += len_bytes;
	memcpy(origin, (unsigned char *)chunk->memory.memory + at + record->offset, (size_t)len_bytes);
}

enum viodma_result viodma_straight_unmap(struct viodma_mapping *mapping, uint64_t written_bytes)
{
	struct viodma_domain *domain = mapping->domain;
	struct viodma_pool *pool = domain->config.pool;
	enum viodma_result result = VIODMA_OK;
	uint32_t run, next;

	for (run = mapping->runs; run != VIODMA_POOL_NONE; run = next) {
		struct viodma_pool_chunk *chunk = viodma_pool_chunk(pool, run);
		const struct viodma_pool_slot *record = &chunk->slots[run - chunk->first];

		next = record->next;
		if ((mapping->direction & VIODMA_FROM_DEVICE) && written_bytes > record->position)
			copy_out(domain, chunk, record, written_bytes);
		viodma_pool_give_back(pool, chunk, run);
	}
	mapping->runs = VIODMA_POOL_NONE;
	mapping->domain = NULL;
	mapping->straight = false;
	domain->statistics.unmaps++;
	domain->statistics.live--;
	if (domain->waiting_count)
		result = viodma_deferred_settle(domain, false);
	if (result != VIODMA_OK)
		return result;
	return written_bytes > mapping->len_bytes ? VIODMA_E_INVALID : VIODMA_OK;
}
