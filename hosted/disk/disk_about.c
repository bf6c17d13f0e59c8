/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * disk_about.c - how it works: what is known of the storage: of a block device from its directory in sysfs (a partition
 * has its disk's queue one level up), of a file what its file system says. What cannot be read is 0: unknown.
 */
#include "hosted/disk/engine.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* The first line of DIRECTORY/name. False: it cannot be read. */
static bool read_line(const char *directory, const char *name, char *line, size_t bytes)
{
	char path[512];
	ssize_t got;
	int fd;

	if (snprintf(path, sizeof(path), "%s/%s", directory, name) >= (int)sizeof(path))
		return false;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return false;
	got = read(fd, line, bytes - 1);
	close(fd);
	if (got < 0)
		return false;
	line[got] = '\0';
	line[strcspn(line, "\n")] = '\0';
	return true;
}

static uint32_t read_number(const char *directory, const char *name)
{
	char line[64], *end;
	unsigned long long number;

	if (!read_line(directory, name, line, sizeof(line)))
		return 0;
	number = strtoull(line, &end, 10);
	return end != line && number <= UINT32_MAX ? (uint32_t)number : 0;
}

/* A number of the queue's, of the disk itself or of the one the partition is of. */
static uint32_t queue_number(const char *directory, const char *name)
{
	char path[64];
	uint32_t number;

	snprintf(path, sizeof(path), "queue/%s", name);
	number = read_number(directory, path);
	if (number)
		return number;
	snprintf(path, sizeof(path), "../queue/%s", name);
	return read_number(directory, path);
}

void viodma_disk_learn(struct viodma_disk *disk, const char *sysfs)
{
	struct viodma_disk_about *about = &disk->about;
	uint16_t ignored;
	struct stat found;
	int logical;

	about->logical_bytes = VIODMA_DISK_SECTOR_BYTES;
	if (fstat(disk->fd, &found) < 0)
		return;
	about->block_device = S_ISBLK(found.st_mode);
	if (!about->block_device) {
		if (disk->direct_bytes)
			about->logical_bytes = disk->direct_bytes;
		return;
	}
	if (ioctl(disk->fd, BLKSSZGET, &logical) == 0 && logical > 0 && !(logical & (logical - 1)))
		about->logical_bytes = (uint32_t)logical;
	if (asprintf(&disk->sysfs, "%s/dev/block/%u:%u", sysfs, major(found.st_rdev), minor(found.st_rdev)) < 0) {
		disk->sysfs = NULL;
		return;
	}
	about->physical_bytes = queue_number(disk->sysfs, "physical_block_size");
	about->min_io_bytes = queue_number(disk->sysfs, "minimum_io_size");
	about->opt_io_bytes = queue_number(disk->sysfs, "optimal_io_size");
	about->discard_bytes = queue_number(disk->sysfs, "discard_granularity");
	about->wear_known = viodma_disk_wear(disk, &ignored, &ignored, &ignored);
}

const struct viodma_disk_about *viodma_disk_about(const struct viodma_disk *disk)
{
	return &disk->about;
}

/* "0x01 0x02" and "0x01": hexadecimal numbers of the card's. */
bool viodma_disk_wear(const struct viodma_disk *disk, uint16_t *pre_eol_info, uint16_t *estimate_a,
		      uint16_t *estimate_b)
{
	char line[64];
	unsigned a, b, pre_eol;

	if (!disk->sysfs || (!read_line(disk->sysfs, "device/life_time", line, sizeof(line)) &&
			     !read_line(disk->sysfs, "../device/life_time", line, sizeof(line))))
		return false;
	if (sscanf(line, "%x %x", &a, &b) != 2)
		return false;
	if ((!read_line(disk->sysfs, "device/pre_eol_info", line, sizeof(line)) &&
	     !read_line(disk->sysfs, "../device/pre_eol_info", line, sizeof(line))) ||
	    sscanf(line, "%x", &pre_eol) != 1)
		pre_eol = 0;
	*pre_eol_info = pre_eol <= UINT16_MAX ? (uint16_t)pre_eol : 0;
	*estimate_a = a <= UINT16_MAX ? (uint16_t)a : 0;
	*estimate_b = b <= UINT16_MAX ? (uint16_t)b : 0;
	return true;
}
