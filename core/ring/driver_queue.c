/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver_queue.c - how it works: the life of a virtqueue, driver half.
 *
 *   init -> enable -> (driver_add.c, driver_get.c, driver_notify.c) -> the device is reset, or this queue -> take_back ->
 *   free, or restart and enable once more
 *
 * take_back goes over the chains once. At its end what the device may write is cleared, and free looks at it once more:
 * what stands there then was written by a device that had promised to touch memory no more (DEV-14).
 */
#include "driver_ring.h"

#include <viodma/port.h>

static bool power_of_two(uint32_t number)
{
	return number && !(number & (number - 1));
}

static bool config_holds(const struct viodma_driver_queue_config *config)
{
	return config->domain && config->storage && config->size && (config->packed || power_of_two(config->size)) &&
	       config->size <= VIRTQ_SIZE_MAX &&
	       config->storage_bytes >= VIODMA_DRIVER_QUEUE_STORAGE_BYTES(config->size) &&
	       !((uintptr_t)config->storage & (_Alignof(struct viodma_driver_chain) - 1)) &&
	       config->tables <= config->size && config->table_descriptors <= config->size &&
	       (!config->tables || config->table_descriptors);
}

enum viodma_result viodma_driver_queue_break(struct viodma_driver_queue *queue, enum viodma_result reason)
{
	if (queue->broken == VIODMA_OK)
		queue->broken = reason;
	return reason;
}

/* ---- what the device says ---- */

enum viodma_result viodma_driver_queue_size_max(const struct viodma_transport *transport, unsigned index,
						uint32_t *size)
{
	uint32_t most = 0;
	enum viodma_result result = transport->ops->queue_size_max(transport->context, index, &most);

	*size = 0;
	if (result != VIODMA_OK)
		return result;
	if (!most)
		return VIODMA_E_NOT_FOUND;
	for (*size = VIRTQ_SIZE_MAX; *size > most;) /* = DRV-17 */
		*size /= 2;
	return VIODMA_OK;
}

void viodma_driver_queue_features(struct viodma_driver_queue_config *config, const struct viodma_driver *driver)
{
	uint64_t accepted = driver->decision.accepted;

	config->indirect_desc = (accepted & VIODMA_FEATURE(VIRTIO_F_INDIRECT_DESC_BIT)) != 0; /* = DRV-14 */
	config->event_idx = (accepted & VIODMA_FEATURE(VIRTIO_F_EVENT_IDX_BIT)) != 0;
	config->order_platform = driver->decision.order_platform; /* = DRV-23 */
	config->packed = (accepted & VIODMA_FEATURE(VIRTIO_F_RING_PACKED_BIT)) != 0;
	config->in_order = (accepted & VIODMA_FEATURE(VIRTIO_F_IN_ORDER_BIT)) != 0;
	config->notification_data = (accepted & VIODMA_FEATURE(VIRTIO_F_NOTIFICATION_DATA_BIT)) != 0;
}

/* ---- life ---- */

/* Everything is free, nothing is out; the rings' memory is clear. */
static void start(struct viodma_driver_queue *queue)
{
	const uint32_t size = queue->config.size, tables = queue->config.tables;
	uint32_t i;

	for (i = 0; i < size; i++) {
		queue->chains[i].token = NULL;
		queue->next[i] = (uint16_t)(i + 1);
	}
	queue->next[size - 1] = 0; /* a circle for IN_ORDER; else nobody goes beyond what is free */
	for (i = 0; i < tables; i++)
		queue->table_next[i] = i + 1 < tables ? i + 1 : VIODMA_DRIVER_NO_TABLE;
	queue->table_free = tables ? 0 : VIODMA_DRIVER_NO_TABLE;
	queue->broken = VIODMA_OK;
	queue->free_descriptors = queue->size = size;
	queue->out = queue->batch = queue->unpublished = queue->unkicked = queue->added = queue->in_order_left = 0;
	queue->free_head = queue->oldest = 0;
	queue->avail_idx = queue->published_idx = queue->used_idx = queue->seen_used = 0;
	queue->avail_flags = queue->published_flags = VIODMA_DRIVER_AVAILABLE;
	queue->used_flags = VIODMA_DRIVER_LAP;
	queue->packed = queue->config.packed;
	queue->in_order = queue->config.in_order;
	queue->event_idx = queue->config.event_idx;
	queue->order_platform = queue->config.order_platform;
	queue->calls_off = queue->cleared = queue->reset = false;
	queue->taken_back = 0;
}

