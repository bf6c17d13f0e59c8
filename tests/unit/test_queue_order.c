/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_queue_order.c - orders: of completions, with IN_ORDER (DEV-23); of accesses, with ORDER_PLATFORM (DRV-23).
 *
 * How it works: each behaviour runs over split and packed rings. The barriers of the platform are counted by the hook
 * behind them.
 */
#include "tests/support/hooks.h"
#include "tests/support/queue_rig.h"

#define W VIRTQ_DESC_F_WRITE
#define N VIRTQ_DESC_F_NEXT
#define BUFFER(n) (TEST_BUFFERS + (n) * TEST_PAGE)
#define SIZE 8u

static struct test_driver *in_order(bool packed, bool platform)
{
	const struct test_options options = {.size = SIZE, .packed = packed, .split = !packed, .in_order = true,
					     .platform = platform, .scatter = true};
	struct test_driver *d = fresh(&options);

	if (platform)
		test_grant_rings(d);
	return d;
}

static void offer(struct test_driver *d, uint16_t head)
{
	test_desc(d, head, test_bus(d, BUFFER(head)), 16, W, 0);
	test_make_available(d, head);
}

static bool used_is(struct test_driver *d, uint32_t wanted)
{
	uint32_t id, len;

	CHECK(test_take_used(d, &id, &len));
	CHECK_EQUAL(id, wanted);
	return true;
}

static bool early_completions_wait(bool packed)
{
	struct test_driver *d = in_order(packed, false);
	struct viodma_request *request[4];

	for (uint16_t i = 0; i < 4; i++) {
		offer(d, 3 - i);
		CHECK_RESULT(test_pop(d, &request[i]), VIODMA_OK);
	}
	viodma_queue_push(&d->queue, request[2], 0);
	viodma_queue_push(&d->queue, request[1], 0);
	CHECK_EQUAL(d->queue.done, 2);
	CHECK_EQUAL(test_used_idx(d), 0);
	CHECK(!viodma_queue_call_needed(&d->queue));
	viodma_queue_push(&d->queue, request[0], 0);
	CHECK_EQUAL(d->queue.done, 0);
	CHECK(used_is(d, 3) && used_is(d, 2) && used_is(d, 1));
	CHECK(viodma_queue_call_needed(&d->queue));
	viodma_queue_push(&d->queue, request[3], 0);
	CHECK(used_is(d, 0));
	return true;
}

static bool completions_reach_the_driver_in_the_order_in_which_requests_came(void)
{
	return early_completions_wait(false) && early_completions_wait(true);
}
BEHAVIOUR(completions_reach_the_driver_in_the_order_in_which_requests_came, "DEV-23")

static bool completions_queue_behind_a_request_that_waits(bool packed)
{
	struct test_driver *d = in_order(packed, true);
	struct viodma_request *request;

	test_grant(d, BUFFER(1), 2 * TEST_PAGE, VIODMA_READ_WRITE);
	offer(d, 0); /* not translated */
	offer(d, 1);
	offer(d, 2);
	for (unsigned i = 1; i < 3; i++) {
		CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
		CHECK_EQUAL(request->head, i);
		viodma_queue_push(&d->queue, request, 0);
	}
	CHECK_EQUAL(d->queue.done, 2);
	CHECK_EQUAL(test_used_idx(d), 0);
	CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
	CHECK_EQUAL(request->head, 0);
	viodma_queue_push(&d->queue, request, 0);
	CHECK(used_is(d, 0) && used_is(d, 1) && used_is(d, 2));
	return true;
}

static bool a_request_that_waits_holds_completions_and_not_the_queue(void)
{
	return completions_queue_behind_a_request_that_waits(false) && completions_queue_behind_a_request_that_waits(true);
}
HOLDS(a_request_that_waits_holds_completions_and_not_the_queue)

static bool a_stop_with_one_that_waits(bool packed)
{
	struct test_driver *d = in_order(packed, true);
	struct viodma_request *request;
	uint32_t base, dropped = 9;

	test_grant(d, BUFFER(1), TEST_PAGE, VIODMA_READ_WRITE);
	offer(d, 0);
	offer(d, 1);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
	viodma_queue_push(&d->queue, request, 0);
	CHECK_RESULT(viodma_queue_stop(&d->queue, &base), VIODMA_OK);
	CHECK_EQUAL(base, test_base_at(d, 2, 0));
	d->setup.base = base;
	CHECK_RESULT(viodma_queue_start(&d->queue, &d->setup, &dropped), VIODMA_OK);
	CHECK_EQUAL(dropped, 0);
	CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
	CHECK_EQUAL(request->head, 0);
	viodma_queue_push(&d->queue, request, 0);
	CHECK(used_is(d, 0) && used_is(d, 1));
	return true;
}

static bool what_waits_and_what_waits_behind_it_goes_on_after_a_stop(void)
{
	return a_stop_with_one_that_waits(false) && a_stop_with_one_that_waits(true);
}
HOLDS(what_waits_and_what_waits_behind_it_goes_on_after_a_stop)

