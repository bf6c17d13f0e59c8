/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_blk.c - virtio-blk, device half, with a driver that keeps to the rules. (One that does not:
 * test_blk_malformed.c.)
 *
 * How it works: see tests/support/blk_rig.h. Most behaviours run over physical addresses, and over an IOTLB that is
 * asked, with memory used in place and copied.
 */
#include "tests/support/blk_rig.h"
#include "tests/support/check.h"

#include <viodma/feature.h>

#define W VIRTQ_DESC_F_WRITE
#define N VIRTQ_DESC_F_NEXT
#define I VIRTQ_DESC_F_INDIRECT

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

static bool used_is(struct blk_rig *rig, uint32_t wanted_id)
{
	uint32_t id, len;

	CHECK(test_take_used(rig->driver, &id, &len));
	CHECK_EQUAL(id, wanted_id);
	CHECK(len >= 1); /* the status, at least */
	return true;
}

static bool a_read_brings_the_disks_bytes(void)
{
	size_t s;

	for (s = 0; s < SETUPS; s++) {
		struct blk_rig *rig = fresh(&setups[s], NULL);

		blk_rig_request(rig, 3, VIRTIO_BLK_T_IN, 5, 1024, true);
		CHECK_RESULT(blk_rig_run(rig), VIODMA_EMPTY);
		CHECK(used_is(rig, 3));
		CHECK_EQUAL(blk_rig_status(rig, 3), VIRTIO_BLK_S_OK);
		CHECK(memcmp(rig->driver->memory + RIG_DATA(3), rig->disk + 5 * 512, 1024) == 0);
		CHECK_EQUAL(rig->last.operation, VIODMA_BLK_READ);
		CHECK_EQUAL(rig->blk.statistics.in, 1);
		CHECK_EQUAL(rig->blk.statistics.in_bytes, 1024);
	}
	return true;
}
HOLDS(a_read_brings_the_disks_bytes)

static bool a_write_takes_the_drivers_bytes(void)
{
	size_t s;

	for (s = 0; s < SETUPS; s++) {
		struct blk_rig *rig = fresh(&setups[s], NULL);
		static unsigned char before[RIG_DISK_BYTES];

		memcpy(before, rig->disk, sizeof(before));
		test_fill(rig->driver, RIG_DATA(0), 4096, 8);
		blk_rig_request(rig, 0, VIRTIO_BLK_T_OUT, RIG_SECTORS - 8, 4096, false);
		CHECK_RESULT(blk_rig_run(rig), VIODMA_EMPTY);
		CHECK(used_is(rig, 0));
		CHECK_EQUAL(blk_rig_status(rig, 0), VIRTIO_BLK_S_OK);
		CHECK(memcmp(rig->disk + RIG_DISK_BYTES - 4096, rig->driver->memory + RIG_DATA(0), 4096) == 0);
		CHECK(memcmp(rig->disk, before, RIG_DISK_BYTES - 4096) == 0);
		CHECK(!rig->last.durable); /* FLUSH was accepted */
		CHECK_EQUAL(rig->blk.statistics.out, 1);
		CHECK_EQUAL(rig->blk.statistics.out_bytes, 4096);
	}
	return true;
}
HOLDS(a_write_takes_the_drivers_bytes)

static bool without_flush_accepted_each_write_is_durable(void)
{
	struct blk_rig *rig = fresh(&setups[1], NULL);

	viodma_blk_set_accepted(&rig->blk, viodma_blk_features(&rig->blk) & ~VIODMA_FEATURE(VIRTIO_BLK_F_FLUSH_BIT));
	blk_rig_request(rig, 0, VIRTIO_BLK_T_OUT, 0, 512, false);
	CHECK_RESULT(blk_rig_run(rig), VIODMA_EMPTY);
	CHECK(rig->last.durable);
	return true;
}
HOLDS(without_flush_accepted_each_write_is_durable)

