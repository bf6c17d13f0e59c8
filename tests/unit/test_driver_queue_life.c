/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_driver_queue_life.c - a virtqueue, driver half: making it, enabling it, mapping and adding in one, giving back
 * after a reset; and that whatever fails leaves nothing behind.
 *
 * How it works: see tests/support/test_device.h; most behaviours run over every kind of domain.
 */
#include "tests/support/check.h"
#include "tests/support/dma_rig.h"
#include "tests/support/driver_queue_rig.h"

#define MEBI (1u << 20)

/* ---- mappings ---- */

static bool mappings_become_one_chain_in_their_order(void)
{
	int kind;

	for (kind = 0; kind < TEST_KINDS; kind++) {
		struct test_device *device = of_kind((enum test_kind)kind);
		struct test_device_queue *queue = &device->queues[0];
		const struct viodma_buffer buffers[3] = {test_buffer(64, 10), test_buffer(8192, 20),
							 test_buffer(30000, 30)};
		struct viodma_mapping mappings[3];
		const struct viodma_mapping *list[3] = {&mappings[0], &mappings[1], &mappings[2]};
		struct viodma_segment segments[3][4];
		struct test_chain chain;
		unsigned i;

		for (i = 0; i < 3; i++)
			CHECK_RESULT(viodma_domain_map(&device->domain, &mappings[i], &buffers[i], 1,
						       i < 2 ? VIODMA_TO_DEVICE : VIODMA_FROM_DEVICE, segments[i], 4),
				     VIODMA_OK);
		CHECK_RESULT(viodma_driver_queue_add_mappings(&queue->driver, list, 3, tokens), VIODMA_OK);
		viodma_driver_queue_publish(&queue->driver);
		CHECK(test_device_take(queue, &chain));
		CHECK_EQUAL(chain.count, 3);
		for (i = 0; i < 3; i++)
			CHECK_EQUAL(chain.part[i].len_bytes, 10 + 10 * i);
		CHECK_EQUAL(chain.writable, 1);
		/* The other way round it is no chain. */
		list[0] = &mappings[2];
		list[2] = &mappings[0];
		CHECK_RESULT(viodma_driver_queue_add_mappings(&queue->driver, list, 3, tokens), VIODMA_E_INVALID);
		CHECK_RESULT(viodma_driver_queue_add_mappings(&queue->driver, list, 0, tokens), VIODMA_E_INVALID);
	}
	return true;
}
HOLDS(mappings_become_one_chain_in_their_order)

/* A mapping that is not written into on a plain domain; on others there is no difference. */
static bool the_short_way_of_a_request_leads_to_the_same(void)
{
	int kind;

	for (kind = 0; kind < TEST_KINDS; kind++) {
		struct test_device *device = of_kind((enum test_kind)kind);
		struct test_device_queue *queue = &device->queues[0];
		const struct viodma_buffer buffers[2] = {test_buffer(100, 50), test_buffer(8192, 20)};
		struct viodma_mapping mapping = {.domain = NULL};
		struct viodma_driver_completion completion;
		struct viodma_segment segments[8];
		struct test_chain chain;
		uint32_t count, i;

		CHECK_RESULT(viodma_domain_map_lean(&device->domain, &mapping, buffers, 2, VIODMA_FROM_DEVICE, segments, 8,
						    &count),
			     VIODMA_OK);
		CHECK(!device->domain.plain || !mapping.domain);
		CHECK_RESULT(viodma_driver_queue_add(&queue->driver, segments, count, tokens), VIODMA_OK);
		viodma_driver_queue_publish(&queue->driver);
		CHECK(test_device_take(queue, &chain));
		CHECK_EQUAL(chain.writable_bytes, 70);
		for (i = 0; i < chain.count; i++)
			memset(chain.part[i].memory, 'x', chain.part[i].len_bytes);
		test_device_put_used(queue, chain.head, 70);
		CHECK_RESULT(viodma_driver_queue_get(&queue->driver, &completion), VIODMA_OK);
		CHECK_RESULT(viodma_domain_unmap_lean(&device->domain, &mapping, completion.written_bytes), VIODMA_OK);
		CHECK_EQUAL(device->private_memory[149], 'x');
		CHECK_EQUAL(device->private_memory[150], 0x5a);
		CHECK_EQUAL(device->private_memory[8192 + 19], 'x');
		/* What has no place in the segments is refused, and nothing is mapped. */
		CHECK(viodma_domain_map_lean(&device->domain, &mapping, buffers, 2, VIODMA_FROM_DEVICE, segments, 1,
					     &count) == VIODMA_E_LIMIT);
		CHECK(viodma_domain_map_lean(&device->domain, &mapping, buffers, 0, VIODMA_FROM_DEVICE, segments, 1,
					     &count) == VIODMA_E_INVALID);
		CHECK_RESULT(test_device_end(device), VIODMA_OK);
		CHECK(test_device_idle(device));
	}
	return true;
}
HOLDS(the_short_way_of_a_request_leads_to_the_same)