enum viodma_result viodma_driver_queue_init(struct viodma_driver_queue *queue,
					    const struct viodma_driver_queue_config *config)
{
	unsigned char *storage = config->storage;
	enum viodma_result result;

	if (!config_holds(config))
		return VIODMA_E_INVALID;
	memset(queue, 0, sizeof(*queue));
	queue->config = *config;
	if (!config->indirect_desc)
		queue->config.tables = 0; /* = DRV-14 */
	if (!queue->config.tables)
		queue->config.table_descriptors = 0;
	queue->chains = (struct viodma_driver_chain *)(void *)storage;
	storage += config->size * sizeof(struct viodma_driver_chain);
	queue->table_next = (uint32_t *)(void *)storage;
	storage += config->size * sizeof(uint32_t);
	queue->next = (uint16_t *)(void *)storage;
	start(queue);
	result = viodma_driver_memory_make(queue);
	if (result != VIODMA_OK) {
		(void)viodma_driver_memory_release(queue);
		queue->broken = VIODMA_E_RESET;
	}
	return result;
}

enum viodma_result viodma_driver_queue_enable(struct viodma_driver_queue *queue,
					      const struct viodma_transport *transport)
{
	struct viodma_transport_queue where = {.size = queue->config.size};
	enum viodma_result result;
	uint32_t size_max;

	if (queue->broken != VIODMA_OK)
		return queue->broken;
	result = transport->ops->queue_size_max(transport->context, queue->config.index, &size_max);
	if (result != VIODMA_OK)
		return result;
	if (!VIODMA_REQUIRE(DRV_17, queue->config.size <= size_max))
		return VIODMA_E_LIMIT;
	where.desc = queue->driver_area.bus; /* = DRV-2 */
	where.avail = queue->avail_area.len_bytes ?
			      queue->avail_area.bus :
			      viodma_dma_memory_bus(&queue->driver_area,
						    (uint64_t)((uintptr_t)queue->avail - (uintptr_t)queue->desc));
	where.used = queue->device_area.bus;
	return transport->ops->queue_enable(transport->context, queue->config.index, &where);
}

enum viodma_result viodma_driver_queue_take_back(struct viodma_driver_queue *queue, void **token)
{
	if (!queue->used)
		return VIODMA_EMPTY;
	(void)viodma_driver_queue_break(queue, VIODMA_E_RESET);
	for (; queue->taken_back < queue->size; queue->taken_back++) {
		*token = queue->chains[queue->taken_back].token;
		if (*token) {
			(void)viodma_driver_chain_end(queue, queue->taken_back++, queue->packed, queue->in_order);
			queue->out--;
			return VIODMA_OK;
		}
	}
	if (!queue->cleared)
		viodma_driver_memory_clear(queue, false);
	queue->cleared = true;
	return VIODMA_EMPTY;
}

/* Did the device write after it had promised not to? */
static bool wrote_late(const struct viodma_driver_queue *queue)
{
	return queue->cleared && !VIODMA_REQUIRE(DEV_14, viodma_driver_memory_still_clear(queue));
}

enum viodma_result viodma_driver_queue_free(struct viodma_driver_queue *queue)
{
	bool late;

	if (queue->out)
		return VIODMA_E_BUSY;
	if (!queue->used)
		return VIODMA_OK;
	late = wrote_late(queue);
	queue->broken = VIODMA_E_RESET;
	if (viodma_driver_memory_release(queue) != VIODMA_OK)
		return VIODMA_E_QUARANTINED; /* = DRV-22 */
	return late ? VIODMA_PEER_LATE_WRITE : VIODMA_OK;
}

/* ---- this queue alone ---- */

enum viodma_result viodma_driver_queue_reset(struct viodma_driver_queue *queue, const struct viodma_driver *driver)
{
	const struct viodma_transport *transport = &driver->transport;
	enum viodma_result result;

	if (!(driver->decision.accepted & VIODMA_FEATURE(VIRTIO_F_RING_RESET_BIT)) || !transport->ops->queue_reset)
		return VIODMA_E_UNSUPPORTED;
	if (!queue->used)
		return VIODMA_E_INVALID;
	(void)viodma_driver_queue_break(queue, VIODMA_E_RESET);
	result = transport->ops->queue_reset(transport->context, queue->config.index);
	queue->reset = result == VIODMA_OK;
	return result;
}

enum viodma_result viodma_driver_queue_restart(struct viodma_driver_queue *queue)
{
	void *token;

	if (!queue->used || queue->out || !VIODMA_REQUIRE(DRV_25, queue->reset))
		return VIODMA_E_BUSY;
	if (viodma_driver_queue_take_back(queue, &token) == VIODMA_OK || wrote_late(queue))
		return VIODMA_PEER_LATE_WRITE;
	viodma_driver_memory_clear(queue, true);
	start(queue);
	return VIODMA_OK;
}
