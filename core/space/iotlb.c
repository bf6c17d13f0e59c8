/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * iotlb.c - how it works: entries live in the caller's array, linked into a tree (iotlb_tree.c) or into a list of free
 * ones. Where an entry is put is where it will be looked for (iotlb_index.h); the tree knows all of them, and their order.
 * A clock hand runs over the array when one is needed and none is free: an entry used since the hand last came by
 * is spared once. Evicting is safe at any time, even under I/O in flight: a revocation compares address ranges with
 * what is pinned, not with entries; and a generation that stands still only means that the platform has not withdrawn
 * anything.
 *
 * Granting: an update cuts away what it overlaps (keeping the parts that stick out), then adds one entry per region its
 * memory spans. If it answers questions, it grants what they asked for, no more, in addition to what the same mapping
 * was granted before: a platform that answers each question with just what it asked must not take away the last answer.
 */
#include <viodma/iotlb.h>
#include <viodma/port.h>

#include "../base/require.h"
#include "iotlb_index.h"
#include "iotlb_misses.h"

#define LEAST_ENTRIES 8u

uint32_t viodma_iotlb_least_capacity(uint32_t queue_size, uint64_t request_bytes, uint32_t segments)
{
	/* Descriptors, available and used ring: 16, 2 and 8 bytes each; every part may start inside a page. */
	uint64_t ring_pages = (uint64_t)queue_size * 26 / VIODMA_IOTLB_PAGE_BYTES + 6;
	uint64_t request_pages = request_bytes / VIODMA_IOTLB_PAGE_BYTES + 2 * (uint64_t)segments;
	uint64_t least = ring_pages + request_pages;

	return least < UINT32_MAX ? (uint32_t)least : UINT32_MAX;
}

static void free_everything(struct viodma_iotlb *iotlb)
{
	iotlb->root = iotlb->entry_count = iotlb->hand = 0;
	viodma_iotlb_index_init(iotlb);
	iotlb->statistics.reachable_bytes = 0;
	viodma_iotlb_misses_init(iotlb);
}

enum viodma_result viodma_iotlb_init(struct viodma_iotlb *iotlb, const struct viodma_iotlb_config *config)
{
	if (!config->space || !config->entries || !config->misses || config->capacity < LEAST_ENTRIES ||
	    config->capacity == UINT32_MAX || config->miss_capacity < 8 ||
	    (config->miss_capacity & (config->miss_capacity - 1)))
		return VIODMA_E_INVALID;
	memset(iotlb, 0, sizeof(*iotlb));
	iotlb->config = *config;
	free_everything(iotlb);
	return VIODMA_OK;
}

static uint64_t span(const struct viodma_iotlb_entry *entry)
{
	return entry->last - entry->first + 1;
}

static void tell_revoked(const struct viodma_iotlb *iotlb, uint64_t first, uint64_t last)
{
	const struct viodma_space_events *events = &iotlb->config.space->events;

	if (events->revoke)
		events->revoke(events->context, (viodma_bus){first}, (viodma_bus){last});
}

/* Out of the tree, into the list of free ones. */
static void drop(struct viodma_iotlb *iotlb, uint32_t link)
{
	struct viodma_iotlb_entry *entry = iotlb_entry(iotlb, link);

	iotlb->statistics.reachable_bytes -= span(entry);
	iotlb->entry_count--;
	viodma_iotlb_index_counts(iotlb, entry->first, entry->last, false);
	viodma_iotlb_tree_remove(iotlb, link);
	viodma_iotlb_index_free(iotlb, link);
}

/*
 * A free entry for a mapping from `first` on; if need be, one not used since the hand last came by is evicted. Ends: the
 * second round spares none.
 */
static uint32_t take(struct viodma_iotlb *iotlb, uint64_t first)
{
	uint32_t link;

	while (!iotlb->free_list) {
		struct viodma_iotlb_entry *entry;

		link = iotlb->hand + 1;
		iotlb->hand = link % iotlb->config.capacity;
		entry = iotlb_entry(iotlb, link);
		if (entry->used_lately) {
			entry->used_lately = 0;
			continue;
		}
		tell_revoked(iotlb, entry->first, entry->last);
		drop(iotlb, link);
		iotlb->statistics.evictions++;
		viodma_space_changed(iotlb->config.space); /* a last hit must not outlive it: the next grant does not know of it */
	}
	return viodma_iotlb_index_take(iotlb, first);
}

