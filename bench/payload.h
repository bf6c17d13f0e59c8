/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * payload.h - what requests carry, in every rig of this room, so that both halves touch the same bytes in the same way
 * wherever they run. Compiled into each: it is payload, not DMA, that these lines cost.
 */
#ifndef VIODMA_BENCH_PAYLOAD_H
#define VIODMA_BENCH_PAYLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t number_of(uint64_t request)
{
	return (request + 1) * UINT64_C(0x9e3779b97f4a7c15);
}

static inline void fill(unsigned char *to, size_t bytes, uint64_t number)
{
	size_t i;

	for (i = 0; i + 8 <= bytes; i += 8)
		memcpy(to + i, &number, 8);
	for (; i < bytes; i++)
		to[i] = (unsigned char)number;
}

static inline uint64_t sum(const unsigned char *from, size_t bytes)
{
	uint64_t total = 0, word;
	size_t i;

	for (i = 0; i + 8 <= bytes; i += 8) {
		memcpy(&word, from + i, 8);
		total += word;
	}
	for (; i < bytes; i++)
		total += from[i];
	return total;
}

static inline uint64_t sum_of(size_t bytes, uint64_t number)
{
	return bytes / 8 * number + bytes % 8 * (unsigned char)number;
}

/* The pattern of verify(): no shift of it is the same, nor is another request's. */
static inline unsigned char pattern(uint64_t request, size_t at)
{
	const uint64_t mixed = (at + 1) * UINT64_C(0x9e3779b97f4a7c15) + request * UINT64_C(0xbf58476d1ce4e5b9);

	return (unsigned char)(mixed >> 56 ^ mixed >> 24);
}

/* `first`: which byte of the payload is the first one here. */
static inline void fill_pattern(unsigned char *to, size_t bytes, size_t first, uint64_t request)
{
	for (size_t i = 0; i < bytes; i++)
		to[i] = pattern(request, first + i);
}

static inline bool is_pattern(const unsigned char *from, size_t bytes, size_t first, uint64_t request)
{
	for (size_t i = 0; i < bytes; i++)
		if (from[i] != pattern(request, first + i))
			return false;
	return true;
}

#endif
