/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_domain_iommu.c - what an IOMMU domain maps, and how long the device reaches it (tests/support/iommu_rig.h).
 */
#include "tests/support/iommu_rig.h"

/* ---- what a mapping is ---- */

static bool memory_that_scatters_becomes_one_segment(void)
{
	const struct viodma_buffer buffers[] = {{{RIG_FAR}, 2 * GRANULE},
						{{RIG_HERE + 5 * GRANULE}, GRANULE},
						{{RIG_HERE + 6 * GRANULE}, GRANULE},
						{{RIG_NEXT}, 3 * GRANULE}};

	CHECK(start(IOMMU, VIODMA_IOMMU_STRICT, 0));
	CHECK_RESULT(map(buffers, 4, VIODMA_TO_DEVICE), VIODMA_OK);
	CHECK_EQUAL(mapping.segment_count, 1);
	CHECK_EQUAL(segments[0].len_bytes, 7 * GRANULE);
	CHECK(segments[0].bus.v != RIG_FAR);
	CHECK_EQUAL(model.maps, 3); /* what adjoins in memory is entered with one call */
	CHECK_EQUAL(rig.domain.statistics.in_place, 7 * GRANULE);
	CHECK_EQUAL(rig.domain.statistics.bounced, 0);
	CHECK_EQUAL(rig.domain.statistics.iommu.mapped_bytes, 7 * GRANULE);
	CHECK(device_reads_all(buffers, 4) && reaches_only(buffers, 4));
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	CHECK_EQUAL(rig.domain.statistics.iommu.mapped_bytes_peak, 7 * GRANULE);
	CHECK_EQUAL(model.unmaps, 1);
	return nothing_is_left();
}

static bool one_shape(uint32_t first, uint32_t len_bytes)
{
	/* In the middle of memory; and a second buffer, at another place in its granule. */
	const struct viodma_buffer buffers[] = {{{RIG_HERE + 8 * GRANULE + first}, len_bytes},
						{{RIG_FAR + GRANULE + 100}, len_bytes}};

	CHECK_RESULT(map(buffers, 2, VIODMA_TO_DEVICE), VIODMA_OK);
	iommu_model_cache_all(&model);
	CHECK_EQUAL(mapping.segment_count, 2);
	CHECK_EQUAL(segments[0].bus.v % GRANULE, first % GRANULE);
	CHECK(device_reads_all(buffers, 2) && reaches_only(buffers, 2));
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	CHECK_RESULT(map(buffers, 2, VIODMA_FROM_DEVICE), VIODMA_OK);
	iommu_model_cache_all(&model);
	CHECK(reaches_only(buffers, 2));
	return device_writes_all(buffers, 2);
}

static bool no_neighbouring_byte_comes_into_reach(void)
{
	static const uint32_t firsts[] = {0, 1, 512, GRANULE - 1};
	static const uint32_t lengths[] = {1, 511, GRANULE - 1, GRANULE, GRANULE + 1,
					   2 * GRANULE, 2 * GRANULE + 700, 4 * GRANULE};
	unsigned i, k;

	for (i = 0; i < 4; i++)
		for (k = 0; k < 8; k++) {
			CHECK(start(IOMMU, VIODMA_IOMMU_STRICT, 16));
			CHECK(one_shape(firsts[i], lengths[k]) && nothing_is_left());
		}
	return true;
}

static bool only_the_ends_of_a_buffer_go_through_the_pool(void)
{
	const struct viodma_buffer buffer = {{RIG_HERE + 100}, 4 * GRANULE};

	CHECK(start(IOMMU, VIODMA_IOMMU_STRICT, 16));
	CHECK_RESULT(map(&buffer, 1, VIODMA_BIDIRECTIONAL), VIODMA_OK);
	CHECK_EQUAL(mapping.segment_count, 1);
	CHECK_EQUAL(rig.domain.statistics.in_place, 3 * GRANULE);
	CHECK_EQUAL(rig.domain.statistics.bounced, GRANULE);
	CHECK_EQUAL(rig.pool.statistics.used_bytes, 2 * GRANULE);
	CHECK(device_reads_all(&buffer, 1) && device_writes_all(&buffer, 1));
	return nothing_is_left();
}

