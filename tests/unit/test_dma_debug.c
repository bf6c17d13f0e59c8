/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_dma_debug.c - how it works: for each kind of misuse, use as it should be is not reported, on any kind of domain,
 * and the misuse is: once, with the mapping it is about. What was expected is looked at in the counts, so that nothing
 * else is reported either.
 */
#include "tests/support/iommu_rig.h"

#include <viodma/dma_debug.h>

#define ENTRIES 8u

static const char *const platforms[] = {
	"kind=direct",
	"kind=direct non-coherent line=64",
	"kind=offset window=0x40000000+0x100000@0x7000000000 window=0x50000000+0x40000@0x90000",
	"kind=direct restricted pool-at-physical pool=0x50000000+256K",
	IOMMU,
	BOUNCE_IOMMU,
};
#define PLATFORMS (sizeof(platforms) / sizeof(platforms[0]))

static struct viodma_debug debug;
static struct viodma_debug_entry entries[ENTRIES], more_entries[5 * ENTRIES];
static struct viodma_debug_report last;
static struct viodma_buffer buffers[2];

static void on_report(void *context, const struct viodma_debug_report *report)
{
	(void)context;
	last = *report;
}

static bool start_debugging(const char *platform)
{
	CHECK(prepare(platform, VIODMA_IOMMU_STRICT, 64));
	memset(&last, 0, sizeof(last));
	viodma_debug_init(&debug, entries, ENTRIES, on_report, NULL);
	rig.debug = &debug;
	CHECK_RESULT(dma_rig_add_domain(&rig, VIODMA_ADDRESSING_PLATFORM), VIODMA_OK);
	buffers[0].phys.v = RIG_HERE + 64;
	buffers[0].len_bytes = 5000;
	buffers[1].phys.v = RIG_HERE + 4 * GRANULE;
	buffers[1].len_bytes = GRANULE;
	return true;
}

/* One more report, of this kind, about this mapping. */
static bool reported(enum viodma_debug_kind kind, const struct viodma_mapping *about)
{
	uint64_t all = 0;
	unsigned i;

	CHECK_EQUAL(debug.counts[kind], 1);
	for (i = 0; i < sizeof(debug.counts) / sizeof(debug.counts[0]); i++)
		all += debug.counts[i];
	CHECK_EQUAL(all, 1);
	CHECK_EQUAL(debug.reports, 1);
	CHECK_EQUAL(last.kind, kind);
	CHECK(last.mapping == about);
	debug.counts[kind] = 0;
	debug.reports = 0;
	return true;
}

static bool nothing_is_reported(void)
{
	if (debug.reports)
		return check_note(__FILE__, __LINE__, "reported: %s", viodma_debug_kind_name(last.kind));
	return true;
}

static bool ends_without_a_report(void)
{
	CHECK(nothing_is_left());
	return nothing_is_reported();
}

/* Persistent buffers of each direction, as headers say that they are used. */
static bool use(enum viodma_direction direction)
{
	unsigned char bytes[100];
	unsigned round;

	memset(bytes, 0x5a, sizeof(bytes));
	*dma_rig_at(&rig, RIG_HERE + 64) = 1;
	CHECK_RESULT(map(buffers, 2, direction), VIODMA_OK);
	for (round = 0; round < 3; round++) {
		CHECK(viodma_debug_hand_over(&mapping));
		if (direction & VIODMA_FROM_DEVICE) {
			CHECK(dma_rig_device_writes(&rig, segments, mapping.segment_count, 10 * round, bytes, sizeof(bytes)));
			viodma_domain_sync_for_driver(&mapping, 0, mapping.len_bytes);
			CHECK_EQUAL(*dma_rig_at(&rig, RIG_HERE + 64 + 50), 0x5a);
		}
		/* The second time the driver has changed nothing, and needs not sync. */
		if (round != 1) {
			*dma_rig_at(&rig, RIG_HERE + 100) = (unsigned char)(round + 77);
			viodma_domain_sync_for_device(&mapping, 36, 1);
		}
	}
	CHECK_RESULT(viodma_domain_unmap(&mapping, direction & VIODMA_FROM_DEVICE ? 120 : 0), VIODMA_OK);
	return nothing_is_reported();
}

static bool right_use_is_not_reported_on_any_kind_of_domain(void)
{
	unsigned i;

	for (i = 0; i < PLATFORMS; i++) {
		CHECK(start_debugging(platforms[i]));
		CHECK(use(VIODMA_TO_DEVICE) && use(VIODMA_FROM_DEVICE) && use(VIODMA_BIDIRECTIONAL));
		CHECK(ends_without_a_report());
	}
	return true;
}

