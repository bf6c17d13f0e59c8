/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * drive_session.h - one use of a device, from negotiation to reset: the parts of drive_device that are made for it.
 */
#ifndef VIODMA_TOOLS_DRIVE_SESSION_H
#define VIODMA_TOOLS_DRIVE_SESSION_H

#include "tools/drive_device.h"

/* From negotiation to DRIVER_OK. Pre: connected, memory handed over. After a failure the end is due. */
enum viodma_result drive_session_begin(struct drive_device *device);

/*
 * Pre: reset, which came to *result. What had not ended ends with VIODMA_E_RESET; all that was made goes, and what it
 * came to is entered in `sessions`. *result: the first thing that went wrong.
 */
void drive_session_end(struct drive_device *device, enum viodma_result *result);

#endif
