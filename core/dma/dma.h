/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dma.h - what the files of this room share. The only room that makes bus addresses.
 *
 *   platform.c       a description is checked
 *   platform_text.c  ... read and written as text
 *   memory.c         registered objects: physical address <-> pointer
 *   pool.c           slots and runs of a pool
 *   domain.c         life of a domain; map, unmap, sync as callers see them: decides, unwinds, counts
 *   dma_memory.c     memory that both halves use: alloc, release
 *   limits.c         what one mapping can hold; parts of a mapping that stays
 *   segments.c       from bus ranges to segments: merging, limits
 *   straight.c       the short way of what bounces where nothing else is to be done; where map and unmap begin
 *   bounce.c         a mapping's runs in the pool: take, copy in, copy out, give back
 *   fixed.c          direct and offset: bus addresses by arithmetic or by the platform's function; what is out of reach
 *   iommu.c          bus addresses by a table: granules, partial ones bounced; unwinding
 *   iova.c           which bus addresses are free: a buddy system
 *   iova_recent.c    ... and those that were given back lately, at hand
 *   deferred.c       ranges that wait for their invalidation
 *   dma_debug.c      the shadow of every mapping
 *
 * How a map goes (domain.c):
 *   1. what straight.c takes is done with; debug looks (viodma_debug_map_begin)
 *   2. kind fixed (direct, offset, bounce):  viodma_fixed_map  - for each buffer: in place if the device reaches all of it,
 *      its alignment fits, and the platform is not restricted (or the buffer lies in the pool already); else a run
 *      kind IOMMU, bounce over IOMMU:        viodma_iommu_map
 *      both append segments and runs to the mapping; on failure domain.c frees what was appended
 *   3. what the device may read is copied into the runs (bounce.c) and cleaned (cache)
 * An unmap: caches, copy out of written_bytes, viodma_iommu_unmap, runs given back (or handed to what waits).
 */
#ifndef VIODMA_DMA_DMA_H
#define VIODMA_DMA_DMA_H

#include <viodma/dma_debug.h>
#include <viodma/domain.h>

/* ---- memory.c ---- */

/* The number of the first object that begins behind phys; the one before it, if any, is all that may hold it. */
uint32_t viodma_memory_behind(const struct viodma_memory *memory, viodma_phys phys);
/* The byte at phys, or NULL; *len_bytes is cut to what goes on in the same object. */
void *viodma_memory_part(const struct viodma_memory *memory, viodma_phys phys, uint64_t *len_bytes);

/* ---- pool.c ---- */

/* A run for len_bytes starting `offset` bytes into its first slot; its number, or VIODMA_POOL_NONE. Tells and grows. */
uint32_t viodma_pool_take(struct viodma_pool *pool, uint32_t len_bytes, uint32_t offset);
/* A run for so many bytes, if one is free as things are; else VIODMA_POOL_NONE, and nothing is told, grown or counted. */
uint32_t viodma_pool_try(struct viodma_pool *pool, uint64_t wanted_bytes);
/* A run starting at a multiple of align_bytes (physically). */
uint32_t viodma_pool_take_aligned(struct viodma_pool *pool, uint32_t len_bytes, uint32_t align_bytes);
void viodma_pool_give(struct viodma_pool *pool, uint32_t run);
void viodma_pool_quarantine(struct viodma_pool *pool, uint32_t run);
/* All slots of a piece of memory, of which none but quarantined ones are in use. */
void viodma_pool_quarantine_chunk(struct viodma_pool *pool, uint32_t which);
/* The piece of memory that a run lies in. */
static inline struct viodma_pool_chunk *viodma_pool_chunk(const struct viodma_pool *pool, uint32_t run)
{
	const struct viodma_pool_chunk *chunk = pool->chunks;

	while (run - chunk->first >= chunk->count)
		chunk++;
	return (struct viodma_pool_chunk *)chunk;
}

/* The slot's record; the memory and physical address of the run's first byte; the run's length in bytes. */
static inline struct viodma_pool_slot *viodma_pool_slot(struct viodma_pool *pool, uint32_t run)
{
	struct viodma_pool_chunk *chunk = viodma_pool_chunk(pool, run);

	return &chunk->slots[run - chunk->first];
}

