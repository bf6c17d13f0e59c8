/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * drive_canary.c - how it works (test build only): the pattern lies at fixed places, so that each of its 32 turns
 * stands at addresses of one remainder. 8 bytes of any turn, anywhere in the pool, are a leak: data never hold them, as
 * the chance of 8 random bytes being them is 32 in 2^64. A leak of 7 bytes or fewer is not seen.
 *
 * All of the pool is looked through, what is mapped for the device just now included: no mapping has the pattern in it.
 */
#include "tools/drive_canary.h"

#include "tools/log.h"

#include <inttypes.h>
#include <string.h>

#define TURNS 32u
#define SEEN_BYTES 8u
#define ONE_IN 16u

static const char pattern[TURNS + 1] = "viodma-canary-in-private-memory!";

static void put(const struct drive_canary *canary, uint64_t offset, uint64_t len_bytes)
{
	unsigned char *memory = drive_memory_private(&canary->device->memory, 0);

	for (uint64_t i = offset; i < offset + len_bytes; i++)
		memory[i] = (unsigned char)pattern[i % TURNS];
}

void drive_canary_init(struct drive_canary *canary, struct drive_device *device)
{
	*canary = (struct drive_canary){ .device = device->options->canary ? device : NULL, .random = 33 };
	if (canary->device)
		put(canary, 0, device->private_bytes);
}

void drive_canary_mark(const struct drive_canary *canary, uint64_t offset, uint64_t len_bytes)
{
	if (canary->device)
		put(canary, offset, len_bytes);
}

static bool look(const struct drive_canary *canary, const struct viodma_object *chunk)
{
	for (unsigned turn = 0; turn < TURNS; turn++) {
		char wanted[SEEN_BYTES];
		const unsigned char *found;

		for (unsigned i = 0; i < SEEN_BYTES; i++)
			wanted[i] = pattern[(turn + i) % TURNS];
		found = memmem(chunk->memory, (size_t)chunk->len_bytes, wanted, SEEN_BYTES);
		if (!found)
			continue;
		log_event(canary->device->name,
			  "isolation: DRV-19: bytes of private memory that nobody mapped are in the pool, at physical "
			  "0x%" PRIx64,
			  chunk->phys.v + (uint64_t)(found - (const unsigned char *)chunk->memory));
		return false;
	}
	return true;
}

enum viodma_result drive_canary_scan(struct drive_canary *canary)
{
	if (!canary->device)
		return VIODMA_OK;
	canary->scans++;
	for (uint32_t i = 0; i < canary->device->memory.chunk_count; i++)
		if (!look(canary, &canary->device->memory.chunks[i].object))
			return VIODMA_E_MISUSE;
	return VIODMA_OK;
}

enum viodma_result drive_canary_sometimes(struct drive_canary *canary)
{
	canary->random = canary->random * 6364136223846793005u + 1442695040888963407u;
	return (canary->random >> 33) % ONE_IN ? VIODMA_OK : drive_canary_scan(canary);
}

enum viodma_result drive_canary_end(struct drive_canary *canary)
{
	enum viodma_result result = drive_canary_scan(canary);

	if (canary->device && result == VIODMA_OK)
		log_event(canary->device->name, "isolation: %" PRIu64 " scans, 0 canary bytes", canary->scans);
	return result;
}
