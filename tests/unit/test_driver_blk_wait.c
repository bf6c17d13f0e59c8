/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_driver_blk_wait.c - virtio-blk, driver half: requests that wait for room, fail, are given back by a reset, or
 * pass their deadline; and what is not taken at all.
 *
 * How it works: the device opposite is the library's own (tests/support/test_device.h), with a disk in memory.
 */
#include "tests/support/check.h"
#include "tests/support/hooks.h"
#include "tests/support/driver_blk_rig.h"

/* ---- no room ---- */

/* One that waits holds up those behind it, and nobody spins: a poll without a completion sends and maps nothing. */
static bool requests_that_find_no_room_wait_in_their_order(void)
{
	const struct test_device_options options = {.kind = TEST_BOUNCE, .pool_bytes = 64 << 10};
	struct test_device *device = started(&options, 32, 14);
	uint64_t maps, waited;
	unsigned i, turn;

	device->hold = true;
	forget();
	for (i = 0; i < 20; i++)
		CHECK_RESULT(submit(ask(i, VIODMA_DRIVER_BLK_READ, 16 * i, i * 0x4000, 8192)), VIODMA_OK);
	CHECK_RESULT(viodma_driver_blk_poll(&device->blk, 0), VIODMA_EMPTY);
	CHECK(device->blk.parts_out && device->blk.first);
	CHECK_EQUAL(device->blk.statistics.waited, 1);
	waited = device->domain.statistics.exhausted;
	maps = device->blk.statistics.parts;
	for (i = 0; i < 100; i++)
		CHECK_RESULT(viodma_driver_blk_poll(&device->blk, 0), VIODMA_EMPTY);
	CHECK_EQUAL(device->domain.statistics.exhausted, waited);
	CHECK_EQUAL(device->blk.statistics.parts, maps);
	for (turn = 0; turn < 100 && endings < 20; turn++) {
		test_device_serve(device);
		test_device_finish(device);
		CHECK_RESULT(viodma_driver_blk_poll(&device->blk, 0), VIODMA_OK);
	}
	for (i = 0; i < 20; i++) {
		CHECK(ended(&asked[i], VIODMA_OK));
		CHECK_EQUAL(asked[i].order, i);
		CHECK(as_on_disk(i * 0x4000, 16u * 512u * i, 8192));
	}
	return gone();
}
HOLDS(requests_that_find_no_room_wait_in_their_order)

/* One request, served. *called: would the device have called? */
static bool served(struct test_device *device, unsigned i, bool *called)
{
	CHECK_RESULT(submit(ask(i, VIODMA_DRIVER_BLK_READ, i, i * 0x1000, 512)), VIODMA_OK);
	CHECK_RESULT(viodma_driver_blk_poll(&device->blk, 0), VIODMA_EMPTY);
	test_device_serve(device);
	test_device_finish(device);
	*called = viodma_queue_call_needed(&device->queues[0].queue);
	CHECK_RESULT(viodma_driver_blk_poll(&device->blk, 0), VIODMA_OK);
	CHECK(ended(&asked[i], VIODMA_OK));
	return true;
}

static bool a_driver_that_polls_is_not_called_until_it_says_that_it_sleeps(void)
{
	for (int event_idx = 0; event_idx < 2; event_idx++) {
		const struct test_device_options options = {.kind = TEST_OFFSET, .event_idx = event_idx};
		struct test_device *device = started(&options, 4, 4);
		bool called;

		forget();
		CHECK(served(device, 0, &called)); /* of the first one any event index may be meant */
		for (unsigned i = 1; i < 20; i++) {
			const bool polled = i / 3 % 2;

			viodma_driver_blk_set_polled(&device->blk, polled);
			CHECK_RESULT(viodma_driver_blk_poll(&device->blk, 0), VIODMA_EMPTY);
			CHECK(served(device, i, &called));
			CHECK_EQUAL(called, !polled);
		}
		viodma_driver_blk_set_polled(&device->blk, false);
	}
	return gone();
}
HOLDS(a_driver_that_polls_is_not_called_until_it_says_that_it_sleeps)

