/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_iotlb_model.c - which bus address is which memory, after any sequence of grants and withdrawals; and how deep
 * the IOTLB's tree becomes.
 *
 * How it works: three windows of WINDOW bus addresses (at 0, in the middle, up to 2^64 - 1) are modelled byte by byte:
 * which byte of memory, with which permission. Random updates and invalidations go to both; random look-ups must agree,
 * for every byte of the extent that is answered. Memory is two regions whose user addresses adjoin and whose memory
 * does not, so that one grant may become two entries. The tree is walked by its links.
 */
#include "tests/support/check.h"

#include "core/space/access.h"

#include <viodma/iotlb.h>

#define WINDOW 512u
#define WINDOWS 3u
#define REGION 1024u
#define USER 0x500000u
#define ROUNDS 100000u
#define DEEP 131072u

static const uint64_t window_bus[WINDOWS] = {0, 0x123456789000u, UINT64_MAX - (WINDOW - 1)};

static unsigned char memory[3 * REGION] __attribute__((aligned(16)));
static unsigned char storage[VIODMA_SPACE_REGION_BYTES(4)] __attribute__((aligned(16)));
static struct viodma_space space;
static struct viodma_iotlb iotlb;
static struct viodma_iotlb_miss misses[8];
static struct viodma_iotlb_entry *entries;

static struct viodma_space_cache last_hits[WINDOWS];

static struct byte {
	unsigned char *at; /* NULL: not mapped */
	enum viodma_permission permission;
} model[WINDOWS][WINDOW];

static void no_ask(void *context, viodma_bus bus, enum viodma_permission wanted)
{
	(void)context;
	(void)bus;
	(void)wanted;
}

static bool make(uint32_t capacity)
{
	struct viodma_iotlb_config config = {.space = &space, .capacity = capacity, .misses = misses, .miss_capacity = 8,
					     .ask = no_ask};
	struct viodma_region one = {.phys = {0x9000000}, .user = {USER}, .len_bytes = REGION, .memory = memory};
	struct viodma_region two = {
		.phys = {0x8000000}, .user = {USER + REGION}, .len_bytes = REGION, .memory = memory + 2 * REGION};

	memset(model, 0, sizeof(model));
	memset(last_hits, 0, sizeof(last_hits));
	free(entries);
	entries = calloc(capacity, sizeof(*entries));
	config.entries = entries;
	CHECK(entries != NULL);
	viodma_space_init(&space, storage, 4, NULL);
	CHECK_RESULT(viodma_space_add_region(&space, &one), VIODMA_OK);
	CHECK_RESULT(viodma_space_add_region(&space, &two), VIODMA_OK);
	CHECK_RESULT(viodma_iotlb_init(&iotlb, &config), VIODMA_OK);
	viodma_space_set_iotlb(&space, &iotlb);
	return true;
}

static unsigned char *memory_of(uint64_t user)
{
	uint64_t offset = user - USER;

	return offset < REGION ? memory + offset : memory + REGION + offset;
}

static bool update(unsigned w, unsigned first, unsigned len, uint64_t user, enum viodma_permission permission)
{
	unsigned i;

	CHECK_RESULT(viodma_iotlb_update(&iotlb, (viodma_bus){window_bus[w] + first}, len, (viodma_uaddr){user},
					 permission),
		     VIODMA_OK);
	for (i = 0; i < len; i++)
		model[w][first + i] = (struct byte){memory_of(user + i), permission};
	return true;
}

static bool invalidate(unsigned w, unsigned first, unsigned len)
{
	CHECK_RESULT(viodma_iotlb_invalidate(&iotlb, (viodma_bus){window_bus[w] + first}, len), VIODMA_OK);
	memset(&model[w][first], 0, len * sizeof(model[w][0]));
	return true;
}

/* May be forgotten, when the table is too small for all of it; may never be wrong. */
static bool look(unsigned w, unsigned at, bool may_be_forgotten)
{
	const struct byte *expected = &model[w][at];
	const viodma_bus there = {window_bus[w] + at};
	const enum viodma_permission wanted = expected->at ? expected->permission : VIODMA_READ;
	struct viodma_extent extent, again = {.memory = NULL};
	enum viodma_result result = viodma_iotlb_translate(&iotlb, there, wanted, &extent);
	const unsigned char *found = (unsigned char *)viodma_space_find(&space, &last_hits[w], there, 1, wanted);
	uint64_t bus;

	/* However it is asked. */
	CHECK(found == (result == VIODMA_OK ? expected->at : NULL));
	CHECK_RESULT(viodma_space_translate(&space, &last_hits[(w + at) % WINDOWS], there, wanted, &again), result);
	CHECK(result != VIODMA_OK || (again.first.v == extent.first.v && again.last.v == extent.last.v &&
				      again.memory == extent.memory && again.permission == extent.permission));

	if (!expected->at || (may_be_forgotten && result == VIODMA_MISS)) {
		CHECK_RESULT(result, VIODMA_MISS);
		return true;
	}
	CHECK_RESULT(result, VIODMA_OK);
	CHECK(extent.first.v <= window_bus[w] + at && extent.last.v >= window_bus[w] + at);
	CHECK(extent.first.v >= window_bus[w] && extent.last.v - window_bus[w] < WINDOW);
	for (bus = extent.first.v;; bus++) {
		const struct byte *byte = &model[w][bus - window_bus[w]];

		CHECK((unsigned char *)extent.memory + (bus - extent.first.v) == byte->at);
		CHECK(extent.permission == byte->permission);
		if (bus == extent.last.v)
			break;
	}
	return true;
}

