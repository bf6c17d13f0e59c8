/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver_blk_parts.h - what the files of the block driver share.
 *
 *   driver_blk.c         life, requests in and out, deadlines
 *   driver_blk_config.c  the device's configuration
 *   driver_blk_parts.c   from requests to chains and back
 *   driver_blk_ranges.c  from sectors to lists of ranges
 */
#ifndef VIODMA_DRIVER_DRIVER_BLK_PARTS_H
#define VIODMA_DRIVER_DRIVER_BLK_PARTS_H

#include <viodma/driver_blk.h>

#define VIODMA_DRIVER_BLK_NO_PART (~0u)
#define VIODMA_DRIVER_BLK_NO_STATUS 0xffu /* what no device answers */
#define VIODMA_DRIVER_BLK_PART_BYTES_MAX (1u << 30)

/* ---- driver_blk_config.c ---- */

/* Read and check it: what the members above the line of struct viodma_driver_blk say. */
enum viodma_result viodma_driver_blk_configure(struct viodma_driver_blk *blk);

/* ---- driver_blk_ranges.c ---- */

static inline bool viodma_driver_blk_by_range(enum viodma_driver_blk_operation operation)
{
	return operation == VIODMA_DRIVER_BLK_DISCARD || operation == VIODMA_DRIVER_BLK_WRITE_ZEROES ||
	       operation == VIODMA_DRIVER_BLK_SECURE_ERASE;
}

static inline const struct viodma_driver_blk_ranges *
viodma_driver_blk_ranges_of(const struct viodma_driver_blk *blk, enum viodma_driver_blk_operation operation)
{
	return operation == VIODMA_DRIVER_BLK_DISCARD	   ? &blk->discard :
	       operation == VIODMA_DRIVER_BLK_WRITE_ZEROES ? &blk->write_zeroes :
							     &blk->secure_erase;
}

/* How many ranges it would be good to have room for behind each header; 0: the device takes none. */
uint32_t viodma_driver_blk_ranges_wanted(const struct viodma_driver_blk *blk);

/* The next ranges of the part's request, as many as one request takes: part->sectors, and how many segments more. */
uint32_t viodma_driver_blk_put_ranges(struct viodma_driver_blk *blk, struct viodma_driver_blk_part *part);

/* ---- driver_blk_parts.c ---- */

/* From limits, seg_max and size_max: what a part can hold. VIODMA_E_LIMIT: not even a sector. */
enum viodma_result viodma_driver_blk_measure(struct viodma_driver_blk *blk, const struct viodma_limits *limits);

/*
 * Put what can be put into the queues; nothing is published. VIODMA_OK: all was sent, or waits. VIODMA_WAIT: there may
 * be more at once. VIODMA_PEER_*: a queue is broken.
 */
enum viodma_result viodma_driver_blk_send(struct viodma_driver_blk *blk);

/* The device has used a part; written_bytes as the queue says. */
void viodma_driver_blk_part_used(struct viodma_driver_blk *blk, struct viodma_driver_blk_part *part,
				 uint64_t written_bytes);

/* A part will never be used. VIODMA_E_QUARANTINED. */
enum viodma_result viodma_driver_blk_part_dropped(struct viodma_driver_blk *blk, struct viodma_driver_blk_part *part);

/* No status is there: of all parts. */
void viodma_driver_blk_clear_statuses(struct viodma_driver_blk *blk);
bool viodma_driver_blk_statuses_clear(const struct viodma_driver_blk *blk);

/* ---- driver_blk.c ---- */

/* Into the list of those with something to send, or of those all sent. */
void viodma_driver_blk_enlist(struct viodma_driver_blk *blk, struct viodma_driver_blk_request *request, bool sending);

/* Out of its list. */
void viodma_driver_blk_delist(struct viodma_driver_blk *blk, struct viodma_driver_blk_request *request);

/* It has ended: out of its list, counted, done. */
void viodma_driver_blk_end(struct viodma_driver_blk *blk, struct viodma_driver_blk_request *request);

#endif
