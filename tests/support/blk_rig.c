/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * blk_rig.c - how it works: submitted operations stand in a list; ending one moves bytes between the disk and the
 * request's pieces, in two calls of viodma_blk_io_pieces so that offsets are used, and completes it.
 */
#include "tests/support/blk_rig.h"

#include <stdlib.h>
#include <string.h>

static void must(bool condition)
{
	if (!condition)
		abort();
}

static void move(struct blk_rig *rig, struct viodma_blk_io *io, uint32_t offset, uint32_t len)
{
	struct viodma_piece pieces[64];
	uint32_t count = 0, i;
	unsigned char *disk = rig->disk + io->offset_bytes + offset;

	must(viodma_blk_io_pieces(io, offset, len, pieces, 64, &count) == VIODMA_OK);
	for (i = 0; i < count; i++) {
		if (io->operation == VIODMA_BLK_READ)
			memcpy((void *)pieces[i].memory, disk, pieces[i].len_bytes);
		else
			memcpy(disk, (const void *)pieces[i].memory, pieces[i].len_bytes);
		disk += pieces[i].len_bytes;
	}
}

void blk_rig_finish(struct blk_rig *rig, unsigned i, bool ok)
{
	struct viodma_blk_io *io = rig->pending[i];

	must(i < rig->pending_count);
	rig->pending[i] = rig->pending[--rig->pending_count];
	if (ok && io->operation > VIODMA_BLK_FLUSH) {
		must(io->len_bytes && io->len_bytes % 512 == 0 && io->offset_bytes % 512 == 0);
		must(io->offset_bytes <= RIG_DISK_BYTES && io->len_bytes <= RIG_DISK_BYTES - io->offset_bytes);
		memset(rig->disk + io->offset_bytes, RIG_FILL(io->operation), io->len_bytes);
	} else if (ok && io->operation != VIODMA_BLK_FLUSH) {
		must(io->len_bytes && io->len_bytes % 512 == 0 && io->offset_bytes % 512 == 0);
		must(io->offset_bytes + io->len_bytes <= RIG_DISK_BYTES);
		move(rig, io, 0, 100);
		move(rig, io, 100, (uint32_t)io->len_bytes - 100);
	}
	viodma_blk_complete(&rig->blk, io, ok);
}

static void on_submit(void *context, struct viodma_blk_io *io)
{
	struct blk_rig *rig = context;

	must(rig->pending_count < 256);
	rig->pending[rig->pending_count++] = io;
	rig->submitted++;
	rig->last = *io;
	if (!rig->defer)
		blk_rig_finish(rig, rig->pending_count - 1, !rig->fail);
	if (rig->endless)
		test_make_available(rig->driver, rig->last.request->head);
}

static void on_refused(void *context, uint16_t head, enum viodma_result reason, const char *what)
{
	struct blk_rig *rig = context;

	must(what != NULL && what[0] != '\0');
	rig->refused++;
	rig->refused_head = head;
	rig->refused_reason = reason;
}

void blk_rig_default_config(struct viodma_blk_config *config)
{
	memset(config, 0, sizeof(*config));
	config->capacity_bytes = RIG_DISK_BYTES;
	config->blk_size = 512;
	config->seg_max = 14;
	config->size_max = 1u << 20;
	memcpy(config->serial, "viodma-test", 11);
}

struct blk_rig *blk_rig_new(const struct test_options *options, const struct viodma_blk_config *config)
{
	struct blk_rig *rig = calloc(1, sizeof(*rig));
	struct viodma_blk_config defaults;
	struct viodma_blk_ops ops = {.submit = on_submit, .refused = on_refused, .context = rig};
	size_t i;

	must(rig != NULL);
	blk_rig_default_config(&defaults);
	ops.context = rig;
	rig->driver = test_driver_new(options);
	must(viodma_blk_init(&rig->blk, config ? config : &defaults, &ops, rig->ios, 256) == VIODMA_OK);
	viodma_blk_set_accepted(&rig->blk, viodma_blk_features(&rig->blk));
	for (i = 0; i < RIG_DISK_BYTES; i++)
		rig->disk[i] = (unsigned char)(i * 13 + (i >> 9));
	return rig;
}

void blk_rig_free(struct blk_rig *rig)
{
	if (!rig)
		return;
	test_driver_free(rig->driver);
	free(rig);
}

void blk_rig_header(struct blk_rig *rig, unsigned head, uint32_t type, uint64_t sector)
{
	test_put32(rig->driver, RIG_HEADER(head), type);
	test_put32(rig->driver, RIG_HEADER(head) + 4, 0);
	test_put64(rig->driver, RIG_HEADER(head) + 8, sector);
	rig->driver->memory[RIG_STATUS(head)] = RIG_NO_STATUS;
}

void blk_rig_ranges(struct blk_rig *rig, unsigned head, uint32_t type, const struct blk_rig_range *ranges,
		    unsigned count)
{
	unsigned i;

	for (i = 0; i < count; i++) {
		test_put64(rig->driver, RIG_DATA(head) + 16 * i, ranges[i].sector);
		test_put32(rig->driver, RIG_DATA(head) + 16 * i + 8, ranges[i].count);
		test_put32(rig->driver, RIG_DATA(head) + 16 * i + 12, ranges[i].flags);
	}
	blk_rig_request(rig, head, type, 0, 16 * count, false);
}

void blk_rig_request(struct blk_rig *rig, unsigned head, uint32_t type, uint64_t sector, uint32_t data_bytes,
		     bool writable)
{
	struct test_driver *d = rig->driver;

	blk_rig_header(rig, head, type, sector);
	test_desc(d, head, test_bus(d, RIG_HEADER(head)), 16, VIRTQ_DESC_F_NEXT,
		  (uint16_t)(data_bytes ? head + 1 : head + 2));
	if (data_bytes)
		test_desc(d, head + 1, test_bus(d, RIG_DATA(head)), data_bytes,
			  (uint16_t)(VIRTQ_DESC_F_NEXT | (writable ? VIRTQ_DESC_F_WRITE : 0)), (uint16_t)(head + 2));
	test_desc(d, head + 2, test_bus(d, RIG_STATUS(head)), 1, VIRTQ_DESC_F_WRITE, 0);
	test_make_available(d, (uint16_t)head);
}

enum viodma_result blk_rig_run(struct blk_rig *rig)
{
	enum viodma_result result;

	do {
		result = viodma_blk_process(&rig->blk, &rig->driver->queue);
	} while (result == VIODMA_OK || (rig->driver->options.platform && test_answer(rig->driver, true)));
	return result;
}

uint8_t blk_rig_status(const struct blk_rig *rig, unsigned head)
{
	return rig->driver->memory[RIG_STATUS(head)];
}
