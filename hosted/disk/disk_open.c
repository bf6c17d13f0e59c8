/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * disk_open.c - how it works: a path becomes descriptors: checked for what it is before and after it is opened, locked,
 * measured, and opened once more for a direct disk.
 */
#include "hosted/disk/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/*
 * The byte that is locked: far beyond QEMU's, which locks single bytes below 1024. A process that was killed lets go of
 * its locks when the kernel has ended its last I/O, so a moment is given.
 */
#define LOCK_AT 0x76696f646d61
#define LOCK_ATTEMPTS 50u
#define LOCK_PAUSE_NS 10000000

enum viodma_result viodma_disk_refuse(enum viodma_result result, char *text, size_t text_bytes,
				      const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, text_bytes, format, arguments);
	va_end(arguments);
	return result;
}

static const char *kind_of_file(mode_t mode)
{
	return S_ISDIR(mode) ? "a directory" :
	       S_ISCHR(mode) ? "a character device" :
	       S_ISFIFO(mode) ? "a FIFO" :
	       S_ISSOCK(mode) ? "a socket" :
				"something else";
}

static enum viodma_result lock_file(struct viodma_disk *disk, bool read_only, char *text, size_t text_bytes)
{
	const struct timespec pause = { .tv_nsec = LOCK_PAUSE_NS };
	struct flock lock = {
		.l_type = read_only ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET, .l_start = LOCK_AT, .l_len = 1
	};

	for (unsigned i = 0; fcntl(disk->fd, F_OFD_SETLK, &lock) < 0; i++) {
		if (errno != EAGAIN && errno != EACCES) {
			viodma_disk_log(disk, "%s: cannot be locked (%s): see to it that nobody else writes it", disk->path,
					strerror(errno));
			return VIODMA_OK;
		}
		if (i == LOCK_ATTEMPTS)
			return viodma_disk_refuse(VIODMA_E_BUSY, text, text_bytes, "%s: is in use%s: another disk has it open%s",
				      disk->path, read_only ? "" : ", and would be written by two",
				      read_only ? " for writing" : "");
		nanosleep(&pause, NULL);
	}
	return VIODMA_OK;
}

/* Whole sectors; the rest is mentioned. */
static enum viodma_result take_size(struct viodma_disk *disk, uint64_t bytes, char *text, size_t text_bytes)
{
	disk->file_bytes = bytes;
	disk->size_bytes = bytes - bytes % VIODMA_DISK_SECTOR_BYTES;
	if (!disk->size_bytes)
		return viodma_disk_refuse(VIODMA_E_INVALID, text, text_bytes,
					  "%s: has %" PRIu64 " bytes, not one sector of %u", disk->path, bytes,
					  VIODMA_DISK_SECTOR_BYTES);
	if (bytes != disk->size_bytes)
		viodma_disk_log(disk, "%s: has %" PRIu64 " bytes, not whole sectors: the last %u are not served",
				disk->path, bytes, (unsigned)(bytes % VIODMA_DISK_SECTOR_BYTES));
	return VIODMA_OK;
}

/* A second descriptor, past the page cache, takes the first one's place; that one stays for what is not aligned. */
static enum viodma_result go_direct(struct viodma_disk *disk, bool read_only, char *text, size_t text_bytes)
{
	struct stat before, now;
	int fd = open(disk->path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY | O_DIRECT);

	if (fd < 0)
		return viodma_disk_refuse(VIODMA_E_INVALID, text, text_bytes, "%s: cannot be opened direct: %s",
					  disk->path, strerror(errno));
	disk->buffered_fd = disk->fd;
	disk->fd = fd;
	if (fstat(disk->buffered_fd, &before) < 0 || fstat(fd, &now) < 0 || before.st_dev != now.st_dev ||
	    before.st_ino != now.st_ino)
		return viodma_disk_refuse(VIODMA_E_IO, text, text_bytes, "%s: was replaced meanwhile", disk->path);
	disk->direct_bytes = viodma_disk_direct_alignment(fd);
	if (!disk->direct_bytes)
		return viodma_disk_refuse(VIODMA_E_INVALID, text, text_bytes,
					  "%s: cannot be read and written direct: no alignment up to 64 KiB does", disk->path);
	return VIODMA_OK;
}

