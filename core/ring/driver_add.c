/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver_add.c - how it works: segments become a chain, and chains are shown to the device (virtio 1.2, sections 2.7
 * and 2.8).
 *
 *   split    descriptors are taken from the free list, the head goes into the available ring; to publish is to move its
 *            index: the device looks at nothing before
 *   packed   descriptors are filled one after the other, their flags with them, but for the flags of the very first one
 *            since the last publication: to publish is to write those. The device goes from one to the next and so sees
 *            all of it or nothing (= DRV-24)
 *   table    in either: segments go into a table one after the other, and one descriptor leads to it (= DRV-14)
 *
 * What is refused half way leaves nothing that is available: in a packed ring the flags written are taken back.
 *
 * Cost: a segment is its checks and 16 bytes written in two stores; a chain of one has a way of its own, without the
 * loop. Everything else is once for each chain.
 */
#include "driver_ring.h"

#include <viodma/dma_debug.h>

#define MANY (1u << 30) /* more than any ring goes round in */

/* Where descriptors go. */
enum form { IN_SPLIT_RING, IN_PACKED_RING, IN_SPLIT_TABLE, IN_PACKED_TABLE };

/* A chain being made. */
struct making {
	struct viodma_shared *to; /* the ring's descriptors, or a table */
	const uint16_t *next;     /* split ring: which follows which */
	uint32_t at, last, left;
	uint32_t id, lap, size;   /* packed ring */
	bool hidden;              /* packed ring: the next descriptor is the one whose flags come last */
	uint64_t bytes, writable_bytes;
};

/* Mappings in their order, or the segments of one. */
struct source {
	const struct viodma_mapping *const *mappings;
	const struct viodma_segment *segments;
	uint32_t count; /* of segments, if it is one list of them; else of mappings */
	bool one_list;  /* a constant */
};

/* ---- one segment ---- */

/* len, then the two members after it, in the order of either layout. */
VIODMA_DRIVER_INLINE void store(struct viodma_shared *descriptor, uint64_t bus, uint32_t len, uint32_t third,
				uint32_t fourth)
{
	viodma_shared_put64(descriptor, bus); /* = DRV-2 */
	viodma_shared_put64(viodma_shared_at(descriptor, VIODMA_DRIVER_PACKED_LEN),
			    len | (uint64_t)(third | fourth << 16) << 32);
}

/* In the packed ring: with flags, unless it is the one whose flags come last. */
VIODMA_DRIVER_INLINE void store_packed(struct viodma_driver_queue *queue, struct making *making, uint64_t bus,
				       uint32_t len, uint32_t flags)
{
	struct viodma_shared *descriptor = viodma_shared_at(making->to, VIODMA_DRIVER_DESC(making->at));

	flags |= making->lap;
	if (making->hidden) {
		making->hidden = false;
		queue->first_place = (uint16_t)making->at;
		queue->first_flags = (uint16_t)flags;
		viodma_shared_put64(descriptor, bus); /* = DRV-2 */
		viodma_shared_put32(viodma_shared_at(descriptor, VIODMA_DRIVER_PACKED_LEN), len);
		viodma_shared_put16(viodma_shared_at(descriptor, VIODMA_DRIVER_PACKED_ID), (uint16_t)making->id);
	} else {
		store(descriptor, bus, len, making->id, flags);
	}
	if (++making->at == making->size) {
		making->at = 0;
		making->lap ^= VIODMA_DRIVER_LAP;
	}
}