/* Somebody else holds the pool: parts get small, and when there is nothing at all the request ends. */
static bool without_any_room_and_nothing_in_flight_a_request_ends(void)
{
	const struct test_device_options options = {.kind = TEST_BOUNCE, .pool_bytes = 128 << 10, .slot_bytes = 1024};
	struct test_device *device = started(&options, 4, 14);
	struct viodma_dma_memory taken[128];
	unsigned count = 0;

	while (viodma_domain_alloc(&device->domain, &taken[count], 1024, 64, VIODMA_TO_DEVICE) == VIODMA_OK)
		count++;
	forget();
	CHECK_RESULT(submit(ask(0, VIODMA_DRIVER_BLK_READ, 0, 0, 16384)), VIODMA_OK);
	CHECK_RESULT(submit(ask(1, VIODMA_DRIVER_BLK_FLUSH, 0, 0, 0)), VIODMA_OK);
	CHECK_RESULT(settle(), VIODMA_EMPTY);
	CHECK(ended(&asked[0], VIODMA_E_EXHAUSTED));
	CHECK(ended(&asked[1], VIODMA_OK)); /* needs no room */
	/* A slot is free: sector by sector. */
	CHECK_RESULT(viodma_domain_release(&taken[--count]), VIODMA_OK);
	CHECK_RESULT(submit(ask(2, VIODMA_DRIVER_BLK_READ, 7, 0x1000, 16384)), VIODMA_OK);
	CHECK_RESULT(settle(), VIODMA_EMPTY);
	CHECK(ended(&asked[2], VIODMA_OK));
	CHECK(as_on_disk(0x1000, 7 * 512, 16384));
	while (count)
		CHECK_RESULT(viodma_domain_release(&taken[--count]), VIODMA_OK);
	return gone();
}
HOLDS(without_any_room_and_nothing_in_flight_a_request_ends)

/* The caller tries again from within done, for ever: a poll still ends. */
static unsigned again;

static void submit_again(void *context, struct viodma_driver_blk_request *request, enum viodma_result result)
{
	(void)context;
	(void)result;
	again++;
	if (viodma_driver_blk_submit(&current->blk, request) != VIODMA_OK)
		abort();
}

static bool what_done_submits_is_sent_by_the_next_poll(void)
{
	const struct test_device_options options = {.no_flush = true};
	struct test_device *device = started(&options, 4, 14);

	forget();
	again = 0;
	ask(0, VIODMA_DRIVER_BLK_FLUSH, 0, 0, 0)->request.done = submit_again;
	CHECK_RESULT(submit(&asked[0]), VIODMA_OK);
	CHECK_RESULT(viodma_driver_blk_poll(&device->blk, 0), VIODMA_OK);
	CHECK_EQUAL(again, 1);
	CHECK_RESULT(viodma_driver_blk_poll(&device->blk, 0), VIODMA_OK);
	CHECK_EQUAL(again, 2);
	asked[0].request.done = on_done;
	asked[0].request.context = &asked[0];
	CHECK_RESULT(viodma_driver_blk_poll(&device->blk, 0), VIODMA_OK);
	CHECK(ended(&asked[0], VIODMA_OK));
	return gone();
}
HOLDS(what_done_submits_is_sent_by_the_next_poll)

/* ---- failures of the disk, resets, deadlines ---- */

static bool an_error_of_one_part_lets_the_others_end_first(void)
{
	const struct test_device_options options = {.kind = TEST_BOUNCE, .seg_max = 1, .size_max = 4096};
	struct test_device *device = started(&options, 4, 14);
	uint64_t sent;

	device->hold = true;
	forget();
	CHECK_RESULT(submit(ask(0, VIODMA_DRIVER_BLK_READ, 0, 0, 32768)), VIODMA_OK);
	CHECK_RESULT(submit(ask(1, VIODMA_DRIVER_BLK_READ, 0, 0x20000, 512)), VIODMA_OK);
	CHECK_RESULT(viodma_driver_blk_poll(&device->blk, 0), VIODMA_EMPTY);
	test_device_serve(device);
	CHECK_EQUAL(device->pending_count, 4);
	sent = device->blk.statistics.parts;
	/* The first part fails, the others succeed. */
	device->broken_disk = true;
	device->pending_count = 1;
	test_device_finish(device);
	CHECK_RESULT(viodma_driver_blk_poll(&device->blk, 0), VIODMA_EMPTY);
	CHECK_EQUAL(asked[0].ended, 0); /* three parts are with the device */
	CHECK_EQUAL(device->blk.statistics.parts, sent + 1); /* and no more of it go out: that is the next one's */
	device->broken_disk = false;
	device->pending_count = 3;
	memmove(device->pending, device->pending + 1, 3 * sizeof(device->pending[0]));
	CHECK_RESULT(settle(), VIODMA_EMPTY);
	CHECK(ended(&asked[0], VIODMA_E_IO));
	CHECK(ended(&asked[1], VIODMA_OK));
	CHECK_EQUAL(device->blk.statistics.failed, 1);
	CHECK_EQUAL(device->private_memory[0], 0x5a); /* what failed brought nothing out of the pool */
	return gone();
}
HOLDS(an_error_of_one_part_lets_the_others_end_first)

