/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_driver_blk_config.c - virtio-blk, driver half, with a device whose configuration space says what cannot be. It is
 * read before there is a ring, so that it is the same for both layouts.
 */
#include "tests/support/check.h"
#include "tests/support/test_device.h"

static struct test_device *current;

static struct test_device *fresh(const struct test_device_options *options)
{
	test_device_free(current);
	current = test_device_new(options);
	return current;
}

/* A configuration byte is `value` on a device with everything there is. */
static enum viodma_result with_config(size_t offset, size_t count, unsigned char value)
{
	const struct test_device_options options = {.queues = 2};
	struct test_device *device = fresh(&options);

	memset(device->config + offset, value, count);
	return test_device_start(device, 4, 14);
}

static bool the_end(void)
{
	CHECK_RESULT(test_device_end(current), VIODMA_OK);
	CHECK(test_device_idle(current));
	return true;
}

static bool a_capacity_beyond_all_bytes_is_no_answer(void)
{
	CHECK_RESULT(with_config(0, 8, 0xff), VIODMA_PEER_ANSWER);
	return the_end();
}
BEHAVIOUR(a_capacity_beyond_all_bytes_is_no_answer, "DEV-22")

static bool limits_of_nothing_are_no_answer(void)
{
	uint16_t queues;

	CHECK_RESULT(with_config(12, 4, 0), VIODMA_PEER_ANSWER); /* seg_max */
	CHECK(the_end());
	CHECK_RESULT(with_config(34, 2, 0), VIODMA_PEER_ANSWER); /* num_queues */
	CHECK_RESULT(viodma_driver_blk_queues(&current->driver, &queues), VIODMA_PEER_ANSWER);
	return the_end();
}
BEHAVIOUR(limits_of_nothing_are_no_answer, "DEV-22")

static bool a_longest_segment_of_nothing_is_no_limit(void)
{
	CHECK_RESULT(with_config(8, 4, 0), VIODMA_OK);
	CHECK_EQUAL(current->blk.size_max, UINT32_MAX);
	return true;
}
HOLDS(a_longest_segment_of_nothing_is_no_limit)

static bool a_number_of_no_queues_is_no_answer(void)
{
	const struct test_device_options options = {.queues = 2};
	struct test_device *device = fresh(&options);
	uint16_t queues;

	memset(device->config + 34, 0, 2);
	CHECK_RESULT(test_device_negotiate(device, viodma_driver_blk_wanted()), VIODMA_OK);
	CHECK_RESULT(viodma_driver_blk_queues(&device->driver, &queues), VIODMA_PEER_ANSWER);
	return true;
}
BEHAVIOUR(a_number_of_no_queues_is_no_answer, "DEV-22")

static bool a_block_size_that_is_no_power_of_two_is_no_answer(void)
{
	CHECK_RESULT(with_config(20, 4, 0), VIODMA_PEER_ANSWER);
	CHECK(the_end());
	CHECK_RESULT(with_config(21, 1, 0), VIODMA_PEER_ANSWER); /* 512 is in there */
	CHECK(the_end());
	CHECK_RESULT(with_config(21, 1, 3), VIODMA_PEER_ANSWER);
	CHECK(the_end());
	CHECK_RESULT(with_config(20, 1, 1), VIODMA_PEER_ANSWER);
	CHECK(the_end());
	CHECK_RESULT(with_config(21, 1, 4), VIODMA_OK);
	return the_end();
}
BEHAVIOUR(a_block_size_that_is_no_power_of_two_is_no_answer, "DEV-22")

static bool configuration_that_changes_all_the_time_is_no_answer(void)
{
	struct test_device *device = fresh(NULL);

	device->changing_config = true;
	CHECK_RESULT(test_device_start(device, 4, 14), VIODMA_PEER_ANSWER);
	return the_end();
}
BEHAVIOUR(configuration_that_changes_all_the_time_is_no_answer, "DEV-22")

static bool a_segment_too_short_for_a_sector_and_its_alignment_is_refused(void)
{
	const struct test_device_options options = {.alignment_bytes = 512, .slot_bytes = 2048};
	struct test_device *device = fresh(&options);

	memset(device->config + 8, 0, 4);
	device->config[8] = 64; /* size_max; segments start at multiples of 512 */
	CHECK_RESULT(test_device_start(device, 4, 14), VIODMA_E_LIMIT);
	return the_end();
}
HOLDS(a_segment_too_short_for_a_sector_and_its_alignment_is_refused)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_MUTANT(a_capacity_beyond_all_bytes_is_no_answer),
		WITH_MUTANT(limits_of_nothing_are_no_answer),
		TEST(a_longest_segment_of_nothing_is_no_limit),
		WITH_MUTANT(a_number_of_no_queues_is_no_answer),
		WITH_MUTANT(a_block_size_that_is_no_power_of_two_is_no_answer),
		WITH_MUTANT(configuration_that_changes_all_the_time_is_no_answer),
		TEST(a_segment_too_short_for_a_sector_and_its_alignment_is_refused),
	};

	return cmocka_run_group_tests_name("driver blk config", tests, NULL, NULL);
}
