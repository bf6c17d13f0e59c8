/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_platform.c - descriptions of platforms: what is sound, the text form, and what is said of a wrong one.
 */
#include "tests/support/check.h"

#include <viodma/platform.h>

static bool is_refused(const struct viodma_platform *platform, const char *sentence)
{
	const char *what = NULL;

	CHECK_RESULT(viodma_platform_check(platform, &what), VIODMA_E_INVALID);
	CHECK(what != NULL);
	if (!strstr(what, sentence))
		return check_note(__FILE__, __LINE__, "\"%s\", not \"%s\"", what, sentence);
	return true;
}

static bool a_platform_of_which_nothing_is_said_is_direct(void)
{
	struct viodma_platform platform;
	const char *what = "something";
	char text[VIODMA_PLATFORM_TEXT_BYTES];

	memset(&platform, 0xa5, sizeof(platform));
	viodma_platform_init(&platform);
	CHECK_RESULT(viodma_platform_check(&platform, &what), VIODMA_OK);
	CHECK(what == NULL);
	CHECK(platform.kind == VIODMA_PLATFORM_DIRECT && platform.address_bits == 64 && platform.granule_bytes == 1);
	CHECK(platform.alignment_bytes == 1 && platform.coherent && platform.pass_through && !platform.restricted);
	CHECK(!platform.mapping_bytes_max && !platform.segment_bytes_max && !platform.boundary_bytes);
	CHECK_RESULT(viodma_platform_format(&platform, text, sizeof(text)), VIODMA_OK);
	CHECK(strcmp(text, "kind=direct") == 0);
	return true;
}

/* One member changed from what is sound, and what is said about it. */
static bool numbers_out_of_range_are_named(void)
{
	struct viodma_platform sound, platform;

	viodma_platform_init(&sound);
#define REFUSED(member, value, sentence)                                                                              \
	do {                                                                                                          \
		platform = sound;                                                                                     \
		platform.member = value;                                                                              \
		CHECK(is_refused(&platform, sentence));                                                               \
	} while (0)
	REFUSED(kind, (enum viodma_platform_kind)3, "kind");
	REFUSED(address_bits, 11, "width");
	REFUSED(address_bits, 65, "width");
	REFUSED(granule_bytes, 0, "granule");
	REFUSED(granule_bytes, 3, "granule");
	REFUSED(alignment_bytes, 0, "alignment");
	REFUSED(alignment_bytes, 24, "alignment");
	REFUSED(order, (enum viodma_order)2, "order");
	REFUSED(coherent, false, "no cache line");
	REFUSED(line_bytes, 48, "cache line");
	REFUSED(line_bytes, 8192, "cache line");
	REFUSED(segment_bytes_max, 63, "longest segment");
	REFUSED(boundary_bytes, 96, "boundary");
	REFUSED(boundary_bytes, 32, "boundary");
	REFUSED(window_count, 9, "windows");
	REFUSED(window_count, 1, "direct");
	REFUSED(pool_slot_bytes, 64, "pool");
	REFUSED(pool.v, 64, "pool");
	sound.alignment_bytes = 4096;
	REFUSED(segment_bytes_max, 4095, "shorter than the alignment");
	REFUSED(boundary_bytes, 2048, "less than the alignment");
	viodma_platform_init(&sound);
	sound.pool.v = 0x1000;
	sound.pool_bytes = 0x3000;
	REFUSED(pool_bytes, UINT64_MAX, "wraps");
	REFUSED(pool_slot_bytes, 32, "slot");
	REFUSED(pool_slot_bytes, 96, "slot");
	REFUSED(pool_slot_bytes, 2u << 20, "slot");
	REFUSED(pool_slot_bytes, 8192, "whole slots");
	return true;
}

