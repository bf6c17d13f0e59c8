/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_feature.c - the bit-33 rule, device half: the whole truth table, and the seed's exclusion rule.
 *
 * How it works: one test walks every combination of bits and policies and compares with a second statement of the
 * rule, written here from the specification's table; the others are the rows one by one, each with the mutant that
 * must break it.
 */
#include "tests/support/check.h"

#include <viodma/feature.h>

#define BIT33 VIODMA_FEATURE(VIRTIO_F_ACCESS_PLATFORM_BIT)
#define V1 VIODMA_FEATURE(VIRTIO_F_VERSION_1_BIT)
#define DISTINCT_BIT 45u /* any bit the standard has not assigned */
#define DISTINCT VIODMA_FEATURE(DISTINCT_BIT)

static const enum viodma_platform_dma policies[] = {VIODMA_PLATFORM_DMA_OFF, VIODMA_PLATFORM_DMA_OFFER,
						    VIODMA_PLATFORM_DMA_REQUIRE};

static enum viodma_result negotiate(uint64_t offered, uint64_t accepted, enum viodma_platform_dma policy,
				    unsigned distinct_bit, enum viodma_addressing *addressing)
{
	struct viodma_negotiation negotiation = {
		.offered = offered, .accepted = accepted, .policy = policy, .platform_dma_bit = distinct_bit};

	return viodma_feature_negotiate_device(&negotiation, addressing);
}

static bool every_row_of_the_truth_table_comes_out_as_specified(void)
{
	const enum viodma_addressing untouched = (enum viodma_addressing)77;
	unsigned bits, p, configured;

	for (bits = 0; bits < 64; bits++)
		for (p = 0; p < 3; p++)
			for (configured = 0; configured < 2; configured++) {
				uint64_t offered = (bits & 1 ? BIT33 : 0) | (bits & 2 ? V1 : 0) | (bits & 4 ? DISTINCT : 0);
				uint64_t accepted = (bits & 8 ? BIT33 : 0) | (bits & 16 ? V1 : 0) |
						    (bits & 32 ? DISTINCT : 0);
				bool by_platform = (accepted & BIT33) || (configured && (accepted & DISTINCT));
				bool not_offered = (accepted & ~offered) != 0;
				bool no_version_1 = by_platform && !(accepted & V1);
				bool both = configured && (accepted & BIT33) && (accepted & DISTINCT);
				bool declined = policies[p] == VIODMA_PLATFORM_DMA_REQUIRE && !by_platform;
				enum viodma_addressing addressing = untouched;
				enum viodma_result result = negotiate(offered, accepted, policies[p],
								      configured ? DISTINCT_BIT : 0, &addressing);

				if (!not_offered && !no_version_1 && !both && !declined) {
					CHECK_RESULT(result, VIODMA_OK);
					CHECK_EQUAL(addressing, by_platform ? VIODMA_ADDRESSING_PLATFORM
									    : VIODMA_ADDRESSING_PHYSICAL);
					continue;
				}
				CHECK_EQUAL(addressing, untouched);
				CHECK((result == VIODMA_PEER_NOT_OFFERED && not_offered) ||
				      (result == VIODMA_PEER_NO_VERSION_1 && no_version_1) ||
				      (result == VIODMA_PEER_BOTH_BITS && both) ||
				      (result == VIODMA_PEER_DECLINED && declined));
			}
	return true;
}
HOLDS(every_row_of_the_truth_table_comes_out_as_specified)

static bool bit_33_offered_and_accepted_means_bus_addresses(void)
{
	enum viodma_addressing addressing = VIODMA_ADDRESSING_PHYSICAL;

	CHECK_RESULT(negotiate(BIT33 | V1, BIT33 | V1, VIODMA_PLATFORM_DMA_OFFER, 0, &addressing), VIODMA_OK);
	CHECK_EQUAL(addressing, VIODMA_ADDRESSING_PLATFORM); /* = DEV-3 */
	return true;
}
HOLDS(bit_33_offered_and_accepted_means_bus_addresses)

static bool bit_33_offered_but_declined_means_physical_addresses(void)
{
	enum viodma_addressing addressing = VIODMA_ADDRESSING_PLATFORM;

	/* = DEV-2 (accepted bits decide), = DEV-4 */
	CHECK_RESULT(negotiate(BIT33 | V1, V1, VIODMA_PLATFORM_DMA_OFFER, 0, &addressing), VIODMA_OK);
	CHECK_EQUAL(addressing, VIODMA_ADDRESSING_PHYSICAL);
	return true;
}
HOLDS(bit_33_offered_but_declined_means_physical_addresses)