static bool map_and_add_leaves_nothing_behind_when_it_fails(void)
{
	int kind;

	for (kind = 0; kind < TEST_KINDS; kind++) {
		struct test_device *device = of_kind((enum test_kind)kind);
		struct test_device_queue *queue = &device->queues[0];
		const struct viodma_buffer one = test_buffer(100, 50), bad = {.phys = {0x10}, .len_bytes = 5};
		const uint64_t used = device->pool.statistics.used_bytes;
		struct viodma_mapping to, from;
		struct viodma_segment segments[4];
		enum viodma_result result;
		unsigned i;

		/* The second mapping fails: out of reach, or no segment left for it. */
		if (kind != TEST_DIRECT) {
			result = viodma_driver_queue_map_and_add(&queue->driver, &to, &one, 1, &from, &bad, 1, segments,
								 4, tokens);
			CHECK(result != VIODMA_OK);
			CHECK_EQUAL(device->domain.statistics.live, 0);
		}
		CHECK_RESULT(viodma_driver_queue_map_and_add(&queue->driver, &to, &one, 1, &from, &one, 1, segments, 1,
							     tokens),
			     VIODMA_E_LIMIT);
		CHECK_EQUAL(device->domain.statistics.live, 0);
		/* Nowhere to add it. */
		for (i = 0; i < 8; i++)
			CHECK(add_one(&queue->driver, &tokens[i]));
		CHECK_RESULT(viodma_driver_queue_map_and_add(&queue->driver, &to, &one, 1, NULL, NULL, 0, segments, 4,
							     tokens),
			     VIODMA_E_NO_SPACE);
		CHECK_EQUAL(device->domain.statistics.live, 0);
		CHECK_EQUAL(device->pool.statistics.used_bytes, used);
		CHECK_RESULT(viodma_driver_queue_map_and_add(&queue->driver, NULL, NULL, 0, NULL, NULL, 0, segments, 4,
							     tokens),
			     VIODMA_E_INVALID);
		CHECK_RESULT(test_device_end(device), VIODMA_OK);
		CHECK(test_device_idle(device));
	}
	return true;
}
HOLDS(map_and_add_leaves_nothing_behind_when_it_fails)

static bool what_cannot_be_unmapped_again_is_said(void)
{
	struct test_device *device = of_kind(TEST_IOMMU);
	struct test_device_queue *queue = &device->queues[0];
	const struct viodma_buffer one = test_buffer(100, 50);
	struct viodma_mapping to;
	struct viodma_segment segments[4];
	unsigned i;

	for (i = 0; i < 8; i++)
		CHECK(add_one(&queue->driver, &tokens[i]));
	device->iommu_stuck = true;
	CHECK_RESULT(viodma_driver_queue_map_and_add(&queue->driver, &to, &one, 1, NULL, NULL, 0, segments, 4, tokens),
		     VIODMA_E_QUARANTINED);
	CHECK_RESULT(test_device_end(device), VIODMA_E_QUARANTINED);
	return true;
}
HOLDS(what_cannot_be_unmapped_again_is_said)

/* ---- life ---- */

/* 64 tables of 512 bytes where a run holds 4 KiB: in several blocks, none over another. */
static bool tables_lie_in_as_many_blocks_as_the_pool_asks_for(void)
{
	int kind;

	for (kind = 0; kind < TEST_KINDS; kind++) {
		const struct test_device_options options = {.kind = (enum test_kind)kind,
							    .size = 64,
							    .tables = 64,
							    .table_descriptors = 32,
							    .run_bytes = 4096};
		struct test_device *device = with_queue(&options);
		struct test_device_queue *queue = &device->queues[0];
		struct test_chain chain;
		unsigned i;

		CHECK(queue->driver.table_block_count == 8);
		for (i = 0; i < 64; i++) {
			const struct viodma_segment segments[3] = {
				segment(i, 1, VIODMA_READ), segment(i, i + 1, VIODMA_READ), segment(i, 1, VIODMA_READ)};

			CHECK_RESULT(viodma_driver_queue_add(&queue->driver, segments, 3, &tokens[i]), VIODMA_OK);
		}
		viodma_driver_queue_publish(&queue->driver);
		for (i = 0; i < 64 && kind == TEST_DIRECT; i++) {
			CHECK(test_device_take(queue, &chain));
			CHECK_EQUAL(chain.part[1].len_bytes, i + 1);
		}
		CHECK_RESULT(test_device_end(device), VIODMA_OK);
		CHECK(test_device_idle(device));
	}
	return true;
}
HOLDS(tables_lie_in_as_many_blocks_as_the_pool_asks_for)