static bool a_flush_is_answered_when_the_disk_says_so(void)
{
	struct blk_rig *rig = fresh(&setups[1], NULL);

	rig->defer = true;
	blk_rig_request(rig, 0, VIRTIO_BLK_T_FLUSH, 0, 0, false);
	CHECK_RESULT(blk_rig_run(rig), VIODMA_EMPTY);
	CHECK_EQUAL(rig->pending_count, 1);
	CHECK_EQUAL(rig->last.operation, VIODMA_BLK_FLUSH);
	CHECK_EQUAL(rig->last.len_bytes, 0);
	CHECK_EQUAL(test_used_idx(rig->driver), 0);
	CHECK_EQUAL(blk_rig_status(rig, 0), RIG_NO_STATUS);
	blk_rig_finish(rig, 0, true);
	CHECK(used_is(rig, 0));
	CHECK_EQUAL(blk_rig_status(rig, 0), VIRTIO_BLK_S_OK);
	CHECK_EQUAL(rig->blk.statistics.flush, 1);
	return true;
}
HOLDS(a_flush_is_answered_when_the_disk_says_so)

static bool an_id_of(uint32_t bytes)
{
	size_t s;

	for (s = 0; s < SETUPS; s++) {
		struct viodma_blk_config config;
		struct blk_rig *rig;
		uint32_t i;

		blk_rig_default_config(&config);
		memcpy(config.serial, "ABCDEFGHIJKLMNOPQRST", 20); /* full: no end */
		rig = fresh(&setups[s], &config);
		test_fill(rig->driver, RIG_DATA(0), 64, 2);
		blk_rig_request(rig, 0, VIRTIO_BLK_T_GET_ID, 0, bytes, true);
		CHECK_RESULT(blk_rig_run(rig), VIODMA_EMPTY);
		CHECK(used_is(rig, 0));
		CHECK_EQUAL(blk_rig_status(rig, 0), VIRTIO_BLK_S_OK);
		for (i = 0; i < bytes && i < 20; i++)
			CHECK_EQUAL(rig->driver->memory[RIG_DATA(0) + i], 'A' + i);
		CHECK(test_filled(rig->driver, RIG_DATA(0) + i, 64 - i, 2));
		CHECK_EQUAL(rig->submitted, 0);
		CHECK_EQUAL(rig->blk.statistics.get_id, 1);
	}
	return true;
}

static bool an_id_is_20_bytes_or_what_there_is_room_for(void)
{
	return an_id_of(20) && an_id_of(7) && an_id_of(40) && an_id_of(0);
}
HOLDS(an_id_is_20_bytes_or_what_there_is_room_for)

static bool a_short_serial_is_padded_with_zeros(void)
{
	static const char wanted[20] = "viodma-test";
	struct blk_rig *rig = fresh(&setups[1], NULL);

	test_fill(rig->driver, RIG_DATA(0), 64, 2);
	blk_rig_request(rig, 0, VIRTIO_BLK_T_GET_ID, 0, 20, true);
	CHECK_RESULT(blk_rig_run(rig), VIODMA_EMPTY);
	CHECK(memcmp(rig->driver->memory + RIG_DATA(0), wanted, 20) == 0);
	return true;
}
HOLDS(a_short_serial_is_padded_with_zeros)

static bool an_unknown_request_is_answered_as_unsupported(void)
{
	static const uint32_t types[] = {2, 3, 5, 11, 13, 0x80000000u, 0xffffffffu, 0x01000000u};
	size_t i;

	for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		struct blk_rig *rig = fresh(&setups[i % SETUPS], NULL);

		blk_rig_request(rig, 0, types[i], 0, 512, true);
		CHECK_RESULT(blk_rig_run(rig), VIODMA_EMPTY);
		CHECK(used_is(rig, 0));
		CHECK_EQUAL(blk_rig_status(rig, 0), VIRTIO_BLK_S_UNSUPP);
		CHECK_EQUAL(rig->submitted, 0);
		CHECK_EQUAL(rig->blk.statistics.unsupported, 1);
	}
	return true;
}
HOLDS(an_unknown_request_is_answered_as_unsupported)

