/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * drive_session.c - how it works: what is made for one negotiation, in this order, and ends in the other:
 *
 *	negotiate -> grant what is fixed -> pool, domain, queues, driver_blk -> DRIVER_OK
 *	(reset) -> requests given back -> driver_blk, queues, domain, pool end
 *
 * Sizes follow from the pool: rings, tables, headers and status bytes take at most half of it.
 */
#include "tools/drive_session.h"

#include "tools/log.h"

#include <viodma/loop.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SEGMENTS_MAX 32u
#define TABLE_DESCRIPTORS (SEGMENTS_MAX + 2)
#define TABLE_BYTES (TABLE_DESCRIPTORS * 16u)
#define PART_BYTES 80u /* of ring memory: a header, and a status with a line of its own */
#define DESCRIPTOR_BYTES 26u /* with its places in the rings */
#define QUEUE_SIZE_LEAST 16u
#define QUEUE_SIZE_MOST 256u
#define WAITING_RANGES 256u
#define DEFERRED_NS 1000000u
#define DEBUG_ENTRIES 4096u

/* ---- what is told on the way ---- */

static void on_exhausted(void *context, const struct viodma_pool *pool, uint64_t wanted_bytes)
{
	struct drive_device *device = context;
	char text[256];

	if (device->exhaustion_told)
		return;
	device->exhaustion_told = true;
	viodma_pool_describe(pool, wanted_bytes, text, sizeof(text));
	log_event(device->name, "%s (--pool, --pool-max; --depth, --request)", text);
}

static void on_clamped(void *context, unsigned queue, uint32_t used_bytes, uint32_t writable_bytes)
{
	const struct drive_device *device = context;

	if (!device->queues[queue].statistics.clamped)
		log_event(device->name, "queue %u: DEV-16: a used length of %" PRIu32 ", where %" PRIu32
			  " bytes could be written: cut, and counted from here on",
			  queue, used_bytes, writable_bytes);
}

static void on_debug(void *context, const struct viodma_debug_report *report)
{
	const struct drive_device *device = context;

	log_event(device->name, "dma-debug: %s: mapping %" PRIu64 ", %" PRIu64 " bytes at physical 0x%" PRIx64 ", %s",
		  viodma_debug_kind_name(report->kind), report->number, report->len_bytes, report->phys.v,
		  report->direction == VIODMA_TO_DEVICE     ? "to the device" :
		  report->direction == VIODMA_FROM_DEVICE   ? "from the device" :
							      "both ways");
}

/* ---- memory and addresses ---- */

static bool grow(void *context, struct viodma_pool *pool, uint64_t wanted_bytes)
{
	struct drive_device *device = context;
	struct drive_memory *memory = &device->memory;
	const struct viodma_front_memory *chunk;
	const bool platform = device->driver.decision.addressing == VIODMA_ADDRESSING_PLATFORM;
	uint64_t bytes = memory->pool_bytes;

	if (bytes < wanted_bytes)
		bytes = (wanted_bytes + pool->run_bytes) & ~(uint64_t)4095;
	if (drive_memory_add_chunk(memory, &device->platform, bytes) != VIODMA_OK)
		return false;
	chunk = &memory->chunks[memory->chunk_count - 1];
	if (viodma_front_share(device->front, chunk) == VIODMA_OK &&
	    (!platform || drive_platform_grant(&device->platform, device->front, &chunk->object) == VIODMA_OK)) {
		if (viodma_pool_add(pool, &chunk->object, memory->storages[memory->chunk_count - 1],
				    VIODMA_POOL_STORAGE_BYTES(chunk->object.len_bytes, pool->slot_bytes)) == VIODMA_OK)
			return true;
		/* it is the device's now, and nobody uses it */
	} else {
		drive_memory_drop_chunk(memory);
	}
	return false;
}

static enum viodma_result make_pool(struct drive_device *device)
{
	const struct viodma_pool_config config = {
		.name = "the pool",
		.coherent = true, /* memory between processes is */
		.slot_bytes = drive_platform_slot_bytes(&device->platform),
		.exhausted = on_exhausted,
		.grow = device->options->pool_max_bytes > device->options->pool_bytes ? grow : NULL,
		.context = device,
	};
	enum viodma_result result = viodma_pool_init(&device->pool, &config);

