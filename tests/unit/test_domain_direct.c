/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_domain_direct.c - domains on direct platforms: nothing but the physical address where nothing stands in the way,
 * and limits where the platform has some.
 *
 * Here bus addresses equal physical ones, since the rule of a direct platform, or of a device with bit 33 clear,
 * demands it (DRV-3). What differs is in the tests of the other kinds.
 */
#include "tests/support/dma_rig.h"

static struct dma_rig rig;
static struct viodma_mapping mapping;
static struct viodma_segment segments[64];

static bool start(const char *platform)
{
	CHECK(dma_rig_start(&rig, platform));
	CHECK_RESULT(dma_rig_add_domain(&rig, VIODMA_ADDRESSING_PLATFORM), VIODMA_OK);
	return true;
}

static enum viodma_result map(const struct viodma_buffer *buffers, uint32_t count, uint32_t capacity)
{
	return viodma_domain_map(&rig.domain, &mapping, buffers, count, VIODMA_TO_DEVICE, segments, capacity);
}

static bool a_plain_domain_hands_out_physical_addresses(void)
{
	static const struct viodma_buffer buffers[] = {{{0x12345}, 77}, {{UINT64_MAX}, 1}, {{RIG_FAR}, UINT32_MAX}};
	struct viodma_limits limits;
	unsigned i;

	CHECK(start("kind=direct"));
	CHECK(rig.domain.plain && rig.domain.kind == VIODMA_DOMAIN_DIRECT && !viodma_domain_needs_sync(&rig.domain));
	/* No memory needs to be known: nobody looks at it. */
	CHECK_RESULT(map(buffers, 3, 3), VIODMA_OK);
	CHECK_EQUAL(mapping.segment_count, 3);
	CHECK_EQUAL(mapping.len_bytes, (uint64_t)UINT32_MAX + 78);
	for (i = 0; i < 3; i++) {
		CHECK_EQUAL(segments[i].bus.v, buffers[i].phys.v);
		CHECK_EQUAL(segments[i].len_bytes, buffers[i].len_bytes);
		CHECK_EQUAL(segments[i].permission, VIODMA_READ);
	}
	viodma_domain_sync_for_device(&mapping, 0, UINT64_MAX);
	viodma_domain_sync_for_driver(&mapping, 0, UINT64_MAX);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	CHECK(mapping.domain == NULL);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_E_MISUSE);
	viodma_domain_limits(&rig.domain, &limits);
	CHECK(limits.mapping_bytes_max == UINT64_MAX && limits.buffers_max == UINT32_MAX && limits.alignment_bytes == 1);
	CHECK(limits.segment_bytes_max == UINT32_MAX && !limits.boundary_bytes);
	CHECK(limits.segments_per_buffer == 1 && limits.segment_grain_bytes == UINT64_MAX);
	return dma_rig_end(&rig);
}

static bool more_was_written_than_was_mapped(void)
{
	static const struct viodma_buffer buffer = {{RIG_HERE}, 100};

	CHECK(start("kind=direct"));
	CHECK_RESULT(map(&buffer, 1, 1), VIODMA_OK);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 100), VIODMA_OK);
	CHECK_RESULT(map(&buffer, 1, 1), VIODMA_OK);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 101), VIODMA_E_INVALID);
	CHECK(mapping.domain == NULL);
	return dma_rig_end(&rig);
}

static bool more_buffers_than_segments_go_in_if_they_adjoin(void)
{
	static const struct viodma_buffer buffers[] = {{{RIG_HERE + 64}, 64}, {{RIG_HERE + 128}, 64}, {{RIG_HERE}, 64}};

	CHECK(start("kind=direct"));
	CHECK_RESULT(map(buffers, 3, 2), VIODMA_OK);
	CHECK_EQUAL(mapping.segment_count, 2);
	CHECK_EQUAL(segments[0].len_bytes, 128);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	CHECK_RESULT(map(buffers, 3, 1), VIODMA_E_LIMIT);
	CHECK(mapping.domain == NULL);
	return dma_rig_end(&rig);
}

