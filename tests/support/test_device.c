/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_device.c - how it works: memory, platform and grants, and the steps of a driver. See the header. An IOMMU's
 * unmap leaves the grant until its invalidation, as a cache of translations would. (test_device_opposite.c: the device.)
 */
#include "tests/support/test_device.h"

#include <viodma/iommu.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GRANULES 4096u
#define IOMMU_BUS 0x700000000000u
#define PRIVATE_BUS 0x500000000000u
#define POOL_BUS 0x300000000000u

static void must(bool condition, const char *what)
{
	if (condition)
		return;
	fprintf(stderr, "test device: %s\n", what);
	abort();
}

static void *zeroed(size_t count, size_t bytes)
{
	void *memory = calloc(count ? count : 1, bytes ? bytes : 1);

	must(memory != NULL, "out of memory");
	return memory;
}

unsigned char test_disk_byte(uint64_t offset)
{
	return (unsigned char)(offset * 13 + (offset >> 9) * 7 + (offset >> 17));
}

struct viodma_buffer test_buffer(size_t offset, uint32_t len_bytes)
{
	return (struct viodma_buffer){.phys = {TEST_PRIVATE_PHYS + offset}, .len_bytes = len_bytes};
}

/* ---- what the device reaches ---- */

static void grant(struct test_device *device, uint64_t bus, uint64_t phys, uint64_t len,
		  enum viodma_permission permission)
{
	unsigned char *memory = viodma_memory_at(&device->memory, (viodma_phys){phys}, len);

	must(memory != NULL, "a grant of memory that is not there");
	must(device->grant_count < TEST_GRANTS, "too many grants");
	device->grants[device->grant_count++] = (struct test_grant){
		.bus = bus, .len_bytes = len, .memory = memory, .phys = phys, .permission = permission};
}

static enum viodma_result iommu_map(void *context, viodma_bus bus, viodma_phys phys, uint64_t len,
				    enum viodma_permission permission)
{
	struct test_device *device = context;
	uint32_t i;

	if (++device->iommu_maps == device->iommu_fail_at)
		return device->iommu_failure;
	for (i = 0; i < device->grant_count; i++)
		must(bus.v + len <= device->grants[i].bus ||
			     bus.v >= device->grants[i].bus + device->grants[i].len_bytes,
		     "a bus address is used again while the device reaches it");
	grant(device, bus.v, phys.v, len, permission);
	return VIODMA_OK;
}

static enum viodma_result iommu_unmap(void *context, viodma_bus bus, uint64_t len)
{
	struct test_device *device = context;
	uint64_t taken = 0;
	uint32_t i;

	if (device->iommu_stuck)
		return VIODMA_E_IO;
	for (i = 0; i < device->grant_count; i++)
		if (device->grants[i].bus >= bus.v &&
		    device->grants[i].bus + device->grants[i].len_bytes <= bus.v + len) {
			must(!device->grants[i].ending, "taken out twice");
			device->grants[i].ending = true;
			taken += device->grants[i].len_bytes;
		}
	must(taken == len, "what is taken out is not what was entered");
	return VIODMA_OK;
}

static enum viodma_result iommu_invalidate(void *context, viodma_bus bus, uint64_t len)
{
	struct test_device *device = context;
	uint32_t i;

	for (i = device->grant_count; i > 0; i--) {
		struct test_grant *one = &device->grants[i - 1];

		if (one->ending && one->bus >= bus.v && one->bus + one->len_bytes <= bus.v + len)
			*one = device->grants[--device->grant_count];
	}
	viodma_space_changed(&device->space);
	return VIODMA_OK;
}

static uint64_t now(void *context)
{
	struct test_device *device = context;

	return device->now_ns;
}

static const struct test_grant *granted(const struct test_device *device, uint64_t bus, enum viodma_permission wanted)
{
	uint32_t i;

	for (i = 0; i < device->grant_count; i++) {
		const struct test_grant *one = &device->grants[i];

		if (bus >= one->bus && bus - one->bus < one->len_bytes && (one->permission & wanted) == wanted)
			return one;
	}
	return NULL;
}

unsigned char *test_device_at(struct test_device *device, uint64_t bus, uint32_t len_bytes,
			      enum viodma_permission permission)
{
	const struct test_grant *one = granted(device, bus, permission);

