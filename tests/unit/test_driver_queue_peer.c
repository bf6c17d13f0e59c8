/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_driver_queue_peer.c - a virtqueue, driver half, with a device that lies in the used ring: each lie ends in its
 * VIODMA_PEER_* result, or is clamped and counted; after a reset every request comes back, once.
 *
 * How it works: the device's side of the ring is played by hand (tests/support/test_device.h).
 */
#include "tests/support/check.h"
#include "tests/support/hooks.h"
#include "tests/support/test_device.h"

#define OUT 5u

static struct test_device *current;
static int tokens[64];
static uint16_t heads[OUT];

/* Five requests of two descriptors are with the device: 16 bytes to read, 32 to write. */
static struct test_device_queue *with_requests(const struct test_device_options *options)
{
	const struct viodma_segment segments[2] = {
		{.bus = {TEST_PRIVATE_PHYS}, .len_bytes = 16, .permission = VIODMA_READ},
		{.bus = {TEST_PRIVATE_PHYS + 4096}, .len_bytes = 32, .permission = VIODMA_WRITE}};
	struct test_device_queue *queue;
	struct test_chain chain;
	unsigned i;

	test_device_free(current);
	current = test_device_new(options);
	queue = &current->queues[0];
	if (test_device_negotiate(current, 0) != VIODMA_OK || test_device_make_domain(current) != VIODMA_OK ||
	    test_device_make_queue(current, 0) != VIODMA_OK)
		abort();
	for (i = 0; i < OUT; i++)
		if (viodma_driver_queue_add(&queue->driver, segments, 2, &tokens[i]) != VIODMA_OK)
			abort();
	viodma_driver_queue_publish(&queue->driver);
	for (i = 0; i < OUT; i++) {
		if (!test_device_take(queue, &chain))
			abort();
		heads[i] = chain.head;
	}
	return queue;
}

/* It stays broken, and after the reset so many come back, each once. */
static bool broken_until_made_anew(struct test_device_queue *queue, enum viodma_result reason, unsigned left)
{
	const struct viodma_segment one = {.bus = {TEST_PRIVATE_PHYS}, .len_bytes = 16, .permission = VIODMA_READ};
	struct viodma_driver_completion completion;
	bool back[64] = {false};
	void *token;
	unsigned i;

	CHECK_RESULT(queue->driver.broken, reason);
	CHECK_RESULT(viodma_driver_queue_get(&queue->driver, &completion), reason);
	CHECK_RESULT(viodma_driver_queue_add(&queue->driver, &one, 1, tokens), reason);
	CHECK(!viodma_driver_queue_want_call(&queue->driver));
	CHECK_RESULT(viodma_driver_reset(&current->driver), VIODMA_OK);
	for (i = 0; i < left; i++) {
		CHECK_RESULT(viodma_driver_queue_take_back(&queue->driver, &token), VIODMA_OK);
		CHECK(!back[(int *)token - tokens]);
		back[(int *)token - tokens] = true;
	}
	CHECK_RESULT(viodma_driver_queue_take_back(&queue->driver, &token), VIODMA_EMPTY);
	CHECK_RESULT(viodma_driver_queue_free(&queue->driver), VIODMA_OK);
	CHECK(test_device_idle(current));
	return true;
}

static bool ends_in(struct test_device_queue *queue, enum viodma_result reason, unsigned left)
{
	struct viodma_driver_completion completion;

	CHECK_RESULT(viodma_driver_queue_get(&queue->driver, &completion), reason);
	return broken_until_made_anew(queue, reason, left);
}

#if !TEST_PACKED /* an index is what only split rings have */
static bool an_index_ahead_of_what_is_out_is_noticed(void)
{
	static const uint16_t indexes[] = {OUT + 1, 16, 0x7fff, 0x8000, 0xffff};
	size_t i;

	for (i = 0; i < sizeof(indexes) / sizeof(indexes[0]); i++) {
		struct test_device_queue *queue = with_requests(NULL);

		test_device_set_used_index(queue, indexes[i]);
		CHECK(ends_in(queue, VIODMA_PEER_USED_INDEX, OUT));
	}
	return true;
}
BEHAVIOUR(an_index_ahead_of_what_is_out_is_noticed, "DEV-19")

