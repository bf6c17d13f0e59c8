/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * domain.c - how it works: what callers see of a domain. A map checks the buffers, lets the kind's room (fixed.c or
 * iommu.c) fill segments and runs, then brings what the device may read to where it will look: into the pool, out of
 * the caches. If any step fails all before it is undone, and the mapping is not live. An unmap is the reverse.
 *
 * Caches, on a platform that is not coherent (DRV-20): at map and at each sync for the device, all that is handed over
 * is cleaned, in either direction: of what the device will write, so that no dirty line is written back over it later.
 * At a sync for the driver and at unmap what the device may have written is invalidated. Runs in the pool are
 * maintained like any other memory; bytes of a buffer that lie in a run are not, since they may share lines with the
 * driver's own.
 *
 * Exhaustion: ranges that wait for their invalidation are settled, what stays entered of the pool is taken out if
 * nothing is live, and the map is tried once more after each. If the pool had no room although nothing is live there is
 * no unmap to wait for, and the answer is VIODMA_E_LIMIT.
 */
#include <viodma/port.h>

#include "../base/require.h"
#include "dma.h"

/* ---- life ---- */

static bool reaches_all_memory(const struct viodma_domain *domain)
{
	const struct viodma_memory *memory = domain->config.memory;
	uint32_t i;

	for (i = 0; memory && i < memory->count; i++)
		if (!viodma_fixed_reaches(domain, memory->objects[i].phys, memory->objects[i].len_bytes))
			return false;
	return true;
}

static enum viodma_domain_kind kind_of(const struct viodma_domain *domain)
{
	const struct viodma_platform *platform = &domain->platform;
	bool translated = domain->addressing == VIODMA_ADDRESSING_PLATFORM;

	if (translated && platform->kind == VIODMA_PLATFORM_IOMMU)
		return platform->restricted ? VIODMA_DOMAIN_BOUNCE_IOMMU : VIODMA_DOMAIN_IOMMU;
	if (platform->restricted || (domain->config.pool && !reaches_all_memory(domain)))
		return VIODMA_DOMAIN_BOUNCE;
	return translated && platform->kind == VIODMA_PLATFORM_OFFSET ? VIODMA_DOMAIN_OFFSET : VIODMA_DOMAIN_DIRECT;
}

/* May a map go through the pool? */
static bool may_bounce(const struct viodma_domain *domain)
{
	const struct viodma_platform *platform = &domain->platform;

	if (!domain->config.pool || !domain->config.memory)
		return false;
	if (domain->kind == VIODMA_DOMAIN_IOMMU)
		return platform->granule_bytes > 1 || platform->alignment_bytes > 1;
	return domain->kind >= VIODMA_DOMAIN_BOUNCE || platform->alignment_bytes > 1 ||
	       viodma_dma_line_bytes(platform) > 1;
}

static bool is_plain(const struct viodma_domain *domain)
{
	const struct viodma_platform *platform = &domain->platform;

	return domain->kind == VIODMA_DOMAIN_DIRECT && !domain->config.debug && platform->coherent &&
	       platform->address_bits == 64 && !platform->mapping_bytes_max && !platform->segment_bytes_max &&
	       !platform->boundary_bytes && platform->alignment_bytes == 1;
}

static bool in_stated_pool(const struct viodma_platform *platform, const struct viodma_pool *pool)
{
	uint32_t i;

	for (i = 0; pool && i < pool->chunk_count; i++) {
		const struct viodma_object *chunk = &pool->chunks[i].memory;
		uint64_t offset = chunk->phys.v - platform->pool.v;

		if (chunk->phys.v < platform->pool.v || offset >= platform->pool_bytes ||
		    chunk->len_bytes > platform->pool_bytes - offset)
			return false;
	}
	return true;
}

