/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * memory.pml - how it works: shared memory as two processors see it, with what C11 lets them reorder.
 *
 * A store does not reach memory at once: it stays in the store buffer of its side, one place for each word, and memory()
 * takes words out of it in any order, at any time. So stores of different words reach memory in any order, and loads run
 * ahead of stores: what orders them is only
 *   ..._store_release   reaches memory after everything that its side stored before it (viodma_shared_store_release16)
 *   ..._FENCE           goes on when the buffer is empty (viodma_shared_fence)
 * A side sees its own stores at once. Loads happen in the order of the program; where the code asks for an acquire, the
 * twin LOADS_EARLY makes them happen in the other order.
 *
 * A store to a word that is still in the buffer takes its place: the other side may miss the first of them, as it may
 * in fact; that it sees it is the case in which memory() came in between.
 *
 * The including model says how many WORDS there are; those that a side may store with release are the first RELEASABLE.
 */
byte word[WORDS];
byte driver_has[WORDS], device_has[WORDS]; /* what waits in the buffers */
int driver_waits, device_waits;            /* which words do: a bit each */
int driver_before[RELEASABLE], device_before[RELEASABLE]; /* released: what has to reach memory before it */
bool device_silent;                        /* the device has acknowledged a reset: it touches nothing any more */

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

inline driver_store_release(at, what)
{
	driver_before[at] = driver_waits & ~BIT(at);
	driver_store(at, what)
}

inline device_store_release(at, what)
{
	device_before[at] = device_waits & ~BIT(at);
	device_store(at, what)
}

/* What a side reads. */
#define DRIVER_LOAD(at) ((driver_waits & BIT(at)) -> driver_has[at] : word[at])
#define DEVICE_LOAD(at) ((device_waits & BIT(at)) -> device_has[at] : word[at])

/* A full fence blocks until all is in memory. */
#define DRIVER_FENCE (driver_waits == 0)
#define DEVICE_FENCE (device_waits == 0)

/* Where the code has one; a twin leaves it out. */
#ifdef BUG_NO_FENCE_BEFORE_KICK
#define FENCE_BEFORE_KICK true
#else
#define FENCE_BEFORE_KICK DRIVER_FENCE
#endif
#ifdef BUG_NO_FENCE_BEFORE_SLEEP
#define FENCE_BEFORE_SLEEP true
#else
#define FENCE_BEFORE_SLEEP DRIVER_FENCE
#endif
#ifdef BUG_NO_FENCE_AFTER_WISH
#define FENCE_AFTER_WISH true
#else
#define FENCE_AFTER_WISH DEVICE_FENCE
#endif
#ifdef BUG_NO_FENCE_BEFORE_CALL
#define FENCE_BEFORE_CALL true
#else
#define FENCE_BEFORE_CALL DEVICE_FENCE
#endif

/* The word is in memory: who waited for it does not any more. */
#if RELEASABLE == 1
#define ARRIVED(before, at) before[0] = before[0] & ~BIT(at)
#elif RELEASABLE == 2
#define ARRIVED(before, at) before[0] = before[0] & ~BIT(at); before[1] = before[1] & ~BIT(at)
#elif RELEASABLE == 3
#define ARRIVED(before, at)                                                                                           \
	before[0] = before[0] & ~BIT(at); before[1] = before[1] & ~BIT(at); before[2] = before[2] & ~BIT(at)
#else
#define ARRIVED(before, at)                                                                                           \
	before[0] = before[0] & ~BIT(at); before[1] = before[1] & ~BIT(at); before[2] = before[2] & ~BIT(at);         \
	before[3] = before[3] & ~BIT(at)
#endif

#define FROM_DRIVER(at)                                                                                               \
	:: d_step {                                                                                                   \
		(driver_waits & BIT(at)) && (at >= RELEASABLE || !(driver_waits & driver_before[at % RELEASABLE])) -> \
		word[at] = driver_has[at];                                                                            \
		driver_has[at] = 0;                                                                                   \
		driver_waits = driver_waits & ~BIT(at);                                                               \
		ARRIVED(driver_before, at)                                                                            \
	}

#define FROM_DEVICE(at)                                                                                               \
	:: d_step {                                                                                                   \
		(device_waits & BIT(at)) && (at >= RELEASABLE || !(device_waits & device_before[at % RELEASABLE])) -> \
		assert(!device_silent);                                                                               \
		word[at] = device_has[at];                                                                            \
		device_has[at] = 0;                                                                                   \
		device_waits = device_waits & ~BIT(at);                                                               \
		ARRIVED(device_before, at)                                                                            \
	}

/* The ring's memory as new. */
inline clear_memory(kept)
{
	d_at = 0;
	do
	:: d_at < WORDS ->
		word[d_at] = (d_at == kept -> word[d_at] : 0);
		driver_has[d_at] = 0;
		d_at++
	:: else -> break
	od;
	driver_waits = 0;
	d_at = 0;
	do
	:: d_at < RELEASABLE ->
		driver_before[d_at] = 0;
		d_at++
	:: else -> break
	od;
	d_at = 0
}
