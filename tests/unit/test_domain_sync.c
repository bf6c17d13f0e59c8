/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_domain_sync.c - platforms that are not coherent: caches are cleaned before the device looks, and invalidated
 * before the driver does (DRV-20).
 *
 * How it works: the rig keeps two copies of memory, and a cache that may write back a dirty line at any moment. Each
 * test moves bytes from one half to the other, and lets the cache do its worst in between.
 */
#include "tests/support/dma_rig.h"

#define LINES "kind=offset non-coherent line=64 "
#define IN_PLACE LINES "window=0x40000000+1G@0x8000000000 window=0x900000000+128K@0x100000"
#define POOL_ONLY LINES "window=0x50000000+256K@0x8000000000 window=0x58000000+64K@0x9000000000 restricted"

static struct dma_rig rig;
static struct viodma_mapping mapping;
static struct viodma_segment segments[64];
static unsigned char bytes[0x8000], seen[0x8000];

static bool start(const char *platform)
{
	CHECK(dma_rig_start(&rig, platform));
	CHECK_RESULT(dma_rig_add_pool(&rig, 512, 4096, 0), VIODMA_OK);
	CHECK_RESULT(dma_rig_add_domain(&rig, VIODMA_ADDRESSING_PLATFORM), VIODMA_OK);
	CHECK(viodma_domain_needs_sync(&rig.domain));
	return true;
}

static enum viodma_result map(const struct viodma_buffer *buffers, uint32_t count, enum viodma_direction direction)
{
	return viodma_domain_map(&rig.domain, &mapping, buffers, count, direction, segments, 64);
}

static bool device_sees(const struct viodma_buffer *buffers, uint32_t count)
{
	uint64_t k, position = 0;
	uint32_t i;

	CHECK(dma_rig_device_reads(&rig, segments, mapping.segment_count, 0, seen, mapping.len_bytes));
	for (i = 0; i < count; i++)
		for (k = 0; k < buffers[i].len_bytes; k++)
			CHECK_EQUAL(seen[position++], *dma_rig_at(&rig, buffers[i].phys.v + k));
	return true;
}

static bool device_writes(uint64_t offset, uint64_t len_bytes)
{
	uint64_t k;

	for (k = 0; k < len_bytes; k++)
		bytes[offset + k] = (unsigned char)((offset + k) * 29 + 3);
	return dma_rig_device_writes(&rig, segments, mapping.segment_count, offset, bytes + offset, len_bytes);
}

static bool driver_sees(const struct viodma_buffer *buffers, uint32_t count, uint64_t offset, uint64_t len_bytes)
{
	uint64_t k, position = 0;
	uint32_t i;

	for (i = 0; i < count; i++)
		for (k = 0; k < buffers[i].len_bytes; k++, position++)
			if (position >= offset && position - offset < len_bytes)
				CHECK_EQUAL(*dma_rig_at(&rig, buffers[i].phys.v + k), bytes[position]);
	return true;
}

static void driver_writes(const struct viodma_buffer *buffers, uint32_t count, unsigned char byte)
{
	uint32_t i;

	for (i = 0; i < count; i++)
		memset(dma_rig_at(&rig, buffers[i].phys.v), byte, buffers[i].len_bytes);
}

/* Whole lines; parts of lines; and two that share one. */
static const struct viodma_buffer whole[] = {{{RIG_HERE + 640}, 640}, {{RIG_FAR + 64}, 64}};
static const struct viodma_buffer odd[] = {{{RIG_HERE + 650}, 70}, {{RIG_HERE + 720}, 1}, {{RIG_NEXT + 1}, 777}};

static const char *const platforms[] = {IN_PLACE, POOL_ONLY};

static bool the_device_sees_what_the_driver_wrote_before_a_map(void)
{
	unsigned i;

	for (i = 0; i < 2; i++) {
		CHECK(start(platforms[i]));
		CHECK_RESULT(map(whole, 2, VIODMA_TO_DEVICE), VIODMA_OK);
		CHECK(device_sees(whole, 2));
		CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
		CHECK_RESULT(map(odd, 3, VIODMA_BIDIRECTIONAL), VIODMA_OK);
		CHECK(device_sees(odd, 3));
		CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
		CHECK(dma_rig_rest_is_intact(&rig, NULL, 0));
		CHECK(dma_rig_end(&rig));
	}
	return true;
}

