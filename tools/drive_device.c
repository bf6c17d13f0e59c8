/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * drive_device.c - how it works: the life of viodma/driver.h, for a vhost-user device:
 *
 *	connect -> hand memory over -> a session begins (drive_session.c)
 *	reset -> the session ends -> grants withdrawn
 *
 * Late restriction is the second line, then memory taken back, then another session.
 */
#include "tools/drive_session.h"

#include "tools/commands.h"
#include "tools/log.h"

#include <viodma/loop.h>
#include <viodma/wire/vhost_user.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TURN_NS 100000000u

volatile int drive_interrupted;

/* ---- what went wrong ---- */

int drive_exit_status(enum viodma_result result)
{
	switch (result) {
	case VIODMA_OK:
		return 0;
	case VIODMA_PEER_RESTRICTED:
	case VIODMA_PEER_NO_PASS_THROUGH:
	case VIODMA_PEER_BOTH_OFFERED:
	case VIODMA_PEER_LEGACY:
	case VIODMA_PEER_NO_PLATFORM_DMA:
	case VIODMA_PEER_NO_VERSION_1:
	case VIODMA_PEER_FEATURES:
		return EXIT_REFUSED;
	default:
		return EXIT_FAILED;
	}
}

void drive_failed(struct drive_device *device, const char *what, enum viodma_result result)
{
	const char *rule = viodma_result_requirement(result);

	if (device->said == result)
		return; /* once is enough: what comes after it fails in the same way */
	device->said = result;
	log_event(device->name, "%s: %s%s%s (%s)", drive_exit_status(result) == EXIT_REFUSED ? "refused" : what, rule,
		  *rule ? ": " : "", viodma_result_text(result), viodma_result_name(result));
}

enum viodma_result drive_check(struct drive_device *device, const char *what, enum viodma_result result)
{
	if (result != VIODMA_OK)
		drive_failed(device, what, result);
	return result;
}

/* --quiet leaves out success, and misses refused: what the device makes of them is said where it matters. */
static void log_of_front(void *context, const char *line)
{
	static const char *const routine[] = { ": connected: ", ": shared: ", ": no longer shared: ", ": refused: " };
	const struct drive_device *device = context;

	for (unsigned i = 0; device->options->quiet && i < sizeof(routine) / sizeof(routine[0]); i++)
		if (strstr(line, routine[i]))
			return;
	log_whole_line(line);
}

uint64_t drive_deadline_ns(const struct drive_device *device)
{
	return viodma_loop_now_ns() + ((uint64_t)device->options->timeout_ms + device->options->reconnect_ms) * 1000000;
}

/* ---- the beginning ---- */

static enum viodma_result describe(struct drive_device *device, bool late)
{
	const char *what = "";
	enum viodma_result result =
		drive_platform_make(&device->platform, device->options, late, device->private_bytes, &what);

	if (result != VIODMA_OK)
		log_event(device->name, "--platform: %s", what);
	return result;
}

/* What was asked for, and the back end does not have: the run goes on without. */
static void say_what_it_cannot(const struct drive_device *device)
{
	struct viodma_front_statistics statistics;

	viodma_front_statistics(device->front, &statistics);
	if (device->options->inband && !(statistics.protocol_features >> VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS_BIT & 1))
		log_event(device->name, "--inband: the back end has no notifications as messages");
}

static enum viodma_result connect_front(struct drive_device *device)
{
	const struct viodma_front_options front = {
		.name = device->name,
		.socket_path = device->options->socket_path,
		.socket_fd = device->options->socket_fd,
		.timeout_ms = device->options->timeout_ms,
		/* A record costs the back end something for each request. */
		.protocol_features_masked =
			device->options->reconnect_ms ? 0 : UINT64_C(1) << VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD_BIT,
		.inband_notifications = device->options->inband,
		.reconnect_ms = device->options->reconnect_ms,
		.log = log_of_front,
		.context = device,
	};
	const enum viodma_result result = viodma_front_connect(&front, &device->front);

	viodma_poller_init(&device->poller, device->options->poll_us);

