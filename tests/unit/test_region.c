/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_region.c - the table of regions: adding, removing, finding, user addresses, pins.
 *
 * How it works: a table of 509 regions is filled and emptied in random order beside a plain list; after each step both
 * must answer alike. Physical and user addresses are in different orders.
 */
#include "tests/support/check.h"

#include <viodma/space.h>

#define MOST 509u
#define STEP 0x10000u

static unsigned char storage[VIODMA_SPACE_REGION_BYTES(MOST)] __attribute__((aligned(16)));
static unsigned char memory[8 * 4096] __attribute__((aligned(16)));
static struct viodma_space space;

static void fresh(uint32_t capacity)
{
	memset(storage, 0xa5, sizeof(storage));
	memset(&space, 0xa5, sizeof(space));
	viodma_space_init(&space, storage, capacity, NULL);
	viodma_space_set_physical(&space);
}

static enum viodma_result add(uint64_t phys, uint64_t user, uint64_t len, void *at)
{
	struct viodma_region region = {.phys = {phys}, .user = {user}, .len_bytes = len, .memory = at};

	return viodma_space_add_region(&space, &region);
}

static enum viodma_result take_away(uint64_t phys)
{
	enum viodma_result result = viodma_space_retire_region(&space, (viodma_phys){phys});

	return result == VIODMA_OK ? viodma_space_remove_region(&space, (viodma_phys){phys}, NULL) : result;
}

/* Region i of the random test: physical order is i, user order is another one. */
static uint64_t phys_of(unsigned i)
{
	return (uint64_t)(i + 1) * STEP;
}

static uint64_t user_of(unsigned i)
{
	return 0x7000000000000000u + (uint64_t)((i * 257u) % MOST) * STEP;
}

static uint64_t len_of(unsigned i)
{
	return 1 + (i * 7919u) % STEP;
}

static bool agrees(const bool *present, unsigned i)
{
	viodma_phys phys[] = {{phys_of(i)}, {phys_of(i) + len_of(i) - 1}, {phys_of(i) + len_of(i)}};
	viodma_uaddr user[] = {{user_of(i)}, {user_of(i) + len_of(i) - 1}, {user_of(i) + len_of(i)}};
	const struct viodma_region *region;
	unsigned k;

	for (k = 0; k < 2; k++) {
		region = viodma_space_find_phys(&space, phys[k]);
		CHECK_EQUAL(region != NULL, present[i]);
		CHECK(!region || region->phys.v == phys_of(i));
		region = viodma_space_find_user(&space, user[k]);
		CHECK_EQUAL(region != NULL, present[i]);
		CHECK(!region || (region->phys.v == phys_of(i) && region->user.v == user_of(i)));
	}
	if (len_of(i) < STEP) {
		CHECK(viodma_space_find_phys(&space, phys[2]) == NULL);
		CHECK(viodma_space_find_user(&space, user[2]) == NULL);
	}
	return true;
}

static bool regions_509_come_and_go_in_any_order(void)
{
	static bool present[MOST];
	struct check_random random = {.state = 33};
	unsigned count = 0, round, i;

	fresh(MOST);
	memset(present, 0, sizeof(present));
	for (round = 0; round < 6000; round++) {
		bool filling = (round / 1500) % 2 == 0;

		i = (unsigned)check_below(&random, MOST);
		if (present[i] && (!filling || check_below(&random, 4) == 0)) {
			CHECK_RESULT(take_away(phys_of(i)), VIODMA_OK);
			present[i] = false;
			count--;
		} else if (!present[i]) {
			CHECK_RESULT(add(phys_of(i), user_of(i), len_of(i), memory), VIODMA_OK);
			present[i] = true;
			count++;
		}
		CHECK_EQUAL(space.region_count, count);
		CHECK(agrees(present, i));
		CHECK(agrees(present, (unsigned)check_below(&random, MOST)));
	}
	for (i = 0; i < MOST; i++)
		if (!present[i])
			CHECK_RESULT(add(phys_of(i), user_of(i), len_of(i), memory), VIODMA_OK);
	CHECK_RESULT(add(0, 0, 1, memory), VIODMA_E_NO_SPACE);
	for (i = 0; i < MOST; i++) {
		present[i] = true;
		CHECK(agrees(present, i));
	}
	for (i = 0; i < MOST; i++)
		CHECK_RESULT(take_away(phys_of((i * 101u) % MOST)), VIODMA_OK);
	CHECK_EQUAL(space.region_count, 0);
	return true;
}
HOLDS(regions_509_come_and_go_in_any_order)

