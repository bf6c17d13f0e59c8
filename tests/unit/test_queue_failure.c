/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_queue_failure.c - failures the driver is told of, limits, and tables too small for all that wait.
 *
 * How it works: as test_queue_wait.c; the rings are granted, buffers as the test says.
 */
#include "tests/support/queue_rig.h"

#define W VIRTQ_DESC_F_WRITE
#define N VIRTQ_DESC_F_NEXT
#define I VIRTQ_DESC_F_INDIRECT
#define BUFFER(n) (TEST_BUFFERS + (n) * TEST_PAGE)

static const struct test_options asked = {.size = 16, .platform = true, .scatter = true};
static const struct test_options copying = {.size = 16, .platform = true, .scatter = true, .copy = true};

static uint64_t touched[4]; /* bytes, by permission */

static bool used_is(struct test_driver *d, uint32_t wanted_id, uint32_t wanted_len)
{
	uint32_t id, len;

	CHECK(test_take_used(d, &id, &len));
	CHECK_EQUAL(id, wanted_id);
	CHECK_EQUAL(len, wanted_len);
	return true;
}

/* ---- told ---- */

static bool a_failure_without_a_tail_is_a_used_length_of_0(void)
{
	struct test_driver *d = fresh_with_rings(&asked);
	struct viodma_request *request;

	test_request(d, 0, BUFFER(0), 16, BUFFER(1), 16);
	test_make_available(d, 0);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_EMPTY);
	test_answer(d, false);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
	CHECK(request->result != VIODMA_OK);
	CHECK_RESULT(viodma_queue_reject(&d->queue, request, NULL, 0), VIODMA_OK);
	CHECK(used_is(d, 0, 0));
	CHECK_RESULT(d->queue.broken, VIODMA_OK);
	return true;
}
HOLDS(a_failure_without_a_tail_is_a_used_length_of_0)

/* Data on one page, the status on another; the data is withdrawn while the device works. */
static struct viodma_request *half_withdrawn(struct test_driver *d)
{
	struct viodma_request *request;

	test_grant(d, BUFFER(0), 2 * TEST_PAGE, VIODMA_WRITE);
	test_fill(d, BUFFER(0), 2 * TEST_PAGE, 3);
	test_desc(d, 0, test_bus(d, BUFFER(0)), 100, W | N, 1);
	test_desc(d, 1, test_bus(d, BUFFER(1)), 1, W, 0);
	test_make_available(d, 0);
	if (viodma_queue_pop(&d->queue, &request) != VIODMA_OK || request->result != VIODMA_OK)
		return NULL;
	viodma_request_set_failure(request, "\5", 1);
	if (viodma_request_write(request, 0, "data", 4) != VIODMA_OK ||
	    viodma_request_write(request, 100, "\0", 1) != VIODMA_OK)
		return NULL;
	test_revoke(d, BUFFER(0), TEST_PAGE);
	return request;
}

static bool in_copy_mode_the_driver_sees_that_its_data_could_not_be_delivered(void)
{
	struct test_driver *d = fresh_with_rings(&copying);
	struct viodma_request *request = half_withdrawn(d), *none;

	CHECK(request != NULL);
	viodma_queue_push(&d->queue, request, 101);
	CHECK_EQUAL(test_used_idx(d), 0);
	test_answer(d, false);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &none), VIODMA_EMPTY);
	CHECK_EQUAL(test_used_idx(d), 1);
	CHECK_EQUAL(d->memory[BUFFER(1)], 5); /* not the success the device meant */
	CHECK(test_filled(d, BUFFER(0), TEST_PAGE, 3));
	CHECK_RESULT(d->queue.broken, VIODMA_OK);
	CHECK_EQUAL(d->copies, 0);
	return true;
}
HOLDS(in_copy_mode_the_driver_sees_that_its_data_could_not_be_delivered)

