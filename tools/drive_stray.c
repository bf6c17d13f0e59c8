/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * drive_stray.c - how it works: header and status lie in ring memory, as driver_blk's do; between them stands a
 * device-writable segment with an address that no domain gave out. This is the one place outside core/dma that makes up
 * a bus address, and it goes to queue 0 past driver_blk.
 *
 * Sector 0 was read before, properly. Where the address is memory of ours, that memory holds the sector's complement;
 * so every byte of it that changes was written by the device.
 *
 * What may happen: the request ends with IOERR; the device says that it needs a reset, hangs up, or does not answer; or
 * the bytes arrive. With bit 33 clear a device reaches whatever it was handed, and nobody promises otherwise.
 */
#include "tools/drive_stray.h"

#include <viodma/loop.h>
#include <viodma/wire/blk.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NOWHERE UINT64_C(0x7e00000000) /* in no object, no window */
#define STATUS_AT 64u
#define BLOCK_BYTES 128u
#define LOOK_NS 20000000u
#define PATIENCE_NS 2000000000u

static bool physical(const struct drive_device *device)
{
	return device->driver.decision.addressing == VIODMA_ADDRESSING_PHYSICAL;
}

viodma_bus drive_stray_private(const struct drive_device *device)
{
	const viodma_phys phys = drive_memory_private_phys(&device->memory, DRIVE_STRAY_AT);
	viodma_bus bus;

	if (!drive_platform_bus(&device->platform, physical(device), phys, &bus))
		bus.v = phys.v;
	return bus;
}

viodma_bus drive_stray_nowhere(void)
{
	return (viodma_bus){ NOWHERE };
}

static bool holds(const struct viodma_object *object, uint64_t phys)
{
	return phys >= object->phys.v && object->len_bytes >= DRIVE_STRAY_BYTES &&
	       phys - object->phys.v <= object->len_bytes - DRIVE_STRAY_BYTES;
}

/*
 * The private memory that a device finds at bus, whether it may or not; NULL: none (the pool is in use: it is not
 * touched). *granted: it may reach what is there.
 */
static unsigned char *memory_at(const struct drive_device *device, viodma_bus bus, bool *granted)
{
	const struct drive_memory *memory = &device->memory;
	const struct viodma_platform *platform = &device->platform.description;
	const bool fixed = physical(device) || platform->kind != VIODMA_PLATFORM_IOMMU;

	*granted = false;
	for (uint32_t i = 0; i < memory->table.count; i++) {
		const struct viodma_object *object = &memory->objects[i];
		const bool private = object->memory == memory->private.object.memory;
		viodma_bus first;

		if (!drive_platform_bus(&device->platform, physical(device) || platform->kind == VIODMA_PLATFORM_IOMMU,
					object->phys, &first))
			continue;
		if (!holds(&(struct viodma_object){ object->memory, { first.v }, object->len_bytes }, bus.v))
			continue;
		*granted = fixed && (!private || memory->private.fd >= 0) &&
			   (physical(device) || !private || !platform->restricted);
		return private ? (unsigned char *)object->memory + (bus.v - first.v) : NULL;
	}
	if (holds(&memory->private.object, bus.v)) /* a device that takes bus addresses for physical ones */
		return (unsigned char *)memory->private.object.memory + (bus.v - memory->private.object.phys.v);
	return NULL;
}

/* ---- the request ---- */

static enum viodma_result read_sector(struct drive_device *device, unsigned char *sector)
{
	const struct viodma_buffer buffer = { drive_memory_private_phys(&device->memory, DRIVE_STRAY_AT),
					      DRIVE_STRAY_BYTES };
	struct viodma_driver_blk_request request = {
		.operation = VIODMA_DRIVER_BLK_READ,
		.buffers = &buffer,
		.buffer_count = 1,
	};
	enum viodma_result result = drive_device_run(device, &request);

	if (result != VIODMA_OK)
		drive_failed(device, "reading sector 0", result);
	memcpy(sector, drive_memory_private(&device->memory, DRIVE_STRAY_AT), DRIVE_STRAY_BYTES);
	return result;
}

static enum viodma_result send(struct drive_device *device, viodma_bus bus, struct viodma_dma_memory *block)
{
	const struct virtio_blk_request_header header = { .type = viodma_le32_of(VIRTIO_BLK_T_IN) };
	const unsigned char untouched = 0xff;
	struct viodma_driver_queue *queue = &device->queues[0];
	const struct viodma_segment segments[] = {
		{ viodma_dma_memory_bus(block, 0), sizeof(header), VIODMA_READ },
		{ bus, DRIVE_STRAY_BYTES, VIODMA_WRITE },
		{ viodma_dma_memory_bus(block, STATUS_AT), 1, VIODMA_WRITE },
	};
	enum viodma_result result;

	memcpy(block->memory, &header, sizeof(header));
	memcpy(viodma_shared_at(block->memory, STATUS_AT), &untouched, 1);
	result = viodma_driver_queue_add(queue, segments, 3, block);
	if (result != VIODMA_OK)
		return result;
	device->raw = true;
	viodma_driver_queue_publish(queue);
	viodma_driver_queue_kick(queue, &device->driver.transport);
	return VIODMA_OK;
}

