/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * drive_options.c - how it works: options may stand before, between and after the command's own words, until "--". Each
 * value is checked where it is taken; what concerns several is checked at the end.
 */
#include "tools/drive_options.h"

#include "tools/commands.h"
#include "tools/options.h"

#include <viodma/platform.h>
#include <viodma/poller.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SECTOR_BYTES 512u
#define PAGE_BYTES 4096u
#define POOL_BYTES_LEAST (64u * 1024)
#define POOL_BYTES_MOST (UINT64_C(1) << 32)
#define REQUEST_BYTES_MOST (64u * 1024 * 1024)
#define IN_FLIGHT_BYTES_MOST (UINT64_C(16) << 30)
#define TIMEOUT_MS_MOST 3600000u
#define SECONDS_MOST 1000000u
#define REQUESTS_DEFAULT 10000u
#define WORDS_MOST 3

static const char *const domain_names[] = { "direct",       "offset",     "bounce", "iommu",
					    "bounce+iommu", "restricted", "own" };

static const struct {
	const char *name;
	unsigned least, most; /* words, itself included */
	const char *after;
} commands[] = {
	[DRIVE_INFO] = { "info", 1, 1, "nothing" },
	[DRIVE_READ] = { "read", 2, 2, "FILE" },
	[DRIVE_WRITE] = { "write", 2, 2, "FILE" },
	[DRIVE_VERIFY] = { "verify", 2, 2, "FILE" },
	[DRIVE_COPY] = { "copy", 3, 3, "FROM TO" },
	[DRIVE_STRAY] = { "stray", 1, 2, "at most an ADDRESS" },
	[DRIVE_LOAD] = { "load", 1, 1, "nothing" },
	[DRIVE_DISCARD] = { "discard", 1, 1, "nothing" },
	[DRIVE_WRITE_ZEROES] = { "write-zeroes", 1, 1, "nothing" },
	[DRIVE_SECURE_ERASE] = { "secure-erase", 1, 1, "nothing" },
	[DRIVE_LIFETIME] = { "lifetime", 1, 1, "nothing" },
	[DRIVE_CACHE] = { "cache", 2, 2, "writeback or writethrough" },
};
#define COMMANDS ((int)(sizeof(commands) / sizeof(commands[0])))
#define COMMAND_NAMES                                                                                                 \
	"info, read, write, verify, copy, stray, load, discard, write-zeroes, secure-erase, lifetime or cache"

enum {
	SOCKET_PATH = OPTIONS_FIRST,
	FD,
	DOMAIN,
	PLATFORM,
	POOL,
	POOL_MAX,
	IOMMU_MODE,
	REQUIRE_PLATFORM_DMA,
	POOL_AT_PHYSICAL,
	DECLINE_PLATFORM_DMA,
	PLATFORM_DMA_BIT,
	STRICT,
	DEBUG_DMA,
	QUEUES,
	DEPTH,
	REQUEST,
	OFFSET,
	LENGTH,
	RESTRICT_AFTER,
	TIMEOUT_MS,
	NO_INDIRECT,
	NO_EVENT_IDX,
	PACKED,
	SPLIT,
	IN_ORDER,
	NO_RING_RESET,
	INBAND,
	RECONNECT_MS,
	POLL_US,
	REQUESTS,
	SECONDS,
	SEED,
	UNMAP,
	QUIET,
	STATS_JSON,
	CANARY,
	HELP,
};