static bool what_cannot_be_a_mapping_is_refused(void)
{
	static const struct viodma_buffer good = {{RIG_HERE}, 64}, empty = {{RIG_HERE}, 0}, wraps = {{UINT64_MAX}, 2};
	static const struct viodma_buffer outside = {{RIG_NEXT + RIG_NEXT_BYTES - 1}, 2}, before = {{RIG_HERE - 1}, 2};

	CHECK(start("kind=direct max-mapping=1G"));
	CHECK(!rig.domain.plain);
	CHECK_RESULT(map(&good, 0, 1), VIODMA_E_INVALID);
	CHECK_RESULT(map(&outside, 1, 1), VIODMA_E_INVALID);
	CHECK_RESULT(map(&before, 1, 1), VIODMA_E_INVALID);
	CHECK_RESULT(viodma_domain_map(&rig.domain, &mapping, &good, 1, (enum viodma_direction)0, segments, 1),
		     VIODMA_E_INVALID);
	CHECK_RESULT(viodma_domain_map(&rig.domain, &mapping, &good, 1, (enum viodma_direction)4, segments, 1),
		     VIODMA_E_INVALID);
	/* Without registered memory, arithmetic alone has to notice. */
	rig.domain.config.memory = NULL;
	CHECK_RESULT(map(&empty, 1, 1), VIODMA_E_INVALID);
	CHECK_RESULT(map(&wraps, 1, 1), VIODMA_E_INVALID);
	CHECK_RESULT(map(&outside, 1, 1), VIODMA_OK);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	return dma_rig_end(&rig);
}

static bool segments_obey_the_platforms_limits(void)
{
	static const struct viodma_buffer buffers[] = {
		{{RIG_HERE + 100}, 1000}, {{RIG_HERE + 1100}, 3000}, {{RIG_FAR + 4000}, 200},
	};
	static const struct {
		uint64_t bus;
		uint32_t len;
	} wanted[] = {
		{RIG_HERE + 100, 924}, {RIG_HERE + 1024, 1000}, {RIG_HERE + 2024, 24}, {RIG_HERE + 2048, 1000},
		{RIG_HERE + 3048, 24}, {RIG_HERE + 3072, 1000}, {RIG_HERE + 4072, 24}, {RIG_HERE + 4096, 4},
		{RIG_FAR + 4000, 96}, {RIG_FAR + 4096, 104},
	};
	struct viodma_limits limits;
	unsigned i, count = sizeof(wanted) / sizeof(wanted[0]);

	CHECK(start("kind=direct max-segment=1000 boundary=1K max-mapping=4200"));
	CHECK_RESULT(map(buffers, 3, count), VIODMA_OK);
	CHECK_EQUAL(mapping.segment_count, count);
	for (i = 0; i < count; i++) {
		CHECK_EQUAL(segments[i].bus.v, wanted[i].bus);
		CHECK_EQUAL(segments[i].len_bytes, wanted[i].len);
	}
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	CHECK_RESULT(map(buffers, 3, count - 1), VIODMA_E_LIMIT);
	viodma_domain_limits(&rig.domain, &limits);
	CHECK_EQUAL(limits.mapping_bytes_max, 4200);
	CHECK_EQUAL(limits.segment_bytes_max, 1000);
	CHECK_EQUAL(limits.boundary_bytes, 1024);
	CHECK(3 * limits.segments_per_buffer + 4200 / limits.segment_grain_bytes >= count);
	return dma_rig_end(&rig);
}

static bool buffers_that_adjoin_at_a_boundary_are_not_merged(void)
{
	static const struct viodma_buffer buffers[] = {
		{{RIG_HERE + 512}, 512}, {{RIG_HERE + 1024}, 256}, {{RIG_HERE + 1280}, 512},
	};

	CHECK(start("kind=direct boundary=1K"));
	CHECK_RESULT(map(buffers, 3, 3), VIODMA_OK);
	CHECK_EQUAL(mapping.segment_count, 2);
	CHECK_EQUAL(segments[0].len_bytes, 512);
	CHECK_EQUAL(segments[1].len_bytes, 768);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	return dma_rig_end(&rig);
}

static bool a_platform_with_any_limit_is_not_plain(void)
{
	static const char *const limits[] = {
		"width=63", "max-mapping=1T", "max-segment=1G", "boundary=1T", "align=2", "non-coherent line=64",
		"kind=offset window=0+1T@0",
	};
	unsigned i;

	for (i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		CHECK(start(limits[i]));
		CHECK(!rig.domain.plain);
		CHECK(dma_rig_end(&rig));
	}
	return true;
}

static bool a_mapping_beyond_the_limit_is_refused(void)
{
	struct viodma_buffer buffers[] = {{{RIG_HERE}, 4096}, {{RIG_HERE}, 1}};

	CHECK(start("kind=direct max-mapping=4K"));
	CHECK_RESULT(map(buffers, 2, 64), VIODMA_E_LIMIT);
	CHECK_RESULT(map(buffers, 1, 64), VIODMA_OK);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	return dma_rig_end(&rig);
}

static bool what_the_device_cannot_address_is_unreachable(void)
{
	static const struct viodma_buffer here = {{RIG_NEXT + RIG_NEXT_BYTES - 64}, 64}, far = {{RIG_FAR}, 64};

	CHECK(start("kind=direct width=32"));
	CHECK(!rig.domain.plain);
	CHECK_EQUAL(rig.domain.kind, VIODMA_DOMAIN_DIRECT);
	CHECK_RESULT(map(&here, 1, 1), VIODMA_OK);
	CHECK_EQUAL(segments[0].bus.v, here.phys.v);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	CHECK_RESULT(map(&far, 1, 1), VIODMA_E_UNREACHABLE);
	return dma_rig_end(&rig);
}