/* Until it is used, or it is clear that it will not be: *how. */
static bool used(struct drive_device *device, struct drive_stray *stray)
{
	const uint64_t begin = viodma_loop_now_ns();
	const uint64_t timeout = (uint64_t)device->options->timeout_ms * 1000000;
	const uint64_t deadline = begin + (timeout < PATIENCE_NS ? timeout : PATIENCE_NS);
	struct viodma_driver_completion completion;

	for (;;) {
		enum viodma_result result = viodma_driver_queue_get(&device->queues[0], &completion);

		if (result == VIODMA_OK)
			return true;
		if (result == VIODMA_EMPTY && viodma_driver_queue_want_call(&device->queues[0]))
			continue;
		if (result == VIODMA_EMPTY)
			result = viodma_front_wait(device->front, viodma_loop_now_ns() + LOOK_NS);
		if (result == VIODMA_OK)
			continue;
		if (result == VIODMA_E_TIMEOUT)
			result = viodma_driver_check(&device->driver);
		if (result != VIODMA_OK)
			stray->how = viodma_result_text(result);
		else if (viodma_loop_now_ns() < deadline)
			continue;
		else
			stray->how = "the device does not answer any more";
		return false;
	}
}

static enum viodma_result try_it(struct drive_device *device, viodma_bus bus, struct drive_stray *stray,
				 struct viodma_dma_memory *block, const unsigned char *sector)
{
	unsigned char *victim = memory_at(device, bus, &stray->expected);
	struct viodma_front_refusal refusals[VIODMA_FRONT_REFUSALS];
	uint64_t before, after;
	unsigned char status = 0xff;
	enum viodma_result result;
	uint32_t kept;

	for (uint32_t i = 0; victim && i < DRIVE_STRAY_BYTES; i++)
		victim[i] = (unsigned char)~sector[i];
	(void)viodma_front_refusals(device->front, refusals, &before);
	result = send(device, bus, block);
	if (result != VIODMA_OK)
		return result;
	if (used(device, stray)) {
		memcpy(&status, viodma_shared_at(block->memory, STATUS_AT), 1);
		if (!victim && status == VIRTIO_BLK_S_OK)
			stray->bytes = DRIVE_STRAY_BYTES; /* it says */
		stray->how = status == VIRTIO_BLK_S_IOERR ? "IOERR" :
			     status == VIRTIO_BLK_S_OK    ? "OK, but not a byte" :
							    "a request used without an answer";
	}
	for (uint32_t i = 0; victim && i < DRIVE_STRAY_BYTES; i++)
		stray->bytes += victim[i] != (unsigned char)~sector[i];
	stray->reached = stray->bytes || status == VIRTIO_BLK_S_OK;
	kept = viodma_front_refusals(device->front, refusals, &after);
	stray->reason = after > before && kept ? refusals[kept - 1].reason : VIODMA_OK;
	return VIODMA_OK;
}

enum viodma_result drive_stray_try(struct drive_device *device, viodma_bus bus, struct drive_stray *stray)
{
	unsigned char sector[DRIVE_STRAY_BYTES];
	struct viodma_dma_memory block;
	enum viodma_result result = read_sector(device, sector);

	*stray = (struct drive_stray){ .bus = bus, .how = "" };
	if (result != VIODMA_OK)
		return result;
	result = viodma_domain_alloc(&device->domain, &block, BLOCK_BYTES, STATUS_AT, VIODMA_BIDIRECTIONAL);
	if (result == VIODMA_OK) {
		result = try_it(device, bus, stray, &block, sector);
		/* The device has had the block, and may have it yet. */
		if (device->queues[0].out)
			(void)!drive_device_reset(device);
		(void)viodma_domain_release(&block);
	}
	if (result != VIODMA_OK)
		drive_failed(device, "trying a stray access", result);
	return result;
}

bool drive_stray_describe(const struct drive_device *device, const struct drive_stray *stray, char *text, size_t bytes)
{
	const bool asked = stray->reason != VIODMA_OK;
	const char *because = !stray->expected        ? "" :
			      physical(device)        ? "bit 33 is clear: it reaches all that was handed over" :
							"the platform grants it for good";

	if (stray->reached)
		snprintf(text, bytes, "reached %" PRIu32 " bytes at 0x%" PRIx64 "%s%s", stray->bytes, stray->bus.v,
			 stray->expected ? ", as it must: " : ": DEV-10: no live mapping covers the address", because);
	else
		snprintf(text, bytes, "refused: %" PRIu32 " bytes at 0x%" PRIx64 ": %s%s%s%s%s%s%s", DRIVE_STRAY_BYTES,
			 stray->bus.v, stray->how, asked ? "; the platform was asked for it, and refused: " : "",
			 asked ? viodma_result_requirement(stray->reason) : "", asked ? ": " : "",
			 asked ? viodma_result_text(stray->reason) : "",
			 stray->expected ? ", though it is within reach: " : "", because);
	return stray->reached == stray->expected;
}
