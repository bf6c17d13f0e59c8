/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * drive_stray.h - one access that nobody granted: a request whose data segment is not what a mapping made.
 */
#ifndef VIODMA_TOOLS_DRIVE_STRAY_H
#define VIODMA_TOOLS_DRIVE_STRAY_H

#include "tools/drive_device.h"

struct drive_stray {
	viodma_bus bus;
	bool expected;       /* the device reaches it: by its platform, or because bit 33 is clear */
	bool reached;
	uint32_t bytes;      /* that it wrote there */
	const char *how;     /* it was refused: "IOERR", ... */
	enum viodma_result reason; /* the platform was asked for it, and refused; VIODMA_OK: it was not asked */
};

/* The address of private memory that is not mapped, as a device would find it, or as nothing leads to it. */
viodma_bus drive_stray_private(const struct drive_device *device);
/* An address of no memory at all. */
viodma_bus drive_stray_nowhere(void);

/*
 * Have the device write a sector there. Afterwards driver_blk cannot be used: close the device. VIODMA_OK: whatever the
 * device did, it is in *stray. Otherwise it could not be tried, which was logged.
 */
enum viodma_result drive_stray_try(struct drive_device *device, viodma_bus bus, struct drive_stray *stray);

/* Is it as it must be? *text: a sentence about it. */
bool drive_stray_describe(const struct drive_device *device, const struct drive_stray *stray, char *text, size_t bytes);

#endif
