/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * disk.h - a raw file or block device as a disk: asynchronous reads, writes, flushes and operations on ranges without
 * data, many in flight.
 *
 * Submit any number of operations, kick once, and when the event descriptor is readable reap: each operation's `done`
 * is called then, from nowhere else. At most `depth` operations are with the kernel; more wait here, in order.
 * Operations in flight complete in any order: what must come after another waits for it.
 *
 * An operation is whole or failed: short transfers go on where they stopped; one that meets the end of the file failed
 * (the image shrank while it was served). A flush is answered when everything answered before it was submitted is
 * durable, and a durable write when it is durable itself.
 *
 * DISCARD is a hint: where it cannot be had (the file system has no holes, less than a block of the device is left), it
 * succeeds and does nothing, as with other VMMs' disks. ZERO always ends with zeroes, by whatever way is the quickest here,
 * and writes them where there is no other. SECURE_ERASE needs a block device that has it.
 *
 * A regular file that is written has one disk, in this process or any: a lock on the open file says so to the others
 * (fcntl(2), F_OFD_SETLK; shared where it is only read). Programs that take no such lock are not kept out.
 *
 * Single owner: one thread at a time. Units: bytes. Errors are positive errno values.
 * SIGXFSZ must be ignored by the program.
 */
#ifndef VIODMA_HOSTED_DISK_H
#define VIODMA_HOSTED_DISK_H

#include <viodma/result.h>

#include <sys/uio.h>

enum viodma_disk_engine_kind {
	VIODMA_DISK_AUTO, /* io_uring where it works, else threads (said in the log) */
	VIODMA_DISK_URING,
	VIODMA_DISK_THREADS
};

enum viodma_disk_operation {
	VIODMA_DISK_READ,
	VIODMA_DISK_WRITE,
	VIODMA_DISK_FLUSH,
	VIODMA_DISK_DISCARD,
	VIODMA_DISK_ZERO,
	VIODMA_DISK_SECURE_ERASE
};

#define VIODMA_DISK_SECTOR_BYTES 512u
#define VIODMA_DISK_DEPTH_DEFAULT 256u
#define VIODMA_DISK_DEPTH_MAX 4096u

struct viodma_disk_io {
	enum viodma_disk_operation operation;
	bool durable;          /* write, zero: done when durable */
	bool unmap;            /* zero: the room may be given back */
	uint64_t offset_bytes; /* of ranges without data: whole sectors, as the length is */
	uint64_t len_bytes;    /* the sum of the iovecs; 0 for flush */
	struct iovec *iovecs;  /* any number; the disk's until done, and it changes them; none for ranges without data */
	uint32_t iovec_count;
	void (*done)(struct viodma_disk_io *io, int error); /* error: 0 or an errno. io is the caller's again */
	void *user;
	/* ---- the disk's ---- */
	uint64_t moved_bytes;
	uint32_t iovec_first;
	uint32_t attempts;
	bool sync_after;       /* the write moved all its bytes, and is being made durable by a flush */
	uint8_t method;        /* of a range without data: enum viodma_disk_method */
	bool buffered;         /* this attempt goes through the page cache, although the disk is direct */
	void *copy;            /* aligned memory, for a direct attempt whose own is not; copying: this attempt uses it */
	bool copying;
	struct iovec copy_iovec;
	int64_t result;        /* of an attempt: bytes, or a negative errno */
	struct viodma_disk_io *next;
};

struct viodma_disk_options {
	const char *path;
	bool read_only;
	enum viodma_disk_engine_kind engine;
	unsigned depth;        /* 0: VIODMA_DISK_DEPTH_DEFAULT */
	/*
	 * Past the page cache (O_DIRECT). Memory that is not aligned as that demands is copied; less than a block of the
	 * disk goes through the page cache after all.
	 */
	bool direct;
	const char *sysfs;     /* NULL: /sys; another, for tests */
	/* One line per event, without newline; rate limited. May be NULL. */
	void (*log)(void *context, const char *line);
	void *context;
};

/* What is known of the storage. 0: unknown. */
struct viodma_disk_about {
	bool block_device;
	uint32_t logical_bytes;  /* smaller operations are possible, but cost a detour */
	uint32_t physical_bytes, min_io_bytes, opt_io_bytes;
	uint32_t discard_bytes;  /* its unit */
	bool wear_known;         /* viodma_disk_wear */
};

struct viodma_disk;

/*
 * Open it. The path is copied. On failure the reason, with the path, is in `text`: VIODMA_E_INVALID (not a regular
 * file or block device; depth out of range; not one whole sector; an engine this build does not have; direct, and this
 * file system has no such thing), VIODMA_E_BUSY
 * (half a second long another disk had it open for writing, or this one is to write and another had it open),
 * VIODMA_E_NO_MEMORY, VIODMA_E_IO.
 */
VIODMA_MUST_USE enum viodma_result viodma_disk_open(const struct viodma_disk_options *options,
						    struct viodma_disk **disk, char *text, size_t text_bytes);

/*
 * The same open file once more, with an engine and an owner of its own. A flush of either makes durable what both have
 * answered before. Results and text as above.
 */
VIODMA_MUST_USE enum viodma_result viodma_disk_share(const struct viodma_disk *disk, struct viodma_disk **another,
						     char *text, size_t text_bytes);

/* VIODMA_E_BUSY: something is in flight. NULL is allowed. */
VIODMA_MUST_USE enum viodma_result viodma_disk_close(struct viodma_disk *disk);

/* When it was opened, or looked at again; whole sectors. */
uint64_t viodma_disk_size_bytes(const struct viodma_disk *disk);

/* The same, with what is not a whole sector. */
uint64_t viodma_disk_file_bytes(const struct viodma_disk *disk);

/* Look at its size again. True: it is another one. */
bool viodma_disk_look_again(struct viodma_disk *disk);

const struct viodma_disk_about *viodma_disk_about(const struct viodma_disk *disk);

/* The wear an eMMC states (JESD84-B50): as virtio has it, 0 for what is not said. False: it cannot be read. */
bool viodma_disk_wear(const struct viodma_disk *disk, uint16_t *pre_eol_info, uint16_t *estimate_a,
		      uint16_t *estimate_b);

/* "io_uring" or "threads". */
const char *viodma_disk_engine_name(const struct viodma_disk *disk);

/* Readable when viodma_disk_reap has something to do. */
int viodma_disk_event_fd(const struct viodma_disk *disk);

/* Queue an operation; `io` stays where it is until done. It starts with the next kick. */
void viodma_disk_submit(struct viodma_disk *disk, struct viodma_disk_io *io);

/* Start what was submitted, as far as depth allows. */
void viodma_disk_kick(struct viodma_disk *disk);

/*
 * Take in what ended and call `done` for it, which may submit more; then kick. Answers how many operations were done.
 * Does not block.
 */
unsigned viodma_disk_reap(struct viodma_disk *disk);

/* Operations submitted and not done. */
unsigned viodma_disk_in_flight(const struct viodma_disk *disk);

#endif