/* Does the device reach all that is in the pool now? Over an IOMMU it does, once it is entered. */
static bool reaches_pool(const struct viodma_domain *domain, const struct viodma_pool *pool)
{
	uint32_t i;

	for (i = 0; pool && !viodma_dma_is_iommu(domain) && i < pool->chunk_count; i++)
		if (!viodma_fixed_reaches(domain, pool->chunks[i].memory.phys, pool->chunks[i].memory.len_bytes))
			return false;
	return true;
}

/* What is wrong with the pools, as a sentence; NULL: nothing. */
static const char *pool_fault(const struct viodma_domain *domain)
{
	const struct viodma_platform *platform = &domain->platform;
	const struct viodma_pool *pool = domain->config.pool, *ring_pool = domain->config.ring_pool;

	if (!reaches_pool(domain, pool))
		return "the device does not reach all of the pool";
	if (!reaches_pool(domain, ring_pool))
		return "the device does not reach all of the ring pool";
	if (domain->bounces && pool->slot_bytes < platform->alignment_bytes)
		return "the pool's slots are smaller than the alignment";
	if (domain->bounces && pool->slot_bytes < viodma_dma_line_bytes(platform))
		return "the pool's slots are smaller than a cache line";
	if (platform->restricted && platform->pool_bytes && !in_stated_pool(platform, pool))
		return "the pool is not within the one that the platform states";
	if (platform->restricted && platform->pool_bytes && !in_stated_pool(platform, ring_pool))
		return "the ring pool is not within the pool that the platform states";
	if (!platform->coherent && ring_pool && !ring_pool->config.coherent)
		return "the platform is not coherent, and the ring pool does not say that it is";
	return NULL;
}

/* What the caller did not give, and this kind needs. */
static const char *lack(const struct viodma_domain *domain)
{
	const struct viodma_platform *platform = &domain->platform;
	const struct viodma_domain_config *config = &domain->config;

	if (config->memory && viodma_memory_check(config->memory) != VIODMA_OK)
		return "the registered memory is not sorted, or overlaps";
	if (platform->restricted && !config->pool)
		return "the platform is restricted, and there is no pool";
	if (platform->restricted && !config->memory)
		return "the platform is restricted, and no memory is registered to copy from";
	if (!platform->coherent && (!domain->cache.clean || !domain->cache.invalidate))
		return "the platform is not coherent, and there are no cache operations";
	if (!platform->coherent && !config->memory)
		return "the platform is not coherent, and no memory is registered to maintain";
	return NULL;
}

static const char *bus_of_fault(const struct viodma_domain *domain)
{
	bool fixed = domain->platform.kind == VIODMA_PLATFORM_OFFSET;

	if (fixed && domain->platform.window_count && domain->bus_of.bus_of)
		return "there are windows and a function: bus addresses come from one of them";
	if (fixed && domain->addressing == VIODMA_ADDRESSING_PLATFORM && !domain->platform.window_count &&
	    !domain->bus_of.bus_of)
		return "the platform's kind is offset, and there are neither windows nor a function";
	return NULL;
}

/* The caller's configuration, with everything that may go away copied. */
static void copy_config(struct viodma_domain *domain, const struct viodma_domain_config *config)
{
	domain->platform = *config->platform;
	domain->addressing = config->addressing;
	domain->config = *config;
	domain->config.platform = &domain->platform;
	if (config->bus_of) {
		domain->bus_of = *config->bus_of;
		domain->config.bus_of = &domain->bus_of;
	}
	if (config->cache) {
		domain->cache = *config->cache;
		domain->config.cache = &domain->cache;
	}
	if (config->iommu) {
		domain->iommu = *config->iommu;
		domain->config.iommu = &domain->iommu;
	}
}

/* The pool was cleared when it was added; now for the device, too. The driver keeps nothing of its own in it. */
static void clean_pool(const struct viodma_domain *domain)
{
	uint32_t i;

	for (i = 0; i < domain->config.pool->chunk_count; i++) {
		const struct viodma_object *chunk = &domain->config.pool->chunks[i].memory;

		domain->cache.clean(domain->cache.context, chunk->memory, chunk->phys, chunk->len_bytes); /* = DRV-19 */
	}
}

