/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver_split.c - how it works: the words of a split ring, driver half (virtio 1.2, section 2.7).
 *
 * The driver only writes descriptors, tables and the available ring, and only reads the used ring; it reads nothing
 * back that it wrote (= DRV-21). What it has to know is private, by head: `chains` says which are out, with which
 * token, room and table; `next` is both the free list and, within a chain, what its descriptors' next members say.
 *
 *   add      fill free descriptors (or a table, with one descriptor for it), put the head into the available ring: the
 *            device looks at none of it before the index moves
 *   publish  move the available index over everything added
 *   get      look at the used index when the last one seen is used up; fetch one element, check it against the shadow
 *
 * The device is trusted with nothing: the used index is at most as far ahead as chains were published and have not come
 * back; an id is in range, and names a chain that is out, and was published. A chain added since the last publication
 * carries the number of the one to come (`batch`), so that a device that guesses it is noticed.
 *
 * Cost: adding a segment is its checks and 16 bytes written; everything else is once for each chain. No loop but over
 * segments.
 */
#include "driver_ring.h"

#include <viodma/wire/ring.h>

#include "../base/require.h"
#include "../base/shared.h"

/* ---- the shadow ---- */

void viodma_driver_split_start(struct viodma_driver_queue *queue)
{
	uint32_t i;

	for (i = 0; i < queue->config.size; i++) {
		queue->chains[i].token = NULL;
		queue->next[i] = (uint16_t)(i + 1);
	}
	for (i = 0; i < queue->config.tables; i++)
		queue->table_next[i] = i + 1 < queue->config.tables ? i + 1 : VIODMA_DRIVER_NO_TABLE;
	queue->table_free = queue->config.tables ? 0 : VIODMA_DRIVER_NO_TABLE;
	queue->free_descriptors = queue->config.size;
	queue->mask = queue->config.size - 1;
	queue->event_idx = queue->config.event_idx;
	queue->order_platform = queue->config.order_platform;
}

void *viodma_driver_split_end(struct viodma_driver_queue *queue, uint16_t head)
{
	struct viodma_driver_chain *chain = &queue->chains[head];
	void *token = chain->token;

	chain->token = NULL;
	queue->next[chain->last] = queue->free_head;
	queue->free_head = head;
	queue->free_descriptors += chain->descriptors;
	if (chain->table != VIODMA_DRIVER_NO_TABLE) {
		queue->table_next[chain->table] = queue->table_free;
		queue->table_free = chain->table;
	}
	queue->out--;
	return token;
}

enum viodma_result viodma_driver_split_break(struct viodma_driver_queue *queue, enum viodma_result reason)
{
	if (queue->broken == VIODMA_OK)
		queue->broken = reason;
	return reason;
}

/* ---- adding ---- */

/* A chain being made. */
struct making {
	struct viodma_shared *to; /* the ring's descriptors, or a table */
	const uint16_t *next;     /* which follows which */
	uint32_t at, last, left;
	uint64_t bytes, writable_bytes;
};

static inline void put_descriptor(struct viodma_shared *to, uint32_t at, viodma_bus bus, uint32_t len, uint32_t flags,
				  uint32_t next)
{
	const struct virtq_desc descriptor = {viodma_le64_of(bus.v), viodma_le32_of(len),
					      viodma_le16_of((uint16_t)flags), viodma_le16_of((uint16_t)next)};

	viodma_shared_copy_out(viodma_shared_at(to, at * sizeof(descriptor)), &descriptor, sizeof(descriptor));
}

/* in_table: one descriptor after the other. Inline for each case: this is the loop over segments. */
static inline enum viodma_result put_each(struct making *making, const struct viodma_segment *segments, uint32_t count,
					  bool in_table)
{
	const struct viodma_segment *end;

	for (end = segments + count; segments != end; segments++) {
		uint32_t flags = --making->left ? VIRTQ_DESC_F_NEXT : 0, len = segments->len_bytes;
		uint32_t next = in_table ? making->at + 1 : making->next[making->at];

		if (!VIODMA_REQUIRE(DRV_15, len && segments->bus.v + (len - 1) >= segments->bus.v))
			return VIODMA_E_INVALID;
		if (segments->permission == VIODMA_WRITE) {
			flags |= VIRTQ_DESC_F_WRITE;
			making->writable_bytes += len;
		} else if (segments->permission != VIODMA_READ) {
			return VIODMA_E_INVALID;
		} else if (!VIODMA_REQUIRE(DRV_13, !making->writable_bytes)) {
			return VIODMA_E_INVALID;
		}
		making->bytes += len;
		put_descriptor(making->to, making->at, segments->bus, len, flags, next); /* = DRV-2 */
		making->last = making->at;
		making->at = next;
	}
	return VIODMA_OK;
}

