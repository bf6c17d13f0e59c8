/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_blk_ranges.c - virtio-blk, device half: discard, write-zeroes, secure erase, with drivers that keep to the rules
 * and others.
 *
 * How it works: see tests/support/blk_rig.h. The device takes up to 2 ranges to discard, 4 to zero, 3 to erase, of 8,
 * 16 and 4 sectors.
 */
#include "tests/support/blk_rig.h"
#include "tests/support/check.h"

#include <viodma/feature.h>

#define UNMAP VIRTIO_BLK_RANGE_F_UNMAP

static const struct test_options setups[] = {
	{.size = 32},
	{.size = 32, .platform = true, .scatter = true},
	{.size = 32, .platform = true, .scatter = true, .copy = true},
};
#define SETUPS (sizeof(setups) / sizeof(setups[0]))

static const struct {
	uint32_t type;
	enum viodma_blk_operation operation;
	unsigned max_ranges, max_sectors;
} kinds[] = {
	{VIRTIO_BLK_T_DISCARD, VIODMA_BLK_DISCARD, 2, 8},
	{VIRTIO_BLK_T_WRITE_ZEROES, VIODMA_BLK_WRITE_ZEROES, 4, 16},
	{VIRTIO_BLK_T_SECURE_ERASE, VIODMA_BLK_SECURE_ERASE, 3, 4},
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static struct blk_rig *current;

static struct blk_rig *fresh(const struct test_options *options)
{
	struct viodma_blk_config config;

	blk_rig_default_config(&config);
	config.discard = (struct viodma_blk_range_limits){kinds[0].max_sectors, kinds[0].max_ranges, 1};
	config.write_zeroes = (struct viodma_blk_range_limits){kinds[1].max_sectors, kinds[1].max_ranges, 0};
	config.secure_erase = (struct viodma_blk_range_limits){kinds[2].max_sectors, kinds[2].max_ranges, 1};
	config.write_zeroes_may_unmap = true;
	blk_rig_free(current);
	current = blk_rig_new(options, &config);
	return current;
}

static bool answered(struct blk_rig *rig, unsigned head, uint8_t status)
{
	uint32_t id, len;

	CHECK_RESULT(blk_rig_run(rig), VIODMA_EMPTY);
	CHECK(test_take_used(rig->driver, &id, &len));
	CHECK_EQUAL(id, head);
	CHECK_EQUAL(len, 1);
	CHECK_EQUAL(blk_rig_status(rig, head), status);
	return true;
}

static bool holds(const struct blk_rig *rig, uint64_t sector, uint32_t count, int byte)
{
	uint32_t i;

	for (i = 0; i < count * 512; i++)
		CHECK_EQUAL(rig->disk[sector * 512 + i], byte);
	return true;
}

static bool a_range_is_one_operation_and_its_neighbours_stay(void)
{
	size_t s, k;

	for (s = 0; s < SETUPS; s++)
		for (k = 0; k < KINDS; k++) {
			const struct blk_rig_range range = {RIG_SECTORS - kinds[k].max_sectors, kinds[k].max_sectors, 0};
			struct blk_rig *rig = fresh(&setups[s]);
			static unsigned char before[RIG_DISK_BYTES];

			memcpy(before, rig->disk, sizeof(before));
			blk_rig_ranges(rig, 3, kinds[k].type, &range, 1);
			CHECK(answered(rig, 3, VIRTIO_BLK_S_OK));
			CHECK_EQUAL(rig->submitted, 1);
			CHECK_EQUAL(rig->last.operation, kinds[k].operation);
			CHECK(!rig->last.unmap && !rig->last.durable);
			CHECK(holds(rig, range.sector, range.count, RIG_FILL(kinds[k].operation)));
			CHECK(memcmp(rig->disk, before, range.sector * 512) == 0);
			CHECK_EQUAL(rig->blk.statistics.discard, k == 0);
			CHECK_EQUAL(rig->blk.statistics.write_zeroes, k == 1);
			CHECK_EQUAL(rig->blk.statistics.secure_erase, k == 2);
		}
	return true;
}
HOLDS(a_range_is_one_operation_and_its_neighbours_stay)

static bool several_ranges_are_in_flight_at_once_and_have_one_answer(void)
{
	static const struct blk_rig_range ranges[] = {{40, 2, 0}, {1, 1, UNMAP}, {20, 16, 0}, {63, 1, UNMAP}};
	struct check_random random = {.state = 3};
	unsigned round;

	for (round = 0; round < 6; round++) {
		struct blk_rig *rig = fresh(&setups[round % SETUPS]);
		unsigned unmapped = 0, i;

		rig->defer = true;
		blk_rig_ranges(rig, 6, VIRTIO_BLK_T_WRITE_ZEROES, ranges, 4);
		CHECK_RESULT(blk_rig_run(rig), VIODMA_EMPTY);
		CHECK_EQUAL(rig->pending_count, 4);
		for (i = 0; i < 4; i++)
			unmapped += rig->pending[i]->unmap;
		CHECK_EQUAL(unmapped, 2);
		while (rig->pending_count) {
			CHECK_EQUAL(test_used_idx(rig->driver), 0);
			CHECK_EQUAL(blk_rig_status(rig, 6), RIG_NO_STATUS);
			blk_rig_finish(rig, (unsigned)check_below(&random, rig->pending_count), true);
		}
		CHECK(answered(rig, 6, VIRTIO_BLK_S_OK));
		for (i = 0; i < 4; i++)
			CHECK(holds(rig, ranges[i].sector, ranges[i].count, 0));
		CHECK_EQUAL(rig->blk.statistics.write_zeroes, 1);
	}
	return true;
}
HOLDS(several_ranges_are_in_flight_at_once_and_have_one_answer)

static bool one_range_that_fails_fails_the_request_when_all_have_ended(void)
{
	static const struct blk_rig_range ranges[] = {{0, 1, 0}, {2, 1, 0}, {4, 1, 0}};
	unsigned bad;

	for (bad = 0; bad < 3; bad++) {
		struct blk_rig *rig = fresh(&setups[bad]);
		unsigned i;

		rig->defer = true;
		blk_rig_ranges(rig, 0, VIRTIO_BLK_T_WRITE_ZEROES, ranges, 3);
		CHECK_RESULT(blk_rig_run(rig), VIODMA_EMPTY);
		for (i = 0; i < 3; i++) {
			CHECK_EQUAL(test_used_idx(rig->driver), 0);
			blk_rig_finish(rig, 0, i != bad);
		}
		CHECK(answered(rig, 0, VIRTIO_BLK_S_IOERR));
		CHECK_EQUAL(rig->blk.statistics.failed, 1);
		CHECK_EQUAL(rig->blk.statistics.write_zeroes, 0);
	}
	return true;
}
HOLDS(one_range_that_fails_fails_the_request_when_all_have_ended)

static bool requests_of_several_heads_do_not_share_operations(void)
{
	static const struct blk_rig_range ranges[] = {{0, 2, 0}, {8, 2, 0}, {16, 2, 0}, {24, 2, 0}};
	struct blk_rig *rig = fresh(&setups[1]);
	unsigned i, j;

	rig->defer = true;
	for (i = 0; i < 4; i++)
		blk_rig_ranges(rig, 3 * i, VIRTIO_BLK_T_WRITE_ZEROES, ranges, 4);
	CHECK_RESULT(blk_rig_run(rig), VIODMA_EMPTY);
	CHECK_EQUAL(rig->pending_count, 16);
	for (i = 0; i < 16; i++)
		for (j = 0; j < i; j++)
			CHECK(rig->pending[i] != rig->pending[j]);
	while (rig->pending_count)
		blk_rig_finish(rig, rig->pending_count / 2, true);
	CHECK_EQUAL(test_used_idx(rig->driver), 4);
	CHECK_EQUAL(rig->blk.statistics.write_zeroes, 4);
	return true;
}
HOLDS(requests_of_several_heads_do_not_share_operations)

static bool a_range_of_no_sectors_has_nothing_to_be_done(void)
{
	static const struct blk_rig_range none[] = {{5, 0, 0}, {RIG_SECTORS, 0, 0}}, mixed[] = {{5, 0, 0}, {6, 1, 0}};
	size_t k;

	for (k = 0; k < KINDS; k++) {
		struct blk_rig *rig = fresh(&setups[k]);

		blk_rig_ranges(rig, 0, kinds[k].type, none, 2);
		CHECK(answered(rig, 0, VIRTIO_BLK_S_OK));
		CHECK_EQUAL(rig->submitted, 0);
		blk_rig_ranges(rig, 3, kinds[k].type, mixed, 2);
		CHECK(answered(rig, 3, VIRTIO_BLK_S_OK));
		CHECK_EQUAL(rig->submitted, 1);
		CHECK_EQUAL(rig->last.offset_bytes, 6 * 512);
	}
	return true;
}
HOLDS(a_range_of_no_sectors_has_nothing_to_be_done)

/* Nothing of it happens, on any kind, in any setup. */
static bool refused(const struct blk_rig_range *ranges, unsigned count, size_t from, size_t to, uint8_t status)
{
	size_t s, k;

	for (s = 0; s < SETUPS; s++)
		for (k = from; k < to; k++) {
			struct blk_rig *rig = fresh(&setups[s]);

			blk_rig_ranges(rig, 0, kinds[k].type, ranges, count);
			CHECK(answered(rig, 0, status));
			CHECK_EQUAL(rig->submitted, 0);
			CHECK_EQUAL(rig->blk.statistics.failed, status == VIRTIO_BLK_S_IOERR);
			CHECK_EQUAL(rig->blk.statistics.unsupported, status == VIRTIO_BLK_S_UNSUPP);
		}
	return true;
}

static bool sectors_beyond_the_end_are_refused_and_nothing_of_the_request_happens(void)
{
	static const struct blk_rig_range beyond[][2] = {
		{{0, 1, 0}, {RIG_SECTORS, 1, 0}},     {{0, 1, 0}, {RIG_SECTORS - 1, 2, 0}},
		{{0, 1, 0}, {RIG_SECTORS + 1, 0, 0}}, {{0, 1, 0}, {UINT64_MAX, 1, 0}},
		{{0, 1, 0}, {UINT64_MAX - 3, 4, 0}},  {{0, 1, 0}, {UINT64_C(1) << 55, 1, 0}},
		{{0, 1, 0}, {RIG_SECTORS * 8, 1, 0}}, {{UINT64_C(1) << 63, 4, 0}, {0, 1, 0}},
	};
	size_t i;

	for (i = 0; i < sizeof(beyond) / sizeof(beyond[0]); i++)
		CHECK(refused(beyond[i], 2, 0, KINDS, VIRTIO_BLK_S_IOERR));
	return true;
}
BEHAVIOUR(sectors_beyond_the_end_are_refused_and_nothing_of_the_request_happens, "DRV-18")

static bool a_range_longer_than_stated_is_refused(void)
{
	size_t k;

	for (k = 0; k < KINDS; k++) {
		const struct blk_rig_range longer[] = {{0, 1, 0}, {0, kinds[k].max_sectors + 1, 0}};

		CHECK(refused(longer, 2, k, k + 1, VIRTIO_BLK_S_IOERR));
	}
	return true;
}
BEHAVIOUR(a_range_longer_than_stated_is_refused, "DRV-18")

static bool more_ranges_than_stated_are_refused(void)
{
	static const struct blk_rig_range many[256] = {{0, 1, 0}, {1, 1, 0}, {2, 1, 0}, {3, 1, 0}, {4, 1, 0}};
	size_t k;

	for (k = 0; k < KINDS; k++) {
		CHECK(refused(many, kinds[k].max_ranges + 1, k, k + 1, VIRTIO_BLK_S_IOERR));
		CHECK(refused(many, 256, k, k + 1, VIRTIO_BLK_S_IOERR));
	}
	return true;
}
BEHAVIOUR(more_ranges_than_stated_are_refused, "DRV-18")

static bool a_list_that_is_not_whole_ranges_is_refused(void)
{
	static const uint32_t lengths[] = {0, 1, 8, 15, 17, 24, 31};
	size_t i, k;

	for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
		for (k = 0; k < KINDS; k++) {
			struct blk_rig *rig = fresh(&setups[(i + k) % SETUPS]);

			memset(rig->driver->memory + RIG_DATA(0), 0, 64);
			rig->driver->memory[RIG_DATA(0) + 8] = 1;
			blk_rig_request(rig, 0, kinds[k].type, 0, lengths[i], false);
			CHECK(answered(rig, 0, VIRTIO_BLK_S_IOERR));
			CHECK_EQUAL(rig->submitted, 0);
			CHECK_RESULT(rig->refused_reason, VIODMA_PEER_REQUEST);
		}
	return true;
}
BEHAVIOUR(a_list_that_is_not_whole_ranges_is_refused, "DRV-18")

static bool a_list_of_ranges_has_nothing_to_be_written_into(void)
{
	size_t k;

	for (k = 0; k < KINDS; k++) {
		struct blk_rig *rig = fresh(&setups[k]);
		struct test_driver *d = rig->driver;

		memset(d->memory + RIG_DATA(0), 0, 64);
		d->memory[RIG_DATA(0) + 8] = 1;
		blk_rig_header(rig, 0, kinds[k].type, 0);
		test_desc(d, 0, test_bus(d, RIG_HEADER(0)), 16, VIRTQ_DESC_F_NEXT, 1);
		test_desc(d, 1, test_bus(d, RIG_DATA(0)), 16, VIRTQ_DESC_F_NEXT, 2);
		test_desc(d, 2, test_bus(d, RIG_STATUS(0) - 16), 17, VIRTQ_DESC_F_WRITE, 0);
		test_make_available(d, 0);
		CHECK_RESULT(blk_rig_run(rig), VIODMA_EMPTY);
		CHECK_EQUAL(blk_rig_status(rig, 0), VIRTIO_BLK_S_IOERR);
		CHECK_EQUAL(rig->submitted, 0);
	}
	return true;
}
BEHAVIOUR(a_list_of_ranges_has_nothing_to_be_written_into, "DRV-18")

static bool an_unknown_flag_is_unsupported_whatever_else_is_wrong(void)
{
	static const struct blk_rig_range lists[][2] = {
		{{0, 1, 2}, {1, 1, 0}},
		{{0, 1, 0}, {1, 1, 0x80000000u}},
		{{RIG_SECTORS, 9, 0}, {1, 1, 4}},
		{{0, 1, 2}, {0, 10000, 0}},
		{{0, 0, 2}, {0, 0, 0}},
		{{0, 1, 0xffffffffu}, {0, 1, 0}},
	};
	size_t i;

	for (i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		CHECK(refused(lists[i], 2, 0, KINDS, VIRTIO_BLK_S_UNSUPP));
	return true;
}
BEHAVIOUR(an_unknown_flag_is_unsupported_whatever_else_is_wrong, "DRV-18")

static bool unmap_is_for_write_zeroes_alone(void)
{
	static const struct blk_rig_range list[] = {{0, 1, 0}, {1, 1, UNMAP}};
	struct blk_rig *rig;

	CHECK(refused(list, 2, 0, 1, VIRTIO_BLK_S_UNSUPP));
	CHECK(refused(list, 2, 2, 3, VIRTIO_BLK_S_UNSUPP));
	rig = fresh(&setups[0]);
	blk_rig_ranges(rig, 0, VIRTIO_BLK_T_WRITE_ZEROES, list, 2);
	CHECK(answered(rig, 0, VIRTIO_BLK_S_OK));
	CHECK_EQUAL(rig->submitted, 2);
	CHECK(rig->last.unmap);
	return true;
}
BEHAVIOUR(unmap_is_for_write_zeroes_alone, "DRV-18")

static bool what_was_not_accepted_is_unsupported(void)
{
	static const unsigned bits[] = {VIRTIO_BLK_F_DISCARD_BIT, VIRTIO_BLK_F_WRITE_ZEROES_BIT,
					VIRTIO_BLK_F_SECURE_ERASE_BIT};
	static const struct blk_rig_range range = {0, 1, 0};
	size_t k;

	for (k = 0; k < KINDS; k++) {
		struct blk_rig *rig = fresh(&setups[k]);

		viodma_blk_set_accepted(&rig->blk, viodma_blk_features(&rig->blk) & ~VIODMA_FEATURE(bits[k]));
		blk_rig_ranges(rig, 0, kinds[k].type, &range, 1);
		CHECK(answered(rig, 0, VIRTIO_BLK_S_UNSUPP));
		CHECK_EQUAL(rig->submitted, 0);
	}
	return true;
}
HOLDS(what_was_not_accepted_is_unsupported)

static bool a_read_only_disk_has_nothing_of_it_whatever_was_accepted(void)
{
	static const struct blk_rig_range range = {0, 1, 0};
	struct blk_rig *rig;
	uint64_t before;
	size_t k;

	for (k = 0; k < KINDS; k++) {
		rig = fresh(&setups[k]);
		before = viodma_blk_features(&rig->blk);
		rig->blk.config.read_only = true;
		CHECK_EQUAL(viodma_blk_features(&rig->blk) & (VIODMA_FEATURE(VIRTIO_BLK_F_DISCARD_BIT) |
							       VIODMA_FEATURE(VIRTIO_BLK_F_WRITE_ZEROES_BIT) |
							       VIODMA_FEATURE(VIRTIO_BLK_F_SECURE_ERASE_BIT)), 0);
		viodma_blk_set_accepted(&rig->blk, before);
		blk_rig_ranges(rig, 0, kinds[k].type, &range, 1);
		CHECK(answered(rig, 0, VIRTIO_BLK_S_UNSUPP));
		CHECK_EQUAL(rig->submitted, 0);
	}
	return true;
}
HOLDS(a_read_only_disk_has_nothing_of_it_whatever_was_accepted)

static bool zeroes_are_durable_where_writes_are(void)
{
	static const struct blk_rig_range range = {0, 1, 0};
	struct blk_rig *rig = fresh(&setups[0]);

	viodma_blk_set_accepted(&rig->blk, viodma_blk_features(&rig->blk) & ~VIODMA_FEATURE(VIRTIO_BLK_F_FLUSH_BIT));
	blk_rig_ranges(rig, 0, VIRTIO_BLK_T_WRITE_ZEROES, &range, 1);
	CHECK(answered(rig, 0, VIRTIO_BLK_S_OK));
	CHECK(rig->last.durable);
	blk_rig_ranges(rig, 3, VIRTIO_BLK_T_DISCARD, &range, 1);
	CHECK(answered(rig, 3, VIRTIO_BLK_S_OK));
	CHECK(!rig->last.durable);
	return true;
}
HOLDS(zeroes_are_durable_where_writes_are)

/* The list changes once it was fetched: what was checked is what is done (= DEV-11). */
static bool a_list_that_changes_under_the_device_is_used_as_it_was_checked(void)
{
	static const struct blk_rig_range ranges[] = {{10, 2, 0}, {20, 2, 0}};
	struct blk_rig *rig = fresh(&setups[0]);

	rig->defer = true;
	blk_rig_ranges(rig, 0, VIRTIO_BLK_T_WRITE_ZEROES, ranges, 2);
	CHECK_RESULT(blk_rig_run(rig), VIODMA_EMPTY);
	memset(rig->driver->memory + RIG_DATA(0), 0xff, 32);
	CHECK_EQUAL(rig->pending[0]->offset_bytes + rig->pending[1]->offset_bytes, 30 * 512);
	CHECK_EQUAL(rig->pending[0]->len_bytes, 1024);
	blk_rig_finish(rig, 0, true);
	blk_rig_finish(rig, 0, true);
	CHECK(holds(rig, 10, 2, 0) && holds(rig, 20, 2, 0));
	return true;
}
HOLDS(a_list_that_changes_under_the_device_is_used_as_it_was_checked)

static bool an_operation_by_range_has_no_data(void)
{
	static const struct blk_rig_range range = {0, 4, 0};
	struct blk_rig *rig = fresh(&setups[0]);
	struct viodma_piece piece;
	uint32_t count;
	char byte;

	rig->defer = true;
	blk_rig_ranges(rig, 0, VIRTIO_BLK_T_WRITE_ZEROES, &range, 1);
	CHECK_RESULT(blk_rig_run(rig), VIODMA_EMPTY);
	CHECK_RESULT(viodma_blk_io_pieces(rig->pending[0], 0, 1, &piece, 1, &count), VIODMA_E_INVALID);
	CHECK_RESULT(viodma_blk_io_copy_in(rig->pending[0], 0, &byte, 1), VIODMA_E_INVALID);
	CHECK_RESULT(viodma_blk_io_copy_out(rig->pending[0], 0, &byte, 1), VIODMA_E_INVALID);
	return true;
}
HOLDS(an_operation_by_range_has_no_data)

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
		TEST(a_range_is_one_operation_and_its_neighbours_stay),
		TEST(several_ranges_are_in_flight_at_once_and_have_one_answer),
		TEST(one_range_that_fails_fails_the_request_when_all_have_ended),
		TEST(requests_of_several_heads_do_not_share_operations),
		TEST(a_range_of_no_sectors_has_nothing_to_be_done),
		WITH_MUTANT(sectors_beyond_the_end_are_refused_and_nothing_of_the_request_happens),
		WITH_MUTANT(a_range_longer_than_stated_is_refused),
		WITH_MUTANT(more_ranges_than_stated_are_refused),
		WITH_MUTANT(a_list_that_is_not_whole_ranges_is_refused),
		WITH_MUTANT(a_list_of_ranges_has_nothing_to_be_written_into),
		WITH_MUTANT(an_unknown_flag_is_unsupported_whatever_else_is_wrong),
		WITH_MUTANT(unmap_is_for_write_zeroes_alone),
		TEST(what_was_not_accepted_is_unsupported),
		TEST(a_read_only_disk_has_nothing_of_it_whatever_was_accepted),
		TEST(zeroes_are_durable_where_writes_are),
		TEST(a_list_that_changes_under_the_device_is_used_as_it_was_checked),
		TEST(an_operation_by_range_has_no_data),
	};

	return cmocka_run_group_tests_name("blk_ranges", tests, NULL, no_rig);
}