/* The domain as it will be, and whether it can be; nothing outside of it is written. */
static enum viodma_result prepare(struct viodma_domain *domain, const struct viodma_domain_config *config,
				  const char **what)
{
	const struct viodma_platform *platform = config->platform;

	memset(domain, 0, sizeof(*domain));
	if (viodma_platform_check(platform, what) != VIODMA_OK)
		return VIODMA_E_INVALID;
	if (!VIODMA_REQUIRE(DRV_4, config->addressing == VIODMA_ADDRESSING_PLATFORM || !platform->restricted ||
					   platform->pool_at_physical)) {
		*what = "bit 33 is clear, and devices reach only part of memory";
		return VIODMA_PEER_RESTRICTED;
	}
	copy_config(domain, config);
	*what = bus_of_fault(domain);
	if (*what)
		return VIODMA_E_INVALID;
	domain->kind = kind_of(domain);
	if (domain->config.ring_pool && !platform->restricted && !reaches_pool(domain, domain->config.pool)) {
		domain->config.pool = NULL; /* rings have theirs, and through this one nothing can go */
		domain->kind = kind_of(domain);
	}
	domain->bounces = may_bounce(domain);
	domain->plain = is_plain(domain);
	*what = lack(domain);
	if (!*what)
		*what = pool_fault(domain);
	if (!*what && viodma_dma_is_iommu(domain))
		*what = viodma_iommu_fault(domain);
	return *what ? VIODMA_E_INVALID : VIODMA_OK;
}

enum viodma_result viodma_domain_check(const struct viodma_domain_config *config, const char **what)
{
	struct viodma_domain domain;
	const char *sentence = NULL;
	enum viodma_result result = prepare(&domain, config, &sentence);

	if (what)
		*what = sentence;
	return result;
}

enum viodma_result viodma_domain_init(struct viodma_domain *domain, const struct viodma_domain_config *config)
{
	const char *what = NULL;
	enum viodma_result result = prepare(domain, config, &what);

	if (result != VIODMA_OK)
		return result;
	if (domain->bounces && !domain->platform.coherent)
		clean_pool(domain);
	if (viodma_dma_is_iommu(domain))
		viodma_addresses_start(domain);
	domain->straight = viodma_straight_possible(domain);
	domain->last_object = UINT32_MAX;
	return VIODMA_OK;
}

enum viodma_result viodma_domain_free(struct viodma_domain *domain)
{
	if (domain->config.debug)
		viodma_debug_end(domain->config.debug);
	if (domain->statistics.live || domain->allocated)
		return VIODMA_E_BUSY;
	if (viodma_dma_is_iommu(domain))
		(void)viodma_deferred_settle(domain, true);
	(void)viodma_straight_end(domain);
	return VIODMA_REQUIRE(DRV_22, !domain->statistics.quarantined) ? VIODMA_OK : VIODMA_E_QUARANTINED;
}

enum viodma_result viodma_domain_settle(struct viodma_domain *domain, bool all)
{
	return viodma_dma_is_iommu(domain) ? viodma_deferred_settle(domain, all) : VIODMA_OK;
}

bool viodma_domain_needs_sync(const struct viodma_domain *domain)
{
	return !domain->platform.coherent || domain->bounces || domain->config.debug;
}

const char *viodma_domain_kind_name(enum viodma_domain_kind kind)
{
	switch (kind) {
	case VIODMA_DOMAIN_DIRECT:
		return "direct";
	case VIODMA_DOMAIN_OFFSET:
		return "offset";
	case VIODMA_DOMAIN_BOUNCE:
		return "bounce";
	case VIODMA_DOMAIN_IOMMU:
		return "iommu";
	case VIODMA_DOMAIN_BOUNCE_IOMMU:
		return "bounce+iommu";
	}
	return "unknown";
}

