/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * front_channel.c - how it works: what the back end asks comes on a socket of its own, message by message: misses, failed
 * accesses, news of its configuration, and with in-band notifications calls and errors. A device that misses a chain's
 * pages asks for all of them, so what is there is read at once and answered at once: the updates in one piece, and then, on
 * the other socket, the replies that are asked for. What was read is dealt with in the same turn, because nothing would
 * tell of it later. Anything else, descriptors too, ends the connection (PLT-9).
 *
 * A back end can ask as often as it likes, and read the answers as slowly; each turn answers a bounded number in bounded
 * time, so whoever waits for something else gets to look at it, and at the clock.
 */
#include "hosted/front/front.h"

#include "core/base/require.h"

#include <viodma/loop.h>

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum viodma_result viodma_front_channel_open(struct viodma_front *front)
{
	enum viodma_result result;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
		viodma_front_log(front, "cannot make the back-end channel: %s", strerror(errno));
		return VIODMA_E_IO;
	}
	result = viodma_front_command(front, VHOST_USER_SET_BACKEND_REQ_FD, NULL, 0, &pair[1], 1);
	close(pair[1]);
	if (result == VIODMA_OK)
		result = viodma_front_watch(front, pair[0], VIODMA_FRONT_EVENT_CHANNEL, 0);
	if (result != VIODMA_OK) {
		const int reason = errno;

		close(pair[0]);
		errno = reason;
		return result;
	}
	front->channel.fd = pair[0];
	return VIODMA_OK;
}

/* Updates first: a reply says that its update was sent. */
static enum viodma_result flush(struct viodma_front *front)
{
	struct viodma_front_channel *channel = &front->channel;
	enum viodma_result result = front->broken;

	if (result == VIODMA_OK && channel->update_bytes)
		result = viodma_front_send(front, front->fd, channel->updates, channel->update_bytes, NULL, 0);
	if (result == VIODMA_OK && channel->reply_bytes)
		result = viodma_front_send(front, channel->fd, channel->replies, channel->reply_bytes, NULL, 0);
	channel->update_bytes = channel->reply_bytes = 0;
	return result;
}

/* To what is sent at the end of the turn. */
static void append(unsigned char *to, size_t *at, const struct vhost_user_header *header, const void *payload)
{
	memcpy(to + *at, header, sizeof(*header));
	memcpy(to + *at + sizeof(*header), payload, header->size);
	*at += sizeof(*header) + header->size;
}

enum viodma_result viodma_front_channel_update(struct viodma_front *front, const struct vhost_user_iotlb *iotlb)
{
	const struct vhost_user_header header = {VHOST_USER_IOTLB_MSG, VHOST_USER_VERSION, sizeof(*iotlb)};
	struct viodma_front_channel *channel = &front->channel;
	enum viodma_result result = front->broken;

	if (result == VIODMA_OK && channel->update_bytes == sizeof(channel->updates))
		result = flush(front);
	if (result != VIODMA_OK)
		return result;
	front->statistics.messages++;
	front->statistics.updates++;
	append(channel->updates, &channel->update_bytes, &header, iotlb);
	return VIODMA_OK;
}

static enum viodma_result answer(struct viodma_front *front, const struct vhost_user_header *question, bool ok)
{
	const struct vhost_user_header header = {question->request, VHOST_USER_VERSION | VHOST_USER_REPLY, sizeof(uint64_t)};
	struct viodma_front_channel *channel = &front->channel;
	const uint64_t word = ok ? 0 : 1;
	enum viodma_result result = front->broken;

	if (!(question->flags & VHOST_USER_NEED_REPLY) || !viodma_front_has(front, VHOST_USER_PROTOCOL_F_REPLY_ACK_BIT) ||
	    result != VIODMA_OK)
		return result;
	if (channel->reply_bytes == sizeof(channel->replies))
		result = flush(front);
	if (result == VIODMA_OK)
		append(channel->replies, &channel->reply_bytes, &header, &word);
	return result;
}

static enum viodma_result iotlb_message(struct viodma_front *front, const struct vhost_user_header *header,
					const struct vhost_user_iotlb *iotlb)
{
	bool granted = false;
	enum viodma_result result = VIODMA_OK;

	if (iotlb->type == VHOST_USER_IOTLB_ACCESS_FAIL) {
		viodma_front_log_some(front, "the back end failed to access bus address 0x%llx",
				      (unsigned long long)iotlb->iova);
		return answer(front, header, true);
	}
	if (!VIODMA_REQUIRE(PLT_9, iotlb->type == VHOST_USER_IOTLB_MISS && iotlb->permissions >= VIODMA_READ &&
					   iotlb->permissions <= VIODMA_READ_WRITE))
		return viodma_front_break(front, VIODMA_PEER_MESSAGE, "an IOTLB message of type %u with permission %u",
					  iotlb->type, iotlb->permissions);
	result = viodma_front_grants_miss(front, (viodma_bus){iotlb->iova}, (enum viodma_permission)iotlb->permissions,
					  &granted);
	if (result != VIODMA_OK)
		return result;
	return answer(front, header, VIODMA_REQUIRE(PLT_11, granted));
}

/* A call, or an error. */
static enum viodma_result notification(struct viodma_front *front, const struct vhost_user_header *header,
				       const struct vhost_user_vring_state *state)
{
	if (!VIODMA_REQUIRE(PLT_9, state->index < front->queue_count && !state->num))
		return viodma_front_break(front, VIODMA_PEER_MESSAGE, "a call of queue %u with %u", state->index, state->num);
	if (header->request == VHOST_USER_BACKEND_VRING_CALL)
		front->statistics.calls++;
	else
		viodma_front_log_some(front, "queue %u: the back end says that something is wrong with it", state->index);
	front->news = true;
	return answer(front, header, true);
}

