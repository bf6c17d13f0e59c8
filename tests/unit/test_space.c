/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_space.c - from a bus address to a byte: closed, physical and custom translators, last hits, pins, reports.
 * (Buffers: test_space_map.c. Regions: test_region.c. The IOTLB: test_iotlb.c.)
 */
#include "tests/support/space_rig.h"

/* ---- closed ---- */

static bool a_closed_space_refuses_every_access_and_reports_it(void)
{
	struct setup *s = closed();
	unsigned char byte = 0;

	CHECK_RESULT(read_bytes(s, PHYS, &byte, 1), VIODMA_FAULT_UNMAPPED);
	CHECK_EQUAL(s->faults, 1);
	CHECK_EQUAL(s->fault.queue, 5);
	CHECK_EQUAL(s->fault.bus.v, PHYS);
	CHECK_EQUAL(s->fault.permission, VIODMA_READ);
	CHECK_EQUAL(s->fault.reason, VIODMA_FAULT_UNMAPPED);
	CHECK_EQUAL(s->space.statistics.faults, 1);
	return true;
}
BEHAVIOUR(a_closed_space_refuses_every_access_and_reports_it, "DEV-10")

/* ---- physical ---- */

static bool with_bit_33_clear_a_bus_address_is_a_physical_address(void)
{
	struct setup *s = physical();
	unsigned char bytes[4];

	CHECK_RESULT(read_bytes(s, PHYS + 1234, bytes, 4), VIODMA_OK); /* = DEV-4 */
	CHECK(memcmp(bytes, s->memory + 1234, 4) == 0);
	CHECK(s->space.statistics.translations >= 1);
	CHECK_EQUAL(s->space.statistics.identity_translations, s->space.statistics.translations);
	return true;
}
HOLDS(with_bit_33_clear_a_bus_address_is_a_physical_address)

static bool with_bit_33_clear_addresses_outside_regions_are_refused(void)
{
	struct setup *s = physical();
	struct viodma_extent extent;

	CHECK_RESULT(viodma_space_translate(&s->space, NULL, (viodma_bus){PHYS - 1}, VIODMA_READ, &extent),
		     VIODMA_FAULT_UNMAPPED);
	CHECK_RESULT(viodma_space_translate(&s->space, NULL, (viodma_bus){PHYS + PAGES * PAGE}, VIODMA_READ, &extent),
		     VIODMA_FAULT_UNMAPPED);
	CHECK_RESULT(viodma_space_translate(&s->space, NULL, (viodma_bus){USER}, VIODMA_READ, &extent),
		     VIODMA_FAULT_UNMAPPED);
	CHECK_EQUAL(s->space.statistics.faults, 0); /* translate alone does not report */
	return true;
}
HOLDS(with_bit_33_clear_addresses_outside_regions_are_refused)

/* ---- translator ---- */

static bool with_bit_33_set_every_access_goes_through_the_translation(void)
{
	struct setup *s = translated();
	unsigned char byte = 0;

	CHECK_RESULT(read_bytes(s, TABLE_BUS + 7, &byte, 1), VIODMA_OK);
	CHECK_EQUAL(byte, s->memory[15 * PAGE + 7]);
	CHECK_EQUAL(s->space.statistics.identity_translations, 0);
	return true;
}
BEHAVIOUR(with_bit_33_set_every_access_goes_through_the_translation, "DEV-3")

static bool with_bit_33_set_a_physical_address_is_no_way_in(void)
{
	struct setup *s = translated();
	unsigned char byte = 0, before = s->memory[100];

	CHECK_RESULT(read_bytes(s, PHYS + 100, &byte, 1), VIODMA_FAULT_UNMAPPED);
	CHECK_RESULT(write_bytes(s, PHYS + 100, "x", 1), VIODMA_FAULT_UNMAPPED);
	CHECK_EQUAL(s->memory[100], before);
	CHECK_EQUAL(s->faults, 2);
	return true;
}
BEHAVIOUR(with_bit_33_set_a_physical_address_is_no_way_in, "DEV-10")

static bool a_write_to_memory_granted_to_be_read_is_refused(void)
{
	struct setup *s = translated();

	s->permission[2] = VIODMA_READ;
	CHECK_RESULT(write_bytes(s, TABLE_BUS + 2 * PAGE, "x", 1), VIODMA_FAULT_PERMISSION);
	CHECK_EQUAL(s->faults, 1);
	CHECK_EQUAL(s->fault.permission, VIODMA_WRITE);
	CHECK_EQUAL(s->fault.reason, VIODMA_FAULT_PERMISSION);
	return true;
}
BEHAVIOUR(a_write_to_memory_granted_to_be_read_is_refused, "DEV-9")

static bool a_read_of_memory_granted_to_be_written_is_refused(void)
{
	struct setup *s = translated();
	unsigned char byte;

	s->permission[2] = VIODMA_WRITE;
	CHECK_RESULT(read_bytes(s, TABLE_BUS + 2 * PAGE, &byte, 1), VIODMA_FAULT_PERMISSION);
	CHECK_RESULT(write_bytes(s, TABLE_BUS + 2 * PAGE, "x", 1), VIODMA_OK);
	return true;
}
BEHAVIOUR(a_read_of_memory_granted_to_be_written_is_refused, "DEV-9")

