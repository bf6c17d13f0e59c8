/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * engine.h - between disk.c, which knows what an operation is, and the engines, which make single attempts at it.
 *
 * An attempt is one system call's worth: the next IOV_MAX iovecs at the next offset, or one fdatasync. Its result goes
 * to viodma_disk_attempted, from within the engine's reap.
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

struct viodma_disk {
	const struct viodma_disk_engine *engine;
	void *engine_data;
	int fd;
	int event_fd;
	unsigned depth;
	unsigned with_engine; /* attempts */
	unsigned in_flight;   /* operations */
	unsigned done_count;
	struct viodma_disk_io *waiting, **waiting_end;
	uint64_t size_bytes, file_bytes;
	bool dsync_unsupported; /* this file system has no RWF_DSYNC: write, then flush */
	struct viodma_rate_limit log_limit;
	void (*log)(void *context, const char *line);
	void *context;
	char *path;
};

/* What is the next attempt? A write that has moved all its bytes only has to be flushed. */
enum viodma_disk_operation viodma_disk_next_operation(const struct viodma_disk_io *io);
/* Its iovecs, at most IOV_MAX. */
struct iovec *viodma_disk_next_iovecs(const struct viodma_disk_io *io, unsigned *count);
/* RWF_ flags of a write. */
int viodma_disk_write_flags(const struct viodma_disk *disk, const struct viodma_disk_io *io);

/* An attempt ended: bytes moved, or a negative errno. */
void viodma_disk_attempted(struct viodma_disk *disk, struct viodma_disk_io *io, int64_t result);

/* Make the event descriptor readable, from any thread. */
void viodma_disk_signal(const struct viodma_disk *disk);

__attribute__((format(printf, 2, 3))) void viodma_disk_log(struct viodma_disk *disk, const char *format, ...);

#endif