static bool a_mapping_that_is_left_is_a_leak(void)
{
	CHECK(start_debugging(IOMMU));
	CHECK_RESULT(map(buffers, 2, VIODMA_TO_DEVICE), VIODMA_OK);
	CHECK_RESULT(viodma_domain_free(&rig.domain), VIODMA_E_BUSY);
	CHECK(reported(VIODMA_DEBUG_LEAK, &mapping));
	CHECK_EQUAL(last.phys.v, RIG_HERE + 64);
	CHECK_EQUAL(last.len_bytes, 5000 + GRANULE);
	CHECK_EQUAL(last.direction, VIODMA_TO_DEVICE);
	CHECK_EQUAL(last.number, 1);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	return ends_without_a_report();
}

static bool a_live_mapping_is_not_mapped_again(void)
{
	CHECK(start_debugging(IOMMU));
	CHECK_RESULT(map(buffers, 1, VIODMA_TO_DEVICE), VIODMA_OK);
	CHECK_RESULT(map(&buffers[1], 1, VIODMA_TO_DEVICE), VIODMA_E_MISUSE);
	CHECK(reported(VIODMA_DEBUG_DOUBLE_MAP, &mapping));
	/* The first one is as it was. */
	CHECK(viodma_debug_hand_over(&mapping) && device_reads_all(buffers, 1));
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	CHECK_RESULT(map(&buffers[1], 1, VIODMA_TO_DEVICE), VIODMA_OK);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	return ends_without_a_report();
}

static bool what_is_not_mapped_is_neither_unmapped_nor_synced_nor_handed_over(void)
{
	unsigned i;

	for (i = 0; i < PLATFORMS; i++) {
		CHECK(start_debugging(platforms[i]));
		CHECK_RESULT(map(buffers, 2, VIODMA_FROM_DEVICE), VIODMA_OK);
		CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
		CHECK(nothing_is_reported());
		CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_E_MISUSE);
		CHECK(reported(VIODMA_DEBUG_NOT_MAPPED, &mapping));
		viodma_domain_sync_for_driver(&mapping, 0, 1);
		CHECK(reported(VIODMA_DEBUG_NOT_MAPPED, &mapping));
		viodma_domain_sync_for_device(&mapping, 0, 1);
		CHECK(reported(VIODMA_DEBUG_NOT_MAPPED, &mapping));
		CHECK(!viodma_debug_hand_over(&mapping));
		CHECK(reported(VIODMA_DEBUG_NOT_MAPPED, &mapping));
		CHECK(ends_without_a_report());
	}
	return true;
}

static bool a_map_whose_failure_was_not_noticed_is_told_apart(void)
{
	CHECK(start_debugging(IOMMU));
	model.fail_map = 1;
	CHECK_RESULT(map(buffers, 2, VIODMA_TO_DEVICE), VIODMA_E_IO);
	CHECK(nothing_is_reported()); /* to fail is no misuse */
	CHECK(!viodma_debug_hand_over(&mapping));
	CHECK(reported(VIODMA_DEBUG_UNCHECKED_MAP, &mapping));
	CHECK_EQUAL(last.phys.v, RIG_HERE + 64);
	CHECK_EQUAL(last.number, 1);
	viodma_domain_sync_for_device(&mapping, 0, 1);
	CHECK(reported(VIODMA_DEBUG_UNCHECKED_MAP, &mapping));
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_E_MISUSE);
	CHECK(reported(VIODMA_DEBUG_UNCHECKED_MAP, &mapping));
	/* Tried again it is like any other. */
	CHECK_RESULT(map(buffers, 2, VIODMA_TO_DEVICE), VIODMA_OK);
	CHECK(viodma_debug_hand_over(&mapping));
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	/* Left alone, it is no leak. */
	model.fail_map = 1;
	CHECK_RESULT(map(buffers, 2, VIODMA_TO_DEVICE), VIODMA_E_IO);
	return ends_without_a_report();
}

