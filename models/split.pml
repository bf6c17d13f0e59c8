/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * split.pml - how it works: a driver and a device over one split ring, for ever, in memory that reorders (memory.pml).
 *
 * Each inline names the function of core/ring it stands for. One step is what a side does up to and with one access that
 * the other side can tell from its neighbours: its stores are its own affair while they wait in its buffer, so they go
 * together with what follows; a fence, and a load behind it, are one step; words that an index has announced do not
 * change any more, and are read together. Both sides do what their callers may do, in any order they may: add any number
 * and publish, ask whether to kick now or later, turn calls off, take, sleep; fetch, complete in any order, ask whether
 * to call now or later, sleep; the driver resets the ring at any moment.
 *
 * What must hold:
 *   no notification is lost     a side sleeps on `kicked` or `called` alone: one lost leaves both asleep, which Spin
 *                               reports as an invalid end state. A chain that the device loses ends the same way, since
 *                               the driver may wait for the last one at any time
 *   nothing returns twice       what comes back is out
 *   content is seen whole       a descriptor, an entry, an element is read once (DRV-21, DEV-11), and then holds NOTHING:
 *                               who reads it before it was written, or once more, finds that
 *   ids are unique              what is fetched is not in the device's hands yet
 *   after a reset, silence      no store of the device reaches memory after its acknowledgement
 *
 * N is the size; indexes go up to M: 2^16 in the code, here at least 2N, which is what the code has at its largest size.
 * EVENT_IDX 1 or 0. RESETS 1: the driver resets; RESUMES 1: the device stops, and goes on from its base.
 * ORDERLY 1 leaves out some of the freedom, for the larger sizes: the driver asks whether to kick as soon as it has
 * published, and never turns calls off; the device has one request at a time, and asks whether to call when it finds the
 * ring empty, or must.
 * EAGER 1: what is no index and no wish reaches memory at once (memory.pml), for the largest.
 * FILLS 1: the driver adds as many as there is room for, whenever it adds.
 * CHAINS 1: chains of one or two descriptors. TABLES 1: there is one indirect table, for the chain that gets it.
 * IN_ORDER 1: requests end in any order, and come back in the one in which they came; one element may stand for several,
 * which the device half here does not do, and others may.
 * Twins: names that begin with BUG_, listed in run.py.
 */
#ifndef N
#define N 2
#endif
#ifndef M
#define M (2 * N)
#endif
#include "options.pml"
#if IN_ORDER && (CHAINS || TABLES)
#error "heads stand for places"
#endif

/* The ring's words. */
#define AVAIL_IDX 0                    /* driver */
#define USED_IDX 1                     /* device */
#define AVAIL_WISH 2                   /* driver: flags without EVENT_IDX, used_event with */
#define USED_WISH 3                    /* device: flags, or avail_event */
#define DESC(i) (4 + (i))              /* driver: a descriptor, written or not; what comes after it */
#define AVAIL_RING(i) (4 + N + (i))    /* driver: a head, plus 1 */
#define USED_RING(i) (4 + 2 * N + (i)) /* device: a head, plus 1 */
#define TABLE (4 + 3 * N)              /* driver: the indirect table, if there is one */
#define WORDS (4 + 3 * N + TABLES)
#define RELEASABLE 2
#include "memory.pml"

#define NOTHING 0
#define LAST 1
#define TO_TABLE 2
#define TO(i) (3 + (i)) /* another descriptor */
#define NEXT(i) (((i) + 1) % M)
#define MINUS(a, b) (((a) + M - (b)) % M)
/* Did the index pass the event on its way, `by` steps up to `now`? Both sides ask so. */
#ifdef BUG_EVENT_COMPARED
#define PASSED(now, event, by) ((event) == (now))
#else
#define PASSED(now, event, by) ((by) >= M || MINUS(now, ((event) + 1) % M) < (by))
#endif

bool kicked, called; /* eventfds */
bool ring_on = true, resetting;

/* ---- the driver half ---- */

byte d_published, d_used, d_seen_used, d_unkicked; /* indexes: published, got so far, the last one seen */
int d_out;                                         /* by head: with the device */
bool d_calls_off;
byte d_at;
#if IN_ORDER
byte d_left;      /* of those that the last element stood for */
#endif
#include "split_chains.pml"

/*
 * driver half: viodma_driver_queue_add, commit; viodma_driver_queue_publish
 * Heads are interchangeable, so the lowest free one will do.
 */