	/* Whoever looks by hand wants memory in one piece; grants that adjoin in both ways are. */
	if (!one || (bus - one->bus + len_bytes > one->len_bytes &&
		     !test_device_at(device, one->bus + one->len_bytes,
				     (uint32_t)(bus - one->bus + len_bytes - one->len_bytes), permission))) {
		device->faults++;
		return NULL;
	}
	return one->memory + (bus - one->bus);
}

static enum viodma_result translate(void *context, viodma_bus bus, enum viodma_permission wanted,
				    struct viodma_extent *extent)
{
	const struct test_device *device = context;
	const struct test_grant *one = granted(device, bus.v, wanted);

	if (!one)
		return granted(device, bus.v, VIODMA_NO_ACCESS) ? VIODMA_FAULT_PERMISSION : VIODMA_FAULT_UNMAPPED;
	extent->first.v = one->bus;
	extent->last.v = one->bus + (one->len_bytes - 1);
	extent->phys.v = one->phys;
	extent->memory = (struct viodma_shared *)(void *)one->memory;
	extent->permission = one->permission;
	return VIODMA_OK;
}

static void on_fault(void *context, const struct viodma_fault *fault)
{
	struct test_device *device = context;

	(void)fault;
	device->faults++;
}

/* ---- making it ---- */

static void make_platform(struct test_device *device)
{
	const struct test_device_options *options = &device->options;
	struct viodma_platform *platform = &device->platform;

	viodma_platform_init(platform);
	if (options->segment_bytes_max)
		platform->segment_bytes_max = options->segment_bytes_max;
	if (options->boundary_bytes)
		platform->boundary_bytes = options->boundary_bytes;
	if (options->alignment_bytes)
		platform->alignment_bytes = options->alignment_bytes;
	platform->mapping_bytes_max = options->mapping_bytes_max;
	platform->order = options->order_platform ? VIODMA_ORDER_PLATFORM : VIODMA_ORDER_SMP;
	switch (options->kind) {
	case TEST_OFFSET:
	case TEST_BOUNCE:
		platform->kind = VIODMA_PLATFORM_OFFSET;
		platform->windows[platform->window_count++] = (struct viodma_window){
			.phys = {TEST_POOL_PHYS}, .bus = {POOL_BUS}, .len_bytes = options->pool_bytes};
		if (options->kind == TEST_OFFSET)
			platform->windows[platform->window_count++] = (struct viodma_window){
				.phys = {TEST_PRIVATE_PHYS}, .bus = {PRIVATE_BUS}, .len_bytes = TEST_PRIVATE_BYTES};
		break;
	case TEST_IOMMU:
	case TEST_BOUNCE_IOMMU:
		platform->kind = VIODMA_PLATFORM_IOMMU;
		platform->granule_bytes = 4096;
		platform->windows[platform->window_count++] =
			(struct viodma_window){.bus = {IOMMU_BUS}, .len_bytes = (uint64_t)GRANULES * 4096};
		break;
	default:
		break;
	}
	if (options->kind == TEST_BOUNCE || options->kind == TEST_BOUNCE_IOMMU) {
		platform->restricted = true;
		platform->pool.v = TEST_POOL_PHYS;
		platform->pool_bytes = options->pool_bytes;
	}
}

