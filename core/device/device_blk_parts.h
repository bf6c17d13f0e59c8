/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * device_blk_parts.h - what the files of the block device share.
 *
 *   device_blk.c         requests: the header, data, answers, completions
 *   device_blk_ranges.c  requests that are lists of ranges: discard, write-zeroes, secure erase
 *   device_blk_config.c  what is offered, the configuration space, the cache mode
 */
#ifndef VIODMA_DEVICE_DEVICE_BLK_PARTS_H
#define VIODMA_DEVICE_DEVICE_BLK_PARTS_H

#include <viodma/device_blk.h>
#include <viodma/feature.h>
#include <viodma/port.h>
#include <viodma/wire/blk.h>

#include "../base/require.h"

#define VIODMA_BLK_HEADER_BYTES ((uint32_t)sizeof(struct virtio_blk_request_header))

/* ---- device_blk.c ---- */

/* The request cannot be served, or not even be read: the driver gets IOERR if there is a way to tell it. */
void viodma_blk_fail(struct viodma_blk *blk, struct viodma_request *request, enum viodma_result reason,
		     const char *what);

void viodma_blk_answer(struct viodma_request *request, uint8_t status);

/* It happened. */
void viodma_blk_count(struct viodma_blk *blk, enum viodma_blk_operation operation, uint64_t len_bytes);

/* The first of the operations that a request can be. Pre: its queue and head have some. */
struct viodma_blk_io *viodma_blk_first_io(const struct viodma_blk *blk, const struct viodma_request *request);

/* Does the disk hold all of it? Counted in sectors, so that nothing wraps. */
bool viodma_blk_on_disk(const struct viodma_blk *blk, uint64_t sector, uint64_t count);

/* ---- device_blk_ranges.c ---- */

/* A request whose data is a list of ranges. */
void viodma_blk_ranges(struct viodma_blk *blk, struct viodma_request *request, enum viodma_blk_operation operation);

/* The limits of such an operation. */
const struct viodma_blk_range_limits *viodma_blk_limits_of(const struct viodma_blk_config *config,
							   enum viodma_blk_operation operation);

/* ---- device_blk_config.c ---- */

static inline bool viodma_blk_accepted(const struct viodma_blk *blk, unsigned bit)
{
	return blk->accepted & VIODMA_FEATURE(bit);
}

/* May a write be answered before it is durable? */
bool viodma_blk_writeback(const struct viodma_blk *blk);

#endif
