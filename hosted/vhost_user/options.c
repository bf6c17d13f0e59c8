/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * options.c - how it works: an option left at zero gets its default; one out of range is refused, and named. What a back
 * end offers follows from the options and from which operations its device has.
 */
#include "hosted/vhost_user/backend.h"

#include <viodma/wire/ring.h>

#include <stdarg.h>
#include <stdio.h>

#define VHOST_F_LOG_ALL_BIT 26u /* of vhost; front ends set it while they migrate a VM */
#define RING_FEATURES_ALSO (VIODMA_FEATURE(VIRTIO_F_IN_ORDER_BIT) | VIODMA_FEATURE(VIRTIO_F_ORDER_PLATFORM_BIT))

void viodma_options_set_defaults(struct viodma_vhost_user_options *options)
{
	if (!options->name)
		options->name = "device";
	if (!options->queue_count)
		options->queue_count = 1;
	if (!options->workers)
		options->workers = 1;
	if (!options->queue_size_max)
		options->queue_size_max = 1024;
	if (!options->segments_max)
		options->segments_max = options->queue_size_max;
	if (!options->pieces_max)
		options->pieces_max = 4 * options->segments_max;
	if (!options->request_bytes_max)
		options->request_bytes_max = 4u << 20;
	if (!options->iotlb_entries)
		options->iotlb_entries = 65536;
	if (!options->revoke_timeout_ms)
		options->revoke_timeout_ms = 10000;
}

/* One option's value is not what it has to be. */
__attribute__((format(printf, 3, 4))) static bool wrong(struct viodma_vhost_user *backend, const char *option,
							const char *format, ...)
{
	char text[200];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	viodma_backend_log(backend, "%s is %s", option, text);
	return false;
}

/* May a back end offer this bit as PLATFORM_DMA? Not if it means something already, here or to vhost-user. */
static bool bit_is_free(unsigned bit)
{
	return bit >= 24 && bit <= 63 && bit != VHOST_F_LOG_ALL_BIT && bit != VHOST_USER_F_PROTOCOL_FEATURES_BIT &&
	       !viodma_feature_name(bit);
}

static bool platform_dma_sound(struct viodma_vhost_user *backend)
{
	const unsigned policy = backend->options.platform_dma, bit = backend->options.platform_dma_bit;

	if (policy > VIODMA_PLATFORM_DMA_REQUIRE)
		return wrong(backend, "platform_dma", "%u, expected VIODMA_PLATFORM_DMA_OFF, _OFFER or _REQUIRE",
			     policy);
	if (bit && !bit_is_free(bit)) {
		const char *name = bit == VHOST_F_LOG_ALL_BIT ? "VHOST_F_LOG_ALL" :
				   bit == VHOST_USER_F_PROTOCOL_FEATURES_BIT ? "VHOST_USER_F_PROTOCOL_FEATURES" :
				   bit >= 24 && bit <= 63 ? viodma_feature_name(bit) : "out of range";

		return wrong(backend, "platform_dma_bit",
			     "%u (%s), expected 0, or a bit from 24 to 63 that has no meaning yet", bit, name);
	}
	return true;
}

