/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_domain_iommu_failure.c - what becomes of memory when the IOMMU fails: a map that fails leaves nothing behind; what
 * cannot be taken back is never used again (tests/support/iommu_rig.h).
 */
#include "tests/support/iommu_rig.h"

/* Four pieces: pool, in place, pool; and in place elsewhere. */
static const struct viodma_buffer pieces[] = {{{RIG_HERE + 100}, 2 * GRANULE}, {{RIG_FAR}, GRANULE}};

static bool map_fails(unsigned which, enum viodma_result with, enum viodma_result wanted)
{
	CHECK(start(IOMMU, VIODMA_IOMMU_STRICT, 16));
	model.fail_map = which;
	model.fail_with = with;
	CHECK_RESULT(map(pieces, 2, VIODMA_FROM_DEVICE), wanted);
	CHECK(!mapping.domain);
	CHECK_EQUAL(rig.domain.statistics.live, 0);
	CHECK_EQUAL(rig.domain.statistics.iommu.failures, 1);
	CHECK_EQUAL(rig.pool.statistics.used_bytes, 0);
	CHECK_EQUAL(model.invalidations, which > 1); /* at once: the caller has its memory back */
	CHECK(reaches_only(NULL, 0));
	/* And it goes on as if nothing had been. */
	CHECK_RESULT(map(pieces, 2, VIODMA_FROM_DEVICE), VIODMA_OK);
	return device_writes_all(pieces, 2) && nothing_is_left();
}

static bool a_map_that_fails_half_way_leaves_nothing(void)
{
	unsigned which;

	for (which = 1; which <= 4; which++) {
		CHECK(map_fails(which, VIODMA_E_NO_MEMORY, VIODMA_E_IO));
		CHECK(map_fails(which, VIODMA_E_EXHAUSTED, VIODMA_E_EXHAUSTED));
	}
	return true;
}

static bool a_deferred_domain_too_takes_back_at_once_what_it_could_not_map(void)
{
	CHECK(start(IOMMU, VIODMA_IOMMU_DEFERRED, 16));
	model.fail_map = 4;
	CHECK_RESULT(map(pieces, 2, VIODMA_FROM_DEVICE), VIODMA_E_IO);
	CHECK(reaches_only(NULL, 0));
	CHECK_EQUAL(rig.domain.statistics.iommu.waiting, 0);
	return nothing_is_left();
}

/* No later mapping gets these bus addresses, or slots, however many there are. */
static bool is_never_used_again(const struct viodma_segment *lost, uint64_t slots)
{
	static struct viodma_mapping others[RANGE];
	static struct viodma_segment found[RANGE];
	static const struct viodma_buffer one = {{RIG_FAR + GRANULE}, GRANULE};
	uint32_t count = 0, i;
	enum viodma_result result;

	CHECK_EQUAL(rig.pool.statistics.quarantined_bytes, slots * GRANULE);
	CHECK_EQUAL(rig.pool.statistics.used_bytes, slots * GRANULE);
	for (;;) {
		result = viodma_domain_map(&rig.domain, &others[count], &one, 1, VIODMA_TO_DEVICE, &found[count], 1);
		if (result != VIODMA_OK)
			break;
		CHECK(found[count].bus.v + GRANULE <= (lost->bus.v & ~(uint64_t)(GRANULE - 1)) ||
		      found[count].bus.v >= lost->bus.v + lost->len_bytes);
		count++;
	}
	CHECK_RESULT(result, VIODMA_E_EXHAUSTED);
	CHECK_EQUAL(count, RANGE - 4); /* 3 granules, in a block of 4 */
	for (i = 0; i < count; i++)
		CHECK_RESULT(viodma_domain_unmap(&others[i], 0), VIODMA_OK);
	return true;
}

static bool ends_quarantined(void)
{
	CHECK_RESULT(viodma_domain_settle(&rig.domain, true), VIODMA_E_QUARANTINED);
	CHECK_RESULT(viodma_domain_free(&rig.domain), VIODMA_E_QUARANTINED);
	if (rig.pool.statistics.quarantined_bytes)
		CHECK_RESULT(viodma_pool_free(&rig.pool), VIODMA_E_QUARANTINED);
	CHECK_EQUAL(model.broken, 0);
	return true;
}

