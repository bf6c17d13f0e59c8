/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_queue.c - a virtqueue that works: requests popped, read, written, pushed; indirect tables; who calls whom; what
 * the device may not write. (Rings that lie: test_queue_peer.c. Waiting: test_queue_wait.c, test_queue_stop.c.)
 *
 * How it works: most behaviours run over four set-ups: physical addresses, and an IOTLB that is granted at first, that
 * is asked, and that is asked in COPY mode.
 */
#include "tests/support/queue_rig.h"

#define R 0
#define W VIRTQ_DESC_F_WRITE
#define N VIRTQ_DESC_F_NEXT
#define I VIRTQ_DESC_F_INDIRECT

static const struct test_options setups[] = {
	{.size = 8},
	{.size = 8, .platform = true, .granted = true, .scatter = true},
	{.size = 8, .platform = true, .scatter = true},
	{.size = 8, .platform = true, .scatter = true, .copy = true},
};
#define SETUPS (sizeof(setups) / sizeof(setups[0]))

static bool used_is(struct test_driver *d, uint32_t wanted_id, uint32_t wanted_len)
{
	uint32_t id, len;

	CHECK(test_take_used(d, &id, &len));
	CHECK_EQUAL(id, wanted_id);
	CHECK_EQUAL(len, wanted_len);
	return true;
}

/* The byte of memory `i` bytes into a buffer that is contiguous in bus addresses. */
static unsigned char *byte_of(struct test_driver *d, size_t buffer, size_t i)
{
	return &d->memory[test_offset_of_bus(d, test_bus(d, buffer).v + i)];
}

static bool an_empty_ring_has_nothing_to_pop(void)
{
	size_t s;

	for (s = 0; s < SETUPS; s++) {
		struct viodma_request *request;

		CHECK_RESULT(test_pop(fresh(&setups[s]), &request), VIODMA_EMPTY);
	}
	return true;
}
HOLDS(an_empty_ring_has_nothing_to_pop)

static bool a_request_is_read_written_and_given_back(void)
{
	size_t s;

	for (s = 0; s < SETUPS; s++) {
		struct test_driver *d = fresh(&setups[s]);
		const size_t in = TEST_BUFFERS + 100, out = TEST_BUFFERS + 8 * TEST_PAGE + 4000;
		unsigned char bytes[300];
		struct viodma_request *request;
		size_t i;

		test_fill(d, in, 300, 7);
		test_request(d, 3, in, 300, out, 400);
		test_make_available(d, 3);
		CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
		CHECK_RESULT(request->result, VIODMA_OK);
		CHECK_EQUAL(request->head, 3);
		CHECK_EQUAL(request->readable_bytes, 300);
		CHECK_EQUAL(request->writable_bytes, 400);
		CHECK(request->user == NULL);
		CHECK_RESULT(viodma_request_read(request, 0, bytes, 300), VIODMA_OK);
		CHECK(memcmp(bytes, d->memory + in, 300) == 0);
		CHECK_RESULT(viodma_request_read(request, 299, bytes, 1), VIODMA_OK);
		CHECK_EQUAL(bytes[0], d->memory[in + 299]);
		memset(bytes, 0x5c, sizeof(bytes));
		CHECK_RESULT(viodma_request_write(request, 50, bytes, 300), VIODMA_OK); /* across a page */
		CHECK_EQUAL(test_used_idx(d), 0);
		viodma_queue_push(&d->queue, request, 350);
		CHECK(used_is(d, 3, 350));
		for (i = 0; i < 400; i++)
			CHECK_EQUAL(*byte_of(d, out, i), i >= 50 && i < 350 ? 0x5c : 0);
		CHECK_RESULT(test_pop(d, &request), VIODMA_EMPTY);
		CHECK_EQUAL(d->queue.statistics.fetched, 1);
		CHECK_EQUAL(d->queue.statistics.pushed, 1);
		CHECK_EQUAL(d->copies, 0);
		CHECK(!viodma_space_in_use(&d->space, (viodma_bus){0}, (viodma_bus){UINT64_MAX}));
	}
	return true;
}
HOLDS(a_request_is_read_written_and_given_back)