static bool a_legacy_driver_without_bit_33_gets_physical_addresses(void)
{
	enum viodma_addressing addressing = VIODMA_ADDRESSING_PLATFORM;

	CHECK_RESULT(negotiate(BIT33 | V1, 0, VIODMA_PLATFORM_DMA_OFFER, 0, &addressing), VIODMA_OK);
	CHECK_EQUAL(addressing, VIODMA_ADDRESSING_PHYSICAL);
	return true;
}
HOLDS(a_legacy_driver_without_bit_33_gets_physical_addresses)

static bool bit_33_accepted_but_not_offered_is_refused(void)
{
	enum viodma_addressing addressing = VIODMA_ADDRESSING_PHYSICAL;

	CHECK_RESULT(negotiate(V1, BIT33 | V1, VIODMA_PLATFORM_DMA_OFF, 0, &addressing), VIODMA_PEER_NOT_OFFERED);
	return true;
}
BEHAVIOUR(bit_33_accepted_but_not_offered_is_refused, "DEV-5")

static bool any_other_bit_accepted_but_not_offered_is_refused(void)
{
	enum viodma_addressing addressing = VIODMA_ADDRESSING_PHYSICAL;

	CHECK_RESULT(negotiate(BIT33 | V1, BIT33 | V1 | 1, VIODMA_PLATFORM_DMA_OFFER, 0, &addressing),
		     VIODMA_PEER_NOT_OFFERED);
	return true;
}
BEHAVIOUR(any_other_bit_accepted_but_not_offered_is_refused, "DEV-5")

static bool bit_33_without_version_1_is_refused(void)
{
	enum viodma_addressing addressing = VIODMA_ADDRESSING_PHYSICAL;

	CHECK_RESULT(negotiate(BIT33 | V1, BIT33, VIODMA_PLATFORM_DMA_OFFER, 0, &addressing), VIODMA_PEER_NO_VERSION_1);
	return true;
}
BEHAVIOUR(bit_33_without_version_1_is_refused, "DEV-6")

static bool bit_33_and_a_distinct_bit_together_are_refused(void)
{
	enum viodma_addressing addressing = VIODMA_ADDRESSING_PHYSICAL;

	CHECK_RESULT(negotiate(BIT33 | V1 | DISTINCT, BIT33 | V1 | DISTINCT, VIODMA_PLATFORM_DMA_OFFER, DISTINCT_BIT,
			       &addressing),
		     VIODMA_PEER_BOTH_BITS);
	return true;
}
BEHAVIOUR(bit_33_and_a_distinct_bit_together_are_refused, "DEV-7")

static bool without_a_configured_bit_there_is_no_exclusion_rule(void)
{
	enum viodma_addressing addressing = VIODMA_ADDRESSING_PHYSICAL;

	CHECK_RESULT(negotiate(BIT33 | V1 | DISTINCT, BIT33 | V1 | DISTINCT, VIODMA_PLATFORM_DMA_OFFER, 0, &addressing),
		     VIODMA_OK);
	CHECK_EQUAL(addressing, VIODMA_ADDRESSING_PLATFORM);
	return true;
}
HOLDS(without_a_configured_bit_there_is_no_exclusion_rule)

static bool a_device_that_needs_bit_33_refuses_a_driver_that_declines_it(void)
{
	enum viodma_addressing addressing = VIODMA_ADDRESSING_PLATFORM;

	CHECK_RESULT(negotiate(BIT33 | V1, V1, VIODMA_PLATFORM_DMA_REQUIRE, 0, &addressing), VIODMA_PEER_DECLINED);
	CHECK_EQUAL(addressing, VIODMA_ADDRESSING_PLATFORM);
	return true;
}
BEHAVIOUR(a_device_that_needs_bit_33_refuses_a_driver_that_declines_it, "DEV-8")

#define ALWAYS                                                                                                        \
	(V1 | VIODMA_FEATURE(VIRTIO_F_INDIRECT_DESC_BIT) | VIODMA_FEATURE(VIRTIO_F_EVENT_IDX_BIT) |                   \
	 VIODMA_FEATURE(VIRTIO_F_RING_PACKED_BIT) | VIODMA_FEATURE(VIRTIO_F_RING_RESET_BIT))

static bool what_a_ring_may_do_besides_is_offered_where_it_is_asked_for(void)
{
	const uint64_t optional = VIODMA_FEATURE(VIRTIO_F_IN_ORDER_BIT) | VIODMA_FEATURE(VIRTIO_F_ORDER_PLATFORM_BIT) |
				  VIODMA_FEATURE(VIRTIO_F_NOTIFICATION_DATA_BIT);

	CHECK(viodma_feature_offer_device(VIODMA_PLATFORM_DMA_OFF, 0, optional) == (ALWAYS | optional));
	CHECK(viodma_feature_offer_device(VIODMA_PLATFORM_DMA_OFF, 0, UINT64_MAX) == (ALWAYS | optional));
	CHECK(viodma_feature_offer_device(VIODMA_PLATFORM_DMA_OFF, 0, ~optional) == ALWAYS);
	return true;
}
HOLDS(what_a_ring_may_do_besides_is_offered_where_it_is_asked_for)

