/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * viodma/iommu.h - what an IOMMU has to do for a domain, and how strictly it is used.
 *
 * The domain chooses bus addresses (within the platform's windows) and says which granules lead where; the operations
 * below carry that to the IOMMU: registers, tables in memory, or messages to whoever plays it.
 *
 * Single owner: the domain's. Units: bytes, nanoseconds.
 */
#ifndef VIODMA_IOMMU_H
#define VIODMA_IOMMU_H

#include <viodma/result.h>

#ifdef __cplusplus
extern "C" {
#endif

/* All addresses and lengths are multiples of the platform's granule. */
struct viodma_iommu_ops {
	/*
	 * Enter a mapping. Anything but VIODMA_OK: nothing was entered, and the domain unwinds what it had entered before.
	 * VIODMA_E_EXHAUSTED is passed on as that: the caller may try again after an unmap.
	 */
	enum viodma_result (*map)(void *context, viodma_bus bus, viodma_phys phys, uint64_t len_bytes,
				  enum viodma_permission permission);
	/*
	 * Take out what one or several calls of map entered. The device may still use cached translations until
	 * invalidate. Anything but VIODMA_OK: the memory stays reachable, and is quarantined (DRV-22).
	 */
	enum viodma_result (*unmap)(void *context, viodma_bus bus, uint64_t len_bytes);
	/*
	 * Forget cached translations of these addresses; answer when every access made under them has ended (PLT-5). May
	 * block. Anything but VIODMA_OK: as for unmap.
	 */
	enum viodma_result (*invalidate)(void *context, viodma_bus bus, uint64_t len_bytes);
	/* The same for all addresses of the domain; NULL: invalidate is called for each range. */
	enum viodma_result (*invalidate_all)(void *context);
};

enum viodma_iommu_mode {
	/* An unmap returns when the device can no longer reach the memory. */
	VIODMA_IOMMU_STRICT,
	/*
	 * The weaker promise: an unmap returns at once, and the device may reach the memory until the ranges waiting are
	 * invalidated together: when deferred_max wait, or the oldest is deferred_ns old at the next map, unmap or
	 * viodma_domain_settle, or a map finds no bus addresses: so `granules` should hold deferred_max mappings of the
	 * usual size besides those that are live, and twice that where the pool stays entered. Memory that was bounced
	 * is copied out, and its slots are held, until then. Bus addresses are not used again before.
	 *
	 * Where the domain has a ring_pool besides its pool (and no limits of segments, alignment or mappings, is
	 * coherent, and has no debug), the pool itself stays entered from the first map through it on, each piece as a
	 * whole: once at bus addresses that the device may only read, once where it may only write, once where it may
	 * do both, as far as mappings of that direction have asked for it. A map all of which bounces then enters
	 * nothing, and its unmap takes nothing out; one with whole granules in it enters its bounced ends, too. What
	 * the device reaches beyond its mappings, until the domain ends, is this pool: what was bounced for it earlier,
	 * and what is bounced for it at the moment in whatever direction. Not buffers, not rings, nothing of another
	 * device; and nothing that it writes there after an unmap is copied out. Buffers and parts of buffers that are
	 * whole granules are entered and taken out one by one, as ever. It takes at most half of the bus addresses, and
	 * is given up (until the domain ends) if a mapping needs them and nothing else is live. A pool whose entry
	 * cannot be taken out again is quarantined whole.
	 */
	VIODMA_IOMMU_DEFERRED
};

/* The library's: one waiting range. */
struct viodma_iommu_waiting {
	viodma_bus bus;
	uint64_t len_bytes;
	uint32_t runs; /* of the pool, that the range leads to */
};

struct viodma_iommu_config {
	const struct viodma_iommu_ops *ops; /* kept as a pointer */
	void *context;
	enum viodma_iommu_mode mode;
	/*
	 * Storage for bus addresses: VIODMA_IOMMU_STORAGE_BYTES(granules), for at most that many granules mapped at once
	 * (rounded up to a power of two per mapping); a power of two, 16 to 2^24. Aligned as for max_align_t. Where the
	 * platform's windows have no naturally aligned range of that many granules, the largest they have is used.
	 */
	void *storage;
	size_t storage_bytes;
	uint32_t granules;
	/*
	 * DEFERRED: room for deferred_max ranges, the bound in time, and the clock (monotonic; over vhost-user
	 * viodma_front_now_ns). How much an invalidation costs says how many should share one: 256 ranges and 1 ms are
	 * what `viodma drive` uses, and more of either makes the promise weaker.
	 */
	struct viodma_iommu_waiting *waiting;
	uint32_t deferred_max;
	uint64_t deferred_ns;
	uint64_t (*now_ns)(void *context);
};

/* Two words for each granule, and stacks of blocks at hand: of so many sizes, a block for each so many granules. */
#define VIODMA_IOMMU_RECENT_SIZES 4
#define VIODMA_IOMMU_RECENT_PART 16
#define VIODMA_IOMMU_STORAGE_BYTES(granules)                                                                          \
	(((size_t)(granules) * 2 + (size_t)(granules) / VIODMA_IOMMU_RECENT_PART * VIODMA_IOMMU_RECENT_SIZES) *       \
	 sizeof(uint32_t))

struct viodma_iommu_statistics {
	uint64_t maps, unmaps, invalidations; /* calls of the operations */
	uint64_t mapped_bytes, mapped_bytes_peak;
	uint64_t waiting, waiting_peak;       /* ranges, DEFERRED */
	uint64_t failures;                    /* no bus addresses, or map failed */
	uint64_t quarantined_bytes;           /* bus addresses never used again */
};

#ifdef __cplusplus
}
#endif

#endif
