/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_driver_packed.c - a packed ring, driver half: what only packed rings have: sizes of any kind and laps, flags that
 * come last or are taken back, events by place and lap. (What both layouts have: test_driver_queue_packed.c and others.)
 *
 * How it works: the device's side is played by hand (tests/support/test_device_hand.c).
 */
#define TEST_PACKED 1
#include "tests/support/driver_queue_rig.h"
#include "tests/support/hooks.h"

static uint16_t flags_at(struct test_device_queue *queue, uint32_t place)
{
	const unsigned char *memory = test_device_at(queue->device, queue->where.desc.v + place * 16 + 14, 2, VIODMA_READ);
	uint16_t wire;

	memcpy(&wire, memory, sizeof(wire));
	return viodma_le16_get((viodma_le16){wire});
}

static struct test_device_queue *of_size(uint32_t size, bool event_idx)
{
	const struct test_device_options options = {.size = size, .event_idx = event_idx};

	return &with_queue(&options)->queues[0];
}

static bool add_some(struct viodma_driver_queue *queue, uint32_t count, void *token)
{
	struct viodma_segment segments[40];
	uint32_t i;

	for (i = 0; i < count; i++)
		segments[i] = segment(i, i + 1, VIODMA_READ);
	CHECK_RESULT(viodma_driver_queue_add(queue, segments, count, token), VIODMA_OK);
	return true;
}

/* ---- laps ---- */

/* What the device holds, and which numbers are out. */
struct load {
	struct test_chain held[40];
	uint32_t held_count, next, back;
	bool out[64];
};

static bool load_adds(struct viodma_driver_queue *queue, struct load *load, uint32_t count)
{
	struct viodma_segment segments[4];
	uint32_t i;

	while (load->out[load->next % 64])
		load->next++;
	for (i = 0; i < count; i++)
		segments[i] = segment(i, i ? 5 : 1 + load->next % 64, VIODMA_WRITE);
	if (!viodma_driver_queue_has_room(queue, count)) {
		CHECK_RESULT(viodma_driver_queue_add(queue, segments, count, tokens), VIODMA_E_NO_SPACE);
		return true;
	}
	CHECK_RESULT(viodma_driver_queue_add(queue, segments, count, &tokens[load->next % 64]), VIODMA_OK);
	load->out[load->next++ % 64] = true;
	return true;
}

static bool load_gets(struct viodma_driver_queue *queue, struct load *load)
{
	struct viodma_driver_completion completion;

	while (viodma_driver_queue_get(queue, &completion) == VIODMA_OK) {
		uint32_t i = (uint32_t)((int *)completion.token - tokens);

		CHECK(i < 64 && load->out[i]);
		CHECK_EQUAL(completion.written_bytes, 1 + i);
		load->out[i] = false;
		load->back++;
	}
	CHECK_RESULT(queue->broken, VIODMA_OK);
	return true;
}

static bool load_of(uint32_t size, struct check_random *random)
{
	struct test_device_queue *queue = of_size(size, true);
	struct load load = {.next = 0};

	while (load.back < 3000) {
		uint32_t longest = size < 4 ? size : 4, i;

		CHECK(load_adds(&queue->driver, &load, 1 + (uint32_t)check_below(random, longest)));
		if (check_below(random, 2))
			viodma_driver_queue_publish(&queue->driver);
		while (load.held_count < 40 && test_device_take(queue, &load.held[load.held_count]))
			load.held_count++;
		while (load.held_count && check_below(random, 4)) {
			i = (uint32_t)check_below(random, load.held_count);
			test_device_put_used(queue, load.held[i].head, load.held[i].part[0].len_bytes);
			load.held[i] = load.held[--load.held_count];
		}
		CHECK(load_gets(&queue->driver, &load));
	}
	return true;
}

static bool rings_of_any_size_go_round_for_ever(void)
{
	static const uint32_t sizes[] = {1, 2, 3, 4, 5, 7, 8, 12, 33};
	struct check_random random = {.state = 3};
	size_t i;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		CHECK(load_of(sizes[i], &random));
	return true;
}
HOLDS(rings_of_any_size_go_round_for_ever)

static bool a_chain_goes_on_at_the_beginning_of_the_ring(void)
{
	struct test_device_queue *queue = of_size(5, false);
	struct viodma_driver_completion completion;
	struct test_chain chain;
	uint32_t round, i;

	for (round = 0; round < 20; round++) {
		CHECK(add_some(&queue->driver, 3, tokens));
		viodma_driver_queue_publish(&queue->driver);
		CHECK(test_device_take(queue, &chain));
		CHECK_EQUAL(chain.count, 3);
		for (i = 0; i < 3; i++)
			CHECK_EQUAL(chain.part[i].len_bytes, i + 1);
		test_device_put_used(queue, chain.head, 0);
		CHECK_RESULT(viodma_driver_queue_get(&queue->driver, &completion), VIODMA_OK);
	}
	return true;
}
HOLDS(a_chain_goes_on_at_the_beginning_of_the_ring)

