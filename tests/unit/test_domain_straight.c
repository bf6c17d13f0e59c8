/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_domain_straight.c - the short way of what bounces, and the pool that stays entered behind an IOMMU in deferred mode.
 *
 * How it works: whoever maps cannot tell which way a mapping goes, so most is compared with what the long way does: the
 * same platform with a limit that no mapping here meets takes that. What a device reaches, cached translations included,
 * is looked at byte by byte.
 */
#include "tests/support/iommu_rig.h"

#define SECURE "kind=offset window=0x50000000+256K@0x8000000000 restricted pool=0x50000000+256K"
#define LONG_WAY " max-mapping=1M"

static const struct viodma_buffer small = {{RIG_HERE + 100}, 64};

/* Deferred, and rings have a pool of their own. */
static bool start_deferred(const char *platform, uint32_t slots)
{
	CHECK(prepare(platform, VIODMA_IOMMU_DEFERRED, 0));
	rig.rings_apart = true;
	CHECK_RESULT(dma_rig_add_pool(&rig, GRANULE, 0, (uint64_t)slots * GRANULE), VIODMA_OK);
	CHECK_RESULT(dma_rig_add_domain(&rig, VIODMA_ADDRESSING_PLATFORM), VIODMA_OK);
	return true;
}

static bool start_secure(const char *platform)
{
	CHECK(dma_rig_start(&rig, platform));
	CHECK_RESULT(dma_rig_add_pool(&rig, 512, 4096, 0), VIODMA_OK);
	return dma_rig_add_domain(&rig, VIODMA_ADDRESSING_PLATFORM) == VIODMA_OK;
}

/* What stays entered is taken out with the domain. */
static bool ends(void)
{
	CHECK_RESULT(viodma_domain_settle(&rig.domain, true), VIODMA_OK);
	CHECK(dma_rig_end(&rig));
	CHECK_EQUAL(iommu_model_entered(&model), 0);
	CHECK_EQUAL(rig.domain.statistics.iommu.mapped_bytes, 0);
	CHECK_EQUAL(rig.domain.iova_used, 0);
	CHECK_EQUAL(model.broken, 0);
	return true;
}

static bool which_domains_have_a_short_way(void)
{
	CHECK(start_deferred(IOMMU, 16) && rig.domain.straight && ends());
	CHECK(start_deferred(BOUNCE_IOMMU, 16) && rig.domain.straight && ends());
	CHECK(start_deferred(IOMMU " align=64", 16) && !rig.domain.straight && ends());
	CHECK(start_deferred(IOMMU " boundary=64K", 16) && !rig.domain.straight && ends());
	CHECK(start_deferred(IOMMU " max-segment=64K", 16) && !rig.domain.straight && ends());
	CHECK(start_deferred(IOMMU " max-mapping=64K", 16) && !rig.domain.straight && ends());
	CHECK(start_deferred(IOMMU " non-coherent line=64", 16) && !rig.domain.straight && ends());
	CHECK(start(IOMMU, VIODMA_IOMMU_DEFERRED, 16) && !rig.domain.straight && ends()); /* rings are in the pool */
	CHECK(prepare(IOMMU, VIODMA_IOMMU_STRICT, 0));
	rig.rings_apart = true;
	CHECK_RESULT(dma_rig_add_pool(&rig, GRANULE, 0, 0), VIODMA_OK);
	CHECK_RESULT(dma_rig_add_domain(&rig, VIODMA_ADDRESSING_PLATFORM), VIODMA_OK);
	CHECK(!rig.domain.straight && ends());
	CHECK(start_secure(SECURE) && rig.domain.straight && dma_rig_end(&rig));
	CHECK(start_secure(SECURE LONG_WAY) && !rig.domain.straight && dma_rig_end(&rig));
	return true;
}

