/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_queue_wait.c - a queue whose memory is not there yet, or not any more: parking, resuming, refusals.
 * (Withdrawn while in use: test_queue_revoke.c.)
 *
 * How it works: the IOTLB starts empty, or with the rings granted; the platform answers when the test says so.
 */
#include "tests/support/queue_rig.h"

#define R 0
#define W VIRTQ_DESC_F_WRITE
#define N VIRTQ_DESC_F_NEXT
#define I VIRTQ_DESC_F_INDIRECT

#define BUFFER(n) (TEST_BUFFERS + (n) * TEST_PAGE)

static const struct test_options asked = {.size = 8, .platform = true, .scatter = true};

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

/* Refuse one question; the others stay open. */
static enum viodma_result refuse(struct test_driver *d, size_t offset, enum viodma_permission wanted)
{
	return viodma_iotlb_replied(&d->iotlb, test_bus(d, offset), wanted, false);
}

/* ---- rings ---- */

static bool a_ring_that_is_not_translated_parks_the_queue(void)
{
	struct test_driver *d = empty(&asked);
	struct viodma_request *request;
	unsigned asks;

	test_request(d, 0, BUFFER(0), 16, 0, 0);
	test_make_available(d, 0);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_WAIT);
	CHECK(test_asked(d, TEST_AVAIL, VIODMA_READ));
	CHECK(!test_asked(d, TEST_AVAIL, VIODMA_WRITE)); /* the device never writes it */
	asks = d->ask_count;
	CHECK(!viodma_queue_has_work(&d->queue));
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_WAIT);
	CHECK_EQUAL(d->ask_count, asks);
	test_answer(d, true);
	CHECK(viodma_queue_has_work(&d->queue));
	CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
	CHECK_RESULT(request->result, VIODMA_OK);
	CHECK(test_asked(d, TEST_DESC, VIODMA_READ) && !test_asked(d, TEST_DESC, VIODMA_WRITE));
	viodma_queue_push(&d->queue, request, 0);
	while (test_answer(d, true))
		CHECK_RESULT(test_pop(d, &request), VIODMA_EMPTY);
	CHECK_EQUAL(test_used_idx(d), 1);
	CHECK_EQUAL(d->fault_count, 0);
	return true;
}
HOLDS(a_ring_that_is_not_translated_parks_the_queue)

static bool a_ring_the_platform_refuses_is_a_fault_and_tried_again_at_the_next_kick(void)
{
	struct test_driver *d = empty(&asked);
	struct viodma_request *request;

	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_WAIT);
	test_answer(d, false);
	CHECK(viodma_queue_has_work(&d->queue));
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_FAULT_UNMAPPED);
	CHECK_EQUAL(d->fault_count, 1);
	CHECK_EQUAL(d->faults[0].queue, 3);
	CHECK_EQUAL(d->faults[0].permission, VIODMA_READ);
	CHECK_EQUAL(d->faults[0].bus.v / TEST_PAGE, test_bus(d, TEST_AVAIL).v / TEST_PAGE);
	viodma_iotlb_settle(&d->iotlb);
	CHECK_RESULT(d->queue.broken, VIODMA_OK);
	viodma_queue_kicked(&d->queue);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_WAIT);
	CHECK_EQUAL(d->ask_count, 2);
	CHECK_RESULT(test_pop(d, &request), VIODMA_EMPTY);
	return true;
}
HOLDS(a_ring_the_platform_refuses_is_a_fault_and_tried_again_at_the_next_kick)

static bool a_used_area_granted_to_be_read_is_not_written(void)
{
	struct test_driver *d = with_rings(&asked);
	struct viodma_request *request;

	test_revoke_used(d);
	test_grant(d, TEST_USED, 3 * TEST_PAGE, VIODMA_READ);
	test_grant(d, BUFFER(0), TEST_PAGE, VIODMA_READ);
	test_request(d, 0, BUFFER(0), 16, 0, 0);
	test_make_available(d, 0);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
	viodma_queue_push(&d->queue, request, 0);
	test_answer(d, false);
	CHECK(viodma_queue_pop(&d->queue, &request) != VIODMA_OK);
	CHECK_EQUAL(test_used_idx(d), 0);
	CHECK_EQUAL(test_get32(d, TEST_USED + VIRTQ_USED_RING(0) + 4), 0);
	CHECK_EQUAL(d->queue.done, 1);
	CHECK(d->fault_count >= 1);
	CHECK_EQUAL(d->faults[0].reason, VIODMA_FAULT_PERMISSION);
	return true;
}
BEHAVIOUR(a_used_area_granted_to_be_read_is_not_written, "DEV-9")

