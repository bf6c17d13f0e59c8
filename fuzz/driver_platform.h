/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver_platform.h - the platform of fuzz_driver.c: two objects of memory, and where a device's bus addresses lead on a
 * platform of each kind.
 */
#ifndef VIODMA_FUZZ_DRIVER_PLATFORM_H
#define VIODMA_FUZZ_DRIVER_PLATFORM_H

#include "fuzz/input.h"

#include <viodma/domain.h>
#include <viodma/iommu.h>

#define PAGE 4096u
#define POOL_BYTES (32u * PAGE)
#define PRIVATE_BYTES (16u * PAGE)
#define POOL_PHYS 0x50000000u
#define PRIVATE_PHYS 0x7000000000u
#define POOL_BUS 0x80000000u
#define PRIVATE_BUS 0x90000000u
#define TABLE 0x100000000u /* where the IOMMU's addresses begin */
#define GRANULES 64u

enum { DIRECT, OFFSET, RESTRICTED, IOMMU, BOUNCE_IOMMU, KINDS };

static unsigned char *pool_memory, *private_memory;
static unsigned kind;
static struct {
	uint64_t phys;
	enum viodma_permission permission;
} table[GRANULES];
static struct viodma_platform platform;
static uint64_t now_ns;

/* A bus address as the device may use it: memory, if a byte is there for this permission. */
static unsigned char *reach(uint64_t bus, enum viodma_permission permission)
{
	uint64_t phys = bus;

	if (kind >= IOMMU) {
		if (bus < TABLE || (bus - TABLE) / PAGE >= GRANULES)
			return NULL;
		if ((table[(bus - TABLE) / PAGE].permission & permission) != permission)
			return NULL;
		phys = table[(bus - TABLE) / PAGE].phys + bus % PAGE;
	} else if (kind != DIRECT) {
		if (bus >= POOL_BUS && bus < POOL_BUS + POOL_BYTES)
			phys = bus - POOL_BUS + POOL_PHYS;
		else if (kind == OFFSET && bus >= PRIVATE_BUS && bus < PRIVATE_BUS + PRIVATE_BYTES)
			phys = bus - PRIVATE_BUS + PRIVATE_PHYS;
		else
			return NULL;
	}
	if (phys >= POOL_PHYS && phys < POOL_PHYS + POOL_BYTES)
		return pool_memory + (phys - POOL_PHYS);
	if (phys >= PRIVATE_PHYS && phys < PRIVATE_PHYS + PRIVATE_BYTES) {
		MUST(kind != RESTRICTED && kind != BOUNCE_IOMMU);
		return private_memory + (phys - PRIVATE_PHYS);
	}
	return NULL;
}

static enum viodma_result table_map(void *context, viodma_bus bus, viodma_phys phys, uint64_t len,
				    enum viodma_permission permission)
{
	(void)context;
	MUST(bus.v >= TABLE && bus.v % PAGE == 0 && phys.v % PAGE == 0 && len % PAGE == 0 && len);
	for (uint64_t i = 0; i < len / PAGE; i++) {
		uint64_t at = (bus.v - TABLE) / PAGE + i;

		MUST(at < GRANULES && !table[at].permission);
		table[at].phys = phys.v + i * PAGE;
		table[at].permission = permission;
	}
	return VIODMA_OK;
}

static enum viodma_result table_unmap(void *context, viodma_bus bus, uint64_t len)
{
	(void)context;
	for (uint64_t i = 0; i < len / PAGE; i++) {
		uint64_t at = (bus.v - TABLE) / PAGE + i;

		MUST(at < GRANULES && table[at].permission);
		table[at].permission = VIODMA_NO_ACCESS;
	}
	return VIODMA_OK;
}

static enum viodma_result table_invalidate(void *context, viodma_bus bus, uint64_t len)
{
	(void)context;
	(void)bus;
	(void)len;
	return VIODMA_OK;
}

static uint64_t table_now(void *context)
{
	(void)context;
	return now_ns;
}

static const struct viodma_iommu_ops table_ops = {table_map, table_unmap, table_invalidate, NULL};

static void describe(void)
{
	viodma_platform_init(&platform);
	platform.pool.v = POOL_PHYS;
	platform.pool_bytes = POOL_BYTES;
	platform.pool_slot_bytes = PAGE;
	switch (kind) {
	case OFFSET:
		platform.window_count = 2;
		platform.windows[1] = (struct viodma_window){{PRIVATE_PHYS}, {PRIVATE_BUS}, PRIVATE_BYTES};
		/* fall through */
	case RESTRICTED:
		platform.kind = VIODMA_PLATFORM_OFFSET;
		platform.window_count += kind == RESTRICTED;
		platform.windows[0] = (struct viodma_window){{POOL_PHYS}, {POOL_BUS}, POOL_BYTES};
		platform.restricted = kind == RESTRICTED;
		break;
	case IOMMU:
	case BOUNCE_IOMMU:
		platform.kind = VIODMA_PLATFORM_IOMMU;
		platform.granule_bytes = PAGE;
		platform.window_count = 1;
		platform.windows[0] = (struct viodma_window){{0}, {TABLE}, GRANULES * PAGE};
		platform.restricted = kind == BOUNCE_IOMMU;
		break;
	}
	MUST(viodma_platform_check(&platform, NULL) == VIODMA_OK);
}

#endif
