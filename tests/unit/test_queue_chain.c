/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_queue_chain.c - the straight way of chains of several buffers, in the ring and in tables, takes what is beyond doubt and
 * nothing else: what is wrong, withheld or too much ends as it does in any other queue.
 */
#include "tests/support/calm.h"

struct buffer {
	uint64_t bus;
	uint32_t len;
	uint16_t flags;
};

/* A chain from descriptor 1 on, in the ring or in a table; it has been made available. */
static void send_chain(struct test_driver *d, bool table, const struct buffer *buffers, unsigned count)
{
	for (uint16_t i = 0; i < count; i++) {
		const uint16_t flags = (uint16_t)(buffers[i].flags | (i + 1u < count ? VIRTQ_DESC_F_NEXT : 0));
		const viodma_bus bus = {buffers[i].bus};

		if (table)
			test_table_desc(d, TEST_TABLES, i, bus, buffers[i].len, flags, (uint16_t)(i + 1));
		else
			test_desc(d, 1u + i, bus, buffers[i].len, flags, (uint16_t)(i + 2));
	}
	if (table)
		test_desc(d, 1, test_bus(d, TEST_TABLES), 16 * count, VIRTQ_DESC_F_INDIRECT, 0);
	test_make_available(d, 1);
}

#define AT(n, offset) (test_bus(d, BUFFER(n)).v + (offset))
#define NOT_WALKED 77

/* A chain that is beyond doubt, as the device sees it; which is not the walker's work. */
static bool serve_chain(struct test_driver *d, bool table)
{
	const struct buffer buffers[] = {{AT(0, 0), 16, 0}, {AT(0, 16), 8, 0}, {AT(2, 0), 32, 0}, {AT(2, 32), 64, W}, {AT(1, 0), 1, W}};
	const struct viodma_space_statistics before = d->space.statistics;
	const uint16_t at = d->queue.next_avail, end = test_packed() && !table ? test_behind(d, at, 4) : at;
	const unsigned first = (at & 0x7fffu) % 8, last = (end & 0x7fffu) % 8;
	struct viodma_request *request;

	send_chain(d, table, buffers, 5);
	d->queue.requests[1].walk_count = NOT_WALKED;
	d->queue.order[first] = d->queue.order[last] = 9;
	CHECK(is_calm(d));
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
	CHECK_RESULT(request->result, VIODMA_OK);
	CHECK_EQUAL(request->walk_count, NOT_WALKED);
	CHECK(request->head == 1 && request->state == VIODMA_REQUEST_SUBMITTED && request->pinned);
	CHECK_EQUAL(request->readable_bytes, 56);
	CHECK_EQUAL(request->writable_bytes, 65);
	CHECK(request->segment_count == 5 && request->readable_segments == 3);
	CHECK(d->queue.order[first] == 1 && d->queue.order[last] == 1);
	CHECK(request->piece_count == 4 && request->readable_pieces == 2); /* what adjoins is one; but not across */
	CHECK_EQUAL(request->pieces[0].len_bytes, 24);
	CHECK(request->pieces[1].memory == (struct viodma_shared *)(d->memory + BUFFER(2)));
	CHECK(request->pieces[2].memory == (struct viodma_shared *)(d->memory + BUFFER(2) + 32));
	CHECK(request->pieces[3].memory == (struct viodma_shared *)(d->memory + BUFFER(1)));
	for (unsigned i = 0; i < 5; i++) {
		CHECK(request->segments[i].bus.v == buffers[i].bus && request->segments[i].len_bytes == buffers[i].len);
		CHECK(request->segments[i].permission == (buffers[i].flags & W ? VIODMA_WRITE : VIODMA_READ));
	}
	CHECK_EQUAL(d->queue.in_flight, test_packed() && !table ? 5 : 1);
	CHECK_EQUAL(d->space.statistics.translations - before.translations, 5);
	CHECK_EQUAL(d->space.statistics.identity_translations - before.identity_translations, d->options.platform ? 0 : 5);
	viodma_queue_push(&d->queue, request, 65);
	CHECK_EQUAL(d->queue.in_flight, 0);
	return true;
}

