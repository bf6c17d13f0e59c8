/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_domain_offset.c - domains whose bus addresses are fixed but not the physical ones: by windows, by a function of
 * the platform's own; and past the translation, with bit 33 clear.
 */
#include "tests/support/dma_rig.h"

/* HERE and NEXT adjoin physically; on the bus they lie the other way round, far apart. FAR is in no window. */
#define HERE_BUS 0x300000000u
#define NEXT_BUS 0x10000u
#define WINDOWS                                                                                                       \
	"kind=offset window=0x40000000+256K@0x300000000 window=0x40040000+64K@0x10000 window=0x50000000+256K@0x90000"

static struct dma_rig rig;
static struct viodma_mapping mapping;
static struct viodma_segment segments[64];
static unsigned char bytes[0x4000], read[0x4000];

static bool start(const char *platform, enum viodma_addressing addressing)
{
	CHECK(dma_rig_start(&rig, platform));
	CHECK_RESULT(dma_rig_add_domain(&rig, addressing), VIODMA_OK);
	return true;
}

static enum viodma_result map(const struct viodma_buffer *buffers, uint32_t count, enum viodma_direction direction,
			      uint32_t capacity)
{
	return viodma_domain_map(&rig.domain, &mapping, buffers, count, direction, segments, capacity);
}

/* The device reads what the driver has there, and writes where the driver will look. */
static bool both_ways(const struct viodma_buffer *buffers, uint32_t count)
{
	uint64_t k, position = 0;
	uint32_t i;

	CHECK(dma_rig_device_reads(&rig, segments, mapping.segment_count, 0, read, mapping.len_bytes));
	for (i = 0; i < count; i++)
		for (k = 0; k < buffers[i].len_bytes; k++)
			CHECK_EQUAL(read[position++], dma_rig_pattern(buffers[i].phys.v + k));
	for (k = 0; k < mapping.len_bytes; k++)
		bytes[k] = (unsigned char)(k * 31 + 5);
	CHECK(dma_rig_device_writes(&rig, segments, mapping.segment_count, 0, bytes, mapping.len_bytes));
	CHECK_RESULT(viodma_domain_unmap(&mapping, mapping.len_bytes), VIODMA_OK);
	for (i = 0, position = 0; i < count; i++)
		for (k = 0; k < buffers[i].len_bytes; k++)
			CHECK_EQUAL(*dma_rig_at(&rig, buffers[i].phys.v + k), bytes[position++]);
	return dma_rig_rest_is_intact(&rig, buffers, count);
}

static bool each_window_has_its_own_offset(void)
{
	static const struct viodma_buffer buffers[] = {{{RIG_NEXT + 5}, 100}, {{RIG_HERE + 0x1234}, 1000}};

	CHECK(start(WINDOWS, VIODMA_ADDRESSING_PLATFORM));
	CHECK_EQUAL(rig.domain.kind, VIODMA_DOMAIN_OFFSET);
	CHECK(!rig.domain.plain && !viodma_domain_needs_sync(&rig.domain));
	CHECK_RESULT(map(buffers, 2, VIODMA_BIDIRECTIONAL, 2), VIODMA_OK);
	CHECK_EQUAL(segments[0].bus.v, NEXT_BUS + 5);
	CHECK_EQUAL(segments[1].bus.v, HERE_BUS + 0x1234);
	CHECK_EQUAL(segments[1].permission, VIODMA_READ_WRITE);
	CHECK(both_ways(buffers, 2));
	return dma_rig_end(&rig);
}