static bool limits_at_their_ends_are_sound(void)
{
	struct viodma_platform platform;

	viodma_platform_init(&platform);
	platform.address_bits = 12;
	platform.granule_bytes = 1u << 31;
	platform.alignment_bytes = 64;
	platform.coherent = false;
	platform.line_bytes = 4096;
	platform.segment_bytes_max = 64;
	platform.boundary_bytes = 64;
	platform.mapping_bytes_max = 1;
	platform.pool_bytes = 0x100000;
	platform.pool_slot_bytes = 0x100000;
	platform.order = VIODMA_ORDER_PLATFORM;
	CHECK_RESULT(viodma_platform_check(&platform, NULL), VIODMA_OK);
	platform.boundary_bytes = (uint64_t)1 << 63;
	CHECK_RESULT(viodma_platform_check(&platform, NULL), VIODMA_OK);
	return true;
}

static bool windows_that_wrap_overlap_or_are_empty_are_named(void)
{
	struct viodma_platform sound = {.kind = VIODMA_PLATFORM_OFFSET}, platform;

	viodma_platform_init(&sound);
	sound.kind = VIODMA_PLATFORM_OFFSET;
	sound.granule_bytes = 4096;
	sound.window_count = 2;
	sound.windows[0] = (struct viodma_window){{0x10000}, {0x80000}, 0x4000};
	sound.windows[1] = (struct viodma_window){{0x14000}, {0x40000}, 0x4000};
	CHECK_RESULT(viodma_platform_check(&sound, NULL), VIODMA_OK);
	REFUSED(windows[1].len_bytes, 0, "empty");
	REFUSED(windows[1].phys.v, (uint64_t)0 - 0x3000, "wraps");
	REFUSED(windows[1].bus.v, (uint64_t)0 - 0x3000, "wraps");
	REFUSED(windows[1].phys.v, 0x13000, "physical");
	REFUSED(windows[0].phys.v, 0x17000, "physical");
	REFUSED(windows[1].bus.v, 0x7d000, "overlap in bus");
	REFUSED(windows[1].bus.v, 0x83000, "overlap in bus");
	REFUSED(windows[1].phys.v, 0x14010, "granules");
	REFUSED(windows[1].bus.v, 0x40800, "granules");
	REFUSED(windows[1].len_bytes, 0x801, "granules");
	sound.granule_bytes = 1;
	sound.alignment_bytes = 4096;
	REFUSED(windows[1].bus.v, 0x40800, "aligned");
	/* Up to the very end of both address spaces is no wrap; and over an IOMMU phys is not looked at. */
	platform = sound;
	platform.windows[1] = (struct viodma_window){{(uint64_t)0 - 0x4000}, {(uint64_t)0 - 0x4000}, 0x4000};
	CHECK_RESULT(viodma_platform_check(&platform, NULL), VIODMA_OK);
	platform = sound;
	platform.kind = VIODMA_PLATFORM_IOMMU;
	platform.windows[1].phys.v = 0x10001;
	CHECK_RESULT(viodma_platform_check(&platform, NULL), VIODMA_OK);
	return true;
}

static bool a_pool_outside_the_windows_is_named(void)
{
	struct viodma_platform sound, platform;

	viodma_platform_init(&sound);
	sound.kind = VIODMA_PLATFORM_OFFSET;
	sound.window_count = 2;
	sound.windows[0] = (struct viodma_window){{0x10000}, {0x80000}, 0x4000};
	sound.windows[1] = (struct viodma_window){{0x14000}, {0x14000}, 0x4000};
	sound.pool.v = 0x11000;
	sound.pool_bytes = 0x7000; /* in both */
	CHECK_RESULT(viodma_platform_check(&sound, NULL), VIODMA_OK);
	REFUSED(pool_bytes, 0x7001, "in no window");
	REFUSED(pool.v, 0xffff, "in no window");
	REFUSED(pool_at_physical, true, "physical addresses");
	platform = sound;
	platform.pool.v = 0x14000;
	platform.pool_bytes = 0x4000;
	platform.pool_at_physical = true;
	CHECK_RESULT(viodma_platform_check(&platform, NULL), VIODMA_OK);
	return true;
}

