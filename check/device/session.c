/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * session.c - how it works: the greeting learns what is offered. To start is a chain of steps, each of them a message or a few;
 * where the device knows REPLY_ACK each is acknowledged, else it is followed by a question that is answered in turn.
 */
#include "check/device/session.h"

#include "hosted/base/descriptors.h"
#include "hosted/vhost_user/payload.h"

#include <viodma/feature.h>
#include <viodma/loop.h>

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define BIT(n) (UINT64_C(1) << (n))
#define RING_SIZE 64u

bool check_wrong(struct check_session *session, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(session->why, sizeof(session->why), format, arguments);
	va_end(arguments);
	return false;
}

enum check_verdict check_trouble(struct check_session *session)
{
	if (session->peer.state != CHECK_ANSWERED)
		return check_failed(session, "%s", session->peer.broken);
	return check_failed(session, "%s", session->why);
}

/* ---- messages that have to be dealt with ---- */

/* *refused NULL: it must not be. */
static bool tell(struct check_session *session, uint32_t request, const void *payload, size_t bytes, const int *fds,
		 unsigned fd_count, bool *refused)
{
	uint64_t word = 0;

	if (refused)
		*refused = false;
	if (!check_session_has(session, VHOST_USER_PROTOCOL_F_REPLY_ACK_BIT)) {
		(void)(check_peer_send(&session->peer, request, 0, payload, bytes, fds, fd_count) &&
		       check_peer_get(&session->peer, VHOST_USER_GET_FEATURES, &word));
		return session->peer.state == CHECK_ANSWERED;
	}
	if (check_peer_ask(&session->peer, request, payload, bytes, fds, fd_count, &word) != CHECK_ANSWERED)
		return false;
	if (refused) {
		*refused = word != 0;
	} else if (word) {
		return check_wrong(session, "the device refuses %s (%llu)", check_peer_message_name(request),
				   (unsigned long long)word);
	}
	return true;
}

/* ---- the greeting ---- */

#define PROTOCOL_WANTED                                                                                               \
	(BIT(VHOST_USER_PROTOCOL_F_MQ_BIT) | BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK_BIT) |                               \
	 BIT(VHOST_USER_PROTOCOL_F_BACKEND_REQ_BIT) | BIT(VHOST_USER_PROTOCOL_F_CONFIG_BIT) |                         \
	 BIT(VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD_BIT) | BIT(VHOST_USER_PROTOCOL_F_RESET_DEVICE_BIT) |                \
	 BIT(VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS_BIT) | BIT(VHOST_USER_PROTOCOL_F_STATUS_BIT))

static bool greet(struct check_session *session)
{
	struct check_peer *peer = &session->peer;
	uint64_t word = 0;

	session->protocol_features = 0;
	session->queue_count = 1;
	if (check_peer_get(peer, VHOST_USER_GET_FEATURES, &session->offered) != CHECK_ANSWERED)
		return false;
	if (!check_peer_send(peer, VHOST_USER_SET_OWNER, 0, NULL, 0, NULL, 0))
		return false;
	if (!(session->offered & BIT(VHOST_USER_F_PROTOCOL_FEATURES_BIT)))
		return true;
	if (check_peer_get(peer, VHOST_USER_GET_PROTOCOL_FEATURES, &word) != CHECK_ANSWERED)
		return false;
	word &= PROTOCOL_WANTED;
	if (!check_peer_send(peer, VHOST_USER_SET_PROTOCOL_FEATURES, 0, &word, sizeof(word), NULL, 0))
		return false;
	session->protocol_features = word;
	if (check_session_has(session, VHOST_USER_PROTOCOL_F_MQ_BIT) &&
	    check_peer_get(peer, VHOST_USER_GET_QUEUE_NUM, &session->queue_count) != CHECK_ANSWERED)
		return false;
	if (check_session_has(session, VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS_BIT) &&
	    check_peer_get(peer, VHOST_USER_GET_MAX_MEM_SLOTS, &session->slots) != CHECK_ANSWERED)
		return false;
	return true;
}

static int connect_to(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(path) >= sizeof(address.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(address.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0); /* it may not accept */
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		const int reason = errno;

		close(fd);
		errno = reason;
		return -1;
	}
	return fd;
}

/* A device that serves one connection at a time may still be ending the last one. */
static bool connect_soon(struct check_session *session, int *fd)
{
	const uint64_t until_ns = viodma_loop_now_ns() + (uint64_t)session->options->timeout_ms * 1000000u;

	while ((*fd = connect_to(session->options->socket_path)) < 0 && viodma_loop_now_ns() < until_ns)
		usleep(2000);
	if (*fd >= 0)
		return true;
	session->peer.state = CHECK_GONE;
	snprintf(session->peer.broken, sizeof(session->peer.broken), "%.120s: %s", session->options->socket_path, strerror(errno));
	return false;
}

