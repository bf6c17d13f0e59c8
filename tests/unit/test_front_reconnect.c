/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_front_reconnect.c - a back end that goes has a successor: it is told the same, and gets the record of what was in
 * flight.
 *
 * How it works: see tests/support/front_successor_rig.h.
 */
#include "tests/support/front_successor_rig.h"

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
	CHECK(viodma_front_config_changed(fixture.rig.front)); /* for all anybody knows */
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

static bool writes_of_the_configuration(bool reset, unsigned expected)
{
	const unsigned char mode = 1;
	struct fixture fixture;
	bool platform;

	CHECK(begin_with(&fixture, PROTOCOL, RIG_WANTED, PATIENCE_MS));
	CHECK_RESULT(rig_start(&fixture.rig), VIODMA_OK);
	CHECK_RESULT(fixture.rig.transport->ops->write_config(fixture.rig.front, 32, &mode, 1), VIODMA_OK);
	CHECK_RESULT(fixture.rig.transport->ops->write_config(fixture.rig.front, 33, &mode, 1), VIODMA_OK);
	if (reset) {
		CHECK_RESULT(fixture.rig.transport->ops->set_status(fixture.rig.front, 0), VIODMA_OK);
		CHECK_RESULT(rig_negotiate(&fixture.rig, RIG_WANTED, &platform), VIODMA_OK);
		CHECK_RESULT(rig_start(&fixture.rig), VIODMA_OK);
	}
	kill_first(&fixture);
	CHECK_RESULT(wait_for(&fixture), VIODMA_OK);
	CHECK_EQUAL(fixture.peers[1].seen[VHOST_USER_SET_CONFIG], expected);
	return end(&fixture);
}

static bool what_was_written_into_the_configuration_is_written_again(void)
{
	CHECK(writes_of_the_configuration(false, 2));
	CHECK(writes_of_the_configuration(true, 0)); /* of a device that began anew since */
	return true;
}
HOLDS(what_was_written_into_the_configuration_is_written_again)

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
		TEST(what_was_written_into_the_configuration_is_written_again),
		TEST(a_successor_may_go_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