static void add(struct viodma_iotlb *iotlb, const struct viodma_extent *extent)
{
	const uint32_t link = take(iotlb, extent->first.v);
	struct viodma_iotlb_entry *entry = iotlb_entry(iotlb, link);

	entry->first = extent->first.v;
	entry->last = extent->last.v;
	entry->memory = extent->memory;
	entry->phys = extent->phys.v;
	entry->permission = (uint8_t)extent->permission;
	entry->used_lately = 1;
	entry->live = (uint8_t)(1 | (entry->first == entry->phys) << 1);
	viodma_iotlb_tree_insert(iotlb, link);
	iotlb->entry_count++;
	viodma_iotlb_index_counts(iotlb, entry->first, entry->last, true);
	iotlb->statistics.reachable_bytes += span(entry);
	if (iotlb->statistics.reachable_bytes > iotlb->statistics.reachable_bytes_peak)
		iotlb->statistics.reachable_bytes_peak = iotlb->statistics.reachable_bytes;
}

static struct viodma_extent extent_of(const struct viodma_iotlb_entry *entry)
{
	struct viodma_extent extent = {{entry->first}, {entry->last}, {entry->phys}, entry->memory,
				       (enum viodma_permission)entry->permission};

	return extent;
}

/* The entry from `first` on: what lies before is cut away. Order in the tree stays what it was. */
static void cut_front(struct viodma_iotlb *iotlb, struct viodma_iotlb_entry *entry, uint64_t first)
{
	uint64_t cut = first - entry->first;

	iotlb->statistics.reachable_bytes -= cut;
	viodma_iotlb_index_counts(iotlb, entry->first, entry->last, false);
	viodma_iotlb_index_counts(iotlb, first, entry->last, true);
	entry->first = first;
	entry->memory = viodma_shared_at(entry->memory, cut);
	entry->phys += cut;
}

/* No entry maps first..last any more. True if one did. */
static bool cut_out(struct viodma_iotlb *iotlb, uint64_t first, uint64_t last)
{
	bool any = false;
	uint32_t link;

	while ((link = viodma_iotlb_tree_at_or_after(iotlb, first)) != 0) {
		struct viodma_iotlb_entry *entry = iotlb_entry(iotlb, link);

		if (entry->first > last)
			break;
		any = true;
		if (entry->first < first) {
			struct viodma_extent tail = extent_of(entry);

			iotlb->statistics.reachable_bytes -= entry->last - first + 1;
			viodma_iotlb_index_counts(iotlb, entry->first, entry->last, false);
			viodma_iotlb_index_counts(iotlb, entry->first, first - 1, true);
			entry->last = first - 1;
			if (tail.last.v > last) {
				/* It sticks out on both sides. Without room for a second entry the tail is asked for again. */
				tail.memory = viodma_shared_at(tail.memory, last + 1 - tail.first.v);
				tail.phys.v += last + 1 - tail.first.v;
				tail.first.v = last + 1;
				if (iotlb->free_list) {
					add(iotlb, &tail);
				} else {
					tell_revoked(iotlb, tail.first.v, tail.last.v);
					iotlb->statistics.evictions++;
				}
				break;
			}
		} else if (entry->last > last) {
			cut_front(iotlb, entry, last + 1);
			break;
		} else {
			drop(iotlb, link);
		}
	}
	return any;
}

/* Does one entry map just this range to just this memory? */
static struct viodma_iotlb_entry *same_mapping(const struct viodma_iotlb *iotlb, uint64_t first, uint64_t last,
					       const struct viodma_shared *memory)
{
	uint32_t link = viodma_iotlb_tree_find(iotlb, first);
	struct viodma_iotlb_entry *entry = link ? iotlb_entry(iotlb, link) : NULL;

	return entry && entry->first == first && entry->last == last && entry->memory == memory ? entry : NULL;
}