bool check_session_open(struct check_session *session, int fd)
{
	if (!check_memory_new(&session->memory))
		return check_wrong(session, "out of memory");
	if (fd < 0 && !connect_soon(session, &fd))
		return false;
	check_peer_init(&session->peer, fd, session->options->timeout_ms, session);
	session->peer.asked = check_iommu_asked;
	return greet(session);
}

static void rings_free(struct check_session *session)
{
	for (unsigned i = 0; i < session->ring_count; i++)
		check_ring_free(&session->rings[i]);
	session->ring_count = 0;
}

void check_session_close(struct check_session *session)
{
	check_peer_end(&session->peer);
	rings_free(session);
	if (session->record.mmap_size)
		close(session->record_fd);
	session->record.mmap_size = 0;
	check_memory_free(&session->memory);
}

static bool connect_again(struct check_session *session)
{
	int fd, died_of;

	check_peer_end(&session->peer);
	died_of = session->command ? check_command_died(session->command) : 0;
	if (died_of) {
		session->peer.state = CHECK_GONE;
		snprintf(session->peer.broken, sizeof(session->peer.broken), "the device's process died of signal %d (%s)", died_of,
			 strsignal(died_of));
		return false;
	}
	if (session->command) {
		check_command_end(session->command);
		check_command_start(session->command, session->options->command);
	}
	session->miss_count = 0;
	session->started = false;
	check_event(session, CHECK_US, 0, 0, "the connection is closed, and made anew");
	if (!connect_soon(session, &fd))
		return false;
	check_peer_init(&session->peer, fd, session->options->timeout_ms, session);
	session->peer.asked = check_iommu_asked;
	return greet(session);
}

bool check_session_again(struct check_session *session)
{
	rings_free(session);
	session->grant_count = 0;
	return connect_again(session);
}

/* ---- features ---- */

static bool set_status(struct check_session *session, uint64_t status)
{
	return !check_session_has(session, VHOST_USER_PROTOCOL_F_STATUS_BIT) ||
	       tell(session, VHOST_USER_SET_STATUS, &status, sizeof(status), NULL, 0, NULL);
}

#define ACKNOWLEDGE_DRIVER 3u

bool check_session_set_features(struct check_session *session, uint64_t features, bool *refused)
{
	uint64_t status = 0;

	*refused = false;
	session->accepted = features;
	session->platform = features >> VIRTIO_F_ACCESS_PLATFORM_BIT & 1;
	session->packed = features >> VIRTIO_F_RING_PACKED_BIT & 1;
	session->event_idx = features >> VIRTIO_F_EVENT_IDX_BIT & 1;
	if (!set_status(session, 0) || !set_status(session, ACKNOWLEDGE_DRIVER))
		return false;
	if (!tell(session, VHOST_USER_SET_FEATURES, &features, sizeof(features), NULL, 0, refused)) {
		/* A device that has no other word closes the connection. */
		*refused = session->peer.state == CHECK_GONE;
		return *refused;
	}
	if (*refused || !check_session_has(session, VHOST_USER_PROTOCOL_F_STATUS_BIT))
		return true;
	if (!set_status(session, ACKNOWLEDGE_DRIVER | VIODMA_STATUS_FEATURES_OK) ||
	    check_peer_get(&session->peer, VHOST_USER_GET_STATUS, &status) != CHECK_ANSWERED)
		return false;
	*refused = !(status & VIODMA_STATUS_FEATURES_OK);
	return true;
}

bool check_session_features(struct check_session *session, const struct check_setup *setup)
{
	uint64_t wanted = BIT(VIRTIO_F_VERSION_1_BIT) | BIT(VIRTIO_F_INDIRECT_DESC_BIT) | BIT(VHOST_USER_F_PROTOCOL_FEATURES_BIT) |
			  session->type->features;
	bool refused;

	if (!setup->clear)
		wanted |= BIT(VIRTIO_F_ACCESS_PLATFORM_BIT);
	if (!setup->no_event_idx)
		wanted |= BIT(VIRTIO_F_EVENT_IDX_BIT);
	if (setup->in_order)
		wanted |= BIT(VIRTIO_F_IN_ORDER_BIT);
	if (session->outcome->ring[0] == 'p')
		wanted |= BIT(VIRTIO_F_RING_PACKED_BIT);
	if (!check_session_set_features(session, wanted & session->offered, &refused))
		return false;
	if (refused)
		return check_wrong(session, "the device refuses features that it offers: 0x%llx",
				   (unsigned long long)session->accepted);
	if (session->platform && check_session_has(session, VHOST_USER_PROTOCOL_F_BACKEND_REQ_BIT) &&
	    session->peer.channel_fd < 0)
		return check_peer_open_channel(&session->peer, check_session_has(session, VHOST_USER_PROTOCOL_F_REPLY_ACK_BIT)) ==
		       CHECK_ANSWERED;
	return true;
}

