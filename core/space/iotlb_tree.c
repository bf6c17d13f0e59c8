/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * iotlb_tree.c - how it works: an AVL tree with parent links, so that insertion and removal need no recursion and no
 * stack. Every entry stores the height of its subtree (a leaf has 1); on the way up from a change each node's height is
 * made right and, where the two sides differ by two, one or two rotations level it. Depth is at most 1.44 log2(n) + 1,
 * whatever addresses a peer chooses.
 */
#include "iotlb_tree.h"

static unsigned height(const struct viodma_iotlb *iotlb, uint32_t link)
{
	return link ? iotlb_entry(iotlb, link)->height : 0;
}

static void measure(struct viodma_iotlb *iotlb, uint32_t link)
{
	struct viodma_iotlb_entry *entry = iotlb_entry(iotlb, link);
	unsigned left = height(iotlb, entry->left), right = height(iotlb, entry->right);

	entry->height = (uint8_t)((left > right ? left : right) + 1);
}

/* Put `heir` (may be 0) where `link` hangs from its parent. */
static void replace_child(struct viodma_iotlb *iotlb, uint32_t link, uint32_t heir)
{
	uint32_t parent = iotlb_entry(iotlb, link)->parent;

	if (!parent)
		iotlb->root = heir;
	else if (iotlb_entry(iotlb, parent)->left == link)
		iotlb_entry(iotlb, parent)->left = heir;
	else
		iotlb_entry(iotlb, parent)->right = heir;
	if (heir)
		iotlb_entry(iotlb, heir)->parent = parent;
}

static uint32_t rotate_left(struct viodma_iotlb *iotlb, uint32_t link)
{
	struct viodma_iotlb_entry *entry = iotlb_entry(iotlb, link);
	uint32_t riser = entry->right;
	struct viodma_iotlb_entry *up = iotlb_entry(iotlb, riser);

	replace_child(iotlb, link, riser);
	entry->right = up->left;
	if (entry->right)
		iotlb_entry(iotlb, entry->right)->parent = link;
	up->left = link;
	entry->parent = riser;
	measure(iotlb, link);
	measure(iotlb, riser);
	return riser;
}

static uint32_t rotate_right(struct viodma_iotlb *iotlb, uint32_t link)
{
	struct viodma_iotlb_entry *entry = iotlb_entry(iotlb, link);
	uint32_t riser = entry->left;
	struct viodma_iotlb_entry *up = iotlb_entry(iotlb, riser);

	replace_child(iotlb, link, riser);
	entry->left = up->right;
	if (entry->left)
		iotlb_entry(iotlb, entry->left)->parent = link;
	up->right = link;
	entry->parent = riser;
	measure(iotlb, link);
	measure(iotlb, riser);
	return riser;
}

static void level_upwards(struct viodma_iotlb *iotlb, uint32_t link)
{
	while (link) {
		struct viodma_iotlb_entry *entry = iotlb_entry(iotlb, link);
		unsigned left = height(iotlb, entry->left), right = height(iotlb, entry->right);

		if (left > right + 1) {
			const struct viodma_iotlb_entry *child = iotlb_entry(iotlb, entry->left);

			if (height(iotlb, child->right) > height(iotlb, child->left))
				rotate_left(iotlb, entry->left);
			link = rotate_right(iotlb, link);
		} else if (right > left + 1) {
			const struct viodma_iotlb_entry *child = iotlb_entry(iotlb, entry->right);

			if (height(iotlb, child->left) > height(iotlb, child->right))
				rotate_right(iotlb, entry->right);
			link = rotate_left(iotlb, link);
		} else {
			measure(iotlb, link);
		}
		link = iotlb_entry(iotlb, link)->parent;
	}
}

uint32_t viodma_iotlb_tree_find(const struct viodma_iotlb *iotlb, uint64_t address)
{
	uint32_t link = iotlb->root;

	while (link) {
		const struct viodma_iotlb_entry *entry = iotlb_entry(iotlb, link);

		if (address < entry->first)
			link = entry->left;
		else if (address > entry->last)
			link = entry->right;
		else
			break;
	}
	return link;
}

uint32_t viodma_iotlb_tree_at_or_after(const struct viodma_iotlb *iotlb, uint64_t address)
{
	uint32_t link = iotlb->root, best = 0;

	while (link) {
		const struct viodma_iotlb_entry *entry = iotlb_entry(iotlb, link);

		if (entry->last >= address) {
			best = link;
			link = entry->left;
		} else {
			link = entry->right;
		}
	}
	return best;
}

void viodma_iotlb_tree_insert(struct viodma_iotlb *iotlb, uint32_t link)
{
	struct viodma_iotlb_entry *entry = iotlb_entry(iotlb, link);
	uint32_t *place = &iotlb->root, parent = 0;

	while (*place) {
		parent = *place;
		place = entry->first < iotlb_entry(iotlb, parent)->first ? &iotlb_entry(iotlb, parent)->left
									  : &iotlb_entry(iotlb, parent)->right;
	}
	*place = link;
	entry->parent = parent;
	entry->left = entry->right = 0;
	entry->height = 1;
	level_upwards(iotlb, parent);
}

void viodma_iotlb_tree_remove(struct viodma_iotlb *iotlb, uint32_t link)
{
	struct viodma_iotlb_entry *entry = iotlb_entry(iotlb, link);
	uint32_t lowest; /* where heights may be wrong from */

	if (entry->left && entry->right) {
		/* The next entry in order takes this one's place. */
		uint32_t heir = entry->right;
		struct viodma_iotlb_entry *next;

		while (iotlb_entry(iotlb, heir)->left)
			heir = iotlb_entry(iotlb, heir)->left;
		next = iotlb_entry(iotlb, heir);
		lowest = next->parent == link ? heir : next->parent;
		replace_child(iotlb, heir, next->right);
		replace_child(iotlb, link, heir);
		next->left = entry->left;
		iotlb_entry(iotlb, next->left)->parent = heir;
		next->right = entry->right;
		if (next->right)
			iotlb_entry(iotlb, next->right)->parent = heir;
	} else {
		lowest = entry->parent;
		replace_child(iotlb, link, entry->left ? entry->left : entry->right);
	}
	level_upwards(iotlb, lowest);
}
