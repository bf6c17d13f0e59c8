/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_front_iommu.c - the front end as IOMMU: what is granted is what was asked for and may be; what is withdrawn has ended.
 *
 * How it works: a scripted back end in a thread acknowledges and keeps IOTLB messages. Questions are put on its channel by
 * the test itself, and answered by viodma_front_wait; or by the script's hook, while the front end waits for something.
 */
#include "hosted/front/front.h"

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
static uint64_t answers[2];

static bool keep_iotlb(struct front_peer *peer, const struct front_peer_message *message)
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
static bool got(unsigned count)
{
	const struct timespec moment = {0, 1000000};

	for (unsigned i = 0; i < 3000 && atomic_load(&received_count) < count; i++)
		nanosleep(&moment, NULL);
	return atomic_load(&received_count) == count;
}

static struct viodma_front_statistics counted(const struct fixture *fixture)
{
	struct viodma_front_statistics statistics;

	viodma_front_statistics(fixture->rig.front, &statistics);
	return statistics;
}

/* Connected, memory shared, nothing negotiated. */
static bool connect_to(struct fixture *fixture, uint64_t protocol_features)
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

static bool begin_with(struct fixture *fixture, uint64_t protocol_features)
{
	bool platform = false;

	CHECK(connect_to(fixture, protocol_features));
	CHECK_RESULT(rig_negotiate(&fixture->rig, RIG_WANTED, &platform), VIODMA_OK);
	CHECK(platform);
	return true;
}

static bool begin(struct fixture *fixture)
{
	return begin_with(fixture, PEER_PROTOCOL_FEATURES);
}

static bool end(struct fixture *fixture)
{
	viodma_front_free(fixture->rig.front);
	viodma_front_memory_free(&fixture->rig.memory);
	front_peer_join(&fixture->peer);
	return true;
}

static enum viodma_result grant(struct fixture *fixture, unsigned page, unsigned pages, enum viodma_permission permission)
{
	return viodma_front_grant(fixture->rig.front, BUS(page), PHYS(page), pages * RIG_PAGE, permission, false);
}

static enum viodma_result withdraw(struct fixture *fixture, unsigned page, unsigned pages)
{
	return viodma_front_withdraw(fixture->rig.front, BUS(page), pages * RIG_PAGE);
}

/* Ask, and take the answer: 0 granted. */
static int64_t asked(struct fixture *fixture, uint64_t bus, uint8_t permission)
{
	if (!front_peer_ask(&fixture->peer, bus, permission, true) ||
	    viodma_front_wait(fixture->rig.front, 0) != VIODMA_E_TIMEOUT)
		return -2;
	return front_peer_answer(&fixture->peer);
}

/* ---- granting ---- */

