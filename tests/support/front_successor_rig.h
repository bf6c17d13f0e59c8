/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * front_successor_rig.h - back ends that come one after the other.
 *
 * How it works: scripted back ends (tests/support/front_peer.h), one after the other, listen at one path. Each keeps what it
 * was told; the first is made to hang up, by its script or from outside. Rings are memory, and nobody works on them.
 */
#ifndef VIODMA_TESTS_FRONT_SUCCESSOR_RIG_H
#define VIODMA_TESTS_FRONT_SUCCESSOR_RIG_H

#include "tests/support/check.h"
#include "tests/support/front_peer.h"
#include "tests/support/front_rig.h"

#include <viodma/queue.h>

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PROTOCOL (PEER_PROTOCOL_FEATURES | PEER_PROTOCOL_BIT(INFLIGHT_SHMFD))
#define PEERS 3u
#define KEPT 256u
#define PATIENCE_MS 3000u

/* What one back end was told. */
struct told {
	uint32_t requests[KEPT];
	unsigned count;
	struct vhost_user_inflight record;
	ino_t record_inode;
	struct vhost_user_vring_state base, num;
	struct vhost_user_vring_addr addr;
	struct vhost_user_single_region region;
	struct vhost_user_memory table;
	struct vhost_user_iotlb update;
	int kick_fd, record_fd;
};

struct fixture {
	struct front_rig rig;
	struct front_peer peers[PEERS];
	pthread_t thread;
	char path[64];
	int listener;
};

static struct told all_told[PEERS];
static uint32_t hang_up_at;     /* the first one does, instead of an answer to this; 0: never */
static unsigned hang_up_nth;    /* the nth of them, from 1 */
static uint32_t refused_request; /* what later ones refuse */

static inline bool keep(struct front_peer *peer, const struct front_peer_message *message)
{
	struct told *told = peer->context;
	const uint32_t request = message->header.request;
	struct stat found;

	told->requests[told->count++ % KEPT] = request;
	switch (request) {
	case VHOST_USER_SET_INFLIGHT_FD:
		told->record = message->payload.inflight;
		told->record_inode = message->fd_count == 1 && fstat(message->fds[0], &found) == 0 ? found.st_ino : 0;
		if (told->record_fd >= 0)
			close(told->record_fd);
		told->record_fd = fcntl(message->fds[0], F_DUPFD_CLOEXEC, 0);
		break;
	case VHOST_USER_SET_VRING_BASE:
		told->base = message->payload.state;
		break;
	case VHOST_USER_SET_VRING_NUM:
		told->num = message->payload.state;
		break;
	case VHOST_USER_SET_VRING_ADDR:
		told->addr = message->payload.addr;
		break;
	case VHOST_USER_SET_VRING_KICK:
		told->kick_fd = fcntl(message->fds[0], F_DUPFD_CLOEXEC, 0);
		break;
	case VHOST_USER_ADD_MEM_REG:
		told->region = message->payload.single;
		break;
	case VHOST_USER_SET_MEM_TABLE:
		told->table = message->payload.memory;
		break;
	case VHOST_USER_IOTLB_MSG:
		told->update = message->payload.iotlb;
		break;
	default:
		break;
	}
	if (told == all_told && hang_up_at && request == hang_up_at && peer->count[request] == hang_up_nth) {
		shutdown(peer->fd, SHUT_RDWR);
		return true;
	}
	return told != all_told && request == refused_request && front_peer_ack(peer, message, 1);
}

static inline void *serve_all(void *context)
{
	struct fixture *fixture = context;

	for (unsigned i = 0; i < PEERS; i++) {
		fixture->peers[i].fd = accept4(fixture->listener, NULL, NULL, SOCK_CLOEXEC);
		if (fixture->peers[i].fd < 0)
			break;
		front_peer_serve(&fixture->peers[i]);
	}
	return NULL;
}

