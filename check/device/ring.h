/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ring.h - a ring laid out by hand, split or packed: what a sound driver writes (check_ring_add), and what none does
 * (check_ring_descriptor, check_ring_show). What the device answers is taken as it comes; cases judge it.
 */
#ifndef VIODMA_CHECK_RING_H
#define VIODMA_CHECK_RING_H

#include "check/device/memory.h"

#include <viodma/wire/ring.h>

/* A buffer as its descriptor names it. */
struct check_buffer {
	uint64_t address;
	uint32_t bytes;
	bool writes; /* the device writes it */
};

struct check_used {
	uint32_t id, bytes;
};

struct check_ring {
	unsigned queue;
	bool packed;
	uint32_t size;
	struct check_place desc, avail, used; /* packed: descriptors, driver and device event suppression */
	int kick_fd, call_fd, err_fd;
	uint16_t next_avail, next_used; /* split: indices; packed: positions, */
	bool avail_wrap, used_wrap;     /* and their wrap counters */
	uint32_t calls;                 /* that were waited for, and came */
	bool in_order;                  /* the device may say of several chains at once that they are used, by the last one */
	uint16_t *order;                /* heads or ids, as they were made available, from */
	uint32_t order_from, order_to;  /* up to here */
	uint32_t batch, batch_bytes;    /* packed: chains of such a batch that are not taken yet, and the last one's length */
	uint32_t in_flight;             /* descriptors of the ring that chains take */
	uint16_t *counts;               /* of each head or id: descriptors of its chain; 0: free */
	bool *taken;                    /* split: each entry of the table */
	uint32_t next_free;             /* split: the table is filled around and around */
	uint16_t first_flags, next_id;  /* packed: of the first descriptor, until it is shown; ids go around */
};

/*
 * False: no memory. The parts are placed (spread: over pages that do not adjoin), their event words ask for every call;
 * descriptors for signals are open.
 */
bool check_ring_new(struct check_ring *ring, struct check_memory *memory, unsigned queue, uint32_t size, bool packed,
		    bool spread);
void check_ring_free(struct check_ring *ring);
/* As it was when it was new, at its base; the parts stay where they are. */
void check_ring_clear(struct check_ring *ring);
/* Split: a new one, but that so many chains have gone around already. */
void check_ring_begin_at(struct check_ring *ring, uint16_t index);
/* For SET_VRING_BASE. */
uint32_t check_ring_base(const struct check_ring *ring);

/* Make a chain available. Answers its head or buffer id; -1: it does not fit in. */
int check_ring_add(struct check_ring *ring, const struct check_buffer *buffers, uint32_t count);
/* The same through an indirect table, which is filled in here, and whose address the descriptor gets. */
int check_ring_add_table(struct check_ring *ring, const struct check_buffer *buffers, uint32_t count,
			 const struct check_place *table, uint64_t table_address);

/* One descriptor. `where`: split: its index in the table; packed: so many places from the next one. */
void check_ring_descriptor(struct check_ring *ring, uint32_t where, uint64_t address, uint32_t bytes, uint16_t flags,
			   uint16_t next_or_id);
/* Entries of a table, likewise. */
void check_ring_table_entry(const struct check_ring *ring, const struct check_place *table, uint32_t where, uint64_t address,
			    uint32_t bytes, uint16_t flags, uint16_t next);
/* Show what was laid out. Split: that head. Packed: that many descriptors (their flags are completed, the first's last). */
void check_ring_show(struct check_ring *ring, uint16_t head_or_count);
/* Split only: the available index as such. */
void check_ring_available_index(struct check_ring *ring, uint16_t index);

void check_ring_kick(struct check_ring *ring);
/* The next used element, if there is one. Split: the event index follows, so that each is called for. */
bool check_ring_take(struct check_ring *ring, struct check_used *used);
/* Where a used element will be put next, without taking it: is there one? */
bool check_ring_has_used(const struct check_ring *ring);

#endif
