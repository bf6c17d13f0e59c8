/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_front_table.c - the front end's table of grants: it stays level, and agrees with a plain list.
 */
#include "hosted/front/front.h"

#include "tests/support/check.h"

static unsigned depth(const struct viodma_front_grant *grant)
{
	unsigned left, right;

	if (!grant)
		return 0;
	left = depth(grant->left);
	right = depth(grant->right);
	return 1 + (left > right ? left : right);
}

static bool the_table_stays_level_with_a_hundred_thousand_entries(void)
{
	struct viodma_front_table table = {0};
	const unsigned count = 100000;

	for (unsigned i = 0; i < count; i++) { /* in order, as an address allocator would */
		struct viodma_front_grant *grant = viodma_front_table_new(&table);

		CHECK(grant);
		grant->first = i * UINT64_C(8192);
		grant->last = grant->first + 4095;
		viodma_front_table_insert(&table, grant);
	}
	CHECK(depth(table.root) < 60);
	for (unsigned i = 0; i < count; i++) {
		CHECK_EQUAL(viodma_front_table_find(&table, i * UINT64_C(8192) + 4095)->first, i * UINT64_C(8192));
		CHECK(!viodma_front_table_find(&table, i * UINT64_C(8192) + 4096));
	}
	for (unsigned i = 0; i < count; i += 2)
		viodma_front_table_remove(&table, viodma_front_table_find(&table, i * UINT64_C(8192)));
	CHECK(depth(table.root) < 60);
	viodma_front_table_drop(&table);
	return true;
}
HOLDS(the_table_stays_level_with_a_hundred_thousand_entries)

static bool the_table_agrees_with_a_list(void)
{
	enum { PLACES = 200, STEPS = 20000 };
	struct viodma_front_grant *list[PLACES] = {0};
	struct viodma_front_table table = {0};
	struct check_random random = {4711};

	for (unsigned step = 0; step < STEPS; step++) {
		const unsigned place = (unsigned)check_below(&random, PLACES), from = (unsigned)check_below(&random, PLACES);
		unsigned expected = from;

		if (list[place]) {
			viodma_front_table_remove(&table, list[place]);
			list[place] = NULL;
		} else {
			list[place] = viodma_front_table_new(&table);
			CHECK(list[place]);
			list[place]->first = 100 * place + check_below(&random, 50);
			list[place]->last = list[place]->first + check_below(&random, 50);
			viodma_front_table_insert(&table, list[place]);
		}
		CHECK(viodma_front_table_find(&table, list[place] ? list[place]->last : 100 * place + 50) == list[place]);
		while (expected < PLACES && !list[expected])
			expected++;
		CHECK(viodma_front_table_at_or_after(&table, 100 * from) == (expected < PLACES ? list[expected] : NULL));
	}
	viodma_front_table_drop(&table);
	return true;
}
HOLDS(the_table_agrees_with_a_list)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_table_stays_level_with_a_hundred_thousand_entries),
		TEST(the_table_agrees_with_a_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
