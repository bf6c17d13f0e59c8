/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_driver_queue.c - a virtqueue, driver half, with a device that keeps to the rules. (One that does not:
 * test_driver_queue_peer.c. Who is told of what: test_driver_queue_notify.c. Over packed rings: test_driver_queue_packed.c.)
 *
 * How it works: see tests/support/test_device.h; the device's side of the ring is played by hand, so that each of its
 * words is seen. Most behaviours run over every kind of domain.
 */
#include "tests/support/check.h"
#include "tests/support/hooks.h"
#include "tests/support/driver_queue_rig.h"

static bool came_back(struct viodma_driver_queue *queue, void *token, uint64_t written)
{
	struct viodma_driver_completion completion;

	CHECK_RESULT(viodma_driver_queue_get(queue, &completion), VIODMA_OK);
	CHECK(completion.token == token);
	CHECK_EQUAL(completion.written_bytes, written);
	return true;
}

/* ---- chains ---- */

static bool carried(enum test_kind kind, uint32_t tables)
{
	const struct test_device_options options = {
		.kind = kind, .tables = tables, .table_descriptors = tables ? 8 : 0};
	struct test_device *device = with_queue(&options);
	struct test_device_queue *queue = &device->queues[0];
	const struct viodma_buffer readable[2] = {test_buffer(0x1234, 100), test_buffer(0x5000, 700)};
	const struct viodma_buffer writable[1] = {test_buffer(0x20010, 300)};
	struct viodma_mapping to, from;
	struct viodma_segment segments[8];
	struct test_chain chain;
	unsigned char seen[1024];
	uint32_t i, at = 0;

	memset(device->private_memory + 0x1234, 'a', 100);
	memset(device->private_memory + 0x5000, 'b', 700);
	CHECK_RESULT(viodma_driver_queue_map_and_add(&queue->driver, &to, readable, 2, &from, writable, 1, segments, 8,
						     tokens),
		     VIODMA_OK);
	CHECK(!test_device_take(queue, &chain)); /* not yet */
	viodma_driver_queue_publish(&queue->driver);
	CHECK(test_device_take(queue, &chain));
	CHECK_EQUAL(chain.readable_bytes, 800);
	CHECK_EQUAL(chain.writable_bytes, 300);
	for (i = 0; i < chain.readable; i++) {
		memcpy(seen + at, chain.part[i].memory, chain.part[i].len_bytes);
		at += chain.part[i].len_bytes;
	}
	for (i = 0; i < 800; i++)
		CHECK_EQUAL(seen[i], i < 100 ? 'a' : 'b');
	memset(chain.part[chain.readable].memory, 'c', 200);
	CHECK_EQUAL(queue->driver.free_descriptors, options.tables ? 15u : 16u - chain.count);
	CHECK_EQUAL(queue->driver.statistics.indirect, options.tables ? 1 : 0);
	test_device_put_used(queue, chain.head, 200);
	CHECK(came_back(&queue->driver, tokens, 200));
	CHECK_RESULT(viodma_domain_unmap(&to, 0), VIODMA_OK);
	CHECK_RESULT(viodma_domain_unmap(&from, 200), VIODMA_OK);
	for (i = 0; i < 300; i++)
		CHECK_EQUAL(device->private_memory[0x20010 + i], i < 200 ? 'c' : 0x5a);
	CHECK_EQUAL(queue->driver.free_descriptors, 16);
	CHECK_EQUAL(device->faults, 0);
	CHECK_RESULT(test_device_end(device), VIODMA_OK);
	CHECK(test_device_idle(device));
	return true;
}

static bool a_chain_reaches_the_device_as_it_was_said_and_comes_back(void)
{
	int kind;

	for (kind = 0; kind < TEST_KINDS; kind++) {
		CHECK(carried((enum test_kind)kind, 0));
		CHECK(carried((enum test_kind)kind, 4));
	}
	return true;
}
HOLDS(a_chain_reaches_the_device_as_it_was_said_and_comes_back)