/* ---- memory and rings ---- */

bool check_session_memory(struct check_session *session)
{
	struct vhost_user_memory table = {.num_regions = CHECK_REGIONS};
	int fds[CHECK_REGIONS];

	for (unsigned i = 0; i < CHECK_REGIONS; i++) {
		const struct check_region *region = &session->memory.regions[i];

		table.regions[i] = (struct vhost_user_region){region->phys, CHECK_REGION_BYTES, region->user, 0};
		fds[i] = region->fd;
	}
	return tell(session, VHOST_USER_SET_MEM_TABLE, &table, 8 + CHECK_REGIONS * sizeof(table.regions[0]), fds, CHECK_REGIONS,
		    NULL);
}

unsigned check_session_queue(const struct check_session *session, unsigned n)
{
	return session->rings[n].queue;
}

static bool signals(struct check_session *session, const struct check_ring *ring)
{
	const uint64_t index = ring->queue;

	return tell(session, VHOST_USER_SET_VRING_CALL, &index, sizeof(index), &ring->call_fd, 1, NULL) &&
	       tell(session, VHOST_USER_SET_VRING_ERR, &index, sizeof(index), &ring->err_fd, 1, NULL) &&
	       tell(session, VHOST_USER_SET_VRING_KICK, &index, sizeof(index), &ring->kick_fd, 1, NULL);
}

bool check_session_ring_start(struct check_session *session, unsigned n)
{
	const struct check_ring *ring = &session->rings[n];
	struct vhost_user_vring_state state = {ring->queue, ring->size};
	/* With bit 33 clear a ring's parts are named by user addresses. */
	const struct vhost_user_vring_addr address = {
		.index = ring->queue,
		.descriptor = session->platform ? ring->desc.bus : ring->desc.user,
		.available = session->platform ? ring->avail.bus : ring->avail.user,
		.used = session->platform ? ring->used.bus : ring->used.user,
	};

	if (!tell(session, VHOST_USER_SET_VRING_NUM, &state, sizeof(state), NULL, 0, &session->size_refused))
		return false;
	if (session->size_refused)
		return check_wrong(session, "the device takes no ring of %u", ring->size);
	state.num = check_ring_base(ring);
	if (!tell(session, VHOST_USER_SET_VRING_BASE, &state, sizeof(state), NULL, 0, NULL) ||
	    !tell(session, VHOST_USER_SET_VRING_ADDR, &address, sizeof(address), NULL, 0, NULL) || !signals(session, ring))
		return false;
	state.num = 1;
	return !(session->accepted & BIT(VHOST_USER_F_PROTOCOL_FEATURES_BIT)) ||
	       tell(session, VHOST_USER_SET_VRING_ENABLE, &state, sizeof(state), NULL, 0, NULL);
}

bool check_session_ring_stop(struct check_session *session, unsigned n, uint32_t *base)
{
	struct vhost_user_vring_state state = {session->rings[n].queue, 0};
	size_t bytes = 0;

	if (!check_peer_send(&session->peer, VHOST_USER_GET_VRING_BASE, 0, &state, sizeof(state), NULL, 0) ||
	    check_peer_receive(&session->peer, VHOST_USER_GET_VRING_BASE, &state, sizeof(state), &bytes, NULL) != CHECK_ANSWERED)
		return false;
	if (bytes != sizeof(state) || state.index != session->rings[n].queue)
		return check_wrong(session, "GET_VRING_BASE of queue %u is answered with %zu bytes about queue %u",
				   session->rings[n].queue, bytes, state.index);
	check_event(session, CHECK_PEER, 0, 0, "queue %u has stopped at 0x%x", state.index, state.num);
	*base = state.num;
	return true;
}

bool check_session_ring_grant(struct check_session *session, const struct check_ring *ring)
{
	return check_grant(session, &ring->desc, CHECK_READ_WRITE) && check_grant(session, &ring->avail, CHECK_READ_WRITE) &&
	       check_grant(session, &ring->used, CHECK_READ_WRITE);
}

bool check_session_ring(struct check_session *session, const struct check_setup *setup, unsigned queue)
{
	const unsigned n = session->ring_count;
	struct check_ring *ring = &session->rings[n];

	if (!check_ring_new(ring, &session->memory, queue, setup->size ? setup->size : RING_SIZE, session->packed,
			    setup->rings_spread))
		return check_wrong(session, "out of memory");
	ring->in_order = session->accepted >> VIRTIO_F_IN_ORDER_BIT & 1;
	session->ring_count++;
	if (setup->index && !session->packed)
		check_ring_begin_at(ring, setup->index);
	if (!setup->rings_unmapped && !check_session_ring_grant(session, ring))
		return false;
	return check_session_ring_start(session, n);
}

