/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * serve_options_blk.c - the options of `viodma serve blk` alone.
 */
#include "tools/serve_options.h"

#include "hosted/device/blk_on_disk.h"

#include <string.h>

enum { BLK_FILE = SERVE_OF_TYPE, NULL_DISK, READ_ONLY, SERIAL, BLK_SIZE, NUM_QUEUES, QUEUE_SIZE, WORKERS, WRITE_THROUGH, DIRECT, DISCARD, WRITE_ZEROES,
       SECURE_ERASE, IO };

#define WORKERS_MAX 64u

static const struct option known[] = {
	{ "blk-file", required_argument, NULL, BLK_FILE },
	{ "null", required_argument, NULL, NULL_DISK },
	{ "read-only", no_argument, NULL, READ_ONLY },
	{ "serial", required_argument, NULL, SERIAL },
	{ "blk-size", required_argument, NULL, BLK_SIZE },
	{ "num-queues", required_argument, NULL, NUM_QUEUES },
	{ "queue-size", required_argument, NULL, QUEUE_SIZE },
	{ "workers", required_argument, NULL, WORKERS },
	{ "write-through", no_argument, NULL, WRITE_THROUGH },
	{ "direct", no_argument, NULL, DIRECT },
	{ "discard", required_argument, NULL, DISCARD },
	{ "write-zeroes", required_argument, NULL, WRITE_ZEROES },
	{ "secure-erase", required_argument, NULL, SECURE_ERASE },
	{ "io", required_argument, NULL, IO },
	SERVE_COMMON_ROWS,
};

static const char help[] =
	"usage: viodma serve blk --socket-path PATH | --fd N  --blk-file FILE | --null SIZE  [OPTION]...\n"
	"       viodma serve blk --device blk,path=SOCKET,file=FILE|null=SIZE[,PART=VALUE]... ... [OPTION]...\n"
	"       viodma serve blk --print-capabilities\n"
	"\n"
	"A vhost-user back end: serves raw files or block devices as virtio disks, in the foreground, until SIGTERM.\n"
	"\n"
	"what to serve\n"
	"  --socket-path PATH        listen on this Unix socket; a stale one is replaced\n"
	"  --fd N                    or serve on this inherited socket, listening or connected\n"
	"  --blk-file FILE           the disk: a raw image or a block device\n"
	"  --null SIZE               or none: reads are zeroes, writes are forgotten, everything ends at once\n"
	"  --read-only               open it for reading only\n"
	"  --serial TEXT             serial number, at most 20 bytes\n"
	"  --blk-size 512|4096       logical block size told to the driver (default 512)\n"
	"  --num-queues N            queues, 1 (default) to 64\n"
	"  --queue-size N            most descriptors of a queue, a power of two up to 32768 (default 1024)\n"
	"  --workers N               threads that serve them, queue I by thread I modulo N; 1 (default) to 64, but no more\n"
	"                            than there are queues\n"
	"  --write-through           writes are durable when they end, until the driver switches that off\n"
	"  --direct                  read and write past the page cache (O_DIRECT)\n"
	"  --discard=on|off          offer to discard sectors, and to give up the room of zeroes (default on)\n"
	"  --write-zeroes=on|off     offer to zero sectors without data (default on)\n"
	"  --secure-erase=on|off     offer to erase securely, of a block device that can (default off)\n"
	"  --device blk,path=..,...  one of several disks, instead of the options above; a comma in a value is doubled.\n"
	"                            Parts: file, null, ro, serial, blk-size, num-queues, queue-size, workers,\n"
	"                            write-through, direct, discard, write-zeroes, secure-erase\n"
	"  --io=HOW                  uring, threads, or auto (default): io_uring where it works\n";

static bool take_serial(const struct options *reader, const char *name, const char *text, const char **serial)
{
	if (strlen(text) > VIODMA_BLK_SERIAL_BYTES)
		return options_wrong(reader, "%s: '%s', expected at most %d bytes", name, text,
				     VIODMA_BLK_SERIAL_BYTES);
	*serial = text;
	return true;
}

