/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/support/front_peer.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

void front_peer_init(struct front_peer *peer, int fd)
{
	memset(peer, 0, sizeof(*peer));
	peer->fd = fd;
	peer->channel = -1;
	peer->features = PEER_FEATURES;
	peer->protocol_features = PEER_PROTOCOL_FEATURES;
}

/* ---- sockets ---- */

static bool write_all(int fd, const void *data, size_t bytes, const int *fds, unsigned fd_count)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int) * PEER_FDS)];
	} control;
	struct iovec vector = {(void *)(uintptr_t)data, bytes};
	struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
	ssize_t sent;

	memset(&control, 0, sizeof(control));
	if (fd_count) {
		message.msg_control = control.space;
		message.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
		memcpy(CMSG_DATA(&control.align), fds, sizeof(int) * fd_count);
	}
	sent = sendmsg(fd, &message, MSG_NOSIGNAL);
	if (sent <= 0)
		return false;
	for (size_t at = (size_t)sent; at < bytes; at += (size_t)sent) {
		sent = send(fd, (const char *)data + at, bytes - at, MSG_NOSIGNAL);
		if (sent <= 0)
			return false;
	}
	return true;
}

/* The channel does not block (the front end made it so). */
static bool write_channel(struct front_peer *peer, const void *data, size_t bytes, const int *fds, unsigned fd_count)
{
	struct pollfd room = {.fd = peer->channel, .events = POLLOUT};

	return poll(&room, 1, 5000) == 1 && !(room.revents & (POLLHUP | POLLERR)) &&
	       write_all(peer->channel, data, bytes, fds, fd_count);
}

static bool read_all(int fd, void *data, size_t bytes, int *fds, unsigned *fd_count)
{
	for (size_t at = 0; at < bytes;) {
		union {
			struct cmsghdr align;
			char space[CMSG_SPACE(sizeof(int) * PEER_FDS)];
		} control;
		struct iovec vector = {(char *)data + at, bytes - at};
		struct msghdr message = {.msg_iov = &vector,
					 .msg_iovlen = 1,
					 .msg_control = control.space,
					 .msg_controllen = sizeof(control.space)};
		ssize_t got = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
		struct cmsghdr *each;

		if (got <= 0)
			return false;
		each = CMSG_FIRSTHDR(&message);
		if (each && each->cmsg_type == SCM_RIGHTS) {
			*fd_count = (unsigned)((each->cmsg_len - CMSG_LEN(0)) / sizeof(int));
			memcpy(fds, CMSG_DATA(each), *fd_count * sizeof(int));
		}
		at += (size_t)got;
	}
	return true;
}

static void close_fds(struct front_peer_message *message)
{
	for (unsigned i = 0; i < message->fd_count; i++)
		close(message->fds[i]);
	message->fd_count = 0;
}

bool front_peer_read(struct front_peer *peer, struct front_peer_message *message)
{
	memset(message, 0, sizeof(*message));
	if (!read_all(peer->fd, &message->header, sizeof(message->header), message->fds, &message->fd_count) ||
	    message->header.size > sizeof(message->payload) ||
	    !read_all(peer->fd, &message->payload, message->header.size, message->fds, &message->fd_count)) {
		close_fds(message);
		return false;
	}
	if (message->header.request < 64) {
		peer->count[message->header.request]++;
		atomic_fetch_add(&peer->seen[message->header.request], 1);
	}
	return true;
}

bool front_peer_reply_raw(struct front_peer *peer, const struct vhost_user_header *header, const void *payload,
			  uint32_t bytes, const int *fds, unsigned fd_count)
{
	unsigned char message[1024];

	memcpy(message, header, sizeof(*header));
	memcpy(message + sizeof(*header), payload, bytes);
	return write_all(peer->fd, message, sizeof(*header) + bytes, fds, fd_count);
}

bool front_peer_reply(struct front_peer *peer, uint32_t request, const void *payload, uint32_t bytes)
{
	const struct vhost_user_header header = {request, VHOST_USER_VERSION | VHOST_USER_REPLY, bytes};

	return front_peer_reply_raw(peer, &header, payload, bytes, NULL, 0);
}

bool front_peer_ack(struct front_peer *peer, const struct front_peer_message *message, uint64_t word)
{
	if (!(message->header.flags & VHOST_USER_NEED_REPLY))
		return true;
	return front_peer_reply(peer, message->header.request, &word, sizeof(word));
}