static bool the_largest_ring_holds_as_many_chains_and_as_long_a_chain(void)
{
	static struct viodma_segment segments[VIRTQ_SIZE_MAX];
	const struct test_device_options options = {.size = VIRTQ_SIZE_MAX, .pool_bytes = 1u << 20};
	struct test_device *device = fresh(&options);
	struct viodma_driver_queue *queue = &device->queues[0].driver;
	uint32_t i, round;

	device->queues[0].size_max = VIRTQ_SIZE_MAX;
	CHECK_RESULT(test_device_negotiate(device, 0), VIODMA_OK);
	CHECK_RESULT(test_device_make_domain(device), VIODMA_OK);
	CHECK_RESULT(test_device_make_queue(device, 0), VIODMA_OK);
	for (i = 0; i < VIRTQ_SIZE_MAX; i++)
		segments[i] = segment(i % 8, 1, VIODMA_READ);
	for (round = 0; round < 3; round++) {
		struct viodma_driver_completion completion;

		for (i = 0; i < VIRTQ_SIZE_MAX; i++)
			CHECK_RESULT(viodma_driver_queue_add(queue, &segments[i], 1, &segments[i]), VIODMA_OK);
		CHECK_RESULT(viodma_driver_queue_add(queue, segments, 1, segments), VIODMA_E_NO_SPACE);
		viodma_driver_queue_publish(queue);
		CHECK_EQUAL(flags_at(&device->queues[0], VIRTQ_SIZE_MAX - 1), 0x80);
		for (i = 0; i < VIRTQ_SIZE_MAX; i++) {
			test_device_put_used_of(&device->queues[0], (round & 1 ? VIRTQ_SIZE_MAX - 1 - i : i), 0, 1, 1);
			CHECK_RESULT(viodma_driver_queue_get(queue, &completion), VIODMA_OK);
		}
		CHECK_RESULT(viodma_driver_queue_add(queue, segments, VIRTQ_SIZE_MAX, tokens), VIODMA_OK);
		CHECK_EQUAL(queue->free_descriptors, 0);
		viodma_driver_queue_publish(queue);
		CHECK_EQUAL(flags_at(&device->queues[0], VIRTQ_SIZE_MAX - 1), 0x8000);
		test_device_put_used_of(&device->queues[0], queue->chains[0].token ? 0 : VIRTQ_SIZE_MAX - 1, 0, 1,
					VIRTQ_SIZE_MAX);
		CHECK_RESULT(viodma_driver_queue_get(queue, &completion), VIODMA_OK);
		CHECK_EQUAL(queue->free_descriptors, VIRTQ_SIZE_MAX);
	}
	return true;
}
HOLDS(the_largest_ring_holds_as_many_chains_and_as_long_a_chain)

/* ---- flags ---- */

static bool nothing_is_available_before_all_of_it_is(void)
{
	struct test_device_queue *queue = of_size(16, false);
	struct viodma_driver_completion completion;
	struct test_chain chain;
	unsigned i, round;

	for (round = 0; round < 9; round++) {
		for (i = 0; i < 3; i++) {
			CHECK(add_some(&queue->driver, 1 + (round + i) % 4, &tokens[i]));
			CHECK_EQUAL(test_device_shown(queue), 0);
		}
		viodma_driver_queue_publish(&queue->driver);
		CHECK_EQUAL(test_device_shown(queue), 3);
		for (i = 0; i < 3; i++) {
			CHECK(test_device_take(queue, &chain));
			CHECK_EQUAL(chain.count, 1 + (round + i) % 4);
			test_device_put_used(queue, chain.head, 0);
			CHECK_RESULT(viodma_driver_queue_get(&queue->driver, &completion), VIODMA_OK);
		}
		CHECK(!test_device_take(queue, &chain));
	}
	return true;
}
HOLDS(nothing_is_available_before_all_of_it_is)