static bool a_buffer_that_fills_no_granule_takes_one_run(void)
{
	const struct viodma_buffer buffer = {{RIG_HERE + GRANULE - 100}, 200};

	CHECK(prepare(IOMMU, VIODMA_IOMMU_STRICT, 0));
	CHECK_RESULT(dma_rig_add_pool(&rig, 2 * GRANULE, 0, 0), VIODMA_OK);
	CHECK_RESULT(dma_rig_add_domain(&rig, VIODMA_ADDRESSING_PLATFORM), VIODMA_OK);
	CHECK_RESULT(map(&buffer, 1, VIODMA_BIDIRECTIONAL), VIODMA_OK);
	CHECK_EQUAL(rig.pool.statistics.used_bytes, 2 * GRANULE);
	CHECK_EQUAL(mapping.segment_count, 1);
	CHECK(device_reads_all(&buffer, 1) && reaches_only(NULL, 0) && device_writes_all(&buffer, 1));
	return nothing_is_left();
}

static bool buffers_that_adjoin_in_memory_are_cut_as_one(void)
{
	/* The second granule is filled by the end of one and the beginning of the next. */
	const struct viodma_buffer buffers[] = {{{RIG_HERE}, GRANULE + 512}, {{RIG_HERE + GRANULE + 512}, GRANULE},
						{{RIG_HERE + 2 * GRANULE + 512}, 512}};

	CHECK(start(IOMMU, VIODMA_IOMMU_STRICT, 16));
	CHECK_RESULT(map(buffers, 3, VIODMA_BIDIRECTIONAL), VIODMA_OK);
	CHECK_EQUAL(mapping.segment_count, 1);
	CHECK_EQUAL(rig.domain.statistics.bounced, 1024);
	CHECK(device_reads_all(buffers, 3) && reaches_only(buffers, 3) && device_writes_all(buffers, 3));
	return nothing_is_left();
}

/* Both runs of the pool hold parts of two buffers. Every maintenance too few or too many loses bytes (dma_rig.h). */
static bool a_run_that_two_buffers_share_is_coherent(void)
{
	const struct viodma_buffer buffers[] = {{{RIG_HERE + 300}, 100}, {{RIG_HERE + 400}, 2 * GRANULE},
						{{RIG_HERE + 400 + 2 * GRANULE}, 64}};
	static unsigned char put[2 * GRANULE + 164];
	unsigned char *before, *after;
	unsigned k;

	CHECK(start(IOMMU " non-coherent line=64", VIODMA_IOMMU_STRICT, 16));
	CHECK_RESULT(map(buffers, 3, VIODMA_BIDIRECTIONAL), VIODMA_OK);
	before = dma_rig_at(&rig, RIG_HERE + 299);
	after = dma_rig_at(&rig, RIG_HERE + 464 + 2 * GRANULE);
	/* The driver's own, in the same lines as what is mapped, but not in the same as what the device is given. */
	*before = 1;
	*after = 2;
	CHECK(device_reads_all(buffers, 3));
	memset(put, 0x77, sizeof(put));
	CHECK(dma_rig_device_writes(&rig, segments, mapping.segment_count, 0, put, sizeof(put)));
	CHECK_RESULT(viodma_domain_unmap(&mapping, sizeof(put)), VIODMA_OK);
	for (k = 0; k < sizeof(put); k++)
		CHECK_EQUAL(*dma_rig_at(&rig, RIG_HERE + 300 + k), 0x77);
	CHECK_EQUAL(*before, 1);
	CHECK_EQUAL(*after, 2);
	return nothing_is_left();
}