/* Header and data in pieces of the given sizes; the status in the same descriptor as the last data. */
static bool in_pieces(const struct test_options *options, const uint32_t *sizes, size_t count)
{
	struct blk_rig *rig = fresh(options, NULL);
	struct test_driver *d = rig->driver;
	size_t i, at = 0;

	blk_rig_header(rig, 0, VIRTIO_BLK_T_IN, 2);
	for (i = 0; i < count; i++) {
		/* Each piece of the header on a page of its own. */
		memcpy(d->memory + TEST_BUFFERS + (10 + i) * TEST_PAGE + 9, d->memory + RIG_HEADER(0) + at, sizes[i]);
		test_desc(d, (uint32_t)i, test_bus(d, TEST_BUFFERS + (10 + i) * TEST_PAGE + 9), sizes[i], N,
			  (uint16_t)(i + 1));
		at += sizes[i];
	}
	CHECK_EQUAL(at, 16);
	test_desc(d, (uint32_t)count, test_bus(d, RIG_DATA(0)), 300, N | W, (uint16_t)(count + 1));
	test_desc(d, (uint32_t)count + 1, test_bus(d, RIG_DATA(1)), 213, W, 0);
	test_make_available(d, 0);
	CHECK_RESULT(blk_rig_run(rig), VIODMA_EMPTY);
	CHECK(used_is(rig, 0));
	CHECK(memcmp(d->memory + RIG_DATA(0), rig->disk + 1024, 300) == 0);
	CHECK(memcmp(d->memory + RIG_DATA(1), rig->disk + 1324, 212) == 0);
	CHECK_EQUAL(d->memory[RIG_DATA(1) + 212], VIRTIO_BLK_S_OK);
	return true;
}

static bool where_descriptors_begin_and_end_does_not_matter(void)
{
	static const uint32_t whole[] = {16}, odd[] = {1, 14, 1}, halves[] = {8, 8}, words[] = {4, 4, 3, 5};
	size_t s;

	for (s = 0; s < SETUPS; s++)
		if (!in_pieces(&setups[s], whole, 1) || !in_pieces(&setups[s], odd, 3) ||
		    !in_pieces(&setups[s], halves, 2) || !in_pieces(&setups[s], words, 4))
			return false;
	return true;
}
HOLDS(where_descriptors_begin_and_end_does_not_matter)

static bool data_right_behind_the_header_is_written(void)
{
	struct blk_rig *rig = fresh(&setups[1], NULL);
	struct test_driver *d = rig->driver;

	test_fill(d, TEST_BUFFERS, TEST_PAGE, 5);
	blk_rig_header(rig, 0, VIRTIO_BLK_T_OUT, 1);
	test_table_desc(d, TEST_TABLES, 0, test_bus(d, RIG_HEADER(0)), 16 + 512, N, 1);
	test_table_desc(d, TEST_TABLES, 1, test_bus(d, RIG_STATUS(1)), 1, W, 0);
	test_desc(d, 9, test_bus(d, TEST_TABLES), 32, I, 0);
	test_make_available(d, 9);
	CHECK_RESULT(blk_rig_run(rig), VIODMA_EMPTY);
	CHECK(used_is(rig, 9));
	CHECK(memcmp(rig->disk + 512, d->memory + RIG_HEADER(0) + 16, 512) == 0);
	CHECK_EQUAL(blk_rig_status(rig, 1), VIRTIO_BLK_S_OK);
	return true;
}
HOLDS(data_right_behind_the_header_is_written)

static bool operations_may_end_in_any_order(void)
{
	size_t s;

	for (s = 0; s < SETUPS; s++) {
		struct blk_rig *rig = fresh(&setups[s], NULL);
		struct check_random random = {.state = 9};
		unsigned i;

		rig->defer = true;
		for (i = 0; i < 8; i++)
			blk_rig_request(rig, 3 * i, i % 2 ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_FLUSH, i, i % 2 ? 512 : 0, true);
		CHECK_RESULT(blk_rig_run(rig), VIODMA_EMPTY);
		CHECK_EQUAL(rig->pending_count, 8);
		while (rig->pending_count) {
			unsigned pick = (unsigned)check_below(&random, rig->pending_count);
			uint16_t head = rig->pending[pick]->request->head;

			CHECK_EQUAL(blk_rig_status(rig, head), RIG_NO_STATUS);
			blk_rig_finish(rig, pick, true);
			CHECK(used_is(rig, head));
			CHECK_EQUAL(blk_rig_status(rig, head), VIRTIO_BLK_S_OK);
		}
		for (i = 1; i < 8; i += 2)
			CHECK(memcmp(rig->driver->memory + RIG_DATA(3 * i), rig->disk + 512 * i, 512) == 0);
	}
	return true;
}
HOLDS(operations_may_end_in_any_order)

