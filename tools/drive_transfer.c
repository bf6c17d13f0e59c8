/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * drive_transfer.c - how it works: the transfer is cut into pieces of one request each. A piece has a slot, a buffer in
 * private memory, from the time it is begun to the time it is retired; slots are used in turn, so pieces are begun and
 * retired in order and end in any:
 *
 *	FREE -> (WRITE: its data are read from the file) -> READY -> OUT, with the device -> DONE -> retired: FREE
 *	                                     COPY: once more, as a write, before DONE
 *	                                     given back by a reset: READY again
 *
 * Retiring is where a READ writes to its file and a VERIFY compares.
 *
 * After restrict_after requests the platform changes under it. A device with bit 33 set is reset with requests in
 * flight, and they are made again. With bit 33 clear nothing is in flight then: back ends are in use that go on moving
 * bytes after they have answered that a queue stopped.
 */
#include "tools/drive_transfer.h"

#include "tools/drive_canary.h"
#include "tools/log.h"

#include <viodma/loop.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROGRESS_NS 200000000u
#define SECTOR_BYTES 512u

enum slot_state { FREE, READY, OUT, DONE };

struct slot {
	struct run *run;
	struct viodma_driver_blk_request request;
	struct viodma_buffer buffer;
	enum slot_state state;
	enum viodma_result result;
	uint64_t at; /* of the piece, in the transfer */
	uint64_t memory_at; /* of its buffer, in private memory */
	bool second; /* COPY: it is being written */
};

struct run {
	struct drive_device *device;
	struct drive_transfer *transfer;
	struct slot *slots;
	unsigned char *compare; /* VERIFY */
	uint64_t begun, retired; /* bytes */
	uint64_t first, count;   /* slots in use: the oldest one's number, how many */
	uint64_t out, submitted; /* with the device now; ever */
	bool holding;            /* begin nothing: waiting for what is out */
	uint64_t progress_ns;
	struct drive_canary canary;
};

static uint64_t stride(const struct drive_options *options)
{
	return ((options->request_bytes + UINT64_C(4095)) & ~UINT64_C(4095)) + (options->canary ? 2 * 4096 : 0);
}

uint64_t drive_transfer_private_bytes(const struct drive_options *options)
{
	return DRIVE_SLOTS_AT + options->depth * stride(options);
}

uint64_t drive_transfer_slot_at(const struct drive_options *options, uint64_t number)
{
	return DRIVE_SLOTS_AT + number * stride(options) + (options->canary ? SECTOR_BYTES : 0);
}

static void *slot_memory(const struct slot *slot)
{
	return drive_memory_private(&slot->run->device->memory, slot->memory_at);
}

/* ---- the file ---- */

static enum viodma_result file_failed(const struct run *run, const char *what)
{
	log_event(run->device->name, "%s: %s: %s", run->transfer->file, what, strerror(errno));
	return VIODMA_E_IO;
}

static enum viodma_result read_file(const struct run *run, uint64_t at, unsigned char *to, uint32_t len_bytes)
{
	for (uint32_t done = 0; done < len_bytes;) {
		const ssize_t got = pread(run->transfer->fd, to + done, len_bytes - done, (off_t)(at + done));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return file_failed(run, "reading");
		if (got == 0) {
			log_event(run->device->name, "%s: has become shorter", run->transfer->file);
			return VIODMA_E_IO;
		}
		done += (uint32_t)got;
	}
	return VIODMA_OK;
}

static enum viodma_result write_file(const struct run *run, const unsigned char *from, uint32_t len_bytes)
{
	for (uint32_t done = 0; done < len_bytes;) {
		const ssize_t put = write(run->transfer->fd, from + done, len_bytes - done);

		if (put < 0 && errno == EINTR && !drive_interrupted)
			continue;
		if (put < 0)
			return errno == EINTR ? VIODMA_E_RESET : file_failed(run, "writing");
		done += (uint32_t)put;
	}
	return VIODMA_OK;
}

static enum viodma_result compare(const struct run *run, const struct slot *slot)
{
	const unsigned char *disk = slot_memory(slot);
	enum viodma_result result = read_file(run, slot->at, run->compare, slot->buffer.len_bytes);
	uint32_t i = 0;

	if (result != VIODMA_OK || !memcmp(disk, run->compare, slot->buffer.len_bytes))
		return result;
	while (disk[i] == run->compare[i])
		i++;
	log_event(run->device->name, "they differ: at byte %" PRIu64 " of the disk there is 0x%02x, at byte %" PRIu64
		  " of %s 0x%02x",
		  run->transfer->disk_from + slot->at + i, disk[i], slot->at + i, run->transfer->file,
		  run->compare[i]);
	return VIODMA_E_IO;
}

