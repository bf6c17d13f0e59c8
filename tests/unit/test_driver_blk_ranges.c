/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_driver_blk_ranges.c - the block driver: discard, write-zeroes, secure erase, lifetime, the cache mode, and what a
 * device states about them, soundly or not.
 *
 * How it works: the device is the library's own device half (tests/support/test_device.h); lies are bytes of its
 * configuration, or a chain answered by hand.
 */
#include "tests/support/driver_blk_rig.h"

static const struct test_device_options sound = {
	.size = 64,
	.lifetime = true,
	.physical_block_exp = 3,
	.discard = {100, 3, 8},
	.write_zeroes = {64, 2, 0},
	.secure_erase = {33, 1, 0},
};

static struct test_device_options of_kind(enum test_kind kind)
{
	struct test_device_options options = sound;

	options.kind = kind;
	return options;
}

static struct asked *ask_range(unsigned i, enum viodma_driver_blk_operation operation, uint64_t sector, uint64_t sectors)
{
	struct asked *one = ask(i, operation, sector, 0, 0);

	one->request.sectors = sectors;
	one->request.unmap = false;
	return one;
}

static bool disk_holds(uint64_t sector, uint64_t sectors, int byte)
{
	uint64_t i;

	for (i = sector * 512; i < (sector + sectors) * 512; i++)
		CHECK_EQUAL(current->disk[i], byte);
	return true;
}

static const struct {
	enum viodma_driver_blk_operation operation;
	int byte;
	uint32_t max_sectors, max_ranges;
} kinds[] = {
	{VIODMA_DRIVER_BLK_DISCARD, TEST_DISCARDED, 100, 3},
	{VIODMA_DRIVER_BLK_WRITE_ZEROES, 0, 64, 2},
	{VIODMA_DRIVER_BLK_SECURE_ERASE, TEST_ERASED, 33, 1},
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static bool ranges_of_any_length_reach_the_disk_as_it_takes_them(void)
{
	static const uint64_t lengths[] = {1, 33, 34, 64, 65, 100, 129, 300, 301, 1000, TEST_DISK_SECTORS - 7};
	size_t i, k;
	int kind;

	for (kind = 0; kind < TEST_KINDS; kind++) {
		const struct test_device_options options = of_kind((enum test_kind)kind);

		for (k = 0; k < KINDS; k++)
			for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
				struct test_device *device = started(&options, 8, 14);
				unsigned char before = device->disk[6 * 512 + 511];

				forget();
				CHECK_RESULT(submit(ask_range(0, kinds[k].operation, 7, lengths[i])), VIODMA_OK);
				CHECK_RESULT(settle(), VIODMA_EMPTY);
				CHECK(ended(&asked[0], VIODMA_OK));
				CHECK(disk_holds(7, lengths[i], kinds[k].byte));
				CHECK_EQUAL(device->disk[6 * 512 + 511], before);
				if (7 + lengths[i] < TEST_DISK_SECTORS)
					CHECK(device->disk[(7 + lengths[i]) * 512] != kinds[k].byte ||
					      device->disk[(7 + lengths[i]) * 512 + 1] != kinds[k].byte);
				CHECK(device->longest_range <= kinds[k].max_sectors);
				CHECK(device->ranges >= (lengths[i] + kinds[k].max_sectors - 1) / kinds[k].max_sectors);
				CHECK_EQUAL(device->unmapped, 0);
				CHECK(gone());
			}
	}
	return true;
}
HOLDS(ranges_of_any_length_reach_the_disk_as_it_takes_them)

static bool where_segments_are_pages_apart_a_list_lies_with_its_header(void)
{
	struct test_device_options options = of_kind(TEST_BOUNCE);
	size_t k;

	options.alignment_bytes = 4096;
	options.slot_bytes = 4096;
	for (k = 0; k < KINDS; k++) {
		struct test_device *device = started(&options, 8, 14);

		forget();
		CHECK_EQUAL(device->blk.header_bytes, 4096);
		CHECK_RESULT(submit(ask_range(0, kinds[k].operation, 9, 500)), VIODMA_OK);
		CHECK_RESULT(settle(), VIODMA_EMPTY);
		CHECK(ended(&asked[0], VIODMA_OK));
		CHECK(disk_holds(9, 500, kinds[k].byte));
		CHECK(gone());
	}
	return true;
}
HOLDS(where_segments_are_pages_apart_a_list_lies_with_its_header)

