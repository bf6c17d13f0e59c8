/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hooks.h - test builds: be told after each read of shared memory (core/base/shared.h calls).
 */
#ifndef VIODMA_TESTS_HOOKS_H
#define VIODMA_TESTS_HOOKS_H

#include <stddef.h>

/* Called after `bytes` at `at` were read, when set. Not thread-safe: set it while no device works. */
extern void (*viodma_shared_read_hook_fn)(const void *at, size_t bytes);

void viodma_shared_read_hook(const void *at, size_t bytes);

#endif
