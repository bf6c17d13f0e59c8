/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * raw.h - the DMA layer, compiled out: included before each file of core/ring (and rig.c), it puts nothing in the place
 * of what asks a domain or a space. The rest of the code is the same, line by line.
 *
 * Physical address, bus address and pointer are one number. A map writes segments, which a ring needs in any case, and
 * nothing else; a translation is a cast. That is what virtio is that knows nothing of platforms, and the yardstick.
 */
#ifndef VIODMA_BENCH_RAW_H
#define VIODMA_BENCH_RAW_H

#define VIODMA_BENCH_RAW 1

#include <viodma/dma_debug.h>
#include <viodma/domain.h>
#include <viodma/space.h>

#include "core/base/shared.h"
#include "core/space/access.h"

/* ---- the driver half's ---- */

static inline enum viodma_result raw_segments(const struct viodma_buffer *buffers, uint32_t count,
					      enum viodma_direction direction, struct viodma_segment *segments)
{
	uint32_t i;

	for (i = 0; i < count; i++) {
		segments[i].bus.v = buffers[i].phys.v;
		segments[i].len_bytes = buffers[i].len_bytes;
		segments[i].permission = (enum viodma_permission)direction;
	}
	return VIODMA_OK;
}

static inline enum viodma_result raw_map(struct viodma_mapping *mapping, const struct viodma_buffer *buffers,
					 uint32_t count, enum viodma_direction direction,
					 struct viodma_segment *segments)
{
	mapping->segment_count = count;
	return raw_segments(buffers, count, direction, segments);
}

#define viodma_domain_map(domain, mapping, buffers, count, direction, segments, capacity)                              \
	((void)(capacity), raw_map(mapping, buffers, count, direction, segments))
#define viodma_domain_unmap(mapping, written_bytes) ((void)(mapping), (void)(written_bytes), VIODMA_OK)
#define viodma_domain_map_lean(domain, mapping, buffers, count, direction, segments, capacity, segment_count)           \
	((void)(capacity), (void)(mapping), *(segment_count) = (count), raw_segments(buffers, count, direction, segments))
#define viodma_domain_unmap_lean(domain, mapping, written_bytes)                                                       \
	((void)(domain), (void)(mapping), (void)(written_bytes), VIODMA_OK)
#define viodma_debug_hand_over(mapping) ((void)(mapping), true)

/* ---- the device half's ---- */

static inline struct viodma_shared *raw_at(viodma_bus bus)
{
	return (struct viodma_shared *)(uintptr_t)bus.v;
}

static inline enum viodma_result raw_read(viodma_bus bus, void *destination, size_t len_bytes)
{
	viodma_shared_copy_in(destination, raw_at(bus), len_bytes);
	return VIODMA_OK;
}

static inline enum viodma_result raw_write(viodma_bus bus, const void *source, size_t len_bytes)
{
	viodma_shared_copy_out(raw_at(bus), source, len_bytes);
	return VIODMA_OK;
}

static inline enum viodma_result raw_word(viodma_bus bus, struct viodma_shared **word)
{
	*word = raw_at(bus);
	return VIODMA_OK;
}

static inline enum viodma_result raw_append(const struct viodma_segment *segment, struct viodma_piece *pieces,
					    uint32_t capacity, uint32_t *count)
{
	struct viodma_shared *memory = raw_at(segment->bus);

	if (*count) {
		struct viodma_piece *last = &pieces[*count - 1];

		if (viodma_shared_at(last->memory, last->len_bytes) == memory) {
			last->len_bytes += segment->len_bytes;
			return VIODMA_OK;
		}
	}
	if (*count == capacity)
		return VIODMA_E_LIMIT;
	pieces[*count].memory = memory;
	pieces[*count].len_bytes = segment->len_bytes;
	++*count;
	return VIODMA_OK;
}

static inline enum viodma_result raw_extent(viodma_bus bus, struct viodma_extent *extent)
{
	extent->first = bus;
	extent->last.v = UINT64_MAX;
	extent->phys.v = bus.v;
	extent->memory = raw_at(bus);
	extent->permission = VIODMA_READ_WRITE;
	return VIODMA_OK;
}

#define viodma_space_read(space, cache, queue, bus, destination, len_bytes, missed)                                    \
	((void)(cache), (void)(missed), raw_read(bus, destination, len_bytes))
#define viodma_space_fetch(space, cache, queue, bus, destination, len_bytes, missed)                                   \
	((void)(cache), (void)(missed), raw_read(bus, destination, len_bytes))
#define viodma_space_write(space, cache, queue, bus, source, len_bytes, missed)                                        \
	((void)(cache), (void)(missed), raw_write(bus, source, len_bytes))
#define viodma_space_put(space, cache, queue, bus, source, len_bytes, missed)                                          \
	((void)(cache), (void)(missed), raw_write(bus, source, len_bytes))
#define viodma_space_word(space, cache, queue, bus, bytes, permission, word, missed)                                   \
	((void)(cache), (void)(missed), (void)(bytes), (void)(permission), raw_word(bus, word))
#define viodma_space_map(space, cache, queue, segment, pieces, capacity, count, missed)                                \
	((void)(missed), raw_append(segment, pieces, capacity, count))
#define viodma_space_bind(space, cache, queue, segment, pieces, capacity, count, missed)                               \
	((void)(missed), raw_append(segment, pieces, capacity, count))
#define viodma_space_translate(space, cache, bus, permission, extent)                                                  \
	((void)(space), (void)(permission), raw_extent(bus, extent))
#define viodma_space_hit(space, cache, bus, len_bytes, wanted) ((void)(cache), raw_at(bus))
#define viodma_space_is_identity(cache) 0u
#define viodma_space_count(space, extents, identity) ((void)(space), (void)(identity))
#define viodma_space_find(space, cache, bus, len_bytes, wanted) raw_at(bus)
#define viodma_space_part_holds(space, part) ((void)(space), (void)(part), true)
#define viodma_space_part_at(part, bus, offset) raw_at((viodma_bus){(bus).v + (offset)})
#define viodma_space_enlist(space, user) ((void)(space), (void)(user))
#define viodma_space_dismiss(user) ((void)(user))
#define viodma_space_window_empty(window) ((void)(window))
#define viodma_space_window_holds(window, first, last) ((void)(window), true)
#define viodma_space_window_steps(space, window, first, last, wanted) ((void)(space), (void)(window), true)
#define viodma_space_window_jumps(space, window, first, last, wanted) ((void)(space), (void)(window), (void)(last), true)
#define viodma_space_window_is_identity(window) ((void)(window), 0u)
#define viodma_space_window_move(space, window, first, last, wanted) ((void)(space), (void)(window), true)
#define viodma_space_window_at(window, address) ((void)(window), raw_at((viodma_bus){address}))
#define viodma_space_view_empty(view) ((void)(view))
#define viodma_space_view_through(view, window) ((void)(view), (void)(window))
#define viodma_space_view_offset(view, address) ((void)(view), (address))
#define viodma_space_view_holds(view, last) ((void)(view), (void)(last), true)
#define viodma_space_view_at(view, offset) ((void)(view), raw_at((viodma_bus){offset}))
#define viodma_space_view_identity(view, buffers) ((void)(view), (void)(buffers), 0u)
#define viodma_space_want(space, bus, wanted) ((void)(space), (void)(bus), (void)(wanted))
#define viodma_space_touch(space, cache, start, len_bytes, permission) ((void)(space))

#endif
