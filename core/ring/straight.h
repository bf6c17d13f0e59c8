/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * straight.h - what the files of the straight way share: queue_straight.c, chains of one buffer; queue_chain.c, the others.
 */
#ifndef VIODMA_RING_STRAIGHT_H
#define VIODMA_RING_STRAIGHT_H

#include "ring.h"

#define INLINE inline __attribute__((always_inline))
#define APART __attribute__((noinline)) /* so that nobody saves registers for what another way needs */
#define DOUBT(condition) __builtin_expect(!!(condition), 0)

/* What was read last, as it stood there. */
static inline void viodma_straight_know(struct viodma_queue *queue, uint64_t address, uint64_t rest)
{
	queue->known[0] = viodma_le64_of(address);
	queue->known[1] = viodma_le64_of(rest);
}

/* Go on in queue.c with the first descriptor, which was read. flags_other: split, flags and next; packed, flags and id. */
VIODMA_SELDOM enum viodma_result viodma_straight_doubtful(struct viodma_queue *queue, struct viodma_request **out,
							  uint64_t address, uint32_t len, uint32_t flags_other, uint32_t id);

/*
 * Chains whose head is free, by their first descriptor: its second half is `rest`. A chain in the ring, and one in a table,
 * which that descriptor names.
 */
APART enum viodma_result viodma_straight_chain_split(struct viodma_queue *queue, struct viodma_request **out,
						   struct viodma_request *request, uint64_t address, uint64_t rest);
APART enum viodma_result viodma_straight_chain_packed(struct viodma_queue *queue, struct viodma_request **out,
						   struct viodma_request *request, uint64_t address, uint64_t rest);
APART enum viodma_result viodma_straight_table_split(struct viodma_queue *queue, struct viodma_request **out,
						   struct viodma_request *request, uint64_t address, uint64_t rest);
APART enum viodma_result viodma_straight_table_packed(struct viodma_queue *queue, struct viodma_request **out,
						   struct viodma_request *request, uint64_t address, uint64_t rest);

/* Of what was taken. */
struct straight_sums {
	uint32_t readable_bytes, writable_bytes, readable_segments, segments, readable_pieces, pieces;
};

/*
 * Its segments and pieces are there. What only copies have (VIODMA_ACCESS_COPY) is left as it is: a calm queue has none. In
 * the order of the structure, so that what is constant is stored together.
 */
static INLINE void straight_fill(struct viodma_queue *queue, struct viodma_request *request, const struct straight_sums sums, uint32_t count,
			bool indirect)
{
	request->readable_bytes = sums.readable_bytes;
	request->writable_bytes = sums.writable_bytes;
	request->user = NULL;
	request->result = VIODMA_OK;
	request->state = VIODMA_REQUEST_SUBMITTED;
	request->pinned = true;
	request->count = (uint16_t)count;
	request->position = queue->next_avail;
	request->sequence = queue->sequence++;
	request->segment_count = (uint16_t)sums.segments;
	request->readable_segments = (uint16_t)sums.readable_segments;
	request->walked = true;
	request->held = request->resumed = false;
	request->indirect = indirect;
	request->piece_count = sums.pieces;
	request->readable_pieces = sums.readable_pieces;
	queue->in_flight += count;
	queue->submitted++;
	queue->statistics.fetched++;
}

static INLINE void straight_keep(struct viodma_segment *segment, uint64_t address, uint32_t len, bool writable)
{
	segment->bus.v = address;
	segment->len_bytes = len;
	segment->permission = writable ? VIODMA_WRITE : VIODMA_READ;
}

#endif