static bool access_beyond_a_part_of_the_request_is_refused(void)
{
	size_t s;

	for (s = 0; s < SETUPS; s++) {
		struct test_driver *d = fresh(&setups[s]);
		struct viodma_request *request;
		struct viodma_piece pieces[4];
		unsigned char bytes[64] = {0};
		uint32_t count = 0;

		test_fill(d, TEST_BUFFERS, 4 * TEST_PAGE, 1);
		test_request(d, 0, TEST_BUFFERS, 32, TEST_BUFFERS + TEST_PAGE, 32);
		test_make_available(d, 0);
		CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
		CHECK_RESULT(viodma_request_read(request, 0, bytes, 33), VIODMA_E_INVALID);
		CHECK_RESULT(viodma_request_read(request, 32, bytes, 1), VIODMA_E_INVALID);
		CHECK_RESULT(viodma_request_read(request, UINT32_MAX, bytes, 2), VIODMA_E_INVALID);
		CHECK_RESULT(viodma_request_write(request, 0, bytes, 33), VIODMA_E_INVALID);
		CHECK_RESULT(viodma_request_write(request, 31, bytes, 2), VIODMA_E_INVALID);
		CHECK_RESULT(viodma_request_write(request, UINT32_MAX, bytes, 2), VIODMA_E_INVALID);
		CHECK_RESULT(viodma_request_written(request, 31, 2), VIODMA_E_INVALID);
		CHECK_RESULT(viodma_request_pieces(request, VIODMA_WRITE, 0, 33, pieces, 4, &count), VIODMA_E_INVALID);
		CHECK_RESULT(viodma_request_pieces(request, VIODMA_READ, 32, 1, pieces, 4, &count), VIODMA_E_INVALID);
		viodma_queue_push(&d->queue, request, 0);
		CHECK(test_filled(d, TEST_BUFFERS, 4 * TEST_PAGE, 1)); /* = DEV-16 */
	}
	return true;
}
HOLDS(access_beyond_a_part_of_the_request_is_refused)

static bool nothing_around_the_writable_part_is_written(void)
{
	size_t s;

	for (s = 0; s < SETUPS; s++) {
		struct test_driver *d = fresh(&setups[s]);
		const size_t out = TEST_BUFFERS + TEST_PAGE - 10, all = TEST_BYTES - TEST_BUFFERS;
		struct viodma_request *request;
		unsigned char bytes[100];
		size_t i;

		test_request(d, 0, TEST_BUFFERS + 2 * TEST_PAGE, 50, out, 100);
		test_make_available(d, 0);
		CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
		test_fill(d, TEST_BUFFERS, all, 9);
		memset(bytes, 0xff, sizeof(bytes));
		CHECK_RESULT(viodma_request_write(request, 0, bytes, 100), VIODMA_OK);
		viodma_queue_push(&d->queue, request, 100);
		for (i = 0; i < 100; i++) {
			unsigned char *byte = byte_of(d, out, i);

			CHECK_EQUAL(*byte, 0xff);
			test_fill(d, (size_t)(byte - d->memory), 1, 9);
		}
		CHECK(test_filled(d, TEST_BUFFERS, all, 9)); /* = DEV-16 */
	}
	return true;
}
HOLDS(nothing_around_the_writable_part_is_written)

static bool a_used_length_is_at_most_what_the_driver_gave(void)
{
	struct test_driver *d = fresh(&setups[1]);
	struct viodma_request *request;

	test_request(d, 0, TEST_BUFFERS, 16, TEST_BUFFERS + TEST_PAGE, 40);
	test_make_available(d, 0);
	CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
	viodma_queue_push(&d->queue, request, 41);
	CHECK(used_is(d, 0, 40));
	test_request(d, 2, TEST_BUFFERS, 16, 0, 0);
	test_make_available(d, 2);
	CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
	viodma_queue_push(&d->queue, request, UINT32_MAX);
	CHECK(used_is(d, 2, 0));
	return true;
}
BEHAVIOUR(a_used_length_is_at_most_what_the_driver_gave, "DEV-16")

