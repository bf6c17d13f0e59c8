/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_domain_random.c - random platforms, random scatter lists: what must hold on all of them.
 *
 * Of each platform the limits are asked, and mappings made within them, with room for just as many segments as the
 * limits say. With nothing else mapped such a map never fails; with others it may have to wait, and nothing else. The
 * device's side then finds every byte by arithmetic of its own, within every limit, and no IOMMU entry leads to memory
 * that is not mapped whole. A map that fails leaves nothing behind. In the end all memory is as it was.
 *
 * VIODMA_RANDOM_SEED and VIODMA_RANDOM_ROUNDS: other numbers, more of them. A failure prints the platform and its seed.
 */
#include "tests/support/dma_rig.h"
#include "tests/support/iommu_model.h"

enum { LIVE = 3, BUFFERS = 6, SEGMENTS = 4096, MAPPINGS = 14, BYTES_MOST = 24 * 1024, GRANULES = 1024, WAITING = 8 };

struct live {
	struct viodma_mapping mapping;
	struct viodma_buffer buffers[BUFFERS];
	struct viodma_segment segments[SEGMENTS];
	uint32_t count;
	bool is_live;
};

static struct dma_rig rig;
static struct iommu_model iommu;
static struct viodma_iommu_config iommu_config;
static struct viodma_iommu_waiting waiting[WAITING];
static unsigned char iommu_storage[VIODMA_IOMMU_STORAGE_BYTES(GRANULES)] __attribute__((aligned(16)));
static struct live lives[LIVE];
static unsigned char bytes[BYTES_MOST], seen[BYTES_MOST];
static unsigned char more_storage[VIODMA_POOL_STORAGE_BYTES(RIG_POOL_BYTES, 64)] __attribute__((aligned(16)));
static struct viodma_dma_memory ring;
static struct check_random random_numbers;

static uint64_t below(uint64_t bound)
{
	return check_below(&random_numbers, bound);
}

static uint32_t one_of(const uint32_t *numbers, uint32_t count)
{
	return numbers[below(count)];
}
#define ONE_OF(...) one_of((const uint32_t[]){__VA_ARGS__}, sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

/* ---- a platform ---- */

static void add_window(struct viodma_platform *platform, uint64_t phys, uint64_t len_bytes, uint64_t bus)
{
	platform->windows[platform->window_count++] = (struct viodma_window){{phys}, {bus}, len_bytes};
}

static void random_windows(struct viodma_platform *platform)
{
	/* Places on the bus, in an order of their own; the pool and its like always below 31 bits. */
	uint64_t first = 0x10000000u * below(3) + 0x1000 * below(16), cut = 0x1000 * (1 + below(63));

	add_window(platform, RIG_POOL, RIG_POOL_BYTES, first + 0x2000000);
	add_window(platform, RIG_RING, RIG_RING_BYTES, first + 0x1000000);
	if (below(4)) {
		add_window(platform, RIG_HERE, cut, first + 0x6000000);
		add_window(platform, RIG_HERE + cut, RIG_HERE_BYTES - cut,
			   below(3) ? first + 0x5000000 : first + 0x6000000 + cut);
	}
	if (below(4))
		add_window(platform, RIG_NEXT, RIG_NEXT_BYTES,
			   below(2) ? 0xfffff000u - RIG_NEXT_BYTES / 2 : first + 0x6000000 - RIG_NEXT_BYTES);
	if (below(2))
		add_window(platform, RIG_FAR, RIG_FAR_BYTES, (uint64_t)0 - RIG_FAR_BYTES);
}

