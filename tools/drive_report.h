/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * drive_report.h - what a device is and what was agreed on, for a reader; what was counted, as JSON (viodma-drive(1)).
 */
#ifndef VIODMA_TOOLS_DRIVE_REPORT_H
#define VIODMA_TOOLS_DRIVE_REPORT_H

#include "tools/drive_device.h"
#include "tools/drive_load.h"
#include "tools/drive_transfer.h"

/* To standard output. id: VIODMA_DRIVER_BLK_ID_BYTES, padded with NUL; NULL: the device has none. */
void drive_report_info(const struct drive_device *device, const char *id);

struct drive_report {
	const struct drive_device *device;     /* closed */
	const struct drive_transfer *transfer; /* NULL: there was none */
	const struct drive_load *load;         /* likewise */
	int status;                            /* the exit status */
};

/* Replace the file at `path` as a whole. False: errno says why. */
bool drive_report_write(const char *path, const struct drive_report *report);

#endif