static bool memory_sized_by_the_constant_is_enough(void)
{
	static const uint32_t sizes[] = {1, 2, 8, 256, 32768};
	struct viodma_queue_config config = {.segments_max = 3, .pieces_max = 7};

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		config.size_max = sizes[i];
		CHECK(viodma_queue_memory_bytes(&config) != 0);
		CHECK(viodma_queue_memory_bytes(&config) <= VIODMA_QUEUE_MEMORY_BYTES(sizes[i], 3, 7));
	}
	return true;
}
HOLDS(memory_sized_by_the_constant_is_enough)

static bool in_copy_mode_only_what_the_device_wrote_is_copied_out(void)
{
	struct test_driver *d = fresh(&setups[3]);
	const size_t out = TEST_BUFFERS + 5 * TEST_PAGE;
	struct viodma_request *request;
	struct viodma_piece piece;
	uint32_t count = 0;

	test_fill(d, out, 1000, 4);
	test_request(d, 0, TEST_BUFFERS, 16, out, 1000);
	test_make_available(d, 0);
	CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
	CHECK_RESULT(viodma_request_pieces(request, VIODMA_WRITE, 0, 1000, &piece, 1, &count), VIODMA_OK);
	CHECK_EQUAL(count, 1);
	memset((void *)piece.memory, 0xaa, 1000);
	CHECK_RESULT(viodma_request_written(request, 100, 50), VIODMA_OK);
	CHECK_RESULT(viodma_request_write(request, 999, "s", 1), VIODMA_OK);
	CHECK(test_filled(d, out, 1000, 4)); /* not before the push */
	viodma_queue_push(&d->queue, request, 1000);
	CHECK(used_is(d, 0, 1000));
	CHECK(test_filled(d, out, 100, 4));
	CHECK_EQUAL(d->memory[out + 100], 0xaa);
	CHECK_EQUAL(d->memory[out + 149], 0xaa);
	CHECK(test_filled(d, out + 150, 849, 4));
	CHECK_EQUAL(d->memory[out + 999], 's');
	CHECK_EQUAL(d->copies, 0);
	return true;
}
HOLDS(in_copy_mode_only_what_the_device_wrote_is_copied_out)

static bool a_buffer_of_many_descriptors_is_one_stretch_to_the_device(void)
{
	size_t s;

	for (s = 0; s < SETUPS; s++) {
		struct test_driver *d = fresh(&setups[s]);
		unsigned char bytes[60];
		struct viodma_request *request;
		struct viodma_piece pieces[8];
		uint32_t count = 0, i, total = 0;

		test_fill(d, TEST_BUFFERS, 8 * TEST_PAGE, 2);
		for (i = 0; i < 3; i++)
			test_desc(d, 7 - i, test_bus(d, TEST_BUFFERS + i * TEST_PAGE), 10 * (i + 1), N, (uint16_t)(6 - i));
		test_desc(d, 4, test_bus(d, TEST_BUFFERS + 4 * TEST_PAGE), 7, W | N, 0);
		test_desc(d, 0, test_bus(d, TEST_BUFFERS + 5 * TEST_PAGE), 8, W, 0);
		test_make_available(d, 7);
		CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
		CHECK_EQUAL(request->readable_bytes, 60);
		CHECK_EQUAL(request->writable_bytes, 15);
		CHECK_RESULT(viodma_request_read(request, 5, bytes, 50), VIODMA_OK);
		CHECK(memcmp(bytes, d->memory + TEST_BUFFERS + 5, 5) == 0);
		CHECK(memcmp(bytes + 5, d->memory + TEST_BUFFERS + TEST_PAGE, 20) == 0);
		CHECK(memcmp(bytes + 25, d->memory + TEST_BUFFERS + 2 * TEST_PAGE, 25) == 0);
		CHECK_RESULT(viodma_request_pieces(request, VIODMA_READ, 5, 50, pieces, 8, &count), VIODMA_OK);
		for (i = 0; i < count; i++) {
			CHECK(memcmp(bytes + total, (void *)pieces[i].memory, pieces[i].len_bytes) == 0);
			total += (uint32_t)pieces[i].len_bytes;
		}
		CHECK_EQUAL(total, 50);
		if (count > 1)
			CHECK_RESULT(viodma_request_pieces(request, VIODMA_READ, 5, 50, pieces, count - 1, &count),
				     VIODMA_E_LIMIT);
		CHECK_RESULT(viodma_request_write(request, 5, "abcd", 4), VIODMA_OK);
		viodma_queue_push(&d->queue, request, 15);
		CHECK(memcmp(d->memory + TEST_BUFFERS + 4 * TEST_PAGE + 5, "ab", 2) == 0);
		CHECK(memcmp(d->memory + TEST_BUFFERS + 5 * TEST_PAGE, "cd", 2) == 0);
	}
	return true;
}
HOLDS(a_buffer_of_many_descriptors_is_one_stretch_to_the_device)

