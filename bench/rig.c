/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rig.c - how it works: a driver and a device over one ring, as thin as a real one of each can be, so that what is seen
 * is the ring and the DMA layer. This file is compiled once for each build that is compared: plain, with retpolines, and
 * both again with the DMA layer compiled out (raw.h). All of them run the same lines.
 *
 *	send     fill the payload; map; add; after a batch: publish, and kick if the device wants it
 *	serve    pop; look at the whole payload where it lies, or fill it; push; after all: call if the driver wants it
 *	collect  get; unmap; look at what the device wrote
 *
 * Request n of a direction carries the number n in each of its words, so that a sum tells whether what arrived is what
 * was sent, and not what was there before. That is checked in every round; verify() checks every byte, against a pattern
 * that no shift or swap leaves as it was.
 *
 * Requests end in the order in which they began. Slot n modulo slots is request n's.
 */
#include "bench/bench.h"
#include "bench/payload.h"

#include <viodma/driver_queue.h>
#include <viodma/queue.h>
#include <viodma/wire/ring.h>

#include <stdlib.h>
#include <string.h>

#define RING_SIZE 256u
#define TABLE_DESCRIPTORS 8u
#define SEGMENTS_MAX 8u
#define PIECES_MAX 16u
#define STALL_NS UINT64_C(5000000000)

#ifndef BENCH_ENGINE
#define BENCH_ENGINE bench_engine_plain
#endif
#ifdef VIODMA_BENCH_RAW
#define RAW_ENGINE 1
#else
#define RAW_ENGINE 0
#endif
#define NOINLINE __attribute__((noinline))

struct request {
	struct viodma_mapping mapping;
	struct viodma_buffer buffers[2];
	struct viodma_segment segments[SEGMENTS_MAX];
	unsigned char *parts[2]; /* of the payload: the buffers, as the CPU sees them */
	uint64_t offset;         /* in the arena */
};

/* What each half alone writes stands on lines of its own. */
struct bench_rig {
	struct bench_platform *platform;
	struct viodma_domain *domain;
	struct request *requests;
	uint32_t slots, bytes, batch, buffers;
	bool from_device, premapped, untouched;
	uint64_t pattern_until;
	struct viodma_queue *queue; /* the device half's */
	void *driver_storage, *device_memory;
	struct viodma_mapping arena_mapping;
	struct viodma_buffer arena_buffer;
	struct viodma_segment arena_segments[SEGMENTS_MAX];
	_Alignas(128) struct viodma_driver_queue driver;
	uint32_t segments; /* of the last request */
	uint64_t sent, got, kicks, segments_sent;
	viodma_bus last_bus;
	bench_fault driver_fault;
	_Alignas(128) struct viodma_queue device;
	uint64_t served, calls;
	bench_fault device_fault;
};

/* ---- the driver half ---- */

static void fill_request(const struct bench_rig *rig, const struct request *request)
{
	size_t first = 0;

	for (uint32_t i = 0; i < rig->buffers; i++) {
		if (rig->sent < rig->pattern_until)
			fill_pattern(request->parts[i], request->buffers[i].len_bytes, first, rig->sent);
		else
			fill(request->parts[i], request->buffers[i].len_bytes, number_of(rig->sent));
		first += request->buffers[i].len_bytes;
	}
}

static bool is_filled(const struct bench_rig *rig, const struct request *request)
{
	const bool by_pattern = rig->got < rig->pattern_until;
	uint64_t total = 0;
	size_t first = 0;

	for (uint32_t i = 0; i < rig->buffers; i++) {
		if (!by_pattern)
			total += sum(request->parts[i], request->buffers[i].len_bytes);
		else if (!is_pattern(request->parts[i], request->buffers[i].len_bytes, first, rig->got))
			return false;
		first += request->buffers[i].len_bytes;
	}
	return by_pattern || total == sum_of(rig->bytes, number_of(rig->got));
}