static void random_platform(struct viodma_platform *platform)
{
	viodma_platform_init(platform);
	platform->kind = (enum viodma_platform_kind)below(3);
	platform->address_bits = ONE_OF(64, 64, 48, 36, 35, 32, 31);
	platform->granule_bytes = ONE_OF(1, 1, 64, 512, 4096);
	if (platform->kind == VIODMA_PLATFORM_IOMMU)
		platform->granule_bytes = ONE_OF(64, 512, 4096);
	platform->alignment_bytes = ONE_OF(1, 1, 1, 2, 4, 64, 512);
	if (platform->kind == VIODMA_PLATFORM_IOMMU && platform->alignment_bytes > platform->granule_bytes)
		platform->alignment_bytes = platform->granule_bytes;
	if (platform->kind == VIODMA_PLATFORM_OFFSET && below(4))
		random_windows(platform);
	else if (platform->kind == VIODMA_PLATFORM_OFFSET && (platform->granule_bytes = 4096))
		platform->address_bits = 64;
	if (below(3) == 0)
		platform->mapping_bytes_max = 1 + below(BYTES_MOST);
	if (below(3) == 0)
		platform->segment_bytes_max = platform->alignment_bytes + 63 + (uint32_t)below(5000);
	if (below(3) == 0)
		platform->boundary_bytes = (uint64_t)(platform->alignment_bytes | 64) << below(8);
	if (platform->boundary_bytes & (platform->boundary_bytes - 1)) /* 64 or the alignment, which is more */
		platform->boundary_bytes &= platform->boundary_bytes - 1;
	platform->coherent = below(3) != 0;
	if (!platform->coherent || below(4) == 0)
		platform->line_bytes = ONE_OF(1, 16, 64, platform->kind == VIODMA_PLATFORM_IOMMU ? 32 : 512);
	platform->restricted = below(3) == 0;
	platform->pool_at_physical = below(2) && !platform->window_count;
}

static uint32_t random_slot(const struct viodma_platform *platform)
{
	uint32_t least = platform->alignment_bytes > 64 ? platform->alignment_bytes : 64;

	if (platform->kind == VIODMA_PLATFORM_IOMMU && platform->granule_bytes > least)
		least = platform->granule_bytes;
	if (!platform->coherent && platform->line_bytes > least)
		least = platform->line_bytes;
	return least << below(least < 1024 ? 4 : 1);
}

/* One chunk of memory, or two. */
static bool add_pool(void)
{
	uint32_t slot_bytes = random_slot(&rig.platform), run_slots = 1 + (uint32_t)below(64);
	uint32_t slots = RIG_POOL_BYTES / slot_bytes;
	uint64_t first_bytes = (uint64_t)(1 + below(below(3) ? slots : 40 < slots ? 40 : slots)) * slot_bytes;
	struct viodma_object more = {dma_rig_at(&rig, RIG_POOL), {RIG_POOL}, RIG_POOL_BYTES - first_bytes};

	rig.rings_apart = below(2);
	CHECK_RESULT(dma_rig_add_pool(&rig, slot_bytes, run_slots * slot_bytes, first_bytes), VIODMA_OK);
	if (below(2) || !more.len_bytes)
		return true;
	more.memory = dma_rig_at(&rig, RIG_POOL + first_bytes);
	more.phys.v += first_bytes;
	more.len_bytes = (1 + below(more.len_bytes / slot_bytes)) * slot_bytes;
	CHECK_RESULT(viodma_pool_add(&rig.pool, &more, more_storage, sizeof(more_storage)), VIODMA_OK);
	return true;
}

static void add_iommu(void)
{
	iommu_model_init(&iommu, rig.platform.granule_bytes);
	iommu_config = (struct viodma_iommu_config){
		.ops = below(2) ? &iommu_model_ops : &iommu_model_ops_by_range,
		.context = &iommu,
		.mode = below(2) ? VIODMA_IOMMU_DEFERRED : VIODMA_IOMMU_STRICT,
		.storage = iommu_storage,
		.storage_bytes = sizeof(iommu_storage),
		.granules = 16u << below(7),
		.waiting = waiting,
		.deferred_max = 1 + (uint32_t)below(WAITING),
		.deferred_ns = 1000000,
		.now_ns = iommu_model_now,
	};
	rig.iommu = rig.platform.kind == VIODMA_PLATFORM_IOMMU ? &iommu_config : NULL;
	rig.translate = rig.platform.kind == VIODMA_PLATFORM_IOMMU ? iommu_model_translate : NULL;
	rig.translate_context = &iommu;
}

