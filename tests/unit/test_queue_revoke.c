/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_queue_revoke.c - memory withdrawn while a request uses it, in place and copied; and bounds on what a driver can
 * make the device do.
 *
 * How it works: the rings are granted, buffers as the test says; the platform answers when the test says so.
 */
#include "tests/support/queue_rig.h"

#define BUFFER(n) (TEST_BUFFERS + (n) * TEST_PAGE)

static const struct test_options asked = {.size = 8, .platform = true, .scatter = true};
static const struct test_options copying = {.size = 8, .platform = true, .scatter = true, .copy = true};

static struct test_driver *empty(const struct test_options *options)
{
	test_driver_free(current);
	current = test_driver_new(options);
	return current;
}

static struct test_driver *with_rings(const struct test_options *options)
{
	struct test_driver *d = empty(options);

	test_grant_rings(d);
	return d;
}

static bool in_use(struct test_driver *d)
{
	return viodma_space_in_use(&d->space, (viodma_bus){0}, (viodma_bus){UINT64_MAX});
}

/* ---- revocation ---- */

static bool memory_in_use_is_not_let_go_before_the_request_ends(void)
{
	struct test_driver *d = with_rings(&asked);
	struct viodma_request *request;

	test_grant(d, BUFFER(0), 2 * TEST_PAGE, VIODMA_READ_WRITE);
	test_request(d, 0, BUFFER(0), 16, BUFFER(1), 16);
	test_make_available(d, 0);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
	test_revoke(d, BUFFER(1), TEST_PAGE);
	CHECK(viodma_space_in_use(&d->space, test_bus(d, BUFFER(1)), test_bus(d, BUFFER(1) + TEST_PAGE - 1)));
	/* The device may end what it began (= DEV-13). */
	CHECK_RESULT(viodma_request_write(request, 0, "0123456789abcdef", 16), VIODMA_OK);
	viodma_queue_push(&d->queue, request, 16);
	CHECK(!in_use(d));
	CHECK_EQUAL(test_used_idx(d), 1);
	CHECK(memcmp(d->memory + BUFFER(1), "0123456789abcdef", 16) == 0);
	return true;
}
HOLDS(memory_in_use_is_not_let_go_before_the_request_ends)

/* So many requests go through, so that the device knows where the ring lies. */
static bool some_go_through(struct test_driver *d, unsigned count)
{
	struct viodma_request *request;

	test_grant(d, BUFFER(0), 2 * TEST_PAGE, VIODMA_READ_WRITE);
	test_request(d, 0, BUFFER(0), 16, BUFFER(1), 16);
	while (count--) {
		test_make_available(d, 0);
		CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
		viodma_queue_push(&d->queue, request, 16);
	}
	return true;
}

static bool a_ring_in_use_is_not_read_once_it_is_withdrawn(void)
{
	static const size_t parts[] = {TEST_DESC, TEST_AVAIL};

	for (unsigned i = 0; i < 3; i++) {
		const struct test_options options = {
			.size = 8, .platform = true, .scatter = true, .packed = i == 2, .split = i < 2};
		const size_t part = i == 2 ? TEST_DESC : parts[i];
		struct test_driver *d = with_rings(&options);
		struct viodma_request *request;

		CHECK(some_go_through(d, 3));
		test_revoke(d, part, TEST_PAGE);
		test_make_available(d, 0); /* in memory that is not the device's any more */
		CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_WAIT);
		CHECK(test_asked(d, part, VIODMA_READ));
		test_answer(d, true);
		CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
		viodma_queue_push(&d->queue, request, 16);
	}
	return true;
}
HOLDS(a_ring_in_use_is_not_read_once_it_is_withdrawn)