static bool an_operation_the_disk_could_not_do_is_answered_as_an_error(void)
{
	size_t s;

	for (s = 0; s < SETUPS; s++) {
		struct blk_rig *rig = fresh(&setups[s], NULL);

		rig->fail = true;
		blk_rig_request(rig, 0, VIRTIO_BLK_T_IN, 0, 512, true);
		blk_rig_request(rig, 3, VIRTIO_BLK_T_OUT, 0, 512, false);
		blk_rig_request(rig, 6, VIRTIO_BLK_T_FLUSH, 0, 0, false);
		test_fill(rig->driver, RIG_DATA(0), 512, 1);
		CHECK_RESULT(blk_rig_run(rig), VIODMA_EMPTY);
		CHECK_EQUAL(test_used_idx(rig->driver), 3);
		CHECK_EQUAL(blk_rig_status(rig, 0), VIRTIO_BLK_S_IOERR);
		CHECK_EQUAL(blk_rig_status(rig, 3), VIRTIO_BLK_S_IOERR);
		CHECK_EQUAL(blk_rig_status(rig, 6), VIRTIO_BLK_S_IOERR);
		CHECK(test_filled(rig->driver, RIG_DATA(0), 512, 1));
		CHECK_EQUAL(rig->blk.statistics.failed, 3);
		CHECK_EQUAL(rig->blk.statistics.in + rig->blk.statistics.out + rig->blk.statistics.flush, 0);
		CHECK_EQUAL(rig->blk.statistics.in_bytes + rig->blk.statistics.out_bytes, 0);
	}
	return true;
}
HOLDS(an_operation_the_disk_could_not_do_is_answered_as_an_error)

static bool the_configuration_space_is_little_endian_and_as_specified(void)
{
	struct viodma_blk_config config;
	struct blk_rig *rig;
	unsigned char bytes[VIODMA_BLK_CONFIG_BYTES + 8], part[4];
	static const unsigned char capacity[] = {0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0};
	static const unsigned char size_max[] = {0x04, 0x03, 0x02, 0x01}, seg_max[] = {0xfe, 0, 0, 0};
	static const unsigned char blk_size[] = {0, 0x10, 0, 0};
	unsigned i;

	blk_rig_default_config(&config);
	config.capacity_bytes = 0x23456789abcdefu << 9;
	config.size_max = 0x01020304;
	config.seg_max = 254;
	config.blk_size = 4096;
	rig = fresh(&setups[1], &config);
	memset(bytes, 0xee, sizeof(bytes));
	viodma_blk_read_config(&rig->blk, 0, bytes, sizeof(bytes));
	CHECK(memcmp(bytes, capacity, 8) == 0);
	CHECK(memcmp(bytes + 8, size_max, 4) == 0);
	CHECK(memcmp(bytes + 12, seg_max, 4) == 0);
	CHECK(memcmp(bytes + 20, blk_size, 4) == 0);
	for (i = 0; i < 8; i++)
		CHECK_EQUAL(bytes[VIODMA_BLK_CONFIG_BYTES + i], 0); /* beyond the end: 0 */
	viodma_blk_read_config(&rig->blk, 10, part, 4);
	CHECK(memcmp(part, bytes + 10, 4) == 0);
	memset(part, 0xee, sizeof(part));
	viodma_blk_read_config(&rig->blk, UINT32_MAX, part, 4);
	CHECK_EQUAL(part[0] | part[1] | part[2] | part[3], 0);
	viodma_blk_read_config(&rig->blk, VIODMA_BLK_CONFIG_BYTES, part, 4);
	CHECK_EQUAL(part[0] | part[1] | part[2] | part[3], 0);
	return true;
}
HOLDS(the_configuration_space_is_little_endian_and_as_specified)