static bool several_ranges_go_in_one_request_and_several_requests_at_once(void)
{
	struct test_device *device = started(&sound, 8, 14);

	forget();
	device->hold = true;
	CHECK_RESULT(submit(ask_range(0, VIODMA_DRIVER_BLK_WRITE_ZEROES, 0, 64 * 7)), VIODMA_OK);
	CHECK_RESULT(viodma_driver_blk_poll(&device->blk, 0), VIODMA_EMPTY);
	CHECK_EQUAL(test_device_serve(device), 4); /* two of 64 sectors in each */
	CHECK_EQUAL(device->pending_count, 7);
	CHECK_EQUAL(asked[0].ended, 0);
	CHECK_RESULT(settle(), VIODMA_EMPTY);
	CHECK(ended(&asked[0], VIODMA_OK));
	CHECK(disk_holds(0, 64 * 7, 0));
	return gone();
}
HOLDS(several_ranges_go_in_one_request_and_several_requests_at_once)

static bool ranges_are_cut_where_the_device_likes_them_cut(void)
{
	struct test_device *device = started(&sound, 8, 14);
	unsigned i;

	forget();
	device->hold = true;
	CHECK_RESULT(submit(ask_range(0, VIODMA_DRIVER_BLK_DISCARD, 3, 500)), VIODMA_OK);
	CHECK_RESULT(viodma_driver_blk_poll(&device->blk, 0), VIODMA_EMPTY);
	test_device_serve(device);
	CHECK(device->pending_count >= 5);
	for (i = 0; i < device->pending_count; i++) {
		uint64_t end = (device->pending[i]->offset_bytes + device->pending[i]->len_bytes) / 512;

		CHECK(end == 503 || end % 8 == 0);
	}
	CHECK_RESULT(settle(), VIODMA_EMPTY);
	CHECK(disk_holds(3, 500, TEST_DISCARDED));
	CHECK(gone());
	/* A hint that no range can follow. */
	device = fresh(&sound);
	device->config[44] = 0x88;
	device->config[45] = 0x13; /* 5000 sectors */
	CHECK_RESULT(test_device_start(device, 8, 14), VIODMA_OK);
	forget();
	CHECK_RESULT(submit(ask_range(0, VIODMA_DRIVER_BLK_DISCARD, 3, 500)), VIODMA_OK);
	CHECK_RESULT(settle(), VIODMA_EMPTY);
	CHECK(ended(&asked[0], VIODMA_OK));
	CHECK_EQUAL(device->ranges, 5);
	CHECK(disk_holds(3, 500, TEST_DISCARDED));
	return gone();
}
HOLDS(ranges_are_cut_where_the_device_likes_them_cut)

static bool unmap_is_said_of_zeroes_alone(void)
{
	struct test_device *device = started(&sound, 8, 14);
	size_t k;

	forget();
	CHECK(device->blk.may_unmap);
	for (k = 0; k < KINDS; k++) {
		ask_range((unsigned)k, kinds[k].operation, 0, 20)->request.unmap = true;
		CHECK_RESULT(submit(&asked[k]), VIODMA_OK);
		CHECK_RESULT(settle(), VIODMA_EMPTY);
		CHECK(ended(&asked[k], VIODMA_OK));
	}
	CHECK_EQUAL(device->ranges, 3);
	CHECK_EQUAL(device->unmapped, 1);
	return gone();
}
HOLDS(unmap_is_said_of_zeroes_alone)

static bool what_the_device_states_is_there_to_read(void)
{
	struct test_device *device = started(&sound, 8, 14);

	CHECK_EQUAL(device->blk.discard.max_sectors, 100);
	CHECK_EQUAL(device->blk.discard.max_ranges, 3);
	CHECK_EQUAL(device->blk.discard.alignment_sectors, 8);
	CHECK_EQUAL(device->blk.write_zeroes.max_sectors, 64);
	CHECK_EQUAL(device->blk.secure_erase.max_ranges, 1);
	CHECK_EQUAL(device->blk.topology.physical_block_exp, 3);
	CHECK(device->blk.lifetime && device->blk.may_switch && device->blk.writeback);
	CHECK(gone());
	device = started(NULL, 8, 14);
	CHECK_EQUAL(device->blk.discard.max_sectors + device->blk.write_zeroes.max_sectors, 0);
	CHECK(!device->blk.lifetime && !device->blk.may_unmap);
	return gone();
}
HOLDS(what_the_device_states_is_there_to_read)

