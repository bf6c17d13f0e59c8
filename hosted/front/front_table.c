/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * front_table.c - how it works: a treap, ordered by bus address, with random priorities that keep it level: finding,
 * entering and taking out are O(log n) on average, whatever the order of addresses; these are our own domain's, so nobody
 * chooses them against us. Entries never overlap. They come from blocks that are kept until the end, so that a steady
 * state allocates nothing.
 */
#include "hosted/front/front.h"

#include <stdlib.h>

struct viodma_front_grant *viodma_front_table_find(const struct viodma_front_table *table, uint64_t address)
{
	struct viodma_front_grant *grant = table->root;

	while (grant && (address < grant->first || address > grant->last))
		grant = address < grant->first ? grant->left : grant->right;
	return grant;
}

struct viodma_front_grant *viodma_front_table_at_or_after(const struct viodma_front_table *table, uint64_t address)
{
	struct viodma_front_grant *grant = table->root, *best = NULL;

	while (grant) {
		if (grant->last >= address) {
			best = grant;
			grant = grant->left;
		} else {
			grant = grant->right;
		}
	}
	return best;
}

struct viodma_front_grant *viodma_front_table_new(struct viodma_front_table *table)
{
	struct viodma_front_grant *grant;

	if (!table->free_list) {
		struct viodma_front_block *block = malloc(sizeof(*block));

		if (!block)
			return NULL;
		block->next = table->blocks;
		table->blocks = block;
		for (unsigned i = 0; i < VIODMA_FRONT_BLOCK_GRANTS; i++) {
			block->grants[i].right = table->free_list;
			table->free_list = &block->grants[i];
		}
	}
	grant = table->free_list;
	table->free_list = grant->right;
	*grant = (struct viodma_front_grant){0};
	return grant;
}

static uint32_t next_random(struct viodma_front_table *table)
{
	uint32_t x = table->random ? table->random : 2463534242u;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return table->random = x;
}

void viodma_front_table_insert(struct viodma_front_table *table, struct viodma_front_grant *grant)
{
	struct viodma_front_grant **link = &table->root, **left = &grant->left, **right = &grant->right, *rest;

	grant->priority = next_random(table);
	while (*link && (*link)->priority >= grant->priority)
		link = grant->first < (*link)->first ? &(*link)->left : &(*link)->right;
	/* What hangs here goes below it, split in two. */
	rest = *link;
	*link = grant;
	while (rest) {
		if (rest->first < grant->first) {
			*left = rest;
			left = &rest->right;
			rest = *left;
		} else {
			*right = rest;
			right = &rest->left;
			rest = *right;
		}
	}
	*left = *right = NULL;
}

void viodma_front_table_remove(struct viodma_front_table *table, struct viodma_front_grant *grant)
{
	struct viodma_front_grant **link = &table->root, *left = grant->left, *right = grant->right;

	while (*link != grant)
		link = grant->first < (*link)->first ? &(*link)->left : &(*link)->right;
	while (left && right) {
		if (left->priority > right->priority) {
			*link = left;
			link = &left->right;
			left = *link;
		} else {
			*link = right;
			link = &right->left;
			right = *link;
		}
	}
	*link = left ? left : right;
	grant->right = table->free_list;
	table->free_list = grant;
}

void viodma_front_table_drop(struct viodma_front_table *table)
{
	while (table->blocks) {
		struct viodma_front_block *block = table->blocks;

		table->blocks = block->next;
		free(block);
	}
	*table = (struct viodma_front_table){0};
}
