/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_feature_driver.c - the bit-33 rule, driver half: the whole truth table, and each of its rows.
 *
 * How it works: one test walks every offer, platform and policy there is, and compares with a second statement of the
 * rule, written here from the specification's table as a list of rows of which the first that fits decides. The others
 * are the rows one by one, each with the mutant that must break it.
 */
#include "tests/support/check.h"

#include <viodma/feature.h>

#define BIT33 VIODMA_FEATURE(VIRTIO_F_ACCESS_PLATFORM_BIT)
#define V1 VIODMA_FEATURE(VIRTIO_F_VERSION_1_BIT)
#define ORDER VIODMA_FEATURE(VIRTIO_F_ORDER_PLATFORM_BIT)
#define DISTINCT_BIT 45u /* any bit the standard has not assigned */
#define DISTINCT VIODMA_FEATURE(DISTINCT_BIT)
#define WANTED (VIODMA_FEATURE(VIRTIO_F_INDIRECT_DESC_BIT) | VIODMA_FEATURE(5)) /* what a driver may want otherwise */

/* ---- platforms ---- */

enum { DIRECT, OFFSET, OFFSET_PASS, TABLE, TABLE_PASS, RESTRICTED, RESTRICTED_TABLE, AT_PHYSICAL, AT_PHYSICAL_TABLE, PLATFORMS };

static struct viodma_platform platform_of(int which)
{
	struct viodma_platform platform;

	memset(&platform, 0, sizeof(platform));
	platform.address_bits = 64;
	platform.granule_bytes = platform.alignment_bytes = 1;
	platform.coherent = true;
	platform.kind = which == OFFSET || which == OFFSET_PASS || which == RESTRICTED ? VIODMA_PLATFORM_OFFSET :
			which == DIRECT || which == AT_PHYSICAL			       ? VIODMA_PLATFORM_DIRECT :
											 VIODMA_PLATFORM_IOMMU;
	if (platform.kind == VIODMA_PLATFORM_OFFSET) {
		platform.window_count = 1;
		platform.windows[0].bus.v = 0x4000000000;
		platform.windows[0].len_bytes = 1 << 20;
	}
	platform.pass_through = which == DIRECT || which == OFFSET_PASS || which == TABLE_PASS;
	platform.restricted = which >= RESTRICTED;
	platform.pool_at_physical = which >= AT_PHYSICAL;
	platform.pool_bytes = platform.restricted ? 1 << 20 : 0;
	return platform;
}

/* Translates: bus addresses are not simply physical ones. */
static bool translates(int which)
{
	return which != DIRECT && which != AT_PHYSICAL;
}

static enum viodma_result negotiate(uint64_t offered, int which, const struct viodma_driver_policy *policy,
				    struct viodma_driver_decision *decision)
{
	const struct viodma_platform platform = platform_of(which);

	memset(decision, 0x5a, sizeof(*decision)); /* nothing of it may be left */
	return viodma_feature_negotiate_driver(offered, WANTED, &platform, policy, decision);
}

/* ---- the table, stated a second time ---- */

struct question {
	bool offered, both, version_1, clear, restricted, at_physical, translates, pass_through;
	const struct viodma_driver_policy *policy;
};

static enum viodma_result answer(const struct question *q, const char **rule)
{
	const struct {
		bool fits;
		enum viodma_result result;
		const char *rule;
	} rows[] = {
		{q->both, VIODMA_PEER_BOTH_OFFERED, "DRV-7"},
		{q->offered && !q->version_1, VIODMA_PEER_LEGACY, "DRV-6"},
		{!q->clear, VIODMA_OK, "DRV-2"},
		{q->policy->require_platform_dma, VIODMA_PEER_NO_PLATFORM_DMA, "DEV-1"},
		{q->restricted && !(q->at_physical && q->policy->pool_at_physical), VIODMA_PEER_RESTRICTED, "DRV-4"},
		{q->restricted && !q->version_1, VIODMA_PEER_LEGACY, "DRV-6"},
		{q->restricted, VIODMA_OK, "DRV-3"},
		{q->translates && !q->pass_through, VIODMA_PEER_NO_PASS_THROUGH, "PLT-7"},
		{q->translates && !q->version_1, VIODMA_PEER_LEGACY, "DRV-6"},
		{!q->version_1 && !q->policy->legacy, VIODMA_PEER_LEGACY, "DRV-6"},
		{true, VIODMA_OK, "DRV-3"},
	};
	size_t row = 0;

