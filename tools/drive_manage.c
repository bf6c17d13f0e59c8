/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * drive_manage.c - how it works: each command is one request of the block driver, or a switch of its cache mode. What was
 * zeroed is flushed, as what was written is.
 */
#include "tools/drive_manage.h"

#include "tools/log.h"

#include <viodma/wire/blk.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SECTOR_BYTES 512u

bool drive_manages(enum drive_command command)
{
	return command == DRIVE_DISCARD || command == DRIVE_WRITE_ZEROES || command == DRIVE_SECURE_ERASE ||
	       command == DRIVE_LIFETIME || command == DRIVE_CACHE;
}

static enum viodma_result not_offered(const struct drive_device *device)
{
	log_event(device->name, "%s: the device does not offer it%s", drive_command_name(device->options->command),
		  device->blk.read_only ? ", or is read-only" : "");
	return VIODMA_E_UNSUPPORTED;
}

/* ---- sectors ---- */

static const struct viodma_driver_blk_ranges *limits_of(const struct drive_device *device)
{
	const struct viodma_driver_blk *blk = &device->blk;

	return device->options->command == DRIVE_DISCARD      ? &blk->discard :
	       device->options->command == DRIVE_WRITE_ZEROES ? &blk->write_zeroes :
								&blk->secure_erase;
}

static enum viodma_result run_ranges(struct drive_device *device)
{
	const struct drive_options *options = device->options;
	const uint64_t disk_bytes = device->blk.capacity_sectors * SECTOR_BYTES;
	struct viodma_driver_blk_request request = {
		.operation = options->command == DRIVE_DISCARD	    ? VIODMA_DRIVER_BLK_DISCARD :
			     options->command == DRIVE_WRITE_ZEROES ? VIODMA_DRIVER_BLK_WRITE_ZEROES :
								      VIODMA_DRIVER_BLK_SECURE_ERASE,
		.sector = options->offset / SECTOR_BYTES,
		.sectors = options->length / SECTOR_BYTES,
		.unmap = options->unmap,
	};
	struct viodma_driver_blk_request flush = { .operation = VIODMA_DRIVER_BLK_FLUSH };
	enum viodma_result result;

	if (device->blk.read_only || !limits_of(device)->max_sectors)
		return not_offered(device);
	if (options->offset > disk_bytes || options->length > disk_bytes - options->offset) {
		log_event(device->name, "%" PRIu64 " bytes at %" PRIu64 ": the disk has %" PRIu64 " bytes",
			  options->length, options->offset, disk_bytes);
		return VIODMA_E_IO;
	}
	result = drive_device_run(device, &request);
	if (result == VIODMA_OK)
		result = drive_device_run(device, &flush);
	if (result != VIODMA_OK) {
		drive_failed(device, drive_command_name(options->command), result);
		return result;
	}
	if (!options->quiet)
		log_event(device->name, "%s: %" PRIu64 " bytes at %" PRIu64, drive_command_name(options->command),
			  options->length, options->offset);
	return VIODMA_OK;
}

/* ---- lifetime ---- */

/* "up to 30 % used", of the 0 to 11 that the standard has. False: a value it has not. */
static bool print_estimate(const char *name, unsigned value)
{
	printf("%-16s ", name);
	if (!value)
		puts("unknown");
	else if (value <= 10)
		printf("up to %u %% of its life used\n", value * 10);
	else if (value == 11)
		puts("its life is exceeded");
	else
		printf("reserved value %u\n", value);
	return value <= 11;
}

static enum viodma_result run_lifetime(struct drive_device *device)
{
	static const char *const reserve[] = { "unknown", "normal", "80 % of the reserve is used",
					       "90 % of the reserve is used" };
	const struct viodma_buffer buffer = { drive_memory_private_phys(&device->memory, DRIVE_ID_AT),
					      VIODMA_DRIVER_BLK_LIFETIME_BYTES };
	struct viodma_driver_blk_request request = {
		.operation = VIODMA_DRIVER_BLK_GET_LIFETIME,
		.buffers = &buffer,
		.buffer_count = 1,
	};
	struct virtio_blk_lifetime lifetime;
	enum viodma_result result;
	unsigned info;
	bool right;

	if (!device->blk.lifetime)
		return not_offered(device);
	result = drive_device_run(device, &request);
	if (result != VIODMA_OK) {
		drive_failed(device, "lifetime", result);
		return result;
	}
	memcpy(&lifetime, drive_memory_private(&device->memory, DRIVE_ID_AT), sizeof(lifetime));
	info = viodma_le16_get(lifetime.pre_eol_info);
	if (info <= 3)
		printf("%-16s %s\n", "reserve", reserve[info]);
	else
		printf("%-16s reserved value %u\n", "reserve", info);
	right = print_estimate("cells, type A", viodma_le16_get(lifetime.device_lifetime_est_a));
	right = print_estimate("cells, type B", viodma_le16_get(lifetime.device_lifetime_est_b)) && right;
	if (right && info <= 3)
		return VIODMA_OK;
	log_event(device->name, "lifetime: DEV-22: a value that the standard reserves");
	return VIODMA_PEER_ANSWER;
}

/* ---- the cache mode ---- */

static enum viodma_result run_cache(struct drive_device *device)
{
	enum viodma_result result = viodma_driver_blk_set_writeback(&device->blk, device->options->writeback);

	if (result == VIODMA_E_UNSUPPORTED)
		return not_offered(device);
	if (result != VIODMA_OK)
		drive_failed(device, "switching the cache mode", result);
	else if (!device->options->quiet)
		log_event(device->name, "cache: %s", device->blk.writeback ? "writeback" : "writethrough");
	return result;
}

enum viodma_result drive_manage(struct drive_device *device)
{
	switch (device->options->command) {
	case DRIVE_LIFETIME:
		return run_lifetime(device);
	case DRIVE_CACHE:
		return run_cache(device);
	default:
		return run_ranges(device);
	}
}