bool front_peer_ask_raw(struct front_peer *peer, const struct vhost_user_header *header, const void *payload, uint32_t bytes,
			const int *fds, unsigned fd_count)
{
	unsigned char message[1024];

	memcpy(message, header, sizeof(*header));
	if (bytes)
		memcpy(message + sizeof(*header), payload, bytes);
	return write_channel(peer, message, sizeof(*header) + bytes, fds, fd_count);
}

bool front_peer_ask(struct front_peer *peer, uint64_t bus, uint8_t permission, bool need_reply)
{
	const struct vhost_user_header header = {VHOST_USER_BACKEND_IOTLB_MSG,
						 VHOST_USER_VERSION | (need_reply ? VHOST_USER_NEED_REPLY : 0),
						 sizeof(struct vhost_user_iotlb)};
	const struct vhost_user_iotlb iotlb = {.iova = bus, .permissions = permission, .type = VHOST_USER_IOTLB_MISS};

	return front_peer_ask_raw(peer, &header, &iotlb, sizeof(iotlb), NULL, 0);
}

int64_t front_peer_answer(struct front_peer *peer)
{
	struct pollfd ready = {.fd = peer->channel, .events = POLLIN};
	unsigned char message[sizeof(struct vhost_user_header) + 8];
	struct vhost_user_header header;
	uint64_t word;
	unsigned none = 0;
	int fds[PEER_FDS];

	if (poll(&ready, 1, 5000) != 1 || !read_all(peer->channel, message, sizeof(message), fds, &none))
		return -1;
	memcpy(&header, message, sizeof(header));
	memcpy(&word, message + sizeof(header), sizeof(word));
	if (header.request != VHOST_USER_BACKEND_IOTLB_MSG || header.flags != (VHOST_USER_VERSION | VHOST_USER_REPLY) ||
	    header.size != sizeof(word))
		return -1;
	return word ? 1 : 0;
}

/* ---- lies ---- */

/* The sound reply to a message; 0 bytes: none is due. */
static uint32_t sound_reply(struct front_peer *peer, const struct front_peer_message *message, unsigned char *reply)
{
	const bool ack = message->header.flags & VHOST_USER_NEED_REPLY;
	uint64_t word = 0;

	switch (message->header.request) {
	case VHOST_USER_GET_FEATURES:
		word = peer->features;
		break;
	case VHOST_USER_GET_PROTOCOL_FEATURES:
		word = peer->protocol_features;
		break;
	case VHOST_USER_GET_QUEUE_NUM:
		word = 2;
		break;
	case VHOST_USER_GET_MAX_MEM_SLOTS:
		word = 4;
		break;
	case VHOST_USER_GET_STATUS:
		word = peer->status;
		break;
	case VHOST_USER_GET_VRING_BASE:
		memcpy(reply, &message->payload, sizeof(struct vhost_user_vring_state));
		return sizeof(struct vhost_user_vring_state);
	case VHOST_USER_GET_CONFIG:
		memcpy(reply, &message->payload, message->header.size);
		for (uint32_t i = VHOST_USER_CONFIG_HEADER_BYTES; i < message->header.size; i++)
			reply[i] = (unsigned char)i;
		return message->header.size;
	default:
		if (!ack)
			return 0;
		break;
	}
	memcpy(reply, &word, sizeof(word));
	return sizeof(word);
}

static void flood(struct front_peer *peer, bool read)
{
	for (unsigned i = 0; peer->channel >= 0; i++) {
		unsigned char nothing[4096];

		if (!front_peer_ask(peer, 0x1000u * i, VIODMA_READ, true))
			return;
		while (read && recv(peer->channel, nothing, sizeof(nothing), MSG_DONTWAIT) > 0)
			;
	}
}

