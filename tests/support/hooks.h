/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hooks.h - test builds: be told after each read of shared memory, and how many of the platform's fences there were
 * (core/base/shared.h calls).
 */
#ifndef VIODMA_TESTS_HOOKS_H
#define VIODMA_TESTS_HOOKS_H

#include "core/base/shared.h"

/* Called after `bytes` at `at` were read, when set. Not thread-safe: set it while no device works. */
extern void (*viodma_shared_read_hook_fn)(const void *at, size_t bytes);

/* By enum viodma_fence. */
extern unsigned viodma_shared_platform_fences[3];

#endif
