/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * packed.pml - how it works: a driver and a device over one packed ring, for ever, in memory that reorders (memory.pml).
 *
 * As split.pml, with what makes a packed ring different: one ring of descriptors that both sides write; a descriptor's
 * flags say whose it is, by a wrap counter that changes with each lap; chains of one or two descriptors, of which the
 * device writes back one; what was added is published by the flags of the first descriptor of it all, which are written
 * last; wishes are a place and a lap. The same must hold, see there.
 *
 * A position is a place and a lap: 0 to N - 1 with the wrap counter 1, N to 2N - 1 with 0. N, EVENT_IDX, ORDERLY, EAGER,
 * FILLS, RESETS, RESUMES, TABLES, IN_ORDER and the twins as in split.pml; chains of two are there always.
 */
#ifndef N
#define N 2
#endif

#include "options.pml"

/* The ring's words. */
#define FLAGS(i) (i)            /* of a descriptor: both sides */
#define BODY(i) (N + (i))       /* the rest of it, its id plus 1: both sides */
#define DRIVER_WISH (2 * N)     /* driver event suppression, both members: one store, one load */
#define DEVICE_WISH (2 * N + 1) /* device event suppression */
#define TABLE (2 * N + 2)       /* driver: the indirect table, if there is one */
#define WORDS (2 * N + 2 + TABLES)
#define RELEASABLE N
#include "memory.pml"

#define NOTHING 0
#define AVAIL 1
#define USED 2
#define CHAINED 4
#define TABLED 8
/* Wishes: always, never, or at a position. */
#define ENABLE 0
#define DISABLE 1
#define AT(position) (2 + (position))

#define LAPS (2 * N)
#define PLACE(position) ((position) % N)
#define ON(position, by) (((position) + (by)) % LAPS)
#define MINUS(a, b) (((a) + LAPS - (b)) % LAPS)
#define IS_AVAILABLE(flags, position) (((flags) & (AVAIL | USED)) == ((position) < N -> AVAIL : USED))
#define IS_USED(flags, position) (((flags) & (AVAIL | USED)) == ((position) < N -> AVAIL | USED : 0))

/* Was the descriptor at `wish` among the `by` before `now`? */
#ifdef BUG_EVENT_COMPARED
#define PASSED(now, wish, by) ((wish) == (now))
#elif defined(BUG_EVENT_WITHOUT_LAP)
#define PASSED(now, wish, by) (PLACE(now) > PLACE(wish) && PLACE(now) - PLACE(wish) <= (by))
#else
#define PASSED(now, wish, by) ((by) >= LAPS || MINUS(now, ((wish) + 1) % LAPS) < (by))
#endif

bool kicked, called; /* eventfds */
bool ring_on = true, resetting;

/* ---- the driver half ---- */

byte d_avail, d_used, d_unkicked, d_free = N; /* positions; descriptors published and not asked about; free ones */
int d_out, d_two;                             /* by id: with the device; of two descriptors */
bool d_calls_off, d_found;
byte d_at, d_first, d_first_flags;

#if TABLES
byte d_table_of; /* the id that has the table, plus 1 */
#endif
#if IN_ORDER
byte d_next_id, d_oldest, d_left; /* ids in turn; of those that the last element stood for */
#else
#define d_left 0
#endif

#define LAP_FLAGS(position) ((position) < N -> AVAIL : USED)

inline store_packed(held, chained)
{
	driver_put(BODY(PLACE(d_avail)), d_at + 1);
	if
#ifndef BUG_FLAGS_BEFORE_THE_REST
	:: held ->
		d_first = PLACE(d_avail);
		d_first_flags = LAP_FLAGS(d_avail) | chained
#endif
	:: else -> driver_put(FLAGS(PLACE(d_avail)), LAP_FLAGS(d_avail) | chained)
	fi;
#ifdef BUG_LAP_NOT_FLIPPED
	d_avail = (d_avail + 1) % N
#else
	d_avail = ON(d_avail, 1)
#endif
}

