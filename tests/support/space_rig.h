/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * space_rig.h - a space over one region, closed, physical, or with a translator: a page table of PAGES entries at bus
 * address TABLE_BUS, in another order than the memory, and with permissions and misses of the test's choosing. It
 * counts what it is asked.
 */
#ifndef VIODMA_TESTS_SPACE_RIG_H
#define VIODMA_TESTS_SPACE_RIG_H

#include "tests/support/check.h"

#include <viodma/space.h>

#define PAGE 4096u
#define PAGES 16u
#define PHYS 0x80000000u
#define USER 0x7f0000000000u
#define TABLE_BUS 0x600000000000u

enum { UNKNOWN = -1, NEVER = -2 };

struct setup {
	struct viodma_space space;
	struct viodma_space_cache cache;
	unsigned char storage[VIODMA_SPACE_REGION_BYTES(8)] __attribute__((aligned(16)));
	unsigned char memory[PAGES * PAGE] __attribute__((aligned(16)));
	/* the translator */
	int frame[PAGES]; /* page of memory, or UNKNOWN, or NEVER */
	enum viodma_permission permission[PAGES];
	bool unknown_beyond; /* behind the table: misses, not refusals */
	unsigned translate_calls, want_calls;
	uint64_t wanted_pages; /* bit set */
	enum viodma_permission wanted_permission;
	/* events */
	unsigned faults, touches;
	uint64_t touched_bytes, touched_phys;
	struct viodma_fault fault;
};

static struct setup setup;

static inline void on_fault(void *context, const struct viodma_fault *fault)
{
	struct setup *s = context;

	s->faults++;
	s->fault = *fault;
}

static inline void on_touch(void *context, viodma_bus bus, viodma_phys phys, uint64_t len, enum viodma_permission permission)
{
	struct setup *s = context;

	(void)bus;
	(void)permission;
	s->touches++;
	s->touched_bytes += len;
	s->touched_phys = phys.v;
}

static inline enum viodma_result translate(void *context, viodma_bus bus, enum viodma_permission wanted,
				    struct viodma_extent *extent)
{
	struct setup *s = context;
	uint64_t page = (bus.v - TABLE_BUS) / PAGE;

	(void)wanted;
	s->translate_calls++;
	if (s->unknown_beyond && page >= PAGES)
		return VIODMA_MISS;
	if (bus.v < TABLE_BUS || page >= PAGES || s->frame[page] == NEVER)
		return VIODMA_FAULT_UNMAPPED;
	if (s->frame[page] == UNKNOWN)
		return VIODMA_MISS;
	extent->first.v = TABLE_BUS + page * PAGE;
	extent->last.v = extent->first.v + (PAGE - 1);
	extent->phys.v = PHYS + (uint64_t)s->frame[page] * PAGE;
	extent->memory = viodma_shared_at((struct viodma_shared *)(void *)s->memory, (uint64_t)s->frame[page] * PAGE);
	extent->permission = s->permission[page];
	return VIODMA_OK;
}

static inline void want(void *context, viodma_bus bus, enum viodma_permission wanted)
{
	struct setup *s = context;

	s->want_calls++;
	s->wanted_pages |= (uint64_t)1 << ((bus.v - TABLE_BUS) / PAGE % 64);
	s->wanted_permission = wanted;
}

static inline struct setup *closed(void)
{
	struct viodma_space_events events = {.fault = on_fault, .touch = on_touch, .context = &setup};
	struct viodma_region region = {
		.phys = {PHYS}, .user = {USER}, .len_bytes = sizeof(setup.memory), .memory = setup.memory};
	size_t i;

	memset(&setup, 0, sizeof(setup));
	for (i = 0; i < sizeof(setup.memory); i++)
		setup.memory[i] = (unsigned char)(i ^ (i >> 8));
	viodma_space_init(&setup.space, setup.storage, 8, &events);
	if (viodma_space_add_region(&setup.space, &region) != VIODMA_OK)
		abort();
	return &setup;
}

static inline struct setup *physical(void)
{
	struct setup *s = closed();

	viodma_space_set_physical(&s->space);
	return s;
}

/* Page i of the bus is page 15 - i of memory. */
static inline struct setup *translated(void)
{
	struct setup *s = closed();
	struct viodma_translator translator = {.translate = translate, .want = want, .context = s};
	unsigned i;

	for (i = 0; i < PAGES; i++) {
		s->frame[i] = (int)(PAGES - 1 - i);
		s->permission[i] = VIODMA_READ_WRITE;
	}
	viodma_space_set_translator(&s->space, &translator);
	return s;
}

static inline enum viodma_result map(struct setup *s, uint64_t bus, uint32_t len, enum viodma_permission permission,
			      struct viodma_piece *pieces, uint32_t capacity, uint32_t *count, viodma_bus *missed)
{
	struct viodma_segment segment = {.bus = {bus}, .len_bytes = len, .permission = permission};

	return viodma_space_map(&s->space, &s->cache, 5, &segment, pieces, capacity, count, missed);
}

static inline enum viodma_result read_bytes(struct setup *s, uint64_t bus, void *destination, size_t len)
{
	viodma_bus missed;

	return viodma_space_read(&s->space, &s->cache, 5, (viodma_bus){bus}, destination, len, &missed);
}

static inline enum viodma_result write_bytes(struct setup *s, uint64_t bus, const void *source, size_t len)
{
	viodma_bus missed;

	return viodma_space_write(&s->space, &s->cache, 5, (viodma_bus){bus}, source, len, &missed);
}

#endif
