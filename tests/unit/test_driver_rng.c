/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_driver_rng.c - virtio-rng, driver half: bytes come as far as the used length says, over every kind of domain;
 * room is waited for; a device that gives nothing, or never answers, is noticed.
 *
 * How it works: the device's side is played by hand (tests/support/test_device.h).
 */
#include "tests/support/check.h"
#include "tests/support/hooks.h"
#include "tests/support/test_device.h"

#include <viodma/driver_rng.h>

static struct test_device *current;
static struct viodma_driver_rng rng;

static struct test_device *started(const struct test_device_options *options)
{
	test_device_free(current);
	current = test_device_new(options);
	if (test_device_negotiate(current, viodma_driver_rng_wanted()) != VIODMA_OK ||
	    test_device_make_domain(current) != VIODMA_OK || test_device_make_queue(current, 0) != VIODMA_OK)
		abort();
	viodma_driver_rng_init(&rng, &current->driver, &current->queues[0].driver);
	if (viodma_driver_ready(&current->driver) != VIODMA_OK)
		abort();
	return current;
}

static bool gone(void)
{
	CHECK_RESULT(viodma_driver_reset(&current->driver), VIODMA_OK);
	CHECK_RESULT(viodma_driver_rng_stop(&rng), VIODMA_OK);
	CHECK_RESULT(test_device_end(current), VIODMA_OK);
	CHECK(test_device_idle(current));
	CHECK_EQUAL(current->faults, 0);
	return true;
}

/* Fill what is asked for with 'r', and say that `used` bytes came. */
static bool answer(uint32_t used, uint64_t *asked)
{
	struct test_chain chain;
	uint32_t i;

	CHECK(test_device_take(&current->queues[0], &chain));
	CHECK_EQUAL(chain.readable, 0);
	for (i = 0; i < chain.count; i++)
		memset(chain.part[i].memory, 'r', chain.part[i].len_bytes);
	*asked = chain.writable_bytes;
	test_device_put_used(&current->queues[0], chain.head, used);
	return true;
}

static bool bytes_come_as_far_as_the_used_length_says(void)
{
	int kind;

	for (kind = 0; kind < TEST_KINDS; kind++) {
		const struct test_device_options options = {
			.kind = (enum test_kind)kind, .event_idx = true, .tables = 2, .table_descriptors = 8};
		struct test_device *device = started(&options);
		const struct viodma_buffer buffer = test_buffer(0x1801, 5000);
		uint32_t len = 0, i;
		uint64_t asked;

		CHECK_RESULT(viodma_driver_rng_poll(&rng, 0, &len), VIODMA_E_NOT_FOUND);
		CHECK_RESULT(viodma_driver_rng_submit(&rng, &buffer, 100), VIODMA_OK);
		CHECK_RESULT(viodma_driver_rng_submit(&rng, &buffer, 100), VIODMA_E_BUSY);
		CHECK_EQUAL(device->queues[0].notified, 1);
		CHECK_RESULT(viodma_driver_rng_poll(&rng, 99, &len), VIODMA_EMPTY);
		CHECK(answer(3000, &asked));
		CHECK_EQUAL(asked, 5000);
		CHECK_RESULT(viodma_driver_rng_poll(&rng, 100, &len), VIODMA_OK);
		CHECK_EQUAL(len, 3000);
		for (i = 0; i < 3000; i++)
			CHECK_EQUAL(device->private_memory[0x1801 + i], 'r');
		for (; i < 5000 && (kind == TEST_BOUNCE || kind == TEST_BOUNCE_IOMMU); i++)
			CHECK_EQUAL(device->private_memory[0x1801 + i], 0x5a);
		CHECK_RESULT(viodma_driver_rng_poll(&rng, 200, &len), VIODMA_E_NOT_FOUND);
		CHECK(gone());
	}
	return true;
}
HOLDS(bytes_come_as_far_as_the_used_length_says)

static bool a_device_that_gives_nothing_has_not_answered(void)
{
	const struct viodma_buffer buffer = test_buffer(0, 64);
	uint64_t asked;
	uint32_t len;

	started(NULL);
	CHECK_RESULT(viodma_driver_rng_submit(&rng, &buffer, UINT64_MAX), VIODMA_OK);
	CHECK(answer(0, &asked));
	CHECK_RESULT(viodma_driver_rng_poll(&rng, 0, &len), VIODMA_PEER_ANSWER);
	CHECK_EQUAL(current->domain.statistics.live, 0);
	CHECK_RESULT(viodma_driver_rng_submit(&rng, &buffer, UINT64_MAX), VIODMA_OK); /* one may ask again */
	return gone();
}
BEHAVIOUR(a_device_that_gives_nothing_has_not_answered, "DEV-22")

