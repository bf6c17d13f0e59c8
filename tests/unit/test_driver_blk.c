/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_driver_blk.c - virtio-blk, driver half: data is right over every kind of domain, requests are split by every
 * limit, and end once. (Without room, or luck: test_driver_blk_wait.c.)
 *
 * How it works: the device opposite is the library's own (tests/support/test_device.h), with a disk in memory.
 */
#include "tests/support/check.h"
#include "tests/support/driver_blk_rig.h"

/* ---- data ---- */

/* A little of everything: read, write elsewhere, read back; odd places in memory. */
static bool moves_data(const struct test_device_options *options, uint32_t parts, uint32_t segments_max)
{
	struct test_device *device = started(options, parts, segments_max);
	size_t i;

	forget();
	CHECK_RESULT(submit(ask(0, VIODMA_DRIVER_BLK_READ, 3, 12345, 512)), VIODMA_OK);
	CHECK_RESULT(submit(ask(1, VIODMA_DRIVER_BLK_READ, 100, 0x20001, 150 * 512)), VIODMA_OK);
	CHECK_RESULT(settle(), VIODMA_EMPTY);
	CHECK(ended(&asked[0], VIODMA_OK) && ended(&asked[1], VIODMA_OK));
	CHECK(as_on_disk(12345, 3 * 512, 512) && as_on_disk(0x20001, 100 * 512, 150 * 512));
	CHECK_EQUAL(device->private_memory[12344], 0x5a);
	CHECK_EQUAL(device->private_memory[12345 + 512], 0x5a);
	CHECK_EQUAL(device->private_memory[0x20000], 0x5a);
	CHECK_EQUAL(device->private_memory[0x20001 + 150 * 512], 0x5a);
	for (i = 0; i < 200 * 512; i++)
		device->private_memory[0x80003 + i] = (unsigned char)(i * 31 + (i >> 8));
	CHECK_RESULT(submit(ask(2, VIODMA_DRIVER_BLK_WRITE, 1000, 0x80003, 200 * 512)), VIODMA_OK);
	CHECK_RESULT(settle(), VIODMA_EMPTY);
	CHECK(ended(&asked[2], VIODMA_OK));
	CHECK(as_on_disk(0x80003, 1000 * 512, 200 * 512));
	CHECK_EQUAL(device->disk[1000 * 512 - 1], test_disk_byte(1000 * 512 - 1));
	CHECK_EQUAL(device->disk[1200 * 512], test_disk_byte(1200 * 512));
	CHECK_EQUAL(device->blk.statistics.read_bytes, 151 * 512);
	CHECK_EQUAL(device->blk.statistics.written_bytes, 200 * 512);
	CHECK_EQUAL(device->blk.statistics.requests, 3);
	CHECK_EQUAL(device->blk.statistics.failed, 0);
	return gone();
}

static bool data_is_right_over_every_kind_of_domain(void)
{
	int kind, ring;

	for (kind = 0; kind < TEST_KINDS; kind++)
		for (ring = 0; ring < 4; ring++) {
			const struct test_device_options options = {.kind = (enum test_kind)kind,
								    .event_idx = ring & 1,
								    .tables = ring & 2 ? 8 : 0,
								    .table_descriptors = ring & 2 ? 16 : 0,
								    .pool_bytes = 1u << 20,
								    .deferred = ring == 3};

			CHECK(moves_data(&options, 8, 14));
		}
	return true;
}
HOLDS(data_is_right_over_every_kind_of_domain)

static bool data_is_right_with_bit_33_not_offered(void)
{
	const struct test_device_options options = {.physical = true};

	CHECK(moves_data(&options, 8, 14));
	CHECK(!current->platform_addresses);
	return true;
}
HOLDS(data_is_right_with_bit_33_not_offered)

