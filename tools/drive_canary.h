/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * drive_canary.h - test build only: is there anything of private memory in what is shared?
 *
 * Private memory is filled with a pattern wherever no data lies. Whatever the pool holds is looked through at random
 * moments, and at the end: the pattern is nowhere in it, unless it was copied out of private memory beyond a mapping.
 *
 * In a sound build there is nothing behind these functions.
 */
#ifndef VIODMA_TOOLS_DRIVE_CANARY_H
#define VIODMA_TOOLS_DRIVE_CANARY_H

#include "tools/drive_device.h"

struct drive_canary {
	struct drive_device *device; /* NULL: not asked for */
	uint64_t scans, random;
};

#ifdef VIODMA_TEST_BUILD
/* Mark all private memory. */
void drive_canary_init(struct drive_canary *canary, struct drive_device *device);
/* Mark bytes of it that hold data no more. */
void drive_canary_mark(const struct drive_canary *canary, uint64_t offset, uint64_t len_bytes);
/* Look. VIODMA_E_MISUSE: it was found, and logged. */
enum viodma_result drive_canary_scan(struct drive_canary *canary);
/* Look, one time of several. */
enum viodma_result drive_canary_sometimes(struct drive_canary *canary);
/* Look for the last time, and say how often. */
enum viodma_result drive_canary_end(struct drive_canary *canary);
#else
static inline void drive_canary_init(struct drive_canary *canary, struct drive_device *device)
{
	(void)device;
	canary->device = NULL;
}
static inline void drive_canary_mark(const struct drive_canary *canary, uint64_t offset, uint64_t len_bytes)
{
	(void)canary, (void)offset, (void)len_bytes;
}
static inline enum viodma_result drive_canary_scan(struct drive_canary *canary)
{
	(void)canary;
	return VIODMA_OK;
}
static inline enum viodma_result drive_canary_sometimes(struct drive_canary *canary)
{
	(void)canary;
	return VIODMA_OK;
}
static inline enum viodma_result drive_canary_end(struct drive_canary *canary)
{
	(void)canary;
	return VIODMA_OK;
}
#endif

#endif