static bool the_device_offers_what_it_does(void)
{
	struct viodma_blk_config config;
	struct blk_rig *rig;
	uint64_t features;

	blk_rig_default_config(&config);
	rig = fresh(&setups[1], &config);
	features = viodma_blk_features(&rig->blk);
	CHECK(features & VIODMA_FEATURE(VIRTIO_BLK_F_SEG_MAX_BIT));
	CHECK(features & VIODMA_FEATURE(VIRTIO_BLK_F_SIZE_MAX_BIT));
	CHECK(features & VIODMA_FEATURE(VIRTIO_BLK_F_BLK_SIZE_BIT));
	CHECK(features & VIODMA_FEATURE(VIRTIO_BLK_F_FLUSH_BIT));
	CHECK(!(features & VIODMA_FEATURE(VIRTIO_BLK_F_RO_BIT)));
	CHECK(!(features & VIODMA_FEATURE(VIRTIO_BLK_F_DISCARD_BIT)));
	CHECK_EQUAL(features >> 24, 0);
	config.read_only = true;
	rig = fresh(&setups[1], &config);
	CHECK(viodma_blk_features(&rig->blk) & VIODMA_FEATURE(VIRTIO_BLK_F_RO_BIT));
	return true;
}
HOLDS(the_device_offers_what_it_does)

static bool configurations_out_of_range_are_refused(void)
{
	struct viodma_blk_config good, bad;
	struct viodma_blk_ops ops = fresh(&setups[0], NULL)->blk.ops;
	struct viodma_blk_io ios[4];
	struct viodma_blk blk;

	blk_rig_default_config(&good);
#define REFUSED(member, value)                                                                                        \
	do {                                                                                                          \
		bad = good;                                                                                           \
		bad.member = (value);                                                                                 \
		CHECK_RESULT(viodma_blk_init(&blk, &bad, &ops, ios, 4), VIODMA_E_INVALID);                            \
	} while (0)
	REFUSED(capacity_bytes, 513);
	REFUSED(blk_size, 256);
	REFUSED(blk_size, 1000);
	REFUSED(blk_size, 131072);
	REFUSED(seg_max, 0);
	REFUSED(size_max, 4095);
#undef REFUSED
	CHECK_RESULT(viodma_blk_init(&blk, &good, &ops, ios, 4), VIODMA_OK);
	return true;
}
HOLDS(configurations_out_of_range_are_refused)

static bool one_call_works_on_at_most_one_queue_full(void)
{
	struct test_options options = {.size = 4};
	struct blk_rig *rig = fresh(&options, NULL);
	unsigned i;

	/* A driver that adds a request whenever one ends is told to come again, not served for ever (= DEV-17). */
	rig->endless = true;
	blk_rig_request(rig, 0, VIRTIO_BLK_T_FLUSH, 0, 0, false);
	for (i = 1; i < 5; i++) {
		CHECK_RESULT(viodma_blk_process(&rig->blk, &rig->driver->queue), VIODMA_OK);
		CHECK_EQUAL(rig->submitted, 4 * i);
	}
	rig->endless = false;
	CHECK_RESULT(viodma_blk_process(&rig->blk, &rig->driver->queue), VIODMA_EMPTY);
	return true;
}
HOLDS(one_call_works_on_at_most_one_queue_full)

static bool nothing_to_read_or_write_is_answered_at_once(void)
{
	struct blk_rig *rig = fresh(&setups[1], NULL);

	blk_rig_request(rig, 0, VIRTIO_BLK_T_IN, RIG_SECTORS, 0, true);
	blk_rig_request(rig, 3, VIRTIO_BLK_T_OUT, 0, 0, false);
	CHECK_RESULT(blk_rig_run(rig), VIODMA_EMPTY);
	CHECK_EQUAL(rig->submitted, 0);
	CHECK_EQUAL(blk_rig_status(rig, 0), VIRTIO_BLK_S_OK);
	CHECK_EQUAL(blk_rig_status(rig, 3), VIRTIO_BLK_S_OK);
	CHECK_EQUAL(rig->blk.statistics.in, 1);
	CHECK_EQUAL(rig->blk.statistics.out, 1);
	return true;
}
HOLDS(nothing_to_read_or_write_is_answered_at_once)

static bool a_head_the_device_has_no_room_for_is_failed(void)
{
	struct blk_rig *rig = fresh(&setups[1], NULL);

	rig->blk.heads = 3;
	blk_rig_request(rig, 3, VIRTIO_BLK_T_IN, 0, 512, true);
	CHECK_RESULT(blk_rig_run(rig), VIODMA_EMPTY);
	CHECK_EQUAL(rig->submitted, 0);
	CHECK_EQUAL(blk_rig_status(rig, 3), VIRTIO_BLK_S_IOERR);
	CHECK_EQUAL(rig->refused_reason, VIODMA_E_LIMIT);
	return true;
}
HOLDS(a_head_the_device_has_no_room_for_is_failed)