static bool a_map_after_the_first_enters_nothing(void)
{
	unsigned i, maps = 0, unmaps = 0;

	CHECK(start_deferred(IOMMU, 16));
	for (i = 0; i < 20; i++) {
		CHECK_RESULT(map(&small, 1, VIODMA_TO_DEVICE), VIODMA_OK);
		CHECK_EQUAL(mapping.segment_count, 1);
		CHECK(device_reads_all(&small, 1));
		CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
		CHECK_EQUAL(rig.domain.statistics.iommu.waiting, 0);
		if (!i) {
			maps = model.maps;
			unmaps = model.unmaps;
		}
	}
	CHECK_EQUAL(model.maps, maps);
	CHECK_EQUAL(model.unmaps, unmaps);
	CHECK_EQUAL(model.invalidations + model.all_invalidations, 0);
	return ends();
}

/* Its own direction, and of the driver's memory nothing: neither what was mapped, nor rings. */
static bool a_direction_grants_itself_alone(void)
{
	static const enum viodma_direction directions[] = {VIODMA_TO_DEVICE, VIODMA_FROM_DEVICE, VIODMA_BIDIRECTIONAL};
	struct viodma_dma_memory ring;
	uint64_t phys;
	unsigned i, k;

	CHECK(start_deferred(IOMMU, 16));
	CHECK_RESULT(viodma_domain_alloc(&rig.domain, &ring, 256, 64, VIODMA_TO_DEVICE), VIODMA_OK);
	for (i = 0; i < 3; i++) {
		CHECK_RESULT(map(&small, 1, directions[i]), VIODMA_OK);
		iommu_model_cache_all(&model);
		for (k = VIODMA_READ; k <= VIODMA_READ_WRITE; k++)
			CHECK_EQUAL(iommu_model_translate(&model, segments[0].bus.v, (enum viodma_permission)k, &phys),
				    !(k & ~(unsigned)directions[i]));
		CHECK(phys >= RIG_POOL && phys < RIG_POOL + RIG_POOL_BYTES);
		CHECK(reaches_only(NULL, 0));
		CHECK(!iommu_model_translate(&model, ring.bus.v, VIODMA_WRITE, &phys));
		CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
		CHECK(reaches_only(NULL, 0));
	}
	/* No other granule of the ring pool than that which was handed out is within reach. */
	CHECK(iommu_model_reaches(&model, ring.phys.v));
	CHECK(!iommu_model_reaches(&model, ring.phys.v + GRANULE));
	CHECK_RESULT(viodma_domain_release(&ring), VIODMA_OK);
	return ends();
}

static bool what_fills_granules_is_still_taken_out(void)
{
	static const struct viodma_buffer whole = {{RIG_HERE + GRANULE}, 2 * GRANULE};

	CHECK(start_deferred(IOMMU, 16));
	CHECK_RESULT(map(&whole, 1, VIODMA_FROM_DEVICE), VIODMA_OK);
	CHECK(!mapping.straight);
	iommu_model_cache_all(&model);
	CHECK(iommu_model_reaches(&model, RIG_HERE + GRANULE));
	CHECK(device_writes_all(&whole, 1));
	CHECK_RESULT(viodma_domain_settle(&rig.domain, true), VIODMA_OK);
	CHECK(reaches_only(NULL, 0));
	return ends();
}

static bool what_waits_is_settled_by_what_goes_the_short_way(void)
{
	static const struct viodma_buffer whole = {{RIG_HERE + GRANULE}, GRANULE};

	CHECK(start_deferred(IOMMU, 16));
	CHECK_RESULT(map(&whole, 1, VIODMA_TO_DEVICE), VIODMA_OK);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	CHECK_RESULT(map(&small, 1, VIODMA_TO_DEVICE), VIODMA_OK);
	CHECK_EQUAL(rig.domain.statistics.iommu.waiting, 1);
	model.now_ns += 1000;
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	CHECK_EQUAL(rig.domain.statistics.iommu.waiting, 0);
	CHECK_RESULT(map(&whole, 1, VIODMA_TO_DEVICE), VIODMA_OK);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	model.now_ns += 1000;
	CHECK_RESULT(map(&small, 1, VIODMA_TO_DEVICE), VIODMA_OK);
	CHECK_EQUAL(rig.domain.statistics.iommu.waiting, 0);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	return ends();
}

