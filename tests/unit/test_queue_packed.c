/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_queue_packed.c - what only a packed ring has, device half: wrap counters, sizes that are no powers of two, buffer
 * ids, event suppression; and packed rings that lie. (What both layouts have: test_queue.c and the others, run with
 * VIODMA_TEST_RING=packed.)
 */
#include "tests/support/hooks.h"
#include "tests/support/queue_rig.h"

#define W VIRTQ_DESC_F_WRITE
#define N VIRTQ_DESC_F_NEXT
#define I VIRTQ_DESC_F_INDIRECT
#define FIRST 0x8000 /* the position of a fresh ring */
#define BUFFER(n) (TEST_BUFFERS + (n) * TEST_PAGE)
#define RING_FLAGS(place) (TEST_DESC + 16 * (place) + 14)

static const struct test_options physical = {.size = 8, .packed = true};
static const struct test_options platform = {.size = 8, .packed = true, .platform = true, .granted = true, .scatter = true};

static struct test_driver *of_size(uint32_t size, bool event_idx)
{
	const struct test_options options = {.size = size, .packed = true, .event_idx = event_idx};

	return fresh(&options);
}

static uint32_t event(struct test_driver *d, size_t at)
{
	return test_get32(d, at);
}

static bool serve_one(struct test_driver *d, uint16_t head)
{
	struct viodma_request *request;

	test_desc(d, head, test_bus(d, BUFFER(head)), 4, W, 0);
	test_make_available(d, head);
	CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
	viodma_queue_push(&d->queue, request, 4);
	return true;
}

/* ---- around the ring ---- */

/* A driver that fills the ring with chains of any length, a device that gives them back in any order. */
static bool chains_go_around(uint32_t size, uint64_t seed)
{
	struct test_driver *d = of_size(size, false);
	struct check_random random = {.state = seed};
	struct viodma_request *held[64] = {NULL};
	uint32_t counts[64] = {0}, made = 0, back = 0, in_ring = 0, id, len;

	for (unsigned round = 0; round < 3000; round++) {
		const uint16_t head = (uint16_t)check_below(&random, size);
		const uint32_t count = 1 + (uint32_t)check_below(&random, size > 5 ? 5 : size);
		struct viodma_request *request;

		if (!counts[head] && in_ring + count <= size) {
			for (uint32_t i = 0; i < count; i++)
				test_desc(d, 64 * i + head, test_bus(d, BUFFER(i)), 1 + head, i + 1 < count ? N | W : W,
					  (uint16_t)(64 * (i + 1) + head));
			test_make_available(d, head);
			counts[head] = count;
			in_ring += count;
			made++;
		} else if (held[head]) {
			viodma_queue_push(&d->queue, held[head], counts[head] * (1u + head));
			held[head] = NULL;
		} else if (test_pop(d, &request) == VIODMA_OK) {
			CHECK(counts[request->head] && !held[request->head]);
			CHECK_EQUAL(request->writable_bytes, counts[request->head] * (1u + request->head));
			held[request->head] = request;
		}
		while (test_take_used(d, &id, &len)) {
			CHECK(id < size && counts[id] && !held[id]);
			CHECK_EQUAL(len, counts[id] * (1 + id));
			in_ring -= counts[id];
			counts[id] = 0;
			back++;
		}
	}
	CHECK(made > 500 && made - back <= size);
	CHECK_RESULT(d->queue.broken, VIODMA_OK);
	return true;
}

static bool chains_of_any_length_go_around_rings_of_any_size(void)
{
	for (uint32_t size = 1; size <= 24; size++)
		CHECK(chains_go_around(size, 1000 + size));
	return chains_go_around(63, 5);
}
HOLDS(chains_of_any_length_go_around_rings_of_any_size)

static bool the_largest_ring_goes_around(void)
{
	const struct test_options options = {.size = 1023, .size_max = 1024, .segments_max = 2, .packed = true};
	struct test_driver *d = fresh(&options);

	for (unsigned i = 0; i < 5000; i++) {
		CHECK(serve_one(d, (uint16_t)(i % 60)));
		CHECK_EQUAL(test_used_idx(d), i + 1);
	}
	return true;
}
HOLDS(the_largest_ring_goes_around)