static struct viodma_transport_queue told;

static enum viodma_result any_size(void *context, unsigned queue, uint32_t *size)
{
	(void)context;
	(void)queue;
	*size = 32768;
	return VIODMA_OK;
}

static enum viodma_result note_where(void *context, unsigned queue, const struct viodma_transport_queue *where)
{
	(void)context;
	(void)queue;
	told = *where;
	return VIODMA_OK;
}

/* So many bytes from there on are, for the device, the memory of this pointer. */
static bool is_in_one_piece(struct dma_rig *rig, viodma_bus bus, const struct viodma_shared *memory, uint64_t len_bytes)
{
	uint64_t at, phys;

	for (at = 0; at < len_bytes; at++) {
		CHECK(dma_rig_device_finds(rig, bus.v + at, &phys));
		CHECK(dma_rig_at(rig, phys) == (const unsigned char *)(const void *)memory + at);
	}
	return true;
}

static bool a_bus_that_goes_on_within_pages_only_has_rings_and_tables(void)
{
	static const struct viodma_transport_ops ops = {.queue_size_max = any_size, .queue_enable = note_where};
	static const struct viodma_transport transport = {.ops = &ops};
	static max_align_t storage[VIODMA_DRIVER_QUEUE_STORAGE_BYTES(512) / sizeof(max_align_t) + 1];
	static struct dma_rig rig;
	static struct viodma_driver_queue queue;
	struct viodma_driver_queue_config config = {.domain = &rig.domain, .storage = storage,
						    .storage_bytes = sizeof(storage), .size = 256,
						    .indirect_desc = true, .tables = 16, .table_descriptors = 130};
	uint32_t i;

	CHECK(dma_rig_start(&rig, "kind=offset granule=4K"));
	CHECK_RESULT(dma_rig_add_pool(&rig, 1024, 0, 0), VIODMA_OK);
	CHECK_RESULT(dma_rig_add_domain(&rig, VIODMA_ADDRESSING_PLATFORM), VIODMA_OK);
	CHECK_RESULT(viodma_driver_queue_init(&queue, &config), VIODMA_OK);
	CHECK_EQUAL(queue.table_block_count, 16); /* a page holds one, and not two */
	CHECK_RESULT(viodma_driver_queue_enable(&queue, &transport), VIODMA_OK);
	CHECK(is_in_one_piece(&rig, told.desc, queue.desc, 256 * 16));
	CHECK(is_in_one_piece(&rig, told.avail, queue.avail, 6 + 2 * 256));
	CHECK(is_in_one_piece(&rig, told.used, queue.used, 6 + 8 * 256));
	for (i = 0; i < 16; i++)
		CHECK(is_in_one_piece(&rig, queue.table_blocks[i].bus, queue.table_blocks[i].memory, 130 * 16));
	CHECK_RESULT(viodma_driver_queue_free(&queue), VIODMA_OK);
	CHECK_EQUAL(rig.pool.statistics.used_bytes, 0);
	config.table_descriptors = 64; /* four to a page */
	CHECK_RESULT(viodma_driver_queue_init(&queue, &config), VIODMA_OK);
	CHECK_EQUAL(queue.table_block_count, 4);
	CHECK_RESULT(viodma_driver_queue_free(&queue), VIODMA_OK);
	config.size = 512; /* descriptors of two pages */
	CHECK_RESULT(viodma_driver_queue_init(&queue, &config), VIODMA_E_UNREACHABLE);
	CHECK_EQUAL(rig.pool.statistics.used_bytes, 0);
	return dma_rig_end(&rig);
}
HOLDS(a_bus_that_goes_on_within_pages_only_has_rings_and_tables)