static bool pieces_beyond_an_operations_data_are_refused(void)
{
	struct blk_rig *rig = fresh(&setups[1], NULL);
	struct viodma_piece piece;
	uint32_t count;

	rig->defer = true;
	blk_rig_request(rig, 0, VIRTIO_BLK_T_IN, 0, 512, true);
	CHECK_RESULT(blk_rig_run(rig), VIODMA_EMPTY);
	/* Behind the data stands the status: not the disk's. */
	CHECK_RESULT(viodma_blk_io_pieces(rig->pending[0], 0, 513, &piece, 1, &count), VIODMA_E_INVALID);
	CHECK_RESULT(viodma_blk_io_pieces(rig->pending[0], 512, 1, &piece, 1, &count), VIODMA_E_INVALID);
	CHECK_RESULT(viodma_blk_io_pieces(rig->pending[0], UINT32_MAX, 2, &piece, 1, &count), VIODMA_E_INVALID);
	CHECK_RESULT(viodma_blk_io_pieces(rig->pending[0], 511, 1, &piece, 1, &count), VIODMA_OK);
	CHECK((unsigned char *)piece.memory == rig->driver->memory + RIG_DATA(0) + 511);
	return true;
}
HOLDS(pieces_beyond_an_operations_data_are_refused)

/* A disk that moves bytes bit by bit, in any order: neither where they lie nor how often matters. */
static bool data_is_copied_in_and_out_by_its_own_offsets(void)
{
	size_t s;

	for (s = 0; s < SETUPS; s++) {
		struct blk_rig *rig = fresh(&setups[s], NULL);
		unsigned char *written = rig->driver->memory + RIG_DATA(0), *read = rig->driver->memory + RIG_DATA(1);
		unsigned char bytes[4096] = {0};
		uint32_t at;

		rig->defer = true;
		test_fill(rig->driver, RIG_DATA(0), 4096, 8);
		blk_rig_request(rig, 0, VIRTIO_BLK_T_OUT, 3, 4096, false);
		CHECK_RESULT(blk_rig_run(rig), VIODMA_EMPTY);
		CHECK_RESULT(viodma_blk_io_copy_in(rig->pending[0], 0, bytes, 4096), VIODMA_OK);
		CHECK(memcmp(bytes, written, 4096) == 0);
		CHECK_RESULT(viodma_blk_io_copy_in(rig->pending[0], 100, bytes, 50), VIODMA_OK);
		CHECK(memcmp(bytes, written + 100, 50) == 0);
		CHECK(memcmp(bytes + 50, written + 50, 4046) == 0);
		CHECK_RESULT(viodma_blk_io_copy_in(rig->pending[0], 4096, bytes, 0), VIODMA_OK);
		CHECK_RESULT(viodma_blk_io_copy_in(rig->pending[0], 0, bytes, 4097), VIODMA_E_INVALID);
		CHECK_RESULT(viodma_blk_io_copy_in(rig->pending[0], UINT32_MAX, bytes, 2), VIODMA_E_INVALID);
		CHECK_RESULT(viodma_blk_io_copy_out(rig->pending[0], 0, bytes, 1), VIODMA_E_INVALID);
		viodma_blk_complete(&rig->blk, rig->pending[0], true);
		rig->pending_count = 0;

		blk_rig_request(rig, 1, VIRTIO_BLK_T_IN, 3, 4096, true);
		CHECK_RESULT(blk_rig_run(rig), VIODMA_EMPTY);
		memcpy(bytes, written, 4096);
		for (at = 0; at < 4096; at += 256) /* every other one, from the front; the rest, from the back */
			CHECK_RESULT(viodma_blk_io_copy_out(rig->pending[0], at, bytes + at, 128), VIODMA_OK);
		for (at = 4096 - 128; at < 4096; at -= 256)
			CHECK_RESULT(viodma_blk_io_copy_out(rig->pending[0], at, bytes + at, 128), VIODMA_OK);
		/* Behind the data stands the status: not the disk's. */
		CHECK_RESULT(viodma_blk_io_copy_out(rig->pending[0], 0, bytes, 4097), VIODMA_E_INVALID);
		CHECK_RESULT(viodma_blk_io_copy_out(rig->pending[0], 4096, bytes, 1), VIODMA_E_INVALID);
		CHECK_RESULT(viodma_blk_io_copy_out(rig->pending[0], UINT32_MAX, bytes, 2), VIODMA_E_INVALID);
		CHECK_RESULT(viodma_blk_io_copy_in(rig->pending[0], 0, bytes, 1), VIODMA_E_INVALID);
		viodma_blk_complete(&rig->blk, rig->pending[0], true);
		rig->pending_count = 0;
		CHECK_EQUAL(blk_rig_status(rig, 1), VIRTIO_BLK_S_OK);
		CHECK(memcmp(read, bytes, 4096) == 0);
	}
	return true;
}
HOLDS(data_is_copied_in_and_out_by_its_own_offsets)

