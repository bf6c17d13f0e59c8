/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * demo_device.h - the device half of the demonstration: a process of its own, which serves a disk over a socket pair.
 *
 * It is forked before the driver half has any memory, so what it holds of that it was handed. Single owner.
 */
#ifndef VIODMA_TOOLS_DEMO_DEVICE_H
#define VIODMA_TOOLS_DEMO_DEVICE_H

#include <viodma/vhost_user.h>

#include <sys/types.h>

struct demo_device {
	const char *name;
	pid_t pid;  /* 0: there is none */
	int socket; /* the driver half's end, connected; -1: it has gone to somebody else */
	int image;  /* the disk: a file without a name */
	int report; /* where the device says what it counted, at its end */
};

/* What of somebody's memory a process has mapped. */
struct demo_maps {
	uint64_t memfd_bytes;   /* of any memfd */
	uint64_t private_bytes; /* of these two */
	uint64_t pool_bytes;
};

/* Begin one. offer: bit 33. False: why was logged, and nothing is left. */
bool demo_device_start(struct demo_device *device, const char *name, uint64_t disk_bytes, bool offer);

/* Which of these memfds it has mapped now; private_fd -1: there is no such memfd. False: why was logged. */
bool demo_device_maps(const struct demo_device *device, int private_fd, int pool_fd, struct demo_maps *maps);

/*
 * It ends when its front end has gone: wait for that, and for what it counted. A device that does not end is killed.
 * False: it did not end as it should, which was logged.
 */
bool demo_device_end(struct demo_device *device, struct viodma_vhost_user_statistics *statistics);

#endif
