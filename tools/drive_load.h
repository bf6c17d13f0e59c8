/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * drive_load.h - random reads and writes of a disk, whose content is known from then on and compared at every read.
 *
 * Single owner: the device's. Units: bytes.
 */
#ifndef VIODMA_TOOLS_DRIVE_LOAD_H
#define VIODMA_TOOLS_DRIVE_LOAD_H

#include "tools/drive_device.h"

struct drive_load {
	uint64_t offset, length;          /* the part of the disk, in bytes; multiples of 512 */
	uint64_t requests, seconds, seed; /* 0: no limit of that kind */
	bool progress;                    /* on standard error */
	/* ---- what it came to ---- */
	uint64_t reads, writes, flushes;  /* ended; without the last pass */
	uint64_t read_bytes, written_bytes, verified_bytes;
	uint64_t queue_resets;
	uint64_t elapsed_ns;
};

/*
 * Do it. The device runs. Whatever was written has been read again and compared when it answers VIODMA_OK. VIODMA_E_RESET:
 * interrupted. VIODMA_E_IO: the device failed, or data differ; like every other failure it was logged.
 */
enum viodma_result drive_load_run(struct drive_device *device, struct drive_load *load);

#endif
