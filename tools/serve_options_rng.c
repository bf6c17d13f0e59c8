/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * serve_options_rng.c - the options of `viodma serve rng` alone. Names and the default period are those of other
 * vhost-user daemons for entropy.
 */
#include "tools/serve_options.h"

#include "hosted/device/rng_on_file.h"

#include <string.h>

#define DEFAULT_SOURCE "/dev/urandom"
#define DEFAULT_PERIOD_MS 65536u
#define PERIOD_MS_MAX 86400000u

enum { RNG_SOURCE = SERVE_OF_TYPE, MAX_BYTES, PERIOD };

static const struct option known[] = {
	{ "rng-source", required_argument, NULL, RNG_SOURCE },
	{ "max-bytes", required_argument, NULL, MAX_BYTES },
	{ "period", required_argument, NULL, PERIOD },
	SERVE_COMMON_ROWS,
};

static const char help[] =
	"usage: viodma serve rng --socket-path PATH | --fd N  [--rng-source FILE] [OPTION]...\n"
	"       viodma serve rng --device rng,path=SOCKET[,source=FILE][,max-bytes=N][,period=MS] ... [OPTION]...\n"
	"       viodma serve rng --print-capabilities\n"
	"\n"
	"A vhost-user back end: serves random bytes as virtio entropy devices, in the foreground, until SIGTERM.\n"
	"\n"
	"what to serve\n"
	"  --socket-path PATH        listen on this Unix socket; a stale one is replaced\n"
	"  --fd N                    or serve on this inherited socket, listening or connected\n"
	"  --rng-source FILE         where the bytes come from: device, FIFO or file (default " DEFAULT_SOURCE ")\n"
	"  --max-bytes N             at most so many bytes in each period (default: no limit)\n"
	"  --period MS               with --max-bytes: milliseconds (default 65536)\n"
	"  --device rng,path=..,...  one of several, instead of the options above; a comma in a value is doubled\n";

static bool take_rng(const struct options *reader, int number, const char *name, const char *value,
		     struct serve_device_options *device)
{
	switch (number) {
	case RNG_SOURCE - SERVE_OF_TYPE:
		return options_path(reader, name, value, &device->rng.source);
	case MAX_BYTES - SERVE_OF_TYPE:
		return options_number(reader, name, value, 1, UINT32_MAX, &device->rng.max_bytes);
	case PERIOD - SERVE_OF_TYPE:
		return options_number(reader, name, value, 1, PERIOD_MS_MAX, &device->rng.period_ms);
	default:
		return options_wrong(reader, "internal: option %d is not handled", number);
	}
}

static bool take(const struct options *reader, int option, const char *value, struct serve_options *options,
		 struct serve_device_options *single)
{
	static const char *const names[] = { "--rng-source", "--max-bytes", "--period" };

	(void)options;
	return take_rng(reader, option - SERVE_OF_TYPE, names[option - SERVE_OF_TYPE], value, single);
}

static int take_part(const struct options *reader, struct serve_device_options *device, const char *key,
		     const char *value)
{
	static const char *const keys[] = { "source", "max-bytes", "period" };
	static const char *const names[] = { "--device: source", "--device: max-bytes", "--device: period" };

	for (int i = 0; i < (int)(sizeof(keys) / sizeof(keys[0])); i++)
		if (!strcmp(key, keys[i]))
			return !value || take_rng(reader, i, names[i], value, device) ? i : -2;
	return -1;
}

static bool single_given(const struct serve_device_options *single)
{
	return single->rng.source || single->rng.max_bytes || single->rng.period_ms;
}

static bool check_device(const struct options *reader, struct serve_device_options *device, const char *text,
			 const struct serve_device_options *single)
{
	(void)single;
	if (device->rng.period_ms && !device->rng.max_bytes)
		return text ? options_wrong(reader, "--device %s: period= without max-bytes=, expected both", text)
			    : options_wrong(reader, "--period: without --max-bytes, expected both");
	if (text)
		return true; /* looked at once more */
	if (!device->rng.source)
		device->rng.source = DEFAULT_SOURCE;
	if (!device->rng.period_ms)
		device->rng.period_ms = device->rng.max_bytes ? DEFAULT_PERIOD_MS : 0;
	return true;
}

const struct serve_type_options serve_rng_options = {
	.name = "rng",
	.command = "viodma serve rng",
	.capabilities = "{\"type\": \"rng\", \"features\": [\"rng-source\", \"max-bytes\", \"period\"]}",
	.known = known,
	.help = help,
	.single_names = ", --rng-source, --max-bytes and --period",
	.device_parts = "source=, max-bytes= or period=",
	.limits = viodma_rng_on_file_limits,
	.take = take,
	.take_part = take_part,
	.single_given = single_given,
	.check_device = check_device,
};