static inline enum viodma_result put(struct making *making, const struct viodma_segment *segments, uint32_t count,
				     uint32_t table)
{
	return table == VIODMA_DRIVER_NO_TABLE ? put_each(making, segments, count, false)
					       : put_each(making, segments, count, true);
}

/* The memory of a table, and where it is for the device. */
static inline struct viodma_shared *table_memory(const struct viodma_driver_queue *queue, uint32_t table,
						 viodma_bus *bus)
{
	const struct viodma_dma_memory *block = &queue->table_blocks[table >> queue->table_shift];
	uint32_t offset = (table & ((1u << queue->table_shift) - 1)) * queue->table_bytes;

	*bus = viodma_dma_memory_bus(block, offset);
	return viodma_shared_at(block->memory, offset);
}

/* Is there room for a chain of `count` segments? *table: the one to use, or none. */
static inline enum viodma_result room(const struct viodma_driver_queue *queue, uint32_t count, uint32_t *table)
{
	if (queue->broken != VIODMA_OK)
		return queue->broken;
	if (!count)
		return VIODMA_E_INVALID;
	*table = VIODMA_DRIVER_NO_TABLE;
	if (count > 1 && count <= queue->config.table_descriptors)
		*table = queue->table_free;
	if (*table != VIODMA_DRIVER_NO_TABLE ? queue->free_descriptors >= 1 : count <= queue->free_descriptors)
		return VIODMA_OK;
	return VIODMA_REQUIRE(DRV_12, count <= queue->config.size) ? VIODMA_E_NO_SPACE : VIODMA_E_LIMIT;
}

static inline void begin(const struct viodma_driver_queue *queue, struct making *making, uint32_t count, uint32_t table,
			 viodma_bus *table_bus)
{
	making->left = count;
	making->bytes = making->writable_bytes = 0;
	making->next = queue->next;
	if (table != VIODMA_DRIVER_NO_TABLE) {
		making->to = table_memory(queue, table, table_bus);
		making->at = 0;
	} else {
		making->to = queue->desc;
		making->at = queue->free_head;
	}
	making->last = making->at;
}

/* All segments are put: take what they use from the free lists, and put the head among what is available. */
static inline enum viodma_result commit(struct viodma_driver_queue *queue, const struct making *making, uint32_t count,
					uint32_t table, viodma_bus table_bus, void *token)
{
	uint16_t head = queue->free_head;
	struct viodma_driver_chain *chain = &queue->chains[head];

	if (!VIODMA_REQUIRE(DRV_12, making->bytes <= (uint64_t)1 << 32))
		return VIODMA_E_INVALID;
	if (!token)
		return VIODMA_E_INVALID;
	if (table != VIODMA_DRIVER_NO_TABLE) {
		put_descriptor(queue->desc, head, table_bus, count * (uint32_t)sizeof(struct virtq_desc), /* = DRV-14 */
			       VIRTQ_DESC_F_INDIRECT, 0);
		queue->table_free = queue->table_next[table];
		queue->free_head = queue->next[head];
		chain->descriptors = 1;
		chain->last = head;
		queue->statistics.indirect++;
	} else {
		queue->free_head = (uint16_t)making->at;
		chain->descriptors = (uint16_t)count;
		chain->last = (uint16_t)making->last;
	}
	queue->free_descriptors -= chain->descriptors;
	chain->token = token;
	/* 2^32 itself is beyond what a used length can say. */
	chain->writable_bytes = making->writable_bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)making->writable_bytes;
	chain->table = table;
	chain->batch = queue->batch;
	viodma_shared_store16(viodma_shared_at(queue->avail, VIRTQ_AVAIL_RING(queue->avail_idx & queue->mask)), head);
	queue->avail_idx++;
	queue->out++; /* = DRV-10 DRV-11 DRV-16: at most `size` are out, and only free descriptors become heads */
	queue->statistics.added++;
	return VIODMA_OK;
}

