/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_dma_fault_loop.c - how it works: one scripted workload on every kind of domain: ring memory, a persistent buffer,
 * requests that come and go. Whatever can fail (a call of the IOMMU, the growth of the pool, room in the pool, room for bus
 * addresses) is counted, and in run N the Nth fails; in a second loop, it and all that follow. N goes from 1 until a run
 * has fewer.
 *
 * The script does as a driver would: tries again a few times, gives up then, and never touches memory again whose mapping
 * could not be ended. After each run nothing is live, all that is in use is quarantined, what was read and written is
 * right, the domain's last word fits, and the debug layer has seen no misuse.
 */
#include "tests/support/iommu_rig.h"

#include "core/dma/dma.h"

#define REQUESTS 6u /* enough to settle by count, and by time */
#define PLACES 8u /* pieces of memory for requests; one that is lost is not used again */
#define ATTEMPTS 4u
#define FIRST_SLOTS 6u
#define RUNS_MOST 1000u

static const struct {
	const char *platform;
	enum viodma_iommu_mode mode;
} kinds[] = {
	{"kind=direct", VIODMA_IOMMU_STRICT},
	{"kind=direct width=32", VIODMA_IOMMU_STRICT},
	{"kind=direct non-coherent line=64", VIODMA_IOMMU_STRICT},
	{"kind=offset window=0x40000000+0x100000@0x7000000000 window=0x50000000+0x40000@0x90000 window=0x900000000+1M@0x10000000",
	 VIODMA_IOMMU_STRICT},
	{"kind=offset restricted window=0x50000000+0x40000@0x90000 pool=0x50000000+256K", VIODMA_IOMMU_STRICT},
	{IOMMU, VIODMA_IOMMU_STRICT},
	{IOMMU, VIODMA_IOMMU_DEFERRED},
	{IOMMU " non-coherent line=64", VIODMA_IOMMU_DEFERRED},
	{BOUNCE_IOMMU, VIODMA_IOMMU_STRICT},
	{BOUNCE_IOMMU, VIODMA_IOMMU_DEFERRED},
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static struct viodma_debug debug;
static struct viodma_debug_entry entries[16];
static unsigned char more_storage[VIODMA_POOL_STORAGE_BYTES(RIG_POOL_BYTES, GRANULE)] __attribute__((aligned(16)));

/* What fails, and what the script has lost. */
static unsigned calls, failing;
static bool for_ever, grown;
static uint32_t place;
static unsigned given_up;

static bool fails(void *context)
{
	(void)context;
	calls++;
	return for_ever ? failing && calls >= failing : calls == failing;
}

static bool grow(void *context, struct viodma_pool *pool, uint64_t wanted_bytes)
{
	struct viodma_object more = rig.objects[2];

	(void)context;
	(void)wanted_bytes;
	if (grown || fails(NULL))
		return false;
	grown = true;
	more.memory = (unsigned char *)more.memory + FIRST_SLOTS * GRANULE;
	more.phys.v += FIRST_SLOTS * GRANULE;
	more.len_bytes -= FIRST_SLOTS * GRANULE;
	return viodma_pool_add(pool, &more, more_storage, sizeof(more_storage)) == VIODMA_OK;
}

/* ---- room that is not there: somebody else has taken all of it ---- */

static struct theft {
	uint32_t runs[RIG_POOL_BYTES / GRANULE], run_count;
	viodma_bus bus[RANGE];
	uint32_t bus_count;
} theft;

static void steal(void)
{
	theft.run_count = theft.bus_count = 0;
	if (fails(NULL)) {
		rig.pool.config.grow = NULL;
		while ((theft.runs[theft.run_count] = viodma_pool_take(&rig.pool, 1, 0)) != VIODMA_POOL_NONE)
			theft.run_count++;
	}
	if (rig.platform.kind == VIODMA_PLATFORM_IOMMU && fails(NULL))
		while (viodma_iova_take(&rig.domain, 1, 1, &theft.bus[theft.bus_count]) == VIODMA_OK)
			theft.bus_count++;
}

static void give_back(void)
{
	while (theft.run_count)
		viodma_pool_give(&rig.pool, theft.runs[--theft.run_count]);
	while (theft.bus_count)
		viodma_iova_give(&rig.domain, theft.bus[--theft.bus_count], 1);
	rig.pool.config.grow = grow;
}

/* ---- what a driver does ---- */

struct request {
	struct viodma_mapping mapping;
	struct viodma_buffer buffers[2];
	struct viodma_segment segments[8];
	bool mapped;
};

/* Tries and tries; without success the request is not mapped. False: not how it should be. */
static bool map_request(struct request *request, enum viodma_direction direction, uint64_t at)
{
	unsigned attempt;

	for (attempt = 0; attempt < ATTEMPTS && place < PLACES; attempt++) {
		enum viodma_result result;

		request->buffers[0].phys.v = RIG_HERE + (uint64_t)place * 8 * GRANULE + at;
		request->buffers[0].len_bytes = 2 * GRANULE + 100;
		request->buffers[1].phys.v = RIG_FAR + (uint64_t)place * 4 * GRANULE + at / 4;
		request->buffers[1].len_bytes = 700;
		steal();
		result = viodma_domain_map(&rig.domain, &request->mapping, request->buffers, 2, direction, request->segments, 8);
		give_back();
		request->mapped = result == VIODMA_OK;
		if (request->mapped)
			return true;
		CHECK(!request->mapping.domain);
		CHECK(result == VIODMA_E_EXHAUSTED || result == VIODMA_E_LIMIT || result == VIODMA_E_IO ||
		      result == VIODMA_E_QUARANTINED);
		if (result == VIODMA_E_QUARANTINED)
			place++;
	}
	given_up++;
	return true;
}

static bool unmap_request(struct request *request, uint64_t written_bytes)
{
	enum viodma_result result;

	if (!request->mapped)
		return true;
	result = viodma_domain_unmap(&request->mapping, written_bytes);
	CHECK(result == VIODMA_OK || result == VIODMA_E_QUARANTINED);
	CHECK(!request->mapping.domain);
	request->mapped = false;
	if (result == VIODMA_E_QUARANTINED)
		place++;
	return true;
}

static bool written(const struct request *request, const unsigned char *bytes)
{
	uint32_t i, k;

	for (i = 0; i < 2; i++)
		for (k = 0; k < request->buffers[i].len_bytes; k++)
			CHECK_EQUAL(*dma_rig_at(&rig, request->buffers[i].phys.v + k), *bytes++);
	return true;
}

/* A request that the device reads, and one that it writes, live together. */
static bool one_exchange(unsigned number)
{
	static struct request out, in;
	static unsigned char bytes[2 * GRANULE + 800];
	uint32_t k;

	CHECK(map_request(&out, VIODMA_TO_DEVICE, 0x40));
	if (out.mapped) {
		CHECK(viodma_debug_hand_over(&out.mapping));
		CHECK(dma_rig_device_reads(&rig, out.segments, out.mapping.segment_count, 0, bytes, sizeof(bytes)));
		CHECK(written(&out, bytes));
	}
	CHECK(map_request(&in, VIODMA_FROM_DEVICE, 4 * GRANULE));
	model.now_ns += number % 3 == 1 ? 1200 : 300;
	CHECK(unmap_request(&out, 0));
	if (in.mapped) {
		for (k = 0; k < sizeof(bytes); k++)
			bytes[k] = (unsigned char)(k * 3 + number + (k >> 8));
		CHECK(viodma_debug_hand_over(&in.mapping));
		CHECK(dma_rig_device_writes(&rig, in.segments, in.mapping.segment_count, 0, bytes, sizeof(bytes)));
		CHECK(unmap_request(&in, sizeof(bytes)) && written(&in, bytes));
	}
	return true;
}

/* A buffer that stays mapped, in both directions by turns. */
static bool use_persistent(struct request *request, unsigned char number)
{
	unsigned char *byte = dma_rig_at(&rig, request->buffers[0].phys.v + 5000), got = 0;

	if (!request->mapped)
		return true;
	*byte = number;
	viodma_domain_sync_for_device(&request->mapping, 4000, 2000);
	CHECK(viodma_debug_hand_over(&request->mapping));
	CHECK(dma_rig_device_reads(&rig, request->segments, request->mapping.segment_count, 5000, &got, 1));
	CHECK_EQUAL(got, number);
	got++;
	CHECK(dma_rig_device_writes(&rig, request->segments, request->mapping.segment_count, 5000, &got, 1));
	viodma_domain_sync_for_driver(&request->mapping, 5000, 1);
	CHECK_EQUAL(*byte, (unsigned char)(number + 1));
	return true;
}

static bool alloc_ring(struct viodma_dma_memory *ring)
{
	const struct viodma_segment *segment = &ring->segment;
	unsigned attempt;

	for (attempt = 0; attempt < ATTEMPTS; attempt++) {
		unsigned char byte = 0x33;
		enum viodma_result result;

		steal();
		result = viodma_domain_alloc(&rig.domain, ring, 5000, 4096, VIODMA_BIDIRECTIONAL);
		give_back();
		if (result == VIODMA_OK) {
			CHECK(dma_rig_device_writes(&rig, segment, 1, 4999, &byte, 1));
			CHECK_EQUAL(*((const unsigned char *)(const void *)ring->memory + 4999), 0x33);
			return true;
		}
		CHECK(result == VIODMA_E_EXHAUSTED || result == VIODMA_E_LIMIT || result == VIODMA_E_IO);
	}
	return true;
}

static bool run_script(void)
{
	static struct viodma_dma_memory ring;
	static struct request persistent;
	enum viodma_result result;
	unsigned i;

	memset(&ring, 0, sizeof(ring));
	CHECK(alloc_ring(&ring));
	CHECK(map_request(&persistent, VIODMA_BIDIRECTIONAL, 0));
	if (persistent.mapped)
		place++; /* the others are somewhere else */
	for (i = 0; i < REQUESTS; i++)
		CHECK(one_exchange(i) && use_persistent(&persistent, (unsigned char)(i * 7)));
	CHECK(unmap_request(&persistent, 0));
	if (ring.mapping.domain) {
		result = viodma_domain_release(&ring);
		CHECK(result == VIODMA_OK || result == VIODMA_E_QUARANTINED);
	}
	result = viodma_domain_settle(&rig.domain, true);
	CHECK(result == VIODMA_OK || result == VIODMA_E_QUARANTINED);
	return true;
}

/* ---- one run ---- */

static bool start_run(unsigned kind, unsigned fail)
{
	CHECK(prepare(kinds[kind].platform, kinds[kind].mode, 0));
	rig.pool_config.grow = grow;
	CHECK_RESULT(dma_rig_add_pool(&rig, GRANULE, 0, FIRST_SLOTS * GRANULE), VIODMA_OK);
	rig.pool_config.grow = NULL; /* of a ring pool, none */
	viodma_debug_init(&debug, entries, 16, NULL, NULL);
	rig.debug = &debug;
	CHECK_RESULT(dma_rig_add_domain(&rig, VIODMA_ADDRESSING_PLATFORM), VIODMA_OK);
	model.fails = fails;
	calls = 0;
	failing = fail;
	grown = false;
	place = 0;
	given_up = 0;
	return true;
}

static bool all_is_accounted_for(void)
{
	const struct viodma_domain_statistics *statistics = &rig.domain.statistics;
	bool slots_are_lost = rig.pool.statistics.quarantined_bytes != 0;

	CHECK_EQUAL(statistics->live, 0);
	CHECK_EQUAL(statistics->maps, statistics->unmaps);
	CHECK_EQUAL(statistics->iommu.waiting, 0);
	CHECK_EQUAL(rig.domain.allocated, 0);
	CHECK_EQUAL(rig.pool.statistics.used_bytes, rig.pool.statistics.quarantined_bytes);
	CHECK_EQUAL(debug.reports, 0);
	CHECK_EQUAL(debug.live, 0);
	CHECK_EQUAL(model.broken, 0);
	CHECK_EQUAL(iommu_model_entered(&model) * (uint64_t)GRANULE, statistics->iommu.mapped_bytes);
	CHECK((uint64_t)rig.domain.iova_used * GRANULE >= statistics->iommu.quarantined_bytes);
	CHECK((uint64_t)rig.domain.iova_used * GRANULE <= 2 * statistics->iommu.quarantined_bytes);
	CHECK_EQUAL(statistics->quarantined != 0, statistics->iommu.quarantined_bytes != 0);
	if (!statistics->quarantined) {
		CHECK_EQUAL(iommu_model_entered(&model), 0);
		CHECK_EQUAL(rig.pool.statistics.quarantined_bytes, 0);
	}
	CHECK_RESULT(viodma_domain_free(&rig.domain), statistics->quarantined ? VIODMA_E_QUARANTINED : VIODMA_OK);
	CHECK_RESULT(viodma_pool_free(&rig.pool), slots_are_lost ? VIODMA_E_QUARANTINED : VIODMA_OK);
	return true;
}

static bool loop(unsigned kind, bool all_that_follow, unsigned *most)
{
	unsigned run;

	for_ever = all_that_follow;
	for (run = 1; run < RUNS_MOST; run++) {
		if (!start_run(kind, run) || !run_script() || !all_is_accounted_for()) {
			fprintf(stderr, "# on \"%s\", failure %u%s\n", kinds[kind].platform, run, for_ever ? " for ever" : "");
			return false;
		}
		if (calls < run)
			break;
		/* One failure is something a driver gets over. */
		CHECK(for_ever || !given_up);
	}
	CHECK(run < RUNS_MOST);
	CHECK(!given_up && !rig.domain.statistics.quarantined);
	*most = run;
	return true;
}

static bool any_one_call_fails_and_nothing_is_lost_but_what_is_quarantined(void)
{
	unsigned kind, most = 0;

	for (kind = 0; kind < KINDS; kind++) {
		if (!loop(kind, false, &most))
			return false;
		if (kinds[kind].platform[5] == 'i')
			CHECK(most > 50); /* it was not for nothing */
	}
	return true;
}

static bool everything_fails_from_one_call_on_and_it_ends_all_the_same(void)
{
	unsigned kind, most = 0;

	for (kind = 0; kind < KINDS; kind++)
		if (!loop(kind, true, &most))
			return false;
	return true;
}

HOLDS(any_one_call_fails_and_nothing_is_lost_but_what_is_quarantined)
HOLDS(everything_fails_from_one_call_on_and_it_ends_all_the_same)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(any_one_call_fails_and_nothing_is_lost_but_what_is_quarantined),
		TEST(everything_fails_from_one_call_on_and_it_ends_all_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
