/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pins.c - memory in use: a ring of what requests hold, compared range by range when something is revoked. Counters on
 * mappings would be cheaper to ask but break when mappings split or overlap; ranges do not.
 *
 * Who waits for a revocation asks again whenever something was let go. What was looked at once and did not overlap will not
 * overlap later, either: what is withdrawn is not pinned anew. So the ring is entered where the last search has ended, and
 * while that one pin is held, asking again is one comparison.
 */
#include <viodma/space.h>

#include "access.h"

void viodma_space_pin(struct viodma_space *space, struct viodma_pin *pin)
{
	viodma_space_hold(space, pin);
}

void viodma_space_unpin(struct viodma_space *space, struct viodma_pin *pin)
{
	(void)space;
	viodma_space_let_go(pin);
	pin->next = pin->previous = NULL;
}

static bool overlaps(const struct viodma_pin *pin, viodma_bus first, viodma_bus last)
{
	uint32_t i;

	for (i = 0; i < pin->segment_count; i++) {
		const struct viodma_segment *segment = &pin->segments[i];

		if (segment->len_bytes && segment->bus.v <= last.v &&
		    segment->bus.v + (segment->len_bytes - 1) >= first.v)
			return true;
	}
	return false;
}

bool viodma_space_in_use(const struct viodma_space *space, viodma_bus first, viodma_bus last)
{
	struct viodma_pin *entry = (struct viodma_pin *)(uintptr_t)&space->pins, *pin;

	for (pin = entry->next; pin != entry; pin = pin->next) {
		if (!overlaps(pin, first, last))
			continue;
		if (pin != entry->next) { /* enter before it */
			viodma_space_let_go(entry);
			entry->next = pin;
			entry->previous = pin->previous;
			pin->previous->next = entry;
			pin->previous = entry;
		}
		return true;
	}
	return false;
}