static uint64_t mapped_bytes(void)
{
	uint64_t bytes = 0;
	unsigned w, i;

	for (w = 0; w < WINDOWS; w++)
		for (i = 0; i < WINDOW; i++)
			bytes += model[w][i].at != NULL;
	return bytes;
}

/* Height of a subtree whose entries lie within low..high; -1: not a balanced search tree with sound links. */
static int walk(uint32_t link, uint32_t parent, uint64_t low, uint64_t high, uint32_t *count)
{
	const struct viodma_iotlb_entry *entry;
	int left = 0, right = 0;

	if (!link)
		return 0;
	entry = &entries[link - 1];
	++*count;
	if (entry->parent != parent || !entry->live || entry->first > entry->last || entry->first < low ||
	    entry->last > high || *count > iotlb.entry_count)
		return -1;
	if (entry->left) {
		if (entry->first == 0)
			return -1;
		left = walk(entry->left, link, low, entry->first - 1, count);
	}
	if (entry->right) {
		if (entry->last == UINT64_MAX)
			return -1;
		right = walk(entry->right, link, entry->last + 1, high, count);
	}
	if (left < 0 || right < 0 || left - right > 1 || right - left > 1)
		return -1;
	return (left > right ? left : right) + 1;
}

static bool tree_is_sound(int *height)
{
	uint32_t count = 0;

	*height = walk(iotlb.root, 0, 0, UINT64_MAX, &count);
	CHECK(*height >= 0);
	CHECK_EQUAL(count, iotlb.entry_count);
	return true;
}

static bool everything_agrees(bool may_be_forgotten)
{
	unsigned w, i;
	int height;

	for (w = 0; w < WINDOWS; w++)
		for (i = 0; i < WINDOW; i++)
			CHECK(look(w, i, may_be_forgotten));
	if (!may_be_forgotten)
		CHECK_EQUAL(iotlb.statistics.reachable_bytes, mapped_bytes());
	return tree_is_sound(&height);
}

static bool random_sequence(uint32_t capacity, bool may_be_forgotten, uint64_t seed)
{
	static const enum viodma_permission permissions[] = {VIODMA_READ, VIODMA_WRITE, VIODMA_READ_WRITE};
	struct check_random random = {.state = seed};
	unsigned round;

	CHECK(make(capacity));
	for (round = 0; round < ROUNDS; round++) {
		unsigned w = (unsigned)check_below(&random, WINDOWS), len, first;

		/* Sizes: often 1, often small, sometimes a whole window. */
		len = 1 + (unsigned)check_below(&random, check_below(&random, 8) ? 12 : WINDOW);
		first = (unsigned)check_below(&random, WINDOW - len + 1);
		switch (check_below(&random, 8)) {
		case 0:
		case 1:
		case 2:
			CHECK(update(w, first, len, USER + check_below(&random, 2 * REGION - len + 1),
				     permissions[check_below(&random, 3)]));
			break;
		case 3:
			if (round % 64 == 0 && check_below(&random, 8) == 0) {
				CHECK_RESULT(viodma_iotlb_invalidate(&iotlb, (viodma_bus){0}, 0), VIODMA_OK);
				memset(model, 0, sizeof(model));
			} else {
				CHECK(invalidate(w, first, len));
			}
			break;
		case 4: /* a refused one changes nothing */
			CHECK_RESULT(viodma_iotlb_update(&iotlb, (viodma_bus){window_bus[w] + first}, len,
							 (viodma_uaddr){USER + 2 * REGION - len + 1}, VIODMA_READ),
				     VIODMA_PEER_MAPPING);
			break;
		default:
			CHECK(look(w, first, may_be_forgotten));
		}
		CHECK(iotlb.entry_count <= capacity);
		if (round % 1024 == 0)
			CHECK(everything_agrees(may_be_forgotten));
	}
	CHECK(everything_agrees(may_be_forgotten));
	CHECK_EQUAL(iotlb.statistics.evictions > 0, may_be_forgotten);
	return true;
}

static bool any_sequence_of_grants_and_withdrawals_leaves_what_the_last_of_each_byte_said(void)
{
	return random_sequence(2048, false, 2018);
}
HOLDS(any_sequence_of_grants_and_withdrawals_leaves_what_the_last_of_each_byte_said)