static bool a_buffer_across_windows_is_several_segments(void)
{
	static const struct viodma_buffer buffer = {{RIG_NEXT - 100}, 300};
	struct viodma_limits limits;

	CHECK(start(WINDOWS, VIODMA_ADDRESSING_PLATFORM));
	viodma_domain_limits(&rig.domain, &limits);
	CHECK_EQUAL(limits.segments_per_buffer, 2);
	CHECK_RESULT(map(&buffer, 1, VIODMA_BIDIRECTIONAL, 1), VIODMA_E_LIMIT);
	CHECK_RESULT(map(&buffer, 1, VIODMA_BIDIRECTIONAL, 2), VIODMA_OK);
	CHECK_EQUAL(mapping.segment_count, 2);
	CHECK_EQUAL(segments[0].bus.v, HERE_BUS + RIG_HERE_BYTES - 100);
	CHECK_EQUAL(segments[0].len_bytes, 100);
	CHECK_EQUAL(segments[1].bus.v, NEXT_BUS);
	CHECK_EQUAL(segments[1].len_bytes, 200);
	CHECK(both_ways(&buffer, 1));
	return dma_rig_end(&rig);
}

static bool what_adjoins_on_the_bus_is_one_segment(void)
{
	/* On this bus NEXT lies directly before HERE. */
	static const struct viodma_buffer buffers[] = {{{RIG_NEXT + RIG_NEXT_BYTES - 100}, 100}, {{RIG_HERE}, 200}};

	CHECK(start("kind=offset window=0x40000000+256K@0x20000 window=0x40040000+64K@0x10000",
		    VIODMA_ADDRESSING_PLATFORM));
	CHECK_RESULT(map(buffers, 2, VIODMA_BIDIRECTIONAL, 1), VIODMA_OK);
	CHECK_EQUAL(mapping.segment_count, 1);
	CHECK_EQUAL(segments[0].bus.v, 0x20000 - 100);
	CHECK_EQUAL(segments[0].len_bytes, 300);
	CHECK(both_ways(buffers, 2));
	return dma_rig_end(&rig);
}

static bool nothing_is_merged_around_the_end_of_the_address_space(void)
{
	static const struct viodma_buffer buffers[] = {{{RIG_NEXT + RIG_NEXT_BYTES - 64}, 64}, {{RIG_HERE}, 64}};

	CHECK(start("kind=offset window=0x40040000+64K@0xffffffffffff0000 window=0x40000000+256K@0",
		    VIODMA_ADDRESSING_PLATFORM));
	CHECK_RESULT(map(buffers, 2, VIODMA_BIDIRECTIONAL, 2), VIODMA_OK);
	CHECK_EQUAL(mapping.segment_count, 2);
	CHECK_EQUAL(segments[0].bus.v, (uint64_t)0 - 64);
	CHECK_EQUAL(segments[1].bus.v, 0);
	CHECK(both_ways(buffers, 2));
	return dma_rig_end(&rig);
}

static bool what_lies_in_no_window_is_unreachable(void)
{
	static const struct viodma_buffer far = {{RIG_FAR}, 64}, out = {{RIG_POOL + RIG_POOL_BYTES - 1}, 1};
	static const struct viodma_buffer half[] = {{{RIG_HERE}, 64}, {{RIG_FAR}, 64}};

	CHECK(start(WINDOWS, VIODMA_ADDRESSING_PLATFORM));
	CHECK_RESULT(map(&far, 1, VIODMA_TO_DEVICE, 64), VIODMA_E_UNREACHABLE);
	CHECK_RESULT(map(half, 2, VIODMA_TO_DEVICE, 64), VIODMA_E_UNREACHABLE);
	CHECK(mapping.domain == NULL);
	CHECK_RESULT(map(&out, 1, VIODMA_TO_DEVICE, 64), VIODMA_OK);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	return dma_rig_end(&rig);
}

static bool a_window_ends_where_the_device_cannot_drive_addresses(void)
{
	/* HERE is at 0xff0000 on a bus of 24 bits: its last part, and NEXT, are out of reach. */
	static const struct viodma_buffer last = {{RIG_HERE + 0xffc0}, 64}, over = {{RIG_HERE + 0xffc0}, 65};
	static const struct viodma_buffer next = {{RIG_NEXT}, 1};

	CHECK(start("kind=offset width=24 window=0x40000000+320K@0xff0000", VIODMA_ADDRESSING_PLATFORM));
	CHECK_RESULT(map(&last, 1, VIODMA_TO_DEVICE, 2), VIODMA_OK);
	CHECK_EQUAL(segments[0].bus.v, 0xffffc0);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	CHECK_RESULT(map(&over, 1, VIODMA_TO_DEVICE, 2), VIODMA_E_UNREACHABLE);
	CHECK_RESULT(map(&next, 1, VIODMA_TO_DEVICE, 2), VIODMA_E_UNREACHABLE);
	return dma_rig_end(&rig);
}

