/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_space_map.c - whole buffers: mapped to pieces, or copied; across mappings and regions; all or nothing; what
 * misses is asked for together.
 */
#include "tests/support/space_rig.h"

/* ---- map ---- */

static bool one_buffer_may_span_many_mappings(void)
{
	struct setup *s = translated();
	struct viodma_piece pieces[8];
	uint32_t count = 0;
	viodma_bus missed;

	CHECK_RESULT(map(s, TABLE_BUS + 100, 3 * PAGE, VIODMA_READ, pieces, 8, &count, &missed), VIODMA_OK);
	CHECK_EQUAL(count, 4);
	CHECK((unsigned char *)pieces[0].memory == s->memory + 15 * PAGE + 100);
	CHECK_EQUAL(pieces[0].len_bytes, PAGE - 100);
	CHECK((unsigned char *)pieces[1].memory == s->memory + 14 * PAGE);
	CHECK_EQUAL(pieces[1].len_bytes, PAGE);
	CHECK((unsigned char *)pieces[3].memory == s->memory + 12 * PAGE);
	CHECK_EQUAL(pieces[3].len_bytes, 100);
	return true;
}
HOLDS(one_buffer_may_span_many_mappings)

static bool adjoining_memory_is_one_piece(void)
{
	struct setup *s = translated();
	struct viodma_piece pieces[8];
	uint32_t count = 0;
	viodma_bus missed;

	s->frame[4] = 6;
	s->frame[5] = 7;
	s->frame[6] = 8;
	s->frame[7] = 2;
	CHECK_RESULT(map(s, TABLE_BUS + 4 * PAGE, 4 * PAGE, VIODMA_WRITE, pieces, 2, &count, &missed), VIODMA_OK);
	CHECK_EQUAL(count, 2);
	CHECK((unsigned char *)pieces[0].memory == s->memory + 6 * PAGE);
	CHECK_EQUAL(pieces[0].len_bytes, 3 * PAGE);
	CHECK_EQUAL(pieces[1].len_bytes, PAGE);
	return true;
}
HOLDS(adjoining_memory_is_one_piece)

static bool one_buffer_may_span_regions(void)
{
	static unsigned char other[PAGE];
	struct setup *s = physical();
	struct viodma_region next = {.phys = {PHYS + sizeof(s->memory)},
				     .user = {USER + 0x100000000u},
				     .len_bytes = sizeof(other),
				     .memory = other};
	struct viodma_piece pieces[4];
	uint32_t count = 0;
	viodma_bus missed;

	CHECK_RESULT(viodma_space_add_region(&s->space, &next), VIODMA_OK);
	CHECK_RESULT(map(s, PHYS + sizeof(s->memory) - 8, 16, VIODMA_READ, pieces, 4, &count, &missed), VIODMA_OK);
	CHECK_EQUAL(count, 2);
	CHECK((unsigned char *)pieces[1].memory == other);
	CHECK_EQUAL(pieces[0].len_bytes, 8);
	CHECK_EQUAL(pieces[1].len_bytes, 8);
	return true;
}
HOLDS(one_buffer_may_span_regions)

static bool more_pieces_than_there_is_room_for_are_a_limit_and_leave_no_trace(void)
{
	struct setup *s = translated();
	struct viodma_piece pieces[3];
	uint32_t count = 0;
	viodma_bus missed;

	memset(pieces, 0, sizeof(pieces));
	CHECK_RESULT(map(s, TABLE_BUS, 3 * PAGE, VIODMA_READ, pieces, 2, &count, &missed), VIODMA_E_LIMIT);
	CHECK_EQUAL(count, 0);
	CHECK(pieces[2].memory == NULL);
	CHECK_RESULT(map(s, TABLE_BUS, 3 * PAGE, VIODMA_READ, pieces, 3, &count, &missed), VIODMA_OK);
	CHECK_EQUAL(count, 3);
	return true;
}
HOLDS(more_pieces_than_there_is_room_for_are_a_limit_and_leave_no_trace)

static bool a_buffer_with_one_refused_byte_is_refused_whole(void)
{
	struct setup *s = translated();
	struct viodma_piece pieces[8];
	uint32_t count = 0;
	viodma_bus missed = {0};

	s->frame[2] = NEVER;
	CHECK_RESULT(map(s, TABLE_BUS + 50, 2 * PAGE, VIODMA_READ, pieces, 8, &count, &missed), VIODMA_FAULT_UNMAPPED);
	CHECK_EQUAL(count, 0);
	CHECK_EQUAL(missed.v, TABLE_BUS + 2 * PAGE);
	CHECK_EQUAL(s->faults, 1);
	CHECK_EQUAL(s->fault.bus.v, TABLE_BUS + 2 * PAGE);
	return true;
}
BEHAVIOUR(a_buffer_with_one_refused_byte_is_refused_whole, "DEV-9,DEV-10,DEV-3")

