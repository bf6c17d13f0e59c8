/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_iotlb_steps.c - how many entries of an IOTLB are looked at: few for a look-up, however many mappings there are,
 * whatever their sizes and strides; O(log n) for an update, an invalidation and an eviction. And what an entry takes.
 *
 * How it works: test builds count each entry that is looked at (tests/support/hooks.h). Memory is one region of 2^50
 * bytes, of which there is not a single one: nothing is read.
 */
#include "tests/support/check.h"
#include "tests/support/hooks.h"

#include <viodma/iotlb.h>

#define USER 0x1000u
#define BUS UINT64_C(0x7000000000000000)
#define PAGE 4096u
#define CAPACITY 2048u
#define MAPPINGS 2000u

static unsigned char storage[VIODMA_SPACE_REGION_BYTES(1)] __attribute__((aligned(16)));
static struct viodma_space space;
static struct viodma_iotlb iotlb;
static struct viodma_iotlb_miss misses[8];
static struct viodma_iotlb_entry *entries;

static void no_ask(void *context, viodma_bus bus, enum viodma_permission wanted)
{
	(void)context;
	(void)bus;
	(void)wanted;
}

static bool make(uint32_t capacity)
{
	const struct viodma_region region = {
		.phys = {0}, .user = {USER}, .len_bytes = (uint64_t)1 << 50, .memory = (void *)(uintptr_t)PAGE};
	struct viodma_iotlb_config config = {.space = &space, .capacity = capacity, .misses = misses, .miss_capacity = 8,
					     .ask = no_ask};

	free(entries);
	config.entries = entries = calloc(capacity, sizeof(*entries));
	CHECK(entries != NULL);
	viodma_space_init(&space, storage, 1, NULL);
	CHECK_RESULT(viodma_space_add_region(&space, &region), VIODMA_OK);
	CHECK_RESULT(viodma_iotlb_init(&iotlb, &config), VIODMA_OK);
	viodma_space_set_iotlb(&space, &iotlb);
	return true;
}

static bool grant(uint64_t bus, uint64_t len)
{
	CHECK_RESULT(viodma_iotlb_update(&iotlb, (viodma_bus){bus}, len, (viodma_uaddr){USER + (bus - BUS) % (1u << 30)},
					 VIODMA_READ_WRITE),
		     VIODMA_OK);
	return true;
}

static bool look(uint64_t bus)
{
	struct viodma_extent extent;

	CHECK_RESULT(viodma_iotlb_translate(&iotlb, (viodma_bus){bus}, VIODMA_READ, &extent), VIODMA_OK);
	CHECK(extent.first.v <= bus && extent.last.v >= bus);
	return true;
}

/* MAPPINGS of `len` bytes, `stride` apart; then look-ups at random in them. On average, `steps` entries are looked at. */
static bool steps_at_most(uint64_t len, uint64_t stride, double steps)
{
	struct check_random random = {.state = len ^ stride};
	double average;

	CHECK(make(CAPACITY));
	for (uint64_t i = 0; i < MAPPINGS; i++)
		CHECK(grant(BUS + i * stride, len));
	for (unsigned i = 0; i < 4 * MAPPINGS; i++) /* hints are found out */
		CHECK(look(BUS + check_below(&random, MAPPINGS) * stride + check_below(&random, len)));
	viodma_iotlb_steps = 0;
	for (unsigned i = 0; i < 10 * MAPPINGS; i++)
		CHECK(look(BUS + check_below(&random, MAPPINGS) * stride + check_below(&random, len)));
	average = (double)viodma_iotlb_steps / (10.0 * MAPPINGS);
	if (average > steps)
		printf("# %llu bytes, stride %llu: %.2f entries\n", (unsigned long long)len, (unsigned long long)stride, average);
	CHECK(average <= steps);
	return true;
}

static bool a_look_up_takes_few_steps_whatever_the_stride(void)
{
	for (uint64_t stride = PAGE; stride <= (uint64_t)1 << 45; stride *= 2)
		CHECK(steps_at_most(PAGE, stride, 5.0));
	for (uint64_t pages = 3; pages < 4096; pages = pages * 3 + 2)
		CHECK(steps_at_most(PAGE, pages * PAGE, 5.0));
	return true;
}
HOLDS(a_look_up_takes_few_steps_whatever_the_stride)

static bool a_look_up_takes_few_steps_whatever_the_size(void)
{
	for (uint64_t len = 64; len <= (uint64_t)1 << 21; len *= 2) {
		CHECK(steps_at_most(len, len, 4.0));
		CHECK(steps_at_most(len, 2 * len, 4.0));
		CHECK(steps_at_most(3 * len, 5 * len, 5.0));
	}
	return true;
}
HOLDS(a_look_up_takes_few_steps_whatever_the_size)

static bool one_huge_mapping_among_small_ones_does_not_spoil_them(void)
{
	struct check_random random = {.state = 5};

	CHECK(make(CAPACITY));
	CHECK(grant(0, (uint64_t)1 << 40));
	for (uint64_t i = 0; i < MAPPINGS; i++)
		CHECK(grant(BUS + i * PAGE, PAGE));
	for (unsigned i = 0; i < 2 * MAPPINGS; i++)
		CHECK(look(BUS + check_below(&random, MAPPINGS) * PAGE));
	viodma_iotlb_steps = 0;
	for (unsigned i = 0; i < MAPPINGS; i++)
		CHECK(look(BUS + check_below(&random, MAPPINGS) * PAGE));
	CHECK(viodma_iotlb_steps <= 5 * MAPPINGS);
	return true;
}
HOLDS(one_huge_mapping_among_small_ones_does_not_spoil_them)

