/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * iotlb_rig.h - an IOTLB over one region, and a platform that is a list of the questions asked; each test answers by
 * hand. Bus addresses start at BUS, user addresses at USER; nothing is equal to a physical address.
 */
#ifndef VIODMA_TESTS_IOTLB_RIG_H
#define VIODMA_TESTS_IOTLB_RIG_H

#include "tests/support/check.h"

#include <viodma/iotlb.h>

#define PAGE 4096u
#define PAGES 16u
#define BUS 0x10000000000u
#define PHYS 0x200000u
#define USER 0x7fff00000000u
#define MOST_ASKS 256u

struct setup {
	struct viodma_space space;
	struct viodma_space_cache cache;
	struct viodma_iotlb iotlb;
	struct viodma_iotlb_entry entries[64];
	struct viodma_iotlb_miss misses[16];
	unsigned char storage[VIODMA_SPACE_REGION_BYTES(4)] __attribute__((aligned(16)));
	unsigned char memory[PAGES * PAGE] __attribute__((aligned(16)));
	unsigned asks;
	uint64_t asked_bus[MOST_ASKS];
	enum viodma_permission asked_permission[MOST_ASKS];
	unsigned grants, revokes;
	struct viodma_extent granted;
	uint64_t revoked_first, revoked_last;
};

static struct setup setup;

static inline void on_ask(void *context, viodma_bus bus, enum viodma_permission wanted)
{
	struct setup *s = context;

	if (s->asks < MOST_ASKS) {
		s->asked_bus[s->asks] = bus.v;
		s->asked_permission[s->asks] = wanted;
	}
	s->asks++;
}

static inline void on_grant(void *context, const struct viodma_extent *extent)
{
	struct setup *s = context;

	s->grants++;
	s->granted = *extent;
}

static inline void on_revoke(void *context, viodma_bus first, viodma_bus last)
{
	struct setup *s = context;

	s->revokes++;
	s->revoked_first = first.v;
	s->revoked_last = last.v;
}

static inline struct setup *with(uint32_t capacity, bool asking)
{
	struct viodma_space_events events = {.grant = on_grant, .revoke = on_revoke, .context = &setup};
	struct viodma_region region = {
		.phys = {PHYS}, .user = {USER}, .len_bytes = sizeof(setup.memory), .memory = setup.memory};
	struct viodma_iotlb_config config = {
		.space = &setup.space,
		.entries = setup.entries,
		.capacity = capacity,
		.misses = setup.misses,
		.miss_capacity = 16,
		.ask = asking ? on_ask : NULL,
		.context = &setup,
	};

	memset(&setup, 0, sizeof(setup));
	memset(setup.entries, 0x5a, sizeof(setup.entries)); /* need not be zero */
	memset(setup.misses, 0x5a, sizeof(setup.misses));
	viodma_space_init(&setup.space, setup.storage, 4, &events);
	if (viodma_space_add_region(&setup.space, &region) != VIODMA_OK ||
	    viodma_iotlb_init(&setup.iotlb, &config) != VIODMA_OK)
		abort();
	viodma_space_set_iotlb(&setup.space, &setup.iotlb);
	return &setup;
}

static inline struct setup *fresh(void)
{
	return with(64, true);
}

static inline enum viodma_result update(struct setup *s, uint64_t page, uint64_t memory_page, enum viodma_permission permission)
{
	return viodma_iotlb_update(&s->iotlb, (viodma_bus){BUS + page * PAGE}, PAGE,
				   (viodma_uaddr){USER + memory_page * PAGE}, permission);
}

/* Look a page up for an access, without last-hit cache. */
static inline enum viodma_result look(struct setup *s, uint64_t page, enum viodma_permission wanted)
{
	struct viodma_extent extent;

	return viodma_space_translate(&s->space, NULL, (viodma_bus){BUS + page * PAGE}, wanted, &extent);
}

static inline void want(struct setup *s, uint64_t page, enum viodma_permission wanted)
{
	viodma_space_want(&s->space, (viodma_bus){BUS + page * PAGE}, wanted);
}

static inline enum viodma_result reply(struct setup *s, uint64_t page, enum viodma_permission wanted, bool granted)
{
	return viodma_iotlb_replied(&s->iotlb, (viodma_bus){BUS + page * PAGE}, wanted, granted);
}

#endif