static bool what_cannot_be_is_not_taken(void)
{
	struct test_device_options read_only = sound;
	struct test_device *device = started(&sound, 8, 14);
	size_t k;

	forget();
	for (k = 0; k < KINDS; k++) {
		CHECK_RESULT(submit(ask_range(0, kinds[k].operation, 0, 0)), VIODMA_E_INVALID);
		CHECK_RESULT(submit(ask_range(0, kinds[k].operation, 0, TEST_DISK_SECTORS + 1)), VIODMA_E_INVALID);
		CHECK_RESULT(submit(ask_range(0, kinds[k].operation, TEST_DISK_SECTORS, 1)), VIODMA_E_INVALID);
		CHECK_RESULT(submit(ask_range(0, kinds[k].operation, 2, UINT64_MAX)), VIODMA_E_INVALID);
		ask(0, kinds[k].operation, 0, 0, 512)->request.sectors = 1;
		CHECK_RESULT(submit(&asked[0]), VIODMA_E_INVALID);
	}
	CHECK_RESULT(submit(ask(0, VIODMA_DRIVER_BLK_GET_LIFETIME, 0, 0, 7)), VIODMA_E_INVALID);
	CHECK(gone());
	device = started(NULL, 8, 14); /* has nothing of it */
	for (k = 0; k < KINDS; k++)
		CHECK_RESULT(submit(ask_range(0, kinds[k].operation, 0, 1)), VIODMA_E_UNSUPPORTED);
	CHECK_RESULT(submit(ask(0, VIODMA_DRIVER_BLK_GET_LIFETIME, 0, 0, 6)), VIODMA_E_UNSUPPORTED);
	CHECK(gone());
	read_only.read_only = true;
	device = fresh(&read_only);
	device->offered |= VIODMA_FEATURE(VIRTIO_BLK_F_DISCARD_BIT); /* offered by mistake */
	memset(device->config + 36, 1, 8);
	CHECK_RESULT(test_device_start(device, 8, 14), VIODMA_OK);
	CHECK_RESULT(submit(ask_range(0, VIODMA_DRIVER_BLK_DISCARD, 0, 1)), VIODMA_E_UNSUPPORTED);
	return gone();
}
HOLDS(what_cannot_be_is_not_taken)

static bool an_error_of_one_list_is_the_requests(void)
{
	struct test_device *device = started(&sound, 8, 14);

	forget();
	device->broken_disk = true;
	CHECK_RESULT(submit(ask_range(0, VIODMA_DRIVER_BLK_DISCARD, 0, 1000)), VIODMA_OK);
	CHECK_RESULT(settle(), VIODMA_EMPTY);
	CHECK(ended(&asked[0], VIODMA_E_IO));
	device->broken_disk = false;
	CHECK_RESULT(submit(ask_range(1, VIODMA_DRIVER_BLK_DISCARD, 0, 1000)), VIODMA_OK);
	CHECK_RESULT(settle(), VIODMA_EMPTY);
	CHECK(ended(&asked[1], VIODMA_OK));
	return gone();
}
HOLDS(an_error_of_one_list_is_the_requests)

static bool with_one_part_in_flight_everything_still_gets_there(void)
{
	struct test_device *device = started(&sound, 1, 14);

	forget();
	CHECK_RESULT(submit(ask_range(0, VIODMA_DRIVER_BLK_SECURE_ERASE, 1, 500)), VIODMA_OK);
	CHECK_RESULT(submit(ask_range(1, VIODMA_DRIVER_BLK_WRITE_ZEROES, 600, 700)), VIODMA_OK);
	CHECK_RESULT(settle(), VIODMA_EMPTY);
	CHECK(ended(&asked[0], VIODMA_OK));
	CHECK(ended(&asked[1], VIODMA_OK));
	CHECK(asked[0].order < asked[1].order);
	CHECK(disk_holds(1, 500, TEST_ERASED) && disk_holds(600, 700, 0));
	CHECK(device->blk.statistics.waited > 0);
	return gone();
}
HOLDS(with_one_part_in_flight_everything_still_gets_there)