static bool take_blk_size(const struct options *reader, const char *name, const char *text, uint32_t *blk_size)
{
	if (strcmp(text, "512") && strcmp(text, "4096"))
		return options_wrong(reader, "%s: '%s', expected 512 or 4096", name, text);
	*blk_size = text[0] == '5' ? 512 : 4096;
	return true;
}

static bool take_on_off(const struct options *reader, const char *name, const char *text, bool *on)
{
	if (strcmp(text, "on") && strcmp(text, "off"))
		return options_wrong(reader, "%s: '%s', expected on or off", name, text);
	*on = !strcmp(text, "on");
	return true;
}

static bool take_null(const struct options *reader, const char *name, const char *text, uint64_t *bytes)
{
	if (!options_size(reader, name, text, VIODMA_DISK_SECTOR_BYTES, INT64_MAX, bytes))
		return false;
	return *bytes % VIODMA_DISK_SECTOR_BYTES == 0 ||
	       options_wrong(reader, "%s: '%s', expected a multiple of %u", name, text, VIODMA_DISK_SECTOR_BYTES);
}

static bool take_queue_size(const struct options *reader, const char *name, const char *text, uint32_t *size)
{
	if (!options_number(reader, name, text, 1, 32768, size))
		return false;
	return !(*size & (*size - 1)) || options_wrong(reader, "%s: '%s', expected a power of two", name, text);
}

/* Of what is on unless it is said otherwise. */
static bool take_offer(const struct options *reader, const char *name, const char *text, bool *off)
{
	bool on = false;

	if (!take_on_off(reader, name, text, &on))
		return false;
	*off = !on;
	return true;
}

static bool take_io(const struct options *reader, const char *text, enum viodma_disk_engine_kind *io)
{
	if (!strcmp(text, "auto"))
		*io = VIODMA_DISK_AUTO;
	else if (!strcmp(text, "uring"))
		*io = VIODMA_DISK_URING;
	else if (!strcmp(text, "threads"))
		*io = VIODMA_DISK_THREADS;
	else
		return options_wrong(reader, "--io: '%s', expected auto, uring or threads", text);
	return true;
}

static bool take(const struct options *reader, int option, const char *value, struct serve_options *options,
		 struct serve_device_options *single)
{
	switch (option) {
	case BLK_FILE:
		return options_path(reader, "--blk-file", value, &single->blk.file);
	case NULL_DISK:
		return take_null(reader, "--null", value, &single->blk.null_bytes);
	case READ_ONLY:
		single->blk.read_only = true;
		return true;
	case SERIAL:
		return take_serial(reader, "--serial", value, &single->blk.serial);
	case BLK_SIZE:
		return take_blk_size(reader, "--blk-size", value, &single->blk.blk_size);
	case NUM_QUEUES:
		return options_number(reader, "--num-queues", value, 1, VIODMA_BLK_ON_DISK_QUEUES_MAX,
				      &single->blk.queue_count);
	case QUEUE_SIZE:
		return take_queue_size(reader, "--queue-size", value, &single->blk.queue_size);
	case WORKERS:
		return options_number(reader, "--workers", value, 1, WORKERS_MAX, &single->blk.workers);
	case WRITE_THROUGH:
		single->blk.write_through = true;
		return true;
	case DIRECT:
		single->blk.direct = true;
		return true;
	case DISCARD:
		return take_offer(reader, "--discard", value, &single->blk.no_discard);
	case WRITE_ZEROES:
		return take_offer(reader, "--write-zeroes", value, &single->blk.no_write_zeroes);
	case SECURE_ERASE:
		return take_on_off(reader, "--secure-erase", value, &single->blk.secure_erase);
	case IO:
		return take_io(reader, value, &options->io);
	default:
		return options_wrong(reader, "internal: option %d is not handled", option);
	}
}