/*
 * driver half: viodma_driver_queue_add, store_packed, viodma_driver_queue_publish, publish_packed
 * Ids are interchangeable, so the lowest free one will do.
 */
inline viodma_driver_queue_add_and_publish()
{
	d_first = N;
	do
	:: d_free ->
#if IN_ORDER
		d_at = d_next_id;
		d_next_id = (d_next_id + 1) % N;
#else
		d_at = 0;
		do
		:: d_out & BIT(d_at) -> d_at++
		:: else -> break
		od;
#endif
		d_out = d_out | BIT(d_at);
		if
		:: true ->
			store_packed(d_first == N, 0);
			d_free = d_free - 1;
			d_unkicked = d_unkicked + 1
		:: d_free > 1 ->
			store_packed(d_first == N, CHAINED);
			store_packed(false, 0);
			d_two = d_two | BIT(d_at);
			d_free = d_free - 2;
			d_unkicked = d_unkicked + 2
#if TABLES
		:: !d_table_of ->
#ifndef BUG_WRITTEN_LATE
			driver_put(TABLE, 1);
#endif
			store_packed(d_first == N, TABLED);
			d_table_of = d_at + 1;
			d_free = d_free - 1;
			d_unkicked = d_unkicked + 1
#endif
		fi;
		d_unkicked = (d_unkicked > LAPS -> LAPS : d_unkicked);
		if
		:: true
		:: !FILLS -> break
		fi
	:: else -> break
	od;
#if defined(BUG_NO_RELEASE)
	driver_store(FLAGS(d_first), d_first_flags);
#elif !defined(BUG_FLAGS_BEFORE_THE_REST)
	driver_store_release(FLAGS(d_first), d_first_flags);
#endif
#ifdef BUG_WRITTEN_LATE
	if
	:: d_table_of && !word[TABLE] -> driver_put(TABLE, 1)
	:: else
	fi;
#endif
#ifdef BUG_TABLE_FREED_EARLY
	d_table_of = 0;
#endif
	d_at = 0; d_first = 0; d_first_flags = 0
}

/* driver half: viodma_driver_queue_kick_needed, full_fence, device_wants_packed; then the kick itself */
inline viodma_driver_queue_kick()
{
	if
	:: word[DEVICE_WISH] >= AT(0) && PASSED(d_avail, word[DEVICE_WISH] - AT(0), d_unkicked) -> kicked = true
	:: word[DEVICE_WISH] == ENABLE -> kicked = true
	:: else
	fi;
	d_unkicked = 0
}

/* driver half: something_packed */
#define SOMETHING_USED (d_left || IS_USED(DRIVER_LOAD(FLAGS(PLACE(d_used))), d_used))

/* driver half: fetch_packed (its load of the flags came before) */
inline fetch_used()
{
	d_at = DRIVER_LOAD(BODY(PLACE(d_used)));
	assert(d_at != NOTHING);       /* it was written before the flags were */
	assert(d_out & BIT(d_at - 1)); /* once, and only what is out */
	word[BODY(PLACE(d_used))] = NOTHING
}

/* driver half: viodma_driver_queue_get, fetch_in_order, viodma_driver_chain_end */
inline viodma_driver_queue_get()
{
	d_found = false;
#if IN_ORDER
	if
	:: !d_left ->
		fetch_used();
#ifdef BUG_ONE_ELEMENT_IS_ONE
		d_left = 1
#else
		d_left = (d_at - 1 + N - d_oldest) % N + 1
#endif
	:: else
	fi;
	d_at = d_oldest + 1;
	d_oldest = (d_oldest + 1) % N;
	d_left = d_left - 1;
	assert(d_out & BIT(d_at - 1));
#else
	fetch_used();
#endif
#if TABLES
	d_table_of = (d_table_of == d_at -> 0 : d_table_of);
#endif
	if
	:: d_two & BIT(d_at - 1) ->
		d_used = ON(d_used, 2);
		d_free = d_free + 2
	:: else ->
		d_used = ON(d_used, 1);
		d_free = d_free + 1
	fi;
	d_two = d_two & ~BIT(d_at - 1);
	d_out = d_out & ~BIT(d_at - 1);
	d_at = 0
}