static bool an_index_that_goes_back_is_noticed(void)
{
	struct test_device_queue *queue = with_requests(NULL);
	struct viodma_driver_completion completion;

	test_device_put_used(queue, heads[0], 1);
	test_device_put_used(queue, heads[1], 1);
	CHECK_RESULT(viodma_driver_queue_get(&queue->driver, &completion), VIODMA_OK);
	CHECK_RESULT(viodma_driver_queue_get(&queue->driver, &completion), VIODMA_OK);
	test_device_set_used_index(queue, 1);
	CHECK(viodma_driver_queue_want_call(&queue->driver)); /* something is there; what, get says */
	CHECK(ends_in(queue, VIODMA_PEER_USED_INDEX, OUT - 2));
	return true;
}
BEHAVIOUR(an_index_that_goes_back_is_noticed, "DEV-19")

/* What was added but not published is not the device's to use, be it guessed right. */
static bool an_index_ahead_of_what_was_published_is_noticed(void)
{
	const struct viodma_segment one = {.bus = {TEST_PRIVATE_PHYS}, .len_bytes = 16, .permission = VIODMA_READ};
	struct test_device_queue *queue = with_requests(NULL);
	struct viodma_driver_completion completion;
	unsigned i;

	CHECK_RESULT(viodma_driver_queue_add(&queue->driver, &one, 1, &tokens[OUT]), VIODMA_OK);
	for (i = 0; i < OUT; i++)
		test_device_put_used(queue, heads[i], 1);
	for (i = 0; i < OUT; i++)
		CHECK_RESULT(viodma_driver_queue_get(&queue->driver, &completion), VIODMA_OK);
	test_device_put_used(queue, 10, 0);
	CHECK(ends_in(queue, VIODMA_PEER_USED_INDEX, 1));
	return true;
}
BEHAVIOUR(an_index_ahead_of_what_was_published_is_noticed, "DEV-19")
#endif

static bool an_id_beyond_the_ring_is_noticed(void)
{
	const uint32_t ids[] = {16, 0x7fff, 0xffff, 0x10000u + heads[0], 0x80000000u, UINT32_MAX};
	const size_t count = TEST_PACKED ? 3 : 6; /* an id of a packed ring has 16 bits */
	size_t i;

	for (i = 0; i < count; i++) {
		struct test_device_queue *queue = with_requests(NULL);

		test_device_put_used(queue, ids[i], 1);
		CHECK(ends_in(queue, VIODMA_PEER_USED_ID, OUT));
	}
	return true;
}
BEHAVIOUR(an_id_beyond_the_ring_is_noticed, "DEV-19")

static bool an_id_used_twice_is_noticed(void)
{
	struct test_device_queue *queue = with_requests(NULL);
	struct viodma_driver_completion completion;

	test_device_put_used(queue, heads[2], 1);
	test_device_put_used(queue, heads[2], 1);
	CHECK_RESULT(viodma_driver_queue_get(&queue->driver, &completion), VIODMA_OK);
	CHECK(completion.token == &tokens[2]);
	CHECK(ends_in(queue, VIODMA_PEER_USED_TWICE, OUT - 1));
	return true;
}
BEHAVIOUR(an_id_used_twice_is_noticed, "DRV-21")

static bool a_descriptor_that_is_no_head_is_noticed(void)
{
	struct test_device_queue *queue = with_requests(NULL);

	test_device_put_used(queue, TEST_PACKED ? OUT : heads[1] ^ 1u, 1); /* the second of its chain; packed: no chain's */
	CHECK(ends_in(queue, VIODMA_PEER_USED_TWICE, OUT));
	queue = with_requests(NULL);
	test_device_put_used(queue, 15, 1); /* free */
	CHECK(ends_in(queue, VIODMA_PEER_USED_TWICE, OUT));
	return true;
}
BEHAVIOUR(a_descriptor_that_is_no_head_is_noticed, "DRV-21")

static bool a_chain_guessed_before_its_publication_is_noticed(void)
{
	const struct viodma_segment one = {.bus = {TEST_PRIVATE_PHYS}, .len_bytes = 16, .permission = VIODMA_READ};
	struct test_device_queue *queue = with_requests(NULL);

	CHECK_RESULT(viodma_driver_queue_add(&queue->driver, &one, 1, &tokens[OUT]), VIODMA_OK);
	test_device_put_used(queue, TEST_PACKED ? OUT : 10, 0); /* in the place of one of the five */
	CHECK(ends_in(queue, VIODMA_PEER_USED_TWICE, OUT + 1));
	return true;
}
BEHAVIOUR(a_chain_guessed_before_its_publication_is_noticed, "DRV-21")

