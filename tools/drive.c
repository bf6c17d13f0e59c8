/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * drive.c - `viodma drive blk`: how it works: the device is opened (drive_device.c), the command is done on it, and the
 * device closed again, whatever came of it. What goes wrong is said where it is found; the first failure decides the
 * exit status (drive_exit_status).
 *
 * SIGINT and SIGTERM end the transfer: the device is reset first. SIGPIPE is ignored: writing then fails.
 */
#include "tools/commands.h"
#include "tools/drive_device.h"
#include "tools/drive_load.h"
#include "tools/drive_manage.h"
#include "tools/drive_report.h"
#include "tools/drive_stray.h"
#include "tools/drive_transfer.h"
#include "tools/log.h"
#include "tools/statistics.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTOR_BYTES 512u
#define LOAD_BYTES (UINT64_C(64) << 20) /* unless --length says more */

/* ---- a transfer ---- */

static bool open_file(struct drive_transfer *transfer, const char *name, const char *file)
{
	transfer->file = file;
	if (transfer->command == DRIVE_COPY)
		return true;
	if (transfer->command == DRIVE_READ && !strcmp(file, "-")) {
		transfer->fd = dup(STDOUT_FILENO);
		transfer->file = "standard output";
	} else if (transfer->command == DRIVE_READ) {
		transfer->fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0666);
	} else {
		transfer->fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	}
	if (transfer->fd >= 0)
		return true;
	log_event(name, "%s: %s", transfer->file, strerror(errno));
	return false;
}

/* How much there is to do, and whether the disk has it; what is wrong is logged. */
static bool measure(const struct drive_device *device, struct drive_transfer *transfer)
{
	const struct drive_options *options = device->options;
	const uint64_t disk_bytes = device->blk.capacity_sectors * SECTOR_BYTES;
	const uint64_t last = transfer->disk_from > transfer->disk_to ? transfer->disk_from : transfer->disk_to;
	struct stat found;
	off_t file_bytes;

	transfer->length = options->length;
	if (transfer->command == DRIVE_WRITE || transfer->command == DRIVE_VERIFY) {
		file_bytes = fstat(transfer->fd, &found) < 0 ? -1 : lseek(transfer->fd, 0, SEEK_END);
		if (file_bytes >= 0 && S_ISDIR(found.st_mode)) {
			file_bytes = -1; /* some file systems can seek there */
			errno = EISDIR;
		}
		if (file_bytes < 0) {
			log_event(device->name, "%s: %s, expected a file that can be read at any place", transfer->file,
				  strerror(errno));
			return false;
		}
		if (transfer->length == DRIVE_LENGTH_REST)
			transfer->length = (uint64_t)file_bytes;
		if (transfer->length > (uint64_t)file_bytes || transfer->length % SECTOR_BYTES) {
			log_event(device->name, "%s: has %" PRIu64 " bytes, expected %s", transfer->file,
				  (uint64_t)file_bytes,
				  transfer->length % SECTOR_BYTES ? "a multiple of 512" : "at least --length");
			return false;
		}
	} else if (transfer->length == DRIVE_LENGTH_REST) {
		transfer->length = transfer->disk_from < disk_bytes ? disk_bytes - transfer->disk_from : 0;
	}
	if (last <= disk_bytes && transfer->length <= disk_bytes - last)
		return true;
	log_event(device->name, "%" PRIu64 " bytes at %" PRIu64 ": the disk has %" PRIu64 " bytes",
		  transfer->length, last, disk_bytes);
	return false;
}

static void log_transfer(const struct drive_device *device, const struct drive_transfer *transfer)
{
	static const char *const done[] = { "", "read", "written", "the same", "copied" };
	const uint64_t us = transfer->elapsed_ns / 1000;

	log_event(device->name, "%s: %" PRIu64 " bytes in %" PRIu64 ".%03" PRIu64 " s, %" PRIu64 " MiB/s",
		  done[transfer->command], transfer->moved, us / 1000000, us / 1000 % 1000,
		  us ? transfer->moved * 1000000 / us >> 20 : 0);
}