enum viodma_result viodma_disk_open_files(struct viodma_disk *disk, const struct viodma_disk_options *options,
					  char *text, size_t text_bytes)
{
	enum viodma_result result;
	struct stat found;
	uint64_t bytes;

	/* Ask what it is first: opening a FIFO waits, and opening some devices does things. Open, then ask again. */
	if (stat(options->path, &found) < 0)
		return viodma_disk_refuse(VIODMA_E_IO, text, text_bytes, "%s: %s", options->path, strerror(errno));
	if (S_ISREG(found.st_mode) || S_ISBLK(found.st_mode)) {
		disk->fd = open(options->path,
				(options->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
		if (disk->fd < 0 || fstat(disk->fd, &found) < 0)
			return viodma_disk_refuse(VIODMA_E_IO, text, text_bytes, "%s: %s", options->path,
						  strerror(errno));
	}
	if (S_ISREG(found.st_mode)) {
		result = lock_file(disk, options->read_only, text, text_bytes);
		if (result != VIODMA_OK)
			return result;
		bytes = (uint64_t)found.st_size;
	} else if (S_ISBLK(found.st_mode)) {
		if (ioctl(disk->fd, BLKGETSIZE64, &bytes) < 0)
			return viodma_disk_refuse(VIODMA_E_IO, text, text_bytes, "%s: asking for its size: %s",
						  options->path, strerror(errno));
	} else {
		return viodma_disk_refuse(VIODMA_E_INVALID, text, text_bytes,
					  "%s: is %s; a regular file or a block device is needed", options->path,
					  kind_of_file(found.st_mode));
	}
	result = take_size(disk, bytes, text, text_bytes);
	if (result != VIODMA_OK)
		return result;
	/* O_NONBLOCK was for the open alone. */
	if (fcntl(disk->fd, F_SETFL, fcntl(disk->fd, F_GETFL) & ~O_NONBLOCK) < 0)
		return viodma_disk_refuse(VIODMA_E_IO, text, text_bytes, "%s: %s", options->path, strerror(errno));
	if (options->direct)
		result = go_direct(disk, options->read_only, text, text_bytes);
	if (result == VIODMA_OK)
		viodma_disk_learn(disk, options->sysfs ? options->sysfs : "/sys");
	return result;
}

enum viodma_result viodma_disk_share_files(struct viodma_disk *disk, const struct viodma_disk *shared, char *text,
					   size_t text_bytes)
{
	/* The lock is the open file's: it is let go of when the last of them is closed. */
	disk->fd = fcntl(shared->fd, F_DUPFD_CLOEXEC, 0);
	if (disk->fd >= 0 && shared->buffered_fd >= 0)
		disk->buffered_fd = fcntl(shared->buffered_fd, F_DUPFD_CLOEXEC, 0);
	if (disk->fd < 0 || (shared->buffered_fd >= 0 && disk->buffered_fd < 0))
		return viodma_disk_refuse(VIODMA_E_IO, text, text_bytes, "%s: %s", shared->path, strerror(errno));
	disk->direct_bytes = shared->direct_bytes;
	disk->size_bytes = shared->size_bytes;
	disk->file_bytes = shared->file_bytes;
	disk->about = shared->about;
	disk->sysfs = shared->sysfs ? strdup(shared->sysfs) : NULL;
	if (shared->sysfs && !disk->sysfs)
		return viodma_disk_refuse(VIODMA_E_NO_MEMORY, text, text_bytes, "%s: out of memory", shared->path);
	return VIODMA_OK;
}

void viodma_disk_close_files(struct viodma_disk *disk)
{
	if (disk->fd >= 0)
		close(disk->fd);
	if (disk->buffered_fd >= 0)
		close(disk->buffered_fd);
	free(disk->sysfs);
}

bool viodma_disk_look_again(struct viodma_disk *disk)
{
	const uint64_t before = disk->size_bytes;
	struct stat now;
	uint64_t bytes;

	if (disk->about.block_device) {
		if (ioctl(disk->fd, BLKGETSIZE64, &bytes) < 0)
			return false;
	} else if (fstat(disk->fd, &now) == 0) {
		bytes = (uint64_t)now.st_size;
	} else {
		return false;
	}
	disk->file_bytes = bytes;
	disk->size_bytes = bytes - bytes % VIODMA_DISK_SECTOR_BYTES;
	return disk->size_bytes != before;
}