static const struct option known[] = {
	{ "socket-path", required_argument, NULL, SOCKET_PATH },
	{ "fd", required_argument, NULL, FD },
	{ "domain", required_argument, NULL, DOMAIN },
	{ "platform", required_argument, NULL, PLATFORM },
	{ "pool", required_argument, NULL, POOL },
	{ "pool-max", required_argument, NULL, POOL_MAX },
	{ "iommu-mode", required_argument, NULL, IOMMU_MODE },
	{ "require-platform-dma", no_argument, NULL, REQUIRE_PLATFORM_DMA },
	{ "pool-at-physical", no_argument, NULL, POOL_AT_PHYSICAL },
	{ "decline-platform-dma", no_argument, NULL, DECLINE_PLATFORM_DMA },
	{ "platform-dma-bit", required_argument, NULL, PLATFORM_DMA_BIT },
	{ "strict", no_argument, NULL, STRICT },
	{ "debug-dma", no_argument, NULL, DEBUG_DMA },
	{ "queues", required_argument, NULL, QUEUES },
	{ "depth", required_argument, NULL, DEPTH },
	{ "request", required_argument, NULL, REQUEST },
	{ "offset", required_argument, NULL, OFFSET },
	{ "length", required_argument, NULL, LENGTH },
	{ "restrict-after", required_argument, NULL, RESTRICT_AFTER },
	{ "timeout-ms", required_argument, NULL, TIMEOUT_MS },
	{ "no-indirect", no_argument, NULL, NO_INDIRECT },
	{ "no-event-idx", no_argument, NULL, NO_EVENT_IDX },
	{ "packed", no_argument, NULL, PACKED },
	{ "split", no_argument, NULL, SPLIT },
	{ "in-order", no_argument, NULL, IN_ORDER },
	{ "no-ring-reset", no_argument, NULL, NO_RING_RESET },
	{ "inband", no_argument, NULL, INBAND },
	{ "reconnect-ms", required_argument, NULL, RECONNECT_MS },
	{ "poll-us", required_argument, NULL, POLL_US },
	{ "requests", required_argument, NULL, REQUESTS },
	{ "seconds", required_argument, NULL, SECONDS },
	{ "seed", required_argument, NULL, SEED },
	{ "unmap", no_argument, NULL, UNMAP },
	{ "quiet", no_argument, NULL, QUIET },
	{ "stats-json", required_argument, NULL, STATS_JSON },
#ifdef VIODMA_TEST_BUILD
	{ "canary", no_argument, NULL, CANARY },
#endif
	{ "help", no_argument, NULL, HELP },
	{ NULL, 0, NULL, 0 },
};

static const char help[] =
	"usage: viodma drive blk --socket-path PATH | --fd N  [OPTION]...  COMMAND\n"
	"\n"
	"The driver half of virtio-blk, against any vhost-user back end: this program is the VM, its memory the VM's.\n"
	"\n"
	"commands\n"
	"  info                      what the device is, and what was agreed on with it\n"
	"  read FILE                 copy the disk to a file; -: to standard output\n"
	"  write FILE                copy a file to the disk\n"
	"  verify FILE               compare the disk with a file\n"
	"  copy FROM TO              copy --length bytes of the disk from one byte offset to another\n"
	"  stray [ADDRESS]           have the device access what nobody granted it, and say what it did\n"
	"  load                      random reads and writes; whatever was written is read again, and compared\n"
	"  discard                   say that --length bytes of the disk are not needed any more\n"
	"  write-zeroes              make --length bytes of the disk zeroes, without moving them\n"
	"  secure-erase              erase --length bytes of the disk, with whatever copies there are\n"
	"  lifetime                  how worn the storage is\n"
	"  cache MODE                writeback: writes are durable after a flush; writethrough: when they end\n"
	"\n"
	"the device\n"
	"  --socket-path PATH        connect to this Unix socket\n"
	"  --fd N                    or use this inherited socket, connected\n"
	"  --queues N                use so many queues, as far as the device has them (default 1)\n"
	"  --no-indirect             do not use indirect descriptors\n"
	"  --no-event-idx            do not use event indices\n"
	"  --packed                  packed rings, or none; by default where the device offers them\n"
	"  --split                   split rings\n"
	"  --in-order                ask the device to complete requests in order, where it offers that\n"
	"  --no-ring-reset           do not reset single rings\n"
	"  --inband                  kicks and calls are messages, where the back end can: for tests\n"
	"  --reconnect-ms N          when the back end goes, wait so long for its successor, and go on\n"
	"  --poll-us auto|N          look for completions so long before sleeping; 0: sleep at once (default auto)\n"
	"  --timeout-ms N            how long the device may take for anything (default 10000)\n"
	"  --strict                  a used length that is too large is an error; else it is cut and counted\n"
	"\n"
	"the platform\n"
	"  --domain KIND             direct (default), offset, bounce, iommu, bounce+iommu, restricted\n"
	"  --platform TEXT           or this description (viodma-platform-dma(7))\n"
	"  --pool SIZE               memory for rings and for bouncing (default 8M)\n"
	"  --pool-max SIZE           let it grow up to this\n"
	"  --iommu-mode MODE         strict (default), or deferred: invalidations are put off, a weaker promise\n"
	"  --restrict-after N        after N requests devices reach the pool alone, and the transfer goes on\n"
	"  --debug-dma               check every use of the DMA interface; reports make the exit status 1\n"
#ifdef VIODMA_TEST_BUILD
	"  --canary                  test build: mark private memory, and look for the marks in what is shared\n"