static bool a_used_descriptor_says_what_was_written_and_leaves_the_rest(void)
{
	struct test_driver *d = fresh(&platform);
	struct viodma_request *request;

	test_request(d, 3, BUFFER(0), 16, BUFFER(1), 32);
	test_make_available(d, 3);
	CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
	viodma_queue_push(&d->queue, request, 20);
	CHECK_EQUAL(test_get16(d, RING_FLAGS(0)), test_used_flags(FIRST) | W);
	CHECK_EQUAL(test_get16(d, RING_FLAGS(0) - 2), 3);
	CHECK_EQUAL(test_get32(d, RING_FLAGS(0) - 6), 20);
	CHECK_EQUAL(test_get16(d, RING_FLAGS(1)), test_available_flags(FIRST) | W); /* one for the whole chain */
	test_request(d, 1, BUFFER(0), 16, 0, 0);
	test_make_available(d, 1);
	CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
	viodma_queue_push(&d->queue, request, 0);
	CHECK_EQUAL(test_get16(d, RING_FLAGS(2)), test_used_flags(FIRST));
	return true;
}
HOLDS(a_used_descriptor_says_what_was_written_and_leaves_the_rest)

static bool the_buffer_id_is_that_of_the_last_descriptor(void)
{
	struct test_driver *d = fresh(&platform);
	struct viodma_request *request[2];
	uint32_t id, len;

	/* The first descriptor says nothing, an id in use, or one beyond the ring: it does not matter. */
	test_packed_desc(d, 1, test_bus(d, BUFFER(1)), 20, 6, W | VIRTQ_PACKED_DESC_F_AVAIL);
	test_packed_desc(d, 0, test_bus(d, BUFFER(0)), 10, 0, N | VIRTQ_PACKED_DESC_F_AVAIL);
	test_packed_desc(d, 3, test_bus(d, BUFFER(3)), 40, 2, W | VIRTQ_PACKED_DESC_F_AVAIL);
	test_packed_desc(d, 2, test_bus(d, BUFFER(2)), 30, 6, N | VIRTQ_PACKED_DESC_F_AVAIL);
	d->counts[6] = d->counts[2] = d->counts[0] = 2;
	CHECK_RESULT(test_pop(d, &request[0]), VIODMA_OK);
	CHECK_EQUAL(request[0]->head, 6);
	CHECK_RESULT(test_pop(d, &request[1]), VIODMA_OK);
	CHECK_EQUAL(request[1]->head, 2);
	CHECK_EQUAL(request[1]->readable_bytes, 30);
	CHECK_RESULT(viodma_request_write(request[0], 0, "six", 3), VIODMA_OK);
	CHECK_RESULT(viodma_request_write(request[1], 0, "two", 3), VIODMA_OK);
	CHECK(!memcmp(d->memory + BUFFER(1), "six", 3) && !memcmp(d->memory + BUFFER(3), "two", 3));
	viodma_queue_push(&d->queue, request[1], 3);
	viodma_queue_push(&d->queue, request[0], 3);
	CHECK(test_take_used(d, &id, &len) && id == 2 && test_take_used(d, &id, &len) && id == 6);
	test_packed_desc(d, 5, test_bus(d, BUFFER(1)), 20, 0, W | VIRTQ_PACKED_DESC_F_AVAIL);
	test_packed_desc(d, 4, test_bus(d, BUFFER(0)), 10, 999, N | VIRTQ_PACKED_DESC_F_AVAIL);
	CHECK_RESULT(test_pop(d, &request[0]), VIODMA_OK);
	CHECK_EQUAL(request[0]->head, 0);
	return true;
}
HOLDS(the_buffer_id_is_that_of_the_last_descriptor)

