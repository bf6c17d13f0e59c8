/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_front_inband.c - what a back end says by itself, and queues one by one: notifications as messages, news of the
 * configuration, the reset of one queue, packed rings, a device without a status.
 *
 * How it works: opposite a scripted back end (tests/support/front_peer.h) that keeps what it is told of rings, with several
 * queues of any layout, which are never looked into.
 */
#include "tests/support/check.h"
#include "tests/support/front_peer.h"
#include "tests/support/front_rig.h"

#include <viodma/queue.h>

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define INBAND (PEER_PROTOCOL_FEATURES | PEER_PROTOCOL_BIT(INBAND_NOTIFICATIONS))
#define PACKED VIODMA_FEATURE(VIRTIO_F_RING_PACKED_BIT)
#define KEPT 64u

struct fixture {
	struct front_rig rig;
	struct front_peer peer;
};

static struct vhost_user_vring_state states[KEPT]; /* of VRING_KICK, SET_VRING_BASE, GET_VRING_BASE, _ENABLE */
static uint32_t requests[KEPT];
static struct vhost_user_vring_addr addr;
static _Atomic unsigned kept;
static _Atomic bool call_at_kick;

static bool tell(struct front_peer *peer, uint32_t request, uint32_t index, uint32_t num, bool need_reply)
{
	const struct vhost_user_header header = {
		request, VHOST_USER_VERSION | (need_reply ? VHOST_USER_NEED_REPLY : 0), sizeof(struct vhost_user_vring_state)};
	const struct vhost_user_vring_state state = {index, num};

	return front_peer_ask_raw(peer, &header, &state, sizeof(state), NULL, 0);
}

static bool keep(struct front_peer *peer, const struct front_peer_message *message)
{
	const uint32_t request = message->header.request;

	if (request == VHOST_USER_SET_VRING_ADDR)
		addr = message->payload.addr;
	if (request == VHOST_USER_VRING_KICK || request == VHOST_USER_SET_VRING_BASE ||
	    request == VHOST_USER_GET_VRING_BASE || request == VHOST_USER_SET_VRING_ENABLE) {
		requests[kept % KEPT] = request;
		states[kept % KEPT] = message->payload.state;
		kept++;
	}
	/* It waits for the answer to its call before it answers the kick. */
	if (request == VHOST_USER_VRING_KICK && call_at_kick) {
		struct pollfd ready = {.fd = peer->channel, .events = POLLIN};
		unsigned char reply[sizeof(struct vhost_user_header) + sizeof(uint64_t)];

		return tell(peer, VHOST_USER_BACKEND_VRING_CALL, message->payload.state.index, 0, true) &&
		       poll(&ready, 1, 5000) == 1 && recv(peer->channel, reply, sizeof(reply), 0) == sizeof(reply) &&
		       front_peer_ack(peer, message, 0);
	}
	return false;
}

static bool begin(struct fixture *fixture, uint64_t features, uint64_t protocol, bool inband)
{
	struct viodma_front_options options = {.timeout_ms = 2000, .inband_notifications = inband};
	bool platform;
	int pair[2];

	memset(fixture, 0, sizeof(*fixture));
	kept = 0;
	call_at_kick = false;
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	front_peer_init(&fixture->peer, pair[1]);
	fixture->peer.hook = keep;
	fixture->peer.features |= features;
	fixture->peer.protocol_features = protocol;
	CHECK(front_peer_start(&fixture->peer));
	options.socket_fd = pair[0];
	CHECK_RESULT(viodma_front_memory_new(RIG_BYTES, (viodma_phys){RIG_PHYS}, &fixture->rig.memory), VIODMA_OK);
	CHECK_RESULT(viodma_front_connect(&options, &fixture->rig.front), VIODMA_OK);
	fixture->rig.transport = viodma_front_transport(fixture->rig.front);
	CHECK_RESULT(viodma_front_share(fixture->rig.front, &fixture->rig.memory), VIODMA_OK);
	CHECK_RESULT(rig_negotiate(&fixture->rig, VIODMA_FEATURE(VIRTIO_F_VERSION_1_BIT) | features, &platform), VIODMA_OK);
	return true;
}

static bool end(struct fixture *fixture)
{
	viodma_front_free(fixture->rig.front);
	viodma_front_memory_free(&fixture->rig.memory);
	front_peer_join(&fixture->peer);
	return true;
}

static enum viodma_result enable(struct fixture *fixture, unsigned index, uint32_t size)
{
	const struct viodma_transport_queue where = {size, rig_bus(&fixture->rig, RIG_DESC + 2048 * index),
						     rig_bus(&fixture->rig, RIG_AVAIL + 2048 * index),
						     rig_bus(&fixture->rig, RIG_USED + 2048 * index)};