static void make_memory(struct test_device *device)
{
	const struct test_device_options *options = &device->options;
	struct viodma_pool_config config = {.slot_bytes = options->slot_bytes, .run_bytes = options->run_bytes};
	size_t storage = VIODMA_POOL_STORAGE_BYTES(options->pool_bytes, options->slot_bytes);

	device->private_memory = aligned_alloc(4096, TEST_PRIVATE_BYTES);
	device->pool_memory = aligned_alloc(4096, (options->pool_bytes + 4095) & ~4095u);
	must(device->private_memory && device->pool_memory, "out of memory");
	memset(device->private_memory, 0x5a, TEST_PRIVATE_BYTES);
	memset(device->pool_memory, 0x77, options->pool_bytes);
	device->objects[0] = (struct viodma_object){device->private_memory, {TEST_PRIVATE_PHYS}, TEST_PRIVATE_BYTES};
	device->objects[1] = (struct viodma_object){device->pool_memory, {TEST_POOL_PHYS}, options->pool_bytes};
	device->memory = (struct viodma_memory){device->objects, 2};
	device->pool_storage = zeroed(1, storage);
	must(viodma_pool_init(&device->pool, &config) == VIODMA_OK, "viodma_pool_init");
	must(viodma_pool_add(&device->pool, &device->objects[1], device->pool_storage, storage) == VIODMA_OK,
	     "viodma_pool_add");
	device->grants = zeroed(TEST_GRANTS, sizeof(*device->grants));
	device->iommu_storage = zeroed(1, VIODMA_IOMMU_STORAGE_BYTES(GRANULES));
	switch (options->kind) {
	case TEST_DIRECT:
		grant(device, TEST_PRIVATE_PHYS, TEST_PRIVATE_PHYS, TEST_PRIVATE_BYTES, VIODMA_READ_WRITE);
		grant(device, TEST_POOL_PHYS, TEST_POOL_PHYS, options->pool_bytes, VIODMA_READ_WRITE);
		break;
	case TEST_OFFSET:
		grant(device, PRIVATE_BUS, TEST_PRIVATE_PHYS, TEST_PRIVATE_BYTES, VIODMA_READ_WRITE);
		/* fall through */
	case TEST_BOUNCE:
		grant(device, POOL_BUS, TEST_POOL_PHYS, options->pool_bytes, VIODMA_READ_WRITE);
		break;
	default:
		break;
	}
}

static void make_queues(struct test_device *device)
{
	struct viodma_blk_config config = {
		.capacity_bytes = TEST_DISK_BYTES,
		.blk_size = device->options.blk_size,
		.seg_max = device->options.seg_max,
		.size_max = device->options.size_max,
		.read_only = device->options.read_only,
		.lifetime = device->options.lifetime,
		.discard = device->options.discard,
		.write_zeroes = device->options.write_zeroes,
		.secure_erase = device->options.secure_erase,
		.write_zeroes_may_unmap = true,
		.physical_block_exp = device->options.physical_block_exp,
		.serial = "viodma-test-device!!",
	};
	uint32_t ios = 1024 * viodma_blk_ios_per_head(&config);
	unsigned i;

	for (i = 0; i < TEST_DEVICE_QUEUES; i++) {
		struct test_device_queue *queue = &device->queues[i];
		struct viodma_blk_ops ops = {
			.submit = test_device_submit, .context = queue, .lifetime = test_device_lifetime};
		struct viodma_queue_config queue_config = {
			.space = &device->space, .index = i, .size_max = 1024, .segments_max = 64, .pieces_max = 1024};

		queue->device = device;
		queue->size_max = i < device->options.queues ? 1024 : 0;
		if (!queue->size_max)
			continue;
		queue_config.memory_bytes = viodma_queue_memory_bytes(&queue_config);
		queue->memory = queue_config.memory = zeroed(1, queue_config.memory_bytes);
		queue->ios = zeroed(ios, sizeof(*queue->ios));
		must(viodma_queue_init(&queue->queue, &queue_config) == VIODMA_OK, "viodma_queue_init");
		must(viodma_blk_init(&queue->blk, &config, &ops, queue->ios, ios) == VIODMA_OK, "viodma_blk_init");
		viodma_blk_set_accepted(&queue->blk, viodma_blk_features(&queue->blk));
	}
	viodma_blk_read_config(&device->queues[0].blk, 0, device->config, sizeof(device->config));
	device->config[34] = (unsigned char)device->options.queues;
	device->offered |= viodma_blk_features(&device->queues[0].blk);
	if (device->options.no_flush)
		device->offered &= ~(VIODMA_FEATURE(VIRTIO_BLK_F_FLUSH_BIT) | VIODMA_FEATURE(VIRTIO_BLK_F_CONFIG_WCE_BIT));
	if (device->options.queues > 1)
		device->offered |= VIODMA_FEATURE(VIRTIO_BLK_F_MQ_BIT);
}

/* What the device offers beside what every device does. */
static uint64_t also(const struct test_device_options *options)
{
	return (options->order_platform ? VIODMA_FEATURE(VIRTIO_F_ORDER_PLATFORM_BIT) : 0) |
	       (options->in_order ? VIODMA_FEATURE(VIRTIO_F_IN_ORDER_BIT) : 0) |
	       (options->notification_data ? VIODMA_FEATURE(VIRTIO_F_NOTIFICATION_DATA_BIT) : 0);
}

