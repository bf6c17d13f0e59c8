/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_queue_packed_peer.c - packed rings that break a requirement: each ends in the result that names it. (What both
 * layouts have: test_queue_peer.c.)
 */
#include "tests/support/queue_rig.h"

#define W VIRTQ_DESC_F_WRITE
#define N VIRTQ_DESC_F_NEXT
#define I VIRTQ_DESC_F_INDIRECT
#define FIRST 0x8000 /* the position of a fresh ring */
#define BUFFER(n) (TEST_BUFFERS + (n) * TEST_PAGE)

static const struct test_options platform = {.size = 8, .packed = true, .platform = true, .granted = true, .scatter = true};

static bool serve_one(struct test_driver *d, uint16_t head)
{
	struct viodma_request *request;

	test_desc(d, head, test_bus(d, BUFFER(head)), 4, W, 0);
	test_make_available(d, head);
	CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
	viodma_queue_push(&d->queue, request, 4);
	return true;
}

/* The queue answers `wanted`, is broken, and good again after a restart with a ring in order. */
static bool breaks(struct test_driver *d, enum viodma_result wanted)
{
	struct viodma_request *request = NULL;
	uint32_t base;

	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), wanted);
	CHECK(request == NULL || request->state != VIODMA_REQUEST_SUBMITTED);
	CHECK_RESULT(d->queue.broken, wanted);
	CHECK_EQUAL(test_used_idx(d), 0);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), wanted); /* it stays broken */
	if (d->queue.submitted)
		return true;
	CHECK_RESULT(viodma_queue_stop(&d->queue, &base), VIODMA_OK);
	d->setup.base = test_fresh_ring(d);
	CHECK_RESULT(viodma_queue_start(&d->queue, &d->setup, NULL), VIODMA_OK);
	return serve_one(d, 0);
}

static bool a_chain_whose_later_descriptors_are_not_available_breaks_the_queue(void)
{
	for (unsigned s = 0; s < 3; s++) {
		struct test_driver *d = fresh(&platform);

		/* Never written; used; available in the other lap. */
		test_packed_desc(d, 1, test_bus(d, BUFFER(1)), 16, 0,
				 s == 0 ? W : (uint16_t)(W | (s == 1 ? test_used_flags(FIRST) : test_available_flags(0))));
		test_packed_desc(d, 0, test_bus(d, BUFFER(0)), 16, 0, N | VIRTQ_PACKED_DESC_F_AVAIL);
		CHECK(breaks(d, VIODMA_PEER_DESCRIPTOR));
	}
	return true;
}
BEHAVIOUR(a_chain_whose_later_descriptors_are_not_available_breaks_the_queue, "DRV-24")

static bool a_buffer_id_beyond_the_ring_breaks_the_queue(void)
{
	static const uint16_t ids[] = {8, 255, 256, UINT16_MAX};

	for (unsigned i = 0; i < 4; i++) {
		struct test_driver *d = fresh(&platform);

		test_packed_desc(d, 0, test_bus(d, BUFFER(0)), 16, ids[i], VIRTQ_PACKED_DESC_F_AVAIL);
		CHECK(breaks(d, VIODMA_PEER_DESCRIPTOR));
	}
	return true;
}
BEHAVIOUR(a_buffer_id_beyond_the_ring_breaks_the_queue, "DRV-24")

static bool more_descriptors_than_the_ring_has_cannot_be_in_flight(void)
{
	struct test_driver *d = fresh(&platform);
	struct viodma_request *request;

	for (uint16_t i = 0; i < 8; i++) {
		test_desc(d, i, test_bus(d, BUFFER(i)), 16, W, 0);
		test_make_available(d, i);
		if (i < 7)
			CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
	}
	viodma_queue_push(&d->queue, request, 0);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
	/* One is free, and has id 6; a chain of two goes on over a descriptor that is in flight. */
	test_packed_desc(d, 1, test_bus(d, BUFFER(1)), 16, 6, (uint16_t)(W | test_available_flags(0)));
	test_packed_desc(d, 0, test_bus(d, BUFFER(0)), 16, 6, (uint16_t)(N | W | test_available_flags(0)));
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_PEER_DESCRIPTOR);
	return true;
}
BEHAVIOUR(more_descriptors_than_the_ring_has_cannot_be_in_flight, "DRV-24")

static bool an_id_in_flight(unsigned descriptors)
{
	struct test_driver *d = fresh(&platform);
	struct viodma_request *request;

	test_packed_desc(d, 0, test_bus(d, BUFFER(0)), 16, 5, W | VIRTQ_PACKED_DESC_F_AVAIL);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
	test_packed_desc(d, 2, test_bus(d, BUFFER(2)), 16, 5, W | VIRTQ_PACKED_DESC_F_AVAIL);
	test_packed_desc(d, 1, test_bus(d, BUFFER(1)), 16, 5, (descriptors > 1 ? N : W) | VIRTQ_PACKED_DESC_F_AVAIL);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_PEER_HEAD_IN_USE);
	CHECK_RESULT(d->queue.broken, VIODMA_PEER_HEAD_IN_USE);
	CHECK_EQUAL(d->queue.submitted, 1);
	viodma_queue_push(&d->queue, &d->queue.requests[5], 0); /* what was accepted before may end */
	CHECK_EQUAL(d->queue.submitted, 0);
	return true;
}

