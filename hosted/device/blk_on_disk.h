/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * blk_on_disk.h - a virtio-blk device half whose disk is a file, or nothing: viodma/device_blk.h on one side, hosted/disk
 * on the other, shaped as the operations viodma/vhost_user.h takes.
 *
 *	viodma_blk_on_disk_new(&options, &device);
 *	viodma_blk_on_disk_limits(&vhost_user_options);
 *	viodma_vhost_user_new(loop, &viodma_blk_on_disk_ops, device, &vhost_user_options, &backend);
 *	viodma_blk_on_disk_set_backend(device, backend);
 *
 * Single owner: the loop's thread (any one thread until the loop runs). With several workers each has a half of its
 * own: viodma/vhost_user.h says when they are called. The functions below are the loop's thread's, between
 * viodma_vhost_user_hold and _release.
 */
#ifndef VIODMA_HOSTED_BLK_ON_DISK_H
#define VIODMA_HOSTED_BLK_ON_DISK_H

#include "hosted/disk/disk.h"

#include <viodma/device_blk.h>
#include <viodma/vhost_user.h>

/*
 * What the driver is told, and what follows from it. A request of the largest size has SEG_MAX data segments of
 * SIZE_MAX bytes; its header and status may be split into single bytes by a driver that likes to.
 */
#define VIODMA_BLK_ON_DISK_QUEUE_SIZE 1024u /* unless something else is said */
#define VIODMA_BLK_ON_DISK_QUEUES_MAX 64u
/* Of requests that are lists of ranges: 2 GiB each, as drivers split them anyway. */
#define VIODMA_BLK_ON_DISK_RANGES_MAX 16u
#define VIODMA_BLK_ON_DISK_RANGE_SECTORS_MAX (1u << 22)
#define VIODMA_BLK_ON_DISK_SEG_MAX 126u /* with header and status: a queue of 128 */
#define VIODMA_BLK_ON_DISK_SIZE_MAX 65536u
#define VIODMA_BLK_ON_DISK_SEGMENTS_MAX (VIODMA_BLK_ON_DISK_SEG_MAX + 16u + 1u)
/* A segment of 64 KiB that begins inside a page touches 17 pages; any other part of a request at most 2. */
#define VIODMA_BLK_ON_DISK_PIECES_MAX (VIODMA_BLK_ON_DISK_SEG_MAX * 17u + 17u * 2u)
#define VIODMA_BLK_ON_DISK_REQUEST_BYTES_MAX ((uint64_t)VIODMA_BLK_ON_DISK_SEG_MAX * VIODMA_BLK_ON_DISK_SIZE_MAX)

struct viodma_blk_on_disk;

struct viodma_blk_on_disk_options {
	struct viodma_loop *loop;
	/* Owned by the device once it was made. NULL: a null disk: reads are zeroes, all else ends at once, forgotten. */
	struct viodma_disk *disk;
	uint64_t null_bytes; /* the size of a null disk */
	uint32_t blk_size;
	bool read_only;
	bool write_through;   /* the cache mode the device starts in */
	bool discard, write_zeroes, secure_erase; /* offer them; the last only of a block device that has it */
	uint32_t queue_count; /* 0: 1 */
	uint32_t queue_size;  /* descriptors, the most a driver may ask for; 0: VIODMA_BLK_ON_DISK_QUEUE_SIZE */
	const char *serial; /* at most VIODMA_BLK_SERIAL_BYTES; NULL: empty */
	/* One line per event, without newline. May be NULL. */
	void (*log)(void *context, const char *line);
	void *context;
};

/* VIODMA_E_INVALID: serial too long, too many queues, or blk_size not one viodma_blk_init takes; VIODMA_E_NO_MEMORY; VIODMA_E_IO. */
VIODMA_MUST_USE enum viodma_result viodma_blk_on_disk_new(const struct viodma_blk_on_disk_options *options,
							  struct viodma_blk_on_disk **device);

/* Close the disk and free everything. VIODMA_E_BUSY: operations are in flight. NULL is allowed. */
VIODMA_MUST_USE enum viodma_result viodma_blk_on_disk_free(struct viodma_blk_on_disk *device);

/* Fill in the members of the options that are about queues and requests; a number of queues or a size that is there stays. */
void viodma_blk_on_disk_limits(struct viodma_vhost_user_options *options);

/* Look whether the disk has another size now. True: it has; the configuration says so, and the front end is told. */
bool viodma_blk_on_disk_look_again(struct viodma_blk_on_disk *device);

uint64_t viodma_blk_on_disk_capacity_bytes(const struct viodma_blk_on_disk *device);

/* Whom to tell about completions; NULL: nobody (any more). */
void viodma_blk_on_disk_set_backend(struct viodma_blk_on_disk *device, struct viodma_vhost_user *backend);

/* Of all halves, as of now. */
const struct viodma_blk_statistics *viodma_blk_on_disk_statistics(struct viodma_blk_on_disk *device);

/* Operations the disk has not answered. */
unsigned viodma_blk_on_disk_in_flight(const struct viodma_blk_on_disk *device);

/* For viodma_vhost_user_new; its `device` is a struct viodma_blk_on_disk. */
extern const struct viodma_vhost_user_ops viodma_blk_on_disk_ops;

#endif
