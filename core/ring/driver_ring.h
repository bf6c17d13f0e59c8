/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver_ring.h - what the files of the driver half share.
 *
 *   driver_queue.c   life: enabling, giving back after a reset, the reset of one queue, freeing
 *   driver_memory.c  ring memory and tables
 *   driver_add.c     segments and mappings become a chain; publication
 *   driver_get.c     what comes back, checked against the private shadow
 *   driver_notify.c  kicks and calls
 *
 * Each of the last three knows both layouts, and is written once: what differs between a split and a packed ring is a
 * branch on a constant in an inline function, which each public function enters by one test of `packed`.
 *
 * The driver reads nothing back that it wrote (= DRV-21). What it has to know is private, by id: `chains` says which are
 * out, with which token, room and table; `next` is the free list of ids, and in a split ring, where ids are descriptors,
 * it says within a chain what their next members say. With IN_ORDER chains come back as they went, and so do ids: the
 * list is a circle then, and nothing is put back into it; `free_head` goes round it, and `oldest` after it.
 */
#ifndef VIODMA_RING_DRIVER_RING_H
#define VIODMA_RING_DRIVER_RING_H

#include <viodma/driver_queue.h>
#include <viodma/wire/ring.h>

#include "../base/require.h"
#include "../base/shared.h"

#define VIODMA_DRIVER_NO_TABLE (~0u)

/* A function of which each caller has its own, with its constants in it. */
#define VIODMA_DRIVER_INLINE static inline __attribute__((always_inline))
/* One that stays apart, so that its callers need not keep registers for it. */
#define VIODMA_DRIVER_APART __attribute__((noinline))

/* AVAIL and USED of a descriptor that is available, or used, in the first lap; in the next, the other two. */
#define VIODMA_DRIVER_AVAILABLE VIRTQ_PACKED_DESC_F_AVAIL
#define VIODMA_DRIVER_LAP (VIRTQ_PACKED_DESC_F_AVAIL | VIRTQ_PACKED_DESC_F_USED)

/* Offset in bytes of a descriptor; of the members of a packed one. */
#define VIODMA_DRIVER_DESC(place) ((uint64_t)(place) * sizeof(struct virtq_desc))
#define VIODMA_DRIVER_PACKED_LEN 8u
#define VIODMA_DRIVER_PACKED_ID 12u
#define VIODMA_DRIVER_PACKED_FLAGS 14u

/* ---- driver_queue.c ---- */

/* Break it, if it is not broken already. Returns the reason. */
enum viodma_result viodma_driver_queue_break(struct viodma_driver_queue *queue, enum viodma_result reason);

/* ---- driver_memory.c ---- */

/* Everything from the domain; on failure, what was had is given back by viodma_driver_memory_release. */
enum viodma_result viodma_driver_memory_make(struct viodma_driver_queue *queue);
/* VIODMA_E_QUARANTINED: not all of it could be. */
enum viodma_result viodma_driver_memory_release(struct viodma_driver_queue *queue);
/* Zeroes in what the device writes (and in a packed ring, the driver), or in all but the tables; is it still so? */
void viodma_driver_memory_clear(const struct viodma_driver_queue *queue, bool all);
bool viodma_driver_memory_still_clear(const struct viodma_driver_queue *queue);

/* ---- the shadow ---- */

/* A chain ends: its descriptors and its table are free again. Returns how many descriptors it had; `out` is the caller's. */
VIODMA_DRIVER_INLINE uint32_t viodma_driver_chain_end(struct viodma_driver_queue *queue, uint32_t id, bool packed,
						      bool in_order)
{
	struct viodma_driver_chain *chain = &queue->chains[id];
	uint32_t descriptors = chain->descriptors, last = packed ? id : chain->last;

	if (!descriptors) {
		queue->table_next[chain->last] = queue->table_free;
		queue->table_free = chain->last;
		descriptors = 1;
		last = id;
	}
	chain->token = NULL;
	if (in_order) {
		queue->oldest = queue->next[last];
	} else {
		queue->next[last] = (uint16_t)queue->free_head;
		queue->free_head = id;
	}
	queue->free_descriptors += descriptors;
	return descriptors;
}

/* A place in a packed ring, so many descriptors further on; its flags change with each lap. */
VIODMA_DRIVER_INLINE void viodma_driver_go_on(uint32_t *place, uint32_t *flags, uint32_t descriptors, uint32_t size)
{
	uint32_t at = *place + descriptors;

	if (at >= size) {
		at -= size;
		*flags ^= VIODMA_DRIVER_LAP;
	}
	*place = at;
}

#endif
