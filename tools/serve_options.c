/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * serve_options.c - how it works: getopt_long finds the options; each value is checked where it is taken, so that the
 * message can name the option, what it got and what was expected. What concerns several options is checked at the end.
 * Abbreviated and repeated options are refused: what --io-entries means may change, and of two files one is forgotten.
 *
 * --device is a list "blk,key=value,..." in which a comma inside a value is doubled.
 */
#include "tools/serve_options.h"

#include "hosted/device/blk_on_disk.h"
#include "tools/commands.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>

#define SOCKET_PATH_BYTES (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)
#define REVOKE_TIMEOUT_MS_MAX 3600000u
#define IOTLB_ENTRIES_MAX (1u << 24)

enum {
	OPT_SOCKET_PATH = 256,
	OPT_FD,
	OPT_BLK_FILE,
	OPT_READ_ONLY,
	OPT_SERIAL,
	OPT_BLK_SIZE,
	OPT_DEVICE,
	OPT_PLATFORM_DMA,
	OPT_IO,
	OPT_COPY,
	OPT_REVOKE_TIMEOUT_MS,
	OPT_IOTLB_ENTRIES,
	OPT_STATS_JSON,
	OPT_TRACE_JSON,
	OPT_TEST_SOCKET,
	OPT_HELP,
};

static const struct option long_options[] = {
	{ "socket-path", required_argument, NULL, OPT_SOCKET_PATH },
	{ "fd", required_argument, NULL, OPT_FD },
	{ "blk-file", required_argument, NULL, OPT_BLK_FILE },
	{ "read-only", no_argument, NULL, OPT_READ_ONLY },
	{ "serial", required_argument, NULL, OPT_SERIAL },
	{ "blk-size", required_argument, NULL, OPT_BLK_SIZE },
	{ "device", required_argument, NULL, OPT_DEVICE },
	{ "platform-dma", required_argument, NULL, OPT_PLATFORM_DMA },
	{ "io", required_argument, NULL, OPT_IO },
	{ "copy", no_argument, NULL, OPT_COPY },
	{ "revoke-timeout-ms", required_argument, NULL, OPT_REVOKE_TIMEOUT_MS },
	{ "iotlb-entries", required_argument, NULL, OPT_IOTLB_ENTRIES },
	{ "stats-json", required_argument, NULL, OPT_STATS_JSON },
	{ "trace-json", required_argument, NULL, OPT_TRACE_JSON },
#ifdef VIODMA_TEST_BUILD
	{ "test-socket", required_argument, NULL, OPT_TEST_SOCKET },
#endif
	{ "help", no_argument, NULL, OPT_HELP },
	{ NULL, 0, NULL, 0 },
};

static void print_help(void)
{
	fputs("usage: viodma serve blk --socket-path PATH | --fd N  --blk-file FILE [OPTION]...\n"
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
	      "\n"
	      "for every disk\n"
	      "  --platform-dma=POLICY     feature bit 33: require, offer (default), or off\n"
	      "  --iotlb-entries N         mappings remembered (default 65536)\n"
	      "  --revoke-timeout-ms N     how long a revocation waits for I/O before it fails (default 10000)\n"
	      "  --copy                    copy data, so that revocations never wait for the disk\n"
	      "  --io=HOW                  uring, threads, or auto (default): io_uring where it works\n"
	      "  --stats-json FILE         write statistics there at SIGUSR1 and at exit\n"
	      "  --trace-json FILE         write each grant, revocation, access and refusal there\n"
#ifdef VIODMA_TEST_BUILD
	      "  --test-socket PATH        test build: take accesses to attempt from this Unix socket\n"
#endif
	      "\n"
	      "  --print-capabilities      print what this program can do, as JSON, and exit\n"
	      "  --help                    print this and exit\n",
	      stdout);
}

const char *serve_platform_dma_name(enum viodma_platform_dma policy)
{
	return policy == VIODMA_PLATFORM_DMA_OFF   ? "off" :
	       policy == VIODMA_PLATFORM_DMA_OFFER ? "offer" :
						     "require";
}

/* ---- values ---- */