static bool a_grant_is_of_shared_memory_and_overlaps_no_other(void)
{
	struct fixture fixture;
	struct viodma_front *front;

	CHECK(begin(&fixture));
	front = fixture.rig.front;
	CHECK_RESULT(grant(&fixture, 2, 2, VIODMA_READ), VIODMA_OK);
	CHECK_RESULT(grant(&fixture, 1, 2, VIODMA_READ), VIODMA_E_INVALID);
	CHECK_RESULT(grant(&fixture, 3, 1, VIODMA_READ), VIODMA_E_INVALID);
	CHECK_RESULT(grant(&fixture, 0, 16, VIODMA_READ), VIODMA_E_INVALID);
	CHECK_RESULT(grant(&fixture, 4, 1, VIODMA_READ), VIODMA_OK);
	CHECK_RESULT(grant(&fixture, 1, 1, VIODMA_READ), VIODMA_OK);
	CHECK_RESULT(grant(&fixture, 15, 2, VIODMA_READ), VIODMA_E_INVALID); /* half of it is not shared */
	CHECK_RESULT(viodma_front_grant(front, BUS(20), (viodma_phys){RIG_PHYS - RIG_PAGE}, RIG_PAGE, VIODMA_READ, false),
		     VIODMA_E_INVALID);
	CHECK_RESULT(viodma_front_grant(front, BUS(20), PHYS(0), 0, VIODMA_READ, false), VIODMA_E_INVALID);
	CHECK_RESULT(viodma_front_grant(front, BUS(20), PHYS(0), RIG_PAGE, VIODMA_NO_ACCESS, false), VIODMA_E_INVALID);
	CHECK_RESULT(viodma_front_grant(front, BUS(20), PHYS(0), UINT64_MAX, VIODMA_READ, false), VIODMA_E_INVALID);
	CHECK_RESULT(viodma_front_grant(front, (viodma_bus){UINT64_MAX - 4095}, PHYS(0), RIG_PAGE, VIODMA_READ, false),
		     VIODMA_E_INVALID);
	CHECK_RESULT(viodma_front_grant(front, (viodma_bus){0}, PHYS(0), RIG_PAGE, VIODMA_READ, false), VIODMA_OK);
	CHECK_RESULT(viodma_front_grant(front, (viodma_bus){UINT64_MAX - 8191}, PHYS(0), RIG_PAGE, VIODMA_READ, false),
		     VIODMA_OK); /* one page may lie at many bus addresses */
	CHECK(got(0));
	return end(&fixture);
}
BEHAVIOUR(a_grant_is_of_shared_memory_and_overlaps_no_other, "PLT-10")

static bool a_miss_is_answered_with_the_grant_around_it_and_what_was_asked_for(void)
{
	struct fixture fixture;

	CHECK(begin(&fixture));
	CHECK_RESULT(grant(&fixture, 2, 3, VIODMA_READ_WRITE), VIODMA_OK);
	CHECK_EQUAL(asked(&fixture, BUS(3).v + 17, VIODMA_READ), 0);
	CHECK(got(1));
	CHECK_EQUAL(received[0].type, VHOST_USER_IOTLB_UPDATE);
	CHECK_EQUAL(received[0].iova, BUS(2).v);
	CHECK_EQUAL(received[0].size, 3 * RIG_PAGE);
	CHECK_EQUAL(received[0].permissions, VIODMA_READ);
	CHECK(received[0].user_address != PHYS(2).v && received[0].user_address != BUS(2).v);
	CHECK(received[0].user_address != (uintptr_t)rig_at(&fixture.rig, 2 * RIG_PAGE));
	CHECK_EQUAL(received[0].user_address & (RIG_PAGE - 1), 0);
	CHECK_EQUAL(asked(&fixture, BUS(4).v, VIODMA_WRITE), 0);
	CHECK(got(2));
	CHECK_EQUAL(received[1].permissions, VIODMA_READ_WRITE); /* the last answer is not taken away */
	CHECK_EQUAL(counted(&fixture).granted, 2);
	CHECK_EQUAL(counted(&fixture).granted_bytes, 3 * RIG_PAGE);
	/* Without asking for a reply there is none. */
	CHECK(front_peer_ask(&fixture.peer, BUS(2).v, VIODMA_WRITE, false));
	CHECK_RESULT(viodma_front_wait(fixture.rig.front, 0), VIODMA_E_TIMEOUT);
	CHECK(got(3));
	CHECK_EQUAL(asked(&fixture, BUS(9).v, VIODMA_WRITE), 1);
	return end(&fixture);
}
HOLDS(a_miss_is_answered_with_the_grant_around_it_and_what_was_asked_for)

