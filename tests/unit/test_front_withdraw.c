/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_front_withdraw.c - the front end as IOMMU: what is withdrawn has ended when that is said, one by one and as operations
 * of a domain's IOMMU.
 *
 * How it works: see tests/support/front_iommu_rig.h.
 */
#include "hosted/front/front.h"

#include "tests/support/front_iommu_rig.h"

static uint64_t answers[2];

/* ---- withdrawing ---- */

static bool what_was_never_handed_out_is_withdrawn_without_a_message(void)
{
	struct fixture fixture;

	CHECK(begin(&fixture));
	CHECK_RESULT(grant(&fixture, 1, 1, VIODMA_READ), VIODMA_OK);
	CHECK_RESULT(grant(&fixture, 3, 1, VIODMA_READ), VIODMA_OK);
	CHECK_RESULT(withdraw(&fixture, 1, 1), VIODMA_OK);
	CHECK_RESULT(withdraw(&fixture, 1, 1), VIODMA_E_NOT_FOUND);
	CHECK_RESULT(viodma_front_withdraw_all(fixture.rig.front), VIODMA_OK);
	CHECK_RESULT(viodma_front_withdraw_all(fixture.rig.front), VIODMA_OK);
	CHECK_EQUAL(asked(&fixture, BUS(1).v, VIODMA_READ), 1);
	CHECK_RESULT(grant(&fixture, 0, 4, VIODMA_READ), VIODMA_OK);
	CHECK(got(0));
	return end(&fixture);
}
HOLDS(what_was_never_handed_out_is_withdrawn_without_a_message)

static bool a_withdrawal_cuts_no_grant(void)
{
	struct fixture fixture;

	CHECK(begin(&fixture));
	CHECK_RESULT(grant(&fixture, 2, 2, VIODMA_READ), VIODMA_OK);
	CHECK_RESULT(grant(&fixture, 4, 2, VIODMA_READ), VIODMA_OK);
	CHECK_RESULT(withdraw(&fixture, 2, 1), VIODMA_E_INVALID);
	CHECK_RESULT(withdraw(&fixture, 3, 1), VIODMA_E_INVALID);
	CHECK_RESULT(withdraw(&fixture, 2, 3), VIODMA_E_INVALID);
	CHECK_RESULT(withdraw(&fixture, 3, 3), VIODMA_E_INVALID);
	CHECK_RESULT(withdraw(&fixture, 2, 0), VIODMA_E_INVALID);
	CHECK_RESULT(viodma_front_withdraw(fixture.rig.front, BUS(2), UINT64_MAX), VIODMA_E_INVALID);
	CHECK_EQUAL(asked(&fixture, BUS(2).v, VIODMA_READ), 0);
	CHECK_EQUAL(asked(&fixture, BUS(4).v, VIODMA_READ), 0);
	CHECK_RESULT(withdraw(&fixture, 1, 6), VIODMA_OK);
	CHECK(got(3));
	CHECK_EQUAL(received[2].iova, BUS(2).v); /* adjoining ones with one message */
	CHECK_EQUAL(received[2].size, 4 * RIG_PAGE);
	return end(&fixture);
}
HOLDS(a_withdrawal_cuts_no_grant)

static bool acknowledge_late(struct front_peer *peer, const struct front_peer_message *message)
{
	const struct timespec moment = {0, 30000000};

	if (message->payload.iotlb.type != VHOST_USER_IOTLB_INVALIDATE)
		return false;
	nanosleep(&moment, NULL);
	flag = 1;
	return front_peer_ack(peer, message, 0);
}