/* Refused at segment `bad` of 6 (6: as a whole, for its bytes), behind `before` chains that are not published either. */
static bool refused_leaves_nothing(struct test_device_queue *queue, unsigned before, unsigned bad)
{
	struct viodma_driver_completion completion;
	struct viodma_segment segments[6];
	struct test_chain chain;
	unsigned i;

	for (i = 0; i < before; i++)
		CHECK(add_some(&queue->driver, 1, &tokens[i]));
	for (i = 0; i < 6; i++)
		segments[i] = segment(i, i == bad ? 0 : bad == 6 ? UINT32_MAX : 1, VIODMA_READ);
	CHECK_RESULT(viodma_driver_queue_add(&queue->driver, segments, 6, &tokens[9]), VIODMA_E_INVALID);
	CHECK(add_some(&queue->driver, 1, &tokens[before]));
	viodma_driver_queue_publish(&queue->driver);
	CHECK_EQUAL(test_device_shown(queue), before + 1);
	for (i = 0; i <= before; i++) {
		CHECK(test_device_take(queue, &chain));
		CHECK_EQUAL(chain.count, 1);
		test_device_put_used(queue, chain.head, 0);
		CHECK_RESULT(viodma_driver_queue_get(&queue->driver, &completion), VIODMA_OK);
		CHECK(completion.token == &tokens[i]);
	}
	CHECK(!test_device_take(queue, &chain));
	CHECK_EQUAL(queue->driver.free_descriptors, queue->driver.size);
	return true;
}

static bool a_chain_that_is_refused_half_way_leaves_nothing_available(void)
{
	unsigned before, bad, round;

	for (before = 0; before < 3; before++)
		for (bad = 0; bad <= 6; bad++) {
			struct test_device_queue *queue = of_size(before + 6, false);

			for (round = 0; round < 20; round++)
				CHECK(refused_leaves_nothing(queue, before, bad));
		}
	return true;
}
HOLDS(a_chain_that_is_refused_half_way_leaves_nothing_available)

static bool what_flags_say_later_is_no_matter(void)
{
	struct test_device_queue *queue = of_size(4, false);
	struct viodma_driver_completion completion;
	struct test_chain chain;

	CHECK(add_some(&queue->driver, 1, &tokens[0]));
	CHECK(add_some(&queue->driver, 1, &tokens[1]));
	viodma_driver_queue_publish(&queue->driver);
	CHECK(test_device_take(queue, &chain));
	test_device_put_used(queue, chain.head, 0);
	test_device_put_flags(queue, 0, 0x80); /* after all not */
	CHECK_RESULT(viodma_driver_queue_get(&queue->driver, &completion), VIODMA_EMPTY);
	test_device_put_flags(queue, 0, 0x8080);
	CHECK_RESULT(viodma_driver_queue_get(&queue->driver, &completion), VIODMA_OK);
	CHECK(completion.token == &tokens[0]);
	test_device_put_flags(queue, 0, 0x80);
	test_device_put_flags(queue, 0, 0x8080); /* once more: it has gone on */
	CHECK_RESULT(viodma_driver_queue_get(&queue->driver, &completion), VIODMA_EMPTY);
	test_device_put_flags(queue, 1, 0); /* a lap too early, or too late */
	CHECK_RESULT(viodma_driver_queue_get(&queue->driver, &completion), VIODMA_EMPTY);
	CHECK_RESULT(queue->driver.broken, VIODMA_OK);
	CHECK_EQUAL(queue->driver.out, 1);
	return true;
}
HOLDS(what_flags_say_later_is_no_matter)

static bool a_device_that_says_no_length_with_a_flag_is_believed_all_the_same(void)
{
	struct test_device_queue *queue = of_size(4, false);
	struct viodma_driver_completion completion;
	struct test_chain chain;

	CHECK(add_one(&queue->driver, tokens));
	viodma_driver_queue_publish(&queue->driver);
	CHECK(test_device_take(queue, &chain));
	test_device_put_used(queue, chain.head, 32); /* by hand: WRITE is clear */
	CHECK_RESULT(viodma_driver_queue_get(&queue->driver, &completion), VIODMA_OK);
	CHECK_EQUAL(completion.written_bytes, 32);
	return true;
}
HOLDS(a_device_that_says_no_length_with_a_flag_is_believed_all_the_same)

/* ---- notifications ---- */

