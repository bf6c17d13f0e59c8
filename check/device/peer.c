/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * peer.c - how it works: the sockets do not block; each wait is a poll of both with what is left of the time. The first
 * thing that ends the connection is remembered, and is the answer to all that is asked afterwards.
 */
#include "check/device/peer.h"

#include "check/case.h"
#include "hosted/base/descriptors.h"
#include "hosted/vhost_user/payload.h"

#include <viodma/loop.h>

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define NS_PER_MS 1000000u

const char *check_peer_message_name(uint32_t request)
{
	return viodma_message_name(request);
}

static enum check_answer broken(struct check_peer *peer, enum check_answer state, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static enum check_answer broken(struct check_peer *peer, enum check_answer state, const char *format, ...)
{
	va_list arguments;

	if (peer->state != CHECK_ANSWERED)
		return peer->state;
	peer->state = state;
	va_start(arguments, format);
	vsnprintf(peer->broken, sizeof(peer->broken), format, arguments);
	va_end(arguments);
	check_event(peer->session, CHECK_PEER, 0, 0, "%s", peer->broken);
	return state;
}

void check_peer_init(struct check_peer *peer, int fd, uint32_t timeout_ms, struct check_session *session)
{
	memset(peer, 0, sizeof(*peer));
	peer->fd = fd;
	peer->channel_fd = -1;
	peer->timeout_ms = timeout_ms;
	peer->session = session;
}

void check_peer_end(struct check_peer *peer)
{
	viodma_descriptor_close(&peer->fd);
	viodma_descriptor_close(&peer->channel_fd);
}

#define WAITS 2u

static uint64_t deadline(const struct check_peer *peer)
{
	return viodma_loop_now_ns() + (uint64_t)peer->timeout_ms * NS_PER_MS;
}

static int left_ms(uint64_t until_ns)
{
	const uint64_t now = viodma_loop_now_ns();

	return now < until_ns ? (int)((until_ns - now + NS_PER_MS - 1) / NS_PER_MS) : 0;
}

/* ---- out ---- */

static bool send_all(struct check_peer *peer, int fd, const void *data, size_t bytes, const int *fds, unsigned fd_count)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int) * 32)];
	} control = {0};
	const uint64_t until_ns = deadline(peer);
	size_t at = 0;

	while (at < bytes && peer->state == CHECK_ANSWERED) {
		struct iovec vector = {(unsigned char *)(uintptr_t)data + at, bytes - at};
		struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
		struct pollfd room = {.fd = fd, .events = POLLOUT};
		ssize_t sent;

		if (fd_count && !at) {
			message.msg_control = control.space;
			message.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
			control.align.cmsg_level = SOL_SOCKET;
			control.align.cmsg_type = SCM_RIGHTS;
			control.align.cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
			memcpy(CMSG_DATA(&control.align), fds, sizeof(int) * fd_count);
		}
		sent = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent > 0)
			at += (size_t)sent;
		else if (errno != EAGAIN && errno != EINTR)
			broken(peer, CHECK_GONE, "the device closed the connection while it was written to");
		else if (!left_ms(until_ns))
			broken(peer, CHECK_SILENT, "the device did not read what it was sent for %u ms", peer->timeout_ms);
		else
			(void)poll(&room, 1, left_ms(until_ns));
	}
	return at == bytes;
}

bool check_peer_send_raw(struct check_peer *peer, const void *data, size_t bytes)
{
	check_event(peer->session, CHECK_US, 0, 0, "%zu bytes that are no message", bytes);
	return send_all(peer, peer->fd, data, bytes, NULL, 0);
}

bool check_peer_send(struct check_peer *peer, uint32_t request, uint32_t flags, const void *payload, size_t bytes,
		     const int *fds, unsigned fd_count)
{
	unsigned char message[sizeof(struct vhost_user_header) + sizeof(union viodma_payload)];
	const struct vhost_user_header header = {request, VHOST_USER_VERSION | flags, (uint32_t)bytes};
	const struct vhost_user_iotlb *iotlb = payload;

	memcpy(message, &header, sizeof(header));
	if (bytes)
		memcpy(message + sizeof(header), payload, bytes);
	if (request == VHOST_USER_IOTLB_MSG && bytes == sizeof(*iotlb)) {
		const bool update = iotlb->type == VHOST_USER_IOTLB_UPDATE;

		check_event(peer->session, CHECK_US, iotlb->iova, iotlb->size, "IOTLB %s, permission %u",
			    update ? "UPDATE" : "INVALIDATE", iotlb->permissions);
		check_event_mapping(peer->session, update ? CHECK_MAPPED : CHECK_UNMAPPED);
	} else {
		check_event(peer->session, CHECK_US, 0, 0, "%s%s", check_peer_message_name(request),
			    flags & VHOST_USER_NEED_REPLY ? ", acknowledge" : "");
	}
	return send_all(peer, peer->fd, message, sizeof(header) + bytes, fds, fd_count);
}

