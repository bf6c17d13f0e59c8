/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * drive_load.c - how it works: each sector has a version, 0 as long as nothing was written to it, and a sector's content
 * follows from the seed, its number and its version. Requests are of random kinds, places and sizes; none overlaps another
 * one that is in flight, unless both read, so what a read must bring is known, and compared when it has ended.
 *
 *	FREE -> OUT, with the device -> DONE -> compared, or its versions counted up: FREE
 *
 * Where single queues can be reset, they are now and then, each time when nothing is in flight.
 *
 * At the end everything that was written is read once more, from front to back.
 */
#include "tools/drive_load.h"

#include "tools/drive_transfer.h"
#include "tools/log.h"

#include <viodma/loop.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR_BYTES 512u
#define WORDS (SECTOR_BYTES / sizeof(uint64_t))
#define TRIES 16u        /* to find a place where nothing is in flight */
#define FLUSH_EVERY 64u  /* requests, about */
#define RESET_EVERY 500u
#define READERS_MOST 250u
#define WRITER UINT8_C(255)
#define PROGRESS_NS 200000000u
#define NS_PER_S 1000000000u

struct sector {
	uint32_t version;
	uint8_t users; /* requests in flight that read it, or WRITER */
};

enum slot_state { FREE, OUT, DONE };

struct slot {
	struct run *run;
	struct viodma_driver_blk_request request;
	struct viodma_buffer buffer;
	enum slot_state state;
	enum viodma_result result;
	uint64_t first, count; /* sectors, of the part that is used */
	unsigned char *memory;
};

struct run {
	struct drive_device *device;
	struct drive_load *load;
	struct slot *slots;
	struct sector *sectors;
	uint64_t sector_count, most; /* of a request */
	uint64_t random, begun, out, reset_at;
	uint64_t deadline_ns, progress_ns;
	bool last_pass;
	uint64_t next; /* sector of the last pass */
};

/* ---- what is random, and what is not ---- */

static uint64_t scramble(uint64_t number)
{
	number ^= number >> 30;
	number *= UINT64_C(0xbf58476d1ce4e5b9);
	number ^= number >> 27;
	number *= UINT64_C(0x94d049bb133111eb);
	return number ^ number >> 31;
}

static uint64_t below(struct run *run, uint64_t bound)
{
	run->random += UINT64_C(0x9e3779b97f4a7c15);
	return scramble(run->random) % bound;
}

/* The content of a sector: its number and version, for whoever finds it elsewhere; then what follows from them. */
static void fill_sector(const struct run *run, uint64_t number, uint32_t version, unsigned char *to)
{
	uint64_t words[WORDS], state = scramble(run->load->seed ^ scramble(number) ^ (uint64_t)version << 32);

	words[0] = number;
	words[1] = version;
	for (unsigned i = 2; i < WORDS; i++)
		words[i] = scramble(state += UINT64_C(0x9e3779b97f4a7c15));
	memcpy(to, words, sizeof(words));
}

/* Many small ones, some as large as they may be. */
static uint64_t some_size(struct run *run)
{
	const uint64_t small = run->most < 32 ? run->most : 32;

	switch (below(run, 4)) {
	case 0:
		return 1;
	case 1:
		return run->most < 8 ? run->most : 8;
	case 2:
		return 1 + below(run, small);
	default:
		return 1 + below(run, run->most);
	}
}

static bool is_free(const struct run *run, uint64_t first, uint64_t count, bool writes)
{
	for (uint64_t i = first; i < first + count; i++)
		if (run->sectors[i].users >= (writes ? 1 : READERS_MOST))
			return false;
	return true;
}

/* A place where so many sectors can be read or written now. */
static bool some_place(struct run *run, uint64_t count, bool writes, uint64_t *first)
{
	for (unsigned i = 0; i < TRIES; i++) {
		*first = below(run, run->sector_count - count + 1);
		if (is_free(run, *first, count, writes))
			return true;
	}
	return false;
}

/* ---- one request ---- */

static void slot_done(void *context, struct viodma_driver_blk_request *request, enum viodma_result result)
{
	struct slot *slot = context;

	(void)request;
	slot->run->out--;
	slot->result = result;
	slot->state = DONE;
}

static enum viodma_result slot_failed(const struct slot *slot, const char *what, enum viodma_result result)
{
	char text[128];

	snprintf(text, sizeof(text), "%s %" PRIu64 " bytes at %" PRIu64 " of the disk", what, slot->count * SECTOR_BYTES,
		 slot->run->load->offset + slot->first * SECTOR_BYTES);
	drive_failed(slot->run->device, text, result);
	return result;
}