/* All bus addresses in one mapping: not while anything is live, but then. */
static bool bus_addresses_that_are_needed_are_given_up(void)
{
	static const struct viodma_buffer most = {{RIG_HERE}, 16 * GRANULE};
	struct viodma_mapping other;
	struct viodma_segment found[4];

	CHECK(prepare(IOMMU, VIODMA_IOMMU_DEFERRED, 0));
	config.granules = 16;
	rig.rings_apart = true;
	CHECK_RESULT(dma_rig_add_pool(&rig, GRANULE, 0, 4 * GRANULE), VIODMA_OK);
	CHECK_RESULT(dma_rig_add_domain(&rig, VIODMA_ADDRESSING_PLATFORM), VIODMA_OK);
	CHECK_RESULT(viodma_domain_map(&rig.domain, &other, &small, 1, VIODMA_TO_DEVICE, found, 4), VIODMA_OK);
	CHECK(other.straight);
	CHECK_RESULT(map(&most, 1, VIODMA_TO_DEVICE), VIODMA_E_EXHAUSTED);
	CHECK(rig.domain.straight && other.straight);
	CHECK_RESULT(viodma_domain_unmap(&other, 0), VIODMA_OK);
	CHECK_RESULT(map(&most, 1, VIODMA_TO_DEVICE), VIODMA_OK);
	CHECK(device_reads_all(&most, 1));
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	CHECK(!rig.domain.straight); /* the long way, from now on */
	CHECK_RESULT(map(&small, 1, VIODMA_TO_DEVICE), VIODMA_OK);
	CHECK(!mapping.straight);
	CHECK(device_reads_all(&small, 1));
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	return ends();
}

static bool too_few_bus_addresses_or_a_failure_leave_the_long_way(void)
{
	unsigned way;

	for (way = 0; way < 2; way++) {
		CHECK(prepare(IOMMU, VIODMA_IOMMU_DEFERRED, 0));
		rig.rings_apart = true;
		if (!way)
			config.granules = 32;
		CHECK_RESULT(dma_rig_add_pool(&rig, GRANULE, 0, 9 * GRANULE), VIODMA_OK);
		CHECK_RESULT(dma_rig_add_domain(&rig, VIODMA_ADDRESSING_PLATFORM), VIODMA_OK);
		CHECK(rig.domain.straight);
		model.fail_map = way;
		CHECK_RESULT(map(&small, 1, VIODMA_BIDIRECTIONAL), VIODMA_OK);
		CHECK(!mapping.straight && !rig.domain.straight);
		CHECK_EQUAL(rig.pool.statistics.used_bytes, GRANULE);
		CHECK_EQUAL(rig.pool.statistics.copied_in_bytes, small.len_bytes);
		CHECK(device_reads_all(&small, 1));
		CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
		CHECK(ends());
	}
	return true;
}

/* = DRV-22 */
static bool a_pool_that_cannot_be_taken_out_is_quarantined_whole(void)
{
	CHECK(start_deferred(IOMMU, 16));
	CHECK_RESULT(map(&small, 1, VIODMA_TO_DEVICE), VIODMA_OK);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	CHECK_EQUAL(rig.pool.statistics.quarantined_bytes, 0);
	model.fail_unmap = 1;
	CHECK_RESULT(viodma_domain_free(&rig.domain), VIODMA_E_QUARANTINED);
	CHECK_EQUAL(rig.pool.statistics.quarantined_bytes, 16 * GRANULE);
	CHECK_RESULT(viodma_pool_free(&rig.pool), VIODMA_E_QUARANTINED);
	CHECK_RESULT(viodma_pool_free(&rig.ring_pool), VIODMA_OK);
	return true;
}

static bool grow(void *context, struct viodma_pool *pool, uint64_t wanted_bytes)
{
	static unsigned char slots[VIODMA_POOL_STORAGE_BYTES(4 * GRANULE, GRANULE)] __attribute__((aligned(16)));
	struct viodma_object more = {dma_rig_at(&rig, RIG_POOL + 0x8000), {RIG_POOL + 0x8000}, 4 * GRANULE};

	(void)context;
	(void)wanted_bytes;
	return viodma_pool_add(pool, &more, slots, sizeof(slots)) == VIODMA_OK;
}

