/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * viodma/feature.h - feature bits and status, and THE rule of feature bit 33 (virtio 1.2, sections 2.1, 2.2 and 6).
 *
 * Feature sets are 64-bit masks. Decisions use accepted bits, never offered ones (DEV-2).
 * Thread: pure functions.
 */
#ifndef VIODMA_FEATURE_H
#define VIODMA_FEATURE_H

#include <viodma/platform.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VIODMA_FEATURE(bit) ((uint64_t)1 << (bit))

/* Device-independent bits, virtio 1.2 section 6 (24 to 40). */
#define VIRTIO_F_NOTIFY_ON_EMPTY_BIT 24
#define VIRTIO_F_ANY_LAYOUT_BIT 27
#define VIRTIO_F_INDIRECT_DESC_BIT 28
#define VIRTIO_F_EVENT_IDX_BIT 29
#define VIRTIO_F_VERSION_1_BIT 32
#define VIRTIO_F_ACCESS_PLATFORM_BIT 33
#define VIRTIO_F_RING_PACKED_BIT 34
#define VIRTIO_F_IN_ORDER_BIT 35
#define VIRTIO_F_ORDER_PLATFORM_BIT 36
#define VIRTIO_F_SR_IOV_BIT 37
#define VIRTIO_F_NOTIFICATION_DATA_BIT 38
#define VIRTIO_F_NOTIF_CONFIG_DATA_BIT 39
#define VIRTIO_F_RING_RESET_BIT 40

/* Device status, virtio 1.2 section 2.1. */
#define VIODMA_STATUS_ACKNOWLEDGE 1u
#define VIODMA_STATUS_DRIVER 2u
#define VIODMA_STATUS_DRIVER_OK 4u
#define VIODMA_STATUS_FEATURES_OK 8u
#define VIODMA_STATUS_NEEDS_RESET 64u
#define VIODMA_STATUS_FAILED 128u

/* What the device half does with bit 33. */
enum viodma_platform_dma {
	VIODMA_PLATFORM_DMA_OFF,    /* not offered: physical addresses */
	VIODMA_PLATFORM_DMA_OFFER,  /* offered; a driver that declines it uses physical addresses */
	VIODMA_PLATFORM_DMA_REQUIRE /* offered; a driver that declines it is refused (DEV-8) */
};

/* What addresses in the rings mean, once negotiated. */
enum viodma_addressing {
	VIODMA_ADDRESSING_PHYSICAL, /* bit 33 clear: bus address = physical address (DEV-4) */
	VIODMA_ADDRESSING_PLATFORM  /* bit 33 accepted: the platform's translation (DEV-3) */
};

struct viodma_negotiation {
	uint64_t offered;  /* what the device half offered: exactly what the transport showed the driver */
	uint64_t accepted; /* what the driver accepted */
	enum viodma_platform_dma policy;
	/*
	 * The seed's alternative: a distinct PLATFORM_DMA feature bit, mutually exclusive with 33. 0 = off (the
	 * default); else the bit's number, which is not assigned by the standard.
	 */
	unsigned platform_dma_bit;
};

/*
 * The bit-33 rule, device half. Pre: negotiation and addressing not NULL.
 * VIODMA_OK: *addressing says what ring addresses mean. Otherwise the device must not touch any ring:
 * VIODMA_PEER_NOT_OFFERED, _NO_VERSION_1, _BOTH_BITS, _DECLINED; *addressing is unchanged.
 */
VIODMA_MUST_USE enum viodma_result viodma_feature_negotiate_device(const struct viodma_negotiation *negotiation,
								   enum viodma_addressing *addressing);

/*
 * The device-independent part of an offer (DEV-1): VERSION_1, INDIRECT_DESC, EVENT_IDX, RING_PACKED, RING_RESET, and,
 * unless the policy is off, bit 33, or PLATFORM_DMA in its place where one is configured. Never both. ring_also: of
 * IN_ORDER, ORDER_PLATFORM and NOTIFICATION_DATA those to offer, too; its other bits are not looked at. A caller whose
 * queues or transport cannot do one of all these takes it out of the answer.
 */
uint64_t viodma_feature_offer_device(enum viodma_platform_dma policy, unsigned platform_dma_bit, uint64_t ring_also);

/* What the driver half wants of one device. Zeroed: the default, which is right on every platform. */
struct viodma_driver_policy {
	bool require_platform_dma; /* refuse a device that does not offer bit 33, on a direct platform too (DEV-1) */
	/*
	 * On a restricted platform whose pool's bus addresses equal physical ones: run a device that does not offer bit 33
	 * on that pool. The weaker promise: clear promises nothing about limits. The decision says so, for the log.
	 */
	bool pool_at_physical;
	/* Do not accept bit 33 (against DRV-1; for tests): the device then runs as if it did not offer it, or is refused. */
	bool decline_platform_dma; /* not looked at where it is required */
	bool legacy; /* direct platforms: also run a device without VERSION_1 */
	/* The seed's alternative, as in struct viodma_negotiation: 0, or the number of a distinct PLATFORM_DMA bit. */
	unsigned platform_dma_bit;
};

struct viodma_driver_decision {
	uint64_t accepted; /* what to accept: of what was offered and wanted, with bits 32, 33 (or its alternative) and 36 */
	enum viodma_addressing addressing;
	bool pass_through;     /* the platform's pass-through has to be programmed for this device */
	bool pool_at_physical; /* it runs on the weaker promise: log it */
	bool order_platform;   /* bit 36 is accepted, and the platform orders by the bus: its barriers are needed (DRV-23) */
	/* The rule that decided: "DRV-2" or "DRV-3" where it runs, else as viodma_result_requirement. */
	const char *rule;
};

/*
 * The bit-33 rule, driver half: what to accept of `offered`, on this platform. wanted: the bits this driver can use
 * otherwise (device type, ring); bits 32, 33 and 36 need not be in it. The decision is for this device alone.
 * VIODMA_OK: go on. Otherwise the device must be refused before DRIVER_OK, with status FAILED, and the decision has only
 * its rule: VIODMA_PEER_RESTRICTED, _NO_PASS_THROUGH, _BOTH_OFFERED, _NO_PLATFORM_DMA; _LEGACY: 33 is offered without
 * VERSION_1, or VERSION_1 is not offered and policy or platform do not allow that.
 */
VIODMA_MUST_USE enum viodma_result viodma_feature_negotiate_driver(uint64_t offered, uint64_t wanted,
								   const struct viodma_platform *platform,
								   const struct viodma_driver_policy *policy,
								   struct viodma_driver_decision *decision);

/*
 * The name of one device-independent feature bit ("VIRTIO_F_VERSION_1"); NULL for bits without one, device-specific
 * bits (0 to 23) among them.
 */
const char *viodma_feature_name(unsigned bit);

#ifdef __cplusplus
}
#endif

#endif
