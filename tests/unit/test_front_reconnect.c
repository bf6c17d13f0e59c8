/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_front_reconnect.c - a back end that goes has a successor: it is told the same, and gets the record of what was in
 * flight; and what a record is, and is not.
 *
 * How it works: scripted back ends (tests/support/front_peer.h), one after the other, listen at one path. Each keeps what it
 * was told; the first is made to hang up, by its script or from outside. Rings are memory, and nobody works on them.
 */
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
	int kick_fd;
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

static bool keep(struct front_peer *peer, const struct front_peer_message *message)
{
	struct told *told = peer->context;
	const uint32_t request = message->header.request;
	struct stat found;

	told->requests[told->count++ % KEPT] = request;
	switch (request) {
	case VHOST_USER_SET_INFLIGHT_FD:
		told->record = message->payload.inflight;
		told->record_inode = message->fd_count == 1 && fstat(message->fds[0], &found) == 0 ? found.st_ino : 0;
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

static void *serve_all(void *context)
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

static bool begin_with(struct fixture *fixture, uint64_t protocol, uint64_t wanted, uint32_t reconnect_ms)
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
		all_told[i].kick_fd = -1;
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

static bool begin(struct fixture *fixture)
{
	CHECK(begin_with(fixture, PROTOCOL, RIG_WANTED, PATIENCE_MS));
	CHECK_RESULT(rig_start(&fixture->rig), VIODMA_OK);
	return true;
}

static bool end(struct fixture *fixture)
{
	viodma_front_free(fixture->rig.front);
	viodma_front_memory_free(&fixture->rig.memory);
	shutdown(fixture->listener, SHUT_RDWR);
	pthread_join(fixture->thread, NULL);
	for (unsigned i = 0; i < PEERS; i++) {
		const int fds[] = {fixture->peers[i].fd, fixture->peers[i].channel, all_told[i].kick_fd};

		for (unsigned k = 0; k < 3; k++)
			if (fds[k] >= 0)
				close(fds[k]);
	}
	close(fixture->listener);
	unlink(fixture->path);
	return true;
}

static void kill_first(struct fixture *fixture)
{
	shutdown(fixture->peers[0].fd, SHUT_RDWR);
}

static enum viodma_result wait_for(struct fixture *fixture)
{
	return viodma_front_wait(fixture->rig.front, viodma_loop_now_ns() + RIG_PATIENCE_NS);
}

static enum viodma_result reconnect(struct fixture *fixture)
{
	return viodma_front_reconnect(fixture->rig.front, viodma_loop_now_ns() + RIG_PATIENCE_NS);
}

/* A device had come so far. */
static void put_used_index(struct fixture *fixture, uint16_t index)
{
	const viodma_le16 wire = viodma_le16_of(index);

	memcpy(rig_at(&fixture->rig, RIG_USED + VIRTQ_USED_IDX), &wire, sizeof(wire));
}

static unsigned position(const struct told *told, uint32_t request)
{
	unsigned at = 0;

	while (at < told->count && told->requests[at] != request)
		at++;
	return at;
}

static bool kicked(const struct told *told)
{
	struct pollfd ready = {.fd = told->kick_fd, .events = POLLIN};

	return poll(&ready, 1, 1000) == 1;
}

/* ---- the record ---- */

static bool a_record_is_asked_for_before_a_ring_is_set_up_and_given_back(void)
{
	const struct told *told = &all_told[0];
	struct fixture fixture;

	CHECK(begin(&fixture));
	CHECK(position(told, VHOST_USER_SET_FEATURES) < position(told, VHOST_USER_GET_INFLIGHT_FD));
	CHECK(position(told, VHOST_USER_GET_INFLIGHT_FD) < position(told, VHOST_USER_SET_INFLIGHT_FD));
	CHECK(position(told, VHOST_USER_SET_INFLIGHT_FD) < position(told, VHOST_USER_SET_VRING_NUM));
	CHECK_EQUAL(told->record.mmap_size, PEER_RECORD_BYTES);
	CHECK_EQUAL(told->record.num_queues, 2);
	CHECK_EQUAL(told->record.queue_size, RIG_QUEUE_SIZE);
	CHECK(told->record_inode);
	/* After a reset nothing is in flight: a new one. */
	CHECK_RESULT(fixture.rig.transport->ops->set_status(fixture.rig.front, 0), VIODMA_OK);
	CHECK_RESULT(rig_start(&fixture.rig), VIODMA_OK);
	CHECK_EQUAL(fixture.peers[0].seen[VHOST_USER_GET_INFLIGHT_FD], 2);
	return end(&fixture);
}
HOLDS(a_record_is_asked_for_before_a_ring_is_set_up_and_given_back)

static bool a_larger_queue_needs_a_larger_record(void)
{
	const struct viodma_transport_ops *ops;
	struct viodma_transport_queue where;
	struct fixture fixture;

	CHECK(begin_with(&fixture, PROTOCOL, RIG_WANTED, 0));
	ops = fixture.rig.transport->ops;
	where = (struct viodma_transport_queue){4, rig_bus(&fixture.rig, 0), rig_bus(&fixture.rig, 4096),
						rig_bus(&fixture.rig, 8192)};
	CHECK_RESULT(ops->queue_enable(fixture.rig.front, 0, &where), VIODMA_OK);
	where.size = 16;
	CHECK_RESULT(ops->queue_enable(fixture.rig.front, 1, &where), VIODMA_OK);
	CHECK_EQUAL(all_told[0].record.queue_size, 16);
	CHECK_EQUAL(fixture.peers[0].seen[VHOST_USER_GET_VRING_BASE], 1);
	CHECK_EQUAL(fixture.peers[0].seen[VHOST_USER_SET_VRING_ADDR], 3); /* the first is set up again */
	CHECK_RESULT(ops->set_status(fixture.rig.front, 15), VIODMA_OK);
	CHECK_RESULT(ops->queue_reset(fixture.rig.front, 1), VIODMA_OK);
	where.size = 32;
	CHECK_RESULT(ops->queue_enable(fixture.rig.front, 1, &where), VIODMA_E_LIMIT); /* another one runs */
	return end(&fixture);
}
HOLDS(a_larger_queue_needs_a_larger_record)

static bool give_no_descriptor(struct front_peer *peer, const struct front_peer_message *message)
{
	return message->header.request == VHOST_USER_GET_INFLIGHT_FD &&
	       front_peer_reply(peer, VHOST_USER_GET_INFLIGHT_FD, &message->payload, message->header.size);
}

static bool give_two(struct front_peer *peer, const struct front_peer_message *message)
{
	const struct vhost_user_header header = {VHOST_USER_GET_INFLIGHT_FD, VHOST_USER_VERSION | VHOST_USER_REPLY,
						 sizeof(struct vhost_user_inflight)};
	struct vhost_user_inflight inflight = message->payload.inflight;
	const int fds[2] = {peer->fd, peer->fd};

	inflight.mmap_size = 1;
	return message->header.request == VHOST_USER_GET_INFLIGHT_FD &&
	       front_peer_reply_raw(peer, &header, &inflight, sizeof(inflight), fds, 2);
}

static struct vhost_user_inflight odd;

static bool give_odd(struct front_peer *peer, const struct front_peer_message *message)
{
	const struct vhost_user_header header = {VHOST_USER_GET_INFLIGHT_FD, VHOST_USER_VERSION | VHOST_USER_REPLY, sizeof(odd)};

	return message->header.request == VHOST_USER_GET_INFLIGHT_FD &&
	       front_peer_reply_raw(peer, &header, &odd, sizeof(odd), &peer->fd, 1);
}

static bool refuse_record(struct front_peer *peer, const struct front_peer_message *message)
{
	return message->header.request == VHOST_USER_SET_INFLIGHT_FD && front_peer_ack(peer, message, 1);
}

static bool starting_ends_with(bool (*script)(struct front_peer *peer, const struct front_peer_message *message),
			       enum viodma_result result)
{
	struct fixture fixture;

	CHECK(begin_with(&fixture, PROTOCOL, RIG_WANTED, 0));
	fixture.peers[0].hook = script;
	CHECK_RESULT(rig_start(&fixture.rig), result);
	return end(&fixture);
}

static bool a_record_is_what_was_asked_for_with_one_descriptor(void)
{
	CHECK(starting_ends_with(give_no_descriptor, VIODMA_PEER_MESSAGE));
	CHECK(starting_ends_with(give_two, VIODMA_PEER_MESSAGE));
	odd = (struct vhost_user_inflight){4096, 0, 2, RIG_QUEUE_SIZE, {0}};
	CHECK(starting_ends_with(give_odd, VIODMA_OK));
	odd.mmap_size = 0;
	CHECK(starting_ends_with(give_odd, VIODMA_PEER_MESSAGE));
	odd = (struct vhost_user_inflight){4096, 0, 1, RIG_QUEUE_SIZE, {0}};
	CHECK(starting_ends_with(give_odd, VIODMA_PEER_MESSAGE));
	odd = (struct vhost_user_inflight){4096, 0, 2, RIG_QUEUE_SIZE - 1, {0}};
	CHECK(starting_ends_with(give_odd, VIODMA_PEER_MESSAGE));
	CHECK(starting_ends_with(refuse_record, VIODMA_E_IO));
	return true;
}
BEHAVIOUR(a_record_is_what_was_asked_for_with_one_descriptor, "PLT-9")

/* ---- the successor ---- */

static bool a_successor_is_told_the_same(void)
{
	const struct told *first = &all_told[0], *second = &all_told[1];
	struct viodma_front_statistics statistics;
	struct fixture fixture;
	uint8_t status;

	CHECK(begin(&fixture));
	put_used_index(&fixture, 0xfff7);
	kill_first(&fixture);
	CHECK_RESULT(wait_for(&fixture), VIODMA_OK);
	CHECK_EQUAL(fixture.peers[1].accepted, fixture.peers[0].accepted);
	CHECK_EQUAL(fixture.peers[1].protocol_accepted, fixture.peers[0].protocol_accepted);
	CHECK_EQUAL(fixture.peers[1].status, 15);
	CHECK(fixture.peers[1].channel >= 0);
	CHECK(!memcmp(&second->region, &first->region, sizeof(first->region)));
	CHECK(!memcmp(&second->addr, &first->addr, sizeof(first->addr)));
	CHECK(!memcmp(&second->num, &first->num, sizeof(first->num)));
	CHECK(!memcmp(&second->record, &first->record, sizeof(first->record)));
	CHECK(!memcmp(&second->update, &first->update, sizeof(first->update))); /* what is granted in advance */
	CHECK_EQUAL(second->record_inode, first->record_inode);
	CHECK_EQUAL(first->base.num, 0);
	CHECK_EQUAL(second->base.num, 0xfff7);
	CHECK(position(second, VHOST_USER_SET_FEATURES) < position(second, VHOST_USER_ADD_MEM_REG));
	CHECK(position(second, VHOST_USER_ADD_MEM_REG) < position(second, VHOST_USER_IOTLB_MSG));
	CHECK(position(second, VHOST_USER_IOTLB_MSG) < position(second, VHOST_USER_SET_INFLIGHT_FD));
	CHECK(position(second, VHOST_USER_SET_INFLIGHT_FD) < position(second, VHOST_USER_SET_VRING_KICK));
	CHECK(position(second, VHOST_USER_SET_VRING_KICK) < position(second, VHOST_USER_SET_VRING_ENABLE));
	CHECK_EQUAL(fixture.peers[1].seen[VHOST_USER_GET_INFLIGHT_FD], 0);
	CHECK(kicked(second));
	/* A call may have been lost: there is one to come. */
	CHECK_RESULT(viodma_front_wait(fixture.rig.front, 0), VIODMA_OK);
	CHECK_RESULT(viodma_front_wait(fixture.rig.front, 0), VIODMA_E_TIMEOUT);
	CHECK_RESULT(fixture.rig.transport->ops->get_status(fixture.rig.front, &status), VIODMA_OK);
	CHECK_EQUAL(status, 15);
	viodma_front_statistics(fixture.rig.front, &statistics);
	CHECK_EQUAL(statistics.reconnections, 1);
	return end(&fixture);
}
HOLDS(a_successor_is_told_the_same)

static bool a_packed_ring_goes_on_where_the_record_says(void)
{
	struct fixture fixture;

	CHECK(begin_with(&fixture, PROTOCOL, RIG_WANTED | VIODMA_FEATURE(VIRTIO_F_RING_PACKED_BIT), PATIENCE_MS));
	CHECK_RESULT(rig_start(&fixture.rig), VIODMA_OK);
	put_used_index(&fixture, 77); /* nothing of that kind is in it */
	kill_first(&fixture);
	CHECK_RESULT(wait_for(&fixture), VIODMA_OK);
	CHECK_EQUAL(all_told[1].base.num, VIODMA_QUEUE_PACKED_BASE);
	return end(&fixture);
}
HOLDS(a_packed_ring_goes_on_where_the_record_says)

static bool without_bit_33_a_successor_has_user_addresses_and_a_whole_table(void)
{
	const uint64_t protocol = PROTOCOL & ~(PEER_PROTOCOL_BIT(CONFIGURE_MEM_SLOTS) | PEER_PROTOCOL_BIT(STATUS));
	struct fixture fixture;

	CHECK(begin_with(&fixture, protocol, VIODMA_FEATURE(VIRTIO_F_VERSION_1_BIT), PATIENCE_MS));
	CHECK_RESULT(rig_start(&fixture.rig), VIODMA_OK);
	put_used_index(&fixture, 3);
	kill_first(&fixture);
	CHECK_RESULT(wait_for(&fixture), VIODMA_OK);
	CHECK_EQUAL(all_told[1].table.num_regions, 1);
	CHECK(!memcmp(&all_told[1].table, &all_told[0].table, sizeof(all_told[0].table)));
	CHECK(!memcmp(&all_told[1].addr, &all_told[0].addr, sizeof(all_told[0].addr)));
	CHECK_EQUAL(all_told[1].base.num, 3);
	CHECK_EQUAL(fixture.peers[1].seen[VHOST_USER_IOTLB_MSG], 0);
	return end(&fixture);
}
HOLDS(without_bit_33_a_successor_has_user_addresses_and_a_whole_table)

static bool nobody_looks_for_a_successor_who_was_not_told_to(void)
{
	struct fixture fixture;
	uint8_t status;

	CHECK(begin_with(&fixture, PROTOCOL, RIG_WANTED, 0));
	CHECK_RESULT(rig_start(&fixture.rig), VIODMA_OK);
	kill_first(&fixture);
	CHECK_RESULT(wait_for(&fixture), VIODMA_PEER_GONE);
	CHECK_RESULT(fixture.rig.transport->ops->get_status(fixture.rig.front, &status), VIODMA_PEER_GONE);
	/* But it can be. */
	CHECK_RESULT(reconnect(&fixture), VIODMA_OK);
	CHECK_RESULT(fixture.rig.transport->ops->get_status(fixture.rig.front, &status), VIODMA_OK);
	CHECK_EQUAL(status, 15);
	return end(&fixture);
}
HOLDS(nobody_looks_for_a_successor_who_was_not_told_to)

static bool without_a_record_there_is_no_successor(void)
{
	struct fixture fixture;

	CHECK(begin_with(&fixture, PROTOCOL & ~PEER_PROTOCOL_BIT(INFLIGHT_SHMFD), RIG_WANTED, PATIENCE_MS));
	CHECK_RESULT(rig_start(&fixture.rig), VIODMA_OK);
	CHECK_EQUAL(fixture.peers[0].seen[VHOST_USER_GET_INFLIGHT_FD], 0);
	CHECK_RESULT(reconnect(&fixture), VIODMA_E_UNSUPPORTED);
	kill_first(&fixture);
	CHECK_RESULT(wait_for(&fixture), VIODMA_PEER_GONE);
	return end(&fixture);
}
HOLDS(without_a_record_there_is_no_successor)

static bool where_nobody_listens_it_waits_until_the_deadline(void)
{
	const uint64_t begun = viodma_loop_now_ns(), wait_ns = 60000000;
	struct fixture fixture;
	char elsewhere[80];

	CHECK(begin_with(&fixture, PROTOCOL, RIG_WANTED, 0));
	CHECK_RESULT(rig_start(&fixture.rig), VIODMA_OK);
	kill_first(&fixture);
	snprintf(elsewhere, sizeof(elsewhere), "%s.away", fixture.path);
	CHECK(rename(fixture.path, elsewhere) == 0);
	CHECK_RESULT(viodma_front_reconnect(fixture.rig.front, viodma_loop_now_ns() + wait_ns), VIODMA_E_TIMEOUT);
	CHECK(viodma_loop_now_ns() - begun >= wait_ns);
	CHECK_RESULT(wait_for(&fixture), VIODMA_PEER_GONE);
	CHECK(rename(elsewhere, fixture.path) == 0);
	CHECK_RESULT(reconnect(&fixture), VIODMA_OK);
	return end(&fixture);
}
HOLDS(where_nobody_listens_it_waits_until_the_deadline)

/* ---- successors that do not fit ---- */

static bool refuses_queues(struct front_peer *peer, const struct front_peer_message *message)
{
	const uint64_t one = 1;

	return message->header.request == VHOST_USER_GET_QUEUE_NUM &&
	       front_peer_reply(peer, message->header.request, &one, sizeof(one));
}

static bool has_no_slots(struct front_peer *peer, const struct front_peer_message *message)
{
	const uint64_t none = 0;

	return message->header.request == VHOST_USER_GET_MAX_MEM_SLOTS &&
	       front_peer_reply(peer, message->header.request, &none, sizeof(none));
}

static bool forgets_its_status(struct front_peer *peer, const struct front_peer_message *message)
{
	const uint64_t none = 0;

	return message->header.request == VHOST_USER_GET_STATUS &&
	       front_peer_reply(peer, message->header.request, &none, sizeof(none));
}

static bool does_not_fit(uint64_t features, uint64_t protocol, uint32_t request,
			 bool (*script)(struct front_peer *peer, const struct front_peer_message *message),
			 enum viodma_result result)
{
	struct fixture fixture;
	struct front_peer *second = &fixture.peers[1];

	CHECK(begin_with(&fixture, PROTOCOL, RIG_WANTED, 0));
	CHECK_RESULT(rig_start(&fixture.rig), VIODMA_OK);
	kill_first(&fixture);
	second->features = features;
	second->protocol_features = protocol;
	refused_request = request;
	if (script)
		second->hook = script;
	CHECK_RESULT(reconnect(&fixture), result);
	CHECK(wait_for(&fixture) != VIODMA_OK);
	/* The next one may. */
	refused_request = 0;
	CHECK_RESULT(reconnect(&fixture), VIODMA_OK);
	return end(&fixture);
}

static bool a_successor_offers_what_was_agreed_on(void)
{
	CHECK(does_not_fit(PEER_FEATURES & ~VIODMA_FEATURE(VIRTIO_F_ACCESS_PLATFORM_BIT), PROTOCOL, 0, NULL, VIODMA_PEER_FEATURES));
	CHECK(does_not_fit(PEER_FEATURES & ~VIODMA_FEATURE(VHOST_USER_F_PROTOCOL_FEATURES_BIT), PROTOCOL, 0, NULL,
			   VIODMA_PEER_FEATURES));
	CHECK(does_not_fit(PEER_FEATURES, PROTOCOL & ~PEER_PROTOCOL_BIT(REPLY_ACK), 0, NULL, VIODMA_PEER_FEATURES));
	CHECK(does_not_fit(PEER_FEATURES, PROTOCOL & ~PEER_PROTOCOL_BIT(INFLIGHT_SHMFD), 0, NULL, VIODMA_PEER_FEATURES));
	CHECK(does_not_fit(PEER_FEATURES, PROTOCOL, 0, refuses_queues, VIODMA_PEER_FEATURES));
	CHECK(does_not_fit(PEER_FEATURES, PROTOCOL, 0, has_no_slots, VIODMA_PEER_FEATURES));
	CHECK(does_not_fit(PEER_FEATURES, PROTOCOL, VHOST_USER_SET_FEATURES, NULL, VIODMA_PEER_FEATURES));
	CHECK(does_not_fit(PEER_FEATURES, PROTOCOL, VHOST_USER_SET_STATUS, NULL, VIODMA_PEER_FEATURES));
	return true;
}
HOLDS(a_successor_offers_what_was_agreed_on)

static bool a_successor_keeps_features_ok(void)
{
	return does_not_fit(PEER_FEATURES, PROTOCOL, 0, forgets_its_status, VIODMA_PEER_FEATURES);
}
BEHAVIOUR(a_successor_keeps_features_ok, "DEV-8")

static bool a_successor_that_refuses_what_it_is_told_is_named(void)
{
	const uint32_t requests[] = {VHOST_USER_SET_INFLIGHT_FD, VHOST_USER_ADD_MEM_REG, VHOST_USER_SET_VRING_ADDR,
				     VHOST_USER_SET_VRING_KICK, VHOST_USER_SET_VRING_ENABLE, VHOST_USER_IOTLB_MSG};

	for (unsigned i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
		CHECK(does_not_fit(PEER_FEATURES, PROTOCOL, requests[i], NULL, VIODMA_E_IO));
	return true;
}
HOLDS(a_successor_that_refuses_what_it_is_told_is_named)

/* ---- whatever the front end is about ---- */

static bool goes_on_after_hanging_up_at(uint32_t request, unsigned nth)
{
	struct fixture fixture;
	unsigned char config[4];
	uint8_t status = 0;
	bool platform;

	CHECK(begin_with(&fixture, PROTOCOL, RIG_WANTED, PATIENCE_MS));
	hang_up_at = request;
	hang_up_nth = nth;
	CHECK_RESULT(rig_start(&fixture.rig), VIODMA_OK);
	CHECK_RESULT(fixture.rig.transport->ops->get_status(fixture.rig.front, &status), VIODMA_OK);
	CHECK_EQUAL(status, 15);
	CHECK_RESULT(fixture.rig.transport->ops->read_config(fixture.rig.front, 0, config, sizeof(config)), VIODMA_OK);
	CHECK_RESULT(fixture.rig.transport->ops->write_config(fixture.rig.front, 0, config, sizeof(config)), VIODMA_OK);
	CHECK_RESULT(fixture.rig.transport->ops->queue_reset(fixture.rig.front, 0), VIODMA_OK);
	CHECK_RESULT(rig_start(&fixture.rig), VIODMA_OK);
	CHECK_RESULT(fixture.rig.transport->ops->set_status(fixture.rig.front, 0), VIODMA_OK);
	CHECK_RESULT(viodma_front_withdraw_all(fixture.rig.front), VIODMA_OK);
	CHECK_RESULT(viodma_front_unshare(fixture.rig.front, (viodma_phys){RIG_PHYS}), VIODMA_OK);
	CHECK_RESULT(viodma_front_share(fixture.rig.front, &fixture.rig.memory), VIODMA_OK);
	CHECK_RESULT(viodma_front_grant(fixture.rig.front, rig_bus(&fixture.rig, 0), (viodma_phys){RIG_PHYS}, RIG_BYTES,
					VIODMA_READ_WRITE, true),
		     VIODMA_OK);
	CHECK_RESULT(rig_negotiate(&fixture.rig, RIG_WANTED, &platform), VIODMA_OK);
	CHECK_RESULT(rig_start(&fixture.rig), VIODMA_OK);
	CHECK_EQUAL(fixture.peers[1].status, 15);
	return end(&fixture);
}

static bool whatever_it_is_asked_when_it_goes_the_successor_does_it(void)
{
	/* IOTLB_MSG 2: the withdrawal, whose acknowledgement nobody can give any more. */
	const uint32_t requests[] = {VHOST_USER_GET_INFLIGHT_FD, VHOST_USER_SET_INFLIGHT_FD, VHOST_USER_SET_VRING_NUM,
				     VHOST_USER_SET_VRING_ADDR,  VHOST_USER_SET_VRING_KICK,  VHOST_USER_SET_VRING_ENABLE,
				     VHOST_USER_GET_CONFIG,      VHOST_USER_SET_CONFIG,      VHOST_USER_GET_VRING_BASE,
				     VHOST_USER_REM_MEM_REG};

	for (unsigned i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
		if (!goes_on_after_hanging_up_at(requests[i], 1))
			return false;
	for (unsigned nth = 2; nth <= 4; nth++) {
		if (!goes_on_after_hanging_up_at(VHOST_USER_IOTLB_MSG, nth))
			return false;
		if (!goes_on_after_hanging_up_at(VHOST_USER_GET_STATUS, nth + 1))
			return false;
	}
	return goes_on_after_hanging_up_at(VHOST_USER_ADD_MEM_REG, 2) &&
	       goes_on_after_hanging_up_at(VHOST_USER_SET_STATUS, 5); /* DRIVER_OK */
}
HOLDS(whatever_it_is_asked_when_it_goes_the_successor_does_it)

static bool a_successor_may_go_at_once(void)
{
	struct fixture fixture;

	for (uint32_t request = 1; request < 41; request++) {
		CHECK(begin(&fixture));
		fixture.peers[1].lie = LIE_HANG_UP;
		fixture.peers[1].lie_request = request;
		kill_first(&fixture);
		CHECK_RESULT(wait_for(&fixture), VIODMA_OK);
		CHECK_EQUAL(fixture.peers[fixture.peers[2].seen[VHOST_USER_SET_OWNER] ? 2 : 1].status, 15);
		CHECK(end(&fixture));
	}
	return true;
}
HOLDS(a_successor_may_go_at_once)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_record_is_asked_for_before_a_ring_is_set_up_and_given_back),
		TEST(a_larger_queue_needs_a_larger_record),
		WITH_MUTANT(a_record_is_what_was_asked_for_with_one_descriptor),
		TEST(a_successor_is_told_the_same),
		TEST(a_packed_ring_goes_on_where_the_record_says),
		TEST(without_bit_33_a_successor_has_user_addresses_and_a_whole_table),
		TEST(nobody_looks_for_a_successor_who_was_not_told_to),
		TEST(without_a_record_there_is_no_successor),
		TEST(where_nobody_listens_it_waits_until_the_deadline),
		TEST(a_successor_offers_what_was_agreed_on),
		WITH_MUTANT(a_successor_keeps_features_ok),
		TEST(a_successor_that_refuses_what_it_is_told_is_named),
		TEST(whatever_it_is_asked_when_it_goes_the_successor_does_it),
		TEST(a_successor_may_go_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
