/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_fetch_once.c - the device half fetches each value the driver can change once, checks it, and uses that copy
 * (DEV-11).
 *
 * How it works: the hook behind every read of shared memory counts the reads of each byte of the ring's descriptors and
 * available entries, of indirect tables and of buffers, and changes what was read right after its first read, as a
 * hostile driver would. What comes out must be what the first values said, and no count may exceed one. Ring words that
 * are meant to be polled (the available index, flags, event words) are left alone. A test of the test reads twice.
 */
#include "tests/support/blk_rig.h"
#include "tests/support/check.h"
#include "tests/support/hooks.h"

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
static unsigned char counts[TEST_BYTES];
static unsigned most;

static bool polled(size_t offset)
{
	const size_t entries = TEST_AVAIL + VIRTQ_AVAIL_RING(0);

	if (current->driver->setup.packed)
		return offset >= TEST_AVAIL && offset < TEST_TABLES;
	return (offset >= TEST_AVAIL && offset < entries) ||
	       (offset >= entries + 2u * current->driver->setup.size && offset < TEST_TABLES);
}

/* Packed: flags of a descriptor that is not available are looked at again and again. */
static bool flags_without_a_descriptor(size_t offset, size_t bytes)
{
	const unsigned both = VIRTQ_PACKED_DESC_F_AVAIL | VIRTQ_PACKED_DESC_F_USED;
	unsigned flags;

	if (!current->driver->setup.packed || bytes != 2 || offset < TEST_DESC || offset >= TEST_AVAIL)
		return false;
	flags = test_get16(current->driver, offset) & both;
	return flags == 0 || flags == both;
}

static void flip(const void *at, size_t bytes)
{
	unsigned char *memory = current->driver->memory;
	size_t i, offset = (size_t)((const unsigned char *)at - memory);

	if ((uintptr_t)at < (uintptr_t)memory || (uintptr_t)at >= (uintptr_t)memory + TEST_BYTES)
		return; /* private memory of COPY mode */
	if (flags_without_a_descriptor(offset, bytes))
		return;
	for (i = 0; i < bytes; i++) {
		if (polled(offset + i))
			continue;
		counts[offset + i]++;
		if (counts[offset + i] > most)
			most = counts[offset + i];
		memory[offset + i] ^= 0xff;
	}
}

static struct blk_rig *fresh(const struct test_options *options)
{
	viodma_shared_read_hook_fn = NULL;
	blk_rig_free(current);
	current = blk_rig_new(options, NULL);
	if (options->platform)
		test_grant_rings(current->driver); /* a chain whose own table misses is fetched anew, see below */
	memset(counts, 0, sizeof(counts));
	most = 0;
	return current;
}

static bool a_chain_is_what_it_was_when_it_was_first_read(void)
{
	size_t s;

	for (s = 0; s < SETUPS; s++) {
		struct blk_rig *rig = fresh(&setups[s]);
		struct test_driver *d = rig->driver;
		struct viodma_request *request;

		test_request(d, 4, RIG_DATA(0), 100, RIG_DATA(1), 50);
		test_make_available(d, 4);
		viodma_shared_read_hook_fn = flip;
		CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
		viodma_shared_read_hook_fn = NULL;
		CHECK_RESULT(request->result, VIODMA_OK);
		CHECK_EQUAL(request->head, 4);
		CHECK_EQUAL(request->readable_bytes, 100);
		CHECK_EQUAL(request->writable_bytes, 50);
		CHECK_RESULT(viodma_request_write(request, 0, "here", 4), VIODMA_OK);
		viodma_queue_push(&d->queue, request, 4);
		CHECK(memcmp(d->memory + RIG_DATA(1), "here", 4) == 0);
		CHECK_EQUAL(most, 1);
		CHECK_EQUAL(counts[TEST_DESC + 4 * 16], 1);
		CHECK_EQUAL(counts[TEST_AVAIL + 4], 1);
	}
	return true;
}
HOLDS(a_chain_is_what_it_was_when_it_was_first_read)

