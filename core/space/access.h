/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * access.h - what core/ring needs from core/space beyond the public contract.
 */
#ifndef VIODMA_SPACE_ACCESS_H
#define VIODMA_SPACE_ACCESS_H

#include <viodma/iotlb.h>
#include <viodma/space.h>

#include "../base/shared.h"
#include "iotlb_index.h"

/* What happens seldom, so that what happens always need not save registers for it. */
#define VIODMA_SELDOM __attribute__((noinline, cold))

/*
 * The hit path, inline: what a last hit covers as a whole costs a comparison of generations, two of addresses, and one of
 * permissions. Anything else, a miss or a fault, an access that spans extents, an owner who wants to be told of what is
 * touched, goes the long way, which is the functions of viodma/space.h.
 */

/*
 * The memory of a whole access, or NULL: nothing is known, go the long way. len_bytes is at least 1; what it answers does
 * not wrap, since an extent does not. Not counted (viodma_space_count).
 */
static inline struct viodma_shared *viodma_space_hit(const struct viodma_space *space,
						     const struct viodma_space_cache *cache, viodma_bus bus,
						     uint64_t len_bytes, enum viodma_permission wanted)
{
	const uint64_t offset = bus.v - cache->first;

	if (cache->generation != space->generation || offset > cache->span || len_bytes - 1 > cache->span - offset ||
	    (cache->denied & (unsigned)wanted))
		return NULL;
	return viodma_shared_at(cache->memory, offset);
}

/* 1: the last hit is of addresses that are physical ones; else 0. */
static inline uint32_t viodma_space_is_identity(const struct viodma_space_cache *cache)
{
	return cache->identity;
}

/* So many extents of buffers were handed out, of which so many had physical addresses. */
static inline void viodma_space_count(struct viodma_space *space, uint32_t extents, uint32_t identity)
{
	space->statistics.translations += extents;
	__asm__ volatile("" : : : "memory"); /* two additions are less work than a vector of two */
	space->statistics.identity_translations += identity;
}

/* ---- parts of a ring ---- */

/* Is all of it where `memory` says? */
static inline bool viodma_space_part_holds(const struct viodma_space *space, const struct viodma_space_part *part)
{
	return part->generation == space->generation;
}

/* The memory at an offset of it. Pre: it holds. (The address is for those who have no parts.) */
static inline struct viodma_shared *viodma_space_part_at(const struct viodma_space_part *part, viodma_bus part_bus,
							 uint64_t offset)
{
	(void)part_bus;
	return viodma_shared_at(part->memory, offset);
}

/*
 * An access to a part has succeeded: does one extent hold all of it, aligned? Once for each generation; never where the
 * owner wants to be told of what is touched.
 */
void viodma_space_part_look(struct viodma_space *space, struct viodma_space_part *part, struct viodma_space_cache *cache,
			    viodma_bus bus, uint64_t len_bytes, enum viodma_permission wanted, unsigned alignment);

/* Forget that it was tried: something may be translatable that was not. */
static inline void viodma_space_part_retry(struct viodma_space_part *part)
{
	part->tried = 0;
}

/* ---- windows: a last hit for buffers of one permission, of a queue that has seen that nothing was withdrawn ---- */

static inline void viodma_space_window_empty(struct viodma_space_window *window)
{
	window->own.first = 1;
	window->own.last = 0;
	window->at = window->end = &window->own;
}

/* Does it hold first..last? Pre: first <= last. */
static inline bool viodma_space_window_holds(const struct viodma_space_window *window, uint64_t first, uint64_t last)
{
	return first >= window->at->first && last <= window->at->last;
}

/* Or does the entry behind it, so that the window goes there? */
static inline bool viodma_space_window_steps(struct viodma_space *space, struct viodma_space_window *window, uint64_t first,
					     uint64_t last, enum viodma_permission wanted)
{
	struct viodma_iotlb_entry *entry = window->at + 1;

	if (window->at == window->end || first < entry->first || last > entry->last || !(entry->permission & (unsigned)wanted))
		return false;
	window->at = entry;
	if (!entry->used_lately)
		entry->used_lately = 1; /* a line that is only read stays as it is */
	space->iotlb->statistics.hits++;
	space->statistics.look_ups++;
	return true;
}

