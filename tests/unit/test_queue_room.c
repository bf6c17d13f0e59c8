/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_queue_room.c - too little room: for questions, for translations, for copies; and what a ring out of reach or a
 * start in other circumstances does to those that wait.
 *
 * How it works: as test_queue_wait.c, with tables made small.
 */
#include "tests/support/queue_rig.h"

#define W VIRTQ_DESC_F_WRITE
#define N VIRTQ_DESC_F_NEXT
#define BUFFER(n) (TEST_BUFFERS + (n) * TEST_PAGE)

static struct test_driver *made(const struct test_options *options)
{
	test_driver_free(current);
	current = test_driver_new(options);
	return current;
}

static struct test_driver *with_rings(const struct test_options *options)
{
	test_grant_rings(made(options));
	return current;
}

/* Give back whatever can be popped. */
static void serve(struct test_driver *d)
{
	struct viodma_request *request;

	while (viodma_queue_pop(&d->queue, &request) == VIODMA_OK)
		if (request->result == VIODMA_OK)
			viodma_queue_push(&d->queue, request, 0);
		else
			viodma_queue_reject(&d->queue, request, NULL, 0);
}

static bool questions_turned_away_are_put_once_refusals_are_settled(void)
{
	const struct test_options options = {.size = 16, .platform = true, .miss_capacity = 8};
	struct test_driver *d = with_rings(&options);

	test_desc(d, 0, test_bus(d, BUFFER(0)), 6 * TEST_PAGE, W, 0);
	test_desc(d, 1, test_bus(d, BUFFER(20)), TEST_PAGE, W, 0);
	test_make_available(d, 0);
	test_make_available(d, 1);
	serve(d);
	CHECK(!test_asked(d, BUFFER(20), VIODMA_WRITE)); /* the table of questions is full */
	test_answer(d, false);
	serve(d);
	CHECK_EQUAL(test_used_idx(d), 1);
	viodma_iotlb_settle(&d->iotlb);
	CHECK(viodma_queue_has_work(&d->queue));
	serve(d);
	CHECK(test_asked(d, BUFFER(20), VIODMA_WRITE));
	test_answer(d, true);
	serve(d);
	CHECK_EQUAL(test_used_idx(d), 2);
	return true;
}
HOLDS(questions_turned_away_are_put_once_refusals_are_settled)

/* Requests of up to `most` pages each, in random parts; as many as fit into the ring. Returns how many. */
static unsigned offer_random(struct test_driver *d, struct check_random *random, unsigned requests, unsigned most)
{
	unsigned at = 0, offered = 0;

	for (unsigned i = 0; i < requests; i++) {
		unsigned parts = 1 + (unsigned)check_below(random, 64 / requests), pages = 0, n = 0;

		for (; n < parts; n++) {
			uint32_t len = check_below(random, 3) ? 2 : (uint32_t)(1 + check_below(random, 20000));
			size_t place = BUFFER(check_below(random, 180)) + TEST_PAGE - 1;

			if (pages + len / TEST_PAGE + 2 > most)
				break;
			pages += len / TEST_PAGE + 2;
			test_desc(d, at + n, test_bus(d, place), len, W | N, (uint16_t)(at + n + 1));
		}
		if (!n)
			continue;
		test_desc_flags(d, at + n - 1, W);
		test_make_available(d, (uint16_t)at);
		at += n;
		offered++;
	}
	return offered;
}

static bool requests_that_wait_all_end_however_small_the_iotlb(void)
{
	for (unsigned seed = 1; seed <= 200; seed++) {
		struct check_random random = {.state = seed};
		const uint32_t capacity = 18 + (uint32_t)check_below(&random, 8);
		const struct test_options options = {.size = 64,
						     .size_max = 64,
						     .segments_max = 32,
						     .pieces_max = 256,
						     .platform = true,
						     .miss_capacity = 256,
						     .iotlb_capacity = capacity};
		struct test_driver *d = made(&options);
		unsigned offered = offer_random(d, &random, 4 + (unsigned)check_below(&random, 4),
						capacity - viodma_iotlb_least_capacity(64, 0, 0));
		unsigned rounds = 0;

		/* Answers come one at a time, oldest question first. */
		do {
			uint32_t next = d->answered;

			serve(d);
			if (next == d->ask_count) {
				d->answered = d->ask_count = next = 0;
				serve(d);
			}
			if (next < d->ask_count) {
				const uint64_t page = d->asks[next].bus & ~(uint64_t)(TEST_PAGE - 1);

				d->answered++;
				CHECK_RESULT(viodma_iotlb_update(&d->iotlb, (viodma_bus){page}, TEST_PAGE,
								 test_user(test_offset_of_bus(d, page)),
								 VIODMA_READ_WRITE),
					     VIODMA_OK);
			}
			if (d->answered == d->ask_count)
				d->answered = d->ask_count = 0;
		} while (test_used_idx(d) != offered && ++rounds < 20000);
		CHECK_EQUAL(test_used_idx(d), offered);
		CHECK_EQUAL(d->space.waiting_pages, 0);
	}
	return true;
}
HOLDS(requests_that_wait_all_end_however_small_the_iotlb)

