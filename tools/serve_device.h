/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * serve_device.h - one served device of any type: what is behind it (a disk, a source of random bytes), the vhost-user
 * back end, and the thread and loop they live in.
 *
 * Thread: every function here is called by the main thread; the operations of a type as said there.
 */
#ifndef VIODMA_TOOLS_SERVE_DEVICE_H
#define VIODMA_TOOLS_SERVE_DEVICE_H

#include "tools/serve_options.h"
#include "tools/statistics.h"
#include "tools/trace.h"

#include <pthread.h>

#define SERVE_STOP_PATIENCE_MS 5000u

struct serve_device;
struct test_requests;

/* A device type. */
struct serve_type {
	const struct serve_type_options *options;
	const struct viodma_vhost_user_ops *ops; /* of the back end; their context is serve_device.device */
	/* Open what is behind it: serve_device.behind. False: why was logged. NULL: that needs the loop. */
	bool (*open)(struct serve_device *serve);
	/* Make serve_device.device, in its loop. False: why was logged. */
	bool (*make)(struct serve_device *serve);
	void (*set_backend)(void *device, struct viodma_vhost_user *backend);
	/* What is behind it may have changed. In the device's thread. NULL: it does not. */
	void (*look_again)(struct serve_device *serve);
	/* Fill in the type's part of the report. In the device's thread. */
	void (*report)(void *device, struct device_report *report);
	/* What it waits for, as text for "... did not end": "3 disk operations". In the device's thread. */
	void (*busy)(const void *device, char *text, size_t bytes);
	/* Free device and behind, each of which may be NULL. VIODMA_E_BUSY: it cannot end, and stays. */
	enum viodma_result (*free)(void *device, void *behind);
};

extern const struct serve_type serve_blk, serve_rng;

struct serve_device {
	char name[16];
	const struct serve_type *type;
	const struct serve_options *options;
	const struct serve_device_options *device_options;
	struct trace_device trace;
	struct viodma_space_events events;
	void (*finished)(void *context); /* the front end has gone for good; called in the device's thread */
	void *finished_context;

	struct viodma_loop *loop;
	void *behind; /* the type's, until `device` owns it */
	void *device;
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
 * must outlive the device. Zero it, then set name, type, options, device_options, trace and finished first.
 */
bool serve_device_open(struct serve_device *serve);   /* what is behind it */
bool serve_device_listen(struct serve_device *serve); /* the device and its back end */
bool serve_device_start(struct serve_device *serve);  /* the thread; it inherits blocked signals */

/* What it counted, now. False: its thread did not answer by then, which was logged. */
bool serve_device_report(struct serve_device *serve, uint64_t deadline_ns);

/* Have it look at what is behind it again. False: its thread did not answer by then, which was logged. */
bool serve_device_look_again(struct serve_device *serve, uint64_t deadline_ns);

/*
 * Begin to stop: requests may end, for at most SERVE_STOP_PATIENCE_MS. Then join; the report is that of the end.
 * A thread that does not answer by deadline_ns is logged, and left alone: unreachable.
 */
void serve_device_stop(struct serve_device *serve, uint64_t deadline_ns);
void serve_device_join(struct serve_device *serve);

/* Free it, however far it came. Pre: stopped, neither stuck nor unreachable. False: it cannot end, which was logged. */
bool serve_device_free(struct serve_device *serve);

/* For a type's options: a line about this device; context is the serve_device. */
void serve_device_log(void *context, const char *line);

#endif