/* Each of the four, with chains in the ring and in tables; what they need has been seen. */
#define EACH_CHAIN(behaviour)                                                                                         \
	static bool behaviour(void)                                                                                   \
	{                                                                                                             \
		for (unsigned i = 0; i < 8; i++) {                                                                    \
			struct test_driver *d = calm(i & 1, i & 2);                                                    \
                                                                                                                      \
			CHECK(d != NULL);                                                                              \
			if (i & 1)                                                                                     \
				test_grant(d, TEST_TABLES, TEST_PAGE, VIODMA_READ);                                    \
			CHECK(serve(d, 0, 0) && serve(d, 1, W) && serve_chain(d, i & 4));                              \
			CHECK(behaviour##_in(d, i & 4));                                                               \
		}                                                                                                     \
		return true;                                                                                          \
	}                                                                                                             \
	HOLDS(behaviour)

static bool chains_beyond_doubt_are_not_walked_in(struct test_driver *d, bool table)
{
	for (unsigned i = 0; i < 20; i++)
		CHECK(serve_chain(d, table) && serve(d, i & 1, i & 1 ? W : 0));
	return true;
}
EACH_CHAIN(chains_beyond_doubt_are_not_walked)

static bool again(struct test_driver *d, bool table)
{
	uint32_t base;

	viodma_queue_reset(&d->queue);
	base = test_fresh_ring(d);
	d->setup.base = base;
	CHECK_RESULT(viodma_queue_start(&d->queue, &d->setup, NULL), VIODMA_OK);
	return serve(d, 0, 0) && serve(d, 1, W) && serve_chain(d, table);
}

static bool a_bad_buffer_breaks_a_calm_queue_wherever_it_stands_in(struct test_driver *d, bool table)
{
	const struct {
		struct buffer first, second;
		enum viodma_result wanted;
	} rows[] = {
		{{AT(0, 0), 0, 0}, {AT(1, 0), 16, W}, VIODMA_PEER_LENGTH_ZERO},
		{{AT(0, 0), 16, 0}, {AT(1, 0), 0, W}, VIODMA_PEER_LENGTH_ZERO},
		{{AT(0, 0), 16, 0}, {AT(0, 0), 0, 0}, VIODMA_PEER_LENGTH_ZERO},
		{{UINT64_MAX - 3, 8, 0}, {AT(1, 0), 16, W}, VIODMA_PEER_ADDRESS_WRAP},
		{{AT(0, 0), 16, 0}, {UINT64_MAX - 3, 8, W}, VIODMA_PEER_ADDRESS_WRAP},
		{{AT(1, 0), 16, W}, {AT(0, 0), 16, 0}, VIODMA_PEER_CHAIN_ORDER},
		{{AT(2, 0), 16, W}, {AT(2, 0), 16, 0}, VIODMA_PEER_CHAIN_ORDER},
	};

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct buffer buffers[] = {rows[i].first, rows[i].second};

		CHECK(i == 0 || again(d, table));
		send_chain(d, table, buffers, 2);
		CHECK(breaks(d, rows[i].wanted));
	}
	return true;
}
EACH_CHAIN(a_bad_buffer_breaks_a_calm_queue_wherever_it_stands)

static bool a_chain_that_does_not_end_breaks_a_calm_queue_in(struct test_driver *d, bool table)
{
	const struct buffer buffers[] = {{AT(0, 0), 16, 0}, {AT(0, 0), 16, 0}};
	const size_t at = table ? TEST_TABLES : TEST_DESC;

	if (test_packed()) {
		if (table)
			return true; /* there are no links in it */
		send_chain(d, false, buffers, 2);
		test_put16(d, TEST_DESC + 16u * ((d->queue.next_avail + 1u) % 0x8000 % 8) + 14, 0);
		return breaks(d, VIODMA_PEER_DESCRIPTOR);
	}
	send_chain(d, table, buffers, 2);
	test_put16(d, at + (table ? 0 : 16) + 14, table ? 2 : 8);
	CHECK(breaks(d, VIODMA_PEER_HEAD));
	CHECK(again(d, table));
	send_chain(d, table, buffers, 2);
	test_put16(d, at + (table ? 0 : 16) + 14, table ? 0 : 1);
	CHECK(breaks(d, VIODMA_PEER_CHAIN_LENGTH));
	CHECK(again(d, table));
	send_chain(d, table, buffers, 2);
	test_put16(d, at + (table ? 16 : 32) + 12, VIRTQ_DESC_F_INDIRECT);
	return breaks(d, table ? VIODMA_PEER_INDIRECT_NESTED : VIODMA_PEER_LENGTH_ZERO); /* ring, then table: its zeroes */
}
EACH_CHAIN(a_chain_that_does_not_end_breaks_a_calm_queue)

