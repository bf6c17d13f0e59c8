/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * poller.c - how it works: a state, and for `auto` whether the next idle time begins with looking (eager).
 *
 *	busy --idle--> looks   if eager, or a fixed time was given
 *	busy --idle--> sleeps  otherwise
 *	looks --work--> busy   it paid: what it may have to skip is forgotten
 *	looks --time is up--> sleeps, in vain: not eager any more
 *	sleeps --work--> busy  if it slept at once, and work came within NEAR_NS: eager, unless that has to be skipped
 *
 * NEAR_NS is the time looked plus what waking up both sides may have added to the time in between.
 */
#include <viodma/poller.h>

#include <sched.h>
#include <string.h>
#include <unistd.h>

#define NEAR_NS (2 * (uint64_t)VIODMA_POLLER_AUTO_NS)
#define LOOKS_PER_YIELD 8u

static bool has_one_processor(void)
{
	cpu_set_t processors;

	return !sched_getaffinity(0, sizeof(processors), &processors) && CPU_COUNT(&processors) == 1;
}

void viodma_poller_init(struct viodma_poller *poller, uint32_t poll_us)
{
	const bool adapts = poll_us == VIODMA_POLL_AUTO;

	memset(poller, 0, sizeof(*poller));
	poller->window_ns = adapts ? VIODMA_POLLER_AUTO_NS : (uint64_t)poll_us * 1000;
	if (adapts && sysconf(_SC_NPROCESSORS_ONLN) == 1)
		poller->window_ns = 0;
	poller->adapts = adapts && poller->window_ns;
	poller->eager = !adapts && poller->window_ns;
	poller->yields = has_one_processor();
	poller->skip_next = 1;
}

void viodma_poller_work(struct viodma_poller *poller, uint64_t now_ns)
{
	if (poller->adapts && poller->state == VIODMA_POLLER_LOOKS) {
		poller->skip_next = 1;
	} else if (poller->adapts && poller->state == VIODMA_POLLER_SLEEPS && !poller->in_vain &&
		   now_ns - poller->since_ns <= NEAR_NS) {
		if (poller->skip)
			poller->skip--;
		else
			poller->eager = true;
	}
	poller->state = VIODMA_POLLER_BUSY;
}

void viodma_poller_idle(struct viodma_poller *poller, uint64_t now_ns)
{
	if (poller->state != VIODMA_POLLER_BUSY)
		return;
	poller->since_ns = now_ns;
	poller->in_vain = false;
	poller->state = poller->eager ? VIODMA_POLLER_LOOKS : VIODMA_POLLER_SLEEPS;
}

bool viodma_poller_again(struct viodma_poller *poller, uint64_t now_ns)
{
	if (poller->state != VIODMA_POLLER_LOOKS)
		return false;
	if (now_ns - poller->since_ns < poller->window_ns) {
		if (poller->yields && !(++poller->looks % LOOKS_PER_YIELD))
			sched_yield();
		return true;
	}
	poller->state = VIODMA_POLLER_SLEEPS;
	poller->in_vain = true;
	if (poller->adapts) {
		poller->eager = false;
		poller->skip = poller->skip_next - 1;
		poller->skip_next = poller->skip_next < VIODMA_POLLER_SKIP_MAX ? 2 * poller->skip_next : VIODMA_POLLER_SKIP_MAX;
	}
	return false;
}
