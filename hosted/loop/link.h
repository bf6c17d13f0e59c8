/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * link.h - rings of objects, for lists from which anything may go at any time.
 *
 * Single owner: that of the list.
 */
#ifndef VIODMA_HOSTED_LINK_H
#define VIODMA_HOSTED_LINK_H

#include <stdbool.h>
#include <stddef.h>

/* A ring of objects: the head and each object point to their neighbours; an object in no ring points to itself. */
struct link {
	struct link *next, *previous;
};

#define OBJECT_OF(link_pointer, type, member) ((type *)(void *)((char *)(link_pointer)-offsetof(type, member)))

static inline void link_init(struct link *link)
{
	link->next = link;
	link->previous = link;
}

static inline bool link_alone(const struct link *link)
{
	return link->next == link;
}

/* Insert `link` before `position`; before the head is the end. */
static inline void link_insert(struct link *link, struct link *position)
{
	link->previous = position->previous;
	link->next = position;
	position->previous->next = link;
	position->previous = link;
}

static inline void link_remove(struct link *link)
{
	link->previous->next = link->next;
	link->next->previous = link->previous;
	link_init(link);
}

/* Move everything from one ring to an empty other one. */
static inline void link_move_all(struct link *from, struct link *to)
{
	link_init(to);
	if (link_alone(from))
		return;
	*to = *from;
	to->next->previous = to;
	to->previous->next = to;
	link_init(from);
}

#endif