static bool more_than_was_asked_for_is_not_believed(void)
{
	const struct viodma_buffer buffer = test_buffer(0, 64);
	uint64_t asked;
	uint32_t len;

	started(NULL);
	CHECK_RESULT(viodma_driver_rng_submit(&rng, &buffer, UINT64_MAX), VIODMA_OK);
	CHECK(answer(65, &asked));
	CHECK_RESULT(viodma_driver_rng_poll(&rng, 0, &len), VIODMA_OK);
	CHECK_EQUAL(len, 64);
	return gone();
}
BEHAVIOUR(more_than_was_asked_for_is_not_believed, "DEV-16")

static bool a_silent_device_is_noticed_at_the_deadline(void)
{
	const struct viodma_buffer buffer = test_buffer(0, 64);
	uint32_t len;

	started(NULL);
	CHECK_RESULT(viodma_driver_rng_submit(&rng, &buffer, 100), VIODMA_OK);
	CHECK_RESULT(viodma_driver_rng_poll(&rng, 99, &len), VIODMA_EMPTY);
	CHECK_RESULT(viodma_driver_rng_poll(&rng, 100, &len), VIODMA_PEER_SILENT);
	return gone();
}
BEHAVIOUR(a_silent_device_is_noticed_at_the_deadline, "DEV-20")

static bool a_lie_of_the_ring_comes_through(void)
{
	const struct viodma_buffer buffer = test_buffer(0, 64);
	uint32_t len;

	started(NULL);
	CHECK_RESULT(viodma_driver_rng_submit(&rng, &buffer, 100), VIODMA_OK);
	test_device_put_used(&current->queues[0], 77, 1);
	CHECK_RESULT(viodma_driver_rng_poll(&rng, 0, &len), VIODMA_PEER_USED_ID);
	CHECK_RESULT(viodma_driver_rng_poll(&rng, 0, &len), VIODMA_PEER_USED_ID);
	return gone();
}
HOLDS(a_lie_of_the_ring_comes_through)

static bool an_index_that_comes_and_goes_keeps_nobody(void)
{
	const struct viodma_buffer buffer = test_buffer(0, 64);
	enum viodma_result result;
	uint32_t len;

	started(NULL);
	CHECK_RESULT(viodma_driver_rng_submit(&rng, &buffer, 100), VIODMA_OK);
	test_device_come_and_go(&current->queues[0]);
	result = viodma_driver_rng_poll(&rng, 0, &len);
	if (result == VIODMA_EMPTY)
		result = viodma_driver_rng_poll(&rng, 100, &len);
	viodma_shared_read_hook_fn = NULL;
	/* Silent, or an empty answer; packed, the length is still the one that was asked for. */
	CHECK(viodma_result_is_peer(result) || (TEST_PACKED && result == VIODMA_OK));
	CHECK(test_device_looks() < 10);
	return gone();
}
HOLDS(an_index_that_comes_and_goes_keeps_nobody)

/* A quarter of an hour of bytes is asked for as far as a mapping, and a chain, hold. */
static bool a_long_buffer_is_asked_for_as_far_as_possible(void)
{
	static const struct test_device_options cases[] = {
		{.mapping_bytes_max = 5000},
		{.segment_bytes_max = 1000, .size = 4},
		{.kind = TEST_BOUNCE},
		{.kind = TEST_BOUNCE, .run_bytes = 2048, .size = 4},
		{.kind = TEST_IOMMU, .segment_bytes_max = 4096},
		{.kind = TEST_BOUNCE_IOMMU, .boundary_bytes = 4096},
	};
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct viodma_buffer buffer = test_buffer(100, 900000);
		uint64_t asked;
		uint32_t len;

		started(&cases[i]);
		CHECK_RESULT(viodma_driver_rng_submit(&rng, &buffer, UINT64_MAX), VIODMA_OK);
		CHECK(answer(1000, &asked));
		CHECK(asked > 1000 && asked < 300000);
		CHECK_RESULT(viodma_driver_rng_poll(&rng, 0, &len), VIODMA_OK);
		CHECK_EQUAL(len, 1000);
		CHECK(gone());
	}
	return true;
}
HOLDS(a_long_buffer_is_asked_for_as_far_as_possible)

