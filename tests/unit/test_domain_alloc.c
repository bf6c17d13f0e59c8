/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_domain_alloc.c - memory that both halves use at once: rings, headers, status.
 */
#include "tests/support/dma_rig.h"

#define SECURE "kind=offset window=0x50000000+256K@0x8000000000 restricted"
#define POOL_BUS 0x8000000000u

static struct dma_rig rig;

static bool start(const char *platform, uint32_t slot_bytes, uint64_t pool_bytes)
{
	CHECK(dma_rig_start(&rig, platform));
	CHECK_RESULT(dma_rig_add_pool(&rig, slot_bytes, 8192, pool_bytes), VIODMA_OK);
	CHECK_RESULT(dma_rig_add_domain(&rig, VIODMA_ADDRESSING_PLATFORM), VIODMA_OK);
	return true;
}

static bool it_is_cleared_and_in_reach_at_once(void)
{
	struct viodma_dma_memory memory;
	struct viodma_segment parts[1];
	unsigned char bytes[3000] = {0}, seen[3000];
	uint32_t count;

	CHECK(start(SECURE, 512, 0));
	memset(rig.objects[2].memory, 0xee, RIG_POOL_BYTES); /* what the device left there */
	CHECK_RESULT(viodma_domain_alloc(&rig.domain, &memory, 3000, 4096, VIODMA_BIDIRECTIONAL), VIODMA_OK);
	CHECK_EQUAL(memory.phys.v, RIG_POOL);
	CHECK_EQUAL(memory.bus.v, POOL_BUS);
	CHECK_EQUAL(memory.len_bytes, 3000);
	CHECK((void *)memory.memory == dma_rig_at(&rig, RIG_POOL));
	CHECK_EQUAL(viodma_dma_memory_bus(&memory, 2999).v, POOL_BUS + 2999);
	CHECK_RESULT(viodma_mapping_segments(&memory.mapping, 0, 3000, VIODMA_READ, parts, 1, &count), VIODMA_OK);
	CHECK(dma_rig_device_reads(&rig, parts, 1, 0, seen, 3000));
	CHECK(memcmp(seen, bytes, 3000) == 0);
	/* Each half sees the other's bytes with nothing in between. */
	memset(bytes, 0x37, sizeof(bytes));
	memcpy(memory.memory, bytes, sizeof(bytes));
	CHECK(dma_rig_device_reads(&rig, parts, 1, 0, seen, 3000));
	CHECK(memcmp(seen, bytes, 3000) == 0);
	CHECK_EQUAL(rig.pool.statistics.used_bytes, 3072);
	CHECK_RESULT(viodma_domain_release(&memory), VIODMA_OK);
	CHECK_RESULT(viodma_domain_release(&memory), VIODMA_E_MISUSE);
	return dma_rig_end(&rig);
}

static bool both_addresses_are_aligned(void)
{
	struct viodma_dma_memory memory[12];
	static const uint32_t aligns[] = {1, 64, 512, 4096};
	unsigned i, k;

	CHECK(start(SECURE, 512, 0));
	for (i = 0; i < 12; i++) {
		CHECK_RESULT(viodma_domain_alloc(&rig.domain, &memory[i], 1 + i * 100, aligns[i & 3], VIODMA_TO_DEVICE),
			     VIODMA_OK);
		CHECK_EQUAL(memory[i].phys.v & (aligns[i & 3] - 1), 0);
		CHECK_EQUAL(memory[i].bus.v & (aligns[i & 3] - 1), 0);
		CHECK_EQUAL(memory[i].segment.permission, VIODMA_READ);
		for (k = 0; k < i; k++)
			CHECK(memory[k].phys.v + memory[k].len_bytes <= memory[i].phys.v ||
			      memory[i].phys.v + memory[i].len_bytes <= memory[k].phys.v);
	}
	for (i = 0; i < 12; i++)
		CHECK_RESULT(viodma_domain_release(&memory[i]), VIODMA_OK);
	CHECK(dma_rig_end(&rig));
	CHECK(start("kind=direct align=1K", 1024, 0));
	CHECK_RESULT(viodma_domain_alloc(&rig.domain, &memory[0], 16, 16, VIODMA_TO_DEVICE), VIODMA_OK);
	CHECK_RESULT(viodma_domain_alloc(&rig.domain, &memory[1], 16, 16, VIODMA_TO_DEVICE), VIODMA_OK);
	CHECK_EQUAL(memory[1].bus.v & 1023, 0);
	CHECK_RESULT(viodma_domain_release(&memory[0]), VIODMA_OK);
	CHECK_RESULT(viodma_domain_release(&memory[1]), VIODMA_OK);
	CHECK(dma_rig_end(&rig));
	/* Slots smaller than that, where nothing is bounced. */
	CHECK(dma_rig_start(&rig, "kind=direct align=1K"));
	CHECK_RESULT(dma_rig_add_pool(&rig, 512, 8192, 0), VIODMA_OK);
	rig.memory_unknown = true;
	CHECK_RESULT(dma_rig_add_domain(&rig, VIODMA_ADDRESSING_PLATFORM), VIODMA_OK);
	CHECK_RESULT(viodma_domain_alloc(&rig.domain, &memory[0], 16, 16, VIODMA_TO_DEVICE), VIODMA_OK);
	CHECK_RESULT(viodma_domain_alloc(&rig.domain, &memory[1], 16, 16, VIODMA_TO_DEVICE), VIODMA_OK);
	CHECK_EQUAL(memory[1].bus.v & 1023, 0);
	CHECK_RESULT(viodma_domain_release(&memory[0]), VIODMA_OK);
	CHECK_RESULT(viodma_domain_release(&memory[1]), VIODMA_OK);
	return dma_rig_end(&rig);
}

