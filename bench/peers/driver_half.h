/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver_half.h - what driver_half.c asks of each driver half. No header of anybody's: they do not stand each other.
 */
#ifndef DRIVER_HALF_H
#define DRIVER_HALF_H

#include <stdbool.h>
#include <stdint.h>

#define DRIVER_HALF_RING 256u
#define DRIVER_HALF_BYTES 64u

struct driver_half_parts {
	void *desc, *avail, *used; /* packed: descriptors, driver's and device's event suppression */
};

struct driver_half {
	const char *name;
	bool (*make)(bool packed, struct driver_half_parts *parts);
	/* Make so many buffers available, show them, and look whether the device wants to hear of it. */
	bool (*send)(uint32_t count);
	/* Take back what was used: how many; then ask for a call. */
	uint32_t (*collect)(void);
	void (*end)(void);
};

extern const struct driver_half driver_half_linux, driver_half_viodma;

#endif