static bool all_that_was_added_is_shown_in_one_step(void)
{
	struct test_device *device = of_kind(TEST_DIRECT);
	struct test_device_queue *queue = &device->queues[0];
	struct viodma_driver_completion completions[8];
	struct test_chain chain;
	uint32_t i, count;

	for (i = 0; i < 5; i++)
		CHECK(add_one(&queue->driver, &tokens[i]));
	CHECK_EQUAL(test_device_shown(queue), 0);
	viodma_driver_queue_publish(&queue->driver);
	CHECK_EQUAL(test_device_shown(queue), 5);
	CHECK_EQUAL(queue->driver.out, 5);
	for (i = 0; i < 5; i++) {
		CHECK(test_device_take(queue, &chain));
		test_device_put_used(queue, chain.head, i);
	}
	CHECK_RESULT(viodma_driver_queue_get_batch(&queue->driver, completions, 3, &count), VIODMA_OK);
	CHECK_EQUAL(count, 3);
	CHECK_RESULT(viodma_driver_queue_get_batch(&queue->driver, completions + 3, 5, &count), VIODMA_OK);
	CHECK_EQUAL(count, 2);
	for (i = 0; i < 5; i++) {
		CHECK(completions[i].token == &tokens[i]);
		CHECK_EQUAL(completions[i].written_bytes, i);
	}
	CHECK_RESULT(viodma_driver_queue_get_batch(&queue->driver, completions, 8, &count), VIODMA_EMPTY);
	CHECK_EQUAL(count, 0);
	CHECK_EQUAL(queue->driver.out, 0);
	return true;
}
HOLDS(all_that_was_added_is_shown_in_one_step)

/* A ring of 8 descriptors, 200,000 requests, used in any order, until indexes have turned over three times. */
static bool tokens_come_back_in_any_order_for_ever(void)
{
	const struct test_device_options options = {.size = 8, .tables = 2, .table_descriptors = 4};
	struct test_device *device = with_queue(&options);
	struct test_device_queue *queue = &device->queues[0];
	struct check_random random = {.state = 7};
	struct test_chain chains[8];
	uint32_t held = 0, next = 0, back = 0, i;
	bool out[64] = {false};

	while (back < 200000) {
		const struct viodma_segment segments[4] = {segment(0, 1 + next % 64, VIODMA_READ),
							   segment(1, 5, VIODMA_READ), segment(2, 6, VIODMA_WRITE),
							   segment(3, 64, VIODMA_WRITE)};
		uint32_t first = (uint32_t)check_below(&random, 3), count = 4 - first;
		struct viodma_driver_completion completion;

		while (out[next % 64])
			next++;
		if (viodma_driver_queue_has_room(&queue->driver, count)) {
			CHECK_RESULT(
				viodma_driver_queue_add(&queue->driver, segments + first, count, &tokens[next % 64]),
				VIODMA_OK);
			out[next % 64] = true;
			next++;
		} else {
			CHECK_RESULT(viodma_driver_queue_add(&queue->driver, segments + first, count, tokens),
				     VIODMA_E_NO_SPACE);
		}
		if (check_below(&random, 2))
			viodma_driver_queue_publish(&queue->driver);
		while (held < 8 && test_device_take(queue, &chains[held]))
			held++;
		while (held && check_below(&random, 3)) {
			i = (uint32_t)check_below(&random, held);
			test_device_put_used(queue, chains[i].head, (uint32_t)chains[i].writable_bytes);
			chains[i] = chains[--held];
		}
		while (viodma_driver_queue_get(&queue->driver, &completion) == VIODMA_OK) {
			i = (uint32_t)((int *)completion.token - tokens);
			CHECK(i < 64 && out[i]);
			CHECK_EQUAL(completion.written_bytes, 70);
			out[i] = false;
			back++;
		}
		CHECK_RESULT(queue->driver.broken, VIODMA_OK);
	}
	CHECK_EQUAL(device->faults, 0);
	CHECK(queue->driver.statistics.indirect > 1000);
	return true;
}
HOLDS(tokens_come_back_in_any_order_for_ever)

static bool a_full_ring_says_so_and_has_room_again_afterwards(void)
{
	struct test_device *device = of_kind(TEST_DIRECT);
	struct test_device_queue *queue = &device->queues[0];
	const struct viodma_segment one = segment(0, 8, VIODMA_READ);
	struct test_chain chain;
	unsigned i;

	for (i = 0; i < 8; i++)
		CHECK(add_one(&queue->driver, &tokens[i]));
	CHECK_RESULT(viodma_driver_queue_add(&queue->driver, &one, 1, tokens), VIODMA_E_NO_SPACE);
	CHECK(!viodma_driver_queue_has_room(&queue->driver, 1));
	viodma_driver_queue_publish(&queue->driver);
	CHECK_EQUAL(test_device_shown(queue), 8);
	CHECK(test_device_take(queue, &chain));
	test_device_put_used(queue, chain.head, 0);
	CHECK(came_back(&queue->driver, &tokens[0], 0));
	CHECK(viodma_driver_queue_has_room(&queue->driver, 2));
	CHECK(!viodma_driver_queue_has_room(&queue->driver, 3));
	CHECK(add_one(&queue->driver, &tokens[8]));
	return true;
}
HOLDS(a_full_ring_says_so_and_has_room_again_afterwards)

