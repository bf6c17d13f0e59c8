/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_pool.c - a pool's slots and runs, what it counts, when it tells and grows, and what it keeps for ever.
 *
 * How it works: the random test keeps a plain array of who has each slot, and compares.
 */
#include "tests/support/check.h"

#include "core/dma/dma.h"

#define SLOT 256u
#define SLOTS 100u
#define PHYS 0x50000000u
#define NONE VIODMA_POOL_NONE

static unsigned char memory[4][SLOTS * SLOT] __attribute__((aligned(4096)));
#define ROOM ((VIODMA_POOL_STORAGE_BYTES(SLOTS * SLOT, 64) + 15) / 16 * 16)
static unsigned char storage[4][ROOM] __attribute__((aligned(16)));
static struct viodma_pool pool;
static unsigned told, grown, grow_to;
static char message[256];

static void exhausted(void *context, const struct viodma_pool *which, uint64_t wanted_bytes)
{
	(void)context;
	told++;
	viodma_pool_describe(which, wanted_bytes, message, sizeof(message));
}

static struct viodma_object chunk(unsigned number, uint32_t slots)
{
	return (struct viodma_object){memory[number], {PHYS + number * 0x1000000u}, (uint64_t)slots * SLOT};
}

static bool grow(void *context, struct viodma_pool *which, uint64_t wanted_bytes)
{
	struct viodma_object more = chunk(which->chunk_count & 3, SLOTS);

	(void)context;
	(void)wanted_bytes;
	if (which->chunk_count >= grow_to)
		return false;
	grown++;
	return viodma_pool_add(which, &more, storage[which->chunk_count], sizeof(storage[0])) == VIODMA_OK;
}

static bool fresh(uint32_t slots, bool grows)
{
	struct viodma_pool_config config = {
		.name = "blk0", .slot_bytes = SLOT, .run_bytes = 64 * SLOT, .exhausted = exhausted,
	};
	struct viodma_object first = chunk(0, slots);

	config.grow = grows ? grow : NULL;
	told = grown = 0;
	memset(memory, 0xcc, sizeof(memory));
	memset(storage, 0xa5, sizeof(storage));
	memset(&pool, 0xa5, sizeof(pool));
	CHECK_RESULT(viodma_pool_init(&pool, &config), VIODMA_OK);
	CHECK_RESULT(viodma_pool_add(&pool, &first, storage[0], sizeof(storage[0])), VIODMA_OK);
	return true;
}

static bool numbers_out_of_range_are_refused(void)
{
	static const struct viodma_pool_config bad[] = {
		{.slot_bytes = 32}, {.slot_bytes = 96}, {.slot_bytes = 2u << 20}, {.run_bytes = 1000},
		{.run_bytes = 1024},
	};
	struct viodma_pool_config config = {.name = NULL};
	unsigned i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK_RESULT(viodma_pool_init(&pool, &bad[i]), VIODMA_E_INVALID);
	CHECK_RESULT(viodma_pool_init(&pool, &config), VIODMA_OK);
	CHECK_EQUAL(pool.slot_bytes, 2048);
	CHECK_EQUAL(pool.run_bytes, 256 * 1024);
	config.slot_bytes = 1u << 20;
	CHECK_RESULT(viodma_pool_init(&pool, &config), VIODMA_OK);
	CHECK_EQUAL(pool.run_bytes, 1 << 20);
	return true;
}