/* Or the entry that its address leads to at once? */
static inline bool viodma_space_window_jumps(struct viodma_space *space, struct viodma_space_window *window, uint64_t first,
					     uint64_t last, enum viodma_permission wanted)
{
	struct viodma_iotlb *iotlb = space->iotlb;
	struct viodma_iotlb_entry *entry;
	struct iotlb_home home;

	if (space->kind != VIODMA_SPACE_IOTLB)
		return false;
	home = iotlb_home(iotlb, first);
	entry = iotlb_hinted(iotlb, home.entry->hints[home.hint]);
	if (first < entry->first || last > entry->last || !(entry->permission & (unsigned)wanted))
		return false;
	window->at = entry;
	window->end = iotlb->end - 1;
	if (!entry->used_lately)
		entry->used_lately = 1;
	iotlb->statistics.hits++;
	space->statistics.look_ups++;
	return true;
}

/* The memory of an address that it holds. */
static inline struct viodma_shared *viodma_space_window_at(const struct viodma_space_window *window, uint64_t address)
{
	return viodma_shared_at(window->at->memory, address - window->at->first);
}

/* 1: bus addresses in it are physical ones, too; else 0. */
static inline uint32_t viodma_space_window_is_identity(const struct viodma_space_window *window)
{
	return window->at->live >> 1;
}

/* Look first..last up. True: the window holds it now. False: not known, refused, or in several extents; nothing was asked. */
bool viodma_space_window_move(struct viodma_space *space, struct viodma_space_window *window, uint64_t first, uint64_t last,
			      enum viodma_permission wanted);

/* ---- views: where a window was last, by value: what holds for a chain's buffers is not worked out for each of them ---- */

static inline void viodma_space_view_empty(struct viodma_space_view *view)
{
	view->bytes = 0;
}

static inline void viodma_space_view_through(struct viodma_space_view *view, const struct viodma_space_window *window)
{
	const uint64_t span = window->at->last - window->at->first;

	view->first = window->at->first;
	view->bytes = span == UINT64_MAX ? span : span + 1; /* of everything there is the last byte is not seen */
	view->memory = window->at->memory;
	view->identity = -viodma_space_window_is_identity(window);
}

/* From where it begins; an address before that is far behind it. */
static inline uint64_t viodma_space_view_offset(const struct viodma_space_view *view, uint64_t address)
{
	return address - view->first;
}

/* Does it hold what ends at an offset of it? (With a beginning that is not behind that.) */
static inline bool viodma_space_view_holds(const struct viodma_space_view *view, uint64_t last)
{
	return last < view->bytes;
}

/* Pre: it holds that. */
static inline struct viodma_shared *viodma_space_view_at(const struct viodma_space_view *view, uint64_t offset)
{
	return viodma_shared_at(view->memory, offset);
}

/* How many of so many buffers in it have physical addresses: all, or none. */
static inline uint32_t viodma_space_view_identity(const struct viodma_space_view *view, uint32_t buffers)
{
	return buffers & view->identity;
}

/* ---- pins ---- */

/* Somebody who holds on to memory by a record of his own, from now on, and no more. Both may be said twice. */
void viodma_space_enlist(struct viodma_space *space, struct viodma_space_user *user);
void viodma_space_dismiss(struct viodma_space_user *user);

/* Does any of these overlap? */
bool viodma_space_segments_overlap(const struct viodma_segment *segments, uint32_t count, uint64_t first, uint64_t last);
bool viodma_space_pieces_overlap(const struct viodma_piece *pieces, uint32_t count, uint64_t first, uint64_t last);

/* viodma_space_in_use, of the memory as it lies in this process. */
bool viodma_space_memory_in_use(const struct viodma_space *space, uint64_t first, uint64_t last);

/* ---- accesses ---- */

/* viodma_space_read. */
static inline enum viodma_result viodma_space_fetch(struct viodma_space *space, struct viodma_space_cache *cache,
						    unsigned queue, viodma_bus bus, void *destination, size_t len_bytes,
						    viodma_bus *missed)
{
	const struct viodma_shared *memory = viodma_space_hit(space, cache, bus, len_bytes, VIODMA_READ);

	if (!memory || space->events.touch)
		return viodma_space_read(space, cache, queue, bus, destination, len_bytes, missed);
	viodma_shared_copy_in(destination, memory, len_bytes);
	return VIODMA_OK;
}

