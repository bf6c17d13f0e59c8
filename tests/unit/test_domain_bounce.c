/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_domain_bounce.c - domains that go through a pool: always, on a restricted platform, or where the device does not
 * reach a buffer.
 *
 * How it works: the device's side of the rig reaches the pool only. All memory around buffers has its pattern, and must
 * keep it; a canary stands for what is private, and must be nowhere in the pool.
 */
#include "tests/support/dma_rig.h"

#define SECURE "kind=offset window=0x50000000+256K@0x8000000000 restricted pool=0x50000000+256K"
#define POOL_BUS 0x8000000000u
#define CANARY 0xc5

static struct dma_rig rig;
static struct viodma_mapping mapping;
static struct viodma_segment segments[256];
static unsigned char bytes[0x20000], seen[0x20000];

static bool start_with(const char *platform, uint32_t slot_bytes, uint32_t run_bytes, uint64_t pool_bytes)
{
	CHECK(dma_rig_start(&rig, platform));
	CHECK_RESULT(dma_rig_add_pool(&rig, slot_bytes, run_bytes, pool_bytes), VIODMA_OK);
	CHECK_RESULT(dma_rig_add_domain(&rig, VIODMA_ADDRESSING_PLATFORM), VIODMA_OK);
	return true;
}

static bool start(void)
{
	return start_with(SECURE, 512, 4096, 0);
}

static enum viodma_result map(const struct viodma_buffer *buffers, uint32_t count, enum viodma_direction direction)
{
	return viodma_domain_map(&rig.domain, &mapping, buffers, count, direction, segments, 256);
}

static bool device_reads(uint64_t offset, uint64_t len_bytes)
{
	return dma_rig_device_reads(&rig, segments, mapping.segment_count, offset, seen, len_bytes);
}

static bool device_writes(uint64_t offset, uint64_t len_bytes)
{
	uint64_t k;

	for (k = 0; k < len_bytes; k++)
		bytes[k] = (unsigned char)((offset + k) * 29 + 3);
	return dma_rig_device_writes(&rig, segments, mapping.segment_count, offset, bytes, len_bytes);
}

/* Position k of these buffers, as the processor sees it. */
static unsigned char *at(const struct viodma_buffer *buffers, uint64_t k)
{
	while (k >= buffers->len_bytes)
		k -= buffers++->len_bytes;
	return dma_rig_at(&rig, buffers->phys.v + k);
}

static unsigned char pattern_at(const struct viodma_buffer *buffers, uint64_t k)
{
	while (k >= buffers->len_bytes)
		k -= buffers++->len_bytes;
	return dma_rig_pattern(buffers->phys.v + k);
}

static bool the_device_reads_what_the_driver_wrote(void)
{
	static const struct viodma_buffer buffers[] = {
		{{RIG_HERE + 0x123}, 1000}, {{RIG_FAR + 1}, 3}, {{RIG_NEXT - 700}, 1500},
	};
	uint64_t k;

	CHECK(start());
	CHECK_EQUAL(rig.domain.kind, VIODMA_DOMAIN_BOUNCE);
	CHECK(viodma_domain_needs_sync(&rig.domain));
	CHECK_RESULT(map(buffers, 3, VIODMA_TO_DEVICE), VIODMA_OK);
	CHECK(device_reads(0, 2503));
	for (k = 0; k < 2503; k++)
		CHECK_EQUAL(seen[k], pattern_at(buffers, k));
	CHECK(segments[0].bus.v >= POOL_BUS && segments[0].permission == VIODMA_READ);
	CHECK(!device_writes(0, 1));
	memset(rig.objects[2].memory, 0xee, RIG_POOL_BYTES); /* and what it does there all the same stays there */
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	CHECK(dma_rig_rest_is_intact(&rig, NULL, 0));
	CHECK_EQUAL(rig.domain.statistics.bounced, 2503);
	CHECK_EQUAL(rig.domain.statistics.in_place, 0);
	CHECK_EQUAL(rig.pool.statistics.copied_in_bytes, 2503);
	CHECK_EQUAL(rig.pool.statistics.copied_out_bytes, 0);
	return dma_rig_end(&rig);
}

