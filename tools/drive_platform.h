/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * drive_platform.h - the platform between this program's memory and its device: which memory there is and where, what
 * of it is handed over, what is granted.
 *
 * Two kinds of objects: "private" holds the data, "pool" rings and whatever is bounced. Neither has a physical address
 * that is its pointer, and no bus address is a physical one but where a rule has it so.
 *
 * Single owner. Units: bytes.
 */
#ifndef VIODMA_TOOLS_DRIVE_PLATFORM_H
#define VIODMA_TOOLS_DRIVE_PLATFORM_H

#include "tools/drive_options.h"

#include <viodma/domain.h>
#include <viodma/vhost_user_front.h>

struct drive_platform {
	enum drive_domain domain;
	struct viodma_platform description;
	char text[VIODMA_PLATFORM_TEXT_BYTES]; /* of the description */
	bool share_private;                    /* it is handed over, as the pool always is */
	viodma_phys private_phys, pool_phys;
	uint64_t private_bytes, pool_bytes_max; /* room for them */
};

struct drive_memory {
	struct viodma_front_memory private; /* fd -1: anonymous */
	struct viodma_front_memory chunks[VIODMA_POOL_CHUNKS_MAX]; /* of the pool */
	void *storages[VIODMA_POOL_CHUNKS_MAX];
	uint32_t chunk_count;
	uint64_t pool_bytes;
	struct viodma_object objects[1 + VIODMA_POOL_CHUNKS_MAX];
	struct viodma_memory table;
};

/*
 * Describe it. late: what it has become after --restrict-after. VIODMA_E_INVALID: *what says why, for --platform.
 */
enum viodma_result drive_platform_make(struct drive_platform *platform, const struct drive_options *options, bool late,
				       uint64_t private_bytes, const char **what);

/* How the domain will allot the pool. */
uint32_t drive_platform_slot_bytes(const struct drive_platform *platform);

/* Where a bus address of these bytes is, on this platform, with this addressing; false: nowhere, or not fixed. */
bool drive_platform_bus(const struct drive_platform *platform, bool physical, viodma_phys phys, viodma_bus *bus);

/*
 * Memory as the platform says: the first chunk of the pool, and private memory. VIODMA_E_NO_MEMORY, VIODMA_E_IO
 * (errno).
 */
enum viodma_result drive_memory_new(struct drive_memory *memory, const struct drive_platform *platform,
				    uint64_t pool_bytes);
/* Another chunk, as large as the bound allows up to `bytes`. VIODMA_E_NO_SPACE: the pool is as large as it may be. */
enum viodma_result drive_memory_add_chunk(struct drive_memory *memory, const struct drive_platform *platform,
					  uint64_t bytes);
void drive_memory_drop_chunk(struct drive_memory *memory);
/* Private memory that was handed over becomes anonymous, with its contents; the old bytes are wiped. */
enum viodma_result drive_memory_withdraw(struct drive_memory *memory);
void drive_memory_free(struct drive_memory *memory);

/* The byte at an offset of private memory. */
void *drive_memory_private(const struct drive_memory *memory, uint64_t offset);
viodma_phys drive_memory_private_phys(const struct drive_memory *memory, uint64_t offset);

/* Bit 33 set, and bus addresses that are fixed: grant what the device may reach of one object. */
enum viodma_result drive_platform_grant(const struct drive_platform *platform, struct viodma_front *front,
					const struct viodma_object *object);

/* Who keeps the device from the rest of memory, in a word or two, with this addressing. */
const char *drive_platform_enforced(const struct drive_platform *platform, bool physical);

#endif
