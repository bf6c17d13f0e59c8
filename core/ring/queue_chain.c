/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * queue_chain.c - how it works: the straight way of a chain of several buffers, in the ring or in a table, through a calm
 * queue (queue_straight.c).
 *
 * Its buffers are taken while they are of one permission, then while they are of the other. Each descriptor is read once, and
 * is taken, or is in doubt: then the walker goes on with that one, from where the chain had come (= DEV-11). Nothing counts
 * and nothing is in use before all of it is taken. A table is taken if one mapping holds as much of it as it says.
 */
#include "straight.h"

/* Where a chain is: a list in the ring, or in a table. */
struct list {
	struct viodma_shared *at; /* the ring, or the table */
	uint64_t table;		  /* its address */
	uint32_t descriptors;	  /* there are, in the ring or the table */
	const struct viodma_segment *limit; /* so many buffers are beyond doubt, at least 1 */
};

/* How far it was taken. */
struct progress {
	struct viodma_segment *segment; /* the next one */
	struct viodma_piece *piece;
	struct viodma_shared *end; /* of the last piece, if the next one may be part of it */
	uint64_t bytes;
	uint64_t address, rest; /* the descriptor that is next */
	uint32_t place;		/* where it stands; packed ring: its position */
	bool read;		/* it was */
};

enum taken { TAKEN, TURNS, IN_DOUBT };

/* Go on in queue.c from there. */
static VIODMA_SELDOM enum viodma_result pop_rest(struct viodma_queue *queue, struct viodma_request **out,
						 struct viodma_request *request, const struct list *list,
						 const struct progress *progress, const struct straight_sums *sums, bool indirect)
{
	bool known = progress->read;

	viodma_queue_begin(queue, request);
	request->readable_bytes = sums->readable_bytes;
	request->writable_bytes = sums->writable_bytes;
	request->segment_count = (uint16_t)sums->segments;
	request->readable_segments = (uint16_t)sums->readable_segments;
	request->walk_next = (uint16_t)progress->place;
	request->walk_count = sums->segments;
	request->walk_bytes = progress->bytes;
	request->walk_id = request->head;
	if (queue->setup.packed)
		request->count = indirect ? 1 : (uint16_t)sums->segments;
	if (indirect) {
		request->indirect = 1;
		request->table.v = list->table;
		request->table_descriptors = list->descriptors;
	}
	viodma_straight_know(queue, progress->address, progress->rest);
	if (known && !request->count) {
		memcpy(&queue->first, queue->known, sizeof(queue->first));
		known = false;
	}
	return viodma_queue_pop_begun(queue, request, known, out);
}

/* It is somewhere else than the last one that was seen so. */
static INLINE bool look(struct viodma_queue *queue, struct viodma_space_view *view, struct viodma_space_window *window,
			uint64_t address, uint32_t len, enum viodma_permission wanted)
{
	struct viodma_space *space = queue->config.space;
	const uint64_t last = address + (len - 1);

	(void)wanted;
	if (last < address || (!viodma_space_window_steps(space, window, address, last, wanted) &&
			       !viodma_space_window_jumps(space, window, address, last, wanted) &&
			       !viodma_space_window_move(space, window, address, last, wanted)))
		return false;
	viodma_space_view_through(view, window);
	return viodma_space_view_holds(view, viodma_space_view_offset(view, last));
}

/* Buffers of one chain are counted together: all of one permission, or none, have physical addresses. */
static APART bool look_to_read(struct viodma_queue *queue, uint64_t address, uint32_t len, bool first)
{
	const uint32_t identity = viodma_space_view_identity(&queue->readable_view, 1);

	return look(queue, &queue->readable_view, &queue->readable_window, address, len, VIODMA_READ) &&
	       (first || viodma_space_view_identity(&queue->readable_view, 1) == identity);
}

static APART bool look_to_write(struct viodma_queue *queue, uint64_t address, uint32_t len, bool first)
{
	const uint32_t identity = viodma_space_view_identity(&queue->writable_view, 1);

	return look(queue, &queue->writable_view, &queue->writable_window, address, len, VIODMA_WRITE) &&
	       (first || viodma_space_view_identity(&queue->writable_view, 1) == identity);
}

static APART bool look_for_table(struct viodma_queue *queue, uint64_t address, uint32_t len)
{
	struct viodma_space_window window;

	viodma_space_window_empty(&window);
	return look(queue, &queue->table_view, &window, address, len, VIODMA_READ);
}

