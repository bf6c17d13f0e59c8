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
 * In two threads the ring is kept full: a batch is added when so many have come back as make room for it, while the device
 * half has all the others.
 *
 * Request n of a direction carries the number n in each of its words, so that a sum tells whether what arrived is what
 * was sent, and not what was there before. That is checked in every round; verify() checks every byte, against a pattern
 * that no shift or swap leaves as it was.
 *
 * Requests end in the order in which they began. Slot n modulo slots is request n's.
 */
#include "bench/rig.h"

#include "bench/payload.h"

#include <sched.h>
#include <stdlib.h>

#define STALL_NS UINT64_C(5000000000)
#define NOINLINE __attribute__((noinline))

/* ---- the driver half ---- */

static void fill_request(const struct bench_rig *rig, const struct bench_request *request)
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

static bool is_filled(const struct bench_rig *rig, const struct bench_request *request)
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

static inline uint32_t next_slot(const struct bench_rig *rig, uint32_t slot)
{
	return slot + 1 == rig->slots ? 0 : slot + 1;
}

static inline enum viodma_result map_and_add(struct bench_rig *rig, struct bench_request *request)
{
	const enum viodma_direction direction = rig->from_device ? VIODMA_FROM_DEVICE : VIODMA_TO_DEVICE;
	enum viodma_result result;
	uint32_t count;

	/* A driver knows whether its requests are of one buffer; so does this one. */
	result = rig->buffers == 1 ? viodma_domain_map_lean(rig->domain, &request->mapping, request->buffers, 1, direction,
							    request->segments, SEGMENTS_MAX, &count) :
				     viodma_domain_map_lean(rig->domain, &request->mapping, request->buffers, 2, direction,
							    request->segments, SEGMENTS_MAX, &count);
	if (result != VIODMA_OK)
		return result;
	result = viodma_driver_queue_add(&rig->driver, request->segments, count, request);
	if (result != VIODMA_OK)
		(void)viodma_domain_unmap_lean(rig->domain, &request->mapping, 0);
	rig->segments = count;
	return result;
}

/* The buffer stays mapped; its segments were asked for once. */
static inline enum viodma_result sync_and_add(struct bench_rig *rig, struct bench_request *request)
{
	uint64_t offset = request->offset;

	for (uint32_t i = 0; i < rig->buffers; i++, offset += rig->platform->arena->second)
		viodma_domain_sync_for_device(&rig->arena_mapping, offset, request->buffers[i].len_bytes);
	rig->segments = request->segment_count;
	return viodma_driver_queue_add(&rig->driver, request->segments, request->segment_count, request);
}

/* Up to `most` requests, as far as there is room: how many. */
NOINLINE static uint32_t bench_rig_send(struct bench_rig *rig, uint32_t most)
{
	uint32_t count = 0;

	while (count < most && rig->sent - rig->got < rig->slots && viodma_driver_queue_has_room(&rig->driver, rig->segments)) {
		struct bench_request *request = &rig->requests[rig->send_slot];
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
		rig->send_slot = next_slot(rig, rig->send_slot);
		count++;
	}
	if (count)
		viodma_driver_queue_publish(&rig->driver);
	return count;
}

static inline void finish(struct bench_rig *rig, const struct viodma_driver_completion *completion)
{
	struct bench_request *request = completion->token;

	if (request != &rig->requests[rig->get_slot])
		rig->driver_fault = "out of order";
	if (completion->written_bytes != (rig->from_device ? rig->bytes : 0))
		rig->driver_fault = "a wrong used length";
	for (uint32_t i = 0; rig->premapped && i < rig->buffers; i++)
		viodma_domain_sync_for_driver(&rig->arena_mapping, request->offset + i * rig->platform->arena->second,
					      request->buffers[i].len_bytes);
	if (!rig->premapped &&
	    viodma_domain_unmap_lean(rig->domain, &request->mapping, completion->written_bytes) != VIODMA_OK)
		rig->driver_fault = "unmap failed";
	if (rig->from_device && (!rig->untouched || rig->got < rig->pattern_until) && !is_filled(rig, request))
		rig->driver_fault = "wrong bytes from the device";
	rig->got++;
	rig->get_slot = next_slot(rig, rig->get_slot);
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

bench_fault bench_rig_run(struct bench_rig *rig, uint64_t requests)
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

static inline void rest(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#endif
}

/* A processor that is not ours alone is given back now and then: the other half may be waiting for it. */
static inline void relax(uint32_t idle)
{
	if (!(idle % 4096))
		sched_yield();
	rest();
}

/*
 * Less came than is worth it: the other half is at work on the very lines that are looked at next, and each look takes one
 * away from it. So look again when more may be there. One in flight is waited for without a break.
 */
static inline void keep_away(uint32_t came, uint32_t worth)
{
	for (; came < worth; came++)
		rest();
}

bench_fault bench_rig_drive(struct bench_rig *rig, uint64_t requests)
{
	const uint32_t quarter = rig->slots / 4 ? rig->slots / 4 : 1, least = rig->batch < quarter ? rig->batch : quarter;
	const uint64_t end = rig->got + requests;
	uint64_t deadline = 0;
	uint32_t idle = 0;

	viodma_driver_queue_want_no_call(&rig->driver);
	while (rig->got < end && !rig->driver_fault) {
		const uint64_t left = end - rig->sent, room = rig->slots - (rig->sent - rig->got);
		uint32_t moved = 0, came;

		if (left && (room >= least || room >= left))
			moved = bench_rig_send(rig, left < rig->batch ? (uint32_t)left : rig->batch);
		came = bench_rig_collect(rig);
		keep_away(came, rig->batch / 4);
		moved += came;
		if (moved) {
			idle = 0;
			deadline = 0;
		} else if (++idle % (1u << 16)) {
			relax(idle);
		} else if (!deadline) {
			deadline = bench_now_ns() + STALL_NS;
		} else if (bench_now_ns() > deadline) {
			return "no progress";
		}
	}
	return rig->driver_fault;
}

void bench_rig_serve_until(struct bench_rig *rig, const int *stop)
{
	uint32_t idle = 0, came;

	viodma_queue_set_polled(rig->queue, true);
	while (!__atomic_load_n(stop, __ATOMIC_ACQUIRE)) {
		if (rig->device_fault)
			return;
		came = bench_rig_serve(rig);
		keep_away(came, rig->batch / 2);
		if (came)
			idle = 0;
		else
			relax(++idle);
		if (rig->platform->table.threaded)
			bench_table_hear(&rig->platform->table);
	}
}

/* The device half is in another process. */
bench_fault bench_rig_remote(struct bench_rig *rig, uint64_t requests)
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

bool bench_rig_process(struct bench_rig *rig, struct viodma_queue *queue, bool *more)
{
	rig->queue = queue;
	*more = bench_rig_serve(rig) == RING_SIZE;
	return !rig->device_fault;
}