/* driver half: viodma_driver_queue_want_no_call */
inline viodma_driver_queue_want_no_call()
{
	driver_store(DRIVER_WISH, DISABLE);
	d_calls_off = true
}

/* driver half: viodma_driver_queue_want_call, ask_packed, something_packed: the wish; then the fence, and a last look */
inline viodma_driver_queue_want_call()
{
	if
	:: EVENT_IDX -> driver_store(DRIVER_WISH, AT(d_used))
	:: !EVENT_IDX && d_calls_off -> driver_store(DRIVER_WISH, ENABLE)
	:: else
	fi;
	d_calls_off = false
}

#ifdef BUG_NO_LAST_LOOK
#define THERE_IS_ONE false
#else
#define THERE_IS_ONE SOMETHING_USED
#endif

/*
 * driver half: viodma_driver_queue_reset, and once it is acknowledged viodma_driver_queue_take_back,
 * viodma_driver_queue_restart, viodma_driver_queue_enable. The reset of the whole device is the same to the ring.
 */
inline take_back_and_restart()
{
#ifdef BUG_RESET_LEAVES_USED
	clear_memory(FLAGS(0));
#else
	clear_memory(WORDS);
#endif
	d_out = 0; d_two = 0; d_avail = 0; d_used = 0; d_unkicked = 0; d_free = N;
	d_calls_off = false; d_found = false;
#if TABLES
	d_table_of = 0;
#endif
#if IN_ORDER
	d_next_id = 0; d_oldest = 0; d_left = 0;
#endif
	called = false;
	device_silent = false;
	ring_on = true
}

active proctype driver()
{
	do
	:: atomic { d_free && !(ORDERLY && d_unkicked) -> viodma_driver_queue_add_and_publish() }
	:: d_step { d_unkicked && FENCE_BEFORE_KICK -> viodma_driver_queue_kick() }
	:: d_step { !d_found && d_out && !(ORDERLY && d_unkicked) && SOMETHING_USED -> d_found = true }
	:: d_step { d_found -> viodma_driver_queue_get() };
progress:	skip
	:: d_step { !ORDERLY && !d_calls_off -> viodma_driver_queue_want_no_call() }
	:: d_step { d_out && !d_unkicked && !d_found -> viodma_driver_queue_want_call() };
		if
		:: d_step { FENCE_BEFORE_SLEEP && THERE_IS_ONE -> d_found = true } /* and gets it */
		:: d_step { FENCE_BEFORE_SLEEP && !THERE_IS_ONE -> skip };
			d_step { called -> called = false }
		fi
	:: atomic { RESETS && !resetting -> resetting = true };
		d_step { !resetting -> take_back_and_restart() }
	od
}

/* ---- the device half ---- */

byte v_avail, v_used, v_unsignalled, v_armed_at;
bool v_signalled, v_armed, v_no_notify;
int v_has, v_two;    /* by id: submitted; of two descriptors */
byte v_at, v_early;
#if IN_ORDER
int v_done;            /* by id: have ended, and wait for those before them */
byte v_oldest, v_batch, v_by;
#else
#define v_done 0
#endif
bool v_found, v_empty; /* the flags say that there is one; the last pop found nothing: wait for a kick */

/* device half: look */
#define SOMETHING_AVAILABLE IS_AVAILABLE(DEVICE_LOAD(FLAGS(PLACE(v_avail))), v_avail)

/* device half: viodma_ring_ask_for_kick: the wish; then a fence, unless it was said already */
inline viodma_ring_ask_for_kick()
{
	if
	:: EVENT_IDX -> device_store(DEVICE_WISH, AT(v_avail))
	:: !EVENT_IDX && (v_no_notify || !v_armed) -> device_store(DEVICE_WISH, ENABLE)
	:: else
	fi;
	v_armed_at = v_avail;
	v_no_notify = false;
	v_armed = true
}

