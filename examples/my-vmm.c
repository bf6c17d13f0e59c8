/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * my-vmm.c - a VMM brings its own IOMMU model as the translator; no vhost-user, no sockets. The driver's memory is at
 * bus addresses that are not its physical ones, and what the page table does not grant is refused by name.
 *
 *	cc my-vmm.c $(pkg-config --cflags --libs viodma-core)
 */
#include "tiny-driver.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <viodma/queue.h>

#define PAGE 4096u
#define BUS_BASE UINT64_C(0xfffe0000)

struct my_iommu {
	unsigned char *memory;
	enum viodma_permission page[DRIVER_MEMORY_BYTES / PAGE]; /* what the driver granted, page by page */
};

/* README begin */
static enum viodma_result my_translate(void *context, viodma_bus bus, enum viodma_permission wanted,
				       struct viodma_extent *extent)
{
	struct my_iommu *iommu = context;
	uint64_t page = (bus.v - BUS_BASE) / PAGE;

	(void)wanted; /* the library compares permissions */
	if (bus.v < BUS_BASE || page >= DRIVER_MEMORY_BYTES / PAGE || !iommu->page[page])
		return VIODMA_FAULT_UNMAPPED;
	extent->first.v = BUS_BASE + page * PAGE;
	extent->last.v = extent->first.v + (PAGE - 1);
	extent->memory = (struct viodma_shared *)(iommu->memory + page * PAGE);
	extent->phys.v = page * PAGE;
	extent->permission = iommu->page[page];
	return VIODMA_OK;
}
/* README end */

static void print_fault(void *context, const struct viodma_fault *fault)
{
	(void)context;
	printf("refused: %s of %" PRIu64 " bytes at bus address 0x%" PRIx64 ": %s, %s\n",
	       fault->permission == VIODMA_READ ? "read" : "write", fault->len_bytes, fault->bus.v,
	       viodma_result_requirement(fault->reason), viodma_result_text(fault->reason));
}

static void device(struct viodma_queue *queue)
{
	struct viodma_request *request;

	while (viodma_queue_pop(queue, &request) == VIODMA_OK) {
		if (viodma_request_write(request, 0, "served", 7) == VIODMA_OK)
			viodma_queue_push(queue, request, 7);
		else
			viodma_queue_reject(queue, request, NULL, 0);
	}
}

int main(void)
{
	static _Alignas(PAGE) unsigned char memory[DRIVER_MEMORY_BYTES];
	struct my_iommu iommu = {.memory = memory};
	const struct viodma_translator translator = {.translate = my_translate, .context = &iommu};
	const struct viodma_space_events events = {.fault = print_fault};
	const struct viodma_queue_setup setup = {.size = DRIVER_QUEUE_SIZE,
						 .desc = {BUS_BASE + DESC_AT},
						 .avail = {BUS_BASE + AVAIL_AT},
						 .used = {BUS_BASE + USED_AT}};
	struct viodma_space space;
	struct viodma_queue queue;
	struct viodma_queue_config config = {
		.space = &space, .size_max = DRIVER_QUEUE_SIZE, .segments_max = 8, .pieces_max = 8};

	viodma_space_init(&space, NULL, 0, &events);
	viodma_space_set_translator(&space, &translator);
	config.memory_bytes = viodma_queue_memory_bytes(&config);
	config.memory = calloc(1, config.memory_bytes);
	if (viodma_queue_init(&queue, &config) != VIODMA_OK || viodma_queue_start(&queue, &setup, NULL) != VIODMA_OK)
		return 1;
	iommu.page[DESC_AT / PAGE] = iommu.page[AVAIL_AT / PAGE] = iommu.page[QUESTION_AT / PAGE] = VIODMA_READ;
	iommu.page[USED_AT / PAGE] = iommu.page[ANSWER_AT / PAGE] = VIODMA_WRITE;

	tiny_driver_ask(memory, BUS_BASE, "mapped as it should be");
	device(&queue);
	printf("%s\n", tiny_driver_answer(memory) ? tiny_driver_answer(memory) : "no answer");

	iommu.page[QUESTION_AT / PAGE] = VIODMA_WRITE; /* the driver mapped its buffer the wrong way round */
	viodma_space_changed(&space);
	tiny_driver_ask(memory, BUS_BASE, "mapped the wrong way");
	device(&queue);
	free(config.memory);
	return 0;
}
