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
 * Most of what is mapped is one buffer that lies where the last one lay, and fits in one slot; and slots come back. For
 * that there is a way shorter still (where map and unmap begin): how long a buffer may be is worked out when the object is
 * found, so that one comparison says that it bounces, in one slot; the slot is one that is at hand (pool.c).
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

#define APART __attribute__((noinline)) /* so that nobody saves registers for what another way needs */
#define DOUBT(condition) __builtin_expect(!!(condition), 0)

/* ---- where the device finds the pool ---- */

static void end_short_ways(struct viodma_domain *domain)
{
	domain->straight = false;
	domain->quick_bytes = 0;
}

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
		end_short_ways(domain);
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
	end_short_ways(domain);
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

/*
 * Up to so many bytes in the object that was found last bounce for sure, in one slot: behind an IOMMU what is shorter than
 * a granule does; on a restricted platform all that is not in the pool.
 */
static uint32_t quick_bytes(const struct viodma_domain *domain)
{
	const struct viodma_pool *pool = domain->config.pool;

	if (!domain->straight)
		return 0;
	if (domain->kind == VIODMA_DOMAIN_IOMMU)
		return domain->platform.granule_bytes - 1 < pool->slot_bytes ? domain->platform.granule_bytes - 1 :
									       pool->slot_bytes;
	return domain->last_is_apart ? pool->slot_bytes : 0;
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
	domain->quick_bytes = quick_bytes(domain);
	return bytes_in(memory, behind - 1, phys, len_bytes);
}

/* The bytes at phys, if all lie in the object where the last ones lay. */
static inline void *bytes_in_last(const struct viodma_domain *domain, viodma_phys phys, uint32_t len_bytes)
{
	const struct viodma_memory *memory = domain->config.memory;

	return domain->last_object < memory->count ? bytes_in(memory, domain->last_object, phys, len_bytes) : NULL;
}

