/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * serve_options.c - how it works: what every device type has is taken here, the rest by the type. What concerns several
 * options is checked at the end.
 *
 * --device is a list "TYPE,key=value,..." in which a comma inside a value is doubled.
 */
#include "tools/serve_options.h"

#include "tools/commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REVOKE_TIMEOUT_MS_MAX 3600000u
#define IOTLB_ENTRIES_MAX (1u << 24)
#define PATH_PART 31 /* of --device, where a type's parts have 0 to 15 */

static void print_help(const struct serve_type_options *type)
{
	fputs(type->help, stdout);
	fputs("\n"
	      "for every device\n"
	      "  --platform-dma=POLICY     feature bit 33: require, offer (default), or off\n"
	      "  --platform-dma-bit N      offer this bit, 41 to 63, in its place: a number nobody has assigned\n"
	      "  --iotlb-entries N         mappings remembered (default 65536)\n"
	      "  --poll-us auto|N          look for more work so long before sleeping; 0: sleep at once (default auto)\n"
	      "  --in-order                offer VIRTIO_F_IN_ORDER: requests end in the order in which they came\n"
	      "  --order-platform          offer VIRTIO_F_ORDER_PLATFORM: barriers of a device that is not a CPU\n"
	      "  --no-packed               do not offer VIRTIO_F_RING_PACKED\n"
	      "  --revoke-timeout-ms N     how long a revocation waits for I/O before it fails (default 10000)\n"
	      "  --copy                    copy data, so that revocations never wait for the device\n"
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

static bool take_policy(const struct options *reader, const char *text, enum viodma_platform_dma *policy)
{
	for (int i = VIODMA_PLATFORM_DMA_OFF; i <= VIODMA_PLATFORM_DMA_REQUIRE; i++) {
		if (!strcmp(text, serve_platform_dma_name((enum viodma_platform_dma)i))) {
			*policy = (enum viodma_platform_dma)i;
			return true;
		}
	}
	return options_wrong(reader, "--platform-dma: '%s', expected require, offer or off", text);
}

static bool take_iotlb_entries(const struct options *reader, const struct serve_type_options *type, const char *text,
			       uint32_t *entries)
{
	struct viodma_vhost_user_options limits = { .queue_count = 1 };

	type->limits(&limits);
	return options_number(reader, "--iotlb-entries", text,
			      viodma_iotlb_least_capacity(limits.queue_size_max, limits.request_bytes_max,
							  limits.segments_max),
			      IOTLB_ENTRIES_MAX, entries);
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

static struct serve_device_options *add_device(const struct options *reader, struct serve_options *options)
{
	struct serve_device_options *more =
		realloc(options->devices, (options->device_count + 1) * sizeof(*options->devices));

	if (!more) {
		options_wrong(reader, "out of memory");
		return NULL;
	}
	options->devices = more;
	more += options->device_count++;
	*more = (struct serve_device_options){ .socket_fd = -1 };
	return more;
}

static bool take_device_part(const struct options *reader, const struct serve_type_options *type,
			     struct serve_device_options *device, const char *key, const char *value, uint32_t *seen)
{
	const int number = !strcmp(key, "path") ? PATH_PART : type->take_part(reader, device, key, NULL);

	if (number < 0)
		return options_wrong(reader, "--device: unknown part '%s', expected path=, %s", key,
				     type->device_parts);
	if (*seen >> number & 1)
		return options_wrong(reader, "--device: %s= is there twice, expected it once", key);
	*seen |= UINT32_C(1) << number;
	if (number == PATH_PART)
		return options_socket_path(reader, "--device: path", value, &device->socket_path);
	return type->take_part(reader, device, key, value) >= 0;
}

static bool take_device(const struct options *reader, const struct serve_type_options *type, const char *text,
			struct serve_options *options)
{
	struct serve_device_options *device = add_device(reader, options);
	uint32_t seen = 0;
	char *rest, *part;

	if (!device)
		return false;
	device->storage = strdup(text);
	if (!device->storage)
		return options_wrong(reader, "out of memory");
	rest = device->storage;
	part = next_part(&rest);
	if (strcmp(part, type->name))
		return options_wrong(reader, "--device: begins with '%s', expected '%s,'", part, type->name);
	while ((part = next_part(&rest))) {
		char *value = strchr(part, '=');

		if (!value)
			return options_wrong(reader, "--device: '%s', expected key=value", part);
		*value = '\0';
		if (!take_device_part(reader, type, device, part, value + 1, &seen))
			return false;
	}
	if (!device->socket_path)
		return options_wrong(reader, "--device %s: expected path=SOCKET", text);
	return type->check_device(reader, device, text, NULL);
}

/* ---- everything together ---- */

/* What was said of the one device. */
struct single {
	struct serve_device_options device;
	bool fd_given;
};

static bool take(const struct options *reader, const struct serve_type_options *type, int option, const char *value,
		 struct serve_options *options, struct single *single)
{
	uint32_t number;

	switch (option) {
	case SERVE_SOCKET_PATH:
		return options_socket_path(reader, "--socket-path", value, &single->device.socket_path);
	case SERVE_FD:
		single->fd_given = true;
		return options_socket_fd(reader, value, &single->device.socket_fd);
	case SERVE_DEVICE:
		return take_device(reader, type, value, options);
	case SERVE_PLATFORM_DMA:
		return take_policy(reader, value, &options->platform_dma);
	case SERVE_PLATFORM_DMA_BIT:
		if (!options_number(reader, "--platform-dma-bit", value, 41, 63, &number))
			return false;
		options->platform_dma_bit = number;
		return true;
	case SERVE_COPY:
		options->copy = true;
		return true;
	case SERVE_REVOKE_TIMEOUT_MS:
		return options_number(reader, "--revoke-timeout-ms", value, 1, REVOKE_TIMEOUT_MS_MAX,
				      &options->revoke_timeout_ms);
	case SERVE_IOTLB_ENTRIES:
		return take_iotlb_entries(reader, type, value, &options->iotlb_entries);
	case SERVE_POLL_US:
		return options_poll_us(reader, value, &options->poll_us);
	case SERVE_IN_ORDER:
		options->ring_features_also |= VIODMA_FEATURE(VIRTIO_F_IN_ORDER_BIT);
		return true;
	case SERVE_ORDER_PLATFORM:
		options->ring_features_also |= VIODMA_FEATURE(VIRTIO_F_ORDER_PLATFORM_BIT);
		return true;
	case SERVE_NO_PACKED:
		options->ring_features_masked |= VIODMA_FEATURE(VIRTIO_F_RING_PACKED_BIT);
		return true;
	case SERVE_STATS_JSON:
		return options_path(reader, "--stats-json", value, &options->stats_json);
	case SERVE_TRACE_JSON:
		return options_path(reader, "--trace-json", value, &options->trace_json);
	case SERVE_TEST_SOCKET:
		return options_socket_path(reader, "--test-socket", value, &options->test_socket);
	default:
		return type->take(reader, option, value, options, &single->device);
	}
}

static bool sockets_differ(const struct options *reader, const struct serve_options *options)
{
	for (unsigned i = 0; i < options->device_count; i++)
		for (unsigned j = 0; j < i; j++)
			if (!strcmp(options->devices[i].socket_path, options->devices[j].socket_path))
				return options_wrong(reader,
						     "--device: path=%s is there twice, expected a socket for each "
						     "device",
						     options->devices[i].socket_path);
	return true;
}

/* The one device that was described without --device. */
static bool add_single(const struct options *reader, const struct serve_type_options *type,
		       struct serve_options *options, const struct single *single)
{
	struct serve_device_options *device;

	if (single->device.socket_path && single->fd_given)
		return options_wrong(reader, "--socket-path and --fd: expected only one of them");
	if (!single->device.socket_path && !single->fd_given)
		return options_wrong(reader,
				     "expected one of --socket-path PATH, --fd N, and --device %s,...; see %s --help",
				     type->name, type->command);
	device = add_device(reader, options);
	if (!device)
		return false;
	*device = single->device;
	return type->check_device(reader, device, NULL, &single->device);
}

static bool check_whole(const struct options *reader, const struct serve_type_options *type,
			struct serve_options *options, const struct single *single)
{
	if (options->device_count) {
		if (single->device.socket_path || single->fd_given || type->single_given(&single->device))
			return options_wrong(reader,
					     "--device: takes the place of --socket-path, --fd%s; expected only one of "
					     "both ways",
					     type->single_names);
		if (!sockets_differ(reader, options))
			return false;
		for (unsigned i = 0; i < options->device_count; i++)
			if (!type->check_device(reader, &options->devices[i], NULL, &single->device))
				return false;
	} else if (!add_single(reader, type, options, single)) {
		return false;
	}
	if (options->platform_dma_bit && options->platform_dma == VIODMA_PLATFORM_DMA_OFF)
		return options_wrong(reader, "--platform-dma-bit: with --platform-dma=off there is no such bit, "
					     "expected only one of them");
	if (options->stats_json && options->trace_json && !strcmp(options->stats_json, options->trace_json))
		return options_wrong(reader, "--stats-json and --trace-json: both are '%s', expected two files",
				     options->stats_json);
	return true;
}

bool serve_options_parse(const struct serve_type_options *type, int argc, char **argv, struct serve_options *options,
			 int *status)
{
	struct options reader = {
		.command = type->command,
		.known = type->known,
		.repeatable = SERVE_DEVICE,
		.argc = argc,
		.argv = argv,
	};
	struct single single = { .device.socket_fd = -1 };
	const char *value;
	int option, rest;

	memset(options, 0, sizeof(*options));
	options->platform_dma = VIODMA_PLATFORM_DMA_OFFER;
	options->poll_us = VIODMA_POLL_AUTO;
	/* The conventions of vhost-user's document: no other option counts then. */
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--print-capabilities")) {
			puts(type->capabilities);
			*status = 0;
			return false;
		}
	}
	*status = EXIT_USAGE;
	while ((option = options_next(&reader, &value, &rest)) != OPTIONS_END) {
		if (option == OPTIONS_WRONG)
			return false;
		if (option == SERVE_HELP || option == 'h') {
			print_help(type);
			*status = 0;
			return false;
		}
		if (!take(&reader, type, option, value, options, &single))
			return false;
	}
	if (rest < argc)
		return options_wrong(&reader, "'%s': expected only options", argv[rest]);
	return check_whole(&reader, type, options, &single);
}

void serve_options_free(struct serve_options *options)
{
	for (unsigned i = 0; i < options->device_count; i++)
		free(options->devices[i].storage);
	free(options->devices);
	options->devices = NULL;
	options->device_count = 0;
}
