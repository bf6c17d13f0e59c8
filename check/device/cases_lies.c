/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cases_lies.c - a driver that breaks the ring's rules (DRV-10 to DRV-16, DRV-24). A device may stop the queue, refuse the
 * request, or make the best of it. It may not crash, hang, touch what it has no business with, or be of no use after a
 * reset.
 */
#include "check/device/cases.h"

#include <string.h>

static const struct check_setup usual = {0};

#define W VIRTQ_DESC_F_WRITE
#define N VIRTQ_DESC_F_NEXT
#define I VIRTQ_DESC_F_INDIRECT

/* The rings run, the device works, and a page is granted that lies are about. */
static bool begin(struct check_session *session, struct check_place *page)
{
	return check_session_start(session, &usual) && check_device_works(session) && check_place(session, CHECK_PAGE, 0, page) &&
	       check_grant(session, page, CHECK_READ_WRITE);
}

/* The lie is shown; memory but that page stays as it is; after a reset the device works. */
static enum check_verdict survives(struct check_session *session, const struct check_place *page)
{
	check_rings_accept(session);
	check_rings_allow(session);
	check_memory_allow(&session->memory, page, 0, page->bytes);
	check_ring_kick(&session->rings[0]);
	check_wait_ms(session, 30);
	if (session->peer.state == CHECK_GONE) {
		/* It may end the connection; what it may not is to be gone itself. */
		check_event(session, CHECK_PEER, 0, 0, "it ended the connection");
		session->peer.state = CHECK_ANSWERED;
		if (!check_untouched(session, "memory that the lie was not about"))
			return check_trouble(session);
	} else {
		if (session->peer.state != CHECK_ANSWERED || !check_untouched(session, "memory that the lie was not about") ||
		    !check_session_reset(session))
			return check_trouble(session);
	}
	if (!check_session_again(session) || !check_session_start(session, &usual) || !check_device_works(session))
		return check_trouble(session);
	return check_passed(session);
}

static enum check_verdict tell(struct check_session *session, void (*lie)(struct check_session *, struct check_ring *, uint64_t))
{
	struct check_place page;

	if (!begin(session, &page))
		return check_trouble(session);
	check_memory_remember(&session->memory);
	lie(session, &session->rings[0], check_address(session, &page));
	return survives(session, &page);
}