VIODMA_DRIVER_INLINE void store_segment(struct viodma_driver_queue *queue, struct making *making,
					const struct viodma_segment *segment, enum form form)
{
	uint32_t flags = segment->permission & VIRTQ_DESC_F_WRITE, next;
	struct viodma_shared *descriptor = viodma_shared_at(making->to, VIODMA_DRIVER_DESC(making->at));

	if (form != IN_PACKED_TABLE && --making->left)
		flags |= VIRTQ_DESC_F_NEXT;
	switch (form) {
	case IN_PACKED_RING:
		store_packed(queue, making, segment->bus.v, segment->len_bytes, flags);
		break;
	case IN_PACKED_TABLE:
		store(descriptor, segment->bus.v, segment->len_bytes, 0, flags);
		making->at++;
		break;
	default:
		next = form == IN_SPLIT_TABLE ? making->at + 1 : making->next[making->at];
		store(descriptor, segment->bus.v, segment->len_bytes, flags, next);
		making->last = making->at;
		making->at = next;
	}
}

_Static_assert(VIODMA_READ == 1 && VIODMA_WRITE == 2 && VIRTQ_DESC_F_WRITE == 2, "what follows counts with it");

/* Is it one, and may it come here? */
VIODMA_DRIVER_INLINE bool segment_holds(struct making *making, const struct viodma_segment *segment)
{
	const uint32_t len = segment->len_bytes, permission = segment->permission;

	if (!VIODMA_REQUIRE(DRV_15, len && segment->bus.v + (len - 1) >= segment->bus.v))
		return false;
	if (permission - 1 > 1)
		return false;
	if (making->writable_bytes && !VIODMA_REQUIRE(DRV_13, permission == VIODMA_WRITE))
		return false;
	making->writable_bytes += len & (0u - (permission >> 1));
	making->bytes += len;
	return true;
}

VIODMA_DRIVER_INLINE bool put(struct viodma_driver_queue *queue, struct making *making,
			      const struct viodma_segment *segments, uint32_t count, enum form form)
{
	const struct viodma_segment *end;

	for (end = segments + count; segments != end; segments++) {
		if (!segment_holds(making, segments))
			return false;
		store_segment(queue, making, segments, form);
	}
	return true;
}

/* One by itself, after which no descriptor is the first; then the others. */
VIODMA_DRIVER_INLINE bool put_list(struct viodma_driver_queue *queue, struct making *making,
				   const struct viodma_segment *segments, uint32_t count, enum form form)
{
	if (!put(queue, making, segments, 1, form))
		return false;
	return count == 1 || put(queue, making, segments + 1, count - 1, form);
}

VIODMA_DRIVER_INLINE bool put_all(struct viodma_driver_queue *queue, struct making *making, const struct source *source,
				  enum form form)
{
	uint32_t i;

	if (source->one_list)
		return put_list(queue, making, source->segments, source->count, form);
	for (i = 0; i < source->count; i++)
		if (!put(queue, making, source->mappings[i]->segments, source->mappings[i]->segment_count, form))
			return false;
	return true;
}

/* ---- a chain ---- */

/* Is there room for a chain of `count` segments? *table: the one to use, or none. */
VIODMA_DRIVER_INLINE enum viodma_result room(const struct viodma_driver_queue *queue, uint32_t count, uint32_t *table)
{
	*table = VIODMA_DRIVER_NO_TABLE;
	if (count > 1 && count <= queue->config.table_descriptors)
		*table = queue->table_free;
	if (*table != VIODMA_DRIVER_NO_TABLE ? queue->free_descriptors >= 1 : count <= queue->free_descriptors)
		return VIODMA_OK;
	return VIODMA_REQUIRE(DRV_12, count <= queue->size) ? VIODMA_E_NO_SPACE : VIODMA_E_LIMIT;
}

/* The memory of a table, and where it is for the device. */
static struct viodma_shared *table_memory(const struct viodma_driver_queue *queue, uint32_t table, viodma_bus *bus)
{
	const struct viodma_dma_memory *block = &queue->table_blocks[table >> queue->table_shift];
	uint32_t offset = (table & ((1u << queue->table_shift) - 1)) * queue->table_bytes;

	*bus = viodma_dma_memory_bus(block, offset);
	return viodma_shared_at(block->memory, offset);
}