	while (!rows[row].fits)
		row++;
	*rule = rows[row].rule;
	return rows[row].result;
}

static bool decision_fits(uint64_t offered, int which, const struct viodma_driver_policy *policy)
{
	const uint64_t platform_bits = policy->platform_dma_bit ? BIT33 | DISTINCT : BIT33;
	const struct viodma_platform platform = platform_of(which);
	const struct question q = {
		.offered = (offered & platform_bits) != 0,
		.both = policy->platform_dma_bit && (offered & platform_bits) == platform_bits,
		.version_1 = (offered & V1) != 0,
		.clear = !(offered & platform_bits) || (policy->decline_platform_dma && !policy->require_platform_dma),
		.restricted = platform.restricted,
		.at_physical = platform.pool_at_physical,
		.translates = translates(which),
		.pass_through = platform.pass_through,
		.policy = policy,
	};
	struct viodma_driver_decision decision;
	const char *rule;
	enum viodma_result wanted = answer(&q, &rule), result = negotiate(offered, which, policy, &decision);

	CHECK_RESULT(result, wanted);
	CHECK(strcmp(decision.rule, rule) == 0);
	CHECK(!(decision.accepted & ~offered)); /* = DRV-5 */
	if (result != VIODMA_OK) {
		CHECK(strcmp(rule, viodma_result_requirement(result)) == 0);
		CHECK(!decision.accepted && !decision.pass_through && !decision.pool_at_physical && !decision.order_platform);
		return true;
	}
	CHECK_EQUAL(decision.addressing, q.clear ? VIODMA_ADDRESSING_PHYSICAL : VIODMA_ADDRESSING_PLATFORM);
	CHECK_EQUAL((decision.accepted & platform_bits) != 0, !q.clear);
	CHECK_EQUAL(decision.pass_through, q.clear && q.translates && !q.restricted);
	CHECK_EQUAL(decision.pool_at_physical, q.clear && q.restricted);
	CHECK_EQUAL((decision.accepted & V1) != 0, q.version_1);
	CHECK_EQUAL((decision.accepted & ORDER) != 0, q.version_1 && (offered & ORDER) != 0);
	CHECK_EQUAL(decision.accepted & ~(platform_bits | V1 | ORDER), offered & WANTED);
	return true;
}

static bool every_row_of_the_truth_table_comes_out_as_specified(void)
{
	unsigned bits, choices;
	int which;

	for (bits = 0; bits < 32; bits++)
		for (choices = 0; choices < 32; choices++)
			for (which = 0; which < PLATFORMS; which++) {
				uint64_t offered = (bits & 1 ? BIT33 : 0) | (bits & 2 ? V1 : 0) | (bits & 4 ? DISTINCT : 0) |
						   (bits & 8 ? ORDER : 0) | (bits & 16 ? WANTED | 1 : 0);
				struct viodma_driver_policy policy = {
					.require_platform_dma = choices & 1,
					.pool_at_physical = choices & 2,
					.decline_platform_dma = choices & 4,
					.legacy = choices & 8,
					.platform_dma_bit = choices & 16 ? DISTINCT_BIT : 0,
				};

				if (!decision_fits(offered, which, &policy))
					return check_note(__FILE__, __LINE__, "offer %u, policy %u, platform %d", bits, choices,
							  which);
			}
	return true;
}
HOLDS(every_row_of_the_truth_table_comes_out_as_specified)

/* ---- its rows, one by one ---- */

static const struct viodma_driver_policy plain_policy;