static bool only_what_was_written_comes_back(void)
{
	static const struct viodma_buffer buffers[] = {
		{{RIG_HERE + 0x123}, 1000}, {{RIG_NEXT - 700}, 1500}, {{RIG_FAR + 1}, 9000},
	};
	static const uint64_t written[] = {0, 1, 999, 1000, 1001, 1700, 2500, 6595, 6596, 6597, 11499, 11500};
	uint64_t k;
	unsigned i;

	for (i = 0; i < sizeof(written) / sizeof(written[0]); i++) {
		CHECK(start());
		CHECK_RESULT(map(buffers, 3, VIODMA_FROM_DEVICE), VIODMA_OK);
		CHECK(device_writes(0, 11500));
		CHECK(!device_reads(0, 1));
		CHECK_RESULT(viodma_domain_unmap(&mapping, written[i]), VIODMA_OK);
		for (k = 0; k < 11500; k++)
			CHECK_EQUAL(*at(buffers, k), k < written[i] ? bytes[k] : pattern_at(buffers, k));
		CHECK(dma_rig_rest_is_intact(&rig, buffers, 3));
		CHECK_EQUAL(rig.pool.statistics.copied_in_bytes, 0);
		CHECK_EQUAL(rig.pool.statistics.copied_out_bytes, written[i]);
		CHECK(dma_rig_end(&rig));
	}
	return true;
}

static bool more_written_than_mapped_copies_all_and_says_so(void)
{
	static const struct viodma_buffer buffer = {{RIG_HERE}, 100};
	uint64_t k;

	CHECK(start());
	CHECK_RESULT(map(&buffer, 1, VIODMA_FROM_DEVICE), VIODMA_OK);
	CHECK(device_writes(0, 100));
	CHECK_RESULT(viodma_domain_unmap(&mapping, UINT64_MAX), VIODMA_E_INVALID);
	for (k = 0; k < 100; k++)
		CHECK_EQUAL(*at(&buffer, k), bytes[k]);
	CHECK(mapping.domain == NULL);
	CHECK(dma_rig_rest_is_intact(&rig, &buffer, 1));
	return dma_rig_end(&rig);
}

static bool a_buffer_both_halves_write_is_synced_in_parts(void)
{
	static const struct viodma_buffer buffers[] = {{{RIG_HERE + 9}, 3000}, {{RIG_FAR}, 3000}};
	uint64_t k;

	CHECK(start());
	CHECK_RESULT(map(buffers, 2, VIODMA_BIDIRECTIONAL), VIODMA_OK);
	CHECK(device_reads(0, 6000));
	for (k = 0; k < 6000; k++)
		CHECK_EQUAL(seen[k], pattern_at(buffers, k));
	/* The driver changes all; the device is shown the middle. */
	for (k = 0; k < 6000; k++)
		*at(buffers, k) = 0x11;
	viodma_domain_sync_for_device(&mapping, 1000, 4000);
	CHECK(device_reads(0, 6000));
	for (k = 0; k < 6000; k++)
		CHECK_EQUAL(seen[k], k >= 1000 && k < 5000 ? 0x11 : pattern_at(buffers, k));
	/* The device changes all; the driver looks at the middle. */
	CHECK(device_writes(0, 6000));
	viodma_domain_sync_for_driver(&mapping, 2999, 2);
	for (k = 0; k < 6000; k++)
		CHECK_EQUAL(*at(buffers, k), k == 2999 || k == 3000 ? bytes[k] : 0x11);
	viodma_domain_sync_for_driver(&mapping, 5999, UINT64_MAX);
	CHECK_EQUAL(*at(buffers, 5999), bytes[5999]);
	viodma_domain_sync_for_driver(&mapping, 6000, 1);
	viodma_domain_sync_for_driver(&mapping, UINT64_MAX, 1);
	viodma_domain_sync_for_device(&mapping, UINT64_MAX, UINT64_MAX);
	CHECK_EQUAL(*at(buffers, 0), 0x11);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 1), VIODMA_OK);
	CHECK_EQUAL(*at(buffers, 0), bytes[0]);
	CHECK_EQUAL(*at(buffers, 1), 0x11);
	CHECK(dma_rig_rest_is_intact(&rig, buffers, 2));
	return dma_rig_end(&rig);
}

static bool syncs_against_the_direction_do_nothing(void)
{
	static const struct viodma_buffer buffer = {{RIG_HERE}, 64};

	CHECK(start());
	CHECK_RESULT(map(&buffer, 1, VIODMA_TO_DEVICE), VIODMA_OK);
	memset(rig.objects[2].memory, 0xee, 512);
	viodma_domain_sync_for_driver(&mapping, 0, 64);
	CHECK(dma_rig_rest_is_intact(&rig, NULL, 0));
	CHECK_RESULT(viodma_domain_unmap(&mapping, 64), VIODMA_OK);
	CHECK(dma_rig_rest_is_intact(&rig, NULL, 0));
	CHECK_RESULT(map(&buffer, 1, VIODMA_FROM_DEVICE), VIODMA_OK);
	viodma_domain_sync_for_device(&mapping, 0, 64);
	CHECK_EQUAL(*(unsigned char *)rig.objects[2].memory, 0xee);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	viodma_domain_sync_for_driver(&mapping, 0, 64); /* not live */
	viodma_domain_sync_for_device(&mapping, 0, 64);
	CHECK(dma_rig_rest_is_intact(&rig, NULL, 0));
	return dma_rig_end(&rig);
}