static bool room_is_waited_for(void)
{
	const struct test_device_options options = {.kind = TEST_BOUNCE, .pool_bytes = 32 << 10};
	const struct viodma_buffer buffer = test_buffer(0, 4096);
	struct viodma_dma_memory taken[16];
	struct test_device *device = started(&options);
	unsigned count = 0;
	uint64_t asked;
	uint32_t len;

	/* A slot is left: that much is asked for. */
	while (count < (TEST_PACKED ? 12 : 13) &&
	       viodma_domain_alloc(&device->domain, &taken[count], 2048, 64, VIODMA_TO_DEVICE) == VIODMA_OK)
		count++;
	CHECK_EQUAL(count, TEST_PACKED ? 12 : 13); /* a packed ring takes one more */
	CHECK_RESULT(viodma_driver_rng_submit(&rng, &buffer, 100), VIODMA_OK);
	CHECK(answer(500, &asked));
	CHECK(asked >= 500 && asked <= 2048);
	CHECK_RESULT(viodma_driver_rng_poll(&rng, 0, &len), VIODMA_OK);
	CHECK_EQUAL(len, 500);
	/* None is: a poll looks again, until the deadline. */
	while (viodma_domain_alloc(&device->domain, &taken[count], 2048, 64, VIODMA_TO_DEVICE) == VIODMA_OK)
		count++;
	CHECK_RESULT(viodma_driver_rng_submit(&rng, &buffer, 100), VIODMA_E_LIMIT); /* it is known in advance */
	CHECK_RESULT(viodma_domain_release(&taken[--count]), VIODMA_OK);
	{
		/* Mapped, not allocated: it comes back. */
		const struct viodma_buffer other = test_buffer(0x8000, 2048);
		struct viodma_mapping mapping;
		struct viodma_segment segment;

		CHECK_RESULT(viodma_domain_map(&device->domain, &mapping, &other, 1, VIODMA_TO_DEVICE, &segment, 1),
			     VIODMA_OK);
		CHECK_RESULT(viodma_driver_rng_submit(&rng, &buffer, 100), VIODMA_OK);
		CHECK_RESULT(viodma_driver_rng_submit(&rng, &buffer, 100), VIODMA_E_BUSY);
		CHECK_RESULT(viodma_driver_rng_poll(&rng, 50, &len), VIODMA_EMPTY);
		CHECK_RESULT(viodma_driver_rng_poll(&rng, 100, &len), VIODMA_E_EXHAUSTED);
		CHECK_RESULT(viodma_driver_rng_poll(&rng, 100, &len), VIODMA_E_NOT_FOUND);
		CHECK_RESULT(viodma_driver_rng_submit(&rng, &buffer, 100), VIODMA_OK);
		CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	}
	CHECK_RESULT(viodma_driver_rng_poll(&rng, 50, &len), VIODMA_EMPTY);
	CHECK(answer(7, &asked));
	CHECK_RESULT(viodma_driver_rng_poll(&rng, 50, &len), VIODMA_OK);
	CHECK_EQUAL(len, 7);
	while (count)
		CHECK_RESULT(viodma_domain_release(&taken[--count]), VIODMA_OK);
	return gone();
}
HOLDS(room_is_waited_for)

static bool what_cannot_be_is_refused(void)
{
	const struct test_device_options offset = {.kind = TEST_OFFSET};
	struct viodma_buffer buffer = test_buffer(0, 64);
	uint32_t len;

	started(&offset);
	buffer.len_bytes = 0;
	CHECK_RESULT(viodma_driver_rng_submit(&rng, &buffer, 100), VIODMA_E_INVALID);
	buffer = (struct viodma_buffer){.phys = {0x1000}, .len_bytes = 64};
	CHECK(viodma_driver_rng_submit(&rng, &buffer, 100) != VIODMA_OK);
	CHECK_RESULT(viodma_driver_rng_poll(&rng, 0, &len), VIODMA_E_NOT_FOUND);
	return gone();
}
HOLDS(what_cannot_be_is_refused)

static bool memory_that_cannot_be_taken_back_is_said(void)
{
	const struct test_device_options options = {.kind = TEST_IOMMU};
	const struct viodma_buffer buffer = test_buffer(0, 4096);
	uint64_t asked;
	uint32_t len;

	started(&options);
	CHECK_RESULT(viodma_driver_rng_submit(&rng, &buffer, 100), VIODMA_OK);
	CHECK(answer(10, &asked));
	current->iommu_stuck = true;
	CHECK_RESULT(viodma_driver_rng_poll(&rng, 0, &len), VIODMA_E_QUARANTINED);
	CHECK_EQUAL(len, 10);
	started(&options);
	CHECK_RESULT(viodma_driver_rng_submit(&rng, &buffer, 100), VIODMA_OK);
	current->iommu_stuck = true;
	CHECK_RESULT(viodma_driver_reset(&current->driver), VIODMA_OK);
	CHECK_RESULT(viodma_driver_rng_stop(&rng), VIODMA_E_QUARANTINED);
	return true;
}
HOLDS(memory_that_cannot_be_taken_back_is_said)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(bytes_come_as_far_as_the_used_length_says),
		WITH_MUTANT(a_device_that_gives_nothing_has_not_answered),
		WITH_MUTANT(more_than_was_asked_for_is_not_believed),
		WITH_MUTANT(a_silent_device_is_noticed_at_the_deadline),
		TEST(a_lie_of_the_ring_comes_through),
		TEST(an_index_that_comes_and_goes_keeps_nobody),
		TEST(a_long_buffer_is_asked_for_as_far_as_possible),
		TEST(room_is_waited_for),
		TEST(what_cannot_be_is_refused),
		TEST(memory_that_cannot_be_taken_back_is_said),
	};

	return cmocka_run_group_tests_name(TEST_PACKED ? "driver rng, packed" : "driver rng", tests, NULL, NULL);
}
