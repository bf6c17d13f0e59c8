/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * device_blk_config.c - how it works: virtio-blk, device half: what is offered, and the configuration space, which is
 * written down anew for each read, from the device's configuration and the cache mode (virtio 1.2, section 5.2.4).
 */
#include "device_blk_parts.h"

#define SECTOR VIRTIO_BLK_SECTOR_BYTES

static const enum viodma_blk_operation by_range[] = {VIODMA_BLK_DISCARD, VIODMA_BLK_WRITE_ZEROES,
						     VIODMA_BLK_SECURE_ERASE};
#define BY_RANGE (sizeof(by_range) / sizeof(by_range[0]))

const struct viodma_blk_range_limits *viodma_blk_limits_of(const struct viodma_blk_config *config,
							   enum viodma_blk_operation operation)
{
	return operation == VIODMA_BLK_DISCARD	    ? &config->discard :
	       operation == VIODMA_BLK_WRITE_ZEROES ? &config->write_zeroes :
						      &config->secure_erase;
}

uint32_t viodma_blk_ios_per_head(const struct viodma_blk_config *config)
{
	uint32_t most = 1, i;

	for (i = 0; i < BY_RANGE; i++) {
		const struct viodma_blk_range_limits *limits = viodma_blk_limits_of(config, by_range[i]);

		if (limits->max_sectors && limits->max_ranges > most)
			most = limits->max_ranges;
	}
	return most;
}

static bool config_holds(const struct viodma_blk_config *config)
{
	uint32_t i;

	for (i = 0; i < BY_RANGE; i++) {
		const struct viodma_blk_range_limits *limits = viodma_blk_limits_of(config, by_range[i]);

		if (limits->max_sectors && (!limits->max_ranges || limits->max_ranges > VIODMA_BLK_RANGES_MAX))
			return false;
	}
	return config->capacity_bytes % SECTOR == 0 && config->blk_size >= 512 && config->blk_size <= 65536 &&
	       !(config->blk_size & (config->blk_size - 1)) && config->seg_max && config->size_max >= 4096;
}

enum viodma_result viodma_blk_init(struct viodma_blk *blk, const struct viodma_blk_config *config,
				   const struct viodma_blk_ops *ops, struct viodma_blk_io *ios, uint32_t io_count)
{
	uint32_t queues = config->queue_count ? config->queue_count : 1;

	if (!config_holds(config) || !ops->submit || (config->lifetime && !ops->lifetime) || !ios)
		return VIODMA_E_INVALID;
	memset(blk, 0, sizeof(*blk));
	blk->config = *config;
	blk->config.queue_count = (uint16_t)queues;
	blk->ops = *ops;
	blk->ios = ios;
	blk->ranges = viodma_blk_ios_per_head(config);
	blk->heads = io_count / blk->ranges / queues;
	blk->writeback = !config->starts_write_through;
	return blk->heads ? VIODMA_OK : VIODMA_E_INVALID;
}

/* ---- features ---- */

uint64_t viodma_blk_features(const struct viodma_blk *blk)
{
	const struct viodma_blk_config *config = &blk->config;
	uint64_t features = VIODMA_FEATURE(VIRTIO_BLK_F_SIZE_MAX_BIT) | VIODMA_FEATURE(VIRTIO_BLK_F_SEG_MAX_BIT) |
			    VIODMA_FEATURE(VIRTIO_BLK_F_BLK_SIZE_BIT) | VIODMA_FEATURE(VIRTIO_BLK_F_FLUSH_BIT) |
			    VIODMA_FEATURE(VIRTIO_BLK_F_CONFIG_WCE_BIT);

	if (config->physical_block_exp || config->alignment_offset || config->min_io_blocks || config->opt_io_blocks)
		features |= VIODMA_FEATURE(VIRTIO_BLK_F_TOPOLOGY_BIT);
	if (config->queue_count > 1)
		features |= VIODMA_FEATURE(VIRTIO_BLK_F_MQ_BIT);
	if (config->lifetime)
		features |= VIODMA_FEATURE(VIRTIO_BLK_F_LIFETIME_BIT);
	if (config->read_only)
		return features | VIODMA_FEATURE(VIRTIO_BLK_F_RO_BIT);
	if (config->discard.max_sectors)
		features |= VIODMA_FEATURE(VIRTIO_BLK_F_DISCARD_BIT);
	if (config->write_zeroes.max_sectors)
		features |= VIODMA_FEATURE(VIRTIO_BLK_F_WRITE_ZEROES_BIT);
	if (config->secure_erase.max_sectors)
		features |= VIODMA_FEATURE(VIRTIO_BLK_F_SECURE_ERASE_BIT);
	return features;
}