static bool a_length_beyond_the_writable_part_is_clamped_and_counted(void)
{
	static const uint32_t lengths[] = {33, 48, 0x80000000u, UINT32_MAX};
	size_t i;

	for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		struct test_device_queue *queue = with_requests(NULL);
		struct viodma_driver_completion completion;

		test_device_put_used(queue, heads[0], lengths[i]);
		test_device_put_used(queue, heads[1], 32);
		CHECK_RESULT(viodma_driver_queue_get(&queue->driver, &completion), VIODMA_OK);
		CHECK_EQUAL(completion.written_bytes, 32);
		CHECK_EQUAL(queue->driver.statistics.clamped, 1);
		CHECK_EQUAL(queue->clamped, 1); /* told, too */
		CHECK_RESULT(viodma_driver_queue_get(&queue->driver, &completion), VIODMA_OK);
		CHECK_EQUAL(completion.written_bytes, 32);
		CHECK_EQUAL(queue->clamped, 1);
		CHECK_RESULT(queue->driver.broken, VIODMA_OK);
	}
	return true;
}
BEHAVIOUR(a_length_beyond_the_writable_part_is_clamped_and_counted, "DEV-16")

static bool a_length_beyond_the_writable_part_breaks_a_strict_queue(void)
{
	const struct test_device_options options = {.strict = true};
	struct test_device_queue *queue = with_requests(&options);

	test_device_put_used(queue, heads[0], 33);
	CHECK(ends_in(queue, VIODMA_PEER_USED_LENGTH, OUT));
	CHECK_EQUAL(queue->clamped, 0);
	return true;
}
BEHAVIOUR(a_length_beyond_the_writable_part_breaks_a_strict_queue, "DEV-16")

/* ---- fetched once ---- */

static struct test_device_queue *flipped;
static unsigned flips;

/* Right after it was read, the element says something else. */
static void flip(const void *at, size_t bytes)
{
	if (TEST_PACKED ? bytes > 4 : bytes != sizeof(struct virtq_used_elem))
		return; /* packed: flags, length, id */
	memset((void *)(uintptr_t)at, 0xff, bytes);
	flips++;
}

static bool an_element_is_fetched_once(void)
{
	struct viodma_driver_completion completion;

	flipped = with_requests(NULL);
	flips = 0;
	test_device_put_used(flipped, heads[3], 20);
	viodma_shared_read_hook_fn = flip;
	CHECK_RESULT(viodma_driver_queue_get(&flipped->driver, &completion), VIODMA_OK);
	viodma_shared_read_hook_fn = NULL;
	CHECK_EQUAL(flips, TEST_PACKED ? 3 : 1);
	CHECK(completion.token == &tokens[3]);
	CHECK_EQUAL(completion.written_bytes, 20);
	return true;
}
HOLDS(an_element_is_fetched_once)

/* ---- after the reset ---- */

static bool a_write_after_the_reset_is_noticed(void)
{
	static const size_t offsets[] = {0, VIRTQ_USED_IDX, VIRTQ_USED_RING(7), VIRTQ_USED_AVAIL_EVENT(16) + 1};
	static const size_t in_ring[] = {0, 14, 16 * 16 - 1}; /* packed: after two of its events */
	int kind;
	size_t i;

	for (kind = 0; kind < TEST_KINDS; kind++)
		for (i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
			const struct test_device_options options = {.kind = (enum test_kind)kind};
			struct test_device_queue *queue;
			unsigned char *late;
			void *token;

			test_device_free(current);
			current = test_device_new(&options);
			queue = &current->queues[0];
			CHECK_RESULT(test_device_negotiate(current, 0), VIODMA_OK);
			CHECK_RESULT(test_device_make_domain(current), VIODMA_OK);
			CHECK_RESULT(test_device_make_queue(current, 0), VIODMA_OK);
			late = test_device_at(current,
					      TEST_PACKED && i ? queue->where.desc.v + in_ring[i - 1] :
								 queue->where.used.v + offsets[i],
					      1, VIODMA_WRITE);
			CHECK(late != NULL);
			*late = 0xff; /* before: no matter */
			CHECK_RESULT(viodma_driver_reset(&current->driver), VIODMA_OK);
			CHECK_RESULT(viodma_driver_queue_take_back(&queue->driver, &token), VIODMA_EMPTY);
			CHECK_EQUAL(*late, 0);
			*late = 0x10;
			CHECK_RESULT(viodma_driver_queue_free(&queue->driver), VIODMA_PEER_LATE_WRITE);
			CHECK(test_device_idle(current));
		}
	return true;
}
BEHAVIOUR(a_write_after_the_reset_is_noticed, "DEV-14")

/* ---- anything at all ---- */

static void lie(struct test_device_queue *queue, struct check_random *random)
{
	uint32_t any = (uint32_t)check_random(random) & 0xffffu, place = (uint32_t)check_below(random, 8);

	if (check_below(random, 8) && TEST_PACKED)
		test_device_set_event(queue, any, (uint32_t)check_below(random, 5));
	else if (TEST_PACKED)
		test_device_put_flags(queue, place, any);
	else if (check_below(random, 7))
		test_device_want_kick_at(queue, any);
	else
		test_device_set_used_index(queue, (uint16_t)any);
}

