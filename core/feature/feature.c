/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * feature.c - THE page with the bit-33 rule, device half.
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
 * With a distinct PLATFORM_DMA bit configured (the seed's alternative), a device offers that bit in place of 33, and it
 * stands for "bus addresses, from the platform's domain" just as 33 does. The two are never offered together.
 */
#include <viodma/feature.h>

#include "../base/require.h"

enum viodma_result viodma_feature_negotiate_device(const struct viodma_negotiation *negotiation,
						   enum viodma_addressing *addressing)
{
	const uint64_t bit33 = VIODMA_FEATURE(VIRTIO_F_ACCESS_PLATFORM_BIT);
	const uint64_t version_1 = VIODMA_FEATURE(VIRTIO_F_VERSION_1_BIT);
	const uint64_t accepted = negotiation->accepted;
	uint64_t platform_bits = bit33;
	bool by_platform;

	if (negotiation->platform_dma_bit)
		platform_bits |= VIODMA_FEATURE(negotiation->platform_dma_bit);

	if (!VIODMA_REQUIRE(DEV_7, platform_bits == bit33 || (accepted & platform_bits) != platform_bits))
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

uint64_t viodma_feature_offer_device(enum viodma_platform_dma policy, unsigned platform_dma_bit)
{
	uint64_t offer = VIODMA_FEATURE(VIRTIO_F_VERSION_1_BIT) | VIODMA_FEATURE(VIRTIO_F_INDIRECT_DESC_BIT) |
			 VIODMA_FEATURE(VIRTIO_F_EVENT_IDX_BIT);

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
