/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pins.c - memory in use: a list of what requests hold, compared range by range when something is revoked. Counters on
 * mappings would be cheaper to ask but break when mappings split or overlap; ranges do not.
 */
#include <viodma/space.h>

#include "access.h"

void viodma_space_pin(struct viodma_space *space, struct viodma_pin *pin)
{
	pin->previous = NULL;
	pin->next = space->pins;
	if (pin->next)
		pin->next->previous = pin;
	space->pins = pin;
}

void viodma_space_unpin(struct viodma_space *space, struct viodma_pin *pin)
{
	if (pin->previous)
		pin->previous->next = pin->next;
	else
		space->pins = pin->next;
	if (pin->next)
		pin->next->previous = pin->previous;
	pin->next = pin->previous = NULL;
}

bool viodma_space_in_use(const struct viodma_space *space, viodma_bus first, viodma_bus last)
{
	const struct viodma_pin *pin;
	uint32_t i;

	for (pin = space->pins; pin; pin = pin->next)
		for (i = 0; i < pin->segment_count; i++) {
			const struct viodma_segment *segment = &pin->segments[i];

			if (segment->len_bytes && segment->bus.v <= last.v &&
			    segment->bus.v + (segment->len_bytes - 1) >= first.v)
				return true;
		}
	return false;
}