/* ---- one piece ---- */

static void piece_done(void *context, struct viodma_driver_blk_request *request, enum viodma_result result)
{
	struct slot *slot = context;
	struct run *run = slot->run;

	(void)request;
	run->out--;
	if (result == VIODMA_E_RESET) {
		slot->state = READY;
		return;
	}
	run->transfer->requests++;
	slot->result = result;
	slot->state = DONE;
	if (result == VIODMA_OK && run->transfer->command == DRIVE_COPY && !slot->second) {
		slot->second = true;
		slot->state = READY;
	}
}

static enum viodma_result piece_failed(struct slot *slot, const char *what, enum viodma_result result)
{
	const uint64_t at = slot->second ? slot->run->transfer->disk_to : slot->run->transfer->disk_from;
	char text[128];

	snprintf(text, sizeof(text), "%s %" PRIu32 " bytes at %" PRIu64 " of the disk", what, slot->buffer.len_bytes,
		 at + slot->at);
	drive_failed(slot->run->device, text, result);
	return result;
}

static bool writes(const struct slot *slot)
{
	return slot->run->transfer->command == DRIVE_WRITE || slot->second;
}

static enum viodma_result submit(struct run *run, struct slot *slot)
{
	const struct drive_transfer *transfer = run->transfer;
	enum viodma_result result;

	slot->request = (struct viodma_driver_blk_request){
		.operation = writes(slot) ? VIODMA_DRIVER_BLK_WRITE : VIODMA_DRIVER_BLK_READ,
		.sector = ((slot->second ? transfer->disk_to : transfer->disk_from) + slot->at) / SECTOR_BYTES,
		.buffers = &slot->buffer,
		.buffer_count = 1,
		.deadline_ns = drive_deadline_ns(run->device),
		.done = piece_done,
		.context = slot,
	};
	result = viodma_driver_blk_submit(&run->device->blk, &slot->request);
	if (result != VIODMA_OK)
		return piece_failed(slot, "asking for", result);
	slot->state = OUT;
	run->out++;
	run->submitted++;
	return VIODMA_OK;
}

/* Of the whole transfer, without those that are made again. */
static uint64_t requests_of(const struct run *run)
{
	const uint64_t length = run->transfer->length, each = run->device->options->request_bytes;

	return (length / each + (length % each != 0)) * (run->transfer->command == DRIVE_COPY ? 2 : 1);
}

/*
 * The last request waits for the restriction: many may end at once, and there has to be something left to do after it.
 */
static bool is_held_for_restriction(const struct run *run)
{
	const uint64_t after = run->transfer->restrict_after, all = requests_of(run);

	return after && after < all && !run->device->late && run->submitted + 1 >= all;
}

static enum viodma_result begin_piece(struct run *run)
{
	const struct drive_options *options = run->device->options;
	const uint64_t left = run->transfer->length - run->begun;
	const uint64_t number = (run->first + run->count) % options->depth;
	struct slot *slot = &run->slots[number];
	enum viodma_result result = VIODMA_OK;

	*slot = (struct slot){ .run = run, .state = READY, .at = run->begun };
	slot->memory_at = drive_transfer_slot_at(options, number);
	slot->buffer.phys = drive_memory_private_phys(&run->device->memory, slot->memory_at);
	slot->buffer.len_bytes = left < options->request_bytes ? (uint32_t)left : options->request_bytes;
	if (run->transfer->command == DRIVE_WRITE)
		result = read_file(run, slot->at, slot_memory(slot), slot->buffer.len_bytes);
	run->begun += slot->buffer.len_bytes;
	run->count++;
	return result;
}

static enum viodma_result retire(struct run *run, struct slot *slot)
{
	enum viodma_result result = slot->result;

	if (result != VIODMA_OK)
		return piece_failed(slot, writes(slot) ? "writing" : "reading", result);
	if (run->transfer->command == DRIVE_READ)
		result = write_file(run, slot_memory(slot), slot->buffer.len_bytes);
	else if (run->transfer->command == DRIVE_VERIFY)
		result = compare(run, slot);
	drive_canary_mark(&run->canary, slot->memory_at, slot->buffer.len_bytes);
	run->retired += result == VIODMA_OK ? slot->buffer.len_bytes : 0;
	slot->state = FREE;
	run->first = (run->first + 1) % run->device->options->depth;
	run->count--;
	return result;
}