/* ---- text ---- */

static bool every_word_is_understood(void)
{
	static const char text[] = "\tkind=offset  width=40 granule=4K window=0x40000000+1G@0 "
				   "window=0x100000000+2G@1099511627776\nmax-mapping=1M max-segment=65536 "
				   "boundary=0x1000000 align=512 non-coherent line=64 order=platform restricted "
				   "pool=0x40000000+16M/4K no-pass-through ";
	struct viodma_platform platform;
	const char *what;
	uint32_t where;

	CHECK_RESULT(viodma_platform_parse(text, &platform, &where, &what), VIODMA_OK);
	CHECK(what == NULL && where == 0);
	CHECK_EQUAL(platform.kind, VIODMA_PLATFORM_OFFSET);
	CHECK_EQUAL(platform.address_bits, 40);
	CHECK_EQUAL(platform.granule_bytes, 4096);
	CHECK_EQUAL(platform.window_count, 2);
	CHECK_EQUAL(platform.windows[0].phys.v, 0x40000000);
	CHECK_EQUAL(platform.windows[0].len_bytes, 1 << 30);
	CHECK_EQUAL(platform.windows[0].bus.v, 0);
	CHECK_EQUAL(platform.windows[1].phys.v, 0x100000000);
	CHECK_EQUAL(platform.windows[1].bus.v, 1099511627776);
	CHECK_EQUAL(platform.mapping_bytes_max, 1 << 20);
	CHECK_EQUAL(platform.segment_bytes_max, 65536);
	CHECK_EQUAL(platform.boundary_bytes, 0x1000000);
	CHECK_EQUAL(platform.alignment_bytes, 512);
	CHECK(!platform.coherent && platform.order == VIODMA_ORDER_PLATFORM && platform.restricted);
	CHECK_EQUAL(platform.line_bytes, 64);
	CHECK_EQUAL(platform.pool.v, 0x40000000);
	CHECK_EQUAL(platform.pool_bytes, 16 << 20);
	CHECK_EQUAL(platform.pool_slot_bytes, 4096);
	CHECK(!platform.pool_at_physical && !platform.pass_through);
	CHECK_RESULT(viodma_platform_parse("coherent order=smp pass-through pool-at-physical kind=iommu window=0x1000+4G",
					   &platform, &where, &what), VIODMA_OK);
	CHECK(platform.coherent && !platform.line_bytes && platform.order == VIODMA_ORDER_SMP);
	CHECK(platform.pass_through && platform.pool_at_physical);
	CHECK_EQUAL(platform.windows[0].bus.v, 0x1000);
	CHECK_EQUAL(platform.windows[0].phys.v, 0);
	CHECK_EQUAL(platform.windows[0].len_bytes, 0x100000000);
	CHECK_RESULT(viodma_platform_parse("", &platform, NULL, NULL), VIODMA_OK);
	CHECK_EQUAL(platform.kind, VIODMA_PLATFORM_DIRECT);
	CHECK_RESULT(viodma_platform_parse("max-mapping=1T width=0x20", &platform, NULL, NULL), VIODMA_OK);
	CHECK_EQUAL(platform.mapping_bytes_max, (uint64_t)1 << 40);
	CHECK_EQUAL(platform.address_bits, 32);
	return true;
}

