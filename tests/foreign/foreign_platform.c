/* SPDX-License-Identifier: BSD-3-Clause */
/* foreign_platform - how it works: see foreign_platform.h. Here are the bus, the caches, the disk and the transport. */
#include "foreign_platform.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t phys_of[FOREIGN_AREAS] = {0x0040000000, 0x0900000000, 0xf000000000, 0x10000000000, 0x20000000000};
static const uint64_t windows[FOREIGN_HOLE] = {0x1200000000, 0x0070000000, 0x8000000000, 0x50000000000}; /* = PLT-1 */

/* ---- the bus ---- */

static bool bus_of(void *context, viodma_phys phys, viodma_bus *bus, uint64_t *len_bytes)
{
	const uint64_t offset = phys.v % FOREIGN_AREA_BYTES;
	uint64_t page = (offset / FOREIGN_PAGE * 37 + 11) % FOREIGN_PAGES, area = 0;

	(void)context;
	while (area < FOREIGN_HOLE && phys.v - offset != phys_of[area])
		area++;
	if (area == FOREIGN_HOLE)
		return false;
	page ^= page >> 3;
	bus->v = windows[area] + page * FOREIGN_PAGE + offset % FOREIGN_PAGE;
	*len_bytes = FOREIGN_PAGE - offset % FOREIGN_PAGE;
	return true;
}

/* The device's bridge, which drives 40 bits. = DEV-3, DEV-10 */
static enum viodma_result translate(void *context, viodma_bus bus, enum viodma_permission wanted,
				    struct viodma_extent *extent)
{
	struct foreign *foreign = context;
	const uint64_t offset = bus.v % FOREIGN_AREA_BYTES;
	uint64_t page = offset / FOREIGN_PAGE, area = 0, place;
	unsigned char *memory;

	(void)wanted;
	while (area < FOREIGN_FAR && bus.v - offset != windows[area])
		area++;
	if (area == FOREIGN_FAR)
		return VIODMA_FAULT_UNMAPPED;
	page = ((page ^ page >> 3) - 11) * 45 % FOREIGN_PAGES; /* 37 * 45 = 1 modulo 64 */
	place = area * FOREIGN_AREA_BYTES + page * FOREIGN_PAGE;
	memory = (place - FOREIGN_RINGS < FOREIGN_RINGS_BYTES ? foreign->cpu : foreign->ram) + place;
	*extent = (struct viodma_extent){
		.first = {bus.v - bus.v % FOREIGN_PAGE}, .last = {bus.v | (FOREIGN_PAGE - 1)},
		.phys = {phys_of[area] + page * FOREIGN_PAGE}, .memory = (struct viodma_shared *)memory,
		.permission = VIODMA_READ_WRITE};
	return VIODMA_OK;
}

/* ---- the caches: = PLT-4 ---- */

static void maintain(struct foreign *foreign, const void *memory, uint64_t len_bytes, bool write_back)
{
	const uint64_t first = (uint64_t)((const unsigned char *)memory - foreign->cpu);
	uint64_t place = first - first % FOREIGN_LINE;

	for (; place < first + len_bytes; place += FOREIGN_LINE) {
		if (place - FOREIGN_RINGS < FOREIGN_RINGS_BYTES)
			continue;
		if (!write_back)
			memcpy(foreign->cpu + place, foreign->ram + place, FOREIGN_LINE);
		else if (memcmp(foreign->cpu + place, foreign->line + place, FOREIGN_LINE) != 0)
			memcpy(foreign->ram + place, foreign->cpu + place, FOREIGN_LINE);
		memcpy(foreign->line + place, foreign->cpu + place, FOREIGN_LINE);
	}
}

static void clean(void *context, void *memory, viodma_phys phys, uint64_t len_bytes)
{
	(void)phys;
	maintain(context, memory, len_bytes, true);
}