static bool a_table_that_is_none_breaks_a_calm_queue_in(struct test_driver *d, bool table)
{
	const struct {
		uint64_t bus;
		uint32_t len;
		uint16_t flags;
		enum viodma_result wanted;
	} rows[] = {
		{test_bus(d, TEST_TABLES).v, 0, 0, VIODMA_PEER_INDIRECT_LENGTH},
		{test_bus(d, TEST_TABLES).v, 8, 0, VIODMA_PEER_INDIRECT_LENGTH},
		{test_bus(d, TEST_TABLES).v, 40, 0, VIODMA_PEER_INDIRECT_LENGTH},
		{test_bus(d, TEST_TABLES).v, 9 * 16, 0, VIODMA_PEER_INDIRECT_LENGTH},
		{test_bus(d, TEST_TABLES).v, 32, VIRTQ_DESC_F_NEXT, VIODMA_PEER_INDIRECT_FLAGS},
		{UINT64_MAX - 15, 32, 0, VIODMA_PEER_ADDRESS_WRAP},
		{test_bus(d, TEST_TABLES).v, 32, 0, VIODMA_PEER_INDIRECT_FLAGS}, /* nobody agreed on tables */
	};

	for (unsigned i = 0; table && i < sizeof(rows) / sizeof(rows[0]); i++) {
		CHECK(i == 0 || again(d, true));
		test_desc(d, 1, (viodma_bus){rows[i].bus}, rows[i].len, VIRTQ_DESC_F_INDIRECT | rows[i].flags, 2);
		test_desc(d, 2, test_bus(d, BUFFER(0)), 16, 0, 0);
		for (unsigned j = 0; j < 9; j++)
			test_table_desc(d, TEST_TABLES, j, test_bus(d, BUFFER(0)), 16, j == 1 ? 0 : VIRTQ_DESC_F_NEXT, 1);
		test_make_available(d, 1);
		d->queue.setup.indirect_desc = i < 6;
		CHECK(breaks(d, rows[i].wanted));
		d->queue.setup.indirect_desc = true;
	}
	return true;
}
EACH_CHAIN(a_table_that_is_none_breaks_a_calm_queue)

static bool a_chain_waits_for_what_it_may_not_use_and_is_not_read_again_in(struct test_driver *d, bool table)
{
	const struct {
		unsigned n;
		uint32_t offset, len;
		uint16_t flags;
		enum viodma_permission wanted;
	} rows[] = {{0, 0, 16, W, VIODMA_WRITE}, {1, 0, 16, 0, VIODMA_READ}, {4, 0, 16, W, VIODMA_WRITE}};

	for (unsigned i = 0; d->options.platform && i < 3; i++) {
		const struct buffer buffers[] = {{AT(2, 0), 16, 0}, {AT(rows[i].n, rows[i].offset), rows[i].len, rows[i].flags},
						 {AT(2, 64), 24, W}};
		struct viodma_request *request;
		enum viodma_result result;

		CHECK(serve(d, 2, 0) && serve(d, 2, 0) && serve_chain(d, table));
		send_chain(d, table, buffers, 3);
		CHECK(is_calm(d));
		d->queue.requests[1].walk_id = 3;
		spoilt_from = d->memory;
		viodma_shared_read_hook_fn = spoil;
		result = viodma_queue_pop(&d->queue, &request);
		viodma_shared_read_hook_fn = NULL;
		CHECK(result != VIODMA_OK && d->queue.parked == 1 && !is_calm(d));
		CHECK(test_asked(d, BUFFER(rows[i].n), rows[i].wanted));
		test_answer(d, true);
		CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
		CHECK_RESULT(request->result, VIODMA_OK);
		CHECK_EQUAL(request->head, 1);
		CHECK_EQUAL(request->segment_count, 3);
		CHECK_EQUAL(request->readable_segments, rows[i].flags & W ? 1 : 2);
		CHECK_EQUAL(request->readable_bytes, rows[i].flags & W ? 16 : 32);
		CHECK_EQUAL(request->writable_bytes, rows[i].flags & W ? 40 : 24);
		viodma_queue_push(&d->queue, request, 0);
	}
	return true;
}
EACH_CHAIN(a_chain_waits_for_what_it_may_not_use_and_is_not_read_again)