/* One descriptor after the other goes by, in batches of every length; a kick goes if the wished one was among them. */
static bool a_kick_goes_when_the_wished_descriptor_becomes_available(void)
{
	const uint32_t size = 5;
	uint32_t wish, batch, i, k;

	for (wish = 0; wish < 2 * size; wish++)
		for (batch = 1; batch <= size; batch++) {
			struct test_device_queue *queue = of_size(size, true);
			struct viodma_driver_completion completion;
			uint32_t off_wrap = wish % size | (wish < size ? 0x8000u : 0);

			for (i = 0; i < 4 * size; i += batch) {
				bool wished = false, needed;

				test_device_set_event(queue, off_wrap, VIRTQ_PACKED_EVENT_DESC);
				for (k = 0; k < batch; k++) {
					CHECK(add_some(&queue->driver, 1, tokens));
					wished |= (i + k) % (2 * size) == wish;
				}
				viodma_driver_queue_publish(&queue->driver);
				needed = viodma_driver_queue_kick_needed(&queue->driver);
				CHECK_EQUAL(needed, wished);
				for (k = 0; k < batch; k++) {
					struct test_chain chain;

					CHECK(test_device_take(queue, &chain));
					test_device_put_used(queue, chain.head, 0);
					CHECK_RESULT(viodma_driver_queue_get(&queue->driver, &completion), VIODMA_OK);
				}
			}
		}
	return true;
}
HOLDS(a_kick_goes_when_the_wished_descriptor_becomes_available)

static bool a_wish_that_makes_no_sense_gets_a_kick(void)
{
	struct test_device_queue *queue = of_size(5, true);

	CHECK(add_some(&queue->driver, 1, tokens));
	viodma_driver_queue_publish(&queue->driver);
	test_device_set_event(queue, 5, VIRTQ_PACKED_EVENT_DESC);
	CHECK(viodma_driver_queue_kick_needed(&queue->driver));
	CHECK(add_some(&queue->driver, 1, tokens));
	viodma_driver_queue_publish(&queue->driver);
	test_device_set_event(queue, 0, 3);
	CHECK(viodma_driver_queue_kick_needed(&queue->driver));
	queue = of_size(5, false); /* and without EVENT_IDX there are no places */
	CHECK(add_some(&queue->driver, 1, tokens));
	viodma_driver_queue_publish(&queue->driver);
	test_device_set_event(queue, 4, VIRTQ_PACKED_EVENT_DESC);
	CHECK(viodma_driver_queue_kick_needed(&queue->driver));
	return true;
}
HOLDS(a_wish_that_makes_no_sense_gets_a_kick)

static bool a_notification_says_where_the_next_descriptor_will_be(void)
{
	const struct test_device_options options = {.size = 5, .queues = 2, .notification_data = true};
	struct test_device *device = with_queue(&options);
	struct test_device_queue *queue = &device->queues[1];
	struct viodma_driver_completion completion;
	uint32_t i;

	CHECK_RESULT(test_device_make_queue(device, 1), VIODMA_OK);
	CHECK(queue->driver.config.notification_data);
	for (i = 1; i < 30; i++) {
		struct test_chain chain;

		CHECK(add_some(&queue->driver, 1, tokens));
		viodma_driver_queue_publish(&queue->driver);
		CHECK(add_some(&queue->driver, 1, tokens)); /* not available yet: not said */
		viodma_driver_queue_kick(&queue->driver, &device->transport);
		CHECK_EQUAL(queue->notified, 2 * i - 1);
		CHECK_EQUAL(queue->notified_data & 0xffff, 1);
		CHECK_EQUAL(queue->notified_data >> 16, (2 * i - 1) % 5 | ((2 * i - 1) / 5 % 2 ? 0 : 0x8000));
		viodma_driver_queue_publish(&queue->driver);
		viodma_driver_queue_kick(&queue->driver, &device->transport);
		CHECK(test_device_take(queue, &chain));
		test_device_put_used(queue, chain.head, 0);
		CHECK_RESULT(viodma_driver_queue_get(&queue->driver, &completion), VIODMA_OK);
		CHECK(test_device_take(queue, &chain));
		test_device_put_used(queue, chain.head, 0);
		CHECK_RESULT(viodma_driver_queue_get(&queue->driver, &completion), VIODMA_OK);
	}
	return true;
}
HOLDS(a_notification_says_where_the_next_descriptor_will_be)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(rings_of_any_size_go_round_for_ever),
		TEST(a_chain_goes_on_at_the_beginning_of_the_ring),
		TEST(the_largest_ring_holds_as_many_chains_and_as_long_a_chain),
		TEST(nothing_is_available_before_all_of_it_is),
		TEST(a_chain_that_is_refused_half_way_leaves_nothing_available),
		TEST(what_flags_say_later_is_no_matter),
		TEST(a_device_that_says_no_length_with_a_flag_is_believed_all_the_same),
		TEST(a_kick_goes_when_the_wished_descriptor_becomes_available),
		TEST(a_wish_that_makes_no_sense_gets_a_kick),
		TEST(a_notification_says_where_the_next_descriptor_will_be),
	};

	return cmocka_run_group_tests_name("driver, packed ring", tests, NULL, NULL);
}