static bool what_a_pool_grew_by_goes_the_short_way_too(void)
{
	static struct viodma_buffer buffers[5];
	struct viodma_mapping mappings[5];
	struct viodma_segment found[5];
	unsigned i, round;

	for (i = 0; i < 5; i++)
		buffers[i] = (struct viodma_buffer){{RIG_HERE + i * GRANULE + 8}, 100};
	CHECK(prepare(IOMMU, VIODMA_IOMMU_DEFERRED, 0));
	rig.rings_apart = true;
	rig.pool_config.grow = grow;
	CHECK_RESULT(dma_rig_add_pool(&rig, GRANULE, 4 * GRANULE, 4 * GRANULE), VIODMA_OK);
	CHECK_RESULT(dma_rig_add_domain(&rig, VIODMA_ADDRESSING_PLATFORM), VIODMA_OK);
	for (round = 0; round < 2; round++) {
		for (i = 0; i < 5; i++) {
			CHECK_RESULT(viodma_domain_map(&rig.domain, &mappings[i], &buffers[i], 1, VIODMA_FROM_DEVICE,
						       &found[i], 1), VIODMA_OK);
			CHECK(dma_rig_device_writes(&rig, &found[i], 1, 0, "abcdefg", 7));
		}
		CHECK_EQUAL(mappings[4].straight, round); /* the first time it was the long way that let the pool grow */
		for (i = 0; i < 5; i++) {
			CHECK_RESULT(viodma_domain_unmap(&mappings[i], 7), VIODMA_OK);
			CHECK(!memcmp(dma_rig_at(&rig, buffers[i].phys.v), "abcdefg", 7));
			CHECK_EQUAL(*dma_rig_at(&rig, buffers[i].phys.v + 7), dma_rig_pattern(buffers[i].phys.v + 7));
		}
		CHECK_RESULT(viodma_domain_settle(&rig.domain, true), VIODMA_OK);
	}
	return ends();
}

/* ---- as the long way ---- */

struct case_of {
	struct viodma_buffer buffers[3];
	uint32_t count, written;
	bool straight; /* it goes the short way where there is one */
};

static const struct case_of cases[] = {
	{{{{RIG_HERE + 5}, 1}}, 1, 1, true},
	{{{{RIG_HERE + 7}, 512}}, 1, 300, true},
	{{{{RIG_HERE + 500}, 4096}}, 1, 4096, true},
	{{{{RIG_HERE + 500}, 4097}}, 1, 4000, false},                                     /* larger than a run */
	{{{{RIG_NEXT - 10}, 20}}, 1, 15, false},                                          /* in two objects */
	{{{{RIG_POOL + 0x30000}, 20}}, 1, 15, false},                                     /* in the pool */
	{{{{RIG_HERE}, 100}, {{RIG_NEXT}, 200}, {{RIG_FAR + 3}, 77}}, 3, 333, true},
	{{{{RIG_HERE}, 100}, {{RIG_NEXT}, 200}, {{RIG_FAR + 3}, 77}}, 3, 101, true},
	{{{{RIG_HERE}, 512}, {{RIG_HERE + 0x1000}, 512}, {{RIG_HERE + 0x2000}, 512}}, 3, 1536, true}, /* runs that adjoin */
	{{{{RIG_HERE}, 100}, {{RIG_HERE + 200}, 5000}}, 2, 1, false},
};

static void take_down(const struct viodma_buffer *buffers, uint32_t count, unsigned char *found)
{
	uint32_t b, k;

	for (b = 0; b < count; b++)
		for (k = 0; k < buffers[b].len_bytes; k++)
			*found++ = *dma_rig_at(&rig, buffers[b].phys.v + k);
}

/* What the driver can tell of one mapping: bytes, counts, results. */
struct outcome {
	unsigned char read[8192], left[8192];
	struct viodma_domain_statistics statistics;
	uint64_t copied_in_bytes, copied_out_bytes, used_bytes;
	uint32_t segment_count;
	enum viodma_result unmapped, twice;
};