static bool regions_that_overlap_are_refused_in_either_kind_of_address(void)
{
	static const struct {
		uint64_t phys, user, len;
	} bad[] = {
		{0x10000, 0x90000, 0x1000},  /* same physical */
		{0x0f001, 0x90000, 0x1000},  /* its last byte */
		{0x10fff, 0x90000, 0x1000},  /* its first byte */
		{0x10800, 0x90000, 1},	     /* inside */
		{0x0f000, 0x90000, 0x10000}, /* around */
		{0x90000, 0x50000, 0x1000},  /* the same, of user addresses */
		{0x90000, 0x4f001, 0x1000},
		{0x90000, 0x50fff, 0x1000},
		{0x90000, 0x50800, 1},
		{0x90000, 0x4f000, 0x10000},
	};
	size_t i;

	fresh(8);
	CHECK_RESULT(add(0x10000, 0x50000, 0x1000, memory), VIODMA_OK);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CHECK_RESULT(add(bad[i].phys, bad[i].user, bad[i].len, memory), VIODMA_PEER_MAPPING);
		CHECK_EQUAL(space.region_count, 1);
	}
	CHECK_RESULT(add(0x11000, 0x51000, 0x1000, memory), VIODMA_OK); /* adjoining is no overlap */
	CHECK_RESULT(add(0x0f000, 0x4f000, 0x1000, memory), VIODMA_OK);
	return true;
}
HOLDS(regions_that_overlap_are_refused_in_either_kind_of_address)

static bool an_empty_region_is_refused(void)
{
	fresh(8);
	CHECK_RESULT(add(0x1000, 0x1000, 0, memory), VIODMA_PEER_MAPPING);
	CHECK_EQUAL(space.region_count, 0);
	return true;
}
BEHAVIOUR(an_empty_region_is_refused, "PLT-10")

static bool a_region_whose_physical_addresses_wrap_is_refused(void)
{
	fresh(8);
	CHECK_RESULT(add(UINT64_MAX - 0xffe, 0x1000, 0x1000, memory), VIODMA_PEER_MAPPING);
	CHECK_RESULT(add(0x2000, 0x1000, UINT64_MAX, memory), VIODMA_PEER_MAPPING);
	return true;
}
BEHAVIOUR(a_region_whose_physical_addresses_wrap_is_refused, "PLT-10")

static bool a_region_whose_user_addresses_wrap_is_refused(void)
{
	fresh(8);
	CHECK_RESULT(add(0x1000, UINT64_MAX - 0xffe, 0x1000, memory), VIODMA_PEER_MAPPING);
	return true;
}
BEHAVIOUR(a_region_whose_user_addresses_wrap_is_refused, "PLT-10")

static bool a_region_may_end_with_the_last_byte_of_the_address_space(void)
{
	const struct viodma_region *region;

	fresh(8);
	CHECK_RESULT(add(UINT64_MAX - 0xfff, UINT64_MAX - 0xfff, 0x1000, memory), VIODMA_OK);
	region = viodma_space_find_phys(&space, (viodma_phys){UINT64_MAX});
	CHECK(region != NULL && region->phys.v == UINT64_MAX - 0xfff);
	CHECK(viodma_space_find_user(&space, (viodma_uaddr){UINT64_MAX}) == region);
	CHECK(viodma_space_find_phys(&space, (viodma_phys){UINT64_MAX - 0x1000}) == NULL);
	CHECK(viodma_space_find_phys(&space, (viodma_phys){0}) == NULL);
	CHECK_RESULT(add(0, 0, 0x1000, memory), VIODMA_OK);
	CHECK(viodma_space_find_phys(&space, (viodma_phys){0}) != NULL);
	return true;
}
HOLDS(a_region_may_end_with_the_last_byte_of_the_address_space)

