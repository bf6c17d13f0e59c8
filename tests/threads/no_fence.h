/* SPDX-License-Identifier: BSD-3-Clause */
/* no_fence.h - for twins, which must lose a notification: full fences order what the compiler does, and nothing else. */
#define __atomic_thread_fence(order) __asm__ volatile("" : : : "memory")
