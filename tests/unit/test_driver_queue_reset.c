/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_driver_queue_reset.c - one queue is reset alone, driver half: everything comes back, nothing is used again before
 * the device has agreed, then the queue is as new; the others never notice. (Over packed rings:
 * test_driver_queue_reset_packed.c.)
 */
#include "tests/support/driver_queue_rig.h"

static struct test_device *with_two(enum test_kind kind, bool in_order)
{
	const struct test_device_options options = {
		.kind = kind, .queues = 2, .in_order = in_order, .tables = 2, .table_descriptors = 4};
	struct test_device *device = with_queue(&options);

	if (test_device_make_queue(device, 1) != VIODMA_OK)
		abort();
	return device;
}

/* Requests go and come back. */
static bool works(struct test_device_queue *queue, unsigned count)
{
	struct viodma_driver_completion completion;
	const struct viodma_buffer buffer = test_buffer(4096, 100);
	struct viodma_segment segments[4];
	struct viodma_mapping mapping;
	struct test_chain chain;

	for (; count; count--) {
		CHECK_RESULT(viodma_driver_queue_map_and_add(&queue->driver, &mapping, &buffer, 1, NULL, NULL, 0, segments,
							     4, tokens),
			     VIODMA_OK);
		viodma_driver_queue_publish(&queue->driver);
		CHECK(test_device_take(queue, &chain));
		CHECK_EQUAL(chain.readable_bytes, 100);
		test_device_put_used(queue, chain.head, 0);
		CHECK_RESULT(viodma_driver_queue_get(&queue->driver, &completion), VIODMA_OK);
		CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	}
	return true;
}

static bool reset_and_back(struct test_device *device, unsigned waits)
{
	struct viodma_driver_queue *queue = &device->queues[0].driver;
	const struct viodma_segment one = segment(0, 8, VIODMA_READ);
	unsigned i;
	void *token;

	for (i = 0; i < 4; i++)
		CHECK(add_one(queue, &tokens[i]));
	viodma_driver_queue_publish(queue);
	CHECK(add_one(queue, &tokens[4]));
	device->queue_reset_waits = waits;
	for (i = 0; i < waits; i++) {
		CHECK_RESULT(viodma_driver_queue_reset(queue, &device->driver), VIODMA_WAIT);
		CHECK_RESULT(viodma_driver_queue_add(queue, &one, 1, tokens), VIODMA_E_RESET);
	}
	CHECK_RESULT(viodma_driver_queue_reset(queue, &device->driver), VIODMA_OK);
	CHECK_RESULT(viodma_driver_queue_restart(queue), VIODMA_E_BUSY); /* they are out */
	for (i = 0; i < 5; i++)
		CHECK_RESULT(viodma_driver_queue_take_back(queue, &token), VIODMA_OK);
	CHECK_RESULT(viodma_driver_queue_take_back(queue, &token), VIODMA_EMPTY);
	CHECK_RESULT(viodma_driver_queue_restart(queue), VIODMA_OK);
	CHECK_RESULT(viodma_driver_queue_enable(queue, &device->transport), VIODMA_OK);
	CHECK_EQUAL(queue->free_descriptors, 16);
	return true;
}

static bool a_queue_that_was_reset_is_as_new_and_the_other_goes_on(void)
{
	int kind, order;
	unsigned round;

	for (kind = 0; kind < TEST_KINDS; kind++)
		for (order = 0; order < 2; order++) {
			struct test_device *device = with_two((enum test_kind)kind, order);

			for (round = 0; round < 4; round++) {
				CHECK(works(&device->queues[0], 11));
				CHECK(works(&device->queues[1], 7));
				CHECK(reset_and_back(device, round));
				CHECK(works(&device->queues[1], 7));
			}
			CHECK(works(&device->queues[0], 50));
			CHECK_RESULT(test_device_end(device), VIODMA_OK);
			CHECK(test_device_idle(device));
		}
	return true;
}
HOLDS(a_queue_that_was_reset_is_as_new_and_the_other_goes_on)