bool check_session_start(struct check_session *session, const struct check_setup *setup)
{
	const struct check_type *type = session->type;
	const unsigned queues = setup->queues ? setup->queues : 1;
	struct check_setup beside = *setup;
	const unsigned idle = !type->idle_queue ? 0 : type->idle_per_ring ? queues : 1;

	if (!check_session_features(session, setup) || !check_session_memory(session) ||
	    (setup->record && !check_session_record(session)))
		return false;
	for (unsigned n = 0; n < queues; n++)
		if (!check_session_ring(session, setup, type->queue(n, check_direction_of(session))))
			return false;
	beside.rings_unmapped = false;
	for (unsigned n = 0; n < idle; n++)
		if (!check_session_ring(session, &beside, type->idle_queue(n)))
			return false;
	session->started = true;
	return set_status(session, ACKNOWLEDGE_DRIVER | VIODMA_STATUS_FEATURES_OK | VIODMA_STATUS_DRIVER_OK);
}

bool check_session_reset(struct check_session *session)
{
	uint32_t base;

	session->started = false;
	for (unsigned n = 0; n < session->ring_count; n++)
		if (!check_session_ring_stop(session, n, &base))
			return false;
	if (check_session_has(session, VHOST_USER_PROTOCOL_F_RESET_DEVICE_BIT) &&
	    !tell(session, VHOST_USER_RESET_DEVICE, NULL, 0, NULL, 0, NULL))
		return false;
	return set_status(session, 0);
}

bool check_session_record(struct check_session *session)
{
	const uint16_t queues = (uint16_t)(session->type->queue(0, check_direction_of(session)) + 1);
	struct vhost_user_inflight *record = &session->record, wanted = {.num_queues = queues, .queue_size = RING_SIZE};
	size_t bytes = 0;

	if (!record->mmap_size) {
		if (!check_peer_send(&session->peer, VHOST_USER_GET_INFLIGHT_FD, 0, &wanted, sizeof(wanted), NULL, 0) ||
		    check_peer_receive(&session->peer, VHOST_USER_GET_INFLIGHT_FD, record, sizeof(*record), &bytes,
				       &session->record_fd) != CHECK_ANSWERED)
			return false;
		if (bytes != sizeof(*record) || session->record_fd < 0 || !record->mmap_size) {
			record->mmap_size = 0;
			return check_wrong(session, "GET_INFLIGHT_FD is answered without a record");
		}
		record->num_queues = wanted.num_queues;
		record->queue_size = wanted.queue_size;
	}
	return tell(session, VHOST_USER_SET_INFLIGHT_FD, record, sizeof(*record), &session->record_fd, 1, NULL);
}

/* From where it was used: what was fetched beyond that only the record knows. */
static bool ring_resume(struct check_session *session, unsigned n)
{
	struct check_ring *ring = &session->rings[n];
	const uint16_t next = ring->next_avail;
	const bool wrap = ring->avail_wrap;
	bool started;

	ring->next_avail = ring->next_used;
	ring->avail_wrap = ring->used_wrap;
	started = check_session_ring_start(session, n);
	ring->next_avail = next;
	ring->avail_wrap = wrap;
	return started;
}

bool check_session_resume(struct check_session *session, const struct check_setup *setup)
{
	if (!connect_again(session) || !check_session_features(session, setup) || !check_session_memory(session) ||
	    !check_session_record(session))
		return false;
	for (unsigned n = 0; n < session->ring_count; n++)
		if (!ring_resume(session, n))
			return false;
	session->started = true;
	return set_status(session, ACKNOWLEDGE_DRIVER | VIODMA_STATUS_FEATURES_OK | VIODMA_STATUS_DRIVER_OK);
}

bool check_session_start_large(struct check_session *session, const struct check_setup *setup, enum check_verdict *verdict)
{
	struct check_setup large = *setup;

	large.size = 1024;
	if (check_session_start(session, &large))
		return true;
	*verdict = session->size_refused ? check_not_exercised(session, "the device takes no ring of %u", large.size)
					 : check_trouble(session);
	return false;
}

/* ---- small things ---- */

uint64_t check_address(const struct check_session *session, const struct check_place *place)
{
	return session->platform ? place->bus : place->phys;
}

bool check_place(struct check_session *session, uint64_t bytes, uint32_t distance, struct check_place *place)
{
	return check_memory_place(&session->memory, bytes, distance, place) || check_wrong(session, "out of memory");
}

void check_wait_ms(struct check_session *session, uint32_t ms)
{
	(void)check_peer_wait(&session->peer, -1, viodma_loop_now_ns() + (uint64_t)ms * 1000000u);
}
