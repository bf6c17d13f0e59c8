/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * device_rng.c - how it works: virtio-rng, device half (virtio 1.2, section 5.4).
 *
 * A request is one device-writable part; its answer is as many random bytes from its start as there are, at most the
 * limit. They are made in a piece of the stack and copied from there, so that memory the driver can change never is
 * what the source works in. The used length says how many came; it is all there is of an answer. A request that breaks
 * the rules (DRV-18), or whose memory cannot be used, is answered with a used length of 0.
 *
 * One request waits at most: the one that was popped when the source ran dry.
 */
#include <viodma/device_rng.h>
#include <viodma/port.h>

#include "../base/require.h"

#define PIECE_BYTES 256u

enum viodma_result viodma_rng_init(struct viodma_rng *rng, const struct viodma_rng_ops *ops, uint32_t limit_bytes)
{
	if (!ops->fill)
		return VIODMA_E_INVALID;
	memset(rng, 0, sizeof(*rng));
	rng->ops = *ops;
	rng->limit_bytes = limit_bytes ? limit_bytes : VIODMA_RNG_LIMIT_BYTES;
	return VIODMA_OK;
}

static void reject(struct viodma_rng *rng, struct viodma_request *request, enum viodma_result reason, const char *what)
{
	if (rng->ops.refused)
		rng->ops.refused(rng->ops.context, request->head, reason, what);
	rng->statistics.failed++;
	(void)viodma_queue_reject(request->queue, request, NULL, 0);
}

/* Fill a request as far as there are bytes; how many there were. */
static uint32_t fill(struct viodma_rng *rng, struct viodma_request *request)
{
	uint32_t wanted = request->writable_bytes, done = 0;
	unsigned char piece[PIECE_BYTES];

	if (wanted > rng->limit_bytes)
		wanted = rng->limit_bytes; /* = DEV-17 */
	while (done < wanted) {
		uint32_t ask = wanted - done < PIECE_BYTES ? wanted - done : PIECE_BYTES;
		size_t got = rng->ops.fill(rng->ops.context, piece, ask);

		if (got > ask)
			got = ask;
		if (!got || viodma_request_write(request, done, piece, (uint32_t)got) != VIODMA_OK)
			break;
		done += (uint32_t)got;
		if (got < ask)
			break;
	}
	memset(piece, 0, sizeof(piece)); /* they are the driver's now, and nobody else's */
	__asm__ volatile("" : : "r"(piece) : "memory");
	return done;
}

/* VIODMA_OK: answered. VIODMA_WAIT: it waits for bytes. */
static enum viodma_result serve(struct viodma_rng *rng, struct viodma_request *request)
{
	uint32_t bytes;

	if (request->result != VIODMA_OK) {
		reject(rng, request, request->result, "request memory");
		return VIODMA_OK;
	}
	if (!VIODMA_REQUIRE(DRV_18, request->writable_bytes && !request->readable_bytes)) {
		reject(rng, request, VIODMA_PEER_REQUEST,
		       request->readable_bytes ? "device-readable bytes" : "no room for random bytes");
		return VIODMA_OK;
	}
	bytes = fill(rng, request);
	if (!bytes) {
		rng->waiting = request;
		return VIODMA_WAIT;
	}
	rng->statistics.requests++;
	rng->statistics.bytes += bytes;
	viodma_queue_push(request->queue, request, bytes);
	return VIODMA_OK;
}

enum viodma_result viodma_rng_process(struct viodma_rng *rng, struct viodma_queue *queue)
{
	uint32_t budget;

	if (!queue->running)
		return VIODMA_FAULT_STOPPED; /* a size is not there before the first start */
	for (budget = queue->setup.size; budget; budget--) { /* = DEV-17 */
		struct viodma_request *request = rng->waiting;
		enum viodma_result result = VIODMA_OK;

		rng->waiting = NULL;
		if (!request && rng->ops.ready && !rng->ops.ready(rng->ops.context)) {
			viodma_queue_settle(queue); /* what was answered before may not have got there */
			return VIODMA_EMPTY;
		}
		if (!request)
			result = viodma_queue_pop(queue, &request);
		if (result == VIODMA_OK)
			result = serve(rng, request);
		if (result != VIODMA_OK)
			return result;
	}
	return VIODMA_OK;
}

void viodma_rng_cancel(struct viodma_rng *rng)
{
	struct viodma_request *request = rng->waiting;

	rng->waiting = NULL;
	if (request)
		reject(rng, request, VIODMA_FAULT_STOPPED, "waits for random bytes");
}