/* ---- what is not added ---- */

static bool nothing_was_added(struct test_device_queue *queue)
{
	CHECK_EQUAL(queue->driver.free_descriptors, 16);
	CHECK_EQUAL(queue->driver.out, 0);
	viodma_driver_queue_publish(&queue->driver);
	CHECK_EQUAL(test_device_shown(queue), 0);
	return true;
}

static bool a_chain_longer_than_the_ring_is_refused_for_good(void)
{
	struct test_device_queue *queue = &of_kind(TEST_DIRECT)->queues[0];
	struct viodma_segment segments[17];
	unsigned i;

	for (i = 0; i < 17; i++)
		segments[i] = segment(i, 1, VIODMA_READ);
	CHECK_RESULT(viodma_driver_queue_add(&queue->driver, segments, 17, tokens), VIODMA_E_LIMIT);
	CHECK(nothing_was_added(queue));
	CHECK_RESULT(viodma_driver_queue_add(&queue->driver, segments, 16, tokens), VIODMA_OK);
	return true;
}
BEHAVIOUR(a_chain_longer_than_the_ring_is_refused_for_good, "DRV-12")

static bool a_chain_of_more_than_4_gibibytes_is_refused(void)
{
	struct test_device_queue *queue = &of_kind(TEST_DIRECT)->queues[0];
	const struct viodma_segment segments[3] = {segment(0, UINT32_MAX, VIODMA_READ), segment(1, 1, VIODMA_WRITE),
						   segment(2, 1, VIODMA_WRITE)};

	CHECK_RESULT(viodma_driver_queue_add(&queue->driver, segments, 3, tokens), VIODMA_E_INVALID);
	CHECK(nothing_was_added(queue));
	CHECK_RESULT(viodma_driver_queue_add(&queue->driver, segments, 2, tokens), VIODMA_OK);
	return true;
}
BEHAVIOUR(a_chain_of_more_than_4_gibibytes_is_refused, "DRV-12")

static bool a_readable_segment_after_a_writable_one_is_refused(void)
{
	struct test_device_queue *queue = &of_kind(TEST_DIRECT)->queues[0];
	const struct viodma_segment segments[3] = {segment(0, 4, VIODMA_READ), segment(1, 4, VIODMA_WRITE),
						   segment(2, 4, VIODMA_READ)};

	CHECK_RESULT(viodma_driver_queue_add(&queue->driver, segments, 3, tokens), VIODMA_E_INVALID);
	CHECK(nothing_was_added(queue));
	return true;
}
BEHAVIOUR(a_readable_segment_after_a_writable_one_is_refused, "DRV-13")

static bool an_empty_segment_is_refused(void)
{
	struct test_device_queue *queue = &of_kind(TEST_DIRECT)->queues[0];
	const struct viodma_segment segments[2] = {segment(0, 4, VIODMA_READ), segment(1, 0, VIODMA_READ)};

	CHECK_RESULT(viodma_driver_queue_add(&queue->driver, segments, 2, tokens), VIODMA_E_INVALID);
	CHECK(nothing_was_added(queue));
	return true;
}
BEHAVIOUR(an_empty_segment_is_refused, "DRV-15")

static bool a_segment_that_wraps_is_refused(void)
{
	struct test_device_queue *queue = &of_kind(TEST_DIRECT)->queues[0];
	struct viodma_segment last = {.bus = {UINT64_MAX - 3}, .len_bytes = 5, .permission = VIODMA_READ};

	CHECK_RESULT(viodma_driver_queue_add(&queue->driver, &last, 1, tokens), VIODMA_E_INVALID);
	CHECK(nothing_was_added(queue));
	last.len_bytes = 4; /* to the last byte of all */
	CHECK_RESULT(viodma_driver_queue_add(&queue->driver, &last, 1, tokens), VIODMA_OK);
	return true;
}
BEHAVIOUR(a_segment_that_wraps_is_refused, "DRV-15")