static bool all_misses_of_a_buffer_are_asked_for_together(void)
{
	struct setup *s = translated();
	struct viodma_piece pieces[8];
	uint32_t count = 0;
	viodma_bus missed = {0};

	s->frame[0] = s->frame[2] = s->frame[4] = UNKNOWN;
	CHECK_RESULT(map(s, TABLE_BUS + 9, 4 * PAGE, VIODMA_WRITE, pieces, 8, &count, &missed), VIODMA_MISS);
	CHECK_EQUAL(count, 0);
	CHECK_EQUAL(s->wanted_pages, 1 + 4 + 16);
	CHECK_EQUAL(s->want_calls, 3);
	CHECK_EQUAL(s->wanted_permission, VIODMA_WRITE);
	CHECK_EQUAL(missed.v / PAGE, TABLE_BUS / PAGE + 4);
	CHECK_EQUAL(s->faults, 0);
	return true;
}
HOLDS(all_misses_of_a_buffer_are_asked_for_together)

static bool a_huge_buffer_that_misses_is_not_walked_page_by_page(void)
{
	struct setup *s = translated();
	struct viodma_piece pieces[8];
	uint32_t count = 0, i;
	viodma_bus missed = {0};

	for (i = 0; i < PAGES; i++)
		s->frame[i] = UNKNOWN;
	s->unknown_beyond = true;
	/* 4 GiB are a million pages; a driver may offer such buffers as fast as it likes (= DEV-17). */
	CHECK_RESULT(map(s, TABLE_BUS, UINT32_MAX, VIODMA_WRITE, pieces, 8, &count, &missed), VIODMA_MISS);
	CHECK(s->want_calls >= 1);
	CHECK(s->translate_calls <= 65536);
	return true;
}
HOLDS(a_huge_buffer_that_misses_is_not_walked_page_by_page)

static bool while_misses_are_held_none_is_asked_for(void)
{
	struct setup *s = translated();
	unsigned char byte;
	uint64_t epoch;

	s->frame[0] = UNKNOWN;
	viodma_space_hold_misses(&s->space, true);
	CHECK_RESULT(read_bytes(s, TABLE_BUS, &byte, 1), VIODMA_MISS);
	CHECK_EQUAL(s->want_calls, 0);
	epoch = s->space.epoch;
	viodma_space_hold_misses(&s->space, false);
	CHECK(s->space.epoch != epoch); /* waiting requests try again */
	CHECK_RESULT(read_bytes(s, TABLE_BUS, &byte, 1), VIODMA_MISS);
	CHECK_EQUAL(s->want_calls, 1);
	return true;
}
HOLDS(while_misses_are_held_none_is_asked_for)

static bool a_buffer_that_wraps_is_refused(void)
{
	static unsigned char top[PAGE];
	struct setup *s = physical();
	struct viodma_region region = {
		.phys = {UINT64_MAX - (PAGE - 1)}, .user = {0x1000}, .len_bytes = PAGE, .memory = top};
	struct viodma_piece pieces[4];
	uint32_t count = 0;
	viodma_bus missed = {0};

	CHECK_RESULT(viodma_space_add_region(&s->space, &region), VIODMA_OK);
	CHECK_RESULT(map(s, UINT64_MAX - 9, 11, VIODMA_READ, pieces, 4, &count, &missed), VIODMA_PEER_ADDRESS_WRAP);
	CHECK_EQUAL(count, 0);
	CHECK_EQUAL(s->faults, 1);
	return true;
}
BEHAVIOUR(a_buffer_that_wraps_is_refused, "DRV-15")

static bool a_buffer_may_end_with_the_last_byte_of_the_address_space(void)
{
	static unsigned char top[PAGE];
	struct setup *s = physical();
	struct viodma_region region = {
		.phys = {UINT64_MAX - (PAGE - 1)}, .user = {0x1000}, .len_bytes = PAGE, .memory = top};
	struct viodma_piece pieces[4];
	uint32_t count = 0;
	viodma_bus missed;

	CHECK_RESULT(viodma_space_add_region(&s->space, &region), VIODMA_OK);
	CHECK_RESULT(map(s, UINT64_MAX - 9, 10, VIODMA_READ, pieces, 4, &count, &missed), VIODMA_OK);
	CHECK_EQUAL(count, 1);
	CHECK((unsigned char *)pieces[0].memory == top + PAGE - 10);
	CHECK_EQUAL(pieces[0].len_bytes, 10);
	return true;
}
HOLDS(a_buffer_may_end_with_the_last_byte_of_the_address_space)

