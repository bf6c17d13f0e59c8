/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * deferred.c - how it works: ranges that were taken out of the IOMMU's table, but that the device may have cached, wait
 * in the caller's array; all of them are invalidated together, and only then are their bus addresses and their runs in
 * the pool given back. This happens as soon as deferred_max of them wait, or at the first map, unmap or settle after
 * the oldest has waited deferred_ns. So what a device can reach after an unmap is bounded in count and, as long as the
 * domain is used or settled, in time.
 *
 * What cannot be invalidated is quarantined: addresses and runs are never given back (DRV-22).
 */
#include "../base/require.h"
#include "dma.h"

static bool due(const struct viodma_domain *domain)
{
	const struct viodma_iommu_config *config = &domain->iommu;

	return domain->waiting_count >= config->deferred_max ||
	       config->now_ns(config->context) - domain->waiting_since_ns >= config->deferred_ns;
}

static void end_waiting(struct viodma_domain *domain, const struct viodma_iommu_waiting *waiting,
			enum viodma_result result)
{
	if (!VIODMA_REQUIRE(DRV_22, result == VIODMA_OK)) {
		viodma_iommu_quarantine(domain, waiting->len_bytes, waiting->runs);
		return;
	}
	viodma_addresses_give(domain, waiting->bus, waiting->len_bytes);
	viodma_bounce_give(domain, waiting->runs);
}

static void end_all(struct viodma_domain *domain)
{
	const struct viodma_iommu_config *config = &domain->iommu;
	bool together = config->ops->invalidate_all && domain->waiting_count > 1;
	enum viodma_result result = VIODMA_OK;
	uint32_t i;

	if (together) {
		domain->statistics.iommu.invalidations++;
		result = config->ops->invalidate_all(config->context);
	}
	for (i = 0; i < domain->waiting_count; i++) {
		const struct viodma_iommu_waiting *waiting = &config->waiting[i];

		if (!together) {
			domain->statistics.iommu.invalidations++;
			result = config->ops->invalidate(config->context, waiting->bus, waiting->len_bytes);
		}
		end_waiting(domain, waiting, result);
	}
	domain->waiting_count = 0;
	domain->statistics.iommu.waiting = 0;
}

enum viodma_result viodma_deferred_settle(struct viodma_domain *domain, bool all)
{
	uint64_t quarantined = all ? 0 : domain->statistics.quarantined;

	if (domain->waiting_count && (all || due(domain)))
		end_all(domain);
	return domain->statistics.quarantined == quarantined ? VIODMA_OK : VIODMA_E_QUARANTINED;
}

enum viodma_result viodma_deferred_put(struct viodma_domain *domain, viodma_bus bus, uint64_t len_bytes, uint32_t runs)
{
	const struct viodma_iommu_config *config = &domain->iommu;
	struct viodma_iommu_statistics *statistics = &domain->statistics.iommu;
	struct viodma_iommu_waiting *waiting = &config->waiting[domain->waiting_count];

	if (!domain->waiting_count++)
		domain->waiting_since_ns = config->now_ns(config->context);
	waiting->bus = bus;
	waiting->len_bytes = len_bytes;
	waiting->runs = runs;
	statistics->waiting = domain->waiting_count;
	if (statistics->waiting > statistics->waiting_peak)
		statistics->waiting_peak = statistics->waiting;
	return viodma_deferred_settle(domain, false);
}