static bool memory_that_does_not_fit_is_refused(void)
{
	struct viodma_object more;
	unsigned i;

	CHECK(fresh(10, false));
#define REFUSED(change, bytes)                                                                                        \
	do {                                                                                                          \
		more = chunk(1, 10);                                                                                  \
		change;                                                                                               \
		CHECK_RESULT(viodma_pool_add(&pool, &more, storage[1], bytes), VIODMA_E_INVALID);                     \
	} while (0)
	REFUSED(more.memory = NULL, sizeof(storage[1]));
	REFUSED(more.len_bytes = 0, sizeof(storage[1]));
	REFUSED(more.len_bytes = SLOT / 2, sizeof(storage[1]));
	REFUSED(more.len_bytes += 64, sizeof(storage[1]));
	REFUSED(more.phys.v += 64, sizeof(storage[1]));
	REFUSED(more.phys.v = (uint64_t)0 - SLOT, sizeof(storage[1]));
	REFUSED(more.phys.v = PHYS + 9 * SLOT, sizeof(storage[1]));
	REFUSED(more.phys.v = PHYS - 9 * SLOT, sizeof(storage[1]));
	REFUSED((void)0, VIODMA_POOL_STORAGE_BYTES(10 * SLOT, SLOT) - 1);
	CHECK_EQUAL(memory[1][0], 0xcc);
	CHECK_RESULT(viodma_pool_add(&pool, &more, NULL, sizeof(storage[1])), VIODMA_E_INVALID);
	CHECK_RESULT(viodma_pool_add(&pool, &more, storage[1] + 1, sizeof(storage[1]) - 1), VIODMA_E_INVALID);
	CHECK_RESULT(viodma_pool_add(&pool, &more, storage[1], VIODMA_POOL_STORAGE_BYTES(10 * SLOT, SLOT)), VIODMA_OK);
	for (i = 2; i < VIODMA_POOL_CHUNKS_MAX; i++) {
		more = chunk(2, 1);
		more.memory = memory[2] + i * SLOT;
		more.phys.v += i * SLOT;
		CHECK_RESULT(viodma_pool_add(&pool, &more, storage[2] + i * 64, VIODMA_POOL_STORAGE_BYTES(SLOT, SLOT)),
			     VIODMA_OK);
	}
	more = chunk(3, 1);
	CHECK_RESULT(viodma_pool_add(&pool, &more, storage[3], sizeof(storage[3])), VIODMA_E_NO_SPACE);
	CHECK_EQUAL(pool.statistics.bytes, (20 + 6) * SLOT);
	CHECK_RESULT(viodma_pool_free(&pool), VIODMA_OK);
	return true;
}

static bool memory_is_cleared_and_nothing_beside_it(void)
{
	unsigned i;

	CHECK(fresh(10, false));
	for (i = 0; i < sizeof(memory[0]); i++)
		CHECK_EQUAL(memory[0][i], i < 10 * SLOT ? 0 : 0xcc);
	for (i = VIODMA_POOL_STORAGE_BYTES(10 * SLOT, SLOT); i < sizeof(storage[0]); i++)
		CHECK_EQUAL(storage[0][i], 0xa5);
	CHECK_RESULT(viodma_pool_free(&pool), VIODMA_OK);
	return true;
}

static bool what_was_given_back_is_taken_next(void)
{
	uint32_t runs[8], i;

	CHECK(fresh(SLOTS, false));
	for (i = 0; i < 8; i++) {
		runs[i] = viodma_pool_take(&pool, SLOT, 0);
		CHECK_EQUAL(runs[i], i);
	}
	for (i = 0; i < 3 * SLOTS; i++) { /* so few slots are used, and stay in the cache */
		viodma_pool_give(&pool, runs[i % 8]);
		CHECK_EQUAL(viodma_pool_take(&pool, SLOT, 0), runs[i % 8]);
	}
	viodma_pool_give(&pool, runs[5]);
	viodma_pool_give(&pool, runs[2]);
	viodma_pool_give(&pool, runs[6]);
	CHECK_EQUAL(viodma_pool_take(&pool, SLOT, 0), 2); /* the lowest first */
	CHECK_EQUAL(viodma_pool_take(&pool, SLOT, 0), 5);
	CHECK_EQUAL(viodma_pool_take(&pool, 2 * SLOT, 0), 8); /* two that adjoin: behind what is in use */
	CHECK_EQUAL(viodma_pool_take(&pool, SLOT, 0), 10);
	for (i = 0; i < 8; i++)
		if (i != 6)
			viodma_pool_give(&pool, i);
	viodma_pool_give(&pool, 8);
	viodma_pool_give(&pool, 10);
	CHECK_RESULT(viodma_pool_free(&pool), VIODMA_OK);
	return true;
}