inline viodma_driver_queue_add_and_publish()
{
	do
	:: d_in_use != BIT(N) - 1 ->
		d_at = ((ORDERLY || IN_ORDER) && !CHAINS -> d_published % N : 0);
		do
		:: d_in_use & BIT(d_at) -> d_at++
		:: else -> break
		od;
		store_chain();
		driver_put(AVAIL_RING(d_published % N), d_at + 1);
		d_out = d_out | BIT(d_at);
		d_published = NEXT(d_published);
		d_unkicked = (d_unkicked < M -> d_unkicked + 1 : M);
		d_at = 0;
		if
		:: true
		:: !FILLS -> break
		fi
	:: else -> break
	od;
#ifdef BUG_NO_RELEASE
	driver_store(AVAIL_IDX, d_published)
#else
	driver_store_release(AVAIL_IDX, d_published)
#endif
#ifdef BUG_WRITTEN_LATE
	;
	d_at = 0;
	do
	:: d_at < WORDS ->
		if
		:: d_late & BIT(d_at) -> driver_put(d_at, LAST)
		:: else
		fi;
		d_at++
	:: else -> break
	od;
	d_at = 0;
	d_late = 0
#endif
#ifdef BUG_TABLE_FREED_EARLY
	;
	d_table_of = 0
#endif
}

/* driver half: viodma_driver_queue_kick_needed, full_fence, device_wants_split; then the kick itself */
inline viodma_driver_queue_kick()
{
	if
	:: EVENT_IDX && PASSED(d_published, word[USED_WISH], d_unkicked) -> kicked = true
	:: !EVENT_IDX && !word[USED_WISH] -> kicked = true
	:: else
	fi;
	d_unkicked = 0
}

/* driver half: look_at_index */
inline look()
{
	d_seen_used = word[USED_IDX];
	assert(MINUS(d_seen_used, d_used) <= MINUS(d_published, d_used))
}

/* driver half: viodma_driver_queue_get, fetch_split */
inline fetch_used()
{
	d_at = word[USED_RING(d_used % N)];
	assert(d_at != NOTHING);           /* it was written before the index was */
	assert(d_out & BIT(d_at - 1));     /* once, and only what is out */
	word[USED_RING(d_used % N)] = NOTHING
}

inline viodma_driver_queue_get()
{
#if IN_ORDER
	/* driver half: fetch_in_order. The oldest has the head of its place, for all have. */
	if
	:: !d_left ->
		fetch_used();
		d_left = (d_at - 1 + N - d_used % N) % N + 1;
#ifdef BUG_ONE_ELEMENT_IS_ONE
		d_left = 1;
#endif
		assert(d_left <= MINUS(d_seen_used, d_used)) /* = DEV-23 */
	:: else
	fi;
	d_at = d_used % N + 1;
	d_left = d_left - 1;
	assert(d_out & BIT(d_at - 1));
#else
	fetch_used();
#endif
	chain_end()
}

/* driver half: viodma_driver_queue_want_no_call */
inline viodma_driver_queue_want_no_call()
{
	if
	:: EVENT_IDX -> driver_store(AVAIL_WISH, (d_used + M / 2) % M)
	:: else -> driver_store(AVAIL_WISH, 1)
	fi;
	d_calls_off = true
}

/* driver half: viodma_driver_queue_want_call, ask_split, something_split: the wish; then the fence, and a last look */
inline viodma_driver_queue_want_call()
{
	if
	:: EVENT_IDX -> driver_store(AVAIL_WISH, d_used)
	:: !EVENT_IDX && d_calls_off -> driver_store(AVAIL_WISH, 0)
	:: else
	fi;
	d_calls_off = false
}

#ifdef BUG_NO_LAST_LOOK
#define THERE_IS_ONE false
#else
#define THERE_IS_ONE (d_seen_used != d_used || word[USED_IDX] != d_used)
#endif

/*
 * driver half: viodma_driver_queue_reset, and once it is acknowledged viodma_driver_queue_take_back,
 * viodma_driver_queue_restart, viodma_driver_queue_enable. The reset of the whole device is the same to the ring.
 */
inline take_back_and_restart()
{
#ifdef BUG_RESET_LEAVES_USED
	clear_memory(USED_IDX);
#else
	clear_memory(WORDS);
#endif
	d_out = 0; d_published = 0; d_used = 0; d_seen_used = 0; d_unkicked = 0;
#if CHAINS
	d_in_use = 0;
	do
	:: d_at < N ->
		d_second[d_at] = 0;
		d_at++
	:: else -> break
	od;
	d_at = 0;
#elif TABLES
	d_table_of = 0;
#endif
#if IN_ORDER
	d_left = 0;
#endif
	d_calls_off = false;
	called = false;
	device_silent = false;
	ring_on = true
}