static bool a_table_has_to_be_readable_in(struct test_driver *d, bool table)
{
	if (!table || !d->options.platform)
		return true;
	test_table_desc(d, BUFFER(1), 0, test_bus(d, BUFFER(0)), 16, 0, 0);
	return waits_for(d, 1, 16, VIRTQ_DESC_F_INDIRECT, 1, VIODMA_READ);
}
EACH_CHAIN(a_table_has_to_be_readable)

static bool the_last_buffer_id_is_the_chains_in(struct test_driver *d, bool table)
{
	const uint16_t first = d->queue.next_avail, second = test_behind(d, first, 1);
	struct viodma_request *request;

	if (table || !test_packed())
		return true;
	test_packed_desc(d, second & 0x7fff, test_bus(d, BUFFER(1)), 16, 5, test_available_flags(second) | W);
	test_packed_desc(d, first & 0x7fff, test_bus(d, BUFFER(0)), 16, 1, test_available_flags(first) | VIRTQ_DESC_F_NEXT);
	CHECK(is_calm(d));
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
	CHECK_RESULT(request->result, VIODMA_OK);
	CHECK(request->head == 5 && request->count == 2 && d->queue.requests[1].state == VIODMA_REQUEST_FREE);
	CHECK(request->readable_bytes == 16 && request->writable_bytes == 16);
	return true;
}
EACH_CHAIN(the_last_buffer_id_is_the_chains)

static bool what_begins_before_a_mapping_is_not_in_it_in(struct test_driver *d, bool table)
{
	const struct buffer buffers[] = {{AT(0, 0), 16, 0}, {AT(2, -8), 16, 0}};
	struct viodma_request *request;

	if (!d->options.platform)
		return true;
	send_chain(d, table, buffers, 2);
	CHECK(is_calm(d));
	CHECK(viodma_queue_pop(&d->queue, &request) != VIODMA_OK ||
	      request->pieces[1].memory != (struct viodma_shared *)(d->memory + BUFFER(2) - 8));
	if (!table)
		return true;
	CHECK(again(d, true));
	test_desc(d, 1, (viodma_bus){test_bus(d, TEST_TABLES).v - 16}, 32, VIRTQ_DESC_F_INDIRECT, 0);
	test_table_desc(d, TEST_TABLES - 16, 0, test_bus(d, BUFFER(0)), 16, 0, 0);
	test_table_desc(d, TEST_TABLES, 0, test_bus(d, BUFFER(0)), 16, 0, 0);
	test_make_available(d, 1);
	CHECK(is_calm(d));
	CHECK(viodma_queue_pop(&d->queue, &request) != VIODMA_OK);
	return true;
}
EACH_CHAIN(what_begins_before_a_mapping_is_not_in_it)

