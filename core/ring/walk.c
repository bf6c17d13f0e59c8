/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * walk.c - how it works: THE walker. Every chain of every queue of every device type comes through here, so that bounds
 * and loop checks exist once; what differs between split and packed rings is how a descriptor is fetched, and where the
 * next one is.
 *
 * Each descriptor is copied into private memory once, checked there, and becomes a segment (= DEV-11). The bound on a
 * chain is the queue size, counted over the buffers of direct and indirect descriptors, so a loop ends as a chain that
 * is too long (DRV-12). An indirect table that is not translated yet stops the walk; it goes on from the same
 * descriptor later. A miss on the ring's own table starts the chain over, since nothing of it was used yet.
 *
 * A chain with more segments than the device has room for is walked to its end all the same: the last writable segment
 * is kept, because that is where the answer goes.
 */
#include "ring.h"

#include "../base/require.h"

/* Of either layout. */
struct descriptor {
	uint64_t address;
	uint32_t len;
	uint16_t flags, next; /* packed: next is the buffer id */
};

_Static_assert(sizeof(struct virtq_desc) == 2 * sizeof(viodma_le64), "a descriptor of either layout is two words");

/* 16 bytes of the ring's own table, or of the request's indirect one, by their address. */
static VIODMA_SELDOM enum viodma_result find_wire(struct viodma_request *request, viodma_bus bus, void *wire)
{
	struct viodma_queue *queue = request->queue;
	struct viodma_space_cache *cache = request->indirect ? &queue->table_cache : &queue->desc_cache;
	viodma_bus missed = bus;
	enum viodma_result result = viodma_space_fetch(queue->config.space, cache, queue->config.index, bus, wire,
						       sizeof(struct virtq_desc), &missed);

	if (request->indirect) {
		request->wait_bus = missed;
		request->wait_permission = VIODMA_READ;
		return result;
	}
	if (result != VIODMA_OK)
		return viodma_ring_park(queue, result, missed, VIODMA_READ);
	viodma_ring_look(queue, &queue->desc_part);
	return VIODMA_OK;
}

static inline __attribute__((always_inline)) enum viodma_result fetch_wire(struct viodma_request *request,
									    viodma_bus table, uint32_t place, void *wire)
{
	const uint64_t offset = (uint64_t)place * sizeof(struct virtq_desc);
	struct viodma_queue *queue = request->queue;
	const struct viodma_space *space = queue->config.space;
	const viodma_bus bus = {table.v + offset};
	const struct viodma_shared *memory = NULL;

	if (queue->is_known) {
		memcpy(wire, queue->known, sizeof(struct virtq_desc));
		queue->is_known = false;
		return VIODMA_OK;
	}
	if (!request->indirect) {
		if (viodma_space_part_holds(space, &queue->desc_part))
			memory = viodma_space_part_at(&queue->desc_part, table, offset);
	} else if (!space->events.touch) {
		memory = viodma_space_hit(space, &queue->table_cache, bus, sizeof(struct virtq_desc), VIODMA_READ);
	}
	if (!memory)
		return find_wire(request, bus, wire);
	viodma_shared_copy_in(wire, memory, sizeof(struct virtq_desc));
	return VIODMA_OK;
}

static enum viodma_result fetch_split(struct viodma_request *request, struct descriptor *descriptor)
{
	const viodma_bus table = request->indirect ? request->table : request->queue->setup.desc;
	struct virtq_desc wire;
	enum viodma_result result = fetch_wire(request, table, request->walk_next, &wire);

	if (result != VIODMA_OK)
		return result;
	descriptor->address = viodma_le64_get(wire.addr);
	descriptor->len = viodma_le32_get(wire.len);
	descriptor->flags = viodma_le16_get(wire.flags);
	descriptor->next = viodma_le16_get(wire.next);
	return VIODMA_OK;
}

/* The next descriptor of a chain of the ring, whose first one has been fetched already; or the record has them. */
static enum viodma_result fetch_ring(struct viodma_request *request, struct virtq_packed_desc *wire)
{
	struct viodma_queue *queue = request->queue;
	enum viodma_result result;

	if (!VIODMA_REQUIRE(DRV_24, queue->in_flight + request->count < queue->setup.size))
		return VIODMA_PEER_DESCRIPTOR;
	if (queue->resuming) {
		result = viodma_record_fetch(request, wire);
		if (result != VIODMA_OK)
			return result;
	} else if (!request->count) {
		*wire = queue->first;
	} else {
		result = fetch_wire(request, queue->setup.desc, viodma_ring_place(queue, request->walk_next), wire);
		if (result != VIODMA_OK)
			return result;
		if (!VIODMA_REQUIRE(DRV_24, viodma_packed_available(viodma_le16_get(wire->flags), request->walk_next)))
			return VIODMA_PEER_DESCRIPTOR;
	}
	if (queue->config.record && !queue->resuming)
		queue->raw[request->count] = *wire;
	request->count++;
	request->walk_id = queue->resuming ? request->head : viodma_le16_get(wire->id); /* the last one's counts */
	return VIODMA_OK;
}

static enum viodma_result fetch_packed(struct viodma_request *request, struct descriptor *descriptor)
{
	struct virtq_packed_desc wire;
	enum viodma_result result = request->indirect ? fetch_wire(request, request->table, request->walk_next, &wire)
						      : fetch_ring(request, &wire);

