/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * front.c - how it works: connecting is a fixed conversation: features, protocol features (of which the ones below are
 * used), the numbers of queues and memory slots, the channel for questions. Then memory can be handed over, and the
 * transport be driven (front_transport.c).
 *
 * A connection breaks once, for one reason, which is logged and answered by every later call. Its sockets are shut down,
 * so that the back end knows, and closed with viodma_front_free: until then viodma_front_fd stays readable.
 */
#include "hosted/front/front.h"

#include <viodma/loop.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define TIMEOUT_MS_DEFAULT 10000u
#define QUEUE_SIZE_MAX_DEFAULT 1024u
#define CONNECT_AGAIN_NS 5000000
#define USED(name) ((uint64_t)1 << VHOST_USER_PROTOCOL_F_##name##_BIT)

static const uint64_t protocol_features_used = USED(MQ) | USED(REPLY_ACK) | USED(BACKEND_REQ) | USED(CONFIG) |
					       USED(RESET_DEVICE) | USED(CONFIGURE_MEM_SLOTS) | USED(STATUS) |
					       USED(INFLIGHT_SHMFD) | USED(INBAND_NOTIFICATIONS);
/* Without these it is an error to agree on INBAND_NOTIFICATIONS. */
static const uint64_t inband_needs = USED(REPLY_ACK) | USED(BACKEND_REQ);

/* ---- log ---- */

static void log_line(struct viodma_front *front, const char *format, va_list arguments)
{
	char text[512];
	int at = snprintf(text, sizeof(text), "viodma: %s: ", front->name);

	if (!front->options.log)
		return;
	vsnprintf(text + at, sizeof(text) - (size_t)at, format, arguments);
	front->options.log(front->options.context, text);
}

void viodma_front_log(struct viodma_front *front, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	log_line(front, format, arguments);
	va_end(arguments);
}

void viodma_front_log_some(struct viodma_front *front, const char *format, ...)
{
	uint64_t left_out;
	va_list arguments;

	if (!viodma_rate_limit_allow_of(&front->log_limit, viodma_loop_now_ns(), VIODMA_FRONT_LINES_PER_SECOND, 1000000000u,
					&left_out))
		return;
	if (left_out)
		viodma_front_log(front, "%llu lines were left out", (unsigned long long)left_out);
	va_start(arguments, format);
	log_line(front, format, arguments);
	va_end(arguments);
}

enum viodma_result viodma_front_break(struct viodma_front *front, enum viodma_result result, const char *format, ...)
{
	const char *requirement = viodma_result_requirement(result), *space = *requirement ? " " : "";
	const char *what = viodma_result_text(result);
	char text[256];
	va_list arguments;

	if (front->broken != VIODMA_OK)
		return front->broken;
	front->broken = result;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	if (result == VIODMA_PEER_GONE && (front->reconnecting || front->options.reconnect_ms)) /* as often as it likes */
		viodma_front_log_some(front, "the connection ends: %s%s%s: %s", requirement, space, what, text);
	else
		viodma_front_log(front, "the connection ends: %s%s%s: %s", requirement, space, what, text);
	shutdown(front->fd, SHUT_RDWR);
	if (front->channel.fd >= 0)
		shutdown(front->channel.fd, SHUT_RDWR);
	return result;
}

enum viodma_result viodma_front_hung_up(struct viodma_front *front, const char *what)
{
	/* A back end cannot clear FEATURES_OK; it ends the connection. */
	return viodma_front_break(front, front->negotiating ? VIODMA_PEER_FEATURES : VIODMA_PEER_GONE,
				  "the back end hung up (%s)", what);
}

/* ---- the socket ---- */

/* Somebody may be about to let us in. */
static bool connects_later(bool patient)
{
	return errno == EAGAIN || errno == EINTR || (patient && (errno == ENOENT || errno == ECONNREFUSED));
}