	return fixture->rig.transport->ops->queue_enable(fixture->rig.front, index, &where);
}

static enum viodma_result ready(struct fixture *fixture)
{
	return fixture->rig.transport->ops->set_status(fixture->rig.front, 15);
}

static bool last_was(uint32_t request, uint32_t index, uint32_t num)
{
	const unsigned at = (kept - 1) % KEPT;

	CHECK(kept > 0);
	CHECK_EQUAL(requests[at], request);
	CHECK_EQUAL(states[at].index, index);
	CHECK_EQUAL(states[at].num, num);
	return true;
}

/* ---- in-band notifications ---- */

static bool kicks_and_calls_are_messages(void)
{
	struct viodma_front_statistics statistics;
	struct fixture fixture;

	CHECK(begin(&fixture, 0, INBAND, true));
	CHECK_RESULT(enable(&fixture, 0, 4), VIODMA_OK);
	CHECK_RESULT(enable(&fixture, 1, 4), VIODMA_OK);
	CHECK_RESULT(ready(&fixture), VIODMA_OK);
	CHECK_EQUAL(fixture.peer.seen[VHOST_USER_SET_VRING_KICK], 0);
	CHECK_EQUAL(fixture.peer.seen[VHOST_USER_SET_VRING_CALL], 0);
	CHECK_EQUAL(fixture.peer.seen[VHOST_USER_SET_VRING_ERR], 0);
	fixture.rig.transport->ops->notify(fixture.rig.front, 1);
	CHECK_EQUAL(fixture.peer.seen[VHOST_USER_VRING_KICK], 1); /* it has been dealt with */
	CHECK(last_was(VHOST_USER_VRING_KICK, 1, 0));
	CHECK_RESULT(viodma_front_wait(fixture.rig.front, 0), VIODMA_E_TIMEOUT);
	CHECK(tell(&fixture.peer, VHOST_USER_BACKEND_VRING_CALL, 1, 0, false));
	CHECK_RESULT(viodma_front_wait(fixture.rig.front, viodma_loop_now_ns() + RIG_PATIENCE_NS), VIODMA_OK);
	CHECK_RESULT(viodma_front_wait(fixture.rig.front, 0), VIODMA_E_TIMEOUT);
	CHECK(tell(&fixture.peer, VHOST_USER_BACKEND_VRING_ERR, 0, 0, false));
	CHECK_RESULT(viodma_front_wait(fixture.rig.front, viodma_loop_now_ns() + RIG_PATIENCE_NS), VIODMA_OK);
	viodma_front_statistics(fixture.rig.front, &statistics);
	CHECK_EQUAL(statistics.kicks, 1);
	CHECK_EQUAL(statistics.calls, 1);
	return end(&fixture);
}
HOLDS(kicks_and_calls_are_messages)

static bool a_call_that_came_while_a_kick_was_waited_for_is_not_lost(void)
{
	struct fixture fixture;

	CHECK(begin(&fixture, 0, INBAND, true));
	CHECK_RESULT(enable(&fixture, 0, 4), VIODMA_OK);
	CHECK_RESULT(ready(&fixture), VIODMA_OK);
	call_at_kick = true;
	fixture.rig.transport->ops->notify(fixture.rig.front, 0);
	CHECK_RESULT(viodma_front_wait(fixture.rig.front, viodma_loop_now_ns() + RIG_PATIENCE_NS), VIODMA_OK);
	CHECK_RESULT(viodma_front_wait(fixture.rig.front, 0), VIODMA_E_TIMEOUT);
	return end(&fixture);
}
HOLDS(a_call_that_came_while_a_kick_was_waited_for_is_not_lost)

static bool refused(uint32_t request, uint32_t index, uint32_t num, uint64_t protocol)
{
	struct fixture fixture;

	CHECK(begin(&fixture, 0, protocol, true));
	CHECK(tell(&fixture.peer, request, index, num, false));
	CHECK_RESULT(viodma_front_wait(fixture.rig.front, viodma_loop_now_ns() + RIG_PATIENCE_NS / 10), VIODMA_PEER_MESSAGE);
	return end(&fixture);
}

static bool a_call_names_a_queue_and_nothing_else(void)
{
	CHECK(refused(VHOST_USER_BACKEND_VRING_CALL, 2, 0, INBAND));
	CHECK(refused(VHOST_USER_BACKEND_VRING_CALL, 0, 1, INBAND));
	CHECK(refused(VHOST_USER_BACKEND_VRING_ERR, UINT32_MAX, 0, INBAND));
	return true;
}
BEHAVIOUR(a_call_names_a_queue_and_nothing_else, "PLT-9")