static bool completions_wait_while_the_used_area_is_not_mapped(void)
{
	struct test_driver *d = with_rings(&asked);
	struct viodma_request *request[2], *none;
	uint32_t id, len;

	test_grant(d, BUFFER(0), 2 * TEST_PAGE, VIODMA_READ_WRITE);
	test_request(d, 0, BUFFER(0), 16, BUFFER(1), 16);
	test_request(d, 2, BUFFER(0), 32, BUFFER(1), 32);
	test_make_available(d, 0);
	test_make_available(d, 2);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request[0]), VIODMA_OK);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request[1]), VIODMA_OK);
	test_revoke_used(d);
	viodma_queue_push(&d->queue, request[1], 32);
	viodma_queue_push(&d->queue, request[0], 16);
	CHECK_EQUAL(test_used_idx(d), 0);
	CHECK_EQUAL(d->queue.done, 2);
	CHECK_EQUAL(d->queue.submitted, 0);
	CHECK(!in_use(d));
	CHECK(!viodma_queue_call_needed(&d->queue));
	CHECK(test_asked(d, test_used_area(d), VIODMA_WRITE));
	test_answer(d, true);
	CHECK(viodma_queue_has_work(&d->queue));
	CHECK_RESULT(test_pop(d, &none), VIODMA_EMPTY);
	CHECK_EQUAL(d->queue.done, 0);
	CHECK(test_take_used(d, &id, &len) && id == 2 && len == 32);
	CHECK(test_take_used(d, &id, &len) && id == 0 && len == 16);
	CHECK(viodma_queue_call_needed(&d->queue));
	return true;
}
HOLDS(completions_wait_while_the_used_area_is_not_mapped)

/* ---- buffers ---- */

static bool a_miss_parks_its_request_and_not_the_queue(void)
{
	struct test_driver *d = with_rings(&asked);
	struct viodma_request *request;

	test_grant(d, BUFFER(5), TEST_PAGE, VIODMA_READ);
	test_request(d, 0, BUFFER(0), 16, BUFFER(1), 16);
	test_request(d, 2, BUFFER(5), 16, 0, 0);
	test_make_available(d, 0);
	test_make_available(d, 2);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK); /* = DEV-12 */
	CHECK_EQUAL(request->head, 2);
	CHECK_EQUAL(d->queue.parked, 1);
	CHECK_EQUAL(d->ask_count, 2); /* both pages of the first, in one go */
	CHECK(test_asked(d, BUFFER(0), VIODMA_READ) && test_asked(d, BUFFER(1), VIODMA_WRITE));
	viodma_queue_push(&d->queue, request, 0);
	CHECK(!in_use(d)); /* who waits holds nothing */
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_EMPTY);
	CHECK_EQUAL(d->ask_count, 2);
	test_answer(d, true);
	CHECK(viodma_queue_has_work(&d->queue));
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
	CHECK_EQUAL(request->head, 0);
	CHECK_RESULT(request->result, VIODMA_OK);
	CHECK_EQUAL(d->queue.parked, 0);
	CHECK(in_use(d));
	viodma_queue_push(&d->queue, request, 0);
	CHECK_EQUAL(d->queue.statistics.parked, 1);
	return true;
}
HOLDS(a_miss_parks_its_request_and_not_the_queue)

