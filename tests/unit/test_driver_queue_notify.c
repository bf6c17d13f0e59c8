/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_driver_queue_notify.c - a virtqueue, driver half: when it kicks, when it wants to be called, and with which barriers.
 * (Over packed rings: test_driver_queue_notify_packed.c.)
 *
 * How it works: see tests/support/test_device.h; the device's side of the ring is played by hand.
 */
#include "tests/support/driver_queue_rig.h"
#include "tests/support/hooks.h"

static bool came_back(struct viodma_driver_queue *queue, void *token, uint64_t written)
{
	struct viodma_driver_completion completion;

	CHECK_RESULT(viodma_driver_queue_get(queue, &completion), VIODMA_OK);
	CHECK(completion.token == token);
	CHECK_EQUAL(completion.written_bytes, written);
	return true;
}

/* ---- notifications ---- */

static bool without_indexes_kicks_go_by_the_devices_flag(void)
{
	struct test_device_queue *queue = &of_kind(TEST_DIRECT)->queues[0];
	struct viodma_driver_queue *driver = &queue->driver;

	CHECK(!viodma_driver_queue_kick_needed(driver)); /* nothing was published */
	CHECK(add_one(driver, tokens));
	CHECK(!viodma_driver_queue_kick_needed(driver)); /* still nothing */
	viodma_driver_queue_publish(driver);
	CHECK(viodma_driver_queue_kick_needed(driver));
	CHECK(!viodma_driver_queue_kick_needed(driver)); /* asked already */
	test_device_want_kicks(queue, false);
	CHECK(add_one(driver, tokens));
	viodma_driver_queue_publish(driver);
	CHECK(!viodma_driver_queue_kick_needed(driver));
	CHECK_EQUAL(driver->statistics.kicks, 1);
	CHECK_EQUAL(driver->statistics.kicks_suppressed, 1);
	return true;
}
HOLDS(without_indexes_kicks_go_by_the_devices_flag)

static bool the_device_is_notified_if_it_wants_to_be(void)
{
	const struct test_device_options options = {.queues = 2};
	struct test_device *device = with_queue(&options);
	struct test_device_queue *queue = &device->queues[1];

	CHECK_RESULT(test_device_make_queue(device, 1), VIODMA_OK);
	viodma_driver_queue_kick(&queue->driver, &device->transport);
	CHECK_EQUAL(queue->notified, 0); /* nothing was published */
	CHECK(add_one(&queue->driver, tokens));
	viodma_driver_queue_publish(&queue->driver);
	viodma_driver_queue_kick(&queue->driver, &device->transport);
	viodma_driver_queue_kick(&queue->driver, &device->transport);
	CHECK_EQUAL(queue->notified, 1);
	CHECK_EQUAL(device->queues[0].notified, 0); /* it was this queue */
	test_device_want_kicks(queue, false);
	CHECK(add_one(&queue->driver, tokens));
	viodma_driver_queue_publish(&queue->driver);
	viodma_driver_queue_kick(&queue->driver, &device->transport);
	CHECK_EQUAL(queue->notified, 1);
	return true;
}
HOLDS(the_device_is_notified_if_it_wants_to_be)

static bool with_indexes_a_kick_goes_when_the_index_passes_the_devices_wish(void)
{
	const struct test_device_options options = {.event_idx = true};
	struct test_device_queue *queue = &with_queue(&options)->queues[0];
	struct viodma_driver_queue *driver = &queue->driver;

	test_device_want_kick_at(queue, 2); /* "when the third is there" */
	CHECK(add_one(driver, tokens));
	CHECK(add_one(driver, tokens));
	viodma_driver_queue_publish(driver);
	CHECK(!viodma_driver_queue_kick_needed(driver));
	CHECK(add_one(driver, tokens));
	viodma_driver_queue_publish(driver);
	CHECK(viodma_driver_queue_kick_needed(driver));
	CHECK(add_one(driver, tokens));
	viodma_driver_queue_publish(driver);
	CHECK(!viodma_driver_queue_kick_needed(driver)); /* passed already */
	test_device_want_kick_at(queue, 5);
	CHECK(add_one(driver, tokens));
	viodma_driver_queue_publish(driver);
	CHECK(add_one(driver, tokens));
	viodma_driver_queue_publish(driver);
	CHECK(viodma_driver_queue_kick_needed(driver)); /* passed in between */
	return true;
}
HOLDS(with_indexes_a_kick_goes_when_the_index_passes_the_devices_wish)