static bool bit_33_offered_is_accepted_and_means_bus_addresses_on_every_platform(void)
{
	struct viodma_driver_decision decision;
	int which;

	for (which = 0; which < PLATFORMS; which++) {
		CHECK_RESULT(negotiate(BIT33 | V1, which, &plain_policy, &decision), VIODMA_OK);
		CHECK(decision.accepted == (BIT33 | V1)); /* = DRV-1 */
		CHECK_EQUAL(decision.addressing, VIODMA_ADDRESSING_PLATFORM);
		CHECK(!decision.pass_through && !decision.pool_at_physical);
		CHECK(strcmp(decision.rule, "DRV-2") == 0);
	}
	return true;
}
HOLDS(bit_33_offered_is_accepted_and_means_bus_addresses_on_every_platform)

static bool a_device_without_bit_33_runs_with_physical_addresses_on_a_direct_platform(void)
{
	struct viodma_driver_decision decision;

	CHECK_RESULT(negotiate(V1, DIRECT, &plain_policy, &decision), VIODMA_OK);
	CHECK_EQUAL(decision.addressing, VIODMA_ADDRESSING_PHYSICAL);
	CHECK(!decision.pass_through && strcmp(decision.rule, "DRV-3") == 0);
	return true;
}
HOLDS(a_device_without_bit_33_runs_with_physical_addresses_on_a_direct_platform)

static bool a_device_without_bit_33_runs_past_a_translation_that_lets_it(void)
{
	static const int platforms[] = {OFFSET_PASS, TABLE_PASS};
	struct viodma_driver_decision decision;
	size_t i;

	for (i = 0; i < 2; i++) {
		CHECK_RESULT(negotiate(V1, platforms[i], &plain_policy, &decision), VIODMA_OK);
		CHECK_EQUAL(decision.addressing, VIODMA_ADDRESSING_PHYSICAL);
		CHECK(decision.pass_through); /* clear overrides what the platform describes: somebody has to program that */
	}
	return true;
}
HOLDS(a_device_without_bit_33_runs_past_a_translation_that_lets_it)

static bool a_device_without_bit_33_is_refused_where_no_pass_through_is(void)
{
	struct viodma_driver_decision decision;

	CHECK_RESULT(negotiate(V1, TABLE, &plain_policy, &decision), VIODMA_PEER_NO_PASS_THROUGH);
	CHECK_RESULT(negotiate(V1, OFFSET, &plain_policy, &decision), VIODMA_PEER_NO_PASS_THROUGH);
	CHECK(strcmp(decision.rule, "PLT-7") == 0);
	return true;
}
BEHAVIOUR(a_device_without_bit_33_is_refused_where_no_pass_through_is, "PLT-7")

static bool a_device_without_bit_33_is_refused_on_a_restricted_platform(void)
{
	struct viodma_driver_decision decision;
	int which;

	for (which = RESTRICTED; which < PLATFORMS; which++) {
		CHECK_RESULT(negotiate(V1, which, &plain_policy, &decision), VIODMA_PEER_RESTRICTED);
		CHECK(strcmp(decision.rule, "DRV-4") == 0 && decision.accepted == 0);
	}
	return true;
}
BEHAVIOUR(a_device_without_bit_33_is_refused_on_a_restricted_platform, "DRV-4")

static bool a_policy_runs_it_on_a_pool_at_physical_addresses_and_on_no_other(void)
{
	const struct viodma_driver_policy policy = {.pool_at_physical = true};
	struct viodma_driver_decision decision;

	CHECK_RESULT(negotiate(V1, AT_PHYSICAL, &policy, &decision), VIODMA_OK);
	CHECK(decision.pool_at_physical && decision.addressing == VIODMA_ADDRESSING_PHYSICAL);
	CHECK_RESULT(negotiate(V1, AT_PHYSICAL_TABLE, &policy, &decision), VIODMA_OK);
	CHECK(decision.pool_at_physical && !decision.pass_through);
	CHECK_RESULT(negotiate(V1, RESTRICTED, &policy, &decision), VIODMA_PEER_RESTRICTED);
	CHECK_RESULT(negotiate(V1, RESTRICTED_TABLE, &policy, &decision), VIODMA_PEER_RESTRICTED);
	return true;
}
BEHAVIOUR(a_policy_runs_it_on_a_pool_at_physical_addresses_and_on_no_other, "DRV-4")