__attribute__((format(printf, 1, 2))) static bool wrong(const char *format, ...)
{
	va_list arguments;

	fputs("viodma serve blk: ", stderr);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	return false;
}

static bool take_number(const char *option, const char *text, uint32_t least, uint32_t most, uint32_t *number)
{
	char *end = NULL;
	unsigned long long value;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end || errno || value < least || value > most)
		return wrong("%s: '%s', expected a number from %u to %u", option, text, least, most);
	*number = (uint32_t)value;
	return true;
}

static bool take_socket_path(const char *option, const char *text, const char **path)
{
	if (!*text || strlen(text) > SOCKET_PATH_BYTES)
		return wrong("%s: '%s', expected a path of 1 to %zu bytes", option, text, SOCKET_PATH_BYTES);
	*path = text;
	return true;
}

static bool take_path(const char *option, const char *text, const char **path)
{
	if (!*text)
		return wrong("%s: empty, expected a path", option);
	*path = text;
	return true;
}

static bool take_serial(const char *option, const char *text, const char **serial)
{
	if (strlen(text) > VIODMA_BLK_SERIAL_BYTES)
		return wrong("%s: '%s', expected at most %d bytes", option, text, VIODMA_BLK_SERIAL_BYTES);
	*serial = text;
	return true;
}

static bool take_blk_size(const char *option, const char *text, uint32_t *blk_size)
{
	if (strcmp(text, "512") && strcmp(text, "4096"))
		return wrong("%s: '%s', expected 512 or 4096", option, text);
	*blk_size = text[0] == '5' ? 512 : 4096;
	return true;
}

static bool take_on_off(const char *option, const char *text, bool *on)
{
	if (strcmp(text, "on") && strcmp(text, "off"))
		return wrong("%s: '%s', expected on or off", option, text);
	*on = !strcmp(text, "on");
	return true;
}

static bool take_policy(const char *text, enum viodma_platform_dma *policy)
{
	for (int i = VIODMA_PLATFORM_DMA_OFF; i <= VIODMA_PLATFORM_DMA_REQUIRE; i++) {
		if (!strcmp(text, serve_platform_dma_name((enum viodma_platform_dma)i))) {
			*policy = (enum viodma_platform_dma)i;
			return true;
		}
	}
	return wrong("--platform-dma: '%s', expected require, offer or off", text);
}

static bool take_io(const char *text, enum viodma_disk_engine_kind *io)
{
	if (!strcmp(text, "auto"))
		*io = VIODMA_DISK_AUTO;
	else if (!strcmp(text, "uring"))
		*io = VIODMA_DISK_URING;
	else if (!strcmp(text, "threads"))
		*io = VIODMA_DISK_THREADS;
	else
		return wrong("--io: '%s', expected auto, uring or threads", text);
	return true;
}

static bool take_fd(const char *text, int *fd)
{
	struct stat found;
	uint32_t number;

	if (!take_number("--fd", text, 1, 1u << 30, &number))
		return false;
	if (fstat((int)number, &found) < 0)
		return wrong("--fd: %u is not open (%s), expected a socket", number, strerror(errno));
	if (!S_ISSOCK(found.st_mode))
		return wrong("--fd: %u is not a socket, expected one", number);
	*fd = (int)number;
	return true;
}

/* Is this the first time? `seen` has a bit for each thing that may be given once. */
static bool take_once(unsigned bit, uint32_t *seen)
{
	bool first = !(*seen >> bit & 1);

	*seen |= UINT32_C(1) << bit;
	return first;
}

/* ---- --device ---- */

/* Cut the next part off at a single comma; ",," becomes one comma of the part. NULL: the end. */
static char *next_part(char **rest)
{
	char *part = *rest, *from = part, *to = part;

	if (!part)
		return NULL;
	for (; *from; *to++ = *from++) {
		if (*from == ',' && *++from != ',') {
			*to = '\0';
			*rest = from;
			return part;
		}
	}
	*to = '\0';
	*rest = NULL;
	return part;
}

static struct serve_device_options *add_device(struct serve_options *options)
{
	struct serve_device_options *more =
		realloc(options->devices, (options->device_count + 1) * sizeof(*options->devices));

