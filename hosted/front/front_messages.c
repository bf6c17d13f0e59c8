/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * front_messages.c - how it works: there is one request at a time. It is sent whole, with its descriptors; if an answer is
 * due, that is the next thing the main socket may bring, and it must name the request, be a reply of version 1, have the
 * size that is due, and bring no descriptors. Anything else ends the connection (PLT-9), as does silence: an answer that
 * comes after its time would be taken for another one's.
 *
 * While an answer is waited for, the back end's questions are served, because it may need them answered to be able to
 * answer. A question is answered with a message on this socket, so none is served while a message is half sent; nothing
 * is posted without reading between that could fill a socket, unless the back end does not read at all.
 *
 * Without REPLY_ACK a message is followed by GET_FEATURES: messages are dealt with in order, so its answer is the proof.
 */
#include "hosted/front/front.h"

#include "core/base/require.h"

#include <viodma/loop.h>

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define NS_PER_MS 1000000u

uint64_t viodma_front_deadline(const struct viodma_front *front)
{
	return viodma_loop_now_ns() + (uint64_t)front->options.timeout_ms * NS_PER_MS;
}

/* How many milliseconds are left, rounded up; 0: none. */
static int left_ms(uint64_t deadline_ns)
{
	const uint64_t now = viodma_loop_now_ns();
	uint64_t left = now < deadline_ns ? (deadline_ns - now + (NS_PER_MS - 1)) / NS_PER_MS : 0;

	return left < INT32_MAX ? (int)left : INT32_MAX;
}

static bool would_block(void)
{
	return errno == EAGAIN || errno == EWOULDBLOCK;
}

/* ---- out ---- */

static ssize_t send_some(int fd, struct iovec vector, const int *fds, unsigned fd_count)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int) * VHOST_USER_MEMORY_REGIONS)];
	} control = {0};
	struct msghdr header = {.msg_iov = &vector, .msg_iovlen = 1};
	ssize_t sent;

	if (fd_count) {
		header.msg_control = control.space;
		header.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
		memcpy(CMSG_DATA(&control.align), fds, sizeof(int) * fd_count);
	}
	do
		sent = sendmsg(fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent;
}

enum viodma_result viodma_front_send(struct viodma_front *front, int fd, const void *data, size_t bytes, const int *fds,
				     unsigned fd_count)
{
	const uint64_t deadline_ns = front->turn_deadline_ns ? front->turn_deadline_ns : viodma_front_deadline(front);
	size_t at = 0;

	while (at < bytes) {
		struct iovec vector = {(unsigned char *)(uintptr_t)data + at, bytes - at};
		struct pollfd room = {.fd = fd, .events = POLLOUT};
		ssize_t sent = send_some(fd, vector, fds, at ? 0 : fd_count);
		int left;

		if (sent > 0) {
			at += (size_t)sent;
			continue;
		}
		if (sent < 0 && (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN))
			return viodma_front_hung_up(front, "while it was written to");
		if (sent < 0 && !would_block())
			return viodma_front_break(front, VIODMA_E_IO, "sending: %s", strerror(errno));
		left = left_ms(deadline_ns);
		if (!left)
			return viodma_front_break(front, VIODMA_E_TIMEOUT, "it does not read what it is sent");
		(void)poll(&room, 1, left);
	}
	return VIODMA_OK;
}

enum viodma_result viodma_front_post(struct viodma_front *front, uint32_t request, bool need_reply, const void *payload,
				     size_t bytes, const int *fds, unsigned fd_count)
{
	const struct vhost_user_header header = {
		request,
		VHOST_USER_VERSION | (need_reply ? VHOST_USER_NEED_REPLY : 0),
		(uint32_t)bytes,
	};
	unsigned char message[sizeof(header) + sizeof(union viodma_payload)];

	if (front->broken != VIODMA_OK)
		return front->broken;
	memcpy(message, &header, sizeof(header));
	if (bytes)
		memcpy(message + sizeof(header), payload, bytes);
	front->statistics.messages++;
	/* In one piece: back ends in use expect a message whole. */
	return viodma_front_send(front, front->fd, message, sizeof(header) + bytes, fds, fd_count);
}

/* ---- in ---- */

/* Wait until the main socket has something, serving the channel. */
static enum viodma_result wait_for_main(struct viodma_front *front, uint32_t request, uint64_t deadline_ns)
{
	for (;;) {
		struct pollfd ready[2] = {{.fd = front->fd, .events = POLLIN}, {.fd = front->channel.fd, .events = POLLIN}};
		const int left = left_ms(deadline_ns);

		if (poll(ready, 2, left) < 0 && errno != EINTR)
			return viodma_front_break(front, VIODMA_E_IO, "waiting: %s", strerror(errno));
		if (ready[0].revents)
			return VIODMA_OK; /* first: what is there says more than a channel that was closed after it */
		if (!left)
			return viodma_front_break(front, VIODMA_E_TIMEOUT, "%s was not answered within %u ms",
						  viodma_message_name(request), front->options.timeout_ms);
		if (ready[1].revents) {
			enum viodma_result result = viodma_front_channel_serve(front);

			if (result != VIODMA_OK)
				return result;
		}
	}
}