static bool the_weaker_promise_is_not_used_where_bit_33_is_offered(void)
{
	const struct viodma_driver_policy policy = {.pool_at_physical = true};
	struct viodma_driver_decision decision;

	CHECK_RESULT(negotiate(BIT33 | V1, AT_PHYSICAL, &policy, &decision), VIODMA_OK);
	CHECK(!decision.pool_at_physical && decision.addressing == VIODMA_ADDRESSING_PLATFORM);
	return true;
}
HOLDS(the_weaker_promise_is_not_used_where_bit_33_is_offered)

static bool declining_bit_33_is_decided_as_if_it_were_not_offered(void)
{
	const struct viodma_driver_policy policy = {.decline_platform_dma = true};
	struct viodma_driver_decision decision;

	CHECK_RESULT(negotiate(BIT33 | V1, DIRECT, &policy, &decision), VIODMA_OK);
	CHECK(decision.accepted == V1 && decision.addressing == VIODMA_ADDRESSING_PHYSICAL);
	CHECK_RESULT(negotiate(BIT33 | V1, TABLE_PASS, &policy, &decision), VIODMA_OK);
	CHECK(decision.accepted == V1 && decision.pass_through);
	return true;
}
HOLDS(declining_bit_33_is_decided_as_if_it_were_not_offered)

static bool declining_bit_33_is_refused_on_a_restricted_platform(void)
{
	const struct viodma_driver_policy policy = {.decline_platform_dma = true};
	struct viodma_driver_decision decision;

	CHECK_RESULT(negotiate(BIT33 | V1, RESTRICTED, &policy, &decision), VIODMA_PEER_RESTRICTED);
	CHECK_RESULT(negotiate(BIT33 | V1, AT_PHYSICAL, &policy, &decision), VIODMA_PEER_RESTRICTED);
	return true;
}
BEHAVIOUR(declining_bit_33_is_refused_on_a_restricted_platform, "DRV-4")

static bool a_policy_that_requires_bit_33_refuses_a_device_without_it_everywhere(void)
{
	const struct viodma_driver_policy policy = {.require_platform_dma = true, .pool_at_physical = true};
	struct viodma_driver_decision decision;
	int which;

	for (which = 0; which < PLATFORMS; which++) {
		CHECK_RESULT(negotiate(V1, which, &policy, &decision), VIODMA_PEER_NO_PLATFORM_DMA);
		CHECK(strcmp(decision.rule, "DEV-1") == 0);
	}
	return true;
}
BEHAVIOUR(a_policy_that_requires_bit_33_refuses_a_device_without_it_everywhere, "DEV-1")

static bool a_policy_that_requires_bit_33_does_not_decline_it(void)
{
	const struct viodma_driver_policy policy = {.require_platform_dma = true, .decline_platform_dma = true};
	struct viodma_driver_decision decision;

	CHECK_RESULT(negotiate(BIT33 | V1, DIRECT, &policy, &decision), VIODMA_OK);
	CHECK_EQUAL(decision.addressing, VIODMA_ADDRESSING_PLATFORM);
	return true;
}
HOLDS(a_policy_that_requires_bit_33_does_not_decline_it)

static bool bit_33_without_version_1_is_refused_whatever_the_policy(void)
{
	const struct viodma_driver_policy policy = {.legacy = true, .decline_platform_dma = true};
	struct viodma_driver_decision decision;

	CHECK_RESULT(negotiate(BIT33, DIRECT, &plain_policy, &decision), VIODMA_PEER_LEGACY);
	CHECK_RESULT(negotiate(BIT33, DIRECT, &policy, &decision), VIODMA_PEER_LEGACY);
	CHECK(strcmp(decision.rule, "DRV-6") == 0);
	return true;
}
BEHAVIOUR(bit_33_without_version_1_is_refused_whatever_the_policy, "DRV-6")