static bool after_a_reset_everything_is_given_back_and_can_go_on(void)
{
	int kind;

	for (kind = 0; kind < TEST_KINDS; kind++) {
		const struct test_device_options options = {.kind = (enum test_kind)kind, .queues = 2};
		struct test_device *device = started(&options, 6, 14);
		unsigned i;

		device->hold = true;
		forget();
		for (i = 0; i < 10; i++)
			CHECK_RESULT(submit(ask(i, VIODMA_DRIVER_BLK_READ, i, i * 0x4000, 4096)), VIODMA_OK);
		CHECK_RESULT(viodma_driver_blk_poll(&device->blk, 0), VIODMA_EMPTY);
		test_device_serve(device);
		CHECK_RESULT(viodma_driver_blk_free(&device->blk), VIODMA_E_BUSY);
		CHECK_RESULT(viodma_driver_reset(&device->driver), VIODMA_OK);
		viodma_driver_blk_stop(&device->blk, VIODMA_E_RESET);
		viodma_driver_blk_stop(&device->blk, VIODMA_E_RESET);
		for (i = 0; i < 10; i++)
			CHECK(ended(&asked[i], VIODMA_E_RESET));
		CHECK_RESULT(submit(&asked[0]), VIODMA_E_RESET);
		CHECK_RESULT(viodma_driver_blk_poll(&device->blk, 0), VIODMA_E_RESET);
		CHECK_EQUAL(device->domain.statistics.live, 0);
		CHECK(gone());
		/* From the top, with the same memory. */
		device->hold = false;
		CHECK_RESULT(test_device_start(device, 6, 14), VIODMA_OK);
		for (i = 0; i < 10; i++) {
			asked[i].ended = 0;
			CHECK_RESULT(submit(&asked[i]), VIODMA_OK);
		}
		CHECK_RESULT(settle(), VIODMA_EMPTY);
		for (i = 0; i < 10; i++) {
			CHECK(ended(&asked[i], VIODMA_OK));
			CHECK(as_on_disk(i * 0x4000, 512u * i, 4096));
		}
		CHECK(gone());
	}
	return true;
}
HOLDS(after_a_reset_everything_is_given_back_and_can_go_on)

static bool a_deadline_that_passes_is_said_and_ends_nothing(void)
{
	struct test_device *device = started(NULL, 6, 14);

	device->hold = true;
	forget();
	CHECK_EQUAL(viodma_driver_blk_next_deadline(&device->blk), UINT64_MAX);
	ask(0, VIODMA_DRIVER_BLK_READ, 0, 0, 512)->request.deadline_ns = 500;
	ask(1, VIODMA_DRIVER_BLK_READ, 0, 4096, 512)->request.deadline_ns = 300;
	CHECK_RESULT(submit(&asked[0]), VIODMA_OK);
	CHECK_RESULT(submit(&asked[1]), VIODMA_OK);
	CHECK_EQUAL(viodma_driver_blk_next_deadline(&device->blk), 300);
	CHECK_RESULT(viodma_driver_blk_poll(&device->blk, 299), VIODMA_EMPTY);
	CHECK_EQUAL(viodma_driver_blk_next_deadline(&device->blk), 300);
	CHECK_RESULT(viodma_driver_blk_poll(&device->blk, 300), VIODMA_PEER_SILENT);
	CHECK_EQUAL(asked[1].ended, 0);
	/* It was only late. */
	test_device_serve(device);
	test_device_finish(device);
	CHECK_RESULT(viodma_driver_blk_poll(&device->blk, 10000), VIODMA_OK);
	CHECK(ended(&asked[0], VIODMA_OK) && ended(&asked[1], VIODMA_OK));
	CHECK_EQUAL(viodma_driver_blk_next_deadline(&device->blk), UINT64_MAX);
	return gone();
}
BEHAVIOUR(a_deadline_that_passes_is_said_and_ends_nothing, "DEV-20")

