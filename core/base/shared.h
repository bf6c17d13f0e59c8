/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * shared.h - reading and writing memory the peer can change at any moment, and the whole memory-order vocabulary.
 *
 * Each function reads its bytes exactly once (= DEV-11): the compiler barrier after a copy keeps it from going back to
 * the source. Words are little-endian and must be aligned (viodma_shared_aligned). In test builds a hook runs after
 * each read, so that tests can change what was just read and prove that nobody looks again.
 *
 * Between processors, which is what virtio asks for by default:
 *   load_acquire16   of the peer's index: pairs with its release; descriptors, or buffers and used elements, written
 *                    before it are seen
 *   store_release16  of our index: pairs with the peer's acquire; what the index announces is written before it
 *   fence            before reading the peer's event word or flags, after publishing ours: neither side may see the
 *                    other's old value while having hidden its own new one (else a notification is lost)
 *
 *   expect           no order, a hint
 *
 * Between a processor and the bus, when feature bit 36 was accepted (DRV-23): the device is no processor, its accesses
 * are ordered by what orders accesses of the bus. Used beside the ones above, never instead of them:
 *   platform_read_fence   after the acquire of the peer's index
 *   platform_write_fence  before the release of ours
 *   platform_fence        where `fence` is
 */
#ifndef VIODMA_BASE_SHARED_H
#define VIODMA_BASE_SHARED_H

#include <viodma/port.h>
#include <viodma/types.h>

/* What comes from another processor in one piece, or half of it; more or less does no harm. */
#define VIODMA_SHARED_LINE_BYTES 64u

enum viodma_fence { VIODMA_FENCE_READ, VIODMA_FENCE_WRITE, VIODMA_FENCE_FULL };

#ifdef VIODMA_TEST_BUILD
/* Defined by tests/support/hooks.c. */
void viodma_shared_read_hook(const void *at, size_t bytes);
void viodma_shared_platform_hook(enum viodma_fence fence);
#else
static inline void viodma_shared_read_hook(const void *at, size_t bytes)
{
	(void)at;
	(void)bytes;
}

static inline void viodma_shared_platform_hook(enum viodma_fence fence)
{
	(void)fence;
}
#endif

static inline bool viodma_shared_aligned(const struct viodma_shared *at, size_t bytes)
{
	return ((uintptr_t)at & (bytes - 1)) == 0;
}

/* By the compiler's own name: freestanding, memcpy would be a call for each descriptor; so it is a few moves. */
static inline void viodma_shared_copy_in(void *destination, const struct viodma_shared *at, size_t bytes)
{
	__builtin_memcpy(destination, at, bytes);
	__asm__ volatile("" : : : "memory");
	viodma_shared_read_hook(at, bytes);
}

static inline void viodma_shared_copy_out(struct viodma_shared *at, const void *source, size_t bytes)
{
	__builtin_memcpy(at, source, bytes);
	__asm__ volatile("" : : : "memory");
}

/*
 * Part of what a later store_release announces: nothing keeps it in order by itself, so that the compiler is free to. Eight
 * bytes in one store: half of a descriptor.
 */
static inline void viodma_shared_put64(struct viodma_shared *at, uint64_t number)
{
	const viodma_le64 wire = viodma_le64_of(number);

	__builtin_memcpy(at, &wire, sizeof(wire));
}

static inline void viodma_shared_put32(struct viodma_shared *at, uint32_t number)
{
	const viodma_le32 wire = viodma_le32_of(number);

	__builtin_memcpy(at, &wire, sizeof(wire));
}

static inline void viodma_shared_put16(struct viodma_shared *at, uint16_t number)
{
	const viodma_le16 wire = viodma_le16_of(number);

	__builtin_memcpy(at, &wire, sizeof(wire));
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

static inline uint32_t viodma_shared_load32(const struct viodma_shared *at)
{
	uint32_t wire = __atomic_load_n((const uint32_t *)(const void *)at, __ATOMIC_RELAXED);

	viodma_shared_read_hook(at, sizeof(wire));
	return VIODMA_SWAP32(wire);
}

static inline void viodma_shared_store32(struct viodma_shared *at, uint32_t number)
{
	__atomic_store_n((uint32_t *)(void *)at, (uint32_t)VIODMA_SWAP32(number), __ATOMIC_RELAXED);
}

static inline void viodma_shared_fence(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/*
 * A hint, and nothing else, wherever it points: the line so many bytes further on will be read, and written, soon. Without it
 * a line that the other processor wrote last comes twice: to be read, and once more to be written.
 */
static inline void viodma_shared_expect(const struct viodma_shared *at, size_t offset)
{
	const char *line = (const char *)((uintptr_t)at + offset);

#if defined(__x86_64__)
	__asm__ volatile("prefetchw %0" : : "m"(*line)); /* by its name: the compiler's own would be one for reading here */
#else
	__builtin_prefetch(line, 1);
#endif
}

#if defined(__x86_64__)
#define VIODMA_PLATFORM_FENCE_READ "lfence"
#define VIODMA_PLATFORM_FENCE_WRITE "sfence"
#define VIODMA_PLATFORM_FENCE_FULL "mfence"
#elif defined(__i386__)
/* A locked instruction orders what the fences do, and every processor has it. */
#define VIODMA_PLATFORM_FENCE_READ "lock; addl $0,0(%%esp)"
#define VIODMA_PLATFORM_FENCE_WRITE "lock; addl $0,0(%%esp)"
#define VIODMA_PLATFORM_FENCE_FULL "lock; addl $0,0(%%esp)"
#elif defined(__aarch64__)
/* Outer shareable: a device that is coherent is there. The full one waits until the accesses have ended. */
#define VIODMA_PLATFORM_FENCE_READ "dmb oshld"
#define VIODMA_PLATFORM_FENCE_WRITE "dmb oshst"
#define VIODMA_PLATFORM_FENCE_FULL "dsb sy"
#elif defined(__riscv)
#define VIODMA_PLATFORM_FENCE_READ "fence iorw,iorw"
#define VIODMA_PLATFORM_FENCE_WRITE "fence iorw,iorw"
#define VIODMA_PLATFORM_FENCE_FULL "fence iorw,iorw"
#elif defined(__powerpc__)
#define VIODMA_PLATFORM_FENCE_READ "sync"
#define VIODMA_PLATFORM_FENCE_WRITE "sync"
#define VIODMA_PLATFORM_FENCE_FULL "sync"
#elif defined(__s390__)
#define VIODMA_PLATFORM_FENCE_READ "bcr 15,0"
#define VIODMA_PLATFORM_FENCE_WRITE "bcr 15,0"
#define VIODMA_PLATFORM_FENCE_FULL "bcr 15,0"
#endif

#ifdef VIODMA_PLATFORM_FENCE_FULL
#define VIODMA_PLATFORM_FENCE(kind) __asm__ volatile(VIODMA_PLATFORM_FENCE_##kind : : : "memory", "cc")
#else
#define VIODMA_PLATFORM_FENCE(kind) __sync_synchronize()
#endif

static inline void viodma_shared_platform_read_fence(void)
{
	VIODMA_PLATFORM_FENCE(READ);
	viodma_shared_platform_hook(VIODMA_FENCE_READ);
}

static inline void viodma_shared_platform_write_fence(void)
{
	VIODMA_PLATFORM_FENCE(WRITE);
	viodma_shared_platform_hook(VIODMA_FENCE_WRITE);
}

static inline void viodma_shared_platform_fence(void)
{
	VIODMA_PLATFORM_FENCE(FULL);
	viodma_shared_platform_hook(VIODMA_FENCE_FULL);
}

#endif