static bool what_cannot_be_had_is_refused(void)
{
	struct viodma_dma_memory memory, other;

	CHECK(start(SECURE, 512, 8192 + 512));
	CHECK_RESULT(viodma_domain_alloc(&rig.domain, &memory, 0, 64, VIODMA_TO_DEVICE), VIODMA_E_INVALID);
	CHECK_RESULT(viodma_domain_alloc(&rig.domain, &memory, 64, 0, VIODMA_TO_DEVICE), VIODMA_E_INVALID);
	CHECK_RESULT(viodma_domain_alloc(&rig.domain, &memory, 64, 48, VIODMA_TO_DEVICE), VIODMA_E_INVALID);
	CHECK_RESULT(viodma_domain_alloc(&rig.domain, &memory, 64, 64, (enum viodma_direction)0), VIODMA_E_INVALID);
	CHECK_RESULT(viodma_domain_alloc(&rig.domain, &memory, 64, 64, (enum viodma_direction)4), VIODMA_E_INVALID);
	CHECK_RESULT(viodma_domain_alloc(&rig.domain, &memory, 8193, 64, VIODMA_TO_DEVICE), VIODMA_E_LIMIT);
	CHECK_RESULT(viodma_domain_alloc(&rig.domain, &memory, UINT64_MAX, 64, VIODMA_TO_DEVICE), VIODMA_E_LIMIT);
	CHECK_RESULT(viodma_domain_alloc(&rig.domain, &memory, 64, 8192, VIODMA_TO_DEVICE), VIODMA_E_LIMIT);
	CHECK(memory.memory == NULL && memory.mapping.domain == NULL);
	CHECK_RESULT(viodma_domain_alloc(&rig.domain, &memory, 8192, 64, VIODMA_TO_DEVICE), VIODMA_OK);
	CHECK_RESULT(viodma_domain_alloc(&rig.domain, &other, 513, 64, VIODMA_TO_DEVICE), VIODMA_E_EXHAUSTED);
	CHECK_RESULT(viodma_domain_alloc(&rig.domain, &other, 512, 64, VIODMA_TO_DEVICE), VIODMA_OK);
	CHECK_RESULT(viodma_domain_free(&rig.domain), VIODMA_E_BUSY);
	CHECK_RESULT(viodma_domain_release(&other), VIODMA_OK);
	CHECK_RESULT(viodma_domain_free(&rig.domain), VIODMA_E_BUSY);
	CHECK_RESULT(viodma_domain_release(&memory), VIODMA_OK);
	CHECK(dma_rig_end(&rig));
	CHECK(dma_rig_start(&rig, "kind=direct"));
	CHECK_RESULT(dma_rig_add_domain(&rig, VIODMA_ADDRESSING_PLATFORM), VIODMA_OK);
	CHECK_RESULT(viodma_domain_alloc(&rig.domain, &memory, 64, 64, VIODMA_TO_DEVICE), VIODMA_E_UNSUPPORTED);
	return dma_rig_end(&rig);
}