static inline enum viodma_result map_and_add(struct bench_rig *rig, struct request *request)
{
	const enum viodma_direction direction = rig->from_device ? VIODMA_FROM_DEVICE : VIODMA_TO_DEVICE;
	enum viodma_result result;

	result = viodma_domain_map(rig->domain, &request->mapping, request->buffers, rig->buffers, direction,
				   request->segments, SEGMENTS_MAX);
	if (result != VIODMA_OK)
		return result;
	result = viodma_driver_queue_add(&rig->driver, request->segments, request->mapping.segment_count, request);
	if (result != VIODMA_OK)
		(void)viodma_domain_unmap(&request->mapping, 0);
	rig->segments = request->mapping.segment_count;
	return result;
}

static inline enum viodma_result sync_and_add(struct bench_rig *rig, struct request *request)
{
	const enum viodma_permission permission = rig->from_device ? VIODMA_WRITE : VIODMA_READ;
	uint64_t offset = request->offset;
	uint32_t count = 0;

	for (uint32_t i = 0; i < rig->buffers; i++, offset += rig->platform->arena->second) {
		const uint32_t len_bytes = request->buffers[i].len_bytes;
		enum viodma_result result;
		uint32_t here;

		viodma_domain_sync_for_device(&rig->arena_mapping, offset, len_bytes);
		result = viodma_mapping_segments(&rig->arena_mapping, offset, len_bytes, permission,
						 request->segments + count, SEGMENTS_MAX - count, &here);
		if (result != VIODMA_OK)
			return result;
		count += here;
	}
	rig->segments = count;
	return viodma_driver_queue_add(&rig->driver, request->segments, count, request);
}

/* Up to `most` requests, as far as there is room: how many. */
NOINLINE static uint32_t bench_rig_send(struct bench_rig *rig, uint32_t most)
{
	uint32_t count = 0;

	while (count < most && rig->sent - rig->got < rig->slots && viodma_driver_queue_has_room(&rig->driver, rig->segments)) {
		struct request *request = &rig->requests[rig->sent % rig->slots];
		enum viodma_result result;

		if (!rig->from_device && (!rig->untouched || rig->sent < rig->pattern_until))
			fill_request(rig, request);
		result = rig->premapped ? sync_and_add(rig, request) : map_and_add(rig, request);
		if (result == VIODMA_E_NO_SPACE || result == VIODMA_E_EXHAUSTED)
			break;
		if (result != VIODMA_OK) {
			rig->driver_fault = viodma_result_name(result);
			break;
		}
		rig->last_bus = request->segments[0].bus;
		rig->segments_sent += rig->segments;
		rig->sent++;
		count++;
	}
	if (count)
		viodma_driver_queue_publish(&rig->driver);
	return count;
}

static inline void finish(struct bench_rig *rig, const struct viodma_driver_completion *completion)
{
	struct request *request = completion->token;

	if (request != &rig->requests[rig->got % rig->slots])
		rig->driver_fault = "out of order";
	if (completion->written_bytes != (rig->from_device ? rig->bytes : 0))
		rig->driver_fault = "a wrong used length";
	for (uint32_t i = 0; rig->premapped && i < rig->buffers; i++)
		viodma_domain_sync_for_driver(&rig->arena_mapping, request->offset + i * rig->platform->arena->second,
					      request->buffers[i].len_bytes);
	if (!rig->premapped && viodma_domain_unmap(&request->mapping, completion->written_bytes) != VIODMA_OK)
		rig->driver_fault = "unmap failed";
	if (rig->from_device && (!rig->untouched || rig->got < rig->pattern_until) && !is_filled(rig, request))
		rig->driver_fault = "wrong bytes from the device";
	rig->got++;
}

NOINLINE static uint32_t bench_rig_collect(struct bench_rig *rig)
{
	struct viodma_driver_completion completions[32];
	uint32_t total = 0, count;

	while (viodma_driver_queue_get_batch(&rig->driver, completions, 32, &count) == VIODMA_OK) {
		for (uint32_t i = 0; i < count; i++)
			finish(rig, &completions[i]);
		total += count;
	}
	if (rig->driver.broken != VIODMA_OK)
		rig->driver_fault = viodma_result_name(rig->driver.broken);
	return total;
}

/* ---- the device half ---- */