static bool bit_33_is_offered_as_the_policy_says(void)
{
	const uint64_t always = ALWAYS;

	CHECK(viodma_feature_offer_device(VIODMA_PLATFORM_DMA_OFF, 0, 0) == always);
	CHECK(viodma_feature_offer_device(VIODMA_PLATFORM_DMA_OFFER, 0, 0) == (always | BIT33)); /* = DEV-1 */
	CHECK(viodma_feature_offer_device(VIODMA_PLATFORM_DMA_REQUIRE, 0, 0) == (always | BIT33));
	CHECK(viodma_feature_offer_device(VIODMA_PLATFORM_DMA_OFF, DISTINCT_BIT, 0) == always);
	return true;
}
HOLDS(bit_33_is_offered_as_the_policy_says)

static bool an_offer_never_holds_both_bits_because_a_driver_must_refuse_that(void)
{
	size_t p;

	for (p = 0; p < 3; p++) {
		uint64_t offer = viodma_feature_offer_device(policies[p], DISTINCT_BIT, 0);

		CHECK((offer & (BIT33 | DISTINCT)) != (BIT33 | DISTINCT)); /* = DRV-7 */
		if (policies[p] != VIODMA_PLATFORM_DMA_OFF)
			CHECK((offer & (BIT33 | DISTINCT)) != 0);
	}
	return true;
}
HOLDS(an_offer_never_holds_both_bits_because_a_driver_must_refuse_that)

static bool what_is_offered_can_be_accepted_whole(void)
{
	size_t p;

	for (p = 0; p < 3; p++) {
		uint64_t offer = viodma_feature_offer_device(policies[p], 0, UINT64_MAX);
		enum viodma_addressing addressing;

		CHECK_RESULT(negotiate(offer, offer, policies[p], 0, &addressing), VIODMA_OK);
	}
	return true;
}
HOLDS(what_is_offered_can_be_accepted_whole)

static bool device_independent_bits_have_the_names_of_the_standard(void)
{
	static const struct {
		unsigned bit;
		const char *name;
	} known[] = {
		{24, "VIRTIO_F_NOTIFY_ON_EMPTY"}, {27, "VIRTIO_F_ANY_LAYOUT"},	    {28, "VIRTIO_F_INDIRECT_DESC"},
		{29, "VIRTIO_F_EVENT_IDX"},	  {32, "VIRTIO_F_VERSION_1"},	    {33, "VIRTIO_F_ACCESS_PLATFORM"},
		{34, "VIRTIO_F_RING_PACKED"},	  {35, "VIRTIO_F_IN_ORDER"},	    {36, "VIRTIO_F_ORDER_PLATFORM"},
		{37, "VIRTIO_F_SR_IOV"},	  {38, "VIRTIO_F_NOTIFICATION_DATA"}, {39, "VIRTIO_F_NOTIF_CONFIG_DATA"},
		{40, "VIRTIO_F_RING_RESET"},
	};
	unsigned bit;
	size_t i;

	for (bit = 0; bit < 70; bit++) {
		const char *name = viodma_feature_name(bit), *wanted = NULL;

		for (i = 0; i < sizeof(known) / sizeof(known[0]); i++)
			if (known[i].bit == bit)
				wanted = known[i].name;
		CHECK((name == NULL) == (wanted == NULL));
		CHECK(!wanted || strcmp(name, wanted) == 0);
	}
	CHECK(viodma_feature_name(~0u) == NULL);
	return true;
}
HOLDS(device_independent_bits_have_the_names_of_the_standard)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_row_of_the_truth_table_comes_out_as_specified),
		TEST(bit_33_offered_and_accepted_means_bus_addresses),
		TEST(bit_33_offered_but_declined_means_physical_addresses),
		TEST(a_legacy_driver_without_bit_33_gets_physical_addresses),
		WITH_MUTANT(bit_33_accepted_but_not_offered_is_refused),
		WITH_MUTANT(any_other_bit_accepted_but_not_offered_is_refused),
		WITH_MUTANT(bit_33_without_version_1_is_refused),
		WITH_MUTANT(bit_33_and_a_distinct_bit_together_are_refused),
		TEST(without_a_configured_bit_there_is_no_exclusion_rule),
		WITH_MUTANT(a_device_that_needs_bit_33_refuses_a_driver_that_declines_it),
		TEST(bit_33_is_offered_as_the_policy_says),
		TEST(what_a_ring_may_do_besides_is_offered_where_it_is_asked_for),
		TEST(an_offer_never_holds_both_bits_because_a_driver_must_refuse_that),
		TEST(what_is_offered_can_be_accepted_whole),
		TEST(device_independent_bits_have_the_names_of_the_standard),
	};

	return cmocka_run_group_tests_name("feature", tests, NULL, NULL);
}
