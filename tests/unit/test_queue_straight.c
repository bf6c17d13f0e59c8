/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_queue_straight.c - the straight way through a calm queue refuses nothing by itself and lets nothing through: what is
 * wrong, withdrawn or withheld ends as it does in any other queue.
 *
 * How it works: requests go through until the queue is calm; then comes the one that the test is about. With an event
 * index a queue is calm from its first request on.
 */
#include "tests/support/calm.h"

#define EACH(behaviour)                                                                                               \
	static bool behaviour(void)                                                                                   \
	{                                                                                                             \
		for (unsigned i = 0; i < 4; i++) {                                                                    \
			struct test_driver *d = calm(i & 1, i & 2);                                                    \
                                                                                                                      \
			CHECK(d != NULL);                                                                              \
			CHECK(behaviour##_in(d));                                                                      \
		}                                                                                                     \
		return true;                                                                                          \
	}

/* ---- what is wrong ---- */

static bool an_empty_buffer_breaks_a_calm_queue_in(struct test_driver *d)
{
	test_desc(d, 1, test_bus(d, BUFFER(0)), 0, 0, 0);
	test_make_available(d, 1);
	return breaks(d, VIODMA_PEER_LENGTH_ZERO);
}
EACH(an_empty_buffer_breaks_a_calm_queue)
BEHAVIOUR(an_empty_buffer_breaks_a_calm_queue, "DRV-15")

static bool a_buffer_that_wraps_breaks_a_calm_queue_in(struct test_driver *d)
{
	test_desc(d, 1, (viodma_bus){UINT64_MAX - 3}, 8, 0, 0);
	test_make_available(d, 1);
	return breaks(d, VIODMA_PEER_ADDRESS_WRAP);
}
EACH(a_buffer_that_wraps_breaks_a_calm_queue)
BEHAVIOUR(a_buffer_that_wraps_breaks_a_calm_queue, "DRV-15")

static bool a_head_in_use_breaks_a_calm_queue_in(struct test_driver *d)
{
	struct viodma_request *request;

	test_desc(d, 1, test_bus(d, BUFFER(0)), 8, 0, 0);
	test_make_available(d, 1);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
	test_make_available(d, 1);
	return breaks(d, VIODMA_PEER_HEAD_IN_USE);
}
EACH(a_head_in_use_breaks_a_calm_queue)
BEHAVIOUR(a_head_in_use_breaks_a_calm_queue, "DRV-16")

static bool a_head_that_does_not_exist_breaks_a_calm_queue_in(struct test_driver *d)
{
	test_desc(d, 8, test_bus(d, BUFFER(0)), 8, 0, 0);
	test_make_available(d, 8);
	return breaks(d, test_packed() ? VIODMA_PEER_DESCRIPTOR : VIODMA_PEER_HEAD);
}
EACH(a_head_that_does_not_exist_breaks_a_calm_queue)
HOLDS(a_head_that_does_not_exist_breaks_a_calm_queue)

static bool an_empty_buffer_is_in_no_mapping(void)
{
	static const uint64_t addresses[] = {0, TEST_PHYS + BUFFER(0)};

	for (unsigned i = 0; i < 4; i++) {
		struct test_driver *d = calm(false, i & 1);
		const struct viodma_translator translator = {.translate = everything, .context = d};

		CHECK(d != NULL);
		viodma_space_set_translator(&d->space, &translator);
		CHECK(serve(d, 0, 0) && serve(d, 1, W));
		test_desc(d, 1, (viodma_bus){addresses[i / 2]}, 0, 0, 0);
		test_make_available(d, 1);
		CHECK(breaks(d, VIODMA_PEER_LENGTH_ZERO));
	}
	return true;
}
BEHAVIOUR(an_empty_buffer_is_in_no_mapping, "DRV-15")

static bool more_than_the_ring_holds_breaks_a_calm_queue(void)
{
	const struct test_options options = {.size = 4, .event_idx = true, .packed = true};
	struct test_driver *d = fresh(&options);
	struct viodma_request *request;

	CHECK(serve(d, 0, 0) && serve(d, 0, 0) && serve(d, 0, 0) && serve(d, 0, 0) && is_calm(d));
	for (unsigned i = 0; i < 2; i++) { /* two chains of two descriptors are all there can be */
		test_request(d, (uint16_t)(2 * i), BUFFER(0), 16, BUFFER(1), 16);
		test_make_available(d, (uint16_t)(2 * i));
		CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
	}
	CHECK_EQUAL(d->queue.in_flight, 4);
	test_packed_desc(d, 0, test_bus(d, BUFFER(0)), 16, 1, test_available_flags(d->queue.next_avail));
	return breaks(d, VIODMA_PEER_DESCRIPTOR);
}
BEHAVIOUR(more_than_the_ring_holds_breaks_a_calm_queue, "DRV-24")

static unsigned touched;

static void touch(void *context, viodma_bus bus, viodma_phys phys, uint64_t len_bytes, enum viodma_permission permission)
{
	(void)context;
	(void)phys;
	(void)permission;
	touched += len_bytes == 16 && (bus.v & (TEST_PAGE - 1)) == 0;
}

static bool who_wants_to_be_told_is_told_of_each_buffer(void)
{
	const struct test_options options = {.size = 8, .event_idx = true};
	struct test_driver *d = fresh(&options);

	d->space.events.touch = touch;
	for (unsigned i = 0; i < 20; i++) {
		touched = 0;
		CHECK(serve(d, 1, i & 1 ? W : 0));
		CHECK(touched >= 1);
	}
	return true;
}
HOLDS(who_wants_to_be_told_is_told_of_each_buffer)

static bool nothing_is_left_of_the_request_before(void)
{
	struct test_driver *d = calm(false, true);
	struct viodma_request *request;

	CHECK(d != NULL);
	test_desc(d, 1, (viodma_bus){1}, 16, 0, 0); /* nobody's memory */
	test_make_available(d, 1);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
	CHECK(viodma_result_is_fault(request->result));
	request->user = d;
	CHECK_RESULT(viodma_queue_reject(&d->queue, request, NULL, 0), VIODMA_OK);
	CHECK(serve(d, 0, 0) && is_calm(d));
	test_desc(d, 1, test_bus(d, BUFFER(0)), 16, 0, 0);
	test_make_available(d, 1);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
	CHECK_EQUAL(request->head, 1);
	CHECK_RESULT(request->result, VIODMA_OK);
	CHECK(request->user == NULL);
	return true;
}
HOLDS(nothing_is_left_of_the_request_before)

/* ---- what is not straight ---- */

static bool chains_and_tables_go_their_way_in(struct test_driver *d)
{
	struct viodma_request *request;

	for (unsigned i = 0; i < 10; i++) {
		test_request(d, 1, BUFFER(0), 16, BUFFER(1), 16);
		test_make_available(d, 1);
		CHECK(is_calm(d));
		CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
		CHECK_RESULT(request->result, VIODMA_OK);
		CHECK_EQUAL(request->readable_bytes, 16);
		CHECK_EQUAL(request->writable_bytes, 16);
		viodma_queue_push(&d->queue, request, 16);
		test_table_desc(d, TEST_TABLES, 0, test_bus(d, BUFFER(1)), 32, W, 0);
		if (d->options.platform)
			test_grant(d, TEST_TABLES, TEST_PAGE, VIODMA_READ);
		test_desc(d, 1, test_bus(d, TEST_TABLES), 16, VIRTQ_DESC_F_INDIRECT, 0);
		test_make_available(d, 1);
		CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
		CHECK_RESULT(request->result, VIODMA_OK);
		CHECK_EQUAL(request->writable_bytes, 32);
		viodma_queue_push(&d->queue, request, 32);
		CHECK(serve(d, 0, 0) && serve(d, 1, W));
	}
	CHECK_EQUAL(d->queue.statistics.pushed, 42);
	return true;
}
EACH(chains_and_tables_go_their_way)
HOLDS(chains_and_tables_go_their_way)

static bool what_was_read_in_a_calm_queue_is_not_read_again_in(struct test_driver *d)
{
	for (unsigned chain = 0; chain < 2; chain++) {
		struct viodma_request *request;
		enum viodma_result result;

		if (chain)
			test_request(d, 1, BUFFER(0), 16, BUFFER(1), 16);
		else
			test_desc(d, 1, test_bus(d, BUFFER(0)), 16, 0, 0);
		test_make_available(d, 1);
		spoilt_from = d->memory;
		viodma_shared_read_hook_fn = spoil;
		result = viodma_queue_pop(&d->queue, &request);
		viodma_shared_read_hook_fn = NULL;
		CHECK_RESULT(result, VIODMA_OK);
		CHECK_RESULT(request->result, VIODMA_OK);
		CHECK_EQUAL(request->head, 1);
		CHECK_EQUAL(request->readable_bytes, 16);
		CHECK_EQUAL(request->writable_bytes, chain ? 16 : 0);
		viodma_queue_push(&d->queue, request, 0);
	}
	return true;
}
EACH(what_was_read_in_a_calm_queue_is_not_read_again)
HOLDS(what_was_read_in_a_calm_queue_is_not_read_again)

/* ---- what is withheld, and withdrawn ---- */

static bool a_window_to_read_through_is_not_one_to_write_through(void)
{
	for (unsigned i = 0; i < 2; i++) {
		struct test_driver *d = calm(true, i);

		CHECK(d != NULL && waits_for(d, 0, 16, W, 0, VIODMA_WRITE));
		d = calm(true, i);
		CHECK(d != NULL && waits_for(d, 1, 16, 0, 1, VIODMA_READ));
	}
	return true;
}
HOLDS(a_window_to_read_through_is_not_one_to_write_through)

static bool a_buffer_ends_where_its_mapping_does(void)
{
	for (unsigned i = 0; i < 2; i++) {
		struct test_driver *d = calm(true, i);

		/* One byte beyond it, which nobody granted. */
		CHECK(d != NULL && serve(d, 3, 0));
		test_desc(d, 1, (viodma_bus){test_bus(d, BUFFER(3)).v}, TEST_PAGE + 1, 0, 0);
		test_make_available(d, 1);
		CHECK(is_calm(d));
		struct viodma_request *request = NULL;
		const enum viodma_result result = viodma_queue_pop(&d->queue, &request);

		/* Its bus addresses go on somewhere: to a page that is asked for, or to another that was granted. */
		CHECK(result != VIODMA_OK || request->piece_count == 2);
	}
	return true;
}
HOLDS(a_buffer_ends_where_its_mapping_does)

static bool a_buffer_withdrawn_is_not_used_again(void)
{
	for (unsigned i = 0; i < 4; i++) {
		struct test_driver *d = calm(true, i & 1);

		CHECK(d != NULL);
		test_revoke(d, BUFFER(i & 2 ? 1 : 0), TEST_PAGE);
		CHECK(serve(d, 2, 0)); /* calm again, with others */
		CHECK(i & 2 ? waits_for(d, 1, 16, W, 1, VIODMA_WRITE) : waits_for(d, 0, 16, 0, 0, VIODMA_READ));
	}
	return true;
}
HOLDS(a_buffer_withdrawn_is_not_used_again)

static bool overlaps(struct test_driver *d, unsigned page)
{
	return viodma_space_in_use(&d->space, test_bus(d, BUFFER(page)), test_bus(d, BUFFER(page) + TEST_PAGE - 1));
}

static bool what_the_device_has_is_in_use_until_it_is_given_back(void)
{
	struct test_driver *d = calm(true, true);
	struct viodma_request *requests[4];
	static const unsigned order[] = {2, 0, 3, 1};

	CHECK(d != NULL && !viodma_space_in_use(&d->space, (viodma_bus){0}, (viodma_bus){UINT64_MAX}));
	for (uint16_t i = 0; i < 4; i++) {
		test_desc(d, i, test_bus(d, BUFFER(i)), 16, i == 1 ? W : 0, 0);
		test_make_available(d, i);
		CHECK_RESULT(viodma_queue_pop(&d->queue, &requests[i]), VIODMA_OK);
	}
	for (unsigned i = 0; i < 4; i++) {
		for (unsigned j = 0; j < 4; j++)
			CHECK(overlaps(d, order[j]) == (j >= i));
		CHECK(overlaps(d, order[i]) && overlaps(d, order[i])); /* asked again */
		viodma_queue_push(&d->queue, requests[order[i]], 0);
	}
	CHECK(!viodma_space_in_use(&d->space, (viodma_bus){0}, (viodma_bus){UINT64_MAX}));
	return true;
}
HOLDS(what_the_device_has_is_in_use_until_it_is_given_back)

static bool a_region_stays_while_the_device_has_a_request_in_it(void)
{
	struct test_driver *d = calm(false, true);
	const viodma_phys first = d->space.regions[0].phys;
	struct viodma_request *request;

	CHECK(d != NULL);
	test_desc(d, 1, test_bus(d, BUFFER(0)), 16, 0, 0);
	test_make_available(d, 1);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
	CHECK_EQUAL(d->space.region_count, 1);
	CHECK_RESULT(viodma_space_retire_region(&d->space, first), VIODMA_OK);
	CHECK(!is_calm(d));
	CHECK_RESULT(viodma_space_remove_region(&d->space, first, NULL), VIODMA_E_BUSY);
	viodma_queue_push(&d->queue, request, 0);
	CHECK_RESULT(viodma_space_remove_region(&d->space, first, NULL), VIODMA_OK);
	return true;
}
BEHAVIOUR(a_region_stays_while_the_device_has_a_request_in_it, "DEV-13")

static bool a_queue_that_stopped_is_not_asked_any_more(void)
{
	struct test_driver *d = calm(true, true);
	uint32_t base;

	CHECK(d != NULL && d->space.users == &d->queue.user);
	CHECK_RESULT(viodma_queue_stop(&d->queue, &base), VIODMA_OK);
	CHECK(d->space.users == NULL);
	viodma_queue_reset(&d->queue);
	CHECK(d->space.users == NULL);
	d->setup.base = base;
	CHECK_RESULT(viodma_queue_start(&d->queue, &d->setup, NULL), VIODMA_OK);
	CHECK(d->space.users == &d->queue.user);
	viodma_queue_reset(&d->queue);
	CHECK(d->space.users == NULL && !viodma_space_in_use(&d->space, (viodma_bus){0}, (viodma_bus){UINT64_MAX}));
	return true;
}
HOLDS(a_queue_that_stopped_is_not_asked_any_more)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_MUTANT(an_empty_buffer_breaks_a_calm_queue),
		WITH_MUTANT(a_buffer_that_wraps_breaks_a_calm_queue),
		WITH_MUTANT(a_head_in_use_breaks_a_calm_queue),
		TEST(a_head_that_does_not_exist_breaks_a_calm_queue),
		WITH_MUTANT(an_empty_buffer_is_in_no_mapping),
		WITH_MUTANT(more_than_the_ring_holds_breaks_a_calm_queue),
		TEST(who_wants_to_be_told_is_told_of_each_buffer),
		TEST(nothing_is_left_of_the_request_before),
		TEST(chains_and_tables_go_their_way),
		TEST(what_was_read_in_a_calm_queue_is_not_read_again),
		TEST(a_window_to_read_through_is_not_one_to_write_through),
		TEST(a_buffer_ends_where_its_mapping_does),
		TEST(a_buffer_withdrawn_is_not_used_again),
		TEST(what_the_device_has_is_in_use_until_it_is_given_back),
		WITH_MUTANT(a_region_stays_while_the_device_has_a_request_in_it),
		TEST(a_queue_that_stopped_is_not_asked_any_more),
	};

	return cmocka_run_group_tests_name("queue straight", tests, NULL, calm_after);
}