static bool sizes_sound(struct viodma_vhost_user *backend)
{
	const struct viodma_vhost_user_options *options = &backend->options;

	if (options->queue_count > VIODMA_BACKEND_QUEUES_MAX)
		return wrong(backend, "queue_count", "%u, expected 1 to %u", options->queue_count,
			     VIODMA_BACKEND_QUEUES_MAX);
	if (options->workers > VIODMA_BACKEND_WORKERS_MAX)
		return wrong(backend, "workers", "%u, expected 1 to %u", options->workers, VIODMA_BACKEND_WORKERS_MAX);
	if (options->workers > 1 && !backend->ops.worker_begins)
		return wrong(backend, "workers", "%u, expected 1: this device has no more than one", options->workers);
	if (options->queue_size_max > VIRTQ_SIZE_MAX || (options->queue_size_max & (options->queue_size_max - 1)))
		return wrong(backend, "queue_size_max", "%u, expected a power of two from 1 to %u",
			     options->queue_size_max, VIRTQ_SIZE_MAX);
	if (options->segments_max > VIRTQ_SIZE_MAX)
		return wrong(backend, "segments_max", "%u, expected 1 to %u", options->segments_max, VIRTQ_SIZE_MAX);
	if (options->pieces_max < options->segments_max)
		return wrong(backend, "pieces_max", "%u, expected at least segments_max, %u", options->pieces_max,
			     options->segments_max);
	if (options->ring_features_also & ~RING_FEATURES_ALSO)
		return wrong(backend, "ring_features_also", "0x%llx, expected VIRTIO_F_IN_ORDER and _ORDER_PLATFORM at most",
			     (unsigned long long)options->ring_features_also);
	if (options->access != VIODMA_ACCESS_PIN && options->access != VIODMA_ACCESS_COPY)
		return wrong(backend, "access", "%u, expected VIODMA_ACCESS_PIN or _COPY", (unsigned)options->access);
	return true;
}

bool viodma_options_sound(struct viodma_vhost_user *backend)
{
	const struct viodma_vhost_user_options *options = &backend->options;
	uint32_t least;

	if (!backend->ops.process) {
		viodma_backend_log(backend, "the device has no process operation");
		return false;
	}
	if (!platform_dma_sound(backend) || !sizes_sound(backend))
		return false;
	if (!options->socket_path && options->socket_fd <= 0)
		return wrong(backend, "socket_path", "NULL and socket_fd %d: expected one of them; descriptor 0 is not "
						     "taken, since a forgotten option looks like it",
			     options->socket_fd);
	least = viodma_iotlb_least_capacity(options->queue_size_max, options->request_bytes_max,
					    options->segments_max);
	if (options->platform_dma != VIODMA_PLATFORM_DMA_OFF && options->iotlb_entries < least) {
		viodma_backend_log(backend,
				   "%u IOTLB entries are too few for rings of %u, requests of %llu bytes: %u are due",
				   options->iotlb_entries, options->queue_size_max,
				   (unsigned long long)options->request_bytes_max, least);
		return false;
	}
	return true;
}

uint64_t viodma_options_features(const struct viodma_vhost_user *backend)
{
	const struct viodma_vhost_user_options *options = &backend->options;
	/* A kick is an eventfd: there is no room for notification data. */
	const uint64_t rings = viodma_feature_offer_device(options->platform_dma, options->platform_dma_bit,
							   options->ring_features_also &
								   ~VIODMA_FEATURE(VIRTIO_F_NOTIFICATION_DATA_BIT));

	return (rings & ~options->ring_features_masked) | VIODMA_FEATURE(VHOST_USER_F_PROTOCOL_FEATURES_BIT) |
	       (backend->ops.features ? backend->ops.features(backend->device) : 0);
}

uint64_t viodma_options_protocol(const struct viodma_vhost_user *backend)
{
	uint64_t offered = VIODMA_FEATURE(VHOST_USER_PROTOCOL_F_REPLY_ACK_BIT) |
			   VIODMA_FEATURE(VHOST_USER_PROTOCOL_F_BACKEND_REQ_BIT) |
			   VIODMA_FEATURE(VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD_BIT) |
			   VIODMA_FEATURE(VHOST_USER_PROTOCOL_F_RESET_DEVICE_BIT) |
			   VIODMA_FEATURE(VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS_BIT) |
			   VIODMA_FEATURE(VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS_BIT) |
			   VIODMA_FEATURE(VHOST_USER_PROTOCOL_F_STATUS_BIT);

	if (backend->ops.read_config)
		offered |= VIODMA_FEATURE(VHOST_USER_PROTOCOL_F_CONFIG_BIT);
	if (backend->options.queue_count > 1)
		offered |= VIODMA_FEATURE(VHOST_USER_PROTOCOL_F_MQ_BIT);
	return offered & ~backend->options.protocol_features_masked;
}
