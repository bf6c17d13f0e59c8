/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rig.h - what rig.c, which runs requests, and rig_life.c, which makes and verifies a rig, share. Both are compiled once
 * for each build that is compared.
 */
#ifndef VIODMA_BENCH_RIG_H
#define VIODMA_BENCH_RIG_H

#include "bench/bench.h"

#include <viodma/driver_queue.h>
#include <viodma/queue.h>

#define RING_SIZE 256u
#define TABLE_DESCRIPTORS 8u
#define SEGMENTS_MAX 8u
#define PIECES_MAX 16u

/* What a plain domain needs of it is on one line. */
struct bench_request {
	_Alignas(64) struct viodma_buffer buffers[2];
	struct viodma_segment segments[SEGMENTS_MAX];
	struct viodma_mapping mapping;
	unsigned char *parts[2]; /* of the payload: the buffers, as the CPU sees them */
	uint64_t offset;         /* in the arena */
	uint32_t segment_count;  /* of a buffer that stays mapped */
};

/* What each half alone writes stands on lines of its own. */
struct bench_rig {
	struct bench_platform *platform;
	struct viodma_domain *domain;
	struct bench_request *requests;
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
	uint32_t send_slot, get_slot; /* of the next one: sent and got, modulo slots */
	uint64_t sent, got, kicks, segments_sent;
	viodma_bus last_bus;
	bench_fault driver_fault;
	_Alignas(128) struct viodma_queue device;
	uint64_t served, calls;
	bench_fault device_fault;
};

bench_fault bench_rig_run(struct bench_rig *rig, uint64_t requests);
bench_fault bench_rig_drive(struct bench_rig *rig, uint64_t requests);
bench_fault bench_rig_remote(struct bench_rig *rig, uint64_t requests);
void bench_rig_serve_until(struct bench_rig *rig, const int *stop);
bool bench_rig_process(struct bench_rig *rig, struct viodma_queue *queue, bool *more);

#endif
