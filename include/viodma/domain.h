/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * viodma/domain.h - one device's view of memory as its platform defines it, seen from the DRIVER half.
 *
 * Domain is the driver's view, space is the device's view.
 *
 * A domain is the only maker of bus addresses (DRV-2, DRV-3). Whoever drives a device, on whatever platform, does this:
 *
 *	limits       viodma_domain_limits: what one mapping can hold; split by it
 *	map          buffers + direction -> segments; VIODMA_E_EXHAUSTED: again after an unmap
 *	             put the segments in the ring, tell the device (viodma/driver_queue.h)
 *	unmap        when the device has used them, or was reset: with the number of bytes that it wrote
 *
 * A buffer that is used again and again stays mapped: sync for the device before it is made available, sync for the
 * driver after it was used. Memory that both sides use at once (rings, headers, status) comes from viodma_domain_alloc.
 *
 * What map does depends on the platform, and nobody who calls it can tell: nothing but arithmetic (direct, offset), a
 * copy through the pool (bounce), an entry in a table (IOMMU), or several of these. On a platform that is plain (direct
 * addresses, coherent, no limits, no pool in between) map and unmap are the few inline instructions below.
 *
 * Single owner: all functions on one domain, its pool and its queues are called from one thread, or under one lock.
 * Memory is the caller's; nothing is allocated but from the pool. Units: bytes.
 */
#ifndef VIODMA_DOMAIN_H
#define VIODMA_DOMAIN_H

#include <viodma/feature.h>
#include <viodma/iommu.h>
#include <viodma/memory.h>
#include <viodma/platform.h>
#include <viodma/pool.h>

