/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_driver_packed.c - how it works: the test driver's packed ring. Chains are noted down as if there were a table, and
 * written into consecutive places, the first descriptor's flags last, with release. What was used is gathered whenever
 * somebody asks: from the place where the next used descriptor will stand, over as many as its chain took.
 */
#include "tests/support/test_driver_packed.h"

#include <stdlib.h>
#include <string.h>

#define WRAP (1u << VIRTQ_PACKED_WRAP_BIT)
#define BOTH (VIRTQ_PACKED_DESC_F_AVAIL | VIRTQ_PACKED_DESC_F_USED)

bool test_packed(void)
{
	const char *ring = getenv("VIODMA_TEST_RING");

	return ring && !strcmp(ring, "packed");
}

uint16_t test_available_flags(uint16_t position)
{
	return position & WRAP ? VIRTQ_PACKED_DESC_F_AVAIL : VIRTQ_PACKED_DESC_F_USED;
}

uint16_t test_used_flags(uint16_t position)
{
	return position & WRAP ? BOTH : 0;
}

uint16_t test_behind(const struct test_driver *driver, uint16_t position, uint32_t count)
{
	while (count--) {
		position++;
		if ((position & (WRAP - 1u)) == driver->setup.size)
			position = (uint16_t)(~position & WRAP);
	}
	return position;
}

static uint16_t *flags_of(struct test_driver *driver, uint32_t place)
{
	return (uint16_t *)(void *)(driver->memory + TEST_DESC + 16u * (size_t)place + 14);
}

void test_packed_desc(struct test_driver *driver, uint32_t place, viodma_bus bus, uint32_t len, uint16_t id, uint16_t flags)
{
	const size_t at = TEST_DESC + 16u * (size_t)place;

	test_put64(driver, at, bus.v);
	test_put32(driver, at + 8, len);
	test_put16(driver, at + 12, id);
	__atomic_store_n(flags_of(driver, place), viodma_le16_of(flags).wire, __ATOMIC_RELEASE);
}

static void put(struct test_driver *driver, uint16_t position, uint16_t number, uint16_t id)
{
	const struct test_noted *noted = &driver->noted[number];

	test_packed_desc(driver, position & (WRAP - 1u), (viodma_bus){noted->bus}, noted->len, id,
			 (uint16_t)(noted->flags | test_available_flags(position)));
}

/* A chain that is longer than the ring, or loops, fills the ring, and its last descriptor says NEXT. */
void test_packed_make_available(struct test_driver *driver, uint16_t head)
{
	const uint16_t first = driver->next;
	uint16_t number = head, position = first;
	uint32_t count = 1;

	for (; driver->noted[number % TEST_NOTED].flags & VIRTQ_DESC_F_NEXT && count < driver->setup.size; count++) {
		number = driver->noted[number % TEST_NOTED].next;
		position = test_behind(driver, position, 1);
		put(driver, position, number % TEST_NOTED, head);
	}
	driver->counts[head % TEST_NOTED] = (uint16_t)count;
	put(driver, first, head % TEST_NOTED, head);
	driver->next = test_behind(driver, first, count);
}

uint16_t test_packed_used_count(struct test_driver *driver)
{
	for (;;) {
		const uint32_t place = driver->used & (WRAP - 1u);
		const size_t at = TEST_DESC + 16u * (size_t)place;
		const viodma_le16 flags = {.wire = __atomic_load_n(flags_of(driver, place), __ATOMIC_ACQUIRE)};
		uint32_t id;

		if ((viodma_le16_get(flags) & BOTH) != test_used_flags(driver->used))
			return driver->used_count;
		id = test_get16(driver, at + 12);
		driver->used_elements[driver->used_count % TEST_NOTED].id = id;
		driver->used_elements[driver->used_count % TEST_NOTED].len = test_get32(driver, at + 8);
		driver->used_count++;
		driver->used = test_behind(driver, driver->used, driver->counts[id % TEST_NOTED]);
	}
}

uint32_t test_base_after_lost(struct test_driver *driver)
{
	driver->next = test_behind(driver, driver->next, 1);
	driver->avail_idx++;
	return test_base(driver);
}

uint32_t test_fresh_ring(struct test_driver *driver)
{
	memset(driver->memory + TEST_DESC, 0, 4 * TEST_PAGE);
	memset(driver->memory + TEST_AVAIL, 0, TEST_PAGE);
	memset(driver->memory + TEST_USED, 0, 3 * TEST_PAGE);
	driver->avail_idx = driver->used_seen = driver->used_count = 0;
	driver->next = driver->used = (uint16_t)VIODMA_QUEUE_PACKED_BASE;
	return driver->setup.packed ? VIODMA_QUEUE_PACKED_BASE : 0;
}

uint32_t test_base_at(const struct test_driver *driver, uint32_t fetched, uint32_t used)
{
	return driver->setup.packed ? VIODMA_QUEUE_PACKED_BASE + (used << 16) + fetched : fetched;
}

uint32_t test_base(struct test_driver *driver)
{
	if (!driver->setup.packed)
		return driver->avail_idx;
	driver->used = driver->next;
	return (uint32_t)driver->next << 16 | driver->next;
}
