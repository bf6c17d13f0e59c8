/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * front_iommu_rig.h - the front end as IOMMU, opposite a scripted back end (tests/support/front_peer.h) that acknowledges and
 * keeps IOTLB messages in a thread of its own. Questions are put on its channel by the test itself, and answered by
 * viodma_front_wait; or by the script's hook, while the front end waits for something.
 */
#ifndef VIODMA_TESTS_FRONT_IOMMU_RIG_H
#define VIODMA_TESTS_FRONT_IOMMU_RIG_H

#include "tests/support/check.h"
#include "tests/support/front_peer.h"
#include "tests/support/front_rig.h"

#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MESSAGES 1024u
#define BUS(page) ((viodma_bus){RIG_PHYS + RIG_SHIFT + RIG_PAGE * (uint64_t)(page)})
#define PHYS(page) ((viodma_phys){RIG_PHYS + RIG_PAGE * (uint64_t)(page)})
#define DURING(script) during = script

struct fixture {
	struct front_rig rig;
	struct front_peer peer;
};

/* IOTLB messages as they came in, and how many. */
static struct vhost_user_iotlb received[MESSAGES];
static bool with_ack[MESSAGES];
static _Atomic unsigned received_count;
static _Atomic int flag;
/* What the back end does instead of acknowledging an invalidation. */
static bool (*_Atomic during)(struct front_peer *peer, const struct front_peer_message *message);

static inline bool keep_iotlb(struct front_peer *peer, const struct front_peer_message *message)
{
	const unsigned at = atomic_load(&received_count);

	if (message->header.request != VHOST_USER_IOTLB_MSG)
		return false;
	if (at < MESSAGES) {
		received[at] = message->payload.iotlb;
		with_ack[at] = message->header.flags & VHOST_USER_NEED_REPLY;
		atomic_store(&received_count, at + 1);
	}
	return during && during(peer, message);
}

/* Has the back end received that many? It may need a moment. */
static inline bool got(unsigned count)
{
	const struct timespec moment = {0, 1000000};

	for (unsigned i = 0; i < 3000 && atomic_load(&received_count) < count; i++)
		nanosleep(&moment, NULL);
	return atomic_load(&received_count) == count;
}

static inline struct viodma_front_statistics counted(const struct fixture *fixture)
{
	struct viodma_front_statistics statistics;

	viodma_front_statistics(fixture->rig.front, &statistics);
	return statistics;
}

/* Connected, memory shared, nothing negotiated. */
static inline bool connect_to(struct fixture *fixture, uint64_t protocol_features)
{
	struct viodma_front_options options = {.timeout_ms = 500};
	int pair[2];

	memset(fixture, 0, sizeof(*fixture));
	during = NULL;
	received_count = 0;
	flag = 0;
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	front_peer_init(&fixture->peer, pair[1]);
	fixture->peer.hook = keep_iotlb;
	fixture->peer.protocol_features = protocol_features;
	CHECK(front_peer_start(&fixture->peer));
	options.socket_fd = pair[0];
	CHECK_RESULT(viodma_front_memory_new(RIG_BYTES, PHYS(0), &fixture->rig.memory), VIODMA_OK);
	CHECK_RESULT(viodma_front_connect(&options, &fixture->rig.front), VIODMA_OK);
	fixture->rig.transport = viodma_front_transport(fixture->rig.front);
	CHECK_RESULT(viodma_front_share(fixture->rig.front, &fixture->rig.memory), VIODMA_OK);
	return true;
}

static inline bool begin_with(struct fixture *fixture, uint64_t protocol_features)
{
	bool platform = false;

	CHECK(connect_to(fixture, protocol_features));
	CHECK_RESULT(rig_negotiate(&fixture->rig, RIG_WANTED, &platform), VIODMA_OK);
	CHECK(platform);
	return true;
}

static inline bool begin(struct fixture *fixture)
{
	return begin_with(fixture, PEER_PROTOCOL_FEATURES);
}

static inline bool end(struct fixture *fixture)
{
	viodma_front_free(fixture->rig.front);
	viodma_front_memory_free(&fixture->rig.memory);
	front_peer_join(&fixture->peer);
	return true;
}

static inline enum viodma_result grant(struct fixture *fixture, unsigned page, unsigned pages, enum viodma_permission permission)
{
	return viodma_front_grant(fixture->rig.front, BUS(page), PHYS(page), pages * RIG_PAGE, permission, false);
}

static inline enum viodma_result withdraw(struct fixture *fixture, unsigned page, unsigned pages)
{
	return viodma_front_withdraw(fixture->rig.front, BUS(page), pages * RIG_PAGE);
}

/* Ask, and take the answer: 0 granted. */
static inline int64_t asked(struct fixture *fixture, uint64_t bus, uint8_t permission)
{
	if (!front_peer_ask(&fixture->peer, bus, permission, true) ||
	    viodma_front_wait(fixture->rig.front, 0) != VIODMA_E_TIMEOUT)
		return -2;
	return front_peer_answer(&fixture->peer);
}

/* A script: what the back end is told is refused. */
static inline bool refuse(struct front_peer *peer, const struct front_peer_message *message)
{
	return front_peer_ack(peer, message, 1);
}

#endif
