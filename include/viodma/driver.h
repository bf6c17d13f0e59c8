/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * viodma/driver.h - the life of one device, seen from the driver half, whatever its type (virtio 1.2, section 3.1).
 *
 *	viodma_driver_negotiate   reset, ACKNOWLEDGE, DRIVER, the bit-33 rule, FEATURES_OK and its reading back
 *	viodma_domain_init        with driver.decision.addressing
 *	viodma_driver_queue_init  rings, in the domain; viodma_driver_queue_enable tells the device
 *	viodma_driver_ready       DRIVER_OK: the device may work
 *	...                       the device type's own calls
 *	viodma_driver_reset       status 0, read back: after VIODMA_OK the device touches memory no more (DEV-14)
 *	viodma_driver_queue_free, viodma_domain_free
 *
 * Late restriction (DRV-9) is the same once more: reset every device, free queues and domain, then from the top with
 * the platform as it now is. A device that cannot is refused by name.
 *
 * Single owner. Memory is the caller's.
 */
#ifndef VIODMA_DRIVER_H
#define VIODMA_DRIVER_H

#include <viodma/feature.h>
#include <viodma/transport.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Read transport, offered and decision; the rest is the library's. */
struct viodma_driver {
	struct viodma_transport transport;
	uint64_t offered;
	struct viodma_driver_decision decision;
	uint8_t status; /* what was written last */
};

/*
 * What viodma_driver_queue can do, for `wanted` below, whatever the device's type: RING_PACKED, INDIRECT_DESC, EVENT_IDX,
 * IN_ORDER, NOTIFICATION_DATA, RING_RESET. The last two are not accepted where the transport has no operation for them.
 */
uint64_t viodma_driver_ring_wanted(void);

/*
 * Reset the device and agree on features with it. transport is copied. Results of viodma_feature_negotiate_driver, with
 * FAILED written to the device; VIODMA_PEER_FEATURES: it cleared FEATURES_OK (it needs bit 33 and it was declined, or
 * wants something else); VIODMA_WAIT: its status is not 0 yet, call again soon, as for viodma_driver_reset; results of
 * the transport.
 */
VIODMA_MUST_USE enum viodma_result viodma_driver_negotiate(struct viodma_driver *driver,
							   const struct viodma_transport *transport,
							   const struct viodma_platform *platform,
							   const struct viodma_driver_policy *policy, uint64_t wanted);

/* Queues are enabled: let the device work. VIODMA_E_INVALID: nothing was agreed on. Results of the transport. */
VIODMA_MUST_USE enum viodma_result viodma_driver_ready(struct viodma_driver *driver);

/*
 * Write status 0 and read it back. VIODMA_OK: it is 0. VIODMA_WAIT: not yet; let the device run and call again, which
 * writes 0 once more. When to give up is the caller's to decide: a device that never gets there is VIODMA_PEER_RESET,
 * and its memory must not be reused (DRV-22).
 */
VIODMA_MUST_USE enum viodma_result viodma_driver_reset(struct viodma_driver *driver);

/* Give up on the device: FAILED. */
void viodma_driver_fail(struct viodma_driver *driver);

/*
 * Does the device say DEVICE_NEEDS_RESET? VIODMA_OK: no. VIODMA_PEER_NEEDS_RESET: it does, or has lost the status that
 * was written. VIODMA_PEER_GONE: it answers with all ones. Results of the transport.
 */
VIODMA_MUST_USE enum viodma_result viodma_driver_check(struct viodma_driver *driver);

/* Read configuration, unchanged while it was read (section 2.5.3). VIODMA_PEER_ANSWER: it never holds still. */
VIODMA_MUST_USE enum viodma_result viodma_driver_read_config(struct viodma_driver *driver, uint32_t offset,
							     void *destination, uint32_t len_bytes);

#ifdef __cplusplus
}
#endif

#endif
