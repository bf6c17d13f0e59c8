/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_iova.c - how it works: the address allocator of an IOMMU domain, by itself. What is taken is compared with a map of
 * granules kept here; cost is counted in nodes of the tree looked at (iova_steps), not in time.
 *
 * VIODMA_SLOW=1 runs 10^8 cycles of the mixed load instead of 10^6.
 */
#include "core/dma/dma.h"
#include "tests/support/check.h"

#define GRANULE 4096u

struct rig {
	struct viodma_domain domain;
	uint32_t *storage;
};

static enum viodma_result init(struct viodma_domain *domain)
{
	enum viodma_result result = viodma_iova_choose(domain);

	if (result == VIODMA_OK)
		viodma_iova_start(domain);
	return result;
}

static enum viodma_result set_up(struct rig *rig, uint32_t granules, const struct viodma_window *windows, uint32_t count,
				 unsigned address_bits)
{
	uint32_t i;

	free(rig->storage);
	memset(&rig->domain, 0, sizeof(rig->domain));
	viodma_platform_init(&rig->domain.platform);
	rig->domain.platform.kind = VIODMA_PLATFORM_IOMMU;
	rig->domain.platform.granule_bytes = GRANULE;
	rig->domain.platform.address_bits = address_bits;
	rig->domain.platform.window_count = count;
	for (i = 0; i < count; i++)
		rig->domain.platform.windows[i] = windows[i];
	rig->storage = malloc(VIODMA_IOMMU_STORAGE_BYTES(granules));
	/* The allocator does not count on clean storage. */
	memset(rig->storage, 0xa5, VIODMA_IOMMU_STORAGE_BYTES(granules));
	rig->domain.iommu.storage = rig->storage;
	rig->domain.iommu.storage_bytes = VIODMA_IOMMU_STORAGE_BYTES(granules);
	rig->domain.iommu.granules = granules;
	return init(&rig->domain);
}

static void tear_down(struct rig *rig)
{
	free(rig->storage);
	rig->storage = NULL;
}

/* One block of all granules can be had. */
static bool is_whole(struct rig *rig)
{
	uint64_t all = viodma_iommu_bytes_max(&rig->domain);
	viodma_bus bus;

	CHECK_EQUAL(rig->domain.iova_used, 0);
	CHECK_RESULT(viodma_iova_take(&rig->domain, all, 1, &bus), VIODMA_OK);
	CHECK_EQUAL(bus.v, rig->domain.iova_base.v);
	viodma_iova_give(&rig->domain, bus, all);
	CHECK_EQUAL(rig->domain.iova_used, 0);
	return true;
}

static bool take_all(struct rig *rig, uint32_t granules)
{
	unsigned char seen[64] = {0};
	viodma_bus bus;
	uint32_t i;

	CHECK_RESULT(set_up(rig, granules, NULL, 0, 64), VIODMA_OK);
	for (i = 0; i < granules; i++) {
		uint64_t index;

		CHECK_RESULT(viodma_iova_take(&rig->domain, 1 + i, 1, &bus), VIODMA_OK);
		index = (bus.v - rig->domain.iova_base.v) / GRANULE;
		CHECK(bus.v % GRANULE == 0 && index < granules && !seen[index]);
		seen[index] = 1;
	}
	CHECK_RESULT(viodma_iova_take(&rig->domain, 1, 1, &bus), VIODMA_E_EXHAUSTED);
	for (i = 0; i < granules; i++) {
		bus.v = rig->domain.iova_base.v + (uint64_t)(i * 5 % granules) * GRANULE;
		viodma_iova_give(&rig->domain, bus, 1);
	}
	return is_whole(rig);
}

static bool every_granule_is_given_out_once_and_comes_back(void)
{
	struct rig rig = {0};
	bool good = take_all(&rig, 64) && take_all(&rig, 16);

	tear_down(&rig);
	return good;
}