/* Each limit alone and some together, over each kind: the device's half refuses what exceeds seg_max or size_max. */
static bool requests_are_split_by_every_limit(void)
{
	static const struct {
		struct test_device_options options;
		uint32_t parts, segments_max;
	} cases[] = {
		{{.seg_max = 1}, 4, 8},
		{{.seg_max = 3, .size_max = 4096}, 4, 8},
		{{.size_max = 4096}, 4, 14},
		{{.size_max = 4096, .segment_bytes_max = 3000}, 4, 14},
		{{.size_max = 5000, .segment_bytes_max = 8192, .boundary_bytes = 8192}, 4, 14},
		{{.segment_bytes_max = 600}, 4, 14},
		{{.segment_bytes_max = 512, .boundary_bytes = 1024}, 4, 14},
		{{.boundary_bytes = 4096}, 4, 14},
		{{.mapping_bytes_max = 5000}, 4, 14},
		{{.alignment_bytes = 512}, 4, 14},
		{{.alignment_bytes = 512, .size_max = 5000}, 4, 14},
		{{.size = 4}, 2, 14},
		{{.size = 8, .tables = 4, .table_descriptors = 4}, 8, 14},
		{{.blk_size = 4096, .seg_max = 2}, 4, 14},
		{{0}, 1, 1},
		{{0}, 3, 64},
		{{.pool_bytes = 64 << 10}, 8, 14},
		{{.pool_bytes = 64 << 10, .run_bytes = 4096}, 8, 14},
	};
	size_t i;
	int kind;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (kind = 0; kind < TEST_KINDS; kind++) {
			struct test_device_options options = cases[i].options;

			options.kind = (enum test_kind)kind;
			if (kind >= TEST_IOMMU && options.pool_bytes)
				options.pool_bytes *= 2;
			if (!moves_data(&options, cases[i].parts, cases[i].segments_max)) {
				fprintf(stderr, "# case %zu, kind %d\n", i, kind);
				return false;
			}
		}
	return true;
}
HOLDS(requests_are_split_by_every_limit)

static bool scattered_buffers_end_where_they_should(void)
{
	int kind;

	for (kind = 0; kind < TEST_KINDS; kind++) {
		const struct test_device_options options = {
			.kind = (enum test_kind)kind, .seg_max = 5, .pool_bytes = 512 << 10};
		struct test_device *device = started(&options, 4, 14);
		struct check_random random = {.state = 5 + (uint64_t)kind};
		unsigned round;

		for (round = 0; round < 30; round++) {
			struct asked *one;
			uint32_t left = 512 * (1 + (uint32_t)check_below(&random, 60)), sector, count = 0, i, at = 0;
			uint64_t offset;

			forget();
			memset(device->private_memory, 0x5a, TEST_PRIVATE_BYTES);
			one = ask(0, VIODMA_DRIVER_BLK_READ, 0, 0, 512);
			sector = (uint32_t)check_below(&random, TEST_DISK_SECTORS - left / 512);
			offset = sector * 512u;
			one->request.sector = sector;
			/* Pieces of at least 512 bytes, so that a sector is in three segments at most. */
			while (left) {
				uint32_t here = count + 1 == MANY || left < 1200
							? left
							: 512 + (uint32_t)check_below(&random, left - 1024);

				at += 1 + (uint32_t)check_below(&random, 3000);
				one->buffers[count++] = test_buffer(at, here);
				at += here;
				left -= here;
			}
			one->request.buffer_count = count;
			CHECK_RESULT(submit(one), VIODMA_OK);
			CHECK_RESULT(settle(), VIODMA_EMPTY);
			CHECK(ended(one, VIODMA_OK));
			for (i = 0; i < count; i++) {
				size_t first = one->buffers[i].phys.v - TEST_PRIVATE_PHYS;

				CHECK(as_on_disk(first, offset, one->buffers[i].len_bytes));
				CHECK_EQUAL(device->private_memory[first - 1], 0x5a);
				CHECK_EQUAL(device->private_memory[first + one->buffers[i].len_bytes], 0x5a);
				offset += one->buffers[i].len_bytes;
			}
		}
		CHECK(gone());
	}
	return true;
}
HOLDS(scattered_buffers_end_where_they_should)