	for (uint32_t i = 0; i < device->memory.chunk_count && result == VIODMA_OK; i++) {
		const struct viodma_object *object = &device->memory.chunks[i].object;

		result = viodma_pool_add(&device->pool, object, device->memory.storages[i],
					 VIODMA_POOL_STORAGE_BYTES(object->len_bytes, device->pool.slot_bytes));
	}
	device->pool_made = result == VIODMA_OK;
	return drive_check(device, "making the pool", result);
}

static void fence(void *context, void *memory, viodma_phys phys, uint64_t len_bytes)
{
	(void)context, (void)memory, (void)phys, (void)len_bytes;
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* processes are coherent */
}

static uint32_t power_of_two_at_least(uint64_t number)
{
	uint32_t power = 1;

	while (power < number && power < 1u << 24)
		power <<= 1;
	return power;
}

/* Twice what can be mapped at once, since ranges are powers of two and need not lie well. */
static bool make_iommu(struct drive_device *device, struct viodma_iommu_config *config)
{
	const uint64_t request = power_of_two_at_least(device->options->request_bytes / 4096 + 2);
	const uint64_t pool = device->options->pool_max_bytes / 4096;
	const uint32_t granules = power_of_two_at_least(2 * (request * device->options->depth + pool) + 4096);

	free(device->iommu_storage);
	free(device->waiting);
	device->iommu_storage = malloc(VIODMA_IOMMU_STORAGE_BYTES(granules));
	device->waiting = calloc(WAITING_RANGES, sizeof(struct viodma_iommu_waiting));
	*config = (struct viodma_iommu_config){
		.ops = viodma_front_iommu_ops(),
		.context = device->front,
		.mode = device->options->deferred ? VIODMA_IOMMU_DEFERRED : VIODMA_IOMMU_STRICT,
		.storage = device->iommu_storage,
		.storage_bytes = VIODMA_IOMMU_STORAGE_BYTES(granules),
		.granules = granules,
		.waiting = device->waiting,
		.deferred_max = WAITING_RANGES,
		.deferred_ns = DEFERRED_NS,
		.now_ns = viodma_front_now_ns,
	};
	return device->iommu_storage && device->waiting;
}

static enum viodma_result make_domain(struct drive_device *device)
{
	const struct viodma_cache_ops cache = { .clean = fence, .invalidate = fence };
	struct viodma_iommu_config iommu;
	const struct viodma_domain_config config = {
		.platform = &device->platform.description,
		.addressing = device->driver.decision.addressing,
		.memory = &device->memory.table,
		.pool = &device->pool,
		.iommu = &iommu,
		.cache = &cache,
		.debug = device->options->debug ? &device->debug : NULL,
	};
	const char *why = NULL;
	enum viodma_result result;

	if (!make_iommu(device, &iommu))
		return drive_check(device, "making the domain", VIODMA_E_NO_MEMORY);
	if (device->options->debug) {
		if (!device->debug_entries)
			device->debug_entries = calloc(DEBUG_ENTRIES, sizeof(*device->debug_entries));
		if (!device->debug_entries)
			return drive_check(device, "making the domain", VIODMA_E_NO_MEMORY);
		viodma_debug_init(&device->debug, device->debug_entries, DEBUG_ENTRIES, on_debug, device);
	}
	result = viodma_domain_check(&config, &why);
	if (why)
		log_event(device->name, "making the domain: %s", why);
	if (result == VIODMA_OK)
		result = viodma_domain_init(&device->domain, &config);
	device->domain_made = result == VIODMA_OK;
	return drive_check(device, "making the domain", result);
}

/* Bit 33 set: what the platform fixes is granted in advance. */
static enum viodma_result grant_fixed(struct drive_device *device)
{
	const struct drive_memory *memory = &device->memory;
	enum viodma_result result = VIODMA_OK;

