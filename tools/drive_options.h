/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * drive_options.h - the command line of `viodma drive blk`, checked.
 *
 * Strings belong to argv.
 */
#ifndef VIODMA_TOOLS_DRIVE_OPTIONS_H
#define VIODMA_TOOLS_DRIVE_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

enum drive_command {
	DRIVE_INFO,
	DRIVE_READ,
	DRIVE_WRITE,
	DRIVE_VERIFY,
	DRIVE_COPY,
	DRIVE_STRAY,
	DRIVE_LOAD,
	DRIVE_DISCARD,
	DRIVE_WRITE_ZEROES,
	DRIVE_SECURE_ERASE,
	DRIVE_LIFETIME,
	DRIVE_CACHE
};

/* The platforms that have a name (drive_platform.c says what they are), and one of the user's. */
enum drive_domain {
	DRIVE_DIRECT,
	DRIVE_OFFSET,
	DRIVE_BOUNCE,
	DRIVE_IOMMU,
	DRIVE_BOUNCE_IOMMU,
	DRIVE_RESTRICTED,
	DRIVE_OWN
};
#define DRIVE_DOMAINS 6

#define DRIVE_LENGTH_REST UINT64_MAX

struct drive_options {
	enum drive_command command;
	const char *file;             /* READ, WRITE, VERIFY; READ: "-" is standard output */
	uint64_t from, to;            /* COPY: bytes on the disk */
	bool unmap;                   /* WRITE_ZEROES */
	bool writeback;               /* CACHE */
	bool address_given;           /* STRAY */
	uint64_t address;
	const char *socket_path;      /* or NULL: socket_fd */
	int socket_fd;
	enum drive_domain domain;
	const char *platform;         /* DRIVE_OWN */
	uint64_t pool_bytes, pool_max_bytes;
	bool deferred;
	bool require_platform_dma, pool_at_physical, decline_platform_dma;
	unsigned platform_dma_bit;    /* 0: none */
	bool strict, debug, no_indirect, no_event_idx, quiet, canary;
	bool packed, split, in_order, no_ring_reset, inband;
	uint32_t queues, depth, request_bytes, timeout_ms, reconnect_ms, poll_us;
	uint32_t requests, seconds, seed; /* LOAD; 0: no limit of that kind, and one stands */
	uint64_t offset, length;      /* DRIVE_LENGTH_REST: not said */
	uint64_t restrict_after;      /* 0: never */
	const char *stats_json;       /* or NULL */
};

const char *drive_domain_name(enum drive_domain domain);
const char *drive_command_name(enum drive_command command);

/* As if nothing was said: the defaults. */
void drive_options_init(struct drive_options *options);

/* argv[0] is "blk". True: go on. False: everything was said; *status is the exit status. */
bool drive_options_parse(int argc, char **argv, struct drive_options *options, int *status);

#endif
