/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_space_access.c - the hit path of core/space/access.h: it says what the long way says, or leaves it to the long
 * way; never more.
 */
#include "tests/support/space_rig.h"

#include "core/space/access.h"

/* Make the last hit that of one byte. */
static bool hit(struct setup *s, uint64_t bus, enum viodma_permission permission)
{
	struct viodma_extent extent;

	CHECK_RESULT(viodma_space_translate(&s->space, &s->cache, (viodma_bus){bus}, permission, &extent), VIODMA_OK);
	return true;
}

static struct viodma_shared *at(struct setup *s, uint64_t bus, uint64_t len, enum viodma_permission permission)
{
	return viodma_space_hit(&s->space, &s->cache, (viodma_bus){bus}, len, permission);
}

static bool a_last_hit_answers_what_its_extent_holds_as_a_whole(void)
{
	struct setup *s = translated();
	const uint64_t page = TABLE_BUS + 3 * PAGE;
	unsigned char *memory = s->memory + 12 * PAGE;

	CHECK(at(s, page, 1, VIODMA_READ) == NULL); /* nothing was looked up yet */
	CHECK(hit(s, page + 7, VIODMA_READ));
	CHECK((unsigned char *)at(s, page, 1, VIODMA_READ) == memory);
	CHECK((unsigned char *)at(s, page, PAGE, VIODMA_READ_WRITE) == memory);
	CHECK((unsigned char *)at(s, page + PAGE - 1, 1, VIODMA_WRITE) == memory + PAGE - 1);
	CHECK(at(s, page, PAGE + 1, VIODMA_READ) == NULL);
	CHECK(at(s, page + PAGE - 1, 2, VIODMA_READ) == NULL);
	CHECK(at(s, page - 1, 1, VIODMA_READ) == NULL);
	CHECK(at(s, page - 1, PAGE, VIODMA_READ) == NULL);
	CHECK(at(s, page + PAGE, 1, VIODMA_READ) == NULL);
	CHECK(at(s, page, UINT64_MAX, VIODMA_READ) == NULL);
	CHECK(at(s, page + 1, UINT64_MAX, VIODMA_READ) == NULL);
	CHECK(at(s, page - 1, 2, VIODMA_READ) == NULL);
	CHECK(at(s, 0, 1, VIODMA_READ) == NULL);
	CHECK(at(s, UINT64_MAX, 1, VIODMA_READ) == NULL);
	return true;
}
HOLDS(a_last_hit_answers_what_its_extent_holds_as_a_whole)

static bool a_last_hit_answers_no_more_than_it_permits(void)
{
	struct setup *s = translated();

	s->permission[3] = VIODMA_READ;
	s->permission[4] = VIODMA_WRITE;
	CHECK(hit(s, TABLE_BUS + 3 * PAGE, VIODMA_READ));
	CHECK(at(s, TABLE_BUS + 3 * PAGE, 1, VIODMA_READ) != NULL);
	CHECK(at(s, TABLE_BUS + 3 * PAGE, 1, VIODMA_WRITE) == NULL);
	CHECK(at(s, TABLE_BUS + 3 * PAGE, 1, VIODMA_READ_WRITE) == NULL);
	CHECK(hit(s, TABLE_BUS + 4 * PAGE, VIODMA_WRITE));
	CHECK(at(s, TABLE_BUS + 4 * PAGE, 1, VIODMA_WRITE) != NULL);
	CHECK(at(s, TABLE_BUS + 4 * PAGE, 1, VIODMA_READ) == NULL);
	CHECK(at(s, TABLE_BUS + 4 * PAGE, 1, VIODMA_READ_WRITE) == NULL);
	return true;
}
HOLDS(a_last_hit_answers_no_more_than_it_permits)

static bool a_last_hit_answers_nothing_once_something_was_withdrawn(void)
{
	struct setup *s = translated();

	CHECK(hit(s, TABLE_BUS, VIODMA_READ));
	viodma_space_changed(&s->space);
	CHECK(at(s, TABLE_BUS, 1, VIODMA_READ) == NULL);
	return true;
}
HOLDS(a_last_hit_answers_nothing_once_something_was_withdrawn)

static bool a_region_up_to_the_last_address_there_is_does_not_wrap(void)
{
	struct setup *s = physical();
	struct viodma_region region = {.phys = {UINT64_MAX - (PAGE - 1)}, .user = {PAGE}, .len_bytes = PAGE, .memory = s->memory};

	CHECK_RESULT(viodma_space_add_region(&s->space, &region), VIODMA_OK);
	CHECK(hit(s, UINT64_MAX, VIODMA_READ));
	CHECK((unsigned char *)at(s, UINT64_MAX, 1, VIODMA_READ) == s->memory + PAGE - 1);
	CHECK((unsigned char *)at(s, UINT64_MAX - (PAGE - 1), PAGE, VIODMA_READ) == s->memory);
	CHECK(at(s, UINT64_MAX, 2, VIODMA_READ) == NULL);
	CHECK(at(s, UINT64_MAX - 1, PAGE, VIODMA_READ) == NULL);
	CHECK(at(s, UINT64_MAX, UINT64_MAX, VIODMA_READ) == NULL);
	CHECK(at(s, 0, 1, VIODMA_READ) == NULL);
	return true;
}
HOLDS(a_region_up_to_the_last_address_there_is_does_not_wrap)