	if (!more) {
		wrong("out of memory");
		return NULL;
	}
	options->devices = more;
	more += options->device_count++;
	*more = (struct serve_device_options){ .socket_fd = -1 };
	return more;
}

static bool take_device_part(struct serve_device_options *device, const char *key, const char *value,
			     uint32_t *seen)
{
	static const char *const keys[] = { "path", "file", "ro", "serial", "blk-size" };

	for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (!strcmp(key, keys[i]) && !take_once(i, seen))
			return wrong("--device: %s= is there twice, expected it once", key);
	if (!strcmp(key, "path"))
		return take_socket_path("--device: path", value, &device->socket_path);
	if (!strcmp(key, "file"))
		return take_path("--device: file", value, &device->file);
	if (!strcmp(key, "ro"))
		return take_on_off("--device: ro", value, &device->read_only);
	if (!strcmp(key, "serial"))
		return take_serial("--device: serial", value, &device->serial);
	if (!strcmp(key, "blk-size"))
		return take_blk_size("--device: blk-size", value, &device->blk_size);
	return wrong("--device: unknown part '%s', expected path=, file=, ro=, serial= or blk-size=", key);
}

static bool take_device(const char *text, struct serve_options *options)
{
	struct serve_device_options *device = add_device(options);
	uint32_t seen = 0;
	char *rest, *part;

	if (!device)
		return false;
	device->storage = strdup(text);
	if (!device->storage)
		return wrong("out of memory");
	rest = device->storage;
	part = next_part(&rest);
	if (strcmp(part, "blk"))
		return wrong("--device: begins with '%s', expected 'blk,'", part);
	while ((part = next_part(&rest))) {
		char *value = strchr(part, '=');

		if (!value)
			return wrong("--device: '%s', expected key=value", part);
		*value = '\0';
		if (!take_device_part(device, part, value + 1, &seen))
			return false;
	}
	if (!device->socket_path)
		return wrong("--device %s: expected path=SOCKET", text);
	if (!device->file)
		return wrong("--device %s: expected file=FILE", text);
	return true;
}

/* ---- everything together ---- */

/* Options that describe the one disk. */
struct single {
	struct serve_device_options device;
	bool read_only, fd_given;
	uint32_t blk_size;
};

static bool take(int option, const char *value, struct serve_options *options, struct single *single)
{
	switch (option) {
	case OPT_SOCKET_PATH:
		return take_socket_path("--socket-path", value, &single->device.socket_path);
	case OPT_FD:
		single->fd_given = true;
		return take_fd(value, &single->device.socket_fd);
	case OPT_BLK_FILE:
		return take_path("--blk-file", value, &single->device.file);
	case OPT_READ_ONLY:
		single->read_only = true;
		return true;
	case OPT_SERIAL:
		return take_serial("--serial", value, &single->device.serial);
	case OPT_BLK_SIZE:
		return take_blk_size("--blk-size", value, &single->blk_size);
	case OPT_DEVICE:
		return take_device(value, options);
	case OPT_PLATFORM_DMA:
		return take_policy(value, &options->platform_dma);
	case OPT_IO:
		return take_io(value, &options->io);
	case OPT_COPY:
		options->copy = true;
		return true;
	case OPT_REVOKE_TIMEOUT_MS:
		return take_number("--revoke-timeout-ms", value, 1, REVOKE_TIMEOUT_MS_MAX, &options->revoke_timeout_ms);
	case OPT_IOTLB_ENTRIES:
		return take_number("--iotlb-entries", value,
				   viodma_iotlb_least_capacity(VIODMA_BLK_ON_DISK_QUEUE_SIZE_MAX,
							       VIODMA_BLK_ON_DISK_REQUEST_BYTES_MAX,
							       VIODMA_BLK_ON_DISK_SEGMENTS_MAX),
				   IOTLB_ENTRIES_MAX, &options->iotlb_entries);
	case OPT_STATS_JSON:
		return take_path("--stats-json", value, &options->stats_json);
	case OPT_TRACE_JSON:
		return take_path("--trace-json", value, &options->trace_json);
	case OPT_TEST_SOCKET:
		return take_socket_path("--test-socket", value, &options->test_socket);
	default:
		return wrong("internal: option %d is not handled", option);
	}
}

