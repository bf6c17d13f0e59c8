/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * connection.c - how it works: the socket is read message by message, first exactly a header, then exactly its
 * payload, so that descriptors that arrive belong to the message in hand. Reads and writes may be partial and never
 * block. The next message is read only when the last one has been answered and its answer was taken: one reply is all
 * the room there is, and a front end that does not read its replies is not read either. While a revocation is pending
 * nothing is read.
 *
 * Descriptors are gathered with the message and closed with it; a handler that keeps one takes it out. So whatever
 * becomes of a message, none leaks.
 *
 * A message that is refused for good is acknowledged (if it asked), logged, and ends the connection. The sockets close
 * then and there; the memory stays mapped until nothing in flight uses it (revoke.c).
 */
#include "hosted/vhost_user/messages.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void viodma_close_fds(struct viodma_message *message)
{
	unsigned count = message->fd_count < VIODMA_DESCRIPTORS_MAX ? message->fd_count : VIODMA_DESCRIPTORS_MAX;

	for (unsigned i = 0; i < count; i++)
		if (message->fds[i] >= 0)
			close(message->fds[i]);
	message->fd_count = 0;
}

/* ---- out ---- */

/* Its descriptor goes with the first byte. */
static ssize_t send_some(struct viodma_connection *connection)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec vector = {connection->out + connection->out_sent, connection->out_bytes - connection->out_sent};
	struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
	ssize_t sent;

	if (connection->out_fd >= 0) {
		memset(&control, 0, sizeof(control));
		control.header = (struct cmsghdr){
			.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(&control.header), &connection->out_fd, sizeof(int));
		message.msg_control = control.space;
		message.msg_controllen = sizeof(control.space);
	}
	sent = sendmsg(connection->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent > 0)
		viodma_descriptor_close(&connection->out_fd);
	return sent;
}

static void flush(struct viodma_vhost_user *backend)
{
	struct viodma_connection *connection = &backend->connection;

	while (connection->out_sent < connection->out_bytes) {
		ssize_t sent = send_some(connection);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return; /* watched for */
		if (sent < 0)
			break; /* it has hung up; reading says so */
		connection->out_sent += (size_t)sent;
	}
	connection->out_sent = connection->out_bytes = 0;
	viodma_descriptor_close(&connection->out_fd);
}

void viodma_connection_reply(struct viodma_vhost_user *backend, uint32_t request, const void *payload, size_t bytes)
{
	viodma_connection_reply_fd(backend, request, payload, bytes, -1);
}

void viodma_connection_reply_fd(struct viodma_vhost_user *backend, uint32_t request, const void *payload, size_t bytes,
				int fd)
{
	struct viodma_connection *connection = &backend->connection;
	const struct vhost_user_header header = {request, VHOST_USER_VERSION | VHOST_USER_REPLY, (uint32_t)bytes};

	if (connection->fd < 0 || connection->out_bytes) { /* there is room for one: see above */
		viodma_descriptor_close(&fd);
		return;
	}
	connection->out_fd = fd;
	memcpy(connection->out, &header, sizeof(header));
	if (bytes)
		memcpy(connection->out + sizeof(header), payload, bytes);
	connection->out_bytes = sizeof(header) + bytes;
	connection->out_sent = 0;
	flush(backend);
}

static void acknowledge(struct viodma_vhost_user *backend, uint32_t request, bool ok)
{
	const uint64_t word = ok ? 0 : 1;

	viodma_connection_reply(backend, request, &word, sizeof(word));
}

/* Connections come and go as often as front ends like, and each can say something wrong: so many a second are told of. */
static bool may_tell(struct viodma_vhost_user *backend)
{
	uint64_t left_out;

	if (backend->connection.told)
		return true;
	if (!viodma_rate_limit_allow_of(&backend->connection_limit, viodma_loop_now_ns(),
					VIODMA_BACKEND_LINES_PER_SECOND, 1000000000u, &left_out))
		return false;
	viodma_backend_log_left_out(backend, left_out);
	backend->connection.told = true;
	return true;
}

void viodma_connection_log(struct viodma_vhost_user *backend, const char *format, ...)
{
	char text[512];
	va_list arguments;

	if (!may_tell(backend))
		return;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	viodma_backend_log(backend, "%s", text);
}

enum viodma_verdict viodma_connection_refuse(struct viodma_vhost_user *backend, uint32_t request,
					     enum viodma_result result, const char *format, ...)
{
	const char *requirement = viodma_result_requirement(result);
	char text[256];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	viodma_connection_log(backend, "%s refused: %s%s%s: %s", viodma_message_name(request), requirement,
			      *requirement ? " " : "", viodma_result_text(result), text);
	return VIODMA_FATAL;
}

/* ---- the end ---- */

static void finish(struct viodma_vhost_user *backend)
{
	struct viodma_connection *connection = &backend->connection;

	viodma_loop_unwatch(connection->watch);
	connection->watch = NULL;
	close(connection->fd);
	connection->fd = -1;
	viodma_close_fds(&connection->message);
	viodma_descriptor_close(&connection->out_fd);
	connection->message.have_bytes = 0;
	connection->out_bytes = connection->out_sent = 0;
	viodma_channel_close(backend);
	for (unsigned i = 0; i < backend->options.queue_count; i++)
		viodma_vring_unwatch_kick(&backend->rings[i]);
	viodma_revocation_begin(backend, VIODMA_REVOKE_CONNECTION, NULL);
	viodma_revocation_advance(backend);
}