static bool a_flush_has_no_data_to_copy(void)
{
	struct blk_rig *rig = fresh(&setups[0], NULL);
	unsigned char byte = 0;

	rig->defer = true;
	blk_rig_request(rig, 0, VIRTIO_BLK_T_FLUSH, 0, 0, false);
	CHECK_RESULT(blk_rig_run(rig), VIODMA_EMPTY);
	CHECK_RESULT(viodma_blk_io_copy_in(rig->pending[0], 0, &byte, 0), VIODMA_E_INVALID);
	CHECK_RESULT(viodma_blk_io_copy_out(rig->pending[0], 0, &byte, 0), VIODMA_E_INVALID);
	return true;
}
HOLDS(a_flush_has_no_data_to_copy)

static bool a_queue_that_does_not_run_is_not_worked_on(void)
{
	static max_align_t memory[VIODMA_QUEUE_MEMORY_BYTES(4, 4, 4) / sizeof(max_align_t) + 1];
	struct blk_rig *rig = fresh(&setups[0], NULL);
	const struct viodma_queue_config config = {.space = &rig->driver->space,
						   .memory = memory,
						   .memory_bytes = sizeof(memory),
						   .size_max = 4,
						   .segments_max = 4,
						   .pieces_max = 4};
	struct viodma_queue never;
	uint32_t base;

	CHECK_RESULT(viodma_queue_init(&never, &config), VIODMA_OK);
	CHECK_RESULT(viodma_blk_process(&rig->blk, &never), VIODMA_FAULT_STOPPED);
	CHECK(!viodma_queue_call_needed(&never));
	CHECK(!viodma_queue_has_work(&never));

	blk_rig_request(rig, 0, VIRTIO_BLK_T_FLUSH, 0, 0, false);
	CHECK_RESULT(viodma_queue_stop(&rig->driver->queue, &base), VIODMA_OK);
	CHECK_RESULT(viodma_blk_process(&rig->blk, &rig->driver->queue), VIODMA_FAULT_STOPPED);
	CHECK_EQUAL(rig->submitted, 0);
	return true;
}
HOLDS(a_queue_that_does_not_run_is_not_worked_on)

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
		TEST(a_read_brings_the_disks_bytes),
		TEST(a_write_takes_the_drivers_bytes),
		TEST(without_flush_accepted_each_write_is_durable),
		TEST(a_flush_is_answered_when_the_disk_says_so),
		TEST(an_id_is_20_bytes_or_what_there_is_room_for),
		TEST(a_short_serial_is_padded_with_zeros),
		TEST(an_unknown_request_is_answered_as_unsupported),
		TEST(where_descriptors_begin_and_end_does_not_matter),
		TEST(data_right_behind_the_header_is_written),
		TEST(operations_may_end_in_any_order),
		TEST(an_operation_the_disk_could_not_do_is_answered_as_an_error),
		TEST(the_configuration_space_is_little_endian_and_as_specified),
		TEST(the_device_offers_what_it_does),
		TEST(configurations_out_of_range_are_refused),
		TEST(one_call_works_on_at_most_one_queue_full),
		TEST(nothing_to_read_or_write_is_answered_at_once),
		TEST(a_head_the_device_has_no_room_for_is_failed),
		TEST(pieces_beyond_an_operations_data_are_refused),
		TEST(data_is_copied_in_and_out_by_its_own_offsets),
		TEST(a_flush_has_no_data_to_copy),
		TEST(a_queue_that_does_not_run_is_not_worked_on),
	};

	return cmocka_run_group_tests_name("blk", tests, NULL, no_rig);
}
