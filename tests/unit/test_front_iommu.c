/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_front_iommu.c - the front end as IOMMU: what is granted is what was asked for and may be. (How it ends:
 * test_front_withdraw.c.)
 *
 * How it works: see tests/support/front_iommu_rig.h.
 */
#include "hosted/front/front.h"

#include "tests/support/front_iommu_rig.h"

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
		TEST(news_of_the_configuration_are_a_new_generation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