static bool nothing_nobody_and_both_directions_are_refused(void)
{
	struct test_device_queue *queue = &of_kind(TEST_DIRECT)->queues[0];
	const struct viodma_segment both = segment(0, 4, VIODMA_READ_WRITE), none = segment(0, 4, VIODMA_NO_ACCESS);
	const struct viodma_segment good = segment(0, 4, VIODMA_READ);

	CHECK_RESULT(viodma_driver_queue_add(&queue->driver, &good, 0, tokens), VIODMA_E_INVALID);
	CHECK_RESULT(viodma_driver_queue_add(&queue->driver, &good, 1, NULL), VIODMA_E_INVALID);
	CHECK_RESULT(viodma_driver_queue_add(&queue->driver, &both, 1, tokens), VIODMA_E_INVALID);
	CHECK_RESULT(viodma_driver_queue_add(&queue->driver, &none, 1, tokens), VIODMA_E_INVALID);
	CHECK(nothing_was_added(queue));
	return true;
}
HOLDS(nothing_nobody_and_both_directions_are_refused)

/* ---- tables ---- */

static bool a_chain_in_a_table_takes_one_descriptor_and_the_ring_serves_when_tables_are_out(void)
{
	const struct test_device_options options = {.size = 8, .tables = 3, .table_descriptors = 6};
	struct test_device_queue *queue = &with_queue(&options)->queues[0];
	const struct viodma_segment segments[7] = {segment(0, 1, VIODMA_READ),  segment(1, 2, VIODMA_READ),
						   segment(2, 3, VIODMA_READ),  segment(3, 4, VIODMA_READ),
						   segment(4, 5, VIODMA_WRITE), segment(5, 6, VIODMA_WRITE),
						   segment(6, 7, VIODMA_WRITE)};
	struct test_chain chain;
	unsigned i, k;

	CHECK(viodma_driver_queue_has_room(&queue->driver, 7));
	for (i = 0; i < 3; i++)
		CHECK_RESULT(viodma_driver_queue_add(&queue->driver, segments, 6, &tokens[i]), VIODMA_OK);
	CHECK_EQUAL(queue->driver.free_descriptors, 5);
	CHECK(!viodma_driver_queue_has_room(&queue->driver, 6));
	CHECK_RESULT(viodma_driver_queue_add(&queue->driver, segments, 6, &tokens[3]), VIODMA_E_NO_SPACE);
	CHECK_RESULT(viodma_driver_queue_add(&queue->driver, segments, 5, &tokens[3]), VIODMA_OK);
	CHECK_EQUAL(queue->driver.free_descriptors, 0);
	viodma_driver_queue_publish(&queue->driver);
	for (i = 0; i < 4; i++) {
		CHECK(test_device_take(queue, &chain));
		CHECK_EQUAL(chain.count, i < 3 ? 6 : 5);
		for (k = 0; k < chain.count; k++)
			CHECK_EQUAL(chain.part[k].len_bytes, k + 1);
		test_device_put_used(queue, chain.head, (uint32_t)chain.writable_bytes);
		CHECK(came_back(&queue->driver, &tokens[i], chain.writable_bytes));
	}
	CHECK_EQUAL(queue->driver.free_descriptors, 8);
	/* Longer than a table: the ring. One segment: no table. */
	CHECK_RESULT(viodma_driver_queue_add(&queue->driver, segments, 7, &tokens[0]), VIODMA_OK);
	CHECK_RESULT(viodma_driver_queue_add(&queue->driver, segments, 1, &tokens[1]), VIODMA_OK);
	CHECK_EQUAL(queue->driver.free_descriptors, 0);
	CHECK_EQUAL(queue->driver.statistics.indirect, 3);
	return true;
}
HOLDS(a_chain_in_a_table_takes_one_descriptor_and_the_ring_serves_when_tables_are_out)

static bool without_the_feature_no_table_is_used(void)
{
	const struct test_device_options options = {.tables = 4, .table_descriptors = 8};
	struct test_device *device = fresh(&options);
	struct test_device_queue *queue = &device->queues[0];

	device->offered &= ~VIODMA_FEATURE(VIRTIO_F_INDIRECT_DESC_BIT);
	CHECK_RESULT(test_device_negotiate(device, viodma_driver_blk_wanted()), VIODMA_OK);
	CHECK_RESULT(test_device_make_domain(device), VIODMA_OK);
	CHECK_RESULT(test_device_make_queue(device, 0), VIODMA_OK);
	CHECK(add_one(&queue->driver, tokens));
	CHECK_EQUAL(queue->driver.free_descriptors, 14);
	CHECK(!viodma_driver_queue_has_room(&queue->driver, 15));
	return true;
}
HOLDS(without_the_feature_no_table_is_used)

