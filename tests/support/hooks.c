/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hooks.c - how it works: one pointer, NULL unless a test wants to see reads of shared memory.
 */
#include "tests/support/hooks.h"

void (*viodma_shared_read_hook_fn)(const void *at, size_t bytes);

void viodma_shared_read_hook(const void *at, size_t bytes)
{
	if (viodma_shared_read_hook_fn)
		viodma_shared_read_hook_fn(at, bytes);
}