static bool align(struct rig *rig)
{
	static const uint64_t wanted[][3] = {/* length, alignment, natural alignment */
		{1, 1, GRANULE}, {GRANULE + 1, 1, 2 * GRANULE}, {5 * GRANULE, 1, 8 * GRANULE}, {GRANULE, 16 * GRANULE, 16 * GRANULE},
		{3 * GRANULE, 8 * GRANULE, 8 * GRANULE}, {GRANULE, 1, GRANULE}, {GRANULE, 64 * GRANULE, 64 * GRANULE},
	};
	viodma_bus bus[7];
	uint32_t i, k;

	CHECK_RESULT(set_up(rig, 256, NULL, 0, 40), VIODMA_OK);
	for (i = 0; i < 7; i++) {
		CHECK_RESULT(viodma_iova_take(&rig->domain, wanted[i][0], wanted[i][1], &bus[i]), VIODMA_OK);
		CHECK_EQUAL(bus[i].v & (wanted[i][2] - 1), 0);
		for (k = 0; k < i; k++)
			CHECK(bus[i].v >= bus[k].v + wanted[k][0] || bus[k].v >= bus[i].v + wanted[i][0]);
	}
	CHECK_EQUAL(rig->domain.iova_used, 1 + 2 + 8 + 1 + 4 + 1 + 1);
	for (i = 0; i < 7; i++)
		viodma_iova_give(&rig->domain, bus[i], wanted[i][0]);
	return is_whole(rig);
}

static bool ranges_are_aligned_to_their_own_size_and_to_what_is_asked(void)
{
	struct rig rig = {0};
	bool good = align(&rig);

	tear_down(&rig);
	return good;
}

static bool limits(struct rig *rig)
{
	viodma_bus bus;

	CHECK_RESULT(set_up(rig, 16, NULL, 0, 64), VIODMA_OK);
	CHECK_RESULT(viodma_iova_take(&rig->domain, 16 * GRANULE + 1, 1, &bus), VIODMA_E_LIMIT);
	CHECK_RESULT(viodma_iova_take(&rig->domain, GRANULE, 32 * GRANULE, &bus), VIODMA_E_LIMIT);
	CHECK_RESULT(viodma_iova_take(&rig->domain, UINT64_MAX, 1, &bus), VIODMA_E_LIMIT);
	CHECK_RESULT(viodma_iova_take(&rig->domain, 0, 1, &bus), VIODMA_E_LIMIT);
	CHECK_RESULT(viodma_iova_take(&rig->domain, 9 * GRANULE, 1, &bus), VIODMA_OK); /* takes 16 */
	CHECK_RESULT(viodma_iova_take(&rig->domain, 1, 1, &bus), VIODMA_E_EXHAUSTED);
	viodma_iova_give(&rig->domain, bus, 9 * GRANULE);
	CHECK(is_whole(rig));
	rig->domain.iommu.granules = 8;
	CHECK_RESULT(init(&rig->domain), VIODMA_E_INVALID);
	rig->domain.iommu.granules = 48;
	CHECK_RESULT(init(&rig->domain), VIODMA_E_INVALID);
	rig->domain.iommu.granules = 1u << 25;
	rig->domain.iommu.storage_bytes = SIZE_MAX;
	CHECK_RESULT(init(&rig->domain), VIODMA_E_INVALID);
	rig->domain.iommu.granules = 16;
	rig->domain.iommu.storage_bytes = VIODMA_IOMMU_STORAGE_BYTES(16) - 1;
	CHECK_RESULT(init(&rig->domain), VIODMA_E_INVALID);
	return true;
}

static bool too_much_is_a_limit_and_no_room_now_is_exhaustion(void)
{
	struct rig rig = {0};
	bool good = limits(&rig);

	tear_down(&rig);
	return good;
}

/* Is the range of 2^order granules in the window? */
static bool within(const struct rig *rig, const struct viodma_window *window, uint32_t order)
{
	uint64_t bytes = (uint64_t)GRANULE << order;

	CHECK_EQUAL(rig->domain.iova_order, order);
	CHECK_EQUAL(rig->domain.iova_base.v & (bytes - 1), 0);
	CHECK(rig->domain.iova_base.v >= window->bus.v);
	CHECK(rig->domain.iova_base.v - window->bus.v + bytes <= window->len_bytes);
	return true;
}

