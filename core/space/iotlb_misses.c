/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * iotlb_misses.c - how it works: a hash table with linear probing over page and permission. It is never more than three
 * quarters full (a question that finds no place is put later, when others were answered), and a removal closes the gap
 * behind it, so that a probe ends at the first empty slot.
 */
#include "iotlb_misses.h"

#include <viodma/port.h>

static uint64_t page_of(uint64_t bus)
{
	return bus / VIODMA_IOTLB_PAGE_BYTES;
}

static uint32_t home_of(const struct viodma_iotlb *iotlb, uint64_t bus, unsigned permission)
{
	/* Fibonacci hashing; the upper half of the product is the well mixed one. */
	uint64_t key = (page_of(bus) * 4 + permission) * UINT64_C(0x9e3779b97f4a7c15);

	return (uint32_t)(key >> 32) & (iotlb->config.miss_capacity - 1);
}

static uint32_t next_slot(const struct viodma_iotlb *iotlb, uint32_t slot)
{
	return (slot + 1) & (iotlb->config.miss_capacity - 1);
}

void viodma_iotlb_misses_init(struct viodma_iotlb *iotlb)
{
	memset(iotlb->config.misses, 0, iotlb->config.miss_capacity * sizeof(iotlb->config.misses[0]));
	iotlb->miss_slots_used = iotlb->outstanding = iotlb->failed_count = 0;
}

struct viodma_iotlb_miss *viodma_iotlb_misses_find(const struct viodma_iotlb *iotlb, uint64_t bus,
					    enum viodma_permission wanted)
{
	uint32_t slot = home_of(iotlb, bus, wanted);

	while (iotlb->config.misses[slot].state != MISS_NONE) {
		struct viodma_iotlb_miss *miss = &iotlb->config.misses[slot];

		if (miss->permission == (uint8_t)wanted && page_of(miss->bus) == page_of(bus))
			return miss;
		slot = next_slot(iotlb, slot);
	}
	return NULL;
}

struct viodma_iotlb_miss *viodma_iotlb_misses_add(struct viodma_iotlb *iotlb, uint64_t bus, enum viodma_permission wanted)
{
	uint32_t slot = home_of(iotlb, bus, wanted);

	if (iotlb->miss_slots_used >= iotlb->config.miss_capacity / 4 * 3)
		return NULL;
	while (iotlb->config.misses[slot].state != MISS_NONE)
		slot = next_slot(iotlb, slot);
	iotlb->config.misses[slot].bus = bus;
	iotlb->config.misses[slot].permission = (uint8_t)wanted;
	iotlb->config.misses[slot].state = MISS_ASKED;
	iotlb->miss_slots_used++;
	iotlb->outstanding++;
	return &iotlb->config.misses[slot];
}

static void remove_slot(struct viodma_iotlb *iotlb, uint32_t hole)
{
	struct viodma_iotlb_miss *misses = iotlb->config.misses;
	uint32_t mask = iotlb->config.miss_capacity - 1, slot = hole;

	if (misses[hole].state == MISS_ASKED)
		iotlb->outstanding--;
	else
		iotlb->failed_count--;
	iotlb->miss_slots_used--;
	for (;;) {
		uint32_t home;

		slot = next_slot(iotlb, slot);
		if (misses[slot].state == MISS_NONE)
			break;
		home = home_of(iotlb, misses[slot].bus, misses[slot].permission);
		if (((slot - home) & mask) < ((slot - hole) & mask))
			continue; /* it would stand before its home */
		misses[hole] = misses[slot];
		hole = slot;
	}
	misses[hole].state = MISS_NONE;
}

static bool inside(const struct viodma_iotlb_miss *miss, uint64_t first, uint64_t last)
{
	return miss->state == MISS_ASKED && miss->bus >= first && miss->bus <= last;
}

unsigned viodma_iotlb_misses_asked(const struct viodma_iotlb *iotlb, uint64_t first, uint64_t last)
{
	unsigned asked = 0;
	uint32_t slot;

	if (!iotlb->outstanding)
		return 0;
	if (page_of(first) == page_of(last)) {
		unsigned permission;

		for (permission = VIODMA_READ; permission <= VIODMA_READ_WRITE; permission++) {
			const struct viodma_iotlb_miss *miss =
				viodma_iotlb_misses_find(iotlb, first, (enum viodma_permission)permission);

			if (miss && inside(miss, first, last))
				asked |= permission;
		}
		return asked;
	}
	for (slot = 0; slot < iotlb->config.miss_capacity; slot++)
		if (inside(&iotlb->config.misses[slot], first, last))
			asked |= iotlb->config.misses[slot].permission;
	return asked;
}

static bool answers(const struct viodma_iotlb_miss *miss, uint64_t first, uint64_t last, unsigned permission)
{
	return inside(miss, first, last) && (miss->permission & permission) == miss->permission;
}

uint32_t viodma_iotlb_misses_answer(struct viodma_iotlb *iotlb, uint64_t first, uint64_t last, unsigned permission)
{
	uint32_t slot, count = 0;

	if (!iotlb->outstanding)
		return 0;
	if (page_of(first) == page_of(last)) {
		unsigned one;

		for (one = VIODMA_READ; one <= VIODMA_READ_WRITE; one++) {
			struct viodma_iotlb_miss *miss = viodma_iotlb_misses_find(iotlb, first, (enum viodma_permission)one);

			if (miss && answers(miss, first, last, permission)) {
				remove_slot(iotlb, (uint32_t)(miss - iotlb->config.misses));
				count++;
			}
		}
		return count;
	}
	for (slot = 0; slot < iotlb->config.miss_capacity; slot++)
		while (answers(&iotlb->config.misses[slot], first, last, permission)) {
			remove_slot(iotlb, slot);
			count++;
		}
	return count;
}

void viodma_iotlb_misses_settle(struct viodma_iotlb *iotlb)
{
	uint32_t slot;

	for (slot = 0; iotlb->failed_count && slot < iotlb->config.miss_capacity; slot++)
		while (iotlb->config.misses[slot].state > MISS_ASKED)
			remove_slot(iotlb, slot);
}
