/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * viodma/dma_debug.h - checks every use of a domain of any kind: what Linux's DMA API debugging does.
 *
 * Given to viodma_domain_init, it shadows each mapping and reports, each with the mapping it is about:
 *   leak, double unmap, unmap or sync of something that is not mapped, wrong direction, more written than mapped, sync
 *   beyond the end, buffers or segments changed while mapped, a mapping used in a ring without being mapped, a map whose
 *   failure was not noticed, two live mappings of the same bytes of which one is written, data used without a sync.
 * A report never changes what the domain does, except that a use of what is not live is answered VIODMA_E_MISUSE.
 *
 * "Without a sync": a checksum of what the device may read is kept at map and at each sync for the device; when a ring
 * hands the mapping over (viodma_debug_hand_over) it has to be the same still. What the device wrote and the driver reads
 * without a sync is not seen here: a platform with two copies of memory shows that.
 *
 * Single owner: the domain's. Memory is the caller's. Units: bytes.
 */
#ifndef VIODMA_DMA_DEBUG_H
#define VIODMA_DMA_DEBUG_H

#include <viodma/domain.h>

#ifdef __cplusplus
extern "C" {
#endif

enum viodma_debug_kind {
	VIODMA_DEBUG_LEAK,          /* live when the domain ends */
	VIODMA_DEBUG_DOUBLE_MAP,    /* map with a mapping that is live */
	VIODMA_DEBUG_NOT_MAPPED,    /* unmap, sync or use of a mapping that is not live: unmapped twice, or its map failed */
	VIODMA_DEBUG_UNCHECKED_MAP, /* the last map with it failed, and it is used */
	VIODMA_DEBUG_DIRECTION,     /* for the driver synced, or written as unmap has it, what the device only reads; a segment
				       with a permission beyond the direction */
	VIODMA_DEBUG_LENGTH,        /* beyond the mapping's end */
	VIODMA_DEBUG_CHANGED,       /* mapping, buffers or segments changed while it was live */
	VIODMA_DEBUG_OVERLAP,       /* bytes in two live mappings, at least one of which the device writes */
	VIODMA_DEBUG_WITHOUT_SYNC,  /* data changed by the driver in a live mapping, and handed to the device without a sync */
	VIODMA_DEBUG_FULL           /* more live mappings than entries: from here on not everything is checked */
};

struct viodma_debug_report {
	enum viodma_debug_kind kind;
	const struct viodma_mapping *mapping; /* its address names it; it may not be valid any more */
	viodma_phys phys;                     /* of its first buffer, or of the first byte concerned */
	uint64_t len_bytes;
	enum viodma_direction direction;
	uint64_t number; /* which map it was, counted from 1; 0 if not known */
};

/* The library's: one live mapping, or one that failed. */
struct viodma_debug_entry {
	const struct viodma_mapping *mapping;
	bool live, failed;
	enum viodma_direction direction;
	uint64_t len_bytes, number;
	const struct viodma_buffer *buffers;
	const struct viodma_segment *segments;
	uint32_t buffer_count, segment_count;
	uint64_t hash; /* of buffers and segments */
	uint64_t data; /* of the bytes, at the last hand-over to the device */
	viodma_phys phys;        /* of the first buffer */
	viodma_phys first, last; /* of all bytes of all buffers */
};

/* Members are the library's; read reports and counts only. */
struct viodma_debug {
	struct viodma_debug_entry *entries; /* the caller's */
	uint32_t entry_count;
	void (*report)(void *context, const struct viodma_debug_report *report);
	void *context;
	uint64_t reports;
	uint64_t counts[10]; /* by kind */
	uint64_t maps;
	uint32_t used; /* entries: live ones, and the last few whose map failed */
	uint32_t live;
	bool full;
};

/* Make it, for at most entry_count live mappings. report may be NULL: counted only. */
void viodma_debug_init(struct viodma_debug *debug, struct viodma_debug_entry *entries, uint32_t entry_count,
		       void (*report)(void *context, const struct viodma_debug_report *report), void *context);

/* The name of a kind: "leak", "double map", ... */
const char *viodma_debug_kind_name(enum viodma_debug_kind kind);

/*
 * The mapping is being made available to the device (a driver queue calls it): it has to be live, and what the driver
 * wrote has to have been synced. True: in order. domain without debug: true.
 */
bool viodma_debug_hand_over(const struct viodma_mapping *mapping);

#ifdef __cplusplus
}
#endif

#endif