static bool serve_pattern(struct bench_rig *rig, struct viodma_request *request)
{
	unsigned char *bytes = malloc(rig->bytes);
	bool right = bytes != NULL;

	if (right && rig->from_device) {
		fill_pattern(bytes, rig->bytes, 0, rig->served);
		right = viodma_request_write(request, 0, bytes, rig->bytes) == VIODMA_OK;
	} else if (right) {
		right = viodma_request_read(request, 0, bytes, rig->bytes) == VIODMA_OK &&
			is_pattern(bytes, rig->bytes, 0, rig->served);
	}
	free(bytes);
	return right;
}

static inline bool serve_touched(struct bench_rig *rig, struct viodma_request *request)
{
	const uint64_t number = number_of(rig->served);
	struct viodma_piece pieces[PIECES_MAX];
	uint64_t total = 0;
	uint32_t count;

	if (viodma_request_pieces(request, rig->from_device ? VIODMA_WRITE : VIODMA_READ, 0, rig->bytes, pieces,
				  PIECES_MAX, &count) != VIODMA_OK)
		return false;
	for (uint32_t i = 0; i < count; i++)
		if (rig->from_device)
			fill((unsigned char *)pieces[i].memory, pieces[i].len_bytes, number);
		else
			total += sum((const unsigned char *)pieces[i].memory, pieces[i].len_bytes);
	if (rig->from_device)
		return viodma_request_written(request, 0, rig->bytes) == VIODMA_OK;
	return total == sum_of(rig->bytes, number);
}

NOINLINE static uint32_t bench_rig_serve(struct bench_rig *rig)
{
	const uint32_t size = RING_SIZE;
	struct viodma_request *request;
	enum viodma_result result = VIODMA_OK;
	uint32_t count = 0;

	while (count < size && (result = viodma_queue_pop(rig->queue, &request)) == VIODMA_OK) {
		const uint32_t bytes = rig->from_device ? request->writable_bytes : request->readable_bytes;

		if (request->result != VIODMA_OK || bytes != rig->bytes) {
			rig->device_fault = request->result != VIODMA_OK ? viodma_result_name(request->result) :
									   "a request of another length";
			(void)viodma_queue_reject(rig->queue, request, NULL, 0);
			return count;
		}
		if (rig->served < rig->pattern_until ? !serve_pattern(rig, request) :
						       !rig->untouched && !serve_touched(rig, request))
			rig->device_fault = "wrong bytes to the device";
		viodma_queue_push(rig->queue, request, rig->from_device ? rig->bytes : 0);
		rig->served++;
		count++;
		if (rig->platform && rig->platform->table.threaded)
			bench_table_hear(&rig->platform->table);
	}
	if (viodma_result_is_peer(result) || viodma_result_is_fault(result))
		rig->device_fault = viodma_result_name(result);
	return count;
}

/* ---- both ---- */

static bench_fault fault_of(const struct bench_rig *rig)
{
	return rig->driver_fault ? rig->driver_fault : rig->device_fault;
}

static bench_fault rig_run(struct bench_rig *rig, uint64_t requests)
{
	const uint64_t end = rig->got + requests;

	while (rig->got < end && !fault_of(rig)) {
		const uint64_t left = end - rig->sent;

		if (!bench_rig_send(rig, left < rig->batch ? (uint32_t)left : rig->batch))
			return fault_of(rig) ? fault_of(rig) : "no room for one request";
		if (viodma_driver_queue_kick_needed(&rig->driver)) {
			rig->kicks++;
			viodma_queue_kicked(&rig->device);
		}
		bench_rig_serve(rig);
		if (viodma_queue_call_needed(&rig->device))
			rig->calls++;
		bench_rig_collect(rig);
		if (rig->got != rig->sent && !fault_of(rig))
			return "a request did not come back";
		(void)viodma_driver_queue_want_call(&rig->driver);
	}
	return fault_of(rig);
}

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#endif
}

static bench_fault rig_drive(struct bench_rig *rig, uint64_t requests)
{
	const uint64_t end = rig->got + requests;
	uint64_t deadline = 0;
	uint32_t idle = 0;

	viodma_driver_queue_want_no_call(&rig->driver);
	while (rig->got < end && !rig->driver_fault) {
		const uint64_t left = end - rig->sent;
		uint32_t moved = left ? bench_rig_send(rig, left < rig->batch ? (uint32_t)left : rig->batch) : 0;

		moved += bench_rig_collect(rig);
		if (moved) {
			idle = 0;
			deadline = 0;
		} else if (++idle % (1u << 16)) {
			relax();
		} else if (!deadline) {
			deadline = bench_now_ns() + STALL_NS;
		} else if (bench_now_ns() > deadline) {
			return "no progress";
		}
	}
	return rig->driver_fault;
}