static bool an_indirect_table_is_what_it_was_when_it_was_first_read(void)
{
	size_t s;

	for (s = 0; s < SETUPS; s++) {
		struct blk_rig *rig = fresh(&setups[s]);
		struct test_driver *d = rig->driver;
		/* Its third descriptor lies across a page, which is not translated at first. */
		const size_t table = TEST_TABLES + TEST_PAGE - 40;
		struct viodma_request *request;
		uint16_t i;

		for (i = 0; i < 6; i++)
			test_table_desc(d, table, i, test_bus(d, RIG_DATA(i)), 10u + i,
					(uint16_t)((i < 5 ? N : 0) | (i > 2 ? W : 0)), (uint16_t)(i + 1));
		test_desc(d, 2, test_bus(d, table), 6 * 16, I, 0);
		test_make_available(d, 2);
		viodma_shared_read_hook_fn = flip;
		CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
		viodma_shared_read_hook_fn = NULL;
		CHECK_RESULT(request->result, VIODMA_OK);
		CHECK_EQUAL(request->readable_bytes, 33);
		CHECK_EQUAL(request->writable_bytes, 42);
		CHECK_EQUAL(most, 1);
		for (i = 0; i < 6 * 16; i++)
			CHECK_EQUAL(counts[table + i], 1);
		viodma_queue_push(&d->queue, request, 0);
	}
	return true;
}
HOLDS(an_indirect_table_is_what_it_was_when_it_was_first_read)

static bool a_ring_under_change_serves_what_was_first_said(void)
{
	size_t s;

	for (s = 0; s < SETUPS; s++) {
		struct blk_rig *rig = fresh(&setups[s]);
		struct test_driver *d = rig->driver;
		struct viodma_request *request;
		unsigned i, seen = 0;

		for (i = 0; i < 16; i++) {
			test_request(d, (uint16_t)(2 * i), RIG_DATA(i), 16 + i, RIG_DATA(16 + i), 1);
			test_make_available(d, (uint16_t)(2 * i));
		}
		viodma_shared_read_hook_fn = flip;
		for (i = 0; i < 16; i++) {
			CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
			CHECK_RESULT(request->result, VIODMA_OK);
			CHECK_EQUAL(request->head % 2, 0);
			CHECK_EQUAL(request->readable_bytes, 16u + request->head / 2u);
			seen |= 1u << (request->head / 2);
			viodma_queue_push(&d->queue, request, 0);
		}
		viodma_shared_read_hook_fn = NULL;
		CHECK_EQUAL(seen, 0xffff);
		CHECK_EQUAL(most, 1);
	}
	return true;
}
HOLDS(a_ring_under_change_serves_what_was_first_said)

static bool a_block_request_is_what_its_header_first_said(void)
{
	size_t s;

	for (s = 0; s < SETUPS; s++) {
		struct blk_rig *rig = fresh(&setups[s]);
		unsigned i;

		rig->defer = true;
		blk_rig_request(rig, 3, VIRTIO_BLK_T_IN, 7, 1024, true);
		viodma_shared_read_hook_fn = flip;
		CHECK_RESULT(blk_rig_run(rig), VIODMA_EMPTY);
		viodma_shared_read_hook_fn = NULL;
		CHECK_EQUAL(rig->pending_count, 1);
		CHECK_EQUAL(rig->last.operation, VIODMA_BLK_READ);
		CHECK_EQUAL(rig->last.offset_bytes, 7 * 512);
		CHECK_EQUAL(rig->last.len_bytes, 1024);
		for (i = 0; i < 16; i++)
			CHECK_EQUAL(counts[RIG_HEADER(3) + i], 1);
		CHECK_EQUAL(most, 1);
		blk_rig_finish(rig, 0, true);
		CHECK_EQUAL(blk_rig_status(rig, 3), VIRTIO_BLK_S_OK);
		CHECK(memcmp(rig->driver->memory + RIG_DATA(3), rig->disk + 7 * 512, 1024) == 0);
	}
	return true;
}
HOLDS(a_block_request_is_what_its_header_first_said)