	if (device->driver.decision.addressing != VIODMA_ADDRESSING_PLATFORM)
		return VIODMA_OK;
	if (memory->private.fd >= 0)
		result = drive_platform_grant(&device->platform, device->front, &memory->private.object);
	for (uint32_t i = 0; i < memory->chunk_count && result == VIODMA_OK; i++)
		result = drive_platform_grant(&device->platform, device->front, &memory->chunks[i].object);
	return drive_check(device, "granting memory", result);
}

/* ---- features ---- */

static void log_decision(const struct drive_device *device)
{
	const struct viodma_driver_decision *decision = &device->driver.decision;

	if (decision->pool_at_physical)
		log_event(device->name,
			  "%s: bit 33 is not offered: it runs in the pool, at physical addresses; the weaker promise: "
			  "nothing says that it keeps to the pool",
			  viodma_result_requirement(VIODMA_PEER_RESTRICTED));
	else if (!device->options->quiet)
		log_event(device->name, "%s: %s addresses (%s)",
			  device->platform.text,
			  decision->addressing == VIODMA_ADDRESSING_PLATFORM ? "bus" : "physical", decision->rule);
}

static uint64_t wanted_features(const struct drive_options *options)
{
	uint64_t wanted = viodma_driver_blk_wanted();

	if (options->no_indirect)
		wanted &= ~VIODMA_FEATURE(VIRTIO_F_INDIRECT_DESC_BIT);
	if (options->no_event_idx)
		wanted &= ~VIODMA_FEATURE(VIRTIO_F_EVENT_IDX_BIT);
	if (options->split)
		wanted &= ~VIODMA_FEATURE(VIRTIO_F_RING_PACKED_BIT);
	if (!options->in_order)
		wanted &= ~VIODMA_FEATURE(VIRTIO_F_IN_ORDER_BIT);
	if (options->no_ring_reset)
		wanted &= ~VIODMA_FEATURE(VIRTIO_F_RING_RESET_BIT);
	return wanted;
}

static enum viodma_result check_layout(const struct drive_device *device)
{
	if (!device->options->packed || drive_device_is_packed(device))
		return VIODMA_OK;
	log_event(device->name, "--packed: %s",
		  device->driver.offered & VIODMA_FEATURE(VIRTIO_F_RING_PACKED_BIT)
			  ? "packed rings are offered, and not accepted"
			  : "the device does not offer packed rings");
	return VIODMA_E_UNSUPPORTED;
}

static enum viodma_result negotiate(struct drive_device *device)
{
	const struct drive_options *options = device->options;
	const struct viodma_driver_policy policy = {
		.require_platform_dma = options->require_platform_dma,
		.pool_at_physical = options->pool_at_physical,
		.decline_platform_dma = options->decline_platform_dma,
		.platform_dma_bit = options->platform_dma_bit,
	};
	const uint64_t deadline = drive_deadline_ns(device);
	const struct timespec moment = { 0, 1000000 };
	const uint64_t wanted = wanted_features(options);
	enum viodma_result result;

	while ((result = viodma_driver_negotiate(&device->driver, viodma_front_transport(device->front),
						 &device->platform.description, &policy, wanted)) == VIODMA_WAIT) {
		if (viodma_loop_now_ns() >= deadline) {
			result = VIODMA_PEER_RESET;
			break;
		}
		nanosleep(&moment, NULL);
	}
	device->negotiated = result == VIODMA_OK;
	if (result == VIODMA_OK)
		log_decision(device);
	if (result == VIODMA_OK)
		result = check_layout(device);
	return drive_check(device, "negotiating", result);
}

/* ---- queues ---- */

static uint32_t queue_size(const struct drive_device *device, uint32_t most)
{
	const uint64_t room = device->options->pool_bytes / 16 / DESCRIPTOR_BYTES / device->queue_count;
	uint32_t size = QUEUE_SIZE_LEAST;

	while (size < QUEUE_SIZE_MOST && size < 4 * device->options->depth && 2 * size <= room && 2 * size <= most)
		size *= 2;
	return size < most ? size : most;
}

