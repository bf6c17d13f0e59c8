/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * iommu_model.h - how it works: an IOMMU as the contract of viodma/iommu.h allows it to be at worst. What a device has
 * once used stays in a cache of translations until it is invalidated, whatever the table says since. Calls that break the
 * contract (granules entered twice, taken out though not entered, not whole) are counted, and so are refusals.
 */
#ifndef VIODMA_TESTS_IOMMU_MODEL_H
#define VIODMA_TESTS_IOMMU_MODEL_H

#include <viodma/iommu.h>

#define IOMMU_MODEL_GRANULES 4096u

struct iommu_model_entry {
	uint64_t bus, phys;
	enum viodma_permission permission; /* VIODMA_NO_ACCESS: nothing is entered */
};

struct iommu_model {
	uint32_t granule_bytes;
	struct iommu_model_entry table[IOMMU_MODEL_GRANULES]; /* by the granule's number; the range must not be larger */
	struct iommu_model_entry cached[IOMMU_MODEL_GRANULES];
	unsigned maps, unmaps, invalidations, all_invalidations; /* calls */
	unsigned broken;
	/* The so-many-th call from now on fails; 0: none. With this result (0: VIODMA_E_IO). */
	unsigned fail_map, fail_unmap, fail_invalidate;
	enum viodma_result fail_with;
	/* Or a test decides; may be NULL. */
	bool (*fails)(void *context);
	void *context;
	uint64_t now_ns;
};

extern const struct viodma_iommu_ops iommu_model_ops;         /* with invalidate_all */
extern const struct viodma_iommu_ops iommu_model_ops_by_range; /* without */

void iommu_model_init(struct iommu_model *model, uint32_t granule_bytes);
uint64_t iommu_model_now(void *model);

/* The device uses a bus address; false: refused. What is used is cached. */
bool iommu_model_translate(void *model, uint64_t bus, enum viodma_permission permission, uint64_t *phys);
/* Could the device, by any address, cached ones included, read or write this byte of memory? */
bool iommu_model_reaches(const struct iommu_model *model, uint64_t phys);
/* Granules entered. */
uint32_t iommu_model_entered(const struct iommu_model *model);
/* The device uses every address that is entered, so that all is cached. */
void iommu_model_cache_all(struct iommu_model *model);

#endif
