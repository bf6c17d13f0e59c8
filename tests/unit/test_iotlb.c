/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_iotlb.c - what the platform may grant, what it withdraws, and what a table too small forgets. (Questions and
 * answers: test_iotlb_miss.c. Which bus address is which memory after any sequence: test_iotlb_model.c.)
 */
#include "tests/support/iotlb_rig.h"

/* ---- making ---- */

static bool tables_out_of_range_are_refused(void)
{
	struct setup *s = fresh();
	struct viodma_iotlb_config good = s->iotlb.config, bad;
	static const uint32_t capacities[] = {0, 1, 7};
	static const uint32_t miss_capacities[] = {0, 4, 9, 15};
	struct viodma_iotlb iotlb;
	size_t i;

	for (i = 0; i < 3; i++) {
		bad = good;
		bad.capacity = capacities[i];
		CHECK_RESULT(viodma_iotlb_init(&iotlb, &bad), VIODMA_E_INVALID);
	}
	for (i = 0; i < 4; i++) {
		bad = good;
		bad.miss_capacity = miss_capacities[i];
		CHECK_RESULT(viodma_iotlb_init(&iotlb, &bad), VIODMA_E_INVALID);
	}
	bad = good;
	bad.space = NULL;
	CHECK_RESULT(viodma_iotlb_init(&iotlb, &bad), VIODMA_E_INVALID);
	bad = good;
	bad.entries = NULL;
	CHECK_RESULT(viodma_iotlb_init(&iotlb, &bad), VIODMA_E_INVALID);
	bad = good;
	bad.misses = NULL;
	CHECK_RESULT(viodma_iotlb_init(&iotlb, &bad), VIODMA_E_INVALID);
	good.capacity = 8;
	good.miss_capacity = 8;
	CHECK_RESULT(viodma_iotlb_init(&iotlb, &good), VIODMA_OK);
	return true;
}
HOLDS(tables_out_of_range_are_refused)

static bool the_least_capacity_holds_rings_and_the_largest_request(void)
{
	/* Rings of 128: 2048 + 262 + 1030 bytes, at least 3 mappings; a request of 1 MiB in 128 parts: 256 pages. */
	uint32_t least = viodma_iotlb_least_capacity(128, 1u << 20, 128);

	CHECK(least >= 3 + 256 + 128);
	CHECK(viodma_iotlb_least_capacity(1024, 1u << 20, 128) >= least);
	CHECK(viodma_iotlb_least_capacity(128, 2u << 20, 128) > least);
	CHECK(viodma_iotlb_least_capacity(128, 1u << 20, 256) > least);
	CHECK(viodma_iotlb_least_capacity(1, 0, 0) >= 3);
	CHECK(viodma_iotlb_least_capacity(32768, UINT64_MAX, UINT32_MAX) >= least); /* no overflow */
	return true;
}
HOLDS(the_least_capacity_holds_rings_and_the_largest_request)

/* ---- what may not be granted ---- */

static bool refused_changes_nothing(struct setup *s, uint64_t bus, uint64_t len, uint64_t user,
				    enum viodma_permission permission)
{
	uint64_t reachable = s->iotlb.statistics.reachable_bytes, updates = s->iotlb.statistics.updates;

	CHECK_RESULT(viodma_iotlb_update(&s->iotlb, (viodma_bus){bus}, len, (viodma_uaddr){user}, permission),
		     VIODMA_PEER_MAPPING);
	CHECK_EQUAL(s->iotlb.statistics.reachable_bytes, reachable);
	CHECK_EQUAL(s->iotlb.statistics.updates, updates);
	CHECK_EQUAL(s->iotlb.entry_count, 1);
	return true;
}