/* An unmap of a buffer that is partly bounced, for which the so-many-th unmap or invalidation of the IOMMU fails. */
static bool unmap_fails(enum viodma_iommu_mode mode, unsigned unmap, unsigned invalidate)
{
	struct viodma_segment lost;
	unsigned char byte = 9;

	CHECK(start(IOMMU, mode, 16));
	CHECK_RESULT(map(pieces, 1, VIODMA_FROM_DEVICE), VIODMA_OK);
	lost = segments[0];
	CHECK(dma_rig_device_writes(&rig, segments, 1, 5, &byte, 1));
	model.fail_unmap = unmap;
	model.fail_invalidate = invalidate;
	CHECK_RESULT(viodma_domain_unmap(&mapping, 6), VIODMA_E_QUARANTINED);
	CHECK(!mapping.domain); /* it has ended for the driver, and data is there */
	CHECK_EQUAL(*dma_rig_at(&rig, RIG_HERE + 105), 9);
	CHECK_EQUAL(rig.domain.statistics.quarantined, 1);
	CHECK_EQUAL(rig.domain.statistics.live, 0);
	CHECK_EQUAL(rig.domain.statistics.iommu.quarantined_bytes, 3 * GRANULE);
	return is_never_used_again(&lost, 2) && ends_quarantined();
}

static bool what_an_unmap_cannot_take_back_is_quarantined(void)
{
	return unmap_fails(VIODMA_IOMMU_STRICT, 1, 0) && unmap_fails(VIODMA_IOMMU_DEFERRED, 1, 0);
}

static bool what_cannot_be_invalidated_is_quarantined(void)
{
	return unmap_fails(VIODMA_IOMMU_STRICT, 0, 1);
}

static bool what_cannot_be_taken_back_after_a_failed_map_is_quarantined(void)
{
	struct viodma_segment lost;
	unsigned way;

	for (way = 0; way < 2; way++) {
		CHECK(start(IOMMU, VIODMA_IOMMU_STRICT, 16));
		CHECK_RESULT(map(pieces, 1, VIODMA_FROM_DEVICE), VIODMA_OK);
		lost = segments[0];
		CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
		model.fail_map = 3;
		model.fail_unmap = way == 0;
		model.fail_invalidate = way == 1;
		CHECK_RESULT(map(pieces, 1, VIODMA_FROM_DEVICE), VIODMA_E_QUARANTINED); /* where the last one was */
		CHECK(!mapping.domain);
		CHECK_EQUAL(rig.domain.statistics.quarantined, 1);
		CHECK(is_never_used_again(&lost, 2) && ends_quarantined());
	}
	return true;
}

static bool deferred_invalidation_fails(const struct viodma_iommu_ops *ops, unsigned which, unsigned lost)
{
	struct viodma_mapping other;
	struct viodma_segment found[2];

	CHECK(prepare(IOMMU, VIODMA_IOMMU_DEFERRED, 16));
	config.ops = ops;
	CHECK_RESULT(dma_rig_add_domain(&rig, VIODMA_ADDRESSING_PLATFORM), VIODMA_OK);
	CHECK_RESULT(map(pieces, 1, VIODMA_TO_DEVICE), VIODMA_OK);
	CHECK_RESULT(viodma_domain_map(&rig.domain, &other, pieces, 2, VIODMA_TO_DEVICE, found, 2), VIODMA_OK);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	CHECK_RESULT(viodma_domain_unmap(&other, 0), VIODMA_OK);
	model.fail_invalidate = which;
	CHECK_RESULT(viodma_domain_settle(&rig.domain, true), VIODMA_E_QUARANTINED);
	CHECK_EQUAL(rig.domain.statistics.quarantined, lost);
	CHECK_EQUAL(rig.pool.statistics.used_bytes, lost * 2 * GRANULE);
	CHECK_EQUAL(rig.domain.iova_used, lost * 4);
	/* Said again, as it is still so; but what is not about that goes on. */
	CHECK_RESULT(viodma_domain_settle(&rig.domain, false), VIODMA_OK);
	CHECK_RESULT(map(pieces, 1, VIODMA_TO_DEVICE), VIODMA_OK);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	return ends_quarantined();
}

static bool what_waited_and_cannot_be_invalidated_is_quarantined(void)
{
	CHECK(deferred_invalidation_fails(&iommu_model_ops, 1, 2));
	CHECK(deferred_invalidation_fails(&iommu_model_ops_by_range, 1, 1));
	return deferred_invalidation_fails(&iommu_model_ops_by_range, 2, 1);
}

static bool an_unmap_whose_own_invalidation_fails_says_so_in_deferred_mode(void)
{
	CHECK(prepare(IOMMU, VIODMA_IOMMU_DEFERRED, 16));
	config.deferred_max = 1;
	CHECK_RESULT(dma_rig_add_domain(&rig, VIODMA_ADDRESSING_PLATFORM), VIODMA_OK);
	CHECK_RESULT(map(pieces, 1, VIODMA_TO_DEVICE), VIODMA_OK);
	model.fail_invalidate = 1;
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_E_QUARANTINED);
	CHECK_EQUAL(rig.domain.statistics.quarantined, 1);
	return ends_quarantined();
}