enum viodma_result viodma_front_connect_path(struct viodma_front *front, uint64_t deadline_ns, bool patient)
{
	const char *path = front->options.socket_path;
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (strlen(path) >= sizeof(address.sun_path)) {
		viodma_front_log(front, "cannot connect to %s: the path has more than %zu bytes", path,
				 sizeof(address.sun_path) - 1);
		return VIODMA_E_INVALID;
	}
	strcpy(address.sun_path, path);
	front->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	while (front->fd >= 0 && connect(front->fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		const struct timespec moment = {0, CONNECT_AGAIN_NS};

		if (!connects_later(patient)) {
			const int reason = errno;

			viodma_front_log(front, "cannot connect to %s: %s", path, strerror(reason));
			errno = reason;
			return VIODMA_E_IO;
		}
		if (viodma_loop_now_ns() >= deadline_ns) {
			viodma_front_log(front, "cannot connect to %s: %s", path,
					 errno == EAGAIN ? "too many wait to be let in" : strerror(errno));
			return VIODMA_E_TIMEOUT;
		}
		nanosleep(&moment, NULL);
	}
	if (front->fd < 0) {
		viodma_front_log(front, "cannot make a socket: %s", strerror(errno));
		return VIODMA_E_IO;
	}
	return VIODMA_OK;
}

static enum viodma_result take_socket(struct viodma_front *front)
{
	const int fd = front->options.socket_fd;
	struct sockaddr_storage address;
	socklen_t length = sizeof(address);
	int type = 0;
	socklen_t type_bytes = sizeof(type);

	if (fd <= 0) {
		viodma_front_log(front, "socket_path is NULL and socket_fd %d", fd);
		return VIODMA_E_INVALID;
	}
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_bytes) < 0 || type != SOCK_STREAM ||
	    getpeername(fd, (struct sockaddr *)&address, &length) < 0 || address.ss_family != AF_UNIX) {
		viodma_front_log(front, "descriptor %d is not a connected Unix stream socket", fd);
		return VIODMA_E_INVALID;
	}
	front->fd = fd;
	return VIODMA_OK;
}

/* ---- the conversation ---- */

static enum viodma_result agree_on_protocol(struct viodma_front *front)
{
	uint64_t offered;
	enum viodma_result result = viodma_front_query(front, VHOST_USER_GET_FEATURES, &front->offered);

	if (result != VIODMA_OK || !(front->offered >> VHOST_USER_F_PROTOCOL_FEATURES_BIT & 1))
		return result;
	result = viodma_front_query(front, VHOST_USER_GET_PROTOCOL_FEATURES, &offered);
	if (result != VIODMA_OK)
		return result;
	offered &= protocol_features_used & ~front->options.protocol_features_masked;
	if (!front->options.socket_path)
		offered &= ~USED(INFLIGHT_SHMFD); /* there is nowhere to look for a successor */
	if (!front->options.inband_notifications || ~offered & inband_needs)
		offered &= ~USED(INBAND_NOTIFICATIONS);
	/* Nothing is acknowledged yet; what comes next is answered. */
	result = viodma_front_post(front, VHOST_USER_SET_PROTOCOL_FEATURES, false, &offered, sizeof(offered), NULL, 0);
	front->protocol_features = front->statistics.protocol_features = offered;
	return result;
}

static enum viodma_result ask_numbers(struct viodma_front *front)
{
	uint64_t queues = 1, slots = VHOST_USER_MEMORY_REGIONS;
	enum viodma_result result = VIODMA_OK;

	if (viodma_front_has(front, VHOST_USER_PROTOCOL_F_MQ_BIT))
		result = viodma_front_query(front, VHOST_USER_GET_QUEUE_NUM, &queues);
	if (result == VIODMA_OK && viodma_front_has(front, VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS_BIT))
		result = viodma_front_query(front, VHOST_USER_GET_MAX_MEM_SLOTS, &slots);
	if (result != VIODMA_OK)
		return result;
	front->queue_count = queues < VIODMA_FRONT_QUEUES_MAX ? (unsigned)queues : VIODMA_FRONT_QUEUES_MAX;
	front->slots = slots;
	front->queues = calloc(front->queue_count ? front->queue_count : 1, sizeof(*front->queues));
	if (!front->queues)
		return VIODMA_E_NO_MEMORY;
	for (unsigned i = 0; i < front->queue_count; i++)
		front->queues[i].kick_fd = front->queues[i].call_fd = front->queues[i].err_fd = -1;
	return VIODMA_OK;
}

static enum viodma_result begin(struct viodma_front *front)
{
	enum viodma_result result = front->options.socket_path
					    ? viodma_front_connect_path(front, viodma_front_deadline(front), false)
					    : take_socket(front);