/* False: hang up. */
static bool tell_lie(struct front_peer *peer, struct vhost_user_header header, unsigned char *payload, uint32_t bytes)
{
	unsigned char message[1024] = {0};
	struct pollfd gone = {.fd = peer->fd, .events = 0};
	uint32_t whole = (uint32_t)sizeof(header) + bytes;
	int fds[2] = {peer->fd, peer->fd};

	switch (peer->lie) {
	case LIE_OTHER_REQUEST:
		header.request++;
		break;
	case LIE_NO_REPLY_FLAG:
		header.flags = VHOST_USER_VERSION;
		break;
	case LIE_VERSION:
		header.flags = 2 | VHOST_USER_REPLY;
		break;
	case LIE_SHORT:
		header.size -= 4;
		whole -= 4;
		break;
	case LIE_LONG:
		header.size += 8;
		whole += 8;
		break;
	case LIE_HUGE:
		header.size = UINT32_MAX;
		break;
	case LIE_NACK:
		payload[0] = 1;
		break;
	case LIE_HALF:
		whole -= 5;
		break;
	case LIE_HANG_UP:
		return false;
	case LIE_SILENCE:
		(void)poll(&gone, 1, 5000);
		return false;
	case LIE_FLOOD:
	case LIE_DEAF:
		flood(peer, peer->lie == LIE_FLOOD);
		(void)poll(&gone, 1, 5000);
		return false;
	default:
		break;
	}
	memcpy(message, &header, sizeof(header));
	memcpy(message + sizeof(header), payload, bytes);
	if (peer->lie == LIE_TRICKLE) {
		for (uint32_t i = 0; i < whole; i++)
			if (!write_all(peer->fd, message + i, 1, NULL, 0))
				return false;
		return true;
	}
	return write_all(peer->fd, message, whole, fds, peer->lie == LIE_DESCRIPTORS ? 2 : 0) && peer->lie != LIE_HALF &&
	       (peer->lie != LIE_TWICE || write_all(peer->fd, message, whole, NULL, 0));
}

bool front_peer_give_record(struct front_peer *peer, const struct front_peer_message *message)
{
	const struct vhost_user_header header = {VHOST_USER_GET_INFLIGHT_FD, VHOST_USER_VERSION | VHOST_USER_REPLY,
						 sizeof(struct vhost_user_inflight)};
	struct vhost_user_inflight inflight = message->payload.inflight;
	int fd = memfd_create("record", MFD_CLOEXEC);
	bool sent;

	inflight.mmap_size = PEER_RECORD_BYTES;
	sent = fd >= 0 && ftruncate(fd, PEER_RECORD_BYTES) == 0 &&
	       front_peer_reply_raw(peer, &header, &inflight, sizeof(inflight), &fd, 1);
	close(fd);
	return sent;
}

/* ---- life ---- */

static bool answer(struct front_peer *peer, struct front_peer_message *message)
{
	const uint32_t request = message->header.request;
	unsigned char reply[512] = {0};
	uint32_t bytes;

	if (request == VHOST_USER_SET_FEATURES)
		peer->accepted = message->payload.u64;
	if (request == VHOST_USER_SET_PROTOCOL_FEATURES)
		peer->protocol_accepted = message->payload.u64;
	if (request == VHOST_USER_SET_STATUS)
		peer->status = (uint8_t)message->payload.u64;
	if (request == VHOST_USER_SET_BACKEND_REQ_FD && message->fd_count == 1) {
		peer->channel = message->fds[0];
		message->fd_count = 0;
	}
	if (peer->hook && peer->hook(peer, message))
		return true;
	if (request == VHOST_USER_GET_INFLIGHT_FD)
		return front_peer_give_record(peer, message);
	bytes = sound_reply(peer, message, reply);
	if (!bytes)
		return true;
	if (peer->lie != LIE_NONE && request == peer->lie_request && peer->count[request] == peer->lie_nth + 1)
		return tell_lie(peer, (struct vhost_user_header){request, VHOST_USER_VERSION | VHOST_USER_REPLY, bytes}, reply,
				bytes);
	return front_peer_reply(peer, request, reply, bytes);
}

void front_peer_serve(struct front_peer *peer)
{
	struct front_peer_message message;
	bool goes_on = true;

	while (goes_on && front_peer_read(peer, &message)) {
		goes_on = answer(peer, &message);
		close_fds(&message);
	}
	shutdown(peer->fd, SHUT_RDWR);
	if (peer->channel >= 0)
		shutdown(peer->channel, SHUT_RDWR);
}

int front_peer_listen(char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), file;

	strcpy(path, "/tmp/viodma-test-peer-XXXXXX");
	file = mkstemp(path);
	if (fd < 0 || file < 0 || close(file) < 0 || unlink(path) < 0)
		return -1;
	strcpy(address.sun_path, path);
	return bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 4) < 0 ? -1 : fd;
}

static void *run(void *context)
{
	front_peer_serve(context);
	return NULL;
}

bool front_peer_start(struct front_peer *peer)
{
	return pthread_create(&peer->thread, NULL, run, peer) == 0;
}

void front_peer_join(struct front_peer *peer)
{
	pthread_join(peer->thread, NULL);
	close(peer->fd);
	if (peer->channel >= 0)
		close(peer->channel);
}

unsigned front_peer_descriptors(void)
{
	DIR *directory = opendir("/proc/self/fd");
	unsigned count = 0;

	while (directory && readdir(directory))
		count++;
	if (directory)
		closedir(directory);
	return count;
}
