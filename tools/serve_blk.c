/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * serve_blk.c - `viodma serve blk`: a served device that is a virtio disk over a file or block device.
 */
#include "tools/serve_device.h"

#include "hosted/device/blk_on_disk.h"
#include "tools/log.h"

/* A disk that is no file. */
static bool open_null(struct serve_device *serve)
{
	const struct serve_device_options *device = serve->device_options;

	if (device->blk.null_bytes % device->blk.blk_size) {
		log_event(serve->name, "--null: %llu bytes, expected a multiple of the block size, %u",
			  (unsigned long long)device->blk.null_bytes, (unsigned)device->blk.blk_size);
		return false;
	}
	log_event(serve->name, "no file: %llu bytes of zeroes, %s", (unsigned long long)device->blk.null_bytes,
		  device->blk.read_only ? "read-only" : "writes are forgotten");
	return true;
}

static bool open_disk(struct serve_device *serve)
{
	const struct serve_device_options *device = serve->device_options;
	const struct viodma_disk_options options = {
		.path = device->blk.file,
		.read_only = device->blk.read_only,
		.engine = serve->options->io,
		.direct = device->blk.direct,
		.log = serve_device_log,
		.context = serve,
	};
	struct viodma_disk *disk;
	char text[512];
	uint64_t size;

	if (!device->blk.file)
		return open_null(serve);
	if (viodma_disk_open(&options, &disk, text, sizeof(text)) != VIODMA_OK) {
		log_line(serve->name, text);
		return false;
	}
	serve->behind = disk;
	size = viodma_disk_size_bytes(disk);
	if (size % device->blk.blk_size) {
		log_event(serve->name, "%s: has %llu bytes, expected a multiple of the block size, %u",
			  device->blk.file, (unsigned long long)viodma_disk_file_bytes(disk),
			  (unsigned)device->blk.blk_size);
		return false;
	}
	if (device->blk.secure_erase && !viodma_disk_about(disk)->block_device) {
		log_event(serve->name, "--secure-erase: %s is a file, expected a block device that has it",
			  device->blk.file);
		return false;
	}
	log_event(serve->name, "%s: %llu bytes, %s, %s%s", device->blk.file, (unsigned long long)size,
		  device->blk.read_only ? "read-only" : "writable", viodma_disk_engine_name(disk),
		  device->blk.direct ? ", direct" : "");
	return true;
}

static bool make(struct serve_device *serve)
{
	const struct serve_device_options *device = serve->device_options;
	const struct viodma_blk_on_disk_options options = {
		.loop = serve->loop,
		.disk = serve->behind,
		.null_bytes = device->blk.null_bytes,
		.write_through = device->blk.write_through,
		.discard = !device->blk.no_discard,
		.write_zeroes = !device->blk.no_write_zeroes,
		.secure_erase = device->blk.secure_erase,
		.queue_count = device->blk.queue_count,
		.queue_size = device->blk.queue_size,
		.blk_size = device->blk.blk_size,
		.read_only = device->blk.read_only,
		.serial = device->blk.serial,
		.log = serve_device_log,
		.context = serve,
	};
	struct viodma_blk_on_disk *made;
	enum viodma_result result = viodma_blk_on_disk_new(&options, &made);

	if (result != VIODMA_OK) {
		log_event(serve->name, "setting up the device: %s", viodma_result_text(result));
		return false;
	}
	serve->device = made;
	serve->behind = NULL; /* the device's */
	serve->report.file = device->blk.file ? device->blk.file : "";
	return true;
}

static void look_again(struct serve_device *serve)
{
	const char *file = serve->device_options->blk.file;

	if (!file)
		return;
	if (viodma_blk_on_disk_look_again(serve->device))
		log_event(serve->name, "%s: has %llu bytes now", file,
			  (unsigned long long)viodma_blk_on_disk_capacity_bytes(serve->device));
	else
		log_event(serve->name, "%s: has the size it had", file);
}

static void set_backend(void *device, struct viodma_vhost_user *backend)
{
	viodma_blk_on_disk_set_backend(device, backend);
}

static void report(void *device, struct device_report *report_)
{
	report_->blk = *viodma_blk_on_disk_statistics(device);
}

static void busy(const void *device, char *text, size_t bytes)
{
	snprintf(text, bytes, "%u disk operations", viodma_blk_on_disk_in_flight(device));
}

static enum viodma_result free_all(void *device, void *behind)
{
	enum viodma_result result = viodma_blk_on_disk_free(device);

	if (result == VIODMA_OK && behind)
		result = viodma_disk_close(behind);
	return result;
}

const struct serve_type serve_blk = {
	.options = &serve_blk_options,
	.ops = &viodma_blk_on_disk_ops,
	.open = open_disk,
	.make = make,
	.set_backend = set_backend,
	.look_again = look_again,
	.report = report,
	.busy = busy,
	.free = free_all,
};