/* viodma_space_write. */
static inline enum viodma_result viodma_space_put(struct viodma_space *space, struct viodma_space_cache *cache,
						  unsigned queue, viodma_bus bus, const void *source, size_t len_bytes,
						  viodma_bus *missed)
{
	struct viodma_shared *memory = viodma_space_hit(space, cache, bus, len_bytes, VIODMA_WRITE);

	if (!memory || space->events.touch)
		return viodma_space_write(space, cache, queue, bus, source, len_bytes, missed);
	viodma_shared_copy_out(memory, source, len_bytes);
	return VIODMA_OK;
}

/* Append memory to pieces; what adjoins the last of them makes it longer. False: there is no room. */
static inline bool viodma_space_gather(struct viodma_piece *pieces, uint32_t capacity, uint32_t *count,
				       struct viodma_shared *memory, size_t len_bytes)
{
	if (*count) {
		struct viodma_piece *last = &pieces[*count - 1];

		if (viodma_shared_at(last->memory, last->len_bytes) == memory) {
			last->len_bytes += len_bytes;
			return true;
		}
	}
	if (*count == capacity)
		return false;
	pieces[*count].memory = memory;
	pieces[*count].len_bytes = len_bytes;
	++*count;
	return true;
}

/* Look it up, then as viodma_space_hit. NULL: not known, refused, or in several extents; viodma_space_map says which. */
struct viodma_shared *viodma_space_find(struct viodma_space *space, struct viodma_space_cache *cache, viodma_bus bus,
					uint64_t len_bytes, enum viodma_permission wanted);

/* viodma_space_map. */
static inline enum viodma_result viodma_space_bind(struct viodma_space *space, struct viodma_space_cache *cache,
						   unsigned queue, const struct viodma_segment *segment,
						   struct viodma_piece *pieces, uint32_t capacity, uint32_t *count,
						   viodma_bus *missed)
{
	const uint32_t len = segment->len_bytes;
	struct viodma_shared *memory =
		len ? viodma_space_hit(space, cache, segment->bus, len, segment->permission) : NULL;

	if (!memory && len)
		memory = viodma_space_find(space, cache, segment->bus, len, segment->permission);
	if (!memory)
		return viodma_space_map(space, cache, queue, segment, pieces, capacity, count, missed);
	if (!viodma_space_gather(pieces, capacity, count, memory, len))
		return VIODMA_E_LIMIT;
	viodma_space_count(space, 1, cache->identity);
	return VIODMA_OK;
}

/* ---- the long way ---- */

typedef enum viodma_result (*viodma_space_visit)(void *context, struct viodma_shared *memory, uint64_t len_bytes);

/* Visit the translated stretches of a buffer in order. Results as viodma_space_map, or the first other one of visit. */
enum viodma_result viodma_space_each(struct viodma_space *space, struct viodma_space_cache *cache, unsigned queue,
				     viodma_bus start, uint64_t len_bytes, enum viodma_permission permission,
				     viodma_space_visit visit, void *context, viodma_bus *missed);

/* Tell the owner that these bytes, which translate, are about to be used. */
void viodma_space_touch(struct viodma_space *space, struct viodma_space_cache *cache, viodma_bus start,
			uint64_t len_bytes, enum viodma_permission permission);

/* viodma_space_word, when the last hit does not know. */
VIODMA_SELDOM enum viodma_result viodma_space_find_word(struct viodma_space *space, struct viodma_space_cache *cache, unsigned queue,
					  viodma_bus bus, uint32_t bytes, enum viodma_permission permission,
					  struct viodma_shared **word, viodma_bus *missed);

/*
 * The memory of one aligned ring word of 2 or 4 bytes. VIODMA_PEER_RING_LAYOUT: the platform mapped it to an address that
 * is not, so that it cannot be read or written in one go.
 */
static inline enum viodma_result viodma_space_word(struct viodma_space *space, struct viodma_space_cache *cache,
						   unsigned queue, viodma_bus bus, uint32_t bytes,
						   enum viodma_permission permission, struct viodma_shared **word,
						   viodma_bus *missed)
{
	*word = viodma_space_hit(space, cache, bus, bytes, permission);
	if (*word && viodma_shared_aligned(*word, bytes))
		return VIODMA_OK;
	return viodma_space_find_word(space, cache, queue, bus, bytes, permission, word, missed);
}

#endif
