/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_device_rng.c - virtio-rng, device half: requests are filled as far as there are bytes and the limit allows;
 * those that break the rules, or whose memory cannot be used, are answered with nothing.
 *
 * How it works: see tests/support/test_driver.h. The source counts upwards, so that every byte can be checked.
 */
#include "tests/support/check.h"
#include "tests/support/test_driver.h"

#include <viodma/device_rng.h>

#define BUFFER (TEST_BUFFERS + 3u * TEST_PAGE + 100u)
#define W VIRTQ_DESC_F_WRITE
#define N VIRTQ_DESC_F_NEXT

static const struct test_options setups[] = {
	{.size = 16},
	{.size = 16, .platform = true, .scatter = true},
	{.size = 16, .platform = true, .scatter = true, .copy = true},
};
#define SETUPS (sizeof(setups) / sizeof(setups[0]))

static struct test_driver *driver;
static struct viodma_rng rng;
static size_t available, given;
static unsigned refused;
static enum viodma_result refused_reason;
static bool ready, overdoes;

static size_t fill(void *context, void *random, size_t bytes)
{
	unsigned char *to = random;
	size_t i, here = bytes < available ? bytes : available;

	(void)context;
	for (i = 0; i < here; i++)
		to[i] = (unsigned char)(1 + (given + i) % 251);
	available -= here;
	given += here;
	return overdoes ? here + 5000 : here;
}

static bool is_ready(void *context)
{
	(void)context;
	return ready;
}

static void on_refused(void *context, uint16_t head, enum viodma_result reason, const char *what)
{
	(void)context;
	(void)head;
	if (!what || !*what)
		abort();
	refused++;
	refused_reason = reason;
}

static void fresh(const struct test_options *options, uint32_t limit)
{
	const struct viodma_rng_ops ops = {.fill = fill, .refused = on_refused};

	test_driver_free(driver);
	driver = test_driver_new(options);
	if (viodma_rng_init(&rng, &ops, limit) != VIODMA_OK)
		abort();
	available = SIZE_MAX;
	given = refused = 0;
	overdoes = false;
	ready = true;
}

static enum viodma_result run(void)
{
	enum viodma_result result;

	do {
		result = viodma_rng_process(&rng, &driver->queue);
	} while (result == VIODMA_OK || (driver->options.platform && test_answer(driver, true)));
	return result;
}

static bool used(uint32_t id, uint32_t len)
{
	uint32_t got_id, got_len;

	CHECK(test_take_used(driver, &got_id, &got_len));
	CHECK_EQUAL(got_id, id);
	CHECK_EQUAL(got_len, len);
	return true;
}

/* `bytes` from the source's byte number `from` stand at an offset of memory, of which bus pages may lie anywhere. */
static bool random_at(size_t offset, size_t from, size_t bytes)
{
	uint64_t bus = test_bus(driver, offset).v;
	size_t i;

	for (i = 0; i < bytes; i++)
		CHECK_EQUAL(driver->memory[test_offset_of_bus(driver, bus + i)], 1 + (from + i) % 251);
	return true;
}

static void ask(uint16_t head, size_t offset, uint32_t bytes)
{
	test_desc(driver, head, test_bus(driver, offset), bytes, W, 0);
	test_make_available(driver, head);
}

static bool requests_are_filled(void)
{
	size_t s;

	for (s = 0; s < SETUPS; s++) {
		fresh(&setups[s], 0);
		ask(3, BUFFER, 700);
		CHECK_RESULT(run(), VIODMA_EMPTY);
		CHECK(used(3, 700));
		CHECK(random_at(BUFFER, 0, 700));
		/* In two pieces, over a page's end. */
		test_desc(driver, 4, test_bus(driver, BUFFER + 2 * TEST_PAGE), 5000, W | N, 5);
		test_desc(driver, 5, test_bus(driver, BUFFER + 8 * TEST_PAGE), 10, W, 0);
		test_make_available(driver, 4);
		CHECK_RESULT(run(), VIODMA_EMPTY);
		CHECK(used(4, 5010));
		CHECK(random_at(BUFFER + 2 * TEST_PAGE, 700, 5000));
		CHECK(random_at(BUFFER + 8 * TEST_PAGE, 5700, 10));
		CHECK_EQUAL(rng.statistics.requests, 2);
		CHECK_EQUAL(rng.statistics.bytes, 5710);
	}
	return true;
}
HOLDS(requests_are_filled)