static bool a_retired_region_is_reached_by_no_new_access(void)
{
	struct viodma_space_cache cache = {.generation = 0};
	struct viodma_extent extent;

	fresh(8);
	CHECK_RESULT(add(0x1000, 0x9000, 0x1000, memory), VIODMA_OK);
	CHECK_RESULT(viodma_space_translate(&space, &cache, (viodma_bus){0x1000}, VIODMA_READ, &extent), VIODMA_OK);
	CHECK_RESULT(viodma_space_retire_region(&space, (viodma_phys){0x1000}), VIODMA_OK);
	CHECK(viodma_space_find_phys(&space, (viodma_phys){0x1000}) == NULL);
	CHECK(viodma_space_find_user(&space, (viodma_uaddr){0x9000}) == NULL);
	CHECK_RESULT(viodma_space_translate(&space, &cache, (viodma_bus){0x1000}, VIODMA_READ, &extent),
		     VIODMA_FAULT_UNMAPPED); /* the last hit is forgotten, too */
	return true;
}
HOLDS(a_retired_region_is_reached_by_no_new_access)

static bool regions_are_removed_in_two_steps_by_their_first_address(void)
{
	struct viodma_region removed;

	fresh(8);
	CHECK_RESULT(add(0x1000, 0x9000, 0x1000, memory + 5), VIODMA_OK);
	CHECK_RESULT(viodma_space_remove_region(&space, (viodma_phys){0x1000}, NULL), VIODMA_E_NOT_FOUND);
	CHECK_RESULT(viodma_space_retire_region(&space, (viodma_phys){0x1001}), VIODMA_E_NOT_FOUND);
	CHECK_RESULT(viodma_space_retire_region(&space, (viodma_phys){0x0fff}), VIODMA_E_NOT_FOUND);
	CHECK_RESULT(viodma_space_retire_region(&space, (viodma_phys){0x1000}), VIODMA_OK);
	CHECK_RESULT(viodma_space_remove_region(&space, (viodma_phys){0x1001}, &removed), VIODMA_E_NOT_FOUND);
	CHECK_RESULT(viodma_space_remove_region(&space, (viodma_phys){0x1000}, &removed), VIODMA_OK);
	CHECK_EQUAL(removed.phys.v, 0x1000);
	CHECK_EQUAL(removed.user.v, 0x9000);
	CHECK(removed.memory == memory + 5);
	CHECK_EQUAL(space.region_count, 0);
	CHECK_RESULT(add(0x1000, 0x9000, 0x1000, memory), VIODMA_OK); /* and may come back */
	CHECK(viodma_space_find_phys(&space, (viodma_phys){0x1000}) != NULL);
	return true;
}
HOLDS(regions_are_removed_in_two_steps_by_their_first_address)

static bool a_region_with_pinned_memory_is_not_removed(void)
{
	struct viodma_segment segment = {{0x1ff0}, 16, VIODMA_READ};
	struct viodma_piece piece = {(struct viodma_shared *)(void *)(memory + 0xff0), 16};
	struct viodma_pin pin = {.segments = &segment, .pieces = &piece, .segment_count = 1, .piece_count = 1};

	fresh(8);
	CHECK_RESULT(add(0x1000, 0x9000, 0x1000, memory), VIODMA_OK);
	CHECK_RESULT(add(0x2000, 0xa000, 0x1000, memory + 0x1000), VIODMA_OK);
	viodma_space_pin(&space, &pin);
	CHECK_RESULT(viodma_space_retire_region(&space, (viodma_phys){0x1000}), VIODMA_OK);
	CHECK_RESULT(viodma_space_remove_region(&space, (viodma_phys){0x1000}, NULL), VIODMA_E_BUSY);
	CHECK_EQUAL(space.region_count, 2);
	CHECK_RESULT(take_away(0x2000), VIODMA_OK); /* its neighbour is not held back */
	viodma_space_unpin(&space, &pin);
	CHECK_RESULT(viodma_space_remove_region(&space, (viodma_phys){0x1000}, NULL), VIODMA_OK);
	return true;
}
BEHAVIOUR(a_region_with_pinned_memory_is_not_removed, "DEV-13")