#define LIE(name, ...)                                                                                                \
	static void lie_##name(struct check_session *session, struct check_ring *ring, uint64_t page)                \
	{                                                                                                             \
		(void)session;                                                                                        \
		(void)page;                                                                                           \
		__VA_ARGS__                                                                                           \
	}                                                                                                             \
	static enum check_verdict name(struct check_session *session)                                                 \
	{                                                                                                             \
		return tell(session, lie_##name);                                                                     \
	}

/* Split: a head that is none. Packed: a buffer id that is none. */
LIE(head_too_large, {
	check_ring_descriptor(ring, ring->packed ? 0 : 8, page, 64, W, ring->packed ? 0xfff0 : 0);
	check_ring_show(ring, ring->packed ? 1 : (uint16_t)(ring->size + 5));
})

LIE(next_too_large, {
	check_ring_descriptor(ring, ring->packed ? 0 : 8, page, 64, N | W, ring->packed ? 8 : (uint16_t)(ring->size + 1));
	check_ring_show(ring, ring->packed ? 1 : 8);
})

/* Split: a chain that comes back to itself. Packed: one that goes around the whole ring. */
LIE(loops, {
	if (!ring->packed) {
		check_ring_descriptor(ring, 8, page, 64, N | W, 9);
		check_ring_descriptor(ring, 9, page, 64, N | W, 8);
		check_ring_show(ring, 8);
	} else {
		for (uint32_t i = 0; i < ring->size; i++)
			check_ring_descriptor(ring, i, page, 64, N | W, 8);
		check_ring_show(ring, (uint16_t)ring->size);
	}
})

LIE(readable_after_writable, {
	check_ring_descriptor(ring, ring->packed ? 0 : 8, page, 64, N | W, ring->packed ? 8 : 9);
	check_ring_descriptor(ring, ring->packed ? 1 : 9, page + 64, 64, 0, ring->packed ? 8 : 0);
	check_ring_show(ring, ring->packed ? 2 : 8);
})

LIE(length_zero, {
	check_ring_descriptor(ring, ring->packed ? 0 : 8, page, 0, W, ring->packed ? 8 : 0);
	check_ring_show(ring, ring->packed ? 1 : 8);
})

LIE(address_wraps, {
	check_ring_descriptor(ring, ring->packed ? 0 : 8, UINT64_MAX - 15, 4096, W, ring->packed ? 8 : 0);
	check_ring_show(ring, ring->packed ? 1 : 8);
})

/* Four gigabytes and a bit, all of it the same page. */
LIE(too_many_bytes, {
	check_ring_descriptor(ring, ring->packed ? 0 : 8, page, UINT32_MAX, N | W, ring->packed ? 8 : 9);
	check_ring_descriptor(ring, ring->packed ? 1 : 9, page, 4096, W, ring->packed ? 8 : 0);
	check_ring_show(ring, ring->packed ? 2 : 8);
})

LIE(table_of_half_an_entry, {
	check_ring_descriptor(ring, ring->packed ? 0 : 8, page, 24, I, ring->packed ? 8 : 0);
	check_ring_show(ring, ring->packed ? 1 : 8);
})

LIE(table_empty, {
	check_ring_descriptor(ring, ring->packed ? 0 : 8, page, 0, I, ring->packed ? 8 : 0);
	check_ring_show(ring, ring->packed ? 1 : 8);
})

LIE(table_and_next, {
	check_ring_descriptor(ring, ring->packed ? 0 : 8, page, 16, I | N, ring->packed ? 8 : 9);
	check_ring_descriptor(ring, ring->packed ? 1 : 9, page, 64, W, ring->packed ? 8 : 0);
	check_ring_show(ring, ring->packed ? 2 : 8);
})

/* The page is a table whose entry is one, too: the page itself. */
static enum check_verdict table_in_table(struct check_session *session)
{
	struct check_place page;
	struct check_ring *ring = &session->rings[0];

	if (!begin(session, &page))
		return check_trouble(session);
	check_ring_table_entry(ring, &page, 0, check_address(session, &page), 16, I, 0);
	check_memory_remember(&session->memory);
	check_ring_descriptor(ring, ring->packed ? 0 : 8, check_address(session, &page), 16, I, ring->packed ? 8 : 0);
	check_ring_show(ring, ring->packed ? 1 : 8);
	return survives(session, &page);
}

/* In a table: next is beyond it (split); more entries than the queue has (packed). */
static enum check_verdict table_beyond_itself(struct check_session *session)
{
	struct check_place page;
	struct check_ring *ring = &session->rings[0];

	if (!begin(session, &page))
		return check_trouble(session);
	check_ring_table_entry(ring, &page, 0, check_address(session, &page) + 2048, 64, W | N, 100);
	check_memory_remember(&session->memory);
	check_ring_descriptor(ring, ring->packed ? 0 : 8, check_address(session, &page), ring->packed ? 4096 : 32, I,
			      ring->packed ? 8 : 0);
	check_ring_show(ring, ring->packed ? 1 : 8);
	return survives(session, &page);
}

/* Split: the available index runs ahead of the ring. Packed: descriptors that were never written are available. */
LIE(index_ahead, {
	if (!ring->packed)
		check_ring_available_index(ring, (uint16_t)(ring->next_avail + ring->size + 3));
	else
		for (uint32_t i = 1; i < ring->size; i += 2) {
			check_ring_descriptor(ring, i, 0, 0, 0, (uint16_t)(0xff00 + i));
			check_ring_show(ring, 0);
		}
})

/* The same chain twice, before it was used: with a buffer that takes a while, if anything does. */
LIE(head_twice, {
	check_ring_descriptor(ring, ring->packed ? 0 : 8, page, 512, W, 8);
	check_ring_show(ring, ring->packed ? 1 : 8);
	if (ring->packed)
		check_ring_descriptor(ring, 0, page, 512, W, 8);
	check_ring_show(ring, ring->packed ? 1 : 8);
})

const struct check_case check_cases_lies[] = {
	{"lie-head", "DRV-11", "survives a head that is not below the ring's size", CHECK_NEEDS_RING, head_too_large},
	{"lie-next", "DRV-11", "survives a chain that leads out of its table", CHECK_NEEDS_RING, next_too_large},
	{"lie-loop", "DRV-12", "survives a chain without end", CHECK_NEEDS_RING, loops},
	{"lie-order", "DRV-13", "survives a readable descriptor after a writable one", CHECK_NEEDS_RING, readable_after_writable},
	{"lie-length-zero", "DRV-15", "survives a buffer of no bytes", CHECK_NEEDS_RING, length_zero},
	{"lie-address-wraps", "DRV-15", "survives a buffer whose addresses wrap", CHECK_NEEDS_RING, address_wraps},
	{"lie-bytes", "DRV-12", "survives a chain of more than 2^32 bytes", CHECK_NEEDS_RING, too_many_bytes},
	{"lie-table-half", "DRV-14", "survives a table of one and a half entries", CHECK_NEEDS_RING | CHECK_NEEDS_INDIRECT,
	 table_of_half_an_entry},
	{"lie-table-empty", "DRV-14", "survives a table of no entries", CHECK_NEEDS_RING | CHECK_NEEDS_INDIRECT, table_empty},
	{"lie-table-next", "DRV-14", "survives a table that has a next", CHECK_NEEDS_RING | CHECK_NEEDS_INDIRECT, table_and_next},
	{"lie-table-in-table", "DRV-14", "survives a table in a table", CHECK_NEEDS_RING | CHECK_NEEDS_INDIRECT, table_in_table},
	{"lie-table-next-beyond", "DRV-11", "survives a table that leads out of itself", CHECK_NEEDS_RING | CHECK_NEEDS_INDIRECT,
	 table_beyond_itself},
	{"lie-index", "DRV-10", "survives an available index that is ahead of the ring", CHECK_NEEDS_RING, index_ahead},
	{"lie-head-twice", "DRV-16", "survives a chain that is made available twice", CHECK_NEEDS_RING, head_twice},
	{0},
};
