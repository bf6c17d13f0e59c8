/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_blk_malformed.c - virtio-blk, device half, with a driver that breaks the rules of the device type (DRV-18), or
 * of its memory: the disk never hears of it, and the driver gets an error where there is a place for one.
 *
 * How it works: `refused` makes a chain of up to four descriptors, runs it, and looks for the error in the last byte of
 * the writable part; the disk and the memory around must be as they were.
 */
#include "tests/support/blk_rig.h"
#include "tests/support/check.h"

#include <viodma/feature.h>

#define W VIRTQ_DESC_F_WRITE
#define N VIRTQ_DESC_F_NEXT

static const struct test_options setups[] = {
	{.size = 32},
	{.size = 32, .platform = true, .scatter = true},
	{.size = 32, .platform = true, .scatter = true, .copy = true},
};
#define SETUPS (sizeof(setups) / sizeof(setups[0]))

static struct blk_rig *current;

static struct blk_rig *fresh(const struct test_options *options, const struct viodma_blk_config *config)
{
	blk_rig_free(current);
	current = blk_rig_new(options, config);
	return current;
}

/* One refused request of `readable` bytes (its header first) and `writable` bytes, after which another is served. */
static bool refused_with(const struct viodma_blk_config *config, uint32_t type, uint64_t sector, uint32_t readable,
			 uint32_t writable)
{
	size_t s;

	for (s = 0; s < SETUPS; s++) {
		struct blk_rig *rig = fresh(&setups[s], config);
		static unsigned char before[RIG_DISK_BYTES];
		struct test_driver *d = rig->driver;
		uint32_t id, len;

		memcpy(before, rig->disk, sizeof(before));
		test_fill(d, RIG_DATA(1), TEST_PAGE, 4);
		blk_rig_header(rig, 0, type, sector);
		test_desc(d, 0, test_bus(d, RIG_HEADER(0)), readable, N, 1);
		test_desc(d, 1, test_bus(d, RIG_DATA(1)), writable, W, 0);
		test_make_available(d, 0);
		blk_rig_request(rig, 6, VIRTIO_BLK_T_FLUSH, 0, 0, false);
		CHECK_RESULT(blk_rig_run(rig), VIODMA_EMPTY);
		CHECK_RESULT(d->queue.broken, VIODMA_OK);
		CHECK(test_take_used(d, &id, &len));
		CHECK_EQUAL(id, 0);
		CHECK_EQUAL(d->memory[RIG_DATA(1) + writable - 1], VIRTIO_BLK_S_IOERR);
		CHECK(test_filled(d, RIG_DATA(1), writable - 1, 4));
		CHECK(test_filled(d, RIG_DATA(1) + writable, TEST_PAGE - writable, 4)); /* = DEV-16 */
		CHECK_EQUAL(rig->submitted, 1);	/* the flush */
		CHECK_EQUAL(rig->last.operation, VIODMA_BLK_FLUSH);
		CHECK_EQUAL(rig->refused, 1);
		CHECK_EQUAL(rig->refused_head, 0);
		CHECK_EQUAL(rig->blk.statistics.failed, 1);
		CHECK(test_take_used(d, &id, &len) && id == 6);
		CHECK_EQUAL(blk_rig_status(rig, 6), VIRTIO_BLK_S_OK);
		CHECK(memcmp(rig->disk, before, sizeof(before)) == 0);
	}
	return true;
}

static bool refused(uint32_t type, uint64_t sector, uint32_t readable, uint32_t writable)
{
	return refused_with(NULL, type, sector, readable, writable);
}

static bool a_header_shorter_than_16_bytes_is_refused(void)
{
	return refused(VIRTIO_BLK_T_IN, 0, 15, 513) && refused(VIRTIO_BLK_T_FLUSH, 0, 1, 1) &&
	       refused(VIRTIO_BLK_T_GET_ID, 0, 8, 21);
}
HOLDS(a_header_shorter_than_16_bytes_is_refused)