active proctype driver()
{
awake:	do
	:: atomic { d_in_use != BIT(N) - 1 && !(ORDERLY && d_unkicked) -> viodma_driver_queue_add_and_publish() }
	:: d_step { d_unkicked && FENCE_BEFORE_KICK -> viodma_driver_queue_kick() }
	:: d_step { d_seen_used == d_used && d_out && !(ORDERLY && d_unkicked) -> look() }
	:: d_step { d_seen_used != d_used -> viodma_driver_queue_get() };
progress:	skip
	:: d_step { !ORDERLY && !d_calls_off -> viodma_driver_queue_want_no_call() }
	:: d_step { d_out && !d_unkicked && d_seen_used == d_used -> viodma_driver_queue_want_call() };
		if
		:: d_step { FENCE_BEFORE_SLEEP && THERE_IS_ONE -> look() } /* and gets it */
		:: d_step { FENCE_BEFORE_SLEEP && !THERE_IS_ONE -> skip };
			d_step { called -> called = false }
		fi
	:: atomic { RESETS && !resetting -> resetting = true };
		d_step { !resetting -> take_back_and_restart() }
	od
}

/* ---- the device half ---- */

byte v_next_avail, v_seen_avail, v_next_used, v_unsignalled, v_armed_at;
bool v_signalled, v_armed, v_no_notify;
int v_has;           /* by head: submitted */
byte v_at, v_early;
#if IN_ORDER
int v_done;          /* by head: have ended, and wait for those before them */
byte v_batch;
#else
#define v_done 0
#endif
bool v_empty;        /* the last pop said so: wait for a kick */

/* device half: ahead, load_avail_index */
inline ahead()
{
	v_seen_avail = word[AVAIL_IDX];
	assert(MINUS(v_seen_avail, v_next_avail) <= N)
}

/* device half: viodma_ring_ask_for_kick: the wish; then a fence, unless it was said already */
inline viodma_ring_ask_for_kick()
{
	v_armed_at = v_next_avail;
	if
	:: EVENT_IDX -> device_store(USED_WISH, v_next_avail)
	:: !EVENT_IDX && (v_no_notify || !v_armed) -> device_store(USED_WISH, 0)
	:: else
	fi;
	v_no_notify = false;
	v_armed = true
}

#define WISH_IS_SAID (EVENT_IDX && v_armed && v_armed_at == v_next_avail)

/* device half: viodma_ring_decline_kicks */
inline viodma_ring_decline_kicks()
{
	if
	:: !EVENT_IDX && !v_no_notify ->
		device_store(USED_WISH, 1);
		v_no_notify = true
	:: else
	fi
}

/* device half: fetch, viodma_split_next_head, viodma_walk_chain */
inline fetch()
{
	viodma_ring_decline_kicks();
#ifdef BUG_LOADS_EARLY
	v_at = v_early;
#else
	v_at = word[AVAIL_RING(v_next_avail % N)];
#endif
	assert(v_at != NOTHING);                 /* written before the index was */
	word[AVAIL_RING(v_next_avail % N)] = NOTHING;
	read_chain();
	assert(!((v_has | v_done) & BIT(v_at - 1)));
	v_has = v_has | BIT(v_at - 1);
	v_next_avail = NEXT(v_next_avail);
	v_at = 0
}

/* Any of those submitted. */
inline choose()
{
	if
	:: v_has & 1 -> v_at = 0
	:: v_has & 2 -> v_at = 1
	:: v_has & 4 -> v_at = 2
	:: v_has & 8 -> v_at = 3
	fi;
	v_has = v_has & ~BIT(v_at)
}

/* device half: viodma_queue_push, finish, viodma_split_put_used */
inline put_used(by)
{
#ifdef BUG_INDEX_BEFORE_ELEMENT
	device_store_release(USED_IDX, (v_next_used + by) % M);
	device_put(USED_RING(v_next_used % N), v_at + 1);
#else
	device_put(USED_RING(v_next_used % N), v_at + 1);
	device_store_release(USED_IDX, (v_next_used + by) % M);
#endif
	v_next_used = (v_next_used + by) % M;
#ifdef BUG_COUNT_WRAPS
	v_unsignalled = (v_unsignalled + by) % M;
#else
	v_unsignalled = (v_unsignalled + by < M -> v_unsignalled + by : M);
#endif
	v_at = 0
}

#if IN_ORDER
#ifdef BUG_AS_THEY_END
#define DUE v_done
#else
#define DUE (v_done & BIT(v_next_used % N))
#endif
inline end_one()
{
	choose();
	v_done = v_done | BIT(v_at);
	v_at = 0
}

