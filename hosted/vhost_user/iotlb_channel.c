/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * iotlb_channel.c - how it works: mappings come in as IOTLB_MSG on the main socket; what is missing is asked for on the
 * back end's own channel. Nothing here blocks: a question is put at the end of a list and sent when the socket takes
 * it; with REPLY_ACK the front end answers each, in order, so the head of the list is what a reply is about.
 *
 * A reply says that the UPDATE it stands for was sent before, but on the other socket. So replies that have come in are
 * kept until the main socket has been read dry once more (connection.c calls viodma_channel_replies then), and only
 * then counted as granted. A front end that replies with an error, or whose channel is gone, grants nothing: what
 * waited fails (PLT-11).
 *
 * When mappings are forgotten as a whole (a ring set stops, another memory table), questions on their way are marked:
 * their replies are due all the same, but mean nothing any more.
 *
 * What else a back end has to say (notify.c) takes its turn in the same list: replies come in the order of messages.
 */
#include "hosted/vhost_user/messages.h"

#include "core/base/require.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define REPLY_BYTES (sizeof(struct vhost_user_header) + sizeof(uint64_t))
#define QUESTION_BYTES_MAX (sizeof(struct vhost_user_header) + sizeof(struct vhost_user_iotlb))
#define BATCH 32u

static uint32_t slot(const struct viodma_channel *channel, uint32_t position)
{
	return position & (channel->capacity - 1);
}

/* ---- asking ---- */

bool viodma_channel_say(struct viodma_vhost_user *backend, const struct viodma_question *question)
{
	struct viodma_channel *channel = &backend->channel;

	viodma_backend_schedule(backend); /* sent, or refused for want of a channel, at the end of the turn */
	if (channel->tail - channel->head == channel->capacity) {
		channel->overflow = true;
		return false;
	}
	channel->questions[slot(channel, channel->tail++)] = *question;
	return true;
}

void viodma_channel_ask(void *context, viodma_bus bus, enum viodma_permission wanted)
{
	const struct viodma_question question = {bus.v, VHOST_USER_BACKEND_IOTLB_MSG, (uint8_t)wanted, false};

	(void)viodma_channel_say(context, &question);
}

static bool is_miss(const struct viodma_question *question)
{
	return question->request == VHOST_USER_BACKEND_IOTLB_MSG;
}

/* Of a whole message. */
static size_t bytes_of(const struct viodma_question *question)
{
	const size_t header = sizeof(struct vhost_user_header);

	return is_miss(question) ? header + sizeof(struct vhost_user_iotlb)
	       : question->request == VHOST_USER_BACKEND_CONFIG_CHANGE_MSG
		       ? header
		       : header + sizeof(struct vhost_user_vring_state);
}

/* Answers its bytes. */
static size_t write_question(unsigned char *to, const struct viodma_question *question, bool need_reply)
{
	const size_t bytes = bytes_of(question);
	const struct vhost_user_header header = {
		question->request,
		VHOST_USER_VERSION | (need_reply ? VHOST_USER_NEED_REPLY : 0),
		(uint32_t)(bytes - sizeof(header)),
	};
	const struct vhost_user_iotlb miss = {
		.iova = question->bus,
		.permissions = question->permission,
		.type = VHOST_USER_IOTLB_MISS,
	};
	const struct vhost_user_vring_state state = {(uint32_t)question->bus, 0};

	memcpy(to, &header, sizeof(header));
	memcpy(to + sizeof(header), is_miss(question) ? (const void *)&miss : &state, header.size);
	return bytes;
}

/*
 * A refusal has to be remembered until every request that may wait for it has been tried, and such a request may wait
 * for other answers, too: those to everything asked before now. Then, or once no request waits for anything, it is
 * forgotten, so that the next access asks again.
 */
static void refusal(struct viodma_vhost_user *backend)
{
	backend->channel.refused_until = backend->channel.tail;
	viodma_backend_schedule(backend);
}

/* Nobody will answer: everything asked counts as refused. */
static void refuse_all(struct viodma_vhost_user *backend)
{
	struct viodma_channel *channel = &backend->channel;

	while (channel->head != channel->tail) {
		const struct viodma_question question = channel->questions[slot(channel, channel->head++)];
		enum viodma_result result;

		if (!is_miss(&question))
			viodma_notify_said(backend, &question, false);
		if (question.dropped || !is_miss(&question))
			continue;
		result = viodma_iotlb_replied(&backend->iotlb, (viodma_bus){question.bus},
					      (enum viodma_permission)question.permission, false);
		if (result == VIODMA_OK)
			refusal(backend);
	}
	channel->sent = channel->tail;
	channel->sent_bytes = 0;
}