static bool a_direction_is_kept_to(void)
{
	CHECK(start_debugging(IOMMU));
	CHECK_RESULT(map(buffers, 2, VIODMA_TO_DEVICE), VIODMA_OK);
	viodma_domain_sync_for_driver(&mapping, 0, 1);
	CHECK(reported(VIODMA_DEBUG_DIRECTION, &mapping));
	segments[1].permission = VIODMA_WRITE;
	CHECK(!viodma_debug_hand_over(&mapping));
	CHECK(reported(VIODMA_DEBUG_DIRECTION, &mapping));
	segments[1].permission = VIODMA_READ;
	CHECK(viodma_debug_hand_over(&mapping));
	CHECK_RESULT(viodma_domain_unmap(&mapping, 1), VIODMA_OK); /* the device has written nothing */
	CHECK(reported(VIODMA_DEBUG_DIRECTION, &mapping));
	/* To sync what the device will write is right: a cache may hold dirty lines. */
	CHECK_RESULT(map(buffers, 2, VIODMA_FROM_DEVICE), VIODMA_OK);
	viodma_domain_sync_for_device(&mapping, 0, 1);
	CHECK(viodma_debug_hand_over(&mapping));
	CHECK_RESULT(viodma_domain_unmap(&mapping, 1), VIODMA_OK);
	return ends_without_a_report();
}

static bool nothing_goes_beyond_the_end(void)
{
	CHECK(start_debugging(IOMMU));
	CHECK_RESULT(map(buffers, 2, VIODMA_FROM_DEVICE), VIODMA_OK);
	viodma_domain_sync_for_driver(&mapping, 0, 5000 + GRANULE);
	viodma_domain_sync_for_driver(&mapping, 5000 + GRANULE, 0);
	CHECK(nothing_is_reported());
	viodma_domain_sync_for_driver(&mapping, 1, 5000 + GRANULE);
	CHECK(reported(VIODMA_DEBUG_LENGTH, &mapping));
	viodma_domain_sync_for_device(&mapping, UINT64_MAX, 2);
	CHECK(reported(VIODMA_DEBUG_LENGTH, &mapping));
	CHECK_RESULT(viodma_domain_unmap(&mapping, 5001 + GRANULE), VIODMA_E_INVALID);
	CHECK(reported(VIODMA_DEBUG_LENGTH, &mapping));
	CHECK_RESULT(map(buffers, 2, VIODMA_FROM_DEVICE), VIODMA_OK);
	CHECK_RESULT(viodma_domain_unmap(&mapping, 5000 + GRANULE), VIODMA_OK);
	return ends_without_a_report();
}

static bool what_is_mapped_does_not_change(void)
{
	struct viodma_mapping kept;

	CHECK(start_debugging(IOMMU));
	CHECK_RESULT(map(buffers, 2, VIODMA_TO_DEVICE), VIODMA_OK);
	buffers[1].len_bytes--;
	CHECK(!viodma_debug_hand_over(&mapping));
	CHECK(reported(VIODMA_DEBUG_CHANGED, &mapping));
	buffers[1].len_bytes++;
	segments[0].bus.v += 8;
	viodma_domain_sync_for_device(&mapping, 0, 1);
	CHECK(reported(VIODMA_DEBUG_CHANGED, &mapping));
	segments[0].bus.v -= 8;
	mapping.segment_count--;
	CHECK(!viodma_debug_hand_over(&mapping));
	CHECK(reported(VIODMA_DEBUG_CHANGED, &mapping));
	mapping.segment_count++;
	CHECK(viodma_debug_hand_over(&mapping));
	kept = mapping;
	mapping.domain = NULL; /* overwritten, say, by a map that was not checked */
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_E_MISUSE);
	CHECK(reported(VIODMA_DEBUG_CHANGED, &mapping));
	mapping = kept;
	mapping.direction = VIODMA_BIDIRECTIONAL;
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	CHECK(reported(VIODMA_DEBUG_CHANGED, &mapping));
	CHECK_RESULT(map(buffers, 2, VIODMA_BIDIRECTIONAL), VIODMA_OK);
	segments[0].permission = VIODMA_READ; /* the direction allows it; but descriptors have permissions of their own */
	CHECK(!viodma_debug_hand_over(&mapping));
	CHECK(reported(VIODMA_DEBUG_CHANGED, &mapping));
	segments[0].permission = VIODMA_READ_WRITE;
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	return ends_without_a_report();
}