	if (result == VIODMA_E_IO || result == VIODMA_E_INVALID)
		device->said = result; /* the front end has said all there is to say */
	if (result == VIODMA_OK)
		say_what_it_cannot(device);
	return drive_check(device, front.socket_path ? front.socket_path : "--fd", result);
}

enum viodma_result drive_device_open(struct drive_device *device, const struct drive_options *options, const char *name,
				     uint64_t private_bytes)
{
	enum viodma_result result;

	*device = (struct drive_device){ .name = name, .options = options, .private_bytes = private_bytes };
	result = describe(device, false);
	if (result == VIODMA_OK)
		result = drive_check(device, "making memory",
				     drive_memory_new(&device->memory, &device->platform, options->pool_bytes));
	if (result == VIODMA_OK)
		result = connect_front(device);
	if (result == VIODMA_OK && device->platform.share_private)
		result = drive_check(device, "handing memory over",
				     viodma_front_share(device->front, &device->memory.private));
	if (result == VIODMA_OK)
		result = drive_check(device, "handing memory over",
				     viodma_front_share(device->front, &device->memory.chunks[0]));
	return result == VIODMA_OK ? drive_session_begin(device) : result;
}

/* ---- the end ---- */

enum viodma_result drive_device_reset(struct drive_device *device)
{
	const uint64_t deadline = drive_deadline_ns(device);
	const struct timespec moment = { 0, 1000000 };
	enum viodma_result result = VIODMA_OK;
	void *token;

	while (device->negotiated && (result = viodma_driver_reset(&device->driver)) == VIODMA_WAIT) {
		if (viodma_loop_now_ns() >= deadline) {
			result = VIODMA_PEER_RESET;
			break;
		}
		nanosleep(&moment, NULL);
	}
	while (device->raw && viodma_driver_queue_take_back(&device->queues[0], &token) == VIODMA_OK)
		;
	device->raw = device->negotiated = device->running = false;
	return result;
}

enum viodma_result drive_device_stop(struct drive_device *device)
{
	enum viodma_result ended, result = drive_device_reset(device);

	drive_session_end(device, &result);
	ended = device->front ? viodma_front_withdraw_all(device->front) : VIODMA_OK;
	return result == VIODMA_OK ? ended : result;
}

enum viodma_result drive_device_restrict(struct drive_device *device)
{
	const bool shared = device->memory.private.fd >= 0;
	enum viodma_result result;

	log_event(device->name, "devices are restricted to the pool from now on (DRV-9)");
	result = drive_check(device, "resetting the device", drive_device_stop(device));
	device->late = true;
	if (result == VIODMA_OK && shared)
		result = drive_check(device, "taking memory back",
				     viodma_front_unshare(device->front, device->memory.private.object.phys));
	if (result == VIODMA_OK)
		result = drive_check(device, "making memory private", drive_memory_withdraw(&device->memory));
	if (result == VIODMA_OK)
		result = describe(device, true);
	return result == VIODMA_OK ? drive_session_begin(device) : result;
}

enum viodma_result drive_device_close(struct drive_device *device)
{
	enum viodma_result result = VIODMA_OK;

	if (device->front)
		result = drive_check(device, "ending", drive_device_stop(device));
	viodma_front_free(device->front);
	device->front = NULL;
	free(device->iommu_storage);
	free(device->waiting);
	free(device->debug_entries);
	device->iommu_storage = device->waiting = NULL;
	device->debug_entries = NULL;
	drive_memory_free(&device->memory);
	return result;
}

/* ---- while it runs ---- */

static enum viodma_result look(void *context, uint64_t now_ns, bool polled)
{
	struct drive_device *device = context;

	if (polled && drive_interrupted)
		return VIODMA_OK; /* whoever asked for this turn sees to it */
	viodma_driver_blk_set_polled(&device->blk, polled);
	return viodma_driver_blk_poll(&device->blk, now_ns);
}

/* A device can say so as often as it likes: once a second is enough. */
static void say_that_it_changed(struct drive_device *device, uint64_t now)
{
	if (device->options->quiet || (device->change_said_ns && now - device->change_said_ns < 1000000000u))
		return;
	device->change_said_ns = now;
	log_event(device->name, "the device says that its configuration has changed, or is another one");
}