const char *viodma_blk_feature_name(unsigned bit)
{
#define NAME(name)                                                                                                    \
	case name##_BIT:                                                                                              \
		return #name;
	switch (bit) {
		NAME(VIRTIO_BLK_F_SIZE_MAX)
		NAME(VIRTIO_BLK_F_SEG_MAX)
		NAME(VIRTIO_BLK_F_GEOMETRY)
		NAME(VIRTIO_BLK_F_RO)
		NAME(VIRTIO_BLK_F_BLK_SIZE)
		NAME(VIRTIO_BLK_F_FLUSH)
		NAME(VIRTIO_BLK_F_TOPOLOGY)
		NAME(VIRTIO_BLK_F_CONFIG_WCE)
		NAME(VIRTIO_BLK_F_MQ)
		NAME(VIRTIO_BLK_F_DISCARD)
		NAME(VIRTIO_BLK_F_WRITE_ZEROES)
		NAME(VIRTIO_BLK_F_LIFETIME)
		NAME(VIRTIO_BLK_F_SECURE_ERASE)
		NAME(VIRTIO_BLK_F_ZONED)
	default:
		return NULL;
	}
#undef NAME
}

void viodma_blk_set_accepted(struct viodma_blk *blk, uint64_t accepted)
{
	blk->accepted = accepted & viodma_blk_features(blk);
}

/* ---- the cache mode ---- */

bool viodma_blk_writeback(const struct viodma_blk *blk)
{
	if (!viodma_blk_accepted(blk, VIRTIO_BLK_F_FLUSH_BIT))
		return false; /* there is nothing that would make a volatile write stable */
	return viodma_blk_accepted(blk, VIRTIO_BLK_F_CONFIG_WCE_BIT) ? blk->writeback :
								       !blk->config.starts_write_through;
}

enum viodma_result viodma_blk_write_config(struct viodma_blk *blk, uint32_t offset, const void *source,
					   uint32_t len_bytes)
{
	const unsigned char *mode = source;

	if (offset != VIRTIO_BLK_CONFIG_WRITEBACK || len_bytes != 1)
		return VIODMA_E_INVALID;
	blk->writeback = *mode != 0;
	return VIODMA_OK;
}

void viodma_blk_reset(struct viodma_blk *blk)
{
	if (blk->config.starts_write_through)
		blk->writeback = false;
}

/* ---- the configuration space ---- */

static void lay_out(const struct viodma_blk *blk, struct virtio_blk_config_layout *layout)
{
	const struct viodma_blk_config *config = &blk->config;

	_Static_assert(sizeof(*layout) == VIODMA_BLK_CONFIG_BYTES, "virtio 1.2, section 5.2.4");
	_Static_assert(offsetof(struct virtio_blk_config_layout, writeback) == VIRTIO_BLK_CONFIG_WRITEBACK, "likewise");
	memset(layout, 0, sizeof(*layout));
	layout->capacity = viodma_le64_of(config->capacity_bytes / SECTOR);
	layout->size_max = viodma_le32_of(config->size_max);
	layout->seg_max = viodma_le32_of(config->seg_max);
	layout->blk_size = viodma_le32_of(config->blk_size);
	layout->topology.physical_block_exp = config->physical_block_exp;
	layout->topology.alignment_offset = config->alignment_offset;
	layout->topology.min_io_size = viodma_le16_of(config->min_io_blocks);
	layout->topology.opt_io_size = viodma_le32_of(config->opt_io_blocks);
	/* Before it is known what the driver accepts: what it will find. */
	layout->writeback = blk->accepted ? viodma_blk_writeback(blk) : blk->writeback;
	layout->num_queues = viodma_le16_of(config->queue_count);
	if (config->read_only)
		return;
	if (config->discard.max_sectors) {
		layout->max_discard_sectors = viodma_le32_of(config->discard.max_sectors);
		layout->max_discard_seg = viodma_le32_of(config->discard.max_ranges);
		layout->discard_sector_alignment = viodma_le32_of(config->discard.alignment_sectors);
	}
	if (config->write_zeroes.max_sectors) {
		layout->max_write_zeroes_sectors = viodma_le32_of(config->write_zeroes.max_sectors);
		layout->max_write_zeroes_seg = viodma_le32_of(config->write_zeroes.max_ranges);
		layout->write_zeroes_may_unmap = config->write_zeroes_may_unmap;
	}
	if (config->secure_erase.max_sectors) {
		layout->max_secure_erase_sectors = viodma_le32_of(config->secure_erase.max_sectors);
		layout->max_secure_erase_seg = viodma_le32_of(config->secure_erase.max_ranges);
		layout->secure_erase_sector_alignment = viodma_le32_of(config->secure_erase.alignment_sectors);
	}
}

void viodma_blk_read_config(const struct viodma_blk *blk, uint32_t offset, void *destination, uint32_t len_bytes)
{
	struct virtio_blk_config_layout layout;
	uint32_t here = 0;

	lay_out(blk, &layout);
	if (offset < sizeof(layout)) {
		here = (uint32_t)sizeof(layout) - offset < len_bytes ? (uint32_t)sizeof(layout) - offset : len_bytes;
		memcpy(destination, (const unsigned char *)&layout + offset, here);
	}
	memset((unsigned char *)destination + here, 0, len_bytes - here);
}

enum viodma_result viodma_blk_resize(struct viodma_blk *blk, uint64_t capacity_bytes)
{
	if (capacity_bytes % SECTOR)
		return VIODMA_E_INVALID;
	blk->config.capacity_bytes = capacity_bytes;
	return VIODMA_OK;
}