/* ^ in each text stands before the word that is wrong, and is not part of it. */
static const struct {
	const char *text, *what;
} wrong_texts[] = {
	{"kind=offset ^bounce", "not a word"},
	{"^kind=other", "direct, offset or iommu"},
	{"^kind=directly", "goes on"},
	{"^restricted=1", "goes on"},
	{"^Restricted", "not a word"},
	{"width=40 ^width=40", "said before"},
	{"coherent ^non-coherent", "said before"},
	{"pass-through restricted ^no-pass-through", "said before"},
	{"^width=", "width"},
	{"^width=4G", "goes on"},
	{"^width=65", "width"},
	{"^width=18446744073709551616", "width"},
	{"coherent ^width=11", "width"},
	{"^granule=4k", "goes on"},
	{"^granule=3", "granule"},
	{"^granule=0", "granule"},
	{"^granule=4G", "too large"},
	{"restricted ^non-coherent", "no cache line is stated"},
	{"^line=96 non-coherent", "cache line"},
	{"non-coherent ^line=8K", "cache line"},
	{"non-coherent line=64 ^line=64", "said before"},
	{"kind=iommu non-coherent granule=32 ^line=64", "larger than the granule"},
	{"line=64 kind=iommu ^non-coherent", "larger than the granule"},
	{"^max-mapping=18446744073709551616", "number"},
	{"^max-mapping=0x10000000000000000", "number"},
	{"^max-mapping=16777216T", "number"},
	{"^max-mapping=-1", "number"},
	{"^max-mapping=0x", "number"},
	{"^max-mapping=K", "number"},
	{"^max-segment=4G", "too large"},
	{"^max-segment=63", "at least 64"},
	{"align=4K restricted ^boundary=2K", "less than the alignment"},
	{"boundary=2K restricted ^align=4K", "less than the alignment"},
	{"^order=none", "smp or platform"},
	{"restricted ^window=0x1000+0x1000@0", "direct platform"},
	{"window=0x1000+0x1000@0 ^kind=direct", "direct platform"},
	{"kind=offset ^window=0x1000+0x1000", "kind=offset has"},
	{"window=0x1000+0x1000 ^kind=offset", "kind=offset has"},
	{"kind=iommu ^window=0x1000+0x1000@0", "kind=iommu has"},
	{"kind=offset ^window=0x1000", "length after"},
	{"kind=offset ^window=0x1000+", "number"},
	{"kind=offset ^window=0x1000+4K@", "address"},
	{"kind=offset ^window=+4K@0", "address"},
	{"kind=offset ^window=0x1000+0@0", "empty"},
	{"kind=offset ^window=0xffffffffffffffff+2@0", "wraps"},
	{"kind=offset ^window=0+2@0xffffffffffffffff", "wraps"},
	{"kind=offset window=0+4K@0 coherent ^window=0x800+4K@0x100000", "physical"},
	{"kind=iommu window=1+1 window=2+1 window=3+1 window=4+1 window=5+1 window=6+1 window=7+1 window=8+1 ^window=9+1",
	 "at most 8"},
	{"^pool=0x1000", "length after"},
	{"^pool=0x1000+0", "empty"},
	{"^pool=x+4K", "address"},
	{"^pool=0+4K/32", "slot"},
	{"^pool=0+4K/8K", "whole slots"},
	{"^pool=0+4K/4K/4K", "goes on"},
	{"kind=offset window=0+4K@0 ^pool=0x1000+4K", "in no window"},
	{"pool=0+4K kind=offset window=0+4K@0x1000 ^pool-at-physical", "physical addresses"},
};

static bool an_error_names_its_place_and_reason(void)
{
	unsigned i;

	for (i = 0; i < sizeof(wrong_texts) / sizeof(wrong_texts[0]); i++) {
		const char *marked = wrong_texts[i].text, *mark = strchr(marked, '^'), *what = NULL;
		struct viodma_platform platform;
		char text[256];
		uint32_t where = 12345;

		snprintf(text, sizeof(text), "%.*s%s", (int)(mark - marked), marked, mark + 1);
		CHECK_RESULT(viodma_platform_parse(text, &platform, &where, &what), VIODMA_E_INVALID);
		if (where != (uint32_t)(mark - marked) || !what || !strstr(what, wrong_texts[i].what))
			return check_note(__FILE__, __LINE__, "\"%s\": at %u: %s", marked, where,
					  what ? what : "no reason");
		CHECK_RESULT(viodma_platform_parse(text, &platform, NULL, NULL), VIODMA_E_INVALID);
	}
	return true;
}

