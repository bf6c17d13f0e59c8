/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_blk_config.c - virtio-blk, device half: what is offered, the configuration space, the cache mode, lifetime, and
 * several queues.
 */
#include "tests/support/blk_rig.h"
#include "tests/support/check.h"

#include <viodma/feature.h>

#define BIT(name) VIODMA_FEATURE(VIRTIO_BLK_F_##name##_BIT)

static const struct test_options setup = {.size = 32, .platform = true, .scatter = true};
static struct blk_rig *current;
static struct viodma_blk_lifetime worn;
static bool lifetime_known;

static struct blk_rig *fresh(const struct viodma_blk_config *config)
{
	blk_rig_free(current);
	current = blk_rig_new(&setup, config);
	return current;
}

static struct viodma_blk_config everything(void)
{
	struct viodma_blk_config config;

	blk_rig_default_config(&config);
	config.queue_count = 5;
	config.physical_block_exp = 3;
	config.alignment_offset = 1;
	config.min_io_blocks = 0x0203;
	config.opt_io_blocks = 0x04050607;
	config.discard = (struct viodma_blk_range_limits){0x11121314, 1, 0x15161718};
	config.write_zeroes = (struct viodma_blk_range_limits){0x21222324, 2, 0};
	config.secure_erase = (struct viodma_blk_range_limits){0x31323334, 4, 0x35363738};
	config.write_zeroes_may_unmap = true;
	return config;
}

static uint32_t field(const struct viodma_blk *blk, uint32_t offset, uint32_t bytes)
{
	unsigned char raw[4] = {0};

	viodma_blk_read_config(blk, offset, raw, bytes);
	return raw[0] | (uint32_t)raw[1] << 8 | (uint32_t)raw[2] << 16 | (uint32_t)raw[3] << 24;
}

