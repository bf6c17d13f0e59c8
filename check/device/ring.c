/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ring.c - how it works: one structure for both layouts; what differs is written in two branches beside each other. The
 * other half runs in another process: indices and flags are written with release, and read with acquire.
 */
#include "check/device/ring.h"

#include "hosted/base/descriptors.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define MOMENT_US 2000u

static struct virtq_packed_desc *packed_at(const struct check_ring *ring, uint32_t position)
{
	return (struct virtq_packed_desc *)(void *)ring->desc.at + position;
}

static void store16(void *at, uint16_t number)
{
	const viodma_le16 word = viodma_le16_of(number);
	uint16_t raw;

	memcpy(&raw, &word, sizeof(raw));
	__atomic_store_n((uint16_t *)at, raw, __ATOMIC_RELEASE);
}

static uint16_t load16(const void *at)
{
	const uint16_t raw = __atomic_load_n((const uint16_t *)at, __ATOMIC_ACQUIRE);
	viodma_le16 word;

	memcpy(&word, &raw, sizeof(raw));
	return viodma_le16_get(word);
}

void check_ring_clear(struct check_ring *ring)
{
	memset(ring->desc.at, 0, ring->desc.bytes);
	memset(ring->avail.at, 0, ring->avail.bytes);
	memset(ring->used.at, 0, ring->used.bytes);
	memset(ring->counts, 0, ring->size * sizeof(*ring->counts));
	memset(ring->taken, 0, ring->size * sizeof(*ring->taken));
	ring->next_avail = ring->next_used = ring->next_id = 0;
	ring->avail_wrap = ring->used_wrap = true;
	ring->in_flight = ring->next_free = 0;
	ring->order_from = ring->order_to = ring->batch = 0;
}

bool check_ring_new(struct check_ring *ring, struct check_memory *memory, unsigned queue, uint32_t size, bool packed,
		    bool spread)
{
	bool (*const place)(struct check_memory *, uint64_t, uint32_t, struct check_place *) =
		spread ? check_memory_spread : check_memory_place;
	const uint32_t avail_bytes = packed ? VIRTQ_PACKED_EVENT_BYTES : VIRTQ_AVAIL_BYTES(size);
	const uint32_t used_bytes = packed ? VIRTQ_PACKED_EVENT_BYTES : VIRTQ_USED_BYTES(size);

	*ring = (struct check_ring){.queue = queue, .size = size, .packed = packed};
	ring->counts = calloc(size, sizeof(*ring->counts));
	ring->taken = calloc(size, sizeof(*ring->taken));
	ring->order = calloc(size, sizeof(*ring->order));
	ring->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ring->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ring->err_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!ring->counts || !ring->taken || !ring->order || ring->kick_fd < 0 || ring->call_fd < 0 || ring->err_fd < 0 ||
	    !place(memory, VIRTQ_DESC_BYTES(size), 0x40, &ring->desc) ||
	    !place(memory, avail_bytes, 0x1c4, &ring->avail) ||
	    !place(memory, used_bytes, 0x328, &ring->used)) {
		check_ring_free(ring);
		return false;
	}
	check_ring_clear(ring);
	return true;
}

void check_ring_free(struct check_ring *ring)
{
	free(ring->counts);
	free(ring->taken);
	free(ring->order);
	ring->counts = NULL;
	ring->taken = NULL;
	ring->order = NULL;
	viodma_descriptor_close(&ring->kick_fd);
	viodma_descriptor_close(&ring->call_fd);
	viodma_descriptor_close(&ring->err_fd);
}

static uint32_t position_of(uint16_t position, bool wrap)
{
	return position | (uint32_t)wrap << VIRTQ_PACKED_WRAP_BIT;
}

void check_ring_begin_at(struct check_ring *ring, uint16_t index)
{
	ring->next_avail = ring->next_used = index;
	check_ring_available_index(ring, index);
	store16(ring->used.at + VIRTQ_USED_IDX, index);
}

uint32_t check_ring_base(const struct check_ring *ring)
{
	if (!ring->packed)
		return ring->next_avail;
	return position_of(ring->next_used, ring->used_wrap) << 16 | position_of(ring->next_avail, ring->avail_wrap);
}

/* ---- what is laid out ---- */

void check_ring_table_entry(const struct check_ring *ring, const struct check_place *table, uint32_t where, uint64_t address,
			    uint32_t bytes, uint16_t flags, uint16_t next)
{
	const struct virtq_packed_desc packed = {viodma_le64_of(address), viodma_le32_of(bytes), viodma_le16_of(next),
						 viodma_le16_of(flags)};
	const struct virtq_desc split = {viodma_le64_of(address), viodma_le32_of(bytes), viodma_le16_of(flags),
					 viodma_le16_of(next)};

	if (ring->packed)
		memcpy(table->at + where * sizeof(packed), &packed, sizeof(packed));
	else
		memcpy(table->at + where * sizeof(split), &split, sizeof(split));
}