static bool in_a_table_only_the_write_flag_and_the_length_count(void)
{
	struct test_driver *d = fresh(&platform);
	struct viodma_request *request;

	test_table_desc(d, TEST_TABLES, 0, test_bus(d, BUFFER(0)), 10, (uint16_t)~W, 77);
	test_table_desc(d, TEST_TABLES, 1, test_bus(d, BUFFER(1)), 20, 0, 0);
	test_table_desc(d, TEST_TABLES, 2, test_bus(d, BUFFER(2)), 30, UINT16_MAX, 99);
	test_desc(d, 4, test_bus(d, TEST_TABLES), 3 * 16, I | W, 0);
	test_make_available(d, 4);
	CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
	CHECK_RESULT(request->result, VIODMA_OK);
	CHECK_EQUAL(request->readable_bytes, 30);
	CHECK_EQUAL(request->writable_bytes, 30);
	return true;
}
HOLDS(in_a_table_only_the_write_flag_and_the_length_count)

static bool a_packed_ring_may_start_anywhere(void)
{
	struct test_driver *d = fresh(&physical);
	struct viodma_queue_setup setup = d->setup;
	struct viodma_request *request;
	uint32_t base;

	CHECK_RESULT(viodma_queue_stop(&d->queue, &base), VIODMA_OK);
	CHECK_EQUAL(base, VIODMA_QUEUE_PACKED_BASE);
	d->next = d->used = 6; /* wrap counters 0 */
	setup.base = test_base(d);
	for (unsigned i = 0; i < 8; i++) /* what the lap before left */
		test_put16(d, RING_FLAGS(i), i < 6 ? test_used_flags(0) : test_used_flags(FIRST));
	CHECK_RESULT(viodma_queue_start(&d->queue, &setup, NULL), VIODMA_OK);
	CHECK_RESULT(test_pop(d, &request), VIODMA_EMPTY);
	for (uint16_t i = 0; i < 5; i++)
		CHECK(serve_one(d, i));
	CHECK_EQUAL(test_used_idx(d), 5);
	CHECK_RESULT(viodma_queue_stop(&d->queue, &base), VIODMA_OK);
	CHECK_EQUAL(base, 0x80038003);
	setup.base = 0x80038008;
	CHECK_RESULT(viodma_queue_start(&d->queue, &setup, NULL), VIODMA_PEER_RING_LAYOUT);
	setup.base = 0x80088003;
	CHECK_RESULT(viodma_queue_start(&d->queue, &setup, NULL), VIODMA_PEER_RING_LAYOUT);
	return true;
}
HOLDS(a_packed_ring_may_start_anywhere)

static bool chains_are_given_back_across_the_end_of_the_ring(void)
{
	const struct test_options options = {.size = 7, .packed = true, .platform = true};
	struct test_driver *d = fresh(&options);
	struct viodma_request *request;
	uint32_t base, dropped;

	test_grant_rings(d);
	test_grant(d, BUFFER(0), TEST_PAGE, VIODMA_READ_WRITE);
	for (unsigned i = 0; i < 5; i++)
		CHECK(serve_one(d, 0));
	CHECK_EQUAL(test_used_idx(d), 5);
	/* Three descriptors, over the end; then two. Neither is translated. */
	for (uint16_t i = 0; i < 3; i++)
		test_desc(d, i, test_bus(d, BUFFER(3 + i)), 16, i < 2 ? N | W : W, (uint16_t)(i + 1));
	test_request(d, 4, BUFFER(1), 16, BUFFER(2), 16);
	test_make_available(d, 0);
	test_make_available(d, 4);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_EMPTY);
	CHECK_EQUAL(d->queue.parked, 2);
	CHECK_RESULT(viodma_queue_pop_held(&d->queue, &request), VIODMA_EMPTY); /* both can be given back */
	CHECK_RESULT(viodma_queue_stop(&d->queue, &base), VIODMA_OK);
	CHECK_EQUAL(base, 0x80058005);
	CHECK_EQUAL(d->queue.parked, 0);
	CHECK_EQUAL(d->queue.in_flight, 0);
	d->setup.base = base;
	CHECK_RESULT(viodma_queue_start(&d->queue, &d->setup, &dropped), VIODMA_OK);
	CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
	CHECK_EQUAL(request->writable_bytes, 48);
	viodma_queue_push(&d->queue, request, 0);
	CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
	CHECK_EQUAL(request->head, 4);
	viodma_queue_push(&d->queue, request, 0);
	CHECK_EQUAL(test_used_idx(d), 7);
	return true;
}
HOLDS(chains_are_given_back_across_the_end_of_the_ring)

