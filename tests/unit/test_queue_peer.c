/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_queue_peer.c - rings that break a requirement: each ends in the result that names it, stops the queue, touches
 * nothing it must not, and the queue works again after a restart.
 *
 * How it works: every behaviour builds one ring that is wrong in one way; `breaks` pops it and checks the result, the
 * state, that nothing was handed out or written, and the restart. Each is run again with the check removed.
 */
#include "tests/support/queue_rig.h"

#define R 0
#define W VIRTQ_DESC_F_WRITE
#define N VIRTQ_DESC_F_NEXT
#define I VIRTQ_DESC_F_INDIRECT

static const struct test_options physical = {.size = 8};
static const struct test_options platform = {.size = 8, .platform = true, .granted = true, .scatter = true};

static viodma_bus buffer(struct test_driver *d, unsigned page)
{
	return test_bus(d, TEST_BUFFERS + page * TEST_PAGE);
}

/* The queue answers `wanted`, is broken, and good again after a restart with a ring in order. */
static bool breaks(struct test_driver *d, enum viodma_result wanted)
{
	struct viodma_request *request = NULL;
	struct viodma_queue_setup setup = d->setup;
	uint32_t base;

	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), wanted);
	CHECK(request == NULL || request->state != VIODMA_REQUEST_SUBMITTED);
	CHECK_RESULT(d->queue.broken, wanted);
	CHECK_EQUAL(d->queue.submitted, 0);
	CHECK_EQUAL(test_used_idx(d), 0);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), wanted); /* it stays broken */
	CHECK_RESULT(viodma_queue_stop(&d->queue, &base), VIODMA_OK);
	setup.base = test_base(d);
	CHECK_RESULT(viodma_queue_start(&d->queue, &setup, NULL), VIODMA_OK);
	CHECK_RESULT(d->queue.broken, VIODMA_OK);
	test_desc(d, 0, buffer(d, 1), 16, R, 0);
	test_make_available(d, 0);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
	CHECK_RESULT(request->result, VIODMA_OK);
	viodma_queue_push(&d->queue, request, 0);
	return true;
}

static bool an_available_index_too_far_ahead(const struct test_options *options)
{
	struct test_driver *d = fresh(options);

	test_desc(d, 0, buffer(d, 1), 16, R, 0);
	d->avail_idx = 8;
	test_make_available(d, 0); /* index 9 of a ring of 8 */
	return breaks(d, VIODMA_PEER_AVAIL_INDEX);
}

static bool an_available_index_more_than_the_queue_ahead_breaks_the_queue(void)
{
	return an_available_index_too_far_ahead(&physical) && an_available_index_too_far_ahead(&platform);
}
BEHAVIOUR(an_available_index_more_than_the_queue_ahead_breaks_the_queue, "DRV-10")

static bool an_available_index_that_goes_back_breaks_the_queue(void)
{
	struct test_driver *d = fresh(&platform);

	test_put16(d, TEST_AVAIL + VIRTQ_AVAIL_IDX, 65535);
	d->avail_idx = 0;
	return breaks(d, VIODMA_PEER_AVAIL_INDEX);
}
BEHAVIOUR(an_available_index_that_goes_back_breaks_the_queue, "DRV-10")

static bool a_head_beyond_the_table_breaks_the_queue(void)
{
	struct test_driver *d = fresh(&platform);

	test_make_available(d, 8);
	CHECK(breaks(d, VIODMA_PEER_HEAD));
	d = fresh(&platform);
	test_make_available(d, 65535);
	return breaks(d, VIODMA_PEER_HEAD);
}
BEHAVIOUR(a_head_beyond_the_table_breaks_the_queue, "DRV-11")

static bool a_next_index_beyond_the_table_breaks_the_queue(void)
{
	struct test_driver *d = fresh(&platform);

	test_desc(d, 0, buffer(d, 1), 16, N, 8);
	test_desc(d, 8, buffer(d, 1), 16, W, 0); /* there is memory, but no descriptor */
	test_make_available(d, 0);
	return breaks(d, VIODMA_PEER_HEAD);
}
BEHAVIOUR(a_next_index_beyond_the_table_breaks_the_queue, "DRV-11")

static bool a_next_index_beyond_an_indirect_table_breaks_the_queue(void)
{
	struct test_driver *d = fresh(&platform);

	test_table_desc(d, TEST_TABLES, 0, buffer(d, 1), 16, N, 2);
	test_table_desc(d, TEST_TABLES, 1, buffer(d, 1), 16, W, 0);
	test_table_desc(d, TEST_TABLES, 2, buffer(d, 1), 16, W, 0);
	test_desc(d, 0, test_bus(d, TEST_TABLES), 2 * 16, I, 0);
	test_make_available(d, 0);
	return breaks(d, VIODMA_PEER_HEAD);
}
BEHAVIOUR(a_next_index_beyond_an_indirect_table_breaks_the_queue, "DRV-11")