static bool ring_parts_are_aligned_and_share_no_granule(void)
{
	int kind;

	for (kind = 0; kind < TEST_KINDS; kind++) {
		struct test_device *device = of_kind((enum test_kind)kind);
		const struct viodma_transport_queue *where = &device->queues[0].where;
		uint32_t granule = kind >= TEST_IOMMU ? 4096 : 64;

		CHECK_EQUAL(where->desc.v % VIRTQ_DESC_ALIGN, 0);
		CHECK_EQUAL(where->avail.v % VIRTQ_AVAIL_ALIGN, 0);
		CHECK_EQUAL(where->used.v % VIRTQ_USED_ALIGN, 0);
		CHECK(where->used.v / granule != where->avail.v / granule);
		CHECK(where->used.v / granule != where->desc.v / granule);
		/* Where the platform can tell, the device may not write what the driver writes. */
		CHECK(test_device_at(device, where->desc.v, 16, VIODMA_READ) != NULL);
		CHECK(test_device_at(device, where->used.v, 8, VIODMA_WRITE) != NULL);
		CHECK_EQUAL(device->faults, 0);
		if (kind >= TEST_IOMMU) {
			CHECK((test_device_at(device, where->desc.v, 16, VIODMA_WRITE) != NULL) == TEST_PACKED);
			CHECK(test_device_at(device, where->avail.v, 4, VIODMA_WRITE) == NULL);
		}
		if (kind != TEST_DIRECT)
			CHECK(where->desc.v != device->queues[0].driver.driver_area.phys.v);
	}
	return true;
}
HOLDS(ring_parts_are_aligned_and_share_no_granule)

static bool a_queue_larger_than_the_devices_is_not_enabled(void)
{
	struct test_device *device = fresh(NULL);

	device->queues[0].size_max = 8;
	CHECK_RESULT(test_device_negotiate(device, 0), VIODMA_OK);
	CHECK_RESULT(test_device_make_domain(device), VIODMA_OK);
	CHECK_RESULT(test_device_make_queue(device, 0), VIODMA_E_LIMIT);
	CHECK(!device->queues[0].enabled);
	CHECK_RESULT(test_device_end(device), VIODMA_OK);
	return true;
}
BEHAVIOUR(a_queue_larger_than_the_devices_is_not_enabled, "DRV-17")

static bool the_largest_size_of_a_queue_is_a_power_of_two_that_the_device_takes(void)
{
	static const uint32_t answers[][2] = {{1, 1},		{2, 2},		{3, 2},		{12, 8},
					      {1023, 512},	{1024, 1024},	{32768, 32768}, {65536, 32768},
					      {UINT32_MAX, 32768}};
	struct test_device *device = fresh(NULL);
	uint32_t size, i;

	for (i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		device->queues[2].size_max = answers[i][0];
		CHECK_RESULT(viodma_driver_queue_size_max(&device->transport, 2, &size), VIODMA_OK);
		CHECK_EQUAL(size, answers[i][1]);
	}
	CHECK_RESULT(viodma_driver_queue_size_max(&device->transport, TEST_DEVICE_QUEUES, &size), VIODMA_E_NOT_FOUND);
	CHECK_EQUAL(size, 0);
	size = 7;
	device->fail_at = device->calls + 1;
	device->failure = VIODMA_PEER_GONE;
	CHECK_RESULT(viodma_driver_queue_size_max(&device->transport, 2, &size), VIODMA_PEER_GONE);
	CHECK_EQUAL(size, 0);
	return true;
}
HOLDS(the_largest_size_of_a_queue_is_a_power_of_two_that_the_device_takes)