static bool a_request_gets_at_most_the_limit(void)
{
	unsigned char before;

	fresh(&setups[0], 300);
	before = driver->memory[BUFFER + 300];
	ask(0, BUFFER, 1000);
	CHECK_RESULT(run(), VIODMA_EMPTY);
	CHECK(used(0, 300));
	CHECK_EQUAL(driver->memory[BUFFER + 300], before);
	fresh(&setups[0], 0);
	ask(0, BUFFER, 100 * TEST_PAGE);
	CHECK_RESULT(run(), VIODMA_EMPTY);
	CHECK(used(0, VIODMA_RNG_LIMIT_BYTES));
	return true;
}
HOLDS(a_request_gets_at_most_the_limit)

static bool what_there_is_is_given_and_nothing_is_waited_for(void)
{
	size_t s;

	for (s = 0; s < SETUPS; s++) {
		fresh(&setups[s], 0);
		available = 400;
		ask(0, BUFFER, 1000);
		ask(1, BUFFER + 4 * TEST_PAGE, 1000);
		CHECK_RESULT(run(), VIODMA_WAIT);
		CHECK(used(0, 400));
		CHECK_EQUAL(driver->queue.submitted, 1);
		CHECK_RESULT(run(), VIODMA_WAIT); /* still nothing */
		available = 20;
		CHECK_RESULT(run(), VIODMA_EMPTY);
		CHECK(used(1, 20));
		CHECK(random_at(BUFFER + 4 * TEST_PAGE, 400, 20));
	}
	return true;
}
HOLDS(what_there_is_is_given_and_nothing_is_waited_for)

static bool nothing_is_taken_while_the_source_says_that_it_has_none(void)
{
	fresh(&setups[0], 0);
	rng.ops.ready = is_ready;
	ready = false;
	ask(0, BUFFER, 10);
	CHECK_RESULT(run(), VIODMA_EMPTY);
	CHECK_EQUAL(driver->queue.submitted, 0);
	CHECK_EQUAL(driver->queue.statistics.fetched, 0);
	ready = true;
	CHECK_RESULT(run(), VIODMA_EMPTY);
	CHECK(used(0, 10));
	return true;
}
HOLDS(nothing_is_taken_while_the_source_says_that_it_has_none)

static bool a_request_that_waits_is_rejected_before_a_stop(void)
{
	uint32_t base;

	fresh(&setups[0], 0);
	viodma_rng_cancel(&rng); /* nothing waits */
	available = 0;
	ask(0, BUFFER, 10);
	CHECK_RESULT(run(), VIODMA_WAIT);
	CHECK_RESULT(viodma_queue_stop(&driver->queue, &base), VIODMA_E_BUSY);
	viodma_rng_cancel(&rng);
	CHECK(used(0, 0));
	CHECK_EQUAL(rng.statistics.failed, 1);
	CHECK_RESULT(refused_reason, VIODMA_FAULT_STOPPED);
	CHECK_RESULT(viodma_queue_stop(&driver->queue, &base), VIODMA_OK);
	CHECK_EQUAL(base, test_base_at(driver, 1, 1));
	return true;
}
HOLDS(a_request_that_waits_is_rejected_before_a_stop)

static bool a_request_without_room_is_refused(void)
{
	size_t s;

	for (s = 0; s < SETUPS; s++) {
		fresh(&setups[s], 0);
		test_desc(driver, 2, test_bus(driver, BUFFER), 100, 0, 0);
		test_make_available(driver, 2);
		ask(3, BUFFER, 5);
		CHECK_RESULT(run(), VIODMA_EMPTY);
		CHECK_EQUAL(refused, 1);
		CHECK_RESULT(refused_reason, VIODMA_PEER_REQUEST);
		CHECK(used(2, 0));
		CHECK(used(3, 5)); /* the ring goes on */
	}
	return true;
}
BEHAVIOUR(a_request_without_room_is_refused, "DRV-18")