static bool a_malformed_chain_stays_malformed(void)
{
	size_t s;

	for (s = 0; s < SETUPS; s++) {
		struct blk_rig *rig = fresh(&setups[s]);
		struct test_driver *d = rig->driver;

		/* Good after the first read: a device that looks again would take it. */
		test_desc(d, 0, test_bus(d, RIG_HEADER(0)), 0, (uint16_t)~0, (uint16_t)~1);
		d->memory[TEST_DESC + 8] = 0xff; /* length 255, all flags */
		test_make_available(d, 0);
		viodma_shared_read_hook_fn = flip;
		CHECK(viodma_result_is_peer(blk_rig_run(rig)));
		viodma_shared_read_hook_fn = NULL;
		CHECK(d->queue.broken != VIODMA_OK);
		CHECK_EQUAL(rig->submitted, 0);
		CHECK_EQUAL(most, 1);
	}
	return true;
}
HOLDS(a_malformed_chain_stays_malformed)

static bool a_chain_fetched_anew_is_new_as_a_whole(void)
{
	static const struct test_options large = {.size = 1024, .size_max = 1024, .segments_max = 8, .platform = true};
	struct blk_rig *rig = fresh(&large);
	struct test_driver *d = rig->driver;
	struct viodma_request *request;

	/* The second descriptor stands on a page of the table that is not translated when the first was read. */
	test_revoke(d, TEST_DESC + TEST_PAGE, TEST_PAGE);
	test_desc(d, 0, test_bus(d, RIG_DATA(0)), 10, N, 300);
	test_desc(d, 300, test_bus(d, RIG_DATA(1)), 20, W, 0);
	test_make_available(d, 0);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_WAIT);
	test_desc(d, 0, test_bus(d, RIG_DATA(2)), 30, W, 0); /* the driver thinks of something else */
	CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
	CHECK_EQUAL(request->readable_bytes, 0);
	CHECK_EQUAL(request->writable_bytes, 30);
	return true;
}
HOLDS(a_chain_fetched_anew_is_new_as_a_whole)

static bool two_reads_of_one_byte_are_noticed(void)
{
	struct blk_rig *rig = fresh(&setups[1]);
	struct viodma_request *request;
	unsigned char one[4], other[4];

	test_request(rig->driver, 0, RIG_DATA(0), 4, 0, 0);
	test_make_available(rig->driver, 0);
	CHECK_RESULT(test_pop(rig->driver, &request), VIODMA_OK);
	viodma_shared_read_hook_fn = flip;
	CHECK_RESULT(viodma_request_read(request, 0, one, 4), VIODMA_OK);
	CHECK_RESULT(viodma_request_read(request, 0, other, 4), VIODMA_OK);
	viodma_shared_read_hook_fn = NULL;
	CHECK_EQUAL(most, 2);
	CHECK(memcmp(one, other, 4) != 0);
	return true;
}
HOLDS(two_reads_of_one_byte_are_noticed)

static int no_rig(void **state)
{
	(void)state;
	viodma_shared_read_hook_fn = NULL;
	blk_rig_free(current);
	current = NULL;
	return 0;
}

int main(void)
{
	const struct CMUnitTest both[] = {
		TEST(an_indirect_table_is_what_it_was_when_it_was_first_read),
		TEST(a_block_request_is_what_its_header_first_said),
		TEST(two_reads_of_one_byte_are_noticed),
	};
	const struct CMUnitTest split[] = {
		TEST(a_chain_is_what_it_was_when_it_was_first_read),
		TEST(a_ring_under_change_serves_what_was_first_said),
		TEST(a_malformed_chain_stays_malformed),
		TEST(a_chain_fetched_anew_is_new_as_a_whole),
	};

	return CHECK_RUN("fetch once", both, split, no_rig);
}