static bool user_addresses_lead_to_physical_ones_where_those_are_contiguous(void)
{
	viodma_phys phys = {0};

	fresh(8);
	CHECK_RESULT(add(0x10000, 0x500000, 0x1000, memory), VIODMA_OK);
	CHECK_RESULT(add(0x11000, 0x501000, 0x1000, memory + 0x3000), VIODMA_OK); /* contiguous in both */
	CHECK_RESULT(add(0x20000, 0x502000, 0x1000, memory + 0x1000), VIODMA_OK); /* in user addresses only */
	CHECK_RESULT(viodma_space_user_to_phys(&space, (viodma_uaddr){0x500004}, 8, &phys), VIODMA_OK);
	CHECK_EQUAL(phys.v, 0x10004);
	CHECK_RESULT(viodma_space_user_to_phys(&space, (viodma_uaddr){0x500ff0}, 0x1010, &phys), VIODMA_OK);
	CHECK_EQUAL(phys.v, 0x10ff0);
	CHECK_RESULT(viodma_space_user_to_phys(&space, (viodma_uaddr){0x501ff0}, 0x11, &phys), VIODMA_PEER_MAPPING);
	CHECK_RESULT(viodma_space_user_to_phys(&space, (viodma_uaddr){0x502ff0}, 0x11, &phys), VIODMA_PEER_MAPPING);
	CHECK_RESULT(viodma_space_user_to_phys(&space, (viodma_uaddr){0x4ffff0}, 0x20, &phys), VIODMA_PEER_MAPPING);
	CHECK_RESULT(viodma_space_user_to_phys(&space, (viodma_uaddr){0x10000}, 1, &phys), VIODMA_PEER_MAPPING);
	CHECK_RESULT(viodma_space_user_to_phys(&space, (viodma_uaddr){0x500000}, UINT64_MAX, &phys), VIODMA_PEER_MAPPING);
	return true;
}
HOLDS(user_addresses_lead_to_physical_ones_where_those_are_contiguous)

static bool adding_a_region_lets_waiting_requests_try_again(void)
{
	uint64_t epoch;

	fresh(8);
	epoch = space.epoch;
	CHECK_RESULT(add(0x1000, 0x9000, 0x1000, memory), VIODMA_OK);
	CHECK(space.epoch != epoch);
	return true;
}
HOLDS(adding_a_region_lets_waiting_requests_try_again)

static bool a_space_may_have_no_storage_and_then_takes_no_region(void)
{
	viodma_space_init(&space, NULL, 0, NULL);
	viodma_space_set_physical(&space);
	CHECK(!space.regions && !space.by_user);
	CHECK_RESULT(add(0x1000, 0x9000, 0x1000, memory), VIODMA_E_NO_SPACE);
	CHECK(!viodma_space_find_phys(&space, (viodma_phys){0x1000}));
	CHECK_RESULT(viodma_space_retire_region(&space, (viodma_phys){0x1000}), VIODMA_E_NOT_FOUND);
	return true;
}
HOLDS(a_space_may_have_no_storage_and_then_takes_no_region)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(regions_509_come_and_go_in_any_order),
		TEST(regions_that_overlap_are_refused_in_either_kind_of_address),
		WITH_MUTANT(an_empty_region_is_refused),
		WITH_MUTANT(a_region_whose_physical_addresses_wrap_is_refused),
		WITH_MUTANT(a_region_whose_user_addresses_wrap_is_refused),
		TEST(a_region_may_end_with_the_last_byte_of_the_address_space),
		TEST(a_retired_region_is_reached_by_no_new_access),
		TEST(regions_are_removed_in_two_steps_by_their_first_address),
		WITH_MUTANT(a_region_with_pinned_memory_is_not_removed),
		TEST(user_addresses_lead_to_physical_ones_where_those_are_contiguous),
		TEST(adding_a_region_lets_waiting_requests_try_again),
		TEST(a_space_may_have_no_storage_and_then_takes_no_region),
	};

	return cmocka_run_group_tests_name("region", tests, NULL, NULL);
}
