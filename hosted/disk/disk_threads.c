/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * disk_threads.c - how it works: workers take attempts from a list, make the system call, and put them on another.
 * Both lists are under one lock; the disk's owner collects attempts without it and hands them on in kick. Whoever makes
 * the list of the ended non-empty signals the event descriptor.
 *
 * Workers are started when there is work and nobody idle, up to WORKERS_MAX (a slow disk is kept busy, a fast one needs
 * one or two), and stay until the disk is closed. They block all signals.
 */
#include "hosted/disk/engine.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define WORKERS_MAX 16u
#define WORKER_STACK_BYTES (256u * 1024)

struct list {
	struct viodma_disk_io *first, **end;
};

struct threads {
	struct viodma_disk *disk;
	struct list prepared; /* the owner's alone */
	unsigned prepared_count;
	unsigned worker_count;
	pthread_t workers[WORKERS_MAX];
	/* Shared, under the lock. */
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct list todo, ended;
	unsigned todo_count;
	unsigned idle;
	bool stop;
};

static void list_init(struct list *list)
{
	list->first = NULL;
	list->end = &list->first;
}

static void list_append(struct list *list, struct viodma_disk_io *io)
{
	io->next = NULL;
	*list->end = io;
	list->end = &io->next;
}

static struct viodma_disk_io *list_take(struct list *list)
{
	struct viodma_disk_io *io = list->first;

	list->first = io->next;
	if (!list->first)
		list->end = &list->first;
	return io;
}

static int64_t make_attempt(const struct viodma_disk *disk, struct viodma_disk_io *io, int write_flags)
{
	unsigned count;
	struct iovec *iovecs = viodma_disk_next_iovecs(io, &count);
	off_t offset = (off_t)(io->offset_bytes + io->moved_bytes);
	ssize_t result = -1;

	switch (viodma_disk_next_operation(io)) {
	case VIODMA_DISK_READ:
		result = preadv2(viodma_disk_fd(disk, io), iovecs, (int)count, offset, 0);
		break;
	case VIODMA_DISK_WRITE:
		result = pwritev2(viodma_disk_fd(disk, io), iovecs, (int)count, offset, write_flags);
		break;
	case VIODMA_DISK_FLUSH:
		result = fdatasync(disk->fd);
		break;
	case VIODMA_DISK_DISCARD:
	case VIODMA_DISK_ZERO:
	case VIODMA_DISK_SECURE_ERASE:
		return viodma_disk_range_attempt(disk, io);
	}
	return result < 0 ? -errno : result;
}

static void *worker(void *context)
{
	struct threads *threads = context;
	struct viodma_disk *disk = threads->disk;

	pthread_mutex_lock(&threads->lock);
	for (;;) {
		struct viodma_disk_io *io;
		bool signal;

		while (!threads->todo.first && !threads->stop) {
			threads->idle++;
			pthread_cond_wait(&threads->work, &threads->lock);
			threads->idle--;
		}
		if (!threads->todo.first)
			break;
		io = list_take(&threads->todo);
		threads->todo_count--;
		pthread_mutex_unlock(&threads->lock);
		/* The write's flags were decided by the owner, and wait in `result`. */
		io->result = make_attempt(disk, io, (int)io->result);
		pthread_mutex_lock(&threads->lock);
		signal = !threads->ended.first;
		list_append(&threads->ended, io);
		if (signal)
			viodma_disk_signal(disk);
	}
	pthread_mutex_unlock(&threads->lock);
	return NULL;
}

static int start_worker(struct threads *threads)
{
	sigset_t all, before;
	pthread_attr_t attributes;
	int error = pthread_attr_init(&attributes);

	if (error)
		return error;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_attr_setstacksize(&attributes, WORKER_STACK_BYTES);
	if (!error)
		error = pthread_create(&threads->workers[threads->worker_count], &attributes, worker, threads);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	if (!error)
		threads->worker_count++;
	return error;
}

static void threads_stop(struct viodma_disk *disk)
{
	struct threads *threads = disk->threads;

	pthread_mutex_lock(&threads->lock);
	threads->stop = true;
	pthread_cond_broadcast(&threads->work);
	pthread_mutex_unlock(&threads->lock);
	for (unsigned i = 0; i < threads->worker_count; i++)
		pthread_join(threads->workers[i], NULL);
	pthread_cond_destroy(&threads->work);
	pthread_mutex_destroy(&threads->lock);
	free(threads);
}

static int threads_start(struct viodma_disk *disk)
{
	struct threads *threads = calloc(1, sizeof(*threads));
	int error;

	if (!threads)
		return ENOMEM;
	threads->disk = disk;
	list_init(&threads->prepared);
	list_init(&threads->todo);
	list_init(&threads->ended);
	pthread_mutex_init(&threads->lock, NULL);
	pthread_cond_init(&threads->work, NULL);
	disk->threads = threads;
	error = start_worker(threads); /* with one there is progress, whatever the later ones meet */
	if (error)
		threads_stop(disk);
	return error;
}

static void threads_attempt(struct viodma_disk *disk, struct viodma_disk_io *io)
{
	struct threads *threads = disk->threads;

	io->result = viodma_disk_write_flags(disk, io);
	list_append(&threads->prepared, io);
	threads->prepared_count++;
}

static void threads_kick(struct viodma_disk *disk)
{
	struct threads *threads = disk->threads;
	unsigned wake, missing;

	if (!threads->prepared.first)
		return;
	pthread_mutex_lock(&threads->lock);
	*threads->todo.end = threads->prepared.first;
	threads->todo.end = threads->prepared.end;
	threads->todo_count += threads->prepared_count;
	list_init(&threads->prepared);
	threads->prepared_count = 0;
	wake = threads->todo_count < threads->idle ? threads->todo_count : threads->idle;
	missing = threads->todo_count - wake;
	for (unsigned i = 0; i < wake; i++)
		pthread_cond_signal(&threads->work);
	pthread_mutex_unlock(&threads->lock);
	while (missing-- && threads->worker_count < WORKERS_MAX)
		if (start_worker(threads))
			break; /* those there are do the work */
}

static void threads_reap(struct viodma_disk *disk)
{
	struct threads *threads = disk->threads;
	struct viodma_disk_io *ended;

	pthread_mutex_lock(&threads->lock);
	ended = threads->ended.first;
	list_init(&threads->ended);
	pthread_mutex_unlock(&threads->lock);
	while (ended) {
		struct viodma_disk_io *io = ended;

		ended = io->next;
		viodma_disk_attempted(disk, io, io->result);
	}
}

const struct viodma_disk_engine viodma_disk_engine_threads = {
	.name = "threads",
	.start = threads_start,
	.stop = threads_stop,
	.attempt = threads_attempt,
	.kick = threads_kick,
	.reap = threads_reap,
};
