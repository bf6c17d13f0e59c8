/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * demo.c - `viodma demo`: how it works: for each row a device half is forked (demo_device.c), and this process is its
 * driver half, with the functions of `viodma drive blk`: write, read back and compare, look at what the device's
 * process has mapped, one access that nobody granted. Then both end, and the row is judged (demo_table.c).
 *
 * Data are other ones in each row, and the disk is new: nothing is right because it was so before.
 */
#include "tools/commands.h"
#include "tools/demo_table.h"
#include "tools/drive_transfer.h"
#include "tools/log.h"
#include "tools/options.h"
#include "tools/statistics.h"

#include <viodma/loop.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define DISK_BYTES (UINT64_C(8) << 20)
#define DATA_BYTES (UINT64_C(4) << 20)
#define DATA_AT (UINT64_C(1) << 20) /* on the disk */
#define PRIVATE_BYTES (UINT64_C(62) << 20)
#define POOL_BYTES (UINT64_C(2) << 20)
#define DEPTH 8u
#define REQUEST_BYTES (64u << 10)
#define TIMEOUT_MS 5000u

enum { JSON = OPTIONS_FIRST, HELP };

static const struct option known[] = {
	{ "json", required_argument, NULL, JSON },
	{ "help", no_argument, NULL, HELP },
	{ NULL, 0, NULL, 0 },
};

static const char help[] =
	"usage: viodma demo [--json FILE]\n"
	"\n"
	"Both halves of a virtio disk in two processes, over each kind of platform: what the device is handed, what it\n"
	"reaches, and what becomes of an access that nobody granted. It takes seconds, no VM, and no privilege.\n"
	"\n"
	"  --json FILE   write what was seen there, too\n"
	"  --help        print this and exit\n"
	"\n"
	"exit status: 0 every cell of the table is as it must be; 1 one is not, and is named; 2 the command line.\n";

/* ---- data ---- */

/* Bytes of its own for each row. */
static void make_data(uint64_t *data, uint64_t row)
{
	uint64_t state = (row + 1) * 0x9e3779b97f4a7c15u;

	for (uint64_t i = 0; i < DATA_BYTES / sizeof(*data); i++) {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		data[i] = state;
	}
}

static bool write_whole(int fd, const void *data, uint64_t bytes)
{
	for (uint64_t done = 0; done < bytes;) {
		const ssize_t put = pwrite(fd, (const char *)data + done, bytes - done, (off_t)done);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return false;
		done += (uint64_t)put;
	}
	return true;
}

/* Past the device: is it in the file? */
static bool on_the_disk(int image, const void *data)
{
	unsigned char piece[4096];

	for (uint64_t at = 0; at < DATA_BYTES; at += sizeof(piece))
		if (pread(image, piece, sizeof(piece), (off_t)(DATA_AT + at)) != (ssize_t)sizeof(piece) ||
		    memcmp(piece, (const char *)data + at, sizeof(piece)))
			return false;
	return true;
}

/* ---- a row ---- */

static enum viodma_result transfer(struct drive_device *device, struct demo_row *row, enum drive_command command,
				   int fd)
{
	struct drive_transfer one = {
		.command = command,
		.fd = fd,
		.file = "what was written",
		.disk_from = DATA_AT,
		.length = DATA_BYTES,
	};
	enum viodma_result result = drive_transfer_run(device, &one);

	row->moved += one.moved;
	return result;
}

static enum viodma_result use(struct drive_device *device, const struct demo_device *other, struct demo_row *row,
			      int fd)
{
	const struct drive_memory *memory = &device->memory;
	enum viodma_result result = transfer(device, row, DRIVE_WRITE, fd);

	if (result == VIODMA_OK)
		result = transfer(device, row, DRIVE_VERIFY, fd);
	if (result == VIODMA_OK && !demo_device_maps(other, memory->private.fd, memory->chunks[0].fd, &row->maps))
		result = VIODMA_E_IO;
	if (result == VIODMA_OK)
		result = drive_stray_try(device, drive_stray_private(device), &row->stray);
	return result;
}

