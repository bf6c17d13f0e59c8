/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * descriptors.h - descriptors that a peer may hold, too: received from its socket, or eventfds both sides use. Whatever
 * the peer does to them, nothing here waits, and none leaks.
 *
 * Thread: any; each descriptor has its owner.
 */
#ifndef VIODMA_HOSTED_DESCRIPTORS_H
#define VIODMA_HOSTED_DESCRIPTORS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define VIODMA_DESCRIPTORS_MAX 253u /* the kernel's limit for one sendmsg */

/* Close and forget; -1 is none. */
void viodma_descriptor_close(int *fd);

/*
 * Receive without blocking, gathering descriptors: as recvmsg. *fd_count goes on from what it was; descriptors beyond
 * fds_max are closed, and counted.
 */
ssize_t viodma_descriptors_receive(int socket_fd, void *data, size_t bytes, int *fds, unsigned fds_max, unsigned *fd_count);

/* Add one to an eventfd, if there is room; -1 is none. */
void viodma_eventfd_tick(int fd);

/* Take what an eventfd has counted, if anything. False: it cannot be read any more; errno says why, 0: it has ended. */
bool viodma_eventfd_take(int fd);

#endif
