/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * blk_rig.h - a virtio-blk device half in front of a disk in memory, behind a test driver's queue.
 *
 * A request with head h has its header at RIG_HEADER(h), its status byte at RIG_STATUS(h) and its data on the page
 * RIG_DATA(h); it takes descriptors h, h + 1 and h + 2.
 */
#ifndef VIODMA_TESTS_BLK_RIG_H
#define VIODMA_TESTS_BLK_RIG_H

#include "tests/support/test_driver.h"

#include <viodma/device_blk.h>
#include <viodma/wire/blk.h>

#define RIG_SECTORS 64u
#define RIG_DISK_BYTES (RIG_SECTORS * 512u)
#define RIG_HEADER(h) (TEST_BUFFERS + (h) * TEST_PAGE + 64u)
#define RIG_STATUS(h) (TEST_BUFFERS + (h) * TEST_PAGE + 200u)
#define RIG_DATA(h) (TEST_BUFFERS + (64u + (h)) * TEST_PAGE)
#define RIG_NO_STATUS 0xa5 /* what a status byte is before it is written */

/* What a range of the disk holds after the operation: 0 for zeroes. */
#define RIG_FILL(operation) \
	((operation) == VIODMA_BLK_DISCARD ? 0xdd : (operation) == VIODMA_BLK_SECURE_ERASE ? 0xee : 0)

struct blk_rig_range {
	uint64_t sector;
	uint32_t count, flags;
};

struct blk_rig {
	struct test_driver *driver;
	struct viodma_blk blk;
	struct viodma_blk_io ios[256];
	unsigned char disk[RIG_DISK_BYTES];
	bool defer; /* operations wait for blk_rig_finish */
	bool fail;  /* and then fail */
	bool endless; /* a driver that makes its request available again as soon as it is used */
	struct viodma_blk_io *pending[256];
	unsigned pending_count, submitted;
	struct viodma_blk_io last; /* a copy of the last one submitted */
	unsigned refused;
	uint16_t refused_head;
	enum viodma_result refused_reason;
};

/* config NULL: 64 sectors, serial "viodma-test". Everything accepted that the device offers. */
struct blk_rig *blk_rig_new(const struct test_options *options, const struct viodma_blk_config *config);
void blk_rig_free(struct blk_rig *rig);
void blk_rig_default_config(struct viodma_blk_config *config);

void blk_rig_header(struct blk_rig *rig, unsigned head, uint32_t type, uint64_t sector);
/* Make a request available: data_bytes of data, at most a page, device-writable or device-readable. */
void blk_rig_request(struct blk_rig *rig, unsigned head, uint32_t type, uint64_t sector, uint32_t data_bytes,
		     bool writable);
/* The same for a request that is a list of ranges: at most 256, of what the data page holds. */
void blk_rig_ranges(struct blk_rig *rig, unsigned head, uint32_t type, const struct blk_rig_range *ranges,
		    unsigned count);
/* Process, and answer misses, until nothing more happens. Returns what viodma_blk_process answered last. */
enum viodma_result blk_rig_run(struct blk_rig *rig);
/* End pending operation number i. */
void blk_rig_finish(struct blk_rig *rig, unsigned i, bool ok);
uint8_t blk_rig_status(const struct blk_rig *rig, unsigned head);

#endif
