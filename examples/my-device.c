/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * my-device.c - a device of one's own: it answers each request with the text it was sent, in capitals.
 *
 *	cc my-device.c $(pkg-config --cflags --libs viodma-core)
 */
#include "tiny-driver.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <viodma/queue.h>

/* README begin */
static void my_device(struct viodma_queue *queue)
{
	struct viodma_request *request;
	char text[64];

	while (viodma_queue_pop(queue, &request) == VIODMA_OK) {
		uint32_t n = request->readable_bytes < sizeof(text) ? request->readable_bytes : sizeof(text);

		if (viodma_request_read(request, 0, text, n) != VIODMA_OK)
			n = 0; /* memory out of reach */
		for (uint32_t i = 0; i < n; i++)
			text[i] = (char)toupper((unsigned char)text[i]);
		if (n && viodma_request_write(request, 0, text, n) == VIODMA_OK)
			viodma_queue_push(queue, request, n);
		else
			viodma_queue_reject(queue, request, NULL, 0);
	}
}
/* README end */

int main(void)
{
	static _Alignas(4096) unsigned char memory[DRIVER_MEMORY_BYTES];
	static _Alignas(max_align_t) unsigned char regions[VIODMA_SPACE_REGION_BYTES(1)];
	const uint64_t phys = 0x40000000; /* where the driver's CPU sees that memory */
	const struct viodma_region region = {.phys = {phys}, .user = {phys}, .len_bytes = sizeof(memory), .memory = memory};
	const struct viodma_queue_setup setup = {.size = DRIVER_QUEUE_SIZE,
						 .desc = {phys + DESC_AT},
						 .avail = {phys + AVAIL_AT},
						 .used = {phys + USED_AT}};
	struct viodma_space space;
	struct viodma_queue queue;
	struct viodma_queue_config config = {
		.space = &space, .size_max = DRIVER_QUEUE_SIZE, .segments_max = 8, .pieces_max = 8};

	viodma_space_init(&space, regions, 1, NULL);
	viodma_space_set_physical(&space); /* bit 33 was not accepted */
	config.memory_bytes = viodma_queue_memory_bytes(&config);
	config.memory = calloc(1, config.memory_bytes);
	if (viodma_space_add_region(&space, &region) != VIODMA_OK || viodma_queue_init(&queue, &config) != VIODMA_OK ||
	    viodma_queue_start(&queue, &setup, NULL) != VIODMA_OK)
		return 1;

	tiny_driver_ask(memory, phys, "hello from the driver");
	my_device(&queue);
	printf("%s\n", tiny_driver_answer(memory) ? tiny_driver_answer(memory) : "no answer");
	free(config.memory);
	return 0;
}