/* Where the same was mapped before (again), a slot is at hand, and the object known. */
static bool play(const struct case_of *one, enum viodma_direction direction, const char *platform, bool again,
		 struct outcome *outcome)
{
	static unsigned char put[8192];
	uint32_t k;

	memset(outcome, 0, sizeof(*outcome));
	for (k = 0; k < sizeof(put); k++)
		put[k] = (unsigned char)(k * 13 + 5);
	CHECK(start_secure(platform));
	memset(dma_rig_at(&rig, RIG_POOL + 0x30000), 0x3c, 20);
	if (again) {
		CHECK_RESULT(map(one->buffers, one->count, direction), VIODMA_OK);
		CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
		CHECK_EQUAL(rig.pool.statistics.used_bytes, 0);
	}
	CHECK_RESULT(map(one->buffers, one->count, direction), VIODMA_OK);
	CHECK_EQUAL(mapping.straight, one->straight && rig.domain.straight);
	outcome->segment_count = mapping.segment_count;
	outcome->used_bytes = rig.pool.statistics.used_bytes;
	if (direction & VIODMA_TO_DEVICE)
		CHECK(dma_rig_device_reads(&rig, segments, mapping.segment_count, 0, outcome->read, mapping.len_bytes));
	if (direction & VIODMA_FROM_DEVICE)
		CHECK(dma_rig_device_writes(&rig, segments, mapping.segment_count, 0, put, mapping.len_bytes));
	outcome->unmapped = viodma_domain_unmap(&mapping, one->written);
	outcome->twice = viodma_domain_unmap(&mapping, one->written);
	take_down(one->buffers, one->count, outcome->left);
	CHECK(dma_rig_rest_is_intact(&rig, one->buffers, one->count));
	outcome->statistics = rig.domain.statistics;
	outcome->copied_in_bytes = rig.pool.statistics.copied_in_bytes;
	outcome->copied_out_bytes = rig.pool.statistics.copied_out_bytes;
	return dma_rig_end(&rig);
}

static bool both_ways_come_to_the_same(void)
{
	static struct outcome straight, general;
	unsigned i, k, direction;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (k = 0; k < 6; k++) {
			direction = VIODMA_TO_DEVICE + k / 2;
			CHECK(play(&cases[i], (enum viodma_direction)direction, SECURE, k % 2, &straight));
			CHECK(play(&cases[i], (enum viodma_direction)direction, SECURE LONG_WAY, k % 2, &general));
			CHECK(!memcmp(&straight, &general, sizeof(straight)));
			CHECK_RESULT(straight.unmapped, VIODMA_OK);
			CHECK_RESULT(straight.twice, VIODMA_E_MISUSE);
		}
	return true;
}

/* All lengths at which moves of few bytes meet or end, all of it written by the device, or less. */
static bool few_bytes_are_copied_and_none_beside_them(void)
{
	unsigned char put[150], seen[150];
	struct viodma_buffer buffer = {{RIG_HERE + 3}, 1};
	uint32_t k, written;

	CHECK(start_secure(SECURE));
	for (buffer.len_bytes = 1; buffer.len_bytes <= 150; buffer.len_bytes++)
		for (written = buffer.len_bytes; written + 3 >= buffer.len_bytes && written <= buffer.len_bytes; written--) {
			for (k = 0; k < sizeof(put); k++)
				put[k] = (unsigned char)(k + 7 * buffer.len_bytes + written);
			CHECK_RESULT(map(&buffer, 1, VIODMA_BIDIRECTIONAL), VIODMA_OK);
			CHECK(mapping.straight && mapping.one_slot);
			CHECK(dma_rig_device_reads(&rig, segments, 1, 0, seen, buffer.len_bytes));
			CHECK(!memcmp(seen, dma_rig_at(&rig, buffer.phys.v), buffer.len_bytes));
			CHECK(dma_rig_device_writes(&rig, segments, 1, 0, put, buffer.len_bytes));
			CHECK_RESULT(viodma_domain_unmap(&mapping, written), VIODMA_OK);
			CHECK(!memcmp(put, dma_rig_at(&rig, buffer.phys.v), written));
			CHECK(!memcmp(seen + written, dma_rig_at(&rig, buffer.phys.v + written), buffer.len_bytes - written));
			CHECK(dma_rig_rest_is_intact(&rig, &buffer, 1));
		}
	return dma_rig_end(&rig);
}