static bool a_chain_that_loops_breaks_the_queue(void)
{
	struct test_driver *d = fresh(&platform);

	test_desc(d, 0, buffer(d, 1), 16, N, 1);
	test_desc(d, 1, buffer(d, 2), 16, N, 0);
	test_make_available(d, 0);
	return breaks(d, VIODMA_PEER_CHAIN_LENGTH);
}
BEHAVIOUR(a_chain_that_loops_breaks_the_queue, "DRV-12")

static bool an_indirect_table_that_loops_breaks_the_queue(void)
{
	struct test_driver *d = fresh(&platform);

	test_table_desc(d, TEST_TABLES, 0, buffer(d, 1), 16, N, 0);
	test_desc(d, 0, test_bus(d, TEST_TABLES), 16, I, 0);
	test_make_available(d, 0);
	return breaks(d, VIODMA_PEER_CHAIN_LENGTH);
}
BEHAVIOUR(an_indirect_table_that_loops_breaks_the_queue, "DRV-12")

static bool a_chain_longer_than_the_queue_breaks_it(void)
{
	struct test_driver *d = fresh(&platform);
	uint16_t i;

	/* One direct descriptor, then a table of 8: nine buffers in a queue of 8. */
	for (i = 0; i < 8; i++)
		test_table_desc(d, TEST_TABLES, i, buffer(d, 1), 16, i < 7 ? N : 0, (uint16_t)(i + 1));
	test_desc(d, 0, buffer(d, 1), 16, N, 1);
	test_desc(d, 1, test_bus(d, TEST_TABLES), 8 * 16, I, 0);
	test_make_available(d, 0);
	return breaks(d, VIODMA_PEER_CHAIN_LENGTH);
}
BEHAVIOUR(a_chain_longer_than_the_queue_breaks_it, "DRV-12")

static bool a_chain_of_more_than_4_gib_breaks_the_queue(void)
{
	struct test_driver *d = fresh(&platform);

	test_desc(d, 0, buffer(d, 1), 0xffffffff, N, 1);
	test_desc(d, 1, buffer(d, 1), 2, R, 0);
	test_make_available(d, 0);
	return breaks(d, VIODMA_PEER_CHAIN_BYTES);
}
BEHAVIOUR(a_chain_of_more_than_4_gib_breaks_the_queue, "DRV-12")

static bool bytes_beyond_4_gib_are_counted_to_the_end_of_the_chain(void)
{
	struct test_driver *d = fresh(&platform);

	test_desc(d, 0, buffer(d, 1), 0xffffffff, N, 1);
	test_desc(d, 1, buffer(d, 1), 1, N, 2); /* 2^32: may be */
	test_desc(d, 2, buffer(d, 1), 1, W, 0); /* one more: may not */
	test_make_available(d, 0);
	return breaks(d, VIODMA_PEER_CHAIN_BYTES);
}
BEHAVIOUR(bytes_beyond_4_gib_are_counted_to_the_end_of_the_chain, "DRV-12")

static bool a_chain_of_4_gib_to_the_byte_breaks_nothing_but_is_not_served(void)
{
	struct test_driver *d = fresh(&platform);
	struct viodma_request *request = NULL;

	test_desc(d, 0, buffer(d, 1), 0xffffffff, N, 1);
	test_desc(d, 1, buffer(d, 2), 1, W, 0);
	test_make_available(d, 0);
	CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
	CHECK(request->result != VIODMA_OK);
	CHECK_RESULT(viodma_queue_reject(&d->queue, request, "\1", 1), VIODMA_OK);
	CHECK_EQUAL(d->memory[TEST_BUFFERS + 2 * TEST_PAGE], 1);
	CHECK_RESULT(d->queue.broken, VIODMA_OK);
	return true;
}
HOLDS(a_chain_of_4_gib_to_the_byte_breaks_nothing_but_is_not_served)

static bool a_readable_descriptor_after_a_writable_one_breaks_the_queue(void)
{
	struct test_driver *d = fresh(&platform);

	test_desc(d, 0, buffer(d, 1), 16, W | N, 1);
	test_desc(d, 1, buffer(d, 2), 16, R, 0);
	test_make_available(d, 0);
	return breaks(d, VIODMA_PEER_CHAIN_ORDER);
}
BEHAVIOUR(a_readable_descriptor_after_a_writable_one_breaks_the_queue, "DRV-13")