static const char *verb(const struct slot *slot)
{
	return slot->request.operation == VIODMA_DRIVER_BLK_WRITE  ? "writing" :
	       slot->request.operation == VIODMA_DRIVER_BLK_FLUSH ? "flushing" :
								     "reading";
}

static enum viodma_result submit(struct run *run, struct slot *slot, enum viodma_driver_blk_operation operation)
{
	const bool writes = operation == VIODMA_DRIVER_BLK_WRITE;
	enum viodma_result result;

	for (uint64_t i = 0; i < slot->count; i++) {
		struct sector *sector = &run->sectors[slot->first + i];

		sector->users = writes ? WRITER : (uint8_t)(sector->users + 1);
		if (writes)
			fill_sector(run, slot->first + i, sector->version + 1, slot->memory + i * SECTOR_BYTES);
	}
	slot->buffer.len_bytes = (uint32_t)(slot->count * SECTOR_BYTES);
	slot->request = (struct viodma_driver_blk_request){
		.operation = operation,
		.sector = slot->count ? run->load->offset / SECTOR_BYTES + slot->first : 0,
		.buffers = slot->count ? &slot->buffer : NULL,
		.buffer_count = slot->count != 0,
		.deadline_ns = drive_deadline_ns(run->device),
		.done = slot_done,
		.context = slot,
	};
	slot->state = OUT;
	run->out++;
	result = viodma_driver_blk_submit(&run->device->blk, &slot->request);
	if (result != VIODMA_OK) {
		slot->state = FREE;
		run->out--;
		return slot_failed(slot, "asking for", result);
	}
	return VIODMA_OK;
}

static enum viodma_result differs(const struct slot *slot, uint64_t at, const unsigned char *got)
{
	const struct run *run = slot->run;
	uint64_t words[2];

	memcpy(words, got, sizeof(words));
	log_event(run->device->name,
		  "they differ: sector %" PRIu64 " of the disk was written %" PRIu32 " times, and does not hold what was "
		  "written last; it begins with 0x%" PRIx64 ", 0x%" PRIx64 " (its number in the load, and the time, were it right)",
		  run->load->offset / SECTOR_BYTES + at, run->sectors[at].version, words[0], words[1]);
	return VIODMA_E_IO;
}

static enum viodma_result compare(struct slot *slot)
{
	struct run *run = slot->run;

	for (uint64_t i = 0; i < slot->count; i++) {
		const uint64_t at = slot->first + i;
		const unsigned char *got = slot->memory + i * SECTOR_BYTES;
		unsigned char wanted[SECTOR_BYTES];

		if (!run->sectors[at].version)
			continue;
		fill_sector(run, at, run->sectors[at].version, wanted);
		if (memcmp(got, wanted, SECTOR_BYTES) != 0)
			return differs(slot, at, got);
		run->load->verified_bytes += SECTOR_BYTES;
	}
	return VIODMA_OK;
}

static enum viodma_result retire(struct run *run, struct slot *slot)
{
	const enum viodma_driver_blk_operation operation = slot->request.operation;
	const bool writes = operation == VIODMA_DRIVER_BLK_WRITE;
	struct drive_load *load = run->load;

	slot->state = FREE;
	if (slot->result != VIODMA_OK)
		return slot_failed(slot, verb(slot), slot->result);
	for (uint64_t i = slot->first; i < slot->first + slot->count; i++) {
		run->sectors[i].users = writes ? 0 : (uint8_t)(run->sectors[i].users - 1);
		run->sectors[i].version += writes;
	}
	if (!run->last_pass) {
		load->writes += writes;
		load->reads += operation == VIODMA_DRIVER_BLK_READ;
		load->flushes += operation == VIODMA_DRIVER_BLK_FLUSH;
		*(writes ? &load->written_bytes : &load->read_bytes) += slot->count * SECTOR_BYTES;
	}
	return operation == VIODMA_DRIVER_BLK_READ ? compare(slot) : VIODMA_OK;
}

/* ---- the whole ---- */

static bool is_over(const struct run *run)
{
	const struct drive_load *load = run->load;

	if (run->last_pass)
		return run->next == run->sector_count;
	return (load->requests && run->begun >= load->requests) ||
	       (load->seconds && viodma_loop_now_ns() >= run->deadline_ns);
}

/* *found: there is something to do that does not meet what is in flight. */
static enum viodma_result begin_random(struct run *run, struct slot *slot, bool *found)
{
	const bool writes = !run->device->blk.read_only && below(run, 2);
	const bool flushes = below(run, FLUSH_EVERY) == 0;

