/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * guard.h - mapped memory of a front end that is truncated under us must not kill the process.
 *
 * Any thread. The handler is the process's; the first guard installs it, and it stays.
 */
#ifndef VIODMA_HOSTED_VHOST_USER_GUARD_H
#define VIODMA_HOSTED_VHOST_USER_GUARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * From now on a SIGBUS in memory..memory+bytes puts zeros there and sets *gone to 1. granule: the size of its pages.
 * Answers a handle for viodma_guard_remove, or -1: no room, or no handler could be installed.
 */
int viodma_guard_add(void *memory, size_t bytes, size_t granule, _Atomic int *gone);
void viodma_guard_remove(int handle);

#endif