/* Slots that came back are free for everybody, however they are kept. */
static bool what_is_at_hand_is_there_for_longer_runs(void)
{
	static const struct viodma_buffer most = {{RIG_HERE}, 4096};
	struct viodma_mapping mappings[8];
	struct viodma_segment found[8];
	unsigned i, round;

	CHECK(dma_rig_start(&rig, SECURE));
	CHECK_RESULT(dma_rig_add_pool(&rig, 512, 4096, 4096), VIODMA_OK);
	CHECK_RESULT(dma_rig_add_domain(&rig, VIODMA_ADDRESSING_PLATFORM), VIODMA_OK);
	for (round = 0; round < 3; round++) {
		for (i = 0; i < 8; i++)
			CHECK_RESULT(viodma_domain_map(&rig.domain, &mappings[i], &small, 1, VIODMA_TO_DEVICE, &found[i], 1),
				     VIODMA_OK);
		CHECK_EQUAL(rig.pool.statistics.used_bytes, 4096);
		CHECK_RESULT(map(&small, 1, VIODMA_TO_DEVICE), VIODMA_E_EXHAUSTED);
		for (i = 0; i < 8; i++)
			CHECK_RESULT(viodma_domain_unmap(&mappings[(i * 3 + round) % 8], 0), VIODMA_OK);
		CHECK_EQUAL(rig.pool.statistics.used_bytes, 0);
		for (i = 0; i < 2 && round; i++) {
			CHECK_RESULT(map(&most, 1, VIODMA_FROM_DEVICE), VIODMA_OK);
			CHECK(mapping.straight);
			CHECK_RESULT(viodma_domain_map(&rig.domain, &mappings[0], &small, 1, VIODMA_TO_DEVICE, found, 1),
				     VIODMA_E_EXHAUSTED);
			CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
			CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_E_MISUSE);
		}
	}
	CHECK_EQUAL(rig.pool.statistics.high_water_bytes, 4096);
	CHECK_EQUAL(rig.pool.statistics.allocations, 3 * 8 + 2 * 2);
	return dma_rig_end(&rig);
}

/* No slot is handed out twice, whichever way it came back. */
static bool live_mappings_have_slots_of_their_own(void)
{
	static const struct viodma_buffer away = {{RIG_FAR + 40}, 64}, two[2] = {{{RIG_HERE}, 64}, {{RIG_NEXT}, 64}};
	struct viodma_mapping mappings[4];
	struct viodma_segment found[4][2];
	unsigned i, k, round, count;

	CHECK(start_secure(SECURE));
	for (round = 0; round < 8; round++) {
		for (i = 0; i < 4; i++) {
			const bool single = (i + round) % 3;

			count = single ? 1 : 2;
			CHECK_RESULT(viodma_domain_map(&rig.domain, &mappings[i], single ? i % 2 ? &away : &small : two, count,
						       VIODMA_FROM_DEVICE, found[i], 2), VIODMA_OK);
			CHECK_EQUAL(mappings[i].segment_count, count);
			for (k = 0; k < i; k++)
				CHECK(found[k][0].bus.v >> 9 != found[i][0].bus.v >> 9 &&
				      found[k][0].bus.v >> 9 != found[i][count - 1].bus.v >> 9);
			CHECK(dma_rig_device_writes(&rig, found[i], count, 0, &"abcd"[i], 1));
		}
		/* In another order, so that the object is another than the last one. */
		for (i = 4; i-- > 0;) {
			const bool single = (i + round) % 3;

			CHECK_RESULT(viodma_domain_unmap(&mappings[i], 1), VIODMA_OK);
			CHECK_EQUAL(*dma_rig_at(&rig, !single ? RIG_HERE : i % 2 ? away.phys.v : small.phys.v), "abcd"[i]);
		}
		CHECK_EQUAL(rig.pool.statistics.used_bytes, 0);
	}
	return dma_rig_end(&rig);
}