static bool every_field_stands_where_the_standard_has_it(void)
{
	static const struct {
		uint32_t offset, bytes, value;
	} fields[] = {
		{24, 1, 3}, {25, 1, 1}, {26, 2, 0x0203}, {28, 4, 0x04050607},        /* topology */
		{32, 1, 1}, {33, 1, 0}, {34, 2, 5},                                 /* writeback, unused, queues */
		{36, 4, 0x11121314}, {40, 4, 1}, {44, 4, 0x15161718},               /* discard */
		{48, 4, 0x21222324}, {52, 4, 2}, {56, 1, 1}, {57, 3, 0},            /* write zeroes, unused */
		{60, 4, 0x31323334}, {64, 4, 4}, {68, 4, 0x35363738},               /* secure erase */
	};
	struct viodma_blk_config config = everything();
	struct viodma_blk *blk = &fresh(&config)->blk;

	for (unsigned i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		CHECK_EQUAL(field(blk, fields[i].offset, fields[i].bytes), fields[i].value);
	return true;
}
HOLDS(every_field_stands_where_the_standard_has_it)

static bool what_is_not_there_is_neither_offered_nor_described(void)
{
	struct viodma_blk_config config = everything(), plain;
	struct viodma_blk *blk = &fresh(&config)->blk;
	const uint64_t optional = BIT(TOPOLOGY) | BIT(MQ) | BIT(DISCARD) | BIT(WRITE_ZEROES) | BIT(SECURE_ERASE);
	uint32_t at;

	CHECK_EQUAL(viodma_blk_features(blk) & optional, optional);
	blk_rig_default_config(&plain);
	plain.queue_count = 1;
	plain.discard.max_ranges = plain.write_zeroes.max_ranges = plain.secure_erase.max_ranges = 64;
	plain.write_zeroes_may_unmap = true;
	blk = &fresh(&plain)->blk;
	CHECK_EQUAL(viodma_blk_features(blk) & (optional | BIT(LIFETIME) | BIT(ZONED) | BIT(GEOMETRY)), 0);
	CHECK_EQUAL(field(blk, 34, 2), 1);
	for (at = 36; at < VIODMA_BLK_CONFIG_BYTES; at++)
		CHECK_EQUAL(field(blk, at, 1), 0);
	return true;
}
HOLDS(what_is_not_there_is_neither_offered_nor_described)

static bool limits_out_of_range_are_refused(void)
{
	struct viodma_blk_config config;
	struct viodma_blk_ops ops = fresh(NULL)->blk.ops;
	struct viodma_blk_io ios[12];
	struct viodma_blk blk;

	blk_rig_default_config(&config);
	config.discard = (struct viodma_blk_range_limits){1, 0, 0};
	CHECK_RESULT(viodma_blk_init(&blk, &config, &ops, ios, 12), VIODMA_E_INVALID);
	config.discard.max_ranges = VIODMA_BLK_RANGES_MAX + 1;
	CHECK_RESULT(viodma_blk_init(&blk, &config, &ops, ios, 12), VIODMA_E_INVALID);
	config.discard.max_ranges = 3;
	config.queue_count = 4;
	CHECK_EQUAL(viodma_blk_ios_per_head(&config), 3);
	CHECK_RESULT(viodma_blk_init(&blk, &config, &ops, ios, 11), VIODMA_E_INVALID); /* not one head for each */
	CHECK_RESULT(viodma_blk_init(&blk, &config, &ops, ios, 12), VIODMA_OK);
	config.lifetime = true; /* and nobody to ask */
	CHECK_RESULT(viodma_blk_init(&blk, &config, &ops, ios, 12), VIODMA_E_INVALID);
	return true;
}
HOLDS(limits_out_of_range_are_refused)

/* ---- the cache mode ---- */

static bool a_write_is_durable(struct blk_rig *rig)
{
	static unsigned head;

	head = (head + 3) % 30;
	blk_rig_request(rig, head, VIRTIO_BLK_T_OUT, 0, 512, false);
	return blk_rig_run(rig) == VIODMA_EMPTY && blk_rig_status(rig, head) == VIRTIO_BLK_S_OK && rig->last.durable;
}

static bool write_mode(struct blk_rig *rig, uint8_t mode)
{
	CHECK_RESULT(viodma_blk_write_config(&rig->blk, 32, &mode, 1), VIODMA_OK);
	CHECK_EQUAL(field(&rig->blk, 32, 1), mode != 0);
	return true;
}

static bool the_driver_switches_the_cache_mode(void)
{
	struct blk_rig *rig = fresh(NULL);

	CHECK(viodma_blk_features(&rig->blk) & BIT(CONFIG_WCE));
	CHECK_EQUAL(field(&rig->blk, 32, 1), 1);
	CHECK(!a_write_is_durable(rig));
	CHECK(write_mode(rig, 0));
	CHECK(a_write_is_durable(rig));
	CHECK(write_mode(rig, 1));
	CHECK(!a_write_is_durable(rig));
	CHECK(write_mode(rig, 2)); /* anything but 0 */
	CHECK(!a_write_is_durable(rig));
	return true;
}
HOLDS(the_driver_switches_the_cache_mode)

static bool nothing_else_of_the_configuration_can_be_written(void)
{
	struct blk_rig *rig = fresh(NULL);
	uint64_t zero = 0;
	uint32_t at;

	for (at = 0; at < 80; at++)
		if (at != 32)
			CHECK_RESULT(viodma_blk_write_config(&rig->blk, at, &zero, 1), VIODMA_E_INVALID);
	CHECK_RESULT(viodma_blk_write_config(&rig->blk, 32, &zero, 2), VIODMA_E_INVALID);
	CHECK_RESULT(viodma_blk_write_config(&rig->blk, 32, &zero, 0), VIODMA_E_INVALID);
	CHECK_RESULT(viodma_blk_write_config(&rig->blk, UINT32_MAX, &zero, 1), VIODMA_E_INVALID);
	CHECK(!a_write_is_durable(rig));
	return true;
}
HOLDS(nothing_else_of_the_configuration_can_be_written)

static bool without_a_flush_writes_are_durable_and_the_mode_says_so(void)
{
	struct blk_rig *rig = fresh(NULL);

	viodma_blk_set_accepted(&rig->blk, BIT(CONFIG_WCE));
	CHECK_EQUAL(field(&rig->blk, 32, 1), 0);
	CHECK(a_write_is_durable(rig));
	viodma_blk_set_accepted(&rig->blk, 0);
	CHECK(a_write_is_durable(rig));
	return true;
}
HOLDS(without_a_flush_writes_are_durable_and_the_mode_says_so)

static bool without_the_switch_accepted_the_mode_is_the_one_it_started_in(void)
{
	struct viodma_blk_config config;
	struct blk_rig *rig;
	uint8_t other = 0;

	blk_rig_default_config(&config);
	rig = fresh(&config);
	viodma_blk_set_accepted(&rig->blk, BIT(FLUSH));
	CHECK_RESULT(viodma_blk_write_config(&rig->blk, 32, &other, 1), VIODMA_OK);
	CHECK(!a_write_is_durable(rig));
	viodma_blk_set_accepted(&rig->blk, BIT(FLUSH) | BIT(CONFIG_WCE)); /* said afterwards */
	CHECK(a_write_is_durable(rig));
	config.starts_write_through = true;
	rig = fresh(&config);
	CHECK_EQUAL(field(&rig->blk, 32, 1), 0);
	CHECK(a_write_is_durable(rig));
	viodma_blk_set_accepted(&rig->blk, BIT(FLUSH));
	other = 1;
	CHECK_RESULT(viodma_blk_write_config(&rig->blk, 32, &other, 1), VIODMA_OK);
	CHECK(a_write_is_durable(rig));
	return true;
}
HOLDS(without_the_switch_accepted_the_mode_is_the_one_it_started_in)

static bool a_reset_makes_no_write_less_durable(void)
{
	struct viodma_blk_config config;
	struct blk_rig *rig;

	blk_rig_default_config(&config);
	rig = fresh(&config);
	CHECK(write_mode(rig, 0));
	viodma_blk_reset(&rig->blk);
	CHECK_EQUAL(field(&rig->blk, 32, 1), 0);
	CHECK(a_write_is_durable(rig));
	config.starts_write_through = true;
	rig = fresh(&config);
	CHECK(write_mode(rig, 1));
	CHECK(!a_write_is_durable(rig));
	viodma_blk_reset(&rig->blk);
	CHECK_EQUAL(field(&rig->blk, 32, 1), 0);
	CHECK(a_write_is_durable(rig));
	return true;
}
HOLDS(a_reset_makes_no_write_less_durable)

static bool another_size_holds_from_the_next_request_on(void)
{
	struct blk_rig *rig = fresh(NULL);

	CHECK_RESULT(viodma_blk_resize(&rig->blk, 1000), VIODMA_E_INVALID);
	CHECK_RESULT(viodma_blk_resize(&rig->blk, 8 * 512), VIODMA_OK);
	CHECK_EQUAL(field(&rig->blk, 0, 4), 8);
	blk_rig_request(rig, 0, VIRTIO_BLK_T_IN, 8, 512, true);
	blk_rig_request(rig, 3, VIRTIO_BLK_T_IN, 7, 512, true);
	CHECK_RESULT(blk_rig_run(rig), VIODMA_EMPTY);
	CHECK_EQUAL(blk_rig_status(rig, 0), VIRTIO_BLK_S_IOERR);
	CHECK_EQUAL(blk_rig_status(rig, 3), VIRTIO_BLK_S_OK);
	return true;
}
HOLDS(another_size_holds_from_the_next_request_on)

/* ---- lifetime ---- */

static bool on_lifetime(void *context, struct viodma_blk_lifetime *lifetime)
{
	(void)context;
	*lifetime = worn;
	return lifetime_known;
}

static struct blk_rig *with_lifetime(void)
{
	struct blk_rig *rig = fresh(NULL);

	rig->blk.ops.lifetime = on_lifetime;
	rig->blk.config.lifetime = true;
	viodma_blk_set_accepted(&rig->blk, viodma_blk_features(&rig->blk));
	lifetime_known = true;
	test_fill(rig->driver, RIG_DATA(0), 64, 4);
	return rig;
}

static bool the_lifetime_is_what_the_storage_says(void)
{
	static const unsigned char wanted[] = {2, 0, 10, 0, 11, 0};
	struct blk_rig *rig = with_lifetime();

	CHECK(viodma_blk_features(&rig->blk) & BIT(LIFETIME));
	worn = (struct viodma_blk_lifetime){2, 10, 11};
	blk_rig_request(rig, 0, VIRTIO_BLK_T_GET_LIFETIME, 0, 6, true);
	CHECK_RESULT(blk_rig_run(rig), VIODMA_EMPTY);
	CHECK_EQUAL(blk_rig_status(rig, 0), VIRTIO_BLK_S_OK);
	CHECK(memcmp(rig->driver->memory + RIG_DATA(0), wanted, 6) == 0);
	CHECK(test_filled(rig->driver, RIG_DATA(0) + 6, 58, 4));
	CHECK_EQUAL(rig->blk.statistics.lifetime, 1);
	CHECK_EQUAL(rig->submitted, 0);
	return true;
}
HOLDS(the_lifetime_is_what_the_storage_says)

static bool reserved_values_of_the_lifetime_do_not_reach_the_driver(void)
{
	static const unsigned char wanted[6] = {0};
	struct blk_rig *rig = with_lifetime();

	worn = (struct viodma_blk_lifetime){4, 12, 0xffff};
	blk_rig_request(rig, 0, VIRTIO_BLK_T_GET_LIFETIME, 0, 6, true);
	CHECK_RESULT(blk_rig_run(rig), VIODMA_EMPTY);
	CHECK(memcmp(rig->driver->memory + RIG_DATA(0), wanted, 6) == 0);
	return true;
}
HOLDS(reserved_values_of_the_lifetime_do_not_reach_the_driver)

static bool a_lifetime_nobody_knows_is_an_error_and_one_not_accepted_unsupported(void)
{
	struct blk_rig *rig = with_lifetime();

	lifetime_known = false;
	blk_rig_request(rig, 0, VIRTIO_BLK_T_GET_LIFETIME, 0, 6, true);
	CHECK_RESULT(blk_rig_run(rig), VIODMA_EMPTY);
	CHECK_EQUAL(blk_rig_status(rig, 0), VIRTIO_BLK_S_IOERR);
	CHECK(test_filled(rig->driver, RIG_DATA(0), 64, 4));
	rig = with_lifetime();
	viodma_blk_set_accepted(&rig->blk, BIT(FLUSH));
	blk_rig_request(rig, 0, VIRTIO_BLK_T_GET_LIFETIME, 0, 6, true);
	CHECK_RESULT(blk_rig_run(rig), VIODMA_EMPTY);
	CHECK_EQUAL(blk_rig_status(rig, 0), VIRTIO_BLK_S_UNSUPP);
	return true;
}
HOLDS(a_lifetime_nobody_knows_is_an_error_and_one_not_accepted_unsupported)

static bool a_lifetime_without_room_for_it_is_refused(void)
{
	static const uint32_t lengths[] = {0, 1, 5};
	size_t i;

	for (i = 0; i < 3; i++) {
		struct blk_rig *rig = with_lifetime();

		blk_rig_request(rig, 0, VIRTIO_BLK_T_GET_LIFETIME, 0, lengths[i], true);
		CHECK_RESULT(blk_rig_run(rig), VIODMA_EMPTY);
		CHECK_EQUAL(blk_rig_status(rig, 0), VIRTIO_BLK_S_IOERR);
		CHECK_EQUAL(rig->refused, 1);
	}
	return true;
}
BEHAVIOUR(a_lifetime_without_room_for_it_is_refused, "DRV-18")

/* ---- several queues ---- */

static bool a_head_of_each_queue_has_operations_of_its_own(void)
{
	struct viodma_blk_config config;
	struct blk_rig *rig;
	struct viodma_blk_io *first;

	blk_rig_default_config(&config);
	config.queue_count = 2;
	rig = fresh(&config);
	rig->driver->queue.config.index = 0;
	rig->defer = true;
	blk_rig_request(rig, 0, VIRTIO_BLK_T_FLUSH, 0, 0, false);
	CHECK_RESULT(blk_rig_run(rig), VIODMA_EMPTY);
	CHECK_EQUAL(rig->pending_count, 1);
	first = rig->pending[0];
	rig->driver->queue.config.index = 1; /* as if it were the other one */
	blk_rig_request(rig, 3, VIRTIO_BLK_T_FLUSH, 0, 0, false);
	CHECK_RESULT(blk_rig_run(rig), VIODMA_EMPTY);
	CHECK_EQUAL(rig->pending_count, 2);
	CHECK_EQUAL(rig->pending[1] - rig->ios, 128 + 3);
	CHECK(first == rig->pending[0]);
	rig->driver->queue.config.index = 0;
	blk_rig_finish(rig, 0, true);
	rig->driver->queue.config.index = 1;
	blk_rig_finish(rig, 0, true);
	/* A queue that the device does not have. */
	rig->driver->queue.config.index = 2;
	blk_rig_request(rig, 6, VIRTIO_BLK_T_FLUSH, 0, 0, false);
	CHECK_RESULT(blk_rig_run(rig), VIODMA_EMPTY);
	CHECK_EQUAL(blk_rig_status(rig, 6), VIRTIO_BLK_S_IOERR);
	return true;
}
HOLDS(a_head_of_each_queue_has_operations_of_its_own)

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
		TEST(every_field_stands_where_the_standard_has_it),
		TEST(what_is_not_there_is_neither_offered_nor_described),
		TEST(limits_out_of_range_are_refused),
		TEST(the_driver_switches_the_cache_mode),
		TEST(nothing_else_of_the_configuration_can_be_written),
		TEST(without_a_flush_writes_are_durable_and_the_mode_says_so),
		TEST(without_the_switch_accepted_the_mode_is_the_one_it_started_in),
		TEST(a_reset_makes_no_write_less_durable),
		TEST(another_size_holds_from_the_next_request_on),
		TEST(the_lifetime_is_what_the_storage_says),
		TEST(reserved_values_of_the_lifetime_do_not_reach_the_driver),
		TEST(a_lifetime_nobody_knows_is_an_error_and_one_not_accepted_unsupported),
		WITH_MUTANT(a_lifetime_without_room_for_it_is_refused),
		TEST(a_head_of_each_queue_has_operations_of_its_own),
	};

	return cmocka_run_group_tests_name("blk_config", tests, NULL, no_rig);
}