static bool a_grant_outside_the_memory_given_is_refused(void)
{
	struct setup *s = fresh();

	CHECK_RESULT(update(s, 0, 0, VIODMA_READ), VIODMA_OK);
	CHECK(refused_changes_nothing(s, BUS, PAGE, USER - 1, VIODMA_READ));
	CHECK(refused_changes_nothing(s, BUS, PAGE, USER + sizeof(s->memory) - PAGE + 1, VIODMA_READ));
	CHECK(refused_changes_nothing(s, BUS, sizeof(s->memory) + 1, USER, VIODMA_READ));
	CHECK(refused_changes_nothing(s, BUS, PAGE, PHYS, VIODMA_READ));
	CHECK(refused_changes_nothing(s, BUS, PAGE, USER, VIODMA_NO_ACCESS));
	CHECK_RESULT(viodma_iotlb_update(&s->iotlb, (viodma_bus){BUS}, sizeof(s->memory), (viodma_uaddr){USER},
					 VIODMA_READ),
		     VIODMA_OK); /* all of it may be granted */
	return true;
}
HOLDS(a_grant_outside_the_memory_given_is_refused)

static bool an_empty_grant_is_refused(void)
{
	struct setup *s = fresh();

	CHECK_RESULT(update(s, 0, 0, VIODMA_READ), VIODMA_OK);
	CHECK(refused_changes_nothing(s, BUS + PAGE, 0, USER, VIODMA_READ));
	return true;
}
HOLDS(an_empty_grant_is_refused)

static bool a_grant_whose_bus_addresses_wrap_is_refused(void)
{
	struct setup *s = fresh();

	CHECK_RESULT(update(s, 0, 0, VIODMA_READ), VIODMA_OK);
	CHECK(refused_changes_nothing(s, UINT64_MAX - PAGE + 2, PAGE, USER, VIODMA_READ));
	CHECK(refused_changes_nothing(s, UINT64_MAX, UINT64_MAX, USER, VIODMA_READ));
	CHECK_RESULT(viodma_iotlb_update(&s->iotlb, (viodma_bus){UINT64_MAX - PAGE + 1}, PAGE, (viodma_uaddr){USER},
					 VIODMA_READ),
		     VIODMA_OK); /* it may end with the last address there is */
	return true;
}
BEHAVIOUR(a_grant_whose_bus_addresses_wrap_is_refused, "PLT-10")

static bool a_withdrawal_that_wraps_or_is_empty_is_refused(void)
{
	struct setup *s = fresh();

	CHECK_RESULT(update(s, 0, 0, VIODMA_READ), VIODMA_OK);
	CHECK_RESULT(viodma_iotlb_invalidate(&s->iotlb, (viodma_bus){BUS}, 0), VIODMA_PEER_MAPPING);
	CHECK_RESULT(viodma_iotlb_invalidate(&s->iotlb, (viodma_bus){BUS}, UINT64_MAX), VIODMA_PEER_MAPPING);
	CHECK_EQUAL(s->iotlb.statistics.invalidations, 0);
	CHECK_RESULT(look(s, 0, VIODMA_READ), VIODMA_OK);
	return true;
}
BEHAVIOUR(a_withdrawal_that_wraps_or_is_empty_is_refused, "PLT-10")

static bool length_0_at_address_0_withdraws_everything(void)
{
	struct setup *s = fresh();

	CHECK_RESULT(update(s, 0, 0, VIODMA_READ), VIODMA_OK);
	CHECK_RESULT(viodma_iotlb_update(&s->iotlb, (viodma_bus){0}, 1, (viodma_uaddr){USER}, VIODMA_READ), VIODMA_OK);
	CHECK_RESULT(viodma_iotlb_update(&s->iotlb, (viodma_bus){UINT64_MAX}, 1, (viodma_uaddr){USER}, VIODMA_READ),
		     VIODMA_OK);
	CHECK_EQUAL(s->iotlb.statistics.reachable_bytes, PAGE + 2);
	CHECK_RESULT(viodma_iotlb_invalidate(&s->iotlb, (viodma_bus){0}, 0), VIODMA_OK);
	CHECK_EQUAL(s->iotlb.entry_count, 0);
	CHECK_EQUAL(s->iotlb.statistics.reachable_bytes, 0);
	CHECK_RESULT(look(s, 0, VIODMA_READ), VIODMA_MISS);
	return true;
}
HOLDS(length_0_at_address_0_withdraws_everything)

