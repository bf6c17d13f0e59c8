/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ring.h - what the files of this room share.
 *
 *   queue.c    life: memory, start, stop, reset; pop and push as the device sees them
 *   split.c    the split ring's words: available index and entries, used elements, notification suppression
 *   walk.c     THE walker: every chain of every queue, direct and indirect
 *   request.c  one request's memory: translate, pin or copy, read, write, pieces
 */
#ifndef VIODMA_RING_RING_H
#define VIODMA_RING_RING_H

#include <viodma/queue.h>

/* ---- split.c ---- */

/*
 * The head of the next available chain, and whether there is one. VIODMA_OK, VIODMA_EMPTY (kicks have been asked for),
 * VIODMA_WAIT, VIODMA_FAULT_*, VIODMA_PEER_*. Does not advance next_avail.
 */
enum viodma_result viodma_split_next_head(struct viodma_queue *queue, uint16_t *head);

/* Put one element into the used ring and publish it. VIODMA_OK, VIODMA_WAIT, VIODMA_FAULT_*. Repeatable until OK. */
enum viodma_result viodma_split_put_used(struct viodma_queue *queue, uint16_t head, uint32_t used_bytes);

/* The ring itself could not be reached: remember what for. Returns VIODMA_WAIT for a miss, else the fault. */
enum viodma_result viodma_split_park_ring(struct viodma_queue *queue, enum viodma_result result, viodma_bus bus,
					  enum viodma_permission permission);

/* ---- walk.c ---- */

/*
 * Fetch the chain of a request into its segments, from where it stood. VIODMA_OK: request->result is VIODMA_OK, or why
 * it cannot be served. VIODMA_WAIT: the ring's own table missed, start over later. VIODMA_MISS: an indirect table
 * missed; the request's wait address is set. VIODMA_PEER_*, VIODMA_FAULT_* (ring's own table): the ring is at fault.
 */
enum viodma_result viodma_walk_chain(struct viodma_request *request);

/* ---- request.c ---- */

/* Translate all of a fetched request: VIODMA_OK (pinned or copied in, or result says why not), VIODMA_MISS, WAIT. */
enum viodma_result viodma_request_bind(struct viodma_request *request);

/* Is there room in the IOTLB for the pages of this request, beside those of the others that wait? */
bool viodma_request_may_ask(struct viodma_request *request);

/* COPY mode: write what the device wrote to the driver's memory. VIODMA_OK, VIODMA_MISS, VIODMA_FAULT_*. */
enum viodma_result viodma_request_copy_out(struct viodma_request *request);

/* Give up pins and private memory. */
void viodma_request_release(struct viodma_request *request);

/* Write the last bytes of the writable part, straight to the driver's memory. As viodma_space_write. */
enum viodma_result viodma_request_write_tail(struct viodma_request *request, const void *tail, uint32_t tail_bytes);

#endif
