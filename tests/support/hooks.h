/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hooks.h - test builds: be told after each read of shared memory, before and after each store to the record of what is
 * in flight, how many of the platform's fences there were, and how many entries of IOTLBs were looked at
 * (core/base/shared.h, hosted/vhost_user/inflight.h, core/space/iotlb_tree.h call).
 *
 * VIODMA_KILL_AT=N in the environment: the process is killed (SIGKILL) at the Nth of those moments around stores.
 */
#ifndef VIODMA_TESTS_HOOKS_H
#define VIODMA_TESTS_HOOKS_H

#include "core/base/shared.h"
#include "core/space/iotlb_tree.h"

/* Called after `bytes` at `at` were read, when set. Not thread-safe: set it while no device works. */
extern void (*viodma_shared_read_hook_fn)(const void *at, size_t bytes);

/* Called before and after each store to an in-flight region, when set. */
extern void (*viodma_inflight_store_hook_fn)(void);

/* By enum viodma_fence. */
extern unsigned viodma_shared_platform_fences[3];

/* Entries of IOTLBs that this thread looked at, one more than once if need be. */
extern _Thread_local unsigned long viodma_iotlb_steps;

#endif