static bool a_table_too_small_forgets_but_is_never_wrong(void)
{
	return random_sequence(8, true, 33) && random_sequence(40, true, 36);
}
HOLDS(a_table_too_small_forgets_but_is_never_wrong)

static bool an_update_in_the_middle_splits_what_was_there(void)
{
	CHECK(make(16));
	CHECK(update(1, 100, 100, USER, VIODMA_READ));
	CHECK(update(1, 140, 10, USER + 700, VIODMA_WRITE));
	CHECK_EQUAL(iotlb.entry_count, 3);
	CHECK(everything_agrees(false));
	CHECK(invalidate(1, 145, 1));
	CHECK_EQUAL(iotlb.entry_count, 4);
	CHECK(everything_agrees(false));
	return true;
}
HOLDS(an_update_in_the_middle_splits_what_was_there)

static bool an_update_at_an_edge_shortens_what_was_there(void)
{
	CHECK(make(16));
	CHECK(update(2, 400, 112, USER, VIODMA_READ)); /* ends with the last address */
	CHECK(update(2, 390, 11, USER + 5, VIODMA_WRITE));
	CHECK(everything_agrees(false));
	CHECK(update(2, 511, 1, USER + 9, VIODMA_READ_WRITE));
	CHECK(everything_agrees(false));
	CHECK(invalidate(2, 0, WINDOW));
	CHECK_EQUAL(iotlb.entry_count, 0);
	return true;
}
HOLDS(an_update_at_an_edge_shortens_what_was_there)

static bool a_grant_over_two_regions_reaches_both(void)
{
	CHECK(make(16));
	CHECK(update(0, 0, WINDOW, USER + REGION - 100, VIODMA_READ));
	CHECK_EQUAL(iotlb.entry_count, 2);
	CHECK(everything_agrees(false));
	return true;
}
HOLDS(a_grant_over_two_regions_reaches_both)

static bool depth_within_bounds(void)
{
	int height, bound = 2;
	uint32_t n = iotlb.entry_count;

	CHECK(tree_is_sound(&height));
	for (; n; n >>= 1)
		bound += 1;
	bound += bound / 2; /* 1.44 log2(n) + 2 */
	CHECK(height <= bound);
	return true;
}

static bool the_tree_stays_shallow_whatever_the_order(void)
{
	struct check_random random = {.state = 7};
	uint64_t i;

	CHECK(make(DEEP));
	for (i = 0; i < 100000; i++) { /* ascending: the worst for a plain tree */
		CHECK_RESULT(viodma_iotlb_update(&iotlb, (viodma_bus){i * 8192}, 1, (viodma_uaddr){USER}, VIODMA_READ),
			     VIODMA_OK);
		if ((i & (i + 1)) == 0)
			CHECK(depth_within_bounds());
	}
	CHECK_EQUAL(iotlb.entry_count, 100000);
	CHECK(depth_within_bounds());
	for (i = 0; i < 100000; i++) {
		struct viodma_extent extent;

		CHECK_RESULT(viodma_iotlb_translate(&iotlb, (viodma_bus){i * 8192}, VIODMA_READ, &extent), VIODMA_OK);
	}
	for (i = 0; i < 60000; i++) { /* and while it shrinks, in random places and from one end */
		uint64_t at = i < 30000 ? check_below(&random, 100000) : i - 30000;

		CHECK_RESULT(viodma_iotlb_invalidate(&iotlb, (viodma_bus){at * 8192}, 1), VIODMA_OK);
		if (i % 5000 == 0)
			CHECK(depth_within_bounds());
	}
	CHECK(depth_within_bounds());
	for (i = 100000; i > 0; i--) /* descending */
		CHECK_RESULT(viodma_iotlb_update(&iotlb, (viodma_bus){(i - 1) * 8192 + 4096}, 1, (viodma_uaddr){USER},
						 VIODMA_READ),
			     VIODMA_OK);
	CHECK(depth_within_bounds());
	CHECK_RESULT(viodma_iotlb_invalidate(&iotlb, (viodma_bus){0}, 0), VIODMA_OK);
	CHECK_EQUAL(iotlb.entry_count, 0);
	CHECK_EQUAL(iotlb.statistics.reachable_bytes, 0);
	return true;
}
HOLDS(the_tree_stays_shallow_whatever_the_order)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_update_in_the_middle_splits_what_was_there),
		TEST(an_update_at_an_edge_shortens_what_was_there),
		TEST(a_grant_over_two_regions_reaches_both),
		TEST(any_sequence_of_grants_and_withdrawals_leaves_what_the_last_of_each_byte_said),
		TEST(a_table_too_small_forgets_but_is_never_wrong),
		TEST(the_tree_stays_shallow_whatever_the_order),
	};
	int failed = cmocka_run_group_tests_name("iotlb model", tests, NULL, NULL);

	free(entries);
	return failed;
}