static bool the_device_sees_what_the_driver_wrote_before_a_sync(void)
{
	unsigned i;

	for (i = 0; i < 2; i++) {
		CHECK(start(platforms[i]));
		CHECK_RESULT(map(whole, 2, VIODMA_TO_DEVICE), VIODMA_OK);
		driver_writes(whole, 2, 0x77);
		viodma_domain_sync_for_device(&mapping, 0, 704);
		CHECK(device_sees(whole, 2));
		CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
		CHECK_EQUAL(*dma_rig_at(&rig, whole[0].phys.v), 0x77);
		CHECK(dma_rig_end(&rig));
	}
	return true;
}

static bool without_a_sync_it_does_not(void)
{
	unsigned i;

	for (i = 0; i < 2; i++) { /* the rig itself: it would notice */
		CHECK(start(platforms[i]));
		CHECK_RESULT(map(whole, 2, VIODMA_BIDIRECTIONAL), VIODMA_OK);
		driver_writes(whole, 2, 0x77);
		CHECK(dma_rig_device_reads(&rig, segments, mapping.segment_count, 0, seen, 704));
		CHECK_EQUAL(seen[0], dma_rig_pattern(whole[0].phys.v));
		viodma_domain_sync_for_device(&mapping, 0, 704);
		CHECK(device_writes(0, 704));
		CHECK_EQUAL(*dma_rig_at(&rig, whole[0].phys.v), 0x77);
		CHECK_RESULT(viodma_domain_unmap(&mapping, 704), VIODMA_OK);
		CHECK(dma_rig_end(&rig));
	}
	return true;
}

static bool the_driver_sees_what_the_device_wrote_after_unmap(void)
{
	unsigned i;

	for (i = 0; i < 2; i++) {
		CHECK(start(platforms[i]));
		driver_writes(whole, 2, 0x99); /* dirty lines, of which a map may leave none */
		CHECK_RESULT(map(whole, 2, VIODMA_FROM_DEVICE), VIODMA_OK);
		dma_rig_evict(&rig);
		CHECK(device_writes(0, 300));
		dma_rig_evict(&rig);
		CHECK_RESULT(viodma_domain_unmap(&mapping, 300), VIODMA_OK);
		CHECK(driver_sees(whole, 2, 0, 300));
		CHECK_EQUAL(*dma_rig_at(&rig, whole[0].phys.v + 300), 0x99); /* what it did not write keeps its bytes */
		CHECK_EQUAL(*dma_rig_at(&rig, whole[1].phys.v), 0x99);
		CHECK(dma_rig_rest_is_intact(&rig, whole, 2));
		CHECK(dma_rig_end(&rig));
	}
	return true;
}

static bool the_driver_sees_what_the_device_wrote_after_a_sync(void)
{
	unsigned i;

	for (i = 0; i < 2; i++) {
		CHECK(start(platforms[i]));
		CHECK_RESULT(map(whole, 2, VIODMA_FROM_DEVICE), VIODMA_OK);
		CHECK(device_writes(0, 704));
		dma_rig_evict(&rig);
		viodma_domain_sync_for_driver(&mapping, 128, 64);
		CHECK(driver_sees(whole, 2, 128, 64));
		CHECK_EQUAL(*dma_rig_at(&rig, whole[0].phys.v + 127), dma_rig_pattern(whole[0].phys.v + 127));
		CHECK_EQUAL(*dma_rig_at(&rig, whole[0].phys.v + 192), dma_rig_pattern(whole[0].phys.v + 192));
		viodma_domain_sync_for_driver(&mapping, 640, 64);
		CHECK(driver_sees(whole, 2, 640, 64));
		/* The driver scribbles in what it read, hands it back, and the device writes it again. */
		driver_writes(whole, 2, 0x10);
		viodma_domain_sync_for_device(&mapping, 0, 704);
		CHECK(device_writes(0, 704));
		dma_rig_evict(&rig);
		viodma_domain_sync_for_driver(&mapping, 0, 704);
		CHECK(driver_sees(whole, 2, 0, 704));
		CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
		CHECK(driver_sees(whole, 2, 0, 704));
		CHECK(dma_rig_rest_is_intact(&rig, whole, 2));
		CHECK(dma_rig_end(&rig));
	}
	return true;
}

