/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hooks.c - how it works: pointers, NULL unless a test wants to see reads of shared memory or stores to a record, and
 * counts of fences, of stores and of entries looked at.
 */
#include "tests/support/hooks.h"

#include <signal.h>
#include <stdlib.h>

void (*viodma_shared_read_hook_fn)(const void *at, size_t bytes);
unsigned viodma_shared_platform_fences[3];
void (*viodma_inflight_store_hook_fn)(void);
void viodma_inflight_store_hook(void);

void viodma_inflight_store_hook(void)
{
	static unsigned long kill_at, moments;
	const char *text;

	if (viodma_inflight_store_hook_fn)
		viodma_inflight_store_hook_fn();
	if (!moments++) {
		text = getenv("VIODMA_KILL_AT");
		kill_at = text ? strtoul(text, NULL, 10) : 0;
	}
	if (moments == kill_at)
		raise(SIGKILL);
}

_Thread_local unsigned long viodma_iotlb_steps;

void viodma_shared_read_hook(const void *at, size_t bytes)
{
	if (viodma_shared_read_hook_fn)
		viodma_shared_read_hook_fn(at, bytes);
}

void viodma_shared_platform_hook(enum viodma_fence fence)
{
	__atomic_fetch_add(&viodma_shared_platform_fences[fence], 1, __ATOMIC_RELAXED);
}

void viodma_iotlb_step_hook(void)
{
	viodma_iotlb_steps++;
}
