/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * viodma/memory.h - the driver's own memory, by physical address.
 *
 * In a process, memory is a table of registered objects, each with the physical address that the program gave it. In
 * firmware it is one object: all of memory. A domain uses it to reach the bytes it copies and keeps coherent; an address
 * in no object cannot be mapped where that is needed.
 *
 * Thread: pure functions; whoever changes the table changes it while nobody looks. Units: bytes.
 */
#ifndef VIODMA_MEMORY_H
#define VIODMA_MEMORY_H

#include <viodma/result.h>

#ifdef __cplusplus
extern "C" {
#endif

struct viodma_object {
	void *memory;       /* the byte at `phys` */
	viodma_phys phys;   /* first physical address */
	uint64_t len_bytes; /* at least 1; neither range may wrap */
};

/* Objects sorted by phys that do not overlap. The table is the caller's, and outlives what uses it. */
struct viodma_memory {
	const struct viodma_object *objects;
	uint32_t count;
};

/* One stretch of the driver's memory: what is mapped, synced, unmapped. */
struct viodma_buffer {
	viodma_phys phys;
	uint32_t len_bytes; /* not 0 */
};

/* VIODMA_E_INVALID: an object is empty, wraps, overlaps its predecessor in phys, or is out of order. */
VIODMA_MUST_USE enum viodma_result viodma_memory_check(const struct viodma_memory *memory);

/* The byte at phys, if all `len_bytes` lie in one object; else NULL. O(log objects). */
void *viodma_memory_at(const struct viodma_memory *memory, viodma_phys phys, uint64_t len_bytes);

/* The physical address of `len_bytes` at `start`, if all lie in one object: true. O(objects). */
bool viodma_memory_phys(const struct viodma_memory *memory, const void *start, uint64_t len_bytes, viodma_phys *phys);

#ifdef __cplusplus
}
#endif

#endif