/* A sector in more pieces than a request can have segments. */
static bool a_sector_in_too_many_pieces_ends_with_a_limit(void)
{
	const struct test_device_options options = {.seg_max = 4};
	struct asked *one;
	unsigned i;

	started(&options, 4, 14);
	forget();
	one = ask(0, VIODMA_DRIVER_BLK_READ, 0, 0, 512);
	for (i = 0; i < 8; i++)
		one->buffers[i] = test_buffer(i * 4096, 64);
	one->request.buffer_count = 8;
	CHECK_RESULT(submit(one), VIODMA_OK);
	CHECK_RESULT(submit(ask(1, VIODMA_DRIVER_BLK_READ, 9, 0x30000, 1024)), VIODMA_OK);
	CHECK_RESULT(settle(), VIODMA_EMPTY);
	CHECK(ended(one, VIODMA_E_LIMIT));
	CHECK(ended(&asked[1], VIODMA_OK)); /* the next one does not mind */
	return gone();
}
HOLDS(a_sector_in_too_many_pieces_ends_with_a_limit)

static bool parts_end_where_logical_blocks_end(void)
{
	const struct test_device_options options = {.blk_size = 4096, .seg_max = 1, .size_max = 5000};
	struct test_device *device = started(&options, 8, 14);
	unsigned i;

	CHECK_EQUAL(device->blk.blk_size, 4096);
	device->hold = true;
	forget();
	CHECK_RESULT(submit(ask(0, VIODMA_DRIVER_BLK_READ, 3, 0, 16384)), VIODMA_OK);
	CHECK_RESULT(viodma_driver_blk_poll(&device->blk, 0), VIODMA_EMPTY);
	test_device_serve(device);
	CHECK_EQUAL(device->pending_count, 5);
	for (i = 0; i + 1 < device->pending_count; i++)
		CHECK_EQUAL((device->pending[i]->offset_bytes + device->pending[i]->len_bytes) % 4096, 0);
	CHECK_RESULT(settle(), VIODMA_EMPTY);
	CHECK(ended(&asked[0], VIODMA_OK));
	return gone();
}
HOLDS(parts_end_where_logical_blocks_end)

static bool the_disks_name_is_read(void)
{
	int kind;

	for (kind = 0; kind < TEST_KINDS; kind++) {
		const struct test_device_options options = {
			.kind = (enum test_kind)kind, .blk_size = 4096, .mapping_bytes_max = 512};
		struct test_device *device = started(&options, 2, 14);

		forget();
		CHECK_RESULT(submit(ask(0, VIODMA_DRIVER_BLK_GET_ID, 77, 333, 20)), VIODMA_OK);
		CHECK_RESULT(settle(), VIODMA_EMPTY);
		CHECK(ended(&asked[0], VIODMA_OK));
		CHECK(!memcmp(device->private_memory + 333, "viodma-test-device!!", 20));
		CHECK_EQUAL(device->private_memory[353], 0x5a);
		CHECK(gone());
	}
	return true;
}
HOLDS(the_disks_name_is_read)

static bool a_flush_reaches_the_disk_or_has_nothing_to_do(void)
{
	const struct test_device_options without = {.no_flush = true};
	struct test_device *device = started(NULL, 2, 14);

	forget();
	CHECK(device->blk.flush && device->blk.writeback);
	CHECK_RESULT(submit(ask(0, VIODMA_DRIVER_BLK_FLUSH, 0, 0, 0)), VIODMA_OK);
	CHECK_RESULT(settle(), VIODMA_EMPTY);
	CHECK(ended(&asked[0], VIODMA_OK));
	CHECK_EQUAL(device->queues[0].blk.statistics.flush, 1);
	CHECK(gone());
	device = started(&without, 2, 14);
	forget();
	CHECK(!device->blk.flush && !device->blk.writeback);
	CHECK_RESULT(submit(ask(0, VIODMA_DRIVER_BLK_FLUSH, 0, 0, 0)), VIODMA_OK);
	CHECK_RESULT(settle(), VIODMA_EMPTY);
	CHECK(ended(&asked[0], VIODMA_OK));
	CHECK_EQUAL(device->served, 0);
	return gone();
}
HOLDS(a_flush_reaches_the_disk_or_has_nothing_to_do)