/* ---- there and back ---- */

static uint64_t multiple(struct check_random *random, uint64_t bound, uint64_t unit)
{
	return check_below(random, bound / unit) * unit;
}

static void random_windows(struct check_random *random, struct viodma_platform *platform)
{
	uint64_t granule = platform->granule_bytes, alignment = platform->alignment_bytes;
	uint64_t unit = granule > alignment ? granule : alignment;
	uint32_t i, count = (uint32_t)check_below(random, VIODMA_PLATFORM_WINDOWS_MAX + 1);

	for (i = 0; i < count; i++) {
		struct viodma_window *window = &platform->windows[platform->window_count];
		uint64_t phys = (uint64_t)(7 - i) << 40, bus = (uint64_t)(i + 1) << 40;

		window->bus.v = bus + multiple(random, (uint64_t)1 << 39, unit);
		if (platform->kind == VIODMA_PLATFORM_OFFSET)
			window->phys.v = phys + multiple(random, (uint64_t)1 << 39, unit);
		window->len_bytes = unit + multiple(random, (uint64_t)1 << 38, unit);
		platform->window_count++;
	}
}

static void random_platform(struct check_random *random, struct viodma_platform *platform)
{
	viodma_platform_init(platform);
	platform->kind = (enum viodma_platform_kind)check_below(random, 3);
	platform->address_bits = 12 + (unsigned)check_below(random, 53);
	platform->granule_bytes = 1u << check_below(random, 17);
	platform->alignment_bytes = 1u << check_below(random, 13);
	if (platform->kind != VIODMA_PLATFORM_DIRECT)
		random_windows(random, platform);
	if (check_below(random, 2))
		platform->mapping_bytes_max = 1 + check_random(random);
	if (check_below(random, 2))
		platform->segment_bytes_max = platform->alignment_bytes + 64 + (uint32_t)check_below(random, 1u << 30);
	if (check_below(random, 2))
		platform->boundary_bytes = (uint64_t)4096 << check_below(random, 40);
	platform->coherent = check_below(random, 2);
	if (!platform->coherent || check_below(random, 2))
		platform->line_bytes = 1u << check_below(random, 13);
	if (platform->kind == VIODMA_PLATFORM_IOMMU && platform->line_bytes > platform->granule_bytes)
		platform->line_bytes = platform->granule_bytes;
	platform->order = (enum viodma_order)check_below(random, 2);
	platform->restricted = check_below(random, 2);
	platform->pass_through = check_below(random, 2);
	if (check_below(random, 2)) {
		bool fixed = platform->kind == VIODMA_PLATFORM_OFFSET && platform->window_count;

		platform->pool.v = fixed ? platform->windows[0].phys.v : multiple(random, (uint64_t)1 << 60, 4096);
		platform->pool_bytes = fixed ? platform->windows[0].len_bytes : 1 + check_below(random, (uint64_t)1 << 40);
		if (!fixed && check_below(random, 2)) {
			platform->pool_slot_bytes = 64u << check_below(random, 7);
			platform->pool_bytes = (uint64_t)platform->pool_slot_bytes << check_below(random, 30);
		}
	}
	platform->pool_at_physical = platform->kind != VIODMA_PLATFORM_OFFSET && check_below(random, 2);
}