/* The size of a question's payload; false: there is no such question. */
static bool payload_bytes(const struct viodma_front *front, const struct vhost_user_header *header, size_t *bytes)
{
	*bytes = 0;
	if ((header->flags & ~VHOST_USER_NEED_REPLY) != VHOST_USER_VERSION)
		return false;
	switch (header->request) {
	case VHOST_USER_BACKEND_IOTLB_MSG:
		*bytes = sizeof(struct vhost_user_iotlb);
		break;
	case VHOST_USER_BACKEND_CONFIG_CHANGE_MSG:
		break;
	case VHOST_USER_BACKEND_VRING_CALL:
	case VHOST_USER_BACKEND_VRING_ERR:
		*bytes = sizeof(struct vhost_user_vring_state);
		if (!viodma_front_is_inband(front))
			return false;
		break;
	default:
		return false;
	}
	return header->size == *bytes;
}

static size_t unread(const struct viodma_front_channel *channel)
{
	return channel->in_bytes - channel->in_at;
}

/* Read until `wanted` bytes of the question are there, and more if it is; VIODMA_EMPTY: they are not, yet. */
static enum viodma_result fill(struct viodma_front *front, size_t wanted)
{
	struct viodma_front_channel *channel = &front->channel;

	while (unread(channel) < wanted) {
		unsigned fd_count = 0;
		ssize_t got;

		memmove(channel->in, channel->in + channel->in_at, unread(channel));
		channel->in_bytes = unread(channel);
		channel->in_at = 0;
		got = viodma_descriptors_receive(channel->fd, channel->in + channel->in_bytes,
						 sizeof(channel->in) - channel->in_bytes, NULL, 0, &fd_count);
		if (fd_count && !VIODMA_REQUIRE(PLT_9, false)) {
			(void)flush(front);
			return viodma_front_break(front, VIODMA_PEER_MESSAGE, "%u descriptors on the back-end channel",
						  fd_count);
		}
		if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return VIODMA_EMPTY;
		if (got <= 0)
			return viodma_front_hung_up(front, "the back-end channel");
		channel->in_bytes += (size_t)got;
	}
	return VIODMA_OK;
}

static enum viodma_result serve_one(struct viodma_front *front)
{
	struct viodma_front_channel *channel = &front->channel;
	enum viodma_result result = fill(front, sizeof(struct vhost_user_header));
	struct vhost_user_header header;
	struct vhost_user_vring_state state;
	struct vhost_user_iotlb iotlb;
	const unsigned char *payload;
	size_t bytes;

	if (result != VIODMA_OK)
		return result;
	memcpy(&header, channel->in + channel->in_at, sizeof(header));
	if (!payload_bytes(front, &header, &bytes)) { /* = PLT-9 */
		(void)flush(front);
		return viodma_front_break(front, VIODMA_PEER_MESSAGE,
					  "back-end channel: request %u with flags 0x%x and %u bytes", header.request,
					  header.flags, header.size);
	}
	result = fill(front, sizeof(header) + bytes);
	if (result != VIODMA_OK)
		return result;
	payload = channel->in + channel->in_at + sizeof(header);
	channel->in_at += sizeof(header) + bytes;
	if (header.request == VHOST_USER_BACKEND_CONFIG_CHANGE_MSG) {
		front->config_generation++;
		front->news = true;
		return answer(front, &header, true);
	}
	if (header.request != VHOST_USER_BACKEND_IOTLB_MSG) {
		memcpy(&state, payload, sizeof(state));
		return notification(front, &header, &state);
	}
	memcpy(&iotlb, payload, sizeof(iotlb));
	return iotlb_message(front, &header, &iotlb);
}

/* Was a whole question read, or the beginning of what is none? */
static bool has_one(const struct viodma_front *front)
{
	const struct viodma_front_channel *channel = &front->channel;
	struct vhost_user_header header;
	size_t bytes;

	if (unread(channel) < sizeof(header))
		return false;
	memcpy(&header, channel->in + channel->in_at, sizeof(header));
	return !payload_bytes(front, &header, &bytes) || unread(channel) >= sizeof(header) + bytes;
}

/* Answer so many, as long as a reply may take and no longer: a back end that reads slowly is no reason to stay here. */
static enum viodma_result take_turn(struct viodma_front *front, unsigned questions)
{
	enum viodma_result result = front->broken, sent;

	front->turn_deadline_ns = viodma_front_deadline(front);
	while (result == VIODMA_OK &&
	       (has_one(front) || (questions && viodma_loop_now_ns() < front->turn_deadline_ns))) {
		questions -= questions ? 1 : 0;
		result = serve_one(front);
	}
	sent = flush(front);
	front->turn_deadline_ns = 0;
	return result == VIODMA_EMPTY || result == VIODMA_OK ? sent : result;
}

enum viodma_result viodma_front_channel_serve(struct viodma_front *front)
{
	return take_turn(front, VIODMA_FRONT_QUESTIONS_PER_TURN);
}

void viodma_front_channel_drain(struct viodma_front *front)
{
	if (front->channel.fd >= 0)
		(void)take_turn(front, VIODMA_FRONT_QUESTIONS_DRAINED);
}