static void shut(struct viodma_channel *channel)
{
	viodma_loop_unwatch(channel->watch);
	channel->watch = NULL;
	if (channel->fd >= 0)
		close(channel->fd);
	channel->fd = -1;
	channel->in_bytes = 0;
}

/* The front end closed the channel, or spoilt it: the connection goes on without it. */
static void lost(struct viodma_vhost_user *backend, const char *why)
{
	viodma_backend_log_some(backend, "the back-end channel is gone: %s", why);
	shut(&backend->channel);
	refuse_all(backend);
}

void viodma_channel_close(struct viodma_vhost_user *backend)
{
	struct viodma_channel *channel = &backend->channel;

	shut(channel);
	channel->head = channel->sent = channel->tail = channel->refused_until = 0;
	channel->sent_bytes = 0;
	channel->overflow = false;
	backend->config_notice = (struct viodma_notice){false, false};
	for (unsigned i = 0; i < backend->options.queue_count; i++)
		backend->rings[i].call_notice = backend->rings[i].err_notice = backend->config_notice;
}

/* Account for bytes that were sent. */
static void advance(struct viodma_vhost_user *backend, size_t bytes, bool need_reply)
{
	struct viodma_channel *channel = &backend->channel;

	channel->sent_bytes += bytes;
	while (channel->sent != channel->tail) {
		const struct viodma_question question = channel->questions[slot(channel, channel->sent)];

		if (channel->sent_bytes < bytes_of(&question))
			break;
		channel->sent_bytes -= bytes_of(&question);
		channel->sent++;
		if (need_reply)
			continue;
		channel->head = channel->sent;
		if (!is_miss(&question))
			viodma_notify_said(backend, &question, true);
	}
}

void viodma_channel_flush(struct viodma_vhost_user *backend)
{
	struct viodma_channel *channel = &backend->channel;
	const bool need_reply = viodma_backend_negotiated(backend, VHOST_USER_PROTOCOL_F_REPLY_ACK_BIT);
	unsigned char batch[BATCH * QUESTION_BYTES_MAX];

	if (channel->fd < 0) {
		refuse_all(backend);
		return;
	}
	while (channel->sent != channel->tail) {
		size_t bytes = 0;
		ssize_t sent;

		for (uint32_t at = channel->sent, n = 0; at != channel->tail && n < BATCH; at++, n++)
			bytes += write_question(batch + bytes, &channel->questions[slot(channel, at)], need_reply);
		sent = send(channel->fd, batch + channel->sent_bytes, bytes - channel->sent_bytes,
			    MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
			lost(backend, strerror(errno));
			return;
		}
		if (sent <= 0)
			break;
		advance(backend, (size_t)sent, need_reply);
	}
	viodma_channel_update(backend);
}

/* ---- replies ---- */

void viodma_channel_update(struct viodma_vhost_user *backend)
{
	struct viodma_channel *channel = &backend->channel;
	const bool may_read = backend->revocation.kind == VIODMA_REVOKE_NOTHING &&
			      channel->in_bytes < sizeof(channel->in);
	unsigned events = (may_read ? VIODMA_LOOP_IN : 0) | (channel->sent != channel->tail ? VIODMA_LOOP_OUT : 0);

	if (channel->fd >= 0 && viodma_loop_change(channel->watch, events) != VIODMA_OK)
		lost(backend, strerror(errno));
}

/*
 * Is there a later question about the same page and permission? Then an update had answered this one, what it granted
 * was withdrawn before the reply came, and the reply says nothing about the later question.
 */
static bool asked_again(const struct viodma_channel *channel, const struct viodma_question *question)
{
	for (uint32_t at = channel->head; at != channel->tail; at++) {
		const struct viodma_question *later = &channel->questions[slot(channel, at)];

		if (is_miss(later) && !later->dropped && later->permission == question->permission &&
		    later->bus / VIODMA_IOTLB_PAGE_BYTES == question->bus / VIODMA_IOTLB_PAGE_BYTES)
			return true;
	}
	return false;
}

/* The reply to a question. What the core makes of it: granted (there was an update), or refused. */
static void answered(struct viodma_vhost_user *backend, bool granted)
{
	struct viodma_channel *channel = &backend->channel;
	const struct viodma_question question = channel->questions[slot(channel, channel->head++)];
	enum viodma_result result;

	if (!is_miss(&question))
		viodma_notify_said(backend, &question, granted);
	if (!is_miss(&question) || question.dropped || asked_again(channel, &question))
		return;
	if (granted && VIODMA_REQUIRE(PLT_11, false))
		return; /* believed, whether or not an update came */
	result = viodma_iotlb_replied(&backend->iotlb, (viodma_bus){question.bus},
				      (enum viodma_permission)question.permission, granted);
	if (result == VIODMA_OK)
		refusal(backend);
}