/* Exactly `bytes` from the main socket, and at most one descriptor, if *fd is there to take it. */
static enum viodma_result receive(struct viodma_front *front, uint32_t request, void *data, size_t bytes,
				  uint64_t deadline_ns, int *fd)
{
	size_t at = 0;

	while (at < bytes) {
		const unsigned room = fd && *fd < 0 ? 1 : 0;
		unsigned fd_count = 0;
		ssize_t got = viodma_descriptors_receive(front->fd, (unsigned char *)data + at, bytes - at, fd, room,
							 &fd_count);
		enum viodma_result result;

		if (fd_count > room && !VIODMA_REQUIRE(PLT_9, false))
			return viodma_front_break(front, VIODMA_PEER_MESSAGE, "the answer to %s brings %u descriptors",
						  viodma_message_name(request), fd_count);
		if (got > 0) {
			at += (size_t)got;
			continue;
		}
		if (got == 0 || errno == ECONNRESET)
			return viodma_front_hung_up(front, viodma_message_name(request));
		if (!would_block())
			return viodma_front_break(front, VIODMA_E_IO, "receiving: %s", strerror(errno));
		result = wait_for_main(front, request, deadline_ns);
		if (result != VIODMA_OK)
			return result;
	}
	return VIODMA_OK;
}

static enum viodma_result await(struct viodma_front *front, uint32_t request, void *payload, size_t least, size_t most,
				size_t *got, int *fd)
{
	const uint64_t deadline_ns = viodma_front_deadline(front);
	struct vhost_user_header header;
	enum viodma_result result;

	if (front->broken != VIODMA_OK)
		return front->broken;
	result = receive(front, request, &header, sizeof(header), deadline_ns, fd);
	if (result != VIODMA_OK)
		return result;
	if (!VIODMA_REQUIRE(PLT_9, header.request == request && header.flags == (VHOST_USER_VERSION | VHOST_USER_REPLY)))
		return viodma_front_break(front, VIODMA_PEER_MESSAGE, "a message %u with flags 0x%x where %s is to be answered",
					  header.request, header.flags, viodma_message_name(request));
	if (header.size > most || !VIODMA_REQUIRE(PLT_9, header.size >= least))
		return viodma_front_break(front, VIODMA_PEER_MESSAGE, "%u bytes answer %s, %zu to %zu are due", header.size,
					  viodma_message_name(request), least, most);
	*got = header.size;
	return receive(front, request, payload, header.size, deadline_ns, fd);
}

enum viodma_result viodma_front_await(struct viodma_front *front, uint32_t request, void *payload, size_t least,
				      size_t most, size_t *got)
{
	return await(front, request, payload, least, most, got, NULL);
}

enum viodma_result viodma_front_await_descriptor(struct viodma_front *front, uint32_t request, void *payload, size_t bytes,
						 int *fd)
{
	size_t got;
	enum viodma_result result;

	*fd = -1;
	result = await(front, request, payload, bytes, bytes, &got, fd);
	if (result == VIODMA_OK && *fd < 0) /* = PLT-9 */
		result = viodma_front_break(front, VIODMA_PEER_MESSAGE, "the answer to %s brings no descriptor",
					    viodma_message_name(request));
	if (result != VIODMA_OK)
		viodma_descriptor_close(fd);
	return result;
}

enum viodma_result viodma_front_await_ack(struct viodma_front *front, uint32_t request)
{
	uint64_t word = 0;
	size_t got;
	enum viodma_result result = viodma_front_await(front, request, &word, sizeof(word), sizeof(word), &got);

	if (result == VIODMA_OK && word) {
		viodma_front_log_some(front, "%s was refused by the back end", viodma_message_name(request));
		errno = EPROTO;
		return VIODMA_E_IO;
	}
	return result;
}

enum viodma_result viodma_front_query(struct viodma_front *front, uint32_t request, uint64_t *word)
{
	enum viodma_result result = viodma_front_post(front, request, false, NULL, 0, NULL, 0);
	uint64_t answer = 0;
	size_t got;

	if (result == VIODMA_OK)
		result = viodma_front_await(front, request, &answer, sizeof(answer), sizeof(answer), &got);
	if (result == VIODMA_OK)
		*word = answer;
	return result;
}

enum viodma_result viodma_front_command(struct viodma_front *front, uint32_t request, const void *payload, size_t bytes,
					const int *fds, unsigned fd_count)
{
	const bool ack = viodma_front_has(front, VHOST_USER_PROTOCOL_F_REPLY_ACK_BIT);
	enum viodma_result result = viodma_front_post(front, request, ack, payload, bytes, fds, fd_count);
	uint64_t nothing;

	if (result != VIODMA_OK)
		return result;
	return ack ? viodma_front_await_ack(front, request) : viodma_front_query(front, VHOST_USER_GET_FEATURES, &nothing);
}
