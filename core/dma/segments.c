/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * segments.c - how it works: a bus range first extends the last segment, as far as it adjoins and limits allow; the
 * rest becomes segments, cut where a limit asks. Taking as much as possible each time needs the fewest segments, so
 * merging never makes more of them than mapping each buffer by itself. Where the maximum and the boundary are multiples
 * of the alignment (domain.c sees to it), what begins at a cut is aligned.
 */
#include "dma.h"

static uint64_t room_before_boundary(const struct viodma_segment_list *list, uint64_t bus)
{
	return list->boundary_bytes ? list->boundary_bytes - (bus & (list->boundary_bytes - 1)) : UINT64_MAX;
}

/* How many of the bytes at bus the last segment can take. */
static uint64_t extension(const struct viodma_segment_list *list, uint32_t longest, uint64_t bus, uint64_t len_bytes)
{
	const struct viodma_segment *last;
	uint64_t room;

	if (!list->count || !bus) /* nothing adjoins the end of the address space */
		return 0;
	last = &list->segments[list->count - 1];
	if (last->bus.v + last->len_bytes != bus)
		return 0;
	/* At a boundary, a segment ends. */
	if (list->boundary_bytes && !(bus & (list->boundary_bytes - 1)))
		return 0;
	room = room_before_boundary(list, bus);
	if (room > longest - last->len_bytes)
		room = longest - last->len_bytes;
	return room < len_bytes ? room : len_bytes;
}

enum viodma_result viodma_segments_put(struct viodma_segment_list *list, viodma_bus bus, uint64_t len_bytes)
{
	uint32_t longest = list->segment_bytes_max ? list->segment_bytes_max : UINT32_MAX;
	uint64_t piece = extension(list, longest, bus.v, len_bytes);

	if (piece)
		list->segments[list->count - 1].len_bytes += (uint32_t)piece;
	for (;;) {
		struct viodma_segment *segment;

		bus.v += piece;
		len_bytes -= piece;
		if (!len_bytes)
			return VIODMA_OK;
		if (list->count == list->capacity)
			return VIODMA_E_LIMIT;
		piece = room_before_boundary(list, bus.v);
		if (piece > longest)
			piece = longest;
		if (piece > len_bytes)
			piece = len_bytes;
		segment = &list->segments[list->count++];
		segment->bus = bus;
		segment->len_bytes = (uint32_t)piece;
		segment->permission = list->permission;
	}
}