static bool what_shares_a_line_is_not_written_in_place(void)
{
	uint64_t near = odd[0].phys.v - 1;

	CHECK(start(IN_PLACE));
	CHECK_RESULT(map(odd, 3, VIODMA_FROM_DEVICE), VIODMA_OK);
	CHECK_EQUAL(rig.domain.statistics.bounced, 848);
	CHECK(device_writes(0, 848));
	/* The driver goes on using the rest of the line, and the cache writes it back. */
	*dma_rig_at(&rig, near) = 0x42;
	dma_rig_evict(&rig);
	*dma_rig_at(&rig, near) = 0x43;
	CHECK_RESULT(viodma_domain_unmap(&mapping, 848), VIODMA_OK);
	CHECK(driver_sees(odd, 3, 0, 848));
	CHECK_EQUAL(*dma_rig_at(&rig, near), 0x43);
	*dma_rig_at(&rig, near) = dma_rig_pattern(near);
	CHECK(dma_rig_rest_is_intact(&rig, odd, 3));
	return dma_rig_end(&rig);
}

static bool what_only_the_device_reads_is_in_place_all_the_same(void)
{
	CHECK(start(IN_PLACE));
	CHECK_RESULT(map(odd, 3, VIODMA_TO_DEVICE), VIODMA_OK);
	CHECK_EQUAL(rig.domain.statistics.in_place, 848);
	CHECK(device_sees(odd, 3));
	/* Neighbours in the same lines lose nothing. */
	*dma_rig_at(&rig, odd[0].phys.v - 1) = 0x42;
	viodma_domain_sync_for_device(&mapping, 0, 848);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	CHECK_EQUAL(rig.invalidated_bytes, 0);
	CHECK_EQUAL(*dma_rig_at(&rig, odd[0].phys.v - 1), 0x42);
	return dma_rig_end(&rig);
}

static bool what_lies_in_the_pool_shares_no_line_with_the_driver(void)
{
	static const struct viodma_buffer buffer = {{RIG_POOL + 0x1001}, 77};

	CHECK(start(IN_PLACE));
	CHECK_RESULT(map(&buffer, 1, VIODMA_FROM_DEVICE), VIODMA_OK);
	CHECK_EQUAL(rig.domain.statistics.in_place, 77);
	CHECK(device_writes(0, 77));
	dma_rig_evict(&rig);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 77), VIODMA_OK);
	CHECK(driver_sees(&buffer, 1, 0, 77));
	return dma_rig_end(&rig);
}

static bool without_a_pool_what_shares_a_line_is_unreachable(void)
{
	CHECK(dma_rig_start(&rig, IN_PLACE));
	CHECK_RESULT(dma_rig_add_domain(&rig, VIODMA_ADDRESSING_PLATFORM), VIODMA_OK);
	CHECK_RESULT(map(odd, 3, VIODMA_FROM_DEVICE), VIODMA_E_UNREACHABLE);
	CHECK_RESULT(map(whole, 2, VIODMA_FROM_DEVICE), VIODMA_OK);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	CHECK_RESULT(map(odd, 3, VIODMA_TO_DEVICE), VIODMA_OK);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	return dma_rig_end(&rig);
}

static bool buffers_across_two_objects_are_maintained_in_both(void)
{
	static const struct viodma_buffer buffers[] = {{{RIG_NEXT - 128}, 256}, {{RIG_HERE}, 64}};

	CHECK(start("kind=direct non-coherent line=64"));
	CHECK_RESULT(map(buffers, 2, VIODMA_BIDIRECTIONAL), VIODMA_OK);
	CHECK_EQUAL(rig.domain.statistics.in_place, 320);
	CHECK(device_sees(buffers, 2));
	CHECK(device_writes(0, 320));
	CHECK_RESULT(viodma_domain_unmap(&mapping, 320), VIODMA_OK);
	CHECK(driver_sees(buffers, 2, 0, 320));
	CHECK(dma_rig_rest_is_intact(&rig, buffers, 2));
	return dma_rig_end(&rig);
}

static bool in_place_and_bounced_buffers_go_together(void)
{
	static const struct viodma_buffer buffers[] = {
		{{RIG_HERE}, 64},	   {{RIG_HERE + 129}, 100}, {{RIG_HERE + 512}, 128},
		{{RIG_HERE + 1025}, 5000}, {{RIG_FAR}, 64},
	};

	CHECK(start(IN_PLACE));
	CHECK_RESULT(map(buffers, 5, VIODMA_BIDIRECTIONAL), VIODMA_OK);
	CHECK_EQUAL(rig.domain.statistics.bounced, 5100);
	CHECK_EQUAL(rig.domain.statistics.in_place, 256);
	CHECK(device_sees(buffers, 5));
	driver_writes(buffers, 5, 0x31);
	viodma_domain_sync_for_device(&mapping, 0, 5356);
	CHECK(device_sees(buffers, 5));
	CHECK(device_writes(0, 5356));
	dma_rig_evict(&rig);
	viodma_domain_sync_for_driver(&mapping, 0, 5356);
	CHECK(driver_sees(buffers, 5, 0, 5356));
	CHECK_RESULT(viodma_domain_unmap(&mapping, 5356), VIODMA_OK);
	CHECK(driver_sees(buffers, 5, 0, 5356));
	CHECK(dma_rig_rest_is_intact(&rig, buffers, 5));
	return dma_rig_end(&rig);
}

