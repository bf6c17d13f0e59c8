/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * viodma/driver_queue.h - a virtqueue, driver half: split and packed rings (virtio 1.2, sections 2.7 and 2.8), with
 * INDIRECT_DESC, EVENT_IDX, IN_ORDER, RING_RESET, ORDER_PLATFORM and NOTIFICATION_DATA. A driver cannot tell them apart.
 *
 * What the driver needs to know of a request later is in private memory; the ring is never read back for it (DRV-21).
 * The device is untrusted: an id out of range, a chain used twice, an index that jumps ends in a VIODMA_PEER_* result,
 * and the queue is broken until it is made anew. A used length beyond the device-writable parts is clamped and counted,
 * or, with `strict`, breaks the queue too.
 *
 *	to make it   viodma_driver_queue_size_max, viodma_driver_queue_features: for the configuration;
 *	             viodma_driver_queue_init, viodma_driver_queue_enable
 *	to send      viodma_driver_queue_add, once or often; viodma_driver_queue_publish; viodma_driver_queue_kick
 *	when called  viodma_driver_queue_get until VIODMA_EMPTY, unmap what came back;
 *	             then viodma_driver_queue_want_call, and once more if it answers true
 *	after reset  viodma_driver_queue_take_back until VIODMA_EMPTY; viodma_driver_queue_free
 *	of this queue alone: viodma_driver_queue_reset; take_back; viodma_driver_queue_restart, viodma_driver_queue_enable
 *
 * Single owner: its domain's. Memory is the caller's; ring memory comes from the domain. Units: bytes, descriptors.
 *
 * Speed: structure and storage are written for each request. Let nothing that another processor writes share a pair of lines
 * with them (128 bytes). Parts of ring memory have lines of their own. A packed ring that polls goes fastest when it takes
 * back much at once, so that it does not look at the line which the device is writing.
 */
#ifndef VIODMA_DRIVER_QUEUE_H
#define VIODMA_DRIVER_QUEUE_H

#include <viodma/domain.h>
#include <viodma/driver.h>

