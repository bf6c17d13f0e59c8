/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_queue_stop.c - stopping, starting again, resetting: no request is lost, none is done twice (DEV-18), and a
 * stopped ring is not touched (DEV-14).
 *
 * How it works: the last test is random: a driver that makes requests, a platform that grants and withdraws pages, a
 * device that ends requests in any order, and queue stops in between. At the end each request has come back once.
 */
#include "tests/support/hooks.h"
#include "tests/support/queue_rig.h"

#define BUFFER(n) (TEST_BUFFERS + (n) * TEST_PAGE)

static const struct test_options asked = {.size = 8, .platform = true, .scatter = true};
static const struct test_options copying = {.size = 8, .platform = true, .scatter = true, .copy = true};

static unsigned reads;

/* Request `head` writes one byte into buffer page `head`. */
static void offer(struct test_driver *d, uint16_t head)
{
	test_request(d, head, 0, 0, BUFFER(head), 1);
	test_make_available(d, head);
}

static bool used_is(struct test_driver *d, uint32_t wanted)
{
	uint32_t id, len;

	CHECK(test_take_used(d, &id, &len));
	CHECK_EQUAL(id, wanted);
	return true;
}

static void count_read(const void *at, size_t bytes)
{
	(void)at;
	(void)bytes;
	reads++;
}

static bool a_queue_with_requests_at_the_device_does_not_stop(void)
{
	struct test_driver *d = fresh_with_rings(&asked);
	struct viodma_request *request;
	uint32_t base;

	offer(d, 0);
	CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
	CHECK_RESULT(viodma_queue_stop(&d->queue, &base), VIODMA_E_BUSY);
	CHECK(d->queue.running);
	viodma_queue_push(&d->queue, request, 0);
	CHECK_RESULT(viodma_queue_stop(&d->queue, &base), VIODMA_OK);
	CHECK_EQUAL(base, test_base_at(d, 1, 1));
	CHECK(!d->queue.running);
	CHECK(used_is(d, 0));
	return true;
}
HOLDS(a_queue_with_requests_at_the_device_does_not_stop)

static bool a_stopped_ring_is_not_touched(void)
{
	struct test_driver *d = fresh_with_rings(&asked);
	static unsigned char before[TEST_BYTES];
	struct viodma_request *request;
	uint32_t base;

	offer(d, 0);
	CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
	viodma_queue_push(&d->queue, request, 0);
	CHECK_RESULT(viodma_queue_stop(&d->queue, &base), VIODMA_OK);
	offer(d, 1);
	memcpy(before, d->memory, TEST_BYTES);
	reads = 0;
	viodma_shared_read_hook_fn = count_read;
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_FAULT_STOPPED); /* = DEV-14 */
	CHECK(!viodma_queue_has_work(&d->queue));
	CHECK(!viodma_queue_call_needed(&d->queue));
	viodma_queue_kicked(&d->queue);
	viodma_shared_read_hook_fn = NULL;
	CHECK_EQUAL(reads, 0);
	CHECK(memcmp(before, d->memory, TEST_BYTES) == 0);
	return true;
}
HOLDS(a_stopped_ring_is_not_touched)

static bool requests_that_wait_are_given_back(void)
{
	struct test_driver *d = fresh_with_rings(&asked);
	struct viodma_queue_setup setup = d->setup;
	struct viodma_request *request;
	uint32_t dropped = 99;
	uint32_t base;

	offer(d, 0);
	CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
	viodma_queue_push(&d->queue, request, 0);
	offer(d, 1);
	offer(d, 2);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_EMPTY);
	CHECK_EQUAL(d->queue.parked, 2);
	CHECK_RESULT(viodma_queue_stop(&d->queue, &base), VIODMA_OK);
	CHECK_EQUAL(base, test_base_at(d, 1, 1));
	CHECK_EQUAL(d->queue.parked, 0);
	setup.base = base;
	CHECK_RESULT(viodma_queue_start(&d->queue, &setup, &dropped), VIODMA_OK);
	CHECK_EQUAL(dropped, 0);
	CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
	viodma_queue_push(&d->queue, request, 0);
	CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
	viodma_queue_push(&d->queue, request, 0);
	CHECK_RESULT(test_pop(d, &request), VIODMA_EMPTY);
	CHECK_EQUAL(test_used_idx(d), 3);
	return true;
}
HOLDS(requests_that_wait_are_given_back)