static bool a_buffer_id_that_is_in_flight_breaks_the_queue(void)
{
	return an_id_in_flight(1) && an_id_in_flight(2);
}
BEHAVIOUR(a_buffer_id_that_is_in_flight_breaks_the_queue, "DRV-16")

static bool a_table_among_other_descriptors_breaks_the_queue(void)
{
	struct test_driver *d = fresh(&platform);

	test_table_desc(d, TEST_TABLES, 0, test_bus(d, BUFFER(1)), 16, W, 0);
	test_packed_desc(d, 1, test_bus(d, TEST_TABLES), 16, 0, I | VIRTQ_PACKED_DESC_F_AVAIL);
	test_packed_desc(d, 0, test_bus(d, BUFFER(0)), 16, 0, N | VIRTQ_PACKED_DESC_F_AVAIL);
	return breaks(d, VIODMA_PEER_INDIRECT_FLAGS);
}
BEHAVIOUR(a_table_among_other_descriptors_breaks_the_queue, "DRV-14")

static bool a_packed_ring_has_any_size_up_to_the_most(void)
{
	CHECK_RESULT(start_with(&platform, 0, 0x1000, 0x2000, 0x3000), VIODMA_PEER_RING_LAYOUT);
	CHECK_RESULT(start_with(&platform, 257, 0x1000, 0x4000, 0x5000), VIODMA_PEER_RING_LAYOUT);
	CHECK_RESULT(start_with(&platform, 0x80000000u, 0x1000, 0x4000, 0x5000), VIODMA_PEER_RING_LAYOUT);
	CHECK_RESULT(start_with(&platform, 1, 0x1000, 0x2000, 0x3000), VIODMA_OK);
	CHECK_RESULT(start_with(&platform, 3, 0x1000, 0x2000, 0x3000), VIODMA_OK);
	CHECK_RESULT(start_with(&platform, 255, 0x1000, 0x2000, 0x3000), VIODMA_OK);
	CHECK_RESULT(start_with(&platform, 256, 0x1000, 0x2000, 0x3000), VIODMA_OK);
	return true;
}
BEHAVIOUR(a_packed_ring_has_any_size_up_to_the_most, "DRV-17")

static bool a_misaligned_packed_ring_part_is_refused(void)
{
	CHECK_RESULT(start_with(&platform, 8, 0x1008, 0x2000, 0x3000), VIODMA_PEER_RING_LAYOUT);
	CHECK_RESULT(start_with(&platform, 8, 0x1000, 0x2002, 0x3000), VIODMA_PEER_RING_LAYOUT);
	CHECK_RESULT(start_with(&platform, 8, 0x1000, 0x2000, 0x3002), VIODMA_PEER_RING_LAYOUT);
	CHECK_RESULT(start_with(&platform, 8, 0x1010, 0x2004, 0x3004), VIODMA_OK);
	return true;
}
BEHAVIOUR(a_misaligned_packed_ring_part_is_refused, "DRV-17")

static bool a_packed_ring_that_wraps_is_refused(void)
{
	CHECK_RESULT(start_with(&platform, 2, UINT64_MAX - 15, 0x2000, 0x3000), VIODMA_PEER_ADDRESS_WRAP);
	CHECK_RESULT(start_with(&platform, 1, UINT64_MAX - 15, 0x2000, 0x3000), VIODMA_OK);
	CHECK_RESULT(start_with(&platform, 8, 0x1000, UINT64_MAX - 3, UINT64_MAX - 3), VIODMA_OK);
	return true;
}
BEHAVIOUR(a_packed_ring_that_wraps_is_refused, "DRV-15")

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_MUTANT(a_chain_whose_later_descriptors_are_not_available_breaks_the_queue),
		WITH_MUTANT(a_buffer_id_beyond_the_ring_breaks_the_queue),
		WITH_MUTANT(more_descriptors_than_the_ring_has_cannot_be_in_flight),
		WITH_MUTANT(a_buffer_id_that_is_in_flight_breaks_the_queue),
		WITH_MUTANT(a_table_among_other_descriptors_breaks_the_queue),
		WITH_MUTANT(a_packed_ring_has_any_size_up_to_the_most),
		WITH_MUTANT(a_misaligned_packed_ring_part_is_refused),
		WITH_MUTANT(a_packed_ring_that_wraps_is_refused),
	};

	return cmocka_run_group_tests_name("queue packed peer", tests, NULL, no_driver);
}