static bool no_private_byte_is_in_the_pool(void)
{
	struct viodma_buffer buffers[] = {{{RIG_HERE + 0x321}, 5000}, {{RIG_NEXT + 700}, 1}, {{RIG_FAR}, 513}};
	unsigned i;

	CHECK(start());
	for (i = 0; i < RIG_OBJECTS; i++)
		if (i != 2)
			memset(rig.objects[i].memory, CANARY, rig.objects[i].len_bytes);
	for (i = 0; i < 3; i++)
		memset(dma_rig_at(&rig, buffers[i].phys.v), 0x44, buffers[i].len_bytes);
	CHECK_RESULT(map(buffers, 3, VIODMA_BIDIRECTIONAL), VIODMA_OK);
	CHECK(dma_rig_pool_has(&rig, 0x44));
	CHECK(!dma_rig_pool_has(&rig, CANARY));
	viodma_domain_sync_for_device(&mapping, 0, UINT64_MAX);
	CHECK(!dma_rig_pool_has(&rig, CANARY));
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	/* What the device may not read is not copied in at all. */
	buffers[0].phys.v = RIG_HERE + 0x8000;
	CHECK_RESULT(map(buffers, 1, VIODMA_FROM_DEVICE), VIODMA_OK);
	CHECK(!dma_rig_pool_has(&rig, CANARY));
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	return dma_rig_end(&rig);
}

static bool the_offset_in_a_granule_is_kept(void)
{
	static const struct viodma_buffer buffers[] = {{{RIG_HERE + 0x12f3}, 10000}, {{RIG_HERE + 0x7e01}, 20}};

	CHECK(start_with("kind=offset granule=1K window=0x50000000+256K@0x8000000000 restricted", 2048, 4096, 0));
	CHECK_RESULT(map(buffers, 2, VIODMA_TO_DEVICE), VIODMA_OK);
	CHECK_EQUAL(segments[0].bus.v & 1023, 0x2f3);
	CHECK_EQUAL(segments[0].len_bytes, 10000); /* three runs, which happen to adjoin */
	CHECK_EQUAL(rig.pool.statistics.allocations, 4);
	CHECK_EQUAL(segments[1].bus.v & 1023, 0x201);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	CHECK(dma_rig_end(&rig));
	/* ... but no slots are taken for what lies before it. */
	CHECK(start_with("kind=offset granule=4K window=0x50000000+256K@0x8000000000 restricted", 512, 4096, 0));
	CHECK_RESULT(map(buffers + 1, 1, VIODMA_TO_DEVICE), VIODMA_OK);
	CHECK_EQUAL(segments[0].bus.v & 511, 1);
	CHECK_EQUAL(rig.pool.statistics.used_bytes, 512);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	return dma_rig_end(&rig);
}

static bool segments_begin_where_the_device_can_begin(void)
{
	static const struct viodma_buffer odd = {{RIG_HERE + 0x104}, 100}, even = {{RIG_HERE + 0x140}, 100};
	struct viodma_segment part;
	struct viodma_limits limits;
	uint32_t count;
	uint64_t k;

	/* Everything is in reach, but not every place to begin at. */
	CHECK(start_with("kind=offset align=64 granule=512 window=0x40000000+512M@0x8000000000 "
			 "window=0x900000000+128K@0", 1024, 4096, 0));
	CHECK_EQUAL(rig.domain.kind, VIODMA_DOMAIN_OFFSET);
	viodma_domain_limits(&rig.domain, &limits);
	CHECK_EQUAL(limits.alignment_bytes, 64);
	CHECK_RESULT(map(&odd, 1, VIODMA_BIDIRECTIONAL), VIODMA_OK);
	CHECK_EQUAL(segments[0].bus.v & 63, 0);
	CHECK_EQUAL(rig.domain.statistics.bounced, 100);
	CHECK(device_reads(0, 100));
	for (k = 0; k < 100; k++)
		CHECK_EQUAL(seen[k], pattern_at(&odd, k));
	CHECK_RESULT(viodma_mapping_segments(&mapping, 1, 4, VIODMA_READ, &part, 1, &count), VIODMA_E_INVALID);
	CHECK_RESULT(viodma_mapping_segments(&mapping, 64, 4, VIODMA_READ, &part, 1, &count), VIODMA_OK);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	CHECK_RESULT(map(&even, 1, VIODMA_TO_DEVICE), VIODMA_OK);
	CHECK_EQUAL(segments[0].bus.v, POOL_BUS + 0x140);
	CHECK_EQUAL(rig.domain.statistics.in_place, 100);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	return dma_rig_end(&rig);
}