/* False: the connection has ended. */
static bool take_reply(struct viodma_vhost_user *backend, const unsigned char *bytes)
{
	struct viodma_channel *channel = &backend->channel;
	struct vhost_user_header header;
	uint64_t word;

	memcpy(&header, bytes, sizeof(header));
	memcpy(&word, bytes + sizeof(header), sizeof(word));
	if (header.size != sizeof(word) || channel->head == channel->sent ||
	    !VIODMA_REQUIRE(PLT_9, header.request == channel->questions[slot(channel, channel->head)].request &&
					   header.flags == (VHOST_USER_VERSION | VHOST_USER_REPLY))) {
		viodma_connection_log(backend, "back-end channel: PLT-9 %s: request %u, flags 0x%x, %u bytes, %u due",
				   viodma_result_text(VIODMA_PEER_MESSAGE), header.request, header.flags, header.size,
				   channel->sent - channel->head);
		viodma_connection_end(backend, "after a wrong reply on the back-end channel");
		return false;
	}
	answered(backend, word == 0);
	return true;
}

bool viodma_channel_has_replies(const struct viodma_vhost_user *backend)
{
	return backend->channel.in_bytes >= REPLY_BYTES;
}

void viodma_channel_replies(struct viodma_vhost_user *backend)
{
	struct viodma_channel *channel = &backend->channel;
	size_t at = 0;

	while (channel->in_bytes - at >= REPLY_BYTES) {
		if (!take_reply(backend, channel->in + at))
			return;
		at += REPLY_BYTES;
	}
	memmove(channel->in, channel->in + at, channel->in_bytes - at);
	channel->in_bytes -= at;
	viodma_backend_schedule(backend);
}

static void flush_and_receive(struct viodma_vhost_user *backend, unsigned events)
{
	struct viodma_channel *channel = &backend->channel;
	int fds[1];
	unsigned fd_count = 0;
	ssize_t got;

	if (events & VIODMA_LOOP_OUT)
		viodma_channel_flush(backend);
	if (!(events & VIODMA_LOOP_IN) || channel->fd < 0)
		return;
	got = viodma_descriptors_receive(channel->fd, channel->in + channel->in_bytes,
					 sizeof(channel->in) - channel->in_bytes, fds, 0, &fd_count);
	if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return;
	if (got <= 0) {
		lost(backend, got < 0 ? strerror(errno) : "the front end closed it");
		return;
	}
	if (fd_count && !VIODMA_REQUIRE(PLT_9, false)) {
		viodma_connection_log(backend, "back-end channel: PLT-9 %s: %u descriptors with a reply",
				   viodma_result_text(VIODMA_PEER_MESSAGE), fd_count);
		viodma_connection_end(backend, "after a wrong reply on the back-end channel");
		return;
	}
	channel->in_bytes += (size_t)got;
	viodma_connection_read(backend);
}

static void ready(void *context, unsigned events)
{
	struct viodma_vhost_user *backend = context;

	viodma_workers_hold(backend);
	flush_and_receive(backend, events);
	viodma_workers_release(backend);
}

/* ---- messages ---- */

enum viodma_verdict viodma_handle_backend_fd(struct viodma_vhost_user *backend, struct viodma_message *message)
{
	struct viodma_channel *channel = &backend->channel;
	struct viodma_loop_watch *watch = NULL;
	const int fd = message->fds[0];
	int type = 0;
	socklen_t length = sizeof(type);
	enum viodma_result result;
	uint32_t end;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) < 0 || type != SOCK_STREAM) /* = PLT-9 */
		return viodma_connection_refuse(backend, message->header.request, VIODMA_PEER_MESSAGE,
						"the descriptor is no stream socket");
	result = viodma_loop_watch(backend->loop, fd, VIODMA_LOOP_IN, ready, backend, &watch);
	if (result != VIODMA_OK)
		return viodma_connection_refuse(backend, message->header.request, VIODMA_PEER_MESSAGE,
						"the descriptor cannot be waited for");
	shut(channel);
	channel->fd = fd;
	channel->watch = watch;
	message->fds[0] = -1;
	/* What was asked on an earlier channel, and is still of interest, is asked again on this one. */
	end = channel->tail;
	channel->sent = channel->tail = channel->head;
	channel->sent_bytes = 0;
	for (uint32_t at = channel->head; at != end; at++)
		if (!channel->questions[slot(channel, at)].dropped)
			channel->questions[slot(channel, channel->tail++)] = channel->questions[slot(channel, at)];
	channel->refused_until = channel->tail;
	for (unsigned i = 0; i < backend->options.queue_count; i++)
		if (backend->rings[i].call_fd < 0)
			viodma_vring_call_owed(&backend->rings[i]);
	viodma_backend_schedule(backend);
	return VIODMA_DONE;
}