static bool the_platforms_own_function_makes_addresses(void)
{
	static const struct viodma_buffer buffer = {{RIG_HERE + 0xff0}, 0x2020}, far = {{RIG_FAR}, 1};
	struct viodma_limits limits;

	CHECK(start("kind=offset granule=4K", VIODMA_ADDRESSING_PLATFORM));
	CHECK_EQUAL(rig.domain.kind, VIODMA_DOMAIN_OFFSET);
	viodma_domain_limits(&rig.domain, &limits);
	CHECK_RESULT(map(&buffer, 1, VIODMA_BIDIRECTIONAL, 4), VIODMA_OK);
	CHECK_EQUAL(mapping.segment_count, 4); /* pages that follow each other here are exchanged in pairs */
	CHECK(limits.segments_per_buffer + buffer.len_bytes / limits.segment_grain_bytes >= 4);
	CHECK(segments[0].bus.v != buffer.phys.v);
	CHECK(both_ways(&buffer, 1));
	CHECK_RESULT(map(&far, 1, VIODMA_TO_DEVICE, 4), VIODMA_E_UNREACHABLE);
	return dma_rig_end(&rig);
}

static bool a_platform_that_is_not_coherent_is_not_counted_by_the_line(void)
{
	static const uint32_t runs[] = {0, 16384, 4096};
	unsigned i;

	for (i = 0; i < sizeof(runs) / sizeof(runs[0]); i++) {
		struct viodma_limits limits;

		CHECK(dma_rig_start(&rig, "kind=offset granule=4K non-coherent line=64"));
		CHECK_RESULT(dma_rig_add_pool(&rig, 512, runs[i], 0), VIODMA_OK);
		CHECK_RESULT(dma_rig_add_domain(&rig, VIODMA_ADDRESSING_PLATFORM), VIODMA_OK);
		viodma_domain_limits(&rig.domain, &limits);
		/* A page each, and two more for every run; 126 segments are more than 128 KiB. */
		CHECK(limits.segment_grain_bytes >= (runs[i] == 4096 ? 1365 - 1 : runs[i] == 16384 ? 2730 - 1 : 3970));
		CHECK(limits.segment_grain_bytes <= 4096);
		CHECK((126 - limits.segments_per_buffer) * limits.segment_grain_bytes >= 128 * 1024);
		CHECK(dma_rig_end(&rig));
	}
	return true;
}

static bool no_bytes(void *context, viodma_phys phys, viodma_bus *bus, uint64_t *len_bytes)
{
	(void)context;
	bus->v = phys.v;
	*len_bytes = 0;
	return true;
}

static bool a_function_that_answers_no_bytes_ends_nothing_in_a_loop(void)
{
	static const struct viodma_buffer buffer = {{RIG_HERE}, 64};

	CHECK(start("kind=offset granule=4K", VIODMA_ADDRESSING_PLATFORM));
	rig.domain.bus_of.bus_of = no_bytes;
	CHECK_RESULT(map(&buffer, 1, VIODMA_TO_DEVICE, 4), VIODMA_E_UNREACHABLE);
	return dma_rig_end(&rig);
}

/* Within a granule, addresses go on, but 4 bytes further up. */
static bool four_off(void *context, viodma_phys phys, viodma_bus *bus, uint64_t *len_bytes)
{
	(void)context;
	bus->v = phys.v + 0x7000000004u;
	*len_bytes = 0x1000 - (phys.v & 0xfff);
	return true;
}

