/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * viodma/port.h - all that core/ needs from the program it is linked into.
 *
 * Four functions with their meaning in ISO C; a compiler may emit calls to them in any freestanding program anyway.
 * There is nothing else to supply: no allocation, no clock, no threads, no output.
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
