/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * viodma/pool.h - memory shared with one device in advance: rings and persistent buffers live in it, and a platform
 * through which a device does not reach every buffer bounces through it.
 *
 * A pool is handed out in slots; what is larger takes a run of adjoining ones. One pool serves one device (DRV-19): what
 * a slot held before was that device's already. Its memory is cleared when it is added, before it is first shared;
 * whoever gives it to another device adds it to another pool, which clears it again. (On a platform that is not coherent
 * the device sees that once a domain was made with the pool; what is added later, its owner cleans before sharing it.)
 *
 * Exhaustion is not an error of the pool's user: a map answers VIODMA_E_EXHAUSTED and is tried again after an unmap.
 * The owner is told once, with the remedy; again only after the pool was less than half in use.
 *
 * Single owner: the domain's. Memory and storage are the caller's. Units: bytes; slots where the name says so.
 */
#ifndef VIODMA_POOL_H
#define VIODMA_POOL_H

#include <viodma/memory.h>

#ifdef __cplusplus
extern "C" {
#endif

struct viodma_pool;

#define VIODMA_POOL_CHUNKS_MAX 8
#define VIODMA_POOL_NONE (~0u) /* no slot */
#define VIODMA_POOL_SLOT_BYTES 2048u        /* the default */
#define VIODMA_POOL_RUN_BYTES (256u * 1024) /* the largest run, by default */

struct viodma_pool_config {
	const char *name;    /* in messages; kept as a pointer; NULL: "pool" */
	uint32_t slot_bytes; /* a power of two, 64 to 1 MiB; 0: the default. Where an IOMMU maps slots: at least its granule */
	/*
	 * Largest run: a multiple of slot_bytes; 0: the default, or the slot if that is larger. What
	 * viodma_domain_alloc gives is no larger (rings among it), and what bounces takes a run, and a segment at
	 * least, for each so many bytes. Smaller ones are found more easily where a pool is cut up by small mappings;
	 * with `grow`, a run has to fit into what one growth adds. A pool whose pieces are smaller lowers it by
	 * itself.
	 */
	uint32_t run_bytes;
	/*
	 * Its memory is coherent although the platform is not: uncached, for instance. Rings need that, so
	 * viodma_domain_alloc hands nothing else out there. Means nothing where the platform is coherent.
	 */
	bool coherent;
	/*
	 * It had no room for a run of `wanted_bytes` (viodma_pool_describe makes a message of it), once per exhaustion. May
	 * be NULL.
	 */
	void (*exhausted)(void *context, const struct viodma_pool *pool, uint64_t wanted_bytes);
	/*
	 * Where the platform allows growth: call viodma_pool_add with more memory (which clears it), on a platform
	 * that is not coherent clean it out of the caches, share it with the device, and answer true. It is called
	 * before `exhausted`, from within viodma_domain_map or _alloc; it may use the transport, not the domain. NULL:
	 * the pool stays as it is.
	 */
	bool (*grow)(void *context, struct viodma_pool *pool, uint64_t wanted_bytes);
	void *context;
};

struct viodma_pool_statistics {
	uint64_t bytes;             /* in all chunks */
	uint64_t used_bytes;        /* whole slots */
	uint64_t high_water_bytes;  /* most that were in use at once */
	uint64_t quarantined_bytes; /* never handed out again (DRV-22); part of used_bytes */
	uint64_t allocations, failures; /* runs handed out, and not */
	uint64_t copied_in_bytes, copied_out_bytes; /* by bouncing: to the pool, and from it */
};

/* The library's: one slot. */
struct viodma_pool_slot {
	uint32_t run;    /* slots of the run that begins here; 0: inside a run, or free */
	uint32_t next;   /* of the mapping's list of runs, or of what is at hand */
	uint32_t offset; /* of the data in the run, bytes */
	uint32_t len;    /* of the data, bytes */
	uint64_t position; /* of the data in the mapping, bytes */
	viodma_phys origin; /* of the data, where it came from and goes to */
};

/* The library's: one piece of memory. */
struct viodma_pool_chunk {
	struct viodma_object memory;
	struct viodma_pool_slot *slots;
	uint32_t *used;  /* a bit for each slot */
	uint32_t first;  /* number of the first slot, in the pool */
	uint32_t count;  /* slots */
	uint32_t free;   /* of them, not handed out */
	uint32_t hint;   /* where to look next */
};

/* Members are the library's; read statistics, slot_bytes and run_bytes only. */
struct viodma_pool {
	struct viodma_pool_config config;
	uint32_t slot_bytes, run_bytes;
	uint32_t slot_shift;  /* 2^slot_shift bytes are one slot */
	uint32_t largest_run; /* bytes, of a run it can have */
	struct viodma_pool_statistics statistics;
	struct viodma_pool_chunk chunks[VIODMA_POOL_CHUNKS_MAX];
	uint32_t chunk_count;
	uint32_t slot_count;
	uint32_t at_hand; /* the first of the single slots kept at hand; VIODMA_POOL_NONE */
	bool told;
};

/* Storage for the slots of `len_bytes` of memory, in bytes; aligned as for max_align_t. A constant if they are. */
#define VIODMA_POOL_STORAGE_BYTES(len_bytes, slot_bytes)                                                              \
	((size_t)((len_bytes) / (slot_bytes)) * sizeof(struct viodma_pool_slot) +                                     \
	 ((size_t)((len_bytes) / (slot_bytes)) / 32 + 1) * sizeof(uint32_t))

/* Make an empty pool. config is copied. VIODMA_E_INVALID: a number out of range. */
VIODMA_MUST_USE enum viodma_result viodma_pool_init(struct viodma_pool *pool, const struct viodma_pool_config *config);

/*
 * Give it memory, and storage of at least VIODMA_POOL_STORAGE_BYTES: phys and length multiples of the slot. The memory is
 * cleared (DRV-19): share it with the device after this. Both stay the pool's until viodma_pool_free has answered OK.
 * VIODMA_E_INVALID: not so. VIODMA_E_NO_SPACE: VIODMA_POOL_CHUNKS_MAX are there.
 */
VIODMA_MUST_USE enum viodma_result viodma_pool_add(struct viodma_pool *pool, const struct viodma_object *memory,
						   void *storage, size_t storage_bytes);

/* The pool ends. VIODMA_E_BUSY: part of it is in use. VIODMA_E_QUARANTINED: it ended, but the device may still write. */
VIODMA_MUST_USE enum viodma_result viodma_pool_free(struct viodma_pool *pool);

/*
 * One line about an exhausted pool, without newline, ended by a NUL: its name, its size, what is in use, what was wanted,
 * and the remedy. Cut where `bytes` end.
 */
void viodma_pool_describe(const struct viodma_pool *pool, uint64_t wanted_bytes, char *text, size_t bytes);

#ifdef __cplusplus
}
#endif

#endif