static bool a_request_with_a_readable_part_is_refused(void)
{
	fresh(&setups[0], 0);
	test_request(driver, 2, BUFFER, 10, BUFFER + TEST_PAGE, 10);
	test_make_available(driver, 2);
	CHECK_RESULT(run(), VIODMA_EMPTY);
	CHECK_EQUAL(refused, 1);
	CHECK_RESULT(refused_reason, VIODMA_PEER_REQUEST);
	CHECK(used(2, 0));
	CHECK_EQUAL(given, 0);
	return true;
}
BEHAVIOUR(a_request_with_a_readable_part_is_refused, "DRV-18")

static bool a_request_whose_memory_is_refused_gets_nothing(void)
{
	fresh(&setups[0], 0);
	test_desc(driver, 0, (viodma_bus){0x123}, 100, W, 0); /* no memory there */
	test_make_available(driver, 0);
	CHECK_RESULT(run(), VIODMA_EMPTY);
	CHECK_RESULT(refused_reason, VIODMA_FAULT_UNMAPPED);
	CHECK(used(0, 0));
	CHECK_EQUAL(given, 0);
	return true;
}
HOLDS(a_request_whose_memory_is_refused_gets_nothing)

static bool a_source_that_claims_more_than_it_was_asked_for_is_not_believed(void)
{
	fresh(&setups[0], 0);
	overdoes = true;
	ask(0, BUFFER, 600);
	CHECK_RESULT(run(), VIODMA_EMPTY);
	CHECK(used(0, 600));
	CHECK(random_at(BUFFER, 0, 600));
	return true;
}
HOLDS(a_source_that_claims_more_than_it_was_asked_for_is_not_believed)

/* A driver that makes its request available again at once, for ever. */
static size_t fill_and_ask_again(void *context, void *random, size_t bytes)
{
	static uint16_t head;

	memset(random, 1, bytes);
	if (context)
		ask(head++ & 15, BUFFER, 16);
	return bytes;
}

static bool one_call_serves_at_most_a_queue_full(void)
{
	unsigned i;

	fresh(&setups[0], 0);
	rng.ops.fill = fill_and_ask_again;
	rng.ops.context = &rng;
	ask(15, BUFFER, 16);
	for (i = 1; i <= 5; i++) {
		CHECK_RESULT(viodma_rng_process(&rng, &driver->queue), VIODMA_OK);
		CHECK_EQUAL(rng.statistics.requests, 16 * i);
	}
	return true;
}
HOLDS(one_call_serves_at_most_a_queue_full)

static bool a_queue_that_does_not_run_is_not_served(void)
{
	struct viodma_queue never;
	uint32_t base;

	fresh(&setups[0], 0);
	memset(&never, 0, sizeof(never)); /* as viodma_queue_init leaves it, as far as it matters */
	CHECK_RESULT(viodma_rng_process(&rng, &never), VIODMA_FAULT_STOPPED);
	ask(3, BUFFER, 700);
	CHECK_RESULT(viodma_queue_stop(&driver->queue, &base), VIODMA_OK);
	CHECK_RESULT(viodma_rng_process(&rng, &driver->queue), VIODMA_FAULT_STOPPED);
	CHECK_EQUAL(rng.statistics.requests, 0);
	return true;
}
HOLDS(a_queue_that_does_not_run_is_not_served)

static bool without_a_source_there_is_no_device(void)
{
	const struct viodma_rng_ops none = {.fill = NULL};

	CHECK_RESULT(viodma_rng_init(&rng, &none, 5), VIODMA_E_INVALID);
	return true;
}
HOLDS(without_a_source_there_is_no_device)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(requests_are_filled),
		TEST(a_request_gets_at_most_the_limit),
		TEST(what_there_is_is_given_and_nothing_is_waited_for),
		TEST(nothing_is_taken_while_the_source_says_that_it_has_none),
		TEST(a_request_that_waits_is_rejected_before_a_stop),
		WITH_MUTANT(a_request_without_room_is_refused),
		WITH_MUTANT(a_request_with_a_readable_part_is_refused),
		TEST(a_request_whose_memory_is_refused_gets_nothing),
		TEST(a_source_that_claims_more_than_it_was_asked_for_is_not_believed),
		TEST(one_call_serves_at_most_a_queue_full),
		TEST(a_queue_that_does_not_run_is_not_served),
		TEST(without_a_source_there_is_no_device),
	};

	return cmocka_run_group_tests_name("device rng", tests, NULL, NULL);
}
