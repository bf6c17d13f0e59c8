/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * iova.c - how it works: which of the domain's bus addresses are free. A buddy system over 2^iova_order granules, kept
 * as a complete binary tree in the caller's storage: node 1 stands for all granules, nodes 2n and 2n + 1 for the halves
 * of node n. A node holds one word: bit k is set while a free block of 2^k granules lies in its part. So the root alone
 * tells which sizes are there, and one walk down finds the lowest block of the size wanted, or of the smallest size
 * larger than that, which is then halved.
 *
 * A node that is one free block has just the bit of its own size; one that is taken has none. In neither case is
 * anything below it looked at, so making the allocator writes one word, however many granules there are.
 *
 * Cost: taking and giving look at most at 2 * iova_order + 3 nodes (51 for 2^24 granules), whatever happened before.
 * Nothing is put off until later, and free halves become whole at once: when all is given back, one block is there
 * again. Blocks are the tightest and then the lowest that fit, so what lives long gathers at one end.
 *
 * The range itself: the largest naturally aligned one in a window, as far as the device drives it, and not at bus
 * address 0 if another is as large. Where no window is stated it lies well above where memory begins and below 2^48, so
 * that few bus addresses equal a physical one.
 */
#include "../base/require.h"
#include "dma.h"

#define IOVA_BITS_MAX 48u /* more than any table of today translates; platforms that do state a window */

static uint32_t *tree(const struct viodma_domain *domain)
{
	return (uint32_t *)domain->iommu.storage;
}

/* Of `blocks` aligned blocks of 2^shift bytes from `first` on: one in the upper half, but not at the very end. */
static uint64_t choose(uint64_t first, uint64_t blocks, unsigned shift)
{
	return (first + (blocks >> 1) + (blocks >> 3)) << shift;
}

/* An aligned block of 2^shift bytes in the window. */
static bool fits(const struct viodma_window *window, unsigned shift, uint64_t *base)
{
	uint64_t size = (uint64_t)1 << shift, end = window->bus.v + window->len_bytes - 1; /* the last byte */
	uint64_t first = (window->bus.v >> shift) + ((window->bus.v & (size - 1)) ? 1 : 0), after = (end >> shift);

	if ((end & (size - 1)) == size - 1)
		after++;
	if (first >= after)
		return false;
	*base = choose(first, after - first, shift);
	return true;
}

/* What the device drives of a window; false: nothing. */
static bool driven(const struct viodma_platform *platform, struct viodma_window *window)
{
	uint64_t last = UINT64_MAX >> (64 - platform->address_bits);

	if (!window->len_bytes || !VIODMA_REQUIRE(DRV_2, window->bus.v <= last))
		return false;
	if (window->len_bytes - 1 > last - window->bus.v)
		window->len_bytes = last - window->bus.v + 1;
	return true;
}

/* Where 2^shift bytes of bus addresses can be: true. */
static bool place(const struct viodma_platform *platform, unsigned shift, uint64_t *base)
{
	unsigned bits = platform->address_bits < IOVA_BITS_MAX ? platform->address_bits : IOVA_BITS_MAX;
	struct viodma_window all = { .len_bytes = (uint64_t)1 << bits };
	bool found = false;
	uint32_t i;

	if (!platform->window_count)
		return shift < bits && fits(&all, shift, base);
	for (i = 0; i < platform->window_count && !(found && *base); i++) {
		struct viodma_window window = platform->windows[i];
		uint64_t here;

		if (driven(platform, &window) && fits(&window, shift, &here)) {
			*base = here;
			found = true;
		}
	}
	return found;
}

enum viodma_result viodma_iova_choose(struct viodma_domain *domain)
{
	const struct viodma_iommu_config *config = &domain->iommu;
	uint32_t granules = config->granules, order = 0, shift = 0;
	uint64_t base = 0;

	if (granules < 16 || granules > 1u << 24 || (granules & (granules - 1)) || !config->storage ||
	    config->storage_bytes < VIODMA_IOMMU_STORAGE_BYTES(granules))
		return VIODMA_E_INVALID;
	while (shift < 31 && 1u << shift < domain->platform.granule_bytes)
		shift++;
	while (1u << order < granules)
		order++;
	while (!place(&domain->platform, shift + order, &base))
		if (!order--)
			return VIODMA_E_INVALID;
	domain->iova_base.v = base;
	domain->granule_shift = shift;
	domain->iova_order = order;
	domain->iova_used = 0;
	domain->iova_steps = 0;
	return VIODMA_OK;
}

void viodma_iova_start(struct viodma_domain *domain)
{
	tree(domain)[1] = 1u << domain->iova_order;
}

/* The order of a block for len_bytes; more than iova_order: there is none so large. */
static uint32_t order_for(const struct viodma_domain *domain, uint64_t len_bytes)
{
	uint32_t order = 0;

	while (order <= domain->iova_order && (uint64_t)1 << (domain->granule_shift + order) < len_bytes)
		order++;
	return order;
}

/* Words above `node`, whose order is given, after its own has changed. */
static void climb(struct viodma_domain *domain, uint32_t node, uint32_t order)
{
	uint32_t *nodes = tree(domain);

	while (node > 1) {
		uint32_t left = nodes[node & ~1u], right = nodes[node | 1u], whole = 1u << order;

		node >>= 1;
		order++;
		nodes[node] = left == whole && right == whole ? whole << 1 : left | right;
		domain->iova_steps++;
	}
}

enum viodma_result viodma_iova_take(struct viodma_domain *domain, uint64_t len_bytes, uint64_t align_bytes,
				    viodma_bus *bus)
{
	uint32_t *nodes = tree(domain), order = order_for(domain, len_bytes), block = order_for(domain, align_bytes);
	uint32_t node = 1, at = domain->iova_order;

	if (order > domain->iova_order || block > domain->iova_order || !len_bytes)
		return VIODMA_E_LIMIT;
	if (block < order)
		block = order; /* a block begins at a multiple of its own size: a larger one at a larger alignment */
	while (block <= domain->iova_order && !(nodes[1] >> block & 1))
		block++;
	if (block > domain->iova_order)
		return VIODMA_E_EXHAUSTED;
	for (; at > block; at--) {
		node <<= 1;
		if (!(nodes[node] >> block & 1))
			node++;
		domain->iova_steps++;
	}
	for (; at > order; at--) {
		node <<= 1;
		nodes[node + 1] = 1u << (at - 1);
		domain->iova_steps++;
	}
	nodes[node] = 0;
	climb(domain, node, order);
	domain->iova_used += 1u << order;
	bus->v = domain->iova_base.v +
		 ((uint64_t)(node - (1u << (domain->iova_order - order))) << (domain->granule_shift + order));
	return VIODMA_OK;
}

void viodma_iova_give(struct viodma_domain *domain, viodma_bus bus, uint64_t len_bytes)
{
	uint32_t order = order_for(domain, len_bytes);
	uint32_t node = (1u << (domain->iova_order - order)) +
			(uint32_t)((bus.v - domain->iova_base.v) >> (domain->granule_shift + order));

	tree(domain)[node] = 1u << order;
	climb(domain, node, order);
	domain->iova_used -= 1u << order;
}
