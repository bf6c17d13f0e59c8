/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * viodma/types.h - addresses, permissions, and integers as they lie on the wire.
 *
 * An address is not a pointer. Each kind of address is a structure of its own, so that handing one where another is
 * meant does not compile. Only the platform's domain makes bus addresses; only core/space turns one into bytes.
 *
 * Thread: every function here is pure. Units: addresses and lengths are bytes.
 */
#ifndef VIODMA_TYPES_H
#define VIODMA_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define VIODMA_MUST_USE
extern "C" {
#elif defined(__GNUC__)
#define VIODMA_MUST_USE __attribute__((warn_unused_result))
#else
#define VIODMA_MUST_USE
#endif

/* What the driver's CPU uses for memory. */
typedef struct {
	uint64_t v;
} viodma_phys;

/* What every descriptor carries. With feature bit 33 clear it equals the physical address of the same byte. */
typedef struct {
	uint64_t v;
} viodma_bus;

/* A vhost-user front end's own virtual address, as it stands in ring set-up and IOTLB messages. Never our pointer. */
typedef struct {
	uint64_t v;
} viodma_uaddr;

/* What the DEVICE may do with memory: read it (device-readable), write it (device-writable), or both. A bit set. */
enum viodma_permission {
	VIODMA_NO_ACCESS = 0,
	VIODMA_READ = 1,
	VIODMA_WRITE = 2,
	VIODMA_READ_WRITE = 3
};

/* One descriptor's buffer. The driver half gets it from a mapping, the device half fetches it (once) from the ring. */
struct viodma_segment {
	viodma_bus bus;
	uint32_t len_bytes;
	enum viodma_permission permission; /* VIODMA_READ: device-readable; VIODMA_WRITE: device-writable */
};

/*
 * Memory the peer can change at any moment. The type is never completed: such memory cannot be dereferenced. Hand it to
 * something that takes a void pointer and a length (memcpy, an iovec), once; then look at the copy (requirement DEV-11).
 */
struct viodma_shared;

/* The byte `offset` bytes further on. */
static inline struct viodma_shared *viodma_shared_at(struct viodma_shared *base, uint64_t offset)
{
	return (struct viodma_shared *)((unsigned char *)base + offset);
}

/* Integers of the little-endian wire layouts. Convert with the functions below; the member is not a number. */
typedef struct {
	uint16_t wire;
} viodma_le16;
typedef struct {
	uint32_t wire;
} viodma_le32;
typedef struct {
	uint64_t wire;
} viodma_le64;

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define VIODMA_SWAP16(x) __builtin_bswap16(x)
#define VIODMA_SWAP32(x) __builtin_bswap32(x)
#define VIODMA_SWAP64(x) __builtin_bswap64(x)
#else
#define VIODMA_SWAP16(x) (x)
#define VIODMA_SWAP32(x) (x)
#define VIODMA_SWAP64(x) (x)
#endif

static inline uint16_t viodma_le16_get(viodma_le16 value)
{
	return VIODMA_SWAP16(value.wire);
}

static inline uint32_t viodma_le32_get(viodma_le32 value)
{
	return VIODMA_SWAP32(value.wire);
}

static inline uint64_t viodma_le64_get(viodma_le64 value)
{
	return VIODMA_SWAP64(value.wire);
}

static inline viodma_le16 viodma_le16_of(uint16_t number)
{
	viodma_le16 value;

	value.wire = VIODMA_SWAP16(number);
	return value;
}

static inline viodma_le32 viodma_le32_of(uint32_t number)
{
	viodma_le32 value;

	value.wire = VIODMA_SWAP32(number);
	return value;
}

static inline viodma_le64 viodma_le64_of(uint64_t number)
{
	viodma_le64 value;

	value.wire = VIODMA_SWAP64(number);
	return value;
}

#ifdef __cplusplus
}
#endif

#endif