	if (result != VIODMA_OK)
		return result;
	front->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (front->epoll_fd < 0 || viodma_front_watch(front, front->fd, VIODMA_FRONT_EVENT_MAIN, 0) != VIODMA_OK) {
		viodma_front_log(front, "cannot wait for the socket: %s", strerror(errno));
		return VIODMA_E_IO;
	}
	result = agree_on_protocol(front);
	if (result == VIODMA_OK)
		result = viodma_front_command(front, VHOST_USER_SET_OWNER, NULL, 0, NULL, 0);
	if (result == VIODMA_OK)
		result = ask_numbers(front);
	if (result == VIODMA_OK && viodma_front_has(front, VHOST_USER_PROTOCOL_F_BACKEND_REQ_BIT))
		result = viodma_front_channel_open(front);
	return result;
}

enum viodma_result viodma_front_connect(const struct viodma_front_options *options, struct viodma_front **front)
{
	struct viodma_front *made = calloc(1, sizeof(*made));
	enum viodma_result result;

	if (!made)
		return VIODMA_E_NO_MEMORY;
	made->options = *options;
	if (!made->options.timeout_ms)
		made->options.timeout_ms = TIMEOUT_MS_DEFAULT;
	if (!made->options.queue_size_max)
		made->options.queue_size_max = QUEUE_SIZE_MAX_DEFAULT;
	snprintf(made->name, sizeof(made->name), "%s", options->name ? options->name : "device");
	made->transport = (struct viodma_transport){&viodma_front_ops, made, made->name};
	made->fd = made->epoll_fd = made->channel.fd = made->record.fd = -1;
	if (made->options.queue_size_max > 32768 || (made->options.queue_size_max & (made->options.queue_size_max - 1))) {
		viodma_front_log(made, "queue_size_max is %u, expected a power of two, at most 32768",
				 made->options.queue_size_max);
		result = VIODMA_E_INVALID;
	} else {
		result = begin(made);
	}
	if (result != VIODMA_OK) {
		const int reason = errno;

		if (!made->options.socket_path)
			made->fd = -1; /* it stays the caller's */
		viodma_front_free(made);
		errno = reason;
		return result;
	}
	viodma_front_log(made, "connected: features 0x%llx, protocol features 0x%llx, %u queues",
			 (unsigned long long)made->offered, (unsigned long long)made->protocol_features, made->queue_count);
	if (options->reconnect_ms && !viodma_front_has(made, VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD_BIT))
		viodma_front_log(made, "reconnect_ms has no effect: %s",
				 options->socket_path ? "no successor can go on, for the back end keeps no record" :
							"a successor is looked for at a socket_path");
	*front = made;
	return VIODMA_OK;
}

void viodma_front_free(struct viodma_front *front)
{
	if (!front)
		return;
	viodma_descriptor_close(&front->channel.fd);
	viodma_descriptor_close(&front->fd);
	viodma_descriptor_close(&front->epoll_fd);
	for (unsigned i = 0; front->queues && i < front->queue_count; i++) {
		viodma_descriptor_close(&front->queues[i].kick_fd);
		viodma_descriptor_close(&front->queues[i].call_fd);
		viodma_descriptor_close(&front->queues[i].err_fd);
	}
	viodma_front_record_drop(front);
	viodma_front_memory_drop(front);
	viodma_front_table_drop(&front->table);
	free(front->queues);
	free(front);
}

const struct viodma_transport *viodma_front_transport(struct viodma_front *front)
{
	return &front->transport;
}

void viodma_front_statistics(const struct viodma_front *front, struct viodma_front_statistics *statistics)
{
	*statistics = front->statistics;
}

uint32_t viodma_front_refusals(const struct viodma_front *front,
			       struct viodma_front_refusal refusals[VIODMA_FRONT_REFUSALS], uint64_t *total)
{
	const uint64_t all = front->statistics.refused;
	const uint32_t count = all < VIODMA_FRONT_REFUSALS ? (uint32_t)all : VIODMA_FRONT_REFUSALS;

	for (uint32_t i = 0; i < count; i++)
		refusals[i] = front->refusals[(all - count + i) % VIODMA_FRONT_REFUSALS];
	*total = all;
	return count;
}