static bool a_last_hit_does_not_lend_its_memory_a_permission(void)
{
	struct setup *s = translated();
	unsigned char byte;

	s->permission[2] = VIODMA_READ;
	CHECK_RESULT(read_bytes(s, TABLE_BUS + 2 * PAGE, &byte, 1), VIODMA_OK);
	CHECK_RESULT(write_bytes(s, TABLE_BUS + 2 * PAGE, "x", 1), VIODMA_FAULT_PERMISSION);
	return true;
}
BEHAVIOUR(a_last_hit_does_not_lend_its_memory_a_permission, "DEV-9")

static bool a_translators_extent_that_does_not_cover_the_address_is_not_used(void)
{
	struct setup *s = translated();
	struct viodma_extent extent;

	CHECK_RESULT(viodma_space_translate(&s->space, &s->cache, (viodma_bus){TABLE_BUS}, VIODMA_READ, &extent),
		     VIODMA_OK);
	CHECK(extent.first.v <= TABLE_BUS && extent.last.v >= TABLE_BUS);
	CHECK_RESULT(viodma_space_translate(&s->space, &s->cache, (viodma_bus){TABLE_BUS + PAGE}, VIODMA_READ, &extent),
		     VIODMA_OK);
	CHECK_EQUAL(extent.first.v, TABLE_BUS + PAGE);
	return true;
}
HOLDS(a_translators_extent_that_does_not_cover_the_address_is_not_used)

/* ---- last hits ---- */

static bool a_second_access_is_answered_by_the_last_hit(void)
{
	struct setup *s = translated();
	struct viodma_extent extent;

	CHECK_RESULT(viodma_space_translate(&s->space, &s->cache, (viodma_bus){TABLE_BUS + 8}, VIODMA_READ, &extent),
		     VIODMA_OK);
	CHECK_RESULT(viodma_space_translate(&s->space, &s->cache, (viodma_bus){TABLE_BUS + 9}, VIODMA_WRITE, &extent),
		     VIODMA_OK);
	CHECK_EQUAL(s->translate_calls, 1);
	CHECK_EQUAL(s->space.statistics.look_ups, 1);
	CHECK_EQUAL(s->space.statistics.translations, 2);
	return true;
}
HOLDS(a_second_access_is_answered_by_the_last_hit)

static bool a_change_forgets_the_last_hit(void)
{
	struct setup *s = translated();
	unsigned char byte = 0;

	CHECK_RESULT(read_bytes(s, TABLE_BUS, &byte, 1), VIODMA_OK);
	s->frame[0] = 3;
	viodma_space_changed(&s->space);
	CHECK_RESULT(read_bytes(s, TABLE_BUS, &byte, 1), VIODMA_OK);
	CHECK_EQUAL(byte, s->memory[3 * PAGE]);
	s->frame[0] = NEVER;
	viodma_space_changed(&s->space);
	CHECK_RESULT(read_bytes(s, TABLE_BUS, &byte, 1), VIODMA_FAULT_UNMAPPED);
	return true;
}
HOLDS(a_change_forgets_the_last_hit)

static bool another_kind_of_space_forgets_the_last_hit(void)
{
	struct setup *s = physical();
	unsigned char byte = 0;

	CHECK_RESULT(read_bytes(s, PHYS, &byte, 1), VIODMA_OK);
	viodma_space_set_closed(&s->space);
	CHECK_RESULT(read_bytes(s, PHYS, &byte, 1), VIODMA_FAULT_UNMAPPED);
	return true;
}
BEHAVIOUR(another_kind_of_space_forgets_the_last_hit, "DEV-10")

/* ---- pins ---- */

static bool a_pin_is_in_use_just_where_its_buffers_lie(void)
{
	struct setup *s = translated();
	struct viodma_segment segments[2] = {{{TABLE_BUS + 10}, 20, VIODMA_READ}, {{TABLE_BUS + 100}, 1, VIODMA_WRITE}};
	struct viodma_pin one = {.segments = segments, .segment_count = 2}, other = {.segments = segments + 1,
										     .segment_count = 1};

	viodma_space_pin(&s->space, &one);
	CHECK(!viodma_space_in_use(&s->space, (viodma_bus){0}, (viodma_bus){TABLE_BUS + 9}));
	CHECK(viodma_space_in_use(&s->space, (viodma_bus){0}, (viodma_bus){TABLE_BUS + 10}));
	CHECK(viodma_space_in_use(&s->space, (viodma_bus){TABLE_BUS + 29}, (viodma_bus){TABLE_BUS + 29}));
	CHECK(!viodma_space_in_use(&s->space, (viodma_bus){TABLE_BUS + 30}, (viodma_bus){TABLE_BUS + 99}));
	CHECK(viodma_space_in_use(&s->space, (viodma_bus){TABLE_BUS + 100}, (viodma_bus){UINT64_MAX}));
	CHECK(viodma_space_in_use(&s->space, (viodma_bus){0}, (viodma_bus){UINT64_MAX}));
	viodma_space_pin(&s->space, &other);
	viodma_space_unpin(&s->space, &one);
	CHECK(!viodma_space_in_use(&s->space, (viodma_bus){0}, (viodma_bus){TABLE_BUS + 99}));
	CHECK(viodma_space_in_use(&s->space, (viodma_bus){0}, (viodma_bus){UINT64_MAX}));
	viodma_space_unpin(&s->space, &other);
	CHECK(!viodma_space_in_use(&s->space, (viodma_bus){0}, (viodma_bus){UINT64_MAX}));
	return true;
}
HOLDS(a_pin_is_in_use_just_where_its_buffers_lie)