static bool a_ring_in_use_is_not_written_once_it_is_withdrawn(void)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		const struct test_options options = {
			.size = 8, .platform = true, .scatter = true, .packed = packed, .split = !packed};
		const size_t part = packed ? TEST_DESC : TEST_USED;
		struct test_driver *d = with_rings(&options);
		unsigned char before[TEST_PAGE];
		struct viodma_request *request;

		CHECK(some_go_through(d, 3));
		test_make_available(d, 0);
		CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
		test_revoke(d, part, TEST_PAGE);
		memcpy(before, d->memory + part, TEST_PAGE);
		viodma_queue_push(&d->queue, request, 16);
		CHECK_EQUAL(d->queue.done, 1);
		CHECK(memcmp(before, d->memory + part, TEST_PAGE) == 0);
		CHECK(test_asked(d, part, VIODMA_WRITE));
		test_answer(d, true);
		CHECK(viodma_queue_pop(&d->queue, &request) != VIODMA_OK); /* it finishes what waits, and finds no other */
		CHECK_EQUAL(d->queue.done, 0);
		CHECK_EQUAL(test_used_idx(d), 4);
	}
	return true;
}
HOLDS(a_ring_in_use_is_not_written_once_it_is_withdrawn)

static struct viodma_request *copied_and_revoked(struct test_driver *d)
{
	struct viodma_request *request;

	test_grant(d, BUFFER(0), 2 * TEST_PAGE, VIODMA_READ_WRITE);
	test_fill(d, BUFFER(0), 2 * TEST_PAGE, 6);
	test_request(d, 0, BUFFER(0), 16, BUFFER(1), 16);
	test_make_available(d, 0);
	if (viodma_queue_pop(&d->queue, &request) != VIODMA_OK || request->result != VIODMA_OK)
		return NULL;
	test_revoke(d, BUFFER(0), 2 * TEST_PAGE);
	return request;
}

static bool in_copy_mode_a_revocation_never_waits_for_the_device(void)
{
	struct test_driver *d = with_rings(&copying);
	struct viodma_request *request = copied_and_revoked(d), *none;
	unsigned char bytes[16], before[16];

	CHECK(request != NULL);
	CHECK(!in_use(d));
	memcpy(before, d->memory + BUFFER(0), 16);
	memset(d->memory + BUFFER(0), 0, 16); /* the driver uses it for something else */
	CHECK_RESULT(viodma_request_read(request, 0, bytes, 16), VIODMA_OK);
	CHECK(memcmp(bytes, before, 16) == 0);
	CHECK_RESULT(viodma_request_write(request, 0, "0123456789abcdef", 16), VIODMA_OK);
	viodma_queue_push(&d->queue, request, 16);
	CHECK(test_filled(d, BUFFER(1), TEST_PAGE, 6)); /* not mapped, not written */
	CHECK_EQUAL(test_used_idx(d), 0);
	CHECK_EQUAL(d->queue.done, 1);
	CHECK(test_asked(d, BUFFER(1), VIODMA_WRITE));
	test_answer(d, true); /* mapped again: the answer is delivered */
	CHECK_RESULT(test_pop(d, &none), VIODMA_EMPTY);
	CHECK_EQUAL(test_used_idx(d), 1);
	CHECK(memcmp(d->memory + BUFFER(1), "0123456789abcdef", 16) == 0);
	CHECK_EQUAL(d->copies, 0);
	return true;
}
HOLDS(in_copy_mode_a_revocation_never_waits_for_the_device)

static bool in_copy_mode_memory_that_is_gone_for_good_is_not_written(void)
{
	struct test_driver *d = with_rings(&copying);
	struct viodma_request *request = copied_and_revoked(d);

	CHECK(request != NULL);
	CHECK_RESULT(viodma_request_write(request, 0, "0123456789abcdef", 16), VIODMA_OK);
	viodma_queue_push(&d->queue, request, 16);
	test_answer(d, false);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_PEER_UNREACHABLE);
	CHECK(test_filled(d, BUFFER(0), 2 * TEST_PAGE, 6));
	CHECK_EQUAL(test_used_idx(d), 0);
	CHECK_EQUAL(d->copies, 0);
	return true;
}
HOLDS(in_copy_mode_memory_that_is_gone_for_good_is_not_written)