static uint32_t parts_in_flight(const struct drive_device *device)
{
	const uint64_t room = device->options->pool_bytes / 8 / PART_BYTES;
	const uint32_t wanted = 2 * device->options->depth > 8 ? 2 * device->options->depth : 8;

	return wanted < room ? wanted : (uint32_t)room;
}

static enum viodma_result make_queue(struct drive_device *device, unsigned index)
{
	const struct viodma_transport *transport = &device->driver.transport;
	const uint32_t table_room = (uint32_t)(device->options->pool_bytes / 8 / TABLE_BYTES) / device->queue_count;
	const uint32_t parts = parts_in_flight(device) / device->queue_count + 1;
	struct viodma_driver_queue_config config = {
		.domain = &device->domain,
		.index = index,
		.strict = device->options->strict,
		.clamped = on_clamped,
		.context = device,
	};
	uint32_t most;
	enum viodma_result result = viodma_driver_queue_size_max(transport, index, &most);

	if (result != VIODMA_OK)
		return drive_check(device, "asking for a queue's size", result);
	config.size = queue_size(device, most);
	viodma_driver_queue_features(&config, &device->driver);
	if (config.indirect_desc && TABLE_DESCRIPTORS <= config.size) {
		config.tables = parts < table_room ? parts : table_room;
		config.tables = config.tables < config.size ? config.tables : config.size;
		config.table_descriptors = config.tables ? TABLE_DESCRIPTORS : 0;
	}
	config.storage_bytes = VIODMA_DRIVER_QUEUE_STORAGE_BYTES(config.size);
	config.storage = device->queue_storages[index] = malloc(config.storage_bytes);
	if (!config.storage)
		return drive_check(device, "making a queue", VIODMA_E_NO_MEMORY);
	result = viodma_driver_queue_init(&device->queues[index], &config);
	if (result != VIODMA_OK) {
		free(device->queue_storages[index]);
		device->queue_storages[index] = NULL;
		return drive_check(device, "making a queue", result);
	}
	return drive_check(device, "setting up a queue", viodma_driver_queue_enable(&device->queues[index], transport));
}

static enum viodma_result make_blk(struct drive_device *device)
{
	struct viodma_driver_blk_config config = {
		.driver = &device->driver,
		.domain = &device->domain,
		.queue_count = device->queue_count,
		.parts = parts_in_flight(device),
		.segments_max = SEGMENTS_MAX,
	};
	enum viodma_result result;

	for (unsigned i = 0; i < device->queue_count; i++)
		config.queues[i] = &device->queues[i];
	config.storage_bytes = VIODMA_DRIVER_BLK_STORAGE_BYTES(config.parts, config.segments_max);
	config.storage = device->blk_storage = malloc(config.storage_bytes);
	if (!config.storage)
		return drive_check(device, "setting up the disk", VIODMA_E_NO_MEMORY);
	result = viodma_driver_blk_init(&device->blk, &config);
	device->blk_made = result == VIODMA_OK;
	return drive_check(device, "setting up the disk", result);
}

enum viodma_result drive_session_begin(struct drive_device *device)
{
	enum viodma_result result;
	uint16_t queues = 0;

	device->begun = true;
	device->exhaustion_told = false;
	result = negotiate(device);
	if (result == VIODMA_OK)
		result = grant_fixed(device);
	if (result == VIODMA_OK)
		result = make_pool(device);
	if (result == VIODMA_OK)
		result = make_domain(device);
	if (result == VIODMA_OK)
		result = drive_check(device, "asking for the number of queues",
				     viodma_driver_blk_queues(&device->driver, &queues));
	device->queue_count = device->options->queues < queues ? device->options->queues : queues;
	for (unsigned i = 0; i < device->queue_count && result == VIODMA_OK; i++)
		result = make_queue(device, i);
	if (result == VIODMA_OK)
		result = make_blk(device);
	if (result == VIODMA_OK)
		result = drive_check(device, "starting the device", viodma_driver_ready(&device->driver));
	device->running = result == VIODMA_OK;
	return result;
}

/* ---- the end ---- */

