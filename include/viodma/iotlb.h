/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * viodma/iotlb.h - the translator that caches what the platform grants: update, invalidate, miss.
 *
 * Entries never overlap: an update replaces what it covers and splits what it cuts. Look-up, update and invalidation
 * are O(log entries) for each entry touched. When full, an entry not used lately is evicted; it is asked for again
 * when it is needed. A miss is asked for once per page (4096 bytes) and permission until it is answered. An update
 * that answers a miss grants at most what was asked for.
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

/* One mapping: at most 64 bytes. Members are the library's. */
struct viodma_iotlb_entry {
	uint64_t first, last; /* bus addresses, inclusive */
	struct viodma_shared *memory;
	uint64_t phys;
	uint32_t left, right, parent; /* tree links; index + 1, 0 = none */
	uint8_t permission;
	uint8_t height; /* of the subtree */
	uint8_t used_lately;
	uint8_t live;
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
	uint32_t capacity;                  /* at least 8; see viodma_iotlb_least_capacity */
	struct viodma_iotlb_miss *misses;   /* miss_capacity of them */
	uint32_t miss_capacity;             /* a power of two, at least 8: questions outstanding at once */
	/* Ask the platform. Must not block and not call back in. NULL: every miss is a fault. */
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
	struct viodma_iotlb_statistics statistics;
};

/* The least capacity for rings of `queue_size` descriptors and requests of `request_bytes` in `segments` parts. */
uint32_t viodma_iotlb_least_capacity(uint32_t queue_size, uint64_t request_bytes, uint32_t segments);

/* VIODMA_E_INVALID: a NULL where none may be, or a capacity out of range. config is copied. */
VIODMA_MUST_USE enum viodma_result viodma_iotlb_init(struct viodma_iotlb *iotlb,
						     const struct viodma_iotlb_config *config);

/*
 * The platform grants bus addresses bus..bus+len-1, which are memory at user address `user` (of the space's regions;
 * the range may span several). VIODMA_PEER_MAPPING, nothing changed: empty, wraps, no permission, or not all inside
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
 * The platform's reply to a question: granted, or refused. A question that no update has covered by then counts as
 * refused (PLT-11); what waits for it fails. VIODMA_E_NOT_FOUND: no such question is outstanding (it was answered).
 */
VIODMA_MUST_USE enum viodma_result viodma_iotlb_replied(struct viodma_iotlb *iotlb, viodma_bus bus,
							enum viodma_permission wanted, bool granted);

/* Forget refusals, so that the next access asks again. Call once everything that waited has been tried. */
void viodma_iotlb_settle(struct viodma_iotlb *iotlb);

/* Forget every entry and question. */
void viodma_iotlb_clear(struct viodma_iotlb *iotlb);

/* Forget entries into memory..memory+len-1 (a region that goes away). O(entries). */
void viodma_iotlb_forget_memory(struct viodma_iotlb *iotlb, const void *memory, uint64_t len_bytes);

/* Look one address up. VIODMA_OK, VIODMA_MISS, or the reason the platform refused it. Permission is not compared. */
VIODMA_MUST_USE enum viodma_result viodma_iotlb_translate(struct viodma_iotlb *iotlb, viodma_bus bus,
							  enum viodma_permission wanted, struct viodma_extent *extent);

/* Ask for an address, unless that page and permission is being asked for already. */
void viodma_iotlb_want(struct viodma_iotlb *iotlb, viodma_bus bus, enum viodma_permission wanted);

#ifdef __cplusplus
}
#endif

#endif
