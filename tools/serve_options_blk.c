/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * serve_options_blk.c - the options of `viodma serve blk` alone.
 */
#include "tools/serve_options.h"

#include "hosted/device/blk_on_disk.h"

#include <string.h>

enum { BLK_FILE = SERVE_OF_TYPE, READ_ONLY, SERIAL, BLK_SIZE, IO };

static const struct option known[] = {
	{ "blk-file", required_argument, NULL, BLK_FILE },
	{ "read-only", no_argument, NULL, READ_ONLY },
	{ "serial", required_argument, NULL, SERIAL },
	{ "blk-size", required_argument, NULL, BLK_SIZE },
	{ "io", required_argument, NULL, IO },
	SERVE_COMMON_ROWS,
};

static const char help[] =
	"usage: viodma serve blk --socket-path PATH | --fd N  --blk-file FILE [OPTION]...\n"
	"       viodma serve blk --device blk,path=SOCKET,file=FILE[,ro=on][,serial=TEXT][,blk-size=N] ... [OPTION]...\n"
	"       viodma serve blk --print-capabilities\n"
	"\n"
	"A vhost-user back end: serves raw files or block devices as virtio disks, in the foreground, until SIGTERM.\n"
	"\n"
	"what to serve\n"
	"  --socket-path PATH        listen on this Unix socket; a stale one is replaced\n"
	"  --fd N                    or serve on this inherited socket, listening or connected\n"
	"  --blk-file FILE           the disk: a raw image or a block device\n"
	"  --read-only               open it for reading only\n"
	"  --serial TEXT             serial number, at most 20 bytes\n"
	"  --blk-size 512|4096       logical block size told to the driver (default 512)\n"
	"  --device blk,path=..,...  one of several disks, instead of the options above; a comma in a value is doubled\n"
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
	case READ_ONLY:
		single->blk.read_only = true;
		return true;
	case SERIAL:
		return take_serial(reader, "--serial", value, &single->blk.serial);
	case BLK_SIZE:
		return take_blk_size(reader, "--blk-size", value, &single->blk.blk_size);
	case IO:
		return take_io(reader, value, &options->io);
	default:
		return options_wrong(reader, "internal: option %d is not handled", option);
	}
}

static int take_part(const struct options *reader, struct serve_device_options *device, const char *key,
		     const char *value)
{
	static const char *const keys[] = { "file", "ro", "serial", "blk-size" };
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
	}
	return taken ? number : -2;
}

static bool single_given(const struct serve_device_options *single)
{
	return single->blk.file || single->blk.serial; /* --read-only and --blk-size hold for all */
}

static bool check_device(const struct options *reader, struct serve_device_options *device, const char *text,
			 const struct serve_device_options *single)
{
	if (!device->blk.file)
		return text ? options_wrong(reader, "--device %s: expected file=FILE", text)
			    : options_wrong(reader, "--blk-file: missing, expected the path of a raw image or a block "
						    "device");
	if (!single)
		return true;
	device->blk.read_only |= single->blk.read_only;
	if (!device->blk.blk_size)
		device->blk.blk_size = single->blk.blk_size ? single->blk.blk_size : 512;
	return true;
}

const struct serve_type_options serve_blk_options = {
	.name = "blk",
	.command = "viodma serve blk",
	.capabilities = "{\"type\": \"block\", \"features\": [\"read-only\", \"blk-file\"]}",
	.known = known,
	.help = help,
	.single_names = ", --blk-file and --serial",
	.device_parts = "file=, ro=, serial= or blk-size=",
	.limits = viodma_blk_on_disk_limits,
	.take = take,
	.take_part = take_part,
	.single_given = single_given,
	.check_device = check_device,
};