/* ---- many at once ---- */

static bool parts_are_in_flight_over_all_queues(void)
{
	const struct test_device_options options = {.queues = 3, .seg_max = 1, .size_max = 4096, .kind = TEST_OFFSET};
	struct test_device *device = started(&options, 12, 14);
	uint16_t queues;
	unsigned i;

	CHECK_RESULT(viodma_driver_blk_queues(&device->driver, &queues), VIODMA_OK);
	CHECK_EQUAL(queues, 3);
	CHECK_EQUAL(device->blk.device_queues, 3);
	device->hold = device->backward = true;
	forget();
	CHECK_RESULT(submit(ask(0, VIODMA_DRIVER_BLK_READ, 0, 0, 64 * 1024)), VIODMA_OK);
	CHECK_RESULT(viodma_driver_blk_poll(&device->blk, 0), VIODMA_EMPTY);
	for (i = 0; i < 3; i++) {
		CHECK_EQUAL(device->queues[i].driver.out, 4);
		CHECK_EQUAL(device->queues[i].notified, 1); /* once for all that was published */
	}
	CHECK_EQUAL(device->blk.parts_out, 12);
	CHECK_RESULT(settle(), VIODMA_EMPTY);
	CHECK(ended(&asked[0], VIODMA_OK));
	CHECK(as_on_disk(0, 0, 64 * 1024));
	CHECK_EQUAL(device->blk.statistics.parts, 16);
	return gone();
}
HOLDS(parts_are_in_flight_over_all_queues)

static bool without_mq_there_is_one_queue(void)
{
	const struct test_device_options options = {.queues = 2};
	struct test_device *device = fresh(&options);
	uint16_t queues;

	CHECK_RESULT(test_device_negotiate(device, viodma_driver_blk_wanted() & ~VIODMA_FEATURE(VIRTIO_BLK_F_MQ_BIT)),
		     VIODMA_OK);
	CHECK_RESULT(viodma_driver_blk_queues(&device->driver, &queues), VIODMA_OK);
	CHECK_EQUAL(queues, 1);
	return true;
}
HOLDS(without_mq_there_is_one_queue)

/* 50 requests, out of order at the device; each ends once, with its own data. */
static bool many_requests_end_once_each(void)
{
	int kind;

	for (kind = 0; kind < TEST_KINDS; kind++) {
		const struct test_device_options options = {.kind = (enum test_kind)kind,
							    .queues = 2,
							    .event_idx = true,
							    .tables = 6,
							    .table_descriptors = 8};
		struct test_device *device = started(&options, 10, 6);
		unsigned i;

		device->hold = device->backward = true;
		forget();
		for (i = 0; i < 50; i++)
			CHECK_RESULT(submit(ask(i, VIODMA_DRIVER_BLK_READ, 20 * i, i * 0x4000, 512 * (1 + i % 20))),
				     VIODMA_OK);
		CHECK_RESULT(settle(), VIODMA_EMPTY);
		for (i = 0; i < 50; i++) {
			CHECK(ended(&asked[i], VIODMA_OK));
			CHECK(as_on_disk(i * 0x4000, 20u * i * 512u, 512 * (1 + i % 20)));
		}
		CHECK(device->blk.statistics.waited > 0);
		CHECK(gone());
	}
	return true;
}
HOLDS(many_requests_end_once_each)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(data_is_right_over_every_kind_of_domain),
		TEST(data_is_right_with_bit_33_not_offered),
		TEST(requests_are_split_by_every_limit),
		TEST(scattered_buffers_end_where_they_should),
		TEST(a_sector_in_too_many_pieces_ends_with_a_limit),
		TEST(parts_end_where_logical_blocks_end),
		TEST(the_disks_name_is_read),
		TEST(a_flush_reaches_the_disk_or_has_nothing_to_do),
		TEST(parts_are_in_flight_over_all_queues),
		TEST(without_mq_there_is_one_queue),
		TEST(many_requests_end_once_each),
	};

	return cmocka_run_group_tests_name(TEST_PACKED ? "driver blk, packed" : "driver blk", tests, NULL, NULL);
}