#endif
	"\n"
	"feature bit 33\n"
	"  --require-platform-dma    refuse a device that does not offer it\n"
	"  --pool-at-physical        bounce, restricted: without it run in the pool, at physical addresses (weaker)\n"
	"  --decline-platform-dma    do not accept it where that is possible\n"
	"  --platform-dma-bit N      know this bit, 41 to 63, as its alternative: a number nobody has assigned\n"
	"\n"
	"the transfer\n"
	"  --offset BYTES            where on the disk it begins (default 0)\n"
	"  --length BYTES            how much (default: all of the file, or the rest of the disk)\n"
	"  --request SIZE            bytes of a request (default 128K)\n"
	"  --depth N                 requests in flight (default 32)\n"
	"  --requests N              load: end after so many (default 10000, or --seconds)\n"
	"  --seconds N               load: end after this time\n"
	"  --seed N                  load: which requests (default 1)\n"
	"  --unmap                   write-zeroes: the device may give the room back\n"
	"  --quiet                   show no progress\n"
	"  --stats-json FILE         write statistics there at the end\n"
	"\n"
	"  --help                    print this and exit\n"
	"\n"
	"exit status: 0 done; 1 failed, or the device broke a rule; 2 the command line; 3 refused by a rule.\n";

const char *drive_domain_name(enum drive_domain domain)
{
	return domain_names[domain];
}

const char *drive_command_name(enum drive_command command)
{
	return commands[command].name;
}

void drive_options_init(struct drive_options *options)
{
	*options = (struct drive_options){
		.socket_fd = -1,
		.pool_bytes = 8u << 20,
		.queues = 1,
		.depth = 32,
		.request_bytes = 128u << 10,
		.timeout_ms = 10000,
		.poll_us = VIODMA_POLL_AUTO,
		.seed = 1,
		.length = DRIVE_LENGTH_REST,
	};
}

/* ---- values ---- */

/* The index of text among names; -1: none of them. */
static int find(const char *text, const char *const *names, int count)
{
	for (int i = 0; i < count; i++)
		if (!strcmp(text, names[i]))
			return i;
	return -1;
}

static bool take_domain(const struct options *reader, const char *text, struct drive_options *options)
{
	const int found = find(text, domain_names, DRIVE_DOMAINS);

	if (found < 0)
		return options_wrong(reader,
				     "--domain: '%s', expected direct, offset, bounce, iommu, bounce+iommu or "
				     "restricted",
				     text);
	options->domain = (enum drive_domain)found;
	return true;
}

static bool take_platform(const struct options *reader, const char *text, struct drive_options *options)
{
	struct viodma_platform platform;
	const char *what = NULL;
	uint32_t where = 0;

	if (viodma_platform_parse(text, &platform, &where, &what) != VIODMA_OK)
		return options_wrong(reader, "--platform: at '%.40s': %s", text + where, what);
	if (platform.kind == VIODMA_PLATFORM_OFFSET && !platform.window_count)
		return options_wrong(reader, "--platform: kind=offset without window=, expected at least one");
	options->platform = text;
	return true;
}

static bool take_mode(const struct options *reader, const char *text, struct drive_options *options)
{
	if (strcmp(text, "strict") && strcmp(text, "deferred"))
		return options_wrong(reader, "--iommu-mode: '%s', expected strict or deferred", text);
	options->deferred = !strcmp(text, "deferred");
	return true;
}

static bool take_sectors(const struct options *reader, const char *name, const char *text, uint64_t least,
			 uint64_t most, uint64_t *bytes)
{
	if (!options_size(reader, name, text, least, most, bytes))
		return false;
	if (*bytes % SECTOR_BYTES)
		return options_wrong(reader, "%s: '%s', expected a multiple of 512", name, text);
	return true;
}

static bool take_pages(const struct options *reader, const char *name, const char *text, uint64_t *bytes)
{
	if (!options_size(reader, name, text, POOL_BYTES_LEAST, POOL_BYTES_MOST, bytes))
		return false;
	if (*bytes % PAGE_BYTES)
		return options_wrong(reader, "%s: '%s', expected a multiple of 4096", name, text);
	return true;
}

static bool take_flag(int option, struct drive_options *options)
{
	switch (option) {
	case REQUIRE_PLATFORM_DMA:
		return options->require_platform_dma = true;
	case POOL_AT_PHYSICAL:
		return options->pool_at_physical = true;
	case DECLINE_PLATFORM_DMA:
		return options->decline_platform_dma = true;
	case STRICT:
		return options->strict = true;
	case DEBUG_DMA:
		return options->debug = true;
	case NO_INDIRECT:
		return options->no_indirect = true;
	case NO_EVENT_IDX:
		return options->no_event_idx = true;
	case PACKED:
		return options->packed = true;
	case SPLIT:
		return options->split = true;
	case IN_ORDER:
		return options->in_order = true;
	case NO_RING_RESET:
		return options->no_ring_reset = true;
	case INBAND:
		return options->inband = true;
	case UNMAP:
		return options->unmap = true;
	case QUIET:
		return options->quiet = true;
	case CANARY:
		return options->canary = true;
	default:
		return false;
	}
}