static bool a_plain_domain_has_it_too(void)
{
	struct viodma_dma_memory memory;

	CHECK(start("kind=direct", 2048, 0));
	CHECK(rig.domain.plain);
	CHECK_RESULT(viodma_domain_alloc(&rig.domain, &memory, 64, 64, VIODMA_BIDIRECTIONAL), VIODMA_OK);
	CHECK_EQUAL(memory.bus.v, memory.phys.v);
	CHECK_RESULT(viodma_domain_free(&rig.domain), VIODMA_E_BUSY);
	CHECK_RESULT(viodma_domain_release(&memory), VIODMA_OK);
	return dma_rig_end(&rig);
}

static bool bus_addresses_without_a_break_are_found(void)
{
	struct viodma_dma_memory first, memory, other;
	uint64_t phys;

	/* By a function that exchanges pages: no two go on. The first run of a page's length would lie in two. */
	CHECK(start("kind=offset granule=4K", 1024, 0));
	CHECK_RESULT(viodma_domain_alloc(&rig.domain, &first, 1024, 64, VIODMA_BIDIRECTIONAL), VIODMA_OK);
	CHECK_RESULT(viodma_domain_alloc(&rig.domain, &memory, 4096, 64, VIODMA_BIDIRECTIONAL), VIODMA_OK);
	CHECK_EQUAL(memory.phys.v & 4095, 0);
	CHECK(dma_rig_device_finds(&rig, memory.bus.v + 4095, &phys) && phys == memory.phys.v + 4095);
	CHECK_RESULT(viodma_domain_alloc(&rig.domain, &other, 4097, 64, VIODMA_BIDIRECTIONAL), VIODMA_E_UNREACHABLE);
	CHECK_EQUAL(rig.pool.statistics.used_bytes, 5120);
	CHECK_RESULT(viodma_domain_release(&memory), VIODMA_OK);
	CHECK_RESULT(viodma_domain_release(&first), VIODMA_OK);
	return dma_rig_end(&rig);
}

static bool room_without_contiguous_addresses_is_not_exhaustion(void)
{
	struct viodma_dma_memory slots[8], other;
	unsigned i;

	/* Two pages, whose first and last slots are taken: six adjoining ones are free, and none of the pages is. */
	CHECK(start("kind=offset granule=4K", 1024, 8192));
	for (i = 0; i < 8; i++)
		CHECK_RESULT(viodma_domain_alloc(&rig.domain, &slots[i], 1024, 64, VIODMA_BIDIRECTIONAL), VIODMA_OK);
	CHECK_RESULT(viodma_domain_alloc(&rig.domain, &other, 1024, 64, VIODMA_BIDIRECTIONAL), VIODMA_E_EXHAUSTED);
	for (i = 1; i < 7; i++)
		CHECK_RESULT(viodma_domain_release(&slots[i]), VIODMA_OK);
	CHECK_RESULT(viodma_domain_alloc(&rig.domain, &other, 4096, 64, VIODMA_BIDIRECTIONAL), VIODMA_E_UNREACHABLE);
	CHECK_RESULT(viodma_domain_release(&slots[7]), VIODMA_OK);
	CHECK_RESULT(viodma_domain_alloc(&rig.domain, &other, 4096, 64, VIODMA_BIDIRECTIONAL), VIODMA_OK);
	CHECK_RESULT(viodma_domain_release(&other), VIODMA_OK);
	CHECK_RESULT(viodma_domain_release(&slots[0]), VIODMA_OK);
	return dma_rig_end(&rig);
}

static bool what_lies_out_of_reach_is_not_handed_out(void)
{
	struct viodma_dma_memory memory;

	CHECK(start("kind=direct", 1024, 0));
	rig.domain.platform.address_bits = 30; /* as if the pool had grown there: at the start it is refused */
	CHECK_RESULT(viodma_domain_alloc(&rig.domain, &memory, 64, 64, VIODMA_BIDIRECTIONAL), VIODMA_E_UNREACHABLE);
	CHECK(dma_rig_end(&rig));
	/* A window that moves addresses by half a page cannot give whole ones. */
	CHECK(start("kind=offset window=0x50000000+256K@0x8000000800", 1024, 0));
	CHECK_RESULT(viodma_domain_alloc(&rig.domain, &memory, 64, 4096, VIODMA_BIDIRECTIONAL), VIODMA_E_LIMIT);
	CHECK_RESULT(viodma_domain_alloc(&rig.domain, &memory, 64, 2048, VIODMA_BIDIRECTIONAL), VIODMA_OK);
	CHECK_RESULT(viodma_domain_release(&memory), VIODMA_OK);
	return dma_rig_end(&rig);
}