static bool the_permission_is_the_direction(void)
{
	const struct viodma_buffer buffer = {{RIG_HERE}, GRANULE};
	uint64_t phys;
	unsigned i;

	CHECK(start(IOMMU, VIODMA_IOMMU_STRICT, 4));
	for (i = VIODMA_TO_DEVICE; i <= VIODMA_BIDIRECTIONAL; i++) {
		CHECK_RESULT(map(&buffer, 1, (enum viodma_direction)i), VIODMA_OK);
		CHECK_EQUAL(iommu_model_translate(&model, segments[0].bus.v, VIODMA_READ, &phys), (i & VIODMA_READ) != 0);
		CHECK_EQUAL(iommu_model_translate(&model, segments[0].bus.v, VIODMA_WRITE, &phys), (i & VIODMA_WRITE) != 0);
		CHECK(!iommu_model_translate(&model, segments[0].bus.v - 1, VIODMA_READ, &phys));
		CHECK(!iommu_model_translate(&model, segments[0].bus.v + GRANULE, VIODMA_READ, &phys));
		CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	}
	return nothing_is_left();
}

/* ---- a platform that is restricted as well ---- */

static bool private_memory_is_never_entered_on_a_restricted_platform(void)
{
	/* Whole granules, but not the pool's; more than a run holds, then few bytes. */
	const struct viodma_buffer buffers[] = {{{RIG_HERE + GRANULE + 100}, 4 * GRANULE}, {{RIG_FAR + 17}, 5}};

	CHECK(prepare(BOUNCE_IOMMU, VIODMA_IOMMU_STRICT, 0));
	CHECK_RESULT(dma_rig_add_pool(&rig, GRANULE, 2 * GRANULE, 0), VIODMA_OK);
	CHECK_RESULT(dma_rig_add_domain(&rig, VIODMA_ADDRESSING_PLATFORM), VIODMA_OK);
	CHECK_EQUAL(rig.domain.kind, VIODMA_DOMAIN_BOUNCE_IOMMU);
	CHECK_RESULT(map(buffers, 2, VIODMA_TO_DEVICE), VIODMA_OK);
	CHECK_EQUAL(mapping.segment_count, 2); /* three runs, one range */
	CHECK(reaches_only(NULL, 0) && device_reads_all(buffers, 2));
	CHECK_EQUAL(iommu_model_entered(&model), 6);
	CHECK_EQUAL(model.maps, 1); /* the runs adjoin */
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	CHECK_RESULT(map(buffers, 2, VIODMA_FROM_DEVICE), VIODMA_OK);
	CHECK(reaches_only(NULL, 0) && device_writes_all(buffers, 2));
	return nothing_is_left();
}

static bool whole_granules_of_the_pool_are_entered_where_they_lie(void)
{
	const struct viodma_buffer whole = {{RIG_POOL + 9 * GRANULE}, 2 * GRANULE}, part = {{RIG_POOL + 9 * GRANULE}, 100};

	CHECK(start(BOUNCE_IOMMU, VIODMA_IOMMU_STRICT, 64));
	CHECK_RESULT(map(&whole, 1, VIODMA_TO_DEVICE), VIODMA_OK);
	CHECK_EQUAL(rig.pool.statistics.used_bytes, 0);
	CHECK_EQUAL(rig.domain.statistics.in_place, 2 * GRANULE);
	CHECK(device_reads_all(&whole, 1));
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	CHECK_RESULT(map(&part, 1, VIODMA_TO_DEVICE), VIODMA_OK);
	CHECK_EQUAL(rig.pool.statistics.used_bytes, GRANULE);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	return nothing_is_left();
}

static unsigned char more_storage[VIODMA_POOL_STORAGE_BYTES(RIG_RING_BYTES, GRANULE)] __attribute__((aligned(16)));

/* The ring's memory, larger than what the pool began with. */
static bool grow(void *context, struct viodma_pool *pool, uint64_t wanted_bytes)
{
	(void)context;
	(void)wanted_bytes;
	return viodma_pool_add(pool, &rig.objects[3], more_storage, sizeof(more_storage)) == VIODMA_OK;
}