static bool a_request_that_waits_for_one_page_does_not_hold_the_others(void)
{
	struct test_driver *d = with_rings(&asked);
	struct viodma_request *request;

	test_grant(d, BUFFER(0), TEST_PAGE, VIODMA_READ);
	test_request(d, 0, BUFFER(0), 16, BUFFER(1), 16);
	test_make_available(d, 0);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_EMPTY);
	CHECK_EQUAL(d->queue.parked, 1);
	CHECK(!in_use(d));
	test_revoke(d, BUFFER(0), TEST_PAGE); /* and the first goes while it waits for the second */
	CHECK(test_answer(d, true) >= 1);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_EMPTY);
	CHECK(test_asked(d, BUFFER(0), VIODMA_READ));
	CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
	CHECK_RESULT(request->result, VIODMA_OK);
	return true;
}
HOLDS(a_request_that_waits_for_one_page_does_not_hold_the_others)

static bool while_misses_are_held_a_request_waits_without_asking(void)
{
	struct test_driver *d = with_rings(&asked);
	struct viodma_request *request;

	viodma_space_hold_misses(&d->space, true);
	test_request(d, 0, BUFFER(0), 16, 0, 0);
	test_make_available(d, 0);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_EMPTY);
	CHECK_EQUAL(d->ask_count, 0);
	viodma_space_hold_misses(&d->space, false);
	CHECK(viodma_queue_has_work(&d->queue));
	CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
	CHECK_RESULT(request->result, VIODMA_OK);
	return true;
}
HOLDS(while_misses_are_held_a_request_waits_without_asking)

static bool a_refused_buffer_fails_its_own_request(void)
{
	struct test_driver *d = with_rings(&asked);
	struct viodma_request *request;
	uint32_t id, len;

	test_grant(d, BUFFER(2), TEST_PAGE, VIODMA_WRITE);
	test_desc(d, 0, test_bus(d, BUFFER(0)), 100, N, 1);
	test_desc(d, 1, test_bus(d, BUFFER(2)), 1, W, 0);
	test_make_available(d, 0);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_EMPTY);
	test_answer(d, false);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
	CHECK_RESULT(request->result, VIODMA_FAULT_UNMAPPED);
	CHECK(d->fault_count >= 1);
	CHECK_EQUAL(d->faults[0].queue, 3);
	CHECK_EQUAL(d->faults[0].bus.v, test_bus(d, BUFFER(0)).v);
	CHECK_RESULT(viodma_request_read(request, 0, &id, 1), VIODMA_E_INVALID); /* its memory may not be used */
	CHECK_RESULT(viodma_queue_reject(&d->queue, request, "\1", 1), VIODMA_OK);
	CHECK(test_take_used(d, &id, &len) && id == 0);
	CHECK_EQUAL(d->memory[BUFFER(2)], 1);
	CHECK_RESULT(d->queue.broken, VIODMA_OK);
	CHECK_EQUAL(d->queue.statistics.failed, 1);
	return true;
}
HOLDS(a_refused_buffer_fails_its_own_request)

static bool a_physical_address_in_a_ring_is_not_a_way_in(void)
{
	struct test_driver *d = with_rings(&asked);
	struct viodma_request *request;

	test_fill(d, BUFFER(0), 16, 3);
	test_desc(d, 0, (viodma_bus){test_phys(BUFFER(0)).v}, 16, R, 0);
	test_make_available(d, 0);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_EMPTY);
	CHECK_RESULT(viodma_iotlb_replied(&d->iotlb, (viodma_bus){d->asks[0].bus}, VIODMA_READ, false), VIODMA_OK);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
	CHECK_RESULT(request->result, VIODMA_FAULT_UNMAPPED);
	return true;
}
BEHAVIOUR(a_physical_address_in_a_ring_is_not_a_way_in, "DEV-10")