/* ---- copy ---- */

static bool bytes_are_copied_across_mappings_both_ways(void)
{
	struct setup *s = translated();
	static unsigned char out[2 * PAGE], back[2 * PAGE];
	size_t i;

	for (i = 0; i < sizeof(out); i++)
		out[i] = (unsigned char)(i * 7);
	CHECK_RESULT(write_bytes(s, TABLE_BUS + 77, out, sizeof(out)), VIODMA_OK);
	CHECK(memcmp(s->memory + 15 * PAGE + 77, out, PAGE - 77) == 0);
	CHECK(memcmp(s->memory + 14 * PAGE, out + PAGE - 77, PAGE) == 0);
	CHECK(memcmp(s->memory + 13 * PAGE, out + 2 * PAGE - 77, 77) == 0);
	CHECK_RESULT(read_bytes(s, TABLE_BUS + 77, back, sizeof(back)), VIODMA_OK);
	CHECK(memcmp(out, back, sizeof(out)) == 0);
	return true;
}
HOLDS(bytes_are_copied_across_mappings_both_ways)

static bool a_copy_that_is_refused_half_way_copies_nothing(void)
{
	struct setup *s = translated();
	static unsigned char before[PAGE], bytes[2 * PAGE];

	s->permission[1] = VIODMA_READ;
	memcpy(before, s->memory + 15 * PAGE, PAGE);
	memset(bytes, 0xee, sizeof(bytes));
	CHECK_RESULT(write_bytes(s, TABLE_BUS, bytes, sizeof(bytes)), VIODMA_FAULT_PERMISSION);
	CHECK(memcmp(before, s->memory + 15 * PAGE, PAGE) == 0);
	s->frame[1] = UNKNOWN;
	CHECK_RESULT(write_bytes(s, TABLE_BUS, bytes, sizeof(bytes)), VIODMA_MISS);
	CHECK(memcmp(before, s->memory + 15 * PAGE, PAGE) == 0);
	CHECK_RESULT(read_bytes(s, TABLE_BUS, bytes, sizeof(bytes)), VIODMA_MISS);
	CHECK_EQUAL(bytes[0], 0xee);
	return true;
}
BEHAVIOUR(a_copy_that_is_refused_half_way_copies_nothing, "DEV-9")

static bool what_is_copied_is_told_as_touched_with_physical_addresses(void)
{
	struct setup *s = translated();
	unsigned char bytes[100];

	CHECK_RESULT(read_bytes(s, TABLE_BUS + 2 * PAGE + 4, bytes, sizeof(bytes)), VIODMA_OK);
	CHECK_EQUAL(s->touched_bytes, sizeof(bytes));
	CHECK_EQUAL(s->touched_phys, PHYS + 13 * PAGE + 4);
	s->frame[0] = NEVER;
	CHECK_RESULT(read_bytes(s, TABLE_BUS, bytes, sizeof(bytes)), VIODMA_FAULT_UNMAPPED);
	CHECK_EQUAL(s->touched_bytes, sizeof(bytes)); /* refused: not touched */
	return true;
}
HOLDS(what_is_copied_is_told_as_touched_with_physical_addresses)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(one_buffer_may_span_many_mappings),
		TEST(adjoining_memory_is_one_piece),
		TEST(one_buffer_may_span_regions),
		TEST(more_pieces_than_there_is_room_for_are_a_limit_and_leave_no_trace),
		WITH_MUTANT(a_buffer_with_one_refused_byte_is_refused_whole),
		TEST(all_misses_of_a_buffer_are_asked_for_together),
		TEST(a_huge_buffer_that_misses_is_not_walked_page_by_page),
		TEST(while_misses_are_held_none_is_asked_for),
		WITH_MUTANT(a_buffer_that_wraps_is_refused),
		TEST(a_buffer_may_end_with_the_last_byte_of_the_address_space),
		TEST(bytes_are_copied_across_mappings_both_ways),
		WITH_MUTANT(a_copy_that_is_refused_half_way_copies_nothing),
		TEST(what_is_copied_is_told_as_touched_with_physical_addresses),
	};

	return cmocka_run_group_tests_name("space map", tests, NULL, NULL);
}