static INLINE void read_descriptor(struct viodma_shared *at, uint32_t place, uint64_t *address, uint64_t *rest)
{
	viodma_le64 low, high;

	at = viodma_shared_at(at, (size_t)place * sizeof(struct virtq_desc));
	viodma_shared_copy_in(&low, at, sizeof(low));
	viodma_shared_copy_in(&high, viodma_shared_at(at, sizeof(low)), sizeof(high));
	*address = viodma_le64_get(low);
	*rest = viodma_le64_get(high);
}

/* Take its buffers while they are of one permission. Each descriptor is in doubt, or is taken. */
static INLINE enum taken take_buffers(struct viodma_queue *queue, const struct viodma_request *request,
				      const struct list *list, struct progress *at, const bool writable, const bool packed,
				      const bool indirect)
{
	const struct viodma_space_view *view = writable ? &queue->writable_view : &queue->readable_view;

	at->end = NULL;
	for (;;) {
		const uint32_t len = (uint32_t)at->rest, other = (uint32_t)(at->rest >> (packed ? 32 : 48)) & 0xffff;
		const uint32_t flags = (uint32_t)(at->rest >> (packed ? 48 : 32)) & 0xffff;
		struct viodma_shared *memory;
		uint64_t offset, last;

		if ((bool)(flags & VIRTQ_DESC_F_WRITE) != writable)
			return TURNS;
		if (DOUBT(!len))
			return IN_DOUBT;
		if (!(packed && indirect) && DOUBT(flags & VIRTQ_DESC_F_INDIRECT))
			return IN_DOUBT;
		if (packed && !indirect && DOUBT(!viodma_packed_available((uint16_t)flags, (uint16_t)at->place)))
			return IN_DOUBT;
		if (packed && !indirect && !(flags & VIRTQ_DESC_F_NEXT) && DOUBT(other != request->head))
			return IN_DOUBT; /* the last one's id is the chain's */
		offset = viodma_space_view_offset(view, at->address);
		last = offset + (len - 1);
		if (DOUBT(last < offset) || DOUBT(!viodma_space_view_holds(view, last))) {
			const bool first = !at->end;

			if (writable ? !look_to_write(queue, at->address, len, first) :
				       !look_to_read(queue, at->address, len, first))
				return IN_DOUBT;
			offset = viodma_space_view_offset(view, at->address);
		}
		if (DOUBT(at->bytes + len > UINT32_MAX))
			return IN_DOUBT;
		at->bytes += len;
		memory = viodma_space_view_at(view, offset);
		if (memory == at->end) {
			at->piece[-1].len_bytes += len;
		} else {
			at->piece->memory = memory;
			at->piece->len_bytes = len;
			at->piece++;
		}
		at->end = viodma_shared_at(memory, len);
		straight_keep(at->segment++, at->address, len, writable);
		if (packed && indirect) {
			if (++at->place == list->descriptors)
				return TAKEN;
		} else if (!(flags & VIRTQ_DESC_F_NEXT)) {
			return TAKEN;
		} else {
			at->place = packed ? viodma_ring_behind_one(queue, (uint16_t)at->place) : other;
		}
		if (DOUBT(at->segment == list->limit) || (!packed && DOUBT(at->place >= list->descriptors))) {
			at->read = false;
			return IN_DOUBT;
		}
		read_descriptor(list->at, packed && !indirect ? at->place & (VIODMA_RING_WRAP - 1u) : at->place, &at->address,
				&at->rest);
	}
}

/* All of it was taken; its last descriptor stands at `last`. */
static INLINE enum viodma_result hand_out(struct viodma_queue *queue, struct viodma_request **out,
					  struct viodma_request *request, const struct straight_sums sums, uint32_t last,
					  const bool packed, const bool indirect)
{
	straight_fill(queue, request, sums, packed && !indirect ? sums.segments : 1, indirect);
	if (packed) {
		queue->order[queue->next_avail & (VIODMA_RING_WRAP - 1u)] = request->head;
		if (!indirect)
			queue->order[last & (VIODMA_RING_WRAP - 1u)] = request->head;
		queue->next_avail = viodma_ring_behind_one(queue, indirect ? queue->next_avail : (uint16_t)last);
	} else {
		queue->order[queue->next_avail & queue->mask] = request->head;
		queue->next_avail++;
	}
	*out = request;
	return VIODMA_OK;
}