static void invalidate(void *context, void *memory, viodma_phys phys, uint64_t len_bytes)
{
	(void)phys;
	maintain(context, memory, len_bytes, false);
}

/* ---- the disk ---- */

static void submit(void *context, struct viodma_blk_io *io)
{
	struct foreign *foreign = context;

	foreign->pending[foreign->pending_count++] = io;
}

static void answer_one(struct foreign *foreign)
{
	const uint32_t which = (uint32_t)rand() % foreign->pending_count;
	struct viodma_blk_io *io = foreign->pending[which];
	unsigned char *disk = foreign->disk + io->offset_bytes;
	enum viodma_result result = VIODMA_OK;

	foreign->pending[which] = foreign->pending[--foreign->pending_count];
	if (io->operation == VIODMA_BLK_READ)
		result = viodma_blk_io_copy_out(io, 0, disk, io->len_bytes);
	else if (io->operation == VIODMA_BLK_WRITE)
		result = viodma_blk_io_copy_in(io, 0, disk, io->len_bytes);
	viodma_blk_complete(&foreign->blk, io, result == VIODMA_OK);
}

bool foreign_run(struct foreign *foreign)
{
	int answers = foreign->resetting ? FOREIGN_QUEUE_MAX : 1 + rand() % 4, at;
	const bool busy = foreign->kicked || foreign->resetting || foreign->pending_count;

	for (at = rand() % 16 * FOREIGN_LINE; at < FOREIGN_BYTES; at += (1 + rand() % 31) * FOREIGN_LINE)
		maintain(foreign, foreign->cpu + at, 1, memcmp(foreign->cpu + at, foreign->line + at, FOREIGN_LINE));
	if (foreign->kicked)
		viodma_queue_kicked(&foreign->queue);
	foreign->kicked = false;
	while (!foreign->resetting && viodma_blk_process(&foreign->blk, &foreign->queue) == VIODMA_OK)
		;
	while (foreign->pending_count && answers--)
		answer_one(foreign);
	if (foreign->resetting) { /* = DEV-14, DEV-18, DEV-21 */
		viodma_queue_reset(&foreign->queue);
		foreign->resetting = false;
		foreign->status = 0;
	} else if (viodma_queue_call_needed(&foreign->queue)) {
		foreign->called = true;
	}
	return busy;
}

/* ---- the transport ---- */

static enum viodma_result get_features(void *context, uint64_t *offered) /* = DEV-1 */
{
	struct foreign *foreign = context;

	*offered = viodma_feature_offer_device(VIODMA_PLATFORM_DMA_REQUIRE, 0, 0) | viodma_blk_features(&foreign->blk);
	*offered &= ~VIODMA_FEATURE(VIRTIO_F_RING_PACKED_BIT); /* this transport sets up split rings */
	return VIODMA_OK;
}

static enum viodma_result set_features(void *context, uint64_t accepted)
{
	struct foreign *foreign = context;

	foreign->accepted = accepted;
	viodma_blk_set_accepted(&foreign->blk, accepted);
	return VIODMA_OK;
}

static enum viodma_result get_status(void *context, uint8_t *status)
{
	*status = ((struct foreign *)context)->status;
	return VIODMA_OK;
}

static enum viodma_result set_status(void *context, uint8_t status)
{
	struct foreign *foreign = context;
	struct viodma_negotiation negotiation = {.accepted = foreign->accepted, .policy = VIODMA_PLATFORM_DMA_REQUIRE};
	enum viodma_addressing addressing;
	enum viodma_result result = get_features(foreign, &negotiation.offered);

	if (status & ~foreign->status & VIODMA_STATUS_FEATURES_OK)
		result = viodma_feature_negotiate_device(&negotiation, &addressing);
	foreign->resetting = !status && foreign->status; /* and reads what it was, until that is done */
	if (status)
		foreign->status = result ? status & (uint8_t)~VIODMA_STATUS_FEATURES_OK : status; /* = DEV-5 to DEV-8 */
	return VIODMA_OK;
}

