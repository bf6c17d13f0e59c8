/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_memory.c - the table of registered objects.
 */
#include "tests/support/check.h"

#include <viodma/memory.h>

static unsigned char bytes[0x3000];
/* In another order than in the address space of the program; the last one ends with the physical address space. */
static const struct viodma_object objects[] = {
	{bytes + 0x2000, {0x40000000}, 0x1000},
	{bytes, {0x40001000}, 0x800},
	{bytes + 0x800, {0xfffffffffffff000u}, 0x1000},
};
static const struct viodma_memory memory = {objects, 3};

static bool an_address_is_found_if_all_bytes_lie_in_one_object(void)
{
	CHECK_RESULT(viodma_memory_check(&memory), VIODMA_OK);
	CHECK(viodma_memory_at(&memory, (viodma_phys){0x40000000}, 1) == bytes + 0x2000);
	CHECK(viodma_memory_at(&memory, (viodma_phys){0x40000fff}, 1) == bytes + 0x2fff);
	CHECK(viodma_memory_at(&memory, (viodma_phys){0x40000000}, 0x1000) == bytes + 0x2000);
	CHECK(viodma_memory_at(&memory, (viodma_phys){0x40000000}, 0x1001) == NULL);
	CHECK(viodma_memory_at(&memory, (viodma_phys){0x40000fff}, 2) == NULL);
	CHECK(viodma_memory_at(&memory, (viodma_phys){0x40001000}, 0x800) == bytes);
	CHECK(viodma_memory_at(&memory, (viodma_phys){0x400017ff}, 2) == NULL);
	CHECK(viodma_memory_at(&memory, (viodma_phys){0x40001800}, 1) == NULL);
	CHECK(viodma_memory_at(&memory, (viodma_phys){0x3fffffff}, 1) == NULL);
	CHECK(viodma_memory_at(&memory, (viodma_phys){0}, 1) == NULL);
	CHECK(viodma_memory_at(&memory, (viodma_phys){UINT64_MAX}, 1) == bytes + 0x17ff);
	CHECK(viodma_memory_at(&memory, (viodma_phys){UINT64_MAX}, 2) == NULL);
	CHECK(viodma_memory_at(&memory, (viodma_phys){0x40000001}, UINT64_MAX) == NULL);
	return true;
}

static bool a_pointer_is_found_if_all_bytes_lie_in_one_object(void)
{
	viodma_phys phys = {1};

	CHECK(viodma_memory_phys(&memory, bytes + 0x2001, 0xfff, &phys));
	CHECK_EQUAL(phys.v, 0x40000001);
	CHECK(viodma_memory_phys(&memory, bytes + 0x7ff, 1, &phys));
	CHECK_EQUAL(phys.v, 0x400017ff);
	CHECK(viodma_memory_phys(&memory, bytes + 0x17ff, 1, &phys));
	CHECK_EQUAL(phys.v, UINT64_MAX);
	CHECK(!viodma_memory_phys(&memory, bytes + 0x7ff, 2, &phys));
	CHECK(!viodma_memory_phys(&memory, bytes + 0x1800, 1, &phys));
	CHECK(!viodma_memory_phys(&memory, (const void *)((uintptr_t)bytes - 1), 1, &phys));
	CHECK(!viodma_memory_phys(&memory, bytes + 0x2001, UINT64_MAX, &phys));
	return true;
}

static bool a_table_that_cannot_be_searched_is_refused(void)
{
	struct viodma_object table[2];
	struct viodma_memory other = {table, 2};

#define REFUSED(change)                                                                                               \
	do {                                                                                                          \
		memcpy(table, objects, sizeof(table));                                                                \
		change;                                                                                               \
		CHECK_RESULT(viodma_memory_check(&other), VIODMA_E_INVALID);                                          \
	} while (0)
	REFUSED(table[1].len_bytes = 0);
	REFUSED(table[0].memory = NULL);
	REFUSED(table[1].phys.v = 0x40000fff);
	REFUSED(table[1].phys.v = 0x40000000);
	REFUSED(table[1].phys.v = 0x3ffff000);
	REFUSED(table[1].len_bytes = UINT64_MAX);
	REFUSED((table[1].phys.v = (uint64_t)0 - 0x800, table[1].len_bytes = 0x801));
	REFUSED(table[0].len_bytes = 0x1001);
	REFUSED(table[1].memory = (void *)(UINTPTR_MAX - 0x7fe));
	memcpy(table, objects, sizeof(table));
	CHECK_RESULT(viodma_memory_check(&other), VIODMA_OK);
	other.count = 0;
	CHECK_RESULT(viodma_memory_check(&other), VIODMA_OK);
	CHECK(viodma_memory_at(&other, (viodma_phys){0x40000000}, 1) == NULL);
	return true;
}

HOLDS(an_address_is_found_if_all_bytes_lie_in_one_object)
HOLDS(a_pointer_is_found_if_all_bytes_lie_in_one_object)
HOLDS(a_table_that_cannot_be_searched_is_refused)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(an_address_is_found_if_all_bytes_lie_in_one_object),
		TEST(a_pointer_is_found_if_all_bytes_lie_in_one_object),
		TEST(a_table_that_cannot_be_searched_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