/* At the ring's next free descriptor. */
VIODMA_DRIVER_INLINE void begin_in_ring(const struct viodma_driver_queue *queue, struct making *making, bool packed)
{
	making->to = queue->desc;
	making->next = queue->next;
	making->id = queue->free_head;
	making->at = making->last = packed ? queue->avail_idx : queue->free_head;
	if (!packed)
		return;
	making->lap = queue->avail_flags;
	making->size = queue->size;
	making->hidden = !queue->unpublished;
}

/* What a chain that is not to be had has written into a packed ring is not available. */
static void take_flags_back(const struct viodma_driver_queue *queue, uint32_t written)
{
	uint32_t place = queue->avail_idx, lap = queue->avail_flags;

	for (; written; written--) {
		viodma_shared_store16(viodma_shared_at(queue->desc, VIODMA_DRIVER_DESC(place) +
									    VIODMA_DRIVER_PACKED_FLAGS),
				      lap & VIRTQ_PACKED_DESC_F_AVAIL ? 0 : VIODMA_DRIVER_LAP); /* as used, a lap ago */
		viodma_driver_go_on(&place, &lap, 1, queue->size);
	}
}

/* All is written; take what it uses from the free lists, note what it is, and, split, put the head where it is looked for. */
VIODMA_DRIVER_INLINE void commit(struct viodma_driver_queue *queue, const struct making *making, uint32_t count,
				 uint32_t table, void *token, bool packed)
{
	uint32_t id = making->id, descriptors = table == VIODMA_DRIVER_NO_TABLE ? count : 1;
	struct viodma_driver_chain *chain = &queue->chains[id];

	chain->token = token;
	/* 2^32 itself is beyond what a used length can say. */
	chain->writable_bytes = making->writable_bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)making->writable_bytes;
	chain->batch = queue->batch;
	chain->descriptors = table == VIODMA_DRIVER_NO_TABLE ? (uint16_t)count : 0;
	if (table != VIODMA_DRIVER_NO_TABLE)
		chain->last = (uint16_t)table;
	else if (!packed)
		chain->last = (uint16_t)making->last;
	if (queue->in_order)
		chain->sequence = queue->added++;
	queue->free_head = packed ? queue->next[id] : making->at;
	queue->free_descriptors -= descriptors;
	queue->out++; /* = DRV-10 DRV-11 DRV-16: at most `size` are out, and only what is free is used */
	queue->statistics.added++;
	if (!packed) {
		viodma_shared_put16(viodma_shared_at(queue->avail, VIRTQ_AVAIL_RING(queue->avail_idx & (queue->size - 1))),
				    (uint16_t)id);
		queue->avail_idx++;
		return;
	}
	queue->unpublished += descriptors;
	queue->avail_idx = making->at;
	queue->avail_flags = making->lap;
}

/* Segments are in a table: one descriptor leads there. */
VIODMA_DRIVER_INLINE void lead_to_table(struct viodma_driver_queue *queue, struct making *making, uint32_t count,
					uint32_t table, viodma_bus bus, bool packed)
{
	const uint32_t bytes = count * (uint32_t)sizeof(struct virtq_desc);

	begin_in_ring(queue, making, packed);
	if (packed) {
		store_packed(queue, making, bus.v, bytes, VIRTQ_DESC_F_INDIRECT);
	} else {
		store(viodma_shared_at(queue->desc, VIODMA_DRIVER_DESC(making->at)), bus.v, bytes, VIRTQ_DESC_F_INDIRECT,
		      0);
		making->at = queue->next[making->at];
	}
	queue->table_free = queue->table_next[table];
	queue->statistics.indirect++;
}

