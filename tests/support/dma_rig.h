/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dma_rig.h - how it works: a driver's memory, its pools and its domain on any platform, and the device's side of that
 * platform. The device's side has arithmetic of its own: it goes from a bus address to memory by the description alone,
 * never through the code under test, and refuses what the device could not reach.
 *
 * Where the platform is not coherent each object of memory but the ring pool's exists twice: what the processor sees,
 * and what the device sees. Bytes move between the two by clean and invalidate only, whole lines at a time; and when
 * the cache writes back a dirty line on its own accord (dma_rig_evict), over whatever the device has written there. So
 * a missing maintenance loses data, and so does one that is too much.
 *
 * All memory begins as a pattern of its physical addresses; what may not change is compared with that.
 */
#ifndef VIODMA_TESTS_DMA_RIG_H
#define VIODMA_TESTS_DMA_RIG_H

#include <viodma/domain.h>

#include "tests/support/check.h"

/* Physical addresses. HERE and NEXT adjoin physically, and are two objects. */
#define RIG_HERE 0x40000000u
#define RIG_HERE_BYTES 0x40000u
#define RIG_NEXT 0x40040000u
#define RIG_NEXT_BYTES 0x10000u
#define RIG_POOL 0x50000000u
#define RIG_POOL_BYTES 0x40000u
#define RIG_RING 0x58000000u
#define RIG_RING_BYTES 0x10000u
#define RIG_FAR 0x900000000u
#define RIG_FAR_BYTES 0x20000u
#define RIG_OBJECTS 5
#define RIG_SCRAMBLE 0x2b000u /* a platform by a function exchanges pages of 4 KiB so */

struct dma_rig {
	struct viodma_platform platform;
	struct viodma_object objects[RIG_OBJECTS]; /* sorted */
	struct viodma_memory memory;
	struct viodma_pool_config pool_config;
	struct viodma_pool pool, ring_pool;
	bool has_pool, has_ring_pool;
	bool rings_apart;    /* the test's: a pool for rings where the platform is coherent, too */
	bool memory_unknown; /* the domain is not told of it */
	struct viodma_bus_of bus_of;
	struct viodma_cache_ops cache;
	struct viodma_domain domain;
	enum viodma_addressing addressing;
	/* The test's, set before the domain is added: the debug layer; an IOMMU, and the device's side of it. */
	struct viodma_debug *debug;
	const struct viodma_iommu_config *iommu;
	bool (*translate)(void *context, uint64_t bus, enum viodma_permission permission, uint64_t *phys);
	void *translate_context;
	uint64_t cleaned_bytes, invalidated_bytes;
	unsigned told; /* how often exhaustion was reported, and the last report */
	char message[256];
};

/* All memory as new, and the platform of this text; false: it is none. Then the pool, if one is wanted, then the domain. */
bool dma_rig_start(struct dma_rig *rig, const char *platform);
void dma_rig_start_on(struct dma_rig *rig, const struct viodma_platform *platform);
/*
 * A pool of the first `bytes` bytes of RIG_POOL, 0: all; on a platform that is not coherent, or with rings_apart, another one for rings. The
 * rest of pool_config is as the test left it.
 */
enum viodma_result dma_rig_add_pool(struct dma_rig *rig, uint32_t slot_bytes, uint32_t run_bytes, uint64_t bytes);
enum viodma_result dma_rig_add_domain(struct dma_rig *rig, enum viodma_addressing addressing);
/* Domain and pools end, nothing is left. */
bool dma_rig_end(struct dma_rig *rig);

/* What the processor sees. */
unsigned char *dma_rig_at(struct dma_rig *rig, uint64_t phys);
/* What this byte was at first. */
unsigned char dma_rig_pattern(uint64_t phys);
/* Has everything but these buffers and the pools its first content, as the processor sees it? */
bool dma_rig_rest_is_intact(struct dma_rig *rig, const struct viodma_buffer *buffers, uint32_t count);

/*
 * The device reads or writes bytes offset.. of what these segments say. False: it does not reach all of it, or a
 * segment does not permit it, or it breaks a limit of the platform.
 */
bool dma_rig_device_reads(struct dma_rig *rig, const struct viodma_segment *segments, uint32_t count, uint64_t offset,
			  void *bytes, uint64_t len_bytes);
bool dma_rig_device_writes(struct dma_rig *rig, const struct viodma_segment *segments, uint32_t count, uint64_t offset,
			   const void *bytes, uint64_t len_bytes);
/* Where the device finds this byte: physically. False: nowhere. */
bool dma_rig_device_finds(const struct dma_rig *rig, uint64_t bus, uint64_t *phys);
/* The cache writes back every dirty line. */
void dma_rig_evict(struct dma_rig *rig);
/* Does this byte occur in what the device reaches of the pool? */
bool dma_rig_pool_has(const struct dma_rig *rig, unsigned char byte);

#endif