static bool start(void)
{
	struct viodma_platform platform;
	enum viodma_addressing addressing = VIODMA_ADDRESSING_PLATFORM;
	const char *what;

	random_platform(&platform);
	if (viodma_platform_check(&platform, &what) != VIODMA_OK)
		return check_note(__FILE__, __LINE__, "%s", what);
	dma_rig_start_on(&rig, &platform);
	if (below(4) == 0 && (!platform.restricted || platform.pool_at_physical))
		addressing = VIODMA_ADDRESSING_PHYSICAL;
	if (platform.restricted || platform.kind == VIODMA_PLATFORM_IOMMU || below(6))
		CHECK(add_pool());
	add_iommu();
	CHECK_RESULT(dma_rig_add_domain(&rig, addressing), VIODMA_OK);
	memset(&ring, 0, sizeof(ring));
	if (rig.has_pool && below(3) == 0) {
		struct viodma_pool *pool = rig.has_ring_pool ? &rig.ring_pool : &rig.pool;
		uint64_t len_bytes = 1 + below(viodma_domain_needs_sync(&rig.domain) ? pool->slot_bytes : 64);
		enum viodma_result result = viodma_domain_alloc(&rig.domain, &ring, len_bytes, 64, VIODMA_BIDIRECTIONAL);

		CHECK(result == VIODMA_OK || result == VIODMA_E_UNREACHABLE);
	}
	return true;
}

/* ---- a mapping ---- */

static bool meets(const struct viodma_buffer *one, const struct viodma_buffer *other)
{
	return one->phys.v < other->phys.v + other->len_bytes && other->phys.v < one->phys.v + one->len_bytes;
}

static bool is_taken(const struct viodma_buffer *buffer)
{
	uint32_t i, k;

	for (i = 0; i < LIVE; i++)
		for (k = 0; k < lives[i].count; k++)
			if (meets(buffer, &lives[i].buffers[k]))
				return true;
	return false;
}

/* Somewhere in HERE and NEXT, as if they were one; or in FAR. */
static void random_buffer(struct viodma_buffer *buffer, uint64_t most)
{
	bool far = below(4) == 0;
	uint64_t base = far ? RIG_FAR : RIG_HERE, span = far ? RIG_FAR_BYTES : RIG_HERE_BYTES + RIG_NEXT_BYTES, at;
	uint64_t len_bytes = 1 + below(below(3) ? most : most < 300 ? most : 300);

	at = below(span - len_bytes + 1);
	if (below(5) == 0 && !far)
		at = RIG_HERE_BYTES - below(len_bytes);
	if (below(3) == 0)
		at &= ~(uint64_t)4095;
	if (below(4) == 0)
		len_bytes = (len_bytes + 511) & ~(uint64_t)511;
	if (len_bytes > most)
		len_bytes = most;
	if (at + len_bytes > span)
		at = span - len_bytes;
	buffer->phys.v = base + at;
	buffer->len_bytes = (uint32_t)len_bytes;
}