static bool a_reset_ends_what_was_sent_in_part(void)
{
	struct test_device *device = started(&sound, 2, 14);

	forget();
	device->hold = true;
	CHECK_RESULT(submit(ask_range(0, VIODMA_DRIVER_BLK_DISCARD, 0, 2000)), VIODMA_OK);
	CHECK_RESULT(viodma_driver_blk_poll(&device->blk, 0), VIODMA_EMPTY);
	CHECK(gone());
	return ended(&asked[0], VIODMA_E_RESET);
}
HOLDS(a_reset_ends_what_was_sent_in_part)

/* ---- lifetime ---- */

static bool the_lifetime_is_read_over_every_kind_of_domain(void)
{
	static const unsigned char wanted[6] = {1, 0, 2, 0, 3, 0};
	int kind;

	for (kind = 0; kind < TEST_KINDS; kind++) {
		const struct test_device_options options = of_kind((enum test_kind)kind);
		struct test_device *device = started(&options, 4, 14);

		forget();
		CHECK_RESULT(submit(ask(0, VIODMA_DRIVER_BLK_GET_LIFETIME, 0, 4096, 6)), VIODMA_OK);
		CHECK_RESULT(settle(), VIODMA_EMPTY);
		CHECK(ended(&asked[0], VIODMA_OK));
		CHECK(memcmp(device->private_memory + 4096, wanted, 6) == 0);
		CHECK_EQUAL(device->private_memory[4096 + 6], 0x5a);
		CHECK(gone());
	}
	return true;
}
HOLDS(the_lifetime_is_read_over_every_kind_of_domain)

static bool a_lifetime_that_says_ok_and_is_short_is_no_answer(void)
{
	struct test_device *device = started(&sound, 4, 14);
	struct test_chain chain;

	forget();
	device->queues[0].served = false;
	CHECK_RESULT(submit(ask(0, VIODMA_DRIVER_BLK_GET_LIFETIME, 0, 4096, 6)), VIODMA_OK);
	CHECK_RESULT(viodma_driver_blk_poll(&device->blk, 0), VIODMA_EMPTY);
	CHECK(test_device_take(&device->queues[0], &chain));
	*test_device_at(device, chain.part[chain.count - 1].bus, 1, VIODMA_WRITE) = VIRTIO_BLK_S_OK;
	test_device_put_used(&device->queues[0], chain.head, 4);
	CHECK_RESULT(viodma_driver_blk_poll(&device->blk, 0), VIODMA_OK);
	CHECK(ended(&asked[0], VIODMA_PEER_ANSWER));
	return true;
}
BEHAVIOUR(a_lifetime_that_says_ok_and_is_short_is_no_answer, "DEV-22")

/* ---- the cache mode ---- */

static bool the_cache_mode_is_switched_and_read_back(void)
{
	struct test_device *device = started(&sound, 4, 14);

	forget();
	CHECK(device->blk.writeback);
	CHECK_RESULT(viodma_driver_blk_set_writeback(&device->blk, false), VIODMA_OK);
	CHECK(!device->blk.writeback);
	CHECK_EQUAL(device->config[VIRTIO_BLK_CONFIG_WRITEBACK], 0);
	device->hold = true;
	CHECK_RESULT(submit(ask(0, VIODMA_DRIVER_BLK_WRITE, 0, 0, 512)), VIODMA_OK);
	CHECK_RESULT(viodma_driver_blk_poll(&device->blk, 0), VIODMA_EMPTY);
	test_device_serve(device);
	CHECK(device->pending[0]->durable);
	CHECK_RESULT(settle(), VIODMA_EMPTY);
	CHECK_RESULT(viodma_driver_blk_set_writeback(&device->blk, true), VIODMA_OK);
	CHECK(device->blk.writeback);
	return gone();
}
HOLDS(the_cache_mode_is_switched_and_read_back)

static bool without_a_switch_there_is_none(void)
{
	const struct test_device_options without = {.no_flush = true};
	struct test_device *device = started(&without, 4, 14);

	CHECK(!device->blk.may_switch);
	CHECK_RESULT(viodma_driver_blk_set_writeback(&device->blk, true), VIODMA_E_UNSUPPORTED);
	return gone();
}
HOLDS(without_a_switch_there_is_none)