VIODMA_DRIVER_INLINE enum viodma_result add_to(struct viodma_driver_queue *queue, const struct source *source,
					       uint32_t count, uint32_t table, void *token, bool packed, bool in_table)
{
	struct making making = {.left = count};
	viodma_bus bus;

	if (in_table)
		making.to = table_memory(queue, table, &bus);
	else
		begin_in_ring(queue, &making, packed);
	if (!put_all(queue, &making, source,
		     packed ? in_table ? IN_PACKED_TABLE : IN_PACKED_RING
			    : in_table ? IN_SPLIT_TABLE : IN_SPLIT_RING) ||
	    !VIODMA_REQUIRE(DRV_12, making.bytes <= (uint64_t)1 << 32)) {
		if (packed && !in_table && count > 1)
			take_flags_back(queue, count - making.left);
		return VIODMA_E_INVALID;
	}
	if (in_table)
		lead_to_table(queue, &making, count, table, bus, packed);
	commit(queue, &making, count, table, token, packed);
	return VIODMA_OK;
}

VIODMA_DRIVER_INLINE enum viodma_result add(struct viodma_driver_queue *queue, const struct source *source,
					    uint32_t count, void *token, bool packed)
{
	enum viodma_result result;
	uint32_t table;

	if (!count || !token)
		return VIODMA_E_INVALID;
	result = room(queue, count, &table);
	if (result != VIODMA_OK)
		return result;
	if (table != VIODMA_DRIVER_NO_TABLE)
		return add_to(queue, source, count, table, token, packed, true);
	return add_to(queue, source, count, VIODMA_DRIVER_NO_TABLE, token, packed, false);
}

/* One function for each layout, for one segment, which has no loop and no table, and for more. */
static VIODMA_DRIVER_APART enum viodma_result add_one_split(struct viodma_driver_queue *queue,
							     const struct viodma_segment *segment, void *token)
{
	const struct source source = {.segments = segment, .count = 1, .one_list = true};

	return add(queue, &source, 1, token, false);
}

static VIODMA_DRIVER_APART enum viodma_result add_one_packed(struct viodma_driver_queue *queue,
							      const struct viodma_segment *segment, void *token)
{
	const struct source source = {.segments = segment, .count = 1, .one_list = true};

	return add(queue, &source, 1, token, true);
}

static VIODMA_DRIVER_APART enum viodma_result add_split(struct viodma_driver_queue *queue,
							 const struct viodma_segment *segments, uint32_t count,
							 void *token)
{
	const struct source source = {.segments = segments, .count = count, .one_list = true};

	return add(queue, &source, count, token, false);
}

static VIODMA_DRIVER_APART enum viodma_result add_packed(struct viodma_driver_queue *queue,
							  const struct viodma_segment *segments, uint32_t count,
							  void *token)
{
	const struct source source = {.segments = segments, .count = count, .one_list = true};

	return add(queue, &source, count, token, true);
}

enum viodma_result viodma_driver_queue_add(struct viodma_driver_queue *queue, const struct viodma_segment *segments,
					   uint32_t count, void *token)
{
	if (queue->broken != VIODMA_OK)
		return queue->broken;
	if (count == 1)
		return queue->packed ? add_one_packed(queue, segments, token) : add_one_split(queue, segments, token);
	return queue->packed ? add_packed(queue, segments, count, token) : add_split(queue, segments, count, token);
}

/* ---- mappings ---- */

static VIODMA_DRIVER_APART enum viodma_result mappings_split(struct viodma_driver_queue *queue,
							      const struct viodma_mapping *const *mappings,
							      uint32_t count, uint32_t total, void *token)
{
	const struct source source = {.mappings = mappings, .count = count};

	return add(queue, &source, total, token, false);
}

static VIODMA_DRIVER_APART enum viodma_result mappings_packed(struct viodma_driver_queue *queue,
							       const struct viodma_mapping *const *mappings,
							       uint32_t count, uint32_t total, void *token)
{
	const struct source source = {.mappings = mappings, .count = count};

	return add(queue, &source, total, token, true);
}