static bool an_indirect_table_of_odd_length(uint32_t bytes)
{
	struct test_driver *d = fresh(&platform);
	uint16_t i;

	for (i = 0; i < 9; i++)
		test_table_desc(d, TEST_TABLES, i, buffer(d, 1), 16, R, 0);
	test_desc(d, 0, test_bus(d, TEST_TABLES), bytes, I, 0);
	test_make_available(d, 0);
	return breaks(d, VIODMA_PEER_INDIRECT_LENGTH);
}

static bool an_indirect_table_that_is_no_whole_number_of_descriptors_breaks_the_queue(void)
{
	return an_indirect_table_of_odd_length(24) && an_indirect_table_of_odd_length(15) &&
	       an_indirect_table_of_odd_length(129);
}
BEHAVIOUR(an_indirect_table_that_is_no_whole_number_of_descriptors_breaks_the_queue, "DRV-14")

static bool an_indirect_table_longer_than_the_queue_breaks_it(void)
{
	return an_indirect_table_of_odd_length(9 * 16) && an_indirect_table_of_odd_length(0xfffffff0u);
}
BEHAVIOUR(an_indirect_table_longer_than_the_queue_breaks_it, "DRV-14")

static bool an_empty_indirect_table_breaks_the_queue(void)
{
	struct test_driver *d = fresh(&platform);
	struct viodma_request *request;
	enum viodma_result result;

	test_desc(d, 0, test_bus(d, TEST_TABLES), 0, I, 0);
	test_make_available(d, 0);
	result = viodma_queue_pop(&d->queue, &request);
	CHECK(result == VIODMA_PEER_INDIRECT_LENGTH || result == VIODMA_PEER_LENGTH_ZERO);
	CHECK_RESULT(d->queue.broken, result);
	return true;
}
BEHAVIOUR(an_empty_indirect_table_breaks_the_queue, "DRV-14,DRV-11,DRV-15")

static bool an_indirect_table_in_an_indirect_table_breaks_the_queue(void)
{
	struct test_driver *d = fresh(&platform);

	test_table_desc(d, TEST_TABLES, 0, test_bus(d, TEST_TABLES + 256), 16, I, 0);
	test_table_desc(d, TEST_TABLES + 256, 0, buffer(d, 1), 16, R, 0);
	test_desc(d, 0, test_bus(d, TEST_TABLES), 16, I, 0);
	test_make_available(d, 0);
	return breaks(d, VIODMA_PEER_INDIRECT_NESTED);
}
BEHAVIOUR(an_indirect_table_in_an_indirect_table_breaks_the_queue, "DRV-14")

static bool an_indirect_descriptor_with_next_breaks_the_queue(void)
{
	struct test_driver *d = fresh(&platform);

	test_table_desc(d, TEST_TABLES, 0, buffer(d, 1), 16, R, 0);
	test_desc(d, 0, test_bus(d, TEST_TABLES), 16, I | N, 1);
	test_desc(d, 1, buffer(d, 1), 16, W, 0);
	test_make_available(d, 0);
	return breaks(d, VIODMA_PEER_INDIRECT_FLAGS);
}
BEHAVIOUR(an_indirect_descriptor_with_next_breaks_the_queue, "DRV-14")

static bool an_indirect_descriptor_that_was_not_negotiated_breaks_the_queue(void)
{
	struct test_options options = platform;
	struct test_driver *d;

	options.no_indirect = true;
	d = fresh(&options);
	test_table_desc(d, TEST_TABLES, 0, buffer(d, 1), 16, R, 0);
	test_desc(d, 0, test_bus(d, TEST_TABLES), 16, I, 0);
	test_make_available(d, 0);
	return breaks(d, VIODMA_PEER_INDIRECT_FLAGS);
}
BEHAVIOUR(an_indirect_descriptor_that_was_not_negotiated_breaks_the_queue, "DRV-14")

static bool a_buffer_that_wraps_breaks_the_queue(void)
{
	struct test_driver *d = fresh(&platform);

	test_desc(d, 0, (viodma_bus){UINT64_MAX - 14}, 16, R, 0);
	test_make_available(d, 0);
	return breaks(d, VIODMA_PEER_ADDRESS_WRAP);
}
BEHAVIOUR(a_buffer_that_wraps_breaks_the_queue, "DRV-15")