/* One access by both ways, which must agree in everything. */
static bool both_ways(struct setup *s, uint64_t bus, uint32_t len, enum viodma_permission permission, bool touch)
{
	const struct viodma_segment segment = {{bus}, len, permission};
	struct viodma_piece one[8], other[8];
	unsigned char bytes[2 * PAGE], again[2 * PAGE];
	struct viodma_shared *word = NULL;
	uint32_t count = 1, more = 1;
	viodma_bus missed = {0}, missed_too = {0};
	enum viodma_result result, expected;

	s->space.events.touch = touch ? on_touch : NULL;
	memset(one, 0, sizeof(one));
	one[0].memory = (struct viodma_shared *)(void *)(s->memory + 12 * PAGE);
	one[0].len_bytes = PAGE;
	memcpy(other, one, sizeof(other));
	expected = viodma_space_map(&s->space, NULL, 5, &segment, other, 3, &more, &missed_too);
	CHECK_RESULT(viodma_space_bind(&s->space, &s->cache, 5, &segment, one, 3, &count, &missed), expected);
	CHECK_EQUAL(count, more);
	CHECK_EQUAL(missed.v, missed_too.v);
	for (uint32_t i = 0; i < count; i++) /* beyond them, nothing is said */
		CHECK(one[i].memory == other[i].memory && one[i].len_bytes == other[i].len_bytes);

	result = viodma_space_read(&s->space, NULL, 5, segment.bus, again, len, &missed_too);
	CHECK_RESULT(viodma_space_fetch(&s->space, &s->cache, 5, segment.bus, bytes, len, &missed), result);
	if (result == VIODMA_OK)
		CHECK(memcmp(bytes, again, len) == 0);
	result = viodma_space_write(&s->space, NULL, 5, segment.bus, again, len, &missed_too);
	CHECK_RESULT(viodma_space_put(&s->space, &s->cache, 5, segment.bus, again, len, &missed), result);
	result = viodma_space_find_word(&s->space, NULL, 5, segment.bus, 2, permission, &word, &missed_too);
	CHECK_RESULT(viodma_space_word(&s->space, &s->cache, 5, segment.bus, 2, permission, &word, &missed), result);
	if (result == VIODMA_OK)
		CHECK(viodma_shared_aligned(word, 2));
	return true;
}

static bool the_short_way_and_the_long_way_agree(void)
{
	static const enum viodma_permission permissions[] = {VIODMA_READ, VIODMA_WRITE, VIODMA_READ_WRITE};
	struct setup *s = translated();
	struct check_random random = {.state = 1};

	s->permission[2] = VIODMA_READ;
	s->permission[6] = VIODMA_WRITE;
	s->frame[9] = NEVER;
	s->frame[11] = UNKNOWN;
	s->frame[13] = 3;
	s->frame[14] = 4; /* adjoining */
	for (unsigned i = 0; i < 200000; i++) {
		const uint64_t page = TABLE_BUS + check_below(&random, PAGES) * PAGE;
		const uint32_t len = 1 + (uint32_t)check_below(&random, check_below(&random, 2) ? 64 : 2 * PAGE);

		CHECK(both_ways(s, page + check_below(&random, PAGE), len, permissions[check_below(&random, 3)],
				check_below(&random, 4) == 0));
		if (check_below(&random, 16) == 0)
			viodma_space_changed(&s->space);
	}
	return true;
}
HOLDS(the_short_way_and_the_long_way_agree)

static bool the_short_way_reports_what_is_touched(void)
{
	struct setup *s = translated();
	unsigned char bytes[16];
	viodma_bus missed;

	CHECK(hit(s, TABLE_BUS, VIODMA_READ));
	CHECK_RESULT(viodma_space_fetch(&s->space, &s->cache, 5, (viodma_bus){TABLE_BUS + 16}, bytes, 16, &missed),
		     VIODMA_OK);
	CHECK_EQUAL(s->touches, 1);
	CHECK_EQUAL(s->touched_bytes, 16);
	CHECK_RESULT(viodma_space_put(&s->space, &s->cache, 5, (viodma_bus){TABLE_BUS + 32}, bytes, 8, &missed),
		     VIODMA_OK);
	CHECK_EQUAL(s->touches, 2);
	CHECK_EQUAL(s->touched_bytes, 24);
	return true;
}
HOLDS(the_short_way_reports_what_is_touched)

static bool buffers_are_counted_and_ring_words_are_not(void)
{
	struct setup *s = physical();
	const struct viodma_segment segment = {{PHYS}, 64, VIODMA_READ};
	struct viodma_shared *word;
	struct viodma_piece piece;
	viodma_bus missed;

	CHECK(hit(s, PHYS, VIODMA_READ));
	for (unsigned i = 0; i < 10; i++) {
		uint32_t count = 0;

		CHECK_RESULT(viodma_space_bind(&s->space, &s->cache, 5, &segment, &piece, 1, &count, &missed), VIODMA_OK);
		CHECK_RESULT(viodma_space_word(&s->space, &s->cache, 5, segment.bus, 2, VIODMA_READ, &word, &missed), VIODMA_OK);
	}
	CHECK_EQUAL(s->space.statistics.translations, 11);
	CHECK_EQUAL(s->space.statistics.identity_translations, 11);
	CHECK_EQUAL(s->space.statistics.look_ups, 1);
	return true;
}
HOLDS(buffers_are_counted_and_ring_words_are_not)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_last_hit_answers_what_its_extent_holds_as_a_whole),
		TEST(a_last_hit_answers_no_more_than_it_permits),
		TEST(a_last_hit_answers_nothing_once_something_was_withdrawn),
		TEST(a_region_up_to_the_last_address_there_is_does_not_wrap),
		TEST(the_short_way_and_the_long_way_agree),
		TEST(the_short_way_reports_what_is_touched),
		TEST(buffers_are_counted_and_ring_words_are_not),
	};

	return cmocka_run_group_tests_name("hits", tests, NULL, NULL);
}