static inline void *viodma_pool_memory(const struct viodma_pool *pool, uint32_t run, viodma_phys *phys, uint32_t *run_bytes)
{
	const struct viodma_pool_chunk *chunk = viodma_pool_chunk(pool, run);
	uint64_t offset = (uint64_t)(run - chunk->first) * pool->slot_bytes;

	phys->v = chunk->memory.phys.v + offset;
	*run_bytes = chunk->slots[run - chunk->first].run * pool->slot_bytes;
	return (unsigned char *)chunk->memory.memory + offset;
}
/* The largest run it can have: run_bytes, or its largest chunk if that is smaller (no chunk yet: run_bytes). */
static inline uint32_t viodma_pool_largest_run(const struct viodma_pool *pool)
{
	return pool->largest_run;
}
/* Do all bytes lie in one piece of the pool's memory? */
bool viodma_pool_holds(const struct viodma_pool *pool, viodma_phys phys, uint64_t len_bytes);

/*
 * One slot of the first piece of memory, where it is free at the hint; else VIODMA_POOL_NONE: ask viodma_pool_try. In the
 * straight way's line, where each instruction counts; pool.c has the words for it.
 */
static inline uint32_t viodma_pool_take_one(struct viodma_pool *pool)
{
	struct viodma_pool_statistics *statistics = &pool->statistics;
	struct viodma_pool_chunk *chunk = &pool->chunks[0];
	uint32_t index = chunk->hint, bit = (uint32_t)1 << index % 32, *word;

	if (!pool->chunk_count)
		return VIODMA_POOL_NONE;
	word = &chunk->used[index / 32];
	if (*word & bit)
		return VIODMA_POOL_NONE;
	*word |= bit;
	chunk->free--;
	chunk->hint = index + 1 == chunk->count ? 0 : index + 1;
	chunk->slots[index].run = 1;
	statistics->allocations++;
	statistics->used_bytes += pool->slot_bytes;
	if (statistics->used_bytes > statistics->high_water_bytes)
		statistics->high_water_bytes = statistics->used_bytes;
	return index; /* the first piece's first slot is number 0 */
}

/*
 * A single slot of the first piece that was handed out lately and came back, and is kept at hand: marked as handed out, its
 * run set, and not counted. Pre: there is one.
 */
static inline uint32_t viodma_pool_take_at_hand(struct viodma_pool *pool, struct viodma_pool_slot **record)
{
	struct viodma_pool_statistics *statistics = &pool->statistics;
	uint32_t index = pool->at_hand;
	uint64_t used_bytes = statistics->used_bytes + pool->slot_bytes;

	*record = &pool->chunks[0].slots[index];
	pool->at_hand = (*record)->next;
	statistics->allocations++;
	statistics->used_bytes = used_bytes;
	if (used_bytes > statistics->high_water_bytes)
		statistics->high_water_bytes = used_bytes;
	return index;
}

/* A used pool tells of its next exhaustion once half of it is free again. */
static inline void viodma_pool_account_free(struct viodma_pool *pool, uint64_t len_bytes)
{
	pool->statistics.used_bytes -= len_bytes;
	if (__builtin_expect(pool->told, 0) && pool->statistics.used_bytes < pool->statistics.bytes / 2)
		pool->told = false;
}

static inline void viodma_pool_keep_at_hand(struct viodma_pool *pool, uint32_t index)
{
	pool->chunks[0].slots[index].next = pool->at_hand;
	pool->at_hand = index;
	viodma_pool_account_free(pool, pool->slot_bytes);
}

/* More than one slot of a run that ends, marked as free. */
void viodma_pool_mark_free(struct viodma_pool_chunk *chunk, uint32_t index, uint32_t count);

/* A run of this piece is free again. */
static inline void viodma_pool_give_back(struct viodma_pool *pool, struct viodma_pool_chunk *chunk, uint32_t run)
{
	uint32_t index = run - chunk->first, count = chunk->slots[index].run;

	if (count == 1)
		chunk->used[index / 32] &= ~((uint32_t)1 << index % 32);
	else
		viodma_pool_mark_free(chunk, index, count);
	chunk->slots[index].run = 0;
	chunk->free += count;
	if (index < chunk->hint)
		chunk->hint = index;
	viodma_pool_account_free(pool, (uint64_t)count << pool->slot_shift);
}

/* ---- domain.c ---- */

/* viodma_domain_map_general and viodma_domain_unmap_general, but for the short way. */
enum viodma_result viodma_domain_map_long(struct viodma_domain *domain, struct viodma_mapping *mapping,
					  const struct viodma_buffer *buffers, uint32_t count,
					  enum viodma_direction direction, struct viodma_segment *segments,
					  uint32_t capacity);
enum viodma_result viodma_domain_unmap_long(struct viodma_mapping *mapping, uint64_t written_bytes);
/* After VIODMA_E_EXHAUSTED: true: there may be more room now. */
bool viodma_domain_make_room(struct viodma_domain *domain);

/* ---- numbers ---- */