/* What a device says beyond the buffer is not believed; what ended has ended. */
static bool a_slot_at_hand_answers_as_ever(void)
{
	static const unsigned char put[64] = "from the device";
	unsigned i;

	CHECK(start_secure(SECURE));
	for (i = 0; i < 3; i++) {
		CHECK_RESULT(map(&small, 1, VIODMA_FROM_DEVICE), VIODMA_OK);
		CHECK(dma_rig_device_writes(&rig, segments, 1, 0, put, 64));
		CHECK_RESULT(viodma_domain_unmap(&mapping, i == 2 ? UINT64_MAX : 65), VIODMA_E_INVALID);
		CHECK_RESULT(viodma_domain_unmap(&mapping, 65), VIODMA_E_MISUSE);
		CHECK(!memcmp(dma_rig_at(&rig, small.phys.v), put, 64));
		CHECK(dma_rig_rest_is_intact(&rig, &small, 1));
	}
	CHECK_EQUAL(rig.pool.statistics.copied_out_bytes, 3 * 64);
	return dma_rig_end(&rig);
}

static bool what_is_wrong_is_answered_as_ever(void)
{
	static const struct viodma_buffer empty = {{RIG_HERE}, 0}, wraps = {{UINT64_MAX - 3}, 8};
	static const struct viodma_buffer nowhere = {{RIG_FAR + RIG_FAR_BYTES - 8}, 9}, low = {{8}, 8};
	static const struct viodma_buffer second[2] = {{{RIG_HERE}, 100}, {{RIG_FAR + RIG_FAR_BYTES}, 1}};

	CHECK(start_secure(SECURE));
	CHECK_RESULT(map(&small, 1, VIODMA_FROM_DEVICE), VIODMA_OK); /* a slot is at hand then */
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	CHECK_RESULT(map(&empty, 1, VIODMA_TO_DEVICE), VIODMA_E_INVALID);
	CHECK_RESULT(map(&wraps, 1, VIODMA_TO_DEVICE), VIODMA_E_INVALID);
	CHECK_RESULT(map(&nowhere, 1, VIODMA_TO_DEVICE), VIODMA_E_INVALID);
	CHECK_RESULT(map(&low, 1, VIODMA_TO_DEVICE), VIODMA_E_INVALID);
	CHECK_RESULT(map(&small, 0, VIODMA_TO_DEVICE), VIODMA_E_INVALID);
	CHECK_RESULT(map(&small, 1, (enum viodma_direction)4), VIODMA_E_INVALID);
	CHECK_RESULT(map(second, 2, VIODMA_TO_DEVICE), VIODMA_E_INVALID);
	CHECK_RESULT(viodma_domain_map(&rig.domain, &mapping, second, 1, VIODMA_TO_DEVICE, segments, 0), VIODMA_E_LIMIT);
	CHECK(!mapping.domain);
	CHECK_EQUAL(rig.pool.statistics.used_bytes, 0);
	CHECK_EQUAL(rig.pool.statistics.copied_in_bytes, 0);
	CHECK_EQUAL(rig.domain.statistics.live, 0);
	CHECK_RESULT(map(&small, 1, VIODMA_FROM_DEVICE), VIODMA_OK);
	CHECK(dma_rig_device_writes(&rig, segments, 1, 0, cases, 64));
	CHECK_RESULT(viodma_domain_unmap(&mapping, 65), VIODMA_E_INVALID);
	CHECK(!memcmp(dma_rig_at(&rig, RIG_HERE + 100), cases, 64));
	return dma_rig_end(&rig);
}