static bool a_length_that_is_no_whole_number_of_sectors_is_refused(void)
{
	return refused(VIRTIO_BLK_T_IN, 0, 16, 512) && refused(VIRTIO_BLK_T_IN, 0, 16, 514) &&
	       refused(VIRTIO_BLK_T_OUT, 0, 16 + 511, 1) && refused(VIRTIO_BLK_T_OUT, 0, 16 + 513, 1);
}
HOLDS(a_length_that_is_no_whole_number_of_sectors_is_refused)

static bool data_in_the_wrong_direction_is_refused(void)
{
	return refused(VIRTIO_BLK_T_IN, 0, 16 + 512, 1) && refused(VIRTIO_BLK_T_IN, 0, 16 + 512, 513) &&
	       refused(VIRTIO_BLK_T_OUT, 0, 16, 513) && refused(VIRTIO_BLK_T_OUT, 0, 16 + 512, 513);
}
HOLDS(data_in_the_wrong_direction_is_refused)

static bool sectors_beyond_the_end_are_refused(void)
{
	return refused(VIRTIO_BLK_T_IN, RIG_SECTORS, 16, 513) && refused(VIRTIO_BLK_T_IN, RIG_SECTORS - 1, 16, 1025) &&
	       refused(VIRTIO_BLK_T_OUT, RIG_SECTORS, 16 + 512, 1) &&
	       refused(VIRTIO_BLK_T_OUT, RIG_SECTORS - 1, 16 + 1024, 1) &&
	       refused(VIRTIO_BLK_T_IN, UINT64_MAX, 16, 513) &&
	       refused(VIRTIO_BLK_T_OUT, UINT64_MAX, 16 + 512, 1) &&
	       refused(VIRTIO_BLK_T_IN, UINT64_MAX / 512 + 1, 16, 513) && /* whose bytes wrap to 0 */
	       refused(VIRTIO_BLK_T_OUT, UINT64_MAX / 512 + 1, 16 + 512, 1) &&
	       refused(VIRTIO_BLK_T_IN, RIG_SECTORS + 1, 16, 1); /* even with nothing to read */
}
HOLDS(sectors_beyond_the_end_are_refused)

static bool a_write_to_a_read_only_disk_is_refused(void)
{
	struct viodma_blk_config config;

	blk_rig_default_config(&config);
	config.read_only = true;
	return refused_with(&config, VIRTIO_BLK_T_OUT, 0, 16 + 512, 1);
}
HOLDS(a_write_to_a_read_only_disk_is_refused)

static bool the_last_sector_is_served(void)
{
	struct blk_rig *rig = fresh(&setups[1], NULL);

	blk_rig_request(rig, 0, VIRTIO_BLK_T_IN, RIG_SECTORS - 1, 512, true);
	blk_rig_request(rig, 3, VIRTIO_BLK_T_IN, 0, 4096, true);
	CHECK_RESULT(blk_rig_run(rig), VIODMA_EMPTY);
	CHECK_EQUAL(blk_rig_status(rig, 0), VIRTIO_BLK_S_OK);
	CHECK_EQUAL(blk_rig_status(rig, 3), VIRTIO_BLK_S_OK);
	return true;
}
HOLDS(the_last_sector_is_served)

static bool a_request_without_a_status_byte(uint32_t type)
{
	size_t s;

	for (s = 0; s < SETUPS; s++) {
		struct blk_rig *rig = fresh(&setups[s], NULL);
		struct test_driver *d = rig->driver;

		blk_rig_header(rig, 0, type, 0);
		test_desc(d, 0, test_bus(d, RIG_HEADER(0)), 16, 0, 0);
		test_make_available(d, 0);
		CHECK_RESULT(blk_rig_run(rig), VIODMA_PEER_REQUEST);
		CHECK_RESULT(d->queue.broken, VIODMA_PEER_REQUEST);
		CHECK_EQUAL(rig->submitted, 0);
		CHECK_EQUAL(rig->refused, 1);
		CHECK_EQUAL(test_used_idx(d), 0);
		CHECK_EQUAL(d->queue.submitted, 0);
	}
	return true;
}