static bool an_index_that_comes_and_goes_puts_off_no_deadline(void)
{
	enum viodma_result result = VIODMA_OK;
	unsigned i;

	started(NULL, 6, 14);
	forget();
	ask(0, VIODMA_DRIVER_BLK_READ, 0, 0, 512)->request.deadline_ns = 50;
	CHECK_RESULT(submit(&asked[0]), VIODMA_OK);
	CHECK_RESULT(viodma_driver_blk_poll(&current->blk, 0), VIODMA_EMPTY);
	test_device_come_and_go(&current->queues[0]);
	for (i = 0; i < 100 && result == VIODMA_OK; i++)
		result = viodma_driver_blk_poll(&current->blk, i);
	viodma_shared_read_hook_fn = NULL;
	CHECK_RESULT(result, VIODMA_PEER_SILENT);
	CHECK_EQUAL(i, 51);
	if (!TEST_PACKED)
		test_device_set_used_index(&current->queues[0], 0);
	return gone();
}
HOLDS(an_index_that_comes_and_goes_puts_off_no_deadline)

/* ---- what is refused ---- */

static bool requests_that_cannot_be_are_not_taken(void)
{
	const struct test_device_options read_only = {.read_only = true};
	struct asked *one;

	started(NULL, 4, 14);
	forget();
	CHECK_RESULT(submit(ask(0, VIODMA_DRIVER_BLK_READ, 0, 0, 511)), VIODMA_E_INVALID);
	CHECK_RESULT(submit(ask(0, VIODMA_DRIVER_BLK_READ, 0, 0, 0)), VIODMA_E_INVALID);
	CHECK_RESULT(submit(ask(0, VIODMA_DRIVER_BLK_READ, TEST_DISK_SECTORS, 0, 512)), VIODMA_E_INVALID);
	CHECK_RESULT(submit(ask(0, VIODMA_DRIVER_BLK_READ, TEST_DISK_SECTORS - 1, 0, 1024)), VIODMA_E_INVALID);
	CHECK_RESULT(submit(ask(0, VIODMA_DRIVER_BLK_READ, UINT64_MAX, 0, 1024)), VIODMA_E_INVALID);
	CHECK_RESULT(submit(ask(0, VIODMA_DRIVER_BLK_GET_ID, 0, 0, 21)), VIODMA_E_INVALID);
	CHECK_RESULT(submit(ask(0, VIODMA_DRIVER_BLK_FLUSH, 0, 0, 512)), VIODMA_E_INVALID);
	CHECK_RESULT(submit(ask(0, (enum viodma_driver_blk_operation)9, 0, 0, 512)), VIODMA_E_INVALID);
	one = ask(0, VIODMA_DRIVER_BLK_READ, 0, 0, 512);
	one->request.done = NULL;
	CHECK_RESULT(submit(one), VIODMA_E_INVALID);
	one = ask(0, VIODMA_DRIVER_BLK_READ, 0, 0, 512);
	one->buffers[1] = test_buffer(0, 0);
	one->request.buffer_count = 2;
	CHECK_RESULT(submit(one), VIODMA_E_INVALID);
	CHECK_RESULT(submit(ask(0, VIODMA_DRIVER_BLK_READ, TEST_DISK_SECTORS - 1, 0, 512)), VIODMA_OK);
	CHECK_RESULT(settle(), VIODMA_EMPTY);
	CHECK_EQUAL(endings, 1);
	CHECK(gone());
	started(&read_only, 4, 14);
	CHECK(current->blk.read_only);
	CHECK_RESULT(submit(ask(0, VIODMA_DRIVER_BLK_WRITE, 0, 0, 512)), VIODMA_E_UNSUPPORTED);
	return gone();
}
HOLDS(requests_that_cannot_be_are_not_taken)

