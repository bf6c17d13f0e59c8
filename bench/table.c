/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * table.c - how it works: an IOMMU as cheap as one can be, so that what is measured is the DMA layer above it. An array
 * with an entry for each granule; each says to which range it belongs, so that a look-up answers with the whole range,
 * and the last hit of the space covers it.
 *
 * With one thread an invalidation is a change of the space's generation. With two it is asked for, and waits until the
 * thread of the device half has heard of it: between two requests, when it holds nothing. That is a round trip between
 * processors, as it is with an IOMMU's queue of commands.
 */
#include "bench/bench.h"

#include <stdlib.h>
#include <string.h>

#define BASE UINT64_C(0x4000000000)
#define SHIFT 12

bool bench_table_new(struct bench_table *table, const struct viodma_memory *memory, struct viodma_space *space)
{
	memset(table, 0, sizeof(*table));
	table->memory = memory;
	table->space = space;
	table->entries = calloc(BENCH_GRANULES, sizeof(*table->entries));
	return table->entries != NULL;
}

void bench_table_free(struct bench_table *table)
{
	free(table->entries);
	table->entries = NULL;
}

static enum viodma_result table_map(void *context, viodma_bus bus, viodma_phys phys, uint64_t len_bytes,
				    enum viodma_permission permission)
{
	struct bench_table *table = context;
	const uint32_t first = (uint32_t)((bus.v - BASE) >> SHIFT), count = (uint32_t)(len_bytes >> SHIFT);
	const struct bench_table_entry entry = { viodma_memory_at(table->memory, phys, len_bytes), phys.v, first, count,
						 permission };

	if (!entry.memory)
		return VIODMA_E_INVALID;
	for (uint32_t i = 0; i < count; i++) {
		table->entries[first + i] = entry;
		__atomic_store_n(&table->entries[first + i].permission, entry.permission, __ATOMIC_RELEASE);
	}
	return VIODMA_OK;
}

static enum viodma_result table_unmap(void *context, viodma_bus bus, uint64_t len_bytes)
{
	struct bench_table *table = context;
	const uint32_t first = (uint32_t)((bus.v - BASE) >> SHIFT), count = (uint32_t)(len_bytes >> SHIFT);

	for (uint32_t i = 0; i < count; i++)
		__atomic_store_n(&table->entries[first + i].permission, 0, __ATOMIC_RELEASE);
	return VIODMA_OK;
}

static enum viodma_result table_invalidate_all(void *context)
{
	struct bench_table *table = context;
	uint64_t asked;

	if (!table->threaded) {
		viodma_space_changed(table->space);
		return VIODMA_OK;
	}
	asked = __atomic_add_fetch(&table->asked, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&table->heard, __ATOMIC_ACQUIRE) < asked)
		if (__atomic_load_n(&table->abandoned, __ATOMIC_ACQUIRE))
			break;
	return VIODMA_OK;
}

static enum viodma_result table_invalidate(void *context, viodma_bus bus, uint64_t len_bytes)
{
	(void)bus;
	(void)len_bytes;
	return table_invalidate_all(context);
}

void bench_table_hear(struct bench_table *table)
{
	const uint64_t asked = __atomic_load_n(&table->asked, __ATOMIC_ACQUIRE);

	if (asked == table->heard)
		return;
	viodma_space_changed(table->space);
	__atomic_store_n(&table->heard, asked, __ATOMIC_RELEASE);
}

const struct viodma_iommu_ops bench_table_ops = {
	.map = table_map,
	.unmap = table_unmap,
	.invalidate = table_invalidate,
	.invalidate_all = table_invalidate_all,
};

static enum viodma_result table_translate(void *context, viodma_bus bus, enum viodma_permission wanted,
					  struct viodma_extent *extent)
{
	const struct bench_table *table = context;
	const uint64_t granule = (bus.v - BASE) >> SHIFT;
	const struct bench_table_entry *entry;
	uint32_t permission;

	(void)wanted;
	if (granule >= BENCH_GRANULES)
		return VIODMA_FAULT_UNMAPPED;
	entry = &table->entries[granule];
	permission = __atomic_load_n(&entry->permission, __ATOMIC_ACQUIRE);
	if (!permission)
		return VIODMA_FAULT_UNMAPPED;
	extent->first.v = BASE + ((uint64_t)entry->first << SHIFT);
	extent->last.v = extent->first.v + (((uint64_t)entry->count << SHIFT) - 1);
	extent->memory = (struct viodma_shared *)entry->memory;
	extent->phys.v = entry->phys;
	extent->permission = (enum viodma_permission)permission;
	return VIODMA_OK;
}

void bench_table_translator(struct bench_table *table, struct viodma_translator *translator)
{
	*translator = (struct viodma_translator){ .translate = table_translate, .context = table };
}