static bool a_pool_that_grows_while_a_mapping_is_made_serves_it(void)
{
	const struct viodma_buffer buffers[] = {{{RIG_HERE}, 2 * GRANULE}, {{RIG_FAR}, 5 * GRANULE}};

	CHECK(prepare("kind=iommu granule=4096 restricted", VIODMA_IOMMU_STRICT, 0));
	rig.pool_config.grow = grow;
	CHECK_RESULT(dma_rig_add_pool(&rig, GRANULE, 8 * GRANULE, 3 * GRANULE), VIODMA_OK);
	CHECK_RESULT(dma_rig_add_domain(&rig, VIODMA_ADDRESSING_PLATFORM), VIODMA_OK);
	CHECK_RESULT(map(buffers, 2, VIODMA_BIDIRECTIONAL), VIODMA_OK);
	CHECK_EQUAL(rig.pool.chunk_count, 2);
	CHECK(device_reads_all(buffers, 2) && device_writes_all(buffers, 2));
	return nothing_is_left();
}

/* ---- limits of the platform ---- */

static bool segments_keep_to_the_platforms_limits(void)
{
	const struct viodma_buffer buffers[] = {{{RIG_HERE}, 9 * GRANULE}, {{RIG_FAR + 8}, 100},
						{{RIG_FAR + 0x3001}, 2 * GRANULE}};

	/* The device rig refuses segments that break a limit. */
	CHECK(start(IOMMU " max-segment=8K boundary=16K align=8 window=0x10000+1M", VIODMA_IOMMU_STRICT, 16));
	CHECK(rig.domain.iova_base.v >= 0x10000 && rig.domain.iova_base.v < 0x10000 + 0x100000);
	CHECK_RESULT(map(buffers, 3, VIODMA_TO_DEVICE), VIODMA_OK);
	CHECK(device_reads_all(buffers, 3) && reaches_only(buffers, 3));
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	CHECK_RESULT(map(buffers, 3, VIODMA_FROM_DEVICE), VIODMA_OK);
	CHECK(device_writes_all(buffers, 3));
	/* Too few segments: all is as before. */
	CHECK_RESULT(viodma_domain_map(&rig.domain, &mapping, buffers, 3, VIODMA_TO_DEVICE, segments, 4), VIODMA_E_LIMIT);
	return nothing_is_left();
}

static bool without_a_pool_parts_of_granules_are_unreachable(void)
{
	const struct viodma_buffer whole = {{RIG_HERE}, GRANULE}, part = {{RIG_HERE}, GRANULE + 1};

	CHECK(start(IOMMU, VIODMA_IOMMU_STRICT, 0));
	CHECK_RESULT(map(&part, 1, VIODMA_TO_DEVICE), VIODMA_E_UNREACHABLE);
	CHECK_RESULT(map(&whole, 1, VIODMA_TO_DEVICE), VIODMA_OK);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	return nothing_is_left();
}