static bool a_queue_is_told_what_was_agreed_on(void)
{
	int which;

	for (which = 0; which < 64; which++) {
		/* What is there already does not matter, and the rest stays. */
		struct viodma_driver_queue_config config = {
			.size = 16, .tables = 3, .indirect_desc = true, .event_idx = true, .order_platform = true};
		struct viodma_driver driver = {.offered = UINT64_MAX};

		driver.decision.accepted = ~viodma_driver_ring_wanted();
		if (which & 1)
			driver.decision.accepted |= VIODMA_FEATURE(VIRTIO_F_INDIRECT_DESC_BIT);
		if (which & 2)
			driver.decision.accepted |= VIODMA_FEATURE(VIRTIO_F_EVENT_IDX_BIT);
		driver.decision.order_platform = which & 4;
		if (which & 8)
			driver.decision.accepted |= VIODMA_FEATURE(VIRTIO_F_RING_PACKED_BIT);
		if (which & 16)
			driver.decision.accepted |= VIODMA_FEATURE(VIRTIO_F_IN_ORDER_BIT);
		if (which & 32)
			driver.decision.accepted |= VIODMA_FEATURE(VIRTIO_F_NOTIFICATION_DATA_BIT);
		viodma_driver_queue_features(&config, &driver);
		CHECK_EQUAL(config.indirect_desc, (which & 1) != 0);
		CHECK_EQUAL(config.event_idx, (which & 2) != 0);
		CHECK_EQUAL(config.order_platform, (which & 4) != 0);
		CHECK_EQUAL(config.packed, (which & 8) != 0);
		CHECK_EQUAL(config.in_order, (which & 16) != 0);
		CHECK_EQUAL(config.notification_data, (which & 32) != 0);
		CHECK_EQUAL(config.size, 16);
		CHECK_EQUAL(config.tables, 3);
	}
	return true;
}
HOLDS(a_queue_is_told_what_was_agreed_on)

static bool a_configuration_out_of_range_is_refused(void)
{
	static unsigned char storage[VIODMA_DRIVER_QUEUE_STORAGE_BYTES(16)] __attribute__((aligned(16)));
	struct test_device *device = fresh(NULL);
	struct viodma_driver_queue_config good = {.domain = &device->domain,
						  .storage = storage,
						  .storage_bytes = sizeof(storage),
						  .size = 16,
						  .indirect_desc = true,
						  .tables = 4,
						  .table_descriptors = 8},
					  bad;
	struct viodma_driver_queue queue;

	CHECK_RESULT(test_device_negotiate(device, 0), VIODMA_OK);
	CHECK_RESULT(test_device_make_domain(device), VIODMA_OK);
#define REFUSED(member, value)                                                                                        \
	bad = good;                                                                                                   \
	bad.member = value;                                                                                           \
	CHECK_RESULT(viodma_driver_queue_init(&queue, &bad), VIODMA_E_INVALID)
	REFUSED(domain, NULL);
	REFUSED(storage, NULL);
	REFUSED(storage, storage + 1);
	REFUSED(storage_bytes, sizeof(storage) - 1);
	REFUSED(size, 0);
	REFUSED(size, 12);
	REFUSED(size, 65536);
	REFUSED(tables, 17);
	REFUSED(table_descriptors, 17);
	REFUSED(table_descriptors, 0);
	CHECK_RESULT(viodma_driver_queue_init(&queue, &good), VIODMA_OK);
	CHECK_RESULT(viodma_driver_queue_free(&queue), VIODMA_OK);
	CHECK_RESULT(viodma_driver_queue_free(&queue), VIODMA_OK); /* again: nothing there */
	CHECK(test_device_idle(device));
	return true;
}
HOLDS(a_configuration_out_of_range_is_refused)

/* With every size of pool, from nothing on: what is there is given back, and in the end it is made. */
static bool an_init_that_finds_no_room_leaves_nothing(void)
{
	int kind;

	for (kind = 0; kind < TEST_KINDS; kind++) {
		enum viodma_result result = VIODMA_E_EXHAUSTED;
		uint32_t slots;

		for (slots = 1; result != VIODMA_OK; slots++) {
			const struct test_device_options options = {.kind = (enum test_kind)kind,
								    .pool_bytes = slots * 4096,
								    .slot_bytes = 4096,
								    .run_bytes = 4096,
								    .size = 32,
								    .tables = 32,
								    .table_descriptors = 32};
			struct test_device *device = fresh(&options);

			CHECK(slots < 32);
			CHECK_RESULT(test_device_negotiate(device, viodma_driver_blk_wanted()), VIODMA_OK);
			CHECK_RESULT(test_device_make_domain(device), VIODMA_OK);
			result = test_device_make_queue(device, 0);
			CHECK(result == VIODMA_OK || result == VIODMA_E_EXHAUSTED);
			if (result != VIODMA_OK)
				CHECK(test_device_idle(device));
			CHECK_RESULT(test_device_end(device), VIODMA_OK);
			CHECK(test_device_idle(device));
		}
		CHECK_EQUAL(slots - 1, (TEST_PACKED ? 3 : 2) + 4);
	}
	return true;
}
HOLDS(an_init_that_finds_no_room_leaves_nothing)