static bool calls_are_messages_only_where_that_was_agreed_on(void)
{
	struct fixture fixture;

	CHECK(refused(VHOST_USER_BACKEND_VRING_CALL, 0, 0, PEER_PROTOCOL_FEATURES));
	/* It needs acknowledgements, and a channel; and somebody who wants it. */
	CHECK(begin(&fixture, 0, INBAND & ~PEER_PROTOCOL_BIT(REPLY_ACK), true));
	CHECK(!(fixture.peer.protocol_accepted & PEER_PROTOCOL_BIT(INBAND_NOTIFICATIONS)));
	CHECK(end(&fixture));
	CHECK(begin(&fixture, 0, INBAND & ~PEER_PROTOCOL_BIT(BACKEND_REQ), true));
	CHECK(!(fixture.peer.protocol_accepted & PEER_PROTOCOL_BIT(INBAND_NOTIFICATIONS)));
	CHECK(end(&fixture));
	CHECK(begin(&fixture, 0, INBAND, false));
	CHECK(!(fixture.peer.protocol_accepted & PEER_PROTOCOL_BIT(INBAND_NOTIFICATIONS)));
	CHECK_RESULT(enable(&fixture, 0, 4), VIODMA_OK);
	CHECK_EQUAL(fixture.peer.seen[VHOST_USER_SET_VRING_KICK], 1);
	return end(&fixture);
}
HOLDS(calls_are_messages_only_where_that_was_agreed_on)

/* ---- news ---- */

static bool a_change_of_the_configuration_is_told_once(void)
{
	const struct vhost_user_header header = {VHOST_USER_BACKEND_CONFIG_CHANGE_MSG, VHOST_USER_VERSION, 0};
	struct fixture fixture;
	uint8_t status;

	CHECK(begin(&fixture, 0, PEER_PROTOCOL_FEATURES, false));
	CHECK(!viodma_front_config_changed(fixture.rig.front));
	CHECK(front_peer_ask_raw(&fixture.peer, &header, NULL, 0, NULL, 0));
	CHECK_RESULT(viodma_front_wait(fixture.rig.front, viodma_loop_now_ns() + RIG_PATIENCE_NS), VIODMA_OK);
	CHECK(viodma_front_config_changed(fixture.rig.front));
	CHECK(!viodma_front_config_changed(fixture.rig.front));
	CHECK_RESULT(viodma_front_wait(fixture.rig.front, 0), VIODMA_E_TIMEOUT);
	/* One that is read while something else is waited for. */
	CHECK(front_peer_ask_raw(&fixture.peer, &header, NULL, 0, NULL, 0));
	for (unsigned i = 0; i < 100; i++)
		CHECK_RESULT(fixture.rig.transport->ops->get_status(fixture.rig.front, &status), VIODMA_OK);
	CHECK_RESULT(viodma_front_wait(fixture.rig.front, viodma_loop_now_ns() + RIG_PATIENCE_NS), VIODMA_OK);
	CHECK(viodma_front_config_changed(fixture.rig.front));
	return end(&fixture);
}
HOLDS(a_change_of_the_configuration_is_told_once)

/* ---- queues ---- */

static bool a_packed_ring_has_areas_of_its_own_and_begins_with_both_counters_set(void)
{
	struct fixture fixture;
	struct viodma_transport_queue last = {3, {RIG_PHYS}, {RIG_PHYS + RIG_BYTES - 4}, {RIG_PHYS + RIG_BYTES - 8}};

	CHECK(begin(&fixture, PACKED, PEER_PROTOCOL_FEATURES, false));
	/* Its event suppression is four bytes, whatever its size, which need be no power of two. */
	CHECK_RESULT(fixture.rig.transport->ops->queue_enable(fixture.rig.front, 0, &last), VIODMA_OK);
	CHECK(last_was(VHOST_USER_SET_VRING_BASE, 0, VIODMA_QUEUE_PACKED_BASE));
	CHECK_EQUAL(addr.available - addr.descriptor, RIG_BYTES - 4);
	CHECK_EQUAL(addr.used - addr.descriptor, RIG_BYTES - 8);
	CHECK(addr.descriptor != RIG_PHYS); /* a user address */
	last.avail.v++;
	CHECK_RESULT(fixture.rig.transport->ops->queue_enable(fixture.rig.front, 1, &last), VIODMA_E_INVALID);
	CHECK(end(&fixture));
	last = (struct viodma_transport_queue){4, {RIG_PHYS}, {RIG_PHYS + RIG_BYTES - 4}, {RIG_PHYS + 4096}};
	CHECK(begin(&fixture, 0, PEER_PROTOCOL_FEATURES, false));
	CHECK_RESULT(fixture.rig.transport->ops->queue_enable(fixture.rig.front, 0, &last), VIODMA_E_INVALID);
	CHECK_RESULT(enable(&fixture, 0, 4), VIODMA_OK);
	CHECK(last_was(VHOST_USER_SET_VRING_BASE, 0, 0));
	return end(&fixture);
}
HOLDS(a_packed_ring_has_areas_of_its_own_and_begins_with_both_counters_set)