static bool mappings_used_in_sequence_take_two_steps(void)
{
	CHECK(make(CAPACITY));
	for (uint64_t i = 0; i < MAPPINGS; i++)
		CHECK(grant(BUS + i * PAGE, PAGE));
	viodma_iotlb_steps = 0;
	for (uint64_t i = 0; i < MAPPINGS; i++)
		CHECK(look(BUS + i * PAGE + 64));
	CHECK(viodma_iotlb_steps <= 2 * MAPPINGS);
	return true;
}
HOLDS(mappings_used_in_sequence_take_two_steps)

static bool what_the_index_cannot_hold_is_found_in_logarithmic_steps(void)
{
	/* One huge one decides how many upper bits count, at first; the others then have few homes. */
	CHECK(make(CAPACITY));
	CHECK(grant(BUS, (uint64_t)1 << 40));
	for (uint64_t i = 1; i < MAPPINGS; i++)
		CHECK(grant(BUS + ((uint64_t)1 << 41) + i * 2, 1));
	for (uint64_t i = 1; i < MAPPINGS; i++) {
		viodma_iotlb_steps = 0;
		CHECK(look(BUS + ((uint64_t)1 << 41) + i * 2));
		CHECK(viodma_iotlb_steps < 40);
	}
	return true;
}
HOLDS(what_the_index_cannot_hold_is_found_in_logarithmic_steps)

/* The most steps of `rounds` updates and invalidations at random in a table of n mappings. */
static bool most_steps(uint32_t n, unsigned long *most)
{
	struct check_random random = {.state = n};

	CHECK(make(n + 4000));
	for (uint64_t i = 0; i < n; i++)
		CHECK(grant(BUS + i * 2 * PAGE, PAGE));
	*most = 0;
	for (unsigned i = 0; i < 2000; i++) {
		const uint64_t at = BUS + check_below(&random, n) * 2 * PAGE;
		bool odd = i & 1;

		viodma_iotlb_steps = 0;
		if (odd)
			CHECK_RESULT(viodma_iotlb_invalidate(&iotlb, (viodma_bus){at}, PAGE), VIODMA_OK);
		else
			CHECK(grant(at + 64, PAGE - 128)); /* what was there sticks out on both sides */
		if (viodma_iotlb_steps > *most)
			*most = viodma_iotlb_steps;
	}
	return true;
}

static bool an_update_and_an_invalidation_take_steps_like_the_logarithm(void)
{
	unsigned long small, large;

	CHECK(most_steps(1000, &small));
	CHECK(most_steps(64000, &large));
	CHECK(small < 500);
	CHECK(large < small + 250); /* 64 times as many: 6 levels more, not 64 times as much */
	return true;
}
HOLDS(an_update_and_an_invalidation_take_steps_like_the_logarithm)

static bool evictions_take_a_constant_number_of_steps_on_average(void)
{
	CHECK(make(CAPACITY));
	for (uint64_t i = 0; i < CAPACITY; i++)
		CHECK(grant(BUS + i * PAGE, PAGE));
	viodma_iotlb_steps = 0;
	for (uint64_t i = 0; i < 20000; i++)
		CHECK(grant(BUS + ((uint64_t)1 << 40) + i * PAGE, PAGE));
	CHECK_EQUAL(iotlb.statistics.evictions, 20000);
	CHECK(viodma_iotlb_steps < 20000 * 250ul);
	return true;
}
HOLDS(evictions_take_a_constant_number_of_steps_on_average)

static bool an_entry_and_its_share_of_the_index_take_64_bytes(void)
{
	CHECK(sizeof(struct viodma_iotlb_entry) <= 64);
	return true;
}
HOLDS(an_entry_and_its_share_of_the_index_take_64_bytes)

static bool every_capacity_works(void)
{
	for (uint32_t capacity = 8; capacity < 600; capacity += capacity < 80 ? 1 : 37) {
		CHECK(make(capacity));
		for (uint64_t i = 0; i < 2 * capacity; i++) /* twice what there is room for */
			CHECK(grant(BUS + i * PAGE, PAGE) && look(BUS + i * PAGE));
		CHECK_EQUAL(iotlb.entry_count, capacity);
		for (uint64_t i = 0; i < 2 * capacity; i++)
			CHECK_RESULT(viodma_iotlb_invalidate(&iotlb, (viodma_bus){BUS + i * PAGE}, PAGE), VIODMA_OK);
		CHECK_EQUAL(iotlb.entry_count, 0);
		for (uint64_t i = 0; i < capacity; i++) /* every place can be taken again */
			CHECK(grant(BUS + i * 7 * PAGE, 3 * PAGE));
		CHECK_EQUAL(iotlb.entry_count, capacity);
		for (uint64_t i = 0; i < capacity; i++)
			CHECK(look(BUS + i * 7 * PAGE + 5000));
	}
	return true;
}
HOLDS(every_capacity_works)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_entry_and_its_share_of_the_index_take_64_bytes),
		TEST(a_look_up_takes_few_steps_whatever_the_stride),
		TEST(a_look_up_takes_few_steps_whatever_the_size),
		TEST(one_huge_mapping_among_small_ones_does_not_spoil_them),
		TEST(mappings_used_in_sequence_take_two_steps),
		TEST(what_the_index_cannot_hold_is_found_in_logarithmic_steps),
		TEST(an_update_and_an_invalidation_take_steps_like_the_logarithm),
		TEST(evictions_take_a_constant_number_of_steps_on_average),
		TEST(every_capacity_works),
	};
	int failed = cmocka_run_group_tests_name("iotlb steps", tests, NULL, NULL);

	free(entries);
	return failed;
}