/* device half: viodma_queue_flush_done, flush_in_order, due. One element for one; others write one for several. */
inline viodma_queue_push()
{
#ifdef BUG_AS_THEY_END
	do
	:: v_done & BIT(v_at) -> break
	:: else -> v_at++
	od;
	v_batch = 1;
	v_done = v_done & ~BIT(v_at);
#else
	do
	:: v_done & BIT((v_next_used + v_batch) % N) ->
		v_at = (v_next_used + v_batch) % N;
		v_done = v_done & ~BIT(v_at);
		v_batch++;
		if
		:: true
		:: true -> break
		fi
	:: else -> break
	od;
#endif
#ifdef BUG_BATCH_MOVES_BY_ONE
	v_batch = 1;
#endif
	put_used(v_batch);
	v_batch = 0
}
#else
#define DUE v_has
inline end_one() { skip }
inline viodma_queue_push()
{
	choose();
	put_used(1)
}
#endif

/* device half: viodma_queue_call_needed, viodma_split_call_wanted; then the call itself */
inline viodma_queue_call_needed()
{
	v_unsignalled = (v_signalled -> v_unsignalled : M);
	if
	:: EVENT_IDX && PASSED(v_next_used, word[AVAIL_WISH], v_unsignalled) -> called = true
	:: !EVENT_IDX && !word[AVAIL_WISH] -> called = true
	:: else
	fi;
	v_unsignalled = 0;
	v_signalled = true
}

/* device half: viodma_queue_start */
inline viodma_queue_start(base)
{
#ifndef BUG_RESET_KEEPS_POSITION
	v_next_used = base;
#endif
	v_next_avail = base;
	v_seen_avail = base;
	v_unsignalled = 0;
	v_signalled = false; v_armed = false; v_no_notify = false; v_armed_at = 0; v_empty = false
}

active proctype device()
{
on:
end:	do
	:: ring_on && !v_empty && v_seen_avail == v_next_avail ->
#ifdef BUG_LOADS_EARLY
		v_early = word[AVAIL_RING(v_next_avail % N)];
#endif
		atomic {
			ahead();
			if
			:: v_seen_avail != v_next_avail
			:: v_seen_avail == v_next_avail && WISH_IS_SAID -> goto again
			:: v_seen_avail == v_next_avail && !WISH_IS_SAID ->
				viodma_ring_ask_for_kick();
				goto fence
			fi
		};
		goto on;
fence:		FENCE_AFTER_WISH;
again:		atomic {
#ifndef BUG_WISH_BEHIND_THE_LOOK
			ahead();
#endif
			v_empty = (v_seen_avail == v_next_avail)
		}
	:: d_step { v_seen_avail != v_next_avail && !(ORDERLY && !IN_ORDER && v_has) -> fetch() }
	:: atomic { IN_ORDER && v_has -> end_one() }
	:: atomic { DUE -> viodma_queue_push() }
	:: d_step { v_unsignalled && (!ORDERLY || v_empty || v_unsignalled >= N) && FENCE_BEFORE_CALL -> viodma_queue_call_needed() }
	:: d_step { v_empty && kicked -> kicked = false; v_empty = false }
	:: atomic { resetting && ring_on -> ring_on = false }; /* device half: viodma_queue_reset */
#ifdef BUG_LATE_WRITE
		d_step { device_silent = true; resetting = false };
		atomic {
			if
			:: DUE -> viodma_queue_push()
			:: else
			fi
		};
#endif
		d_step {
			DEVICE_FENCE ->
			v_has = 0;
#if IN_ORDER
			v_done = 0;
#endif
			viodma_queue_start(0);
			kicked = false;
			device_silent = true;
			resetting = false
		};
		ring_on
	:: d_step { RESUMES && ring_on && !v_has && !v_done && !v_unsignalled && DEVICE_FENCE -> viodma_queue_start(v_next_avail) }
	od
}

active proctype memory()
{
end:	do
#if !EAGER
	FROM_DRIVER(DESC(0))
	FROM_DRIVER(AVAIL_RING(0))
	FROM_DEVICE(USED_RING(0))
#if N > 1
	FROM_DRIVER(DESC(1))
	FROM_DRIVER(AVAIL_RING(1))
	FROM_DEVICE(USED_RING(1))
#endif
#if N > 2
	FROM_DRIVER(DESC(2))
	FROM_DRIVER(AVAIL_RING(2))
	FROM_DEVICE(USED_RING(2))
	FROM_DRIVER(DESC(3))
	FROM_DRIVER(AVAIL_RING(3))
	FROM_DEVICE(USED_RING(3))
#endif
#endif
#if TABLES && !EAGER
	FROM_DRIVER(TABLE)
#endif
	FROM_DRIVER(AVAIL_IDX)
	FROM_DRIVER(AVAIL_WISH)
	FROM_DEVICE(USED_IDX)
	FROM_DEVICE(USED_WISH)
	od
}
