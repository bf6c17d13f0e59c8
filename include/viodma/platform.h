/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * viodma/platform.h - a platform, described: what lies between one device and memory, as the driver half needs to know
 * it. platform-description.md, installed with the documentation, defines every member, and the text form.
 *
 * A description is data. It comes from firmware tables, a device tree, a command line or a program; a domain is made
 * from it (viodma/domain.h), and the bit-33 rule asks it (viodma/feature.h). Nothing is guessed (PLT-2, PLT-3).
 *
 * Thread: pure functions. Units: bytes, bits where the name says so.
 */
#ifndef VIODMA_PLATFORM_H
#define VIODMA_PLATFORM_H

#include <viodma/result.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How a bus address comes about. */
enum viodma_platform_kind {
	VIODMA_PLATFORM_DIRECT, /* it is the physical address */
	VIODMA_PLATFORM_OFFSET, /* fixed: by windows, or by a function of the platform's own (struct viodma_bus_of) */
	VIODMA_PLATFORM_IOMMU   /* by a table: each mapping is entered in it, and taken out (viodma/iommu.h) */
};

/* Which barriers order the two halves' accesses when bit 36 (VIRTIO_F_ORDER_PLATFORM) is accepted. */
enum viodma_order {
	VIODMA_ORDER_SMP,     /* those between processors */
	VIODMA_ORDER_PLATFORM /* those between a processor and the bus */
};

/*
 * OFFSET: this range of physical addresses is at these bus addresses; what lies in no window is out of reach. IOMMU: bus
 * addresses that mappings may get; phys is not looked at. Windows overlap neither in phys nor in bus, and begin and end
 * at multiples of the granule and of the alignment.
 */
struct viodma_window {
	viodma_phys phys;
	viodma_bus bus;
	uint64_t len_bytes;
};
#define VIODMA_PLATFORM_WINDOWS_MAX 8

struct viodma_platform {
	enum viodma_platform_kind kind;
	unsigned address_bits;      /* a device drives bus addresses below 2^address_bits; 12 to 64 */
	/*
	 * A power of two; 1 where neither is so. IOMMU: what shares one is granted together. OFFSET by a function: bus
	 * addresses go on contiguously within one.
	 */
	uint32_t granule_bytes;
	uint32_t window_count;
	struct viodma_window windows[VIODMA_PLATFORM_WINDOWS_MAX];
	uint64_t mapping_bytes_max; /* largest mapping; 0: no limit */
	uint32_t segment_bytes_max; /* longest segment, at least 64 and the alignment; 0: no limit */
	uint64_t boundary_bytes;    /* no segment crosses a multiple of this power of two, at least 64; 0: none */
	uint32_t alignment_bytes;   /* segments start at multiples of this power of two; 1: anywhere */
	bool coherent;              /* false: caches need maintenance around accesses (PLT-4) */
	/*
	 * Not coherent: a cache line; what shares one is cleaned and invalidated together. A power of two, 1 to 4096; IOMMU:
	 * at most the granule. 0: not said, which a platform that is not coherent must.
	 */
	uint32_t line_bytes;
	enum viodma_order order;
	bool restricted;            /* devices reach the pool, and nothing else of memory (PLT-2) */
	viodma_phys pool;           /* memory through which to bounce; pool_bytes 0: none stated */
	uint64_t pool_bytes;
	uint32_t pool_slot_bytes;   /* what the pool is handed out in: a power of two, 64 to 1 MiB; 0: 2048 */
	bool pool_at_physical;      /* the pool's bus addresses are its physical ones, also for devices with bit 33 clear */
	bool pass_through;          /* a device with bit 33 clear can be let past the translation (PLT-7) */
};

/* A platform of which nothing is said: direct, 64 bits, coherent, no limits, pass-through. */
void viodma_platform_init(struct viodma_platform *platform);

/* VIODMA_E_INVALID: a member is out of its range or contradicts another; *what (may be NULL) says which, as a sentence. */
VIODMA_MUST_USE enum viodma_result viodma_platform_check(const struct viodma_platform *platform, const char **what);

/*
 * The text form: words separated by blanks, each at most once (window= more often), in any order; what is not said is
 * as viodma_platform_init has it. Numbers are decimal, or hexadecimal with 0x; lengths may end in K, M, G or T.
 *	kind=direct|offset|iommu  width=BITS  granule=LEN  window=PHYS+LEN@BUS (iommu: window=BUS+LEN)
 *	max-mapping=LEN  max-segment=LEN  boundary=LEN  align=LEN  coherent|non-coherent  line=LEN
 *	order=smp|platform  restricted  pool=PHYS+LEN[/SLOT]  pool-at-physical  pass-through|no-pass-through
 * VIODMA_E_INVALID: *where (may be NULL) is the offset of the first word that is not understood, or that contradicts an
 * earlier one; *what (may be NULL) says why, and is NULL where nothing is wrong.
 */
VIODMA_MUST_USE enum viodma_result viodma_platform_parse(const char *text, struct viodma_platform *platform,
							 uint32_t *where, const char **what);

/*
 * Write the text form, ended by a NUL, into `bytes` bytes (VIODMA_PLATFORM_TEXT_BYTES always do); what the defaults say
 * is left out, except kind. Parsing it gives the same platform. VIODMA_E_LIMIT: it does not fit. VIODMA_E_INVALID:
 * viodma_platform_check does not pass it.
 */
#define VIODMA_PLATFORM_TEXT_BYTES 1024
VIODMA_MUST_USE enum viodma_result viodma_platform_format(const struct viodma_platform *platform, char *text,
							  size_t bytes);

#ifdef __cplusplus
}
#endif

#endif