static bool memory_out_of_reach_ends_its_request_only(void)
{
	static const enum test_kind kinds[] = {TEST_OFFSET, TEST_BOUNCE, TEST_IOMMU};
	unsigned i;

	for (i = 0; i < 3; i++) {
		const struct test_device_options options = {.kind = kinds[i]};

		started(&options, 4, 14);
		forget();
		ask(0, VIODMA_DRIVER_BLK_READ, 0, 0, 512)->buffers[0].phys.v = 0x1000; /* in no object */
		CHECK_RESULT(submit(&asked[0]), VIODMA_OK);
		CHECK_RESULT(submit(ask(1, VIODMA_DRIVER_BLK_READ, 0, 0, 512)), VIODMA_OK);
		CHECK_RESULT(settle(), VIODMA_EMPTY);
		CHECK_EQUAL(asked[0].ended, 1);
		CHECK(asked[0].result == VIODMA_E_INVALID || asked[0].result == VIODMA_E_UNREACHABLE);
		CHECK(ended(&asked[1], VIODMA_OK));
		CHECK(gone());
	}
	return true;
}
HOLDS(memory_out_of_reach_ends_its_request_only)

static bool a_configuration_that_cannot_be_is_refused(void)
{
	struct test_device *device = started(NULL, 4, 14);
	struct viodma_driver_blk_config good = device->blk.config, bad;
	static struct viodma_driver_blk other;

#define REFUSED(member, value)                                                                                        \
	bad = good;                                                                                                   \
	bad.member = value;                                                                                           \
	CHECK_RESULT(viodma_driver_blk_init(&other, &bad), VIODMA_E_INVALID)
	REFUSED(driver, NULL);
	REFUSED(domain, NULL);
	REFUSED(queue_count, 0);
	REFUSED(queue_count, VIODMA_DRIVER_BLK_QUEUES_MAX + 1);
	REFUSED(queues[0], NULL);
	REFUSED(parts, 0);
	REFUSED(parts, 32769);
	REFUSED(segments_max, 0);
	REFUSED(storage, NULL);
	REFUSED(storage, (unsigned char *)good.storage + 1);
	REFUSED(storage_bytes, good.storage_bytes - 1);
	return gone();
}
HOLDS(a_configuration_that_cannot_be_is_refused)

/* No status lies where the driver writes, nor near another's while there is room. */
static bool statuses_and_headers_lie_in_ring_memory_apart_from_data(void)
{
	struct test_device *device = started(NULL, 300, 4);

	CHECK_EQUAL(device->blk.status_bytes, 64);
	CHECK_EQUAL(device->blk.statuses.bus.v % 64, 0);
	CHECK_EQUAL(device->blk.statuses.direction, VIODMA_FROM_DEVICE);
	CHECK_EQUAL(device->blk.headers.direction, VIODMA_TO_DEVICE);
	CHECK(gone());
	{
		const struct test_device_options options = {.run_bytes = 8192};

		device = started(&options, 300, 4); /* a run does not hold a line for each */
		CHECK_EQUAL(device->blk.status_bytes, 1);
	}
	return gone();
}
HOLDS(statuses_and_headers_lie_in_ring_memory_apart_from_data)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(requests_that_find_no_room_wait_in_their_order),
		TEST(a_driver_that_polls_is_not_called_until_it_says_that_it_sleeps),
		TEST(without_any_room_and_nothing_in_flight_a_request_ends),
		TEST(what_done_submits_is_sent_by_the_next_poll),
		TEST(an_error_of_one_part_lets_the_others_end_first),
		TEST(after_a_reset_everything_is_given_back_and_can_go_on),
		WITH_MUTANT(a_deadline_that_passes_is_said_and_ends_nothing),
		TEST(an_index_that_comes_and_goes_puts_off_no_deadline),
		TEST(requests_that_cannot_be_are_not_taken),
		TEST(memory_out_of_reach_ends_its_request_only),
		TEST(a_configuration_that_cannot_be_is_refused),
		TEST(statuses_and_headers_lie_in_ring_memory_apart_from_data),
	};

	return cmocka_run_group_tests_name(TEST_PACKED ? "driver blk wait, packed" : "driver blk wait", tests, NULL, NULL);
}