static uint64_t choose_buffers(struct live *live, const struct viodma_limits *limits)
{
	uint64_t room = limits->mapping_bytes_max < BYTES_MOST ? limits->mapping_bytes_max : BYTES_MOST, total = 0;
	uint32_t count = 1 + (uint32_t)below(BUFFERS);

	if (count > limits->buffers_max)
		count = limits->buffers_max;
	live->count = 0;
	while (live->count < count && total < room) {
		struct viodma_buffer *buffer = &live->buffers[live->count];

		random_buffer(buffer, below(4) ? 1 + (room - total - 1) / 2 : room - total);
		if (live->count && below(4) == 0) /* next to the one before it */
			buffer->phys.v = buffer[-1].phys.v + buffer[-1].len_bytes;
		if (is_taken(buffer) || !viodma_memory_at(&rig.memory, buffer->phys, 1) ||
		    !viodma_memory_at(&rig.memory, (viodma_phys){buffer->phys.v + buffer->len_bytes - 1}, 1) ||
		    (buffer->phys.v < RIG_POOL && buffer->phys.v + buffer->len_bytes > RIG_NEXT + RIG_NEXT_BYTES))
			continue;
		total += buffer->len_bytes;
		live->count++;
	}
	return total;
}

static unsigned char *byte_at(const struct viodma_buffer *buffers, uint64_t position, uint64_t *phys)
{
	while (position >= buffers->len_bytes)
		position -= buffers++->len_bytes;
	*phys = buffers->phys.v + position;
	return dma_rig_at(&rig, *phys);
}

/* Is each granule in the table pool memory, or mapped whole? */
static bool grants_nothing_else(void)
{
	uint64_t granule = rig.platform.granule_bytes, k;
	uint32_t i;

	for (i = 0; i < IOMMU_MODEL_GRANULES; i++) {
		uint64_t phys = iommu.table[i].phys;

		if (!iommu.table[i].permission || (phys >= RIG_POOL && phys < RIG_RING + RIG_RING_BYTES))
			continue;
		CHECK(!rig.platform.restricted);
		for (k = 0; k < granule; k += granule > 64 ? 37 : 1)
			CHECK(is_taken(&(struct viodma_buffer){{phys + k}, 1}));
		CHECK(is_taken(&(struct viodma_buffer){{phys + granule - 1}, 1}));
	}
	return true;
}

static bool device_sees_it(struct live *live)
{
	struct viodma_mapping *mapping = &live->mapping;
	uint64_t k, total = 0, phys;
	uint32_t i;

	for (i = 0; i < mapping->segment_count; i++) {
		CHECK_EQUAL(live->segments[i].permission, mapping->direction);
		total += live->segments[i].len_bytes;
	}
	CHECK_EQUAL(total, mapping->len_bytes);
	if (!(mapping->direction & VIODMA_TO_DEVICE))
		return true;
	CHECK(dma_rig_device_reads(&rig, live->segments, mapping->segment_count, 0, seen, total));
	for (k = 0; k < total; k++)
		CHECK_EQUAL(seen[k], *byte_at(live->buffers, k, &phys));
	return true;
}

/* The bytes before and behind each buffer, as far as they are nobody's, are the driver's while the buffer is mapped. */
enum step { CHANGE, COMPARE, RESTORE };

static bool neighbours(const struct live *live, enum step step)
{
	uint32_t i;

	for (i = 0; i < 2 * live->count; i++) {
		const struct viodma_buffer *buffer = &live->buffers[i / 2];
		uint64_t phys = buffer->phys.v + (i % 2 ? buffer->len_bytes : UINT64_MAX);
		unsigned char *byte = dma_rig_at(&rig, phys);

		if (!byte || phys == RIG_POOL || is_taken(&(struct viodma_buffer){{phys}, 1}))
			continue;
		if (step == COMPARE)
			CHECK_EQUAL(*byte, (unsigned char)~dma_rig_pattern(phys));
		else
			*byte = step == CHANGE ? (unsigned char)~dma_rig_pattern(phys) : dma_rig_pattern(phys);
	}
	return true;
}