static enum viodma_result transfer_command(struct drive_device *device, struct drive_transfer *transfer)
{
	const struct drive_options *options = device->options;
	enum viodma_result result;
	bool right;

	*transfer = (struct drive_transfer){
		.command = options->command,
		.fd = -1,
		.disk_from = options->command == DRIVE_COPY ? options->from : options->offset,
		.disk_to = options->to,
		.restrict_after = options->restrict_after,
		.progress = !options->quiet && isatty(STDERR_FILENO),
	};
	if (options->command == DRIVE_READ) /* what cannot be done does not empty a file */
		right = measure(device, transfer) && open_file(transfer, device->name, options->file);
	else
		right = open_file(transfer, device->name, options->file) && measure(device, transfer);
	result = right ? drive_transfer_run(device, transfer) : VIODMA_E_IO;
	if (transfer->fd >= 0 && close(transfer->fd) < 0 && transfer->command == DRIVE_READ && result == VIODMA_OK) {
		log_event(device->name, "%s: writing: %s", transfer->file, strerror(errno));
		result = VIODMA_E_IO;
	}
	if (result == VIODMA_OK && !options->quiet)
		log_transfer(device, transfer);
	return result;
}

/* ---- load ---- */

static void log_load(const struct drive_device *device, const struct drive_load *load)
{
	struct viodma_front_statistics front;
	const uint64_t us = load->elapsed_ns / 1000;

	viodma_front_statistics(device->front, &front);
	log_event(device->name,
		  "load: %" PRIu64 " reads, %" PRIu64 " writes, %" PRIu64 " flushes in %" PRIu64 ".%03" PRIu64
		  " s; %" PRIu64 " bytes verified; %" PRIu64 " reconnections",
		  load->reads, load->writes, load->flushes, us / 1000000, us / 1000 % 1000, load->verified_bytes,
		  front.reconnections);
}

static enum viodma_result load_command(struct drive_device *device, struct drive_load *load)
{
	const struct drive_options *options = device->options;
	const uint64_t disk_bytes = device->blk.capacity_sectors * SECTOR_BYTES;
	const uint64_t rest = options->offset < disk_bytes ? disk_bytes - options->offset : 0;
	enum viodma_result result;

	*load = (struct drive_load){
		.offset = options->offset,
		.length = options->length != DRIVE_LENGTH_REST ? options->length : rest < LOAD_BYTES ? rest : LOAD_BYTES,
		.requests = options->requests,
		.seconds = options->seconds,
		.seed = options->seed,
		.progress = !options->quiet && isatty(STDERR_FILENO),
	};
	if (!load->length || load->length > rest) {
		log_event(device->name, "%" PRIu64 " bytes at %" PRIu64 ": the disk has %" PRIu64 " bytes", load->length,
			  load->offset, disk_bytes);
		return VIODMA_E_IO;
	}
	result = drive_load_run(device, load);
	if (result == VIODMA_OK && !options->quiet)
		log_load(device, load);
	return result;
}

/* ---- the other commands ---- */

static enum viodma_result info_command(struct drive_device *device)
{
	const struct viodma_buffer buffer = { drive_memory_private_phys(&device->memory, DRIVE_ID_AT),
					      VIODMA_DRIVER_BLK_ID_BYTES };
	struct viodma_driver_blk_request request = {
		.operation = VIODMA_DRIVER_BLK_GET_ID,
		.buffers = &buffer,
		.buffer_count = 1,
	};
	enum viodma_result result = drive_device_run(device, &request);

	if (result == VIODMA_OK || ((result == VIODMA_E_IO || result == VIODMA_E_UNSUPPORTED) && device->running)) {
		drive_report_info(device,
				  result == VIODMA_OK ? drive_memory_private(&device->memory, DRIVE_ID_AT) : NULL);
		return VIODMA_OK;
	}
	drive_failed(device, "asking for the id", result);
	return result;
}

static enum viodma_result stray_at(struct drive_device *device, viodma_bus bus, const char *what)
{
	struct drive_stray stray;
	enum viodma_result result = drive_stray_try(device, bus, &stray);
	char text[512];
	bool right;