/* The device writes what it likes. Tokens come back at most once, and never one that is not out. */
static bool hostile_round(struct check_random *random, bool strict)
{
	const struct test_device_options options = {.size = 8, .event_idx = check_below(random, 2), .strict = strict};
	const struct viodma_segment segments[2] = {
		{.bus = {TEST_PRIVATE_PHYS}, .len_bytes = 16, .permission = VIODMA_READ},
		{.bus = {TEST_PRIVATE_PHYS + 4096}, .len_bytes = 32, .permission = VIODMA_WRITE}};
	struct test_device_queue *queue;
	bool out[8] = {false};
	unsigned steps, left = 0;
	void *token;

	test_device_free(current);
	current = test_device_new(&options);
	queue = &current->queues[0];
	CHECK_RESULT(test_device_negotiate(current, viodma_driver_blk_wanted()), VIODMA_OK);
	CHECK_RESULT(test_device_make_domain(current), VIODMA_OK);
	CHECK_RESULT(test_device_make_queue(current, 0), VIODMA_OK);
	for (steps = 0; steps < 60; steps++) {
		struct viodma_driver_completion completion;
		unsigned i = (unsigned)check_below(random, 8);

		switch (check_below(random, 6)) {
		case 0:
		case 1:
			if (!out[i] && viodma_driver_queue_add(&queue->driver, segments, 2, &tokens[i]) == VIODMA_OK)
				out[i] = true;
			viodma_driver_queue_publish(&queue->driver);
			(void)viodma_driver_queue_kick_needed(&queue->driver);
			break;
		case 2:
			test_device_put_used(queue, (uint32_t)check_below(random, 9),
					     (uint32_t)check_below(random, 40));
			break;
		case 3:
			lie(queue, random);
			break;
		default:
			while (viodma_driver_queue_get(&queue->driver, &completion) == VIODMA_OK) {
				i = (unsigned)((int *)completion.token - tokens);
				CHECK(i < 8 && out[i]);
				CHECK(completion.written_bytes <= 32);
				out[i] = false;
			}
			(void)viodma_driver_queue_want_call(&queue->driver);
		}
	}
	CHECK(queue->driver.broken == VIODMA_OK || viodma_result_is_peer(queue->driver.broken));
	CHECK_RESULT(viodma_driver_reset(&current->driver), VIODMA_OK);
	for (; viodma_driver_queue_take_back(&queue->driver, &token) == VIODMA_OK; left++) {
		unsigned i = (unsigned)((int *)token - tokens);

		CHECK(i < 8 && out[i]);
		out[i] = false;
	}
	CHECK(!memchr(out, true, sizeof(out)));
	CHECK_EQUAL(queue->driver.free_descriptors, 8);
	CHECK_RESULT(viodma_driver_queue_free(&queue->driver), VIODMA_OK);
	CHECK(test_device_idle(current));
	return true;
}

static bool whatever_the_device_writes_each_request_comes_back_once(void)
{
	struct check_random random = {.state = 99};
	unsigned i;

	for (i = 0; i < 600; i++)
		CHECK(hostile_round(&random, i & 1));
	return true;
}
HOLDS(whatever_the_device_writes_each_request_comes_back_once)

int main(void)
{
	const struct CMUnitTest tests[] = {
#if !TEST_PACKED
		WITH_MUTANT(an_index_ahead_of_what_is_out_is_noticed),
		WITH_MUTANT(an_index_that_goes_back_is_noticed),
		WITH_MUTANT(an_index_ahead_of_what_was_published_is_noticed),
#endif
		WITH_MUTANT(an_id_beyond_the_ring_is_noticed),
		WITH_MUTANT(an_id_used_twice_is_noticed),
		WITH_MUTANT(a_descriptor_that_is_no_head_is_noticed),
		WITH_MUTANT(a_chain_guessed_before_its_publication_is_noticed),
		WITH_MUTANT(a_length_beyond_the_writable_part_is_clamped_and_counted),
		WITH_MUTANT(a_length_beyond_the_writable_part_breaks_a_strict_queue),
		TEST(an_element_is_fetched_once),
		WITH_MUTANT(a_write_after_the_reset_is_noticed),
		TEST(whatever_the_device_writes_each_request_comes_back_once),
	};

	return cmocka_run_group_tests_name(TEST_PACKED ? "driver queue peer, packed" : "driver queue peer", tests, NULL, NULL);
}
