/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * feature.c - THE page with the bit-33 rule, both halves. By accepted bits, never by offered ones; each device alone.
 *
 * Driver half: what to accept, and whether to run the device at all.
 *
 * | offered | platform            | policy           | accepted | addresses | outcome                                |
 * |---------|---------------------|------------------|----------|-----------|----------------------------------------|
 * | both 33 and PLATFORM_DMA, whatever the rest   | -        | -         | refused (DRV-7)                        |
 * | 33 without VERSION_1, whatever the rest       | -        | -         | refused (DRV-6)                        |
 * | yes     | any                 | does not decline | yes      | bus       | runs, in the platform's domain (DRV-2) |
 * | no      | any                 | requires it      | -        | -         | refused (DEV-1)                        |
 * | clear   | restricted, pool at | pool-at-physical | no       | physical, | runs on the weaker promise, logged:    |
 * |         | physical addresses  |                  |          | pool only | clear promises nothing about limits    |
 * | clear   | restricted, any other case             | -        | -         | refused (DRV-4)                        |
 * | clear   | direct              |                  | no       | physical  | runs (DRV-3)                           |
 * | clear   | translates, has a pass-through         | no       | physical  | runs: the pass-through is programmed   |
 * | clear   | translates, has none                   | -        | -         | refused (PLT-7)                        |
 * | clear, and no VERSION_1: only if the platform is direct and the policy says legacy; else refused (DRV-6)         |
 *
 * clear: not offered, or offered and declined. Declining gains nothing and is for tests; a policy that requires bit 33
 * never declines. ORDER_PLATFORM is accepted wherever it is offered (DRV-23). Nothing is accepted that was not offered
 * (DRV-5). A platform that becomes restricted later: reset, and ask again (DRV-9).
 *
 * Device half: what the driver's answer means.
 *
 * | offered | accepted | policy            | addresses | outcome                                              |
 * |---------|----------|-------------------|-----------|------------------------------------------------------|
 * | no      | no       | off               | physical  | runs (DEV-4)                                         |
 * | no      | yes      | any               | -         | refused: accepted but not offered (DEV-5)            |
 * | any     | yes, without VERSION_1       | -         | refused (DEV-6)                                      |
 * | yes     | yes      | offer, require    | bus       | runs, through the platform's translation (DEV-3)     |
 * | yes     | no       | offer             | physical  | runs: this device reaches all memory, its policy     |
 * | yes     | no       | require           | -         | refused before any ring is touched (DEV-8)           |
 * | 33 and PLATFORM_DMA both accepted       | -         | refused (DEV-7)                                      |
 *
 * Both: with a distinct PLATFORM_DMA bit configured (the seed's alternative), a device offers that bit in place of 33,
 * and it stands for "bus addresses, from the platform's domain" just as 33 does. The two are never offered together.
 */
#include <viodma/feature.h>

#include "../base/require.h"

/* Bit 33, and the distinct bit where one is configured: either of them, accepted, makes addresses bus addresses. */
static uint64_t platform_dma_bits(unsigned platform_dma_bit)
{
	const uint64_t bit33 = VIODMA_FEATURE(VIRTIO_F_ACCESS_PLATFORM_BIT);

	return platform_dma_bit ? bit33 | VIODMA_FEATURE(platform_dma_bit) : bit33;
}

/* Are there two bits, and both of them in `features`? */
static bool both_bits(uint64_t features, uint64_t platform_bits)
{
	return (platform_bits & (platform_bits - 1)) && (features & platform_bits) == platform_bits;
}

/* The rows of the driver's table in which bit 33 is clear: may the device run, and what has to be done for it? */
static enum viodma_result run_physically(bool version_1, const struct viodma_platform *platform,
					 const struct viodma_driver_policy *policy,
					 struct viodma_driver_decision *decision)
{
	bool legacy;

	if (platform->restricted) {
		decision->pool_at_physical = policy->pool_at_physical && platform->pool_at_physical;
		if (!VIODMA_REQUIRE(DRV_4, decision->pool_at_physical))
			return VIODMA_PEER_RESTRICTED;
	} else if (platform->kind != VIODMA_PLATFORM_DIRECT) {
		decision->pass_through = platform->pass_through;
		if (!VIODMA_REQUIRE(PLT_7, decision->pass_through))
			return VIODMA_PEER_NO_PASS_THROUGH;
	}
	legacy = policy->legacy && platform->kind == VIODMA_PLATFORM_DIRECT && !platform->restricted;
	if (!VIODMA_REQUIRE(DRV_6, version_1 || legacy))
		return VIODMA_PEER_LEGACY;
	decision->addressing = VIODMA_ADDRESSING_PHYSICAL; /* = DRV-3 */
	return VIODMA_OK;
}

static enum viodma_result decide(uint64_t offered, const struct viodma_platform *platform,
				 const struct viodma_driver_policy *policy, struct viodma_driver_decision *decision)
{
	const uint64_t platform_bits = platform_dma_bits(policy->platform_dma_bit);
	const bool version_1 = (offered & VIODMA_FEATURE(VIRTIO_F_VERSION_1_BIT)) != 0;
	const bool declines = policy->decline_platform_dma && !policy->require_platform_dma;

	if (!VIODMA_REQUIRE(DRV_7, !both_bits(offered, platform_bits)))
		return VIODMA_PEER_BOTH_OFFERED;
	if (!VIODMA_REQUIRE(DRV_6, !(offered & platform_bits) || version_1))
		return VIODMA_PEER_LEGACY;
	if (!VIODMA_REQUIRE(DEV_1, (offered & platform_bits) || !policy->require_platform_dma))
		return VIODMA_PEER_NO_PLATFORM_DMA;
	if (!(offered & platform_bits) || declines)
		return run_physically(version_1, platform, policy, decision);
	decision->addressing = VIODMA_ADDRESSING_PLATFORM; /* = DRV-1, = DRV-2 */
	return VIODMA_OK;
}

enum viodma_result viodma_feature_negotiate_driver(uint64_t offered, uint64_t wanted,
						   const struct viodma_platform *platform,
						   const struct viodma_driver_policy *policy,
						   struct viodma_driver_decision *decision)
{
	const struct viodma_driver_decision refused = {.rule = NULL};
	const uint64_t version_1 = VIODMA_FEATURE(VIRTIO_F_VERSION_1_BIT);
	const uint64_t order_platform = VIODMA_FEATURE(VIRTIO_F_ORDER_PLATFORM_BIT);
	const uint64_t platform_bits = platform_dma_bits(policy->platform_dma_bit);
	enum viodma_result result;
	bool by_platform;

	*decision = refused;
	result = decide(offered, platform, policy, decision);
	if (result) {
		*decision = refused;
		decision->rule = viodma_result_requirement(result);
		return result;
	}
	by_platform = decision->addressing == VIODMA_ADDRESSING_PLATFORM;
	wanted = (wanted & ~platform_bits) | version_1 | order_platform | (by_platform ? platform_bits : 0);
	if (!(offered & version_1))
		wanted &= version_1 - 1; /* the legacy interface has 32 bits */
	decision->accepted = offered & wanted; /* = DRV-5 */
	decision->order_platform = (decision->accepted & order_platform) && platform->order == VIODMA_ORDER_PLATFORM;
	decision->rule = by_platform ? "DRV-2" : "DRV-3";
	return VIODMA_OK;
}

enum viodma_result viodma_feature_negotiate_device(const struct viodma_negotiation *negotiation,
						   enum viodma_addressing *addressing)
{
	const uint64_t version_1 = VIODMA_FEATURE(VIRTIO_F_VERSION_1_BIT);
	const uint64_t platform_bits = platform_dma_bits(negotiation->platform_dma_bit);
	const uint64_t accepted = negotiation->accepted;
	bool by_platform;

	if (!VIODMA_REQUIRE(DEV_7, !both_bits(accepted, platform_bits)))
		return VIODMA_PEER_BOTH_BITS;
	if (!VIODMA_REQUIRE(DEV_5, !(accepted & ~negotiation->offered)))
		return VIODMA_PEER_NOT_OFFERED;
	if (!VIODMA_REQUIRE(DEV_6, !(accepted & platform_bits) || (accepted & version_1)))
		return VIODMA_PEER_NO_VERSION_1;

	by_platform = (accepted & platform_bits) != 0; /* = DEV-2 */
	if (!VIODMA_REQUIRE(DEV_8, by_platform || negotiation->policy != VIODMA_PLATFORM_DMA_REQUIRE))
		return VIODMA_PEER_DECLINED;

	*addressing = by_platform ? VIODMA_ADDRESSING_PLATFORM : VIODMA_ADDRESSING_PHYSICAL;
	return VIODMA_OK;
}

uint64_t viodma_feature_offer_device(enum viodma_platform_dma policy, unsigned platform_dma_bit, uint64_t ring_also)
{
	const uint64_t optional = VIODMA_FEATURE(VIRTIO_F_IN_ORDER_BIT) | VIODMA_FEATURE(VIRTIO_F_ORDER_PLATFORM_BIT) |
				  VIODMA_FEATURE(VIRTIO_F_NOTIFICATION_DATA_BIT);
	uint64_t offer = VIODMA_FEATURE(VIRTIO_F_VERSION_1_BIT) | VIODMA_FEATURE(VIRTIO_F_INDIRECT_DESC_BIT) |
			 VIODMA_FEATURE(VIRTIO_F_EVENT_IDX_BIT) | VIODMA_FEATURE(VIRTIO_F_RING_PACKED_BIT) |
			 VIODMA_FEATURE(VIRTIO_F_RING_RESET_BIT) | (ring_also & optional);

	if (policy == VIODMA_PLATFORM_DMA_OFF)
		return offer;
	return offer | VIODMA_FEATURE(platform_dma_bit ? platform_dma_bit : VIRTIO_F_ACCESS_PLATFORM_BIT); /* = DEV-1 */
}

const char *viodma_feature_name(unsigned bit)
{
	switch (bit) {
	case VIRTIO_F_NOTIFY_ON_EMPTY_BIT:
		return "VIRTIO_F_NOTIFY_ON_EMPTY";
	case VIRTIO_F_ANY_LAYOUT_BIT:
		return "VIRTIO_F_ANY_LAYOUT";
	case VIRTIO_F_INDIRECT_DESC_BIT:
		return "VIRTIO_F_INDIRECT_DESC";
	case VIRTIO_F_EVENT_IDX_BIT:
		return "VIRTIO_F_EVENT_IDX";
	case VIRTIO_F_VERSION_1_BIT:
		return "VIRTIO_F_VERSION_1";
	case VIRTIO_F_ACCESS_PLATFORM_BIT:
		return "VIRTIO_F_ACCESS_PLATFORM";
	case VIRTIO_F_RING_PACKED_BIT:
		return "VIRTIO_F_RING_PACKED";
	case VIRTIO_F_IN_ORDER_BIT:
		return "VIRTIO_F_IN_ORDER";
	case VIRTIO_F_ORDER_PLATFORM_BIT:
		return "VIRTIO_F_ORDER_PLATFORM";
	case VIRTIO_F_SR_IOV_BIT:
		return "VIRTIO_F_SR_IOV";
	case VIRTIO_F_NOTIFICATION_DATA_BIT:
		return "VIRTIO_F_NOTIFICATION_DATA";
	case VIRTIO_F_NOTIF_CONFIG_DATA_BIT:
		return "VIRTIO_F_NOTIF_CONFIG_DATA";
	case VIRTIO_F_RING_RESET_BIT:
		return "VIRTIO_F_RING_RESET";
	default:
		return NULL;
	}
}