static bool a_pool_where_the_device_cannot_begin_is_refused(void)
{
	static const struct viodma_buffer odd = {{RIG_HERE + 1}, 64}, good = {{RIG_HERE + 60}, 64};

	CHECK(dma_rig_start(&rig, "kind=offset granule=4K align=64"));
	CHECK_RESULT(dma_rig_add_pool(&rig, 512, 4096, 0), VIODMA_OK);
	rig.bus_of.bus_of = four_off;
	CHECK_RESULT(dma_rig_add_domain(&rig, VIODMA_ADDRESSING_PLATFORM), VIODMA_E_INVALID);
	rig.has_pool = false;
	CHECK_RESULT(dma_rig_add_domain(&rig, VIODMA_ADDRESSING_PLATFORM), VIODMA_OK);
	CHECK_RESULT(map(&odd, 1, VIODMA_TO_DEVICE, 4), VIODMA_E_UNREACHABLE);
	CHECK_RESULT(map(&good, 1, VIODMA_TO_DEVICE, 4), VIODMA_OK);
	CHECK_EQUAL(segments[0].bus.v & 63, 0);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	return dma_rig_end(&rig);
}

/* = DRV-3: here bus addresses have to equal physical ones. */
static bool with_bit_33_clear_the_translation_is_passed_by(void)
{
	static const struct viodma_buffer buffers[] = {{{RIG_NEXT - 100}, 300}, {{RIG_FAR + 7}, 64}};
	struct viodma_limits limits;

	CHECK(start(WINDOWS, VIODMA_ADDRESSING_PHYSICAL));
	CHECK_EQUAL(rig.domain.kind, VIODMA_DOMAIN_DIRECT);
	CHECK(rig.domain.plain);
	viodma_domain_limits(&rig.domain, &limits);
	CHECK_EQUAL(limits.segments_per_buffer, 1);
	CHECK_RESULT(map(buffers, 2, VIODMA_BIDIRECTIONAL, 2), VIODMA_OK);
	CHECK_EQUAL(segments[0].bus.v, buffers[0].phys.v);
	CHECK_EQUAL(segments[1].bus.v, buffers[1].phys.v);
	CHECK(both_ways(buffers, 2));
	CHECK(dma_rig_end(&rig));
	CHECK(start("kind=iommu granule=4K width=36", VIODMA_ADDRESSING_PHYSICAL));
	CHECK_EQUAL(rig.domain.kind, VIODMA_DOMAIN_DIRECT);
	CHECK_RESULT(map(buffers, 1, VIODMA_BIDIRECTIONAL, 2), VIODMA_OK);
	CHECK_EQUAL(segments[0].bus.v, buffers[0].phys.v);
	CHECK(both_ways(buffers, 1));
	return dma_rig_end(&rig);
}

HOLDS(each_window_has_its_own_offset)
HOLDS(a_buffer_across_windows_is_several_segments)
HOLDS(what_adjoins_on_the_bus_is_one_segment)
HOLDS(nothing_is_merged_around_the_end_of_the_address_space)
HOLDS(what_lies_in_no_window_is_unreachable)
BEHAVIOUR(a_window_ends_where_the_device_cannot_drive_addresses, "DRV-2")
HOLDS(the_platforms_own_function_makes_addresses)
HOLDS(a_platform_that_is_not_coherent_is_not_counted_by_the_line)
HOLDS(a_function_that_answers_no_bytes_ends_nothing_in_a_loop)
HOLDS(a_pool_where_the_device_cannot_begin_is_refused)
HOLDS(with_bit_33_clear_the_translation_is_passed_by)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(each_window_has_its_own_offset),
		TEST(a_buffer_across_windows_is_several_segments),
		TEST(what_adjoins_on_the_bus_is_one_segment),
		TEST(nothing_is_merged_around_the_end_of_the_address_space),
		TEST(what_lies_in_no_window_is_unreachable),
		WITH_MUTANT(a_window_ends_where_the_device_cannot_drive_addresses),
		TEST(the_platforms_own_function_makes_addresses),
		TEST(a_platform_that_is_not_coherent_is_not_counted_by_the_line),
		TEST(a_function_that_answers_no_bytes_ends_nothing_in_a_loop),
		TEST(a_pool_where_the_device_cannot_begin_is_refused),
		TEST(with_bit_33_clear_the_translation_is_passed_by),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