static bool more_tables_than_blocks_hold_are_refused(void)
{
	const struct test_device_options options = {.size = 128,
						    .tables = 128,
						    .table_descriptors = 128,
						    .slot_bytes = 512,
						    .run_bytes = 2560,
						    .pool_bytes = MEBI};
	struct test_device *device = fresh(&options);

	CHECK_RESULT(test_device_negotiate(device, viodma_driver_blk_wanted()), VIODMA_OK);
	CHECK_RESULT(test_device_make_domain(device), VIODMA_OK);
	CHECK_RESULT(test_device_make_queue(device, 0), VIODMA_E_LIMIT);
	CHECK(test_device_idle(device));
	return true;
}
HOLDS(more_tables_than_blocks_hold_are_refused)

static bool a_failing_transport_fails_the_enabling(void)
{
	struct test_device *device = fresh(NULL);
	unsigned i;

	CHECK_RESULT(test_device_negotiate(device, 0), VIODMA_OK);
	CHECK_RESULT(test_device_make_domain(device), VIODMA_OK);
	for (i = 1; i <= 2; i++) {
		device->fail_at = device->calls + i;
		CHECK_RESULT(test_device_make_queue(device, 0), VIODMA_E_IO);
		CHECK_RESULT(viodma_driver_queue_free(&device->queues[0].driver), VIODMA_OK);
		CHECK(test_device_idle(device));
	}
	return true;
}
HOLDS(a_failing_transport_fails_the_enabling)

static bool after_a_reset_every_token_comes_back_once(void)
{
	const struct test_device_options options = {.tables = 2, .table_descriptors = 4};
	struct test_device *device = with_queue(&options);
	struct viodma_driver_queue *driver = &device->queues[0].driver;
	bool back[6] = {false};
	void *token;
	unsigned i;

	for (i = 0; i < 6; i++) {
		CHECK(add_one(driver, &tokens[i]));
		if (i == 3)
			viodma_driver_queue_publish(driver);
	}
	CHECK_RESULT(viodma_driver_queue_free(driver), VIODMA_E_BUSY);
	CHECK_RESULT(viodma_driver_reset(&device->driver), VIODMA_OK);
	for (i = 0; i < 6; i++) {
		CHECK_RESULT(viodma_driver_queue_take_back(driver, &token), VIODMA_OK);
		CHECK(!back[(int *)token - tokens]);
		back[(int *)token - tokens] = true;
	}
	CHECK_RESULT(viodma_driver_queue_take_back(driver, &token), VIODMA_EMPTY);
	CHECK_RESULT(viodma_driver_queue_take_back(driver, &token), VIODMA_EMPTY);
	CHECK_EQUAL(driver->out, 0);
	{
		const struct viodma_segment one = segment(0, 8, VIODMA_READ);
		struct viodma_driver_completion completion;

		CHECK_RESULT(viodma_driver_queue_add(driver, &one, 1, tokens), VIODMA_E_RESET);
		CHECK_RESULT(viodma_driver_queue_get(driver, &completion), VIODMA_E_RESET);
		CHECK(!viodma_driver_queue_want_call(driver));
	}
	CHECK_RESULT(viodma_driver_queue_free(driver), VIODMA_OK);
	CHECK_RESULT(viodma_driver_queue_take_back(driver, &token), VIODMA_EMPTY);
	CHECK(test_device_idle(device));
	return true;
}
HOLDS(after_a_reset_every_token_comes_back_once)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(tables_lie_in_as_many_blocks_as_the_pool_asks_for),
		TEST(mappings_become_one_chain_in_their_order),
		TEST(the_short_way_of_a_request_leads_to_the_same),
		TEST(map_and_add_leaves_nothing_behind_when_it_fails),
		TEST(what_cannot_be_unmapped_again_is_said),
		TEST(a_bus_that_goes_on_within_pages_only_has_rings_and_tables),
		TEST(ring_parts_are_aligned_and_share_no_granule),
		WITH_MUTANT(a_queue_larger_than_the_devices_is_not_enabled),
		TEST(the_largest_size_of_a_queue_is_a_power_of_two_that_the_device_takes),
		TEST(a_queue_is_told_what_was_agreed_on),
		TEST(a_configuration_out_of_range_is_refused),
		TEST(an_init_that_finds_no_room_leaves_nothing),
		TEST(more_tables_than_blocks_hold_are_refused),
		TEST(a_failing_transport_fails_the_enabling),
		TEST(after_a_reset_every_token_comes_back_once),
	};

	return cmocka_run_group_tests_name(TEST_PACKED ? "driver queue life, packed" : "driver queue life", tests, NULL, NULL);
}