static bool only_what_is_out_of_reach_is_bounced(void)
{
	static const struct viodma_buffer buffers[] = {{{RIG_HERE}, 1000}, {{RIG_FAR + 10}, 1000}, {{RIG_NEXT}, 1000}};
	uint64_t k;

	CHECK(start_with("kind=direct width=32", 0, 0, 0));
	CHECK_EQUAL(rig.domain.kind, VIODMA_DOMAIN_BOUNCE);
	CHECK_RESULT(map(buffers, 3, VIODMA_BIDIRECTIONAL), VIODMA_OK);
	CHECK_EQUAL(mapping.segment_count, 3);
	CHECK_EQUAL(segments[0].bus.v, RIG_HERE);
	CHECK(segments[1].bus.v >= RIG_POOL && segments[1].bus.v < RIG_POOL + RIG_POOL_BYTES);
	CHECK_EQUAL(segments[2].bus.v, RIG_NEXT);
	CHECK_EQUAL(rig.domain.statistics.bounced, 1000);
	CHECK_EQUAL(rig.domain.statistics.in_place, 2000);
	CHECK(device_reads(0, 3000));
	for (k = 0; k < 3000; k++)
		CHECK_EQUAL(seen[k], pattern_at(buffers, k));
	CHECK(device_writes(0, 3000));
	CHECK_RESULT(viodma_domain_unmap(&mapping, 3000), VIODMA_OK);
	for (k = 0; k < 3000; k++)
		CHECK_EQUAL(*at(buffers, k), bytes[k]);
	CHECK(dma_rig_rest_is_intact(&rig, buffers, 3));
	return dma_rig_end(&rig);
}

static bool what_lies_in_the_pool_is_not_copied(void)
{
	static const struct viodma_buffer within = {{RIG_POOL + 0x3000}, 5000}, over = {{RIG_POOL + RIG_POOL_BYTES - 1}, 2};

	CHECK(start());
	CHECK_RESULT(map(&within, 1, VIODMA_BIDIRECTIONAL), VIODMA_OK);
	CHECK_EQUAL(mapping.segment_count, 1);
	CHECK_EQUAL(segments[0].bus.v, POOL_BUS + 0x3000);
	CHECK_EQUAL(rig.pool.statistics.used_bytes, 0);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 5000), VIODMA_OK);
	CHECK_EQUAL(rig.pool.statistics.copied_in_bytes + rig.pool.statistics.copied_out_bytes, 0);
	CHECK_RESULT(map(&over, 1, VIODMA_BIDIRECTIONAL), VIODMA_E_INVALID);
	return dma_rig_end(&rig);
}

static bool on_a_restricted_platform_nothing_else_is_used_in_place(void)
{
	/* HERE has a bus address, too: the window is larger than what devices are let into. With a limit, it takes the long way. */
	static const char *const platforms[] = {
		"kind=offset window=0x40000000+512M@0x8000000000 restricted pool=0x50000000+256K",
		"kind=offset window=0x40000000+512M@0x8000000000 restricted pool=0x50000000+256K max-segment=4K",
	};
	static const struct viodma_buffer buffer = {{RIG_HERE}, 64};
	unsigned i;

	for (i = 0; i < 2; i++) {
		CHECK(start_with(platforms[i], 0, 0, 0));
		CHECK_EQUAL(rig.domain.straight, !i);
		CHECK_RESULT(map(&buffer, 1, VIODMA_TO_DEVICE), VIODMA_OK);
		CHECK(device_reads(0, 64));
		CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
		CHECK(dma_rig_end(&rig));
	}
	return true;
}