/* ... if all lie in one object; where the last ones lay is looked at first. */
static inline void *bytes_at(struct viodma_domain *domain, viodma_phys phys, uint32_t len_bytes)
{
	void *bytes = bytes_in_last(domain, phys, len_bytes);

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

/* Where in its run a buffer lies. */
static inline uint32_t offset_of(const struct viodma_pool *pool, viodma_phys phys, uint32_t len_bytes)
{
	const uint32_t within = pool->slot_bytes - 1, offset = (uint32_t)phys.v & within;

	return ((len_bytes - 1) & within) + offset > within ? 0 : offset;
}

/* A run with its record, and what the device may read copied; its bus address; or VIODMA_POOL_NONE. */
static inline uint32_t bounce(struct viodma_domain *domain, const struct viodma_buffer *buffer,
			      enum viodma_direction direction, uint64_t position, uint32_t next, viodma_bus *bus)
{
	struct viodma_pool *pool = domain->config.pool;
	const uint32_t len_bytes = buffer->len_bytes;
	void *origin = bytes_at(domain, buffer->phys, len_bytes);
	uint32_t offset = offset_of(pool, buffer->phys, len_bytes), run = VIODMA_POOL_NONE, chunk = 0;
	struct viodma_pool_chunk *piece = pool->chunks;
	struct viodma_pool_slot *record;
	uint64_t at;

	if (!len_bytes || !origin || !bounces(domain, buffer))
		return VIODMA_POOL_NONE;
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

/* A mapping lives, and is counted; its runs, and one_slot, are the caller's. */
static inline void fill(struct viodma_domain *domain, struct viodma_mapping *mapping, struct viodma_segment *segments,
			uint32_t segment_count, uint64_t len_bytes, enum viodma_direction direction)
{
	struct viodma_domain_statistics *statistics = &domain->statistics;
	uint64_t live = statistics->live + 1;

	mapping->domain = domain;
	mapping->segments = segments;
	mapping->segment_count = segment_count;
	mapping->direction = direction;
	mapping->len_bytes = len_bytes;
	mapping->checked_by = NULL;
	mapping->straight = true;
	mapping->quiet = false;
	statistics->bounced += len_bytes;
	statistics->maps++;
	statistics->live = live;
	if (live > statistics->live_peak)
		statistics->live_peak = live;
}

static inline void end_mapping(struct viodma_domain *domain, struct viodma_mapping *mapping)
{
	mapping->runs = VIODMA_POOL_NONE;
	mapping->domain = NULL;
	mapping->straight = mapping->one_slot = false;
	domain->statistics.unmaps++;
	domain->statistics.live--;
}

/* What was done of a mapping is undone. */
static void undo(struct viodma_domain *domain, uint32_t runs, uint64_t len_bytes, enum viodma_direction direction)
{
	viodma_bounce_give(domain, runs);
	if (direction & VIODMA_TO_DEVICE)
		domain->config.pool->statistics.copied_in_bytes -= len_bytes;
}

/* Does this run, which alone holds a mapping, go among what is at hand when it ends? */
static bool is_one_slot(const struct viodma_pool *pool, uint32_t run)
{
	return run < pool->chunks[0].count && pool->chunks[0].slots[run].run == 1;
}

/*
 * All of a mapping: segments, runs, copies, counts; or else the long way is gone, which answers whatever there is to say.
 */
static APART enum viodma_result map_straight(struct viodma_domain *domain, struct viodma_mapping *mapping,
					     const struct viodma_buffer *buffers, uint32_t count,
					     enum viodma_direction direction, struct viodma_segment *segments,
					     uint32_t capacity)
{
	uint32_t i, runs = VIODMA_POOL_NONE, made = 0;
	uint64_t len_bytes = 0;

	if (!domain->straight || !count || count > capacity || direction < VIODMA_TO_DEVICE ||
	    direction > VIODMA_BIDIRECTIONAL)
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
	mapping->runs = runs;
	fill(domain, mapping, segments, made, len_bytes, direction);
	mapping->one_slot = count == 1 && is_one_slot(domain->config.pool, runs);
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

static APART enum viodma_result unmap_straight(struct viodma_mapping *mapping, uint64_t written_bytes)
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
	end_mapping(domain, mapping);
	if (domain->waiting_count)
		result = viodma_deferred_settle(domain, false);
	if (result != VIODMA_OK)
		return result;
	return written_bytes > mapping->len_bytes ? VIODMA_E_INVALID : VIODMA_OK;
}

/* ---- one buffer, in one slot that is at hand ---- */

#define WIDE 16u /* bytes that a processor moves at once, more or less */

static APART enum viodma_result copy_many(void *to, const void *from, size_t len_bytes, enum viodma_result result)
{
	memcpy(to, from, len_bytes);
	return result;
}

/* Few bytes are moved in the line, of which later moves may meet earlier ones. The answer is `result`. */
static inline enum viodma_result copy(unsigned char *to, const unsigned char *from, size_t len_bytes,
				      enum viodma_result result)
{
	if (len_bytes - WIDE > 3 * WIDE)
		return copy_many(to, from, len_bytes, result);
	__builtin_memcpy(to, from, WIDE);
	if (len_bytes > 2 * WIDE) {
		__builtin_memcpy(to + WIDE, from + WIDE, WIDE);
		__builtin_memcpy(to + len_bytes - 2 * WIDE, from + len_bytes - 2 * WIDE, WIDE);
	}
	__builtin_memcpy(to + len_bytes - WIDE, from + len_bytes - WIDE, WIDE);
	return result;
}

/* All has been looked at: the buffer lies at origin, and a slot is at hand. */
static APART enum viodma_result map_one_slot(struct viodma_domain *domain, struct viodma_mapping *mapping,
					     const struct viodma_buffer *buffer, const void *origin,
					     enum viodma_direction direction, struct viodma_segment *segment)
{
	const uint32_t len_bytes = buffer->len_bytes;
	struct viodma_pool *pool = domain->config.pool;
	struct viodma_pool_slot *record;
	uint64_t at;
	uint32_t offset, index;

	fill(domain, mapping, segment, 1, len_bytes, direction);
	mapping->one_slot = true;
	segment->len_bytes = len_bytes;
	segment->permission = (enum viodma_permission)direction;
	index = viodma_pool_take_at_hand(pool, &record);
	mapping->runs = index;
	offset = (uint32_t)buffer->phys.v & (pool->slot_bytes - 1);
	if (offset + len_bytes > pool->slot_bytes)
		offset = 0;
	record->next = VIODMA_POOL_NONE;
	record->offset = offset;
	record->len = len_bytes;
	record->position = 0;
	record->origin = buffer->phys;
	at = ((uint64_t)index << pool->slot_shift) + offset;
	segment->bus.v = domain->pool_bus[direction - 1][0].v + at;
	if (!(direction & VIODMA_TO_DEVICE))
		return VIODMA_OK;
	pool->statistics.copied_in_bytes += len_bytes;
	return copy((unsigned char *)pool->chunks[0].memory.memory + at, origin, len_bytes, VIODMA_OK);
}

/* Whichever way is gone has the arguments as they are, or nearly so: this is comparisons, and a jump. */
enum viodma_result viodma_domain_map_general(struct viodma_domain *domain, struct viodma_mapping *mapping,
					     const struct viodma_buffer *buffers, uint32_t count,
					     enum viodma_direction direction, struct viodma_segment *segments,
					     uint32_t capacity)
{
	const uint32_t way = (uint32_t)direction - 1;
	const void *origin;

	if (DOUBT(count != 1) || DOUBT(way > 2) || DOUBT(!(domain->pool_found[way] & 1)) || DOUBT(!capacity) ||
	    DOUBT(buffers->len_bytes - 1 >= domain->quick_bytes) || DOUBT(domain->waiting_count) ||
	    DOUBT(domain->config.pool->at_hand == VIODMA_POOL_NONE))
		return map_straight(domain, mapping, buffers, count, direction, segments, capacity);
	origin = bytes_in_last(domain, buffers->phys, buffers->len_bytes);
	if (DOUBT(!origin))
		return map_straight(domain, mapping, buffers, count, direction, segments, capacity);
	return map_one_slot(domain, mapping, buffers, origin, direction, segments);
}

static inline enum viodma_result copy_back_to(struct viodma_pool *pool, uint32_t index, uint64_t len_bytes,
					      enum viodma_result result, void *origin)
{
	const struct viodma_pool_chunk *chunk = &pool->chunks[0];
	const uint64_t at = ((uint64_t)index << pool->slot_shift) + chunk->slots[index].offset;

	pool->statistics.copied_out_bytes += len_bytes;
	return copy(origin, (unsigned char *)chunk->memory.memory + at, (size_t)len_bytes, result);
}

static APART enum viodma_result copy_back_elsewhere(struct viodma_domain *domain, uint32_t index, uint64_t len_bytes,
						    enum viodma_result result)
{
	const struct viodma_pool_slot *record = &domain->config.pool->chunks[0].slots[index];
	void *origin = look_for(domain, record->origin, record->len);

	if (!origin) /* the registered memory was changed since the map */
		return result;
	return copy_back_to(domain->config.pool, index, len_bytes, result, origin);
}

/* What the device wrote of a slot that is at hand again already, unchanged; the answer is `result`. */
static APART enum viodma_result copy_back(struct viodma_domain *domain, uint32_t index, uint64_t len_bytes,
					  enum viodma_result result)
{
	const struct viodma_pool_slot *record = &domain->config.pool->chunks[0].slots[index];
	void *origin = bytes_in_last(domain, record->origin, record->len);

	if (DOUBT(!origin))
		return copy_back_elsewhere(domain, index, len_bytes, result);
	return copy_back_to(domain->config.pool, index, len_bytes, result, origin);
}

enum viodma_result viodma_domain_unmap_general(struct viodma_mapping *mapping, uint64_t written_bytes)
{
	struct viodma_domain *domain = mapping->domain;
	enum viodma_result result = VIODMA_OK;
	uint32_t index;

	/* Live, and so mapped: nothing else says so. */
	if (!domain || DOUBT(!mapping->one_slot))
		return domain && mapping->straight ? unmap_straight(mapping, written_bytes) :
						     viodma_domain_unmap_long(mapping, written_bytes);
	if (DOUBT(domain->waiting_count))
		return unmap_straight(mapping, written_bytes);
	index = mapping->runs;
	viodma_pool_keep_at_hand(domain->config.pool, index);
	end_mapping(domain, mapping);
	if (DOUBT(written_bytes > mapping->len_bytes)) {
		written_bytes = mapping->len_bytes;
		result = VIODMA_E_INVALID;
	}
	if (!written_bytes || !(mapping->direction & VIODMA_FROM_DEVICE))
		return result;
	return copy_back(domain, index, written_bytes, result);
}
