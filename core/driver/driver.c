/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver.c - how it works: the steps of virtio 1.2, section 3.1.1, each checked by reading back what it led to.
 *
 *   status 0, until it reads 0 -> ACKNOWLEDGE -> DRIVER -> features: the rule of bit 33 decides (viodma/feature.h) ->
 *   FEATURES_OK, until it reads so -> (queues) -> DRIVER_OK
 *
 * Nothing here waits: a device that takes its time is answered with VIODMA_WAIT, and the caller has the clock.
 * What goes wrong before DRIVER_OK leaves FAILED with the device, so that it knows, too.
 */
#include <viodma/driver.h>
#include <viodma/port.h>

#include "../base/require.h"

#define CONFIG_TRIES 16
#define STATUS_GONE 0xffu /* what a bus answers for a device that is no more */

static enum viodma_result put_status(struct viodma_driver *driver, unsigned status)
{
	driver->status = (uint8_t)status;
	return driver->transport.ops->set_status(driver->transport.context, driver->status);
}

static enum viodma_result get_status(struct viodma_driver *driver, uint8_t *status)
{
	*status = 0;
	return driver->transport.ops->get_status(driver->transport.context, status);
}

enum viodma_result viodma_driver_reset(struct viodma_driver *driver)
{
	enum viodma_result result = put_status(driver, 0);
	uint8_t status;

	if (result == VIODMA_OK)
		result = get_status(driver, &status);
	if (result != VIODMA_OK)
		return result;
	return VIODMA_REQUIRE(DEV_21, status == 0) ? VIODMA_OK : VIODMA_WAIT;
}

void viodma_driver_fail(struct viodma_driver *driver)
{
	(void)put_status(driver, driver->status | VIODMA_STATUS_FAILED);
}

/* The device keeps FEATURES_OK, and so agrees with what was accepted. */
static enum viodma_result agree(struct viodma_driver *driver)
{
	enum viodma_result result = put_status(driver, driver->status | VIODMA_STATUS_FEATURES_OK);
	uint8_t status;

	if (result == VIODMA_OK)
		result = get_status(driver, &status);
	if (result != VIODMA_OK)
		return result;
	return VIODMA_REQUIRE(DEV_8, status & VIODMA_STATUS_FEATURES_OK) ? VIODMA_OK : VIODMA_PEER_FEATURES;
}

uint64_t viodma_driver_ring_wanted(void)
{
	return VIODMA_FEATURE(VIRTIO_F_INDIRECT_DESC_BIT) | VIODMA_FEATURE(VIRTIO_F_EVENT_IDX_BIT) |
	       VIODMA_FEATURE(VIRTIO_F_RING_PACKED_BIT) | VIODMA_FEATURE(VIRTIO_F_IN_ORDER_BIT) |
	       VIODMA_FEATURE(VIRTIO_F_NOTIFICATION_DATA_BIT) | VIODMA_FEATURE(VIRTIO_F_RING_RESET_BIT);
}

/* What the transport cannot carry is not accepted. */
static uint64_t carried(const struct viodma_transport_ops *ops, uint64_t wanted)
{
	if (!ops->notify_data)
		wanted &= ~VIODMA_FEATURE(VIRTIO_F_NOTIFICATION_DATA_BIT);
	if (!ops->queue_reset)
		wanted &= ~VIODMA_FEATURE(VIRTIO_F_RING_RESET_BIT);
	return wanted;
}

static enum viodma_result negotiate(struct viodma_driver *driver, const struct viodma_platform *platform,
				    const struct viodma_driver_policy *policy, uint64_t wanted)
{
	const struct viodma_transport_ops *ops = driver->transport.ops;
	void *context = driver->transport.context;
	enum viodma_result result = ops->get_features(context, &driver->offered);

	if (result != VIODMA_OK)
		return result;
	result = viodma_feature_negotiate_driver(driver->offered, carried(ops, wanted), platform, policy,
						 &driver->decision);
	if (result != VIODMA_OK)
		return result; /* = DRV-4 */
	result = ops->set_features(context, driver->decision.accepted);
	/* A device from before the standard knows no FEATURES_OK. */
	if (result == VIODMA_OK && driver->decision.accepted & VIODMA_FEATURE(VIRTIO_F_VERSION_1_BIT))
		result = agree(driver);
	if (result == VIODMA_OK && ops->set_addressing)
		result = ops->set_addressing(context, driver->decision.addressing == VIODMA_ADDRESSING_PLATFORM);
	return result;
}

enum viodma_result viodma_driver_negotiate(struct viodma_driver *driver, const struct viodma_transport *transport,
					   const struct viodma_platform *platform,
					   const struct viodma_driver_policy *policy, uint64_t wanted)
{
	enum viodma_result result;

	memset(driver, 0, sizeof(*driver));
	driver->transport = *transport;
	result = viodma_driver_reset(driver); /* = DRV-9: what was agreed on before is void */
	if (result != VIODMA_OK)
		return result;
	result = put_status(driver, VIODMA_STATUS_ACKNOWLEDGE);
	if (result == VIODMA_OK)
		result = put_status(driver, VIODMA_STATUS_ACKNOWLEDGE | VIODMA_STATUS_DRIVER);
	if (result == VIODMA_OK)
		result = negotiate(driver, platform, policy, wanted);
	if (result != VIODMA_OK)
		viodma_driver_fail(driver);
	return result;
}

enum viodma_result viodma_driver_ready(struct viodma_driver *driver)
{
	if (!(driver->status & VIODMA_STATUS_DRIVER) || driver->status & VIODMA_STATUS_FAILED)
		return VIODMA_E_INVALID;
	return put_status(driver, driver->status | VIODMA_STATUS_DRIVER_OK);
}

enum viodma_result viodma_driver_check(struct viodma_driver *driver)
{
	uint8_t status;
	enum viodma_result result = get_status(driver, &status);

	if (result != VIODMA_OK)
		return result;
	if (status == STATUS_GONE)
		return VIODMA_PEER_GONE;
	/* A device that has forgotten what it was told works as little as one that says so. */
	if (!VIODMA_REQUIRE(DEV_20,
			    !(status & VIODMA_STATUS_NEEDS_RESET) && (status & driver->status) == driver->status))
		return VIODMA_PEER_NEEDS_RESET;
	return VIODMA_OK;
}

enum viodma_result viodma_driver_read_config(struct viodma_driver *driver, uint32_t offset, void *destination,
					     uint32_t len_bytes)
{
	const struct viodma_transport_ops *ops = driver->transport.ops;
	void *context = driver->transport.context;
	uint32_t before = 0, after = 0;
	unsigned tries;

	for (tries = 0; tries < CONFIG_TRIES; tries++) {
		enum viodma_result result = VIODMA_OK;

		if (ops->config_generation)
			result = ops->config_generation(context, &before);
		if (result == VIODMA_OK)
			result = ops->read_config(context, offset, destination, len_bytes);
		if (result == VIODMA_OK && ops->config_generation)
			result = ops->config_generation(context, &after);
		if (result != VIODMA_OK || before == after)
			return result;
	}
	return VIODMA_REQUIRE(DEV_22, false) ? VIODMA_OK : VIODMA_PEER_ANSWER;
}