/* ---- bringing bytes to where the other side looks ---- */

/* Clean or invalidate bytes of the driver's memory, object by object. */
static void maintain(const struct viodma_domain *domain, viodma_phys phys, uint64_t len_bytes, bool for_device)
{
	while (len_bytes) {
		uint64_t part = len_bytes;
		void *memory = viodma_memory_part(domain->config.memory, phys, &part);

		if (!memory) /* map has looked: the registered memory was changed since */
			return;
		if (for_device)
			domain->cache.clean(domain->cache.context, memory, phys, part);
		else
			domain->cache.invalidate(domain->cache.context, memory, phys, part);
		phys.v += part;
		len_bytes -= part;
	}
}

static void maintain_runs(const struct viodma_mapping *mapping, uint64_t offset, uint64_t len_bytes, bool for_device)
{
	const struct viodma_domain *domain = mapping->domain;
	struct viodma_bounce_part part;
	uint32_t run;

	for (run = mapping->runs; run != VIODMA_POOL_NONE; run = viodma_pool_slot(domain->config.pool, run)->next) {
		if (!viodma_bounce_part(mapping, run, offset, len_bytes, &part))
			continue;
		if (for_device)
			domain->cache.clean(domain->cache.context, part.memory, part.phys, part.len_bytes);
		else
			domain->cache.invalidate(domain->cache.context, part.memory, part.phys, part.len_bytes);
	}
}

/* Positions from..to of the mapping, as far as within offset..+len_bytes; `phys` is where position `start` lies. */
struct stretch {
	uint64_t offset, end, start;
	viodma_phys phys;
};

static void maintain_stretch(const struct viodma_domain *domain, const struct stretch *stretch, uint64_t from,
			     uint64_t to, bool for_device)
{
	viodma_phys phys = stretch->phys;

	if (from < stretch->offset)
		from = stretch->offset;
	if (to > stretch->end)
		to = stretch->end;
	phys.v += from - stretch->start;
	if (from < to)
		maintain(domain, phys, to - from, for_device);
}

/*
 * What lies in place: buffers and runs are gone through together, both from the mapping's end to its beginning. A run
 * may hold the end of one buffer and the beginning of the next, if they adjoin in memory.
 */
static void maintain_in_place(const struct viodma_mapping *mapping, uint64_t offset, uint64_t len_bytes,
			      bool for_device)
{
	const struct viodma_domain *domain = mapping->domain;
	struct stretch stretch = {.offset = offset, .end = offset + len_bytes, .start = mapping->len_bytes};
	uint32_t i, run = mapping->runs;

	for (i = mapping->buffer_count; i-- > 0;) {
		uint64_t to = stretch.start;

		stretch.phys = mapping->buffers[i].phys;
		stretch.start -= mapping->buffers[i].len_bytes;
		while (run != VIODMA_POOL_NONE) {
			const struct viodma_pool_slot *record = viodma_pool_slot(domain->config.pool, run);

			if (record->position + record->len <= stretch.start)
				break;
			maintain_stretch(domain, &stretch, record->position + record->len, to, for_device);
			to = record->position;
			if (to < stretch.start) {
				to = stretch.start;
				break;
			}
			run = record->next;
		}
		maintain_stretch(domain, &stretch, stretch.start, to, for_device);
	}
}

static void hand_to_device(const struct viodma_mapping *mapping, uint64_t offset, uint64_t len_bytes)
{
	if (mapping->direction & VIODMA_TO_DEVICE)
		viodma_bounce_copy(mapping, offset, len_bytes, true);
	if (mapping->domain->platform.coherent)
		return;
	maintain_runs(mapping, offset, len_bytes, true); /* = DRV-20 */
	maintain_in_place(mapping, offset, len_bytes, true);
}