static bool a_request_without_a_status_byte_breaks_the_queue(void)
{
	return a_request_without_a_status_byte(VIRTIO_BLK_T_OUT) && a_request_without_a_status_byte(VIRTIO_BLK_T_IN) &&
	       a_request_without_a_status_byte(VIRTIO_BLK_T_GET_ID) && a_request_without_a_status_byte(77) &&
	       a_request_without_a_status_byte(VIRTIO_BLK_T_FLUSH);
}
BEHAVIOUR(a_request_without_a_status_byte_breaks_the_queue, "DRV-18")

static bool a_request_that_is_only_writable_is_refused(void)
{
	struct blk_rig *rig = fresh(&setups[1], NULL);
	struct test_driver *d = rig->driver;

	test_desc(d, 0, test_bus(d, RIG_DATA(0)), 529, W, 0);
	test_make_available(d, 0);
	CHECK_RESULT(blk_rig_run(rig), VIODMA_EMPTY);
	CHECK_EQUAL(d->memory[RIG_DATA(0) + 528], VIRTIO_BLK_S_IOERR);
	CHECK_EQUAL(rig->refused_reason, VIODMA_PEER_REQUEST);
	CHECK_EQUAL(rig->submitted, 0);
	return true;
}
HOLDS(a_request_that_is_only_writable_is_refused)

static bool data_the_platform_refuses_fails_its_request_alone(void)
{
	struct blk_rig *rig = fresh(&setups[1], NULL);
	struct test_driver *d = rig->driver;
	static unsigned char before[RIG_DISK_BYTES];

	memcpy(before, rig->disk, sizeof(before));
	test_grant_rings(d);
	test_grant(d, RIG_HEADER(0), 512, VIODMA_READ_WRITE);
	blk_rig_request(rig, 0, VIRTIO_BLK_T_OUT, 0, 512, false);
	CHECK_RESULT(viodma_blk_process(&rig->blk, &d->queue), VIODMA_EMPTY);
	CHECK_EQUAL(test_answer(d, false), 1);
	CHECK_RESULT(viodma_blk_process(&rig->blk, &d->queue), VIODMA_EMPTY);
	viodma_iotlb_settle(&d->iotlb);
	CHECK_EQUAL(blk_rig_status(rig, 0), VIRTIO_BLK_S_IOERR);
	CHECK_EQUAL(rig->refused_reason, VIODMA_FAULT_UNMAPPED);
	CHECK_EQUAL(rig->submitted, 0);
	CHECK(d->fault_count >= 1 && d->faults[0].bus.v == test_bus(d, RIG_DATA(0)).v);
	CHECK(memcmp(rig->disk, before, sizeof(before)) == 0);
	blk_rig_request(rig, 3, VIRTIO_BLK_T_IN, 0, 512, true);
	CHECK_RESULT(blk_rig_run(rig), VIODMA_EMPTY);
	CHECK_EQUAL(blk_rig_status(rig, 3), VIRTIO_BLK_S_OK);
	return true;
}
HOLDS(data_the_platform_refuses_fails_its_request_alone)

static bool a_read_into_memory_granted_to_be_read_is_refused(void)
{
	struct blk_rig *rig = fresh(&setups[1], NULL);
	struct test_driver *d = rig->driver;

	test_grant_rings(d);
	test_grant(d, RIG_HEADER(0), 512, VIODMA_READ_WRITE);
	test_grant(d, RIG_DATA(0), TEST_PAGE, VIODMA_READ);
	test_fill(d, RIG_DATA(0), TEST_PAGE, 6);
	blk_rig_request(rig, 0, VIRTIO_BLK_T_IN, 0, 512, true);
	CHECK_RESULT(viodma_blk_process(&rig->blk, &d->queue), VIODMA_EMPTY);
	test_answer(d, false);
	CHECK_RESULT(viodma_blk_process(&rig->blk, &d->queue), VIODMA_EMPTY);
	CHECK(test_filled(d, RIG_DATA(0), TEST_PAGE, 6));
	CHECK_EQUAL(blk_rig_status(rig, 0), VIRTIO_BLK_S_IOERR);
	CHECK_EQUAL(rig->refused_reason, VIODMA_FAULT_PERMISSION);
	return true;
}
BEHAVIOUR(a_read_into_memory_granted_to_be_read_is_refused, "DEV-9")