/* ---- questions ---- */

void check_peer_reply(struct check_peer *peer, const struct vhost_user_header *question, uint64_t word)
{
	const struct vhost_user_header header = {question->request, VHOST_USER_VERSION | VHOST_USER_REPLY, sizeof(word)};
	unsigned char message[sizeof(header) + sizeof(word)];

	if (!(question->flags & VHOST_USER_NEED_REPLY))
		return;
	memcpy(message, &header, sizeof(header));
	memcpy(message + sizeof(header), &word, sizeof(word));
	send_all(peer, peer->channel_fd, message, sizeof(message), NULL, 0);
}

/* What has been asked by now. */
static void take_questions(struct check_peer *peer)
{
	unsigned char payload[sizeof(union viodma_payload)];
	struct vhost_user_header header;
	int fds[8];
	unsigned fd_count = 0;
	size_t at = 0;
	ssize_t got = viodma_descriptors_receive(peer->channel_fd, peer->in + peer->in_bytes, sizeof(peer->in) - peer->in_bytes, fds,
						 8, &fd_count);

	for (unsigned i = 0; i < fd_count && i < 8; i++)
		close(fds[i]);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		viodma_descriptor_close(&peer->channel_fd); /* the connection itself says more */
		return;
	}
	peer->in_bytes += (size_t)got;
	while (peer->in_bytes - at >= sizeof(header)) {
		memcpy(&header, peer->in + at, sizeof(header));
		if (header.size > sizeof(payload) || (header.flags & VHOST_USER_VERSION_MASK) != VHOST_USER_VERSION) {
			broken(peer, CHECK_GARBAGE, "on its channel the device sent request %u, flags 0x%x, of %u bytes",
			       header.request, header.flags, header.size);
			peer->in_bytes = 0;
			return;
		}
		if (peer->in_bytes - at < sizeof(header) + header.size)
			break;
		memcpy(payload, peer->in + at + sizeof(header), header.size);
		memset(payload + header.size, 0, sizeof(payload) - header.size);
		at += sizeof(header) + header.size;
		peer->asked(peer->session, &header, payload);
	}
	memmove(peer->in, peer->in + at, peer->in_bytes - at);
	peer->in_bytes -= at;
}

