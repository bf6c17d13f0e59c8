/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * descriptors.c - how it works: a peer that was handed an eventfd, or handed it over, can make it blocking again and fill
 * its counter. So it is read with a flag of that one call, and written only when there is room. A peer that wins the
 * race between that look and the write blocks one thread of ours; there are simpler ways to stop a device.
 */
#include "hosted/base/descriptors.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

void viodma_descriptor_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void take_fds(struct cmsghdr *control, int *fds, unsigned fds_max, unsigned *fd_count)
{
	size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);

	for (size_t i = 0; i < count; i++) {
		int fd;

		memcpy(&fd, CMSG_DATA(control) + i * sizeof(int), sizeof(fd));
		if (*fd_count < fds_max)
			fds[*fd_count] = fd;
		else
			close(fd);
		if (*fd_count < UINT32_MAX)
			++*fd_count;
	}
}

ssize_t viodma_descriptors_receive(int socket_fd, void *data, size_t bytes, int *fds, unsigned fds_max, unsigned *fd_count)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int) * VIODMA_DESCRIPTORS_MAX)];
	} control;
	struct iovec vector = {data, bytes};
	struct msghdr header = {
		.msg_iov = &vector,
		.msg_iovlen = 1,
		.msg_control = control.space,
		.msg_controllen = sizeof(control.space),
	};
	ssize_t got;

	do
		got = recvmsg(socket_fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return got;
	for (struct cmsghdr *each = CMSG_FIRSTHDR(&header); each; each = CMSG_NXTHDR(&header, each))
		if (each->cmsg_level == SOL_SOCKET && each->cmsg_type == SCM_RIGHTS)
			take_fds(each, fds, fds_max, fd_count);
	return got;
}

void viodma_eventfd_tick(int fd)
{
	const uint64_t one = 1;
	struct pollfd room = {.fd = fd, .events = POLLOUT};

	/* No room: its counter is full, so it is signalled. Any other failure is the peer's loss. */
	if (fd < 0 || poll(&room, 1, 0) != 1 || !(room.revents & POLLOUT))
		return;
	while (write(fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

bool viodma_eventfd_take(int fd)
{
	uint64_t counter;
	struct iovec vector = {&counter, sizeof(counter)};
	ssize_t got = preadv2(fd, &vector, 1, -1, RWF_NOWAIT); /* nothing else is sure not to wait */

	if (got == 0)
		errno = 0;
	return got > 0 || (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR));
}
