/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * memory.pml - how it works: shared memory as two processors see it, with what C11 lets them reorder.
 *
 * A store does not reach memory at once: it stays in the store buffer of its side, one place for each word, and memory()
 * takes words out of it in any order, at any time. So stores of different words reach memory in any order, and loads run
 * ahead of stores: what orders them is only
 *   store_release   reaches memory after everything its side stored before it (viodma_shared_store_release16)
 *   fence           goes on when the buffer is empty (viodma_shared_fence)
 * A side sees its own stores at once. Loads happen in the order of the program; where the code asks for an acquire, the
 * twin LOADS_EARLY makes them happen in the other order.
 *
 * A store to a word that is still in the buffer takes its place: the other side may miss the first of them, as it may
 * in fact; that it sees it is the case in which memory() came in between.
 *
 * WORDS, DRIVER_RELEASES and DEVICE_RELEASES (the one word each side stores with release) are the including model's.
 */
byte word[WORDS];
byte driver_has[WORDS], device_has[WORDS];        /* what waits in the buffers */
int driver_waits = 0, device_waits = 0;           /* which words do: a bit each */
int driver_before = 0, device_before = 0;         /* which of them must go before the one that is released */
bool device_silent = false;                       /* the device has acknowledged a reset: it touches nothing any more */

#define BIT(at) (1 << (at))

inline driver_store(at, what)
{
	driver_has[at] = what;
	driver_waits = driver_waits | BIT(at)
}

inline device_store(at, what)
{
	device_has[at] = what;
	device_waits = device_waits | BIT(at)
}

/* What is no index and no wish: with EAGER it reaches memory at once, which makes for fewer states. */
inline driver_put(at, what)
{
#if EAGER
	word[at] = what
#else
	driver_store(at, what)
#endif
}

inline device_put(at, what)
{
#if EAGER
	word[at] = what
#else
	device_store(at, what)
#endif
}

inline driver_store_release(what)
{
	driver_before = driver_waits & ~BIT(DRIVER_RELEASES);
	driver_has[DRIVER_RELEASES] = what;
	driver_waits = driver_waits | BIT(DRIVER_RELEASES)
}

inline device_store_release(what)
{
	device_before = device_waits & ~BIT(DEVICE_RELEASES);
	device_has[DEVICE_RELEASES] = what;
	device_waits = device_waits | BIT(DEVICE_RELEASES)
}

#define DRIVER_LOAD(at) ((driver_waits & BIT(at)) -> driver_has[at] : word[at])
#define DEVICE_LOAD(at) ((device_waits & BIT(at)) -> device_has[at] : word[at])

/* A full fence: blocks until all is in memory. */
#define DRIVER_FENCE (driver_waits == 0)
#define DEVICE_FENCE (device_waits == 0)

#define FROM_DRIVER(at)                                                                                               \
	:: d_step {                                                                                                   \
		(driver_waits & BIT(at)) && (at != DRIVER_RELEASES || !(driver_waits & driver_before)) ->             \
		word[at] = driver_has[at];                                                                            \
		driver_has[at] = 0;                                                                                   \
		driver_waits = driver_waits & ~BIT(at);                                                               \
		driver_before = driver_before & ~BIT(at)                                                              \
	}

#define FROM_DEVICE(at)                                                                                               \
	:: d_step {                                                                                                   \
		(device_waits & BIT(at)) && (at != DEVICE_RELEASES || !(device_waits & device_before)) ->             \
		assert(!device_silent);                                                                               \
		word[at] = device_has[at];                                                                            \
		device_has[at] = 0;                                                                                   \
		device_waits = device_waits & ~BIT(at);                                                               \
		device_before = device_before & ~BIT(at)                                                              \
	}
