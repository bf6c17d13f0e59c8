/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * viodma/poller.h - to look again, or to sleep: how long whoever serves or drives a ring looks before it sleeps.
 *
 * Sleeping costs a wake on each side, tens of microseconds; looking costs a processor. A poller says which it is to be:
 *
 *	viodma_poller_work   there was something to do
 *	viodma_poller_idle   from now on there is not
 *	viodma_poller_again  look once more? If not: ask to be told (a kick, a call), look for the last time, sleep
 *
 * Rules: 0: never. A number of microseconds: so long, each time. VIODMA_POLL_AUTO: for up to VIODMA_POLLER_AUTO_NS, and only
 * where that pays. It begins when something came so soon after falling asleep that it was worth waiting for; each time that
 * nothing came ends it, until that has happened again: twice after the second such time in a row, and so on, up to
 * VIODMA_POLLER_SKIP_MAX times. Whoever is idle sleeps: it costs at most one look-out after the last work. With one processor
 * in the machine it never looks; where a thread may run on one only, looking lets others run.
 *
 * Single owner. Times are nanoseconds of one clock, whichever.
 */
#ifndef VIODMA_POLLER_H
#define VIODMA_POLLER_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VIODMA_POLL_AUTO UINT32_MAX
#define VIODMA_POLLER_AUTO_NS 50000u
#define VIODMA_POLLER_SKIP_MAX 64u

enum viodma_poller_state { VIODMA_POLLER_BUSY, VIODMA_POLLER_LOOKS, VIODMA_POLLER_SLEEPS };

/* Members are the library's. */
struct viodma_poller {
	uint64_t window_ns, since_ns;
	enum viodma_poller_state state;
	bool adapts, yields;
	bool eager;   /* adapts: the next time there is nothing to do, look */
	bool in_vain; /* sleeps: after it has looked */
	uint32_t skip, skip_next, looks;
};

/* For the thread that calls. poll_us: one of the three above. */
void viodma_poller_init(struct viodma_poller *poller, uint32_t poll_us);

/* There was something to do. */
void viodma_poller_work(struct viodma_poller *poller, uint64_t now_ns);

/* There is nothing more, and something may come. Only the first call after viodma_poller_work counts. */
void viodma_poller_idle(struct viodma_poller *poller, uint64_t now_ns);

/* Look again? False: sleep; also while it is busy, that is before viodma_poller_idle. */
bool viodma_poller_again(struct viodma_poller *poller, uint64_t now_ns);

/* Is it looking, or about to when work ends: are kicks or calls not wanted for now? */
static inline bool viodma_poller_looks(const struct viodma_poller *poller)
{
	return poller->state == VIODMA_POLLER_LOOKS || poller->eager;
}

#ifdef __cplusplus
}
#endif

#endif