static bool many_requests_without_room_cost_no_walk_each(void)
{
	const struct test_options options = {.size = 256, .platform = true, .iotlb_capacity = 4096, .miss_capacity = 4096};
	struct test_driver *d = with_rings(&options);
	struct viodma_request *request;
	uint64_t before;

	/* 128 requests of two pages that are there and 255 that are not (= DEV-17). */
	test_grant(d, BUFFER(0), 2 * TEST_PAGE, VIODMA_WRITE);
	for (unsigned i = 0; i < 128; i++) {
		test_desc(d, 2 * i, test_bus(d, BUFFER(0)), 2 * TEST_PAGE, W | N, (uint16_t)(2 * i + 1));
		test_desc(d, 2 * i + 1, test_bus(d, BUFFER(2)), 255 * TEST_PAGE, W, 0);
		test_make_available(d, (uint16_t)(2 * i));
	}
	CHECK(viodma_queue_pop(&d->queue, &request) != VIODMA_OK);
	CHECK_EQUAL(d->queue.parked, 128);
	before = d->iotlb.statistics.hits + d->space.statistics.translations;
	viodma_space_changed(&d->space);
	CHECK(viodma_queue_pop(&d->queue, &request) != VIODMA_OK);
	CHECK(d->iotlb.statistics.hits + d->space.statistics.translations - before < 64);
	return true;
}
HOLDS(many_requests_without_room_cost_no_walk_each)

static bool in_copy_mode_more_than_there_can_ever_be_is_a_limit(void)
{
	const struct test_options options = {.size = 16, .copy = true};
	struct test_driver *d = made(&options);
	struct viodma_request *request;

	d->queue.config.copy_bytes_max = 4096;
	test_request(d, 0, BUFFER(0), 4000, BUFFER(1), 97);
	test_make_available(d, 0);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
	CHECK_RESULT(request->result, VIODMA_E_LIMIT);
	CHECK_RESULT(viodma_queue_reject(&d->queue, request, "\1", 1), VIODMA_OK);
	CHECK_EQUAL(d->memory[BUFFER(1) + 96], 1);
	return true;
}
HOLDS(in_copy_mode_more_than_there_can_ever_be_is_a_limit)

static bool kick_is_asked_for(bool event_idx)
{
	const struct test_options options = {.size = 16, .platform = true, .event_idx = event_idx};
	struct test_driver *d = with_rings(&options);
	uint16_t index;

	serve(d); /* empty: kicks are asked for */
	test_revoke(d, TEST_DESC, TEST_PAGE);
	for (index = 0; index < 3; index++) {
		test_request(d, index, 0, 0, BUFFER(0), 16);
		test_make_available(d, index);
	}
	serve(d);
	test_answer(d, false);
	serve(d); /* the table is out of reach: it will be tried at the next kick */
	viodma_iotlb_settle(&d->iotlb);
	CHECK(!viodma_queue_has_work(&d->queue));
	if (event_idx) {
		CHECK_EQUAL(test_get16(d, TEST_USED + VIRTQ_USED_AVAIL_EVENT(16)), 3); /* the fourth kicks */
	} else {
		CHECK_EQUAL(test_get16(d, TEST_USED + VIRTQ_USED_FLAGS), 0);
	}
	return true;
}

static bool a_ring_out_of_reach_asks_for_the_very_next_kick(void)
{
	return kick_is_asked_for(false) && kick_is_asked_for(true);
}
HOLDS(a_ring_out_of_reach_asks_for_the_very_next_kick)