static void rig_serve(struct bench_rig *rig, const int *stop)
{
	while (!__atomic_load_n(stop, __ATOMIC_ACQUIRE)) {
		if (rig->device_fault)
			return;
		if (!bench_rig_serve(rig))
			relax();
		if (rig->platform->table.threaded)
			bench_table_hear(&rig->platform->table);
	}
}

/* The device half is in another process. */
static bench_fault rig_remote(struct bench_rig *rig, uint64_t requests)
{
	const struct bench_remote *remote = rig->platform->remote;
	const uint64_t end = rig->got + requests;

	while (rig->got < end && !rig->driver_fault) {
		const uint64_t left = end - rig->sent;
		enum viodma_result result;

		if (left)
			bench_rig_send(rig, left < rig->batch ? (uint32_t)left : rig->batch);
		if (viodma_driver_queue_kick_needed(&rig->driver)) {
			rig->kicks++;
			remote->driver.transport.ops->notify(remote->driver.transport.context, 0);
		}
		if (bench_rig_collect(rig) || viodma_driver_queue_want_call(&rig->driver))
			continue;
		result = viodma_front_wait(remote->front, bench_now_ns() + STALL_NS);
		if (result != VIODMA_OK)
			return result == VIODMA_E_TIMEOUT ? "no progress" : viodma_result_name(result);
		rig->calls++;
	}
	return rig->driver_fault;
}

static void rig_counts(const struct bench_rig *rig, struct bench_counts *counts)
{
	*counts = (struct bench_counts){ rig->got, rig->segments_sent, rig->kicks, rig->calls };
}

/* ---- is it what it says? ---- */

#if !RAW_ENGINE
/* What nobody granted: memory of the driver's that is not mapped, or where there is none. */
static bool refused(struct bench_rig *rig)
{
	struct bench_platform *platform = rig->platform;
	const bool differ = bench_must_differ(platform->cell->domain);
	const uint64_t arena = platform->arena->memory.object.phys.v, length = platform->arena->memory.object.len_bytes;
	viodma_bus stray = { differ ? arena : arena + length + 4096 }, missed;
	unsigned char byte;

	if (!viodma_result_is_fault(
		    viodma_space_read(&platform->space, NULL, VIODMA_QUEUE_NONE, stray, &byte, 1, &missed)))
		return false;
	if (platform->cell->domain != BENCH_STRICT && platform->cell->domain != BENCH_BOUNCE_IOMMU)
		return true;
	return viodma_result_is_fault( /* what was mapped, and is not any more */
		viodma_space_read(&platform->space, NULL, VIODMA_QUEUE_NONE, rig->last_bus, &byte, 1, &missed));
}

static bench_fault look_at_platform(struct bench_rig *rig, uint64_t copied_before, uint64_t requests)
{
	const struct bench_platform *platform = rig->platform;
	const enum bench_domain kind = platform->cell->domain;
	const struct viodma_space_statistics *space = &platform->space.statistics;
	const uint64_t copied = platform->pool.statistics.copied_in_bytes + platform->pool.statistics.copied_out_bytes -
				copied_before;

	if (platform->remote)
		return bench_remote_fault(platform->remote, kind);
	if (bench_must_differ(kind) ? space->identity_translations != 0 :
				      space->identity_translations != space->translations)
		return bench_must_differ(kind) ? "a bus address was a physical one" : "a bus address was no physical one";
	if (kind == BENCH_BOUNCE || kind == BENCH_RESTRICTED || kind == BENCH_BOUNCE_IOMMU) {
		if (copied != requests * rig->bytes)
			return "a bounce did not copy each byte once";
	} else if (kind != BENCH_STRICT && kind != BENCH_DEFERRED && copied) {
		return "bytes were copied where none need be";
	}
	return refused(rig) ? NULL : "an access that nobody granted was not refused";
}
#endif

