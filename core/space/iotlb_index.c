/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * iotlb_index.c - how it works: iotlb_index.h. Free entries are a list linked both ways (left: the one before, right: the
 * one behind), because a home is taken out of its middle.
 */
#include "iotlb_index.h"

#define KEY_SHIFT_FIRST 12u /* until something is mapped: pages */
#define BLOCK_SHIFT_MAX 6u
#define BLOCKS_LEAST 32u

/* log2 of a mapping's size, rounded down; 63 for everything there is. */
static unsigned log_size(uint64_t first, uint64_t last)
{
	const uint64_t span = last - first;

	return span == UINT64_MAX ? 63 : 63u - (unsigned)__builtin_clzll(span + 1);
}

void viodma_iotlb_index_init(struct viodma_iotlb *iotlb)
{
	uint32_t i;

	for (i = BLOCK_SHIFT_MAX; i > 0 && iotlb->config.capacity >> i < BLOCKS_LEAST; i--)
		;
	iotlb->block_shift = (uint8_t)i;
	iotlb->block_mask = (1u << i) - 1;
	iotlb->blocks = iotlb->config.capacity >> i;
	iotlb->link_mask = UINT32_MAX >> __builtin_clz(iotlb->config.capacity);
	iotlb->key_shift = KEY_SHIFT_FIRST;
	iotlb->log_sizes = 0;
	iotlb->behind = iotlb->config.entries;
	iotlb->end = iotlb->config.entries + iotlb->config.capacity;
	iotlb->free_list = 0;
	for (i = iotlb->config.capacity; i > 0; i--) {
		struct viodma_iotlb_entry *entry = iotlb_entry(iotlb, i);
		unsigned hint;

		for (hint = 0; hint < VIODMA_IOTLB_HINTS; hint++)
			entry->hints[hint] = i; /* an entry there is, that holds no address of anybody else */
		viodma_iotlb_index_free(iotlb, i);
	}
}

void viodma_iotlb_index_hint(struct viodma_iotlb *iotlb, uint64_t address, uint32_t link)
{
	const struct iotlb_home home = iotlb_home(iotlb, address);
	const uint32_t unset = (uint32_t)(home.entry - iotlb->config.entries) + 1;
	unsigned i, best = home.hint;

	/* In place of one that names nobody, the one tried first above all; else of that one. */
	for (i = 0; i < VIODMA_IOTLB_HINTS; i++) {
		const uint32_t hint = home.entry->hints[home.hint ^ i];

		if (hint == unset || !iotlb_hinted(iotlb, hint)->live) {
			best = home.hint ^ i;
			break;
		}
	}
	home.entry->hints[best] = home.tag | link;
}

static void take_out(struct viodma_iotlb *iotlb, uint32_t link)
{
	struct viodma_iotlb_entry *entry = iotlb_entry(iotlb, link);

	if (entry->left)
		iotlb_entry(iotlb, entry->left)->right = entry->right;
	else
		iotlb->free_list = entry->right;
	if (entry->right)
		iotlb_entry(iotlb, entry->right)->left = entry->left;
}

uint32_t viodma_iotlb_index_take(struct viodma_iotlb *iotlb, uint64_t first)
{
	const struct iotlb_home home = iotlb_home(iotlb, first);
	uint32_t link = (uint32_t)(home.entry - iotlb->config.entries) + 1;

	if (home.entry->live)
		link = iotlb->free_list;
	take_out(iotlb, link);
	viodma_iotlb_index_hint(iotlb, first, link);
	return link;
}

void viodma_iotlb_index_free(struct viodma_iotlb *iotlb, uint32_t link)
{
	struct viodma_iotlb_entry *entry = iotlb_entry(iotlb, link);

	entry->live = 0;
	entry->first = 1; /* holds no address: to be found by a hint that is out of date */
	entry->last = 0;
	entry->left = 0;
	entry->right = iotlb->free_list;
	if (entry->right)
		iotlb_entry(iotlb, entry->right)->left = link;
	iotlb->free_list = link;
}

void viodma_iotlb_index_counts(struct viodma_iotlb *iotlb, uint64_t first, uint64_t last, bool there)
{
	uint64_t count = iotlb->entry_count;

	if (there)
		iotlb->log_sizes += log_size(first, last);
	else
		iotlb->log_sizes -= log_size(first, last);
	/* One step at a time: up when the mean is one above, down when it is one half below. */
	if (iotlb->log_sizes >= count * (iotlb->key_shift + 1u) && count)
		iotlb->key_shift++;
	else if (2 * iotlb->log_sizes + count < count * 2u * iotlb->key_shift)
		iotlb->key_shift--;
}