static bool in_copy_mode_a_request_waits_for_private_memory(void)
{
	struct test_driver *d = with_rings(&copying);
	struct viodma_request *first, *second;

	test_grant(d, BUFFER(0), 2 * TEST_PAGE, VIODMA_READ_WRITE);
	test_request(d, 0, BUFFER(0), 16, BUFFER(1), 16);
	test_request(d, 2, BUFFER(0), 16, BUFFER(1), 16);
	test_make_available(d, 0);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &first), VIODMA_OK);
	d->copy_refusals = 1;
	test_make_available(d, 2);
	second = NULL;
	CHECK(viodma_queue_pop(&d->queue, &second) != VIODMA_OK);
	CHECK_EQUAL(d->queue.parked, 1);
	viodma_queue_push(&d->queue, first, 0);
	CHECK(viodma_queue_has_work(&d->queue));
	CHECK_RESULT(viodma_queue_pop(&d->queue, &second), VIODMA_OK);
	CHECK_EQUAL(second->head, 2);
	viodma_queue_push(&d->queue, second, 0);
	CHECK_EQUAL(test_used_idx(d), 2);
	CHECK_EQUAL(d->copies, 0);
	return true;
}
HOLDS(in_copy_mode_a_request_waits_for_private_memory)

/* ---- bounds ---- */

static bool one_call_fetches_at_most_one_queue_full(void)
{
	struct test_driver *d = with_rings(&asked);
	struct viodma_request *request;
	unsigned i;

	for (i = 0; i < 8; i++) {
		test_request(d, (uint16_t)i, 0, 0, BUFFER(i), 16);
		test_make_available(d, (uint16_t)i);
	}
	CHECK(viodma_queue_pop(&d->queue, &request) != VIODMA_OK); /* = DEV-17 */
	CHECK_EQUAL(d->queue.statistics.fetched, 8);
	CHECK_EQUAL(d->queue.parked, 8);
	CHECK_EQUAL(d->ask_count, 8);
	for (i = 0; i < 8; i++)
		CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
	CHECK_EQUAL(d->queue.submitted, 8);
	return true;
}
HOLDS(one_call_fetches_at_most_one_queue_full)

static bool a_request_larger_than_the_iotlb_fails_and_starves_nobody(void)
{
	struct test_options options = asked;
	struct test_driver *d;
	struct viodma_request *request;
	unsigned i;

	options.iotlb_capacity = 16;
	d = with_rings(&options);
	test_request(d, 0, BUFFER(0), 64 * TEST_PAGE, BUFFER(0), 1);
	test_request(d, 2, BUFFER(1), 16, BUFFER(1), 1);
	test_make_available(d, 0);
	test_make_available(d, 2);
	CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
	for (i = 0; i < 100 && request->head == 0; i++) {
		enum viodma_result result;

		CHECK(request->result != VIODMA_OK);
		result = viodma_queue_reject(&d->queue, request, "\1", 1);
		CHECK(result == VIODMA_OK || result == VIODMA_MISS);
		CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
	}
	CHECK_EQUAL(request->head, 2);
	CHECK_RESULT(request->result, VIODMA_OK);
	CHECK_RESULT(d->queue.broken, VIODMA_OK);
	return true;
}
HOLDS(a_request_larger_than_the_iotlb_fails_and_starves_nobody)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(memory_in_use_is_not_let_go_before_the_request_ends),
		TEST(a_ring_in_use_is_not_read_once_it_is_withdrawn),
		TEST(a_ring_in_use_is_not_written_once_it_is_withdrawn),
		TEST(in_copy_mode_a_revocation_never_waits_for_the_device),
		TEST(in_copy_mode_memory_that_is_gone_for_good_is_not_written),
		TEST(in_copy_mode_a_request_waits_for_private_memory),
		TEST(one_call_fetches_at_most_one_queue_full),
		TEST(a_request_larger_than_the_iotlb_fails_and_starves_nobody),
	};

	return cmocka_run_group_tests_name("queue revoke", tests, NULL, no_driver);
}
