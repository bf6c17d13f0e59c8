/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * viodma/transport.h - how the driver half talks to a device about everything but data: features, status, configuration,
 * queues, notifications. virtio-pci, virtio-mmio and a vhost-user front end each fill in this structure.
 *
 * Bus addresses of rings come from the domain. Every operation may fail: VIODMA_PEER_GONE when the device has gone,
 * VIODMA_PEER_* when it misbehaves, VIODMA_E_TIMEOUT, VIODMA_E_IO. Operations may block, but for `notify`.
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
	viodma_bus desc, avail, used;
};

struct viodma_transport_ops {
	/* Virtio 1.2, sections 2.1, 2.2. Status is bits of VIODMA_STATUS_*. */
	enum viodma_result (*get_features)(void *context, uint64_t *offered);
	enum viodma_result (*set_features)(void *context, uint64_t accepted);
	enum viodma_result (*get_status)(void *context, uint8_t *status);
	enum viodma_result (*set_status)(void *context, uint8_t status); /* 0: reset; get_status reads 0 when it is done */
	/* Configuration space, section 2.5. generation may be NULL: it does not change while it is read. */
	enum viodma_result (*read_config)(void *context, uint32_t offset, void *destination, uint32_t len_bytes);
	enum viodma_result (*write_config)(void *context, uint32_t offset, const void *source, uint32_t len_bytes);
	enum viodma_result (*config_generation)(void *context, uint32_t *generation);
	/* Queues: the largest size a queue may have (0: there is no such queue); set up and enable; stop for good. */
	enum viodma_result (*queue_size_max)(void *context, unsigned queue, uint32_t *size);
	enum viodma_result (*queue_enable)(void *context, unsigned queue, const struct viodma_transport_queue *where);
	/* After set_features, before queue_enable: addresses of rings and buffers mean this from now on. May be NULL. */
	enum viodma_result (*set_addressing)(void *context, bool platform);
	/* Kick the device. */
	void (*notify)(void *context, unsigned queue);
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