	if (result != VIODMA_OK)
		return result;
	right = drive_stray_describe(device, &stray, text, sizeof(text));
	log_event(device->name, "stray access to %s: %s", what, text);
	return right ? VIODMA_OK : VIODMA_E_MISUSE;
}

static enum viodma_result stray_command(struct drive_device *device)
{
	enum viodma_result result;

	if (device->options->address_given)
		return stray_at(device, (viodma_bus){ device->options->address }, "the address given");
	result = stray_at(device, drive_stray_private(device), "private memory that is not mapped");
	if (result == VIODMA_OK && device->running)
		result = stray_at(device, drive_stray_nowhere(), "no memory at all");
	return result;
}

/* ---- everything together ---- */

static void take_signal(int number)
{
	(void)number;
	drive_interrupted = 1;
}

static void prepare_signals(void)
{
	struct sigaction action = { .sa_handler = take_signal };

	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

static int drive_blk(const struct drive_options *options)
{
	struct drive_transfer transfer = { .fd = -1 };
	struct drive_device device;
	struct drive_load load;
	struct drive_report report = { .device = &device };
	enum viodma_result result, closed;

	result = drive_device_open(&device, options, "blk0", drive_transfer_private_bytes(options));
	if (result == VIODMA_OK && options->command == DRIVE_INFO) {
		result = info_command(&device);
	} else if (result == VIODMA_OK && options->command == DRIVE_STRAY) {
		result = stray_command(&device);
	} else if (result == VIODMA_OK && drive_manages(options->command)) {
		result = drive_manage(&device);
	} else if (result == VIODMA_OK && options->command == DRIVE_LOAD) {
		report.load = &load;
		result = load_command(&device, &load);
	} else if (result == VIODMA_OK) {
		report.transfer = &transfer;
		result = transfer_command(&device, &transfer);
	}
	closed = drive_device_close(&device);
	report.status = drive_exit_status(result != VIODMA_OK ? result : closed);
	if (device.debug_reports && !report.status)
		report.status = EXIT_FAILED;
	if (options->stats_json && !drive_report_write(options->stats_json, &report)) {
		log_event(NULL, "%s: writing the statistics: %s", options->stats_json, strerror(errno));
		report.status = report.status ? report.status : EXIT_FAILED;
	}
	if (fflush(stdout) && !report.status)
		report.status = EXIT_FAILED;
	return report.status;
}

/* Can this program's memory be where the platform wants it? */
static bool platform_holds(const struct drive_options *options)
{
	struct drive_platform platform;
	const char *what = "";

	if (drive_platform_make(&platform, options, false, drive_transfer_private_bytes(options), &what) == VIODMA_OK)
		return true;
	fprintf(stderr, "viodma drive blk: --platform: %s\n", what);
	return false;
}

static int drive_blk_main(int argc, char **argv)
{
	struct drive_options options;
	int status;

	if (!drive_options_parse(argc, argv, &options, &status))
		return status;
	if (!platform_holds(&options))
		return EXIT_USAGE;
	if (options.stats_json && !statistics_writable(options.stats_json)) {
		log_event(NULL, "--stats-json %s: cannot be written: %s", options.stats_json,
			  errno == EINVAL ? "is not a regular file" : strerror(errno));
		return EXIT_FAILED;
	}
	prepare_signals();
	return drive_blk(&options);
}

int viodma_drive_main(int argc, char **argv)
{
	const char *type = argc > 1 ? argv[1] : NULL;

	if (!type) {
		fprintf(stderr, "viodma drive: expected a device type (blk); see viodma drive --help\n");
		return EXIT_USAGE;
	}
	if (!strcmp(type, "blk"))
		return drive_blk_main(argc - 1, argv + 1);
	if (!strcmp(type, "--help") || !strcmp(type, "-h") || !strcmp(type, "help")) {
		puts("usage: viodma drive blk [OPTION]... COMMAND\n"
		     "\n"
		     "  blk    virtio disks; see viodma drive blk --help");
		return 0;
	}
	fprintf(stderr, "viodma drive: unknown device type '%s', expected blk\n", type);
	return EXIT_USAGE;
}