/* The device writes all or part of it, the driver sees that and nothing else; then all is as before. */
static bool driver_sees_it(struct live *live)
{
	struct viodma_mapping *mapping = &live->mapping;
	uint64_t k, written = below(3) ? below(mapping->len_bytes + 1) : mapping->len_bytes, phys;
	uint64_t from = below(mapping->len_bytes), to = from + below(mapping->len_bytes - from + 1);

	CHECK(neighbours(live, CHANGE));
	for (k = 0; k < written; k++)
		bytes[k] = (unsigned char)(below(256));
	CHECK(dma_rig_device_writes(&rig, live->segments, mapping->segment_count, 0, bytes, written));
	if (!rig.platform.coherent && below(2))
		dma_rig_evict(&rig);
	if (to > written)
		to = written;
	if (from < to) {
		viodma_domain_sync_for_driver(mapping, from, to - from);
		for (k = from; k < to; k++)
			CHECK_EQUAL(*byte_at(live->buffers, k, &phys), bytes[k]);
	}
	CHECK_RESULT(viodma_domain_unmap(mapping, written), VIODMA_OK);
	CHECK(neighbours(live, COMPARE) && neighbours(live, RESTORE));
	for (k = 0; k < written; k++) {
		unsigned char *byte = byte_at(live->buffers, k, &phys);

		CHECK_EQUAL(*byte, bytes[k]);
		*byte = dma_rig_pattern(phys);
	}
	return true;
}

static bool end_one(struct live *live)
{
	enum viodma_direction direction = live->mapping.direction;
	uint64_t k, phys;

	if (direction == VIODMA_BIDIRECTIONAL && below(2)) { /* the driver changes some of it first */
		uint64_t from = below(live->mapping.len_bytes), to = from + below(live->mapping.len_bytes - from + 1);

		for (k = from; k < to; k++)
			*byte_at(live->buffers, k, &phys) ^= 0xff;
		viodma_domain_sync_for_device(&live->mapping, from, to - from);
		CHECK(device_sees_it(live));
		for (k = from; k < to; k++)
			*byte_at(live->buffers, k, &phys) ^= 0xff;
		viodma_domain_sync_for_device(&live->mapping, from, to - from);
	}
	if (direction & VIODMA_FROM_DEVICE)
		CHECK(driver_sees_it(live));
	else
		CHECK_RESULT(viodma_domain_unmap(&live->mapping, 0), VIODMA_OK);
	live->is_live = false;
	live->count = 0;
	return true;
}

static enum viodma_result map(struct live *live, enum viodma_direction direction, uint32_t capacity)
{
	return viodma_domain_map(&rig.domain, &live->mapping, live->buffers, live->count, direction, live->segments,
				 capacity);
}

/* A map that fails, on purpose, leaves everything as it was. */
static bool fails_without_a_trace(struct live *live, enum viodma_direction direction, uint32_t capacity)
{
	uint64_t used_bytes, count = rig.domain.statistics.live;
	uint32_t entered = iommu_model_entered(&iommu);
	enum viodma_result result;

	CHECK_RESULT(viodma_domain_settle(&rig.domain, true), VIODMA_OK);
	used_bytes = rig.pool.statistics.used_bytes;
	if (rig.domain.kind >= VIODMA_DOMAIN_IOMMU && below(2)) {
		iommu.fail_map = 1 + (unsigned)below(4);
		result = map(live, direction, capacity);
		if (iommu.fail_map) { /* it took fewer calls */
			iommu.fail_map = 0;
			if (result == VIODMA_OK)
				CHECK_RESULT(viodma_domain_unmap(&live->mapping, 0), VIODMA_OK);
			CHECK_RESULT(viodma_domain_settle(&rig.domain, true), VIODMA_OK);
		} else {
			CHECK_RESULT(result, VIODMA_E_IO);
		}
	} else {
		CHECK(map(live, direction, 0) != VIODMA_OK);
	}
	CHECK_EQUAL(rig.pool.statistics.used_bytes, used_bytes);
	CHECK_EQUAL(rig.domain.statistics.live, count);
	CHECK_EQUAL(iommu_model_entered(&iommu), entered);
	return true;
}