void viodma_connection_end(struct viodma_vhost_user *backend, const char *format, ...)
{
	struct viodma_connection *connection = &backend->connection;
	char text[256];
	va_list arguments;

	if (connection->fd < 0)
		return;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	if (may_tell(backend)) {
		viodma_faults_unlogged(backend);
		viodma_backend_log_left_out(backend, backend->log_limit.suppressed + backend->ring_limit.suppressed);
		backend->log_limit.suppressed = backend->ring_limit.suppressed = 0;
		viodma_backend_log(backend, "disconnected: %s", text);
	}
	finish(backend);
}

/* ---- in ---- */

static bool may_read(const struct viodma_vhost_user *backend)
{
	return backend->connection.fd >= 0 && !backend->connection.out_bytes &&
	       backend->revocation.kind == VIODMA_REVOKE_NOTHING;
}

void viodma_connection_update(struct viodma_vhost_user *backend)
{
	struct viodma_connection *connection = &backend->connection;
	unsigned events;

	if (connection->fd < 0)
		return;
	events = (may_read(backend) ? VIODMA_LOOP_IN : 0) | (connection->out_bytes ? VIODMA_LOOP_OUT : 0);
	if (viodma_loop_change(connection->watch, events) != VIODMA_OK)
		viodma_connection_end(backend, "cannot wait for the socket: %s", strerror(errno));
	else
		viodma_channel_update(backend);
}

static void conclude(struct viodma_vhost_user *backend, enum viodma_verdict verdict)
{
	struct viodma_message *message = &backend->connection.message;
	const struct vhost_user_header header = message->header;
	const bool ack = viodma_message_wants_ack(backend, &header);

	viodma_close_fds(message);
	message->have_bytes = 0;
	switch (verdict) {
	case VIODMA_LATER:
		viodma_revocation_advance(backend);
		break;
	case VIODMA_DONE:
	case VIODMA_REFUSED:
		if (ack)
			acknowledge(backend, header.request, verdict == VIODMA_DONE);
		break;
	default:
		if (ack)
			acknowledge(backend, header.request, false);
		viodma_connection_end(backend, "after %s was refused", viodma_message_name(header.request));
		break;
	}
}

enum progress { WHOLE, WOULD_BLOCK, ENDED };

/* Read until `wanted` bytes of the message are there. */
static enum progress fill(struct viodma_vhost_user *backend, size_t wanted)
{
	struct viodma_message *message = &backend->connection.message;

	while (message->have_bytes < wanted) {
		const size_t header_bytes = sizeof(message->header);
		const size_t have = message->have_bytes;
		unsigned char *to = have < header_bytes ? (unsigned char *)&message->header + have
							: message->payload.bytes + (have - header_bytes);
		ssize_t got = viodma_descriptors_receive(backend->connection.fd, to, wanted - have, message->fds,
							 VIODMA_DESCRIPTORS_MAX, &message->fd_count);

		if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return WOULD_BLOCK;
		if (got < 0) {
			viodma_connection_end(backend, "reading: %s", strerror(errno));
			return ENDED;
		}
		if (got == 0) {
			viodma_connection_end(backend, have ? "the front end hung up within a message"
							    : "the front end hung up");
			return ENDED;
		}
		message->have_bytes += (size_t)got;
	}
	return WHOLE;
}

static enum progress read_one(struct viodma_vhost_user *backend)
{
	struct viodma_message *message = &backend->connection.message;
	bool had_header = message->have_bytes >= sizeof(message->header);
	enum progress progress;

	if (!had_header) {
		bool well_formed;

		progress = fill(backend, sizeof(message->header));
		if (progress != WHOLE)
			return progress;
		memset(&message->payload, 0, sizeof(message->payload));
		if (viodma_message_check_header(backend, &message->header, &well_formed) != VIODMA_DONE) {
			if (!well_formed)
				message->header.flags = 0; /* who knows what it asked for */
			conclude(backend, VIODMA_FATAL);
			return ENDED;
		}
	}
	progress = fill(backend, sizeof(message->header) + message->header.size);
	if (progress == WHOLE)
		conclude(backend, viodma_message_handle(backend, message));
	return progress;
}

void viodma_connection_read(struct viodma_vhost_user *backend)
{
	enum progress progress = WHOLE;

	for (unsigned n = 0; n < VIODMA_BACKEND_MESSAGES_PER_TURN && progress == WHOLE && may_read(backend); n++)
		progress = read_one(backend);
	if (backend->connection.fd < 0)
		return;
	if (progress == WOULD_BLOCK)
		viodma_channel_replies(backend); /* all that was sent before them has been dealt with */
	viodma_connection_update(backend);
	viodma_backend_schedule(backend);
}

/* Replies wait for the main socket to be read dry, but it may be dry already, and nothing more come on it. */
void viodma_connection_catch_up(struct viodma_vhost_user *backend)
{
	if (may_read(backend) && viodma_channel_has_replies(backend))
		viodma_connection_read(backend);
}

static void ready(void *context, unsigned events)
{
	struct viodma_vhost_user *backend = context;

	viodma_workers_hold(backend);
	if (events & VIODMA_LOOP_OUT)
		flush(backend);
	if (may_read(backend))
		viodma_connection_read(backend);
	else
		viodma_connection_update(backend);
	viodma_workers_release(backend);
}

enum viodma_result viodma_connection_open(struct viodma_vhost_user *backend, int fd)
{
	struct viodma_connection *connection = &backend->connection;
	enum viodma_result result;

	result = viodma_loop_watch(backend->loop, fd, VIODMA_LOOP_IN, ready, backend, &connection->watch);
	if (result != VIODMA_OK)
		return result;
	connection->fd = fd;
	connection->message.have_bytes = 0;
	connection->message.fd_count = 0;
	connection->out_bytes = connection->out_sent = 0;
	connection->protocol_features = 0;
	connection->features_set = connection->told = false;
	backend->connections++;
	viodma_connection_log(backend, "connected");
	return VIODMA_OK;
}