static bool a_domain_says_what_it_lacks(void)
{
	static const struct viodma_iommu_ops no_invalidate = {.map = NULL};

	CHECK(prepare(IOMMU, VIODMA_IOMMU_DEFERRED, 4));
	rig.iommu = NULL;
	CHECK_RESULT(dma_rig_add_domain(&rig, VIODMA_ADDRESSING_PLATFORM), VIODMA_E_INVALID);
	rig.iommu = &config;
	config.ops = &no_invalidate;
	CHECK_RESULT(dma_rig_add_domain(&rig, VIODMA_ADDRESSING_PLATFORM), VIODMA_E_INVALID);
	config.ops = &iommu_model_ops;
	config.now_ns = NULL;
	CHECK_RESULT(dma_rig_add_domain(&rig, VIODMA_ADDRESSING_PLATFORM), VIODMA_E_INVALID);
	config.mode = VIODMA_IOMMU_STRICT;
	CHECK_RESULT(dma_rig_add_domain(&rig, VIODMA_ADDRESSING_PLATFORM), VIODMA_OK);
	config.mode = VIODMA_IOMMU_DEFERRED;
	config.now_ns = iommu_model_now;
	config.deferred_max = 0;
	CHECK_RESULT(dma_rig_add_domain(&rig, VIODMA_ADDRESSING_PLATFORM), VIODMA_E_INVALID);
	config.deferred_max = 1;
	config.waiting = NULL;
	CHECK_RESULT(dma_rig_add_domain(&rig, VIODMA_ADDRESSING_PLATFORM), VIODMA_E_INVALID);
	config.waiting = waiting;
	config.storage = NULL;
	CHECK_RESULT(dma_rig_add_domain(&rig, VIODMA_ADDRESSING_PLATFORM), VIODMA_E_INVALID);
	config.storage = storage;
	rig.platform.alignment_bytes = 2 * GRANULE;
	CHECK_RESULT(dma_rig_add_domain(&rig, VIODMA_ADDRESSING_PLATFORM), VIODMA_E_INVALID);
	rig.platform.alignment_bytes = 1;
	rig.platform.granule_bytes = 2 * GRANULE; /* a slot would expose its neighbour */
	CHECK_RESULT(dma_rig_add_domain(&rig, VIODMA_ADDRESSING_PLATFORM), VIODMA_E_INVALID);
	rig.platform.granule_bytes = GRANULE;
	CHECK_RESULT(dma_rig_add_domain(&rig, VIODMA_ADDRESSING_PLATFORM), VIODMA_OK);
	return nothing_is_left();
}

/* ---- memory for rings ---- */

static bool ring_memory_is_entered_and_taken_out_at_once(void)
{
	struct viodma_dma_memory ring, table;
	uint64_t phys;

	CHECK(start(IOMMU, VIODMA_IOMMU_DEFERRED, 16));
	CHECK_RESULT(viodma_domain_alloc(&rig.domain, &ring, 5000, 4096, VIODMA_BIDIRECTIONAL), VIODMA_OK);
	CHECK_RESULT(viodma_domain_alloc(&rig.domain, &table, 16, 16, VIODMA_TO_DEVICE), VIODMA_OK);
	CHECK(ring.bus.v % 4096 == 0 && ring.bus.v != ring.phys.v);
	CHECK(iommu_model_translate(&model, ring.bus.v + 4999, VIODMA_READ_WRITE, &phys));
	CHECK_EQUAL(phys, ring.phys.v + 4999);
	CHECK(iommu_model_translate(&model, table.bus.v, VIODMA_READ, &phys));
	CHECK(!iommu_model_translate(&model, table.bus.v, VIODMA_WRITE, &phys));
	CHECK_EQUAL(iommu_model_entered(&model), 3);
	phys = ring.phys.v;
	CHECK_RESULT(viodma_domain_release(&ring), VIODMA_OK);
	CHECK(!iommu_model_reaches(&model, phys));
	model.fail_map = 1;
	CHECK_RESULT(viodma_domain_alloc(&rig.domain, &ring, 5000, 4096, VIODMA_BIDIRECTIONAL), VIODMA_E_IO);
	CHECK_RESULT(viodma_domain_release(&table), VIODMA_OK);
	return nothing_is_left();
}

/* ---- strict ---- */

static bool after_a_strict_unmap_nothing_is_in_reach(void)
{
	const struct viodma_buffer buffer = {{RIG_HERE + 100}, 3 * GRANULE};
	uint64_t phys;

	CHECK(start(IOMMU, VIODMA_IOMMU_STRICT, 16));
	CHECK_RESULT(map(&buffer, 1, VIODMA_FROM_DEVICE), VIODMA_OK);
	iommu_model_cache_all(&model);
	CHECK(iommu_model_translate(&model, segments[0].bus.v, VIODMA_WRITE, &phys));
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	CHECK(!iommu_model_translate(&model, segments[0].bus.v, VIODMA_WRITE, &phys));
	CHECK(reaches_only(NULL, 0) && !iommu_model_reaches(&model, RIG_POOL));
	CHECK_EQUAL(rig.domain.iova_used, 0);
	CHECK_EQUAL(model.invalidations, 1);
	return nothing_is_left();
}

