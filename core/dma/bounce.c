/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bounce.c - how it works: the runs of a mapping are a list through the records of their first slots, sorted by falling
 * position in the mapping; a map appends in rising order, so that each goes to the front. A record says where the data
 * lies in the run, where in the mapping, and where it came from and goes back to.
 *
 * A run holds bytes of one buffer only. Around them lie whatever its slots held before: bytes of this device (DRV-19).
 * A buffer can lie in two registered objects that adjoin physically, so each copy goes object by object.
 */
#include <viodma/port.h>

#include "dma.h"

static struct viodma_pool_slot *record_of(const struct viodma_domain *domain, uint32_t run)
{
	return viodma_pool_slot(domain->config.pool, run);
}

bool viodma_bounce_fits_empty(const struct viodma_mapping *mapping, uint64_t wanted_bytes)
{
	const struct viodma_domain *domain = mapping->domain;
	const struct viodma_pool *pool = domain->config.pool;
	uint64_t slot_bytes = pool->slot_bytes, taken_bytes = 0;
	uint32_t run;

	for (run = mapping->runs; run != VIODMA_POOL_NONE; run = record_of(domain, run)->next)
		taken_bytes += record_of(domain, run)->run * slot_bytes;
	wanted_bytes = (wanted_bytes + (slot_bytes - 1)) & ~(slot_bytes - 1);
	return taken_bytes + wanted_bytes <= pool->statistics.bytes - pool->statistics.quarantined_bytes;
}

enum viodma_result viodma_bounce_take(struct viodma_mapping *mapping, viodma_phys origin, uint32_t len_bytes,
				      uint64_t position, uint32_t keep_bytes, uint32_t *run)
{
	struct viodma_pool *pool = mapping->domain->config.pool;
	uint32_t offset = (uint32_t)origin.v & (keep_bytes - 1);
	uint64_t wanted_bytes = (uint64_t)offset + len_bytes;
	struct viodma_pool_slot *record;
	uint32_t *link = &mapping->runs;

	if (!pool)
		return VIODMA_E_UNREACHABLE;
	if (wanted_bytes > (pool->config.grow ? pool->run_bytes : viodma_pool_largest_run(pool)))
		return VIODMA_E_LIMIT;
	*run = viodma_pool_take(pool, len_bytes, offset);
	if (*run == VIODMA_POOL_NONE)
		return viodma_bounce_fits_empty(mapping, wanted_bytes) ? VIODMA_E_EXHAUSTED : VIODMA_E_LIMIT;

	record = viodma_pool_slot(pool, *run);
	record->offset = offset;
	record->len = len_bytes;
	record->position = position;
	record->origin = origin;
	while (*link != VIODMA_POOL_NONE && viodma_pool_slot(pool, *link)->position > position)
		link = &viodma_pool_slot(pool, *link)->next;
	record->next = *link;
	*link = *run;
	return VIODMA_OK;
}

viodma_phys viodma_bounce_phys(struct viodma_domain *domain, uint32_t run)
{
	viodma_phys phys;
	uint32_t run_bytes;

	viodma_pool_memory(domain->config.pool, run, &phys, &run_bytes);
	phys.v += record_of(domain, run)->offset;
	return phys;
}

bool viodma_bounce_part(const struct viodma_mapping *mapping, uint32_t run, uint64_t offset, uint64_t len_bytes,
			struct viodma_bounce_part *part)
{
	const struct viodma_pool_slot *record = record_of(mapping->domain, run);
	uint64_t first = 0, last = record->len;
	uint32_t run_bytes;

	if (offset >= record->position + record->len || record->position >= offset + len_bytes)
		return false;
	if (offset > record->position)
		first = offset - record->position;
	if (offset + len_bytes < record->position + record->len)
		last = offset + len_bytes - record->position;
	part->memory = viodma_pool_memory(mapping->domain->config.pool, run, &part->phys, &run_bytes);
	part->memory = (unsigned char *)part->memory + record->offset + first;
	part->phys.v += record->offset + first;
	part->origin.v = record->origin.v + first;
	part->len_bytes = last - first;
	return true;
}

static void copy_part(const struct viodma_memory *memory, struct viodma_bounce_part *part, bool to_pool)
{
	while (part->len_bytes) {
		uint64_t bytes = part->len_bytes;
		void *origin = viodma_memory_part(memory, part->origin, &bytes);

		if (!origin) /* map has looked: the registered memory was changed since */
			return;
		if (to_pool)
			memcpy(part->memory, origin, (size_t)bytes);
		else
			memcpy(origin, part->memory, (size_t)bytes);
		part->memory = (unsigned char *)part->memory + bytes;
		part->origin.v += bytes;
		part->len_bytes -= bytes;
	}
}

void viodma_bounce_copy(const struct viodma_mapping *mapping, uint64_t offset, uint64_t len_bytes, bool to_pool)
{
	const struct viodma_domain *domain = mapping->domain;
	struct viodma_pool *pool = domain->config.pool;
	struct viodma_bounce_part part;
	uint32_t run;

	for (run = mapping->runs; run != VIODMA_POOL_NONE; run = record_of(domain, run)->next) {
		if (!viodma_bounce_part(mapping, run, offset, len_bytes, &part))
			continue;
		if (to_pool)
			pool->statistics.copied_in_bytes += part.len_bytes;
		else
			pool->statistics.copied_out_bytes += part.len_bytes;
		copy_part(domain->config.memory, &part, to_pool);
	}
}

void viodma_bounce_give(struct viodma_domain *domain, uint32_t runs)
{
	while (runs != VIODMA_POOL_NONE) {
		uint32_t next = record_of(domain, runs)->next;

		viodma_pool_give(domain->config.pool, runs);
		runs = next;
	}
}

void viodma_bounce_quarantine(struct viodma_domain *domain, uint32_t runs)
{
	for (; runs != VIODMA_POOL_NONE; runs = record_of(domain, runs)->next)
		viodma_pool_quarantine(domain->config.pool, runs);
}