enum viodma_result viodma_driver_queue_add(struct viodma_driver_queue *queue, const struct viodma_segment *segments,
					   uint32_t count, void *token)
{
	struct making making;
	viodma_bus table_bus = {0};
	uint32_t table;
	enum viodma_result result = room(queue, count, &table);

	if (result != VIODMA_OK)
		return result;
	begin(queue, &making, count, table, &table_bus);
	result = put(&making, segments, count, table);
	return result != VIODMA_OK ? result : commit(queue, &making, count, table, table_bus, token);
}

enum viodma_result viodma_driver_split_add_mappings(struct viodma_driver_queue *queue,
						    const struct viodma_mapping *const *mappings, uint32_t count,
						    void *token)
{
	struct making making;
	viodma_bus table_bus = {0};
	uint64_t total = 0;
	uint32_t table, i;
	enum viodma_result result;

	for (i = 0; i < count; i++)
		total += mappings[i]->segment_count;
	result = room(queue, total > UINT32_MAX ? UINT32_MAX : (uint32_t)total, &table);
	if (result != VIODMA_OK)
		return result;
	begin(queue, &making, (uint32_t)total, table, &table_bus);
	for (i = 0; i < count && result == VIODMA_OK; i++)
		result = put(&making, mappings[i]->segments, mappings[i]->segment_count, table);
	return result != VIODMA_OK ? result : commit(queue, &making, (uint32_t)total, table, table_bus, token);
}

void viodma_driver_queue_publish(struct viodma_driver_queue *queue)
{
	uint16_t count = (uint16_t)(queue->avail_idx - queue->published_idx);

	if (!count)
		return;
	queue->published_idx = queue->avail_idx;
	queue->unkicked += count;
	queue->batch++;
	if (queue->order_platform)
		viodma_shared_platform_write_fence(); /* = DRV-23; pairs with the device's, after it read the index */
	/* Pairs with the device's acquire of the available index: descriptors, tables and heads are seen with it. */
	viodma_shared_store_release16(viodma_shared_at(queue->avail, VIRTQ_AVAIL_IDX), queue->avail_idx);
}

/* ---- notifications ---- */

/* Between what we said and what we look at next. */
static inline void full_fence(const struct viodma_driver_queue *queue)
{
	if (queue->order_platform)
		viodma_shared_platform_fence(); /* = DRV-23 */
	viodma_shared_fence();
}

bool viodma_driver_queue_kick_needed(struct viodma_driver_queue *queue)
{
	uint32_t since = queue->unkicked;
	uint16_t word;
	bool needed;

	if (!since)
		return false;
	queue->unkicked = 0;
	/*
	 * Pairs with the device's fence between its wish (avail_event, flags) and its last look at the available index:
	 * either it sees what was published, or we see the wish.
	 */
	full_fence(queue);
	if (queue->event_idx) {
		word = viodma_shared_load16(viodma_shared_at(queue->used, VIRTQ_USED_AVAIL_EVENT(queue->mask + 1)));
		/* Did the index pass it? After a full turn of the index, certainly. */
		needed = since > UINT16_MAX || (uint16_t)(queue->published_idx - word - 1) < (uint16_t)since;
	} else {
		word = viodma_shared_load16(viodma_shared_at(queue->used, VIRTQ_USED_FLAGS));
		needed = !(word & VIRTQ_USED_F_NO_NOTIFY);
	}
	if (needed)
		queue->statistics.kicks++;
	else
		queue->statistics.kicks_suppressed++;
	return needed;
}

uint32_t viodma_driver_queue_notification_data(const struct viodma_driver_queue *queue)
{
	return (queue->config.index & 0xffffu) | (uint32_t)queue->published_idx << 16;
}

bool viodma_driver_queue_want_call(struct viodma_driver_queue *queue)
{
	if (queue->broken != VIODMA_OK)
		return false;
	if (queue->event_idx)
		viodma_shared_store16(viodma_shared_at(queue->avail, VIRTQ_AVAIL_USED_EVENT(queue->mask + 1)),
				      queue->used_idx);
	else if (queue->calls_off)
		viodma_shared_store16(viodma_shared_at(queue->avail, VIRTQ_AVAIL_FLAGS), 0);
	queue->calls_off = false;
	/*
	 * Pairs with the device's fence between moving the used index and reading our wish: either it sees the wish, or
	 * we see the index.
	 */
	full_fence(queue);
	return queue->seen_used != queue->used_idx ||
	       viodma_shared_load16(viodma_shared_at(queue->used, VIRTQ_USED_IDX)) != queue->used_idx;
}