static bool a_buffer_granted_to_be_read_is_not_written(void)
{
	struct test_driver *d = with_rings(&asked);
	struct viodma_request *request;

	test_grant(d, BUFFER(0), TEST_PAGE, VIODMA_READ);
	test_fill(d, BUFFER(0), TEST_PAGE, 3);
	test_request(d, 0, 0, 0, BUFFER(0), 100);
	test_make_available(d, 0);
	if (viodma_queue_pop(&d->queue, &request) == VIODMA_EMPTY) {
		CHECK_RESULT(refuse(d, BUFFER(0), VIODMA_WRITE), VIODMA_OK);
		CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
	}
	CHECK_RESULT(request->result, VIODMA_FAULT_PERMISSION);
	CHECK_RESULT(viodma_queue_reject(&d->queue, request, "\1", 1), VIODMA_PEER_UNREACHABLE);
	CHECK(test_filled(d, BUFFER(0), TEST_PAGE, 3));
	return true;
}
BEHAVIOUR(a_buffer_granted_to_be_read_is_not_written, "DEV-9")

static bool a_buffer_granted_to_be_written_is_not_read(void)
{
	struct test_driver *d = with_rings(&asked);
	struct viodma_request *request;

	test_grant(d, BUFFER(0), TEST_PAGE, VIODMA_WRITE);
	test_request(d, 0, BUFFER(0), 100, BUFFER(0) + 200, 1);
	test_make_available(d, 0);
	if (viodma_queue_pop(&d->queue, &request) == VIODMA_EMPTY) {
		CHECK_RESULT(refuse(d, BUFFER(0), VIODMA_READ), VIODMA_OK);
		CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
	}
	CHECK_RESULT(request->result, VIODMA_FAULT_PERMISSION);
	CHECK_RESULT(viodma_queue_reject(&d->queue, request, "\1", 1), VIODMA_OK);
	return true;
}
BEHAVIOUR(a_buffer_granted_to_be_written_is_not_read, "DEV-9")

static bool a_request_that_cannot_be_answered_breaks_the_queue(void)
{
	struct test_driver *d = with_rings(&asked);
	struct viodma_request *request;

	test_request(d, 0, BUFFER(0), 100, BUFFER(1), 1);
	test_make_available(d, 0);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_EMPTY);
	test_answer(d, false);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
	CHECK_RESULT(viodma_queue_reject(&d->queue, request, "\1", 1), VIODMA_PEER_UNREACHABLE);
	CHECK_RESULT(d->queue.broken, VIODMA_PEER_UNREACHABLE);
	CHECK_EQUAL(test_used_idx(d), 0); /* the driver does not take what lies there for an answer */
	CHECK_EQUAL(d->queue.submitted, 0);
	return true;
}
HOLDS(a_request_that_cannot_be_answered_breaks_the_queue)

static bool a_rejection_waits_for_the_status_byte(void)
{
	struct test_driver *d = with_rings(&asked);
	struct viodma_request *request;

	test_request(d, 0, BUFFER(0), 100, BUFFER(1), 1);
	test_make_available(d, 0);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_EMPTY);
	CHECK_RESULT(refuse(d, BUFFER(0), VIODMA_READ), VIODMA_OK);
	test_grant(d, BUFFER(1), TEST_PAGE, VIODMA_WRITE);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
	CHECK_RESULT(request->result, VIODMA_FAULT_UNMAPPED);
	test_revoke(d, BUFFER(1), TEST_PAGE);
	CHECK_RESULT(viodma_queue_reject(&d->queue, request, "\1", 1), VIODMA_MISS);
	CHECK_EQUAL(d->queue.parked, 1);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_EMPTY); /* not before there is an answer */
	test_grant(d, BUFFER(1), TEST_PAGE, VIODMA_WRITE);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
	CHECK_RESULT(request->result, VIODMA_FAULT_UNMAPPED); /* as before */
	CHECK_RESULT(viodma_queue_reject(&d->queue, request, "\1", 1), VIODMA_OK);
	CHECK_EQUAL(d->memory[BUFFER(1)], 1);
	CHECK_EQUAL(test_used_idx(d), 1);
	return true;
}
HOLDS(a_rejection_waits_for_the_status_byte)

/* ---- indirect tables ---- */

/* Header and data in the table's first page, status in its second. */
static size_t split_table(struct test_driver *d)
{
	const size_t table = TEST_TABLES + TEST_PAGE - 32;

	test_table_desc(d, table, 0, test_bus(d, BUFFER(0)), 16, N, 1);
	test_table_desc(d, table, 1, test_bus(d, BUFFER(1)), 64, N | W, 2);
	test_table_desc(d, table, 2, test_bus(d, BUFFER(2)), 1, W, 0);
	test_desc(d, 0, test_bus(d, table), 3 * 16, I, 0);
	test_make_available(d, 0);
	return table;
}