static bool held_ones_are_failed_in_order(bool packed)
{
	struct test_driver *d = in_order(packed, true);
	struct viodma_request *request;

	test_grant(d, BUFFER(1), TEST_PAGE, VIODMA_READ_WRITE);
	test_request(d, 4, BUFFER(0), 16, BUFFER(1) + 8, 1);
	test_make_available(d, 4);
	offer(d, 1);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
	viodma_queue_push(&d->queue, request, 0);
	CHECK_RESULT(viodma_queue_pop_held(&d->queue, &request), VIODMA_OK);
	CHECK_EQUAL(request->head, 4);
	CHECK_RESULT(viodma_queue_reject(&d->queue, request, "\1", 1), VIODMA_OK);
	CHECK(used_is(d, 4) && used_is(d, 1));
	return true;
}

static bool held_requests_are_failed_before_those_behind_them_come_back(void)
{
	return held_ones_are_failed_in_order(false) && held_ones_are_failed_in_order(true);
}
HOLDS(held_requests_are_failed_before_those_behind_them_come_back)

static bool any_order(bool packed, uint64_t seed)
{
	struct test_driver *d = in_order(packed, false);
	struct check_random random = {.state = seed};
	struct viodma_request *held[SIZE] = {NULL};
	uint16_t order[64] = {0};
	bool out[SIZE] = {false};
	uint32_t made = 0, back = 0, in_ring = 0, id, len;

	for (unsigned round = 0; round < 20000; round++) {
		const uint16_t head = (uint16_t)check_below(&random, SIZE);
		const uint32_t count = packed ? 1 + (uint32_t)check_below(&random, 2) : 1;
		struct viodma_request *request;

		if (!out[head] && in_ring + count <= SIZE) {
			test_desc(d, head, test_bus(d, BUFFER(head)), 16, count > 1 ? N : W, SIZE);
			test_desc(d, SIZE, test_bus(d, BUFFER(SIZE)), 16, W, 0);
			test_make_available(d, head);
			out[head] = true;
			in_ring += count;
			order[made++ % 64] = head;
		} else if (held[head]) {
			viodma_queue_push(&d->queue, held[head], 0);
			held[head] = NULL;
		} else if (test_pop(d, &request) == VIODMA_OK) {
			held[request->head] = request;
		}
		while (test_take_used(d, &id, &len)) {
			CHECK_EQUAL(id, order[back++ % 64]);
			in_ring -= packed ? d->counts[id] : 1;
			out[id] = false;
		}
	}
	CHECK(back > 1000);
	CHECK_RESULT(d->queue.broken, VIODMA_OK);
	return true;
}

static bool whatever_order_the_device_ends_them_in_the_driver_sees_its_own(void)
{
	return any_order(false, 3) && any_order(true, 4);
}
HOLDS(whatever_order_the_device_ends_them_in_the_driver_sees_its_own)

/* ---- ORDER_PLATFORM ---- */

static bool barriers(bool packed, bool order_platform)
{
	const struct test_options options = {.size = SIZE, .packed = packed, .split = !packed,
					     .order_platform = order_platform, .event_idx = true};
	struct test_driver *d = fresh(&options);
	unsigned *const fences = viodma_shared_platform_fences;
	const unsigned each = order_platform ? 1 : 0;
	struct viodma_request *request;

	CHECK_RESULT(test_pop(d, &request), VIODMA_EMPTY);
	offer(d, 0);
	memset(fences, 0, 3 * sizeof(*fences));
	CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
	CHECK_EQUAL(fences[VIODMA_FENCE_READ], each); /* = DRV-23 */
	CHECK_EQUAL(fences[VIODMA_FENCE_WRITE], 0);
	viodma_queue_push(&d->queue, request, 0);
	CHECK_EQUAL(fences[VIODMA_FENCE_WRITE], each);
	CHECK_EQUAL(fences[VIODMA_FENCE_FULL], 0);
	(void)viodma_queue_call_needed(&d->queue);
	CHECK_EQUAL(fences[VIODMA_FENCE_FULL], each);
	CHECK_RESULT(test_pop(d, &request), VIODMA_EMPTY);
	CHECK_EQUAL(fences[VIODMA_FENCE_FULL], 2 * each);
	return true;
}

static bool the_barriers_of_the_platform_stand_where_they_are_needed(void)
{
	return barriers(false, true) && barriers(true, true) && barriers(false, false) && barriers(true, false);
}
HOLDS(the_barriers_of_the_platform_stand_where_they_are_needed)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_MUTANT(completions_reach_the_driver_in_the_order_in_which_requests_came),
		TEST(a_request_that_waits_holds_completions_and_not_the_queue),
		TEST(what_waits_and_what_waits_behind_it_goes_on_after_a_stop),
		TEST(held_requests_are_failed_before_those_behind_them_come_back),
		TEST(whatever_order_the_device_ends_them_in_the_driver_sees_its_own),
		TEST(the_barriers_of_the_platform_stand_where_they_are_needed),
	};

	return cmocka_run_group_tests_name("queue order", tests, NULL, no_driver);
}