#ifdef __cplusplus
extern "C" {
#endif

struct viodma_domain;
struct viodma_debug;

/* What the DEVICE does with a mapping. The values are those of enum viodma_permission. */
enum viodma_direction {
	VIODMA_TO_DEVICE = 1,    /* it reads */
	VIODMA_FROM_DEVICE = 2,  /* it writes */
	VIODMA_BIDIRECTIONAL = 3 /* it may do both: for persistent buffers and alloc; a descriptor says which */
};

/* How the domain gets from a buffer to a bus address. For statistics and messages; no driver needs it. */
enum viodma_domain_kind {
	VIODMA_DOMAIN_DIRECT,
	VIODMA_DOMAIN_OFFSET,
	VIODMA_DOMAIN_BOUNCE,      /* through the pool: always, or where the device does not reach all registered memory */
	VIODMA_DOMAIN_IOMMU,       /* the parts of granules at a buffer's ends go through the pool */
	VIODMA_DOMAIN_BOUNCE_IOMMU /* everything goes through the pool, and each run is entered in the IOMMU */
};

/* OFFSET platforms whose addresses are no windows: the platform's own function. */
struct viodma_bus_of {
	/*
	 * The bus address of phys, and for how many bytes from there it goes on contiguously: at least 1; it may be
	 * more than the device drives, or than there is memory. False: the device does not reach it; what was written
	 * to bus and len_bytes is then not looked at. An address of 2^address_bits or more is taken for out of reach,
	 * too. The answer for one address never changes while the domain lives. Stretches that do not go on end at
	 * multiples of the platform's granule. Asked at each map; where there is a pool also at viodma_domain_init,
	 * about all of the registered memory.
	 */
	bool (*bus_of)(void *context, viodma_phys phys, viodma_bus *bus, uint64_t *len_bytes);
	void *context;
};

/*
 * Platforms that are not coherent: cache maintenance, on memory the driver's CPU uses at `memory`. A range lies in one
 * registered object or one piece of the pool's memory. It may begin and end in mid-line: every line it touches is
 * meant. Runs of the pool are maintained like any other memory, also where the pool is coherent.
 */
struct viodma_cache_ops {
	/*
	 * Write lines back: the device will see what was written. Whether they stay in the cache does not matter.
	 * Called, at map and at each sync for the device, for memory that the device only writes, too, and must do the
	 * same there: a dirty line left behind would be written over what the device wrote.
	 */
	void (*clean)(void *context, void *memory, viodma_phys phys, uint64_t len_bytes);
	/*
	 * Drop lines: the driver will see what the device wrote. It may write dirty lines back first, for there are
	 * none: they were cleaned, and the driver has left them alone since (or it breaks the rules of this header).
	 */
	void (*invalidate)(void *context, void *memory, viodma_phys phys, uint64_t len_bytes);
	void *context;
};

struct viodma_domain_config {
	const struct viodma_platform *platform; /* copied; viodma_platform_check has passed it */
	enum viodma_addressing addressing;      /* what was negotiated (viodma/feature.h) */
	/*
	 * The driver's. NULL: only where nothing is copied or kept coherent; so of kind iommu a buffer is whole
	 * granules then, and any other VIODMA_E_UNREACHABLE.
	 */
	const struct viodma_memory *memory;
	/*
	 * For rings and persistent buffers, and to bounce through. NULL: neither is possible. Its memory need not be in
	 * `memory`, unless buffers that lie in it are mapped.
	 */
	struct viodma_pool *pool;
	/*
	 * What viodma_domain_alloc takes from in place of the pool; NULL: the pool. For platforms that are not
	 * coherent, where rings need memory that is (struct viodma_pool_config); for a pool that a device with
	 * bit 33 clear does not reach; and behind an IOMMU in deferred mode, so that the pool can stay entered
	 * (viodma/iommu.h), which makes what bounces as a whole several times cheaper.
	 * How much it has to hold: all that viodma_domain_alloc is asked for, see viodma_driver_queue_init and, for a
	 * disk, viodma_driver_blk_init. Too little is VIODMA_E_EXHAUSTED there, and the pool's `exhausted` names it.
	 */
	struct viodma_pool *ring_pool;
	const struct viodma_bus_of *bus_of;     /* OFFSET without windows; copied */
	const struct viodma_iommu_config *iommu; /* for IOMMU; copied */
	const struct viodma_cache_ops *cache;   /* for platforms that are not coherent; copied */
	struct viodma_debug *debug;             /* checks every use (viodma/dma_debug.h); NULL: no checks */
};

/*
 * What one mapping can hold. A driver splits by it: within it a map is never answered VIODMA_E_LIMIT, beyond it may be.
 * Memory of viodma_domain_alloc in the same pool leaves less of it: ask after the rings were made.
 */
struct viodma_limits {
	uint64_t mapping_bytes_max;  /* all buffers of a mapping together; UINT64_MAX: no limit */
	uint32_t buffers_max;        /* buffers of a mapping; UINT32_MAX: no limit */
	/*
	 * Segments start at multiples of this power of two. map sees to it; whoever makes segments of parts of a mapping, or
	 * of memory from viodma_domain_alloc, does it by itself.
	 */
	uint32_t alignment_bytes;
	uint32_t segment_bytes_max;  /* longest segment that map makes; UINT32_MAX: no limit */
	uint64_t boundary_bytes;     /* 0: none */
	/*
	 * Segments that a mapping of `n` buffers of `b` bytes together can need at most:
	 * n * segments_per_buffer + b / segment_grain_bytes. (segment_grain_bytes UINT64_MAX: no second part.)
	 */
	uint32_t segments_per_buffer;
	uint64_t segment_grain_bytes;
};

/*
 * One mapping: the caller's memory, live from map to unmap. Members are the library's; read segments, segment_count,
 * len_bytes and direction only.
 */
struct viodma_mapping {
	struct viodma_domain *domain; /* NULL: not live */
	const struct viodma_segment *segments;
	uint32_t segment_count;
	enum viodma_direction direction;
	uint64_t len_bytes;
	/* ---- */
	const struct viodma_buffer *buffers;
	uint32_t buffer_count;
	uint32_t runs; /* first of the pool's runs; VIODMA_POOL_NONE */
	viodma_bus iova;
	uint64_t iova_bytes;
	bool straight; /* mapped the short way (core/dma/straight.c), and ends so */
	bool one_slot; /* ... and is in one slot of the pool's first piece, alone */
	bool quiet; /* not on a plain domain, which needs none: all of it lies in place, coherent, so a sync is nothing */
	uint32_t debug;
	struct viodma_debug *checked_by; /* of the domain it was last mapped in; stays after unmap, to report a second one */
};

struct viodma_domain_statistics {
	uint64_t maps, unmaps;     /* not counted on a plain domain */
	uint64_t live, live_peak;  /* mappings; likewise */
	uint64_t bounced, in_place; /* bytes mapped through the pool, and where they lie */
	uint64_t exhausted;        /* maps that answered VIODMA_E_EXHAUSTED */
	uint64_t quarantined;      /* mappings whose memory could not be taken back */
	struct viodma_iommu_statistics iommu; /* its maps and unmaps are entries in the table: none, or several for a mapping */
};

/* Members are the library's; read kind, platform, addressing and statistics only. */
struct viodma_domain {
	bool plain;
	enum viodma_domain_kind kind;
	struct viodma_platform platform;
	enum viodma_addressing addressing;
	struct viodma_domain_config config;
	struct viodma_bus_of bus_of;
	struct viodma_cache_ops cache;
	struct viodma_iommu_config iommu;
	struct viodma_domain_statistics statistics;
	bool bounces;             /* a map may go through the pool */
	uint64_t allocated;       /* live viodma_dma_memory */
	uint64_t allocated_bytes; /* of the pool they are from, whole slots */
	/* ---- IOMMU: core/dma/iova.c, deferred.c ---- */
	viodma_bus iova_base;
	uint32_t granule_shift;  /* 2^granule_shift bytes are one granule */
	uint32_t iova_order;     /* 2^iova_order granules from iova_base on */
	uint32_t iova_used;      /* granules taken, the rounding up included */
	uint64_t iova_steps;     /* nodes of the tree looked at, ever */
	uint32_t iova_recent[VIODMA_IOMMU_RECENT_SIZES]; /* blocks of 2^k granules at hand */
	uint32_t waiting_count;
	uint64_t waiting_since_ns;
	/* ---- core/dma/straight.c ---- */
	bool straight;           /* there is a short way */
	uint8_t pool_found[3];   /* for each direction - 1: a bit for each piece of the pool with an address in pool_bus */
	bool last_is_apart;      /* and so does it not overlap the pools */
	uint32_t quick_bytes;    /* what is in last_object and no longer than this bounces, in one slot */
	uint32_t last_object;    /* of the registered memory: where a buffer was found last */
	viodma_bus pool_bus[3][VIODMA_POOL_CHUNKS_MAX];
};

/*
 * Can a domain be made of it? Looks, and changes nothing. VIODMA_E_INVALID: the platform's description contradicts
 * itself; config lacks what the kind needs (a pool to bounce, memory to copy, the IOMMU, cache operations) or has two of
 * what excludes another (windows, and bus_of); the device does not reach all of a pool; or, on a restricted platform
 * that states its pool, a pool or ring pool lies outside of that. (A pool out of reach is passed over, not refused,
 * where a ring_pool is there and the platform is not restricted: what would need it is then VIODMA_E_UNREACHABLE.)
 * VIODMA_PEER_RESTRICTED: addressing is physical, the platform restricted, and its pool is not at physical addresses
 * (DRV-4): the bit-33 rule was not asked. *what (may be NULL) says which, as a sentence; NULL: nothing is wrong.
 */
VIODMA_MUST_USE enum viodma_result viodma_domain_check(const struct viodma_domain_config *config, const char **what);

/*
 * Make a domain. The pools may serve one domain only. Results of viodma_domain_check: where one is not understood, call
 * that first; it has the sentence.
 */
VIODMA_MUST_USE enum viodma_result viodma_domain_init(struct viodma_domain *domain,
						      const struct viodma_domain_config *config);

/*
 * The domain ends; what waits to be invalidated is settled first. VIODMA_E_BUSY: a mapping or memory from
 * viodma_domain_alloc is live (not known of mappings of a plain domain). VIODMA_E_QUARANTINED: it ended, and memory of
 * it must never be used again.
 */
VIODMA_MUST_USE enum viodma_result viodma_domain_free(struct viodma_domain *domain);

void viodma_domain_limits(const struct viodma_domain *domain, struct viodma_limits *limits);

/* Is a sync ever more than nothing on this domain? What Linux calls need_sync. */
bool viodma_domain_needs_sync(const struct viodma_domain *domain);

/* The general forms of what follows; called by it. */
VIODMA_MUST_USE enum viodma_result viodma_domain_map_general(struct viodma_domain *domain, struct viodma_mapping *mapping,
							     const struct viodma_buffer *buffers, uint32_t count,
							     enum viodma_direction direction,
							     struct viodma_segment *segments, uint32_t capacity);
enum viodma_result viodma_domain_unmap_general(struct viodma_mapping *mapping, uint64_t written_bytes);
void viodma_domain_sync_general(const struct viodma_mapping *mapping, uint64_t offset, uint64_t len_bytes, bool for_device);

/*
 * Map `count` buffers, in order, as one mapping: the device may then reach exactly their bytes, for this direction, and
 * sees what the driver has written in them (copied in, cleaned, where the platform needs it). buffers and segments are
 * the caller's and stay unchanged until unmap. All or nothing: on any other answer than VIODMA_OK nothing is mapped.
 * Adjoining segments are merged where limits allow. The driver leaves the bytes alone until unmap or a sync.
 *   VIODMA_E_EXHAUSTED    no room in the pool or the address space now: try again after an unmap; queue the request
 *   VIODMA_E_LIMIT        can never be mapped as one: beyond viodma_domain_limits, or more segments than capacity
 *   VIODMA_E_UNREACHABLE  the device has no way to it, and there is no pool to bounce through, or no way to that either
 *   VIODMA_E_INVALID      count 0, an empty buffer, one that wraps, or one outside the registered memory (it may span
 *                         objects that adjoin; a plain domain does not look at buffers; a driver queue refuses what is
 *                         empty or wraps)
 *   VIODMA_E_IO           the IOMMU's map failed
 *   VIODMA_E_QUARANTINED  the IOMMU's map failed half way, and what was entered could not be taken out: the device may
 *                         reach the buffers, which the caller must not reuse (DRV-22)
 *   VIODMA_E_MISUSE       debug: the mapping is live already (reported)
 */
VIODMA_MUST_USE static inline enum viodma_result viodma_domain_map(struct viodma_domain *domain,
								   struct viodma_mapping *mapping,
								   const struct viodma_buffer *buffers, uint32_t count,
								   enum viodma_direction direction,
								   struct viodma_segment *segments, uint32_t capacity)
{
	uint64_t len_bytes = 0;
	uint32_t i;

	if (!domain->plain || count > capacity || !count)
		return viodma_domain_map_general(domain, mapping, buffers, count, direction, segments, capacity);
	for (i = 0; i < count; i++) {
		segments[i].bus.v = buffers[i].phys.v; /* = DRV-3 */
		segments[i].len_bytes = buffers[i].len_bytes;
		segments[i].permission = (enum viodma_permission)direction;
		len_bytes += buffers[i].len_bytes;
	}
	mapping->domain = domain;
	mapping->segments = segments;
	mapping->segment_count = count;
	mapping->direction = direction;
	mapping->len_bytes = len_bytes;
	mapping->checked_by = NULL;
	return VIODMA_OK;
}

/*
 * End a mapping: the device no longer reaches the bytes (IOMMU in deferred mode: soon). written_bytes: how many the
 * device wrote, from the start of the mapping (a used length, checked); that many and no more are copied out, so that
 * what it did not write keeps its bytes; 0 for TO_DEVICE. The mapping may be used again at once.
 *   VIODMA_E_QUARANTINED  ended for the driver, and data copied, but the device could not be kept from reaching the
 *                         memory: the caller must not reuse buffers that are not bounced (DRV-22). Bus addresses and
 *                         slots are never used again. (IOMMU in deferred mode: it may be about a mapping that ended
 *                         before this one; settle with `all` is what tells that nothing of the kind has happened.)
 *   VIODMA_E_INVALID      written_bytes > len_bytes: all of it was copied. VIODMA_E_MISUSE: not live (debug).
 */
static inline enum viodma_result viodma_domain_unmap(struct viodma_mapping *mapping, uint64_t written_bytes)
{
	if (!mapping->domain || !mapping->domain->plain)
		return viodma_domain_unmap_general(mapping, written_bytes);
	mapping->domain = NULL;
	return written_bytes > mapping->len_bytes ? VIODMA_E_INVALID : VIODMA_OK;
}

/*
 * The same two, where the way of a request is to be as short as can be, and the domain is at hand when it ends: on a plain
 * domain nothing is written into the mapping, and nothing of it can be read or synced, so that each of the two is one
 * comparison. *segment_count: how many segments there are, as viodma_driver_queue_add wants to know. What was mapped by
 * one is unmapped by the other. Results as above; but on a plain domain written_bytes is not looked at.
 */
VIODMA_MUST_USE static inline enum viodma_result
viodma_domain_map_lean(struct viodma_domain *domain, struct viodma_mapping *mapping, const struct viodma_buffer *buffers,
		       uint32_t count, enum viodma_direction direction, struct viodma_segment *segments,
		       uint32_t capacity, uint32_t *segment_count)
{
	enum viodma_result result;
	uint32_t i;

	if (!domain->plain || count > capacity || !count) {
		result = viodma_domain_map_general(domain, mapping, buffers, count, direction, segments, capacity);
		*segment_count = mapping->segment_count;
		return result;
	}
	for (i = 0; i < count; i++) {
		segments[i].bus.v = buffers[i].phys.v; /* = DRV-3 */
		segments[i].len_bytes = buffers[i].len_bytes;
		segments[i].permission = (enum viodma_permission)direction;
	}
	*segment_count = count;
	return VIODMA_OK;
}

static inline enum viodma_result viodma_domain_unmap_lean(struct viodma_domain *domain, struct viodma_mapping *mapping,
							  uint64_t written_bytes)
{
	return domain->plain ? VIODMA_OK : viodma_domain_unmap_general(mapping, written_bytes);
}

/*
 * Hand bytes offset.. of a live mapping over. for_device: before making it available again; what the driver wrote is
 * copied in (TO_DEVICE and BIDIRECTIONAL) and cleaned (always). for_driver: after it was used and before the driver looks; what
 * the device wrote is copied out (FROM_DEVICE and BIDIRECTIONAL). Beyond the end nothing happens. On a platform that is
 * not coherent, parts that are synced apart from each other share no cache line.
 */
static inline void viodma_domain_sync_for_device(const struct viodma_mapping *mapping, uint64_t offset, uint64_t len_bytes)
{
	if (!mapping->domain || (!mapping->domain->plain && !mapping->quiet))
		viodma_domain_sync_general(mapping, offset, len_bytes, true);
}

static inline void viodma_domain_sync_for_driver(const struct viodma_mapping *mapping, uint64_t offset, uint64_t len_bytes)
{
	if (!mapping->domain || (!mapping->domain->plain && !mapping->quiet))
		viodma_domain_sync_general(mapping, offset, len_bytes, false);
}

/*
 * The segments of bytes offset.. of a live mapping, for a descriptor or several: how persistent buffers are used without
 * mapping anew. permission: what the descriptor says; the direction must allow it. *count of them are written.
 * VIODMA_E_INVALID: beyond the end, empty, or not allowed. VIODMA_E_LIMIT: more than capacity.
 */
VIODMA_MUST_USE enum viodma_result viodma_mapping_segments(const struct viodma_mapping *mapping, uint64_t offset,
							   uint64_t len_bytes, enum viodma_permission permission,
							   struct viodma_segment *segments, uint32_t capacity,
							   uint32_t *count);

/* Coherent memory that both halves use at once. Members are the library's; read all but `mapping`. */
struct viodma_dma_memory {
	struct viodma_shared *memory; /* the CPU's view: cleared, coherent; the device can change it at any moment */
	viodma_phys phys;
	viodma_bus bus;               /* contiguous */
	uint64_t len_bytes;
	enum viodma_direction direction;
	struct viodma_mapping mapping;
	struct viodma_buffer buffer;
	struct viodma_segment segment;
};

/*
 * Memory from the pool, cleared, contiguous in bus addresses, whole granules that no other mapping shares, starting at a
 * multiple of align_bytes (a power of two, at most a page of 4096 or the slot, whichever is larger), both physical and
 * bus address. TO_DEVICE: the device may only read it, where the platform can tell (descriptors, available ring).
 * VIODMA_E_EXHAUSTED, VIODMA_E_LIMIT (larger than a run, or alignment), VIODMA_E_UNREACHABLE (there is room, but none
 * was found in which bus addresses go on; it is looked for where the first free run lies, and where one begins at a
 * multiple of its own size), VIODMA_E_IO,
 * VIODMA_E_UNSUPPORTED (no pool; or the platform is not coherent, and neither is the pool's memory).
 */
VIODMA_MUST_USE enum viodma_result viodma_domain_alloc(struct viodma_domain *domain, struct viodma_dma_memory *memory,
						       uint64_t len_bytes, uint32_t align_bytes,
						       enum viodma_direction direction);

/* Give it back. Pre: the device was stopped or reset, or never told of it. VIODMA_E_QUARANTINED: as for unmap. */
enum viodma_result viodma_domain_release(struct viodma_dma_memory *memory);

/* The bus address of a byte of it; ->memory + offset is where the CPU finds it. Pre: offset < len_bytes. */
static inline viodma_bus viodma_dma_memory_bus(const struct viodma_dma_memory *memory, uint64_t offset)
{
	viodma_bus bus = memory->bus;

	bus.v += offset;
	return bus;
}

/*
 * IOMMU in deferred mode: invalidate what waits if it is due; `all`: due or not. After VIODMA_OK with `all` no memory of
 * an earlier unmap is within the device's reach; once anything could not be taken back, now or earlier, it answers
 * VIODMA_E_QUARANTINED. Other kinds: VIODMA_OK at once.
 */
VIODMA_MUST_USE enum viodma_result viodma_domain_settle(struct viodma_domain *domain, bool all);

/* The name of a kind: "direct", "offset", "bounce", "iommu", "bounce+iommu". */
const char *viodma_domain_kind_name(enum viodma_domain_kind kind);

#ifdef __cplusplus
}
#endif

#endif