static bench_fault rig_verify(struct bench_rig *rig)
{
	const struct viodma_pool_statistics *pool = &rig->platform->pool.statistics;
	const uint64_t copied = pool->copied_in_bytes + pool->copied_out_bytes, before = rig->got;
	bench_fault fault;
	uint16_t words[8];

	rig->pattern_until = before + 2 * rig->slots;
	fault = rig->platform->remote ? rig_remote(rig, 2 * rig->slots) : rig_run(rig, 2 * rig->slots);
	if (fault)
		return fault;
	memcpy(words, (const void *)rig->driver.desc, sizeof(words));
	if (rig->platform->cell->packed != ((words[7] & 0x8080u) != 0))
		return "the ring is of the other kind";
	/* (Runs of the pool that adjoin become one segment, which needs no table.) */
	if (rig->driver.statistics.indirect !=
	    (rig->platform->cell->descriptors == BENCH_TABLE && rig->segments > 1 ? rig->got : 0))
		return "indirect descriptors are not as asked for";
#if RAW_ENGINE
	(void)copied;
	(void)before;
	return NULL;
#else
	return look_at_platform(rig, copied, rig->got - before);
#endif
}

/* ---- making it ---- */

struct enabling {
	struct viodma_transport_queue where;
};

static enum viodma_result size_max(void *context, unsigned queue, uint32_t *size)
{
	(void)context;
	*size = queue ? 0 : RING_SIZE;
	return VIODMA_OK;
}

static enum viodma_result enable(void *context, unsigned queue, const struct viodma_transport_queue *where)
{
	(void)queue;
	((struct enabling *)context)->where = *where;
	return VIODMA_OK;
}

static const struct viodma_transport_ops transport_ops = { .queue_size_max = size_max, .queue_enable = enable };

static enum viodma_result make_driver(struct bench_rig *rig)
{
	const struct bench_cell *cell = rig->platform->cell;
	const bool table = cell->descriptors == BENCH_TABLE;
	struct viodma_driver_queue_config config = {
		.domain = rig->domain,
		.size = RING_SIZE,
		.indirect_desc = table,
		.event_idx = true,
		.packed = cell->packed,
		.tables = table ? RING_SIZE : 0,
		.table_descriptors = table ? TABLE_DESCRIPTORS : 0,
		.storage_bytes = VIODMA_DRIVER_QUEUE_STORAGE_BYTES(RING_SIZE),
	};

	config.storage = rig->driver_storage = calloc(1, config.storage_bytes);
	return config.storage ? viodma_driver_queue_init(&rig->driver, &config) : VIODMA_E_NO_MEMORY;
}

static enum viodma_result make_device(struct bench_rig *rig)
{
	const struct bench_cell *cell = rig->platform->cell;
	struct enabling enabling;
	const struct viodma_transport transport = { &transport_ops, &enabling, "bench" };
	struct viodma_queue_config config = { .space = &rig->platform->space,
					      .size_max = RING_SIZE,
					      .segments_max = SEGMENTS_MAX,
					      .pieces_max = PIECES_MAX };
	struct bench_remote *remote = rig->platform->remote;
	enum viodma_result result =
		viodma_driver_queue_enable(&rig->driver, remote ? &remote->driver.transport : &transport);

	if (result == VIODMA_OK && remote)
		return viodma_driver_ready(&remote->driver);
	if (result != VIODMA_OK)
		return result;
	rig->queue = &rig->device;
	config.memory_bytes = viodma_queue_memory_bytes(&config);
	config.memory = rig->device_memory = calloc(1, config.memory_bytes);
	if (!config.memory)
		return VIODMA_E_NO_MEMORY;
	result = viodma_queue_init(&rig->device, &config);
	if (result == VIODMA_OK) {
		const struct viodma_queue_setup setup = {
			.size = enabling.where.size,
			.desc = enabling.where.desc,
			.avail = enabling.where.avail,
			.used = enabling.where.used,
			.base = cell->packed ? VIODMA_QUEUE_PACKED_BASE : 0,
			.indirect_desc = cell->descriptors == BENCH_TABLE,
			.event_idx = true,
			.packed = cell->packed,
		};

		result = viodma_queue_start(&rig->device, &setup, NULL);
	}
	return result;
}

static enum viodma_result make_requests(struct bench_rig *rig)
{
	const struct bench_platform *platform = rig->platform;
	const uint32_t half = rig->bytes / 16 * 8;