static bool what_is_written_reads_the_same(void)
{
	struct check_random random = {.state = 20260701};
	unsigned i;

	for (i = 0; i < 20000; i++) {
		struct viodma_platform platform, again;
		char text[VIODMA_PLATFORM_TEXT_BYTES];
		const char *what = NULL;
		uint32_t where = 0;

		memset(&platform, 0, sizeof(platform));
		random_platform(&random, &platform);
		if (viodma_platform_format(&platform, text, sizeof(text)) != VIODMA_OK) {
			CHECK_RESULT(viodma_platform_check(&platform, &what), VIODMA_OK);
			return check_note(__FILE__, __LINE__, "the text does not fit");
		}
		if (viodma_platform_parse(text, &again, &where, &what) != VIODMA_OK)
			return check_note(__FILE__, __LINE__, "\"%s\": at %u: %s", text, where, what);
		if (memcmp(&platform, &again, sizeof(platform)) != 0)
			return check_note(__FILE__, __LINE__, "\"%s\" says something else", text);
	}
	return true;
}

static bool the_longest_description_fits_and_a_shorter_place_is_refused(void)
{
	struct viodma_platform platform;
	char text[VIODMA_PLATFORM_TEXT_BYTES], less[VIODMA_PLATFORM_TEXT_BYTES];
	size_t length, i;

	viodma_platform_init(&platform);
	platform.kind = VIODMA_PLATFORM_OFFSET;
	platform.address_bits = 63;
	platform.granule_bytes = 512;
	platform.alignment_bytes = 512;
	platform.segment_bytes_max = 4294967295u;
	platform.mapping_bytes_max = UINT64_MAX;
	platform.boundary_bytes = 512;
	platform.coherent = platform.pass_through = false;
	platform.line_bytes = 4096;
	platform.order = VIODMA_ORDER_PLATFORM;
	platform.restricted = platform.pool_at_physical = true;
	platform.window_count = 8;
	for (i = 0; i < 8; i++) {
		platform.windows[i].phys.v = platform.windows[i].bus.v = (uint64_t)(0xeu - i) << 60 | 0xffffffffffffe00u;
		platform.windows[i].len_bytes = ((uint64_t)1 << 60) - 512;
	}
	platform.pool.v = platform.windows[7].phys.v;
	platform.pool_bytes = ((uint64_t)1 << 60) - 512;
	platform.pool_slot_bytes = 512;
	CHECK_RESULT(viodma_platform_format(&platform, text, sizeof(text)), VIODMA_OK);
	length = strlen(text);
	CHECK(length > 500);
	for (i = 0; i <= length; i++) {
		memset(less, 0x55, sizeof(less));
		CHECK_RESULT(viodma_platform_format(&platform, less, i), VIODMA_E_LIMIT);
		CHECK(i == 0 || (strlen(less) == i - 1 && memcmp(less, text, i - 1) == 0));
		CHECK_EQUAL(less[i], 0x55);
	}
	CHECK_RESULT(viodma_platform_format(&platform, less, length + 1), VIODMA_OK);
	platform.granule_bytes = 3;
	CHECK_RESULT(viodma_platform_format(&platform, less, sizeof(less)), VIODMA_E_INVALID);
	CHECK(less[0] == '\0');
	return true;
}

HOLDS(a_platform_of_which_nothing_is_said_is_direct)
HOLDS(numbers_out_of_range_are_named)
HOLDS(limits_at_their_ends_are_sound)
HOLDS(windows_that_wrap_overlap_or_are_empty_are_named)
HOLDS(a_pool_outside_the_windows_is_named)
HOLDS(every_word_is_understood)
HOLDS(an_error_names_its_place_and_reason)
HOLDS(what_is_written_reads_the_same)
HOLDS(the_longest_description_fits_and_a_shorter_place_is_refused)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(a_platform_of_which_nothing_is_said_is_direct),
		TEST(numbers_out_of_range_are_named),
		TEST(limits_at_their_ends_are_sound),
		TEST(windows_that_wrap_overlap_or_are_empty_are_named),
		TEST(a_pool_outside_the_windows_is_named),
		TEST(every_word_is_understood),
		TEST(an_error_names_its_place_and_reason),
		TEST(what_is_written_reads_the_same),
		TEST(the_longest_description_fits_and_a_shorter_place_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