static bool in_copy_mode_a_failure_that_cannot_be_delivered_breaks_the_queue(void)
{
	struct test_driver *d = fresh_with_rings(&copying);
	struct viodma_request *request = half_withdrawn(d);

	CHECK(request != NULL);
	test_revoke(d, BUFFER(1), TEST_PAGE);
	viodma_queue_push(&d->queue, request, 101);
	test_answer(d, false);
	while (viodma_queue_pop(&d->queue, &request) == VIODMA_EMPTY && test_answer(d, false))
		;
	CHECK_RESULT(d->queue.broken, VIODMA_PEER_UNREACHABLE);
	CHECK_EQUAL(test_used_idx(d), 0);
	CHECK(test_filled(d, BUFFER(0), 2 * TEST_PAGE, 3));
	CHECK_EQUAL(d->copies, 0);
	return true;
}
HOLDS(in_copy_mode_a_failure_that_cannot_be_delivered_breaks_the_queue)

static bool a_table_that_turns_out_malformed_breaks_the_queue_when_it_is_read(void)
{
	struct test_driver *d = fresh_with_rings(&asked);
	const size_t table = TEST_TABLES + TEST_PAGE - 16;
	struct viodma_request *request;

	test_grant(d, TEST_TABLES, TEST_PAGE, VIODMA_READ);
	test_grant(d, BUFFER(0), TEST_PAGE, VIODMA_READ);
	test_table_desc(d, table, 0, test_bus(d, BUFFER(0)), 16, N, 1);
	test_table_desc(d, table, 1, test_bus(d, BUFFER(0)), 16, N, 9); /* on a page that is not there yet */
	test_desc(d, 0, test_bus(d, table), 32, I, 0);
	test_request(d, 4, BUFFER(0), 8, 0, 0);
	test_make_available(d, 0);
	test_make_available(d, 4);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
	CHECK_EQUAL(request->head, 4);
	test_answer(d, true);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_PEER_HEAD);
	CHECK_RESULT(d->queue.broken, VIODMA_PEER_HEAD);
	CHECK_EQUAL(d->queue.parked, 0);
	viodma_queue_push(&d->queue, &d->queue.requests[4], 0);
	CHECK_EQUAL(d->queue.submitted, 0);
	return true;
}
BEHAVIOUR(a_table_that_turns_out_malformed_breaks_the_queue_when_it_is_read, "DRV-11")

static bool a_driver_whose_wish_is_out_of_reach_is_called(void)
{
	struct test_driver *d = fresh_with_rings(&asked);
	struct viodma_request *request;

	test_request(d, 0, BUFFER(0), 8, 0, 0);
	test_make_available(d, 0);
	CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
	viodma_queue_push(&d->queue, request, 0);
	test_put16(d, TEST_AVAIL + VIRTQ_AVAIL_FLAGS, VIRTQ_AVAIL_F_NO_INTERRUPT);
	test_revoke(d, TEST_AVAIL, TEST_PAGE);
	CHECK(viodma_queue_call_needed(&d->queue)); /* one call too many does no harm, one too few does */
	return true;
}
HOLDS(a_driver_whose_wish_is_out_of_reach_is_called)

static bool a_start_elsewhere_drops_completions_that_were_held(void)
{
	struct test_driver *d = fresh_with_rings(&copying);
	struct viodma_queue_setup setup = d->setup;
	struct viodma_request *request;
	uint32_t dropped = 99;

	test_request(d, 0, 0, 0, BUFFER(0), 8);
	test_make_available(d, 0);
	CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
	test_revoke_used(d);
	viodma_queue_push(&d->queue, request, 8);
	CHECK_EQUAL(d->queue.done, 1);
	CHECK_RESULT(viodma_queue_stop(&d->queue, &setup.base), VIODMA_OK);
	setup.base += 5;
	CHECK_RESULT(viodma_queue_start(&d->queue, &setup, &dropped), VIODMA_OK);
	CHECK_EQUAL(dropped, 1);
	CHECK_EQUAL(d->queue.done, 0);
	CHECK_EQUAL(d->copies, 0);
	return true;
}
HOLDS(a_start_elsewhere_drops_completions_that_were_held)

/* ---- touched ---- */