static bool a_withdrawal_ends_when_the_back_end_has_acknowledged_it(void)
{
	struct fixture fixture;

	CHECK(begin(&fixture));
	CHECK_RESULT(grant(&fixture, 1, 1, VIODMA_READ), VIODMA_OK);
	CHECK_EQUAL(asked(&fixture, BUS(1).v, VIODMA_READ), 0);
	DURING(acknowledge_late);
	CHECK_RESULT(withdraw(&fixture, 1, 1), VIODMA_OK);
	CHECK_EQUAL(flag, 1);
	CHECK_EQUAL(counted(&fixture).granted_bytes, 0);
	CHECK_EQUAL(counted(&fixture).granted_bytes_peak, RIG_PAGE);
	CHECK_EQUAL(counted(&fixture).invalidations, 1);
	return end(&fixture);
}
BEHAVIOUR(a_withdrawal_ends_when_the_back_end_has_acknowledged_it, "PLT-5")

static bool what_was_asked_in_time_is_no_stray_access(void)
{
	struct fixture fixture;

	CHECK(begin(&fixture));
	CHECK_RESULT(grant(&fixture, 2, 3, VIODMA_READ), VIODMA_OK);
	CHECK_EQUAL(asked(&fixture, BUS(2).v, VIODMA_READ), 0);
	CHECK(front_peer_ask(&fixture.peer, BUS(3).v, VIODMA_READ, true)); /* the same request's next pages */
	CHECK(front_peer_ask(&fixture.peer, BUS(4).v, VIODMA_READ, true));
	CHECK_RESULT(withdraw(&fixture, 2, 3), VIODMA_OK);
	CHECK_EQUAL(front_peer_answer(&fixture.peer), 0);
	CHECK_EQUAL(front_peer_answer(&fixture.peer), 0);
	CHECK_EQUAL(counted(&fixture).refused, 0);
	CHECK(got(4));
	CHECK_EQUAL(received[3].type, VHOST_USER_IOTLB_INVALIDATE);
	CHECK_EQUAL(counted(&fixture).granted_bytes, 0);
	return end(&fixture);
}
HOLDS(what_was_asked_in_time_is_no_stray_access)

/* Asks for what is being withdrawn, and for something else, and needs both answered before it can go on. */
static bool ask_meanwhile(struct front_peer *peer, const struct front_peer_message *message)
{
	if (message->payload.iotlb.type != VHOST_USER_IOTLB_INVALIDATE)
		return false;
	(void)front_peer_ask(peer, BUS(1).v, VIODMA_READ, true);
	(void)front_peer_ask(peer, BUS(5).v, VIODMA_READ, true);
	answers[0] = (uint64_t)front_peer_answer(peer);
	answers[1] = (uint64_t)front_peer_answer(peer);
	return front_peer_ack(peer, message, 0);
}

static bool while_it_waits_misses_are_answered_but_none_for_what_is_withdrawn(void)
{
	struct fixture fixture;

	CHECK(begin(&fixture));
	CHECK_RESULT(grant(&fixture, 1, 1, VIODMA_READ), VIODMA_OK);
	CHECK_RESULT(grant(&fixture, 5, 1, VIODMA_READ), VIODMA_OK);
	CHECK_EQUAL(asked(&fixture, BUS(1).v, VIODMA_READ), 0);
	DURING(ask_meanwhile);
	CHECK_RESULT(withdraw(&fixture, 1, 1), VIODMA_OK);
	CHECK_EQUAL(answers[0], 1);
	CHECK_EQUAL(answers[1], 0);
	CHECK(got(3));
	CHECK_EQUAL(received[2].iova, BUS(5).v);
	CHECK_EQUAL(counted(&fixture).granted_bytes, RIG_PAGE);
	return end(&fixture);
}
BEHAVIOUR(while_it_waits_misses_are_answered_but_none_for_what_is_withdrawn, "PLT-5")