/* ---- withdrawing ---- */

static bool a_withdrawal_takes_the_last_hit_along(void)
{
	struct setup *s = fresh();
	struct viodma_extent extent;
	const viodma_bus bus = {BUS + 3 * PAGE};

	CHECK_RESULT(update(s, 3, 5, VIODMA_READ), VIODMA_OK);
	CHECK_RESULT(viodma_space_translate(&s->space, &s->cache, bus, VIODMA_READ, &extent), VIODMA_OK);
	CHECK_RESULT(viodma_iotlb_invalidate(&s->iotlb, bus, PAGE), VIODMA_OK);
	CHECK_RESULT(viodma_space_translate(&s->space, &s->cache, bus, VIODMA_READ, &extent), VIODMA_MISS);
	return true;
}
HOLDS(a_withdrawal_takes_the_last_hit_along)

static bool memory_in_use_stays_so_when_its_mapping_is_withdrawn(void)
{
	struct setup *s = fresh();
	struct viodma_segment segment = {{BUS + 3 * PAGE}, 16, VIODMA_READ};
	struct viodma_piece piece;
	struct viodma_pin pin = {.segments = &segment, .pieces = &piece, .segment_count = 1, .piece_count = 1};
	uint32_t count = 0;
	viodma_bus missed;

	CHECK_RESULT(update(s, 3, 5, VIODMA_READ), VIODMA_OK);
	CHECK_RESULT(viodma_space_map(&s->space, NULL, 0, &segment, &piece, 1, &count, &missed), VIODMA_OK);
	viodma_space_pin(&s->space, &pin);
	CHECK_RESULT(viodma_iotlb_invalidate(&s->iotlb, (viodma_bus){BUS}, 8 * PAGE), VIODMA_OK);
	/* = DEV-13: the caller may not acknowledge yet. */
	CHECK(viodma_space_in_use(&s->space, (viodma_bus){BUS}, (viodma_bus){BUS + 8 * PAGE - 1}));
	CHECK_RESULT(look(s, 3, VIODMA_READ), VIODMA_MISS);
	viodma_space_unpin(&s->space, &pin);
	CHECK(!viodma_space_in_use(&s->space, (viodma_bus){BUS}, (viodma_bus){BUS + 8 * PAGE - 1}));
	return true;
}
HOLDS(memory_in_use_stays_so_when_its_mapping_is_withdrawn)

static bool a_region_that_goes_takes_its_mappings_along(void)
{
	static unsigned char other[2 * PAGE];
	struct setup *s = fresh();
	struct viodma_region region = {.phys = {PHYS + 0x1000000}, .user = {USER + sizeof(s->memory)},
				       .len_bytes = sizeof(other), .memory = other};

	CHECK_RESULT(viodma_space_add_region(&s->space, &region), VIODMA_OK);
	CHECK_RESULT(update(s, 0, PAGES - 1, VIODMA_READ), VIODMA_OK);
	CHECK_RESULT(update(s, 1, PAGES, VIODMA_READ), VIODMA_OK);
	/* One grant over both: the half in the other region stays. */
	CHECK_RESULT(viodma_iotlb_update(&s->iotlb, (viodma_bus){BUS + 2 * PAGE}, 2 * PAGE,
					 (viodma_uaddr){USER + (PAGES - 1) * PAGE}, VIODMA_READ),
		     VIODMA_OK);
	CHECK_RESULT(viodma_space_retire_region(&s->space, region.phys), VIODMA_OK);
	CHECK_RESULT(look(s, 0, VIODMA_READ), VIODMA_OK);
	CHECK_RESULT(look(s, 1, VIODMA_READ), VIODMA_MISS);
	CHECK_RESULT(look(s, 2, VIODMA_READ), VIODMA_OK);
	CHECK_RESULT(look(s, 3, VIODMA_READ), VIODMA_MISS);
	CHECK_EQUAL(s->iotlb.statistics.reachable_bytes, 2 * PAGE);
	CHECK_RESULT(update(s, 1, PAGES, VIODMA_READ), VIODMA_PEER_MAPPING); /* and is not granted again */
	CHECK_RESULT(viodma_space_remove_region(&s->space, region.phys, NULL), VIODMA_OK);
	return true;
}
HOLDS(a_region_that_goes_takes_its_mappings_along)