	if (result != VIODMA_OK)
		return result;
	descriptor->address = viodma_le64_get(wire.addr);
	descriptor->len = viodma_le32_get(wire.len);
	descriptor->flags = viodma_le16_get(wire.flags);
	if (request->indirect)
		descriptor->flags &= VIRTQ_DESC_F_WRITE; /* the others mean nothing in a table */
	return VIODMA_OK;
}

/* Where the chain goes on behind a buffer. False: it ends there. */
static bool goes_on(struct viodma_request *request, const struct descriptor *descriptor)
{
	if (!request->queue->setup.packed)
		request->walk_next = descriptor->next;
	else if (request->indirect)
		return ++request->walk_next < request->table_descriptors;
	else
		request->walk_next = viodma_ring_behind(request->queue, request->walk_next, 1);
	return descriptor->flags & VIRTQ_DESC_F_NEXT;
}

/* Go on in an indirect table. */
static enum viodma_result enter_table(struct viodma_request *request, const struct descriptor *descriptor)
{
	const struct viodma_queue *queue = request->queue;
	uint32_t count = descriptor->len / (uint32_t)sizeof(struct virtq_desc);

	if (!VIODMA_REQUIRE(DRV_14, queue->setup.indirect_desc && !(descriptor->flags & VIRTQ_DESC_F_NEXT)))
		return VIODMA_PEER_INDIRECT_FLAGS;
	if (!VIODMA_REQUIRE(DRV_14, request->count <= 1)) /* packed: a list is of one kind */
		return VIODMA_PEER_INDIRECT_FLAGS;
	if (request->indirect) {
		if (!VIODMA_REQUIRE(DRV_14, false))
			return VIODMA_PEER_INDIRECT_NESTED;
	}
	if (!VIODMA_REQUIRE(DRV_14, descriptor->len % sizeof(struct virtq_desc) == 0 && count >= 1 &&
					    count <= queue->setup.size))
		return VIODMA_PEER_INDIRECT_LENGTH;
	if (!VIODMA_REQUIRE(DRV_15, descriptor->address + (descriptor->len - 1) >= descriptor->address))
		return VIODMA_PEER_ADDRESS_WRAP;
	request->indirect = 1;
	request->table.v = descriptor->address;
	request->table_descriptors = count;
	request->walk_next = 0;
	return VIODMA_OK;
}

static void keep_segment(struct viodma_request *request, const struct viodma_segment *segment)
{
	uint32_t most = request->queue->config.segments_max;

	if (request->segment_count == most) {
		if (segment->permission == VIODMA_WRITE && request->readable_segments == most)
			request->readable_segments--;
		request->result = VIODMA_E_LIMIT;
		request->segments[most - 1] = *segment;
		return;
	}
	request->segments[request->segment_count++] = *segment;
	if (segment->permission == VIODMA_READ)
		request->readable_segments++;
}

static enum viodma_result add_buffer(struct viodma_request *request, const struct descriptor *descriptor)
{
	const bool writable = descriptor->flags & VIRTQ_DESC_F_WRITE;
	const struct viodma_segment segment = {{descriptor->address}, descriptor->len,
					       writable ? VIODMA_WRITE : VIODMA_READ};

	if (!VIODMA_REQUIRE(DRV_15, descriptor->len != 0))
		return VIODMA_PEER_LENGTH_ZERO;
	if (!VIODMA_REQUIRE(DRV_15, descriptor->address + (descriptor->len - 1) >= descriptor->address))
		return VIODMA_PEER_ADDRESS_WRAP;
	if (!VIODMA_REQUIRE(DRV_13, writable || !request->writable_bytes))
		return VIODMA_PEER_CHAIN_ORDER;
	request->walk_bytes += descriptor->len;
	if (!VIODMA_REQUIRE(DRV_12, request->walk_bytes <= (uint64_t)UINT32_MAX + 1))
		return VIODMA_PEER_CHAIN_BYTES;
	if (request->walk_bytes > UINT32_MAX) {
		keep_segment(request, &segment);
		request->result = VIODMA_E_LIMIT; /* 2^32 to the byte: legal, and one more than we count to */
		return VIODMA_OK;
	}
	keep_segment(request, &segment);
	if (writable)
		request->writable_bytes += descriptor->len;
	else
		request->readable_bytes += descriptor->len;
	return VIODMA_OK;
}

enum viodma_result viodma_walk_chain(struct viodma_request *request)
{
	const uint32_t size = request->queue->setup.size;
	const bool packed = request->queue->setup.packed;

	for (;;) {
		struct descriptor descriptor = {0};
		enum viodma_result result;

		if (!packed && !VIODMA_REQUIRE(DRV_11, request->walk_next <
							       (request->indirect ? request->table_descriptors : size)))
			return VIODMA_PEER_HEAD;
		if (request->walk_count == size) {
			if (!VIODMA_REQUIRE(DRV_12, false))
				return VIODMA_PEER_CHAIN_LENGTH;
			return VIODMA_OK;
		}
		result = packed ? fetch_packed(request, &descriptor) : fetch_split(request, &descriptor);
		if (result != VIODMA_OK)
			return result;
		if (descriptor.flags & VIRTQ_DESC_F_INDIRECT) {
			result = enter_table(request, &descriptor);
			if (result != VIODMA_OK)
				return result;
			continue;
		}
		result = add_buffer(request, &descriptor);
		if (result != VIODMA_OK)
			return result;
		request->walk_count++;
		if (!goes_on(request, &descriptor))
			return VIODMA_OK;
	}
}