static bool exhaustion_is_back_pressure(void)
{
	static const struct viodma_buffer half = {{RIG_HERE}, 0x1000}, whole = {{RIG_HERE}, 0x2000};
	static const struct viodma_buffer more = {{RIG_HERE}, 0x2001};
	static const struct viodma_buffer two[] = {{{RIG_NEXT}, 0x1000}, {{RIG_NEXT}, 0x800}};
	struct viodma_segment others[8];
	struct viodma_mapping other;

	CHECK(start_with("restricted", 512, 4096, 0x2000));
	CHECK_RESULT(map(&half, 1, VIODMA_TO_DEVICE), VIODMA_OK);
	CHECK_RESULT(viodma_domain_map(&rig.domain, &other, two, 2, VIODMA_TO_DEVICE, others, 8), VIODMA_E_EXHAUSTED);
	CHECK(other.domain == NULL);
	CHECK_EQUAL(rig.pool.statistics.used_bytes, 0x1000);
	CHECK_EQUAL(rig.domain.statistics.exhausted, 1);
	CHECK_EQUAL(rig.told, 1);
	CHECK(strstr(rig.message, "rig's pool is exhausted: no room for 2K bytes; 8K of 8K bytes in use") != NULL);
	/* What never fits is told apart from what does not fit now. */
	CHECK_RESULT(viodma_domain_map(&rig.domain, &other, &more, 1, VIODMA_TO_DEVICE, others, 8), VIODMA_E_LIMIT);
	CHECK_RESULT(viodma_domain_map(&rig.domain, &other, &whole, 1, VIODMA_TO_DEVICE, others, 8), VIODMA_E_EXHAUSTED);
	CHECK_EQUAL(rig.told, 1);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	CHECK_RESULT(viodma_domain_map(&rig.domain, &other, two, 2, VIODMA_TO_DEVICE, others, 8), VIODMA_OK);
	CHECK_RESULT(viodma_domain_unmap(&other, 0), VIODMA_OK);
	CHECK_RESULT(viodma_domain_map(&rig.domain, &other, &whole, 1, VIODMA_TO_DEVICE, others, 8), VIODMA_OK);
	CHECK_RESULT(viodma_domain_unmap(&other, 0), VIODMA_OK);
	CHECK_EQUAL(rig.domain.statistics.exhausted, 2);
	return dma_rig_end(&rig);
}

static bool with_nothing_live_there_is_nothing_to_wait_for(void)
{
	static const struct viodma_buffer buffer = {{RIG_HERE}, 0x1800};
	struct viodma_dma_memory ring;

	CHECK(start_with("restricted", 512, 4096, 0x2000));
	CHECK_RESULT(viodma_domain_alloc(&rig.domain, &ring, 0x1000, 64, VIODMA_BIDIRECTIONAL), VIODMA_OK);
	CHECK_RESULT(map(&buffer, 1, VIODMA_TO_DEVICE), VIODMA_E_LIMIT);
	CHECK_EQUAL(rig.domain.statistics.exhausted, 0);
	CHECK_RESULT(viodma_domain_release(&ring), VIODMA_OK);
	CHECK_RESULT(map(&buffer, 1, VIODMA_TO_DEVICE), VIODMA_OK);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	return dma_rig_end(&rig);
}

static bool too_few_segments_leave_nothing_behind(void)
{

	static const struct viodma_buffer buffers[] = {{{RIG_HERE}, 100}, {{RIG_HERE}, 5000}};

	CHECK(start());
	CHECK_RESULT(viodma_domain_map(&rig.domain, &mapping, buffers, 2, VIODMA_TO_DEVICE, segments, 1), VIODMA_E_LIMIT);
	CHECK_EQUAL(rig.pool.statistics.used_bytes, 0);
	CHECK_EQUAL(rig.domain.statistics.live + rig.domain.statistics.maps, 0);
	CHECK_RESULT(viodma_domain_map(&rig.domain, &mapping, buffers, 2, VIODMA_TO_DEVICE, segments, 2), VIODMA_OK);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	return dma_rig_end(&rig);
}

static bool grow(void *context, struct viodma_pool *pool, uint64_t wanted_bytes)
{
	static unsigned char storage[VIODMA_POOL_STORAGE_BYTES(0x10000, 512)] __attribute__((aligned(16)));
	struct dma_rig *of = context;
	struct viodma_object more = {dma_rig_at(of, RIG_POOL + 0x10000), {RIG_POOL + 0x10000}, 0x10000};

	(void)wanted_bytes;
	return pool->chunk_count == 1 && viodma_pool_add(pool, &more, storage, sizeof(storage)) == VIODMA_OK;
}

static bool a_pool_grows_from_within_a_map(void)
{
	static const struct viodma_buffer buffer = {{RIG_HERE}, 0x4000};
	uint64_t k;

	CHECK(dma_rig_start(&rig, "kind=offset window=0x50000000+256K@0x8000000000 restricted"));
	rig.pool_config.grow = grow;
	CHECK_RESULT(dma_rig_add_pool(&rig, 512, 4096, 0x2000), VIODMA_OK);
	CHECK_RESULT(dma_rig_add_domain(&rig, VIODMA_ADDRESSING_PLATFORM), VIODMA_OK);
	CHECK_RESULT(map(&buffer, 1, VIODMA_TO_DEVICE), VIODMA_OK);
	CHECK(device_reads(0, 0x4000));
	for (k = 0; k < 0x4000; k++)
		CHECK_EQUAL(seen[k], pattern_at(&buffer, k));
	CHECK_EQUAL(rig.pool.statistics.bytes, 0x12000);
	CHECK_EQUAL(rig.told, 0);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	return dma_rig_end(&rig);
}