static bool one_queue_is_reset_and_set_up_again_while_the_others_run(void)
{
	const struct viodma_transport_ops *ops;
	struct fixture fixture;

	CHECK(begin(&fixture, VIODMA_FEATURE(VIRTIO_F_RING_RESET_BIT), PEER_PROTOCOL_FEATURES, false));
	ops = fixture.rig.transport->ops;
	CHECK_RESULT(ops->queue_reset(fixture.rig.front, 1), VIODMA_E_INVALID);
	CHECK_RESULT(ops->queue_reset(fixture.rig.front, 99), VIODMA_E_INVALID);
	CHECK_RESULT(enable(&fixture, 0, 4), VIODMA_OK);
	CHECK_RESULT(enable(&fixture, 1, 4), VIODMA_OK);
	CHECK_RESULT(ready(&fixture), VIODMA_OK);
	CHECK_RESULT(enable(&fixture, 1, 4), VIODMA_E_BUSY);
	CHECK_RESULT(ops->queue_reset(fixture.rig.front, 1), VIODMA_OK);
	CHECK(last_was(VHOST_USER_GET_VRING_BASE, 1, 0));
	CHECK_EQUAL(fixture.peer.seen[VHOST_USER_GET_VRING_BASE], 1);
	CHECK_RESULT(ops->queue_reset(fixture.rig.front, 1), VIODMA_E_INVALID);
	CHECK_RESULT(enable(&fixture, 1, 2), VIODMA_OK); /* it runs at once */
	CHECK(last_was(VHOST_USER_SET_VRING_ENABLE, 1, 1));
	CHECK_EQUAL(fixture.peer.status, 15);
	return end(&fixture);
}
HOLDS(one_queue_is_reset_and_set_up_again_while_the_others_run)

static bool a_device_without_a_status_is_reset_as_a_whole(void)
{
	const uint64_t protocol = (PEER_PROTOCOL_FEATURES & ~PEER_PROTOCOL_BIT(STATUS)) | PEER_PROTOCOL_BIT(RESET_DEVICE);
	struct fixture fixture;
	uint8_t status = 1;

	CHECK(begin(&fixture, 0, protocol, false));
	CHECK_RESULT(enable(&fixture, 0, 4), VIODMA_OK);
	CHECK_RESULT(ready(&fixture), VIODMA_OK);
	CHECK_RESULT(fixture.rig.transport->ops->get_status(fixture.rig.front, &status), VIODMA_OK);
	CHECK_EQUAL(status, 15);
	CHECK_RESULT(fixture.rig.transport->ops->set_status(fixture.rig.front, 0), VIODMA_OK);
	CHECK_EQUAL(fixture.peer.seen[VHOST_USER_GET_VRING_BASE], 1);
	CHECK_EQUAL(fixture.peer.seen[VHOST_USER_RESET_DEVICE], 1);
	CHECK_RESULT(fixture.rig.transport->ops->get_status(fixture.rig.front, &status), VIODMA_OK);
	CHECK_EQUAL(status, 0);
	CHECK(end(&fixture));
	CHECK(begin(&fixture, 0, protocol | PEER_PROTOCOL_BIT(STATUS), false));
	CHECK_RESULT(enable(&fixture, 0, 4), VIODMA_OK);
	CHECK_RESULT(fixture.rig.transport->ops->set_status(fixture.rig.front, 0), VIODMA_OK);
	CHECK_EQUAL(fixture.peer.seen[VHOST_USER_RESET_DEVICE], 0);
	return end(&fixture);
}
HOLDS(a_device_without_a_status_is_reset_as_a_whole)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(kicks_and_calls_are_messages),
		TEST(a_call_that_came_while_a_kick_was_waited_for_is_not_lost),
		WITH_MUTANT(a_call_names_a_queue_and_nothing_else),
		TEST(calls_are_messages_only_where_that_was_agreed_on),
		TEST(a_change_of_the_configuration_is_told_once),
		TEST(a_packed_ring_has_areas_of_its_own_and_begins_with_both_counters_set),
		TEST(one_queue_is_reset_and_set_up_again_while_the_others_run),
		TEST(a_device_without_a_status_is_reset_as_a_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
