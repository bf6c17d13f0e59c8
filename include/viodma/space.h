/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * viodma/space.h - one device's view of memory, seen from the DEVICE half.
 *
 * Domain is the driver's view, space is the device's view.
 *
 * A space is a table of regions (the driver's memory that this half has mapped) and one of three ways from a bus
 * address to a region:
 *   physical     feature bit 33 clear: bus address = physical address, looked up in the regions (DEV-4)
 *   iotlb        viodma/iotlb.h: mappings the platform sent, misses asked for (DEV-3)
 *   translator   the caller's own, for a VMM that has an IOMMU model (DEV-3)
 * There is no other way: an address that none of them knows is refused, and nothing falls back (DEV-10).
 * A translator answers with memory of its own, so it needs no regions: storage NULL and capacity 0 will do.
 *
 * Pointers may be NULL only where it is said.
 *
 * Single owner: every function on one space, its IOTLB and its queues is called from one thread, or under one lock.
 * Memory: everything is the caller's, the region table too; nothing is allocated. Units: bytes.
 */
#ifndef VIODMA_SPACE_H
#define VIODMA_SPACE_H

#include <viodma/result.h>

#ifdef __cplusplus
extern "C" {
#endif

struct viodma_iotlb;

/* One range of the driver's memory that the device half has mapped. */
struct viodma_region {
	viodma_phys phys;     /* first physical address */
	viodma_uaddr user;    /* the same byte as the front end's user address; equal to phys where there is none */
	uint64_t len_bytes;   /* at least 1; neither range may wrap 2^64 */
	void *memory;         /* the same byte, mapped here; valid until viodma_space_remove_region has answered OK */
	void *tag;            /* the caller's; kept in the table's copy */
	bool retired;         /* set by viodma_space_retire_region; leave false */
};

/*
 * What a translation answers: bus addresses first..last (both inclusive, so that the last byte of the address space
 * can be said) are memory.. with this permission. `memory` is the byte at `first`.
 */
struct viodma_extent {
	viodma_bus first;
	viodma_bus last;
	viodma_phys phys; /* of `first`, for statistics and reports; equal to first.v if the translator does not know */
	struct viodma_shared *memory;
	enum viodma_permission permission;
};

/* A translator a VMM brings itself. Called only from functions of this header and viodma/queue.h. */
struct viodma_translator {
	/*
	 * Translate one bus address. VIODMA_OK: *extent covers `bus` (else it is taken as VIODMA_FAULT_UNMAPPED), of
	 * any size; its permission is what the mapping allows, more or less than asked for (the space compares).
	 * VIODMA_MISS: not known yet. Any VIODMA_FAULT_*: refused; the access fails with it.
	 * The memory must stay valid until the caller has revoked it (viodma_space_changed, viodma_space_in_use).
	 */
	enum viodma_result (*translate)(void *context, viodma_bus bus, enum viodma_permission wanted,
					struct viodma_extent *extent);
	/*
	 * Ask for a translation that missed. May be called again for the same address; must not block, and not call
	 * back in: what is known at once is translate's to answer. When the answer
	 * is there call viodma_space_changed. NULL for a translator that never answers VIODMA_MISS.
	 */
	void (*want)(void *context, viodma_bus bus, enum viodma_permission wanted);
	void *context;
};

/*
 * The last hit: one per user of a space (each ring part, each queue's buffers). Zero it to initialise. Members are the
 * library's. Valid while the space's generation stands where it stood, which is while nothing was withdrawn.
 */
struct viodma_space_cache {
	uint64_t generation;
	uint64_t first; /* bus address */
	uint64_t span;  /* the last one less the first */
	struct viodma_shared *memory;
	uint64_t phys;
	uint32_t denied;   /* the permissions it does not give */
	uint32_t identity; /* 1: bus address = physical address; else 0 */
};

/*
 * A stretch of memory that is used again and again (a part of a ring), where one extent holds all of it: as long as the
 * generation stands, nobody has to look. Zero it to initialise. Members are the library's.
 */
struct viodma_space_part {
	struct viodma_shared *memory;
	uint64_t generation; /* in which `memory` holds */
	uint64_t tried;      /* in which it was tried */
};

/* One translated stretch of a buffer. */
struct viodma_piece {
	struct viodma_shared *memory;
	size_t len_bytes;
};

/* Memory that somebody holds on to. Linked into the space from viodma_space_pin to viodma_space_unpin. */
struct viodma_pin {
	const struct viodma_segment *segments;
	const struct viodma_piece *pieces;
	uint32_t segment_count;
	uint32_t piece_count;
	struct viodma_pin *next, *previous; /* the space's */
};

/*
 * Somebody who holds on to memory and keeps his own record of it: a queue, of its requests. Members are the library's.
 * overlaps: does anything he holds overlap first..last (inclusive): of bus addresses, or where it lies in this process?
 */
enum viodma_space_addresses { VIODMA_SPACE_BUS, VIODMA_SPACE_MEMORY };

struct viodma_space_user {
	bool (*overlaps)(struct viodma_space_user *user, uint64_t first, uint64_t last, enum viodma_space_addresses which);
	struct viodma_space_user *next, **link; /* the space's; link NULL: not known to it */
};

/* A refused access (PLT-6, DEV-15). */
struct viodma_fault {
	unsigned queue; /* whose access; VIODMA_QUEUE_NONE outside any queue */
	viodma_bus bus; /* first refused byte */
	uint64_t len_bytes;
	enum viodma_permission permission; /* what was attempted */
	enum viodma_result reason;
};
#define VIODMA_QUEUE_NONE (~0u)

/*
 * What the space tells its owner. Any member may be NULL. Called inside the functions below; must not call a function
 * of the space, its IOTLB or queues. Reading statistics and viodma_result_* are fine.
 */
struct viodma_space_events {
	void (*fault)(void *context, const struct viodma_fault *fault);
	/*
	 * These bytes are about to be used: buffers, descriptors, indirect tables, used elements. One call is about
	 * one extent: physically contiguous, too; what spans several is reported in several. The ring's index and flag
	 * words, of 2 bytes, are not reported.
	 */
	void (*touch)(void *context, viodma_bus bus, viodma_phys phys, uint64_t len_bytes, enum viodma_permission);
	/*
	 * A mapping became usable / the addresses stopped being usable as they were (IOTLB only; eviction and a
	 * replacement by an update included, which grants anew after). Inclusive ends.
	 */
	void (*grant)(void *context, const struct viodma_extent *extent);
	void (*revoke)(void *context, viodma_bus first, viodma_bus last);
	void *context;
};

enum viodma_space_kind { VIODMA_SPACE_CLOSED, VIODMA_SPACE_PHYSICAL, VIODMA_SPACE_IOTLB, VIODMA_SPACE_TRANSLATOR };

/* Counters since viodma_space_init. The caller may read them, and zero them. */
struct viodma_space_statistics {
	/*
	 * Extents handed out for accesses: every one that was looked up, and for buffers those, too, that a last-hit
	 * cache answered. What a ring's own last hits answer (its words, descriptors, used elements) is not counted.
	 */
	uint64_t translations;
	uint64_t identity_translations; /* of those, with bus address = physical address */
	uint64_t look_ups;              /* of those, not answered by a last-hit cache */
	uint64_t faults;
};

/* Members are the library's; read `statistics` and `region_count` only. */
struct viodma_space {
	enum viodma_space_kind kind;
	struct viodma_region *regions; /* sorted by phys */
	struct viodma_region **by_user; /* sorted by user; shares the caller's storage */
	uint32_t region_count;
	uint32_t region_capacity;
	uint64_t generation; /* bumped whenever an extent handed out earlier may have become wrong */
	uint64_t epoch;      /* bumped whenever something may be translatable, or refused, that was not before */
	struct viodma_iotlb *iotlb;
	struct viodma_translator translator;
	struct viodma_pin pins; /* a ring of them, and where it is entered */
	struct viodma_space_user *users;
	struct viodma_space_events events;
	struct viodma_space_statistics statistics;
	bool hold_misses;
	uint64_t waiting_pages; /* asked for by requests that wait */
};

/* How many pages one call asks for at most (DEV-17); the rest is asked for when the last of them has an answer. */
#define VIODMA_SPACE_MISSES_MAX 4096u

/* Storage for one region: what a table of `capacity` regions needs, in bytes, aligned as for max_align_t. */
#define VIODMA_SPACE_REGION_BYTES(capacity) ((capacity) * (sizeof(struct viodma_region) + sizeof(struct viodma_region *)))

/*
 * Make an empty, closed space: every access faults. `storage` holds VIODMA_SPACE_REGION_BYTES(capacity) bytes, is
 * owned by the caller and must outlive the space; NULL with a capacity of 0. events may be NULL, and is copied.
 */
void viodma_space_init(struct viodma_space *space, void *storage, uint32_t capacity,
		       const struct viodma_space_events *events);

/* Where bus addresses lead from now on. Pre: nothing pinned, queues stopped. Forgets every last hit. */
void viodma_space_set_closed(struct viodma_space *space);
void viodma_space_set_physical(struct viodma_space *space);
void viodma_space_set_iotlb(struct viodma_space *space, struct viodma_iotlb *iotlb);
void viodma_space_set_translator(struct viodma_space *space, const struct viodma_translator *translator);

/*
 * Add a region (it is copied), while the device runs if need be. VIODMA_E_NO_SPACE: the table is full.
 * VIODMA_PEER_MAPPING: it is empty, wraps, or overlaps another region's physical or user addresses. O(regions).
 */
VIODMA_MUST_USE enum viodma_result viodma_space_add_region(struct viodma_space *space,
							   const struct viodma_region *region);

/*
 * Remove the region that starts at `phys`, in two steps. retire: no new access reaches it, IOTLB entries into it are
 * gone. remove: VIODMA_E_BUSY while an access that began before has not ended (call again after completions);
 * VIODMA_OK: it is out of the table, copied to *removed (if not NULL), and its memory may be unmapped.
 * VIODMA_E_NOT_FOUND: no such region, or (remove) not retired.
 */
VIODMA_MUST_USE enum viodma_result viodma_space_retire_region(struct viodma_space *space, viodma_phys phys);
VIODMA_MUST_USE enum viodma_result viodma_space_remove_region(struct viodma_space *space, viodma_phys phys,
							      struct viodma_region *removed);

/* The region that holds a physical or a user address; NULL if none does, or it is retired. O(log regions). */
const struct viodma_region *viodma_space_find_phys(const struct viodma_space *space, viodma_phys phys);
const struct viodma_region *viodma_space_find_user(const struct viodma_space *space, viodma_uaddr user);

/*
 * The physical address of `len_bytes` at a user address. VIODMA_PEER_MAPPING unless all of it lies in regions whose
 * physical addresses are contiguous.
 */
VIODMA_MUST_USE enum viodma_result viodma_space_user_to_phys(const struct viodma_space *space, viodma_uaddr user,
							     uint64_t len_bytes, viodma_phys *phys);

/*
 * Translate one bus address for an access. VIODMA_OK: *extent covers it and permits `wanted`. VIODMA_MISS: not known
 * yet; nothing was asked for (see viodma_space_want). VIODMA_FAULT_*: refused; not reported (see viodma_space_report).
 * cache may be NULL.
 */
VIODMA_MUST_USE enum viodma_result viodma_space_translate(struct viodma_space *space, struct viodma_space_cache *cache,
							  viodma_bus bus, enum viodma_permission wanted,
							  struct viodma_extent *extent);

/* Ask the platform for a translation that missed. Asks once per page of 4096 bytes and permission (DEV-12). */
void viodma_space_want(struct viodma_space *space, viodma_bus bus, enum viodma_permission wanted);

/*
 * Translate a whole buffer and append it to `pieces`: *count of them are in use before and after, `capacity` at most;
 * adjoining memory is merged. All or nothing: on any other answer *count is unchanged. VIODMA_MISS: every page of it
 * that missed has been asked for, and *missed is the last of them. VIODMA_E_LIMIT: more pieces than capacity.
 * VIODMA_PEER_ADDRESS_WRAP, VIODMA_FAULT_*: *missed is the first refused byte; reported.
 */
VIODMA_MUST_USE enum viodma_result viodma_space_map(struct viodma_space *space, struct viodma_space_cache *cache,
						    unsigned queue, const struct viodma_segment *segment,
						    struct viodma_piece *pieces, uint32_t capacity, uint32_t *count,
						    viodma_bus *missed);

/*
 * Copy between private memory and the driver's. Results, and *missed, as of viodma_space_map: missed is not NULL. All
 * or nothing; each byte of shared memory is read at most once (DEV-11). queue: for reports.
 */
VIODMA_MUST_USE enum viodma_result viodma_space_read(struct viodma_space *space, struct viodma_space_cache *cache,
						     unsigned queue, viodma_bus bus, void *destination,
						     size_t len_bytes, viodma_bus *missed);
VIODMA_MUST_USE enum viodma_result viodma_space_write(struct viodma_space *space, struct viodma_space_cache *cache,
						      unsigned queue, viodma_bus bus, const void *source,
						      size_t len_bytes, viodma_bus *missed);

/* Hold on to memory: until unpin, viodma_space_in_use and viodma_space_remove_region answer busy for it. O(1). */
void viodma_space_pin(struct viodma_space *space, struct viodma_pin *pin);
void viodma_space_unpin(struct viodma_space *space, struct viodma_pin *pin);

/*
 * Revocation (DEV-13): 1. make the mapping go away (viodma_iotlb_invalidate, or in your own translator followed by
 * viodma_space_changed); 2. while viodma_space_in_use(first, last), let requests complete; 3. acknowledge.
 * A caller whose platform serves no questions while it waits holds misses from 1 to 3 (viodma_space_hold_misses).
 * in_use: does any pin overlap bus addresses first..last (inclusive)? O(pins), and the size of the queues' rings that have
 * requests at the device; asked again for the same range, the one that was in the way is looked at first. Pinned is what a
 * request that the device has (SUBMITTED) may use. Ring parts are not pinned: each access to them is translated anew, so after step 1 there is
 * none. Neither is a request that waits (PARKED, DONE).
 */
bool viodma_space_in_use(const struct viodma_space *space, viodma_bus first, viodma_bus last);

/* Translations changed in either direction: forget last hits, let waiting requests try again. O(1). */
void viodma_space_changed(struct viodma_space *space);

/* While held, no miss is asked for (a revocation waits for its acknowledgement). Releasing lets requests ask again. */
void viodma_space_hold_misses(struct viodma_space *space, bool hold);

/* Count and report a refused access. */
void viodma_space_report(struct viodma_space *space, const struct viodma_fault *fault);

#ifdef __cplusplus
}
#endif

#endif