/* Request 1 waits although 2, fetched later, was done: it cannot be given back by an index. */
static bool hold_one(struct test_driver *d, uint32_t *base)
{
	struct viodma_request *request;

	test_grant(d, BUFFER(2), TEST_PAGE, VIODMA_WRITE);
	offer(d, 1);
	offer(d, 2);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
	CHECK_EQUAL(request->head, 2);
	viodma_queue_push(&d->queue, request, 0);
	CHECK(used_is(d, 2));
	CHECK_RESULT(viodma_queue_stop(&d->queue, base), VIODMA_OK);
	CHECK_EQUAL(*base, test_base_at(d, 2, 1));
	return true;
}

static bool a_request_that_cannot_be_given_back_goes_on_after_the_stop(void)
{
	struct test_driver *d = fresh_with_rings(&asked);
	struct viodma_queue_setup setup = d->setup;
	struct viodma_request *request;
	uint32_t dropped = 99;

	CHECK(hold_one(d, &setup.base));
	CHECK_RESULT(viodma_queue_start(&d->queue, &setup, &dropped), VIODMA_OK);
	CHECK_EQUAL(dropped, 0);
	CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
	CHECK_EQUAL(request->head, 1);
	CHECK_RESULT(request->result, VIODMA_OK);
	viodma_queue_push(&d->queue, request, 1);
	CHECK(used_is(d, 1));
	CHECK_RESULT(test_pop(d, &request), VIODMA_EMPTY);
	return true;
}
HOLDS(a_request_that_cannot_be_given_back_goes_on_after_the_stop)

static bool a_start_elsewhere_drops_what_was_held_and_says_so(void)
{
	struct test_driver *d = fresh_with_rings(&asked);
	struct viodma_queue_setup setup = d->setup;
	struct viodma_request *request;
	uint32_t dropped = 99;

	CHECK(hold_one(d, &setup.base));
	setup.base = test_base_after_lost(d);
	CHECK_RESULT(viodma_queue_start(&d->queue, &setup, &dropped), VIODMA_OK);
	CHECK_EQUAL(dropped, 1);
	CHECK_EQUAL(d->queue.parked, 0);
	offer(d, 1); /* the head is free again */
	CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
	return true;
}
HOLDS(a_start_elsewhere_drops_what_was_held_and_says_so)

static bool what_cannot_be_given_back_can_be_failed_before_the_stop(void)
{
	struct test_driver *d = fresh_with_rings(&asked);
	struct viodma_request *request;
	uint32_t base;

	test_grant(d, BUFFER(2), TEST_PAGE, VIODMA_WRITE);
	test_request(d, 4, BUFFER(0), 16, BUFFER(2) + 8, 1); /* its header misses, its status does not */
	test_make_available(d, 4);
	offer(d, 2);
	offer(d, 3);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
	CHECK_EQUAL(request->head, 2);
	CHECK_RESULT(viodma_queue_pop_held(&d->queue, &request), VIODMA_OK);
	CHECK_EQUAL(request->head, 4);
	CHECK_RESULT(request->result, VIODMA_FAULT_STOPPED);
	CHECK_RESULT(viodma_queue_reject(&d->queue, request, "\1", 1), VIODMA_OK);
	CHECK(used_is(d, 4));
	CHECK_EQUAL(d->memory[BUFFER(2) + 8], 1);
	/* Request 3 waits too, but can be given back. */
	CHECK_RESULT(viodma_queue_pop_held(&d->queue, &request), VIODMA_EMPTY);
	viodma_queue_push(&d->queue, &d->queue.requests[2], 0);
	CHECK(used_is(d, 2));
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_EMPTY);
	CHECK_RESULT(viodma_queue_stop(&d->queue, &base), VIODMA_OK);
	CHECK_EQUAL(base, d->setup.packed ? test_base_at(d, 3, 3) : 2); /* the first took two descriptors */
	return true;
}
HOLDS(what_cannot_be_given_back_can_be_failed_before_the_stop)

