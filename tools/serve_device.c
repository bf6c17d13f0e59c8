/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * serve_device.c - how it works: everything is made in the main thread, so that what goes wrong is said before anybody
 * serves anything. Then the device's own thread runs its loop until the end; the main thread reaches in with
 * viodma_loop_call.
 *
 * The end: the back end is freed, which waits for requests with the device. While it is busy, a timer tries again. A
 * device that does not answer in time is stuck: the program then says so, and exits without freeing memory the kernel
 * may still use.
 */
#include "tools/serve_device.h"

#include "tools/log.h"
#include "tools/test_requests.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#define STOP_RETRY_NS 2000000u
#define LEAST_PATIENCE_NS 500000000u
#define FINISHED_POLL_NS 20000000u

void serve_device_log(void *context, const char *line)
{
	const struct serve_device *serve = context;

	log_line(serve->name, line);
}

static void log_of_backend(void *context, const char *line)
{
	(void)context;
	log_whole_line(line);
}

static void on_ring(void *context, unsigned queue, const struct viodma_queue_setup *setup, bool start)
{
	struct serve_device *serve = context;

	trace_ring(&serve->trace, queue, setup, start);
}

/* ---- setting up ---- */

bool serve_device_open(struct serve_device *serve)
{
	return !serve->type->open || serve->type->open(serve);
}

/* A listening socket has another front end to come, always. */
static bool fd_is_connected(int fd)
{
	int listening = 0;
	socklen_t bytes = sizeof(listening);

	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &bytes) == 0 && !listening;
}

static void look_whether_finished(void *context)
{
	struct serve_device *serve = context;

	if (serve->backend && viodma_vhost_user_finished(serve->backend))
		serve->finished(serve->finished_context);
	else
		viodma_loop_arm(serve->finished_timer, viodma_loop_now_ns() + FINISHED_POLL_NS);
}

static void try_to_end(void *context);

static bool make_backend(struct serve_device *serve)
{
	const struct serve_device_options *device = serve->device_options;
	struct viodma_vhost_user_options options = {
		.name = serve->name,
		.socket_path = device->socket_path,
		.socket_fd = device->socket_fd,
		.platform_dma = serve->options->platform_dma,
		.platform_dma_bit = serve->options->platform_dma_bit,
		.access = serve->options->copy ? VIODMA_ACCESS_COPY : VIODMA_ACCESS_PIN,
		.iotlb_entries = serve->options->iotlb_entries,
		.revoke_timeout_ms = serve->options->revoke_timeout_ms,
		.ring_features_also = serve->options->ring_features_also,
		.ring_features_masked = serve->options->ring_features_masked,
		.poll_us = serve->options->poll_us,
		.log = log_of_backend,
		.ring = on_ring,
		.context = serve,
	};

	if (serve->type->options->queues)
		serve->type->options->queues(device, &options);
	serve->type->options->limits(&options);
	if (serve->trace.trace) {
		serve->events = trace_events(&serve->trace);
		options.events = &serve->events;
	}
	if (viodma_vhost_user_new(serve->loop, serve->type->ops, serve->device, &options, &serve->backend) !=
	    VIODMA_OK) {
		serve->backend = NULL;
		return false; /* the reason was logged */
	}
	serve->type->set_backend(serve->device, serve->backend);
	return true;
}

bool serve_device_listen(struct serve_device *serve)
{
	const struct serve_device_options *device = serve->device_options;
	const bool watch_end = !device->socket_path && fd_is_connected(device->socket_fd);

	if (device->socket_fd >= 0)
		(void)fcntl(device->socket_fd, F_SETFD, FD_CLOEXEC);
	if (viodma_loop_new(&serve->loop) != VIODMA_OK ||
	    viodma_loop_timer(serve->loop, try_to_end, serve, &serve->stop_timer) != VIODMA_OK ||
	    viodma_loop_timer(serve->loop, look_whether_finished, serve, &serve->finished_timer) != VIODMA_OK) {
		log_event(serve->name, "setting up the event loop: %s", strerror(errno));
		return false;
	}
	serve->report = (struct device_report){
		.name = serve->name,
		.type = serve->type->options->name,
		.socket = device->socket_path,
		.policy = serve->options->platform_dma,
	};
	if (!serve->type->make(serve) || !make_backend(serve))
		return false;
	if (watch_end)
		viodma_loop_arm(serve->finished_timer, 0);
	return true;
}

static void *run(void *context)
{
	struct serve_device *serve = context;

	viodma_loop_run(serve->loop);
	return NULL;
}