/* Flags of a packed descriptor that is available. */
static uint16_t available(const struct check_ring *ring, uint32_t where, uint16_t flags)
{
	const bool wrap = ring->next_avail + where >= ring->size ? !ring->avail_wrap : ring->avail_wrap;

	return (uint16_t)(flags | (wrap ? VIRTQ_PACKED_DESC_F_AVAIL : VIRTQ_PACKED_DESC_F_USED));
}

/* All but the first one of a chain are available at once: nobody looks at them before. */
void check_ring_descriptor(struct check_ring *ring, uint32_t where, uint64_t address, uint32_t bytes, uint16_t flags,
			   uint16_t next_or_id)
{
	struct virtq_packed_desc *desc;

	if (!ring->packed) {
		check_ring_table_entry(ring, &ring->desc, where, address, bytes, flags, next_or_id);
		return;
	}
	desc = packed_at(ring, (ring->next_avail + where) % ring->size);
	desc->addr = viodma_le64_of(address);
	desc->len = viodma_le32_of(bytes);
	desc->id = viodma_le16_of(next_or_id);
	if (where)
		store16(&desc->flags, available(ring, where, flags));
	else
		ring->first_flags = available(ring, where, flags);
}

void check_ring_available_index(struct check_ring *ring, uint16_t index)
{
	store16(ring->avail.at + VIRTQ_AVAIL_IDX, index);
}

void check_ring_show(struct check_ring *ring, uint16_t head_or_count)
{
	if (ring->packed) {
		store16(&packed_at(ring, ring->next_avail)->flags, ring->first_flags);
		ring->next_avail = (uint16_t)(ring->next_avail + head_or_count);
		if (ring->next_avail >= ring->size) {
			ring->next_avail = (uint16_t)(ring->next_avail - ring->size);
			ring->avail_wrap = !ring->avail_wrap;
		}
		return;
	}
	store16(ring->avail.at + VIRTQ_AVAIL_RING(ring->next_avail & (ring->size - 1)), head_or_count);
	check_ring_available_index(ring, ++ring->next_avail);
}

void check_ring_kick(struct check_ring *ring)
{
	viodma_eventfd_tick(ring->kick_fd);
}

static uint16_t flags_of(const struct check_buffer *buffer, bool last)
{
	return (uint16_t)((buffer->writes ? VIRTQ_DESC_F_WRITE : 0) | (last ? 0 : VIRTQ_DESC_F_NEXT));
}

/* A chain's entries of a split ring's table adjoin. */
static void mark(struct check_ring *ring, uint32_t head, uint32_t count, bool taken)
{
	for (uint32_t i = 0; i < count; i++)
		ring->taken[(head + i) % ring->size] = taken;
}

/* A head or id that is free, with room for so many descriptors; -1: none. */
static int reserve(struct check_ring *ring, uint32_t count)
{
	uint32_t id = ring->packed ? ring->next_id : ring->next_free % ring->size;

	if (ring->in_flight + count > ring->size)
		return -1;
	if (ring->packed) {
		while (ring->counts[id])
			id = (id + 1) % ring->size;
		ring->next_id = (uint16_t)((id + 1) % ring->size);
	} else {
		for (uint32_t i = 0; i < count; i++)
			if (ring->taken[(id + i) % ring->size])
				return -1; /* what was made available first is not back yet */
		mark(ring, id, count, true);
	}
	ring->counts[id] = (uint16_t)count;
	ring->in_flight += count;
	ring->order[ring->order_to++ % ring->size] = (uint16_t)id;
	return (int)id;
}

int check_ring_add(struct check_ring *ring, const struct check_buffer *buffers, uint32_t count)
{
	const int id = reserve(ring, count);

	if (id < 0)
		return -1;
	for (uint32_t i = 0; i < count; i++) {
		const uint32_t index = (ring->next_free + i) % ring->size;

		check_ring_descriptor(ring, ring->packed ? i : index, buffers[i].address, buffers[i].bytes,
				      flags_of(&buffers[i], i + 1 == count),
				      ring->packed ? (uint16_t)id : (uint16_t)((index + 1) % ring->size));
	}
	ring->next_free += count;
	check_ring_show(ring, ring->packed ? (uint16_t)count : (uint16_t)id);
	return id;
}

