/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pins.c - memory in use, compared range by range when something is revoked. Counters on mappings would be cheaper to ask
 * but break when mappings split or overlap; ranges do not. Who holds on to much, again and again, as queues do, keeps a
 * record that he needs in any case, and is asked: that costs nobody anything until something is revoked. Others link a pin.
 *
 * Who waits for a revocation asks again whenever something was let go. What was looked at once and did not overlap will not
 * overlap later, either: what is withdrawn is not pinned anew. So the ring is entered where the last search has ended, and
 * while that one pin is held, asking again is one comparison.
 */
#include <viodma/space.h>

#include "access.h"

static void let_go(struct viodma_pin *pin)
{
	pin->next->previous = pin->previous;
	pin->previous->next = pin->next;
}

void viodma_space_pin(struct viodma_space *space, struct viodma_pin *pin)
{
	pin->next = space->pins.next;
	pin->previous = &space->pins;
	pin->next->previous = pin;
	space->pins.next = pin;
}

void viodma_space_unpin(struct viodma_space *space, struct viodma_pin *pin)
{
	(void)space;
	let_go(pin);
	pin->next = pin->previous = NULL;
}

void viodma_space_enlist(struct viodma_space *space, struct viodma_space_user *user)
{
	if (user->link)
		return;
	user->next = space->users;
	if (user->next)
		user->next->link = &user->next;
	user->link = &space->users;
	space->users = user;
}

void viodma_space_dismiss(struct viodma_space_user *user)
{
	if (!user->link)
		return;
	*user->link = user->next;
	if (user->next)
		user->next->link = user->link;
	user->link = NULL;
}

bool viodma_space_segments_overlap(const struct viodma_segment *segments, uint32_t count, uint64_t first, uint64_t last)
{
	uint32_t i;

	for (i = 0; i < count; i++)
		if (segments[i].len_bytes && segments[i].bus.v <= last &&
		    segments[i].bus.v + (segments[i].len_bytes - 1) >= first)
			return true;
	return false;
}

bool viodma_space_pieces_overlap(const struct viodma_piece *pieces, uint32_t count, uint64_t first, uint64_t last)
{
	uint32_t i;

	for (i = 0; i < count; i++)
		if ((uintptr_t)pieces[i].memory <= last &&
		    (uintptr_t)pieces[i].memory + (pieces[i].len_bytes - 1) >= first)
			return true;
	return false;
}

/* Does somebody who keeps his own record hold any of it? */
static bool users_overlap(const struct viodma_space *space, uint64_t first, uint64_t last, enum viodma_space_addresses which)
{
	struct viodma_space_user *user;

	for (user = space->users; user; user = user->next)
		if (user->overlaps(user, first, last, which))
			return true;
	return false;
}

bool viodma_space_memory_in_use(const struct viodma_space *space, uint64_t first, uint64_t last)
{
	const struct viodma_pin *pin;

	for (pin = space->pins.next; pin != &space->pins; pin = pin->next)
		if (viodma_space_pieces_overlap(pin->pieces, pin->piece_count, first, last))
			return true;
	return users_overlap(space, first, last, VIODMA_SPACE_MEMORY);
}

bool viodma_space_in_use(const struct viodma_space *space, viodma_bus first, viodma_bus last)
{
	struct viodma_pin *entry = (struct viodma_pin *)(uintptr_t)&space->pins, *pin;

	for (pin = entry->next; pin != entry; pin = pin->next) {
		if (!viodma_space_segments_overlap(pin->segments, pin->segment_count, first.v, last.v))
			continue;
		if (pin != entry->next) { /* enter before it */
			let_go(entry);
			entry->next = pin;
			entry->previous = pin->previous;
			pin->previous->next = entry;
			pin->previous = entry;
		}
		return true;
	}
	return users_overlap(space, first.v, last.v, VIODMA_SPACE_BUS);
}
