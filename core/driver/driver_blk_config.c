/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver_blk_config.c - how it works: the block driver's view of its device's configuration (virtio 1.2, section 5.2.4):
 * read once, as far as accepted features give it a meaning, and checked (DEV-22). What changes later is the capacity,
 * when the device says so, and the cache mode, when this driver says so.
 */
#include "driver_blk_parts.h"

#include <viodma/port.h>
#include <viodma/wire/blk.h>

#include "../base/require.h"

#define SECTOR VIRTIO_BLK_SECTOR_BYTES

uint64_t viodma_driver_blk_wanted(void)
{
	return VIODMA_FEATURE(VIRTIO_BLK_F_SIZE_MAX_BIT) | VIODMA_FEATURE(VIRTIO_BLK_F_SEG_MAX_BIT) |
	       VIODMA_FEATURE(VIRTIO_BLK_F_RO_BIT) | VIODMA_FEATURE(VIRTIO_BLK_F_BLK_SIZE_BIT) |
	       VIODMA_FEATURE(VIRTIO_BLK_F_FLUSH_BIT) | VIODMA_FEATURE(VIRTIO_BLK_F_TOPOLOGY_BIT) |
	       VIODMA_FEATURE(VIRTIO_BLK_F_CONFIG_WCE_BIT) | VIODMA_FEATURE(VIRTIO_BLK_F_MQ_BIT) |
	       VIODMA_FEATURE(VIRTIO_BLK_F_DISCARD_BIT) | VIODMA_FEATURE(VIRTIO_BLK_F_WRITE_ZEROES_BIT) |
	       VIODMA_FEATURE(VIRTIO_BLK_F_LIFETIME_BIT) | VIODMA_FEATURE(VIRTIO_BLK_F_SECURE_ERASE_BIT) |
	       viodma_driver_ring_wanted();
}

static bool accepted(const struct viodma_driver *driver, unsigned bit)
{
	return driver->decision.accepted & VIODMA_FEATURE(bit);
}

/* As much of the configuration as accepted features give a meaning; the rest is 0. */
static enum viodma_result read_layout(struct viodma_driver *driver, struct virtio_blk_config_layout *layout)
{
	/* Each feature's part ends there; in the order of the layout, so the last one counts. */
	static const struct {
		uint8_t bit, end;
	} parts[] = {
		{VIRTIO_BLK_F_SIZE_MAX_BIT, offsetof(struct virtio_blk_config_layout, seg_max)},
		{VIRTIO_BLK_F_SEG_MAX_BIT, offsetof(struct virtio_blk_config_layout, geometry)},
		{VIRTIO_BLK_F_BLK_SIZE_BIT, offsetof(struct virtio_blk_config_layout, topology)},
		{VIRTIO_BLK_F_TOPOLOGY_BIT, offsetof(struct virtio_blk_config_layout, writeback)},
		{VIRTIO_BLK_F_CONFIG_WCE_BIT, offsetof(struct virtio_blk_config_layout, unused0)},
		{VIRTIO_BLK_F_MQ_BIT, offsetof(struct virtio_blk_config_layout, max_discard_sectors)},
		{VIRTIO_BLK_F_DISCARD_BIT, offsetof(struct virtio_blk_config_layout, max_write_zeroes_sectors)},
		{VIRTIO_BLK_F_WRITE_ZEROES_BIT, offsetof(struct virtio_blk_config_layout, max_secure_erase_sectors)},
		{VIRTIO_BLK_F_SECURE_ERASE_BIT, sizeof(struct virtio_blk_config_layout)},
	};
	uint32_t len = offsetof(struct virtio_blk_config_layout, size_max), i;

	memset(layout, 0, sizeof(*layout));
	for (i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (accepted(driver, parts[i].bit))
			len = parts[i].end;
	return viodma_driver_read_config(driver, 0, layout, len);
}

enum viodma_result viodma_driver_blk_queues(struct viodma_driver *driver, uint16_t *queues)
{
	struct virtio_blk_config_layout layout;
	enum viodma_result result;

	*queues = 1;
	if (!accepted(driver, VIRTIO_BLK_F_MQ_BIT))
		return VIODMA_OK;
	result = read_layout(driver, &layout);
	if (result != VIODMA_OK)
		return result;
	*queues = viodma_le16_get(layout.num_queues);
	return VIODMA_REQUIRE(DEV_22, *queues) ? VIODMA_OK : VIODMA_PEER_ANSWER;
}

/* What an operation by range may be. VIODMA_PEER_ANSWER: it is offered, and may be nothing. */
static enum viodma_result take_ranges(const struct viodma_driver *driver, unsigned bit, viodma_le32 max_sectors,
				      viodma_le32 max_ranges, viodma_le32 alignment,
				      struct viodma_driver_blk_ranges *ranges)
{
	if (!accepted(driver, bit))
		return VIODMA_OK;
	ranges->max_sectors = viodma_le32_get(max_sectors);
	ranges->max_ranges = viodma_le32_get(max_ranges);
	ranges->alignment_sectors = viodma_le32_get(alignment);
	return VIODMA_REQUIRE(DEV_22, ranges->max_sectors && ranges->max_ranges) ? VIODMA_OK : VIODMA_PEER_ANSWER;
}

/* What came with the later features. */
static enum viodma_result take_more(struct viodma_driver_blk *blk, const struct virtio_blk_config_layout *layout)
{
	const struct viodma_driver *driver = blk->config.driver;
	enum viodma_result result;