static bool the_last_address_of_the_width_is_reached_and_no_more(void)
{
	static const struct viodma_buffer last = {{0xfff}, 1}, over = {{0xfff}, 2}, beyond = {{0x1000}, 1};

	CHECK(start("kind=direct width=12"));
	rig.domain.config.memory = NULL;
	CHECK_RESULT(map(&last, 1, 2), VIODMA_OK);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	CHECK_RESULT(map(&over, 1, 2), VIODMA_E_UNREACHABLE);
	CHECK_RESULT(map(&beyond, 1, 2), VIODMA_E_UNREACHABLE);
	return dma_rig_end(&rig);
}

static bool live_mappings_are_counted_and_keep_the_domain(void)
{
	static const struct viodma_buffer buffer = {{RIG_HERE}, 64};
	struct viodma_mapping other;

	CHECK(start("kind=direct width=40"));
	CHECK_RESULT(map(&buffer, 1, 1), VIODMA_OK);
	CHECK_RESULT(viodma_domain_map(&rig.domain, &other, &buffer, 1, VIODMA_TO_DEVICE, segments + 1, 1), VIODMA_OK);
	CHECK_EQUAL(rig.domain.statistics.live, 2);
	CHECK_RESULT(viodma_domain_free(&rig.domain), VIODMA_E_BUSY);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_E_MISUSE);
	CHECK_RESULT(viodma_domain_free(&rig.domain), VIODMA_E_BUSY);
	CHECK_RESULT(viodma_domain_unmap(&other, 0), VIODMA_OK);
	CHECK_EQUAL(rig.domain.statistics.maps, 2);
	CHECK_EQUAL(rig.domain.statistics.unmaps, 2);
	CHECK_EQUAL(rig.domain.statistics.live_peak, 2);
	CHECK_EQUAL(rig.domain.statistics.in_place, 128);
	return dma_rig_end(&rig);
}

static bool parts_of_a_mapping_are_found(void)
{
	static const struct viodma_buffer buffers[] = {
		{{RIG_HERE}, 100}, {{RIG_HERE + 0x1000}, 100}, {{RIG_HERE + 0x2000}, 100},
	};
	struct viodma_segment parts[3];
	uint32_t count = 77;

	CHECK(start("kind=direct"));
	CHECK_RESULT(viodma_domain_map(&rig.domain, &mapping, buffers, 3, VIODMA_BIDIRECTIONAL, segments, 3), VIODMA_OK);
	CHECK_RESULT(viodma_mapping_segments(&mapping, 50, 200, VIODMA_WRITE, parts, 3, &count), VIODMA_OK);
	CHECK_EQUAL(count, 3);
	CHECK(parts[0].bus.v == RIG_HERE + 50 && parts[0].len_bytes == 50 && parts[0].permission == VIODMA_WRITE);
	CHECK(parts[1].bus.v == RIG_HERE + 0x1000 && parts[1].len_bytes == 100);
	CHECK(parts[2].bus.v == RIG_HERE + 0x2000 && parts[2].len_bytes == 50);
	CHECK_RESULT(viodma_mapping_segments(&mapping, 100, 1, VIODMA_READ, parts, 1, &count), VIODMA_OK);
	CHECK(count == 1 && parts[0].bus.v == RIG_HERE + 0x1000 && parts[0].len_bytes == 1);
	CHECK_RESULT(viodma_mapping_segments(&mapping, 299, 1, VIODMA_READ, parts, 1, &count), VIODMA_OK);
	CHECK_EQUAL(parts[0].bus.v, RIG_HERE + 0x2000 + 99);
	CHECK_RESULT(viodma_mapping_segments(&mapping, 99, 2, VIODMA_READ, parts, 1, &count), VIODMA_E_LIMIT);
	CHECK_RESULT(viodma_mapping_segments(&mapping, 0, 0, VIODMA_READ, parts, 3, &count), VIODMA_E_INVALID);
	CHECK_RESULT(viodma_mapping_segments(&mapping, 300, 1, VIODMA_READ, parts, 3, &count), VIODMA_E_INVALID);
	CHECK_RESULT(viodma_mapping_segments(&mapping, 299, 2, VIODMA_READ, parts, 3, &count), VIODMA_E_INVALID);
	CHECK_RESULT(viodma_mapping_segments(&mapping, 1, UINT64_MAX, VIODMA_READ, parts, 3, &count), VIODMA_E_INVALID);
	CHECK_RESULT(viodma_mapping_segments(&mapping, 0, 1, VIODMA_NO_ACCESS, parts, 3, &count), VIODMA_E_INVALID);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	CHECK_RESULT(viodma_mapping_segments(&mapping, 0, 1, VIODMA_READ, parts, 3, &count), VIODMA_E_INVALID);
	CHECK_RESULT(map(buffers, 1, 1), VIODMA_OK);
	CHECK_RESULT(viodma_mapping_segments(&mapping, 0, 1, VIODMA_WRITE, parts, 3, &count), VIODMA_E_INVALID);
	CHECK_RESULT(viodma_mapping_segments(&mapping, 0, 1, VIODMA_READ, parts, 3, &count), VIODMA_OK);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	return dma_rig_end(&rig);
}