static bool pins_go_in_any_order(void)
{
	struct setup *s = translated();
	struct viodma_segment segments[5];
	struct viodma_pin pins[5];
	static const unsigned order[] = {2, 0, 4, 1, 3};
	unsigned i, j;

	memset(pins, 0, sizeof(pins));
	for (i = 0; i < 5; i++) {
		segments[i] = (struct viodma_segment){{TABLE_BUS + i * PAGE}, 1, VIODMA_READ};
		pins[i].segments = &segments[i];
		pins[i].segment_count = 1;
		viodma_space_pin(&s->space, &pins[i]);
	}
	for (i = 0; i < 5; i++) {
		viodma_space_unpin(&s->space, &pins[order[i]]);
		for (j = 0; j < 5; j++) {
			bool gone = false;
			unsigned k;

			for (k = 0; k <= i; k++)
				gone = gone || order[k] == j;
			CHECK_EQUAL(viodma_space_in_use(&s->space, segments[j].bus, segments[j].bus), !gone);
		}
	}
	return true;
}
HOLDS(pins_go_in_any_order)

static bool whether_memory_is_in_use_does_not_depend_on_who_asked_before(void)
{
	struct setup *s = physical();
	static struct viodma_pin pins[200];
	static struct viodma_segment segments[200];
	bool held[200] = {false};
	struct check_random random = {.state = 12};

	for (unsigned i = 0; i < 20000; i++) {
		const unsigned at = (unsigned)check_below(&random, 200);
		const uint64_t first = PHYS + check_below(&random, 4000), last = first + check_below(&random, 60);
		bool used = false;

		if (held[at]) {
			viodma_space_unpin(&s->space, &pins[at]);
		} else {
			segments[at] = (struct viodma_segment){
				{PHYS + check_below(&random, 4000)}, 1 + (uint32_t)check_below(&random, 20), VIODMA_READ};
			pins[at] = (struct viodma_pin){.segments = &segments[at], .segment_count = 1};
			viodma_space_pin(&s->space, &pins[at]);
		}
		held[at] = !held[at];
		for (unsigned j = 0; j < 200; j++)
			used |= held[j] && segments[j].bus.v <= last && segments[j].bus.v + segments[j].len_bytes > first;
		CHECK_EQUAL(viodma_space_in_use(&s->space, (viodma_bus){first}, (viodma_bus){last}), used);
	}
	return true;
}
HOLDS(whether_memory_is_in_use_does_not_depend_on_who_asked_before)

static bool a_report_is_counted_and_told(void)
{
	struct setup *s = translated();
	struct viodma_fault fault = {VIODMA_QUEUE_NONE, {42}, 7, VIODMA_WRITE, VIODMA_FAULT_UNMAPPED};

	viodma_space_report(&s->space, &fault); /* = DEV-15 */
	CHECK_EQUAL(s->faults, 1);
	CHECK_EQUAL(s->fault.bus.v, 42);
	CHECK_EQUAL(s->fault.len_bytes, 7);
	CHECK_EQUAL(s->space.statistics.faults, 1);
	return true;
}
HOLDS(a_report_is_counted_and_told)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_MUTANT(a_closed_space_refuses_every_access_and_reports_it),
		TEST(with_bit_33_clear_a_bus_address_is_a_physical_address),
		TEST(with_bit_33_clear_addresses_outside_regions_are_refused),
		WITH_MUTANT(with_bit_33_set_every_access_goes_through_the_translation),
		WITH_MUTANT(with_bit_33_set_a_physical_address_is_no_way_in),
		WITH_MUTANT(a_write_to_memory_granted_to_be_read_is_refused),
		WITH_MUTANT(a_read_of_memory_granted_to_be_written_is_refused),
		WITH_MUTANT(a_last_hit_does_not_lend_its_memory_a_permission),
		TEST(a_translators_extent_that_does_not_cover_the_address_is_not_used),
		TEST(a_second_access_is_answered_by_the_last_hit),
		TEST(a_change_forgets_the_last_hit),
		WITH_MUTANT(another_kind_of_space_forgets_the_last_hit),
		TEST(a_pin_is_in_use_just_where_its_buffers_lie),
		TEST(pins_go_in_any_order),
		TEST(whether_memory_is_in_use_does_not_depend_on_who_asked_before),
		TEST(a_report_is_counted_and_told),
	};

	return cmocka_run_group_tests_name("space", tests, NULL, NULL);
}