static bool a_failure_while_room_is_made_does_not_end_the_search_for_it(void)
{
	const struct viodma_buffer part = {{RIG_HERE + 1}, 100};

	CHECK(prepare(IOMMU, VIODMA_IOMMU_DEFERRED, 2));
	config.ops = &iommu_model_ops_by_range;
	CHECK_RESULT(dma_rig_add_domain(&rig, VIODMA_ADDRESSING_PLATFORM), VIODMA_OK);
	CHECK_RESULT(map(&part, 1, VIODMA_TO_DEVICE), VIODMA_OK);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	CHECK_RESULT(map(&part, 1, VIODMA_TO_DEVICE), VIODMA_OK);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	model.fail_invalidate = 1; /* one slot is lost, the other not */
	CHECK_RESULT(map(&part, 1, VIODMA_TO_DEVICE), VIODMA_OK);
	CHECK_EQUAL(rig.pool.statistics.quarantined_bytes, GRANULE);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	return ends_quarantined();
}

static enum viodma_result map_other(const struct viodma_buffer *buffer)
{
	static struct viodma_mapping other;

	return viodma_domain_map(&rig.domain, &other, buffer, 1, VIODMA_TO_DEVICE, &segments[8], 8);
}

/* A caller that waits for an unmap to make room must not wait for ever. */
static bool what_quarantine_has_left_no_room_for_is_a_limit(void)
{
	const struct viodma_buffer whole = {{RIG_HERE}, 16 * GRANULE};

	CHECK(prepare(IOMMU, VIODMA_IOMMU_DEFERRED, 4));
	config.granules = 16;
	CHECK_RESULT(dma_rig_add_domain(&rig, VIODMA_ADDRESSING_PLATFORM), VIODMA_OK);
	CHECK_RESULT(map(&whole, 1, VIODMA_TO_DEVICE), VIODMA_OK);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	CHECK_RESULT(map(pieces, 1, VIODMA_TO_DEVICE), VIODMA_OK); /* settles */
	CHECK_RESULT(map_other(&whole), VIODMA_E_EXHAUSTED);
	model.fail_unmap = 1;
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_E_QUARANTINED);
	CHECK_RESULT(map(&whole, 1, VIODMA_TO_DEVICE), VIODMA_E_LIMIT);
	return ends_quarantined();
}

static bool ring_memory_that_cannot_be_taken_out_is_quarantined(void)
{
	struct viodma_dma_memory ring;

	CHECK(start(IOMMU, VIODMA_IOMMU_STRICT, 16));
	CHECK_RESULT(viodma_domain_alloc(&rig.domain, &ring, 2 * GRANULE, 4096, VIODMA_BIDIRECTIONAL), VIODMA_OK);
	model.fail_unmap = 1;
	CHECK_RESULT(viodma_domain_release(&ring), VIODMA_E_QUARANTINED);
	CHECK_EQUAL(rig.domain.statistics.quarantined, 1);
	CHECK_EQUAL(rig.domain.allocated, 0);
	CHECK_EQUAL(rig.pool.statistics.quarantined_bytes, 2 * GRANULE);
	CHECK_EQUAL(rig.domain.iova_used, 2);
	return ends_quarantined();
}

HOLDS(a_map_that_fails_half_way_leaves_nothing)
HOLDS(a_deferred_domain_too_takes_back_at_once_what_it_could_not_map)
BEHAVIOUR(what_an_unmap_cannot_take_back_is_quarantined, "DRV-22")
BEHAVIOUR(what_cannot_be_invalidated_is_quarantined, "DRV-22")
BEHAVIOUR(what_cannot_be_taken_back_after_a_failed_map_is_quarantined, "DRV-22")
BEHAVIOUR(what_waited_and_cannot_be_invalidated_is_quarantined, "DRV-22")
HOLDS(an_unmap_whose_own_invalidation_fails_says_so_in_deferred_mode)
HOLDS(a_failure_while_room_is_made_does_not_end_the_search_for_it)
HOLDS(what_quarantine_has_left_no_room_for_is_a_limit)
BEHAVIOUR(ring_memory_that_cannot_be_taken_out_is_quarantined, "DRV-22")

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_map_that_fails_half_way_leaves_nothing),
		TEST(a_deferred_domain_too_takes_back_at_once_what_it_could_not_map),
		WITH_MUTANT(what_an_unmap_cannot_take_back_is_quarantined),
		WITH_MUTANT(what_cannot_be_invalidated_is_quarantined),
		WITH_MUTANT(what_cannot_be_taken_back_after_a_failed_map_is_quarantined),
		WITH_MUTANT(what_waited_and_cannot_be_invalidated_is_quarantined),
		TEST(an_unmap_whose_own_invalidation_fails_says_so_in_deferred_mode),
		TEST(a_failure_while_room_is_made_does_not_end_the_search_for_it),
		TEST(what_quarantine_has_left_no_room_for_is_a_limit),
		WITH_MUTANT(ring_memory_that_cannot_be_taken_out_is_quarantined),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