static bool what_is_not_acknowledged_is_not_granted_again(void)
{
	struct fixture fixture;

	CHECK(begin(&fixture));
	CHECK_RESULT(grant(&fixture, 1, 1, VIODMA_READ), VIODMA_OK);
	CHECK_EQUAL(asked(&fixture, BUS(1).v, VIODMA_READ), 0);
	DURING(refuse);
	CHECK_RESULT(withdraw(&fixture, 1, 1), VIODMA_E_IO);
	DURING(NULL);
	CHECK_EQUAL(asked(&fixture, BUS(1).v, VIODMA_READ), 1);
	CHECK_RESULT(grant(&fixture, 1, 1, VIODMA_READ), VIODMA_E_INVALID);
	CHECK_RESULT(viodma_front_unshare(fixture.rig.front, PHYS(0)), VIODMA_E_BUSY);
	CHECK_EQUAL(counted(&fixture).granted_bytes, RIG_PAGE);
	CHECK_RESULT(viodma_front_withdraw_all(fixture.rig.front), VIODMA_OK); /* tried once more */
	CHECK_RESULT(grant(&fixture, 1, 1, VIODMA_READ), VIODMA_OK);
	return end(&fixture);
}
HOLDS(what_is_not_acknowledged_is_not_granted_again)

static bool say_nothing(struct front_peer *peer, const struct front_peer_message *message)
{
	(void)peer;
	(void)message;
	return true;
}

static bool silence_about_a_withdrawal_ends_the_connection(void)
{
	struct fixture fixture;

	CHECK(begin(&fixture));
	CHECK_RESULT(rig_start(&fixture.rig), VIODMA_OK);
	CHECK_RESULT(grant(&fixture, 1, 1, VIODMA_READ), VIODMA_OK);
	CHECK_EQUAL(asked(&fixture, BUS(1).v, VIODMA_READ), 0);
	CHECK_RESULT(grant(&fixture, 2, 1, VIODMA_READ), VIODMA_OK);
	DURING(say_nothing);
	CHECK_RESULT(withdraw(&fixture, 1, 1), VIODMA_E_TIMEOUT);
	CHECK_RESULT(viodma_front_withdraw_all(fixture.rig.front), VIODMA_E_TIMEOUT);
	CHECK_RESULT(grant(&fixture, 7, 1, VIODMA_READ), VIODMA_E_TIMEOUT);
	CHECK_RESULT(viodma_front_wait(fixture.rig.front, 0), VIODMA_PEER_GONE);
	CHECK_RESULT(fixture.rig.transport->ops->set_status(fixture.rig.transport->context, 0), VIODMA_E_TIMEOUT);
	return end(&fixture);
}
HOLDS(silence_about_a_withdrawal_ends_the_connection)

static bool without_acknowledgements_nothing_handed_out_can_be_withdrawn(void)
{
	struct fixture fixture;

	CHECK(begin_with(&fixture, PEER_PROTOCOL_FEATURES & ~PEER_PROTOCOL_BIT(REPLY_ACK)));
	CHECK_RESULT(grant(&fixture, 1, 1, VIODMA_READ), VIODMA_OK);
	CHECK_RESULT(grant(&fixture, 2, 1, VIODMA_READ), VIODMA_OK);
	CHECK(front_peer_ask(&fixture.peer, BUS(1).v, VIODMA_READ, false));
	CHECK_RESULT(viodma_front_wait(fixture.rig.front, 0), VIODMA_E_TIMEOUT);
	CHECK(got(1));
	CHECK_RESULT(withdraw(&fixture, 1, 1), VIODMA_E_UNSUPPORTED);
	CHECK_RESULT(withdraw(&fixture, 2, 1), VIODMA_OK);
	CHECK(got(1));
	return end(&fixture);
}
HOLDS(without_acknowledgements_nothing_handed_out_can_be_withdrawn)

