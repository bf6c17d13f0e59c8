/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver_rng.c - how it works: virtio-rng, driver half (virtio 1.2, section 5.4): one mapping, one chain.
 *
 * How much of the buffer is asked for is arithmetic over what one mapping holds and the queue takes. When there is no
 * room for it, less is tried, since any number of random bytes will do; when there is none for a single one, each poll
 * tries again, until the deadline.
 *
 * The used length is how many bytes came (DEV-16), and all there is of an answer: none is no answer (DEV-22).
 */
#include <viodma/driver_rng.h>
#include <viodma/port.h>

#include "../base/require.h"

uint64_t viodma_driver_rng_wanted(void)
{
	return viodma_driver_ring_wanted();
}

void viodma_driver_rng_init(struct viodma_driver_rng *rng, struct viodma_driver *driver,
			    struct viodma_driver_queue *queue)
{
	memset(rng, 0, sizeof(*rng));
	rng->driver = driver;
	rng->queue = queue;
}

/* How many bytes of one buffer a mapping and a chain hold. */
static uint64_t most(const struct viodma_driver_rng *rng)
{
	const struct viodma_driver_queue_config *queue = &rng->queue->config;
	uint32_t segments = queue->size < VIODMA_DRIVER_RNG_SEGMENTS ? queue->size : VIODMA_DRIVER_RNG_SEGMENTS;
	struct viodma_limits limits;
	uint64_t bytes;

	viodma_domain_limits(queue->domain, &limits);
	if (segments < limits.segments_per_buffer)
		return 0;
	bytes = limits.mapping_bytes_max;
	segments -= limits.segments_per_buffer;
	if (limits.segment_grain_bytes <= UINT32_MAX &&
	    ((uint64_t)segments + 1) * limits.segment_grain_bytes - 1 < bytes)
		bytes = ((uint64_t)segments + 1) * limits.segment_grain_bytes - 1;
	return bytes;
}

/* VIODMA_OK; VIODMA_E_EXHAUSTED: no room now. */
static enum viodma_result send(struct viodma_driver_rng *rng)
{
	const struct viodma_transport *transport = &rng->driver->transport;
	const uint32_t all = rng->buffer.len_bytes;
	enum viodma_result result;

	do {
		result = viodma_driver_queue_map_and_add(rng->queue, NULL, NULL, 0, &rng->mapping, &rng->buffer, 1,
							 rng->segments, VIODMA_DRIVER_RNG_SEGMENTS, rng);
	} while (result == VIODMA_E_EXHAUSTED && (rng->buffer.len_bytes /= 2) > 0);
	rng->waiting = result == VIODMA_E_EXHAUSTED;
	if (result != VIODMA_OK) {
		rng->buffer.len_bytes = all;
		return result;
	}
	rng->out = true;
	viodma_driver_queue_publish(rng->queue);
	viodma_driver_queue_kick(rng->queue, transport);
	return VIODMA_OK;
}

enum viodma_result viodma_driver_rng_submit(struct viodma_driver_rng *rng, const struct viodma_buffer *buffer,
					    uint64_t deadline_ns)
{
	enum viodma_result result;
	uint64_t bytes;

	if (rng->out || rng->waiting)
		return VIODMA_E_BUSY;
	if (!buffer->len_bytes)
		return VIODMA_E_INVALID;
	bytes = most(rng);
	if (!bytes)
		return VIODMA_E_LIMIT;
	rng->buffer = *buffer;
	if (bytes < buffer->len_bytes)
		rng->buffer.len_bytes = (uint32_t)bytes;
	rng->deadline_ns = deadline_ns;
	result = send(rng);
	return result == VIODMA_E_EXHAUSTED ? VIODMA_OK : result;
}

/* It waits for room. VIODMA_EMPTY: it is sent now, or waits on. */
static enum viodma_result try_again(struct viodma_driver_rng *rng, uint64_t now_ns)
{
	enum viodma_result result = send(rng);

	if (result == VIODMA_E_EXHAUSTED && now_ns >= rng->deadline_ns) {
		rng->waiting = false;
		return VIODMA_E_EXHAUSTED;
	}
	return result == VIODMA_OK || result == VIODMA_E_EXHAUSTED ? VIODMA_EMPTY : result;
}

enum viodma_result viodma_driver_rng_poll(struct viodma_driver_rng *rng, uint64_t now_ns, uint32_t *len_bytes)
{
	struct viodma_driver_completion completion;
	enum viodma_result result = VIODMA_E_NOT_FOUND;

	if (rng->waiting)
		result = try_again(rng, now_ns);
	if (!rng->out)
		return result;
	result = viodma_driver_queue_get(rng->queue, &completion);
	/* Once more, not for as long as the device says so: its index could come and go for ever. */
	if (result == VIODMA_EMPTY && viodma_driver_queue_want_call(rng->queue))
		result = viodma_driver_queue_get(rng->queue, &completion);
	if (result == VIODMA_EMPTY)
		return VIODMA_REQUIRE(DEV_20, now_ns < rng->deadline_ns) ? VIODMA_EMPTY : VIODMA_PEER_SILENT;
	if (result != VIODMA_OK)
		return result;
	rng->out = false;
	*len_bytes = (uint32_t)completion.written_bytes;
	if (viodma_domain_unmap(&rng->mapping, completion.written_bytes) == VIODMA_E_QUARANTINED)
		return VIODMA_E_QUARANTINED; /* = DRV-22 */
	return VIODMA_REQUIRE(DEV_22, *len_bytes) ? VIODMA_OK : VIODMA_PEER_ANSWER;
}

enum viodma_result viodma_driver_rng_stop(struct viodma_driver_rng *rng)
{
	enum viodma_result result = VIODMA_OK;
	void *token;

	while (viodma_driver_queue_take_back(rng->queue, &token) == VIODMA_OK)
		if (viodma_domain_unmap(&rng->mapping, 0) == VIODMA_E_QUARANTINED)
			result = VIODMA_E_QUARANTINED;
	rng->out = rng->waiting = false;
	return result;
}
