/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * queue.c - rings that are served wrongly: what tests/broken/meson.build names is linked in between (ld --wrap).
 */
#include "core/base/require.h"

#include <viodma/queue.h>

void __real_viodma_queue_push(struct viodma_queue *queue, struct viodma_request *request, uint32_t written_bytes);
void __wrap_viodma_queue_push(struct viodma_queue *queue, struct viodma_request *request, uint32_t written_bytes);

void __wrap_viodma_queue_push(struct viodma_queue *queue, struct viodma_request *request, uint32_t written_bytes)
{
	if (viodma_mutant("used_length"))
		written_bytes = 0;
	__real_viodma_queue_push(queue, request, written_bytes);
}