static bool a_pool_out_of_reach_makes_memory_unreachable(void)
{
	static const struct viodma_buffer here = {{RIG_HERE}, 64}, far = {{RIG_FAR}, 64};

	CHECK(start_with("kind=offset window=0x40000000+256K@0x8000000000 window=0x50000000+256K@0x7000000000", 512, 4096,
			 0));
	rig.domain.platform.window_count = 1; /* as if it had grown there: at the start it is refused */
	CHECK_RESULT(map(&far, 1, VIODMA_TO_DEVICE), VIODMA_E_UNREACHABLE);
	CHECK_RESULT(map(&here, 1, VIODMA_TO_DEVICE), VIODMA_OK);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	return dma_rig_end(&rig);
}

static bool with_bit_33_clear_a_restricted_platform_is_refused(void)
{
	CHECK(dma_rig_start(&rig, SECURE));
	CHECK_RESULT(dma_rig_add_pool(&rig, 0, 0, 0), VIODMA_OK);
	CHECK_RESULT(dma_rig_add_domain(&rig, VIODMA_ADDRESSING_PHYSICAL), VIODMA_PEER_RESTRICTED);
	return true;
}

/* The weaker promise. Here bus addresses have to equal physical ones. */
static bool unless_its_pool_is_at_physical_addresses(void)
{
	static const struct viodma_buffer buffer = {{RIG_HERE + 5}, 3000};
	uint64_t k;

	CHECK(dma_rig_start(&rig, "kind=iommu granule=512 restricted pool-at-physical pool=0x50000000+256K"));
	CHECK_RESULT(dma_rig_add_pool(&rig, 512, 4096, 0), VIODMA_OK);
	CHECK_RESULT(dma_rig_add_domain(&rig, VIODMA_ADDRESSING_PHYSICAL), VIODMA_OK);
	CHECK_EQUAL(rig.domain.kind, VIODMA_DOMAIN_BOUNCE);
	CHECK_RESULT(map(&buffer, 1, VIODMA_BIDIRECTIONAL), VIODMA_OK);
	CHECK(segments[0].bus.v >= RIG_POOL && segments[0].bus.v < RIG_POOL + RIG_POOL_BYTES);
	CHECK(device_reads(0, 3000));
	for (k = 0; k < 3000; k++)
		CHECK_EQUAL(seen[k], pattern_at(&buffer, k));
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	return dma_rig_end(&rig);
}

static bool a_pool_that_does_not_fit_the_platform_is_refused(void)
{
	static const struct {
		const char *platform;
		uint32_t slot_bytes;
		enum viodma_result result;
	} cases[] = {
		{"restricted pool=0x50000000+128K", 512, VIODMA_E_INVALID},
		{"restricted pool=0x50001000+256K", 512, VIODMA_E_INVALID},
		{"restricted pool=0x40000000+512M", 512, VIODMA_OK},
		{"restricted align=1K", 512, VIODMA_E_INVALID},
		{"restricted align=1K", 1024, VIODMA_OK},
		{"restricted non-coherent line=128", 64, VIODMA_E_INVALID},
		{"restricted non-coherent line=128", 128, VIODMA_OK},
		{"restricted granule=128", 64, VIODMA_OK},
	};
	unsigned i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CHECK(dma_rig_start(&rig, cases[i].platform));
		CHECK_RESULT(dma_rig_add_pool(&rig, cases[i].slot_bytes, 4096, 0), VIODMA_OK);
		CHECK_RESULT(dma_rig_add_domain(&rig, VIODMA_ADDRESSING_PLATFORM), cases[i].result);
	}
	return true;
}

static bool says(const struct viodma_domain_config *config, enum viodma_result result, const char *wanted)
{
	struct viodma_domain domain;
	const char *what = "";

	CHECK_RESULT(viodma_domain_check(config, &what), result);
	CHECK_RESULT(viodma_domain_check(config, NULL), result);
	CHECK_RESULT(viodma_domain_init(&domain, config), result);
	CHECK(result == VIODMA_OK ? !what : what && strstr(what, wanted));
	return true;
}

