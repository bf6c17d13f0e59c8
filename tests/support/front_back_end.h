/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * front_back_end.h - the library's own vhost-user back end with a disk image in a temporary file, in a thread with a loop
 * of its own: what a front end is tested against.
 */
#ifndef VIODMA_TESTS_FRONT_BACK_END_H
#define VIODMA_TESTS_FRONT_BACK_END_H

#include "hosted/device/blk_on_disk.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct back_end {
	struct viodma_loop *loop; /* NULL: it has ended */
	struct viodma_blk_on_disk *device;
	struct viodma_vhost_user *backend;
	pthread_t thread;
	char path[64];
	int image_fd;
};

static inline void *back_end_run(void *context)
{
	viodma_loop_run(context);
	return NULL;
}

/* A back end; the front end's descriptor is the answer. -1: it cannot be made. */
static inline int back_end_start(struct back_end *back, uint64_t image_bytes, enum viodma_platform_dma policy)
{
	struct viodma_disk_options disk = {.path = back->path, .engine = VIODMA_DISK_THREADS};
	struct viodma_blk_on_disk_options device = {.blk_size = 512};
	struct viodma_vhost_user_options options = {.name = "back", .platform_dma = policy};
	char text[256];
	int pair[2];

	strcpy(back->path, "/tmp/viodma-test-front-XXXXXX");
	back->image_fd = mkstemp(back->path);
	if (back->image_fd < 0 || ftruncate(back->image_fd, (off_t)image_bytes) < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	viodma_blk_on_disk_limits(&options);
	options.queue_count = 2;
	options.queue_size_max = 64;
	options.iotlb_entries = 4096;
	options.socket_fd = pair[1];
	if (viodma_loop_new(&back->loop) != VIODMA_OK ||
	    viodma_disk_open(&disk, &device.disk, text, sizeof(text)) != VIODMA_OK)
		return -1;
	unlink(back->path); /* whoever has it open has it */
	device.loop = back->loop;
	if (viodma_blk_on_disk_new(&device, &back->device) != VIODMA_OK ||
	    viodma_vhost_user_new(back->loop, &viodma_blk_on_disk_ops, back->device, &options, &back->backend) != VIODMA_OK)
		return -1;
	viodma_blk_on_disk_set_backend(back->device, back->backend);
	return pthread_create(&back->thread, NULL, back_end_run, back->loop) == 0 ? pair[0] : -1;
}

/* It ends, and hangs up. Pre: nothing is in flight. */
static inline bool back_end_stop(struct back_end *back)
{
	bool ended;

	if (!back->loop)
		return true;
	viodma_loop_stop(back->loop);
	pthread_join(back->thread, NULL);
	ended = viodma_vhost_user_free(back->backend) == VIODMA_OK;
	viodma_blk_on_disk_set_backend(back->device, NULL);
	ended = viodma_blk_on_disk_free(back->device) == VIODMA_OK && ended;
	viodma_loop_free(back->loop);
	back->loop = NULL;
	return ended;
}

/* Stopped, and its image gone. */
static inline bool back_end_end(struct back_end *back)
{
	const bool ended = back_end_stop(back);

	close(back->image_fd);
	return ended;
}

#endif
