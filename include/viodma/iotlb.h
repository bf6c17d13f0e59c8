/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * viodma/iotlb.h - the translator that caches what the platform grants: update, invalidate, miss.
 *
 * Entries never overlap: an update replaces what it covers and splits what it cuts. Update and invalidation are
 * O(log entries) for each entry touched; so is a look-up at worst, but most take one cache line, or two, whatever the
 * number of entries. When full, an entry not used lately is evicted; it is asked for again
 * when it is needed. A miss is asked for once per page (4096 bytes) and permission until it is answered.
 *
 * Setting up: viodma_space_init, regions, viodma_iotlb_init (config.space), viodma_space_set_iotlb, then queues.
 * Answering: for each `ask`, either viodma_iotlb_update with the platform's mapping around that address, or
 * viodma_iotlb_replied(..., false). Then process the queues (viodma_queue_has_work), then viodma_iotlb_settle. Nothing
 * else has to be told: waiting requests notice by themselves.
 * Withdrawing: see "Revocation" in viodma/space.h.
 *
 * Single owner, with its space (viodma/space.h). Memory is the caller's.
 */
#ifndef VIODMA_IOTLB_H
#define VIODMA_IOTLB_H

#include <viodma/space.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VIODMA_IOTLB_PAGE_BYTES 4096u

#define VIODMA_IOTLB_HINTS 4u

/*
 * One mapping, and this place's share of what it takes to find mappings: 64 bytes, which should be one cache line (the
 * array is best aligned to 64). Members are the library's.
 */
struct viodma_iotlb_entry {
	uint64_t first, last; /* bus addresses, inclusive */
	struct viodma_shared *memory;
	uint64_t phys;
	uint32_t left, right, parent; /* tree links; index + 1, 0 = none */
	uint8_t permission;
	uint8_t height; /* of the subtree */
	uint8_t used_lately;
	uint8_t live; /* bit 0; bit 1: its bus addresses are physical ones, too */
	uint32_t hints[VIODMA_IOTLB_HINTS]; /* of mappings elsewhere whose home this place is */
};

/*
 * Where buffers of one permission were found last: in an entry, which permits it; or, where there is no IOTLB, in `own`. If
 * it is not the last one (`end`), buffers are expected in the entry behind it next. Members are the library's.
 */
struct viodma_space_window {
	struct viodma_iotlb_entry *at, *end;
	struct viodma_iotlb_entry own;
};

/* What a window saw last, by value. Members are the library's. */
struct viodma_space_view {
	uint64_t first, bytes;
	struct viodma_shared *memory;
	uint32_t identity; /* UINT32_MAX: its bus addresses are physical ones, too; else 0 */
};

/* One question to the platform. Members are the library's. */
struct viodma_iotlb_miss {
	uint64_t bus;
	uint8_t permission;
	uint8_t state;
};

struct viodma_iotlb_statistics {
	uint64_t hits;          /* look-ups answered by an entry (last-hit caches not counted) */
	uint64_t misses;        /* questions asked */
	uint64_t answered;      /* of those, answered by an update */
	uint64_t failed;        /* of those, answered with an error, or without a grant that covers them */
	uint64_t dropped;       /* of those, dropped by viodma_iotlb_clear */
	uint64_t updates;       /* accepted */
	uint64_t invalidations; /* accepted */
	uint64_t evictions;
	uint64_t reachable_bytes;      /* sum over entries, now */
	uint64_t reachable_bytes_peak; /* and at most */
};

struct viodma_iotlb_config {
	struct viodma_space *space;
	struct viodma_iotlb_entry *entries; /* capacity of them, zero or not */
	uint32_t capacity;                  /* at least 8; init does not compare it with viodma_iotlb_least_capacity */
	struct viodma_iotlb_miss *misses;   /* miss_capacity of them */
	uint32_t miss_capacity;             /* a power of two, at least 8; three quarters of it may be outstanding, the
					       rest is asked when those are answered */
	/*
	 * Ask the platform for the mapping of one address, any byte of a page: it is not rounded. Called from within
	 * viodma_queue_pop and the like; must not block, and not call any function of the space, its IOTLB or queues
	 * (note it, and answer after). NULL: every miss is a fault.
	 */
	void (*ask)(void *context, viodma_bus bus, enum viodma_permission wanted);
	void *context;
};

