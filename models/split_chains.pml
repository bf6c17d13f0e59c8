/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * split_chains.pml - how it works: what a head of a split ring leads to: a descriptor, two of them (CHAINS), or one and the
 * table (TABLES). Included by split.pml, where d_at and v_at are the head.
 */
#if CHAINS
int d_in_use;     /* by descriptor */
byte d_second[N]; /* by head: the other descriptor, plus 1 */
byte d_other;
#else
#define d_in_use d_out
#endif
#if TABLES
byte d_table_of;  /* the head that has the table, plus 1 */
#endif
#ifdef BUG_WRITTEN_LATE
int d_late; /* words that are still to be written */
#define CONTENT(at, what) d_late = d_late | BIT(at)
#else
#define CONTENT(at, what) driver_put(at, what)
#endif

/* driver half: store_segment, lead_to_table. One or two descriptors, or a table. */
inline store_chain()
{
#if CHAINS
	d_in_use = d_in_use | BIT(d_at);
	if
	:: true -> driver_put(DESC(d_at), LAST)
	:: d_in_use != BIT(N) - 1 ->
		do
		:: d_in_use & BIT(d_other) -> d_other++
		:: else -> break
		od;
#ifndef BUG_SECOND_STAYS_FREE
		d_in_use = d_in_use | BIT(d_other);
#endif
		d_second[d_at] = d_other + 1;
		driver_put(DESC(d_at), TO(d_other));
		CONTENT(DESC(d_other), LAST);
		d_other = 0
	fi
#elif TABLES
	if
	:: true -> driver_put(DESC(d_at), LAST)
	:: !d_table_of ->
		d_table_of = d_at + 1;
		driver_put(DESC(d_at), TO_TABLE);
		CONTENT(TABLE, LAST)
	fi
#else
	driver_put(DESC(d_at), LAST)
#endif
}

/* driver half: viodma_driver_chain_end */
inline chain_end()
{
	d_out = d_out & ~BIT(d_at - 1);
#if CHAINS
	d_in_use = d_in_use & ~BIT(d_at - 1);
	if
	:: d_second[d_at - 1] ->
		d_in_use = d_in_use & ~BIT(d_second[d_at - 1] - 1);
		d_second[d_at - 1] = 0
	:: else
	fi;
#elif TABLES
	d_table_of = (d_table_of == d_at -> 0 : d_table_of);
#endif
	d_used = NEXT(d_used);
	d_at = 0
}

/* What the head announces was written before it. */
#if CHAINS || TABLES
byte v_word, v_second;
#define KEEP(at) v_word = word[at]
#else
#define KEEP(at) skip
#endif
inline read_once(at)
{
	assert(word[at] != NOTHING);
	KEEP(at);
	word[at] = NOTHING
}

/* device half: viodma_walk_chain */
inline read_chain()
{
	read_once(DESC(v_at - 1));
#if CHAINS
	if
	:: v_word >= TO(0) ->
		v_second = v_word - TO(0);
		read_once(DESC(v_second));
		v_second = 0
	:: else
	fi;
	assert(v_word == LAST);
	v_word = 0;
#elif TABLES
	if
	:: v_word == TO_TABLE -> read_once(TABLE)
	:: else
	fi;
	v_word = 0;
#endif
}
