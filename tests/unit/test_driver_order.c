/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_driver_order.c - IN_ORDER, driver half: what comes back in the order in which it went, alone or many at once; and a
 * device that says otherwise. (The same over packed rings: test_driver_order_packed.c.)
 *
 * How it works: the device's side is played by hand (tests/support/test_device_hand.c), which also looks whether
 * descriptors and tables are in order, as the standard has it.
 */
#include "tests/support/driver_queue_rig.h"

static struct test_device_queue *in_order(uint32_t size, uint32_t tables)
{
	const struct test_device_options options = {
		.size = size, .in_order = true, .event_idx = true, .tables = tables, .table_descriptors = tables ? 4 : 0};

	return &with_queue(&options)->queues[0];
}

static bool came_back(struct test_device_queue *queue, void *token, uint64_t written)
{
	struct viodma_driver_completion completion;

	CHECK_RESULT(viodma_driver_queue_get(&queue->driver, &completion), VIODMA_OK);
	CHECK(completion.token == token);
	CHECK_EQUAL(completion.written_bytes, written);
	return true;
}

static bool nothing_more(struct test_device_queue *queue)
{
	struct viodma_driver_completion completion;

	CHECK_RESULT(viodma_driver_queue_get(&queue->driver, &completion), VIODMA_EMPTY);
	return true;
}

/* So many chains of two descriptors, 32 bytes of each to write, are with the device. */
static bool with_the_device(struct test_device_queue *queue, unsigned count, uint16_t *heads)
{
	struct test_chain chain;
	unsigned i;

	for (i = 0; i < count; i++)
		CHECK(add_one(&queue->driver, &tokens[i]));
	viodma_driver_queue_publish(&queue->driver);
	for (i = 0; i < count; i++) {
		CHECK(test_device_take(queue, &chain));
		heads[i] = chain.head;
	}
	return true;
}

static bool one_after_the_other_comes_back(void)
{
	struct test_device_queue *queue = in_order(16, 0);
	uint16_t heads[5];
	unsigned i, round;

	for (round = 0; round < 30; round++) {
		CHECK(with_the_device(queue, 5, heads));
		for (i = 0; i < 5; i++) {
			test_device_put_used(queue, heads[i], i);
			CHECK(came_back(queue, &tokens[i], i));
			CHECK(nothing_more(queue));
		}
	}
	CHECK_EQUAL(queue->driver.free_descriptors, 16);
	return true;
}
HOLDS(one_after_the_other_comes_back)

static bool one_element_brings_back_all_that_went_before(void)
{
	struct test_device_queue *queue = in_order(16, 0);
	uint16_t heads[5];
	unsigned round;

	for (round = 0; round < 30; round++) {
		CHECK(with_the_device(queue, 5, heads));
		test_device_put_used_of(queue, heads[2], 7, 3, 6);
		CHECK(came_back(queue, &tokens[0], 32)); /* nothing is said of it: all counts */
		CHECK(viodma_driver_queue_want_call(&queue->driver));
		CHECK(came_back(queue, &tokens[1], 32));
		CHECK(came_back(queue, &tokens[2], 7));
		CHECK(nothing_more(queue));
		CHECK(!viodma_driver_queue_want_call(&queue->driver));
		test_device_put_used_of(queue, heads[4], 40, 2, 4); /* too long: the last one's is clamped */
		CHECK(came_back(queue, &tokens[3], 32));
		CHECK(came_back(queue, &tokens[4], 32));
		CHECK_EQUAL(queue->driver.statistics.clamped, round + 1);
		CHECK(nothing_more(queue));
	}
	CHECK_EQUAL(queue->driver.free_descriptors, 16);
	return true;
}
HOLDS(one_element_brings_back_all_that_went_before)

