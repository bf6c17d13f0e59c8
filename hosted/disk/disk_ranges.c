/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * disk_ranges.c - how it works: discarding, zeroing and erasing. What can be done depends on the storage and is found
 * out by trying: a method that answers "not supported" is not tried again, and the next one of the row has its turn:
 *
 *	            of a file                             of a block device
 *	discard     punch a hole; nothing                 BLKDISCARD of its whole blocks; nothing
 *	zero        zero a range; write                   BLKZEROOUT; write
 *	, unmap     punch a hole, then as above           punch a hole (it discards, and zeroes the rest), then as above
 *	erase       -                                     BLKSECDISCARD
 *
 * Methods are chosen by the disk's owner, and carried out by a thread: each of these calls may take long. Zeroes are
 * written in steps of WRITE_BYTES_MAX, so that one range does not keep a thread for itself.
 */
#include "hosted/disk/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#define ZEROES_BYTES 65536u
#define ZEROES_ALIGN 4096u
#define WRITE_PARTS 64u
#define WRITE_BYTES_MAX (ZEROES_BYTES * WRITE_PARTS)

/* Never written. Aligned for direct disks. */
static _Alignas(ZEROES_ALIGN) unsigned char zeroes[ZEROES_BYTES];

static bool is_whole(const struct viodma_disk *disk, const struct viodma_disk_io *io)
{
	return !((io->offset_bytes | io->len_bytes) & (disk->about.logical_bytes - 1));
}

static enum viodma_disk_method method_to_zero(const struct viodma_disk *disk, const struct viodma_disk_io *io)
{
	const bool *lacks = disk->method_unsupported;

	if (disk->about.block_device && !is_whole(disk, io))
		return VIODMA_DISK_WRITE_ZEROES; /* parts of blocks: the page cache sees to it */
	if (io->unmap && !lacks[VIODMA_DISK_PUNCH])
		return VIODMA_DISK_PUNCH;
	if (disk->about.block_device)
		return lacks[VIODMA_DISK_BLKZEROOUT] ? VIODMA_DISK_WRITE_ZEROES : VIODMA_DISK_BLKZEROOUT;
	return lacks[VIODMA_DISK_ZERO_RANGE] ? VIODMA_DISK_WRITE_ZEROES : VIODMA_DISK_ZERO_RANGE;
}

void viodma_disk_choose_method(const struct viodma_disk *disk, struct viodma_disk_io *io)
{
	enum viodma_disk_method method;

	if (io->operation == VIODMA_DISK_ZERO) {
		/* Once written, always written: what is left may be no whole blocks. */
		method = io->moved_bytes ? VIODMA_DISK_WRITE_ZEROES : method_to_zero(disk, io);
	} else if (io->operation == VIODMA_DISK_SECURE_ERASE) {
		method = VIODMA_DISK_BLKSECDISCARD;
	} else {
		method = disk->about.block_device ? VIODMA_DISK_BLKDISCARD : VIODMA_DISK_PUNCH;
		if (disk->method_unsupported[method])
			method = VIODMA_DISK_NOTHING;
	}
	io->method = (uint8_t)method;
	/* Zeroes are written direct if they can be; steps are multiples of any alignment. */
	io->buffered = disk->direct_bytes && (disk->direct_bytes > ZEROES_ALIGN ||
					      ((io->offset_bytes | io->len_bytes) & (disk->direct_bytes - 1)));
}

bool viodma_disk_without_method(struct viodma_disk *disk, const struct viodma_disk_io *io, int error)
{
	bool known = disk->method_unsupported[io->method]; /* this one was on its way when another found out */

	if (error != EOPNOTSUPP && error != ENOSYS && error != ENOTTY)
		return false;
	if (io->method == VIODMA_DISK_WRITE_ZEROES || io->method == VIODMA_DISK_BLKSECDISCARD)
		return false;
	disk->method_unsupported[io->method] = true;
	if (!known && io->method == (disk->about.block_device ? VIODMA_DISK_BLKDISCARD : VIODMA_DISK_PUNCH))
		viodma_disk_log(disk, "%s: nothing can be discarded here: such requests succeed, and do nothing", disk->path);
	return true;
}

static int call(int fd, unsigned long request, uint64_t offset, uint64_t bytes)
{
	uint64_t range[2] = { offset, bytes };

	return ioctl(fd, request, range);
}

/* The whole blocks of a range: a hint need not reach its edges. */
static int discard_blocks(const struct viodma_disk *disk, uint64_t offset, uint64_t bytes)
{
	const uint64_t mask = disk->about.logical_bytes - 1;
	const uint64_t first = (offset + mask) & ~mask, end = (offset + bytes) & ~mask;

	return first < end ? call(disk->fd, BLKDISCARD, first, end - first) : 0;
}

static int64_t write_zeroes(int fd, uint64_t offset, uint64_t bytes)
{
	struct iovec parts[WRITE_PARTS];
	int count = 0;
	ssize_t written;

	for (uint64_t left = bytes < WRITE_BYTES_MAX ? bytes : WRITE_BYTES_MAX; left; count++) {
		parts[count].iov_base = zeroes;
		parts[count].iov_len = left < ZEROES_BYTES ? left : ZEROES_BYTES;
		left -= parts[count].iov_len;
	}
	written = pwritev(fd, parts, count, (off_t)offset);
	return written < 0 ? -errno : written;
}

int64_t viodma_disk_range_attempt(const struct viodma_disk *disk, const struct viodma_disk_io *io)
{
	const uint64_t offset = io->offset_bytes + io->moved_bytes, bytes = io->len_bytes - io->moved_bytes;
	int result = 0;

	switch ((enum viodma_disk_method)io->method) {
	case VIODMA_DISK_WRITE_ZEROES:
		return write_zeroes(viodma_disk_fd(disk, io), offset, bytes);
	case VIODMA_DISK_PUNCH:
		result = fallocate(disk->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)bytes);
		break;
	case VIODMA_DISK_ZERO_RANGE:
		result = fallocate(disk->fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)bytes);
		break;
	case VIODMA_DISK_BLKDISCARD:
		result = discard_blocks(disk, offset, bytes);
		break;
	case VIODMA_DISK_BLKZEROOUT:
		result = call(disk->fd, BLKZEROOUT, offset, bytes);
		break;
	case VIODMA_DISK_BLKSECDISCARD:
		result = disk->about.block_device ? call(disk->fd, BLKSECDISCARD, offset, bytes) : (errno = EOPNOTSUPP, -1);
		break;
	case VIODMA_DISK_NOTHING:
	case VIODMA_DISK_METHODS:
		break;
	}
	return result < 0 ? -errno : (int64_t)bytes;
}