static bool an_indirect_table_that_wraps_breaks_the_queue(void)
{
	struct test_driver *d = fresh(&platform);

	/* Two descriptors, one at the end of the address space and one at its beginning, each of them in order. */
	test_table_desc(d, TEST_TABLES, 0, buffer(d, 1), 16, N, 1);
	test_table_desc(d, TEST_TABLES, 1, buffer(d, 2), 16, W, 0);
	CHECK_RESULT(viodma_iotlb_update(&d->iotlb, (viodma_bus){UINT64_MAX - 15}, 16, test_user(TEST_TABLES), VIODMA_READ),
		     VIODMA_OK);
	CHECK_RESULT(viodma_iotlb_update(&d->iotlb, (viodma_bus){0}, 16, test_user(TEST_TABLES + 16), VIODMA_READ),
		     VIODMA_OK);
	test_desc(d, 0, (viodma_bus){UINT64_MAX - 15}, 32, I, 0);
	test_make_available(d, 0);
	CHECK(breaks(d, VIODMA_PEER_ADDRESS_WRAP));
	d = fresh(&platform);
	test_desc(d, 0, (viodma_bus){UINT64_MAX - 14}, 16, I, 0);
	test_make_available(d, 0);
	return breaks(d, VIODMA_PEER_ADDRESS_WRAP);
}
BEHAVIOUR(an_indirect_table_that_wraps_breaks_the_queue, "DRV-15")

static bool a_buffer_of_length_0_breaks_the_queue(void)
{
	struct test_driver *d = fresh(&platform);

	test_desc(d, 0, buffer(d, 1), 16, N, 1);
	test_desc(d, 1, buffer(d, 2), 0, W, 0);
	test_make_available(d, 0);
	return breaks(d, VIODMA_PEER_LENGTH_ZERO);
}
BEHAVIOUR(a_buffer_of_length_0_breaks_the_queue, "DRV-15")

static bool a_head_made_available_twice_breaks_the_queue(void)
{
	struct test_driver *d = fresh(&platform);
	struct viodma_request *first, *second;

	test_request(d, 2, TEST_BUFFERS, 16, 0, 0);
	test_make_available(d, 2);
	test_make_available(d, 2);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &first), VIODMA_OK);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &second), VIODMA_PEER_HEAD_IN_USE);
	CHECK_RESULT(d->queue.broken, VIODMA_PEER_HEAD_IN_USE);
	CHECK_EQUAL(d->queue.submitted, 1);
	viodma_queue_push(&d->queue, first, 0); /* what was accepted before may end */
	CHECK_EQUAL(d->queue.submitted, 0);
	return true;
}
BEHAVIOUR(a_head_made_available_twice_breaks_the_queue, "DRV-16")

static bool a_head_may_come_again_once_it_was_used(void)
{
	struct test_driver *d = fresh(&platform);
	struct viodma_request *request;
	unsigned i;

	test_request(d, 2, TEST_BUFFERS, 16, 0, 0);
	for (i = 0; i < 70000; i++) {
		test_make_available(d, 2);
		CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
		viodma_queue_push(&d->queue, request, 0);
		CHECK_EQUAL(test_used_idx(d), (uint16_t)(i + 1)); /* also around the end of 16 bits */
	}
	return true;
}
HOLDS(a_head_may_come_again_once_it_was_used)

/* ---- layouts ---- */

static bool a_queue_size_that_is_no_power_of_two_or_too_large_is_refused(void)
{
	CHECK_RESULT(start_with(&platform, 0, 0x1000, 0x2000, 0x3000), VIODMA_PEER_RING_LAYOUT);
	CHECK_RESULT(start_with(&platform, 3, 0x1000, 0x2000, 0x3000), VIODMA_PEER_RING_LAYOUT);
	CHECK_RESULT(start_with(&platform, 255, 0x1000, 0x2000, 0x3000), VIODMA_PEER_RING_LAYOUT);
	CHECK_RESULT(start_with(&platform, 512, 0x1000, 0x4000, 0x5000), VIODMA_PEER_RING_LAYOUT);
	CHECK_RESULT(start_with(&platform, 0x80000000u, 0x1000, 0x4000, 0x5000), VIODMA_PEER_RING_LAYOUT);
	CHECK_RESULT(start_with(&platform, 1, 0x1000, 0x2000, 0x3000), VIODMA_OK);
	CHECK_RESULT(start_with(&platform, 256, 0x1000, 0x2000, 0x3000), VIODMA_OK);
	return true;
}
BEHAVIOUR(a_queue_size_that_is_no_power_of_two_or_too_large_is_refused, "DRV-17")