static bool a_miss_beyond_a_permission_is_refused(void)
{
	struct viodma_front_refusal refusals[VIODMA_FRONT_REFUSALS];
	struct fixture fixture;
	uint64_t total;

	CHECK(begin(&fixture));
	CHECK_RESULT(grant(&fixture, 2, 1, VIODMA_READ), VIODMA_OK);
	CHECK_EQUAL(asked(&fixture, BUS(2).v, VIODMA_WRITE), 1);
	CHECK_EQUAL(asked(&fixture, BUS(2).v, VIODMA_READ_WRITE), 1);
	CHECK_EQUAL(viodma_front_refusals(fixture.rig.front, refusals, &total), 2);
	CHECK_EQUAL(total, 2);
	CHECK_RESULT(refusals[0].reason, VIODMA_FAULT_PERMISSION);
	CHECK_EQUAL(refusals[0].permission, VIODMA_WRITE);
	CHECK_EQUAL(refusals[1].permission, VIODMA_READ_WRITE);
	CHECK_EQUAL(refusals[1].bus.v, BUS(2).v);
	CHECK(got(0));
	return end(&fixture);
}
BEHAVIOUR(a_miss_beyond_a_permission_is_refused, "PLT-1")

static bool a_miss_of_what_is_not_granted_is_answered_with_an_error(void)
{
	struct viodma_front_refusal refusals[VIODMA_FRONT_REFUSALS];
	struct fixture fixture;
	uint64_t total;

	CHECK(begin(&fixture));
	CHECK_RESULT(grant(&fixture, 2, 1, VIODMA_READ), VIODMA_OK);
	CHECK_EQUAL(asked(&fixture, BUS(1).v + 4095, VIODMA_READ), 1);
	for (unsigned i = 0; i < 20; i++)
		CHECK_EQUAL(asked(&fixture, BUS(3 + i).v, VIODMA_READ), 1);
	CHECK_EQUAL(viodma_front_refusals(fixture.rig.front, refusals, &total), VIODMA_FRONT_REFUSALS);
	CHECK_EQUAL(total, 21);
	for (unsigned i = 0; i < VIODMA_FRONT_REFUSALS; i++) {
		CHECK_EQUAL(refusals[i].bus.v, BUS(7 + i).v); /* the newest, oldest first */
		CHECK_RESULT(refusals[i].reason, VIODMA_FAULT_UNMAPPED);
	}
	CHECK_EQUAL(counted(&fixture).misses, 21);
	CHECK(got(0));
	return end(&fixture);
}
BEHAVIOUR(a_miss_of_what_is_not_granted_is_answered_with_an_error, "PLT-11")

static bool with_physical_addresses_nothing_is_granted(void)
{
	struct fixture fixture;
	bool platform = true;

	CHECK(connect_to(&fixture, PEER_PROTOCOL_FEATURES));
	CHECK_RESULT(rig_negotiate(&fixture.rig, VIODMA_FEATURE(VIRTIO_F_VERSION_1_BIT), &platform), VIODMA_OK);
	CHECK(!platform);
	CHECK_RESULT(viodma_front_grant(fixture.rig.front, BUS(1), PHYS(1), RIG_PAGE, VIODMA_READ, true), VIODMA_OK);
	CHECK_EQUAL(asked(&fixture, BUS(1).v, VIODMA_READ), 1);
	CHECK_RESULT(viodma_front_withdraw_all(fixture.rig.front), VIODMA_OK);
	CHECK(got(0));
	return end(&fixture);
}
HOLDS(with_physical_addresses_nothing_is_granted)

/* ---- granting in advance ---- */

static bool where_the_back_end_cannot_ask_it_is_told(void)
{
	struct fixture fixture;
	bool platform;

	CHECK(connect_to(&fixture, PEER_PROTOCOL_FEATURES & ~PEER_PROTOCOL_BIT(BACKEND_REQ)));
	for (unsigned i = 0; i < 8; i++)
		CHECK_RESULT(grant(&fixture, 2 * i, 1, VIODMA_READ), VIODMA_OK);
	CHECK(got(0)); /* nothing is negotiated yet */
	CHECK_RESULT(rig_negotiate(&fixture.rig, RIG_WANTED, &platform), VIODMA_OK);
	CHECK(got(8));
	CHECK_RESULT(grant(&fixture, 1, 1, VIODMA_WRITE), VIODMA_OK);
	CHECK(got(9));
	CHECK(with_ack[8]);
	CHECK_EQUAL(received[8].permissions, VIODMA_WRITE);
	/* It may have forgotten all of it by the next time. */
	CHECK_RESULT(rig_start(&fixture.rig), VIODMA_OK);
	CHECK_RESULT(rig_negotiate(&fixture.rig, RIG_WANTED, &platform), VIODMA_OK);
	CHECK(got(9 + 1 + 9));
	CHECK_EQUAL(received[9].type, VHOST_USER_IOTLB_INVALIDATE);
	return end(&fixture);
}
HOLDS(where_the_back_end_cannot_ask_it_is_told)