/* Pre: address and rest are the first descriptor's. */
static INLINE enum viodma_result pop_list(struct viodma_queue *queue, struct viodma_request **out,
					  struct viodma_request *request, const struct list list, uint64_t address,
					  uint64_t rest, const bool packed, const bool indirect)
{
	struct progress at = {
		.segment = request->segments, .piece = request->pieces, .address = address, .rest = rest, .read = true,
		.place = packed && !indirect ? queue->next_avail : packed || indirect ? 0 : request->head,
	};
	struct straight_sums sums = {0};
	enum taken taken = take_buffers(queue, request, &list, &at, false, packed, indirect);

	sums.segments = sums.readable_segments = (uint32_t)(at.segment - request->segments);
	sums.pieces = sums.readable_pieces = (uint32_t)(at.piece - request->pieces);
	sums.readable_bytes = (uint32_t)at.bytes;
	if (taken == TAKEN) {
		viodma_space_count(queue->config.space, sums.segments,
				   viodma_space_view_identity(&queue->readable_view, sums.segments));
		return hand_out(queue, out, request, sums, at.place, packed, indirect);
	}
	if (taken == TURNS) {
		taken = take_buffers(queue, request, &list, &at, true, packed, indirect);
		sums.segments = (uint32_t)(at.segment - request->segments);
		sums.pieces = (uint32_t)(at.piece - request->pieces);
		sums.writable_bytes = (uint32_t)at.bytes - sums.readable_bytes;
		if (taken == TAKEN) {
			const uint32_t writable = sums.segments - sums.readable_segments;

			viodma_space_count(queue->config.space, sums.readable_segments,
					   viodma_space_view_identity(&queue->readable_view, sums.readable_segments));
			viodma_space_count(queue->config.space, writable,
					   viodma_space_view_identity(&queue->writable_view, writable));
			return hand_out(queue, out, request, sums, at.place, packed, indirect);
		}
	}
	{ /* in doubt, or readable behind writable; by copies, so that those above need not be in memory */
		const struct list where = list;
		const struct progress so_far = at;
		const struct straight_sums so_many = sums;

		return pop_rest(queue, out, request, &where, &so_far, &so_many, indirect);
	}
}

static inline uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

enum viodma_result viodma_straight_chain_split(struct viodma_queue *queue, struct viodma_request **out,
						struct viodma_request *request, uint64_t address, uint64_t rest)
{
	const uint32_t size = queue->setup.size;
	const struct list list = {queue->desc, 0, size, request->segments + least(size, queue->config.segments_max)};

	return pop_list(queue, out, request, list, address, rest, false, false);
}

enum viodma_result viodma_straight_chain_packed(struct viodma_queue *queue, struct viodma_request **out,
						 struct viodma_request *request, uint64_t address, uint64_t rest)
{
	const uint32_t size = queue->setup.size;
	const struct list list = {queue->desc, 0, size,
				  request->segments + least(size - queue->in_flight, queue->config.segments_max)};

	return pop_list(queue, out, request, list, address, rest, true, false);
}

/* Rest is of the ring's descriptor, which names the table. */
static INLINE enum viodma_result pop_table(struct viodma_queue *queue, struct viodma_request **out,
					   struct viodma_request *request, uint64_t address, uint64_t rest, const bool packed)
{
	const struct viodma_space_view *view = &queue->table_view;
	const uint32_t len = (uint32_t)rest, count = len / (uint32_t)sizeof(struct virtq_desc), size = queue->setup.size;
	const uint64_t flags = rest >> (packed ? 48 : 32);
	uint64_t offset = viodma_space_view_offset(view, address), last = offset + (len - 1), first_address, first_rest;
	struct list list;

	if (DOUBT(!queue->setup.indirect_desc) || DOUBT(flags & VIRTQ_DESC_F_NEXT) ||
	    DOUBT(len % sizeof(struct virtq_desc)) || DOUBT(!count) || DOUBT(count > size))
		goto doubt;
	if (DOUBT(last < offset) || DOUBT(!viodma_space_view_holds(view, last))) {
		if (!look_for_table(queue, address, len))
			goto doubt;
		offset = viodma_space_view_offset(view, address);
	}
	list = (struct list){viodma_space_view_at(view, offset), address, count,
			      request->segments + least(size, queue->config.segments_max)};
	read_descriptor(list.at, 0, &first_address, &first_rest);
	return pop_list(queue, out, request, list, first_address, first_rest, packed, true);
doubt:
	return viodma_straight_doubtful(queue, out, address, len, packed ? (uint32_t)(rest >> 48) | (uint32_t)(rest >> 16 & 0xffff0000) :
							       (uint32_t)(rest >> 32), request->head);
}

enum viodma_result viodma_straight_table_split(struct viodma_queue *queue, struct viodma_request **out,
						struct viodma_request *request, uint64_t address, uint64_t rest)
{
	return pop_table(queue, out, request, address, rest, false);
}

enum viodma_result viodma_straight_table_packed(struct viodma_queue *queue, struct viodma_request **out,
						 struct viodma_request *request, uint64_t address, uint64_t rest)
{
	return pop_table(queue, out, request, address, rest, true);
}
