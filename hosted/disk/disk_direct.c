/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * disk_direct.c - how it works: O_DIRECT demands that offset, length and memory are multiples of something that is the
 * storage's to say. Drivers know of sectors only. For each attempt of a read or write:
 *
 *	offset or length not a multiple     through the page cache, by a second descriptor, all of the operation
 *	memory not a multiple               by an aligned copy, COPY_BYTES at a time
 *	all of it is                        as it is
 *
 * The page cache and direct I/O agree where they do not touch the same block at the same time; a driver that writes the
 * same block twice at once cannot know what it holds anyway.
 */
#include "hosted/disk/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define COPY_BYTES (256u * 1024) /* a multiple of any alignment */
#define ALIGNMENT_MAX 65536u

static bool power_of_two(uint32_t value)
{
	return value && !(value & (value - 1));
}

uint32_t viodma_disk_direct_alignment(int fd)
{
	uint32_t least = VIODMA_DISK_SECTOR_BYTES;
	uint32_t found = 0;
	void *memory;
	int logical;

#ifdef STATX_DIOALIGN
	struct statx about;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &about) == 0 && (about.stx_mask & STATX_DIOALIGN) &&
	    power_of_two(about.stx_dio_offset_align) && power_of_two(about.stx_dio_mem_align)) {
		if (about.stx_dio_offset_align > least)
			least = about.stx_dio_offset_align;
		if (about.stx_dio_mem_align > least)
			least = about.stx_dio_mem_align;
		return least <= ALIGNMENT_MAX ? least : 0;
	}
#endif
	if (ioctl(fd, BLKSSZGET, &logical) == 0 && logical > 0 && power_of_two((uint32_t)logical))
		return (uint32_t)logical > least ? (uint32_t)logical : least;
	/* What does the storage take? */
	if (posix_memalign(&memory, ALIGNMENT_MAX, ALIGNMENT_MAX))
		return 0;
	for (; !found && least <= ALIGNMENT_MAX; least *= 2)
		if (pread(fd, (char *)memory + (least < ALIGNMENT_MAX ? least : 0), least, 0) >= 0)
			found = least;
	free(memory);
	return found;
}

/* Bytes the next iovecs take together; *aligned: each of them is. */
static uint64_t look_at(const struct viodma_disk *disk, const struct viodma_disk_io *io, bool *aligned)
{
	const uintptr_t mask = disk->direct_bytes - 1;
	const struct iovec *iovecs;
	uint64_t bytes = 0;
	unsigned count;

	iovecs = viodma_disk_next_iovecs(io, &count);
	*aligned = true;
	for (unsigned i = 0; i < count; i++) {
		*aligned = *aligned && !(((uintptr_t)iovecs[i].iov_base | iovecs[i].iov_len) & mask);
		bytes += iovecs[i].iov_len;
	}
	return bytes;
}

/* Move between the copy and the next iovecs. */
static void copy(const struct viodma_disk_io *io, uint64_t bytes, bool out)
{
	unsigned char *at = io->copy;

	for (uint32_t i = io->iovec_first; bytes && i < io->iovec_count; i++) {
		const struct iovec *iovec = &io->iovecs[i];
		size_t here = iovec->iov_len < bytes ? iovec->iov_len : (size_t)bytes;

		if (out)
			memcpy(iovec->iov_base, at, here);
		else
			memcpy(at, iovec->iov_base, here);
		at += here;
		bytes -= here;
	}
}

void viodma_disk_copy_out(const struct viodma_disk_io *io, uint64_t bytes)
{
	copy(io, bytes, true);
}

void viodma_disk_prepare_direct(const struct viodma_disk *disk, struct viodma_disk_io *io)
{
	const uint64_t offset = io->offset_bytes + io->moved_bytes, left = io->len_bytes - io->moved_bytes;
	uint64_t bytes = left;
	bool aligned;

	io->copying = false;
	io->buffered = (offset | left) & (disk->direct_bytes - 1);
	if (io->buffered)
		return;
	(void)look_at(disk, io, &aligned);
	if (aligned)
		return;
	if (!io->copy && posix_memalign(&io->copy, disk->direct_bytes > 4096 ? disk->direct_bytes : 4096, COPY_BYTES)) {
		io->copy = NULL;
		io->buffered = true;
		return;
	}
	if (bytes > COPY_BYTES)
		bytes = COPY_BYTES;
	if (io->operation == VIODMA_DISK_WRITE)
		copy(io, bytes, false);
	io->copy_iovec.iov_base = io->copy;
	io->copy_iovec.iov_len = (size_t)bytes;
	io->copying = true;
}
