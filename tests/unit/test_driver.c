/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_driver.c - the steps from reset to DRIVER_OK, with devices that take them, and devices that do not.
 *
 * How it works: the transport of tests/support/test_device.h, which fails or lies at the step the test names.
 */
#include "tests/support/check.h"
#include "tests/support/test_device.h"

#define AGREED (VIODMA_STATUS_ACKNOWLEDGE | VIODMA_STATUS_DRIVER | VIODMA_STATUS_FEATURES_OK)

static struct test_device *current;

static struct test_device *fresh(const struct test_device_options *options)
{
	test_device_free(current);
	current = test_device_new(options);
	return current;
}

static bool a_device_is_agreed_with_and_made_ready(void)
{
	int kind;

	for (kind = 0; kind < TEST_KINDS; kind++) {
		const struct test_device_options options = {.kind = (enum test_kind)kind, .order_platform = true};
		struct test_device *device = fresh(&options);

		CHECK_RESULT(test_device_negotiate(device, viodma_driver_blk_wanted()), VIODMA_OK);
		CHECK_EQUAL(device->status, AGREED);
		CHECK(device->accepted & VIODMA_FEATURE(VIRTIO_F_ACCESS_PLATFORM_BIT));
		CHECK_EQUAL(device->accepted, device->driver.decision.accepted);
		CHECK_EQUAL(device->accepted & ~device->offered, 0);
		CHECK_EQUAL(device->driver.offered, device->offered);
		CHECK(device->driver.decision.order_platform);
		CHECK(device->platform_addresses);
		CHECK_RESULT(viodma_driver_check(&device->driver), VIODMA_OK);
		CHECK_RESULT(viodma_driver_ready(&device->driver), VIODMA_OK);
		CHECK_EQUAL(device->status, AGREED | VIODMA_STATUS_DRIVER_OK);
		CHECK_RESULT(viodma_driver_check(&device->driver), VIODMA_OK);
		CHECK_RESULT(viodma_driver_reset(&device->driver), VIODMA_OK);
		CHECK_EQUAL(device->status, 0);
	}
	return true;
}
HOLDS(a_device_is_agreed_with_and_made_ready)

static bool without_bit_33_addresses_are_physical(void)
{
	const struct test_device_options options = {.physical = true};
	struct test_device *device = fresh(&options);

	device->platform_addresses = true;
	CHECK_RESULT(test_device_negotiate(device, 0), VIODMA_OK);
	CHECK(!(device->accepted & VIODMA_FEATURE(VIRTIO_F_ACCESS_PLATFORM_BIT)));
	CHECK(!device->platform_addresses);
	CHECK_EQUAL(device->driver.decision.addressing, VIODMA_ADDRESSING_PHYSICAL);
	return true;
}
HOLDS(without_bit_33_addresses_are_physical)

static bool on_a_restricted_platform_a_device_without_bit_33_is_told_that_it_failed(void)
{
	const struct test_device_options options = {.kind = TEST_BOUNCE, .physical = true};
	struct test_device *device = fresh(&options);

	CHECK_RESULT(test_device_negotiate(device, viodma_driver_blk_wanted()), VIODMA_PEER_RESTRICTED);
	CHECK(device->status & VIODMA_STATUS_FAILED);
	CHECK(!(device->status & VIODMA_STATUS_FEATURES_OK));
	CHECK_EQUAL(device->accepted, 0);
	CHECK_RESULT(viodma_driver_ready(&device->driver), VIODMA_E_INVALID);
	return true;
}
BEHAVIOUR(on_a_restricted_platform_a_device_without_bit_33_is_told_that_it_failed, "DRV-4")

static bool a_device_that_drops_features_ok_is_refused(void)
{
	struct test_device *device = fresh(NULL);

	device->clear_features_ok = true;
	CHECK_RESULT(test_device_negotiate(device, 0), VIODMA_PEER_FEATURES);
	CHECK(device->status & VIODMA_STATUS_FAILED);
	CHECK_RESULT(viodma_driver_ready(&device->driver), VIODMA_E_INVALID);
	return true;
}
BEHAVIOUR(a_device_that_drops_features_ok_is_refused, "DEV-8")

static bool a_device_from_before_the_standard_is_not_asked_for_features_ok(void)
{
	const struct test_device_options options = {.physical = true, .legacy = true};
	struct test_device *device = fresh(&options);

	CHECK_RESULT(test_device_negotiate(device, 0), VIODMA_PEER_LEGACY);
	device->policy.legacy = device->clear_features_ok = true;
	CHECK_RESULT(test_device_negotiate(device, 0), VIODMA_OK);
	CHECK_EQUAL(device->status, VIODMA_STATUS_ACKNOWLEDGE | VIODMA_STATUS_DRIVER);
	CHECK_RESULT(viodma_driver_ready(&device->driver), VIODMA_OK);
	return true;
}
HOLDS(a_device_from_before_the_standard_is_not_asked_for_features_ok)

