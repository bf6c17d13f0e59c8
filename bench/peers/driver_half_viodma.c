/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver_half_viodma.c - viodma's driver half: a direct platform, bit 33 set; each buffer is mapped, and unmapped when it
 * comes back.
 */
#include "driver_half.h"

#include <stdlib.h>
#include <string.h>
#include <viodma/driver_queue.h>

#define POOL_BYTES 65536u

/* What is touched on a plain domain is on one line. */
struct request {
	struct viodma_buffer buffer;
	struct viodma_segment segment;
	struct viodma_mapping mapping;
} __attribute__((aligned(64)));

static unsigned char pool_memory[POOL_BYTES] __attribute__((aligned(4096)));
static unsigned char pool_storage[VIODMA_POOL_STORAGE_BYTES(POOL_BYTES, 2048)] __attribute__((aligned(16)));
static unsigned char queue_storage[VIODMA_DRIVER_QUEUE_STORAGE_BYTES(DRIVER_HALF_RING)] __attribute__((aligned(64)));
static unsigned char buffers[DRIVER_HALF_RING][DRIVER_HALF_BYTES] __attribute__((aligned(64)));
static struct viodma_pool pool;
static struct viodma_domain domain;
static struct viodma_driver_queue queue;
static struct request requests[DRIVER_HALF_RING];
static uint32_t next;

static struct viodma_transport_queue enabled;

static enum viodma_result size_max(void *context, unsigned index, uint32_t *size)
{
	(void)context, (void)index;
	*size = DRIVER_HALF_RING;
	return VIODMA_OK;
}

static enum viodma_result enable(void *context, unsigned index, const struct viodma_transport_queue *where)
{
	(void)context, (void)index;
	enabled = *where;
	return VIODMA_OK;
}

static viodma_phys phys_of(const void *memory)
{
	return (viodma_phys){ (uintptr_t)memory }; /* as in the other half, which knows no other */
}

static bool make(bool packed, struct driver_half_parts *parts)
{
	static const struct viodma_transport_ops ops = { .queue_size_max = size_max, .queue_enable = enable };
	const struct viodma_transport transport = { .ops = &ops };
	const struct viodma_object object = { pool_memory, phys_of(pool_memory), sizeof(pool_memory) };
	const struct viodma_pool_config pool_config = { .name = "pool" };
	struct viodma_platform platform;
	const struct viodma_domain_config domain_config = { .platform = &platform,
							    .addressing = VIODMA_ADDRESSING_PLATFORM,
							    .pool = &pool };
	const struct viodma_driver_queue_config config = { .domain = &domain,
							   .storage = queue_storage,
							   .storage_bytes = sizeof(queue_storage),
							   .size = DRIVER_HALF_RING,
							   .event_idx = true,
							   .packed = packed };

	viodma_platform_init(&platform);
	for (uint32_t i = 0; i < DRIVER_HALF_RING; i++)
		requests[i].buffer = (struct viodma_buffer){ phys_of(buffers[i]), DRIVER_HALF_BYTES };
	if (viodma_pool_init(&pool, &pool_config) != VIODMA_OK ||
	    viodma_pool_add(&pool, &object, pool_storage, sizeof(pool_storage)) != VIODMA_OK ||
	    viodma_domain_init(&domain, &domain_config) != VIODMA_OK ||
	    viodma_driver_queue_init(&queue, &config) != VIODMA_OK ||
	    viodma_driver_queue_enable(&queue, &transport) != VIODMA_OK)
		return false;
	parts->desc = (void *)(uintptr_t)enabled.desc.v;
	parts->avail = (void *)(uintptr_t)enabled.avail.v;
	parts->used = (void *)(uintptr_t)enabled.used.v;
	next = 0;
	return true;
}

static bool send(uint32_t count)
{
	while (count--) {
		struct request *request = &requests[next++ % DRIVER_HALF_RING];

		uint32_t segments;

		if (viodma_domain_map_lean(&domain, &request->mapping, &request->buffer, 1, VIODMA_TO_DEVICE,
					   &request->segment, 1, &segments) != VIODMA_OK ||
		    viodma_driver_queue_add(&queue, &request->segment, segments, request) != VIODMA_OK)
			return false;
	}
	viodma_driver_queue_publish(&queue);
	(void)viodma_driver_queue_kick_needed(&queue);
	return true;
}

static uint32_t collect(void)
{
	struct viodma_driver_completion completions[32];
	uint32_t total = 0, count;

	while (viodma_driver_queue_get_batch(&queue, completions, 32, &count) == VIODMA_OK) {
		for (uint32_t i = 0; i < count; i++) {
			struct request *request = completions[i].token;

			(void)viodma_domain_unmap_lean(&domain, &request->mapping, completions[i].written_bytes);
		}
		total += count;
	}
	(void)viodma_driver_queue_want_call(&queue);
	return total;
}

static void end(void)
{
	(void)!viodma_driver_queue_free(&queue);
	(void)!viodma_domain_free(&domain);
	(void)!viodma_pool_free(&pool);
}

const struct driver_half driver_half_viodma = { "viodma", make, send, collect, end };
