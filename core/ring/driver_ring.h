/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver_ring.h - what the files of the driver half share.
 *
 *   driver_queue.c  life: ring memory, tables, enabling, giving back after a reset, freeing; mappings
 *   driver_split.c  the split ring's words: descriptors, available ring, used ring, notifications; the private shadow
 */
#ifndef VIODMA_RING_DRIVER_RING_H
#define VIODMA_RING_DRIVER_RING_H

#include <viodma/driver_queue.h>

#define VIODMA_DRIVER_NO_TABLE (~0u)

/* ---- driver_split.c ---- */

/* Everything is free, nothing is out; the rings' memory is clear. */
void viodma_driver_split_start(struct viodma_driver_queue *queue);

/* A chain that is out ends: its descriptors and its table are free again. Returns its token. */
void *viodma_driver_split_end(struct viodma_driver_queue *queue, uint16_t head);

/* Break it, if it is not broken already. Returns the reason. */
enum viodma_result viodma_driver_split_break(struct viodma_driver_queue *queue, enum viodma_result reason);

/* viodma_driver_queue_add_mappings, without the debug checks. */
enum viodma_result viodma_driver_split_add_mappings(struct viodma_driver_queue *queue,
						    const struct viodma_mapping *const *mappings, uint32_t count,
						    void *token);

#endif