/* ---- deferred ---- */

/* Map and unmap a buffer that is partly bounced; the device has cached it. */
static bool map_and_unmap(struct viodma_segment *used)
{
	static const struct viodma_buffer buffer = {{RIG_HERE + 100}, 2 * GRANULE};

	CHECK_RESULT(map(&buffer, 1, VIODMA_TO_DEVICE), VIODMA_OK);
	iommu_model_cache_all(&model);
	*used = segments[0];
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	return true;
}

static bool what_waits_is_bounded_in_count(void)
{
	struct viodma_segment used[WAITING];
	uint64_t phys;
	unsigned i, k;

	CHECK(start(IOMMU, VIODMA_IOMMU_DEFERRED, 32));
	for (i = 0; i < WAITING; i++) {
		CHECK_EQUAL(rig.domain.statistics.iommu.waiting, i);
		/* The weaker promise: still in reach, so held, and not used by others. */
		for (k = 0; k < i; k++)
			CHECK(iommu_model_translate(&model, used[k].bus.v, VIODMA_READ, &phys));
		CHECK_EQUAL(rig.pool.statistics.used_bytes, i * 2 * GRANULE);
		CHECK(map_and_unmap(&used[i]));
		for (k = 0; k < i; k++)
			CHECK(used[k].bus.v != used[i].bus.v);
	}
	for (k = 0; k < WAITING; k++)
		CHECK(!iommu_model_translate(&model, used[k].bus.v, VIODMA_READ, &phys));
	CHECK(reaches_only(NULL, 0));
	CHECK_EQUAL(rig.domain.statistics.iommu.waiting, 0);
	CHECK_EQUAL(rig.domain.statistics.iommu.waiting_peak, WAITING);
	CHECK_EQUAL(rig.pool.statistics.used_bytes, 0);
	CHECK_EQUAL(model.all_invalidations, 1);
	CHECK_EQUAL(model.invalidations, 0);
	return nothing_is_left();
}

static bool what_waits_is_bounded_in_time(void)
{
	const struct viodma_buffer other = {{RIG_FAR}, GRANULE};
	struct viodma_segment used;
	unsigned way;
	uint64_t phys;

	CHECK(start(IOMMU, VIODMA_IOMMU_DEFERRED, 32));
	for (way = 0; way < 3; way++) {
		CHECK(map_and_unmap(&used));
		model.now_ns += config.deferred_ns - 1;
		CHECK_RESULT(viodma_domain_settle(&rig.domain, false), VIODMA_OK);
		CHECK(iommu_model_translate(&model, used.bus.v, VIODMA_READ, &phys));
		if (way == 1) { /* the next unmap, which is not due itself */
			CHECK_RESULT(map(&other, 1, VIODMA_TO_DEVICE), VIODMA_OK);
			CHECK(iommu_model_translate(&model, used.bus.v, VIODMA_READ, &phys));
		}
		model.now_ns++;
		if (way == 0) /* the next map */
			CHECK_RESULT(map(&other, 1, VIODMA_TO_DEVICE), VIODMA_OK);
		if (way == 1)
			CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
		if (way == 2)
			CHECK_RESULT(viodma_domain_settle(&rig.domain, false), VIODMA_OK);
		/* After a map the address may be in use again, for something else. */
		CHECK(!iommu_model_translate(&model, used.bus.v, VIODMA_READ, &phys) ||
		      (way == 0 && phys >> 12 == RIG_FAR >> 12));
		CHECK(!iommu_model_reaches(&model, RIG_HERE + GRANULE));
		if (way == 0)
			CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	}
	return nothing_is_left();
}

