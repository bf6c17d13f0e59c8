/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * notify.c - how it works: what front end and back end tell each other beside messages and requests: kicks in; calls,
 * errors, and that the configuration changed, out.
 *
 * A ring has an eventfd for each; without one it is polled. With INBAND_NOTIFICATIONS, a kick may be a message, and a
 * call or error for which there is no descriptor is one on the back end's channel: at most one of each kind and ring
 * without a reply at a time, so that a front end that is slow is told once more, and not once each. A ring without a
 * call descriptor, or a way to send, owes the call.
 *
 * Kick, call and error descriptors have to be eventfds: writing to a pipe nobody reads would raise a signal, and other
 * descriptors can be readable one moment and block the next. What the kernel calls them is the proof. They are made
 * non-blocking, but a front end can undo that: hosted/base/descriptors.c.
 */
#include "hosted/vhost_user/messages.h"

#include "core/base/require.h"

#include <errno.h>
#include <string.h>

/* ---- messages of the back end ---- */

static bool can_say(const struct viodma_vhost_user *backend, unsigned protocol_bit)
{
	return backend->channel.fd >= 0 && viodma_backend_negotiated(backend, protocol_bit);
}

static void say(struct viodma_vhost_user *backend, struct viodma_notice *notice, uint8_t request, unsigned ring)
{
	const struct viodma_question question = {ring, request, 0, false};

	notice->again = notice->out;
	if (!notice->out)
		notice->out = viodma_channel_say(backend, &question);
}

void viodma_notify_said(struct viodma_vhost_user *backend, const struct viodma_question *question, bool ok)
{
	struct viodma_vring *ring = &backend->rings[question->bus];
	struct viodma_notice *notice = question->request == VHOST_USER_BACKEND_CONFIG_CHANGE_MSG ? &backend->config_notice
				       : question->request == VHOST_USER_BACKEND_VRING_CALL	  ? &ring->call_notice
												  : &ring->err_notice;
	const bool again = notice->again;

	*notice = (struct viodma_notice){false, false};
	if (!ok && notice == &ring->call_notice)
		ring->call_owed = true;
	else if (again)
		say(backend, notice, question->request, (unsigned)question->bus);
}

bool viodma_vhost_user_config_changed(struct viodma_vhost_user *backend)
{
	if (!can_say(backend, VHOST_USER_PROTOCOL_F_CONFIG_BIT))
		return false;
	say(backend, &backend->config_notice, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG, 0);
	return true;
}

/* ---- calls and errors ---- */

/* True: this is a worker's thread, which leaves messages to the loop's. */
static bool left_to_the_loop(struct viodma_vring *ring, bool *say_it)
{
	if (!viodma_workers_several(ring->backend) || ring->backend->held)
		return false;
	*say_it = ring->worker->news = true;
	return true;
}

void viodma_vring_call(struct viodma_vring *ring)
{
	if (ring->call_fd >= 0)
		viodma_eventfd_tick(ring->call_fd);
	else if (ring->call_polled || !can_say(ring->backend, VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS_BIT))
		ring->call_owed = true;
	else if (!left_to_the_loop(ring, &ring->say_call))
		say(ring->backend, &ring->call_notice, VHOST_USER_BACKEND_VRING_CALL, ring->index);
}

void viodma_vring_call_owed(struct viodma_vring *ring)
{
	if (!ring->call_owed)
		return;
	ring->call_owed = false;
	viodma_vring_call(ring);
}

void viodma_vring_error(struct viodma_vring *ring)
{
	if (ring->err_fd >= 0)
		viodma_eventfd_tick(ring->err_fd);
	else if (can_say(ring->backend, VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS_BIT) &&
		 !left_to_the_loop(ring, &ring->say_error))
		say(ring->backend, &ring->err_notice, VHOST_USER_BACKEND_VRING_ERR, ring->index);
}

void viodma_notify_for_workers(struct viodma_vhost_user *backend)
{
	for (unsigned i = 0; viodma_workers_several(backend) && i < backend->options.queue_count; i++) {
		struct viodma_vring *ring = &backend->rings[i];
		const bool call = ring->say_call, error = ring->say_error;

		ring->say_call = ring->say_error = false;
		if (call)
			viodma_vring_call(ring);
		if (error)
			viodma_vring_error(ring);
	}
}

void viodma_vring_signal(struct viodma_vring *ring)
{
	if (ring->queue.running && viodma_queue_call_needed(&ring->queue))
		viodma_vring_call(ring);
}

/* ---- kicks ---- */

void viodma_vring_unwatch_kick(struct viodma_vring *ring)
{
	viodma_loop_unwatch(ring->kick_watch);
	ring->kick_watch = NULL;
}

void viodma_vring_drop_kick(struct viodma_vring *ring)
{
	viodma_vring_unwatch_kick(ring);
	viodma_descriptor_close(&ring->kick_fd);
	ring->polled = ring->kicked = ring->kicked_inband = ring->more = ring->busy = false;
}

void viodma_vring_kicked(void *context, unsigned events)
{
	struct viodma_vring *ring = context;

	(void)events;
	if (!viodma_eventfd_take(ring->kick_fd)) {
		viodma_backend_log_some(ring->backend, "ring %u: its kick descriptor cannot be read: %s", ring->index,
				   errno ? strerror(errno) : "it has ended");
		viodma_vring_unwatch_kick(ring);
		return;
	}
	ring->kicked = true;
	viodma_worker_schedule(ring->worker);
}

enum viodma_verdict viodma_handle_inband_kick(struct viodma_vhost_user *backend, struct viodma_message *message)
{
	struct viodma_vring *ring = &backend->rings[message->payload.state.index];
	enum viodma_result result;
	const char *why;

	if (!VIODMA_REQUIRE(PLT_9, !message->payload.state.num))
		return viodma_connection_refuse(backend, message->header.request, VIODMA_PEER_MESSAGE,
						"%u in a reserved field", message->payload.state.num);
	ring->kicked = ring->kicked_inband = true;
	viodma_worker_schedule(ring->worker);
	result = viodma_vring_try_start(ring, &why);
	if (result == VIODMA_OK)
		return VIODMA_DONE;
	return viodma_connection_refuse(backend, message->header.request, result, "%s", why);
}

void viodma_vring_polling(struct viodma_vring *ring)
{
	if (ring->polled)
		viodma_loop_arm(ring->worker->poll_timer, viodma_loop_now_ns() + VIODMA_BACKEND_POLL_NS);
}

void viodma_worker_poll(void *context)
{
	struct viodma_worker *worker = context;
	struct viodma_vhost_user *backend = worker->backend;

	for (unsigned i = worker->index; i < backend->options.queue_count; i += backend->worker_count)
		if (backend->rings[i].polled && backend->rings[i].queue.running) {
			backend->rings[i].kicked = true;
			viodma_vring_polling(&backend->rings[i]);
			viodma_worker_schedule(worker);
		}
}