#define WISH_IS_SAID (EVENT_IDX && v_armed && v_armed_at == v_avail)

/* device half: viodma_ring_decline_kicks */
inline viodma_ring_decline_kicks()
{
	if
	:: !EVENT_IDX && !v_no_notify ->
		device_store(DEVICE_WISH, DISABLE);
		v_no_notify = true
	:: else
	fi
}

inline read_body(position)
{
	v_at = DEVICE_LOAD(BODY(PLACE(position)));
	assert(v_at != NOTHING); /* written before the first flags were */
	word[BODY(PLACE(position))] = NOTHING
}

/* device half: viodma_packed_next (its load of the flags came before), viodma_walk_chain */
inline viodma_packed_next()
{
	v_found = false;
	viodma_ring_decline_kicks();
#ifdef BUG_LOADS_EARLY
	v_at = v_early;
	assert(v_at != NOTHING);
	word[BODY(PLACE(v_avail))] = NOTHING;
#else
	read_body(v_avail);
#endif
	if
	:: DEVICE_LOAD(FLAGS(PLACE(v_avail))) & CHAINED ->
		assert(IS_AVAILABLE(DEVICE_LOAD(FLAGS(PLACE(ON(v_avail, 1)))), ON(v_avail, 1))); /* = DRV-24 */
		read_body(ON(v_avail, 1));
		v_two = v_two | BIT(v_at - 1);
		v_avail = ON(v_avail, 2)
#if TABLES
	:: DEVICE_LOAD(FLAGS(PLACE(v_avail))) & TABLED ->
		assert(word[TABLE] != NOTHING);
		word[TABLE] = NOTHING;
		v_avail = ON(v_avail, 1)
#endif
	:: else -> v_avail = ON(v_avail, 1)
	fi;
	assert(!((v_has | v_done) & BIT(v_at - 1)));
	v_has = v_has | BIT(v_at - 1);
	v_at = 0; v_early = 0
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

/* device half: viodma_queue_push, finish, viodma_packed_put_used. Goes on by so many descriptors. */
inline put_used(by)
{
#ifdef BUG_FLAGS_BEFORE_USED
	device_store_release(FLAGS(PLACE(v_used)), (v_used < N -> AVAIL | USED : 0));
	device_put(BODY(PLACE(v_used)), v_at + 1);
#else
	device_put(BODY(PLACE(v_used)), v_at + 1);
	device_store_release(FLAGS(PLACE(v_used)), (v_used < N -> AVAIL | USED : 0));
#endif
#ifdef BUG_GOES_ON_BY_ONE
	v_used = ON(v_used, 1);
	v_unsignalled++;
#else
	v_used = ON(v_used, by);
	v_unsignalled = v_unsignalled + by;
#endif
	v_unsignalled = (v_unsignalled > LAPS -> LAPS : v_unsignalled)
}

#define DESCRIPTORS(id) ((v_two & BIT(id)) -> 2 : 1)

#if IN_ORDER
#ifdef BUG_AS_THEY_END
#define DUE v_done
#else
#define DUE (v_done & BIT(v_oldest))
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
	v_done = v_done & ~BIT(v_at);
	v_by = DESCRIPTORS(v_at);
	v_two = v_two & ~BIT(v_at);
#else
	do
	:: v_done & BIT((v_oldest + v_batch) % N) ->
		v_at = (v_oldest + v_batch) % N;
		v_done = v_done & ~BIT(v_at);
#ifdef BUG_BATCH_MOVES_BY_ONE
		v_by = DESCRIPTORS(v_at);
#else
		v_by = v_by + DESCRIPTORS(v_at);
#endif
		v_two = v_two & ~BIT(v_at);
		v_batch++;
		if
		:: true
		:: true -> break
		fi
	:: else -> break
	od;
	v_oldest = (v_oldest + v_batch) % N;
#endif
	put_used(v_by);
	v_at = 0; v_batch = 0; v_by = 0
}
#else
#define DUE v_has
inline end_one() { skip }
inline viodma_queue_push()
{
	choose();
	put_used(DESCRIPTORS(v_at));
	v_two = v_two & ~BIT(v_at);
	v_at = 0
}
#endif