static bool a_misaligned_ring_part_is_refused(void)
{
	CHECK_RESULT(start_with(&platform, 8, 0x1008, 0x2000, 0x3000), VIODMA_PEER_RING_LAYOUT);
	CHECK_RESULT(start_with(&platform, 8, 0x1001, 0x2000, 0x3000), VIODMA_PEER_RING_LAYOUT);
	CHECK_RESULT(start_with(&platform, 8, 0x1000, 0x2001, 0x3000), VIODMA_PEER_RING_LAYOUT);
	CHECK_RESULT(start_with(&platform, 8, 0x1000, 0x2000, 0x3002), VIODMA_PEER_RING_LAYOUT);
	CHECK_RESULT(start_with(&platform, 8, 0x1010, 0x2002, 0x3004), VIODMA_OK);
	return true;
}
BEHAVIOUR(a_misaligned_ring_part_is_refused, "DRV-17")

static bool a_ring_part_that_wraps_is_refused(void)
{
	const uint64_t end = UINT64_MAX - 0xf; /* 16 bytes below the end */

	CHECK_RESULT(start_with(&platform, 8, end, 0x2000, 0x3000), VIODMA_PEER_ADDRESS_WRAP);
	CHECK_RESULT(start_with(&platform, 8, 0x1000, end, 0x3000), VIODMA_PEER_ADDRESS_WRAP);
	CHECK_RESULT(start_with(&platform, 8, 0x1000, 0x2000, end), VIODMA_PEER_ADDRESS_WRAP);
	CHECK_RESULT(start_with(&platform, 1, end, 0x2000, 0x3000), VIODMA_OK); /* one descriptor just fits */
	return true;
}
BEHAVIOUR(a_ring_part_that_wraps_is_refused, "DRV-15")

static bool a_running_queue_is_not_started_again(void)
{
	struct test_driver *d = fresh(&platform);

	CHECK_RESULT(viodma_queue_start(&d->queue, &d->setup, NULL), VIODMA_E_BUSY);
	return true;
}
HOLDS(a_running_queue_is_not_started_again)

int main(void)
{
	const struct CMUnitTest both[] = {
		WITH_MUTANT(a_chain_that_loops_breaks_the_queue),
		WITH_MUTANT(a_chain_of_more_than_4_gib_breaks_the_queue),
		WITH_MUTANT(bytes_beyond_4_gib_are_counted_to_the_end_of_the_chain),
		TEST(a_chain_of_4_gib_to_the_byte_breaks_nothing_but_is_not_served),
		WITH_MUTANT(a_readable_descriptor_after_a_writable_one_breaks_the_queue),
		WITH_MUTANT(an_indirect_table_that_is_no_whole_number_of_descriptors_breaks_the_queue),
		WITH_MUTANT(an_indirect_table_longer_than_the_queue_breaks_it),
		WITH_MUTANT(an_empty_indirect_table_breaks_the_queue),
		WITH_MUTANT(an_indirect_descriptor_with_next_breaks_the_queue),
		WITH_MUTANT(an_indirect_descriptor_that_was_not_negotiated_breaks_the_queue),
		WITH_MUTANT(a_buffer_that_wraps_breaks_the_queue),
		WITH_MUTANT(an_indirect_table_that_wraps_breaks_the_queue),
		WITH_MUTANT(a_buffer_of_length_0_breaks_the_queue),
		WITH_MUTANT(a_head_made_available_twice_breaks_the_queue),
		TEST(a_head_may_come_again_once_it_was_used),
		TEST(a_running_queue_is_not_started_again),
	};
	const struct CMUnitTest split[] = {
		WITH_MUTANT(an_available_index_more_than_the_queue_ahead_breaks_the_queue),
		WITH_MUTANT(an_available_index_that_goes_back_breaks_the_queue),
		WITH_MUTANT(a_head_beyond_the_table_breaks_the_queue),
		WITH_MUTANT(a_next_index_beyond_the_table_breaks_the_queue),
		WITH_MUTANT(a_next_index_beyond_an_indirect_table_breaks_the_queue),
		WITH_MUTANT(an_indirect_table_that_loops_breaks_the_queue),
		WITH_MUTANT(a_chain_longer_than_the_queue_breaks_it),
		WITH_MUTANT(an_indirect_table_in_an_indirect_table_breaks_the_queue),
		WITH_MUTANT(a_queue_size_that_is_no_power_of_two_or_too_large_is_refused),
		WITH_MUTANT(a_misaligned_ring_part_is_refused),
		WITH_MUTANT(a_ring_part_that_wraps_is_refused),
	};

	return CHECK_RUN("queue peer", both, split, no_driver);
}