static bool a_run_holds_its_bytes_and_offset(void)
{
	viodma_phys phys;
	uint32_t bytes, run;

	CHECK(fresh(SLOTS, false));
	CHECK_EQUAL(viodma_pool_take(&pool, SLOT, 0), 0);
	run = viodma_pool_take(&pool, SLOT, 1);
	CHECK_EQUAL(run, 1);
	CHECK(viodma_pool_memory(&pool, run, &phys, &bytes) == memory[0] + SLOT);
	CHECK_EQUAL(phys.v, PHYS + SLOT);
	CHECK_EQUAL(bytes, 2 * SLOT);
	CHECK_EQUAL(viodma_pool_take(&pool, 2 * SLOT + 1, 0), 3);
	CHECK_EQUAL(viodma_pool_take(&pool, 1, SLOT - 1), 6);
	CHECK_EQUAL(viodma_pool_take(&pool, 1, 0), 7);
	CHECK_EQUAL(viodma_pool_take(&pool, 64 * SLOT, 0), 8);
	CHECK_EQUAL(pool.statistics.used_bytes, 72 * SLOT);
	CHECK_EQUAL(viodma_pool_take(&pool, 64 * SLOT, 1), NONE); /* more than a run, which nobody is told of */
	CHECK_EQUAL(viodma_pool_take(&pool, UINT32_MAX, UINT32_MAX), NONE);
	CHECK_EQUAL(viodma_pool_take(&pool, 0, 0), NONE);
	CHECK_EQUAL(told, 0);
	return true;
}

static bool a_run_is_aligned_as_asked(void)
{
	struct viodma_object odd = {memory[0], {PHYS + 3 * SLOT}, SLOTS * SLOT};
	struct viodma_pool_config config = {.slot_bytes = SLOT};
	viodma_phys phys;
	uint32_t bytes, run;

	CHECK_RESULT(viodma_pool_init(&pool, &config), VIODMA_OK);
	CHECK_RESULT(viodma_pool_add(&pool, &odd, storage[0], sizeof(storage[0])), VIODMA_OK);
	run = viodma_pool_take_aligned(&pool, 3 * SLOT, 4096);
	for (; run != NONE; run = viodma_pool_take_aligned(&pool, SLOT, 4096)) {
		viodma_pool_memory(&pool, run, &phys, &bytes);
		CHECK_EQUAL(phys.v & 4095, 0);
	}
	CHECK_EQUAL(pool.statistics.allocations, 6); /* 0x1000 to 0x6000 of 0x300 to 0x6700 */
	CHECK_EQUAL(viodma_pool_take_aligned(&pool, 13 * SLOT, 64), 0);
	CHECK_EQUAL(viodma_pool_take_aligned(&pool, SLOT, 1), 16);
	return true;
}

static bool exhaustion_is_told_once_and_again_after_half_was_free(void)
{
	uint32_t i;

	CHECK(fresh(10, false));
	for (i = 0; i < 10; i++)
		CHECK_EQUAL(viodma_pool_take(&pool, SLOT, 0), i);
	CHECK_EQUAL(told, 0);
	for (i = 0; i < 5; i++)
		CHECK_EQUAL(viodma_pool_take(&pool, SLOT, 0), NONE);
	CHECK_EQUAL(told, 1);
	if (strcmp(message, "blk0 is exhausted: no room for 256 bytes; 2560 of 2560 bytes in use; requests wait. "
			    "Give it more memory, or keep fewer or smaller requests in flight") != 0)
		return check_note(__FILE__, __LINE__, "%s", message);
	CHECK_EQUAL(pool.statistics.failures, 5);
	CHECK_EQUAL(pool.statistics.high_water_bytes, 10 * SLOT);
	for (i = 0; i < 5; i++)
		viodma_pool_give(&pool, i);
	CHECK_EQUAL(viodma_pool_take(&pool, 6 * SLOT, 0), NONE);
	CHECK_EQUAL(told, 1); /* half is not less than half */
	viodma_pool_give(&pool, 5);
	CHECK_EQUAL(viodma_pool_take(&pool, 7 * SLOT, 0), NONE);
	CHECK_EQUAL(told, 2);
	for (i = 6; i < 10; i++)
		viodma_pool_give(&pool, i);
	CHECK_EQUAL(pool.statistics.used_bytes, 0);
	CHECK_EQUAL(pool.statistics.allocations, 10);
	CHECK_RESULT(viodma_pool_free(&pool), VIODMA_OK);
	return true;
}