static bool refuse(struct front_peer *peer, const struct front_peer_message *message)
{
	return front_peer_ack(peer, message, 1);
}

static bool a_grant_that_the_back_end_refuses_is_none(void)
{
	struct fixture fixture;

	CHECK(begin(&fixture));
	DURING(refuse);
	CHECK_RESULT(viodma_front_grant(fixture.rig.front, BUS(1), PHYS(1), RIG_PAGE, VIODMA_READ, true), VIODMA_E_IO);
	DURING(NULL);
	CHECK_EQUAL(asked(&fixture, BUS(1).v, VIODMA_READ), 1);
	CHECK_EQUAL(counted(&fixture).granted_bytes, 0);
	CHECK_RESULT(viodma_front_grant(fixture.rig.front, BUS(1), PHYS(1), RIG_PAGE, VIODMA_READ, true), VIODMA_OK);
	CHECK(got(2));
	return end(&fixture);
}
HOLDS(a_grant_that_the_back_end_refuses_is_none)

static bool after_another_memory_table_it_is_told_again(void)
{
	struct viodma_front_memory more;
	struct fixture fixture;

	CHECK(begin_with(&fixture, PEER_PROTOCOL_FEATURES & ~PEER_PROTOCOL_BIT(CONFIGURE_MEM_SLOTS)));
	CHECK_RESULT(viodma_front_grant(fixture.rig.front, BUS(1), PHYS(1), RIG_PAGE, VIODMA_READ, true), VIODMA_OK);
	CHECK_RESULT(grant(&fixture, 2, 1, VIODMA_READ), VIODMA_OK);
	CHECK_RESULT(viodma_front_memory_new(RIG_PAGE, (viodma_phys){0}, &more), VIODMA_OK);
	CHECK_RESULT(viodma_front_share(fixture.rig.front, &more), VIODMA_OK);
	CHECK(got(2));
	CHECK_EQUAL(received[1].iova, BUS(1).v);
	CHECK_EQUAL(fixture.peer.seen[VHOST_USER_SET_MEM_TABLE], 2);
	CHECK_RESULT(viodma_front_unshare(fixture.rig.front, (viodma_phys){0}), VIODMA_OK);
	CHECK(got(3));
	viodma_front_memory_free(&more);
	return end(&fixture);
}
HOLDS(after_another_memory_table_it_is_told_again)

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

/* ---- other news ---- */

static bool news_of_the_configuration_are_a_new_generation(void)
{
	const struct vhost_user_header news = {VHOST_USER_BACKEND_CONFIG_CHANGE_MSG, VHOST_USER_VERSION, 0};
	const struct vhost_user_header failed = {VHOST_USER_BACKEND_IOTLB_MSG, VHOST_USER_VERSION | VHOST_USER_NEED_REPLY,
						 sizeof(struct vhost_user_iotlb)};
	const struct vhost_user_iotlb access = {.iova = 4096, .permissions = 1, .type = VHOST_USER_IOTLB_ACCESS_FAIL};
	struct fixture fixture;
	uint32_t before, after;

	CHECK(begin(&fixture));
	CHECK_RESULT(fixture.rig.transport->ops->config_generation(fixture.rig.front, &before), VIODMA_OK);
	CHECK(front_peer_ask_raw(&fixture.peer, &news, NULL, 0, NULL, 0));
	CHECK_RESULT(viodma_front_wait(fixture.rig.front, 0), VIODMA_OK);
	CHECK_RESULT(fixture.rig.transport->ops->config_generation(fixture.rig.front, &after), VIODMA_OK);
	CHECK(before != after);
	CHECK(front_peer_ask_raw(&fixture.peer, &failed, &access, sizeof(access), NULL, 0));
	CHECK_RESULT(viodma_front_wait(fixture.rig.front, 0), VIODMA_E_TIMEOUT);
	CHECK_EQUAL(front_peer_answer(&fixture.peer), 0);
	return end(&fixture);
}
HOLDS(news_of_the_configuration_are_a_new_generation)