static bool a_legacy_device_runs_where_the_policy_says_so_and_the_platform_is_direct(void)
{
	const struct viodma_driver_policy policy = {.legacy = true, .pool_at_physical = true};
	struct viodma_driver_decision decision;

	CHECK_RESULT(negotiate(ORDER | WANTED, DIRECT, &policy, &decision), VIODMA_OK);
	CHECK(decision.accepted == WANTED); /* of 32 bits: a legacy interface has no others */
	CHECK_RESULT(negotiate(0, DIRECT, &plain_policy, &decision), VIODMA_PEER_LEGACY);
	CHECK_RESULT(negotiate(0, TABLE_PASS, &policy, &decision), VIODMA_PEER_LEGACY);
	CHECK_RESULT(negotiate(0, AT_PHYSICAL, &policy, &decision), VIODMA_PEER_LEGACY);
	return true;
}
BEHAVIOUR(a_legacy_device_runs_where_the_policy_says_so_and_the_platform_is_direct, "DRV-6")

static bool a_device_that_offers_both_bits_is_refused(void)
{
	const struct viodma_driver_policy policy = {.platform_dma_bit = DISTINCT_BIT};
	struct viodma_driver_decision decision;

	CHECK_RESULT(negotiate(BIT33 | DISTINCT | V1, DIRECT, &policy, &decision), VIODMA_PEER_BOTH_OFFERED);
	CHECK(strcmp(decision.rule, "DRV-7") == 0);
	return true;
}
BEHAVIOUR(a_device_that_offers_both_bits_is_refused, "DRV-7")

static bool a_configured_bit_stands_for_33_and_so_does_33_alone(void)
{
	const struct viodma_driver_policy policy = {.platform_dma_bit = DISTINCT_BIT};
	struct viodma_driver_decision decision;

	CHECK_RESULT(negotiate(DISTINCT | V1, RESTRICTED, &policy, &decision), VIODMA_OK);
	CHECK(decision.accepted == (DISTINCT | V1) && decision.addressing == VIODMA_ADDRESSING_PLATFORM);
	CHECK_RESULT(negotiate(BIT33 | V1, RESTRICTED, &policy, &decision), VIODMA_OK);
	CHECK(decision.accepted == (BIT33 | V1) && decision.addressing == VIODMA_ADDRESSING_PLATFORM);
	return true;
}
HOLDS(a_configured_bit_stands_for_33_and_so_does_33_alone)

static bool without_a_configured_bit_the_other_bit_means_nothing(void)
{
	struct viodma_driver_decision decision;

	CHECK_RESULT(negotiate(BIT33 | DISTINCT | V1, DIRECT, &plain_policy, &decision), VIODMA_OK);
	CHECK(decision.accepted == (BIT33 | V1));
	CHECK_RESULT(negotiate(DISTINCT | V1, RESTRICTED, &plain_policy, &decision), VIODMA_PEER_RESTRICTED);
	return true;
}
HOLDS(without_a_configured_bit_the_other_bit_means_nothing)

static bool order_platform_is_accepted_where_offered_and_the_platform_says_which_barriers(void)
{
	struct viodma_platform platform = platform_of(OFFSET_PASS);
	struct viodma_driver_decision decision;
	int by_bus, offered, bit33;

	for (by_bus = 0; by_bus < 2; by_bus++)
		for (offered = 0; offered < 2; offered++)
			for (bit33 = 0; bit33 < 2; bit33++) {
				platform.order = by_bus ? VIODMA_ORDER_PLATFORM : VIODMA_ORDER_SMP;
				CHECK_RESULT(viodma_feature_negotiate_driver(V1 | (offered ? ORDER : 0) | (bit33 ? BIT33 : 0),
									     0, &platform, &plain_policy, &decision),
					     VIODMA_OK);
				CHECK_EQUAL((decision.accepted & ORDER) != 0, offered); /* = DRV-23 */
				CHECK_EQUAL(decision.order_platform, offered && by_bus);
			}
	return true;
}
HOLDS(order_platform_is_accepted_where_offered_and_the_platform_says_which_barriers)