/* device half: viodma_queue_call_needed, viodma_packed_call_wanted; then the call itself */
inline viodma_queue_call_needed()
{
	v_unsignalled = (v_signalled -> v_unsignalled : LAPS);
	if
	:: word[DRIVER_WISH] >= AT(0) && PASSED(v_used, word[DRIVER_WISH] - AT(0), v_unsignalled) -> called = true
	:: word[DRIVER_WISH] == ENABLE -> called = true
	:: else
	fi;
	v_unsignalled = 0;
	v_signalled = true
}

/* device half: viodma_queue_start */
inline viodma_queue_start(available, used)
{
#ifndef BUG_RESET_KEEPS_POSITION
	v_avail = available;
	v_used = used;
#endif
	v_unsignalled = 0; v_armed_at = 0;
	v_signalled = false; v_armed = false; v_no_notify = false; v_found = false; v_empty = false
}

active proctype device()
{
on:
end:	do
	:: ring_on && !v_empty && !v_found ->
#ifdef BUG_LOADS_EARLY
		v_early = DEVICE_LOAD(BODY(PLACE(v_avail)));
#endif
		atomic {
			if
			:: SOMETHING_AVAILABLE -> v_found = true
			:: !SOMETHING_AVAILABLE && WISH_IS_SAID -> goto again
			:: !SOMETHING_AVAILABLE && !WISH_IS_SAID ->
				viodma_ring_ask_for_kick();
				goto fence
			fi
		};
		goto on;
fence:		FENCE_AFTER_WISH;
again:		atomic {
#ifdef BUG_WISH_BEHIND_THE_LOOK
			v_empty = true
#else
			v_found = SOMETHING_AVAILABLE;
			v_empty = !v_found
#endif
		}
	:: d_step { v_found && !(ORDERLY && !IN_ORDER && v_has) -> viodma_packed_next() }
	:: atomic { IN_ORDER && v_has -> end_one() }
	:: atomic { DUE -> viodma_queue_push() }
	:: d_step { v_unsignalled && (!ORDERLY || v_empty || v_unsignalled >= N) && FENCE_BEFORE_CALL ->
			viodma_queue_call_needed() }
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
			v_has = 0; v_two = 0;
#if IN_ORDER
			v_done = 0; v_oldest = 0;
#endif
			viodma_queue_start(0, 0);
			kicked = false;
			device_silent = true;
			resetting = false
		};
		ring_on
	:: d_step { RESUMES && ring_on && !v_has && !v_done && !v_unsignalled && DEVICE_FENCE -> /* device half: viodma_queue_stop */
			viodma_queue_start(v_avail, v_used) }
	od
}

active proctype memory()
{
end:	do
	FROM_DRIVER(FLAGS(0))
	FROM_DEVICE(FLAGS(0))
#if N > 1
	FROM_DRIVER(FLAGS(1))
	FROM_DEVICE(FLAGS(1))
#endif
#if N > 2
	FROM_DRIVER(FLAGS(2))
	FROM_DEVICE(FLAGS(2))
#endif
#if N > 3
	FROM_DRIVER(FLAGS(3))
	FROM_DEVICE(FLAGS(3))
#endif
#if !EAGER
	FROM_DRIVER(BODY(0))
	FROM_DEVICE(BODY(0))
#if N > 1
	FROM_DRIVER(BODY(1))
	FROM_DEVICE(BODY(1))
#endif
#if N > 2
	FROM_DRIVER(BODY(2))
	FROM_DEVICE(BODY(2))
#endif
#if N > 3
	FROM_DRIVER(BODY(3))
	FROM_DEVICE(BODY(3))
#endif
#endif
#if TABLES && !EAGER
	FROM_DRIVER(TABLE)
#endif
	FROM_DRIVER(DRIVER_WISH)
	FROM_DEVICE(DEVICE_WISH)
	od
}