static bool a_failure_that_cannot_be_told_is_held(void)
{
	struct test_driver *d = fresh_with_rings(&asked);
	struct viodma_queue_setup setup = d->setup;
	struct viodma_request *request;
	uint32_t dropped = 99;

	test_grant(d, BUFFER(2), TEST_PAGE, VIODMA_WRITE);
	offer(d, 1);
	offer(d, 2);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
	viodma_queue_push(&d->queue, request, 0);
	CHECK_RESULT(viodma_queue_pop_held(&d->queue, &request), VIODMA_OK);
	CHECK_EQUAL(request->head, 1);
	CHECK_RESULT(viodma_queue_reject(&d->queue, request, "\1", 1), VIODMA_MISS);
	CHECK_RESULT(viodma_queue_pop_held(&d->queue, &request), VIODMA_EMPTY);
	CHECK_RESULT(viodma_queue_stop(&d->queue, &setup.base), VIODMA_OK);
	CHECK_EQUAL(setup.base, test_base_at(d, 2, 1));
	CHECK_RESULT(viodma_queue_start(&d->queue, &setup, &dropped), VIODMA_OK);
	CHECK_EQUAL(dropped, 0);
	CHECK_RESULT(test_pop(d, &request), VIODMA_OK); /* and is done after all */
	CHECK_EQUAL(request->head, 1);
	CHECK_RESULT(request->result, VIODMA_OK);
	return true;
}
HOLDS(a_failure_that_cannot_be_told_is_held)

static bool completions_the_used_area_could_not_take_are_held(void)
{
	struct test_driver *d = fresh_with_rings(&asked);
	struct viodma_queue_setup setup = d->setup;
	struct viodma_request *request;
	uint32_t dropped = 99;

	offer(d, 1);
	CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
	test_revoke_used(d);
	viodma_queue_push(&d->queue, request, 1);
	CHECK_EQUAL(d->queue.done, 1);
	CHECK_RESULT(viodma_queue_stop(&d->queue, &setup.base), VIODMA_OK);
	CHECK_EQUAL(setup.base, test_base_at(d, 1, 0));
	CHECK_EQUAL(test_used_idx(d), 0);
	CHECK_RESULT(viodma_queue_start(&d->queue, &setup, &dropped), VIODMA_OK);
	CHECK_EQUAL(dropped, 0);
	CHECK_RESULT(test_pop(d, &request), VIODMA_EMPTY);
	CHECK(used_is(d, 1));
	CHECK_EQUAL(d->queue.done, 0);
	return true;
}
HOLDS(completions_the_used_area_could_not_take_are_held)

static bool a_reset_forgets_everything(void)
{
	struct test_driver *d = fresh_with_rings(&copying);
	struct viodma_queue_setup setup = d->setup;
	struct viodma_request *request;
	uint32_t dropped = 99;

	CHECK(hold_one(d, &setup.base));
	viodma_queue_reset(&d->queue);
	CHECK_EQUAL(d->queue.parked, 0);
	CHECK_EQUAL(d->queue.done, 0);
	CHECK(!d->queue.running);
	CHECK_EQUAL(d->copies, 0);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_FAULT_STOPPED);
	setup.base = test_fresh_ring(d);
	CHECK_RESULT(viodma_queue_start(&d->queue, &setup, &dropped), VIODMA_OK);
	CHECK_EQUAL(dropped, 0);
	CHECK_RESULT(test_pop(d, &request), VIODMA_EMPTY);
	offer(d, 1);
	CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
	viodma_queue_push(&d->queue, request, 0);
	CHECK(used_is(d, 1));
	return true;
}
HOLDS(a_reset_forgets_everything)

/* ---- anything, in any order ---- */

#define HEADS 8u

struct run {
	struct test_driver *d;
	struct check_random random;
	struct viodma_request *held[HEADS];
	bool out[HEADS]; /* made available, not come back */
	unsigned made, back;
};

static bool take_back(struct run *run)
{
	uint32_t id, len;

	while (test_take_used(run->d, &id, &len)) {
		CHECK(id < HEADS && run->out[id] && !run->held[id]);
		CHECK_EQUAL(run->d->memory[BUFFER(id)], 'a' + id);
		run->d->memory[BUFFER(id)] = 0;
		run->out[id] = false;
		run->back++;
	}
	return true;
}

static bool pop_some(struct run *run)
{
	struct viodma_request *request;
	enum viodma_result result = viodma_queue_pop(&run->d->queue, &request);

	CHECK(result == VIODMA_OK || result == VIODMA_EMPTY || result == VIODMA_WAIT);
	if (result != VIODMA_OK)
		return true;
	CHECK_RESULT(request->result, VIODMA_OK);
	CHECK(run->out[request->head] && !run->held[request->head]);
	run->held[request->head] = request;
	return true;
}