static bool a_ring_is_read_and_written_with_the_permission_of_each(void)
{
	const struct test_options options = {.size = 8, .packed = true, .platform = true};
	struct test_driver *d = fresh(&options);
	struct viodma_request *request;

	test_revoke(d, TEST_DESC, 4 * TEST_PAGE);
	test_request(d, 0, BUFFER(0), 16, 0, 0);
	test_make_available(d, 0);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_WAIT);
	CHECK(test_asked(d, TEST_DESC, VIODMA_READ) && !test_asked(d, TEST_DESC, VIODMA_WRITE));
	test_grant(d, TEST_DESC, TEST_PAGE, VIODMA_READ);
	test_grant(d, TEST_USED, TEST_PAGE, VIODMA_WRITE);
	test_grant(d, BUFFER(0), TEST_PAGE, VIODMA_READ);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
	viodma_queue_push(&d->queue, request, 0);
	CHECK_EQUAL(d->queue.done, 1);
	CHECK(test_asked(d, TEST_DESC, VIODMA_WRITE));
	CHECK_EQUAL(test_get16(d, RING_FLAGS(0)), test_available_flags(FIRST));
	test_grant(d, TEST_DESC, TEST_PAGE, VIODMA_READ_WRITE);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_EMPTY);
	CHECK_EQUAL(test_used_idx(d), 1);
	CHECK(!viodma_queue_call_needed(&d->queue) || test_asked(d, TEST_AVAIL, VIODMA_READ));
	CHECK(!test_asked(d, TEST_AVAIL, VIODMA_WRITE) && !test_asked(d, TEST_USED, VIODMA_READ));
	return true;
}
HOLDS(a_ring_is_read_and_written_with_the_permission_of_each)

static bool a_packed_chain_fetched_anew_is_new_as_a_whole(void)
{
	const struct test_options large = {.size = 1000, .size_max = 1024, .segments_max = 8, .packed = true, .platform = true};
	struct test_driver *d = fresh(&large);
	struct viodma_request *request;
	uint32_t base;

	/* The second descriptor stands on a page that is not translated when the first is read. */
	CHECK_RESULT(viodma_queue_stop(&d->queue, &base), VIODMA_OK);
	d->next = d->used = FIRST | 255;
	d->setup.base = test_base(d);
	CHECK_RESULT(viodma_queue_start(&d->queue, &d->setup, NULL), VIODMA_OK);
	test_revoke(d, TEST_DESC + TEST_PAGE, TEST_PAGE);
	test_request(d, 9, BUFFER(0), 10, BUFFER(1), 20);
	test_make_available(d, 9);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_WAIT);
	CHECK_EQUAL(d->queue.in_flight, 0);
	/* The driver thinks of something else. */
	test_packed_desc(d, 255, test_bus(d, BUFFER(2)), 30, 4, W | VIRTQ_PACKED_DESC_F_AVAIL);
	CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
	CHECK_EQUAL(request->head, 4);
	CHECK_EQUAL(request->readable_bytes, 0);
	CHECK_EQUAL(request->writable_bytes, 30);
	return true;
}
HOLDS(a_packed_chain_fetched_anew_is_new_as_a_whole)

static unsigned char counts[4096];

/* As a hostile driver: what was read changes at once. */
static void flip(const void *at, size_t bytes)
{
	const size_t offset = (size_t)((const unsigned char *)at - current->memory) - TEST_DESC;

	if (offset >= sizeof(counts))
		return;
	for (size_t i = 0; i < bytes; i++) {
		counts[offset + i]++;
		current->memory[TEST_DESC + offset + i] ^= 0xff;
	}
}