static bool a_queue_is_not_used_again_before_the_device_has_agreed(void)
{
	struct test_device *device = with_two(TEST_OFFSET, false);
	struct viodma_driver_queue *queue = &device->queues[0].driver;

	CHECK_RESULT(viodma_driver_queue_restart(queue), VIODMA_E_BUSY); /* nobody asked */
	device->queue_reset_waits = 1;
	CHECK_RESULT(viodma_driver_queue_reset(queue, &device->driver), VIODMA_WAIT);
	CHECK_RESULT(viodma_driver_queue_restart(queue), VIODMA_E_BUSY);
	CHECK_RESULT(viodma_driver_queue_enable(queue, &device->transport), VIODMA_E_RESET);
	device->fail_at = device->calls + 1;
	CHECK_RESULT(viodma_driver_queue_reset(queue, &device->driver), VIODMA_E_IO);
	CHECK_RESULT(viodma_driver_queue_restart(queue), VIODMA_E_BUSY);
	CHECK_RESULT(viodma_driver_queue_reset(queue, &device->driver), VIODMA_OK);
	CHECK_RESULT(viodma_driver_queue_restart(queue), VIODMA_OK);
	CHECK_RESULT(viodma_driver_queue_restart(queue), VIODMA_E_BUSY); /* that was that reset */
	return true;
}
BEHAVIOUR(a_queue_is_not_used_again_before_the_device_has_agreed, "DRV-25")

static bool a_queue_that_is_written_after_its_reset_stays_reset(void)
{
	struct test_device *device = with_two(TEST_OFFSET, false);
	struct viodma_driver_queue *queue = &device->queues[0].driver;
	const viodma_bus used = device->queues[0].where.used;
	void *token;

	CHECK_RESULT(viodma_driver_queue_reset(queue, &device->driver), VIODMA_OK);
	CHECK_RESULT(viodma_driver_queue_take_back(queue, &token), VIODMA_EMPTY);
	*test_device_at(device, used.v + 2, 1, VIODMA_WRITE) = 1;
	CHECK_RESULT(viodma_driver_queue_restart(queue), VIODMA_PEER_LATE_WRITE);
	CHECK_RESULT(viodma_driver_queue_enable(queue, &device->transport), VIODMA_E_RESET);
	return true;
}
BEHAVIOUR(a_queue_that_is_written_after_its_reset_stays_reset, "DEV-14")

static bool without_the_feature_or_the_operation_a_queue_is_not_reset(void)
{
	struct viodma_transport_ops ops = test_device_transport_ops;
	struct test_device *device = fresh(NULL);
	struct test_device_queue *queue = &device->queues[0];

	device->offered &= ~VIODMA_FEATURE(VIRTIO_F_RING_RESET_BIT);
	CHECK_RESULT(test_device_negotiate(device, viodma_driver_blk_wanted()), VIODMA_OK);
	CHECK_RESULT(test_device_make_domain(device), VIODMA_OK);
	CHECK_RESULT(test_device_make_queue(device, 0), VIODMA_OK);
	CHECK_RESULT(viodma_driver_queue_reset(&queue->driver, &device->driver), VIODMA_E_UNSUPPORTED);
	CHECK(works(queue, 3)); /* nothing happened */

	device = fresh(&(struct test_device_options){.notification_data = true});
	CHECK(device->offered & VIODMA_FEATURE(VIRTIO_F_NOTIFICATION_DATA_BIT));
	ops.queue_reset = NULL;
	device->transport.ops = &ops;
	CHECK_RESULT(test_device_negotiate(device, viodma_driver_blk_wanted()), VIODMA_OK);
	CHECK(!(device->accepted & VIODMA_FEATURE(VIRTIO_F_RING_RESET_BIT)));
	CHECK(device->accepted & VIODMA_FEATURE(VIRTIO_F_NOTIFICATION_DATA_BIT));
	ops = test_device_transport_ops;
	ops.notify_data = NULL;
	CHECK_RESULT(test_device_negotiate(device, viodma_driver_blk_wanted()), VIODMA_OK);
	CHECK(device->accepted & VIODMA_FEATURE(VIRTIO_F_RING_RESET_BIT));
	CHECK(!(device->accepted & VIODMA_FEATURE(VIRTIO_F_NOTIFICATION_DATA_BIT)));
	return true;
}
HOLDS(without_the_feature_or_the_operation_a_queue_is_not_reset)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_queue_that_was_reset_is_as_new_and_the_other_goes_on),
		WITH_MUTANT(a_queue_is_not_used_again_before_the_device_has_agreed),
		WITH_MUTANT(a_queue_that_is_written_after_its_reset_stays_reset),
		TEST(without_the_feature_or_the_operation_a_queue_is_not_reset),
	};

	return cmocka_run_group_tests_name(TEST_PACKED ? "one queue reset, packed" : "one queue reset", tests, NULL, NULL);
}
