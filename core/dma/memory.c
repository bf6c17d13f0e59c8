/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * memory.c - how it works: the table is sorted by physical address, so phys -> pointer is a binary search. The other
 * way is for tests and set-up, and looks at each object.
 */
#include "dma.h"

#define FEW 4u

enum viodma_result viodma_memory_check(const struct viodma_memory *memory)
{
	uint32_t i;

	for (i = 0; i < memory->count; i++) {
		const struct viodma_object *object = &memory->objects[i];
		uint64_t last = object->phys.v + (object->len_bytes - 1);
		uintptr_t start = (uintptr_t)object->memory;

		if (!object->memory || !object->len_bytes || last < object->phys.v ||
		    object->len_bytes - 1 > UINTPTR_MAX - start)
			return VIODMA_E_INVALID;
		if (i && (object->phys.v < object[-1].phys.v ||
			  object->phys.v - object[-1].phys.v < object[-1].len_bytes))
			return VIODMA_E_INVALID;
	}
	return VIODMA_OK;
}

uint32_t viodma_memory_behind(const struct viodma_memory *memory, viodma_phys phys)
{
	uint32_t low = 0, high = memory->count;

	/* Of a few, one after the other is found sooner. */
	while (high && high <= FEW && memory->objects[high - 1].phys.v > phys.v)
		high--;
	if (memory->count <= FEW)
		low = high;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (memory->objects[middle].phys.v <= phys.v)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

void *viodma_memory_part(const struct viodma_memory *memory, viodma_phys phys, uint64_t *len_bytes)
{
	uint32_t behind = viodma_memory_behind(memory, phys);
	const struct viodma_object *object;
	uint64_t offset;

	if (!behind)
		return NULL;
	object = &memory->objects[behind - 1];
	offset = phys.v - object->phys.v;
	if (offset >= object->len_bytes)
		return NULL;
	if (*len_bytes > object->len_bytes - offset)
		*len_bytes = object->len_bytes - offset;
	return (unsigned char *)object->memory + offset;
}

void *viodma_memory_at(const struct viodma_memory *memory, viodma_phys phys, uint64_t len_bytes)
{
	uint64_t part = len_bytes;
	void *at = viodma_memory_part(memory, phys, &part);

	return part == len_bytes ? at : NULL;
}

bool viodma_memory_phys(const struct viodma_memory *memory, const void *start, uint64_t len_bytes, viodma_phys *phys)
{
	uint32_t i;

	for (i = 0; i < memory->count; i++) {
		const struct viodma_object *object = &memory->objects[i];
		uint64_t offset = (uintptr_t)start - (uintptr_t)object->memory;

		if ((uintptr_t)start < (uintptr_t)object->memory || offset >= object->len_bytes ||
		    len_bytes > object->len_bytes - offset)
			continue;
		phys->v = object->phys.v + offset;
		return true;
	}
	return false;
}