static bool a_mode_that_was_not_switched_is_no_answer(void)
{
	struct test_device *device = started(&sound, 4, 14);

	device->mode_stuck = true;
	CHECK_RESULT(viodma_driver_blk_set_writeback(&device->blk, false), VIODMA_PEER_ANSWER);
	CHECK(device->blk.writeback);
	return gone();
}
BEHAVIOUR(a_mode_that_was_not_switched_is_no_answer, "DEV-22")

/* ---- configuration ---- */

static enum viodma_result with_config(size_t offset, size_t count, unsigned char value)
{
	struct test_device *device = fresh(&sound);

	memset(device->config + offset, value, count);
	return test_device_start(device, 4, 14);
}

static bool limits_of_no_range_are_no_answer(void)
{
	static const size_t at[] = {36, 40, 48, 52, 60, 64};
	size_t i;

	for (i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		CHECK_RESULT(with_config(at[i], 4, 0), VIODMA_PEER_ANSWER);
		CHECK_RESULT(test_device_end(current), VIODMA_OK);
	}
	CHECK_RESULT(with_config(44, 4, 0), VIODMA_OK); /* an alignment of nothing is none */
	return true;
}
BEHAVIOUR(limits_of_no_range_are_no_answer, "DEV-22")

static bool a_mode_that_is_none_is_no_answer(void)
{
	CHECK_RESULT(with_config(32, 1, 2), VIODMA_PEER_ANSWER);
	CHECK_RESULT(with_config(32, 1, 0), VIODMA_OK);
	CHECK(!current->blk.writeback);
	return true;
}
BEHAVIOUR(a_mode_that_is_none_is_no_answer, "DEV-22")

static bool a_physical_block_beyond_all_shifts_is_no_answer(void)
{
	CHECK_RESULT(with_config(24, 1, 32), VIODMA_PEER_ANSWER);
	CHECK_RESULT(with_config(24, 1, 31), VIODMA_OK);
	return true;
}
BEHAVIOUR(a_physical_block_beyond_all_shifts_is_no_answer, "DEV-22")

static bool another_capacity_is_read_when_it_is_looked_for(void)
{
	struct test_device *device = started(&sound, 4, 14);

	device->config[0] = 10;
	memset(device->config + 1, 0, 7);
	CHECK_RESULT(viodma_driver_blk_look_again(&device->blk), VIODMA_OK);
	CHECK_EQUAL(device->blk.capacity_sectors, 10);
	memset(device->config, 0xff, 8);
	CHECK_RESULT(viodma_driver_blk_look_again(&device->blk), VIODMA_PEER_ANSWER);
	CHECK_EQUAL(device->blk.capacity_sectors, 10);
	return gone();
}
BEHAVIOUR(another_capacity_is_read_when_it_is_looked_for, "DEV-22")

static int no_device(void **state)
{
	(void)state;
	test_device_free(current);
	current = NULL;
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(ranges_of_any_length_reach_the_disk_as_it_takes_them),
		TEST(where_segments_are_pages_apart_a_list_lies_with_its_header),
		TEST(several_ranges_go_in_one_request_and_several_requests_at_once),
		TEST(ranges_are_cut_where_the_device_likes_them_cut),
		TEST(unmap_is_said_of_zeroes_alone),
		TEST(what_the_device_states_is_there_to_read),
		TEST(what_cannot_be_is_not_taken),
		TEST(an_error_of_one_list_is_the_requests),
		TEST(with_one_part_in_flight_everything_still_gets_there),
		TEST(a_reset_ends_what_was_sent_in_part),
		TEST(the_lifetime_is_read_over_every_kind_of_domain),
		WITH_MUTANT(a_lifetime_that_says_ok_and_is_short_is_no_answer),
		TEST(the_cache_mode_is_switched_and_read_back),
		TEST(without_a_switch_there_is_none),
		WITH_MUTANT(a_mode_that_was_not_switched_is_no_answer),
		WITH_MUTANT(limits_of_no_range_are_no_answer),
		WITH_MUTANT(a_mode_that_is_none_is_no_answer),
		WITH_MUTANT(a_physical_block_beyond_all_shifts_is_no_answer),
		WITH_MUTANT(another_capacity_is_read_when_it_is_looked_for),
	};

	return cmocka_run_group_tests_name("driver_blk_ranges", tests, NULL, no_device);
}
