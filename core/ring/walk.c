/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * walk.c - how it works: THE walker. Every chain of every queue of every device type comes through here, so that bounds
 * and loop checks exist once.
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

#include <viodma/wire/ring.h>

#include "../base/require.h"
#include "../space/access.h"

struct descriptor {
	uint64_t address;
	uint32_t len;
	uint16_t flags, next;
};

static enum viodma_result fetch(struct viodma_request *request, struct descriptor *descriptor)
{
	struct viodma_queue *queue = request->queue;
	viodma_bus table = request->indirect ? request->table : queue->setup.desc;
	struct viodma_space_cache *cache = request->indirect ? &queue->buffer_cache : &queue->desc_cache;
	viodma_bus bus = {table.v + (uint64_t)request->walk_next * sizeof(struct virtq_desc)}, missed = bus;
	struct virtq_desc wire;
	enum viodma_result result = viodma_space_fetch(queue->config.space, cache, queue->config.index, bus, &wire,
						       sizeof(wire), &missed);

	if (result != VIODMA_OK) {
		if (!request->indirect)
			return viodma_split_park_ring(queue, result, missed, VIODMA_READ);
		request->wait_bus = missed;
		request->wait_permission = VIODMA_READ;
		return result;
	}
	descriptor->address = viodma_le64_get(wire.addr);
	descriptor->len = viodma_le32_get(wire.len);
	descriptor->flags = viodma_le16_get(wire.flags);
	descriptor->next = viodma_le16_get(wire.next);
	return VIODMA_OK;
}

/* Go on in an indirect table. */
static enum viodma_result enter_table(struct viodma_request *request, const struct descriptor *descriptor)
{
	const struct viodma_queue *queue = request->queue;
	uint32_t count = descriptor->len / (uint32_t)sizeof(struct virtq_desc);

	if (!VIODMA_REQUIRE(DRV_14, queue->setup.indirect_desc && !(descriptor->flags & VIRTQ_DESC_F_NEXT)))
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

	if (request->pin.segment_count == most) {
		if (segment->permission == VIODMA_WRITE && request->readable_segments == most)
			request->readable_segments--;
		request->result = VIODMA_E_LIMIT;
		request->segments[most - 1] = *segment;
		return;
	}
	request->segments[request->pin.segment_count++] = *segment;
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

	for (;;) {
		struct descriptor descriptor = {0};
		enum viodma_result result;

		if (!VIODMA_REQUIRE(DRV_11, request->walk_next < (request->indirect ? request->table_descriptors : size)))
			return VIODMA_PEER_HEAD;
		if (request->walk_count == size) {
			if (!VIODMA_REQUIRE(DRV_12, false))
				return VIODMA_PEER_CHAIN_LENGTH;
			return VIODMA_OK;
		}
		result = fetch(request, &descriptor);
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
		if (!(descriptor.flags & VIRTQ_DESC_F_NEXT))
			return VIODMA_OK;
		request->walk_next = descriptor.next;
	}
}
