/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * regions.c - how it works: two orders over one table. `regions` is sorted by physical address; `by_user` holds
 * pointers into it, sorted by user address. Both are found by binary search; adding and removing move what lies
 * behind, which is rare. A retired region stays in the table, invisible to look-ups, until nobody pins its memory.
 */
#include <viodma/iotlb.h>
#include <viodma/port.h>
#include <viodma/space.h>

#include "../base/require.h"
#include "access.h"

/* Inclusive end of a range that does not wrap. */
static uint64_t last_of(uint64_t first, uint64_t len)
{
	return first + (len - 1);
}

static bool wraps(uint64_t first, uint64_t len)
{
	return len == 0 || last_of(first, len) < first;
}

/* The first position in either order whose region ends at or after the address. */
static uint32_t position_by_phys(const struct viodma_space *space, uint64_t address)
{
	uint32_t low = 0, high = space->region_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		const struct viodma_region *region = &space->regions[middle];

		if (last_of(region->phys.v, region->len_bytes) < address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static uint32_t position_by_user(const struct viodma_space *space, uint64_t address)
{
	uint32_t low = 0, high = space->region_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		const struct viodma_region *region = space->by_user[middle];

		if (last_of(region->user.v, region->len_bytes) < address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const struct viodma_region *viodma_space_find_phys(const struct viodma_space *space, viodma_phys phys)
{
	uint32_t at = position_by_phys(space, phys.v);

	if (at == space->region_count || space->regions[at].phys.v > phys.v || space->regions[at].retired)
		return NULL;
	return &space->regions[at];
}

const struct viodma_region *viodma_space_find_user(const struct viodma_space *space, viodma_uaddr user)
{
	uint32_t at = position_by_user(space, user.v);

	if (at == space->region_count || space->by_user[at]->user.v > user.v || space->by_user[at]->retired)
		return NULL;
	return space->by_user[at];
}

enum viodma_result viodma_space_add_region(struct viodma_space *space, const struct viodma_region *region)
{
	uint32_t by_phys, by_user, i;

	if (!VIODMA_REQUIRE(PLT_10, !wraps(region->phys.v, region->len_bytes) &&
					    !wraps(region->user.v, region->len_bytes)))
		return VIODMA_PEER_MAPPING;
	by_phys = position_by_phys(space, region->phys.v);
	by_user = position_by_user(space, region->user.v);
	if (by_phys < space->region_count &&
	    space->regions[by_phys].phys.v <= last_of(region->phys.v, region->len_bytes))
		return VIODMA_PEER_MAPPING; /* = PLT-10 */
	if (by_user < space->region_count &&
	    space->by_user[by_user]->user.v <= last_of(region->user.v, region->len_bytes))
		return VIODMA_PEER_MAPPING; /* = PLT-10 */
	if (space->region_count == space->region_capacity)
		return VIODMA_E_NO_SPACE;

	memmove(&space->regions[by_phys + 1], &space->regions[by_phys],
		(space->region_count - by_phys) * sizeof(space->regions[0]));
	memmove(&space->by_user[by_user + 1], &space->by_user[by_user],
		(space->region_count - by_user) * sizeof(space->by_user[0]));
	space->by_user[by_user] = NULL;
	space->region_count++;
	for (i = 0; i < space->region_count; i++)
		if (space->by_user[i] >= &space->regions[by_phys])
			space->by_user[i]++;
	space->regions[by_phys] = *region;
	space->regions[by_phys].retired = false;
	space->by_user[by_user] = &space->regions[by_phys];
	space->epoch++;
	return VIODMA_OK;
}

static struct viodma_region *region_at(struct viodma_space *space, viodma_phys phys)
{
	uint32_t at = position_by_phys(space, phys.v);

	if (at == space->region_count || space->regions[at].phys.v != phys.v)
		return NULL;
	return &space->regions[at];
}

enum viodma_result viodma_space_retire_region(struct viodma_space *space, viodma_phys phys)
{
	struct viodma_region *region = region_at(space, phys);

	if (!region || region->retired)
		return VIODMA_E_NOT_FOUND;
	region->retired = true;
	if (space->iotlb)
		viodma_iotlb_forget_memory(space->iotlb, region->memory, region->len_bytes);
	viodma_space_changed(space);
	return VIODMA_OK;
}

static bool region_pinned(const struct viodma_space *space, const struct viodma_region *region)
{
	const uint64_t first = (uintptr_t)region->memory;

	return viodma_space_memory_in_use(space, first, first + (region->len_bytes - 1));
}

enum viodma_result viodma_space_remove_region(struct viodma_space *space, viodma_phys phys,
					      struct viodma_region *removed)
{
	struct viodma_region *region = region_at(space, phys);
	uint32_t at, i;

	if (!region || !region->retired)
		return VIODMA_E_NOT_FOUND;
	if (!VIODMA_REQUIRE(DEV_13, !region_pinned(space, region)))
		return VIODMA_E_BUSY;
	if (removed)
		*removed = *region;

	at = position_by_user(space, region->user.v);
	memmove(&space->by_user[at], &space->by_user[at + 1],
		(space->region_count - at - 1) * sizeof(space->by_user[0]));
	at = (uint32_t)(region - space->regions);
	memmove(region, region + 1, (space->region_count - at - 1) * sizeof(*region));
	space->region_count--;
	for (i = 0; i < space->region_count; i++)
		if (space->by_user[i] > region)
			space->by_user[i]--;
	return VIODMA_OK;
}

enum viodma_result viodma_space_user_to_phys(const struct viodma_space *space, viodma_uaddr user, uint64_t len_bytes,
					     viodma_phys *phys)
{
	uint64_t address = user.v, left = len_bytes, expected = 0;
	bool first = true;

	if (wraps(user.v, len_bytes))
		return VIODMA_PEER_MAPPING;
	while (left) {
		const struct viodma_region *region = viodma_space_find_user(space, (viodma_uaddr){address});
		uint64_t offset, here;

		if (!region)
			return VIODMA_PEER_MAPPING; /* = PLT-10 */
		offset = address - region->user.v;
		if (first)
			phys->v = region->phys.v + offset;
		else if (region->phys.v + offset != expected)
			return VIODMA_PEER_MAPPING;
		first = false;
		here = region->len_bytes - offset;
		if (here >= left)
			break;
		left -= here;
		address += here;
		expected = region->phys.v + offset + here;
	}
	return VIODMA_OK;
}
