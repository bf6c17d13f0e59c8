/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * serve_blk.h - one served disk: image, virtio-blk device, vhost-user back end, and the thread and loop they live in.
 *
 * Thread: every function here is called by the main thread.
 */
#ifndef VIODMA_TOOLS_SERVE_BLK_H
#define VIODMA_TOOLS_SERVE_BLK_H

#include "hosted/device/blk_on_disk.h"
#include "tools/serve_options.h"
#include "tools/statistics.h"
#include "tools/trace.h"

#include <pthread.h>

#define SERVE_STOP_PATIENCE_MS 5000u

struct test_requests;

struct serve_blk {
	char name[16];
	const struct serve_options *options;
	const struct serve_device_options *device_options;
	struct trace_device trace;
	struct viodma_space_events events;
	void (*finished)(void *context); /* the front end has gone for good; called in the device's thread */
	void *finished_context;

	struct viodma_loop *loop;
	struct viodma_disk *disk; /* until `device` owns it */
	struct viodma_blk_on_disk *device;
	struct viodma_vhost_user *backend;
	struct viodma_loop_timer *stop_timer, *finished_timer;
	struct test_requests *test_requests;
	uint64_t stop_deadline_ns;
	bool stuck; /* requests did not end in time */
	bool unreachable; /* its thread did not answer: nothing of it may be freed */
	pthread_t thread;
	bool thread_runs;
	struct device_report report;
};

/*
 * In this order, each after the one before it has answered true; false: why was logged. The strings of the options
 * must outlive the device. Zero it, then set name, options, device_options, trace and finished first.
 */
bool serve_blk_open(struct serve_blk *serve);   /* the image */
bool serve_blk_listen(struct serve_blk *serve); /* the device and its back end */
bool serve_blk_start(struct serve_blk *serve);  /* the thread; it inherits blocked signals */

/* What it counted, now. False: its thread did not answer by then, which was logged. */
bool serve_blk_report(struct serve_blk *serve, uint64_t deadline_ns);

/*
 * Begin to stop: requests may end, for at most SERVE_STOP_PATIENCE_MS. Then join; the report is that of the end.
 * A thread that does not answer by deadline_ns is logged, and left alone: unreachable.
 */
void serve_blk_stop(struct serve_blk *serve, uint64_t deadline_ns);
void serve_blk_join(struct serve_blk *serve);

/* Free it, however far it came. Pre: stopped, neither stuck nor unreachable. */
void serve_blk_free(struct serve_blk *serve);

#endif