/* ---- the table ---- */

static unsigned depth(const struct viodma_front_grant *grant)
{
	unsigned left, right;

	if (!grant)
		return 0;
	left = depth(grant->left);
	right = depth(grant->right);
	return 1 + (left > right ? left : right);
}

static bool the_table_stays_level_with_a_hundred_thousand_entries(void)
{
	struct viodma_front_table table = {0};
	const unsigned count = 100000;

	for (unsigned i = 0; i < count; i++) { /* in order, as an address allocator would */
		struct viodma_front_grant *grant = viodma_front_table_new(&table);

		CHECK(grant);
		grant->first = i * UINT64_C(8192);
		grant->last = grant->first + 4095;
		viodma_front_table_insert(&table, grant);
	}
	CHECK(depth(table.root) < 60);
	for (unsigned i = 0; i < count; i++) {
		CHECK_EQUAL(viodma_front_table_find(&table, i * UINT64_C(8192) + 4095)->first, i * UINT64_C(8192));
		CHECK(!viodma_front_table_find(&table, i * UINT64_C(8192) + 4096));
	}
	for (unsigned i = 0; i < count; i += 2)
		viodma_front_table_remove(&table, viodma_front_table_find(&table, i * UINT64_C(8192)));
	CHECK(depth(table.root) < 60);
	viodma_front_table_drop(&table);
	return true;
}
HOLDS(the_table_stays_level_with_a_hundred_thousand_entries)

static bool the_table_agrees_with_a_list(void)
{
	enum { PLACES = 200, STEPS = 20000 };
	struct viodma_front_grant *list[PLACES] = {0};
	struct viodma_front_table table = {0};
	struct check_random random = {4711};

	for (unsigned step = 0; step < STEPS; step++) {
		const unsigned place = (unsigned)check_below(&random, PLACES), from = (unsigned)check_below(&random, PLACES);
		unsigned expected = from;

		if (list[place]) {
			viodma_front_table_remove(&table, list[place]);
			list[place] = NULL;
		} else {
			list[place] = viodma_front_table_new(&table);
			CHECK(list[place]);
			list[place]->first = 100 * place + check_below(&random, 50);
			list[place]->last = list[place]->first + check_below(&random, 50);
			viodma_front_table_insert(&table, list[place]);
		}
		CHECK(viodma_front_table_find(&table, list[place] ? list[place]->last : 100 * place + 50) == list[place]);
		while (expected < PLACES && !list[expected])
			expected++;
		CHECK(viodma_front_table_at_or_after(&table, 100 * from) == (expected < PLACES ? list[expected] : NULL));
	}
	viodma_front_table_drop(&table);
	return true;
}
HOLDS(the_table_agrees_with_a_list)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_MUTANT(a_grant_is_of_shared_memory_and_overlaps_no_other),
		TEST(a_miss_is_answered_with_the_grant_around_it_and_what_was_asked_for),
		WITH_MUTANT(a_miss_beyond_a_permission_is_refused),
		WITH_MUTANT(a_miss_of_what_is_not_granted_is_answered_with_an_error),
		TEST(with_physical_addresses_nothing_is_granted),
		TEST(where_the_back_end_cannot_ask_it_is_told),
		TEST(a_grant_that_the_back_end_refuses_is_none),
		TEST(after_another_memory_table_it_is_told_again),
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
		TEST(news_of_the_configuration_are_a_new_generation),
		TEST(the_table_stays_level_with_a_hundred_thousand_entries),
		TEST(the_table_agrees_with_a_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