/* A device that polls: 65536 publications without the question; the wish is somewhere in there, whatever it says. */
static bool after_a_whole_turn_of_the_index_a_kick_goes_in_any_case(void)
{
	const struct test_device_options options = {.event_idx = true};
	struct test_device_queue *queue = &with_queue(&options)->queues[0];
	uint32_t i;
	struct test_chain chain;

	for (i = 0; i < 65536; i++) {
		CHECK(add_one(&queue->driver, tokens));
		viodma_driver_queue_publish(&queue->driver);
		CHECK(test_device_take(queue, &chain));
		test_device_put_used(queue, chain.head, 0);
		CHECK(came_back(&queue->driver, tokens, 0));
	}
	CHECK(viodma_driver_queue_kick_needed(&queue->driver));
	return true;
}
HOLDS(after_a_whole_turn_of_the_index_a_kick_goes_in_any_case)

static bool calls_are_asked_for_and_declined(void)
{
	int event_idx;

	for (event_idx = 0; event_idx < 2; event_idx++) {
		const struct test_device_options options = {.event_idx = event_idx != 0};
		struct test_device_queue *queue = &with_queue(&options)->queues[0];
		struct viodma_driver_queue *driver = &queue->driver;
		struct test_chain chain;
		unsigned i;

		for (i = 0; i < 3; i++)
			CHECK(add_one(driver, &tokens[i]));
		viodma_driver_queue_publish(driver);
		viodma_driver_queue_want_no_call(driver);
		viodma_driver_queue_want_no_call(driver);
		CHECK_EQUAL(driver->statistics.calls_suppressed, 1);
		for (i = 0; i < 2; i++) {
			CHECK(test_device_take(queue, &chain));
			test_device_put_used(queue, chain.head, 0);
		}
		CHECK_EQUAL(queue->called, 0);
		CHECK(came_back(driver, &tokens[0], 0));
		CHECK(viodma_driver_queue_want_call(driver)); /* one is there that was seen already */
		CHECK(came_back(driver, &tokens[1], 0));
		CHECK(!viodma_driver_queue_want_call(driver));
		CHECK(test_device_take(queue, &chain));
		test_device_put_used(queue, chain.head, 0);
		CHECK_EQUAL(queue->called, 1);
		CHECK(viodma_driver_queue_want_call(driver)); /* came before the wish was seen */
		CHECK(add_one(driver, &tokens[3]));
		viodma_driver_queue_publish(driver);
		CHECK(test_device_take(queue, &chain));
		test_device_put_used(queue, chain.head, 0);
		CHECK_EQUAL(queue->called, event_idx ? 1 : 2); /* by index: it asked for the one before */
	}
	return true;
}
HOLDS(calls_are_asked_for_and_declined)

static bool the_platforms_barriers_are_used_where_bit_36_was_accepted(void)
{
	int order;

	for (order = 0; order < 2; order++) {
		const struct test_device_options options = {.order_platform = order != 0};
		struct test_device_queue *queue = &with_queue(&options)->queues[0];
		unsigned before[3], i;
		struct test_chain chain;

		memcpy(before, viodma_shared_platform_fences, sizeof(before));
		CHECK(add_one(&queue->driver, tokens));
		viodma_driver_queue_publish(&queue->driver);
		CHECK_EQUAL(viodma_shared_platform_fences[VIODMA_FENCE_WRITE] - before[VIODMA_FENCE_WRITE], order);
		(void)viodma_driver_queue_kick_needed(&queue->driver);
		CHECK_EQUAL(viodma_shared_platform_fences[VIODMA_FENCE_FULL] - before[VIODMA_FENCE_FULL], order);
		CHECK(!viodma_driver_queue_want_call(&queue->driver));
		CHECK_EQUAL(viodma_shared_platform_fences[VIODMA_FENCE_FULL] - before[VIODMA_FENCE_FULL], 2 * order);
		CHECK(test_device_take(queue, &chain));
		test_device_put_used(queue, chain.head, 0);
		CHECK(came_back(&queue->driver, tokens, 0));
		CHECK_EQUAL(viodma_shared_platform_fences[VIODMA_FENCE_READ] - before[VIODMA_FENCE_READ], order);
		for (i = 0; i < 3 && !order; i++)
			CHECK_EQUAL(viodma_shared_platform_fences[i], before[i]);
	}
	return true;
}
HOLDS(the_platforms_barriers_are_used_where_bit_36_was_accepted)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(without_indexes_kicks_go_by_the_devices_flag),
		TEST(the_device_is_notified_if_it_wants_to_be),
		TEST(with_indexes_a_kick_goes_when_the_index_passes_the_devices_wish),
		TEST(after_a_whole_turn_of_the_index_a_kick_goes_in_any_case),
		TEST(calls_are_asked_for_and_declined),
		TEST(the_platforms_barriers_are_used_where_bit_36_was_accepted),
	};

	return cmocka_run_group_tests_name(TEST_PACKED ? "driver queue notify, packed" : "driver queue notify", tests, NULL,
					   NULL);
}