struct test_device *test_device_new_of(const struct test_device_options *options, bool packed)
{
	static const struct test_device_options defaults;
	struct test_device *device = zeroed(1, sizeof(*device));
	struct viodma_space_events events = {.fault = on_fault, .context = device};
	struct viodma_translator translator = {.translate = translate, .context = device};
	struct test_device_options *own = &device->options;
	size_t i;

	*own = options ? *options : defaults;
	own->packed = own->packed || (packed && !own->split);
	own->pool_bytes = own->pool_bytes ? own->pool_bytes : 256u << 10;
	own->slot_bytes = own->slot_bytes ? own->slot_bytes : own->kind >= TEST_IOMMU ? 4096 : 2048;
	own->run_bytes = own->run_bytes ? own->run_bytes : own->pool_bytes;
	own->size = own->size ? own->size : 16;
	own->queues = own->queues ? own->queues : 1;
	own->seg_max = own->seg_max ? own->seg_max : 14;
	own->size_max = own->size_max ? own->size_max : 1u << 20;
	own->blk_size = own->blk_size ? own->blk_size : 512;
	must(own->queues <= TEST_DEVICE_QUEUES, "too many queues");
	make_platform(device);
	make_memory(device);
	viodma_space_init(&device->space, NULL, 0, &events);
	viodma_space_set_translator(&device->space, &translator);
	device->disk = zeroed(1, TEST_DISK_BYTES);
	for (i = 0; i < TEST_DISK_BYTES; i++)
		device->disk[i] = test_disk_byte(i);
	device->offered = viodma_feature_offer_device(
		own->physical ? VIODMA_PLATFORM_DMA_OFF : VIODMA_PLATFORM_DMA_OFFER, 0, also(own));
	if (!own->packed)
		device->offered &= ~VIODMA_FEATURE(VIRTIO_F_RING_PACKED_BIT);
	if (own->legacy)
		device->offered &= ~VIODMA_FEATURE(VIRTIO_F_VERSION_1_BIT);
	if (!own->event_idx)
		device->offered &= ~VIODMA_FEATURE(VIRTIO_F_EVENT_IDX_BIT);
	make_queues(device);
	device->transport.ops = &test_device_transport_ops;
	device->transport.context = device;
	device->transport.name = "test";
	device->iommu_failure = VIODMA_E_EXHAUSTED;
	return device;
}

void test_device_free(struct test_device *device)
{
	unsigned i;

	if (!device)
		return;
	for (i = 0; i < TEST_DEVICE_QUEUES; i++) {
		free(device->queues[i].driver_storage);
		free(device->queues[i].memory);
		free(device->queues[i].ios);
	}
	free(device->blk_storage);
	free(device->private_memory);
	free(device->pool_memory);
	free(device->pool_storage);
	free(device->iommu_storage);
	free(device->grants);
	free(device->disk);
	free(device);
}

/* ---- a driver's steps ---- */

enum viodma_result test_device_make_domain(struct test_device *device)
{
	static const struct viodma_iommu_ops ops = {
		.map = iommu_map, .unmap = iommu_unmap, .invalidate = iommu_invalidate};
	struct viodma_iommu_config iommu = {
		.ops = &ops,
		.context = device,
		.mode = device->options.deferred ? VIODMA_IOMMU_DEFERRED : VIODMA_IOMMU_STRICT,
		.storage = device->iommu_storage,
		.storage_bytes = VIODMA_IOMMU_STORAGE_BYTES(GRANULES),
		.granules = GRANULES,
		.waiting = device->waiting,
		.deferred_max = 64,
		.deferred_ns = 1000000,
		.now_ns = now,
	};
	struct viodma_domain_config config = {
		.platform = &device->platform,
		.addressing = device->driver.decision.addressing,
		.memory = &device->memory,
		.pool = &device->pool,
		.iommu = &iommu,
	};
	enum viodma_result result = viodma_domain_init(&device->domain, &config);

	device->domain_made = result == VIODMA_OK;
	return result;
}

enum viodma_result test_device_negotiate(struct test_device *device, uint64_t wanted)
{
	wanted |= VIODMA_FEATURE(VIRTIO_F_RING_PACKED_BIT) | VIODMA_FEATURE(VIRTIO_F_IN_ORDER_BIT); /* where offered */
	return viodma_driver_negotiate(&device->driver, &device->transport, &device->platform, &device->policy, wanted);
}