static bool an_indirect_table_is_walked_like_the_ring(void)
{
	size_t s;

	for (s = 0; s < SETUPS; s++) {
		struct test_driver *d = fresh(&setups[s]);
		const size_t table = TEST_TABLES + TEST_PAGE - 40; /* a descriptor across a page */
		struct viodma_request *request;
		uint16_t i;

		for (i = 0; i < 8; i++)
			test_table_desc(d, table, i, test_bus(d, TEST_BUFFERS + i * TEST_PAGE), 10,
					(uint16_t)((i < 7 ? N : 0) | (i >= 4 ? W : R)), (uint16_t)(i + 1));
		/* WRITE on a descriptor that names a table means nothing (section 2.7.5.3.2). */
		test_desc(d, 5, test_bus(d, table), 8 * 16, I | W, 0);
		test_make_available(d, 5);
		CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
		CHECK_RESULT(request->result, VIODMA_OK);
		CHECK_EQUAL(request->head, 5);
		CHECK_EQUAL(request->readable_bytes, 40);
		CHECK_EQUAL(request->writable_bytes, 40);
		viodma_queue_push(&d->queue, request, 40);
		CHECK(used_is(d, 5, 40));
	}
	return true;
}
HOLDS(an_indirect_table_is_walked_like_the_ring)

static bool requests_may_be_given_back_in_any_order(void)
{
	size_t s;

	for (s = 0; s < SETUPS; s++) {
		struct test_driver *d = fresh(&setups[s]);
		struct check_random random = {.state = 77 + s};
		struct viodma_request *held[8] = {NULL};
		bool made[8] = {false};
		unsigned round, head;

		for (head = 0; head < 8; head++)
			test_desc(d, head, test_bus(d, TEST_BUFFERS + head * TEST_PAGE), 64 + head, W, 0);
		for (round = 0; round < 5000; round++) {
			head = (unsigned)check_below(&random, 8);
			if (!made[head]) {
				test_make_available(d, (uint16_t)head);
				made[head] = true;
			} else if (held[head]) {
				viodma_queue_push(&d->queue, held[head], head);
				held[head] = NULL;
				made[head] = false;
				CHECK(used_is(d, head, head));
			} else {
				struct viodma_request *request;

				CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
				CHECK(made[request->head] && !held[request->head]);
				CHECK_EQUAL(request->writable_bytes, 64 + request->head);
				held[request->head] = request;
			}
		}
		for (head = 0; head < 8; head++)
			if (held[head])
				viodma_queue_push(&d->queue, held[head], head);
		CHECK_EQUAL(d->copies, 0);
		CHECK_RESULT(d->queue.broken, VIODMA_OK);
	}
	return true;
}
HOLDS(requests_may_be_given_back_in_any_order)

/* ---- limits of the device ---- */

