/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * space.c - addresses that are translated wrongly.
 */
#include "core/space/access.h"

#include "tests/broken/broken.h"

/* Where a ring begins, all of it is. */
BETWEEN(void, viodma_space_part_look, struct viodma_space *space, struct viodma_space_part *part, struct viodma_space_cache *cache,
	viodma_bus bus, uint64_t len_bytes, enum viodma_permission wanted, unsigned alignment)
{
	__real_viodma_space_part_look(space, part, cache, bus, BROKEN(ring_over_many_mappings) ? 1 : len_bytes, wanted, alignment);
}

/* A table's next page is behind the one before. */
BETWEEN(enum viodma_result, viodma_space_read, struct viodma_space *space, struct viodma_space_cache *cache, unsigned queue,
	viodma_bus bus, void *destination, size_t len_bytes, viodma_bus *missed)
{
	const viodma_bus before = {bus.v - 1};
	struct viodma_extent extent;

	if (BROKEN(table_over_two_mappings) && !(bus.v % VIODMA_IOTLB_PAGE_BYTES) &&
	    viodma_space_translate(space, NULL, before, VIODMA_READ, &extent) == VIODMA_OK) {
		viodma_shared_copy_in(destination, viodma_shared_at(extent.memory, bus.v - extent.first.v), len_bytes);
		return VIODMA_OK;
	}
	return __real_viodma_space_read(space, cache, queue, bus, destination, len_bytes, missed);
}
