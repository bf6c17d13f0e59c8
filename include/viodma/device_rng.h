/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * viodma/device_rng.h - virtio-rng (entropy device), device half (virtio 1.2, section 5.4).
 *
 * Each request is answered with random bytes from the caller, at most limit_bytes, written in its device-writable part. A
 * request without one, or with a device-readable part, breaks DRV-18 and is rejected.
 *
 * Single owner, with its space and queue. Units: bytes.
 */
#ifndef VIODMA_DEVICE_RNG_H
#define VIODMA_DEVICE_RNG_H

#include <viodma/queue.h>

#ifdef __cplusplus
extern "C" {
#endif

struct viodma_rng_ops {
	/*
	 * Are there bytes now? Asked before each request is taken: a request that is taken holds its memory, and a stop or a
	 * revocation waits for it. False: none is taken, and viodma_rng_process answers VIODMA_EMPTY. NULL: always.
	 */
	bool (*ready)(void *context);
	/*
	 * Fill `bytes` bytes; answer how many there are now, 0 to `bytes`. 0: none at the moment; the request waits, and
	 * viodma_rng_process is called again when there are some.
	 */
	size_t (*fill)(void *context, void *random, size_t bytes);
	/* A request was refused (for the log). May be NULL. */
	void (*refused)(void *context, uint16_t head, enum viodma_result reason, const char *what);
	void *context;
};

struct viodma_rng_statistics {
	uint64_t requests, bytes, failed;
};

/* Members are the library's; read statistics only. */
struct viodma_rng {
	struct viodma_rng_ops ops;
	uint32_t limit_bytes;
	struct viodma_request *waiting; /* popped, and not answered for want of bytes */
	struct viodma_rng_statistics statistics;
};

/*
 * limit_bytes: most bytes one request gets, so that a driver cannot keep the device busy with one (DEV-17); 0:
 * VIODMA_RNG_LIMIT_BYTES. VIODMA_E_INVALID: no fill.
 */
#define VIODMA_RNG_LIMIT_BYTES 65536u
VIODMA_MUST_USE enum viodma_result viodma_rng_init(struct viodma_rng *rng, const struct viodma_rng_ops *ops,
						   uint32_t limit_bytes);

/*
 * Work on the queue: as viodma_blk_process, VIODMA_FAULT_STOPPED included. VIODMA_WAIT: a request waits for bytes, or
 * the ring for the platform. VIODMA_EMPTY: nothing to do, or no bytes (ops.ready).
 */
VIODMA_MUST_USE enum viodma_result viodma_rng_process(struct viodma_rng *rng, struct viodma_queue *queue);

/* The queue is about to stop or be reset: what waits for bytes is rejected. */
void viodma_rng_cancel(struct viodma_rng *rng);

#ifdef __cplusplus
}
#endif

#endif
