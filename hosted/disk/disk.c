/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * disk.c - how it works: an operation is a series of attempts. submit puts it on the waiting list; kick gives attempts
 * to the engine while fewer than depth are there; the engine's reap brings each attempt's result here:
 *
 *	bytes, all of them     done; a durable write without RWF_DSYNC goes on with a flush
 *	bytes, not all         the next attempt starts where this one ended
 *	none, reading          the file ended: the image shrank; EIO
 *	EINTR, EAGAIN          again, at most ATTEMPTS_MAX times
 *	EOPNOTSUPP, durable    this file system cannot: write, then flush, from now on
 *	a range without data   what its method's error means is disk_ranges.c's to say
 *	another error          done, with the error, and a line in the log
 *
 * What goes on goes to the front of the waiting list. `done` is called only inside viodma_disk_reap.
 */
#include "hosted/disk/engine.h"

#include <viodma/loop.h>

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define ATTEMPTS_MAX 1000u /* that moved nothing */

/* ---- the log ---- */

void viodma_disk_log(struct viodma_disk *disk, const char *format, ...)
{
	char line[512], more[64] = "";
	uint64_t suppressed;
	va_list arguments;
	int length;

	if (!disk->log || !viodma_rate_limit_allow(&disk->log_limit, viodma_loop_now_ns(), &suppressed))
		return;
	va_start(arguments, format);
	length = vsnprintf(line, sizeof(line) - sizeof(more), format, arguments);
	va_end(arguments);
	if (length < 0)
		return;
	if (suppressed)
		snprintf(more, sizeof(more), " (and %" PRIu64 " lines not shown)", suppressed);
	memcpy(line + strlen(line), more, strlen(more) + 1);
	disk->log(disk->context, line);
}

static void log_failure(struct viodma_disk *disk, const struct viodma_disk_io *io, int error)
{
	static const char *const names[] = { "read", "write", "flush", "discard", "zeroing", "secure erase" };

	if (io->operation == VIODMA_DISK_FLUSH)
		viodma_disk_log(disk, "%s: flush failed: %s", disk->path, strerror(error));
	else
		viodma_disk_log(disk, "%s: %s of %" PRIu64 " bytes at %" PRIu64 " failed: %s", disk->path,
				names[io->operation], io->len_bytes, io->offset_bytes, strerror(error));
}

static void log_shrunk(struct viodma_disk *disk, const struct viodma_disk_io *io)
{
	struct stat now;
	int64_t size = fstat(disk->fd, &now) == 0 ? (int64_t)now.st_size : -1;

	viodma_disk_log(disk,
			"%s: the image shrank while it was served: read of %" PRIu64 " bytes at %" PRIu64
			" failed; the file has %" PRId64 " bytes now, and had %" PRIu64,
			disk->path, io->len_bytes, io->offset_bytes, size, disk->size_bytes);
}

/* ---- opening ---- */

static enum viodma_result start_engine(struct viodma_disk *disk, enum viodma_disk_engine_kind kind, char *text,
				       size_t text_bytes)
{
	int error;

	if (kind != VIODMA_DISK_THREADS) {
#ifdef VIODMA_HAVE_LIBURING
		disk->engine = &viodma_disk_engine_uring;
		error = disk->engine->start(disk);
		if (!error)
			return VIODMA_OK;
		if (kind == VIODMA_DISK_URING)
			return viodma_disk_refuse(VIODMA_E_IO, text, text_bytes, "%s: starting io_uring: %s", disk->path,
				      strerror(error));
		viodma_disk_log(disk, "%s: no io_uring (%s): using threads", disk->path, strerror(error));
#else
		if (kind == VIODMA_DISK_URING)
			return viodma_disk_refuse(VIODMA_E_INVALID, text, text_bytes, "%s: this build has no io_uring", disk->path);
#endif
	}
	disk->engine = &viodma_disk_engine_threads;
	error = disk->engine->start(disk);
	if (error)
		return viodma_disk_refuse(VIODMA_E_IO, text, text_bytes, "%s: starting threads: %s", disk->path, strerror(error));
	return VIODMA_OK;
}

static enum viodma_result start_workers(struct viodma_disk *disk, char *text, size_t text_bytes)
{
	int error = 0;

	disk->workers = &viodma_disk_engine_threads;
	if (disk->engine != disk->workers)
		error = disk->workers->start(disk);
	if (!error)
		return VIODMA_OK;
	disk->engine->stop(disk);
	return viodma_disk_refuse(VIODMA_E_IO, text, text_bytes, "%s: starting threads: %s", disk->path, strerror(error));
}

static void free_disk(struct viodma_disk *disk)
{
	if (disk->event_fd >= 0)
		close(disk->event_fd);
	viodma_disk_close_files(disk);
	free(disk->path);
	free(disk);
}

/* All but files and engines. NULL: no memory. */
static struct viodma_disk *make_disk(const char *path, unsigned depth)
{
	struct viodma_disk *disk = calloc(1, sizeof(*disk));

