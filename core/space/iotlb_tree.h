/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * iotlb_tree.h - the entries of an IOTLB as a balanced tree ordered by bus address. Entries never overlap, so one order
 * serves first and last address alike. Links are index + 1; 0 is no entry.
 */
#ifndef VIODMA_SPACE_IOTLB_TREE_H
#define VIODMA_SPACE_IOTLB_TREE_H

#include <viodma/iotlb.h>

/* In test builds each entry that is looked at is counted: what is said to be O(log n) is (tests/support/hooks.c). */
#ifdef VIODMA_TEST_BUILD
void viodma_iotlb_step_hook(void);
#else
static inline void viodma_iotlb_step_hook(void)
{
}
#endif

static inline struct viodma_iotlb_entry *iotlb_entry(const struct viodma_iotlb *iotlb, uint32_t link)
{
	viodma_iotlb_step_hook();
	return &iotlb->config.entries[link - 1];
}

/* The entry that holds the address, else 0. */
uint32_t viodma_iotlb_tree_find(const struct viodma_iotlb *iotlb, uint64_t address);

/* The first entry that ends at or after the address, else 0. */
uint32_t viodma_iotlb_tree_at_or_after(const struct viodma_iotlb *iotlb, uint64_t address);

/* Pre: the entry's range is free in the tree; it is not in the tree. */
void viodma_iotlb_tree_insert(struct viodma_iotlb *iotlb, uint32_t link);

/* Pre: the entry is in the tree. */
void viodma_iotlb_tree_remove(struct viodma_iotlb *iotlb, uint32_t link);

#endif