static bool overlap(uint64_t first, uint32_t len_bytes, enum viodma_direction one, enum viodma_direction two, bool wrong)
{
	/* The first byte of a second buffer decides, so that spans meet in any case. */
	const struct viodma_buffer others[2] = {{{RIG_HERE + 2 * GRANULE}, 100}, {{first}, len_bytes}};
	struct viodma_mapping other;
	struct viodma_segment found[8];

	CHECK_RESULT(map(buffers, 2, one), VIODMA_OK);
	CHECK_RESULT(viodma_domain_map(&rig.domain, &other, others, 2, two, found, 8), VIODMA_OK);
	if (wrong) {
		CHECK(reported(VIODMA_DEBUG_OVERLAP, &other));
		CHECK_EQUAL(last.phys.v, first < RIG_HERE + 4 * GRANULE ? RIG_HERE + 4 * GRANULE : first);
		CHECK_EQUAL(last.len_bytes, 1);
	}
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	CHECK_RESULT(viodma_domain_unmap(&other, 0), VIODMA_OK);
	return nothing_is_reported();
}

static bool no_byte_is_in_two_mappings_that_the_device_writes(void)
{
	const uint64_t begins = RIG_HERE + 4 * GRANULE, ends = RIG_HERE + 5 * GRANULE;

	CHECK(start_debugging(IOMMU));
	/* Side by side, on either side. */
	CHECK(overlap(begins - 64, 64, VIODMA_FROM_DEVICE, VIODMA_FROM_DEVICE, false));
	CHECK(overlap(ends, 64, VIODMA_FROM_DEVICE, VIODMA_FROM_DEVICE, false));
	/* One byte common. */
	CHECK(overlap(begins - 64, 65, VIODMA_FROM_DEVICE, VIODMA_TO_DEVICE, true));
	CHECK(overlap(ends - 1, 64, VIODMA_TO_DEVICE, VIODMA_FROM_DEVICE, true));
	CHECK(overlap(ends - 1, 64, VIODMA_BIDIRECTIONAL, VIODMA_TO_DEVICE, true));
	/* All may read. */
	CHECK(overlap(begins - 64, 65, VIODMA_TO_DEVICE, VIODMA_TO_DEVICE, false));
	return ends_without_a_report();
}

static bool without_sync(const char *platform, enum viodma_direction direction)
{
	unsigned char *byte;

	CHECK(start_debugging(platform));
	buffers[1].len_bytes -= 3;
	CHECK_RESULT(map(buffers, 2, direction), VIODMA_OK);
	byte = dma_rig_at(&rig, RIG_HERE + 5 * GRANULE - 4); /* the very last one */
	CHECK(viodma_debug_hand_over(&mapping));
	(*byte)++;
	CHECK(!viodma_debug_hand_over(&mapping));
	CHECK(reported(VIODMA_DEBUG_WITHOUT_SYNC, &mapping));
	viodma_domain_sync_for_device(&mapping, 0, mapping.len_bytes);
	CHECK(viodma_debug_hand_over(&mapping));
	/* What the device will write anyway is nobody's business. */
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	CHECK_RESULT(map(buffers, 2, VIODMA_FROM_DEVICE), VIODMA_OK);
	(*byte)++;
	CHECK(viodma_debug_hand_over(&mapping));
	CHECK_RESULT(viodma_domain_unmap(&mapping, 0), VIODMA_OK);
	return ends_without_a_report();
}

static bool data_is_synced_before_it_is_handed_over(void)
{
	unsigned i;

	for (i = 0; i < PLATFORMS; i++)
		CHECK(without_sync(platforms[i], VIODMA_TO_DEVICE) && without_sync(platforms[i], VIODMA_BIDIRECTIONAL));
	return true;
}

static bool a_full_table_is_told_once_and_right_use_goes_on(void)
{
	static struct viodma_mapping many[ENTRIES + 3];
	static struct viodma_segment found[ENTRIES + 3][2];
	static struct viodma_buffer single[ENTRIES + 3];
	unsigned i;

	CHECK(start_debugging(IOMMU));
	for (i = 0; i < ENTRIES + 3; i++) {
		single[i].phys.v = RIG_HERE + i * GRANULE;
		single[i].len_bytes = GRANULE;
		CHECK_RESULT(viodma_domain_map(&rig.domain, &many[i], &single[i], 1, VIODMA_FROM_DEVICE, found[i], 2), VIODMA_OK);
		if (i < ENTRIES)
			CHECK(nothing_is_reported());
	}
	CHECK(reported(VIODMA_DEBUG_FULL, &many[ENTRIES]));
	CHECK(debug.full);
	for (i = 0; i < ENTRIES + 3; i++) {
		CHECK(viodma_debug_hand_over(&many[i]));
		viodma_domain_sync_for_driver(&many[i], 0, 1);
		CHECK_RESULT(viodma_domain_unmap(&many[i], 1), VIODMA_OK);
	}
	CHECK(nothing_is_reported());
	/* What is surely not live is still found out. */
	CHECK_RESULT(viodma_domain_unmap(&many[0], 0), VIODMA_E_MISUSE);
	CHECK(reported(VIODMA_DEBUG_NOT_MAPPED, &many[0]));
	return ends_without_a_report();
}