/* Grant what lies in one region. */
static void grant(struct viodma_iotlb *iotlb, const struct viodma_extent *offered, unsigned asked)
{
	const struct viodma_space_events *events = &iotlb->config.space->events;
	struct viodma_extent extent = *offered;
	struct viodma_iotlb_entry *same = same_mapping(iotlb, extent.first.v, extent.last.v, extent.memory);

	if (asked) {
		unsigned before = same ? same->permission : 0;

		extent.permission = (enum viodma_permission)(((unsigned)offered->permission & asked) | before);
	}
	if (same) {
		if (same->permission & ~(unsigned)extent.permission) { /* less than before */
			tell_revoked(iotlb, extent.first.v, extent.last.v);
			viodma_space_changed(iotlb->config.space);
		}
		same->permission = (uint8_t)extent.permission;
		same->used_lately = 1;
	} else {
		if (cut_out(iotlb, extent.first.v, extent.last.v)) {
			tell_revoked(iotlb, extent.first.v, extent.last.v);
			viodma_space_changed(iotlb->config.space);
		}
		if (extent.permission != VIODMA_NO_ACCESS)
			add(iotlb, &extent);
	}
	if (extent.permission != VIODMA_NO_ACCESS && events->grant)
		events->grant(events->context, &extent);
	iotlb->statistics.answered +=
		viodma_iotlb_misses_answer(iotlb, extent.first.v, extent.last.v, (unsigned)extent.permission);
}

/* Call `each` for the part of bus..last that every region holds. False if regions do not hold all of it. */
static bool each_region(struct viodma_iotlb *iotlb, uint64_t bus, uint64_t last, viodma_uaddr user,
			const struct viodma_extent *offered, unsigned asked, bool really)
{
	for (;;) {
		const struct viodma_region *region = viodma_space_find_user(iotlb->config.space, user);
		struct viodma_extent part = *offered;
		uint64_t offset, behind;

		if (!region)
			return false;
		offset = user.v - region->user.v;
		behind = region->len_bytes - 1 - offset; /* bytes after this one */
		part.first.v = bus;
		part.last.v = last - bus <= behind ? last : bus + behind;
		part.memory = viodma_shared_at(region->memory, offset);
		part.phys.v = region->phys.v + offset;
		if (really)
			grant(iotlb, &part, asked);
		if (part.last.v == last)
			return true;
		user.v += behind + 1;
		bus = part.last.v + 1;
	}
}

enum viodma_result viodma_iotlb_update(struct viodma_iotlb *iotlb, viodma_bus bus, uint64_t len_bytes,
				       viodma_uaddr user, enum viodma_permission permission)
{
	struct viodma_extent offered = {bus, {bus.v + (len_bytes - 1)}, {0}, NULL, permission};
	uint64_t last = offered.last.v;

	if (!VIODMA_REQUIRE(PLT_10, len_bytes != 0 && last >= bus.v && user.v + (len_bytes - 1) >= user.v))
		return VIODMA_PEER_MAPPING;
	if (permission != VIODMA_READ && permission != VIODMA_WRITE && permission != VIODMA_READ_WRITE)
		return VIODMA_PEER_MAPPING;
	if (!each_region(iotlb, bus.v, last, user, &offered, 0, false))
		return VIODMA_PEER_MAPPING; /* = PLT-10 */
	each_region(iotlb, bus.v, last, user, &offered, viodma_iotlb_misses_asked(iotlb, bus.v, last), true);
	iotlb->statistics.updates++;
	iotlb->config.space->epoch++;
	return VIODMA_OK;
}

enum viodma_result viodma_iotlb_invalidate(struct viodma_iotlb *iotlb, viodma_bus bus, uint64_t len_bytes)
{
	uint64_t last = bus.v + (len_bytes - 1); /* bus 0, length 0: the last address there is */

	if (!VIODMA_REQUIRE(PLT_10, last >= bus.v))
		return VIODMA_PEER_MAPPING;
	cut_out(iotlb, bus.v, last);
	tell_revoked(iotlb, bus.v, last);
	iotlb->statistics.invalidations++;
	viodma_space_changed(iotlb->config.space);
	return VIODMA_OK;
}

