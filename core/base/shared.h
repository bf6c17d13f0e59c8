/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * shared.h - reading and writing memory the peer can change at any moment, and the whole memory-order vocabulary.
 *
 * Each function reads its bytes exactly once (= DEV-11): the compiler barrier after a copy keeps it from going back to
 * the source. Words are little-endian and must be aligned (viodma_shared_aligned). In test builds a hook runs after
 * each read, so that tests can change what was just read and prove that nobody looks again.
 *
 *   load_acquire16   pairs with the driver's release of the available index: descriptors written before it are seen
 *   store_release16  pairs with the driver's acquire of the used index: buffers and elements are written before it
 *   fence            before reading the peer's event word or flags, after publishing ours: neither side may see the
 *                    other's old value while having hidden its own new one (else a notification is lost)
 */
#ifndef VIODMA_BASE_SHARED_H
#define VIODMA_BASE_SHARED_H

#include <viodma/port.h>
#include <viodma/types.h>

#ifdef VIODMA_TEST_BUILD
/* Defined by tests/support/hooks.c. */
void viodma_shared_read_hook(const void *at, size_t bytes);
#else
static inline void viodma_shared_read_hook(const void *at, size_t bytes)
{
	(void)at;
	(void)bytes;
}
#endif

static inline bool viodma_shared_aligned(const struct viodma_shared *at, size_t bytes)
{
	return ((uintptr_t)at & (bytes - 1)) == 0;
}

static inline void viodma_shared_copy_in(void *destination, const struct viodma_shared *at, size_t bytes)
{
	memcpy(destination, at, bytes);
	__asm__ volatile("" : : : "memory");
	viodma_shared_read_hook(at, bytes);
}

static inline void viodma_shared_copy_out(struct viodma_shared *at, const void *source, size_t bytes)
{
	memcpy(at, source, bytes);
	__asm__ volatile("" : : : "memory");
}

static inline uint16_t viodma_shared_load16(const struct viodma_shared *at)
{
	uint16_t wire = __atomic_load_n((const uint16_t *)(const void *)at, __ATOMIC_RELAXED);

	viodma_shared_read_hook(at, sizeof(wire));
	return VIODMA_SWAP16(wire);
}

static inline uint16_t viodma_shared_load_acquire16(const struct viodma_shared *at)
{
	uint16_t wire = __atomic_load_n((const uint16_t *)(const void *)at, __ATOMIC_ACQUIRE);

	viodma_shared_read_hook(at, sizeof(wire));
	return VIODMA_SWAP16(wire);
}

static inline void viodma_shared_store16(struct viodma_shared *at, uint16_t number)
{
	__atomic_store_n((uint16_t *)(void *)at, (uint16_t)VIODMA_SWAP16(number), __ATOMIC_RELAXED);
}

static inline void viodma_shared_store_release16(struct viodma_shared *at, uint16_t number)
{
	__atomic_store_n((uint16_t *)(void *)at, (uint16_t)VIODMA_SWAP16(number), __ATOMIC_RELEASE);
}

static inline void viodma_shared_fence(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

#endif
