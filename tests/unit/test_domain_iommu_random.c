/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_domain_iommu_random.c - how it works: random mappings come and go, each in a part of memory of its own, and the
 * device reads and writes all of them. Now and then the IOMMU's map fails; pool and bus addresses are too few for all. The
 * device sees what the driver wrote, the driver sees what the device wrote and nothing more, and in strict mode nothing
 * but live mappings is ever in reach. In the end all has been given back.
 */
#include "tests/support/iommu_rig.h"

#define PLACES 12u
#define PLACE_BYTES (8 * GRANULE)
#define BUFFERS 3u
#define ROUNDS 1500u
#define SLOTS 40u

static struct place {
	uint64_t phys;
	struct viodma_mapping mapping;
	struct viodma_buffer buffers[BUFFERS];
	struct viodma_segment segments[8];
	unsigned char before[PLACE_BYTES];
} places[PLACES];

static struct check_random dice;
static unsigned exhausted, failed;

static uint64_t up_to(uint64_t bound)
{
	return check_below(&dice, bound);
}

/* Buffers one after the other; often whole granules, sometimes adjoining. */
static uint32_t choose_buffers(struct place *place)
{
	uint32_t count = 1 + (uint32_t)up_to(BUFFERS), i;
	uint64_t at = place->phys;

	for (i = 0; i < count; i++) {
		uint64_t room = place->phys + PLACE_BYTES * (i + 1) / count - at, len_bytes;

		if (up_to(3))
			at += up_to(3) ? up_to(2) * GRANULE / 2 : up_to(room / 2);
		room = place->phys + PLACE_BYTES * (i + 1) / count - at;
		len_bytes = up_to(3) ? GRANULE * (1 + up_to(room / GRANULE)) : 1 + up_to(room);
		place->buffers[i].phys.v = at;
		place->buffers[i].len_bytes = (uint32_t)(len_bytes > room ? room : len_bytes);
		at += place->buffers[i].len_bytes;
	}
	return count;
}

/* The byte of memory at this position of a mapping. */
static unsigned char *byte_at(const struct place *place, uint64_t position)
{
	uint32_t i = 0;

	while (position >= place->buffers[i].len_bytes)
		position -= place->buffers[i++].len_bytes;
	return dma_rig_at(&rig, place->buffers[i].phys.v + position);
}

static bool begin(struct place *place)
{
	uint32_t count = choose_buffers(place), k;
	enum viodma_result result;

	for (k = 0; k < PLACE_BYTES; k += 1 + (uint32_t)up_to(64))
		*dma_rig_at(&rig, place->phys + k) = (unsigned char)up_to(256);
	if (!up_to(20))
		model.fail_map = 1 + (unsigned)up_to(4);
	result = viodma_domain_map(&rig.domain, &place->mapping, place->buffers, count, (enum viodma_direction)(1 + up_to(3)),
				   place->segments, 8);
	model.fail_map = 0;
	if (result == VIODMA_E_EXHAUSTED)
		exhausted++;
	else if (result == VIODMA_E_IO)
		failed++;
	else
		CHECK_RESULT(result, VIODMA_OK);
	memcpy(place->before, dma_rig_at(&rig, place->phys), PLACE_BYTES);
	return true;
}