static void first_of(enum viodma_result *result, enum viodma_result other)
{
	if (*result == VIODMA_OK)
		*result = other;
}

static void add_queue_statistics(struct viodma_driver_queue_statistics *all,
				 const struct viodma_driver_queue_statistics *one)
{
	all->added += one->added;
	all->got += one->got;
	all->kicks += one->kicks;
	all->kicks_suppressed += one->kicks_suppressed;
	all->calls_suppressed += one->calls_suppressed;
	all->clamped += one->clamped;
	all->indirect += one->indirect;
}

/* What this use of the device came to, for the statistics. */
static void take_session(struct drive_device *device, enum viodma_result result)
{
	struct drive_session *session;

	if (!device->begun || device->session_count == 2)
		return;
	device->begun = false;
	session = &device->sessions[device->session_count++];
	*session = (struct drive_session){
		.domain = device->platform.domain,
		.enforced = drive_platform_enforced(
			&device->platform, device->driver.decision.addressing == VIODMA_ADDRESSING_PHYSICAL),
		.offered = device->driver.offered,
		.decision = device->driver.decision,
		.result = result,
		.queue_count = device->queue_count,
		.packed = drive_device_is_packed(device),
	};
	memcpy(session->platform, device->platform.text, sizeof(session->platform));
	if (device->pool_made)
		session->pool = device->pool.statistics;
	if (device->domain_made) {
		session->kind = device->domain.kind;
		session->dma = device->domain.statistics;
	}
	if (device->blk_made)
		session->blk = device->blk.statistics;
	for (unsigned i = 0; i < device->queue_count; i++) {
		if (!device->queue_storages[i])
			continue;
		session->queue_size = device->queues[i].config.size;
		add_queue_statistics(&session->queues, &device->queues[i].statistics);
	}
	if (device->front) {
		viodma_front_statistics(device->front, &session->front);
		session->shared_bytes = session->front.shared_bytes;
		session->granted_bytes_peak = session->front.granted_bytes_peak;
	}
}

/* Then a question and its answer go to and fro: what a device writes in that time is seen when all of it is freed. */
static void take_back(struct drive_device *device, enum viodma_result reset)
{
	const struct viodma_transport *transport = &device->driver.transport;
	uint8_t status;
	void *token;

	if (device->blk_made)
		viodma_driver_blk_stop(&device->blk, VIODMA_E_RESET);
	for (unsigned i = 0; i < device->queue_count; i++)
		while (device->queue_storages[i] &&
		       viodma_driver_queue_take_back(&device->queues[i], &token) == VIODMA_OK)
			;
	if (device->queue_count && reset == VIODMA_OK)
		(void)transport->ops->get_status(transport->context, &status);
}

static void end_queues(struct drive_device *device, enum viodma_result *result)
{
	for (unsigned i = 0; i < device->queue_count; i++) {
		if (!device->queue_storages[i])
			continue;
		first_of(result, viodma_driver_queue_free(&device->queues[i]));
		free(device->queue_storages[i]);
		device->queue_storages[i] = NULL;
	}
	device->queue_count = 0;
}

static void end_domain(struct drive_device *device, enum viodma_result *result)
{
	enum viodma_result ended;

	if (device->domain_made) {
		ended = viodma_domain_free(&device->domain);
		if (device->options->debug) {
			device->debug_reports += device->debug.reports;
			for (unsigned i = 0; i <= VIODMA_DEBUG_FULL; i++)
				device->debug_counts[i] += device->debug.counts[i];
		}
		first_of(result, ended);
	}
	device->domain_made = false;
	if (device->pool_made)
		first_of(result, viodma_pool_free(&device->pool));
	device->pool_made = false;
}

void drive_session_end(struct drive_device *device, enum viodma_result *result)
{
	take_back(device, *result);
	take_session(device, *result);
	if (device->blk_made)
		first_of(result, viodma_driver_blk_free(&device->blk));
	device->blk_made = false;
	free(device->blk_storage);
	device->blk_storage = NULL;
	end_queues(device, result);
	end_domain(device, result);
}