	slot->first = 0;
	slot->count = flushes ? 0 : some_size(run);
	*found = flushes || some_place(run, slot->count, writes, &slot->first);
	if (!*found)
		return VIODMA_OK;
	run->begun++;
	return submit(run, slot,
		      flushes ? VIODMA_DRIVER_BLK_FLUSH :
		      writes  ? VIODMA_DRIVER_BLK_WRITE :
				VIODMA_DRIVER_BLK_READ);
}

static enum viodma_result begin_next(struct run *run, struct slot *slot, bool *found)
{
	const uint64_t left = run->sector_count - run->next;

	slot->first = run->next;
	slot->count = left < run->most ? left : run->most;
	run->next += slot->count;
	*found = true;
	for (uint64_t i = slot->first; i < slot->first + slot->count; i++)
		if (run->sectors[i].version)
			return submit(run, slot, VIODMA_DRIVER_BLK_READ);
	return VIODMA_OK;
}

static void show_progress(struct run *run)
{
	const struct drive_load *load = run->load;
	const uint64_t now = viodma_loop_now_ns();

	if (!load->progress || now < run->progress_ns)
		return;
	run->progress_ns = now + PROGRESS_NS;
	fprintf(stderr, "%s: %" PRIu64 " requests, %" PRIu64 " MiB verified\r", run->device->name, run->begun,
		load->verified_bytes >> 20);
}

static bool reset_is_due(const struct run *run)
{
	return run->reset_at && run->begun >= run->reset_at && !run->last_pass;
}

static enum viodma_result reset_queues(struct run *run)
{
	run->reset_at += RESET_EVERY;
	run->load->queue_resets += run->device->queue_count;
	return drive_device_reset_queues(run->device);
}

static enum viodma_result step(struct run *run)
{
	const uint32_t depth = run->device->options->depth;
	const bool resets = reset_is_due(run);
	enum viodma_result result = VIODMA_OK;
	bool found = !resets;

	for (uint32_t i = 0; i < depth && result == VIODMA_OK && found && !is_over(run); i++)
		if (run->slots[i].state == FREE)
			result = (run->last_pass ? begin_next : begin_random)(run, &run->slots[i], &found);
	if (result == VIODMA_OK && run->out)
		result = drive_device_turn(run->device);
	for (uint32_t i = 0; i < depth && result == VIODMA_OK; i++)
		if (run->slots[i].state == DONE)
			result = retire(run, &run->slots[i]);
	if (result == VIODMA_OK && resets && !run->out)
		result = reset_queues(run);
	show_progress(run);
	return result == VIODMA_OK && drive_interrupted ? VIODMA_E_RESET : result;
}

static enum viodma_result both_passes(struct run *run)
{
	enum viodma_result result = VIODMA_OK;

	while (result == VIODMA_OK && (!is_over(run) || run->out))
		result = step(run);
	run->last_pass = true;
	while (result == VIODMA_OK && (!is_over(run) || run->out))
		result = step(run);
	return result;
}

static bool make_run(struct run *run)
{
	const struct drive_options *options = run->device->options;

	run->slots = calloc(options->depth, sizeof(*run->slots));
	run->sectors = calloc(run->sector_count, sizeof(*run->sectors));
	for (uint32_t i = 0; run->slots && i < options->depth; i++) {
		const uint64_t at = drive_transfer_slot_at(options, i);

		run->slots[i].run = run;
		run->slots[i].memory = drive_memory_private(&run->device->memory, at);
		run->slots[i].buffer.phys = drive_memory_private_phys(&run->device->memory, at);
	}
	return run->slots && run->sectors;
}

enum viodma_result drive_load_run(struct drive_device *device, struct drive_load *load)
{
	const uint64_t began = viodma_loop_now_ns();
	struct run run = {
		.device = device,
		.load = load,
		.sector_count = load->length / SECTOR_BYTES,
		.most = device->options->request_bytes / SECTOR_BYTES,
		.random = load->seed,
		.deadline_ns = began + load->seconds * NS_PER_S,
	};
	enum viodma_result result;

	if (run.most > run.sector_count)
		run.most = run.sector_count;
	if (device->driver.decision.accepted & VIODMA_FEATURE(VIRTIO_F_RING_RESET_BIT))
		run.reset_at = RESET_EVERY;
	result = make_run(&run) ? both_passes(&run) : drive_check(device, "beginning", VIODMA_E_NO_MEMORY);
	if (load->progress)
		fputc('\n', stderr);
	load->elapsed_ns = viodma_loop_now_ns() - began;
	if (result == VIODMA_E_RESET)
		log_event(device->name, "interrupted after %" PRIu64 " requests: resetting the device", run.begun - run.out);
	if (result != VIODMA_OK)
		drive_device_give_up(device, result);
	free(run.slots);
	free(run.sectors);
	return result;
}