static bool in_copy_mode_a_read_whose_buffer_is_withdrawn_is_answered_as_an_error(void)
{
	struct blk_rig *rig = fresh(&setups[2], NULL);
	struct test_driver *d = rig->driver;

	rig->defer = true;
	test_fill(d, RIG_DATA(0), TEST_PAGE, 6);
	blk_rig_request(rig, 0, VIRTIO_BLK_T_IN, 0, 512, true);
	CHECK_RESULT(blk_rig_run(rig), VIODMA_EMPTY);
	test_revoke(d, RIG_DATA(0), TEST_PAGE);
	blk_rig_finish(rig, 0, true);
	CHECK_EQUAL(test_used_idx(d), 0); /* perhaps the platform grants it again */
	test_answer(d, false);
	CHECK_RESULT(viodma_blk_process(&rig->blk, &d->queue), VIODMA_EMPTY);
	CHECK_EQUAL(test_used_idx(d), 1);
	CHECK_EQUAL(blk_rig_status(rig, 0), VIRTIO_BLK_S_IOERR);
	CHECK(test_filled(d, RIG_DATA(0), TEST_PAGE, 6));
	CHECK_RESULT(d->queue.broken, VIODMA_OK);
	return true;
}
HOLDS(in_copy_mode_a_read_whose_buffer_is_withdrawn_is_answered_as_an_error)

static bool held_requests_are_failed_when_their_queue_stops(void)
{
	struct blk_rig *rig = fresh(&setups[1], NULL);
	struct test_driver *d = rig->driver;
	uint32_t base;

	test_grant_rings(d);
	test_grant(d, RIG_HEADER(0), 512, VIODMA_READ_WRITE);
	test_grant(d, RIG_HEADER(3), 512, VIODMA_READ_WRITE);
	blk_rig_request(rig, 0, VIRTIO_BLK_T_IN, 0, 512, true); /* its data is not there */
	blk_rig_request(rig, 3, VIRTIO_BLK_T_FLUSH, 0, 0, false);
	CHECK_RESULT(viodma_blk_process(&rig->blk, &d->queue), VIODMA_EMPTY);
	CHECK_EQUAL(test_used_idx(d), 1);
	viodma_blk_fail_held(&rig->blk, &d->queue); /* = DEV-18 */
	CHECK_EQUAL(test_used_idx(d), 2);
	CHECK_EQUAL(blk_rig_status(rig, 0), VIRTIO_BLK_S_IOERR);
	CHECK_RESULT(viodma_queue_stop(&d->queue, &base), VIODMA_OK);
	CHECK_EQUAL(base, d->setup.packed ? test_base_at(d, 5, 5) : 2); /* of 3 and 2 descriptors */
	return true;
}
HOLDS(held_requests_are_failed_when_their_queue_stops)

static int no_rig(void **state)
{
	(void)state;
	blk_rig_free(current);
	current = NULL;
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_header_shorter_than_16_bytes_is_refused),
		TEST(a_length_that_is_no_whole_number_of_sectors_is_refused),
		TEST(data_in_the_wrong_direction_is_refused),
		TEST(sectors_beyond_the_end_are_refused),
		TEST(a_write_to_a_read_only_disk_is_refused),
		TEST(the_last_sector_is_served),
		WITH_MUTANT(a_request_without_a_status_byte_breaks_the_queue),
		TEST(a_request_that_is_only_writable_is_refused),
		TEST(data_the_platform_refuses_fails_its_request_alone),
		WITH_MUTANT(a_read_into_memory_granted_to_be_read_is_refused),
		TEST(in_copy_mode_a_read_whose_buffer_is_withdrawn_is_answered_as_an_error),
		TEST(held_requests_are_failed_when_their_queue_stops),
	};

	return cmocka_run_group_tests_name("blk malformed", tests, NULL, no_rig);
}
