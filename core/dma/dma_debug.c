/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dma_debug.c - how it works: not yet.
 */
#include "dma.h"

bool viodma_debug_map_begin(struct viodma_debug *debug, const struct viodma_mapping *mapping)
{
	(void)debug;
	(void)mapping;
	return true;
}

void viodma_debug_map_end(struct viodma_debug *debug, struct viodma_mapping *mapping, enum viodma_result result)
{
	(void)debug;
	(void)mapping;
	(void)result;
}

bool viodma_debug_unmap(struct viodma_debug *debug, struct viodma_mapping *mapping, uint64_t written_bytes)
{
	(void)debug;
	(void)mapping;
	(void)written_bytes;
	return true;
}

bool viodma_debug_sync(struct viodma_debug *debug, const struct viodma_mapping *mapping, uint64_t offset, uint64_t len_bytes,
		       bool for_device)
{
	(void)debug;
	(void)mapping;
	(void)offset;
	(void)len_bytes;
	(void)for_device;
	return true;
}

void viodma_debug_end(struct viodma_debug *debug)
{
	(void)debug;
}
