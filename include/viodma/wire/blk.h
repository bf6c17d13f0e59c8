/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * viodma/wire/blk.h - virtio-blk exactly as virtio 1.2, section 5.2, lays it out.
 */
#ifndef VIODMA_WIRE_BLK_H
#define VIODMA_WIRE_BLK_H

#include <viodma/types.h>

#define VIRTIO_ID_BLOCK 2u

/* Feature bits, section 5.2.3. */
#define VIRTIO_BLK_F_SIZE_MAX_BIT 1
#define VIRTIO_BLK_F_SEG_MAX_BIT 2
#define VIRTIO_BLK_F_GEOMETRY_BIT 4
#define VIRTIO_BLK_F_RO_BIT 5
#define VIRTIO_BLK_F_BLK_SIZE_BIT 6
#define VIRTIO_BLK_F_FLUSH_BIT 9
#define VIRTIO_BLK_F_TOPOLOGY_BIT 10
#define VIRTIO_BLK_F_CONFIG_WCE_BIT 11
#define VIRTIO_BLK_F_MQ_BIT 12
#define VIRTIO_BLK_F_DISCARD_BIT 13
#define VIRTIO_BLK_F_WRITE_ZEROES_BIT 14
#define VIRTIO_BLK_F_LIFETIME_BIT 15
#define VIRTIO_BLK_F_SECURE_ERASE_BIT 16
#define VIRTIO_BLK_F_ZONED_BIT 17

/* Request types and status values, section 5.2.6. */
#define VIRTIO_BLK_T_IN 0u
#define VIRTIO_BLK_T_OUT 1u
#define VIRTIO_BLK_T_FLUSH 4u
#define VIRTIO_BLK_T_GET_ID 8u
#define VIRTIO_BLK_T_GET_LIFETIME 10u
#define VIRTIO_BLK_T_DISCARD 11u
#define VIRTIO_BLK_T_WRITE_ZEROES 13u
#define VIRTIO_BLK_T_SECURE_ERASE 14u

#define VIRTIO_BLK_S_OK 0u
#define VIRTIO_BLK_S_IOERR 1u
#define VIRTIO_BLK_S_UNSUPP 2u

#define VIRTIO_BLK_SECTOR_BYTES 512u
#define VIRTIO_BLK_ID_BYTES 20u

struct virtio_blk_request_header {
	viodma_le32 type;
	viodma_le32 reserved;
	viodma_le64 sector;
};

/* One segment of a discard, write-zeroes or secure-erase request's data. */
#define VIRTIO_BLK_RANGE_F_UNMAP 1u /* write-zeroes only; the other bits are reserved, 0 */
struct virtio_blk_range {
	viodma_le64 sector;
	viodma_le32 num_sectors;
	viodma_le32 flags;
};

/* What GET_LIFETIME is answered with. */
struct virtio_blk_lifetime {
	viodma_le16 pre_eol_info;            /* 0 undefined, 1 normal, 2 warning (80 % used), 3 urgent (90 %) */
	viodma_le16 device_lifetime_est_a;   /* 0 undefined, 1 to 10: up to so many tenths used, 11: exceeded */
	viodma_le16 device_lifetime_est_b;
};

/* The bytes of a driver's view that it may write: writeback, with CONFIG_WCE. */
#define VIRTIO_BLK_CONFIG_WRITEBACK 32u /* offset */

/* Configuration space, section 5.2.4, without the zoned part: 72 bytes. */
struct virtio_blk_config_layout {
	viodma_le64 capacity; /* sectors of 512 bytes */
	viodma_le32 size_max;
	viodma_le32 seg_max;
	struct {
		viodma_le16 cylinders;
		uint8_t heads;
		uint8_t sectors;
	} geometry;
	viodma_le32 blk_size;
	struct {
		uint8_t physical_block_exp;
		uint8_t alignment_offset;
		viodma_le16 min_io_size;
		viodma_le32 opt_io_size;
	} topology;
	uint8_t writeback;
	uint8_t unused0;
	viodma_le16 num_queues;
	viodma_le32 max_discard_sectors;
	viodma_le32 max_discard_seg;
	viodma_le32 discard_sector_alignment;
	viodma_le32 max_write_zeroes_sectors;
	viodma_le32 max_write_zeroes_seg;
	uint8_t write_zeroes_may_unmap;
	uint8_t unused1[3];
	viodma_le32 max_secure_erase_sectors;
	viodma_le32 max_secure_erase_seg;
	viodma_le32 secure_erase_sector_alignment;
};

#endif
