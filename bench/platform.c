/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * platform.c - how it works: what lies between the halves of one cell, seen from both sides.
 *
 *	raw          physical address = pointer = bus address
 *	clear        kind=direct, bit 33 clear       the device half looks physical addresses up in its regions
 *	direct       kind=direct, bit 33 set         an IOTLB of two entries: payloads, pool
 *	offset       kind=offset, two windows        the same, at other addresses
 *	bounce       kind=offset restricted          the pool's window alone
 *	restricted   the same                        and no region but the pool
 *	iommu-*      kind=iommu                      table.c, asked by the space as a translator
 *	bounce+iommu kind=iommu restricted           the same
 *
 * Payloads lie in one object, the arena, which all cells of a group share, so that caches hold the same; rings and what
 * bounces in another, the pool, one for each cell.
 */
#include "bench/bench.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PAGE_BYTES UINT64_C(4096)
#define ARENA_PHYS UINT64_C(0x100000000)
#define POOL_PHYS UINT64_C(0x940000000)
#define ARENA_BUS UINT64_C(0x2500000000)
#define POOL_BUS UINT64_C(0x1200000000)
#define TABLE_BUS UINT64_C(0x4000000000)
#define RING_BYTES (512u * 1024)
#define WAITING_MAX 256u
#define DEFERRED_NS 10000000u
#define IOTLB_ENTRIES 8u