/* Slots (or granules) in so many bytes: division by a power of two, without one. */
static inline uint64_t viodma_dma_slots(uint64_t len_bytes, uint32_t slot_bytes)
{
	for (; slot_bytes > 1; slot_bytes >>= 1)
		len_bytes >>= 1;
	return len_bytes;
}

/* The longest segment that ends where another may begin. */
static inline uint32_t viodma_dma_longest_segment(const struct viodma_platform *platform)
{
	uint32_t longest = platform->segment_bytes_max ? platform->segment_bytes_max : UINT32_MAX;

	return platform->alignment_bytes > 1 ? longest & ~(platform->alignment_bytes - 1) : longest;
}

/* What two sides must not share, if one of them writes. */
static inline uint32_t viodma_dma_line_bytes(const struct viodma_platform *platform)
{
	return platform->coherent ? 1 : platform->line_bytes;
}

static inline bool viodma_dma_is_iommu(const struct viodma_domain *domain)
{
	return domain->kind == VIODMA_DOMAIN_IOMMU || domain->kind == VIODMA_DOMAIN_BOUNCE_IOMMU;
}

/* ---- segments.c: a list being filled ---- */

struct viodma_segment_list {
	struct viodma_segment *segments;
	uint32_t count, capacity;
	enum viodma_permission permission;
	uint32_t segment_bytes_max; /* of the platform; 0: none */
	uint64_t boundary_bytes;    /* likewise */
};

/* Append a range, merged with the last segment where it adjoins and limits allow, split where they ask; or E_LIMIT. */
enum viodma_result viodma_segments_put(struct viodma_segment_list *list, viodma_bus bus, uint64_t len_bytes);

/* ---- bounce.c ---- */

/*
 * Take a run for origin..+len_bytes, the bytes `position`.. of the mapping, keeping the low bits of the address (below
 * keep_bytes, a power of two: the granule, or the alignment); append it to mapping->runs. *run: its number.
 * VIODMA_E_EXHAUSTED, VIODMA_E_LIMIT (larger than a run). Nothing is copied yet.
 */
enum viodma_result viodma_bounce_take(struct viodma_mapping *mapping, viodma_phys origin, uint32_t len_bytes,
				      uint64_t position, uint32_t keep_bytes, uint32_t *run);
/* Could the mapping, with what it has, take so many bytes more if nothing else were in use? */
bool viodma_bounce_fits_empty(const struct viodma_mapping *mapping, uint64_t wanted_bytes);
/* What of a run is among bytes offset..+len_bytes of the mapping: where it is and was. False: nothing. */
struct viodma_bounce_part {
	void *memory;
	viodma_phys phys, origin;
	uint64_t len_bytes;
};
bool viodma_bounce_part(const struct viodma_mapping *mapping, uint32_t run, uint64_t offset, uint64_t len_bytes,
			struct viodma_bounce_part *part);
/* Where a run's data lies: physical address of its first byte of data. */
viodma_phys viodma_bounce_phys(struct viodma_domain *domain, uint32_t run);
/* Copy bytes offset..+len_bytes of the mapping, as far as they are in runs: to the pool, or back to their origin. */
void viodma_bounce_copy(const struct viodma_mapping *mapping, uint64_t offset, uint64_t len_bytes, bool to_pool);
/* Give back every run of a list that begins at `runs` / quarantine them. */
void viodma_bounce_give(struct viodma_domain *domain, uint32_t runs);
void viodma_bounce_quarantine(struct viodma_domain *domain, uint32_t runs);

/* ---- straight.c ---- */

/* May anything of this domain go the short way? For its initialisation. */
bool viodma_straight_possible(const struct viodma_domain *domain);
/*
 * What stays entered of the pool is taken out; nothing goes the short way from now on. False: there was nothing. Pre: no
 * mapping is live, and nothing waits.
 */
bool viodma_straight_end(struct viodma_domain *domain);

/* ---- fixed.c ---- */

/* The bus address of phys, for as many bytes as go on contiguously; false: out of reach. */
bool viodma_fixed_bus(const struct viodma_domain *domain, viodma_phys phys, viodma_bus *bus, uint64_t *len_bytes);
/* Does the device reach all of it, each contiguous part beginning aligned? Not asked: whether it may. */
bool viodma_fixed_reaches(const struct viodma_domain *domain, viodma_phys phys, uint64_t len_bytes);
/* All buffers of mapping: segments into list, runs onto the mapping. VIODMA_E_*: domain.c unwinds. */
enum viodma_result viodma_fixed_map(struct viodma_domain *domain, struct viodma_mapping *mapping,
				    struct viodma_segment_list *list);

/* ---- iommu.c ---- */