static enum viodma_result read_config(void *context, uint32_t offset, void *destination, uint32_t len_bytes)
{
	viodma_blk_read_config(&((struct foreign *)context)->blk, offset, destination, len_bytes);
	return VIODMA_OK;
}

static enum viodma_result queue_size_max(void *context, unsigned queue, uint32_t *size)
{
	(void)context;
	*size = queue ? 0 : FOREIGN_QUEUE_MAX;
	return VIODMA_OK;
}

static enum viodma_result queue_enable(void *context, unsigned queue, const struct viodma_transport_queue *where)
{
	struct foreign *foreign = context;
	const bool indirect = foreign->accepted & VIODMA_FEATURE(VIRTIO_F_INDIRECT_DESC_BIT),
		   event_idx = foreign->accepted & VIODMA_FEATURE(VIRTIO_F_EVENT_IDX_BIT);
	const struct viodma_queue_setup setup = {
		.size = where->size, .desc = where->desc, .avail = where->avail, .used = where->used,
		.indirect_desc = indirect, .event_idx = event_idx};

	return queue ? VIODMA_E_INVALID : viodma_queue_start(&foreign->queue, &setup, NULL);
}

static void notify(void *context, unsigned queue)
{
	((struct foreign *)context)->kicked |= queue == 0;
}

enum viodma_result foreign_init(struct foreign *foreign, const char *limits, const struct viodma_space_events *events)
{
	static const struct viodma_transport_ops ops = {
		.get_features = get_features, .set_features = set_features, .get_status = get_status,
		.set_status = set_status, .read_config = read_config, .queue_size_max = queue_size_max,
		.queue_enable = queue_enable, .notify = notify};
	const struct viodma_translator translator = {translate, NULL, foreign};
	const struct viodma_blk_config blk = {
		.capacity_bytes = FOREIGN_DISK_BYTES, .blk_size = 512, .seg_max = FOREIGN_SEG_MAX, .size_max = 65536, .serial = "foreign"};
	const struct viodma_blk_ops blk_ops = {.submit = submit, .context = foreign};
	const struct viodma_queue_config queue = {
		.space = &foreign->space, .memory = foreign->queue_memory,
		.memory_bytes = sizeof(foreign->queue_memory), .size_max = FOREIGN_QUEUE_MAX,
		.segments_max = FOREIGN_SEG_MAX + 2, .pieces_max = FOREIGN_PIECES};
	enum viodma_result result;
	size_t i;

	memset(foreign, 0, sizeof(*foreign)); /* = PLT-2 to PLT-4, PLT-7: */
	snprintf(foreign->text, sizeof(foreign->text),
		 "kind=offset width=40 granule=4K non-coherent line=64 no-pass-through %s", limits);
	for (i = 0; i < sizeof(foreign->cpu); i++)
		foreign->cpu[i] = foreign->line[i] = (unsigned char)~(foreign->ram[i] = (unsigned char)rand());
	for (i = 0; i < FOREIGN_AREAS; i++)
		foreign->objects[i] = (struct viodma_object){
			foreign->cpu + i * FOREIGN_AREA_BYTES, {phys_of[i]}, FOREIGN_AREA_BYTES};
	foreign->memory = (struct viodma_memory){foreign->objects, FOREIGN_AREAS};
	foreign->bus_of = (struct viodma_bus_of){bus_of, foreign};
	foreign->cache = (struct viodma_cache_ops){clean, invalidate, foreign};
	foreign->transport = (struct viodma_transport){&ops, foreign, "foreign disk"};
	viodma_space_init(&foreign->space, NULL, 0, events);
	viodma_space_set_translator(&foreign->space, &translator);
	result = viodma_queue_init(&foreign->queue, &queue);
	return result ? result : viodma_blk_init(&foreign->blk, &blk, &blk_ops, foreign->ios, FOREIGN_QUEUE_MAX);
}
