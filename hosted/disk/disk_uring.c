/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * disk_uring.c - how it works: an attempt is one submission entry, filled when it is given and handed to the kernel by
 * kick, all of them with one system call. The completion queue is twice the size of the submission queue and at most
 * depth attempts are about, so that it cannot overflow. The ring signals the disk's event descriptor.
 *
 * A kernel short of resources may refuse a submission. What it did not take stays in the ring; the next reap kicks
 * again, and if nothing is with the kernel that could cause one, the event descriptor is signalled from here.
 *
 * Plain set-up flags: the ring is made in one thread and used in another, and the loop sleeps in epoll.
 */
#include "hosted/disk/engine.h"

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>

struct uring {
	struct io_uring ring;
	unsigned prepared; /* not taken by the kernel yet */
};

static int uring_start(struct viodma_disk *disk)
{
	struct uring *uring = calloc(1, sizeof(*uring));
	int error;

	if (!uring)
		return ENOMEM;
	error = -io_uring_queue_init(disk->depth, &uring->ring, 0);
	if (error) {
		free(uring);
		return error;
	}
	error = -io_uring_register_eventfd(&uring->ring, disk->event_fd);
	if (error) {
		io_uring_queue_exit(&uring->ring);
		free(uring);
		return error;
	}
	disk->engine_data = uring;
	return 0;
}

static void uring_stop(struct viodma_disk *disk)
{
	struct uring *uring = disk->engine_data;

	io_uring_queue_exit(&uring->ring);
	free(uring);
}

static void uring_attempt(struct viodma_disk *disk, struct viodma_disk_io *io)
{
	struct uring *uring = disk->engine_data;
	struct io_uring_sqe *entry = io_uring_get_sqe(&uring->ring);
	struct iovec *iovecs;
	unsigned count;

	if (!entry)
		abort(); /* at most depth attempts, and as many entries: our own arithmetic is wrong */
	iovecs = viodma_disk_next_iovecs(io, &count);
	switch (viodma_disk_next_operation(io)) {
	case VIODMA_DISK_READ:
		io_uring_prep_readv(entry, viodma_disk_fd(disk, io), iovecs, count, io->offset_bytes + io->moved_bytes);
		break;
	case VIODMA_DISK_WRITE:
		io_uring_prep_writev(entry, viodma_disk_fd(disk, io), iovecs, count, io->offset_bytes + io->moved_bytes);
		entry->rw_flags = viodma_disk_write_flags(disk, io);
		break;
	case VIODMA_DISK_FLUSH:
		io_uring_prep_fsync(entry, disk->fd, IORING_FSYNC_DATASYNC);
		break;
	case VIODMA_DISK_DISCARD:
	case VIODMA_DISK_ZERO:
	case VIODMA_DISK_SECURE_ERASE:
		abort(); /* the workers have them */
	}
	io_uring_sqe_set_data(entry, io);
	uring->prepared++;
}

static void uring_kick(struct viodma_disk *disk)
{
	struct uring *uring = disk->engine_data;

	while (uring->prepared) {
		int taken = io_uring_submit(&uring->ring);

		if (taken == -EINTR)
			continue;
		if (taken > 0) {
			uring->prepared -= (unsigned)taken;
			continue;
		}
		if (taken < 0 && taken != -EAGAIN && taken != -EBUSY)
			viodma_disk_log(disk, "%s: io_uring takes no requests: %s; trying again", disk->path,
					strerror(-taken));
		if (disk->with_engine == uring->prepared)
			viodma_disk_signal(disk);
		return;
	}
}

static void uring_reap(struct viodma_disk *disk)
{
	struct uring *uring = disk->engine_data;
	struct io_uring_cqe *completion;

	/* No more than were out at the start: `done` may submit, and others want their turn. */
	for (unsigned left = disk->with_engine; left && io_uring_peek_cqe(&uring->ring, &completion) == 0; left--) {
		struct viodma_disk_io *io = io_uring_cqe_get_data(completion);
		int64_t result = completion->res;

		io_uring_cqe_seen(&uring->ring, completion);
		viodma_disk_attempted(disk, io, result);
	}
}

const struct viodma_disk_engine viodma_disk_engine_uring = {
	.name = "io_uring",
	.start = uring_start,
	.stop = uring_stop,
	.attempt = uring_attempt,
	.kick = uring_kick,
	.reap = uring_reap,
};
