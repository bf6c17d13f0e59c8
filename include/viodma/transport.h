/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * viodma/transport.h - how the driver half talks to a device about everything but data: features, status, configuration,
 * queues, notifications. virtio-pci, virtio-mmio and a vhost-user front end each fill in this structure.
 *
 * Bus addresses of rings come from the domain. Every operation may fail: VIODMA_PEER_GONE when the device has gone,
 * VIODMA_PEER_* when it misbehaves, VIODMA_E_TIMEOUT, VIODMA_E_IO. Operations may block, but for `notify`. All are
 * needed, but for those of which it is said that they may be NULL; NULL in place of another is not found out. Of them
 * viodma_driver_queue_enable uses queue_size_max and queue_enable, viodma_driver_queue_kick notify (or notify_data) alone:
 * whoever does without viodma_driver_negotiate, and without a device type's driver, needs no more.
 *
 * Single owner: the driver's.
 */
#ifndef VIODMA_TRANSPORT_H
#define VIODMA_TRANSPORT_H

#include <viodma/result.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Where a queue lies, for the device. */
struct viodma_transport_queue {
	uint32_t size; /* descriptors */
	viodma_bus desc, avail, used; /* packed: descriptor ring, driver and device event suppression */
};

struct viodma_transport_ops {
	/* Virtio 1.2, sections 2.1, 2.2. Status is bits of VIODMA_STATUS_*. */
	enum viodma_result (*get_features)(void *context, uint64_t *offered);
	enum viodma_result (*set_features)(void *context, uint64_t accepted);
	enum viodma_result (*get_status)(void *context, uint8_t *status);
	/*
	 * 0: reset; get_status reads 0 when it is done, and until then 0 may be written again. All queues end with it:
	 * the transport forgets them by itself.
	 */
	enum viodma_result (*set_status)(void *context, uint8_t status);
	/*
	 * Configuration space, section 2.5. write_config may be NULL: nothing can be written then. config_generation
	 * may be NULL: configuration does not change while it is read.
	 */
	enum viodma_result (*read_config)(void *context, uint32_t offset, void *destination, uint32_t len_bytes);
	enum viodma_result (*write_config)(void *context, uint32_t offset, const void *source, uint32_t len_bytes);
	enum viodma_result (*config_generation)(void *context, uint32_t *generation);
	/* The largest size a queue may have, descriptors; 0: there is no such queue. */
	enum viodma_result (*queue_size_max)(void *context, unsigned queue, uint32_t *size);
	/* Set up a queue and enable it: after FEATURES_OK, before DRIVER_OK, once between two resets. */
	enum viodma_result (*queue_enable)(void *context, unsigned queue, const struct viodma_transport_queue *where);
	/*
	 * After FEATURES_OK, before queue_enable: from now on the addresses of rings and buffers are the platform's
	 * bus addresses (true), or physical ones, as bit 33 has it. For transports that tell a device of its rings in
	 * another form then, such as vhost-user. NULL: it makes no difference (registers of PCI and MMIO).
	 */
	enum viodma_result (*set_addressing)(void *context, bool platform);
	/* Kick the device. */
	void (*notify)(void *context, unsigned queue);
	/*
	 * The same with VIRTIO_F_NOTIFICATION_DATA accepted: data is as in section 2.9, the queue's number included. NULL: the
	 * transport cannot carry it, and viodma_driver_negotiate does not accept the feature.
	 */
	void (*notify_data)(void *context, uint32_t data);
	/*
	 * With VIRTIO_F_RING_RESET accepted (section 2.6.1): reset one queue. VIODMA_OK: the device touches nothing of it any
	 * more (DEV-14), and queue_enable may be called again. VIODMA_WAIT: not yet; call again. NULL: the transport cannot,
	 * and viodma_driver_negotiate does not accept the feature.
	 */
	enum viodma_result (*queue_reset)(void *context, unsigned queue);
};

struct viodma_transport {
	const struct viodma_transport_ops *ops;
	void *context;
	const char *name; /* of the device, in messages */
};

#ifdef __cplusplus
}
#endif

#endif