	rig->requests = calloc(rig->slots, sizeof(*rig->requests));
	if (!rig->requests)
		return VIODMA_E_NO_MEMORY;
	for (uint32_t i = 0; i < rig->slots; i++) {
		struct request *request = &rig->requests[i];

		request->offset = platform->arena->stride * i;
		request->parts[0] = (unsigned char *)platform->arena->memory.object.memory + request->offset;
		request->parts[1] = request->parts[0] + platform->arena->second;
		request->buffers[0] = (struct viodma_buffer){ bench_slot_phys(platform, i), rig->bytes };
		if (rig->buffers == 1)
			continue;
		request->buffers[1].phys.v = request->buffers[0].phys.v + platform->arena->second;
		request->buffers[1].len_bytes = rig->bytes - half;
		request->buffers[0].len_bytes = half;
	}
	if (!rig->premapped)
		return VIODMA_OK;
	rig->arena_buffer = (struct viodma_buffer){ bench_slot_phys(platform, 0),
						    (uint32_t)platform->arena->memory.object.len_bytes };
	return viodma_domain_map(rig->domain, &rig->arena_mapping, &rig->arena_buffer, 1, VIODMA_BIDIRECTIONAL,
				 rig->arena_segments, SEGMENTS_MAX);
}

static void rig_end(struct bench_rig *rig)
{
	void *token;

	if (rig->platform->remote)
		bench_remote_reset(rig->platform->remote);
	if (rig->driver.used) {
		while (viodma_driver_queue_take_back(&rig->driver, &token) == VIODMA_OK)
			(void)viodma_domain_unmap(&((struct request *)token)->mapping, 0);
		(void)!viodma_driver_queue_free(&rig->driver);
	}
	if (rig->premapped && rig->arena_mapping.domain)
		(void)viodma_domain_unmap(&rig->arena_mapping, 0);
	free(rig->requests);
	free(rig->driver_storage);
	free(rig->device_memory);
	free(rig);
}

static struct bench_rig *rig_make(struct bench_platform *platform, bool untouched, bench_fault *fault)
{
	const struct bench_cell *cell = platform->cell;
	struct bench_rig *rig = aligned_alloc(128, (sizeof(*rig) + 127) / 128 * 128);
	enum viodma_result result = VIODMA_E_NO_MEMORY;

	if (rig) {
		memset(rig, 0, sizeof(*rig));
		rig->platform = platform;
		rig->domain = &platform->domain;
		rig->slots = bench_slots(cell);
		rig->bytes = cell->bytes;
		rig->batch = cell->batch;
		rig->buffers = rig->segments = cell->descriptors == BENCH_ONE ? 1 : 2;
		rig->from_device = cell->from_device;
		rig->premapped = cell->domain == BENCH_PREMAPPED;
		rig->untouched = untouched;
		result = make_requests(rig);
	}
	if (result == VIODMA_OK)
		result = make_driver(rig);
	if (result == VIODMA_OK)
		result = make_device(rig);
	if (result == VIODMA_OK)
		return rig;
	*fault = viodma_result_name(result);
	if (rig)
		rig_end(rig);
	return NULL;
}

/* For a process that has the device half alone. */
static struct bench_rig *rig_make_server(const struct bench_cell *cell)
{
	struct bench_rig *rig = aligned_alloc(128, (sizeof(*rig) + 127) / 128 * 128);

	if (!rig)
		return NULL;
	memset(rig, 0, sizeof(*rig));
	rig->bytes = cell->bytes;
	rig->from_device = cell->from_device;
	rig->pattern_until = 2 * bench_slots(cell);
	return rig;
}

static bool rig_process(struct bench_rig *rig, struct viodma_queue *queue, bool *more)
{
	rig->queue = queue;
	*more = bench_rig_serve(rig) == RING_SIZE;
	return !rig->device_fault;
}

const struct bench_engine BENCH_ENGINE = {
	.make = rig_make,
	.end = rig_end,
	.run = rig_run,
	.drive = rig_drive,
	.serve = rig_serve,
	.remote = rig_remote,
	.make_server = rig_make_server,
	.process = rig_process,
	.verify = rig_verify,
	.counts = rig_counts,
};
