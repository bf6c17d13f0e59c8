/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * iotlb_index.h - how it works: where an address is looked for before the tree is asked.
 *
 * The array of entries is a hash table as well. An address has a key (its upper bits: about one key for each mapping) and
 * the key has a home in the array. Each place keeps four hints, links of the mappings whose home it is, and a key has one
 * of the four that it is asked for first. A new mapping is put into the home of its first address if nobody lives there,
 * else anywhere. So a look-up reads one cache line, or two: the home's hint and the entry it names; there is no branch
 * that depends on where the mapping lives. If that is not the one, the three other hints are tried, then the tree, which
 * leaves a hint. Hints are guesses, checked against the entry they name: none has to be taken back when entries are cut,
 * dropped or evicted, and what is not in here is never wrong, only slower: O(log n), whatever addresses a peer chooses.
 *
 * Keys that follow one another have homes that follow one another, in blocks. The place behind the last one found is tried
 * before anything else: buffers used in sequence cost a comparison. Blocks are scattered, and turned in themselves, so
 * that strides do not meet in few homes.
 *
 * How many upper bits: mappings of one page have another key each if pages are counted; mappings of 1 MiB would have 256
 * keys each, and as many look-ups in the tree. So the geometric mean of the sizes of what is mapped decides, with some
 * inertia. A change makes homes and hints useless, not wrong.
 */
#ifndef VIODMA_SPACE_IOTLB_INDEX_H
#define VIODMA_SPACE_IOTLB_INDEX_H

#include "iotlb_tree.h"

struct iotlb_home {
	struct viodma_iotlb_entry *entry;
	unsigned hint; /* the one to try first */
	uint32_t tag;  /* more bits of the key, above those of a link, that the others are compared by */
};

static inline struct iotlb_home iotlb_home(const struct viodma_iotlb *iotlb, uint64_t address)
{
	const uint64_t key = address >> iotlb->key_shift;
	/* Fibonacci hashing: the upper bits of the product are the mixed ones; a multiplication takes them to a block. */
	const uint64_t mixed = (key >> iotlb->block_shift) * UINT64_C(0x9e3779b97f4a7c15);
	const uint32_t block = (uint32_t)(((mixed >> 32) * iotlb->blocks) >> 32);
	const uint32_t turned = (uint32_t)(key + (mixed >> 40)) & iotlb->block_mask;
	const struct iotlb_home home = {
		&iotlb->config.entries[(block << iotlb->block_shift) + turned],
		(unsigned)(mixed >> 30) % VIODMA_IOTLB_HINTS,
		(uint32_t)(mixed >> 8) & ~iotlb->link_mask,
	};

	return home;
}

/* An entry that is not live holds no address. */
static inline bool iotlb_holds(const struct viodma_iotlb_entry *entry, uint64_t address)
{
	viodma_iotlb_step_hook();
	return address >= entry->first && address <= entry->last;
}

static inline struct viodma_iotlb_entry *iotlb_hinted(const struct viodma_iotlb *iotlb, uint32_t hint)
{
	return iotlb_entry(iotlb, hint & iotlb->link_mask);
}

/* The entry is used; the place behind it is tried first from now on. */
static inline struct viodma_iotlb_entry *iotlb_index_use(struct viodma_iotlb *iotlb, struct viodma_iotlb_entry *entry)
{
	iotlb->behind = entry + 1 == iotlb->end ? iotlb->config.entries : entry + 1;
	if (!entry->used_lately)
		entry->used_lately = 1; /* a line that is only read stays as it is */
	iotlb->statistics.hits++;
	return entry;
}

static inline bool iotlb_permits(const struct viodma_iotlb_entry *entry, enum viodma_permission wanted)
{
	return ((unsigned)entry->permission & (unsigned)wanted) == (unsigned)wanted;
}

/* The entry behind the last one found, if it holds the address and permits what is wanted; else NULL. */
static inline struct viodma_iotlb_entry *iotlb_index_behind(struct viodma_iotlb *iotlb, viodma_bus bus,
							    enum viodma_permission wanted)
{
	struct viodma_iotlb_entry *entry = iotlb->behind;

	return iotlb_holds(entry, bus.v) && iotlb_permits(entry, wanted) ? iotlb_index_use(iotlb, entry) : NULL;
}

/* The same of the entry that the address's home leads to. */
static inline struct viodma_iotlb_entry *iotlb_index_find(struct viodma_iotlb *iotlb, viodma_bus bus,
							  enum viodma_permission wanted)
{
	const struct iotlb_home home = iotlb_home(iotlb, bus.v);
	struct viodma_iotlb_entry *entry = iotlb_hinted(iotlb, home.entry->hints[home.hint]);
	unsigned i;

	for (i = 1; !iotlb_holds(entry, bus.v); i++) {
		uint32_t hint;

		if (i == VIODMA_IOTLB_HINTS)
			return NULL;
		hint = home.entry->hints[home.hint ^ i];
		if ((hint & ~iotlb->link_mask) == home.tag)
			entry = iotlb_hinted(iotlb, hint);
	}
	return iotlb_permits(entry, wanted) ? iotlb_index_use(iotlb, entry) : NULL;
}

/* Start: every entry is free. */
void viodma_iotlb_index_init(struct viodma_iotlb *iotlb);

/* The next look-up of this address finds this entry. */
void viodma_iotlb_index_hint(struct viodma_iotlb *iotlb, uint64_t address, uint32_t link);

/* A free entry for a mapping from this address on: its home, if that is free. Pre: there is a free one. */
uint32_t viodma_iotlb_index_take(struct viodma_iotlb *iotlb, uint64_t first);

/* An entry is free. */
void viodma_iotlb_index_free(struct viodma_iotlb *iotlb, uint32_t link);

/* A mapping of this size is there, or is gone. */
void viodma_iotlb_index_counts(struct viodma_iotlb *iotlb, uint64_t first, uint64_t last, bool there);

#endif
