/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_space.c - from bus addresses to bytes: closed, physical and custom translators, last hits, mapping, copying,
 * reports. (Regions: test_region.c. The IOTLB: test_iotlb.c.)
 *
 * How it works: the custom translator here is a page table of TABLE_PAGES entries at bus address TABLE_BUS, in another
 * order than the memory, and with permissions and misses of the test's choosing. It counts what it is asked.
 */
#include "tests/support/check.h"

#include <viodma/space.h>

#define PAGE 4096u
#define PAGES 16u
#define PHYS 0x80000000u
#define USER 0x7f0000000000u
#define TABLE_BUS 0x600000000000u

enum { UNKNOWN = -1, NEVER = -2 };

struct setup {
	struct viodma_space space;
	struct viodma_space_cache cache;
	unsigned char storage[VIODMA_SPACE_REGION_BYTES(8)] __attribute__((aligned(16)));
	unsigned char memory[PAGES * PAGE] __attribute__((aligned(16)));
	/* the translator */
	int frame[PAGES]; /* page of memory, or UNKNOWN, or NEVER */
	enum viodma_permission permission[PAGES];
	bool unknown_beyond; /* behind the table: misses, not refusals */
	unsigned translate_calls, want_calls;
	uint64_t wanted_pages; /* bit set */
	enum viodma_permission wanted_permission;
	/* events */
	unsigned faults, touches;
	uint64_t touched_bytes, touched_phys;
	struct viodma_fault fault;
};

static struct setup setup;

static void on_fault(void *context, const struct viodma_fault *fault)
{
	struct setup *s = context;

	s->faults++;
	s->fault = *fault;
}

static void on_touch(void *context, viodma_bus bus, viodma_phys phys, uint64_t len, enum viodma_permission permission)
{
	struct setup *s = context;

	(void)bus;
	(void)permission;
	s->touches++;
	s->touched_bytes += len;
	s->touched_phys = phys.v;
}

static enum viodma_result translate(void *context, viodma_bus bus, enum viodma_permission wanted,
				    struct viodma_extent *extent)
{
	struct setup *s = context;
	uint64_t page = (bus.v - TABLE_BUS) / PAGE;

	(void)wanted;
	s->translate_calls++;
	if (s->unknown_beyond && page >= PAGES)
		return VIODMA_MISS;
	if (bus.v < TABLE_BUS || page >= PAGES || s->frame[page] == NEVER)
		return VIODMA_FAULT_UNMAPPED;
	if (s->frame[page] == UNKNOWN)
		return VIODMA_MISS;
	extent->first.v = TABLE_BUS + page * PAGE;
	extent->last.v = extent->first.v + (PAGE - 1);
	extent->phys.v = PHYS + (uint64_t)s->frame[page] * PAGE;
	extent->memory = viodma_shared_at((struct viodma_shared *)(void *)s->memory, (uint64_t)s->frame[page] * PAGE);
	extent->permission = s->permission[page];
	return VIODMA_OK;
}

static void want(void *context, viodma_bus bus, enum viodma_permission wanted)
{
	struct setup *s = context;

	s->want_calls++;
	s->wanted_pages |= (uint64_t)1 << ((bus.v - TABLE_BUS) / PAGE % 64);
	s->wanted_permission = wanted;
}

static struct setup *closed(void)
{
	struct viodma_space_events events = {.fault = on_fault, .touch = on_touch, .context = &setup};
	struct viodma_region region = {
		.phys = {PHYS}, .user = {USER}, .len_bytes = sizeof(setup.memory), .memory = setup.memory};
	size_t i;

	memset(&setup, 0, sizeof(setup));
	for (i = 0; i < sizeof(setup.memory); i++)
		setup.memory[i] = (unsigned char)(i ^ (i >> 8));
	viodma_space_init(&setup.space, setup.storage, 8, &events);
	if (viodma_space_add_region(&setup.space, &region) != VIODMA_OK)
		abort();
	return &setup;
}

static struct setup *physical(void)
{
	struct setup *s = closed();

	viodma_space_set_physical(&s->space);
	return s;
}

/* Page i of the bus is page 15 - i of memory. */
static struct setup *translated(void)
{
	struct setup *s = closed();
	struct viodma_translator translator = {.translate = translate, .want = want, .context = s};
	unsigned i;

	for (i = 0; i < PAGES; i++) {
		s->frame[i] = (int)(PAGES - 1 - i);
		s->permission[i] = VIODMA_READ_WRITE;
	}
	viodma_space_set_translator(&s->space, &translator);
	return s;
}

static enum viodma_result map(struct setup *s, uint64_t bus, uint32_t len, enum viodma_permission permission,
			      struct viodma_piece *pieces, uint32_t capacity, uint32_t *count, viodma_bus *missed)
{
	struct viodma_segment segment = {.bus = {bus}, .len_bytes = len, .permission = permission};

	return viodma_space_map(&s->space, &s->cache, 5, &segment, pieces, capacity, count, missed);
}

static enum viodma_result read_bytes(struct setup *s, uint64_t bus, void *destination, size_t len)
{
	viodma_bus missed;

	return viodma_space_read(&s->space, &s->cache, 5, (viodma_bus){bus}, destination, len, &missed);
}

static enum viodma_result write_bytes(struct setup *s, uint64_t bus, const void *source, size_t len)
{
	viodma_bus missed;

	return viodma_space_write(&s->space, &s->cache, 5, (viodma_bus){bus}, source, len, &missed);
}

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
	CHECK_EQUAL(s->space.statistics.cache_hits, 1);
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
		TEST(a_pin_is_in_use_just_where_its_buffers_lie),
		TEST(pins_go_in_any_order),
		TEST(a_report_is_counted_and_told),
	};

	return cmocka_run_group_tests_name("space", tests, NULL, NULL);
}