static bool place(struct rig *rig)
{
	const uint64_t m = 1024 * 1024;
	struct viodma_window windows[2] = {{.bus = {0}, .len_bytes = m}, {.bus = {0x80000000u}, .len_bytes = m}};
	unsigned bits;

	/* 16 MiB wanted. */
	CHECK_RESULT(set_up(rig, 4096, windows, 2, 32), VIODMA_OK);
	CHECK(within(rig, &windows[1], 8)); /* of two as large, the one that is not at 0 */
	windows[1] = windows[0];
	windows[0].bus.v = 0x80000000u;
	CHECK_RESULT(set_up(rig, 4096, windows, 2, 32), VIODMA_OK);
	CHECK(within(rig, &windows[0], 8)); /* whichever is stated first */
	windows[0] = windows[1];
	windows[1].bus.v = 0x80000000u;
	windows[1].len_bytes = m - GRANULE;
	CHECK_RESULT(set_up(rig, 4096, windows, 2, 32), VIODMA_OK);
	CHECK(within(rig, &windows[0], 8)); /* the larger one, wherever */
	windows[0].len_bytes = 1024 * m;
	CHECK_RESULT(set_up(rig, 4096, windows, 1, 32), VIODMA_OK);
	CHECK(within(rig, &windows[0], 12));
	CHECK(rig->domain.iova_base.v != 0);
	windows[0].bus.v = 3 * GRANULE; /* nothing in it is aligned to 16 MiB but what begins there */
	windows[0].len_bytes = 32 * m - 3 * GRANULE;
	CHECK_RESULT(set_up(rig, 4096, windows, 1, 32), VIODMA_OK);
	CHECK(within(rig, &windows[0], 12));
	CHECK_EQUAL(rig->domain.iova_base.v, 16 * m);
	windows[0].len_bytes -= GRANULE; /* and now not even that */
	CHECK_RESULT(set_up(rig, 4096, windows, 1, 32), VIODMA_OK);
	CHECK(within(rig, &windows[0], 11));
	windows[0].bus.v = -16 * m; /* the last of all addresses */
	windows[0].len_bytes = 16 * m;
	CHECK_RESULT(set_up(rig, 4096, windows, 1, 64), VIODMA_OK);
	CHECK(within(rig, &windows[0], 12));
	windows[0].bus.v = 100;
	windows[0].len_bytes = GRANULE;
	CHECK_RESULT(set_up(rig, 4096, windows, 1, 64), VIODMA_E_INVALID); /* no granule lies in it */
	for (bits = 14; bits <= 64; bits++) {
		CHECK_RESULT(set_up(rig, 4096, NULL, 0, bits), VIODMA_OK);
		CHECK_EQUAL(rig->domain.iova_order, bits < 25 ? bits - 13 : 12);
		CHECK(rig->domain.iova_base.v && rig->domain.iova_base.v + (GRANULE << rig->domain.iova_order) <= 1ull << 48);
		CHECK(bits == 64 || rig->domain.iova_base.v + (GRANULE << rig->domain.iova_order) <= 1ull << bits);
	}
	return true;
}

static bool the_range_lies_in_a_window_aligned_and_not_at_0_if_that_can_be_had(void)
{
	struct rig rig = {0};
	bool good = place(&rig);

	tear_down(&rig);
	return good;
}

static bool width(struct rig *rig)
{
	const uint64_t m = 1024 * 1024;
	struct viodma_window windows[2] = {{.bus = {0x100000000u}, .len_bytes = 1024 * m}};

	CHECK_RESULT(set_up(rig, 4096, windows, 1, 32), VIODMA_E_INVALID); /* all of it is out of the device's reach */
	windows[1] = (struct viodma_window){.bus = {0xf0000000u}, .len_bytes = m};
	CHECK_RESULT(set_up(rig, 4096, windows, 2, 32), VIODMA_OK);
	CHECK(within(rig, &windows[1], 8));
	windows[0].bus.v = 0x100000000u - 4 * m; /* part of it is */
	CHECK_RESULT(set_up(rig, 4096, windows, 1, 32), VIODMA_OK);
	windows[0].len_bytes = 4 * m;
	CHECK(within(rig, &windows[0], 10));
	windows[0] = (struct viodma_window){.bus = {0}, .len_bytes = UINT64_MAX};
	CHECK_RESULT(set_up(rig, 4096, windows, 1, 64), VIODMA_OK);
	CHECK_EQUAL(rig->domain.iova_order, 12);
	return true;
}

static bool the_range_lies_where_the_device_drives_it(void)
{
	struct rig rig = {0};
	bool good = width(&rig);

	tear_down(&rig);
	return good;
}

/* ---- wear ---- */

#define LIVE 3000
#define WEAR_ORDER 14

struct live {
	viodma_bus bus;
	uint64_t len_bytes;
};

struct wear {
	struct rig rig;
	unsigned char map[1u << WEAR_ORDER]; /* granules taken, as counted here */
	struct live live[LIVE];
	uint32_t count;
	uint64_t exhausted, worst;
};

static bool marked(struct wear *wear, const struct live *live, bool before)
{
	uint64_t i = (live->bus.v - wear->rig.domain.iova_base.v) / GRANULE, n = (live->len_bytes + GRANULE - 1) / GRANULE;

	for (; n--; i++) {
		CHECK_EQUAL(wear->map[i], before);
		wear->map[i] = !before;
	}
	return true;
}