static void hand_to_driver(const struct viodma_mapping *mapping, uint64_t offset, uint64_t len_bytes)
{
	if (!(mapping->direction & VIODMA_FROM_DEVICE))
		return;
	if (!mapping->domain->platform.coherent) {
		maintain_runs(mapping, offset, len_bytes, false); /* = DRV-20 */
		maintain_in_place(mapping, offset, len_bytes, false);
	}
	viodma_bounce_copy(mapping, offset, len_bytes, false);
}

/* ---- map ---- */

static enum viodma_result check_buffers(const struct viodma_domain *domain, struct viodma_mapping *mapping)
{
	uint32_t i;

	mapping->len_bytes = 0;
	for (i = 0; i < mapping->buffer_count; i++) {
		const struct viodma_buffer *buffer = &mapping->buffers[i];
		viodma_phys at = buffer->phys;
		uint64_t left = buffer->len_bytes, part;

		if (!VIODMA_REQUIRE(DRV_15, left && at.v + (left - 1) >= at.v))
			return VIODMA_E_INVALID;
		for (; domain->config.memory && left; left -= part, at.v += part) {
			part = left;
			if (!viodma_memory_part(domain->config.memory, at, &part))
				return VIODMA_E_INVALID;
		}
		mapping->len_bytes += buffer->len_bytes;
	}
	if (domain->platform.mapping_bytes_max && mapping->len_bytes > domain->platform.mapping_bytes_max)
		return VIODMA_E_LIMIT;
	return VIODMA_OK;
}

/* Segments and runs; on failure, none. */
static enum viodma_result try_map(struct viodma_domain *domain, struct viodma_mapping *mapping,
				  struct viodma_segment *segments, uint32_t capacity)
{
	struct viodma_segment_list list = {
		.segments = segments,
		.capacity = capacity,
		.permission = (enum viodma_permission)mapping->direction,
		.segment_bytes_max = viodma_dma_longest_segment(&domain->platform),
		.boundary_bytes = domain->platform.boundary_bytes,
	};
	enum viodma_result result;

	mapping->runs = VIODMA_POOL_NONE;
	mapping->iova.v = 0;
	mapping->iova_bytes = 0;
	result = viodma_dma_is_iommu(domain) ? viodma_iommu_map(domain, mapping, &list) : viodma_fixed_map(domain, mapping, &list);
	mapping->segment_count = list.count;
	if (result != VIODMA_OK) {
		viodma_bounce_give(domain, mapping->runs);
		mapping->runs = VIODMA_POOL_NONE;
	}
	return result;
}

bool viodma_domain_make_room(struct viodma_domain *domain)
{
	if (domain->waiting_count) {
		(void)viodma_deferred_settle(domain, true);
		return true;
	}
	return !domain->statistics.live && viodma_straight_end(domain);
}

static enum viodma_result map_buffers(struct viodma_domain *domain, struct viodma_mapping *mapping,
				      struct viodma_segment *segments, uint32_t capacity)
{
	const struct viodma_pool *pool = domain->config.pool;
	uint64_t failures = pool ? pool->statistics.failures : 0;
	enum viodma_result result = check_buffers(domain, mapping);

	if (result != VIODMA_OK)
		return result;
	result = try_map(domain, mapping, segments, capacity);
	while (result == VIODMA_E_EXHAUSTED && viodma_domain_make_room(domain)) {
		failures = pool ? pool->statistics.failures : 0;
		result = try_map(domain, mapping, segments, capacity);
	}
	if (result != VIODMA_E_EXHAUSTED)
		return result;
	if (pool && pool->statistics.failures != failures && !domain->statistics.live && !domain->waiting_count)
		return VIODMA_E_LIMIT;
	domain->statistics.exhausted++;
	return VIODMA_E_EXHAUSTED;
}