static bool clearing_forgets_mappings_and_questions(void)
{
	struct setup *s = fresh();
	struct viodma_extent extent;

	CHECK_RESULT(update(s, 3, 5, VIODMA_READ), VIODMA_OK);
	CHECK_RESULT(viodma_space_translate(&s->space, &s->cache, (viodma_bus){BUS + 3 * PAGE}, VIODMA_READ, &extent),
		     VIODMA_OK);
	want(s, 4, VIODMA_READ);
	viodma_iotlb_clear(&s->iotlb);
	CHECK_EQUAL(s->iotlb.entry_count, 0);
	CHECK_EQUAL(s->iotlb.outstanding, 0);
	CHECK_EQUAL(s->iotlb.statistics.dropped, 1);
	CHECK_RESULT(viodma_space_translate(&s->space, &s->cache, (viodma_bus){BUS + 3 * PAGE}, VIODMA_READ, &extent),
		     VIODMA_MISS);
	CHECK_RESULT(reply(s, 4, VIODMA_READ, true), VIODMA_E_NOT_FOUND);
	want(s, 4, VIODMA_READ);
	CHECK_EQUAL(s->asks, 2);
	CHECK_EQUAL(s->iotlb.statistics.misses,
		    s->iotlb.statistics.answered + s->iotlb.statistics.failed + s->iotlb.statistics.dropped +
			    s->iotlb.outstanding);
	return true;
}
HOLDS(clearing_forgets_mappings_and_questions)

/* ---- eviction ---- */

static bool a_full_table_evicts_and_asks_again(void)
{
	struct setup *s = with(8, true);
	unsigned page, known = 0;

	for (page = 0; page < 12; page++)
		CHECK_RESULT(update(s, page, page, VIODMA_READ), VIODMA_OK);
	CHECK_EQUAL(s->iotlb.entry_count, 8);
	CHECK_EQUAL(s->iotlb.statistics.evictions, 4);
	CHECK_EQUAL(s->iotlb.statistics.reachable_bytes, 8 * PAGE);
	CHECK_EQUAL(s->revokes, 4);
	CHECK_RESULT(look(s, 11, VIODMA_READ), VIODMA_OK); /* the newest is there */
	for (page = 0; page < 12; page++) {
		enum viodma_result result = look(s, page, VIODMA_READ);

		CHECK(result == VIODMA_OK || result == VIODMA_MISS);
		known += result == VIODMA_OK;
	}
	CHECK_EQUAL(known, 8);
	return true;
}
HOLDS(a_full_table_evicts_and_asks_again)

static bool an_entry_in_use_outlives_entries_nobody_uses(void)
{
	struct setup *s = with(8, true);
	unsigned page, again = 0;

	CHECK_RESULT(update(s, 0, 0, VIODMA_READ), VIODMA_OK);
	for (page = 1; page < 400; page++) {
		if (look(s, 0, VIODMA_READ) == VIODMA_MISS) {
			CHECK_RESULT(update(s, 0, 0, VIODMA_READ), VIODMA_OK);
			again++;
		}
		CHECK_RESULT(update(s, page, page % PAGES, VIODMA_READ), VIODMA_OK);
	}
	/* Were it treated like the others it would be evicted about 400 / 8 times. */
	CHECK(again <= 400 / 8 / 4);
	return true;
}
HOLDS(an_entry_in_use_outlives_entries_nobody_uses)