static bool what_is_empty_or_wraps_is_in_no_mapping_of_everything(void)
{
	for (unsigned i = 0; i < 6; i++) {
		const bool table = i & 1;
		struct test_driver *d = calm(false, true);
		const struct viodma_translator translator = {.translate = everything, .context = d};
		const struct buffer sound[] = {{AT(0, 0), 16, 0}, {AT(0, 64), 16, 0}};
		const struct buffer empty[] = {{AT(0, 0), 16, 0}, {0, 0, 0}}, wraps[] = {{AT(0, 0), 16, 0}, {UINT64_MAX - 3, 8, 0}};
		struct viodma_request *request;

		CHECK(d != NULL);
		viodma_space_set_translator(&d->space, &translator);
		CHECK(serve(d, 0, 0) && serve(d, 1, W));
		send_chain(d, table, sound, 2);
		CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
		viodma_queue_push(&d->queue, request, 0);
		if (i < 4) {
			send_chain(d, table, i < 2 ? empty : wraps, 2);
			CHECK(breaks(d, i < 2 ? VIODMA_PEER_LENGTH_ZERO : VIODMA_PEER_ADDRESS_WRAP));
			continue;
		}
		test_desc(d, 1, (viodma_bus){0}, 0, VIRTQ_DESC_F_INDIRECT, 0);
		test_make_available(d, 1);
		CHECK(breaks(d, VIODMA_PEER_INDIRECT_LENGTH));
	}
	return true;
}
HOLDS(what_is_empty_or_wraps_is_in_no_mapping_of_everything)

static bool a_chain_has_bounds(void)
{
	for (unsigned i = 0; i < 4; i++) {
		const struct test_options few = {.size = 8, .event_idx = true, .segments_max = 2};
		struct test_driver *d = fresh(&few);
		const struct buffer long_ones[] = {{4, UINT32_MAX, 0}, {4, 3, 0}};
		const struct buffer buffers[] = {{AT(0, 0), 16, 0}, {AT(1, 0), 8, W}, {AT(2, 0), 4, W}};
		const struct viodma_translator translator = {.translate = everything, .context = d};
		struct viodma_request *request;

		if (i & 2)
			viodma_space_set_translator(&d->space, &translator);
		CHECK(serve(d, 0, 0) && serve(d, 1, W));
		send_chain(d, i & 1, buffers, 2);
		CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
		viodma_queue_push(&d->queue, request, 0);
		send_chain(d, i & 1, i & 2 ? long_ones : buffers, i & 2 ? 2 : 3);
		if (i & 2) {
			CHECK(breaks(d, VIODMA_PEER_CHAIN_BYTES));
			continue;
		}
		CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
		CHECK_RESULT(request->result, VIODMA_E_LIMIT);
		CHECK_EQUAL(request->writable_bytes, 12);
	}
	return true;
}
HOLDS(a_chain_has_bounds)

static bool chains_do_not_take_more_than_the_ring_holds(void)
{
	const struct test_options options = {.size = 4, .event_idx = true, .packed = true};
	struct test_driver *d = fresh(&options);
	const struct buffer buffers[] = {{AT(0, 0), 16, 0}, {AT(0, 0), 16, 0}, {AT(1, 0), 8, W}};
	struct viodma_request *request;

	CHECK(serve(d, 0, 0) && serve(d, 0, 0) && serve(d, 0, 0) && serve(d, 0, 0) && is_calm(d));
	send_chain(d, false, buffers, 3);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
	for (uint16_t i = 0, at = d->queue.next_avail; i < 2; i++, at = test_behind(d, at, 1))
		test_packed_desc(d, at & 0x7fff, test_bus(d, BUFFER(0)), 16, 2,
				 (uint16_t)(test_available_flags(at) | (i ? 0 : VIRTQ_DESC_F_NEXT)));
	return breaks(d, VIODMA_PEER_DESCRIPTOR);
}
HOLDS(chains_do_not_take_more_than_the_ring_holds)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(chains_beyond_doubt_are_not_walked),
		TEST(a_bad_buffer_breaks_a_calm_queue_wherever_it_stands),
		TEST(a_chain_that_does_not_end_breaks_a_calm_queue),
		TEST(a_table_that_is_none_breaks_a_calm_queue),
		TEST(a_chain_waits_for_what_it_may_not_use_and_is_not_read_again),
		TEST(a_table_has_to_be_readable),
		TEST(the_last_buffer_id_is_the_chains),
		TEST(what_begins_before_a_mapping_is_not_in_it),
		TEST(what_is_empty_or_wraps_is_in_no_mapping_of_everything),
		TEST(a_chain_has_bounds),
		TEST(chains_do_not_take_more_than_the_ring_holds),
	};

	return cmocka_run_group_tests_name("queue chain", tests, NULL, calm_after);
}