static bool a_message_is_cut_where_its_place_ends(void)
{
	char whole[256], text[256];
	size_t i;

	CHECK(fresh(10, false));
	pool.config.name = NULL;
	viodma_pool_describe(&pool, 128 * 1024, whole, sizeof(whole));
	CHECK(strstr(whole, "pool is exhausted: no room for 128K bytes; 0 of 2560 bytes in use;") == whole);
	for (i = 1; i <= strlen(whole) + 1; i++) {
		memset(text, 0x55, sizeof(text));
		viodma_pool_describe(&pool, 128 * 1024, text, i);
		CHECK(strlen(text) == i - 1 && !memcmp(text, whole, i - 1) && text[i] == 0x55);
	}
	viodma_pool_describe(&pool, 1, text, 0);
	return true;
}

static bool a_pool_grows_before_it_is_exhausted(void)
{
	uint32_t i;

	CHECK(fresh(10, true));
	grow_to = 3;
	for (i = 0; i < 10; i++)
		CHECK_EQUAL(viodma_pool_take(&pool, SLOT, 0), i);
	CHECK_EQUAL(viodma_pool_take(&pool, 64 * SLOT, 0), 10);
	CHECK_EQUAL(grown, 1);
	CHECK_EQUAL(memory[1][7], 0);
	CHECK_EQUAL(viodma_pool_take(&pool, 64 * SLOT, 0), 110);
	CHECK_EQUAL(grown, 2);
	CHECK_EQUAL(told + pool.statistics.failures, 0);
	CHECK_EQUAL(viodma_pool_take(&pool, 64 * SLOT, 0), NONE);
	CHECK_EQUAL(told, 1);
	viodma_pool_give(&pool, 110);
	CHECK_EQUAL(viodma_pool_take(&pool, 40 * SLOT, 0), 110);
	return true;
}

static bool a_pool_in_use_is_busy(void)
{
	uint32_t run;

	CHECK(fresh(10, false));
	run = viodma_pool_take(&pool, SLOT, 0);
	CHECK_RESULT(viodma_pool_free(&pool), VIODMA_E_BUSY);
	viodma_pool_give(&pool, run);
	CHECK_RESULT(viodma_pool_free(&pool), VIODMA_OK);
	return true;
}

static bool what_is_quarantined_is_never_handed_out_again(void)
{
	uint32_t run, i;

	CHECK(fresh(10, false));
	run = viodma_pool_take(&pool, 2 * SLOT, 0);
	viodma_pool_quarantine(&pool, run);
	CHECK_EQUAL(pool.statistics.quarantined_bytes, 2 * SLOT);
	for (i = 2; i < 10; i++)
		CHECK_EQUAL(viodma_pool_take(&pool, SLOT, 0), i);
	CHECK_EQUAL(viodma_pool_take(&pool, SLOT, 0), NONE);
	CHECK(strstr(message, "2560 of 2560 bytes in use, of which 512 quarantined") != NULL);
	for (i = 2; i < 10; i++)
		viodma_pool_give(&pool, i);
	CHECK_RESULT(viodma_pool_free(&pool), VIODMA_E_QUARANTINED);
	return true;
}

static bool what_lies_in_it_is_known(void)
{
	struct viodma_object more = chunk(1, 10);

	CHECK(fresh(10, false));
	CHECK_EQUAL(viodma_pool_largest_run(&pool), 10 * SLOT);
	CHECK_RESULT(viodma_pool_add(&pool, &more, storage[1], sizeof(storage[1])), VIODMA_OK);
	CHECK(viodma_pool_holds(&pool, (viodma_phys){PHYS}, 10 * SLOT));
	CHECK(!viodma_pool_holds(&pool, (viodma_phys){PHYS}, 10 * SLOT + 1));
	CHECK(viodma_pool_holds(&pool, (viodma_phys){PHYS + 10 * SLOT - 1}, 1));
	CHECK(!viodma_pool_holds(&pool, (viodma_phys){PHYS + 10 * SLOT}, 1));
	CHECK(!viodma_pool_holds(&pool, (viodma_phys){PHYS - 1}, 2));
	CHECK(!viodma_pool_holds(&pool, (viodma_phys){PHYS + 1}, UINT64_MAX));
	CHECK(viodma_pool_holds(&pool, (viodma_phys){PHYS + 0x1000000 + SLOT}, SLOT));
	return true;
}

/* ---- any order ---- */