static bool a_last_hit_of_an_evicted_entry_does_not_outlive_a_new_grant(void)
{
	struct setup *s = with(8, true);
	struct viodma_extent extent;
	const viodma_bus bus = {BUS};
	unsigned page;

	CHECK_RESULT(update(s, 0, 1, VIODMA_READ), VIODMA_OK);
	CHECK_RESULT(viodma_space_translate(&s->space, &s->cache, bus, VIODMA_READ, &extent), VIODMA_OK);
	for (page = 1; page < 40; page++)
		CHECK_RESULT(update(s, page, page % PAGES, VIODMA_READ), VIODMA_OK);
	CHECK(s->iotlb.statistics.evictions >= 30);
	/* An update replaces what there was, whether or not this half still remembers it. */
	CHECK_RESULT(update(s, 0, 2, VIODMA_READ), VIODMA_OK);
	CHECK_RESULT(viodma_space_translate(&s->space, &s->cache, bus, VIODMA_READ, &extent), VIODMA_OK);
	CHECK((unsigned char *)extent.memory == s->memory + 2 * PAGE);
	return true;
}
HOLDS(a_last_hit_of_an_evicted_entry_does_not_outlive_a_new_grant)

/* ---- events ---- */

static bool grants_and_withdrawals_are_told(void)
{
	struct setup *s = fresh();

	CHECK_RESULT(update(s, 3, 5, VIODMA_READ), VIODMA_OK);
	CHECK_EQUAL(s->grants, 1);
	CHECK_EQUAL(s->granted.first.v, BUS + 3 * PAGE);
	CHECK_EQUAL(s->granted.last.v, BUS + 4 * PAGE - 1);
	CHECK_EQUAL(s->granted.phys.v, PHYS + 5 * PAGE);
	CHECK_EQUAL(s->granted.permission, VIODMA_READ);
	CHECK_RESULT(viodma_iotlb_invalidate(&s->iotlb, (viodma_bus){BUS + 3 * PAGE}, PAGE), VIODMA_OK);
	CHECK(s->revokes >= 1);
	CHECK_EQUAL(s->revoked_first, BUS + 3 * PAGE);
	CHECK_EQUAL(s->revoked_last, BUS + 4 * PAGE - 1);
	CHECK_EQUAL(s->iotlb.statistics.reachable_bytes, 0);
	CHECK_EQUAL(s->iotlb.statistics.reachable_bytes_peak, PAGE);
	return true;
}
HOLDS(grants_and_withdrawals_are_told)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(tables_out_of_range_are_refused),
		TEST(the_least_capacity_holds_rings_and_the_largest_request),
		TEST(a_grant_outside_the_memory_given_is_refused),
		TEST(an_empty_grant_is_refused),
		WITH_MUTANT(a_grant_whose_bus_addresses_wrap_is_refused),
		WITH_MUTANT(a_withdrawal_that_wraps_or_is_empty_is_refused),
		TEST(length_0_at_address_0_withdraws_everything),
		TEST(a_withdrawal_takes_the_last_hit_along),
		TEST(memory_in_use_stays_so_when_its_mapping_is_withdrawn),
		TEST(a_region_that_goes_takes_its_mappings_along),
		TEST(clearing_forgets_mappings_and_questions),
		TEST(a_full_table_evicts_and_asks_again),
		TEST(an_entry_in_use_outlives_entries_nobody_uses),
		TEST(a_last_hit_of_an_evicted_entry_does_not_outlive_a_new_grant),
		TEST(grants_and_withdrawals_are_told),
	};

	return cmocka_run_group_tests_name("iotlb", tests, NULL, NULL);
}