bool check_peer_wait(struct check_peer *peer, int ready_fd, uint64_t until_ns)
{
	for (;;) {
		struct pollfd ready[3] = {
			{.fd = ready_fd, .events = POLLIN},
			{.fd = peer->channel_fd, .events = POLLIN},
			{.fd = ready_fd == peer->fd ? -1 : peer->fd, .events = POLLIN},
		};
		const int left = left_ms(until_ns);

		if (poll(ready, 3, left) < 0 && errno != EINTR)
			return false;
		if (ready[1].revents)
			take_questions(peer);
		if (ready[0].revents)
			return true;
		if (ready[2].revents) {
			char byte;
			const ssize_t got = recv(peer->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

			/* Nothing is due on the socket. One that had not read all when it closed resets the connection. */
			if (got < 0 && (errno == EAGAIN || errno == EINTR))
				continue;
			if (got <= 0)
				broken(peer, CHECK_GONE, "the device closed the connection");
			else
				broken(peer, CHECK_GARBAGE, "the device sent a message that nobody asked for");
		}
		if (peer->state != CHECK_ANSWERED || !left)
			return false;
	}
}

/* ---- answers ---- */

static void too_late(struct check_peer *peer, const char *name, size_t at)
{
	if (peer->waited_ns > (WAITS - 1) * (uint64_t)peer->timeout_ms * NS_PER_MS)
		broken(peer, CHECK_SILENT, "the device took more than %u ms for its answers; the last one, to %s, is not there",
		       WAITS * peer->timeout_ms, name);
	else
		broken(peer, CHECK_SILENT, "the device did not answer %s%s within %u ms", name, at ? " to the end" : "",
		       peer->timeout_ms);
}

static enum check_answer receive(struct check_peer *peer, uint32_t request, void *data, size_t bytes, uint64_t until_ns, int *fd)
{
	const char *name = check_peer_message_name(request);
	size_t at = 0;

	while (at < bytes && peer->state == CHECK_ANSWERED) {
		unsigned fd_count = fd && *fd >= 0;
		ssize_t got = viodma_descriptors_receive(peer->fd, (unsigned char *)data + at, bytes - at, fd, fd ? 1 : 0, &fd_count);

		if (got > 0)
			at += (size_t)got;
		else if (got == 0 || (errno != EAGAIN && errno != EINTR))
			broken(peer, CHECK_GONE, "the device closed the connection when %s was to be answered", name);
		else if (!left_ms(until_ns))
			too_late(peer, name, at);
		else
			(void)check_peer_wait(peer, peer->fd, until_ns);
	}
	return peer->state;
}

/* One that takes nearly all of its time for each answer takes it for every message of every case. */
static uint64_t answer_deadline(const struct check_peer *peer)
{
	const uint64_t each_ns = (uint64_t)peer->timeout_ms * NS_PER_MS, all_ns = WAITS * each_ns;
	const uint64_t left_ns = peer->waited_ns < all_ns ? all_ns - peer->waited_ns : 0;

	return viodma_loop_now_ns() + (left_ns < each_ns ? left_ns : each_ns);
}

static enum check_answer receive_answer(struct check_peer *peer, uint32_t request, void *payload, size_t room, size_t *bytes,
				     int *fd)
{
	const uint64_t until_ns = answer_deadline(peer);
	struct vhost_user_header header = {0};

	if (receive(peer, request, &header, sizeof(header), until_ns, fd) != CHECK_ANSWERED)
		return peer->state;
	if (header.request != request || header.flags != (VHOST_USER_VERSION | VHOST_USER_REPLY) || header.size > room)
		return broken(peer, CHECK_GARBAGE, "%s is to be answered with at most %zu bytes; there came request %u, flags 0x%x, %u bytes",
			      check_peer_message_name(request), room, header.request, header.flags, header.size);
	*bytes = header.size;
	return receive(peer, request, payload, header.size, until_ns, fd);
}

enum check_answer check_peer_receive(struct check_peer *peer, uint32_t request, void *payload, size_t room, size_t *bytes,
				     int *fd)
{
	const uint64_t began_ns = viodma_loop_now_ns();
	enum check_answer answer;

	if (fd)
		*fd = -1;
	answer = receive_answer(peer, request, payload, room, bytes, fd);
	peer->waited_ns += viodma_loop_now_ns() - began_ns;
	if (fd && answer != CHECK_ANSWERED)
		viodma_descriptor_close(fd);
	return answer;
}

enum check_answer check_peer_get(struct check_peer *peer, uint32_t request, uint64_t *number)
{
	size_t bytes = 0;

	*number = 0;
	if (!check_peer_send(peer, request, 0, NULL, 0, NULL, 0) ||
	    check_peer_receive(peer, request, number, sizeof(*number), &bytes, NULL) != CHECK_ANSWERED)
		return peer->state;
	if (bytes != sizeof(*number))
		return broken(peer, CHECK_GARBAGE, "%s was answered with %zu bytes, not 8", check_peer_message_name(request), bytes);
	check_event(peer->session, CHECK_PEER, 0, 0, "%s: 0x%llx", check_peer_message_name(request),
		    (unsigned long long)*number);
	return CHECK_ANSWERED;
}

enum check_answer check_peer_ask(struct check_peer *peer, uint32_t request, const void *payload, size_t bytes,
				 const int *fds, unsigned fd_count, uint64_t *acknowledged)
{
	size_t got = 0;

	*acknowledged = UINT64_MAX;
	if (!check_peer_send(peer, request, VHOST_USER_NEED_REPLY, payload, bytes, fds, fd_count) ||
	    check_peer_receive(peer, request, acknowledged, sizeof(*acknowledged), &got, NULL) != CHECK_ANSWERED)
		return peer->state;
	if (got != sizeof(*acknowledged))
		return broken(peer, CHECK_GARBAGE, "%s was acknowledged with %zu bytes, not 8", check_peer_message_name(request), got);
	check_event(peer->session, CHECK_PEER, 0, 0, "%s is acknowledged: %llu", check_peer_message_name(request),
		    (unsigned long long)*acknowledged);
	return CHECK_ANSWERED;
}

enum check_answer check_peer_open_channel(struct check_peer *peer, bool reply_ack)
{
	uint64_t acknowledged = 0;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return broken(peer, CHECK_GONE, "no socket for the back-end channel: %s", strerror(errno));
	peer->channel_fd = pair[0];
	if (reply_ack)
		(void)check_peer_ask(peer, VHOST_USER_SET_BACKEND_REQ_FD, NULL, 0, &pair[1], 1, &acknowledged);
	else
		(void)check_peer_send(peer, VHOST_USER_SET_BACKEND_REQ_FD, 0, NULL, 0, &pair[1], 1);
	close(pair[1]);
	if (acknowledged)
		return broken(peer, CHECK_GARBAGE, "the device refuses the back-end channel that it offered");
	return peer->state;
}
