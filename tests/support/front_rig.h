/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * front_rig.h - one block request after the other over a front end, by hand: a ring of four descriptors, filled in and read
 * as virtio 1.2, sections 2.7 and 5.2, say. So what is tested is the front end, and no driver half.
 *
 * How it works: everything lies in one object of memory at RIG_PHYS: ring parts a page each, header and status in a page,
 * then data. Bus addresses are physical ones plus `shift`: 0 with bit 33 clear.
 */
#ifndef VIODMA_TESTS_FRONT_RIG_H
#define VIODMA_TESTS_FRONT_RIG_H

#include <viodma/feature.h>
#include <viodma/loop.h>
#include <viodma/vhost_user_front.h>
#include <viodma/wire/blk.h>
#include <viodma/wire/ring.h>

#include <string.h>

#define RIG_PHYS UINT64_C(0x140000000)
#define RIG_SHIFT UINT64_C(0x7a0000000)
#define RIG_BYTES 65536u
#define RIG_PAGE 4096u
#define RIG_DESC 0u
#define RIG_AVAIL RIG_PAGE
#define RIG_USED (2 * RIG_PAGE)
#define RIG_HEADER (3 * RIG_PAGE)
#define RIG_STATUS (3 * RIG_PAGE + 512)
#define RIG_DATA (4 * RIG_PAGE)
#define RIG_QUEUE_SIZE 4u
#define RIG_WANTED (VIODMA_FEATURE(VIRTIO_F_VERSION_1_BIT) | VIODMA_FEATURE(VIRTIO_F_ACCESS_PLATFORM_BIT))
#define RIG_PATIENCE_NS UINT64_C(5000000000)

struct front_rig {
	struct viodma_front *front;
	const struct viodma_transport *transport;
	struct viodma_front_memory memory;
	uint64_t shift;
	uint16_t avail_idx, used_idx;
};

static inline unsigned char *rig_at(const struct front_rig *rig, uint32_t offset)
{
	return (unsigned char *)rig->memory.object.memory + offset;
}

static inline viodma_bus rig_bus(const struct front_rig *rig, uint32_t offset)
{
	return (viodma_bus){RIG_PHYS + rig->shift + offset};
}

/* Up to FEATURES_OK; *platform: bit 33 is accepted. */
static inline enum viodma_result rig_negotiate(struct front_rig *rig, uint64_t wanted, bool *platform)
{
	const struct viodma_transport_ops *ops = rig->transport->ops;
	void *context = rig->transport->context;
	uint64_t offered;
	uint8_t status = 1;
	enum viodma_result result = ops->set_status(context, 0);

	if (result == VIODMA_OK)
		result = ops->get_status(context, &status);
	if (result == VIODMA_OK && status)
		result = VIODMA_PEER_RESET;
	if (result == VIODMA_OK)
		result = ops->set_status(context, VIODMA_STATUS_ACKNOWLEDGE | VIODMA_STATUS_DRIVER);
	if (result == VIODMA_OK)
		result = ops->get_features(context, &offered);
	if (result == VIODMA_OK)
		result = ops->set_features(context, offered & wanted);
	if (result == VIODMA_OK)
		result = ops->set_status(context, 11);
	if (result == VIODMA_OK)
		result = ops->get_status(context, &status);
	if (result == VIODMA_OK && status != 11)
		result = VIODMA_PEER_FEATURES;
	if (result == VIODMA_OK) {
		*platform = (offered & wanted) >> VIRTIO_F_ACCESS_PLATFORM_BIT & 1;
		rig->shift = *platform ? RIG_SHIFT : 0;
		result = ops->set_addressing(context, *platform);
	}
	return result;
}

/* Set queue 0 up, and DRIVER_OK. */
static inline enum viodma_result rig_start(struct front_rig *rig)
{
	const struct viodma_transport_queue where = {RIG_QUEUE_SIZE, rig_bus(rig, RIG_DESC), rig_bus(rig, RIG_AVAIL),
						     rig_bus(rig, RIG_USED)};
	enum viodma_result result;

	memset(rig_at(rig, 0), 0, RIG_DATA);
	rig->avail_idx = rig->used_idx = 0;
	result = rig->transport->ops->queue_enable(rig->transport->context, 0, &where);
	return result == VIODMA_OK ? rig->transport->ops->set_status(rig->transport->context, 15) : result;
}

static inline void rig_describe(struct front_rig *rig, unsigned index, uint64_t bus, uint32_t len, unsigned flags)
{
	const struct virtq_desc desc = {viodma_le64_of(bus), viodma_le32_of(len), viodma_le16_of((uint16_t)flags),
					viodma_le16_of((uint16_t)(index + 1))};

	memcpy(rig_at(rig, RIG_DESC + 16 * index), &desc, sizeof(desc));
}

/* Make a request of three descriptors available, data at any bus address, and kick. */
static inline void rig_submit(struct front_rig *rig, uint32_t type, uint64_t sector, uint64_t data_bus, uint32_t len)
{
	const struct virtio_blk_request_header header = {viodma_le32_of(type), {0}, viodma_le64_of(sector)};
	const viodma_le16 head = viodma_le16_of(0), idx = viodma_le16_of(++rig->avail_idx);
	const unsigned write = type == VIRTIO_BLK_T_OUT ? 0 : VIRTQ_DESC_F_WRITE;

	memcpy(rig_at(rig, RIG_HEADER), &header, sizeof(header));
	*rig_at(rig, RIG_STATUS) = 0xee;
	rig_describe(rig, 0, rig_bus(rig, RIG_HEADER).v, sizeof(header), VIRTQ_DESC_F_NEXT);
	rig_describe(rig, 1, data_bus, len, VIRTQ_DESC_F_NEXT | write);
	rig_describe(rig, 2, rig_bus(rig, RIG_STATUS).v, 1, VIRTQ_DESC_F_WRITE);
	memcpy(rig_at(rig, RIG_AVAIL + VIRTQ_AVAIL_RING((rig->avail_idx - 1u) % RIG_QUEUE_SIZE)), &head, sizeof(head));
	__atomic_store_n((uint16_t *)(void *)rig_at(rig, RIG_AVAIL + VIRTQ_AVAIL_IDX), idx.wire, __ATOMIC_SEQ_CST);
	rig->transport->ops->notify(rig->transport->context, 0);
}

/* Wait for the next used element. */
static inline enum viodma_result rig_complete(struct front_rig *rig, uint8_t *status)
{
	const uint64_t deadline_ns = viodma_loop_now_ns() + RIG_PATIENCE_NS;
	viodma_le16 idx;

	for (;;) {
		enum viodma_result result;

		idx.wire = __atomic_load_n((uint16_t *)(void *)rig_at(rig, RIG_USED + VIRTQ_USED_IDX), __ATOMIC_SEQ_CST);
		if (viodma_le16_get(idx) != rig->used_idx)
			break;
		result = viodma_front_wait(rig->front, deadline_ns);
		if (result != VIODMA_OK)
			return result;
	}
	rig->used_idx++;
	*status = *rig_at(rig, RIG_STATUS);
	return VIODMA_OK;
}

static inline enum viodma_result rig_request(struct front_rig *rig, uint32_t type, uint64_t sector, uint64_t data_bus,
					     uint32_t len, uint8_t *status)
{
	rig_submit(rig, type, sector, data_bus, len);
	return rig_complete(rig, status);
}

#endif