/* Members are the library's; read `statistics`, `entry_count` and `outstanding` only. */
struct viodma_iotlb {
	struct viodma_iotlb_config config;
	uint32_t root;
	uint32_t free_list;
	uint32_t entry_count;
	uint32_t hand;
	uint32_t outstanding;
	uint32_t failed_count;
	uint32_t miss_slots_used;
	bool turned_away; /* a question found no place in the table */
	uint8_t key_shift, block_shift;
	uint32_t blocks, block_mask;
	uint32_t link_mask;
	uint64_t log_sizes;
	struct viodma_iotlb_entry *behind, *end;
	struct viodma_iotlb_statistics statistics;
};

/*
 * The least capacity for rings of `queue_size` descriptors and requests of `request_bytes` in `segments` parts, header
 * and status included. With less, a request that needs more pages than there are entries fails with VIODMA_E_LIMIT.
 */
uint32_t viodma_iotlb_least_capacity(uint32_t queue_size, uint64_t request_bytes, uint32_t segments);

/* VIODMA_E_INVALID: a NULL where none may be, or a capacity out of range. config is copied. */
VIODMA_MUST_USE enum viodma_result viodma_iotlb_init(struct viodma_iotlb *iotlb,
						     const struct viodma_iotlb_config *config);

/*
 * The platform grants bus addresses bus..bus+len-1, which are memory at user address `user` (of the space's regions;
 * the range may span several). Any range and alignment. Pass the mapping's whole permission, whatever was asked for: if
 * the range holds addresses that are being asked for, just the permissions asked for are granted, in addition to what
 * the same mapping (addresses and memory) was granted before; else the mapping is as stated here, and replaces what
 * was. A question is answered once an update covers its address with all the permission it asked for.
 * VIODMA_PEER_MAPPING, nothing changed: empty, wraps, no permission, or not all inside
 * regions (PLT-10).
 */
VIODMA_MUST_USE enum viodma_result viodma_iotlb_update(struct viodma_iotlb *iotlb, viodma_bus bus, uint64_t len_bytes,
						       viodma_uaddr user, enum viodma_permission permission);

/*
 * The platform withdraws bus..bus+len-1; parts not mapped do not matter. len 0 with bus 0 means every address.
 * The caller acknowledges only once viodma_space_in_use answers false. VIODMA_PEER_MAPPING: the range wraps, or is
 * empty at an address other than 0.
 */
VIODMA_MUST_USE enum viodma_result viodma_iotlb_invalidate(struct viodma_iotlb *iotlb, viodma_bus bus,
							   uint64_t len_bytes);

/*
 * The platform's reply to a question, for platforms that reply apart from granting: `bus` is any address of the page,
 * `wanted` the permission asked for. granted false: what waits for it fails with VIODMA_FAULT_UNMAPPED, or
 * _PERMISSION where there is a mapping. granted true although no update has covered it by now: it fails with
 * VIODMA_FAULT_NO_ANSWER (PLT-11). VIODMA_E_NOT_FOUND: no such question is outstanding, as after every update that
 * answered it; not an error, and may be ignored.
 */
enum viodma_result viodma_iotlb_replied(struct viodma_iotlb *iotlb, viodma_bus bus,
							enum viodma_permission wanted, bool granted);

/*
 * Forget refusals, so that the next access asks again. Call when the queues have been processed after a refusal
 * (viodma_queue_has_work is false for all of them). Too early: the same question is asked again. Never: an address once
 * refused stays refused, and its place in the table of questions taken.
 */
void viodma_iotlb_settle(struct viodma_iotlb *iotlb);

/* Forget every entry and question. */
void viodma_iotlb_clear(struct viodma_iotlb *iotlb);

/* Forget entries into memory..memory+len-1 (a region that goes away). O(entries). */
void viodma_iotlb_forget_memory(struct viodma_iotlb *iotlb, const void *memory, uint64_t len_bytes);

/*
 * Look one address up. VIODMA_OK: *extent holds it; its permission may lack what is wanted, if asking for more was
 * refused or is not possible. VIODMA_MISS: not mapped, or not with what is wanted, and that was not refused (yet).
 * VIODMA_FAULT_*: not mapped, and refused.
 */
VIODMA_MUST_USE enum viodma_result viodma_iotlb_translate(struct viodma_iotlb *iotlb, viodma_bus bus,
							  enum viodma_permission wanted, struct viodma_extent *extent);

/* Ask for an address, unless that page and permission is being asked for already. */
void viodma_iotlb_want(struct viodma_iotlb *iotlb, viodma_bus bus, enum viodma_permission wanted);

#ifdef __cplusplus
}
#endif

#endif