/* Failed maps, however many, take no room from live ones, nor time: a few are remembered. */
static bool failed_maps_do_not_fill_the_table(void)
{
	static struct viodma_mapping many[5 * ENTRIES];
	unsigned i;

	CHECK(start_debugging(IOMMU));
	debug.entry_count = 5 * ENTRIES;
	debug.entries = more_entries;
	for (i = 0; i < 5 * ENTRIES; i++) {
		if (i == 3 * ENTRIES) {
			CHECK(debug.used < 3 * ENTRIES);
			debug.used = ENTRIES;
			debug.entry_count = ENTRIES;
		}
		model.fail_map = 1;
		CHECK_RESULT(viodma_domain_map(&rig.domain, &many[i], buffers, 2, VIODMA_TO_DEVICE, segments, 16), VIODMA_E_IO);
	}
	/* The last one is. */
	CHECK_RESULT(viodma_domain_unmap(&many[5 * ENTRIES - 1], 0), VIODMA_E_MISUSE);
	CHECK(reported(VIODMA_DEBUG_UNCHECKED_MAP, &many[5 * ENTRIES - 1]));
	for (i = 0; i < ENTRIES; i++)
		CHECK_RESULT(viodma_domain_map(&rig.domain, &many[i], buffers, 1, VIODMA_TO_DEVICE, &segments[i], 1), VIODMA_OK);
	CHECK(nothing_is_reported());
	for (i = 0; i < ENTRIES; i++)
		CHECK_RESULT(viodma_domain_unmap(&many[i], 0), VIODMA_OK);
	return ends_without_a_report();
}

static bool without_a_debug_layer_nothing_is_checked(void)
{
	CHECK(start(IOMMU, VIODMA_IOMMU_STRICT, 16));
	CHECK_RESULT(map(buffers, 0, VIODMA_TO_DEVICE), VIODMA_E_INVALID);
	CHECK(viodma_debug_hand_over(&mapping));
	return nothing_is_left();
}

static bool each_kind_has_a_name(void)
{
	unsigned i, k;

	for (i = 0; i <= VIODMA_DEBUG_FULL; i++)
		for (k = 0; k < i; k++)
			CHECK(strcmp(viodma_debug_kind_name((enum viodma_debug_kind)i),
				     viodma_debug_kind_name((enum viodma_debug_kind)k)) != 0);
	CHECK(strcmp(viodma_debug_kind_name((enum viodma_debug_kind)77), "unknown") == 0);
	return true;
}

HOLDS(right_use_is_not_reported_on_any_kind_of_domain)
HOLDS(a_mapping_that_is_left_is_a_leak)
HOLDS(a_live_mapping_is_not_mapped_again)
HOLDS(what_is_not_mapped_is_neither_unmapped_nor_synced_nor_handed_over)
HOLDS(a_map_whose_failure_was_not_noticed_is_told_apart)
HOLDS(a_direction_is_kept_to)
HOLDS(nothing_goes_beyond_the_end)
HOLDS(what_is_mapped_does_not_change)
HOLDS(no_byte_is_in_two_mappings_that_the_device_writes)
HOLDS(data_is_synced_before_it_is_handed_over)
HOLDS(a_full_table_is_told_once_and_right_use_goes_on)
HOLDS(failed_maps_do_not_fill_the_table)
HOLDS(without_a_debug_layer_nothing_is_checked)
HOLDS(each_kind_has_a_name)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(right_use_is_not_reported_on_any_kind_of_domain),
		TEST(a_mapping_that_is_left_is_a_leak),
		TEST(a_live_mapping_is_not_mapped_again),
		TEST(what_is_not_mapped_is_neither_unmapped_nor_synced_nor_handed_over),
		TEST(a_map_whose_failure_was_not_noticed_is_told_apart),
		TEST(a_direction_is_kept_to),
		TEST(nothing_goes_beyond_the_end),
		TEST(what_is_mapped_does_not_change),
		TEST(no_byte_is_in_two_mappings_that_the_device_writes),
		TEST(data_is_synced_before_it_is_handed_over),
		TEST(a_full_table_is_told_once_and_right_use_goes_on),
		TEST(failed_maps_do_not_fill_the_table),
		TEST(without_a_debug_layer_nothing_is_checked),
		TEST(each_kind_has_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