static bool a_packed_chain_is_what_it_was_when_it_was_first_read(void)
{
	static const struct test_options *const options[] = {&physical, &platform};

	for (unsigned s = 0; s < 2; s++) {
		struct test_driver *d = fresh(options[s]);
		struct viodma_request *request;

		memset(counts, 0, sizeof(counts));
		test_request(d, 4, BUFFER(0), 100, BUFFER(1), 50);
		test_make_available(d, 4);
		viodma_shared_read_hook_fn = flip;
		CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
		viodma_shared_read_hook_fn = NULL;
		CHECK_EQUAL(request->head, 4);
		CHECK_EQUAL(request->readable_bytes, 100);
		CHECK_EQUAL(request->writable_bytes, 50);
		for (unsigned i = 0; i < 32; i++)
			CHECK_EQUAL(counts[i], 1);
	}
	return true;
}
HOLDS(a_packed_chain_is_what_it_was_when_it_was_first_read)

/* ---- kicks and calls ---- */

static bool without_event_index_kicks_are_wanted_when_the_ring_is_empty(void)
{
	struct test_driver *d = of_size(8, false);
	struct viodma_request *request;

	CHECK_RESULT(test_pop(d, &request), VIODMA_EMPTY);
	CHECK_EQUAL(event(d, TEST_USED) >> 16, VIRTQ_PACKED_EVENT_ENABLE);
	CHECK(serve_one(d, 0));
	CHECK_EQUAL(event(d, TEST_USED) >> 16, VIRTQ_PACKED_EVENT_DISABLE); /* it works */
	CHECK_RESULT(test_pop(d, &request), VIODMA_EMPTY);
	CHECK_EQUAL(event(d, TEST_USED) >> 16, VIRTQ_PACKED_EVENT_ENABLE);
	return true;
}
HOLDS(without_event_index_kicks_are_wanted_when_the_ring_is_empty)

static bool with_event_index_the_next_kick_is_wanted_for_the_next_descriptor(void)
{
	struct test_driver *d = of_size(5, true);
	struct viodma_request *request;

	for (unsigned i = 0; i < 23; i++) {
		CHECK_RESULT(test_pop(d, &request), VIODMA_EMPTY);
		CHECK_EQUAL(event(d, TEST_USED), VIRTQ_PACKED_EVENT_DESC << 16 | d->next);
		CHECK(serve_one(d, 0));
	}
	return true;
}
HOLDS(with_event_index_the_next_kick_is_wanted_for_the_next_descriptor)

/* The word a fresh ring begins with asks for each kick, and no event was ever said. */
static bool polled_from_its_first_request_it_declines_kicks_until_it_asks_for_one(void)
{
	struct test_driver *d = of_size(5, true);
	struct viodma_request *request;

	viodma_queue_set_polled(&d->queue, true);
	CHECK_EQUAL(event(d, TEST_USED) >> 16, VIRTQ_PACKED_EVENT_ENABLE);
	for (unsigned i = 0; i < 23; i++) {
		CHECK(serve_one(d, 0));
		CHECK_EQUAL(event(d, TEST_USED) >> 16, VIRTQ_PACKED_EVENT_DISABLE);
		CHECK_RESULT(test_pop(d, &request), VIODMA_EMPTY);
		CHECK_EQUAL(event(d, TEST_USED) >> 16, VIRTQ_PACKED_EVENT_DISABLE);
		if (i % 4 == 3) { /* a nap */
			viodma_queue_set_polled(&d->queue, false);
			CHECK_RESULT(test_pop(d, &request), VIODMA_EMPTY);
			CHECK_EQUAL(event(d, TEST_USED), VIRTQ_PACKED_EVENT_DESC << 16 | d->next);
			viodma_queue_set_polled(&d->queue, true);
		}
	}
	return true;
}
HOLDS(polled_from_its_first_request_it_declines_kicks_until_it_asks_for_one)