/* ---- what is read ---- */

/*
 * = DRV-21: whoever writes the driver's own part of the ring confuses the device, not the driver. What the driver reads is
 * the used ring; packed, length, id and flags of a descriptor that is used, and the device's events.
 */
static struct test_device_queue *watched;
static unsigned looked_back;

static bool within(const void *at, size_t bytes, const struct viodma_shared *from, size_t len)
{
	const unsigned char *first = (const unsigned char *)from, *byte = at;

	return byte >= first && byte + bytes <= first + len;
}

static void watch(const void *at, size_t bytes)
{
	const struct viodma_driver_queue *driver = &watched->driver;

	if (within(at, bytes, driver->used, watched->setup.packed ? 4 : VIRTQ_USED_BYTES(16)))
		return;
	if (watched->setup.packed && bytes <= 4 &&
	    within(at, bytes, viodma_shared_at(driver->desc, 16u * driver->used_idx + 8), 8))
		return;
	looked_back++;
}

/* All of it, tables too; but for what the test goes on with: the available index; flags, packed. */
static void scribble(struct viodma_driver_queue *driver)
{
	unsigned place;

	memset(driver->table_blocks[0].memory, 0xff, 128);
	if (!driver->packed) {
		memset(driver->desc, 0xff, VIRTQ_DESC_BYTES(16));
		memset((unsigned char *)driver->avail + 4, 0xff, VIRTQ_AVAIL_BYTES(16) - 4);
		return;
	}
	memset(driver->avail, 0xff, 2);
	for (place = 0; place < 16; place++)
		memset((unsigned char *)driver->desc + 16 * place, 0xff, 14);
}

static bool ring_memory_is_never_read_back(void)
{
	const struct test_device_options options = {.tables = 2, .table_descriptors = 4, .event_idx = true};
	struct test_device *device = with_queue(&options);
	struct test_device_queue *queue = &device->queues[0];
	unsigned round, i;

	watched = queue;
	looked_back = 0;
	viodma_shared_read_hook_fn = watch;
	for (round = 0; round < 40; round++) {
		uint16_t heads[5];
		struct test_chain chain;

		for (i = 0; i < 5; i++)
			CHECK(add_one(&queue->driver, &tokens[i]));
		viodma_driver_queue_publish(&queue->driver);
		(void)viodma_driver_queue_kick_needed(&queue->driver);
		for (i = 0; i < 5; i++) {
			CHECK(test_device_take(queue, &chain));
			heads[i] = chain.head;
		}
		scribble(&queue->driver);
		for (i = 0; i < 5; i++)
			test_device_put_used(queue, heads[4 - i], 7);
		for (i = 0; i < 5; i++)
			CHECK(came_back(&queue->driver, &tokens[4 - i], 7));
		CHECK(!viodma_driver_queue_want_call(&queue->driver));
	}
	viodma_shared_read_hook_fn = NULL;
	CHECK_EQUAL(looked_back, 0);
	CHECK_EQUAL(queue->driver.free_descriptors, 16);
	return true;
}
HOLDS(ring_memory_is_never_read_back)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_chain_reaches_the_device_as_it_was_said_and_comes_back),
		TEST(all_that_was_added_is_shown_in_one_step),
		TEST(tokens_come_back_in_any_order_for_ever),
		TEST(a_full_ring_says_so_and_has_room_again_afterwards),
		WITH_MUTANT(a_chain_longer_than_the_ring_is_refused_for_good),
		WITH_MUTANT(a_chain_of_more_than_4_gibibytes_is_refused),
		WITH_MUTANT(a_readable_segment_after_a_writable_one_is_refused),
		WITH_MUTANT(an_empty_segment_is_refused),
		WITH_MUTANT(a_segment_that_wraps_is_refused),
		TEST(nothing_nobody_and_both_directions_are_refused),
		TEST(a_chain_in_a_table_takes_one_descriptor_and_the_ring_serves_when_tables_are_out),
		TEST(without_the_feature_no_table_is_used),
		TEST(ring_memory_is_never_read_back),
	};

	return cmocka_run_group_tests_name(TEST_PACKED ? "driver queue, packed" : "driver queue", tests, NULL, NULL);
}