/* Take or give one range. Sizes: mostly a granule or a few, some of up to 512. */
static bool one_cycle(struct wear *wear, struct check_random *random)
{
	struct viodma_domain *domain = &wear->rig.domain;
	uint64_t before = domain->iova_steps;
	bool take = !wear->count || (wear->count < LIVE && check_below(random, 2));

	if (take) {
		struct live *live = &wear->live[wear->count];
		uint64_t granules = 1 + check_below(random, 1ull << check_below(random, 10));

		live->len_bytes = granules * GRANULE - check_below(random, GRANULE);
		if (viodma_iova_take(domain, live->len_bytes, 1, &live->bus) == VIODMA_OK) {
			wear->count++;
			CHECK(marked(wear, live, false));
		} else {
			wear->exhausted++;
		}
	} else {
		uint32_t which = (uint32_t)check_below(random, wear->count);

		CHECK(marked(wear, &wear->live[which], true));
		viodma_iova_give(domain, wear->live[which].bus, wear->live[which].len_bytes);
		wear->live[which] = wear->live[--wear->count];
	}
	if (domain->iova_steps - before > wear->worst)
		wear->worst = domain->iova_steps - before;
	return true;
}

static bool wear_out(struct wear *wear, uint64_t cycles)
{
	struct viodma_domain *domain = &wear->rig.domain;
	struct check_random random = {1};
	uint64_t i, begun = 0, tenth = cycles / 10, first = 0, last = 0;

	CHECK_RESULT(set_up(&wear->rig, 1u << WEAR_ORDER, NULL, 0, 64), VIODMA_OK);
	for (i = 0; i < cycles; i++) {
		if (i % tenth == 0)
			begun = domain->iova_steps;
		CHECK(one_cycle(wear, &random));
		if (i == tenth - 1)
			first = domain->iova_steps - begun;
		if (i == cycles - 1)
			last = domain->iova_steps - begun;
	}
	CHECK(wear->exhausted > 0); /* the load is as heavy as it can be */
	/* No cycle costs more than two walks through the tree; the last tenth of them no more than the first. */
	CHECK(wear->worst <= 2 * WEAR_ORDER);
	CHECK(last <= first + first / 10);
	while (wear->count--)
		viodma_iova_give(domain, wear->live[wear->count].bus, wear->live[wear->count].len_bytes);
	return is_whole(&wear->rig);
}

static bool many_cycles_make_it_neither_slower_nor_smaller(void)
{
	struct wear *wear = calloc(1, sizeof(*wear));
	bool good = wear_out(wear, getenv("VIODMA_SLOW") ? 100000000 : 1000000);

	tear_down(&wear->rig);
	free(wear);
	return good;
}

static bool cheap(struct rig *rig)
{
	viodma_bus bus;
	uint32_t i;

	CHECK_RESULT(set_up(rig, 1u << 24, NULL, 0, 64), VIODMA_OK);
	CHECK_EQUAL(rig->domain.iova_steps, 0);
	for (i = 0; i < 1000; i++) {
		CHECK_RESULT(viodma_iova_take(&rig->domain, GRANULE, 1, &bus), VIODMA_OK);
		viodma_iova_give(&rig->domain, bus, GRANULE);
	}
	CHECK_EQUAL(rig->domain.iova_steps, 1000 * 3 * 24); /* down and up; up */
	return is_whole(rig);
}

static bool sixteen_million_granules_cost_24_steps_a_way(void)
{
	struct rig rig = {0};
	bool good = cheap(&rig);

	tear_down(&rig);
	return good;
}

HOLDS(every_granule_is_given_out_once_and_comes_back)
HOLDS(ranges_are_aligned_to_their_own_size_and_to_what_is_asked)
HOLDS(too_much_is_a_limit_and_no_room_now_is_exhaustion)
HOLDS(the_range_lies_in_a_window_aligned_and_not_at_0_if_that_can_be_had)
BEHAVIOUR(the_range_lies_where_the_device_drives_it, "DRV-2")
HOLDS(many_cycles_make_it_neither_slower_nor_smaller)
HOLDS(sixteen_million_granules_cost_24_steps_a_way)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_granule_is_given_out_once_and_comes_back),
		TEST(ranges_are_aligned_to_their_own_size_and_to_what_is_asked),
		TEST(too_much_is_a_limit_and_no_room_now_is_exhaustion),
		TEST(the_range_lies_in_a_window_aligned_and_not_at_0_if_that_can_be_had),
		WITH_MUTANT(the_range_lies_where_the_device_drives_it),
		TEST(many_cycles_make_it_neither_slower_nor_smaller),
		TEST(sixteen_million_granules_cost_24_steps_a_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