static bool settling_all_leaves_nothing_in_reach(void)
{
	struct viodma_segment used;

	CHECK(start(IOMMU, VIODMA_IOMMU_DEFERRED, 32));
	CHECK(map_and_unmap(&used) && map_and_unmap(&used));
	CHECK(iommu_model_reaches(&model, RIG_HERE + GRANULE));
	CHECK_RESULT(viodma_domain_settle(&rig.domain, true), VIODMA_OK);
	CHECK(reaches_only(NULL, 0));
	CHECK_RESULT(viodma_domain_settle(&rig.domain, true), VIODMA_OK);
	CHECK_EQUAL(model.all_invalidations, 1);
	return nothing_is_left();
}

/* One range: its own invalidation disturbs nobody else's. Without invalidate_all: each range. */
static bool ranges_are_invalidated_singly_where_that_is_less(void)
{
	struct viodma_segment used;

	CHECK(start(IOMMU, VIODMA_IOMMU_DEFERRED, 32));
	CHECK(map_and_unmap(&used));
	CHECK_RESULT(viodma_domain_settle(&rig.domain, true), VIODMA_OK);
	CHECK_EQUAL(model.invalidations, 1);
	CHECK(nothing_is_left());
	CHECK(prepare(IOMMU, VIODMA_IOMMU_DEFERRED, 32));
	config.ops = &iommu_model_ops_by_range;
	CHECK_RESULT(dma_rig_add_domain(&rig, VIODMA_ADDRESSING_PLATFORM), VIODMA_OK);
	CHECK(map_and_unmap(&used) && map_and_unmap(&used) && map_and_unmap(&used));
	CHECK_RESULT(viodma_domain_settle(&rig.domain, true), VIODMA_OK);
	CHECK_EQUAL(model.invalidations, 3);
	CHECK(reaches_only(NULL, 0));
	return nothing_is_left();
}

/* ---- no room ---- */

static bool no_bus_addresses_is_exhaustion_until_an_unmap(void)
{
	const struct viodma_buffer half = {{RIG_HERE}, 32 * GRANULE}, whole = {{RIG_HERE}, 33 * GRANULE},
				   huge[2] = {{{RIG_HERE}, 64 * GRANULE}, {{RIG_HERE}, GRANULE}};
	struct viodma_mapping other, third;
	struct viodma_segment one[1], two[1];

	CHECK(prepare(IOMMU, VIODMA_IOMMU_STRICT, 0));
	config.granules = 64;
	CHECK_RESULT(dma_rig_add_domain(&rig, VIODMA_ADDRESSING_PLATFORM), VIODMA_OK);
	CHECK_RESULT(map(huge, 2, VIODMA_TO_DEVICE), VIODMA_E_LIMIT);
	CHECK_RESULT(map(&half, 1, VIODMA_TO_DEVICE), VIODMA_OK);
	CHECK_RESULT(viodma_domain_map(&rig.domain, &other, &whole, 1, VIODMA_TO_DEVICE, one, 1), VIODMA_E_EXHAUSTED);
	CHECK_EQUAL(rig.domain.statistics.exhausted, 1);
	CHECK_EQUAL(rig.domain.statistics.iommu.failures, 2);
	CHECK_RESULT(viodma_domain_map(&rig.domain, &other, &half, 1, VIODMA_TO_DEVICE, one, 1), VIODMA_OK);
	CHECK_RESULT(viodma_domain_map(&rig.domain, &third, &half, 1, VIODMA_TO_DEVICE, two, 1), VIODMA_E_EXHAUSTED);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	CHECK_RESULT(viodma_domain_map(&rig.domain, &third, &half, 1, VIODMA_TO_DEVICE, two, 1), VIODMA_OK);
	CHECK_RESULT(viodma_domain_unmap(&other, 0), VIODMA_OK);
	CHECK_RESULT(viodma_domain_unmap(&third, 0), VIODMA_OK);
	return nothing_is_left();
}