	if (!disk)
		return NULL;
	disk->fd = disk->buffered_fd = -1;
	disk->depth = depth;
	disk->waiting_end = &disk->waiting;
	disk->path = strdup(path);
	disk->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (disk->path && disk->event_fd >= 0)
		return disk;
	free_disk(disk);
	return NULL;
}

/* result: of what came before. */
static enum viodma_result start_engines(struct viodma_disk *disk, enum viodma_disk_engine_kind kind,
					enum viodma_result result, struct viodma_disk **out, char *text,
					size_t text_bytes)
{
	if (result == VIODMA_OK)
		result = start_engine(disk, kind, text, text_bytes);
	if (result == VIODMA_OK)
		result = start_workers(disk, text, text_bytes);
	if (result == VIODMA_OK)
		*out = disk;
	else
		free_disk(disk);
	return result;
}

enum viodma_result viodma_disk_open(const struct viodma_disk_options *options, struct viodma_disk **out, char *text,
				    size_t text_bytes)
{
	struct viodma_disk *disk;

	if (options->depth > VIODMA_DISK_DEPTH_MAX)
		return viodma_disk_refuse(VIODMA_E_INVALID, text, text_bytes, "%s: depth %u, expected at most %u", options->path,
			      options->depth, VIODMA_DISK_DEPTH_MAX);
	disk = make_disk(options->path, options->depth ? options->depth : VIODMA_DISK_DEPTH_DEFAULT);
	if (!disk)
		return viodma_disk_refuse(VIODMA_E_NO_MEMORY, text, text_bytes, "%s: %s", options->path, strerror(errno));
	disk->log = options->log;
	disk->context = options->context;
	return start_engines(disk, options->engine, viodma_disk_open_files(disk, options, text, text_bytes), out, text,
			     text_bytes);
}

enum viodma_result viodma_disk_share(const struct viodma_disk *shared, struct viodma_disk **another, char *text,
				     size_t text_bytes)
{
	const enum viodma_disk_engine_kind kind =
		shared->engine == shared->workers ? VIODMA_DISK_THREADS : VIODMA_DISK_URING;
	struct viodma_disk *disk = make_disk(shared->path, shared->depth);

	if (!disk)
		return viodma_disk_refuse(VIODMA_E_NO_MEMORY, text, text_bytes, "%s: %s", shared->path, strerror(errno));
	disk->log = shared->log;
	disk->context = shared->context;
	return start_engines(disk, kind, viodma_disk_share_files(disk, shared, text, text_bytes), another, text,
			     text_bytes);
}

enum viodma_result viodma_disk_close(struct viodma_disk *disk)
{
	if (!disk)
		return VIODMA_OK;
	if (disk->in_flight)
		return VIODMA_E_BUSY;
	disk->engine->stop(disk);
	if (disk->workers != disk->engine)
		disk->workers->stop(disk);
	free_disk(disk);
	return VIODMA_OK;
}

uint64_t viodma_disk_size_bytes(const struct viodma_disk *disk)
{
	return disk->size_bytes;
}

uint64_t viodma_disk_file_bytes(const struct viodma_disk *disk)
{
	return disk->file_bytes;
}

const char *viodma_disk_engine_name(const struct viodma_disk *disk)
{
	return disk->engine->name;
}

int viodma_disk_event_fd(const struct viodma_disk *disk)
{
	return disk->event_fd;
}

unsigned viodma_disk_in_flight(const struct viodma_disk *disk)
{
	return disk->in_flight;
}