/* Tables and none, sizes and batches by chance, 20,000 of them. */
static bool batches_of_any_size_come_back_for_ever(void)
{
	struct test_device_queue *queue = in_order(8, 3);
	struct check_random random = {.state = 5};
	uint32_t held = 0, first = 0, added = 0, back = 0, i;
	struct test_chain chains[8];

	while (back < 20000) {
		const struct viodma_segment segments[3] = {segment(0, 4, VIODMA_READ), segment(1, 5, VIODMA_WRITE),
							   segment(2, 6, VIODMA_WRITE)};
		struct viodma_driver_completion completion;
		uint32_t count = 1 + (uint32_t)check_below(&random, 3);

		if (viodma_driver_queue_add(&queue->driver, segments, count, &tokens[added % 64]) == VIODMA_OK)
			added++;
		if (check_below(&random, 2))
			viodma_driver_queue_publish(&queue->driver);
		while (held < 8 && test_device_take(queue, &chains[(first + held) % 8]))
			held++;
		if (held && check_below(&random, 2)) {
			uint32_t batch = 1 + (uint32_t)check_below(&random, held), descriptors = 0;

			for (i = 0; i < batch; i++)
				descriptors += queue->descriptors[chains[(first + i) % 8].head];
			i = (first + batch - 1) % 8;
			test_device_put_used_of(queue, chains[i].head, (uint32_t)chains[i].writable_bytes, batch,
						descriptors);
			first += batch;
			held -= batch;
		}
		while (viodma_driver_queue_get(&queue->driver, &completion) == VIODMA_OK)
			CHECK(completion.token == &tokens[back++ % 64]);
		CHECK_RESULT(queue->driver.broken, VIODMA_OK);
	}
	CHECK(queue->driver.statistics.indirect > 1000);
	return true;
}
HOLDS(batches_of_any_size_come_back_for_ever)

static bool what_has_come_back_is_not_used_again(void)
{
	struct test_device_queue *queue = in_order(16, 0);
	struct viodma_driver_completion completion;
	uint16_t heads[5];
	unsigned i;

	CHECK(with_the_device(queue, 5, heads));
	test_device_put_used_of(queue, heads[2], 0, 3, 6);
	for (i = 0; i < 3; i++)
		CHECK_RESULT(viodma_driver_queue_get(&queue->driver, &completion), VIODMA_OK);
	test_device_put_used(queue, heads[1], 0);
	CHECK_RESULT(viodma_driver_queue_get(&queue->driver, &completion), VIODMA_PEER_USED_TWICE);
	return true;
}
BEHAVIOUR(what_has_come_back_is_not_used_again, "DRV-21")

#if !TEST_PACKED /* there the place is all there is */
/* The third, and the index moves by one: either it is out of order, or the index lies. */
static bool an_element_out_of_order_is_noticed(void)
{
	unsigned moved;

	for (moved = 1; moved < 3; moved++) {
		struct test_device_queue *queue = in_order(16, 0);
		struct viodma_driver_completion completion;
		uint16_t heads[5];

		CHECK(with_the_device(queue, 5, heads));
		test_device_put_used_of(queue, heads[2], 0, moved, 6);
		CHECK_RESULT(viodma_driver_queue_get(&queue->driver, &completion), VIODMA_PEER_USED_ORDER);
		CHECK_RESULT(viodma_driver_queue_get(&queue->driver, &completion), VIODMA_PEER_USED_ORDER);
		CHECK_EQUAL(queue->driver.out, 5);
	}
	return true;
}
BEHAVIOUR(an_element_out_of_order_is_noticed, "DEV-23")
#endif

static bool after_a_reset_in_the_middle_of_a_batch_the_rest_is_taken_back(void)
{
	struct test_device_queue *queue = in_order(16, 0);
	uint16_t heads[5];
	unsigned i;
	void *token;

	CHECK(with_the_device(queue, 5, heads));
	test_device_put_used_of(queue, heads[3], 0, 4, 8);
	CHECK(came_back(queue, &tokens[0], 32));
	CHECK_RESULT(viodma_driver_reset(&current->driver), VIODMA_OK);
	for (i = 1; i < 5; i++)
		CHECK_RESULT(viodma_driver_queue_take_back(&queue->driver, &token), VIODMA_OK);
	CHECK_RESULT(viodma_driver_queue_take_back(&queue->driver, &token), VIODMA_EMPTY);
	CHECK_RESULT(viodma_driver_queue_free(&queue->driver), VIODMA_OK);
	CHECK(test_device_idle(current));
	return true;
}
HOLDS(after_a_reset_in_the_middle_of_a_batch_the_rest_is_taken_back)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(one_after_the_other_comes_back),
		TEST(one_element_brings_back_all_that_went_before),
		TEST(batches_of_any_size_come_back_for_ever),
		WITH_MUTANT(what_has_come_back_is_not_used_again),
#if !TEST_PACKED
		WITH_MUTANT(an_element_out_of_order_is_noticed),
#endif
		TEST(after_a_reset_in_the_middle_of_a_batch_the_rest_is_taken_back),
	};

	return cmocka_run_group_tests_name(TEST_PACKED ? "driver in order, packed" : "driver in order", tests, NULL, NULL);
}