static enum viodma_verdict update(struct viodma_vhost_user *backend, const struct viodma_message *message)
{
	const struct vhost_user_iotlb *iotlb = &message->payload.iotlb;
	enum viodma_result result;

	if (!VIODMA_REQUIRE(PLT_9, iotlb->permissions >= VIODMA_READ && iotlb->permissions <= VIODMA_READ_WRITE))
		return viodma_connection_refuse(backend, message->header.request, VIODMA_PEER_MESSAGE,
						"an update with permission %u", iotlb->permissions);
	if (!VIODMA_REQUIRE(PLT_9, iotlb->size && iotlb->iova + (iotlb->size - 1) >= iotlb->iova &&
					   iotlb->user_address + (iotlb->size - 1) >= iotlb->user_address))
		return viodma_connection_refuse(backend, message->header.request, VIODMA_PEER_MESSAGE,
						"an update of 0x%llx bytes at 0x%llx is empty or wraps",
						(unsigned long long)iotlb->size, (unsigned long long)iotlb->iova);
	result = viodma_spaces_update(backend, iotlb);
	if (result != VIODMA_OK) {
		/* The mapping is refused, and the acknowledgement says so; whoever waits for it gets no other. */
		viodma_backend_log_some(backend,
					"%s refused: %s %s: an update of 0x%llx bytes at 0x%llx to user address 0x%llx",
					viodma_message_name(message->header.request), viodma_result_requirement(result),
					viodma_result_text(result), (unsigned long long)iotlb->size,
					(unsigned long long)iotlb->iova, (unsigned long long)iotlb->user_address);
		return VIODMA_REFUSED;
	}
	viodma_reachable_changed(backend);
	return VIODMA_DONE;
}

static enum viodma_verdict invalidate(struct viodma_vhost_user *backend, const struct viodma_message *message)
{
	const struct vhost_user_iotlb *iotlb = &message->payload.iotlb;
	enum viodma_result result = viodma_spaces_invalidate(backend, (viodma_bus){iotlb->iova}, iotlb->size);

	if (result != VIODMA_OK)
		return viodma_connection_refuse(backend, message->header.request, result,
						"an invalidation of 0x%llx bytes at 0x%llx",
						(unsigned long long)iotlb->size, (unsigned long long)iotlb->iova);
	/* Size 0 at 0 is everything: the last byte then is that of the address space. */
	backend->revocation.first.v = iotlb->iova;
	backend->revocation.last.v = iotlb->iova + (iotlb->size - 1);
	viodma_revocation_begin(backend, VIODMA_REVOKE_MAPPING, message);
	return VIODMA_LATER;
}

enum viodma_verdict viodma_handle_iotlb(struct viodma_vhost_user *backend, struct viodma_message *message)
{
	switch (message->payload.iotlb.type) {
	case VHOST_USER_IOTLB_UPDATE:
		return update(backend, message);
	case VHOST_USER_IOTLB_INVALIDATE:
		return invalidate(backend, message);
	default: /* = PLT-9: misses and failures are for this side to send */
		return viodma_connection_refuse(backend, message->header.request, VIODMA_PEER_MESSAGE, "type %u",
						message->payload.iotlb.type);
	}
}

void viodma_channel_clear_iotlb(struct viodma_vhost_user *backend)
{
	struct viodma_channel *channel = &backend->channel;
	const uint32_t end = channel->tail;

	viodma_spaces_clear_iotlb(backend);
	channel->tail = channel->sent_bytes ? channel->sent + 1 : channel->sent;
	for (uint32_t at = channel->tail; at != end; at++) /* misses need not be sent any more */
		if (!is_miss(&channel->questions[slot(channel, at)]))
			channel->questions[slot(channel, channel->tail++)] = channel->questions[slot(channel, at)];
	channel->refused_until = channel->head; /* refusals are forgotten, too */
	for (uint32_t at = channel->head; at != channel->tail; at++)
		channel->questions[slot(channel, at)].dropped |= is_miss(&channel->questions[slot(channel, at)]);
	viodma_reachable_changed(backend);
}
