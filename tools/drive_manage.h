/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * drive_manage.h - the commands of `viodma drive blk` that move no data: discard, write-zeroes, secure-erase, lifetime,
 * cache.
 */
#ifndef VIODMA_TOOLS_DRIVE_MANAGE_H
#define VIODMA_TOOLS_DRIVE_MANAGE_H

#include "tools/drive_device.h"

bool drive_manages(enum drive_command command);

/* Do it; the device runs. What fails was logged. VIODMA_E_UNSUPPORTED: the device does not offer it. */
enum viodma_result drive_manage(struct drive_device *device);

#endif