static bool a_reset_is_waited_for(void)
{
	struct test_device *device = fresh(NULL);

	device->reset_reads = 3;
	CHECK_RESULT(test_device_negotiate(device, 0), VIODMA_WAIT);
	CHECK_RESULT(test_device_negotiate(device, 0), VIODMA_WAIT);
	CHECK_RESULT(test_device_negotiate(device, 0), VIODMA_WAIT);
	CHECK_RESULT(test_device_negotiate(device, 0), VIODMA_OK);
	device->reset_reads = ~0u;
	CHECK_RESULT(viodma_driver_reset(&device->driver), VIODMA_WAIT);
	CHECK_RESULT(viodma_driver_reset(&device->driver), VIODMA_WAIT);
	device->reset_reads = 0;
	CHECK_RESULT(viodma_driver_reset(&device->driver), VIODMA_OK);
	return true;
}
BEHAVIOUR(a_reset_is_waited_for, "DEV-21")

static bool a_device_that_needs_a_reset_or_lost_its_status_is_noticed(void)
{
	struct test_device *device = fresh(NULL);

	CHECK_RESULT(test_device_negotiate(device, 0), VIODMA_OK);
	CHECK_RESULT(viodma_driver_ready(&device->driver), VIODMA_OK);
	device->status |= VIODMA_STATUS_NEEDS_RESET;
	CHECK_RESULT(viodma_driver_check(&device->driver), VIODMA_PEER_NEEDS_RESET);
	device->status = 0;
	CHECK_RESULT(viodma_driver_check(&device->driver), VIODMA_PEER_NEEDS_RESET);
	return true;
}
BEHAVIOUR(a_device_that_needs_a_reset_or_lost_its_status_is_noticed, "DEV-20")

static bool a_device_that_has_gone_is_noticed(void)
{
	struct test_device *device = fresh(NULL);
	uint32_t word;

	CHECK_RESULT(test_device_negotiate(device, 0), VIODMA_OK);
	device->status = 0xff;
	CHECK_RESULT(viodma_driver_check(&device->driver), VIODMA_PEER_GONE);
	device->failure = VIODMA_PEER_GONE;
	CHECK_RESULT(viodma_driver_check(&device->driver), VIODMA_PEER_GONE);
	CHECK_RESULT(viodma_driver_ready(&device->driver), VIODMA_PEER_GONE);
	CHECK_RESULT(viodma_driver_reset(&device->driver), VIODMA_PEER_GONE);
	CHECK_RESULT(viodma_driver_read_config(&device->driver, 0, &word, 4), VIODMA_PEER_GONE);
	viodma_driver_fail(&device->driver); /* nobody hears it */
	return true;
}
HOLDS(a_device_that_has_gone_is_noticed)

static bool configuration_that_never_holds_still_is_no_answer(void)
{
	struct test_device *device = fresh(NULL);
	unsigned char seen[8];

	CHECK_RESULT(test_device_negotiate(device, 0), VIODMA_OK);
	CHECK_RESULT(viodma_driver_read_config(&device->driver, 0, seen, 8), VIODMA_OK);
	CHECK(!memcmp(seen, device->config, 8));
	device->changing_config = true;
	CHECK_RESULT(viodma_driver_read_config(&device->driver, 0, seen, 8), VIODMA_PEER_ANSWER);
	return true;
}
BEHAVIOUR(configuration_that_never_holds_still_is_no_answer, "DEV-22")

static bool configuration_without_a_generation_is_read_once(void)
{
	struct test_device *device = fresh(NULL);
	struct viodma_transport_ops ops = *device->transport.ops;
	unsigned char seen[8];
	unsigned calls;

	ops.config_generation = NULL;
	ops.set_addressing = NULL;
	device->transport.ops = &ops;
	CHECK_RESULT(test_device_negotiate(device, 0), VIODMA_OK);
	calls = device->calls;
	CHECK_RESULT(viodma_driver_read_config(&device->driver, 0, seen, 8), VIODMA_OK);
	CHECK_EQUAL(device->calls, calls + 1);
	return true;
}
HOLDS(configuration_without_a_generation_is_read_once)

/* Whichever call fails, the answer is its result, and the device is told, if it hears anything at all. */
static bool each_failure_of_the_transport_is_passed_on(void)
{
	enum viodma_result result = VIODMA_E_IO;
	unsigned n;

	for (n = 1; result != VIODMA_OK; n++) {
		struct test_device *device = fresh(NULL);

		CHECK(n < 40);
		device->fail_at = n;
		device->failure = VIODMA_E_TIMEOUT;
		result = test_device_negotiate(device, 0);
		if (result == VIODMA_OK)
			break;
		CHECK_RESULT(result, VIODMA_E_TIMEOUT);
		if (n > 2)
			CHECK(device->status & VIODMA_STATUS_FAILED);
	}
	CHECK_EQUAL(n - 1, 9);
	return true;
}
HOLDS(each_failure_of_the_transport_is_passed_on)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_device_is_agreed_with_and_made_ready),
		TEST(without_bit_33_addresses_are_physical),
		WITH_MUTANT(on_a_restricted_platform_a_device_without_bit_33_is_told_that_it_failed),
		WITH_MUTANT(a_device_that_drops_features_ok_is_refused),
		TEST(a_device_from_before_the_standard_is_not_asked_for_features_ok),
		WITH_MUTANT(a_reset_is_waited_for),
		WITH_MUTANT(a_device_that_needs_a_reset_or_lost_its_status_is_noticed),
		TEST(a_device_that_has_gone_is_noticed),
		WITH_MUTANT(configuration_that_never_holds_still_is_no_answer),
		TEST(configuration_without_a_generation_is_read_once),
		TEST(each_failure_of_the_transport_is_passed_on),
	};

	return cmocka_run_group_tests_name("driver", tests, NULL, NULL);
}