static bool take(const struct options *reader, int option, const char *value, struct drive_options *options)
{
	uint32_t number;
	uint64_t bytes;

	switch (option) {
	case SOCKET_PATH:
		return options_socket_path(reader, "--socket-path", value, &options->socket_path);
	case FD:
		return options_socket_fd(reader, value, &options->socket_fd);
	case DOMAIN:
		return take_domain(reader, value, options);
	case PLATFORM:
		return take_platform(reader, value, options);
	case POOL:
		return take_pages(reader, "--pool", value, &options->pool_bytes);
	case POOL_MAX:
		return take_pages(reader, "--pool-max", value, &options->pool_max_bytes);
	case IOMMU_MODE:
		return take_mode(reader, value, options);
	case PLATFORM_DMA_BIT:
		if (!options_number(reader, "--platform-dma-bit", value, 41, 63, &number))
			return false;
		options->platform_dma_bit = number;
		return true;
	case QUEUES:
		return options_number(reader, "--queues", value, 1, 16, &options->queues);
	case DEPTH:
		return options_number(reader, "--depth", value, 1, 1024, &options->depth);
	case REQUEST:
		if (!take_sectors(reader, "--request", value, SECTOR_BYTES, REQUEST_BYTES_MOST, &bytes))
			return false;
		options->request_bytes = (uint32_t)bytes;
		return true;
	case OFFSET:
		return take_sectors(reader, "--offset", value, 0, INT64_MAX, &options->offset);
	case LENGTH:
		return take_sectors(reader, "--length", value, SECTOR_BYTES, INT64_MAX, &options->length);
	case RESTRICT_AFTER:
		if (!options_number(reader, "--restrict-after", value, 1, UINT32_MAX, &number))
			return false;
		options->restrict_after = number;
		return true;
	case TIMEOUT_MS:
		return options_number(reader, "--timeout-ms", value, 1, TIMEOUT_MS_MOST, &options->timeout_ms);
	case RECONNECT_MS:
		return options_number(reader, "--reconnect-ms", value, 1, TIMEOUT_MS_MOST, &options->reconnect_ms);
	case POLL_US:
		return options_poll_us(reader, value, &options->poll_us);
	case REQUESTS:
		return options_number(reader, "--requests", value, 1, UINT32_MAX, &options->requests);
	case SECONDS:
		return options_number(reader, "--seconds", value, 1, SECONDS_MOST, &options->seconds);
	case SEED:
		return options_number(reader, "--seed", value, 0, UINT32_MAX, &options->seed);
	case STATS_JSON:
		return options_path(reader, "--stats-json", value, &options->stats_json);
	default:
		return take_flag(option, options) ||
		       options_wrong(reader, "internal: option %d is not handled", option);
	}
}

/* ---- the command ---- */

static bool take_command(const struct options *reader, char **words, unsigned count, struct drive_options *options)
{
	int found = 0;

	if (!count)
		return options_wrong(reader, "expected a command: " COMMAND_NAMES "; see %s --help", reader->command);
	while (found < COMMANDS && strcmp(words[0], commands[found].name) != 0)
		found++;
	if (found == COMMANDS)
		return options_wrong(reader, "unknown command '%s', expected " COMMAND_NAMES, words[0]);
	if (count < commands[found].least || count > commands[found].most)
		return options_wrong(reader, "%s: expected %s after it", words[0], commands[found].after);
	options->command = (enum drive_command)found;
	switch (options->command) {
	case DRIVE_READ:
	case DRIVE_WRITE:
	case DRIVE_VERIFY:
		return options_path(reader, words[0], words[1], &options->file);
	case DRIVE_COPY:
		return take_sectors(reader, "copy: FROM", words[1], 0, INT64_MAX, &options->from) &&
		       take_sectors(reader, "copy: TO", words[2], 0, INT64_MAX, &options->to);
	case DRIVE_STRAY:
		options->address_given = count == 2;
		return count == 1 || options_size(reader, "stray: ADDRESS", words[1], 0, UINT64_MAX, &options->address);
	case DRIVE_CACHE:
		options->writeback = !strcmp(words[1], "writeback");
		return options->writeback || !strcmp(words[1], "writethrough") ||
		       options_wrong(reader, "cache: '%s', expected writeback or writethrough", words[1]);
	default:
		return true;
	}
}

