/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * iommu.c - how it works: not yet.
 */
#include "dma.h"

enum viodma_result viodma_iommu_init(struct viodma_domain *domain)
{
	(void)domain;
	return VIODMA_E_UNSUPPORTED;
}

enum viodma_result viodma_iommu_map(struct viodma_domain *domain, struct viodma_mapping *mapping,
				    struct viodma_segment_list *list)
{
	(void)domain;
	(void)mapping;
	(void)list;
	return VIODMA_E_UNSUPPORTED;
}

enum viodma_result viodma_iommu_unmap(struct viodma_domain *domain, struct viodma_mapping *mapping, bool *give_runs)
{
	(void)domain;
	(void)mapping;
	*give_runs = true;
	return VIODMA_E_UNSUPPORTED;
}

enum viodma_result viodma_iommu_enter(struct viodma_domain *domain, viodma_phys phys, uint64_t len_bytes,
				      uint32_t align_bytes, enum viodma_permission permission, viodma_bus *bus)
{
	(void)domain;
	(void)phys;
	(void)len_bytes;
	(void)align_bytes;
	(void)permission;
	(void)bus;
	return VIODMA_E_UNSUPPORTED;
}

enum viodma_result viodma_iommu_take_out(struct viodma_domain *domain, viodma_bus bus, uint64_t len_bytes)
{
	(void)domain;
	(void)bus;
	(void)len_bytes;
	return VIODMA_E_UNSUPPORTED;
}

uint64_t viodma_iommu_bytes_max(const struct viodma_domain *domain)
{
	(void)domain;
	return 0;
}