static uint64_t pages(uint64_t bytes)
{
	return (bytes + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
}

/* ---- the arena ---- */

uint32_t bench_slots(const struct bench_cell *cell)
{
	if (cell->mode == BENCH_ONE_THREAD || cell->batch == 1)
		return cell->batch;
	if (cell->bytes > 8192)
		return cell->batch;
	if (cell->mode == BENCH_TWO_PROCESSES)
		return cell->batch;
	return cell->descriptors == BENCH_ONE ? 8 * cell->batch : 4 * cell->batch;
}

/* Two buffers do not adjoin, or a map would make one segment of them; what has whole pages begins with one. */
bool bench_arena_new(struct bench_arena *arena, const struct bench_cell *cell, uint32_t slots)
{
	const uint64_t grain = cell->bytes < PAGE_BYTES ? 64 : PAGE_BYTES;
	const uint64_t half = cell->bytes / 16 * 8;

	arena->second = cell->descriptors == BENCH_ONE ? 0 : ((half + grain - 1) & ~(grain - 1)) + grain;
	arena->stride = ((arena->second ? arena->second + (cell->bytes - half) : cell->bytes) + grain - 1) & ~(grain - 1);
	arena->slots = slots;
	return viodma_front_memory_new(pages(arena->stride * slots), (viodma_phys){ ARENA_PHYS }, &arena->memory) ==
	       VIODMA_OK;
}

void bench_arena_free(struct bench_arena *arena)
{
	viodma_front_memory_free(&arena->memory);
}

viodma_phys bench_slot_phys(const struct bench_platform *platform, uint32_t slot)
{
	const struct bench_arena *arena = platform->arena;
	const uint64_t base = platform->cell->domain == BENCH_RAW ? (uintptr_t)arena->memory.object.memory :
								    arena->memory.object.phys.v;

	return (viodma_phys){ base + arena->stride * slot };
}

/* ---- what the platform is ---- */

bool bench_must_differ(enum bench_domain domain)
{
	return domain != BENCH_RAW && domain != BENCH_CLEAR && domain != BENCH_DIRECT;
}

static bool by_table(enum bench_domain domain)
{
	return domain == BENCH_STRICT || domain == BENCH_DEFERRED || domain == BENCH_PREMAPPED ||
	       domain == BENCH_BOUNCE_IOMMU;
}

static uint64_t pool_bytes(const struct bench_cell *cell)
{
	const uint64_t slots = bench_slots(cell);
	const uint64_t waiting = cell->domain == BENCH_DEFERRED ? WAITING_MAX * 2 * PAGE_BYTES : 0;

	switch (cell->domain) {
	case BENCH_RAW:
	case BENCH_CLEAR:
	case BENCH_DIRECT:
	case BENCH_OFFSET:
	case BENCH_PREMAPPED:
		return RING_BYTES;
	case BENCH_STRICT:
	case BENCH_DEFERRED:
		return RING_BYTES + 4 * PAGE_BYTES * slots + waiting;
	default:
		return RING_BYTES + 2 * pages(cell->bytes + 2 * PAGE_BYTES) * slots;
	}
}

void bench_platform_describe(struct bench_platform *platform, const struct bench_cell *cell)
{
	const uint64_t arena = pages(platform->arena->stride * platform->arena->slots), pool = pool_bytes(cell);
	const char *what = NULL;
	char text[VIODMA_PLATFORM_TEXT_BYTES];

	switch (cell->domain) {
	case BENCH_OFFSET:
		snprintf(text, sizeof(text),
			 "kind=offset window=0x%" PRIx64 "+0x%" PRIx64 "@0x%" PRIx64 " window=0x%" PRIx64 "+0x%" PRIx64
			 "@0x%" PRIx64,
			 ARENA_PHYS, arena, ARENA_BUS, POOL_PHYS, pool, POOL_BUS);
		break;
	case BENCH_BOUNCE:
	case BENCH_RESTRICTED:
		snprintf(text, sizeof(text),
			 "kind=offset window=0x%" PRIx64 "+0x%" PRIx64 "@0x%" PRIx64 " restricted pool=0x%" PRIx64 "+0x%" PRIx64,
			 POOL_PHYS, pool, POOL_BUS, POOL_PHYS, pool);
		break;
	case BENCH_STRICT:
	case BENCH_DEFERRED:
	case BENCH_PREMAPPED:
		snprintf(text, sizeof(text), "kind=iommu granule=4096 window=0x%" PRIx64 "+0x%" PRIx64, TABLE_BUS,
			 BENCH_GRANULES * PAGE_BYTES);
		break;
	case BENCH_BOUNCE_IOMMU:
		snprintf(text, sizeof(text),
			 "kind=iommu granule=4096 window=0x%" PRIx64 "+0x%" PRIx64 " restricted pool=0x%" PRIx64
			 "+0x%" PRIx64,
			 TABLE_BUS, BENCH_GRANULES * PAGE_BYTES, POOL_PHYS, pool);
		break;
	default:
		snprintf(text, sizeof(text), "kind=direct");
	}
	if (viodma_platform_parse(text, &platform->description, NULL, &what) != VIODMA_OK)
		abort(); /* this program's own words */
}

/* ---- the driver half's view ---- */

static bool make_pool(struct viodma_pool *pool, enum bench_domain domain, const struct viodma_object *memory, void **storage)
{
	const struct viodma_pool_config config = { .name = "the pool",
						   .slot_bytes = by_table(domain) ? (uint32_t)PAGE_BYTES : 0 };
	size_t storage_bytes;

	if (viodma_pool_init(pool, &config) != VIODMA_OK)
		return false;
	storage_bytes = VIODMA_POOL_STORAGE_BYTES(memory->len_bytes, pool->slot_bytes);
	*storage = malloc(storage_bytes);
	return *storage && viodma_pool_add(pool, memory, *storage, storage_bytes) == VIODMA_OK;
}

/* In deferred mode the rings have a pool of their own, so that what bounces may stay entered (viodma/iommu.h). */
bool bench_platform_pool(struct bench_platform *platform)
{
	const struct bench_cell *cell = platform->cell;
	const uint64_t bytes = pool_bytes(cell);
	struct viodma_object arena = platform->arena->memory.object, rings, bounced;
	bool arena_first;

	if (viodma_front_memory_new(bytes, (viodma_phys){ POOL_PHYS }, &platform->pool_memory) != VIODMA_OK)
		return false;
	if (cell->domain == BENCH_RAW) {
		arena.phys.v = (uintptr_t)arena.memory;
		platform->pool_memory.object.phys.v = (uintptr_t)platform->pool_memory.object.memory;
	}
	arena_first = arena.phys.v < platform->pool_memory.object.phys.v;
	platform->objects[arena_first ? 0 : 1] = arena;
	platform->objects[arena_first ? 1 : 0] = platform->pool_memory.object;
	platform->memory = (struct viodma_memory){ platform->objects, 2 };
	rings = bounced = platform->pool_memory.object;
	platform->has_ring_pool = cell->domain == BENCH_DEFERRED;
	if (platform->has_ring_pool) {
		rings.len_bytes = RING_BYTES;
		bounced.memory = (unsigned char *)bounced.memory + RING_BYTES;
		bounced.phys.v += RING_BYTES;
		bounced.len_bytes -= RING_BYTES;
	}
	return make_pool(&platform->pool, cell->domain, &bounced, &platform->pool_storage) &&
	       (!platform->has_ring_pool ||
		make_pool(&platform->ring_pool, cell->domain, &rings, &platform->ring_storage));
}

/* A clock read is dear beside a map, and deferred mode wants a bound in time, no more: the kernel's tick will do. */
static uint64_t coarse_now_ns(void *context)
{
	struct timespec now;

	(void)context;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

bool bench_platform_domain(struct bench_platform *platform, const struct viodma_iommu_ops *ops, void *context)
{
	const enum bench_domain kind = platform->cell->domain;
	struct viodma_iommu_config iommu = {
		.ops = ops,
		.context = context,
		.mode = kind == BENCH_DEFERRED ? VIODMA_IOMMU_DEFERRED : VIODMA_IOMMU_STRICT,
		.storage_bytes = VIODMA_IOMMU_STORAGE_BYTES(BENCH_GRANULES),
		.granules = BENCH_GRANULES,
		.deferred_max = WAITING_MAX,
		.deferred_ns = DEFERRED_NS,
		.now_ns = coarse_now_ns,
	};
	const struct viodma_domain_config config = {
		.platform = &platform->description,
		.addressing = kind == BENCH_RAW || kind == BENCH_CLEAR ? VIODMA_ADDRESSING_PHYSICAL :
									 VIODMA_ADDRESSING_PLATFORM,
		.memory = &platform->memory,
		.pool = &platform->pool,
		.ring_pool = platform->has_ring_pool ? &platform->ring_pool : NULL,
		.iommu = &iommu,
	};

	if (by_table(kind)) {
		iommu.storage = platform->iova_storage = malloc(iommu.storage_bytes);
		iommu.waiting = platform->waiting = calloc(WAITING_MAX, sizeof(*platform->waiting));
		if (!platform->iova_storage || !platform->waiting)
			return false;
	}
	platform->has_domain = viodma_domain_init(&platform->domain, &config) == VIODMA_OK;
	return platform->has_domain;
}

/* ---- the device half's ---- */

static bool add_region(struct bench_platform *platform, const struct viodma_object *object)
{
	const struct viodma_region region = {
		.phys = object->phys, .user = { object->phys.v }, .len_bytes = object->len_bytes, .memory = object->memory
	};

	return viodma_space_add_region(&platform->space, &region) == VIODMA_OK;
}

static bool grant(struct bench_platform *platform, const struct viodma_object *object, uint64_t bus)
{
	return viodma_iotlb_update(&platform->iotlb, (viodma_bus){ bus }, object->len_bytes,
				   (viodma_uaddr){ object->phys.v }, VIODMA_READ_WRITE) == VIODMA_OK;
}

static bool set_iotlb(struct bench_platform *platform)
{
	const struct viodma_object *arena = &platform->arena->memory.object, *pool = &platform->pool_memory.object;
	const enum bench_domain kind = platform->cell->domain;
	const struct viodma_iotlb_config config = { .space = &platform->space,
						    .entries = platform->entries,
						    .capacity = IOTLB_ENTRIES,
						    .misses = platform->misses,
						    .miss_capacity = 8 };

	if (viodma_iotlb_init(&platform->iotlb, &config) != VIODMA_OK)
		return false;
	viodma_space_set_iotlb(&platform->space, &platform->iotlb);
	if (!grant(platform, pool, kind == BENCH_DIRECT ? pool->phys.v : POOL_BUS))
		return false;
	return kind == BENCH_BOUNCE || kind == BENCH_RESTRICTED ||
	       grant(platform, arena, kind == BENCH_DIRECT ? arena->phys.v : ARENA_BUS);
}

static bool make_space(struct bench_platform *platform)
{
	const enum bench_domain kind = platform->cell->domain;
	struct viodma_translator translator;

	platform->regions = malloc(VIODMA_SPACE_REGION_BYTES(2));
	platform->entries = calloc(IOTLB_ENTRIES, sizeof(*platform->entries));
	if (!platform->regions || !platform->entries)
		return false;
	viodma_space_init(&platform->space, platform->regions, 2, NULL);
	if (by_table(kind)) {
		platform->has_table = bench_table_new(&platform->table, &platform->memory, &platform->space);
		bench_table_translator(&platform->table, &translator);
		viodma_space_set_translator(&platform->space, &translator);
		return platform->has_table;
	}
	if (!add_region(platform, &platform->pool_memory.object) ||
	    (kind != BENCH_RESTRICTED && !add_region(platform, &platform->arena->memory.object)))
		return false;
	if (kind == BENCH_RAW || kind == BENCH_CLEAR) {
		viodma_space_set_physical(&platform->space);
		return true;
	}
	return set_iotlb(platform);
}

bool bench_platform_new(struct bench_platform *platform, const struct bench_cell *cell, const struct bench_arena *arena)
{
	memset(platform, 0, sizeof(*platform));
	platform->cell = cell;
	platform->arena = arena;
	bench_platform_describe(platform, cell);
	return bench_platform_pool(platform) && make_space(platform) &&
	       bench_platform_domain(platform, &bench_table_ops, &platform->table);
}

void bench_platform_free(struct bench_platform *platform)
{
	if (platform->has_domain)
		(void)!viodma_domain_free(&platform->domain);
	if (platform->has_table)
		bench_table_free(&platform->table);
	free(platform->pool_storage);
	free(platform->ring_storage);
	free(platform->iova_storage);
	free(platform->waiting);
	free(platform->regions);
	free(platform->entries);
	viodma_front_memory_free(&platform->pool_memory);
	memset(platform, 0, sizeof(*platform));
}