static bool the_pool_is_clear_for_the_device_as_well(void)
{
	CHECK(start(POOL_ONLY)); /* 0xd5: what memory held behind the cache */
	CHECK(!dma_rig_pool_has(&rig, 0xd5));
	CHECK(dma_rig_end(&rig));
	CHECK(start(IN_PLACE));
	CHECK(!dma_rig_pool_has(&rig, 0xd5));
	return dma_rig_end(&rig);
}

static bool ring_memory_needs_no_sync(void)
{
	struct viodma_dma_memory ring;
	unsigned i;

	for (i = 0; i < 2; i++) {
		CHECK(start(platforms[i]));
		rig.cleaned_bytes = 0;
		CHECK_RESULT(viodma_domain_alloc(&rig.domain, &ring, 256, 64, VIODMA_BIDIRECTIONAL), VIODMA_OK);
		memset(ring.memory, 0x5c, 256);
		CHECK(dma_rig_device_reads(&rig, ring.mapping.segments, 1, 0, seen, 256));
		CHECK(seen[0] == 0x5c && seen[255] == 0x5c);
		CHECK_EQUAL(rig.cleaned_bytes, 0);
		CHECK_RESULT(viodma_domain_release(&ring), VIODMA_OK);
		CHECK(dma_rig_end(&rig));
	}
	return true;
}

static bool nothing_beside_a_buffer_is_published_by_its_run(void)
{
	unsigned i;

	CHECK(start(POOL_ONLY));
	for (i = 0; i < RIG_OBJECTS; i++)
		if (i < 2 || i > 3)
			memset(rig.objects[i].memory, 0xc5, rig.objects[i].len_bytes);
	driver_writes(odd, 3, 0x44);
	CHECK_RESULT(map(odd, 3, VIODMA_TO_DEVICE), VIODMA_OK);
	CHECK(dma_rig_pool_has(&rig, 0x44));
	CHECK(!dma_rig_pool_has(&rig, 0xc5));
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	return dma_rig_end(&rig);
}

HOLDS(the_device_sees_what_the_driver_wrote_before_a_map)
HOLDS(the_device_sees_what_the_driver_wrote_before_a_sync)
HOLDS(without_a_sync_it_does_not)
HOLDS(the_driver_sees_what_the_device_wrote_after_unmap)
HOLDS(the_driver_sees_what_the_device_wrote_after_a_sync)
BEHAVIOUR(what_shares_a_line_is_not_written_in_place, "DRV-20")
HOLDS(what_only_the_device_reads_is_in_place_all_the_same)
HOLDS(what_lies_in_the_pool_shares_no_line_with_the_driver)
HOLDS(without_a_pool_what_shares_a_line_is_unreachable)
HOLDS(buffers_across_two_objects_are_maintained_in_both)
HOLDS(in_place_and_bounced_buffers_go_together)
HOLDS(the_pool_is_clear_for_the_device_as_well)
HOLDS(ring_memory_needs_no_sync)
HOLDS(nothing_beside_a_buffer_is_published_by_its_run)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(the_device_sees_what_the_driver_wrote_before_a_map),
		TEST(the_device_sees_what_the_driver_wrote_before_a_sync),
		TEST(without_a_sync_it_does_not),
		TEST(the_driver_sees_what_the_device_wrote_after_unmap),
		TEST(the_driver_sees_what_the_device_wrote_after_a_sync),
		WITH_MUTANT(what_shares_a_line_is_not_written_in_place),
		TEST(what_only_the_device_reads_is_in_place_all_the_same),
		TEST(what_lies_in_the_pool_shares_no_line_with_the_driver),
		TEST(without_a_pool_what_shares_a_line_is_unreachable),
		TEST(buffers_across_two_objects_are_maintained_in_both),
		TEST(in_place_and_bounced_buffers_go_together),
		TEST(the_pool_is_clear_for_the_device_as_well),
		TEST(ring_memory_needs_no_sync),
		TEST(nothing_beside_a_buffer_is_published_by_its_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
