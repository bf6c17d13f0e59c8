/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * serve_options.h - the command line of `viodma serve TYPE`, checked.
 *
 * Strings belong to argv or to the options.
 */
#ifndef VIODMA_TOOLS_SERVE_OPTIONS_H
#define VIODMA_TOOLS_SERVE_OPTIONS_H

#include "hosted/disk/disk.h"
#include "tools/options.h"

#include <viodma/vhost_user.h>

struct serve_device_options {
	const char *socket_path; /* or NULL: socket_fd */
	int socket_fd;
	union {
		struct {
			const char *file;    /* or NULL: null_bytes */
			uint64_t null_bytes; /* of a disk without a file; 0: not said */
			bool read_only, write_through, direct;
			bool no_discard, no_write_zeroes, secure_erase;
			const char *serial;  /* or NULL */
			uint32_t blk_size, queue_count, queue_size, workers; /* 0: not said */
		} blk;
		struct {
			const char *source;
			uint32_t max_bytes; /* 0: no limit */
			uint32_t period_ms; /* 0: not said */
		} rng;
	};
	char *storage; /* what the strings of --device point into */
};

struct serve_options {
	struct serve_device_options *devices;
	unsigned device_count;
	enum viodma_platform_dma platform_dma;
	unsigned platform_dma_bit; /* 0: none */
	bool copy;
	uint32_t revoke_timeout_ms; /* 0: the library's default */
	uint32_t iotlb_entries;     /* 0: the library's default */
	uint64_t ring_features_also, ring_features_masked; /* bits of viodma/feature.h */
	uint32_t poll_us;           /* for viodma_poller_init */
	const char *stats_json, *trace_json, *test_socket; /* or NULL */
	enum viodma_disk_engine_kind io; /* blk */
};

/* Options that every device type has: rows of getopt_long's table. */
enum {
	SERVE_SOCKET_PATH = OPTIONS_FIRST,
	SERVE_FD,
	SERVE_DEVICE,
	SERVE_PLATFORM_DMA,
	SERVE_PLATFORM_DMA_BIT,
	SERVE_COPY,
	SERVE_REVOKE_TIMEOUT_MS,
	SERVE_IOTLB_ENTRIES,
	SERVE_POLL_US,
	SERVE_IN_ORDER,
	SERVE_ORDER_PLATFORM,
	SERVE_NO_PACKED,
	SERVE_STATS_JSON,
	SERVE_TRACE_JSON,
	SERVE_TEST_SOCKET,
	SERVE_HELP,
	SERVE_OF_TYPE /* those of a type begin here */
};

#ifdef VIODMA_TEST_BUILD
#define SERVE_TEST_ROW { "test-socket", required_argument, NULL, SERVE_TEST_SOCKET },
#else
#define SERVE_TEST_ROW
#endif

#define SERVE_COMMON_ROWS                                                                                             \
	{ "socket-path", required_argument, NULL, SERVE_SOCKET_PATH }, { "fd", required_argument, NULL, SERVE_FD },   \
		{ "device", required_argument, NULL, SERVE_DEVICE },                                                  \
		{ "platform-dma", required_argument, NULL, SERVE_PLATFORM_DMA },                                      \
		{ "platform-dma-bit", required_argument, NULL, SERVE_PLATFORM_DMA_BIT },                              \
		{ "copy", no_argument, NULL, SERVE_COPY },                                                            \
		{ "revoke-timeout-ms", required_argument, NULL, SERVE_REVOKE_TIMEOUT_MS },                            \
		{ "iotlb-entries", required_argument, NULL, SERVE_IOTLB_ENTRIES },                                    \
		{ "poll-us", required_argument, NULL, SERVE_POLL_US },                                                \
		{ "in-order", no_argument, NULL, SERVE_IN_ORDER },                                                    \
		{ "order-platform", no_argument, NULL, SERVE_ORDER_PLATFORM },                                        \
		{ "no-packed", no_argument, NULL, SERVE_NO_PACKED },                                                  \
		{ "stats-json", required_argument, NULL, SERVE_STATS_JSON },                                          \
		{ "trace-json", required_argument, NULL, SERVE_TRACE_JSON }, SERVE_TEST_ROW                           \
		{ "help", no_argument, NULL, SERVE_HELP }, { NULL, 0, NULL, 0 }

/* What the command line of one device type is. */
struct serve_type_options {
	const char *name;         /* "blk" */
	const char *command;      /* "viodma serve blk" */
	const char *capabilities; /* one line of JSON */
	const struct option *known;
	/* Usage, and the options of the type; those that every type has come after it. */
	const char *help;
	const char *single_names; /* options --device takes the place of, besides the socket: ", --a and --b" */
	const char *device_parts; /* parts of --device besides path= */
	/* Of its queues and requests; what is there of number and size of queues stays, where the type lets it. */
	void (*limits)(struct viodma_vhost_user_options *options);
	/* How many queues, of how many descriptors, the device is to have: into the options. NULL: as the type has them. */
	void (*queues)(const struct serve_device_options *device, struct viodma_vhost_user_options *options);
	/* Take one of the type's options: of the program, or of the one device. */
	bool (*take)(const struct options *reader, int option, const char *value, struct serve_options *options,
		     struct serve_device_options *single);
	/*
	 * Take key=value of --device; its number, 0 to 15, so that none is there twice; -1: no such key; -2: wrong, and
	 * said. value NULL: only the number.
	 */
	int (*take_part)(const struct options *reader, struct serve_device_options *device, const char *key,
			 const char *value);
	/* Is something of the one device given? Then --device may not be. */
	bool (*single_given)(const struct serve_device_options *single);
	/* A whole device; `text` is its --device, or NULL. single: what was said outside, for what it lacks. */
	bool (*check_device)(const struct options *reader, struct serve_device_options *device, const char *text,
			     const struct serve_device_options *single);
};

extern const struct serve_type_options serve_blk_options, serve_rng_options;

const char *serve_platform_dma_name(enum viodma_platform_dma policy);

/*
 * argv[0] is the type's name. True: go on. False: everything was said (help, capabilities, or what is wrong); *status
 * is the exit status. Free in either case.
 */
bool serve_options_parse(const struct serve_type_options *type, int argc, char **argv, struct serve_options *options,
			 int *status);
void serve_options_free(struct serve_options *options);

#endif