static int take_part(const struct options *reader, struct serve_device_options *device, const char *key,
		     const char *value)
{
	static const char *const keys[] = { "file",	  "ro",		"serial", "blk-size", "null", "num-queues",
					    "queue-size", "write-through", "direct", "discard", "write-zeroes",
					    "secure-erase", "workers" };
	bool taken = true;
	int number = -1;

	for (int i = 0; i < (int)(sizeof(keys) / sizeof(keys[0])); i++)
		if (!strcmp(key, keys[i]))
			number = i;
	if (number < 0 || !value)
		return number;
	switch (number) {
	case 0:
		taken = options_path(reader, "--device: file", value, &device->blk.file);
		break;
	case 1:
		taken = take_on_off(reader, "--device: ro", value, &device->blk.read_only);
		break;
	case 2:
		taken = take_serial(reader, "--device: serial", value, &device->blk.serial);
		break;
	case 3:
		taken = take_blk_size(reader, "--device: blk-size", value, &device->blk.blk_size);
		break;
	case 4:
		taken = take_null(reader, "--device: null", value, &device->blk.null_bytes);
		break;
	case 5:
		taken = options_number(reader, "--device: num-queues", value, 1, VIODMA_BLK_ON_DISK_QUEUES_MAX,
				       &device->blk.queue_count);
		break;
	case 6:
		taken = take_queue_size(reader, "--device: queue-size", value, &device->blk.queue_size);
		break;
	case 7:
		taken = take_on_off(reader, "--device: write-through", value, &device->blk.write_through);
		break;
	case 8:
		taken = take_on_off(reader, "--device: direct", value, &device->blk.direct);
		break;
	case 9:
		taken = take_offer(reader, "--device: discard", value, &device->blk.no_discard);
		break;
	case 10:
		taken = take_offer(reader, "--device: write-zeroes", value, &device->blk.no_write_zeroes);
		break;
	case 11:
		taken = take_on_off(reader, "--device: secure-erase", value, &device->blk.secure_erase);
		break;
	case 12:
		taken = options_number(reader, "--device: workers", value, 1, WORKERS_MAX, &device->blk.workers);
		break;
	}
	return taken ? number : -2;
}

static bool single_given(const struct serve_device_options *single)
{
	return single->blk.file || single->blk.null_bytes || single->blk.serial; /* the others hold for all */
}

static bool check_device(const struct options *reader, struct serve_device_options *device, const char *text,
			 const struct serve_device_options *single)
{
	if (!device->blk.file && !device->blk.null_bytes)
		return text ? options_wrong(reader, "--device %s: expected file=FILE", text)
			    : options_wrong(reader, "--blk-file: missing, expected the path of a raw image or a block "
						    "device");
	if (device->blk.file && device->blk.null_bytes)
		return text ? options_wrong(reader, "--device %s: file= and null=, expected only one of them", text)
			    : options_wrong(reader, "--blk-file and --null: expected only one of them");
	if (!single)
		return true;
	device->blk.read_only |= single->blk.read_only;
	device->blk.write_through |= single->blk.write_through;
	device->blk.direct |= single->blk.direct;
	device->blk.no_discard |= single->blk.no_discard;
	device->blk.no_write_zeroes |= single->blk.no_write_zeroes;
	device->blk.secure_erase |= single->blk.secure_erase;
	if (!device->blk.queue_count)
		device->blk.queue_count = single->blk.queue_count ? single->blk.queue_count : 1;
	if (!device->blk.queue_size)
		device->blk.queue_size =
			single->blk.queue_size ? single->blk.queue_size : VIODMA_BLK_ON_DISK_QUEUE_SIZE;
	if (!device->blk.workers)
		device->blk.workers = single->blk.workers;
	if (!device->blk.blk_size)
		device->blk.blk_size = single->blk.blk_size ? single->blk.blk_size : 512;
	return true;
}

static void queues(const struct serve_device_options *device, struct viodma_vhost_user_options *options)
{
	options->queue_count = device->blk.queue_count;
	options->queue_size_max = device->blk.queue_size;
	options->workers = device->blk.workers;
}

const struct serve_type_options serve_blk_options = {
	.name = "blk",
	.command = "viodma serve blk",
	.capabilities = "{\"type\": \"block\", \"features\": [\"read-only\", \"blk-file\"]}",
	.known = known,
	.help = help,
	.single_names = ", --blk-file, --null and --serial",
	.device_parts = "file=, null=, ro=, serial=, blk-size=, num-queues=, queue-size=, workers=, "
			"write-through=, direct=, discard=, write-zeroes= or secure-erase=",
	.limits = viodma_blk_on_disk_limits,
	.queues = queues,
	.take = take,
	.take_part = take_part,
	.single_given = single_given,
	.check_device = check_device,
};
