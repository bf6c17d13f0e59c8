/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rig_life.c - how it works: a rig is made on a platform, verified, and ended. Ring and queue are what a driver and a device
 * of one's own would make, without registers between them: where the rings lie is handed over by a transport that
 * remembers it.
 *
 * Verified means: every byte of requests against a pattern; the ring is of the kind asked for; bus addresses differ from
 * physical ones, except where a rule has them equal; what bounces was copied once, and nothing else was; and an access
 * that nobody granted is refused.
 */
#include "bench/rig.h"

#include <stdlib.h>
#include <string.h>

#ifndef BENCH_ENGINE
#define BENCH_ENGINE bench_engine_plain
#endif
#ifdef VIODMA_BENCH_RAW
#define RAW_ENGINE 1
#else
#define RAW_ENGINE 0
#endif

/* Each slot twice, and one more: a packed ring then has descriptors of two turns, or of the first one. */
static inline uint64_t verified(uint32_t slots)
{
	return 2 * (uint64_t)slots + 1;
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

/* The highest bit of a descriptor's last word: used, in an odd turn; in a split ring, a number that is never so high. */
static bool looks_packed(const struct bench_rig *rig)
{
	uint16_t words[8], all = 0;

	for (uint32_t i = 0; i < RING_SIZE; i++) {
		memcpy(words, (const char *)rig->driver.desc + i * sizeof(words), sizeof(words));
		all |= words[7];
	}
	return all & 0x8000u;
}

static bench_fault rig_verify(struct bench_rig *rig)
{
	const struct viodma_pool_statistics *pool = &rig->platform->pool.statistics;
	const uint64_t copied = pool->copied_in_bytes + pool->copied_out_bytes, before = rig->got;
	bench_fault fault;

	rig->pattern_until = before + verified(rig->slots);
	fault = rig->platform->remote ? bench_rig_remote(rig, verified(rig->slots)) : bench_rig_run(rig, verified(rig->slots));
	if (fault)
		return fault;
	if (rig->platform->cell->packed != looks_packed(rig))
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

/* Zeroes; no line of it, nor one of a pair that comes together, is anybody else's, whichever half that may be. */
static void *own_lines(size_t bytes)
{
	const size_t whole = (bytes + 127) / 128 * 128;
	void *memory = aligned_alloc(128, whole);

	return memory ? memset(memory, 0, whole) : NULL;
}

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

	config.storage = rig->driver_storage = own_lines(config.storage_bytes);
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
	config.memory = rig->device_memory = own_lines(config.memory_bytes);
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

/* The segments of one request, of its part of the arena. */
static enum viodma_result find_segments(struct bench_rig *rig, struct bench_request *request)
{
	const enum viodma_permission permission = rig->from_device ? VIODMA_WRITE : VIODMA_READ;
	uint64_t offset = request->offset;

	for (uint32_t i = 0; i < rig->buffers; i++, offset += rig->platform->arena->second) {
		uint32_t here;
		const enum viodma_result result = viodma_mapping_segments(
			&rig->arena_mapping, offset, request->buffers[i].len_bytes, permission,
			request->segments + request->segment_count, SEGMENTS_MAX - request->segment_count, &here);

		if (result != VIODMA_OK)
			return result;
		request->segment_count += here;
	}
	return VIODMA_OK;
}

static enum viodma_result map_arena(struct bench_rig *rig)
{
	const struct bench_platform *platform = rig->platform;
	enum viodma_result result;

	rig->arena_buffer = (struct viodma_buffer){ bench_slot_phys(platform, 0),
						    (uint32_t)platform->arena->memory.object.len_bytes };
	result = viodma_domain_map(rig->domain, &rig->arena_mapping, &rig->arena_buffer, 1, VIODMA_BIDIRECTIONAL,
				 rig->arena_segments, SEGMENTS_MAX);
	for (uint32_t i = 0; i < rig->slots && result == VIODMA_OK; i++)
		result = find_segments(rig, &rig->requests[i]);
	return result;
}

static enum viodma_result make_requests(struct bench_rig *rig)
{
	const struct bench_platform *platform = rig->platform;
	const uint32_t half = rig->bytes / 16 * 8;

	rig->requests = own_lines(rig->slots * sizeof(*rig->requests));
	if (!rig->requests)
		return VIODMA_E_NO_MEMORY;
	for (uint32_t i = 0; i < rig->slots; i++) {
		struct bench_request *request = &rig->requests[i];

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
	return rig->premapped ? map_arena(rig) : VIODMA_OK;
}

static void rig_end(struct bench_rig *rig)
{
	void *token;

	if (rig->platform->remote)
		bench_remote_reset(rig->platform->remote);
	if (rig->driver.used) {
		while (viodma_driver_queue_take_back(&rig->driver, &token) == VIODMA_OK)
			(void)viodma_domain_unmap_lean(rig->domain, &((struct bench_request *)token)->mapping, 0);
		(void)!viodma_driver_queue_free(&rig->driver);
	}
	if (rig->premapped && rig->arena_mapping.domain)
		(void)viodma_domain_unmap(&rig->arena_mapping, 0);
	if (rig->queue == &rig->device)
		viodma_queue_reset(&rig->device); /* the space outlives it */
	free(rig->requests);
	free(rig->driver_storage);
	free(rig->device_memory);
	free(rig);
}

static struct bench_rig *rig_make(struct bench_platform *platform, bool untouched, bench_fault *fault)
{
	const struct bench_cell *cell = platform->cell;
	struct bench_rig *rig = own_lines(sizeof(*rig));
	enum viodma_result result = VIODMA_E_NO_MEMORY;

	if (rig) {
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
	struct bench_rig *rig = own_lines(sizeof(*rig));

	if (!rig)
		return NULL;
	rig->bytes = cell->bytes;
	rig->from_device = cell->from_device;
	rig->pattern_until = verified(bench_slots(cell));
	return rig;
}

const struct bench_engine BENCH_ENGINE = {
	.make = rig_make,
	.end = rig_end,
	.run = bench_rig_run,
	.drive = bench_rig_drive,
	.serve = bench_rig_serve_until,
	.remote = bench_rig_remote,
	.make_server = rig_make_server,
	.process = bench_rig_process,
	.verify = rig_verify,
	.counts = rig_counts,
};