static bool a_ring_pool_serves_it_where_there_is_one(void)
{
	struct viodma_dma_memory memory;

	CHECK(start("kind=direct non-coherent line=64", 1024, 0));
	CHECK_RESULT(viodma_domain_alloc(&rig.domain, &memory, 64, 64, VIODMA_BIDIRECTIONAL), VIODMA_OK);
	CHECK_EQUAL(memory.phys.v, RIG_RING);
	CHECK_EQUAL(rig.pool.statistics.used_bytes, 0);
	CHECK_EQUAL(rig.ring_pool.statistics.used_bytes, 1024);
	CHECK_RESULT(viodma_domain_release(&memory), VIODMA_OK);
	CHECK_EQUAL(rig.ring_pool.statistics.used_bytes, 0);
	return dma_rig_end(&rig);
}

static bool a_ring_is_not_made_in_memory_that_is_not_coherent(void)
{
	struct viodma_dma_memory memory;

	CHECK(dma_rig_start(&rig, "kind=direct non-coherent line=64"));
	CHECK_RESULT(dma_rig_add_pool(&rig, 1024, 0, 0), VIODMA_OK);
	rig.has_ring_pool = false;
	CHECK_RESULT(dma_rig_add_domain(&rig, VIODMA_ADDRESSING_PLATFORM), VIODMA_OK);
	CHECK_RESULT(viodma_domain_alloc(&rig.domain, &memory, 64, 64, VIODMA_BIDIRECTIONAL), VIODMA_E_UNSUPPORTED);
	CHECK(dma_rig_end(&rig));
	/* Where all memory is coherent none need say so. */
	CHECK(start("kind=direct line=64", 1024, 0));
	CHECK_RESULT(viodma_domain_alloc(&rig.domain, &memory, 64, 64, VIODMA_BIDIRECTIONAL), VIODMA_OK);
	CHECK_RESULT(viodma_domain_release(&memory), VIODMA_OK);
	return dma_rig_end(&rig);
}

static bool what_it_takes_is_not_promised_to_mappings(void)
{
	struct viodma_dma_memory memory;
	struct viodma_limits limits;

	CHECK(start(SECURE, 512, 64 * 512));
	viodma_domain_limits(&rig.domain, &limits);
	CHECK_EQUAL(limits.mapping_bytes_max, 16 * 512);
	CHECK_EQUAL(limits.buffers_max, 16);
	CHECK_RESULT(viodma_domain_alloc(&rig.domain, &memory, 16 * 512, 64, VIODMA_BIDIRECTIONAL), VIODMA_OK);
	viodma_domain_limits(&rig.domain, &limits);
	CHECK_EQUAL(limits.mapping_bytes_max, 12 * 512);
	CHECK_EQUAL(limits.buffers_max, 12);
	CHECK_RESULT(viodma_domain_release(&memory), VIODMA_OK);
	viodma_domain_limits(&rig.domain, &limits);
	CHECK_EQUAL(limits.mapping_bytes_max, 16 * 512);
	return dma_rig_end(&rig);
}

HOLDS(it_is_cleared_and_in_reach_at_once)
HOLDS(both_addresses_are_aligned)
HOLDS(what_cannot_be_had_is_refused)
HOLDS(a_plain_domain_has_it_too)
HOLDS(bus_addresses_without_a_break_are_found)
HOLDS(room_without_contiguous_addresses_is_not_exhaustion)
HOLDS(what_lies_out_of_reach_is_not_handed_out)
HOLDS(a_ring_pool_serves_it_where_there_is_one)
BEHAVIOUR(a_ring_is_not_made_in_memory_that_is_not_coherent, "DRV-20")
HOLDS(what_it_takes_is_not_promised_to_mappings)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(it_is_cleared_and_in_reach_at_once),
		TEST(both_addresses_are_aligned),
		TEST(what_cannot_be_had_is_refused),
		TEST(a_plain_domain_has_it_too),
		TEST(bus_addresses_without_a_break_are_found),
		TEST(room_without_contiguous_addresses_is_not_exhaustion),
		TEST(what_lies_out_of_reach_is_not_handed_out),
		TEST(a_ring_pool_serves_it_where_there_is_one),
		WITH_MUTANT(a_ring_is_not_made_in_memory_that_is_not_coherent),
		TEST(what_it_takes_is_not_promised_to_mappings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
