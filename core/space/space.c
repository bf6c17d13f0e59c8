/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * space.c - how it works: the only code that turns a bus address into bytes.
 *
 * A translation is one of three look-ups (regions, IOTLB, the caller's translator), behind a last-hit cache that is
 * valid while the space's generation stands still. A buffer is walked extent by extent; every page that misses is
 * asked for in one go, so that a chain waits for one round trip, not for one per page. An access happens only once all
 * of it is translated.
 */
#include <viodma/iotlb.h>
#include <viodma/space.h>

#include "../base/require.h"
#include "../base/shared.h"
#include "access.h"
#include "iotlb_index.h"

void viodma_space_init(struct viodma_space *space, void *storage, uint32_t capacity,
		       const struct viodma_space_events *events)
{
	memset(space, 0, sizeof(*space));
	space->kind = VIODMA_SPACE_CLOSED;
	space->regions = storage;
	if (storage) /* none has no place behind it */
		space->by_user = (struct viodma_region **)(void *)(space->regions + capacity);
	space->region_capacity = capacity;
	space->generation = space->epoch = 1;
	space->pins.next = space->pins.previous = &space->pins;
	if (events)
		space->events = *events;
}

static void set_kind(struct viodma_space *space, enum viodma_space_kind kind)
{
	space->kind = kind;
	if (kind != VIODMA_SPACE_IOTLB)
		space->iotlb = NULL;
	viodma_space_changed(space);
}

void viodma_space_set_closed(struct viodma_space *space)
{
	set_kind(space, VIODMA_SPACE_CLOSED);
}

void viodma_space_set_physical(struct viodma_space *space)
{
	set_kind(space, VIODMA_SPACE_PHYSICAL);
}

void viodma_space_set_iotlb(struct viodma_space *space, struct viodma_iotlb *iotlb)
{
	space->iotlb = iotlb;
	set_kind(space, VIODMA_SPACE_IOTLB);
}

void viodma_space_set_translator(struct viodma_space *space, const struct viodma_translator *translator)
{
	space->translator = *translator;
	set_kind(space, VIODMA_SPACE_TRANSLATOR);
}

void viodma_space_changed(struct viodma_space *space)
{
	space->generation++;
	space->epoch++;
}

void viodma_space_hold_misses(struct viodma_space *space, bool hold)
{
	space->hold_misses = hold;
	if (!hold)
		space->epoch++;
}

void viodma_space_report(struct viodma_space *space, const struct viodma_fault *fault)
{
	space->statistics.faults++;
	if (space->events.fault)
		space->events.fault(space->events.context, fault); /* = DEV-15 */
}

static bool covers(const struct viodma_extent *extent, uint64_t bus)
{
	return bus >= extent->first.v && bus <= extent->last.v;
}

static bool permits(const struct viodma_extent *extent, enum viodma_permission wanted)
{
	return ((unsigned)extent->permission & (unsigned)wanted) == (unsigned)wanted;
}

/* Bus address = physical address (= DEV-4). */
static enum viodma_result translate_physical(const struct viodma_space *space, uint64_t bus,
					     struct viodma_extent *extent)
{
	const struct viodma_region *region = viodma_space_find_phys(space, (viodma_phys){bus});

	if (!region)
		return VIODMA_FAULT_UNMAPPED;
	extent->first.v = region->phys.v;
	extent->last.v = region->phys.v + (region->len_bytes - 1);
	extent->phys = region->phys;
	extent->memory = region->memory;
	extent->permission = VIODMA_READ_WRITE;
	return VIODMA_OK;
}

static enum viodma_result look_up(struct viodma_space *space, viodma_bus bus, enum viodma_permission wanted,
				  struct viodma_extent *extent)
{
	switch (space->kind) {
	case VIODMA_SPACE_IOTLB:
		return viodma_iotlb_translate(space->iotlb, bus, wanted, extent);
	case VIODMA_SPACE_TRANSLATOR:
		return space->translator.translate(space->translator.context, bus, wanted, extent);
	default:
		return VIODMA_FAULT_UNMAPPED;
	}
}

static struct viodma_extent extent_of(const struct viodma_space_cache *cache)
{
	const struct viodma_extent extent = {{cache->first}, {cache->first + cache->span}, {cache->phys}, cache->memory,
					     (enum viodma_permission)(VIODMA_READ_WRITE & ~cache->denied)};

	return extent;
}

/* Which addresses are these? The one place that asks. */
static inline bool physical(const struct viodma_space *space)
{
	bool translated = VIODMA_REQUIRE(DEV_4, space->kind != VIODMA_SPACE_PHYSICAL);

	return VIODMA_REQUIRE(DEV_3, !translated);
}

static inline void remember(struct viodma_space *space, struct viodma_space_cache *cache, uint64_t first, uint64_t last,
			    uint64_t phys, struct viodma_shared *memory, unsigned permission)
{
	cache->generation = space->generation;
	cache->first = first;
	cache->span = last - first;
	cache->memory = memory;
	cache->phys = phys;
	cache->denied = VIODMA_READ_WRITE & ~permission;
	cache->identity = first == phys;
	space->statistics.look_ups++;
}

/* Look an address up, and remember what was found. */
static enum viodma_result fill(struct viodma_space *space, struct viodma_space_cache *cache, viodma_bus bus,
			       enum viodma_permission wanted)
{
	struct viodma_extent extent;
	enum viodma_result result = physical(space) ? translate_physical(space, bus.v, &extent)
						    : look_up(space, bus, wanted, &extent);

	if (result != VIODMA_OK) {
		if (!viodma_result_is_fault(result))
			return result;
		/* Nothing falls back: what no live mapping covers is refused. */
		if (!VIODMA_REQUIRE(DEV_10, false) || translate_physical(space, bus.v, &extent) != VIODMA_OK)
			return result;
	}
	if (!covers(&extent, bus.v))
		return VIODMA_FAULT_UNMAPPED; /* a translator's mistake does not become an access */
	if (!VIODMA_REQUIRE(DEV_9, permits(&extent, wanted)))
		return VIODMA_FAULT_PERMISSION;
	remember(space, cache, extent.first.v, extent.last.v, extent.phys.v, extent.memory, (unsigned)extent.permission);
	return VIODMA_OK;
}

enum viodma_result viodma_space_translate(struct viodma_space *space, struct viodma_space_cache *cache, viodma_bus bus,
					  enum viodma_permission wanted, struct viodma_extent *extent)
{
	struct viodma_space_cache own;
	enum viodma_result result = VIODMA_OK;

	if (!cache)
		result = fill(space, cache = &own, bus, wanted);
	else if (!viodma_space_hit(space, cache, bus, 1, wanted))
		result = fill(space, cache, bus, wanted);
	if (result != VIODMA_OK)
		return result;
	*extent = extent_of(cache);
	viodma_space_count(space, 1, cache->identity);
	return VIODMA_OK;
}

/* Apart, but not seldom: with a translator of the caller's, this is the way. */
static __attribute__((noinline)) struct viodma_shared *find_slowly(struct viodma_space *space,
								    struct viodma_space_cache *cache, viodma_bus bus,
								    uint64_t len_bytes, enum viodma_permission wanted)
{
	return fill(space, cache, bus, wanted) == VIODMA_OK ? viodma_space_hit(space, cache, bus, len_bytes, wanted) : NULL;
}

static inline struct viodma_shared *remember_entry(struct viodma_space *space, struct viodma_space_cache *cache,
						   viodma_bus bus, uint64_t len_bytes,
						   const struct viodma_iotlb_entry *entry)
{
	remember(space, cache, entry->first, entry->last, entry->phys, entry->memory, entry->permission);
	return len_bytes - 1 <= entry->last - bus.v ? viodma_shared_at(entry->memory, bus.v - entry->first) : NULL;
}

/* Apart, so that what follows in sequence need not save registers for it. */
static __attribute__((noinline)) struct viodma_shared *find_elsewhere(struct viodma_space *space,
								       struct viodma_space_cache *cache, viodma_bus bus,
								       uint64_t len_bytes, enum viodma_permission wanted)
{
	const struct viodma_iotlb_entry *entry = iotlb_index_find(space->iotlb, bus, wanted);

	return entry ? remember_entry(space, cache, bus, len_bytes, entry)
		     : find_slowly(space, cache, bus, len_bytes, wanted);
}

struct viodma_shared *viodma_space_find(struct viodma_space *space, struct viodma_space_cache *cache, viodma_bus bus,
					uint64_t len_bytes, enum viodma_permission wanted)
{
	const struct viodma_iotlb_entry *entry;

	if (physical(space) || space->kind != VIODMA_SPACE_IOTLB)
		return find_slowly(space, cache, bus, len_bytes, wanted);
	entry = iotlb_index_behind(space->iotlb, bus, wanted);
	return entry ? remember_entry(space, cache, bus, len_bytes, entry)
		     : find_elsewhere(space, cache, bus, len_bytes, wanted);
}

/* Not in an entry's place, but in the window's own: what regions or a translator say; or in an entry's, if the tree has it. */
static VIODMA_SELDOM bool move_elsewhere(struct viodma_space *space, struct viodma_space_window *window, uint64_t first,
					 uint64_t last, enum viodma_permission wanted)
{
	struct viodma_space_cache found;

	if (fill(space, &found, (viodma_bus){first}, wanted) != VIODMA_OK)
		return false;
	window->own.first = found.first;
	window->own.last = found.first + found.span;
	window->own.memory = found.memory;
	window->own.live = (uint8_t)(1 | found.identity << 1);
	window->at = window->end = &window->own;
	return last <= window->own.last;
}

bool viodma_space_window_move(struct viodma_space *space, struct viodma_space_window *window, uint64_t first, uint64_t last,
			      enum viodma_permission wanted)
{
	struct viodma_iotlb_entry *entry;

	if (physical(space) || space->kind != VIODMA_SPACE_IOTLB)
		return move_elsewhere(space, window, first, last, wanted);
	entry = iotlb_index_find(space->iotlb, (viodma_bus){first}, wanted);
	if (!entry)
		return move_elsewhere(space, window, first, last, wanted);
	window->at = entry;
	window->end = space->iotlb->end - 1;
	space->statistics.look_ups++;
	return last <= entry->last;
}

void viodma_space_part_look(struct viodma_space *space, struct viodma_space_part *part, struct viodma_space_cache *cache,
			    viodma_bus bus, uint64_t len_bytes, enum viodma_permission wanted, unsigned alignment)
{
	struct viodma_shared *memory;

	if (part->tried == space->generation)
		return;
	part->tried = space->generation;
	if (space->events.touch)
		return;
	memory = viodma_space_hit(space, cache, bus, len_bytes, wanted);
	if (!memory)
		memory = viodma_space_find(space, cache, bus, len_bytes, wanted);
	if (!memory || !viodma_shared_aligned(memory, alignment))
		return;
	part->memory = memory;
	part->generation = space->generation;
}

void viodma_space_want(struct viodma_space *space, viodma_bus bus, enum viodma_permission wanted)
{
	if (space->hold_misses)
		return;
	if (space->kind == VIODMA_SPACE_IOTLB)
		viodma_iotlb_want(space->iotlb, bus, wanted);
	else if (space->kind == VIODMA_SPACE_TRANSLATOR && space->translator.want)
		space->translator.want(space->translator.context, bus, wanted);
}

/* How many of `left` bytes (at least 1) from `bus` on the extent holds. */
static uint64_t bytes_in(const struct viodma_extent *extent, uint64_t bus, uint64_t left)
{
	uint64_t behind = extent->last.v - bus;

	return left - 1 <= behind ? left : behind + 1;
}

/* How many of `left` bytes lie in the same page. */
static uint64_t bytes_in_page(uint64_t bus, uint64_t left)
{
	uint64_t page = VIODMA_IOTLB_PAGE_BYTES - bus % VIODMA_IOTLB_PAGE_BYTES;

	return left < page ? left : page;
}

static enum viodma_result refuse(struct viodma_space *space, unsigned queue, uint64_t bus, uint64_t len,
				 enum viodma_permission permission, enum viodma_result reason, viodma_bus *missed)
{
	const struct viodma_fault fault = {queue, {bus}, len, permission, reason};

	*missed = fault.bus;
	viodma_space_report(space, &fault);
	return reason;
}

/*
 * The one loop over a buffer. `visit` gets each translated stretch, in order, but only until something misses; after
 * that the rest is translated just to ask for what misses, too.
 */
enum viodma_result viodma_space_each(struct viodma_space *space, struct viodma_space_cache *cache, unsigned queue,
				     viodma_bus start, uint64_t len_bytes, enum viodma_permission permission,
				     viodma_space_visit visit, void *context, viodma_bus *missed)
{
	enum viodma_result outcome = VIODMA_OK;
	uint64_t bus = start.v, left = len_bytes;
	uint32_t misses = 0;

	if (left == 0)
		return VIODMA_OK;
	if (!VIODMA_REQUIRE(DRV_15, bus + (left - 1) >= bus))
		return refuse(space, queue, bus, left, permission, VIODMA_PEER_ADDRESS_WRAP, missed);
	while (left) {
		struct viodma_extent extent;
		enum viodma_result result = viodma_space_translate(space, cache, (viodma_bus){bus}, permission,
								   &extent);
		uint64_t here;

		if (result == VIODMA_OK) {
			here = bytes_in(&extent, bus, left);
			if (outcome == VIODMA_OK)
				outcome = visit(context, viodma_shared_at(extent.memory, bus - extent.first.v), here);
			if (outcome != VIODMA_OK && outcome != VIODMA_MISS)
				return outcome;
		} else if (result == VIODMA_MISS) {
			viodma_space_want(space, (viodma_bus){bus}, permission);
			missed->v = bus;
			outcome = VIODMA_MISS;
			if (++misses == VIODMA_SPACE_MISSES_MAX || space->hold_misses) /* = DEV-17 */
				return VIODMA_MISS;
			here = bytes_in_page(bus, left);
		} else {
			return refuse(space, queue, bus, left, permission, result, missed);
		}
		bus += here;
		left -= here;
	}
	return outcome;
}

void viodma_space_touch(struct viodma_space *space, struct viodma_space_cache *cache, viodma_bus start,
			uint64_t len_bytes, enum viodma_permission permission)
{
	uint64_t bus = start.v, left = len_bytes;

	if (!space->events.touch)
		return;
	while (left) {
		struct viodma_extent extent;
		uint64_t here;

		if (viodma_space_translate(space, cache, (viodma_bus){bus}, permission, &extent) != VIODMA_OK)
			return;
		here = bytes_in(&extent, bus, left);
		space->events.touch(space->events.context, (viodma_bus){bus},
				    (viodma_phys){extent.phys.v + (bus - extent.first.v)}, here, permission);
		bus += here;
		left -= here;
	}
}

struct gathering {
	struct viodma_piece *pieces;
	uint32_t capacity, count;
	size_t first_len; /* of the last piece there was before, which may have grown */
};

static enum viodma_result gather(void *context, struct viodma_shared *memory, uint64_t len)
{
	struct gathering *gathering = context;

	return viodma_space_gather(gathering->pieces, gathering->capacity, &gathering->count, memory, (size_t)len)
		       ? VIODMA_OK
		       : VIODMA_E_LIMIT;
}

enum viodma_result viodma_space_map(struct viodma_space *space, struct viodma_space_cache *cache, unsigned queue,
				    const struct viodma_segment *segment, struct viodma_piece *pieces,
				    uint32_t capacity, uint32_t *count, viodma_bus *missed)
{
	struct gathering gathering = {pieces, capacity, *count, *count ? pieces[*count - 1].len_bytes : 0};
	enum viodma_result result = viodma_space_each(space, cache, queue, segment->bus, segment->len_bytes,
						      segment->permission, gather, &gathering, missed);

	if (result == VIODMA_OK)
		*count = gathering.count;
	else if (*count)
		pieces[*count - 1].len_bytes = gathering.first_len;
	return result;
}

static enum viodma_result just_look(void *context, struct viodma_shared *memory, uint64_t len)
{
	(void)context;
	(void)memory;
	(void)len;
	return VIODMA_OK;
}

static enum viodma_result copy_in(void *context, struct viodma_shared *memory, uint64_t len)
{
	unsigned char **destination = context;

	viodma_shared_copy_in(*destination, memory, (size_t)len);
	*destination += len;
	return VIODMA_OK;
}

static enum viodma_result copy_out(void *context, struct viodma_shared *memory, uint64_t len)
{
	const unsigned char **source = context;

	viodma_shared_copy_out(memory, *source, (size_t)len);
	*source += len;
	return VIODMA_OK;
}

/* All of it is translated before the first byte is copied; where one extent holds it all, once will do. */
static enum viodma_result copy(struct viodma_space *space, struct viodma_space_cache *cache, unsigned queue,
			       viodma_bus bus, size_t len_bytes, enum viodma_permission permission,
			       viodma_space_visit visit, void *context, viodma_bus *missed)
{
	enum viodma_result result = viodma_space_each(space, cache, queue, bus, len_bytes, permission, just_look, NULL,
						      missed);
	struct viodma_shared *memory;

	if (result != VIODMA_OK || !len_bytes)
		return result;
	viodma_space_touch(space, cache, bus, len_bytes, permission);
	memory = cache ? viodma_space_hit(space, cache, bus, len_bytes, permission) : NULL;
	if (memory)
		return visit(context, memory, len_bytes);
	return viodma_space_each(space, cache, queue, bus, len_bytes, permission, visit, context, missed);
}

enum viodma_result viodma_space_read(struct viodma_space *space, struct viodma_space_cache *cache, unsigned queue,
				     viodma_bus bus, void *destination, size_t len_bytes, viodma_bus *missed)
{
	unsigned char *at = destination;

	return copy(space, cache, queue, bus, len_bytes, VIODMA_READ, copy_in, &at, missed);
}

enum viodma_result viodma_space_write(struct viodma_space *space, struct viodma_space_cache *cache, unsigned queue,
				      viodma_bus bus, const void *source, size_t len_bytes, viodma_bus *missed)
{
	const unsigned char *at = source;

	return copy(space, cache, queue, bus, len_bytes, VIODMA_WRITE, copy_out, &at, missed);
}

struct word {
	struct viodma_shared *at;
	uint64_t bytes;
};

static enum viodma_result take_word(void *context, struct viodma_shared *memory, uint64_t len)
{
	struct word *word = context;

	if (!word->at)
		word->at = memory;
	word->bytes = len;
	return VIODMA_OK;
}

enum viodma_result viodma_space_find_word(struct viodma_space *space, struct viodma_space_cache *cache, unsigned queue,
					  viodma_bus bus, uint32_t bytes, enum viodma_permission permission,
					  struct viodma_shared **word, viodma_bus *missed)
{
	struct word found = {NULL, 0};
	enum viodma_result result = viodma_space_each(space, cache, queue, bus, bytes, permission, take_word, &found,
						      missed);

	if (result != VIODMA_OK)
		return result;
	if (found.bytes != bytes || !viodma_shared_aligned(found.at, bytes))
		return VIODMA_PEER_RING_LAYOUT; /* = DRV-17 */
	*word = found.at;
	return VIODMA_OK;
}
