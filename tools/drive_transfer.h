/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * drive_transfer.h - bytes between a disk and a file, or two places of the disk, with many requests in flight.
 *
 * Single owner: the device's. Units: bytes.
 */
#ifndef VIODMA_TOOLS_DRIVE_TRANSFER_H
#define VIODMA_TOOLS_DRIVE_TRANSFER_H

#include "tools/drive_device.h"

struct drive_transfer {
	enum drive_command command; /* READ, WRITE, VERIFY, COPY */
	int fd;                     /* READ: written in order; WRITE, VERIFY: read at any place; COPY: not used */
	const char *file;           /* its name, for messages */
	uint64_t disk_from, disk_to; /* COPY: both; the others: disk_from */
	uint64_t length;
	uint64_t restrict_after;    /* requests; 0: never */
	bool progress;              /* on standard error */
	/* ---- what it came to ---- */
	uint64_t requests, moved;   /* ended; bytes done */
	uint64_t elapsed_ns;
};

/* Private memory that a transfer of these options uses: a multiple of 4096. */
uint64_t drive_transfer_private_bytes(const struct drive_options *options);

/* Where in private memory the buffer of one of its requests is, from 0 to depth - 1. */
uint64_t drive_transfer_slot_at(const struct drive_options *options, uint64_t number);

/*
 * Do it; a write or copy is flushed. The device runs. VIODMA_E_RESET: interrupted. VIODMA_E_IO: the device or the file
 * failed, or data differ; like every other failure it was logged.
 */
enum viodma_result drive_transfer_run(struct drive_device *device, struct drive_transfer *transfer);

#endif
