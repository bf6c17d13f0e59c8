/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * viodma/driver_rng.h - virtio-rng (entropy device), driver half (virtio 1.2, section 5.4): one request at a time.
 *
 *	viodma_driver_negotiate with viodma_driver_rng_wanted(); domain; queue 0;
 *	viodma_driver_rng_init; viodma_driver_ready
 *	viodma_driver_rng_submit; viodma_driver_rng_poll, when called or at the deadline, until it answers something
 *	else than VIODMA_EMPTY
 *	viodma_driver_reset; viodma_driver_rng_stop
 *
 * Single owner: the domain's. Memory is the caller's. Units: bytes, nanoseconds.
 */
#ifndef VIODMA_DRIVER_RNG_H
#define VIODMA_DRIVER_RNG_H

#include <viodma/driver.h>
#include <viodma/driver_queue.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VIODMA_DRIVER_RNG_SEGMENTS 64

/* Members are the library's. */
struct viodma_driver_rng {
	struct viodma_driver *driver;
	struct viodma_driver_queue *queue;
	struct viodma_buffer buffer; /* of which this is mapped */
	struct viodma_mapping mapping;
	struct viodma_segment segments[VIODMA_DRIVER_RNG_SEGMENTS];
	uint64_t deadline_ns; /* in the clock of viodma_driver_rng_poll, which is the caller's */
	bool waiting; /* for room in the pool or the address space: tried again at each poll */
	bool out;
};

/* The feature bits this driver can use. */
uint64_t viodma_driver_rng_wanted(void);

void viodma_driver_rng_init(struct viodma_driver_rng *rng, struct viodma_driver *driver,
			    struct viodma_driver_queue *queue);

/*
 * Ask for random bytes; the device may give fewer. A buffer longer than one mapping holds is asked for as far as it
 * does. VIODMA_E_BUSY: one request is under way. VIODMA_E_INVALID: nothing to fill. Errors of viodma_domain_map; those
 * of the queue. VIODMA_OK: it is under way, though it may wait for room in the pool, which each poll looks for.
 */
VIODMA_MUST_USE enum viodma_result viodma_driver_rng_submit(struct viodma_driver_rng *rng,
							    const struct viodma_buffer *buffer, uint64_t deadline_ns);

/*
 * VIODMA_OK: *len_bytes came, at the buffer's start. VIODMA_EMPTY: not yet. VIODMA_PEER_ANSWER: none came (DEV-22).
 * VIODMA_PEER_SILENT: the deadline has passed; other VIODMA_PEER_*: reset the device. VIODMA_E_EXHAUSTED: the deadline
 * has passed, and there never was room. Errors of viodma_domain_map, VIODMA_E_QUARANTINED (the bytes came, but the
 * buffer must not be reused). Nothing is under way after any but VIODMA_EMPTY and the results of a device to be reset.
 * VIODMA_E_NOT_FOUND: nothing was under way.
 */
VIODMA_MUST_USE enum viodma_result viodma_driver_rng_poll(struct viodma_driver_rng *rng, uint64_t now_ns,
							  uint32_t *len_bytes);

/* The device was reset: what was under way is unmapped. VIODMA_E_QUARANTINED: the buffer must not be reused. */
enum viodma_result viodma_driver_rng_stop(struct viodma_driver_rng *rng);

#ifdef __cplusplus
}
#endif

#endif