enum viodma_result drive_device_turn(struct drive_device *device)
{
	enum viodma_result result = viodma_front_look(device->front, &device->poller, look, device);

	if (result == VIODMA_OK)
		return VIODMA_OK;
	if (result == VIODMA_EMPTY) {
		const uint64_t next = viodma_driver_blk_next_deadline(&device->blk);
		uint64_t deadline = viodma_loop_now_ns() + TURN_NS;

		if (next < deadline)
			deadline = next;
		result = viodma_front_wait(device->front, deadline);
		if (result == VIODMA_E_TIMEOUT)
			result = viodma_driver_check(&device->driver);
	}
	if (viodma_front_config_changed(device->front))
		say_that_it_changed(device, viodma_loop_now_ns());
	if (result == VIODMA_OK)
		result = viodma_domain_settle(&device->domain, false);
	if (result == VIODMA_E_QUARANTINED)
		result = VIODMA_OK; /* counted, and said at the end */
	return drive_check(device, "driving the device", result);
}

struct one {
	bool done;
	enum viodma_result result;
};

static void one_done(void *context, struct viodma_driver_blk_request *request, enum viodma_result result)
{
	struct one *one = context;

	(void)request;
	*one = (struct one){ true, result };
}

enum viodma_result drive_device_run(struct drive_device *device, struct viodma_driver_blk_request *request)
{
	struct one one = { false, VIODMA_OK };
	enum viodma_result result;

	request->done = one_done;
	request->context = &one;
	request->deadline_ns = drive_deadline_ns(device);
	result = drive_check(device, "asking the device", viodma_driver_blk_submit(&device->blk, request));
	while (result == VIODMA_OK && !one.done)
		result = drive_device_turn(device);
	if (result != VIODMA_OK && !one.done) {
		(void)drive_device_stop(device); /* the request is on the stack of somebody */
		return result;
	}
	return one.result;
}

enum viodma_result drive_device_quiesce(struct drive_device *device)
{
	enum viodma_result result = VIODMA_OK;

	while (result == VIODMA_OK && viodma_driver_blk_next_deadline(&device->blk) != UINT64_MAX)
		result = drive_device_turn(device);
	return result;
}

static enum viodma_result reset_queue(struct drive_device *device, struct viodma_driver_queue *queue)
{
	const uint64_t deadline = drive_deadline_ns(device);
	enum viodma_result result;
	void *token;

	while ((result = viodma_driver_queue_reset(queue, &device->driver)) == VIODMA_WAIT) {
		if (viodma_loop_now_ns() >= deadline)
			return VIODMA_PEER_QUEUE_RESET;
		result = viodma_front_wait(device->front, viodma_loop_now_ns() + 1000000);
		if (result != VIODMA_OK && result != VIODMA_E_TIMEOUT)
			return result;
	}
	while (result == VIODMA_OK && viodma_driver_queue_take_back(queue, &token) == VIODMA_OK)
		;
	if (result == VIODMA_OK)
		result = viodma_driver_queue_restart(queue);
	return result == VIODMA_OK ? viodma_driver_queue_enable(queue, &device->driver.transport) : result;
}

enum viodma_result drive_device_reset_queues(struct drive_device *device)
{
	enum viodma_result result = VIODMA_OK;

	for (unsigned i = 0; i < device->queue_count && result == VIODMA_OK; i++)
		result = reset_queue(device, &device->queues[i]);
	return drive_check(device, "resetting a queue", result);
}

/* With bit 33 clear nothing is in flight at a reset, if that can be had: see drive_transfer.c. */
void drive_device_give_up(struct drive_device *device, enum viodma_result why)
{
	if (device->running && device->driver.decision.addressing == VIODMA_ADDRESSING_PHYSICAL &&
	    (why == VIODMA_E_RESET || why == VIODMA_E_IO))
		(void)drive_device_quiesce(device);
	if (device->running)
		(void)drive_check(device, "resetting the device", drive_device_stop(device));
}