void viodma_disk_signal(const struct viodma_disk *disk)
{
	uint64_t one = 1;

	/* The one way this fails is a counter at its limit: it is readable then. */
	while (write(disk->event_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

/* ---- attempts ---- */

enum viodma_disk_operation viodma_disk_next_operation(const struct viodma_disk_io *io)
{
	return io->sync_after ? VIODMA_DISK_FLUSH : io->operation;
}

struct iovec *viodma_disk_next_iovecs(const struct viodma_disk_io *io, unsigned *count)
{
	if (io->copying) {
		*count = 1;
		return (struct iovec *)&io->copy_iovec;
	}
	*count = io->iovec_count - io->iovec_first;
	if (*count > IOV_MAX)
		*count = IOV_MAX;
	return io->iovecs ? io->iovecs + io->iovec_first : NULL; /* a flush has none */
}

int viodma_disk_fd(const struct viodma_disk *disk, const struct viodma_disk_io *io)
{
	return io->buffered ? disk->buffered_fd : disk->fd;
}

int viodma_disk_write_flags(const struct viodma_disk *disk, const struct viodma_disk_io *io)
{
	return io->durable && !disk->dsync_unsupported ? RWF_DSYNC : 0;
}

static void wait_at_front(struct viodma_disk *disk, struct viodma_disk_io *io)
{
	io->next = disk->waiting;
	disk->waiting = io;
	if (!io->next)
		disk->waiting_end = &io->next;
}

static void finish(struct viodma_disk *disk, struct viodma_disk_io *io, int error)
{
	free(io->copy);
	io->copy = NULL;
	disk->in_flight--;
	disk->done_count++;
	io->done(io, error);
}

/* Step over bytes that were moved. */
static void advance(struct viodma_disk_io *io, uint64_t bytes)
{
	io->moved_bytes += bytes;
	io->attempts = 0;
	while (io->iovec_first < io->iovec_count) {
		struct iovec *first = &io->iovecs[io->iovec_first];

		if (bytes < first->iov_len) {
			first->iov_base = (char *)first->iov_base + bytes;
			first->iov_len -= bytes;
			return;
		}
		bytes -= first->iov_len;
		io->iovec_first++;
	}
}

/* An attempt failed. */
static void attempt_failed(struct viodma_disk *disk, struct viodma_disk_io *io, int error)
{
	const bool durable_write = io->durable && io->operation == VIODMA_DISK_WRITE && !io->sync_after;

	if ((error == EINTR || error == EAGAIN) && io->attempts < ATTEMPTS_MAX) {
		io->attempts++;
		wait_at_front(disk, io);
	} else if (error == EOPNOTSUPP && durable_write && !disk->dsync_unsupported) {
		disk->dsync_unsupported = true;
		viodma_disk_log(disk, "%s: no durable writes here: writing, then flushing", disk->path);
		wait_at_front(disk, io);
	} else if (error == EOPNOTSUPP && durable_write && !io->attempts) {
		io->attempts++; /* it was on its way with RWF_DSYNC when another one found out */
		wait_at_front(disk, io);
	} else if (viodma_disk_is_range(viodma_disk_next_operation(io)) && viodma_disk_without_method(disk, io, error)) {
		wait_at_front(disk, io);
	} else {
		log_failure(disk, io, error);
		finish(disk, io, error);
	}
}

/* All its bytes were moved. */
static void all_moved(struct viodma_disk *disk, struct viodma_disk_io *io)
{
	if (io->durable && (io->operation == VIODMA_DISK_ZERO || disk->dsync_unsupported)) {
		io->sync_after = true;
		wait_at_front(disk, io);
	} else {
		finish(disk, io, 0);
	}
}

void viodma_disk_attempted(struct viodma_disk *disk, struct viodma_disk_io *io, int64_t result)
{
	disk->with_engine--;
	if (result < 0) {
		attempt_failed(disk, io, (int)-result);
		return;
	}
	if (viodma_disk_next_operation(io) == VIODMA_DISK_FLUSH) {
		finish(disk, io, 0);
		return;
	}
	if (io->copying && io->operation == VIODMA_DISK_READ)
		viodma_disk_copy_out(io, (uint64_t)result);
	advance(io, (uint64_t)result);
	if (io->moved_bytes >= io->len_bytes) {
		all_moved(disk, io);
	} else if (!result) {
		if (io->operation == VIODMA_DISK_READ)
			log_shrunk(disk, io);
		else
			log_failure(disk, io, EIO);
		finish(disk, io, EIO);
	} else {
		wait_at_front(disk, io);
	}
}

void viodma_disk_submit(struct viodma_disk *disk, struct viodma_disk_io *io)
{
	io->moved_bytes = 0;
	io->iovec_first = 0;
	io->attempts = 0;
	io->sync_after = io->buffered = io->copying = false;
	io->copy = NULL;
	io->next = NULL;
	*disk->waiting_end = io;
	disk->waiting_end = &io->next;
	disk->in_flight++;
}

static void start_attempt(struct viodma_disk *disk, struct viodma_disk_io *io)
{
	const enum viodma_disk_operation next = viodma_disk_next_operation(io);

	if (viodma_disk_is_range(next)) {
		viodma_disk_choose_method(disk, io);
		disk->workers->attempt(disk, io);
		return;
	}
	if (disk->direct_bytes && next != VIODMA_DISK_FLUSH)
		viodma_disk_prepare_direct(disk, io);
	disk->engine->attempt(disk, io);
}

void viodma_disk_kick(struct viodma_disk *disk)
{
	while (disk->waiting && disk->with_engine < disk->depth) {
		struct viodma_disk_io *io = disk->waiting;

		disk->waiting = io->next;
		if (!disk->waiting)
			disk->waiting_end = &disk->waiting;
		io->next = NULL;
		disk->with_engine++;
		start_attempt(disk, io);
	}
	disk->engine->kick(disk);
	if (disk->workers != disk->engine)
		disk->workers->kick(disk);
}

unsigned viodma_disk_reap(struct viodma_disk *disk)
{
	uint64_t counter;

	/* Take the signal before what it stands for: what comes in between signals again. */
	while (read(disk->event_fd, &counter, sizeof(counter)) < 0 && errno == EINTR)
		;
	disk->done_count = 0;
	disk->engine->reap(disk);
	if (disk->workers != disk->engine)
		disk->workers->reap(disk);
	viodma_disk_kick(disk);
	return disk->done_count;
}