static bool what_a_device_held_when_it_was_reset_it_has_to_ask_for_again(void)
{
	struct fixture fixture;
	bool platform;

	CHECK(begin(&fixture));
	CHECK_RESULT(rig_start(&fixture.rig), VIODMA_OK);
	for (unsigned i = 0; i < 4; i++) {
		CHECK_RESULT(grant(&fixture, 2 * i, 1, VIODMA_READ), VIODMA_OK);
		CHECK_EQUAL(asked(&fixture, BUS(2 * i).v, VIODMA_READ), 0);
	}
	CHECK_RESULT(rig_negotiate(&fixture.rig, RIG_WANTED, &platform), VIODMA_OK);
	CHECK(got(5));
	CHECK_EQUAL(received[4].type, VHOST_USER_IOTLB_INVALIDATE);
	CHECK_EQUAL(received[4].iova, BUS(0).v);
	CHECK_EQUAL(received[4].size, 7 * RIG_PAGE);
	CHECK_EQUAL(counted(&fixture).granted_bytes, 0);
	CHECK_RESULT(withdraw(&fixture, 0, 1), VIODMA_OK);
	CHECK(got(5));
	CHECK_EQUAL(asked(&fixture, BUS(2).v, VIODMA_READ), 0);
	CHECK(got(6));
	return end(&fixture);
}
HOLDS(what_a_device_held_when_it_was_reset_it_has_to_ask_for_again)

static bool after_a_reset_a_connection_that_ended_is_no_obstacle(void)
{
	struct fixture fixture;
	bool platform;

	CHECK(begin(&fixture));
	CHECK_RESULT(rig_negotiate(&fixture.rig, RIG_WANTED, &platform), VIODMA_OK);
	CHECK_RESULT(viodma_front_grant(fixture.rig.front, BUS(1), PHYS(1), RIG_PAGE, VIODMA_READ, true), VIODMA_OK);
	shutdown(fixture.peer.fd, SHUT_RDWR);
	CHECK_RESULT(viodma_front_wait(fixture.rig.front, viodma_loop_now_ns() + RIG_PATIENCE_NS), VIODMA_PEER_GONE);
	CHECK_RESULT(withdraw(&fixture, 1, 1), VIODMA_OK); /* no ring runs, and none can be started */
	return end(&fixture);
}
HOLDS(after_a_reset_a_connection_that_ended_is_no_obstacle)

static bool memory_with_grants_is_not_taken_back(void)
{
	struct fixture fixture;

	CHECK(begin(&fixture));
	CHECK_RESULT(grant(&fixture, 1, 1, VIODMA_READ), VIODMA_OK);
	CHECK_RESULT(viodma_front_unshare(fixture.rig.front, PHYS(0)), VIODMA_E_BUSY);
	CHECK_RESULT(withdraw(&fixture, 1, 1), VIODMA_OK);
	CHECK_RESULT(viodma_front_unshare(fixture.rig.front, PHYS(1)), VIODMA_E_NOT_FOUND);
	CHECK_RESULT(viodma_front_unshare(fixture.rig.front, PHYS(0)), VIODMA_OK);
	CHECK_EQUAL(counted(&fixture).shared_bytes, 0);
	return end(&fixture);
}
BEHAVIOUR(memory_with_grants_is_not_taken_back, "PLT-10")

/* ---- as operations of an IOMMU ---- */