static void on_clamped(void *context, unsigned index, uint32_t used, uint32_t writable)
{
	struct test_device_queue *queue = context;

	must(index == (unsigned)(queue - queue->device->queues) && used > writable, "what was clamped");
	queue->clamped++;
}

enum viodma_result test_device_make_queue(struct test_device *device, unsigned index)
{
	const struct test_device_options *options = &device->options;
	struct test_device_queue *queue = &device->queues[index];
	struct viodma_driver_queue_config config = {
		.domain = &device->domain,
		.storage_bytes = VIODMA_DRIVER_QUEUE_STORAGE_BYTES(options->size),
		.index = index,
		.size = options->size,
		.tables = options->tables,
		.table_descriptors = options->table_descriptors,
		.strict = options->strict,
		.clamped = on_clamped,
		.context = queue,
	};
	enum viodma_result result;

	viodma_driver_queue_features(&config, &device->driver);
	free(queue->driver_storage);
	config.storage = queue->driver_storage = malloc(config.storage_bytes);
	must(config.storage != NULL, "out of memory");
	memset(config.storage, 0xcc, config.storage_bytes);
	result = viodma_driver_queue_init(&queue->driver, &config);
	if (result == VIODMA_OK)
		result = viodma_driver_queue_enable(&queue->driver, &device->transport);
	return result;
}

enum viodma_result test_device_make_blk(struct test_device *device, uint32_t parts, uint32_t segments_max)
{
	struct viodma_driver_blk_config config = {
		.driver = &device->driver,
		.domain = &device->domain,
		.queue_count = device->options.queues,
		.parts = parts,
		.segments_max = segments_max,
		.storage_bytes = VIODMA_DRIVER_BLK_STORAGE_BYTES(parts, segments_max),
	};
	unsigned i;

	for (i = 0; i < device->options.queues; i++)
		config.queues[i] = &device->queues[i].driver;
	free(device->blk_storage);
	config.storage = device->blk_storage = malloc(config.storage_bytes);
	must(config.storage != NULL, "out of memory");
	memset(config.storage, 0xcc, config.storage_bytes);
	return viodma_driver_blk_init(&device->blk, &config);
}

enum viodma_result test_device_start(struct test_device *device, uint32_t parts, uint32_t segments_max)
{
	enum viodma_result result = test_device_negotiate(device, viodma_driver_blk_wanted());
	unsigned i;

	if (result == VIODMA_OK)
		result = test_device_make_domain(device);
	for (i = 0; i < device->options.queues && result == VIODMA_OK; i++)
		result = test_device_make_queue(device, i);
	if (result == VIODMA_OK)
		result = test_device_make_blk(device, parts, segments_max);
	return result == VIODMA_OK ? viodma_driver_ready(&device->driver) : result;
}

static enum viodma_result first(enum viodma_result one, enum viodma_result other)
{
	return one == VIODMA_OK ? other : one;
}

enum viodma_result test_device_end(struct test_device *device)
{
	enum viodma_result result = VIODMA_OK;
	unsigned i, tries;
	void *token;

	device->fail_at = 0;
	device->failure = VIODMA_OK;
	for (tries = 0; tries < 10; tries++) {
		result = viodma_driver_reset(&device->driver);
		if (result != VIODMA_WAIT)
			break;
	}
	if (device->blk_storage) {
		viodma_driver_blk_stop(&device->blk, VIODMA_E_RESET);
		result = first(result, viodma_driver_blk_free(&device->blk));
	}
	for (i = 0; i < device->options.queues; i++) {
		struct viodma_driver_queue *queue = &device->queues[i].driver;

		if (!device->queues[i].driver_storage)
			continue;
		while (viodma_driver_queue_take_back(queue, &token) == VIODMA_OK)
			;
		result = first(result, viodma_driver_queue_free(queue));
	}
	if (device->domain_made)
		result = first(result, viodma_domain_free(&device->domain));
	device->domain_made = false;
	return result;
}

bool test_device_idle(struct test_device *device)
{
	return !device->domain.statistics.live && !device->domain.allocated && !device->pool.statistics.used_bytes;
}