static bool a_mapping_of_the_short_way_is_synced_in_parts(void)
{
	static const struct viodma_buffer two[2] = {{{RIG_HERE + 9}, 40}, {{RIG_NEXT + 9}, 40}};
	unsigned char seen[80];

	CHECK(start_secure(SECURE));
	CHECK_RESULT(map(two, 2, VIODMA_BIDIRECTIONAL), VIODMA_OK);
	CHECK(mapping.straight);
	memset(dma_rig_at(&rig, RIG_HERE + 9), 'x', 40);
	memset(dma_rig_at(&rig, RIG_NEXT + 9), 'y', 40);
	viodma_domain_sync_for_device(&mapping, 30, 20);
	CHECK(dma_rig_device_reads(&rig, segments, mapping.segment_count, 0, seen, 80));
	CHECK(seen[29] != 'x' && seen[30] == 'x' && seen[39] == 'x' && seen[40] == 'y' && seen[49] == 'y' && seen[50] != 'y');
	memset(seen, 'z', 80);
	CHECK(dma_rig_device_writes(&rig, segments, mapping.segment_count, 0, seen, 80));
	viodma_domain_sync_for_driver(&mapping, 38, 4);
	CHECK(!memcmp(dma_rig_at(&rig, RIG_HERE + 9 + 37), "xzz", 3));
	CHECK(!memcmp(dma_rig_at(&rig, RIG_NEXT + 9), "zzy", 3));
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	CHECK_EQUAL(*dma_rig_at(&rig, RIG_HERE + 9), 'x');
	return dma_rig_end(&rig);
}

/* Buffers in different lines of a cache go through different lines of it. */
static bool a_run_keeps_the_low_bits_that_cost_no_slot(void)
{
	static const struct viodma_buffer at_192 = {{RIG_HERE + 192}, 64}, across = {{RIG_HERE + 480}, 64};

	CHECK(start_secure(SECURE));
	CHECK_RESULT(map(&at_192, 1, VIODMA_TO_DEVICE), VIODMA_OK);
	CHECK_EQUAL(segments[0].bus.v & 511, 192);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	CHECK_RESULT(map(&across, 1, VIODMA_TO_DEVICE), VIODMA_OK);
	CHECK_EQUAL(segments[0].bus.v & 511, 0);
	CHECK_EQUAL(rig.pool.statistics.used_bytes, 512);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	return dma_rig_end(&rig);
}

HOLDS(which_domains_have_a_short_way)
HOLDS(a_map_after_the_first_enters_nothing)
HOLDS(a_direction_grants_itself_alone)
HOLDS(what_fills_granules_is_still_taken_out)
HOLDS(what_waits_is_settled_by_what_goes_the_short_way)
HOLDS(bus_addresses_that_are_needed_are_given_up)
HOLDS(too_few_bus_addresses_or_a_failure_leave_the_long_way)
HOLDS(a_pool_that_cannot_be_taken_out_is_quarantined_whole)
HOLDS(what_a_pool_grew_by_goes_the_short_way_too)
HOLDS(both_ways_come_to_the_same)
HOLDS(few_bytes_are_copied_and_none_beside_them)
HOLDS(what_is_at_hand_is_there_for_longer_runs)
HOLDS(live_mappings_have_slots_of_their_own)
HOLDS(a_slot_at_hand_answers_as_ever)
HOLDS(what_is_wrong_is_answered_as_ever)
HOLDS(a_mapping_of_the_short_way_is_synced_in_parts)
HOLDS(a_run_keeps_the_low_bits_that_cost_no_slot)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(which_domains_have_a_short_way),
		TEST(a_map_after_the_first_enters_nothing),
		TEST(a_direction_grants_itself_alone),
		TEST(what_fills_granules_is_still_taken_out),
		TEST(what_waits_is_settled_by_what_goes_the_short_way),
		TEST(bus_addresses_that_are_needed_are_given_up),
		TEST(too_few_bus_addresses_or_a_failure_leave_the_long_way),
		TEST(a_pool_that_cannot_be_taken_out_is_quarantined_whole),
		TEST(what_a_pool_grew_by_goes_the_short_way_too),
		TEST(both_ways_come_to_the_same),
		TEST(few_bytes_are_copied_and_none_beside_them),
		TEST(what_is_at_hand_is_there_for_longer_runs),
		TEST(live_mappings_have_slots_of_their_own),
		TEST(a_slot_at_hand_answers_as_ever),
		TEST(what_is_wrong_is_answered_as_ever),
		TEST(a_mapping_of_the_short_way_is_synced_in_parts),
		TEST(a_run_keeps_the_low_bits_that_cost_no_slot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