enum { RUNS = 60, CHUNKS = 3 };
static const uint32_t chunk_slots[CHUNKS] = {SLOTS, 33, 64};

/* Is there a free run, by looking at each place? */
static bool there_is_room(const unsigned char *owner, uint32_t count, uint32_t step)
{
	uint32_t c, i, k, first = 0;

	for (c = 0; c < CHUNKS; first += chunk_slots[c++])
		for (i = 0; i + count <= chunk_slots[c]; i += step) {
			for (k = 0; k < count && !owner[first + i + k]; k++)
				;
			if (k == count)
				return true;
		}
	return false;
}

static bool runs_come_and_go_in_any_order(void)
{
	struct check_random random = {.state = 77};
	unsigned char owner[SLOTS + 33 + 64] = {0};
	uint32_t runs[RUNS], counts[RUNS], i, k, step, slots = 0;
	struct viodma_object more;

	CHECK(fresh(SLOTS, false));
	for (i = 1; i < CHUNKS; i++) {
		more = chunk(i, chunk_slots[i]);
		CHECK_RESULT(viodma_pool_add(&pool, &more, storage[i], sizeof(storage[i])), VIODMA_OK);
	}
	memset(runs, 0xff, sizeof(runs));
	for (i = 0; i < 200000; i++) {
		uint32_t at = (uint32_t)check_below(&random, RUNS), count;

		if (runs[at] != NONE) {
			for (k = 0; k < counts[at]; k++)
				owner[runs[at] + k] = 0;
			slots -= counts[at];
			viodma_pool_give(&pool, runs[at]);
			runs[at] = NONE;
		}
		count = 1 + (uint32_t)check_below(&random, check_below(&random, 4) ? 4 : 40);
		step = check_below(&random, 4) ? 1 : 4;
		if (check_below(&random, 3) == 0)
			continue;
		runs[at] = step == 1 ? viodma_pool_take(&pool, count * SLOT - 7, 7) :
				       viodma_pool_take_aligned(&pool, count * SLOT - 7, step * SLOT);
		if (runs[at] == NONE) {
			CHECK(!there_is_room(owner, count, step));
			continue;
		}
		for (k = 0; k < count; k++)
			CHECK(!owner[runs[at] + k]++);
		counts[at] = count;
		slots += count;
		CHECK_EQUAL(pool.statistics.used_bytes, slots * SLOT);
	}
	CHECK(pool.statistics.failures > 1000);
	for (i = 0; i < RUNS; i++)
		if (runs[i] != NONE)
			viodma_pool_give(&pool, runs[i]);
	CHECK_RESULT(viodma_pool_free(&pool), VIODMA_OK);
	return true;
}

HOLDS(numbers_out_of_range_are_refused)
HOLDS(memory_that_does_not_fit_is_refused)
HOLDS(memory_is_cleared_and_nothing_beside_it)
HOLDS(what_was_given_back_is_taken_next)
HOLDS(a_run_holds_its_bytes_and_offset)
HOLDS(a_run_is_aligned_as_asked)
HOLDS(exhaustion_is_told_once_and_again_after_half_was_free)
HOLDS(a_message_is_cut_where_its_place_ends)
HOLDS(a_pool_grows_before_it_is_exhausted)
HOLDS(a_pool_in_use_is_busy)
BEHAVIOUR(what_is_quarantined_is_never_handed_out_again, "DRV-22")
HOLDS(what_lies_in_it_is_known)
HOLDS(runs_come_and_go_in_any_order)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(numbers_out_of_range_are_refused),
		TEST(memory_that_does_not_fit_is_refused),
		TEST(memory_is_cleared_and_nothing_beside_it),
		TEST(what_was_given_back_is_taken_next),
		TEST(a_run_holds_its_bytes_and_offset),
		TEST(a_run_is_aligned_as_asked),
		TEST(exhaustion_is_told_once_and_again_after_half_was_free),
		TEST(a_message_is_cut_where_its_place_ends),
		TEST(a_pool_grows_before_it_is_exhausted),
		TEST(a_pool_in_use_is_busy),
		WITH_MUTANT(what_is_quarantined_is_never_handed_out_again),
		TEST(what_lies_in_it_is_known),
		TEST(runs_come_and_go_in_any_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