/* Drive it from its beginning to its end. */
static bool drive(struct demo_device *other, struct demo_row *row, int fd)
{
	struct drive_options options;
	struct drive_device device;
	enum viodma_result result, closed;

	drive_options_init(&options);
	options.domain = row->wanted->domain;
	options.socket_fd = other->socket;
	options.pool_bytes = options.pool_max_bytes = POOL_BYTES;
	options.require_platform_dma = row->wanted->bit33;
	options.packed = row->packed;
	options.split = !row->packed;
	options.depth = DEPTH;
	options.request_bytes = REQUEST_BYTES;
	options.timeout_ms = TIMEOUT_MS;
	options.quiet = true;
	result = drive_device_open(&device, &options, other->name, PRIVATE_BYTES);
	if (device.front)
		other->socket = -1; /* the front end's now */
	if (result == VIODMA_OK) {
		row->accepted = device.driver.decision.accepted & VIODMA_FEATURE(VIRTIO_F_ACCESS_PLATFORM_BIT);
		row->drove_packed = drive_device_is_packed(&device);
		result = use(&device, other, row, fd);
	}
	closed = drive_device_close(&device);
	if (device.session_count)
		row->granted_peak = device.sessions[0].granted_bytes_peak;
	return result == VIODMA_OK && closed == VIODMA_OK;
}

static void run(struct demo_row *row, unsigned number, uint64_t *data, int fd)
{
	struct demo_device device;
	bool driven, ended;

	make_data(data, number);
	row->private_bytes = PRIVATE_BYTES;
	row->pool_bytes = POOL_BYTES;
	row->moved_wanted = 2 * DATA_BYTES;
	if (!write_whole(fd, data, DATA_BYTES)) {
		log_event("demo", "making data: %s", strerror(errno));
		return;
	}
	if (!demo_device_start(&device, "blk0", DISK_BYTES, row->wanted->bit33))
		return;
	driven = drive(&device, row, fd);
	row->data_right = driven && on_the_disk(device.image, data);
	ended = demo_device_end(&device, &row->device);
	row->ran = driven && ended;
}

/* ---- everything ---- */

static int demo(const char *json)
{
	const uint64_t began = viodma_loop_now_ns();
	struct demo_row rows[DEMO_ROWS] = { 0 };
	uint64_t *data = malloc(DATA_BYTES);
	const int fd = memfd_create("data", MFD_CLOEXEC);
	int status = 0;

	if (!data || fd < 0) {
		log_event("demo", "making data: %s", strerror(errno));
		free(data);
		return EXIT_FAILED;
	}
	demo_table_begin();
	for (unsigned i = 0; i < DEMO_ROWS; i++) {
		rows[i].wanted = &demo_kinds[i / 2];
		rows[i].packed = i % 2;
		run(&rows[i], i, data, fd);
		if (!demo_table_row(&rows[i]))
			status = EXIT_FAILED;
	}
	free(data);
	close(fd);
	if (!status)
		demo_table_end();
	if (fflush(stdout))
		status = EXIT_FAILED;
	if (json && !demo_table_write(json, rows, DEMO_ROWS, status, viodma_loop_now_ns() - began)) {
		log_event(NULL, "--json %s: %s", json, strerror(errno));
		status = EXIT_FAILED;
	}
	return status;
}

int viodma_demo_main(int argc, char **argv)
{
	struct options reader = { .command = "viodma demo", .known = known, .argc = argc, .argv = argv };
	const char *value, *json = NULL;
	int option, rest;

	while ((option = options_next(&reader, &value, &rest)) != OPTIONS_END) {
		if (option == HELP || option == 'h') {
			fputs(help, stdout);
			return 0;
		}
		if (option == OPTIONS_WRONG || !options_path(&reader, "--json", value, &json))
			return EXIT_USAGE;
	}
	if (rest < argc) {
		options_wrong(&reader, "'%s': expected options only", argv[rest]);
		return EXIT_USAGE;
	}
	if (json && !statistics_writable(json)) {
		log_event(NULL, "--json %s: cannot be written: %s", json,
			  errno == EINVAL ? "is not a regular file" : strerror(errno));
		return EXIT_FAILED;
	}
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	return demo(json);
}