/* What destroys is told how much. */
static bool check_ranges(const struct options *reader, const struct drive_options *options)
{
	const enum drive_command command = options->command;

	if (options->unmap && command != DRIVE_WRITE_ZEROES)
		return options_wrong(reader, "--unmap: has a meaning for write-zeroes only");
	if ((command == DRIVE_DISCARD || command == DRIVE_WRITE_ZEROES || command == DRIVE_SECURE_ERASE) &&
	    options->length == DRIVE_LENGTH_REST)
		return options_wrong(reader, "%s: expected --length as well", drive_command_name(command));
	return true;
}

static bool check_copy(const struct options *reader, const struct drive_options *options)
{
	const uint64_t apart = options->from < options->to ? options->to - options->from : options->from - options->to;

	if (options->length == DRIVE_LENGTH_REST)
		return options_wrong(reader, "copy: expected --length as well");
	if (options->offset)
		return options_wrong(reader, "--offset: has no meaning for copy, expected FROM and TO alone");
	if (apart < options->length)
		return options_wrong(reader, "copy: %" PRIu64 " bytes from %" PRIu64 " to %" PRIu64
					     " overlap, expected ranges that do not",
				     options->length, options->from, options->to);
	return true;
}

static bool check_load(const struct options *reader, struct drive_options *options)
{
	const bool limited = options->requests || options->seconds;

	if (options->command != DRIVE_LOAD)
		return !limited || options_wrong(reader, "--requests, --seconds: have a meaning for load only");
	if (options->restrict_after)
		return options_wrong(reader, "--restrict-after: has no meaning for load");
	if (!limited)
		options->requests = REQUESTS_DEFAULT;
	return true;
}

static bool check_ring(const struct options *reader, const struct drive_options *options)
{
	if (options->packed && options->split)
		return options_wrong(reader, "--packed and --split: expected only one of them");
	if (options->reconnect_ms && !options->socket_path)
		return options_wrong(reader, "--reconnect-ms: expected --socket-path, where a successor can be found");
	return true;
}

static bool check_whole(const struct options *reader, struct drive_options *options)
{
	const bool named = reader->seen >> (DOMAIN - OPTIONS_FIRST) & 1;

	if (options->socket_path && options->socket_fd >= 0)
		return options_wrong(reader, "--socket-path and --fd: expected only one of them");
	if (!options->socket_path && options->socket_fd < 0)
		return options_wrong(reader, "expected one of --socket-path PATH and --fd N; see %s --help",
				     reader->command);
	if (options->platform && named)
		return options_wrong(reader, "--platform and --domain: expected only one of them");
	if (options->platform)
		options->domain = DRIVE_OWN;
	if (!options->pool_max_bytes)
		options->pool_max_bytes = options->pool_bytes;
	if (options->pool_max_bytes < options->pool_bytes)
		return options_wrong(reader, "--pool-max: %" PRIu64 ", expected at least --pool, %" PRIu64,
				     options->pool_max_bytes, options->pool_bytes);
	if ((uint64_t)options->request_bytes * options->depth > IN_FLIGHT_BYTES_MOST)
		return options_wrong(reader,
				     "--request and --depth: %" PRIu32 " times %" PRIu32 " bytes, expected at most 16G",
				     options->depth, options->request_bytes);
	if (options->require_platform_dma && (options->decline_platform_dma || options->pool_at_physical))
		return options_wrong(reader, "--require-platform-dma: contradicts %s, expected only one of them",
				     options->decline_platform_dma ? "--decline-platform-dma" : "--pool-at-physical");
	return check_ring(reader, options) && check_load(reader, options) && check_ranges(reader, options) &&
	       (options->command != DRIVE_COPY || check_copy(reader, options));
}

bool drive_options_parse(int argc, char **argv, struct drive_options *options, int *status)
{
	struct options reader = { .command = "viodma drive blk", .known = known, .argc = argc, .argv = argv };
	char *words[WORDS_MOST];
	unsigned count = 0;
	const char *value;
	int option, rest;

	drive_options_init(options);
	*status = EXIT_USAGE;
	for (;;) {
		option = options_next(&reader, &value, &rest);
		if (option == OPTIONS_WRONG)
			return false;
		if (option == HELP || option == 'h') {
			fputs(help, stdout);
			*status = 0;
			return false;
		}
		if (option != OPTIONS_END) {
			if (!take(&reader, option, value, options))
				return false;
			continue;
		}
		if (rest == argc)
			break;
		if (count == WORDS_MOST)
			return options_wrong(&reader, "'%s': one word too many", argv[rest]);
		words[count++] = argv[rest];
		optind = rest + 1;
	}
	return take_command(&reader, words, count, options) && check_whole(&reader, options);
}