static void count_mapping(struct viodma_domain *domain, const struct viodma_mapping *mapping)
{
	struct viodma_domain_statistics *statistics = &domain->statistics;
	uint64_t bounced = 0;
	uint32_t run;

	for (run = mapping->runs; run != VIODMA_POOL_NONE; run = viodma_pool_slot(domain->config.pool, run)->next)
		bounced += viodma_pool_slot(domain->config.pool, run)->len;
	statistics->bounced += bounced;
	statistics->in_place += mapping->len_bytes - bounced;
	statistics->maps++;
	statistics->live++;
	if (statistics->live > statistics->live_peak)
		statistics->live_peak = statistics->live;
}

enum viodma_result viodma_domain_map_long(struct viodma_domain *domain, struct viodma_mapping *mapping,
					  const struct viodma_buffer *buffers, uint32_t count,
					  enum viodma_direction direction, struct viodma_segment *segments,
					  uint32_t capacity)
{
	struct viodma_debug *debug = domain->config.debug;
	enum viodma_result result = VIODMA_E_INVALID;

	if (debug && !viodma_debug_map_begin(debug, mapping))
		return VIODMA_E_MISUSE;
	mapping->domain = domain;
	mapping->segments = segments;
	mapping->segment_count = 0;
	mapping->direction = direction;
	mapping->len_bytes = 0;
	mapping->buffers = buffers;
	mapping->buffer_count = count;
	mapping->runs = VIODMA_POOL_NONE;
	mapping->checked_by = debug;
	mapping->quiet = false;
	mapping->straight = false;
	mapping->one_slot = false;
	if (count && direction >= VIODMA_TO_DEVICE && direction <= VIODMA_BIDIRECTIONAL)
		result = map_buffers(domain, mapping, segments, capacity);
	if (result == VIODMA_OK && !domain->plain) {
		hand_to_device(mapping, 0, mapping->len_bytes);
		count_mapping(domain, mapping);
		mapping->quiet = mapping->runs == VIODMA_POOL_NONE && domain->platform.coherent && !debug;
	}
	if (result != VIODMA_OK)
		mapping->domain = NULL;
	if (debug)
		viodma_debug_map_end(debug, mapping, result);
	return result;
}

/* ---- unmap, sync ---- */

enum viodma_result viodma_domain_unmap_long(struct viodma_mapping *mapping, uint64_t written_bytes)
{
	struct viodma_domain *domain = mapping->domain;
	enum viodma_result result = VIODMA_OK;
	bool give_runs = true, too_long;

	if (mapping->checked_by && !viodma_debug_unmap(mapping->checked_by, mapping, written_bytes))
		return VIODMA_E_MISUSE;
	if (!domain)
		return VIODMA_E_MISUSE;
	too_long = written_bytes > mapping->len_bytes;
	hand_to_driver(mapping, 0, too_long ? mapping->len_bytes : written_bytes);
	if (viodma_dma_is_iommu(domain))
		result = viodma_iommu_unmap(domain, mapping, &give_runs);
	if (give_runs)
		viodma_bounce_give(domain, mapping->runs);
	mapping->runs = VIODMA_POOL_NONE;
	mapping->domain = NULL;
	domain->statistics.unmaps++;
	domain->statistics.live--;
	if (result != VIODMA_OK)
		return result;
	return too_long ? VIODMA_E_INVALID : VIODMA_OK;
}

void viodma_domain_sync_general(const struct viodma_mapping *mapping, uint64_t offset, uint64_t len_bytes,
				bool for_device)
{
	if (mapping->checked_by && !viodma_debug_sync(mapping->checked_by, mapping, offset, len_bytes, for_device))
		return;
	if (!mapping->domain || offset >= mapping->len_bytes)
		return;
	if (len_bytes > mapping->len_bytes - offset)
		len_bytes = mapping->len_bytes - offset;
	if (for_device)
		hand_to_device(mapping, offset, len_bytes);
	else
		hand_to_driver(mapping, offset, len_bytes);
	if (mapping->checked_by)
		viodma_debug_synced(mapping->checked_by, mapping);
}