static bool the_operations_of_an_iommu_withdraw_in_two_steps(void)
{
	const struct viodma_iommu_ops *ops = viodma_front_iommu_ops();
	struct fixture fixture;
	void *front;

	CHECK(begin(&fixture));
	front = fixture.rig.front;
	for (unsigned i = 0; i < 8; i++)
		CHECK_RESULT(ops->map(front, BUS(i), PHYS(i), RIG_PAGE, VIODMA_READ), VIODMA_OK);
	for (unsigned i = 0; i < 8; i += 1 + (i == 3)) /* all but 4 */
		CHECK_EQUAL(asked(&fixture, BUS(i).v, VIODMA_READ), i == 4 ? 1 : 0);
	CHECK(got(7));
	CHECK_RESULT(ops->unmap(front, BUS(0), 2 * RIG_PAGE), VIODMA_OK);
	CHECK_RESULT(ops->unmap(front, BUS(0), 2 * RIG_PAGE), VIODMA_E_NOT_FOUND);
	CHECK(got(7)); /* not told yet, but no longer granted */
	CHECK_EQUAL(asked(&fixture, BUS(1).v, VIODMA_READ), 1);
	CHECK_RESULT(ops->map(front, BUS(0), PHYS(0), RIG_PAGE, VIODMA_READ), VIODMA_E_INVALID);
	CHECK_RESULT(ops->invalidate(front, BUS(0), 2 * RIG_PAGE), VIODMA_OK);
	CHECK(got(8));
	CHECK_EQUAL(received[7].size, 2 * RIG_PAGE);
	CHECK_RESULT(ops->map(front, BUS(0), PHYS(0), RIG_PAGE, VIODMA_READ), VIODMA_OK);
	CHECK_RESULT(ops->unmap(front, BUS(4), RIG_PAGE), VIODMA_OK);
	CHECK_RESULT(ops->invalidate(front, BUS(4), RIG_PAGE), VIODMA_OK); /* it never had it */
	CHECK(got(8));
	CHECK_RESULT(ops->unmap(front, BUS(3), RIG_PAGE), VIODMA_OK);
	CHECK_RESULT(ops->unmap(front, BUS(5), 2 * RIG_PAGE), VIODMA_OK);
	CHECK_RESULT(ops->invalidate_all(front), VIODMA_OK);
	CHECK(got(10)); /* one for 3, one for 5 and 6; nothing live was touched */
	CHECK_EQUAL(received[8].iova, BUS(3).v);
	CHECK_EQUAL(received[9].iova, BUS(5).v);
	CHECK_EQUAL(received[9].size, 2 * RIG_PAGE);
	CHECK_EQUAL(counted(&fixture).granted_bytes, 2 * RIG_PAGE); /* 2 and 7 */
	CHECK_RESULT(ops->invalidate(front, BUS(0), 0), VIODMA_E_INVALID);
	CHECK_RESULT(ops->unmap(front, BUS(0), 0), VIODMA_E_INVALID);
	return end(&fixture);
}
HOLDS(the_operations_of_an_iommu_withdraw_in_two_steps)

static bool many_withdrawals_go_out_together(void)
{
	struct fixture fixture;
	struct viodma_front *front;
	const unsigned count = 5 * VIODMA_FRONT_PIPELINE + 3;

	CHECK(begin(&fixture));
	front = fixture.rig.front;
	for (unsigned i = 0; i < count; i++)
		CHECK_RESULT(viodma_front_grant(front, BUS(100 + 2 * i), PHYS(i % 16), RIG_PAGE, VIODMA_READ, i % 3 == 0),
			     VIODMA_OK);
	for (unsigned i = 0; i < count; i++)
		if (i % 3)
			CHECK_EQUAL(asked(&fixture, BUS(100 + 2 * i).v, VIODMA_READ), 0);
	CHECK_RESULT(viodma_front_withdraw_all(front), VIODMA_OK);
	CHECK(got(2 * count));
	CHECK_EQUAL(counted(&fixture).granted_bytes, 0);
	CHECK_EQUAL(counted(&fixture).granted_bytes_peak, count * (uint64_t)RIG_PAGE);
	CHECK_RESULT(viodma_front_unshare(front, PHYS(0)), VIODMA_OK);
	return end(&fixture);
}
HOLDS(many_withdrawals_go_out_together)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_was_never_handed_out_is_withdrawn_without_a_message),
		TEST(a_withdrawal_cuts_no_grant),
		WITH_MUTANT(a_withdrawal_ends_when_the_back_end_has_acknowledged_it),
		TEST(what_was_asked_in_time_is_no_stray_access),
		WITH_MUTANT(while_it_waits_misses_are_answered_but_none_for_what_is_withdrawn),
		TEST(what_is_not_acknowledged_is_not_granted_again),
		TEST(silence_about_a_withdrawal_ends_the_connection),
		TEST(without_acknowledgements_nothing_handed_out_can_be_withdrawn),
		TEST(what_a_device_held_when_it_was_reset_it_has_to_ask_for_again),
		TEST(after_a_reset_a_connection_that_ended_is_no_obstacle),
		WITH_MUTANT(memory_with_grants_is_not_taken_back),
		TEST(the_operations_of_an_iommu_withdraw_in_two_steps),
		TEST(many_withdrawals_go_out_together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