static bool what_is_wrong_with_a_configuration_is_said(void)
{
	static const struct {
		const char *platform;
		uint64_t pool_bytes;
		bool ring_pool, bus_of;
		const char *what; /* NULL: nothing */
	} cases[] = {
		{"kind=offset window=0x40000000+256K@0", 4096, false, false, "reach all of the pool"},
		{"kind=offset window=0x50000000+64K@0", 65536, false, false, NULL},
		{"kind=offset window=0x50000000+64K@0", 65536 + 512, false, false, "reach all of the pool"},
		{"kind=offset window=0x50000000+64K@0", 4096, true, false, "reach all of the ring pool"},
		{"kind=offset window=0x58000000+64K@0", 4096, true, false, NULL}, /* no bouncing, but rings */
		{"kind=offset window=0x58000000+64K@0 restricted", 4096, true, false, "reach all of the pool"},
		{"width=30", 4096, false, false, "reach all of the pool"},
		{"kind=offset granule=4K", 4096, true, true, NULL},
		{"kind=offset granule=4K", 4096, true, false, "neither windows nor"},
		{"kind=offset window=0x40000000+512M@0", 4096, true, true, "windows and a function"},
		{"restricted pool=0x50000000+4K", 4096, false, false, NULL},
		{"restricted pool=0x50000000+4K", 4096, true, false, "ring pool is not within"},
		{"restricted pool=0x50000000+4K", 4608, false, false, "pool is not within"},
		{"restricted align=1K", 4096, false, false, "smaller than the alignment"},
		{"restricted non-coherent line=1K", 4096, false, false, "smaller than a cache line"},
		{"non-coherent line=64", 4096, false, false, NULL},
		{"non-coherent line=64", 4096, true, false, "does not say that it is"},
		{"kind=iommu granule=4K", 4096, false, false, "no operations"},
	};
	unsigned i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct viodma_domain_config config = {.platform = &rig.platform, .memory = &rig.memory, .pool = &rig.pool,
						      .cache = &rig.cache, .addressing = VIODMA_ADDRESSING_PLATFORM};
		static unsigned char slots[VIODMA_POOL_STORAGE_BYTES(RIG_RING_BYTES, 512)] __attribute__((aligned(16)));

		CHECK(dma_rig_start(&rig, cases[i].platform));
		CHECK_RESULT(dma_rig_add_pool(&rig, 512, 4096, cases[i].pool_bytes), VIODMA_OK);
		CHECK_RESULT(viodma_pool_init(&rig.ring_pool, &rig.pool_config), VIODMA_OK);
		CHECK_RESULT(viodma_pool_add(&rig.ring_pool, &rig.objects[3], slots, sizeof(slots)), VIODMA_OK);
		config.ring_pool = cases[i].ring_pool ? &rig.ring_pool : NULL;
		config.bus_of = cases[i].bus_of ? &rig.bus_of : NULL;
		if (!says(&config, cases[i].what ? VIODMA_E_INVALID : VIODMA_OK, cases[i].what))
			return check_note(__FILE__, __LINE__, "case %u: %s", i, cases[i].platform);
	}
	return true;
}

static bool a_pool_out_of_reach_is_passed_over_where_rings_have_theirs(void)
{
	static const struct viodma_buffer here = {{RIG_HERE + 1}, 64}, next = {{RIG_NEXT + 1}, 64};
	struct viodma_domain_config config = {.platform = &rig.platform, .memory = &rig.memory, .pool = &rig.pool,
					      .ring_pool = &rig.pool, .addressing = VIODMA_ADDRESSING_PLATFORM};
	static struct viodma_pool above;
	static unsigned char slots[VIODMA_POOL_STORAGE_BYTES(RIG_FAR_BYTES, 512)] __attribute__((aligned(16)));

	CHECK(dma_rig_start(&rig, "kind=offset window=0x40000000+256K@0x8000000000 window=0x50000000+256K@0x7000000000"));
	CHECK_RESULT(dma_rig_add_pool(&rig, 512, 4096, 0), VIODMA_OK);
	CHECK_RESULT(viodma_pool_init(&above, &rig.pool_config), VIODMA_OK);
	CHECK_RESULT(viodma_pool_add(&above, &rig.objects[4], slots, sizeof(slots)), VIODMA_OK);
	config.pool = &above;
	CHECK_RESULT(viodma_domain_init(&rig.domain, &config), VIODMA_OK);
	CHECK_EQUAL(rig.domain.kind, VIODMA_DOMAIN_OFFSET);
	CHECK_RESULT(viodma_domain_map(&rig.domain, &mapping, &next, 1, VIODMA_TO_DEVICE, segments, 4),
		     VIODMA_E_UNREACHABLE);
	CHECK_RESULT(viodma_domain_map(&rig.domain, &mapping, &here, 1, VIODMA_TO_DEVICE, segments, 4), VIODMA_OK);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	CHECK_RESULT(viodma_pool_free(&above), VIODMA_OK);
	return dma_rig_end(&rig);
}