static bool an_indirect_table_that_misses_parks_its_request_which_goes_on_where_it_stood(void)
{
	struct test_driver *d = with_rings(&asked);
	struct viodma_request *request;
	size_t table;

	test_grant(d, BUFFER(0), 3 * TEST_PAGE, VIODMA_READ_WRITE);
	test_grant(d, TEST_TABLES, TEST_PAGE, VIODMA_READ);
	table = split_table(d);
	test_request(d, 4, BUFFER(0), 8, 0, 0);
	test_make_available(d, 4);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
	CHECK_EQUAL(request->head, 4);
	CHECK_EQUAL(d->queue.parked, 1);
	CHECK(test_asked(d, TEST_TABLES + TEST_PAGE, VIODMA_READ));
	viodma_queue_push(&d->queue, request, 0);
	/* What was fetched is not fetched again (= DEV-11). */
	memset(d->memory + table, 0xff, 32);
	memset(d->memory + TEST_DESC, 0xff, 16);
	CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
	CHECK_EQUAL(request->head, 0);
	CHECK_RESULT(request->result, VIODMA_OK);
	CHECK_EQUAL(request->readable_bytes, 16);
	CHECK_EQUAL(request->writable_bytes, 65);
	return true;
}
HOLDS(an_indirect_table_that_misses_parks_its_request_which_goes_on_where_it_stood)

static bool a_table_half_out_of_reach_is_not_answered_in_the_wrong_place(void)
{
	struct test_driver *d = with_rings(&asked);
	struct viodma_request *request;

	test_grant(d, BUFFER(0), 3 * TEST_PAGE, VIODMA_READ_WRITE);
	test_grant(d, TEST_TABLES, TEST_PAGE, VIODMA_READ);
	test_fill(d, BUFFER(1), TEST_PAGE, 5);
	(void)split_table(d);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_EMPTY);
	test_answer(d, false);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
	CHECK_RESULT(request->result, VIODMA_FAULT_UNMAPPED);
	/* Where the status is stood in the part of the table nobody could read. */
	CHECK(viodma_queue_reject(&d->queue, request, "\1", 1) != VIODMA_OK);
	CHECK(d->queue.broken != VIODMA_OK);
	CHECK(test_filled(d, BUFFER(1), TEST_PAGE, 5));
	CHECK_EQUAL(test_used_idx(d), 0);
	return true;
}
HOLDS(a_table_half_out_of_reach_is_not_answered_in_the_wrong_place)

int main(void)
{
	const struct CMUnitTest both[] = {
		WITH_MUTANT(a_used_area_granted_to_be_read_is_not_written),
		TEST(completions_wait_while_the_used_area_is_not_mapped),
		TEST(a_miss_parks_its_request_and_not_the_queue),
		TEST(a_request_that_waits_for_one_page_does_not_hold_the_others),
		TEST(while_misses_are_held_a_request_waits_without_asking),
		TEST(a_refused_buffer_fails_its_own_request),
		WITH_MUTANT(a_physical_address_in_a_ring_is_not_a_way_in),
		WITH_MUTANT(a_buffer_granted_to_be_read_is_not_written),
		WITH_MUTANT(a_buffer_granted_to_be_written_is_not_read),
		TEST(a_request_that_cannot_be_answered_breaks_the_queue),
		TEST(a_rejection_waits_for_the_status_byte),
		TEST(an_indirect_table_that_misses_parks_its_request_which_goes_on_where_it_stood),
		TEST(a_table_half_out_of_reach_is_not_answered_in_the_wrong_place),
	};
	const struct CMUnitTest split[] = {
		TEST(a_ring_that_is_not_translated_parks_the_queue),
		TEST(a_ring_the_platform_refuses_is_a_fault_and_tried_again_at_the_next_kick),
	};

	return CHECK_RUN("queue wait", both, split, no_driver);
}