#ifdef __cplusplus
extern "C" {
#endif

struct viodma_driver_queue_config {
	struct viodma_domain *domain;
	void *storage;          /* at least VIODMA_DRIVER_QUEUE_STORAGE_BYTES(size), aligned as for max_align_t */
	size_t storage_bytes;
	unsigned index;         /* the queue's number */
	uint32_t size;          /* descriptors: 1 to what viodma_driver_queue_size_max says; split: a power of two */
	bool indirect_desc;     /* these six: what was agreed on; viodma_driver_queue_features fills them in */
	bool event_idx;
	bool order_platform;
	bool packed;
	bool in_order;          /* an element out of order breaks the queue (DEV-23) */
	bool notification_data;
	/*
	 * indirect_desc: tables allocated in ring memory in advance, of table_descriptors each (at most size); a
	 * request of 2 segments or more uses one while there are any. 0 tables: none are used.
	 */
	uint32_t tables, table_descriptors;
	bool strict; /* a used length beyond the device-writable parts breaks the queue */
	/* A used length was too large, and clamped (DEV-16). May be NULL. */
	void (*clamped)(void *context, unsigned queue, uint32_t used_bytes, uint32_t writable_bytes);
	void *context;
};

/* The library's: what is known of one chain, by its id: its first descriptor (split), its buffer id (packed). */
struct viodma_driver_chain {
	void *token;             /* NULL: not out */
	uint32_t writable_bytes; /* a used length beyond is a lie */
	uint32_t sequence;       /* in_order: so many were added before it */
	uint32_t batch;          /* it was added for that publication */
	uint16_t descriptors;    /* of the ring; 0: one, which leads to a table */
	uint16_t last;           /* split: the last of them; where there is a table, the table */
};

#define VIODMA_DRIVER_QUEUE_STORAGE_BYTES(size)                                                                       \
	((size_t)(size) * (sizeof(struct viodma_driver_chain) + 4 * sizeof(uint32_t)) + 64)

/* Indirect tables are allocated in pieces of at most a run of the pool. */
#define VIODMA_DRIVER_QUEUE_TABLE_BLOCKS 64

struct viodma_driver_queue_statistics {
	uint64_t added, got, kicks, kicks_suppressed, calls_suppressed, clamped, indirect;
};

/* Members are the library's; read config, broken, free_descriptors, out and statistics only. */
struct viodma_driver_queue {
	/* ---- what every request touches, on two cache lines. Packed: an `idx` is a place in the ring ---- */
	enum viodma_result broken;
	uint32_t free_descriptors;
	uint32_t size;
	uint32_t out; /* chains added, not come back */
	struct viodma_shared *desc, *avail, *used; /* packed: the ring, the driver's events, the device's */
	struct viodma_driver_chain *chains;        /* by id */
	uint16_t *next;     /* by id: the free list; split: of each descriptor, also within a chain */
	uint32_t *table_next;
	uint32_t batch;     /* number of the publication to come */
	uint32_t free_head; /* id */
	uint32_t avail_idx, used_idx;
	uint32_t avail_flags, used_flags; /* packed: AVAIL and USED as they are this time round */
	uint32_t unpublished; /* packed: descriptors */
	uint32_t table_free;
	uint32_t oldest;    /* in_order: the id that is used next */
	uint32_t added;     /* in_order: the sequence of the next chain */
	uint32_t in_order_left; /* in_order: chains of several used at once that have not come back */
	uint16_t published_idx, seen_used; /* seen_used: split */
	uint16_t first_place, first_flags; /* packed: of what was added: where, and what makes it available */
	bool packed, in_order, event_idx, order_platform;
	/* ---- */
	bool calls_off;
	uint16_t published_flags;
	uint32_t unkicked;       /* chains; packed: descriptors */
	uint32_t in_order_bytes; /* what the device wrote to the last of them */
	struct viodma_driver_queue_statistics statistics;
	uint32_t table_shift, table_bytes, taken_back;
	bool cleared, reset; /* the device has acknowledged the reset of this queue */
	struct viodma_driver_queue_config config;
	struct viodma_dma_memory driver_area, device_area; /* descriptors, split: with the available ring; used ring */
	struct viodma_dma_memory avail_area; /* the available ring, where it is not in driver_area */
	uint32_t table_block_count;
	struct viodma_dma_memory table_blocks[VIODMA_DRIVER_QUEUE_TABLE_BLOCKS];
};

/* A request that came back. */
struct viodma_driver_completion {
	void *token;
	/*
	 * By the device, from the start of the device-writable part; checked (DEV-16). in_order: of a chain that was used
	 * together with later ones nothing is said, so all of it counts as written.
	 */
	uint64_t written_bytes;
};

/*
 * The largest size that this queue of the device can have: a power of two, at most 32768. VIODMA_E_NOT_FOUND: the
 * device has no such queue. Results of the transport. *size is 0 where it does not answer VIODMA_OK.
 */
VIODMA_MUST_USE enum viodma_result viodma_driver_queue_size_max(const struct viodma_transport *transport,
								unsigned index, uint32_t *size);

/* What was agreed on with the device, as far as it matters to a queue: the six members above. */
void viodma_driver_queue_features(struct viodma_driver_queue_config *config, const struct viodma_driver *driver);

/*
 * What has to be contiguous in bus addresses, each by itself: descriptors (16 bytes * size), available ring
 * (6 + 2 * size), used ring (6 + 8 * size), each indirect table (16 bytes * table_descriptors). A packed ring has
 * descriptors, which the device writes, too, and 4 bytes in place of each of the other two. What can be had in
 * larger pieces is. So where bus addresses go on within pages of 4096 bytes only, a queue has 256 descriptors at most.
 * In the pool each part takes whole slots, or granules: with slots of 4096 bytes and a size of 256, 12 KiB (descriptors and
 * available ring 8, used ring 4), and 4 KiB for each 256 descriptors of tables.
 *
 * VIODMA_E_INVALID: a number out of range or storage too small. Results of viodma_domain_alloc: VIODMA_E_LIMIT, for
 * one, if a part is larger than a run of the pool, or tables need more than VIODMA_DRIVER_QUEUE_TABLE_BLOCKS of them;
 * VIODMA_E_UNREACHABLE: there is no room for a part where bus addresses go on for so long.
 */
VIODMA_MUST_USE enum viodma_result viodma_driver_queue_init(struct viodma_driver_queue *queue,
							    const struct viodma_driver_queue_config *config);

/*
 * Tell the device where it is, by the transport's queue_enable: a device in the same process learns it there, from a
 * transport of the caller's own (examples/both-halves.c). VIODMA_E_LIMIT: it has no queue that large (DRV-17). Results of
 * the transport.
 */
VIODMA_MUST_USE enum viodma_result viodma_driver_queue_enable(struct viodma_driver_queue *queue,
							      const struct viodma_transport *transport);

/*
 * Make a chain of segments: first those the device reads, then those it writes. Nothing is shown to the device before
 * viodma_driver_queue_publish. token comes back with the completion; not NULL.
 * VIODMA_E_NO_SPACE: no room in the ring now. VIODMA_E_LIMIT: more segments than the ring, or a table, can ever hold.
 * VIODMA_E_INVALID: none; one that is empty, or wraps (DRV-15); a device-readable after a device-writable one (DRV-13);
 * over 2^32 bytes (DRV-12). The queue's own result when it is broken.
 */
VIODMA_MUST_USE enum viodma_result viodma_driver_queue_add(struct viodma_driver_queue *queue,
							   const struct viodma_segment *segments, uint32_t count,
							   void *token);

/* Has it room for a chain of that many segments now? Then an add does not answer VIODMA_E_NO_SPACE. */
static inline bool viodma_driver_queue_has_room(const struct viodma_driver_queue *queue, uint32_t segments)
{
	return segments <= queue->free_descriptors ||
	       (segments > 1 && queue->free_descriptors && queue->table_free != ~0u &&
		segments <= queue->config.table_descriptors);
}

/*
 * The same for mappings, whose debug checks are made: their segments in order. A BIDIRECTIONAL one cannot be said this
 * way: see viodma_mapping_segments.
 */
VIODMA_MUST_USE enum viodma_result viodma_driver_queue_add_mappings(struct viodma_driver_queue *queue,
								    const struct viodma_mapping *const *mappings,
								    uint32_t count, void *token);

/*
 * Map and add in one: a mapping to the device of `readable`, one from it of `writable`; either may be NULL. All or
 * nothing. Results of viodma_domain_map and viodma_driver_queue_add; VIODMA_E_QUARANTINED: what was mapped could not be
 * unmapped again.
 */
VIODMA_MUST_USE enum viodma_result viodma_driver_queue_map_and_add(
	struct viodma_driver_queue *queue, struct viodma_mapping *readable,
	const struct viodma_buffer *readable_buffers, uint32_t readable_count, struct viodma_mapping *writable,
	const struct viodma_buffer *writable_buffers, uint32_t writable_count, struct viodma_segment *segments,
	uint32_t capacity, void *token);

/* Show the device all that was added since, in one step. */
void viodma_driver_queue_publish(struct viodma_driver_queue *queue);

/* Does the device want to hear of what was published since the last time this was asked? Then notify it. */
bool viodma_driver_queue_kick_needed(struct viodma_driver_queue *queue);

/* What goes with a notification if NOTIFICATION_DATA was accepted (section 2.9). */
uint32_t viodma_driver_queue_notification_data(const struct viodma_driver_queue *queue);

/* Ask that, and notify the device if so. */
static inline void viodma_driver_queue_kick(struct viodma_driver_queue *queue, const struct viodma_transport *transport)
{
	if (!viodma_driver_queue_kick_needed(queue))
		return;
	if (queue->config.notification_data)
		transport->ops->notify_data(transport->context, viodma_driver_queue_notification_data(queue));
	else
		transport->ops->notify(transport->context, queue->config.index);
}

/*
 * The next completion. VIODMA_OK; VIODMA_EMPTY; VIODMA_PEER_USED_INDEX, _USED_ID, _USED_TWICE, _USED_LENGTH, _USED_ORDER:
 * the queue is broken, and answers this from now on: reset the device. At most one queue-full comes back between two publishes.
 */
VIODMA_MUST_USE enum viodma_result viodma_driver_queue_get(struct viodma_driver_queue *queue,
							   struct viodma_driver_completion *completion);

/* Up to capacity of them at once: *count came. VIODMA_OK if any did, whatever comes next. */
VIODMA_MUST_USE enum viodma_result viodma_driver_queue_get_batch(struct viodma_driver_queue *queue,
								 struct viodma_driver_completion *completions,
								 uint32_t capacity, uint32_t *count);

/* Ask for a call (interrupt) at the next completion. True: there is one already, get it. */
bool viodma_driver_queue_want_call(struct viodma_driver_queue *queue);

/* Ask for none; a hint. */
void viodma_driver_queue_want_no_call(struct viodma_driver_queue *queue);

/*
 * After the device was reset (DEV-14), or never started: the token of each chain that did not come back. VIODMA_EMPTY:
 * none is left. The used area is then cleared, and viodma_driver_queue_free looks whether it still is. The queue takes
 * no requests from here on (VIODMA_E_RESET).
 */
VIODMA_MUST_USE enum viodma_result viodma_driver_queue_take_back(struct viodma_driver_queue *queue, void **token);

/*
 * RING_RESET: reset this queue alone, whatever the device does with the others. VIODMA_OK: the device touches nothing of it
 * any more; take everything back. VIODMA_WAIT: not yet, call again, and take nothing back before; when to give up is the
 * caller's to decide: then it is VIODMA_PEER_QUEUE_RESET, and the device has to be reset. The queue takes no requests from
 * here on (VIODMA_E_RESET). VIODMA_E_UNSUPPORTED: not agreed on; nothing happened. Results of the transport.
 */
VIODMA_MUST_USE enum viodma_result viodma_driver_queue_reset(struct viodma_driver_queue *queue,
							     const struct viodma_driver *driver);

/*
 * After it, and after take_back: the queue is as new, in the same ring memory; enable it again. VIODMA_E_BUSY: chains are
 * out, or no reset of this queue was acknowledged (DRV-25). VIODMA_PEER_LATE_WRITE: the device wrote after the reset; it
 * stays reset.
 */
VIODMA_MUST_USE enum viodma_result viodma_driver_queue_restart(struct viodma_driver_queue *queue);

/*
 * Release ring memory. Pre: nothing with the device. VIODMA_PEER_LATE_WRITE: the device wrote after its reset (seen in
 * the used area; ring memory was released nevertheless). VIODMA_E_BUSY: chains are out. VIODMA_E_QUARANTINED.
 */
VIODMA_MUST_USE enum viodma_result viodma_driver_queue_free(struct viodma_driver_queue *queue);

#ifdef __cplusplus
}
#endif

#endif