enum viodma_result viodma_driver_queue_add_mappings(struct viodma_driver_queue *queue,
						    const struct viodma_mapping *const *mappings, uint32_t count,
						    void *token)
{
	uint64_t total = 0;
	uint32_t i;

	for (i = 0; i < count; i++) {
		if (mappings[i]->checked_by)
			(void)viodma_debug_hand_over(mappings[i]); /* reported; what is not live has no segments */
		total += mappings[i]->segment_count;
	}
	if (count == 1)
		return viodma_driver_queue_add(queue, mappings[0]->segments, mappings[0]->segment_count, token);
	if (queue->broken != VIODMA_OK)
		return queue->broken;
	if (total > UINT32_MAX)
		total = UINT32_MAX;
	return queue->packed ? mappings_packed(queue, mappings, count, (uint32_t)total, token)
			     : mappings_split(queue, mappings, count, (uint32_t)total, token);
}

enum viodma_result viodma_driver_queue_map_and_add(struct viodma_driver_queue *queue, struct viodma_mapping *readable,
						   const struct viodma_buffer *readable_buffers,
						   uint32_t readable_count, struct viodma_mapping *writable,
						   const struct viodma_buffer *writable_buffers,
						   uint32_t writable_count, struct viodma_segment *segments,
						   uint32_t capacity, void *token)
{
	const struct viodma_mapping *mappings[2] = {NULL, NULL};
	uint32_t count = 0, used = 0, i;
	enum viodma_result result = VIODMA_OK;

	if (readable) {
		result = viodma_domain_map(queue->config.domain, readable, readable_buffers, readable_count,
					   VIODMA_TO_DEVICE, segments, capacity); /* = DRV-8 */
		if (result != VIODMA_OK)
			return result;
		used = readable->segment_count;
		mappings[count++] = readable;
	}
	if (writable) {
		result = viodma_domain_map(queue->config.domain, writable, writable_buffers, writable_count,
					   VIODMA_FROM_DEVICE, segments + used, capacity - used);
		if (result == VIODMA_OK)
			mappings[count++] = writable;
	}
	if (result == VIODMA_OK)
		result = viodma_driver_queue_add_mappings(queue, mappings, count, token);
	if (result == VIODMA_OK)
		return VIODMA_OK;
	for (i = 0; i < count; i++)
		if (viodma_domain_unmap(mappings[i] == readable ? readable : writable, 0) == VIODMA_E_QUARANTINED)
			result = VIODMA_E_QUARANTINED;
	return result;
}

/* ---- publication ---- */

/* A new batch, of so many more that the device was not asked about; whoever never asks does not make it turn over. */
static inline void next_batch(struct viodma_driver_queue *queue, uint32_t count)
{
	if (queue->unkicked < MANY)
		queue->unkicked += count;
	queue->batch++;
}

static void publish_packed(struct viodma_driver_queue *queue)
{
	if (!queue->unpublished)
		return;
	next_batch(queue, queue->unpublished);
	queue->unpublished = 0;
	queue->published_idx = (uint16_t)queue->avail_idx;
	queue->published_flags = (uint16_t)queue->avail_flags;
	if (queue->order_platform)
		viodma_shared_platform_write_fence(); /* = DRV-23; pairs with the device's, after it read the flags */
	/* Pairs with the device's acquire of these flags: tables and all descriptors since are seen with it. */
	viodma_shared_store_release16(viodma_shared_at(queue->desc, VIODMA_DRIVER_DESC(queue->first_place) +
									    VIODMA_DRIVER_PACKED_FLAGS),
				      queue->first_flags);
}

void viodma_driver_queue_publish(struct viodma_driver_queue *queue)
{
	uint16_t count;

	if (queue->packed) {
		publish_packed(queue);
		return;
	}
	count = (uint16_t)(queue->avail_idx - queue->published_idx);
	if (!count)
		return;
	queue->published_idx = (uint16_t)queue->avail_idx;
	next_batch(queue, count);
	if (queue->order_platform)
		viodma_shared_platform_write_fence(); /* = DRV-23; pairs with the device's, after it read the index */
	/* Pairs with the device's acquire of the available index: descriptors, tables and heads are seen with it. */
	viodma_shared_store_release16(viodma_shared_at(queue->avail, VIRTQ_AVAIL_IDX), queue->published_idx);
}
