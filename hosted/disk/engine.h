/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * engine.h - between disk.c, which knows what an operation is, and the engines, which make single attempts at it.
 *
 * An attempt is one system call's worth: the next IOV_MAX iovecs at the next offset, one fdatasync, or what is next to be
 * done about a range without data. Its result goes to viodma_disk_attempted, from within the engine's reap.
 *
 * Ranges without data go to threads, whatever the engine: the calls for them block, and io_uring has none for devices.
 */
#ifndef VIODMA_HOSTED_DISK_ENGINE_H
#define VIODMA_HOSTED_DISK_ENGINE_H

#include "hosted/base/rate_limit.h"
#include "hosted/disk/disk.h"

struct viodma_disk_engine {
	const char *name;
	/* Make disk->engine_data for disk->depth attempts at once, signalling disk->event_fd. 0 or an errno. */
	int (*start)(struct viodma_disk *disk);
	void (*stop)(struct viodma_disk *disk);
	/* Prepare one attempt. Never refused: at most disk->depth are given out. */
	void (*attempt)(struct viodma_disk *disk, struct viodma_disk_io *io);
	/* Hand prepared attempts on. */
	void (*kick)(struct viodma_disk *disk);
	/* viodma_disk_attempted for what ended. */
	void (*reap)(struct viodma_disk *disk);
};

extern const struct viodma_disk_engine viodma_disk_engine_threads;
#ifdef VIODMA_HAVE_LIBURING
extern const struct viodma_disk_engine viodma_disk_engine_uring;
#endif

/* Ways to do something about a range, without data; disk_ranges.c. */
enum viodma_disk_method {
	VIODMA_DISK_NOTHING, /* to discard, where that cannot be */
	VIODMA_DISK_PUNCH,
	VIODMA_DISK_ZERO_RANGE,
	VIODMA_DISK_WRITE_ZEROES, /* always possible */
	VIODMA_DISK_BLKDISCARD,
	VIODMA_DISK_BLKZEROOUT,
	VIODMA_DISK_BLKSECDISCARD,
	VIODMA_DISK_METHODS
};

struct viodma_disk {
	const struct viodma_disk_engine *engine, *workers; /* the same, or workers for ranges only */
	void *engine_data;
	void *threads; /* of disk_threads.c, whichever of the two it is */
	int fd;
	int buffered_fd;       /* of a direct disk: another one, through the page cache */
	uint32_t direct_bytes; /* 0: not direct; else what offset, length and memory of a direct attempt are multiples of */
	int event_fd;
	unsigned depth;
	unsigned with_engine; /* attempts */
	unsigned in_flight;   /* operations */
	unsigned done_count;
	struct viodma_disk_io *waiting, **waiting_end;
	uint64_t size_bytes, file_bytes;
	bool dsync_unsupported; /* this file system has no RWF_DSYNC: write, then flush */
	bool method_unsupported[VIODMA_DISK_METHODS];
	struct viodma_disk_about about;
	char *sysfs; /* the block device's directory there; NULL: a file's */
	struct viodma_rate_limit log_limit;
	void (*log)(void *context, const char *line);
	void *context;
	char *path;
};

/* What is the next attempt? A write that has moved all its bytes only has to be flushed. */
enum viodma_disk_operation viodma_disk_next_operation(const struct viodma_disk_io *io);
/* Its iovecs, at most IOV_MAX. */
struct iovec *viodma_disk_next_iovecs(const struct viodma_disk_io *io, unsigned *count);
/* The descriptor for it. */
int viodma_disk_fd(const struct viodma_disk *disk, const struct viodma_disk_io *io);
/* RWF_ flags of a write. */
int viodma_disk_write_flags(const struct viodma_disk *disk, const struct viodma_disk_io *io);

/* An attempt ended: bytes moved, or a negative errno. */
void viodma_disk_attempted(struct viodma_disk *disk, struct viodma_disk_io *io, int64_t result);

/* ---- disk_ranges.c ---- */

static inline bool viodma_disk_is_range(enum viodma_disk_operation operation)
{
	return operation >= VIODMA_DISK_DISCARD;
}
/* Choose the next attempt's method. */
void viodma_disk_choose_method(const struct viodma_disk *disk, struct viodma_disk_io *io);
/* Make it, in any thread. Bytes, or a negative errno. */
int64_t viodma_disk_range_attempt(const struct viodma_disk *disk, const struct viodma_disk_io *io);
/* The method is none here. False: there is no other. */
bool viodma_disk_without_method(struct viodma_disk *disk, const struct viodma_disk_io *io, int error);

/* ---- disk_direct.c ---- */

/* What O_DIRECT demands here, of a descriptor opened so; 0: it is not had. */
uint32_t viodma_disk_direct_alignment(int fd);
/* The next attempt of a read or write: as it is, by a copy, or through the page cache. */
void viodma_disk_prepare_direct(const struct viodma_disk *disk, struct viodma_disk_io *io);
/* A read by copy has brought bytes: where they belong. */
void viodma_disk_copy_out(const struct viodma_disk_io *io, uint64_t bytes);

/* ---- disk_open.c ---- */

/* Files and descriptors; `about`. On failure free_files is called all the same. */
enum viodma_result viodma_disk_open_files(struct viodma_disk *disk, const struct viodma_disk_options *options,
					  char *text, size_t text_bytes);
/* Those of another disk, and what is known of them. */
enum viodma_result viodma_disk_share_files(struct viodma_disk *disk, const struct viodma_disk *shared, char *text,
					   size_t text_bytes);
void viodma_disk_close_files(struct viodma_disk *disk);
__attribute__((format(printf, 4, 5))) enum viodma_result viodma_disk_refuse(enum viodma_result result, char *text,
									     size_t text_bytes, const char *format, ...);

/* ---- disk_about.c ---- */

/* What a block device's sysfs directory says; of a file, what its file system does. */
void viodma_disk_learn(struct viodma_disk *disk, const char *sysfs);

/* Make the event descriptor readable, from any thread. */
void viodma_disk_signal(const struct viodma_disk *disk);

__attribute__((format(printf, 2, 3))) void viodma_disk_log(struct viodma_disk *disk, const char *format, ...);

#endif