static bool what_a_driver_wants_is_accepted_only_if_offered_and_never_bit_33_by_that_way(void)
{
	const struct viodma_driver_policy declines = {.decline_platform_dma = true};
	const struct viodma_platform platform = platform_of(DIRECT);
	struct viodma_driver_decision decision;

	CHECK_RESULT(viodma_feature_negotiate_driver(V1 | 0x12, ~0ull, &platform, &plain_policy, &decision), VIODMA_OK);
	CHECK(decision.accepted == (V1 | 0x12)); /* = DRV-5 */
	CHECK_RESULT(viodma_feature_negotiate_driver(V1 | BIT33, ~0ull, &platform, &declines, &decision), VIODMA_OK);
	CHECK(decision.accepted == V1);
	return true;
}
HOLDS(what_a_driver_wants_is_accepted_only_if_offered_and_never_bit_33_by_that_way)

static bool both_halves_of_the_rule_agree_on_what_addresses_mean(void)
{
	static const enum viodma_platform_dma offers[] = {VIODMA_PLATFORM_DMA_OFF, VIODMA_PLATFORM_DMA_OFFER,
							  VIODMA_PLATFORM_DMA_REQUIRE};
	size_t p, declines, distinct;

	for (p = 0; p < 3; p++)
		for (declines = 0; declines < 2; declines++)
			for (distinct = 0; distinct < 2; distinct++) {
				unsigned bit = distinct ? DISTINCT_BIT : 0;
				uint64_t offer = viodma_feature_offer_device(offers[p], bit, 0);
				struct viodma_driver_policy policy = {.decline_platform_dma = declines,
								      .platform_dma_bit = bit};
				struct viodma_negotiation device = {.offered = offer, .policy = offers[p],
								    .platform_dma_bit = bit};
				enum viodma_addressing addressing = VIODMA_ADDRESSING_PHYSICAL;
				struct viodma_driver_decision decision;

				CHECK_RESULT(negotiate(offer, DIRECT, &policy, &decision), VIODMA_OK);
				device.accepted = decision.accepted;
				if (declines && offers[p] == VIODMA_PLATFORM_DMA_REQUIRE) {
					CHECK_RESULT(viodma_feature_negotiate_device(&device, &addressing),
						     VIODMA_PEER_DECLINED);
					continue;
				}
				CHECK_RESULT(viodma_feature_negotiate_device(&device, &addressing), VIODMA_OK);
				CHECK_EQUAL(addressing, decision.addressing);
			}
	return true;
}
HOLDS(both_halves_of_the_rule_agree_on_what_addresses_mean)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_row_of_the_truth_table_comes_out_as_specified),
		TEST(bit_33_offered_is_accepted_and_means_bus_addresses_on_every_platform),
		TEST(a_device_without_bit_33_runs_with_physical_addresses_on_a_direct_platform),
		TEST(a_device_without_bit_33_runs_past_a_translation_that_lets_it),
		WITH_MUTANT(a_device_without_bit_33_is_refused_where_no_pass_through_is),
		WITH_MUTANT(a_device_without_bit_33_is_refused_on_a_restricted_platform),
		WITH_MUTANT(a_policy_runs_it_on_a_pool_at_physical_addresses_and_on_no_other),
		TEST(the_weaker_promise_is_not_used_where_bit_33_is_offered),
		TEST(declining_bit_33_is_decided_as_if_it_were_not_offered),
		WITH_MUTANT(declining_bit_33_is_refused_on_a_restricted_platform),
		WITH_MUTANT(a_policy_that_requires_bit_33_refuses_a_device_without_it_everywhere),
		TEST(a_policy_that_requires_bit_33_does_not_decline_it),
		WITH_MUTANT(bit_33_without_version_1_is_refused_whatever_the_policy),
		WITH_MUTANT(a_legacy_device_runs_where_the_policy_says_so_and_the_platform_is_direct),
		WITH_MUTANT(a_device_that_offers_both_bits_is_refused),
		TEST(a_configured_bit_stands_for_33_and_so_does_33_alone),
		TEST(without_a_configured_bit_the_other_bit_means_nothing),
		TEST(order_platform_is_accepted_where_offered_and_the_platform_says_which_barriers),
		TEST(what_a_driver_wants_is_accepted_only_if_offered_and_never_bit_33_by_that_way),
		TEST(both_halves_of_the_rule_agree_on_what_addresses_mean),
	};

	return cmocka_run_group_tests_name("feature_driver", tests, NULL, NULL);
}