/* What is wrong with the configuration, as a sentence; NULL: nothing, and the range of bus addresses is chosen. */
const char *viodma_iommu_fault(struct viodma_domain *domain);
/*
 * All buffers of mapping: bus addresses (mapping->iova, iova_bytes), table entries, runs for parts of granules (or, over a
 * bounce, for everything). On failure the table and the addresses are as before; runs are domain.c's to give back.
 * VIODMA_E_QUARANTINED: they are not, and were counted; no runs are left to give back.
 */
enum viodma_result viodma_iommu_map(struct viodma_domain *domain, struct viodma_mapping *mapping,
				    struct viodma_segment_list *list);
/*
 * End mapping->iova: strict, or put among what waits. *give_runs: the caller gives the mapping's runs back now (else they
 * are kept by what waits, or quarantined). VIODMA_E_QUARANTINED, counted; deferred: may be about what waited longer.
 */
enum viodma_result viodma_iommu_unmap(struct viodma_domain *domain, struct viodma_mapping *mapping, bool *give_runs);
/* Whole granules of memory from the pool for viodma_domain_alloc: entered at a bus address, and taken out (strictly). */
enum viodma_result viodma_iommu_enter(struct viodma_domain *domain, viodma_phys phys, uint64_t len_bytes,
				      uint32_t align_bytes, enum viodma_permission permission, viodma_bus *bus);
enum viodma_result viodma_iommu_take_out(struct viodma_domain *domain, viodma_bus bus, uint64_t len_bytes);
/* Largest mapping that the address allocator can give. */
uint64_t viodma_iommu_bytes_max(const struct viodma_domain *domain);
/* Count a mapping that could not be ended; its runs stay taken, and its addresses, since nobody gives them (DRV-22). */
void viodma_iommu_quarantine(struct viodma_domain *domain, uint64_t len_bytes, uint32_t runs);

/* ---- iova.c: granules of the domain's address range ---- */

/* Choose the range; storage is not written yet. VIODMA_E_INVALID: storage too small, or nowhere to be. */
enum viodma_result viodma_iova_choose(struct viodma_domain *domain);
/* All of it is free. */
void viodma_iova_start(struct viodma_domain *domain);
/* 2^n granules holding len_bytes, aligned to align_bytes and to their own size; VIODMA_E_EXHAUSTED, VIODMA_E_LIMIT. */
enum viodma_result viodma_iova_take(struct viodma_domain *domain, uint64_t len_bytes, uint64_t align_bytes, viodma_bus *bus);
/* len_bytes as it was taken. */
void viodma_iova_give(struct viodma_domain *domain, viodma_bus bus, uint64_t len_bytes);

/* ---- iova_recent.c: the same, for everybody but itself ---- */

void viodma_addresses_start(struct viodma_domain *domain);
enum viodma_result viodma_addresses_take(struct viodma_domain *domain, uint64_t len_bytes, uint64_t align_bytes,
					 viodma_bus *bus);
void viodma_addresses_give(struct viodma_domain *domain, viodma_bus bus, uint64_t len_bytes);

/* ---- deferred.c ---- */

/* Put a range, with the pool's runs it leads to, among what waits; then settles what is due, or if there is no more room. */
enum viodma_result viodma_deferred_put(struct viodma_domain *domain, viodma_bus bus, uint64_t len_bytes, uint32_t runs);
/*
 * Invalidate what waits, give addresses and runs back (quarantine them where it fails). all: due or not.
 * VIODMA_E_QUARANTINED: that failed; with `all` also if anything of the domain was quarantined before.
 */
enum viodma_result viodma_deferred_settle(struct viodma_domain *domain, bool all);

/* ---- dma_debug.c: called by domain.c where config.debug is there ---- */

/* Before a map: false: the mapping is live already (reported); answer VIODMA_E_MISUSE. */
bool viodma_debug_map_begin(struct viodma_debug *debug, const struct viodma_mapping *mapping);
/* After it, with what was answered. */
void viodma_debug_map_end(struct viodma_debug *debug, struct viodma_mapping *mapping, enum viodma_result result);
/* Before an unmap or a sync: false: not live (reported); do nothing, answer VIODMA_E_MISUSE. */
bool viodma_debug_unmap(struct viodma_debug *debug, struct viodma_mapping *mapping, uint64_t written_bytes);
bool viodma_debug_sync(struct viodma_debug *debug, const struct viodma_mapping *mapping, uint64_t offset,
		       uint64_t len_bytes, bool for_device);
/* After a sync, in either direction: what the device may read is as it was handed over. */
void viodma_debug_synced(struct viodma_debug *debug, const struct viodma_mapping *mapping);
/* The domain ends, or would: report what is live. */
void viodma_debug_end(struct viodma_debug *debug);

#endif