static void on_touch(void *context, viodma_bus bus, viodma_phys phys, uint64_t len, enum viodma_permission permission)
{
	struct test_driver *d = context;

	/* Told with both addresses of the same byte. */
	if (test_offset_of_bus(d, bus.v) == phys.v - TEST_PHYS && phys.v - TEST_PHYS >= TEST_BUFFERS)
		touched[permission] += len;
}

static bool what_a_request_uses_is_told(const struct test_options *options)
{
	struct test_driver *d = fresh_with_rings(options);
	struct viodma_request *request;

	memset(touched, 0, sizeof(touched));
	d->space.events.touch = on_touch;
	test_request(d, 0, BUFFER(0) + 5, 100, BUFFER(1), 50);
	test_make_available(d, 0);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_EMPTY);
	CHECK_EQUAL(touched[VIODMA_READ] + touched[VIODMA_WRITE], 0); /* who waits uses nothing */
	CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
	CHECK_RESULT(viodma_request_write(request, 0, "0123456789", 10), VIODMA_OK);
	viodma_queue_push(&d->queue, request, 10);
	CHECK_EQUAL(touched[VIODMA_READ], 100);
	CHECK_EQUAL(touched[VIODMA_WRITE], options->copy ? 10 : 50);
	return true;
}

static bool the_bytes_a_request_uses_are_told(void)
{
	return what_a_request_uses_is_told(&asked) && what_a_request_uses_is_told(&copying);
}
HOLDS(the_bytes_a_request_uses_are_told)

/* ---- limits ---- */

static bool in_copy_mode_a_few_stretches_can_be_written(void)
{
	struct test_driver *d = fresh_with_rings(&copying);
	struct viodma_request *request;
	unsigned i;

	test_grant(d, BUFFER(0), TEST_PAGE, VIODMA_WRITE);
	test_request(d, 0, 0, 0, BUFFER(0), 1000);
	test_make_available(d, 0);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
	for (i = 0; i < VIODMA_REQUEST_EXTENTS; i++)
		CHECK_RESULT(viodma_request_write(request, 200 * i + 50, "x", 1), VIODMA_OK);
	CHECK_RESULT(viodma_request_write(request, 999, "x", 1), VIODMA_E_LIMIT); /* no room to remember it */
	CHECK_RESULT(viodma_request_write(request, 49, "y", 1), VIODMA_OK);	  /* but beside another one */
	CHECK_RESULT(viodma_request_write(request, 51, "zz", 2), VIODMA_OK);
	CHECK_RESULT(viodma_request_write(request, 40, "0123456789abcdefghij", 20), VIODMA_OK); /* and over it */
	viodma_queue_push(&d->queue, request, 1000);
	CHECK(memcmp(d->memory + BUFFER(0) + 40, "0123456789abcdefghij", 20) == 0);
	CHECK_EQUAL(d->memory[BUFFER(0) + 250], 'x');
	CHECK_EQUAL(d->memory[BUFFER(0) + 39] | d->memory[BUFFER(0) + 60] | d->memory[BUFFER(0) + 999], 0);
	return true;
}
HOLDS(in_copy_mode_a_few_stretches_can_be_written)

static bool configurations_that_cannot_be_are_refused(void)
{
	struct test_driver *d = fresh_with_rings(&copying);
	struct viodma_queue_config good = d->queue.config, bad = good;
	struct viodma_queue queue;

	bad.copy_alloc = NULL;
	CHECK_RESULT(viodma_queue_init(&queue, &bad), VIODMA_E_INVALID);
	bad = good;
	bad.space = NULL;
	CHECK_RESULT(viodma_queue_init(&queue, &bad), VIODMA_E_INVALID);
	bad = good;
	bad.size_max = 32768;
	bad.segments_max = 32768;
	bad.pieces_max = UINT32_MAX;
	/* 2^47 pieces: more than can be said on 32 bits, and nothing that there is memory for on 64. */
	CHECK(viodma_queue_memory_bytes(&bad) == 0 || viodma_queue_memory_bytes(&bad) > ((uint64_t)1 << 47));
	CHECK_RESULT(viodma_queue_init(&queue, &bad), VIODMA_E_INVALID);
	return true;
}
HOLDS(configurations_that_cannot_be_are_refused)