enum viodma_result viodma_iotlb_replied(struct viodma_iotlb *iotlb, viodma_bus bus, enum viodma_permission wanted,
					bool granted)
{
	struct viodma_iotlb_miss *miss = viodma_iotlb_misses_find(iotlb, bus.v, wanted);

	if (!miss || miss->state != MISS_ASKED)
		return VIODMA_E_NOT_FOUND;
	miss->state = granted ? MISS_NOT_COVERED : MISS_REFUSED;
	iotlb->outstanding--;
	iotlb->failed_count++;
	iotlb->statistics.failed++;
	iotlb->config.space->epoch++;
	return VIODMA_OK;
}

void viodma_iotlb_settle(struct viodma_iotlb *iotlb)
{
	viodma_iotlb_misses_settle(iotlb);
	if (iotlb->turned_away)
		iotlb->config.space->epoch++; /* there is room for those who waited for it */
	iotlb->turned_away = false;
}

void viodma_iotlb_clear(struct viodma_iotlb *iotlb)
{
	if (iotlb->entry_count)
		tell_revoked(iotlb, 0, UINT64_MAX);
	iotlb->statistics.dropped += iotlb->outstanding;
	free_everything(iotlb);
	viodma_space_changed(iotlb->config.space);
}

void viodma_iotlb_forget_memory(struct viodma_iotlb *iotlb, const void *memory, uint64_t len_bytes)
{
	uintptr_t first = (uintptr_t)memory, last = first + (uintptr_t)(len_bytes - 1);
	uint32_t link;

	for (link = 1; link <= iotlb->config.capacity; link++) {
		const struct viodma_iotlb_entry *entry = iotlb_entry(iotlb, link);

		if (entry->live && (uintptr_t)entry->memory >= first && (uintptr_t)entry->memory <= last) {
			tell_revoked(iotlb, entry->first, entry->last);
			drop(iotlb, link);
		}
	}
	viodma_space_changed(iotlb->config.space);
}

/* What is known about a question put earlier. VIODMA_MISS: nothing, or not answered. */
static enum viodma_result refusal(const struct viodma_iotlb *iotlb, uint64_t bus, enum viodma_permission wanted)
{
	const struct viodma_iotlb_miss *miss;

	if (!iotlb->config.ask)
		return VIODMA_FAULT_UNMAPPED;
	miss = iotlb->failed_count ? viodma_iotlb_misses_find(iotlb, bus, wanted) : NULL;
	if (!miss || miss->state == MISS_ASKED)
		return VIODMA_MISS;
	return miss->state == MISS_REFUSED ? VIODMA_FAULT_UNMAPPED : VIODMA_FAULT_NO_ANSWER;
}

enum viodma_result viodma_iotlb_translate(struct viodma_iotlb *iotlb, viodma_bus bus, enum viodma_permission wanted,
					  struct viodma_extent *extent)
{
	struct viodma_iotlb_entry *entry = iotlb_index_behind(iotlb, bus, wanted);

	if (!entry)
		entry = iotlb_index_find(iotlb, bus, wanted);
	if (!entry) {
		const uint32_t link = viodma_iotlb_tree_find(iotlb, bus.v);

		if (!link)
			return refusal(iotlb, bus.v, wanted);
		entry = iotlb_entry(iotlb, link);
		if (((unsigned)wanted & ~(unsigned)entry->permission) && refusal(iotlb, bus.v, wanted) == VIODMA_MISS)
			return VIODMA_MISS; /* perhaps the platform grants more than it was asked for so far */
		viodma_iotlb_index_hint(iotlb, bus.v, link);
		iotlb_index_use(iotlb, entry);
	}
	*extent = extent_of(entry);
	return VIODMA_OK;
}

void viodma_iotlb_want(struct viodma_iotlb *iotlb, viodma_bus bus, enum viodma_permission wanted)
{
	if (!iotlb->config.ask || viodma_iotlb_misses_find(iotlb, bus.v, wanted))
		return;
	if (!viodma_iotlb_misses_add(iotlb, bus.v, wanted)) {
		iotlb->turned_away = true;
		return;
	}
	iotlb->statistics.misses++;
	iotlb->config.ask(iotlb->config.context, bus, wanted);
}