bool serve_device_start(struct serve_device *serve)
{
	int error = pthread_create(&serve->thread, NULL, run, serve);

	if (error) {
		log_event(serve->name, "starting its thread: %s", strerror(error));
		return false;
	}
	serve->thread_runs = true;
	return true;
}

/* ---- in the device's thread ---- */

static void take_report(void *context)
{
	struct serve_device *serve = context;

	if (serve->backend) {
		viodma_vhost_user_hold(serve->backend);
		viodma_vhost_user_statistics(serve->backend, &serve->report.backend);
	}
	serve->type->report(serve->device, &serve->report);
	if (serve->backend)
		viodma_vhost_user_release(serve->backend);
}

static void try_to_end(void *context)
{
	struct serve_device *serve = context;

	take_report(serve);
	if (viodma_vhost_user_free(serve->backend) == VIODMA_OK) {
		serve->backend = NULL;
		serve->type->set_backend(serve->device, NULL);
	} else if (viodma_loop_now_ns() < serve->stop_deadline_ns) {
		viodma_loop_arm(serve->stop_timer, viodma_loop_now_ns() + STOP_RETRY_NS);
		return;
	} else {
		char text[64];

		serve->stuck = true;
		serve->type->busy(serve->device, text, sizeof(text));
		log_event(serve->name, "%s did not end within %u ms", text, SERVE_STOP_PATIENCE_MS);
	}
	take_report(serve);
	viodma_loop_stop(serve->loop);
}

static void begin_to_end(void *context)
{
	struct serve_device *serve = context;

	test_requests_free(serve->test_requests);
	serve->test_requests = NULL;
	viodma_loop_arm(serve->finished_timer, UINT64_MAX);
	serve->stop_deadline_ns = viodma_loop_now_ns() + (uint64_t)SERVE_STOP_PATIENCE_MS * 1000000;
	try_to_end(serve);
}

/* ---- from the main thread ---- */

/* Have the device's thread make a call, but do not hang with it. */
static bool reach(struct serve_device *serve, void (*call)(void *context), uint64_t deadline_ns)
{
	const uint64_t least = viodma_loop_now_ns() + LEAST_PATIENCE_NS; /* others may have used up the time */
	const uint64_t deadline = deadline_ns > least ? deadline_ns : least;
	enum viodma_result result = viodma_loop_call_until(serve->loop, call, serve, deadline);

	if (result != VIODMA_OK)
		log_event(serve->name, "the device's thread does not answer: %s", viodma_result_text(result));
	return result == VIODMA_OK;
}

bool serve_device_report(struct serve_device *serve, uint64_t deadline_ns)
{
	return reach(serve, take_report, deadline_ns);
}

static void look_again(void *context)
{
	struct serve_device *serve = context;

	if (!serve->backend)
		return; /* it ends */
	viodma_vhost_user_hold(serve->backend);
	serve->type->look_again(serve);
	viodma_vhost_user_release(serve->backend);
}

bool serve_device_look_again(struct serve_device *serve, uint64_t deadline_ns)
{
	return !serve->type->look_again || reach(serve, look_again, deadline_ns);
}

void serve_device_stop(struct serve_device *serve, uint64_t deadline_ns)
{
	if (serve->thread_runs && !reach(serve, begin_to_end, deadline_ns))
		serve->unreachable = true;
}

void serve_device_join(struct serve_device *serve)
{
	struct timespec deadline;
	int error;

	if (!serve->thread_runs || serve->unreachable)
		return;
	/* What it waits for has a limit; a write that blocks in it has not. */
	clock_gettime(CLOCK_REALTIME, &deadline);
	deadline.tv_sec += 2 * SERVE_STOP_PATIENCE_MS / 1000;
	error = pthread_timedjoin_np(serve->thread, NULL, &deadline);
	if (error) {
		log_event(serve->name, "its thread does not end: %s", strerror(error));
		serve->unreachable = true;
		return;
	}
	serve->thread_runs = false;
}

bool serve_device_free(struct serve_device *serve)
{
	/* Nothing is in flight: the back end cannot be busy. */
	test_requests_free(serve->test_requests);
	if (serve->backend)
		(void)!viodma_vhost_user_free(serve->backend);
	if (serve->type && serve->type->free(serve->device, serve->behind) != VIODMA_OK) {
		log_event(serve->name, "what is behind it does not end");
		return false;
	}
	viodma_loop_free(serve->loop);
	memset(serve, 0, sizeof(*serve));
	return true;
}