/* Eight requests of four pages each wait together; the table has room for three of them, and the rings. */
static bool requests_that_wait_all_get_their_turn(const struct test_options *options)
{
	struct test_options small = *options;
	struct test_driver *d;
	struct viodma_request *request;
	unsigned i, turns, done = 0;

	small.iotlb_capacity = 20;
	d = fresh_with_rings(&small);
	for (i = 0; i < 8; i++) {
		test_desc(d, 2 * i, test_bus(d, BUFFER(8 * i)), 2 * TEST_PAGE, N, (uint16_t)(2 * i + 1));
		test_desc(d, 2 * i + 1, test_bus(d, BUFFER(8 * i + 4)), 2 * TEST_PAGE, W, 0);
		test_make_available(d, (uint16_t)(2 * i));
	}
	for (turns = 0; turns < 2000 && done < 8; turns++) {
		while (viodma_queue_pop(&d->queue, &request) == VIODMA_OK) {
			CHECK_RESULT(request->result, VIODMA_OK);
			viodma_queue_push(&d->queue, request, 0);
			done++;
		}
		test_answer(d, true);
		d->ask_count = d->answered = 0;
	}
	CHECK_EQUAL(done, 8);
	CHECK_EQUAL(d->space.waiting_pages, 0);
	return true;
}

static bool requests_that_wait_do_not_evict_each_other_for_ever(void)
{
	return requests_that_wait_all_get_their_turn(&asked) && requests_that_wait_all_get_their_turn(&copying);
}
HOLDS(requests_that_wait_do_not_evict_each_other_for_ever)

static bool in_copy_mode_memory_refused_again_and_again_is_waited_for(void)
{
	struct test_driver *d = fresh_with_rings(&copying);
	struct viodma_request *request[3];
	unsigned i;

	test_grant(d, BUFFER(0), TEST_PAGE, VIODMA_READ);
	for (i = 0; i < 3; i++) {
		test_request(d, (uint16_t)(2 * i), BUFFER(0), 16, 0, 0);
		test_make_available(d, (uint16_t)(2 * i));
	}
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request[0]), VIODMA_OK);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request[1]), VIODMA_OK);
	d->copy_refusals = 2;
	CHECK(viodma_queue_pop(&d->queue, &request[2]) != VIODMA_OK);
	viodma_queue_push(&d->queue, request[0], 0); /* something is freed, and still it is refused */
	CHECK(viodma_queue_pop(&d->queue, &request[2]) != VIODMA_OK);
	CHECK_EQUAL(d->queue.parked, 1);
	viodma_queue_push(&d->queue, request[1], 0);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request[2]), VIODMA_OK);
	viodma_queue_push(&d->queue, request[2], 0);
	CHECK_EQUAL(test_used_idx(d), 3);
	CHECK_EQUAL(d->copies, 0);
	return true;
}
HOLDS(in_copy_mode_memory_refused_again_and_again_is_waited_for)

int main(void)
{
	const struct CMUnitTest both[] = {
		TEST(a_failure_without_a_tail_is_a_used_length_of_0),
		TEST(in_copy_mode_the_driver_sees_that_its_data_could_not_be_delivered),
		TEST(in_copy_mode_a_failure_that_cannot_be_delivered_breaks_the_queue),
		TEST(a_driver_whose_wish_is_out_of_reach_is_called),
		TEST(a_start_elsewhere_drops_completions_that_were_held),
		TEST(the_bytes_a_request_uses_are_told),
		TEST(in_copy_mode_a_few_stretches_can_be_written),
		TEST(configurations_that_cannot_be_are_refused),
		TEST(requests_that_wait_do_not_evict_each_other_for_ever),
		TEST(in_copy_mode_memory_refused_again_and_again_is_waited_for),
	};
	const struct CMUnitTest split[] = {
		WITH_MUTANT(a_table_that_turns_out_malformed_breaks_the_queue_when_it_is_read),
	};

	return CHECK_RUN("queue failure", both, split, no_driver);
}