static bool sockets_differ(const struct serve_options *options)
{
	for (unsigned i = 0; i < options->device_count; i++)
		for (unsigned j = 0; j < i; j++)
			if (!strcmp(options->devices[i].socket_path, options->devices[j].socket_path))
				return wrong("--device: path=%s is there twice, expected a socket for each device",
					     options->devices[i].socket_path);
	return true;
}

static bool check_whole(struct serve_options *options, const struct single *single)
{
	const struct serve_device_options *one = &single->device;

	if (options->device_count) {
		if (one->socket_path || single->fd_given || one->file || one->serial)
			return wrong("--device: takes the place of --socket-path, --fd, --blk-file and --serial; "
				     "expected only one of both ways");
		if (!sockets_differ(options))
			return false;
	} else {
		struct serve_device_options *device;

		if (one->socket_path && single->fd_given)
			return wrong("--socket-path and --fd: expected only one of them");
		if (!one->socket_path && !single->fd_given)
			return wrong("expected one of --socket-path PATH, --fd N, and --device blk,...; see viodma "
				     "serve blk --help");
		if (!one->file)
			return wrong("--blk-file: missing, expected the path of a raw image or a block device");
		device = add_device(options);
		if (!device)
			return false;
		*device = *one;
	}
	if (options->stats_json && options->trace_json && !strcmp(options->stats_json, options->trace_json))
		return wrong("--stats-json and --trace-json: both are '%s', expected two files", options->stats_json);
	for (unsigned i = 0; i < options->device_count; i++) {
		options->devices[i].read_only |= single->read_only;
		if (!options->devices[i].blk_size)
			options->devices[i].blk_size = single->blk_size ? single->blk_size : 512;
	}
	return true;
}

/* `text` is argv's word for the option getopt_long took. */
static bool check_word(const char *text, int index, uint32_t *seen)
{
	const char *name = long_options[index].name;
	size_t bytes = strcspn(text + 2, "=");

	if (bytes != strlen(name))
		return wrong("unknown option '%.*s', expected --%s: options are not abbreviated", (int)bytes + 2, text,
			     name);
	if (!take_once((unsigned)index, seen) && long_options[index].val != OPT_DEVICE)
		return wrong("--%s: is there twice, expected it once", name);
	return true;
}

bool serve_options_parse(int argc, char **argv, struct serve_options *options, int *status)
{
	struct single single = { .device.socket_fd = -1 };
	uint32_t seen = 0;
	int option, index = 0, at = 1;

	memset(options, 0, sizeof(*options));
	options->platform_dma = VIODMA_PLATFORM_DMA_OFFER;
	/* The conventions of vhost-user's document: no other option counts then. */
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--print-capabilities")) {
			puts("{\"type\": \"block\", \"features\": [\"read-only\", \"blk-file\"]}");
			*status = 0;
			return false;
		}
	}
	*status = EXIT_USAGE;
	opterr = 0;
	for (; (option = getopt_long(argc, argv, "+:h", long_options, &index)) != -1; at = optind) {
		if (option >= OPT_SOCKET_PATH && !check_word(argv[at], index, &seen))
			return false;
		switch (option) {
		case OPT_HELP:
		case 'h':
			print_help();
			*status = 0;
			return false;
		case ':':
			return wrong("%s: expected a value", argv[optind - 1]);
		case '?':
			return wrong("unknown option, or a value where none is expected: '%s'; see viodma serve blk "
				     "--help",
				     argv[optind - 1]);
		default:
			if (!take(option, optarg, options, &single))
				return false;
		}
	}
	if (optind < argc)
		return wrong("'%s': expected only options", argv[optind]);
	return check_whole(options, &single);
}

void serve_options_free(struct serve_options *options)
{
	for (unsigned i = 0; i < options->device_count; i++)
		free(options->devices[i].storage);
	free(options->devices);
	options->devices = NULL;
	options->device_count = 0;
}