static bool a_configuration_that_lacks_something_is_refused(void)
{
	struct viodma_domain_config config = {.platform = &rig.platform, .addressing = VIODMA_ADDRESSING_PLATFORM};

#define INIT(text, answer)                                                                                            \
	do {                                                                                                          \
		CHECK(dma_rig_start(&rig, text));                                                                     \
		CHECK_RESULT(viodma_domain_init(&rig.domain, &config), answer);                                       \
	} while (0)
	INIT("kind=direct", VIODMA_OK);
	INIT("kind=offset", VIODMA_E_INVALID);
	INIT("restricted", VIODMA_E_INVALID);
	INIT("non-coherent line=64", VIODMA_E_INVALID);
	config.memory = &rig.memory;
	INIT("restricted", VIODMA_E_INVALID);
	INIT("non-coherent line=64", VIODMA_E_INVALID);
	config.cache = &rig.cache;
	INIT("non-coherent line=64", VIODMA_OK);
	config.memory = NULL;
	INIT("non-coherent line=64", VIODMA_E_INVALID);
	config.memory = &rig.memory;
	CHECK(dma_rig_start(&rig, "kind=direct"));
	rig.platform.address_bits = 5;
	CHECK_RESULT(viodma_domain_init(&rig.domain, &config), VIODMA_E_INVALID);
	rig.platform.address_bits = 64;
	rig.objects[1].phys.v = RIG_HERE;
	CHECK_RESULT(viodma_domain_init(&rig.domain, &config), VIODMA_E_INVALID);
	return true;
}

static bool kinds_have_names(void)
{
	CHECK(!strcmp(viodma_domain_kind_name(VIODMA_DOMAIN_DIRECT), "direct"));
	CHECK(!strcmp(viodma_domain_kind_name(VIODMA_DOMAIN_OFFSET), "offset"));
	CHECK(!strcmp(viodma_domain_kind_name(VIODMA_DOMAIN_BOUNCE), "bounce"));
	CHECK(!strcmp(viodma_domain_kind_name(VIODMA_DOMAIN_IOMMU), "iommu"));
	CHECK(!strcmp(viodma_domain_kind_name(VIODMA_DOMAIN_BOUNCE_IOMMU), "bounce+iommu"));
	CHECK(!strcmp(viodma_domain_kind_name((enum viodma_domain_kind)9), "unknown"));
	return true;
}

HOLDS(a_plain_domain_hands_out_physical_addresses)
HOLDS(more_was_written_than_was_mapped)
HOLDS(more_buffers_than_segments_go_in_if_they_adjoin)
BEHAVIOUR(what_cannot_be_a_mapping_is_refused, "DRV-15")
HOLDS(segments_obey_the_platforms_limits)
HOLDS(buffers_that_adjoin_at_a_boundary_are_not_merged)
HOLDS(a_platform_with_any_limit_is_not_plain)
HOLDS(a_mapping_beyond_the_limit_is_refused)
BEHAVIOUR(what_the_device_cannot_address_is_unreachable, "DRV-2")
HOLDS(the_last_address_of_the_width_is_reached_and_no_more)
HOLDS(live_mappings_are_counted_and_keep_the_domain)
HOLDS(parts_of_a_mapping_are_found)
HOLDS(a_configuration_that_lacks_something_is_refused)
HOLDS(kinds_have_names)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(a_plain_domain_hands_out_physical_addresses),
		TEST(more_was_written_than_was_mapped),
		TEST(more_buffers_than_segments_go_in_if_they_adjoin),
		WITH_MUTANT(what_cannot_be_a_mapping_is_refused),
		TEST(segments_obey_the_platforms_limits),
		TEST(buffers_that_adjoin_at_a_boundary_are_not_merged),
		TEST(a_platform_with_any_limit_is_not_plain),
		TEST(a_mapping_beyond_the_limit_is_refused),
		WITH_MUTANT(what_the_device_cannot_address_is_unreachable),
		TEST(the_last_address_of_the_width_is_reached_and_no_more),
		TEST(live_mappings_are_counted_and_keep_the_domain),
		TEST(parts_of_a_mapping_are_found),
		TEST(a_configuration_that_lacks_something_is_refused),
		TEST(kinds_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
