/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hooks.c - how it works: a pointer, NULL unless a test wants to see reads of shared memory, and counts of fences.
 */
#include "tests/support/hooks.h"

void (*viodma_shared_read_hook_fn)(const void *at, size_t bytes);
unsigned viodma_shared_platform_fences[3];

void viodma_shared_read_hook(const void *at, size_t bytes)
{
	if (viodma_shared_read_hook_fn)
		viodma_shared_read_hook_fn(at, bytes);
}

void viodma_shared_platform_hook(enum viodma_fence fence)
{
	__atomic_fetch_add(&viodma_shared_platform_fences[fence], 1, __ATOMIC_RELAXED);
}