static bool push_one(struct run *run, unsigned head)
{
	unsigned char byte = (unsigned char)('a' + head);

	if (!run->held[head])
		return true;
	CHECK_RESULT(viodma_request_write(run->held[head], 0, &byte, 1), VIODMA_OK);
	viodma_queue_push(&run->d->queue, run->held[head], 1);
	run->held[head] = NULL;
	return true;
}

static bool stop_and_start(struct run *run)
{
	struct viodma_queue_setup setup = run->d->setup;
	uint32_t dropped = 0;
	unsigned head;

	for (head = 0; head < HEADS; head++)
		CHECK(push_one(run, head));
	CHECK_RESULT(viodma_queue_stop(&run->d->queue, &setup.base), VIODMA_OK);
	CHECK_RESULT(viodma_queue_start(&run->d->queue, &setup, &dropped), VIODMA_OK);
	CHECK_EQUAL(dropped, 0);
	return true;
}

static bool step(struct run *run)
{
	struct test_driver *d = run->d;
	unsigned head = (unsigned)check_below(&run->random, HEADS);

	switch (check_below(&run->random, 16)) {
	case 0:
	case 1:
	case 2:
		if (!run->out[head]) {
			run->out[head] = true;
			run->made++;
			offer(d, (uint16_t)head);
		}
		return true;
	case 3:
	case 4:
	case 5:
	case 6:
		return pop_some(run);
	case 7:
	case 8:
	case 9:
		return push_one(run, head);
	case 10:
	case 11:
		test_answer(d, true);
		d->ask_count = d->answered = 0;
		return true;
	case 12: /* a buffer is withdrawn, unless it is in use */
		if (!viodma_space_in_use(&d->space, test_bus(d, BUFFER(head)), test_bus(d, BUFFER(head) + TEST_PAGE - 1)))
			test_revoke(d, BUFFER(head), TEST_PAGE);
		return true;
	case 13: /* a part of the ring is withdrawn */
		if (check_below(&run->random, 4) == 0)
			test_revoke(d, check_below(&run->random, 2) ? TEST_USED : TEST_AVAIL, TEST_PAGE);
		return true;
	case 14:
		return check_below(&run->random, 8) ? true : stop_and_start(run);
	default:
		return take_back(run);
	}
}

static bool no_request_is_lost_or_repeated(const struct test_options *options, uint64_t seed)
{
	struct run run = {.d = fresh_with_rings(options), .random = {.state = seed}};
	unsigned i, head;

	for (i = 0; i < 40000; i++)
		CHECK(step(&run));
	for (i = 0; i < 100; i++) {
		CHECK(pop_some(&run));
		test_answer(run.d, true);
		for (head = 0; head < HEADS; head++)
			CHECK(push_one(&run, head));
		CHECK(take_back(&run));
	}
	CHECK(run.made > 1000);
	CHECK_EQUAL(run.back, run.made);
	CHECK_EQUAL(run.d->queue.parked + run.d->queue.done + run.d->queue.submitted, 0);
	CHECK_RESULT(run.d->queue.broken, VIODMA_OK);
	CHECK_EQUAL(run.d->copies, 0);
	return true;
}

static bool whatever_happens_no_request_is_lost_or_repeated(void)
{
	uint64_t seed;

	for (seed = 1; seed <= 6; seed++)
		if (!no_request_is_lost_or_repeated(&asked, seed) || !no_request_is_lost_or_repeated(&copying, seed))
			return false;
	return true;
}
HOLDS(whatever_happens_no_request_is_lost_or_repeated)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_queue_with_requests_at_the_device_does_not_stop),
		TEST(a_stopped_ring_is_not_touched),
		TEST(requests_that_wait_are_given_back),
		TEST(a_request_that_cannot_be_given_back_goes_on_after_the_stop),
		TEST(a_start_elsewhere_drops_what_was_held_and_says_so),
		TEST(what_cannot_be_given_back_can_be_failed_before_the_stop),
		TEST(a_failure_that_cannot_be_told_is_held),
		TEST(completions_the_used_area_could_not_take_are_held),
		TEST(a_reset_forgets_everything),
		TEST(whatever_happens_no_request_is_lost_or_repeated),
	};

	return cmocka_run_group_tests_name("queue stop", tests, NULL, no_driver);
}