static inline bool begin_with(struct fixture *fixture, uint64_t protocol, uint64_t wanted, uint32_t reconnect_ms)
{
	struct viodma_front_options options = {.timeout_ms = 2000, .reconnect_ms = reconnect_ms};
	bool platform;

	memset(fixture, 0, sizeof(*fixture));
	memset(all_told, 0, sizeof(all_told));
	hang_up_at = refused_request = 0;
	hang_up_nth = 1;
	for (unsigned i = 0; i < PEERS; i++) {
		struct front_peer *peer = &fixture->peers[i];

		front_peer_init(peer, -1);
		peer->context = &all_told[i];
		peer->hook = keep;
		peer->features |= VIODMA_FEATURE(VIRTIO_F_RING_PACKED_BIT);
		peer->protocol_features = protocol;
		all_told[i].kick_fd = all_told[i].record_fd = -1;
	}
	fixture->listener = front_peer_listen(fixture->path);
	CHECK(fixture->listener >= 0);
	CHECK(pthread_create(&fixture->thread, NULL, serve_all, fixture) == 0);
	options.socket_path = fixture->path;
	CHECK_RESULT(viodma_front_memory_new(RIG_BYTES, (viodma_phys){RIG_PHYS}, &fixture->rig.memory), VIODMA_OK);
	CHECK_RESULT(viodma_front_connect(&options, &fixture->rig.front), VIODMA_OK);
	fixture->rig.transport = viodma_front_transport(fixture->rig.front);
	CHECK_RESULT(viodma_front_share(fixture->rig.front, &fixture->rig.memory), VIODMA_OK);
	CHECK_RESULT(rig_negotiate(&fixture->rig, wanted, &platform), VIODMA_OK);
	if (platform)
		CHECK_RESULT(viodma_front_grant(fixture->rig.front, rig_bus(&fixture->rig, 0), (viodma_phys){RIG_PHYS}, RIG_BYTES,
						VIODMA_READ_WRITE, true),
			     VIODMA_OK);
	return true;
}

static inline bool begin(struct fixture *fixture)
{
	CHECK(begin_with(fixture, PROTOCOL, RIG_WANTED, PATIENCE_MS));
	CHECK_RESULT(rig_start(&fixture->rig), VIODMA_OK);
	return true;
}

static inline bool end(struct fixture *fixture)
{
	viodma_front_free(fixture->rig.front);
	viodma_front_memory_free(&fixture->rig.memory);
	shutdown(fixture->listener, SHUT_RDWR);
	pthread_join(fixture->thread, NULL);
	for (unsigned i = 0; i < PEERS; i++) {
		const int fds[] = {fixture->peers[i].fd, fixture->peers[i].channel, all_told[i].kick_fd, all_told[i].record_fd};

		for (unsigned k = 0; k < 4; k++)
			if (fds[k] >= 0)
				close(fds[k]);
	}
	close(fixture->listener);
	unlink(fixture->path);
	return true;
}

static inline void kill_first(struct fixture *fixture)
{
	shutdown(fixture->peers[0].fd, SHUT_RDWR);
}

static inline enum viodma_result wait_for(struct fixture *fixture)
{
	return viodma_front_wait(fixture->rig.front, viodma_loop_now_ns() + RIG_PATIENCE_NS);
}

static inline enum viodma_result reconnect(struct fixture *fixture)
{
	return viodma_front_reconnect(fixture->rig.front, viodma_loop_now_ns() + RIG_PATIENCE_NS);
}

/* A device had come so far. */
static inline void put_used_index(struct fixture *fixture, uint16_t index)
{
	const viodma_le16 wire = viodma_le16_of(index);

	memcpy(rig_at(&fixture->rig, RIG_USED + VIRTQ_USED_IDX), &wire, sizeof(wire));
}

static inline unsigned position(const struct told *told, uint32_t request)
{
	unsigned at = 0;

	while (at < told->count && told->requests[at] != request)
		at++;
	return at;
}

static inline bool kicked(const struct told *told)
{
	struct pollfd ready = {.fd = told->kick_fd, .events = POLLIN};

	return poll(&ready, 1, 1000) == 1;
}

#endif