int check_ring_add_table(struct check_ring *ring, const struct check_buffer *buffers, uint32_t count,
			 const struct check_place *table, uint64_t table_address)
{
	const int id = reserve(ring, 1);

	if (id < 0)
		return -1;
	for (uint32_t i = 0; i < count; i++)
		check_ring_table_entry(ring, table, i, buffers[i].address, buffers[i].bytes,
				       ring->packed ? flags_of(&buffers[i], true) : flags_of(&buffers[i], i + 1 == count),
				       ring->packed ? 0 : (uint16_t)(i + 1));
	check_ring_descriptor(ring, ring->packed ? 0 : (uint32_t)id, table_address, 16 * count, VIRTQ_DESC_F_INDIRECT,
			      ring->packed ? (uint16_t)id : 0);
	ring->next_free++;
	check_ring_show(ring, ring->packed ? 1 : (uint16_t)id);
	return id;
}

/* ---- what comes back ---- */

/* Packed: the descriptor so many places from the next one. */
static bool is_used(const struct check_ring *ring, uint32_t where)
{
	const uint32_t position = ring->next_used + where;
	const bool wrap = position >= ring->size ? !ring->used_wrap : ring->used_wrap;
	const uint16_t flags = load16(&packed_at(ring, position % ring->size)->flags);

	return !!(flags & VIRTQ_PACKED_DESC_F_AVAIL) == wrap && !!(flags & VIRTQ_PACKED_DESC_F_USED) == wrap;
}

bool check_ring_has_used(const struct check_ring *ring)
{
	if (!ring->packed)
		return load16(ring->used.at + VIRTQ_USED_IDX) != ring->next_used;
	if (ring->batch)
		return true;
	return is_used(ring, 0);
}

static uint16_t waits_first(const struct check_ring *ring, uint32_t nth)
{
	return ring->order[(ring->order_from + nth) % ring->size];
}

static void element_at(const struct check_ring *ring, uint16_t index, struct check_used *used)
{
	struct virtq_used_elem element;

	memcpy(&element, ring->used.at + VIRTQ_USED_RING(index & (ring->size - 1)), sizeof(element));
	*used = (struct check_used){viodma_le32_get(element.id), viodma_le32_get(element.len)};
}

/* A batch has one element, and the next one is behind all of its descriptors, not of the one chain's. */
static bool is_followed(const struct check_ring *ring, uint32_t id)
{
	usleep(MOMENT_US);
	return is_used(ring, ring->counts[id]);
}

/* IN_ORDER: the element names the last chain of a batch; those before it are used, too, with nothing said of their lengths. */
static void first_of_batch(struct check_ring *ring, struct check_used *used)
{
	const uint32_t waiting = ring->order_to - ring->order_from;
	struct check_used last;

	if (!ring->packed) {
		const uint16_t index = load16(ring->used.at + VIRTQ_USED_IDX), count = (uint16_t)(index - ring->next_used);

		element_at(ring, (uint16_t)(index - 1), &last);
		if (count <= waiting && last.id == waits_first(ring, count - 1u) && used->id != waits_first(ring, 0))
			*used = (struct check_used){waits_first(ring, 0), 0};
		return;
	}
	for (uint32_t n = 0; n < waiting && !ring->batch; n++)
		if (used->id == waits_first(ring, n) && (!n || !is_followed(ring, used->id))) {
			ring->batch = n + 1;
			ring->batch_bytes = used->bytes;
		}
	if (ring->batch) {
		ring->batch--;
		*used = (struct check_used){waits_first(ring, 0), ring->batch ? 0 : ring->batch_bytes};
	}
}

bool check_ring_take(struct check_ring *ring, struct check_used *used)
{
	uint32_t count;

	if (!check_ring_has_used(ring))
		return false;
	if (ring->packed) {
		const struct virtq_packed_desc *desc = packed_at(ring, ring->next_used);

		/* Without WRITE nothing was written, and the length is reserved. */
		*used = (struct check_used){viodma_le16_get(desc->id),
					    viodma_le16_get(desc->flags) & VIRTQ_DESC_F_WRITE ? viodma_le32_get(desc->len) : 0};
	} else {
		element_at(ring, ring->next_used, used);
	}
	if (ring->in_order)
		first_of_batch(ring, used);
	if (ring->order_from != ring->order_to)
		ring->order_from++;
	/* A chain that is none takes a place all the same. */
	count = used->id < ring->size && ring->counts[used->id] ? ring->counts[used->id] : 1;
	if (used->id < ring->size) {
		mark(ring, used->id, ring->counts[used->id], false);
		ring->in_flight -= ring->counts[used->id];
		ring->counts[used->id] = 0;
	}
	ring->next_used = (uint16_t)(ring->next_used + (ring->packed ? count : 1));
	if (ring->packed && ring->next_used >= ring->size) {
		ring->next_used = (uint16_t)(ring->next_used - ring->size);
		ring->used_wrap = !ring->used_wrap;
	}
	if (!ring->packed)
		store16(ring->avail.at + VIRTQ_AVAIL_USED_EVENT(ring->size), ring->next_used);
	return true;
}