static bool end(struct place *place)
{
	static unsigned char bytes[PLACE_BYTES], written[PLACE_BYTES];
	uint64_t len_bytes = place->mapping.len_bytes, put = 0, k;
	unsigned direction = place->mapping.direction;

	if (direction & VIODMA_READ) {
		CHECK(dma_rig_device_reads(&rig, place->segments, place->mapping.segment_count, 0, bytes, len_bytes));
		for (k = 0; k < len_bytes; k++)
			CHECK_EQUAL(bytes[k], *byte_at(place, k));
	} else {
		CHECK(!dma_rig_device_reads(&rig, place->segments, place->mapping.segment_count, 0, bytes, len_bytes));
	}
	if (direction & VIODMA_WRITE) {
		put = up_to(len_bytes + 1);
		for (k = 0; k < put; k++)
			written[k] = (unsigned char)up_to(256);
		CHECK(dma_rig_device_writes(&rig, place->segments, place->mapping.segment_count, 0, written, put));
	}
	CHECK_RESULT(viodma_domain_unmap(&place->mapping, put), VIODMA_OK);
	for (k = 0; k < put; k++) {
		unsigned char *byte = byte_at(place, k);

		CHECK_EQUAL(*byte, written[k]);
		*byte = place->before[byte - dma_rig_at(&rig, place->phys)];
	}
	CHECK(memcmp(place->before, dma_rig_at(&rig, place->phys), PLACE_BYTES) == 0);
	return true;
}

static bool only_live_mappings_are_in_reach(void)
{
	static struct viodma_buffer all[PLACES * BUFFERS];
	uint32_t count = 0, i, k;

	for (i = 0; i < PLACES; i++)
		for (k = 0; places[i].mapping.domain && k < places[i].mapping.buffer_count; k++)
			all[count++] = places[i].buffers[k];
	iommu_model_cache_all(&model);
	return reaches_only(all, rig.domain.kind == VIODMA_DOMAIN_IOMMU ? count : 0);
}

static bool play(const char *platform, enum viodma_iommu_mode mode, uint64_t seed)
{
	uint32_t i;

	CHECK(prepare(platform, mode, SLOTS));
	config.granules = 64;
	CHECK_RESULT(dma_rig_add_domain(&rig, VIODMA_ADDRESSING_PLATFORM), VIODMA_OK);
	memset(places, 0, sizeof(places));
	for (i = 0; i < PLACES; i++)
		places[i].phys = i < 8 ? RIG_HERE + i * PLACE_BYTES : RIG_FAR + (i - 8) * PLACE_BYTES;
	dice.state = seed;
	exhausted = failed = 0;
	for (i = 0; i < ROUNDS; i++) {
		struct place *place = &places[up_to(PLACES)];

		CHECK(place->mapping.domain ? end(place) : begin(place));
		model.now_ns += up_to(400);
		CHECK(rig.domain.waiting_count < WAITING);
		if (mode == VIODMA_IOMMU_STRICT && i % 32 == 0)
			CHECK(only_live_mappings_are_in_reach());
	}
	for (i = 0; i < PLACES; i++)
		CHECK(!places[i].mapping.domain || end(&places[i]));
	CHECK(exhausted && failed);
	return nothing_is_left();
}

static bool random_mappings_hold_in_strict_mode(void)
{
	return play(IOMMU, VIODMA_IOMMU_STRICT, 1);
}

static bool random_mappings_hold_in_deferred_mode(void)
{
	return play(IOMMU, VIODMA_IOMMU_DEFERRED, 2);
}

static bool random_mappings_hold_on_a_restricted_platform(void)
{
	return play(BOUNCE_IOMMU, VIODMA_IOMMU_STRICT, 3) && play(BOUNCE_IOMMU, VIODMA_IOMMU_DEFERRED, 4);
}

static bool random_mappings_hold_where_caches_need_maintenance(void)
{
	return play(IOMMU " non-coherent line=64", VIODMA_IOMMU_STRICT, 5) && play(BOUNCE_IOMMU " non-coherent line=64", VIODMA_IOMMU_DEFERRED, 6);
}

HOLDS(random_mappings_hold_in_strict_mode)
HOLDS(random_mappings_hold_in_deferred_mode)
HOLDS(random_mappings_hold_on_a_restricted_platform)
HOLDS(random_mappings_hold_where_caches_need_maintenance)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(random_mappings_hold_in_strict_mode),
		TEST(random_mappings_hold_in_deferred_mode),
		TEST(random_mappings_hold_on_a_restricted_platform),
		TEST(random_mappings_hold_where_caches_need_maintenance),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