/* A parked request before a completed one, held over a stop. */
static uint32_t held(struct test_driver *d)
{
	struct viodma_request *request;
	uint32_t base = 0;

	test_grant(d, BUFFER(1), TEST_PAGE, VIODMA_READ_WRITE);
	test_request(d, 0, 0, 0, BUFFER(0), 16);
	test_request(d, 2, 0, 0, BUFFER(1), 16);
	test_make_available(d, 0);
	test_make_available(d, 2);
	if (viodma_queue_pop(&d->queue, &request) != VIODMA_OK || request->head != 2)
		return 99;
	viodma_queue_push(&d->queue, request, 0);
	return viodma_queue_stop(&d->queue, &base) == VIODMA_OK ? base : 99;
}

static bool held_requests_do_not_go_on_under_other_rules(void)
{
	const struct test_options options = {.size = 16, .platform = true};
	struct viodma_queue_setup setup;
	struct test_driver *d;
	uint32_t dropped;

	for (unsigned other = 0; other < 4; other++) {
		d = with_rings(&options);
		setup = d->setup;
		setup.base = held(d);
		CHECK_EQUAL(setup.base, test_base_at(d, 2, 1));
		setup.event_idx = setup.event_idx != (other == 1);
		setup.indirect_desc = setup.indirect_desc != (other == 2);
		if (other == 3)
			viodma_space_set_physical(&d->space); /* the same numbers, other memory */
		dropped = 99;
		CHECK_RESULT(viodma_queue_start(&d->queue, &setup, &dropped), VIODMA_OK);
		CHECK_EQUAL(dropped, other ? 1 : 0);
	}
	return true;
}
HOLDS(held_requests_do_not_go_on_under_other_rules)

static bool a_rejection_that_waits_delivers_nothing_else(void)
{
	const struct test_options options = {.size = 16, .platform = true, .copy = true};
	struct test_driver *d = with_rings(&options);
	struct viodma_request *request;

	test_grant(d, BUFFER(0), TEST_PAGE, VIODMA_READ_WRITE);
	test_fill(d, BUFFER(0), TEST_PAGE, 7);
	test_request(d, 0, 0, 0, BUFFER(0), 512);
	test_make_available(d, 0);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
	CHECK_RESULT(viodma_request_write(request, 0, "secret", 6), VIODMA_OK);
	test_revoke(d, BUFFER(0), TEST_PAGE);
	CHECK_RESULT(viodma_queue_reject(&d->queue, request, "\1", 1), VIODMA_MISS);
	test_answer(d, true);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
	viodma_queue_push(&d->queue, request, 0);
	CHECK(test_filled(d, BUFFER(0), TEST_PAGE, 7));
	return true;
}
HOLDS(a_rejection_that_waits_delivers_nothing_else)

static bool an_answer_longer_than_what_was_kept_is_not_put_in_the_wrong_place(void)
{
	const struct test_options options = {.size = 16, .segments_max = 3};
	struct test_driver *d = made(&options);
	struct viodma_request *request;

	for (unsigned i = 0; i < 5; i++)
		test_desc(d, i, test_bus(d, BUFFER(i)), 1, (uint16_t)(W | (i < 4 ? N : 0)), (uint16_t)(i + 1));
	test_fill(d, BUFFER(0), 5 * TEST_PAGE, 3);
	test_make_available(d, 0);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
	CHECK_RESULT(request->result, VIODMA_E_LIMIT);
	CHECK_RESULT(viodma_queue_reject(&d->queue, request, "\1\2", 2), VIODMA_PEER_UNREACHABLE);
	CHECK(test_filled(d, BUFFER(0), 5 * TEST_PAGE, 3));
	return true;
}
HOLDS(an_answer_longer_than_what_was_kept_is_not_put_in_the_wrong_place)

int main(void)
{
	const struct CMUnitTest both[] = {
		TEST(questions_turned_away_are_put_once_refusals_are_settled),
		TEST(requests_that_wait_all_end_however_small_the_iotlb),
		TEST(many_requests_without_room_cost_no_walk_each),
		TEST(in_copy_mode_more_than_there_can_ever_be_is_a_limit),
		TEST(held_requests_do_not_go_on_under_other_rules),
		TEST(a_rejection_that_waits_delivers_nothing_else),
		TEST(an_answer_longer_than_what_was_kept_is_not_put_in_the_wrong_place),
	};
	const struct CMUnitTest split[] = {
		TEST(a_ring_out_of_reach_asks_for_the_very_next_kick),
	};

	return CHECK_RUN("queue room", both, split, no_driver);
}