	blk->topology.physical_block_exp = layout->topology.physical_block_exp;
	blk->topology.alignment_offset = layout->topology.alignment_offset;
	blk->topology.min_io_blocks = viodma_le16_get(layout->topology.min_io_size);
	blk->topology.opt_io_blocks = viodma_le32_get(layout->topology.opt_io_size);
	if (!accepted(driver, VIRTIO_BLK_F_TOPOLOGY_BIT))
		memset(&blk->topology, 0, sizeof(blk->topology));
	/* Whoever shifts by it must be able to. */
	if (!VIODMA_REQUIRE(DEV_22, blk->topology.physical_block_exp < 32))
		return VIODMA_PEER_ANSWER;
	blk->may_switch = accepted(driver, VIRTIO_BLK_F_CONFIG_WCE_BIT);
	if (blk->may_switch)
		blk->writeback = layout->writeback;
	if (blk->may_switch && !VIODMA_REQUIRE(DEV_22, layout->writeback <= 1))
		return VIODMA_PEER_ANSWER;
	blk->lifetime = accepted(driver, VIRTIO_BLK_F_LIFETIME_BIT);
	blk->may_unmap = accepted(driver, VIRTIO_BLK_F_WRITE_ZEROES_BIT) && layout->write_zeroes_may_unmap;
	result = take_ranges(driver, VIRTIO_BLK_F_DISCARD_BIT, layout->max_discard_sectors, layout->max_discard_seg,
			     layout->discard_sector_alignment, &blk->discard);
	if (result == VIODMA_OK)
		result = take_ranges(driver, VIRTIO_BLK_F_WRITE_ZEROES_BIT, layout->max_write_zeroes_sectors,
				     layout->max_write_zeroes_seg, viodma_le32_of(0), &blk->write_zeroes);
	if (result == VIODMA_OK)
		result = take_ranges(driver, VIRTIO_BLK_F_SECURE_ERASE_BIT, layout->max_secure_erase_sectors,
				     layout->max_secure_erase_seg, layout->secure_erase_sector_alignment,
				     &blk->secure_erase);
	return result;
}

/* VIODMA_PEER_ANSWER: what it says cannot be. */
static enum viodma_result take_layout(struct viodma_driver_blk *blk, const struct virtio_blk_config_layout *layout)
{
	const struct viodma_driver *driver = blk->config.driver;

	blk->capacity_sectors = viodma_le64_get(layout->capacity);
	blk->seg_max = blk->device_queues = 1; /* unless it says more */
	blk->size_max = UINT32_MAX;
	blk->blk_size = SECTOR;
	if (accepted(driver, VIRTIO_BLK_F_SEG_MAX_BIT))
		blk->seg_max = viodma_le32_get(layout->seg_max);
	if (accepted(driver, VIRTIO_BLK_F_SIZE_MAX_BIT))
		blk->size_max = viodma_le32_get(layout->size_max);
	if (!blk->size_max) /* what QEMU's storage daemon says, which offers the bit and has no limit */
		blk->size_max = UINT32_MAX;
	if (accepted(driver, VIRTIO_BLK_F_BLK_SIZE_BIT))
		blk->blk_size = viodma_le32_get(layout->blk_size);
	if (accepted(driver, VIRTIO_BLK_F_MQ_BIT))
		blk->device_queues = viodma_le16_get(layout->num_queues);
	blk->read_only = accepted(driver, VIRTIO_BLK_F_RO_BIT);
	blk->flush = blk->writeback = accepted(driver, VIRTIO_BLK_F_FLUSH_BIT);
	if (!VIODMA_REQUIRE(DEV_22, blk->capacity_sectors <= UINT64_MAX / SECTOR))
		return VIODMA_PEER_ANSWER;
	if (!VIODMA_REQUIRE(DEV_22, blk->seg_max && blk->device_queues))
		return VIODMA_PEER_ANSWER;
	if (!VIODMA_REQUIRE(DEV_22, blk->blk_size >= SECTOR && !(blk->blk_size & (blk->blk_size - 1))))
		return VIODMA_PEER_ANSWER;
	return take_more(blk, layout);
}

enum viodma_result viodma_driver_blk_configure(struct viodma_driver_blk *blk)
{
	struct virtio_blk_config_layout layout;
	enum viodma_result result = read_layout(blk->config.driver, &layout);

	return result == VIODMA_OK ? take_layout(blk, &layout) : result;
}

enum viodma_result viodma_driver_blk_look_again(struct viodma_driver_blk *blk)
{
	viodma_le64 capacity;
	enum viodma_result result = viodma_driver_read_config(blk->config.driver, 0, &capacity, sizeof(capacity));

	if (result != VIODMA_OK)
		return result;
	if (!VIODMA_REQUIRE(DEV_22, viodma_le64_get(capacity) <= UINT64_MAX / SECTOR))
		return VIODMA_PEER_ANSWER;
	blk->capacity_sectors = viodma_le64_get(capacity);
	return VIODMA_OK;
}

enum viodma_result viodma_driver_blk_set_writeback(struct viodma_driver_blk *blk, bool writeback)
{
	const struct viodma_transport *transport = &blk->config.driver->transport;
	const uint8_t mode = writeback;
	enum viodma_result result;
	uint8_t now;

	if (!blk->may_switch || !transport->ops->write_config)
		return VIODMA_E_UNSUPPORTED;
	result = transport->ops->write_config(transport->context, VIRTIO_BLK_CONFIG_WRITEBACK, &mode, sizeof(mode));
	if (result == VIODMA_OK)
		result = viodma_driver_read_config(blk->config.driver, VIRTIO_BLK_CONFIG_WRITEBACK, &now, sizeof(now));
	if (result != VIODMA_OK)
		return result;
	if (!VIODMA_REQUIRE(DEV_22, now == mode))
		return VIODMA_PEER_ANSWER;
	blk->writeback = writeback;
	return VIODMA_OK;
}