static bool the_driver_says_whether_it_wants_to_be_called(void)
{
	struct test_driver *d = of_size(8, false);

	CHECK(!viodma_queue_call_needed(&d->queue)); /* nothing was pushed */
	CHECK(serve_one(d, 0));
	CHECK(viodma_queue_call_needed(&d->queue));
	CHECK(!viodma_queue_call_needed(&d->queue)); /* not twice */
	test_put32(d, TEST_AVAIL, VIRTQ_PACKED_EVENT_DISABLE << 16);
	CHECK(serve_one(d, 0));
	CHECK(!viodma_queue_call_needed(&d->queue));
	/* Neither without EVENT_IDX nor for a descriptor that is none does a descriptor's event mean anything. */
	test_put32(d, TEST_AVAIL, VIRTQ_PACKED_EVENT_DESC << 16 | 7);
	CHECK(serve_one(d, 0));
	CHECK(viodma_queue_call_needed(&d->queue));
	d = of_size(8, true);
	CHECK(serve_one(d, 0));
	(void)viodma_queue_call_needed(&d->queue);
	test_put32(d, TEST_AVAIL, VIRTQ_PACKED_EVENT_DESC << 16 | 8);
	CHECK(serve_one(d, 0));
	CHECK(viodma_queue_call_needed(&d->queue));
	return true;
}
HOLDS(the_driver_says_whether_it_wants_to_be_called)

/* Every event, for every number of descriptors used since the last time, everywhere in two laps. */
static bool calls_by_event(uint32_t size)
{
	struct test_driver *d = of_size(size, true);

	for (uint32_t used = 1; used <= 2 * size; used++)
		for (uint32_t wanted = 0; wanted < 2 * size; wanted++) {
			const uint16_t mark = test_behind(d, FIRST, wanted);
			uint16_t at = d->next;
			bool passed = false;

			test_put32(d, TEST_AVAIL, VIRTQ_PACKED_EVENT_DISABLE << 16);
			(void)viodma_queue_call_needed(&d->queue);
			for (uint32_t i = 0; i < used; i++) {
				passed |= at == mark;
				at = test_behind(d, at, 1);
				CHECK(serve_one(d, 0));
			}
			test_put32(d, TEST_AVAIL, VIRTQ_PACKED_EVENT_DESC << 16 | mark);
			if (d->queue.signalled_valid)
				CHECK_EQUAL(viodma_queue_call_needed(&d->queue), passed);
			else
				CHECK(viodma_queue_call_needed(&d->queue)); /* the very first time */
		}
	return true;
}

static bool with_event_index_the_driver_is_called_when_its_descriptor_was_used(void)
{
	return calls_by_event(1) && calls_by_event(4) && calls_by_event(5);
}
HOLDS(with_event_index_the_driver_is_called_when_its_descriptor_was_used)

static bool notification_data_is_a_hint(void)
{
	struct test_driver *d = fresh(&physical);

	CHECK(viodma_queue_kicked_at(&d->queue, 0x80070003)); /* queue 3, place 7 */
	CHECK(viodma_queue_kicked_at(&d->queue, 0x00000003));
	CHECK(!viodma_queue_kicked_at(&d->queue, 0x80080003)); /* no such place */
	CHECK(!viodma_queue_kicked_at(&d->queue, 0x80070002)); /* another queue's */
	return true;
}
HOLDS(notification_data_is_a_hint)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(chains_of_any_length_go_around_rings_of_any_size),
		TEST(the_largest_ring_goes_around),
		TEST(a_used_descriptor_says_what_was_written_and_leaves_the_rest),
		TEST(the_buffer_id_is_that_of_the_last_descriptor),
		TEST(in_a_table_only_the_write_flag_and_the_length_count),
		TEST(a_packed_ring_may_start_anywhere),
		TEST(chains_are_given_back_across_the_end_of_the_ring),
		TEST(a_ring_is_read_and_written_with_the_permission_of_each),
		TEST(a_packed_chain_fetched_anew_is_new_as_a_whole),
		TEST(a_packed_chain_is_what_it_was_when_it_was_first_read),
		TEST(without_event_index_kicks_are_wanted_when_the_ring_is_empty),
		TEST(with_event_index_the_next_kick_is_wanted_for_the_next_descriptor),
		TEST(polled_from_its_first_request_it_declines_kicks_until_it_asks_for_one),
		TEST(the_driver_says_whether_it_wants_to_be_called),
		TEST(with_event_index_the_driver_is_called_when_its_descriptor_was_used),
		TEST(notification_data_is_a_hint),
	};

	return cmocka_run_group_tests_name("queue packed", tests, NULL, no_driver);
}
