/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * serve_options.h - the command line of `viodma serve blk`, checked.
 *
 * Strings belong to argv or to the options.
 */
#ifndef VIODMA_TOOLS_SERVE_OPTIONS_H
#define VIODMA_TOOLS_SERVE_OPTIONS_H

#include "hosted/disk/disk.h"

#include <viodma/feature.h>

struct serve_device_options {
	const char *socket_path; /* or NULL: socket_fd */
	int socket_fd;
	const char *file;
	bool read_only;
	const char *serial; /* or NULL */
	uint32_t blk_size;
	char *storage; /* what the strings of --device point into */
};

struct serve_options {
	struct serve_device_options *devices;
	unsigned device_count;
	enum viodma_platform_dma platform_dma;
	enum viodma_disk_engine_kind io;
	bool copy;
	uint32_t revoke_timeout_ms; /* 0: the library's default */
	uint32_t iotlb_entries;     /* 0: the library's default */
	const char *stats_json, *trace_json, *test_socket; /* or NULL */
};

const char *serve_platform_dma_name(enum viodma_platform_dma policy);

/*
 * argv[0] is "blk". True: go on. False: everything was said (help, capabilities, or what is wrong); *status is the exit
 * status. Free in either case.
 */
bool serve_options_parse(int argc, char **argv, struct serve_options *options, int *status);
void serve_options_free(struct serve_options *options);

#endif