static bool what_waits_is_settled_when_room_is_short(void)
{
	const struct viodma_buffer buffer = {{RIG_HERE + 1}, 2 * GRANULE}, large = {{RIG_HERE}, 16 * GRANULE};
	struct viodma_dma_memory ring;
	unsigned i;

	CHECK(prepare(IOMMU, VIODMA_IOMMU_DEFERRED, 2)); /* slots for one mapping at a time */
	config.granules = 16;
	CHECK_RESULT(dma_rig_add_domain(&rig, VIODMA_ADDRESSING_PLATFORM), VIODMA_OK);
	for (i = 0; i < 3; i++) {
		CHECK_RESULT(map(&buffer, 1, VIODMA_TO_DEVICE), VIODMA_OK);
		CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	}
	CHECK_EQUAL(model.invalidations, 2);
	CHECK_RESULT(map(&large, 1, VIODMA_TO_DEVICE), VIODMA_OK); /* all addresses */
	CHECK_EQUAL(model.invalidations, 3);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	/* For rings, too: slots are free, addresses are not. */
	CHECK_RESULT(viodma_domain_alloc(&rig.domain, &ring, 100, 64, VIODMA_BIDIRECTIONAL), VIODMA_OK);
	CHECK_EQUAL(model.invalidations, 4);
	CHECK_RESULT(viodma_domain_release(&ring), VIODMA_OK);
	return nothing_is_left();
}

HOLDS(memory_that_scatters_becomes_one_segment)
BEHAVIOUR(no_neighbouring_byte_comes_into_reach, "DRV-19")
HOLDS(only_the_ends_of_a_buffer_go_through_the_pool)
HOLDS(a_buffer_that_fills_no_granule_takes_one_run)
HOLDS(buffers_that_adjoin_in_memory_are_cut_as_one)
HOLDS(a_run_that_two_buffers_share_is_coherent)
HOLDS(the_permission_is_the_direction)
BEHAVIOUR(private_memory_is_never_entered_on_a_restricted_platform, "DRV-2")
HOLDS(whole_granules_of_the_pool_are_entered_where_they_lie)
HOLDS(a_pool_that_grows_while_a_mapping_is_made_serves_it)
HOLDS(segments_keep_to_the_platforms_limits)
HOLDS(without_a_pool_parts_of_granules_are_unreachable)
HOLDS(a_domain_says_what_it_lacks)
HOLDS(ring_memory_is_entered_and_taken_out_at_once)
HOLDS(after_a_strict_unmap_nothing_is_in_reach)
HOLDS(what_waits_is_bounded_in_count)
HOLDS(what_waits_is_bounded_in_time)
HOLDS(settling_all_leaves_nothing_in_reach)
HOLDS(ranges_are_invalidated_singly_where_that_is_less)
HOLDS(no_bus_addresses_is_exhaustion_until_an_unmap)
HOLDS(what_waits_is_settled_when_room_is_short)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(memory_that_scatters_becomes_one_segment),
		WITH_MUTANT(no_neighbouring_byte_comes_into_reach),
		TEST(only_the_ends_of_a_buffer_go_through_the_pool),
		TEST(a_buffer_that_fills_no_granule_takes_one_run),
		TEST(buffers_that_adjoin_in_memory_are_cut_as_one),
		TEST(a_run_that_two_buffers_share_is_coherent),
		TEST(the_permission_is_the_direction),
		WITH_MUTANT(private_memory_is_never_entered_on_a_restricted_platform),
		TEST(whole_granules_of_the_pool_are_entered_where_they_lie),
		TEST(a_pool_that_grows_while_a_mapping_is_made_serves_it),
		TEST(segments_keep_to_the_platforms_limits),
		TEST(without_a_pool_parts_of_granules_are_unreachable),
		TEST(a_domain_says_what_it_lacks),
		TEST(ring_memory_is_entered_and_taken_out_at_once),
		TEST(after_a_strict_unmap_nothing_is_in_reach),
		TEST(what_waits_is_bounded_in_count),
		TEST(what_waits_is_bounded_in_time),
		TEST(settling_all_leaves_nothing_in_reach),
		TEST(ranges_are_invalidated_singly_where_that_is_less),
		TEST(no_bus_addresses_is_exhaustion_until_an_unmap),
		TEST(what_waits_is_settled_when_room_is_short),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
