/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_iova_recent.c - how it works: the blocks of bus addresses at hand, by themselves. What is taken is compared with a
 * map of granules kept here; whether the tree was looked at tells iova_steps.
 */
#include "core/dma/dma.h"
#include "tests/support/check.h"

#define GRANULE 4096u
#define GRANULES 256u
#define LIVE 64u

static struct viodma_domain domain;
static uint32_t storage[VIODMA_IOMMU_STORAGE_BYTES(GRANULES) / 4 + 1];

static bool start(uint32_t granules)
{
	memset(&domain, 0, sizeof(domain));
	memset(storage, 0xa5, sizeof(storage));
	viodma_platform_init(&domain.platform);
	domain.platform.kind = VIODMA_PLATFORM_IOMMU;
	domain.platform.granule_bytes = GRANULE;
	domain.iommu.storage = storage;
	domain.iommu.storage_bytes = VIODMA_IOMMU_STORAGE_BYTES(granules);
	domain.iommu.granules = granules;
	CHECK_RESULT(viodma_iova_choose(&domain), VIODMA_OK);
	viodma_addresses_start(&domain);
	return true;
}

/* All of it can be had as one block. */
static bool is_whole(void)
{
	uint64_t all = viodma_iommu_bytes_max(&domain);
	viodma_bus bus;

	CHECK_EQUAL(domain.iova_used, 0);
	CHECK_RESULT(viodma_addresses_take(&domain, all, GRANULE, &bus), VIODMA_OK);
	CHECK_EQUAL(bus.v, domain.iova_base.v);
	viodma_addresses_give(&domain, bus, all);
	CHECK_EQUAL(domain.iova_used, 0);
	CHECK_EQUAL(storage[VIODMA_IOMMU_STORAGE_BYTES(GRANULES) / 4], 0xa5a5a5a5);
	return true;
}

static bool what_was_given_back_is_at_hand_for_each_size(void)
{
	static const uint64_t sizes[] = {1, GRANULE, GRANULE + 1, 4 * GRANULE, 5 * GRANULE, 8 * GRANULE};
	unsigned i;

	CHECK(start(GRANULES));
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		viodma_bus first, again;
		uint64_t steps;

		CHECK_RESULT(viodma_addresses_take(&domain, sizes[i], GRANULE, &first), VIODMA_OK);
		viodma_addresses_give(&domain, first, sizes[i]);
		steps = domain.iova_steps;
		CHECK_RESULT(viodma_addresses_take(&domain, sizes[i], GRANULE, &again), VIODMA_OK);
		CHECK_EQUAL(again.v, first.v);
		viodma_addresses_give(&domain, again, sizes[i]);
		CHECK_EQUAL(domain.iova_steps, steps);
	}
	return is_whole();
}

static bool an_alignment_beyond_the_size_is_kept(void)
{
	viodma_bus bus, odd;
	uint32_t i;

	CHECK(start(GRANULES));
	CHECK_RESULT(viodma_addresses_take(&domain, GRANULE, GRANULE, &bus), VIODMA_OK);
	CHECK_RESULT(viodma_addresses_take(&domain, GRANULE, GRANULE, &odd), VIODMA_OK);
	viodma_addresses_give(&domain, odd, GRANULE);
	for (i = 0; i < 3; i++) {
		viodma_bus aligned;

		CHECK_RESULT(viodma_addresses_take(&domain, GRANULE, 16 * GRANULE, &aligned), VIODMA_OK);
		CHECK_EQUAL(aligned.v & (16 * GRANULE - 1), 0);
		CHECK(aligned.v != bus.v);
		viodma_addresses_give(&domain, aligned, GRANULE);
	}
	viodma_addresses_give(&domain, bus, GRANULE);
	return is_whole();
}

/* Small blocks are all over the range, in the stacks and in the tree; then one of the whole is wanted. */
static bool nothing_is_exhausted_sooner_for_it(void)
{
	static viodma_bus taken[GRANULES];
	viodma_bus one_more;
	uint32_t i, round;

	CHECK(start(GRANULES));
	for (round = 0; round < 3; round++) {
		for (i = 0; i < GRANULES; i++)
			CHECK_RESULT(viodma_addresses_take(&domain, GRANULE, GRANULE, &taken[i]), VIODMA_OK);
		CHECK_RESULT(viodma_addresses_take(&domain, GRANULE, GRANULE, &one_more), VIODMA_E_EXHAUSTED);
		CHECK_EQUAL(domain.iova_used, GRANULES);
		for (i = 0; i < GRANULES; i++)
			viodma_addresses_give(&domain, taken[(i * 37 + round) % GRANULES], GRANULE);
		CHECK(domain.iova_recent[0]);
		CHECK(is_whole());
		CHECK_EQUAL(domain.iova_recent[0], 0);
	}
	CHECK_RESULT(viodma_addresses_take(&domain, 2 * viodma_iommu_bytes_max(&domain), GRANULE, &one_more), VIODMA_E_LIMIT);
	CHECK_RESULT(viodma_addresses_take(&domain, 0, GRANULE, &one_more), VIODMA_E_LIMIT);
	return true;
}

static uint64_t drawn = 88172645463325252u;

static uint32_t below(uint32_t bound)
{
	drawn ^= drawn << 13;
	drawn ^= drawn >> 7;
	drawn ^= drawn << 17;
	return (uint32_t)(drawn >> 16) % bound;
}

static bool no_address_is_handed_out_twice(void)
{
	static struct {
		viodma_bus bus;
		uint32_t granules;
	} lives[LIVE];
	static unsigned char used[GRANULES];
	uint32_t round, i, k, first;

	for (i = 16; i <= GRANULES; i *= 4) {
		CHECK(start(i));
		memset(used, 0, sizeof(used));
		memset(lives, 0, sizeof(lives));
		for (round = 0; round < 100000; round++) {
			uint32_t which = below(LIVE), granules = 1 + below(below(4) ? 3 : 20);

			if (lives[which].granules) {
				first = (uint32_t)((lives[which].bus.v - domain.iova_base.v) / GRANULE);
				memset(&used[first], 0, lives[which].granules);
				viodma_addresses_give(&domain, lives[which].bus, (uint64_t)lives[which].granules * GRANULE);
				lives[which].granules = 0;
			} else if (viodma_addresses_take(&domain, (uint64_t)granules * GRANULE, GRANULE, &lives[which].bus) ==
				   VIODMA_OK) {
				first = (uint32_t)((lives[which].bus.v - domain.iova_base.v) / GRANULE);
				CHECK(first + granules <= i);
				for (k = first; k < first + granules; k++)
					CHECK(!used[k]++);
				lives[which].granules = granules;
			}
		}
		for (k = 0; k < LIVE; k++)
			if (lives[k].granules)
				viodma_addresses_give(&domain, lives[k].bus, (uint64_t)lives[k].granules * GRANULE);
		CHECK(is_whole());
	}
	return true;
}

HOLDS(what_was_given_back_is_at_hand_for_each_size)
HOLDS(an_alignment_beyond_the_size_is_kept)
HOLDS(nothing_is_exhausted_sooner_for_it)
HOLDS(no_address_is_handed_out_twice)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(what_was_given_back_is_at_hand_for_each_size),
		TEST(an_alignment_beyond_the_size_is_kept),
		TEST(nothing_is_exhausted_sooner_for_it),
		TEST(no_address_is_handed_out_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
