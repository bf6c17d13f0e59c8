/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * iova_recent.c - how it works: small blocks of bus addresses that were given back lately lie in stacks, one for each
 * size, behind the tree in the caller's storage. What is wanted next is most often of a size that has just been given
 * back: then the tree, whose nodes up to the root change with each block, need not be looked at. As far as the tree
 * knows these blocks are taken. Where it has no room they are all given back to it, whose halves become whole then, and
 * it is asked again: so nothing is exhausted sooner than it would be without.
 *
 * A stack holds one block for each RECENT_PART granules of the storage; what does not fit goes to the tree at once.
 */
#include "dma.h"

static uint32_t depth(const struct viodma_domain *domain)
{
	return domain->iommu.granules / VIODMA_IOMMU_RECENT_PART;
}

static uint32_t *stack(const struct viodma_domain *domain, uint32_t order)
{
	return (uint32_t *)domain->iommu.storage + 2 * (size_t)domain->iommu.granules + (size_t)order * depth(domain);
}

/* VIODMA_IOMMU_RECENT_SIZES: a block for so many bytes is none of these. */
static uint32_t order_of(const struct viodma_domain *domain, uint64_t len_bytes)
{
	uint32_t order = 0;

	while (order < VIODMA_IOMMU_RECENT_SIZES && (uint64_t)1 << (domain->granule_shift + order) < len_bytes)
		order++;
	return order;
}

static viodma_bus bus_of(const struct viodma_domain *domain, uint32_t granule)
{
	return (viodma_bus){ domain->iova_base.v + ((uint64_t)granule << domain->granule_shift) };
}

/* All to the tree; false: there are none. */
static bool give_all(struct viodma_domain *domain)
{
	bool given = false;
	uint32_t order;

	for (order = 0; order < VIODMA_IOMMU_RECENT_SIZES; order++)
		while (domain->iova_recent[order]) {
			uint32_t granule = stack(domain, order)[--domain->iova_recent[order]];

			domain->iova_used += 1u << order;
			viodma_iova_give(domain, bus_of(domain, granule), (uint64_t)1 << (domain->granule_shift + order));
			given = true;
		}
	return given;
}

void viodma_addresses_start(struct viodma_domain *domain)
{
	uint32_t order;

	for (order = 0; order < VIODMA_IOMMU_RECENT_SIZES; order++)
		domain->iova_recent[order] = 0;
	viodma_iova_start(domain);
}

enum viodma_result viodma_addresses_take(struct viodma_domain *domain, uint64_t len_bytes, uint64_t align_bytes,
					 viodma_bus *bus)
{
	uint32_t order = order_of(domain, len_bytes);
	enum viodma_result result;

	/* A block begins at a multiple of its own size. */
	if (len_bytes && order < VIODMA_IOMMU_RECENT_SIZES && domain->iova_recent[order] &&
	    align_bytes <= (uint64_t)1 << (domain->granule_shift + order)) {
		*bus = bus_of(domain, stack(domain, order)[--domain->iova_recent[order]]);
		domain->iova_used += 1u << order;
		return VIODMA_OK;
	}
	result = viodma_iova_take(domain, len_bytes, align_bytes, bus);
	if (result == VIODMA_E_EXHAUSTED && give_all(domain))
		result = viodma_iova_take(domain, len_bytes, align_bytes, bus);
	return result;
}

void viodma_addresses_give(struct viodma_domain *domain, viodma_bus bus, uint64_t len_bytes)
{
	uint32_t order = order_of(domain, len_bytes);

	if (order == VIODMA_IOMMU_RECENT_SIZES || domain->iova_recent[order] == depth(domain)) {
		viodma_iova_give(domain, bus, len_bytes);
		return;
	}
	stack(domain, order)[domain->iova_recent[order]++] =
		(uint32_t)((bus.v - domain->iova_base.v) >> domain->granule_shift);
	domain->iova_used -= 1u << order;
}