static bool a_chain_longer_than_the_device_takes(unsigned readable, unsigned writable)
{
	struct test_options options = setups[1];
	struct test_driver *d;
	struct viodma_request *request;
	unsigned i, all = readable + writable;

	options.segments_max = 3;
	d = fresh(&options);
	for (i = 0; i < all; i++)
		test_desc(d, i, test_bus(d, TEST_BUFFERS + i * TEST_PAGE), 16,
			  (uint16_t)((i + 1 < all ? N : 0) | (i >= readable ? W : R)), (uint16_t)(i + 1));
	test_make_available(d, 0);
	CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
	CHECK_RESULT(request->result, VIODMA_E_LIMIT);
	CHECK_RESULT(viodma_queue_reject(&d->queue, request, "\1", 1), VIODMA_OK);
	CHECK_EQUAL(d->memory[TEST_BUFFERS + (all - 1) * TEST_PAGE + 15], 1);
	for (i = 0; i + 1 < all; i++)
		CHECK_EQUAL(d->memory[TEST_BUFFERS + i * TEST_PAGE + 15], 0);
	CHECK_EQUAL(test_used_idx(d), 1);
	CHECK_RESULT(d->queue.broken, VIODMA_OK);
	CHECK_EQUAL(d->queue.statistics.failed, 1);
	return true;
}

static bool a_chain_longer_than_the_device_takes_is_failed_alone(void)
{
	return a_chain_longer_than_the_device_takes(1, 3) && a_chain_longer_than_the_device_takes(2, 4) &&
	       a_chain_longer_than_the_device_takes(3, 1) && a_chain_longer_than_the_device_takes(5, 1) &&
	       a_chain_longer_than_the_device_takes(5, 2) && a_chain_longer_than_the_device_takes(0, 8);
}
HOLDS(a_chain_longer_than_the_device_takes_is_failed_alone)

static bool more_pieces_than_the_device_takes_fail_their_request_alone(void)
{
	struct test_options options = setups[1];
	struct test_driver *d;
	struct viodma_request *request;

	options.segments_max = options.pieces_max = 4;
	d = fresh(&options);
	test_request(d, 0, TEST_BUFFERS, 6 * TEST_PAGE, TEST_BUFFERS + 8 * TEST_PAGE, 1);
	test_make_available(d, 0);
	CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
	CHECK_RESULT(request->result, VIODMA_E_LIMIT);
	CHECK_RESULT(viodma_queue_reject(&d->queue, request, "\1", 1), VIODMA_OK);
	CHECK_EQUAL(d->memory[TEST_BUFFERS + 8 * TEST_PAGE], 1);
	return true;
}
HOLDS(more_pieces_than_the_device_takes_fail_their_request_alone)

static bool configurations_out_of_range_are_refused(void)
{
	struct test_driver *d = fresh(&setups[1]);
	struct viodma_queue_config good = d->queue.config, bad;
	struct viodma_queue queue;

	CHECK(viodma_queue_memory_bytes(&good) > 0);
#define REFUSED(member, value)                                                                                        \
	do {                                                                                                          \
		bad = good;                                                                                           \
		bad.member = (value);                                                                                 \
		CHECK_EQUAL(viodma_queue_memory_bytes(&bad), 0);                                                      \
		CHECK_RESULT(viodma_queue_init(&queue, &bad), VIODMA_E_INVALID);                                      \
	} while (0)
	REFUSED(size_max, 0);
	REFUSED(size_max, 24);
	REFUSED(size_max, 65536);
	REFUSED(segments_max, 0);
	REFUSED(segments_max, 32769);
	REFUSED(pieces_max, good.segments_max - 1);
#undef REFUSED
	bad = good;
	bad.memory_bytes--;
	CHECK_RESULT(viodma_queue_init(&queue, &bad), VIODMA_E_INVALID);
	bad = good;
	bad.memory = (unsigned char *)good.memory + 1;
	CHECK_RESULT(viodma_queue_init(&queue, &bad), VIODMA_E_INVALID);
	return true;
}
HOLDS(configurations_out_of_range_are_refused)

/* ---- kicks and calls ---- */

static enum viodma_result serve_one(struct test_driver *d, uint16_t head)
{
	struct viodma_request *request;
	enum viodma_result result;