static bool limits_of_small_pools_are_true(void)
{
	struct viodma_limits limits;

	CHECK(start_with("restricted granule=512", 512, 4096, 512));
	viodma_domain_limits(&rig.domain, &limits);
	CHECK_EQUAL(limits.mapping_bytes_max, 1);
	CHECK_EQUAL(limits.buffers_max, 1);
	CHECK(start_with("restricted", 512, 4096, 15 * 512));
	viodma_domain_limits(&rig.domain, &limits);
	CHECK_EQUAL(limits.mapping_bytes_max, 15 * 512);
	CHECK_EQUAL(limits.buffers_max, 1);
	CHECK(start_with("restricted max-mapping=1000", 512, 4096, 64 * 512));
	viodma_domain_limits(&rig.domain, &limits);
	CHECK_EQUAL(limits.mapping_bytes_max, 1000);
	CHECK_EQUAL(limits.buffers_max, 16);
	CHECK(start_with("restricted granule=512", 512, 4096, 64 * 512));
	viodma_domain_limits(&rig.domain, &limits);
	CHECK_EQUAL(limits.buffers_max, 8); /* each may begin, and end, in the middle of a slot */
	CHECK(start_with("restricted max-mapping=1000", 512, 4096, 64 * 512));
	viodma_domain_limits(&rig.domain, &limits);
	CHECK_EQUAL(limits.segments_per_buffer, 1);
	CHECK_EQUAL(limits.segment_grain_bytes, UINT64_MAX);
	return true;
}

HOLDS(the_device_reads_what_the_driver_wrote)
HOLDS(only_what_was_written_comes_back)
HOLDS(more_written_than_mapped_copies_all_and_says_so)
HOLDS(a_buffer_both_halves_write_is_synced_in_parts)
HOLDS(syncs_against_the_direction_do_nothing)
HOLDS(no_private_byte_is_in_the_pool)
HOLDS(the_offset_in_a_granule_is_kept)
HOLDS(segments_begin_where_the_device_can_begin)
HOLDS(only_what_is_out_of_reach_is_bounced)
HOLDS(what_lies_in_the_pool_is_not_copied)
BEHAVIOUR(on_a_restricted_platform_nothing_else_is_used_in_place, "DRV-2")
HOLDS(exhaustion_is_back_pressure)
HOLDS(with_nothing_live_there_is_nothing_to_wait_for)
HOLDS(too_few_segments_leave_nothing_behind)
HOLDS(a_pool_grows_from_within_a_map)
HOLDS(a_pool_out_of_reach_makes_memory_unreachable)
BEHAVIOUR(with_bit_33_clear_a_restricted_platform_is_refused, "DRV-4")
HOLDS(unless_its_pool_is_at_physical_addresses)
HOLDS(a_pool_that_does_not_fit_the_platform_is_refused)
HOLDS(what_is_wrong_with_a_configuration_is_said)
HOLDS(a_pool_out_of_reach_is_passed_over_where_rings_have_theirs)
HOLDS(limits_of_small_pools_are_true)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(the_device_reads_what_the_driver_wrote),
		TEST(only_what_was_written_comes_back),
		TEST(more_written_than_mapped_copies_all_and_says_so),
		TEST(a_buffer_both_halves_write_is_synced_in_parts),
		TEST(syncs_against_the_direction_do_nothing),
		TEST(no_private_byte_is_in_the_pool),
		TEST(the_offset_in_a_granule_is_kept),
		TEST(segments_begin_where_the_device_can_begin),
		TEST(only_what_is_out_of_reach_is_bounced),
		TEST(what_lies_in_the_pool_is_not_copied),
		WITH_MUTANT(on_a_restricted_platform_nothing_else_is_used_in_place),
		TEST(exhaustion_is_back_pressure),
		TEST(with_nothing_live_there_is_nothing_to_wait_for),
		TEST(too_few_segments_leave_nothing_behind),
		TEST(a_pool_grows_from_within_a_map),
		TEST(a_pool_out_of_reach_makes_memory_unreachable),
		WITH_MUTANT(with_bit_33_clear_a_restricted_platform_is_refused),
		TEST(unless_its_pool_is_at_physical_addresses),
		TEST(a_pool_that_does_not_fit_the_platform_is_refused),
		TEST(what_is_wrong_with_a_configuration_is_said),
		TEST(a_pool_out_of_reach_is_passed_over_where_rings_have_theirs),
		TEST(limits_of_small_pools_are_true),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