void viodma_driver_queue_want_no_call(struct viodma_driver_queue *queue)
{
	if (queue->broken != VIODMA_OK)
		return;
	/* By index: where it does not come before we are asked again, half a turn away. */
	if (queue->event_idx)
		viodma_shared_store16(viodma_shared_at(queue->avail, VIRTQ_AVAIL_USED_EVENT(queue->mask + 1)),
				      (uint16_t)(queue->used_idx + 0x8000u));
	else if (!queue->calls_off)
		viodma_shared_store16(viodma_shared_at(queue->avail, VIRTQ_AVAIL_FLAGS), VIRTQ_AVAIL_F_NO_INTERRUPT);
	if (!queue->calls_off)
		queue->statistics.calls_suppressed++;
	queue->calls_off = true;
}

/* ---- what comes back ---- */

/* Look at the used index. VIODMA_OK: there is something; VIODMA_EMPTY; VIODMA_PEER_USED_INDEX. */
static enum viodma_result look(struct viodma_driver_queue *queue)
{
	/* Pairs with the device's release of the used index: elements and buffers are seen as it left them. */
	uint16_t index = viodma_shared_load_acquire16(viodma_shared_at(queue->used, VIRTQ_USED_IDX));

	if (index == queue->used_idx)
		return VIODMA_EMPTY;
	if (queue->order_platform)
		viodma_shared_platform_read_fence(); /* = DRV-23; pairs with the device's, before it moves the index */
	if (!VIODMA_REQUIRE(DEV_19,
			    (uint16_t)(index - queue->used_idx) <= (uint16_t)(queue->published_idx - queue->used_idx)))
		return viodma_driver_split_break(queue, VIODMA_PEER_USED_INDEX);
	queue->seen_used = index;
	return VIODMA_OK;
}

/* The used length as far as it can be true (DEV-16). */
static enum viodma_result beyond(struct viodma_driver_queue *queue, const struct viodma_driver_chain *chain,
				 uint32_t *used)
{
	if (queue->config.strict)
		return viodma_driver_split_break(queue, VIODMA_PEER_USED_LENGTH);
	queue->statistics.clamped++;
	if (queue->config.clamped)
		queue->config.clamped(queue->config.context, queue->config.index, *used, chain->writable_bytes);
	*used = chain->writable_bytes;
	return VIODMA_OK;
}

enum viodma_result viodma_driver_queue_get(struct viodma_driver_queue *queue,
					   struct viodma_driver_completion *completion)
{
	const struct viodma_driver_chain *chain;
	struct virtq_used_elem element;
	uint32_t id, used;
	enum viodma_result result;

	if (queue->broken != VIODMA_OK)
		return queue->broken;
	if (queue->seen_used == queue->used_idx) {
		result = look(queue);
		if (result != VIODMA_OK)
			return result;
	}
	viodma_shared_copy_in(&element, viodma_shared_at(queue->used, VIRTQ_USED_RING(queue->used_idx & queue->mask)),
			      sizeof(element));
	id = viodma_le32_get(element.id);
	used = viodma_le32_get(element.len);
	if (!VIODMA_REQUIRE(DEV_19, id <= queue->mask))
		return viodma_driver_split_break(queue, VIODMA_PEER_USED_ID);
	id &= queue->mask; /* holds already; keeps a mutant inside its own memory */
	chain = &queue->chains[id];
	if (!VIODMA_REQUIRE(DRV_21, chain->token && chain->batch != queue->batch))
		return viodma_driver_split_break(queue, VIODMA_PEER_USED_TWICE);
	if (!VIODMA_REQUIRE(DEV_16, used <= chain->writable_bytes)) {
		result = beyond(queue, chain, &used);
		if (result != VIODMA_OK)
			return result;
	}
	completion->written_bytes = used;
	completion->token = viodma_driver_split_end(queue, (uint16_t)id);
	queue->used_idx++;
	queue->statistics.got++;
	return VIODMA_OK;
}

enum viodma_result viodma_driver_queue_get_batch(struct viodma_driver_queue *queue,
						 struct viodma_driver_completion *completions, uint32_t capacity,
						 uint32_t *count)
{
	enum viodma_result result = VIODMA_OK;

	*count = 0;
	while (*count < capacity) {
		result = viodma_driver_queue_get(queue, &completions[*count]);
		if (result != VIODMA_OK)
			break;
		(*count)++;
	}
	return *count ? VIODMA_OK : result;
}