	test_make_available(d, head);
	result = test_pop(d, &request);
	if (result == VIODMA_OK)
		viodma_queue_push(&d->queue, request, 0);
	return result;
}

static bool without_event_index_the_flags_say_who_wants_to_be_called(void)
{
	struct test_driver *d = fresh(&setups[1]);
	struct viodma_request *request;

	test_request(d, 0, TEST_BUFFERS, 16, 0, 0);
	CHECK(!viodma_queue_call_needed(&d->queue)); /* nothing was pushed */
	CHECK_RESULT(serve_one(d, 0), VIODMA_OK);
	CHECK(viodma_queue_call_needed(&d->queue));
	CHECK(!viodma_queue_call_needed(&d->queue)); /* not twice */
	test_put16(d, TEST_AVAIL + VIRTQ_AVAIL_FLAGS, VIRTQ_AVAIL_F_NO_INTERRUPT);
	CHECK_RESULT(serve_one(d, 0), VIODMA_OK);
	CHECK(!viodma_queue_call_needed(&d->queue));
	CHECK_RESULT(test_pop(d, &request), VIODMA_EMPTY);
	CHECK_EQUAL(test_get16(d, TEST_USED + VIRTQ_USED_FLAGS), 0); /* EMPTY: the next kick is wanted */
	return true;
}
HOLDS(without_event_index_the_flags_say_who_wants_to_be_called)

static bool with_event_index_the_driver_says_when_it_wants_to_be_called(void)
{
	struct test_options options = setups[1];
	struct test_driver *d;
	unsigned i;

	options.event_idx = true;
	d = fresh(&options);
	test_request(d, 0, TEST_BUFFERS, 16, 0, 0);
	/* Call me when used entry 2 (the third) is there. The very first question may be answered yes. */
	test_put16(d, TEST_AVAIL + VIRTQ_AVAIL_USED_EVENT(8), 2);
	CHECK_RESULT(serve_one(d, 0), VIODMA_OK);
	(void)viodma_queue_call_needed(&d->queue);
	CHECK_RESULT(serve_one(d, 0), VIODMA_OK);
	CHECK(!viodma_queue_call_needed(&d->queue));
	CHECK_RESULT(serve_one(d, 0), VIODMA_OK);
	CHECK(viodma_queue_call_needed(&d->queue));
	CHECK_RESULT(serve_one(d, 0), VIODMA_OK);
	CHECK(!viodma_queue_call_needed(&d->queue));
	/* Several at once that pass the mark. */
	test_put16(d, TEST_AVAIL + VIRTQ_AVAIL_USED_EVENT(8), 6);
	for (i = 0; i < 6; i++)
		CHECK_RESULT(serve_one(d, 0), VIODMA_OK);
	CHECK(viodma_queue_call_needed(&d->queue));
	return true;
}
HOLDS(with_event_index_the_driver_says_when_it_wants_to_be_called)

static bool with_event_index_an_empty_ring_asks_for_the_next_kick(void)
{
	struct test_options options = setups[1];
	struct test_driver *d;
	struct viodma_request *request;
	unsigned i;

	options.event_idx = true;
	d = fresh(&options);
	test_request(d, 0, TEST_BUFFERS, 16, 0, 0);
	test_put16(d, TEST_USED + VIRTQ_USED_AVAIL_EVENT(8), 0x7777);
	CHECK_RESULT(test_pop(d, &request), VIODMA_EMPTY);
	CHECK_EQUAL(test_get16(d, TEST_USED + VIRTQ_USED_AVAIL_EVENT(8)), 0);
	for (i = 0; i < 5; i++)
		CHECK_RESULT(serve_one(d, 0), VIODMA_OK);
	CHECK_RESULT(test_pop(d, &request), VIODMA_EMPTY);
	CHECK_EQUAL(test_get16(d, TEST_USED + VIRTQ_USED_AVAIL_EVENT(8)), 5);
	return true;
}
HOLDS(with_event_index_an_empty_ring_asks_for_the_next_kick)