/* ---- the whole ---- */

static void show_progress(struct run *run, bool last)
{
	const uint64_t now = viodma_loop_now_ns(), length = run->transfer->length;

	if (!run->transfer->progress || (!last && now < run->progress_ns))
		return;
	run->progress_ns = now + PROGRESS_NS;
	/* the cursor goes back: a line of the log takes the place of this one */
	fprintf(stderr, "%s: %" PRIu64 " of %" PRIu64 " MiB, %" PRIu64 " %%%s", run->device->name, run->retired >> 20,
		length >> 20, length >= 100 ? run->retired / (length / 100) : 100, last ? "\n" : "\r");
}

static enum viodma_result fill(struct run *run)
{
	const uint32_t depth = run->device->options->depth;
	enum viodma_result result = VIODMA_OK;

	while (result == VIODMA_OK && !run->holding && run->count < depth && run->begun < run->transfer->length)
		result = begin_piece(run);
	for (uint64_t i = 0; i < run->count && result == VIODMA_OK && !run->holding; i++) {
		struct slot *slot = &run->slots[(run->first + i) % depth];

		if (slot->state == READY && !is_held_for_restriction(run))
			result = submit(run, slot);
	}
	return result;
}

static bool restriction_is_due(const struct run *run)
{
	return run->transfer->restrict_after && !run->device->late &&
	       run->transfer->requests >= run->transfer->restrict_after && run->retired < run->transfer->length;
}

static enum viodma_result restrict_now(struct run *run)
{
	enum viodma_result result;

	if (run->device->driver.decision.addressing == VIODMA_ADDRESSING_PHYSICAL && run->out) {
		run->holding = true;
		return VIODMA_OK;
	}
	run->holding = false;
	result = drive_canary_scan(&run->canary);
	return result == VIODMA_OK ? drive_device_restrict(run->device) : result;
}

static enum viodma_result step(struct run *run)
{
	enum viodma_result result = fill(run);

	if (result == VIODMA_OK)
		result = drive_device_turn(run->device);
	while (result == VIODMA_OK && run->count && run->slots[run->first].state == DONE)
		result = retire(run, &run->slots[run->first]);
	if (result == VIODMA_OK)
		result = drive_canary_sometimes(&run->canary);
	if (result == VIODMA_OK && restriction_is_due(run))
		result = restrict_now(run);
	show_progress(run, false);
	return result == VIODMA_OK && drive_interrupted ? VIODMA_E_RESET : result;
}

static enum viodma_result flush(struct drive_device *device)
{
	struct viodma_driver_blk_request request = { .operation = VIODMA_DRIVER_BLK_FLUSH };
	enum viodma_result result = drive_device_run(device, &request);

	if (result != VIODMA_OK)
		drive_failed(device, "flushing", result);
	return result;
}

/* Nothing of a transfer that failed may be with the device when its slots go. */
static void give_up(struct run *run, enum viodma_result result)
{
	run->holding = true;
	if (result == VIODMA_E_RESET)
		log_event(run->device->name, "interrupted after %" PRIu64 " bytes: resetting the device", run->retired);
	drive_device_give_up(run->device, result);
}

enum viodma_result drive_transfer_run(struct drive_device *device, struct drive_transfer *transfer)
{
	const struct drive_options *options = device->options;
	const uint64_t began = viodma_loop_now_ns();
	struct run run = { .device = device, .transfer = transfer };
	enum viodma_result result = VIODMA_OK;

	run.slots = calloc(options->depth, sizeof(*run.slots));
	run.compare = malloc(options->request_bytes);
	if (!run.slots || !run.compare)
		result = VIODMA_E_NO_MEMORY;
	drive_canary_init(&run.canary, device);
	while (result == VIODMA_OK && run.retired < transfer->length)
		result = step(&run);
	if (result == VIODMA_OK && (transfer->command == DRIVE_WRITE || transfer->command == DRIVE_COPY))
		result = flush(device);
	if (result == VIODMA_OK)
		result = drive_canary_end(&run.canary);
	if (transfer->progress)
		show_progress(&run, true);
	if (result == VIODMA_OK && transfer->restrict_after && !device->late)
		log_event(device->name, "never restricted: there were %" PRIu64 " requests, and --restrict-after says %" PRIu64,
			  transfer->requests, transfer->restrict_after);
	transfer->moved = run.retired;
	transfer->elapsed_ns = viodma_loop_now_ns() - began;
	if (result != VIODMA_OK)
		give_up(&run, result);
	free(run.slots);
	free(run.compare);
	return result;
}
