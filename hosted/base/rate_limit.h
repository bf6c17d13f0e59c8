/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rate_limit.h - so many log lines in so much time, and a count of those not written.
 *
 * Zero it to initialise. Single owner. Times are nanoseconds of CLOCK_MONOTONIC.
 */
#ifndef VIODMA_HOSTED_RATE_LIMIT_H
#define VIODMA_HOSTED_RATE_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#define VIODMA_RATE_LIMIT_LINES 10u
#define VIODMA_RATE_LIMIT_WINDOW_NS 10000000000u

struct viodma_rate_limit {
	uint64_t window_start_ns;
	uint32_t lines;
	uint64_t suppressed;
};

/*
 * May one more line be written, where `lines` in window_ns may? If so, *suppressed says how many before it were not (and
 * were not told of yet).
 */
static inline bool viodma_rate_limit_allow_of(struct viodma_rate_limit *limit, uint64_t now_ns, uint32_t lines,
					      uint64_t window_ns, uint64_t *suppressed)
{
	if (!limit->lines || now_ns - limit->window_start_ns >= window_ns) {
		limit->window_start_ns = now_ns;
		limit->lines = 0;
	}
	if (limit->lines >= lines) {
		limit->suppressed++;
		return false;
	}
	limit->lines++;
	*suppressed = limit->suppressed;
	limit->suppressed = 0;
	return true;
}

static inline bool viodma_rate_limit_allow(struct viodma_rate_limit *limit, uint64_t now_ns, uint64_t *suppressed)
{
	return viodma_rate_limit_allow_of(limit, now_ns, VIODMA_RATE_LIMIT_LINES, VIODMA_RATE_LIMIT_WINDOW_NS,
					  suppressed);
}

#endif