/* An event index it has asked with lies ahead until that kick has come. */
static bool with_event_index_a_polled_ring_takes_back_that_it_asked_for_a_kick(void)
{
	struct test_options options = setups[1];
	struct test_driver *d;
	struct viodma_request *request;
	uint16_t i;

	options.event_idx = true;
	d = fresh(&options);
	test_request(d, 0, TEST_BUFFERS, 16, 0, 0);
	for (i = 0; i < 20; i++) {
		CHECK_RESULT(test_pop(d, &request), VIODMA_EMPTY);
		CHECK_EQUAL(test_get16(d, TEST_USED + VIRTQ_USED_AVAIL_EVENT(8)), 2 * i);
		viodma_queue_set_polled(&d->queue, true);
		CHECK_RESULT(test_pop(d, &request), VIODMA_EMPTY);
		CHECK_EQUAL(test_get16(d, TEST_USED + VIRTQ_USED_AVAIL_EVENT(8)), (2 * i + 0x8000) & 0xffff);
		CHECK_RESULT(serve_one(d, 0), VIODMA_OK);
		CHECK_RESULT(serve_one(d, 0), VIODMA_OK);
		viodma_queue_set_polled(&d->queue, false);
	}
	return true;
}
HOLDS(with_event_index_a_polled_ring_takes_back_that_it_asked_for_a_kick)

static bool a_ring_may_start_anywhere(void)
{
	struct test_driver *d = fresh(&setups[1]);
	struct viodma_queue_setup setup = d->setup;
	uint32_t base;
	unsigned i;

	CHECK_RESULT(viodma_queue_stop(&d->queue, &base), VIODMA_OK);
	CHECK_EQUAL(base, 0);
	setup.base = d->avail_idx = d->used_seen = 65533;
	test_put16(d, TEST_AVAIL + VIRTQ_AVAIL_IDX, 65533);
	test_put16(d, TEST_USED + VIRTQ_USED_IDX, 65533);
	CHECK_RESULT(viodma_queue_start(&d->queue, &setup, NULL), VIODMA_OK);
	test_request(d, 0, TEST_BUFFERS, 16, 0, 0);
	for (i = 0; i < 6; i++) {
		CHECK_RESULT(serve_one(d, 0), VIODMA_OK);
		CHECK(used_is(d, 0, 0));
	}
	CHECK_RESULT(viodma_queue_stop(&d->queue, &base), VIODMA_OK);
	CHECK_EQUAL(base, 3);
	return true;
}
HOLDS(a_ring_may_start_anywhere)

int main(void)
{
	const struct CMUnitTest both[] = {
		TEST(an_empty_ring_has_nothing_to_pop),
		TEST(a_request_is_read_written_and_given_back),
		TEST(access_beyond_a_part_of_the_request_is_refused),
		TEST(nothing_around_the_writable_part_is_written),
		WITH_MUTANT(a_used_length_is_at_most_what_the_driver_gave),
		TEST(memory_sized_by_the_constant_is_enough),
		TEST(in_copy_mode_only_what_the_device_wrote_is_copied_out),
		TEST(a_buffer_of_many_descriptors_is_one_stretch_to_the_device),
		TEST(an_indirect_table_is_walked_like_the_ring),
		TEST(requests_may_be_given_back_in_any_order),
		TEST(a_chain_longer_than_the_device_takes_is_failed_alone),
		TEST(more_pieces_than_the_device_takes_fail_their_request_alone),
		TEST(configurations_out_of_range_are_refused),
	};
	const struct CMUnitTest split[] = {
		TEST(without_event_index_the_flags_say_who_wants_to_be_called),
		TEST(with_event_index_the_driver_says_when_it_wants_to_be_called),
		TEST(with_event_index_an_empty_ring_asks_for_the_next_kick),
		TEST(with_event_index_a_polled_ring_takes_back_that_it_asked_for_a_kick),
		TEST(a_ring_may_start_anywhere),
	};

	return CHECK_RUN("queue", both, split, no_driver);
}