static bool map_one(struct live *live)
{
	enum viodma_direction direction = (enum viodma_direction)(1 + below(3));
	struct viodma_limits limits;
	enum viodma_result result;
	uint64_t total, most;
	uint32_t i;

	viodma_domain_limits(&rig.domain, &limits);
	CHECK(limits.segments_per_buffer && limits.segment_grain_bytes);
	if (!limits.buffers_max || !limits.mapping_bytes_max) {
		CHECK(ring.memory != NULL); /* it took the whole pool */
		return true;
	}
	total = choose_buffers(live, &limits);
	most = live->count * (uint64_t)limits.segments_per_buffer + total / limits.segment_grain_bytes;
	if (most > SEGMENTS) {
		live->count = 0; /* a platform with tiny limits */
		return true;
	}
	if (below(4) == 0)
		CHECK(fails_without_a_trace(live, direction, (uint32_t)most));
	result = map(live, direction, (uint32_t)most);
	if (result == VIODMA_OK) {
		live->is_live = true;
		CHECK(device_sees_it(live));
		for (i = 0; i < live->mapping.segment_count; i++)
			CHECK(live->segments[i].len_bytes <= limits.segment_bytes_max);
		return grants_nothing_else();
	}
	CHECK(live->mapping.domain == NULL);
	live->count = 0;
	if (result == VIODMA_E_UNREACHABLE && !rig.has_pool)
		return true;
	if (result == VIODMA_E_EXHAUSTED && rig.domain.statistics.live)
		return true;
	if (ring.memory && result == VIODMA_E_LIMIT) /* cut in pieces by the ring */
		return true;
	return check_note(__FILE__, __LINE__, "a map of %u buffers, %llu bytes, %llu segments: %s", live->count,
			  (unsigned long long)total, (unsigned long long)most, viodma_result_name(result));
}

static bool one_platform(void)
{
	unsigned i;

	memset(lives, 0, sizeof(lives));
	CHECK(start());
	for (i = 0; i < MAPPINGS; i++) {
		struct live *live = &lives[below(below(2) ? LIVE : 1)];

		iommu.now_ns += below(500000);
		if (live->is_live)
			CHECK(end_one(live));
		else
			CHECK(map_one(live));
	}
	for (i = 0; i < LIVE; i++)
		if (lives[i].is_live)
			CHECK(end_one(&lives[i]));
	if (ring.memory)
		CHECK_RESULT(viodma_domain_release(&ring), VIODMA_OK);
	CHECK(dma_rig_rest_is_intact(&rig, NULL, 0));
	CHECK(dma_rig_end(&rig));
	CHECK_EQUAL(iommu_model_entered(&iommu) + iommu.broken, 0);
	return true;
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 0) : otherwise;
}

static bool every_byte_is_found_on_every_platform(void)
{
	uint64_t seed = from_environment("VIODMA_RANDOM_SEED", 1), i;
	uint64_t rounds = from_environment("VIODMA_RANDOM_ROUNDS", 1200);
	char text[VIODMA_PLATFORM_TEXT_BYTES];

	for (i = 0; i < rounds; i++, seed++) {
		random_numbers.state = seed * 0x9e3779b97f4a7c15u;
		if (one_platform())
			continue;
		CHECK_RESULT(viodma_platform_format(&rig.platform, text, sizeof(text)), VIODMA_OK);
		fprintf(stderr, "# seed %llu: %s (%s; slot %u, run %u, pool %llu)\n", (unsigned long long)seed, text,
			rig.addressing == VIODMA_ADDRESSING_PHYSICAL ? "physical" : viodma_domain_kind_name(rig.domain.kind),
			rig.pool.slot_bytes, rig.pool.run_bytes, (unsigned long long)rig.pool.statistics.bytes);
		return false;
	}
	return true;
}

HOLDS(every_byte_is_found_on_every_platform)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(every_byte_is_found_on_every_platform),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
