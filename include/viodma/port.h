/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * viodma/port.h - all that core/ needs from the program it is linked into.
 *
 * Always: four functions with their meaning in ISO C; a compiler may emit calls to them in any freestanding program
 * anyway. On a coherent, direct platform that is all; there is no allocation, no clock, no threads, no output to supply.
 *
 * Beside them, where the platform is of that kind, handed to a domain as operations (at most six of them together):
 *	not coherent          clean, invalidate                struct viodma_cache_ops    viodma/domain.h
 *	an IOMMU              map, unmap, invalidate           struct viodma_iommu_ops    viodma/iommu.h
 *	... in deferred mode  now_ns                           struct viodma_iommu_config viodma/iommu.h
 *	addresses of its own  bus_of, in place of an IOMMU's   struct viodma_bus_of       viodma/domain.h
 * and, for each kind of register interface, a transport (viodma/transport.h). porting.md, installed with the
 * documentation, goes through it.
 */
#ifndef VIODMA_PORT_H
#define VIODMA_PORT_H

#include <stddef.h>

#if __STDC_HOSTED__
#include <string.h>
#else
void *memcpy(void *destination, const void *source, size_t bytes);
void *memmove(void *destination, const void *source, size_t bytes);
void *memset(void *destination, int byte, size_t bytes);
int memcmp(const void *one, const void *other, size_t bytes);
#endif

#endif
